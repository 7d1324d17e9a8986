//! What a node does by the clock: once per round, and more often while it is new.

use core::time::Duration;

use rand::RngExt;

use crate::Instant;
use crate::core::Core;
use crate::core::own_heartbeat::EAGER_TIME;
use crate::gossip::Gossip;
use crate::gossip::broadcast::joints;
use crate::io::MemberEventKind;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::roster::standing::Status;
use crate::transport::context::Context;

impl Gossip {
    /// Once per slot: one heartbeat and [`Config::exchanges`](crate::Config::exchanges).
    pub fn round(&mut self, now: Instant, ctx: &mut Context<'_>) {
        ctx.core.stats.rounds += 1;
        let slot = ctx.core.slot_clock.slot(now);
        self.next_round = ctx
            .core
            .slot_clock
            .next_call(now, self.whom_to_call(ctx, slot.saturating_add(1), 0).unwrap_or(ctx.core.me));
        if self.leave.is_some() {
            return;
        }
        ctx.core.beat_once(now, ctx.roster);
        self.complete_without_looking(ctx);
        for call in 0..ctx.core.config.exchanges {
            if let Some(peer) = self.whom_to_call(ctx, slot, call) {
                self.open_exchange(now, ctx, peer);
            }
        }
        if let Some(peer) = peers::knock(ctx.roster, &mut ctx.core.rng).map(Member::hash) {
            self.open_exchange(now, ctx, peer);
        }
        ctx.core.joints.tidy(now);
        if ctx.core.surroundings.is_sparse() || ctx.core.joints.known(now).next().is_some() {
            self.eager_at = self.eager_at.min(now + ctx.core.config.interval / EAGER_FACTOR);
        }
    }

    /// Housekeeping of the roster, once per round.
    pub fn tidy(&mut self, now: Instant, ctx: &mut Context<'_>) {
        self.drop_unheard(now, ctx);
        if ctx.core.stats.rounds.is_multiple_of(HOUSEKEEPING_ROUNDS) {
            self.keep_tables(now, ctx);
        }
    }

    /// The peer for one call of the slot. The round starts at the time of the first call's pair; the other calls are
    /// sent with it.
    fn whom_to_call(&self, ctx: &Context<'_>, slot: u64, call: u32) -> Option<u64> {
        let turn = slot.saturating_mul(u64::from(ctx.core.config.exchanges)).saturating_add(u64::from(call));
        peers::for_slot(ctx.roster, ctx.core.me, turn, Member::is_present).map(Member::hash)
    }

    /// Suspends our heartbeat, or resumes it.
    ///
    /// While suspended we still speak, so that our own view stays true. Others take what we say about other members,
    /// but without a newer heartbeat our datagrams are no sign of life of ours.
    pub fn suspend(&mut self, now: Instant, ctx: &mut Context<'_>, rest: bool) {
        if rest {
            ctx.core.suspended.get_or_insert(0);
        } else if let Some(basis) = ctx.core.suspended.take() {
            ctx.core.beat_once(now, ctx.roster);
            if basis >= ctx.roster.myself().heartbeat {
                ctx.core.beat_above(now, ctx.roster, basis);
            }
            self.broadcast.news(now, ctx.core.me, false);
        }
    }

    /// Whether we are in the first moments of an incarnation, when not all members have heard of it.
    pub fn is_young(&self, now: Instant, core: &Core) -> bool {
        let age = now.since(core.started);
        age < EAGER_TIME || (age < LONGEST_YOUTH && self.pulls.is_behind(now))
    }

    /// A newcomer exchanges more often in its first moments, so that all members know it soon. Other members make one
    /// extra exchange when newcomers have ceased to come: a member that missed one of many has most likely heard of
    /// another.
    pub fn eager_exchange(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let (sparse, joints) = (ctx.core.surroundings.is_sparse(), joints(now, ctx));
        let lively = self.is_young(now, ctx.core)
            || now < ctx.transport.introduce_until
            || sparse
            || !joints.is_empty();
        self.eager_at = if lively { now + ctx.core.config.interval / EAGER_FACTOR } else { Instant::NEVER };
        // While much is missing, pulls bring it, and a comparison of everything would only repeat that.
        if self.leave.is_some() || ctx.core.stats.rounds == 0 || self.pulls.is_behind(now) {
            return;
        }
        let me = ctx.core.me;
        let there = if sparse { peers::heard_within(ctx.roster, me, now, LATELY) } else { Vec::new() };
        // In sparse surroundings every other one goes over a joint.
        if !joints.is_empty() && (!sparse || ctx.core.rng.random_bool(0.5)) {
            let turn = ctx.core.rng.random_range(0..joints.len());
            if let Some(joint) = joints.get(turn) {
                self.open_exchange(now, ctx, *joint);
            }
            return;
        }
        let peer = match there.len() {
            0 => peers::sample(ctx.roster, &mut ctx.core.rng, 1, |m| is_other(m, me)).first().copied(),
            n => there.get(ctx.core.rng.random_range(0..n)).copied(),
        };
        if let Some(peer) = peer.map(Member::hash) {
            self.open_exchange(now, ctx, peer);
        }
    }

    /// News has to pass over this member from now on. What has gone round before it was known as a joint has not.
    pub fn begin_joint(&mut self, now: Instant, ctx: &mut Context<'_>, joint: u64) {
        self.eager_at = self.eager_at.min(now + ctx.core.config.interval / EAGER_FACTOR);
        self.open_exchange(now, ctx, joint);
    }

    /// A member has come that we did not know.
    pub fn note_newcomer(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if !self.is_young(now, ctx.core) {
            let soon = ctx.core.config.interval.mul_f64(ctx.core.rng.random_range(AFTERMATH));
            self.eager_at = now + soon;
        }
    }

    fn keep_tables(&mut self, now: Instant, ctx: &mut Context<'_>) {
        self.unasked.tidy(now);
        self.pulls.tidy(now);
        self.takeovers.tidy(now);
        ctx.transport.helped.tidy(now);
        ctx.transport.addresses.tidy(now);
        // If the census counts no gone members, no record is read.
        let census = ctx.roster.census();
        if census.down + census.left > 0 {
            self.drop_expired(now, ctx);
        }
        ctx.roster.age_tombstones(now);
        if now.since(self.unrest_at) >= SETTLED {
            ctx.roster.fit();
        }
    }

    fn drop_expired(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let (down, left) = (ctx.core.config.forget_down_after, ctx.core.config.forget_left_after);
        let gone: Vec<u64> = ctx
            .roster
            .iter()
            .filter(|m| match m.status {
                Status::Down => now.since(m.since()) >= down,
                Status::Left => now.since(m.since()) >= left,
                Status::Alive | Status::Restarting | Status::Suspect => false,
            })
            .map(Member::hash)
            .filter(|hash| *hash != ctx.core.me)
            .collect();
        for hash in gone {
            ctx.report(hash, MemberEventKind::Forgotten, &[], "gone for too long");
            ctx.roster.bury(now, hash);
        }
    }
}

/// Members that we have heard so lately are there, as far as we know: they call us as often as we call them.
pub const LATELY: Duration = Duration::from_millis(1500);
/// In a mass start, the longest time of extra exchanges; they end when the views are alike.
const LONGEST_YOUTH: Duration = Duration::from_secs(30);
/// How many times as often.
const EAGER_FACTOR: u32 = 5;
/// From the last newcomer to the extra exchange, in intervals: long enough for the news to have spread (broadcast.rs),
/// and spread out so that members do not all do it at once.
const AFTERMATH: core::ops::Range<f64> = 0.2..0.4;
/// Rounds from one housekeeping to the next.
const HOUSEKEEPING_ROUNDS: u64 = 10;
/// After this long without a member coming or going, none is expected soon.
const SETTLED: Duration = Duration::from_secs(30);
