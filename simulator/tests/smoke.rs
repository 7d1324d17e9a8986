//! Every shipped scenario runs; the quick ones keep their limits. Long runs: `heartsay-sim results`.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use heartsay_simulator::run::{Report, run};
use heartsay_simulator::scenario::{Scenario, load, shipped};

fn go(name: &str, seeds: &[u64], sets: &[&str]) -> Report {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    let scenario = load(name, &sets).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    run(&scenario, seeds, &sets, &|| {}).expect("runs")
}

fn keeps_its_limits(name: &str, seeds: &[u64], sets: &[&str]) {
    let report = go(name, seeds, sets);
    let broken: Vec<_> = report.budget.iter().filter(|line| !line.kept).collect();
    let violations: Vec<_> =
        report.runs.iter().filter(|r| r.violations.count > 0).map(|r| (r.seed, &r.violations)).collect();
    assert!(violations.is_empty(), "{name} {sets:?}: {violations:?}");
    assert!(broken.is_empty() && !report.budget.is_empty(), "{name} {sets:?}: {broken:?}");
}

/// The shipped scenario as small and short as it still makes sense: its trouble begins at 12 s and the run
/// ends soon after.
fn shortened(name: &str) -> Scenario {
    let whole = load(name, &[]).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    if ["clock-year", "seeds-late"].contains(&name) {
        // Half a minute, a full minute is what they are about.
        return whole;
    }
    let mut sets = vec!["duration=\"25s\"".to_owned(), "check.liveness=false".to_owned()];
    let named = |text: &str| heartsay_simulator::scenario::source(name).is_some_and(|s| s.contains(text));
    if whole.nodes > 16 && !named("[\"n") && !named("\"n1") {
        sets.push("nodes=16".to_owned());
    }
    if whole.start.every.is_some() {
        sets.push("start.every=\"500ms\"".to_owned());
    }
    for (i, fault) in whole.faults.iter().enumerate() {
        if fault.at.0.as_secs() > 12 {
            sets.push(format!("fault.{i}.at=\"12s\""));
        }
    }
    load(name, &sets).unwrap_or_else(|_| {
        // What does not fit a small cluster (sixteen blocked members) keeps its size.
        sets.retain(|set| !set.starts_with("nodes"));
        load(name, &sets).unwrap_or_else(|problem| panic!("{name} shortened: {problem}"))
    })
}

#[test]
fn every_shipped_scenario_is_read_and_breaks_no_rule_but_those_that_it_names_as_unmet() {
    for name in shipped() {
        let scenario = shortened(name);
        let report = run(&scenario, &[1], &[], &|| {}).expect("runs");
        assert_eq!(report.scenario, name, "a scenario is called as its file");
        assert!(report.summary.formation.count > 0, "{name}: no member ever saw another");
        let unmet = scenario.unmet.unwrap_or_default();
        let violations = &report.runs[0].violations;
        assert!(violations.rules.keys().all(|rule| unmet.contains(rule)), "{name}: {violations:?}");
    }
}

#[test]
fn one_of_three_that_is_put_out_as_deaf_holds_no_quorum_beside_the_other_two() {
    keeps_its_limits("deaf-of-three", &[1, 2, 3, 4, 5, 6], &[]);
}

#[test]
fn a_crash_is_known_to_all_within_the_limits() {
    keeps_its_limits("crash", &[1, 2, 3, 4], &["nodes=32", "budget.bytes-mean=400"]);
}

#[test]
fn a_refused_crash_is_known_to_all_within_the_limits() {
    keeps_its_limits("process-crash", &[1, 2, 3, 4], &["nodes=32"]);
}

#[test]
fn a_crash_at_one_percent_loss_is_known_within_the_limits() {
    keeps_its_limits("crash-lossy", &[1, 2, 3, 4], &["nodes=32"]);
}

#[test]
fn a_crash_is_known_within_the_limits_whatever_share_is_lost() {
    for name in ["crash-loss-20", "crash-loss-30", "crash-loss-40"] {
        keeps_its_limits(name, &[1, 2, 3], &[]);
        keeps_its_limits(name, &[5, 10, 13, 18, 25, 54], &["nodes=5", "fault.0.at=\"20s\""]);
    }
}

#[test]
fn a_block_shorter_than_the_acceptable_pause_is_forgiven() {
    keeps_its_limits("short-block", &[1, 2], &["nodes=32", "fault.0.who=4"]);
}

#[test]
fn members_that_stall_again_and_again_do_not_call_others_down() {
    keeps_its_limits(
        "stall",
        &[1],
        &["nodes=16", "duration=\"330s\"", "fault.0.for=\"25s\"", "fault.0.who=2"],
    );
}

#[test]
fn a_member_that_has_behaved_for_as_long_as_was_asked_is_not_called_down_again() {
    // A quarter is blocked for 8 of every 24 s, and kept out until long after. Before 2026-11-28, 55 times one of them was
    // called down in the moment that it was let in: accusers that were let in themselves had asked for more.
    let sets = ["nodes=24", "fault.0.who=\"25%\"", "fault.0.on=\"8192ms\"", "fault.0.off=\"16384ms\""];
    keeps_its_limits("interval", &[1, 3, 4], &sets);
}

#[test]
fn a_cut_link_does_not_evict_its_ends() {
    keeps_its_limits("one-link", &[1, 2], &["nodes=24", "duration=\"60s\""]);
}

#[test]
fn halves_of_a_partition_agree_soon_after_it_heals() {
    keeps_its_limits("partition", &[1, 2], &["nodes=24", "duration=\"90s\"", "fault.0.for=\"30s\""]);
}

#[test]
fn all_states_are_everywhere_within_the_limits() {
    keeps_its_limits("states", &[1], &["nodes=40", "duration=\"15s\""]);
    keeps_its_limits("states-newcomer", &[1], &["nodes=20", "duration=\"20s\"", "fault.0.at=\"12s\""]);
}

#[test]
fn no_datagram_is_too_large_where_the_limit_is_low_and_members_are_many() {
    let sets = [
        "protocol.datagram=512",
        "nodes=200",
        "start.state=600",
        "duration=\"8s\"",
        "fault.0.at=\"5s\"",
        "check.liveness=false",
    ];
    let report = go("narrow", &[1], &sets);
    assert!(report.sound(), "{:?}", report.runs[0].violations);
}

#[test]
fn joins_under_loss_all_succeed() {
    keeps_its_limits("join-under-loss", &[1], &[]);
}

#[test]
fn a_filter_that_refuses_for_a_living_member_makes_no_member_suspect() {
    keeps_its_limits("refuse", &[1, 2], &[]);
    keeps_its_limits("refuse-out", &[1, 2], &[]);
}

#[test]
fn under_heavy_loss_a_dead_member_is_down_as_soon_as_without() {
    // Before 2026-11-28 accusers doubted themselves for what the network lost: 10 s on average, up to 18 s.
    keeps_its_limits(
        "crash",
        &[1, 2, 3, 4],
        &["nodes=32", "network.loss=0.2", "budget.suspect-mean=\"1.2s\""],
    );
}
