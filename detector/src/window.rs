//! What we remember of a member's rhythm.

/// Mean and deviation of the intervals between heartbeats, fading with age; in seconds.
///
/// *Picture*: a wine cask that is never emptied. Each year a hundredth is drawn and replaced by the new
/// vintage; what comes out of the tap is a mixture of all years, mostly of the last few hundred.
///
/// *Rule*: the first samples count as in a plain running mean in which a guess, made before anything was
/// heard, stands for `PRIOR_SAMPLES` = 2; from then on each new sample has weight `WEIGHT` = 0.01. The age of
/// the average sample is that of a sliding window of `2 / WEIGHT - 1` = 199 samples.
///
/// *Weak spot*: one outlier does not leave all at once, as from a window, but fades: half is gone after 69
/// samples.
///
/// *Road not taken*: the paper's ring of the last 1,000 intervals. It is 4 kB where this is 12 bytes, per
/// pair of observer and member; a table of 10,000 × 10,000 pairs would need 400 GB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct History {
    mean: f32,
    variance: f32,
    samples: u32,
}

impl History {
    /// A history of guesses: the `expected` interval and its `deviation`, in seconds, both finite and not
    /// negative.
    #[must_use]
    pub const fn new(expected: f32, deviation: f32) -> Self {
        Self { mean: expected, variance: deviation * deviation, samples: 0 }
    }

    /// Takes in one sample: `interval`, the seconds per heartbeat, moves the mean; `silence`, the seconds
    /// that nothing was heard, moves the deviation by its distance from the mean.
    ///
    /// The two are the same when no heartbeat was skipped. When some were, the rhythm is still `interval`,
    /// but a `silence` of several intervals has just proved to be harmless, and that is what the deviation is
    /// asked for. Both must be finite and not negative.
    pub fn record(&mut self, interval: f32, silence: f32) {
        self.samples = self.samples.saturating_add(1);
        let weight = if self.samples < FULL {
            (1.0 / (self.samples as f32 + PRIOR_SAMPLES)).max(WEIGHT)
        } else {
            WEIGHT
        };
        let surprise = silence - self.mean;
        self.mean += weight * (interval - self.mean);
        // West 1979: a sum of squares times positive factors, so never negative, whatever the rounding.
        self.variance = (1.0 - weight) * (self.variance + weight * surprise * surprise);
    }

    /// Mean interval in seconds.
    #[must_use]
    pub const fn mean(&self) -> f32 {
        self.mean
    }

    /// Standard deviation in seconds; never negative.
    #[must_use]
    pub fn deviation(&self) -> f32 {
        self.variance.sqrt()
    }

    /// How many samples were taken in, the prior not counted; stays at `u32::MAX`.
    #[must_use]
    pub const fn samples(&self) -> u32 {
        self.samples
    }
}

/// How many samples the prior is worth. Akka bootstraps its window with two.
const PRIOR_SAMPLES: f32 = 2.0;

/// Share of the newest sample once the history is full. Honest guess: at one heartbeat per second a changed
/// network is learnt in two minutes. Greater learns faster and lets one outlier count more.
const WEIGHT: f32 = 0.01;

/// Samples from which the newest one has its least weight, and needs no division.
const FULL: u32 = 98;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Mean and deviation, computed the long way.
    fn exact(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        (mean, (values.map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    /// Evenly spread over 0.5 .. 1.5, without a pattern that matters here (Weyl's sequence).
    fn noise(i: u32) -> f32 {
        0.5 + (i.wrapping_mul(0x9E37_79B9) >> 8) as f32 / (1 << 24) as f32
    }

    #[test]
    fn first_samples_are_a_running_mean_in_which_the_prior_counts_twice() {
        let mut history = History::new(2.0, 0.5);
        let mut all = vec![1.5, 2.5]; // two samples with mean 2 and deviation 0.5
        for i in 0..98 {
            history.record(noise(i), noise(i));
            all.push(f64::from(noise(i)));
            let (mean, deviation) = exact(all.iter().copied());
            assert!((f64::from(history.mean()) - mean).abs() < 1e-5);
            assert!((f64::from(history.deviation()) - deviation).abs() < 1e-5);
        }
    }

    #[test]
    fn a_full_history_agrees_with_an_exact_sliding_window_also_after_a_million_samples() {
        let mut history = History::new(5.0, 1.25);
        let mut window = VecDeque::new();
        for i in 0..1_000_000 {
            history.record(noise(i), noise(i));
            window.push_back(f64::from(noise(i)));
            if window.len() > 199 {
                window.pop_front();
            }
            if i > 1_000 && i % 997 == 0 {
                let (mean, deviation) = exact(window.iter().copied());
                assert!((f64::from(history.mean()) / mean - 1.0).abs() < 0.02, "mean, sample {i}");
                assert!((f64::from(history.deviation()) / deviation - 1.0).abs() < 0.05, "sample {i}");
            }
        }
        assert_eq!(history.samples(), 1_000_000);
    }

    #[test]
    fn a_perfect_rhythm_has_no_deviation_and_a_change_is_learnt() {
        let mut history = History::new(1.0, 0.25);
        for _ in 0..5_000 {
            history.record(0.1, 0.1);
        }
        assert!((history.mean() - 0.1).abs() < 1e-6);
        assert!(history.deviation() < 1e-6);
        for _ in 0..500 {
            history.record(3.0, 3.0);
        }
        assert!((history.mean() - 3.0).abs() < 0.03);
    }

    #[test]
    fn wild_samples_leave_it_finite() {
        let century = 3.2e9;
        let mut history = History::new(1.0, 0.25);
        for i in 0..10_000 {
            let interval = if i % 7 == 0 { century } else { 0.0 };
            history.record(interval, interval);
            assert!(history.mean().is_finite() && history.deviation().is_finite());
        }
    }

    #[test]
    fn it_takes_twelve_bytes() {
        assert_eq!(size_of::<History>(), 12);
    }
}
