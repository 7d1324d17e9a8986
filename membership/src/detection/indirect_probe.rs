//! Probing for somebody else, and being probed.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Filler, gossip};

use crate::Instant;
use crate::identity::Generation;
use crate::io::Rejected;
use crate::node::Node;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::standing::Status;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::wire::{self, Detail};

impl Node {
    pub(crate) fn on_ping(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        seq: u32,
        ping: &gossip::Ping,
    ) {
        if ping.subject == self.core.me && seq != 0 && self.core.suspended.is_none() {
            // Strangers are told no more than that we are here.
            let about = if sender.is_some() { ping.about.as_slice() } else { &[] };
            let silences = self.quorum.silences(now, about, self.core.config.fence);
            let (bare, padding) = (ping.padding.is_empty(), ping.padding.clone());
            let mut packet = self.packet(seq, Some(Body::Pong(gossip::Pong { silences, padding })));
            packet.lease = self.acknowledge(now, sender);
            // What measures a path has no room for anything else.
            if bare && let Some(claim) = self.what_stands_against(now, from, sender) {
                let Ok(mut filler) = Filler::new(packet, self.packet_limit(from)) else { return };
                // Without room for it the answer itself still counts.
                let _ = filler.try_claim(claim);
                packet = filler.finish();
            }
            self.fit_padding(now, &mut packet);
            self.send(from, &packet);
        }
    }

    /// Whoever asks us is told what we hold against it: it may not have heard.
    pub(crate) fn what_stands_against(
        &self,
        now: Instant,
        to: SocketAddr,
        asker: Option<u64>,
    ) -> Option<gossip::Claim> {
        let asker = self.roster.get(asker?).filter(|m| m.hash() != self.core.me)?;
        let accused = asker.status != Status::Alive || !self.counts(asker);
        accused.then(|| self.claim(now, to, asker, Detail::Thin))
    }

    pub(crate) fn on_pong(&mut self, now: Instant, seq: u32, sender: Option<u64>) -> Result<(), Rejected> {
        let request = self.answered(now, seq, sender).ok_or(Rejected::Unexpected { what: "pong" })?;
        match (request.kind, request.subject) {
            (RequestKind::OnBehalf { asker, seq }, Some(subject)) => {
                self.report_on_behalf(now, asker, seq, subject, ERRAND_ANSWERED);
            }
            (RequestKind::Leave, _) => self.good_bye_heard(),
            (RequestKind::PathProbe { long }, _) => self.path_probe_answered(now, request.to, long),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn ask_helpers(&mut self, now: Instant, subject: u64, address: SocketAddr) {
        let me = self.core.me;
        let doubted: BTreeSet<u64> =
            self.detection.probes.keys().copied().filter(|hash| self.is_doubted(*hash)).collect();
        let fit = |m: &Member| {
            m.status == Status::Alive && m.hash() != me && m.hash() != subject && !doubted.contains(&m.hash())
        };
        let helpers: Vec<(u64, SocketAddr)> =
            peers::sample(&self.roster, &mut self.core.rng, self.core.config.helpers, fit)
                .into_iter()
                .map(|m| (m.hash(), m.incarnation.address()))
                .collect();
        for (helper, to) in helpers {
            // The helper waits for its own answer first: twice the patience.
            let deadline = now + self.core.patience(self.roster.get(helper)) * 3;
            let kind = RequestKind::Indirect { helper };
            let seq = self.transport.requests.open(Request {
                subject: Some(subject),
                to,
                sent: now,
                deadline,
                kind,
            });
            let request =
                gossip::ProbeRequest { subject, ip: wire::write_ip(address), port: address.port().into() };
            let packet = self.packet(seq, Some(Body::ProbeRequest(request)));
            self.core.stats.probe_requests += 1;
            self.send(to, &packet);
        }
    }

    /// Somebody asks us to probe a member for it.
    pub(crate) fn on_probe_request(
        &mut self,
        now: Instant,
        asker: SocketAddr,
        seq: u32,
        request: &gossip::ProbeRequest,
    ) {
        // Only members that we know, at the address that we know: nobody makes us call strangers.
        let Some(member) = self.roster.get(request.subject) else { return };
        let to = member.incarnation.address();
        if request.subject == self.core.me || seq == 0 {
            return;
        }
        self.ping(now, request.subject, to, RequestKind::OnBehalf { asker, seq });
    }

    pub(crate) fn on_probe_report(
        &mut self,
        now: Instant,
        seq: u32,
        told: Option<(u64, Generation)>,
        report: &gossip::ProbeReport,
    ) -> Result<(), Rejected> {
        let request = self.transport.requests.get(seq).copied();
        let Some(Request { kind: RequestKind::Indirect { helper }, subject: Some(subject), sent, .. }) =
            request
        else {
            return Err(Rejected::Unexpected { what: "probe report" });
        };
        self.transport.requests.answered(seq);
        self.detection.footing.answered(now);
        self.core.last_heard = now;
        self.core.health.probe_answered(now);
        match report.outcome {
            // The answer's heartbeat came along as a claim and has ended the probe if it is news.
            // Of another life than ours it is no answer: somebody else may have come to that name.
            ERRAND_ANSWERED => {
                let incarnation =
                    self.roster.get(subject).map(|member| (subject, member.incarnation.generation));
                if told == incarnation {
                    self.helper_heard(now, sent, subject);
                }
            }
            NACK_REFUSED | NACK_SILENT => {
                self.core.stats.nacks += 1;
                if report.outcome == NACK_REFUSED {
                    self.helper_refused(sent, subject);
                }
                let surprise = self.core.paths.surprise();
                if let Some(probe) = self.detection.probes.get_mut(&subject) {
                    probe.case.unanswered_by_helper(now, surprise);
                    probe.helped_by(helper);
                    self.rescore(now, subject);
                }
                self.believe_refusal(now, subject);
            }
            _ => return Err(Rejected::Unexpected { what: "probe outcome" }),
        }
        Ok(())
    }

    pub(crate) fn report_on_behalf(
        &mut self,
        now: Instant,
        asker: SocketAddr,
        seq: u32,
        subject: u64,
        outcome: u32,
    ) {
        let report = gossip::ProbeReport { subject, outcome };
        let Some(mut filler) = self.filler(asker, seq, Some(Body::ProbeReport(report))) else { return };
        if outcome == ERRAND_ANSWERED
            && let Some(member) = self.roster.get(subject)
        {
            let _ = filler.try_claim(self.claim(now, asker, member, Detail::Thin));
        }
        self.send(asker, &filler.finish());
    }
}

/// Outcomes of an errand on the wire.
pub const NACK_SILENT: u32 = 0;
const ERRAND_ANSWERED: u32 = 1;
pub const NACK_REFUSED: u32 = 2;
