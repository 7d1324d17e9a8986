//! Members for benches: named, numbered and described as hosts are.

use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Config, Interner, Profile};
use heartsay_proto::Cluster;

use crate::SEED;
use crate::start::Start;
use crate::world::World;

/// The usual configuration.
#[must_use]
pub fn config() -> Config {
    Config::new(cluster(), Profile::Lan)
}

/// A configuration with which many nodes of one process share what they know.
#[must_use]
pub fn shared() -> Config {
    Config { interner: Interner::shared(), ..config() }
}

/// The cluster of all benches.
#[must_use]
pub fn cluster() -> Cluster {
    Cluster::new("bench").unwrap()
}

/// Hosts that have just started, all within a short while. The first is the seed of the others.
#[must_use]
pub fn world(members: usize, config: &Config) -> World {
    let mut world = World::with_seed(SEED);
    world.keeps = false;
    world.wire.delay = DELAY;
    for index in 0..members {
        world.add(host(index, config));
        world.run_with(STAGGER, |_, _, _| {});
    }
    world
}

/// One host, counted from 0.
#[must_use]
pub fn host(index: usize, config: &Config) -> Start {
    let value = |key: &str| format!("{key}-{}", index % 17 * usize::from(key != "zone")).into_bytes();
    let state = ["zone", "role", "version"].map(|key| (key.to_owned(), value(key)));
    let first = name(0);
    let seeds = if index == 0 { &[][..] } else { &[first.as_str()] };
    Start::new(&name(index))
        .host(1 + index as u128)
        .at(address(index))
        .seeds(seeds)
        .config(config.clone())
        .state(state.into())
}

/// The name of a host.
#[must_use]
pub fn name(index: usize) -> String {
    format!("host-{index:05}.example.net")
}

/// The address of a host; ports count them.
#[must_use]
pub fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (index >> 8) as u8, index as u8], PORT + index as u16))
}

/// The host whose port this is.
#[must_use]
pub fn index(port: u16) -> usize {
    usize::from(port - PORT)
}

/// Whether every node knows as many members as there are nodes.
#[must_use]
pub fn is_complete(world: &World) -> bool {
    let count = world.nodes().count();
    world.nodes().all(|node| node.members() == count)
}

const DELAY: Duration = Duration::from_micros(250);
/// From one start to the next.
const STAGGER: Duration = Duration::from_micros(500);
const PORT: u16 = 1000;
