//! The one place that asks the clock and the entropy of the host.
//!
//! Everything else gets its time as a value: the machine in microseconds since
//! the start of this process, people as RFC 3339. The time is that since the host
//! was started, sleep included: for a host that slept, a proof from before is as
//! old as it is for the other hosts. Moments become wall time by one offset,
//! which is set anew only when the wall clock was really moved, so that a moment
//! reads the same each time it is shown. It is looked at for each moment shown:
//! a reader compares it with the same wall clock.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heartsay_membership::Instant;
use jiff::Timestamp;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::readiness::readable;

/// Time since the start of this process, and how to read it as wall time.
#[derive(Debug)]
pub struct Clock {
    /// Since the host was started.
    epoch: Duration,
    /// Unix microseconds at the epoch, by the wall clock of the last look; 0 before the first.
    epoch_unix_us: AtomicI64,
}

impl Clock {
    /// Starts counting.
    #[must_use]
    pub fn start() -> Self {
        let clock = Self { epoch: since_boot(), epoch_unix_us: AtomicI64::new(0) };
        clock.unix_us();
        clock
    }

    /// Now, in microseconds since the start.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_micros(micros(since_boot().saturating_sub(self.epoch)))
    }

    /// Now by the wall clock, in Unix milliseconds.
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.unix_us() / 1000).unwrap_or(0)
    }

    /// Now by the wall clock, in Unix microseconds. Notices when the clock was set.
    fn unix_us(&self) -> i64 {
        let before = self.now();
        let unix_us = wall_clock_us();
        let offset = unix_us.saturating_sub(signed(before.as_micros()));
        let was = self.epoch_unix_us.load(Ordering::Relaxed);
        // If this thread was not scheduled between the two looks, they cannot be compared.
        let at_once = micros(self.now().since(before)) < SET_RATHER_THAN_DRIFTED / 2;
        let set = offset.abs_diff(was) > SET_RATHER_THAN_DRIFTED && (at_once || was == 0);
        if set
            && self.epoch_unix_us.compare_exchange(was, offset, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && was != 0
        {
            let (way, by) =
                (if offset > was { "forward" } else { "back" }, Duration::from_micros(offset.abs_diff(was)));
            warn!(
                "the wall clock was set {way} by {by:?}; if nobody set it, this machine was frozen with all its clocks, \
                 which breaks an assumption about quorum (docs/quorum-proofs.md, A1)"
            );
        }
        unix_us
    }

    /// Unix microseconds at the start of this process. Another number: the wall clock was set, or this machine was frozen
    /// with all its other clocks.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.unix_us();
        self.epoch_unix_us.load(Ordering::Relaxed)
    }

    /// When tokio has to wake a task that waits for `when`. Moments past
    /// `HORIZON` from now wait that long at most; waking early is harmless. While the
    /// host sleeps, tokio's time stands still: a task that wakes has to look at this clock.
    #[must_use]
    pub fn deadline(&self, when: Instant) -> tokio::time::Instant {
        self.after(when.since(self.now()).min(HORIZON))
    }

    /// The moment `wait` from now, as tokio's timers take it.
    #[must_use]
    pub fn after(&self, wait: Duration) -> tokio::time::Instant {
        monotonic() + wait
    }

    /// Waits until `when`, on a timer that runs on while the host sleeps.
    ///
    /// # Errors
    /// The system has no timer to give.
    pub async fn reached(&self, when: Instant) -> io::Result<()> {
        let at = self.epoch.saturating_add(Duration::from_micros(when.as_micros()));
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?;
        let once = Expiration::OneShot(TimeSpec::from_duration(at));
        timer.set(once, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        readable(timer.into()).await
    }

    /// `at` as RFC 3339 in UTC with microseconds.
    #[must_use]
    pub fn stamp(&self, at: Instant) -> String {
        let unix_us = self.offset().saturating_add(signed(at.as_micros()));
        format!("{:.6}", Timestamp::from_microsecond(unix_us).unwrap_or(Timestamp::MAX))
    }
}

/// 16 random bytes from the operating system.
///
/// # Errors
/// When the system has none to give.
pub fn entropy() -> Result<[u8; 16], EntropyError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(EntropyError)?;
    Ok(bytes)
}

/// The operating system has no randomness to give, and why.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct EntropyError(getrandom::Error);

#[expect(
    clippy::expect_used,
    reason = "every kernel since 2.6.39 has this clock, and the call has no other error"
)]
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME").into()
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
/// two looks a minute apart by 30 ms; more than 100 ms means that it was set. In µs.
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
    fn a_clock_that_was_set_is_followed_by_the_next_moment_shown() {
        let clock = Clock::start();
        clock.epoch_unix_us.store(1, Ordering::Relaxed);
        assert!(!clock.stamp(clock.now()).starts_with("1970"));
    }

    /// As the kernel tells it too: `/proc/uptime` counts the time asleep.
    #[test]
    fn the_time_of_the_host_counts_its_sleep() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let apart = since_boot().as_secs_f64() - uptime;
        assert!((-0.1..60.0).contains(&apart), "{apart} s");
    }

    /// In a time namespace the test before this one runs on a host that slept for a day.
    #[test]
    fn the_time_of_a_host_that_slept_for_a_day_counts_it() {
        let mut slept = std::process::Command::new("unshare");
        slept.args(["--time", "--fork", "--boottime", "86400"]);
        let possible = slept.arg("true").output().is_ok_and(|output| output.status.success());
        if !possible {
            crate::skipped::skipped("no right to make a time namespace");
            return;
        }
        let mut slept = std::process::Command::new("unshare");
        slept.args(["--time", "--fork", "--boottime", "86400"]).arg(std::env::current_exe().unwrap());
        let output = slept.args(["--exact", "clock::tests::the_time_of_the_host_counts_its_sleep"]).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[tokio::test]
    async fn a_moment_that_has_passed_is_reached_at_once_and_another_is_not_before_it() {
        let clock = Clock::start();
        clock.reached(Instant::EPOCH).await.unwrap();
        let when = clock.now() + Duration::from_millis(20);
        clock.reached(when).await.unwrap();
        assert!(clock.now() >= when);
    }

    #[test]
    fn no_deadline_is_a_long_wait_and_the_past_is_now() {
        let clock = Clock::start();
        assert!(clock.deadline(Instant::NEVER) <= monotonic() + HORIZON);
        assert!(clock.deadline(Instant::EPOCH) <= monotonic());
    }
}
