//! What members say is written down and compared with the truth.

use heartsay_membership::{Event, Generation, MemberEvent, MemberEventKind, Name, Status};

use super::judge::keeps_out;
use super::roster_meter::Turn;
use super::{SimEvent, World};
use crate::oracle::{Belief, GRACE, Life};
use crate::recording::Told;
use crate::trace::WORLD;

impl World {
    // Over 60 lines: one arm for each event, and no more than that.
    pub(super) fn note(&mut self, host: usize, event: Event) {
        let now = self.now;
        let name = self.hosts[host].name.clone();
        let own = self.hosts[host].subject == host;
        match event {
            Event::Member(event) => self.note_member(host, &name, own, &event),
            Event::Quorum(status) => {
                self.trace
                    .say(now, name.as_str(), || format!("quorum {:?}: {}", status.quorum, status.reason));
                if own {
                    self.meter.says_quorum(now, host, status.quorum);
                    self.record(|film| film.tell(now, Told::Quorum(host, status.quorum)));
                    // Before, for one that says late that it has lost; after, for one that says too soon that it holds.
                    self.judge.sides(now, &self.network, &self.hosts);
                    self.judge.says(now, host, &status);
                    self.check_quorum();
                }
            }
            Event::GenerationRaised(generation)
            | Event::GenerationReset(generation)
            | Event::Readdressed { generation, .. } => {
                self.hosts[host].stored = generation;
                let subject = self.hosts[host].subject;
                self.oracle.truth(subject).lives.push(Life { generation, host, heartbeat: 0 });
                self.trace.say(now, name.as_str(), || format!("sets its generation to {generation}"));
            }
            Event::LeaveDone { acknowledged, asked } => {
                self.trace.say(now, name.as_str(), || format!("has left; {acknowledged} of {asked} know"));
                self.stop(host, false);
            }
            Event::Joined { members } => {
                self.trace.say(now, name.as_str(), || format!("joined: {members} members"));
            }
            Event::NameRefused { holder, .. } => {
                if self.scenario.has_liars() && own {
                    self.judge
                        .harmed(now, "driven-out", || format!("{name} gives way to a host that is none"));
                }
                self.trace.say(now, name.as_str(), || format!("is refused: host {holder} holds the name"));
                self.stop(host, false);
            }
            Event::Outside(outside) => {
                if own && let Some(rosters) = self.meter.rosters() {
                    rosters.outside(now, host, outside.is_some());
                }
                self.trace.say(now, name.as_str(), || match outside {
                    Some(outside) => format!("is out: {outside}"),
                    None => "is in again".to_owned(),
                });
            }
            Event::ClockRefused => self.trace.say(now, name.as_str(), || "clock refused by peers".to_owned()),
            Event::PathLimited { to, narrow } => {
                self.trace.say(now, name.as_str(), || format!("path to {to} is narrow: {narrow}"));
            }
            Event::Link(link) => self.trace.say(now, name.as_str(), || {
                let direction =
                    link.direction.map_or_else(String::new, |direction| format!(" ({direction})"));
                format!("direct path to {} {}{direction}", link.name, link.state)
            }),
            Event::Isolated(isolated) => {
                if own && let Some(rosters) = self.meter.rosters() {
                    rosters.isolated(now, host, isolated);
                }
                self.trace.say(now, name.as_str(), || format!("isolated: {isolated}"));
            }
            // Only people ask, and there are none here.
            Event::Asked { .. } | Event::Answered { .. } => {}
            Event::Stalled(by) => self.trace.say(now, name.as_str(), || format!("stalled for {by:?}")),
        }
    }

    fn note_member(&mut self, observer: usize, name: &Name, own: bool, event: &MemberEvent) {
        let now = self.now;
        self.trace.member(now, observer, name.as_str(), event);
        if event.kind == MemberEventKind::Down && event.status == Status::Down {
            self.record(|film| film.tell(now, Told::Down(observer)));
        }
        let claim = (&event.name, event.generation, event.heartbeat);
        let subject = self.judge.claim(now, name, claim, &mut self.oracle, &self.hosts);
        let Some(subject) = subject.filter(|&s| own && s != observer) else { return };
        self.judge.follows(now, observer, subject, event, &mut self.proofs);
        if event.fenced == Some(true) {
            self.judge.fenced(now, observer, subject, &self.hosts);
            self.meter.fenced(now, observer, subject);
        }
        let belief = believed(event);
        let old = self.board.belief(observer, subject);
        self.board.set(now, observer, subject, belief);
        if old.down() != belief.down() {
            self.removed(observer, subject);
        }
        let turn = match (old.down(), belief.down()) {
            (false, true) if keeps_out(now, observer, subject, &self.hosts) => Some(Turn::KeptOut),
            (false, true) => Some(Turn::Down),
            (true, false) => Some(Turn::In),
            _ => None,
        };
        if let Some(rosters) = self.meter.rosters().filter(|_| old.present() != belief.present()) {
            rosters.roster(observer);
            if let Some(turn) = turn {
                rosters.turned(now, observer, subject, turn);
            }
            if old.down()
                && let Some(told) = rosters.lets_in(now, observer, subject)
            {
                self.queue.push(told, SimEvent::Compare);
            }
        }
        if belief.present() {
            self.known(observer, subject, event.generation);
        }
        if old == belief {
            return;
        }
        if old.suspects() || belief.suspects() {
            let rightly = !self.is_faultless(observer, subject);
            self.meter.in_doubt(now, subject, self.board.suspected_by(subject) > 0, rightly);
        }
        self.record(|film| film.believes(now, observer, subject, old, belief));
        if self.is_current(subject, event.generation) {
            self.changed_mind(observer, subject, old, belief);
        }
    }

    /// `observer` believes something else than before of the life that `subject` lives.
    fn changed_mind(&mut self, observer: usize, subject: usize, old: Belief, belief: Belief) {
        let now = self.now;
        let (suspect, down) = (Belief::Is(Status::Suspect), Belief::Is(Status::Down));
        if belief == suspect || belief == down {
            self.meter.noticed(now, observer, subject, belief == down);
        }
        if belief == suspect && self.is_faultless(observer, subject) {
            self.meter.suspected_wrongly();
        }
        if belief == down && self.oracle.members()[subject].up {
            self.called_down(observer, subject);
        }
        if old == down && belief.present() {
            self.meter.is_back(now, subject);
        }
    }

    /// `observer` has just changed its mind about `subject`, and with it perhaps the majority.
    fn removed(&mut self, observer: usize, subject: usize) {
        let now = self.now;
        let unexplained = self.meter.removed(now, subject, self.board.is_out(subject));
        if unexplained && self.is_faultless(observer, subject) {
            self.meter.removed_wrongly();
            self.trace.say(now, WORLD, || format!("most hold n{subject} for down, which is fine"));
        }
    }

    /// `observer` calls down a member that is up.
    fn called_down(&mut self, observer: usize, subject: usize) {
        let now = self.now;
        self.judge.put_out(now, observer, &self.hosts, &self.oracle);
        self.judge.verdict(now, observer, subject, &self.network, &self.hosts);
        self.meter.called_down(now, subject);
        if self.is_faultless(observer, subject) {
            let by_healthy = !self.oracle.members()[observer].in_trouble(now);
            self.meter.called_down_wrongly(now, subject, by_healthy);
        }
    }

    /// `observer` has `subject` in its view.
    fn known(&mut self, observer: usize, subject: usize, generation: Generation) {
        let now = self.now;
        self.meter.known(now, observer, subject, generation);
        if self.board.view_size(observer) < self.board.running() {
            return;
        }
        if let Some(took) = self.meter.full_view(now, observer) {
            self.trace.say(now, WORLD, || format!("formed {took:?} after the last start"));
        }
    }

    /// Whether `subject` runs, and neither it nor the path from `observer` is in trouble, or was a moment ago.
    fn is_faultless(&self, observer: usize, subject: usize) -> bool {
        let truth = &self.oracle.members()[subject];
        truth.up && !truth.in_trouble(self.now) && !self.network.apart(observer, subject, self.now, GRACE)
    }

    /// Whether this is the life that the host of `subject` lives or lived last.
    fn is_current(&self, subject: usize, generation: Generation) -> bool {
        let lives = &self.oracle.members()[subject].lives;
        let current = lives.iter().rev().find(|life| life.host == subject);
        current.is_some_and(|life| life.generation == generation)
    }
}

/// A restart that was announced is no event: what is told before it and after it is the same.
fn shown(status: Status) -> Status {
    if status == Status::Restarting { Status::Alive } else { status }
}

/// What an observer believes that says this.
fn believed(event: &MemberEvent) -> Belief {
    match event.kind {
        MemberEventKind::Forgotten => Belief::Unknown,
        MemberEventKind::Join
        | MemberEventKind::Suspect
        | MemberEventKind::Alive
        | MemberEventKind::Down
        | MemberEventKind::Left
        | MemberEventKind::Restart
        | MemberEventKind::Fenced
        | MemberEventKind::Update => Belief::Is(shown(event.status)),
    }
}
