//! Seeds and remembered peers: which of them are called, how soon and how often.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use heartsay_membership::{Command, Status};
use heartsay_testkit::World;

/// Addresses without a node.
fn dead(count: u16) -> Vec<SocketAddr> {
    (1..=count).map(|i| SocketAddr::from(([10, 9, 0, 0], i))).collect()
}

fn sees(world: &World, who: &str, count: usize) -> bool {
    world.node(who).census().alive as usize == count
}

/// Datagrams that `who` has sent to addresses without a node, and their bytes.
fn wasted(world: &World, who: &str) -> (usize, usize) {
    let sent = world.sent.iter().filter(|sent| sent.from == who && sent.receiver.is_none());
    sent.fold((0, 0), |(count, bytes), sent| (count + 1, bytes + sent.bytes))
}

#[test]
fn a_newcomer_finds_its_one_seed_at_once_however_many_dead_peers_it_remembers() {
    for count in [20, 100, 256] {
        let mut world = World::cluster(3);
        world.start("n4", &["n1"]);
        world.command("n4", Command::Remembered(dead(count))).unwrap();
        let took = world.wait(1.0, |w| w.node("n4").is_joined() && sees(w, "n4", 4));
        assert!(took < 0.1, "{count}: {took}");
    }
}

#[test]
fn members_that_all_restart_at_new_addresses_meet_at_once_though_they_remember_the_old_ones() {
    let mut world = World::new();
    for i in 1..=30 {
        let name = format!("n{i}");
        world.start(&name, &["n1"]);
        world.command(&name, Command::Remembered(dead(60))).unwrap();
    }
    let took = world.wait(2.0, |w| w.names().all(|name| w.node(name).is_joined() && sees(w, name, 30)));
    assert!(took < 1.0, "{took}");
}

#[test]
fn the_first_member_has_joined_when_it_is_found_though_all_that_it_remembers_is_dead() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.command("n1", Command::Remembered(dead(3))).unwrap();
    world.run(5.0);
    assert!(!world.node("n1").is_joined(), "it looks for the peers that it remembers");
    world.start("n2", &["n1"]);
    world.wait(2.0, |w| w.node("n1").is_joined() && sees(w, "n1", 2));
}

#[test]
fn without_any_seed_a_remembered_peer_leads_back() {
    let mut world = World::cluster(3);
    let peer = world.address("n2");
    world.start("n4", &[]);
    world.command("n4", Command::Remembered(dead(9).into_iter().chain([peer]).collect())).unwrap();
    world.wait(5.0, |w| sees(w, "n4", 4));
}

#[test]
fn islands_meet_as_soon_as_the_seeds_of_one_are_told_their_new_addresses() {
    let mut world = World::cluster(6);
    for name in ["n3", "n4", "n5", "n6"] {
        world.command(name, Command::Remembered(dead(250))).unwrap();
    }
    // The seeds come back as others, at other addresses and without what they knew.
    world.kill("n1");
    world.kill("n2");
    world.start("n11", &[]);
    world.start("n12", &["n11"]);
    world.run(60.0);
    assert!(sees(&world, "n3", 4) && sees(&world, "n11", 2), "two islands");
    let seeds = vec![world.address("n11"), world.address("n12")];
    world.command("n3", Command::Seeds(seeds)).unwrap();
    let took = world.wait(5.0, |w| w.names().all(|name| sees(w, name, 6)));
    assert!(took < 1.0, "{took}");
}

#[test]
fn new_seeds_of_a_joined_member_are_called_again_soon_where_calls_are_lost() {
    let mut world = World::cluster(3);
    world.start("n8", &[]);
    world.cut_between("n2", "n8");
    world.command("n2", Command::Seeds(vec![world.address("n8")])).unwrap();
    world.run(1.5);
    world.heal();
    world.wait(4.0, |w| sees(w, "n8", 4));
}

#[test]
fn dead_seeds_and_remembered_peers_cost_a_joined_member_a_few_short_calls_a_minute() {
    let mut world = World::cluster(3);
    let seeds: Vec<SocketAddr> = (1..=3).map(|i| SocketAddr::from(([10, 8, 0, 0], i))).collect();
    world
        .command("n2", Command::Seeds(seeds.iter().copied().chain([world.address("n1")]).collect()))
        .unwrap();
    world.command("n2", Command::Remembered(dead(20))).unwrap();
    // Until the pauses have grown.
    world.run(150.0);
    world.sent.clear();
    world.run(600.0);
    let (calls, bytes) = wasted(&world, "n2");
    assert!((4 * 9..=4 * 12).contains(&calls), "three seeds and one peer a minute: {calls}");
    assert!(bytes / calls < 200, "{bytes} bytes in {calls} calls");
    assert_eq!(world.status("n1", "n2"), Some(Status::Alive));
    // Each remembered peer is called ten times and then dropped; the seeds are called without end.
    world.run(200.0 * 66.0);
    world.sent.clear();
    world.run(600.0);
    let (calls, _) = wasted(&world, "n2");
    assert!((3 * 9..=3 * 12).contains(&calls), "{calls}");
}

#[test]
fn of_a_name_with_a_thousand_addresses_a_few_are_called_at_once_and_all_in_time() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.command("n1", Command::Seeds(dead(1000))).unwrap();
    world.run(0.01);
    assert_eq!(wasted(&world, "n1").0, 8);
    world.run(150.0);
    let called: BTreeSet<SocketAddr> =
        world.sent.iter().filter(|sent| sent.from == "n1").map(|sent| sent.to).collect();
    assert_eq!(called.len(), 1000);
}

#[test]
fn a_newcomer_whose_only_peer_dies_stops_pulling_and_has_joined() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.run(5.0);
    world.start("n2", &["n1"]);
    // The answer to its call is all that comes back.
    while !world.sent.iter().any(|sent| sent.from == "n1" && sent.receiver.as_deref() == Some("n2")) {
        world.run(0.000_1);
    }
    world.kill("n1");
    world.run(0.01);
    assert!(!world.node("n2").is_joined());
    world.command("n2", Command::Seeds(Vec::new())).unwrap();
    world.run(20.0);
    assert!(world.node("n2").is_joined(), "as if it had never had a seed");
}
