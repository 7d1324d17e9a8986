//! Members that announced a restart: no probes until their time is over, then normal watching again.
//!
//! Picture: "back in five minutes" on a shop's door. Until then no one rings; afterwards all ring as always.
//!
//! Weak spot: a member that dies in that time is missed that much later. So the time is the owner's own claim, given
//! once and for one heartbeat. It counts down wherever it is known, and is cut to a minute.

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::roster::Roster;
use crate::roster::claim::Claim;
use crate::roster::standing::{Marks, Restart, Status};
use crate::transport::context::Context;

impl Gossip {
    /// The claims about `subject` have changed: if it restarts, its deadline has to be watched.
    pub fn watch_restart(&mut self, roster: &Roster, subject: u64) {
        let Some(member) = roster.get(subject).filter(|m| m.hash() != roster.myself().hash()) else { return };
        if let Some(restart) = member.marks().restart.filter(Restart::lasts) {
            self.restarts_end = self.restarts_end.min(restart.until);
        }
    }

    /// The time of some members is over: from now on their silence counts.
    pub fn end_restarts(&mut self, now: Instant, ctx: &mut Context<'_>) {
        self.restarts_end = Instant::NEVER;
        if ctx.roster.census().restarting == 0 {
            return;
        }
        let restarting =
            ctx.roster.iter().filter(|m| m.status == Status::Restarting && m.hash() != ctx.core.me);
        let waits = restarting.filter_map(|m| Some((m.hash(), m.marks().restart?)));
        let (over, others): (Vec<_>, Vec<_>) = waits.partition(|(_, restart)| restart.until <= now);
        self.restarts_end = others.iter().map(|(_, restart)| restart.until).min().unwrap_or(Instant::NEVER);
        for (hash, restart) in over {
            if let Some(mut member) = ctx.roster.get_mut(hash) {
                let restart = Some(Restart { until: Instant::EPOCH, ..restart });
                member.mark(&Marks { restart, ..Marks::default() });
                // It was allowed to be silent.
                let waited = now.since(member.since());
                member.detector.shift(now, waited);
            }
            ctx.ask_refresh(hash, "it did not come back in the time that it asked for");
            ctx.effect(Effect::RestartOver(hash));
        }
    }
}

/// Whether `claim` speaks against a restarting member and its sender does not know of the restart.
pub fn is_unaware(roster: &Roster, claim: &Claim) -> bool {
    let marks = &claim.standing.marks;
    marks.restart.is_none()
        && (marks.down.is_some() || !marks.accusations.is_empty())
        && roster
            .get(claim.subject)
            .is_some_and(|m| m.status == Status::Restarting && m.incarnation.generation == claim.generation)
}
