//! The rules of [`checks`](crate::checks), asked at the right moments of a run.

use core::time::Duration;

use heartsay_membership::{Config, Generation, Heartbeat, Instant, MemberEvent, Name, QuorumStatus, Status};

use crate::checks::{OneCut, Quorums, Row, Safety, Split, Violations, liveness};
use crate::host::{Host, owners_word, would_say_held};
use crate::models::Baseline;
use crate::network::Network;
use crate::oracle::{Belief, Board, Oracle};
use crate::scenario::{Check, Scenario};
use crate::world::proofs::Proofs;

/// What must hold, and what did not.
pub(super) struct Judge {
    check: Check,
    /// Whether the rules concern what runs; of a model no more is asked than how well it does.
    binding: bool,
    /// Bound on noticing that quorum is lost.
    notice: Duration,
    acceptable_pause: Duration,
    /// Some member lies, and nobody else has to know better.
    lied_to: bool,
    datagram_limit: usize,
    safety: Safety,
    quorums: Quorums,
    /// Bound on one roster after a change of the network, and the rule about it.
    one_cut_within: Duration,
    one_cut: OneCut,
    violations: Violations,
    storm: bool,
}

impl Judge {
    pub(super) fn new(scenario: &Scenario, config: &Config) -> Self {
        let check = scenario.check.clone();
        let one_cut_within =
            check.one_cut_within.map_or(config.acceptable_pause.mul_f64(ONE_CUT), |within| within.0);
        Self {
            notice: check.quorum_within.map_or(config.lease().mul_f64(CLOCK_RATES), |within| within.0),
            check,
            binding: scenario.machine == Baseline::Heartsay,
            acceptable_pause: config.acceptable_pause,
            lied_to: scenario.has_liars(),
            datagram_limit: config.datagram.limit(),
            safety: Safety::default(),
            quorums: Quorums::default(),
            one_cut_within,
            one_cut: OneCut::new(one_cut_within),
            violations: Violations::default(),
            storm: false,
        }
    }

    /// What was violated so far.
    #[cfg(test)]
    pub(super) fn violations(&self) -> &Violations {
        &self.violations
    }

    /// Datagrams answer datagrams without end: the run would never end.
    pub(super) fn sees_storm(&self) -> bool {
        self.storm
    }

    /// Whether tables are looked at after every step.
    pub(super) fn is_thorough(&self) -> bool {
        self.check.every_step
    }

    /// A process could not start.
    pub(super) fn no_start(&mut self, now: Instant, why: &str) {
        self.violations.add(now, "no-start", || why.to_owned());
    }

    /// The process of `member` ended.
    pub(super) fn ended(&mut self, member: usize) {
        self.safety.forget(member);
        self.quorums.ended(member);
    }

    /// `host` asked `spins` times in a row to be woken at once. False: too often.
    pub(super) fn spins(&mut self, now: Instant, host: usize, spins: u32) -> bool {
        Safety::spins(&mut self.violations, now, host, spins)
    }

    /// The table of a member has `size` entries; there have been `names`.
    pub(super) fn size(&mut self, now: Instant, name: &Name, size: usize, names: usize) {
        if !self.lied_to {
            Safety::size(&mut self.violations, now, name.as_str(), size, names);
        }
    }

    /// A machine gives a datagram of `size` bytes away.
    pub(super) fn datagram(&mut self, now: Instant, name: &Name, size: usize) {
        Safety::datagram(&mut self.violations, now, name.as_str(), size, self.datagram_limit);
    }

    /// `host` has sent `datagrams` in this second.
    pub(super) fn sent(&mut self, now: Instant, host: usize, datagrams: u32) {
        self.storm |= !Safety::calm(&mut self.violations, now, host, datagrams);
    }

    /// A member says that another reached (generation, heartbeat). The other's number, if it ever was.
    pub(super) fn claim(
        &mut self,
        now: Instant,
        observer: &Name,
        claim: (&Name, Generation, Heartbeat),
        oracle: &mut Oracle,
        hosts: &[Host],
    ) -> Option<usize> {
        if self.lied_to {
            return oracle.find(claim.0);
        }
        let owner = |host: usize| owners_word(hosts, host);
        Safety::claim(&mut self.violations, now, observer.as_str(), claim, oracle, owner)
    }

    /// A row of `observer`'s table, which must not go back.
    pub(super) fn row(&mut self, now: Instant, observer: usize, row: &Row) {
        if !self.lied_to {
            self.safety.row(&mut self.violations, now, observer, row);
        }
    }

    /// The same row beside what its events `told`.
    pub(super) fn told(&mut self, now: Instant, observer: usize, row: &Row, told: Belief) {
        Safety::told(&mut self.violations, now, observer, row, told);
    }

    /// `member` says this of quorum.
    pub(super) fn says(&mut self, now: Instant, member: usize, status: &QuorumStatus) {
        self.quorums.says(&mut self.violations, now, member, status);
    }

    /// At most one side of each cut holds quorum, as soon as the bound on saying so has passed.
    pub(super) fn sides(&mut self, now: Instant, network: &Network, hosts: &[Host]) {
        if self.check.sides {
            let acts = |member| would_say_held(hosts, member, now);
            self.quorums.sides(&mut self.violations, now, network, self.notice, acts);
        }
    }

    /// A member that `observer`, holding quorum, has for down does not hold it too: not for a moment if it is kept out, and
    /// for no longer than the acceptable pause if it was called down as silent and runs all the same.
    pub(super) fn put_out(&mut self, now: Instant, observer: usize, hosts: &[Host], oracle: &Oracle) {
        if !self.check.put_out.unwrap_or(self.check.sides) || hosts[observer].subject != observer {
            return;
        }
        let Some(process) = &hosts[observer].process else { return };
        let local = Instant::from_micros(process.clock.read(now));
        let Some(node) = process.node.real().filter(|node| node.census().down > 0) else { return };
        if !would_say_held(hosts, observer, now) {
            return;
        }
        let out = |name| {
            let member = node.member(local, name)?;
            let since = local.since(member.since) >= self.acceptable_pause;
            (since || member.kept_out.is_some()).then_some(member.generation)
        };
        let down = node.summaries().filter(|glance| glance.status == Status::Down);
        for (name, generation) in down.filter_map(|glance| Some((glance.name, out(glance.name)?))) {
            let Some(subject) = oracle.find(name) else { continue };
            if owners_word(hosts, subject).is_some_and(|(life, _)| life == generation) {
                let acts = |member| would_say_held(hosts, member, now);
                Quorums::put_out(&mut self.violations, now, observer, subject, acts);
            }
        }
    }

    /// Rosters of holders may differ for so long after a change of the network.
    pub(super) fn one_cut_within(&self) -> Duration {
        self.one_cut_within
    }

    /// Whether it is asked that they do not differ at `now`, the last change having been at `change`.
    pub(super) fn splits_matter(&self, now: Instant, change: Instant) -> bool {
        self.check.one_cut && self.one_cut.is_due(now, change)
    }

    /// Two of `holders`, all that hold quorum, differ.
    pub(super) fn split(&mut self, now: Instant, change: Instant, split: &Split, holders: &[usize]) {
        self.one_cut.split(&mut self.violations, now, change, split, holders);
    }

    /// What `host` claims of quorum is explained by the datagrams that it and others received, and by the time.
    pub(super) fn proof(&mut self, now: Instant, host: usize, hosts: &[Host], proofs: &mut Proofs) {
        let Some(process) = hosts.get(host).and_then(|h| h.process.as_ref()) else { return };
        let Some(node) = process.node.real().filter(|_| proofs.compares()) else { return };
        let local = Instant::from_micros(process.clock.read(now));
        let (quorum, until) = node.quorum_until(local);
        if let Some(what) = proofs.claims(now, host, local, quorum, until) {
            self.violations.add(now, "unexplained-proof", || format!("n{host} {what}"));
        }
    }

    /// What `observer` tells of `subject` may follow what it told before.
    pub(super) fn follows(
        &mut self,
        now: Instant,
        observer: usize,
        subject: usize,
        event: &MemberEvent,
        proofs: &mut Proofs,
    ) {
        if let Some(what) = proofs.tells(observer, subject, event) {
            self.violations
                .add(now, "told-out-of-order", || format!("n{observer} tells of n{subject} {what}"));
        }
    }

    /// A member whose lease `observer` could prove to have run out holds none, whether or not the observer says so.
    pub(super) fn fences(&mut self, now: Instant, observer: usize, hosts: &[Host]) {
        let Some(process) = &hosts[observer].process else { return };
        let Some(node) = process.node.real() else { return };
        let local = Instant::from_micros(process.clock.read(now));
        for subject in (0..hosts.len()).filter(|subject| *subject != observer) {
            if node.lease_ran_out(local, &hosts[subject].name) {
                self.fenced(now, observer, subject, hosts);
            }
        }
    }

    /// `observer` says that the lease of `subject` has run out for certain, whichever its life.
    pub(super) fn fenced(&mut self, now: Instant, observer: usize, subject: usize, hosts: &[Host]) {
        let acts = |member| would_say_held(hosts, member, now);
        Quorums::fenced(&mut self.violations, now, observer, subject, acts);
    }

    /// `observer` calls down `subject`, which is up.
    pub(super) fn verdict(
        &mut self,
        now: Instant,
        observer: usize,
        subject: usize,
        network: &Network,
        hosts: &[Host],
    ) {
        let promised = self.check.sides && !keeps_out(now, observer, subject, hosts);
        if promised && network.apart(observer, subject, now, Duration::ZERO) {
            let acts = |member| would_say_held(hosts, member, now);
            self.quorums.verdict(&mut self.violations, now, observer, subject, acts);
        }
    }

    /// A lie has done harm for longer than it may.
    pub(super) fn harmed(&mut self, now: Instant, rule: &'static str, what: impl FnOnce() -> String) {
        self.violations.add(now, rule, what);
    }

    /// At the end: from the last trouble, which was over at `calm`, to agreement.
    pub(super) fn liveness(&mut self, now: Instant, calm: Instant, board: &Board) -> Option<f64> {
        liveness(&mut self.violations, now, calm, board, &self.check)
    }

    /// Members that hold, lost, are unsettled about quorum, and what was violated.
    pub(super) fn finish(self) -> ([usize; 3], Violations) {
        let violations = if self.binding { self.violations } else { Violations::default() };
        (self.quorums.count(), violations)
    }
}

/// Whether `observer` calls `subject` down though it may live, since it is of no use: such a verdict is looked at by
/// [`Judge::put_out`], cut or no cut.
pub(super) fn keeps_out(now: Instant, observer: usize, subject: usize, hosts: &[Host]) -> bool {
    let Some(process) = &hosts[observer].process else { return false };
    let local = Instant::from_micros(process.clock.read(now));
    let name = &hosts[subject].name;
    process.node.real().and_then(|node| node.member(local, name)).is_some_and(|m| m.kept_out.is_some())
}

/// Clocks may run 1 % off: what one calls a second, another calls up to 1.02.
const CLOCK_RATES: f64 = 1.02;
/// Of the acceptable pause (2 s): silence is judged after one, and another 1.5 s are for doubts, news and the settling of quorum.
const ONE_CUT: f64 = 1.75;
