//! At which address others reach this agent.

use std::net::{IpAddr, SocketAddr};

use anyhow::bail;
use nix::ifaddrs::getifaddrs;
use tracing::{info, warn};

use crate::seeds::Seeds;
use crate::settings::Settings;

/// The address that others are told: as given, as bound, or that of the
/// interface towards the seeds.
pub(crate) async fn pick(
    settings: &Settings,
    local: SocketAddr,
    seeds: &Seeds,
) -> anyhow::Result<SocketAddr> {
    if let Some(given) = settings.advertise {
        let port = if given.port() == 0 { local.port() } else { given.port() };
        return Ok(SocketAddr::new(given.ip(), port));
    }
    if !local.ip().is_unspecified() {
        return Ok(local);
    }
    let resolved = seeds.resolve(&settings.seeds).await;
    let mut targets: Vec<SocketAddr> =
        resolved.into_iter().filter_map(|(_, found)| found.ok()).flatten().collect();
    // A seed on this very machine says nothing about how others see it.
    targets.sort_by_key(|at| at.ip().is_loopback());
    for target in targets {
        if let Some(source) = source_towards(target) {
            info!(address = %source, towards = %target, "advertising the interface towards a seed");
            return Ok(SocketAddr::new(source, local.port()));
        }
    }
    if let Some(address) = first_interface(local.is_ipv6()) {
        info!(%address, "advertising the first interface; give --advertise if others reach this host elsewhere");
        return Ok(SocketAddr::new(address, local.port()));
    }
    if settings.seeds.is_empty() {
        warn!("only the loopback interface is there: no other host can reach this agent");
        return Ok(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), local.port()));
    }
    bail!("cannot tell at which address other hosts reach this one; give --advertise IP:PORT")
}

/// The source address the kernel would use towards `target`; nothing is sent.
fn source_towards(target: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let probe = std::net::UdpSocket::bind((any, 0)).ok()?;
    probe.connect(target).ok()?;
    let source = probe.local_addr().ok()?.ip();
    (!source.is_unspecified() && source.is_loopback() == target.ip().is_loopback()).then_some(source)
}

/// The first address that is neither loopback nor link-local; IPv4 before IPv6.
fn first_interface(also_v6: bool) -> Option<IpAddr> {
    let addresses = getifaddrs().ok()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    let mut usable: Vec<IpAddr> = addresses
        .filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
            IpAddr::V6(v6) => {
                also_v6 && !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified()
            }
        })
        .collect();
    usable.sort_by_key(IpAddr::is_ipv6);
    usable.first().copied()
}
