//! An ICMP message that says "port unreachable" counts only if it quotes an open request, and convicts only after a
//! second one. Any host can forge one that does not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::time::Duration;

use heartsay_membership::{Config, Input, Instant, MemberEventKind, Stats, Status};
use heartsay_proto::{Key, Keyring};
use heartsay_testkit::{Said, Start, World, config};

/// What every observer is told for 20 s, 40 times a second, about `n5`, which runs.
fn flooded(config: &Config, quote: impl Fn(&World, &str) -> Option<Vec<u8>>) -> (World, Vec<Stats>) {
    let mut world = far_apart(config);
    let victim = world.address("n5");
    let probes = |w: &World| OBSERVERS.map(|name| w.node(name).stats().probes);
    let before = probes(&world);
    for _ in 0..20 * 40 {
        world.run(0.025);
        for observer in OBSERVERS {
            if let Some(quoted) = quote(&world, observer) {
                world.hand(observer, Input::Refused { to: victim, quoted: &quoted }).unwrap();
            }
        }
    }
    for kind in [MemberEventKind::Suspect, MemberEventKind::Down] {
        assert_eq!(world.count("n5", kind), 0, "{kind:?}: {world:?}");
    }
    assert_eq!(probes(&world), before, "no observer was led to probe");
    let stats = OBSERVERS.iter().map(|name| world.node(name).stats()).collect();
    (world, stats)
}

/// Five nodes, and a round trip of 40 ms between them.
fn far_apart(config: &Config) -> World {
    let mut world = World::new();
    world.wire.delay = Duration::from_millis(20);
    for i in 1..=5 {
        world.add(Start::new(&format!("n{i}")).seeds(&["n1"]).config(config.clone()));
    }
    world.run(10.0);
    world.forget_events();
    world.listening = true;
    world
}

/// The last datagram from one node to `n5` that left within this time.
fn sent(world: &World, from: &str, ages: std::ops::Range<u128>) -> Option<Vec<u8>> {
    let age = |at: Instant| world.now.since(at).as_millis();
    let lines = world.journal.iter().rev().take_while(|(at, ..)| age(*at) < ages.end);
    lines.filter(|(at, name, _)| name == from && ages.contains(&age(*at))).find_map(|(_, _, said)| match said
    {
        Said::Datagram { receiver, bytes, .. } if receiver.as_deref() == Some("n5") => Some(bytes.clone()),
        Said::Event(_) | Said::Datagram { .. } => None,
    })
}

fn with_key() -> Config {
    let keyring = Keyring::new(vec![Key::from_bytes([7; 32])]);
    Config { keyring, ..config() }
}

#[test]
fn a_forged_refusal_that_quotes_nothing_we_sent_is_ignored() {
    for config in [config(), with_key()] {
        let (_, stats) = flooded(&config, |_, _| Some(vec![0; 64]));
        for stats in stats {
            assert_eq!((stats.refusals, stats.refusals_unproven, stats.refusals_cut), (0, 800, 0));
        }
    }
}

#[test]
fn a_refusal_that_quotes_an_answered_request_is_ignored() {
    for config in [config(), with_key()] {
        let (_, stats) = flooded(&config, |world, from| sent(world, from, 100..5000));
        for stats in stats {
            assert_eq!((stats.refusals, stats.refusals_cut), (0, 0));
            assert!(stats.refusals_unproven > 500, "{stats:?}");
        }
    }
}

#[test]
fn a_refusal_that_quotes_an_open_request_in_part_is_ignored_and_counted() {
    let (_, stats) =
        flooded(&config(), |world, from| sent(world, from, 0..40).map(|bytes| bytes[..31].to_vec()));
    for stats in stats {
        assert_eq!((stats.refusals, stats.refusals_unproven), (0, 0));
        assert!(stats.refusals_cut > 10, "{stats:?}");
    }
}

#[test]
fn a_refusal_by_another_address_than_the_one_that_was_asked_is_ignored() {
    let (mut world, _) = flooded(&config(), |_, _| None);
    let elsewhere = world.address("n4");
    for _ in 0..400 {
        world.run(0.025);
        for observer in &OBSERVERS[..3] {
            if let Some(quoted) = sent(&world, observer, 0..40) {
                world.hand(observer, Input::Refused { to: elsewhere, quoted: &quoted }).unwrap();
            }
        }
    }
    assert!(world.node("n1").stats().refusals_unproven > 0);
    assert!(OBSERVERS.iter().all(|name| world.node(name).stats().refusals == 0));
}

#[test]
fn a_refusal_that_quotes_right_accuses_no_member_that_others_hear() {
    let mut world = far_apart(&config());
    let victim = world.address("n5");
    for _ in 0..20 * 100 {
        world.run(0.01);
        // Who sees a datagram quotes it right.
        for observer in &OBSERVERS[..1] {
            if let Some(quoted) = sent(&world, observer, 0..11) {
                world.hand(observer, Input::Refused { to: victim, quoted: &quoted }).unwrap();
            }
        }
    }
    assert!(world.node("n1").stats().refusals > 0);
    let seen = world.member("n1", "n5").unwrap();
    assert_eq!((seen.reachable, seen.refused), (Some(true), true), "it answers, and the path is known");
    for kind in [MemberEventKind::Suspect, MemberEventKind::Down] {
        assert_eq!(world.count("n5", kind), 0, "{kind:?}: {world:?}");
    }
}

/// The time until all call `n5` down, which falls silent, after each observer had so many refusals at most.
fn down_after(refusals: u64) -> f64 {
    let mut world = far_apart(&config());
    let victim = world.address("n5");
    world.vanish("n5");
    let began = world.now;
    while !OBSERVERS.iter().all(|name| world.status(name, "n5") == Some(Status::Down)) {
        world.run(0.01);
        for observer in OBSERVERS {
            let fresh =
                sent(&world, observer, 0..11).filter(|_| world.node(observer).stats().refusals < refusals);
            if let Some(quoted) = fresh {
                world.hand(observer, Input::Refused { to: victim, quoted: &quoted }).unwrap();
            }
        }
        assert!(world.now.since(began) < Duration::from_secs(20), "{world:?}");
    }
    world.now.since(began).as_secs_f64()
}

#[test]
fn one_refusal_convicts_no_member_and_a_second_one_does_at_once() {
    let pause = config().acceptable_pause.as_secs_f64();
    let (one, two) = (down_after(1), down_after(2));
    assert!(one >= pause, "{one} s: the verdict waits for the silence");
    assert!(two < 1.5, "{two} s");
}

const OBSERVERS: [&str; 4] = ["n1", "n2", "n3", "n4"];
