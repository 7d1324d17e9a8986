//! The one place that asks the clock and the entropy of the host.
//!
//! Everything else gets its time as a value: the machine in microseconds since
//! the start of this process, people as RFC 3339. Monotonic moments become wall
//! time by one offset, which [`Clock::unix_ms`] sets anew only when the wall
//! clock was really moved, so that a moment reads the same each time it is shown.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heartsay_membership::Instant;
use jiff::Timestamp;

/// Monotonic time since the start, and how to read it as wall time.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch: tokio::time::Instant,
    /// Unix microseconds at the epoch, by the wall clock of the last look.
    epoch_unix_us: AtomicI64,
}

impl Clock {
    /// Starts counting.
    #[must_use]
    pub(crate) fn start() -> Self {
        let clock = Self { epoch: monotonic(), epoch_unix_us: AtomicI64::new(0) };
        clock.unix_ms();
        clock
    }

    /// Now, in microseconds since the start.
    #[must_use]
    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(micros(monotonic().duration_since(self.epoch)))
    }

    /// Now by the wall clock, in Unix milliseconds. Notices when the clock was set.
    pub(crate) fn unix_ms(&self) -> u64 {
        let unix_us = wall_clock_us();
        let offset = unix_us.saturating_sub(signed(self.now().as_micros()));
        if offset.abs_diff(self.epoch_unix_us.load(Ordering::Relaxed)) > SET_RATHER_THAN_DRIFTED {
            self.epoch_unix_us.store(offset, Ordering::Relaxed);
        }
        u64::try_from(unix_us / 1000).unwrap_or(0)
    }

    /// Whether the wall clock was moved since the last look; a suspended host's is, as ours stands still meanwhile.
    #[must_use]
    pub(crate) fn was_moved(&self) -> bool {
        let offset = wall_clock_us().saturating_sub(signed(self.now().as_micros()));
        offset.abs_diff(self.epoch_unix_us.load(Ordering::Relaxed)) > SET_RATHER_THAN_DRIFTED
    }

    /// When tokio has to wake somebody who waits for `when`. Moments past
    /// `HORIZON` from now wait that long at most; waking early is harmless.
    #[must_use]
    pub(crate) fn deadline(&self, when: Instant) -> tokio::time::Instant {
        let now = monotonic();
        let wait = Duration::from_micros(when.as_micros()).saturating_sub(now.duration_since(self.epoch));
        now + wait.min(HORIZON)
    }

    /// The moment `wait` from now, for those who wait on tokio.
    #[must_use]
    pub(crate) fn after(&self, wait: Duration) -> tokio::time::Instant {
        monotonic() + wait
    }

    /// `at` as RFC 3339 in UTC with microseconds.
    #[must_use]
    pub(crate) fn stamp(&self, at: Instant) -> String {
        let unix_us = self.epoch_unix_us.load(Ordering::Relaxed).saturating_add(signed(at.as_micros()));
        format!("{:.6}", Timestamp::from_microsecond(unix_us).unwrap_or(Timestamp::MAX))
    }
}

/// 16 random bytes from the operating system.
///
/// # Errors
/// When the system has none to give.
pub(crate) fn entropy() -> anyhow::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the monotonic clock")]
fn monotonic() -> tokio::time::Instant {
    std::time::Instant::now().into()
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the wall clock")]
fn wall_clock_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| signed(micros(since)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// Slewing moves a clock by at most half a millisecond per second, so between
/// two looks a minute apart by 30 ms; more than 100 ms was set by somebody. In µs.
const SET_RATHER_THAN_DRIFTED: u64 = 100_000;
/// Longest wait handed to tokio.
const HORIZON: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_the_same_each_time_it_is_shown() {
        let clock = Clock::start();
        let moment = clock.now();
        let first = clock.stamp(moment);
        clock.unix_ms();
        assert_eq!(clock.stamp(moment), first);
        let parsed: Timestamp = first.parse().unwrap();
        let apart = parsed.as_millisecond().abs_diff(i64::try_from(clock.unix_ms()).unwrap());
        assert!(apart < 1000, "{first} is {apart} ms off");
        assert_eq!(first.len(), "2026-01-01T00:00:00.000000Z".len());
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let clock = Clock::start();
        clock.epoch_unix_us.store(0, Ordering::Relaxed);
        assert!(clock.stamp(clock.now()).starts_with("1970") && clock.was_moved());
        clock.unix_ms();
        assert!(!clock.was_moved());
        assert!(!clock.stamp(clock.now()).starts_with("1970"));
    }

    #[test]
    fn no_deadline_is_a_long_wait_and_the_past_is_now() {
        let clock = Clock::start();
        assert!(clock.deadline(Instant::NEVER) <= monotonic() + HORIZON);
        assert!(clock.deadline(Instant::EPOCH) <= monotonic());
    }
}
