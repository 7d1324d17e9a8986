//! The JSON of the socket API, shared by the server and every client.
//!
//! A stable contract: fields are added, never renamed or removed; readers
//! ignore fields they do not know.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// `GET /v1/members`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Members {
    /// Name of the answering agent.
    #[serde(rename = "self")]
    pub me: String,
    /// Index of the last event that this view includes; resume a watch from here.
    pub index: u64,
    /// As in [`SelfInfo`]. While this is `false`, members may be missing here.
    #[serde(default)]
    pub joined: bool,
    /// As in [`SelfInfo`]. While this is `true`, members that are suspect or down here are probably well.
    #[serde(default)]
    pub isolated: bool,
    /// All known members, sorted by name.
    pub members: Vec<Member>,
}

/// One member as this agent sees it. Also `GET /v1/members/NAME`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Which host it is: a name on another host is another member.
    pub host_id: String,
    /// Unix milliseconds at which this life began.
    pub generation: u64,
    /// Counts up while it lives.
    pub heartbeat: u64,
    /// `alive`, `suspect`, `down` or `left`.
    pub status: String,
    /// `IP:PORT` for gossip.
    pub address: String,
    /// Its zone, if it says one.
    pub zone: Option<String>,
    /// What it says of itself.
    pub tags: BTreeMap<String, String>,
    /// The version of its agent, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How busy its host is, if it tells that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Ids of the keys that it says to have, as in `/v1/self`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<u8>,
    /// `false` when its own agent says that the service it stands for is out of order.
    #[serde(default = "yes")]
    pub beating: bool,
    /// Surprise at its silence, in decimal digits; 0 for ourselves.
    pub phi: f64,
    /// RFC 3339: since when it has had this status.
    pub since: String,
    /// Whether direct contact works: `null` if never tried.
    pub reachable: Option<bool>,
    /// Its host refuses this agent's datagrams though it lives: a packet filter.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub refused: bool,
    /// Names of members that accuse it.
    pub accusers: Vec<String>,
    /// Several witnesses find that it loses far more than others, though it lives.
    #[serde(default)]
    pub degraded: bool,
    /// Kept out, though it may live, until its heartbeat is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_out_until: Option<u64>,
    /// How many seconds of good behaviour that takes, by the pace of its heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_out_seconds: Option<f64>,
    /// How often it was called down in the last ten minutes by what is its own: not together with others, and not while the
    /// answering agent was out of contact itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub falls: usize,
    /// It has fallen so often that it comes and goes.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub flapping: bool,
    /// It said that it restarts: for so many seconds more the others wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarting_seconds: Option<f64>,
    /// Of a member that is down, where a fence is kept: whether the lease that it had has run out for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<bool>,
    /// Evidence behind the status, for `why` and `phi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

fn yes() -> bool {
    true
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// How busy a host is, in steps, told at most once a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Processes that run or wait, the average of a minute, in percent of the cores: 100 keeps all of them busy.
    pub cpu_percent: u32,
    /// Memory that programs can have without swapping, in percent of all.
    pub memory_free_percent: u32,
    /// Space of the file system that holds the agent's state, in percent of all.
    pub disk_free_percent: u32,
}

/// What the status rests on. Given by `/v1/members/NAME` and `/v1/members?evidence=true`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Seconds since its heartbeat last advanced in the merged view.
    pub silence_seconds: f64,
    /// Learnt mean and deviation of its heartbeat steps, in seconds, from `samples` steps.
    pub mean_seconds: f64,
    /// Of the same steps.
    pub deviation_seconds: f64,
    /// How many steps those are.
    pub samples: u32,
    /// φ of silence from which the member is asked directly; silence alone never accuses.
    pub phi_threshold: f64,
    /// Round trip of direct contact.
    pub rtt_seconds: Option<f64>,
    /// RFC 3339 of the last direct sign of life.
    pub last_direct: Option<String>,
    /// Each accusation.
    pub accusations: Vec<Accusation>,
    /// The verdict's basis: any heartbeat above it brings the member back.
    pub down_as_of: Option<u64>,
    /// The verdict rests on its last words: its host says that the process has ended.
    #[serde(default)]
    pub last_words: bool,
    /// What would change the status, in one sentence.
    pub outlook: String,
    /// What the answering agent has found out itself, and what is missing. Only in
    /// `/v1/members/NAME`, and only when there is something against the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Case>,
}

/// The case against a member, as the answering agent has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Its own evidence, all together, in decimal digits: from 5 it accuses, from 8 it testifies.
    pub phi: f64,
    /// One by one.
    pub pieces: Vec<Piece>,
    /// Members that are asked to look.
    pub witnesses: Vec<String>,
    /// Testimonies that a verdict needs, and those that count so far.
    pub needed: usize,
    /// Of silence.
    pub proven: usize,
    /// Of refusals by its host.
    pub refused: usize,
    /// Testimonies that it is unfit though it lives.
    pub unfit: usize,
    /// Of those that get no answer, however briefly.
    #[serde(default)]
    pub silent: usize,
    /// Of members to whom a trusted source has said that it is gone. With one of them the silent ones suffice.
    #[serde(default)]
    pub told: usize,
    /// How much longer silence has to last for a verdict by silence.
    pub pause_left_seconds: f64,
    /// Any heartbeat above this closes the case.
    pub basis: Option<u64>,
    /// Verdicts wait longer than usual: many are silent, or the agent was away itself.
    pub held: bool,
}

/// One piece of evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// `silence`, `direct`, `indirect`, `refused`, `told`, `link` or `flaps`.
    pub kind: String,
    /// Of `told`: what outside the cluster has told the answering agent that it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its worth in decimal digits.
    pub phi: f64,
    /// How often it was found.
    pub count: u32,
    /// Helpers that gave it; empty: the answering agent itself.
    #[serde(default)]
    pub by: Vec<String>,
    /// RFC 3339.
    pub first: String,
    /// RFC 3339.
    pub last: String,
}

/// One accusation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accusation {
    /// Name of the accuser.
    pub by: String,
    /// `silent`, `refused`, `told` (nothing of its own yet), or of a link that loses far more than others: `degraded`,
    /// `unfit`.
    pub kind: String,
    /// What outside the cluster has told the accuser that the member is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Long enough, and sure enough, to count for a verdict.
    #[serde(default)]
    pub proven: bool,
    /// Any heartbeat above this cancels it.
    pub basis: u64,
    /// The accuser doubted itself.
    pub weak: bool,
    /// RFC 3339.
    pub since: String,
}

/// `GET /v1/self`. As many fields as the JSON object has, which is a contract.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelfInfo {
    /// As it sees itself.
    pub member: Member,
    /// Id of the cluster.
    pub cluster: String,
    /// `local`, `lan` or `wan`.
    pub profile: String,
    /// `IP:PORT` on which it listens.
    pub bind: String,
    /// Of its process.
    pub pid: u32,
    /// RFC 3339.
    pub started: String,
    /// What it sends is sealed with a key.
    pub encrypted: bool,
    /// Ids of its keys, never the keys: the first seals what it sends, each opens; 0 stands for plain datagrams. Empty
    /// without a key.
    #[serde(default)]
    pub keys: Vec<u8>,
    /// In a complete view, and counted by the others.
    pub joined: bool,
    /// Why the others do not count this agent as a member; `null` while they do, as far as it knows.
    #[serde(default)]
    pub outside: Option<Outside>,
    /// Most others look silent at once: probably it is this host.
    pub isolated: bool,
    /// It says good-bye.
    pub leaving: bool,
    /// 0 well .. 8 impaired.
    pub local_health: u8,
    /// Of the peers heard lately, how many have the same view as we do.
    pub peers_agreeing: usize,
    /// Peers heard lately.
    pub peers_known: usize,
    /// How long news takes to reach this agent; `null` until the first beacon of another member has come.
    #[serde(default)]
    pub news_delay: Option<NewsDelay>,
    /// Addresses of seeds from which anything came before this agent had joined.
    #[serde(default)]
    pub seeds_heard: usize,
    /// Counts by status.
    pub counts: BTreeMap<String, usize>,
    /// Whether it stands on the side that may act.
    pub quorum: Quorum,
    /// How the local service has to beat; `null` where it need not.
    #[serde(default)]
    pub beat: Option<Beat>,
    /// Seeds as configured, each with its last resolution or error.
    pub seeds: Vec<Seed>,
    /// Problems an operator should know of, one sentence each; empty when all is well.
    pub conditions: Vec<String>,
    /// The same with codes, and notes beside them: causes only, the worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Of the agent.
    pub version: Version,
}

/// How long the latest beacons of other members took, by the time that all members share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewsDelay {
    /// Half of them came within this.
    pub median_seconds: f64,
    /// The slowest of them.
    pub slowest_seconds: f64,
    /// How many these are: 32 at most.
    pub beacons: usize,
}

/// Something that is wrong; part of `/v1/self`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable word, for instance `key-unknown`; the list is in the documentation, and grows.
    pub code: String,
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// The member, seed, file or reason that it is about; `null`: the agent, or its cluster.
    #[serde(default)]
    pub of: Option<String>,
    /// One sentence.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// RFC 3339: since when, if that is known.
    #[serde(default)]
    pub since: Option<String>,
}

/// Why the others do not count the answering agent as a member; part of `/v1/self`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outside {
    /// `refused` (another living host has its name), `clock` (this host's is more than a day ahead), `kept-out` (its witnesses find it unfit), `down` (it gives no sign
    /// of life, by command) or `unanswered`.
    pub why: String,
    /// Members that say so, if any do.
    pub by: Vec<String>,
    /// RFC 3339: since when it has known.
    pub since: String,
    /// One sentence.
    pub reason: String,
    /// What to do about it.
    pub advice: String,
}

/// Answer of `POST /v1/beat`, and part of `/v1/self`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beat {
    /// The local service beats in time. `false`: this member gives no sign of life.
    pub beating: bool,
    /// How soon after one beat the next has to come.
    pub within_seconds: f64,
    /// RFC 3339 of the last beat, or of the start.
    pub last: String,
}

/// One configured seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seed {
    /// As configured.
    pub name: String,
    /// What it was resolved to last.
    pub addresses: Vec<String>,
    /// Why it could not be resolved.
    pub error: Option<String>,
}

/// `GET /v1/version`, and part of `/v1/self`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// Of the program.
    pub version: String,
    /// The oldest protocol that it speaks.
    pub protocol_min: u32,
    /// The newest.
    pub protocol_max: u32,
}

/// `GET /v1/quorum`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quorum {
    /// `held`, `lost` or `unsettled`.
    pub quorum: String,
    /// Votes, or zones, that this member has proof of.
    pub present: u32,
    /// So many decide.
    pub needed: u32,
    /// All votes, or zones, there are.
    pub expected: Option<u32>,
    /// One sentence.
    pub reason: String,
    /// RFC 3339.
    pub since: String,
    /// Who votes, as configured.
    #[serde(default)]
    pub electorate: Option<String>,
    /// RFC 3339. While held: unless renewed, quorum is lost at this moment.
    #[serde(default)]
    pub until: Option<String>,
    /// Seconds left until then. Count them from the moment at which you asked, by a clock that is never set: so they never last
    /// longer than the proof. `null` without a proof, and in lines of the stream, which may be read long after.
    #[serde(default)]
    pub left_seconds: Option<f64>,
    /// Whether a fence is kept: then `until` is the end of this member's own lease, and others can tell when it has run out.
    #[serde(default)]
    pub fence: bool,
    /// With an electorate by zones: the votes of each zone. `present`, `needed` and `expected` then count zones.
    #[serde(default)]
    pub zones: Vec<ZoneVotes>,
}

/// The votes of a zone; part of `/v1/quorum`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ZoneVotes {
    /// Its name.
    pub zone: String,
    /// In two-way contact, as far as this member has counted or was told.
    pub present: u32,
    /// So many decide.
    pub needed: u32,
    /// All votes there are.
    pub expected: u32,
}

/// `GET /v1/paths`: how this agent reaches the others itself; with `from`, how another member does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Paths {
    /// Name of the answering agent.
    #[serde(rename = "self")]
    pub me: String,
    /// RFC 3339: as of when.
    pub at: String,
    /// With `from`: the member whose paths these are, as it has just told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// With `from`: how many other members answer that one, and have no row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well: Option<u32>,
    /// With `from`: with how many nothing has passed there yet; they have no row either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u32>,
    /// With `from`: there is more than is told here, or what it told makes no sense.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub cut: bool,
    /// One for each other member that is alive or suspect, with `from` for each whose path is not well: those that are down
    /// first, then by name.
    pub paths: Vec<PathRow>,
}

/// The direct path to one member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PathRow {
    /// The member.
    pub name: String,
    /// Host id of the member.
    pub id: String,
    /// `IP:PORT` for gossip.
    pub address: String,
    /// `up`, `down` (it lives, as others know, and does not answer this agent) or `unknown` (nothing has passed yet).
    pub state: String,
    /// RFC 3339. Down: since when it answers nothing. Up: since when again, if it was down in the last ten minutes.
    #[serde(default)]
    pub since: Option<String>,
    /// While down, what fails: `out` (what this agent sends), `in` (what the member sends), `both`, or `unknown`.
    #[serde(default)]
    pub direction: Option<String>,
    /// Questions in a row that the member has not answered.
    #[serde(default)]
    pub unanswered: u32,
    /// Since anything last came straight from it.
    #[serde(default)]
    pub last_direct_ms_ago: Option<u64>,
    /// Smoothed round trip of direct contact.
    #[serde(default)]
    pub rtt_ms: Option<f64>,
    /// Members that reached it when this agent last asked them to, the latest first. They are asked while there is a doubt.
    #[serde(default)]
    pub through: Vec<Through>,
}

/// A member that reached another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Through {
    /// The member that reached it.
    pub name: String,
    /// When that was.
    pub ms_ago: u64,
}

/// `GET /v1/exports`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportRows {
    /// Name of the answering agent.
    #[serde(rename = "self")]
    pub me: String,
    /// As configured.
    pub exports: Vec<ExportRow>,
}

/// How one export fares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportRow {
    /// `haproxy`, `nginx`, `envoy-eds`, `prometheus-sd`, `hosts`, `json` or `template`.
    pub format: String,
    /// The file.
    pub path: Option<String>,
    /// Socket of HAProxy's runtime API.
    pub runtime: Option<String>,
    /// Members in the list as it was last published by this agent.
    pub members: usize,
    /// Members that are left out of it, as their names, tags or ports do not fit the format.
    pub left_out: usize,
    /// RFC 3339: when this agent last changed it.
    pub changed: Option<String>,
    /// Why a newer list is held back.
    pub held: Option<String>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Changes by this agent so far.
    pub changes: u64,
    /// Failures so far.
    pub errors: u64,
    /// Runs of `on_change`: `good`, `failed`, `out-of-time`.
    pub runs: BTreeMap<String, u64>,
}

/// `GET /v1/services`: what the members say of the services on their hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Services {
    /// Name of the answering agent.
    #[serde(rename = "self")]
    pub me: String,
    /// Index of the last event that this view includes; resume a watch from here.
    pub index: u64,
    /// As in [`Members`].
    pub joined: bool,
    /// As in [`Members`].
    pub isolated: bool,
    /// By name.
    pub services: Vec<Service>,
    /// Values, and instances in them, that members say and that make no sense: they are not shown.
    pub unreadable: usize,
}

/// `GET /v1/services/NAME`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamedService {
    /// Name of the answering agent.
    #[serde(rename = "self")]
    pub me: String,
    /// As in [`Services`].
    pub index: u64,
    /// As in [`Members`].
    pub joined: bool,
    /// As in [`Members`].
    pub isolated: bool,
    /// The service.
    #[serde(flatten)]
    pub service: Service,
}

/// All instances of one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// The name.
    pub name: String,
    /// Instances that are passing, on members that are alive.
    pub healthy: usize,
    /// All that are known, whatever was asked for.
    pub known: usize,
    /// As asked for, by member and id.
    pub instances: Vec<ServiceInstance>,
}

/// One instance of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceInstance {
    /// The member on whose host it runs.
    pub member: String,
    /// Of the member: `alive`, `suspect` or `down`.
    pub status: String,
    /// Of its host, if the member tells that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Tells it from others of the name on that host; empty for the one without an id.
    pub id: String,
    /// Of the member, or what the member says instead.
    pub address: String,
    /// The address is another than the member's own, by the member's word alone.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub elsewhere: bool,
    /// Where it listens, if it says so.
    pub port: Option<u16>,
    /// `passing`, `warning` or `critical`.
    pub health: String,
    /// What it says of itself.
    pub tags: BTreeMap<String, String>,
    /// On the answering agent's own host: who registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What its owner, or the worst of its checks, says of its health: on the answering agent's own host, and with `why` by
    /// the word of its member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// With `why`: whether its member was asked, and has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<bool>,
    /// On the answering agent's own host: what the agent looks at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<ServiceCheck>,
}

/// What an agent looks at, to know how an instance of its own host is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceCheck {
    /// Tells it from others of the instance.
    pub name: String,
    /// `tcp`, `http`, `exec`, `process`, `unit`, `ttl` or `disk`.
    pub kind: String,
    /// What is looked at, as the settings have it.
    pub target: String,
    /// What it makes of the instance: `passing`, `warning` or `critical`.
    pub health: String,
    /// What the last look has found, and why that is not the health where it is not.
    pub text: String,
    /// The result of the last look alone, in the same words; `None` before the first.
    pub result: Option<String>,
    /// When it was.
    pub time: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: Option<f64>,
}

/// An instance as an event tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// Of the service.
    pub name: String,
    /// As in [`ServiceInstance`].
    pub id: String,
    /// The same.
    pub member: String,
    /// The same.
    pub address: String,
    /// The same.
    pub port: Option<u16>,
    /// The same.
    pub health: String,
    /// The same.
    pub tags: BTreeMap<String, String>,
}

/// Body of `POST /v1/services`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// Of the service.
    pub name: String,
    /// Tells several instances on one host apart.
    #[serde(default)]
    pub id: String,
    /// Where it listens.
    #[serde(default)]
    pub port: Option<u16>,
    /// Where it is, if not at the address of the member.
    #[serde(default)]
    pub address: Option<String>,
    /// What it says of itself.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What the agent looks at to know how it is, each by the fields of `[[service.check]]` in the settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<BTreeMap<String, Word>>,
    /// Only as long as the connection of this request: the answer is a stream of [`HoldLine`]s.
    #[serde(default)]
    pub hold: bool,
}

/// The value of a field that may be written as a text or as a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word {
    /// `"5s"`, `"3"`.
    Text(String),
    /// `3`.
    Number(u64),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// Answer of `POST /v1/services`, and a line of it with `hold`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HoldLine {
    /// `registered` first, then `idle` now and then.
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339.
    pub time: String,
    /// With `registered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceEvent>,
}

/// Body of `POST /v1/services/deregister`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeregisterRequest {
    /// Of the service.
    pub name: String,
    /// Which instance of it on this host.
    #[serde(default)]
    pub id: String,
}

/// Body of `POST /v1/services/health`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthRequest {
    /// Of the service.
    pub name: String,
    /// Which instance of it on this host.
    #[serde(default)]
    pub id: String,
    /// `passing`, `warning` or `critical`.
    pub health: String,
    /// One sentence for people. It stays on this host.
    #[serde(default)]
    pub text: Option<String>,
}

/// A line of `GET /v1/watch`. In a `snapshot`, `name` and `generation` are the
/// answering agent's own: the index counts inside that generation. `type` is one of `snapshot`, `member-join`,
/// `member-suspect`, `member-alive`, `member-down`, `member-left`,
/// `member-restart`, `member-update`, `member-forgotten`, `member-fenced`,
/// `service-up`, `service-warning`, `service-critical`, `service-gone`, `link`, `quorum`, `self`, `lagged`, `idle`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WatchLine {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of this event; of the last event before a `snapshot`, `idle` or `lagged`.
    pub index: u64,
    /// RFC 3339 with microseconds.
    pub time: String,
    /// The member, or with `snapshot` the answering agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The life that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Of the member by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// With `member-down` and `member-fenced`, where a fence is kept: whether
    /// the lease that it had has run out for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<bool>,
    /// With `member-join`, `member-restart` and `member-update`: where it is,
    /// and what it says about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its zone, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// All of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// With `member-update`: which keys have another value now, tags as `tag/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// With `member-update`: the values that these keys had, where they had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<BTreeMap<String, String>>,
    /// Accusers or deciders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Vec<String>>,
    /// With `link`: the direct path to the member is `down`, or `up` again. It is not the member's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// With `link`, `down`: what fails, as in [`PathRow`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// With `link`, `down`: members that reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Vec<String>>,
    /// One sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `service-up`, `service-warning`, `service-critical` and `service-gone`: the instance. `name` is its member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceEvent>,
    /// With `quorum` and `snapshot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
    /// With `snapshot`: as in [`Members`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<bool>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
    /// With `snapshot`: all members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<Member>>,
}

/// What the status of a member can be.
pub const STATUSES: [&str; 4] = ["alive", "suspect", "down", "left"];

/// The types of [`WatchLine`], in the order of the table in the documentation.
pub const LINE_TYPES: [&str; 19] = [
    "snapshot",
    "member-join",
    "member-suspect",
    "member-down",
    "member-fenced",
    "member-alive",
    "member-left",
    "member-restart",
    "member-update",
    "member-forgotten",
    "service-up",
    "service-warning",
    "service-critical",
    "service-gone",
    "link",
    "quorum",
    "self",
    "lagged",
    "idle",
];

/// `GET /v1/history`: what has happened, as the agent has kept it, the oldest entry first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct History {
    /// Name of the answering agent.
    #[serde(rename = "self")]
    pub me: String,
    /// `disk`; or `memory` while the state directory takes no writes: what came since then is lost with the process.
    pub kept: String,
    /// RFC 3339: of the first entry that is kept, whatever was asked for.
    #[serde(default)]
    pub oldest: Option<String>,
    /// There are earlier ones that match, beyond the limit.
    #[serde(default)]
    pub more: bool,
    /// Entries that are damaged, as by a power cut, and not shown.
    #[serde(default)]
    pub damaged: u64,
    /// Events that came too fast, or could not be written, and of which no entry says so yet.
    #[serde(default)]
    pub left_out: u64,
    /// As asked for.
    pub entries: Vec<HistoryEntry>,
}

/// An event that was kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// As the stream told it. `type` may be `left-out` too. An `index` of 0: the stream did not tell it.
    #[serde(flatten)]
    pub event: WatchLine,
    /// The life of the answering agent in which it happened: its generation at the start.
    #[serde(default)]
    pub life: u64,
    /// Of a member: the highest heartbeat known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<u64>,
    /// With `left-out`: how many events are missing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// With `member-suspect` and `member-down`: the setting of that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptable_pause_seconds: Option<f64>,
    /// With the same, unless many came at once: what the status rested on at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// `GET /v1/history/NAME?at=TIME`: the status of a member at a moment in the past, and what it rested on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Past {
    /// Name of the answering agent.
    #[serde(rename = "self")]
    pub me: String,
    /// The member.
    pub name: String,
    /// RFC 3339: the moment.
    pub at: String,
    /// Of the member then; `null` where the history does not say.
    pub status: Option<String>,
    /// What gave it that status.
    pub entry: Option<HistoryEntry>,
    /// Of a member that was down: the suspicion before that.
    pub suspected: Option<HistoryEntry>,
    /// What came after that moment, until it was there again or gone for good.
    pub then: Vec<HistoryEntry>,
    /// Of a member that was down, or soon after: what the acceptable pause had to do with it.
    pub pause: Option<PastPause>,
    /// RFC 3339: when the life of the agent began that saw this, if it is in the history.
    pub started: Option<String>,
    /// Events are missing between `entry` and that moment.
    pub gap: bool,
    /// As in [`History`].
    pub kept: String,
    /// As in [`History`].
    pub oldest: Option<String>,
}

/// A verdict beside the acceptable pause; part of [`Past`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PastPause {
    /// The setting at the verdict.
    pub acceptable_seconds: Option<f64>,
    /// How long it had been silent at the verdict, by the first of its accusers; `null`: the verdict is not one by silence.
    pub silent_seconds: Option<f64>,
    /// A pause above this would have held the member in; `null`: none would have, or it is not known.
    pub would_have_held_seconds: Option<f64>,
    /// One sentence.
    pub reason: String,
}

/// The types of [`HistoryEntry`], in the order of the table in the documentation.
pub const HISTORY_TYPES: [&str; 17] = [
    "member-join",
    "member-suspect",
    "member-down",
    "member-fenced",
    "member-alive",
    "member-left",
    "member-restart",
    "member-update",
    "member-forgotten",
    "service-up",
    "service-warning",
    "service-critical",
    "service-gone",
    "link",
    "quorum",
    "self",
    "left-out",
];

/// Body of `POST /v1/join`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// `HOST[:PORT]` each.
    pub seeds: Vec<String>,
    /// Seconds to wait for an answer of any of them; 0: do not wait.
    #[serde(default)]
    pub timeout_seconds: f64,
}

/// Answer of `POST /v1/join`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinResponse {
    /// `IP:PORT` each.
    pub dialled: Vec<String>,
    /// One of them has answered.
    pub joined: bool,
    /// How many are known by now.
    pub members: usize,
}

/// Answer of `POST /v1/paths/measure`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeasureResponse {
    /// Paths that are being measured, as `paths_measuring` in `/v1/stats` says until it is over.
    pub measuring: usize,
}

/// Body of `POST /v1/restart`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// For so long the others wait for the next life of this member.
    #[serde(default = "usual_restart")]
    pub within_seconds: f64,
}

/// How long the others wait by default, here and in `heartsay restart`: a process begins within two seconds,
/// and one that failed is tried again by the shipped unit within five.
fn usual_restart() -> f64 {
    15.0
}

/// Answer of `POST /v1/leave` and of `POST /v1/restart`; the agent exits after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaveResponse {
    /// Peers that have confirmed it.
    pub acknowledged: usize,
    /// Peers that were told.
    pub asked: usize,
}

/// Body of `POST /v1/forget`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// The member.
    pub name: String,
}

/// Body of `POST /v1/testify`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestifyRequest {
    /// The member.
    pub name: String,
    /// What the source knows of it.
    pub state: TestifiedState,
    /// Which of `trusted_sources` says so.
    pub source: String,
}

/// What a source outside the cluster can say of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestifiedState {
    /// Its machine is off, or gone.
    Dead,
}

/// Body of `POST /v1/tags`: `set` and `delete`; the answer is the new [`Member`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagsRequest {
    /// New values by key.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Keys.
    #[serde(default)]
    pub delete: Vec<String>,
}

/// Body of `POST /v1/beat`, `/v1/leave`, `/v1/paths/measure` and `/v1/reload`: `{}`, or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmptyRequest {}

/// Answer of `POST /v1/reload`: settings that were changed, by key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// In force now.
    pub changed: Vec<String>,
    /// In force after a restart of the agent.
    pub restart: Vec<String>,
}

/// `application/problem+json` (RFC 9457): every error of the API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// Of HTTP.
    pub status: u16,
    /// One sentence that says what to do.
    pub detail: String,
}
