//! What is in the domain: which name has which addresses and services.
//!
//! ```text
//! NAME                 the member's address
//! VALUE.role           addresses of the members with tag role=VALUE
//! _heartsay._udp       all agents, each with its gossip port
//! _VALUE._tcp, ._udp   the members with tag role=VALUE, each with the port in its tag port
//! ```
//!
//! A name has an address while its member is alive or suspect. A role and a service lead to the alive members, and to suspects
//! only where no member is alive. A member that is down keeps its name without an address, and a role whose members are all
//! down keeps its name too: clients can tell "down" from "never heard of".

use std::collections::BTreeMap;
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
    /// Members that are there and lack their name or their role, because of what they say.
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
    /// The member's name in the zone.
    pub(crate) key: String,
    /// There.
    pub(crate) port: u16,
    /// The member's name with the domain.
    pub(crate) target: Name<Vec<u8>>,
}

impl Zone {
    /// Of all members that are known, whatever their status.
    pub(crate) fn new(domain: &str, known: &[Entry]) -> Self {
        let (there, gone): (Vec<&Entry>, Vec<&Entry>) =
            known.iter().partition(|entry| Select::default().takes(entry));
        let fit = named(Some(domain), there.iter().copied()).into_iter();
        let targets: BTreeMap<&str, Name<Vec<u8>>> = fit
            .filter(|(entry, _)| !is_taken(&entry.name))
            .filter_map(|(entry, name)| Some((entry.name.as_str(), Name::vec_from_str(&name).ok()?)))
            .collect();
        let mut zone = Self { members: targets.len(), ..Self::default() };
        zone.left_out = there
            .iter()
            .filter(|entry| !targets.contains_key(entry.name.as_str()) || role(entry).is_err())
            .count();
        zone.node("");
        for entry in there.iter().filter(|entry| targets.contains_key(entry.name.as_str())) {
            zone.node(&entry.name.to_ascii_lowercase()).add(entry.address);
        }
        zone.add_roles(&there, &targets);
        for entry in best(&there) {
            zone.serve("_heartsay._udp", entry, Some(entry.gossip_port), &targets);
        }
        zone.remember(domain, &gone);
        zone.names.values_mut().for_each(Node::sort);
        zone
    }

    /// What stands behind this name; `None` if there is no such name.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.names.get(key)
    }

    fn add_roles(&mut self, there: &[&Entry], targets: &BTreeMap<&str, Name<Vec<u8>>>) {
        let mut roles: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
        for entry in there {
            if let Ok(Some(role)) = role(entry) {
                roles.entry(role).or_default().push(entry);
            }
        }
        for (role, members) in roles {
            for entry in best(&members) {
                self.node(&in_roles(&role)).add(entry.address);
                for key in services(&role) {
                    self.serve(&key, entry, port(entry), targets);
                }
            }
        }
    }

    fn serve(
        &mut self,
        key: &str,
        entry: &Entry,
        port: Option<u16>,
        targets: &BTreeMap<&str, Name<Vec<u8>>>,
    ) {
        let Some((port, target)) = port.zip(targets.get(entry.name.as_str())) else { return };
        let service = Service { key: entry.name.to_ascii_lowercase(), port, target: target.clone() };
        self.node(key).services.push(service);
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
                services(&role).for_each(|key| _ = self.node(&key));
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

/// The alive members; all, where none is alive.
fn best<'a>(members: &[&'a Entry]) -> Vec<&'a Entry> {
    let alive: Vec<&Entry> = members.iter().copied().filter(|entry| entry.status == "alive").collect();
    if alive.is_empty() { members.to_vec() } else { alive }
}

/// Whether a member cannot have this name because something else has it, or may have it.
fn is_taken(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".role") || name.split('.').any(|label| label.starts_with('_'))
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

/// A tag does not say which protocol its port is of, so both names lead to it. The agents' own is kept for them.
fn services(role: &str) -> impl Iterator<Item = String> {
    let short = role.len() < 63 && role != "heartsay";
    ["tcp", "udp"].map(|protocol| format!("_{role}._{protocol}")).into_iter().filter(move |_| short)
}

fn port(entry: &Entry) -> Option<u16> {
    entry.clone().with_port(&Port::Tag("port".to_owned()))?.port
}
