//! What is looked at from time to time: bytes, sides, views, tables, phi.

use heartsay_membership::{Instant, Node, Status};

use super::{SECOND, SimEvent, World};
use crate::checks::Row;
use crate::host::owners_word;
use crate::measure::Second;
use crate::oracle::Belief;
use crate::recording::LOOK;

impl World {
    pub(super) fn second(&mut self) {
        let now = self.now;
        let counted = now.since(Instant::EPOCH) >= self.scenario.measure.after.0 + SECOND;
        self.count_traffic(counted);
        self.check_quorum();
        self.compare();
        if self.meter.is_forming() {
            self.meter.view_sizes(self.board.view_sizes());
        }
        let seconds = now.as_micros() / 1_000_000;
        let nodes = self.hosts.len();
        let watched = (INSPECTED_ROWS / nodes.max(1)).clamp(2, nodes.max(2)).min(nodes);
        let ages = counted && seconds.is_multiple_of(AGES_EVERY);
        for i in 0..watched {
            self.inspect(i * nodes / watched, ages);
        }
        self.queue.push(now + SECOND, SimEvent::Second);
    }

    /// What each host sent in the second that is over, and how large tables are.
    fn count_traffic(&mut self, counted: bool) {
        let now = self.now;
        let mut second = Second { at: (now.as_micros() / 1_000_000) as u32, ..Second::default() };
        let (mut bytes, mut entries) = (0u64, 0usize);
        for (i, h) in self.hosts.iter_mut().enumerate() {
            let sent = std::mem::take(&mut h.second);
            self.meter.peak(sent.bytes);
            second.bytes_max = second.bytes_max.max(sent.bytes);
            if i < self.scenario.start.contacts {
                second.bytes_contact = second.bytes_contact.max(sent.bytes);
            }
            let Some(process) = &h.process else { continue };
            let size = process.node.members();
            second.up += 1;
            second.table_max = second.table_max.max(size as u32);
            (bytes, entries) = (bytes + u64::from(sent.bytes), entries + size);
            if counted && now.since(h.started) >= SECOND {
                self.meter.traffic(i, sent.bytes, sent.datagrams);
            }
        }
        let up = f64::from(second.up.max(1));
        second.bytes_mean = (bytes as f64 / up) as f32;
        second.table_mean = (entries as f64 / up) as f32;
        second.ghosts = self.board.ghosts() as u32;
        self.meter.second(second);
    }

    /// No two that must not act both do.
    pub(super) fn check_quorum(&mut self) {
        self.judge.sides(self.now, &self.network, &self.hosts);
        for observer in 0..self.hosts.len() {
            self.judge.put_out(self.now, observer, &self.hosts, &self.oracle);
        }
    }

    pub(super) fn sample(&mut self) {
        let (running, agreeing) = self.board.majority();
        self.meter.disagreement(self.now, running - agreeing, self.board.wrong());
        self.note_states();
        self.look_for_harm();
        self.queue.push(self.now + self.scenario.measure.every.0, SimEvent::Sample);
    }

    /// Which members have the whole state of all by now. No member knows a version that its owner does not have, so sums tell.
    fn note_states(&mut self) {
        if self.scenario.start.state == 0 || !self.meter.all_have_started(self.now) {
            return;
        }
        let nodes = || self.hosts.iter().map(|h| h.process.as_ref().and_then(|process| process.node.real()));
        let all: u64 = nodes().flatten().map(|node| node.own().version).sum();
        for (member, node) in nodes().enumerate() {
            let known = |node: &Node| node.summaries().map(|summary| summary.version).sum::<u64>();
            if node.is_some_and(|node| known(node) == all) {
                self.meter.has_all_states(self.now, member);
            }
        }
    }

    pub(super) fn look(&mut self) {
        let now = self.now;
        self.queue.push(now + LOOK, SimEvent::Look);
        let Some((observer, subject)) = self.recording.as_ref().and_then(|film| film.pair) else { return };
        let Some(name) = self.hosts.get(subject).map(|h| h.name.clone()) else { return };
        let Some(process) = self.hosts.get(observer).and_then(|h| h.process.as_ref()) else { return };
        let local = Instant::from_micros(process.clock.read(now));
        if let Some(view) = process.node.real().and_then(|node| node.member(local, &name)) {
            self.record(|film| film.sample(now, view.phi));
        }
    }

    /// Looks at the whole table of `observer`.
    pub(super) fn inspect(&mut self, observer: usize, ages: bool) {
        let now = self.now;
        let Some(process) = &self.hosts[observer].process else { return };
        let name = &self.hosts[observer].name;
        let own = self.hosts[observer].subject == observer;
        for summary in process.node.summaries() {
            let (generation, heartbeat) = (summary.generation, summary.heartbeat);
            let claim = (summary.name, generation, heartbeat);
            let subject = self.judge.claim(now, name, claim, &mut self.oracle, &self.hosts);
            let Some(subject) = subject else { continue };
            // A restart that was announced is no event.
            let status = if summary.status == Status::Restarting { Status::Alive } else { summary.status };
            let row = Row { subject, generation, heartbeat, belief: Belief::Is(status) };
            self.judge.row(now, observer, &row);
            if !own || subject == observer {
                continue;
            }
            self.judge.told(now, observer, &row, self.board.belief(observer, subject));
            if ages
                && self.oracle.members()[subject].up
                && let Some((current, latest)) = owners_word(&self.hosts, subject)
                && current == generation
            {
                self.meter.age(latest.saturating_sub(heartbeat));
            }
        }
    }
}

/// Table rows looked at per virtual second: enough to bite, cheap enough to leave on.
const INSPECTED_ROWS: usize = 1024;
/// Seconds between two looks at the ages of heartbeats.
const AGES_EVERY: u64 = 5;
