//! Extra probes: when several members are silent at once, asks which others are.
//!
//! Picture: two hands are missing on deck, and the mate calls the whole roll at once instead of waiting to meet each
//! man in turn.
//!
//! Rule: when a member turns suspect while another one is (among few members: when one does), each member asks
//! [`CALLS`] others, one after the other: the next ones in its tournament schedule (`peers.rs`). As in a round, each member is asked by exactly one other at a
//! time. If that one is silent too, the next call comes from another, and each new suspicion begins the calls anew. So
//! members that fall silent together are found within some tenths of a second, however many they are, and a cut is seen
//! in full before any verdict.
//!
//! Weak spot: where much is lost anyway, an unanswered call says little and would only cause work. There each member
//! waits for its regular turn ([`LOSSY`]).

use crate::Instant;
use crate::detection::Detection;
use crate::detection::probe::LOSSY;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::standing::Status;
use crate::transport::context::Context;
use crate::transport::requests::RequestKind;

/// The extra probes sent and still to send.
#[derive(Clone, Copy, Debug)]
pub struct ExtraProbes {
    /// When the next is due.
    next: Instant,
    /// How many are to follow.
    left: u32,
    /// The slot of the last call, and its number within that slot.
    slot: u64,
    calls: u64,
}

impl ExtraProbes {
    pub fn new() -> Self {
        Self { next: Instant::EPOCH, left: 0, slot: 0, calls: 0 }
    }

    pub fn next(&self) -> Instant {
        if self.left == 0 { Instant::NEVER } else { self.next }
    }
}

impl Detection {
    /// A member has become suspect: if it is not the only one, others are asked. Among few members one is enough, since
    /// two that fall silent together may be each other's callers.
    pub fn begin_extra_probes(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let census = ctx.roster.census();
        let together = if census.alive + census.suspect <= A_FEW { 1 } else { TOGETHER };
        if census.suspect >= together {
            let calls = if self.many_are_silent(ctx.roster) { CALLS * HURRY } else { CALLS };
            self.begin_calls(now, calls);
        }
    }

    /// Others are asked. A member that returns is a reason too: the network has changed.
    pub fn call_the_roll(&mut self, now: Instant) {
        self.begin_calls(now, CALLS);
    }

    fn begin_calls(&mut self, now: Instant, calls: u32) {
        self.extra_probes.left = self.extra_probes.left.max(calls);
        self.extra_probes.next = self.extra_probes.next.max(now);
    }

    /// Makes one call, when it is due.
    pub fn step_extra_probes(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if now < self.extra_probes.next() {
            return;
        }
        if ctx.core.loss.share() > LOSSY || now < ctx.core.recovering_until || ctx.roster.is_leaving() {
            self.extra_probes.left = 0;
            return;
        }
        let slot = ctx.core.slot_clock.slot(now);
        let calls = if slot == self.extra_probes.slot { self.extra_probes.calls + 1 } else { 1 };
        let hurry = if self.many_are_silent(ctx.roster) { HURRY } else { 1 };
        let next = now + ctx.core.config.interval / (A_ROUND * hurry);
        self.extra_probes = ExtraProbes { next, left: self.extra_probes.left.saturating_sub(1), slot, calls };
        let alive = |m: &Member| m.status == Status::Alive;
        let Some(member) = peers::for_slot(ctx.roster, ctx.core.me, slot.saturating_add(calls), alive) else {
            return;
        };
        let (subject, to) = (member.hash(), member.incarnation.address());
        if !self.probes.contains_key(&subject) && self.probe_budget.take(now, 1) {
            ctx.ping(now, subject, to, RequestKind::ExtraProbe);
        }
    }
}

/// From this many suspects on, they probably have a common cause.
const TOGETHER: u32 = 2;
/// Up to so many members, one suspect is reason enough.
const A_FEW: u32 = 8;
/// Calls after a suspicion. With a quarter of all members silent, one in four calls has a silent caller, so three calls
/// leave one member in sixty unasked.
const CALLS: u32 = 3;
/// Most calls of one member per interval. With four, an unanswered call becomes a suspicion within a quarter of a
/// second on a LAN (50 ms for the answer, as much for the helpers').
const A_ROUND: u32 = 4;
/// How much faster and more they are while many are silent: the callers of most are beyond the cut then. Of 32 members
/// whom ten others still hear, one was first asked 1.5 s after the cut (`heartsay-sim replay swarm-cuts --seed 1300166
/// --nodes 32 --log`).
const HURRY: u32 = 2;
