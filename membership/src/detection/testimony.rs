//! Testimony against a member: sends ours, takes that of others, and gives the verdict.

use core::time::Duration;
use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::Instant;
use crate::detection::Detection;
use crate::detection::verdict::{self, Circumstances, Verdict};
use crate::detection::witnesses::{self, Testimony};
use crate::effect::Effect;
use crate::roster::Roster;
use crate::roster::member::Member;
use crate::roster::source::Source;
use crate::roster::standing::{Accusation, Evidence, Marks, Status};
use crate::transport::context::Context;
use crate::transport::wire::Detail;

impl Detection {
    /// Accusations against a member have changed.
    pub fn hear_testimony(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        self.give_notice(now, ctx, subject);
        self.probe_as_witness(now, ctx, subject);
        self.look_for_accused_joint(now, ctx, subject);
        self.judge_soon(now, subject);
    }

    /// The accusations against a member may suffice for a verdict, which is given at the next time-out. By then all
    /// waiting datagrams have been received, among them perhaps a refutation.
    pub fn judge_soon(&mut self, now: Instant, subject: u64) {
        self.judge_by(now, subject);
    }

    /// The same, at the first time-out from `at` on.
    pub fn judge_by(&mut self, at: Instant, subject: u64) {
        self.to_judge.insert(subject);
        self.judge_at = self.judge_at.min(at);
    }

    /// The members whose case is due for a verdict.
    pub fn take_to_judge(&mut self) -> Vec<u64> {
        self.judge_at = Instant::NEVER;
        core::mem::take(&mut self.to_judge).into_iter().collect()
    }

    /// The accused members whose witnesses may have fallen silent too: the next ones in the draw replace those
    /// witnesses.
    pub fn accused(&self, roster: &Roster) -> Vec<u64> {
        if roster.census().suspect < 2 {
            return Vec::new();
        }
        let suspect = |(hash, member): (u64, &Member)| (member.status == Status::Suspect).then_some(hash);
        roster.entries().filter_map(suspect).collect()
    }

    /// Probes the accused, if we are drawn as a witness and do not probe it already.
    pub fn probe_as_witness(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(member) = ctx.roster.get(subject).filter(|m| m.is_present()) else { return };
        // An accusation by a member that doubts itself is worth a probe too.
        let Some(basis) = member.marks().of_silence().map(|a| a.basis).max() else { return };
        if self.probes.contains_key(&subject) || !self.is_witness(ctx, subject) {
            return;
        }
        // The beginning of the silence is taken only from accusers that do not doubt themselves.
        let began = member.marks().that_count().map(|a| a.began).min().unwrap_or(now);
        self.begin_probe(now, ctx, subject, began, Some(basis));
    }

    pub fn accuse(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, evidence: Option<Evidence>) {
        let (me, Some(kind)) = (ctx.core.me, evidence) else { return };
        let Some(probe) = self.probes.get_mut(&subject) else { return };
        probe.raised = evidence;
        let probe = *probe;
        // A node that has heard no member since the silence began may itself be cut off, provided that a member in good
        // standing is there to be heard.
        let heard_any = ctx.core.last_heard >= probe.began;
        let others_alive = ctx.roster.iter().any(|m| {
            m.status == Status::Alive && ![me, subject].contains(&m.hash()) && !self.is_doubted(m.hash())
        });
        let unheard = self.hears_nobody(now, ctx, &probe);
        let doubtful = (others_alive && !heard_any) || ctx.core.health.impaired(now);
        // A refusal is an answer: the path works, and so do we. And a source does not speak over our paths.
        let weak = !matches!(kind, Evidence::Refused | Evidence::Told) && doubtful;
        let Some(mut member) = ctx.roster.get_mut(subject) else { return };
        if kind != Evidence::Told {
            member.path.reachable = Some(false);
        }
        let accusation =
            Accusation { by: me, basis: probe.basis, kind, weak, began: probe.began, source: probe.source };
        let news = member.mark(&Marks { accusations: vec![accusation], ..Marks::default() });
        drop(member);
        if !news {
            self.will_testify(now, ctx, subject);
            return;
        }
        ctx.core.stats.suspicions_raised += 1;
        let reason: Cow<'static, str> = match kind {
            Evidence::Refused => "its host refuses datagrams: the process is gone".into(),
            Evidence::Proven | Evidence::Silent => "it answers neither us nor our helpers".into(),
            Evidence::Told => told_by(probe.source).into(),
            Evidence::Degraded | Evidence::Unfit => "its link loses far more than others".into(),
        };
        ctx.ask_refresh(subject, reason);
        ctx.effect(Effect::Recount);
        if !(weak && unheard) {
            self.will_testify(now, ctx, subject);
        }
    }

    /// Whether we accuse it, weakly or not.
    pub fn is_doubted(&self, subject: u64) -> bool {
        self.probes.get(&subject).is_some_and(|probe| probe.raised.is_some())
    }

    /// Whether we have proven its silence ourselves.
    pub fn has_proof(&self, subject: u64) -> bool {
        let raised = self.probes.get(&subject).and_then(|probe| probe.raised);
        raised.is_some_and(|evidence| evidence >= Evidence::Proven)
    }

    /// How many members look silent from here: the suspects, and the members that we accuse while we doubt ourselves.
    pub fn silent_members(&self, roster: &Roster) -> u32 {
        let accused = self.probes.iter().filter(|(_, probe)| probe.raised.is_some());
        let alive = |hash: &u64| roster.get(*hash).is_some_and(|m| m.status == Status::Alive);
        let doubted = accused.filter(|(hash, _)| alive(hash)).count();
        roster.census().suspect.saturating_add(u32::try_from(doubted).unwrap_or(u32::MAX))
    }

    /// Whether so many look silent that their callers are silent too, and the regular calls show a cut too late.
    pub fn many_are_silent(&self, roster: &Roster) -> bool {
        let silent = self.silent_members(roster);
        silent >= SEVERAL && silent.saturating_mul(8) > roster.census().alive
    }

    /// Sends testimony straight to the members that decide, in one datagram to each.
    pub fn testify(&mut self, now: Instant, ctx: &mut Context<'_>) {
        self.testify_at = Instant::NEVER;
        let mut by_witness: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let subjects: Vec<u64> =
            self.probes.iter().filter(|(_, p)| p.to_tell).map(|(s, _)| *s).take(TESTIMONIES).collect();
        for subject in subjects {
            for witness in witnesses::of(ctx.roster, subject, ctx.core.config.witnesses) {
                if witness != ctx.core.me {
                    by_witness.entry(witness).or_default().push(subject);
                }
            }
            if let Some(probe) = self.probes.get_mut(&subject) {
                probe.to_tell = false;
                probe.told = now;
            }
        }
        for (witness, subjects) in by_witness {
            let reached = ctx.roster.get(witness).filter(|m| ctx.transport.addresses.reaches(now, m));
            if let Some(to) = reached.map(|m| m.incarnation.address()) {
                ctx.tell(now, to, &subjects, Detail::Thin);
            }
        }
        if self.probes.values().any(|p| p.to_tell) {
            self.testify_at = now + TESTIFY_AGAIN;
        }
    }

    fn will_testify(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        if let Some(probe) = self.probes.get_mut(&subject) {
            probe.to_tell = true;
            self.testify_at = self.testify_at.min(now + ctx.core.config.coalesce);
        }
    }

    /// Gives the verdict on a suspect, if the accusations suffice.
    pub fn judge(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(member) = ctx.roster.get(subject) else { return };
        if member.status != Status::Suspect {
            return;
        }
        let accusations = &member.marks().accusations;
        if accusations.iter().all(|a| a.kind < Evidence::Proven && !a.is_told_by(&ctx.core.config.sources)) {
            return;
        }
        let began = member.marks().that_count().map(|a| a.began).min().unwrap_or(now);
        let testimony = Testimony::against(member, ctx.roster, &ctx.core.config);
        let verdict = verdict::decide(
            testimony,
            Circumstances {
                silence: now.since(began),
                acceptable_pause: ctx.core.config.acceptable_pause,
                suspect_share: self.doubtful_share(),
                recovering: now < ctx.core.recovering_until,
            },
        );
        let told = verdict::told(testimony, self.doubtful_share());
        let source =
            accusations.iter().find(|a| a.is_told_by(&ctx.core.config.sources)).and_then(|a| a.source);
        if verdict == Verdict::Down && self.has_heard_it_since(now, ctx.core, member, member.marks()) {
            self.judge_by(now + AGAIN, subject);
        } else if verdict == Verdict::Down
            && let Some(basis) = testimony.basis.max(testimony.told_basis.filter(|_| told))
        {
            if let Some(mut member) = ctx.roster.get_mut(subject) {
                member.mark(&Marks { down: Some(basis), ..Marks::default() });
            }
            ctx.core.stats.verdicts += 1;
            let reason = if testimony.refused >= testimony.needed.min(witnesses::REFUSED) {
                format!("its host refuses datagrams, {}", said_by(testimony.refused))
            } else if told {
                format!("{}, and it does not answer, {}", told_by(source), said_by(testimony.silent))
            } else {
                let (said, needed) = (said_by(testimony.proven), testimony.needed);
                let are = if needed == 1 { "is" } else { "are" };
                format!("silent beyond the acceptable pause, {said}, of whom {needed} {are} needed")
            };
            ctx.ask_refresh(subject, reason);
        }
    }

    pub fn is_witness(&self, ctx: &Context<'_>, subject: u64) -> bool {
        witnesses::is_one(ctx.roster, subject, ctx.core.config.witnesses, ctx.core.me)
    }
}

/// What a source says, as a sentence.
pub fn told_by(source: Option<Source>) -> String {
    source
        .map_or_else(|| "it is said to be gone".to_owned(), |source| format!("{source} says that it is gone"))
}

/// As the end of a sentence.
fn said_by(members: usize) -> String {
    if members == 1 { "says 1 member".to_owned() } else { format!("say {members} members") }
}

/// Cases in one set of datagrams, and the pause before the next set.
const TESTIMONIES: usize = 32;
const TESTIFY_AGAIN: Duration = Duration::from_millis(100);
/// Until the case of a member that has spoken to us is looked at again.
const AGAIN: Duration = Duration::from_millis(100);
/// This many, and more than an eighth of the cluster, are many.
const SEVERAL: u32 = 2;
