//! The case against a member: what we testify, what others do, and the verdict.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::detection::verdict::{self, Circumstances, Verdict};
use crate::detection::witnesses::{self, Testimony};
use crate::node::Node;
use crate::roster::member::Member;
use crate::roster::standing::{Accusation, Evidence, Marks, Status};
use crate::transport::wire::Detail;

impl Node {
    /// Accusations against a member have changed.
    pub(crate) fn hear_testimony(&mut self, now: Instant, subject: u64) {
        self.judge_link(now, subject);
        self.probe_as_witness(now, subject);
        self.judge(now, subject);
    }

    /// We know a life from now on. What others say against it may be complete, so that nothing more is said.
    pub(crate) fn hear_first_testimony(&mut self, now: Instant, subject: u64) {
        if self.roster.get(subject).is_some_and(Member::is_marked) {
            self.hear_testimony(now, subject);
        }
    }

    /// Those who were drawn to the accused may have fallen silent too: whoever is next in the draw looks in
    /// their place.
    pub(crate) fn replace_witness(&mut self, now: Instant) {
        if self.roster.census().suspect < 2 {
            return;
        }
        let suspect = |(hash, member): (u64, &Member)| (member.status == Status::Suspect).then_some(hash);
        let accused: Vec<u64> = self.roster.entries().filter_map(suspect).collect();
        for subject in accused {
            self.probe_as_witness(now, subject);
        }
    }

    /// Looks for ourselves, if we are drawn to the accused and do not look already.
    fn probe_as_witness(&mut self, now: Instant, subject: u64) {
        let Some(member) = self.roster.get(subject).filter(|m| m.is_present()) else { return };
        // Whoever doubts itself is worth a look too.
        let Some(basis) = member.marks().of_silence().map(|a| a.basis).max() else { return };
        if self.detection.probes.contains_key(&subject) || !self.is_witness(subject) {
            return;
        }
        // Only who is sure of itself is believed about when the silence began.
        let began = member.marks().that_count().map(|a| a.began).min().unwrap_or(now);
        self.begin_probe(now, subject, began, Some(basis));
    }

    pub(crate) fn accuse(&mut self, now: Instant, subject: u64, evidence: Option<Evidence>) {
        let (me, Some(kind)) = (self.core.me, evidence) else { return };
        let Some(probe) = self.detection.probes.get_mut(&subject) else { return };
        probe.raised = evidence;
        let probe = *probe;
        // Whoever has heard nobody since the silence began may be the one who is
        // cut off, provided that there is somebody in good standing to be heard.
        let heard_anybody = self.core.last_heard >= probe.began;
        let anybody = self.roster.iter().any(|m| {
            m.status == Status::Alive && ![me, subject].contains(&m.hash()) && !self.is_doubted(m.hash())
        });
        // A refusal is an answer: the path works, and so do we.
        let doubtful = (anybody && !heard_anybody) || self.core.health.impaired(now);
        let weak = kind != Evidence::Refused && doubtful;
        let Some(mut member) = self.roster.get_mut(subject) else { return };
        member.path.reachable = Some(false);
        let accusation = Accusation { by: me, basis: probe.basis, kind, weak, began: probe.began };
        let news = member.mark(&Marks { accusations: vec![accusation], ..Marks::default() });
        drop(member);
        if !news {
            self.will_testify(now, subject);
            return;
        }
        self.core.stats.suspicions_raised += 1;
        let reason = match kind {
            Evidence::Refused => "its host refuses datagrams: the process is gone",
            Evidence::Proven | Evidence::Silent => "it answers neither us nor our helpers",
            Evidence::Degraded | Evidence::Unfit => "its link loses far more than others",
        };
        self.refresh(now, subject, reason);
        self.recount(now);
        self.will_testify(now, subject);
    }

    /// Whether we accuse it, sure of ourselves or not.
    pub(crate) fn is_doubted(&self, subject: u64) -> bool {
        self.detection.probes.get(&subject).is_some_and(|probe| probe.raised.is_some())
    }

    /// How many members look silent from here: the suspect, and those that we accuse while we doubt ourselves.
    pub(crate) fn silent_members(&self) -> u32 {
        let accused = self.detection.probes.iter().filter(|(_, probe)| probe.raised.is_some());
        let alive = |hash: &u64| self.roster.get(*hash).is_some_and(|m| m.status == Status::Alive);
        let doubted = accused.filter(|(hash, _)| alive(hash)).count();
        self.roster.census().suspect.saturating_add(u32::try_from(doubted).unwrap_or(u32::MAX))
    }

    /// Testimony goes straight to those who are to decide, in one datagram to each.
    pub(crate) fn testify(&mut self, now: Instant) {
        self.detection.testify_at = Instant::NEVER;
        let mut by_witness: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let subjects: Vec<u64> = self
            .detection
            .probes
            .iter()
            .filter(|(_, p)| p.to_tell)
            .map(|(s, _)| *s)
            .take(TESTIMONIES)
            .collect();
        for subject in subjects {
            for witness in witnesses::of(&self.roster, subject, self.core.config.witnesses) {
                if witness != self.core.me {
                    by_witness.entry(witness).or_default().push(subject);
                }
            }
            if let Some(probe) = self.detection.probes.get_mut(&subject) {
                probe.to_tell = false;
                probe.told = now;
            }
        }
        for (witness, subjects) in by_witness {
            if let Some(to) = self.roster.get(witness).map(|m| m.incarnation.address()) {
                self.tell(now, to, &subjects, Detail::Thin);
            }
        }
        if self.detection.probes.values().any(|p| p.to_tell) {
            self.detection.testify_at = now + TESTIFY_AGAIN;
        }
    }

    fn will_testify(&mut self, now: Instant, subject: u64) {
        if let Some(probe) = self.detection.probes.get_mut(&subject) {
            probe.to_tell = true;
            self.detection.testify_at = self.detection.testify_at.min(now + self.core.config.coalesce);
        }
    }

    pub(crate) fn judge(&mut self, now: Instant, subject: u64) {
        let Some(member) = self.roster.get(subject) else { return };
        if member.status != Status::Suspect {
            return;
        }
        let accusations = &member.marks().accusations;
        if accusations.iter().all(|a| a.kind < Evidence::Proven) {
            return;
        }
        let began = member.marks().that_count().map(|a| a.began).min().unwrap_or(now);
        let testimony = Testimony::against(member, &self.roster, self.core.config.witnesses);
        let verdict = verdict::decide(
            testimony,
            Circumstances {
                silence: now.since(began),
                acceptable_pause: self.core.config.acceptable_pause,
                suspect_share: self.detection.suspect_share,
                recovering: now < self.core.recovering_until,
            },
        );
        if verdict == Verdict::Down
            && let Some(basis) = testimony.basis
        {
            if let Some(mut member) = self.roster.get_mut(subject) {
                member.mark(&Marks { down: Some(basis), ..Marks::default() });
            }
            self.core.stats.verdicts += 1;
            let reason = if testimony.refused >= testimony.needed.min(witnesses::REFUSED) {
                format!("its host refuses datagrams, say {} members", testimony.refused)
            } else {
                format!(
                    "silent beyond the acceptable pause, say {} of {} needed",
                    testimony.proven, testimony.needed
                )
            };
            self.refresh(now, subject, &reason);
        }
    }

    fn is_witness(&self, subject: u64) -> bool {
        witnesses::is_one(&self.roster, subject, self.core.config.witnesses, self.core.me)
    }
}

/// Cases that one set of datagrams tells of, and the pause before the next set.
const TESTIMONIES: usize = 32;
const TESTIFY_AGAIN: Duration = Duration::from_millis(100);
