//! Groups that one link alone joins: news passes over it in time, so that nobody is put out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use heartsay_membership::{Config, Electorate, Event, MemberEventKind, Quorum, Status};
use heartsay_testkit::{World, config};

/// So many members, all voting: those that hold quorum give their verdicts soonest.
fn voters(count: usize) -> World {
    let electorate: Electorate = count.to_string().parse().unwrap();
    let mut world = World::new();
    for n in 1..=count {
        let config = Config { electorate: Some(electorate.clone()), ..config() };
        world.start_as(&format!("n{n}"), u128::try_from(n).unwrap(), &["n1"], config);
    }
    world.run(30.0);
    world
}

/// Cuts all links between the members up to `first` and the later ones, but that of n1 to the next.
fn dumbbell(world: &mut World, first: usize, count: usize) {
    for a in 1..=first {
        for b in first + 1..=count {
            if (a, b) != (1, first + 1) {
                world.cut_between(&format!("n{a}"), &format!("n{b}"));
            }
        }
    }
}

/// How often `by` has called others down.
fn called_down(world: &World, by: &str) -> usize {
    let down = |event: &Event| matches!(event, Event::Member(event) if event.kind == MemberEventKind::Down);
    world.events(by).iter().filter(|(_, event)| down(event)).count()
}

/// All have all others for members, and quorum.
fn one_cluster(world: &World) {
    for name in world.names() {
        assert_eq!(called_down(world, name), 0, "at {name}");
        assert_eq!(world.node(name).quorum(world.now).quorum, Quorum::Held, "at {name}");
    }
}

#[test]
fn two_groups_with_one_link_between_them_stay_one_cluster() {
    for (first, count) in [(3, 6), (7, 12), (9, 16)] {
        let mut world = voters(count);
        dumbbell(&mut world, first, count);
        world.run(40.0);
        one_cluster(&world);
        world.heal();
        world.run(10.0);
        one_cluster(&world);
    }
}

#[test]
fn who_dies_beyond_the_link_is_down_on_both_sides() {
    let mut world = voters(12);
    dumbbell(&mut world, 7, 12);
    world.run(10.0);
    world.vanish("n9");
    let is_down = |world: &World, by: &str| world.member(by, "n9").unwrap().status == Status::Down;
    let took = world.wait(8.0, |w| ["n1", "n5", "n8", "n12"].iter().all(|by| is_down(w, by)));
    eprintln!("down everywhere after {took:.1} s");
    world.run(20.0);
    for by in (1..=12).filter(|n| *n != 9).map(|n| format!("n{n}")) {
        assert!(is_down(&world, &by), "at {by}");
        assert_eq!(called_down(&world, &by), 1, "{by} calls nobody else down, and n9 once");
    }
}
