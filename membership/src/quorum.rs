//! Does our side have the majority?
//!
//! Pure arithmetic over how many members are present, with a settling time:
//! losing the majority is said at once, having it only after it has been so
//! for a while. The electorate is a number that the operator states. It is
//! never "those whom I see now": every minority sees itself as a majority of
//! itself.

use core::fmt;
use core::time::Duration;

use crate::Instant;

/// Whether this member stands on a side that may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quorum {
    /// A majority of the electorate is here, and has been for the settling time.
    Held,
    /// No majority is here.
    Lost,
    /// Too early to say, or nobody said how large the cluster is.
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
    /// Members that count as present, this one included.
    pub present: u32,
    /// Members needed.
    pub needed: u32,
    /// Size of the electorate; `None` when nobody configured one.
    pub expected: Option<u32>,
    /// One sentence for people.
    pub reason: String,
}

/// Follows presence over time.
#[derive(Clone, Debug)]
pub struct Majority {
    expected: Option<u32>,
    settle: Duration,
    quorum: Quorum,
    since: Instant,
    present: u32,
    /// Since when a majority has been present without a gap.
    majority_since: Option<Instant>,
    /// When this electorate was set: "lost" is said only after a fair chance to find the others.
    started: Instant,
}

impl Majority {
    pub fn new(now: Instant, expected: Option<u32>, settle: Duration) -> Self {
        Self {
            expected,
            settle,
            quorum: Quorum::Unsettled,
            since: now,
            present: 1,
            majority_since: None,
            started: now,
        }
    }

    /// The operator states another size. What was settled before no longer counts.
    pub fn expect(&mut self, now: Instant, expected: Option<u32>) {
        if expected != self.expected {
            *self = Self { present: self.present, ..Self::new(now, expected, self.settle) };
        }
    }

    /// So many members are present now. Returns whether the quorum changed.
    pub fn observe(&mut self, now: Instant, present: u32) -> bool {
        self.present = present;
        let next = self.judge(now);
        let changed = next != self.quorum;
        if changed {
            self.quorum = next;
            self.since = now;
        }
        changed
    }

    /// When to observe again although nobody came or went.
    pub fn next(&self) -> Instant {
        match (self.quorum, self.expected, self.majority_since) {
            (Quorum::Held, ..) | (_, None, _) => Instant::NEVER,
            (_, Some(_), Some(majority)) => majority + self.settle,
            (Quorum::Unsettled, Some(_), None) => self.started + self.settle,
            (Quorum::Lost, Some(_), None) => Instant::NEVER,
        }
    }

    pub fn status(&self) -> QuorumStatus {
        let needed = self.expected.map_or(0, needed);
        let reason = match (self.expected, self.quorum) {
            (None, _) => "no electorate: start the agent with --expected N".to_owned(),
            (Some(expected), Quorum::Held) => {
                format!("{} of {expected} expected members are present, {needed} are needed", self.present)
            }
            (Some(expected), Quorum::Lost) => {
                format!(
                    "only {} of {expected} expected members are present, {needed} are needed",
                    self.present
                )
            }
            (Some(expected), Quorum::Unsettled) => format!(
                "{} of {expected} expected members are present, {needed} are needed; still settling",
                self.present
            ),
        };
        QuorumStatus {
            quorum: self.quorum,
            since: self.since,
            present: self.present,
            needed,
            expected: self.expected,
            reason,
        }
    }

    fn judge(&mut self, now: Instant) -> Quorum {
        let Some(expected) = self.expected else { return Quorum::Unsettled };
        if self.present < needed(expected) {
            self.majority_since = None;
            let early = self.quorum == Quorum::Unsettled && now < self.started + self.settle;
            return if early { Quorum::Unsettled } else { Quorum::Lost };
        }
        let majority_since = *self.majority_since.get_or_insert(now);
        if now >= majority_since + self.settle { Quorum::Held } else { self.quorum }
    }
}

/// A majority of `expected`: two of them always share a member.
fn needed(expected: u32) -> u32 {
    expected / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    fn of(expected: u32) -> Majority {
        Majority::new(at(0), Some(expected), Duration::from_secs(2))
    }

    #[test]
    fn two_disjoint_sides_never_both_have_enough() {
        for expected in 1..=1000_u32 {
            for ours in 0..=expected {
                assert!(ours < needed(expected) || expected - ours < needed(expected));
            }
        }
    }

    #[test]
    fn a_loss_is_said_at_once_and_a_return_only_when_it_lasts() {
        let mut majority = of(5);
        assert!(!majority.observe(at(0), 5));
        assert!(majority.observe(at(2), 5));
        assert_eq!(majority.status().quorum, Quorum::Held);
        assert!(majority.observe(at(10), 2));
        assert_eq!(majority.status().quorum, Quorum::Lost);
        assert!(!majority.observe(at(11), 3));
        assert!(!majority.observe(at(12), 2), "it did not last");
        assert!(!majority.observe(at(13), 3));
        assert!(!majority.observe(at(14), 3));
        assert_eq!(majority.next(), at(15));
        assert!(majority.observe(at(15), 3));
        assert_eq!(majority.status().quorum, Quorum::Held);
    }

    #[test]
    fn at_the_start_it_is_unsettled_until_the_others_had_a_chance() {
        let mut majority = of(3);
        assert!(!majority.observe(at(0), 1));
        assert!(!majority.observe(at(1), 1));
        assert!(majority.observe(at(2), 1));
        assert_eq!(majority.status().quorum, Quorum::Lost);
    }

    #[test]
    fn without_an_electorate_there_is_no_quorum() {
        let mut majority = Majority::new(at(0), None, Duration::from_secs(2));
        assert!(!majority.observe(at(50), 1000));
        assert_eq!(majority.status().quorum, Quorum::Unsettled);
        assert!(majority.status().reason.contains("--expected"));
    }
}
