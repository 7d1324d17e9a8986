//! Which members come and go: how often each was called down of late, by what is its own.
//!
//! Picture: one neighbour who keeps slamming the door is rude; when all doors slam at once, it is the wind.
//!
//! A verdict counts against its subject only if this agent was itself in contact with most of the cluster, and if no other
//! member fell at about the same time: what takes several at once is one event of the network, and no habit of each.
//! *Weak spot*: of two members that come and go by themselves at the same moments, neither is named.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use heartsay_membership::Instant;

/// Verdicts of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Falls(VecDeque<Fall>);

#[derive(Debug)]
struct Fall {
    at: Instant,
    name: String,
    /// This agent was in contact with most of the cluster.
    in_contact: bool,
}

impl Falls {
    /// A member was called down.
    pub(crate) fn note(&mut self, now: Instant, name: &str, in_contact: bool) {
        self.forget(now);
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Fall { at: now, name: name.to_owned(), in_contact });
    }

    /// How often each fell by itself; members that did not are left out.
    pub(crate) fn count(&mut self, now: Instant) -> BTreeMap<String, usize> {
        self.forget(now);
        let mut falls: BTreeMap<String, usize> = BTreeMap::new();
        for (number, fall) in self.0.iter().enumerate() {
            let is_near = |other: &&Fall| other.at.since(fall.at).max(fall.at.since(other.at)) <= TOGETHER;
            let is_other = |other: &Fall| other.name != fall.name;
            let (before, from_here) = (self.0.iter().take(number).rev(), self.0.iter().skip(number));
            let is_alone =
                !before.take_while(is_near).any(is_other) && !from_here.take_while(is_near).any(is_other);
            if fall.in_contact && is_alone {
                *falls.entry(fall.name.clone()).or_default() += 1;
            }
        }
        falls
    }

    fn forget(&mut self, now: Instant) {
        while self.0.front().is_some_and(|fall| now.since(fall.at) > LATELY) {
            self.0.pop_front();
        }
    }
}

/// Whether a member that fell so often comes and goes. Honest guess: once is an accident.
pub(crate) fn is_flapping(falls: usize) -> bool {
    falls >= 2
}

/// What counts as of late.
const LATELY: Duration = Duration::from_secs(600);
/// Verdicts on members that fell silent at the same moment come within this time of each other: some seconds of `wan`, with as
/// much for the rounds in which they travel. Honest guess.
const TOGETHER: Duration = Duration::from_secs(15);
/// Every member of a large cluster may fall, and few fall twice.
const KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    /// What is counted at second 500 of these.
    fn counted(all: &[(u64, &str, bool)]) -> Vec<(String, usize)> {
        let mut falls = Falls::default();
        all.iter().for_each(|(s, name, in_contact)| falls.note(at(*s), name, *in_contact));
        falls.count(at(500)).into_iter().collect()
    }

    fn one(name: &str, falls: usize) -> (String, usize) {
        (name.to_owned(), falls)
    }

    #[test]
    fn a_member_that_falls_alone_again_and_again_comes_and_goes() {
        assert_eq!(counted(&[(10, "m5", true), (22, "m5", true), (34, "m5", true)]), [one("m5", 3)]);
        assert!(is_flapping(2) && !is_flapping(1));
    }

    #[test]
    fn a_cut_that_takes_several_is_no_habit_of_each_however_often_it_comes() {
        let cut = |s| [(s, "m4", true), (s + 3, "m5", true)];
        assert_eq!(counted(&[cut(10), cut(100)].concat()), []);
        // What one of them does beside that is its own.
        assert_eq!(
            counted(&[&cut(10)[..], &[(100, "m5", true), (200, "m5", true)]].concat()),
            [one("m5", 2)]
        );
    }

    #[test]
    fn what_is_said_by_an_agent_that_is_cut_off_itself_counts_against_no_other() {
        assert_eq!(counted(&[(10, "m1", false), (100, "m1", false), (200, "m1", true)]), [one("m1", 1)]);
    }

    #[test]
    fn a_fall_is_forgotten_after_ten_minutes_and_a_crowd_is_bounded() {
        let mut falls = Falls::default();
        falls.note(at(0), "m5", true);
        assert_eq!(falls.count(at(600)).len(), 1);
        assert_eq!(falls.count(at(601)).len(), 0);
        for n in 0..10_000 {
            falls.note(at(700), &format!("m{n}"), true);
        }
        assert_eq!(falls.0.len(), KEPT);
        assert_eq!(falls.count(at(700)).len(), 0);
    }
}
