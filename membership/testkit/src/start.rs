//! How one node is started.

use std::net::SocketAddr;

use heartsay_membership::{Config, HostId, Identity, Input, Instant, Name, Node};

use crate::unix_ms;

/// A node that is about to start. What is not said is as usual.
#[derive(Clone, Debug)]
pub struct Start {
    pub(crate) key: String,
    pub(crate) seeds: Vec<String>,
    pub(crate) config: Config,
    name: Name,
    pub(crate) host: Option<u128>,
    address: Option<SocketAddr>,
    generation: Option<u64>,
    clock: Option<u64>,
    state: Vec<(String, Vec<u8>)>,
}

impl Start {
    /// A node of this name. `n7` is at the seventh address, in this life and in the next; other names say [`Self::at`] which.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            key: name.to_owned(),
            seeds: Vec::new(),
            config: crate::config(),
            name: Name::new(name).unwrap(),
            host: None,
            address: None,
            generation: None,
            clock: None,
            state: vec![("zone".into(), b"a".to_vec())],
        }
    }

    /// What the world calls it, where another node has its name.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self }
    }

    /// The nodes that it calls first. Those that do not run are left out.
    #[must_use]
    pub fn seeds(self, seeds: &[&str]) -> Self {
        Self { seeds: seeds.iter().map(|seed| (*seed).to_owned()).collect(), ..self }
    }

    /// Another configuration.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// The host that it runs on. Without it, each start is one of a new host.
    #[must_use]
    pub fn host(self, host: u128) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Its address.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// Another generation than the time of its start. It is not told the time of day.
    #[must_use]
    pub fn generation(self, generation: u64) -> Self {
        Self { generation: Some(generation), ..self }
    }

    /// The time of day according to its host.
    #[must_use]
    pub fn clock(self, unix_ms: u64) -> Self {
        Self { clock: Some(unix_ms), ..self }
    }

    /// What it says about itself.
    #[must_use]
    pub fn state(self, state: Vec<(String, Vec<u8>)>) -> Self {
        Self { state, ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address.unwrap_or_else(|| {
            let index: u8 = self.name.as_str().trim_start_matches('n').parse().unwrap();
            SocketAddr::from(([10, 0, 0, index], 4000 + u16::from(index)))
        })
    }

    /// The node, and the time of day that it is to be told.
    #[must_use]
    pub fn node(&self, next_host: u128, seed: u64, now: Instant) -> (Node, Option<Input<'static>>) {
        let clock = match (self.clock, self.generation) {
            (None, Some(_)) => None,
            (clock, _) => Some(clock.unwrap_or_else(|| unix_ms(now))),
        };
        let identity = Identity {
            name: self.name.clone(),
            host_id: HostId(self.host.unwrap_or(next_host)),
            generation: self.generation.or(clock).unwrap(),
            address: self.address(),
            state: self.state.clone(),
        };
        let node = Node::new(identity, self.config.clone(), seed, now).unwrap();
        (node, clock.map(|unix_ms| Input::WallClock { unix_ms }))
    }
}
