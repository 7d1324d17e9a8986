//! What members say is written down and compared with the truth.

use core::time::Duration;

use heartsay_membership::{Event, Instant, MemberEvent, MemberEventKind, Name, Status};

use super::World;
use crate::checks::{Quorums, Safety};
use crate::host::owners_word;
use crate::host::would_say_held;
use crate::oracle::{Belief, GRACE, Life};
use crate::recording::Told;
use crate::trace::WORLD;

impl World {
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
                    self.record(|film| film.tell(now, Told::Quorum(host, status.quorum)));
                    // Before, for one that says late that it has lost; after, for one that says too soon that it holds.
                    self.check_sides();
                    self.quorums.says(&mut self.violations, now, host, &status);
                    self.check_sides();
                    (0..self.hosts.len()).for_each(|observer| self.check_put_out(observer));
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
            Event::Agreed(names) => {
                self.trace.say(now, name.as_str(), || format!("agrees on {}", listed(&names)));
                self.hosts[host].agreed = names;
            }
            Event::LeaveDone { acknowledged, asked } => {
                self.trace.say(now, name.as_str(), || format!("has left; {acknowledged} of {asked} know"));
                self.stop(host, false);
            }
            Event::Joined { members } => {
                self.trace.say(now, name.as_str(), || format!("joined: {members} members"));
            }
            Event::NameRefused { holder, .. } => {
                self.trace.say(now, name.as_str(), || format!("is refused: host {holder} holds the name"));
                self.stop(host, false);
            }
            Event::Outside(outside) => {
                self.trace.say(now, name.as_str(), || match outside {
                    Some(outside) => format!("is out: {outside}"),
                    None => "is in again".to_owned(),
                });
            }
            Event::ClockRefused => self.trace.say(now, name.as_str(), || "clock refused by peers".to_owned()),
            Event::PathLimited { to, narrow } => {
                self.trace.say(now, name.as_str(), || format!("path to {to} is narrow: {narrow}"));
            }
            Event::Isolated(isolated) => {
                self.trace.say(now, name.as_str(), || format!("isolated: {isolated}"));
            }
            Event::Stalled(by) => self.trace.say(now, name.as_str(), || format!("stalled for {by:?}")),
        }
    }

    fn note_member(&mut self, observer: usize, name: &Name, own: bool, event: &MemberEvent) {
        let now = self.now;
        self.trace.member(now, observer, name.as_str(), event);
        if event.kind == MemberEventKind::Down && event.status == Status::Down {
            self.record(|film| film.tell(now, Told::Down(observer)));
        }
        let hosts = &self.hosts;
        let claim = (&event.name, event.generation, event.heartbeat);
        let owner = |host: usize| owners_word(hosts, host);
        let subject = Safety::claim(&mut self.violations, now, name.as_str(), claim, &mut self.oracle, owner);
        let Some(subject) = subject.filter(|&s| own && s != observer) else { return };
        let belief = match event.kind {
            MemberEventKind::Forgotten => Belief::Unknown,
            MemberEventKind::Join
            | MemberEventKind::Suspect
            | MemberEventKind::Alive
            | MemberEventKind::Down
            | MemberEventKind::Left
            | MemberEventKind::Restart
            | MemberEventKind::Fenced
            | MemberEventKind::Update => Belief::Is(event.status),
        };
        if event.fenced == Some(true) {
            self.fenced(observer, subject);
        }
        let old = self.board.belief(observer, subject);
        self.board.set(now, observer, subject, belief);
        if old != belief {
            self.record(|film| film.believes(now, observer, subject, old, belief));
        }
        if old.down() != belief.down() {
            self.removed(observer, subject);
        }
        if belief.present() {
            self.known(observer, subject, event.generation);
        }
        if old == belief {
            return;
        }
        let truth = &self.oracle.members()[subject];
        let current = truth.lives.iter().rev().find(|life| life.host == subject).map(|life| life.generation);
        if current != Some(event.generation) {
            return;
        }
        let down = belief == Belief::Is(Status::Down);
        if (down || belief == Belief::Is(Status::Suspect))
            && let Some(episode) = self.marks[subject].episode
        {
            self.measures.episodes[episode].noticed(observer, now, down);
        }
        if belief == Belief::Is(Status::Suspect)
            && truth.up
            && !truth.in_trouble(now)
            && !self.network.apart(observer, subject, now, GRACE)
        {
            self.measures.false_suspicions += 1;
        }
        if down && truth.up {
            self.mistaken(observer, subject);
        }
        let marks = &mut self.marks[subject];
        let was_down = old == Belief::Is(Status::Down);
        if was_down
            && belief.present()
            && marks.down.is_some_and(|at| now.since(at) <= NEEDLESS)
            && !marks.back
        {
            marks.back = true;
            self.measures.needless_evictions += 1;
        }
    }

    /// `observer` says that the lease of `subject` has run out for certain, whichever its life.
    fn fenced(&mut self, observer: usize, subject: usize) {
        let now = self.now;
        let acts = |member| would_say_held(&self.hosts, member, now);
        Quorums::fenced(&mut self.violations, now, observer, subject, acts);
        if let Some(episode) = self.marks[subject].episode {
            self.measures.episodes[episode].fenced_by(observer, now);
        }
    }

    /// `observer` has just changed its mind about `subject`, and with it perhaps the majority.
    fn removed(&mut self, observer: usize, subject: usize) {
        let (now, out) = (self.now, self.board.is_out(subject));
        let marks = &mut self.marks[subject];
        if std::mem::replace(&mut marks.out, out) || !out {
            return;
        }
        let truth = &self.oracle.members()[subject];
        if let Some(episode) = marks.episode.and_then(|episode| self.measures.episodes.get_mut(episode)) {
            episode.outs.push(now.since(episode.onset).as_secs_f32());
        } else if truth.up && !truth.in_trouble(now) && !self.network.apart(observer, subject, now, GRACE) {
            self.measures.healthy_removed += 1;
            self.trace.say(now, WORLD, || format!("most hold n{subject} for down, which is fine"));
        }
    }

    /// `observer` calls down a member that is up.
    fn mistaken(&mut self, observer: usize, subject: usize) {
        let now = self.now;
        self.measures.called_down += 1;
        self.check_put_out(observer);
        let promised = self.scenario.check.sides && !self.keeps_out(observer, subject);
        if promised && self.network.apart(observer, subject, now, Duration::ZERO) {
            let acts = |member| would_say_held(&self.hosts, member, now);
            self.quorums.verdict(&mut self.violations, now, observer, subject, acts);
        }
        let marks = &mut self.marks[subject];
        if marks.down.is_none_or(|at| now.since(at) > NEEDLESS) {
            marks.back = false;
        }
        marks.down = Some(now);
        let members = self.oracle.members();
        if members[subject].in_trouble(now) || self.network.apart(observer, subject, now, GRACE) {
            return;
        }
        self.measures.false_positives += 1;
        if !members[observer].in_trouble(now) {
            self.measures.false_positives_by_healthy += 1;
        }
        if marks.evicted.is_none_or(|at| now.since(at) > NEEDLESS) {
            self.measures.healthy_evicted += 1;
        }
        marks.evicted = Some(now);
    }

    /// Whether `observer` calls `subject` down though it may live, since it is of no use: such a verdict is looked at by
    /// [`World::check_put_out`], cut or no cut.
    fn keeps_out(&self, observer: usize, subject: usize) -> bool {
        let Some(process) = &self.hosts[observer].process else { return false };
        let local = Instant::from_micros(process.clock.read(self.now));
        let name = &self.hosts[subject].name;
        process.node.real().and_then(|node| node.member(local, name)).is_some_and(|m| m.kept_out.is_some())
    }

    /// `observer` has `subject` in its view.
    fn known(&mut self, observer: usize, subject: usize, generation: u64) {
        let now = self.now;
        // Whoever starts later cannot have known it before.
        let began = self.marks[observer].newcomer.as_ref().map_or(Instant::EPOCH, |n| n.since);
        if let Some(newcomer) = &mut self.marks[subject].newcomer
            && generation >= newcomer.generation
            && newcomer.known.insert(observer)
        {
            let took = now.since(newcomer.since.max(began));
            self.measures.newcomer_known.push(took.as_secs_f32());
        }
        if self.board.view_size(observer) < self.live {
            return;
        }
        let marks = &mut self.marks[observer];
        if let Some(newcomer) = marks.newcomer.as_mut().filter(|n| !n.full) {
            newcomer.full = true;
            self.measures.newcomer_full.push(now.since(newcomer.since).as_secs_f32());
        }
        if now >= self.formed_from && observer < self.scenario.nodes && !marks.formed {
            marks.formed = true;
            self.unformed -= 1;
            let took = now.since(self.formed_from);
            self.measures.formation_each.push(took.as_secs_f32());
            if self.unformed == 0 {
                self.measures.formation = Some(took);
                self.trace.say(now, WORLD, || format!("formed {took:?} after the last start"));
            }
        }
    }
}

fn listed(names: &[Name]) -> String {
    match names {
        [] => "nobody any more".to_owned(),
        names => names.iter().map(Name::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// Called down and back within this is a needless eviction (as in the targets).
const NEEDLESS: Duration = Duration::from_secs(10);
