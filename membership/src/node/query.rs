//! What programs and people are shown of the machine's view.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_detector::Detector;

use crate::Instant;
use crate::detection::case::CaseView;
use crate::detection::outside::Outside;
use crate::detection::verdict::SuspectShare;
use crate::identity::{Generation, Heartbeat, HostId, Name, Version};
use crate::node::Node;
use crate::roster::fingerprint;
use crate::roster::member::Member;
use crate::roster::standing::{ACCUSERS_TO_KEEP_OUT, Accusation, Evidence, Status};
use crate::roster::{Census, Roster};
use crate::stats::Stats;
use crate::transport::path_limits::NarrowPath;

/// One member as this node sees it at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    /// Its name.
    pub name: Name,
    /// The host it runs on.
    pub host_id: HostId,
    /// Unix milliseconds at which this life began.
    pub generation: Generation,
    /// Highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// What it is.
    pub status: Status,
    /// Where it gossips.
    pub address: SocketAddr,
    /// What it says about itself.
    pub state: BTreeMap<String, Vec<u8>>,
    /// Of a member that is down: whether its lease has run out for certain. `None`: no fence is kept, or it is not down.
    pub fenced: Option<bool>,
    /// Since when it has this status.
    pub since: Instant,
    /// Surprise at its silence, in decimal digits; 0 for ourselves.
    pub phi: f64,
    /// Learnt mean time between its heartbeats, per step.
    pub mean_interval: Duration,
    /// Learnt deviation of the silences between arrivals.
    pub deviation: Duration,
    /// How many arrivals that rests on.
    pub samples: u32,
    /// Since its heartbeat last advanced in our view.
    pub silence: Duration,
    /// Whether direct contact works; `None`: never tried.
    pub reachable: Option<bool>,
    /// Its host refuses our datagrams though it lives: a packet filter, on this path or at one of its ends.
    pub refused: bool,
    /// Smoothed round trip of direct contact.
    pub rtt: Option<Duration>,
    /// When it last spoke to us directly.
    pub last_direct: Option<Instant>,
    /// Who accuses it.
    pub accusers: Vec<AccuserView>,
    /// Called down as of this heartbeat; a newer one brings it back.
    pub verdict: Option<Heartbeat>,
    /// Several witnesses find that it loses far more than others, though it lives.
    pub degraded: bool,
    /// Kept out, though it may live, until its heartbeat is above this.
    pub kept_out: Option<Heartbeat>,
    /// What there is against it; only when one member is asked for.
    pub case: Option<CaseView>,
    /// It said that it restarts: for so much longer nobody asks after it.
    pub restarting: Option<Duration>,
    /// This is the node itself.
    pub is_self: bool,
}

/// The little of a member that a look over all of them needs; copies nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSummary<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Unix milliseconds at which this life began.
    pub generation: Generation,
    /// Highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// What it is.
    pub status: Status,
    /// Where it gossips.
    pub address: SocketAddr,
    /// Version of its state.
    pub version: Version,
    /// On which host it runs.
    pub host_id: HostId,
}

/// One accusation.
#[derive(Clone, Debug, PartialEq)]
pub struct AccuserView {
    /// Name of the accuser; of one that we do not know, its hash in hexadecimal.
    pub by: String,
    /// Any heartbeat above this cancels it.
    pub basis: Heartbeat,
    /// The host's kernel refused the contact: the process is gone.
    pub refused: bool,
    /// The silence has lasted longer than the acceptable pause.
    pub proven: bool,
    /// It speaks of a bad link, not of silence: alive, but losing far more than others.
    pub degraded: bool,
    /// The same, so that it should be kept out until the basis.
    pub unfit: bool,
    /// The accuser doubts itself.
    pub weak: bool,
    /// When the silence began.
    pub since: Instant,
}

/// Questions, none of which changes anything.
impl Node {
    /// Our own name.
    #[must_use]
    pub fn me(&self) -> &Name {
        &self.roster.myself().incarnation.name
    }

    /// Size of the roster, ourselves included.
    #[must_use]
    pub fn members(&self) -> usize {
        self.roster.len()
    }

    /// How many of them have which status; counted already, whatever the size.
    #[must_use]
    pub fn census(&self) -> Census {
        self.roster.census()
    }

    /// Everybody known, sorted by name.
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

    /// A quick look over everybody known, in the order of the roster.
    pub fn summaries(&self) -> impl Iterator<Item = MemberSummary<'_>> {
        self.roster.iter().map(summary)
    }

    /// What we say of ourselves.
    #[must_use]
    pub fn own(&self) -> MemberSummary<'_> {
        summary(self.roster.myself())
    }

    /// What was done so far.
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
            ..self.core.stats.clone()
        }
    }

    /// Fingerprint of the whole view; equal on members that see the same.
    #[must_use]
    pub fn view_fingerprint(&self) -> u64 {
        self.roster.fingerprint()
    }

    /// Whether the first complete view has been seen (or nobody is to be found), and nobody else has our name.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.own_membership().is_joined()
    }

    /// Whether the good-bye was said until the next life only.
    #[must_use]
    pub fn is_restarting(&self) -> bool {
        self.roster.myself().status == Status::Restarting
    }

    /// Whether the good-bye has been said.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.gossip.leave.is_some()
    }

    /// Why the others do not count this node as a member; `None`: as far as it knows, they do.
    #[must_use]
    pub fn outside(&self) -> Option<Outside> {
        self.detection.outside(&self.roster)
    }

    /// The paths on which long datagrams get lost while short ones arrive.
    #[must_use]
    pub fn narrow_paths(&self) -> Vec<NarrowPath> {
        self.transport.path_limits.narrow(&self.core.config, &self.roster)
    }

    fn values_too_long(&self) -> usize {
        let capacity = self.core.config.capacity();
        // With datagrams of the usual size nobody's state is looked through.
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
        MemberView {
            name: member.incarnation.name.clone(),
            host_id: member.incarnation.host_id,
            generation: member.incarnation.generation,
            heartbeat: member.heartbeat,
            status: member.status,
            address: member.incarnation.address(),
            state: member.state.iter().map(|(k, v)| (k.to_owned(), v.to_vec())).collect(),
            fenced: fenced.filter(|_| member.status == Status::Down),
            since: member.since(),
            phi: if is_self || !member.is_present() {
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
            accusers: accusers(member, &self.roster),
            verdict: member.marks().down,
            degraded: degraded(member),
            kept_out: member.marks().down.filter(|_| member.marks().is_kept_out()),
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

fn summary(member: &Member) -> MemberSummary<'_> {
    MemberSummary {
        name: &member.incarnation.name,
        generation: member.incarnation.generation,
        heartbeat: member.heartbeat,
        status: member.status,
        address: member.incarnation.address(),
        version: member.state.version(),
        host_id: member.incarnation.host_id,
    }
}

/// More than one witness says so.
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
        since: a.began,
    };
    member.marks().accusations.iter().map(view).collect()
}
