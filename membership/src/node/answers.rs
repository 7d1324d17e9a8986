//! What happens with an answer to one of our requests, and with a request that stays unanswered. Each is handed to the
//! part that sent the request.

use core::net::SocketAddr;

use heartsay_proto::gossip;

use crate::Instant;
use crate::detection::indirect_probe::{self, ProbeOutcome};
use crate::gossip::takeover::Answer;
use crate::io::Rejected;
use crate::node::Node;
use crate::roster::member::Member;
use crate::transport::requests::{Request, RequestKind};

impl Node {
    /// An answer to request `seq` came from `sender`. It measures the path and ends a probe of the sender. An answer
    /// counts only if its incarnation is the one we asked: a process at the address of a dead member, under its name or
    /// another, must not keep that member alive.
    pub(crate) fn answered(&mut self, now: Instant, seq: u32, sender: Option<u64>) -> Option<Request> {
        let asked = self.transport.requests.get(seq)?;
        if asked.subject.is_some() && asked.subject != sender || asked.kind == RequestKind::CloneProbe {
            return None;
        }
        let request = self.transport.requests.answered(seq)?;
        let (detection, mut ctx) = self.detection();
        ctx.note_passage(now, seq, &request);
        detection.on_answer(now, &mut ctx, &request);
        self.settle(now);
        Some(request)
    }

    /// A peer answered step 1 of our exchange.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        seq: u32,
        names_others: bool,
    ) -> Result<(), Rejected> {
        let Some(request) = self.answered(now, seq, sender) else {
            // The answer comes from another incarnation than the one we asked. The exchange itself will tell which one
            // it is.
            let stays_open = self.transport.requests.get(seq).is_some();
            return if stays_open { Ok(()) } else { Err(Rejected::Unexpected { what: "ack" }) };
        };
        if request.kind == RequestKind::Dial {
            let (gossip, mut ctx) = self.gossip();
            gossip.dial_answered(now, &mut ctx, Some(from).filter(|_| !names_others));
        }
        Ok(())
    }

    pub(crate) fn on_pong(
        &mut self,
        now: Instant,
        seq: u32,
        sender: Option<u64>,
        pong: &gossip::Pong,
    ) -> Result<(), Rejected> {
        let asked = self.transport.requests.get(seq).copied();
        if let Some(request) = asked.filter(|request| request.kind == RequestKind::CloneProbe) {
            self.transport.requests.answered(seq);
            let (gossip, mut ctx) = self.gossip();
            gossip.clone_proven(now, &mut ctx, request.to);
            return Ok(());
        }
        let request = self.answered(now, seq, sender).ok_or(Rejected::Unexpected { what: "pong" })?;
        match (request.kind, request.subject) {
            (RequestKind::OnBehalf { asker, member, seq, room }, Some(subject)) => {
                let (detection, mut ctx) = self.detection();
                detection.look_for_joint(now, &mut ctx, subject, (member, true));
                detection.look_for_joint(now, &mut ctx, member, (subject, true));
                self.settle(now);
                let (outcome, heard_ms) = (ProbeOutcome::Answered, pong.heard_ms);
                let to = (asker, seq, room);
                indirect_probe::report(now, &mut self.context(), to, subject, outcome, heard_ms);
            }
            // Only a ping had room there until now.
            (RequestKind::Exchange, Some(subject)) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.open_exchange(now, &mut ctx, subject);
            }
            (RequestKind::Pull { part, .. }, _) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.pull_proven(now, &mut ctx, part, request.to);
            }
            (RequestKind::Leave, _) => self.gossip.good_bye_heard(),
            (RequestKind::PathProbe { long }, _) => self.context().path_probe_answered(now, request.to, long),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn on_supply(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        seq: u32,
        supply: &gossip::Supply,
    ) -> Result<(), Rejected> {
        let request = self.answered(now, seq, sender).ok_or(Rejected::Unexpected { what: "supply" })?;
        let (gossip, mut ctx) = self.gossip();
        gossip.on_supply(now, &mut ctx, from, &request, supply)
    }

    /// Requests whose time is up.
    pub(crate) fn expire_requests(&mut self, now: Instant) {
        for (request, left) in self.transport.requests.expired(now) {
            if matches!(request.kind, RequestKind::Question(_)) {
                // Earlier software does not answer it.
                continue;
            }
            if left {
                self.detection.footing.unanswered(request.sent);
            }
            self.transport.lives.miss(request.to);
            self.unanswered(now, &request);
        }
    }

    fn unanswered(&mut self, now: Instant, request: &Request) {
        let (detection, mut ctx) = self.detection();
        if request.kind.is_direct()
            && let Some(subject) = request.subject
        {
            ctx.core.joints.missed(subject);
        }
        if request.kind.is_direct()
            && request.kind != RequestKind::JointProbe
            && let Some(subject) = request.subject
        {
            detection.path_unanswered(now, &mut ctx, subject, request);
        }
        match (request.kind, request.subject) {
            (RequestKind::Exchange | RequestKind::ExtraProbe | RequestKind::Probe { .. }, Some(subject)) => {
                detection.on_silence(now, &mut ctx, subject, request);
            }
            (RequestKind::LinkProbe, Some(subject)) => {
                detection.link_probe_unanswered(&mut ctx, subject, request.sent);
            }
            (RequestKind::OnBehalf { asker, seq, room, .. }, Some(subject)) => {
                let to = (asker, seq, room);
                indirect_probe::report(now, &mut ctx, to, subject, ProbeOutcome::Silent, 0);
            }
            (RequestKind::Indirect { helper, .. }, subject) => {
                detection.helper_silent(now, &mut ctx, helper, subject);
            }
            (RequestKind::Pull { part, .. }, _) => {
                ctx.doubt_answers(now, request.to);
                let (gossip, mut ctx) = self.gossip();
                gossip.pull_unanswered(now, &mut ctx, part);
            }
            (RequestKind::PathProbe { long: true }, _) => ctx.path_probe_lost(now, request.to),
            (RequestKind::CloneProbe, _) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.clone_unanswered(now, &mut ctx);
            }
            // The lease asks again by itself. This is about the member.
            (RequestKind::Lease | RequestKind::Wave, Some(subject)) => {
                if self.quorum.misses_again(now, subject, self.core.config.lease()) {
                    let (detection, mut ctx) = self.detection();
                    detection.on_missing_proof(now, &mut ctx, subject);
                }
            }
            (
                RequestKind::Exchange
                | RequestKind::ExtraProbe
                | RequestKind::Probe { .. }
                | RequestKind::LinkProbe
                | RequestKind::Lease
                | RequestKind::Wave
                | RequestKind::OnBehalf { .. },
                None,
            )
            | (
                RequestKind::Leave
                | RequestKind::Dial
                | RequestKind::Source
                | RequestKind::Question(_)
                | RequestKind::ReachProbe
                | RequestKind::JointProbe
                | RequestKind::PathProbe { long: false }
                // It is repeated by a timer of its own.
                | RequestKind::Takeover,
                _,
            ) => {}
        }
        self.settle(now);
    }

    /// An ICMP message says that no process listens at `to`, and quotes the datagram that was refused. A message that
    /// quotes no open request is ignored: any host can forge it. The request then stays open until its deadline.
    pub(crate) fn on_refused(&mut self, now: Instant, to: SocketAddr, quoted: &[u8]) {
        let Some(head) = quoted.first_chunk() else {
            self.core.stats.refusals_cut += 1;
            return;
        };
        let Some(request) = self.transport.requests.refused(to, head) else {
            self.core.stats.refusals_unproven += 1;
            return;
        };
        self.core.stats.refusals += 1;
        self.transport.lives.miss(to);
        // A refusal by a helper's host says nothing about the member that the helper was asked to probe.
        let asked = request.subject.filter(|_| !matches!(request.kind, RequestKind::Indirect { .. }));
        let incarnation = asked.and_then(|subject| self.roster.get(subject)).map(Member::tag);
        if incarnation.is_some_and(|tag| self.detection.refusals.says_nothing(now, tag)) {
            self.unanswered(now, &request);
        } else {
            self.refused(now, &request);
        }
    }

    fn refused(&mut self, now: Instant, request: &Request) {
        if let (RequestKind::Takeover, Some(subject)) = (request.kind, request.subject) {
            self.settle_takeover(now, subject, request.sent, Answer::Refused);
            return;
        }
        let (detection, mut ctx) = self.detection();
        match (request.kind, request.subject) {
            (RequestKind::OnBehalf { asker, seq, room, .. }, Some(subject)) => {
                let to = (asker, seq, room);
                indirect_probe::report(now, &mut ctx, to, subject, ProbeOutcome::Refused, 0);
                detection.refused_by(now, &mut ctx, subject, request.sent);
            }
            (
                RequestKind::Exchange
                | RequestKind::ExtraProbe
                | RequestKind::Probe { .. }
                | RequestKind::LinkProbe
                | RequestKind::ReachProbe
                | RequestKind::Lease
                | RequestKind::Wave,
                Some(subject),
            ) => detection.refused_by(now, &mut ctx, subject, request.sent),
            (RequestKind::PathProbe { long: true }, _) => ctx.path_probe_lost(now, request.to),
            (RequestKind::CloneProbe, _) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.clone_is_past(&mut ctx);
            }
            // A dial is repeated when its time comes, and a good-bye may go to any peer that is there.
            _ => {}
        }
    }
}
