//! Does our side have the majority?
//!
//! Pure arithmetic with a settling time: quorum is held while a proof of the
//! majority is young enough ([`lease`]) and has been so without a gap for a
//! while; it is lost the moment the proof runs out, by the clock and without
//! anybody having to say so.

use core::fmt;
use core::time::Duration;

use crate::Instant;
use crate::identity::Name;

mod agreed;
mod electorate;
mod fence;
#[cfg(test)]
mod followers;
mod lease;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod model;

pub use agreed::{Agreed, Look, Word};
pub use electorate::{Ballot, Electorate, ElectorateError, majority};
pub use fence::{Acknowledged, Enclosure, FenceError, MOST_ABOUT, MOST_ELECTORS};
pub use lease::{Lease, Pace};

/// Whether this member stands on a side that may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quorum {
    /// A majority of the electorate is in two-way contact, and has been for the settling time.
    Held,
    /// No majority is.
    Lost,
    /// Too early to say, or nobody said who votes.
    Unsettled,
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Lost => "lost",
            Self::Unsettled => "unsettled",
        })
    }
}

/// Quorum, why, and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumStatus {
    /// The verdict.
    pub quorum: Quorum,
    /// Since when it has been so.
    pub since: Instant,
    /// Until when the proof is good that we have. While quorum is held it is renewed all the time; once this moment
    /// has passed without, quorum is lost, whatever else was said before. `None`: no proof.
    pub until: Option<Instant>,
    /// Votes in two-way contact, our own included.
    pub present: u32,
    /// Votes needed. With an electorate that follows the cluster: half of the votes where the lowest name is among them.
    pub needed: u32,
    /// All votes there are; `None` when nobody configured an electorate. With one that follows the cluster: members of
    /// the agreed roster, 0 while there is none.
    pub expected: Option<u32>,
    /// The electorate as it was stated.
    pub electorate: Option<String>,
    /// Whether a fence is kept: the proof is then this member's own, and `until` the end of its lease.
    pub fence: bool,
    /// With an electorate that follows the cluster: who votes; nobody while no roster is agreed on.
    pub agreed: Option<AgreedRoster>,
    /// One sentence for people.
    pub reason: String,
}

/// The roster that was last agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedRoster {
    /// By name, the one that decides a tie first.
    pub names: Vec<Name>,
    /// Since when it has been so; after a restart, since then.
    pub since: Instant,
}

/// Follows the proof of the majority over time.
#[derive(Clone, Debug)]
pub struct Majority {
    quorum: Quorum,
    since: Instant,
    /// Until when the newest proof is good.
    until: Option<Instant>,
    /// Since when there has been a good proof without a gap.
    proven_since: Option<Instant>,
    /// When this electorate was set: "lost" is said only after a fair chance to find the others.
    started: Instant,
    settle: Duration,
}

impl Majority {
    pub fn new(now: Instant, settle: Duration) -> Self {
        Self { quorum: Quorum::Unsettled, since: now, until: None, proven_since: None, started: now, settle }
    }

    /// As it is at `now`, when nothing more was heard.
    pub fn at(&self, now: Instant) -> Self {
        let mut then = self.clone();
        if let Some(until) = then.until.filter(|until| *until <= now) {
            then.observe(until, None, self.settle);
        }
        then
    }

    pub fn quorum(&self) -> Quorum {
        self.quorum
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The best proof is good until then. Returns whether quorum changed. `settle`: how long is long enough.
    pub fn observe(&mut self, now: Instant, until: Option<Instant>, settle: Duration) -> bool {
        self.settle = settle;
        self.until = until.filter(|until| *until > now);
        let next = if self.until.is_none() {
            self.proven_since = None;
            let early = self.quorum == Quorum::Unsettled && now < self.started + settle;
            if early { Quorum::Unsettled } else { Quorum::Lost }
        } else {
            let since = *self.proven_since.get_or_insert(now);
            if now >= since + settle { Quorum::Held } else { self.quorum }
        };
        let changed = next != self.quorum;
        if changed {
            self.quorum = next;
            self.since = now;
        }
        changed
    }

    /// When to observe again although nothing was heard: the proof runs out, or it has lasted.
    pub fn next(&self) -> Instant {
        let runs_out = self.until.unwrap_or(Instant::NEVER);
        match (self.quorum, self.proven_since) {
            (Quorum::Held, _) => runs_out,
            (_, Some(since)) => runs_out.min(since + self.settle),
            (Quorum::Unsettled, None) => self.started + self.settle,
            (Quorum::Lost, None) => Instant::NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn it_is_lost_when_the_proof_runs_out_and_held_again_only_when_it_lasts() {
        let mut majority = Majority::new(at(0), SETTLE);
        assert!(!majority.observe(at(0), Some(at(1400)), SETTLE));
        assert!(!majority.observe(at(1000), Some(at(2400)), SETTLE));
        assert_eq!(majority.next(), at(2000));
        assert!(majority.observe(at(2000), Some(at(2400)), SETTLE));
        assert_eq!((majority.quorum(), majority.next()), (Quorum::Held, at(2400)));
        assert!(majority.observe(at(2400), Some(at(2400)), SETTLE), "at the end it is over");
        assert_eq!(majority.quorum(), Quorum::Lost);
        assert!(!majority.observe(at(3000), Some(at(4000)), SETTLE));
        assert!(!majority.observe(at(4000), None, SETTLE), "it did not last");
        assert!(!majority.observe(at(4100), Some(at(5500)), SETTLE));
        assert!(!majority.observe(at(5000), Some(at(6400)), SETTLE));
        assert!(majority.observe(at(6100), Some(at(6400)), SETTLE));
        assert_eq!(majority.quorum(), Quorum::Held);
    }

    #[test]
    fn at_the_start_it_is_unsettled_until_the_others_had_a_chance() {
        let mut majority = Majority::new(at(0), SETTLE);
        assert!(!majority.observe(at(0), None, SETTLE));
        assert!(!majority.observe(at(1000), None, SETTLE));
        assert_eq!(majority.next(), at(2000));
        assert!(majority.observe(at(2000), None, SETTLE));
        assert_eq!(majority.quorum(), Quorum::Lost);
    }
}
