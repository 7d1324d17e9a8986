//! What comes of lies: whether healthy members are harmed by them, and for how long.

use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_membership::{Config, Instant, Status};

use super::World;
use super::standing::{Standing, standings, standings_with_liars};
use crate::checks::Lasting;
use crate::host::would_say_held;
use crate::oracle::{Belief, GRACE};
use crate::scenario::Scenario;

/// What is wrong at the moment, and since when.
pub(super) struct Harm {
    /// Some member lies.
    watches: bool,
    lasting: Lasting<(&'static str, usize, usize)>,
    /// The longest of each kind that lasted for longer than it may, in seconds.
    pub(super) longest: BTreeMap<&'static str, f64>,
    /// A side without a majority says so within this.
    notice: Duration,
    pub(super) most_members: usize,
    looks: u64,
}

impl Harm {
    pub(super) fn new(scenario: &Scenario, config: &Config) -> Self {
        Self {
            watches: scenario.has_liars(),
            lasting: Lasting::default(),
            longest: BTreeMap::new(),
            notice: config.lease().mul_f64(CLOCK_RATES),
            most_members: config.max_members,
            looks: 0,
        }
    }
}

impl World {
    /// Looks at all healthy members for harm that lies do.
    pub(super) fn look_for_harm(&mut self) {
        if !self.harm.watches {
            return;
        }
        self.harm.looks += 1;
        let healthy: Vec<usize> = (0..self.hosts.len()).filter(|member| self.is_healthy(*member)).collect();
        self.look_at_beliefs(&healthy);
        self.look_at_quorum(&healthy);
        if self.harm.looks.is_multiple_of(TABLES_EVERY) {
            self.look_at_tables(&healthy);
        }
    }

    /// It runs, nothing is wrong with it, and it does not lie.
    fn is_healthy(&self, member: usize) -> bool {
        let truth = &self.oracle.members()[member];
        truth.up && !truth.in_trouble(self.now) && self.hosts[member].subject == member
    }

    /// Nobody holds a healthy member for down, or for gone, nor a dead one for alive.
    fn look_at_beliefs(&mut self, healthy: &[usize]) {
        // What those beyond a cut say of one another may come by way of others.
        let members = 0..self.hosts.len();
        let apart = |one: usize| members.clone().any(|other| self.network.apart(one, other, self.now, GRACE));
        let whole: Vec<bool> = members.clone().map(|member| !apart(member)).collect();
        for observer in healthy.iter().copied().filter(|observer| whole[*observer]) {
            for (subject, whole) in whole.iter().enumerate() {
                let truth = &self.oracle.members()[subject];
                if observer == subject || !whole || truth.is_struck() || !truth.started {
                    continue;
                }
                let belief = self.board.belief(observer, subject);
                let lives = healthy.contains(&subject);
                let down = lives && belief == Belief::Is(Status::Down);
                let gone = lives && matches!(belief, Belief::Unknown | Belief::Is(Status::Left));
                let hidden = truth.is_over() && belief.present();
                let words = |what: &str| format!("n{observer} has n{subject} for {what}");
                self.see("lied-down", (observer, subject), down, LONGEST, || words("down, which is fine"));
                self.see("lied-away", (observer, subject), gone, LONGEST, || words("gone, which is there"));
                self.see("lied-alive", (observer, subject), hidden, LONGEST_DEATH, || {
                    words("alive, which is dead")
                });
            }
        }
    }

    /// Lies take quorum from nobody, and lend it to nobody.
    fn look_at_quorum(&mut self, healthy: &[usize]) {
        let Some(electorate) = self.config.electorate.clone() else { return };
        let (hosts, network, oracle) = (&self.hosts, &self.network, &self.oracle);
        let honest: Vec<Standing> = standings(&electorate, hosts, network, oracle).collect();
        let all: Vec<Standing> = standings_with_liars(&electorate, hosts, network, oracle).collect();
        // Without a fence a proof may come by way of others; a liar too may pass on what is true.
        let direct = self.config.fence;
        let (now, notice) = (self.now, self.harm.notice);
        for &member in healthy {
            let holds = would_say_held(&self.hosts, member, now);
            let with = honest[member] == Standing::With;
            let settled = self.harm.lasting.see(now, ("-with", member, member), with, SETTLED).is_some();
            self.see("quorum-taken", (member, member), settled && !holds, Duration::ZERO, || {
                format!("n{member} does not hold quorum, and a majority of honest members is in reach")
            });
            let without = |other: usize| all[other] == Standing::Without;
            let none = without(member) && (direct || self.reach(member).into_iter().all(without));
            let lent = none && holds;
            self.see("quorum-lent", (member, member), lent, notice, || {
                format!("n{member} holds quorum, and no majority is in reach")
            });
        }
    }

    /// The members that run to which `member` has two-way links, straight or by way of others.
    fn reach(&self, member: usize) -> Vec<usize> {
        let mut reached = vec![member];
        let mut at = 0;
        while let Some(&from) = reached.get(at) {
            at += 1;
            let runs = |other: &usize| self.hosts[*other].process.is_some();
            let next = (0..self.hosts.len()).filter(runs).filter(|to| self.network.is_two_way(from, *to));
            let next: Vec<usize> = next.filter(|to| !reached.contains(to)).collect();
            reached.extend(next);
        }
        reached
    }

    /// Nobody has another life of a healthy member than it lives, nor a state that it never had, nor more than fits.
    fn look_at_tables(&mut self, healthy: &[usize]) {
        let mut wrong = Vec::new();
        for &observer in healthy {
            let Some(process) = &self.hosts[observer].process else { continue };
            let size = process.node.members();
            if size > self.harm.most_members {
                let most = self.harm.most_members;
                self.judge
                    .harmed(self.now, "overgrown", || format!("n{observer} has {size} members of {most}"));
            }
            let Some(process) = &self.hosts[observer].process else { continue };
            for row in process.node.summaries() {
                let subject = self.oracle.find(row.name).filter(|s| *s != observer && healthy.contains(s));
                let Some(subject) = subject else { continue };
                let host = &self.hosts[subject];
                let own = host.process.as_ref().and_then(|p| p.node.real()).map(|node| node.own().version);
                let same = row.host_id == host.host_id && row.address == host.address;
                let lived =
                    self.oracle.members()[subject].lives.iter().any(|l| l.generation == row.generation);
                wrong.push((observer, subject, !same || !lived, own.is_some_and(|own| row.version > own)));
            }
        }
        for (observer, subject, another, changed) in wrong {
            self.see("impersonated", (observer, subject), another, LONGEST, || {
                format!("n{observer} has a life of n{subject} that it never lived")
            });
            self.see("state-invented", (observer, subject), changed, LONGEST, || {
                format!("n{observer} has a state of n{subject} that it never had")
            });
        }
    }

    fn see(
        &mut self,
        rule: &'static str,
        (one, other): (usize, usize),
        is_so: bool,
        bound: Duration,
        what: impl FnOnce() -> String,
    ) {
        let now: Instant = self.now;
        let Some((lasts, first)) = self.harm.lasting.see(now, (rule, one, other), is_so, bound) else {
            return;
        };
        let longest = self.harm.longest.entry(rule).or_default();
        *longest = longest.max(lasts.as_secs_f64());
        if first {
            self.judge.harmed(now, rule, what);
        }
    }
}

/// For so long at most a healthy member is held for down, gone or another.
const LONGEST: Duration = Duration::from_secs(2);
/// For so long at most a death is hidden: several times what its detection takes.
const LONGEST_DEATH: Duration = Duration::from_secs(10);
/// A majority has been in reach for so long that quorum must be held: the settling time and the doubts after a cut.
const SETTLED: Duration = Duration::from_secs(10);
/// Tables are looked at in every fourth look, once a second.
const TABLES_EVERY: u64 = 4;
/// Clocks may run 1 % off: what one calls a second, another calls up to 1.02.
const CLOCK_RATES: f64 = 1.02;
