//! What members say about themselves: all of it arrives, nothing that was deleted stays, and programs hear of what changed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;

use heartsay_membership::{Command, Config, Event, MemberEvent, MemberEventKind, Rejected, StateError};
use heartsay_proto::{Budget, Key, Keyring};
use heartsay_testkit::{World, config};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn many_tags_renamed_at_once_leave_no_old_one_behind() {
    for count in [33, 63] {
        let mut world = World::cluster(4);
        set(&mut world, "n1", (0..count).map(|i| (format!("tag/k{i}"), Some("v".into()))));
        world.wait(3.0, complete);
        world.cut_between("n1", "n4");
        world.stop("n4");
        for round in 0..3 {
            let gone: Vec<String> = tags(&world, "n1", "n1").into_keys().collect();
            let gone = gone.into_iter().map(|key| (key, None));
            let new = (0..count - 1).map(|i| (format!("tag/r{round}-{i}"), Some("v".into())));
            set(&mut world, "n1", gone.chain(new));
        }
        world.run(1.0);
        world.resume("n4");
        world.heal();
        world.wait(10.0, complete);
        assert_eq!(tags(&world, "n4", "n1").len(), count - 1);
    }
}

#[test]
fn a_change_that_goes_straight_to_all_has_no_first_wave_and_the_second_finds_who_missed_it() {
    let mut world = World::cluster(20);
    world.run(5.0);
    for other in ["n7", "n12"] {
        world.cut_between("n1", other);
    }
    world.sent.clear();
    set(&mut world, "n1", [("tag/role".to_owned(), Some("db".to_owned()))]);
    world.run(0.1);
    assert!(world.sent.len() < 30, "nineteen, and a round or two: {}", world.sent.len());
    let knows = |world: &World, name: &str| tags(world, name, "n1").contains_key("tag/role");
    let told = |world: &World| world.names().filter(|name| knows(world, name)).count();
    assert_eq!(told(&world), 18);
    world.run(0.2);
    assert_eq!(told(&world), 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Keys are set and deleted while members are cut off. In the end all show what the owner says, and views that are called
    /// equal are equal.
    #[test]
    fn all_states_agree_in_the_end_whatever_was_missed(
        acts in vec((vec((0_usize..90, any::<bool>(), 0_usize..120), 1..40), 0_usize..4, 0_u32..8), 1..12),
        small in any::<bool>(),
    ) {
        let config = if small { small_datagrams() } else { config() };
        let mut world = World::new();
        for i in 1..=4 {
            world.start_as(&format!("n{i}"), i, &["n1"], config.clone());
        }
        world.run(2.0);
        for (changes, deaf, tenths) in acts {
            world.heal();
            if deaf > 0 {
                world.cut_between("n1", &format!("n{}", deaf + 1));
            }
            // Too many keys are refused whole, which is fine.
            let change = |(key, lives, length): (usize, bool, usize)| {
                (format!("tag/k{key}"), lives.then(|| vec![b'v'; length]))
            };
            let _ = world.command("n1", Command::Set(changes.into_iter().map(change).collect()));
            world.run(f64::from(tenths) / 10.0);
        }
        world.heal();
        world.wait(30.0, World::agree);
        prop_assert!(complete(&world));
    }
}

#[test]
fn a_newcomer_has_joined_when_it_has_the_states_of_all() {
    let mut world = World::cluster(60);
    for i in 1..=60 {
        set(&mut world, &format!("n{i}"), long_state());
    }
    world.run(5.0);
    assert!(complete(&world), "all at once, and all have it");
    world.start("n61", &["n1"]);
    let took = world.wait(3.0, |w| w.node("n61").is_joined());
    assert!(took < 1.0, "{took}");
    for i in 1..=60 {
        assert_eq!(tags(&world, "n61", &format!("n{i}")).len(), 12);
    }
}

#[test]
fn a_newcomer_that_cannot_get_a_state_has_joined_after_a_while() {
    let mut world = World::cluster(3);
    set(&mut world, "n2", long_state());
    world.wait(5.0, complete);
    // Only members that it cannot hear have the rest of n2's state.
    world.start("n4", &[]);
    world.cut_between("n4", "n2");
    world.cut_between("n4", "n3");
    let seed = world.address("n1");
    world.wire.cut.insert(("n4".into(), "n1".into()));
    world.command("n4", Command::Seeds(vec![seed])).unwrap();
    world.run(0.2);
    world.wire.cut.remove(&("n4".into(), "n1".into()));
    world.wait(5.0, |w| w.node("n4").members() == 4);
    world.cut_between("n4", "n1");
    world.wait(40.0, |w| w.node("n4").is_joined());
}

#[test]
fn a_change_of_a_long_state_is_everywhere_at_once() {
    let mut world = World::cluster(8);
    set(&mut world, "n1", long_state());
    let took = world.wait(5.0, complete);
    assert!(took < 0.5, "{took}");
    world.run(1.0);
    set(&mut world, "n1", [("tag/k3".into(), Some("new".into()))]);
    let took = world.wait(1.0, complete);
    assert!(took < 0.2, "{took}");
}

#[test]
fn an_update_says_which_values_changed_and_a_change_of_quorum_is_none() {
    let mut world = World::new();
    let mut config = config();
    config.electorate = Some("3".parse().unwrap());
    for i in 1..=3 {
        world.start_as(&format!("n{i}"), i, &["n1"], config.clone());
    }
    world.run(10.0);
    world.forget_events();
    set(&mut world, "n1", [("tag/role".into(), Some("web".into())), ("zone".into(), Some("b".into()))]);
    world.run(5.0);
    for name in world.names() {
        let updates = updates(&world, name);
        let [update] = updates.as_slice() else { panic!("at {name}: {updates:?}") };
        let changed = update.changed.iter().map(|c| (c.key.as_str(), c.before.as_deref()));
        assert_eq!(changed.collect::<Vec<_>>(), [("tag/role", None), ("zone", Some(b"a".as_ref()))]);
    }
    // Quorum is lost and held again, which stands in the records.
    world.forget_events();
    for (a, b) in [("n1", "n2"), ("n1", "n3"), ("n2", "n3")] {
        world.cut_between(a, b);
    }
    world.run(5.0);
    world.heal();
    world.run(20.0);
    let quorum = |name| world.events(name).iter().any(|(_, e)| matches!(e, Event::Quorum(_)));
    assert!(world.names().all(quorum), "it was lost");
    assert!(world.names().all(|name| updates(&world, name).is_empty()));
}

#[test]
fn what_a_member_may_say_arrives_everywhere_at_any_size_of_datagrams() {
    for limit in [512, 700, 1200, 1472] {
        for sealed in [false, true] {
            let mut config = config();
            config.datagram = Budget::new(limit).unwrap();
            if sealed {
                config.keyring = Keyring::new(vec![Key::from_bytes([7; 32])]);
            }
            let mut world = World::new();
            for i in 1..=12 {
                world.start_as(&format!("n{i}"), i, &["n1"], config.clone());
            }
            world.run(3.0);
            // The longest that is taken, among shorter ones before and after it.
            let value = |bytes: usize| Some("x".repeat(bytes));
            let take = |w: &mut World, bytes: usize| {
                let long = (format!("tag/{}", "m".repeat(40)), value(bytes).map(String::into_bytes));
                w.command("n5", Command::Set(vec![long]))
            };
            let longest = (1..=768).rev().find(|bytes| take(&mut world, *bytes).is_ok()).unwrap();
            assert!(longest >= 220 && (limit < 1200 || longest == 768));
            if longest < 768 {
                let Err(Rejected::State(refused)) = take(&mut world, longest + 1) else { panic!("taken") };
                assert!(
                    matches!(refused, StateError::Fit { datagram, .. } if datagram == limit),
                    "{refused}"
                );
            }
            for i in 1..=12 {
                let name = format!("n{i}");
                set(&mut world, &name, [("tag/a".into(), value(100)), ("tag/z".into(), value(200))]);
            }
            world.wait(5.0, complete);
            // Everything else that is said: deaths, accusations, good-byes.
            world.vanish("n3");
            world.kill("n4");
            world.stop("n6");
            world.run(4.0);
            world.resume("n6");
            world.command("n7", Command::Leave).unwrap();
            world.run(4.0);
            world.start_as("n13", 13, &["n1"], config.clone());
            world.run(4.0);
            assert_eq!(tags(&world, "n13", "n5").len(), 3, "the newcomer has them too");
        }
    }
}

#[test]
fn a_member_with_small_datagrams_passes_on_what_fits_and_counts_the_rest() {
    let mut world = World::new();
    world.start_as("n1", 1, &[], small_datagrams());
    world.start("n2", &["n1"]);
    world.run(2.0);
    let tag = |key: &str, bytes: usize| (key.to_owned(), Some("x".repeat(bytes)));
    set(&mut world, "n2", [tag("tag/a", 1), tag("tag/long", 700), tag("tag/z", 2)]);
    world.wait(3.0, complete);
    assert_eq!(world.node("n1").stats().values_too_long, 1);
    assert_eq!(world.node("n2").stats().values_too_long, 0);
    // A third that hears nothing of n2 itself.
    world.start("n3", &["n1"]);
    world.cut_between("n2", "n3");
    world.wait(3.0, |w| w.node("n3").members() == 3 && tags(w, "n3", "n2").len() == 2);
    let told: Vec<String> = tags(&world, "n3", "n2").into_keys().collect();
    assert_eq!(told, ["tag/a", "tag/z"]);
    world.heal();
    world.wait(10.0, complete);
}

fn small_datagrams() -> Config {
    Config { datagram: Budget::new(512).unwrap(), ..config() }
}

/// As much as a member may say.
fn long_state() -> impl Iterator<Item = (String, Option<String>)> {
    let long = (0..11).map(|i| (format!("tag/k{i}"), Some("v".repeat(700))));
    long.chain([("tag/role".to_owned(), Some("db".to_owned()))])
}

fn set(world: &mut World, name: &str, changes: impl IntoIterator<Item = (String, Option<String>)>) {
    let changes = changes.into_iter().map(|(key, value)| (key, value.map(String::into_bytes)));
    world.command(name, Command::Set(changes.collect())).unwrap();
}

fn tags(world: &World, observer: &str, subject: &str) -> BTreeMap<String, Vec<u8>> {
    let state = world.member(observer, subject).map(|member| member.state).unwrap_or_default();
    state.into_iter().filter(|(key, _)| key.starts_with("tag/")).collect()
}

/// All members show of each member what it says of itself.
fn complete(world: &World) -> bool {
    let names = || world.names();
    names().all(|subject| {
        let own = tags(world, subject, subject);
        names().all(|observer| tags(world, observer, subject) == own)
    })
}

fn updates<'a>(world: &'a World, name: &str) -> Vec<&'a MemberEvent> {
    let members = world
        .events(name)
        .iter()
        .filter_map(|(_, event)| if let Event::Member(it) = event { Some(it) } else { None });
    members.filter(|event| event.kind == MemberEventKind::Update).collect()
}
