//! Takes a datagram apart and hands each piece to the part it concerns.
//!
//! Picture: a letter. The envelope (frame, key, checksum) is opened here. The contents are handed on in a fixed order:
//! first the news (claims), then the greeting in the head, then the body. Letters of our own are sealed in
//! `transport/sending.rs`.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{ANYONE, Budget, LastWords, decode_into, gossip, open_for};

use crate::Instant;
use crate::detection::indirect_probe;
use crate::gossip::ages::IsProbed;
use crate::gossip::anti_entropy::Sender;
use crate::gossip::broadcast::is_all;
use crate::identity::Generation;
use crate::io::Rejected;
use crate::node::Node;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::sending::AnswerExtras;

impl Node {
    pub(crate) fn on_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), Rejected> {
        self.core.stats.datagrams_received += 1;
        self.core.stats.bytes_received += bytes.len() as u64;
        if let Some(words) = LastWords::read(bytes) {
            self.on_last_words(now, &words);
            return Ok(());
        }
        self.gossip.join.hear(from);
        let mut scratch = core::mem::take(&mut self.transport.bytes);
        let (cluster, keyring) = (&self.core.config.cluster, &self.core.config.keyring);
        let receivers = self.transport.seals.receivers(now, self.core.tag);
        let opened =
            open_for(bytes, cluster, keyring, receivers, Budget::MAX, &mut scratch).and_then(|opened| {
                let spare = self.transport.scratch.coming();
                Ok((decode_into(spare, self.transport.scratch.copy(opened.body))?, opened.sealed))
            });
        self.transport.bytes = scratch;
        let (mut packet, sealed) = opened?;
        if packet.sender == self.core.tag {
            return self.on_echo(now, from, packet.seq);
        }
        match sealed {
            Some((ANYONE, _)) => return self.on_who(from, &packet, bytes.len()),
            Some((_, number)) => self.take_once(now, from, number, &packet)?,
            None => {}
        }
        let proven = self.hear_proof(now, from, &packet);
        if sealed.is_some() {
            let here = matches!(packet.body, Some(Body::Here(_))).then_some(packet.seq);
            self.context().hear_life(from, packet.sender, here);
        }
        self.transport.addresses.answer(from, bytes.len(), packet.cookie);
        let result = self.on_packet(now, from, &mut packet);
        self.transport.addresses.answered();
        if let Some(source) = proven {
            self.answer_held(now, source);
            let (questions, mut ctx) = self.questions();
            questions.asking.on_proof(now, &mut ctx, source);
        }
        result
    }

    /// Answers what waited for the proof of its source.
    fn answer_held(&mut self, now: Instant, source: SocketAddr) {
        for packet in self.transport.held.take(source) {
            let sender = self.roster.by_tag(packet.sender);
            // What is wrong with it is no fault of the datagram in hand.
            if let Err(rejected) = self.on_body(now, source, sender, None, packet) {
                *self.core.stats.rejected.entry(rejected.reason()).or_default() += 1;
            }
        }
    }

    /// What is in a datagram.
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &mut gossip::Packet,
    ) -> Result<(), Rejected> {
        if self.hold_letter(now, from, packet) {
            return Ok(());
        }
        self.core.stats.claims_received += packet.claims.len() as u64;
        let told = packet.claims.first().map(|claim| (claim.subject, claim.generation));
        // News first: a newcomer's own claim makes it known before its request is looked at.
        let refused = self.on_claims(now, from, packet);
        let sender = self.roster.by_tag(packet.sender);
        if let Some(sender) = sender {
            let straight_to = usize::try_from(packet.straight_to).unwrap_or(usize::MAX);
            if straight_to > 0 && is_all(&self.roster, straight_to) {
                self.gossip.broadcast.skip_first_wave(now, sender);
            }
            self.context().hear_longest(now, from, packet.longest);
            self.heard(now, sender, packet.heartbeat);
            self.core.slot_clock.hear(now - self.way(sender), packet.beat);
            if self.wants_much(now, from, sender, packet) {
                self.context().ask_source(now, sender, from);
                if self.transport.held.has_room(now, from) {
                    self.transport.held.hold(now, from, core::mem::take(packet));
                    return refused;
                }
            } else if self.waits_for(now, from, sender) {
                self.context().ask_source(now, sender, from);
            }
        }
        refused.and(self.on_body(now, from, sender, told, core::mem::take(packet)))
    }

    /// If the datagram brings back a cookie, its source has proven itself; if it answers a request, the address that the
    /// request went to. Returns the address.
    fn hear_proof(&mut self, now: Instant, from: SocketAddr, packet: &gossip::Packet) -> Option<SocketAddr> {
        let by = self.roster.by_tag(packet.sender).unwrap_or(0);
        if self.transport.addresses.knows_cookie(now, from, packet.cookie_back) {
            self.transport.addresses.prove(now, from, by);
            return Some(from);
        }
        let answers = match &packet.body {
            Some(Body::Pong(_) | Body::Supply(_) | Body::ProbeReport(_) | Body::Here(_)) => true,
            Some(Body::Exchange(exchange)) => exchange.step == 2,
            Some(Body::Twin(said)) => said.answer,
            Some(
                Body::Pull(_)
                | Body::Ping(_)
                | Body::ProbeRequest(_)
                | Body::Refusal(_)
                | Body::Tally(_)
                | Body::Who(_)
                | Body::Question(_)
                | Body::Answer(_),
            )
            | None => false,
        };
        let request = answers.then(|| self.transport.requests.get(packet.seq)).flatten()?;
        let (to, addressee) = (request.to, request.addressee().unwrap_or(by));
        if request.kind == RequestKind::Wave && self.transport.addresses.is_home(now, to, addressee) {
            // Its number can be guessed.
            return None;
        }
        self.transport.addresses.prove(now, to, by);
        Some(to)
    }

    /// Whether a source that has not proven itself wants more than its credit.
    fn wants_much(&self, now: Instant, from: SocketAddr, sender: u64, packet: &gossip::Packet) -> bool {
        if self.transport.addresses.is_home(now, from, sender) {
            return false;
        }
        match &packet.body {
            Some(Body::Pull(_) | Body::Question(_)) => packet.seq != 0,
            Some(Body::Exchange(exchange)) => !exchange.wants.is_empty() || !exchange.lists.is_empty(),
            _ => false,
        }
    }

    /// Whether we want to call a source, and have to wait until it has proven itself.
    fn waits_for(&self, now: Instant, from: SocketAddr, sender: u64) -> bool {
        let addresses = &self.transport.addresses;
        !addresses.is_home(now, from, sender) && addresses.is_used_up(now, from)
    }

    /// A datagram that is for nobody in particular asks who is here.
    fn on_who(&mut self, from: SocketAddr, packet: &gossip::Packet, length: usize) -> Result<(), Rejected> {
        self.transport.addresses.answer(from, length, 0);
        let result = self.context().on_who(from, packet, length);
        self.transport.addresses.answered();
        result
    }

    /// A datagram was sealed for us: it is taken unless it is a copy.
    fn take_once(
        &mut self,
        now: Instant,
        from: SocketAddr,
        number: u64,
        packet: &gossip::Packet,
    ) -> Result<(), Rejected> {
        let is_member = |life| self.roster.by_tag(life).is_some();
        if self.transport.replays.takes(now, packet.sender, number, is_member) {
            Ok(())
        } else {
            Err(Rejected::Replayed { from })
        }
    }

    /// One of our own datagrams came back. A seed address that is our own does that when we dial it: a name that stands
    /// for all members stands for us too. Such an address is not called for a while, and there is nothing to report.
    /// Anything else that comes back says nothing about the address that it seems to come from.
    fn on_echo(&mut self, now: Instant, from: SocketAddr, seq: u32) -> Result<(), Rejected> {
        match self.transport.requests.get(seq).copied() {
            Some(Request { kind: RequestKind::Dial, to, .. }) => {
                self.transport.requests.answered(seq);
                self.gossip.join.set_aside(now + self.core.config.rejoin_interval, to);
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
        let said = packet.lease;
        match packet.body {
            None => Ok(()),
            Some(Body::Exchange(exchange)) => {
                // The sender's own claim, and claims about other members that we may ask.
                let names_others = packet.claims.len() > 1;
                let (tag, heartbeat, view) = (packet.sender, packet.heartbeat, packet.view);
                let sender = Sender { address: from, tag, member: sender, heartbeat, view };
                let result = self.on_exchange(now, sender, seq, names_others, &exchange);
                self.transport.scratch.has_come(exchange);
                result
            }
            Some(Body::Pull(pull)) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.on_pull(now, &mut ctx, from, seq, &pull);
                Ok(())
            }
            Some(Body::Supply(supply)) => self.on_supply(now, from, sender, seq, &supply),
            Some(Body::Ping(mut ping)) => {
                if ping.bare {
                    ping.padding.clear();
                }
                self.on_ping(now, from, sender, (seq, said), &ping);
                Ok(())
            }
            Some(Body::Pong(_) | Body::Here(_)) if self.answers_takeover(now, seq, packet.sender) => Ok(()),
            Some(Body::Pong(pong)) => self.on_pong(now, seq, sender, &pong),
            Some(Body::ProbeRequest(request)) => {
                indirect_probe::probe(now, &mut self.context(), from, sender, seq, &request);
                Ok(())
            }
            Some(Body::ProbeReport(report)) => {
                let (detection, mut ctx) = self.detection();
                detection.on_probe_report(now, &mut ctx, seq, told, &report)
            }
            Some(Body::Refusal(refusal)) => {
                self.on_refusal(now, from, &refusal, &packet.claims);
                Ok(())
            }
            Some(Body::Tally(tally)) => {
                self.hear_tally(now, sender, tally);
                Ok(())
            }
            // Who is there has been heard. The question is for nobody in particular, or of no use.
            Some(Body::Who(_) | Body::Here(_)) => Ok(()),
            Some(Body::Question(question)) => self.on_question(now, from, sender, seq, question),
            Some(Body::Answer(said)) => self.on_answer(now, from, sender, seq, said),
            Some(Body::Twin(said)) => {
                let taken_in = self.detection.footing.is_taken_in();
                let (gossip, mut ctx) = self.gossip();
                let letter = (from, packet.sender, seq);
                gossip.on_twin(now, &mut ctx, letter, said, packet.claims, taken_in);
                Ok(())
            }
        }
    }

    /// One step of a peer's exchange with us.
    fn on_exchange(
        &mut self,
        now: Instant,
        from: Sender,
        seq: u32,
        names_others: bool,
        exchange: &gossip::Exchange,
    ) -> Result<(), Rejected> {
        if exchange.step == 2 {
            self.on_ack(now, from.address, from.member, seq, names_others)?;
        }
        if exchange.step == 1 && from.member.is_some() {
            self.core.stats.calls_received += 1;
        }
        let (gossip, mut ctx) = self.gossip();
        let mut comparison = gossip.begin(now, &mut ctx, from, exchange);
        let pages = if comparison.over { &[] } else { exchange.pages.as_slice() };
        for page in pages {
            let returning: Vec<u64> = self.roster.returns.subjects().collect();
            let (gossip, detection, mut ctx) = self.parts();
            let is_probed = |subject| detection.is_probing(subject) || returning.contains(&subject);
            let none = detection.probes.is_empty() && returning.is_empty();
            let is_probed: Option<&IsProbed<'_>> = if none { None } else { Some(&is_probed) };
            let same = gossip.hear_page(now, &mut ctx, comparison.nominal, page, is_probed)?;
            // A member that this page refutes counts as alive when the page is compared.
            self.settle(now);
            let (gossip, mut ctx) = self.gossip();
            gossip.compare_page(now, &mut ctx, &mut comparison, page, same);
        }
        let (gossip, mut ctx) = self.gossip();
        let reply = gossip.end(now, &mut ctx, comparison, exchange);
        self.settle(now);
        let answers = exchange.step == 1 && self.core.suspended.is_none();
        let extras = if answers {
            self.acknowledge_with_extras(now, from.address, from.member)
        } else {
            AnswerExtras::default()
        };
        let (gossip, mut ctx) = self.gossip();
        gossip.answer(now, &mut ctx, from.address, (seq, exchange.step), reply, extras);
        Ok(())
    }

    fn on_ping(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        (seq, said): (u32, Option<gossip::Lease>),
        ping: &gossip::Ping,
    ) {
        if !indirect_probe::is_to_answer(&self.context(), seq, ping) {
            return;
        }
        // A sender that we do not know learns only that we are here.
        let about = if sender.is_some() { ping.about.as_slice() } else { &[] };
        let silences = self.quorum.silences(now, about, self.core.config.fence);
        let mut extras = self.acknowledge_with_extras(now, from, sender);
        let wave = said.filter(|said| said.wave > 0);
        if wave.is_some() {
            // It brings a proof and needs none.
            let mark =
                |lease: gossip::Lease| gossip::Lease { electorate: lease.electorate, ..Default::default() };
            extras.lease = extras.lease.map(mark);
        }
        let acknowledged = extras.lease.is_some();
        if let Some(sender) = sender
            && ping.path_from != 0
        {
            let (detection, mut ctx) = self.detection();
            extras.heard_ms = detection.asked_for(now, &mut ctx, ping.path_from);
            detection.look_for_joint(now, &mut ctx, sender, (ping.path_from, true));
            self.settle(now);
        }
        indirect_probe::answer_ping(now, &mut self.context(), from, seq, ping, silences, extras);
        if let (Some(said), Some(sender), true) = (wave, sender, acknowledged) {
            self.hear_wave(now, sender, seq, &said, ping.lead);
        }
    }

    /// What an answer to `asker` carries beside what was asked. Our vote is part of it, so with this call we acknowledge
    /// the asker as a member.
    fn acknowledge_with_extras(&mut self, now: Instant, to: SocketAddr, asker: Option<u64>) -> AnswerExtras {
        let lease = self.acknowledge(now, asker);
        let (detection, ctx) = self.detection();
        let claim = detection.what_stands_against(now, &ctx, to, asker);
        AnswerExtras { lease, claim, heard_ms: 0 }
    }

    /// How long a datagram from `sender` was under way, approximately.
    fn way(&self, sender: u64) -> Duration {
        let path = self.roster.get(sender).and_then(|member| member.path.rtt.smoothed());
        path.or(self.core.paths.smoothed()).unwrap_or_default() / 2
    }
}
