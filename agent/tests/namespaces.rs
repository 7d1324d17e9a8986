//! Real agents on a network that can be cut: each in a network namespace, all
//! on one bridge (`scripts/cluster/netns.sh`). Says so and passes where that cannot be
//! had: not root, no iproute2 or nftables, no right to make namespaces.

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

use std::thread;
use std::time::Duration;

use network::{Network, now};

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

/// Well past the verdicts; `scripts/ci/acceptance.py` cuts for longer.
const PARTITION: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
