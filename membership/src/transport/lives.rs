//! Which life is at an address, as far as we know, and what waits until we do.
//!
//! Picture: a letter is sealed for one reader. If the name on the door is not known, a card is dropped first, "who is
//! there?", and the letter goes when the answer has come.
//!
//! Rule: what we heard last counts, from the address itself or from others. A life that has left [`DOUBTED`] of our
//! requests in a row unanswered is doubted, since its process may have ended and another begun there: the next request
//! goes out sealed for it, and a card with it.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_proto::gossip::Packet;

use crate::Instant;
use crate::transport::token_bucket::TokenBucket;

/// The address book.
#[derive(Debug)]
pub struct Lives {
    at: BTreeMap<SocketAddr, Known>,
    held: Vec<Held>,
    /// Bounds the answers to cards: anybody may send an old card again.
    answers: TokenBucket,
}

/// The life at an address.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its tag.
    pub life: u64,
    /// Requests since its last sign of life that stayed unanswered.
    pub missed: u8,
    /// When we last asked who is there.
    asked: Instant,
}

/// A packet that waits until we know who is there.
#[derive(Debug)]
struct Held {
    to: SocketAddr,
    since: Instant,
    /// The life for which it has left already.
    left_for: Option<u64>,
    packet: Packet,
    /// Whether it is a request of ours, and no answer with the number of another.
    asks: bool,
}

impl Lives {
    pub fn new(now: Instant) -> Self {
        Self { at: BTreeMap::new(), held: Vec::new(), answers: TokenBucket::new(now, ANSWERS) }
    }

    pub fn at(&self, address: SocketAddr) -> Option<Known> {
        self.at.get(&address).copied()
    }

    /// This life is at this address.
    pub fn learn(&mut self, address: SocketAddr, life: u64) {
        if self.at.len() >= MOST && !self.at.contains_key(&address) {
            // Each is asked again when it is needed.
            self.at.clear();
        }
        let known = self.at.entry(address).or_insert(Known { life, missed: 0, asked: Instant::EPOCH });
        (known.life, known.missed) = (life, 0);
    }

    /// A request to this address stayed unanswered, or was refused.
    pub fn miss(&mut self, address: SocketAddr) {
        if let Some(known) = self.at.get_mut(&address) {
            known.missed = known.missed.saturating_add(1);
        }
    }

    /// Whether to ask who is at this address, whose life we doubt. At most once a second.
    pub fn asks_again(&mut self, now: Instant, address: SocketAddr) -> bool {
        let Some(known) = self.at.get_mut(&address) else { return true };
        let again = known.asked == Instant::EPOCH || now.since(known.asked) >= AGAIN;
        if again {
            known.asked = now;
        }
        again
    }

    /// Whether another card is answered.
    pub fn answers(&mut self, now: Instant) -> bool {
        self.answers.take(now, 1)
    }

    /// Keeps a packet, and whether it is a request of ours; the last one for each address. `left_for`: the life for which it has left already.
    pub fn hold(&mut self, now: Instant, to: SocketAddr, packet: (Packet, bool), left_for: Option<u64>) {
        self.held.retain(|held| held.to != to && now.since(held.since) < HELD_FOR);
        if self.held.len() >= HELD {
            self.held.remove(0);
        }
        let (packet, asks) = packet;
        self.held.push(Held { to, since: now, left_for, packet, asks });
    }

    /// The packet that waits for an address where `life` is. What has left for that life already need not leave again.
    pub fn release(&mut self, now: Instant, to: SocketAddr, life: u64) -> Option<(Packet, bool)> {
        let place = self.held.iter().position(|held| held.to == to)?;
        let held = self.held.remove(place);
        (held.left_for != Some(life) && now.since(held.since) < HELD_FOR).then_some((held.packet, held.asks))
    }

    /// The address to which a request with this number waits.
    pub fn asked_with(&self, seq: u32) -> Option<SocketAddr> {
        self.held.iter().find(|held| held.asks && held.packet.seq == seq).map(|held| held.to)
    }
}

impl Known {
    /// Whether another life may be there by now. `present`: whether, for all we know, this one is neither down nor gone.
    pub fn is_doubted(&self, present: bool) -> bool {
        self.missed >= DOUBTED || self.missed > 0 && !present
    }
}

/// One may be lost on the way.
const DOUBTED: u8 = 2;
/// A dead member is asked no more often.
const AGAIN: Duration = Duration::from_secs(1);
/// Cards answered per second, with peaks of four times that, as with pulls: 50 kB/s.
const ANSWERS: u32 = 500;
/// Addresses at once that we do not know: eight seeds, two remembered peers, and many times that.
const HELD: usize = 64;
/// Longer than any answer takes.
const HELD_FOR: Duration = Duration::from_secs(5);
/// Four times the default cap of a roster.
const MOST: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    fn address(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn packet(seq: u32) -> (Packet, bool) {
        (Packet { seq, ..Packet::default() }, true)
    }

    #[test]
    fn a_packet_waits_for_its_address_and_leaves_once() {
        let mut lives = Lives::new(at(0));
        lives.hold(at(0), address(1), packet(1), None);
        lives.hold(at(1), address(1), packet(2), None);
        lives.hold(at(1), address(2), packet(3), Some(7));
        assert_eq!((lives.asked_with(1), lives.asked_with(2)), (None, Some(address(1))), "the last one");
        assert_eq!(lives.release(at(9), address(1), 7).map(|(packet, _)| packet.seq), Some(2));
        assert!(lives.release(at(9), address(1), 7).is_none());
        assert!(lives.release(at(9), address(2), 7).is_none(), "it has left for that life");
        lives.hold(at(10), address(2), packet(4), Some(7));
        assert_eq!(
            lives.release(at(20), address(2), 8).map(|(packet, _)| packet.seq),
            Some(4),
            "another is there"
        );
        lives.hold(at(30), address(3), packet(5), None);
        assert!(lives.release(at(5030), address(3), 9).is_none(), "too late");
        lives.hold(at(5100), address(4), (packet(6).0, false), None);
        assert_eq!(lives.asked_with(6), None, "an answer, with the number of another");
        (0..1000).for_each(|port| lives.hold(at(6000), address(port), packet(1), None));
        assert_eq!(lives.held.len(), HELD);
    }

    #[test]
    fn a_life_that_does_not_answer_is_doubted_and_asked_for_once_a_second() {
        let mut lives = Lives::new(at(0));
        lives.learn(address(1), 7);
        let doubted = |lives: &Lives, present| lives.at(address(1)).unwrap().is_doubted(present);
        assert!(!doubted(&lives, true) && !doubted(&lives, false));
        lives.miss(address(1));
        assert!(!doubted(&lives, true) && doubted(&lives, false), "once, and it is called down");
        lives.miss(address(1));
        assert!(doubted(&lives, true));
        let asked: Vec<u64> = (5_000..7_000).filter(|ms| lives.asks_again(at(*ms), address(1))).collect();
        assert_eq!(asked, [5_000, 6_000]);
        lives.learn(address(1), 7);
        assert!(!doubted(&lives, false), "it has spoken");
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_and_cards_are_answered_within_a_budget() {
        let mut lives = Lives::new(at(0));
        for i in 0..100_000_u32 {
            let [a, b, c, _] = (i << 8).to_be_bytes();
            lives.learn(([10, a, b, c], 1).into(), u64::from(i));
        }
        assert!(lives.at.len() <= MOST);
        let answered = (0..100_000).filter(|i| lives.answers(at(i / 100))).count();
        assert!((2_000..=2_500).contains(&answered), "{answered}");
    }
}
