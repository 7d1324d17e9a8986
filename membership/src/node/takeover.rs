//! Asks before a later life of a member that is present takes its place; see [`crate::gossip::takeover`].

use core::net::SocketAddr;

use heartsay_proto::{Message, gossip};

use crate::Instant;
use crate::gossip::takeover::{Answer, Outcome, Question, Teller, Weighed};
use crate::io::Rejected;
use crate::node::Node;
use crate::roster::claim::Claim;
use crate::roster::incarnation::Incarnation;
use crate::roster::standing::Status;
use crate::roster::{duplicate, keeps_its_name};
use crate::transport::addresses::Credit;
use crate::transport::requests::RequestKind;
use crate::transport::wire;

impl Node {
    /// What has to be known before a claim counts. `None`: nothing, the order of claims decides.
    fn question_about(&self, now: Instant, claim: &Claim) -> Option<Question> {
        let later = claim.incarnation.as_ref().filter(|_| !claim.forgotten)?;
        let member = self.roster.get(claim.subject).filter(|member| member.hash() != self.core.me)?;
        let earlier = &member.incarnation;
        if later.generation <= earlier.generation || matches!(member.status, Status::Down | Status::Left) {
            return None;
        }
        if later.host_id == earlier.host_id || !keeps_its_name(now, member, &claim.standing) {
            // Of a member that has never answered from there we have no more than hearsay either.
            let is_home = self.transport.addresses.is_home(now, earlier.address(), earlier.hash);
            return is_home.then(|| Question::IsEarlierThere(earlier.tag, earlier.address()));
        }
        later.is_before(earlier).then(|| Question::IsLaterThere(later.address()))
    }

    /// Holds a claim back until its question is answered. Returns a claim that counts.
    ///
    /// # Errors
    /// The name is held by another process.
    pub(super) fn weigh_takeover(
        &mut self,
        now: Instant,
        teller: Teller,
        claim: Claim,
    ) -> Result<Option<Claim>, Rejected> {
        let (Some(question), Some(later)) = (self.question_about(now, &claim), &claim.incarnation) else {
            return Ok(Some(claim));
        };
        let (subject, life, generation) = (claim.subject, later.tag, later.generation);
        match self.gossip.takeovers.weigh(now, subject, life) {
            Weighed::Counts => return Ok(Some(claim)),
            Weighed::Refused => {
                if let Some(holder) = self.roster.get(subject) {
                    return Err(duplicate(holder, later.host_id));
                }
            }
            Weighed::TooSoon => {}
            Weighed::Waits => {
                let (gossip, mut ctx) = self.gossip();
                if let Some(held) = gossip.hold_takeover(now, &mut ctx, (subject, life, generation), question)
                {
                    held.hearsay = Some((teller, claim));
                }
            }
        }
        Ok(None)
    }

    /// Holds a datagram back that a later life of a member has sent us itself, until its question is answered.
    pub(super) fn hold_letter(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &mut gossip::Packet,
    ) -> bool {
        if self.roster.by_tag(packet.sender).is_some() {
            return false;
        }
        let known = |claim: &&gossip::Claim| claim.body.is_some() && self.roster.get(claim.subject).is_some();
        let told = packet.claims.iter().filter(known);
        let mut own = told.filter_map(|claim| wire::read_claim(now, claim.clone()).ok());
        let tag = |claim: &Claim| claim.incarnation.as_ref().map(|later| (later.tag, later.generation));
        let Some(claim) = own.find(|claim| tag(claim).is_some_and(|(tag, _)| tag == packet.sender)) else {
            return false;
        };
        let (Some(question), Some((life, generation))) = (self.question_about(now, &claim), tag(&claim))
        else {
            return false;
        };
        if self.check_plausible(now, &claim).is_err()
            || self.gossip.takeovers.weigh(now, claim.subject, life) != Weighed::Waits
        {
            return false;
        }
        let (gossip, mut ctx) = self.gossip();
        let Some(held) = gossip.hold_takeover(now, &mut ctx, (claim.subject, life, generation), question)
        else {
            return false;
        };
        // A question of its own comes first. What follows it repeats itself.
        held.letter.get_or_insert_with(|| (from, core::mem::take(packet)));
        true
    }

    /// Whether another host that others hold for the member of our name answers us. If we do not know, it is asked.
    pub(super) fn rival_is_there(
        &mut self,
        now: Instant,
        teller: Teller,
        rival: &Incarnation,
        claim: &Claim,
    ) -> bool {
        let me = self.core.me;
        match self.gossip.takeovers.weigh(now, me, rival.tag) {
            Weighed::Counts => return true,
            Weighed::Refused | Weighed::TooSoon => {}
            Weighed::Waits => {
                let question = Question::IsLaterThere(rival.address());
                let (gossip, mut ctx) = self.gossip();
                let life = (me, rival.tag, rival.generation);
                if let Some(held) = gossip.hold_takeover(now, &mut ctx, life, question) {
                    held.hearsay = Some((teller, claim.clone()));
                }
            }
        }
        false
    }

    /// Whether this answers a question about a later life. `life`: the tag of its sender.
    pub(super) fn answers_takeover(&mut self, now: Instant, seq: u32, life: u64) -> bool {
        let request = self.transport.requests.get(seq).filter(|r| r.kind == RequestKind::Takeover).copied();
        let Some(request) = request else { return false };
        self.transport.requests.answered(seq);
        if let Some(subject) = request.subject {
            self.settle_takeover(now, subject, request.sent, Answer::Life(life));
        }
        true
    }

    pub(super) fn step_takeovers(&mut self, now: Instant) {
        let (gossip, mut ctx) = self.gossip();
        for subject in gossip.step_takeovers(now, &mut ctx) {
            self.settle_takeover(now, subject, now, Answer::Nothing);
        }
    }

    /// What was asked about a name is known, or will not be.
    pub(super) fn settle_takeover(&mut self, now: Instant, subject: u64, sent: Instant, answer: Answer) {
        let Some((takeover, outcome)) = self.gossip.takeovers.settle(now, subject, sent, answer) else {
            return;
        };
        // Only the life that was asked about has been shown to be over.
        let is_known = |life| self.roster.get(subject).is_some_and(|member| member.tag() == life);
        let is_other = matches!(takeover.question, Question::IsEarlierThere(life, _) if !is_known(life));
        if outcome == Outcome::Dropped || is_other {
            return;
        }
        self.gossip.takeovers.grant(Some(takeover.life).filter(|_| outcome == Outcome::Granted));
        // Its sender, if it is refused, hears of that now.
        if let Some((from, mut packet)) = takeover.letter {
            let credit = Credit::of(from, packet.encoded_len() + self.context().frame());
            let credit = self.transport.addresses.swap_credit(credit);
            let result = self.on_packet(now, from, &mut packet);
            self.transport.addresses.swap_credit(credit);
            self.count_rejected(result);
        }
        if let Some((teller, claim)) = takeover.hearsay {
            let result = self.take_claim(now, teller, claim);
            self.count_rejected(result.map(drop));
        }
        self.gossip.takeovers.grant(None);
        self.settle(now);
    }

    /// What was held back may be wrong. That is no fault of the input in hand.
    fn count_rejected(&mut self, result: Result<(), Rejected>) {
        if let Err(rejected) = result {
            *self.core.stats.rejected.entry(rejected.reason()).or_default() += 1;
        }
    }
}
