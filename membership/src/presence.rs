//! Who is here: counted for the quorum, and for the doubt of ourselves.

use core::time::Duration;

use crate::Instant;
use crate::io::Event;
use crate::member::Status;
use crate::node::Node;
use crate::probe::UNHEARD;
use crate::verdict::Company;

impl Node {
    /// Somebody came or went: count again, once for many that do so together.
    pub(crate) fn recount(&mut self, now: Instant) {
        let pause = if self.burst.is_flooded() { IN_A_FLOOD } else { self.config.coalesce };
        self.recount_at = self.recount_at.min(now + pause);
    }

    /// Counts who is here, for quorum and for the doubt of ourselves.
    pub(crate) fn count_presence(&mut self, now: Instant) {
        self.recount_at = Instant::NEVER;
        let others = self.roster.iter().filter(|m| m.hash() != self.me);
        let (mut alive, mut heard_lately, mut suspect) = (1_u32, 1_u32, 0_u32);
        for member in others {
            match member.status {
                Status::Alive => {
                    // Not accused by anybody, but silent to us: does not count as here.
                    alive += u32::from(!member.detector.is_overdue(now, &self.config.detector));
                    heard_lately += u32::from(member.detector.silence(now) < UNHEARD);
                }
                Status::Suspect => suspect += 1,
                Status::Down | Status::Left => {}
            }
        }
        let company = Company::of(suspect, alive - 1 + suspect);
        // While many look silent it may be a cut that is still showing: then only
        // who was heard of lately counts, so that the smaller side knows before
        // the other one judges.
        let present = if company == Company::Few { alive } else { heard_lately };
        if self.majority.observe(now, present) {
            self.emit(Event::Quorum(self.majority.status()));
        }
        let (was, is) = (self.company == Company::Most, company == Company::Most);
        self.company = company;
        if was != is {
            self.emit(Event::Isolated(is));
        }
    }
}

/// From a change to the count while hundreds come at once: a count looks at everybody.
const IN_A_FLOOD: Duration = Duration::from_millis(200);
