//! The electorate that follows the cluster, in the machine: the agreed roster is brought in line with the view, members
//! tell one another whether they count with each other, and what was agreed on is kept for the next life.
//!
//! The rules are in [`crate::quorum`], what they promise in docs/quorum.md, section 7.

use heartsay_proto::gossip;

use crate::Instant;
use crate::identity::Name;
use crate::io::Event;
use crate::node::Node;
use crate::quorum::service::Voting;
use crate::quorum::{Lease, Majority, Quorum, RosterContext, VoteReply};
use crate::roster::fingerprint;

impl Node {
    /// Takes the roster that an earlier life of ours had agreed on.
    pub(crate) fn recall(&mut self, now: Instant, names: &[Name]) {
        let names = names.iter().map(|name| (fingerprint::of_name(name), name.clone())).collect();
        if self.quorum.voting.agreed.as_mut().is_some_and(|agreed| agreed.recall(now, names)) {
            self.quorum.voting.majority = Majority::new(now, self.core.config.quorum_settle);
            self.count_presence(now);
        }
    }

    /// Brings the agreed roster in line with the view, where the electorate follows the cluster.
    pub(crate) fn follow(&mut self, now: Instant) {
        let (length, direct) = (self.core.config.lease(), self.asks_everybody());
        let look = RosterContext {
            now,
            me: self.core.me,
            // As of this moment: whoever has lost quorum strikes nobody off.
            held: Some(self.quorum.voting.majority.at(now))
                .filter(|majority| majority.quorum() == Quorum::Held)
                .map(|majority| majority.since()),
            proven: self.quorum.voting.lease.proof().map_or(Instant::EPOCH, |proof| proof.as_of),
            present: direct.then_some(self.quorum.voting.present),
            settle: self.settling_time(),
            searching: self.is_searching(),
        };
        let Voting { agreed, lease, majority, .. } = &mut self.quorum.voting;
        let Some(agreed) = agreed.as_mut().filter(|_| self.gossip.leave.is_none()) else { return };
        let view = self.roster.iter().map(|m| (m.hash(), &m.incarnation.name, m.status));
        let hears = |hash| hash == self.core.me || lease.hears_us(now, hash, length);
        let open = agreed.is_empty();
        let changed = agreed.follow(look, view, hears);
        let begins = changed && (open || agreed.is_empty());
        if begins {
            // Before there is a roster nothing is counted, and the chance to find the others begins with it.
            *majority = Majority::new(now, look.settle);
        }
        self.quorum.recount_at = self.quorum.recount_at.min(agreed.next(look));
        if changed {
            let names = agreed.shown().names;
            self.emit(Event::Agreed(names));
        }
        if begins && !open {
            self.emit(Event::Quorum(self.quorum(now)));
        }
    }

    /// What we say of quorum to somebody with whom we do not count, as it is not on our agreed roster, or not for long;
    /// `None`: we do.
    pub(crate) fn turn_away(&self, now: Instant, asker: Option<u64>) -> Option<Option<gossip::Lease>> {
        let agreed = self.quorum.voting.agreed.as_ref()?;
        let leaving = self.gossip.leave.is_some();
        // Whoever has been told of our good-bye counts without us, so nobody may count with us any more.
        if !leaving && asker.is_some_and(|asker| agreed.counts_with(asker)) {
            return None;
        }
        let holds = self.quorum.voting.majority.at(now).quorum() == Quorum::Held;
        let says_so = holds && !leaving;
        Some(says_so.then_some(gossip::Lease {
            electorate: self.quorum.voting.struck_off,
            age_ms: 0,
            present: 0,
        }))
    }

    /// Somebody has answered, and said whether we count for it.
    pub(crate) fn take_vote(&mut self, now: Instant, sender: u64, word: VoteReply) {
        let Some(agreed) = &mut self.quorum.voting.agreed else { return };
        let held = self.quorum.voting.majority.at(now).quorum() == Quorum::Held;
        let helped = !agreed.is_of_no_help(sender);
        let over = agreed.answered(now, sender, word, held);
        if helped == agreed.is_of_no_help(sender) {
            // Others may have to ask for it.
            self.recount(now);
        }
        if over {
            let settle = self.core.config.quorum_settle;
            self.quorum.voting.majority = Majority::new(now, settle);
            // Proofs of that roster say nothing about the next.
            self.quorum.voting.lease = Lease::default();
            self.emit(Event::Agreed(Vec::new()));
            self.count_presence(now);
            self.emit(Event::Quorum(self.quorum(now)));
        }
    }

    /// Whether it has said that it has no proof for us, as only members of an electorate that follows the cluster do.
    pub(crate) fn cannot_lend(&self, member: u64) -> bool {
        self.quorum.voting.agreed.as_ref().is_some_and(|agreed| agreed.is_of_no_help(member))
    }

    /// Alone so far, though there are addresses at which others should be.
    pub(crate) fn is_searching(&self) -> bool {
        self.roster.census().alive <= 1 && !self.gossip.join.is_joined()
    }

    /// Whoever decides a tie, where there can be one.
    pub(crate) fn lowest(&self) -> Option<&Name> {
        let tie = self.quorum.voting.ballot.tie?;
        self.quorum.voting.agreed.as_ref()?.names().find(|(hash, _)| *hash == tie).map(|(_, name)| name)
    }
}
