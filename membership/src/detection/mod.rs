//! Failure detection: probes silent members, draws witnesses, gives verdicts, and tells a node when the others do not
//! count it as a member.

pub mod bridge;
pub mod case;
pub mod deaf;
pub mod direct_paths;
pub mod extra_probes;
pub mod flap_damping;
pub mod in_contact;
pub mod indirect_probe;
pub mod joints;
pub mod loss_outcomes;
pub mod outside;
pub mod probe;
pub mod refusals;
pub mod testimony;
#[cfg(test)]
mod tests;
pub mod told;
pub mod verdict;
pub mod witnesses;

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;
use crate::config::Config;
use crate::detection::deaf::Deaf;
use crate::transport::context::Context;
use crate::transport::token_bucket::TokenBucket;
use direct_paths::DirectPaths;
use extra_probes::ExtraProbes;
use flap_damping::Damping;
use outside::Footing;
use probe::Probe;
use refusals::Refusals;
use verdict::SuspectShare;

/// What quorum says of our side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// No electorate is stated.
    #[default]
    NoElectorate,
    /// A majority of the electorate has been in two-way contact with us for an acceptable pause. Then the cause of many
    /// silences in that time is not ours.
    Proven,
    /// There is no proof of that. Then we find no member unfit: those that hold quorum may see it otherwise, and would hear
    /// of our verdict before the accused does.
    Unproven,
}

/// State of the failure detection of one node.
#[derive(Debug)]
pub struct Detection {
    pub probes: BTreeMap<u64, Probe>,
    /// The evidence against gray members: alive, but of no use.
    pub damping: Damping,
    pub refusals: Refusals,
    /// Bounds the number of probes, whatever happens.
    pub probe_budget: TokenBucket,
    /// Probes out of turn, while several members are silent.
    pub extra_probes: ExtraProbes,
    /// When our testimony is next sent to the witnesses.
    pub testify_at: Instant,
    /// Members about whom a verdict may be due, and when to look: at the next time-out.
    to_judge: BTreeSet<u64>,
    pub judge_at: Instant,
    /// How much of the cluster looks silent at once.
    pub suspect_share: SuspectShare,
    /// Whether a majority stands behind us.
    pub backing: Backing,
    /// Until then unheard members are probed out of turn, because many were silent a moment ago.
    pub look_until: Instant,
    /// Members that may not hear us.
    pub deaf: Deaf,
    /// Whether the others count us as a member.
    pub footing: Footing,
    /// Members that others reach and that may not answer us.
    pub direct_paths: DirectPaths,
}

impl Detection {
    pub fn new(now: Instant, config: &Config) -> Self {
        Self {
            probes: BTreeMap::new(),
            damping: Damping::default(),
            refusals: Refusals::default(),
            probe_budget: TokenBucket::new(now, config.probe_rate),
            extra_probes: ExtraProbes::new(),
            testify_at: Instant::NEVER,
            to_judge: BTreeSet::new(),
            judge_at: Instant::NEVER,
            suspect_share: SuspectShare::Few,
            backing: Backing::NoElectorate,
            look_until: now,
            deaf: Deaf::new(now, config.probe_rate),
            footing: Footing::new(now),
            direct_paths: DirectPaths::default(),
        }
    }

    /// Whether we probe this member, so that a newer heartbeat ends a probe.
    pub fn is_probing(&self, subject: u64) -> bool {
        self.probes.contains_key(&subject)
    }

    /// How much of the cluster looks silent at once, as far as that is a reason to doubt ourselves. A verdict comes an
    /// acceptable pause after the silence began at the earliest, and a majority has been proven for as long: while the
    /// member was silent, we were on the side that may judge. A newer proof does not say so: right after a cut, our evidence
    /// is from the other side.
    pub fn doubtful_share(&self) -> SuspectShare {
        if self.backing == Backing::Proven { SuspectShare::Few } else { self.suspect_share }
    }

    /// When the next step of a probe is due.
    pub fn probes_due(&self) -> Instant {
        self.probes.values().map(Probe::next).min().unwrap_or(Instant::NEVER)
    }

    /// An incarnation has ended: drop the probe of it, and what we know of the path to it.
    pub fn forget(&mut self, subject: u64) {
        self.probes.remove(&subject);
        self.direct_paths.forget(subject);
    }

    /// A member did not come back from its restart in time: its witnesses probe it.
    pub fn watch_after_restart(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        if self.is_witness(ctx, subject) {
            self.begin_probe(now, ctx, subject, now, None);
        }
    }
}
