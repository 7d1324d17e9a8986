//! The baselines agree with what is printed about their originals, within stated tolerance.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use heartsay_simulator::models::{memberlist_suspicion, swim_periods_to_first_probe};
use heartsay_simulator::one_link::{at_equal_detection, draw_all};
use heartsay_simulator::run::{Report, run};
use heartsay_simulator::scenario::load;
use heartsay_simulator::sim_rng::Seed;

fn go(name: &str, machine: &str, seeds: u64, sets: &[&str]) -> Report {
    let mut sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    sets.push(format!("machine=\"{machine}\""));
    let scenario = load(name, &sets).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    run(&scenario, &(1..=seeds).collect::<Vec<_>>(), &sets, &|| {}).expect("runs")
}

#[test]
fn swim_first_probes_a_failed_member_after_1_58_periods() {
    // Das 2002, section 3.1: e / (e - 1) periods in expectation, whatever the size. Tolerance 8 %.
    let expected = 1.0 / (1.0 - (-1f64).exp());
    for nodes in [16, 64] {
        let periods = swim_periods_to_first_probe(nodes, 600, &Seed(1).dice("test", 0));
        assert!((periods / expected - 1.0).abs() < 0.08, "{nodes} members: {periods}, not {expected}");
    }
}

#[test]
fn swim_in_the_world_suspects_one_unaligned_period_and_one_probe_after_the_crash() {
    // Periods that are not in step: the first probe comes after 1.0 period in the mean (the same law in
    // continuous time) and says so at its period's end. Tolerance 15 % over 60 crashes.
    let report = go("crash", "swim", 60, &["nodes=24", "duration=\"26s\"", "check.liveness=false"]);
    let first = report.summary.suspect_first.mean;
    assert!((first / 2.0 - 1.0).abs() < 0.15, "first suspicion after {first} s in the mean");
}

#[test]
fn swim_calls_down_after_memberlists_suspicion_time_out() {
    // memberlist: 4 · max(1, log10 N) · 1 s.
    for (nodes, seconds) in [(8, 4.0), (10, 4.0), (100, 8.0), (1000, 12.0)] {
        assert!((memberlist_suspicion(nodes).as_secs_f64() - seconds).abs() < 1e-6, "{nodes}");
    }
    let report = go("crash", "swim", 4, &["nodes=24", "duration=\"35s\""]);
    let s = &report.summary;
    let waited = s.down_first.mean - s.suspect_first.mean;
    let formula = memberlist_suspicion(24).as_secs_f64();
    assert!(
        (waited - formula).abs() < 0.05,
        "{waited} s between suspicion and verdict; the formula says {formula}"
    );
    assert_eq!(s.down.missing, 0);
}

#[test]
fn lifeguard_makes_ten_times_fewer_mistakes_than_swim_and_detects_as_fast() {
    // Lifeguard, table IV, all 4,320 runs: 339,002 FP against 5,193 (65 times fewer), 1,326 FP- against 25 (53),
    // at the same median detection. One point of that grid and half the members here, with memberlist's
    // settings: ten times (a factor of 6.5 is granted), at detection within 15 %.
    let sets =
        ["nodes=64", "duration=\"90s\"", "fault.0.who=8", "fault.0.on=\"16384ms\"", "fault.0.for=\"60s\""];
    let (swim, lifeguard) = (go("interval", "swim", 1, &sets), go("interval", "lifeguard", 1, &sets));
    let (many, few) = (swim.summary.false_positives, lifeguard.summary.false_positives);
    assert!(many > 100 && few * 10 <= many, "FP {many} against {few}");
    let (many, few) = (swim.summary.false_positives_by_healthy, lifeguard.summary.false_positives_by_healthy);
    assert!(many > 10 && few * 10 <= many, "FP- {many} against {few}");
    let crash = |machine| go("crash", machine, 3, &["nodes=24", "duration=\"36s\""]).summary.down.median;
    let (swim, lifeguard) = (crash("swim"), crash("lifeguard"));
    assert!((lifeguard / swim - 1.0).abs() < 0.15, "{lifeguard} against {swim}");
}

#[test]
fn lifeguard_sends_modestly_more_than_swim_about_a_crash() {
    // Lifeguard (arXiv 1707.00788v1, abstract): a modest increase of the message load. Taken as up to a quarter.
    let sent = |machine| go("crash", machine, 3, &["nodes=64"]).summary.bytes.mean;
    let (swim, lifeguard) = (sent("swim"), sent("lifeguard"));
    println!("{swim} and {lifeguard} bytes/s");
    assert!(lifeguard > swim && lifeguard < swim * 1.25, "{lifeguard} against {swim} bytes/s");
}

#[test]
fn lifeguard_first_calls_a_blocked_member_down_as_late_as_in_print() {
    // Lifeguard, table V: median 12.45 s of 128 members, with a suspicion of 5 log10(N) s; memberlist's, and so
    // ours, is 4 log10(N). The difference is added; tolerance 8 %.
    let report = go("threshold", "lifeguard", 2, &["duration=\"40s\"", "check.liveness=false"]);
    let first = report.summary.stalled_down_first;
    let expected = first.median + memberlist_suspicion(128).as_secs_f64() / 4.0;
    assert!((expected / 12.45 - 1.0).abs() < 0.08, "{expected} s, not 12.45; {first:?}");
    assert_eq!(first.missing, 0);
}

#[test]
fn heartbeats_to_all_are_judged_as_their_formulas_say() {
    // Beats of 1 s without jitter: five intervals; pause + mean + 5.612 floors of 100 ms; pause + 18.42 means.
    // From a crash at a random moment of the beat: up to one beat less. Checked every 100 ms.
    for (machine, deadline) in [("fixed", 5.0), ("phi", 2.0 + 1.0 + 0.5612), ("phi-exponential", 2.0 + 18.42)]
    {
        let s = go("crash", machine, 4, &["nodes=8", "duration=\"45s\""]).summary;
        assert_eq!(s.down.missing, 0, "{machine}");
        assert!(s.down.min > deadline - 1.02 && s.down.max < deadline + 0.12, "{machine}: {:?}", s.down);
    }
}

#[test]
fn phi_on_the_drawn_link_errs_about_as_often_as_on_the_recorded_one() {
    // Hayashibara 2004: 0.022 mistakes/s at a detection time of 0.30 s, 0.0011 at 2.57 s. The trace is drawn,
    // not the recording: within a factor of 5 at the same detection time.
    let rows = at_equal_detection(&draw_all(1, 1.5), &[0.30, 2.57]);
    for (row, published) in rows.iter().zip([0.022, 0.0011]) {
        let rate = row[0].expect("phi-normal gets there").mistakes;
        assert!(rate > published / 5.0 && rate < published * 5.0, "{rate}, not {published}");
    }
}

#[test]
fn ours_errs_on_one_link_no_more_than_the_best_of_phi_and_chen_at_the_same_detection_time() {
    // Above some beats of patience all good detectors count the same outages: a day and a half has some fifty
    // of 2 s, so one more or less is 2 %. Tolerance 5 %.
    for row in at_equal_detection(&draw_all(1, 1.5), &[0.5, 0.7, 1.0, 2.0]) {
        let ours = row[3].expect("ours gets there").mistakes;
        for other in row[..3].iter().flatten() {
            assert!(ours <= other.mistakes * 1.05, "{ours} against {other:?}");
        }
    }
}

#[test]
fn a_model_of_a_detector_refuses_what_only_a_membership_can_do() {
    for name in ["restart", "churn", "join-under-loss", "leave", "duplicate-name", "crash-loop"] {
        let problem = load(name, &["machine=\"swim\"".to_owned()]).expect_err("refused");
        assert!(problem.to_string().contains("model of a detector"), "{name}: {problem}");
    }
}
