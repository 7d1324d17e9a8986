//! The fixed time-out: so many heartbeats missed.

use core::time::Duration;

use crate::Instant;
use crate::phi::first_moment;

/// How [`Fixed`] judges; one for all members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedConfig {
    /// The interval between heartbeats. Default 1 s, the round. At least 1 µs is used.
    pub expected: Duration,
    /// How many intervals of silence make a member overdue. Default 4: about as patient as the default of
    /// [`PhiConfig`](crate::PhiConfig), so that the two can be compared. At least 1 is used.
    pub missed: u32,
    /// The phi to report at that moment. Default 8, as in [`PhiConfig`](crate::PhiConfig), so that displays
    /// and sums of evidence need only one scale.
    pub threshold: f64,
}

impl Default for FixedConfig {
    fn default() -> Self {
        Self { expected: Duration::from_secs(1), missed: 4, threshold: 8.0 }
    }
}

impl FixedConfig {
    fn patience(&self) -> Duration {
        self.expected.max(Duration::from_micros(1)).saturating_mul(self.missed.max(1))
    }
}

/// The fixed time-out of one member: 8 bytes, nothing learnt.
///
/// For those who want to know in advance, to the millisecond, and as the baseline that the others must beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    last: Instant,
}

impl Fixed {
    /// Starts to wait at `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { last: now }
    }

    /// The member's counter was seen to have advanced by `steps`; zero is no news.
    pub fn heartbeat(&mut self, now: Instant, steps: u64) {
        if steps > 0 {
            self.last = self.last.max(now);
        }
    }

    /// Not a probability but a scale: grows in proportion to the silence, 0 at a heartbeat and exactly the
    /// configured threshold when the allowed number was missed.
    #[must_use]
    pub fn phi(&self, now: Instant, config: &FixedConfig) -> f64 {
        now.since(self.last).as_secs_f64() / config.patience().as_secs_f64() * config.threshold
    }

    /// Whether the allowed number of heartbeats was missed.
    #[must_use]
    pub fn is_overdue(&self, now: Instant, config: &FixedConfig) -> bool {
        now.since(self.last) >= config.patience()
    }

    /// The first moment at which [`phi`](Self::phi) is `threshold` or more; [`Instant::NEVER`] when it never
    /// is.
    #[must_use]
    pub fn time_at_phi(&self, threshold: f64, config: &FixedConfig) -> Instant {
        let patience = config.patience().as_secs_f64() * threshold / config.threshold;
        let latest = Duration::try_from_secs_f64(patience).unwrap_or(Duration::MAX);
        first_moment(self.last, self.last + latest, |at| self.phi(at, config) >= threshold)
    }

    /// Takes our own absence of length `by` off the silence, though never beyond `now`.
    pub fn shift(&mut self, now: Instant, by: Duration) {
        self.last = (self.last + by).min(now).max(self.last);
    }

    /// When the member was last heard (or first waited for), moved on by any [`shift`](Self::shift).
    #[must_use]
    pub const fn last(&self) -> Instant {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overdue_and_threshold_are_the_same_moment_the_last_allowed_miss() {
        let config =
            FixedConfig { expected: Duration::from_millis(300), missed: 5, ..FixedConfig::default() };
        let mut member = Fixed::new(Instant::EPOCH);
        member.heartbeat(Instant::EPOCH + Duration::from_secs(7), 3);
        let due = member.last() + Duration::from_millis(1_500);
        assert_eq!(member.time_at_phi(8.0, &config), due);
        assert!(member.is_overdue(due, &config));
        assert!(!member.is_overdue(due - Duration::from_micros(1), &config));
        assert!((member.phi(due - Duration::from_millis(750), &config) - 4.0).abs() < 1e-9);
    }
}
