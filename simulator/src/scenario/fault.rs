//! Trouble, as scenarios write it.

use serde::{Deserialize, Serialize};

use super::{Span, Who};
use crate::liar::Lie;

/// One piece of trouble. Which keys a kind takes is checked.
///
/// One flat struct, as its fields are the keys of a `[[fault]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// Kind.
    pub what: What,
    /// When it begins, from the start of the run.
    pub at: Span,
    /// It begins at a random moment of this span after `at`, the same for all members it strikes (`over`: each at
    /// its own). Members act in rounds; trouble does not wait for them. Default: exactly at `at`.
    pub within: Option<Span>,
    /// The members it strikes. Default: one.
    pub who: Option<Who>,
    /// How they are drawn: `random` (default), or `neighbours`: consecutive
    /// numbers, as if on one host or behind one switch.
    #[serde(default)]
    pub pick: Pick,
    /// How long it lasts. Default: to the end.
    #[serde(rename = "for")]
    pub lasts: Option<Span>,
    /// With `off`: it comes and goes; this long on.
    pub on: Option<Span>,
    /// With `on`: this long off.
    pub off: Option<Span>,
    /// Whether members come and go `together` (default) or each `apart`, at a random moment of the cycle.
    #[serde(default)]
    pub phase: Phase,
    /// Members are struck at random moments of this span. Default: all at once.
    pub over: Option<Span>,
    /// Beat of a crash loop, of churn, of joins.
    pub every: Option<Span>,
    /// crash, vanish, restart, leave: back after this long. Restart: default 500 ms.
    pub back_after: Option<Span>,
    /// crash, vanish, restart: whether the disk survives (`kept`, default) or is `lost`: a new
    /// host id, nothing remembered.
    #[serde(default)]
    pub disk: Disk,
    /// crash, restart, crash-loop, with `protocol.last_words`: each datagram of last words is late by up to so long.
    pub words_late: Option<Span>,
    /// The same: each of them is said twice.
    #[serde(default)]
    pub words_twice: bool,
    /// lossy: share of what the member sends that is lost. 1: mute.
    pub send: Option<f64>,
    /// lossy: share of what is sent to the member that is lost. 1: deaf.
    pub receive: Option<f64>,
    /// corrupt: share of the member's datagrams in which bits flip.
    pub share: Option<f64>,
    /// clock-step: by how much (`"1h"`).
    pub by: Option<Span>,
    /// clock-step: whether backwards.
    #[serde(default)]
    pub back: bool,
    /// clock-drift: parts per million by which the clock is fast (negative: slow).
    pub ppm: Option<i64>,
    /// slow: CPU time that each input takes.
    pub work: Option<Span>,
    /// cut, refuse: senders that are not heard …
    pub from: Option<Who>,
    /// cut, refuse: … by these.
    pub to: Option<Who>,
    /// cut, refuse: whether the way back is cut too. Default false.
    #[serde(default)]
    pub both: bool,
    /// partition: the sides, as shares (`["30%", "70%"]`) or lists of names.
    pub sides: Option<Vec<Who>>,
    /// partition: only this direction is cut: what the first side sends is not heard by the others.
    #[serde(default)]
    pub one_way: bool,
    /// lie: which lies are told. Default: all.
    pub lies: Option<Vec<Lie>>,
    /// lie: about whom. Default: any of the others, each time anew.
    pub about: Option<Who>,
    /// lie: datagrams show the source addresses of others too. Default false.
    #[serde(default)]
    pub forge_source: bool,
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The process is gone; its host lives and may answer *port unreachable*.
    Crash,
    /// The host is gone: no answer of any kind.
    Vanish,
    /// The process is killed and comes back.
    Restart,
    /// Killed and started again with every beat.
    CrashLoop,
    /// The process stands still: no input is handled, no timer fires; datagrams wait in the socket buffer.
    Pause,
    /// Datagrams are held at the member's edge, both ways, while its timers run (Lifeguard, section V).
    Block,
    /// Every input costs CPU time.
    Slow,
    /// The wall clock jumps.
    ClockStep,
    /// The clocks of the member run fast or slow.
    ClockDrift,
    /// A share of what the member sends or receives is lost.
    Lossy,
    /// Some do not hear some others.
    Cut,
    /// A packet filter answers *port unreachable* to some members that call some others, though those run.
    Refuse,
    /// The cluster falls apart into sides.
    Partition,
    /// Bits flip in what the member sends.
    Corrupt,
    /// A second host claims the member's name.
    DuplicateName,
    /// Says good-bye.
    Leave,
    /// New members arrive.
    Join,
    /// With every beat one member vanishes for good and a new one arrives.
    Churn,
    /// Says what is not true, of others and of itself.
    Lie,
}

impl What {
    /// As scenarios write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Vanish => "vanish",
            Self::Restart => "restart",
            Self::CrashLoop => "crash-loop",
            Self::Pause => "pause",
            Self::Block => "block",
            Self::Slow => "slow",
            Self::ClockStep => "clock-step",
            Self::ClockDrift => "clock-drift",
            Self::Lossy => "lossy",
            Self::Cut => "cut",
            Self::Refuse => "refuse",
            Self::Partition => "partition",
            Self::Corrupt => "corrupt",
            Self::DuplicateName => "duplicate-name",
            Self::Leave => "leave",
            Self::Join => "join",
            Self::Churn => "churn",
            Self::Lie => "lie",
        }
    }
}

/// How members are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// Independently.
    #[default]
    Random,
    /// A run of consecutive numbers that begins anywhere.
    Neighbours,
}

/// Whether what comes and goes does so in step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// In step.
    #[default]
    Together,
    /// Each from its own random moment.
    Apart,
}

/// What becomes of the state directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disk {
    /// It survives.
    #[default]
    Kept,
    /// It is empty afterwards.
    Lost,
}
