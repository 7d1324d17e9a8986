//! Finding the others: seeds are dialled for ever.

use core::net::SocketAddr;
use core::time::Duration;

use rand::RngExt;

use crate::Instant;
use crate::contact::{Contact, Kind};
use crate::io::Event;
use crate::node::Node;

/// How far we are with finding the others.
#[derive(Debug)]
pub struct Join {
    seeds: Vec<SocketAddr>,
    dial_at: Instant,
    attempts: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody but ourselves is known and nobody is to be looked for.
    Alone,
    /// Nobody has answered yet.
    Looking,
    /// The roster is being pulled.
    Pulling,
    /// The roster is here, and of some of its members a part of the state. Not longer than until then.
    Filling { until: Instant },
    /// A complete view was seen.
    Joined,
}

impl Join {
    pub fn new(now: Instant) -> Self {
        Self { seeds: Vec::new(), dial_at: now, attempts: 0, phase: Phase::Alone }
    }

    pub fn is_joined(&self) -> bool {
        matches!(self.phase, Phase::Alone | Phase::Joined)
    }

    pub fn first_seed(&self) -> Option<SocketAddr> {
        self.seeds.first().copied()
    }

    pub fn next(&self) -> Instant {
        if self.seeds.is_empty() { Instant::NEVER } else { self.dial_at }
    }

    /// Until when states are waited for.
    pub fn complete_by(&self) -> Instant {
        match self.phase {
            Phase::Filling { until } => until,
            Phase::Alone | Phase::Looking | Phase::Pulling | Phase::Joined => Instant::NEVER,
        }
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
            (Phase::Alone | Phase::Looking | Phase::Pulling | Phase::Filling { .. } | Phase::Joined, _) => {}
        }
    }
}

impl Node {
    /// Dials those seeds that are not members in good standing; all of them until one has answered.
    pub(crate) fn step_join(&mut self, now: Instant) {
        if now < self.join.next() {
            return;
        }
        if self.leave.is_some() {
            self.join.dial_at = Instant::NEVER;
            return;
        }
        let looking = self.join.phase == Phase::Looking;
        let missing: Vec<SocketAddr> = self
            .join
            .seeds
            .iter()
            .copied()
            // Whoever found us first may know only a part: while we look, members are dialled too.
            .filter(|seed| {
                looking || !self.roster.iter().any(|m| m.life.address() == *seed && m.is_present())
            })
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
        if to == self.myself().life.address() {
            return;
        }
        let deadline = now + self.patience(None) * 2;
        let contact = Contact { subject: None, to, sent: now, deadline, kind: Kind::Dial };
        let seq = self.contacts.open(contact);
        self.stats.exchanges += 1;
        self.send_syn(now, to, seq, true);
    }

    /// Somebody answered our call: ask for the roster, unless we have it. `from`: whom to ask; nobody when
    /// whoever answered is busy and has named others.
    pub(crate) fn dial_answered(&mut self, now: Instant, from: Option<SocketAddr>) {
        if self.join.phase == Phase::Looking {
            self.join.phase = Phase::Pulling;
            self.pull_everything(now, from);
        }
    }

    /// All members that somebody knows have been pulled.
    pub(crate) fn pulled(&mut self, now: Instant) {
        if self.join.phase == Phase::Pulling {
            self.join.phase = Phase::Filling { until: now + COMPLETE_WITHIN };
        }
        self.completed(now);
    }

    /// Joined is who has the states too of those whom it knows, or has waited for them for long enough.
    pub(crate) fn completed(&mut self, now: Instant) {
        if let Phase::Filling { until } = self.join.phase
            && (self.rests.is_empty() || now >= until)
        {
            self.join.phase = Phase::Joined;
            self.emit(Event::Joined { members: self.roster.len() });
        }
    }
}

/// From a full roster to joined at most, however much of the states is missing: three times what 500 members with 8 KiB each
/// may take. Honest guess.
const COMPLETE_WITHIN: Duration = Duration::from_secs(30);
/// Seeds called at once while nobody has answered.
const DIALS: usize = 3;
/// Pauses between calls while nobody has answered: doubling from 50 ms to 1 s,
/// so that agents that are started together meet in the first moments.
const FIRST_REDIAL: Duration = Duration::from_millis(50);
const SLOWEST_REDIAL: Duration = Duration::from_secs(1);
