//! Claims that a member has a later life: they replace none that answers, and a true restart is known at once.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::net::SocketAddr;

use heartsay_membership::{Command, Event, Input, MemberEventKind, Output, Status};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{self, Claim, Packet, Pong, Twin};
use heartsay_proto::{Budget, Keyring, decode_packet, open};
use heartsay_testkit::{Said, Start, World, config, packets};

/// The address of the one that lies.
fn elsewhere() -> SocketAddr {
    ([10, 66, 0, 1], 666).into()
}

/// A later life of n1, as others could claim it.
struct Later {
    by: u64,
    moves: u32,
    /// Another host, which has had the name for an hour longer.
    rival: bool,
    at: SocketAddr,
}

fn claim(world: &World, later: &Later) -> Claim {
    let known = world.node("n1").own();
    let host = if later.rival { 4711 } else { world.member("n2", "n1").unwrap().host_id.0 };
    let generation = known.generation + later.by;
    let begun = if later.rival { known.generation - 3_600_000 } else { generation };
    let body = gossip::Body { moves: later.moves, ..packets::body("n1", host, later.at, begun) };
    let heartbeat = if later.moves > 0 { known.heartbeat } else { 1 };
    Claim { generation, heartbeat, body: Some(body), ..Claim::default() }
}

fn tell(world: &mut World, to: &[&str], claim: &Claim) {
    // As a member that they know: of a stranger some things are not believed.
    let from = world.address("n5");
    let bytes = packets::datagram(&packets::telling(vec![claim.clone()]), &config());
    for to in to {
        let _ = world.hand(to, Input::Datagram { from, bytes: &bytes });
    }
}

/// Everybody else has n1 where it is, alive, in the life that it lives.
fn is_itself(world: &World) -> bool {
    let (own, address) = (world.node("n1").own(), world.address("n1"));
    world.others("n1").iter().all(|other| {
        let seen = world.member(other, "n1").unwrap();
        (seen.address, seen.status, seen.generation) == (address, Status::Alive, own.generation)
    })
}

fn lies() -> Vec<Later> {
    let mut lies = Vec::new();
    for at in [elsewhere(), ([10, 0, 0, 5], 4005).into(), ([10, 0, 0, 1], 4001).into()] {
        for by in [1, 1_000, 3_600_000, 23 * 3_600_000] {
            lies.push(Later { by, moves: 0, rival: false, at });
        }
        lies.push(Later { by: 1, moves: 1, rival: false, at });
        lies.push(Later { by: 1, moves: 0, rival: true, at });
        lies.push(Later { by: 60_000, moves: 0, rival: true, at });
    }
    lies
}

#[test]
fn a_later_life_that_others_invent_replaces_no_member_that_answers() {
    for later in lies() {
        let mut world = World::cluster(6);
        world.forget_events();
        for _ in 0..20 {
            let claim = claim(&world, &later);
            tell(&mut world, &["n2", "n3", "n4", "n6"], &claim);
            for _ in 0..20 {
                assert!(is_itself(&world), "{} {} at {}: {world:?}", later.by, later.rival, later.at);
                world.run(0.01);
            }
        }
        assert_eq!(world.count("n1", MemberEventKind::Restart), 0);
        assert_eq!(world.count("n1", MemberEventKind::Update), 0);
        assert_eq!(world.events("n1"), [], "and it has not heard of that");
    }
}

#[test]
fn a_member_that_hears_of_a_later_life_of_its_own_gives_way_to_none_that_does_not_answer() {
    for later in lies() {
        let mut world = World::cluster(6);
        world.forget_events();
        for _ in 0..60 {
            // It begins a new life, and the liar goes on above that.
            let claim = claim(&world, &later);
            tell(&mut world, &["n1", "n2"], &claim);
            world.run(0.25);
        }
        let gave_way = |e: &Event| matches!(e, Event::NameRefused { .. } | Event::Outside(_));
        let said: Vec<&Event> = world.events("n1").iter().map(|(_, e)| e).filter(|e| gave_way(e)).collect();
        assert_eq!(said, Vec::<&Event>::new(), "{} {} at {}", later.by, later.rival, later.at);
        world.wait(1.0, is_itself);
    }
}

/// The tag of such a life of n1 at the liar's address.
fn tag(world: &World, generation: u64) -> u64 {
    let host = world.member("n2", "n1").unwrap().host_id.0;
    let start = Start::new("n1").host(host).at(elsewhere()).generation(generation);
    let (mut node, _) = start.node(host, 1, world.now);
    node.handle(world.now, Input::Command(Command::Join(vec![world.address("n2")]))).unwrap();
    let Output::Transmit(call) = node.poll_output() else { panic!("it calls nobody") };
    read(&call.bytes).sender
}

fn read(bytes: &[u8]) -> Packet {
    let mut scratch = Vec::new();
    let (body, _) = open(bytes, &config().cluster, &Keyring::empty(), Budget::MAX, &mut scratch).unwrap();
    decode_packet(body).unwrap()
}

#[test]
fn a_member_that_its_peers_hold_for_the_member_gives_way_to_no_answer_of_a_liar() {
    let mut world = World::cluster(6);
    world.run(20.0);
    world.forget_events();
    let later = Later { by: 1_000, moves: 0, rival: false, at: elsewhere() };
    let mut asked = 0;
    for _ in 0..40 {
        let claim = claim(&world, &later);
        world.listening = true;
        tell(&mut world, &["n1"], &claim);
        world.run(0.1);
        world.listening = false;
        // The liar answers all that n1 asks at its address: "I run your life, and began before you."
        let said = std::mem::take(&mut world.journal);
        for (_, name, said) in said {
            let Said::Datagram { to, bytes, .. } = said else { continue };
            if (name.as_str(), to) != ("n1", elsewhere()) {
                continue;
            }
            let question = read(&bytes);
            let body = match question.body {
                Some(Body::Ping(_)) => Body::Pong(Pong::default()),
                Some(Body::Twin(Twin { answer: false, .. })) => Body::Twin(Twin { began: 1, answer: true }),
                _ => continue,
            };
            asked += 1;
            let life = tag(&world, claim.generation);
            let claims = vec![claim.clone()];
            let answer = Packet {
                sender: life,
                heartbeat: 1,
                seq: question.seq,
                body: Some(body),
                claims,
                ..Packet::default()
            };
            let bytes = packets::datagram(&answer, &config());
            let _ = world.hand("n1", Input::Datagram { from: elsewhere(), bytes: &bytes });
        }
    }
    assert!(asked > 3, "{asked}");
    let gave_way = |e: &Event| matches!(e, Event::NameRefused { .. } | Event::Outside(_));
    assert!(!world.events("n1").iter().any(|(_, e)| gave_way(e)), "{world:?}");
    world.wait(1.0, is_itself);
}

#[test]
fn a_true_restart_is_known_after_one_question_where_it_was_and_soon_elsewhere() {
    let there = "10.0.7.7:4007".parse().unwrap();
    for count in [3, 9, 32] {
        // The process ends, or its host does.
        for (at, silent, limit) in [(None, false, 0.3), (Some(there), false, 0.3), (Some(there), true, 0.6)] {
            let mut world = World::cluster(count);
            let host = world.member("n2", "n1").unwrap().host_id.0;
            if silent {
                world.stop("n1");
                world.rename("n1", "past");
                world.vanish("past");
            } else {
                world.kill("n1");
            }
            world.run(0.5);
            world.forget_events();
            let start = Start::new("n1").host(host).seeds(&["n2"]);
            world.add(if let Some(at) = at { start.at(at) } else { start });
            let others: Vec<String> =
                world.names().filter(|n| !["n1", "past"].contains(n)).map(str::to_owned).collect();
            let (generation, address) = (world.node("n1").own().generation, world.address("n1"));
            let known = |w: &World| {
                let by = |other: &String| w.member(other, "n1").map(|seen| (seen.generation, seen.address));
                others.iter().all(|other| by(other) == Some((generation, address)))
            };
            world.wait(limit, known);
            world.run(5.0);
            assert!(others.iter().all(|other| world.status(other, "n1") == Some(Status::Alive)), "{world:?}");
            assert_eq!(world.count("n1", MemberEventKind::Restart), count - 1, "once at each");
            assert_eq!(world.count("n1", MemberEventKind::Down), 0);
        }
    }
}

#[test]
fn a_copy_of_a_member_that_runs_is_refused_by_all_and_told_so() {
    for count in [3, 8, 32] {
        let mut world = World::cluster(count);
        let host = world.member("n2", "n1").unwrap().host_id.0;
        world.forget_events();
        let copy = Start::new("n1").key("copy").host(host).at(elsewhere());
        world.add(copy.seeds(&["n2"]));
        let refused = |e: &Event| matches!(e, Event::NameRefused { .. });
        world.wait(3.0, |w| w.events("copy").iter().any(|(_, e)| refused(e)));
        world.run(20.0);
        assert_eq!(
            world.events("copy").iter().filter(|(_, e)| refused(e)).count(),
            1,
            "told once: {world:?}"
        );
        let address = world.address("n1");
        let others: Vec<String> =
            world.names().filter(|n| !["n1", "copy"].contains(n)).map(str::to_owned).collect();
        for other in others {
            let seen = world.member(&other, "n1").unwrap();
            assert_eq!((seen.address, seen.status), (address, Status::Alive), "at {other}");
        }
        assert!(!world.events("n1").iter().any(|(_, e)| refused(e)));
    }
}
