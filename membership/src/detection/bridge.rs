//! A member that loses what we send it may be well, and only the path between us bad.
//!
//! Picture: a street that is closed and opened again by the minute. Before we call the house at its end deserted, we ask a
//! friend who goes there by another way.
//!
//! Rule: in each round in which our looks at a link stay unanswered, and the link is worse than others, helpers are asked to
//! look too: some at first, later one. One that reaches the member is asked again in the next round. Once the same helper
//! has reached it [`ENOUGH`] times in a row, while we did not, the fault is the path's, and says nothing against the
//! member for [`KEPT`]. A failure takes as many back, so one lost datagram after many good ones does not count. Nothing is
//! testified before [`SEARCH`] such rounds are over, nor between the second and the last time of a helper that reaches the
//! member.
//!
//! A member that loses much loses the helper's questions too: one that loses four fifths answers so many in a row once in
//! a thousand times, one that is deaf never. A helper that lies can keep its own witness from testifying, and no other.
//!
//! Weak spot: each witness finds its bridge by chance. Where one helper in a hundred is a bridge, the verdict may come first.

use core::time::Duration;

use crate::Instant;
use crate::detection::Detection;
use crate::roster::member::Member;
use crate::transport::context::Context;

/// The helper that last reached a member.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bridge {
    /// Its hash; 0: none is known.
    helper: u64,
    in_a_row: u32,
    at: Instant,
    /// Rounds in which we have asked.
    rounds: u32,
}

impl Bridge {
    /// A helper has looked at the member.
    pub fn note(&mut self, now: Instant, helper: u64, reached: bool) {
        if reached {
            let before = if helper == self.helper { self.in_a_row } else { 0 };
            if before == 0 && self.in_a_row > 0 {
                // Two that reach it are no better than one.
                return;
            }
            *self = Self { helper, in_a_row: (before + 1).min(2 * ENOUGH), at: now, ..*self };
        } else if helper == self.helper {
            self.in_a_row = self.in_a_row.saturating_sub(ENOUGH);
            if self.in_a_row == 0 {
                self.helper = 0;
            }
        }
    }

    /// Whether others reach the member all the time.
    pub fn holds(&self, now: Instant) -> bool {
        self.in_a_row >= ENOUGH && now.since(self.at) < KEPT
    }

    /// Whether that is not known yet.
    pub fn is_open(&self, now: Instant) -> bool {
        let promising = (PROMISING..ENOUGH).contains(&self.in_a_row) && now.since(self.at) < KEPT;
        self.rounds < SEARCH || promising
    }
}

impl Detection {
    /// Asks helpers to look at a member whose link to us is bad.
    pub fn look_for_bridge(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(bridge) = self.damping.bridge(subject) else { return };
        bridge.rounds = bridge.rounds.saturating_add(1);
        if now.since(bridge.at) >= KEPT {
            // It may have gone.
            (bridge.helper, bridge.in_a_row) = (0, 0);
        }
        let known = *bridge;
        let many = if known.rounds <= SEARCH { ctx.core.config.helpers } else { 1 };
        let count = if known.helper == 0 { many } else { 1 };
        // Its probe asks helpers already.
        if self.probes.contains_key(&subject) || !self.probe_budget.take(now, count) {
            return;
        }
        let Some(to) = ctx.roster.get(subject).map(|member| member.incarnation.address()) else { return };
        let addresses = &ctx.transport.addresses;
        let fit = |helper: &&Member| self.can_help(now, addresses, subject, helper);
        let known = ctx.roster.get(known.helper).filter(fit);
        match known.map(|helper| (helper.hash(), helper.incarnation.address())) {
            Some(helper) => Self::ask_helper(now, ctx, (subject, to), helper, (false, None)),
            None => self.ask_helpers(now, ctx, subject, to, count, false),
        }
    }
}

/// Times in a row that a helper must have reached the member. Honest guess; see above.
const ENOUGH: u32 = 4;
/// Times in a row from which on the verdict waits for the rest. A member that loses four fifths of what it sends is reached
/// once by every other helper: to wait from the first time on kept it in for 35 s instead of 24 (`run gray-send`).
const PROMISING: u32 = 2;
/// Rounds with several helpers: where one member in five is a bridge, three helpers a round find it in four rounds, but once
/// in forty. With six, a member that loses four fifths is put out after 30 s instead of 24 (`run gray-send`).
const SEARCH: u32 = 4;
/// A flapping path may be whole for as long between two of its bad times.
const KEPT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    #[test]
    fn one_helper_has_to_reach_the_member_each_time() {
        let mut bridge = Bridge::default();
        for (second, helper, reached) in [(1, 7, true), (2, 7, true), (3, 7, true), (4, 8, false)] {
            bridge.note(at(second), helper, reached);
        }
        assert!(!bridge.holds(at(4)), "three times");
        bridge.note(at(5), 7, true);
        assert!(bridge.holds(at(5)) && bridge.holds(at(14)));
        assert!(!bridge.holds(at(15)), "too long ago");
        bridge.note(at(6), 7, false);
        assert!(!bridge.holds(at(6)), "it fails for the helper too");
    }

    #[test]
    fn one_failure_among_many_good_times_is_a_lost_datagram() {
        let mut bridge = Bridge::default();
        (1..=20).for_each(|second| bridge.note(at(second), 7, true));
        bridge.note(at(21), 7, false);
        assert!(bridge.holds(at(21)));
        bridge.note(at(22), 7, false);
        assert!(!bridge.holds(at(22)), "twice in a row");
    }

    #[test]
    fn times_of_several_helpers_do_not_add_up() {
        let mut bridge = Bridge::default();
        for helper in 1..=8 {
            bridge.note(at(helper), helper, true);
            bridge.note(at(helper), helper, false);
        }
        (10..=12).for_each(|second| bridge.note(at(second), second, true));
        assert!(!bridge.holds(at(12)) && bridge.is_open(at(12)));
    }
}
