//! Read-only queries: what programs and people see of the node's view.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_detector::Detector;

use crate::Instant;
use crate::detection::case::CaseView;
use crate::detection::direct_paths::PathView;
use crate::detection::outside::Outside;
use crate::detection::verdict::SuspectShare;
use crate::gossip::beacon::NewsDelays;
use crate::identity::{Generation, Heartbeat, HostId, Name, Version};
use crate::node::Node;
use crate::roster::fingerprint;
use crate::roster::member::Member;
use crate::roster::source::Source;
use crate::roster::standing::{ACCUSERS_TO_KEEP_OUT, Accusation, Evidence, Status};
use crate::roster::{Census, Roster};
use crate::stats::Stats;
use crate::transport::path_limits::NarrowPath;

/// One member as this node sees it at one moment. One flat struct, as programs pick what they show.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    /// Its name.
    pub name: Name,
    /// The host it runs on.
    pub host_id: HostId,
    /// Unix milliseconds at which this incarnation began.
    pub generation: Generation,
    /// Highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// Alive, suspect, down and so on.
    pub status: Status,
    /// Its gossip address.
    pub address: SocketAddr,
    /// Its key-value state.
    pub state: BTreeMap<String, Vec<u8>>,
    /// For a member that is down: whether its lease has certainly run out. `None`: the fence is off, or the member is
    /// not down.
    pub fenced: Option<bool>,
    /// When it took this status.
    pub since: Instant,
    /// Suspicion level φ from its silence: −log10 of the probability of so long a silence; 0 for ourselves.
    pub phi: f64,
    /// Learnt mean time from one of its heartbeats to the next.
    pub mean_interval: Duration,
    /// Learnt deviation of the silences between arrivals.
    pub deviation: Duration,
    /// How many arrivals the two learnt figures rest on.
    pub samples: u32,
    /// Time since its heartbeat last advanced in our view.
    pub silence: Duration,
    /// Whether direct contact works; `None`: never tried.
    pub reachable: Option<bool>,
    /// Its host refuses our datagrams although it runs: a packet filter, on this path or at one of its ends.
    pub refused: bool,
    /// Smoothed round trip of direct contact.
    pub rtt: Option<Duration>,
    /// When it last spoke to us directly.
    pub last_direct: Option<Instant>,
    /// The direct path from here to it.
    pub path: PathView,
    /// The accusations against it.
    pub accusers: Vec<AccuserView>,
    /// A verdict: down as of this heartbeat. A newer heartbeat brings it back.
    pub verdict: Option<Heartbeat>,
    /// The verdict rests on its last words: its host says that the process has ended.
    pub last_words: bool,
    /// Several witnesses find that it loses far more datagrams than others, although it runs.
    pub degraded: bool,
    /// Quarantined, even if it runs, until its heartbeat is above this.
    pub kept_out: Option<Heartbeat>,
    /// The evidence against it; filled in only when one member is asked for.
    pub case: Option<CaseView>,
    /// It announced a restart: for this much longer it is not probed.
    pub restarting: Option<Duration>,
    /// This is the node itself.
    pub is_self: bool,
}

/// The few fields that a pass over all members needs; copies nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSummary<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Unix milliseconds at which this incarnation began.
    pub generation: Generation,
    /// Highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// Alive, suspect, down and so on.
    pub status: Status,
    /// Its gossip address.
    pub address: SocketAddr,
    /// Version of its state.
    pub version: Version,
    /// The host it runs on.
    pub host_id: HostId,
}

/// One accusation.
#[derive(Clone, Debug, PartialEq)]
pub struct AccuserView {
    /// Name of the accuser, or its hash in hexadecimal if we do not know the accuser.
    pub by: String,
    /// Any heartbeat above this cancels it.
    pub basis: Heartbeat,
    /// The host's kernel refused the contact: the process is gone.
    pub refused: bool,
    /// The silence has lasted longer than the acceptable pause.
    pub proven: bool,
    /// Evidence of a bad link, not of silence: the member is alive but loses far more than others.
    pub degraded: bool,
    /// The same, and bad enough to quarantine it until the basis.
    pub unfit: bool,
    /// The accuser doubts itself.
    pub weak: bool,
    /// The accuser has nothing of its own against it yet; only `source` says that it is gone.
    pub told: bool,
    /// What outside the cluster has told the accuser that it is gone.
    pub source: Option<Source>,
    /// When the silence began.
    pub since: Instant,
}

/// Queries. None of them changes anything.
impl Node {
    /// Our own name.
    #[must_use]
    pub fn me(&self) -> &Name {
        &self.roster.myself().incarnation.name
    }

    /// The ids of the keys that we open, the one that we send with first; 0: plain datagrams. Empty without a key.
    #[must_use]
    pub fn key_ids(&self) -> Vec<u8> {
        self.core.config.keyring.ids()
    }

    /// Size of the roster, ourselves included.
    #[must_use]
    pub fn members(&self) -> usize {
        self.roster.len()
    }

    /// How many members have each status. The counts are kept up to date, so this costs the same at any size.
    #[must_use]
    pub fn census(&self) -> Census {
        self.roster.shown_census()
    }

    /// All known members, sorted by name.
    #[must_use]
    pub fn view(&self, now: Instant) -> Vec<MemberView> {
        let mut all: Vec<_> = self.roster.iter().map(|m| self.view_of(now, m)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// One member.
    #[must_use]
    pub fn member(&self, now: Instant, name: &Name) -> Option<MemberView> {
        let member = self.roster.get(fingerprint::of_name(name))?;
        Some(MemberView {
            case: self.detection.case(now, &self.core, &self.roster, member),
            ..self.view_of(now, member)
        })
    }

    /// A cheap pass over all known members, in the order of the roster.
    pub fn summaries(&self) -> impl Iterator<Item = MemberSummary<'_>> {
        self.roster.iter().map(|member| summary(&self.roster, member))
    }

    /// The summary of this node itself.
    #[must_use]
    pub fn own(&self) -> MemberSummary<'_> {
        summary(&self.roster, self.roster.myself())
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            local_health: self.core.health.score(self.core.last_call),
            isolated: self.detection.suspect_share == SuspectShare::Most,
            tombstones: self.roster.tombstones().len(),
            peers_agreeing: self.detection.footing.peers_heard(&self.roster).filter(|agrees| *agrees).count(),
            peers_known: self.detection.footing.peers_heard(&self.roster).count(),
            values_too_long: self.values_too_long(),
            seeds_heard: self.gossip.join.seeds_heard(),
            narrow_paths: self.transport.path_limits.count(),
            paths_measuring: self.transport.path_limits.measuring(),
            paths_down: self.detection.direct_paths.count_down(),
            ..self.core.stats.clone()
        }
    }

    /// How long news took to reach this node, by the beacons of others ([`Config::beacon`](crate::Config::beacon)).
    #[must_use]
    pub fn news_delays(&self) -> &NewsDelays {
        &self.gossip.news_delays
    }

    /// Fingerprint of the whole view; equal on members that see the same.
    #[must_use]
    pub fn view_fingerprint(&self) -> u64 {
        self.roster.fingerprint()
    }

    /// Whether the first complete view has been seen (or there is no other member to find), and no other host has our
    /// name.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.own_membership().is_joined()
    }

    /// Whether the good-bye announced only a restart.
    #[must_use]
    pub fn is_restarting(&self) -> bool {
        self.roster.myself().status == Status::Restarting
    }

    /// Whether the good-bye has been said.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.gossip.leave.is_some()
    }

    /// Why the others do not count this node as a member. `None`: as far as it knows, they do.
    #[must_use]
    pub fn outside(&self) -> Option<Outside> {
        self.detection.outside(&self.roster)
    }

    /// The paths that lose long datagrams while short ones arrive.
    #[must_use]
    pub fn narrow_paths(&self) -> Vec<NarrowPath> {
        self.transport.path_limits.narrow(&self.core.config, &self.roster)
    }

    fn values_too_long(&self) -> usize {
        let capacity = self.core.config.capacity();
        // With datagrams of the usual size no state can be too long, so none is looked at.
        if capacity.is_ample() { 0 } else { self.roster.iter().map(|m| m.state.too_long(capacity)).sum() }
    }

    fn view_of(&self, now: Instant, member: &Member) -> MemberView {
        let is_self = member.hash() == self.core.me;
        let fenced = self.core.config.fence.then(|| self.quorum.fence.stands(member));
        let (mean_interval, deviation, samples) = match &member.detector {
            Detector::Phi(phi) => (phi.mean(), phi.deviation(), phi.samples()),
            Detector::Fixed(_) => (member.incarnation.schedule.interval(), Duration::ZERO, 0),
        };
        let path = &member.path;
        let (status, since) = self.roster.shown(member);
        MemberView {
            name: member.incarnation.name.clone(),
            host_id: member.incarnation.host_id,
            generation: member.incarnation.generation,
            heartbeat: member.heartbeat,
            status,
            address: member.incarnation.address(),
            state: member.state.iter().map(|(k, v)| (k.to_owned(), v.to_vec())).collect(),
            fenced: fenced.filter(|_| status == Status::Down),
            since,
            phi: if is_self || !matches!(status, Status::Alive | Status::Suspect) {
                0.0
            } else {
                member.detector.phi(now, &self.core.config.detector)
            },
            mean_interval,
            deviation,
            samples,
            silence: if is_self { Duration::ZERO } else { member.detector.silence(now) },
            reachable: if is_self { Some(true) } else { path.reachable },
            refused: self.detection.refusals.is_disproved(now, member.tag()),
            rtt: path.rtt.smoothed(),
            last_direct: Some(path.last_direct()).filter(|at| *at != Instant::EPOCH),
            path: self.detection.path_view(now, &self.core, &self.roster, member),
            accusers: accusers(member, &self.roster),
            verdict: member.marks().down,
            last_words: member.marks().last_words.is_some(),
            degraded: degraded(member),
            kept_out: member.marks().kept_out_until(),
            case: None,
            restarting: member
                .marks()
                .restart
                .filter(|_| member.status == Status::Restarting)
                .map(|restart| restart.until.since(now)),
            is_self,
        }
    }
}

fn summary<'a>(roster: &Roster, member: &'a Member) -> MemberSummary<'a> {
    MemberSummary {
        name: &member.incarnation.name,
        generation: member.incarnation.generation,
        heartbeat: member.heartbeat,
        status: roster.shown(member).0,
        address: member.incarnation.address(),
        version: member.state.version(),
        host_id: member.incarnation.host_id,
    }
}

/// Whether more than one witness says so.
fn degraded(member: &Member) -> bool {
    let of_link = |a: &&Accusation| a.kind.is_of_link() && !a.weak && a.basis >= member.heartbeat;
    member.marks().accusations.iter().filter(of_link).count() >= ACCUSERS_TO_KEEP_OUT
}

fn accusers(member: &Member, roster: &Roster) -> Vec<AccuserView> {
    let view = |a: &Accusation| AccuserView {
        by: roster.get(a.by).map_or_else(|| format!("{:016x}", a.by), |m| m.incarnation.name.to_string()),
        basis: a.basis,
        refused: a.kind == Evidence::Refused,
        proven: a.kind >= Evidence::Proven,
        degraded: a.kind.is_of_link(),
        unfit: a.kind == Evidence::Unfit,
        weak: a.weak,
        told: a.kind == Evidence::Told,
        source: a.source,
        since: a.began,
    };
    member.marks().accusations.iter().map(view).collect()
}
