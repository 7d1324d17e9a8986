//! Direct and indirect probes.

use core::time::Duration;

use heartsay_membership::{Instant, Status};

use super::Swim;
use super::wire::{Claim, Kind};
use crate::models::{INTERVAL, Part, Stage};
use crate::sim_rng::SimRng;

pub(super) struct Probe {
    pub(super) target: usize,
    pub(super) sequence: u32,
    pub(super) indirect_at: Option<Instant>,
    pub(super) end: Instant,
    pub(super) acked: bool,
    pub(super) asked: u32,
    pub(super) nacks: u32,
}

/// A probe made for another member.
pub(super) struct Relay {
    pub(super) origin: usize,
    pub(super) origin_sequence: u32,
    pub(super) sequence: u32,
    pub(super) nack_at: Instant,
}

impl Swim {
    /// Round robin over a shuffled list (SWIM, section 4.3): every member within 2N - 1 periods.
    fn next_target(&mut self) -> Option<usize> {
        for _ in 0..=self.part.nodes {
            if self.place >= self.order.len() {
                let others = self.dice.choose(self.part.nodes, self.part.nodes);
                self.order = others.into_iter().filter(|m| *m != self.part.me).collect();
                self.place = 0;
            }
            let target = self.order.get(self.place).copied()?;
            self.place += 1;
            if self.peers[target].status != Status::Down {
                return Some(target);
            }
        }
        None
    }

    pub(super) fn begin_probe(&mut self, now: Instant, stage: &mut Stage) {
        let interval = self.scaled(INTERVAL);
        self.next_probe = now + interval;
        let Some(target) = self.next_target() else { return };
        self.sequence += 1;
        let sequence = self.sequence;
        // The buddy rule: a suspect is told so with the very probe.
        let peer = &self.peers[target];
        let told = (self.lifeguard && peer.status == Status::Suspect).then_some(Claim {
            member: target,
            status: Status::Suspect,
            incarnation: peer.incarnation,
            from: self.part.me,
        });
        self.send(target, Kind::Ping, sequence, target, told, stage);
        self.probe = Some(Probe {
            target,
            sequence,
            indirect_at: Some(now + self.scaled(PROBE_TIMEOUT)),
            end: now + interval,
            acked: false,
            asked: 0,
            nacks: 0,
        });
    }

    pub(super) fn ask_helpers(&mut self, stage: &mut Stage) {
        let Some(probe) = &self.probe else { return };
        let (target, sequence) = (probe.target, probe.sequence);
        let helpers = self.some(HELPERS, |m, peer| m != target && peer.status == Status::Alive);
        for helper in &helpers {
            self.send(*helper, Kind::PingRequest, sequence, target, None, stage);
        }
        if let Some(probe) = &mut self.probe {
            probe.asked = helpers.len() as u32;
            probe.indirect_at = None;
        }
    }

    pub(super) fn end_probe(&mut self, now: Instant, stage: &mut Stage) {
        let Some(probe) = self.probe.take() else { return };
        if probe.acked {
            self.judge_self(true, 1);
            return;
        }
        if probe.asked > 0 {
            self.judge_self(false, probe.asked.saturating_sub(probe.nacks));
        } else {
            self.judge_self(false, 1);
        }
        let incarnation = self.peers[probe.target].incarnation;
        let from = self.part.me;
        self.learn(now, Claim { member: probe.target, status: Status::Suspect, incarnation, from }, stage);
    }
}

/// Protocol periods, all in step, until the first probe of one member that failed: SWIM's own model of its
/// first detection, drawn `trials` times with the model's own choice of targets.
#[must_use]
pub fn swim_periods_to_first_probe(nodes: usize, trials: usize, dice: &SimRng) -> f64 {
    let part = |me| Part { me, nodes, settle: Duration::ZERO, pause: Duration::ZERO };
    let mut dice = dice.clone();
    let mut total = 0;
    for _ in 0..trials {
        let mut members: Vec<Swim> = (1..nodes)
            .map(|me| {
                let mut own = crate::sim_rng::Seed(dice.word()).dice("swim", 0);
                // Somewhere in their lists.
                let skip = own.below(nodes - 1);
                let mut member = Swim::new(part(me), false, own);
                for _ in 0..skip {
                    let _ = member.next_target();
                }
                member
            })
            .collect();
        total += 1;
        while !members.iter_mut().fold(false, |hit, m| (m.next_target() == Some(0)) | hit) {
            total += 1;
        }
    }
    total as f64 / trials.max(1) as f64
}

/// memberlist's LAN settings.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
const HELPERS: usize = 3;
