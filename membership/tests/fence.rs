//! The fence, told as stories: whose lease has run out for certain, and what is not said of whom.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::time::Duration;

use heartsay_membership::{
    Command, Config, Electorate, Event, FenceError, Instant, MemberEventKind, Quorum, Status,
};
use heartsay_testkit::{World, config};

/// All vote, and a fence is kept.
fn fenced(votes: u32) -> Config {
    Config { fence: true, electorate: Some(Electorate::expected(votes)), ..config() }
}

/// `n1` to `nN`, all of whom hold quorum.
fn cluster(count: u128, config: &Config) -> World {
    let mut world = World::new();
    for i in 1..=count {
        world.start_as(&format!("n{i}"), i, &["n1"], config.clone());
    }
    world.wait(10.0, |w| w.names().all(|name| quorum(w, name) == Quorum::Held));
    world.run(5.0);
    world.forget_events();
    world
}

fn quorum(world: &World, name: &str) -> Quorum {
    world.node(name).quorum(world.now).quorum
}

/// What `observer` was told of `subject`: when, which event, and whether it is fenced.
fn told(world: &World, observer: &str, subject: &str) -> Vec<(Instant, MemberEventKind, Option<bool>)> {
    let about = |(at, event): &(Instant, Event)| {
        let Event::Member(m) = event else { return None };
        (m.name.as_str() == subject && m.fenced.is_some()).then_some((*at, m.kind, m.fenced))
    };
    world.events(observer).iter().filter_map(about).collect()
}

fn shown(world: &World, observer: &str, subject: &str) -> Option<bool> {
    world.member(observer, subject).unwrap().fenced
}

#[test]
fn a_host_that_vanishes_is_fenced_when_it_is_called_down() {
    let mut world = cluster(5, &fenced(5));
    assert_eq!(shown(&world, "n1", "n3"), None);
    world.vanish("n3");
    world.wait(4.0, |w| ["n1", "n2", "n4", "n5"].iter().all(|n| shown(w, n, "n3") == Some(true)));
    for observer in ["n1", "n2", "n4", "n5"] {
        let told = told(&world, observer, "n3");
        assert!(matches!(told[..], [(_, MemberEventKind::Down, Some(true))]), "{observer}: {told:?}");
    }
    assert_eq!(quorum(&world, "n3"), Quorum::Lost, "it lives, and knows");
}

#[test]
fn a_process_that_dies_is_down_at_once_and_fenced_when_its_lease_would_be_over() {
    let mut world = cluster(5, &fenced(5));
    let died = world.now;
    world.kill("n3");
    world.wait(2.0, |w| shown(w, "n1", "n3") == Some(true));
    let told = told(&world, "n1", "n3");
    let [(down, MemberEventKind::Down, Some(false)), (fenced, MemberEventKind::Fenced, Some(true))] =
        told[..]
    else {
        panic!("{told:?}")
    };
    assert!(
        down.since(died) < Duration::from_millis(500) && fenced.since(died) < Duration::from_millis(1700)
    );
}

#[test]
fn a_running_member_that_is_put_out_loses_its_lease_and_is_fenced() {
    let mut world = cluster(3, &fenced(3));
    world.command("n2", Command::Beat(false)).unwrap();
    world.wait(6.0, |w| quorum(w, "n2") == Quorum::Lost);
    // It stops when it is told; what it was told before has run out a lease later.
    world.wait(3.0, |w| ["n1", "n3"].iter().all(|n| shown(w, n, "n2") == Some(true)));
    world.command("n2", Command::Beat(true)).unwrap();
    world.wait(4.0, |w| quorum(w, "n2") == Quorum::Held && shown(w, "n1", "n2").is_none());
}

#[test]
fn a_member_that_reaches_a_majority_is_not_fenced_by_members_that_do_not_reach_it() {
    let mut world = cluster(5, &fenced(5));
    for other in ["n1", "n2"] {
        world.cut_between("n5", other);
        world.cut_between("n4", other);
    }
    world.run(30.0);
    assert_eq!((quorum(&world, "n5"), quorum(&world, "n3")), (Quorum::Held, Quorum::Held));
    for observer in ["n1", "n2"] {
        let seen = world.member(observer, "n5").unwrap();
        assert_eq!((seen.status, seen.reachable), (Status::Alive, Some(false)), "{observer}");
        assert_eq!((told(&world, observer, "n5"), seen.fenced), (Vec::new(), None), "{observer}");
    }
}

#[test]
fn two_that_are_left_of_five_do_not_fence_the_others() {
    let mut world = cluster(5, &fenced(5));
    for dead in ["n3", "n4", "n5"] {
        world.kill(dead);
    }
    world.run(30.0);
    for dead in ["n3", "n4", "n5"] {
        let told = told(&world, "n1", dead);
        assert!(matches!(told[..], [(_, MemberEventKind::Down, Some(false))]), "{dead}: {told:?}");
    }
}

#[test]
fn a_member_without_a_vote_has_a_lease_of_its_own_and_is_fenced_like_the_others() {
    let config = Config { electorate: Some("n1,n2,n3".parse().unwrap()), ..fenced(3) };
    let mut world = cluster(5, &config);
    world.vanish("n5");
    world.wait(2.0, |w| quorum(w, "n5") == Quorum::Lost);
    world.wait(4.0, |w| ["n1", "n2", "n3", "n4"].iter().all(|n| shown(w, n, "n5") == Some(true)));
}

#[test]
fn a_member_without_a_fence_does_not_count_for_members_with_one() {
    let mut world = World::new();
    for (name, host) in [("n1", 1), ("n2", 2)] {
        world.start_as(name, host, &["n1"], fenced(3));
    }
    world.start_as("n3", 3, &["n1"], Config { fence: false, ..fenced(3) });
    world.run(10.0);
    assert_eq!(quorum(&world, "n1"), Quorum::Held);
    assert_eq!(quorum(&world, "n3"), Quorum::Lost);
    let status = world.node("n3").quorum(world.now);
    assert!(status.reason.contains("told of another electorate"), "{}", status.reason);
}

#[test]
fn more_than_nine_electors_are_refused() {
    assert_eq!(fenced(9).check_fence(), Ok(()));
    assert_eq!(fenced(10).check_fence(), Err(FenceError::TooMany(10)));
    assert_eq!(Config { electorate: None, ..fenced(1) }.check_fence(), Err(FenceError::NoElectorate));
    assert_eq!(Config { fence: false, ..fenced(10) }.check_fence(), Ok(()));
    // Where the machine is told so all the same, it holds no quorum and says why.
    let mut world = World::new();
    world.start_as("n1", 1, &[], fenced(10));
    world.run(3.0);
    let status = world.node("n1").quorum(world.now);
    assert_eq!(status.quorum, Quorum::Lost);
    assert!(status.reason.contains("9 electors at the most"), "{}", status.reason);
}

#[test]
fn without_a_fence_nothing_is_said_about_it() {
    let mut world = cluster(3, &Config { fence: false, ..fenced(3) });
    world.vanish("n3");
    world.wait(4.0, |w| w.status("n1", "n3") == Some(Status::Down));
    assert!(told(&world, "n1", "n3").is_empty() && shown(&world, "n1", "n3").is_none());
}
