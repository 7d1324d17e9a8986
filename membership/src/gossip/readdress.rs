//! Changes a member's address while its process goes on.
//!
//! Picture: a person moves house. It stays the same person; the neighbours need the new address at once, and silence at
//! the old door proves nothing.
//!
//! Rule: the address is part of an incarnation. So the member begins the next incarnation (generation + 1) at the new
//! address, and its heartbeat, its state and its quorum proofs go on. The record of the later incarnation says how many
//! incarnations right before it belong to the same process ([`Incarnation::moves`]). A member that knows one of these
//! keeps heartbeat and state and reports an update. A member that knows an earlier process, or does not read that
//! number, sees a restart.
//!
//! Claims against the earlier incarnation, and the round trips measured to its address, are void, as with a restart.
//!
//! Weak spot: news of the change may be lost. So in its first moments at the new address, every datagram of the member
//! carries its record, if there is room.

use core::net::SocketAddr;
use core::time::Duration;

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::io::Event;
use crate::roster::state::KeyChange;
use crate::transport::context::Context;

impl Gossip {
    /// Others reach us at `address` from now on.
    pub fn readdress(&mut self, now: Instant, ctx: &mut Context<'_>, address: SocketAddr) {
        let me = ctx.core.me;
        let old = ctx.roster.myself().incarnation.address();
        let Some(mut myself) = ctx.roster.get_mut(me).filter(|_| address != old) else { return };
        let incarnation = myself.incarnation.moved(address);
        let generation = incarnation.generation;
        myself.begin_incarnation(incarnation.into());
        ctx.core.tag = myself.tag();
        drop(myself);
        ctx.effect(Effect::Renewed);
        // Answers sent to the earlier address are lost; their senders are not to blame.
        ctx.transport.requests.forgive_all();
        ctx.core.recovering_until = now + RECOVERY;
        ctx.transport.introduce_until = now + INTRODUCED_FOR;
        self.eager_at = now;
        self.join.drop_address(address);
        self.broadcast.news(now, me, true);
        ctx.emit(Event::Readdressed { address, generation });
        self.report_move(ctx, me, old, address);
    }

    /// Another member goes on at another address.
    pub fn follow_to(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        subject: u64,
        old: SocketAddr,
        pass_on: bool,
    ) {
        let Some(new) = ctx.roster.get(subject).map(|member| member.incarnation.address()) else { return };
        self.unrest_at = now;
        ctx.effect(Effect::Ended(subject));
        ctx.transport.requests.forgive(subject);
        self.report_move(ctx, subject, old, new);
        if pass_on {
            self.broadcast.news(now, subject, true);
        }
        ctx.ask_refresh(subject, "it is at another address now");
    }

    fn report_move(&mut self, ctx: &mut Context<'_>, subject: u64, old: SocketAddr, new: SocketAddr) {
        let change = KeyChange { key: ADDRESS.to_owned(), before: Some(old.to_string().into_bytes()) };
        ctx.report_update(subject, vec![change], format!("its address changed from {old} to {new}"));
    }

    /// In the first moments of an incarnation, and at a new address, not all members know us.
    pub fn introduces_itself(&self, now: Instant, ctx: &Context<'_>) -> bool {
        self.is_new(now, ctx.core, ctx.membership) || now < ctx.transport.introduce_until
    }
}

/// What an update calls the address, beside the keys of the state.
const ADDRESS: &str = "address";
/// How long a member at a new address introduces itself and exchanges more often: as long as a newcomer does.
const INTRODUCED_FOR: Duration = Duration::from_secs(3);
/// As after a stall: requests sent from the earlier address stay unanswered. Honest guess.
const RECOVERY: Duration = Duration::from_millis(500);
