//! Since when something is so, of what the machine only counts: whether it hears anything, is called by others, is slow, or
//! loses datagrams unread.

use std::time::Duration;

use heartsay_membership::{Instant, Node};

use crate::doctor::rules::SLOW;

/// As of the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    looked: Option<Instant>,
    received: u64,
    dropped: u32,
    /// When something had come since the look before; that of the first look if nothing ever has.
    pub(crate) heard: Option<Instant>,
    /// Since when the machine doubts itself.
    pub(crate) slow: Option<Instant>,
    /// When the kernel last dropped anything.
    pub(crate) overflow: Option<Instant>,
    called: u64,
    called_in: u64,
    /// In how many rounds no other member has called this one. A process that stands still has no rounds, so they do not
    /// count the time in which it could not hear.
    pub(crate) rounds_uncalled: u64,
}

impl Marks {
    /// Looks again, if the last look is long enough ago. `dropped` datagrams have been lost so far.
    pub(super) fn look(&mut self, now: Instant, node: &Node, dropped: u32) {
        if self.looked.is_some_and(|last| now.since(last) < EVERY) {
            return;
        }
        let stats = node.stats();
        self.note(now, stats.datagrams_received, stats.local_health, dropped);
        self.note_calls(stats.rounds, stats.calls_received);
    }

    fn note(&mut self, now: Instant, received: u64, local_health: u8, dropped: u32) {
        self.looked = Some(now);
        if self.heard.is_none() || received > self.received {
            self.heard = Some(now);
        }
        if dropped > self.dropped {
            self.overflow = Some(now);
        }
        self.slow = if local_health >= SLOW { self.slow.or(Some(now)) } else { None };
        (self.received, self.dropped) = (received, dropped);
    }

    fn note_calls(&mut self, rounds: u64, called: u64) {
        if called > self.called {
            self.called_in = rounds;
        }
        self.called = called;
        self.rounds_uncalled = rounds.saturating_sub(self.called_in);
    }
}

/// Soon enough for people.
const EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_the_moment_of_the_last_change() {
        let at = |s: u64| Instant::EPOCH + Duration::from_secs(s);
        let mut marks = Marks::default();
        marks.note(at(1), 0, 0, 0);
        assert_eq!((marks.heard, marks.slow, marks.overflow), (Some(at(1)), None, None));
        marks.note(at(2), 5, SLOW, 1);
        marks.note(at(3), 5, SLOW + 1, 1);
        assert_eq!((marks.heard, marks.slow, marks.overflow), (Some(at(2)), Some(at(2)), Some(at(2))));
        marks.note(at(4), 6, SLOW - 1, 1);
        assert_eq!((marks.heard, marks.slow, marks.overflow), (Some(at(4)), None, Some(at(2))));
    }

    #[test]
    fn rounds_without_a_call_count_from_the_last_one() {
        let mut marks = Marks::default();
        marks.note_calls(30, 0);
        assert_eq!(marks.rounds_uncalled, 30, "never called");
        marks.note_calls(32, 1);
        assert_eq!(marks.rounds_uncalled, 0);
        marks.note_calls(40, 1);
        assert_eq!(marks.rounds_uncalled, 8);
    }
}
