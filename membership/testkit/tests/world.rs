//! The made-up cluster does what a test asks of it.

use heartsay_membership::Status;
use heartsay_testkit::{Sent, World};

/// Every datagram of a run: how long, from which node, to which.
fn datagrams(seed: u64) -> Vec<(String, Option<String>, usize)> {
    let mut world = World::with_seed(seed).filled(5);
    world.wire.loss.insert(("n1".into(), "n2".into()), 0.3);
    world.run(20.0);
    world.sent.into_iter().map(|Sent { from, receiver, bytes, .. }| (from, receiver, bytes)).collect()
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(datagrams(1), datagrams(1));
    assert_ne!(datagrams(1), datagrams(2));
}

#[test]
fn a_lossy_path_loses_its_share_in_one_direction() {
    let heard = |world: &World, by: &str| world.node(by).stats().datagrams_received;
    let mut world = World::cluster(2);
    world.wire.loss.insert(("n1".into(), "n2".into()), 1.0);
    let before = (heard(&world, "n1"), heard(&world, "n2"));
    world.run(2.0);
    assert!(heard(&world, "n1") > before.0);
    assert_eq!(heard(&world, "n2"), before.1);
}

#[test]
fn what_arrives_at_a_stopped_node_waits_for_it() {
    let mut world = World::cluster(3);
    let received = |world: &World| world.node("n3").stats().datagrams_received;
    let before = received(&world);
    world.stop("n3");
    world.run(1.0);
    assert_eq!(received(&world), before);
    world.resume("n3");
    assert!(received(&world) > before);
    assert!(world.all_say("n3", Status::Alive) || world.all_say("n3", Status::Suspect));
}

#[test]
fn a_node_under_another_key_keeps_its_address_and_its_timers() {
    let mut world = World::cluster(2);
    let address = world.address("n2");
    world.rename("n2", "old");
    assert!(!world.has("n2") && world.address("old") == address);
    world.run(5.0);
    assert_eq!(world.status("n1", "n2"), Some(Status::Alive));
}
