//! Real agents on a network that can be cut: each in a network namespace, all
//! on one bridge (`scripts/netns.sh`). Says so and passes where that cannot be
//! had: not root, no iproute2 or nftables, no right to make namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use daemon::exchange;
use serde_json::Value;

#[test]
fn the_smaller_side_of_a_partition_knows_it_and_one_view_returns_without_a_restart() {
    let Some(network) = Network::of(10, "partition") else { return };
    let everybody = 1..=10;
    network.wait("all ten see ten", || everybody.clone().all(|i| network.sees_alive(i, 10)));
    network.wait("all ten hold quorum", || everybody.clone().all(|i| network.quorum(i) == "held"));
    let before: Vec<_> = everybody.clone().map(|i| network.generations(i)).collect();

    network.run(&["cut", "8,9,10"]).expect("cut");
    let cut = now();
    network.wait("the three have lost quorum", || (8..=10).all(|i| network.quorum(i) == "lost"));
    network.wait("the seven call the three down", || (1..=7).all(|i| network.with(i, "down") == [10, 8, 9]));
    while now() - cut < PARTITION {
        for i in 1..=7 {
            assert_eq!(network.quorum(i), "held", "m{i} is with the seven");
            assert_eq!(network.with(i, "down"), [10, 8, 9], "m{i} calls down only who is cut off");
        }
        for i in 8..=10 {
            assert_eq!(network.quorum(i), "lost", "m{i} is with the three");
            assert!(network.with(i, "down").is_empty(), "m{i} is cut off itself, and judges nobody");
        }
        thread::sleep(PAUSE);
    }

    network.run(&["heal"]).expect("heal");
    network.wait("one view", || everybody.clone().all(|i| network.sees_alive(i, 10)));
    network.wait("quorum everywhere", || everybody.clone().all(|i| network.quorum(i) == "held"));
    let after: Vec<_> = everybody.map(|i| network.generations(i)).collect();
    assert_eq!(before, after, "the same lives as before");
}

#[test]
fn a_member_that_is_cut_off_is_called_down_and_comes_back() {
    let Some(network) = Network::of(5, "cut") else { return };
    network.wait("all five see five", || (1..=5).all(|i| network.sees_alive(i, 5)));
    let before = network.generations(1);
    // Twice: who came back once can go and come back again.
    for _ in 0..2 {
        network.run(&["cut", "3"]).expect("cut");
        network
            .wait("the others call it down", || [1, 2, 4, 5].iter().all(|i| network.with(*i, "down") == [3]));
        network.wait("it has lost quorum", || network.quorum(3) == "lost");
        assert!(network.with(3, "down").is_empty(), "it blames nobody for its own silence");
        network.run(&["heal"]).expect("heal");
        network.wait("it is back", || (1..=5).all(|i| network.sees_alive(i, 5)));
        assert_eq!(network.generations(1), before, "it was not restarted");
        network.wait("quorum everywhere", || (1..=5).all(|i| network.quorum(i) == "held"));
    }
}

#[test]
fn a_member_that_is_cut_off_is_fenced_when_its_own_lease_is_over() {
    let Some(network) = Network::flagged(3, "fence", &["--fence"]) else { return };
    network.wait("all three hold quorum", || (1..=3).all(|i| network.quorum(i) == "held"));
    network.run(&["cut", "3"]).expect("cut");
    network.wait("both others say fenced", || (1..=2).all(|i| network.fenced(i, 3) == Some(true)));
    assert_eq!(network.quorum(3), "lost");
    network.run(&["heal"]).expect("heal");
    network.wait("it is back", || (1..=3).all(|i| network.sees_alive(i, 3)));
    assert_eq!(network.fenced(1, 3), None);
    network.wait("quorum everywhere", || (1..=3).all(|i| network.quorum(i) == "held"));
}

/// Agents m1, m2, ... in namespaces of their own; all gone when dropped.
struct Network {
    prefix: String,
    dir: tempfile::TempDir,
}

impl Network {
    /// Starts so many agents, which expect as many; `None`, and a word on stderr, where it cannot be done.
    fn of(members: usize, purpose: &str) -> Option<Self> {
        Self::flagged(members, purpose, &[])
    }

    /// The same, each with these flags.
    fn flagged(members: usize, purpose: &str, flags: &[&str]) -> Option<Self> {
        let prefix = format!("hst{}{purpose}", std::process::id());
        let network = Self { prefix, dir: tempfile::tempdir().unwrap() };
        let count = members.to_string();
        match network.run(&[&["up", &count], flags].concat()) {
            Ok(()) => Some(network),
            Err(output) if output.status.code() == Some(CANNOT) => {
                eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(output) => panic!("{output:?}"),
        }
    }

    fn run(&self, verb: &[&str]) -> Result<(), Output> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/netns.sh");
        let mut command = Command::new(script);
        command.args(verb).env("HEARTSAY_NETNS", &self.prefix).env("HEARTSAY_NETNS_DIR", self.files());
        let output = command.env("HEARTSAY_BIN", env!("CARGO_BIN_EXE_heartsay")).output().unwrap();
        if output.status.success() { Ok(()) } else { Err(output) }
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("netns")
    }

    fn get(&self, i: usize, path: &str) -> Option<Value> {
        let response = exchange(&self.files().join(format!("{i}.sock")), "GET", path, "", "").ok()?;
        (response.status == 200).then(|| response.json())
    }

    fn quorum(&self, i: usize) -> String {
        self.get(i, "/v1/quorum")
            .map_or(String::new(), |quorum| quorum["quorum"].as_str().unwrap().to_owned())
    }

    /// The members that agent `i` sees in this status, by number, in the order of their names.
    fn with(&self, i: usize, status: &str) -> Vec<usize> {
        let members = self.get(i, &format!("/v1/members?status={status}")).unwrap_or_default();
        let members = members["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["name"].as_str().unwrap()[1..].parse().unwrap()).collect()
    }

    /// What agent `i` says of the lease that `j` had.
    fn fenced(&self, i: usize, j: usize) -> Option<bool> {
        self.get(i, &format!("/v1/members/m{j}"))?["fenced"].as_bool()
    }

    fn sees_alive(&self, i: usize, count: usize) -> bool {
        self.with(i, "alive").len() == count
    }

    /// The lives that agent `i` knows, by name.
    fn generations(&self, i: usize) -> BTreeMap<String, u64> {
        let members = self.get(i, "/v1/members").unwrap();
        let members = members["members"].as_array().unwrap().iter();
        members.map(|m| (m["name"].as_str().unwrap().to_owned(), m["generation"].as_u64().unwrap())).collect()
    }

    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let began = now();
        while !condition() {
            if now() - began > PATIENCE {
                panic!("waited in vain until {what}; the logs:\n{}", self.logs());
            }
            thread::sleep(PAUSE);
        }
        eprintln!("{what}: after {:.1?}", now() - began);
    }

    fn logs(&self) -> String {
        let mut logs = String::new();
        for i in 1.. {
            let Ok(log) = std::fs::read_to_string(self.files().join(format!("{i}.log"))) else { break };
            logs += &format!("--- m{i}\n{log}");
        }
        logs
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(output) = self.run(&["down"])
            && output.status.code() != Some(CANNOT)
        {
            eprintln!("not all could be removed: {output:?}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "real agents run in real time")]
fn now() -> Instant {
    Instant::now()
}

/// Exit code of `netns.sh` where this machine does not allow it.
const CANNOT: i32 = 3;
/// Well past the verdicts; `scripts/acceptance.py` cuts for longer.
const PARTITION: Duration = Duration::from_secs(10);
/// As much as is promised after a heal; the rest is faster.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
