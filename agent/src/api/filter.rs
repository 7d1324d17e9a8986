//! Which members, and which lines of the event stream, a reader wants.

use std::collections::{BTreeMap, BTreeSet};

use heartsay_membership::MemberView;
use serde::Deserialize;

use super::Problem;
use super::tag::WantedTag;
use crate::services::ServiceName;
use crate::show;
use crate::types::{LINE_TYPES, STATUSES};

/// Refuses more filters than any question needs: each is compared with each member.
pub(super) fn check_number(query: &[(String, String)]) -> Result<(), Problem> {
    if query.len() > MOST {
        return Err(Problem::bad_request(format!(
            "{} filters are too many; at most {MOST} are understood",
            query.len()
        )));
    }
    Ok(())
}

/// What a switch of a query says; alone it means true.
pub(super) fn flag(key: &str, value: &str) -> Result<bool, Problem> {
    match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Problem::bad_request(format!("{key} {value:?} is not true or false"))),
    }
}

/// A share in whole percent, which may be above 100.
pub(super) fn percent(key: &str, value: &str) -> Result<u32, Problem> {
    let problem =
        |_| Problem::bad_request(format!("{key} {value:?} is no number of percent, as in {key}=75"));
    value.parse().map_err(problem)
}

/// `status=alive&tag=role=web&tag=rack`. Repeated statuses widen, repeated tags narrow.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberFilter {
    pub(super) statuses: Vec<String>,
    pub(super) tags: Vec<WantedTag>,
    pub(super) version: Option<String>,
    /// In percent; of members that tell their load.
    pub(super) max_load: Option<u32>,
}

impl MemberFilter {
    /// Takes one pair of a query. Whether it was for us.
    pub(super) fn add(&mut self, key: &str, value: &str) -> Result<bool, Problem> {
        match (key, value) {
            ("status", _) if STATUSES.contains(&value) => self.statuses.push(value.to_owned()),
            ("status", _) => {
                let detail = format!("status {value:?} is not alive, suspect, down or left");
                return Err(Problem::bad_request(detail));
            }
            ("tag", _) => {
                self.tags.push(value.parse().map_err(|e| Problem::bad_request(format!("tag {e}")))?);
            }
            ("version", _) => self.version = Some(value.to_owned()),
            ("max_load", _) => self.max_load = Some(percent(key, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the member is wanted.
    pub(super) fn takes(&self, view: &MemberView) -> bool {
        self.takes_status(&view.status.to_string())
            && (self.tags.is_empty() || self.takes_tags(&show::tags(view)))
            && (self.version.is_none() || self.version == show::version(view))
            && self.max_load.is_none_or(|most| show::load(view).is_some_and(|load| load.cpu_percent <= most))
    }

    fn takes_status(&self, status: &str) -> bool {
        self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted == status)
    }

    fn takes_tags(&self, tags: &BTreeMap<String, String>) -> bool {
        self.tags.iter().all(|wanted| wanted.is_in(tags))
    }

    fn takes_all(&self) -> bool {
        self.statuses.is_empty() && self.tags.is_empty()
    }
}

/// The same with `type=member-down`, for the event stream. Repeated types widen.
///
/// Most events do not say the tags of their member, so members that have the wanted ones are remembered: from the
/// view at the beginning, and from each event that tells tags.
#[derive(Debug, Default)]
pub(super) struct LineFilter {
    types: Vec<String>,
    /// Names of services: of the others, and of members, nothing.
    services: Vec<String>,
    pub(super) members: MemberFilter,
    tagged: BTreeSet<String>,
}

/// What matters of an event.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    status: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    service: Option<Service>,
}

/// What matters of a service.
#[derive(Deserialize)]
struct Service {
    name: String,
}

impl LineFilter {
    /// Takes one pair of a query. Whether it was for us.
    pub(super) fn add(&mut self, key: &str, value: &str) -> Result<bool, Problem> {
        if key == "service" {
            let name = value.parse::<ServiceName>().map_err(Problem::bad_request)?;
            self.services.push(name.to_string());
            return Ok(true);
        }
        match key {
            "type" => {}
            // Events do not say these.
            "version" | "max_load" => return Ok(false),
            _ => return self.members.add(key, value),
        }
        if !LINE_TYPES.contains(&value) {
            let detail = format!("type {value:?} is none of {}", LINE_TYPES.join(", "));
            return Err(Problem::bad_request(detail));
        }
        self.types.push(value.to_owned());
        Ok(true)
    }

    /// Whether every line is wanted.
    pub(super) fn takes_all(&self) -> bool {
        self.types.is_empty() && self.services.is_empty() && self.members.takes_all()
    }

    /// Whether lines of this type are wanted.
    pub(super) fn takes_type(&self, kind: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind)
    }

    /// Starts over with this view.
    pub(super) fn begin(&mut self, members: &[MemberView]) {
        let wanted = members.iter().filter(|view| self.members.takes_tags(&show::tags(view)));
        self.tagged = wanted.map(|view| view.name.to_string()).collect();
    }

    /// Whether the event, in JSON, is wanted. To be asked of each in turn.
    pub(super) fn takes(&mut self, json: &str) -> bool {
        // We wrote it ourselves.
        let Ok(event) = serde_json::from_slice::<Event>(json.as_bytes()) else { return false };
        let tags_match = self.tags_match(&event);
        let is_member = event.kind.starts_with("member-");
        let status = event.status.as_deref().unwrap_or_default();
        let of_service = |wanted: &String| event.service.as_ref().is_some_and(|told| told.name == *wanted);
        self.takes_type(&event.kind)
            && (self.services.is_empty() || self.services.iter().any(of_service))
            && (self.members.takes_all() || is_member && tags_match && self.members.takes_status(status))
    }

    /// Whether the member has the wanted tags, or had them until now.
    fn tags_match(&mut self, event: &Event) -> bool {
        if self.members.tags.is_empty() {
            return true;
        }
        let Some(name) = &event.name else { return false };
        let before = self.tagged.contains(name);
        let after = match &event.tags {
            Some(tags) => self.members.takes_tags(tags),
            None => before && event.kind != "member-forgotten",
        };
        if after {
            self.tagged.insert(name.clone());
        } else {
            self.tagged.remove(name);
        }
        before || after
    }
}

/// In one query.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn filter(query: &[(&str, &str)]) -> LineFilter {
        let mut filter = LineFilter::default();
        for (key, value) in query {
            assert!(filter.add(key, value).unwrap(), "{key}");
        }
        filter
    }

    fn event(kind: &str, status: &str, role: Option<&str>) -> String {
        let mut event = json!({ "type": kind, "name": "n1", "status": status });
        if let Some(role) = role {
            event["tags"] = json!({ "role": role });
        }
        event.to_string()
    }

    #[test]
    fn types_and_statuses_widen_and_what_is_no_member_has_no_status() {
        let mut by_type = filter(&[("type", "member-down"), ("type", "quorum")]);
        assert!(by_type.takes(&event("member-down", "down", None)));
        assert!(by_type.takes(r#"{"type":"quorum"}"#));
        assert!(!by_type.takes(&event("member-suspect", "suspect", None)));
        let mut by_status = filter(&[("status", "down"), ("status", "left")]);
        assert!(by_status.takes(&event("member-down", "down", None)));
        assert!(!by_status.takes(&event("member-alive", "alive", None)));
        assert!(!by_status.takes(r#"{"type":"quorum"}"#));
        for (key, value) in [("type", "down"), ("status", "gone"), ("tag", ""), ("tag", "=web")] {
            assert!(LineFilter::default().add(key, value).is_err(), "{key}={value}");
        }
        assert!(!LineFilter::default().add("since", "1").unwrap());
    }

    #[test]
    fn tags_are_remembered_and_the_loss_of_one_is_still_told() {
        let mut web = filter(&[("tag", "role=web")]);
        assert!(!web.takes(&event("member-join", "alive", Some("db"))));
        assert!(!web.takes(&event("member-suspect", "suspect", None)));
        assert!(web.takes(&event("member-update", "alive", Some("web"))));
        assert!(web.takes(&event("member-down", "down", None)));
        assert!(web.takes(&event("member-update", "alive", Some("db"))), "it has lost the tag");
        assert!(!web.takes(&event("member-down", "down", None)));
        assert!(web.takes(&event("member-restart", "alive", Some("web"))));
        assert!(web.takes(&event("member-forgotten", "down", None)));
        assert!(!web.takes(&event("member-suspect", "suspect", None)), "another of that name");
    }
}
