//! Sends what is sealed for one life, and finds out which life is at an address that we do not know.
//!
//! Without a key there is nothing to find out: plain datagrams are for whoever reads them.
//!
//! ```text
//!   newcomer                                    seed
//!     │ Who, sealed for nobody in particular      │   changes nothing here: it may be
//!     │ ────────────────────────────────────────► │   the copy of an old one
//!     │                                      Here │   not longer than the question,
//!     │ ◄──────────────────────────────────────── │   sealed for the newcomer's life
//!     │ the request, sealed for the seed's life   │
//!     │ ────────────────────────────────────────► │
//! ```

use core::net::SocketAddr;

use bytes::Bytes;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{ANYONE, Seal, encode_packet, gossip, seal_for};

use crate::io::Rejected;
use crate::roster::member::Member;
use crate::transport::context::Context;
use crate::transport::requests::RequestKind;

impl Context<'_> {
    /// Seals the packet, which has been encoded, for the life at `to`, and queues it. If we do not know that life, it
    /// waits.
    pub fn send_sealed(&mut self, to: SocketAddr, packet: &gossip::Packet) {
        let now = self.core.last_call;
        let Some(known) = self.transport.lives.at(to) else {
            self.hold(to, packet, None);
            self.ask_who(to, packet.seq);
            return;
        };
        let frame = self.sealed_for(known.life);
        self.queue(to, packet, frame);
        if known.missed > 0 {
            let member = self.roster.by_tag(known.life).and_then(|hash| self.roster.get(hash));
            if known.is_doubted(member.is_none_or(Member::is_present))
                && self.transport.lives.asks_again(now, to)
            {
                self.hold(to, packet, Some(known.life));
                self.ask_who(to, packet.seq);
            }
        }
    }

    /// Asks which life is at an address, with the number of an open request. Whichever life of `subject` is there answers.
    pub fn ask_life(&mut self, to: SocketAddr, seq: u32, subject: u64) {
        if self.core.config.keyring.primary().is_some() {
            // What is sealed for one life is not read by another.
            self.ask_who(to, seq);
        } else {
            self.ask_first(to, seq, subject);
        }
    }

    /// The life with this tag is at this address, as it said itself just now. `here`: the number of the card that it
    /// answers, if it does.
    pub fn hear_life(&mut self, from: SocketAddr, life: u64, here: Option<u32>) {
        if !self.belongs_to_another(from, life) {
            self.learn_life(from, life);
        }
        // An address can stand for a member that answers from its own.
        if let Some(asked) = here.and_then(|seq| self.transport.lives.asked_with(seq)) {
            self.learn_life(asked, life);
        }
    }

    /// This life is at this address: what waits for that leaves.
    pub fn learn_life(&mut self, at: SocketAddr, life: u64) {
        if self.core.config.keyring.is_empty() {
            return;
        }
        let now = self.core.last_call;
        self.transport.lives.learn(at, life);
        let Some((packet, asks)) = self.transport.lives.release(now, at, life) else { return };
        if asks && !self.transport.requests.is_awaited(packet.seq) {
            // Its time was up before we knew who is there, or its host refused it.
            return;
        }
        encode_packet(&packet, &mut self.transport.bytes);
        let frame = self.sealed_for(life);
        if asks {
            self.transport.requests.leaves_again(now, packet.seq, &frame);
        }
        self.queue(at, &packet, frame);
    }

    /// A datagram that is for nobody in particular. It may be a copy, whatever it says.
    ///
    /// # Errors
    /// It is not the question who is here.
    pub fn on_who(
        &mut self,
        from: SocketAddr,
        packet: &gossip::Packet,
        length: usize,
    ) -> Result<(), Rejected> {
        if !matches!(packet.body, Some(Body::Who(_))) || packet.sender == ANYONE {
            return Err(Rejected::Unexpected { what: "datagram for nobody in particular" });
        }
        if !self.transport.lives.answers(self.core.last_call) {
            return Ok(());
        }
        let here = self.packet(packet.seq, Some(Body::Here(gossip::Here {})));
        encode_packet(&here, &mut self.transport.bytes);
        let frame = self.sealed_for(packet.sender);
        if frame.len() <= length {
            self.queue(from, &here, frame);
        }
        Ok(())
    }

    /// Whether a datagram of this life comes from the address of another member that is there, while this life is known
    /// to be elsewhere: somebody sends it on from a false address.
    fn belongs_to_another(&self, from: SocketAddr, life: u64) -> bool {
        let member = |life| self.roster.by_tag(life).and_then(|hash| self.roster.get(hash));
        let known = self.transport.lives.at(from).filter(|known| known.life != life);
        let owner = known.and_then(|known| member(known.life));
        owner.is_some_and(|owner| owner.is_present() && owner.incarnation.address() == from)
            && member(life).is_some_and(|sender| sender.incarnation.address() != from)
    }

    fn hold(&mut self, to: SocketAddr, packet: &gossip::Packet, left_for: Option<u64>) {
        // What it says of a proof of a majority would be younger than it is.
        let asked = self.transport.requests.get(packet.seq);
        let proves = asked.is_some_and(|r| matches!(r.kind, RequestKind::Lease | RequestKind::Wave));
        if packet.lease.is_none() && !proves {
            let asks = asked.is_some_and(|request| request.to == to);
            self.transport.lives.hold(self.core.last_call, to, (packet.clone(), asks), left_for);
        }
    }

    /// Asks who is there, with the number of the request that waits for it.
    fn ask_who(&mut self, to: SocketAddr, seq: u32) {
        let padding = Bytes::from_static(&[0; PADDING]);
        let who = self.packet(seq, Some(Body::Who(gossip::Who { padding })));
        // The packet that has been encoded may have further receivers.
        let encoded = core::mem::take(&mut self.transport.bytes);
        encode_packet(&who, &mut self.transport.bytes);
        let frame = self.sealed_for(ANYONE);
        self.transport.bytes = encoded;
        self.queue(to, &who, frame);
    }

    /// The last encoded packet, sealed for this life.
    fn sealed_for(&mut self, receiver: u64) -> Bytes {
        let number = self.transport.seals.next(self.roster.myself().incarnation.generation);
        let seal = Seal { receiver, number, secret: self.transport.seals.secret() };
        let mut frame = Vec::new();
        let (cluster, keyring) = (&self.core.config.cluster, &self.core.config.keyring);
        seal_for(&self.transport.bytes, cluster, keyring, seal, &mut frame);
        frame.into()
    }
}

/// So much longer may the heartbeat in an answer be than the one in the question.
const PADDING: usize = 10;
