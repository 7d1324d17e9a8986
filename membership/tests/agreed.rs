//! The electorate that follows the cluster, told as stories: who is on the roster, and who holds quorum.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use heartsay_membership::{Command, Config, Event, FenceError, Name, Quorum, QuorumStatus};
use heartsay_testkit::{World, config};

fn following(electorate: &str) -> Config {
    Config { electorate: Some(electorate.parse().unwrap()), ..config() }
}

/// `n1` to `nN`, all of whom have agreed on one another, hold quorum, and have done so for long.
fn cluster(count: u128) -> World {
    let mut world = World::new();
    for i in 1..=count {
        world.start_as(&format!("n{i}"), i, &["n1"], following("last-agreed"));
    }
    let mut all: Vec<String> = (1..=count).map(|i| format!("n{i}")).collect();
    all.sort_unstable();
    world.wait(60.0, |w| all.iter().all(|name| quorum(w, name) == Quorum::Held && list(w, name) == all));
    world.run(12.0);
    world.forget_events();
    world
}

fn status(world: &World, name: &str) -> QuorumStatus {
    world.node(name).quorum(world.now)
}

fn quorum(world: &World, name: &str) -> Quorum {
    status(world, name).quorum
}

fn list(world: &World, name: &str) -> Vec<String> {
    status(world, name).agreed.unwrap().names.iter().map(ToString::to_string).collect()
}

/// How often `name` has said that it does not hold quorum.
fn laments(world: &World, name: &str) -> usize {
    let lost = |e: &Event| matches!(e, Event::Quorum(status) if status.quorum != Quorum::Held);
    world.events(name).iter().filter(|(_, e)| lost(e)).count()
}

/// What `name` has told its driver to keep, last.
fn kept(world: &World, name: &str) -> Option<Vec<Name>> {
    let of = |e: &Event| if let Event::Agreed(names) = e { Some(names.clone()) } else { None };
    world.events(name).iter().rev().find_map(|(_, e)| of(e))
}

fn cut(world: &mut World, here: &[&str], there: &[&str]) {
    for a in here {
        there.iter().for_each(|b| world.cut_between(a, b));
    }
}

#[test]
fn five_live_on_as_three_then_two_then_the_one_that_decides_a_tie() {
    let mut world = cluster(5);
    for (gone, left) in
        [(vec!["n4", "n5"], vec!["n1", "n2", "n3"]), (vec!["n3"], vec!["n1", "n2"]), (vec!["n2"], vec!["n1"])]
    {
        gone.iter().for_each(|name| world.vanish(name));
        world.wait(12.0, |w| left.iter().all(|name| list(w, name) == left));
        world.run(3.0);
        assert!(left.iter().all(|name| laments(&world, name) == 0), "no flap: {world:?}");
        assert!(gone.iter().all(|name| quorum(&world, name) == Quorum::Lost), "they live, and know");
    }
    let status = status(&world, "n1");
    assert_eq!((status.expected, status.present, status.needed), (Some(1), 1, 1));
    assert_eq!(kept(&world, "n1").unwrap().len(), 1);
}

#[test]
fn of_two_the_one_with_the_lower_name_goes_on_and_the_other_does_not() {
    let mut world = World::new();
    for i in 1..=2 {
        world.start_as(&format!("n{i}"), i, &["n1"], following("last-agreed:2"));
    }
    world.wait(10.0, |w| ["n1", "n2"].iter().all(|name| quorum(w, name) == Quorum::Held));
    world.run(12.0);
    cut(&mut world, &["n1"], &["n2"]);
    world.run(1.5);
    assert_eq!((quorum(&world, "n1"), quorum(&world, "n2")), (Quorum::Held, Quorum::Lost));
    let said = status(&world, "n2").reason;
    assert!(said.contains("only 1 of 2 agreed") && said.contains("half, without n1"), "{said}");
    world.wait(10.0, |w| list(w, "n1") == ["n1"]);
    assert_eq!(list(&world, "n2"), ["n1", "n2"], "it may not shrink");
}

#[test]
fn a_member_that_leaves_is_off_the_roster_at_once_and_the_others_keep_quorum() {
    let mut world = cluster(4);
    world.command("n3", Command::Leave).unwrap();
    world.run(1.0);
    for name in ["n1", "n2", "n4"] {
        assert_eq!(
            (list(&world, name), laments(&world, name)),
            (["n1", "n2", "n4"].map(String::from).to_vec(), 0)
        );
    }
}

#[test]
fn a_newcomer_is_on_the_roster_after_a_while_and_a_loser_is_taken_in_again() {
    let mut world = cluster(3);
    world.start_as("n4", 4, &["n1"], following("last-agreed"));
    world.run(1.0);
    assert_eq!(list(&world, "n1").len(), 3);
    let why = status(&world, "n4").reason;
    assert!(why.contains("have one without us"), "{why}");
    world.wait(12.0, |w| ["n1", "n2", "n3", "n4"].iter().all(|name| list(w, name).len() == 4));
    world.wait(4.0, |w| quorum(w, "n4") == Quorum::Held);
    world.run(12.0);
    world.forget_events();
    world.vanish("n4");
    world.wait(8.0, |w| list(w, "n1").len() == 3 && list(w, "n2").len() == 3);
    world.heal();
    world.wait(20.0, |w| list(w, "n4").is_empty());
    assert_eq!(kept(&world, "n4"), Some(Vec::new()), "and nothing is kept of it");
    assert_eq!(quorum(&world, "n4"), Quorum::Unsettled);
    world.wait(20.0, |w| quorum(w, "n4") == Quorum::Held && list(w, "n4").len() == 4);
    assert!(["n1", "n2", "n3"].iter().all(|name| laments(&world, name) == 0));
}

#[test]
fn a_restart_goes_on_with_what_was_kept_and_only_with_that() {
    let mut world = cluster(3);
    world.command("n2", Command::Agreed(vec![Name::new("n2").unwrap()])).unwrap();
    assert_eq!(list(&world, "n2").len(), 3, "it has one");
    for name in ["n1", "n2", "n3"] {
        world.kill(name);
    }
    world.start_as("n2", 2, &["n1"], following("last-agreed:1"));
    let names: Vec<Name> = ["n1", "n2", "n3"].iter().map(|name| Name::new(name).unwrap()).collect();
    world.command("n2", Command::Agreed(names.clone())).unwrap();
    world.run(10.0);
    let status = status(&world, "n2");
    assert_eq!((status.quorum, status.present, status.needed), (Quorum::Lost, 1, 2));
    assert!(
        status.reason.contains("not in the view: n1, n3") || status.reason.contains("n3, n1"),
        "{}",
        status.reason
    );
    world.start_as("n3", 3, &["n2"], following("last-agreed:1"));
    world.command("n3", Command::Agreed(names)).unwrap();
    world.wait(6.0, |w| quorum(w, "n2") == Quorum::Held && quorum(w, "n3") == Quorum::Held);
}

#[test]
fn another_electorate_drops_what_was_agreed_and_another_size_of_the_first_does_not() {
    let mut world = cluster(3);
    let expect = |text: &str| Command::Expect(Some(text.parse().unwrap()));
    for name in ["n1", "n2", "n3"] {
        world.command(name, expect("last-agreed:2")).unwrap();
        assert_eq!((list(&world, name).len(), kept(&world, name)), (3, None));
    }
    world.wait(4.0, |w| ["n1", "n2", "n3"].iter().all(|name| quorum(w, name) == Quorum::Held));
    world.command("n1", expect("3")).unwrap();
    assert_eq!((status(&world, "n1").agreed, kept(&world, "n1")), (None, Some(Vec::new())));
    world.command("n1", expect("last-agreed:2")).unwrap();
    assert!(list(&world, "n1").is_empty());
    world.wait(20.0, |w| list(w, "n1").len() == 3 && quorum(w, "n1") == Quorum::Held);
}

#[test]
fn a_fence_and_an_electorate_that_follows_the_cluster_exclude_one_another() {
    let config = Config { fence: true, ..following("last-agreed") };
    assert_eq!(config.check_fence(), Err(FenceError::Follows));
    let mut world = World::new();
    world.start_as("n1", 1, &[], config);
    world.run(10.0);
    assert_ne!(quorum(&world, "n1"), Quorum::Held, "nor by a reload");
    assert!(status(&world, "n1").reason.contains("last-agreed follows"));
}

#[test]
fn an_electorate_follows_a_cluster_of_twelve() {
    let mut world = cluster(12);
    let gone = ["n8", "n9", "n10", "n11", "n12"];
    let left = ["n1", "n2", "n3", "n4", "n5", "n6", "n7"];
    cut(&mut world, &left, &gone);
    world.run(1.5);
    assert!(gone.iter().all(|name| quorum(&world, name) == Quorum::Lost));
    world.wait(20.0, |w| left.iter().all(|name| list(w, name) == left && quorum(w, name) == Quorum::Held));
    assert!(gone.iter().all(|name| list(&world, name).len() == 12 && quorum(&world, name) == Quorum::Lost));
    world.forget_events();
    world.heal();
    world.wait(120.0, |w| w.names().all(|name| list(w, name).len() == 12 && quorum(w, name) == Quorum::Held));
    world.run(20.0);
    let lost = |e: &Event| matches!(e, Event::Quorum(status) if status.quorum == Quorum::Lost);
    let losses = world.all_events().filter(|e| lost(e)).count();
    assert_eq!(losses, 0, "neither those who held it, nor those who hold it again");
}
