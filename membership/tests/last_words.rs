//! A process ends, and its host says so: known at once, and never of a process that runs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::net::SocketAddr;

use heartsay_membership::{
    Config, Event, Input, Key, Keyring, LastSecret, MemberEventKind, Name, Status, last_words,
};
use heartsay_proto::gossip::Claim;
use heartsay_testkit::{World, config, packets};

const NAMES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// The secret of a process.
fn secret(number: u8) -> LastSecret {
    LastSecret::new([number; 16])
}

/// What the host of `name` says once a process with this secret has ended, to so many members.
fn words(name: &str, number: u8, told: usize) -> Vec<u8> {
    last_words(&Name::new(name).unwrap(), secret(number), told).to_vec()
}

fn leaving(number: u8, config: Config) -> Config {
    Config { last_words: Some(secret(number)), ..config }
}

/// Five members with a secret each, after ten seconds.
fn five(config: &Config) -> World {
    let mut world = World::new();
    for (host, name) in (1..).zip(NAMES) {
        let number = u8::try_from(host).unwrap();
        world.start_as(name, host, &["n1"], leaving(number, config.clone()));
    }
    world.run(10.0);
    world.forget_events();
    world
}

fn hash(name: &str) -> u64 {
    heartsay_proto::LastWords::read(&words(name, 0, 0)).unwrap().subject
}

/// An outsider, as far as any member can see.
fn from() -> SocketAddr {
    "192.0.2.1:999".parse().unwrap()
}

fn say(world: &mut World, to: &str, words: &[u8]) {
    world.hand(to, Input::Datagram { from: from(), bytes: words }).unwrap();
}

fn say_to_all(world: &mut World, words: &[u8]) {
    let names: Vec<String> = world.names().map(str::to_owned).collect();
    names.iter().for_each(|to| say(world, to, words));
}

#[test]
fn a_process_that_ended_is_down_at_every_member_that_is_told_in_that_moment() {
    let mut world = five(&config());
    world.kill("n5");
    say_to_all(&mut world, &words("n5", 5, 4));
    assert!(world.all_say("n5", Status::Down), "{world:?}");
    for name in &NAMES[..4] {
        let told = world.member(name, "n5").unwrap();
        assert!(told.last_words, "{name}: {told:?}");
        let [(_, Event::Member(event))] = world.events(name) else { panic!("{:?}", world.events(name)) };
        assert_eq!((event.kind, event.by.len()), (MemberEventKind::Down, 0));
        assert_eq!(event.reason, "its host says that the process has ended");
    }
    world.run(30.0);
    assert!(world.all_say("n5", Status::Down), "{world:?}");
    assert_eq!(world.all_events().count(), 4, "{world:?}");
}

#[test]
fn they_need_no_seal_where_all_else_does() {
    let keyring = Keyring::new(vec![Key::from_bytes([7; 32])]);
    let mut world = five(&Config { keyring, ..config() });
    world.kill("n5");
    say_to_all(&mut world, &words("n5", 5, 4));
    assert!(world.all_say("n5", Status::Down), "{world:?}");
}

#[test]
fn one_member_is_told_and_the_others_hear_it_from_that_one_with_the_proof() {
    let mut world = five(&config());
    world.kill("n5");
    say(&mut world, "n2", &words("n5", 5, 1));
    world.run(0.05);
    assert!(world.all_say("n5", Status::Down), "{world:?}");
    assert!(NAMES[..4].iter().all(|name| world.member(name, "n5").unwrap().last_words));
}

#[test]
fn a_member_that_was_to_be_told_and_was_not_hears_it_from_the_second_wave() {
    let mut world = five(&config());
    world.kill("n5");
    for told in ["n1", "n2", "n3"] {
        say(&mut world, told, &words("n5", 5, 4));
    }
    world.run(0.1);
    assert_ne!(world.status("n4", "n5"), Some(Status::Down));
    world.run(0.1);
    assert!(world.all_say("n5", Status::Down), "{world:?}");
}

#[test]
fn no_secret_but_its_own_ends_a_process() {
    let mut world = five(&config());
    for (number, told) in [(4, 4), (0, 4), (77, 0), (5, u16::MAX.into())] {
        let name = if number == 5 { "n4" } else { "n5" };
        say_to_all(&mut world, &words(name, number, told));
    }
    say_to_all(&mut world, &words("nobody", 5, 4));
    let mut cut = words("n5", 5, 4);
    cut.pop();
    for name in NAMES {
        world.hand(name, Input::Datagram { from: from(), bytes: &cut }).unwrap_err();
    }
    world.run(2.0);
    assert_eq!(world.all_events().count(), 0, "{world:?}");
    assert!(NAMES.iter().all(|name| world.all_say(name, Status::Alive)));
}

#[test]
fn late_and_doubled_they_end_the_process_that_has_ended_and_not_the_next_one() {
    let mut world = five(&config());
    world.kill("n5");
    world.start_as("n5", 5, &["n1"], leaving(55, config()));
    world.wait(2.0, |w| w.all_say("n5", Status::Alive) && w.node("n5").members() == 5);
    world.run(5.0);
    world.forget_events();
    for told in [4, 0, 1000] {
        say_to_all(&mut world, &words("n5", 5, told));
        world.run(0.5);
    }
    assert_eq!(world.all_events().count(), 0, "{world:?}");
    assert!(world.all_say("n5", Status::Alive));
}

#[test]
fn a_member_that_lies_cannot_say_them_for_another() {
    let mut world = five(&config());
    let life = world.member("n1", "n5").unwrap();
    for invented in [secret(77), secret(4)] {
        let claim = Claim {
            subject: hash("n5"),
            generation: life.generation,
            heartbeat: life.heartbeat,
            down: life.heartbeat + 2,
            last_words: invented.bytes().to_vec().into(),
            ..Claim::default()
        };
        let datagram = packets::datagram(&packets::telling(vec![claim]), &config());
        world.hand("n1", Input::Datagram { from: world.address("n4"), bytes: &datagram }).unwrap();
        assert!(!world.member("n1", "n5").unwrap().last_words);
    }
    world.run(3.0);
    assert!(world.all_say("n5", Status::Alive), "{world:?}");
}

#[test]
fn of_a_machine_that_was_copied_the_process_that_lives_begins_anew() {
    let mut world = five(&config());
    let before = world.member("n1", "n5").unwrap().generation;
    // The copy ended; it ran somewhere else.
    say_to_all(&mut world, &words("n5", 5, 4));
    world.run(1.0);
    assert!(world.all_say("n5", Status::Alive), "{world:?}");
    assert!(world.member("n1", "n5").unwrap().generation > before);
    world.forget_events();
    say_to_all(&mut world, &words("n5", 5, 4));
    world.run(1.0);
    assert_eq!(world.all_events().count(), 0, "a secret that is out is worth nothing: {world:?}");
}

#[test]
fn it_hears_of_its_end_from_another_and_begins_anew() {
    let mut world = five(&config());
    say(&mut world, "n1", &words("n5", 5, 1));
    world.run(2.0);
    assert!(world.all_say("n5", Status::Alive), "{world:?}");
}

#[test]
fn a_newcomer_hears_how_it_is_known_that_a_member_is_down() {
    let mut world = five(&config());
    world.kill("n5");
    say_to_all(&mut world, &words("n5", 5, 4));
    world.run(5.0);
    world.start("n6", &["n2"]);
    world.run(3.0);
    let told = world.member("n6", "n5").unwrap();
    assert_eq!((told.status, told.last_words), (Status::Down, true), "{told:?}");
}

#[test]
fn they_hold_after_the_process_has_moved_to_another_address() {
    let mut world = five(&config());
    world.readdress("n5", "10.0.9.9:4005".parse().unwrap());
    world.run(3.0);
    world.kill("n5");
    say_to_all(&mut world, &words("n5", 5, 4));
    assert!(world.all_say("n5", Status::Down), "{world:?}");
}

#[test]
fn a_member_that_has_said_good_bye_stays_left() {
    let mut world = five(&config());
    world.command("n5", heartsay_membership::Command::Leave).unwrap();
    world.run(1.0);
    world.kill("n5");
    say_to_all(&mut world, &words("n5", 5, 4));
    world.run(1.0);
    assert!(world.all_say("n5", Status::Left), "{world:?}");
}
