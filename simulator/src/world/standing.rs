//! Which members could have quorum, whatever they say of it.

use std::collections::BTreeMap;

use heartsay_membership::{Electorate, Name};

use super::World;
use crate::host::Host;
use crate::network::Network;
use crate::oracle::Oracle;

/// Where a member stands towards quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does not run, leaves, is in trouble itself, or what it could have is open.
    #[default]
    Unjudged,
    /// It has no two-way links to a majority of the votes.
    Without,
    /// It has.
    With,
}

impl World {
    /// Something befell members or links: who could have quorum now?
    pub(super) fn stand(&mut self) {
        self.hear();
        let Some(electorate) = self.config.electorate.as_ref().filter(|_| self.meter.measures_quorum())
        else {
            return;
        };
        for (member, standing) in standings(electorate, &self.hosts, &self.network, &self.oracle).enumerate()
        {
            self.meter.stands(self.now, member, standing);
        }
    }
}

/// The standing of every member, in their order.
pub(super) fn standings(
    electorate: &Electorate,
    hosts: &[Host],
    network: &Network,
    oracle: &Oracle,
) -> impl Iterator<Item = Standing> {
    let fit: Vec<bool> = (0..hosts.len()).map(|member| is_fit(member, hosts, oracle)).collect();
    standings_of(electorate, hosts, network, fit)
}

/// The same where those that lie vote too, as they may.
pub(super) fn standings_with_liars(
    electorate: &Electorate,
    hosts: &[Host],
    network: &Network,
    oracle: &Oracle,
) -> impl Iterator<Item = Standing> {
    let lies = |member: usize| hosts[member].liar.is_some() && hosts[member].process.is_some();
    let fit = (0..hosts.len()).map(|member| lies(member) || is_fit(member, hosts, oracle)).collect();
    standings_of(electorate, hosts, network, fit)
}

fn standings_of(
    electorate: &Electorate,
    hosts: &[Host],
    network: &Network,
    fit: Vec<bool>,
) -> impl Iterator<Item = Standing> {
    let majorities = majorities(electorate, hosts, network, &fit);
    let standing = move |(member, fit): (usize, bool)| match &majorities {
        Some(majorities) if fit => {
            if majorities[member] {
                Standing::With
            } else {
                Standing::Without
            }
        }
        Some(_) | None => Standing::Unjudged,
    };
    fit.into_iter().enumerate().map(standing)
}

/// Whether each member reaches a majority of the stated votes. `None`: open, because there are more members than votes.
fn majorities(electorate: &Electorate, hosts: &[Host], network: &Network, fit: &[bool]) -> Option<Vec<bool>> {
    let has_zone = |member: usize, zone: &str| network.zone(member) == Some(zone);
    let members = |of: &dyn Fn(usize) -> bool| {
        let one_each = (0..hosts.len()).filter(|member| hosts[*member].subject == *member && of(*member));
        u32::try_from(one_each.count()).unwrap_or(u32::MAX)
    };
    let by_votes = |tie: Option<&Name>| {
        let (needed, all) = (u64::from(electorate.needed()), u64::from(electorate.votes()));
        let votes = reached(hosts, network, fit, |member| votes(electorate, &hosts[member].name));
        let decides = |member: usize| u64::from(tie == Some(&hosts[member].name));
        let decides = reached(hosts, network, fit, decides);
        let enough = |(votes, tie): (&u64, &u64)| *votes >= needed || *tie > 0 && votes * 2 == all;
        votes.iter().zip(&decides).map(enough).collect()
    };
    match electorate {
        Electorate::Expected { votes, .. } if members(&|_| true) > *votes => None,
        Electorate::Expected { tie, .. } => Some(by_votes(tie.as_ref())),
        Electorate::Voters(_) => Some(by_votes(None)),
        Electorate::Zones { zones, .. }
            if zones.iter().any(|(zone, votes)| members(&|member| has_zone(member, zone)) > *votes) =>
        {
            None
        }
        Electorate::Zones { zones, tie, .. } => {
            let (mut won, mut decided) = (vec![0; hosts.len()], vec![false; hosts.len()]);
            for (zone, votes) in zones {
                let there = reached(hosts, network, fit, |member| u64::from(has_zone(member, zone)));
                for (member, there) in there.iter().enumerate().filter(|(_, v)| **v > u64::from(votes / 2)) {
                    debug_assert!(*there <= u64::from(*votes), "counted above");
                    won[member] += 2;
                    decided[member] |= tie.as_ref() == Some(zone);
                }
            }
            let half = zones.len();
            Some(won.iter().zip(decided).map(|(won, tie)| *won > half || tie && *won == half).collect())
        }
    }
}

/// Whether `member` runs, stays, and nothing is wrong with it or its clock.
fn is_fit(member: usize, hosts: &[Host], oracle: &Oracle) -> bool {
    let (host, truth) = (&hosts[member], &oracle.members()[member]);
    let stays = host.process.as_ref().is_some_and(|process| !process.leaving);
    stays && host.subject == member && !truth.is_struck() && host.wall.ppm().abs() <= PROMISED_PPM
}

/// The votes that each member reaches, its own included. Members that stand at one place have the same links, single ones
/// that carry nothing aside, so the work grows with the places and not with the pairs. `votes`: of members that are fit.
fn reached(hosts: &[Host], network: &Network, fit: &[bool], votes: impl Fn(usize) -> u64) -> Vec<u64> {
    let votes = |member: usize| if fit[member] { votes(member) } else { 0 };
    let mut places: BTreeMap<Vec<u8>, (usize, u64)> = BTreeMap::new();
    for member in 0..hosts.len() {
        places.entry(network.place(member)).or_insert((member, 0)).1 += votes(member);
    }
    // Of all places that a place has links to, perhaps itself.
    let reach = |one: usize| -> u64 {
        places.values().filter(|(other, _)| network.is_two_way(one, *other)).map(|(_, votes)| votes).sum()
    };
    let of_place: BTreeMap<&Vec<u8>, u64> =
        places.iter().map(|(place, (one, _))| (place, reach(*one))).collect();
    let of = |member: usize| of_place.get(&network.place(member)).copied().unwrap_or(0);
    let own = |member: usize| if network.is_two_way(member, member) { 0 } else { votes(member) };
    let mut reached: Vec<u64> = (0..hosts.len()).map(|member| of(member) + own(member)).collect();
    for &(a, b) in network.dead_links().iter().filter(|(a, b)| a.max(b) < &hosts.len()) {
        if network.is_two_way(a, b) {
            reached[a] -= votes(b);
            reached[b] -= votes(a);
        }
    }
    reached
}

/// Votes that a stated electorate gives to a member of this name. Simulated members have no tags to vote by.
fn votes(electorate: &Electorate, name: &Name) -> u64 {
    match electorate {
        Electorate::Expected { tag: None, weight: None, .. } => 1,
        Electorate::Expected { .. } | Electorate::Zones { .. } => 0,
        Electorate::Voters(voters) => voters.get(name).copied().map_or(0, u64::from),
    }
}

/// The rates of clocks that the promises allow: 1 %.
const PROMISED_PPM: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::Standing::{Unjudged, With, Without};
    use super::*;
    use crate::scenario::parse;
    use crate::trace::Trace;

    /// How five members stand 15 s after the start under `trouble` that began at 10 s.
    fn stand(electorate: &str, trouble: &str) -> Vec<Standing> {
        stand_at(15_000_000, electorate, trouble)
    }

    /// The same at another moment, in microseconds.
    fn stand_at(end: u64, electorate: &str, trouble: &str) -> Vec<Standing> {
        let text = format!(
            "name = 'x'\nabout = 'y'\nnodes = 5\nduration = '30s'\n[protocol]\n{electorate}\n{trouble}"
        );
        let scenario = parse(&text, &[]).unwrap_or_else(|problem| panic!("{trouble}: {problem}"));
        let mut world = World::new(&scenario, 1, Trace::new(None)).expect("sound");
        let end = heartsay_membership::Instant::from_micros(end);
        while world.queue.next_at().is_some_and(|at| at <= end) {
            let (at, event) = world.queue.pop().expect("just seen");
            world.now = at;
            world.step(event);
        }
        let electorate = world.config.electorate.as_ref().expect("stated");
        standings(electorate, &world.hosts, &world.network, &world.oracle).collect()
    }

    fn fault(words: &str) -> String {
        format!("[[fault]]\nat = '10s'\n{words}\n")
    }

    const ALL: &str = "expected = 'all'";

    #[test]
    fn a_side_with_most_votes_has_quorum_and_any_other_has_not() {
        let cut = |sides: &str| fault(&format!("what = 'partition'\nsides = [{sides}]"));
        assert_eq!(stand(ALL, ""), [With; 5]);
        assert_eq!(stand(ALL, &cut("['n0', 'n1'], '60%'")), [Without, Without, With, With, With]);
        assert_eq!(stand(ALL, &cut("['n0', 'n1'], ['n2', 'n3'], '20%'")), [Without; 5]);
        let voters = "electorate = 'n0,n1,n2'";
        assert_eq!(stand(voters, &cut("['n0', 'n1'], '60%'")), [With, With, Without, Without, Without]);
        let heavy = "electorate = 'n0:3,n1,n2'";
        assert_eq!(stand(heavy, &cut("['n0'], '60%'")), [With, Without, Without, Without, Without]);
    }

    #[test]
    fn by_zones_most_zones_count_and_of_even_numbers_the_half_with_the_one_that_decides() {
        let zone =
            |name: &str, weight: u32| format!("[[network.zone]]\nname = '{name}'\nweight = {weight}\n");
        let three = zone("a", 2) + &zone("b", 2) + &zone("c", 1);
        let cut = |sides: &str| fault(&format!("what = 'partition'\nsides = [{sides}]"));
        let zones = "electorate = 'zones:a=2,b=2,c=1'";
        let stands = |sides: &str| stand(zones, &format!("{three}{}", cut(sides)));
        assert_eq!(stand(zones, &three), [With; 5]);
        assert_eq!(stands("['n4'], '80%'"), [With, With, With, With, Without]);
        assert_eq!(stands("['n0', 'n4'], '60%'"), [Without; 5], "c and b, and half of a twice");
        assert_eq!(stands("['n0', 'n1', 'n4'], '40%'"), [With, With, Without, Without, With]);
        let two = zone("a", 2) + &zone("b", 3);
        let cut = format!("{two}{}", cut("['n0', 'n1'], '60%'"));
        assert_eq!(
            stand("electorate = 'zones:a=2,b=3+tie=a'", &cut),
            [With, With, Without, Without, Without]
        );
        assert_eq!(stand("electorate = 'zones:a=2,b=3'", &cut), [Without; 5]);
        assert_eq!(
            stand("electorate = 'zones:a=1,b=3'", &two),
            [Unjudged; 5],
            "one more in a than is stated"
        );
        let tie = fault("what = 'partition'\nsides = [['n0', 'n1', 'n2'], '40%']");
        let of_six = "electorate = '6+tie=n1'";
        assert_eq!(stand(of_six, &tie), [With, With, With, Without, Without]);
        assert_eq!(stand("electorate = '6+tie=n4'", &tie), [Without; 5], "two with it, three without");
    }

    #[test]
    fn one_way_is_no_link_and_a_bridge_is_one_to_both_sides() {
        let one_way = fault("what = 'partition'\nsides = [['n0', 'n1', 'n2'], '40%']\none-way = true");
        assert_eq!(stand(ALL, &one_way), [With, With, With, Without, Without]);
        let bridge = fault("what = 'partition'\nsides = [['n0', 'n1'], ['n2', 'n3']]");
        assert_eq!(stand(ALL, &bridge), [With; 5], "each side and n4 are three of five");
        let filter = fault("what = 'refuse'\nfrom = 'n0'\nto = ['n1', 'n2', 'n3']");
        assert_eq!(stand(ALL, &filter), [Without, With, With, With, With]);
        let dead = |to: &str| format!("[[network.link]]\nfrom = 'n0'\nto = {to}\nloss = 1.0\n");
        assert_eq!(stand(ALL, &dead("['n1', 'n2', 'n3']")), [Without, With, With, With, With]);
        assert_eq!(stand(ALL, &dead("['n1', 'n2']")), [With; 5]);
    }

    #[test]
    fn a_member_in_trouble_is_not_judged_and_gives_no_vote() {
        for trouble in ["what = 'crash'", "what = 'pause'", "what = 'lossy'\nreceive = 0.5", "what = 'leave'"]
        {
            let few = fault(&format!("{trouble}\nwho = ['n0', 'n1']"));
            assert_eq!(stand(ALL, &few), [Unjudged, Unjudged, With, With, With], "{trouble}");
            let most = fault(&format!("{trouble}\nwho = ['n0', 'n1', 'n2']"));
            assert_eq!(stand(ALL, &most)[3..], [Without; 2], "{trouble}");
        }
        let leaves = fault("what = 'leave'\nwho = ['n0', 'n1']");
        let at_once = stand_at(10_000_001, ALL, &leaves);
        assert_eq!(at_once[..2], [Unjudged; 2], "its good-bye is under way");
        let over = fault("what = 'pause'\nwho = 'n0'\nfor = '2s'");
        assert_eq!(stand(ALL, &over), [With; 5]);
        for (ppm, standing) in [(10_000, With), (-10_001, Unjudged)] {
            let drift = fault(&format!("what = 'clock-drift'\nwho = 'n0'\nppm = {ppm}"));
            assert_eq!(stand(ALL, &drift)[0], standing, "{ppm}");
        }
    }
}
