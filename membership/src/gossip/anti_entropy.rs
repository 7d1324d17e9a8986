//! Exchange: two members compare what they know, in pages, and settle what differs.
//!
//! Picture: two clerks with card indexes. They first compare the sums on the
//! shards. Drawers with equal sums hold the same cards, so the numbers on the
//! cards (heartbeats) can be read out without names. Drawers with unequal sums
//! are compared by their parts, small parts card by card, and only the cards
//! that differ are copied. Each answer is finer than what it answers, so the
//! conversation ends by itself. (Range-based set reconciliation: Meyer, 2023.)
//!
//! Heartbeats travel as ages: both sides know the line on which a member's
//! heartbeats lie, so they predict the same value for the sender's nominal
//! time and only the difference is coded (heartsay_proto::ages). Exact values
//! come out, and no clocks need to agree: skew costs bits, not truth.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Filler, Message, ages, gossip};

use crate::Instant;
use crate::io::Rejected;
use crate::node::Node;
use crate::roster::fingerprint::standing_code;
use crate::roster::heartbeat_track::{self, IntervalDivider};
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::roster::shard::RangeDigest;
use crate::roster::{COARSE, compare};
use crate::transport::requests::{Request, RequestKind};
use crate::transport::wire::{self, Detail};

/// Answers to one step, gathered before they are cut to a datagram.
#[derive(Debug, Default)]
pub struct Reply {
    /// What the pages and lists take, about: more than fits need not be made.
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

    /// To be filled again.
    fn emptied(mut self) -> Self {
        self.bytes = 0;
        self.pages.clear();
        self.lists.clear();
        self.wants.clear();
        self.claims.clear();
        self
    }
}

impl Node {
    /// Opens an exchange with a member.
    pub(crate) fn open_exchange(&mut self, now: Instant, peer: u64) {
        let Some(member) = self.roster.get(peer) else { return };
        let to = member.incarnation.address();
        let knock = !member.is_present();
        let deadline = now + self.core.patience(Some(member));
        let request = Request { subject: Some(peer), to, sent: now, deadline, kind: RequestKind::Exchange };
        let seq = self.transport.requests.open(request);
        self.core.stats.exchanges += 1;
        self.send_syn(now, to, seq, knock);
    }

    /// Step 1: our pages, as many as fit. `introduce`: the receiver may not know us.
    pub(crate) fn send_syn(&mut self, now: Instant, to: SocketAddr, seq: u32, introduce: bool) {
        let bits = self.syn_bits(now);
        let exchange = self.transport.scratch.leaving(1);
        let mut packet = self.packet(seq, Some(Body::Exchange(exchange)));
        packet.beat = self.core.slot_clock.say(now);
        if bits > 0 {
            packet.view = self.roster.fingerprint();
        }
        let Ok(mut filler) = Filler::new(packet, self.packet_limit(to)) else { return };
        if introduce || self.introduces_itself(now) {
            // A claim too large for the datagram is left out: the peer will ask.
            let _ = filler.try_claim(self.claim(now, to, self.roster.myself(), Detail::Full));
        }
        // Those that do not fit come first next time.
        let pages = 1_u32 << bits;
        for i in 0..pages {
            let prefix = (self.gossip.page_cursor.wrapping_add(i)) % pages;
            if filler.try_page(self.page(bits, prefix)).is_err() {
                self.gossip.page_cursor = prefix;
                break;
            }
        }
        self.send_exchange(to, filler.finish());
    }

    /// Step 1 for an address where perhaps nobody is: who we are, and one sum over all that we know.
    pub(crate) fn send_short_syn(&mut self, now: Instant, to: SocketAddr, seq: u32) {
        let sums = self.roster.sums(0, 0);
        let mut exchange = self.transport.scratch.leaving(1);
        exchange.pages.push(gossip::Page {
            lives: sums.lives,
            stamps: sums.stamps,
            ..gossip::Page::default()
        });
        let mut packet = self.packet(seq, Some(Body::Exchange(exchange)));
        packet.beat = self.core.slot_clock.say(now);
        packet.claims.push(wire::write_claim(now, self.roster.myself(), Detail::Full, 0, 0));
        self.send_exchange(to, packet);
    }

    fn send_exchange(&mut self, to: SocketAddr, packet: gossip::Packet) {
        self.send(to, &packet);
        self.transport.scratch.has_left(packet);
    }

    /// Somebody answered our step 1.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        seq: u32,
        names_others: bool,
    ) -> Result<(), Rejected> {
        let Some(request) = self.answered(now, seq, sender) else {
            // From another life than was asked: who it is comes out of the exchange.
            let stays_open = self.transport.requests.get(seq).is_some();
            return if stays_open { Ok(()) } else { Err(Rejected::Unexpected { what: "ack" }) };
        };
        if request.kind == RequestKind::Dial {
            self.dial_answered(now, Some(from).filter(|_| !names_others));
        }
        Ok(())
    }

    /// One step of somebody's exchange with us.
    pub(crate) fn on_exchange(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        (tag, heartbeat, view): (u64, u64, u64),
        seq: u32,
        exchange: &gossip::Exchange,
    ) -> Result<(), Rejected> {
        let mut reply = core::mem::take(&mut self.gossip.reply);
        let step = exchange.step;
        if step == 1 {
            self.beat_once(now);
        }
        let Some(sender) = sender else {
            // We do not know this life, so its ages mean nothing to us: ask who it is.
            reply.wants.push(gossip::Want { tag, since: 0, known: false });
            self.send_reply(now, from, None, seq, step, reply);
            return Ok(());
        };
        if step == 1 && self.knows_only_itself(tag, exchange) {
            // It will ask for everything; there is nothing to compare.
            self.refer(now, sender, &mut reply);
            self.send_reply(now, from, Some(sender), seq, step, reply);
            return Ok(());
        }
        // The nominal time of the sender, on which all its ages are counted.
        let nominal = self
            .roster
            .get(sender)
            .map_or(0, |m| heartbeat_track::nominal(&m.incarnation.schedule, heartbeat));
        let mut agrees = view == 0 || view == self.roster.fingerprint();
        let complete = step <= 2 && (view != 0 || exchange.pages.iter().any(|p| p.bits == 0));
        let unequal = self.core.stats.pages_unequal;
        for page in &exchange.pages {
            agrees &= self.on_page(now, from, nominal, page, step, &mut reply)?;
        }
        let unequal = self.core.stats.pages_unequal - unequal;
        if unequal >= 2 && unequal * 2 > exchange.pages.len() as u64 {
            self.gossip.pulls.behind(now);
        }
        for list in &exchange.lists {
            self.on_list(list, &mut reply);
        }
        self.on_wants(&exchange.wants, &mut reply);
        if complete {
            self.note_agreement(sender, agrees);
            if agrees {
                self.note_agreement_with(from);
            }
        }
        self.send_reply(now, from, Some(sender), seq, step, reply);
        Ok(())
    }

    fn knows_only_itself(&self, tag: u64, exchange: &gossip::Exchange) -> bool {
        let alone = RangeDigest::of_one(tag).lives;
        self.roster.len() > 2 && matches!(exchange.pages.as_slice(), [p] if p.bits == 0 && p.lives == alone)
    }

    /// Whoever is called by many newcomers at once names a few others, so that they need not all wait for its answers.
    fn refer(&mut self, now: Instant, newcomer: u64, reply: &mut Reply) {
        if !self.gossip.pulls.is_busy(now) {
            return;
        }
        let me = self.core.me;
        let others = peers::sample(&self.roster, &mut self.core.rng, REFERRED, |m| {
            is_other(m, me) && m.hash() != newcomer
        });
        let named = others.into_iter().map(Member::hash);
        reply.claims.extend(core::iter::once(me).chain(named).map(|hash| (hash, Detail::Full)));
    }

    /// Compares one page. Returns whether both sides see it alike.
    fn on_page(
        &mut self,
        now: Instant,
        from: SocketAddr,
        nominal: i64,
        page: &gossip::Page,
        step: u32,
        reply: &mut Reply,
    ) -> Result<bool, Rejected> {
        let mine = self.roster.sums(page.bits, page.prefix);
        if mine.lives != page.lives {
            self.core.stats.pages_unequal += 1;
            self.gossip.unrest_at = now;
            if reply.bytes < self.packet_limit(from) {
                self.refine(page.bits, page.prefix, reply);
            }
            return Ok(false);
        }
        self.core.stats.pages_equal += 1;
        let same = mine.stamps == page.stamps;
        if !page.ages.is_empty() {
            self.take_ages(now, nominal, page)?;
        }
        if !same && self.roster.page_len(page.bits, page.prefix) > LISTED {
            self.refine(page.bits, page.prefix, reply);
            return Ok(false);
        }
        if !same {
            reply.list(self.list_by_position(page.bits, page.prefix));
        }
        if step == 1 {
            let mut answer = self.page(page.bits, page.prefix);
            // When the heartbeats taken just now have settled it, they do so on the other side too.
            answer.stamps = if same { page.stamps } else { answer.stamps };
            reply.page(answer);
        }
        Ok(same)
    }

    /// How finely to cut the roster for a syn. While all agree, pages are as large as a datagram allows, and
    /// their sums cost next to nothing. Around a change they are small: of those that are unequal, the
    /// heartbeats are lost to the exchange.
    fn syn_bits(&self, now: Instant) -> u32 {
        let fine = self.roster.page_bits();
        let set_next_check = now.since(self.gossip.unrest_at) >= CALM;
        if set_next_check {
            (0..fine).find(|bits| self.roster.len() >> bits <= COARSE).unwrap_or(fine)
        } else {
            fine
        }
    }

    /// An unequal page is answered by its parts, a small one by its list.
    fn refine(&mut self, bits: u32, prefix: u32, reply: &mut Reply) {
        let members = self.roster.page_len(bits, prefix);
        if members <= LEAF || bits + CHILD_BITS > DEEPEST {
            reply.list(self.list_by_tag(bits, prefix));
            return;
        }
        for child in 0..1_u32 << CHILD_BITS {
            reply.page(self.page(bits + CHILD_BITS, (prefix << CHILD_BITS) | child));
        }
    }

    /// Somebody's list against ours.
    fn on_list(&mut self, list: &gossip::List, reply: &mut Reply) {
        let mine = self.roster.page(list.bits, list.prefix);
        let lines = list.versions.iter().copied().zip(list.standings.iter().copied());
        if list.lives != 0 {
            let lives = self.roster.sums(list.bits, list.prefix).lives;
            if lives != list.lives || mine.clone().count() != list.versions.len() {
                // The roster has changed since; the next exchange finds out.
                return;
            }
            for (member, (version, standing)) in mine.zip(lines) {
                self.settle(member.hash(), version, standing, reply);
            }
            return;
        }
        let theirs: std::collections::BTreeMap<u64, (u64, u64)> =
            list.tags.iter().copied().zip(lines).collect();
        for member in mine {
            match theirs.get(&member.tag()) {
                Some((version, standing)) => self.settle(member.hash(), *version, *standing, reply),
                None => reply.claims.push((member.hash(), Detail::Full)),
            }
        }
        for tag in theirs.keys() {
            if self.roster.by_tag(*tag).is_none() {
                reply.wants.push(gossip::Want { tag: *tag, since: 0, known: false });
            }
        }
    }

    fn settle(&self, hash: u64, version: u64, standing: u64, reply: &mut Reply) {
        let Some(member) = self.roster.get(hash) else { return };
        let comparison = compare(member, version, standing);
        if comparison.tell {
            reply.claims.push((hash, Detail::Since(version)));
        }
        // What is on its way is not asked for twice.
        if comparison.ask && hash != self.core.me && !self.gossip.remainders.has(hash) {
            reply.wants.push(gossip::Want { tag: member.tag(), since: member.state.version(), known: true });
        }
    }

    fn on_wants(&self, wants: &[gossip::Want], reply: &mut Reply) {
        for want in wants {
            if let Some(hash) = self.roster.by_tag(want.tag) {
                let detail = if want.known { Detail::Since(want.since) } else { Detail::Full };
                reply.claims.push((hash, detail));
            }
        }
    }

    /// Sends what is to be said, cut to one datagram. What is cut off comes up
    /// again in a later exchange.
    fn send_reply(
        &mut self,
        now: Instant,
        to: SocketAddr,
        asker: Option<u64>,
        seq: u32,
        step: u32,
        mut reply: Reply,
    ) {
        // Only the ack answers the number that the syn came with.
        let seq = if step == 1 { seq } else { 0 };
        let nothing = reply.pages.is_empty()
            && reply.lists.is_empty()
            && reply.wants.is_empty()
            && reply.claims.is_empty();
        // An answer is a sign of life.
        let suspended = step == 1 && self.core.suspended.is_some();
        if suspended || step >= LAST_STEP || (nothing && step != 1) {
            self.gossip.reply = reply.emptied();
            return;
        }
        let exchange = self.transport.scratch.leaving(step + 1);
        let mut packet = self.packet(seq, Some(Body::Exchange(exchange)));
        if step == 1 {
            packet.beat = self.core.slot_clock.say(now);
            packet.lease = self.acknowledge(now, asker);
            if self.roster.page_bits() > 0 {
                packet.view = self.roster.fingerprint();
            }
        }
        let Ok(mut filler) = Filler::new(packet, self.packet_limit(to)) else { return };
        if step == 1
            && let Some(claim) = self.what_stands_against(now, to, asker)
        {
            // The pages that follow take what is left.
            let _ = filler.try_claim(claim);
        }
        // Wants first: they are short and bring what we lack. Each part then
        // takes what is left; a part that does not fit is skipped, not the rest.
        for want in reply.wants.drain(..) {
            if filler.try_want(want).is_err() {
                break;
            }
        }
        for page in reply.pages.drain(..) {
            // A page that is too long with heartbeats may fit without.
            if let Err(page) = filler.try_page(page)
                && filler.try_page(gossip::Page { ages: Bytes::new(), ..page }).is_err()
            {
                break;
            }
        }
        for (hash, detail) in reply.claims.drain(..) {
            if let Some(member) = self.roster.get(hash)
                && filler.try_claim(self.claim(now, to, member, detail)).is_err()
            {
                break;
            }
        }
        for list in reply.lists.drain(..) {
            // Skipping one leaves the others their chance.
            let _ = filler.try_list(list);
        }
        self.gossip.reply = reply.emptied();
        self.send_exchange(to, filler.finish());
    }

    fn page(&mut self, bits: u32, prefix: u32) -> gossip::Page {
        let sums = self.roster.sums(bits, prefix);
        let (mut ages, mut coded) =
            (core::mem::take(&mut self.gossip.ages), core::mem::take(&mut self.transport.bytes));
        let myself = self.roster.myself();
        let nominal = heartbeat_track::nominal(&myself.incarnation.schedule, myself.heartbeat);
        ages.clear();
        let mut divider = IntervalDivider::UNKNOWN;
        for tracks in self.roster.tracks(bits, prefix) {
            ages.extend(tracks.iter().map(|track| track.age(nominal, &mut divider)));
        }
        coded.clear();
        ages::encode(&ages, &mut coded);
        let page = gossip::Page {
            prefix,
            lives: sums.lives,
            stamps: sums.stamps,
            ages: self.transport.scratch.copy(&coded),
            bits,
        };
        (self.gossip.ages, self.transport.bytes) = (ages, coded);
        page
    }

    fn list_by_tag(&self, bits: u32, prefix: u32) -> gossip::List {
        let members = || self.roster.page(bits, prefix);
        gossip::List {
            bits,
            prefix,
            tags: members().map(|m| m.tag()).collect(),
            lives: 0,
            versions: members().map(|m| m.state.version()).collect(),
            standings: members().map(standing_code).collect(),
        }
    }

    fn list_by_position(&self, bits: u32, prefix: u32) -> gossip::List {
        let lives = self.roster.sums(bits, prefix).lives;
        gossip::List { tags: Vec::new(), lives, ..self.list_by_tag(bits, prefix) }
    }

    fn note_agreement(&mut self, peer: u64, agrees: bool) {
        self.gossip.agreement.retain(|(other, _)| *other != peer);
        self.gossip.agreement.push_back((peer, agrees));
        if self.gossip.agreement.len() > AGREEMENT {
            self.gossip.agreement.pop_front();
        }
    }

    /// Whether most whom we have compared with lately see the cluster as we do, so with our life under our name: then one that
    /// still waits for the end of an earlier holder has no say.
    pub(crate) fn is_taken_in(&self) -> bool {
        self.peers_agreeing() * 2 > self.gossip.agreement.len()
    }

    /// Whether they agree, of those that said so lately and are still there.
    pub(crate) fn peers_heard(&self) -> impl Iterator<Item = bool> {
        let there = |hash: &u64| self.roster.get(*hash).is_some_and(Member::is_present);
        self.gossip.agreement.iter().filter(move |(peer, _)| there(peer)).map(|(_, agrees)| *agrees)
    }

    /// How many of those whom we have compared with lately see the cluster as we do.
    fn peers_agreeing(&self) -> usize {
        self.gossip.agreement.iter().filter(|(_, agrees)| *agrees).count()
    }

    /// For the first moments of a life, not everybody knows it.
    pub(crate) fn is_new(&self, now: Instant) -> bool {
        !self.is_joined() || self.is_young(now)
    }
}

/// Members named to a newcomer by whoever is busy: one of them may be gone, and all together hold the newcomers
/// together from the first moment on.
const REFERRED: usize = 3;
/// A part with at most so many members is told as a list: about nine bytes each.
const LEAF: usize = 24;
/// A page whose members are the same but not what is said of them is answered
/// by a list of at most so many, two bytes each, or by its parts.
const LISTED: usize = 256;
/// From the last sign that rosters differ to larger pages: several times what a change takes to spread.
const CALM: Duration = Duration::from_secs(3);
/// An unequal page is split into eight.
const CHILD_BITS: u32 = 3;
/// Finer than any roster needs; the wire allows 24.
const DEEPEST: u32 = 24;
/// Steps above this are not answered.
const LAST_STEP: u32 = 8;
/// The last words of so many peers on the view are remembered.
pub const AGREEMENT: usize = 40;
