//! Real agents whose network is not there yet, changes, or has IPv6 only: each in a network namespace, all on one bridge
//! (`scripts/cluster/netns.sh`). Says so and passes where that cannot be had: not root, no iproute2, no right to make namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod network;
mod skipped;

use std::io::Write as _;
use std::process::{Command, Stdio};

use network::Network;
use skipped::skipped;

#[test]
fn a_host_that_gets_another_address_is_updated_everywhere_and_never_missed() {
    let Some(mut network) = Network::bare(4, "move") else { return };
    for i in 1..=4 {
        network.agent(i, &["--seed", "10.77.0.1", "--seed", "10.77.0.2", "--expected", "4"]);
    }
    network.wait("all see all", |n| (1..=4).all(|i| n.alive(i) == 4));
    network.wait("quorum everywhere", |n| (1..=4).all(|i| n.get(i, "/v1/quorum")["quorum"] == "held"));
    let before = network.member(1, 3);
    let events = network.get(1, "/v1/self")["index"].as_u64();
    network.ip(3, "addr add 10.77.0.33/24 dev eth0");
    network.ip(3, "addr del 10.77.0.3/24 dev eth0");
    // Where the second address hung on the first, it goes with it.
    network.ip_if_it_can(3, "addr add 10.77.0.33/24 dev eth0");
    network.wait("all know the new address", |n| {
        (1..=4).all(|i| n.member(i, 3)["address"] == "10.77.0.33:4327" && n.alive(i) == 4)
    });
    network.wait("it can be reached there", |n| n.member(1, 3)["reachable"] == true);
    let after = network.member(1, 3);
    assert_eq!(after["host_id"], before["host_id"]);
    assert_eq!(after["generation"].as_u64().unwrap(), before["generation"].as_u64().unwrap() + 1);
    network.wait("its heartbeat goes on", |n| {
        n.member(1, 3)["heartbeat"].as_u64() > before["heartbeat"].as_u64()
    });
    for i in [1, 2, 4] {
        let log = network.log(i);
        let told: Vec<&str> = log.lines().filter(|line| line.contains("member=m3")).collect();
        assert!(
            told.iter().any(|line| line.contains("member-update") && line.contains("10.77.0.33")),
            "{log}"
        );
        for kind in ["member-restart", "member-left", "member-down"] {
            assert!(!told.iter().any(|line| line.contains(kind)), "{kind} at m{i}, {events:?}: {log}");
        }
    }
    network.wait("quorum everywhere", |n| (1..=4).all(|i| n.get(i, "/v1/quorum")["quorum"] == "held"));
}

#[test]
fn an_address_that_comes_after_the_start_is_waited_for_and_that_of_containers_is_not_told() {
    let Some(mut network) = Network::bare(2, "late") else { return };
    for i in 1..=2 {
        network.ip(i, "link add docker0 type bridge");
        network.ip(i, "addr add 172.17.0.1/16 dev docker0");
        network.ip(i, "link set docker0 up");
        network.ip(i, &format!("addr del 10.77.0.{i}/24 dev eth0"));
        network.agent(i, &["--seed", "10.77.0.1"]);
    }
    network
        .wait("both say what they wait for", |n| (1..=2).all(|i| n.conditions(i).contains("no address yet")));
    for i in 1..=2 {
        network.ip(i, &format!("addr add 10.77.0.{i}/24 dev eth0"));
    }
    network.wait("both meet at their addresses", |n| {
        let at = |by, i| n.member(by, i)["address"] == format!("10.77.0.{i}:4327");
        (1..=2).all(|by| n.alive(by) == 2 && (1..=2).all(|i| at(by, i)))
    });
    network.wait("nothing is left to say", |n| n.conditions(2) == "[]");
}

/// As keepalived, LVS and anycast have them.
#[test]
fn an_address_that_several_hosts_have_is_told_by_none_of_them() {
    let Some(mut network) = Network::bare(3, "virtual") else { return };
    for i in 1..=3 {
        network.ip(i, "addr add 10.77.0.99/32 dev lo");
    }
    network.ip(1, "addr add 10.77.0.100/32 dev eth0");
    network.agent(1, &["--seed", "10.77.0.100"]);
    network.agent(2, &["--seed", "10.77.0.100", "--advertise", "10.77.0.0/24"]);
    network.wait("both meet", |n| (1..=2).all(|i| n.alive(i) == 2));
    network.ip(1, "addr del 10.77.0.100/32 dev eth0");
    network.ip(2, "addr add 10.77.0.100/32 dev eth0");
    let before = network.member(1, 1)["heartbeat"].as_u64().unwrap();
    network.agent(3, &["--seed", "10.77.0.100", "--advertise", "eth0"]);
    network.wait("the third finds them at the other host", |n| (1..=3).all(|i| n.alive(i) == 3));
    network
        .wait("the agents have seen the change", |n| n.member(1, 1)["heartbeat"].as_u64() > Some(before + 2));
    for (by, i) in (1..=3).flat_map(|by| (1..=3).map(move |i| (by, i))) {
        assert_eq!(network.member(by, i)["address"], format!("10.77.0.{i}:4327"), "at m{by}");
    }
    for i in 1..=3 {
        assert!(!network.log(i).contains("member-update"), "{}", network.log(i));
    }
}

#[test]
fn the_own_name_at_127_0_1_1_makes_no_agent_advertise_loopback() {
    let Some(mut network) = Network::bare(2, "debian") else { return };
    for i in 1..=2 {
        let other = 3 - i;
        network.file(i, "hosts", &format!("127.0.0.1 localhost\n127.0.1.1 m{i}\n10.77.0.{other} m{other}\n"));
        network.file(i, "nsswitch.conf", "hosts: files\n");
        network.agent(i, &["--seed", "m1"]);
    }
    network.wait("both meet", |n| (1..=2).all(|i| n.alive(i) == 2));
    for i in 1..=2 {
        assert_eq!(network.member(2, i)["address"], format!("10.77.0.{i}:4327"));
    }
    assert_eq!(network.conditions(1), "[]");
    let rejected = network.get(1, "/v1/stats")["rejected"]["echo"].as_u64().unwrap_or(0);
    assert_eq!(rejected, 0, "it does not call itself");
}

#[test]
fn hosts_with_nothing_but_ipv6_find_one_another_with_the_default_bind_and_hear_refusals() {
    let Some(mut network) = Network::bare(3, "six") else { return };
    for i in 1..=3 {
        network.ip(i, "-4 addr flush dev eth0");
        if !network.ip_if_it_can(i, &format!("addr add fd00::{i}/64 dev eth0 nodad")) {
            skipped("no IPv6 here");
            return;
        }
        let advertise = if i == 3 { "fd00::/16" } else { "eth0" };
        network.agent(i, &["--seed", "fd00::1", "--advertise", advertise, "--last-words=false"]);
    }
    network.wait("all see all", |n| (1..=3).all(|i| n.alive(i) == 3));
    for i in 1..=3 {
        assert_eq!(network.member(1, i)["address"], format!("[fd00::{i}]:4327"));
    }
    network.kill(3);
    network.wait("the kernel's refusal is heard", |n| {
        n.member(1, 3)["status"] == "down" && n.log(1).contains("its host refuses datagrams")
    });
}

#[test]
fn a_service_of_the_name_server_is_a_seed_and_its_records_say_the_ports() {
    if Command::new("dnsmasq").arg("--version").output().is_err() {
        skipped("no dnsmasq");
        return;
    }
    let Some(mut network) = Network::bare(3, "srv") else { return };
    network.name_server(
        1,
        &[
            "--host-record=a.example.org,10.77.0.1",
            "--host-record=b.example.org,10.77.0.2",
            "--srv-host=_heartsay._udp.example.org,a.example.org,5001,10,5",
            "--srv-host=_heartsay._udp.example.org,b.example.org,5002,20,5",
        ],
    );
    for i in 1..=3 {
        network.file(i, "resolv.conf", "nameserver 10.77.0.1\noptions timeout:1 attempts:2\n");
        network.file(i, "nsswitch.conf", "hosts: dns\n");
        let bind = format!("0.0.0.0:500{i}");
        network.agent(i, &["--seed", "_heartsay._udp.example.org", "--bind", &bind]);
    }
    network.wait("all see all", |n| (1..=3).all(|i| n.alive(i) == 3));
    let seed = &network.get(3, "/v1/self")["seeds"][0];
    let addresses: Vec<&str> =
        seed["addresses"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert_eq!(addresses, ["10.77.0.1:5001", "10.77.0.2:5002"], "the lower priority number first");
    // One that has no records is named, and the others still count.
    network.kill(3);
    network.agent(
        3,
        &["--seed", "_nothing._udp.example.org", "--seed", "10.77.0.2:5002", "--bind", "0.0.0.0:5003"],
    );
    network.wait("it joins by the other seed", |n| n.alive(3) == 3);
    assert!(
        network
            .conditions(3)
            .contains("_nothing._udp.example.org cannot be resolved: the name has no SRV records"),
        "{}",
        network.conditions(3)
    );
}

#[test]
fn datagrams_that_do_not_get_through_are_said_by_address_until_they_do_or_the_member_has_gone() {
    let Some(mut network) = Network::bare(4, "send") else { return };
    for i in 1..=4 {
        network.agent(i, &["--seed", "10.77.0.4"]);
    }
    network.wait("all see all", |n| (1..=4).all(|i| n.alive(i) == 4));
    for i in 2..=3 {
        network.ip(1, &format!("route add unreachable 10.77.0.{i}/32"));
    }
    let says = |n: &Network, i: usize| n.conditions(1).contains(&format!("10.77.0.{i}:4327"));
    network.wait("both are named", |n| says(n, 2) && says(n, 3));
    network.ip(1, "route del unreachable 10.77.0.2/32");
    network.wait("the first is well again", |n| !says(n, 2));
    assert!(says(&network, 3), "{}", network.conditions(1));
    network.kill(3);
    network.wait("it is down", |n| [1, 2, 4].iter().all(|i| n.member(*i, 3)["status"] == "down"));
    // The others hear of it.
    network.post(4, "/v1/forget", "{\"name\":\"m3\"}");
    network.wait("a member that has gone is named no more", |n| n.conditions(1) == "[]");
}

#[test]
fn a_name_server_that_dies_takes_no_address_away() {
    if Command::new("dnsmasq").arg("--version").output().is_err() {
        skipped("no dnsmasq");
        return;
    }
    let Some(mut network) = Network::bare(2, "dns") else { return };
    network.name_server(1, &["--host-record=seed.example.org,10.77.0.1"]);
    network.agent(1, &[]);
    network.file(2, "resolv.conf", "nameserver 10.77.0.1\noptions timeout:1 attempts:1\n");
    network.file(2, "nsswitch.conf", "hosts: dns\n");
    network.agent(2, &["--seed", "seed.example.org", "--seed", "10.77.0.9"]);
    network.wait("they meet", |n| n.alive(2) == 2);
    network.kill_server();
    // Another address of our own makes it ask again.
    network.ip(2, "addr add 10.77.0.22/24 dev eth0");
    network.ip(2, "addr del 10.77.0.2/24 dev eth0");
    network.ip_if_it_can(2, "addr add 10.77.0.22/24 dev eth0");
    network.wait("it says what it goes on with", |n| n.conditions(2).contains("used on: 10.77.0.1:4327"));
    let seed = network.get(2, "/v1/self")["seeds"][0].clone();
    assert_eq!(seed["addresses"][0], "10.77.0.1:4327", "{seed}");
    assert!(seed["error"].is_string(), "{seed}");
}

#[test]
fn two_members_at_one_address_are_named_to_all_others() {
    let Some(mut network) = Network::bare(3, "twice") else { return };
    network.agent(1, &["--seed", "10.77.0.1"]);
    network.agent(2, &["--seed", "10.77.0.1"]);
    network.agent(3, &["--seed", "10.77.0.1", "--advertise", "10.77.0.2"]);
    network.wait("the first names both", |n| n.conditions(1).contains("m2 and m3 at 10.77.0.2:4327"));
}

#[test]
fn an_agent_that_is_told_at_a_wrong_address_says_that_nobody_calls_it() {
    let Some(mut network) = Network::bare(4, "typo") else { return };
    let seed = ["--seed", "10.77.0.1", "--interval", "200ms"];
    for i in 1..=3 {
        network.agent(i, &seed);
    }
    network.agent(4, &[&seed[..], &["--advertise", "10.77.0.99"]].concat());
    network.wait("all see all", |n| (1..=4).all(|i| n.alive(i) == 4));
    network.wait("it says so", |n| n.conditions(4).contains("no member has called it at 10.77.0.99:4327"));
    for i in 1..=3 {
        let said = network.conditions(i);
        assert!(!said.contains("has called it"), "m{i}: {said}");
    }
}

/// Lets in on host `i` what comes to the port from these addresses, and answers.
fn only_known(network: &Network, i: usize, sources: &str) {
    let rules = format!(
        "table inet known {{\nchain input {{\ntype filter hook input priority 0\nct state established,related accept\n\
         udp dport 4327 ip saddr {{ {sources} }} accept\nudp dport 4327 drop\n}}\n}}\n"
    );
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &network.namespace(i), "nft", "-f", "-"]).stdin(Stdio::piped());
    let mut nft = command.spawn().unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
}

#[test]
fn what_a_host_with_two_addresses_sends_comes_from_the_one_that_it_advertises() {
    let Some(mut network) = Network::bare(3, "second") else { return };
    // The first would be the kernel's choice.
    network.ip(1, "addr add 10.77.0.101/24 dev eth0");
    for i in [2, 3] {
        only_known(&network, i, "10.77.0.101, 10.77.0.2, 10.77.0.3");
    }
    // Only the host with two addresses calls: nobody else knows where it is.
    network.agent(2, &["--seed", "10.77.0.3"]);
    network.agent(3, &["--seed", "10.77.0.2"]);
    network.agent(1, &["--seed", "10.77.0.2", "--advertise", "10.77.0.101"]);
    network.wait("all see all", |n| (1..=3).all(|i| n.alive(i) == 3));
    network.wait("it reaches the others itself", |n| [2, 3].iter().all(|i| n.path(1, *i)["state"] == "up"));
    // What its host says after its death comes from there as well, once its guardian knows whom to tell.
    network.wait("it has beaten for some rounds", |n| n.member(2, 1)["heartbeat"].as_u64() >= Some(4));
    network.kill(1);
    network.wait("the others are told of its end", |n| {
        [2, 3].iter().all(|i| n.log(*i).contains("its host says that the process has ended"))
    });
}

#[test]
fn an_answer_comes_from_the_address_that_was_called_whichever_is_advertised() {
    let Some(mut network) = Network::bare(2, "called") else { return };
    network.ip(1, "addr add 10.77.0.101/24 dev eth0");
    // Answers pass, and nothing else.
    only_known(&network, 2, "10.77.0.99");
    network.agent(1, &[]);
    network.agent(2, &["--seed", "10.77.0.101"]);
    network.wait("the seed lets it in", |n| n.get(2, "/v1/self")["joined"] == true && n.alive(2) == 2);
}
