//! [`Node`], the state machine. It takes one input at a time, hands it to the part responsible, and keeps the one table
//! of timers.

mod answers;
mod apply;
mod command;
mod dispatch;
mod effects;
mod last_words;
mod own_claims;
mod query;
mod questions;
pub(crate) mod quorum;
mod status;
mod takeover;
mod timers;

pub use last_words::last_words;
pub use query::{AccuserView, MemberSummary, MemberView};

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use rand::RngExt;

use crate::Instant;
use crate::config::Config;
use crate::core::{Core, clock_ms, first_secret};
use crate::detection::Detection;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::identity::{Generation, Identity, is_reachable};
use crate::io::{Event, Input, Output, Rejected};
use crate::questions::Questions;
use crate::quorum::QuorumService;
use crate::roster::Roster;
use crate::roster::incarnation::{Incarnation, Schedule};
use crate::roster::member::Member;
use crate::roster::standing::Standing;
use crate::roster::state::{KEYS_KEY, State, StateError};
use crate::transport::Transport;

/// Why a node with this identity cannot be made. The caller's fault; nothing was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The initial state breaks a limit.
    #[error("bad state: {0}")]
    State(#[from] StateError),
    /// Others could not reach this address.
    #[error("no member can be reached at {address}: give the address of one host, and a port")]
    Address {
        /// The refused address.
        address: SocketAddr,
    },
}

/// One member's side of the protocol.
///
/// After each [`Self::handle`], call [`Self::poll_output`] until it says
/// [`Output::Timeout`]; only then wait.
#[derive(Debug)]
pub struct Node {
    pub(crate) core: Core,
    pub(crate) roster: Roster,
    pub(crate) gossip: Gossip,
    pub(crate) detection: Detection,
    pub(crate) quorum: QuorumService,
    pub(crate) questions: Questions,
    pub(crate) transport: Transport,
    /// What the parts have asked of one another and `node` has not yet carried out.
    effects: Vec<Effect>,
}

impl Node {
    /// A node that knows only itself.
    ///
    /// `seed` feeds all its randomness. The identity is mixed in, so that two nodes with one seed do not act in step. A
    /// cluster with a key needs [`Input::Entropy`] beside it, before anything else is handed in.
    ///
    /// # Errors
    /// The initial state breaks a limit, or no peer could reach the address. An unspecified address (`0.0.0.0`, `::`)
    /// with a port is accepted: it means that the address is not known yet.
    pub fn new(
        me: Identity,
        config: impl Into<Arc<Config>>,
        seed: u64,
        now: Instant,
    ) -> Result<Self, IdentityError> {
        let config = config.into();
        let secret = first_secret(seed, &me);
        let unknown_yet = me.address.ip().is_unspecified() && me.address.port() != 0;
        if !is_reachable(me.address) && !unknown_yet {
            return Err(IdentityError::Address { address: me.address });
        }
        let interval_ms = u32::try_from(config.interval.as_millis()).unwrap_or(u32::MAX).clamp(10, 600_000);
        let schedule = Schedule { unix_ms: me.generation, heartbeat: 0, interval_ms };
        let name = me.name.clone();
        let incarnation = Incarnation::new(name, me.host_id, me.generation, me.address, schedule)
            .leaving(config.last_words.as_ref());
        let ids = (incarnation.hash, incarnation.tag);
        let mut core = Core::new(now, &me, config.clone(), seed, ids, interval_ms);
        let mut state = State::default();
        let mut entries: Vec<_> = me.state.into_iter().map(|(key, value)| (key, Some(value))).collect();
        entries.iter().try_for_each(|(key, _)| command::check_not_ours(key))?;
        entries.extend(command::keys_value(&config.keyring).map(|value| (KEYS_KEY.to_owned(), Some(value))));
        state.set(&entries, config.capacity())?;
        let (incarnation, state) = config.interner.intern(incarnation, state);
        let member = Member::new(now, incarnation, Standing::default(), state, &config);
        let (numbers, cookies) = (core.rng.random(), core.rng.random());
        Ok(Self {
            gossip: Gossip::new(now, &config),
            detection: Detection::new(now, &config),
            quorum: QuorumService::new(now, &config),
            questions: Questions::new(now),
            transport: Transport::new(now, &config, numbers, cookies, (ids.1, secret)),
            core,
            roster: Roster::new(member, &config),
            effects: Vec::new(),
        })
    }

    /// Takes one input.
    ///
    /// # Errors
    /// What was refused, for the log. It is counted, and the node goes on. A refused command has changed nothing. Of a
    /// datagram, what was taken before the refused piece stays taken: claims, the sender's heartbeat, earlier pages. A
    /// refused claim stops nothing else in its datagram.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), Rejected> {
        let now = now.max(self.core.last_call);
        self.notice_stall(now);
        self.core.last_call = now;
        // First of all: a node that slept through the end of its proof must not act on it.
        if self.quorum.voting.has_run_out(now) {
            self.judge_quorum(now);
        }
        let result = match input {
            Input::Datagram { from, bytes } => self.on_datagram(now, from, bytes),
            Input::Refused { to, quoted } => {
                self.on_refused(now, to, quoted);
                Ok(())
            }
            Input::TooLong { to } => {
                self.context().on_too_long(now, to);
                Ok(())
            }
            Input::Timeout => {
                self.on_timeout(now);
                Ok(())
            }
            Input::WallClock { unix_ms } => {
                let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
                let offset_ms = unix_ms.saturating_sub(clock_ms(now));
                let ahead_ms = u64::try_from(offset_ms.saturating_sub(self.core.unix_offset_ms)).unwrap_or(0);
                self.core.note_absence(now, Duration::from_millis(ahead_ms));
                self.core.unix_offset_ms = offset_ms;
                Ok(())
            }
            Input::Entropy { secret } => {
                self.transport.seals.renew(secret);
                Ok(())
            }
            Input::Command(command) => self.on_command(now, command),
        };
        self.settle(now);
        if let Err(rejected) = &result {
            *self.core.stats.rejected.entry(rejected.reason()).or_default() += 1;
        }
        result
    }

    /// The next action for the driver. Ends with [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        match self.transport.out.pop_front() {
            Some(output) => output,
            None => {
                self.core.promised = self.next_wake_up();
                Output::Timeout(self.core.promised)
            }
        }
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.context().emit(event);
    }

    /// We were not called for a long time. Every "since" moves forward, so that no member is blamed for our own
    /// absence.
    fn notice_stall(&mut self, now: Instant) {
        let expected = self.core.promised.max(self.core.last_call);
        let Some(away) = self.core.health.stall(now, expected) else { return };
        self.core.stats.stalls += 1;
        self.core.note_absence(now, away);
        self.core.recovering_until = now + RECOVERY;
        self.transport.requests.shift(away);
        self.roster.shift(now, away);
        for probe in self.detection.probes.values_mut() {
            probe.shift(away);
        }
        self.detection.direct_paths.shift(away);
        self.emit(Event::Stalled(away));
    }

    /// Begins an incarnation above `above`: a peer knew a later one of ours than the present one.
    pub(crate) fn begin_anew(&mut self, now: Instant, above: Generation) {
        let generation = above.saturating_add(1);
        self.begin_incarnation(now, generation);
        self.emit(Event::GenerationRaised(generation));
    }

    /// The same on our present heartbeat schedule, which proves how long we have held our name.
    pub(crate) fn begin_above(&mut self, now: Instant, other: Generation) {
        let generation = other.saturating_add(1);
        self.begin_incarnation_on(now, generation, self.roster.myself().incarnation.schedule);
        self.emit(Event::GenerationRaised(generation));
    }

    /// Begins another incarnation of ours without leaving the roster. Its schedule goes on from our heartbeat, which
    /// would otherwise seem to be too high for an incarnation so young.
    pub(crate) fn begin_incarnation(&mut self, now: Instant, generation: Generation) {
        let myself = self.roster.myself();
        let (heartbeat, interval_ms) = (myself.heartbeat, myself.incarnation.schedule.interval_ms);
        let schedule = Schedule { unix_ms: generation, heartbeat, interval_ms };
        self.begin_incarnation_on(now, generation, schedule);
    }

    fn begin_incarnation_on(&mut self, now: Instant, generation: Generation, schedule: Schedule) {
        let me = self.core.me;
        let Some(mut myself) = self.roster.get_mut(me) else { return };
        let old = &myself.incarnation;
        let incarnation =
            Incarnation::new(old.name.clone(), old.host_id, generation, old.address(), schedule)
                .leaving(self.core.config.last_words.as_ref());
        // All others take its state from the start, and versions are bounded by the age of an incarnation too.
        myself.state.renumber(0);
        myself.begin_incarnation(incarnation.into());
        let tag = myself.tag();
        drop(myself);
        self.core.tag = tag;
        self.detection.footing.begin_anew();
        self.gossip.broadcast.news(now, me, true);
    }
}

/// After a stall, no member is accused or judged for this long: the time that the answers under way then still need.
/// Honest guess.
const RECOVERY: Duration = Duration::from_millis(500);
