//! Checkers bite: on runs whose world or expectations were broken on purpose.
//! (Each rule is also tested alone, beside its code.)

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use heartsay_simulator::run::{Report, run};
use heartsay_simulator::scenario::{load, parse};

fn go(name: &str, sets: &[&str]) -> Report {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    let scenario = load(name, &sets).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    run(&scenario, &[1], &sets, &|| {}).expect("runs")
}

#[test]
fn a_run_that_ends_before_the_crash_is_known_lacks_agreement() {
    let report = go("crash", &["nodes=8", "duration=20.5s", "fault.0.within=100ms"]);
    assert!(report.runs[0].violations.broke("no-agreement"), "{:?}", report.runs[0].violations);
    assert!(!report.passed());
}

#[test]
fn agreement_later_than_allowed_is_late() {
    let report = go("crash", &["nodes=8", "check.agree-within=100ms"]);
    assert!(report.runs[0].violations.broke("late-agreement"), "{:?}", report.runs[0].violations);
}

#[test]
fn a_cluster_that_loses_all_datagrams_never_forms() {
    let report = go("quiet", &["nodes=4", "network.loss=1.0", "duration=20s"]);
    assert_eq!(report.summary.formation.missing, 1);
    assert!(report.runs[0].violations.broke("no-agreement"));
    assert!(!report.sound());
}

#[test]
fn a_budget_that_cannot_be_kept_is_broken_without_being_a_violation() {
    let report = go("crash", &["nodes=8", "budget.down-p99=1ms", "budget.bytes-mean=1"]);
    assert!(report.sound() && !report.passed());
    let broken: Vec<&str> = report.budget.iter().filter(|l| !l.kept).map(|l| l.key).collect();
    assert!(broken.contains(&"down-p99") && broken.contains(&"bytes-mean"), "{broken:?}");
}

#[test]
fn a_member_whose_clock_is_far_too_slow_holds_a_lease_when_it_is_fenced() {
    // Beyond the promise: its lease of 1.4 s lasts 2.8 s. All the others keep to the rules.
    let slow = "\n[[fault]]\nwhat = \"clock-drift\"\nat = \"10s\"\nwho = [\"n0\"]\nppm = -500000\n";
    let cut = "\n[[fault]]\nwhat = \"partition\"\nat = \"20s\"\nsides = [[\"n0\"], \"80%\"]\n";
    let text = include_str!("../scenarios/quiet.toml").to_owned() + slow + cut;
    let sets = ["nodes=5", "duration=40s", "protocol.expected=all", "protocol.fence=true"];
    let sets = sets.map(str::to_owned);
    let scenario = parse(&text, &sets).unwrap_or_else(|problem| panic!("{problem}"));
    let report = run(&scenario, &[1], &sets, &|| {}).expect("runs");
    let violations = &report.runs[0].violations;
    assert!(violations.broke("fence"), "{violations:?}");
}

#[test]
fn a_proof_that_no_datagrams_explain_is_seen() {
    // A clock at half its speed: its proof is twice as old as it says.
    let slow = "\n[[fault]]\nwhat = \"clock-drift\"\nat = \"10s\"\nwho = [\"n0\"]\nppm = -500000\n";
    let quiet = include_str!("../scenarios/quiet.toml");
    let go = |nodes: usize, fault: &str| {
        let sets = [format!("nodes={nodes}"), "duration=30s".to_owned(), "protocol.expected=all".to_owned()];
        let scenario = parse(&format!("{quiet}{fault}"), &sets).unwrap_or_else(|problem| panic!("{problem}"));
        run(&scenario, &[1], &sets, &|| {}).expect("runs")
    };
    // Asked directly, and by waves.
    for nodes in [5, 9] {
        let (broken, sound) = (go(nodes, slow), go(nodes, ""));
        assert!(broken.runs[0].violations.broke("unexplained-proof"), "{:?}", broken.runs[0].violations);
        assert!(sound.sound() && sound.runs[0].compared > 1000, "{:?}", sound.runs[0].violations);
    }
}

#[test]
fn a_member_that_is_put_out_and_has_a_far_too_slow_clock_holds_quorum_beside_the_others() {
    // Far beyond the promise: its proof of 1.4 s lasts 14 s, it is out 3 to 4 s after the last one was given, and it hears of nothing.
    let slow = "\n[[fault]]\nwhat = \"clock-drift\"\nat = \"5s\"\nwho = \"n1\"\nppm = -900000\n";
    let text = include_str!("../scenarios/deaf-of-three.toml").to_owned() + slow;
    let sets = ["duration=60s".to_owned(), "fault.0.receive=1.0".to_owned()];
    let scenario = parse(&text, &sets).unwrap_or_else(|problem| panic!("{problem}"));
    let report = run(&scenario, &[1], &sets, &|| {}).expect("runs");
    let violations = &report.runs[0].violations;
    assert!(violations.broke("put-out-and-holding"), "{violations:?}");
}

#[test]
fn a_loser_whose_clock_is_far_too_slow_holds_quorum_while_it_is_called_down() {
    // Beyond the promise, which allows 1 %: its proof of 1.4 s lasts 2.8 s. Whether that reaches the verdict, 2 s after
    // a question at any moment of a round, is up to the seed: in about one of four it does.
    let slow = "\n[[fault]]\nwhat = \"clock-drift\"\nat = \"5s\"\nwho = [\"n0\"]\nppm = -500000\n";
    let text = include_str!("../scenarios/partition.toml").to_owned() + slow;
    let sets = ["nodes=5", "duration=60s", "fault.0.sides=[[\"n0\"], \"80%\"]", "check.liveness=false"];
    let sets = sets.map(str::to_owned);
    let scenario = parse(&text, &sets).unwrap_or_else(|problem| panic!("{problem}"));
    let report = run(&scenario, &(1..=12).collect::<Vec<_>>(), &sets, &|| {}).expect("runs");
    let broke = |rule| report.runs.iter().any(|run| run.violations.broke(rule));
    assert!(broke("two-quorums") && broke("quorum-overlap"));
}

#[test]
fn a_loser_whose_clock_is_far_too_slow_holds_quorum_beside_those_that_have_it_for_down() {
    // As above: it holds for 2.8 s, and is down after 2 to 3 s. The bound is set to the acceptable pause, which is all that the verdict takes.
    let slow = "\n[[fault]]\nwhat = \"clock-drift\"\nat = \"5s\"\nwho = [\"n0\"]\nppm = -500000\n";
    let text = include_str!("../scenarios/partition.toml").to_owned() + slow;
    let sets = [
        "nodes=5",
        "duration=60s",
        "fault.0.sides=[[\"n0\"], \"80%\"]",
        "check.liveness=false",
        "check.one-cut-within=2s",
    ];
    let sets = sets.map(str::to_owned);
    let scenario = parse(&text, &sets).unwrap_or_else(|problem| panic!("{problem}"));
    let report = run(&scenario, &(1..=12).collect::<Vec<_>>(), &sets, &|| {}).expect("runs");
    let told = report.runs.iter().flat_map(|run| &run.violations.first).filter(|v| v.rule == "one-cut");
    let told: Vec<&str> = told.map(|v| v.what.as_str()).collect();
    assert!(told.iter().any(|what| what.contains("and n0 hold quorum, and n")), "{told:?}");
}

#[test]
fn one_cut_is_not_asked_where_it_is_turned_off() {
    let broken = |sets: &[&str]| {
        let cut = [
            "nodes=5",
            "duration=60s",
            "check.liveness=false",
            "check.one-cut-within=1us",
            "fault.0.sides=[1, \"80%\"]",
        ];
        go("partition", &[&cut, sets].concat()).runs[0].violations.broke("one-cut")
    };
    assert!(broken(&[]), "within a microsecond no cut is known to all");
    assert!(!broken(&["check.one-cut=false"]));
}

/// A cluster in which n1 lies from 10 s on.
fn lied_to(lie: &str, sets: &[&str]) -> Report {
    let text = format!(
        "{}\n[[fault]]\nwhat = \"lie\"\nat = \"10s\"\nwho = \"n1\"\nevery = \"100ms\"\n{lie}",
        include_str!("../scenarios/quiet.toml")
    );
    let sets: Vec<String> =
        ["duration=40s", "protocol.expected=all", "check.liveness=false", "check.one-cut=false"]
            .iter()
            .chain(sets)
            .map(|set| (*set).to_owned())
            .collect();
    let scenario = parse(&text, &sets).unwrap_or_else(|problem| panic!("{problem}"));
    run(&scenario, &[1], &sets, &|| {}).expect("runs")
}

#[test]
fn a_member_whose_lies_are_all_refused_breaks_nothing() {
    let report = lied_to("lies = [\"twin\", \"cookie\"]", &["nodes=5"]);
    assert!(report.sound(), "{:?}", report.runs[0].violations);
}

#[test]
fn a_death_that_a_liar_hides_is_seen() {
    let dead = "\n[[fault]]\nwhat = \"vanish\"\nat = \"15s\"\nwho = \"n2\"\n";
    let report = lied_to(&format!("lies = [\"heartbeat\"]\n{dead}"), &["nodes=5"]);
    assert!(report.runs[0].violations.broke("lied-alive"), "{:?}", report.runs[0].violations);
    assert!(report.runs[0].harm["lied-alive"] > 10.0);
    let report = lied_to(&format!("lies = [\"cookie\"]\n{dead}"), &["nodes=5"]);
    assert!(report.sound(), "{:?}", report.runs[0].violations);
}
