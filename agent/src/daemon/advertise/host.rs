//! What this host says about its addresses and routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) use heartsay_tokio::source_towards;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// One address of one interface.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    /// It has a network of its own, without neighbours.
    pub(crate) alone: bool,
    pub(crate) loopback: bool,
    pub(crate) up: bool,
}

impl Interface {
    /// Others can be told its address.
    pub(crate) fn is_usable(&self) -> bool {
        self.up && can_be_told(self.address)
    }

    /// Without the label that an IPv4 address may have (`eth0:1`).
    pub(crate) fn device(&self) -> &str {
        self.name.split(':').next().unwrap_or(&self.name)
    }

    /// Made for containers or virtual machines on this host: its address is the same on many hosts, and no
    /// other host reaches it.
    pub(crate) fn is_for_containers(&self) -> bool {
        FOR_CONTAINERS.iter().any(|start| self.name.starts_with(start))
    }
}

/// All addresses of this host, in the kernel's order.
pub(crate) fn interfaces() -> Vec<Interface> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let address = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        let alone = interface.netmask.is_some_and(|mask| {
            let v4 = mask.as_sockaddr_in().is_some_and(|mask| mask.ip() == Ipv4Addr::BROADCAST);
            v4 || mask.as_sockaddr_in6().is_some_and(|mask| mask.ip() == Ipv6Addr::from_bits(u128::MAX))
        });
        let [up, loopback] =
            [InterfaceFlags::IFF_UP, InterfaceFlags::IFF_LOOPBACK].map(|flag| interface.flags.contains(flag));
        Some(Interface { name: interface.interface_name, address, alone, loopback, up })
    })
    .collect()
}

/// Neither loopback nor an address that means something on one link only.
pub(crate) fn can_be_told(ip: IpAddr) -> bool {
    let one_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || one_link)
}

/// Whether this host has any way to `target`.
pub(crate) fn has_route(target: SocketAddr) -> bool {
    source_towards(target).is_some()
}

/// How the interfaces of containers and virtual machines begin (Docker, Podman, libvirt, LXC, the common plugins of
/// Kubernetes); `br-` is what Docker calls the bridges of its networks.
const FOR_CONTAINERS: [&str; 15] = [
    "docker", "br-", "veth", "virbr", "vnet", "cni", "flannel", "cali", "cilium", "lxc", "lxdbr", "podman",
    "kube-", "nerdctl", "weave",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_knows_its_loopback_and_the_way_to_it() {
        assert!(interfaces().iter().any(|i| i.address.is_loopback() && !i.is_usable()));
        assert_eq!(source_towards("127.0.0.9:9".parse().unwrap()).map(|ip| ip.is_loopback()), Some(true));
    }
}
