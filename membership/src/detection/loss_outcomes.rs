//! What the questions of one case teach about how long losses last, once it is known that the member lives.
//!
//! A dead member answers no question. So an unanswered one teaches something only when a sign of life has closed the case.
//! The first few of a case count, answered or not: what a pause of minutes would teach is that nothing ever comes back.

use core::time::Duration;

use heartsay_detector::LossAfterLoss;

/// The unanswered questions of one case that are still to be learnt from, each as the time since the loss before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossOutcomes {
    lags: [Duration; FIRST],
    count: usize,
}

impl LossOutcomes {
    /// A question that followed a loss after `lag` stayed unanswered too.
    pub fn lost(&mut self, lag: Duration) {
        if let Some(place) = self.lags.get_mut(self.count) {
            *place = lag;
            self.count += 1;
        }
    }

    /// A question that followed a loss after `lag` was answered.
    pub fn answered(&self, lag: Duration, share: &mut LossAfterLoss) {
        if self.count < FIRST {
            share.learn(lag, false);
        }
    }

    /// The member lives.
    pub fn lives(&self, share: &mut LossAfterLoss) {
        self.lags.iter().take(self.count).for_each(|lag| share.learn(*lag, true));
    }
}

/// Questions of one case that count. Four cover the bursts of 200 to 400 ms that are common, and a member that stood still for
/// longer is remembered as no more than that.
const FIRST: usize = 4;
