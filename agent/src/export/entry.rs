//! One member, or one instance of a service, as exports see it: what does not change while nothing happens.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use heartsay_membership::{MemberView, is_reachable};
use serde::Serialize;

use super::Served;
use crate::show;
use crate::types::Member;

/// A member, or an instance of a service, in an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// Unique in the list.
    pub(crate) name: String,
    /// IP address at which the others reach its agent, or the instance.
    pub(crate) address: IpAddr,
    /// Of what it serves, where the export says how to find it, or the instance says it.
    pub(crate) port: Option<u16>,
    /// `alive`, `suspect`, `down` or `left`.
    pub(crate) status: String,
    /// Unix milliseconds at which this life began.
    pub(crate) generation: u64,
    /// Failure domain.
    pub(crate) zone: Option<String>,
    /// As it says.
    pub(crate) tags: BTreeMap<String, String>,
    /// Port of its agent.
    pub(crate) gossip_port: u16,
    /// Of an instance.
    #[serde(flatten)]
    pub(crate) served: Option<Served>,
}

impl Entry {
    /// The entry of a member of the view; `None` if no host can have its address.
    pub(crate) fn of_view(view: &MemberView) -> Option<Self> {
        let entry = Self {
            name: view.name.to_string(),
            address: view.address.ip().to_canonical(),
            port: None,
            status: view.status.to_string(),
            generation: view.generation,
            zone: show::zone(view).map(Cow::into_owned),
            tags: show::tags(view),
            gossip_port: view.address.port(),
            served: None,
        };
        Some(entry).filter(Self::is_reachable)
    }

    /// The same of a member in an answer.
    pub(crate) fn of(member: Member) -> Option<Self> {
        let gossip: SocketAddr = member.address.parse().ok()?;
        let entry = Self {
            name: member.name,
            address: gossip.ip().to_canonical(),
            port: None,
            status: member.status,
            generation: member.generation,
            zone: member.zone,
            tags: member.tags,
            gossip_port: gossip.port(),
            served: None,
        };
        Some(entry).filter(Self::is_reachable)
    }

    /// Whether a host can have its address. That of an instance is its member's word, and on loopback it would lead each
    /// reader to its own host.
    pub(crate) fn is_reachable(&self) -> bool {
        let strays = |served: &Served| self.address.is_loopback() && !served.home.is_loopback();
        is_reachable(SocketAddr::new(self.address, self.gossip_port))
            && !self.served.as_ref().is_some_and(strays)
    }

    /// With the port at which it serves, unless it should say one and does not. What the export says goes before what an
    /// instance says: its metrics may be elsewhere.
    pub(crate) fn with_port(self, port: &Port) -> Option<Self> {
        let port = match port {
            Port::None => self.port,
            Port::Fixed(port) => Some(*port),
            Port::Tag(key) => Some(number(self.tags.get(key)?)?),
        };
        Some(Self { port, ..self })
    }

    /// Where it serves.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        self.port.map(|port| SocketAddr::new(self.address, port))
    }

    /// Where it serves, or else where its agent does. An instance is no agent.
    pub(crate) fn socket_or_gossip(&self) -> Option<SocketAddr> {
        let gossip = self.served.is_none().then_some(self.gossip_port);
        self.port.or(gossip).map(|port| SocketAddr::new(self.address, port))
    }
}

/// How the port of a member is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Port {
    /// Not at all.
    #[default]
    None,
    /// The same for all.
    Fixed(u16),
    /// In this tag.
    Tag(String),
}

impl FromStr for Port {
    type Err = &'static str;

    /// `8080`, or `tag:http_port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("tag:") {
            Some("") => Err("names no tag"),
            Some(key) => Ok(Self::Tag(key.to_owned())),
            None => number(text).map(Self::Fixed).ok_or("is neither a port nor tag:KEY"),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Fixed(port) => write!(f, "{port}"),
            Self::Tag(key) => write!(f, "tag:{key}"),
        }
    }
}

/// 1 to 65535 in digits alone: what Rust reads more generously, others would read as something else.
fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use serde_json::json;

    pub(crate) fn entry_at(name: &str, address: &str, tags: &[(&str, &str)]) -> Option<Entry> {
        let tags: BTreeMap<_, _> = tags.iter().copied().collect();
        let member = json!({
            "name": name, "host_id": "", "generation": 1, "heartbeat": 1, "status": "alive", "address": address,
            "zone": null, "tags": tags, "phi": 0.0, "since": "", "reachable": null, "accusers": [],
        });
        Entry::of(serde_json::from_value(member).unwrap())
    }

    #[test]
    fn a_port_is_digits_and_no_text_of_a_member_becomes_another() {
        for (text, port) in [
            ("8080", Some(8080)),
            ("0", None),
            ("65536", None),
            ("+80", None),
            ("80 ", None),
            ("80;", None),
            ("80\n", None),
            ("", None),
        ] {
            assert_eq!(number(text), port, "{text:?}");
            let entry = entry_at("n1", "10.0.0.1:4327", &[("p", text)]).unwrap();
            let entry = entry.with_port(&Port::Tag("p".to_owned()));
            assert_eq!(entry.and_then(|entry| entry.port), port, "{text:?}");
        }
        assert!("tag:".parse::<Port>().is_err() && "http".parse::<Port>().is_err());
    }

    #[test]
    fn an_address_that_nobody_can_reach_is_no_entry() {
        for (address, taken) in [
            ("10.0.0.1:1", true),
            ("[2001:db8::1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("224.0.0.1:1", false),
        ] {
            assert_eq!(entry_at("n", address, &[]).is_some(), taken, "{address}");
        }
        let mapped = entry_at("n", "[::ffff:10.0.0.1]:7", &[]).unwrap();
        assert_eq!(mapped.socket_or_gossip().unwrap().to_string(), "10.0.0.1:7");
        assert_eq!(mapped.with_port(&Port::Fixed(80)).unwrap().socket().unwrap().to_string(), "10.0.0.1:80");
    }
}
