//! What we seal datagrams with, and for which lives of ours we open them.
//!
//! Rule: the number of a datagram is larger than that of every earlier one, over all lives of a host: a life starts to
//! count at its generation, which is kept on disk and only grows. So no clock has to be right for it.
//!
//! Weak spot: a machine that is set back to a snapshot counts on from there, and its peers take what it sends for copies
//! of what they have had. They accuse it, it hears that, and leaps ahead ([`Seals::leap`]).

use core::time::Duration;
use std::fmt;

use heartsay_proto::{ANYONE, SECRET_LENGTH};

use crate::Instant;
use crate::identity::Generation;

/// Numbers and secret of our datagrams.
pub struct Seals {
    /// Of the last datagram sealed.
    number: u64,
    /// Keys the unpredictable part of the nonces.
    secret: [u8; SECRET_LENGTH],
    /// [`ANYONE`], our life, and the lives of this process before it, the latest first.
    mine: Vec<u64>,
    /// Until when datagrams for the earlier ones are opened.
    until: Instant,
}

impl Seals {
    pub fn new(life: u64, secret: [u8; SECRET_LENGTH]) -> Self {
        Self { number: 0, secret, mine: vec![ANYONE, life], until: Instant::EPOCH }
    }

    /// From now on this is the secret.
    pub fn renew(&mut self, secret: [u8; SECRET_LENGTH]) {
        self.secret = secret;
    }

    pub fn secret(&self) -> &[u8; SECRET_LENGTH] {
        &self.secret
    }

    /// The number of the next datagram of the life with this generation.
    pub fn next(&mut self, generation: Generation) -> u64 {
        let first = generation.min(LATEST) << PER_MS;
        self.number = self.number.max(first).saturating_add(1);
        self.number
    }

    /// Others do not take what we send, perhaps because they have had these numbers from us before.
    pub fn leap(&mut self) {
        self.number = self.number.saturating_add(LEAP);
    }

    /// The lives for which we open datagrams. `life` is the present one. What was on its way to the one before is for
    /// us too; it cannot be a copy unless it was seen, as this process remembers.
    pub fn receivers(&mut self, now: Instant, life: u64) -> &[u64] {
        if self.mine.get(1) != Some(&life) {
            self.mine.insert(1, life);
            self.mine.truncate(2 + EARLIER);
            self.until = now + UNDER_WAY;
        } else if self.mine.len() > 2 && now >= self.until {
            self.mine.truncate(2);
        }
        &self.mine
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seals").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A life has room for 2^20 datagrams per millisecond of its age before it counts into the next one.
const PER_MS: u32 = 20;
/// The year 2248. Beyond it numbers of different lives may be equal; their tags differ.
const LATEST: Generation = (1 << 43) - 1;
/// Seven weeks of a thousand datagrams a second: older than any snapshot that is still of use.
const LEAP: u64 = 1 << 32;
/// Lives of one process, one soon after the other: another address, and a name that was contested.
const EARLIER: usize = 2;
/// Longer than news of a life takes to all members. Honest guess.
const UNDER_WAY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_over_the_lives_of_a_host() {
        let mut seals = Seals::new(7, [0; 16]);
        let first = seals.next(1_000);
        assert_eq!([seals.next(1_000), seals.next(1_000)], [first + 1, first + 2]);
        let last = (0..100_000).map(|_| seals.next(1_000)).last().unwrap();
        assert!(seals.next(1_001) > last, "in one process");
        assert!(Seals::new(8, [0; 16]).next(1_001) > last, "after a start one millisecond later");
        seals.leap();
        assert!(seals.next(1_001) > last + (1 << 32));
        assert!(Seals::new(9, [0; 16]).next(u64::MAX) < 1 << 63, "no generation ends the count");
    }

    #[test]
    fn what_is_under_way_to_the_life_before_is_for_us_too_for_a_moment() {
        let mut seals = Seals::new(7, [0; 16]);
        let at = |s| Instant::EPOCH + Duration::from_secs(s);
        assert_eq!(seals.receivers(at(1), 7), [ANYONE, 7]);
        assert_eq!(seals.receivers(at(2), 8), [ANYONE, 8, 7]);
        assert_eq!(seals.receivers(at(3), 9), [ANYONE, 9, 8, 7]);
        assert_eq!(seals.receivers(at(4), 10), [ANYONE, 10, 9, 8]);
        assert_eq!(seals.receivers(at(9), 10), [ANYONE, 10]);
    }
}
