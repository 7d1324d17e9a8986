//! What one part asks of the others.
//!
//! A part never calls another one. It writes down what is to be done, and `node` carries that out after the call, in
//! the order in which it was asked for; what an effect asks for in its turn comes before what was waiting.

use core::net::SocketAddr;
use std::borrow::Cow;

use crate::identity::{Generation, HostId};

/// Something that another part, or several, are to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The claims about a member have changed: its status is to follow, and a change of it is told.
    Refresh {
        /// Hash of its name.
        subject: u64,
        /// In one sentence, for people.
        reason: Cow<'static, str>,
    },
    /// A member's heartbeat has advanced: what was held against it may be void.
    Heartbeat(u64),
    /// An incarnation has ended, or the member is gone: nothing is held against it any more.
    Ended(u64),
    /// The time is over that a member asked for to restart: its silence counts again.
    RestartOver(u64),
    /// There is something new about a member: spread it.
    News {
        /// Hash of its name.
        subject: u64,
        /// The receivers may not know this incarnation: tell everything.
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
        /// Both see the same.
        agrees: bool,
    },
    /// Our name is held by another living host.
    NameHeld {
        /// That host.
        holder: HostId,
        /// Where it lives.
        address: SocketAddr,
        /// Its generation.
        generation: Generation,
    },
    /// Begin an incarnation of our own above this generation.
    BeginAnew(Generation),
    /// Our own incarnation is another one now: verdicts against the last one are void.
    Renewed,
    /// We have said good-bye: no member is probed any more.
    Leaving,
    /// The roster is complete.
    Complete,
}
