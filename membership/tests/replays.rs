//! An outsider without the key records every datagram and sends all of them again, to every member, from any address.
//! Nothing changes, and nothing comes back that is longer than what was sent.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Command, Config, Event, Input, Instant, Status};
use heartsay_proto::gossip::{Packet, packet};
use heartsay_proto::{Key, Keyring, encode_packet};
use heartsay_testkit::{Fate, Said, Start, World, config};

#[test]
fn what_was_recorded_changes_nothing_at_any_member() {
    let mut world = sealed_cluster(5);
    // All kinds of news: a state, a death and its return, a good-bye, a cut.
    world.command("n2", Command::Set(vec![("tag.a".into(), Some(b"1".to_vec()))])).unwrap();
    world.vanish("n5");
    world.wait(20.0, |world| world.status("n1", "n5") == Some(Status::Down));
    world.heal();
    world.wait(60.0, |world| world.all_say("n5", Status::Alive));
    world.command("n4", Command::Leave).unwrap();
    world.run(2.0);
    let recording = recorded(&world);
    assert!(recording.len() > 500, "{}", recording.len());
    attack(&mut world, &recording, 1);
    assert!(world.agree());
}

#[test]
fn what_was_recorded_before_a_start_changes_nothing_after_it() {
    // The receiver is started again: once it knows only itself, and once it is a member.
    for (victim, rest) in [("n2", 0.0), ("n2", 5.0), ("n1", 0.0), ("n1", 5.0)] {
        let mut world = sealed_cluster(4);
        let before = recorded(&world);
        world.kill(victim);
        world.run(0.5);
        world.add(sealed(victim).host(102).seeds(&["n1", "n3"]));
        world.run(rest);
        attack(&mut world, &before, 1);
        world.run(5.0);
        assert!(world.agree() && world.all_say(victim, Status::Alive), "{world:?}");
        // And the sender has another life by now too.
        let all = recorded(&world);
        attack(&mut world, &all, 1);
        assert!(world.agree());
    }
}

#[test]
fn a_record_of_a_member_that_all_have_forgotten_does_not_bring_it_back() {
    let mut world = World::new();
    world.listening = true;
    let forgetful = Config { tombstones: (Duration::from_secs(60), 4096), ..with_key() };
    let forgetful = Config { forget_down_after: Duration::from_secs(30), ..forgetful };
    for i in 1..=4 {
        world.add(Start::new(&format!("n{i}")).config(forgetful.clone()).seeds(&["n1"]));
    }
    world.run(5.0);
    world.kill("n4");
    world.run(150.0);
    assert_eq!(world.node("n1").members(), 3, "{world:?}");
    let recording = recorded(&world);
    attack(&mut world, &recording, 1);
    world.run(5.0);
    assert!(world.nodes().all(|node| node.members() == 3));
}

/// The question is the only thing that a copy gets an answer to.
#[test]
fn a_question_that_is_sent_again_draws_an_answer_no_longer_than_itself_and_not_without_end() {
    let mut world = World::new();
    world.listening = true;
    for i in 1..=3 {
        world.add(sealed(&format!("n{i}")).seeds(&["n1"]));
    }
    world.run(5.0);
    let all = recorded(&world);
    let before = world.sent.len();
    let mut drawn = 0;
    for (_, bytes) in all.iter().cycle().take(50_000) {
        let sent = world.sent.len();
        let _ = world.hand("n3", Input::Datagram { from: elsewhere(), bytes });
        drawn += usize::from(world.sent.len() > sent);
    }
    assert!(drawn > 0 && drawn <= 2_000, "{drawn}");
    assert!(world.sent[before..].iter().all(|sent| sent.to == elsewhere() && sent.bytes <= 100));
}

#[test]
fn a_member_that_is_started_again_without_a_seed_is_found_at_its_address() {
    let mut world = sealed_cluster(3);
    world.kill("n1");
    world.add(sealed("n1"));
    // It has nobody to call, and what comes is for the life before it.
    let found = world.wait(10.0, |world| world.nodes().all(|node| node.members() == 3) && world.agree());
    assert!(found <= 4.0, "{found} s");
    let counted = world.node("n1").stats().rejected;
    assert!(counted["other-life"] > 0, "{counted:?}");
}

#[test]
fn halves_that_restart_while_they_are_cut_meet_again() {
    let mut world = sealed_cluster(4);
    for a in ["n1", "n2"] {
        for b in ["n3", "n4"] {
            world.cut_between(a, b);
        }
    }
    world.run(20.0);
    // Nobody on the other side hears of these lives, and no seed leads across.
    world.add(sealed("n2").host(52).seeds(&["n1"]));
    world.add(sealed("n4").host(54).seeds(&["n3"]));
    world.run(20.0);
    world.heal();
    let met = world.wait(60.0, |world| world.agree() && world.nodes().all(|node| node.census().alive == 4));
    assert!(met <= 20.0, "{met} s: {world:?}");
}

#[test]
fn a_cut_without_a_restart_seals_nothing_for_a_wrong_life() {
    let mut world = sealed_cluster(6);
    for a in ["n1", "n2", "n3"] {
        for b in ["n4", "n5", "n6"] {
            world.cut_between(a, b);
        }
    }
    world.run(30.0);
    world.heal();
    world.wait(60.0, |world| world.agree() && world.nodes().all(|node| node.census().alive == 6));
    let counted: Vec<_> = world.nodes().map(|node| node.stats().rejected).collect();
    assert!(counted.iter().all(|counts| !counts.contains_key("other-life")), "{counted:?}");
}

#[test]
fn a_member_that_is_set_back_to_a_snapshot_is_heard_again() {
    let mut world = sealed_cluster(4);
    // What its numbers were when the snapshot was made: those of a life with the same generation that has sent nothing.
    let me = world.member("n3", "n3").unwrap();
    world.run(5.0);
    world.kill("n3");
    let host = u128::from_be_bytes(
        me.host_id
            .to_string()
            .replace('-', "")
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect::<Vec<u8>>()
            .try_into()
            .unwrap(),
    );
    let clock = heartsay_testkit::unix_ms(world.now);
    world.add(sealed("n3").host(host).generation(me.generation).seeds(&["n1"]));
    world.hand("n3", Input::WallClock { unix_ms: clock }).unwrap();
    let back = world.wait(30.0, |world| world.agree() && world.all_say("n3", Status::Alive));
    world.run(5.0);
    assert!(world.agree() && world.all_say("n3", Status::Alive), "{back}: {world:?}");
    assert!(world.node("n1").stats().rejected["replayed"] > 0);
}

#[test]
fn nothing_but_the_question_is_taken_if_it_is_for_nobody_in_particular() {
    let mut world = sealed_cluster(2);
    let body = packet::Body::Ping(Default::default());
    for body in [None, Some(body)] {
        let mut bytes = Vec::new();
        encode_packet(&Packet { sender: 99, seq: 7, heartbeat: 1, body, ..Packet::default() }, &mut bytes);
        let frame = heartsay_testkit::packets::framed(&bytes, &with_key());
        let refused = world.hand("n1", Input::Datagram { from: elsewhere(), bytes: &frame }).unwrap_err();
        assert_eq!(refused.reason(), "unexpected");
    }
}

/// `HEARTSAY_REPLAYS` says how many; a hundred million take some minutes with `--release`.
#[test]
fn a_million_copies_between_the_datagrams_of_a_living_cluster_are_refused() {
    let wanted: usize = std::env::var("HEARTSAY_REPLAYS").map_or(1_000_000, |count| count.parse().unwrap());
    let mut world = sealed_cluster(3);
    let (mut replayed, mut seen) = (0, 0);
    let mut recording: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    let names = ["n1", "n2", "n3"];
    while replayed < wanted {
        world.run(1.0);
        for (_, name, said) in &world.journal[seen..] {
            if let Said::Datagram { bytes, .. } = said {
                recording.push((world.address(name), bytes.clone()));
            }
        }
        seen = world.journal.len();
        // The latest ones are nearest to being taken for late.
        let from = recording.len().saturating_sub(2_000);
        let refusals = |world: &World| names.map(|name| world.node(name).stats().rejected);
        let before = refusals(&world).iter().flat_map(|counts| counts.values()).sum::<u64>();
        let mut whos = 0;
        for (from, bytes) in &recording[from..] {
            for name in names {
                whos += u64::from(world.hand(name, Input::Datagram { from: *from, bytes }).is_ok());
                replayed += 1;
            }
        }
        let after = refusals(&world).iter().flat_map(|counts| counts.values()).sum::<u64>();
        assert_eq!(after - before + whos, (recording.len() - from.min(recording.len())) as u64 * 3);
        assert!(whos <= 100, "only those who asked who is there: {whos}");
        world.sent.clear();
        world.rejected.clear();
    }
    assert!(world.agree() && names.iter().all(|name| world.all_say(name, Status::Alive)));
    assert!(!world.all_events().any(|event| matches!(event, Event::Isolated(true))));
}

/// Hands all that was recorded to every member, from the true addresses and from a false one.
fn attack(world: &mut World, recording: &[(SocketAddr, Vec<u8>)], times: usize) {
    let names: Vec<String> = world.names().map(str::to_owned).collect();
    let events = world.all_events().count();
    for name in &names {
        let before = state(world, name);
        for _ in 0..times {
            for (from, bytes) in recording {
                for from in [*from, elsewhere()] {
                    let sent = world.sent.len();
                    let result = world.hand(name, Input::Datagram { from, bytes });
                    let drawn: usize = world.sent[sent..].iter().map(|sent| sent.bytes).sum();
                    assert!(drawn <= bytes.len(), "{name} answers {} bytes with {drawn}", bytes.len());
                    assert!(result.is_err() || drawn > 0 || bytes.len() < 100, "{name} took a copy");
                }
            }
        }
        assert_eq!(state(world, name), before, "{name}");
    }
    assert_eq!(world.all_events().count(), events);
}

/// All that a node knows and that a datagram could change.
fn state(world: &World, name: &str) -> String {
    let node = world.node(name);
    let (stats, now) = (node.stats(), world.now);
    let counts =
        (stats.claims_received, stats.pages_equal, stats.pages_unequal, stats.probes, stats.exchanges);
    format!("{counts:?} {:?} {:?} {}", node.quorum(now), node.view(now), node.view_fingerprint())
}

/// Every datagram that has arrived somewhere so far, with its sender's address. What was lost, or is under way, would be
/// late and no copy.
fn recorded(world: &World) -> Vec<(SocketAddr, Vec<u8>)> {
    let known = |name: &str| if world.has(name) { world.address(name) } else { elsewhere() };
    let there = world.journal.iter().filter(|(at, ..)| world.now.since(*at) > world.wire.delay);
    let datagrams = there.filter_map(|(_, name, said)| match said {
        Said::Datagram { bytes, fate: Fate::Arrives, .. } => Some((known(name), bytes.clone())),
        Said::Datagram { .. } | Said::Event(_) => None,
    });
    datagrams.collect()
}

fn sealed_cluster(count: usize) -> World {
    let mut world = World::new();
    world.listening = true;
    assert!(world.now > Instant::EPOCH);
    for i in 1..=count {
        world.add(sealed(&format!("n{i}")).seeds(&["n1"]));
    }
    world.run(10.0);
    assert!(world.agree() && world.nodes().all(|node| node.members() == count), "{world:?}");
    world
}

fn sealed(name: &str) -> Start {
    Start::new(name).config(with_key())
}

fn with_key() -> Config {
    let keyring = Keyring::new(vec![Key::from_bytes([7; 32])]);
    Config { keyring, ..config() }
}

fn elsewhere() -> SocketAddr {
    ([10, 9, 9, 9], 9).into()
}
