//! The machine: takes one input at a time, hands it to the part that knows,
//! and keeps the one timer.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use heartsay_detector::{LocalHealth, RttEstimator};
use heartsay_proto::ages::Age;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{decode_into, encode_packet, gossip, open, seal};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use siphasher::sip::SipHasher13;

use crate::Instant;
use crate::beat::Beat;
use crate::bucket::Bucket;
use crate::buffers::Buffers;
use crate::burst::Burst;
use crate::config::Config;
use crate::contact::Contacts;
use crate::damping::Damping;
use crate::exchange::Reply;
use crate::fence::Fence;
use crate::hearsay::Newer;
use crate::identity::{Generation, Heartbeat, HostId, Name};
use crate::io::{Command, Event, Input, MemberEventKind, Output, Rejected, Transmit};
use crate::join::Join;
use crate::leave::Leave;
use crate::member::{Life, Member, Reference, Standing};
use crate::outlet::Outlet;
use crate::presence::Presence;
use crate::probe::Probe;
use crate::pull::Pulls;
use crate::roll::Roll;
use crate::roster::Roster;
use crate::state::{State, StateError};
use crate::stats::Stats;
use crate::verdict::Company;
use crate::wire;

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
    tag: u64,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) roster: Roster,
    pub(crate) contacts: Contacts,
    pub(crate) probes: BTreeMap<u64, Probe>,
    /// What there is against members that live and are no use.
    pub(crate) damping: Damping,
    /// Bounds the probes, whatever happens.
    pub(crate) probe_budget: Bucket,
    /// Calls out of turn, while several are silent.
    pub(crate) roll: Roll,
    /// When the witnesses are told what has been found out.
    pub(crate) testify_at: Instant,
    pub(crate) burst: Burst,
    /// Bounds all that leaves.
    outlet: Outlet,
    pub(crate) join: Join,
    pub(crate) pulls: Pulls,
    pub(crate) leave: Option<Leave>,
    pub(crate) health: LocalHealth,
    /// All our paths taken together: round trips and how often nothing comes back.
    pub(crate) paths: RttEstimator,
    pub(crate) stats: Stats,
    /// When anybody else last spoke to us.
    pub(crate) last_heard: Instant,
    /// Until then we are catching up after a stall, and judge nobody.
    pub(crate) recovering_until: Instant,
    /// How many others look silent at once.
    pub(crate) company: Company,
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
    pub(crate) newer: Vec<Newer>,
    pub(crate) presence: Presence,
    pub(crate) fence: Fence,
    pub(crate) started: Instant,
    /// Wall clock minus our clock, in milliseconds.
    pub(crate) unix_offset_ms: i64,
    /// By command, nothing that we send is a sign of life. The heartbeat as of
    /// which we were accused meanwhile.
    pub(crate) resting: Option<Heartbeat>,
    /// Our step among all others, and when the next round is due.
    pub(crate) beat: Beat,
    pub(crate) round_at: Instant,
    /// By how many heartbeats we are ahead of our slots, having gone beyond accusations.
    pub(crate) lead: u64,
    /// The next of the extra exchanges of a newcomer.
    pub(crate) eager_at: Instant,
    /// When the driver last called, and when we had asked to be called.
    pub(crate) last_call: Instant,
    promised: Instant,
    out: VecDeque<Output>,
    /// Reused for the body of what comes and goes, and for a page of it.
    pub(crate) scratch: Vec<u8>,
    pub(crate) buffers: Buffers,
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
        let reference = Reference { unix_ms: me.generation, heartbeat: 0, interval_ms };
        let life = Life::new(me.name, me.host_id, me.generation, me.address, reference);
        let mut state = State::default();
        let entries: Vec<_> = me.state.into_iter().map(|(key, value)| (key, Some(value))).collect();
        state.set(&entries)?;
        let generation_ms = i64::try_from(me.generation).unwrap_or(i64::MAX);
        let now_ms = i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX);
        let (hash, tag) = (life.hash, life.tag);
        let (life, state) = config.bodies.share(life, state);
        let member = Member::new(now, life, Standing::default(), state, &config);
        let start: u32 = rng.random();
        Ok(Self {
            me: hash,
            tag,
            roster: Roster::new(member, &config),
            contacts: Contacts::new(start),
            probes: BTreeMap::new(),
            damping: Damping::default(),
            probe_budget: Bucket::new(now, config.probe_rate),
            roll: Roll::new(),
            testify_at: Instant::NEVER,
            burst: Burst::new(now, config.burst_rate, config.coalesce, config.fanout),
            outlet: Outlet::new(now, config.byte_rate),
            join: Join::new(now),
            pulls: Pulls::new(now),
            leave: None,
            health: LocalHealth::new(now, config.local_health),
            paths: RttEstimator::new(&config.rtt),
            stats: Stats::default(),
            last_heard: now,
            recovering_until: Instant::EPOCH,
            company: Company::Few,
            agreement: VecDeque::new(),
            page_cursor: 0,
            recount_at: now,
            unrest_at: now,
            look_until: now,
            ages: Vec::new(),
            newer: Vec::new(),
            presence: Presence::new(
                now,
                config.electorate.clone(),
                config.quorum_settle,
                config.fence_mark(),
            ),
            fence: Fence::new(now),
            started: now,
            unix_offset_ms: generation_ms.saturating_sub(now_ms),
            resting: None,
            beat: Beat::new(generation_ms.saturating_sub(now_ms), interval_ms),
            round_at: now,
            lead: 0,
            eager_at: now,
            last_call: now,
            promised: now,
            out: VecDeque::new(),
            scratch: Vec::new(),
            buffers: Buffers::new(),
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
        if self.presence.has_run_out(now) {
            self.judge_quorum(now);
        }
        let result = match input {
            Input::Datagram { from, bytes } => self.on_datagram(now, from, bytes),
            Input::Refused { to } => {
                self.on_refused(now, to);
                Ok(())
            }
            Input::Timeout => {
                self.on_timeout(now);
                Ok(())
            }
            Input::WallClock { unix_ms } => {
                let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
                let now_ms = i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX);
                self.unix_offset_ms = unix_ms.saturating_sub(now_ms);
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

    /// How long a datagram of `sender` was under way, about.
    fn way(&self, sender: u64) -> Duration {
        let path = self.roster.get(sender).and_then(|member| member.path.rtt.smoothed());
        path.or(self.paths.smoothed()).unwrap_or_default() / 2
    }

    /// A packet of ours around `body`.
    pub(crate) fn packet(&self, seq: u32, body: Option<Body>) -> gossip::Packet {
        let myself = self.myself();
        gossip::Packet {
            sender: myself.tag(),
            heartbeat: myself.heartbeat,
            seq,
            view: 0,
            beat: 0,
            lease: None,
            body,
            claims: Vec::new(),
        }
    }

    /// Room for a packet inside a datagram.
    pub(crate) fn packet_limit(&self) -> usize {
        self.config.datagram.for_frame(&self.config.keyring)
    }

    /// Seals and queues a datagram, unless that is more than may leave now.
    pub(crate) fn send(&mut self, to: SocketAddr, packet: &gossip::Packet) {
        self.send_to_each(&[to], packet);
    }

    /// The same datagram to several. With a key each is sealed by itself.
    pub(crate) fn send_to_each(&mut self, targets: &[SocketAddr], packet: &gossip::Packet) {
        let Some((last, others)) = targets.split_last() else { return };
        encode_packet(packet, &mut self.scratch);
        let mut frame = self.sealed();
        for to in others {
            let next = if self.config.keyring.is_empty() { frame.clone() } else { self.sealed() };
            self.queue(*to, packet, core::mem::replace(&mut frame, next));
        }
        self.queue(*last, packet, frame);
    }

    fn queue(&mut self, to: SocketAddr, packet: &gossip::Packet, frame: Bytes) {
        if !self.outlet.passes(self.last_call, packet, frame.len()) {
            self.stats.datagrams_held_back += 1;
            return;
        }
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += frame.len() as u64;
        self.stats.claims_sent += packet.claims.len() as u64;
        self.out.push_back(Output::Transmit(Transmit { to, bytes: frame }));
    }

    /// The frame around what was encoded last.
    fn sealed(&mut self) -> Bytes {
        let mut nonce = [0; 24];
        if !self.config.keyring.is_empty() {
            self.rng.fill_bytes(&mut nonce);
        }
        let mut frame = Vec::new();
        seal(&self.scratch, &self.config.cluster, &self.config.keyring, nonce, &mut frame);
        frame.into()
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn on_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Result<(), Rejected> {
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += bytes.len() as u64;
        let mut scratch = core::mem::take(&mut self.scratch);
        let opened = open(
            bytes,
            &self.config.cluster,
            &self.config.keyring,
            heartsay_proto::Budget::MAX,
            &mut scratch,
        )
        .and_then(|(body, _key)| {
            let spare = self.buffers.coming();
            decode_into(spare, self.buffers.copy(body))
        });
        self.scratch = scratch;
        let mut packet = opened?;
        if packet.sender == self.tag {
            self.join.drop_address(from);
            return Err(Rejected::Echo { from });
        }
        self.stats.claims_received += packet.claims.len() as u64;
        // News first: a newcomer is known by its own claim before its request is looked at.
        let refused = self.on_claims(now, from, &mut packet);
        let sender = self.roster.by_tag(packet.sender);
        if let Some(sender) = sender {
            self.heard(now, sender, packet.heartbeat);
            self.beat.hear(now - self.way(sender), packet.beat);
        }
        refused.and(self.on_body(now, from, sender, packet))
    }

    fn on_body(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        packet: gossip::Packet,
    ) -> Result<(), Rejected> {
        let seq = packet.seq;
        if let Some(sender) = sender {
            self.hear_answer(now, sender, &packet);
        }
        match packet.body {
            None => Ok(()),
            Some(Body::Exchange(exchange)) => {
                let header = (packet.sender, packet.heartbeat, packet.view);
                // Its own claim, and those of others whom to ask.
                let names_others = packet.claims.len() > 1;
                let known = if exchange.step == 2 {
                    self.on_ack(now, from, sender, seq, names_others)
                } else {
                    Ok(())
                };
                let result = known.and_then(|()| self.on_exchange(now, from, sender, header, seq, &exchange));
                self.buffers.has_come(exchange);
                result
            }
            Some(Body::Pull(pull)) => {
                self.on_pull(now, from, seq, &pull);
                Ok(())
            }
            Some(Body::Supply(supply)) => self.on_supply(now, from, sender, seq, &supply),
            Some(Body::Ping(ping)) => {
                self.on_ping(now, from, sender, seq, &ping);
                Ok(())
            }
            Some(Body::Pong(_)) => self.on_pong(now, seq, sender),
            Some(Body::ProbeRequest(request)) => {
                self.on_probe_request(now, from, seq, &request);
                Ok(())
            }
            Some(Body::ProbeReport(report)) => self.on_probe_report(now, seq, &report),
            Some(Body::Refusal(refusal)) => {
                self.on_refusal(&refusal, &packet.claims);
                Ok(())
            }
        }
    }

    fn on_command(&mut self, now: Instant, command: Command) -> Result<(), Rejected> {
        if self.leave.is_some() {
            return Err(Rejected::Leaving);
        }
        match command {
            Command::Seeds(seeds) => {
                let mine = self.myself().life.address();
                self.join.set_seeds(now, seeds, mine);
                Ok(())
            }
            Command::Join(addresses) => {
                for address in addresses {
                    self.dial(now, address);
                }
                Ok(())
            }
            Command::Leave => {
                self.say_good_bye(now);
                Ok(())
            }
            Command::Forget(name) => self.forget(now, &name),
            Command::Set(changes) => self.set_state(now, &changes),
            Command::Beat(beat) => {
                self.rest(now, !beat);
                Ok(())
            }
            Command::Agreed(names) => {
                self.recall(now, &names);
                Ok(())
            }
            Command::Expect(electorate) => {
                let dropped = self.presence.expect(now, electorate, self.config.quorum_settle);
                if dropped {
                    self.emit(Event::Agreed(Vec::new()));
                }
                self.count_presence(now);
                self.emit(Event::Quorum(self.quorum(now)));
                Ok(())
            }
        }
    }

    pub(crate) fn set_state(
        &mut self,
        now: Instant,
        changes: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), Rejected> {
        let me = self.me;
        let Some(mut myself) = self.roster.get_mut(me) else { return Ok(()) };
        let changed = myself.state.set(changes)?;
        if changed {
            myself.restamp();
        }
        drop(myself);
        if changed {
            self.burst.news(now, me, true);
            self.report(me, MemberEventKind::Update, &[], "its own change");
        }
        Ok(())
    }

    fn forget(&mut self, now: Instant, name: &Name) -> Result<(), Rejected> {
        let hash = crate::fingerprint::of_name(name);
        let Some(member) = self.roster.get(hash) else { return Err(Rejected::UnknownMember(name.clone())) };
        if member.is_present() {
            return Err(Rejected::StillHere { name: name.clone(), status: member.status });
        }
        self.report(hash, MemberEventKind::Forgotten, &[], "an operator asked for it");
        self.roster.bury(now, hash);
        self.probes.remove(&hash);
        self.burst.news(now, hash, false);
        Ok(())
    }

    fn on_timeout(&mut self, now: Instant) {
        if now >= self.round_at {
            self.round(now);
        }
        if now >= self.eager_at {
            self.eager_exchange(now);
        }
        self.expire_contacts(now);
        self.step_probes(now);
        self.step_roll(now);
        if now >= self.testify_at {
            self.testify(now);
        }
        self.step_join(now);
        self.step_pulls(now);
        self.step_leave(now);
        if now >= self.recount_at {
            self.count_presence(now);
        }
        if now >= self.presence.renew_at() {
            self.renew_lease(now);
        }
        if now >= self.presence.settles_at() {
            self.judge_quorum(now);
        }
        if now >= self.burst.next() {
            self.pass_on_news(now);
        }
    }

    /// We were not called for long: shift every "since", so that nobody is blamed for our own absence.
    fn notice_stall(&mut self, now: Instant) {
        let expected = self.promised.max(self.last_call);
        let Some(away) = self.health.stall(now, expected) else { return };
        self.stats.stalls += 1;
        self.recovering_until = now + RECOVERY;
        self.contacts.shift(away);
        self.roster.shift(now, away);
        for probe in self.probes.values_mut() {
            probe.shift(away);
        }
        self.emit(Event::Stalled(away));
    }

    fn next_wake_up(&self) -> Instant {
        let probes = self.probes.values().map(Probe::next).min().unwrap_or(Instant::NEVER);
        [
            self.round_at,
            self.eager_at,
            self.contacts.next(),
            probes,
            self.testify_at,
            self.roll.next(),
            self.burst.next(),
            self.join.next(),
            self.pulls.next(),
            self.presence.next(),
            self.recount_at,
            self.leave.as_ref().map_or(Instant::NEVER, Leave::next),
        ]
        .into_iter()
        .min()
        .unwrap_or(Instant::NEVER)
    }

    /// Later life of ourselves: somebody knew a later one than this.
    pub(crate) fn begin_anew(&mut self, now: Instant, above: Generation) {
        let generation = above.saturating_add(1);
        let me = self.me;
        let Some(mut myself) = self.roster.get_mut(me) else { return };
        let old = &myself.life;
        let reference = Reference { unix_ms: generation, ..old.reference };
        let life = Life::new(old.name.clone(), old.host_id, generation, old.address(), reference);
        myself.begin_life(life);
        let tag = myself.tag();
        drop(myself);
        self.tag = tag;
        self.burst.news(now, me, true);
        self.emit(Event::GenerationRaised(generation));
    }

    /// A claim about `member` that fits a packet of its own.
    pub(crate) fn claim(&self, now: Instant, member: &Member, detail: wire::Detail) -> gossip::Claim {
        wire::write_claim(now, member, detail, self.packet_limit().saturating_sub(HEADER))
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

/// What a packet has beside one claim, at most: its own fields, and a body without lists.
const HEADER: usize = 88;
/// After a stall nobody is accused or judged for so long: the time that answers
/// need which were under way. Honest guess.
const RECOVERY: Duration = Duration::from_millis(500);
