//! Whether most of our paths are dead, so that all news has to pass over the few that are left.
//!
//! Rule: many dead paths among our last calls make our surroundings sparse. They stay sparse while calls go on finding
//! dead ones. What the calls in between find does not count, as in sparse surroundings most of them go to the members
//! that we have just heard.

use core::time::Duration;

use crate::Instant;

/// What our last calls have found.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// One bit each, the latest lowest: set if the path was dead.
    calls: u8,
    /// When the last dead paths were found, the latest first.
    dead: [Instant; SPARSE],
    sparse: bool,
}

impl Surroundings {
    /// Nothing is known to be dead.
    pub fn new() -> Self {
        Self { calls: 0, dead: [Instant::EPOCH; SPARSE], sparse: false }
    }

    /// A call was answered, or the path to the member is `dead`: not even repeated questions are answered.
    pub fn note_call(&mut self, now: Instant, dead: bool) {
        self.calls = self.calls << 1 | u8::from(dead);
        if dead {
            self.dead.rotate_right(1);
            self.dead[0] = now;
        }
        let many = usize::try_from((self.calls & LAST_CALLS).count_ones()).is_ok_and(|many| many >= SPARSE);
        let lately = self.dead.iter().all(|at| now.since(*at) < STAYS);
        self.sparse = many || (self.sparse && lately);
    }

    /// Whether most of the last paths that we tried are dead.
    pub fn is_sparse(&self) -> bool {
        self.sparse
    }
}

/// The calls that count, and how many of them make our surroundings sparse. Where a third of all datagrams are lost, one
/// path in fifteen seems dead.
const LAST_CALLS: u8 = 0b1_1111;
const SPARSE: usize = 3;
/// Time in which so many dead paths are found while most are dead: there is one call in turn each second.
const STAYS: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn answers_of_those_that_are_left_do_not_end_it() {
        let mut around = Surroundings::new();
        around.note_call(at(100), true);
        around.note_call(at(101), true);
        assert!(!around.is_sparse(), "two of five");
        around.note_call(at(102), true);
        assert!(around.is_sparse());
        for second in 103..120 {
            (0..5).for_each(|_| around.note_call(at(second), false));
            around.note_call(at(second), second % 3 != 0);
            assert!(around.is_sparse());
        }
        for second in 120..127 {
            around.note_call(at(second), false);
        }
        assert!(!around.is_sparse(), "no dead path for eight seconds");
    }

    #[test]
    fn a_dead_path_now_and_then_is_no_sign() {
        let mut around = Surroundings::new();
        for second in 100..200 {
            around.note_call(at(second), second % 3 == 0);
            assert!(!around.is_sparse());
        }
    }
}
