//! Gray members: those that live and are no use.
//!
//! Picture: a lamp with a loose contact. Nobody minds one flicker. One that
//! flickers all evening is unscrewed, and goes back in after it has burnt on
//! the bench for a while.
//!
//! Two things speak against a member that keeps refuting.
//!
//! *Its link.* Witnesses of a member that was accused again and again look at
//! it once a round. A look counts against it only when a later heartbeat shows
//! that it was alive when asked, so an outage, however long, is two bad looks;
//! and only as far as our links to everybody else are better at the same time
//! (heartsay_detector::LinkRecord). So neither a lossy network nor our own bad
//! link makes a member gray.
//!
//! *Its comings and goings.* Each return from "down" is a flap, forgotten with
//! a half-life. Who goes down again while two are remembered stays out for a
//! stretch, which doubles with each further flap.
//!
//! Rule: a witness testifies "unfit as of heartbeat *h + stretch*". A quorum of
//! witnesses in good standing makes that a verdict, by the ordinary order of
//! claims: down until a heartbeat above the basis. Nothing else is needed to
//! merge it. While the member behaves badly, the basis moves on; when it has
//! behaved for the stretch, its own heartbeat lets it in. The accused does not
//! refute this by jumping ahead, and since one accuser is never enough
//! (`ACCUSERS_TO_KEEP_OUT`), one sick witness keeps nobody out.
//!
//! A member that is put out while it runs may hold quorum, and acts on it. So
//! the verdict has *notice*: as soon as enough witnesses find the member unfit,
//! word goes to everybody, and who hears it acknowledges the member no more
//! (fence.rs). The verdict follows after the acceptable pause. By then the
//! member's lease, 0.7 of that, has run out.
//!
//! Weak spots: in a cluster of two, nobody is a witness beside the other, so
//! nothing is damped. Who can forge frames of two members can keep out a third
//! (so can it say its good-bye): use a key.
//!
//! Road not taken: removing whoever is accused often. Under 30 % of loss that
//! is everybody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use heartsay_detector::LinkRecord;

use crate::Instant;
use crate::detection::Detection;
use crate::detection::verdict::SuspectShare;
use crate::detection::witnesses;
use crate::effect::Effect;
use crate::identity::Heartbeat;
use crate::roster::member::Member;
use crate::roster::standing::{ACCUSERS_TO_KEEP_OUT, Accusation, Evidence, Marks, Status};
use crate::transport::context::Context;
use crate::transport::requests::RequestKind;
use crate::transport::wire::Detail;

/// What there is against members that are not simply dead: only for those with
/// something against them, and at most [`MOST`].
#[derive(Debug, Default)]
pub struct Damping {
    records: BTreeMap<u64, Record>,
    /// What became of our first contacts with everybody else.
    others: LinkRecord,
    /// Who came back lately, not yet counted as flaps.
    returns: Vec<(Instant, u64)>,
    /// When those came back last who had stayed out for a stretch, in the time that a testimony lasts.
    returned: BTreeMap<u64, Instant>,
    /// Members that enough witnesses find unfit and that are not out yet: which life, and since when we know.
    notices: BTreeMap<u64, (u64, Instant)>,
}

/// One life of one member.
#[derive(Clone, Debug)]
pub struct Record {
    tag: u64,
    /// Since when there is something against it.
    pub since: Instant,
    /// Our looks at it.
    pub link: LinkRecord,
    /// Recent suspicions, fading.
    alarms: f32,
    /// Recent returns from "down", fading.
    pub flaps: f32,
    /// Looks that stayed unanswered, each with the heartbeat above which any proves that it was
    /// alive when asked; the oldest first.
    missed: VecDeque<Heartbeat>,
    /// Looks unanswered without a gap, and since when.
    gap: u32,
    gap_since: Instant,
    /// When the witnesses are told again.
    tell_at: Instant,
    /// Up to where our first testimony against it goes, if it asks for the short stretch; 0 of one that asks for more.
    first: Option<Heartbeat>,
}

impl Record {
    fn new(now: Instant, tag: u64) -> Self {
        Self {
            tag,
            since: now,
            link: LinkRecord::default(),
            alarms: 0.0,
            flaps: 0.0,
            missed: VecDeque::new(),
            gap: 0,
            gap_since: Instant::EPOCH,
            tell_at: Instant::EPOCH,
            first: None,
        }
    }

    fn fade(&mut self) {
        self.alarms *= ALARMS_FADE;
        self.flaps *= FLAPS_FADE;
    }

    fn is_worth_a_look(&self) -> bool {
        self.alarms >= ALARMS || self.link.lost() > 0 || !self.missed.is_empty()
    }

    /// Good behaviour for as long as we remember, and no flap to speak of.
    fn is_forgotten(&self) -> bool {
        let quiet = self.link.contacts() == 0 || self.link.answered_in_a_row() >= FORGIVEN;
        quiet && self.alarms < 0.5 && self.flaps < 0.1
    }

    /// Beats of good behaviour that are asked for.
    fn penalty_beats(&self) -> Heartbeat {
        if self.first.is_none() && self.flaps < FLAPPING {
            return FIRST_STRETCH;
        }
        let mut penalty_beats = STRETCH;
        let mut flaps = self.flaps;
        while flaps >= 2.0 && penalty_beats < LONGEST_STRETCH {
            penalty_beats *= 2;
            flaps -= 1.0;
        }
        penalty_beats
    }
}

impl Damping {
    /// The record of a member, where there is something against it.
    pub fn record(&self, subject: u64) -> Option<&Record> {
        self.records.get(&subject)
    }

    /// How bad its link is beside our others, in digits.
    pub fn surprise(&self, record: &Record) -> f64 {
        record.link.surprise_beside(&self.others)
    }

    pub fn drop(&mut self, subject: u64) {
        self.records.remove(&subject);
    }

    /// Whether enough witnesses find it unfit, so that it is about to be put out.
    pub fn has_notice(&self, member: &Member) -> bool {
        self.notices.get(&member.hash()).is_some_and(|(tag, _)| *tag == member.tag())
    }

    /// Whether what `accusation` says of `subject` has not been served. Whoever was let in has behaved for as long as a
    /// quorum asked; and what an accuser saw before it was let in itself, it saw over its own bad link.
    fn stands(&self, subject: &Member, accusation: &Accusation) -> bool {
        let since = |member: u64| self.returned.get(&member).is_none_or(|at| accusation.began >= *at);
        since(accusation.by) && (!subject.is_present() || since(subject.hash()))
    }

    fn entry(&mut self, now: Instant, member: &Member) -> Option<&mut Record> {
        let (subject, tag) = (member.hash(), member.tag());
        if self.records.len() >= MOST && !self.records.contains_key(&subject) {
            return None;
        }
        let record = self.records.entry(subject).or_insert_with(|| Record::new(now, tag));
        if record.tag != tag {
            *record = Record::new(now, tag);
        }
        Some(record)
    }
}

impl Detection {
    /// A first contact with a member in good standing had this end.
    pub fn note_outcome(&mut self, subject: u64, answered: bool) {
        if self.damping.records.contains_key(&subject) {
            return;
        }
        if answered {
            self.damping.others.answered();
        } else {
            self.damping.others.unanswered();
        }
    }

    /// The status of a member has changed; `before`: which it had, and since when.
    pub fn on_status(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        subject: u64,
        (before, since): (Status, Instant),
        after: Status,
    ) {
        self.note_trouble(now, ctx, subject, after);
        if after == Status::Suspect {
            self.begin_extra_probes(now, ctx);
        }
        if before == Status::Down && after != Status::Left {
            self.note_return(now, ctx, subject, since);
        }
    }

    /// It has become suspect, or goes down: what we remember of it may speak.
    pub fn note_trouble(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, status: Status) {
        let Some(member) = ctx.roster.get(subject) else { return };
        match status {
            Status::Suspect => {
                if let Some(record) = self.damping.entry(now, member) {
                    record.alarms += 1.0;
                }
            }
            Status::Down => {
                if self.damping.record(subject).is_some_and(|r| r.flaps >= FLAPPING) {
                    self.find_unfit(now, ctx, subject);
                }
            }
            Status::Alive | Status::Restarting | Status::Left => {}
        }
    }

    /// It was down since `since` and is back.
    pub fn note_return(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, since: Instant) {
        if self.damping.returns.len() < MOST {
            self.damping.returns.push((now, subject));
        }
        if now.since(since) < ctx.core.config.interval * SERVED {
            return;
        }
        let kept = ctx.core.config.interval * TESTIMONY_LASTS;
        let returned = &mut self.damping.returned;
        returned.retain(|_, at| now.since(*at) < kept);
        if returned.len() < MOST || returned.contains_key(&subject) {
            returned.insert(subject, now);
        }
    }

    /// A look was answered.
    pub fn look_answered(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let impaired = ctx.core.health.impaired(now);
        if let Some(record) = self.damping.records.get_mut(&subject).filter(|_| !impaired) {
            record.link.answered();
        }
    }

    /// A look was not answered within the acceptable pause.
    pub fn look_unanswered(&mut self, ctx: &mut Context<'_>, subject: u64, sent: Instant) {
        let Some(member) = ctx.roster.get(subject) else { return };
        let basis = ctx.core.heartbeat_by(ctx.roster, member, sent);
        if let Some(record) = self.damping.records.get_mut(&subject) {
            if record.missed.len() >= LOOKS_PENDING {
                record.missed.pop_front();
            }
            record.missed.push_back(basis);
            if record.gap == 0 {
                record.gap_since = sent;
            }
            record.gap += 1;
            tracing::trace!(name = %member.incarnation.name, "look unanswered");
        }
    }

    /// The members that are about to be put out.
    pub fn on_notice(&self) -> Vec<u64> {
        self.damping.notices.keys().copied().collect()
    }

    /// The members whose link we look at.
    pub fn recorded(&self) -> Vec<u64> {
        self.damping.records.keys().copied().collect()
    }

    /// Once per round: counts what the last look has shown, looks again, testifies.
    pub fn look_at_link(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let (impaired, busy) = (ctx.core.health.impaired(now), self.suspect_share != SuspectShare::Few);
        let kept = ctx.roster.get(subject).filter(|m| m.status != Status::Left);
        let Some(record) = self.damping.records.get_mut(&subject) else { return };
        let Some(member) = kept.filter(|m| m.tag() == record.tag) else {
            self.damping.drop(subject);
            return;
        };
        record.fade();
        let (mut relapse, others) = (false, self.damping.others);
        if record.missed.front().is_some_and(|basis| member.heartbeat > *basis) {
            let before = record.missed.len();
            record.missed.retain(|basis| member.heartbeat <= *basis);
            if !impaired {
                // It may all have been one outage, which is not the same as many bad looks.
                let explained = (before - record.missed.len()).min(PER_SIGN);
                (0..explained).for_each(|_| record.link.unanswered());
                // Would have been called down, had it not been out already; unless its
                // link explains it, which is judged by itself.
                let surprise = f64::from(record.gap) * PER_LOOK;
                relapse = member.status == Status::Down
                    && surprise >= OUTAGE
                    && now.since(record.gap_since) > ctx.core.config.acceptable_pause * 2
                    && record.link.surprise_beside(&others) < DEGRADED;
            }
            record.gap = 0;
        }
        if relapse {
            record.flaps += 1.0;
        }
        let record = record.clone();
        if record.is_forgotten() {
            self.damping.drop(subject);
            return;
        }
        let kept_out = member.marks().is_kept_out();
        let said =
            member.marks().accusations.iter().find(|a| a.by == ctx.core.me && a.kind == Evidence::Unfit);
        let first = record.first.filter(|basis| said.is_some_and(|a| a.basis == *basis));
        let by_now = ctx.core.heartbeat_by(ctx.roster, member, now);
        let (to, silence) = (member.incarnation.address(), member.detector.silence(now));
        let present = member.is_present();
        if !witnesses::is_one(ctx.roster, subject, ctx.core.config.witnesses, ctx.core.me) {
            return;
        }
        let alive = present || (kept_out && silence < ctx.core.config.acceptable_pause * GIVEN_UP);
        if alive && (kept_out || record.is_worth_a_look()) && self.probe_budget.take(now, 1) {
            ctx.ping(now, subject, to, RequestKind::LinkProbe);
        }
        if impaired || busy {
            return;
        }
        let surprise = self.damping.surprise(&record);
        let unfit = match first {
            // What happened in the spell itself is served; what counts is whether the next one has begun.
            Some(basis) => {
                let nearly_over = basis < by_now.saturating_add(NEARLY_OVER);
                let bad = surprise >= REMEMBERED && record.link.answered_in_a_row() < GOOD_AGAIN;
                kept_out && nearly_over && bad
            }
            // Whoever is out comes in when its link is good, not when it is for a moment a little less bad.
            None => surprise >= if kept_out { DEGRADED } else { UNFIT } || (relapse && kept_out),
        };
        if unfit {
            self.find_unfit(now, ctx, subject);
        } else if surprise >= DEGRADED && present && first.is_none() {
            self.testify_of_link(now, ctx, subject, Evidence::Degraded, DEGRADED_FOR);
        } else if now >= record.tell_at && record.tell_at != Instant::EPOCH && !kept_out {
            self.tell_of_link(now, ctx, subject);
        }
    }

    fn find_unfit(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(record) = self.damping.record(subject).cloned() else { return };
        if self.suspect_share == SuspectShare::Few
            && !ctx.core.health.impaired(now)
            && now >= ctx.core.recovering_until
            && witnesses::is_one(ctx.roster, subject, ctx.core.config.witnesses, ctx.core.me)
        {
            self.testify_of_link(now, ctx, subject, Evidence::Unfit, record.penalty_beats());
        }
    }

    /// Says it to the other witnesses, when it is news or the basis has come near.
    fn testify_of_link(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        subject: u64,
        kind: Evidence,
        penalty_beats: Heartbeat,
    ) {
        let me = ctx.core.me;
        let Some(member) = ctx.roster.get(subject) else { return };
        let by_now = ctx.core.heartbeat_by(ctx.roster, member, now);
        // What it has served is said anew.
        let said = member.marks().accusations.iter().find(|a| a.by == me && a.kind == kind);
        let said = said.filter(|a| self.damping.stands(member, a));
        if said.is_some_and(|a| a.basis >= by_now.saturating_add(penalty_beats / 2)) {
            if self.damping.record(subject).is_some_and(|r| now >= r.tell_at) && !member.marks().is_kept_out()
            {
                self.tell_of_link(now, ctx, subject);
            }
            return;
        }
        let basis = by_now.saturating_add(penalty_beats);
        let accusation = Accusation { by: me, basis, kind, weak: false, began: now };
        if let Some(mut member) = ctx.roster.get_mut(subject) {
            member.mark(&Marks { accusations: vec![accusation], ..Marks::default() });
        }
        if kind == Evidence::Unfit
            && let Some(record) = self.damping.records.get_mut(&subject)
        {
            record.first.get_or_insert(if penalty_beats < STRETCH { basis } else { 0 });
        }
        self.tell_of_link(now, ctx, subject);
        self.give_notice(now, ctx, subject);
        self.judge_soon(now, subject);
    }

    fn tell_of_link(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        for other in witnesses::of(ctx.roster, subject, ctx.core.config.witnesses) {
            if other != ctx.core.me
                && let Some(to) = ctx.roster.get(other).map(|m| m.incarnation.address())
            {
                ctx.tell(now, to, &[subject], Detail::Thin);
            }
        }
        if let Some(record) = self.damping.records.get_mut(&subject) {
            record.tell_at = now + ctx.core.config.interval * TELL_AGAIN;
        }
    }

    /// Do enough witnesses in good standing find it unfit? Then it has notice, and after the acceptable pause it is out
    /// until the heartbeat up to which enough of them want it out.
    pub fn judge_link(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        if let Some(basis) = self.give_notice(now, ctx, subject) {
            self.put_out(ctx, subject, basis);
        }
    }

    /// A member that enough witnesses find unfit has notice from now on. Returns up to which heartbeat it is to be out, once
    /// the notice is over.
    pub fn give_notice(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) -> Option<Heartbeat> {
        let Some(basis) = self.unfit_until(ctx, subject) else {
            self.damping.notices.remove(&subject);
            return None;
        };
        let member = ctx.roster.get(subject)?;
        // Whoever is out already is acknowledged by nobody, and stays out for longer without notice.
        if member.is_present() {
            let since = match self.damping.notices.get(&subject) {
                Some((tag, since)) if *tag == member.tag() => *since,
                _ if self.damping.notices.len() >= MOST => return None,
                _ => {
                    self.damping.notices.insert(subject, (member.tag(), now));
                    ctx.effect(Effect::News { subject, full: false });
                    now
                }
            };
            let noticed = now.since(since) >= ctx.core.config.acceptable_pause;
            if !noticed || self.suspect_share != SuspectShare::Few || now < ctx.core.recovering_until {
                return None;
            }
        }
        Some(basis)
    }

    fn put_out(&mut self, ctx: &mut Context<'_>, subject: u64, basis: Heartbeat) {
        self.damping.notices.remove(&subject);
        let Some(member) = ctx.roster.get(subject) else { return };
        let (was_out, beats) = (!member.is_present(), basis - member.heartbeat);
        if let Some(mut member) = ctx.roster.get_mut(subject) {
            member.mark(&Marks { down: Some(basis), ..Marks::default() });
        }
        if was_out {
            // It stays out for longer: no change of status, but others should know.
            ctx.effect(Effect::News { subject, full: false });
            return;
        }
        ctx.core.stats.verdicts += 1;
        let reason =
            format!("alive, but unfit, say its witnesses: out until it has behaved for {beats} beats");
        ctx.refresh(subject, reason);
    }

    /// The heartbeat up to which enough witnesses in good standing want it out, where that is news.
    fn unfit_until(&self, ctx: &Context<'_>, subject: u64) -> Option<Heartbeat> {
        let member = ctx.roster.get(subject)?;
        let marks = member.marks();
        let mut bases: Vec<Heartbeat> = marks
            .accusations
            .iter()
            .filter(|a| a.kind == Evidence::Unfit && !a.weak)
            .filter(|a| ctx.roster.get(a.by).is_some_and(|by| by.status == Status::Alive))
            .filter(|a| self.damping.stands(member, a))
            .map(|a| a.basis)
            .collect();
        bases.sort_unstable_by(|a, b| b.cmp(a));
        let needed =
            witnesses::needed(ctx.roster, subject, ctx.core.config.witnesses).max(ACCUSERS_TO_KEEP_OUT);
        let basis = bases.get(needed - 1).copied()?;
        (!marks.left && basis >= member.heartbeat && marks.down < Some(basis)).then_some(basis)
    }

    /// Returns that came alone are flaps; when many come back together, it was not they.
    pub fn count_flaps(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let returns = &self.damping.returns;
        if returns.first().is_none_or(|(at, _)| now.since(*at) < ctx.core.config.interval * TOGETHER) {
            return;
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let others = ctx.roster.iter().filter(|m| m.is_present() && m.hash() != ctx.core.me).count();
        // One that comes back again and again is one.
        let members: BTreeSet<u64> = returns.iter().map(|(_, subject)| *subject).collect();
        let alone = SuspectShare::of(count(members.len()), count(others)) == SuspectShare::Few;
        for (_, subject) in core::mem::take(&mut self.damping.returns) {
            if alone
                && let Some(member) = ctx.roster.get(subject)
                && let Some(record) = self.damping.entry(now, member)
            {
                record.flaps += 1.0;
            }
        }
    }
}

/// Members remembered at most; more trouble than that is not about single members.
const MOST: usize = 256;
/// φ of a link from which it is shown, and from which its owner is out: as an
/// accusation and a testimony of silence (probe.rs). Once out, it stays so from the first of the two: of 200
/// members that lost four fifths of what they sent, three were let in for some seconds by the second.
const DEGRADED: f64 = 5.0;
const UNFIT: f64 = 8.0;
/// Beats for which "degraded" is said.
const DEGRADED_FOR: Heartbeat = 30;
/// Suspicions, fading with a half-life of 10 rounds, from which witnesses look: one,
/// for a round or two; then only while there is something to see.
const ALARMS: f32 = 0.9;
const ALARMS_FADE: f32 = 0.933;
/// Flaps fade with a half-life of 120 rounds: "again" means within a few minutes. Honest guess.
const FLAPS_FADE: f32 = 0.994_24;
/// Flaps remembered from which going down again is damped: two in the last minutes. Two outages in
/// a minute may have the same cause (a switch that reboots twice); the third is a habit.
const FLAPPING: f32 = 1.5;
/// Beats of good behaviour before a member is let in again, from the second time on, doubling with each
/// flap up to the longest. One minute forgives a reboot of a switch and is three
/// times the period of the on-and-off faults of the Rapid paper; honest guesses.
const STRETCH: Heartbeat = 60;
/// The same for the first time, not prolonged by what is remembered of the spell. Who is deaf for 20 s is accused in its
/// eleventh second, and so in again some 30 s after the end (`run deaf-once`). Of the good half of the Rapid paper's fault, 20 s, and
/// seven until three witnesses have seen the next bad one and everybody knows, that is what is needed lest somebody comes in
/// between two spells: with 36, two of 24 did (`run gray-deaf`).
const FIRST_STRETCH: Heartbeat = 40;
/// Beats before the end of the first stretch from which a link that is bad again is asked for the full one: the good half of an
/// on-and-off fault is over by then, and there is time to tell the others.
const NEARLY_OVER: Heartbeat = 12;
/// Bad again: fewer looks than this answered in a row (of a link that loses half, so many are once in 250), and so much worse
/// than our other links, the first spell included. After 20 s without and 20 s with answers that is φ 2 to 4, as not every witness
/// has looked from the beginning.
const GOOD_AGAIN: u8 = 8;
const REMEMBERED: f64 = 1.5;
const LONGEST_STRETCH: Heartbeat = 240;
/// Beats ahead up to which a testimony of others is taken: their longest stretch, and as much again, as they may know of
/// later beats than we.
pub const FARTHEST_TESTIMONY: Heartbeat = 2 * LONGEST_STRETCH;
/// Rounds out after which a member has served what was said of it: less than the first stretch, as it has notice and may have been down
/// before it was kept out. Who refutes a verdict at once has served nothing.
const SERVED: u32 = 30;
/// Rounds for which a testimony can speak: the longest stretch, and a minute for beats that come late.
const TESTIMONY_LASTS: u32 = 300;
/// Unanswered looks that wait for a sign of life: what was unanswered longer ago says nothing of the link.
const LOOKS_PENDING: usize = 8;
/// Unanswered looks that count for one sign of life. One: a link that loses four fifths takes 32 s to be
/// found, as signs of life are rare on it too; two: 19 s (`run gray-send`); more would make much of an outage.
const PER_SIGN: usize = 2;
/// Looks answered in a row after which nothing is held against a link.
const FORGIVEN: u8 = 24;
/// Rounds within which returns count as together: a heal is known everywhere in one or two.
const TOGETHER: u32 = 3;
/// A member that is kept out and silent for so many acceptable pauses may be dead: no more looks.
const GIVEN_UP: u32 = 15;
/// Rounds after which testimony that has led to nothing is repeated.
const TELL_AGAIN: u32 = 3;
/// Digits that each look without an answer is worth in an outage, and those that make one: as in probe.rs
/// at a failure rate of 2 %.
const PER_LOOK: f64 = 1.7;
const OUTAGE: f64 = 5.0;
