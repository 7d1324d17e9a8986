//! What a run leaves behind.

use std::collections::BTreeMap;

use heartsay_membership::Stats;

use super::World;
use crate::checks::Violations;
use crate::host::Host;
use crate::measure::Measures;
use crate::recording::Recording;

/// What a run leaves behind.
pub struct Ended {
    /// How well it went.
    pub measures: Measures,
    /// What must not happen, and did.
    pub violations: Violations,
    /// What each fault of the scenario did, in words.
    pub happened: Vec<String>,
    /// Fingerprint of everything that happened.
    pub trace: u64,
    /// Inputs handed to machines.
    pub inputs: u64,
    /// Steps of members that were compared with the specification.
    pub compared: u64,
    /// Datagrams that did not arrive, by cause.
    pub lost: crate::network::Lost,
    /// Inputs that machines refused, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Sum of the machines' own counters, over the members that run at the end.
    pub counters: BTreeMap<&'static str, u64>,
    /// Of each kind of harm that lies did for longer than they may: for how long, in seconds.
    pub harm: BTreeMap<&'static str, f64>,
    /// What pictures are drawn from, if it was asked for.
    pub recording: Option<Recording>,
}

impl World {
    pub(super) fn finish(mut self) -> Ended {
        // A scenario that begins trouble must leave time for the calm to be judged.
        let agreement = self.judge.liveness(self.now, self.calm, &self.board);
        let haunted = self.board.haunted_until().since(self.calm).as_secs_f64();
        let (quorum, violations) = self.judge.finish();
        let stateful = |host: &Host| self.scenario.start.state > 0 && host.process.is_some();
        let stateful = self.hosts.iter().enumerate().filter(|(_, host)| stateful(host));
        let mut measures = self.meter.finish(self.now, stateful.map(|(member, _)| member));
        measures.agreement = agreement;
        measures.ghosts_gone = (self.board.ghosts() == 0).then_some(haunted);
        measures.quorum.at_end = quorum;
        Ended {
            measures,
            violations,
            happened: self.chronicle.lines(&self.scenario.faults, self.now),
            trace: self.trace.hash(),
            inputs: self.trace.inputs(),
            compared: self.proofs.compared(),
            lost: self.network.lost,
            rejected: self.rejected,
            counters: counters(&self.hosts),
            harm: self.harm.longest,
            recording: self.recording,
        }
    }
}

/// The counters of all machines that run, summed.
fn counters(hosts: &[Host]) -> BTreeMap<&'static str, u64> {
    let mut counters = BTreeMap::new();
    let processes = hosts.iter().filter_map(|host| host.process.as_ref());
    for node in processes.filter_map(|process| process.node.real()) {
        for (key, value) in counted(&node.stats()) {
            *counters.entry(key).or_default() += value;
        }
    }
    counters
}

fn counted(s: &Stats) -> [(&'static str, u64); 22] {
    [
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
        ("path-downs", s.path_downs),
        ("path-ups", s.path_ups),
        ("pages-equal", s.pages_equal),
        ("pages-unequal", s.pages_unequal),
        ("isolated", u64::from(s.isolated)),
        ("tombstones", s.tombstones as u64),
    ]
}
