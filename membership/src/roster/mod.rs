//! The roster: the members of the cluster, sorted by the hash of their name.
//!
//! All members that know the same incarnations have them in the same order, and any range of hashes (a page) has the
//! same sum of tags (its fingerprint). So two sides find out in eight bytes whether they mean the same members, and can
//! then name them by position.
//!
//! Picture: a card index whose drawers each hold an equal range of hashes, and which gets twice as many drawers when
//! they are too full.
//!
//! A drawer is a shard. A page on the wire is several shards, or a part of one. A newcomer moves the entries of one
//! shard only (`shard.rs`).
//!
//! **Who may change it.**
//!
//! - What others claim about a member enters by [`Roster::apply`] only, and only from `Node::take_claim`.
//! - A heartbeat enters without a claim in two ways: with a datagram straight from its owner (`Node::heard`), and with a
//!   page of an exchange (`gossip/ages.rs`).
//! - The parts mark members through [`Roster::get_mut`]: an accusation, a verdict, what a path has shown. When the guard
//!   that it returns is dropped, the member's index entry, its track and the digest of its shard follow.
//! - The status of a known incarnation follows its marks in `Node::refresh` only, by [`Roster::set_status`]. Only our own
//!   good-bye sets our own status at once (`gossip/leave.rs`).
//! - Members go by [`Roster::bury`] (forgotten, with a tombstone) or [`Roster::remove`] (after a long sleep, without).
//! - Quorum only reads.

pub mod claim;
pub mod fingerprint;
pub mod heartbeat_track;
pub mod incarnation;
pub mod interner;
pub mod member;
pub mod peers;
pub mod returns;
pub mod shard;
pub mod source;
pub mod standing;
pub mod state;
#[cfg(test)]
mod tests;
pub mod tombstones;

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use heartsay_detector::DetectorConfig;

use crate::Instant;
use crate::config::Config;
use crate::identity::{Heartbeat, HostId, Name};
use crate::io::Rejected;
use crate::roster::claim::Claim;
use crate::roster::fingerprint::standing_code;
use crate::roster::heartbeat_track::HeartbeatTrack;
use crate::roster::interner::Interner;
use crate::roster::member::{Member, touch_cold};
use crate::roster::returns::Returns;
use crate::roster::shard::{MemberMut, RangeDigest, SHARD, Shard};
use crate::roster::standing::{Standing, Status};
use crate::roster::state::{Delta, KeyChange, Merged, State};
use crate::roster::tombstones::Tombstones;

/// The members, ourselves included.
#[derive(Debug)]
pub struct Roster {
    /// The hash of our own name.
    me: u64,
    /// `1 << bits` shards, by the first `bits` bits of the hash.
    shards: Vec<Shard>,
    bits: u32,
    len: usize,
    census: Census,
    tombstones: Tombstones,
    max_members: usize,
    interner: Interner,
    /// Members that are shown as down although they are alive, by hearsay or in dispute.
    pub returns: Returns,
}

/// How many members have each status, this node included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Nothing counts against them.
    pub alive: u32,
    /// They announced a restart.
    pub restarting: u32,
    /// Accused, without a verdict yet.
    pub suspect: u32,
    /// A verdict says that they are down.
    pub down: u32,
    /// Said good-bye, and not forgotten yet.
    pub left: u32,
}

/// The effect of a claim on the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    Same,
    /// We know better, and the claim's sender should be told.
    Stale,
    /// It is about an incarnation that we do not know, and does not say enough to add it.
    Unknown,
    /// The member was dropped, or a tombstone set for one that we never had.
    Forgotten,
    /// A name that we did not have.
    New,
    /// A later incarnation of a name that we had.
    Restarted,
    /// A later incarnation of the same process, now at another address.
    Moved {
        /// The earlier address.
        from: SocketAddr,
    },
    /// The same incarnation; what of it changed.
    Changed {
        /// Its heartbeat advanced.
        heartbeat: bool,
        /// Part of its state is new to us, and may be to others.
        state: bool,
        /// Values of its state that changed.
        values: Vec<KeyChange>,
        /// Its accusations or its verdict changed.
        standing: bool,
    },
}

impl Roster {
    pub fn new(me: Member, config: &Config) -> Self {
        let mut census = Census::default();
        *census.of(me.status) += 1;
        Self {
            me: me.hash(),
            shards: vec![Shard::new(me)],
            bits: 0,
            len: 1,
            census,
            tombstones: Tombstones::new(config.tombstones),
            max_members: config.max_members.max(1),
            interner: config.interner.clone(),
            returns: Returns::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Our own entry.
    #[expect(clippy::expect_used, reason = "it is there from `new` on, and nothing removes it")]
    pub fn myself(&self) -> &Member {
        self.get(self.me).expect("we are in our own roster")
    }

    /// Whether we have said good-bye, for good or for a restart.
    pub fn is_leaving(&self) -> bool {
        matches!(self.myself().status, Status::Left | Status::Restarting)
    }

    /// The names of those hashes that are known.
    pub fn names(&self, hashes: &[u64]) -> Vec<Name> {
        hashes
            .iter()
            .filter_map(|hash| self.get(*hash))
            .map(|member| member.incarnation.name.clone())
            .collect()
    }

    /// Whether there are more members than one exchange can cover.
    pub fn exceeds_one_exchange(&self) -> bool {
        self.len > COARSE * 2
    }

    /// How many members have which status, ourselves included.
    pub fn census(&self) -> Census {
        self.census
    }

    /// The same as it is shown.
    pub fn shown_census(&self) -> Census {
        let mut census = self.census;
        for member in self.returns.subjects().filter_map(|hash| self.get(hash)) {
            *census.of(member.status) -= 1;
            census.down += 1;
        }
        census
    }

    /// The status of a member as it is shown, and since when.
    pub fn shown(&self, member: &Member) -> (Status, Instant) {
        match self.returns.get(member.hash()) {
            Some(hearsay) => (Status::Down, hearsay.since),
            None => (member.status, member.since()),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.shards.iter().flat_map(|shard| &shard.members)
    }

    /// All members, each with the hash of its name.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.shards.iter().flat_map(|shard| shard.hashes().zip(&shard.members))
    }

    /// The hashes of the members in good standing.
    pub fn alive(&self) -> impl Iterator<Item = u64> {
        let shards = self.shards.iter();
        let all = shards.flat_map(|shard| shard.index.iter().zip(&shard.tracks));
        all.filter(|(_, track)| track.is_alive()).map(|(entry, _)| entry.hash)
    }

    /// Whether any member has ever set a zone.
    pub fn is_zoned(&self) -> bool {
        self.shards.iter().any(|shard| shard.zoned)
    }

    /// The hashes of present members whose silence has become surprising. Only members with enough history are
    /// considered.
    pub fn overdue(&mut self, now: Instant, config: &DetectorConfig) -> Vec<u64> {
        let mut overdue = Vec::new();
        let ticks = heartbeat_track::ticks(now);
        for shard in &mut self.shards {
            for (track, member) in shard.tracks.iter_mut().zip(&shard.members) {
                if track.needs_no_check(ticks) || track.is_gone() {
                    continue;
                }
                if !member.has_history() {
                    // Only its next heartbeat can give it a history.
                    track.no_check_until_heard();
                } else if member.detector.is_overdue(now, config) {
                    overdue.push(member.hash());
                } else {
                    track.set_next_check(member.detector.overdue_from(config));
                }
            }
        }
        overdue
    }

    /// Subtracts our own absence from the silence of all members.
    pub fn shift(&mut self, now: Instant, away: Duration) {
        for member in self.shards.iter_mut().flat_map(|shard| &mut shard.members) {
            member.detector.shift(now, away);
        }
    }

    pub fn get(&self, hash: u64) -> Option<&Member> {
        let shard = self.shards.get(self.shard_of(hash))?;
        shard.members.get(shard.find(hash).ok()?)
    }

    pub fn get_mut(&mut self, hash: u64) -> Option<MemberMut<'_>> {
        let at = self.shard_of(hash);
        let shard = self.shards.get_mut(at)?;
        shard.member_mut(shard.find(hash).ok()?)
    }

    /// Touches, step by step, all that the lookups of these hashes will read. The cache misses then overlap instead of
    /// being waited for one by one.
    pub fn touch(&self, hashes: &[u64]) {
        for hash in hashes {
            if let Some(shard) = self.shards.get(self.shard_of(*hash)) {
                shard.touch(*hash);
            }
        }
        let known: Vec<&Member> = hashes.iter().filter_map(|hash| self.get(*hash)).collect();
        touch_cold(&known);
    }

    /// Position of a member.
    pub fn rank(&self, hash: u64) -> Option<usize> {
        let at = self.shard_of(hash);
        let before: usize = self.shards.iter().take(at).map(|d| d.members.len()).sum();
        Some(before + self.shards.get(at)?.find(hash).ok()?)
    }

    pub fn at(&self, mut rank: usize) -> Option<&Member> {
        for shard in &self.shards {
            match rank.checked_sub(shard.members.len()) {
                Some(rest) => rank = rest,
                None => return shard.members.get(rank),
            }
        }
        None
    }

    /// The member whose incarnation has this tag, by the hash of its name.
    pub fn by_tag(&self, tag: u64) -> Option<u64> {
        // Tags share the upper half with the hash by which the roster is sorted.
        let shard = self.shards.get(self.shard_of(tag))?;
        let (Ok(first) | Err(first)) = shard.find(tag >> 32 << 32);
        let mut same = shard.index.get(first..)?.iter().take_while(|entry| entry.hash >> 32 == tag >> 32);
        same.find(|entry| entry.tag() == tag).map(|entry| entry.hash)
    }

    /// Sets a member's status.
    pub fn set_status(&mut self, now: Instant, hash: u64, status: Status) {
        let Some(mut member) = self.get_mut(hash) else { return };
        let before = member.status;
        member.report(now, status);
        drop(member);
        *self.census.of(before) -= 1;
        *self.census.of(status) += 1;
    }

    /// Bits of hash that make pages of at most about [`PAGE`] members.
    pub fn page_bits(&self) -> u32 {
        self.len.div_ceil(PAGE).next_power_of_two().trailing_zeros()
    }

    /// The members whose hash begins with `prefix`, of `bits` bits.
    pub fn page(&self, bits: u32, prefix: u32) -> impl Iterator<Item = &Member> + Clone {
        self.parts(bits, prefix).flat_map(|(shard, range)| shard.members.get(range).unwrap_or_default())
    }

    /// The tracks of those members, shard by shard.
    pub fn tracks(&self, bits: u32, prefix: u32) -> impl Iterator<Item = &[HeartbeatTrack]> {
        self.parts(bits, prefix).map(|(shard, range)| shard.tracks.get(range).unwrap_or_default())
    }

    /// The number of those members.
    pub fn page_len(&self, bits: u32, prefix: u32) -> usize {
        self.parts(bits, prefix).map(|(_, range)| range.len()).sum()
    }

    /// The shards of a page, their numbers, and the places of the page's members in them. For noting heartbeats of
    /// members in good standing, which do not change the index. Anything else needs [`Self::get_mut`].
    pub fn parts_mut(
        &mut self,
        bits: u32,
        prefix: u32,
    ) -> impl Iterator<Item = (usize, &mut Shard, Range<usize>)> {
        let (shards, from, to) = self.span(bits, prefix);
        let numbers = shards.clone();
        let shards = self.shards.get_mut(shards).unwrap_or_default();
        numbers.zip(shards).map(move |(number, shard)| {
            let range = shard.between(from, to);
            (number, shard, range)
        })
    }

    /// The number of a member's shard, and its place there.
    pub fn place(&self, hash: u64) -> Option<(usize, usize)> {
        let number = self.shard_of(hash);
        Some((number, self.shards.get(number)?.find(hash).ok()?))
    }

    /// Digest of a page.
    pub fn sums(&self, bits: u32, prefix: u32) -> RangeDigest {
        let part = |(shard, range): (&Shard, Range<usize>)| {
            if range.len() == shard.index.len() {
                return shard.sums;
            }
            RangeDigest::of(shard.index.get(range).unwrap_or_default())
        };
        self.parts(bits, prefix).map(part).fold(RangeDigest::default(), RangeDigest::plus)
    }

    /// Tags with `from <= hash`, and `hash < until` unless `until` is 0, each with its member.
    pub fn between(&self, from: u64, until: u64) -> impl Iterator<Item = (u64, &Member)> {
        let last = until.wrapping_sub(1);
        let shards = self.shards.get(self.shard_of(from)..=self.shard_of(last)).unwrap_or_default();
        shards.iter().flat_map(move |shard| {
            let range = shard.between(from, last);
            let index = shard.index.get(range.clone()).unwrap_or_default();
            index.iter().map(|entry| entry.tag()).zip(shard.members.get(range).unwrap_or_default())
        })
    }

    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// One fingerprint of everything: the members and their standings.
    pub fn fingerprint(&self) -> u64 {
        let page = self.sums(0, 0);
        page.lives ^ u64::from(page.stamps).rotate_left(32)
    }

    /// Applies a claim about another member. The caller compares the statuses before and after, and reports the change.
    ///
    /// # Errors
    /// The name is held by another live host, the roster is full, or a value is over its limit; nothing was changed.
    pub fn apply(&mut self, now: Instant, claim: Claim, config: &Config) -> Result<Change, Rejected> {
        let buried = self.tombstones.generation(claim.subject);
        if claim.forgotten {
            return Ok(self.forget(now, &claim));
        }
        if buried.is_some_and(|generation| generation >= claim.generation) {
            return Ok(Change::Stale);
        }
        let interner = &self.interner;
        let at = shard_of(self.bits, claim.subject);
        let Some(shard) = self.shards.get_mut(at) else { return Ok(Change::Unknown) };
        let place = match shard.find(claim.subject) {
            Ok(place) => place,
            Err(place) => return self.insert(now, claim, config, (at, place)),
        };
        let Some(mut member) = shard.member_mut(place) else { return Ok(Change::Unknown) };
        if claim.generation < member.incarnation.generation {
            return Ok(Change::Stale);
        }
        if let Some(incarnation) = &claim.incarnation
            && incarnation.host_id != member.incarnation.host_id
            && keeps_its_name(now, &member, &claim.standing)
            && !incarnation.is_before(&member.incarnation)
        {
            return Err(duplicate(&member, incarnation.host_id));
        }
        if claim.generation > member.incarnation.generation {
            let subject = claim.subject;
            let change = match claim.incarnation {
                None => return Ok(Change::Unknown),
                Some(ref incarnation)
                    if incarnation.continues(&member.incarnation) && !member.marks().left =>
                {
                    let from = member.incarnation.address();
                    follow(now, &mut member, claim, config, interner)?;
                    Change::Moved { from }
                }
                Some(incarnation) => {
                    let (incarnation, state) =
                        interner.intern(incarnation, first_state(claim.delta.as_ref())?);
                    let before = member.status;
                    *member = Member::new(now, incarnation, claim.standing, state, config);
                    *self.census.of(before) -= 1;
                    *self.census.of(member.status) += 1;
                    Change::Restarted
                }
            };
            self.returns.forget(subject);
            return Ok(change);
        }
        if let Some(incarnation) = &claim.incarnation
            && incarnation.tag != member.tag()
        {
            // Two incarnations of one name began in the same millisecond. The first to arrive stays.
            return Err(duplicate(&member, incarnation.host_id));
        }
        merge(now, &mut member, &claim, config, interner)
    }

    /// Drops a member and sets a tombstone for it.
    pub fn bury(&mut self, now: Instant, hash: u64) -> Option<Member> {
        let member = self.remove(hash)?;
        self.tombstones.bury(now, hash, member.incarnation.generation);
        Some(member)
    }

    /// Drops a member.
    pub fn remove(&mut self, hash: u64) -> Option<Member> {
        let at = self.shard_of(hash);
        let shard = self.shards.get_mut(at)?;
        let place = shard.find(hash).ok()?;
        let member = shard.take(place);
        self.returns.forget(hash);
        self.len -= 1;
        *self.census.of(member.status) -= 1;
        self.resize();
        Some(member)
    }

    /// Gives back the room that was reserved for newcomers.
    pub fn fit(&mut self) {
        self.shards.iter_mut().for_each(Shard::fit);
    }

    pub fn age_tombstones(&mut self, now: Instant) {
        self.tombstones.age(now);
    }

    fn forget(&mut self, now: Instant, claim: &Claim) -> Change {
        match self.get(claim.subject) {
            Some(member) if member.incarnation.generation > claim.generation => Change::Stale,
            Some(_) => {
                self.bury(now, claim.subject);
                Change::Forgotten
            }
            None if self.tombstones.generation(claim.subject) >= Some(claim.generation) => Change::Same,
            None => {
                self.tombstones.bury(now, claim.subject, claim.generation);
                Change::Forgotten
            }
        }
    }

    /// Inserts a newcomer at its place in its shard.
    fn insert(
        &mut self,
        now: Instant,
        claim: Claim,
        config: &Config,
        (at, place): (usize, usize),
    ) -> Result<Change, Rejected> {
        let Some(incarnation) = claim.incarnation else { return Ok(Change::Unknown) };
        if self.len >= self.max_members {
            return Err(Rejected::Full { cap: self.max_members, name: incarnation.name });
        }
        let (incarnation, state) = self.interner.intern(incarnation, first_state(claim.delta.as_ref())?);
        let member = Member::new(now, incarnation, claim.standing, state, config);
        if let Some(shard) = self.shards.get_mut(at) {
            *self.census.of(member.status) += 1;
            shard.put(place, member);
            self.len += 1;
        }
        self.resize();
        Ok(Change::New)
    }

    /// Doubles the shards when they are too full, and halves them when they are nearly empty.
    fn resize(&mut self) {
        while self.len > SHARD << self.bits {
            self.bits += 1;
            self.shards = core::mem::take(&mut self.shards).into_iter().flat_map(Shard::halve).collect();
        }
        while self.bits > 0 && self.len < SHARD << self.bits >> 2 {
            self.bits -= 1;
            let mut halves = core::mem::take(&mut self.shards).into_iter();
            while let (Some(mut first), Some(second)) = (halves.next(), halves.next()) {
                first.append(second);
                self.shards.push(first);
            }
        }
    }

    fn shard_of(&self, hash: u64) -> usize {
        shard_of(self.bits, hash)
    }

    /// The shards that a page covers, and in each the places that belong to the page.
    fn parts(&self, bits: u32, prefix: u32) -> impl Iterator<Item = (&Shard, Range<usize>)> + Clone {
        let (shards, from, to) = self.span(bits, prefix);
        let shards = self.shards.get(shards).unwrap_or_default();
        shards.iter().map(move |shard| (shard, shard.between(from, to)))
    }

    /// The shards that a page covers, and its first and last hash.
    fn span(&self, bits: u32, prefix: u32) -> (Range<usize>, u64, u64) {
        let (from, to) = bounds(bits, prefix);
        let (first, last) = (self.shard_of(from), self.shard_of(to));
        (first..last + 1, from, to)
    }
}

/// First and last hash that begins with `prefix`, of `bits` bits.
fn bounds(bits: u32, prefix: u32) -> (u64, u64) {
    if bits == 0 {
        return (0, u64::MAX);
    }
    let shift = 64 - bits.min(32);
    let from = u64::from(prefix) << shift;
    (from, from | (u64::MAX >> bits.min(32)))
}

fn shard_of(bits: u32, hash: u64) -> usize {
    if bits == 0 { 0 } else { usize::try_from(hash >> (64 - bits)).unwrap_or(usize::MAX) }
}

impl Census {
    fn of(&mut self, status: Status) -> &mut u32 {
        match status {
            Status::Alive => &mut self.alive,
            Status::Restarting => &mut self.restarting,
            Status::Suspect => &mut self.suspect,
            Status::Down => &mut self.down,
            Status::Left => &mut self.left,
        }
    }
}

/// Which side knows more about one incarnation, by the entry in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// We know something that the other side does not.
    pub tell: bool,
    /// The other side knows something that we do not.
    pub ask: bool,
}

/// Compares our record with an entry of the other side's list.
pub fn compare(member: &Member, version: u64, standing: u64) -> Comparison {
    let mine = standing_code(member);
    let state = member.state.version().cmp(&version);
    // An accusation or verdict whose basis is below a heartbeat that we know is no news.
    let basis: Heartbeat = standing / 4;
    let theirs_is_news =
        standing != 0 && standing != mine && (standing % 4 == 3 || basis >= member.heartbeat);
    Comparison {
        tell: state.is_gt() || (standing != mine && !theirs_is_news) || (mine != 0 && standing != mine),
        ask: state.is_lt() || (theirs_is_news && member.status != Status::Left),
    }
}

/// Continues with a later incarnation of the same process.
fn follow(
    now: Instant,
    member: &mut Member,
    claim: Claim,
    config: &Config,
    interner: &Interner,
) -> Result<(), Rejected> {
    let Some(incarnation) = claim.incarnation else { return Ok(()) };
    let mut state = member.state.clone();
    if let Some(delta) = claim.delta.as_ref().filter(|delta| delta.until > state.version()) {
        state.merge(delta)?;
    }
    let (incarnation, state) = interner.intern(incarnation, state);
    member.follow(incarnation, state);
    member.advance(now, claim.standing.heartbeat, &config.detector);
    member.mark(&claim.standing.marks);
    Ok(())
}

fn merge(
    now: Instant,
    member: &mut Member,
    claim: &Claim,
    config: &Config,
    interner: &Interner,
) -> Result<Change, Rejected> {
    let mut merged = Merged::default();
    if let Some(delta) = &claim.delta {
        let known = &mut **member;
        merged = known.state.merge(delta)?;
        if merged != Merged::default() {
            interner.intern_state(&known.incarnation, &mut known.state);
        }
    }
    let Merged { advanced, changes: values } = merged;
    let state = advanced || !values.is_empty();
    let heartbeat = member.advance(now, claim.standing.heartbeat, &config.detector);
    let standing = member.mark(&claim.standing.marks);
    if advanced && !standing {
        member.restamp();
    }
    if heartbeat || state || standing {
        return Ok(Change::Changed { heartbeat, state, values, standing });
    }
    // If the sender still holds something that a heartbeat has refuted, it should learn the heartbeat.
    let refuted = claim.standing.heartbeat < member.heartbeat && claim.standing.status() != member.standing();
    Ok(if refuted { Change::Stale } else { Change::Same })
}

fn first_state(delta: Option<&Delta>) -> Result<State, Rejected> {
    let mut state = State::default();
    if let Some(delta) = delta {
        state.merge(delta)?;
    }
    Ok(state)
}

/// Whether the holder keeps its name against an incarnation of another host.
///
/// A suspect does not keep it without end: the sender of the other's claim has seen the holder down, and perhaps no
/// member is left to agree with us on a verdict. It loses the name at once if the other is down too, and so takes
/// nothing from a live host. Otherwise it loses the name after all the time that a refutation may need. If the holder
/// is alive, it begins anew when it hears of the other.
pub fn keeps_its_name(now: Instant, member: &Member, other: &Standing) -> bool {
    match member.status {
        Status::Alive | Status::Restarting => true,
        Status::Suspect => {
            let other_lives = matches!(other.status(), Status::Alive | Status::Restarting | Status::Suspect);
            other_lives && now.since(member.since()) < NAME_KEPT
        }
        Status::Down | Status::Left => false,
    }
}

pub fn duplicate(holder: &Member, newcomer: HostId) -> Rejected {
    Rejected::DuplicateName {
        name: holder.incarnation.name.clone(),
        holder: holder.incarnation.host_id,
        newcomer,
    }
}

/// How long a suspect keeps its name against a live host: several times what a verdict takes if there are members to
/// give it, and what a refutation takes under any loss that the protocol tolerates.
const NAME_KEPT: Duration = Duration::from_secs(30);
/// Most members of a page on average: the fingerprints then cost at most a bit per member, and a page in the worst
/// coding fits half a datagram.
const PAGE: usize = 192;
/// Most members of a page, on average, while all sides agree: about 550 bytes of heartbeats.
pub const COARSE: usize = 1800;
