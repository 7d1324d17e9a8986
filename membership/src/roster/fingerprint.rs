//! Stable 64-bit hashes of names, incarnations and standings.
//!
//! All of them are SipHash-1-3 with fixed keys, because every agent must compute the same value. The keys differ by
//! purpose, so that a hash of one kind never passes for another. Fingerprints of pages are wrapping sums of these
//! hashes: order does not matter, and a page's sum follows from its members.

use core::hash::Hasher;
use core::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::identity::Name;
use crate::roster::incarnation::Incarnation;
use crate::roster::member::Member;
use crate::roster::standing::Status;

/// The hash by which the roster is sorted.
pub fn of_name(name: &Name) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, NAME);
    hasher.write(name.as_str().as_bytes());
    hasher.finish()
}

/// Tag of one incarnation of one member. The lower half is a hash of everything that never changes in it. The upper
/// half is that of the name's hash, so that tags are found and sorted like names.
pub fn of_incarnation(incarnation: &Incarnation) -> u64 {
    let [host_low, host_high] = halves(incarnation.host_id.0);
    let schedule = incarnation.schedule;
    let words =
        [incarnation.hash, host_low, host_high, incarnation.generation, schedule.unix_ms, schedule.heartbeat];
    let mut hasher = SipHasher13::new_with_keys(0, LIFE);
    // In one string: word by word takes twice as long.
    hasher.write(words.map(u64::to_le_bytes).as_flattened());
    hasher.write_u32(schedule.interval_ms);
    match incarnation.address().ip() {
        IpAddr::V4(ip) => hasher.write(&ip.octets()),
        IpAddr::V6(ip) => hasher.write(&ip.octets()),
    }
    hasher.write_u16(incarnation.address().port());
    (incarnation.hash & UPPER) | (hasher.finish() & !UPPER)
}

/// Stamp of the claims about an incarnation except its heartbeat: state version and standing.
pub fn of_standing(member: &Member) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(member.incarnation.tag, STANDING);
    hasher.write_u64(member.state.version());
    hasher.write_u64(standing_code(member));
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Standing as one number, as it travels in a list: 0 alive, otherwise 4 * basis + 0 restarting, 1 suspect, 2 down, 3
/// left.
pub fn standing_code(member: &Member) -> u64 {
    let marks = member.marks();
    match member.standing() {
        Status::Alive => 0,
        // Never 0, the code of an alive member.
        Status::Restarting => marks.restart.map_or(0, |word| word.basis).max(1).wrapping_mul(4),
        Status::Suspect => {
            // The accusers may differ from view to view; that the member is accused should not.
            let basis = marks.that_count().map(|a| a.basis).max().unwrap_or(0);
            basis.wrapping_mul(4).wrapping_add(1)
        }
        Status::Down => marks.down.unwrap_or(0).wrapping_mul(4).wrapping_add(2),
        Status::Left => 3,
    }
}

/// How strongly `observer` is drawn as a witness of `subject`: rendezvous hashing.
pub fn of_pair(subject: u64, observer: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(subject, PAIR);
    hasher.write_u64(observer);
    hasher.finish()
}

/// Mark of a key in a member's state.
pub fn of_key(key: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, KEY);
    hasher.write(key.as_bytes());
    hasher.finish()
}

/// The lower half first.
fn halves(number: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, high @ ..] = number.to_le_bytes();
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(high)]
}

const UPPER: u64 = 0xffff_ffff_0000_0000;
const NAME: u64 = 1;
const LIFE: u64 = 2;
const STANDING: u64 = 3;
const PAIR: u64 = 4;
const KEY: u64 = 5;
