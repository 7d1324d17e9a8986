//! One look at one thing, by kind: what is found, and what makes the next look due before its time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::disk::Disk;
use super::exec::Exec;
use super::process::Process;
use super::run::Tools;
use super::unit::Unit;
use super::{Check, Kind, Place, Url, http};
use crate::services::Health;

/// What one look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// As if it were the only look.
    pub(super) health: Health,
    /// One line for people, of bounded length.
    pub(super) text: String,
}

impl Found {
    /// All is well.
    pub(super) fn passing(text: impl Into<String>) -> Self {
        Self { health: Health::Passing, text: text.into() }
    }

    /// It works, and something is wrong.
    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self { health: Health::Warning, text: text.into() }
    }

    /// It does not.
    pub(super) fn critical(text: impl Into<String>) -> Self {
        Self { health: Health::Critical, text: text.into() }
    }
}

/// Looks, and remembers what it has to from one look to the next.
#[derive(Debug)]
pub(super) enum Probe {
    Tcp(Place),
    Http(Url),
    Exec(Box<Exec>),
    Process(Process),
    Unit(Box<Unit>),
    Ttl(Ttl),
    Disk(Disk),
}

impl Probe {
    /// Of a check, whose service's owner gives signs of life by `sign`.
    pub(super) fn new(check: &Check, tools: &Tools, sign: &Arc<Notify>) -> Self {
        match &check.kind {
            Kind::Tcp(place) => Self::Tcp(place.clone()),
            Kind::Http(url) => Self::Http(url.clone()),
            Kind::Exec(words) => Self::Exec(Box::new(Exec::new(words, tools))),
            Kind::Process(file) => Self::Process(Process::new(file)),
            Kind::Unit(unit) => Self::Unit(Box::new(Unit::new(Path::new(BUS), Path::new(CGROUPS), unit))),
            Kind::Ttl(time) => Self::Ttl(Ttl::new(*time, Arc::clone(sign))),
            Kind::Disk(dir) => Self::Disk(Disk::new(dir)),
        }
    }

    /// Looks once, for at most about this long.
    pub(super) async fn look(&mut self, limit: Duration) -> Found {
        let looked = async {
            match self {
                // Ends by itself, with all that it has started.
                Self::Exec(exec) => return Ok(exec.look(limit).await),
                Self::Tcp(place) => tokio::time::timeout(limit, connect(place)).await,
                Self::Http(url) => tokio::time::timeout(limit, http::look(url)).await,
                Self::Process(process) => tokio::time::timeout(limit, process.look()).await,
                Self::Unit(unit) => tokio::time::timeout(limit, unit.look(limit)).await,
                Self::Disk(disk) => tokio::time::timeout(limit, disk.look()).await,
                Self::Ttl(ttl) => Ok(ttl.look()),
            }
        };
        looked.await.unwrap_or_else(|_| Found::critical(format!("no answer within {limit:?}")))
    }

    /// Waits until something has happened that the next look should see at once.
    pub(super) async fn stirred(&mut self) {
        match self {
            Self::Process(process) => process.stirred().await,
            Self::Unit(unit) => unit.stirred().await,
            Self::Ttl(ttl) => ttl.stirred().await,
            Self::Tcp(_) | Self::Http(_) | Self::Exec(_) | Self::Disk(_) => std::future::pending().await,
        }
    }
}

async fn connect(place: &Place) -> Found {
    match TcpStream::connect(place.addresses()).await {
        Ok(_) => Found::passing("accepts connections"),
        Err(error) => Found::critical(error.to_string()),
    }
}

/// The signs of life of a service's owner.
#[derive(Debug)]
pub(super) struct Ttl {
    within: Duration,
    /// Of the last, or since when one is waited for.
    last: Instant,
    heard: bool,
    sign: Arc<Notify>,
}

impl Ttl {
    fn new(within: Duration, sign: Arc<Notify>) -> Self {
        Self { within, last: Instant::now(), heard: false, sign }
    }

    fn look(&self) -> Found {
        match (Instant::now().saturating_duration_since(self.last) < self.within, self.heard) {
            (true, true) => Found::passing("its owner has been heard in time"),
            (true, false) => Found::warning("its owner has not been heard yet"),
            (false, _) => Found::critical(format!("its owner has said nothing for {:?}", self.within)),
        }
    }

    async fn stirred(&mut self) {
        let due = self.last + self.within;
        // Once it is overdue there is nothing but a sign to wait for.
        let overdue = async {
            match Instant::now() < due {
                true => tokio::time::sleep_until(due).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.sign.notified() => (self.last, self.heard) = (Instant::now(), true),
            () = overdue => self.wake(Instant::now(), due),
        }
    }

    fn wake(&mut self, now: Instant, due: Instant) {
        // This process was not running, and perhaps the owner was not either.
        if now.saturating_duration_since(due) > LATE {
            self.last = now;
        }
    }
}

/// Where systemd can be asked.
const BUS: &str = "/run/dbus/system_bus_socket";
/// Where systemd has its units.
const CGROUPS: &str = "/sys/fs/cgroup";
/// A timer that fires so much too late is no delay of an agent that runs.
const LATE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_owner_has_to_speak_in_time_and_is_heard_at_once() {
        let (sign, within) = (Arc::new(Notify::new()), Duration::from_millis(50));
        let mut ttl = Ttl::new(within, Arc::clone(&sign));
        assert_ne!(ttl.look().health, Health::Passing, "not heard yet");
        ttl.stirred().await;
        assert!(ttl.last.elapsed() >= within, "it is looked at when it is due");
        assert_eq!(ttl.look().health, Health::Critical);
        sign.notify_one();
        let before = ttl.last;
        ttl.stirred().await;
        assert!(ttl.last > before && ttl.heard);
    }

    #[tokio::test]
    async fn an_owner_has_its_time_again_after_a_moment_in_which_nothing_ran() {
        let (now, within) = (Instant::now(), Duration::from_secs(10));
        let mut ttl = Ttl { last: now, ..Ttl::new(within, Arc::default()) };
        let due = now + within;
        ttl.wake(due + LATE / 2, due);
        assert_eq!(ttl.last, now, "late, as timers are");
        ttl.wake(due + 60 * LATE, due);
        assert_eq!(ttl.last, due + 60 * LATE);
    }
}
