//! How long an answer takes on a path.

use core::time::Duration;

/// Bounds and priors of [`RttEstimator`]; one per profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RttConfig {
    /// Time-out before the first sample.
    pub initial: Duration,
    /// Never less: covers what an answer may wait for the peer's scheduler.
    pub min: Duration,
    /// Never more: an unanswered contact must be noticed while there is still time to ask again. Wins over
    /// `min`.
    pub max: Duration,
    /// Grain of the timers (RFC 6298's `G`), the least that is granted for variation.
    pub granularity: Duration,
    /// Share of contacts that stay unanswered on paths of which nothing is known yet, above 0 and up to 1. The prior of
    /// [`LossShare`](crate::LossShare).
    pub failure_rate: f32,
}

impl RttConfig {
    /// All agents on one machine: answers take some 50 µs unless the scheduler is busy, so the bounds are
    /// about the scheduler. `initial` is memberlist's probe time-out for local use; the others are honest
    /// guesses.
    #[must_use]
    pub const fn local() -> Self {
        Self {
            initial: Duration::from_millis(200),
            min: Duration::from_millis(20),
            max: Duration::from_millis(500),
            granularity: Duration::from_millis(1),
            failure_rate: 0.01,
        }
    }

    /// One site: `initial` is memberlist's probe time-out for a LAN; `max` lets a contact fail and be
    /// repeated within the default acceptable pause of 2 s; `min` is an honest guess, a few time slices of a
    /// loaded host. A failure rate of 2 % makes the first unanswered contact worth phi 1.7.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            initial: Duration::from_millis(500),
            min: Duration::from_millis(50),
            max: Duration::from_secs(1),
            granularity: Duration::from_millis(1),
            failure_rate: 0.02,
        }
    }

    /// Between sites: `initial` is that of RFC 6298, `min` Linux's `TCP_RTO_MIN`, `max` memberlist's probe
    /// time-out for a WAN. A failure rate of 5 % (each direction loses 2.5 %) is an honest guess.
    #[must_use]
    pub const fn wan() -> Self {
        Self {
            initial: Duration::from_secs(1),
            min: Duration::from_millis(200),
            max: Duration::from_secs(3),
            granularity: Duration::from_millis(1),
            failure_rate: 0.05,
        }
    }
}

impl Default for RttConfig {
    fn default() -> Self {
        Self::lan()
    }
}

/// Round-trip time and retransmission time-out of one path: 8 bytes.
///
/// *Rule* (Jacobson and Karels, RFC 6298): wait for the smoothed round trip plus four times its smoothed
/// variation.
///
/// *Left to the caller*: **Karn's rule**. Sample only an answer that names its question; one that could
/// belong to an earlier transmission is ambiguous. An answer that names its question is a good sample even
/// after the time-out, and the only way to learn that a path became slower, as nothing is doubled here after
/// a time-out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RttEstimator {
    /// Smoothed round trip in seconds; 0 before the first sample.
    smoothed: f32,
    variation: f32,
}

impl RttEstimator {
    /// A path of which nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self { smoothed: 0.0, variation: 0.0 }
    }

    /// Takes in a measured round trip (RFC 6298, 2.2 and 2.3).
    pub fn sample(&mut self, rtt: Duration) {
        let rtt = rtt.max(SHORTEST).as_secs_f32();
        if self.smoothed == 0.0 {
            (self.smoothed, self.variation) = (rtt, rtt / 2.0);
        } else {
            self.variation += BETA * ((self.smoothed - rtt).abs() - self.variation);
            self.smoothed += ALPHA * (rtt - self.smoothed);
        }
    }

    /// How long to wait for an answer: `smoothed + max(granularity, 4 · variation)`, within the bounds.
    #[must_use]
    pub fn rto(&self, config: &RttConfig) -> Duration {
        let Some(smoothed) = self.smoothed() else { return config.initial.max(config.min).min(config.max) };
        let margin = Duration::try_from_secs_f32(4.0 * self.variation).unwrap_or(Duration::MAX);
        smoothed.saturating_add(margin.max(config.granularity)).max(config.min).min(config.max)
    }

    /// Smoothed round trip, if any was measured.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        (self.smoothed > 0.0).then(|| Duration::try_from_secs_f32(self.smoothed).unwrap_or(Duration::MAX))
    }
}

/// RFC 6298's gains of the smoothed round trip and of its variation.
const ALPHA: f32 = 1.0 / 8.0;
const BETA: f32 = 1.0 / 4.0;

/// A sample of zero (answered within the clock's grain) still is a sample.
const SHORTEST: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn close(a: Duration, b: Duration) -> bool {
        a.abs_diff(b) < Duration::from_micros(1)
    }

    #[test]
    fn time_out_follows_the_rfc() {
        let config = RttConfig::lan();
        let mut path = RttEstimator::new();
        assert_eq!((path.rto(&config), path.smoothed()), (ms(500), None));
        path.sample(ms(100));
        assert!(close(path.rto(&config), ms(300)), "100 + 4 · 50");
        path.sample(ms(200));
        assert!(close(path.rto(&config), Duration::from_micros(362_500)), "112.5 + 4 · 62.5");
    }

    #[test]
    fn time_out_stays_within_its_bounds() {
        for config in [RttConfig::local(), RttConfig::lan(), RttConfig::wan()] {
            let mut path = RttEstimator::new();
            for _ in 0..100 {
                path.sample(Duration::ZERO);
            }
            assert_eq!(path.rto(&config), config.min);
            path.sample(Duration::MAX);
            assert_eq!(path.rto(&config), config.max);
            let reversed = RttConfig { min: config.max, max: config.min, ..config };
            assert_eq!(RttEstimator::new().rto(&reversed), config.min);
            assert_eq!(path.rto(&reversed), config.min, "a reversed configuration does no harm");
        }
    }

    #[test]
    fn steady_path_is_granted_the_grain_of_the_timers() {
        let config = RttConfig { min: Duration::ZERO, ..RttConfig::lan() };
        let mut path = RttEstimator::new();
        for _ in 0..200 {
            path.sample(ms(10));
        }
        assert!(close(path.rto(&config), ms(11)));
    }

    #[test]
    fn it_takes_eight_bytes() {
        assert_eq!(size_of::<RttEstimator>(), 8);
    }
}
