//! Two members at one address: one of them is told wrong where it is, or two hosts have one address.
//!
//! Only somebody who sees both can tell; the two themselves see that the others come and go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Instant, Name, Status};
use tracing::warn;

use super::Driver;

impl Driver {
    /// Looks whether any two share an address, some time after somebody came, went or moved.
    pub(super) fn look_at_addresses(&mut self, now: Instant) {
        let recent = self.turn.addresses.is_some_and(|last| now.since(last) < ADDRESSES_EVERY);
        if recent || !self.turn.addresses_stale {
            return;
        }
        (self.turn.addresses, self.turn.addresses_stale) = (Some(now), false);
        let present = self.node.glances().filter(|m| matches!(m.status, Status::Alive | Status::Suspect));
        let shared = shared(present.map(|member| (member.address, member.name)));
        if self.board.condition("addresses", shared.clone())
            && let Some(sentence) = shared
        {
            warn!("{sentence}");
        }
    }
}

/// The sentence for people, if any of them share an address.
fn shared<'a>(members: impl Iterator<Item = (SocketAddr, &'a Name)>) -> Option<String> {
    let mut first: BTreeMap<SocketAddr, &Name> = BTreeMap::new();
    let mut pairs = Vec::new();
    for (address, name) in members {
        match first.get(&address) {
            Some(other) => {
                pairs.push(format!("{} and {} at {address}", (*other).min(name), (*other).max(name)));
            }
            None => drop(first.insert(address, name)),
        }
    }
    pairs.sort();
    let more = pairs.len().saturating_sub(NAMED);
    pairs.truncate(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (!pairs.is_empty()).then(|| {
        format!(
            "two members at one address: {}{more}; check advertise on both, and whether two hosts have this address",
            pairs.join(", ")
        )
    })
}

/// Often enough for people; a look over ten thousand takes about a millisecond.
const ADDRESSES_EVERY: Duration = Duration::from_secs(5);
/// A line of `status` is read, not a list.
const NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_members_at_one_address_are_named() {
        let names = ["a", "b", "c", "d"].map(|name| Name::new(name).unwrap());
        let at = |last: u8| SocketAddr::from(([10, 0, 0, last], 4327));
        let say = |places: [u8; 4]| shared(places.into_iter().map(at).zip(&names));
        assert_eq!(say([1, 2, 3, 4]), None);
        let sentence = say([1, 2, 3, 2]).unwrap();
        assert!(sentence.contains("b and d at 10.0.0.2:4327"), "{sentence}");
        let sentence = say([7, 7, 7, 7]).unwrap();
        assert!(sentence.contains("a and b") && sentence.contains("a and d"), "{sentence}");
        let other_port = [at(1), SocketAddr::from(([10, 0, 0, 1], 4328))];
        assert_eq!(shared(other_port.into_iter().zip(&names)), None, "two agents on one host");
    }
}
