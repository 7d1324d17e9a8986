//! What a node does with the claims of others: merge them, report the change, pass it on, and correct a sender that is
//! out of date.

use core::net::SocketAddr;
use std::borrow::Cow;

use heartsay_proto::gossip;

use crate::Instant;
use crate::detection::flap_damping::FARTHEST_TESTIMONY;
use crate::gossip::takeover::Teller;
use crate::gossip::{beacon, restart};
use crate::identity::{Generation, Heartbeat, Name};
use crate::io::{Event, MemberEvent, MemberEventKind, Rejected};
use crate::node::Node;
use crate::roster::Change;
use crate::roster::claim::{Claim, heartbeat_limit, version_limit};
use crate::roster::incarnation::Schedule;
use crate::roster::member::Member;
use crate::roster::standing::{Marks, Status};
use crate::roster::state::{BEACON_KEY, KeyChange, QUORUM_KEY};
use crate::transport::requests::{Request, RequestKind};
use crate::transport::wire::{self, Detail};

impl Node {
    /// Takes the claims of a datagram. A refused claim does not stop the others; the first refusal is the one returned.
    pub(crate) fn on_claims(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &mut gossip::Packet,
    ) -> Result<(), Rejected> {
        // The claims of a refusal, and of a twin, are needed once more below.
        let sender = packet.sender;
        let again =
            matches!(packet.body, Some(gossip::packet::Body::Refusal(_) | gossip::packet::Body::Twin(_)));
        // What a newcomer pulls is old news to all others.
        let pass_on = !matches!(packet.body, Some(gossip::packet::Body::Supply(_)));
        let asked = !pass_on && self.transport.requests.get(packet.seq).is_some_and(Request::is_pull);
        let mut first_refusal = Ok(());
        let mut outdated = Vec::new();
        let take = |claim: &mut gossip::Claim| if again { claim.clone() } else { core::mem::take(claim) };
        let claims = packet.claims.iter_mut().map(|claim| wire::read_claim(now, take(claim)));
        let claims: Vec<Result<Claim, Rejected>> = claims.collect();
        if claims.len() > 1 {
            let subjects: Vec<u64> = claims.iter().flatten().map(|claim| claim.subject).collect();
            self.roster.touch(&subjects);
        }
        for claim in claims {
            let taken = claim.and_then(|claim| {
                let unaware = restart::is_unaware(&self.roster, &claim);
                let subject = claim.subject;
                let own_word =
                    claim.incarnation.as_ref().is_some_and(|incarnation| incarnation.tag == sender);
                let teller = Teller { from, pass_on, asked, own_word };
                let result = self.take_claim(now, teller, claim);
                // A refusal is never refused in turn, or the two sides would go on without end.
                if let Err(refused) = &result
                    && own_word
                    && !again
                {
                    self.refuse_newcomer(now, from, subject, refused);
                }
                let change = result?;
                Ok((subject, if unaware { Change::Stale } else { change }))
            });
            match taken {
                Ok((subject, Change::Stale)) => outdated.push(subject),
                Ok(_) => {}
                Err(refused) => {
                    if first_refusal.is_ok() {
                        first_refusal = Err(refused);
                    }
                }
            }
        }
        // A peer that refuses our incarnation shows the one it holds instead. Answering with ours would be refused
        // again, without end.
        if !again {
            self.set_right(now, from, &outdated);
        }
        first_refusal
    }

    /// A datagram came straight from `sender`.
    pub(crate) fn heard(&mut self, now: Instant, sender: u64, heartbeat: u64) {
        self.core.last_heard = now;
        let limit = self.core.plausible_heartbeat(now, &self.roster, sender);
        let Some(mut member) = self.roster.get_mut(sender) else { return };
        let path = &mut member.path;
        path.heard(now);
        // Hearing a member does not prove that it hears us; only an answer does.
        let doubtful = !*path.reachable.get_or_insert(true);
        let to = member.incarnation.address();
        let newer = heartbeat <= limit && member.advance(now, heartbeat, &self.core.config.detector);
        drop(member);
        if newer {
            self.after_heartbeat(now, sender);
        }
        self.show_return(now, sender);
        if doubtful && self.gossip.leave.is_none() && self.detection.probe_budget.take(now, 1) {
            self.context().ping(now, sender, to, RequestKind::LinkProbe);
        }
    }

    pub(super) fn take_claim(
        &mut self,
        now: Instant,
        teller: Teller,
        mut claim: Claim,
    ) -> Result<Change, Rejected> {
        let Teller { from, pass_on, asked, .. } = teller;
        let subject = claim.subject;
        self.prove_last_words(&mut claim);
        self.cut_verdict_on_a_speaker(now, &mut claim);
        self.cut_marks_too_far_ahead(now, &mut claim);
        let limit = version_limit(self.core.unix_ms(now), claim.generation);
        // Only the state: what else the claim says may be true.
        claim.delta = claim.delta.filter(|delta| delta.highest() <= limit);
        if subject == self.core.me {
            let mine = self.roster.myself().incarnation.host_id;
            return match claim.incarnation.as_ref().filter(|incarnation| incarnation.host_id != mine) {
                // Never answer with our own record: it would be refused again, without end.
                Some(incarnation) => self.on_claim_to_our_name(now, teller, incarnation, &claim),
                None => Ok(self.on_own_claim(now, &claim)),
            };
        }
        self.check_plausible(now, &claim)?;
        let proven = self.transport.addresses.is_proven(now, from);
        if !asked && self.is_new_name(&claim) && !self.gossip.unasked.takes(now, from, proven) {
            return Err(Rejected::TooManyNames { from });
        }
        if claim.forgotten && self.is_here(&claim) {
            // No answer: its sender has dropped that life and would only say so again.
            return Ok(Change::Same);
        }
        let Some(claim) = self.weigh_takeover(now, teller, claim)? else { return Ok(Change::Same) };
        let forgotten = if claim.forgotten { self.roster.get(subject) } else { None };
        let forgets = forgotten.map(|m| (m.incarnation.name.clone(), m.incarnation.generation));
        let newest = claim.delta.as_ref().map_or(0, |delta| delta.newest);
        let restarts = claim.standing.marks.restart.is_some();
        let out_until = if pass_on { self.out_until(subject) } else { None };
        let mut change = self.roster.apply(now, claim, &self.core.config)?;
        if out_until.is_some() && self.out_until(subject) > out_until {
            // It is out for longer. That is no change of status, and all have to know before they would let it in.
            self.gossip.broadcast.news(now, subject, false);
        }
        if matches!(change, Change::New | Change::Restarted | Change::Moved { .. })
            && let Some(member) = self.roster.get(subject)
        {
            let (address, life) = (member.incarnation.address(), member.tag());
            self.context().learn_life(address, life);
        }
        if restarts {
            self.gossip.watch_restart(&self.roster, subject);
        }
        match &mut change {
            Change::Same | Change::Unknown => {}
            Change::Stale => self.core.stats.stale_claims += 1,
            Change::Forgotten => self.on_forgotten(now, subject, forgets),
            Change::New => self.on_arrival(now, subject, MemberEventKind::Join, "first heard of", pass_on),
            Change::Restarted => {
                let reason = "a later life of the same name";
                self.on_arrival(now, subject, MemberEventKind::Restart, reason, pass_on);
            }
            Change::Moved { from } => {
                let (gossip, mut ctx) = self.gossip();
                gossip.follow_to(now, &mut ctx, subject, *from, pass_on);
                self.settle(now);
                self.hear_first_testimony(now, subject);
            }
            Change::Changed { heartbeat, state, values, standing } => {
                let updated = state.then(|| core::mem::take(values));
                self.on_changed(now, subject, *heartbeat, updated, *standing, pass_on);
            }
        }
        let (gossip, mut ctx) = self.gossip();
        gossip.note_rest(now, &mut ctx, subject, newest);
        self.settle(now);
        Ok(change)
    }

    /// What is known of an incarnation has changed: its heartbeat, values of its state, or what is said of it.
    fn on_changed(
        &mut self,
        now: Instant,
        subject: u64,
        heartbeat: bool,
        updated: Option<Vec<KeyChange>>,
        standing: bool,
        pass_on: bool,
    ) {
        if heartbeat {
            let (detection, mut ctx) = self.detection();
            detection.close_refuted_probe(now, &mut ctx, subject);
        }
        let says_more = |values: &[KeyChange]| values.iter().any(|change| change.key != BEACON_KEY);
        if updated.as_deref().is_some_and(says_more)
            && self.roster.get(subject).is_some_and(|member| !member.says_lost())
        {
            // It had lost quorum, or would have said so; now a majority is in contact with it.
            self.show_return(now, subject);
        }
        if let Some(values) = updated {
            if values.iter().any(|change| change.key == QUORUM_KEY) {
                let (detection, mut ctx) = self.detection();
                detection.ask_whether_it_hears(now, &mut ctx, subject);
            }
            if values.iter().any(|change| change.key == BEACON_KEY) {
                self.read_beacon(now, subject);
            }
            self.context().report_update(subject, values, "its state changed");
            if pass_on {
                self.gossip.broadcast.news(now, subject, true);
            }
        }
        if heartbeat || standing {
            let reason = self.reason_for(subject);
            self.refresh(now, subject, reason);
        }
        if standing {
            self.hear_testimony(now, subject);
        }
    }

    /// Another member's beacon has come.
    fn read_beacon(&mut self, now: Instant, subject: u64) {
        let age = self.roster.get(subject).and_then(|member| beacon::age(now, &self.core, &member.state));
        if let Some(age) = age {
            self.gossip.news_delays.take(age);
        }
    }

    /// The heartbeat up to which a member is kept out.
    fn out_until(&self, subject: u64) -> Option<Heartbeat> {
        self.roster.get(subject).and_then(|member| member.marks().kept_out_until())
    }

    /// Whether this claim would add a name to the roster.
    fn is_new_name(&self, claim: &Claim) -> bool {
        claim.incarnation.is_some()
            && !claim.forgotten
            && self.roster.get(claim.subject).is_none()
            && self.roster.tombstones().generation(claim.subject) < Some(claim.generation)
    }

    /// Whether a member that others have dropped is here for us: it has neither left nor been called down, and we have no
    /// proof of its silence ourselves. If it lives, it hears from them that they have dropped it, and begins anew.
    fn is_here(&self, forgotten: &Claim) -> bool {
        self.roster.get(forgotten.subject).is_some_and(|member| {
            let gone = matches!(member.status, Status::Down | Status::Left);
            let dropped = member.incarnation.generation <= forgotten.generation;
            dropped && !gone && !self.detection.has_proof(forgotten.subject)
        })
    }

    /// Others have dropped a member. `forgets`: its name and generation as we knew them.
    fn on_forgotten(&mut self, now: Instant, subject: u64, forgets: Option<(Name, Generation)>) {
        self.gossip.unrest_at = now;
        self.recount(now);
        self.detection.forget(subject);
        if let Some((name, generation)) = forgets {
            self.report_forgotten(name, generation);
        }
        self.gossip.broadcast.news(now, subject, false);
    }

    /// A member, or a later incarnation of one, is new to us.
    fn on_arrival(
        &mut self,
        now: Instant,
        subject: u64,
        kind: MemberEventKind,
        reason: &'static str,
        pass_on: bool,
    ) {
        self.gossip.unrest_at = now;
        self.recount(now);
        self.detection.forget(subject);
        self.transport.requests.forgive(subject);
        self.context().report(subject, kind, &[], reason);
        // A flood of newcomers is not broadcast: pulls bring each of them once.
        if pass_on && !self.gossip.broadcast.is_saturated() {
            self.gossip.broadcast.news(now, subject, true);
        }
        self.gossip.join.found_by_another();
        let (gossip, mut ctx) = self.gossip();
        gossip.note_newcomer(now, &mut ctx);
        self.hear_first_testimony(now, subject);
    }

    fn hear_testimony(&mut self, now: Instant, subject: u64) {
        let (detection, mut ctx) = self.detection();
        detection.hear_testimony(now, &mut ctx, subject);
        self.settle(now);
    }

    /// We know an incarnation from now on. The accusations against it may already be complete, so that no further claim
    /// would trigger a verdict.
    fn hear_first_testimony(&mut self, now: Instant, subject: u64) {
        if self.roster.get(subject).is_some_and(Member::is_marked) {
            self.hear_testimony(now, subject);
        }
    }

    /// Answers outdated claims with what we know.
    fn set_right(&mut self, now: Instant, from: SocketAddr, outdated: &[u64]) {
        if !outdated.is_empty() {
            self.context().tell(now, from, outdated, Detail::Full);
        }
    }

    fn report_forgotten(&mut self, name: Name, generation: u64) {
        let event = MemberEvent {
            kind: MemberEventKind::Forgotten,
            name,
            generation,
            heartbeat: 0,
            status: Status::Down,
            fenced: None,
            by: Vec::new(),
            changed: Vec::new(),
            reason: Cow::Borrowed("others have dropped it"),
        };
        self.emit(Event::Member(event));
    }

    /// Tells a newcomer why it was refused.
    fn refuse_newcomer(&mut self, now: Instant, to: SocketAddr, subject: u64, refused: &Rejected) {
        let reason = match refused {
            Rejected::DuplicateName { .. } => DUPLICATE_NAME,
            Rejected::FarFuture { .. } => FAR_FUTURE,
            Rejected::Full { .. } => FULL,
            Rejected::Decode(_)
            | Rejected::Name(_)
            | Rejected::State(_)
            | Rejected::Implausible { .. }
            | Rejected::TooManyNames { .. }
            | Rejected::TooManyQuestions { .. }
            | Rejected::AskingTooMuch
            | Rejected::BadQuestion
            | Rejected::Replayed { .. }
            | Rejected::Unexpected { .. }
            | Rejected::Echo { .. }
            | Rejected::UnknownMember(_)
            | Rejected::StillHere { .. }
            | Rejected::UntrustedSource(_)
            | Rejected::Oneself(_)
            | Rejected::Address { .. }
            | Rejected::Leaving => return,
        };
        let body = gossip::packet::Body::Refusal(gossip::Refusal { reason });
        let mut ctx = self.context();
        let Some(mut filler) = ctx.filler(to, 0, Some(body)) else { return };
        if let Some(holder) = ctx.roster.get(subject) {
            // A claim too large for the datagram is left out; the reason still arrives.
            let _ = filler.try_claim(ctx.claim(now, to, holder, Detail::Full));
        }
        let packet = filler.finish();
        ctx.send(to, &packet);
    }

    pub(super) fn check_plausible(&self, now: Instant, claim: &Claim) -> Result<(), Rejected> {
        if let Some(incarnation) = &claim.incarnation
            && !self.core.generation_is_plausible(now, claim.generation)
        {
            let ahead_ms = claim.generation.saturating_sub(self.core.unix_ms(now));
            return Err(Rejected::FarFuture { name: incarnation.name.clone(), ahead_ms });
        }
        // Without a name in it there is nothing else to refuse; and no life could ever begin above it.
        if claim.forgotten && !self.core.generation_is_plausible(now, claim.generation) {
            return Err(Rejected::Implausible { subject: claim.subject });
        }
        let limit = heartbeat_limit(self.core.unix_ms(now), claim.generation, self.schedule_of(claim));
        let standing = &claim.standing;
        let highest = standing.marks.accusations.iter().map(|a| a.basis).chain(standing.marks.down).max();
        if highest.unwrap_or(0).max(standing.heartbeat) > limit {
            return Err(Rejected::Implausible { subject: claim.subject });
        }
        Ok(())
    }

    /// Cuts away a verdict by silence on a member that has spoken to us since.
    fn cut_verdict_on_a_speaker(&self, now: Instant, claim: &mut Claim) {
        let marks = &claim.standing.marks;
        if claim.subject == self.core.me || marks.down.is_none() || marks.last_words.is_some() {
            return;
        }
        let Some(member) = self.known_life(claim).filter(|member| member.is_present()) else { return };
        let mut all = member.marks().clone();
        all.join(0, marks);
        if !all.is_kept_out() && self.detection.has_heard_it_since(now, &self.core, member, &all) {
            claim.standing.marks.down = None;
        }
    }

    /// The life that a claim is about, if we know it.
    pub(super) fn known_life(&self, claim: &Claim) -> Option<&Member> {
        self.roster.get(claim.subject).filter(|m| m.incarnation.generation == claim.generation)
    }

    /// The heartbeat schedule of that life, as we know it or else as the claim says.
    fn schedule_of<'a>(&'a self, claim: &'a Claim) -> Option<&'a Schedule> {
        let known = self.known_life(claim).map(|member| &member.incarnation.schedule);
        known.or(claim.incarnation.as_ref().map(|incarnation| &incarnation.schedule))
    }

    /// Cuts away every basis further ahead than an honest witness could say. Until a member's heartbeat has passed it, an
    /// accusation or a verdict stands wherever the member is not heard.
    fn cut_marks_too_far_ahead(&self, now: Instant, claim: &mut Claim) {
        let marks = &claim.standing.marks;
        let unmarked = marks.accusations.is_empty() && marks.down.is_none();
        // Of ourselves we know better, and must hear what others may have come to believe (own_claims.rs).
        if unmarked || claim.subject == self.core.me {
            return;
        }
        let known = self.known_life(claim);
        let by_arrivals = known.map_or(0, |member| self.core.heartbeat_by(&self.roster, member, now));
        let by_schedule =
            self.schedule_of(claim).map_or(0, |schedule| self.core.heartbeat_due(now, schedule));
        let by_now = by_arrivals.max(by_schedule).max(claim.standing.heartbeat);
        let (of_silence, of_link) =
            (by_now.saturating_add(CLOCKS_APART), by_now.saturating_add(FARTHEST_TESTIMONY));
        let marks = &mut claim.standing.marks;
        marks.accusations.retain(|a| a.basis <= if a.of_silence() { of_silence } else { of_link });
        if let Some(down) = marks.down.filter(|down| *down > of_silence) {
            let mut all = known.map_or_else(Marks::default, |member| member.marks().clone());
            all.join(0, marks);
            if down > of_link || !all.is_kept_out() {
                marks.down = None;
            }
        }
    }
}

/// How many heartbeats an honest accuser's idea of a member's heartbeat may lie ahead of ours: two minutes at the usual
/// interval. Its arrivals were quicker than ours (up to tens of rounds in the largest rosters), or its clock is ahead.
/// Honest guess; more lets a forged accusation of a member that cannot hear us stand longer.
const CLOCKS_APART: Heartbeat = 120;
/// Reasons of a refusal on the wire.
pub const DUPLICATE_NAME: u32 = 1;
pub const FAR_FUTURE: u32 = 2;
const FULL: u32 = 3;
