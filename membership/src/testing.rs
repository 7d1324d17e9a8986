//! What the tests of a part use in place of a node.
//!
//! The members are `n0`, `n1`, …, each on a host of its own, with a heartbeat each second from their first moment on.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use heartsay_proto::{ANYONE, Budget, Cluster, decode_packet, gossip, open_for};

use crate::Instant;
use crate::config::{Config, Profile};
use crate::core::Core;
use crate::effect::Effect;
use crate::identity::{Generation, Heartbeat, HostId, Identity, Name};
use crate::io::{Event, Output, Transmit};
use crate::roster::Roster;
use crate::roster::claim::Claim;
use crate::roster::incarnation::{Incarnation, Schedule};
use crate::roster::member::Member;
use crate::roster::standing::{Marks, Standing};
use crate::roster::state::{Delta, Entry, State};
use crate::transport::Transport;
use crate::transport::context::{Context, OwnMembership};

/// A core, a roster and a transport: what a part is called with.
pub struct Bench {
    pub now: Instant,
    pub core: Core,
    pub roster: Roster,
    pub transport: Transport,
    pub membership: OwnMembership,
    effects: Vec<Effect>,
}

/// A datagram that has left, as its receiver reads it.
pub struct Sent {
    pub to: SocketAddr,
    /// Of the whole datagram, in bytes.
    pub length: usize,
    pub packet: gossip::Packet,
}

impl Bench {
    /// We are `n0`; the others are `n1` up to `n{members - 1}`.
    pub fn new(members: usize) -> Self {
        Self::of(0, 1..members, |_| {})
    }

    /// We are `n{me}` with these settings, and know these others.
    pub fn of(me: usize, others: impl IntoIterator<Item = usize>, set: impl FnOnce(&mut Config)) -> Self {
        let now = Instant::EPOCH + Duration::from_secs(10);
        let mut config = Config::new(Cluster::new("bench").unwrap(), Profile::Lan);
        set(&mut config);
        let config = Arc::new(config);
        let me = incarnation(me);
        let identity = Identity {
            name: me.name.clone(),
            host_id: me.host_id,
            generation: me.generation,
            address: me.address(),
            state: Vec::new(),
        };
        let core_tag = me.tag;
        let core = Core::new(now, &identity, config.clone(), 1, (me.hash, me.tag), 1000);
        let myself = Member::new(now, me.into(), Standing::default(), State::default(), &config);
        let mut bench = Self {
            now,
            core,
            roster: Roster::new(myself, &config),
            transport: Transport::new(now, &config, 1, (1, 2), (core_tag, [0; 16])),
            membership: OwnMembership { complete: true, refused: false },
            effects: Vec::new(),
        };
        others.into_iter().for_each(|other| bench.take_in(claim(incarnation(other), None)));
        bench
    }

    pub fn context(&mut self) -> Context<'_> {
        let Self { core, roster, transport, membership, effects, .. } = self;
        Context { core, roster, transport, membership: *membership, effects }
    }

    /// Time goes on.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.last_call = self.now;
    }

    /// The roster takes a claim, and its subject has proven its address.
    pub fn take_in(&mut self, claim: Claim) {
        if let Some(incarnation) = &claim.incarnation {
            self.transport.addresses.prove(self.now, incarnation.address(), claim.subject);
            self.transport.lives.learn(incarnation.address(), incarnation.tag);
        }
        self.roster.apply(self.now, claim, &self.core.config).unwrap();
    }

    /// A heartbeat of `n{i}` arrives.
    pub fn hear(&mut self, i: usize, heartbeat: Heartbeat) {
        self.roster.get_mut(hash(i)).unwrap().advance(self.now, heartbeat, &self.core.config.detector);
    }

    /// Something is said of `n{i}`.
    pub fn mark(&mut self, i: usize, marks: &Marks) {
        self.roster.get_mut(hash(i)).unwrap().mark(marks);
    }

    pub fn member(&self, i: usize) -> &Member {
        self.roster.get(hash(i)).unwrap()
    }

    /// What the part has asked of others since the last time.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.effects)
    }

    /// What has left since the last time.
    pub fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for output in core::mem::take(&mut self.transport.out) {
            if let Output::Transmit(transmit) = output {
                sent.push(self.read(&transmit));
            } else {
                self.transport.out.push_back(output);
            }
        }
        sent
    }

    /// What programs were told since the last time.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for output in core::mem::take(&mut self.transport.out) {
            if let Output::Event(event) = output {
                events.push(event);
            } else {
                self.transport.out.push_back(output);
            }
        }
        events
    }

    fn read(&self, transmit: &Transmit) -> Sent {
        let (cluster, keyring) = (&self.core.config.cluster, &self.core.config.keyring);
        let mut scratch = Vec::new();
        let there = self.transport.lives.at(transmit.to).map_or(ANYONE, |known| known.life);
        let receivers = [ANYONE, there];
        let opened =
            open_for(&transmit.bytes, cluster, keyring, &receivers, Budget::MAX, &mut scratch).unwrap();
        Sent { to: transmit.to, length: transmit.bytes.len(), packet: decode_packet(opened.body).unwrap() }
    }
}

/// Hash of the name of `n{i}`.
pub fn hash(i: usize) -> u64 {
    incarnation(i).hash
}

/// Where `n{i}` lives.
pub fn address(i: usize) -> SocketAddr {
    let [high, low] = u16::try_from(i + 1).unwrap().to_be_bytes();
    ([10, 0, high, low], 4327).into()
}

/// The first incarnation of `n{i}`.
pub fn incarnation(i: usize) -> Incarnation {
    incarnation_at(i, 1, address(i))
}

/// An incarnation of `n{i}`.
pub fn incarnation_at(i: usize, generation: Generation, address: SocketAddr) -> Incarnation {
    let schedule = Schedule { unix_ms: generation, heartbeat: 0, interval_ms: 1000 };
    let name = Name::new(&format!("n{i}")).unwrap();
    Incarnation::new(name, HostId(i as u128), generation, address, schedule)
}

/// The claim that brings it into a roster.
pub fn claim(incarnation: Incarnation, delta: Option<Delta>) -> Claim {
    Claim {
        subject: incarnation.hash,
        generation: incarnation.generation,
        standing: Standing::default(),
        forgotten: false,
        incarnation: Some(incarnation),
        delta,
    }
}

/// A state with one value, in its first version.
pub fn value(key: &str, value: &[u8]) -> Delta {
    let entry = Entry { value: Some(value.to_vec().into()), version: 1 };
    Delta { until: 1, newest: 1, entries: vec![(key.into(), entry)], ..Delta::default() }
}
