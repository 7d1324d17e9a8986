//! Members that live and cannot reach each other: both ends tell it of the path, and nobody of a member.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::time::Duration;

use heartsay_membership::{Command, Direction, Electorate, Event, Instant, LinkEvent, PathState, Status};
use heartsay_testkit::{World, config};

/// What `name` has told of its paths.
fn links(world: &World, name: &str) -> Vec<(Instant, LinkEvent)> {
    let link = |(at, event): &(Instant, Event)| {
        let Event::Link(link) = event else { return None };
        Some((*at, link.clone()))
    };
    world.events(name).iter().filter_map(link).collect()
}

fn all_links(world: &World) -> usize {
    world.names().map(|name| links(world, name).len()).sum()
}

fn path(world: &World, by: &str, to: &str) -> (PathState, Option<Direction>) {
    let path = world.member(by, to).unwrap().path;
    (path.state, path.direction)
}

fn is_down(world: &World, by: &str, to: &str) -> bool {
    path(world, by, to).0 == PathState::Down
}

/// Nothing that `from` sends to `to` arrives.
fn cut_one_way(world: &mut World, from: &str, to: &str) {
    world.wire.cut.insert((from.to_owned(), to.to_owned()));
}

/// No member has called another anything but alive.
fn nothing_but_links(world: &World) {
    for name in world.names() {
        let other = world.events(name).iter().find(|(_, event)| !matches!(event, Event::Link(_)));
        assert_eq!(other, None, "at {name}");
    }
}

#[test]
fn a_cut_link_is_told_at_both_ends_with_the_helper_and_by_nobody_else() {
    for (count, most) in [(3, 9.0), (5, 12.0), (7, 15.0)] {
        let mut world = World::cluster(count);
        world.run(30.0);
        world.forget_events();
        world.cut_between("n1", "n2");
        let took = world.wait(most, |w| is_down(w, "n1", "n2") && is_down(w, "n2", "n1"));
        eprintln!("{count} members: {took:.1} s");
        world.run(60.0);
        for (by, to) in [("n1", "n2"), ("n2", "n1")] {
            let told = links(&world, by);
            assert_eq!(told.len(), 1, "{told:?}");
            let (_, link) = &told[0];
            assert_eq!((link.name.as_str(), link.state), (to, PathState::Down));
            assert!(!link.through.is_empty(), "{link:?}");
            assert!(link.through.iter().all(|helper| !["n1", "n2"].contains(&helper.as_str())), "{link:?}");
            assert_eq!(path(&world, by, to), (PathState::Down, Some(Direction::Both)));
            let seen = world.member(by, to).unwrap();
            assert_eq!(seen.status, Status::Alive);
            let (_, reached) = seen.path.through.first().unwrap();
            assert!(world.now.since(*reached) < Duration::from_secs(12), "helpers go on to reach it");
        }
        assert_eq!(all_links(&world), 2, "only the two ends tell it");
        assert_eq!(world.node("n1").stats().paths_down, 1);
        world.forget_events();
        world.heal();
        let took = world.wait(5.0, |w| !is_down(w, "n1", "n2") && !is_down(w, "n2", "n1"));
        eprintln!("{count} members: up after {took:.1} s");
        for by in ["n1", "n2"] {
            let told = links(&world, by);
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!((told[0].1.state, told[0].1.direction), (PathState::Up, None));
        }
        nothing_but_links(&world);
    }
}

#[test]
fn the_direction_that_fails_is_told_at_both_ends() {
    for count in [3, 5, 24] {
        let mut world = World::cluster(count);
        world.run(30.0);
        world.forget_events();
        cut_one_way(&mut world, "n1", "n2");
        world.wait(80.0, |w| is_down(w, "n1", "n2") && is_down(w, "n2", "n1"));
        assert_eq!(path(&world, "n1", "n2").1, Some(Direction::Out), "{count}: n1 hears n2");
        assert_eq!(path(&world, "n2", "n1").1, Some(Direction::In), "{count}: n2 is heard by n1");
        let directions: Vec<_> =
            ["n1", "n2"].map(|by| links(&world, by)[0].1.direction.unwrap()).into_iter().collect();
        assert_eq!(directions, [Direction::Out, Direction::In], "{count}: already in the event");
        world.run(120.0);
        assert_eq!(path(&world, "n1", "n2").1, Some(Direction::Out));
        assert_eq!(path(&world, "n2", "n1").1, Some(Direction::In));
        assert_eq!(all_links(&world), 2);
        nothing_but_links(&world);
    }
}

#[test]
fn a_link_of_many_is_told_at_both_ends_when_the_two_next_talk() {
    let mut world = World::cluster(32);
    world.run(40.0);
    world.forget_events();
    world.cut_between("n5", "n9");
    let both = |w: &World| is_down(w, "n5", "n9") && is_down(w, "n9", "n5");
    // Each calls the other once in 31 rounds, and the first that does tells the other through helpers.
    let took = world.wait(2.0 * 31.0 + 8.0, both);
    eprintln!("32 members: {took:.1} s");
    let told = ["n5", "n9"].map(|by| links(&world, by)[0].clone());
    assert!(told[0].0.since(told[1].0).max(told[1].0.since(told[0].0)) < Duration::from_secs(5), "{told:?}");
    assert_eq!(all_links(&world), 2);
    nothing_but_links(&world);
}

#[test]
fn a_dead_member_and_one_that_stands_still_have_no_path_that_is_down() {
    let mut world = World::cluster(5);
    world.run(30.0);
    world.forget_events();
    world.vanish("n3");
    world
        .wait(6.0, |w| w.names().filter(|by| *by != "n3").all(|by| w.status(by, "n3") == Some(Status::Down)));
    world.heal();
    world.run(30.0);
    for seconds in [0.5, 1.0, 1.5, 1.9, 5.0, 20.0] {
        world.stop("n4");
        world.run(seconds);
        world.resume("n4");
        world.run(20.0);
    }
    world.command("n2", Command::Beat(false)).unwrap();
    world.run(10.0);
    world.command("n2", Command::Beat(true)).unwrap();
    world.run(10.0);
    // n3 hears nobody while it has vanished, and its last news of the others is older than its questions.
    assert_eq!(all_links(&world), 0);
}

#[test]
fn a_path_that_is_refused_by_a_filter_is_down_too() {
    let mut world = World::cluster(5);
    world.run(30.0);
    world.forget_events();
    world.wire.refused.insert(("n1".into(), "n2".into()));
    world.wait(20.0, |w| is_down(w, "n1", "n2"));
    assert_eq!(links(&world, "n1")[0].1.direction, Some(Direction::Out));
    assert_eq!(world.status("n1", "n2"), Some(Status::Alive));
}

#[test]
fn a_path_ends_with_its_member_and_no_line_says_so() {
    let mut world = World::cluster(5);
    world.run(30.0);
    world.cut_between("n1", "n2");
    world.wait(12.0, |w| is_down(w, "n1", "n2"));
    world.forget_events();
    world.kill("n2");
    world.wait(6.0, |w| w.status("n1", "n2") == Some(Status::Down));
    assert_eq!(world.node("n1").stats().paths_down, 0);
    assert_eq!(links(&world, "n1"), []);
}

#[test]
fn a_path_that_comes_and_goes_needs_more_answers_each_time() {
    let mut world = World::cluster(3);
    world.run(30.0);
    let mut mends = Vec::new();
    for _ in 0..3 {
        world.cut_between("n1", "n2");
        world.wait(15.0, |w| is_down(w, "n1", "n2"));
        world.heal();
        mends.push(world.wait(30.0, |w| !is_down(w, "n1", "n2")));
    }
    eprintln!("{mends:?}");
    assert!(mends[0] < mends[1] && mends[1] < mends[2], "{mends:?}");
}

#[test]
fn weather_is_no_cut() {
    for (count, loss, minutes) in [(5, 0.05, 60), (5, 0.1, 60), (5, 0.3, 30), (24, 0.3, 10)] {
        let mut world = World::cluster(count);
        world.run(30.0);
        for name in world.others("nobody") {
            for other in world.others(&name) {
                world.wire.loss.insert((name.clone(), other), loss);
            }
        }
        world.forget_events();
        for _ in 0..minutes {
            world.run(60.0);
        }
        assert_eq!(all_links(&world), 0, "{count} members, {loss} lost");
    }
}

#[test]
fn under_heavy_loss_a_cut_is_told_all_the_same() {
    let mut world = World::cluster(5);
    for name in world.others("nobody") {
        for other in world.others(&name) {
            world.wire.loss.insert((name.clone(), other), 0.1);
        }
    }
    world.run(120.0);
    world.forget_events();
    world.cut_between("n1", "n2");
    let took = world.wait(20.0, |w| is_down(w, "n1", "n2") && is_down(w, "n2", "n1"));
    eprintln!("10 % lost: {took:.1} s");
    world.heal();
    world.wait(60.0, |w| !is_down(w, "n1", "n2") && !is_down(w, "n2", "n1"));
}

#[test]
fn with_an_electorate_the_paths_are_told_sooner() {
    let mut world = World::new();
    for i in 1..=5_u32 {
        let electorate: Electorate = "5".parse().unwrap();
        let config = heartsay_membership::Config { electorate: Some(electorate), ..config() };
        world.start_as(&format!("n{i}"), i.into(), &["n1"], config);
    }
    world.run(30.0);
    world.forget_events();
    world.cut_between("n1", "n2");
    let took = world.wait(8.0, |w| is_down(w, "n1", "n2") && is_down(w, "n2", "n1"));
    eprintln!("five voters: {took:.1} s");
}
