//! The interface of the node: inputs, commands, outputs, events and refusals.
//!
//! The whole contract: *hand in one input with the time, then call `poll_output` until it says [`Output::Timeout`];
//! only then wait.*

use core::net::SocketAddr;
use core::time::Duration;
use std::borrow::Cow;

use bytes::Bytes;
use heartsay_proto::{DecodeError, Keyring};

use crate::Instant;
use crate::detection::direct_paths::{Direction, LinkEvent, PathState};
use crate::detection::outside::Outside;
use crate::identity::{Generation, Heartbeat, HostId, Name, NameError};
use crate::quorum::{Electorate, QuorumStatus};
use crate::roster::source::Source;
use crate::roster::standing::Status;
use crate::roster::state::{KeyChange, StateError};

/// One thing that happened outside the node.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram arrived.
    Datagram {
        /// Where it came from.
        from: SocketAddr,
        /// The whole frame, as received.
        bytes: &'a [u8],
    },
    /// An ICMP message says that no process listens at `to`. Any host can forge one, so the node verifies it: it counts
    /// only if it quotes the datagram of a request to that address which is still open.
    Refused {
        /// Where our datagram was going.
        to: SocketAddr,
        /// What the message quotes of the UDP payload, from its beginning. Fewer than 32 bytes prove nothing.
        quoted: &'a [u8],
    },
    /// A router, or our own kernel, says that a datagram to `to` was longer than the path takes.
    TooLong {
        /// Where our datagram was going.
        to: SocketAddr,
    },
    /// The time given by [`Output::Timeout`] has come. Harmless when early.
    Timeout,
    /// The present time of the wall clock. Needed at the start and about once a minute.
    WallClock {
        /// Unix time in milliseconds.
        unix_ms: u64,
    },
    /// Fresh random bytes from the operating system, told to nobody and logged nowhere. With a key the nonces of
    /// datagrams depend on them: without this input, before the first command, a reader of the seed can foretell them,
    /// and forge ICMP messages. Not more than once a minute is of use.
    Entropy {
        /// From a source fit for keys.
        secret: [u8; 16],
    },
    /// A request by the operator or by the program around the node.
    Command(Command),
}

/// A request by the operator or the program.
#[derive(Clone, Debug)]
pub enum Command {
    /// The operator's addresses of other members, as resolved right now and best first. They replace the earlier ones.
    /// Seeds are called first, and every time. Addresses at which no member can be
    /// ([`is_reachable`](crate::is_reachable)) are left out, here and in the other commands that take addresses.
    Seeds(Vec<SocketAddr>),
    /// Addresses of peers from an earlier run. They replace the earlier ones. They are called beside the seeds, and
    /// dropped if they never answer.
    Remembered(Vec<SocketAddr>),
    /// Dial these addresses at once, in addition to the seeds.
    Join(Vec<SocketAddr>),
    /// Say good-bye; answered by [`Event::LeaveDone`].
    Leave,
    /// Announce that this incarnation ends and the next begins within this time, at most a minute. The others wait for
    /// that time and raise no alarm. Answered by [`Event::LeaveDone`].
    Restart(Duration),
    /// Drop a member that is down or has left, on all members.
    Forget(Name),
    /// A source outside the cluster says that a member is gone. It has to be one of [`Config::sources`](crate::Config::sources).
    /// Says nothing new about a member that is down or has left.
    Testify {
        /// The member.
        name: Name,
        /// Who says so.
        source: Source,
    },
    /// Change the member's own state. `None` deletes the key.
    Set(Vec<(String, Option<Vec<u8>>)>),
    /// From now on the member is reached at this address. It begins a later incarnation there, in which its heartbeat,
    /// state and quorum go on; the others report an update. Answered by [`Event::Readdressed`], unless nothing has
    /// changed.
    Readdress(SocketAddr),
    /// Whether to beat. `false` suspends the heartbeat, for when the service that this member stands for is out of
    /// order: the heartbeat stands still and requests stay unanswered, so that the others call the member down although
    /// its agent runs. `true` resumes it.
    Beat(bool),
    /// The keys from now on. The only way to change those of a running node. The members' records say who opens what
    /// ([`KEYS_KEY`](crate::KEYS_KEY)); what is sealed with a key that another member does not have, that member cannot
    /// read.
    Keys(Keyring),
    /// The electorate from now on; `None`: no quorum is kept. The only way to change the electorate of a running node.
    /// Until all members have been given the same one, members with different electorates do not count each other's
    /// votes.
    Expect(Option<Electorate>),
    /// Measure whether long datagrams pass on the paths to some members that are there, though nothing says that they do
    /// not. [`Stats::paths_measuring`](crate::Stats::paths_measuring) is 0 when that is over; narrow paths come as
    /// [`Event::PathLimited`].
    MeasurePaths,
    /// Ask another member. Answered by [`Event::Answered`], within a second for each page of the answer.
    Ask {
        /// Chosen by the caller, different for each question that is open, and repeated in the answer.
        number: u64,
        /// The member to ask.
        member: Name,
        /// What it is asked.
        question: Question,
    },
    /// The answer to [`Event::Asked`]. After a second it is of no use any more.
    Answer {
        /// The number of that event.
        number: u64,
        /// Why the instance is as it is: one line, of which at most 512 bytes are told. `None`: there is no such instance
        /// here.
        text: Option<String>,
    },
}

/// What a member can be asked: things that only it knows, for people to see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// How it reaches the other members itself.
    Paths,
    /// Why an instance of a service on its host is as it is.
    Health {
        /// Name of the service: a word of at most 64 bytes.
        service: String,
        /// Id of the instance, likewise; may be empty.
        id: String,
    },
}

/// What a member has answered: its own word, bounded and fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Paths`].
    Paths(PathsTold),
    /// To [`Question::Health`]: what is said of the instance, perhaps nothing. `None`: there is no such instance on its host.
    Health(Option<String>),
}

/// How a member reaches the others itself, by its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathsTold {
    /// The paths that are down, in doubt, or up again, in no order.
    pub paths: Vec<PathTold>,
    /// How many other members answer it.
    pub well: u32,
    /// With how many nothing has passed yet.
    pub unknown: u32,
    /// Paths to members that we do not know. They are left out.
    pub strange: usize,
    /// It has more than it told, or has told what makes no sense.
    pub cut: bool,
}

/// The direct path from one other member to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTold {
    /// The member at the far end.
    pub name: Name,
    /// Whether it works. One that is not down is in doubt, or up again.
    pub state: PathState,
    /// While down: which direction fails, as seen from the member that tells it.
    pub direction: Option<Direction>,
    /// Questions in a row without an answer.
    pub unanswered: u32,
    /// Since when it has been down, or up again.
    pub since: Option<Instant>,
    /// The members that last reached it, and when; the latest first.
    pub through: Vec<(Name, Instant)>,
}

/// One thing for the driver to do.
#[derive(Debug)]
#[must_use]
pub enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// A change that a program or a person may care about.
    Event(Event),
    /// Nothing more for now; call again with [`Input::Timeout`] at this time.
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

/// A change in the view, or of this node itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A member's entry changed.
    Member(MemberEvent),
    /// Quorum was gained, lost, or became unclear.
    Quorum(QuorumStatus),
    /// First complete view of the cluster after the start. It always comes: a node without another member to look for
    /// has a complete view in its first round.
    Joined {
        /// Members in the view, this one included.
        members: usize,
    },
    /// The others no longer count us as a member, and why; `None`: they do again.
    Outside(Option<Outside>),
    /// Our name is held by another live host, or by a copy of ours, and we are not accepted. Reported once for each
    /// holder.
    NameRefused {
        /// The host that holds the name.
        holder: HostId,
        /// The address of that host.
        address: SocketAddr,
        /// Its generation.
        generation: Generation,
    },
    /// Peers say that our clock is more than a day ahead of theirs, and do not accept us.
    ClockRefused,
    /// A peer knew a later incarnation of ours than this one. The generation was raised above it and must be kept for
    /// the next start.
    GenerationRaised(Generation),
    /// Our address has changed, and with it our generation, which must be kept for the next start.
    Readdressed {
        /// The address at which others reach us from now on.
        address: SocketAddr,
        /// The generation of the incarnation at this address.
        generation: Generation,
    },
    /// Our generation lay more than a day ahead of our own clock and of the clocks of peers, who refused it. Another
    /// incarnation has begun now. This number must replace the kept one, although it is lower.
    GenerationReset(Generation),
    /// Long datagrams to and from this address get lost while short ones arrive, or no longer do.
    /// [`Node::narrow_paths`](crate::Node::narrow_paths) lists all such paths.
    PathLimited {
        /// The address at the other end.
        to: SocketAddr,
        /// Whether the path is narrow now.
        narrow: bool,
    },
    /// The direct path to a living member is down, or works again. No member's status changes.
    Link(LinkEvent),
    /// Most other members look silent at once, probably because we are cut off. Verdicts are held.
    Isolated(bool),
    /// Another member asks why an instance of a service on this host is as it is. Only the program knows: it answers with
    /// [`Command::Answer`], or not at all.
    Asked {
        /// Repeated in the answer.
        number: u64,
        /// Who asks.
        by: Name,
        /// Name of the service: a word of at most 64 bytes, and there may be none of that name.
        service: String,
        /// Id of the instance, likewise; may be empty.
        id: String,
    },
    /// The answer to [`Command::Ask`].
    Answered {
        /// The number of that command.
        number: u64,
        /// The member that was asked.
        member: Name,
        /// `None`: it has not answered in time. Members with earlier software do not.
        answer: Option<Answer>,
    },
    /// We were not scheduled for this long; all waiting times were extended by it.
    Stalled(Duration),
    /// The good-bye, or the announced restart, was acknowledged by `acknowledged` of `asked` peers, or its time is up.
    LeaveDone {
        /// Peers that have confirmed it.
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
    /// The member.
    pub name: Name,
    /// Its incarnation.
    pub generation: Generation,
    /// The highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// Status after the change.
    pub status: Status,
    /// With `Down` and `Fenced`, if a fence is kept: whether the member's lease has certainly run out.
    pub fenced: Option<bool>,
    /// Names of the accusers or of the members that decided; empty if there are none.
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
    /// Accused, no verdict yet.
    Suspect,
    /// A newer heartbeat has cancelled the accusation or the verdict.
    Alive,
    /// A verdict says that it is down.
    Down,
    /// Said good-bye.
    Left,
    /// A later incarnation of a known name.
    Restart,
    /// Its state (zone, tags) changed. A change of the protocol's own keys is no update.
    Update,
    /// Dropped from the view.
    Forgotten,
    /// It is down, and by now its lease has certainly run out.
    Fenced,
}

/// Why an input, or one piece of a datagram, was refused. The refused piece has changed nothing; what was taken before it
/// from the same datagram stays taken. The driver logs it, counts it, and goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not a datagram of this protocol and cluster. A peer's or the network's fault; normal at a low rate.
    #[error("datagram not understood: {0}")]
    Decode(#[from] DecodeError),
    /// A name that breaks the rules. A peer's fault.
    #[error("bad name: {0}")]
    Name(#[from] NameError),
    /// A value over its limit. The caller's or a peer's fault.
    #[error("bad state: {0}")]
    State(#[from] StateError),
    /// An incarnation that begins more than a day in our future.
    #[error("generation of {name} lies {ahead_ms} ms ahead of our clock")]
    FarFuture {
        /// Its name.
        name: Name,
        /// By how many milliseconds.
        ahead_ms: u64,
    },
    /// More heartbeats than the incarnation can have had, or an end of one that has not yet begun. A peer's fault.
    #[error("implausible heartbeat for member {subject:016x}")]
    Implausible {
        /// Name hash of the member.
        subject: u64,
    },
    /// A name held by another live host. An operator's fault (cloned image, two hosts with one name).
    #[error("{name} is held by host {holder}, which is alive; {} was refused", late_comer(.holder, .newcomer))]
    DuplicateName {
        /// The contested name.
        name: Name,
        /// The host that holds it.
        holder: HostId,
        /// The host that wants it.
        newcomer: HostId,
    },
    /// More members than the configured cap.
    #[error("the roster is full ({cap} members); {name} was refused")]
    Full {
        /// Configured cap.
        cap: usize,
        /// The member that did not fit.
        name: Name,
    },
    /// More new names than one source address, or all together, may tell without being asked. A peer's fault; in a mass
    /// start normal, and settled by pulls.
    #[error("{from} has told too many new names without being asked")]
    TooManyNames {
        /// Where they came from.
        from: SocketAddr,
    },
    /// More questions than one source address, or all together, get answered. A peer's fault: somebody there asks in a
    /// loop.
    #[error("{from} asks too much")]
    TooManyQuestions {
        /// Where they came from.
        from: SocketAddr,
    },
    /// More questions than a member may ask at a time. The caller's fault: ask again in a second.
    #[error("this agent asks other members too much already; ask again in a second")]
    AskingTooMuch,
    /// A question about a service whose name, or whose instance, is no word of at most 64 bytes. The caller's fault.
    #[error("no service and no instance is called so")]
    BadQuestion,
    /// A sealed datagram that was seen before, or was overtaken by too many later ones. The network doubles datagrams, or
    /// somebody sends recorded ones again; has no effect.
    #[error("a datagram from {from} was seen before, or is too late")]
    Replayed {
        /// Where it came from.
        from: SocketAddr,
    },
    /// An answer without an open request.
    #[error("stale or unexpected {what}")]
    Unexpected {
        /// Kind of message.
        what: &'static str,
    },
    /// A datagram with our own incarnation as its sender.
    #[error("a datagram carries our own life tag but came from {from}")]
    Echo {
        /// Where it came from.
        from: SocketAddr,
    },
    /// A command names a member that is not in the view.
    #[error("no member is called {0}")]
    UnknownMember(Name),
    /// Only members that are down or have left can be forgotten.
    #[error("{name} is {status}; only a member that is down or has left can be forgotten")]
    StillHere {
        /// The member.
        name: Name,
        /// Its status.
        status: Status,
    },
    /// A source that the settings do not name.
    #[error("{0} is not one of the sources that may say that a member is gone")]
    UntrustedSource(Source),
    /// What a node does not testify about itself.
    #[error("{0} is this member itself, which runs")]
    Oneself(Name),
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

/// Who was refused, in words.
fn late_comer(holder: &HostId, newcomer: &HostId) -> String {
    if newcomer == holder {
        "another process with the same host id (a copied state directory)".to_owned()
    } else {
        format!("host {newcomer}")
    }
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
            Self::TooManyNames { .. } => "too-many-names",
            Self::TooManyQuestions { .. } => "too-many-questions",
            Self::AskingTooMuch => "asking-too-much",
            Self::BadQuestion => "bad-question",
            Self::Replayed { .. } => "replayed",
            Self::Unexpected { .. } => "unexpected",
            Self::Echo { .. } => "echo",
            Self::UnknownMember(_) => "unknown-member",
            Self::StillHere { .. } => "still-here",
            Self::UntrustedSource(_) => "untrusted-source",
            Self::Oneself(_) => "oneself",
            Self::Address { .. } => "bad-address",
            Self::Leaving => "leaving",
        }
    }

    /// The values of [`reason`](Self::reason) for datagrams that were understood and refused. The values for datagrams
    /// that were not understood are [`DecodeError::REASONS`].
    pub const REASONS: [&'static str; 10] = [
        "bad-state",
        "far-future",
        "implausible",
        "duplicate-name",
        "full",
        "too-many-names",
        "too-many-questions",
        "replayed",
        "unexpected",
        "echo",
    ];
}
