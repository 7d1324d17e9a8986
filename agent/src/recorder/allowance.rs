//! How much may be written: much at once, little for long.

use std::time::Duration;

use heartsay_membership::Instant;

/// A bucket that fills at a steady rate.
#[derive(Debug)]
pub(crate) struct Allowance {
    most: u64,
    per_second: u64,
    left: u64,
    /// When it was last filled.
    last: Instant,
}

impl Allowance {
    /// Full.
    #[must_use]
    pub(crate) fn new(most: u64, per_second: u64, now: Instant) -> Self {
        Self { most, per_second, left: most, last: now }
    }

    /// Takes so much, unless that would leave less than `reserve`.
    pub(crate) fn take(&mut self, now: Instant, amount: u64, reserve: u64) -> bool {
        self.fill(now);
        match self.left.checked_sub(amount).filter(|left| *left >= reserve) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.since(self.last).as_secs();
        self.left = self.left.saturating_add(self.per_second.saturating_mul(seconds)).min(self.most);
        // The rest of a second counts the next time.
        self.last += Duration::from_secs(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_at_once_and_little_for_long_and_the_reserve_is_for_others() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut allowance = Allowance::new(100, 10, at(0));
        assert!(allowance.take(at(0), 80, 20));
        assert!(!allowance.take(at(0), 1, 20), "that is the reserve");
        assert!(allowance.take(at(0), 20, 0));
        assert!(!allowance.take(at(999), 1, 0));
        assert!(allowance.take(at(1999), 10, 0) && !allowance.take(at(1999), 1, 0));
        assert!(allowance.take(at(2000), 10, 0), "no part of a second is lost");
        assert!(allowance.take(at(1_000_000), 100, 0) && !allowance.take(at(1_000_000), 1, 0));
    }
}
