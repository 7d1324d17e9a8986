//! The known electors at one moment, and which of their votes together are a majority.
//!
//! *By votes*: more than half of them, or half if the member that decides a tie is among them. *By zones*: more than half
//! of the zones, or half if the zone that decides a tie is among them, and in each of these zones more than half of the
//! votes that are stated for it.
//!
//! Why two majorities always share a vote: two sets of more than half of the zones share a zone, and so do two halves
//! that both contain the zone that decides, or one such half and more than half. In the shared zone both have more than
//! half of the same votes. A side that has most votes of all but not most zones has no majority, and neither has one that
//! reaches a member or two in every zone.

use crate::Instant;
use crate::quorum::majority;

/// The known electors at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ballot {
    /// The number of all votes.
    pub votes: u32,
    /// Votes that make a majority; by zones: zones that make one.
    pub needed: u32,
    /// With this elector, half of the votes is enough.
    pub tie: Option<u64>,
    /// Name hash and votes, in the order of the roster.
    pub electors: Vec<(u64, u32)>,
    /// Why votes cannot be counted at all.
    pub fault: Option<String>,
    /// By name; none: votes are not counted by zones.
    pub zones: Vec<ZoneBallot>,
    /// With this zone, by its place, half of the zones is enough.
    pub tie_zone: Option<usize>,
    /// The zone of each elector, by its place.
    pub zone_of: Vec<usize>,
    /// Members without a vote, because as many votes as can be counted were there before them.
    pub surplus: Vec<u64>,
    /// Members without a vote until all have been seen alive together for a while.
    pub waiting: Vec<u64>,
}

/// A zone and its votes as stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneBallot {
    pub name: String,
    pub votes: u32,
    pub needed: u32,
}

impl ZoneBallot {
    pub fn new(name: String, votes: u32) -> Self {
        Self { name, votes, needed: majority(votes) }
    }
}

/// Votes that are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    pub votes: u32,
    /// The member that decides a tie is among them.
    pub tie: bool,
    /// The votes of each zone, if the electorate is by zones.
    pub zones: Vec<u32>,
}

impl Count {
    /// Adds votes of other members.
    pub fn join(&mut self, other: &Self) {
        self.votes = self.votes.saturating_add(other.votes);
        self.tie |= other.tie;
        self.zones.resize(self.zones.len().max(other.zones.len()), 0);
        for (ours, theirs) in self.zones.iter_mut().zip(&other.zones) {
            *ours = ours.saturating_add(*theirs);
        }
    }

    /// No more than `most`, in all and in each zone.
    pub fn at_most(self, most: &Self) -> Self {
        let zones = most.zones.iter().enumerate();
        let zone = |(at, most): (usize, &u32)| self.zones.get(at).map_or(0, |votes| *votes.min(most));
        let zones: Vec<u32> = zones.map(zone).collect();
        Self { votes: self.votes.min(most.votes), tie: self.tie && most.tie, zones }
    }
}

impl Ballot {
    /// Whether these votes are a majority. More votes never make less of one.
    pub fn is_majority(&self, count: &Count) -> bool {
        if self.zones.is_empty() {
            return self.suffices(count.votes, count.tie);
        }
        let won = self.present(count);
        let half = usize::try_from(won).is_ok_and(|won| won.saturating_mul(2) == self.zones.len());
        won >= self.needed || half && self.tie_zone.is_some_and(|zone| self.is_won(zone, count))
    }

    /// As of when these make a majority: the time of the oldest that it needs. `newest`: the newest first; `add` adds what
    /// one of them stands for.
    pub fn majority_as_of<T>(
        &self,
        newest: &[(Instant, T)],
        add: impl Fn(&mut Count, &T),
    ) -> Option<Instant> {
        let mut count = Count::default();
        let suffices = |(_, of): &&(Instant, T)| {
            add(&mut count, of);
            self.is_majority(&count)
        };
        newest.iter().find(suffices).map(|(at, _)| *at)
    }

    /// The same by votes; `tie`: the elector that decides a tie is among them.
    pub fn suffices(&self, votes: u32, tie: bool) -> bool {
        votes >= self.needed || tie && votes.saturating_mul(2) == self.votes
    }

    /// What a majority is made of: these votes; by zones, the zones with a majority of theirs.
    pub fn present(&self, count: &Count) -> u32 {
        if self.zones.is_empty() {
            return count.votes;
        }
        let won = (0..self.zones.len()).filter(|zone| self.is_won(*zone, count)).count();
        u32::try_from(won).unwrap_or(u32::MAX)
    }

    /// The number of all votes; by zones, of all zones.
    pub fn all(&self) -> u32 {
        if self.zones.is_empty() { self.votes } else { u32::try_from(self.zones.len()).unwrap_or(u32::MAX) }
    }

    fn is_won(&self, zone: usize, count: &Count) -> bool {
        let votes = count.zones.get(zone).copied().unwrap_or(0);
        self.zones.get(zone).is_some_and(|zone| votes >= zone.needed)
    }

    /// Adds the votes of `elector`.
    pub fn add(&self, count: &mut Count, elector: u64) {
        let Some((at, votes)) = self.place(elector) else { return };
        count.votes = count.votes.saturating_add(votes);
        count.tie |= self.tie == Some(elector) && votes > 0;
        if let Some(zone) = self.zone_of.get(at) {
            count.zones.resize(self.zones.len(), 0);
            if let Some(sum) = count.zones.get_mut(*zone) {
                *sum = sum.saturating_add(votes);
            }
        }
    }

    /// The votes of all of these.
    pub fn count(&self, electors: impl IntoIterator<Item = u64>) -> Count {
        let mut count = Count::default();
        electors.into_iter().for_each(|elector| self.add(&mut count, elector));
        count
    }

    /// Votes of one member.
    pub fn of(&self, hash: u64) -> u32 {
        self.place(hash).map_or(0, |(_, votes)| votes)
    }

    fn place(&self, hash: u64) -> Option<(usize, u32)> {
        let at = self.electors.binary_search_by_key(&hash, |(elector, _)| *elector).ok()?;
        self.electors.get(at).map(|(_, votes)| (at, *votes))
    }

    /// `east 5 of 5 (3 needed), north 0 of 3 (2 needed)`; `votes`: those in two-way contact, by zone.
    pub fn by_zone(&self, votes: &[u32]) -> String {
        let of = |(at, zone): (usize, &ZoneBallot)| {
            let present = votes.get(at).copied().unwrap_or(0);
            format!("{} {present} of {} ({} needed)", zone.name, zone.votes, zone.needed)
        };
        self.zones.iter().enumerate().map(of).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Zones with these votes; of an even number of zones the first may decide a tie.
    fn zones(sizes: &[u32], tie: bool) -> Ballot {
        let zone = |votes: &u32| ZoneBallot::new(String::new(), *votes);
        let of = |(zone, votes): (usize, &u32)| vec![zone; *votes as usize];
        let zone_of: Vec<usize> = sizes.iter().enumerate().flat_map(of).collect();
        Ballot {
            votes: sizes.iter().sum(),
            needed: majority(u32::try_from(sizes.len()).unwrap()),
            electors: (1..=zone_of.len() as u64).map(|elector| (elector, 1)).collect(),
            zones: sizes.iter().map(zone).collect(),
            tie_zone: (tie && sizes.len().is_multiple_of(2)).then_some(0),
            zone_of,
            ..Ballot::default()
        }
    }

    fn has(ballot: &Ballot, electors: impl IntoIterator<Item = u64>) -> bool {
        ballot.is_majority(&ballot.count(electors))
    }

    proptest! {
        #[test]
        fn two_sides_of_zones_never_both_have_a_majority(
            sizes in proptest::collection::vec(1_u32..6, 1..7), tie: bool, sides: u64,
        ) {
            let ballot = zones(&sizes, tie);
            let (ours, theirs): (Vec<u64>, Vec<u64>) =
                ballot.electors.iter().map(|(e, _)| *e).partition(|e| sides >> (e % 64) & 1 == 0);
            prop_assert!(!(has(&ballot, ours) && has(&ballot, theirs)));
        }

        #[test]
        fn two_sides_never_both_have_a_majority_where_a_member_decides_a_tie(
            votes in proptest::collection::vec(1_u32..4, 1..10), sides: u64, decides: usize,
        ) {
            let all: u32 = votes.iter().sum();
            let electors: Vec<(u64, u32)> = (1..).zip(votes).collect();
            let tie = Some(electors[decides % electors.len()].0);
            let ballot = Ballot { votes: all, needed: majority(all), tie, electors, ..Ballot::default() };
            let (ours, theirs): (Vec<u64>, Vec<u64>) =
                ballot.electors.iter().map(|(e, _)| *e).partition(|e| sides >> e & 1 == 0);
            let half = 2 * ballot.count(ours.iter().copied()).votes == all;
            let (ours, theirs) = (has(&ballot, ours), has(&ballot, theirs));
            prop_assert!(!(ours && theirs));
            prop_assert!(!half || ours != theirs, "one half has it");
        }
    }

    #[test]
    fn two_of_three_sites_decide_and_most_votes_without_most_sites_do_not() {
        let ballot = zones(&[5, 5, 3], false);
        assert!(has(&ballot, [1, 2, 3, 6, 7, 8]), "three of five, twice");
        assert!(has(&ballot, [1, 2, 3, 11, 12]));
        assert!(!has(&ballot, [1, 2, 6, 7, 8, 9, 10, 11]), "most of one zone only");
        assert_eq!(ballot.present(&ballot.count([1, 2, 6, 7, 8, 9, 10, 11])), 1);
        assert_eq!((ballot.all(), ballot.needed), (3, 2));
    }

    #[test]
    fn of_two_sites_the_one_that_decides_goes_on_alone() {
        let ballot = zones(&[3, 3], true);
        assert!(has(&ballot, [1, 2]) && !has(&ballot, [4, 5, 6]));
        assert!(!has(&zones(&[3, 3], false), [1, 2, 3]), "without one that decides both are needed");
    }

    #[test]
    fn what_is_told_of_a_group_is_at_most_what_it_has() {
        let most = Count { votes: 3, tie: false, zones: vec![2, 1] };
        let told = Count { votes: 9, tie: true, zones: vec![1, 8, 7] };
        assert_eq!(told.at_most(&most), Count { votes: 3, tie: false, zones: vec![1, 1] });
    }
}
