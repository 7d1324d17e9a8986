//! What becomes of services: a line of the stream for each instance that has come, changed or gone.
//!
//! Made of what a member says, and of whether it is there: so each agent tells what it sees itself.

use heartsay_membership::{Instant, MemberEventKind, Name, Node, Status};
use tracing::info;

use super::Reporter;
use crate::services::ServiceName;
use crate::services::announced::{Change, Seen};
use crate::services::instance::told;
use crate::types::WatchLine;

impl Reporter {
    /// What an event of a member says of its services, which have `changed` with it or not. Those of a suspect stay: it is
    /// not known to be gone.
    pub(super) fn tell_of_services(
        &mut self,
        node: &Node,
        now: Instant,
        name: &Name,
        kind: MemberEventKind,
        changed: bool,
    ) {
        let known = self.announced.knows(name.as_str());
        let why = match kind {
            MemberEventKind::Join => "registered",
            MemberEventKind::Update if changed => "registered",
            MemberEventKind::Restart | MemberEventKind::Alive => "its member is back",
            MemberEventKind::Down if known => "its member is down",
            MemberEventKind::Left if known => "its member has left",
            MemberEventKind::Forgotten if known => "its member was forgotten",
            MemberEventKind::Update
            | MemberEventKind::Down
            | MemberEventKind::Left
            | MemberEventKind::Forgotten
            | MemberEventKind::Suspect
            | MemberEventKind::Fenced => return,
        };
        self.tell_services_of(node, now, name, why);
    }

    /// Those of the settings, with which this member was born.
    pub(crate) fn tell_of_own_services(&mut self, node: &Node, now: Instant) {
        self.tell_services_of(node, now, node.me(), "registered");
    }

    fn tell_services_of(&mut self, node: &Node, now: Instant, name: &Name, why: &str) {
        let view = node.member(now, name).filter(|view| match view.status {
            Status::Alive | Status::Restarting | Status::Suspect => true,
            Status::Down | Status::Left => false,
        });
        let seen = view.map(|view| Seen::new(view.address.ip(), told(&view.state).services));
        for mut change in self.announced.look(name.as_str(), seen, why) {
            if let Some(text) = self.reason_of(node, &change) {
                change.reason = format!("{}; {text}", change.reason);
            }
            let service = &change.service;
            info!(member = %name, service = service.name, id = service.id, reason = change.reason, "{}", change.kind);
            let line = WatchLine {
                kind: change.kind.to_owned(),
                time: self.clock.stamp(now),
                name: Some(name.to_string()),
                service: Some(change.service),
                reason: Some(change.reason),
                ..WatchLine::default()
            };
            // A start would fill the history with all that run already.
            if self.state.has_view || line.kind != "service-up" {
                self.event_log.publish(line);
            } else {
                self.event_log.publish_unkept(line);
            }
        }
    }

    /// What is said of an instance of this host that is not passing, or has gone.
    fn reason_of(&self, node: &Node, Change { kind, service, reason }: &Change) -> Option<String> {
        let unwell = matches!(*kind, "service-warning" | "service-critical") || reason == "deregistered";
        if !unwell || service.member != node.me().as_str() {
            return None;
        }
        let name: ServiceName = service.name.parse().ok()?;
        self.reasons.lock().get(&(name, service.id.clone())).cloned()
    }
}
