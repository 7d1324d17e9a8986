//! Which addresses have proven that a member is there, and how much may go to those that have not.
//!
//! Picture: a letter to an address that somebody else wrote down. Before parcels go there, the one who lives there has to
//! send back the number on a postcard. Whoever asks for something by post gets at most three times the weight of the
//! letter, until the card has come back: anybody can write any return address on a letter.
//!
//! Rule: an address is *proven* for [`PROVEN_FOR`] after an answer repeated the random number of a request that we sent
//! there. It is proven for the member that answered; other names that claim the same address are not. To any other
//! address leaves only
//! - while a datagram from there is handled: at most three datagrams, with together three times its bytes ([`Credit`]);
//! - on our own account: what the [`Trickle`] of the address allows, which all names that claim the address share, and
//!   all addresses of one host together what the host's bucket allows.
//!
//! An unproven source finds a *cookie* in the answer; its next datagram brings it back, and so proves it without a round
//! trip more. Where that is too late it is pinged.
//!
//! The number proves the address that the request went to, whatever source the answer comes from: a source can be forged,
//! and a host with several addresses answers from any of them.
//!
//! Weak spots: who sees the datagrams on their way can repeat the number. With a full table an address gets as little as
//! one that is used up, until its own datagrams prove it.

use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use siphasher::sip::SipHasher13;

use crate::Instant;
use crate::roster::member::Member;
use crate::transport::table::Table;
use crate::transport::token_bucket::TokenBucket;

/// What is known about addresses.
#[derive(Debug)]
pub struct Addresses {
    proven: Table<Key, Proof>,
    most_proven: usize,
    trickles: Table<Key, Trickle>,
    hosts: Table<u128, TokenBucket>,
    /// What may be answered to the datagram in hand.
    credit: Credit,
    /// The cookie in that datagram; 0: none.
    cookie: u32,
    /// Makes our own cookies.
    secret: (u64, u64),
}

/// An address in few bytes: tens of thousands are kept.
type Key = [u8; 18];

/// Who answered from an address, and until when that holds.
#[derive(Clone, Copy, Debug)]
struct Proof {
    /// Name hash; 0: a member that we did not know yet.
    by: u64,
    until: Instant,
}

/// What may still go to the source of one datagram because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    source: SocketAddr,
    bytes: usize,
    datagrams: u8,
}

impl Credit {
    /// For a datagram of this length.
    pub fn of(source: SocketAddr, length: usize) -> Self {
        Self { source, bytes: length.saturating_mul(FACTOR.into()), datagrams: FACTOR }
    }

    /// For one answer of at most `bytes` that comes later.
    pub fn later(source: SocketAddr, bytes: u16) -> Self {
        Self { source, bytes: bytes.into(), datagrams: 1 }
    }

    const NONE: Self =
        Self { source: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), bytes: 0, datagrams: 0 };

    fn room(&self) -> usize {
        if self.datagrams == 0 { 0 } else { self.bytes }
    }
}

/// What may go to an address that we only heard of: some bytes at once, and then single short datagrams with doubling
/// pauses.
#[derive(Clone, Copy, Debug)]
struct Trickle {
    left: usize,
    next: Instant,
    doublings: u32,
}

impl Trickle {
    fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, next: now, doublings: 0 }
    }

    /// The longest datagram that may leave now, in bytes of payload.
    fn room(&self, now: Instant) -> usize {
        self.left.saturating_sub(HEADERS).max(if now < self.next { 0 } else { SHORT })
    }

    fn take(&mut self, now: Instant, length: usize) {
        let cost = length.saturating_add(HEADERS);
        if cost <= self.left {
            self.left -= cost;
            self.next = now + FIRST_PAUSE;
        } else {
            self.left = 0;
            self.next = now + FIRST_PAUSE * (1 << self.doublings);
            self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
        }
    }

    /// Whether nothing has left for so long that it need not be remembered.
    fn is_over(&self, now: Instant) -> bool {
        now > self.next + FORGOTTEN_AFTER
    }
}

impl Addresses {
    /// `most_proven`: as many addresses as the roster can have members.
    pub fn new(most_proven: usize, secret: (u64, u64)) -> Self {
        Self {
            proven: Table::new(),
            most_proven,
            trickles: Table::new(),
            hosts: Table::new(),
            credit: Credit::NONE,
            cookie: 0,
            secret,
        }
    }

    /// A datagram of this length, with this cookie, has come and is answered until [`Self::answered`].
    pub fn answer(&mut self, source: SocketAddr, length: usize, cookie: u32) {
        (self.credit, self.cookie) = (Credit::of(source, length), cookie);
    }

    /// The datagram in hand has been answered.
    pub fn answered(&mut self) {
        (self.credit, self.cookie) = (Credit::NONE, 0);
    }

    /// What an answer to this source carries, so that its next datagram proves it; 0 if it has proven itself.
    pub fn cookie(&self, now: Instant, source: SocketAddr) -> u32 {
        if self.is_proven(now, source) { 0 } else { self.cookie_of(epoch(now), source) }
    }

    /// What an answer to the datagram in hand carries to prove that we are where that datagram came to us; 0: nothing.
    pub fn cookie_back(&self, to: SocketAddr) -> u32 {
        if self.credit.source == to { self.cookie } else { 0 }
    }

    /// Whether a datagram from this source brings back a cookie of ours.
    pub fn knows_cookie(&self, now: Instant, source: SocketAddr, back: u32) -> bool {
        let epoch = epoch(now);
        back != 0 && [epoch, epoch.wrapping_sub(1)].iter().any(|e| self.cookie_of(*e, source) == back)
    }

    /// A number that only we can make and only a reader of what we sent there can know: nothing is kept for it, so no
    /// flood of forged sources takes room (as SYN cookies in TCP).
    fn cookie_of(&self, epoch: u64, source: SocketAddr) -> u32 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write(&key(source));
        hasher.write_u64(epoch);
        let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
        u32::from_be_bytes([a, b, c, d]).max(1)
    }

    /// From now on this credit counts. Returns the one that counted before.
    pub fn swap_credit(&mut self, credit: Credit) -> Credit {
        core::mem::replace(&mut self.credit, credit)
    }

    /// Sets aside what is left for answers to the datagram in hand, for an answer that comes later.
    pub fn defer_credit(&mut self) -> u16 {
        let room = u16::try_from(self.credit.room()).unwrap_or(u16::MAX);
        self.credit.datagrams = 0;
        room
    }

    /// An answer repeated the number of a request that went to `to`. `by`: the member that answered, 0 if unknown.
    pub fn prove(&mut self, now: Instant, to: SocketAddr, by: u64) {
        let key = key(to);
        if self.proven.len() >= self.most_proven
            && self.proven.get(&key).is_none()
            && let Some(oldest) = self.proven.least(|proof| proof.until)
        {
            self.proven.remove(&oldest);
        }
        let proof = Proof { by, until: now + PROVEN_FOR };
        if let Some(known) = self.proven.entry(key, || proof) {
            *known = proof;
        }
    }

    /// Whether this address has proven itself.
    pub fn is_proven(&self, now: Instant, address: SocketAddr) -> bool {
        self.proof(now, address).is_some()
    }

    /// Whether it has proven itself as the address of this member.
    pub fn is_home(&self, now: Instant, address: SocketAddr, subject: u64) -> bool {
        self.proof(now, address).is_some_and(|proof| proof.by == subject || proof.by == 0)
    }

    fn proof(&self, now: Instant, address: SocketAddr) -> Option<&Proof> {
        self.proven.get(&key(address)).filter(|proof| now < proof.until)
    }

    /// How long a datagram to this address may be, in bytes of payload; no limit if it has proven itself.
    pub fn room(&self, now: Instant, to: SocketAddr) -> usize {
        if self.is_proven(now, to) { usize::MAX } else { self.unproven_room(now, to) }
    }

    /// The same on behalf of one member there.
    pub fn room_for(&self, now: Instant, to: SocketAddr, subject: u64) -> usize {
        if self.is_home(now, to, subject) { usize::MAX } else { self.unproven_room(now, to) }
    }

    fn unproven_room(&self, now: Instant, to: SocketAddr) -> usize {
        if self.credit.source == to { self.credit.room() } else { self.trickle_room(now, to) }
    }

    fn trickle_room(&self, now: Instant, to: SocketAddr) -> usize {
        let room = match self.trickles.get(&key(to)) {
            Some(trickle) => trickle.room(now),
            None if self.trickles.len() >= MOST => 0,
            None => AT_ONCE - HEADERS,
        };
        match host(to.ip()).map(|host| self.hosts.get(&host)) {
            Some(Some(bucket)) => room.min(bucket.clone().available(now).saturating_sub(HEADERS)),
            Some(None) if self.hosts.len() >= MOST => 0,
            Some(None) | None => room,
        }
    }

    /// Whether news, testimony, a pull or a request to a helper can be sent to this member now. Where another member has proven to be,
    /// it gets none.
    pub fn reaches(&self, now: Instant, member: &Member) -> bool {
        let address = member.incarnation.address();
        match self.proof(now, address) {
            Some(proof) => proof.by == member.hash() || proof.by == 0,
            None => self.unproven_room(now, address) >= USEFUL,
        }
    }

    /// Whether we have nothing left for an address, and have to wait until it proves itself.
    pub fn is_used_up(&self, now: Instant, to: SocketAddr) -> bool {
        self.trickle_room(now, to) < SHORT
    }

    /// A datagram of `length` bytes is to leave for an address that has not proven itself. Returns whether it may.
    pub fn take(&mut self, now: Instant, to: SocketAddr, length: usize) -> bool {
        if self.credit.source == to {
            let fits = length <= self.credit.room();
            if fits {
                self.credit.bytes -= length;
                self.credit.datagrams -= 1;
            }
            return fits;
        }
        if length > self.trickle_room(now, to) {
            return false;
        }
        if let Some(host) = host(to.ip()) {
            let bucket = self.hosts.entry(host, || TokenBucket::with_peak(now, HOST_RATE, HOST_PEAK));
            bucket.map(|bucket| bucket.take(now, length + HEADERS));
        }
        if let Some(trickle) = self.trickles.entry(key(to), || Trickle::new(now)) {
            trickle.take(now, length);
        }
        true
    }

    /// Forgets what is as if it had never been.
    pub fn tidy(&mut self, now: Instant) {
        self.proven.retain(|proof| now < proof.until);
        self.trickles.retain(|trickle| !trickle.is_over(now));
        self.hosts.retain(|bucket| bucket.available(now) < bucket.size());
    }
}

fn key(address: SocketAddr) -> Key {
    let mut key = [0; 18];
    let (ip, port) = key.split_at_mut(16);
    ip.copy_from_slice(&octets(address.ip()));
    port.copy_from_slice(&address.port().to_be_bytes());
    key
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// What counts as one host: an address of IPv4, or the network of 64 bits of an address of IPv6, which one host can have
/// all to itself. Loopback counts by port only: it is our own host, with perhaps a hundred agents.
fn host(ip: IpAddr) -> Option<u128> {
    let ip = ip.to_canonical();
    let bits = u128::from_be_bytes(octets(ip));
    match ip {
        _ if ip.is_loopback() => None,
        IpAddr::V4(_) => Some(bits),
        IpAddr::V6(_) => Some(bits & !u128::from(u64::MAX)),
    }
}

/// A cookie is good for one to two minutes.
fn epoch(now: Instant) -> u64 {
    now.as_micros() / 60_000_000
}

/// How long a proof holds: longer than it takes until 3,600 members have each called each other once.
const PROVEN_FOR: Duration = Duration::from_secs(3600);
/// An answer to an unproven source may be so many times as long as the question, in so many datagrams. So the factor
/// holds with the headers of IP and UDP and without (RFC 9000, 8.1, has three too).
const FACTOR: u8 = 3;
/// Bytes with headers that may go at once to an address that we only heard of: a call and a dozen pings, or some news. With
/// half of it a mass start of 32 took a fifth longer, because less news arrived (simulator, `bootstrap`).
const AT_ONCE: usize = 1024;
/// Then it is one datagram of at most so many bytes of payload, a ping with an accusation in it, after 2, 4, 8 … 64 s.
const SHORT: usize = 128;
/// Room for a request to a helper, or for a piece of news, in bytes of payload with the frame of a key.
const USEFUL: usize = 150;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const MOST_DOUBLINGS: u32 = 5;
/// All unproven addresses of one host together get so many bytes per second, and those of so many seconds at once: 2 kB, so
/// seven agents that start on one host are called without delay. Less than three times what it costs to tell of 72 names
/// within a minute.
const HOST_RATE: u32 = 128;
const HOST_PEAK: u32 = 16;
/// An unproven address to which nothing has gone for so long begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Unproven addresses, and hosts, that are remembered: 0.3 MB. Beyond them an address has to prove itself first.
const MOST: usize = 4096;
/// Bytes of IPv4 and UDP headers around a datagram.
const HEADERS: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    fn address(host: u16, port: u16) -> SocketAddr {
        let [a, b] = host.to_be_bytes();
        ([10, 0, a, b], port).into()
    }

    #[test]
    fn a_source_gets_at_most_three_times_its_bytes_until_it_is_proven() {
        let (mut addresses, source) = (Addresses::new(100, (1, 2)), address(1, 1));
        addresses.answer(source, 100, 0);
        assert_eq!(addresses.room(at(0), source), 300);
        assert!(!addresses.take(at(0), source, 301));
        assert!(addresses.take(at(0), source, 250));
        assert_eq!(addresses.room(at(0), source), 50);
        assert!(addresses.take(at(0), source, 1) && addresses.take(at(0), source, 1));
        assert!(!addresses.take(at(0), source, 1), "three datagrams, however short");
        addresses.prove(at(0), source, 7);
        assert_eq!(addresses.room(at(0), source), usize::MAX);
        assert_eq!(addresses.room(at(3_600_000), source), 0);
    }

    #[test]
    fn an_address_is_proven_for_the_member_that_answered_alone() {
        let (mut addresses, there) = (Addresses::new(100, (1, 2)), address(1, 1));
        addresses.prove(at(0), there, 7);
        assert_eq!(addresses.room_for(at(0), there, 7), usize::MAX);
        assert!(addresses.room_for(at(0), there, 8) < AT_ONCE);
    }

    #[test]
    fn a_cookie_proves_the_source_that_got_it_and_no_other() {
        let (mut addresses, source) = (Addresses::new(100, (1, 2)), address(1, 1));
        let cookie = addresses.cookie(at(0), source);
        assert!(addresses.knows_cookie(at(59_000), source, cookie));
        assert!(!addresses.knows_cookie(at(59_000), address(1, 2), cookie));
        assert!(!addresses.knows_cookie(at(120_000), source, cookie), "it is too old");
        assert!(!addresses.knows_cookie(at(0), source, 0));
        assert!(!Addresses::new(100, (1, 3)).knows_cookie(at(0), source, cookie));
        addresses.prove(at(0), source, 7);
        assert_eq!(addresses.cookie(at(0), source), 0);
    }

    /// The bytes with headers that pings of this length bring to these addresses within a minute, if one can be sent each
    /// hundredth of a second to each.
    fn minute(to: &[SocketAddr], length: usize) -> usize {
        let mut addresses = Addresses::new(100, (1, 2));
        let mut bytes = 0;
        for ms in (0..60_000).step_by(10) {
            for to in to {
                bytes += if addresses.take(at(ms), *to, length) { length + HEADERS } else { 0 };
            }
        }
        bytes
    }

    #[test]
    fn an_address_that_never_answers_gets_some_pings_at_once_and_then_few() {
        let bytes = minute(&[address(1, 1)], 42);
        assert!((7 * 70..20 * 70).contains(&bytes), "{bytes}");
        let fresh: Vec<SocketAddr> = (1..=100).map(|port| address(1, port)).collect();
        let bytes = minute(&fresh, 42);
        assert!(bytes < (16 + 60) * 128, "the host as a whole: {bytes}");
    }

    #[test]
    fn tables_stay_within_their_bounds() {
        let mut addresses = Addresses::new(100, (1, 2));
        for i in 0..20_000 {
            addresses.take(at(i), address(u16::try_from(i).unwrap(), 1), 42);
            addresses.prove(at(i), address(u16::try_from(i).unwrap(), 2), i);
        }
        assert_eq!(
            (addresses.proven.len(), addresses.trickles.len(), addresses.hosts.len()),
            (100, MOST, MOST)
        );
        assert!(addresses.is_home(at(20_000), address(19_999, 2), 19_999), "the oldest gives way");
        addresses.tidy(at(10_000_000));
        assert_eq!((addresses.proven.len(), addresses.trickles.len(), addresses.hosts.len()), (0, 0, 0));
    }
}
