//! One simulated host: its clocks, its disk, its socket, the process on it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use heartsay_membership::{Generation, Heartbeat, HostId, Instant, Name, Quorum, Transmit};
use heartsay_spec::trace::Past;

use crate::liar::Liar;
use crate::models::Machine;

/// A host, whether or not a process runs on it.
pub(crate) struct Host {
    pub(crate) name: Name,
    pub(crate) address: SocketAddr,
    /// The member whose name it bears: itself, or another for a duplicate.
    pub(crate) subject: usize,
    pub(crate) host_id: HostId,
    /// Last generation written to the disk.
    pub(crate) stored: Generation,
    pub(crate) lives: u64,
    /// Unix time in microseconds as this host sees it.
    pub(crate) wall: Clock,
    pub(crate) process: Option<Box<Process>>,
    /// No answer of any kind comes from it.
    pub(crate) silent: bool,
    pub(crate) paused: u16,
    pub(crate) blocked: u16,
    /// CPU time per input.
    pub(crate) work: Duration,
    pub(crate) busy_until: Instant,
    pub(crate) inbox: Inbox,
    /// What waits at the edge of a blocked host to leave.
    pub(crate) outbox: Vec<(Transmit, Stamp)>,
    pub(crate) started: Instant,
    pub(crate) second: Sent,
    /// Lies from here.
    pub(crate) liar: Option<Box<Liar>>,
}

/// What a host sent in the running second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) bytes: u32,
    pub(crate) datagrams: u32,
}

/// A running machine and its alarm.
pub(crate) struct Process {
    pub(crate) node: Machine,
    pub(crate) clock: Clock,
    /// World time of the wake-up in the queue, if one is there.
    pub(crate) armed: Option<Instant>,
    /// World time at which the machine wants to be woken.
    pub(crate) wants: Instant,
    /// Wake-ups in a row at the same moment.
    pub(crate) spins: u32,
    /// It was told to leave.
    pub(crate) leaving: bool,
}

/// What the sender of a datagram could know when it left, where the run is checked against the specification.
pub(crate) type Stamp = Option<Arc<Past>>;

/// Something to hand to a machine.
#[derive(Debug)]
pub(crate) enum Packet {
    Datagram {
        from: usize,
        bytes: Bytes,
        stamp: Stamp,
    },
    /// A kernel's answer, with the beginning of the refused datagram.
    Refused {
        to: usize,
        quoted: Bytes,
    },
}

/// What has arrived and was not handled yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    parcels: VecDeque<Packet>,
    weight: usize,
    /// Slow hosts take turns between parcels and the timer.
    pub(crate) timer_next: bool,
}

impl Inbox {
    /// Takes it in; false when `bound` bytes already wait (the kernel drops it).
    pub(crate) fn push(&mut self, parcel: Packet, bound: usize) -> bool {
        let weight = parcel.weight();
        if self.weight + weight > bound {
            return false;
        }
        self.weight += weight;
        self.parcels.push_back(parcel);
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Packet> {
        let parcel = self.parcels.pop_front()?;
        self.weight -= parcel.weight();
        Some(parcel)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Packet {
    fn weight(&self) -> usize {
        match self {
            Self::Datagram { bytes, .. } => bytes.len() + KERNEL_OVERHEAD,
            // Errors travel on a queue of their own.
            Self::Refused { .. } => 0,
        }
    }
}

/// A clock that may run fast or slow against the world's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    world: Instant,
    local: i64,
    ppm: i64,
}

impl Clock {
    /// Shows `local` microseconds at the moment `world`.
    pub(crate) fn new(world: Instant, local: u64, ppm: i64) -> Self {
        Self { world, local: local as i64, ppm }
    }

    /// Microseconds shown at `now`.
    pub(crate) fn read(&self, now: Instant) -> u64 {
        (self.local + self.shown(now.since(self.world).as_micros() as i64)).max(0) as u64
    }

    /// The first world moment at which it shows `local` or more.
    pub(crate) fn when(&self, local: u64) -> Instant {
        if local == u64::MAX {
            return Instant::NEVER;
        }
        let ahead = (local as i64 - self.local).max(0);
        let mut passed = ahead;
        if self.ppm != 0 {
            passed = (i128::from(ahead) * 1_000_000 / i128::from(1_000_000 + self.ppm)) as i64;
            // Rounding leaves it a microsecond or two off, either way.
            while self.shown(passed) < ahead {
                passed += 1;
            }
            while passed > 0 && self.shown(passed - 1) >= ahead {
                passed -= 1;
            }
        }
        self.world + Duration::from_micros(passed.max(0) as u64)
    }

    /// From `now` on it is fast by `ppm`.
    pub(crate) fn drift(&mut self, now: Instant, ppm: i64) {
        *self = Self::new(now, self.read(now), ppm);
    }

    /// Jumps.
    pub(crate) fn step(&mut self, now: Instant, micros: i64) {
        *self = Self::new(now, (self.read(now) as i64 + micros).max(0) as u64, self.ppm);
    }

    pub(crate) fn ppm(&self) -> i64 {
        self.ppm
    }

    /// Microseconds it counts while `passed` pass in the world.
    fn shown(&self, passed: i64) -> i64 {
        passed + (passed * self.ppm).div_euclid(1_000_000)
    }
}

/// Address of host `number`: 10.0.0.0/8 counted from 1.
pub(crate) fn address(number: usize) -> SocketAddr {
    let [_, a, b, c] = (number as u32 + 1).to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, a, b, c)), PORT)
}

/// Number of the host at `address`, if it is one of ours.
pub(crate) fn number(address: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let [ten, a, b, c] = ip.octets();
    let number = u32::from_be_bytes([0, a, b, c]) as usize;
    (ten == 10 && address.port() == PORT).then(|| number.checked_sub(1)).flatten()
}

/// Generation and heartbeat that the process on `host` gives itself.
pub(crate) fn owners_word(hosts: &[Host], host: usize) -> Option<(Generation, Heartbeat)> {
    Some(hosts.get(host)?.process.as_ref()?.node.own())
}

/// Whether the process on `host`, asked now, would say that it holds quorum: its proof may have run out meanwhile.
pub(crate) fn would_say_held(hosts: &[Host], host: usize, now: Instant) -> bool {
    let Some(process) = hosts.get(host).and_then(|h| h.process.as_ref()) else { return false };
    let local = Instant::from_micros(process.clock.read(now));
    process.node.real().is_some_and(|node| node.quorum_until(local).0 == Quorum::Held)
}

const PORT: u16 = 4717;
/// What Linux accounts for a small datagram besides its bytes (`skb->truesize`, rounded down).
const KERNEL_OVERHEAD: usize = 576;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_agree() {
        for n in [0, 1, 255, 256, 65_535, 70_000] {
            assert_eq!(number(address(n)), Some(n));
        }
        assert_eq!(number("192.168.0.1:4717".parse().expect("sound")), None);
        assert_eq!(number("10.0.0.0:4717".parse().expect("sound")), None);
    }

    #[test]
    fn a_drifting_clock_wakes_neither_early_nor_late() {
        for ppm in [-50_000, -37, 0, 41, 100_000] {
            let clock = Clock::new(Instant::from_micros(123), 1000, ppm);
            for local in (1000..200_000).step_by(997) {
                let at = clock.when(local);
                assert!(clock.read(at) >= local, "{ppm} {local}");
                assert!(local == 1000 || clock.read(at - Duration::from_micros(1)) < local, "{ppm} {local}");
            }
        }
    }

    #[test]
    fn a_full_inbox_drops() {
        let parcel = || Packet::Datagram { from: 0, bytes: Bytes::from_static(&[0; 424]), stamp: None };
        let mut inbox = Inbox::default();
        assert!(inbox.push(parcel(), 2000) && inbox.push(parcel(), 2000) && !inbox.push(parcel(), 2000));
        assert!(inbox.pop().is_some() && inbox.push(parcel(), 2000));
    }
}
