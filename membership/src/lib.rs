//! The heartsay membership protocol as a pure state machine.
//!
//! ```text
//!                 Input                                     Output
//!   datagram ──┐                                    ┌──► datagram to send
//!   refusal  ──┤   ┌────────────────────────────┐   │
//!   timeout  ──┼──►│            Node            │───┼──► event for programs and people
//!   clock    ──┤   │ gossip  detection  quorum  │   │
//!   command  ──┘   │     transport   roster     │   └──► when to call again
//!                  └────────────────────────────┘
//! ```
//!
//! **The contract.** Hand in one [`Input`] with the time, then call [`Node::poll_output`] until it says
//! [`Output::Timeout`]; only then wait. Hand in all datagrams that have already arrived before an [`Input::Timeout`],
//! so that no verdict is given while answers wait in the inbox.
//!
//! ```
//! use heartsay_membership::{
//!     Cluster, Command, Config, HostId, Identity, Input, Instant, Name, Node, Output, Profile,
//! };
//!
//! let me = Identity {
//!     name: Name::new("n1")?,
//!     // `HostId::random` at the first start; the same one at later starts.
//!     host_id: HostId(0x0123_4567_89ab_cdef),
//!     // `next_generation` of the last generation and the wall clock.
//!     generation: 1_700_000_000_000,
//!     address: "192.0.2.1:4327".parse()?,
//!     state: vec![("zone".into(), b"a".to_vec())],
//! };
//! let now = Instant::EPOCH;
//! let mut node = Node::new(me, Config::new(Cluster::new("demo")?, Profile::Lan), 42, now)?;
//!
//! node.handle(now, Input::Command(Command::Seeds(vec!["192.0.2.2:4327".parse()?])))?;
//! node.handle(now, Input::Timeout)?;
//! let wake = loop {
//!     match node.poll_output() {
//!         Output::Transmit(datagram) => println!("{} bytes to {}", datagram.bytes.len(), datagram.to),
//!         Output::Event(event) => println!("{event:?}"),
//!         Output::Timeout(wake) => break wake,
//!     }
//! };
//! // Wait for a datagram or for `wake`, and hand in what came.
//! assert!(wake > now);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/udp.rs` runs three nodes over real sockets; the crate `heartsay-tokio` is the same loop with everything
//! that a service needs around it.
//!
//! **Invariants.** Only its owner raises a member's heartbeat and generation. Merging claims is commutative,
//! associative and idempotent within one incarnation. No datagram is longer than [`Config::datagram`]. The roster's cap
//! bounds all tables. Nothing that a peer sends causes a panic.
//!
//! **What this crate never knows**: a clock, a socket, a thread, a file, or any randomness except the seed it was
//! given. Same inputs, same outputs. The one lock is in [`Interner::shared`], by which a program that runs many nodes
//! keeps equal records once; it changes nothing that leaves a node, and no node has one unless the program asks.
//!
//! # Parts
//!
//! - `roster`: who is known, and the order of claims. Sends nothing.
//! - `gossip`: how members learn of one another and of changes.
//! - `detection`: which members are silent, and the verdict on them.
//! - `quorum`: which side may act. It has its own state and rules; `node` hands it what it needs and carries out its
//!   effects.
//! - `transport`: what leaves and what arrives.
//! - `core`: settings, identity, clocks, randomness, own health; read by all.
//! - `node`: owns the parts, takes the inputs, keeps the one table of timers.
//!
//! # Words of the papers
//!
//! | paper | here |
//! |---|---|
//! | anti-entropy, digest (Demers and others) | `gossip/anti_entropy.rs`: an exchange compares range digests |
//! | delta (Scuttlebutt) | `roster/state.rs`: a claim carries a delta of a member's state |
//! | incarnation (SWIM) | one run of a member's process; its id is the tag, its number the [`Generation`] |
//! | infection-style dissemination (SWIM), rumor mongering | `gossip/broadcast.rs` |
//! | ping, ping-req, nack (SWIM, Lifeguard) | `detection/probe.rs`, `detection/indirect_probe.rs` |
//! | suspicion (SWIM) | an accusation; [`Status::Suspect`] while one counts |
//! | local health (Lifeguard) | `LocalHealth` of the detector crate, in `core` |
//! | phi accrual (Hayashibara and others) | `Detector` of the detector crate; φ starts a probe, never accuses alone |
//! | rendezvous hashing (Thaler and Ravishankar) | `detection/witnesses.rs`: who watches whom |
//! | lease (Gray and Cheriton) | `quorum/lease.rs`: how long the proof of a majority is good |

mod config;
mod core;
mod detection;
mod effect;
mod gossip;
mod identity;
mod io;
mod node;
mod quorum;
mod roster;
mod stats;
#[cfg(test)]
mod testing;
mod transport;

pub use config::{Config, Profile};
pub use detection::case::{CaseView, PieceKind, PieceView};
pub use detection::outside::{Outside, OutsideReason};
pub use heartsay_detector::{
    DetectorConfig, FixedConfig, Instant, LocalHealthConfig, PhiConfig, RttConfig, Tail,
};
pub use heartsay_proto::{Budget, Cluster, Key, KeyId, Keyring};
pub use identity::{
    Generation, Heartbeat, HostId, Identity, Name, NameError, Version, is_reachable, next_generation,
};
pub use io::{Command, Event, Input, MemberEvent, MemberEventKind, Output, Rejected, Transmit};
pub use node::{AccuserView, IdentityError, MemberSummary, MemberView, Node};
pub use quorum::otherwise::Stated;
pub use quorum::{AgreedRoster, Electorate, ElectorateError, FenceError, Quorum, QuorumStatus, TAG};
pub use roster::Census;
pub use roster::claim::FARTHEST_START_MS;
pub use roster::interner::Interner;
pub use roster::member::ZONE;
pub use roster::standing::{LONGEST_RESTART, Status};
pub use roster::state::QUORUM_KEY;
pub use roster::state::{KeyChange, StateError};
pub use stats::Stats;
pub use transport::path_limits::NarrowPath;
