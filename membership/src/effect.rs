//! Effects: what one part asks of another.
//!
//! The parts are gossip, detection and quorum. None of them calls another. A part pushes an effect, and `node` carries
//! the effects out after the call, in the order in which they were pushed, depth first: what an effect causes runs next,
//! before the effects that were already waiting.
//!
//! Gossip and detection share the effects of this file and the context in `transport/context.rs`. Quorum has an `Effect`
//! and a `Context` of its own (`quorum/mod.rs`), because it only reads: its context holds the core and the roster
//! without the right to change them, and no way out. So `node` also sends its questions (`node/quorum.rs`).

use core::net::SocketAddr;
use std::borrow::Cow;

use crate::identity::{Generation, HostId};

/// Work for another part, or for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The claims about a member have changed: bring its status in line and report a change.
    Refresh {
        /// Hash of its name.
        subject: u64,
        /// One sentence for people.
        reason: Cow<'static, str>,
    },
    /// A member's heartbeat has advanced, which may void what was held against it.
    Heartbeat(u64),
    /// An incarnation has ended, or the member is gone: drop the probe of it.
    Ended(u64),
    /// The time that a member asked for to restart is over: its silence counts again.
    RestartOver(u64),
    /// A member is a joint: news has to pass over it.
    Joint(u64),
    /// There is news about a member: spread it.
    News {
        /// Hash of its name.
        subject: u64,
        /// The receivers may not know this incarnation: send the full record.
        full: bool,
    },
    /// Members came, went, or fell silent: count soon.
    Recount,
    /// Whether this node counts as a member may have changed: judge its quorum.
    JudgeQuorum,
    /// A peer has compared its view with ours.
    Agreement {
        /// Hash of its name.
        peer: u64,
        /// Both have the same view.
        agrees: bool,
    },
    /// Another live host holds our name.
    NameHeld {
        /// That host.
        holder: HostId,
        /// Its address.
        address: SocketAddr,
        /// Its generation.
        generation: Generation,
    },
    /// Begin an own incarnation above this generation.
    BeginAnew(Generation),
    /// Our own incarnation has been replaced: verdicts against the last one are void.
    Renewed,
    /// We have said good-bye: stop probing.
    Leaving,
    /// The roster is complete.
    Complete,
}
