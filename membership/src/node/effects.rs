//! Carries out the effects by which one part asks for the work of another.

use crate::Instant;
use crate::detection::Detection;
use crate::detection::direct_paths::DirectPaths;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::node::Node;
use crate::questions::Questions;
use crate::transport::context::{Context, OwnMembership};

impl Node {
    /// The context that a part is called with.
    pub(crate) fn context(&mut self) -> Context<'_> {
        self.parts().2
    }

    /// The gossip part and its context.
    pub(crate) fn gossip(&mut self) -> (&mut Gossip, Context<'_>) {
        let (gossip, _, ctx) = self.parts();
        (gossip, ctx)
    }

    /// The failure detection part and its context.
    pub(crate) fn detection(&mut self) -> (&mut Detection, Context<'_>) {
        let (_, detection, ctx) = self.parts();
        (detection, ctx)
    }

    /// Questions and their context.
    pub(crate) fn questions(&mut self) -> (&mut Questions, Context<'_>) {
        let membership = self.own_membership();
        let Self { core, roster, transport, effects, questions, .. } = self;
        (questions, Context { core, roster, transport, membership, effects })
    }

    /// Gossip and detection side by side, where one is called with an answer of the other, and the context of both.
    pub(super) fn parts(&mut self) -> (&mut Gossip, &mut Detection, Context<'_>) {
        let membership = self.own_membership();
        let Self { core, roster, transport, effects, gossip, detection, .. } = self;
        (gossip, detection, Context { core, roster, transport, membership, effects })
    }

    pub(super) fn own_membership(&self) -> OwnMembership {
        OwnMembership { complete: self.gossip.join.is_joined(), refused: self.detection.footing.is_refused() }
    }

    /// Carries out the pending effects, depth first: what an effect causes runs next.
    pub(crate) fn settle(&mut self, now: Instant) {
        while !self.effects.is_empty() {
            let waiting = self.effects.split_off(1);
            let effect = self.effects.pop();
            if let Some(effect) = effect {
                self.carry_out(now, effect);
            }
            self.effects.extend(waiting);
        }
    }

    fn carry_out(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::Refresh { subject, reason } => self.refresh(now, subject, reason),
            Effect::Heartbeat(subject) => self.after_heartbeat(now, subject),
            Effect::Ended(subject) => self.detection.forget(subject),
            Effect::RestartOver(subject) => {
                let (detection, mut ctx) = self.detection();
                detection.watch_after_restart(now, &mut ctx, subject);
            }
            Effect::Joint(subject) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.begin_joint(now, &mut ctx, subject);
            }
            Effect::News { subject, full } => self.gossip.broadcast.news(now, subject, full),
            Effect::Recount => self.recount(now),
            Effect::JudgeQuorum => self.judge_quorum(now),
            Effect::Agreement { peer, agrees } => self.detection.footing.note_agreement(peer, agrees),
            Effect::NameHeld { holder, address, generation } => {
                self.name_held(now, holder, address, generation);
            }
            Effect::BeginAnew(above) => self.begin_anew(now, above),
            Effect::Renewed => self.detection.footing.begin_anew(),
            Effect::Leaving => {
                self.detection.probes.clear();
                self.detection.direct_paths = DirectPaths::default();
            }
            Effect::Complete => {
                let (detection, mut ctx) = self.detection();
                detection.on_complete(&mut ctx);
            }
        }
    }
}
