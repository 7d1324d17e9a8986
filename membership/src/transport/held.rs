//! Requests of members whose source has not proven itself: they wait for the proof and are then answered in full.
//!
//! Cut to three times their own length, the answers would be of little use, and the rest would come only when they are
//! asked for again.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip;

use crate::Instant;

/// The requests that wait.
#[derive(Debug, Default)]
pub struct Held {
    requests: Vec<(Instant, SocketAddr, gossip::Packet)>,
}

impl Held {
    /// Whether a request of this source has room.
    pub fn has_room(&mut self, now: Instant, from: SocketAddr) -> bool {
        self.requests.retain(|(since, ..)| now.since(*since) < LONGEST);
        let of_source = self.requests.iter().filter(|(_, source, _)| *source == from).count();
        self.requests.len() < MOST && of_source < MOST_OF_SOURCE
    }

    /// Keeps a request that has room.
    pub fn hold(&mut self, now: Instant, from: SocketAddr, packet: gossip::Packet) {
        self.requests.push((now, from, packet));
    }

    /// Takes out the requests of a source that has proven itself.
    pub fn take(&mut self, from: SocketAddr) -> Vec<gossip::Packet> {
        if self.requests.is_empty() {
            return Vec::new();
        }
        let of_source = self.requests.extract_if(.., |(_, source, _)| *source == from);
        of_source.map(|(_, _, packet)| packet).collect()
    }
}

/// A proof takes a round trip. After this long nobody waits for the answer.
const LONGEST: Duration = Duration::from_secs(1);
/// At most 80 kB wait, and a flood of forged sources takes only the place of requests that are cut instead.
const MOST: usize = 64;
const MOST_OF_SOURCE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_wait_and_not_for_long() {
        let (mut held, at) = (Held::default(), |ms| Instant::EPOCH + Duration::from_millis(ms));
        let address = |i: u8| SocketAddr::from(([10, 0, 0, i], 1));
        let kept = |held: &mut Held, ms, i| {
            let room = held.has_room(at(ms), address(i));
            if room {
                held.hold(at(ms), address(i), gossip::Packet::default());
            }
            room
        };
        assert_eq!((0..9).filter(|_| kept(&mut held, 0, 1)).count(), 4);
        assert_eq!((2..=200).filter(|i| kept(&mut held, 0, *i)).count(), 60);
        assert_eq!((held.take(address(1)).len(), held.take(address(1)).len()), (4, 0));
        assert!(kept(&mut held, 999, 1));
        assert!(kept(&mut held, 1000, 2));
        assert_eq!(held.requests.len(), 2, "the others have waited too long");
    }
}
