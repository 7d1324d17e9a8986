//! What is in the domain: which name has which addresses and services.
//!
//! ```text
//! NAME                 the member's address
//! VALUE.role           addresses of the members with tag role=VALUE
//! SERVICE.service      addresses of the instances of the service, and each with its port
//! HEX.addr             the address that is written so, where an instance has one of its own
//! _heartsay._udp       all agents, each with its gossip port
//! _NAME._tcp, ._udp    the instances of service NAME, each with its port; and the members with tag role=NAME that tell of no
//!                      such service, each with the port in its tag port
//! ```
//!
//! A name has an address while its member is alive or suspect. A role and a service lead to the alive members, and to suspects
//! only where no member is alive; a service leads to no instance that is critical. A member that is down keeps its name without
//! an address, and so does a role or a service without anybody left: clients can tell "down" from "never heard of".

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::Name;

use crate::export::format::{is_label, named};
use crate::export::{Entry, Port, Select};

/// The names of one moment, without the domain: in small letters, labels divided by dots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone {
    names: BTreeMap<String, Node>,
    /// Members that have an address here.
    pub(crate) members: usize,
    /// Members that are there and lack their name or their role, and instances that lack a place, because of what they say.
    pub(crate) left_out: usize,
}

/// What stands behind one name, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// For A.
    pub(crate) v4: Vec<Ipv4Addr>,
    /// For AAAA.
    pub(crate) v6: Vec<Ipv6Addr>,
    /// For SRV.
    pub(crate) services: Vec<Service>,
}

/// One place where something is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Service {
    /// The host's name in the zone.
    pub(crate) key: String,
    /// There.
    pub(crate) port: u16,
    /// The host's name with the domain.
    pub(crate) target: Name<Vec<u8>>,
}

/// What SRV records may lead to, by the name that roles and services share.
type Shared<'a> = BTreeMap<String, Vec<(&'a Entry, Service)>>;

impl Zone {
    /// Of all members that are known, whatever their status, and of all instances of services that they tell of.
    pub(crate) fn new(domain: &str, known: &[Entry], instances: &[Entry]) -> Self {
        let (there, gone): (Vec<&Entry>, Vec<&Entry>) = known.iter().partition(|entry| is_there(entry));
        let hosts = Hosts::new(domain, &there);
        let mut zone = Self { members: hosts.members.len(), ..Self::default() };
        zone.node("");
        for entry in &there {
            let fine = zone.add_host(&hosts, entry) && role(entry).is_ok();
            zone.left_out += usize::from(!fine);
        }
        for entry in instances.iter().filter(|entry| is_there(entry)) {
            let fine = entry.is_reachable() && zone.add_host(&hosts, entry);
            zone.left_out += usize::from(!fine);
        }
        let agents = there.iter().filter_map(|entry| Some((*entry, hosts.serves(entry, entry.gossip_port)?)));
        zone.lead("_heartsay._udp", &agents.collect::<Vec<_>>());
        let mut shared = Shared::new();
        zone.add_services(instances, &hosts, &mut shared);
        zone.add_roles(&there, &hosts, &tellers(instances), &mut shared);
        for (name, places) in &shared {
            for key in in_ports(name) {
                zone.lead(&key, places);
            }
        }
        zone.remember(domain, &gone);
        zone.names.values_mut().for_each(Node::sort);
        zone
    }

    /// What stands behind this name; `None` if there is no such name.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.names.get(key)
    }

    /// The name of the host of a member or an instance. Whether it can have one.
    fn add_host(&mut self, hosts: &Hosts<'_>, entry: &Entry) -> bool {
        let host = hosts.of(entry);
        if let Some((key, _)) = &host {
            self.node(key).add(entry.address);
        }
        host.is_some()
    }

    fn add_roles<'a>(
        &mut self,
        there: &[&'a Entry],
        hosts: &Hosts<'_>,
        tellers: &BTreeSet<(&str, &str)>,
        shared: &mut Shared<'a>,
    ) {
        let mut roles: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
        for &entry in there {
            if let Ok(Some(role)) = role(entry) {
                roles.entry(role).or_default().push(entry);
            }
        }
        for (role, members) in roles {
            for entry in best(&members, |entry| entry) {
                self.node(&in_roles(&role)).add(entry.address);
            }
            // Each member speaks for itself: one that tells of the service is there by its instances alone, however they are.
            let silent =
                members.iter().filter(|entry| !tellers.contains(&(role.as_str(), entry.name.as_str())));
            let places = silent.filter_map(|entry| Some((*entry, hosts.serves(entry, port(entry)?)?)));
            shared.entry(role.clone()).or_default().extend(places);
        }
    }

    fn add_services<'a>(&mut self, instances: &'a [Entry], hosts: &Hosts<'_>, shared: &mut Shared<'a>) {
        let mut services: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in instances {
            if let Some(served) = &entry.served {
                services.entry(&served.service).or_default().push(entry);
            }
        }
        for (name, mut instances) in services {
            let own = in_services(name);
            self.node(&own);
            if instances.iter().any(|entry| entry.port.is_some()) {
                in_ports(name).for_each(|key| _ = self.node(&key));
            }
            instances.retain(|entry| Select::default().takes(entry) && entry.is_reachable());
            for entry in best(&instances, |entry| entry) {
                self.node(&own).add(entry.address);
            }
            let places =
                instances.iter().filter_map(|entry| Some((*entry, hosts.serves(entry, entry.port?)?)));
            let places: Vec<_> = places.collect();
            self.lead(&own, &places);
            shared.entry(name.to_owned()).or_default().extend(places);
        }
    }

    /// Has this name lead to the best of these places, if there are any.
    fn lead(&mut self, key: &str, places: &[(&Entry, Service)]) {
        for (_, service) in best(places, |(entry, _)| entry) {
            self.node(key).services.push(service.clone());
        }
    }

    /// Members that are gone keep their names.
    fn remember(&mut self, domain: &str, gone: &[&Entry]) {
        for (entry, _) in named(Some(domain), gone.iter().copied()) {
            if !is_taken(&entry.name) {
                self.node(&entry.name.to_ascii_lowercase());
            }
        }
        for entry in gone {
            let Ok(Some(role)) = role(entry) else { continue };
            self.node(&in_roles(&role));
            if port(entry).is_some() {
                in_ports(&role).for_each(|key| _ = self.node(&key));
            }
        }
    }

    /// The node of this name. Each name below which there is one is a name too (RFC 8020).
    fn node(&mut self, key: &str) -> &mut Node {
        let mut above = key;
        while let Some((_, parent)) = above.split_once('.') {
            self.names.entry(parent.to_owned()).or_default();
            above = parent;
        }
        self.names.entry(key.to_owned()).or_default()
    }
}

impl Node {
    fn add(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4.push(address),
            IpAddr::V6(address) => self.v6.push(address),
        }
    }

    /// And without twins: several agents may run on one host.
    fn sort(&mut self) {
        self.v4.sort_unstable();
        self.v4.dedup();
        self.v6.sort_unstable();
        self.v6.dedup();
        self.services.sort_unstable();
        self.services.dedup();
    }
}

/// The names of hosts.
struct Hosts<'a> {
    domain: &'a str,
    /// Of members that are there and can have one, each with the domain.
    members: BTreeMap<&'a str, Name<Vec<u8>>>,
}

impl<'a> Hosts<'a> {
    fn new(domain: &'a str, there: &[&'a Entry]) -> Self {
        let fit = named(Some(domain), there.iter().copied()).into_iter();
        let members = fit
            .filter(|(entry, _)| !is_taken(&entry.name))
            .filter_map(|(entry, name)| Some((entry.name.as_str(), Name::vec_from_str(&name).ok()?)));
        Self { domain, members: members.collect() }
    }

    /// The name of the host where this is, in the zone and with the domain: that of its member, or else, of an instance, one that
    /// is made of its address.
    fn of(&self, entry: &Entry) -> Option<(String, Name<Vec<u8>>)> {
        let member = match &entry.served {
            None => Some(entry.name.as_str()),
            Some(served) => (entry.address == served.home).then_some(served.member.as_str()),
        };
        let member = member.and_then(|member| self.members.get_key_value(member));
        if let Some((member, name)) = member {
            return Some((member.to_ascii_lowercase(), name.clone()));
        }
        entry.served.as_ref()?;
        let key = in_addresses(entry.address);
        let name = Name::vec_from_str(&format!("{key}.{}", self.domain)).ok()?;
        Some((key, name))
    }

    fn serves(&self, entry: &Entry, port: u16) -> Option<Service> {
        let (key, target) = self.of(entry)?;
        Some(Service { key, port, target })
    }
}

fn is_there(entry: &Entry) -> bool {
    matches!(entry.status.as_str(), "alive" | "suspect")
}

/// Those on members that are alive; all, where none is.
fn best<'a, T>(all: &'a [T], entry: impl Fn(&'a T) -> &'a Entry) -> impl Iterator<Item = &'a T> {
    let is_alive = move |one: &&'a T| entry(one).status == "alive";
    let any = all.iter().any(|one| is_alive(&one));
    all.iter().filter(move |one| !any || is_alive(one))
}

/// Which services the members tell of: the name, and the member.
fn tellers(instances: &[Entry]) -> BTreeSet<(&str, &str)> {
    let served = instances.iter().filter_map(|entry| entry.served.as_ref());
    served.map(|served| (served.service.as_str(), served.member.as_str())).collect()
}

/// Whether a member cannot have this name because something else has it, or may have it.
fn is_taken(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ours = [".role", ".service", ".addr"].iter().any(|end| name.ends_with(end));
    ours || name.split('.').any(|label| label.starts_with('_'))
}

/// The role in small letters, if the member has one.
///
/// # Errors
/// It is no label.
fn role(entry: &Entry) -> Result<Option<String>, ()> {
    match entry.tags.get("role") {
        None => Ok(None),
        Some(role) if is_label(role) && !role.starts_with('_') => Ok(Some(role.to_ascii_lowercase())),
        Some(_) => Err(()),
    }
}

fn in_roles(role: &str) -> String {
    format!("{role}.role")
}

fn in_services(name: &str) -> String {
    format!("{name}.service")
}

/// In hexadecimal digits: the colons of IPv6 stand in no name.
fn in_addresses(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08x}.addr", address.to_bits()),
        IpAddr::V6(address) => format!("{:032x}.addr", address.to_bits()),
    }
}

/// Neither a tag nor a service says which protocol its port is of, so both names lead to it. The agents' own is kept for them.
fn in_ports(name: &str) -> impl Iterator<Item = String> {
    let short = name.len() < 63 && name != "heartsay";
    ["tcp", "udp"].map(|protocol| format!("_{name}._{protocol}")).into_iter().filter(move |_| short)
}

fn port(entry: &Entry) -> Option<u16> {
    entry.clone().with_port(&Port::Tag("port".to_owned()))?.port
}
