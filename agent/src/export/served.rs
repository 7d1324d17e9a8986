//! One instance of a service as exports see it: an entry like that of a member.

use std::collections::BTreeMap;
use std::net::IpAddr;

use heartsay_membership::{MemberView, Status};
use serde::Serialize;

use super::Entry;
use crate::services::instance::{told, told_of};
use crate::services::{Health, Instance, ServiceName};

/// What an instance has that a member has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Served {
    /// Its name.
    pub(crate) service: String,
    /// The member on whose host it runs.
    pub(crate) member: String,
    /// Tells it from others of the service on that host; empty for the one without an id.
    pub(crate) id: String,
    /// How it is.
    pub(crate) health: Health,
    /// Address of the member.
    #[serde(skip)]
    pub(crate) home: IpAddr,
}

impl Entry {
    /// The entry of an instance that this member tells of. It has the tags of both; where both have one, its own counts.
    pub(crate) fn serving(&self, service: &str, instance: Instance) -> Self {
        let Instance { id, port, address, health, tags } = instance;
        let name = if id.is_empty() { self.name.clone() } else { format!("{}-{id}", self.name) };
        let (member, service) = (self.name.clone(), service.to_owned());
        let served = Served { service, member, id, health, home: self.address };
        let mut entry = Self { name, port, served: Some(served), ..self.clone() };
        entry.address = address.map_or(self.address, |address| address.to_canonical());
        entry.tags.extend(tags);
        entry
    }
}

/// The entries of a view: its members, or the instances of a service.
pub(crate) fn seen<'a>(
    members: impl Iterator<Item = &'a MemberView>,
    service: Option<&ServiceName>,
) -> impl Iterator<Item = Entry> {
    members.flat_map(move |view| match service {
        None => Entry::of_view(view).into_iter().collect(),
        Some(name) => of_service(view, name),
    })
}

fn of_service(view: &MemberView, name: &ServiceName) -> Vec<Entry> {
    let told = told_of(&view.state, name);
    let member = if told.is_empty() { None } else { Entry::of_view(view) };
    let Some(member) = member else { return Vec::new() };
    told.into_iter().map(|instance| member.serving(name.as_str(), instance)).collect()
}

/// Whether the agent of this instance runs in a life that has not heard of it yet, as it may after a restart.
pub(crate) fn is_awaited(entry: &Entry, members: &[MemberView]) -> bool {
    let Some(Served { service, member, id, .. }) = &entry.served else { return false };
    let view = members.iter().find(|view| view.name.as_str() == member);
    view.zip(service.parse().ok()).is_some_and(|(view, service)| {
        let runs = matches!(view.status, Status::Alive | Status::Restarting | Status::Suspect);
        runs && view.generation > entry.generation
            && told_of(&view.state, &service).iter().all(|instance| instance.id != *id)
    })
}

/// The instances of all services of a view, without the tags of their members.
pub(crate) fn instances(members: &[MemberView]) -> impl Iterator<Item = Entry> + '_ {
    members.iter().flat_map(|view| {
        let services = told(&view.state).services;
        let member = if services.is_empty() { None } else { Entry::of_view(view) };
        let member = member.map(|member| Entry { tags: BTreeMap::new(), ..member });
        let each =
            services.into_iter().flat_map(|(name, all)| all.into_iter().map(move |one| (name.clone(), one)));
        let entry = |(name, instance): (String, Instance)| Some(member.as_ref()?.serving(&name, instance));
        each.filter_map(entry).collect::<Vec<_>>()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use crate::export::entry::tests::entry_at;
    use crate::export::{Port, Select, entries};

    pub(crate) fn served(member: &Entry, service: &str, id: &str, port: u16) -> Entry {
        let instance = Instance { id: id.to_owned(), port: Some(port), ..Instance::default() };
        member.serving(service, instance)
    }

    fn member(name: &str) -> Entry {
        entry_at(name, "10.0.0.1:4327", &[("role", "db"), ("rack", "7")]).unwrap()
    }

    #[test]
    fn an_instance_is_where_it_says_and_its_own_tags_go_before_those_of_its_member() {
        let instance = Instance {
            id: "blue".to_owned(),
            port: Some(5432),
            address: Some("::ffff:10.1.0.7".parse().unwrap()),
            health: Health::Warning,
            tags: [("role".to_owned(), "primary".to_owned()), ("metrics".to_owned(), "9187".to_owned())]
                .into(),
        };
        let entry = member("n1").serving("postgres", instance);
        assert_eq!(
            (&*entry.name, entry.socket().unwrap().to_string()),
            ("n1-blue", "10.1.0.7:5432".to_owned())
        );
        let tags = ["role", "rack", "metrics"].map(|key| entry.tags[key].as_str());
        assert_eq!(tags, ["primary", "7", "9187"]);
        let json = serde_json::to_value(&entry).unwrap();
        let told = ["service", "member", "id", "health", "status"].map(|key| json[key].as_str().unwrap());
        assert_eq!((told, json.get("home")), (["postgres", "n1", "blue", "warning", "alive"], None));
        let plain = serde_json::to_value(member("n1")).unwrap();
        assert!(["service", "member", "served"].iter().all(|key| plain.get(key).is_none()), "{plain}");
        for (port, found) in
            [(Port::None, 5432), (Port::Fixed(9100), 9100), (Port::Tag("metrics".to_owned()), 9187)]
        {
            assert_eq!(entry.clone().with_port(&port).unwrap().port, Some(found));
        }
    }

    #[test]
    fn an_instance_that_says_no_port_is_no_agent_and_one_on_loopback_is_nowhere() {
        let at = |home: &str, address: &str| {
            let address = Some(address.parse().unwrap());
            entry_at("n", home, &[]).unwrap().serving("db", Instance { address, ..Instance::default() })
        };
        assert_eq!(at("10.0.0.1:7", "10.0.0.1").socket_or_gossip(), None);
        for (home, address, fine) in [
            ("10.0.0.1:7", "10.0.0.2", true),
            ("10.0.0.1:7", "127.0.0.1", false),
            ("10.0.0.1:7", "::1", false),
            ("10.0.0.1:7", "::ffff:127.0.0.1", false),
            ("10.0.0.1:7", "0.0.0.0", false),
            ("10.0.0.1:7", "224.0.0.1", false),
            ("127.0.0.5:7", "127.0.0.1", true),
        ] {
            assert_eq!(at(home, address).is_reachable(), fine, "{home} {address}");
            let (list, left_out) = entries([at(home, address)].into_iter(), &Select::default(), &Port::None);
            assert_eq!((list.len(), left_out), (usize::from(fine), usize::from(!fine)));
        }
    }

    #[test]
    fn of_two_that_would_be_called_the_same_one_is_left_out_and_counted() {
        let all = [
            served(&member("web"), "x", "1", 81),
            served(&member("web-1"), "x", "", 80),
            served(&member("a"), "x", "b-c", 82),
            served(&member("a-b"), "x", "c", 83),
        ];
        let ports = |all: &[Entry]| {
            let (list, left_out) = entries(all.iter().cloned(), &Select::default(), &Port::None);
            let shown = list.into_iter().map(|entry| (entry.name, entry.port.unwrap())).collect::<Vec<_>>();
            (shown, left_out)
        };
        let expected = (vec![("a-b-c".to_owned(), 82), ("web-1".to_owned(), 80)], 2);
        assert_eq!(ports(&all), expected);
        let turned: Vec<Entry> = all.into_iter().rev().collect();
        assert_eq!(ports(&turned), expected, "whatever the order");
    }
}
