//! SWIM with suspicion as memberlist runs it, and Lifeguard's three rules on top.
//!
//! From: Das, Gupta, Motivala, *SWIM* (DSN 2002); Dadgar, Phillips, Currey, *Lifeguard* (DSN-W 2018);
//! memberlist's LAN settings. Left out: TCP probes, encryption, join, leave, metadata. Push-pull goes by UDP.

use core::time::Duration;
use std::collections::VecDeque;

use heartsay_membership::{Instant, Status};

use super::{INTERVAL, Model, Part, Stage};
use crate::dice::Dice;

/// One member.
pub(super) struct Swim {
    part: Part,
    lifeguard: bool,
    dice: Dice,
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

#[derive(Clone, Debug)]
struct Suspicion {
    since: Instant,
    accusers: Vec<usize>,
    deadline: Instant,
}

struct Probe {
    target: usize,
    sequence: u32,
    indirect_at: Option<Instant>,
    end: Instant,
    acked: bool,
    asked: u32,
    nacks: u32,
}

/// A probe made for somebody else.
struct Relay {
    origin: usize,
    origin_sequence: u32,
    sequence: u32,
    nack_at: Instant,
}

/// A claim on its way to everybody.
#[derive(Clone, Copy, Debug)]
struct News {
    claim: Claim,
    sent: u32,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    member: usize,
    status: Status,
    incarnation: u32,
    from: usize,
}

impl Swim {
    pub(super) fn new(part: Part, lifeguard: bool, dice: Dice) -> Self {
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

    fn begin_probe(&mut self, now: Instant, stage: &mut Stage) {
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

    fn ask_helpers(&mut self, stage: &mut Stage) {
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

    fn end_probe(&mut self, now: Instant, stage: &mut Stage) {
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
            Status::Alive => {
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

    fn spread(&mut self, claim: Claim) {
        self.news.retain(|news| {
            news.claim.member != claim.member
                || news.claim.from != claim.from
                    && news.claim.status == Status::Suspect
                    && claim.status == Status::Suspect
        });
        self.news.push(News { claim, sent: 0 });
    }

    fn send(
        &mut self,
        to: usize,
        kind: Kind,
        sequence: u32,
        target: usize,
        first: Option<Claim>,
        stage: &mut Stage,
    ) {
        let mut bytes = vec![kind as u8];
        bytes.extend(sequence.to_le_bytes());
        bytes.extend((target as u16).to_le_bytes());
        if let Some(claim) = first {
            put(&mut bytes, claim);
        }
        // Each claim is handed on 4 · ceil(log10(N + 1)) times, the least told first.
        let times = RETRANSMIT * libm::ceil(libm::log10(self.living() as f64 + 1.0)) as u32;
        self.news.sort_by_key(|news| news.sent);
        for news in self.news.iter_mut().take(MOST_CLAIMS) {
            put(&mut bytes, news.claim);
            news.sent += 1;
        }
        self.news.retain(|news| news.sent < times);
        stage.send(to, bytes.into());
    }

    fn pull(&mut self, to: usize, kind: Kind, stage: &mut Stage) {
        let all: Vec<Claim> = (0..self.peers.len())
            .map(|member| {
                let peer = &self.peers[member];
                let own = member == self.part.me;
                let incarnation = if own { self.incarnation } else { peer.incarnation };
                Claim { member, status: peer.status, incarnation, from: self.part.me }
            })
            .collect();
        for (i, part) in all.chunks(MOST_CLAIMS).enumerate() {
            // Only the first datagram asks for an answer.
            let kind = if i == 0 { kind } else { Kind::Pulled };
            let mut bytes = vec![kind as u8, 0, 0, 0, 0, 0, 0];
            part.iter().for_each(|claim| put(&mut bytes, *claim));
            stage.send(to, bytes.into());
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

    fn gossip(&mut self, now: Instant, stage: &mut Stage) {
        self.next_gossip = now + GOSSIP;
        if self.news.is_empty() {
            return;
        }
        let recent = |peer: &Peer| peer.status != Status::Down || now.since(peer.changed) < GOSSIP_TO_DEAD;
        for to in self.some(FANOUT, |_, peer| recent(peer)) {
            if !self.news.is_empty() {
                self.send(to, Kind::Gossip, 0, 0, None, stage);
            }
        }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ping,
    Ack,
    PingRequest,
    Nack,
    Gossip,
    Pull,
    Pulled,
}

fn put(bytes: &mut Vec<u8>, claim: Claim) {
    bytes.extend((claim.member as u16).to_le_bytes());
    bytes.push(match claim.status {
        Status::Alive => 0,
        Status::Suspect => 1,
        Status::Down | Status::Left => 2,
    });
    bytes.extend(claim.incarnation.to_le_bytes());
    bytes.extend((claim.from as u16).to_le_bytes());
}

/// Kind, sequence, target and claims; `None` for what no model wrote (bits flip in some scenarios).
fn read(bytes: &[u8], nodes: usize) -> Option<(Kind, u32, usize, Vec<Claim>)> {
    let ([kind, head @ ..], claims) = bytes.split_first_chunk::<7>()?;
    let kinds =
        [Kind::Ping, Kind::Ack, Kind::PingRequest, Kind::Nack, Kind::Gossip, Kind::Pull, Kind::Pulled];
    let kind = kinds.get(usize::from(*kind)).copied()?;
    let [a, b, c, d, e, f] = *head;
    let target = usize::from(u16::from_le_bytes([e, f]));
    let claim = |chunk: &[u8]| {
        let [a, b, status, i, j, k, l, m, n] = *<&[u8; 9]>::try_from(chunk).ok()?;
        Some(Claim {
            member: usize::from(u16::from_le_bytes([a, b])),
            status: [Status::Alive, Status::Suspect, Status::Down].get(usize::from(status)).copied()?,
            incarnation: u32::from_le_bytes([i, j, k, l]),
            from: usize::from(u16::from_le_bytes([m, n])),
        })
    };
    let claims: Option<Vec<Claim>> = claims.chunks(9).map(claim).collect();
    let claims = claims?;
    let known = claims.iter().all(|c| c.member < nodes && c.incarnation < u32::MAX / 2);
    (target < nodes && known).then_some((kind, u32::from_le_bytes([a, b, c, d]), target, claims))
}

/// How long a suspicion lasts after so many confirmations.
fn patience(lifeguard: bool, nodes: usize, confirmed: usize) -> Duration {
    let least = memberlist_suspicion(nodes);
    let most = confirmations(lifeguard, nodes);
    if most == 0 {
        return least;
    }
    let longest = least * SUSPICION_LONGEST;
    let share = libm::log(confirmed as f64 + 1.0) / libm::log(most as f64 + 1.0);
    longest.saturating_sub((longest - least).mul_f64(share.min(1.0))).max(least)
}

fn confirmations(lifeguard: bool, nodes: usize) -> usize {
    let wanted = SUSPICION as usize - 2;
    if lifeguard && nodes.saturating_sub(2) >= wanted { wanted } else { 0 }
}

/// memberlist's suspicion time-out without Lifeguard: `4 · max(1, log10(N)) · 1 s`.
#[must_use]
pub fn memberlist_suspicion(nodes: usize) -> Duration {
    INTERVAL.mul_f64(SUSPICION * libm::log10(nodes.max(1) as f64).max(1.0))
}

/// The push-pull interval stretches beyond 32 members (memberlist's pushPullScale).
fn pull_interval(nodes: usize) -> Duration {
    let scale = (libm::ceil(libm::log2(nodes.max(1) as f64) - 5.0).max(0.0)) as u32 + 1;
    Duration::from_secs(30) * scale
}

/// Protocol periods, all in step, until anybody probes one member that failed: SWIM's own model of its
/// first detection, drawn `trials` times with the model's own choice of targets.
#[must_use]
pub fn swim_periods_to_first_probe(nodes: usize, trials: usize, dice: &Dice) -> f64 {
    let part = |me| Part { me, nodes, settle: Duration::ZERO, pause: Duration::ZERO };
    let mut dice = dice.clone();
    let mut total = 0;
    for _ in 0..trials {
        let mut members: Vec<Swim> = (1..nodes)
            .map(|me| {
                let mut own = crate::dice::Seed(dice.word()).dice("swim", 0);
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
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
const HELPERS: usize = 3;
const SUSPICION: f64 = 4.0;
const SUSPICION_LONGEST: u32 = 6;
const RETRANSMIT: u32 = 4;
const GOSSIP: Duration = Duration::from_millis(200);
const FANOUT: usize = 3;
const GOSSIP_TO_DEAD: Duration = Duration::from_secs(30);
const WORST_HEALTH: u32 = 7;
/// Claims that fit a datagram of 1,400 bytes.
const MOST_CLAIMS: usize = 140;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmations_shorten_a_suspicion_along_lifeguards_curve() {
        // N = 128, alpha 4, beta 6, K 2: from 50.57 s over 21.9 s (log 2 / log 3 of the way) to 8.43 s.
        let seconds = |c| patience(true, 128, c).as_secs_f64();
        let least = 4.0 * 128f64.log10();
        assert!((seconds(0) - 6.0 * least).abs() < 1e-6);
        assert!((seconds(1) - (6.0 * least - 5.0 * least * 2f64.ln() / 3f64.ln())).abs() < 1e-6);
        assert!((seconds(2) - least).abs() < 1e-6 && (seconds(9) - least).abs() < 1e-6);
        assert_eq!(patience(false, 128, 0), memberlist_suspicion(128), "plain SWIM waits for nobody");
    }

    #[test]
    fn claims_come_back_as_they_were_written() {
        let mut bytes = vec![Kind::Ack as u8, 7, 0, 0, 0, 3, 0];
        put(&mut bytes, Claim { member: 2, status: Status::Suspect, incarnation: 9, from: 1 });
        let (kind, sequence, target, claims) = read(&bytes, 4).expect("sound");
        assert_eq!((kind, sequence, target), (Kind::Ack, 7, 3));
        assert_eq!((claims[0].member, claims[0].incarnation, claims[0].from), (2, 9, 1));
        assert!(read(&bytes, 2).is_none() && read(&bytes[..12], 4).is_none() && read(&[9; 7], 4).is_none());
    }
}
