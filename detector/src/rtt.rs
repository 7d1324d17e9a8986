//! How long an answer takes on a path, and how often none comes.

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
    /// Share of contacts that stay unanswered on a path of which nothing is known yet, above 0 and up to 1.
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

/// Round-trip time, retransmission time-out and failure rate of one path: 12 bytes.
///
/// *Rule* (Jacobson and Karels, RFC 6298): wait for the smoothed round trip plus four times its smoothed
/// variation.
///
/// *Left to the caller*: **Karn's rule**. Sample only an answer that names its question; one that could
/// belong to an earlier transmission is ambiguous. An answer that names its question is a good sample even
/// after the time-out, and the only way to learn that a path became slower, as nothing is doubled here after
/// a time-out.
///
/// *Weak spot*: the failure rate takes failures for independent, and they come in bursts. It rises while a
/// path is dead, so that each further unanswered contact surprises less: 1.7, 1.5, 1.3, ... on a LAN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RttEstimator {
    /// Smoothed round trip in seconds; 0 before the first sample.
    smoothed: f32,
    variation: f32,
    failure_rate: f32,
}

impl RttEstimator {
    /// A path of which nothing is known but `config`.
    #[must_use]
    pub const fn new(config: &RttConfig) -> Self {
        Self { smoothed: 0.0, variation: 0.0, failure_rate: config.failure_rate }
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

    /// A contact over this path was answered in time.
    pub fn answered(&mut self) {
        self.failure_rate -= FAILURE_WEIGHT * self.failure_rate;
    }

    /// A contact over this path was not answered in time. To judge it, ask for [`surprise`](Self::surprise)
    /// first.
    pub fn unanswered(&mut self) {
        self.failure_rate += FAILURE_WEIGHT * (1.0 - self.failure_rate);
    }

    /// Learnt share of contacts that stay unanswered, 0 to 1.
    #[must_use]
    pub const fn failure_rate(&self) -> f32 {
        self.failure_rate
    }

    /// What one more unanswered contact would say against the peer, as phi: −log10 of the failure rate. From
    /// 0 (nothing ever comes back here) to 3: however good the path, one lost datagram never convicts.
    #[must_use]
    pub fn surprise(&self) -> f64 {
        -libm::log10(f64::from(self.failure_rate.clamp(LEAST_FAILURE, 1.0)))
    }
}

/// RFC 6298's gains of the smoothed round trip and of its variation.
const ALPHA: f32 = 1.0 / 8.0;
const BETA: f32 = 1.0 / 4.0;

/// Gain of the failure rate. Honest guess: some 64 contacts are enough to tell 2 % from 30 %, and the path of
/// a member that was dead for long is trusted again after some 200 answered ones.
const FAILURE_WEIGHT: f32 = 1.0 / 64.0;

/// Floor of the failure rate: 64 remembered contacts cannot tell rarer failures from none. Honest guess.
const LEAST_FAILURE: f32 = 0.001;

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
        let mut path = RttEstimator::new(&config);
        assert_eq!((path.rto(&config), path.smoothed()), (ms(500), None));
        path.sample(ms(100));
        assert!(close(path.rto(&config), ms(300)), "100 + 4 · 50");
        path.sample(ms(200));
        assert!(close(path.rto(&config), Duration::from_micros(362_500)), "112.5 + 4 · 62.5");
    }

    #[test]
    fn time_out_stays_within_its_bounds() {
        for config in [RttConfig::local(), RttConfig::lan(), RttConfig::wan()] {
            let mut path = RttEstimator::new(&config);
            for _ in 0..100 {
                path.sample(Duration::ZERO);
            }
            assert_eq!(path.rto(&config), config.min);
            path.sample(Duration::MAX);
            assert_eq!(path.rto(&config), config.max);
            let reversed = RttConfig { min: config.max, max: config.min, ..config };
            assert_eq!(RttEstimator::new(&reversed).rto(&reversed), config.min);
            assert_eq!(path.rto(&reversed), config.min, "a reversed configuration does no harm");
        }
    }

    #[test]
    fn steady_path_is_granted_the_grain_of_the_timers() {
        let config = RttConfig { min: Duration::ZERO, ..RttConfig::lan() };
        let mut path = RttEstimator::new(&config);
        for _ in 0..200 {
            path.sample(ms(10));
        }
        assert!(close(path.rto(&config), ms(11)));
    }

    #[test]
    fn surprise_is_learnt_from_the_path() {
        let config = RttConfig::lan();
        let (mut good, mut bad) = (RttEstimator::new(&config), RttEstimator::new(&config));
        assert!((good.surprise() - 1.699).abs() < 0.001);
        for contact in 0..10_000 {
            good.answered();
            if contact % 2 == 0 { bad.answered() } else { bad.unanswered() }
        }
        assert!((good.surprise() - 3.0).abs() < 1e-6);
        assert!((bad.surprise() - 0.3).abs() < 0.02);
        for _ in 0..100_000 {
            bad.unanswered();
        }
        assert!((0.0..1e-3).contains(&bad.surprise()));
    }

    #[test]
    fn surprise_wears_off_while_nothing_comes_back() {
        let mut path = RttEstimator::new(&RttConfig::lan());
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push((path.surprise() * 10.0).round() / 10.0);
            path.unanswered();
        }
        assert_eq!(seen, [1.7, 1.5, 1.3]);
    }

    #[test]
    fn it_takes_twelve_bytes() {
        assert_eq!(size_of::<RttEstimator>(), 12);
    }
}
