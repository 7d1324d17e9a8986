//! Real agents on a network that can be cut: each in a network namespace, all
//! on one bridge (`scripts/cluster/netns.sh`). Says so and passes where that cannot be
//! had: not root, no iproute2 or nftables, no right to make namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod network;
mod skipped;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use network::{Network, now};
use nix::sys::signal::Signal;
use skipped::skipped;
use socket2::{Domain, Protocol, Socket, Type};

#[test]
fn the_smaller_side_of_a_partition_knows_it_and_one_view_returns_without_a_restart() {
    let Some(network) = Network::of(10, "partition") else { return };
    let all = 1..=10;
    network.wait("all ten see ten", |network| all.clone().all(|i| network.sees_alive(i, 10)));
    network.wait("all ten hold quorum", |network| all.clone().all(|i| network.quorum(i) == "held"));
    let before: Vec<_> = all.clone().map(|i| network.generations(i)).collect();

    network.script(&["cut", "8,9,10"]).expect("cut");
    let cut = now();
    network.wait("the three have lost quorum", |network| (8..=10).all(|i| network.quorum(i) == "lost"));
    network.wait("the seven call the three down", |network| {
        (1..=7).all(|i| network.with(i, "down") == [10, 8, 9])
    });
    while now() - cut < PARTITION {
        for i in 1..=7 {
            assert_eq!(network.quorum(i), "held", "m{i} is with the seven");
            assert_eq!(network.with(i, "down"), [10, 8, 9], "m{i} calls down only who is cut off");
        }
        for i in 8..=10 {
            assert_eq!(network.quorum(i), "lost", "m{i} is with the three");
            assert!(network.with(i, "down").is_empty(), "m{i} is cut off itself, and judges no member");
        }
        thread::sleep(PAUSE);
    }

    network.script(&["heal"]).expect("heal");
    network.wait("one view", |network| all.clone().all(|i| network.sees_alive(i, 10)));
    network.wait("quorum everywhere", |network| all.clone().all(|i| network.quorum(i) == "held"));
    let after: Vec<_> = all.map(|i| network.generations(i)).collect();
    assert_eq!(before, after, "the same lives as before");
    let compared = network.compare(10);
    eprintln!("{compared} lines of logs compared with the specification");
    assert!(compared > 100, "{compared}");
}

#[test]
fn a_member_that_is_cut_off_is_called_down_and_comes_back() {
    let Some(network) = Network::of(5, "cut") else { return };
    network.wait("all five see five", |network| (1..=5).all(|i| network.sees_alive(i, 5)));
    let before = network.generations(1);
    // Twice: who came back once can go and come back again.
    for _ in 0..2 {
        network.script(&["cut", "3"]).expect("cut");
        network.wait("the others call it down", |network| {
            [1, 2, 4, 5].iter().all(|i| network.with(*i, "down") == [3])
        });
        network.wait("it has lost quorum", |network| network.quorum(3) == "lost");
        assert!(network.with(3, "down").is_empty(), "it blames no other for its own silence");
        network.script(&["heal"]).expect("heal");
        network.wait("it is back", |network| (1..=5).all(|i| network.sees_alive(i, 5)));
        assert_eq!(network.generations(1), before, "it was not restarted");
        network.wait("quorum everywhere", |network| (1..=5).all(|i| network.quorum(i) == "held"));
    }
    assert!(network.compare(5) > 30);
}

#[test]
fn a_member_that_is_cut_off_is_fenced_when_its_own_lease_is_over() {
    let Some(network) = Network::flagged(3, "fence", &["--fence"]) else { return };
    network.wait("all three hold quorum", |network| (1..=3).all(|i| network.quorum(i) == "held"));
    network.script(&["cut", "3"]).expect("cut");
    network.wait("both others say fenced", |network| (1..=2).all(|i| network.fenced(i, 3) == Some(true)));
    assert_eq!(network.quorum(3), "lost");
    network.script(&["heal"]).expect("heal");
    network.wait("it is back", |network| (1..=3).all(|i| network.sees_alive(i, 3)));
    assert_eq!(network.fenced(1, 3), None);
    network.wait("quorum everywhere", |network| (1..=3).all(|i| network.quorum(i) == "held"));
}

#[test]
fn a_pair_that_is_cut_stays_in_the_cluster_and_both_tell_the_path() {
    let Some(network) = Network::of(3, "paths") else { return };
    network.wait("all three hold quorum", |network| (1..=3).all(|i| network.quorum(i) == "held"));
    // The bridge learns who is where, so that a rule for two ports meets what these two send.
    network.script(&["part", "1", "2"]).expect("part");
    let down = |network: &Network, i: usize| network.path(i, 3 - i)["state"] == "down";
    network.wait("both ends say that their path is down", |network| down(network, 1) && down(network, 2));
    network.wait("and that nothing passes either way", |network| {
        (1..=2).all(|i| network.path(i, 3 - i)["direction"] == "both")
    });
    for i in 1..=2 {
        let path = network.path(i, 3 - i);
        assert_eq!(path["through"][0]["name"], "m3", "{path}");
        let told = format!("nothing passes between this agent and m{}", 3 - i);
        network.wait("the condition is told when it has stood for a while", |network| {
            network.conditions(i).contains(&told)
        });
        assert_eq!(network.path(i, 3)["state"], "up");
        assert_eq!(network.path(3, i)["state"], "up", "the third reaches both");
        assert_eq!(network.get(i, "/v1/stats")["paths_down"], 1);
    }
    thread::sleep(Duration::from_secs(3));
    assert!((1..=3).all(|i| network.sees_alive(i, 3) && network.quorum(i) == "held"), "all stay members");
    network.script(&["heal"]).expect("heal");
    network.wait("the path works again", |network| !down(network, 1) && !down(network, 2));

    network.script(&["mute", "1", "2"]).expect("mute");
    network.wait("each end says which way fails", |network| {
        network.path(1, 2)["direction"] == "out" && network.path(2, 1)["direction"] == "in"
    });
    for (of, to, direction) in [("m1", "m2", "out"), ("m2", "m1", "in")] {
        network.wait("the third learns it by asking", |network| {
            let told = network.get(3, &format!("/v1/paths?from={of}"));
            let path = &told["paths"][0];
            told["from"] == of && path["name"] == to && path["direction"] == direction && told["well"] == 1
        });
    }
    network.script(&["heal"]).expect("heal");
    network.wait("the path works again", |network| !down(network, 1) && !down(network, 2));
    for i in 1..=2 {
        let events = network.get(i, "/v1/stats")["events"].clone();
        assert_eq!(events["link"], 4, "m{i}: {events}");
        assert!(network.conditions(i).contains("[]"), "{}", network.conditions(i));
    }
    let log = (1..=3).map(|i| network.log(i)).collect::<String>();
    assert!(!log.contains("member-suspect") && !log.contains("member-down"), "{log}");
    assert_eq!(
        network.get(3, "/v1/stats")["events"]["link"],
        serde_json::Value::Null,
        "the third tells nothing"
    );
}

#[test]
fn forged_refusals_accuse_no_member_and_true_ones_still_do() {
    if let Err(e) = raw_socket() {
        return skipped(format!("no raw socket: {e}"));
    }
    let Some(mut network) = Network::bare(5, "forged") else { return };
    (1..=4).for_each(|i| network.agent(i, &["--seed", "10.77.0.1", "--last-words=false"]));
    network.wait("all see all", |n| (1..=4).all(|i| n.alive(i) == 4));
    let this = std::env::current_exe().unwrap();
    network.run(5, &[this.to_str().unwrap(), "--exact", "forger", "--ignored"]);
    let began = now();
    while now() - began < ATTACK {
        // The member answers late, so that requests to it stay open as on a long path.
        network.signal(4, Signal::SIGSTOP);
        thread::sleep(Duration::from_millis(40));
        network.signal(4, Signal::SIGCONT);
        thread::sleep(Duration::from_millis(10));
    }
    for i in 1..=3 {
        let forged = network.unreachables(i);
        assert!(forged > 200, "m{i} got {forged} of them");
        let log = network.log(i);
        let accuses = |line: &&str| line.contains("member-suspect") || line.contains("member-down");
        assert_eq!(log.lines().find(accuses), None, "m{i}");
    }
    network.kill(4);
    network.wait("the true refusals are believed", |n| {
        (1..=3).all(|i| n.member(i, 4)["status"] == "down")
            && (1..=3).any(|i| n.log(i).contains("its host refuses datagrams"))
    });
}

/// Runs on the fifth host. Tells the first three, 40 times a second each, that the fourth has no such port.
#[test]
#[ignore = "run by another test, on a host of its own"]
fn forger() {
    let socket = raw_socket().unwrap();
    // Another machine has no such address, and is not bothered.
    socket.bind(&host(5).into()).unwrap();
    let began = now();
    while now() - began < ATTACK {
        for i in 1..=3 {
            let _ = socket.send_to(&port_unreachable(host(i), host(4)), &host(i).into());
        }
        thread::sleep(Duration::from_millis(25));
    }
}

fn host(i: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, i), 4327)
}

fn raw_socket() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
}

/// An ICMP message about a datagram that was never sent (RFC 792).
fn port_unreachable(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    const PAYLOAD: [u8; 64] = [0x5a; 64];
    let udp_length = 8 + PAYLOAD.len() as u16;
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.extend([0x45, 0]);
    message.extend((20 + udp_length).to_be_bytes());
    message.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    message.extend(from.ip().octets().iter().chain(&to.ip().octets()));
    [from.port(), to.port(), udp_length, 0].iter().for_each(|word| message.extend(word.to_be_bytes()));
    message.extend(PAYLOAD);
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// How long refusals are forged.
const ATTACK: Duration = Duration::from_secs(10);
/// Well past the verdicts; `scripts/ci/acceptance.py` cuts for longer.
const PARTITION: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
