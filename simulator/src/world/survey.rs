//! What is looked at from time to time: bytes, sides, views, tables, phi.

use heartsay_membership::{Instant, Status};

use super::{SECOND, SimEvent, World};
use crate::checks::{Quorums, Row, Safety};
use crate::host::{owners_word, would_say_held};
use crate::measure::Second;
use crate::oracle::Belief;
use crate::recording::LOOK;

impl World {
    pub(super) fn second(&mut self) {
        let now = self.now;
        let counted = now.since(Instant::EPOCH) >= self.scenario.measure.after.0 + SECOND;
        let mut second = Second { at: (now.as_micros() / 1_000_000) as u32, ..Second::default() };
        let (mut bytes, mut entries) = (0u64, 0usize);
        for (i, h) in self.hosts.iter_mut().enumerate() {
            let sent = std::mem::take(&mut h.second);
            self.measures.bytes_peak = self.measures.bytes_peak.max(sent.bytes);
            second.bytes_max = second.bytes_max.max(sent.bytes);
            if i < self.scenario.start.contacts {
                second.bytes_contact = second.bytes_contact.max(sent.bytes);
            }
            if let Some(process) = &h.process {
                let size = process.node.members();
                second.up += 1;
                second.table_max = second.table_max.max(size as u32);
                (bytes, entries) = (bytes + u64::from(sent.bytes), entries + size);
            }
            if counted && h.process.is_some() && now.since(h.started) >= SECOND {
                self.measures.bytes.push(sent.bytes);
                self.measures.datagrams += u64::from(sent.datagrams);
            }
        }
        let up = f64::from(second.up.max(1));
        second.bytes_mean = (bytes as f64 / up) as f32;
        second.table_mean = (entries as f64 / up) as f32;
        second.ghosts = self.board.ghosts() as u32;
        self.measures.seconds.push(second);
        self.check_sides();
        (0..self.hosts.len()).for_each(|observer| self.check_put_out(observer));
        let seconds = now.as_micros() / 1_000_000;
        if self.unformed > 0 {
            self.view_sizes.extend(self.board.view_sizes());
        }
        let nodes = self.hosts.len();
        let watched = (INSPECTED_ROWS / nodes.max(1)).clamp(2, nodes.max(2)).min(nodes);
        let ages = counted && seconds.is_multiple_of(AGES_EVERY);
        for i in 0..watched {
            self.inspect(i * nodes / watched, ages);
        }
        self.queue.push(now + SECOND, SimEvent::Second);
    }

    /// At most one side of each cut holds quorum, as soon as the bound on saying so has passed.
    pub(super) fn check_sides(&mut self) {
        if !self.scenario.check.sides {
            return;
        }
        let within =
            self.scenario.check.quorum_within.map_or(self.config.lease().mul_f64(CLOCK_RATES), |w| w.0);
        let acts = |member| would_say_held(&self.hosts, member, self.now);
        self.quorums.sides(&mut self.violations, self.now, &self.network, &self.cut_since, within, acts);
    }

    /// Whoever `observer`, holding quorum, has for down does not hold it too: not for a moment where it is kept out, for
    /// the acceptable pause at the most where it was called down as silent and runs all the same.
    pub(super) fn check_put_out(&mut self, observer: usize) {
        let now = self.now;
        if !self.scenario.check.sides || self.hosts[observer].subject != observer {
            return;
        }
        let Some(process) = &self.hosts[observer].process else { return };
        let local = Instant::from_micros(process.clock.read(now));
        let Some(node) = process.node.real().filter(|node| node.census().down > 0) else { return };
        if !would_say_held(&self.hosts, observer, now) {
            return;
        }
        let out = |name| {
            let member = node.member(local, name)?;
            let since = local.since(member.since) >= self.config.acceptable_pause;
            (since || member.kept_out.is_some()).then_some(member.generation)
        };
        let down = node.summaries().filter(|glance| glance.status == Status::Down);
        for (name, generation) in down.filter_map(|glance| Some((glance.name, out(glance.name)?))) {
            let Some(subject) = self.oracle.find(name) else { continue };
            if owners_word(&self.hosts, subject).is_some_and(|(life, _)| life == generation) {
                let acts = |member| would_say_held(&self.hosts, member, now);
                Quorums::put_out(&mut self.violations, now, observer, subject, acts);
            }
        }
    }

    /// Nobody whose lease `observer` could prove to have run out still holds one, whether or not it says so.
    pub(super) fn check_fences(&mut self, observer: usize) {
        let Some(process) = &self.hosts[observer].process else { return };
        let Some(node) = process.node.real() else { return };
        let local = Instant::from_micros(process.clock.read(self.now));
        for subject in (0..self.hosts.len()).filter(|subject| *subject != observer) {
            if node.lease_ran_out(local, &self.hosts[subject].name) {
                let acts = |member| would_say_held(&self.hosts, member, self.now);
                Quorums::fenced(&mut self.violations, self.now, observer, subject, acts);
            }
        }
    }

    pub(super) fn sample(&mut self) {
        let (running, agreeing) = self.board.majority();
        let off = running - agreeing;
        let dt = self.now.since(self.sampled).as_secs_f64();
        self.sampled = self.now;
        // While the cluster forms, views differ by nature.
        if self.unformed == 0 {
            self.measures.divergence += off as f64 * dt;
        }
        self.note_states();
        let at = self.now.since(Instant::EPOCH).as_secs_f32();
        self.measures.disagreement.push((at, off as u32, self.board.wrong() as u32));
        self.queue.push(self.now + self.scenario.measure.every.0, SimEvent::Sample);
    }

    /// Who has the whole state of all by now. Nobody knows a version that its owner does not have, so sums tell.
    fn note_states(&mut self) {
        if self.scenario.start.state == 0 || self.now < self.formed_from {
            return;
        }
        let nodes = || self.hosts.iter().map(|h| h.process.as_ref().and_then(|process| process.node.real()));
        let all: u64 = nodes().flatten().map(|node| node.own().version).sum();
        let whole = nodes().map(|node| {
            node.is_some_and(|node| node.summaries().map(|glance| glance.version).sum::<u64>() == all)
        });
        let whole: Vec<bool> = whole.collect();
        for marks in self.marks.iter_mut().zip(whole).filter(|(marks, whole)| *whole && !marks.stated) {
            let (marks, _) = marks;
            marks.stated = true;
            match &marks.newcomer {
                Some(newcomer) => {
                    self.measures.newcomer_states.push(self.now.since(newcomer.since).as_secs_f32());
                }
                None => self.measures.states.push(self.now.since(self.formed_from).as_secs_f32()),
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
        let name = self.hosts[observer].name.as_str();
        let own = self.hosts[observer].subject == observer;
        for glance in process.node.summaries() {
            let claim = (glance.name, glance.generation, glance.heartbeat);
            let owner = |host: usize| owners_word(&self.hosts, host);
            let subject = Safety::claim(&mut self.violations, now, name, claim, &mut self.oracle, owner);
            let Some(subject) = subject else { continue };
            let (generation, heartbeat) = (glance.generation, glance.heartbeat);
            let row = Row { subject, generation, heartbeat, belief: Belief::Is(glance.status) };
            self.safety.row(&mut self.violations, now, observer, &row);
            if !own || subject == observer {
                continue;
            }
            Safety::told(&mut self.violations, now, observer, &row, self.board.belief(observer, subject));
            if ages
                && self.oracle.members()[subject].up
                && let Some((current, latest)) = owners_word(&self.hosts, subject)
                && current == generation
            {
                let age = latest.saturating_sub(heartbeat);
                self.measures.ages.push(u16::try_from(age).unwrap_or(u16::MAX));
            }
        }
    }
}

/// Table rows looked at per virtual second: enough to bite, cheap enough to leave on.
const INSPECTED_ROWS: usize = 1024;
/// Seconds between two looks at the ages of heartbeats.
const AGES_EVERY: u64 = 5;
/// Clocks may run 1 % off: what one calls a second, another calls up to 1.02.
const CLOCK_RATES: f64 = 1.02;
