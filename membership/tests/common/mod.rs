//! A handful of nodes, a wire between them, and a clock that the test moves.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

pub mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{
    Command, Config, Event, HostId, Identity, Input, Instant, MemberEventKind, Name, Node, Output, Profile,
    Rejected, Status,
};
use heartsay_proto::Cluster;

/// Unix time at the beginning of every story.
pub const DAWN_MS: u64 = 1_700_000_000_000;
const LATENCY: Duration = Duration::from_micros(500);

/// The little world.
pub struct World {
    pub now: Instant,
    pub nodes: BTreeMap<String, Place>,
    wire: BTreeMap<(Instant, u64), Flight>,
    sequence: u64,
    /// Datagrams from the first to the second do not arrive.
    pub cut: BTreeSet<(String, String)>,
    /// Longer datagrams from or to this node do not arrive, and nobody is told.
    pub narrow: BTreeMap<String, usize>,
    /// What those who start from now on say about themselves.
    pub state: Vec<(String, Vec<u8>)>,
    /// Datagrams from the first to the second are refused by a filter.
    pub refused: BTreeSet<(String, String)>,
    /// Every datagram sent, its length included.
    pub sent: Vec<(String, String, usize)>,
    /// Who has sent anything to which address.
    pub calls: BTreeSet<(String, SocketAddr)>,
    pub rejected: Vec<(String, Rejected)>,
    /// What came out of all nodes, in order; datagrams only while `listening`.
    pub journal: Vec<(Instant, String, Said)>,
    pub listening: bool,
    next_host: u128,
}

/// What came out of a node.
pub enum Said {
    Event(Event),
    Datagram { to: SocketAddr, receiver: Option<String>, bytes: Vec<u8>, fate: Fate },
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    /// Nobody is told.
    Lost,
    /// The sender is told.
    Refused,
}

/// A host with its agent.
pub struct Place {
    pub node: Node,
    pub address: SocketAddr,
    pub events: Vec<(Instant, Event)>,
    /// Bytes of its largest datagram.
    limit: usize,
    wake: Instant,
    /// Stopped by a signal: datagrams wait.
    pub stopped: bool,
    waiting: Vec<(SocketAddr, Vec<u8>)>,
}

struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
    refusal: bool,
}

impl World {
    pub fn new() -> Self {
        Self {
            now: Instant::EPOCH + Duration::from_secs(1),
            nodes: BTreeMap::new(),
            wire: BTreeMap::new(),
            sequence: 0,
            cut: BTreeSet::new(),
            narrow: BTreeMap::new(),
            state: vec![("zone".into(), b"a".to_vec())],
            refused: BTreeSet::new(),
            sent: Vec::new(),
            calls: BTreeSet::new(),
            rejected: Vec::new(),
            journal: Vec::new(),
            listening: false,
            next_host: 1,
        }
    }

    /// Nodes `n1` to `nN`, all with `n1` as their seed, given five seconds to meet.
    pub fn cluster(count: usize) -> Self {
        let mut world = Self::new();
        for i in 1..=count {
            world.start(&format!("n{i}"), &["n1"]);
        }
        world.run(5.0);
        world
    }

    pub fn config() -> Config {
        Config::new(Cluster::new("story").unwrap(), Profile::Lan)
    }

    pub fn start(&mut self, name: &str, seeds: &[&str]) {
        let host = self.next_host;
        self.start_as(name, host, seeds, Self::config());
    }

    /// Starts a node of a given host with a given configuration.
    pub fn start_as(&mut self, name: &str, host: u128, seeds: &[&str], config: Config) {
        self.next_host = self.next_host.max(host) + 1;
        // `n7` lives at the seventh address, in this life and in the next.
        let index: u16 = name.trim_start_matches('n').parse().unwrap();
        let address: SocketAddr = format!("10.0.0.{index}:{}", 4000 + index).parse().unwrap();
        self.start_at(name, host, address, seeds, config);
    }

    pub fn start_at(&mut self, name: &str, host: u128, address: SocketAddr, seeds: &[&str], config: Config) {
        self.start_under(name, name, host, address, seeds, config);
    }

    /// Starts a node that this world knows by `key`, because another one has its name.
    pub fn start_under(
        &mut self,
        key: &str,
        name: &str,
        host: u128,
        address: SocketAddr,
        seeds: &[&str],
        config: Config,
    ) {
        let generation = DAWN_MS + self.now.as_micros() / 1000;
        let identity = Identity {
            name: Name::new(name).unwrap(),
            host_id: HostId(host),
            generation,
            address,
            state: self.state.clone(),
        };
        let limit = config.datagram.limit();
        let node = Node::new(identity, config, 7, self.now).unwrap();
        let (events, waiting) = (Vec::new(), Vec::new());
        let place = Place { node, address, events, limit, wake: self.now, stopped: false, waiting };
        self.nodes.insert(key.to_owned(), place);
        let seeds: Vec<SocketAddr> = seeds.iter().filter_map(|s| Some(self.nodes.get(*s)?.address)).collect();
        self.hand(key, Input::WallClock { unix_ms: generation }).unwrap();
        self.hand(key, Input::Command(Command::Seeds(seeds))).unwrap();
    }

    /// The process ends without a word; its host refuses datagrams from now on.
    pub fn kill(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// The host vanishes: nothing comes back.
    pub fn vanish(&mut self, name: &str) {
        let others: Vec<_> = self.nodes.keys().cloned().collect();
        for other in others {
            self.cut_between(name, &other);
        }
    }

    pub fn cut_between(&mut self, a: &str, b: &str) {
        self.cut.insert((a.to_owned(), b.to_owned()));
        self.cut.insert((b.to_owned(), a.to_owned()));
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn stop(&mut self, name: &str) {
        self.nodes.get_mut(name).unwrap().stopped = true;
    }

    /// A stopped process goes on: first its inbox, then its timers.
    pub fn resume(&mut self, name: &str) {
        let place = self.nodes.get_mut(name).unwrap();
        place.stopped = false;
        for (from, bytes) in std::mem::take(&mut place.waiting) {
            let _ = self.hand(name, Input::Datagram { from, bytes: &bytes });
        }
    }

    pub fn command(&mut self, name: &str, command: Command) -> Result<(), Rejected> {
        self.hand(name, Input::Command(command))
    }

    /// Hands one input to a node and carries out what it says. The whole contract is here.
    pub fn hand(&mut self, name: &str, input: Input<'_>) -> Result<(), Rejected> {
        let now = self.now;
        let place = self.nodes.get_mut(name).unwrap();
        let result = place.node.handle(now, input);
        let mut out = Vec::new();
        loop {
            match place.node.poll_output() {
                Output::Transmit(transmit) => out.push(transmit),
                Output::Event(event) => {
                    self.journal.push((now, name.to_owned(), Said::Event(event.clone())));
                    place.events.push((now, event));
                }
                Output::Timeout(when) => {
                    place.wake = when;
                    break;
                }
            }
        }
        let from = place.address;
        for transmit in out {
            self.transmit(name, from, transmit.to, transmit.bytes.to_vec());
        }
        if let Err(rejected) = &result {
            self.rejected.push((name.to_owned(), rejected.clone()));
        }
        result
    }

    pub fn run(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        loop {
            let wire = self.wire.keys().next().map_or(Instant::NEVER, |(at, _)| *at);
            let wake =
                self.nodes.values().filter(|p| !p.stopped).map(|p| p.wake).min().unwrap_or(Instant::NEVER);
            let next = wire.min(wake);
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if wire <= wake {
                let (_, flight) = self.wire.pop_first().unwrap();
                self.arrive(flight);
            } else {
                let name = self
                    .nodes
                    .iter()
                    .find(|(_, p)| !p.stopped && p.wake == wake)
                    .map(|(n, _)| n.clone())
                    .unwrap();
                let _ = self.hand(&name, Input::Timeout);
            }
        }
        self.now = until;
    }

    fn transmit(&mut self, name: &str, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let receiver = self.name_at(to);
        self.calls.insert((name.to_owned(), to));
        self.sent.push((name.to_owned(), receiver.clone().unwrap_or_default(), bytes.len()));
        let limit = self.nodes.get(name).map_or(0, |place| place.limit);
        assert!(bytes.len() <= limit, "{name} sent {} bytes of {limit}", bytes.len());
        let cut = receiver.as_ref().is_some_and(|r| self.cut.contains(&(name.to_owned(), r.clone())))
            || [Some(name), receiver.as_deref()]
                .into_iter()
                .flatten()
                .any(|end| self.narrow.get(end).is_some_and(|most| bytes.len() > *most));
        let refusal = receiver.as_ref().is_none_or(|r| self.refused.contains(&(name.to_owned(), r.clone())));
        if self.listening {
            let fate = match (cut, refusal) {
                (true, _) => Fate::Lost,
                (false, true) => Fate::Refused,
                (false, false) => Fate::Arrives,
            };
            let said = Said::Datagram { to, receiver, bytes: bytes.clone(), fate };
            self.journal.push((self.now, name.to_owned(), said));
        }
        if cut {
            return;
        }
        self.sequence += 1;
        let flight = if refusal {
            Flight { from: to, to: from, bytes, refusal }
        } else {
            Flight { from, to, bytes, refusal }
        };
        self.wire.insert((self.now + LATENCY, self.sequence), flight);
    }

    fn arrive(&mut self, flight: Flight) {
        let Some(name) = self.name_at(flight.to) else { return };
        if flight.refusal {
            let _ = self.hand(&name, Input::Refused { to: flight.from });
        } else if self.nodes[&name].stopped {
            self.nodes.get_mut(&name).unwrap().waiting.push((flight.from, flight.bytes));
        } else {
            let _ = self.hand(&name, Input::Datagram { from: flight.from, bytes: &flight.bytes });
        }
    }

    fn name_at(&self, address: SocketAddr) -> Option<String> {
        self.nodes.iter().find(|(_, p)| p.address == address).map(|(n, _)| n.clone())
    }

    pub fn status(&self, observer: &str, subject: &str) -> Option<Status> {
        let name = Name::new(subject).unwrap();
        self.nodes[observer].node.member(self.now, &name).map(|m| m.status)
    }

    /// Everybody's status for `subject`, itself not asked.
    pub fn statuses(&self, subject: &str) -> Vec<Option<Status>> {
        self.nodes.keys().filter(|n| *n != subject).map(|n| self.status(n, subject)).collect()
    }

    pub fn all_say(&self, subject: &str, status: Status) -> bool {
        self.statuses(subject).iter().all(|s| *s == Some(status))
    }

    /// All nodes see the same members in the same standing.
    pub fn agree(&self) -> bool {
        let views: BTreeSet<u64> = self.nodes.values().map(|p| p.node.view_fingerprint()).collect();
        views.len() == 1
    }

    /// Runs until `done` holds and says how long that took; panics after `limit` seconds.
    pub fn wait(&mut self, limit: f64, done: impl Fn(&Self) -> bool) -> f64 {
        let start = self.now;
        while !done(self) {
            assert!(self.now.since(start).as_secs_f64() < limit, "not within {limit} s: {self:?}");
            self.run(0.01);
        }
        self.now.since(start).as_secs_f64()
    }

    /// Events of a kind about `subject`, at anybody.
    pub fn events(&self, subject: &str, kind: MemberEventKind) -> usize {
        let about = |e: &Event| matches!(e, Event::Member(m) if m.name.as_str() == subject && m.kind == kind);
        self.nodes.values().flat_map(|p| &p.events).filter(|(_, e)| about(e)).count()
    }

    pub fn forget_events(&mut self) {
        self.nodes.values_mut().for_each(|p| p.events.clear());
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "at {:?}", self.now)?;
        for (name, place) in &self.nodes {
            let view: Vec<String> = place
                .node
                .view(self.now)
                .iter()
                .map(|m| format!("{}:{}:{}", m.name, m.status, m.heartbeat))
                .collect();
            writeln!(f, "  {name} joined {} sees {}", place.node.is_joined(), view.join(" "))?;
            for (at, event) in place.events.iter().rev().take(6) {
                writeln!(f, "      {at:?} {event:?}")?;
            }
        }
        Ok(())
    }
}
