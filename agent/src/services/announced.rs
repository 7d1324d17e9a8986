//! What readers of events were told of services last, so that they are told what differs and nothing twice.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::instance::{Health, Instance};
use super::listing::event;
use crate::types::ServiceEvent;

/// Instances of members that have any, as last told.
#[derive(Debug, Default)]
pub(crate) struct Announced(BTreeMap<String, Seen>);

/// A member's own instances, by name and id, and the address at which it is.
#[derive(Debug)]
pub(crate) struct Seen {
    at: IpAddr,
    instances: BTreeMap<(String, String), Instance>,
}

/// Something to tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Type of the line.
    pub(crate) kind: &'static str,
    /// The instance: as it is, or as it was last.
    pub(crate) service: ServiceEvent,
    /// One sentence.
    pub(crate) reason: String,
}

impl Seen {
    /// A member at this address that says this.
    pub(crate) fn new(at: IpAddr, services: BTreeMap<String, Vec<Instance>>) -> Self {
        let each = services.into_iter().flat_map(|(name, instances)| {
            instances.into_iter().map(move |instance| ((name.clone(), instance.id.clone()), instance))
        });
        Self { at, instances: each.collect() }
    }
}

impl Announced {
    /// Whether anything was told of this member.
    pub(crate) fn knows(&self, member: &str) -> bool {
        self.0.contains_key(member)
    }

    /// What to tell, now that a member's instances are these. `None`: it gives no service any more, for the reason `why`,
    /// which otherwise says why an instance is there that was not before.
    pub(crate) fn look(&mut self, member: &str, now: Option<Seen>, why: &str) -> Vec<Change> {
        let mut changes = Vec::new();
        let away = now.is_none();
        let before = self.0.remove(member);
        let old = before.as_ref().map(|seen| &seen.instances);
        let new = now.as_ref().map(|seen| &seen.instances);
        if let Some(before) = &before {
            for (key, instance) in &before.instances {
                if new.is_none_or(|new| !new.contains_key(key)) {
                    let reason = if away { why } else { "deregistered" }.to_owned();
                    let service = event(member, before.at, &key.0, instance);
                    changes.push(Change { kind: GONE, service, reason });
                }
            }
        }
        if let Some(now) = &now {
            for (key, instance) in &now.instances {
                let reason = match old.and_then(|old| old.get(key)) {
                    Some(before) if before == instance => continue,
                    Some(before) if before.health != instance.health => {
                        format!("it was {}", before.health.word())
                    }
                    Some(_) => "its port, address or tags have changed".to_owned(),
                    None => why.to_owned(),
                };
                let service = event(member, now.at, &key.0, instance);
                changes.push(Change { kind: kind(instance.health), service, reason });
            }
        }
        if let Some(now) = now.filter(|now| !now.instances.is_empty()) {
            self.0.insert(member.to_owned(), now);
        }
        changes
    }
}

fn kind(health: Health) -> &'static str {
    match health {
        Health::Passing => "service-up",
        Health::Warning => "service-warning",
        Health::Critical => "service-critical",
    }
}

const GONE: &str = "service-gone";

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(instances: &[(&str, &str, Health)]) -> Option<Seen> {
        let mut services: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
        for (name, id, health) in instances {
            let instance = Instance { id: (*id).to_owned(), health: *health, ..Instance::default() };
            services.entry((*name).to_owned()).or_default().push(instance);
        }
        Some(Seen::new([10, 0, 0, 1].into(), services))
    }

    fn told(changes: &[Change]) -> Vec<String> {
        let line = |change: &Change| {
            format!("{} {}/{}: {}", change.kind, change.service.name, change.service.id, change.reason)
        };
        changes.iter().map(line).collect()
    }

    #[test]
    fn each_change_is_told_once_and_nothing_twice() {
        use Health::{Critical, Passing};
        let mut all = Announced::default();
        let mut look = |now: Option<Seen>, why: &str| told(&all.look("n1", now, why));
        assert_eq!(look(seen(&[]), "registered"), [""; 0]);
        let two = || seen(&[("db", "", Passing), ("db", "2", Critical)]);
        assert_eq!(
            look(two(), "registered"),
            ["service-up db/: registered", "service-critical db/2: registered"]
        );
        assert_eq!(look(two(), "registered"), [""; 0], "a blip of the same value");
        let better = seen(&[("db", "2", Passing)]);
        assert_eq!(
            look(better, "registered"),
            ["service-gone db/: deregistered", "service-up db/2: it was critical"]
        );
        assert_eq!(look(None, "its member is down"), ["service-gone db/2: its member is down"]);
        assert_eq!(look(None, "its member was forgotten"), [""; 0]);
        assert_eq!(
            look(seen(&[("db", "2", Passing)]), "its member is back"),
            ["service-up db/2: its member is back"]
        );
    }

    #[test]
    fn another_port_is_told_and_another_member_has_its_own() {
        let mut all = Announced::default();
        let at = |port| {
            let instance = Instance { port: Some(port), ..Instance::default() };
            Some(Seen::new([10, 0, 0, 1].into(), [("db".to_owned(), vec![instance])].into()))
        };
        all.look("n1", at(1), "registered");
        assert_eq!(all.look("n2", at(1), "registered").len(), 1);
        let changes = all.look("n1", at(2), "registered");
        assert_eq!(told(&changes), ["service-up db/: its port, address or tags have changed"]);
        assert_eq!((changes[0].service.port, &*changes[0].service.address), (Some(2), "10.0.0.1"));
        assert!(all.knows("n1") && !all.knows("n3"));
    }
}
