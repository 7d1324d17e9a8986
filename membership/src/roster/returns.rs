//! Members that were down, are alive again, and are not yet shown so: by hearsay only, or in dispute.
//!
//! Picture: a letter says that somebody who was thought lost was seen alive. It was written some time ago, by somebody
//! who may have lost sight of him since. We are glad, call him, and tell the family when he answers.
//!
//! Rule: a node that holds quorum keeps showing such a member as down until the member speaks to it directly, until its
//! heartbeat goes on beyond all that can have been under way by then, until its own record says that it has a majority
//! in contact, or until the node holds quorum no more. So it is shown before it can hold quorum. Only what is shown waits: the
//! claims merge as ever, and the member is called and judged as one that is alive. A member that was kept out as unfit has
//! been heard of all the while, and comes in when its heartbeat passes a number that all know: it does not wait.
//!
//! *In dispute* is a member that goes down once more, after several times, and comes back before all witnesses have said
//! that they want it kept out (detection/flap_damping.rs). A witness that has said so shows it again with its first
//! heartbeat after the time in which the word of the others must have come.
//!
//! Without it, a second cut that moves a member from one side to the other lets it carry over the last heartbeats of
//! those that stay behind: they would come back for the two seconds until their silence is proven again
//! (`heartsay-sim swarm --only cuts --shape moving`).

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;
use crate::identity::Heartbeat;

/// Those members, by the hash of their name.
#[derive(Debug, Default)]
pub struct Returns {
    waiting: BTreeMap<u64, Hearsay>,
    /// Members that are down because they are kept out.
    kept_out: BTreeSet<u64>,
}

/// What is shown of such a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hearsay {
    /// The heartbeat that refuted its verdict.
    heartbeat: Heartbeat,
    /// The highest that can have been under way then.
    by_then: Heartbeat,
    /// The heartbeat at which it was called last.
    called: Heartbeat,
    /// Since when it has been down.
    pub since: Instant,
    /// It is not shown before, whatever it says.
    not_before: Instant,
}

impl Hearsay {
    /// The last heartbeat as of which it can have been called down.
    pub fn down_as_of(&self) -> Heartbeat {
        self.heartbeat.saturating_sub(1)
    }
}

impl Returns {
    /// A member that has been down since `since` is alive, others tell: they know this heartbeat of it. `by_then`: the
    /// highest that it can have had by now. `not_before`: when it may be shown at the earliest.
    pub fn told(
        &mut self,
        subject: u64,
        (heartbeat, by_then): (Heartbeat, Heartbeat),
        since: Instant,
        not_before: Instant,
    ) {
        let by_then = by_then.saturating_add(DRIFT).clamp(heartbeat, heartbeat.saturating_add(UNDER_WAY));
        self.waiting.insert(subject, Hearsay { heartbeat, by_then, called: heartbeat, since, not_before });
    }

    /// A member that is down is kept out as unfit.
    pub fn keep_out(&mut self, subject: u64) {
        self.kept_out.insert(subject);
    }

    /// A member is down no more. True if it had been kept out.
    pub fn let_in(&mut self, subject: u64) -> bool {
        self.kept_out.remove(&subject)
    }

    pub fn get(&self, subject: u64) -> Option<&Hearsay> {
        self.waiting.get(&subject)
    }

    /// It is back without doubt. Whether it may be shown by now; if not, it may with its next heartbeat after that.
    pub fn is_back(&mut self, now: Instant, subject: u64) -> bool {
        let Some(hearsay) = self.waiting.get_mut(&subject) else { return false };
        hearsay.by_then = hearsay.heartbeat;
        now >= hearsay.not_before
    }

    /// Whether a member whose heartbeat this is has made one since it was told of.
    pub fn goes_on(&self, subject: u64, heartbeat: Heartbeat) -> bool {
        self.get(subject).is_some_and(|hearsay| heartbeat > hearsay.by_then)
    }

    /// Whether it should be called once more: others tell a newer heartbeat, and it has not answered.
    pub fn calls(&mut self, subject: u64, heartbeat: Heartbeat) -> bool {
        let Some(hearsay) = self.waiting.get_mut(&subject).filter(|hearsay| heartbeat > hearsay.called)
        else {
            return false;
        };
        hearsay.called = heartbeat;
        true
    }

    /// It waits no longer. True if it did.
    pub fn end(&mut self, subject: u64) -> bool {
        self.waiting.remove(&subject).is_some()
    }

    /// The member, or that life of it, is gone.
    pub fn forget(&mut self, subject: u64) {
        self.waiting.remove(&subject);
        self.kept_out.remove(&subject);
    }

    /// All that wait.
    pub fn subjects(&self) -> impl Iterator<Item = u64> {
        self.waiting.keys().copied()
    }
}

/// What others tell of a member is at most so many heartbeats old. A bound, because a member that stood still is behind
/// what its first heartbeats let one expect. Honest guess.
const UNDER_WAY: Heartbeat = 3;
/// Beats by which the highest is misjudged when clocks run at different rates: during a cut of a minute, by one.
const DRIFT: Heartbeat = 1;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const DOWN_SINCE: Instant = Instant::from_micros(5_000_000);

    const BACK_AT: Instant = Instant::from_micros(30_000_000);

    #[test]
    fn a_heartbeat_that_was_under_way_shows_nothing_and_a_later_one_does() {
        let mut returns = Returns::default();
        returns.told(7, (40, 41), DOWN_SINCE, BACK_AT);
        assert_eq!(returns.get(7).map(|hearsay| hearsay.since), Some(DOWN_SINCE));
        assert_eq!(
            [40, 41, 42, 43].map(|heartbeat| returns.goes_on(7, heartbeat)),
            [false, false, false, true],
            "one beat more may have been under way, by the drift of clocks"
        );
        assert!(!returns.goes_on(8, 43), "nobody asked about that one");
        returns.told(7, (40, 1_000), DOWN_SINCE, BACK_AT);
        assert!(returns.goes_on(7, 44), "it stood still for long, and is behind");
        returns.told(7, (40, 3), DOWN_SINCE, BACK_AT);
        assert!(!returns.goes_on(7, 40) && returns.goes_on(7, 41), "its clock is slow");
    }

    #[test]
    fn a_return_in_dispute_is_shown_with_the_next_heartbeat_after_its_time() {
        let mut returns = Returns::default();
        let undisputed = BACK_AT + Duration::from_millis(500);
        returns.told(7, (40, 42), DOWN_SINCE, undisputed);
        assert!(!returns.is_back(BACK_AT, 7), "it speaks to us at once");
        assert!(!returns.goes_on(7, 40) && returns.goes_on(7, 41), "no more needs to be known of it");
        assert!(returns.is_back(undisputed, 7));
        assert!(!returns.is_back(undisputed, 8));
    }

    #[test]
    fn a_member_is_called_once_for_each_heartbeat_that_is_told() {
        let mut returns = Returns::default();
        returns.told(7, (40, 42), DOWN_SINCE, BACK_AT);
        assert_eq!([40, 41, 41, 42].map(|heartbeat| returns.calls(7, heartbeat)), [false, true, false, true]);
        assert!(!returns.calls(8, 42));
    }

    #[test]
    fn a_member_waits_once_and_one_that_is_gone_no_more() {
        let mut returns = Returns::default();
        returns.told(7, (40, 42), DOWN_SINCE, BACK_AT);
        assert!(returns.end(7) && !returns.end(7));
        returns.told(7, (40, 42), DOWN_SINCE, BACK_AT);
        returns.keep_out(7);
        returns.forget(7);
        assert!(!returns.end(7) && !returns.let_in(7));
    }
}
