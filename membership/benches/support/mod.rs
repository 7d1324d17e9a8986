//! What the benches and examples of this crate share: a cluster in memory, and what one of its
//! members went through, to be gone through again.

#![allow(dead_code, unreachable_pub, reason = "each takes what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a bench may stop at the first surprise"
)]

pub mod allocations;
pub mod transcript;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{
    Command, Config, HostId, Identity, Input, Instant, Interner, Name, Node, Output, Profile,
};
use heartsay_proto::Cluster;

/// Unix time at which the first member starts.
pub const DAWN_MS: u64 = 1_700_000_000_000;
const LATENCY: Duration = Duration::from_micros(250);
/// From one start to the next.
const STAGGER: Duration = Duration::from_micros(500);

/// Nodes, a wire without faults between them, and virtual time. The first is everybody's seed.
pub struct World {
    pub now: Instant,
    pub nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    sequence: u64,
    wakes: Vec<Instant>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrival { to: usize, from: usize, bytes: Vec<u8> },
    Wake(usize),
}

impl World {
    /// Members that have just been started, all within a short while.
    pub fn start(members: usize, config: &Config) -> Self {
        let mut world = Self {
            now: Instant::EPOCH + Duration::from_secs(1),
            nodes: Vec::with_capacity(members),
            queue: BinaryHeap::new(),
            sequence: 0,
            wakes: vec![Instant::NEVER; members],
        };
        for index in 0..members {
            world.nodes.push(node(index, config, world.now));
            for input in greeting(index, world.now) {
                world.hand(index, input);
            }
            world.run(STAGGER, |_, _, _| {});
        }
        world
    }

    /// A configuration with which many nodes of one process share what they know.
    pub fn shared() -> Config {
        Config { interner: Interner::shared(), ..config() }
    }

    /// Lets time pass; `tap` sees each input, with whom it is for.
    pub fn run(&mut self, time: Duration, mut tap: impl FnMut(usize, Instant, &Input<'_>)) {
        let until = self.now + time;
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= until
        {
            let Some(Reverse((at, _, happening))) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            match happening {
                Happening::Wake(index) if self.wakes[index] == at => {
                    tap(index, self.now, &Input::Timeout);
                    self.hand(index, Input::Timeout);
                }
                Happening::Wake(_) => {}
                Happening::Arrival { to, from, bytes } => {
                    let input = Input::Datagram { from: address(from), bytes: &bytes };
                    tap(to, self.now, &input);
                    self.hand(to, input);
                }
            }
        }
        self.now = until;
    }

    /// Whether everybody knows everybody.
    pub fn is_complete(&self) -> bool {
        self.nodes.iter().all(|node| node.members() == self.nodes.len())
    }

    fn hand(&mut self, index: usize, input: Input<'_>) {
        let _ = self.nodes[index].handle(self.now, input);
        loop {
            match self.nodes[index].poll_output() {
                Output::Event(_) => {}
                Output::Transmit(transmit) => {
                    // Ports count the members; the greeting is answered by the first.
                    let to = usize::from(transmit.to.port()) - usize::from(PORT);
                    let arrival = Happening::Arrival { to, from: index, bytes: transmit.bytes.to_vec() };
                    self.push(self.now + LATENCY, arrival);
                }
                Output::Timeout(wake) => {
                    let wake = wake.max(self.now + Duration::from_micros(1));
                    if self.wakes[index] != wake {
                        self.wakes[index] = wake;
                        self.push(wake, Happening::Wake(index));
                    }
                    return;
                }
            }
        }
    }

    fn push(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, happening)));
    }
}

pub fn config() -> Config {
    Config::new(Cluster::new("bench").unwrap(), Profile::Lan)
}

/// A node with a name and a state as hosts have them.
pub fn node(index: usize, config: &Config, now: Instant) -> Node {
    let identity = Identity {
        name: Name::new(&format!("host-{index:05}.example.net")).unwrap(),
        host_id: HostId(1 + index as u128),
        generation: unix_ms(now),
        address: address(index),
        state: ["zone", "role", "version"]
            .into_iter()
            .map(|key| {
                (key.to_owned(), format!("{key}-{}", index % 17 * usize::from(key != "zone")).into_bytes())
            })
            .collect(),
    };
    Node::new(identity, config.clone(), 7, now).unwrap()
}

/// What a node is told at its start.
pub fn greeting(index: usize, now: Instant) -> Vec<Input<'static>> {
    let seeds = if index == 0 { Vec::new() } else { vec![address(0)] };
    vec![Input::WallClock { unix_ms: unix_ms(now) }, Input::Command(Command::Seeds(seeds))]
}

/// Takes everything out; returns how many datagrams came.
pub fn drain(node: &mut Node) -> usize {
    let mut sent = 0;
    loop {
        match node.poll_output() {
            Output::Transmit(_) => sent += 1,
            Output::Event(_) => {}
            Output::Timeout(_) => return sent,
        }
    }
}

fn unix_ms(now: Instant) -> u64 {
    DAWN_MS + now.as_micros() / 1000
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (index >> 8) as u8, index as u8], PORT + index as u16))
}

const PORT: u16 = 1000;
