//! Applies the electorate that follows the cluster: brings the agreed roster in line with the view, exchanges with
//! other members who counts with whom, and keeps the agreed roster for the next run.
//!
//! The rules are in [`crate::quorum`], what they promise in docs/quorum.md, section 7.

use heartsay_proto::gossip;

use crate::Instant;
use crate::identity::Name;
use crate::io::Event;
use crate::quorum::service::Voting;
use crate::quorum::{Context, Effect, Lease, Majority, Quorum, QuorumService, RosterContext, VoteReply};
use crate::roster::fingerprint;

impl QuorumService {
    /// Takes the roster that an earlier run of ours had agreed on.
    pub fn recall(&mut self, ctx: &Context<'_>, names: &[Name]) {
        let names = names.iter().map(|name| (fingerprint::of_name(name), name.clone())).collect();
        if self.voting.agreed.as_mut().is_some_and(|agreed| agreed.recall(ctx.now, names)) {
            self.voting.majority = Majority::new(ctx.now, ctx.core.config.quorum_settle);
            self.effects.push(Effect::Count);
        }
    }

    /// Brings the agreed roster in line with the view, if the electorate follows the cluster.
    pub fn follow(&mut self, ctx: &Context<'_>) {
        let (length, direct) = (ctx.core.config.lease(), self.counts_all_electors(ctx));
        let look = RosterContext {
            now: ctx.now,
            me: ctx.core.me,
            // As of this moment: a node that has lost quorum strikes no member off.
            held: Some(self.voting.majority.at(ctx.now))
                .filter(|majority| majority.quorum() == Quorum::Held)
                .map(|majority| majority.since()),
            proven: self.voting.lease.proof().map_or(Instant::EPOCH, |proof| proof.as_of),
            present: direct.then_some(self.voting.present),
            settle: self.settling_time(ctx),
            searching: self.is_searching(ctx),
        };
        let Voting { agreed, lease, majority, .. } = &mut self.voting;
        let Some(agreed) = agreed.as_mut().filter(|_| !ctx.leaving) else { return };
        let view = ctx.roster.iter().map(|m| (m.hash(), &m.incarnation.name, m.status));
        let hears = |hash| hash == ctx.core.me || lease.hears_us(ctx.now, hash, length);
        let open = agreed.is_empty();
        let changed = agreed.follow(look, view, hears);
        let begins = changed && (open || agreed.is_empty());
        if begins {
            // Before there is a roster nothing is counted. The time to find the others begins with it.
            *majority = Majority::new(ctx.now, look.settle);
        }
        self.recount_at = self.recount_at.min(agreed.next(look));
        if changed {
            let names = agreed.shown().names;
            self.effects.push(Effect::Event(Event::Agreed(names)));
        }
        if begins && !open {
            self.effects.push(Effect::Event(Event::Quorum(self.status(ctx))));
        }
    }

    /// Our reply to a member with which we do not count, because it is not on our agreed roster or not for long enough;
    /// `None`: we count with it.
    pub fn turn_away(&self, ctx: &Context<'_>, asker: Option<u64>) -> Option<Option<gossip::Lease>> {
        let agreed = self.voting.agreed.as_ref()?;
        let leaving = ctx.leaving;
        // Members that know of our good-bye count without us, so no member may count with us any more.
        if !leaving && asker.is_some_and(|asker| agreed.counts_with(asker)) {
            return None;
        }
        let holds = self.voting.majority.at(ctx.now).quorum() == Quorum::Held;
        let says_so = holds && !leaving;
        let electorate = self.voting.struck_off;
        Some(says_so.then(|| gossip::Lease { electorate, ..gossip::Lease::default() }))
    }

    /// A member has answered, and its answer says whether we count for it.
    pub fn take_vote(&mut self, ctx: &Context<'_>, sender: u64, word: VoteReply) {
        let Some(agreed) = &mut self.voting.agreed else { return };
        let held = self.voting.majority.at(ctx.now).quorum() == Quorum::Held;
        let helped = !agreed.is_of_no_help(sender);
        let over = agreed.answered(ctx.now, sender, word, held);
        if helped == agreed.is_of_no_help(sender) {
            // Other members may have to be asked now.
            self.effects.push(Effect::Recount);
        }
        if over {
            let settle = ctx.core.config.quorum_settle;
            self.voting.majority = Majority::new(ctx.now, settle);
            // Proofs for that roster say nothing about the next.
            self.voting.lease = Lease::default();
            self.effects.push(Effect::Event(Event::Agreed(Vec::new())));
            self.effects.push(Effect::Count);
            self.effects.push(Effect::TellStatus);
        }
    }

    /// Whether it has said that it has no proof for us. Only members of an electorate that follows the cluster say so.
    pub fn cannot_lend(&self, member: u64) -> bool {
        self.voting.agreed.as_ref().is_some_and(|agreed| agreed.is_of_no_help(member))
    }

    /// Whether we are alone so far although there are addresses at which others should be.
    pub fn is_searching(&self, ctx: &Context<'_>) -> bool {
        ctx.roster.census().alive <= 1 && !ctx.joined
    }

    /// The member that decides a tie, if there can be one.
    pub fn lowest(&self) -> Option<&Name> {
        let tie = self.voting.ballot.tie?;
        self.voting.agreed.as_ref()?.names().find(|(hash, _)| *hash == tie).map(|(_, name)| name)
    }
}
