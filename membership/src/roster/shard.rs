//! A shard of the roster: the members of one range of hashes, with their index, their digest and their heartbeat
//! tracks.
//!
//! Picture: a drawer of index cards with a list on its front. The list gives each card's name and a checksum of its
//! text, so one can search, or compare drawers, without touching the cards.
//!
//! An index entry is a line of that list. To change a member it is taken out as a [`MemberMut`]; when that is dropped,
//! its index entry and the digest of the shard follow.

use core::hint::black_box;
use core::ops::{Deref, DerefMut, Range};

use crate::identity::Heartbeat;
use crate::roster::heartbeat_track::HeartbeatTrack;
use crate::roster::member::Member;
use crate::roster::standing::Status;

/// A range of the roster, with its digest.
#[derive(Debug)]
pub struct Shard {
    /// First and last hash that belong here.
    from: u64,
    to: u64,
    /// One entry for each member, in the same order.
    pub index: Vec<IndexEntry>,
    pub tracks: Vec<HeartbeatTrack>,
    pub members: Vec<Member>,
    /// The digest of all index entries.
    pub sums: RangeDigest,
    /// Whether any of its members has ever set a zone.
    pub zoned: bool,
}

/// The member that an entry stands for, and the stamp of its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub hash: u64,
    /// Lower half of the tag; the upper half is that of the hash.
    half_tag: u32,
    stamp: u32,
}

/// A member taken out to be changed. When it is put back, its index entry, its track and the digest of its shard
/// follow.
#[derive(Debug)]
pub struct MemberMut<'a> {
    entry: &'a mut IndexEntry,
    track: &'a mut HeartbeatTrack,
    member: &'a mut Member,
    sums: &'a mut RangeDigest,
    zoned: &'a mut bool,
    /// What the track was made from.
    was: (Heartbeat, Status, bool),
}

/// Digest of a page: sums over its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeDigest {
    /// Sum of the tags: which incarnations.
    pub lives: u64,
    /// Sum of the stamps: their standing and state.
    pub stamps: u32,
}

impl Shard {
    /// The only shard of a roster, with its first member.
    pub fn new(member: Member) -> Self {
        let entry = IndexEntry::of(&member);
        Self {
            from: 0,
            to: u64::MAX,
            sums: entry.sums(),
            index: vec![entry],
            tracks: vec![HeartbeatTrack::of(&member)],
            zoned: member.zone().is_some(),
            members: vec![member],
        }
    }

    pub fn hashes(&self) -> impl Iterator<Item = u64> {
        self.index.iter().map(|entry| entry.hash)
    }

    /// The member at a place.
    pub fn member_mut(&mut self, place: usize) -> Option<MemberMut<'_>> {
        let (entry, track) = (self.index.get_mut(place)?, self.tracks.get_mut(place)?);
        let member = self.members.get_mut(place)?;
        let was = made_of(member);
        Some(MemberMut { entry, track, member, sums: &mut self.sums, zoned: &mut self.zoned, was })
    }

    /// The place of a member, or the place where it would be inserted.
    ///
    /// Hashes are spread evenly, so a member is close to where its hash says. Around that place the search widens by
    /// steps that double. That reads two cache lines where a binary search of the whole shard would read five. Even if
    /// names are chosen for their hashes, it never takes many more steps than a binary search.
    pub fn find(&self, hash: u64) -> Result<usize, usize> {
        let index = self.index.as_slice();
        let guess = self.guess(hash);
        let reaches = |place: usize| index.get(place).is_none_or(|entry| entry.hash >= hash);
        let (mut from, mut to, mut step) = (guess, guess, NEARBY);
        while from > 0 && reaches(from) {
            to = from;
            from = from.saturating_sub(step);
            step *= 2;
        }
        while !reaches(to) {
            from = to;
            to = (to + step).min(index.len());
            step *= 2;
        }
        let near = index.get(from..to).unwrap_or_default();
        let place = from + near.partition_point(|entry| entry.hash < hash);
        match index.get(place) {
            Some(entry) if entry.hash == hash => Ok(place),
            _ => Err(place),
        }
    }

    /// The place of a member as its hash suggests.
    fn guess(&self, hash: u64) -> usize {
        // How far along the shard, in parts of 2^32.
        let along = (hash.saturating_sub(self.from) << (self.to - self.from).leading_zeros()) >> 32;
        let last = self.index.len().saturating_sub(1);
        usize::try_from((along * self.index.len() as u64) >> 32).unwrap_or(last).min(last)
    }

    /// Touches what a search for a member reads, and what has to move for a newcomer.
    pub fn touch(&self, hash: u64) {
        let guess = self.guess(hash);
        for place in [guess.saturating_sub(NEARBY), guess, guess + NEARBY] {
            black_box(self.index.get(place).map(|entry| entry.hash));
        }
        black_box((self.tracks.get(guess).copied(), self.members.get(guess).map(|member| member.heartbeat)));
    }

    /// Places of the members with hashes from `from` up to and including `to`.
    pub fn between(&self, from: u64, to: u64) -> Range<usize> {
        if from <= self.from && self.to <= to {
            return 0..self.index.len();
        }
        let start = self.index.partition_point(|entry| entry.hash < from);
        start..self.index.partition_point(|entry| entry.hash <= to).max(start)
    }

    /// Inserts a member at the place that [`find`](Self::find) returned.
    pub fn put(&mut self, place: usize, member: Member) {
        let entry = IndexEntry::of(&member);
        if self.members.len() == self.members.capacity() {
            // Doubling would leave a third of all memory unused.
            let more = if self.members.len() < ROOM { 8 } else { MORE };
            self.members.reserve_exact(more);
            self.tracks.reserve_exact(more);
            self.index.reserve_exact(more);
        }
        self.zoned |= member.zone().is_some();
        self.index.insert(place, entry);
        self.tracks.insert(place, HeartbeatTrack::of(&member));
        self.members.insert(place, member);
        self.sums = self.sums.plus(entry.sums());
    }

    pub fn take(&mut self, place: usize) -> Member {
        self.sums = self.sums.minus(self.index.remove(place).sums());
        self.tracks.remove(place);
        self.members.remove(place)
    }

    /// Gives back room reserved for newcomers, if it is much.
    pub fn fit(&mut self) {
        let few = self.members.len() + 8;
        if self.members.capacity() > few {
            self.index.shrink_to(few);
            self.tracks.shrink_to(few);
            self.members.shrink_to(few);
        }
    }

    /// The lower and the upper half of its range.
    pub fn halve(self) -> [Self; 2] {
        let lower = self.from + (self.to - self.from) / 2;
        let middle = self.index.partition_point(|entry| entry.hash <= lower);
        let (mut index, mut tracks) = (self.index.into_iter(), self.tracks.into_iter());
        let mut members = self.members.into_iter();
        let mut part = |from: u64, to: u64, count: usize| {
            let index = roomy(index.by_ref().take(count));
            let sums = RangeDigest::of(&index);
            Self {
                from,
                to,
                index,
                tracks: roomy(tracks.by_ref().take(count)),
                members: roomy(members.by_ref().take(count)),
                sums,
                zoned: self.zoned,
            }
        };
        [part(self.from, lower, middle), part(lower + 1, self.to, usize::MAX)]
    }

    /// Appends the shard that comes after it.
    pub fn append(&mut self, mut after: Self) {
        self.to = after.to;
        self.index.append(&mut after.index);
        self.tracks.append(&mut after.tracks);
        self.members.append(&mut after.members);
        self.sums = self.sums.plus(after.sums);
        self.zoned |= after.zoned;
    }
}

/// With room for all that will come. Otherwise a thousand rosters that grow in step, each through its own many sizes,
/// would leave a third of the memory in holes of sizes that are never asked for again.
fn roomy<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::with_capacity(ROOM);
    all.extend(items);
    all
}

impl IndexEntry {
    pub fn of(member: &Member) -> Self {
        let [.., a, b, c, d] = member.tag().to_be_bytes();
        Self { hash: member.hash(), half_tag: u32::from_be_bytes([a, b, c, d]), stamp: member.stamp }
    }

    pub fn tag(self) -> u64 {
        (self.hash >> 32 << 32) | u64::from(self.half_tag)
    }

    fn sums(self) -> RangeDigest {
        RangeDigest { stamps: self.stamp, ..RangeDigest::of_one(self.tag()) }
    }
}

impl Deref for MemberMut<'_> {
    type Target = Member;

    fn deref(&self) -> &Member {
        self.member
    }
}

impl DerefMut for MemberMut<'_> {
    fn deref_mut(&mut self) -> &mut Member {
        self.member
    }
}

impl Drop for MemberMut<'_> {
    fn drop(&mut self) {
        let entry = IndexEntry::of(self.member);
        if entry != *self.entry {
            *self.sums = self.sums.minus(self.entry.sums()).plus(entry.sums());
            *self.zoned |= self.member.zone().is_some();
        }
        if entry != *self.entry || self.was != made_of(self.member) {
            *self.track = HeartbeatTrack::of(self.member);
        }
        *self.entry = entry;
    }
}

/// What a track is made from, beside what never changes.
fn made_of(member: &Member) -> (Heartbeat, Status, bool) {
    (member.heartbeat, member.status, member.is_marked())
}

impl RangeDigest {
    pub fn of(index: &[IndexEntry]) -> Self {
        index.iter().map(|entry| entry.sums()).fold(Self::default(), Self::plus)
    }

    /// The digest of one member without claims, by its tag.
    pub fn of_one(tag: u64) -> Self {
        Self { lives: spread(tag), stamps: 0 }
    }

    pub fn plus(self, other: Self) -> Self {
        Self { lives: self.lives.wrapping_add(other.lives), stamps: self.stamps.wrapping_add(other.stamps) }
    }

    pub fn minus(self, other: Self) -> Self {
        Self { lives: self.lives.wrapping_sub(other.lives), stamps: self.stamps.wrapping_sub(other.stamps) }
    }
}

/// Tags are structured (their upper half is the name's). A multiplication and a shift make their sum depend on every
/// bit.
fn spread(tag: u64) -> u64 {
    let mixed = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Most members of a shard on average. A newcomer moves half of them, 6 kB. If a thousand nodes share a cache, every
/// read is a miss, and the longer the block that lies together, the more of it is prefetched (`heartsay-sim bench
/// --nodes 1000`, relative: 80: 1, 160: 0.92, 320: 0.91, 640: 0.95).
pub const SHARD: usize = 160;
/// First step of a search: a member is about six places from where its hash says.
const NEARBY: usize = 6;
/// Members that a shard holds before it has to grow: eight kilobytes of them.
const ROOM: usize = 170;
/// How many more it then has room for: another two kilobytes of members.
const MORE: usize = 42;

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(from: u64, to: u64, hashes: &[u64]) -> Shard {
        let index = hashes.iter().map(|hash| IndexEntry { hash: *hash, half_tag: 0, stamp: 0 }).collect();
        let (tracks, members) = Default::default();
        Shard { from, to, index, tracks, members, sums: RangeDigest::default(), zoned: false }
    }

    #[test]
    fn a_search_finds_what_a_binary_search_finds_however_the_hashes_are_spread() {
        let even: Vec<u64> = (0..90).map(|i| i << 57 | 5).collect();
        let crowded: Vec<u64> = (0..90).map(|i| if i < 80 { i } else { i << 57 }).collect();
        let squares: Vec<u64> = (0..60).map(|i| 1 << i).collect();
        for hashes in [vec![], vec![0], vec![u64::MAX], vec![7, 9], even, crowded, squares] {
            let near = hashes.iter().flat_map(|hash| [hash.saturating_sub(1), *hash, hash.saturating_add(1)]);
            for hash in near.chain([0, 1, u64::MAX / 2, u64::MAX]) {
                for (from, to) in [(0, u64::MAX), (0, 1 << 63), (1 << 62, (1 << 63) - 1)] {
                    let shard = shard(from, to, &hashes);
                    assert_eq!(shard.find(hash), hashes.binary_search(&hash), "{hash} in {hashes:?}");
                }
            }
        }
    }
}
