//! A member says that it restarts: the others wait for it, for so long and no longer.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::time::Duration;

use heartsay_membership::{Command, Electorate, Event, MemberEventKind, Quorum, Status};
use heartsay_testkit::{World, config};

const FIVE: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

#[test]
fn five_are_upgraded_one_after_another_and_the_others_see_five_restarts_and_nothing_else() {
    let mut config = config();
    config.electorate = Some(Electorate::expected(5));
    let mut world = World::new();
    for (host, name) in (1..).zip(FIVE) {
        world.start_as(name, host, &["n1", "n2"], config.clone());
    }
    world.wait(20.0, |w| w.nodes().all(|node| node.quorum(w.now).quorum == Quorum::Held));
    world.run(10.0);
    world.forget_events();
    for (host, name) in (1..).zip(FIVE) {
        announce(&mut world, name, 15);
        world.kill(name);
        world.run(4.0);
        assert!(world.all_say(name, Status::Restarting), "{world:?}");
        world.start_as(name, host, &["n1", "n2"], config.clone());
        world.wait(2.0, |w| w.all_say(name, Status::Alive) && w.node(name).members() == 5);
        world.run(8.0);
        for other in world.others(name) {
            let seen: Vec<_> = world.events(&other).iter().map(|(_, event)| event).collect();
            let restart = |e: &Event| matches!(e, Event::Member(m) if m.name.as_str() == name && m.kind == MemberEventKind::Restart);
            assert!(matches!(seen[..], [only] if restart(only)), "{other} of {name}: {seen:?}");
        }
        world.forget_events();
    }
}

#[test]
fn a_member_that_is_not_back_in_its_time_is_called_down_right_after_it() {
    let mut world = World::cluster(5);
    world.run(10.0);
    world.forget_events();
    announce(&mut world, "n5", 15);
    world.kill("n5");
    world.run(14.0);
    assert!(world.all_say("n5", Status::Restarting), "{world:?}");
    assert_eq!(world.all_events().count(), 0, "{world:?}");
    world.wait(2.0, |w| w.all_say("n5", Status::Down));
}

#[test]
fn a_host_that_vanishes_while_it_restarts_is_down_a_usual_pause_after_its_time() {
    let mut world = World::cluster(5);
    world.run(10.0);
    announce(&mut world, "n5", 3);
    world.vanish("n5");
    world.stop("n5");
    world.run(2.5);
    assert!(world.all_say("n5", Status::Restarting), "{world:?}");
    let others = |w: &World| FIVE[..4].iter().all(|by| w.status(by, "n5") == Some(Status::Down));
    let took = world.wait(6.0, others);
    assert!(took > 2.0, "{took}");
}

#[test]
fn a_restart_is_waited_for_a_minute_at_most() {
    let mut world = World::cluster(5);
    world.run(10.0);
    announce(&mut world, "n5", 1_000_000);
    world.kill("n5");
    world.run(59.0);
    assert!(world.all_say("n5", Status::Restarting), "{world:?}");
    world.wait(3.0, |w| w.all_say("n5", Status::Down));
}

#[test]
fn a_member_that_missed_the_announcement_of_a_restart_hears_of_it_before_a_verdict() {
    let mut world = World::cluster(5);
    world.run(10.0);
    for other in ["n1", "n2", "n3", "n5"] {
        world.cut_between("n4", other);
    }
    announce(&mut world, "n5", 15);
    world.kill("n5");
    world.heal();
    world.forget_events();
    world.run(5.0);
    assert!(world.all_say("n5", Status::Restarting), "{world:?}");
    assert_eq!(world.count("n5", MemberEventKind::Down), 0);
    // A newcomer hears how long is left, and not that it begins now.
    world.start("n6", &["n1"]);
    world.run(1.0);
    let left = world.member("n6", "n5").unwrap().restarting.unwrap();
    assert!(left > Duration::from_secs(8) && left < Duration::from_millis(8_850), "{left:?}");
}

#[test]
fn a_restarting_member_is_no_witness_and_the_dead_are_still_called_down() {
    let mut world = World::cluster(3);
    world.run(10.0);
    announce(&mut world, "n2", 30);
    world.kill("n2");
    world.kill("n3");
    world.wait(3.0, |w| w.status("n1", "n3") == Some(Status::Down));
    assert_eq!(world.status("n1", "n2"), Some(Status::Restarting));
}

/// The member says that it is back within so many seconds, and knows that others have heard it.
fn announce(world: &mut World, name: &str, within: u64) {
    world.command(name, Command::Restart(Duration::from_secs(within))).unwrap();
    let done = |w: &World| w.events(name).iter().any(|(_, event)| matches!(event, Event::LeaveDone { .. }));
    world.wait(1.2, done);
    assert_eq!(world.count(name, MemberEventKind::Left), 0);
    world.forget_events_of(name);
}
