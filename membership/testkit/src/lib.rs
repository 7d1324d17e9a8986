//! A made-up cluster for tests and benches: nodes, a wire with faults between them, and a clock that the test moves.
//!
//! ```text
//! let mut world = World::cluster(3);            // n1, n2, n3, who have met
//! world.vanish("n3");
//! world.wait(4.0, |w| w.all_say("n3", Status::Down));
//! ```
//!
//! One seed decides everything that is random: the nodes, and which datagrams are lost. `HEARTSAY_SEED=3 cargo test` runs the
//! tests with another one; a wait that fails prints it.
//!
//! Only tests, benches and examples depend on this crate. It uses few names of `heartsay-membership`, because
//! `scripts/measure/bench-compare.sh` builds it against older revisions too.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

pub mod allocations;
pub mod hosts;
pub mod packets;
pub mod recording;
mod start;
mod views;
mod wire;
mod world;

pub use start::Start;
pub use wire::{Fate, Wire};
pub use world::{Said, Sent, World};

use heartsay_membership::{Config, Instant, Profile};
use heartsay_proto::Cluster;

/// Unix time at the epoch of the virtual clock.
pub const DAWN_MS: u64 = 1_700_000_000_000;

/// The usual randomness.
pub const SEED: u64 = 7;

/// The usual configuration on a local network.
#[must_use]
pub fn config() -> Config {
    Config::new(Cluster::new("story").unwrap(), Profile::Lan)
}

/// Unix time at a moment of the virtual clock.
#[must_use]
pub fn unix_ms(now: Instant) -> u64 {
    DAWN_MS + now.as_micros() / 1000
}
