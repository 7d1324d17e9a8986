//! What all members say of services, by name: made of the view when somebody asks.

use std::collections::BTreeMap;

use heartsay_membership::{MemberView, Status};

use super::instance::{Health, Instance, told};
use super::registry::{Key, Own};
use crate::api::tag::WantedTag;
use crate::show;
use crate::types::{Service, ServiceEvent, ServiceInstance};

/// Which instances a reader wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Of this name alone.
    pub(crate) name: Option<String>,
    /// Of these members alone, if there are any.
    pub(crate) members: Vec<String>,
    /// Those with all of these tags.
    pub(crate) tags: Vec<WantedTag>,
    /// Passing, on a member that is alive.
    pub(crate) healthy: bool,
    /// On a host that tells a load of at most this many percent.
    pub(crate) max_load: Option<u32>,
}

/// Instances by name, and how many values make no sense.
pub(crate) fn services(
    members: &[MemberView],
    own: &BTreeMap<Key, Own>,
    wanted: &Wanted,
) -> (Vec<Service>, usize) {
    let mut all: BTreeMap<String, Service> = BTreeMap::new();
    let mut unreadable = 0;
    for view in members.iter().filter(|view| view.status != Status::Left) {
        let told = told(&view.state);
        unreadable += told.unreadable;
        let ours = |name: &str| wanted.name.as_deref().is_none_or(|wanted| wanted == name);
        for (name, instances) in told.services.into_iter().filter(|(name, _)| ours(name)) {
            let service = all
                .entry(name)
                .or_insert_with_key(|name| Service { name: name.clone(), ..Service::default() });
            for instance in instances {
                let healthy = is_healthy(view.status, &instance);
                service.known += 1;
                service.healthy += usize::from(healthy);
                if wanted.takes(view, &instance, healthy) {
                    service.instances.push(shown(view, &service.name, instance, own));
                }
            }
        }
    }
    // A name of which nothing is wanted is only told to those who ask for that name.
    all.retain(|_, service| wanted.name.is_some() || !service.instances.is_empty());
    (all.into_values().collect(), unreadable)
}

/// Worth sending somebody there.
pub(crate) fn is_healthy(status: Status, instance: &Instance) -> bool {
    matches!(status, Status::Alive | Status::Restarting) && instance.health == Health::Passing
}

impl Wanted {
    fn takes(&self, view: &MemberView, instance: &Instance, healthy: bool) -> bool {
        (healthy || !self.healthy)
            && (self.members.is_empty() || self.members.iter().any(|name| name == view.name.as_str()))
            && self.tags.iter().all(|tag| tag.is_in(&instance.tags))
            && self.max_load.is_none_or(|most| show::load(view).is_some_and(|load| load.cpu_percent <= most))
    }
}

fn shown(view: &MemberView, name: &str, instance: Instance, own: &BTreeMap<Key, Own>) -> ServiceInstance {
    let key = name.parse().ok().filter(|_| view.is_self).map(|name| (name, instance.id.clone()));
    let own = key.and_then(|key| own.get(&key));
    let member = view.address.ip();
    ServiceInstance {
        member: view.name.to_string(),
        status: view.status.to_string(),
        load: show::load(view),
        address: instance.address.unwrap_or(member).to_string(),
        elsewhere: instance.address.is_some_and(|address| address != member),
        port: instance.port,
        health: instance.health.word().to_owned(),
        by: own.map(|own| own.owner.to_string()),
        text: own.and_then(|own| own.text.clone()),
        answered: None,
        checks: own.map(|own| own.checks.clone()).unwrap_or_default(),
        id: instance.id,
        tags: instance.tags,
    }
}

/// An instance as an event tells of it.
pub(crate) fn event(member: &str, at: std::net::IpAddr, name: &str, instance: &Instance) -> ServiceEvent {
    ServiceEvent {
        name: name.to_owned(),
        id: instance.id.clone(),
        member: member.to_owned(),
        address: instance.address.unwrap_or(at).to_string(),
        port: instance.port,
        health: instance.health.word().to_owned(),
        tags: instance.tags.clone(),
    }
}
