//! Members that said that they restart: waited for, and looked at when their time is over.
//!
//! Picture: "back in five minutes" on a shop's door. Nobody rings, and nobody calls the police; when the five minutes are
//! over, those who look after the shop ring as always.
//!
//! Weak spot: whoever dies in that time is missed that much later. So the time is the owner's own word, given once and for one
//! heartbeat, counts down wherever it is known, and is cut to a minute.

use crate::Instant;
use crate::detection::witnesses;
use crate::node::Node;
use crate::roster::claim::Claim;
use crate::roster::peers::is_other;
use crate::roster::standing::{Marks, Restart, Status};

impl Node {
    /// What is known of `subject` has changed: if it restarts, its time will have to be watched.
    pub(crate) fn watch_restart(&mut self, subject: u64) {
        let Some(member) = self.roster.get(subject).filter(|m| m.hash() != self.core.me) else { return };
        if let Some(restart) = member.marks().restart.filter(Restart::lasts) {
            self.gossip.restarts_end = self.gossip.restarts_end.min(restart.until);
        }
    }

    /// Whether `claim` speaks against a member that restarts without knowing that it does.
    pub(crate) fn is_unaware_of_restart(&self, claim: &Claim) -> bool {
        let marks = &claim.standing.marks;
        marks.restart.is_none()
            && (marks.down.is_some() || !marks.accusations.is_empty())
            && self.roster.get(claim.subject).is_some_and(|m| {
                m.status == Status::Restarting && m.incarnation.generation == claim.generation
            })
    }

    /// The time of some is over: from now on their silence counts.
    pub(crate) fn end_restarts(&mut self, now: Instant) {
        self.gossip.restarts_end = Instant::NEVER;
        if self.roster.census().restarting == 0 {
            return;
        }
        let restarting =
            self.roster.iter().filter(|m| m.status == Status::Restarting && m.hash() != self.core.me);
        let waits = restarting.filter_map(|m| Some((m.hash(), m.marks().restart?)));
        let (over, others): (Vec<_>, Vec<_>) = waits.partition(|(_, restart)| restart.until <= now);
        self.gossip.restarts_end =
            others.iter().map(|(_, restart)| restart.until).min().unwrap_or(Instant::NEVER);
        for (hash, restart) in over {
            if let Some(mut member) = self.roster.get_mut(hash) {
                let restart = Some(Restart { until: Instant::EPOCH, ..restart });
                member.mark(&Marks { restart, ..Marks::default() });
                // It was silent with our leave.
                let waited = now.since(member.since());
                member.detector.shift(now, waited);
            }
            self.refresh(now, hash, "it did not come back in the time that it asked for");
            let watched = self.roster.get(hash).is_some_and(|m| is_other(m, self.core.me));
            if watched && witnesses::is_one(&self.roster, hash, self.core.config.witnesses, self.core.me) {
                self.begin_probe(now, hash, now, None);
            }
        }
    }
}
