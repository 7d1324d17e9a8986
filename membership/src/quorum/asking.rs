//! Which member asks which for a proof, and when.
//!
//! In small clusters, and with a fence, electors ask one another. In larger ones waves bring the proofs
//! ([`super::waves`]), and a member asks only if none has come for a while.

use core::time::Duration;
use std::collections::BTreeSet;

use heartsay_proto::gossip;

use crate::Instant;
use crate::quorum::lease::Proof;
use crate::quorum::service::Voting;
use crate::quorum::waves::{self, AT_WORK, RELAYS};
use crate::quorum::{Context, Count, Effect, Question, QuorumService, RetryPolicy, Waves};
use crate::roster::fingerprint;
use crate::roster::member::Member;
use crate::roster::standing::Status;

impl QuorumService {
    /// Asks for what is due.
    pub fn renew(&mut self, ctx: &Context<'_>) {
        self.voting.renew_at = Instant::NEVER;
        if self.voting.electorate().is_none() || ctx.leaving {
            return;
        }
        let next = if ctx.core.config.fence {
            self.ask_all(ctx)
        } else if self.asks_directly(ctx) {
            // Where some links are cut, others may be in contact with a majority when we are not.
            let next = self.ask_a_majority(ctx);
            if self.voting.lease.proof().is_some() { next.min(self.ask_a_lender(ctx)) } else { next }
        } else {
            self.step_waves(ctx).min(self.ask_a_lender(ctx))
        };
        self.voting.renew_at = next.max(ctx.now + SHORTEST_TICK);
        self.judge(ctx);
    }

    /// Whether electors ask one another, as many as make a majority.
    fn asks_directly(&self, ctx: &Context<'_>) -> bool {
        let census = ctx.roster.census();
        let few = census.alive + census.suspect <= DIRECT;
        few && self.voting.ballot.of(ctx.core.me) > 0
    }

    /// Asks all electors, each at its own time, so that the newest answers have different ages. With a fence each member
    /// needs a proof of its own, and what all electors say of the silent.
    fn ask_all(&mut self, ctx: &Context<'_>) -> Instant {
        let electors = self.voting.ballot.electors.iter().map(|(hash, _)| *hash);
        let electors: Vec<u64> = electors.filter(|elector| self.is_to_be_asked(ctx, *elector)).collect();
        let (mut asked, mut next) = (0, Instant::NEVER);
        for elector in electors {
            let due = self.ask_at(ctx, elector);
            if due > ctx.now {
                next = next.min(due);
            } else if asked < MOST_AT_ONCE {
                asked += 1;
                self.ask(ctx, elector);
                next = next.min(self.ask_at(ctx, elector));
            } else {
                next = ctx.now;
            }
        }
        next
    }

    /// Asks as many electors as make the proof young again, once it has aged; all of them if one does not answer.
    fn ask_a_majority(&mut self, ctx: &Context<'_>) -> Instant {
        let length = ctx.core.config.lease();
        let due = self.voting.lease.proof().map_or(ctx.now, |proof| proof.as_of + length * 3 / 5);
        if due > ctx.now {
            return due;
        }
        let lease = &self.voting.lease;
        let ballot = &self.voting.ballot;
        let (mut votes, mut late, mut candidates) = (ballot.count([ctx.core.me]), false, Vec::new());
        for (elector, _) in ballot.electors.iter().copied() {
            if !self.is_to_be_asked(ctx, elector) {
                continue;
            }
            let waits = lease.waits_for(elector);
            // An answer is fresh as long as a proof by it would last until the others are asked again.
            let answered = lease.answered_at(elector).unwrap_or(Instant::EPOCH);
            if ctx.now.since(answered) < length / 4 || waits && self.ask_at(ctx, elector) > ctx.now {
                ballot.add(&mut votes, elector);
            } else {
                late |= waits && ctx.now.since(answered) < length * 2;
                candidates.push((waits, answered, elector));
            }
        }
        // First those that have answered, and of them the one that was asked longest ago, so that all have their turn.
        candidates.sort_unstable();
        let mut next = ctx.now + self.pause(ctx, None);
        for (waits, _, elector) in candidates {
            let is_enough = self.voting.ballot.is_majority(&votes) && !late;
            if is_enough || waits && self.ask_at(ctx, elector) > ctx.now {
                continue;
            }
            self.voting.ballot.add(&mut votes, elector);
            self.ask(ctx, elector);
            next = next.min(self.ask_at(ctx, elector));
        }
        next
    }

    /// Asks others for their proof, if ours has aged: one after the other, and more and more at a time as long as no
    /// answer makes it younger. Where only some links are cut, one member may be all that still joins us to a majority.
    fn ask_a_lender(&mut self, ctx: &Context<'_>) -> Instant {
        let length = ctx.core.config.lease();
        let as_of = self.voting.lease.proof().map(|proof| proof.as_of);
        let long_lost = ctx.now.since(as_of.unwrap_or(self.voting.since)) > length * 2;
        // Each question goes to another member, so there is no need to wait until the last one is lost for certain.
        let soon = self.pause(ctx, self.voting.search.asked).min(length / 14);
        let pause = if long_lost { ctx.core.config.interval / 2 } else { soon };
        let aged = as_of.map_or(ctx.now, |as_of| as_of + length * 37 / 50);
        let search = &mut self.voting.search;
        if aged > search.at {
            // Only a proof that was young for a while ends the search. With one that is little better the others are as
            // badly off as we are.
            search.steps = 0;
        }
        let due = aged.max(search.at + pause);
        if due > ctx.now {
            return due;
        }
        if search.steps == 0 {
            search.asked_so_far = 0;
            search.turn = search.turn.wrapping_add(1);
        }
        let wide = search.steps >= ONE_BY_ONE;
        // Once quorum is lost, there is time.
        let wider = if long_lost { 0 } else { (search.steps + 1).saturating_sub(ONE_BY_ONE) };
        let count = 2_usize.saturating_pow(wider).min(MOST_AT_ONCE);
        (search.steps, search.at) = (search.steps.saturating_add(1), ctx.now);
        let mut lenders = self.lenders(ctx);
        if wide {
            self.add_all_others(ctx, &mut lenders);
        }
        let count = count.min(lenders.len());
        let first = self.voting.search.asked_so_far.checked_rem(lenders.len()).unwrap_or(0);
        for lender in lenders.into_iter().cycle().skip(first).take(count) {
            self.voting.search.asked = Some(lender);
            self.ask(ctx, lender);
        }
        self.voting.search.asked_so_far = self.voting.search.asked_so_far.wrapping_add(count);
        ctx.now + soon
    }

    /// Whoever else may have a proof, the next ones in the roster first, so that not all members ask the same ones.
    fn add_all_others(&self, ctx: &Context<'_>, lenders: &mut Vec<u64>) {
        let (n, mine) = (ctx.roster.len(), ctx.roster.rank(ctx.core.me).unwrap_or(0));
        let known: BTreeSet<u64> = lenders.iter().copied().collect();
        let others = (1..n).filter_map(|i| ctx.roster.at((mine + i) % n)).map(Member::hash);
        lenders.extend(others.filter(|other| !known.contains(other) && self.is_to_be_asked(ctx, *other)));
    }

    /// The members to ask for a proof: the one that lent us the last, then by turns the relays at work, the members that
    /// ping us in waves, and the other relays.
    fn lenders(&self, ctx: &Context<'_>) -> Vec<u64> {
        let (first, others) = self.voting.waves.relays.split_at(AT_WORK.min(self.voting.waves.relays.len()));
        let mut lenders: Vec<u64> = Vec::new();
        for lender in first.iter().copied().chain(self.voting.waves.askers()).chain(others.iter().copied()) {
            if !lenders.contains(&lender) && self.is_to_be_asked(ctx, lender) {
                lenders.push(lender);
            }
        }
        let turn = self.voting.search.turn.checked_rem(lenders.len()).unwrap_or(0);
        lenders.rotate_left(turn);
        if let Some(last) = self.voting.search.lender.filter(|last| self.is_to_be_asked(ctx, *last)) {
            lenders.retain(|lender| *lender != last);
            lenders.insert(0, last);
        }
        lenders
    }

    fn is_to_be_asked(&self, ctx: &Context<'_>, member: u64) -> bool {
        member != ctx.core.me && ctx.roster.get(member).is_some_and(Member::is_present)
    }

    fn ask(&mut self, ctx: &Context<'_>, elector: u64) {
        self.voting.lease.asked(elector, ctx.now);
        self.effects.push(Effect::Ask(Question { to: elector, wave: None }));
    }

    /// How long to wait for an answer.
    fn pause(&self, ctx: &Context<'_>, member: Option<u64>) -> Duration {
        let lease = ctx.core.config.lease();
        let member = member.and_then(|member| ctx.roster.get(member));
        ctx.core.patience(member).clamp(lease / 28, lease / 8)
    }

    /// When an elector is to be asked next, where all are asked.
    fn ask_at(&self, ctx: &Context<'_>, elector: u64) -> Instant {
        let lease = ctx.core.config.lease();
        let pace = RetryPolicy {
            period: self.lease_period(ctx, elector),
            retry: self.pause(ctx, Some(elector)),
            slow: ctx.core.config.interval,
            hope: lease * 2,
        };
        self.voting.lease.due(elector, pace)
    }

    /// How often to ask: twice in the life of a proof, so that several losses do no harm. The electors are asked at
    /// different times, so that the newest answers have different ages.
    fn lease_period(&self, ctx: &Context<'_>, elector: u64) -> Duration {
        let period = ctx.core.config.lease() / if self.fence.hurries(ctx.now) { 8 } else { 2 };
        period - period / 4 * u32::try_from(elector % 8).unwrap_or(0) / 8
    }

    /// Begins waves, passes them on, and tells relays what came back. Returns when to do so again.
    fn step_waves(&mut self, ctx: &Context<'_>) -> Instant {
        let (now, me, period) = (ctx.now, ctx.core.me, period(ctx));
        self.voting.waves.tidy(now, period);
        let step = ctx.core.config.lease() / 20;
        // A wave of a member that is out proves nothing, to it or to others.
        if ctx.told_out {
            self.voting.waves.open.retain(|wave| wave.under.is_some());
        }
        let begins_at = |waves: &Waves| match ctx.told_out {
            true => Instant::NEVER,
            false => waves.begins_at(me, period, step),
        };
        if begins_at(&self.voting.waves) <= now {
            let members: Vec<u64> = self.members(ctx).collect();
            self.voting.waves.begin((now, me, period), &members);
        }
        let (mut room, mut next) = (MOST_AT_ONCE, begins_at(&self.voting.waves));
        let mut open = core::mem::take(&mut self.voting.waves.open);
        for wave in &mut open {
            let retry = |member| self.pause(ctx, Some(member));
            let (due, at) = wave.step(now, &self.voting.lease, room, retry);
            room = room.saturating_sub(due.len());
            next = next.min(at);
            for target in due {
                self.voting.lease.asked(target.member, now);
                let (number, rank, relay) = (wave.number, wave.rank, wave.relay);
                let lead = target.lead.map(|(group, groups)| gossip::Lead { number, group, groups, relay });
                self.effects.push(Effect::Ask(Question { to: target.member, wave: Some((rank, lead)) }));
            }
            next = next.min(self.tell_the_relay(ctx, wave));
        }
        self.voting.waves.open = open;
        next
    }

    /// Tells the relay how many votes of our group have answered, when that is due.
    fn tell_the_relay(&mut self, ctx: &Context<'_>, wave: &mut waves::Wave) -> Instant {
        let Some((relay, group)) = wave.under else { return Instant::NEVER };
        let (lease, ballot) = (&self.voting.lease, &self.voting.ballot);
        if ballot.fault.is_some() {
            return Instant::NEVER;
        }
        let Count { votes, tie, zones } = wave.votes(ctx.core.me, lease, ballot);
        let at = wave.tells_at(lease, votes, ctx.core.config.lease() / 14);
        if at > ctx.now {
            return at;
        }
        wave.told = Some(votes);
        let tally = gossip::Tally { number: wave.number, group, votes, zones, tie };
        self.effects.push(Effect::Tell { relay, tally });
        // If further members answer, the next call looks again.
        Instant::NEVER
    }

    /// The other members that are there.
    fn members<'a>(&self, ctx: &Context<'a>) -> impl Iterator<Item = u64> + use<'a> {
        let me = ctx.core.me;
        ctx.roster.iter().filter(|m| m.is_present()).map(Member::hash).filter(move |hash| *hash != me)
    }

    /// The ping of a wave has come and is answered.
    pub fn hear_wave(
        &mut self,
        ctx: &Context<'_>,
        sender: u64,
        number: u32,
        said: &gossip::Lease,
        lead: Option<gossip::Lead>,
    ) {
        let Some(rank) = said.wave.checked_sub(1).filter(|_| self.voting.electorate().is_some()) else {
            return;
        };
        if said.electorate != self.voting.mark {
            return;
        }
        let waves = &mut self.voting.waves;
        // When we gave the answer that it names as the last one that it has heard.
        let heard = (said.answered_ms > 0).then(|| number.wrapping_sub(said.answered));
        let heard = heard.and_then(|number| waves.answered_at(sender, number));
        // A leader cannot be told from one that serves a deaf relay.
        let is_relay = lead.is_none() && waves.relays.contains(&sender);
        if !is_relay || waves.hears_us(ctx.now, sender, heard, period(ctx)) {
            waves.came(ctx.now, rank);
        }
        self.borrow_from_a_wave(ctx, heard, said);
        self.voting.waves.answered(ctx.now, sender, number);
        // Only waves of members that may begin them are passed on.
        if let Some(lead) = lead
            && lead.group < lead.groups
            && self.voting.waves.relays.contains(&lead.relay)
        {
            let in_group = |member: &u64| {
                *member != lead.relay && waves::group_of(lead.relay, *member, lead.groups) == lead.group
            };
            let group: Vec<u64> = self.members(ctx).filter(in_group).collect();
            self.voting.waves.pass_on(ctx.now, sender, rank, lead, &group);
        }
        self.voting.renew_at = ctx.now;
        self.judge(ctx);
    }

    /// `heard`: when we gave the answer that the ping names.
    fn borrow_from_a_wave(&mut self, ctx: &Context<'_>, heard: Option<Instant>, said: &gossip::Lease) {
        let ms = |plus_one: u32| plus_one.checked_sub(1).map(|ms| Duration::from_millis(ms.into()));
        let (Some(answered), Some(age), Some(since)) = (heard, ms(said.age_ms), ms(said.answered_ms)) else {
            return;
        };
        if let Some(as_of) = waves::borrowed_in_a_wave(answered, since, age).filter(|_| ctx.lends()) {
            self.voting.lease.take(Proof { as_of, present: said.present });
            self.voting.sight.hear(ctx.now, ctx.core.config.lease(), &said.zones);
        }
    }

    /// A leader says how many votes of its group have answered our wave.
    pub fn hear_tally(&mut self, ctx: &Context<'_>, leader: u64, tally: gossip::Tally) {
        let length = ctx.core.config.lease();
        if self.voting.electorate().is_none() || !ctx.lends() {
            return;
        }
        let voting = &mut self.voting;
        let heard = voting.waves.hear_tally(
            (ctx.now, length),
            (leader, ctx.core.me),
            tally,
            (&voting.lease, &voting.ballot),
        );
        if let Some((proof, zones)) = heard {
            self.voting.lease.take(proof);
            self.voting.sight.tally(ctx.now, zones);
            self.follow_up(ctx);
            self.judge(ctx);
        }
    }

    /// After an answer: a first wave that has proven a majority is followed by another, and a complete group is told to
    /// the relay.
    pub fn follow_up(&mut self, ctx: &Context<'_>) {
        let Voting { waves, lease, renew_at, .. } = &mut self.voting;
        let proven = lease.proof().map_or(Instant::EPOCH, |proof| proof.as_of);
        let to_tell =
            |wave: &waves::Wave| wave.under.is_some() && wave.told.is_none() && wave.is_complete(lease);
        if waves.has_proven(ctx.now, proven) || waves.open.iter().any(to_tell) {
            *renew_at = ctx.now;
        }
    }

    /// The relays: few, and the same for all members with the same view.
    pub fn draw_relays(&self, ctx: &Context<'_>) -> Vec<u64> {
        let mut drawn: Vec<(bool, u64, u64)> = self
            .voting
            .ballot
            .electors
            .iter()
            .map(|(hash, _)| *hash)
            // Where more votes are known than stated, a newcomer must be able to ask although it counts no elector yet.
            .chain(self.voting.ballot.waiting.iter().copied())
            .filter_map(|hash| ctx.roster.get(hash))
            .filter(|m| m.is_present())
            .map(|m| (is_beyond_reach(m), fingerprint::of_pair(DRAW, m.hash()), m.hash()))
            .collect();
        drawn.sort_unstable();
        drawn.into_iter().take(RELAYS).map(|(_, _, hash)| hash).collect()
    }
}

/// Whether asking it for its proof is of little use. The path to ourselves counts as good.
fn is_beyond_reach(member: &Member) -> bool {
    member.status != Status::Alive || member.path.reachable == Some(false)
}

/// Time between two waves of one relay: two relays in turn renew a proof four times before it runs out.
fn period(ctx: &Context<'_>) -> Duration {
    ctx.core.config.lease() * 11 / 25
}

/// Up to this many members the electors ask one another. With more, waves cost less.
const DIRECT: u32 = 5;
/// Salt of the draw.
const DRAW: u64 = 0x636f_6c6c_6563_7473;
/// Members that are asked one by one before the search widens: the relays at work, and the one that lent us the last.
const ONE_BY_ONE: u32 = 3;
/// Requests that leave in one instant.
const MOST_AT_ONCE: usize = 16;
/// Between two rounds of requests.
const SHORTEST_TICK: Duration = Duration::from_millis(10);
