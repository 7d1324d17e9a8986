//! Made-up time, made-up network, made-up trouble; the real protocol.
//!
//! The simulator drives thousands of [`heartsay_membership::Node`]s, the very
//! machine that the agent drives, through a discrete-event world: a queue
//! ordered by (time, order of insertion), a virtual clock that jumps from one
//! entry to the next, one wake-up per member. Everything random comes from one
//! root seed, so a run is a number, and every failure a seed.
//!
//! ```text
//! scenario.toml ─► Scenario ─┐                      ┌─► checks: must never happen
//!          seed ─► Seed ─────┴► World ─► Trace ─────┼─► measures: how well it went
//!                               │  ▲   (its hash)   └─► log for people
//!              Input, virtual now│  │Output
//!                               ▼  │
//!                     heartsay_membership::Node × N
//! ```
//!
//! What it does not know: sockets, the real clock (but for a progress bar),
//! and how any rule of the protocol works. It sees what an agent would see.

#![allow(
    clippy::indexing_slicing,
    reason = "indices are member numbers that the simulator dealt out itself; a wrong one is a bug that must stop the run"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "member numbers fit 16 bits (checked when a scenario is read); the rest are measurements for people"
)]

pub mod agent_history;
pub mod bits;
pub mod checks;
mod faults;
mod host;
pub mod liar;
pub mod measure;
pub mod models;
pub mod network;
pub mod one_link;
pub mod oracle;
pub mod queue;
pub mod recording;
pub mod report;
pub mod run;
pub mod scenario;
pub mod shapes;
pub mod sim_rng;
pub mod swarm;
pub mod trace;
pub mod world;
