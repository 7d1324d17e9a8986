//! Paths on which long datagrams get lost while short ones arrive, told to be read aloud.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::net::SocketAddr;

use heartsay_membership::{
    Command, Event, Input, Instant, MemberEventKind, NarrowPath, Node, Output, Rejected,
};
use heartsay_testkit::{Start, World};

/// What a tunnel of 600 bytes leaves of an IPv4 packet.
const TUNNEL: usize = 572;

/// Some 1,300 bytes of state, in pieces that fit a short datagram one by one.
fn much() -> Vec<(String, Vec<u8>)> {
    (0..6).map(|i| (format!("tag/t{i}"), vec![b'v'; 200])).collect()
}

fn narrow_paths(world: &World, name: &str) -> Vec<NarrowPath> {
    world.node(name).narrow_paths()
}

#[test]
fn a_member_behind_a_narrow_path_joins_and_all_agree() {
    let mut world = World::new();
    world.state = much();
    for i in 1..=4 {
        world.start(&format!("n{i}"), &["n1"]);
    }
    world.wait(10.0, World::agree);
    world.wire.narrow.insert("n5".into(), TUNNEL);
    world.start("n5", &["n1"]);
    let took = world.wait(60.0, |w| w.agree() && w.node("n5").is_joined());
    assert!(took < 20.0, "took {took}");
    assert_eq!(world.node("n5").stats().seeds_heard, 1);
    world.run(10.0);
    let found = narrow_paths(&world, "n5");
    assert!(found.iter().any(|path| !path.told), "{found:?}");
    assert!(found.iter().all(|path| path.passes == 512 && path.lost == 1200), "{found:?}");
    for i in 1..=5 {
        assert_eq!(world.count(&format!("n{i}"), MemberEventKind::Suspect), 0);
    }
}

#[test]
fn news_too_long_for_a_path_that_has_become_narrow_goes_in_pieces() {
    let mut world = World::cluster(5);
    world.run(5.0);
    world.wire.narrow.insert("n5".into(), TUNNEL);
    let tags = much().into_iter().map(|(key, value)| (key, Some(value))).collect();
    world.command("n1", Command::Set(tags)).unwrap();
    let took = world.wait(60.0, World::agree);
    assert!(took < 30.0, "took {took}");
    let n5 = world.address("n5");
    let names = |w: &World| (1..5).any(|i| narrow_paths(w, &format!("n{i}")).iter().any(|p| p.to == n5));
    assert!(names(&world));
    // From then on only short datagrams go there.
    world.sent.clear();
    let tags = much().into_iter().map(|(key, _)| (key, Some(vec![b'w'; 200]))).collect();
    world.command("n1", Command::Set(tags)).unwrap();
    world.wait(30.0, World::agree);
    let long: Vec<_> = world.sent.iter().filter(|sent| sent.to == n5 && sent.bytes > TUNNEL).collect();
    assert!(long.is_empty(), "{long:?}");
    // Once the path is mended, a measurement shows it.
    world.wire.narrow.clear();
    world.run(620.0 * 2.0);
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        assert_eq!(narrow_paths(&world, name), [], "{name}");
        let last = world.events(name).iter().rev().find_map(|(_, event)| {
            if let Event::PathLimited { narrow, .. } = event { Some(*narrow) } else { None }
        });
        assert_ne!(last, Some(true), "{name}");
    }
}

#[test]
fn where_nothing_long_is_sent_nothing_is_measured() {
    let mut world = World::cluster(5);
    world.run(60.0);
    assert!(world.sent.iter().all(|sent| sent.bytes <= 512));
}

#[test]
fn much_news_on_whole_paths_finds_none_narrow() {
    let mut world = World::cluster(8);
    for round in 0..20_u8 {
        let tags = (0..6).map(|i| (format!("tag/t{i}"), Some(vec![round; 200]))).collect();
        world.command("n1", Command::Set(tags)).unwrap();
        world.run(1.0);
    }
    let limited = |e: &Event| matches!(e, Event::PathLimited { .. });
    world.wait(30.0, World::agree);
    assert!(!world.all_events().any(limited));
}

/// Everything that `node` sends until it wants to wait, and until when.
fn drain(node: &mut Node) -> (Vec<(SocketAddr, Vec<u8>)>, Instant) {
    let mut sent = Vec::new();
    loop {
        match node.poll_output() {
            Output::Transmit(out) => sent.push((out.to, out.bytes.to_vec())),
            Output::Event(_) => {}
            Output::Timeout(when) => return (sent, when),
        }
    }
}

#[test]
fn a_seed_that_is_ourselves_is_rarely_called_and_a_real_echo_is_refused() {
    let (alias, source) = ("127.0.1.1:4327".parse().unwrap(), "127.0.0.1:4327".parse().unwrap());
    let mut now = Instant::EPOCH;
    let (mut node, _) = Start::new("n1").node(1, 7, now);
    node.handle(now, Input::Command(Command::Seeds(vec![alias]))).unwrap();
    let mut calls = Vec::new();
    let mut wake = drain(&mut node).1;
    while wake < now + std::time::Duration::from_secs(120) && now.as_micros() < 300_000_000 {
        now = now.max(wake);
        node.handle(now, Input::Timeout).unwrap();
        let (sent, next) = drain(&mut node);
        wake = next;
        for (to, bytes) in sent {
            assert_eq!(to, alias);
            // Our own kernel answers for that address from another one.
            node.handle(now, Input::Datagram { from: source, bytes: &bytes }).unwrap();
            calls.push(bytes);
        }
        wake = wake.min(drain(&mut node).1);
    }
    assert_eq!(calls.len(), 6, "once per `rejoin_interval`, as the call may have been sent back on the way");
    assert!(node.is_joined(), "there are no others to be found");
    assert_eq!(node.stats().rejected.get("echo"), None);
    let again = node.handle(now, Input::Datagram { from: source, bytes: &calls[0] });
    assert!(matches!(again, Err(Rejected::Echo { .. })));
    assert_eq!(node.stats().rejected.get("echo"), Some(&1));
}
