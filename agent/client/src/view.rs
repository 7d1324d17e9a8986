//! The members as the stream tells of them, and waiting for what they show.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{Quorum, WatchLine};
use crate::{Client, ClientError, Filter};

/// What is known of the cluster, line by line.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Each member, by name.
    pub members: BTreeMap<String, Seen>,
    /// Members whose lease has run out for certain.
    pub fenced: BTreeSet<String>,
    /// As last told.
    pub quorum: Option<Quorum>,
    /// Whether the agent has had its first complete view.
    pub joined: bool,
}

/// One member as it is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its status word.
    pub status: String,
    /// Where it is.
    pub address: String,
    /// Its zone.
    pub zone: Option<String>,
    /// What it says of itself.
    pub tags: BTreeMap<String, String>,
}

impl View {
    /// Brings the view up to date with one line of the stream.
    pub fn take(&mut self, line: WatchLine) {
        if let Some(members) = line.members {
            let fenced = members.iter().filter(|m| m.fenced == Some(true));
            self.fenced = fenced.map(|m| m.name.clone()).collect();
            let seen = members
                .into_iter()
                .map(|m| (m.name, Seen { status: m.status, address: m.address, zone: m.zone, tags: m.tags }));
            self.members = seen.collect();
        }
        if let Some(quorum) = line.quorum {
            self.quorum = Some(quorum);
        }
        match (line.kind.as_str(), line.name, line.status) {
            ("member-forgotten", Some(name), _) => {
                self.members.remove(&name);
                self.fenced.remove(&name);
            }
            (kind, Some(name), Some(status)) if kind.starts_with("member-") => {
                if line.fenced == Some(true) {
                    self.fenced.insert(name.clone());
                } else if status != "down" {
                    self.fenced.remove(&name);
                }
                let seen = self.members.entry(name).or_default();
                seen.status = status;
                // Told where they may have changed.
                if let Some(tags) = line.tags {
                    seen.tags = tags;
                    seen.zone = line.zone;
                    seen.address = line.address.unwrap_or_default();
                }
            }
            _ => {}
        }
    }

    /// Members that have this status.
    pub fn with_status(&self, status: &str) -> impl Iterator<Item = (&String, &Seen)> {
        self.members.iter().filter(move |(_, seen)| seen.status == status)
    }

    /// This agent stands on the side that may act.
    #[must_use]
    pub fn holds_quorum(&self) -> bool {
        self.quorum.as_ref().is_some_and(|quorum| quorum.quorum == "held")
    }
}

impl Client {
    /// Waits until `condition` holds, over restarts of the agent.
    ///
    /// # Errors
    /// As [`line`](crate::Follow::line).
    pub async fn wait(&self, condition: impl Fn(&View) -> bool) -> Result<View, ClientError> {
        let (mut view, mut follow) = (View::default(), self.follow(Filter::new()));
        loop {
            let line = follow.line().await?;
            let is_incomplete = matches!(line.kind.as_str(), "snapshot" | "self" | "idle");
            view.take(line);
            if is_incomplete {
                // No line says all of it. Asked after the stream is open, so nothing falls between.
                match self.me().await {
                    Ok(me) => (view.joined, view.quorum) = (me.joined, Some(me.quorum)),
                    Err(error) if error.may_pass() => view.quorum = None,
                    Err(error) => return Err(error),
                }
            }
            if view.quorum.is_some() && !view.members.is_empty() && condition(&view) {
                return Ok(view);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_follows_the_stream() {
        let mut view = View::default();
        let event = |kind: &str, name: &str, status: &str| WatchLine {
            kind: kind.to_owned(),
            name: Some(name.to_owned()),
            status: Some(status.to_owned()),
            ..WatchLine::default()
        };
        let tags = |role: &str| Some([("role".to_owned(), role.to_owned())].into());
        view.take(event("member-join", "n1", "alive"));
        let update = WatchLine {
            tags: tags("web"),
            address: Some("10.0.0.2:1".to_owned()),
            ..event("member-update", "n2", "alive")
        };
        view.take(update);
        let fenced = |name: &str| WatchLine { fenced: Some(true), ..event("member-fenced", name, "down") };
        for name in ["n1", "n2", "n3"] {
            view.take(fenced(name));
        }
        view.take(event("member-alive", "n3", "alive"));
        view.take(event("member-forgotten", "n3", "alive"));
        view.take(event("member-down", "n2", "down"));
        view.take(event("member-forgotten", "n1", "left"));
        view.take(WatchLine { kind: "idle".to_owned(), ..WatchLine::default() });
        let n2 = Seen {
            status: "down".to_owned(),
            address: "10.0.0.2:1".to_owned(),
            zone: None,
            tags: tags("web").unwrap(),
        };
        assert_eq!(view.members, [("n2".to_owned(), n2)].into());
        assert_eq!(view.fenced, ["n2".to_owned()].into());
        assert_eq!((view.with_status("down").count(), view.holds_quorum()), (1, false));
    }
}
