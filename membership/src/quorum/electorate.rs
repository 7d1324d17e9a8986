//! The electorate: which members vote, with what weight, and how many votes are needed.
//!
//! The operator states the electorate. It is never "the members that I see now": every minority is a majority of the
//! members that it sees. Nor does it follow the cluster by itself (docs/decisions.md).

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use siphasher::sip::SipHasher13;

use crate::Instant;
use crate::identity::{HostId, Name};
use crate::quorum::places::{Candidate, Places};
use crate::quorum::{Ballot, ZoneBallot};
use crate::roster::Roster;
use crate::roster::fingerprint;
use crate::roster::member::{Member, ZONE};
use crate::roster::standing::Status;

/// The members that vote. It must be the same on all members; answers from a member with a different electorate do not
/// count.
///
/// As text: `5`, `role=voter:3`, `7*weight`, `role=voter:7*weight`, `4+tie=a`, `a,b,c:2`, `zones:east=5,west=5,north=3`
/// or `role=voter:zones:east=3,west=3+tie=east`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Electorate {
    /// This many votes, whichever members have them. If more are known, those that were first count.
    Expected {
        /// The number of all votes.
        votes: u32,
        /// Only members whose tag has this value vote.
        tag: Option<(String, String)>,
        /// The tag that holds a member's number of votes; `None`: one vote each.
        weight: Option<String>,
        /// Of an even number of votes: the member with which half of them is a majority.
        tie: Option<Name>,
    },
    /// These members, each with its votes.
    Voters(BTreeMap<Name, u32>),
    /// This many votes in each zone, whichever members have them, one vote each. A majority is more than half of the
    /// zones, and in each of these more than half of its votes. A member says its zone in its state (key `zone`).
    Zones {
        /// By the name of the zone; at most [`MOST_ZONES`].
        zones: BTreeMap<String, u32>,
        /// Only members whose tag has this value vote.
        tag: Option<(String, String)>,
        /// Of an even number of zones: the one with which half of them is a majority.
        tie: Option<String>,
    },
}

impl Electorate {
    /// `votes` votes, whichever members have them.
    #[must_use]
    pub fn expected(votes: u32) -> Self {
        Self::Expected { votes, tag: None, weight: None, tie: None }
    }

    /// The number of votes as stated; by zones, of zones.
    #[must_use]
    pub fn votes(&self) -> u32 {
        match self {
            Self::Expected { votes, .. } => *votes,
            Self::Voters(voters) => voters.values().fold(0, |sum, votes| sum.saturating_add(*votes)),
            Self::Zones { zones, .. } => u32::try_from(zones.len()).unwrap_or(u32::MAX),
        }
    }

    /// Votes, or zones, that make a majority: two sets of this many always share a voter. With the member or the zone
    /// that decides a tie, half is enough.
    #[must_use]
    pub fn needed(&self) -> u32 {
        majority(self.votes())
    }

    /// What an operator should know about this choice.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Expected { tie: Some(_), .. } => None,
            Self::Zones { zones, tie, .. } => {
                let even = zones.len().is_multiple_of(2) && tie.is_none();
                even.then(|| ZONES_TIE.to_owned()).or_else(|| {
                    let zone = zones.iter().find(|(_, votes)| votes.is_multiple_of(2));
                    zone.map(|(zone, votes)| {
                        format!("the {votes} votes of zone {zone} survive as many losses as {}", votes - 1)
                    })
                })
            }
            Self::Expected { .. } | Self::Voters(_) => {
                let votes = self.votes();
                votes.is_multiple_of(2).then(|| {
                    format!(
                        "{votes} votes can split evenly, and then nobody holds quorum; {} survive as many losses",
                        votes.saturating_sub(1)
                    )
                })
            }
        }
    }

    /// Upper bound on the number of electors, as far as known before any is seen. Weighted votes can be in few hands.
    #[must_use]
    pub fn most_electors(&self) -> usize {
        match self {
            Self::Expected { weight: Some(_), .. } => 1,
            Self::Expected { votes, .. } => usize::try_from(*votes).unwrap_or(usize::MAX),
            Self::Voters(voters) => voters.len(),
            Self::Zones { zones, .. } => zones
                .values()
                .fold(0, |sum, votes| sum.saturating_add(usize::try_from(*votes).unwrap_or(usize::MAX))),
        }
    }

    /// Equal on members with the same electorate; never 0. `fence`: the length of their leases, if they keep a fence.
    pub(crate) fn mark(&self, fence: Option<Duration>) -> u32 {
        use core::hash::Hasher;
        let mut hasher = SipHasher13::new_with_keys(0x71_75_6f_72_75_6d, 0);
        hasher.write_u8(match self {
            Self::Expected { .. } => 0,
            Self::Voters(_) => 1,
            Self::Zones { .. } => 3,
        });
        hasher.write(self.to_string().as_bytes());
        if let Some(length) = fence {
            hasher.write(&length.as_micros().to_le_bytes());
        }
        let hash = hasher.finish();
        u32::try_from(hash >> 32).unwrap_or(0).max(1)
    }

    /// The electors in the roster. Where more are known than were stated, `places` says who votes.
    pub(crate) fn ballot(&self, look: Look<'_>, places: &mut Places) -> (Ballot, Instant) {
        let votes = self.votes();
        let mut ballot = Ballot { votes, needed: majority(votes), ..Ballot::default() };
        match self {
            Self::Expected { votes, tag, weight, tie } => {
                ballot.tie = tie.as_ref().map(fingerprint::of_name);
                let of = |m: &Member| Some((votes_of(m, tag.as_ref(), weight.as_deref()), 0));
                look.give(places, ballot, &[*votes], of)
            }
            Self::Zones { zones, tag, tie } => {
                let zone = |(name, votes): (&String, &u32)| ZoneBallot::new(name.clone(), *votes);
                ballot.zones = zones.iter().map(zone).collect();
                ballot.votes = zones.values().fold(0, |sum, votes| sum.saturating_add(*votes));
                ballot.tie_zone = tie.as_ref().and_then(|tie| zones.keys().position(|zone| zone == tie));
                let stated: Vec<u32> = zones.values().copied().collect();
                let of = |m: &Member| {
                    let zone = m.state.get(ZONE).and_then(|zone| core::str::from_utf8(zone).ok())?;
                    let place = zones.keys().position(|known| known == zone)?;
                    Some((votes_of(m, tag.as_ref(), None), place))
                };
                look.give(places, ballot, &stated, of)
            }
            Self::Voters(voters) => {
                let known = |name: &Name| look.roster.get(fingerprint::of_name(name));
                ballot.electors = voters
                    .iter()
                    .filter_map(|(name, votes)| known(name).map(|m| (m, *votes)))
                    .filter(|(m, _)| m.status != Status::Left)
                    .map(|(m, votes)| (m.hash(), votes))
                    .collect();
                ballot.electors.sort_unstable();
                (ballot, Instant::NEVER)
            }
        }
    }

    /// Named voters that `roster` does not contain.
    pub(crate) fn unknown<'a>(&'a self, roster: &'a Roster) -> impl Iterator<Item = &'a Name> {
        let voters = match self {
            Self::Voters(voters) => Some(voters),
            Self::Expected { .. } | Self::Zones { .. } => None,
        };
        voters
            .into_iter()
            .flat_map(BTreeMap::keys)
            .filter(|name| roster.get(fingerprint::of_name(name)).is_none())
    }
}

/// What a ballot is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub now: Instant,
    pub roster: &'a Roster,
    /// The acceptable pause.
    pub pause: Duration,
}

impl Look<'_> {
    /// Fills `ballot` with the members that have votes; `of`: votes and the place of the zone.
    fn give(
        self,
        places: &mut Places,
        mut ballot: Ballot,
        stated: &[u32],
        of: impl Fn(&Member) -> Option<(u32, usize)>,
    ) -> (Ballot, Instant) {
        let renamed = Renamed::of(self.roster);
        let known = self.roster.iter().filter(|m| m.status != Status::Left && !renamed.has(m));
        let candidate = |m: &Member| {
            let (votes, zone) = of(m).filter(|(votes, _)| *votes > 0)?;
            let (generation, alive) = (m.incarnation.generation, m.status == Status::Alive);
            Some(Candidate { hash: m.hash(), votes, zone, generation, alive })
        };
        let candidates: Vec<Candidate> = known.filter_map(candidate).collect();
        let (seats, again) = places.give(self.now, &candidates, stated, self.pause);
        if !ballot.zones.is_empty() {
            ballot.zone_of = seats.electors.iter().map(|(_, _, zone)| *zone).collect();
        }
        ballot.electors = seats.electors.into_iter().map(|(hash, votes, _)| (hash, votes)).collect();
        (ballot.surplus, ballot.waiting) = (seats.surplus, seats.waiting);
        (ballot, again)
    }
}

/// Members whose host goes on under another name, because it was renamed and restarted. They never vote again; the
/// host's vote is that of its new name.
struct Renamed(BTreeSet<(HostId, SocketAddr)>);

impl Renamed {
    fn of(roster: &Roster) -> Self {
        let census = roster.census();
        if census.down + census.restarting == 0 {
            return Self(BTreeSet::new());
        }
        let here = roster.iter().filter(|m| matches!(m.status, Status::Alive | Status::Suspect));
        Self(here.map(place).collect())
    }

    /// One socket belongs to one process, so the member at that address and host has taken its place.
    fn has(&self, member: &Member) -> bool {
        matches!(member.status, Status::Down | Status::Restarting) && self.0.contains(&place(member))
    }
}

fn place(member: &Member) -> (HostId, SocketAddr) {
    (member.incarnation.host_id, member.incarnation.address())
}

/// More than half of `votes`.
pub fn majority(votes: u32) -> u32 {
    votes / 2 + 1
}

fn votes_of(member: &Member, tag: Option<&(String, String)>, weight: Option<&str>) -> u32 {
    let value = |key: &str| member.state.get(&format!("{TAG}{key}"));
    if let Some((key, wanted)) = tag
        && value(key).is_none_or(|value| value != wanted.as_bytes())
    {
        return 0;
    }
    let Some(weight) = weight else { return 1 };
    // Without a weight there is no vote: a member that lacks it must not outvote members that have one.
    let said = value(weight).and_then(|v| core::str::from_utf8(v).ok()?.parse::<u32>().ok());
    said.unwrap_or(0).min(MOST_VOTES)
}

/// Most zones of an electorate: the votes of each travel in every tally and lease.
pub const MOST_ZONES: usize = 16;
const ZONES_TIE: &str = "an even number of zones can split evenly, and then nobody holds quorum; one witness in a third zone \
                         mends that (zones:east=5,west=5,third=1), or a zone that decides (+tie=east), whose loss the \
                         others then do not survive";
/// Prefix of tags in a member's state.
pub const TAG: &str = "tag/";
/// More than any cluster has members; keeps sums far from overflow.
pub const MOST_VOTES: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_counted_as_stated_and_two_of_them_are_advised_against() {
        let of = |text: &str| text.parse::<Electorate>().unwrap();
        assert_eq!((of("zones:a=5,b=5,c=3").votes(), of("zones:a=5,b=5,c=3").needed()), (3, 2));
        assert_eq!(of("zones:a=5,b=5,c=3").most_electors(), 13);
        assert_eq!(of("zones:a=5,b=5,c=3").advice(), None);
        assert!(of("zones:a=5,b=5").advice().is_some_and(|advice| advice.contains("third zone")));
        assert_eq!(of("zones:a=5,b=5+tie=a").advice(), None);
        assert!(of("zones:a=4,b=5,c=3").advice().is_some_and(|advice| advice.contains("zone a")));
        assert_eq!(of("4+tie=a").advice(), None);
    }

    #[test]
    fn a_voter_with_one_vote_more_decides_ties_as_a_stated_one_does() {
        let with = |ours: u32| ours.count_ones() + (ours & 1);
        for ours in 0..16_u32 {
            let named = with(ours) >= "a:2,b,c,d".parse::<Electorate>().unwrap().needed();
            let tie = Ballot { votes: 4, needed: 3, ..Ballot::default() }
                .suffices(ours.count_ones(), ours & 1 == 1);
            assert_eq!(named, tie, "{ours:b}");
        }
    }

    #[test]
    fn two_disjoint_sides_never_both_have_enough() {
        for votes in 1..=1000_u32 {
            let needed = Electorate::expected(votes).needed();
            assert!((0..=votes).all(|ours| ours < needed || votes - ours < needed));
        }
    }

    #[test]
    fn an_even_number_is_advised_against() {
        assert!(Electorate::expected(4).advice().is_some_and(|advice| advice.contains("3 survive")));
        assert_eq!(Electorate::expected(5).advice(), None);
    }
}
