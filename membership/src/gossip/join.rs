//! Finds the other members: dials the seeds, for as long as the node runs, and peers remembered from an earlier run.
//!
//! Picture: the emergency numbers on the wall and the old address book. The numbers on the wall are called first and
//! every time. Beside them one works through the book and strikes out the entries that never answer.
//!
//! Rule: until the first answer, all seeds are called ([`SEEDS_AT_ONCE`] at a time), and two remembered peers with
//! them; after 50 ms, doubling to 1 s. After that, the seeds that are not members in good standing are called after 1
//! s, doubling to [`Config::rejoin_interval`](crate::Config::rejoin_interval), with one remembered peer. New addresses
//! are called at once. So a member at rest sends at most nine short calls a minute, however many addresses it was
//! given.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use rand::RngExt;

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::identity::is_reachable;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};

/// How far the search for other members has come.
#[derive(Debug)]
pub struct Join {
    /// Addresses of other members, given by the operator.
    seeds: Vec<SocketAddr>,
    /// The seed to be called next.
    turn: usize,
    /// Addresses of members in an earlier run, the next one to call first.
    remembered: VecDeque<Remembered>,
    /// Addresses whose calls came back to us, and until when they are not called: most likely they are our own.
    aside: Vec<(SocketAddr, Instant)>,
    /// Seeds and remembered peers that are not members, sorted; reused.
    missing: Vec<SocketAddr>,
    dial_at: Instant,
    attempts: u32,
    phase: Phase,
    /// The seeds from which anything at all has come.
    heard: Vec<SocketAddr>,
    /// Whether the first complete roster has been reported.
    told: bool,
}

#[derive(Debug)]
struct Remembered {
    address: SocketAddr,
    /// Calls since we have joined.
    calls: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No other member is known, and there is no address to call.
    Alone,
    /// No answer yet.
    Looking,
    /// The roster is being pulled.
    Pulling,
    /// The roster is here, but part of some members' states is missing. Waited for until this time at the latest.
    Filling { until: Instant },
    /// A complete view was seen.
    Joined,
}

impl Join {
    pub fn new(now: Instant) -> Self {
        Self {
            seeds: Vec::new(),
            turn: 0,
            remembered: VecDeque::new(),
            aside: Vec::new(),
            missing: Vec::new(),
            dial_at: now,
            attempts: 0,
            phase: Phase::Alone,
            heard: Vec::new(),
            told: false,
        }
    }

    pub fn is_joined(&self) -> bool {
        matches!(self.phase, Phase::Alone | Phase::Joined)
    }

    pub fn first_seed(&self) -> Option<SocketAddr> {
        self.addresses().find(|address| !self.is_aside(*address))
    }

    pub fn next(&self) -> Instant {
        if self.is_empty() {
            self.aside.iter().map(|(_, until)| *until).min().unwrap_or(Instant::NEVER)
        } else {
            self.dial_at
        }
    }

    /// Until when missing states are waited for.
    pub fn complete_by(&self) -> Instant {
        match self.phase {
            Phase::Filling { until } => until,
            Phase::Alone | Phase::Looking | Phase::Pulling | Phase::Joined => Instant::NEVER,
        }
    }

    /// Replaces the seeds. New ones are called first.
    pub fn set_seeds(&mut self, now: Instant, seeds: Vec<SocketAddr>, mine: SocketAddr) {
        let known: BTreeSet<SocketAddr> = self.seeds.iter().copied().collect();
        let others = seeds.into_iter().filter(|seed| *seed != mine && is_reachable(*seed));
        let (new, old): (Vec<_>, Vec<_>) = others.partition(|seed| !known.contains(seed));
        if !new.is_empty() {
            (self.dial_at, self.attempts, self.turn) = (now, 0, 0);
        }
        self.seeds = new.into_iter().chain(old).collect();
        self.heard.retain(|seed| self.seeds.contains(seed));
        self.settle_phase();
    }

    /// Replaces the peers remembered from an earlier run.
    pub fn set_remembered(&mut self, now: Instant, peers: Vec<SocketAddr>, mine: SocketAddr) {
        let others: BTreeSet<SocketAddr> =
            peers.into_iter().filter(|peer| *peer != mine && is_reachable(*peer)).collect();
        self.remembered = others.into_iter().map(|address| Remembered { address, calls: 0 }).collect();
        if self.phase == Phase::Alone || self.phase == Phase::Looking {
            self.dial_at = now;
        }
        self.settle_phase();
    }

    /// This address is our own.
    pub fn drop_address(&mut self, address: SocketAddr) {
        self.seeds.retain(|seed| *seed != address);
        self.remembered.retain(|peer| peer.address != address);
        self.settle_phase();
    }

    /// A call to this address came back: it is not called until then. Not longer, because a host on the way may have
    /// sent the call back.
    pub fn set_aside(&mut self, until: Instant, address: SocketAddr) {
        if self.addresses().any(|known| known == address) && !self.is_aside(address) {
            self.aside.push((address, until));
            self.settle_phase();
        }
    }

    fn is_aside(&self, address: SocketAddr) -> bool {
        self.aside.iter().any(|(aside, _)| *aside == address)
    }

    /// The seeds, and then the remembered peers.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.seeds.iter().copied().chain(self.remembered.iter().map(|peer| peer.address))
    }

    /// Whether there is no address to call.
    fn is_empty(&self) -> bool {
        self.addresses().all(|address| self.is_aside(address))
    }

    /// The seeds to call now, among those that satisfy `fit`.
    fn seeds_in_turn(&mut self, fit: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
        let count = self.seeds.len();
        let places = (0..count).map(|i| self.turn.wrapping_add(i) % count);
        let due = places.filter_map(|place| Some((place, *self.seeds.get(place)?)));
        let due: Vec<_> = due.filter(|(_, seed)| fit(*seed)).take(SEEDS_AT_ONCE).collect();
        self.turn = due.last().map_or(0, |(place, _)| place + 1);
        due.into_iter().map(|(_, seed)| seed).collect()
    }

    /// The remembered peers to call now. Once we have joined, entries are dropped that are members (not in `missing`)
    /// or never answer. Without seeds they are kept: nothing else could lead back to a part of the cluster that was cut
    /// off.
    fn remembered_in_turn(&mut self, looking: bool, missing: &[SocketAddr]) -> Vec<SocketAddr> {
        if !looking {
            let alone = self.seeds.is_empty();
            let aside = &self.aside;
            self.remembered.retain(|peer| {
                let is_aside = aside.iter().any(|(address, _)| *address == peer.address);
                let missing = is_aside || missing.binary_search(&peer.address).is_ok();
                missing && (alone || peer.calls < USELESS)
            });
        }
        let count = if looking { REMEMBERED_AT_ONCE } else { 1 }.min(self.remembered.len());
        let mut due = Vec::with_capacity(count);
        for mut peer in self.remembered.drain(..count).collect::<Vec<_>>() {
            if !self.is_aside(peer.address) {
                peer.calls = peer.calls.saturating_add(u32::from(!looking));
                due.push(peer.address);
            }
            self.remembered.push_back(peer);
        }
        due
    }

    /// Something came from an address, whatever it was.
    pub fn hear(&mut self, from: SocketAddr) {
        if !self.is_joined() && self.seeds.contains(&from) && !self.heard.contains(&from) {
            self.heard.push(from);
        }
    }

    pub fn has_heard(&self, from: SocketAddr) -> bool {
        self.heard.contains(&from)
    }

    /// How many seeds have sent us something since the start.
    pub fn seeds_heard(&self) -> usize {
        self.heard.len()
    }

    /// A member was heard of while we did not look for any: others found us.
    pub fn found_by_another(&mut self) {
        if self.phase == Phase::Alone {
            self.phase = Phase::Joined;
        }
    }

    /// No peer is left that could send us the roster.
    pub fn look_again(&mut self) {
        if self.phase == Phase::Pulling {
            self.phase = Phase::Looking;
            self.settle_phase();
        }
    }

    fn settle_phase(&mut self) {
        match (self.phase, self.is_empty()) {
            (Phase::Alone, false) => self.phase = Phase::Looking,
            (Phase::Looking, true) => self.phase = Phase::Alone,
            (Phase::Alone | Phase::Looking | Phase::Pulling | Phase::Filling { .. } | Phase::Joined, _) => {}
        }
    }
}

impl Gossip {
    /// Calls the seeds that are not members in good standing and some remembered peers; until the first answer, all of
    /// them.
    pub fn step_join(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if now < self.join.next() {
            return;
        }
        if self.leave.is_some() {
            self.join.aside.clear();
            self.join.dial_at = Instant::NEVER;
            return;
        }
        self.join.aside.retain(|(_, until)| now < *until);
        // The member that found us first may know only a part of the cluster: while we look, members are called too.
        let looking = self.join.phase == Phase::Looking;
        let mut missing = core::mem::take(&mut self.join.missing);
        missing.clear();
        missing.extend(self.join.addresses().filter(|address| !self.join.is_aside(*address)));
        missing.sort_unstable();
        missing.dedup();
        if !looking {
            for member in ctx.roster.iter().filter(|member| member.is_present()) {
                if let Ok(place) = missing.binary_search(&member.incarnation.address()) {
                    missing.remove(place);
                }
            }
        }
        let mut calls = self.join.seeds_in_turn(|seed| missing.binary_search(&seed).is_ok());
        // If we have no address to call, the member that found us knows the others.
        let me = ctx.core.me;
        let found = if looking && self.join.seeds.is_empty() {
            peers::sample(ctx.roster, &mut ctx.core.rng, 1, |m| is_other(m, me)).pop()
        } else {
            None
        };
        let found = found.map(|m| (m.incarnation.address(), m.hash()));
        calls.extend(self.join.remembered_in_turn(looking, &missing));
        self.join.missing = missing;
        for to in calls {
            self.dial(now, ctx, to);
        }
        if let Some((to, peer)) = found {
            self.dial_member(now, ctx, to, Some(peer));
        }
        let doubled = 1 << self.join.attempts.min(MOST_DOUBLINGS);
        self.join.attempts = self.join.attempts.saturating_add(1);
        let pause = if looking {
            (FIRST_REDIAL * doubled).min(SLOWEST_REDIAL)
        } else {
            (SLOWEST_REDIAL * doubled).min(ctx.core.config.rejoin_interval)
        };
        // Jitter of a tenth: a thousand newcomers do not call in step.
        self.join.dial_at = now + pause.mul_f64(ctx.core.rng.random_range(0.9..1.1));
    }

    /// Calls an address without knowing which member is there.
    pub fn dial(&mut self, now: Instant, ctx: &mut Context<'_>, to: SocketAddr) {
        self.dial_member(now, ctx, to, None);
    }

    fn dial_member(&mut self, now: Instant, ctx: &mut Context<'_>, to: SocketAddr, member: Option<u64>) {
        if to == ctx.roster.myself().incarnation.address() {
            return;
        }
        let deadline = now + ctx.core.patience(None) * 2;
        let request = Request { subject: member, to, sent: now, deadline, kind: RequestKind::Dial };
        let seq = ctx.transport.requests.open(request);
        ctx.core.stats.exchanges += 1;
        ctx.take_turn(to);
        if self.join.phase == Phase::Looking {
            self.send_syn(now, ctx, to, seq, true);
        } else {
            self.send_short_syn(now, ctx, to, seq);
        }
    }

    /// A call was answered: ask for the roster, unless we have it. `from`: the peer to ask; `None` if the answering
    /// peer is busy and has named others.
    pub fn dial_answered(&mut self, now: Instant, ctx: &mut Context<'_>, from: Option<SocketAddr>) {
        if self.join.phase == Phase::Looking {
            self.join.phase = Phase::Pulling;
            self.join.attempts = 0;
            self.pull_everything(now, ctx, from);
        }
    }

    /// All members that a peer knows have been pulled.
    pub fn pulled(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if self.join.phase == Phase::Pulling {
            self.join.phase = Phase::Filling { until: now + COMPLETE_WITHIN };
        }
        self.completed(now, ctx);
    }

    /// We have joined once the states of all known members are here, or have been waited for long enough.
    pub fn completed(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if let Phase::Filling { until } = self.join.phase
            && (self.remainders.is_empty() || now >= until)
        {
            self.join.phase = Phase::Joined;
            self.tell_complete(ctx);
        }
    }

    /// Reports a complete roster for a node that has no other member to look for, or was found by one.
    pub fn complete_without_looking(&mut self, ctx: &mut Context<'_>) {
        if !self.join.told && self.join.is_joined() {
            self.tell_complete(ctx);
        }
    }

    fn tell_complete(&mut self, ctx: &mut Context<'_>) {
        self.join.told = true;
        ctx.effect(Effect::Complete);
    }
}

/// Seeds that are called at once. Plenty for a hand-written list. Of a name with a thousand addresses, eight at a time
/// find a live one unless nearly all are dead.
const SEEDS_AT_ONCE: usize = 8;
/// Remembered peers that are called with them until the first answer.
const REMEMBERED_AT_ONCE: usize = 2;
/// Calls after which a peer that is in no view is not called again: ten minutes, if it is the only one.
const USELESS: u32 = 10;
/// Longest time from a full roster to joined, however much of the states is missing: three times what 500 members with
/// 8 KiB each may take. Honest guess.
const COMPLETE_WITHIN: Duration = Duration::from_secs(30);
/// Pauses between calls until the first answer: doubling from 50 ms to 1 s, so that agents started together meet in the
/// first moments.
const FIRST_REDIAL: Duration = Duration::from_millis(50);
const SLOWEST_REDIAL: Duration = Duration::from_secs(1);
/// Further doublings would exceed all pauses.
const MOST_DOUBLINGS: u32 = 10;
