//! Builds and sends packets: our head, the claims in it, the frame around it, and the way through every budget.

use core::net::SocketAddr;
use core::time::Duration;
use std::borrow::Cow;

use bytes::Bytes;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Filler, Message, encode_packet, gossip, seal};

use crate::Instant;
use crate::config::HEADER;
use crate::io::{Output, Transmit};
use crate::roster::member::Member;
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::wire::{self, Detail, SHARE};

/// What an answer carries beside what was asked.
#[derive(Debug, Default)]
pub struct AnswerExtras {
    /// Our vote. Sending it acknowledges the asker as a member.
    pub lease: Option<gossip::Lease>,
    /// Our accusations against the asker, which may not have heard of them.
    pub claim: Option<gossip::Claim>,
    /// When we last heard the member on whose behalf the ping came, as it is written on the wire.
    pub heard_ms: u32,
}

/// What a ping carries beside its question.
#[derive(Debug, Default)]
pub struct PingExtras {
    /// Members about whose silence we ask.
    pub about: Vec<u64>,
    /// In a wave: our vote and proof.
    pub lease: Option<gossip::Lease>,
    /// In a wave: the number of the last ping that the subject answered.
    pub answered: Option<u32>,
    /// In a wave: the group that the subject is to lead.
    pub lead: Option<gossip::Lead>,
    /// The member on whose behalf we ask, if it is in doubt about its own path; otherwise 0.
    pub path_from: u64,
}

impl Context<'_> {
    /// A packet from us around `body`.
    pub fn packet(&self, seq: u32, body: Option<Body>) -> gossip::Packet {
        let myself = self.roster.myself();
        gossip::Packet {
            sender: myself.tag(),
            heartbeat: myself.heartbeat,
            seq,
            view: 0,
            beat: 0,
            lease: None,
            longest: 0,
            cookie: 0,
            cookie_back: 0,
            straight_to: 0,
            body,
            claims: Vec::new(),
        }
    }

    /// Seals and queues a datagram, unless the limiter holds it back.
    pub fn send(&mut self, to: SocketAddr, packet: &gossip::Packet) {
        self.send_to_each(&[to], packet);
    }

    /// Sends the same datagram to several addresses whose path limits are equal. With a key each copy is sealed
    /// for its receiver.
    pub fn send_to_each(&mut self, targets: &[SocketAddr], packet: &gossip::Packet) {
        let Some((last, others)) = targets.split_last() else { return };
        let mut packet = self.introduced(*last, packet);
        let longest = self.longest(*last);
        if longest != 0 {
            packet.to_mut().longest = longest;
        }
        let packet = &*packet;
        encode_packet(packet, &mut self.transport.bytes);
        if self.core.config.keyring.primary().is_some() {
            targets.iter().for_each(|to| self.send_sealed(*to, packet));
            return;
        }
        let frame = self.plain();
        for to in others {
            self.queue(*to, packet, frame.clone());
        }
        self.queue(*last, packet, frame);
    }

    /// Queues a datagram, unless its receiver is not proven or the limiter holds it back.
    pub fn queue(&mut self, to: SocketAddr, packet: &gossip::Packet, frame: Bytes) {
        if !self.may_leave(to, packet, frame.len()) {
            self.core.stats.datagrams_unproven += 1;
            return;
        }
        if !self.transport.egress.passes(self.core.last_call, packet, frame.len()) {
            self.core.stats.datagrams_held_back += 1;
            return;
        }
        self.note_length(self.core.last_call, to, packet, frame.len());
        self.core.stats.datagrams_sent += 1;
        self.core.stats.bytes_sent += frame.len() as u64;
        self.core.stats.claims_sent += packet.claims.len() as u64;
        if packet.seq != 0 {
            self.transport.requests.leaves(packet.seq, to, &frame);
        }
        self.transport.out.push_back(Output::Transmit(Transmit { to, bytes: frame }));
    }

    /// Whether the address has proven itself, or this datagram is within what an unproven one gets. A request that may not
    /// leave is withdrawn, so that its lack of an answer blames nobody.
    fn may_leave(&mut self, to: SocketAddr, packet: &gossip::Packet, length: usize) -> bool {
        let now = self.core.last_call;
        let request = self.transport.requests.get(packet.seq).filter(|request| request.to == to).copied();
        let addressee = request.and_then(|request| request.addressee());
        let proven = match addressee {
            Some(subject) => self.transport.addresses.is_home(now, to, subject),
            None => self.transport.addresses.is_proven(now, to),
        };
        // The operator gave us this address; and there is one tally for each longer ping that asked for it.
        let by_operator = request.is_some_and(|r| r.kind == RequestKind::Dial && r.subject.is_none());
        let free = by_operator || matches!(packet.body, Some(Body::Tally(_)));
        if proven || free || self.transport.addresses.take(now, to, length) {
            return true;
        }
        let waits = request.is_some_and(|r| r.is_pull() || r.kind == RequestKind::CloneProbe);
        if request.is_some() && !waits && !self.is_mute(now, addressee) {
            self.transport.requests.withdraw(packet.seq);
        }
        false
    }

    /// Whether a member that has not proven its address has shown no sign of life for so long, by any way, that there is
    /// none: questions that may not leave count as unanswered then.
    fn is_mute(&self, now: Instant, subject: Option<u64>) -> bool {
        let member = subject.and_then(|subject| self.roster.get(subject));
        member.is_some_and(|member| member.detector.silence(now) >= MUTE)
    }

    /// The bytes that a frame adds to a packet.
    pub fn frame(&self) -> usize {
        let config = &self.core.config;
        config.datagram.limit().saturating_sub(config.datagram.for_frame(&config.keyring))
    }

    /// The last encoded packet in a plain frame.
    fn plain(&self) -> Bytes {
        let mut frame = Vec::new();
        let (cluster, keyring) = (&self.core.config.cluster, &self.core.config.keyring);
        seal(&self.transport.bytes, cluster, keyring, [0; 24], &mut frame);
        frame.into()
    }

    /// A claim about `member` that fits a packet of its own to `to`.
    pub fn claim(&self, now: Instant, to: SocketAddr, member: &Member, detail: Detail) -> gossip::Claim {
        self.claim_with(now, to, member, detail, usize::MAX)
    }

    /// The same with at most `share` bytes of the member's state.
    pub fn claim_with(
        &self,
        now: Instant,
        to: SocketAddr,
        member: &Member,
        detail: Detail,
        share: usize,
    ) -> gossip::Claim {
        let detail = if self.core.vouches_for(member) { detail } else { Detail::Thin };
        wire::write_claim(now, member, detail, self.packet_limit(to).saturating_sub(HEADER), share)
    }

    /// A packet to `to` around `body`, to be filled.
    pub fn filler(&self, to: SocketAddr, seq: u32, body: Option<Body>) -> Option<Filler> {
        Filler::new(self.packet(seq, body), self.packet_limit(to)).ok()
    }

    /// Sends claims about `subjects`, as many as fit one datagram.
    pub fn tell(&mut self, now: Instant, to: SocketAddr, subjects: &[u64], detail: Detail) {
        let Some(mut filler) = self.filler(to, 0, None) else { return };
        for subject in subjects {
            let claim = match (self.roster.get(*subject), self.roster.tombstones().generation(*subject)) {
                (Some(member), _) => self.claim(now, to, member, detail),
                (None, Some(generation)) => wire::write_forgotten(*subject, generation),
                (None, None) => continue,
            };
            if filler.try_claim(claim).is_err() {
                break;
            }
        }
        let packet = filler.finish();
        if !packet.claims.is_empty() {
            self.send(to, &packet);
        }
    }

    /// A ping with the accusations against the subject, so that its answer can refute them.
    pub fn ping(&mut self, now: Instant, subject: u64, to: SocketAddr, kind: RequestKind) {
        self.ping_with(now, subject, to, kind, PingExtras::default());
    }

    /// The same, with more beside it.
    pub fn ping_with(
        &mut self,
        now: Instant,
        subject: u64,
        to: SocketAddr,
        kind: RequestKind,
        extras: PingExtras,
    ) {
        let PingExtras { about, mut lease, answered, lead, path_from } = extras;
        let patience = if kind == RequestKind::LinkProbe {
            // An acceptable pause is not evidence of a bad link.
            self.core.config.acceptable_pause
        } else if kind == RequestKind::ReachProbe {
            // Nor is a late answer a path that is down.
            self.core.config.acceptable_pause / 2
        } else {
            self.core.patience(self.roster.get(subject))
        };
        let deadline = now + patience;
        let request = Request { subject: Some(subject), to, sent: now, deadline, kind };
        // The next ping of a wave names this one by its distance.
        let in_turn = kind == RequestKind::Wave && self.transport.addresses.is_home(now, to, subject);
        let seq = match in_turn {
            true => self.transport.requests.open_in_turn(request),
            false => self.transport.requests.open(request),
        };
        if let Some(lease) = &mut lease {
            lease.answered = answered.map_or(0, |number| seq.wrapping_sub(number));
        }
        let body = Body::Ping(gossip::Ping { subject, about, lead, path_from, ..Default::default() });
        let packet = gossip::Packet { lease, ..self.packet(seq, Some(body)) };
        let Ok(mut filler) = Filler::new(packet, self.packet_limit(to)) else { return };
        if let Some(member) = self.roster.get(subject)
            && member.is_marked()
        {
            // Beside a question to an elector there may be no room for it; probes carry it.
            let _ = filler.try_claim(self.claim(now, to, member, Detail::Thin));
        }
        self.core.stats.probes += 1;
        self.send(to, &filler.finish());
    }

    /// Asks the source of a datagram, a member by its own account, whether it is there.
    pub fn ask_source(&mut self, now: Instant, subject: u64, source: SocketAddr) {
        let asked = |r: &Request| r.kind == RequestKind::Source && r.to == source;
        if !self.transport.requests.any(asked) {
            self.ping(now, subject, source, RequestKind::Source);
        }
    }

    /// Whether a request to this member is short enough for its address, proven or not.
    pub fn fits(&self, now: Instant, to: SocketAddr, subject: u64, packet: &gossip::Packet) -> bool {
        packet.encoded_len() + self.frame() <= self.transport.addresses.room_for(now, to, subject)
    }

    /// Sends a bare ping for a request that is too long for an address that has not proven itself. The request itself
    /// follows with the answer.
    pub fn ask_first(&mut self, to: SocketAddr, seq: u32, subject: u64) {
        let ping = gossip::Ping { subject, ..Default::default() };
        let packet = self.packet(seq, Some(Body::Ping(ping)));
        self.core.stats.probes += 1;
        self.send(to, &packet);
    }

    /// The same packet with our record beside it, while not all members know our address.
    pub fn introduced<'a>(&self, to: SocketAddr, packet: &'a gossip::Packet) -> Cow<'a, gossip::Packet> {
        let introduced = |claim: &gossip::Claim| claim.subject == self.core.me && claim.body.is_some();
        if self.core.last_call >= self.transport.introduce_until || packet.claims.iter().any(introduced) {
            return Cow::Borrowed(packet);
        }
        let room = self.packet_limit(to).saturating_sub(packet.encoded_len() + CLAIM_HEADER);
        // With as much state as most members have, so that a member new to us need not ask for it. The rest of a longer
        // state has to be asked for.
        let claim = wire::write_claim(self.core.last_call, self.roster.myself(), Detail::Full, room, SHARE);
        if claim.encoded_len() > room {
            return Cow::Borrowed(packet);
        }
        let mut packet = packet.clone();
        packet.claims.push(claim);
        Cow::Owned(packet)
    }
}

/// Ten rounds: far more than a heartbeat takes to reach any member. Honest guess.
const MUTE: Duration = Duration::from_secs(10);
/// Tag (two bytes from 16 on) and length of a claim in its packet.
const CLAIM_HEADER: usize = 5;
