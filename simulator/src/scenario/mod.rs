//! A scenario: the cluster, its network, the trouble it meets, and what is expected of it.
//!
//! Written in TOML to be read aloud. Every key is documented on its field here
//! and in `docs/simulator.md`; unknown keys are refused with the nearest name.

mod load;
mod shipped;
mod units;

use serde::{Deserialize, Serialize};

use crate::models::Yardstick;

pub use load::{Problem, load, parse};
pub use shipped::{shipped, source};
pub use units::{Delay, Span, Who};

/// Everything about a run but its seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// Short name, as in `heartsay-sim run NAME`.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// Members of the cluster at its start, 1 to 65,535.
    pub nodes: usize,
    /// Length of the run in virtual time.
    pub duration: Span,
    /// What runs on the hosts: `heartsay` (default), or a model of another detector to measure by: `swim`,
    /// `lifeguard`, `fixed`, `phi`, `phi-exponential`.
    #[serde(default)]
    pub machine: Yardstick,
    /// How the cluster comes to be.
    #[serde(default)]
    pub start: Start,
    /// What lies between the members.
    #[serde(default)]
    pub network: Network,
    /// Where the machine's settings differ from the shipped ones.
    #[serde(default)]
    pub protocol: Protocol,
    /// Trouble, in any order.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// What to measure.
    #[serde(default)]
    pub measure: Measure,
    /// What must hold.
    #[serde(default)]
    pub check: Check,
    /// Limits on the measures; a worse result fails the run.
    #[serde(default)]
    pub budget: Budget,
}

/// How the cluster comes to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Start {
    /// Members start at random moments of this span, the contacts at its
    /// beginning. Default 1 s.
    pub over: Span,
    /// Instead: one member after the other, this far apart.
    pub every: Option<Span>,
    /// The first so many members are the seed addresses of everybody. Default 3.
    pub contacts: usize,
    /// Each member's wall clock is off by a random amount up to this, either way. Default 500 ms.
    pub clock_offset: Span,
}

impl Default for Start {
    fn default() -> Self {
        Self { over: Span::secs(1), every: None, contacts: 3, clock_offset: Span::ms(500) }
    }
}

/// What lies between the members.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Network {
    /// Round trip between any two members; each direction draws half of one. Default 500 us.
    pub rtt: Delay,
    /// Share of datagrams lost, each on its own.
    pub loss: f64,
    /// Loss in bursts (Gilbert 1960, Elliott 1963), on each directed link on its own.
    pub burst: Option<Burst>,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Share of datagrams held back by up to `reorder-by`.
    pub reorder: f64,
    /// See `reorder`. Default 20 ms.
    pub reorder_by: Span,
    /// Share of datagrams in which a few bits flip on the way.
    pub corrupt: f64,
    /// Larger IP packets vanish (payload and 28 bytes of headers). Default 1,500.
    pub mtu: usize,
    /// Bytes per second that each member's link carries outwards; datagrams queue. None: no limit.
    pub bandwidth: Option<f64>,
    /// Longest queue before that link; what comes then is lost. Default 100 ms.
    pub queue: Span,
    /// Whether the host of a stopped process answers *port unreachable*.
    pub refusals: bool,
    /// Sites. Members are dealt out in order of their number.
    #[serde(rename = "zone")]
    pub zones: Vec<Zone>,
    /// Round trips and loss between sites.
    #[serde(rename = "path")]
    pub paths: Vec<Path>,
    /// Rules for single links.
    #[serde(rename = "link")]
    pub links: Vec<Link>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            rtt: Delay::Constant(Span(core::time::Duration::from_micros(500))),
            loss: 0.0,
            burst: None,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Span::ms(20),
            corrupt: 0.0,
            mtu: 1500,
            bandwidth: None,
            queue: Span::ms(100),
            refusals: false,
            zones: Vec::new(),
            paths: Vec::new(),
            links: Vec::new(),
        }
    }
}

/// Two states of a link and the loss in each.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Burst {
    /// Mean length of good times.
    pub good: Span,
    /// Mean length of bad times.
    pub bad: Span,
    /// Share lost in bad times. Default 1.
    #[serde(default = "one")]
    pub loss: f64,
}

/// A site.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Zone {
    /// Its name; members announce it as their `zone`.
    pub name: String,
    /// Its share of the members. Default: an equal one.
    #[serde(default = "one")]
    pub weight: f64,
}

/// What lies between two sites, or inside one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Path {
    /// The two zones (twice the same: inside it).
    pub between: [String; 2],
    /// Round trip.
    pub rtt: Delay,
    /// Share of datagrams lost.
    #[serde(default)]
    pub loss: f64,
}

/// A rule for single links; replaces `rtt` and `loss` there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Link {
    /// Senders, by name.
    pub from: Who,
    /// Receivers, by name.
    pub to: Who,
    /// Whether the way back follows the same rule. Default false.
    #[serde(default)]
    pub both: bool,
    /// Round trip; default as elsewhere.
    pub rtt: Option<Delay>,
    /// Share of datagrams lost; default as elsewhere.
    pub loss: Option<f64>,
}

/// Settings of the machine that differ from the shipped profile. Same names and
/// meanings as in the machine's `Config`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Protocol {
    /// `local`, `lan` (default) or `wan`.
    pub profile: Profile,
    /// One heartbeat and one exchange per interval.
    pub interval: Option<Span>,
    /// Silence that is forgiven.
    pub acceptable_pause: Option<Span>,
    /// Helpers of an indirect probe.
    pub helpers: Option<usize>,
    /// Witnesses per member.
    pub witnesses: Option<usize>,
    /// Peers told at once of news.
    pub fanout: Option<usize>,
    /// How long news is collected.
    pub coalesce: Option<Span>,
    /// Burst datagrams per second.
    pub burst_rate: Option<u32>,
    /// How silence is judged: `phi` (default), `phi-exponential` or `fixed`.
    pub detector: Option<Detector>,
    /// phi: the threshold.
    pub phi_threshold: Option<f64>,
    /// phi: floor under the learnt deviation.
    pub min_deviation: Option<Span>,
    /// fixed: heartbeats missed.
    pub missed: Option<u32>,
    /// Wait for an answer on a path never measured.
    pub rtt_initial: Option<Span>,
    /// Shortest wait for an answer.
    pub rtt_min: Option<Span>,
    /// Longest wait for an answer.
    pub rtt_max: Option<Span>,
    /// Down members are dropped after this.
    pub forget_down_after: Option<Span>,
    /// Members that left are dropped after this.
    pub forget_left_after: Option<Span>,
    /// Absent seeds are dialled this often.
    pub rejoin_interval: Option<Span>,
    /// How long a good-bye waits.
    pub leave_timeout: Option<Span>,
    /// Expected size of the cluster, for quorum (`"all"`: as many as there are).
    pub expected: Option<Who>,
    /// Who votes, as agents are told it (`"n0,n1,n2"`, `"role=voter:3"`), instead of a size.
    pub electorate: Option<String>,
    /// How long a majority must be proven before quorum is held.
    pub quorum_settle: Option<Span>,
    /// Most members that a roster takes.
    pub max_members: Option<usize>,
    /// Largest datagram, bytes.
    pub datagram: Option<usize>,
}

/// See the machine's own `Profile`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in the machine")]
pub enum Profile {
    Local,
    #[default]
    Lan,
    Wan,
}

/// See the `detector` crate.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in the detector crate")]
pub enum Detector {
    Phi,
    PhiExponential,
    Fixed,
}

/// One piece of trouble. Which keys a kind takes is checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// Kind.
    pub what: What,
    /// When it begins, from the start of the run.
    pub at: Span,
    /// Whom it befalls. Default: one member.
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
    /// crash, vanish, restart: back after this long. Restart: default 500 ms.
    pub back_after: Option<Span>,
    /// crash, vanish, restart: whether the disk survives (`kept`, default) or is `lost`: a new
    /// host id, nothing remembered.
    #[serde(default)]
    pub disk: Disk,
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
    /// cut: senders that are not heard …
    pub from: Option<Who>,
    /// cut: … by these.
    pub to: Option<Who>,
    /// cut: whether the way back is cut too. Default false.
    #[serde(default)]
    pub both: bool,
    /// partition: the sides, as shares (`["30%", "70%"]`) or lists of names.
    pub sides: Option<Vec<Who>>,
    /// partition: only this direction is cut: what the first side sends is not heard by the others.
    #[serde(default)]
    pub one_way: bool,
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
            Self::Partition => "partition",
            Self::Corrupt => "corrupt",
            Self::DuplicateName => "duplicate-name",
            Self::Leave => "leave",
            Self::Join => "join",
            Self::Churn => "churn",
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

/// What to measure.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Measure {
    /// Bytes and ages of heartbeats are measured from here on. Default 10 s.
    pub after: Span,
    /// How often views are compared. Default 250 ms.
    pub every: Span,
}

impl Default for Measure {
    fn default() -> Self {
        Self { after: Span::secs(10), every: Span::ms(250) }
    }
}

/// What must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Check {
    /// When the last trouble is over, all live members agree with the truth within this. Default 30 s.
    pub agree_within: Span,
    /// Whether that is asked at all. Default true; false where the trouble lasts to the end.
    pub liveness: bool,
    /// Tables compared with their predecessors after every step, not only once a second in
    /// a few members. Default false: it is slow.
    pub every_step: bool,
    /// After a partition began, the side without a majority must have noticed within this. Default: the promised
    /// bound, seven tenths of the acceptable pause and 2 % for the clocks.
    pub quorum_within: Option<Span>,
}

impl Default for Check {
    fn default() -> Self {
        Self { agree_within: Span::secs(30), liveness: true, every_step: false, quorum_within: None }
    }
}

/// Limits on the measures, over all seeds of a run together.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Budget {
    /// Mean time until an observer suspects.
    pub suspect_mean: Option<Span>,
    /// 99th percentile of the same.
    pub suspect_p99: Option<Span>,
    /// Median time until an observer says down.
    pub down_median: Option<Span>,
    /// 99th percentile of the same.
    pub down_p99: Option<Span>,
    /// The slowest of all observers.
    pub down_max: Option<Span>,
    /// Median, over subjects, of the first observer's time.
    pub first_down_median: Option<Span>,
    /// Deaths that some live observer never noticed.
    pub missed: Option<u64>,
    /// A faultless member called down, per observer.
    pub false_positives: Option<u64>,
    /// The same by faultless observers.
    pub false_positives_by_healthy: Option<u64>,
    /// Faultless members called down by anybody.
    pub healthy_evicted: Option<u64>,
    /// Called down and back within 10 s.
    pub needless_evictions: Option<u64>,
    /// Member-seconds off the majority's view.
    pub divergence: Option<f64>,
    /// Running members that say at the end that they hold quorum.
    pub quorum_held: Option<u64>,
    /// From the last start of the first members to the last full view.
    pub formation: Option<Span>,
    /// From a newcomer's start to its own full view, the slowest.
    pub newcomer_full: Option<Span>,
    /// From a newcomer's start until everybody knows it, the slowest.
    pub newcomer_known: Option<Span>,
    /// From the end of the trouble to agreement, the slowest seed.
    pub agreement: Option<Span>,
    /// Bytes sent per member and second, mean after `measure.after`.
    pub bytes_mean: Option<f64>,
    /// 99th percentile over (member, second).
    pub bytes_p99: Option<f64>,
    /// The most that any member sent in any second of the whole run.
    pub bytes_peak: Option<f64>,
}

fn one() -> f64 {
    1.0
}
