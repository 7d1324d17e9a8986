//! One life of a member, from a start to its end, and the line on which its heartbeats lie.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::fingerprint;
use crate::identity::{Generation, Heartbeat, HostId, Name};

/// What never changes during one life of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub name: Name,
    pub host_id: HostId,
    pub generation: Generation,
    /// Together its address; a `SocketAddr` takes twice as much.
    ip: IpAddr,
    port: u16,
    pub reference: Reference,
    /// Hash of the name: the key and the order of the roster.
    pub hash: u64,
    /// Upper half of the name's hash, then a hash of all of the above: equal
    /// tags mean the same life, and tags sort like names.
    pub tag: u64,
}

impl Life {
    pub fn new(
        name: Name,
        host_id: HostId,
        generation: Generation,
        address: SocketAddr,
        reference: Reference,
    ) -> Self {
        let hash = fingerprint::of_name(&name);
        let (ip, port) = (address.ip(), address.port());
        let mut life = Self { name, host_id, generation, ip, port, reference, hash, tag: 0 };
        life.tag = fingerprint::of_life(&life);
        life
    }

    /// Where others reach it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// The line on which a member's heartbeats lie, in its own wall-clock time.
///
/// Both ends of a conversation know it, so both predict the same heartbeat for
/// the same nominal time, and only the difference (the age, in rounds) travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub struct Reference {
    pub unix_ms: u64,
    pub heartbeat: Heartbeat,
    /// Never zero.
    pub interval_ms: u32,
}

impl Reference {
    /// Time on the line at which `heartbeat` is due.
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
    fn a_heartbeat_is_due_on_a_line_that_begins_with_the_life() {
        let reference = Reference { unix_ms: 1_000_000, heartbeat: 3, interval_ms: 1000 };
        assert_eq!(
            [3, 77, 0].map(|heartbeat| reference.unix_ms_of(heartbeat)),
            [1_000_000, 1_074_000, 997_000]
        );
        assert_eq!(reference.unix_ms_of(u64::MAX), u64::MAX);
        assert_eq!(Reference { heartbeat: u64::MAX, ..reference }.unix_ms_of(0), 0);
    }
}
