//! The decision, pure and apart from its timers and effects.

use core::time::Duration;

use crate::detection::witnesses::{self, Testimony};

/// What to make of an accused member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough yet.
    Hold,
    /// Enough of those who could know say that it is gone.
    Down,
}

/// How much of the cluster is accused at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuspectShare {
    /// One, or a few.
    #[default]
    Few,
    /// Two or more, and over a quarter of the cluster: perhaps a switch, perhaps a cut that is still showing.
    Many,
    /// Over half of the others: probably it is us who are cut off.
    Most,
}

impl SuspectShare {
    /// Of `others` members beside ourselves that were not down or left, so many are suspect.
    pub fn of(suspect: u32, others: u32) -> Self {
        if others >= 3 && suspect.saturating_mul(2) > others {
            Self::Most
        } else if suspect >= 2 && suspect.saturating_mul(4) > others.saturating_add(1) {
            Self::Many
        } else {
            Self::Few
        }
    }
}

/// What the judge knows beside the testimony.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Since the first contact that stayed unanswered.
    pub silence: Duration,
    /// The pause that a healthy process may take.
    pub acceptable_pause: Duration,
    /// How many others look silent too.
    pub suspect_share: SuspectShare,
    /// We were away a moment ago and have not caught up.
    pub recovering: bool,
}

/// *Silence is evidence, never proof.* One word from the kernel that the
/// process is gone needs a second one; mere silence needs a majority of the
/// witnesses, each with a silence of its own beyond the acceptable pause.
///
/// The more members look silent at once, the longer one waits, since it may be
/// us; but not for ever: the last survivor of a cluster may be right.
pub fn decide(testimony: Testimony, circumstances: Circumstances) -> Verdict {
    let Circumstances { silence, acceptable_pause, suspect_share, recovering } = circumstances;
    if recovering || testimony.needed == 0 {
        return Verdict::Hold;
    }
    let patience = patience(acceptable_pause, suspect_share);
    // A kernel that answers is a host that we reach, so being cut off does not
    // explain it; but a filter in front of most hosts may refuse for all of them.
    let refused =
        testimony.refused >= testimony.needed.min(witnesses::REFUSED) && suspect_share != SuspectShare::Most;
    let silent = testimony.proven >= testimony.needed && silence >= patience;
    if refused || silent { Verdict::Down } else { Verdict::Hold }
}

/// How long silence has to last for a verdict.
pub fn patience(acceptable_pause: Duration, suspect_share: SuspectShare) -> Duration {
    acceptable_pause
        * match suspect_share {
            SuspectShare::Few => 1,
            SuspectShare::Many => PATIENCE_WITH_MANY,
            SuspectShare::Most => PATIENCE_WITH_MOST,
        }
}

/// Acceptable pauses to wait while many are silent. Three: by then nearly all
/// accusations of a cut have arrived, and it shows for what it is (measured
/// with the scenario `partition`).
const PATIENCE_WITH_MANY: u32 = 3;
/// Acceptable pauses to wait while most are silent. Long enough for the usual
/// outage of a switch to pass; honest guess.
const PATIENCE_WITH_MOST: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(2);

    fn verdict(
        proven: usize,
        refused: usize,
        needed: usize,
        silence: u64,
        suspect_share: SuspectShare,
    ) -> Verdict {
        let testimony = Testimony { proven: proven + refused, refused, needed, ..Testimony::default() };
        let silence = Duration::from_secs(silence);
        decide(
            testimony,
            Circumstances { silence, acceptable_pause: PAUSE, suspect_share, recovering: false },
        )
    }

    #[test]
    fn silence_needs_a_majority_of_witnesses_and_the_whole_pause() {
        assert_eq!(verdict(2, 0, 3, 9, SuspectShare::Few), Verdict::Hold);
        assert_eq!(verdict(3, 0, 3, 1, SuspectShare::Few), Verdict::Hold);
        assert_eq!(verdict(3, 0, 3, 2, SuspectShare::Few), Verdict::Down);
    }

    #[test]
    fn two_refusals_need_no_pause_and_one_is_not_enough() {
        assert_eq!(verdict(0, 1, 3, 0, SuspectShare::Few), Verdict::Hold);
        assert_eq!(verdict(0, 2, 3, 0, SuspectShare::Few), Verdict::Down);
    }

    #[test]
    fn the_only_other_member_decides_alone() {
        assert_eq!(verdict(1, 0, 1, 2, SuspectShare::Few), Verdict::Down);
        assert_eq!(verdict(0, 1, 1, 0, SuspectShare::Few), Verdict::Down);
    }

    #[test]
    fn whoever_seems_cut_off_waits_longer_but_not_for_ever() {
        assert_eq!(verdict(3, 0, 3, 9, SuspectShare::Most), Verdict::Hold);
        assert_eq!(verdict(3, 0, 3, 10, SuspectShare::Most), Verdict::Down);
    }

    #[test]
    fn many_silent_at_once_make_everybody_wait_a_little() {
        assert_eq!(verdict(3, 0, 3, 5, SuspectShare::Many), Verdict::Hold);
        assert_eq!(verdict(3, 0, 3, 6, SuspectShare::Many), Verdict::Down);
        assert_eq!(SuspectShare::of(1, 1), SuspectShare::Few, "one of two");
        assert_eq!(SuspectShare::of(1, 2), SuspectShare::Few, "one of three");
        assert_eq!(SuspectShare::of(2, 4), SuspectShare::Many);
        assert_eq!(SuspectShare::of(33, 127), SuspectShare::Many);
        assert_eq!(SuspectShare::of(32, 127), SuspectShare::Few, "a quarter, not more");
        assert_eq!(SuspectShare::of(7, 9), SuspectShare::Most);
    }

    #[test]
    fn nothing_is_decided_in_the_moment_after_a_stall() {
        let testimony = Testimony { proven: 5, refused: 5, needed: 3, ..Testimony::default() };
        let circumstances = Circumstances {
            silence: PAUSE * 9,
            acceptable_pause: PAUSE,
            suspect_share: SuspectShare::Few,
            recovering: true,
        };
        assert_eq!(decide(testimony, circumstances), Verdict::Hold);
    }
}
