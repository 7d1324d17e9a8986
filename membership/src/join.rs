//! Finding the others: seeds are dialled for ever, and a newcomer pulls the
//! roster in parts from several members at once.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;
use rand::RngExt;

use crate::Instant;
use crate::claims::is_other;
use crate::contact::{Contact, Kind};
use crate::io::{Event, Rejected};
use crate::member::Member;
use crate::node::Node;
use crate::peers;
use crate::wire::Detail;

/// How far we are with finding the others.
#[derive(Debug)]
pub struct Join {
    seeds: Vec<SocketAddr>,
    dial_at: Instant,
    attempts: u32,
    phase: Phase,
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody but ourselves is known and nobody is to be looked for.
    Alone,
    /// Nobody has answered yet.
    Looking,
    /// The roster is being pulled.
    Pulling,
    /// A complete view was seen.
    Joined,
}

/// A part of the roster that is being pulled: hashes from `next` up to `until` (0: the end).
#[derive(Clone, Copy, Debug)]
struct Segment {
    next: u64,
    until: u64,
    done: bool,
}

impl Join {
    pub fn new(now: Instant) -> Self {
        Self { seeds: Vec::new(), dial_at: now, attempts: 0, phase: Phase::Alone, segments: Vec::new() }
    }

    pub fn is_joined(&self) -> bool {
        matches!(self.phase, Phase::Alone | Phase::Joined)
    }

    pub fn next(&self) -> Instant {
        if self.seeds.is_empty() { Instant::NEVER } else { self.dial_at }
    }

    /// Replaces the addresses at which others may be found.
    pub fn set_seeds(&mut self, now: Instant, seeds: Vec<SocketAddr>, mine: SocketAddr) {
        let new: Vec<_> = seeds.into_iter().filter(|seed| *seed != mine).collect();
        if new.iter().any(|seed| !self.seeds.contains(seed)) {
            self.dial_at = now;
            self.attempts = 0;
        }
        self.seeds = new;
        self.settle_phase();
    }

    /// That address is our own.
    pub fn drop_address(&mut self, address: SocketAddr) {
        self.seeds.retain(|seed| *seed != address);
        self.settle_phase();
    }

    /// Somebody was heard of while nobody was looked for: others found us.
    pub fn heard_of_somebody(&mut self) {
        if self.phase == Phase::Alone {
            self.phase = Phase::Joined;
        }
    }

    fn settle_phase(&mut self) {
        match (self.phase, self.seeds.is_empty()) {
            (Phase::Alone, false) => self.phase = Phase::Looking,
            (Phase::Looking, true) => self.phase = Phase::Alone,
            (Phase::Alone | Phase::Looking | Phase::Pulling | Phase::Joined, _) => {}
        }
    }
}

impl Node {
    /// Dials those seeds that are not members in good standing.
    pub(crate) fn step_join(&mut self, now: Instant) {
        if now < self.join.next() || self.leave.is_some() {
            return;
        }
        let looking = self.join.phase == Phase::Looking;
        let missing: Vec<SocketAddr> = self
            .join
            .seeds
            .iter()
            .copied()
            .filter(|seed| !self.roster.iter().any(|m| m.life.address == *seed && m.is_present()))
            .collect();
        // A few at a time: any one of them leads to all others.
        let count = if looking { DIALS } else { 1 };
        let first = if missing.is_empty() { 0 } else { self.rng.random_range(0..missing.len()) };
        for i in 0..count.min(missing.len()) {
            if let Some(seed) = missing.get((first + i) % missing.len()) {
                self.dial(now, *seed);
            }
        }
        self.join.attempts = self.join.attempts.saturating_add(1);
        let pause = if looking {
            (FIRST_REDIAL * (1 << self.join.attempts.min(5))).min(SLOWEST_REDIAL)
        } else {
            self.config.rejoin_interval
        };
        // Jitter of a tenth: a thousand newcomers do not call in step.
        self.join.dial_at = now + pause.mul_f64(self.rng.random_range(0.9..1.1));
    }

    /// Calls at an address of which we do not know who lives there.
    pub(crate) fn dial(&mut self, now: Instant, to: SocketAddr) {
        if to == self.myself().life.address {
            return;
        }
        let deadline = now + self.patience(None) * 2;
        let contact = Contact { subject: None, to, sent: now, deadline, kind: Kind::Dial };
        let seq = self.contacts.open(contact);
        self.stats.exchanges += 1;
        self.send_syn(now, to, seq, true);
    }

    /// Somebody answered our call: ask for the roster, unless we have it.
    pub(crate) fn dial_answered(&mut self, now: Instant, to: SocketAddr) {
        if self.join.phase == Phase::Looking {
            self.join.phase = Phase::Pulling;
            self.join.segments = vec![Segment { next: 0, until: 0, done: false }];
            self.pull(now, 0, Some(to));
        }
    }

    /// Answers a newcomer with as much as fits one datagram.
    pub(crate) fn on_pull(&mut self, now: Instant, from: SocketAddr, seq: u32, pull: &gossip::Pull) {
        let members = u32::try_from(self.roster.len()).unwrap_or(u32::MAX);
        // Written with the longest `next`, so that correcting it cannot make the packet grow.
        let supply = gossip::Supply { from: pull.from, next: u64::MAX, members };
        let Some(mut filler) = self.filler(seq, Some(Body::Supply(supply))) else { return };
        let mut next = 0;
        for member in self.roster.between(pull.from, pull.until) {
            if filler.try_claim(self.claim(now, member, Detail::Full)).is_err() {
                next = member.hash();
                break;
            }
        }
        let mut packet = filler.finish();
        packet.body = Some(Body::Supply(gossip::Supply { from: pull.from, next, members }));
        self.send(from, &packet);
    }

    /// A part of the roster arrived.
    pub(crate) fn on_supply(
        &mut self,
        now: Instant,
        from: SocketAddr,
        seq: u32,
        supply: &gossip::Supply,
    ) -> Result<(), Rejected> {
        let contact = self.answered(now, seq).ok_or(Rejected::Unexpected { what: "supply" })?;
        let Kind::Pull { segment } = contact.kind else {
            return Err(Rejected::Unexpected { what: "supply" });
        };
        let Some(part) = self.join.segments.get_mut(segment) else { return Ok(()) };
        // Only forward, or a hostile peer could keep us pulling for ever.
        if supply.next <= part.next || (part.until != 0 && supply.next >= part.until) {
            part.done = true;
        } else {
            part.next = supply.next;
        }
        let finished = part.done;
        if !finished {
            self.share_the_rest(segment, supply.members);
            self.pull(now, segment, Some(from));
            for fresh in segment + 1..self.join.segments.len() {
                let idle = !self.contacts_of_segment(fresh);
                if idle && self.join.segments.get(fresh).is_some_and(|s| !s.done) {
                    self.pull(now, fresh, None);
                }
            }
        }
        if self.join.phase == Phase::Pulling && self.join.segments.iter().all(|s| s.done) {
            self.join.phase = Phase::Joined;
            self.join.segments.clear();
            self.emit(Event::Joined { members: self.roster.len() });
        }
        Ok(())
    }

    /// No answer: ask somebody else for the same part.
    pub(crate) fn pull_unanswered(&mut self, now: Instant, segment: usize) {
        if self.join.segments.get(segment).is_some_and(|s| !s.done) {
            self.pull(now, segment, None);
        }
    }

    /// Splits what is left of a large roster among several members.
    fn share_the_rest(&mut self, segment: usize, members: u32) {
        let known = self.roster.len();
        let missing = usize::try_from(members).unwrap_or(usize::MAX).saturating_sub(known);
        if self.join.segments.len() > 1 || missing < WORTH_SHARING {
            return;
        }
        let Some(part) = self.join.segments.get(segment).copied() else { return };
        let share = (u64::MAX - part.next) / PARTS;
        self.join.segments = (0..PARTS)
            .map(|i| Segment {
                next: part.next + i * share,
                until: if i + 1 == PARTS { 0 } else { part.next + (i + 1) * share },
                done: false,
            })
            .collect();
    }

    fn pull(&mut self, now: Instant, segment: usize, from: Option<SocketAddr>) {
        let me = self.me;
        let Some(part) = self.join.segments.get(segment).copied() else { return };
        let to = from.or_else(|| {
            let known = peers::sample(&self.roster, &mut self.rng, 1, |m| is_other(m, me));
            known.first().map(|m| m.life.address).or_else(|| self.join.seeds.first().copied())
        });
        let Some(to) = to else { return };
        let deadline = now + self.patience(None);
        let contact = Contact { subject: None, to, sent: now, deadline, kind: Kind::Pull { segment } };
        let seq = self.contacts.open(contact);
        let body = Body::Pull(gossip::Pull { from: part.next, until: part.until });
        let mut packet = self.packet(seq, Some(body));
        let myself: &Member = self.myself();
        packet.claims.push(self.claim(now, myself, Detail::Full));
        self.send(to, &packet);
    }

    fn contacts_of_segment(&self, segment: usize) -> bool {
        self.contacts.iter().any(|c| c.kind == Kind::Pull { segment })
    }
}

/// Seeds called at once while nobody has answered.
const DIALS: usize = 3;
/// Pauses between calls while nobody has answered: doubling from 50 ms to 1 s,
/// so that agents that are started together meet in the first moments.
const FIRST_REDIAL: Duration = Duration::from_millis(50);
const SLOWEST_REDIAL: Duration = Duration::from_secs(1);
/// Parts that a large roster is pulled in at once.
const PARTS: u64 = 4;
/// Fewer missing members than this are pulled in one go.
const WORTH_SHARING: usize = 64;
