//! The decision, pure and apart from its timers and effects.

use core::time::Duration;

use crate::witness::Testimony;

/// What to make of an accused member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough yet.
    Hold,
    /// Enough of those who could know say that it is gone.
    Down,
}

/// What the judge knows beside the testimony.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Since the first contact that stayed unanswered.
    pub silence: Duration,
    /// The pause that a healthy process may take.
    pub acceptable_pause: Duration,
    /// Most others look silent too: probably it is us.
    pub isolated: bool,
    /// We were away a moment ago and have not caught up.
    pub recovering: bool,
}

/// *Silence is evidence, never proof.* One word from the kernel that the
/// process is gone needs a second one; mere silence needs a majority of the
/// witnesses, each with a silence of its own beyond the acceptable pause.
///
/// Who seems to be cut off holds its verdicts, but not for ever: the last
/// survivor of a cluster may be right.
pub fn decide(testimony: Testimony, circumstances: Circumstances) -> Verdict {
    let Circumstances { silence, acceptable_pause, isolated, recovering } = circumstances;
    if recovering || testimony.needed == 0 {
        return Verdict::Hold;
    }
    let patience = if isolated { acceptable_pause * ISOLATED_PATIENCE } else { acceptable_pause };
    let refused = testimony.refused >= testimony.needed.min(2) && !isolated;
    let silent = testimony.proven >= testimony.needed && silence >= patience;
    if refused || silent { Verdict::Down } else { Verdict::Hold }
}

/// How much longer one waits who believes to be cut off. Long enough for the
/// usual outage of a switch to pass; honest guess.
pub const ISOLATED_PATIENCE: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(2);

    fn verdict(proven: usize, refused: usize, needed: usize, silence: u64, isolated: bool) -> Verdict {
        let testimony = Testimony { proven: proven + refused, refused, able: 9, needed };
        let silence = Duration::from_secs(silence);
        decide(testimony, Circumstances { silence, acceptable_pause: PAUSE, isolated, recovering: false })
    }

    #[test]
    fn silence_needs_a_majority_of_witnesses_and_the_whole_pause() {
        assert_eq!(verdict(2, 0, 3, 9, false), Verdict::Hold);
        assert_eq!(verdict(3, 0, 3, 1, false), Verdict::Hold);
        assert_eq!(verdict(3, 0, 3, 2, false), Verdict::Down);
    }

    #[test]
    fn two_refusals_need_no_pause_and_one_is_not_enough() {
        assert_eq!(verdict(0, 1, 3, 0, false), Verdict::Hold);
        assert_eq!(verdict(0, 2, 3, 0, false), Verdict::Down);
    }

    #[test]
    fn the_only_other_member_decides_alone() {
        assert_eq!(verdict(1, 0, 1, 2, false), Verdict::Down);
        assert_eq!(verdict(0, 1, 1, 0, false), Verdict::Down);
    }

    #[test]
    fn whoever_seems_cut_off_waits_longer_but_not_for_ever() {
        assert_eq!(verdict(3, 0, 3, 9, true), Verdict::Hold);
        assert_eq!(verdict(3, 0, 3, 10, true), Verdict::Down);
    }

    #[test]
    fn nothing_is_decided_in_the_moment_after_a_stall() {
        let testimony = Testimony { proven: 5, refused: 5, able: 9, needed: 3 };
        let circumstances =
            Circumstances { silence: PAUSE * 9, acceptable_pause: PAUSE, isolated: false, recovering: true };
        assert_eq!(decide(testimony, circumstances), Verdict::Hold);
    }
}
