//! After the calm: all members know the truth, within a bound.

use core::time::Duration;

use heartsay_membership::Instant;

use super::Violations;
use crate::oracle::Board;
use crate::scenario::Check;

/// Asks at the end of a run whether all live members agree with the truth, and
/// since when. `calm` is when the last trouble was over. Gives the seconds it
/// took, or `None` when they do not agree.
pub fn liveness(
    out: &mut Violations,
    at: Instant,
    calm: Instant,
    board: &Board,
    check: &Check,
) -> Option<f64> {
    let took = board.right_since().since(calm);
    let agrees = board.wrong() == 0;
    if !check.liveness {
        return agrees.then_some(took.as_secs_f64());
    }
    if !agrees {
        out.add(at, "no-agreement", || {
            let pairs = board.examples(4, Board::is_wrong);
            let words: Vec<String> = pairs
                .iter()
                .map(|&(o, s)| format!("n{o} believes n{s} is {:?}", board.belief(o, s)))
                .collect();
            format!(
                "{} of the views' entries are wrong {:.1} s after the last trouble: {} …",
                board.wrong(),
                at.since(calm).as_secs_f64(),
                words.join(", ")
            )
        });
    } else if took > check.agree_within.0 {
        out.add(board.right_since(), "late-agreement", || {
            format!(
                "agreement came {:.3} s after the last trouble; {} allowed",
                took.as_secs_f64(),
                check.agree_within
            )
        });
    }
    if let Some((o, s)) = board.lasting_doubts(at, DOUBT).next() {
        out.add(at, "live-suspect", || format!("n{o} still suspects n{s}, which is fine"));
    }
    agrees.then_some(took.as_secs_f64())
}

/// A suspicion younger than this may be about to be refuted, as some are at any moment where datagrams are lost: in this
/// time it is either refuted or judged, with the shipped acceptable pause.
const DOUBT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Belief;
    use crate::scenario::Span;
    use heartsay_membership::Status;

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    /// Two members that know one another since second `s`.
    fn board(s: u64) -> Board {
        let mut board = Board::default();
        for member in 0..2 {
            board.add();
            board.set_up(at(0), member, true);
        }
        board.set(at(s), 0, 1, Belief::Is(Status::Alive));
        board.set(at(s), 1, 0, Belief::Is(Status::Alive));
        board
    }

    fn check() -> Check {
        Check { agree_within: Span::secs(5), ..Check::default() }
    }

    #[test]
    fn agreement_in_time_passes_and_is_timed() {
        let mut out = Violations::default();
        assert_eq!(liveness(&mut out, at(60), at(2), &board(4), &check()), Some(2.0));
        assert_eq!(out.count, 0);
    }

    #[test]
    fn late_missing_and_suspicious_views_are_seen() {
        let mut out = Violations::default();
        liveness(&mut out, at(60), at(2), &board(9), &check());
        assert!(out.broke("late-agreement"));

        let mut out = Violations::default();
        let mut ghost = board(4);
        ghost.set_up(at(5), 1, false);
        assert_eq!(liveness(&mut out, at(60), at(5), &ghost, &check()), None);
        assert!(out.broke("no-agreement"), "an old crash must be known");

        let mut out = Violations::default();
        let mut doubt = board(4);
        doubt.set(at(50), 0, 1, Belief::Is(Status::Suspect));
        liveness(&mut out, at(52), at(2), &doubt, &check());
        assert!(!out.broke("live-suspect"), "it may be about to be refuted");
        liveness(&mut out, at(60), at(2), &doubt, &check());
        assert!(out.broke("live-suspect"));
    }
}
