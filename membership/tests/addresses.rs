//! What a forged source, or an address that a liar tells of, gets from a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::net::SocketAddr;

use heartsay_membership::{Config, Input, Status};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{self, Claim, Exchange, Packet, Page, Ping, ProbeRequest, Pull, Want};
use heartsay_proto::{Budget, Cluster, Keyring, decode_packet, open};
use heartsay_testkit::{DAWN_MS, Said, Sent, Start, World, config, packets};

/// A cluster of `n1` to `n{count}`, and a host of somebody else at [`victim`], which swallows all that comes.
fn cluster(count: usize) -> World {
    let mut world = World::cluster(count);
    let foreign = Config { cluster: Cluster::new("elsewhere").unwrap(), ..config() };
    world.add(Start::new("n99").at(victim()).config(foreign));
    world.run(2.0);
    world.sent.clear();
    world
}

fn victim() -> SocketAddr {
    ([10, 0, 0, 99], 4099).into()
}

/// Bytes sent to the victim's host by the others: datagrams, payload, and payload with headers.
fn drawn(world: &World, ip: std::net::IpAddr) -> (usize, usize, usize) {
    let drawn = world.sent.iter().filter(|sent| sent.to.ip() == ip && sent.from != "n99");
    let bytes: Vec<usize> = drawn.map(|sent| sent.bytes).collect();
    let payload = bytes.iter().sum();
    (bytes.len(), payload, payload + bytes.len() * HEADERS)
}

fn claim(name: &str, address: SocketAddr) -> Claim {
    let body = packets::body(name, 1 << 64 | u128::from(name.len() as u64), address, DAWN_MS);
    Claim { generation: DAWN_MS, heartbeat: 1, body: Some(body), ..Claim::default() }
}

/// What has a number of its own, and is asked in the name of `sender`.
fn asking(sender: u64, body: Body) -> Packet {
    Packet { seq: 4711, body: Some(body), sender, ..packets::telling(Vec::new()) }
}

/// Members `n1` and so on, each with the tag of its datagrams and the hash of its name.
fn members(world: &mut World, count: usize) -> Vec<(u64, u64)> {
    world.listening = true;
    world.start(&format!("n{count}"), &["n1"]);
    world.run(5.0);
    world.listening = false;
    let mut members = vec![(0, 0); count + 1];
    for (_, by, said) in std::mem::take(&mut world.journal) {
        let Said::Datagram { bytes, .. } = said else { continue };
        let packet = read(&bytes);
        members[number(&by)].0 = packet.sender;
        for claim in packet.claims {
            if let Some(body) = claim.body {
                members[number(&body.name)].1 = claim.subject;
            }
        }
    }
    members
}

fn number(name: &str) -> usize {
    name[1..].parse().ok().filter(|number| *number < 99).unwrap_or(0)
}

fn read(datagram: &[u8]) -> Packet {
    let mut scratch = Vec::new();
    let (body, _) = open(datagram, &config().cluster, &Keyring::empty(), Budget::MAX, &mut scratch).unwrap();
    decode_packet(body).unwrap()
}

#[test]
fn the_answer_to_a_long_ping_is_as_long_unless_a_bare_one_was_asked_for() {
    let mut world = cluster(4);
    let members = members(&mut world, 5);
    let (n1, n2) = (members[1].0, members[2].1);
    let from = world.address("n1");
    for (bare, lengths) in [(false, 1000..=1200), (true, 1..=200)] {
        let ping = Ping { subject: n2, padding: vec![0; 1100].into(), bare, ..Ping::default() };
        let datagram = packets::datagram(&asking(n1, Body::Ping(ping)), &config());
        world.listening = true;
        let _ = world.hand("n2", Input::Datagram { from, bytes: &datagram });
        world.run(0.05);
        world.listening = false;
        let answers = std::mem::take(&mut world.journal).into_iter().filter_map(|(_, _, said)| {
            let Said::Datagram { bytes, .. } = said else { return None };
            let packet = read(&bytes);
            (packet.seq == 4711 && matches!(packet.body, Some(Body::Pong(_)))).then_some(bytes.len())
        });
        let answers: Vec<usize> = answers.collect();
        assert!(matches!(answers[..], [length] if lengths.contains(&length)), "bare {bare}: {answers:?}");
    }
}

#[test]
fn a_request_with_a_forged_source_draws_at_most_three_times_its_bytes() {
    let mut world = cluster(20);
    let members = members(&mut world, 21);
    let (known, n2, n4) = (members[3].0, members[2].1, members[4].1);
    assert!(known != 0 && n2 != 0 && n4 != 0);
    let pull = || Body::Pull(Pull::default());
    let page = Page { lives: 1, ..Page::default() };
    let want = Want { tag: known, since: 0, known: false };
    let requests = [
        ("a bare pull", Packet { body: Some(pull()), ..Packet::default() }),
        ("a stranger's pull", asking(99, pull())),
        ("a member's pull", asking(known, pull())),
        (
            "a member's call",
            asking(known, Body::Exchange(Exchange { step: 1, pages: vec![page], ..Exchange::default() })),
        ),
        (
            "a want",
            asking(known, Body::Exchange(Exchange { step: 3, wants: vec![want], ..Exchange::default() })),
        ),
        ("a ping", asking(known, Body::Ping(Ping { subject: n2, ..Ping::default() }))),
        (
            "a padded ping",
            asking(known, Body::Ping(Ping { subject: n2, padding: vec![0; 1100].into(), ..Ping::default() })),
        ),
        (
            "a probe",
            asking(known, Body::ProbeRequest(ProbeRequest { subject: n4, ..ProbeRequest::default() })),
        ),
        ("a twin", asking(99, Body::Twin(gossip::Twin { began: 1, answer: false }))),
        (
            "a stale claim",
            Packet {
                sender: 99,
                claims: vec![Claim { subject: n4, generation: 1, ..Claim::default() }],
                ..Packet::default()
            },
        ),
    ];
    for (what, packet) in requests {
        let datagram = packets::datagram(&packet, &config());
        for count in [1, 50] {
            world.sent.clear();
            for _ in 0..count {
                let _ = world.hand("n2", Input::Datagram { from: victim(), bytes: &datagram });
            }
            world.run(5.0);
            let (datagrams, payload, whole) = drawn(&world, victim().ip());
            let told = datagram.len() * count;
            assert!(datagrams <= 3 * count, "{what}, {count} times: {datagrams} datagrams");
            assert!(payload <= 3 * told, "{what}, {count} times: {payload} bytes for {told}");
            assert!(whole <= 3 * (told + HEADERS * count), "{what}, {count} times: {whole} bytes");
        }
    }
}

/// Tells five members of 72 names, in as few datagrams as possible, and lets a minute pass. Returns the bytes told.
fn tell_of_72(world: &mut World, address: impl Fn(u16) -> SocketAddr) -> usize {
    let claims: Vec<Claim> = (0..72).map(|i| claim(&format!("x{i}"), address(i))).collect();
    let mut told = 0;
    for some in claims.chunks(12) {
        let datagram = packets::datagram(&packets::telling(some.to_vec()), &config());
        for to in ["n1", "n2", "n3", "n4", "n5"] {
            let from = ([10, 66, 0, 1], 666).into();
            let _ = world.hand(to, Input::Datagram { from, bytes: &datagram });
            told += datagram.len() + HEADERS;
        }
        world.run(1.0);
    }
    world.run(55.0);
    told
}

#[test]
fn seventy_two_invented_members_at_one_address_draw_less_than_it_costs_to_invent_them() {
    let mut world = cluster(5);
    let told = tell_of_72(&mut world, |_| victim());
    let (_, _, drawn) = drawn(&world, victim().ip());
    println!("told {told} bytes, drawn {drawn} in a minute");
    assert!(drawn > 0 && drawn < told, "{drawn} bytes for {told}");
    // They are found out although only a few of them could be asked.
    world.wait(120.0, |w| w.node("n1").view(w.now).iter().filter(|m| m.status == Status::Alive).count() == 5);
}

#[test]
fn seventy_two_invented_members_at_one_host_draw_at_most_three_times_what_they_cost() {
    let mut world = cluster(5);
    let told = tell_of_72(&mut world, |i| (victim().ip(), 5000 + i).into());
    let (_, _, drawn) = drawn(&world, victim().ip());
    println!("told {told} bytes, drawn {drawn} in a minute");
    assert!(drawn <= 3 * told, "{drawn} bytes for {told}");
}

#[test]
fn seventy_two_invented_members_at_the_address_of_a_member_draw_at_most_three_times_what_they_cost() {
    let mut world = cluster(5);
    let address = world.address("n3");
    let told = tell_of_72(&mut world, |_| address);
    // All members get the news of what becomes of the invented ones.
    let others = ["n1", "n2", "n4", "n5"].map(|other| drawn(&world, world.address(other).ip()).2);
    let (drawn, usual) = (drawn(&world, address.ip()).2, others.into_iter().max().unwrap());
    println!("told {told} bytes, drawn {drawn} in a minute, by another member {usual}");
    assert!(drawn <= usual + 3 * told, "{drawn} bytes for {told}, usually {usual}");
    assert!(world.names().filter(|by| *by != "n99").all(|by| world.status(by, "n3") == Some(Status::Alive)));
}

#[test]
fn an_answer_with_a_guessed_number_proves_no_address() {
    let mut world = cluster(5);
    // A member of the liar's own sees the numbers of its questions, and guesses the next ones.
    world.listening = true;
    let datagram = packets::datagram(&packets::telling(vec![claim("x1", victim())]), &config());
    let _ = world.hand("n1", Input::Datagram { from: ([10, 66, 0, 1], 666).into(), bytes: &datagram });
    world.run(0.001);
    let mut numbers = Vec::new();
    for (_, by, said) in &world.journal {
        if let (Said::Datagram { bytes, .. }, true) = (said, by == "n1") {
            numbers.push(read(bytes).seq);
        }
    }
    for _ in 0..60 {
        for number in numbers.iter().flat_map(|n| (0..50).map(|ahead| n.wrapping_add(ahead))) {
            let pong = Packet { seq: number, ..asking(1, Body::Pong(gossip::Pong::default())) };
            let pong = packets::datagram(&Packet { cookie_back: number, ..pong }, &config());
            let _ = world.hand("n1", Input::Datagram { from: victim(), bytes: &pong });
        }
        world.run(1.0);
    }
    let (_, _, drawn) = drawn(&world, victim().ip());
    assert!(drawn < 5 * 2048, "{drawn}");
}

#[test]
fn a_member_that_dies_in_its_first_moments_is_called_down_by_all() {
    for (count, moment) in [(5, 0.02), (5, 0.3), (40, 0.05), (40, 1.0)] {
        let mut world = World::cluster(count);
        let newcomer = format!("n{}", count + 1);
        world.start(&newcomer, &["n1"]);
        world.run(moment);
        world.vanish(&newcomer);
        let by_all = |w: &World| {
            w.names().filter(|by| **by != newcomer).all(|by| w.status(by, &newcomer) == Some(Status::Down))
        };
        let took = world.wait(10.0, by_all);
        assert!(took < 5.0, "{count} {moment}: {took}");
    }
}

#[test]
fn one_source_that_pulls_without_end_leaves_answers_for_others() {
    let mut world = cluster(20);
    let n3 = world.address("n3");
    let datagram = packets::datagram(&asking(99, Body::Pull(Pull::default())), &config());
    for _ in 0..5000 {
        let _ = world.hand("n1", Input::Datagram { from: n3, bytes: &datagram });
    }
    let to_n3 = |sent: &&Sent| sent.from == "n1" && sent.to == n3;
    let answers = world.sent.iter().filter(to_n3).count();
    assert_eq!(answers, 400, "a fifth of what is answered at once");
}

/// Bytes of IPv4 and UDP headers around a datagram.
const HEADERS: usize = 28;
