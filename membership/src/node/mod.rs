//! The machine: takes one input at a time, hands it to the part that knows,
//! and keeps the one timer.

mod apply;
mod command;
mod dispatch;
mod query;

pub use apply::{FARTHEST_START_MS, SHORTEST_INTERVAL_MS, heartbeat_limit, is_other};
pub use query::{AccuserView, MemberSummary, MemberView};

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use heartsay_detector::{LocalHealth, RttEstimator};
use heartsay_proto::ages::Age;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use siphasher::sip::SipHasher13;

use crate::Instant;
use crate::config::Config;
use crate::detection::extra_probes::ExtraProbes;
use crate::detection::flap_damping::Damping;
use crate::detection::outside::Footing;
use crate::detection::probe::Probe;
use crate::detection::refusals::Refusals;
use crate::detection::verdict::SuspectShare;
use crate::gossip::ages::Candidate;
use crate::gossip::anti_entropy::{AGREEMENT, Reply};
use crate::gossip::broadcast::Broadcast;
use crate::gossip::clone::SuspectedClone;
use crate::gossip::join::Join;
use crate::gossip::leave::Leave;
use crate::gossip::pull::Pulls;
use crate::gossip::remainder::Remainders;
use crate::gossip::slot_clock::SlotClock;
use crate::identity::{Generation, Heartbeat, HostId, Name};
use crate::io::{Event, Input, Output, Rejected};
use crate::quorum::fence_watch::Fence;
use crate::quorum::service::Voting;
use crate::roster::Roster;
use crate::roster::incarnation::{Incarnation, Schedule};
use crate::roster::member::Member;
use crate::roster::standing::Standing;
use crate::roster::state::{State, StateError};
use crate::stats::Stats;
use crate::transport::egress::EgressLimiter;
use crate::transport::path_limits::PathLimits;
use crate::transport::requests::Requests;
use crate::transport::scratch::Scratch;
use crate::transport::token_bucket::TokenBucket;

/// Who a node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Unique in the cluster.
    pub name: Name,
    /// Made once per host and kept.
    pub host_id: HostId,
    /// Unix milliseconds at the start, above every earlier life of the name.
    pub generation: Generation,
    /// Where others reach it.
    pub address: SocketAddr,
    /// What it says about itself at the start.
    pub state: Vec<(String, Vec<u8>)>,
}

/// One member's side of the protocol.
///
/// After each [`Self::handle`], call [`Self::poll_output`] until it says
/// [`Output::Timeout`]; only then wait.
#[derive(Debug)]
pub struct Node {
    /// Of all nodes in one process the same, if they like.
    pub(crate) config: Arc<Config>,
    pub(crate) me: u64,
    /// That of our present life.
    pub(crate) tag: u64,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) roster: Roster,
    pub(crate) requests: Requests,
    pub(crate) probes: BTreeMap<u64, Probe>,
    /// What there is against members that live and are no use.
    pub(crate) damping: Damping,
    pub(crate) refusals: Refusals,
    /// Bounds the probes, whatever happens.
    pub(crate) probe_budget: TokenBucket,
    /// Calls out of turn, while several are silent.
    pub(crate) extra_probes: ExtraProbes,
    /// When the witnesses are told what has been found out.
    pub(crate) testify_at: Instant,
    pub(crate) broadcast: Broadcast,
    /// Bounds all that leaves.
    pub(crate) egress: EgressLimiter,
    /// How long a datagram may be on which path.
    pub(crate) path_limits: PathLimits,
    pub(crate) join: Join,
    pub(crate) pulls: Pulls,
    /// What is still to come of long states.
    pub(crate) remainders: Remainders,
    pub(crate) leave: Option<Leave>,
    /// When the time is over of the first of those who restart.
    pub(crate) restarts_end: Instant,
    pub(crate) health: LocalHealth,
    /// All our paths taken together: round trips and how often nothing comes back.
    pub(crate) paths: RttEstimator,
    pub(crate) stats: Stats,
    /// When anybody else last spoke to us.
    pub(crate) last_heard: Instant,
    /// Until then not everybody knows our address, which has changed.
    pub(crate) introduce_until: Instant,
    /// Until then we are catching up after a stall, and judge nobody.
    pub(crate) recovering_until: Instant,
    /// How many others look silent at once.
    pub(crate) suspect_share: SuspectShare,
    /// Of the last peers that said what they see, whether they see what we see.
    pub(crate) agreement: VecDeque<(u64, bool)>,
    /// Where in the roster the next exchange goes on that could not carry all pages.
    pub(crate) page_cursor: u32,
    /// When to count who is here: soon after somebody's status changed.
    pub(crate) recount_at: Instant,
    /// When rosters were last seen to differ.
    pub(crate) unrest_at: Instant,
    /// Until then the unheard are asked, as many were silent a moment ago.
    pub(crate) look_until: Instant,
    /// Reused for coding and decoding pages.
    pub(crate) ages: Vec<Age>,
    /// Who of a drawer is told to have beaten since.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) voting: Voting,
    pub(crate) fence: Fence,
    /// Whether the others count us as a member.
    pub(crate) footing: Footing,
    /// Another life of our name and host, while we ask whether somebody lives it.
    pub(crate) clone_suspect: Option<SuspectedClone>,
    /// Where such a life was that nobody seemed to live, and its generation.
    pub(crate) taken_for_past: Option<(SocketAddr, Generation)>,
    /// The generation with which this process began; it may have begun anew since.
    pub(crate) began_as: Generation,
    pub(crate) started: Instant,
    /// Who was heard after this is known to have lived since our last long sleep; `EPOCH`: there was none of late.
    pub(crate) heard_after: Instant,
    /// When a life numbered by a wrong clock was given up for another one.
    pub(crate) reset_at: Option<Instant>,
    /// Wall clock minus our clock, in milliseconds.
    pub(crate) unix_offset_ms: i64,
    /// By command, nothing that we send is a sign of life. The heartbeat as of
    /// which we were accused meanwhile.
    pub(crate) suspended: Option<Heartbeat>,
    /// Our step among all others, and when the next round is due.
    pub(crate) slot_clock: SlotClock,
    pub(crate) next_round: Instant,
    /// By how many heartbeats we are ahead of our slots, having gone beyond accusations.
    pub(crate) heartbeat_bias: u64,
    /// The next of the extra exchanges of a newcomer.
    pub(crate) eager_at: Instant,
    /// When the driver last called, and when we had asked to be called.
    pub(crate) last_call: Instant,
    promised: Instant,
    pub(crate) out: VecDeque<Output>,
    /// Reused for the body of what comes and goes, and for a page of it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) scratch: Scratch,
    /// Reused for the answer to an exchange; empty.
    pub(crate) reply: Reply,
}

impl Node {
    /// A node that knows only itself.
    ///
    /// `seed` feeds all its randomness; the identity is mixed in, so that two
    /// nodes with one seed do not act in step, nor use one nonce twice.
    ///
    /// # Errors
    /// The initial state breaks a limit.
    pub fn new(
        me: Identity,
        config: impl Into<Arc<Config>>,
        seed: u64,
        now: Instant,
    ) -> Result<Self, StateError> {
        let config = config.into();
        let mut rng = ChaCha8Rng::from_seed(expand(seed, &me));
        let interval_ms = u32::try_from(config.interval.as_millis()).unwrap_or(u32::MAX).clamp(10, 600_000);
        let schedule = Schedule { unix_ms: me.generation, heartbeat: 0, interval_ms };
        let incarnation = Incarnation::new(me.name, me.host_id, me.generation, me.address, schedule);
        let mut state = State::default();
        let entries: Vec<_> = me.state.into_iter().map(|(key, value)| (key, Some(value))).collect();
        state.set(&entries, config.capacity())?;
        let generation_ms = i64::try_from(me.generation).unwrap_or(i64::MAX);
        let now_ms = i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX);
        let (hash, tag) = (incarnation.hash, incarnation.tag);
        let (incarnation, state) = config.interner.intern(incarnation, state);
        let member = Member::new(now, incarnation, Standing::default(), state, &config);
        let start: u32 = rng.random();
        Ok(Self {
            me: hash,
            tag,
            roster: Roster::new(member, &config),
            requests: Requests::new(start),
            probes: BTreeMap::new(),
            damping: Damping::default(),
            refusals: Refusals::default(),
            probe_budget: TokenBucket::new(now, config.probe_rate),
            extra_probes: ExtraProbes::new(),
            testify_at: Instant::NEVER,
            broadcast: Broadcast::new(now, config.burst_rate, config.coalesce, config.fanout),
            egress: EgressLimiter::new(now, config.byte_rate),
            path_limits: PathLimits::new(),
            join: Join::new(now),
            pulls: Pulls::new(now),
            remainders: Remainders::new(),
            leave: None,
            restarts_end: Instant::NEVER,
            health: LocalHealth::new(now, config.local_health),
            paths: RttEstimator::new(&config.rtt),
            stats: Stats::default(),
            last_heard: now,
            introduce_until: Instant::EPOCH,
            recovering_until: Instant::EPOCH,
            suspect_share: SuspectShare::Few,
            // One more while the oldest makes room.
            agreement: VecDeque::with_capacity(AGREEMENT + 1),
            page_cursor: 0,
            recount_at: now,
            unrest_at: now,
            look_until: now,
            ages: Vec::new(),
            candidates: Vec::new(),
            voting: Voting::new(now, config.electorate.clone(), config.quorum_settle, config.fence_mark()),
            fence: Fence::new(now),
            footing: Footing::new(now),
            clone_suspect: None,
            taken_for_past: None,
            began_as: me.generation,
            started: now,
            heard_after: Instant::EPOCH,
            reset_at: None,
            unix_offset_ms: generation_ms.saturating_sub(now_ms),
            suspended: None,
            slot_clock: SlotClock::new(generation_ms.saturating_sub(now_ms), interval_ms),
            next_round: now,
            heartbeat_bias: 0,
            eager_at: now,
            last_call: now,
            promised: now,
            out: VecDeque::new(),
            bytes: Vec::new(),
            scratch: Scratch::new(),
            reply: Reply::default(),
            config,
            rng,
        })
    }

    /// Takes one input.
    ///
    /// # Errors
    /// Why the input was not taken, for the log; it is counted, and the node goes on.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), Rejected> {
        let now = now.max(self.last_call);
        self.notice_stall(now);
        self.last_call = now;
        // Before anything else: whoever slept through the end of its proof must not act on it.
        if self.voting.has_run_out(now) {
            self.judge_quorum(now);
        }
        let result = match input {
            Input::Datagram { from, bytes } => self.on_datagram(now, from, bytes),
            Input::Refused { to } => {
                self.on_refused(now, to);
                Ok(())
            }
            Input::TooLong { to } => {
                self.on_too_long(now, to);
                Ok(())
            }
            Input::Timeout => {
                self.on_timeout(now);
                Ok(())
            }
            Input::WallClock { unix_ms } => {
                let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
                let now_ms = i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX);
                let offset_ms = unix_ms.saturating_sub(now_ms);
                let ahead_ms = u64::try_from(offset_ms.saturating_sub(self.unix_offset_ms)).unwrap_or(0);
                self.note_absence(now, Duration::from_millis(ahead_ms));
                self.unix_offset_ms = offset_ms;
                Ok(())
            }
            Input::Command(command) => self.on_command(now, command),
        };
        if let Err(rejected) = &result {
            *self.stats.rejected.entry(rejected.reason()).or_default() += 1;
        }
        result
    }

    /// The next thing for the world to do. Ends with [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        match self.out.pop_front() {
            Some(output) => output,
            None => {
                self.promised = self.next_wake_up();
                Output::Timeout(self.promised)
            }
        }
    }

    /// Our own entry.
    #[expect(clippy::expect_used, reason = "a node is in its roster from `new` on, and nothing removes it")]
    pub(crate) fn myself(&self) -> &Member {
        self.roster.get(self.me).expect("a node is in its own roster")
    }

    /// The wall clock as last told, in Unix milliseconds.
    pub(crate) fn unix_ms(&self, now: Instant) -> u64 {
        let now_ms = i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX);
        now_ms.saturating_add(self.unix_offset_ms).max(0).unsigned_abs()
    }

    /// How long to wait for an answer from `member`.
    pub(crate) fn patience(&self, member: Option<&Member>) -> Duration {
        let known = member.map(|member| &member.path.rtt);
        known.filter(|rtt| rtt.smoothed().is_some()).unwrap_or(&self.paths).rto(&self.config.rtt)
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn on_timeout(&mut self, now: Instant) {
        if now >= self.next_round {
            self.round(now);
        }
        if now >= self.eager_at {
            self.eager_exchange(now);
        }
        self.expire_requests(now);
        self.step_probes(now);
        self.step_extra_probes(now);
        if now >= self.testify_at {
            self.testify(now);
        }
        self.step_join(now);
        self.step_pulls(now);
        self.step_remainders(now);
        self.completed(now);
        self.step_path_limits(now);
        self.step_leave(now);
        if now >= self.restarts_end {
            self.end_restarts(now);
        }
        if now >= self.recount_at {
            self.count_presence(now);
        }
        if now >= self.voting.renew_at() {
            self.renew_lease(now);
        }
        if now >= self.voting.settles_at() {
            self.judge_quorum(now);
        }
        if now >= self.broadcast.next() {
            self.pass_on_news(now);
        }
    }

    /// We were not called for long: shift every "since", so that nobody is blamed for our own absence.
    fn notice_stall(&mut self, now: Instant) {
        let expected = self.promised.max(self.last_call);
        let Some(away) = self.health.stall(now, expected) else { return };
        self.stats.stalls += 1;
        self.note_absence(now, away);
        self.recovering_until = now + RECOVERY;
        self.requests.shift(away);
        self.roster.shift(now, away);
        for probe in self.probes.values_mut() {
            probe.shift(away);
        }
        self.emit(Event::Stalled(away));
    }

    fn next_wake_up(&self) -> Instant {
        let probes = self.probes.values().map(Probe::next).min().unwrap_or(Instant::NEVER);
        [
            self.next_round,
            self.eager_at,
            self.requests.next(),
            probes,
            self.testify_at,
            self.extra_probes.next(),
            self.broadcast.next(),
            self.join.next(),
            self.pulls.next(),
            self.remainders.next(),
            self.join.complete_by(),
            self.path_limits.next(),
            self.voting.next(),
            self.recount_at,
            self.leave.as_ref().map_or(Instant::NEVER, Leave::next),
            self.restarts_end,
        ]
        .into_iter()
        .min()
        .unwrap_or(Instant::NEVER)
    }

    /// Later life of ourselves: somebody knew a later one than this.
    pub(crate) fn begin_anew(&mut self, now: Instant, above: Generation) {
        let generation = above.saturating_add(1);
        self.begin_life(now, generation);
        self.emit(Event::GenerationRaised(generation));
    }

    /// The same on the line of heartbeats that we have: it says since when we have held our name.
    pub(crate) fn begin_above(&mut self, now: Instant, other: Generation) {
        let generation = other.saturating_add(1);
        self.begin_life_on(now, generation, self.myself().incarnation.schedule);
        self.emit(Event::GenerationRaised(generation));
    }

    /// Another life of ours, without leaving the roster.
    pub(crate) fn begin_life(&mut self, now: Instant, generation: Generation) {
        let schedule = Schedule { unix_ms: generation, ..self.myself().incarnation.schedule };
        self.begin_life_on(now, generation, schedule);
    }

    fn begin_life_on(&mut self, now: Instant, generation: Generation, schedule: Schedule) {
        let me = self.me;
        let Some(mut myself) = self.roster.get_mut(me) else { return };
        let old = &myself.incarnation;
        let incarnation =
            Incarnation::new(old.name.clone(), old.host_id, generation, old.address(), schedule);
        myself.begin_life(incarnation.into());
        let tag = myself.tag();
        drop(myself);
        self.tag = tag;
        self.footing.begin_anew();
        self.broadcast.news(now, me, true);
    }
}

/// Spreads a seed and an identity over the 256 bits that the generator wants.
fn expand(seed: u64, me: &Identity) -> [u8; 32] {
    use core::hash::Hasher;
    let mut bytes = [0; 32];
    for (lane, chunk) in (0_u64..).zip(bytes.chunks_exact_mut(8)) {
        let mut hasher = SipHasher13::new_with_keys(seed, lane);
        hasher.write_u128(me.host_id.0);
        hasher.write_u64(me.generation);
        hasher.write(me.name.as_str().as_bytes());
        chunk.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    bytes
}

/// After a stall nobody is accused or judged for so long: the time that answers
/// need which were under way. Honest guess.
const RECOVERY: Duration = Duration::from_millis(500);
