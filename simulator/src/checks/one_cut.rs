//! Any cut ends in one roster among all that hold quorum.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use heartsay_membership::Instant;

use super::Violations;

/// Two members that both hold quorum and do not act for the same cluster. Of several ways the worst is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// One has the other for down.
    Down {
        /// Who says so.
        observer: usize,
        /// Of whom.
        subject: usize,
    },
    /// One does not have the other on its roster, though not for down.
    Outside {
        /// Whose roster.
        observer: usize,
        /// Who is not on it.
        subject: usize,
    },
    /// Both have each other on their rosters, and differ about a third member.
    Rosters {
        /// Who has it on its roster.
        with: usize,
        /// Who has not.
        without: usize,
        /// The third member.
        about: usize,
    },
}

impl Split {
    fn kind(&self) -> u8 {
        match self {
            Self::Down { .. } => 0,
            Self::Outside { .. } => 1,
            Self::Rosters { .. } => 2,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { observer, subject } => {
                write!(f, "n{observer} and n{subject} hold quorum, and n{observer} has n{subject} for down")
            }
            Self::Outside { observer, subject } => {
                write!(
                    f,
                    "n{observer} and n{subject} hold quorum, and n{observer} does not know n{subject} as a member"
                )
            }
            Self::Rosters { with, without, about } => {
                write!(f, "n{with} and n{without} hold quorum, and only n{with} has n{about} on its roster")
            }
        }
    }
}

/// The rule `one-cut`: told of splits, it breaks once for each kind of split and each change of the network.
#[derive(Debug)]
pub struct OneCut {
    within: Duration,
    /// Kinds that it told of since that change.
    told: BTreeSet<u8>,
    change: Instant,
}

impl OneCut {
    /// Rosters may differ for `within` after each change.
    #[must_use]
    pub fn new(within: Duration) -> Self {
        Self { within, told: BTreeSet::new(), change: Instant::EPOCH }
    }

    /// Whether a split at `at` breaks the rule, the last change of the network having been at `change`.
    #[must_use]
    pub fn is_due(&self, at: Instant, change: Instant) -> bool {
        at.since(change) >= self.within
    }

    /// There is a `split` that is due. `holders`: all that hold quorum.
    pub fn split(
        &mut self,
        out: &mut Violations,
        at: Instant,
        change: Instant,
        split: &Split,
        holders: &[usize],
    ) {
        if change != self.change {
            self.told.clear();
            self.change = change;
        }
        if self.is_due(at, change) && self.told.insert(split.kind()) {
            out.add(at, "one-cut", || {
                let names: Vec<String> = holders.iter().take(NAMED).map(|m| format!("n{m}")).collect();
                let more = if holders.len() > NAMED { ", …" } else { "" };
                let after = at.since(change).as_secs_f64();
                let names = names.join(", ");
                format!("{after:.3} s after the last change {split} (holders: {names}{more})")
            });
        }
    }
}

/// Holders that a violation names.
const NAMED: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn a_split_that_lasts_too_long_is_told_once_for_each_kind_and_change() {
        let mut rule = OneCut::new(Duration::from_millis(3500));
        let mut out = Violations::default();
        let down = Split::Down { observer: 0, subject: 2 };
        rule.split(&mut out, at(13_499), at(10_000), &down, &[0, 2]);
        assert_eq!(out.count, 0, "too early to say");
        for ms in [13_500, 13_501, 14_000] {
            rule.split(&mut out, at(ms), at(10_000), &down, &[0, 2]);
        }
        assert_eq!(out.count, 1);
        let rosters = Split::Rosters { with: 0, without: 1, about: 2 };
        rule.split(&mut out, at(14_000), at(10_000), &rosters, &[0, 1]);
        rule.split(&mut out, at(24_000), at(20_000), &down, &[0, 2]);
        assert_eq!(out.count, 3);
        assert!(out.broke("one-cut"));
        let words =
            "3.500 s after the last change n0 and n2 hold quorum, and n0 has n2 for down (holders: n0, n2)";
        assert_eq!(out.first[0].what, words);
    }
}
