//! How often a contact stays unanswered shortly after another one did.

use core::time::Duration;

use crate::loss_share::{LONGEST_ROW, LossShare, surprise_at};

/// The learnt share of contacts that stay unanswered, given that the one before to the same member did: the conditional loss
/// probability (Bolot 1993), by the time from one to the other.
///
/// *Picture*: it rains now. That it rains in a minute is no news, and that it rains tomorrow is one.
///
/// *Rule*: by Bayes the surprise at a row of unanswered contacts is the sum of the surprises at each, given those before. In
/// Gilbert's model of a path (1960), with its good times and its bad ones, only the one just before matters. So each is
/// worth −log10 of the share that was lost after a loss as long ago, and the whole row is worth how rarely a bad time lasts
/// so long. What is learnt counts only from members that turned out to live, since the dead would teach that all
/// losses last.
///
/// *A row is weighed as if each of it had been learnt before the next* (Laplace's rule of succession). While little is known, the
/// third loss in a row says more about the network than it would later.
///
/// *Where losses come alone* the share is that of all contacts ([`LossShare`]), and so are the sums.
///
/// *Weak spot*: members that stand still for a while, and then live, teach the same as a path with long bad times.
/// So the share never exceeds three quarters by what was learnt, and a row of contacts always comes to convict in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossAfterLoss {
    by_lag: [Sample; LAGS.len() + 1],
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    lost: f32,
    count: f32,
}

impl LossAfterLoss {
    /// A contact that left `lag` after one that stayed unanswered was `lost` too, or was answered, and the member lives.
    pub fn learn(&mut self, lag: Duration, lost: bool) {
        let Some(sample) = self.by_lag.get_mut(place(lag)) else { return };
        if sample.count >= MEMORY {
            let kept = (MEMORY - 1.0) / MEMORY;
            (sample.lost, sample.count) = (sample.lost * kept, sample.count * kept);
        }
        sample.lost += if lost { 1.0 } else { 0.0 };
        sample.count += 1.0;
    }

    /// The share that is lost `lag` after a loss, where `anyway` of all contacts are. Never less than that: after a loss, a
    /// second one is no greater surprise. `row`: so many of the same row were lost after a loss already, and are not learnt,
    /// as the peer may be dead; they count as if they were.
    #[must_use]
    pub fn share(&self, lag: Duration, anyway: f32, row: u32) -> f32 {
        let Some(sample) = self.by_lag.get(place(lag)) else { return anyway };
        let row = row.min(LONGEST_ROW) as f32;
        let learnt = (anyway * PRIOR + sample.lost + row) / (PRIOR + sample.count + row);
        learnt.min(MOST).max(anyway)
    }

    /// What one more unanswered contact says against the peer, as φ, `lag` after the last one.
    #[must_use]
    pub fn surprise(&self, lag: Duration, anyway: &LossShare, row: u32) -> f64 {
        surprise_at(self.share(lag, anyway.share(), row))
    }
}

fn place(lag: Duration) -> usize {
    LAGS.iter().position(|most| lag <= *most).unwrap_or(LAGS.len())
}

/// Lags up to each of these are taken together, and all longer ones. A probe asks again after its time-out, then each 100 to
/// 250 ms, and each half second once it knows enough.
const LAGS: [Duration; 4] = [
    Duration::from_millis(75),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(600),
];

/// Contacts that are remembered, as many as of first contacts.
const MEMORY: f32 = 64.0;

/// Contacts that "losses come alone" is worth. Honest guess: with less, one member that stood still for a moment makes the
/// next case slower; with more, it takes minutes until bad weather is known for what it is.
const PRIOR: f32 = 8.0;

/// The most that is learnt: then eight contacts more are a digit. A path whose bad times last 200 ms loses two in three 100 ms
/// after a loss.
const MOST: f32 = 0.75;

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(100);
    const LATER: Duration = Duration::from_millis(500);

    #[test]
    fn where_nothing_is_learnt_a_second_loss_is_worth_what_any_is() {
        let after = LossAfterLoss::default();
        for anyway in [0.001, 0.15, 0.6, 1.0] {
            assert_eq!(after.share(SOON, anyway, 0), anyway);
        }
    }

    #[test]
    fn losses_that_come_alone_stay_as_surprising_as_they_are() {
        let mut after = LossAfterLoss::default();
        for contact in 0..1_000 {
            after.learn(SOON, contact % 5 == 0);
        }
        assert!((after.share(SOON, 0.2, 0) - 0.2).abs() < 0.02, "{after:?}");
        assert_eq!(after.share(SOON, 0.4, 0), 0.4, "and no greater surprise than the first");
    }

    #[test]
    fn in_a_burst_the_next_loss_is_no_surprise_and_half_a_second_later_it_is_one() {
        let mut after = LossAfterLoss::default();
        for contact in 0..300 {
            after.learn(SOON, contact % 3 != 0);
            after.learn(LATER, contact % 6 == 0);
        }
        assert!((0.6..0.7).contains(&after.share(SOON, 0.15, 0)), "{after:?}");
        assert!(after.share(LATER, 0.15, 0) < 0.2, "{after:?}");
    }

    #[test]
    fn while_little_is_known_each_loss_of_a_row_surprises_less() {
        let young = LossAfterLoss::default();
        let shares: Vec<f32> = (0..4).map(|row| young.share(SOON, 0.02, row)).collect();
        for (row, share) in (0_u8..).zip(shares) {
            let by_hand = (0.16 + f32::from(row)) / (8.0 + f32::from(row));
            assert!((share - by_hand).abs() < 1e-6, "{row}: {share}");
        }
        let mut old = LossAfterLoss::default();
        (0..64).for_each(|_| old.learn(SOON, false));
        assert!(old.share(SOON, 0.02, 3) < 0.05, "{old:?}");
        assert_eq!(young.share(SOON, 0.02, u32::MAX), young.share(SOON, 0.02, LONGEST_ROW));
    }

    #[test]
    fn however_long_losses_last_a_row_of_them_still_says_something() {
        let mut after = LossAfterLoss::default();
        (0..1_000).for_each(|_| after.learn(SOON, true));
        assert_eq!(after.share(SOON, 0.1, 0), MOST);
        assert_eq!(after.share(SOON, 0.9, 0), 0.9, "where nine in ten are lost anyway, less");
        (0..300).for_each(|_| after.learn(SOON, false));
        assert!(after.share(SOON, 0.1, 0) < 0.12, "and it is forgotten");
    }
}
