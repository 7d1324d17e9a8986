//! Waves alone: who begins them and when, how groups divide the members, and what a ping of a wave proves.

use core::time::Duration;
use std::collections::BTreeSet;

use heartsay_proto::gossip;
use proptest::prelude::*;

use crate::Instant;
use crate::quorum::waves::{Ping, Target, Waves, borrowed_in_a_wave, group_of};
use crate::quorum::{Ballot, Lease, ZoneBallot};

const PERIOD: Duration = Duration::from_millis(600);
const STEP: Duration = Duration::from_millis(70);
const LENGTH: Duration = Duration::from_millis(1400);

fn at(ms: u64) -> Instant {
    Instant::EPOCH + Duration::from_millis(ms)
}

/// Relay `me` of the relays 1, 2, 3, ….
fn relays() -> Waves {
    let mut waves = Waves::new(at(0));
    waves.relays = (1..=8).collect();
    waves
}

/// One vote for each member.
fn ballot(members: u64) -> Ballot {
    let votes = u32::try_from(members).unwrap();
    let electors = (1..=members).map(|member| (member, 1)).collect();
    Ballot { votes, needed: votes / 2 + 1, electors, ..Ballot::default() }
}

fn begin(waves: &mut Waves, now: Instant, me: u64, members: u64) -> Vec<Target> {
    let others: Vec<u64> = (1..=members).filter(|member| *member != me).collect();
    waves.begin((now, me, PERIOD), &others);
    waves.open.last().unwrap().targets.clone()
}

#[test]
fn the_first_two_relays_begin_a_wave_in_each_period_half_a_period_apart() {
    let mut first = relays();
    begin(&mut first, at(1000), 1, 9);
    assert_eq!(first.begins_at(1, PERIOD, STEP), at(1600));
    let mut second = relays();
    begin(&mut second, at(1010), 2, 9);
    assert_eq!(second.begins_at(2, PERIOD, STEP), at(1610), "it has heard nothing of the first");
    second.came(at(1001), 0);
    assert_eq!(
        second.begins_at(2, PERIOD, STEP),
        at(1901),
        "half a period after the wave that comes at 1601"
    );
    begin(&mut second, at(1901), 2, 9);
    second.came(at(2201), 0);
    assert_eq!(second.begins_at(2, PERIOD, STEP), at(2501));
}

#[test]
fn the_next_relay_steps_in_when_a_wave_does_not_come_and_the_one_after_it_leaves_it_time() {
    let mut third = relays();
    third.came(at(2000), 0);
    third.came(at(2300), 1);
    assert_eq!(third.begins_at(3, PERIOD, STEP), at(2750), "a quarter of a period after the first is late");
    third.came(at(2600), 0);
    assert_eq!(third.begins_at(3, PERIOD, STEP), at(3050), "both come");
    assert_eq!(third.begins_at(4, PERIOD, STEP), at(3050) + STEP, "the fourth, if the third does not");
    third.came(at(3051), 2);
    assert_eq!(
        third.begins_at(4, PERIOD, STEP),
        at(2600) + PERIOD * 5 / 4 + STEP,
        "with the third there are two again"
    );
}

#[test]
fn waves_of_a_relay_that_does_not_hear_us_count_no_more() {
    let mut member = relays();
    let hears_us = |member: &Waves, now: Instant, named: u32| {
        member.hears_us(now, 1, member.answered_at(1, named), PERIOD)
    };
    assert!(hears_us(&member, at(1000), 0), "its first ping");
    member.answered(at(1000), 1, 20);
    assert!(hears_us(&member, at(1600), 20), "it names the answer to the last one");
    member.answered(at(1600), 1, 21);
    assert!(!hears_us(&member, at(2200), 20), "it has not heard the last one");
    member.answered(at(2200), 1, 22);
    assert!(!hears_us(&member, at(2800), 20), "nor the one after that");
    assert!(hears_us(&member, at(2800), 22), "it hears again");
}

#[test]
fn the_first_wave_of_a_relay_is_followed_by_another_as_soon_as_it_has_proven_a_majority() {
    let mut relay = relays();
    begin(&mut relay, at(1000), 1, 9);
    assert!(!relay.has_proven(at(1001), at(999)), "an older proof");
    assert!(relay.has_proven(at(1001), at(1000)));
    assert_eq!(relay.begins_at(1, PERIOD, STEP), at(1001));
    begin(&mut relay, at(1001), 1, 9);
    assert!(!relay.has_proven(at(1002), at(1001)));
    assert_eq!(relay.begins_at(1, PERIOD, STEP), at(1601), "then in each period");
}

#[test]
fn a_member_that_is_no_relay_begins_nothing() {
    assert_eq!(relays().begins_at(9, PERIOD, STEP), Instant::NEVER);
}

/// All members that a wave reaches, each as often as it is pinged to count its vote, through leaders of leaders.
fn reached(waves: &mut Waves, now: Instant, me: u64, members: u64) -> Vec<u64> {
    let mut reached = Vec::new();
    let mut to_do = begin(waves, now, me, members);
    let number = waves.open.last().unwrap().number;
    while let Some(target) = to_do.pop() {
        let Some((group, groups)) = target.lead else {
            reached.push(target.member);
            continue;
        };
        let leader = target.member;
        let lead = gossip::Lead { number, group, groups, relay: me };
        let of_group =
            |member: &u64| *member != me && *member != leader && group_of(me, *member, groups) == group;
        let mut led = Waves::new(now);
        let group: Vec<u64> = (1..=members).filter(of_group).collect();
        led.pass_on(now, me, 0, lead, &group);
        let wave = led.open.pop().unwrap();
        if wave.targets.iter().all(|target| target.lead.is_none()) {
            reached.push(leader);
        }
        to_do.extend(wave.targets);
    }
    reached.sort_unstable();
    reached
}

#[test]
fn a_wave_counts_each_vote_once_through_leaders_and_their_leaders() {
    for members in [2, 9, 33, 34, 128, 400, 402, 1000, 3000] {
        let mut waves = relays();
        let reached = reached(&mut waves, at(1000), 1, members);
        let all: Vec<u64> = (2..=members).collect();
        // Of a group in which only its own leader is left, nobody counts the vote of that leader.
        let unique: BTreeSet<u64> = reached.iter().copied().collect();
        assert_eq!(unique.len(), reached.len(), "{members}: a vote counts twice");
        assert!(unique.iter().all(|member| all.contains(member)));
        assert!(reached.len() * 50 >= all.len() * 49, "{members}: {} reached", reached.len());
    }
}

/// A relay of `members` whose leaders have answered, and its leaders.
fn with_leaders(members: u64) -> (Waves, Lease, Vec<Ping>) {
    let mut waves = relays();
    let mut lease = Lease::default();
    begin(&mut waves, at(1000), 1, members);
    let wave = waves.open.last_mut().unwrap();
    let (due, _) = wave.step(at(1000), &lease, usize::MAX, |_| PERIOD);
    for target in &due {
        lease.answered(target.member, at(1000));
    }
    (waves, lease, due)
}

fn tally(waves: &Waves, leader: &Ping, votes: u32) -> gossip::Tally {
    let (group, _) = leader.lead.unwrap();
    gossip::Tally { number: waves.open.last().unwrap().number, group, votes, ..gossip::Tally::default() }
}

#[test]
fn the_votes_of_groups_make_a_majority_as_of_the_wave() {
    let (mut waves, lease, leaders) = with_leaders(128);
    let ballot = ballot(128);
    let mut proof = None;
    for leader in &leaders {
        let told = tally(&waves, leader, 100);
        proof = waves.hear_tally((at(1100), LENGTH), (leader.member, 1), told, (&lease, &ballot));
    }
    let (proof, _) = proof.unwrap();
    assert_eq!(proof.as_of, at(1000));
    assert_eq!(proof.present, 128, "a leader that says 100 counts for no more than its group has");
}

#[test]
fn the_votes_of_groups_add_up_by_zone() {
    let zone = |votes| ZoneBallot::new(String::new(), votes);
    let zones = vec![zone(64), zone(40), zone(24)];
    let zone_of = (0..128).map(|at| if at < 64 { 0 } else { 1 + usize::from(at >= 104) }).collect();
    let ballot = Ballot { needed: 2, zones, zone_of, ..ballot(128) };
    let hear = |votes: [u32; 3]| {
        let (mut waves, lease, leaders) = with_leaders(128);
        let mut proof = None;
        for leader in &leaders {
            let told = gossip::Tally { zones: votes.to_vec(), ..tally(&waves, leader, 100) };
            proof = waves.hear_tally((at(1100), LENGTH), (leader.member, 1), told, (&lease, &ballot));
        }
        proof
    };
    assert_eq!(hear([100, 0, 0]), None, "all of one zone");
    let (proof, zones) = hear([0, 100, 100]).unwrap();
    assert_eq!((proof.as_of, proof.present), (at(1000), 2), "of each group what it has at most");
    assert_eq!(zones, [1, 40, 24], "and our own vote");
}

#[test]
fn a_group_tells_whether_the_member_that_decides_a_tie_has_answered() {
    let (mut waves, lease, leaders) = with_leaders(128);
    let ballot = Ballot { tie: Some(7), ..ballot(128) };
    let groups = leaders.iter().find_map(|leader| leader.lead).unwrap().1;
    let mut left = 63;
    let mut hear = |tie: bool| {
        let mut proof = None;
        for leader in &leaders {
            let (group, _) = leader.lead.unwrap();
            let here = (2..=128).filter(|member| group_of(1, *member, groups) == group);
            let votes = u32::try_from(here.count()).unwrap().min(left);
            left -= votes;
            let told = gossip::Tally { tie, ..tally(&waves, leader, votes) };
            proof = waves.hear_tally((at(1100), LENGTH), (leader.member, 1), told, (&lease, &ballot));
        }
        left = 63;
        proof.map(|(proof, _)| proof.present)
    };
    assert_eq!(hear(false), None, "half");
    assert_eq!(hear(true), Some(64), "half with it");
}

#[test]
fn a_tally_counts_only_from_the_leader_that_was_asked_for_it_and_has_answered() {
    let (mut waves, lease, leaders) = with_leaders(128);
    let ballot = Ballot { needed: 1, ..ballot(128) };
    let ballot =
        Ballot { electors: ballot.electors.iter().filter(|(e, _)| *e != 1).copied().collect(), ..ballot };
    let (leader, other) = (&leaders[0], &leaders[1]);
    let told = tally(&waves, leader, 5);
    let mut hear = |who: u64, told, lease: &Lease| {
        waves.hear_tally((at(1100), LENGTH), (who, 1), told, (lease, &ballot)).is_some()
    };
    assert!(!hear(other.member, told.clone(), &lease), "another leader");
    let of_another = gossip::Tally { number: told.number ^ 1, ..told.clone() };
    assert!(!hear(leader.member, of_another, &lease), "another wave");
    assert!(!hear(leader.member, told.clone(), &Lease::default()), "one that has not answered");
    assert!(hear(leader.member, told, &lease));
}

#[test]
fn a_leader_that_does_not_answer_is_passed_over_in_the_same_wave() {
    let mut waves = relays();
    let mut lease = Lease::default();
    let leaders = begin(&mut waves, at(1000), 1, 128);
    let step = |waves: &mut Waves, ms: u64, lease: &Lease| {
        let wave = waves.open.last_mut().unwrap();
        let (due, _) = wave.step(at(ms), lease, usize::MAX, |_| Duration::from_millis(50));
        due.iter().map(|target| (target.lead.unwrap().0, target.member)).collect::<Vec<_>>()
    };
    let first = step(&mut waves, 1000, &lease);
    assert_eq!(first.len(), leaders.len());
    first.iter().skip(1).for_each(|(_, leader)| lease.answered(*leader, at(1000)));
    assert_eq!(step(&mut waves, 1050, &lease), first[..1], "the only one that has not answered, once more");
    let second = step(&mut waves, 1100, &lease);
    assert_eq!((second.len(), second[0].0), (1, first[0].0));
    assert_ne!(second[0].1, first[0].1, "another leads the group");
    lease.answered(second[0].1, at(1100));
    assert!(step(&mut waves, 1150, &lease).is_empty());
    begin(&mut waves, at(1600), 1, 128);
    assert_eq!(
        step(&mut waves, 1600, &lease),
        first,
        "it keeps its group, as one burst of losses explains that"
    );
    first.iter().skip(1).for_each(|(_, leader)| lease.answered(*leader, at(1600)));
    step(&mut waves, 1650, &lease);
    assert_eq!(step(&mut waves, 1700, &lease), second);
    begin(&mut waves, at(2200), 1, 128);
    let next = step(&mut waves, 2200, &lease);
    assert_eq!((next[0], &next[1..]), (second[0], &first[1..]), "two in a row");
}

#[test]
fn a_group_has_a_few_leaders_in_one_wave_and_others_in_the_third() {
    let (mut waves, lease) = (relays(), Lease::default());
    let mut tried: Vec<BTreeSet<u64>> = Vec::new();
    for wave in 0..3_u64 {
        begin(&mut waves, at(1000 + 600 * wave), 1, 128);
        let open = waves.open.last_mut().unwrap();
        let steps = (0..20).flat_map(|step| {
            open.step(at(1000 + 600 * wave + 20 * step), &lease, usize::MAX, |_| Duration::from_millis(20)).0
        });
        tried.push(steps.filter(|target| target.lead.unwrap().0 == 0).map(|target| target.member).collect());
    }
    assert_eq!((tried[0].len(), &tried[0]), (4, &tried[1]));
    assert_eq!(tried[1].intersection(&tried[2]).count(), 1, "the last one has another chance");
}

#[test]
fn a_member_is_pinged_again_in_a_wave_until_it_answers_and_three_times_at_most() {
    let mut waves = relays();
    let mut lease = Lease::default();
    begin(&mut waves, at(1000), 1, 3);
    let wave = waves.open.last_mut().unwrap();
    let mut step = |ms: u64, lease: &Lease, room: usize| {
        let (due, next) = wave.step(at(ms), lease, room, |_| Duration::from_millis(50));
        (due.iter().map(|target| target.member).collect::<Vec<_>>(), next)
    };
    assert_eq!(step(1000, &lease, 1), (vec![2], at(1000)), "as many as there is room for");
    assert_eq!(step(1000, &lease, 9), (vec![3], at(1050)));
    lease.answered(2, at(1000));
    assert_eq!(step(1050, &lease, 9), (vec![3], at(1100)));
    assert_eq!(step(1100, &lease, 9).0, vec![3]);
    assert_eq!(step(1150, &lease, 9), (vec![], Instant::NEVER));
}

#[test]
fn a_group_tells_its_votes_when_all_have_answered_or_after_a_while_and_once_more_if_they_grew() {
    let mut waves = relays();
    let mut lease = Lease::default();
    let hold = Duration::from_millis(100);
    let lead = gossip::Lead { number: 7, group: 0, groups: 4, relay: 1 };
    waves.pass_on(at(1000), 1, 0, lead, &[2, 3]);
    waves.pass_on(at(1001), 1, 0, lead, &[2, 3]);
    assert_eq!(waves.open.len(), 1, "a wave that is under way is not begun again");
    let wave = waves.open.last_mut().unwrap();
    wave.step(at(1000), &lease, 9, |_| PERIOD);
    assert_eq!(wave.tells_at(&lease, 1, hold), at(1100));
    lease.answered(2, at(1000));
    assert_eq!(wave.votes(4, &lease, &ballot(4)).votes, 2, "it and the leader");
    wave.told = Some(2);
    assert_eq!(wave.tells_at(&lease, 2, hold), Instant::NEVER, "nothing new");
    lease.answered(3, at(1000));
    assert_eq!(
        wave.tells_at(&lease, wave.votes(4, &lease, &ballot(4)).votes, hold),
        at(1000),
        "all: at once"
    );
}

#[test]
fn one_member_cannot_have_many_waves_passed_on() {
    let mut waves = relays();
    for number in 0..100 {
        waves.pass_on(at(1000), 1, 0, gossip::Lead { number, group: 0, groups: 1, relay: 1 }, &[2, 3]);
    }
    assert_eq!(waves.open.len(), 3);
    for asker in 2..100 {
        waves.pass_on(at(1000), asker, 0, gossip::Lead { number: 0, group: 0, groups: 1, relay: 1 }, &[2, 3]);
    }
    assert_eq!(waves.open.len(), 16);
    waves.tidy(at(1000) + PERIOD * 2, PERIOD);
    assert!(waves.open.is_empty());
}

#[test]
fn an_answer_that_did_not_arrive_proves_nothing() {
    let mut waves = relays();
    waves.answered(at(1000), 1, 11);
    waves.answered(at(1600), 1, 22);
    assert_eq!(waves.answered_at(1, 11), Some(at(1000)), "the relay missed the last one");
    assert_eq!(waves.answered_at(1, 22), Some(at(1600)));
    waves.answered(at(2200), 1, 33);
    assert_eq!(waves.answered_at(1, 11), None, "too long ago");
    assert_eq!(waves.answered_at(2, 33), None, "another member");
}

proptest! {
    /// A member answers at `s`, the relay hears it after `way`, and its ping leaves `later` after that. The relay has a
    /// proof as of `p`. Clocks run at any two rates within one hundredth.
    #[test]
    fn a_proof_borrowed_in_a_wave_never_looks_younger_than_it_is(
        p in 5_000_000_u64..7_000_000,
        s in 5_000_000_u64..7_000_000,
        way in 0_u64..300_000,
        later in 0_u64..1_500_000,
        (relay, member) in (9_900_u64..=10_100, 9_900_u64..=10_100),
    ) {
        let heard = s + way;
        let left = (heard + later).max(p);
        let by_relay = |us: u64| Duration::from_micros(us * relay / 10_000);
        // As on the wire: whole milliseconds, the age rounded up and the other down.
        let age = Duration::from_millis(u64::try_from(by_relay(left - p).as_millis()).unwrap() + 1);
        let since = Duration::from_millis(u64::try_from(by_relay(left - heard).as_millis()).unwrap());
        let answered = Instant::EPOCH + Duration::from_micros(s * member / 10_000);
        let as_of = borrowed_in_a_wave(answered, since, age).unwrap();
        let truth = Instant::EPOCH + Duration::from_micros(p.min(s) * member / 10_000);
        // To a microsecond, by the division above.
        prop_assert!(as_of <= truth + Duration::from_micros(1), "{as_of:?} is after {truth:?}");
    }
}
