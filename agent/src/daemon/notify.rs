//! Words to systemd, where there is one: ready, status, watchdog, stopping.
//!
//! Without `NOTIFY_SOCKET` all of this does nothing. The watchdog is petted from
//! the protocol loop, so that it proves what it is there to prove.

use std::time::Duration;

use heartsay_membership::Instant;
use sd_notify::NotifyState;
use tracing::debug;

/// The socket answers. Whom the agent has found is status.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Re-reading the settings; [`ready`] ends it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Still starting, and for so much longer; overrides the start limit of the unit.
pub(crate) fn still_starting(line: &str, longer: Duration) {
    let micros = u32::try_from(longer.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Status(line), NotifyState::ExtendTimeoutUsec(micros)]);
}

/// On the way out.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub(crate) fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Whether a service manager listens; spares making lines without a reader.
#[must_use]
pub(crate) fn wanted() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Pets the watchdog at half its interval, whenever the loop comes by.
#[derive(Debug)]
pub(crate) struct Watchdog {
    every: Option<Duration>,
    last: Instant,
}

impl Watchdog {
    /// As the service manager wants it.
    #[must_use]
    pub(crate) fn from_environment(now: Instant) -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 2), last: now }
    }

    /// The loop is alive.
    pub(crate) fn pet(&mut self, now: Instant) {
        if self.every.is_some_and(|every| now.since(self.last) >= every) {
            self.last = now;
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(words) {
        debug!(error = %e, "the service manager cannot be told");
    }
}
