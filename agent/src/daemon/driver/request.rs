//! What the rest of the process asks of the loop, and what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{
    Answer, Command, HostId, Instant, MemberView, Name, NewsDelays, Outside, Question, QuorumStatus,
    Rejected, Stats,
};
use tokio::sync::oneshot;

use super::{Marks, ServiceWatchdog};

/// A question or a wish from outside the loop.
#[derive(Debug)]
pub(crate) enum Request {
    /// Show what is known now.
    Look(Scope, oneshot::Sender<Snapshot>),
    /// Where we are, and where the other members are that are there.
    Addresses(oneshot::Sender<(SocketAddr, Vec<SocketAddr>)>),
    /// Hand a command to the machine.
    Command(Command, oneshot::Sender<Result<(), Rejected>>),
    /// Ask another member; answered with what it says, or with nothing if it does not answer in time.
    Ask(Name, Question, oneshot::Sender<Result<Option<Answer>, Rejected>>),
    /// The local service is well; answered with the gate as it is then.
    Beat(oneshot::Sender<ServiceWatchdog>),
    /// Give no sign of life, for this reason; `None`: give them again.
    Suspend(Option<String>),
    /// Say good-bye; answered when it is acknowledged or its time is up.
    Leave(oneshot::Sender<Farewell>),
    /// Say that the next life begins within this time; answered like a good-bye.
    Restart(Duration, oneshot::Sender<Farewell>),
    /// Save what is to be kept, and end the loop.
    Stop,
}

/// Another member asks why an instance on this host is as it is.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Repeated in the answer.
    pub(crate) number: u64,
    /// Of the service; there may be none of that name.
    pub(crate) service: String,
    /// Which instance of it.
    pub(crate) id: String,
}

/// How much of the view is wanted.
#[derive(Debug)]
pub(crate) enum Scope {
    /// No members.
    None,
    /// One member.
    One(Name),
    /// All members.
    All,
}

/// The view at one moment, consistent in itself and with the event index.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// When.
    pub(crate) at: Instant,
    /// How long the loop was kept from its other work.
    pub(crate) took: Duration,
    /// The last event that is part of it.
    pub(crate) index: u64,
    /// Our name.
    pub(crate) me: Name,
    /// As asked for.
    pub(crate) members: Vec<MemberView>,
    /// How many are known in all.
    pub(crate) known: usize,
    /// Quorum as the machine sees it.
    pub(crate) quorum: QuorumStatus,
    /// The machine's counters.
    pub(crate) stats: Stats,
    pub(crate) news_delays: NewsDelays,
    /// The driver's counters.
    pub(crate) loss: Loss,
    /// Since when some things are so.
    pub(crate) marks: Marks,
    /// This agent has had a complete view with another member in it, and the others count it as a member.
    pub(crate) joined: bool,
    /// Why they do not.
    pub(crate) outside: Option<Outside>,
    /// Saying good-bye.
    pub(crate) leaving: bool,
    /// Whether the local service beats.
    pub(crate) service_watchdog: ServiceWatchdog,
    /// A check of a service has this member give no sign of life.
    pub(crate) suspended: bool,
}

/// What the host does to our datagrams, and to our time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loss {
    /// Datagrams the kernel dropped before we read them.
    pub(crate) overflow: u32,
    /// Datagrams that did not leave or did not arrive, by [`heartsay_tokio::net::SendFailure::label`].
    pub(crate) failures: BTreeMap<&'static str, u64>,
    /// How late the last timer was.
    pub(crate) lag: Duration,
}

/// How a good-bye ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Farewell {
    /// Peers that said they have it.
    pub(crate) acknowledged: usize,
    /// Peers that were told.
    pub(crate) asked: usize,
}

/// What the process around the loop must know.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A complete view has another member in it.
    Joined,
    /// Another living host holds our name.
    NameRefused {
        /// Who.
        holder: HostId,
        /// Where.
        address: SocketAddr,
    },
    /// Our name is refused no more.
    NameAccepted,
    /// The good-bye is over.
    Left {
        /// It was said until the next life only.
        restarts: bool,
    },
}
