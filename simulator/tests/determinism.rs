//! A run is a number: the same seed is the same run.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use heartsay_simulator::run::{run, run_one};
use heartsay_simulator::scenario::{Scenario, load};
use heartsay_simulator::swarm::{self, Theme};

fn small(name: &str, sets: &[&str]) -> Scenario {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    load(name, &sets).unwrap_or_else(|problem| panic!("{name}: {problem}"))
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    // Noise draws from every distribution there is: delay, loss, doubles, bits.
    let scenario = small("noise", &["nodes=12", "duration=70s"]);
    let trace = |seed| run_one(&scenario, seed, None).expect("runs").trace;
    let first = trace(1);
    assert_eq!(first, trace(1));
    assert_ne!(first, trace(2));
}

#[test]
fn seeds_in_parallel_give_what_they_give_alone() {
    let scenario = small("crash", &["nodes=8"]);
    let seeds = [1, 2, 3, 4];
    let together = run(&scenario, &seeds, &[], &|| {}).expect("runs");
    for (seed, run) in seeds.iter().zip(&together.runs) {
        assert_eq!(run.seed, *seed);
        assert_eq!(run.trace, run_one(&scenario, *seed, None).expect("runs").trace);
    }
    let again = run(&scenario, &seeds, &[], &|| {}).expect("runs");
    let json = |report| serde_json::to_string(report).expect("plain data");
    assert_eq!(json(&together), json(&again), "byte for byte");
}

#[test]
fn watching_does_not_change_what_happens() {
    use heartsay_membership::Instant;
    use heartsay_simulator::trace::Log;
    let scenario = small("crash", &["nodes=8"]);
    let log = Log { out: Box::new(std::io::sink()), packets: true, only: None, from: Instant::EPOCH };
    let watched = run_one(&scenario, 3, Some(log)).expect("runs");
    assert_eq!(watched.trace, run_one(&scenario, 3, None).expect("runs").trace);
}

#[test]
fn a_swarm_seed_draws_and_runs_the_same_twice() {
    for theme in [Theme::All, Theme::Hostile] {
        let trace = |seed| {
            let scenario = swarm::draw(seed, theme, Some(6)).expect("sound");
            run_one(&scenario, seed, None).expect("runs").trace
        };
        assert_eq!(trace(4), trace(4));
    }
}
