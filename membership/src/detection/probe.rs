//! Probes a member that did not answer, and gathers evidence at once.
//!
//! One unanswered contact is no verdict. It makes us ask again, directly and through helpers, and add up suspicion:
//! each unanswered contact is worth −log10 of the share of our contacts that stay unanswered anyway, and one that follows
//! another, of the share of those that do after a loss (`LossAfterLoss`), so a burst of losses is one event. A sum of φ 5
//! accuses. A sum of φ 8, with a silence longer than the acceptable pause, testifies. So a lossy network asks for more
//! evidence by itself.
//!
//! An accusation is *as of a heartbeat*, its basis: the highest heartbeat that the accused can have had when the
//! silence began. Heartbeats still under way from before do not refute it; any later one does.

use core::time::Duration;

use heartsay_detector::{Case, LossAfterLoss, LossShare};

use crate::Instant;
use crate::detection::Detection;
use crate::detection::loss_outcomes::LossOutcomes;
use crate::identity::Heartbeat;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::roster::source::Source;
use crate::roster::standing::{Evidence, Status};
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};

/// What we have gathered about one silent member.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The tag of its incarnation.
    tag: u64,
    /// When the first contact left that stayed unanswered.
    pub(crate) began: Instant,
    /// Any heartbeat above this ends the probe.
    pub(crate) basis: Heartbeat,
    /// The evidence against it.
    pub(crate) case: Case,
    /// The last helpers that did not hear it either, newest first; 0: none.
    pub(crate) helpers: [u64; HELPERS_NAMED],
    /// When the last question of ours left that stayed unanswered.
    lost_at: Option<Instant>,
    /// What those after the first teach once it is known that the member lives, and what the helpers' do.
    pub(crate) again: LossOutcomes,
    pub(crate) of_helpers: LossOutcomes,
    /// How many of its unanswered questions were calls in turn, from which the usual loss has been learnt already.
    learnt: u32,
    attempts: u32,
    next: Instant,
    /// The strongest accusation that we made, and when it was last sent.
    pub(crate) raised: Option<Evidence>,
    pub(crate) told: Instant,
    /// There is testimony that the witnesses have not received.
    pub(crate) to_tell: bool,
    /// When the kernel of its host first refused us. Becomes part of the case once it is believed, see refusals.rs.
    refused: Option<Instant>,
    /// It has refused a second request too, which left after that.
    refused_again: bool,
    /// Helpers that were refused since.
    helpers_refused: u32,
    /// What outside the cluster has told us that it is gone.
    pub(crate) source: Option<Source>,
}

impl Probe {
    pub fn next(&self) -> Instant {
        self.next
    }

    /// We were away: that time does not count as its silence.
    pub fn shift(&mut self, by: Duration) {
        self.began += by;
        self.next += by;
    }

    /// A question that left at `sent` stayed unanswered. After another one it is worth as much as it is a surprise there.
    fn lost(&mut self, now: Instant, sent: Instant, loss: &LossShare, again: &LossAfterLoss) {
        let usual = self.usual(loss);
        let row = self.case.direct.count.saturating_sub(1);
        let after = self.lost_at.map(|before| again.surprise(sent.since(before), &usual, row));
        self.case.unanswered(now, after.unwrap_or_else(|| usual.surprise()));
        self.lost_at = self.lost_at.max(Some(sent));
    }

    /// A helper that was asked `lag` after the last loss of ours has no answer either. `share`: how often that happens.
    pub fn lost_by_helper(
        &mut self,
        now: Instant,
        lag: Option<Duration>,
        loss: &LossShare,
        share: &LossAfterLoss,
    ) {
        let usual = self.usual(loss);
        let row = self.case.indirect.count;
        let surprise = lag.map_or_else(|| usual.surprise(), |lag| share.surprise(lag, &usual, row));
        self.case.unanswered_by_helper(now, surprise);
    }

    /// The share that stays unanswered anyway, as if what has stayed unanswered in this case had been learnt.
    fn usual(&self, loss: &LossShare) -> LossShare {
        let unanswered = self.case.direct.count.saturating_add(self.case.indirect.count);
        loss.with_lost(unanswered.saturating_sub(self.learnt))
    }

    /// How long ago the last question of ours left that stayed unanswered.
    pub fn since_loss(&self, now: Instant) -> Option<Duration> {
        self.lost_at.map(|at| now.since(at))
    }

    /// Keeps the names of the last few helpers.
    pub fn helped_by(&mut self, helper: u64) {
        if !self.helpers.contains(&helper) {
            self.helpers.rotate_right(1);
            if let Some(newest) = self.helpers.first_mut() {
                *newest = helper;
            }
        }
    }

    /// An answer came later than the refusals.
    fn void_refusals(&mut self) {
        (self.refused, self.refused_again, self.helpers_refused) = (None, false, 0);
        self.case.refused = None;
    }

    /// `pause`: how long the silence has to last.
    fn evidence(&self, now: Instant, pause: Duration) -> Option<Evidence> {
        if self.case.refused.is_some() {
            Some(Evidence::Refused)
        } else if self.case.phi() >= TESTIFY && now.since(self.began) >= pause {
            Some(Evidence::Proven)
        } else if self.case.phi() >= ACCUSE {
            Some(Evidence::Silent)
        } else {
            self.source.map(|_| Evidence::Told)
        }
    }
}

impl Detection {
    /// A request was answered by the incarnation that was asked: measures the path, and ends what the silence began.
    pub fn on_answer(&mut self, now: Instant, ctx: &mut Context<'_>, request: &Request) {
        self.footing.answered(now);
        self.come_back(now, ctx);
        let rtt = now.since(request.sent);
        let Some(subject) = request.subject else { return };
        self.deaf.answered(subject);
        self.path_answered(now, ctx, subject);
        if request.kind.is_direct() {
            for (joint, step) in ctx.core.joints.answered(now, subject) {
                self.follow_joint(now, ctx, joint, step);
            }
        }
        if request.kind.is_direct() || request.kind == RequestKind::Leave {
            ctx.core.paths.sample(rtt);
            if request.kind == RequestKind::LinkProbe {
                self.link_probe_answered(now, ctx, subject);
            }
            if request.kind.is_first() {
                self.note_outcome(subject, true);
                ctx.core.surroundings.note_call(now, false);
                ctx.core.loss.answered();
                ctx.core.health.probe_answered(now);
            }
            if let Some(mut member) = ctx.roster.get_mut(subject) {
                let path = &mut member.path;
                path.rtt.sample(rtt);
                path.reachable = Some(true);
            }
            if let RequestKind::Probe { after: Some(lag) } = request.kind {
                let outcomes = self.probes.get(&subject).map_or_else(LossOutcomes::default, |p| p.again);
                outcomes.answered(lag, &mut ctx.core.loss_again);
            }
            match self.probes.get_mut(&subject) {
                Some(probe) if request.sent < probe.began => probe.void_refusals(),
                Some(_) => self.close_probe(now, ctx, subject),
                None => {}
            }
        }
    }

    /// The members whose silence has become surprising: each is asked directly.
    pub fn surprising(&self, now: Instant, ctx: &mut Context<'_>) -> Vec<u64> {
        if now < ctx.core.recovering_until {
            return Vec::new();
        }
        ctx.roster.overdue(now, &ctx.core.config.detector)
    }

    /// While many members look silent, and for some time after, returns a few that have not been heard of lately. They
    /// are asked out of turn, because the regular caller of a silent member may be silent too; so a cut is soon seen in
    /// full.
    pub fn unheard(&mut self, now: Instant, ctx: &mut Context<'_>) -> Vec<u64> {
        if now < ctx.core.recovering_until {
            return Vec::new();
        }
        if self.many_are_silent(ctx.roster) {
            self.look_until = now + LOOK_ON;
        }
        if now >= self.look_until {
            return Vec::new();
        }
        let me = ctx.core.me;
        let quiet =
            |m: &Member| m.status == Status::Alive && m.hash() != me && m.detector.silence(now) >= UNHEARD;
        let some = peers::sample(ctx.roster, &mut ctx.core.rng, LOOKS, quiet);
        some.into_iter().map(Member::hash).collect()
    }

    /// Begins to probe a member.
    pub fn ask_after(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        self.begin_probe(now, ctx, subject, now, None);
    }

    /// The probes whose next step is due.
    pub fn due(&self, now: Instant) -> Vec<u64> {
        self.probes.iter().filter(|(_, probe)| probe.next <= now).map(|(subject, _)| *subject).collect()
    }

    /// A heartbeat above the basis came in, on whatever path. The member is alive, though perhaps we cannot reach it.
    pub fn close_refuted_probe(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(probe) = self.probes.get(&subject) else { return };
        let Some(mut member) = ctx.roster.get_mut(subject) else { return };
        if member.heartbeat > probe.basis {
            let path = &mut member.path;
            if path.last_direct() < probe.began {
                path.reachable = Some(false);
                self.direct_paths.look_soon(now, subject);
            }
            tracing::debug!(name = %member.incarnation.name, at = ?now, "refuted");
            drop(member);
            self.close_probe(now, ctx, subject);
        }
    }

    /// The member is alive.
    fn close_probe(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(probe) = self.probes.remove(&subject) else { return };
        probe.again.lives(&mut ctx.core.loss_again);
        probe.of_helpers.lives(&mut ctx.core.loss_of_helper);
        if probe.refused.is_some() {
            self.refusals.disprove(now, probe.tag);
        }
    }

    /// A request to a member was not answered in time.
    pub fn on_silence(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, request: &Request) {
        let doubted = self.is_doubted(subject);
        let Some(mut member) = ctx.roster.get_mut(subject) else { return };
        if !member.is_present() {
            return;
        }
        // A member that we accuse, if only weakly, teaches us nothing more about ourselves. Otherwise the dead would
        // keep us in doubt, and the doubt would keep the dead alive.
        let alive = member.status == Status::Alive;
        let first = request.kind.is_first() && alive && !doubted;
        let path = &mut member.path;
        let beyond_reach = path.reachable == Some(false);
        drop(member);
        ctx.core.stats.probes_unanswered += 1;
        let (loss, again) = (ctx.core.loss, ctx.core.loss_again);
        if let RequestKind::Probe { after: Some(lag) } = request.kind {
            match self.probes.get_mut(&subject) {
                Some(probe) => probe.again.lost(lag),
                // It was heard in the meantime.
                None if alive => ctx.core.loss_again.learn(lag, true),
                None => {}
            }
        }
        if first {
            // Learnt from first contacts only: a dead member would teach us that answers are rare.
            self.note_outcome(subject, false);
            ctx.core.health.probe_unanswered(now, ctx.core.loss.share());
            ctx.core.loss.unanswered();
        }
        if let Some(probe) = self.probes.get_mut(&subject) {
            probe.lost(now, request.sent, &loss, &again);
            probe.learnt += u32::from(first);
            if probe.case.direct.count == DEAD {
                ctx.core.surroundings.note_call(now, true);
            }
            self.rescore(now, ctx, subject);
        } else if first && beyond_reach {
            ctx.core.surroundings.note_call(now, true);
        } else if first && now >= ctx.core.recovering_until {
            if self.open_probe(ctx, subject, (now, request.sent), None)
                && let Some(probe) = self.probes.get_mut(&subject)
            {
                probe.lost_at = Some(request.sent);
                self.step_probe(now, ctx, subject);
            }
            if let Some(probe) = self.probes.get_mut(&subject) {
                probe.case.unanswered(now, loss.surprise());
                probe.learnt += 1;
            }
        }
    }

    /// A member did not answer a question of quorum. Those come more often than the calls of a round, so it is called at
    /// once, and a cut is seen in full. Where much is lost anyway, it says little, and would only cause work.
    pub fn on_missing_proof(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(member) = ctx.roster.get(subject) else { return };
        let to = member.incarnation.address();
        if member.status == Status::Alive
            && member.path.reachable != Some(false)
            && ctx.core.loss.share() <= LOSSY
            && now >= ctx.core.recovering_until
            && !self.probes.contains_key(&subject)
            && !self.is_doubted(subject)
            && self.probe_budget.take(now, 1)
        {
            ctx.ping(now, subject, to, RequestKind::ExtraProbe);
        }
    }

    /// The kernel of a member's host refused a request that left at `sent`.
    pub fn refused_by(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, sent: Instant) {
        if ctx.roster.is_leaving() {
            return;
        }
        let known = self.probes.get(&subject).is_some_and(|probe| probe.refused.is_none());
        self.begin_probe(now, ctx, subject, sent, None);
        if let Some(probe) = self.probes.get_mut(&subject) {
            match probe.refused {
                None => probe.refused = Some(now),
                Some(first) => probe.refused_again |= sent >= first,
            }
        }
        // With a new case the member and the helpers are asked anyway.
        if known && let Some(to) = ctx.roster.get(subject).map(|member| member.incarnation.address()) {
            if self.probe_budget.take(now, 1) {
                ctx.ping(now, subject, to, RequestKind::Probe { after: None });
            }
            let helpers = ctx.core.config.helpers;
            if self.probe_budget.take(now, helpers) {
                self.ask_helpers(now, ctx, subject, to, helpers, false);
            }
        }
        self.believe_refusal(now, ctx, subject);
    }

    /// Refusals count, once for each observer, when a request was refused that left after the first refusal, and two
    /// helpers were refused too or no helper has heard the member in time.
    pub fn believe_refusal(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let waits = ctx.transport.requests.waits_for_helpers(subject);
        let Some(probe) = self.probes.get_mut(&subject) else { return };
        if probe.refused_again
            && probe.case.refused.is_none()
            && (!waits || probe.helpers_refused >= HELPERS_REFUSED)
        {
            probe.case.refuse(now);
            self.rescore(now, ctx, subject);
        }
    }

    /// A helper asked at `asked` was refused too.
    pub fn helper_refused(&mut self, asked: Instant, subject: u64) {
        let probe = self.probes.get_mut(&subject);
        if let Some(probe) = probe.filter(|probe| probe.refused.is_some_and(|at| asked >= at)) {
            probe.helpers_refused += 1;
        }
    }

    /// A helper asked at `asked` has heard it: the member is alive, and the silence, or the refusal, is a fault of the
    /// path.
    pub fn helper_heard(&mut self, now: Instant, ctx: &mut Context<'_>, asked: Instant, subject: u64) {
        let since = self.probes.get(&subject).map(|probe| probe.refused.unwrap_or(probe.began));
        if since.is_none_or(|since| asked < since) {
            return;
        }
        // That is no suspicion, and yet a reason to probe its link (flap_damping.rs), where such a loss is unusual.
        if let Some(member) = ctx.roster.get(subject) {
            self.raise_alarm(now, member, ctx.core.loss.unusual());
        }
        if let Some(mut member) = ctx.roster.get_mut(subject) {
            member.path.reachable = Some(false);
        }
        self.direct_paths.look_soon(now, subject);
        self.close_probe(now, ctx, subject);
    }

    pub fn begin_probe(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        subject: u64,
        began: Instant,
        basis: Option<Heartbeat>,
    ) {
        if self.open_probe(ctx, subject, (now, began), basis) {
            self.step_probe(now, ctx, subject);
        }
    }

    /// The same, without the first step. Whether there was no probe of it.
    fn open_probe(
        &mut self,
        ctx: &Context<'_>,
        subject: u64,
        (now, began): (Instant, Instant),
        basis: Option<Heartbeat>,
    ) -> bool {
        let me = ctx.core.me;
        let Some(member) = ctx.roster.get(subject).filter(|m| is_other(m, me)) else { return false };
        if self.probes.contains_key(&subject) || ctx.roster.is_leaving() {
            return false;
        }
        let basis = basis.unwrap_or(0).max(ctx.core.heartbeat_by(ctx.roster, member, began));
        self.probes.insert(
            subject,
            Probe {
                tag: member.tag(),
                began,
                basis,
                case: Case::default(),
                helpers: [0; HELPERS_NAMED],
                lost_at: None,
                learnt: 0,
                again: LossOutcomes::default(),
                of_helpers: LossOutcomes::default(),
                attempts: 0,
                next: now,
                raised: None,
                told: Instant::EPOCH,
                to_tell: false,
                refused: None,
                refused_again: false,
                helpers_refused: 0,
                source: None,
            },
        );
        true
    }

    /// Asks again, through helpers too.
    pub fn step_probe(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(probe) = self.probes.get(&subject).copied() else { return };
        let Some(member) = ctx.roster.get(subject).filter(|m| m.is_present() && m.tag() == probe.tag) else {
            self.probes.remove(&subject);
            return;
        };
        let (to, lasts) = (member.incarnation.address(), Self::pause_for(ctx, member, probe.began));
        // There is enough evidence, or ours would not count: probe only now and then, to notice a return.
        let unheard = self.hears_nobody(now, ctx, &probe);
        let enough = unheard || probe.case.phi() >= TESTIFY || probe.raised == Some(Evidence::Proven);
        let pause = match enough {
            true => SLOW_STEP,
            false => ctx.core.patience(Some(member)).clamp(SHORTEST_STEP, LONGEST_STEP),
        };
        // A refusal that is believed needs no repetition. Beyond the budget a probe waits for its next step.
        let cost = if unheard { WITHOUT_USE } else { 1 };
        let ask = probe.case.refused.is_none() && self.may_probe(now, ctx, member, cost);
        if ask {
            ctx.ping(now, subject, to, RequestKind::Probe { after: probe.since_loss(now) });
            let helpers = helpers_at(ctx, &probe);
            if !enough && helpers > 0 && self.probe_budget.take(now, helpers) {
                self.ask_helpers(now, ctx, subject, to, helpers, false);
            }
        }
        if let Some(probe) = self.probes.get_mut(&subject) {
            probe.attempts += u32::from(ask);
            // The end of the pause is when silence becomes proof: step again at that time.
            let proof = probe.began + lasts;
            probe.next = if now < proof { (now + pause).min(proof) } else { now + pause };
        }
        self.rescore(now, ctx, subject);
    }

    /// Whether we have heard no member for an interval, since before this case began, and many cases like it are open. Then
    /// the silence is most likely ours: our accusations are weak, and those of all the others do not need us.
    pub fn hears_nobody(&self, now: Instant, ctx: &Context<'_>, probe: &Probe) -> bool {
        self.probes.len() >= MANY
            && ctx.core.last_heard < probe.began
            && now.since(probe.began) >= ctx.core.config.interval
    }

    /// Takes the budget for a probe. Members that have not proven their address leave half of it to the others.
    fn may_probe(&mut self, now: Instant, ctx: &Context<'_>, member: &Member, cost: usize) -> bool {
        let addresses = &ctx.transport.addresses;
        let proven = addresses.is_home(now, member.incarnation.address(), member.hash());
        let half = self.probe_budget.size() / 2;
        (proven || self.probe_budget.available(now) > half) && self.probe_budget.take(now, cost)
    }

    /// How long a silence has to last to be proof: the acceptable pause. Where the member itself has sent us something
    /// since the silence began, one interval more, in which it makes a heartbeat that refutes it. It does not hear us,
    /// then, and its last heartbeats may be ones that it could have had before.
    fn pause_for(ctx: &Context<'_>, member: &Member, began: Instant) -> Duration {
        let config = &ctx.core.config;
        let was_there = member.path.last_direct() > began + ctx.core.patience(Some(member));
        config.acceptable_pause + if was_there { config.interval } else { Duration::ZERO }
    }

    /// Accuses if the evidence amounts to more than the last accusation.
    pub fn rescore(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        if now < ctx.core.recovering_until {
            return;
        }
        let config = &ctx.core.config.detector;
        let Some(member) = ctx.roster.get(subject) else { return };
        let silence = member.detector.phi(now, config);
        let dead_path = self.direct_paths.is_down(subject);
        let Some(probe) = self.probes.get_mut(&subject) else { return };
        probe.case.silent(silence);
        probe.case.over_dead_path(dead_path);
        let probe = *probe;
        let evidence = probe.evidence(now, Self::pause_for(ctx, member, probe.began));
        if evidence > probe.raised {
            self.accuse(now, ctx, subject, evidence);
        } else if probe.raised.is_some()
            && now.since(probe.told) >= TELL_AGAIN
            && !self.hears_nobody(now, ctx, &probe)
        {
            // Repeat the accusation, and drop the doubt if it has passed by now.
            self.accuse(now, ctx, subject, probe.raised);
        }
        self.judge_soon(now, subject);
    }
}

/// How many helpers a probe asks at its next step, until there is enough evidence: three until we accuse, then at each
/// fourth step. Where an unanswered contact is nothing unusual, one at the first step, as most cases end with its word; then
/// two, and three at each further one. Each has a path of its own, while our own questions may all fall into one bad time
/// of ours.
fn helpers_at(ctx: &Context<'_>, probe: &Probe) -> usize {
    let (most, attempts) = (ctx.core.config.helpers, probe.attempts);
    if ctx.core.loss.share() > LOSSY {
        most.min(usize::try_from(attempts).map_or(most, |made| made.saturating_add(1)))
    } else if probe.raised.is_none() || attempts.is_multiple_of(HELPERS_EVERY) {
        most
    } else {
        0
    }
}

/// Questions in a row without an answer after which the path seems dead.
const DEAD: u32 = 3;
/// Share of unanswered contacts above which an unanswered one is worth less than φ 1.
pub const LOSSY: f32 = 0.1;
/// φ that accuses: one in 100,000 such silences is innocent.
pub const ACCUSE: f64 = 5.0;
/// φ that testifies: 8, as the field's detectors use it.
pub const TESTIFY: f64 = 8.0;
/// Bounds on the time from one request to the next: often enough that eight answers can be missing within the
/// acceptable pause, seldom enough to bound a storm.
const SHORTEST_STEP: Duration = Duration::from_millis(100);
const LONGEST_STEP: Duration = Duration::from_millis(250);
/// With enough evidence, requests only look for a return.
const SLOW_STEP: Duration = Duration::from_millis(500);
/// How many members are asked in a round while many look silent, and from which silence on: beyond the usual time
/// between two heartbeats of any member.
const LOOKS: usize = 5;
pub const UNHEARD: Duration = Duration::from_millis(2500);
/// After the last time that many were silent, others may still show for this long: what the callers of five slots in a
/// row could have seen.
const LOOK_ON: Duration = Duration::from_secs(5);
/// Where we accuse already, helpers are asked at each fourth request.
const HELPERS_EVERY: u32 = 4;
/// Refused helpers that confirm a refusal without waiting for the others: two, because a filter near one helper says
/// nothing about the member.
const HELPERS_REFUSED: u32 = 2;
/// Helpers whose names a case keeps.
pub const HELPERS_NAMED: usize = 4;
/// With so many open cases and nobody heard, it is most likely our own ears. In a smaller cluster, and after a few deaths,
/// each case is worth its full cost. Honest guess.
const MANY: usize = 8;
/// What a probe takes of the budget then: five a second are enough to notice that we hear again.
const WITHOUT_USE: usize = 10;
/// Testimony is repeated to the witnesses while the case is open.
const TELL_AGAIN: Duration = Duration::from_millis(500);
