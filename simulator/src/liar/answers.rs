//! Wrong answers to what the liar is asked.

use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{Claim, Lease, Packet, Pong, ProbeReport, Silence, Supply};

use super::forgery::{Letter, about, in_full, saying};
use super::{Liar, Lie};

impl Liar {
    /// What it answers to a question of `from`, beside its own machine.
    pub(super) fn answer(&mut self, lie: Lie, from: usize, asked: &Packet) -> Vec<Letter> {
        let seq = asked.seq;
        if seq == 0 {
            return Vec::new();
        }
        match (lie, &asked.body) {
            (Lie::Lend, Some(Body::Ping(_) | Body::Exchange(_))) => self.lend(from, seq),
            (Lie::Vote, Some(Body::Ping(_) | Body::Exchange(_))) => self.vote(from, seq),
            (Lie::Fence, Some(Body::Ping(ping))) if !ping.about.is_empty() => {
                let silence = |subject: &u64| Silence { subject: *subject, silent_ms: AN_HOUR_MS };
                let silences = ping.about.iter().map(silence).collect();
                let pong = Pong { silences, ..Pong::default() };
                self.letter(from, self.me, saying(seq, Body::Pong(pong))).into_iter().collect()
            }
            (Lie::Vouch, Some(Body::ProbeRequest(request))) => self.report(from, seq, request.subject, 1),
            (Lie::Deny, Some(Body::ProbeRequest(request))) => {
                let outcome = [0, 2, 2][self.dice.below(3)];
                self.report(from, seq, request.subject, outcome)
            }
            (Lie::Supply, Some(Body::Pull(pull))) => self.supply(from, seq, pull.from),
            _ => Vec::new(),
        }
    }

    /// A lease as good as can be.
    pub(super) fn lease(&mut self) -> Lease {
        let all = u32::try_from(self.others().len() + 1).unwrap_or(u32::MAX);
        Lease {
            electorate: self.memory.electorate,
            age_ms: 1 + [0, 1, 300][self.dice.below(3)],
            present: all,
            ..Lease::default()
        }
    }

    fn lend(&mut self, from: usize, seq: u32) -> Vec<Letter> {
        let lease = Some(self.lease());
        let packet = Packet { lease, ..saying(seq, Body::Pong(Pong::default())) };
        self.letter(from, self.me, packet).into_iter().collect()
    }

    /// An answer of each other, to this question and to the next ones.
    fn vote(&mut self, from: usize, seq: u32) -> Vec<Letter> {
        let mut letters = Vec::new();
        for other in self.some(from) {
            for seq in [seq, seq.wrapping_add(1), seq.wrapping_sub(1)] {
                let lease = Some(self.lease());
                let packet = Packet { lease, ..saying(seq, Body::Pong(Pong::default())) };
                letters.extend(self.letter(from, other, packet));
            }
        }
        letters
    }

    /// As a helper: the subject has answered, or was refused.
    fn report(&mut self, from: usize, seq: u32, subject: u64, outcome: u32) -> Vec<Letter> {
        let report = Body::ProbeReport(ProbeReport { subject, outcome, heard_ms: 1 });
        let is_subject = |member: &usize| self.known(*member).record.is_some_and(|r| r.subject == subject);
        let known = self.others().into_iter().find(is_subject).map(|member| self.known(member));
        let claim = known.as_ref().and_then(about).filter(|_| outcome == 1);
        let claims = claim.map(|claim| Claim { heartbeat: claim.heartbeat + 3, ..claim });
        let packet = Packet { claims: claims.into_iter().collect(), ..saying(seq, report) };
        self.letter(from, self.me, packet).into_iter().collect()
    }

    /// "That is all", with nobody, or with one that left.
    fn supply(&mut self, from: usize, seq: u32, range: u64) -> Vec<Letter> {
        let members = [0, 1, u32::MAX][self.dice.below(3)];
        let next = [0, range.wrapping_add(1), u64::MAX][self.dice.below(3)];
        let some = self.some(from);
        let claims = some.iter().filter_map(|member| in_full(&self.known(*member)));
        let claims = claims.map(|claim| Claim { left: true, ..claim }).take(2).collect();
        let body = Body::Supply(Supply { from: range, next, members });
        self.letter(from, self.me, Packet { claims, ..saying(seq, body) }).into_iter().collect()
    }
}

const AN_HOUR_MS: u32 = 3_600_000;
