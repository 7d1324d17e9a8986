//! The heartsay membership protocol as a pure state machine.
//!
//! ```text
//!                 Input                                     Output
//!   datagram ──┐                                    ┌──► datagram to send
//!   refusal  ──┤   ┌────────────────────────────┐   │
//!   timeout  ──┼──►│            Node            │───┼──► event for programs and people
//!   clock    ──┤   │ gossip  detection  quorum  │   │
//!   command  ──┘   │ questions transport roster │   └──► when to call again
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
//! ```text
//!     node        owns all of them, takes the inputs, carries out effects, keeps the one table of timers
//!     gossip   detection   quorum   questions   the parts: side by side, none calls another
//!     transport
//!     core
//!     roster
//! ```
//!
//! Each line may call the lines below it (`scripts/check.sh rooms`). A part asks the others for work by effects
//! (`effect.rs`).
//!
//! - `gossip`: how members learn of one another and of changes.
//! - `detection`: which members are silent, and the verdict on them.
//! - `quorum`: which side may act. It only reads what lies below it; `node` sends its questions and carries out its
//!   effects.
//! - `questions`: what a person wants to know from another member, asked and answered at once; nothing depends on it.
//! - `transport`: what leaves and what arrives, open requests, and the context that gossip and detection are called
//!   with.
//! - `core`: settings, identity, clocks, randomness, own health, counters. Gossip, detection, questions and transport read
//!   and write it; quorum only reads it.
//! - `roster`: who is known, and the order of claims. Sends nothing. `roster/mod.rs` says who may change it.
//!
//! Two files at the top stand outside this order: `io.rs` and `config.rs`, the interface that all parts share. They name
//! types of the parts (a status, an electorate, what a program is told), and every part may name theirs.
//!
//! # Where to begin
//!
//! Open these files of `node` first, in this order: `dispatch.rs` (a datagram is taken apart), `timers.rs` (everything
//! that happens by the clock), `effects.rs` (what parts ask of one another), `status.rs` (from claims to a status and an
//! event). Then follow these two walks.
//!
//! **A datagram with step 1 of an exchange, until the answer leaves:**
//!
//! 1. `Node::handle` notices a stall, if there was one, and calls `Node::on_datagram`, which opens the frame and decodes
//!    the packet.
//! 2. `Node::on_claims`: each claim goes through `take_claim` (is it plausible? is it about us?) into `Roster::apply`.
//!    The `Change` that this returns says what is reported and passed on.
//! 3. `Node::heard`: the heartbeat in the head proves that the sender lives.
//! 4. `Node::on_body` → `on_exchange` → `Gossip::begin`: raises our heartbeat, as a caller expects of an answer.
//! 5. For each page: `Gossip::hear_page` takes the heartbeats, `Node::settle` carries out what they refute, and
//!    `Gossip::compare_page` writes what differs into the reply.
//! 6. `Gossip::end`: answers the sender's lists and wants, and says whether both views are equal.
//! 7. `Node::acknowledge_with_extras`: our vote, which acknowledges the asker as a member for quorum, and what stands
//!    against the asker.
//! 8. `Gossip::answer` cuts the reply to one datagram, and `Context::send` seals it and puts it where
//!    [`Node::poll_output`] finds it.
//!
//! **From a missed answer to "down":**
//!
//! 1. Timer "unanswered": `Node::expire_requests` → `Detection::on_silence` → `begin_probe`.
//! 2. `step_probe` asks again, from time to time through helpers too (`indirect_probe.rs`). Timer "probes" repeats it.
//! 3. `rescore` adds up the evidence: φ = min(silence, 3) + direct + indirect contacts without an answer, and more for a
//!    refusal.
//! 4. φ ≥ 5: `accuse` marks the member and pushes `Effect::Refresh`. `Node::refresh` makes it *suspect*, reports that
//!    and spreads the news.
//! 5. Timer "testimony": `testify` tells the witnesses. Each of them probes the member itself (`hear_testimony` →
//!    `probe_as_witness`) and tells the others.
//! 6. φ ≥ 8 and a silence beyond the acceptable pause: the evidence is *proven*, and `accuse` says so.
//! 7. Each new piece of evidence, and each testimony heard, calls `judge_soon`. Timer "verdicts", at the next time-out:
//!    `Node::judge` → `Detection::judge` → `verdict::decide`.
//! 8. Enough witnesses have proof: `judge` marks the verdict and pushes `Effect::Refresh`. `Node::refresh` makes the
//!    member *down*, reports that and spreads the news. Any heartbeat above the basis brings it back.
//!
//! # Words of the papers
//!
//! | paper | here |
//! |---|---|
//! | anti-entropy, digest (Demers and others) | `gossip/anti_entropy.rs`: an exchange compares range digests |
//! | delta (Scuttlebutt) | `roster/state.rs`: a claim carries a delta of a member's state |
//! | incarnation (SWIM); in `docs/` a *life* | `roster/incarnation.rs`, `struct Incarnation`: one run of a member's process, or a part of it: another begins with a new address, or above a later one that others know. Its id is the tag, its number the [`Generation`] |
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
mod questions;
mod quorum;
mod roster;
mod stats;
#[cfg(test)]
mod testing;
mod transport;

pub use config::{Config, Profile};
pub use detection::case::{CaseView, PieceKind, PieceView};
pub use detection::direct_paths::{Direction, LinkEvent, PathState, PathView};
pub use detection::outside::{Outside, OutsideReason};
pub use gossip::beacon::NewsDelays;
pub use heartsay_detector::{
    DetectorConfig, FixedConfig, Instant, LocalHealthConfig, PhiConfig, RttConfig, Tail,
};
pub use heartsay_proto::{Budget, Cluster, Key, KeyId, Keyring, LastSecret, Plain};
pub use identity::{
    Generation, Heartbeat, HostId, Identity, Name, NameError, Version, is_reachable, next_generation,
};
pub use io::{
    Answer, Command, Event, Input, MemberEvent, MemberEventKind, Output, PathTold, PathsTold, Question,
    Rejected, Transmit,
};
pub use node::{AccuserView, IdentityError, MemberSummary, MemberView, Node, last_words};
pub use quorum::otherwise::Stated;
pub use quorum::{Electorate, ElectorateError, FenceError, MOST_ZONES, Quorum, QuorumStatus, TAG, ZoneVotes};
pub use roster::Census;
pub use roster::claim::FARTHEST_START_MS;
pub use roster::interner::Interner;
pub use roster::member::ZONE;
pub use roster::source::{Source, SourceError};
pub use roster::standing::{LONGEST_RESTART, Status};
pub use roster::state::{BEACON_KEY, KEYS_KEY, QUORUM_KEY};
pub use roster::state::{KeyChange, StateError};
pub use stats::Stats;
pub use transport::path_limits::NarrowPath;
