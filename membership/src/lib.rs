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

mod beat;
mod bodies;
mod bucket;
mod buffers;
mod burst;
mod case;
mod claims;
mod command;
mod config;
mod contact;
mod damping;
mod datagram;
mod drawer;
mod errand;
mod exchange;
mod fence;
mod fingerprint;
mod follow;
mod hearsay;
mod identity;
mod io;
mod join;
mod leave;
mod life;
mod member;
mod node;
mod otherwise;
mod outlet;
mod outside;
mod overslept;
mod path_limits;
mod peers;
mod presence;
mod probe;
mod pull;
mod pulse;
mod quorum;
mod readdress;
mod refusals;
mod rest;
mod restart;
mod roll;
mod roster;
mod round;
mod standing;
mod state;
mod stats;
mod testimony;
mod tombstones;
mod twin;
mod verdict;
mod view;
mod wire;
mod witness;

pub use bodies::Bodies;
pub use case::{CaseView, PieceKind, PieceView};
pub use claims::FARTHEST_START_MS;
pub use config::{Config, Profile};
pub use heartsay_detector::Instant;
pub use identity::{Generation, Heartbeat, HostId, Name, NameError, Version};
pub use io::{Command, Event, Input, MemberEvent, MemberEventKind, Output, Rejected, Transmit};
pub use node::{Identity, Node};
pub use otherwise::Stated;
pub use outside::{Outside, OutsideReason};
pub use path_limits::NarrowPath;
pub use quorum::{AgreedRoster, Electorate, ElectorateError, FenceError, Quorum, QuorumStatus};
pub use roster::Census;
pub use standing::{LONGEST_RESTART, Status};
pub use state::{KeyChange, StateError};
pub use stats::Stats;
pub use view::{AccuserView, Glance, MemberView};
