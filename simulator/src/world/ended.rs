//! What a run leaves behind.

use std::collections::BTreeMap;

use super::World;
use crate::checks::{Violations, liveness};
use crate::measure::Measures;
use crate::models::Baseline;
use crate::recording::Recording;

/// What a run leaves behind.
pub struct Ended {
    /// How well it went.
    pub measures: Measures,
    /// What must not happen, and did.
    pub violations: Violations,
    /// Fingerprint of everything that happened.
    pub trace: u64,
    /// Inputs handed to machines.
    pub inputs: u64,
    /// Datagrams that did not arrive, by cause.
    pub lost: crate::network::Lost,
    /// Inputs that machines refused, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Sum of the machines' own counters, over the members that run at the end.
    pub counters: BTreeMap<&'static str, u64>,
    /// What pictures are drawn from, if it was asked for.
    pub recording: Option<Recording>,
}

impl World {
    pub(super) fn finish(mut self) -> Ended {
        let now = self.now;
        let check = self.scenario.check.clone();
        // A scenario that begins trouble must leave time for the calm to be judged.
        self.measures.agreement = liveness(&mut self.violations, now, self.calm, &self.board, &check);
        self.measures.ghosts_gone =
            (self.board.ghosts() == 0).then(|| self.board.haunted_until().since(self.calm).as_secs_f64());
        if self.scenario.machine != Baseline::Heartsay {
            // The rules are the real machine's; a model is measured, not checked.
            self.violations = Violations::default();
        }
        self.measures.quorum = self.quorums.count();
        self.measures.view_sizes = self.view_sizes.into_iter().collect();
        let newcomers = self.marks.iter().filter_map(|m| m.newcomer.as_ref());
        self.measures.newcomers_lost = newcomers.filter(|n| !n.full).count() as u64;
        if self.scenario.start.state > 0 {
            for (marks, _) in
                self.marks.iter().zip(&self.hosts).filter(|(m, h)| !m.stated && h.process.is_some())
            {
                self.measures.stateless[usize::from(marks.newcomer.is_some())] += 1;
            }
        }
        let mut counters = BTreeMap::new();
        let processes = self.hosts.iter().filter_map(|h| h.process.as_ref());
        for node in processes.filter_map(|process| process.node.real()) {
            let s = node.stats();
            for (key, value) in [
                ("rounds", s.rounds),
                ("exchanges", s.exchanges),
                ("probes", s.probes),
                ("probes-unanswered", s.probes_unanswered),
                ("probe-requests", s.probe_requests),
                ("nacks", s.nacks),
                ("refusals", s.refusals),
                ("bursts", s.bursts),
                ("claims-sent", s.claims_sent),
                ("claims-received", s.claims_received),
                ("stale-claims", s.stale_claims),
                ("suspicions-raised", s.suspicions_raised),
                ("suspicions-refuted", s.suspicions_refuted),
                ("refutations-of-self", s.refutations_of_self),
                ("verdicts", s.verdicts),
                ("stalls", s.stalls),
                ("pages-equal", s.pages_equal),
                ("pages-unequal", s.pages_unequal),
                ("isolated", u64::from(s.isolated)),
                ("tombstones", s.tombstones as u64),
            ] {
                *counters.entry(key).or_default() += value;
            }
        }
        Ended {
            measures: self.measures,
            violations: self.violations,
            trace: self.trace.hash(),
            inputs: self.trace.inputs(),
            lost: self.network.lost,
            rejected: self.rejected,
            counters,
            recording: self.recording,
        }
    }
}
