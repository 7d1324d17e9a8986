//! One incarnation of a member, from a start to its end, and the schedule of its heartbeats.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use heartsay_proto::{LastMark, LastSecret};

use crate::identity::{Generation, Heartbeat, HostId, Name};
use crate::roster::fingerprint;

/// What never changes during one incarnation of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    pub name: Name,
    pub host_id: HostId,
    pub generation: Generation,
    /// Together its address; a `SocketAddr` takes twice as much room.
    ip: IpAddr,
    port: u16,
    pub schedule: Schedule,
    /// How many incarnations right before this one, each one generation lower, belong to the same process, which only
    /// moved to another address. Not part of the tag, because earlier agents do not know this field.
    pub moves: u8,
    /// What the last words of its process fit. Not part of the tag, for the same reason.
    pub last_mark: LastMark,
    /// Hash of the name: the key and the order of the roster.
    pub hash: u64,
    /// The upper half of the name's hash, then a hash of all of the above. Equal tags mean the same incarnation, and
    /// tags sort like names.
    pub tag: u64,
}

impl Incarnation {
    pub fn new(
        name: Name,
        host_id: HostId,
        generation: Generation,
        address: SocketAddr,
        schedule: Schedule,
    ) -> Self {
        let hash = fingerprint::of_name(&name);
        let (ip, port) = (address.ip(), address.port());
        let mut incarnation = Self {
            name,
            host_id,
            generation,
            ip,
            port,
            schedule,
            moves: 0,
            last_mark: LastMark::NONE,
            hash,
            tag: 0,
        };
        incarnation.tag = fingerprint::of_incarnation(&incarnation);
        incarnation
    }

    /// The next incarnation of the same process, at another address. Its heartbeats go on.
    pub fn moved(&self, address: SocketAddr) -> Self {
        let generation = self.generation.saturating_add(1);
        let incarnation = Self::new(self.name.clone(), self.host_id, generation, address, self.schedule);
        // The count wraps after the largest value of the field; the member then once looks restarted.
        Self { moves: self.moves.wrapping_add(1), last_mark: self.last_mark, ..incarnation }
    }

    /// Whether this is a later incarnation of the same process as `earlier`.
    pub fn continues(&self, earlier: &Self) -> bool {
        let later = self.generation.checked_sub(earlier.generation);
        self.host_id == earlier.host_id && later.is_some_and(|by| (1..=u64::from(self.moves)).contains(&by))
    }

    /// Whether it has held its name for longer than `other`, of another host. All members come to the same answer.
    pub fn is_before(&self, other: &Self) -> bool {
        let since = |incarnation: &Self| (incarnation.schedule.unix_ms, incarnation.host_id);
        since(self) < since(other)
    }

    /// The same, of a process that leaves last words.
    pub fn leaving(mut self, last_words: Option<&LastSecret>) -> Self {
        self.last_mark = last_words.map_or(LastMark::NONE, LastSecret::mark);
        self
    }

    pub fn leaves_last_words(&self) -> bool {
        self.last_mark != LastMark::NONE
    }

    /// Whether these are the last words of its process.
    pub fn ends_with(&self, last_words: &LastSecret) -> bool {
        self.leaves_last_words() && last_words.mark() == self.last_mark
    }

    /// Its gossip address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// A member's heartbeat schedule, in its own wall-clock time.
///
/// Both ends of an exchange know it. So both predict the same heartbeat for the same nominal time, and only the
/// difference (the age, in rounds) travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub struct Schedule {
    pub unix_ms: u64,
    pub heartbeat: Heartbeat,
    /// Never zero.
    pub interval_ms: u32,
}

impl Schedule {
    /// The time at which `heartbeat` is due.
    pub fn unix_ms_of(&self, heartbeat: Heartbeat) -> u64 {
        let beats = i128::from(heartbeat) - i128::from(self.heartbeat);
        let ms = i128::from(self.unix_ms).saturating_add(beats.saturating_mul(i128::from(self.interval_ms)));
        u64::try_from(ms.max(0)).unwrap_or(u64::MAX)
    }

    pub fn interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.interval_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_continues_its_own_process_and_no_other() {
        let schedule = Schedule { unix_ms: 1_000, heartbeat: 0, interval_ms: 1000 };
        let at = |last| SocketAddr::from(([10, 0, 0, last], 4327));
        let incarnation = |host, generation| {
            Incarnation::new(Name::new("n").unwrap(), HostId(host), generation, at(1), schedule)
        };
        let first = incarnation(7, 5_000);
        let third = first.moved(at(2)).moved(at(3));
        assert_eq!((third.generation, third.address(), third.moves), (5_002, at(3), 2));
        assert!(third.continues(&first) && third.continues(&first.moved(at(2))));
        assert!(!third.continues(&third) && !first.continues(&third));
        assert!(!third.continues(&incarnation(7, 4_999)), "the process began after that");
        assert!(!third.continues(&incarnation(8, 5_000)), "another host");
        assert!(!incarnation(7, 5_001).continues(&first), "a restart");
    }

    #[test]
    fn a_heartbeat_is_due_by_a_schedule_that_begins_with_the_incarnation() {
        let schedule = Schedule { unix_ms: 1_000_000, heartbeat: 3, interval_ms: 1000 };
        assert_eq!(
            [3, 77, 0].map(|heartbeat| schedule.unix_ms_of(heartbeat)),
            [1_000_000, 1_074_000, 997_000]
        );
        assert_eq!(schedule.unix_ms_of(u64::MAX), u64::MAX);
        assert_eq!(Schedule { heartbeat: u64::MAX, ..schedule }.unix_ms_of(0), 0);
    }
}
