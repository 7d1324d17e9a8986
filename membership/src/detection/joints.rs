//! Finds joints: members that answer us and that others near us do not hear ([`crate::core::joints`]).
//!
//! What shows one: others accuse a member; a member asks us to reach another, and we do; a member pings us on behalf of one
//! that we do not hear. Each names two members that do not hear each other. If both answer us, news of either has to pass
//! over us. All of it counts only while many members are silent, or were a moment ago: a single silence is no cut.

use crate::Instant;
use crate::core::joints::Step;
use crate::detection::Detection;
use crate::detection::probe::LOSSY;
use crate::effect::Effect;
use crate::roster::peers::is_other;
use crate::roster::standing::Status;
use crate::transport::context::Context;
use crate::transport::requests::RequestKind;
use crate::transport::sending::PingExtras;

impl Detection {
    /// The member `other` does not hear `subject`. If both hear us, `subject` is a joint ([`crate::core::joints`]). `heard`:
    /// we know that of `other`.
    pub fn look_for_joint(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        subject: u64,
        (other, heard): (u64, bool),
    ) {
        let (me, joints) = (ctx.core.me, &ctx.core.joints);
        // A member that nobody knows is apart from all.
        let is_other_member = other != me && other != subject && ctx.roster.get(other).is_some();
        let Some(member) = ctx.roster.get(subject).filter(|m| is_other(m, me) && is_other_member) else {
            return;
        };
        let many = now < self.look_until || self.many_are_silent(ctx.roster) || joints.is_known(now, subject);
        let calm = ctx.core.loss.share() <= LOSSY && now >= ctx.core.recovering_until;
        if many && calm && !self.is_doubted(subject) {
            let step = ctx.core.joints.apart(now, (subject, member.tag()), other, heard);
            self.follow_joint(now, ctx, subject, step);
        }
    }

    /// The same, of a member that others accuse.
    pub fn look_for_accused_joint(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(member) = ctx.roster.get(subject).filter(|m| m.status == Status::Suspect) else { return };
        let by: Vec<u64> = member.marks().that_count().map(|a| a.by).collect();
        for other in by.into_iter().filter(|by| *by != subject) {
            self.look_for_joint(now, ctx, subject, (other, false));
        }
    }

    /// Asks whom it takes to know a joint, or begins to use it, and tells it that it has a joint in us: the ping names a member
    /// that does not hear it. Half of the budget is left to the probes on which verdicts wait.
    pub fn follow_joint(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, step: Step) {
        let (whom, path_from) = match step {
            Step::Wait => return,
            Step::Ask(whom) => (whom, 0),
            Step::Found => (subject, ctx.core.joints.apart_from(subject).unwrap_or(0)),
        };
        if step == Step::Found {
            ctx.effect(Effect::Joint(subject));
        }
        let ample = self.probe_budget.available(now) >= self.probe_budget.size() / 2;
        let to = ctx.roster.get(whom).filter(|m| m.is_present()).map(|m| m.incarnation.address());
        if let Some(to) = to.filter(|_| ample && !ctx.roster.is_leaving() && self.probe_budget.take(now, 1)) {
            let extras = PingExtras { path_from, ..PingExtras::default() };
            ctx.ping_with(now, whom, to, RequestKind::JointProbe, extras);
        }
    }
}
