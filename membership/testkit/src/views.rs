//! What the nodes see and have said.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use heartsay_membership::{Event, Instant, MemberEventKind, MemberView, Name, Node, Status};

use crate::world::World;

impl World {
    /// A node that runs.
    #[must_use]
    pub fn node(&self, name: &str) -> &Node {
        &self.places[name].node
    }

    /// Whether a node runs.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// All nodes that run.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.places.values().map(|place| &place.node)
    }

    /// The keys of all nodes that run, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The keys of all but one.
    #[must_use]
    pub fn others(&self, name: &str) -> Vec<String> {
        self.names().filter(|other| *other != name).map(str::to_owned).collect()
    }

    /// Where a node is.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        self.places[name].address
    }

    /// What `by` knows about `subject`.
    #[must_use]
    pub fn member(&self, by: &str, subject: &str) -> Option<MemberView> {
        self.node(by).member(self.now, &Name::new(subject).unwrap())
    }

    /// The status that `subject` has at `observer`.
    #[must_use]
    pub fn status(&self, observer: &str, subject: &str) -> Option<Status> {
        self.member(observer, subject).map(|member| member.status)
    }

    /// The status of `subject` at all the others.
    #[must_use]
    pub fn statuses(&self, subject: &str) -> Vec<Option<Status>> {
        self.names().filter(|name| *name != subject).map(|name| self.status(name, subject)).collect()
    }

    /// Whether all the others agree on the status of `subject`. There is at least one other.
    #[must_use]
    pub fn all_say(&self, subject: &str, status: Status) -> bool {
        let statuses = self.statuses(subject);
        !statuses.is_empty() && statuses.iter().all(|seen| *seen == Some(status))
    }

    /// Whether all nodes see the same members with the same status.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.nodes().map(Node::view_fingerprint).collect::<BTreeSet<u64>>().len() == 1
    }

    /// What a node has told since it started, or since [`Self::forget_events`].
    #[must_use]
    pub fn events(&self, name: &str) -> &[(Instant, Event)] {
        &self.places[name].events
    }

    /// What all nodes have told.
    pub fn all_events(&self) -> impl Iterator<Item = &Event> {
        self.places.values().flat_map(|place| &place.events).map(|(_, event)| event)
    }

    /// How many events of a kind about `subject` there were at all nodes together.
    #[must_use]
    pub fn count(&self, subject: &str, kind: MemberEventKind) -> usize {
        let about = |e: &Event| matches!(e, Event::Member(m) if m.name.as_str() == subject && m.kind == kind);
        self.all_events().filter(|event| about(event)).count()
    }

    /// Forgets the events of all nodes.
    pub fn forget_events(&mut self) {
        self.places.values_mut().for_each(|place| place.events.clear());
    }

    /// Forgets the events of one node.
    pub fn forget_events_of(&mut self, name: &str) {
        self.places.get_mut(name).unwrap().events.clear();
    }

    /// Runs until `done` holds and returns how many seconds that took.
    ///
    /// # Panics
    /// It does not hold within `limit` seconds.
    pub fn wait(&mut self, limit: f64, done: impl Fn(&Self) -> bool) -> f64 {
        let start = self.now;
        while !done(self) {
            assert!(self.now.since(start).as_secs_f64() < limit, "not within {limit} s: {self:?}");
            self.run(0.01);
        }
        self.now.since(start).as_secs_f64()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, at {:?}", self.seed, self.now)?;
        for (name, place) in &self.places {
            let view: Vec<String> = place
                .node
                .view(self.now)
                .iter()
                .map(|m| format!("{}:{}:{}", m.name, m.status, m.heartbeat))
                .collect();
            writeln!(f, "  {name} joined {} sees {}", place.node.is_joined(), view.join(" "))?;
            for (at, event) in place.events.iter().rev().take(6) {
                writeln!(f, "      {at:?} {event:?}")?;
            }
        }
        Ok(())
    }
}
