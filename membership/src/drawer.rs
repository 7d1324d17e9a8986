//! A drawer of the roster: the members of one range of hashes, with their sums and pulses.
//!
//! Picture: index cards with riders. On the rider stands who a card is about and the stamp of what is
//! written on it, so that whoever looks for somebody, or sums up a drawer, reads riders and no cards. A card is
//! taken out to be written on; when it is put back, its rider and the sums of the drawer follow.

use core::ops::{Deref, DerefMut, Range};

use crate::identity::Heartbeat;
use crate::member::{Member, Status};
use crate::pulse::Pulse;

/// A range of the roster, with its sums.
#[derive(Debug, Default)]
pub struct Drawer {
    /// One for each of the members, in the same order.
    pub riders: Vec<Rider>,
    pub pulses: Vec<Pulse>,
    pub members: Vec<Member>,
    /// Of all riders.
    pub sums: Sums,
    /// Whether any of the members has ever said in which zone it is.
    pub zoned: bool,
}

/// Who a card is about, and the stamp of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rider {
    pub hash: u64,
    /// Lower half of the tag; the upper one is that of the hash.
    life: u32,
    stamp: u32,
}

/// A member taken out to be written on. When it is put back, its rider, its pulse and the sums of its drawer follow.
#[derive(Debug)]
pub struct InHand<'a> {
    rider: &'a mut Rider,
    pulse: &'a mut Pulse,
    member: &'a mut Member,
    sums: &'a mut Sums,
    zoned: &'a mut bool,
    /// What the pulse was made of.
    was: (Heartbeat, Status),
}

/// Sums over a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of the tags: who.
    pub lives: u64,
    /// Of the stamps: in what standing and with what state.
    pub stamps: u32,
}

impl Drawer {
    pub fn new(members: Vec<Member>) -> Self {
        let riders: Vec<Rider> = members.iter().map(Rider::of).collect();
        let zoned = members.iter().any(|member| member.zone().is_some());
        Self {
            sums: Sums::of(&riders),
            riders,
            pulses: members.iter().map(Pulse::of).collect(),
            members,
            zoned,
        }
    }

    pub fn hashes(&self) -> impl Iterator<Item = u64> {
        self.riders.iter().map(|rider| rider.hash)
    }

    pub fn take_in_hand(&mut self, hash: u64) -> Option<InHand<'_>> {
        let place = self.find(hash).ok()?;
        let (rider, pulse) = (self.riders.get_mut(place)?, self.pulses.get_mut(place)?);
        let member = self.members.get_mut(place)?;
        let was = (member.heartbeat, member.status);
        Some(InHand { rider, pulse, member, sums: &mut self.sums, zoned: &mut self.zoned, was })
    }

    /// Where a member is, or where it would stand.
    ///
    /// Hashes are spread evenly, so a member stands nearly where its hash says. Around that place the search
    /// widens by steps that double: two lines of cache where halving the whole would read five, and never
    /// many more steps than halving if somebody chose names for their hashes.
    pub fn find(&self, hash: u64) -> Result<usize, usize> {
        let riders = self.riders.as_slice();
        let (Some(first), Some(last)) = (riders.first(), riders.last()) else { return Err(0) };
        let (along, all) = (hash.saturating_sub(first.hash) >> 32, (last.hash - first.hash) >> 32);
        let steps = riders.len() as u64 - 1;
        let guess = usize::try_from(along.min(all) * steps / all.max(1)).unwrap_or(0).min(riders.len() - 1);
        let reaches = |place: usize| riders.get(place).is_none_or(|rider| rider.hash >= hash);
        let (mut from, mut to, mut step) = (guess, guess, NEARBY);
        while from > 0 && reaches(from) {
            to = from;
            from = from.saturating_sub(step);
            step *= 2;
        }
        while !reaches(to) {
            from = to;
            to = (to + step).min(riders.len());
            step *= 2;
        }
        let near = riders.get(from..to).unwrap_or_default();
        let place = from + near.partition_point(|rider| rider.hash < hash);
        match riders.get(place) {
            Some(rider) if rider.hash == hash => Ok(place),
            _ => Err(place),
        }
    }

    /// Places of the members from hash `from` up to and including `to`.
    pub fn between(&self, from: u64, to: u64) -> Range<usize> {
        let inside = |rider: Option<&Rider>| rider.is_none_or(|rider| (from..=to).contains(&rider.hash));
        if inside(self.riders.first()) && inside(self.riders.last()) {
            return 0..self.riders.len();
        }
        let start = self.riders.partition_point(|rider| rider.hash < from);
        start..self.riders.partition_point(|rider| rider.hash <= to).max(start)
    }

    pub fn put(&mut self, member: Member) {
        let rider = Rider::of(&member);
        let (Ok(place) | Err(place)) = self.find(rider.hash);
        if self.members.len() == self.members.capacity() {
            // Doubling would leave a third of all memory unused.
            let more = if self.members.len() < ROOM { 8 } else { MORE };
            self.members.reserve_exact(more);
            self.pulses.reserve_exact(more);
            self.riders.reserve_exact(more);
        }
        self.zoned |= member.zone().is_some();
        self.riders.insert(place, rider);
        self.pulses.insert(place, Pulse::of(&member));
        self.members.insert(place, member);
        self.sums = self.sums.plus(rider.sums());
    }

    pub fn take(&mut self, place: usize) -> Member {
        self.sums = self.sums.minus(self.riders.remove(place).sums());
        self.pulses.remove(place);
        self.members.remove(place)
    }

    /// Those below hash `from`, and those from there on.
    pub fn halve(self, from: u64) -> [Self; 2] {
        let middle = self.riders.partition_point(|rider| rider.hash < from);
        let (mut riders, mut pulses) = (self.riders.into_iter(), self.pulses.into_iter());
        let mut members = self.members.into_iter();
        let mut part = |count: usize| {
            let riders = roomy(riders.by_ref().take(count));
            let sums = Sums::of(&riders);
            Self {
                riders,
                pulses: roomy(pulses.by_ref().take(count)),
                members: roomy(members.by_ref().take(count)),
                sums,
                zoned: self.zoned,
            }
        };
        [part(middle), part(usize::MAX)]
    }

    /// Takes in the drawer that comes after it.
    pub fn append(&mut self, mut after: Self) {
        self.riders.append(&mut after.riders);
        self.pulses.append(&mut after.pulses);
        self.members.append(&mut after.members);
        self.sums = self.sums.plus(after.sums);
        self.zoned |= after.zoned;
    }
}

/// With room for all that are to come: a thousand rosters that grow in step, each by its own many sizes, would leave a
/// third of the memory in holes of sizes that nobody asks for any more.
fn roomy<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::with_capacity(ROOM);
    all.extend(items);
    all
}

impl Rider {
    pub fn of(member: &Member) -> Self {
        let [.., a, b, c, d] = member.tag().to_be_bytes();
        Self { hash: member.hash(), life: u32::from_be_bytes([a, b, c, d]), stamp: member.stamp }
    }

    pub fn tag(self) -> u64 {
        (self.hash >> 32 << 32) | u64::from(self.life)
    }

    fn sums(self) -> Sums {
        Sums { stamps: self.stamp, ..Sums::of_one(self.tag()) }
    }
}

impl Deref for InHand<'_> {
    type Target = Member;

    fn deref(&self) -> &Member {
        self.member
    }
}

impl DerefMut for InHand<'_> {
    fn deref_mut(&mut self) -> &mut Member {
        self.member
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let rider = Rider::of(self.member);
        if rider != *self.rider {
            *self.sums = self.sums.minus(self.rider.sums()).plus(rider.sums());
            *self.zoned |= self.member.zone().is_some();
        }
        if rider != *self.rider || self.was != (self.member.heartbeat, self.member.status) {
            *self.pulse = Pulse::of(self.member);
        }
        *self.rider = rider;
    }
}

impl Sums {
    pub fn of(riders: &[Rider]) -> Self {
        riders.iter().map(|rider| rider.sums()).fold(Self::default(), Self::plus)
    }

    /// Of a member of whom nothing is said, by its tag.
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

/// Tags are structured (their upper half is the name's); a multiplication and
/// a shift make their sum depend on every bit.
fn spread(tag: u64) -> u64 {
    let mixed = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Most members of a drawer on average. A newcomer moves half of them, 3 kB.
pub const DRAWER: usize = 80;
/// First step of a search: a member stands some four places from where its hash says.
const NEARBY: usize = 4;
/// What a drawer holds before it has to grow: four kilobytes of members.
const ROOM: usize = 85;
/// By so many it then grows: another kilobyte of members.
const MORE: usize = 21;

#[cfg(test)]
mod tests {
    use super::*;

    fn drawer(hashes: &[u64]) -> Drawer {
        let rider = |hash: &u64| Rider { hash: *hash, life: 0, stamp: 0 };
        Drawer { riders: hashes.iter().map(rider).collect(), ..Drawer::default() }
    }

    #[test]
    fn a_search_finds_what_halving_finds_however_the_hashes_are_spread() {
        let even: Vec<u64> = (0..90).map(|i| i << 57 | 5).collect();
        let crowded: Vec<u64> = (0..90).map(|i| if i < 80 { i } else { i << 57 }).collect();
        let squares: Vec<u64> = (0..60).map(|i| 1 << i).collect();
        for hashes in [vec![], vec![0], vec![u64::MAX], vec![7, 9], even, crowded, squares] {
            let drawer = drawer(&hashes);
            let near = hashes.iter().flat_map(|hash| [hash.saturating_sub(1), *hash, hash.saturating_add(1)]);
            for hash in near.chain([0, 1, u64::MAX / 2, u64::MAX]) {
                assert_eq!(drawer.find(hash), hashes.binary_search(&hash), "{hash} in {hashes:?}");
            }
        }
    }
}
