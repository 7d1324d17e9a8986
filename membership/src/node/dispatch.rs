//! What comes in a datagram and what leaves in one.
//!
//! Picture: a letter. The envelope is opened or sealed here (frame, key, checksum), the stamp paid for, and what lies inside
//! goes to whoever it concerns: news first, then the greeting in the head, then the body.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Budget, decode_into, encode_packet, gossip, open, seal};
use rand::Rng;

use crate::Instant;
use crate::config::HEADER;
use crate::identity::Generation;
use crate::io::{Output, Rejected, Transmit};
use crate::node::Node;
use crate::roster::member::Member;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::wire;

impl Node {
    pub(crate) fn on_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), Rejected> {
        self.core.stats.datagrams_received += 1;
        self.core.stats.bytes_received += bytes.len() as u64;
        self.gossip.join.hear(from);
        let mut scratch = core::mem::take(&mut self.transport.bytes);
        let opened =
            open(bytes, &self.core.config.cluster, &self.core.config.keyring, Budget::MAX, &mut scratch)
                .and_then(|(body, _key)| {
                    let spare = self.transport.scratch.coming();
                    decode_into(spare, self.transport.scratch.copy(body))
                });
        self.transport.bytes = scratch;
        let mut packet = opened?;
        if packet.sender == self.core.tag {
            return self.on_echo(from, packet.seq);
        }
        self.core.stats.claims_received += packet.claims.len() as u64;
        let told = packet.claims.first().map(|claim| (claim.subject, claim.generation));
        // News first: a newcomer is known by its own claim before its request is looked at.
        let refused = self.on_claims(now, from, &mut packet);
        let sender = self.roster.by_tag(packet.sender);
        if let Some(sender) = sender {
            self.hear_longest(now, from, packet.longest);
            self.heard(now, sender, packet.heartbeat);
            self.core.slot_clock.hear(now - self.way(sender), packet.beat);
        }
        refused.and(self.on_body(now, from, sender, told, packet))
    }

    /// A datagram of our own came back. A seed that is ourselves, under whichever address, does that at our call: a name that
    /// stands for all members stands for us too. Then it is no seed, and nothing to speak of.
    fn on_echo(&mut self, from: SocketAddr, seq: u32) -> Result<(), Rejected> {
        self.gossip.join.drop_address(from);
        match self.transport.requests.get(seq).copied() {
            Some(Request { kind: RequestKind::Dial, to, .. }) => {
                self.transport.requests.answered(seq);
                self.gossip.join.drop_address(to);
                Ok(())
            }
            _ => Err(Rejected::Echo { from }),
        }
    }

    fn on_body(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        told: Option<(u64, Generation)>,
        packet: gossip::Packet,
    ) -> Result<(), Rejected> {
        let seq = packet.seq;
        if let Some(sender) = sender {
            self.hear_answer(now, sender, &packet);
        }
        match packet.body {
            None => Ok(()),
            Some(Body::Exchange(exchange)) => {
                let header = (packet.sender, packet.heartbeat, packet.view);
                // Its own claim, and those of others whom to ask.
                let names_others = packet.claims.len() > 1;
                let known = if exchange.step == 2 {
                    self.on_ack(now, from, sender, seq, names_others)
                } else {
                    Ok(())
                };
                let result = known.and_then(|()| self.on_exchange(now, from, sender, header, seq, &exchange));
                self.transport.scratch.has_come(exchange);
                result
            }
            Some(Body::Pull(pull)) => {
                self.on_pull(now, from, seq, &pull);
                Ok(())
            }
            Some(Body::Supply(supply)) => self.on_supply(now, from, sender, seq, &supply),
            Some(Body::Ping(ping)) => {
                self.on_ping(now, from, sender, seq, &ping);
                Ok(())
            }
            Some(Body::Pong(_)) => self.on_pong(now, seq, sender),
            Some(Body::ProbeRequest(request)) => {
                self.on_probe_request(now, from, seq, &request);
                Ok(())
            }
            Some(Body::ProbeReport(report)) => self.on_probe_report(now, seq, told, &report),
            Some(Body::Refusal(refusal)) => {
                self.on_refusal(now, &refusal, &packet.claims);
                Ok(())
            }
            Some(Body::Twin(said)) => {
                self.on_twin(now, from, (packet.sender, seq), said, packet.claims);
                Ok(())
            }
        }
    }

    /// How long a datagram of `sender` was under way, about.
    fn way(&self, sender: u64) -> Duration {
        let path = self.roster.get(sender).and_then(|member| member.path.rtt.smoothed());
        path.or(self.core.paths.smoothed()).unwrap_or_default() / 2
    }

    /// A packet of ours around `body`.
    pub(crate) fn packet(&self, seq: u32, body: Option<Body>) -> gossip::Packet {
        let myself = self.roster.myself();
        gossip::Packet {
            sender: myself.tag(),
            heartbeat: myself.heartbeat,
            seq,
            view: 0,
            beat: 0,
            lease: None,
            longest: 0,
            body,
            claims: Vec::new(),
        }
    }

    /// Seals and queues a datagram, unless that is more than may leave now.
    pub(crate) fn send(&mut self, to: SocketAddr, packet: &gossip::Packet) {
        self.send_to_each(&[to], packet);
    }

    /// The same datagram to several with paths alike. With a key each is sealed by itself.
    pub(crate) fn send_to_each(&mut self, targets: &[SocketAddr], packet: &gossip::Packet) {
        let Some((last, others)) = targets.split_last() else { return };
        let mut packet = self.introduced(*last, packet);
        let longest = self.longest(*last);
        if longest != 0 {
            packet.to_mut().longest = longest;
        }
        let packet = &*packet;
        encode_packet(packet, &mut self.transport.bytes);
        let mut frame = self.sealed();
        for to in others {
            let next = if self.core.config.keyring.is_empty() { frame.clone() } else { self.sealed() };
            self.queue(*to, packet, core::mem::replace(&mut frame, next));
        }
        self.queue(*last, packet, frame);
    }

    fn queue(&mut self, to: SocketAddr, packet: &gossip::Packet, frame: Bytes) {
        if !self.transport.egress.passes(self.core.last_call, packet, frame.len()) {
            self.core.stats.datagrams_held_back += 1;
            return;
        }
        self.note_length(self.core.last_call, to, packet, frame.len());
        self.core.stats.datagrams_sent += 1;
        self.core.stats.bytes_sent += frame.len() as u64;
        self.core.stats.claims_sent += packet.claims.len() as u64;
        self.out.push_back(Output::Transmit(Transmit { to, bytes: frame }));
    }

    /// The frame around what was encoded last.
    fn sealed(&mut self) -> Bytes {
        let mut nonce = [0; 24];
        if !self.core.config.keyring.is_empty() {
            self.core.rng.fill_bytes(&mut nonce);
        }
        let mut frame = Vec::new();
        seal(&self.transport.bytes, &self.core.config.cluster, &self.core.config.keyring, nonce, &mut frame);
        frame.into()
    }

    /// A claim about `member` that fits a packet of its own to `to`.
    pub(crate) fn claim(
        &self,
        now: Instant,
        to: SocketAddr,
        member: &Member,
        detail: wire::Detail,
    ) -> gossip::Claim {
        self.claim_with(now, to, member, detail, usize::MAX)
    }

    /// The same with at most `share` bytes of its state.
    pub(crate) fn claim_with(
        &self,
        now: Instant,
        to: SocketAddr,
        member: &Member,
        detail: wire::Detail,
        share: usize,
    ) -> gossip::Claim {
        let detail = if self.core.vouches_for(member) { detail } else { wire::Detail::Thin };
        wire::write_claim(now, member, detail, self.packet_limit(to).saturating_sub(HEADER), share)
    }
}
