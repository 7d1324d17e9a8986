//! How bad a member is, so that the worst stand first.

use super::list::sorted;
use crate::cli::members::note;
use crate::cli::output::brief;
use crate::types::{Member, PathRow};

/// The worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Called down, or kept out.
    Down,
    /// Accused.
    Suspect,
    /// It lives and does not answer this agent.
    Cut,
    /// It comes and goes.
    Flapping,
    /// It loses much, answers late, or its service does not beat.
    Slow,
    /// Nothing.
    Well,
    /// It has said good-bye.
    Left,
}

impl Trouble {
    /// Of this member, whose round trip is seldom above `usual` seconds times [`FAR`].
    pub(super) fn of(member: &Member, path: Option<&PathRow>, usual: f64) -> Self {
        match member.status.as_str() {
            "down" => return Self::Down,
            "suspect" => return Self::Suspect,
            "left" => return Self::Left,
            _ => {}
        }
        if path.is_some_and(|path| path.state == "down") || member.reachable == Some(false) {
            Self::Cut
        } else if member.flapping {
            Self::Flapping
        } else if member.degraded || !member.beating || member.phi >= LATE || is_far(path, usual) {
            Self::Slow
        } else {
            Self::Well
        }
    }

    /// Alive, and yet worth a look.
    pub(super) fn is_doubt(self) -> bool {
        matches!(self, Self::Cut | Self::Flapping | Self::Slow)
    }
}

/// What is unusual about the member, in words; empty where nothing is.
pub(super) fn remarks(
    member: &Member,
    me: &str,
    path: Option<&PathRow>,
    trouble: Trouble,
    usual: f64,
) -> String {
    let mut remarks = Vec::new();
    match trouble {
        Trouble::Flapping => remarks.push("comes and goes".to_owned()),
        Trouble::Slow if member.phi >= LATE => remarks.push("its heartbeat is late".to_owned()),
        Trouble::Slow if is_far(path, usual) => {
            remarks.push(format!("answers far later than others (usually {})", brief(usual)));
        }
        Trouble::Cut if member.reachable != Some(false) => {
            remarks.push("alive, but not reachable from here".to_owned());
        }
        Trouble::Down | Trouble::Suspect | Trouble::Cut | Trouble::Slow | Trouble::Well | Trouble::Left => {}
    }
    remarks.push(note(member, me));
    remarks.retain(|remark| !remark.is_empty());
    remarks.join("; ")
}

/// The round trip that half of the paths do not exceed, in seconds.
pub(super) fn usual(paths: &[PathRow]) -> f64 {
    let all: Vec<f64> = paths.iter().filter_map(|path| path.rtt_ms).collect();
    let rtt = |number: usize| all.get(number).copied().unwrap_or_default();
    let order = sorted((0..all.len()).collect(), &|a, b| rtt(a).total_cmp(&rtt(b)));
    order.get(order.len() / 2).map_or(0.0, |number| rtt(*number) / 1e3)
}

fn is_far(path: Option<&PathRow>, usual: f64) -> bool {
    let rtt = path.and_then(|path| path.rtt_ms).map(|ms| ms / 1e3);
    rtt.is_some_and(|rtt| rtt >= LEAST && rtt >= usual * FAR)
}

/// Of phi: one silence in a thousand is as long by chance.
const LATE: f64 = 3.0;
/// Times the usual round trip, and at least so many seconds. Honest guess.
const FAR: f64 = 10.0;
const LEAST: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::super::invented::{member, path};
    use super::*;

    #[test]
    fn the_worst_comes_first_and_words_say_why() {
        let mut flapping = member("flap", "alive", "a");
        flapping.flapping = true;
        let mut degraded = member("lossy", "alive", "a");
        degraded.degraded = true;
        let mut late = member("late", "alive", "a");
        late.phi = LATE;
        let is = |member: &Member, path: Option<&PathRow>| {
            let trouble = Trouble::of(member, path, 0.001);
            (trouble, remarks(member, "me", path, trouble, 0.001))
        };
        let n1 = member("n1", "alive", "a");
        let mut far = path("n1", "up");
        far.rtt_ms = Some(150.0);
        for ((trouble, words), (wanted, part)) in [
            (is(&member("n1", "down", "a"), None), (Trouble::Down, "")),
            (is(&member("n1", "suspect", "a"), None), (Trouble::Suspect, "")),
            (is(&member("n1", "left", "a"), None), (Trouble::Left, "")),
            (is(&n1, Some(&path("n1", "down"))), (Trouble::Cut, "not reachable from here")),
            (is(&flapping, None), (Trouble::Flapping, "comes and goes")),
            (is(&degraded, None), (Trouble::Slow, "degraded")),
            (is(&late, None), (Trouble::Slow, "late")),
            (is(&n1, Some(&far)), (Trouble::Slow, "answers far later than others")),
            (is(&n1, Some(&path("n1", "up"))), (Trouble::Well, "")),
        ] {
            assert_eq!(trouble, wanted);
            assert!(words.contains(part) && words.is_empty() == part.is_empty(), "{words}");
        }
        assert!(Trouble::Down < Trouble::Suspect && Trouble::Suspect < Trouble::Flapping);
        assert!(Trouble::Flapping < Trouble::Slow && Trouble::Slow < Trouble::Well);
    }
}
