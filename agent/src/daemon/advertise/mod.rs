//! At which address others reach this agent, now and after the network of the host has changed.
//!
//! Picture: the return address on a letter. It is that of the door through which the letter leaves, whatever the
//! house calls itself inside; and who moves tells the new one.
//!
//! Rule, in this order: as `advertise` says; the bound address; the source address of the route to a seed on another host; that
//! of the default route; the first interface that is not a container's. An address that is still right by this rule is kept,
//! so that two seeds reached by two ways do not make it come and go. Loopback only where all seeds are written as
//! loopback addresses, or there are none and no network either.
//!
//! It is looked at again when the kernel tells of another interface, address or route (`netlink.rs`) and when the seeds resolve
//! differently; where the kernel does not tell, every half minute. Until there is an address, the seeds are not called.

mod host;
mod netlink;
mod pairs;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use heartsay_membership::is_reachable;
use ipnet::IpNet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

pub(crate) use host::{Interface, has_route};
use netlink::Changes;
pub(crate) use pairs::{impossible, unwise};

/// What `advertise` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Advertise {
    /// This address; port 0: the bound one.
    Address(SocketAddr),
    /// The address of this interface.
    Interface(String),
    /// The address of this host that lies in this network.
    Network(IpNet),
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<SocketAddr>() {
            return reachable(at).map(Self::Address);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return reachable(SocketAddr::new(ip, 0)).map(Self::Address);
        }
        if text.contains('/') {
            let network =
                text.parse::<IpNet>().map_err(|_| "is not a network such as 10.0.0.0/8".to_owned())?;
            return Ok(Self::Network(network.trunc()));
        }
        let letters = text.chars().any(char::is_alphabetic);
        let name =
            (1..=IFNAME_MAX).contains(&text.len()) && !text.contains(|c: char| c == ':' || c.is_whitespace());
        if letters && name {
            return Ok(Self::Interface(text.to_owned()));
        }
        Err("is not IP, IP:PORT, an interface, or a network such as 10.0.0.0/8".to_owned())
    }
}

/// An address that can be told to others. Port 0 stands for the bound one.
fn reachable(at: SocketAddr) -> Result<SocketAddr, String> {
    let ip = at.ip().to_canonical();
    let of_one_link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    if of_one_link || !is_reachable(SocketAddr::new(ip, at.port().max(1))) {
        return Err("is an address at which nobody can be reached".to_owned());
    }
    Ok(SocketAddr::new(ip, at.port()))
}

/// What the seeds say about where this host is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Towards<'a> {
    /// Where they are, as far as they are resolved.
    pub(crate) seeds: &'a [SocketAddr],
    /// There are seeds, and all of them are written as loopback addresses.
    pub(crate) here: bool,
    /// There are seeds.
    pub(crate) any: bool,
}

/// Knows the address that others are told, and when to look whether it is still right.
pub(crate) struct Advertiser {
    rule: Option<Advertise>,
    bound: SocketAddr,
    own: SocketAddr,
    /// By the settings alone: it never changes.
    fixed: bool,
    /// Why there is no address for others yet.
    missing: Option<String>,
    /// `None`: it is fixed, or the kernel does not tell.
    changes: Option<Changes>,
    last_change: Option<Instant>,
    /// When to look again, as the kernel has told of something.
    due: Option<Instant>,
}

impl Advertiser {
    /// By this rule, for a socket bound to `bound`.
    pub(crate) fn new(rule: Option<Advertise>, bound: SocketAddr) -> Self {
        let fixed = matches!(rule, Some(Advertise::Address(_))) || !bound.ip().is_unspecified();
        let changes = if fixed {
            None
        } else {
            // Before the first look, so that nothing is missed in between.
            Changes::listen()
                .inspect_err(
                    |e| debug!(error = %e, "the kernel does not tell of changes of addresses and routes"),
                )
                .ok()
        };
        Self { rule, bound, own: bound, fixed, missing: None, changes, last_change: None, due: None }
    }

    /// What others are told.
    pub(crate) fn own(&self) -> SocketAddr {
        self.own
    }

    /// Why others cannot be told an address, if they cannot.
    pub(crate) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Tells the addresses of this agent from those of others: where we listen on all addresses of the host, each of them
    /// with our port is ours.
    pub(crate) fn is_us(&self) -> impl Fn(SocketAddr) -> bool + use<> {
        let (own, bound) = (self.own, self.bound);
        let here = if bound.ip().is_unspecified() { host::interfaces() } else { Vec::new() };
        let all = move |ip: IpAddr| ip.is_loopback() || here.iter().any(|interface| interface.address == ip);
        move |at| {
            at == own
                || at == bound
                || bound.ip().is_unspecified() && at.port() == bound.port() && all(at.ip())
        }
    }

    /// Looks again. Whether others have to be told another address than before.
    pub(crate) fn look(&mut self, towards: Towards<'_>) -> bool {
        let soon = self.last_change.map(|last| last + BETWEEN);
        if let Some(soon) = soon.filter(|soon| Instant::now() < *soon) {
            self.due.get_or_insert(soon);
            return false;
        }
        let (address, port) = match &self.rule {
            Some(Advertise::Address(at)) => (Ok((at.ip(), "as configured")), at.port()),
            None if !self.bound.ip().is_unspecified() => (Ok((self.bound.ip(), "as bound")), 0),
            rule => {
                let interfaces = host::interfaces();
                let sight = Sight {
                    interfaces: &interfaces,
                    v6: self.bound.is_ipv6(),
                    source: &host::source_towards,
                };
                let present = Some(self.own.ip()).filter(|ip| host::can_be_told(*ip));
                (choose(rule.as_ref(), present, towards, sight), 0)
            }
        };
        let port = if port == 0 { self.bound.port() } else { port };
        let before = self.own;
        match address {
            Ok((ip, why)) => {
                self.own = SocketAddr::new(ip, port);
                self.missing = None;
                if before != self.own {
                    info!(address = %self.own, "the others are told this address: {why}");
                }
            }
            Err(why) => {
                if self.own.ip().is_unspecified() {
                    self.own = SocketAddr::new(loopback(self.own.is_ipv4()), port);
                }
                if self.missing.is_none() {
                    warn!("{why}");
                }
                self.missing = Some(why);
            }
        }
        let changed = before != self.own;
        if changed && !before.ip().is_unspecified() {
            self.last_change = Some(Instant::now());
        }
        changed
    }

    /// Waits until the address may have to be another one. Several changes in a row are one. The future may
    /// be dropped and called again; nothing is missed.
    pub(crate) async fn changed(&mut self) {
        let due = match (self.due, &mut self.changes) {
            (Some(due), _) => due,
            (None, None) if self.fixed => return std::future::pending().await,
            // Where the kernel does not tell, it is looked for; the sooner if there is none.
            (None, None) => {
                let pause = if self.missing.is_some() { BETWEEN } else { UNTOLD };
                *self.due.insert(Instant::now() + pause)
            }
            (None, Some(changes)) => {
                if let Err(e) = changes.next().await {
                    debug!(error = %e, "the kernel tells of no more changes");
                    self.changes = None;
                    return;
                }
                *self.due.insert(Instant::now() + CALM)
            }
        };
        tokio::time::sleep_until(due).await;
        self.due = None;
        if let Some(changes) = &mut self.changes {
            changes.drain();
        }
    }
}

/// What this host looks like.
#[derive(Clone, Copy)]
struct Sight<'a> {
    interfaces: &'a [Interface],
    /// Our socket speaks IPv6 too.
    v6: bool,
    /// The source address that the kernel would use towards a target.
    source: &'a dyn Fn(SocketAddr) -> Option<IpAddr>,
}

impl<'a> Sight<'a> {
    /// An address that is this host's own in the place of one that may move to another host: keepalived and others add
    /// one that is alone in its network beside it. (IPv4: by DHCPv6 a host's only address may be alone, too.)
    fn beside(self, virtual_one: &Interface) -> Option<&'a Interface> {
        let own = |i: &&Interface| i.is_usable() && !i.alone && i.address.is_ipv4();
        let beside = self.interfaces.iter().filter(own).find(|i| i.device() == virtual_one.device());
        beside.filter(|_| virtual_one.alone && virtual_one.address.is_ipv4())
    }
}

/// The address for others and why it is that one; or why there is none.
fn choose(
    rule: Option<&Advertise>,
    present: Option<IpAddr>,
    towards: Towards<'_>,
    sight: Sight<'_>,
) -> Result<(IpAddr, &'static str), String> {
    let usable = sight.interfaces.iter().filter(|i| i.is_usable() && (sight.v6 || i.address.is_ipv4()));
    let candidates = Candidates { usable: usable.collect(), present, sight };
    match rule {
        Some(rule) => candidates.by_rule(rule),
        None => {
            if let Some(found) = by_seeds(present, towards, sight).or_else(|| candidates.by_route(sight)) {
                return Ok(found);
            }
            if towards.any {
                return Err("this host has no address yet at which others could reach it; waiting for one (or give --advertise)"
                    .to_owned());
            }
            let only = "only the loopback interface is there: no other host can reach this agent";
            if present.is_some() { Err(only.to_owned()) } else { Ok((loopback(true), only)) }
        }
    }
}

/// The source address towards a seed on another host, or, where all seeds are here, towards one of them.
fn by_seeds(
    present: Option<IpAddr>,
    towards: Towards<'_>,
    sight: Sight<'_>,
) -> Option<(IpAddr, &'static str)> {
    let ours = |ip: IpAddr| sight.interfaces.iter().find(|i| i.address == ip);
    let mut elsewhere: Vec<SocketAddr> =
        towards.seeds.iter().copied().filter(|at| !at.ip().is_loopback()).collect();
    // Seeds that are this host say less than others.
    elsewhere.sort_by_key(|at| ours(at.ip()).is_some());
    let source = |at: &SocketAddr| match ours(at.ip()) {
        // The same on each host behind a load balancer.
        Some(seed) if seed.loopback => None,
        Some(seed) => sight.beside(seed).map(|own| own.address).or_else(|| (sight.source)(*at)),
        None => (sight.source)(*at),
    };
    let sources: Vec<IpAddr> =
        elsewhere.iter().filter_map(source).filter(|ip| host::can_be_told(*ip)).collect();
    if let Some(ip) = present.filter(|ip| sources.contains(ip)).or(sources.first().copied()) {
        return Some((ip, "the way to a seed begins there"));
    }
    towards.here.then(|| {
        let ip = towards.seeds.iter().find_map(|at| (sight.source)(*at)).unwrap_or(loopback(true));
        (ip, "all seeds are on this host")
    })
}

/// Interfaces with an address for others, and the address that they know now.
struct Candidates<'a> {
    usable: Vec<&'a Interface>,
    present: Option<IpAddr>,
    sight: Sight<'a>,
}

impl Candidates<'_> {
    fn by_rule(&self, rule: &Advertise) -> Result<(IpAddr, &'static str), String> {
        match rule {
            Advertise::Interface(name) => {
                self.first(|i| i.name == *name).map(|ip| (ip, "that of the interface")).ok_or_else(|| {
                    format!("the interface {name} (advertise) has no address for others; waiting for one")
                })
            }
            Advertise::Network(network) => self
                .first(|i| network.contains(&i.address))
                .map(|ip| (ip, "the one in the network"))
                .ok_or_else(|| {
                    format!("no interface has an address in {network} (advertise); waiting for one")
                }),
            Advertise::Address(at) => Ok((at.ip(), "as configured")),
        }
    }

    /// Without a hint from seeds: the address of before, else that of the default route, else that of an interface.
    fn by_route(&self, sight: Sight<'_>) -> Option<(IpAddr, &'static str)> {
        let fit = |i: &Interface| !i.is_for_containers();
        let own = |i: &Interface| fit(i) && self.sight.beside(i).is_none();
        if let Some(ip) = self.present.filter(|ip| self.usable.iter().any(|i| i.address == *ip && own(i))) {
            return Some((ip, "this host still has it"));
        }
        let defaults = ANYWHERE.iter().filter(|at| sight.v6 || at.is_ipv4());
        if let Some(ip) = defaults.filter_map(|at| (sight.source)(*at)).find(|ip| host::can_be_told(*ip)) {
            return Some((ip, "the default route begins there"));
        }
        let why = "that of the first interface; give --advertise if others reach this host elsewhere";
        self.first(fit).map(|ip| (ip, why))
    }

    /// The present address if it fits and none is more this host's own; else IPv4 before IPv6, and otherwise as the kernel
    /// names them.
    fn first(&self, fit: impl Fn(&Interface) -> bool) -> Option<IpAddr> {
        let mut fitting: Vec<&Interface> = self.usable.iter().copied().filter(|i| fit(i)).collect();
        fitting.sort_by_key(|i| (self.doubt(i), i.address.is_ipv6()));
        let best = *fitting.first()?;
        let kept = fitting.iter().filter(|i| self.doubt(i) == self.doubt(best)).map(|i| i.address);
        Some(self.present.filter(|ip| kept.clone().any(|at| at == *ip)).unwrap_or(best.address))
    }

    /// Whether other hosts may have this address, too: now, as with those of loopback and of containers, or soon.
    fn doubt(&self, interface: &Interface) -> (bool, bool) {
        let elsewhere_too = interface.loopback || interface.is_for_containers();
        (elsewhere_too, self.sight.beside(interface).is_some())
    }
}

fn loopback(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// Addresses to which the default route leads (a root server's); nothing is sent there.
const ANYWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)), 53),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)), 53),
];
/// Longest name that Linux gives an interface.
const IFNAME_MAX: usize = 15;
/// What comes together when an interface changes: the address, the routes, the address again as the lease is renewed.
const CALM: Duration = Duration::from_millis(300);
/// From one change of the address to the next look, so that a loose cable does not flood the cluster with lives of ours.
const BETWEEN: Duration = Duration::from_secs(5);
/// Between two looks where the kernel does not tell (a sandbox without netlink). Honest guess.
const UNTOLD: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// With `/32` or `/128` it is alone in its network.
    fn interface(name: &str, address: &str) -> Interface {
        let (address, prefix) = address.split_once('/').unwrap_or((address, ""));
        let alone = matches!(prefix, "32" | "128");
        let loopback = name == "lo";
        Interface { name: name.to_owned(), address: address.parse().unwrap(), alone, loopback, up: true }
    }

    /// A host with these interfaces; `routes` are pairs of the beginning of a target and the source towards it.
    fn look(
        rule: Option<&str>,
        present: Option<&str>,
        interfaces: &[(&str, &str)],
        routes: &[(&str, &str)],
        seeds: &[&str],
        here: bool,
    ) -> Result<String, String> {
        let interfaces: Vec<Interface> = interfaces.iter().map(|(name, at)| interface(name, at)).collect();
        let seeds: Vec<SocketAddr> = seeds.iter().map(|at| at.parse().unwrap()).collect();
        let source = |at: SocketAddr| {
            let text = at.ip().to_string();
            let route = routes.iter().find(|(target, _)| text.starts_with(target));
            route.map(|(_, source)| source.parse().unwrap())
        };
        let sight = Sight { interfaces: &interfaces, v6: true, source: &source };
        let rule = rule.map(|text| text.parse().unwrap());
        let towards = Towards { seeds: &seeds, here, any: true };
        choose(rule.as_ref(), present.map(|ip| ip.parse().unwrap()), towards, sight)
            .map(|(ip, _)| ip.to_string())
    }

    const TWO: [(&str, &str); 4] =
        [("lo", "127.0.0.1"), ("mgmt0", "192.168.0.5"), ("docker0", "172.17.0.1"), ("eth0", "10.0.0.5")];

    #[test]
    fn the_way_to_a_seed_decides_and_a_name_of_our_own_in_etc_hosts_does_not() {
        let routes = [("10.", "10.0.0.5"), ("127.", "127.0.0.1"), ("198.41.", "192.168.0.5")];
        let at = |seeds: &[&str]| look(None, None, &TWO, &routes, seeds, false);
        assert_eq!(at(&["127.0.1.1:4327", "10.0.0.1:4327"]).unwrap(), "10.0.0.5");
        assert_eq!(at(&["127.0.1.1:4327"]).unwrap(), "192.168.0.5", "the default route");
        assert_eq!(at(&[]).unwrap(), "192.168.0.5");
        let no_default = [("10.", "10.0.0.5"), ("127.", "127.0.0.1")];
        assert_eq!(look(None, None, &TWO, &no_default, &["127.0.1.1:1"], false).unwrap(), "192.168.0.5");
    }

    #[test]
    fn loopback_is_told_only_where_all_seeds_are_written_as_loopback() {
        let routes = [("127.", "127.0.0.1"), ("198.", "10.0.0.5")];
        assert_eq!(look(None, None, &TWO, &routes, &["127.0.0.1:5"], true).unwrap(), "127.0.0.1");
        assert_eq!(look(None, None, &TWO, &routes, &["127.0.0.1:5"], false).unwrap(), "10.0.0.5");
        let nothing = look(None, None, &TWO[..1], &[("127.", "127.0.0.1")], &["127.0.0.1:5"], false);
        assert!(nothing.unwrap_err().contains("waiting"));
    }

    #[test]
    fn an_interface_of_containers_is_no_address_of_the_host_and_one_that_comes_late_is() {
        let early = [("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("br-0123456789ab", "172.18.0.1")];
        assert!(look(None, None, &early, &[], &[], false).is_err());
        let late = [early.as_slice(), &[("eth0", "10.0.0.5")]].concat();
        assert_eq!(look(None, Some("172.17.0.1"), &late, &[], &[], false).unwrap(), "10.0.0.5");
    }

    #[test]
    fn an_address_that_is_still_right_is_kept() {
        let routes = [("10.", "10.0.0.5"), ("192.168.", "192.168.0.5"), ("198.", "192.168.0.5")];
        let seeds = ["10.0.0.1:4327", "192.168.0.1:4327"];
        let keep = |present, seeds: &[&str]| look(None, Some(present), &TWO, &routes, seeds, false).unwrap();
        assert_eq!(keep("192.168.0.5", &seeds), "192.168.0.5");
        assert_eq!(keep("10.0.0.5", &seeds), "10.0.0.5");
        assert_eq!(keep("10.0.0.5", &[]), "10.0.0.5", "while no seed is resolved");
        assert_eq!(keep("192.168.0.5", &seeds[..1]), "10.0.0.5", "no seed is reached from there");
        assert_eq!(keep("10.0.0.9", &[]), "192.168.0.5", "it is gone");
    }

    #[test]
    fn an_interface_or_a_network_is_waited_for() {
        let both = [TWO.as_slice(), &[("eth0", "fe80::1"), ("eth0", "2001:db8::5")]].concat();
        let at = |rule| look(Some(rule), None, &both, &[], &["10.0.0.1:1"], false);
        assert_eq!(at("eth0").unwrap(), "10.0.0.5");
        assert_eq!(at("192.168.0.0/16").unwrap(), "192.168.0.5");
        assert_eq!(at("2001:db8::/32").unwrap(), "2001:db8::5");
        assert!(at("eth7").unwrap_err().contains("eth7"));
        assert!(at("10.9.0.0/16").unwrap_err().contains("10.9.0.0/16"));
    }

    #[test]
    fn a_virtual_address_is_not_told_while_the_host_has_one_of_its_own() {
        let two =
            [("lo", "127.0.0.1"), ("eth0:7", "10.0.0.100/32"), ("eth0", "10.0.0.5"), ("eth1", "10.9.0.5")];
        let routes = [("10.0.0.100", "10.0.0.100"), ("10.0.", "10.0.0.5"), ("198.", "10.9.0.5")];
        let at = |rule, present, seeds: &[&str]| look(rule, present, &two, &routes, seeds, false).unwrap();
        let seed = ["10.0.0.100:4327"];
        assert_eq!(at(None, None, &seed), "10.0.0.5", "it is the seed, and here just now");
        assert_eq!(at(None, Some("10.0.0.100"), &seed), "10.0.0.5");
        for present in [None, Some("10.0.0.100"), Some("10.0.0.5")] {
            assert_eq!(at(Some("10.0.0.0/16"), present, &[]), "10.0.0.5", "{present:?}");
        }
        assert_eq!(at(None, Some("10.0.0.100"), &[]), "10.9.0.5", "the default route");
        let only = [("lo", "127.0.0.1"), ("eth0", "10.0.0.100/32")];
        for seeds in [&seed[..], &[]] {
            let told = look(None, None, &only, &routes[..2], seeds, false);
            assert_eq!(told.unwrap(), "10.0.0.100", "the only one, as in some clouds: {seeds:?}");
        }
    }

    #[test]
    fn an_address_that_all_hosts_have_on_loopback_is_told_only_where_there_is_no_other() {
        let behind =
            [("lo", "127.0.0.1"), ("lo", "10.0.0.100/32"), ("docker0", "10.0.9.1"), ("eth0", "10.0.0.5")];
        let routes = [("10.0.0.100", "10.0.0.100"), ("10.0.", "10.0.0.5"), ("198.", "10.0.0.5")];
        let seed = ["10.0.0.100:4327"];
        for (rule, seeds) in [(Some("10.0.0.0/16"), &[][..]), (None, &seed[..]), (None, &[])] {
            assert_eq!(look(rule, None, &behind, &routes, seeds, false).unwrap(), "10.0.0.5", "{rule:?}");
        }
        let routed = &behind[..3];
        assert_eq!(look(Some("10.0.0.0/24"), None, routed, &[], &[], false).unwrap(), "10.0.0.100");
        assert_eq!(look(Some("lo"), None, &behind, &[], &[], false).unwrap(), "10.0.0.100", "as it says");
    }

    #[test]
    fn a_host_with_nothing_but_ipv6_has_its_address() {
        let six = [("lo", "::1"), ("eth0", "fe80::1"), ("eth0", "fd00::5")];
        assert_eq!(look(None, None, &six, &[], &[], false).unwrap(), "fd00::5");
        let routes = [("2001:503:", "fd00::5"), ("fd00::1", "fd00::5")];
        assert_eq!(look(None, None, &six, &routes, &["[fd00::1]:4327"], false).unwrap(), "fd00::5");
    }

    #[test]
    fn what_advertise_says_is_an_address_an_interface_or_a_network() {
        let parsed = |text: &str| text.parse::<Advertise>();
        assert_eq!(parsed("10.0.0.1"), Ok(Advertise::Address("10.0.0.1:0".parse().unwrap())));
        assert_eq!(parsed("[::ffff:10.0.0.1]:7"), Ok(Advertise::Address("10.0.0.1:7".parse().unwrap())));
        assert_eq!(parsed("bond0.12"), Ok(Advertise::Interface("bond0.12".to_owned())));
        assert_eq!(parsed("10.1.2.3/8"), Ok(Advertise::Network("10.0.0.0/8".parse().unwrap())));
        for bad in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "fe80::1",
            "255.255.255.255",
            "::ffff:0.0.0.0",
            "db.example:4327",
            "a name",
            "averylonginterfacename",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_fixed_address_is_as_given_and_never_looked_at_again() {
        let mut fixed = Advertiser::new(Some("192.0.2.7".parse().unwrap()), "0.0.0.0:4444".parse().unwrap());
        assert!(fixed.changes.is_none());
        let towards = Towards { seeds: &[], here: false, any: false };
        fixed.look(towards);
        assert_eq!(fixed.own().to_string(), "192.0.2.7:4444");
        assert!(!fixed.look(towards));
        let mut bound = Advertiser::new(None, "127.3.2.1:4444".parse().unwrap());
        bound.look(towards);
        assert_eq!(bound.own().to_string(), "127.3.2.1:4444");
        let is_us = bound.is_us();
        assert!(is_us("127.3.2.1:4444".parse().unwrap()) && !is_us("127.0.0.1:4444".parse().unwrap()));
    }

    #[tokio::test]
    async fn where_the_kernel_does_not_tell_it_is_looked_at_again() {
        let mut advertiser = Advertiser::new(None, "0.0.0.0:4327".parse().unwrap());
        advertiser.changes = None;
        let due = async |advertiser: &mut Advertiser| {
            // Dropped, as by a change of the seeds: what it waits for stays.
            assert!(tokio::time::timeout(Duration::ZERO, advertiser.changed()).await.is_err());
            advertiser.due.map(|due| due.saturating_duration_since(Instant::now()))
        };
        assert!(due(&mut advertiser).await.is_some_and(|wait| wait <= UNTOLD));
        advertiser.due = None;
        advertiser.missing = Some("it comes".to_owned());
        assert!(due(&mut advertiser).await.is_some_and(|wait| wait <= BETWEEN));
        advertiser.due = Some(Instant::now());
        advertiser.changed().await;
        assert_eq!(advertiser.due, None);
    }

    #[test]
    fn every_address_of_this_host_with_our_port_is_us_where_we_listen_on_all() {
        let all = Advertiser { changes: None, ..fake("0.0.0.0:4444") };
        for (at, us) in [("127.0.1.1:4444", true), ("127.0.0.1:4445", false), ("192.0.2.1:4444", false)] {
            assert_eq!(all.is_us()(at.parse().unwrap()), us, "{at}");
        }
    }

    fn fake(bound: &str) -> Advertiser {
        let bound = bound.parse().unwrap();
        Advertiser {
            rule: None,
            bound,
            own: bound,
            fixed: false,
            missing: None,
            changes: None,
            last_change: None,
            due: None,
        }
    }
}
