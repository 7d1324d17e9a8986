//! Two members at one address: one of them is told wrong where it is, or two hosts have one address. And two members with
//! one host id: a host was copied with its state directory and given another name.
//!
//! Only a third member, which sees both, can tell; the two themselves see that the others come and go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{HostId, Instant, Name, Node, Status};
use tracing::warn;

use super::Reporter;
use crate::doctor::{Code, Said};
use crate::words::few;

impl Reporter {
    /// Looks whether any two share an address, some time after a member came, went or moved.
    pub(super) fn look_at_addresses(&mut self, node: &Node, now: Instant) {
        let recent = self.state.addresses.is_some_and(|last| now.since(last) < ADDRESSES_EVERY);
        if recent || !self.state.addresses_stale {
            return;
        }
        (self.state.addresses, self.state.addresses_stale) = (Some(now), false);
        let present = || node.summaries().filter(|m| matches!(m.status, Status::Alive | Status::Suspect));
        let addresses = at_one_address(present().map(|member| (member.address, member.name)));
        let hosts = copied(present().map(|member| (member.host_id, member.name)));
        for (code, said) in [(Code::TwoMembersAtOneAddress, addresses), (Code::CopiedStateDirectory, hosts)] {
            if self.event_log.condition(code, said.clone())
                && let Some(said) = said
            {
                warn!("{said}");
            }
        }
    }
}

/// The sentence for people, if any of them share an address.
fn at_one_address<'a>(members: impl Iterator<Item = (SocketAddr, &'a Name)>) -> Option<Said> {
    let pairs = shared(members, |at| format!("at {at}"))?;
    Some(Said::new(
        format!("two members at one address: {pairs}"),
        "check advertise on both, and whether two hosts have this address",
    ))
}

/// The sentence for people, if any of them have one host id.
fn copied<'a>(members: impl Iterator<Item = (HostId, &'a Name)>) -> Option<Said> {
    let pairs = shared(members, |host| format!("({host})"))?;
    Some(Said::new(
        format!(
            "two members with one host id: {pairs}; the state directory of one was copied to the other, and the cluster \
             cannot tell their hosts apart"
        ),
        "on the copy, stop the agent, remove what is in its state directory, start it",
    ))
}

/// Members that share what no two members should share, in pairs.
fn shared<'a, T: Ord>(
    members: impl Iterator<Item = (T, &'a Name)>,
    show: impl Fn(&T) -> String,
) -> Option<String> {
    let mut first: BTreeMap<T, &Name> = BTreeMap::new();
    let mut pairs = Vec::new();
    for (place, name) in members {
        match first.get(&place) {
            Some(other) => {
                pairs.push(format!("{} and {} {}", (*other).min(name), (*other).max(name), show(&place)));
            }
            None => drop(first.insert(place, name)),
        }
    }
    pairs.sort();
    (!pairs.is_empty()).then(|| few(&pairs))
}

/// Often enough for people; a look over ten thousand takes about a millisecond.
const ADDRESSES_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_members_at_one_address_are_named() {
        let names = ["a", "b", "c", "d"].map(|name| Name::new(name).unwrap());
        let at = |last: u8| SocketAddr::from(([10, 0, 0, last], 4327));
        let say = |places: [u8; 4]| at_one_address(places.into_iter().map(at).zip(&names));
        assert_eq!(say([1, 2, 3, 4]), None);
        let sentence = say([1, 2, 3, 2]).unwrap().to_string();
        assert!(sentence.contains("b and d at 10.0.0.2:4327"), "{sentence}");
        let sentence = say([7, 7, 7, 7]).unwrap().to_string();
        assert!(sentence.contains("a and b") && sentence.contains("a and d"), "{sentence}");
        let other_port = [at(1), SocketAddr::from(([10, 0, 0, 1], 4328))];
        assert_eq!(at_one_address(other_port.into_iter().zip(&names)), None, "two agents on one host");
    }

    #[test]
    fn two_names_with_one_host_id_are_a_copied_host() {
        let names = ["a", "b", "c"].map(|name| Name::new(name).unwrap());
        let say = |hosts: [u128; 3]| copied(hosts.into_iter().map(HostId).zip(&names));
        assert_eq!(say([1, 2, 3]), None);
        let sentence = say([1, 2, 1]).unwrap().to_string();
        assert!(
            sentence.contains("a and c (00000000-") && sentence.contains("state directory"),
            "{sentence}"
        );
    }
}
