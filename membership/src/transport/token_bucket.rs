//! A budget of datagrams per second, with room for short peaks.

use core::time::Duration;

use crate::Instant;

/// Token bucket: fills with time, each datagram takes one token.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    /// Thousandths of a datagram, so that the arithmetic is exact.
    tokens: u64,
    filled: Instant,
    per_second: u64,
    /// Size of the bucket, in seconds of the rate.
    peak: u64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(now: Instant, per_second: u32) -> Self {
        Self::with_peak(now, per_second, PEAK)
    }

    /// A full bucket that holds the tokens of so many seconds.
    pub fn with_peak(now: Instant, per_second: u32, seconds: u32) -> Self {
        let (per_second, peak) = (u64::from(per_second.max(1)), u64::from(seconds));
        Self { tokens: per_second * peak * 1000, filled: now, per_second, peak }
    }

    /// How many datagrams may leave now.
    pub fn available(&mut self, now: Instant) -> usize {
        let millis = u64::try_from(now.since(self.filled).as_millis()).unwrap_or(u64::MAX);
        self.filled += Duration::from_millis(millis);
        let most = self.per_second * self.peak * 1000;
        self.tokens = self.tokens.saturating_add(millis.saturating_mul(self.per_second)).min(most);
        usize::try_from(self.tokens / 1000).unwrap_or(usize::MAX)
    }

    /// How many may leave at once when the bucket is full.
    pub fn size(&self) -> usize {
        usize::try_from(self.per_second * self.peak).unwrap_or(usize::MAX)
    }

    /// How much of a peak has been used up, in tenths.
    pub fn used(&mut self, now: Instant) -> u32 {
        let most = self.size();
        let used = most.saturating_sub(self.available(now));
        u32::try_from(used.saturating_mul(10) / most.max(1)).unwrap_or(10)
    }

    /// Takes `count` tokens, or none if there are fewer.
    pub fn take(&mut self, now: Instant, count: usize) -> bool {
        let fits = self.available(now) >= count;
        if fits {
            self.tokens -= (count as u64) * 1000;
        }
        fits
    }

    /// The earliest time at which `count` datagrams may leave.
    pub fn next(&self, count: usize) -> Instant {
        let missing = (count as u64).saturating_mul(1000).saturating_sub(self.tokens);
        self.filled + Duration::from_millis(missing.div_ceil(self.per_second))
    }
}

/// Size of the bucket, in seconds of the rate: a quiet node may answer one large event at once.
const PEAK: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_allowed_once_and_then_the_rate_holds() {
        let at = |ms| Instant::EPOCH + Duration::from_millis(ms);
        let mut bucket = TokenBucket::new(at(0), 50);
        let taken = (0..10_000).filter(|ms| bucket.take(at(*ms), 1)).count();
        assert_eq!(taken, 50 * 4 + 50 * 10 - 1);
        assert!(!bucket.take(at(9_999), 1));
        assert!(bucket.next(1) > at(9_999) && bucket.next(1) <= at(10_019));
        assert!(bucket.take(bucket.next(1), 1));
        assert!(bucket.next(4) - Duration::from_millis(80) <= bucket.next(0));
        assert!(bucket.take(bucket.next(4), 4));
    }
}
