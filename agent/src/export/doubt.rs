//! When the view is not to be believed, so that a list is better left as it is.
//!
//! A host that is cut off sees all others go, one after the other, and cannot tell that from their death. The list that it had
//! before is the better guess: most of them serve on.

use std::time::Duration;

use heartsay_membership::{MemberView, Quorum, Status};

use crate::daemon::driver::Snapshot;

/// What there is to say about the view itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// It has been complete, and the others count this agent, which does not leave them.
    pub(crate) joined: bool,
    /// Most others look silent at once.
    pub(crate) isolated: bool,
    /// Where an electorate is stated: whether this side has the majority.
    pub(crate) quorum: Option<bool>,
    /// Other members that were alive a moment ago.
    pub(crate) others: usize,
    /// Of these, suspect, or called down within [`FRESH`].
    pub(crate) lost: usize,
    /// No other member is alive, and the last ones fell silent together, however long ago. A host that says that its agent is
    /// gone is not silent, and shows that this one is not cut off.
    pub(crate) alone: bool,
}

impl Sight {
    /// Of this view. `joined`: see [`App::has_joined`](crate::api::App::has_joined).
    pub(crate) fn of(view: &Snapshot, joined: bool) -> Self {
        let mut sight = Self {
            joined: joined && view.outside.is_none() && !view.leaving,
            isolated: view.stats.isolated,
            quorum: view.quorum.electorate.is_some().then_some(view.quorum.quorum == Quorum::Held),
            ..Self::default()
        };
        let others = || view.members.iter().filter(|member| !member.is_self);
        let downs = || others().filter(|member| member.status == Status::Down).map(|member| member.since);
        if let Some(last) = downs().max() {
            let together = downs().filter(|since| last.since(*since) < FRESH).count();
            let is_silent = |member: &MemberView| match member.status {
                Status::Down => !member.last_words && !member.accusers.iter().any(|accuser| accuser.refused),
                Status::Left => true,
                Status::Alive | Status::Restarting | Status::Suspect => false,
            };
            sight.alone = together > 1 && others().all(is_silent);
        }
        for member in others() {
            let lost = match member.status {
                Status::Suspect => true,
                Status::Down => view.at.since(member.since) < FRESH,
                Status::Alive | Status::Restarting => false,
                Status::Left => continue,
            };
            // Who was lost long ago is not missed any more.
            sight.others += usize::from(lost || member.status != Status::Down);
            sight.lost += usize::from(lost);
        }
        sight
    }

    /// Why it is not to be believed, if so.
    pub(crate) fn doubt(&self) -> Option<&'static str> {
        let most_lost = self.lost > 1 && self.lost * 2 > self.others;
        if !self.joined {
            Some("this agent is not in the cluster, or not yet")
        } else if self.quorum == Some(false) {
            Some("quorum is not held here")
        } else if self.isolated {
            Some("isolated: most others look silent at once")
        } else if most_lost && self.quorum.is_none() {
            Some("most others were lost at the same time, so probably it is this host")
        } else if self.alone && self.quorum.is_none() {
            Some("all others were lost at the same time and none is back, so probably it is this host")
        } else {
            None
        }
    }
}

/// Losses within this time count as one. A host that is cut off knows it by then.
const FRESH: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_believed_while_it_is_whole_and_not_most_of_it_goes_at_once() {
        let well = Sight { joined: true, others: 4, ..Sight::default() };
        for (sight, believed) in [
            (well, true),
            (Sight { joined: false, ..well }, false),
            (Sight { isolated: true, ..well }, false),
            (Sight { quorum: Some(false), ..well }, false),
            (Sight { quorum: Some(true), ..well }, true),
            (Sight { lost: 2, ..well }, true),
            (Sight { lost: 3, ..well }, false),
            // Who has the majority knows that the others are gone.
            (Sight { lost: 3, quorum: Some(true), ..well }, true),
            // For as long as nobody is heard, however long ago they went.
            (Sight { others: 0, alone: true, ..well }, false),
            // Of two, each may be the one that is lost: the floor decides.
            (Sight { lost: 1, others: 1, ..well }, true),
        ] {
            assert_eq!(sight.doubt().is_none(), believed, "{sight:?}");
        }
    }
}
