//! Members whose electorate follows them, in virtual time: which side of a cut holds quorum and may shrink the roster,
//! as cuts come and go. The rules are the real ones. Verdicts are simple (two seconds of silence), and each request on
//! an uncut path is answered at once.

use core::time::Duration;
use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Instant;
use crate::identity::Name;
use crate::quorum::{Lease, Majority, Quorum};
use crate::quorum::{RosterContext, RosterTracker, VoteReply};
use crate::roster::fingerprint;
use crate::roster::standing::Status;

const TICK: Duration = Duration::from_millis(100);
const LENGTH: Duration = Duration::from_millis(1400);
const SETTLE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(2);
/// After a cut, the time within which the losing side must report it: its lease, and a tick.
const WITHIN: u32 = 15;

struct Member {
    agreed: RosterTracker,
    lease: Lease,
    majority: Majority,
    /// When each other member was last heard; `None`: never.
    heard: Vec<Option<Instant>>,
}

impl Member {
    fn new(now: Instant, count: usize, first: u32) -> Self {
        let majority = Majority::new(now, SETTLE);
        Self {
            agreed: RosterTracker::new(now, first),
            lease: Lease::default(),
            majority,
            heard: vec![None; count],
        }
    }
}

struct World {
    now: Instant,
    names: Vec<(u64, Name)>,
    members: Vec<Option<Member>>,
    /// The side on which each member stands.
    sides: Vec<u32>,
    /// A member that hears of no verdict.
    uninformed: Option<usize>,
}

impl World {
    /// `count` members that start together; `first` of them make a roster.
    fn new(count: usize, first: u32) -> Self {
        let named = (0..count).map(|i| Name::new(&format!("n{i}")).unwrap());
        let now = Instant::EPOCH + Duration::from_secs(100);
        Self {
            now,
            names: named.map(|name| (fingerprint::of_name(&name), name)).collect(),
            members: (0..count).map(|_| Some(Member::new(now, count, first))).collect(),
            sides: vec![0; count],
            uninformed: None,
        }
    }

    /// The same, after all have agreed on one roster and hold quorum.
    fn settled(count: usize) -> Self {
        let mut world = Self::new(count, u32::try_from(count).unwrap());
        world.run(140);
        assert!((0..count).all(|m| world.holds(m) && world.list(m).len() == count));
        world
    }

    fn run(&mut self, ticks: u32) {
        (0..ticks).for_each(|_| self.tick());
    }

    fn tick(&mut self) {
        self.now += TICK;
        for asks in 0..self.members.len() {
            let Some(mut member) = self.members[asks].take() else { continue };
            member.majority = member.majority.at(self.now);
            self.ask(asks, &mut member);
            self.look(asks, &mut member);
            self.members[asks] = Some(member);
        }
    }

    /// Asks all members on the same side, which answer at once whether we count for them and what they can prove.
    fn ask(&self, asks: usize, member: &mut Member) {
        let (now, me) = (self.now, self.names[asks].0);
        for (asked, other) in self.members.iter().enumerate() {
            let Some(other) = other.as_ref().filter(|_| self.sides[asks] == self.sides[asked]) else {
                continue;
            };
            let hash = self.names[asked].0;
            member.heard[asked] = Some(now);
            if asked == asks {
                continue;
            }
            let holds = other.majority.at(now).quorum() == Quorum::Held;
            let fresh = other.lease.proof().filter(|proof| now.since(proof.as_of) < LENGTH && holds);
            let word = match (other.agreed.counts_with(me), fresh) {
                (true, _) if other.majority.quorum() == Quorum::Unsettled => VoteReply::Open,
                (true, None) => VoteReply::Lost,
                (true, Some(proof)) => VoteReply::Holds { present: proof.present },
                (false, _) if holds => VoteReply::StruckOff,
                (false, _) => VoteReply::Refuses,
            };
            let held = member.majority.quorum() == Quorum::Held;
            if member.agreed.answered(now, hash, word, held) {
                member.majority = Majority::new(now, SETTLE);
                member.lease = Lease::default();
            }
            if !matches!(word, VoteReply::Refuses | VoteReply::StruckOff) {
                member.lease.answered(hash, now);
                if let Some(proof) = fresh.filter(|_| member.agreed.has(hash)) {
                    member.lease.borrow(
                        now,
                        now.since(proof.as_of) + Duration::from_millis(1),
                        proof.present,
                    );
                }
            }
        }
        member.heard[asks] = Some(now);
    }

    fn look(&self, asks: usize, member: &mut Member) {
        let (now, me) = (self.now, self.names[asks].0);
        let status = |heard: &Option<Instant>| {
            let silent = now.since((*heard)?);
            let down = silent >= PAUSE && self.uninformed != Some(asks);
            Some(if down {
                Status::Down
            } else if silent > TICK {
                Status::Suspect
            } else {
                Status::Alive
            })
        };
        let view = self.names.iter().zip(&member.heard);
        let view = view.filter_map(|((hash, name), heard)| Some((*hash, name, status(heard)?)));
        let open = member.agreed.is_empty();
        let present = member.lease.count(now, me, &member.agreed.ballot(), LENGTH);
        let held = (member.majority.quorum() == Quorum::Held).then(|| member.majority.since());
        let proven = member.lease.proof().map_or(Instant::EPOCH, |proof| proof.as_of);
        let look =
            RosterContext { now, me, held, proven, present: Some(present), settle: SETTLE, searching: false };
        let lease = &member.lease;
        let hears = |hash| hash == me || lease.hears_us(now, hash, LENGTH);
        let changed = member.agreed.follow(look, view, hears);
        if changed && open {
            member.majority = Majority::new(now, SETTLE);
        }
        if member.agreed.is_empty() {
            return;
        }
        member.lease.count(now, me, &member.agreed.ballot(), LENGTH);
        let until = member.lease.proof().map(|proof| proof.as_of + LENGTH);
        member.majority.observe(now, until, SETTLE);
    }

    fn holds(&self, member: usize) -> bool {
        self.members[member].as_ref().is_some_and(|m| m.majority.at(self.now).quorum() == Quorum::Held)
    }

    /// The roster of `member`, by number.
    fn list(&self, member: usize) -> Vec<usize> {
        let hashes: Vec<u64> =
            self.members[member].iter().flat_map(|m| m.agreed.names()).map(|(h, _)| h).collect();
        (0..self.names.len()).filter(|m| hashes.contains(&self.names[*m].0)).collect()
    }

    /// Ends the process; its agreed roster stays on its disk.
    fn kill(&mut self, member: usize) -> BTreeMap<u64, Name> {
        let gone = self.members[member].take();
        gone.iter().flat_map(|m| m.agreed.names()).map(|(hash, name)| (hash, name.clone())).collect()
    }

    fn start(&mut self, member: usize, first: u32, disk: BTreeMap<u64, Name>) {
        let mut fresh = Member::new(self.now, self.names.len(), first);
        fresh.agreed.recall(self.now, disk);
        self.members[member] = Some(fresh);
    }

    /// Two members that hold quorum on different sides.
    fn two_quorums(&self) -> Option<(usize, usize)> {
        let holders: Vec<usize> = (0..self.names.len()).filter(|m| self.holds(*m)).collect();
        let other = |a: &usize| holders.iter().find(|b| self.sides[**b] != self.sides[*a]).map(|b| (*a, *b));
        holders.iter().find_map(other)
    }
}

#[test]
fn at_most_one_side_of_any_cut_holds_and_only_that_one_shrinks() {
    for count in 2..=8_usize {
        // The side of the first member, in all combinations. It has the lowest name.
        for mask in (1..1_u32 << count).step_by(2) {
            let mut world = World::settled(count);
            world.sides = (0..count).map(|m| mask >> m & 1).collect();
            world.run(WITHIN);
            let with = usize::try_from(mask.count_ones()).unwrap();
            let wins = u32::from(with * 2 >= count);
            for _ in 0..100 {
                world.tick();
                assert_eq!(world.two_quorums(), None, "{count} {mask:b}");
                for m in 0..count {
                    assert_eq!(world.holds(m), world.sides[m] == wins, "{count} {mask:b}: n{m}");
                    assert!(
                        world.sides[m] == wins || world.list(m).len() == count,
                        "{count} {mask:b}: n{m} shrinks"
                    );
                }
            }
            let winners: Vec<usize> = (0..count).filter(|m| world.sides[*m] == wins).collect();
            assert!(winners.iter().all(|m| world.list(*m) == winners), "{count} {mask:b}");
        }
    }
}

#[test]
fn five_shrink_to_three_then_two_then_the_one_with_the_lowest_name() {
    let mut world = World::settled(5);
    for (gone, left) in [(vec![3, 4], vec![0, 1, 2]), (vec![2], vec![0, 1]), (vec![1], vec![0])] {
        gone.into_iter().for_each(|m| drop(world.kill(m)));
        for _ in 0..40 {
            world.tick();
            assert!(left.iter().all(|m| world.holds(*m)), "no flap, neither at the loss nor at the change");
        }
        assert_eq!(world.list(0), left);
    }
    let mut other = World::settled(2);
    other.kill(0);
    other.run(100);
    assert!(!other.holds(1) && other.list(1) == [0, 1], "the lowest name is on the other side");
}

#[test]
fn members_that_return_are_added_one_by_one_and_no_holder_loses_quorum() {
    let mut world = World::settled(7);
    world.sides = vec![0, 0, 0, 0, 1, 1, 1];
    world.run(60);
    assert_eq!(world.list(0), [0, 1, 2, 3]);
    world.sides = vec![0; 7];
    for _ in 0..400 {
        world.tick();
        assert!((0..4).all(|m| world.holds(m)));
    }
    assert!((0..7).all(|m| world.holds(m) && world.list(m).len() == 7));
}

#[test]
fn a_restart_keeps_the_agreed_roster_and_a_restart_of_all_without_a_disk_founds_anew() {
    let mut world = World::settled(5);
    let disks: Vec<_> = (0..5).map(|m| world.kill(m)).collect();
    world.start(1, 5, disks[1].clone());
    world.run(200);
    assert!(!world.holds(1) && world.list(1).len() == 5, "one of five, whatever it sees");
    world.start(2, 5, disks[2].clone());
    world.start(3, 5, disks[3].clone());
    world.run(60);
    assert!((1..4).all(|m| world.holds(m)));
    let mut fresh = World::new(3, 3);
    fresh.run(25);
    assert!(!fresh.holds(0), "agreed on, and the settling time begins");
    fresh.run(25);
    assert!(fresh.holds(0));
}

#[test]
fn newcomers_that_start_beside_the_losers_found_no_roster() {
    let mut world = World::settled(5);
    world.sides = vec![0, 0, 0, 1, 1];
    world.run(60);
    for late in 5..9 {
        let name = Name::new(&format!("n{late}")).unwrap();
        world.names.push((fingerprint::of_name(&name), name));
        world.sides.push(1);
        world.members.push(None);
        world.members.iter_mut().flatten().for_each(|m| m.heard.push(None));
        world.start(late, 3, BTreeMap::new());
    }
    for _ in 0..200 {
        world.tick();
        assert!(
            (3..9).all(|m| !world.holds(m)),
            "four would be enough for a roster, and the two lists know none of them"
        );
    }
    world.sides = vec![0; 9];
    world.run(800);
    assert!((0..9).all(|m| world.holds(m) && world.list(m).len() == 9));
}

#[test]
fn losers_that_are_back_find_no_member_that_counts_with_them_when_the_next_cut_comes_soon() {
    for whole in 1..60 {
        let mut world = World::settled(5);
        world.sides = vec![0, 0, 0, 1, 1];
        world.run(50);
        world.sides = vec![0; 5];
        world.run(whole);
        world.sides = vec![0, 0, 1, 1, 1];
        world.run(WITHIN);
        for _ in 0..60 {
            world.tick();
            assert_eq!(world.two_quorums(), None, "whole for {whole} ticks");
        }
    }
}

#[test]
fn a_cut_while_newcomers_are_being_added_leaves_at_most_one_quorum() {
    for (count, ticks) in (2..5_usize).flat_map(|count| (0..200).step_by(7).map(move |ticks| (count, ticks)))
    {
        let all = count + 2;
        for mask in 1..(1_u32 << all) - 1 {
            let mut world = World::settled(all);
            let late: Vec<usize> = (count..all).collect();
            late.iter().for_each(|m| drop(world.kill(*m)));
            world.run(30);
            late.iter().for_each(|m| world.start(*m, 3, BTreeMap::new()));
            world.run(ticks);
            world.sides = (0..all).map(|m| mask >> m & 1).collect();
            world.run(WITHIN);
            for _ in 0..40 {
                world.tick();
                assert_eq!(world.two_quorums(), None, "{count} {mask:b} {ticks}");
            }
        }
    }
}

/// Six random cuts, one after another. Between two of them the network is whole for `whole` ticks and, if `settles`,
/// until all members have the same roster again. Returns in how many worlds two sides ever both held quorum, and how
/// often a member was struck off.
fn worlds(count: u64, whole: core::ops::Range<u32>, settles: bool) -> (usize, usize) {
    let (mut broken, mut struck) = (0, 0);
    for seed in 0..count {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let count = dice.random_range(3..=8_usize);
        let mut world = World::settled(count);
        let mut both = false;
        for _ in 0..6 {
            world.sides = (0..count).map(|_| dice.random_range(0..2)).collect();
            world.run(WITHIN);
            for _ in 0..dice.random_range(10..100) {
                world.tick();
                both |= world.two_quorums().is_some();
            }
            struck += (0..count).filter(|m| world.holds(*m) && world.list(*m).len() < count).count();
            world.sides = vec![0; count];
            world.run(dice.random_range(whole.clone()));
            let same = |w: &World| (0..count).all(|m| w.holds(m) && w.list(m).len() == count);
            let patience = 100 * u32::try_from(count).unwrap();
            for _ in 0..patience {
                if !settles || same(&world) {
                    break;
                }
                world.tick();
            }
            assert!(!settles || same(&world) || both, "it settles again: {seed}");
        }
        broken += usize::from(both);
    }
    (broken, struck)
}

#[test]
fn cuts_one_after_another_leave_at_most_one_quorum_if_the_cluster_settles_in_between() {
    let (broken, struck) = worlds(300, 15..60, true);
    assert_eq!(broken, 0);
    assert!(struck > 1000, "{struck}");
}

/// A known limit, tested so that it is not forgotten: of a thousand such worlds, six cuts each, about sixty.
#[test]
fn cuts_one_after_another_that_leave_no_time_to_settle_can_make_two_quorums() {
    assert!(worlds(100, 15..60, false).0 > 0);
}

/// Another known limit (docs/decisions.md).
#[test]
fn a_change_that_has_not_reached_all_members_when_the_cut_moves_makes_two_quorums() {
    let mut world = World::settled(5);
    world.sides = vec![0, 0, 0, 1, 1];
    world.uninformed = Some(2);
    world.run(30);
    assert_eq!(
        (world.list(0), world.list(1), world.list(2).len()),
        (vec![0, 1, 2], vec![0, 1, 2], 5),
        "n2 has not heard"
    );
    world.sides = vec![0, 0, 1, 1, 1];
    world.run(30);
    assert!(world.two_quorums().is_some(), "two of three, and three of five");
}
