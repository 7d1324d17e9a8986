//! Who may come in: a bound on connections and on event streams, so that none starves the others.
//!
//! Streams have a bound below that of connections, so that questions always find room beside them. Some places
//! are kept for root and the agent's own user. When all are taken, the connection that is idle for longest makes
//! room. A caller without a place is told so at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use heartsay_membership::Instant;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::daemon::telemetry::Rate;

/// Bounds of one listener, and who is inside.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    seats: Mutex<Seats>,
    streams: AtomicUsize,
    refused_connections: AtomicU64,
    refused_streams: AtomicU64,
    told: Mutex<Rate>,
}

/// How many there may be at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections of all kinds.
    pub(crate) connections: usize,
    /// Of these, kept for callers who may change something.
    pub(crate) reserved: usize,
    /// Event streams.
    pub(crate) streams: usize,
}

#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<u64, Seat>,
    /// Number of the last one.
    last: u64,
}

#[derive(Debug)]
struct Seat {
    /// `None` while a request is under way or a stream runs.
    idle_since: Option<Instant>,
    leave: CancellationToken,
}

/// A place of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    number: u64,
    /// Fires when another client needs the place.
    pub(crate) leave: CancellationToken,
}

/// A place of one event stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace(Arc<Admission>);

impl Admission {
    /// Without connections.
    #[must_use]
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            seats: Mutex::default(),
            streams: AtomicUsize::new(0),
            refused_connections: AtomicU64::new(0),
            refused_streams: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// A place for a connection, if need be that of the one which is idle for longest.
    pub(crate) fn connection(self: &Arc<Self>, privileged: bool, now: Instant) -> Option<Place> {
        let Limits { connections, reserved, .. } = self.limits;
        let most = if privileged { connections } else { connections.saturating_sub(reserved) };
        let mut seats = self.seats.lock();
        if seats.taken.len() >= most {
            let idle = seats.taken.iter().filter_map(|(number, seat)| Some((seat.idle_since?, *number)));
            let longest = idle.min().filter(|(since, _)| now.since(*since) >= FRESH);
            match longest.and_then(|(_, number)| seats.taken.remove(&number)) {
                Some(seat) => seat.leave.cancel(),
                None => {
                    drop(seats);
                    self.refused_connections.fetch_add(1, Ordering::Relaxed);
                    self.tell(now, "connections", connections);
                    return None;
                }
            }
        }
        seats.last += 1;
        let (number, leave) = (seats.last, CancellationToken::new());
        seats.taken.insert(number, Seat { idle_since: Some(now), leave: leave.clone() });
        drop(seats);
        Some(Place { admission: Arc::clone(self), number, leave })
    }

    /// A place for an event stream.
    pub(crate) fn stream(self: &Arc<Self>, now: Instant) -> Option<StreamPlace> {
        let place = StreamPlace(Arc::clone(self));
        if self.streams.fetch_add(1, Ordering::Relaxed) < self.limits.streams {
            return Some(place);
        }
        self.refused_streams.fetch_add(1, Ordering::Relaxed);
        self.tell(now, "streams", self.limits.streams);
        None
    }

    /// Open connections, open streams, refused connections, refused streams.
    pub(crate) fn counts(&self) -> [u64; 4] {
        [
            self.seats.lock().taken.len() as u64,
            self.streams.load(Ordering::Relaxed) as u64,
            self.refused_connections.load(Ordering::Relaxed),
            self.refused_streams.load(Ordering::Relaxed),
        ]
    }

    /// How many streams there may be.
    pub(crate) fn most_streams(&self) -> usize {
        self.limits.streams
    }

    fn tell(&self, now: Instant, what: &'static str, most: usize) {
        if let Some(count) = self.told.lock().due(now, what) {
            warn!(
                count,
                "API: too many {what}: {most} are served at a time; further ones are answered with 503"
            );
        }
    }
}

impl Place {
    /// A request is under way.
    pub(crate) fn busy(&self) {
        self.note(None);
    }

    /// None is any more.
    pub(crate) fn idle(&self, now: Instant) {
        self.note(Some(now));
    }

    fn note(&self, idle_since: Option<Instant>) {
        // Gone when another client has got the place.
        if let Some(seat) = self.admission.seats.lock().taken.get_mut(&self.number) {
            seat.idle_since = idle_since;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.seats.lock().taken.remove(&self.number);
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that has just come, or was just answered, is about to be used; so long it need not make room.
/// Many times what a loaded machine takes from connecting to asking. Honest guess.
const FRESH: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    fn admission(connections: usize, reserved: usize, streams: usize) -> Arc<Admission> {
        Arc::new(Admission::new(Limits { connections, reserved, streams }))
    }

    #[test]
    fn the_one_that_is_idle_for_longest_makes_room() {
        let all = admission(3, 0, 9);
        let [a, b, c] = [1, 2, 3].map(|ms| all.connection(false, at(ms)).unwrap());
        a.busy();
        c.busy();
        c.idle(at(100));
        assert!(all.connection(false, at(400)).is_none(), "all may be about to ask");
        let d = all.connection(false, at(550)).unwrap();
        assert!(b.leave.is_cancelled() && !a.leave.is_cancelled() && !c.leave.is_cancelled());
        drop(b);
        assert_eq!(all.counts()[0], 3, "its place was another's already");
        let _e = all.connection(false, at(600)).unwrap();
        assert!(c.leave.is_cancelled() && !d.leave.is_cancelled());
    }

    #[test]
    fn where_all_are_busy_the_next_is_refused_unless_a_place_is_kept_for_it() {
        let all = admission(3, 1, 9);
        let busy = |privileged| {
            let place = all.connection(privileged, at(0))?;
            place.busy();
            Some(place)
        };
        let (_a, b) = (busy(false).unwrap(), busy(false).unwrap());
        assert!(busy(false).is_none());
        let _admin = busy(true).unwrap();
        assert!(busy(true).is_none());
        assert_eq!(all.counts(), [3, 0, 2, 0]);
        drop(b);
        assert!(busy(true).is_some());
    }

    #[test]
    fn streams_have_a_bound_of_their_own() {
        let all = admission(9, 0, 1);
        let first = all.stream(at(0)).unwrap();
        assert!(all.stream(at(0)).is_none());
        assert_eq!(all.counts(), [0, 1, 0, 1]);
        drop(first);
        assert!(all.stream(at(0)).is_some());
    }
}
