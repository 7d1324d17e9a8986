//! A member whose address changes while its process goes on.
//!
//! Picture: somebody moves house. It is the same person, so nobody mourns and nobody is born; the neighbours need the
//! new address at once, and whoever rang at the old door must not call the person dead.
//!
//! Rule: the address is part of a life, so the member begins the next life (generation + 1) at the new address, and its
//! heartbeat, its state and its quorum proofs go on. The record of the later life says how many lives right before it were
//! of the same process ([`Incarnation::moves`]). Who knows one of these keeps heartbeat and state and reports an update. Who knows an
//! earlier process, or does not read that number, sees a restart.
//!
//! What was said against the earlier life, and the round trips measured to its address, are void as with a restart.
//!
//! Weak spot: news of the change may be lost. So for its first moments at the new address every datagram of the member
//! carries its record, if there is room.

use core::net::SocketAddr;
use core::time::Duration;
use std::borrow::Cow;

use heartsay_proto::{Message, gossip};

use crate::Instant;
use crate::gossip::pull::SHARE;
use crate::io::Event;
use crate::node::Node;
use crate::roster::state::KeyChange;
use crate::transport::wire::{self, Detail};

impl Node {
    /// Others reach us at `address` from now on.
    pub(crate) fn readdress(&mut self, now: Instant, address: SocketAddr) {
        let me = self.core.me;
        let old = self.roster.myself().incarnation.address();
        let Some(mut myself) = self.roster.get_mut(me).filter(|_| address != old) else { return };
        let incarnation = myself.incarnation.moved(address);
        let generation = incarnation.generation;
        myself.begin_life(incarnation.into());
        self.core.tag = myself.tag();
        drop(myself);
        self.detection.footing.begin_anew();
        // Answers that go to the earlier address are lost: nobody is to be blamed.
        self.transport.requests.forgive_all();
        self.core.recovering_until = now + RECOVERY;
        self.gossip.introduce_until = now + INTRODUCED_FOR;
        self.gossip.eager_at = now;
        self.gossip.join.drop_address(address);
        self.gossip.broadcast.news(now, me, true);
        self.emit(Event::Readdressed { address, generation });
        self.report_move(me, old, address);
    }

    /// Another member has gone on at another address.
    pub(crate) fn follow_to(&mut self, now: Instant, subject: u64, old: SocketAddr, pass_on: bool) {
        let Some(new) = self.roster.get(subject).map(|member| member.incarnation.address()) else { return };
        self.gossip.unrest_at = now;
        self.detection.probes.remove(&subject);
        self.transport.requests.forgive(subject);
        self.report_move(subject, old, new);
        if pass_on {
            self.gossip.broadcast.news(now, subject, true);
        }
        self.refresh(now, subject, "it is at another address now");
    }

    fn report_move(&mut self, subject: u64, old: SocketAddr, new: SocketAddr) {
        let change = KeyChange { key: ADDRESS.to_owned(), before: Some(old.to_string().into_bytes()) };
        self.report_update(subject, vec![change], format!("its address changed from {old} to {new}"));
    }

    /// The same packet with our record beside it, while not everybody knows our address.
    pub(crate) fn introduced<'a>(
        &self,
        to: SocketAddr,
        packet: &'a gossip::Packet,
    ) -> Cow<'a, gossip::Packet> {
        let introduced = |claim: &gossip::Claim| claim.subject == self.core.me && claim.body.is_some();
        if self.core.last_call >= self.gossip.introduce_until || packet.claims.iter().any(introduced) {
            return Cow::Borrowed(packet);
        }
        let room = self.packet_limit(to).saturating_sub(packet.encoded_len() + CLAIM_HEADER);
        // With as much state as most members have: who has not known us should not have to ask for it. Longer ones are asked for.
        let claim = wire::write_claim(self.core.last_call, self.roster.myself(), Detail::Full, room, SHARE);
        if claim.encoded_len() > room {
            return Cow::Borrowed(packet);
        }
        let mut packet = packet.clone();
        packet.claims.push(claim);
        Cow::Owned(packet)
    }

    /// For the first moments of a life, and at a new address, not everybody knows us.
    pub(crate) fn introduces_itself(&self, now: Instant) -> bool {
        self.is_new(now) || now < self.gossip.introduce_until
    }
}

/// What an update calls the address, beside the keys of the state.
const ADDRESS: &str = "address";
/// For so long a member at a new address introduces itself and exchanges more often: as long as a newcomer does.
const INTRODUCED_FOR: Duration = Duration::from_secs(3);
/// As after a stall: what was asked from the earlier address stays unanswered. Honest guess.
const RECOVERY: Duration = Duration::from_millis(500);
/// Tag (two bytes from 16 on) and length of a claim in its packet.
const CLAIM_HEADER: usize = 5;
