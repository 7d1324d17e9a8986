//! The decision whether a suspect is down: a pure function, apart from timers and effects.

use core::time::Duration;

use crate::detection::witnesses::{self, Testimony};

/// The decision about an accused member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough evidence yet.
    Hold,
    /// Enough witnesses say that it is gone.
    Down,
}

/// The share of the cluster that is suspect at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuspectShare {
    /// One, or a few.
    #[default]
    Few,
    /// Two or more, and over a quarter of the cluster: perhaps a failed switch, perhaps a cut that is still showing.
    Many,
    /// Over half of the others: probably we are the ones cut off.
    Most,
}

impl SuspectShare {
    /// `suspect` members out of `others`, the members beside ourselves that are not down or left.
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

/// What the decision takes into account beside the testimony.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Time since the first contact that stayed unanswered.
    pub silence: Duration,
    /// The pause that a healthy process may take.
    pub acceptable_pause: Duration,
    /// How much of the cluster looks silent.
    pub suspect_share: SuspectShare,
    /// We were away a moment ago and have not caught up.
    pub recovering: bool,
}

/// *Silence is evidence, never proof.* A refusal by the kernel, which says that the process is gone, needs a second
/// one. Mere silence needs a majority of the witnesses, each of which has seen a silence longer than the acceptable
/// pause.
///
/// The more members look silent at once, the longer the decision waits, because the fault may be ours. But it does not
/// wait without end: the last survivor of a cluster may be right.
pub fn decide(testimony: Testimony, circumstances: Circumstances) -> Verdict {
    let Circumstances { silence, acceptable_pause, suspect_share, recovering } = circumstances;
    if recovering || testimony.needed == 0 {
        return Verdict::Hold;
    }
    let patience = patience(acceptable_pause, suspect_share);
    // A kernel that answers is a host that we reach, so a cut does not explain the refusal. But a filter in front of
    // most hosts may refuse for all of them.
    let refused =
        testimony.refused >= testimony.needed.min(witnesses::REFUSED) && suspect_share != SuspectShare::Most;
    let silent = testimony.proven >= testimony.needed && silence >= patience;
    if refused || silent || told(testimony, suspect_share) { Verdict::Down } else { Verdict::Hold }
}

/// *Told, and found silent.* A source outside the cluster that knows the member's machine says that it is gone, and as
/// many witnesses as silence needs get no answer: then nobody has to wait for the acceptable pause, which is there for
/// processes that live. The word of a source alone, however many members have heard it, puts nobody down.
pub fn told(testimony: Testimony, suspect_share: SuspectShare) -> bool {
    testimony.told > 0 && testimony.silent >= testimony.needed && suspect_share != SuspectShare::Most
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

/// Acceptable pauses to wait while many are silent. Three: by then nearly all accusations of a cut have arrived, and
/// the cut is recognized (measured with the scenario `partition`).
const PATIENCE_WITH_MANY: u32 = 3;
/// Acceptable pauses to wait while most are silent. Long enough for the usual outage of a switch to pass; honest guess.
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
    fn a_source_spares_the_pause_and_no_witness() {
        let verdict = |told, silent, suspect_share| {
            let testimony = Testimony { told, silent, needed: 3, ..Testimony::default() };
            let circumstances = Circumstances {
                silence: Duration::ZERO,
                acceptable_pause: PAUSE,
                suspect_share,
                recovering: false,
            };
            decide(testimony, circumstances)
        };
        assert_eq!(verdict(1, 3, SuspectShare::Few), Verdict::Down);
        assert_eq!(verdict(1, 3, SuspectShare::Many), Verdict::Down, "the machines of one host");
        assert_eq!(verdict(0, 3, SuspectShare::Few), Verdict::Hold, "silence alone waits");
        assert_eq!(verdict(5, 2, SuspectShare::Few), Verdict::Hold, "told to five, seen by two");
        assert_eq!(verdict(1, 3, SuspectShare::Most), Verdict::Hold, "perhaps we are the ones cut off");
    }

    #[test]
    fn the_only_other_member_decides_alone() {
        assert_eq!(verdict(1, 0, 1, 2, SuspectShare::Few), Verdict::Down);
        assert_eq!(verdict(0, 1, 1, 0, SuspectShare::Few), Verdict::Down);
    }

    #[test]
    fn a_node_that_seems_cut_off_waits_longer_but_not_without_end() {
        assert_eq!(verdict(3, 0, 3, 9, SuspectShare::Most), Verdict::Hold);
        assert_eq!(verdict(3, 0, 3, 10, SuspectShare::Most), Verdict::Down);
    }

    #[test]
    fn many_silent_members_at_once_make_the_verdict_wait() {
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
    fn no_verdict_right_after_a_stall() {
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
