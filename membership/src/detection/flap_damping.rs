//! Flap damping: keeps out gray members, that is, members that are alive but of no use.
//!
//! Picture: a lamp with a loose contact. One flicker does not matter. A lamp that flickers all evening is unscrewed,
//! and goes back in after it has burnt on the bench for a while.
//!
//! Two kinds of evidence count against a member that keeps refuting.
//!
//! *Its link.* Witnesses of a member that was accused repeatedly probe its link once a round. A probe counts against
//! the member only when a later heartbeat shows that it was alive when asked, so an outage, however long, counts as two
//! lost probes. And it counts only as far as our links to all others are better at the same time
//! (heartsay_detector::LinkRecord). So neither a lossy network nor our own bad link makes a member gray.
//!
//! *Its flaps.* Each return from "down" is a flap, forgotten with a half-life. A member that goes down again while two
//! are remembered stays out for a penalty, which doubles with each further flap.
//!
//! Rule: a witness testifies "unfit as of heartbeat *h + penalty*". A quorum of witnesses in good standing makes that a
//! verdict, by the ordinary order of claims: down until a heartbeat above the basis. Merging needs nothing else. While
//! the member behaves badly, the basis moves on; when it has behaved for the penalty, its own heartbeat lets it in.
//! Until then it is quarantined (`kept out` in the interface). The accused does not refute this by jumping ahead. Since
//! one accuser is never enough (`ACCUSERS_TO_KEEP_OUT`), one faulty witness quarantines no member.
//!
//! A member that is quarantined while it runs may hold quorum, and act on it. So the verdict has *notice*: as soon as
//! enough witnesses find the member unfit, that news is spread, and each member that hears it stops acknowledging the
//! accused (fence.rs). The verdict follows after the acceptable pause. By then the member's lease, 0.7 of that pause,
//! has run out.
//!
//! Weak spots: in a cluster of two, no member is a witness beside the other, so nothing is damped. A sender that can
//! forge frames of two members can quarantine a third (it can also forge its good-bye): use a key.
//!
//! Road not taken: to remove a member that is accused often. Under 30 % of loss that is every member.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use heartsay_detector::LinkRecord;

use crate::Instant;
use crate::detection::bridge::Bridge;
use crate::detection::deaf;
use crate::detection::verdict::SuspectShare;
use crate::detection::witnesses;
use crate::detection::{Backing, Detection};
use crate::effect::Effect;
use crate::identity::Heartbeat;
use crate::roster::member::Member;
use crate::roster::standing::{ACCUSERS_TO_KEEP_OUT, Accusation, Evidence, Marks, Status};
use crate::transport::context::Context;
use crate::transport::requests::RequestKind;
use crate::transport::wire::Detail;

/// The evidence against members that are not simply dead. A record exists only for a member with something against it,
/// and there are at most [`MOST`].
#[derive(Debug, Default)]
pub struct Damping {
    records: BTreeMap<u64, Record>,
    /// The outcome of our first contacts with all other members.
    others: LinkRecord,
    /// Recent returns, not yet counted as flaps.
    returns: Vec<(Instant, u64)>,
    /// When each member last returned from a penalty, for as long as a testimony lasts.
    returned: BTreeMap<u64, Instant>,
    /// Members that enough witnesses find unfit and that are not out yet: the incarnation, and since when we know.
    notices: BTreeMap<u64, (u64, Instant)>,
}

/// The record of one incarnation of one member.
#[derive(Clone, Debug)]
pub struct Record {
    tag: u64,
    /// Since when there is something against it.
    pub since: Instant,
    /// The outcome of our link probes.
    pub link: LinkRecord,
    /// Recent suspicions, fading.
    alarms: f32,
    /// Recent returns from "down", fading.
    pub flaps: f32,
    /// Unanswered link probes, oldest first. Each holds the heartbeat above which any later one proves that the member
    /// was alive when asked.
    missed: VecDeque<Heartbeat>,
    /// Unanswered link probes in a row, and since when.
    gap: u32,
    gap_since: Instant,
    /// Who reaches it while we do not.
    bridge: Bridge,
    /// When the witnesses are told again.
    tell_at: Instant,
    /// Basis of our first testimony against it, if that asks for the short penalty; 0 if it asks for more.
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
            bridge: Bridge::default(),
            tell_at: Instant::EPOCH,
            first: None,
        }
    }

    fn fade(&mut self) {
        self.alarms *= ALARMS_FADE;
        self.flaps *= FLAPS_FADE;
    }

    /// A later heartbeat shows that the member was alive when it did not answer: the lost probes count against its link,
    /// unless our own health is `impaired`. Returns whether it would have been called down, had it not been out already; a
    /// silence that its bad link explains counts by itself.
    fn explain_missed(
        &mut self,
        now: Instant,
        member: &Member,
        others: &LinkRecord,
        acceptable_pause: Duration,
        impaired: bool,
    ) -> bool {
        if self.missed.front().is_none_or(|basis| member.heartbeat <= *basis) {
            return false;
        }
        let before = self.missed.len();
        self.missed.retain(|basis| member.heartbeat <= *basis);
        let gap = core::mem::take(&mut self.gap);
        if impaired {
            return false;
        }
        // All of it may have been one outage, which is not the same as many lost probes.
        let explained = (before - self.missed.len()).min(PER_SIGN);
        (0..explained).for_each(|_| self.link.unanswered());
        member.status == Status::Down
            && f64::from(gap) * PER_LOOK >= OUTAGE
            && now.since(self.gap_since) > acceptable_pause * 2
            && self.link.surprise_beside(others) < DEGRADED
    }

    /// `others`: how our other links do.
    fn is_worth_a_look(&self, others: &LinkRecord) -> bool {
        let unusual = self.link.lost() > 0 && !self.is_as_others(others);
        self.alarms >= ALARMS || unusual || !self.missed.is_empty()
    }

    /// Whether it has behaved for as long as we remember, or as all others do, with no flap worth counting.
    fn is_forgotten(&self, others: &LinkRecord) -> bool {
        let quiet = self.link.contacts() == 0 || self.link.answered_in_a_row() >= FORGIVEN;
        (quiet || self.is_as_others(others)) && self.alarms < 0.5 && self.flaps < 0.1
    }

    /// Whether enough looks have shown that its link loses about what all others lose, and we have said nothing against it.
    fn is_as_others(&self, others: &LinkRecord) -> bool {
        let seen = self.link.contacts() >= LOOKS_ENOUGH && self.missed.is_empty();
        seen && self.first.is_none() && self.link.surprise_beside(others) < USUAL
    }

    /// Beats of good behaviour that we ask for.
    fn penalty_beats(&self) -> Heartbeat {
        if self.first.is_none() && self.flaps < FLAPPING {
            return FIRST_PENALTY;
        }
        let mut penalty_beats = PENALTY;
        let mut flaps = self.flaps;
        while flaps >= 2.0 && penalty_beats < LONGEST_PENALTY {
            penalty_beats *= 2;
            flaps -= 1.0;
        }
        penalty_beats
    }
}

impl Damping {
    /// The record of a member, if there is something against it.
    pub fn record(&self, subject: u64) -> Option<&Record> {
        self.records.get(&subject)
    }

    /// What one more unanswered contact says, by our last first contacts with members that nothing speaks against.
    pub fn loss_surprise(&self) -> f64 {
        self.others.surprise()
    }

    /// How much worse its link is than our others, as φ.
    pub fn surprise(&self, record: &Record) -> f64 {
        record.link.surprise_beside(&self.others)
    }

    pub fn drop(&mut self, subject: u64) {
        self.records.remove(&subject);
    }

    /// Who reaches a member while we do not, if there is something against it.
    pub fn bridge(&mut self, subject: u64) -> Option<&mut Bridge> {
        self.records.get_mut(&subject).map(|record| &mut record.bridge)
    }

    /// What its link has lost so far counts no more. Its flaps do.
    pub fn forgive_link(&mut self, subject: u64) {
        if let Some(record) = self.records.get_mut(&subject) {
            record.link = LinkRecord::default();
            record.missed.clear();
            record.gap = 0;
        }
    }

    /// Whether enough witnesses find it unfit, so that it is about to be quarantined.
    pub fn has_notice(&self, member: &Member) -> bool {
        self.notices.get(&member.hash()).is_some_and(|(tag, _)| *tag == member.tag())
    }

    /// Whether `accusation` still counts against `subject`. A readmitted member has behaved for as long as a quorum
    /// asked, so what began before that is discarded. The same holds for what an accuser saw before its own
    /// readmission: it saw that over its own bad link.
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
    /// Notes the outcome of a first contact with a member in good standing.
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

    /// The status of a member has changed. `before`: the earlier status, and since when.
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
            self.call_the_roll(now);
        }
    }

    /// A member has become suspect or goes down: its record may count against it now.
    pub fn note_trouble(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, status: Status) {
        let Some(member) = ctx.roster.get(subject) else { return };
        match status {
            Status::Suspect => {
                self.raise_alarm(now, member, 1.0);
            }
            Status::Down => {
                if self.damping.record(subject).is_some_and(|r| r.flaps >= FLAPPING) {
                    self.find_unfit(now, ctx, subject);
                }
            }
            Status::Alive | Status::Restarting | Status::Left => {}
        }
    }

    /// A reason to look at the link of a member. `worth`: as much as it is unusual, 1 at most.
    pub fn raise_alarm(&mut self, now: Instant, member: &Member, worth: f32) {
        if let Some(record) = self.damping.entry(now, member) {
            record.alarms += worth.clamp(0.0, 1.0);
        }
    }

    /// A member that was down since `since` is back.
    pub fn note_return(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, since: Instant) {
        if self.damping.returns.len() < MOST {
            self.damping.returns.push((now, subject));
        }
        // One that was deaf says so itself, and comes back when it hears again, before all testimony has expired.
        let was_deaf = ctx.roster.get(subject).is_some_and(|m| m.says_lost() || m.says_settling());
        if now.since(since) < ctx.core.config.interval * SERVED && !was_deaf {
            return;
        }
        let kept = ctx.core.config.interval * TESTIMONY_LASTS;
        let returned = &mut self.damping.returned;
        returned.retain(|_, at| now.since(*at) < kept);
        if returned.len() < MOST || returned.contains_key(&subject) {
            returned.insert(subject, now);
        }
    }

    /// A link probe was answered.
    pub fn link_probe_answered(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let impaired = ctx.core.health.impaired(now);
        if let Some(record) = self.damping.records.get_mut(&subject).filter(|_| !impaired) {
            record.link.answered();
        }
    }

    /// A link probe was not answered within the acceptable pause.
    pub fn link_probe_unanswered(&mut self, ctx: &mut Context<'_>, subject: u64, sent: Instant) {
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

    /// The members that are about to be quarantined.
    pub fn on_notice(&self) -> Vec<u64> {
        self.damping.notices.keys().copied().collect()
    }

    /// The members whose link we probe.
    pub fn recorded(&self) -> Vec<u64> {
        self.damping.records.keys().copied().collect()
    }

    /// Once per round: counts the outcome of the last probe, probes again, testifies.
    pub fn review_link(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let (impaired, busy) = (ctx.core.health.impaired(now), self.doubtful_share() != SuspectShare::Few);
        let kept = ctx.roster.get(subject).filter(|m| m.status != Status::Left);
        let Some(record) = self.damping.records.get_mut(&subject) else { return };
        let Some(member) = kept.filter(|m| m.tag() == record.tag) else {
            self.damping.drop(subject);
            return;
        };
        record.fade();
        let (others, pause) = (self.damping.others, ctx.core.config.acceptable_pause);
        let relapse = record.explain_missed(now, member, &others, pause, impaired);
        if relapse {
            record.flaps += 1.0;
        }
        let record = record.clone();
        if record.is_forgotten(&others) {
            self.damping.drop(subject);
            return;
        }
        let kept_out = member.marks().is_kept_out();
        let said = member.marks().accusation(ctx.core.me, Evidence::Unfit);
        let first = record.first.filter(|basis| said.is_some_and(|a| a.basis == *basis));
        let by_now = ctx.core.heartbeat_by(ctx.roster, member, now);
        let (to, silence) = (member.incarnation.address(), member.detector.silence(now));
        let present = member.is_present();
        // A dead path says nothing about a member: others may reach it. If none does, it loses quorum, and deaf.rs finds it.
        let path_only = self.backing == Backing::Proven && present && !record.link.wavers();
        let bridged = record.bridge.holds(now) || (present && record.bridge.is_open(now));
        let is_explained = path_only || bridged || self.deaf.has_found(subject);
        if !self.is_witness(ctx, subject) {
            return;
        }
        let alive = present || (kept_out && silence < ctx.core.config.acceptable_pause * GIVEN_UP);
        if alive && (kept_out || record.is_worth_a_look(&others)) && self.probe_budget.take(now, 1) {
            ctx.ping(now, subject, to, RequestKind::LinkProbe);
        }
        let surprise = self.damping.surprise(&record);
        let bad_now = surprise >= REMEMBERED && record.link.answered_in_a_row() < BAD_NOW;
        if present && bad_now {
            self.look_for_bridge(now, ctx, subject);
        }
        if impaired || busy || is_explained {
            return;
        }
        let unfit = match first {
            // The lost probes of the first episode are covered by the penalty; what counts is whether the next one has
            // begun.
            Some(basis) => {
                let nearly_over = basis < by_now.saturating_add(NEARLY_OVER);
                let bad = surprise >= REMEMBERED && record.link.answered_in_a_row() < GOOD_AGAIN;
                kept_out && nearly_over && bad
            }
            // A quarantined member is let in when its link is good, not when it is a little less bad for a moment.
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
        if self.doubtful_share() == SuspectShare::Few
            && self.backing != Backing::Unproven
            && !ctx.core.health.impaired(now)
            && now >= ctx.core.recovering_until
            && self.is_witness(ctx, subject)
        {
            self.testify_of_link(now, ctx, subject, Evidence::Unfit, record.penalty_beats());
        }
    }

    /// Testifies to the other witnesses, when that is news or the basis has come near.
    pub fn testify_of_link(
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
        // A testimony whose penalty has expired is made anew.
        let said = member.marks().accusation(me, kind);
        let said = said.filter(|a| self.damping.stands(member, a));
        // Renewed at half of the penalty, or after a few beats if it is as short as that of the deaf: then all know of it
        // before it has expired, also when a witness stops asking for a while.
        let kept = if penalty_beats <= deaf::PENALTY {
            penalty_beats.saturating_sub(OFTEN)
        } else {
            penalty_beats.div_ceil(2)
        };
        if said.is_some_and(|a| a.basis >= by_now.saturating_add(kept)) {
            if self.damping.record(subject).is_some_and(|r| now >= r.tell_at) && !member.marks().is_kept_out()
            {
                self.tell_of_link(now, ctx, subject);
            }
            return;
        }
        let basis = by_now.saturating_add(penalty_beats);
        let accusation = Accusation { by: me, basis, kind, weak: false, began: now, source: None };
        if let Some(mut member) = ctx.roster.get_mut(subject) {
            member.mark(&Marks { accusations: vec![accusation], ..Marks::default() });
        }
        if kind == Evidence::Unfit
            && let Some(record) = self.damping.records.get_mut(&subject)
        {
            record.first.get_or_insert(if penalty_beats < PENALTY { basis } else { 0 });
        }
        self.tell_of_link(now, ctx, subject);
        self.give_notice(now, ctx, subject);
        self.judge_soon(now, subject);
    }

    fn tell_of_link(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let drawn = if self.deaf.has_found(subject) { witnesses::that_hear } else { witnesses::of };
        for other in drawn(ctx.roster, subject, ctx.core.config.witnesses) {
            if other != ctx.core.me
                && let Some(witness) = ctx.roster.get(other)
                && ctx.transport.addresses.reaches(now, witness)
            {
                let to = witness.incarnation.address();
                ctx.tell(now, to, &[subject], Detail::Thin);
            }
        }
        if let Some(record) = self.damping.records.get_mut(&subject) {
            record.tell_at = now + ctx.core.config.interval * TELL_AGAIN;
        }
    }

    /// Gives the verdict "unfit" if enough witnesses in good standing say so. The member first has notice. After the
    /// acceptable pause it is out, until the heartbeat up to which enough of them want it out.
    pub fn judge_link(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        if let Some(basis) = self.give_notice(now, ctx, subject) {
            self.put_out(ctx, subject, basis);
        }
    }

    /// Gives notice to a member that enough witnesses find unfit. Once the notice is over, returns the heartbeat up to
    /// which the member is to be out.
    pub fn give_notice(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) -> Option<Heartbeat> {
        let Some(basis) = self.unfit_until(ctx, subject) else {
            self.damping.notices.remove(&subject);
            return None;
        };
        let member = ctx.roster.get(subject)?;
        // No member acknowledges a quarantined one, so its penalty grows without notice.
        if member.is_present() {
            let notice = self.notice(ctx, subject);
            let since = match self.damping.notices.get(&subject) {
                Some((tag, since)) if *tag == member.tag() => *since,
                _ if self.damping.notices.len() >= MOST => return None,
                _ => {
                    self.damping.notices.insert(subject, (member.tag(), now));
                    ctx.effect(Effect::News { subject, full: false });
                    now
                }
            };
            if now.since(since) < notice {
                self.judge_by(since + notice, subject);
                return None;
            }
            if self.doubtful_share() != SuspectShare::Few || now < ctx.core.recovering_until {
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
            // The penalty grows: that is no change of status, but others should know.
            ctx.effect(Effect::News { subject, full: false });
            return;
        }
        ctx.core.stats.verdicts += 1;
        let wait =
            ctx.core.config.interval.as_secs_f64() * f64::from(u32::try_from(beats).unwrap_or(u32::MAX));
        let reason = format!("alive, but unfit, say its witnesses: out until it has behaved for {wait:.0} s");
        ctx.ask_refresh(subject, reason);
    }

    /// The heartbeat up to which enough witnesses in good standing want it out, if that is news.
    fn unfit_until(&self, ctx: &Context<'_>, subject: u64) -> Option<Heartbeat> {
        let member = ctx.roster.get(subject)?;
        let marks = member.marks();
        let standing = unfit_testimony(ctx, marks).filter(|a| self.damping.stands(member, a));
        let mut bases: Vec<Heartbeat> = standing.map(|a| a.basis).collect();
        bases.sort_unstable_by(|a, b| b.cmp(a));
        let basis = bases.get(accusers_to_keep_out(ctx, subject) - 1).copied()?;
        let is_news = match marks.down {
            // Each witness renews its testimony at a time of its own. Told of one by one, forty members that are out fill
            // the news of all.
            Some(until) if !member.is_present() && until > member.heartbeat.saturating_add(NEWS_IN_TIME) => {
                basis >= until.saturating_add(RAISED_BY)
            }
            until => until < Some(basis),
        };
        (!marks.left && basis >= member.heartbeat && is_news).then_some(basis)
    }

    /// Counts returns that came alone as flaps. When many members return together, the cause was not theirs.
    pub fn count_flaps(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let returns = &self.damping.returns;
        if returns.first().is_none_or(|(at, _)| now.since(*at) < ctx.core.config.interval * TOGETHER) {
            return;
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let others = ctx.roster.iter().filter(|m| m.is_present() && m.hash() != ctx.core.me).count();
        // A member that returns several times counts once.
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

/// The testimony "unfit" of accusers in good standing.
pub fn unfit_testimony<'a>(ctx: &Context<'_>, marks: &'a Marks) -> impl Iterator<Item = &'a Accusation> {
    let alive = |by: u64| ctx.roster.get(by).is_some_and(|by| by.status == Status::Alive);
    marks.accusations.iter().filter(move |a| a.kind == Evidence::Unfit && !a.weak && alive(a.by))
}

/// How many of them put a member out.
pub fn accusers_to_keep_out(ctx: &Context<'_>, subject: u64) -> usize {
    witnesses::needed(ctx.roster, subject, ctx.core.config.witnesses).max(ACCUSERS_TO_KEEP_OUT)
}

/// Most members remembered; more trouble than that is not about single members.
const MOST: usize = 256;
/// φ of a link from which it is reported as degraded, and from which its owner is quarantined: as for an accusation and
/// a testimony of silence (probe.rs). Once out, the first of the two keeps it out. With the second, three of 200
/// members that lost four fifths of what they sent were let in for some seconds.
const DEGRADED: f64 = 5.0;
const UNFIT: f64 = 8.0;
/// Beats for which "degraded" is said.
const DEGRADED_FOR: Heartbeat = 30;
/// Suspicions, fading with a half-life of 10 rounds, from which witnesses probe the link: one suspicion, for a round or
/// two; after that only while there is something to see.
const ALARMS: f32 = 0.9;
const ALARMS_FADE: f32 = 0.933;
/// Flaps fade with a half-life of 120 rounds: "again" means within a few minutes. Honest guess.
const FLAPS_FADE: f32 = 0.994_24;
/// Number of remembered flaps from which going down again is damped: two in the last minutes. Two outages in a minute
/// may have the same cause (a switch that reboots twice); the third is a habit.
const FLAPPING: f32 = 1.5;
/// The penalty from the second time on: beats of good behaviour before a member is let in again. It doubles with each
/// flap, up to the longest. One minute forgives a reboot of a switch and is three times the period of the on-and-off
/// faults of the Rapid paper; honest guesses.
const PENALTY: Heartbeat = 60;
/// The penalty for the first time, which the lost probes of the first episode do not prolong. A member that is deaf for
/// 20 s is accused in its eleventh second, so it is in again some 30 s after the end (`run deaf-once`). The fault of
/// the Rapid paper has a good half of 20 s, and it takes seven more until three witnesses have seen the next bad half
/// and all members know. That needs a penalty of 40, so that no member is let in between two episodes: with 36, two of
/// 24 were (`run gray-deaf`).
const FIRST_PENALTY: Heartbeat = 40;
/// Beats before the end of the first penalty from which a link that is bad again brings the full one. The good half of
/// an on-and-off fault is over by then, and there is time to tell the others.
const NEARLY_OVER: Heartbeat = 12;
/// Bad again means two things: fewer probes than this answered in a row (a link that loses half answers so many once in
/// 250 times), and a link worse than our others by this φ, the first episode included. After 20 s without and 20 s with
/// answers that is φ 2 to 4, as not every witness has probed from the beginning.
const GOOD_AGAIN: u8 = 8;
const REMEMBERED: f64 = 1.5;
/// Fewer looks answered in a row than this: the link is bad at this moment.
const BAD_NOW: u8 = 2;
const LONGEST_PENALTY: Heartbeat = 240;
/// A short penalty is renewed once more beats of it than this have passed.
const OFTEN: Heartbeat = 2;
/// Beats by which a penalty grows at once. By less it grows only when fewer beats are left than the second number: enough
/// for the news to reach all.
pub const RAISED_BY: Heartbeat = 4;
const NEWS_IN_TIME: Heartbeat = 6;
/// How many beats ahead a testimony of others may lie: their longest penalty, and as much again, as they may know later
/// beats than we do.
pub const FARTHEST_TESTIMONY: Heartbeat = 2 * LONGEST_PENALTY;
/// Rounds out after which a member's penalty has expired. Less than the first penalty, because the member has notice
/// and may have been down before it was quarantined. A member that refutes a verdict at once has not waited at all.
const SERVED: u32 = 30;
/// Rounds for which a testimony can count: the longest penalty, and a minute for beats that come late.
const TESTIMONY_LASTS: u32 = 300;
/// Unanswered link probes that wait for a sign of life. Older ones say nothing about the link.
const LOOKS_PENDING: usize = 8;
/// Unanswered link probes that count for one sign of life. With one, a link that loses four fifths takes 32 s to be
/// found, as signs of life are rare on it too; with two, 19 s (`run gray-send`); more would give an outage too much
/// weight.
const PER_SIGN: usize = 2;
/// Link probes after which a link is compared with our others, and φ below which it is as they are: where one datagram in six is
/// lost everywhere, no link ever answers 24 probes in a row, and five witnesses would probe each member in each round.
const LOOKS_ENOUGH: u8 = 16;
const USUAL: f64 = 1.0;
/// Link probes answered in a row after which nothing is held against a link.
const FORGIVEN: u8 = 24;
/// Rounds within which returns count as together: a heal is known everywhere in one or two.
const TOGETHER: u32 = 3;
/// A quarantined member that has been silent for this many acceptable pauses may be dead: no more link probes.
const GIVEN_UP: u32 = 15;
/// Rounds after which testimony that has led to nothing is repeated.
const TELL_AGAIN: u32 = 3;
/// φ that each unanswered link probe is worth in an outage, and the sum that makes an outage: as in probe.rs at a
/// failure rate of 2 %.
const PER_LOOK: f64 = 1.7;
const OUTAGE: f64 = 5.0;
