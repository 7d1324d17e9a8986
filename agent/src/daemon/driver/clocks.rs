//! Clocks that are more than a day apart: ours, if peers refuse it, or that of a life that begins in the far future.

use std::time::Duration;

use heartsay_membership::{Instant, Name, Node};

use super::Reporter;
use crate::doctor::Code;

impl Reporter {
    /// Whether any clock is in doubt. The machine is then told the wall clock at each wake-up.
    pub(super) fn doubts_a_clock(&self) -> bool {
        !self.state.far_future.is_empty() || self.state.clock_refused.is_some()
    }

    /// By our clock, a life begins more than a day from now.
    pub(super) fn note_far_future(&mut self, node: &Node, now: Instant, name: &Name, ahead_ms: u64) {
        let generation = self.clock.unix_ms().saturating_add(ahead_ms);
        if self.state.far_future.note(now, name, generation) {
            self.tell_of_clock(node);
        }
    }

    /// Takes back what is over.
    pub(super) fn look_at_clocks(&mut self, node: &Node, now: Instant) {
        if !self.state.far_future.is_empty() {
            self.state.far_future.look(now, self.clock.unix_ms());
            self.tell_of_clock(node);
        }
        if self.state.clock_refused.is_some_and(|last| now.since(last) >= MINUTE) {
            self.state.clock_refused = None;
            self.event_log.condition(Code::ClockOff, None);
        }
    }

    fn tell_of_clock(&self, node: &Node) {
        let census = node.census();
        let others = usize::try_from(census.alive + census.suspect).unwrap_or(usize::MAX).saturating_sub(1);
        let stamp = self.clock.stamp(self.clock.now());
        let sentence = self.state.far_future.sentence(others, self.clock.unix_ms(), &stamp);
        self.event_log.condition_of(Code::ClockOff, "others", sentence);
    }
}

/// So long after the last refusal by a peer it is over.
const MINUTE: Duration = Duration::from_secs(60);
