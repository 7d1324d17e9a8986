//! What others say: take it, report it, pass it on, set it right.

use core::net::SocketAddr;
use core::time::Duration;
use std::borrow::Cow;

use heartsay_proto::{Filler, gossip};

use crate::Instant;
use crate::detection::flap_damping::FARTHEST_TESTIMONY;
use crate::gossip::broadcast::Due;
use crate::identity::{HostId, Name};
use crate::io::{Event, MemberEvent, MemberEventKind, Rejected};
use crate::node::Node;
use crate::roster::Change;
use crate::roster::claim::{Claim, heartbeat_limit};
use crate::roster::incarnation::Incarnation;
use crate::roster::member::Member;
use crate::roster::peers::{self, is_other};
use crate::roster::standing::{Accusation, Evidence, Status};
use crate::roster::state::KeyChange;
use crate::roster::state::QUORUM_KEY;
use crate::transport::requests::RequestKind;
use crate::transport::wire::{self, Detail};

impl Node {
    /// Takes the claims of a datagram. One that is refused does not stop the
    /// others; the first refusal is what is told.
    pub(crate) fn on_claims(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &mut gossip::Packet,
    ) -> Result<(), Rejected> {
        // Those of a refusal, and of a twin, are looked at once more.
        let sender = packet.sender;
        let again =
            matches!(packet.body, Some(gossip::packet::Body::Refusal(_) | gossip::packet::Body::Twin(_)));
        // What a newcomer pulls is old news to everybody else.
        let pass_on = !matches!(packet.body, Some(gossip::packet::Body::Supply(_)));
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
                let unaware = self.is_unaware_of_restart(&claim);
                let subject = claim.subject;
                let own_word =
                    claim.incarnation.as_ref().is_some_and(|incarnation| incarnation.tag == sender);
                let result = self.take_claim(now, claim, pass_on, own_word);
                // A refusal is not refused in its turn, without end.
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
        // Whoever refuses our life shows the one that it has instead. To answer that with ours would be refused
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
        // That we hear it does not say that it hears us: only an answer does.
        let doubtful = !*path.reachable.get_or_insert(true);
        let to = member.incarnation.address();
        let newer = heartbeat <= limit && member.advance(now, heartbeat, &self.core.config.detector);
        drop(member);
        if newer {
            self.after_heartbeat(now, sender);
        }
        if doubtful && self.gossip.leave.is_none() && self.detection.probe_budget.take(now, 1) {
            self.ping(now, sender, to, RequestKind::LinkProbe);
        }
    }

    /// Its heartbeat advanced: what was held against it may be void.
    pub(crate) fn after_heartbeat(&mut self, now: Instant, hash: u64) {
        self.close_refuted_probe(now, hash);
        self.refresh(now, hash, "a newer heartbeat refutes it");
    }

    /// Brings a member's status in line with its marks, and tells of the change.
    pub(crate) fn refresh(&mut self, now: Instant, hash: u64, reason: &str) {
        let Some(member) = self.roster.get(hash) else { return };
        let (before, after, since) = (member.status, member.standing(), member.since());
        if before == after {
            return;
        }
        // Those who accuse it of what it is now.
        let out = member.marks().is_kept_out();
        let by: Vec<u64> =
            member.marks().accusations.iter().filter(|a| out || a.counts()).map(|a| a.by).collect();
        self.roster.set_status(now, hash, after);
        self.recount(now);
        if after == Status::Restarting {
            self.detection.probes.remove(&hash);
            self.transport.requests.forgive(hash);
            self.watch_restart(hash);
        }
        // For whoever only routes to it nothing has changed.
        let unseen = matches!(
            (before, after),
            (Status::Alive, Status::Restarting) | (Status::Restarting, Status::Alive)
        );
        if unseen {
            // The end of a restart is seen by everybody alike.
            if after == Status::Restarting {
                self.gossip.broadcast.news(now, hash, false);
            }
            return;
        }
        let kind = match after {
            Status::Alive | Status::Restarting => {
                self.core.stats.suspicions_refuted += 1;
                MemberEventKind::Alive
            }
            Status::Suspect => MemberEventKind::Suspect,
            Status::Down => MemberEventKind::Down,
            Status::Left => MemberEventKind::Left,
        };
        if before == Status::Down || matches!(after, Status::Alive | Status::Restarting | Status::Left) {
            self.quorum.fence.open(hash);
        }
        if after == Status::Down {
            // Asked about since it was suspect: the answers may be enough by now.
            self.enclose(now, hash);
        }
        if matches!(after, Status::Down | Status::Left) {
            self.detection.probes.remove(&hash);
        }
        self.report(hash, kind, &by, reason.to_owned());
        self.gossip.broadcast.news(now, hash, false);
        self.note_trouble(now, hash, after);
        if after == Status::Suspect {
            self.begin_extra_probes(now);
        }
        if before == Status::Down && after != Status::Left {
            self.note_return(now, hash, since);
        }
    }

    /// Tells the world about a change of one member's entry.
    pub(crate) fn report(
        &mut self,
        hash: u64,
        kind: MemberEventKind,
        by: &[u64],
        reason: impl Into<Cow<'static, str>>,
    ) {
        let Some(event) = self.member_event(hash, kind, by, reason) else { return };
        self.emit(Event::Member(event));
    }

    /// Tells of values of a member's state that have changed, unless only the protocol itself is concerned.
    pub(crate) fn report_update(
        &mut self,
        hash: u64,
        mut changed: Vec<KeyChange>,
        reason: impl Into<Cow<'static, str>>,
    ) {
        changed.retain(|change| change.key != QUORUM_KEY);
        if changed.is_empty() {
            return;
        }
        if let Some(event) = self.member_event(hash, MemberEventKind::Update, &[], reason) {
            self.emit(Event::Member(MemberEvent { changed, ..event }));
        }
    }

    fn member_event(
        &self,
        hash: u64,
        kind: MemberEventKind,
        by: &[u64],
        reason: impl Into<Cow<'static, str>>,
    ) -> Option<MemberEvent> {
        let member = self.roster.get(hash)?;
        let verdict = matches!(kind, MemberEventKind::Down | MemberEventKind::Fenced);
        let event = MemberEvent {
            kind,
            name: member.incarnation.name.clone(),
            generation: member.incarnation.generation,
            heartbeat: member.heartbeat,
            status: member.status,
            fenced: (self.core.config.fence && verdict).then(|| self.quorum.fence.stands(member)),
            by: self.roster.names(by),
            changed: Vec::new(),
            reason: reason.into(),
        };
        tracing::debug!(name = %event.name, ?kind, status = %event.status, reason = &*event.reason, "member");
        Some(event)
    }

    /// Tells a few others what is new, as much as the budget allows.
    pub(crate) fn pass_on_news(&mut self, now: Instant) {
        let (second, first): (Vec<Due>, Vec<Due>) =
            self.gossip.broadcast.due(now).into_iter().partition(|d| d.wave > 0);
        if !first.is_empty() {
            let targets = self.anybody(self.gossip.broadcast.fanout());
            self.pass_on(now, &first, &targets);
        }
        // Smaller: together they make seven, see broadcast.rs.
        let fanout = self.gossip.broadcast.fanout().saturating_sub(1).max(1);
        if second.is_empty() {
            return;
        }
        if self.gossip.broadcast.affords(now, fanout) {
            let targets = self.those_in_turn(now, fanout);
            self.pass_on(now, &second, &targets);
        } else {
            second.into_iter().for_each(|news| self.gossip.broadcast.put_back(now, news));
        }
    }

    /// Some at random, the suspect only when there is nobody else: they hear of it from those who probe them.
    fn anybody(&mut self, count: usize) -> Vec<SocketAddr> {
        let me = self.core.me;
        let alive = |m: &Member| m.status == Status::Alive && m.hash() != me;
        let mut some = peers::sample(&self.roster, &mut self.core.rng, count, alive);
        if some.is_empty() {
            some = peers::sample(&self.roster, &mut self.core.rng, count, |m| is_other(m, me));
        }
        some.into_iter().map(|m| m.incarnation.address()).collect()
    }

    /// Those to whom the tournament of peers.rs sends us in the next slots.
    fn those_in_turn(&self, now: Instant, count: usize) -> Vec<SocketAddr> {
        let slot = self.core.slot_clock.slot(now);
        let mut some: Vec<SocketAddr> = (slot..)
            .skip(1)
            .take(count)
            .filter_map(|s| peers::for_slot(&self.roster, self.core.me, s, |m| m.status == Status::Alive))
            .map(|m| m.incarnation.address())
            .collect();
        some.sort_unstable();
        some.dedup();
        some
    }

    fn pass_on(&mut self, now: Instant, due: &[Due], targets: &[SocketAddr]) {
        let mut left_out: Option<Vec<Due>> = None;
        for some in self.alike(targets) {
            let Some(mut filler) = some.first().and_then(|to| self.filler(*to, 0, None)) else { continue };
            let mut rest = Vec::new();
            for news in due {
                let claim = some.first().and_then(|to| self.news_claim(now, *to, *news));
                if let Some(claim) = claim
                    && filler.try_claim(claim).is_err()
                {
                    rest.push(*news);
                }
            }
            let packet = filler.finish();
            if !packet.claims.is_empty() {
                self.gossip.broadcast.spend(now, some.len());
                self.core.stats.bursts += some.len() as u64;
                self.send_to_each(&some, &packet);
            }
            // What fits no short datagram is not told anew to those who have it: exchanges settle that.
            left_out.get_or_insert(rest);
        }
        for news in left_out.into_iter().flatten() {
            self.gossip.broadcast.put_back(now, news);
        }
    }

    /// A packet to `to` in the making, around `body`.
    pub(crate) fn filler(
        &self,
        to: SocketAddr,
        seq: u32,
        body: Option<gossip::packet::Body>,
    ) -> Option<Filler> {
        Filler::new(self.packet(seq, body), self.packet_limit(to)).ok()
    }

    /// Sends claims about `subjects`, as many as fit one datagram.
    pub(crate) fn tell(&mut self, now: Instant, to: SocketAddr, subjects: &[u64], detail: Detail) {
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

    fn news_claim(&self, now: Instant, to: SocketAddr, news: Due) -> Option<gossip::Claim> {
        match self.roster.get(news.subject) {
            Some(member) => {
                let detail = if news.full { Detail::Latest } else { Detail::Thin };
                Some(self.claim(now, to, member, detail))
            }
            None => {
                let generation = self.roster.tombstones().generation(news.subject)?;
                Some(wire::write_forgotten(news.subject, generation))
            }
        }
    }

    /// `own_word`: it comes straight from the life that it is about.
    fn take_claim(
        &mut self,
        now: Instant,
        mut claim: Claim,
        pass_on: bool,
        own_word: bool,
    ) -> Result<Change, Rejected> {
        let subject = claim.subject;
        self.drop_endless_testimony(now, &mut claim);
        if subject == self.core.me {
            let mine = self.roster.myself().incarnation.host_id;
            return match claim.incarnation.as_ref().filter(|incarnation| incarnation.host_id != mine) {
                // Never answered with our own record: it would be refused again, without end.
                Some(incarnation) => self.hear_of_our_name(now, incarnation, &claim, own_word),
                None => Ok(self.hear_of_ourselves(now, &claim)),
            };
        }
        self.check_plausible(now, &claim)?;
        let forgotten = if claim.forgotten { self.roster.get(subject) } else { None };
        let forgets = forgotten.map(|m| (m.incarnation.name.clone(), m.incarnation.generation));
        let newest = claim.delta.as_ref().map_or(0, |delta| delta.newest);
        let restarts = claim.standing.marks.restart.is_some();
        let mut change = self.roster.apply(now, claim, &self.core.config)?;
        if restarts {
            self.watch_restart(subject);
        }
        match change {
            Change::Same | Change::Unknown => {}
            Change::Stale => self.core.stats.stale_claims += 1,
            Change::Forgotten => {
                self.gossip.unrest_at = now;
                self.recount(now);
                self.detection.probes.remove(&subject);
                if let Some((name, generation)) = forgets {
                    self.report_forgotten(name, generation);
                }
                self.gossip.broadcast.news(now, subject, false);
            }
            Change::New | Change::Restarted => {
                self.gossip.unrest_at = now;
                self.recount(now);
                self.detection.probes.remove(&subject);
                self.transport.requests.forgive(subject);
                let (kind, reason) = if change == Change::New {
                    (MemberEventKind::Join, "first heard of")
                } else {
                    (MemberEventKind::Restart, "a later life of the same name")
                };
                self.report(subject, kind, &[], reason);
                // A flood of newcomers is not for bursts: pulls bring each of them once.
                if pass_on && !self.gossip.broadcast.is_saturated() {
                    self.gossip.broadcast.news(now, subject, true);
                }
                self.gossip.join.heard_of_somebody();
                self.note_newcomer(now);
                self.hear_first_testimony(now, subject);
            }
            Change::Moved { from } => {
                self.follow_to(now, subject, from, pass_on);
                self.hear_first_testimony(now, subject);
            }
            Change::Changed { heartbeat, state, ref mut values, standing } => {
                if heartbeat {
                    self.close_refuted_probe(now, subject);
                }
                if state {
                    self.report_update(subject, core::mem::take(values), "its state changed");
                    if pass_on {
                        self.gossip.broadcast.news(now, subject, true);
                    }
                }
                if heartbeat || standing {
                    let reason = self.reason_for(subject);
                    self.refresh(now, subject, &reason);
                }
                if standing {
                    self.hear_testimony(now, subject);
                }
            }
        }
        self.note_rest(now, subject, newest);
        Ok(change)
    }

    /// Why a member's marks mean what they mean, in one sentence.
    fn reason_for(&self, subject: u64) -> Cow<'static, str> {
        let Some(member) = self.roster.get(subject) else { return "".into() };
        let marks = member.marks();
        match member.standing() {
            Status::Alive => "a newer heartbeat refutes it".into(),
            Status::Restarting => "it says that it restarts".into(),
            Status::Left => "it said good-bye".into(),
            Status::Suspect => match marks.that_count().map(|a| a.kind).max() {
                Some(Evidence::Refused) => "its host refuses datagrams: the process is gone".into(),
                Some(Evidence::Proven | Evidence::Silent | Evidence::Degraded | Evidence::Unfit) | None => {
                    "it does not answer".into()
                }
            },
            Status::Down => {
                format!("called down as of heartbeat {}", marks.down.unwrap_or(member.heartbeat)).into()
            }
        }
    }

    /// Somebody speaks about us.
    fn hear_of_ourselves(&mut self, now: Instant, claim: &Claim) -> Change {
        let me = self.core.me;
        let myself = self.roster.myself();
        let (generation, heartbeat) = (myself.incarnation.generation, myself.heartbeat);
        if claim.generation < generation {
            return Change::Stale;
        }
        if self.gossip.leave.is_some() {
            // Whoever goes, or restarts, begins no other life any more.
            return Change::Same;
        }
        let gone = claim.forgotten || claim.standing.marks.left;
        if claim.generation > generation || gone {
            if self.core.generation_is_plausible(now, claim.generation) {
                self.hear_of_later_life(now, claim);
            }
            return Change::Same;
        }
        self.hear_verdict(now, &claim.standing.marks);
        // A verdict that keeps us out is lived through; accusations of silence are answered.
        let down = claim.standing.marks.down.filter(|_| !claim.standing.marks.is_kept_out());
        let accused = claim.standing.marks.of_silence().map(|a| a.basis).chain(down).max();
        let Some(basis) = accused else { return Change::Same };
        let plausible = basis <= self.core.plausible_heartbeat(now, &self.roster, me);
        if let Some(accused) = self.core.suspended.as_mut() {
            *accused = if plausible { basis.max(*accused) } else { *accused };
            return Change::Same;
        }
        if basis >= heartbeat && plausible {
            self.beat_above(now, basis);
            self.core.stats.refutations_of_self += 1;
            // Accusers that doubt themselves have made nobody think ill of us.
            if down.is_some() || claim.standing.marks.that_count().next().is_some() {
                self.core.health.accused(now);
                self.gossip.broadcast.news(now, me, false);
            }
        }
        Change::Stale
    }

    /// A later life of ours that we do not remember, or an end that we did not make. Somebody may live it elsewhere.
    fn hear_of_later_life(&mut self, now: Instant, claim: &Claim) {
        let status = claim.standing.status();
        let present =
            !claim.forgotten && matches!(status, Status::Alive | Status::Restarting | Status::Suspect);
        let mine = self.roster.myself().incarnation.address();
        let elsewhere =
            claim.incarnation.as_ref().filter(|incarnation| present && incarnation.address() != mine);
        match elsewhere {
            Some(incarnation) if self.detection.footing.is_refused() => {
                self.refuse(now, incarnation.host_id, incarnation.address(), incarnation.generation);
            }
            Some(incarnation) => self.hear_of_twin(now, incarnation),
            // Where it is lived is not told; the next claim in full tells.
            None if present && claim.incarnation.is_none() => {}
            None => {
                self.begin_anew(now, claim.generation);
                self.accept(now);
            }
        }
    }

    /// Another host has our name.
    fn hear_of_our_name(
        &mut self,
        now: Instant,
        other: &Incarnation,
        claim: &Claim,
        own_word: bool,
    ) -> Result<Change, Rejected> {
        let (me, myself) = (self.core.me, &self.roster.myself().incarnation);
        let (later, first) = (claim.generation > myself.generation, myself.is_before(other));
        let plausible = self.core.generation_is_plausible(now, claim.generation);
        match claim.standing.status() {
            // It is gone: the name is free, and our life has to begin after its.
            Status::Down | Status::Left => {
                if later && plausible {
                    self.begin_anew(now, claim.generation);
                    self.accept(now);
                }
            }
            // It comes to us, and nobody is known to hold it for a member. Where somebody holds us for one, it gives way;
            // of two that are alone, the later.
            Status::Alive | Status::Restarting | Status::Suspect if own_word => {
                if first || self.roster.iter().any(|m| is_other(m, me)) {
                    let (name, newcomer) = (other.name.clone(), other.host_id);
                    return Err(Rejected::DuplicateName { name, holder: myself.host_id, newcomer });
                }
                self.refuse(now, other.host_id, other.address(), claim.generation);
            }
            // Others hold it for a member. Whoever has just arrived gives way. Otherwise two clusters have met, each with a
            // holder: the first begins anew above the other, which then hears of a later life that was here before it.
            Status::Alive | Status::Restarting | Status::Suspect if later => {
                if first && !self.is_new(now) {
                    if plausible {
                        self.begin_above(now, claim.generation);
                    }
                } else {
                    self.refuse(now, other.host_id, other.address(), claim.generation);
                }
            }
            Status::Alive | Status::Restarting | Status::Suspect => {}
        }
        Ok(Change::Same)
    }

    /// Answers claims that we know better with what we know.
    fn set_right(&mut self, now: Instant, from: SocketAddr, outdated: &[u64]) {
        if !outdated.is_empty() {
            self.tell(now, from, outdated, Detail::Full);
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

    /// Tells a newcomer why it was not taken in.
    fn refuse_newcomer(&mut self, now: Instant, to: SocketAddr, subject: u64, refused: &Rejected) {
        let reason = match refused {
            Rejected::DuplicateName { .. } => DUPLICATE_NAME,
            Rejected::FarFuture { .. } => FAR_FUTURE,
            Rejected::Full { .. } => FULL,
            Rejected::Decode(_)
            | Rejected::Name(_)
            | Rejected::State(_)
            | Rejected::Implausible { .. }
            | Rejected::Unexpected { .. }
            | Rejected::Echo { .. }
            | Rejected::UnknownMember(_)
            | Rejected::StillHere { .. }
            | Rejected::Address { .. }
            | Rejected::Leaving => return,
        };
        let body = gossip::packet::Body::Refusal(gossip::Refusal { reason });
        let Some(mut filler) = self.filler(to, 0, Some(body)) else { return };
        if let Some(holder) = self.roster.get(subject) {
            // A claim too large for the datagram is left out; the reason still arrives.
            let _ = filler.try_claim(self.claim(now, to, holder, Detail::Full));
        }
        let packet = filler.finish();
        self.send(to, &packet);
    }

    /// Others do not take us in.
    pub(crate) fn on_refusal(&mut self, now: Instant, refusal: &gossip::Refusal, claims: &[gossip::Claim]) {
        match refusal.reason {
            DUPLICATE_NAME => {
                let myself = self.roster.myself();
                let name = myself.incarnation.name.as_str();
                let holder = claims.iter().find_map(|c| c.body.as_ref().filter(|b| b.name == name));
                let Some(body) = holder else { return };
                let (Some(address), Ok(host)) =
                    (wire::read_address(&body.ip, body.port), <[u8; 16]>::try_from(body.host_id.as_ref()))
                else {
                    return;
                };
                let holder = HostId(u128::from_be_bytes(host));
                if holder != myself.incarnation.host_id && !self.is_taken_in() {
                    let generation = claims.iter().map(|c| c.generation).max().unwrap_or(0);
                    self.refuse(now, holder, address, generation);
                }
            }
            FAR_FUTURE => self.on_clock_refused(now),
            // Of a full cluster the seeds' own log tells; reasons of later versions say nothing to us.
            _ => {}
        }
    }

    /// Our life lies more than a day ahead of somebody's clock. If it lies so far ahead of ours too, our clock was wrong when
    /// the life was numbered, and is right now: nobody has taken that life in, so we begin another one.
    fn on_clock_refused(&mut self, now: Instant) {
        if self.core.generation_is_plausible(now, self.roster.myself().incarnation.generation) {
            // What was sent before another life began is still being refused.
            // And a single peer with a clock far behind is not the cluster.
            let under_way = self.core.reset_at.is_some_and(|at| now.since(at) <= UNDER_WAY);
            if !under_way && !self.is_taken_in() {
                self.emit(Event::ClockRefused);
                self.refuse_clock(now);
            }
            return;
        }
        let generation = self.core.unix_ms(now);
        self.core.reset_at = Some(now);
        self.begin_life(now, generation);
        self.emit(Event::GenerationReset(generation));
    }

    fn check_plausible(&self, now: Instant, claim: &Claim) -> Result<(), Rejected> {
        if let Some(incarnation) = &claim.incarnation
            && !self.core.generation_is_plausible(now, claim.generation)
        {
            let ahead_ms = claim.generation.saturating_sub(self.core.unix_ms(now));
            return Err(Rejected::FarFuture { name: incarnation.name.clone(), ahead_ms });
        }
        let limit = heartbeat_limit(self.core.unix_ms(now), claim.generation);
        let standing = &claim.standing;
        let highest = standing.marks.accusations.iter().map(|a| a.basis).chain(standing.marks.down).max();
        if highest.unwrap_or(0).max(standing.heartbeat) > limit {
            return Err(Rejected::Implausible { subject: claim.subject });
        }
        Ok(())
    }

    /// What is said of a link ends with its basis, which the accused does not go beyond, so it lies no further ahead than
    /// a witness may ask.
    fn drop_endless_testimony(&self, now: Instant, claim: &mut Claim) {
        let accusations = &mut claim.standing.marks.accusations;
        if accusations.iter().all(Accusation::of_silence) {
            return;
        }
        let by_now = self
            .roster
            .get(claim.subject)
            .map_or(0, |member| self.core.heartbeat_by(&self.roster, member, now));
        let farthest = by_now.max(claim.standing.heartbeat).saturating_add(FARTHEST_TESTIMONY);
        accusations.retain(|a| a.of_silence() || a.basis <= farthest);
    }
}

/// Reasons of a refusal on the wire.
const DUPLICATE_NAME: u32 = 1;
const FAR_FUTURE: u32 = 2;
const FULL: u32 = 3;
/// Longer than a question and its answer are under way.
const UNDER_WAY: Duration = Duration::from_secs(5);
