//! One instance of a service, and the value of a member's state that tells of it (`proto/schema/service.proto`).
//!
//! What another member says may be anything. What makes no sense is left out and counted; its member stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use heartsay_proto::{Bytes, Message as _, is_word, service as wire};
use serde::Serialize;

use super::check::Check;

/// A DNS label, so that it can stand in a name of the DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceName(String);

/// What an instance is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// It serves.
    #[default]
    Passing,
    /// It serves, and something is wrong.
    Warning,
    /// It does not serve.
    Critical,
}

/// A program that gives a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Tells it from others of the name on its host; empty for the one without an id.
    pub(crate) id: String,
    /// Where it listens.
    pub(crate) port: Option<u16>,
    /// Where it is, if not at the address of its member.
    pub(crate) address: Option<IpAddr>,
    /// How it is.
    pub(crate) health: Health,
    /// What it says of itself.
    pub(crate) tags: BTreeMap<String, String>,
}

/// An instance with its name: what is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    /// Of the service.
    pub(crate) name: ServiceName,
    /// One of it.
    pub(crate) instance: Instance,
    /// What its agent looks at.
    pub(crate) checks: Vec<Check>,
}

/// All that one member says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Instances by name.
    pub(crate) services: BTreeMap<String, Vec<Instance>>,
    /// Values, and instances in them, that make no sense.
    pub(crate) unreadable: usize,
}

impl ServiceName {
    /// As it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the state under which its instances stand.
    pub(crate) fn key(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fine = !text.is_empty()
            && text.len() <= MAX_NAME
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fine {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(format!(
            "{shown:?} is no name of a service: write at most {MAX_NAME} lower-case letters, digits and hyphens, none of \
             these at an end"
        ))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Health {
    /// Every one, the best first.
    pub(crate) const ALL: [Self; 3] = [Self::Passing, Self::Warning, Self::Critical];

    /// The word of the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Passing => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        }
    }
}

impl FromStr for Health {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|health| health.word() == text);
        found.ok_or_else(|| format!("health {text:?} is not passing, warning or critical"))
    }
}

impl Instance {
    /// Whether others will read it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.id.len() > MAX_ID || !is_word(&self.id) {
            let shown: String = self.id.chars().take(80).collect();
            return Err(format!("id {shown:?} is no word of at most {MAX_ID} bytes"));
        }
        if self.port == Some(0) {
            return Err("port 0 is none; leave it out".to_owned());
        }
        match self.tags.keys().find(|key| key.is_empty() || key.contains('=')) {
            Some(key) => Err(format!("tag {key:?} is no key: it is empty, or has an equals sign in it")),
            None => Ok(()),
        }
    }

    fn to_wire(&self) -> wire::Instance {
        let address = match self.address {
            None => Bytes::new(),
            Some(IpAddr::V4(address)) => Bytes::copy_from_slice(&address.octets()),
            Some(IpAddr::V6(address)) => Bytes::copy_from_slice(&address.octets()),
        };
        wire::Instance {
            id: self.id.clone(),
            port: self.port.map_or(0, u32::from),
            health: self.health.number(),
            address,
            tags: self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        }
    }

    /// `None` for what makes no sense.
    fn of_wire(told: &wire::Instance) -> Option<Self> {
        let port = u16::try_from(told.port).ok()?;
        let address = match *told.address {
            [] => None,
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
            ref long => Some(IpAddr::from(<[u8; 16]>::try_from(long).ok()?)),
        };
        let health = match told.health {
            0 => Health::Passing,
            1 => Health::Warning,
            // One that a later version knows is no reason to send anybody there.
            _ => Health::Critical,
        };
        let pair = |tag: &String| tag.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let tags = told.tags.iter().map(pair).collect::<Option<_>>()?;
        let instance = Self { id: told.id.clone(), port: (port > 0).then_some(port), address, health, tags };
        instance.check().ok().map(|()| instance)
    }
}

/// The value that tells of these instances; `None`: there are none.
pub(crate) fn value<'a>(instances: impl Iterator<Item = &'a Instance>) -> Option<Vec<u8>> {
    let instances: Vec<_> = instances.map(Instance::to_wire).collect();
    (!instances.is_empty()).then(|| wire::Service { instances }.encode_to_vec())
}

/// Keys and values that tell of all of these.
pub(crate) fn values<'a>(
    all: impl Iterator<Item = (&'a ServiceName, &'a Instance)>,
) -> Vec<(String, Vec<u8>)> {
    let mut by_name: BTreeMap<&ServiceName, Vec<&Instance>> = BTreeMap::new();
    for (name, instance) in all {
        by_name.entry(name).or_default().push(instance);
    }
    let told =
        |(name, instances): (&ServiceName, Vec<&Instance>)| Some((name.key(), value(instances.into_iter())?));
    by_name.into_iter().filter_map(told).collect()
}

/// Whether this key of a member's state is that of a service.
pub(crate) fn is_key(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// What a member with this state says of services.
pub(crate) fn told(state: &BTreeMap<String, Vec<u8>>) -> Told {
    let mut told = Told::default();
    let mut room = MOST_INSTANCES;
    let values = state.range(PREFIX.to_owned()..).take_while(|(key, _)| is_key(key));
    for (key, value) in values {
        let name = key.strip_prefix(PREFIX).unwrap_or_default();
        let (Ok(name), Some((instances, left_out))) = (name.parse::<ServiceName>(), read(value, room)) else {
            told.unreadable += 1;
            continue;
        };
        room -= instances.len();
        told.unreadable += left_out;
        if !instances.is_empty() {
            told.services.insert(name.0, instances);
        }
    }
    told
}

/// What a member with this state says of one service.
pub(crate) fn told_of(state: &BTreeMap<String, Vec<u8>>, name: &ServiceName) -> Vec<Instance> {
    let value = state.get(&name.key());
    value.and_then(|value| read(value, MOST_INSTANCES)).map(|(instances, _)| instances).unwrap_or_default()
}

/// The instances of a value, so many at most, and how many more it has; `None` if it is no such value.
fn read(value: &[u8], most: usize) -> Option<(Vec<Instance>, usize)> {
    let service = wire::Service::decode(value).ok()?;
    let (mut ids, mut instances) = (BTreeSet::new(), Vec::new());
    for one in &service.instances {
        let room = instances.len() < most;
        instances.extend(Instance::of_wire(one).filter(|one| room && ids.insert(one.id.clone())));
    }
    let left_out = service.instances.len() - instances.len();
    Some((instances, left_out))
}

/// Of each key.
const PREFIX: &str = "service.";
/// With the prefix below the longest key; a label of the DNS has 63, with an underscore before it.
const MAX_NAME: usize = 40;
/// Room for a UUID and more.
const MAX_ID: usize = 64;
/// Of one member, in all. More than a host has, and so few that a liar cannot fill the ring of events with one change.
pub(crate) const MOST_INSTANCES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pairs: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    fn wired(instances: Vec<wire::Instance>) -> Vec<u8> {
        wire::Service { instances }.encode_to_vec()
    }

    #[test]
    fn an_instance_comes_back_as_it_went() {
        let instance = Instance {
            id: "blue".to_owned(),
            port: Some(5432),
            address: Some("2001:db8::1".parse().unwrap()),
            health: Health::Warning,
            tags: [("role".to_owned(), "a=b".to_owned())].into(),
        };
        let plain = Instance::default();
        let value = value([&instance, &plain].into_iter()).unwrap();
        let state = state(&[("service.db", value), ("tag/service.db", Vec::new())]);
        let told = told(&state);
        for (name, known) in [("db", told.services["db"].clone()), ("web", Vec::new())] {
            assert_eq!(told_of(&state, &name.parse().unwrap()), known, "{name}");
        }
        assert_eq!(told, Told { services: [("db".to_owned(), vec![instance, plain])].into(), unreadable: 0 });
        assert_eq!(super::value([].into_iter()), None);
    }

    #[test]
    fn what_makes_no_sense_is_left_out_and_counted() {
        let one = |change: fn(&mut wire::Instance)| {
            let mut one = wire::Instance { id: "x".to_owned(), ..Default::default() };
            change(&mut one);
            one
        };
        let bad: [fn(&mut wire::Instance); 6] = [
            |one| one.port = 65_536,
            |one| one.address = vec![1, 2, 3].into(),
            |one| one.id = "a b".to_owned(),
            |one| one.id = "x".repeat(65),
            |one| one.tags = vec!["role".to_owned()],
            |one| one.tags = vec!["=web".to_owned()],
        ];
        let mut instances: Vec<_> = bad.into_iter().map(one).collect();
        instances.extend([one(|one| one.health = 7), one(|one| one.port = 1)]);
        let told = told(&state(&[
            ("service.db", wired(instances)),
            ("service.-db", wired(vec![wire::Instance::default()])),
            ("service.", Vec::new()),
            ("service.web", vec![0xFF]),
            ("servicex", Vec::new()),
        ]));
        let known = Instance { id: "x".to_owned(), health: Health::Critical, ..Instance::default() };
        assert_eq!(told.services, [("db".to_owned(), vec![known])].into(), "the first of an id");
        assert_eq!(told.unreadable, 6 + 1 + 3);
    }

    #[test]
    fn no_member_is_believed_more_instances_than_there_may_be() {
        let many = |from: usize| {
            let id = |n: usize| wire::Instance { id: n.to_string(), ..Default::default() };
            wired((from..from + 100).map(id).collect())
        };
        let told = told(&state(&[("service.a", many(0)), ("service.b", many(0))]));
        assert_eq!(told.services["a"].len() + told.services["b"].len(), MOST_INSTANCES);
        assert_eq!(told.unreadable, 200 - MOST_INSTANCES);
    }

    #[test]
    fn names_are_labels() {
        for name in ["a", "postgres", "a-1", "0", &"x".repeat(40)] {
            assert!(name.parse::<ServiceName>().is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"x".repeat(41)] {
            assert!(name.parse::<ServiceName>().is_err(), "{name}");
        }
    }
}
