//! Which members an export is of, or which instances of a service.

use super::{Entry, Port};
use crate::api::tag::WantedTag;
use crate::services::{Health, ServiceName};

/// Statuses, health and zones widen, tags narrow, as with `heartsay members`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Select {
    /// Instances of this one, and no members.
    pub(crate) service: Option<ServiceName>,
    /// Of instances, any of these; none: `passing` and `warning`.
    pub(crate) health: Vec<Health>,
    /// Any of these; none: `alive` and `suspect`.
    pub(crate) statuses: Vec<String>,
    /// All of these.
    pub(crate) tags: Vec<WantedTag>,
    /// Any of these; none: wherever it is.
    pub(crate) zones: Vec<String>,
}

impl Select {
    /// Whether each entry that is wanted says where it serves, or should.
    pub(crate) fn has_port(&self, port: &Port) -> bool {
        *port != Port::None || self.service.is_some()
    }

    /// Whether the member, or the instance, is wanted.
    pub(crate) fn takes(&self, member: &Entry) -> bool {
        let any = |wanted: &[String], is: &str| wanted.iter().any(|wanted| wanted == is);
        let status = match self.statuses.as_slice() {
            // A suspicion is no verdict, and is refuted more often than not.
            [] => matches!(member.status.as_str(), "alive" | "suspect"),
            wanted => any(wanted, &member.status),
        };
        let health = member.served.as_ref().is_none_or(|served| self.takes_health(served.health));
        let zone = self.zones.is_empty() || member.zone.as_ref().is_some_and(|zone| any(&self.zones, zone));
        status && health && zone && self.tags.iter().all(|tag| tag.is_in(&member.tags))
    }

    fn takes_health(&self, health: Health) -> bool {
        match self.health.as_slice() {
            // One with a warning serves, and where all have one, each is needed.
            [] => health != Health::Critical,
            wanted => wanted.contains(&health),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::export::entry::tests::entry_at;
    use crate::services::Instance;

    #[test]
    fn statuses_and_zones_widen_and_tags_narrow() {
        let mut web = entry_at("n1", "10.0.0.1:1", &[("role", "web"), ("rack", "7")]).unwrap();
        web.zone = Some("east".to_owned());
        let tags = |tags: &[&str]| tags.iter().map(|tag| tag.parse().unwrap()).collect::<Vec<WantedTag>>();
        let zones = |zones: &[&str]| zones.iter().map(|&zone| zone.to_owned()).collect::<Vec<_>>();
        for (select, taken) in [
            (Select::default(), true),
            (Select { tags: tags(&["role=web", "rack"]), ..Select::default() }, true),
            (Select { tags: tags(&["role=web", "rack=8"]), ..Select::default() }, false),
            (Select { zones: zones(&["west", "east"]), ..Select::default() }, true),
            (Select { zones: zones(&["west"]), ..Select::default() }, false),
            (Select { statuses: zones(&["down"]), ..Select::default() }, false),
        ] {
            assert_eq!(select.takes(&web), taken, "{select:?}");
        }
        for (status, taken) in [("alive", true), ("suspect", true), ("down", false), ("left", false)] {
            web.status = status.to_owned();
            assert_eq!(Select::default().takes(&web), taken, "{status}");
        }
    }

    #[test]
    fn one_that_is_critical_is_not_wanted_and_one_with_a_warning_is() {
        use Health::{Critical, Passing, Warning};
        let member = entry_at("n1", "10.0.0.1:1", &[]).unwrap();
        let taken = |wanted: &[Health], status: &str| {
            let select = Select { health: wanted.to_vec(), ..Select::default() };
            let takes = |health: &Health| {
                let instance = Instance { health: *health, ..Instance::default() };
                let entry = Entry { status: status.to_owned(), ..member.serving("web", instance) };
                select.takes(&entry)
            };
            Health::ALL.into_iter().filter(takes).collect::<Vec<_>>()
        };
        assert_eq!(taken(&[], "alive"), [Passing, Warning]);
        assert_eq!(taken(&[], "suspect"), [Passing, Warning]);
        assert_eq!(taken(&[Passing], "alive"), [Passing]);
        assert_eq!(taken(&[Warning, Critical], "alive"), [Warning, Critical]);
        assert_eq!(taken(&[], "down"), []);
    }
}
