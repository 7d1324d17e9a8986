//! What becomes of the machine's events: a line of the log, a line of the stream, a condition that stays until it is over.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{
    Census, Event, Generation, Instant, LinkEvent, MemberEvent, MemberEventKind, Name, NarrowPath, Node,
    Outside, OutsideReason, PathState, QuorumStatus, Status,
};
use tracing::{debug, error, info, warn};

use super::{Asked, Farewell, Notice, Reporter};
use crate::daemon::notify;
use crate::doctor::{Code, Said};
use crate::load;
use crate::recorder::Beside;
use crate::services::instance::is_key;
use crate::show;
use crate::types::WatchLine;
use crate::words::few;

impl Reporter {
    pub(super) fn tell_event(&mut self, node: &Node, now: Instant, event: Event) {
        match event {
            Event::Member(event) => self.tell_of_member(node, now, event),
            Event::Quorum(status) => self.tell_of_quorum(now, status),
            // The agent may still be looking its seeds up, which the node does not know.
            Event::Joined { members: 1 } => {
                debug!("no address of another member is known");
                self.state.has_view = true;
            }
            Event::Joined { members } => {
                self.state.has_view = true;
                info!(members, "joined");
                self.tell_of_ourselves(now, format!("joined: {members} members in the view"));
            }
            // Readers of events are told by the event that says what we are outside for.
            Event::NameRefused { holder, address, .. } => {
                let _ = self.notices.send(Notice::NameRefused { holder, address });
            }
            Event::Outside(outside) => self.tell_whether_outside(now, outside),
            Event::ClockRefused => self.tell_of_refused_clock(now),
            Event::GenerationRaised(generation) => {
                info!(generation, "a later life of this name was known; our generation was raised above it");
            }
            Event::GenerationReset(generation) => self.tell_of_reset(now, generation),
            Event::PathLimited { to, narrow } => self.tell_of_path(node, now, to, narrow),
            Event::Readdressed { address, generation } => {
                info!(%address, generation, "the others are told of another address");
                self.tell_of_ourselves(
                    now,
                    format!("the address of this member is {address} now, in generation {generation}"),
                );
            }
            Event::Link(link) => self.tell_of_link(now, &link),
            Event::Isolated(isolated) => self.tell_whether_isolated(now, isolated),
            Event::Stalled(time) => {
                self.service_watchdog.forgive(time);
                let sentence =
                    format!("this agent was not running for {time:?}; all waits were extended by it");
                warn!("{sentence}");
                self.tell_of_ourselves(now, sentence);
            }
            Event::Asked { number, by, service, id } => {
                debug!(%by, service, id, "asked about a service");
                let _ = self.asked.send(Asked { number, service, id });
            }
            Event::Answered { number, answer, .. } => self.state.asking.end(number, Ok(answer)),
            Event::LeaveDone { acknowledged, asked } => {
                self.tell_of_good_bye(node, now, Farewell { acknowledged, asked });
            }
        }
    }

    fn tell_of_member(&mut self, node: &Node, now: Instant, mut event: MemberEvent) {
        let (name, kind) = (event.name.clone(), event.kind);
        if kind == MemberEventKind::Down {
            let in_contact = node.outside().is_none() && reaches_most(&node.census());
            self.event_log.fell(name.as_str(), in_contact);
        }
        let of_services = event.changed.iter().any(|change| is_key(&change.key));
        let changed = event.changed.len();
        event.changed.retain(|change| !is_key(&change.key) && change.key != load::KEY);
        // A change of services alone is told as these; their values are nothing to read. That of a load is no news.
        if changed == 0 || !event.changed.is_empty() {
            log_member(&event);
            // A start would fill the history with all that are there already.
            let is_new =
                kind != MemberEventKind::Join || event.status != Status::Alive || self.state.has_view;
            let beside = is_new.then(|| self.beside(node, now, &event));
            let line = WatchLine { time: self.clock.stamp(now), ..member_line(node, now, event) };
            match beside {
                Some(beside) => self.event_log.publish_with(line, Some(beside)),
                None => self.event_log.publish_unkept(line),
            }
            self.state.status_stale = true;
            self.state.addresses_stale = true;
        }
        self.tell_of_services(node, now, &name, kind, of_services);
    }

    /// What the history keeps beside an event: of a verdict, and on the way to one, also what it rests on.
    fn beside(&mut self, node: &Node, now: Instant, event: &MemberEvent) -> Beside {
        let judged = matches!(event.kind, MemberEventKind::Suspect | MemberEventKind::Down);
        let wanted = judged && self.event_log.recorder().is_some();
        let view =
            (wanted && self.state.evidence.take(now, 1, 0)).then(|| node.member(now, &event.name)).flatten();
        Beside { heartbeat: event.heartbeat, view: view.map(Box::new) }
    }

    fn tell_of_quorum(&mut self, now: Instant, status: QuorumStatus) {
        let quorum = Some(show::quorum(&self.clock, &status));
        info!(quorum = %status.quorum, present = status.present, needed = status.needed, reason = status.reason, "quorum");
        let (kind, time, reason) = ("quorum".to_owned(), self.clock.stamp(now), Some(status.reason));
        self.event_log.publish(WatchLine { kind, time, reason, quorum, ..WatchLine::default() });
        self.state.status_stale = true;
    }

    fn tell_whether_outside(&mut self, now: Instant, outside: Option<Outside>) {
        let reason = outside.as_ref().map(|outside| outside.reason);
        if !matches!(reason, Some(OutsideReason::NameRefused { .. })) {
            let _ = self.notices.send(Notice::NameAccepted);
        }
        let line = match outside {
            Some(outside) => {
                warn!("{outside}");
                let by = outside.by.iter().map(ToString::to_string).collect();
                let status = Some(outside.reason.word().to_owned());
                WatchLine { status, by: Some(by), ..self.own_line(now, outside.to_string()) }
            }
            None => {
                let sentence = "the others count this agent as a member again";
                info!("{sentence}");
                WatchLine { status: Some(show::IN.to_owned()), ..self.own_line(now, sentence.to_owned()) }
            }
        };
        self.event_log.publish(line);
        self.state.status_stale = true;
    }

    fn tell_of_refused_clock(&mut self, now: Instant) {
        let what = format!(
            "peers say that this host's clock ({}) is more than a day ahead of theirs, and do not take this agent in",
            self.clock.stamp(now)
        );
        let remedy = "set it (timedatectl set-ntp true, or chronyc makestep); the agent then joins by itself";
        let said = Said::new(what, remedy);
        self.state.clock_refused = Some(now);
        if self.event_log.condition(Code::ClockOff, Some(said.clone())) {
            error!("{said}");
            self.tell_of_ourselves(now, said.to_string());
        }
    }

    fn tell_of_reset(&mut self, now: Instant, generation: Generation) {
        let sentence = "this life was numbered by a clock more than a day ahead, and peers refused it; the clock is \
                        right now, so a new life begins: nothing is to be done";
        warn!(generation, "{sentence}");
        self.state.clock_refused = None;
        self.event_log.condition(Code::ClockOff, None);
        self.tell_of_ourselves(now, sentence.to_owned());
    }

    fn tell_of_path(&self, node: &Node, now: Instant, to: SocketAddr, narrow: bool) {
        let said = path_sentence(&node.narrow_paths());
        self.event_log.condition(Code::MtuHole, said.clone());
        match said.filter(|_| narrow) {
            Some(said) => {
                warn!(%to, "{said}");
                self.tell_of_ourselves(now, said.to_string());
            }
            None => {
                info!(%to, "long datagrams pass again");
                self.tell_of_ourselves(now, format!("path MTU: long datagrams to {to} pass again"));
            }
        }
    }

    /// A direct path is no member's status.
    fn tell_of_link(&self, now: Instant, link: &LinkEvent) {
        let names = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let down = link.state == PathState::Down;
        let (reason, through) = (show::link_reason(link), names(&link.through));
        let direction = link.direction.map(|direction| direction.to_string());
        if down {
            let (direction, through) = (direction.as_deref().unwrap_or_default(), through.join(","));
            warn!(member = %link.name, direction, through, reason, "direct path down");
        } else {
            info!(member = %link.name, reason, "direct path up");
        }
        self.event_log.publish(WatchLine {
            kind: "link".to_owned(),
            time: self.clock.stamp(now),
            name: Some(link.name.to_string()),
            generation: Some(link.generation),
            state: Some(link.state.to_string()),
            direction,
            through: down.then_some(through),
            reason: Some(reason),
            ..WatchLine::default()
        });
    }

    fn tell_whether_isolated(&self, now: Instant, isolated: bool) {
        let sentence = "most others look silent at once: probably it is this host; verdicts are held";
        self.event_log.condition(Code::Isolated, isolated.then(|| sentence.to_owned().into()));
        if isolated {
            warn!("{sentence}");
            self.tell_of_ourselves(now, sentence.to_owned());
        } else {
            info!("no longer isolated");
            self.tell_of_ourselves(now, "no longer isolated".to_owned());
        }
    }

    fn tell_of_good_bye(&mut self, node: &Node, now: Instant, farewell: Farewell) {
        let Farewell { acknowledged, asked } = farewell;
        let restarts = node.is_restarting();
        let what = if restarts { "restarting" } else { "left" };
        info!(acknowledged, asked, "{what}");
        self.tell_of_ourselves(now, format!("{what}: {acknowledged} of {asked} peers acknowledged"));
        for waiting in self.state.farewells.drain(..) {
            let _ = waiting.send(farewell);
        }
        let _ = self.notices.send(Notice::Left { restarts });
    }

    pub(super) fn tell_of_ourselves(&self, now: Instant, reason: String) {
        self.event_log.publish(self.own_line(now, reason));
    }

    fn own_line(&self, now: Instant, reason: String) -> WatchLine {
        let (kind, time) = ("self".to_owned(), self.clock.stamp(now));
        WatchLine { kind, time, reason: Some(reason), ..WatchLine::default() }
    }

    pub(super) fn tell_status(&mut self, node: &Node, now: Instant) {
        let looking = node.members() == 1 && !node.is_joined();
        self.state.status_stale |= looking != self.state.looking;
        let recent = self.state.status.is_some_and(|last| now.since(last) < STATUS_EVERY);
        if recent || !self.state.status_stale || !self.state.status_wanted {
            return;
        }
        (self.state.status, self.state.status_stale, self.state.looking) = (Some(now), false, looking);
        let (Census { alive, suspect, down, .. }, quorum) = (node.census(), node.quorum(now).quorum);
        let out = match node.outside() {
            Some(outside) => format!("{}; ", outside.reason.word()),
            None if looking => "looking for other members; ".to_owned(),
            None => String::new(),
        };
        notify::status(&format!("{out}{alive} alive, {suspect} suspect, {down} down; quorum {quorum}"));
    }
}

/// Whether this agent hears of most members, the one that has just fallen counted in: it is one of those that are alive.
fn reaches_most(census: &Census) -> bool {
    census.alive > census.suspect + 1
}

fn member_line(node: &Node, now: Instant, event: MemberEvent) -> WatchLine {
    let update = event.kind == MemberEventKind::Update;
    let mut line = WatchLine {
        kind: kind_word(event.kind).to_owned(),
        generation: Some(event.generation),
        status: Some(event.status.to_string()),
        fenced: event.fenced,
        by: Some(event.by.iter().map(ToString::to_string).collect()),
        changed: update.then(|| keys(&event)),
        before: update.then(|| before(&event)),
        reason: Some(event.reason.into_owned()),
        ..WatchLine::default()
    };
    // A member that is new or different is described; readers know the rest.
    if matches!(event.kind, MemberEventKind::Join | MemberEventKind::Restart | MemberEventKind::Update)
        && let Some(member) = node.member(now, &event.name)
    {
        line.address = Some(member.address.to_string());
        line.zone = show::zone(&member).map(Cow::into_owned);
        line.tags = Some(show::tags(&member));
    }
    line.name = Some(event.name.to_string());
    line
}

/// What people are told of paths that take short datagrams only.
fn path_sentence(paths: &[NarrowPath]) -> Option<Said> {
    let first = paths.first()?;
    let each = |path: &NarrowPath| {
        let name = path.name.as_ref().map_or_else(String::new, |name| format!("{name} at "));
        let how = match (path.told, path.inbound) {
            (true, _) => " (as it says)",
            (false, true) => " (on the way from there; what this agent sends arrives)",
            (false, false) => "",
        };
        format!("{name}{}{how}", path.to)
    };
    let each: Vec<String> = paths.iter().map(each).collect();
    let NarrowPath { passes, lost, .. } = first;
    Some(Said::new(
        format!(
            "datagrams of {lost} bytes to and from {} get lost, of {passes} they arrive; this agent keeps to \
             {passes} there, which a tag too long for it cannot pass",
            few(&each)
        ),
        format!(
            "mend the link, let ICMP \"fragmentation needed\" through, or set datagram_size = {passes} on every member"
        ),
    ))
}

fn log_member(event: &MemberEvent) {
    let by: Vec<&str> = event.by.iter().map(Name::as_str).collect();
    let by = by.join(",");
    let (kind, name, status) = (kind_word(event.kind), &event.name, event.status);
    let (generation, heartbeat, reason) = (event.generation, event.heartbeat, event.reason.as_ref());
    // Keys only: values may be long, or not for the log.
    let changed = (!event.changed.is_empty()).then(|| keys(event).join(","));
    info!(member = %name, %status, generation, heartbeat, by, changed, reason, "{kind}");
}

fn keys(event: &MemberEvent) -> Vec<String> {
    event.changed.iter().map(|change| change.key.clone()).collect()
}

fn before(event: &MemberEvent) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    event.changed.iter().filter_map(|c| Some((c.key.clone(), text(c.before.as_deref()?)))).collect()
}

fn kind_word(kind: MemberEventKind) -> &'static str {
    match kind {
        MemberEventKind::Join => "member-join",
        MemberEventKind::Suspect => "member-suspect",
        MemberEventKind::Alive => "member-alive",
        MemberEventKind::Down => "member-down",
        MemberEventKind::Left => "member-left",
        MemberEventKind::Restart => "member-restart",
        MemberEventKind::Update => "member-update",
        MemberEventKind::Forgotten => "member-forgotten",
        MemberEventKind::Fenced => "member-fenced",
    }
}

/// Every event of a member.
pub(crate) const MEMBER_EVENTS: [&str; 9] = [
    "member-join",
    "member-suspect",
    "member-alive",
    "member-down",
    "member-left",
    "member-restart",
    "member-update",
    "member-forgotten",
    "member-fenced",
];
const STATUS_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_worth_something_while_most_are_heard() {
        let census = |alive, suspect| Census { alive, suspect, down: 1, ..Census::default() };
        assert!(reaches_most(&census(4, 0)), "one of five fell");
        assert!(reaches_most(&census(2, 0)), "one of three");
        assert!(!reaches_most(&census(2, 2)), "the smaller side of five");
        assert!(!reaches_most(&census(1, 0)), "of two nobody knows which of them it is");
    }

    #[test]
    fn a_narrow_path_is_told_with_both_sizes_and_the_remedy() {
        assert_eq!(path_sentence(&[]), None);
        let path = |n: u8, name: Option<&str>, told| NarrowPath {
            to: ([10, 0, 0, n], 4327).into(),
            name: name.map(|name| Name::new(name).unwrap()),
            passes: 512,
            lost: 1200,
            told,
            inbound: n == 3,
        };
        let paths = [
            path(1, Some("n1"), false),
            path(2, Some("n2"), true),
            path(3, None, false),
            path(4, None, true),
            path(5, None, true),
        ];
        let sentence = path_sentence(&paths).unwrap().to_string();
        for part in [
            "n1 at 10.0.0.1:4327",
            "n2 at 10.0.0.2:4327 (as it says)",
            ", 10.0.0.3:4327 (on the way from there; what this agent sends arrives) and 2 more",
            "of 1200 bytes",
        ] {
            assert!(sentence.contains(part), "{part} is missing in {sentence}");
        }
        assert!(sentence.contains("datagram_size = 512"), "{sentence}");
    }
}
