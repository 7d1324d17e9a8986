//! The heartsay membership protocol as a pure state machine.
//!
//! ```text
//!                 Input                                Output
//!   datagram ──┐                               ┌──► datagram to send
//!   refusal  ──┤   ┌───────────────────────┐   │
//!   timeout  ──┼──►│         Node          │───┼──► event for programs and people
//!   clock    ──┤   │  roster  exchange     │   │
//!   command  ──┘   │  burst   probe        │   └──► when to call again
//!                  │  witness quorum       │
//!                  └───────────────────────┘
//! ```
//!
//! **The contract.** Hand in one [`Input`] with the time, then call
//! [`Node::poll_output`] until it says [`Output::Timeout`]; only then wait.
//! Hand in all datagrams that are already there before a
//! [`Input::Timeout`]: verdicts are given on time-outs only, so that none is
//! given over a full inbox.
//!
//! **Invariants.** A member's heartbeat and generation are raised by nobody
//! but its owner. Merging claims is commutative, associative and idempotent.
//! No datagram is longer than [`Config::datagram`]. Tables are bounded by the
//! roster's cap. Nothing that a peer sends panics.
//!
//! **What this crate never knows**: a clock, a socket, a thread, a file, or
//! any randomness but that of the seed it was given. Same inputs, same
//! outputs.

mod config;
mod core;
mod detection;
mod gossip;
mod identity;
mod io;
mod node;
mod quorum;
mod roster;
mod stats;
mod transport;

pub use config::{Config, Profile};
pub use detection::case::{CaseView, PieceKind, PieceView};
pub use detection::outside::{Outside, OutsideReason};
pub use heartsay_detector::Instant;
pub use identity::{Generation, Heartbeat, HostId, Name, NameError, Version};
pub use io::{Command, Event, Input, MemberEvent, MemberEventKind, Output, Rejected, Transmit};
pub use node::{AccuserView, FARTHEST_START_MS, Identity, MemberSummary, MemberView, Node};
pub use quorum::otherwise::Stated;
pub use quorum::{AgreedRoster, Electorate, ElectorateError, FenceError, Quorum, QuorumStatus};
pub use roster::Census;
pub use roster::interner::Interner;
pub use roster::standing::{LONGEST_RESTART, Status};
pub use roster::state::{KeyChange, StateError};
pub use stats::Stats;
pub use transport::path_limits::NarrowPath;
