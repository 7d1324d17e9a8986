//! Anti-entropy: in an exchange two members compare what they know, page by page, and settle the differences.
//!
//! Picture: two clerks compare their card indexes. They first compare a checksum of each drawer. Drawers with equal
//! checksums hold the same cards, so the numbers on the cards can be read out without names. Drawers with unequal
//! checksums are compared part by part, small parts card by card, and only cards that differ are copied.
//!
//! Rule: a drawer is a page (a range of name hashes), the checksum a range digest, the number on a card a heartbeat.
//! Each answer is finer than the step that it answers, so an exchange ends by itself. (Range-based set reconciliation:
//! Meyer, 2023.)
//!
//! Heartbeats travel as ages. Both sides know each member's heartbeat schedule, so both predict the same value for the
//! sender's nominal time, and only the difference is coded (heartsay_proto::ages). The decoded values are exact, and no
//! clocks need to agree: skew costs bits, not correctness.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Filler, Message, ages, gossip};

use crate::Instant;
use crate::core::Core;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::gossip::ages::IsProbed;
use crate::io::Rejected;
use crate::roster::fingerprint::standing_code;
use crate::roster::heartbeat_track::{self, IntervalDivider};
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::roster::shard::RangeDigest;
use crate::roster::{COARSE, compare};
use crate::transport::context::{Context, OwnMembership};
use crate::transport::requests::{Request, RequestKind};
use crate::transport::sending::AnswerExtras;
use crate::transport::wire::{self, Detail};

/// The answer to one step, gathered before it is cut to a datagram.
#[derive(Debug, Default)]
pub struct Reply {
    /// Approximate size of the pages and lists: no more are made than fit.
    bytes: usize,
    pages: Vec<gossip::Page>,
    lists: Vec<gossip::List>,
    wants: Vec<gossip::Want>,
    claims: Vec<(u64, Detail)>,
}

impl Reply {
    fn page(&mut self, page: gossip::Page) {
        self.bytes += page.encoded_len();
        self.pages.push(page);
    }

    fn list(&mut self, list: gossip::List) {
        self.bytes += list.encoded_len();
        self.lists.push(list);
    }

    fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.lists.is_empty() && self.wants.is_empty() && self.claims.is_empty()
    }

    /// The same reply, emptied for reuse.
    fn emptied(mut self) -> Self {
        self.bytes = 0;
        self.pages.clear();
        self.lists.clear();
        self.wants.clear();
        self.claims.clear();
        self
    }
}

/// The sender of a datagram, as its head says.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    pub address: SocketAddr,
    /// Id of its incarnation.
    pub tag: u64,
    /// The member to which that incarnation belongs, if we know it.
    pub member: Option<u64>,
    pub heartbeat: u64,
    /// Fingerprint of its view; 0: not said.
    pub view: u64,
}

/// One step of a peer's exchange, while it is compared with what we know.
#[derive(Debug)]
pub struct Comparison {
    from: Sender,
    step: u32,
    /// Nominal time of the sender, to which all its ages refer.
    pub nominal: i64,
    /// Both sides hold the same, as far as compared.
    agrees: bool,
    /// Unequal pages of all earlier exchanges.
    unequal: u64,
    /// Nothing to compare: we do not know the sender, or the sender knows only itself.
    pub over: bool,
    reply: Reply,
}

impl Gossip {
    /// Opens an exchange with a member.
    pub fn open_exchange(&mut self, now: Instant, ctx: &mut Context<'_>, peer: u64) {
        let Some(member) = ctx.roster.get(peer) else { return };
        let to = member.incarnation.address();
        let knock = !member.is_present();
        let deadline = now + ctx.core.patience(Some(member));
        let request = Request { subject: Some(peer), to, sent: now, deadline, kind: RequestKind::Exchange };
        let seq = ctx.transport.requests.open(request);
        ctx.core.stats.exchanges += 1;
        let Some(packet) = self.syn(now, ctx, to, seq, knock) else { return };
        if ctx.fits(now, to, peer, &packet) {
            send_exchange(ctx, to, packet);
        } else {
            // The exchange follows when the pong has proven the address.
            ctx.transport.scratch.has_left(packet);
            ctx.ask_first(to, seq, peer);
        }
    }

    /// Step 1: as many of our pages as fit. `introduce`: the receiver may not know us.
    pub fn send_syn(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        to: SocketAddr,
        seq: u32,
        introduce: bool,
    ) {
        if let Some(packet) = self.syn(now, ctx, to, seq, introduce) {
            send_exchange(ctx, to, packet);
        }
    }

    fn syn(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        to: SocketAddr,
        seq: u32,
        introduce: bool,
    ) -> Option<gossip::Packet> {
        let bits = self.syn_bits(now, ctx);
        let exchange = ctx.transport.scratch.leaving(1);
        let mut packet = ctx.packet(seq, Some(Body::Exchange(exchange)));
        packet.beat = ctx.core.slot_clock.say(now);
        if bits > 0 {
            packet.view = ctx.roster.fingerprint();
        }
        let mut filler = Filler::new(packet, ctx.path_limit(to)).ok()?;
        if introduce || self.introduces_itself(now, ctx) {
            // A claim too large for the datagram is left out: the peer will ask.
            let _ = filler.try_claim(ctx.claim(now, to, ctx.roster.myself(), Detail::Full));
        }
        // Pages that do not fit come first next time.
        let pages = 1_u32 << bits;
        for i in 0..pages {
            let prefix = (self.page_cursor.wrapping_add(i)) % pages;
            if filler.try_page(self.page(ctx, bits, prefix)).is_err() {
                self.page_cursor = prefix;
                break;
            }
        }
        Some(filler.finish())
    }

    /// Step 1 for an address where perhaps no member is: who we are, and one digest of all that we know.
    pub fn send_short_syn(&mut self, now: Instant, ctx: &mut Context<'_>, to: SocketAddr, seq: u32) {
        let sums = ctx.roster.sums(0, 0);
        let mut exchange = ctx.transport.scratch.leaving(1);
        exchange.pages.push(gossip::Page {
            lives: sums.lives,
            stamps: sums.stamps,
            ..gossip::Page::default()
        });
        let mut packet = ctx.packet(seq, Some(Body::Exchange(exchange)));
        packet.beat = ctx.core.slot_clock.say(now);
        packet.claims.push(wire::write_claim(now, ctx.roster.myself(), Detail::Full, 0, 0));
        send_exchange(ctx, to, packet);
    }

    /// Begins to compare one step of an exchange with what we know.
    pub fn begin(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        from: Sender,
        exchange: &gossip::Exchange,
    ) -> Comparison {
        let (step, reply) = (exchange.step, core::mem::take(&mut self.reply));
        if step == 1 {
            ctx.core.beat_once(now, ctx.roster);
        }
        let agrees = from.view == 0 || from.view == ctx.roster.fingerprint();
        let unequal = ctx.core.stats.pages_unequal;
        let mut comparison = Comparison { from, step, nominal: 0, agrees, unequal, over: false, reply };
        let Some(sender) = from.member else {
            // We do not know this incarnation and cannot read its ages: ask who it is.
            comparison.reply.wants.push(gossip::Want { tag: from.tag, since: 0, known: false });
            return Comparison { over: true, ..comparison };
        };
        if step == 1 && self.knows_only_itself(ctx, from.tag, exchange) {
            // It will ask for everything; there is nothing to compare.
            self.refer(now, ctx, sender, &mut comparison.reply);
            return Comparison { over: true, ..comparison };
        }
        let schedule = ctx.roster.get(sender).map(|m| &m.incarnation.schedule);
        comparison.nominal =
            schedule.map_or(0, |schedule| heartbeat_track::nominal(schedule, from.heartbeat));
        comparison
    }

    /// Takes the heartbeats of a page, if both sides mean the same members by it. Returns whether both sides also held
    /// the same claims about them before; `None` if the members differ. `is_probed` tells for which members a newer
    /// heartbeat may end a probe.
    ///
    /// # Errors
    /// The page cannot be read.
    pub fn hear_page(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        nominal: i64,
        page: &gossip::Page,
        is_probed: Option<&IsProbed<'_>>,
    ) -> Result<Option<bool>, Rejected> {
        let mine = ctx.roster.sums(page.bits, page.prefix);
        if mine.lives != page.lives {
            return Ok(None);
        }
        if !page.ages.is_empty() {
            self.take_ages(now, ctx, nominal, page, is_probed)?;
        }
        Ok(Some(mine.stamps == page.stamps))
    }

    /// Compares a page whose heartbeats have been taken. `same`: the result of [`Self::hear_page`].
    pub fn compare_page(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        comparison: &mut Comparison,
        page: &gossip::Page,
        same: Option<bool>,
    ) {
        let reply = &mut comparison.reply;
        comparison.agrees &= same == Some(true);
        let Some(same) = same else {
            ctx.core.stats.pages_unequal += 1;
            self.unrest_at = now;
            if reply.bytes < ctx.packet_limit(comparison.from.address) {
                self.refine(ctx, page.bits, page.prefix, reply);
            }
            return;
        };
        ctx.core.stats.pages_equal += 1;
        if !same && ctx.roster.page_len(page.bits, page.prefix) > LISTED {
            self.refine(ctx, page.bits, page.prefix, reply);
            return;
        }
        if !same {
            reply.list(self.list_by_position(ctx, page.bits, page.prefix));
        }
        if comparison.step == 1 {
            let mut answer = self.page(ctx, page.bits, page.prefix);
            // If the heartbeats just taken have settled the difference, they settle it on the other side too.
            answer.stamps = if same { page.stamps } else { answer.stamps };
            reply.page(answer);
        }
    }

    /// Ends the comparison and returns the answer.
    pub fn end(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        comparison: Comparison,
        exchange: &gossip::Exchange,
    ) -> Reply {
        let Comparison { from, step, agrees, unequal, over, mut reply, .. } = comparison;
        let Some(sender) = from.member.filter(|_| !over) else { return reply };
        let unequal = ctx.core.stats.pages_unequal - unequal;
        if unequal >= 2 && unequal * 2 > exchange.pages.len() as u64 {
            self.pulls.behind(now);
        }
        for list in &exchange.lists {
            self.on_list(ctx, list, &mut reply);
        }
        self.on_wants(ctx, &exchange.wants, &mut reply);
        let complete = step <= 2 && (from.view != 0 || exchange.pages.iter().any(|p| p.bits == 0));
        if complete {
            ctx.effect(Effect::Agreement { peer: sender, agrees });
            if agrees {
                ctx.note_agreement_with(from.address);
            }
        }
        reply
    }

    fn knows_only_itself(&self, ctx: &Context<'_>, tag: u64, exchange: &gossip::Exchange) -> bool {
        let alone = RangeDigest::of_one(tag).lives;
        ctx.roster.len() > 2 && matches!(exchange.pages.as_slice(), [p] if p.bits == 0 && p.lives == alone)
    }

    /// Names a few other members to a newcomer while many newcomers ask us, so that they need not all wait for our
    /// answers.
    fn refer(&mut self, now: Instant, ctx: &mut Context<'_>, newcomer: u64, reply: &mut Reply) {
        if !self.pulls.is_busy(now) {
            return;
        }
        let me = ctx.core.me;
        let others = peers::sample(ctx.roster, &mut ctx.core.rng, REFERRED, |m| {
            is_other(m, me) && m.hash() != newcomer
        });
        let named = others.into_iter().map(Member::hash);
        reply.claims.extend(core::iter::once(me).chain(named).map(|hash| (hash, Detail::Full)));
    }

    /// How finely a syn divides the roster. In the calm, pages are as large as a datagram allows, and their digests
    /// cost next to nothing. Around a change pages are small, because an exchange cannot carry the heartbeats of an
    /// unequal page.
    fn syn_bits(&self, now: Instant, ctx: &Context<'_>) -> u32 {
        let fine = ctx.roster.page_bits();
        let calm = now.since(self.unrest_at) >= CALM;
        if calm { (0..fine).find(|bits| ctx.roster.len() >> bits <= COARSE).unwrap_or(fine) } else { fine }
    }

    /// Answers an unequal page by its parts, and a small one by its list.
    fn refine(&mut self, ctx: &mut Context<'_>, bits: u32, prefix: u32, reply: &mut Reply) {
        let members = ctx.roster.page_len(bits, prefix);
        if members <= LEAF || bits + CHILD_BITS > DEEPEST {
            reply.list(self.list_by_tag(ctx, bits, prefix));
            return;
        }
        for child in 0..1_u32 << CHILD_BITS {
            reply.page(self.page(ctx, bits + CHILD_BITS, (prefix << CHILD_BITS) | child));
        }
    }

    /// Compares a peer's list with ours.
    fn on_list(&mut self, ctx: &mut Context<'_>, list: &gossip::List, reply: &mut Reply) {
        let mine = ctx.roster.page(list.bits, list.prefix);
        let lines = list.versions.iter().copied().zip(list.standings.iter().copied());
        if list.lives != 0 {
            let lives = ctx.roster.sums(list.bits, list.prefix).lives;
            if lives != list.lives || mine.clone().count() != list.versions.len() {
                // The roster has changed since; the next exchange will find the difference.
                return;
            }
            for (member, (version, standing)) in mine.zip(lines) {
                self.settle(ctx, member.hash(), version, standing, reply);
            }
            return;
        }
        let theirs: std::collections::BTreeMap<u64, (u64, u64)> =
            list.tags.iter().copied().zip(lines).collect();
        for member in mine {
            match theirs.get(&member.tag()) {
                Some((version, standing)) => self.settle(ctx, member.hash(), *version, *standing, reply),
                None => reply.claims.push((member.hash(), Detail::Full)),
            }
        }
        for tag in theirs.keys() {
            if ctx.roster.by_tag(*tag).is_none() {
                reply.wants.push(gossip::Want { tag: *tag, since: 0, known: false });
            }
        }
    }

    fn settle(&self, ctx: &Context<'_>, hash: u64, version: u64, standing: u64, reply: &mut Reply) {
        let Some(member) = ctx.roster.get(hash) else { return };
        let comparison = compare(member, version, standing);
        if comparison.tell {
            reply.claims.push((hash, Detail::Since(version)));
        }
        // Of ourselves only a state that we do not have is of interest: it was forged. Do not ask twice for a state that
        // is already on its way.
        let mine = hash == ctx.core.me && version <= member.state.version();
        if comparison.ask && !mine && !self.remainders.has(hash) {
            reply.wants.push(gossip::Want { tag: member.tag(), since: member.state.version(), known: true });
        }
    }

    fn on_wants(&self, ctx: &Context<'_>, wants: &[gossip::Want], reply: &mut Reply) {
        for want in wants {
            if let Some(hash) = ctx.roster.by_tag(want.tag) {
                let detail = if want.known { Detail::Since(want.since) } else { Detail::Full };
                reply.claims.push((hash, detail));
            }
        }
    }

    /// Sends the answer, cut to one datagram. What is cut off comes up again in a later exchange.
    pub fn answer(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        to: SocketAddr,
        (seq, step): (u32, u32),
        mut reply: Reply,
        extras: AnswerExtras,
    ) {
        // An answer is a sign of life, and a suspended member gives none.
        let suspended = step == 1 && ctx.core.suspended.is_some();
        if suspended || step >= LAST_STEP || (reply.is_empty() && step != 1) {
            self.reply = reply.emptied();
            return;
        }
        // Only the ack repeats the request number of the syn.
        let seq = if step == 1 { seq } else { 0 };
        let exchange = ctx.transport.scratch.leaving(step + 1);
        let mut packet = ctx.packet(seq, Some(Body::Exchange(exchange)));
        packet.cookie_back = ctx.transport.addresses.cookie_back(to);
        if step == 1 {
            packet.cookie = ctx.transport.addresses.cookie(now, to);
            packet.beat = ctx.core.slot_clock.say(now);
            packet.lease = extras.lease;
            if ctx.roster.page_bits() > 0 {
                packet.view = ctx.roster.fingerprint();
            }
        }
        let Ok(mut filler) = Filler::new(packet, ctx.packet_limit(to)) else { return };
        if let Some(claim) = extras.claim {
            // The pages that follow take what is left.
            let _ = filler.try_claim(claim);
        }
        fill(now, ctx, to, &mut filler, &mut reply);
        self.reply = reply.emptied();
        send_exchange(ctx, to, filler.finish());
    }

    fn page(&mut self, ctx: &mut Context<'_>, bits: u32, prefix: u32) -> gossip::Page {
        let sums = ctx.roster.sums(bits, prefix);
        let (mut ages, mut coded) =
            (core::mem::take(&mut self.ages), core::mem::take(&mut ctx.transport.bytes));
        let myself = ctx.roster.myself();
        let nominal = heartbeat_track::nominal(&myself.incarnation.schedule, myself.heartbeat);
        ages.clear();
        let mut divider = IntervalDivider::UNKNOWN;
        for tracks in ctx.roster.tracks(bits, prefix) {
            ages.extend(tracks.iter().map(|track| track.age(nominal, &mut divider)));
        }
        coded.clear();
        ages::encode(&ages, &mut coded);
        let page = gossip::Page {
            prefix,
            lives: sums.lives,
            stamps: sums.stamps,
            ages: ctx.transport.scratch.copy(&coded),
            bits,
        };
        (self.ages, ctx.transport.bytes) = (ages, coded);
        page
    }

    fn list_by_tag(&self, ctx: &Context<'_>, bits: u32, prefix: u32) -> gossip::List {
        let members = || ctx.roster.page(bits, prefix);
        gossip::List {
            bits,
            prefix,
            tags: members().map(|m| m.tag()).collect(),
            lives: 0,
            versions: members().map(|m| m.state.version()).collect(),
            standings: members().map(standing_code).collect(),
        }
    }

    fn list_by_position(&self, ctx: &Context<'_>, bits: u32, prefix: u32) -> gossip::List {
        let lives = ctx.roster.sums(bits, prefix).lives;
        gossip::List { tags: Vec::new(), lives, ..self.list_by_tag(ctx, bits, prefix) }
    }

    /// In the first moments of an incarnation, not all members know it.
    pub fn is_new(&self, now: Instant, core: &Core, membership: OwnMembership) -> bool {
        !membership.is_joined() || self.is_young(now, core)
    }
}

/// Fills a datagram with an answer, most important parts first.
fn fill(now: Instant, ctx: &Context<'_>, to: SocketAddr, filler: &mut Filler, reply: &mut Reply) {
    // Wants first: they are short and bring what we lack. Each further kind takes the room that is left. An item that
    // does not fit is skipped, not the rest.
    for want in reply.wants.drain(..) {
        if filler.try_want(want).is_err() {
            break;
        }
    }
    for page in reply.pages.drain(..) {
        // A page that is too long with its heartbeats may fit without them.
        if let Err(page) = filler.try_page(page)
            && filler.try_page(gossip::Page { ages: Bytes::new(), ..page }).is_err()
        {
            break;
        }
    }
    for (hash, detail) in reply.claims.drain(..) {
        if let Some(member) = ctx.roster.get(hash)
            && filler.try_claim(ctx.claim(now, to, member, detail)).is_err()
        {
            break;
        }
    }
    for list in reply.lists.drain(..) {
        // A list that does not fit leaves the others their chance.
        let _ = filler.try_list(list);
    }
}

fn send_exchange(ctx: &mut Context<'_>, to: SocketAddr, packet: gossip::Packet) {
    ctx.send(to, &packet);
    ctx.transport.scratch.has_left(packet);
}

/// Members that a busy member names to a newcomer. One of them may be gone, and three links per newcomer keep all
/// newcomers connected from the first moment.
const REFERRED: usize = 3;
/// A part with at most this many members is sent as a list: about nine bytes each.
const LEAF: usize = 24;
/// Limit for a page with the same members but different claims. Up to this many are answered by a list, two bytes each;
/// more, by the parts of the page.
const LISTED: usize = 256;
/// From the last sign that rosters differ to larger pages: several times what a change takes to spread.
const CALM: Duration = Duration::from_secs(3);
/// An unequal page is split into eight.
const CHILD_BITS: u32 = 3;
/// Finer than any roster needs; the wire allows 24.
const DEEPEST: u32 = 24;
/// The last step, which is not answered.
const LAST_STEP: u32 = 8;
