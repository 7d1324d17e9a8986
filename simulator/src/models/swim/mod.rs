//! SWIM with suspicion as memberlist runs it, and Lifeguard's three rules on top.
//!
//! From: Das, Gupta, Motivala, *SWIM* (DSN 2002); Dadgar, Phillips, Currey, *Lifeguard* (DSN-W 2018);
//! memberlist's LAN settings. Left out: TCP probes, encryption, join, leave, metadata. Push-pull goes by UDP.

mod news;
mod probe;
mod suspicion;
mod wire;

use core::time::Duration;
use std::collections::VecDeque;

use heartsay_membership::{Instant, Status};

use super::{INTERVAL, Model, Part, Stage};
use crate::sim_rng::SimRng;
use news::{GOSSIP, News, pull_interval};
use probe::{PROBE_TIMEOUT, Probe, Relay};
use suspicion::{Suspicion, confirmations, patience};
use wire::{Claim, Kind, read};

pub use probe::swim_periods_to_first_probe;
pub use suspicion::memberlist_suspicion;

/// One member.
pub(super) struct Swim {
    part: Part,
    lifeguard: bool,
    dice: SimRng,
    peers: Vec<Peer>,
    incarnation: u32,
    /// Lifeguard's local health multiplier, 0 (healthy) to 7.
    health: u32,
    order: Vec<usize>,
    place: usize,
    sequence: u32,
    probe: Option<Probe>,
    relays: VecDeque<Relay>,
    news: Vec<News>,
    next_probe: Instant,
    next_gossip: Instant,
    next_pull: Instant,
}

#[derive(Clone, Debug)]
struct Peer {
    status: Status,
    incarnation: u32,
    suspicion: Option<Suspicion>,
    changed: Instant,
}

impl Swim {
    pub(super) fn new(part: Part, lifeguard: bool, dice: SimRng) -> Self {
        let peer = Peer { status: Status::Alive, incarnation: 0, suspicion: None, changed: Instant::EPOCH };
        Self {
            part,
            lifeguard,
            dice,
            peers: vec![peer; part.nodes],
            incarnation: 0,
            health: 0,
            order: Vec::new(),
            place: 0,
            sequence: 0,
            probe: None,
            relays: VecDeque::new(),
            news: Vec::new(),
            next_probe: Instant::NEVER,
            next_gossip: Instant::NEVER,
            next_pull: Instant::NEVER,
        }
    }

    fn scaled(&self, span: Duration) -> Duration {
        if self.lifeguard { span * (self.health + 1) } else { span }
    }

    fn judge_self(&mut self, better: bool, by: u32) {
        self.health =
            if better { self.health.saturating_sub(by) } else { (self.health + by).min(WORST_HEALTH) };
    }

    /// memberlist's suspectNode, deadNode and aliveNode.
    fn learn(&mut self, now: Instant, claim: Claim, stage: &mut Stage) {
        if claim.member == self.part.me {
            if claim.status != Status::Alive && claim.incarnation >= self.incarnation {
                self.incarnation = claim.incarnation + 1;
                self.judge_self(false, 1);
                let (member, incarnation) = (self.part.me, self.incarnation);
                self.spread(Claim { member, status: Status::Alive, incarnation, from: member });
            }
            return;
        }
        let living = self.living();
        let (lifeguard, nodes) = (self.lifeguard, living);
        let peer = &mut self.peers[claim.member];
        match claim.status {
            Status::Alive | Status::Restarting => {
                if claim.incarnation <= peer.incarnation {
                    return;
                }
                peer.incarnation = claim.incarnation;
                peer.suspicion = None;
                if peer.status != Status::Alive {
                    (peer.status, peer.changed) = (Status::Alive, now);
                    stage.believes(claim.member, Status::Alive);
                }
            }
            Status::Suspect => {
                if claim.incarnation < peer.incarnation || peer.status == Status::Down {
                    return;
                }
                if let Some(suspicion) = &mut peer.suspicion {
                    // Only so many confirmations count, and each accuser once.
                    let most = confirmations(lifeguard, nodes);
                    if suspicion.accusers.contains(&claim.from) || suspicion.accusers.len() > most {
                        return;
                    }
                    suspicion.accusers.push(claim.from);
                    suspicion.deadline =
                        suspicion.since + patience(lifeguard, nodes, suspicion.accusers.len() - 1);
                } else {
                    peer.incarnation = claim.incarnation;
                    let deadline = now + patience(lifeguard, nodes, 0);
                    let accusers = vec![claim.from];
                    peer.suspicion = Some(Suspicion { since: now, accusers, deadline });
                    (peer.status, peer.changed) = (Status::Suspect, now);
                    stage.believes(claim.member, Status::Suspect);
                }
            }
            Status::Down | Status::Left => {
                if claim.incarnation < peer.incarnation || peer.status == Status::Down {
                    return;
                }
                peer.incarnation = claim.incarnation;
                peer.suspicion = None;
                (peer.status, peer.changed) = (Status::Down, now);
                stage.believes(claim.member, Status::Down);
            }
        }
        self.spread(claim);
    }

    fn expire(&mut self, now: Instant, stage: &mut Stage) {
        for member in 0..self.peers.len() {
            let peer = &self.peers[member];
            if peer.suspicion.as_ref().is_some_and(|s| now >= s.deadline) {
                let incarnation = peer.incarnation;
                let from = self.part.me;
                self.learn(now, Claim { member, status: Status::Down, incarnation, from }, stage);
            }
        }
    }

    fn some(&mut self, count: usize, fit: impl Fn(usize, &Peer) -> bool) -> Vec<usize> {
        let me = self.part.me;
        let fit: Vec<usize> =
            (0..self.peers.len()).filter(|m| *m != me && fit(*m, &self.peers[*m])).collect();
        self.dice.choose(fit.len(), count).into_iter().map(|i| fit[i]).collect()
    }

    fn living(&self) -> usize {
        self.peers.iter().filter(|peer| peer.status != Status::Down).count()
    }
}

impl Model for Swim {
    fn begin(&mut self, now: Instant, _: &mut Stage) {
        // memberlist staggers its tickers; members' own starts stagger them here too.
        self.next_probe = now + self.dice.within(INTERVAL);
        self.next_gossip = now + self.dice.within(GOSSIP);
        self.next_pull = now + self.dice.within(pull_interval(self.part.nodes));
    }

    fn datagram(&mut self, now: Instant, from: usize, bytes: &[u8], stage: &mut Stage) {
        let Some((kind, sequence, target, claims)) = read(bytes, self.part.nodes) else { return };
        for mut claim in claims {
            // A full exchange hands on deaths as suspicions (memberlist's mergeState).
            if matches!(kind, Kind::Pull | Kind::Pulled) && claim.status == Status::Down {
                claim.status = Status::Suspect;
            }
            self.learn(now, claim, stage);
        }
        match kind {
            Kind::Ping => self.send(from, Kind::Ack, sequence, self.part.me, None, stage),
            Kind::PingRequest => {
                self.sequence += 1;
                let own = self.sequence;
                let nack_at = now + PROBE_TIMEOUT.mul_f64(0.8);
                self.relays.push_back(Relay {
                    origin: from,
                    origin_sequence: sequence,
                    sequence: own,
                    nack_at,
                });
                self.send(target, Kind::Ping, own, target, None, stage);
            }
            Kind::Ack => {
                if let Some(probe) = self.probe.as_mut().filter(|p| p.sequence == sequence) {
                    probe.acked = true;
                    probe.indirect_at = None;
                } else if let Some(i) = self.relays.iter().position(|r| r.sequence == sequence)
                    && let Some(relay) = self.relays.remove(i)
                {
                    self.send(relay.origin, Kind::Ack, relay.origin_sequence, target, None, stage);
                }
            }
            Kind::Nack => {
                if let Some(probe) = self.probe.as_mut().filter(|p| p.sequence == sequence) {
                    probe.nacks += 1;
                }
            }
            Kind::Pull => self.pull(from, Kind::Pulled, stage),
            Kind::Gossip | Kind::Pulled => {}
        }
    }

    fn timeout(&mut self, now: Instant, stage: &mut Stage) {
        self.expire(now, stage);
        while self.relays.front().is_some_and(|relay| relay.nack_at <= now) {
            if let Some(relay) = self.relays.pop_front()
                && self.lifeguard
            {
                self.send(relay.origin, Kind::Nack, relay.origin_sequence, 0, None, stage);
            }
        }
        if self.probe.as_ref().is_some_and(|p| p.indirect_at.is_some_and(|at| at <= now)) {
            self.ask_helpers(stage);
        }
        if self.probe.as_ref().is_some_and(|p| p.end <= now) {
            self.end_probe(now, stage);
        }
        if self.next_probe <= now {
            self.begin_probe(now, stage);
        }
        if self.next_gossip <= now {
            self.gossip(now, stage);
        }
        if self.next_pull <= now {
            self.next_pull = now + pull_interval(self.part.nodes);
            for to in self.some(1, |_, peer| peer.status == Status::Alive) {
                self.pull(to, Kind::Pull, stage);
            }
        }
    }

    fn wants(&self) -> Instant {
        let probe = self.probe.iter().map(|p| p.indirect_at.unwrap_or(p.end).min(p.end));
        let relay = self.relays.front().map(|relay| relay.nack_at);
        let suspicions = self.peers.iter().filter_map(|peer| peer.suspicion.as_ref()).map(|s| s.deadline);
        let fixed = [self.next_probe, self.next_gossip, self.next_pull];
        probe.chain(relay).chain(suspicions).chain(fixed).min().unwrap_or(Instant::NEVER)
    }
}

const WORST_HEALTH: u32 = 7;
