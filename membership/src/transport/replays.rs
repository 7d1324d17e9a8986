//! Tells copies of datagrams from datagrams that are late.
//!
//! Picture: a box office that keeps the stubs of each row. A ticket with a number in the row is good once, and tickets
//! from before the oldest stub are good no more.
//!
//! Rule: of each life that has spoken to us, the last [`KEPT`] numbers are known, and all below the lowest of them are
//! refused. So a datagram may be overtaken by as many of its sender's datagrams *to us*, however many go to others
//! meanwhile. *Road not taken*: a bitmap over the numbers. They count what goes to all receivers, so that a few seconds of
//! a busy sender would be some kilobytes for each sender, nearly all of them zeros.
//!
//! It remembers for as long as we live; a datagram for our next life is sealed otherwise. What is known of lives that are
//! over goes only when there are more than [`MOST`]: the lowest numbers first, and then nothing below them is taken from
//! a life that is neither known here nor in the roster.
//!
//! Weak spot: a datagram that somebody on the way holds back, and that was never seen, is late and no copy. It is taken
//! once, unless [`KEPT`] later ones of that life have come, or one of them [`SETTLED`] ago.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use crate::Instant;

/// The numbers of datagrams seen, by the life that sent them.
#[derive(Debug, Default)]
pub struct Replays {
    lives: BTreeMap<u64, Window>,
    /// All numbers in all windows.
    listed: usize,
    /// The highest number of a life that was dropped.
    dropped: u64,
}

#[derive(Debug)]
struct Window {
    /// Nothing up to this number is taken.
    floor: u64,
    /// The numbers seen above it, in order.
    seen: VecDeque<u64>,
    last: Instant,
}

impl Window {
    /// The highest number seen.
    fn top(&self) -> u64 {
        self.seen.back().copied().unwrap_or(self.floor)
    }

    /// Takes nothing any more that is below the highest number. Returns how many numbers are forgotten.
    fn settle(&mut self) -> usize {
        self.floor = self.top();
        let forgotten = self.seen.len();
        self.seen = VecDeque::new();
        forgotten
    }
}

impl Replays {
    /// Whether a datagram with this number is the first such of `life`. `is_member` says which lives are in the roster.
    pub fn takes(&mut self, now: Instant, life: u64, number: u64, is_member: impl Fn(u64) -> bool) -> bool {
        let Self { lives, listed, dropped } = self;
        let Some(window) = lives.get_mut(&life) else {
            return (number > *dropped || is_member(life)) && self.takes_first(now, life, number, is_member);
        };
        if now.since(window.last) >= SETTLED {
            *listed -= window.settle();
        }
        if number <= window.floor {
            return false;
        }
        let Err(place) = window.seen.binary_search(&number) else { return false };
        window.seen.insert(place, number);
        window.last = now;
        *listed += 1;
        if window.seen.len() > KEPT {
            window.floor = window.seen.pop_front().unwrap_or(window.floor);
            *listed -= 1;
        }
        if *listed > MOST {
            lives.values_mut().for_each(|window| _ = window.settle());
            *listed = 0;
        }
        true
    }

    /// The same for a life that has not spoken to us before.
    fn takes_first(&mut self, now: Instant, life: u64, number: u64, is_member: impl Fn(u64) -> bool) -> bool {
        if self.lives.len() >= MOST {
            self.make_room(is_member);
        }
        // Lower numbers may still be on their way.
        let window = Window { floor: 0, seen: VecDeque::from([number]), last: now };
        self.listed += 1;
        self.lives.insert(life, window);
        true
    }

    /// Drops the older half of the lives that are in no roster; of all, if there are none.
    fn make_room(&mut self, is_member: impl Fn(u64) -> bool) {
        let mut over: Vec<(u64, u64)> =
            self.lives.iter().map(|(life, window)| (window.top(), *life)).collect();
        if over.iter().any(|(_, life)| !is_member(*life)) {
            over.retain(|(_, life)| !is_member(*life));
        }
        over.sort_unstable();
        for (top, life) in over.iter().take(over.len().div_ceil(2)) {
            self.dropped = self.dropped.max(*top);
            self.listed -= self.lives.remove(life).map_or(0, |window| window.seen.len());
        }
    }

    /// Lives and numbers that are remembered.
    #[cfg(test)]
    fn size(&self) -> (usize, usize) {
        (self.lives.len(), self.listed)
    }
}

/// By so many datagrams of its sender to us a datagram may be overtaken: those of two seconds of news, the most that one
/// member regularly sends another (50 a second).
const KEPT: usize = 128;
/// After so long without a datagram of a life, none of its earlier ones is awaited any more. No path holds one that long.
const SETTLED: Duration = Duration::from_secs(10);
/// Lives, and numbers of all lives together: at most 8 MB. Four times the default cap of a roster.
const MOST: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    fn nobody(_: u64) -> bool {
        false
    }

    #[test]
    fn a_number_is_taken_once_in_whichever_order_they_come() {
        let mut replays = Replays::default();
        for number in [50, 53, 51, 1_000_000, 52, 49] {
            assert!(replays.takes(at(1), 7, number, nobody), "{number}");
        }
        for number in [49, 50, 51, 52, 53, 1_000_000] {
            assert!(!replays.takes(at(1), 7, number, nobody), "{number} again");
        }
        assert!(replays.takes(at(1), 8, 50, nobody), "another life counts for itself");
    }

    #[test]
    fn a_late_datagram_is_taken_until_it_was_overtaken_too_often_or_too_long_ago() {
        let mut replays = Replays::default();
        // A sender that has a thousand other peers.
        let numbers: Vec<u64> = (1..=200).map(|i| i * 1000).collect();
        assert!(replays.takes(at(1), 7, 500, nobody));
        for number in &numbers[1..127] {
            assert!(replays.takes(at(1), 7, *number, nobody));
        }
        assert!(replays.takes(at(1), 7, numbers[0], nobody), "overtaken by 126");
        for number in &numbers[127..] {
            assert!(replays.takes(at(2), 7, *number, nobody));
        }
        assert!(!replays.takes(at(2), 7, 1500, nobody), "overtaken by 199");
        assert!(replays.takes(at(11), 7, 199_999, nobody));
        assert!(!replays.takes(at(21), 7, 199_998, nobody), "ten seconds late");
        assert!(replays.takes(at(21), 7, 200_001, nobody));
    }

    /// A million copies, of any age, between datagrams that come out of order.
    #[test]
    fn of_a_million_copies_none_is_taken() {
        let mut rng = SmallRng::seed_from_u64(1);
        let (mut replays, mut sent, mut taken) = (Replays::default(), Vec::new(), BTreeSet::new());
        let mut next = 0_u64;
        for i in 0..1_000_000_u64 {
            let now = Instant::EPOCH + Duration::from_millis(i / 10);
            if i % 100 == 0 {
                next += rng.random_range(1..50_u64);
                let datagram = (rng.random_range(0..20_u64), next - rng.random_range(0..next.min(5)));
                let first = taken.insert(datagram);
                assert!(!replays.takes(now, datagram.0, datagram.1, nobody) || first, "{datagram:?}");
                sent.push(datagram);
            }
            let (life, number) = sent[rng.random_range(0..sent.len())];
            assert!(!replays.takes(now, life, number, nobody), "{life} {number} at {now:?}");
        }
    }

    #[test]
    fn a_flood_of_lives_and_numbers_does_not_grow_and_opens_no_door() {
        let mut replays = Replays::default();
        for life in 0..200_000 {
            assert!(replays.takes(at(1), life, 1000 + life, |life| life < 10), "{life}");
        }
        let (lives, listed) = replays.size();
        assert!(lives <= MOST && listed <= MOST + 1, "{lives} {listed}");
        for life in 0..200_000 {
            assert!(!replays.takes(at(1), life, 1000 + life, |life| life < 10), "{life} again");
        }
        assert!(replays.takes(at(1), 300_000, 500_000, nobody), "a new life");
        assert!(!replays.takes(at(1), 300_001, 1000, nobody), "may be one that was dropped");
        assert!(replays.takes(at(1), 300_002, 1000, |life| life == 300_002), "others know it");
        for number in 0..200_000 {
            replays.takes(at(2), number % 1000, 1_000_000 + number, nobody);
        }
        assert!(replays.size().1 <= MOST + 1);
    }
}
