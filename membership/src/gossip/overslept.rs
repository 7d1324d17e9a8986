//! After a long sleep: those whom we know may be long forgotten by all others.
//!
//! Picture: a sailor home from years at sea. He gives nobody the news of the village before he has been through it once.
//!
//! Rule: who was away for longer than tombstones last, by its own clock or by the wall clock (a suspended host's own
//! clock stands still), says of a member no more than marks until it has heard it again: marks bring nobody into a
//! roster who is not there. Members not heard of by [`UNHEARD`] are dropped, without a stone: if they live, others tell of
//! them, or they do. Only beats after the first [`GONE_ROUND`] rounds count, as another sleeper may know later ones of the
//! dead than we do.
//!
//! Road not taken: to refuse a life whose heartbeat is far behind its line, whoever tells of it. The line is drawn by the
//! owner's wall clock at its start. That of a host without a clock of its own is wrong by years, and a host that was
//! suspended beats on behind its line; both live.

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::io::MemberEventKind;
use crate::roster::member::Member;
use crate::transport::context::Context;

impl Gossip {
    /// Once per round: after a long sleep, drops those of whom nothing was heard since.
    pub fn drop_unheard(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let slept = ctx.core.heard_after != Instant::EPOCH;
        if !slept || now < ctx.core.heard_after + ctx.core.config.interval * UNHEARD {
            return;
        }
        let unheard: Vec<u64> =
            ctx.roster.iter().filter(|m| !ctx.core.vouches_for(m)).map(Member::hash).collect();
        for hash in unheard {
            ctx.report(hash, MemberEventKind::Forgotten, &[], "not heard of since we slept");
            ctx.roster.remove(hash);
            ctx.effect(Effect::Ended(hash));
        }
        ctx.core.heard_after = Instant::EPOCH;
        ctx.effect(Effect::Recount);
    }
}

/// Rounds more after which who lives has been heard of: heartbeats are under way for six at 1,000 members.
const UNHEARD: u32 = 15;
