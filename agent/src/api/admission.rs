//! Who may come in: a bound on connections and on event streams, so that none starves the others.
//!
//! Streams have a bound below that of connections, so that questions always find room beside them. Both have a bound
//! for each origin (a user, or an address over TCP), so that one reader cannot take all. Some places are kept for callers
//! that may make changes, which no bound of an origin holds: they could stop the agent. When all places are taken, an idle
//! connection of the origin with the most of them makes room. A caller without a place is told so at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use heartsay_membership::Instant;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::answer::Answers;
use crate::daemon::telemetry::Rate;

/// Bounds of one listener, and who is inside.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    seats: Mutex<Seats>,
    streams: Mutex<BTreeMap<Origin, usize>>,
    refused_connections: AtomicU64,
    refused_streams: AtomicU64,
    told: Mutex<Rate>,
    answers: Answers,
}

/// How many there may be at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections of all kinds.
    pub(crate) connections: usize,
    /// Of these, kept for callers who may change something.
    pub(crate) reserved: usize,
    /// Connections of one origin whose callers may change nothing.
    pub(crate) connections_of_one: usize,
    /// Event streams.
    pub(crate) streams: usize,
    /// The same of one origin.
    pub(crate) streams_of_one: usize,
    /// Large answers that wait to be taken.
    pub(crate) answers: usize,
}

/// Whose connections are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A user of this host.
    User(u32),
    /// A host, or for IPv6 a network of the size that one host is given.
    Address(IpAddr),
}

impl Origin {
    /// Of a client at this address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// A caller, as far as its admission depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest {
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// It may make changes.
    pub(crate) privileged: bool,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This many are open, which is the most.
    Full(usize),
    /// The same, of this origin.
    OfOne(usize),
}

#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<u64, Seat>,
    /// Number of the last one.
    last: u64,
}

#[derive(Debug)]
struct Seat {
    guest: Guest,
    /// `None` while a request is under way or a stream runs.
    idle_since: Option<Instant>,
    leave: CancellationToken,
}

/// A place of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    number: u64,
    guest: Guest,
    /// Fires when another client needs the place, or this one does not take its answer.
    pub(crate) leave: CancellationToken,
}

/// A place of one event stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    admission: Arc<Admission>,
    origin: Origin,
}

impl Admission {
    /// Without connections.
    #[must_use]
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            seats: Mutex::default(),
            streams: Mutex::default(),
            refused_connections: AtomicU64::new(0),
            refused_streams: AtomicU64::new(0),
            told: Mutex::default(),
            answers: Answers::new(limits.answers),
        }
    }

    /// A place for a connection, if need be that of one which is idle.
    pub(crate) fn connection(self: &Arc<Self>, guest: Guest, now: Instant) -> Result<Place, Refused> {
        let mut seats = self.seats.lock();
        if let Err(refused) = seats.make_room(&self.limits, guest, now) {
            drop(seats);
            self.refused_connections.fetch_add(1, Ordering::Relaxed);
            self.tell(now, "connections", refused);
            return Err(refused);
        }
        seats.last += 1;
        let (number, leave) = (seats.last, CancellationToken::new());
        seats.taken.insert(number, Seat { guest, idle_since: Some(now), leave: leave.clone() });
        drop(seats);
        Ok(Place { admission: Arc::clone(self), number, guest, leave })
    }

    /// Open connections, open streams, refused connections, refused streams.
    pub(crate) fn counts(&self) -> [u64; 4] {
        [
            self.seats.lock().taken.len() as u64,
            self.streams.lock().values().sum::<usize>() as u64,
            self.refused_connections.load(Ordering::Relaxed),
            self.refused_streams.load(Ordering::Relaxed),
        ]
    }

    fn tell(&self, now: Instant, what: &'static str, refused: Refused) {
        if let Some(count) = self.told.lock().due(now, what) {
            let (most, at_a_time) = match refused {
                Refused::Full(most) => (most, "at a time"),
                Refused::OfOne(most) => (most, "at a time for one user or address"),
            };
            warn!(
                count,
                "API: too many {what}: {most} are served {at_a_time}; further ones are answered with 503"
            );
        }
    }
}

impl Seats {
    /// Sees to it that there is a place for `guest`.
    fn make_room(&mut self, limits: &Limits, guest: Guest, now: Instant) -> Result<(), Refused> {
        let own = self.of(guest.origin);
        let Limits { connections, reserved, connections_of_one, .. } = *limits;
        if !guest.privileged && own >= connections_of_one {
            let refused = Refused::OfOne(connections_of_one);
            return self.close_idle(now, |seat| seat.guest.origin == guest.origin).ok_or(refused);
        }
        let most = if guest.privileged { connections } else { connections.saturating_sub(reserved) };
        if self.taken.len() < most {
            return Ok(());
        }
        // Those with the most places first. One with many takes none from one with few.
        let mut sizes: BTreeMap<Origin, usize> = BTreeMap::new();
        for seat in self.taken.values().filter(|seat| seat.is_idle(now)) {
            sizes.entry(seat.guest.origin).or_insert_with(|| self.of(seat.guest.origin));
        }
        sizes.retain(|origin, size| guest.privileged || *origin == guest.origin || *size > own);
        let largest = sizes.into_iter().max_by_key(|(_, size)| *size).map(|(origin, _)| origin);
        self.close_idle(now, |seat| Some(seat.guest.origin) == largest).ok_or(Refused::Full(connections))
    }

    /// How many places an origin has.
    fn of(&self, origin: Origin) -> usize {
        self.taken.values().filter(|seat| seat.guest.origin == origin).count()
    }

    /// Closes the connection that is idle for longest, of those that are `meant`.
    fn close_idle(&mut self, now: Instant, meant: impl Fn(&Seat) -> bool) -> Option<()> {
        let idle = self.taken.iter().filter(|(_, seat)| meant(seat) && seat.is_idle(now));
        let longest =
            idle.min_by_key(|(number, seat)| (seat.idle_since, **number)).map(|(number, _)| *number)?;
        self.taken.remove(&longest)?.leave.cancel();
        Some(())
    }
}

impl Seat {
    /// Without a request, for long enough that it is not just about to ask.
    fn is_idle(&self, now: Instant) -> bool {
        self.idle_since.is_some_and(|since| now.since(since) >= FRESH)
    }
}

impl Place {
    /// A place for an event stream on this connection.
    pub(crate) fn stream(&self, now: Instant) -> Result<StreamPlace, Refused> {
        let (admission, Guest { origin, privileged }) = (&self.admission, self.guest);
        let Limits { streams: most, streams_of_one, .. } = admission.limits;
        let mut streams = admission.streams.lock();
        let own = streams.get(&origin).copied().unwrap_or(0);
        let refused = if streams.values().sum::<usize>() >= most {
            Some(Refused::Full(most))
        } else if !privileged && own >= streams_of_one {
            Some(Refused::OfOne(streams_of_one))
        } else {
            streams.insert(origin, own + 1);
            None
        };
        drop(streams);
        if let Some(refused) = refused {
            admission.refused_streams.fetch_add(1, Ordering::Relaxed);
            admission.tell(now, "streams", refused);
            return Err(refused);
        }
        Ok(StreamPlace { admission: Arc::clone(admission), origin })
    }

    /// Large answers of the listener that it came by.
    pub(crate) fn answers(&self) -> &Answers {
        &self.admission.answers
    }

    /// Whose connection it is.
    pub(crate) fn origin(&self) -> Origin {
        self.guest.origin
    }

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
        let mut streams = self.admission.streams.lock();
        if let Some(own) = streams.get_mut(&self.origin) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                streams.remove(&self.origin);
            }
        }
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
        let [connections_of_one, streams_of_one] = [connections, streams];
        let limits =
            Limits { connections, reserved, connections_of_one, streams, streams_of_one, answers: 1 };
        Arc::new(Admission::new(limits))
    }

    fn user(uid: u32) -> Guest {
        Guest { origin: Origin::User(uid), privileged: false }
    }

    const ADMIN: Guest = Guest { origin: Origin::User(0), privileged: true };

    #[test]
    fn the_one_that_is_idle_for_longest_makes_room() {
        let all = admission(3, 0, 9);
        let [a, b, c] = [1, 2, 3].map(|ms| all.connection(user(1), at(ms)).unwrap());
        a.busy();
        c.busy();
        c.idle(at(100));
        assert!(all.connection(user(1), at(400)).is_err(), "all may be about to ask");
        let d = all.connection(user(1), at(550)).unwrap();
        assert!(b.leave.is_cancelled() && !a.leave.is_cancelled() && !c.leave.is_cancelled());
        drop(b);
        assert_eq!(all.counts()[0], 3, "its place was another's already");
        let _e = all.connection(user(2), at(600)).unwrap();
        assert!(c.leave.is_cancelled() && !d.leave.is_cancelled());
        d.idle(at(600));
        assert!(all.connection(user(3), at(2000)).is_ok());
    }

    #[test]
    fn the_user_with_the_most_places_makes_room_for_the_others() {
        let all = admission(4, 0, 9);
        let early = all.connection(user(1), at(0)).unwrap();
        let many = [1, 2, 3].map(|ms| all.connection(user(2), at(ms)).unwrap());
        let late = all.connection(user(3), at(1000)).unwrap();
        assert_eq!(many.each_ref().map(|place| place.leave.is_cancelled()), [true, false, false]);
        assert!(all.connection(user(2), at(2000)).is_ok(), "from its own");
        assert!(!early.leave.is_cancelled() && !late.leave.is_cancelled());
    }

    #[test]
    fn where_all_are_busy_the_next_is_refused_unless_a_place_is_kept_for_it() {
        let all = admission(3, 1, 9);
        let busy = |guest| {
            let place = all.connection(guest, at(0)).ok()?;
            place.busy();
            Some(place)
        };
        let (_a, b) = (busy(user(1)).unwrap(), busy(user(2)).unwrap());
        assert!(busy(user(3)).is_none());
        let _admin = busy(ADMIN).unwrap();
        assert!(busy(ADMIN).is_none());
        assert_eq!(all.counts(), [3, 0, 2, 0]);
        drop(b);
        assert!(busy(ADMIN).is_some());
    }

    #[test]
    fn one_user_has_a_bound_of_its_own_and_makes_room_for_itself_only() {
        let limits = Limits { connections_of_one: 2, streams_of_one: 1, ..admission(9, 0, 9).limits };
        let all = Arc::new(Admission::new(limits));
        let other = all.connection(user(2), at(0)).unwrap();
        let [a, b] = [1, 2].map(|ms| all.connection(user(1), at(ms)).unwrap());
        assert_eq!(all.connection(user(1), at(3)).unwrap_err(), Refused::OfOne(2));
        let c = all.connection(user(1), at(1000)).unwrap();
        assert!(a.leave.is_cancelled() && !b.leave.is_cancelled() && !other.leave.is_cancelled());
        let _stream = b.stream(at(1000)).unwrap();
        assert_eq!(c.stream(at(1000)).unwrap_err(), Refused::OfOne(1));
        let _of_other = other.stream(at(1000)).unwrap();
        let admins = [1, 2, 3].map(|ms| all.connection(ADMIN, at(ms)).unwrap());
        let _streams = admins.each_ref().map(|place| place.stream(at(1000)).unwrap());
    }

    #[test]
    fn streams_have_a_bound_of_their_own() {
        let all = admission(9, 0, 1);
        let [a, b] = [1, 2].map(|uid| all.connection(user(uid), at(0)).unwrap());
        let first = a.stream(at(0)).unwrap();
        assert_eq!(b.stream(at(0)).unwrap_err(), Refused::Full(1));
        assert_eq!(all.counts(), [2, 1, 0, 1]);
        drop(first);
        assert!(b.stream(at(0)).is_ok());
    }

    #[test]
    fn the_addresses_of_one_host_are_one_origin() {
        let origin = |address: &str| Origin::at(address.parse().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
        assert_ne!(origin("10.0.0.1"), origin("10.0.0.2"));
    }
}
