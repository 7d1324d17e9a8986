//! Epidemic broadcast: passes news about members on at once.
//!
//! Rule: a member that hears news tells four random others right away and three more a moment later, and then stops.
//! Four calls by every member leave 2 % without the news (fixed point of 1 - e^-4x). The other three calls follow the
//! tournament schedule of `peers.rs`, in which each member is called exactly three times: a member still without the
//! news would have to be missed by all three. The next exchange brings the news to the rest.
//!
//! The queue is keyed by subject and the newest entry wins, so it is never longer than the roster. A budget bounds the
//! datagrams. When it is used up, news waits until it suffices for all four calls, and gathers in the same datagrams
//! meanwhile. Sent to a single peer at a time, each piece of news would be known to too few.
//!
//! What a program changes in the state of its own member is rare, and often a death: the member tells it straight to each
//! other, as far as a budget of its own allows, without a pause. The waves bring it to the rest. Where there is no rest, each
//! leaves out the first wave, which would tell nobody anything: 500 datagrams at 128 members.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_proto::{Filler, gossip};
use rand::seq::SliceRandom;

use crate::Instant;
use crate::gossip::Gossip;
use crate::gossip::rounds::LATELY;
use crate::roster::Roster;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::roster::standing::Status;
use crate::transport::context::Context;
use crate::transport::token_bucket::TokenBucket;
use crate::transport::wire::{self, Detail};

/// Subjects with news, and when to send it.
#[derive(Debug)]
pub struct Broadcast {
    waiting: BTreeMap<u64, News>,
    /// The earliest due time of them.
    earliest: Instant,
    budget: TokenBucket,
    /// For what is told straight to each member.
    straight: TokenBucket,
    coalesce: Duration,
    /// Peers told at once: never more than the budget can ever allow.
    fanout: usize,
}

#[derive(Clone, Copy, Debug)]
struct News {
    due: Instant,
    wave: u8,
    full: bool,
}

/// A subject whose news is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Name hash.
    pub subject: u64,
    /// First or second wave.
    pub wave: u8,
    /// The receivers may not know this incarnation: send the full record.
    pub full: bool,
}

impl Broadcast {
    pub fn new(now: Instant, rate: u32, coalesce: Duration, fanout: usize) -> Self {
        let budget = TokenBucket::new(now, rate);
        let fanout = fanout.min(budget.size());
        let straight = TokenBucket::new(now, rate);
        Self { waiting: BTreeMap::new(), earliest: Instant::NEVER, budget, straight, coalesce, fanout }
    }

    /// There is news about `subject`.
    ///
    /// The busier we are (by the waiting news and the datagrams sent lately), the longer news is held back. A single
    /// event leaves after the time to coalesce, while in a mass start a thousand events share the datagrams of ten.
    pub fn news(&mut self, now: Instant, subject: u64, full: bool) {
        let fresh = News { due: now + self.pause(now), wave: 0, full };
        self.waiting
            .entry(subject)
            .and_modify(|old| {
                let due = if old.wave == 0 { old.due } else { fresh.due };
                *old = News { due, wave: 0, full: old.full | full };
            })
            .or_insert(fresh);
        self.earliest = self.earliest.min(fresh.due);
    }

    /// All members hear it from where we heard it: the first wave would tell nobody anything.
    pub fn skip_first_wave(&mut self, now: Instant, subject: u64) {
        if let Some(news) = self.waiting.get_mut(&subject).filter(|news| news.wave == 0) {
            *news = News { due: now + SECOND_WAVE, wave: 1, full: news.full };
            self.find_earliest();
        }
    }

    /// More news waits than can be sent soon. Callers that have other means should use them.
    pub fn is_saturated(&self) -> bool {
        self.waiting.len() >= FLOOD
    }

    /// When [`Self::due`] will next return something.
    pub fn next(&self) -> Instant {
        self.earliest.max(self.budget.next(self.fanout))
    }

    /// How many peers the first wave goes to.
    pub fn fanout(&self) -> usize {
        self.fanout
    }

    /// Takes out the subjects that are due, if the budget allows a whole wave.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        if !self.affords(now, self.fanout) {
            return Vec::new();
        }
        // News that would be due a moment later leaves in the same datagrams.
        let until = now + self.pause(now);
        let due: Vec<Due> = self
            .waiting
            .iter()
            .filter(|(_, news)| news.due <= until)
            .map(|(subject, news)| Due { subject: *subject, wave: news.wave, full: news.full })
            .collect();
        for told in &due {
            if told.wave + 1 < WAVES {
                if let Some(news) = self.waiting.get_mut(&told.subject) {
                    *news = News { due: now + SECOND_WAVE, wave: told.wave + 1, full: told.full };
                }
            } else {
                self.waiting.remove(&told.subject);
            }
        }
        self.find_earliest();
        due
    }

    fn find_earliest(&mut self) {
        self.earliest = self.waiting.values().map(|news| news.due).min().unwrap_or(Instant::NEVER);
    }

    /// Whether the budget allows so many datagrams now.
    pub fn affords(&mut self, now: Instant, datagrams: usize) -> bool {
        self.budget.available(now) >= datagrams
    }

    /// Delay from a piece of news to its datagrams.
    fn pause(&mut self, now: Instant) -> Duration {
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        self.coalesce * (1 + waiting.max(self.budget.used(now)).min(BUSIEST))
    }

    /// What did not fit into this wave's datagrams waits for the next one.
    pub fn put_back(&mut self, now: Instant, due: Due) {
        let again = News { due: now + self.coalesce, wave: due.wave, full: due.full };
        self.waiting.insert(due.subject, again);
        self.earliest = self.earliest.min(again.due);
    }

    /// `datagrams` have been sent.
    pub fn spend(&mut self, now: Instant, datagrams: usize) {
        self.budget.take(now, datagrams);
    }
}

impl Gossip {
    /// Sends what is due to a few peers, as far as the budget allows.
    pub fn pass_on_news(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let (second, first): (Vec<Due>, Vec<Due>) =
            self.broadcast.due(now).into_iter().partition(|d| d.wave > 0);
        if !first.is_empty() {
            let mut targets = self.at_random(now, ctx, self.broadcast.fanout());
            self.over_joints(now, ctx, &mut targets);
            self.pass_on(now, ctx, &first, &targets);
        }
        // The second wave is one smaller: seven calls together, as the head of this file says.
        let fanout = self.broadcast.fanout().saturating_sub(1).max(1);
        if second.is_empty() {
            return;
        }
        if self.broadcast.affords(now, fanout) {
            let mut targets = self.in_turn(now, ctx, fanout);
            self.over_joints(now, ctx, &mut targets);
            self.pass_on(now, ctx, &second, &targets);
        } else {
            second.into_iter().for_each(|news| self.broadcast.put_back(now, news));
        }
    }

    /// Tells our own change to each member at once, or to as many of them as the budget allows.
    pub fn tell_each(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let most = self.broadcast.straight.available(now);
        let targets = self.at_random(now, ctx, most);
        let change = Due { subject: ctx.core.me, wave: 0, full: true };
        let (told, _) = self.tell(now, ctx, &[change], &targets, targets.len());
        self.broadcast.straight.take(now, told);
        if is_all(ctx.roster, told) {
            self.broadcast.skip_first_wave(now, ctx.core.me);
        }
    }

    /// Random peers; where most do not answer, half of them are the ones that we have heard last.
    fn at_random(&mut self, now: Instant, ctx: &mut Context<'_>, count: usize) -> Vec<SocketAddr> {
        let (me, is_told) = (ctx.core.me, is_told(ctx));
        let mut there = Vec::new();
        if ctx.core.surroundings.is_sparse() {
            there = peers::heard_within(ctx.roster, me, now, LATELY);
            there.sort_unstable_by_key(|m| core::cmp::Reverse((m.path.last_direct(), m.hash())));
            there.truncate(count.div_ceil(2));
        }
        let addresses = &ctx.transport.addresses;
        let fit = |m: &Member| is_told(m) && m.hash() != me && addresses.reaches(now, m);
        let mut some = peers::sample(ctx.roster, &mut ctx.core.rng, count, fit);
        some.retain(|m| !there.iter().any(|known| known.hash() == m.hash()));
        there.extend(some);
        there.truncate(count);
        there.into_iter().map(|m| m.incarnation.address()).collect()
    }

    /// The joints, of many of them a few at random: all our news goes to them too ([`crate::core::joints`]).
    fn over_joints(&self, now: Instant, ctx: &mut Context<'_>, targets: &mut Vec<SocketAddr>) {
        let mut joints = joints(now, ctx);
        let (some, _) = joints.partial_shuffle(&mut ctx.core.rng, self.broadcast.fanout());
        let address = |hash: &u64| ctx.roster.get(*hash).map(|m| m.incarnation.address());
        for to in some.iter().filter_map(address) {
            if !targets.contains(&to) {
                targets.push(to);
            }
        }
    }

    /// The peers that the tournament schedule of `peers.rs` gives us in the next slots.
    fn in_turn(&self, now: Instant, ctx: &Context<'_>, count: usize) -> Vec<SocketAddr> {
        let (slot, is_told) = (ctx.core.slot_clock.slot(now), is_told(ctx));
        let fit = |m: &Member| is_told(m) && ctx.transport.addresses.reaches(now, m);
        let mut some: Vec<SocketAddr> = (slot..)
            .skip(1)
            .take(count)
            .filter_map(|s| peers::for_slot(ctx.roster, ctx.core.me, s, fit))
            .map(|m| m.incarnation.address())
            .collect();
        some.sort_unstable();
        some.dedup();
        some
    }

    fn pass_on(&mut self, now: Instant, ctx: &mut Context<'_>, due: &[Due], targets: &[SocketAddr]) {
        let (told, left_out) = self.tell(now, ctx, due, targets, 0);
        self.broadcast.spend(now, told);
        for news in left_out {
            self.broadcast.put_back(now, news);
        }
    }

    /// Sends it, and returns the number of datagrams and the news that found no room in them.
    fn tell(
        &self,
        now: Instant,
        ctx: &mut Context<'_>,
        due: &[Due],
        targets: &[SocketAddr],
        straight_to: usize,
    ) -> (usize, Vec<Due>) {
        let mut told = 0;
        let mut left_out: Option<Vec<Due>> = None;
        for some in ctx.alike(targets) {
            let Some(to) = some.first().copied() else { continue };
            let straight_to = u32::try_from(straight_to).unwrap_or(u32::MAX);
            let packet = gossip::Packet { straight_to, ..ctx.packet(0, None) };
            let Ok(mut filler) = Filler::new(packet, ctx.packet_limit(to)) else { continue };
            let mut rest = Vec::new();
            for news in due {
                let claim = self.news_claim(now, ctx, to, *news);
                if let Some(claim) = claim
                    && filler.try_claim(claim).is_err()
                {
                    rest.push(*news);
                }
            }
            let packet = filler.finish();
            if !packet.claims.is_empty() {
                told += some.len();
                ctx.core.stats.bursts += some.len() as u64;
                ctx.send_to_each(&some, &packet);
            }
            // News that fits no short datagram is not sent again to peers that already have it: exchanges settle that.
            left_out.get_or_insert(rest);
        }
        (told, left_out.unwrap_or_default())
    }

    fn news_claim(
        &self,
        now: Instant,
        ctx: &Context<'_>,
        to: SocketAddr,
        news: Due,
    ) -> Option<gossip::Claim> {
        match ctx.roster.get(news.subject) {
            Some(member) => {
                let detail = if news.full { Detail::Latest } else { Detail::Thin };
                Some(ctx.claim(now, to, member, detail))
            }
            None => {
                let generation = ctx.roster.tombstones().generation(news.subject)?;
                Some(wire::write_forgotten(news.subject, generation))
            }
        }
    }
}

/// The joints that are there and may be sent to.
pub fn joints(now: Instant, ctx: &Context<'_>) -> Vec<u64> {
    let addresses = &ctx.transport.addresses;
    let there = |hash: &u64| {
        ctx.roster.get(*hash).is_some_and(|m| is_other(m, ctx.core.me) && addresses.reaches(now, m))
    };
    ctx.core.joints.known(now).filter(there).collect()
}

/// Whether so many members, beside the one that the news is about, are all that there are.
pub fn is_all(roster: &Roster, told: usize) -> bool {
    told.saturating_add(1) >= roster.len()
}

/// The members that news is sent to. A suspect hears it from the members that probe it. But where no fewer are suspect
/// than alive, or we have lost quorum, it may be we that do not hear, while the suspects hear us.
fn is_told(ctx: &Context<'_>) -> fn(&Member) -> bool {
    let census = ctx.roster.census();
    if census.suspect < census.alive && !ctx.roster.myself().says_lost() {
        |m| m.status == Status::Alive
    } else {
        Member::is_present
    }
}

/// Number of waiting subjects beyond which news is not held back any longer: eleven times the time to coalesce.
const BUSIEST: u32 = 10;
/// Two datagrams' worth of newcomers. Honest guess.
const FLOOD: usize = 32;
/// How many times one node sends one piece of news.
const WAVES: u8 = 2;
/// From the first wave to the second: longer than the first needs to spread in a LAN, far shorter than a round. Honest
/// guess.
const SECOND_WAVE: Duration = Duration::from_millis(150);
#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn news_is_told_in_two_waves_and_then_no_more() {
        let mut broadcast = Broadcast::new(at(0), 50, Duration::from_millis(10), 4);
        broadcast.news(at(0), 7, false);
        assert_eq!(broadcast.next(), at(10));
        assert_eq!(broadcast.due(at(10)), vec![Due { subject: 7, wave: 0, full: false }]);
        assert_eq!(broadcast.next(), at(160));
        assert_eq!(broadcast.due(at(160)), vec![Due { subject: 7, wave: 1, full: false }]);
        assert_eq!(broadcast.next(), Instant::NEVER);
    }

    #[test]
    fn newer_news_replaces_the_old_about_the_same_subject() {
        let mut broadcast = Broadcast::new(at(0), 50, Duration::from_millis(10), 4);
        broadcast.news(at(0), 7, true);
        broadcast.news(at(5), 7, false);
        assert_eq!(broadcast.due(at(10)), vec![Due { subject: 7, wave: 0, full: true }]);
    }

    #[test]
    fn datagrams_stay_within_the_budget() {
        let mut broadcast = Broadcast::new(at(0), 50, Duration::from_millis(10), 4);
        let mut sent = 0;
        for ms in 0..10_000 {
            broadcast.news(at(ms), ms, false);
            if broadcast.next() <= at(ms) {
                assert!(!broadcast.due(at(ms)).is_empty());
                broadcast.spend(at(ms), 4);
                sent += 4;
            }
        }
        assert!(sent <= 50 * 4 + 50 * 10, "sent {sent}");
        assert!(sent >= 10_000 / 110 * 4, "and four leave after each of the longest pauses: {sent}");
    }
}
