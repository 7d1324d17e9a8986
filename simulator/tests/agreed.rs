//! The electorate that follows the cluster, in whole runs: it shrinks, grows, survives restarts, and of the sides of one cut
//! one holds quorum at most.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use heartsay_simulator::run::{Report, run};
use heartsay_simulator::scenario::{load, parse};

fn sets(sets: &[&str]) -> Vec<String> {
    sets.iter().map(|set| (*set).to_owned()).collect()
}

/// The shipped scenario.
fn shipped(seeds: &[u64], with: &[&str]) -> Report {
    let with = sets(with);
    let scenario = load("last-agreed", &with).unwrap_or_else(|problem| panic!("{problem}"));
    run(&scenario, seeds, &with, &|| {}).expect("runs")
}

/// Some members on a network that loses a little, and these faults.
fn with_faults(faults: &str, seeds: &[u64], with: &[&str]) -> Report {
    let text = format!(
        "name = \"faults\"\nabout = \"faults\"\nnodes = 5\nduration = \"60s\"\n[network]\nloss = 0.02\n[protocol]\nexpected = \"last-agreed\"\n{faults}"
    );
    let with = sets(with);
    let scenario = parse(&text, &with).unwrap_or_else(|problem| panic!("{problem}"));
    run(&scenario, seeds, &with, &|| {}).expect("runs")
}

fn assert_sound(report: &Report, what: &str) {
    for run in &report.runs {
        assert!(run.violations.count == 0, "{what}, seed {}: {:?}", run.seed, run.violations);
    }
}

#[test]
fn the_last_of_five_holds_quorum_alone_as_it_decides_the_tie() {
    let report = shipped(&[1, 2, 3, 4, 5, 6], &["check.every-step=true"]);
    assert!(report.passed(), "{:?}", report.budget);
    assert_eq!(report.summary.quorum, [6, 0, 0]);
}

#[test]
fn the_last_of_five_holds_nothing_when_the_one_that_decides_the_tie_went_before() {
    let report = shipped(&[1, 2, 3, 4, 5, 6], &["fault.2.who=[\"n0\"]"]);
    assert_sound(&report, "n0 last");
    assert_eq!(report.summary.quorum, [0, 6, 0]);
}

#[test]
fn two_of_a_stated_electorate_hold_nothing_where_two_of_an_agreed_one_hold_quorum() {
    let report = shipped(&[1, 2], &["protocol.expected=all"]);
    assert_eq!(report.summary.quorum, [0, 2, 0]);
}

#[test]
fn one_side_of_a_cut_holds_quorum_at_most_and_all_hold_it_after_the_cut() {
    for nodes in 2..=8_usize {
        for with in 1..nodes {
            let side: Vec<String> = (0..with).map(|m| format!("\"n{m}\"")).collect();
            let cut = format!(
                "[[fault]]\nwhat = \"partition\"\nat = \"25s\"\nfor = \"20s\"\nsides = [[{}], \"99%\"]\n",
                side.join(",")
            );
            let nodes = format!("nodes={nodes}");
            let first = "protocol.expected=\"last-agreed:2\"";
            // What a lost datagram costs at the very end of a run is not what is asked here.
            let report = with_faults(&cut, &[1, 2], &[&nodes, first, "duration=140s", "network.loss=0"]);
            assert_sound(&report, &format!("{nodes}, {with} cut off"));
            let [_, lost, unsettled] = report.summary.quorum;
            assert_eq!((lost, unsettled), (0, 0), "{nodes}, {with} cut off");
        }
    }
}

#[test]
fn a_restart_with_its_disk_keeps_the_roster_and_one_without_begins_again() {
    for disk in ["kept", "lost"] {
        let restart = format!(
            "[[fault]]\nwhat = \"vanish\"\nat = \"25s\"\nwho = [\"n1\", \"n2\", \"n3\"]\nback-after = \"20s\"\n\
             disk = \"{disk}\"\n[check]\nliveness = false\n"
        );
        let during = with_faults(&restart, &[1, 2], &["nodes=5", "duration=44s"]);
        assert_eq!(during.summary.quorum, [0, 4, 0], "two of five");
        let after = with_faults(&restart, &[1, 2], &["nodes=5", "duration=70s"]);
        assert_sound(&after, disk);
        if disk == "kept" {
            assert_eq!(after.summary.quorum, [10, 0, 0]);
        }
    }
}

#[test]
fn a_loser_whose_clock_is_far_too_slow_is_seen_by_the_checkers_here_too() {
    // Beyond the promise, as with a stated electorate.
    let faults = "[[fault]]\nwhat = \"clock-drift\"\nat = \"15s\"\nwho = [\"n4\"]\nppm = -500000\n\
                  [[fault]]\nwhat = \"partition\"\nat = \"30s\"\nfor = \"20s\"\nsides = [[\"n4\"], \"99%\"]\n\
                  [check]\nliveness = false\n";
    let seeds: Vec<u64> = (1..=12).collect();
    let report = with_faults(faults, &seeds, &["nodes=5", "duration=60s"]);
    assert!(report.runs.iter().any(|run| run.violations.broke("two-quorums")));
}
