//! A watchdog for the service that this member stands for.
//!
//! Picture: a dead man's handle. An agent that gossips proves that the agent
//! runs, not that the database beside it does. With `beat_within` the service
//! has to beat in time; when it does not, the member rests: it gives no sign of
//! life, and the others call it down as they would a silent host.

use std::time::Duration;

use heartsay_membership::Instant;

/// Whether the service beats in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceWatchdog {
    within: Option<Duration>,
    /// The last beat, or the start.
    last: Instant,
    closed: bool,
}

impl ServiceWatchdog {
    /// The first beat is due `within` that time from now; `None`: no service has to beat.
    #[must_use]
    pub(crate) fn new(within: Option<Duration>, now: Instant) -> Self {
        Self { within, last: now, closed: false }
    }

    /// How soon after one beat the next has to come.
    #[must_use]
    pub(crate) fn within(&self) -> Option<Duration> {
        self.within
    }

    /// When the last beat was, or the start.
    #[must_use]
    pub(crate) fn last(&self) -> Instant {
        self.last
    }

    /// The beat did not come in time.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The service beats. Whether that opens the gate.
    pub(crate) fn beat(&mut self, now: Instant) -> bool {
        self.last = now;
        std::mem::take(&mut self.closed)
    }

    /// This agent was not running for so long, and may have missed a beat.
    pub(crate) fn forgive(&mut self, away: Duration) {
        self.last += away;
    }

    /// When the gate closes unless a beat comes.
    #[must_use]
    pub(crate) fn due(&self) -> Instant {
        match self.within {
            Some(within) if !self.closed => self.last + within,
            Some(_) | None => Instant::NEVER,
        }
    }

    /// Time has passed. Whether that closes the gate.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        let closes = now >= self.due();
        self.closed |= closes;
        closes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    #[test]
    fn a_late_beat_closes_the_gate_once_and_the_next_one_opens_it() {
        let mut service_watchdog = ServiceWatchdog::new(Some(Duration::from_secs(10)), at(0));
        assert!(!service_watchdog.look(at(9)));
        assert!(!service_watchdog.beat(at(9)), "it was open");
        assert_eq!(service_watchdog.due(), at(19));
        assert!(service_watchdog.look(at(19)));
        assert!(!service_watchdog.look(at(20)), "closed already");
        assert_eq!(service_watchdog.due(), Instant::NEVER);
        assert!(service_watchdog.beat(at(50)) && !service_watchdog.is_closed());
        assert_eq!(service_watchdog.due(), at(60));
    }

    #[test]
    fn a_host_that_slept_gives_its_service_the_rest_of_its_time() {
        let mut service_watchdog = ServiceWatchdog::new(Some(Duration::from_secs(10)), at(0));
        service_watchdog.forgive(Duration::from_secs(1000));
        assert!(!service_watchdog.look(at(1009)) && service_watchdog.look(at(1010)));
    }

    #[test]
    fn without_a_service_that_has_to_beat_the_gate_never_closes() {
        let mut service_watchdog = ServiceWatchdog::new(None, at(0));
        assert!(!service_watchdog.look(at(1_000_000)));
        assert_eq!(service_watchdog.due(), Instant::NEVER);
    }
}
