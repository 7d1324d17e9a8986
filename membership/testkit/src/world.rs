//! The nodes, and the loop that drives them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Command, Config, Event, Input, Instant, Node, Output, Rejected};

use crate::SEED;
use crate::start::Start;
use crate::wire::{Fate, Wire};

/// Some nodes, each under a key, which is its name unless [`Start::key`] says otherwise.
pub struct World {
    /// The time on the virtual clock.
    pub now: Instant,
    /// The network between the nodes.
    pub wire: Wire,
    /// What those who start from now on say about themselves.
    pub state: Vec<(String, Vec<u8>)>,
    /// Whether what happens is kept below. A bench has no use for it.
    pub keeps: bool,
    /// Every datagram that was sent.
    pub sent: Vec<Sent>,
    /// Every input that a node refused.
    pub rejected: Vec<(String, Rejected)>,
    /// What came out of all nodes, in order; datagrams only while `listening`.
    pub journal: Vec<(Instant, String, Said)>,
    /// Whether the journal has datagrams too.
    pub listening: bool,
    pub(crate) seed: u64,
    pub(crate) places: BTreeMap<String, Box<Place>>,
    /// When each node that is not stopped wants to be called.
    wakes: BTreeSet<(Instant, String)>,
    addresses: BTreeMap<SocketAddr, Vec<String>>,
    flights: BTreeMap<(Instant, u64), Flight>,
    flown: u64,
    next_host: u128,
}

/// A datagram that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The sender.
    pub from: String,
    /// The address that it was sent to.
    pub to: SocketAddr,
    /// The node that has this address.
    pub receiver: Option<String>,
    /// Its length.
    pub bytes: usize,
}

/// What came out of a node.
#[derive(Debug)]
pub enum Said {
    /// An event.
    Event(Event),
    /// A datagram, and what becomes of it.
    Datagram {
        /// The address that it was sent to.
        to: SocketAddr,
        /// The node that has this address.
        receiver: Option<String>,
        /// All of it.
        bytes: Vec<u8>,
        /// What becomes of it.
        fate: Fate,
    },
}

/// A host with its node.
pub(crate) struct Place {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    pub(crate) events: Vec<(Instant, Event)>,
    /// Bytes of its largest datagram.
    limit: usize,
    wake: Instant,
    stopped: bool,
    waiting: Vec<Flight>,
}

struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
    refusal: bool,
}

impl World {
    /// A world without nodes. Its seed can be given from outside: `HEARTSAY_SEED`.
    #[must_use]
    pub fn new() -> Self {
        let given = std::env::var("HEARTSAY_SEED").ok();
        Self::with_seed(given.map_or(SEED, |seed| seed.parse().unwrap()))
    }

    /// The same with a given seed.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self {
            now: Instant::EPOCH + Duration::from_secs(1),
            wire: Wire::new(seed),
            state: vec![("zone".into(), b"a".to_vec())],
            keeps: true,
            sent: Vec::new(),
            rejected: Vec::new(),
            journal: Vec::new(),
            listening: false,
            seed,
            places: BTreeMap::new(),
            wakes: BTreeSet::new(),
            addresses: BTreeMap::new(),
            flights: BTreeMap::new(),
            flown: 0,
            next_host: 1,
        }
    }

    /// Nodes `n1` to `nN`, all with `n1` as their seed, given five seconds to meet.
    #[must_use]
    pub fn cluster(count: usize) -> Self {
        Self::new().filled(count)
    }

    /// The same in a world that is there already.
    #[must_use]
    pub fn filled(mut self, count: usize) -> Self {
        for i in 1..=count {
            self.start(&format!("n{i}"), &["n1"]);
        }
        self.run(5.0);
        self
    }

    /// Starts a node with the usual configuration.
    pub fn start(&mut self, name: &str, seeds: &[&str]) {
        self.add(Start::new(name).seeds(seeds).state(self.state.clone()));
    }

    /// Starts a node of a given host with a given configuration.
    pub fn start_as(&mut self, name: &str, host: u128, seeds: &[&str], config: Config) {
        self.add(Start::new(name).host(host).seeds(seeds).config(config).state(self.state.clone()));
    }

    /// Starts a node. It takes the place of one that ran under its key.
    pub fn add(&mut self, start: Start) {
        let (node, clock) = start.node(self.next_host, self.seed, self.now);
        self.next_host = self.next_host.max(start.host.unwrap_or_default()) + 1;
        let place = Place {
            node,
            address: start.address(),
            events: Vec::new(),
            limit: start.config.datagram.limit(),
            wake: Instant::NEVER,
            stopped: false,
            waiting: Vec::new(),
        };
        let key = start.key;
        self.kill(&key);
        self.take(&key, place.address);
        self.places.insert(key.clone(), Box::new(place));
        let seeds = start.seeds.iter().filter_map(|seed| Some(self.places.get(seed)?.address)).collect();
        if let Some(clock) = clock {
            self.hand(&key, clock).unwrap();
        }
        self.hand(&key, Input::Command(Command::Seeds(seeds))).unwrap();
    }

    /// The process ends without a word; its host refuses datagrams from now on.
    pub fn kill(&mut self, name: &str) {
        self.set_wake(name, None);
        if let Some(place) = self.places.remove(name) {
            self.give_up(name, place.address);
        }
    }

    /// The host is cut off from all others.
    pub fn vanish(&mut self, name: &str) {
        for other in self.others(name) {
            self.wire.cut_between(name, &other);
        }
    }

    /// Nothing between the two arrives.
    pub fn cut_between(&mut self, a: &str, b: &str) {
        self.wire.cut_between(a, b);
    }

    /// No path is cut any more.
    pub fn heal(&mut self) {
        self.wire.cut.clear();
    }

    /// The process is not scheduled; what arrives waits for it.
    pub fn stop(&mut self, name: &str) {
        self.set_wake(name, None);
        self.places.get_mut(name).unwrap().stopped = true;
    }

    /// A stopped process goes on: first its inbox, then its timers.
    pub fn resume(&mut self, name: &str) {
        let place = self.places.get_mut(name).unwrap();
        place.stopped = false;
        let wake = place.wake;
        let waiting = std::mem::take(&mut place.waiting);
        self.set_wake(name, Some(wake));
        for flight in waiting {
            self.arrive(flight, &mut |_, _, _| {});
        }
    }

    /// The world calls the node by another key from now on.
    pub fn rename(&mut self, old: &str, new: &str) {
        self.set_wake(old, None);
        let place = self.places.remove(old).unwrap();
        let (wake, stopped, address) = (place.wake, place.stopped, place.address);
        self.give_up(old, address);
        self.take(new, address);
        self.places.insert(new.to_owned(), place);
        if !stopped {
            self.set_wake(new, Some(wake));
        }
    }

    /// The host has another address from now on, and the node is told so.
    pub fn readdress(&mut self, name: &str, to: SocketAddr) {
        let from = std::mem::replace(&mut self.places.get_mut(name).unwrap().address, to);
        self.give_up(name, from);
        self.take(name, to);
        self.command(name, Command::Readdress(to)).unwrap();
    }

    /// Tells a node what its own host wants.
    ///
    /// # Errors
    /// Why the node refuses.
    pub fn command(&mut self, name: &str, command: Command) -> Result<(), Rejected> {
        self.hand(name, Input::Command(command))
    }

    /// Hands one input to a node and carries out what it says. The whole contract is here.
    ///
    /// # Errors
    /// Why the node refuses.
    pub fn hand(&mut self, name: &str, input: Input<'_>) -> Result<(), Rejected> {
        let now = self.now;
        let place = self.places.get_mut(name).unwrap();
        let result = place.node.handle(now, input);
        let mut out = Vec::new();
        let wake = loop {
            match place.node.poll_output() {
                Output::Transmit(transmit) => out.push(transmit),
                Output::Event(event) if self.keeps => {
                    self.journal.push((now, name.to_owned(), Said::Event(event.clone())));
                    place.events.push((now, event));
                }
                Output::Event(_) => {}
                Output::Timeout(when) => break when,
            }
        };
        self.set_wake(name, Some(wake));
        for transmit in out {
            self.transmit(name, transmit.to, transmit.bytes.to_vec());
        }
        if let Err(rejected) = &result
            && self.keeps
        {
            self.rejected.push((name.to_owned(), rejected.clone()));
        }
        result
    }

    /// Lets so many seconds pass.
    pub fn run(&mut self, seconds: f64) {
        self.run_with(Duration::from_secs_f64(seconds), |_, _, _| {});
    }

    /// Lets time pass; `tap` sees each input before its node does. What arrives in one moment is there before timers expire.
    pub fn run_with(&mut self, time: Duration, mut tap: impl FnMut(&str, Instant, &Input<'_>)) {
        let until = self.now + time;
        loop {
            let arrival = self.flights.first_key_value().map_or(Instant::NEVER, |((at, _), _)| *at);
            let wake = self.wakes.first().map_or(Instant::NEVER, |(at, _)| *at);
            if arrival.min(wake) > until {
                break;
            }
            self.now = self.now.max(arrival.min(wake));
            if arrival <= wake {
                let (_, flight) = self.flights.pop_first().unwrap();
                self.arrive(flight, &mut tap);
            } else {
                let name = self.wakes.first().unwrap().1.clone();
                tap(&name, self.now, &Input::Timeout);
                let _ = self.hand(&name, Input::Timeout);
            }
        }
        self.now = until;
    }

    fn transmit(&mut self, name: &str, to: SocketAddr, bytes: Vec<u8>) {
        let place = &self.places[name];
        assert!(bytes.len() <= place.limit, "{name} sent {} bytes of {}", bytes.len(), place.limit);
        let from = place.address;
        let receiver = self.key_at(to).map(str::to_owned);
        let fate = self.wire.fate(name, receiver.as_deref(), bytes.len());
        if self.keeps {
            let length = bytes.len();
            self.sent.push(Sent { from: name.to_owned(), to, receiver: receiver.clone(), bytes: length });
        }
        if self.listening {
            let said = Said::Datagram { to, receiver, bytes: bytes.clone(), fate };
            self.journal.push((self.now, name.to_owned(), said));
        }
        let flight = match fate {
            Fate::Arrives => Flight { from, to, bytes, refusal: false },
            Fate::Refused => Flight { from: to, to: from, bytes, refusal: true },
            Fate::Lost => return,
        };
        self.flown += 1;
        self.flights.insert((self.now + self.wire.delay, self.flown), flight);
    }

    fn arrive(&mut self, flight: Flight, tap: &mut impl FnMut(&str, Instant, &Input<'_>)) {
        let Some(name) = self.key_at(flight.to).map(str::to_owned) else { return };
        let place = self.places.get_mut(&name).unwrap();
        if place.stopped {
            place.waiting.push(flight);
            return;
        }
        let input = if flight.refusal {
            Input::Refused { to: flight.from, quoted: &flight.bytes }
        } else {
            Input::Datagram { from: flight.from, bytes: &flight.bytes }
        };
        tap(&name, self.now, &input);
        let _ = self.hand(&name, input);
    }

    /// The first of those that have this address.
    fn key_at(&self, address: SocketAddr) -> Option<&str> {
        self.addresses.get(&address)?.first().map(String::as_str)
    }

    fn take(&mut self, name: &str, address: SocketAddr) {
        let keys = self.addresses.entry(address).or_default();
        keys.push(name.to_owned());
        keys.sort_unstable();
    }

    fn give_up(&mut self, name: &str, address: SocketAddr) {
        if let Some(keys) = self.addresses.get_mut(&address) {
            keys.retain(|key| key != name);
        }
    }

    /// When a node wants to be called. Without a time, it is not called.
    fn set_wake(&mut self, name: &str, wake: Option<Instant>) {
        let Some(place) = self.places.get_mut(name) else { return };
        if wake == Some(place.wake) && self.wakes.contains(&(place.wake, name.to_owned())) {
            return;
        }
        self.wakes.remove(&(place.wake, name.to_owned()));
        place.wake = wake.unwrap_or(place.wake);
        if wake.is_some() && !place.stopped {
            self.wakes.insert((place.wake, name.to_owned()));
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
