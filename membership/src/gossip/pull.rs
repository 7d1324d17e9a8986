//! Pulls much of the roster at once: as a newcomer, or when a whole page of a peer differs from ours.
//!
//! Picture: copying a colleague's card index. One asks drawer by drawer, says "I have these already", and gets the
//! rest; several colleagues do a part each.
//!
//! Between two members that each know half, a pull doubles what each knows. So a thousand members that start together
//! know each other after a handful of such rounds, and each record is sent to each member about once (push-pull: Demers
//! et al., "Epidemic Algorithms for Replicated Database Maintenance", 1987).
//!
//! An exchange settles small differences and costs nothing in the calm; a pull settles large ones.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Filler, Message, gossip};

use crate::Instant;
use crate::gossip::Gossip;
use crate::io::Rejected;
use crate::roster::member::{Member, touch_cold};
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::source_budgets::SourceBudgets;
use crate::transport::token_bucket::TokenBucket;
use crate::transport::wire::{Detail, SHARE};

/// The parts of the roster that are being pulled, if any.
#[derive(Debug)]
pub struct Pulls {
    parts: Vec<Part>,
    /// When to begin again, because much of a peer's roster differed from ours.
    again_at: Instant,
    /// When such a difference was last seen.
    behind_at: Instant,
    began: Instant,
    /// Members known at that time.
    known: usize,
    /// Bounds what others can ask of us.
    served: TokenBucket,
    /// The same for each source.
    sources: SourceBudgets,
}

/// Hashes from `next` up to `until` (0: the end).
#[derive(Clone, Copy, Debug)]
struct Part {
    next: u64,
    until: u64,
    done: bool,
}

impl Pulls {
    pub fn new(now: Instant) -> Self {
        Self {
            parts: Vec::new(),
            again_at: Instant::NEVER,
            behind_at: Instant::EPOCH,
            began: Instant::EPOCH,
            known: 0,
            served: TokenBucket::new(now, SERVED_RATE),
            sources: SourceBudgets::new(now, SOURCE_RATE),
        }
    }

    /// Forgets sources that have not asked lately.
    pub fn tidy(&mut self, now: Instant) {
        self.sources.tidy(now);
    }

    /// When `step_pulls` is next due.
    pub fn next(&self) -> Instant {
        self.again_at
    }

    /// A peer's pages differ from ours in many places.
    pub fn behind(&mut self, now: Instant) {
        self.behind_at = now;
        self.again_at = self.again_at.min((self.began + PAUSE).max(now + AT_ONCE));
    }

    /// Whether many peers are pulling from us.
    pub fn is_busy(&mut self, now: Instant) -> bool {
        self.served.used(now) > 0
    }

    /// Whether much was missing a moment ago.
    pub fn is_behind(&self, now: Instant) -> bool {
        self.behind_at > Instant::EPOCH && now.since(self.behind_at) < CAUGHT_UP
    }
}

impl Gossip {
    /// Begins with one request to `from`, the first peer that answered, or else to any member. The answer says how much
    /// there is.
    pub fn pull_everything(&mut self, now: Instant, ctx: &mut Context<'_>, from: Option<SocketAddr>) {
        self.begin_pull(now, ctx, 1, from);
    }

    /// Pulls what others have and we lack, if that is much.
    pub fn step_pulls(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if now < self.pulls.again_at {
            return;
        }
        self.pulls.again_at = Instant::NEVER;
        if self.leave.is_some() || !self.pulls.parts.is_empty() {
            return;
        }
        self.begin_pull(now, ctx, if ctx.roster.len() < WORTH_SHARING { 1 } else { PARTS }, None);
    }

    /// Answers with as much as fits one datagram.
    pub fn on_pull(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        from: SocketAddr,
        seq: u32,
        pull: &gossip::Pull,
    ) {
        // Without a number nobody waits for the answer.
        let proven = ctx.transport.addresses.is_proven(now, from);
        if seq == 0 || !self.pulls.sources.takes(now, from, proven) || !self.pulls.served.take(now, 1) {
            return;
        }
        let members = u32::try_from(ctx.roster.len()).unwrap_or(u32::MAX);
        // Written with the longest `next`, so that correcting it cannot make the packet grow.
        let supply = gossip::Supply { from: pull.from, next: u64::MAX, members };
        let mut packet = ctx.packet(seq, Some(Body::Supply(supply)));
        packet.cookie = ctx.transport.addresses.cookie(now, from);
        let Ok(mut filler) = Filler::new(packet, ctx.packet_limit(from)) else { return };
        let have = Have::of(&pull.have);
        let missing =
            ctx.roster.between(pull.from, pull.until).filter(|(tag, _)| !have.contains(short(*tag)));
        let mut next = 0;
        let share = if pull.brief { SHARE } else { usize::MAX };
        for member in fetched(missing.map(|(_, member)| member)) {
            if filler.try_claim(ctx.claim_with(now, from, member, Detail::Full, share)).is_err() {
                next = member.hash();
                break;
            }
        }
        let mut packet = filler.finish();
        packet.body = Some(Body::Supply(gossip::Supply { from: pull.from, next, members }));
        ctx.send(from, &packet);
    }

    /// A part of the roster arrived.
    pub fn on_supply(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        from: SocketAddr,
        request: &Request,
        supply: &gossip::Supply,
    ) -> Result<(), Rejected> {
        let RequestKind::Pull { part: place, until, .. } = request.kind else {
            return Err(Rejected::Unexpected { what: "supply" });
        };
        let Some(part) = self.pulls.parts.get_mut(place) else { return Ok(()) };
        // Only forward, or a hostile peer could keep us pulling without end.
        let forward = supply.next > part.next && (until == 0 || supply.next < until);
        if forward {
            part.next = supply.next;
        } else if until != part.until {
            part.next = until;
        } else {
            part.done = true;
        }
        let finished = part.done;
        if !finished && self.share_the_rest(ctx, place, supply.members) {
            // All newcomers call the peer that answered first, so ask others for the rest.
            self.pull_parts(now, ctx, None);
        } else if !finished {
            self.pull(now, ctx, place, Some(from));
        }
        if self.pulls.parts.iter().all(|part| part.done) {
            self.pulls.parts.clear();
            if ctx.roster.len() > self.pulls.known {
                // Continue as long as the pulls bring something.
                self.pulls.behind(now);
            }
            self.pulled(now, ctx);
        }
        Ok(())
    }

    /// No answer: ask another member for the same part.
    pub fn pull_unanswered(&mut self, now: Instant, ctx: &mut Context<'_>, part: usize) {
        if self.pulls.parts.get(part).is_some_and(|part| !part.done) {
            self.pull(now, ctx, part, None);
        }
    }

    /// The address of a peer has proven itself: ask it.
    pub fn pull_proven(&mut self, now: Instant, ctx: &mut Context<'_>, part: usize, from: SocketAddr) {
        if self.pulls.parts.get(part).is_some_and(|part| !part.done) {
            self.pull(now, ctx, part, Some(from));
        }
    }

    /// Divides the rest of a large roster among several members.
    fn share_the_rest(&mut self, ctx: &mut Context<'_>, place: usize, members: u32) -> bool {
        let missing = usize::try_from(members).unwrap_or(usize::MAX).saturating_sub(ctx.roster.len());
        let Some(part) = self.pulls.parts.get(place) else { return false };
        if self.pulls.parts.len() > 1 || missing < WORTH_SHARING {
            return false;
        }
        self.pulls.parts = split(part.next, PARTS);
        true
    }

    fn begin_pull(&mut self, now: Instant, ctx: &mut Context<'_>, parts: u64, from: Option<SocketAddr>) {
        (self.pulls.began, self.pulls.known) = (now, ctx.roster.len());
        self.pulls.parts = split(0, parts);
        self.pull_parts(now, ctx, from);
    }

    fn pull_parts(&mut self, now: Instant, ctx: &mut Context<'_>, from: Option<SocketAddr>) {
        for part in 0..self.pulls.parts.len() {
            self.pull(now, ctx, part, from);
        }
    }

    fn pull(&mut self, now: Instant, ctx: &mut Context<'_>, place: usize, from: Option<SocketAddr>) {
        let Some(part) = self.pulls.parts.get(place).copied() else { return };
        let Some((to, peer)) = from.map(|from| (from, None)).or_else(|| self.whom_to_pull_from(now, ctx))
        else {
            self.pulls.parts.clear();
            self.join.look_again();
            return;
        };
        // Our own claim comes first. The rest of the room names the members that we have; the more of our state we
        // send, the fewer they are.
        let detail = if self.is_new(now, ctx.core, ctx.membership) { Detail::Full } else { Detail::Thin };
        let introduction = ctx.claim_with(now, to, ctx.roster.myself(), detail, 0).encoded_len();
        let room = ctx.path_limit(to).saturating_sub(QUESTION + introduction);
        let (have, until) = self.have(ctx, part, (room / SHORT).min(NAMED));
        let deadline = now + ctx.core.patience(None);
        let kind = RequestKind::Pull { part: place, until, peer };
        let seq = ctx.transport.requests.open(Request { subject: None, to, sent: now, deadline, kind });
        let pull = gossip::Pull { from: part.next, until, have, brief: true };
        let mut packet = ctx.packet(seq, Some(Body::Pull(pull)));
        packet.cookie_back = ctx.transport.addresses.cookie_back(to);
        let Ok(mut filler) = Filler::new(packet, ctx.path_limit(to)) else { return };
        let share = filler.left().saturating_sub(introduction + CLAIM);
        let _ = filler.try_claim(ctx.claim_with(now, to, ctx.roster.myself(), detail, share));
        let packet = filler.finish();
        match peer.filter(|peer| !ctx.fits(now, to, *peer, &packet)) {
            Some(peer) => ctx.ask_first(to, seq, peer),
            None => ctx.send(to, &packet),
        }
    }

    /// Any member, or a seed if we know none.
    fn whom_to_pull_from(&self, now: Instant, ctx: &mut Context<'_>) -> Option<(SocketAddr, Option<u64>)> {
        let (me, addresses) = (ctx.core.me, &ctx.transport.addresses);
        let fit = |m: &Member| is_other(m, me) && addresses.reaches(now, m);
        let known = peers::sample(ctx.roster, &mut ctx.core.rng, 1, fit);
        let known = known.first().map(|m| (m.incarnation.address(), Some(m.hash())));
        known.or_else(|| Some((self.join.first_seed()?, None)))
    }

    /// What we have of a part: at most `named` members, and where the next request begins.
    fn have(&self, ctx: &Context<'_>, part: Part, named: usize) -> (Bytes, u64) {
        let me = ctx.roster.myself().tag();
        let mut mine = ctx.roster.between(part.next, part.until).filter(|(tag, _)| *tag != me);
        let mut have = Vec::with_capacity(named * SHORT);
        for (tag, _) in mine.by_ref().take(named) {
            let [.., a, b, c] = tag.to_be_bytes();
            have.extend_from_slice(&[a, b, c]);
        }
        (have.into(), mine.next().map_or(part.until, |(_, member)| member.hash()))
    }
}

/// Yields the same members, but touches the records of a whole datagram's worth before the first is used: they are
/// cache misses, and so the misses overlap.
fn fetched<'a>(members: impl Iterator<Item = &'a Member>) -> impl Iterator<Item = &'a Member> {
    let mut members = members.fuse();
    core::iter::from_fn(move || {
        let some: Vec<&Member> = members.by_ref().take(TOLD).collect();
        touch_cold(&some);
        Some(some).filter(|some| !some.is_empty())
    })
    .flatten()
}

/// The hashes from `first` on, in `parts` equal parts.
fn split(first: u64, parts: u64) -> Vec<Part> {
    let share = (u64::MAX - first) / parts;
    let start = |part: u64| first + part * share;
    (0..parts)
        .map(|part| Part {
            next: start(part),
            until: if part + 1 == parts { 0 } else { start(part + 1) },
            done: false,
        })
        .collect()
}

/// The members that an asker has, by short tags.
///
/// Each request goes through the roster, and names almost none of it. So one bit per tag, chosen by its lowest bits,
/// rules most members out at once.
struct Have {
    bits: [u64; 64],
    shorts: Vec<u32>,
}

impl Have {
    fn of(have: &[u8]) -> Self {
        let shorts: Vec<u32> = have.chunks_exact(SHORT).map(read_short).collect();
        let mut bits = [0; 64];
        for short in &shorts {
            if let Some(word) = bits.get_mut(Self::word(*short)) {
                *word |= 1 << (short % 64);
            }
        }
        Self { bits, shorts }
    }

    fn contains(&self, short: u32) -> bool {
        let word = self.bits.get(Self::word(short)).copied().unwrap_or_default();
        word >> (short % 64) & 1 == 1 && self.shorts.contains(&short)
    }

    fn word(short: u32) -> usize {
        (short / 64 % 64) as usize
    }
}

/// The bytes of a tag that a request sends to say "I have it", as a number.
fn short(tag: u64) -> u32 {
    let [.., a, b, c] = tag.to_be_bytes();
    read_short(&[a, b, c])
}

fn read_short(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |short, byte| short << 8 | u32::from(*byte))
}

/// Approximate number of members in one datagram.
const TOLD: usize = 16;
/// Bytes of a tag that are sent.
const SHORT: usize = 3;
/// Parts in which a large roster is pulled at once.
const PARTS: u64 = 4;
/// With fewer missing members than this, the rest is pulled in one go.
const WORTH_SHARING: usize = 64;
/// Most members that one request names as known: 768 bytes.
const NAMED: usize = 256;
/// What a request takes beside the named members and the claim about the asker: at most 46 bytes of head, 30 of body.
const QUESTION: usize = 80;
/// What a claim's versions, length and field number take.
const CLAIM: usize = 40;
/// Shortest time from the beginning of one pull to that of the next: what others pull meanwhile changes the picture.
/// Honest guess.
const PAUSE: Duration = Duration::from_millis(200);
/// From the discovery of a difference to the pull: others are just discovering theirs.
const AT_ONCE: Duration = Duration::from_millis(10);
/// For this long after a large difference, more may come.
const CAUGHT_UP: Duration = Duration::from_secs(1);
/// Answers per second, sustained, with peaks of four times as many: 0.6 MB/s and 2.4 MB in one second, under the 5 MB/s
/// that a seed may be asked for.
const SERVED_RATE: u32 = 500;
/// The same for one source: a newcomer to 10,000 members asks each of four for 300 datagrams.
const SOURCE_RATE: u32 = 100;
