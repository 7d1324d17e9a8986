//! After a long sleep: drops members that all others may have forgotten long ago.
//!
//! Picture: a sailor comes home after years at sea. Before telling old news of the village, he first asks which of it
//! still holds.
//!
//! Rule: a node may have been away for longer than tombstones last, by its own clock or by the wall clock (the own
//! clock of a suspended host stands still). Until it has heard a member again, it then passes on only marks about that
//! member: marks alone never add a member to a roster. Heartbeats of the first ten rounds (`GONE_ROUND` in the core) do not
//! count, because another node that slept may hold later heartbeats of dead members than we do. Members not heard of in
//! the [`UNHEARD`] rounds after those are dropped, without a tombstone: if they are alive, others or they themselves
//! report it.
//!
//! Road not taken: to refuse an incarnation whose heartbeat is far behind its schedule. The owner sets the schedule by
//! its wall clock at its start. A host without a battery-backed clock is wrong by years, and a host that was suspended
//! continues behind its schedule; both are alive.

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::io::MemberEventKind;
use crate::roster::member::Member;
use crate::transport::context::Context;

impl Gossip {
    /// Once per round: after a long sleep, drops the members that have not been heard of since.
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

/// Rounds after the first ten, by whose end every live member has been heard of: heartbeats take up to six rounds at
/// 1,000 members.
const UNHEARD: u32 = 15;
