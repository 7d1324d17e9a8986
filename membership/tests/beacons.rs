//! Members learn how long news takes to reach them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use heartsay_membership::{BEACON_KEY, Command, Config, MemberEventKind, NewsDelays};
use heartsay_testkit::{Start, World, config};

#[test]
fn each_member_learns_how_long_news_takes_and_no_program_is_told_of_a_change() {
    let mut world = ringing(12);
    world.run(300.0);
    for name in world.names().map(str::to_owned).collect::<Vec<_>>() {
        let delays = world.node(&name).news_delays();
        assert!(
            (20..=40).contains(&heard(delays)),
            "one beacon of twelve members in ten seconds: {delays:?}"
        );
        let slowest = delays.latest().iter().max().unwrap();
        assert!(*slowest < Duration::from_millis(600), "{name}: {delays:?}");
        assert_eq!(world.count(&name, MemberEventKind::Update), 0, "{name}");
    }
}

#[test]
fn news_that_a_cut_held_up_counts_with_the_time_of_the_cut() {
    let mut world = ringing(5);
    world.run(20.0);
    for other in ["n2", "n3", "n4", "n5"] {
        world.cut_between("n1", other);
    }
    let before = heard(world.node("n1").news_delays());
    world.run(120.0);
    assert_eq!(heard(world.node("n1").news_delays()), before, "nothing comes");
    world.heal();
    world.run(10.0);
    let late = world.node("n1").news_delays().latest();
    assert!(late.iter().any(|delay| *delay > Duration::from_secs(20)), "{late:?}");
}

#[test]
fn a_newcomer_does_not_take_what_it_finds_for_late_news() {
    let mut world = ringing(5);
    world.run(200.0);
    world.add(Start::new("n6").config(ringing_config()).seeds(&["n1"]));
    world.run(100.0);
    let delays = world.node("n6").news_delays();
    assert!(heard(delays) > 0, "{delays:?}");
    assert!(delays.latest().iter().all(|delay| *delay < Duration::from_secs(1)), "{delays:?}");
}

#[test]
fn without_the_setting_there_is_no_beacon_and_nobody_else_may_write_one() {
    let mut world = World::cluster(3);
    world.run(60.0);
    assert_eq!(heard(world.node("n1").news_delays()), 0);
    let value = vec![(BEACON_KEY.into(), Some(b"7".to_vec()))];
    assert_eq!(world.command("n1", Command::Set(value)).unwrap_err().reason(), "bad-state");
}

#[test]
fn a_beacon_leaves_its_room_to_the_operator() {
    let mut world = ringing(3);
    world.wait(300.0, |world| world.member("n1", "n1").unwrap().state.contains_key(BEACON_KEY));
    let all = |i| vec![(format!("tag/k{i}"), Some(b"v".to_vec()))];
    // The zone is a key too.
    for i in 0..63 {
        world.command("n1", Command::Set(all(i))).unwrap();
    }
    assert_eq!(world.command("n1", Command::Set(all(63))).unwrap_err().reason(), "bad-state");
    world.run(300.0);
    assert!(!world.member("n2", "n1").unwrap().state.contains_key(BEACON_KEY));
}

fn heard(delays: &NewsDelays) -> u64 {
    delays.counts().iter().sum()
}

fn ringing_config() -> Config {
    Config { beacon: Some(Duration::from_secs(10)), ..config() }
}

fn ringing(members: usize) -> World {
    let mut world = World::new();
    for i in 1..=members {
        world.add(Start::new(&format!("n{i}")).config(ringing_config()).seeds(&["n1"]));
    }
    world.run(10.0);
    world.forget_events();
    world
}
