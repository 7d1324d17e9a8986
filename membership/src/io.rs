//! What goes into the machine and what comes out.
//!
//! The whole contract: *hand in one input with the time, then call
//! `poll_output` until it says [`Output::Timeout`]; only then wait.*

use core::net::SocketAddr;
use core::time::Duration;
use std::borrow::Cow;

use bytes::Bytes;
use heartsay_proto::DecodeError;

use crate::Instant;
use crate::detection::outside::Outside;
use crate::identity::{Generation, Heartbeat, HostId, Name, NameError};
use crate::quorum::{Electorate, QuorumStatus};
use crate::roster::standing::Status;
use crate::roster::state::{KeyChange, StateError};

/// One thing that happened in the world.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram arrived.
    Datagram {
        /// Where it came from.
        from: SocketAddr,
        /// The whole frame, as received.
        bytes: &'a [u8],
    },
    /// The kernel of the host at `to` answered that nobody listens there.
    Refused {
        /// Where our datagram was going.
        to: SocketAddr,
    },
    /// A router, or our own kernel, says that a datagram to `to` was longer than the path takes.
    TooLong {
        /// Where our datagram was going.
        to: SocketAddr,
    },
    /// The time asked for by [`Output::Timeout`] has come. Harmless when early.
    Timeout,
    /// What the wall clock says now. Wanted at the start and about once a minute.
    WallClock {
        /// Unix time in milliseconds.
        unix_ms: u64,
    },
    /// A wish of the operator or of the program around the machine.
    Command(Command),
}

/// A wish of the operator.
#[derive(Clone, Debug)]
pub enum Command {
    /// Addresses at which the operator says that other members are, as resolved right now and best first. Replaces those of
    /// before. They are called first and every time. Those at which nobody can be ([`is_reachable`](crate::is_reachable))
    /// are left out, here and in the other commands that take addresses.
    Seeds(Vec<SocketAddr>),
    /// Addresses of peers of an earlier life. Replaces those of before. They are called beside the seeds, and dropped when
    /// they never answer.
    Remembered(Vec<SocketAddr>),
    /// Dial these addresses at once, in addition to the seeds.
    Join(Vec<SocketAddr>),
    /// Say good-bye; answered by [`Event::LeaveDone`].
    Leave,
    /// Say that this life ends and the next begins within this time, at most a minute, in which the others wait and raise no
    /// alarm; answered by [`Event::LeaveDone`].
    Restart(Duration),
    /// Drop a member that is down or has left, everywhere.
    Forget(Name),
    /// Change the member's own state. `None` deletes the key.
    Set(Vec<(String, Option<Vec<u8>>)>),
    /// The member is reached at this address from now on. It begins a later life there, in which its heartbeat, state and
    /// quorum go on; the others report an update. Answered by [`Event::Readdressed`], unless nothing has changed.
    Readdress(SocketAddr),
    /// Whether to beat. `false` when that for which this member stands is out of
    /// order: its heartbeat stands still and questions stay unanswered, so that
    /// the others call it down although its agent runs. `true` brings it back.
    Beat(bool),
    /// Who votes from now on; `None`: no quorum kept. The only way to change what was stated. Until all members have been
    /// told the same, none of them counts the votes of those told otherwise.
    Expect(Option<Electorate>),
    /// The roster that an earlier life of this member had agreed on, from [`Event::Agreed`]. Without an electorate that
    /// follows the cluster, or once this life has agreed on one, it changes nothing.
    Agreed(Vec<Name>),
}

/// One thing for the world to do.
#[derive(Debug)]
#[must_use]
pub enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// Something changed that a program or a person may care about.
    Event(Event),
    /// Nothing more now; call again with [`Input::Timeout`] at this time.
    Timeout(Instant),
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The whole frame.
    pub bytes: Bytes,
}

/// What changed in the view, or about ourselves.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A member's entry changed.
    Member(MemberEvent),
    /// Quorum was gained, lost, or became unclear.
    Quorum(QuorumStatus),
    /// The agreed roster has changed: these vote from now on, by name. To be kept for the next start and handed back by
    /// [`Command::Agreed`]; empty when none is to be kept.
    Agreed(Vec<Name>),
    /// First complete view of the cluster after the start. It always comes: a node that has no other member to look for has a
    /// complete view in its first round.
    Joined {
        /// Members in the view, this one included.
        members: usize,
    },
    /// The others do not count us as a member any more, and why; `None`: they do again.
    Outside(Option<Outside>),
    /// Our name is held by another living host, or by a copy of ours; we are not taken in. Said once for each.
    NameRefused {
        /// The host that holds the name.
        holder: HostId,
        /// Where it lives.
        address: SocketAddr,
        /// Its generation.
        generation: Generation,
    },
    /// Peers say that our clock is more than a day ahead of theirs; they do not take us in.
    ClockRefused,
    /// Somebody knew a later life of ours than this one: the generation was
    /// raised above it and must be kept for the next start.
    GenerationRaised(Generation),
    /// Our address has changed, and with it our generation, which must be kept for the next start.
    Readdressed {
        /// Where others reach us from now on.
        address: SocketAddr,
        /// That of the life at this address.
        generation: Generation,
    },
    /// Our life lay more than a day ahead of our own clock and of that of peers, who refused it: another one has begun,
    /// now. This number must replace the one that is kept, though it is lower.
    GenerationReset(Generation),
    /// Long datagrams to and from this address get lost while short ones arrive, or no longer so; all of them:
    /// [`Node::narrow_paths`](crate::Node::narrow_paths).
    PathLimited {
        /// The address at the other end.
        to: SocketAddr,
        /// Whether it is so.
        narrow: bool,
    },
    /// Most others look silent at once: probably it is us. Verdicts are held.
    Isolated(bool),
    /// We were not scheduled for this long; all waiting times were extended by it.
    Stalled(Duration),
    /// The good-bye, or the word that we restart, was acknowledged by `acknowledged` of `asked` peers, or time is up.
    LeaveDone {
        /// Peers that said they have it.
        acknowledged: usize,
        /// Peers that were told directly.
        asked: usize,
    },
}

/// A change of one member's entry.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberEvent {
    /// What happened.
    pub kind: MemberEventKind,
    /// Whom it concerns.
    pub name: Name,
    /// Which life.
    pub generation: Generation,
    /// The highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// Status after the change.
    pub status: Status,
    /// With `Down` and `Fenced`, where a fence is kept: whether its lease has run out for certain.
    pub fenced: Option<bool>,
    /// Accusers or deciders, by name; empty where nobody in particular.
    pub by: Vec<Name>,
    /// With `Update`: which values changed.
    pub changed: Vec<KeyChange>,
    /// One sentence for people.
    pub reason: Cow<'static, str>,
}

/// Kinds of change of a member's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberEventKind {
    /// A name that was not in the view.
    Join,
    /// Accused, not yet judged.
    Suspect,
    /// Accusation or verdict undone by a newer heartbeat.
    Alive,
    /// Called down.
    Down,
    /// Said good-bye.
    Left,
    /// A later life of a known name.
    Restart,
    /// Its state (zone, tags) changed; what the protocol keeps there for itself is no update.
    Update,
    /// Dropped from the view.
    Forgotten,
    /// It is down, and by now its lease has run out for certain.
    Fenced,
}

/// Why an input was not taken. The machine's state is as before; the driver
/// logs, counts, and goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not a datagram of ours. A peer's, or the network's fault; normal at a low rate.
    #[error("datagram not understood: {0}")]
    Decode(#[from] DecodeError),
    /// A name that breaks the rules. A peer's fault.
    #[error("bad name: {0}")]
    Name(#[from] NameError),
    /// A value over its limit. The caller's, or a peer's fault.
    #[error("bad state: {0}")]
    State(#[from] StateError),
    /// A life that begins more than a day in our future.
    #[error("generation of {name} lies {ahead_ms} ms ahead of our clock")]
    FarFuture {
        /// Whose.
        name: Name,
        /// By how much.
        ahead_ms: u64,
    },
    /// More heartbeats than its life can have had. A peer's fault.
    #[error("implausible heartbeat for member {subject:016x}")]
    Implausible {
        /// Name hash of the member.
        subject: u64,
    },
    /// Name held by another living host. An operator's fault (cloned image, two hosts of one name).
    #[error("{name} is held by host {holder}, which is alive; host {newcomer} was refused")]
    DuplicateName {
        /// The contested name.
        name: Name,
        /// Who holds it.
        holder: HostId,
        /// Who wants it.
        newcomer: HostId,
    },
    /// More members than the configured cap.
    #[error("the roster is full ({cap} members); {name} was refused")]
    Full {
        /// Configured cap.
        cap: usize,
        /// Who did not fit.
        name: Name,
    },
    /// An answer to nothing we asked, or a datagram seen before.
    #[error("stale or unexpected {what}")]
    Unexpected {
        /// Kind of message.
        what: &'static str,
    },
    /// A datagram that claims to come from ourselves.
    #[error("a datagram carries our own life tag but came from {from}")]
    Echo {
        /// Where it came from.
        from: SocketAddr,
    },
    /// A command names nobody in the view.
    #[error("no member is called {0}")]
    UnknownMember(Name),
    /// Only members that are down or have left can be forgotten.
    #[error("{name} is {status}; only a member that is down or has left can be forgotten")]
    StillHere {
        /// Who.
        name: Name,
        /// Its status.
        status: Status,
    },
    /// An address at which no member can be.
    #[error("no member can be reached at {address}: give the address of one host, and a port")]
    Address {
        /// The refused address.
        address: SocketAddr,
    },
    /// A command after the good-bye.
    #[error("this agent is leaving")]
    Leaving,
}

impl Rejected {
    /// Short stable word for counters and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Decode(e) => e.reason(),
            Self::Name(_) => "bad-name",
            Self::State(_) => "bad-state",
            Self::FarFuture { .. } => "far-future",
            Self::Implausible { .. } => "implausible",
            Self::DuplicateName { .. } => "duplicate-name",
            Self::Full { .. } => "full",
            Self::Unexpected { .. } => "unexpected",
            Self::Echo { .. } => "echo",
            Self::UnknownMember(_) => "unknown-member",
            Self::StillHere { .. } => "still-here",
            Self::Address { .. } => "bad-address",
            Self::Leaving => "leaving",
        }
    }

    /// The words of [`reason`](Self::reason) for datagrams that were understood and refused; before it come those of
    /// [`DecodeError::REASONS`].
    pub const REASONS: [&'static str; 7] =
        ["bad-state", "far-future", "implausible", "duplicate-name", "full", "unexpected", "echo"];
}
