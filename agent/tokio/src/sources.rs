//! From which address of this host a datagram leaves, where the socket listens on all of them.
//!
//! The kernel would take the first address of the interface that leads to the peer. On a host with several addresses that
//! need not be the one which others know: their packet filters let in what comes from there, and know an answer by it.
//!
//! Rule, in this order: an answer leaves from the address that was called ([`Shell`](crate::Shell) says which that is);
//! everything else from the address that others are told, if the way to the peer begins at its interface, if it is on
//! loopback, or if the peer has called us there; else the kernel chooses, as another interface has neighbours that may know no
//! way back to it.
//!
//! Weak spot: another route is seen a minute later.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use heartsay_membership::Instant;
use nix::ifaddrs::getifaddrs;

/// What is known of the addresses of this host and of the ways from them.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The address that others are told.
    own: Option<IpAddr>,
    /// Addresses of this host, each with its interface; none while there is nothing to choose.
    here: Vec<(IpAddr, String)>,
    /// When to look at the host again; `None`: now.
    due: Option<Instant>,
    /// Where the way to a peer begins, as far as it was asked for.
    ways: BTreeMap<IpAddr, Way>,
    /// Peers elsewhere that have called us at our own address.
    callers: BTreeSet<IpAddr>,
}

/// Where the way to a peer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// At the interface of our own address, from another address than that.
    Beside,
    /// At another interface, or nowhere.
    Elsewhere,
    /// At our own address: the kernel chooses it.
    There,
}

impl Sources {
    /// Looks at the host again if that is due, or if others are told another address than before.
    pub(crate) fn look(&mut self, now: Instant, own: IpAddr) {
        if self.own == Some(own) && self.due.is_some_and(|due| now < due) {
            return;
        }
        if self.own != Some(own) {
            self.callers.clear();
        }
        self.ways.clear();
        self.here = several(own, interfaces());
        (self.own, self.due) = (Some(own), Some(now + EVERY));
    }

    /// Looks at the host at the next opportunity: a source was refused.
    pub(crate) fn doubt(&mut self) {
        self.due = None;
    }

    /// A datagram from `peer` came to our address `at`, and was taken.
    pub(crate) fn heard(&mut self, peer: IpAddr, at: IpAddr) {
        if self.here.is_empty() || self.own != Some(at) || self.way(peer) != Way::Elsewhere {
            return;
        }
        if self.callers.len() >= MOST {
            // They will call again.
            self.callers.clear();
        }
        self.callers.insert(peer);
    }

    /// The source of a datagram that answers none; `None`: whichever the kernel chooses.
    pub(crate) fn towards(&mut self, peer: IpAddr) -> Option<IpAddr> {
        let own = self.own.filter(|own| !self.here.is_empty() && own.is_ipv4() == peer.is_ipv4())?;
        let ours = self.callers.contains(&peer) || self.way(peer) == Way::Beside;
        ours.then_some(own)
    }

    fn way(&mut self, peer: IpAddr) -> Way {
        if let Some(way) = self.ways.get(&peer) {
            return *way;
        }
        if self.ways.len() >= MOST {
            self.ways.clear();
        }
        let way = self.begins(source_towards(SocketAddr::new(peer, DISCARD)));
        self.ways.insert(peer, way);
        way
    }

    /// Where a way begins to which the kernel would give this source.
    fn begins(&self, source: Option<IpAddr>) -> Way {
        let device = |ip| self.here.iter().find(|(address, _)| *address == ip).map(|(_, name)| device(name));
        let (Some(own), Some(source)) = (self.own, source) else { return Way::Elsewhere };
        if source == own {
            return Way::There;
        }
        let ours = device(own);
        // An address on loopback is that of the host, whichever way it speaks.
        let host = ours == Some(LOOPBACK) && !source.is_loopback();
        if host || ours.is_some() && ours == device(source) { Way::Beside } else { Way::Elsewhere }
    }
}

/// These addresses, if `own` is among them and so is another of its family: else there is nothing to choose.
fn several(own: IpAddr, mut here: Vec<(IpAddr, String)>) -> Vec<(IpAddr, String)> {
    here.retain(|(ip, _)| ip.is_ipv4() == own.is_ipv4());
    let ours = here.iter().any(|(ip, _)| *ip == own);
    if ours && here.len() > 1 { here } else { Vec::new() }
}

/// All addresses of this host but those of loopback that mean the same on each host.
fn interfaces() -> Vec<(IpAddr, String)> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        let one_link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        (!ip.is_loopback() && !one_link).then_some((ip, interface.interface_name))
    })
    .collect()
}

/// Without the label that an IPv4 address may have (`eth0:1`).
fn device(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// The source address that the kernel would use towards `target`; nothing is sent.
pub fn source_towards(target: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let probe = std::net::UdpSocket::bind((any, 0)).ok()?;
    probe.connect(target).ok()?;
    let source = probe.local_addr().ok()?.ip();
    (!source.is_unspecified()).then_some(source)
}

/// A look takes some microseconds for each peer that is called then.
const EVERY: Duration = Duration::from_secs(60);
/// Peers that are remembered of each kind. Far more than are called in a minute.
const MOST: usize = 4_096;
/// Any port would do.
const DISCARD: u16 = 9;
const LOOPBACK: &str = "lo";

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A host with these addresses, of which the first is told to others.
    fn host(addresses: &[(&str, &str)]) -> Sources {
        let own = ip(addresses[0].0);
        let here = addresses.iter().map(|(address, name)| (ip(address), (*name).to_owned())).collect();
        let due = Some(Instant::EPOCH + EVERY);
        Sources { own: Some(own), here: several(own, here), due, ..Sources::default() }
    }

    #[test]
    fn the_way_from_a_second_address_of_the_same_interface_begins_beside_it() {
        let two = host(&[("10.0.0.9", "eth0:1"), ("10.0.0.1", "eth0"), ("10.9.0.1", "wg0")]);
        assert_eq!(two.begins(Some(ip("10.0.0.9"))), Way::There);
        assert_eq!(two.begins(Some(ip("10.0.0.1"))), Way::Beside);
        assert_eq!(two.begins(Some(ip("10.9.0.1"))), Way::Elsewhere, "its neighbours may not know 10.0.0.9");
        assert_eq!(two.begins(None), Way::Elsewhere);
    }

    #[test]
    fn an_address_on_loopback_is_that_of_the_whole_host() {
        let routed = host(&[("10.255.0.1", "lo"), ("10.0.0.1", "eth0"), ("10.0.1.1", "eth1")]);
        assert_eq!(routed.begins(Some(ip("10.0.1.1"))), Way::Beside);
    }

    #[test]
    fn where_there_is_nothing_to_choose_the_kernel_is_not_asked() {
        for addresses in [&[("10.0.0.1", "eth0")][..], &[("10.0.0.1", "eth0"), ("fd00::1", "eth0")]] {
            let mut one = host(addresses);
            assert_eq!(one.towards(ip("10.0.0.2")), None);
            one.heard(ip("10.0.0.2"), ip("10.0.0.1"));
            assert!(one.ways.is_empty() && one.callers.is_empty(), "{addresses:?}");
        }
        let mut behind_nat = host(&[("10.0.0.1", "eth0"), ("10.0.0.2", "eth0")]);
        behind_nat.look(Instant::EPOCH, ip("203.0.113.7"));
        assert_eq!(behind_nat.towards(ip("203.0.113.8")), None, "this host has no such address");
    }

    #[test]
    fn who_has_called_our_own_address_is_called_from_there() {
        let mut two = host(&[("10.9.0.1", "wg0"), ("10.0.0.1", "eth0")]);
        let (peer, other) = (ip("10.0.0.7"), ip("10.0.0.8"));
        two.ways.extend([(peer, Way::Elsewhere), (other, Way::Elsewhere)]);
        assert_eq!(two.towards(peer), None);
        two.heard(peer, ip("10.9.0.1"));
        two.heard(other, ip("10.0.0.1"));
        assert_eq!((two.towards(peer), two.towards(other)), (Some(ip("10.9.0.1")), None));
        two.look(Instant::EPOCH, ip("10.0.0.1"));
        assert!(two.callers.is_empty(), "they called an address that is ours no more");
    }

    #[test]
    fn many_peers_do_not_grow_it_without_bound() {
        let mut two = host(&[("10.9.0.1", "wg0"), ("10.0.0.1", "eth0")]);
        for n in 0..u32::try_from(MOST).unwrap() * 3 {
            let peer = IpAddr::from(n.to_be_bytes());
            two.ways.insert(peer, Way::Elsewhere);
            two.heard(peer, ip("10.9.0.1"));
            two.ways.clear();
        }
        assert!(two.callers.len() <= MOST);
    }
}
