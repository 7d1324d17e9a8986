//! Seeds that once failed, of the swarm and of shipped scenarios, and what was wrong.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use heartsay_simulator::measure::Summary;
use heartsay_simulator::run::run_one;
use heartsay_simulator::scenario;
use heartsay_simulator::swarm::{self, Theme};

fn holds(seed: u64) {
    keeps(seed, Theme::All);
}

fn keeps(seed: u64, theme: Theme) {
    let scenario = swarm::draw(seed, theme, None).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    let run = run_one(&scenario, seed, None).expect("runs");
    assert_eq!(
        run.violations.count,
        0,
        "seed {seed}: {:?}\n{}",
        run.violations,
        swarm::text(seed, theme, None)
    );
}

/// No holder of quorum changes its mind about a member twice between two changes of the network.
fn each_mind_changes_once(seed: u64, nodes: usize) {
    let scenario = swarm::draw(seed, Theme::Cuts, Some(nodes)).expect("is drawn");
    let run = run_one(&scenario, seed, None).expect("runs");
    assert_eq!(run.violations.count, 0, "seed {seed}: {:?}", run.violations);
    let changes = &run.measures.rosters.status_changes;
    assert!(changes.len() > 3 && changes.iter().all(|times| *times == 1), "seed {seed}: {changes:?}");
}

#[test]
fn a_newcomer_finds_the_cluster_though_all_its_contacts_are_gone_for_good() {
    holds(26);
}

#[test]
fn a_restarted_member_that_dials_in_vain_is_found_by_members_that_know_its_old_life() {
    holds(274);
}

#[test]
fn a_member_that_leaves_while_a_dial_is_due_does_not_spin() {
    holds(601);
    holds(903);
}

#[test]
fn trouble_that_ends_while_its_member_is_being_restarted_does_end() {
    holds(155);
    holds(1024);
}

#[test]
fn a_verdict_on_a_member_that_lives_and_is_put_out_breaks_no_promise_of_quorum() {
    keeps(50_219, Theme::Quorum);
}

#[test]
fn who_changes_sides_brings_back_no_member_that_stays_beyond_the_cut() {
    each_mind_changes_once(710_007, 5);
    each_mind_changes_once(820_015, 7);
}

#[test]
fn drifting_clocks_make_old_news_no_new_heartbeat() {
    each_mind_changes_once(1_300_073, 32);
}

#[test]
fn a_member_that_flaps_is_not_shown_between_the_testimonies_that_keep_it_out() {
    for seed in [1_201_213, 1_212_053, 1_214_134] {
        each_mind_changes_once(seed, 3);
    }
    each_mind_changes_once(1_003_864, 5);
}

#[test]
fn on_a_ring_no_member_is_taken_for_deaf_by_those_without_a_link_to_it() {
    let scenario = swarm::draw(1_300_273, Theme::Cuts, Some(32)).expect("is drawn");
    let run = run_one(&scenario, 1_300_273, None).expect("runs");
    assert_eq!(run.violations.count, 0, "{:?}", run.violations);
    assert!(run.measures.rosters.status_changes.iter().all(|times| *times == 0));
}

#[test]
fn a_member_that_holds_quorum_is_not_shown_as_down_because_no_ping_came_back() {
    let scenario = swarm::draw(820_787, Theme::Cuts, Some(12)).expect("is drawn");
    let run = run_one(&scenario, 820_787, None).expect("runs");
    assert_eq!(run.violations.count, 0, "{:?}", run.violations);
}

fn measured(name: &str, seed: u64, sets: &[&str]) -> Summary {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let scenario = scenario::load(name, &sets).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    let run = run_one(&scenario, seed, None).expect("runs");
    assert_eq!(run.violations.count, 0, "{name}, seed {seed}: {:?}", run.violations);
    Summary::of(&[&run.measures])
}

#[test]
fn a_deaf_member_refutes_with_its_next_beat_and_not_with_the_one_after() {
    for seed in [7, 10] {
        let summary = measured("gray-deaf", seed, &["duration=\"50s\""]);
        assert_eq!((summary.removed_again, summary.needless_evictions), (0, 0), "seed {seed}");
    }
}

#[test]
fn a_member_that_is_silent_together_with_all_its_callers_is_looked_for() {
    let sets = ["fault.0.who=28", "fault.0.for=\"8192ms\"", "duration=\"32s\""];
    let first = measured("threshold", 5, &sets).stalled_down_first;
    assert!(first.missing == 0 && first.max < 4.5, "{first:?}");
}
