//! What becomes of the machine's events: a line of the log, a line of the stream, a condition that stays until it is over.

use std::time::Duration;

use heartsay_membership::{Census, Event, Instant, MemberEvent, MemberEventKind, Name};
use tracing::{error, info, warn};

use super::{Driver, Farewell, Notice};
use crate::api::show;
use crate::api::types::WatchLine;
use crate::notify;

impl Driver {
    pub(super) fn tell_event(&mut self, now: Instant, event: Event) {
        let line = WatchLine { time: self.clock.stamp(now), ..WatchLine::default() };
        let ours =
            |reason: String| WatchLine { kind: "self".to_owned(), reason: Some(reason), ..line.clone() };
        match event {
            Event::Member(event) => {
                log_member(&event);
                self.memory.changed |= event.name != *self.node.me();
                let line = self.member_line(now, event, line);
                self.board.publish(line);
                self.turn.status_stale = true;
            }
            Event::Quorum(status) => {
                let quorum = show::quorum(&self.clock, &status);
                info!(quorum = %status.quorum, present = status.present, needed = status.needed, reason = status.reason, "quorum");
                let (kind, reason) = ("quorum".to_owned(), Some(status.reason));
                self.board.publish(WatchLine { kind, reason, quorum: Some(quorum), ..line });
                self.turn.status_stale = true;
            }
            Event::Agreed(names) => {
                let sentence = match names.len() {
                    0 => "no roster is agreed on any more".to_owned(),
                    count => format!("agreed roster: {count} members"),
                };
                info!("{sentence}");
                self.memory.agree(names, &self.board);
                self.board.publish(ours(sentence));
            }
            Event::Joined { members } => {
                info!(members, "joined");
                self.board.publish(ours(format!("joined: {members} members in the view")));
            }
            Event::NameRefused { holder, address, generation } => {
                let sentence = format!(
                    "the name {} is held by host {holder}, alive at {address}; this agent is not taken in",
                    self.node.me()
                );
                if self.board.condition("name", Some(sentence.clone())) {
                    warn!(%holder, %address, generation, "{sentence}");
                    self.board.publish(ours(sentence));
                }
                let _ = self.notices.send(Notice::NameRefused { holder, address });
            }
            Event::ClockRefused => {
                let sentence = "peers say that this host's clock is far ahead of theirs; set it and restart";
                if self.board.condition("clock", Some(sentence.to_owned())) {
                    error!("{sentence}");
                    self.board.publish(ours(sentence.to_owned()));
                }
            }
            Event::GenerationRaised(generation) => {
                info!(generation, "a later life of this name was known; our generation was raised above it");
                self.memory.raise(generation, &self.board);
            }
            Event::Isolated(isolated) => {
                let sentence = "most others look silent at once: probably it is this host; verdicts are held";
                self.board.condition("isolated", isolated.then(|| sentence.to_owned()));
                if isolated {
                    warn!("{sentence}");
                    self.board.publish(ours(sentence.to_owned()));
                } else {
                    info!("no longer isolated");
                    self.board.publish(ours("no longer isolated".to_owned()));
                }
            }
            Event::Stalled(time) => {
                self.gate.forgive(time);
                let sentence =
                    format!("this agent was not running for {time:?}; all waits were extended by it");
                warn!("{sentence}");
                self.board.publish(ours(sentence));
            }
            Event::LeaveDone { acknowledged, asked } => {
                info!(acknowledged, asked, "left");
                self.board.publish(ours(format!("left: {acknowledged} of {asked} peers acknowledged")));
                let farewell = Farewell { acknowledged, asked };
                for waiting in self.turn.farewells.drain(..) {
                    let _ = waiting.send(farewell);
                }
                let _ = self.notices.send(Notice::Left);
            }
        }
    }

    fn member_line(&self, now: Instant, event: MemberEvent, line: WatchLine) -> WatchLine {
        let mut line = WatchLine {
            kind: kind_word(event.kind).to_owned(),
            generation: Some(event.generation),
            status: Some(event.status.to_string()),
            fenced: event.fenced,
            by: Some(event.by.iter().map(ToString::to_string).collect()),
            reason: Some(event.reason.into_owned()),
            ..line
        };
        // Who is new or different is described; the rest is known already.
        if matches!(event.kind, MemberEventKind::Join | MemberEventKind::Restart | MemberEventKind::Update)
            && let Some(member) = self.node.member(now, &event.name)
        {
            line.address = Some(member.address.to_string());
            line.zone = show::zone(&member);
            line.tags = Some(show::tags(&member));
        }
        line.name = Some(event.name.to_string());
        line
    }

    pub(super) fn tell_status(&mut self, now: Instant) {
        let recent = self.turn.status.is_some_and(|last| now.since(last) < STATUS_EVERY);
        if recent || !self.turn.status_stale || !self.turn.status_wanted {
            return;
        }
        (self.turn.status, self.turn.status_stale) = (Some(now), false);
        let (Census { alive, suspect, down, .. }, quorum) =
            (self.node.census(), self.node.quorum(now).quorum);
        notify::status(&format!("{alive} alive, {suspect} suspect, {down} down; quorum {quorum}"));
    }
}

fn log_member(event: &MemberEvent) {
    let by: Vec<&str> = event.by.iter().map(Name::as_str).collect();
    let by = by.join(",");
    let (kind, name, status) = (kind_word(event.kind), &event.name, event.status);
    let (generation, heartbeat, reason) = (event.generation, event.heartbeat, event.reason.as_ref());
    info!(member = %name, %status, generation, heartbeat, by, reason, "{kind}");
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

const STATUS_EVERY: Duration = Duration::from_secs(2);
