//! Indirect probes (SWIM's ping-req): asks helpers to probe a member, probes on behalf of others, and answers probes.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Filler, gossip};

use crate::Instant;
use crate::detection::Detection;
use crate::detection::loss_outcomes::LossOutcomes;
use crate::identity::Generation;
use crate::io::Rejected;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::standing::Status;
use crate::transport::addresses::{Addresses, Credit};
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::sending::{AnswerExtras, PingExtras};
use crate::transport::wire::{self, Detail};

impl Detection {
    /// Whether a member counts here: it is neither down nor left, nor about to be quarantined.
    pub fn counts(&self, member: &Member) -> bool {
        member.is_present() && !self.damping.has_notice(member)
    }

    /// Our accusations against a member that asks us, which may not have heard of them.
    pub fn what_stands_against(
        &self,
        now: Instant,
        ctx: &Context<'_>,
        to: SocketAddr,
        asker: Option<u64>,
    ) -> Option<gossip::Claim> {
        let asker = ctx.roster.get(asker?).filter(|m| m.hash() != ctx.core.me)?;
        let accused = asker.status != Status::Alive || !self.counts(asker);
        accused.then(|| ctx.claim(now, to, asker, Detail::Thin))
    }

    /// A helper has not even sent a nack.
    pub fn helper_silent(&mut self, now: Instant, ctx: &mut Context<'_>, helper: u64, subject: Option<u64>) {
        let alive = ctx.roster.get(helper).is_some_and(|m| m.status == Status::Alive);
        if alive && !self.is_doubted(helper) {
            ctx.core.health.nack_missing(now, ctx.core.loss.share());
        }
        if let Some(subject) = subject {
            self.believe_refusal(now, ctx, subject);
        }
    }

    /// `path`: the member is known to live, and the path to it is in doubt.
    pub fn ask_helpers(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        subject: u64,
        address: SocketAddr,
        count: usize,
        path: bool,
    ) {
        let (me, addresses) = (ctx.core.me, &ctx.transport.addresses);
        let fit = |m: &Member| m.hash() != me && self.can_help(now, addresses, subject, m);
        let helpers: Vec<(u64, SocketAddr)> = peers::sample(ctx.roster, &mut ctx.core.rng, count, fit)
            .into_iter()
            .map(|m| (m.hash(), m.incarnation.address()))
            .collect();
        let probe = self.probes.get(&subject).filter(|_| !path);
        let after = probe.and_then(|probe| probe.since_loss(now));
        for helper in helpers {
            Self::ask_helper(now, ctx, (subject, address), helper, (path, after));
        }
    }

    /// Whether another member can look at `subject` for us.
    pub fn can_help(&self, now: Instant, addresses: &Addresses, subject: u64, helper: &Member) -> bool {
        helper.status == Status::Alive
            && addresses.reaches(now, helper)
            && helper.hash() != subject
            && !self.is_doubted(helper.hash())
            && !self.direct_paths.is_down(helper.hash())
    }

    /// Asks one helper. `after`: since when we lose our own questions, if its answer teaches us something about losses.
    pub fn ask_helper(
        now: Instant,
        ctx: &mut Context<'_>,
        (subject, address): (u64, SocketAddr),
        (helper, to): (u64, SocketAddr),
        (path, after): (bool, Option<Duration>),
    ) {
        // The helper waits for its own answer first, which takes up to twice the patience.
        let deadline = now + ctx.core.patience(ctx.roster.get(helper)) * 3;
        let kind = RequestKind::Indirect { helper, after };
        let request = Request { subject: Some(subject), to, sent: now, deadline, kind };
        let seq = ctx.transport.requests.open(request);
        let (ip, port) = (wire::write_ip(address), address.port().into());
        let request = gossip::ProbeRequest { subject, ip, port, path };
        let packet = ctx.packet(seq, Some(Body::ProbeRequest(request)));
        ctx.core.stats.probe_requests += 1;
        ctx.send(to, &packet);
    }

    pub fn on_probe_report(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        seq: u32,
        told: Option<(u64, Generation)>,
        report: &gossip::ProbeReport,
    ) -> Result<(), Rejected> {
        let request = ctx.transport.requests.get(seq).copied();
        let Some(Request {
            kind: RequestKind::Indirect { helper, after }, subject: Some(subject), sent, ..
        }) = request
        else {
            return Err(Rejected::Unexpected { what: "probe report" });
        };
        ctx.transport.requests.answered(seq);
        self.footing.answered(now);
        ctx.core.last_heard = now;
        ctx.core.health.probe_answered(now);
        let outcome = ProbeOutcome::read(report.outcome);
        match outcome.ok_or(Rejected::Unexpected { what: "probe outcome" })? {
            // The answer's heartbeat came along as a claim and ends the probe if it is newer. An answer from another
            // incarnation than ours does not count: another process may have taken the name.
            ProbeOutcome::Answered => {
                let incarnation =
                    ctx.roster.get(subject).map(|member| (subject, member.incarnation.generation));
                if told == incarnation {
                    if let Some(lag) = after {
                        let probe = self.probes.get(&subject);
                        let outcomes = probe.map_or_else(LossOutcomes::default, |p| p.of_helpers);
                        outcomes.answered(lag, &mut ctx.core.loss_of_helper);
                    }
                    self.helper_heard(now, ctx, sent, subject);
                    self.reached_through(now, ctx, helper, subject, sent, report.heard_ms);
                    if let Some(bridge) = self.damping.bridge(subject) {
                        bridge.note(now, helper, true);
                    }
                }
            }
            outcome @ (ProbeOutcome::Refused | ProbeOutcome::Silent) => {
                ctx.core.stats.nacks += 1;
                if let Some(bridge) = self.damping.bridge(subject) {
                    bridge.note(now, helper, false);
                }
                if outcome == ProbeOutcome::Refused {
                    self.helper_refused(sent, subject);
                }
                let (loss, of_helper) = (ctx.core.loss, ctx.core.loss_of_helper);
                let alive = ctx.roster.get(subject).is_some_and(|m| m.status == Status::Alive);
                match (self.probes.get_mut(&subject), after) {
                    (Some(probe), Some(lag)) => probe.of_helpers.lost(lag),
                    // It was heard in the meantime.
                    (None, Some(lag)) if alive => ctx.core.loss_of_helper.learn(lag, true),
                    (_, _) => {}
                }
                if let Some(probe) = self.probes.get_mut(&subject) {
                    probe.lost_by_helper(now, after, &loss, &of_helper);
                    probe.helped_by(helper);
                    self.rescore(now, ctx, subject);
                }
                self.believe_refusal(now, ctx, subject);
            }
        }
        Ok(())
    }
}

/// Whether this ping is for us and we may answer it.
pub fn is_to_answer(ctx: &Context<'_>, seq: u32, ping: &gossip::Ping) -> bool {
    ping.subject == ctx.core.me && seq != 0 && ctx.core.suspended.is_none()
}

/// Answers a ping.
pub fn answer_ping(
    now: Instant,
    ctx: &mut Context<'_>,
    from: SocketAddr,
    seq: u32,
    ping: &gossip::Ping,
    silences: Vec<gossip::Silence>,
    extras: AnswerExtras,
) {
    let padding = ping.padding.clone();
    let pong = gossip::Pong { silences, padding, heard_ms: extras.heard_ms };
    let mut packet = ctx.packet(seq, Some(Body::Pong(pong)));
    packet.lease = extras.lease;
    // A ping that measures a path has no room for anything else.
    if let Some(claim) = extras.claim.filter(|_| ping.padding.is_empty()) {
        let Ok(mut filler) = Filler::new(packet, ctx.packet_limit(from)) else { return };
        // If there is no room, the answer itself still counts.
        let _ = filler.try_claim(claim);
        packet = filler.finish();
    }
    ctx.fit_padding(now, &mut packet);
    ctx.send(from, &packet);
}

/// Probes another member on behalf of `asker`, whose address is `to_answer`.
pub fn probe(
    now: Instant,
    ctx: &mut Context<'_>,
    to_answer: SocketAddr,
    asker: Option<u64>,
    seq: u32,
    request: &gossip::ProbeRequest,
) {
    // Only members that we know, at the address that we know: a peer cannot make us call strangers.
    let Some(member) = ctx.roster.get(request.subject) else { return };
    let to = member.incarnation.address();
    let proven = ctx.transport.addresses.is_proven(now, to_answer);
    if request.subject != ctx.core.me && seq != 0 && ctx.transport.helped.takes(now, to_answer, proven) {
        let path_from = asker.filter(|_| request.path).unwrap_or(0);
        let extras = PingExtras { path_from, ..PingExtras::default() };
        let room = ctx.transport.addresses.defer_credit();
        let member = asker.unwrap_or(0);
        let kind = RequestKind::OnBehalf { asker: to_answer, member, seq, room };
        ctx.ping_with(now, request.subject, to, kind, extras);
    }
}

/// Reports the outcome of a probe to the member that asked for it, and what the subject said of that member. `room`: how
/// long the report may be if the asker has not proven its address.
pub fn report(
    now: Instant,
    ctx: &mut Context<'_>,
    (asker, seq, room): (SocketAddr, u32, u16),
    subject: u64,
    outcome: ProbeOutcome,
    heard_ms: u32,
) {
    let credit = ctx.transport.addresses.swap_credit(Credit::later(asker, room));
    send_report(now, ctx, (asker, seq), subject, outcome, heard_ms);
    ctx.transport.addresses.swap_credit(credit);
}

fn send_report(
    now: Instant,
    ctx: &mut Context<'_>,
    (asker, seq): (SocketAddr, u32),
    subject: u64,
    outcome: ProbeOutcome,
    heard_ms: u32,
) {
    let report = gossip::ProbeReport { subject, outcome: outcome as u32, heard_ms };
    let Some(mut filler) = ctx.filler(asker, seq, Some(Body::ProbeReport(report))) else { return };
    if outcome == ProbeOutcome::Answered
        && let Some(member) = ctx.roster.get(subject)
    {
        let _ = filler.try_claim(ctx.claim(now, asker, member, Detail::Thin));
    }
    ctx.send(asker, &filler.finish());
}

/// The outcome of a probe on behalf of another member; the numbers are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// No answer in time: a nack.
    Silent = 0,
    /// The member answered.
    Answered = 1,
    /// The kernel of its host refused the ping.
    Refused = 2,
}

impl ProbeOutcome {
    fn read(outcome: u32) -> Option<Self> {
        [Self::Silent, Self::Answered, Self::Refused].into_iter().find(|known| *known as u32 == outcome)
    }
}
