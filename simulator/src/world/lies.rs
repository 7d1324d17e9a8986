//! A member lies: its true machine runs on, and what it says beside that goes out too.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use heartsay_membership::Instant;

use super::{SimEvent, World};
use crate::faults::FaultAction;
use crate::liar::{Letter, Liar};
use crate::network::HEADER;

impl World {
    pub(crate) fn begin_lies(&mut self, fault: usize, member: usize, until: Instant) {
        let Some(f) = self.scenario.faults.get(fault).cloned() else { return };
        if self.hosts[member].process.is_none() {
            return;
        }
        self.chronicle.struck(self.now, fault, member);
        self.disturb(|| format!("n{member} begins to lie"));
        // What it does to itself is nobody's harm, then and later.
        self.oracle.truth(member).strike();
        let about = f.about.as_ref().map(|who| self.choose(Some(who), f.pick, &[member]));
        let dice = self.seed.dice("liar", member as u64);
        let liar = Liar::new(
            member,
            f.lies.unwrap_or_default(),
            about.unwrap_or_default(),
            f.forge_source,
            Arc::clone(&self.config),
            dice,
        );
        self.hosts[member].liar = Some(Box::new(liar));
        self.at(self.now, FaultAction::Lie { fault, member, until });
    }

    pub(crate) fn tell_lie(&mut self, fault: usize, member: usize, until: Instant) {
        let every = self.scenario.faults.get(fault).and_then(|f| f.every).map_or(EVERY, |every| every.0);
        if self.now >= until {
            self.chronicle.relieved(self.now, fault);
            self.disturb(|| format!("n{member} lies no more"));
            // It stays one whose vote may count, and that is not judged.
            if let Some(liar) = &mut self.hosts[member].liar {
                liar.repent();
            }
            return;
        }
        self.at((self.now + every).min(until), FaultAction::Lie { fault, member, until });
        let Some(mut liar) = self.hosts[member].liar.take() else { return };
        if let Some(process) = &self.hosts[member].process {
            for row in process.node.summaries() {
                if let Some(other) = self.oracle.find(row.name) {
                    liar.sees(other, row.heartbeat, row.status);
                }
            }
            let (lie, letters) = liar.lie(self.hosts[member].wall.read(self.now) / 1000);
            if let Some(lie) = lie {
                let (now, name) = (self.now, self.hosts[member].name.clone());
                let to: Vec<usize> = letters.iter().map(|letter| letter.to).collect();
                self.trace.say(now, name.as_str(), || format!("lies ({lie}) to {to:?}"));
            }
            letters.into_iter().for_each(|letter| self.post(member, letter));
        }
        self.hosts[member].liar = Some(liar);
    }

    /// A datagram came for a member that lies.
    pub(super) fn hear_as_liar(&mut self, member: usize, from: usize, bytes: &Bytes) {
        let Some(mut liar) = self.hosts[member].liar.take() else { return };
        let letters = liar.hear(from, bytes);
        self.hosts[member].liar = Some(liar);
        letters.into_iter().for_each(|letter| self.post(member, letter));
    }

    /// A forged datagram takes the way from the member that lies, whatever source it shows.
    fn post(&mut self, member: usize, letter: Letter) {
        let Letter { to, from, bytes } = letter;
        let second = &mut self.hosts[member].second;
        second.bytes += (bytes.len() + HEADER) as u32;
        // It may have learnt addresses from its own lies, at which nobody is.
        if to == member || to.max(from) >= self.hosts.len() {
            return;
        }
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.network.carry(self.now, member, to, &bytes, &mut arrivals);
        for (delay, bytes) in arrivals.drain(..) {
            self.queue.push(self.now + delay, SimEvent::Arrive { to, from, bytes, stamp: None });
        }
        self.arrivals = arrivals;
    }
}

/// From one lie to the next.
const EVERY: Duration = Duration::from_millis(500);
