//! Which members an export is of.

use super::Entry;
use crate::api::tag::WantedTag;

/// Statuses and zones widen, tags narrow, as with `heartsay members`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Select {
    /// Any of these; none: `alive` and `suspect`.
    pub(crate) statuses: Vec<String>,
    /// All of these.
    pub(crate) tags: Vec<WantedTag>,
    /// Any of these; none: wherever it is.
    pub(crate) zones: Vec<String>,
}

impl Select {
    /// Whether the member is wanted.
    pub(crate) fn takes(&self, member: &Entry) -> bool {
        let any = |wanted: &[String], is: &str| wanted.iter().any(|wanted| wanted == is);
        let status = match self.statuses.as_slice() {
            // A suspicion is no verdict, and is refuted more often than not.
            [] => matches!(member.status.as_str(), "alive" | "suspect"),
            wanted => any(wanted, &member.status),
        };
        let zone = self.zones.is_empty() || member.zone.as_ref().is_some_and(|zone| any(&self.zones, zone));
        status && zone && self.tags.iter().all(|tag| tag.is_in(&member.tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::export::entry::tests::entry_at;

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
}
