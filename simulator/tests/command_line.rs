//! What a person types, and what comes back.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use assert_cmd::Command;

fn sim(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("heartsay-sim").expect("built with the tests");
    let output = command.args(arguments).output().expect("starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn run_prints_a_table_and_says_which_trace() {
    let (code, out, err) = sim(&["run", "crash", "--nodes", "8", "--seeds", "2", "--lenient"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("down, each observer") && out.contains("trace of seed 1"), "{out}");
    assert!(out.contains("what happened (seed 1):\n  n") && out.contains(" vanished at 2"), "{out}");
}

#[test]
fn json_has_a_schema_and_the_generator_and_is_the_same_twice() {
    let arguments = ["run", "crash", "--nodes", "6", "--seed", "9", "-o", "json", "--lenient"];
    let (code, out, err) = sim(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["schema"], "heartsay-sim/1");
    assert!(report["generator"].as_str().is_some_and(|g| g.starts_with("ChaCha8")));
    assert_eq!(report["runs"][0]["seed"], 9);
    let happened = report["runs"][0]["happened"][0].as_str().expect("a line");
    assert!(happened.contains(" vanished at 2"), "{happened}");
    assert_eq!(out, sim(&arguments).1);
}

#[test]
fn a_failing_run_ends_with_1_and_the_command_that_replays_it() {
    let (code, out, _) = sim(&[
        "run",
        "crash",
        "--nodes",
        "8",
        "--seed",
        "3",
        "--duration",
        "20.5s",
        "--set",
        "fault.0.within=0s",
    ]);
    assert_eq!(code, 1);
    let replay = out.lines().find(|line| line.contains("replay:")).expect("a command to copy");
    assert!(replay.contains("--seed 3") && replay.contains("nodes=8"), "{replay}");
    let (code, out, _) = sim(&[
        "replay",
        "crash",
        "--seed",
        "3",
        "--set",
        "nodes=8",
        "--set",
        "duration=20.5s",
        "--set",
        "fault.0.within=0s",
        "--log",
    ]);
    assert_eq!(code, 1);
    assert!(out.contains("vanishes") && out.contains("no-agreement"), "{out}");
    assert!(out.contains("what happened (seed 3):"), "{out}");
}

#[test]
fn wrong_usage_ends_with_2_and_a_hint() {
    for (arguments, words) in [
        (&["run", "crahs"] as &[&str], "did you mean `crash`?"),
        (&["run", "crash", "--nodes", "0"], "at least one member"),
        (&["run", "crash", "--set", "network.los=0.1"], "did you mean `loss`?"),
        (&["run", "crash", "--set", "fault.0.who=500"], "the cluster has 128"),
        (&["run", "/does/not/exist.toml"], "No such file"),
        (&["walk", "crash"], "unrecognized subcommand"),
    ] {
        let (code, _, err) = sim(arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
}

#[test]
fn compare_shows_what_changed() {
    let folder = std::env::temp_dir().join(format!("heartsay-sim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let file = |name: &str, sets: &[&str]| {
        let mut arguments = vec!["run", "crash", "--nodes", "6", "--seed", "1", "-o", "json", "--lenient"];
        arguments.extend(sets);
        let path = folder.join(name);
        std::fs::write(&path, sim(&arguments).1).expect("writable");
        path.display().to_string()
    };
    let (a, b) = (file("a.json", &[]), file("b.json", &["--set", "protocol.acceptable-pause=4s"]));
    let (code, out, err) = sim(&["compare", &a, &b]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("down.median") && out.contains('%'), "{out}");
    assert!(sim(&["compare", &a, &a]).1.contains("no difference"));
    assert_eq!(sim(&["compare", &a, "/does/not/exist"]).0, 1);
    std::fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn sweep_prints_a_line_per_point_of_the_grid() {
    let (code, out, err) = sim(&[
        "sweep",
        "crash",
        "--nodes",
        "6",
        "--over",
        "network.loss=0,0.01",
        "--over",
        "fault.0.at=20s,21s",
        "--seeds",
        "1",
    ]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(out.lines().filter(|line| line.contains("fault.0.at=")).count(), 4, "{out}");
}

#[test]
fn quorum_has_rows_in_run_and_columns_in_sweep_where_members_vote() {
    let set = ["--set", "fault.0.for=10s", "--set", "check.one-cut=false"];
    let short = [&["--nodes", "5", "--duration", "60s", "--seeds", "1"] as &[&str], &set].concat();
    let (code, out, err) = sim(&[&["run", "partition"] as &[&str], &short].concat());
    assert_eq!(code, 0, "{out}{err}");
    for words in [
        "lost quorum after cut",
        "held it after heal",
        "losses of quorum by healthy members 0 in",
        "one roster after",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let over = ["--over", "protocol.expected=3,5"];
    let (code, out, err) = sim(&[&["sweep", "partition"] as &[&str], &short, &over].concat());
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.lines().next().is_some_and(|head| head.ends_with("hold max")), "{out}");
    assert!(out.contains("losses of quorum by healthy members"), "{out}");
    let (_, out, _) = sim(&["sweep", "crash", "--nodes", "4", "--seeds", "1", "--over", "fault.0.at=20s"]);
    assert!(!out.contains("Q losses") && !out.contains("quorum"), "none votes: {out}");
}

#[test]
fn list_and_show_name_every_scenario() {
    let lists = [sim(&["list"]).1, sim(&["list", "--unmet"]).1];
    let on = |list: &str, name: &str| list.lines().any(|line| line.split_whitespace().next() == Some(name));
    for name in heartsay_simulator::scenario::shipped() {
        let scenario = heartsay_simulator::scenario::load(name, &[]).expect("shipped");
        let is_on = [0, 1].map(|list| on(&lists[list], name));
        assert_eq!(is_on, [scenario.unmet.is_none(), scenario.unmet.is_some()], "{name}");
    }
    assert!(sim(&["show", "crash"]).1.contains("vanish"));
    assert_eq!(sim(&["show", "nothing"]).0, 2);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command as Process, Stdio};
    let program = assert_cmd::cargo::cargo_bin("heartsay-sim");
    for arguments in [
        &["list"] as &[&str],
        &["replay", "quiet", "--nodes", "8", "--seed", "1", "--packets"],
        &["show", "wan"],
    ] {
        let mut child = Process::new(&program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().expect("piped"));
        reader.read_line(&mut line).expect("one line");
        drop(reader);
        let rest = child.wait_with_output().expect("ends");
        let err = String::from_utf8_lossy(&rest.stderr).into_owned();
        assert!(rest.status.success() && err.is_empty() && !line.is_empty(), "{arguments:?}: {err}");
    }
}

#[test]
fn results_prints_a_row_per_experiment_and_json_holds_the_same() {
    let arguments = ["results", "--only", "S1, 1 % loss", "--skip", "128", "--skip", "1000", "--seeds", "1"];
    let (code, out, err) = sim(&arguments);
    assert_eq!(code, 0, "{err}");
    let rows: Vec<&str> = out.lines().filter(|line| line.starts_with("| S1")).collect();
    assert_eq!(rows.len(), 2, "{out}");
    assert!(
        rows[0].contains("down median / p99") && rows[0].contains("`run crash-lossy --nodes 8 --seeds 1`")
    );
    assert!(err.contains("2 of 2  S1, 1 % loss: run crash-lossy --nodes 32 --seeds 1"), "{err}");
    let (code, out, err) = sim(&[&arguments[..], &["-o", "json"]].concat());
    assert_eq!(code, 0, "{err}");
    let page: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&page["schema"], &page["rows"][0]["nodes"]), (&"heartsay-sim-results/1".into(), &8.into()));
    let measured = page["rows"][0]["measured"].as_str().expect("words");
    assert!(rows[0].contains(measured), "{measured} is not in {}", rows[0]);
}

#[test]
fn results_says_which_row_was_given_up_and_goes_on() {
    let (code, out, err) =
        sim(&["results", "--only", "S2", "--only", "S9", "--seeds", "1", "--limit", "1ms"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.matches("| S2 | not finished in time |").count(), 2, "{out}");
    assert!(out.contains("## S9: one link") && out.contains("not finished in 1ms"), "{out}");
}

#[test]
fn results_lists_its_experiments_and_refuses_a_name_that_there_is_not() {
    let (code, out, _) = sim(&["results", "--list"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("heartsay-sim run crash --nodes 8 --seeds 30") && out.contains("S9: one link"),
        "{out}"
    );
    let (code, _, err) = sim(&["results", "--only", "S99"]);
    assert!(code == 1 && err.contains("--list"), "{err}");
}

#[test]
fn shapes_prints_the_table_of_the_quorum_page() {
    let arguments = ["shapes", "--only", "three-way", "--most", "9", "--seeds", "2"];
    let (code, out, err) = sim(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    let page = include_str!("../../docs/quorum-proofs.md");
    let head = out.lines().next().expect("a head");
    assert!(page.contains(head), "docs/quorum-proofs.md has another head than {head}");
    assert!(out.contains("| three-way | 9 | 2 |") && out.contains("no such side"), "{out}");
    let (_, out, _) = sim(&[&arguments[..], &["-o", "json"]].concat());
    let shapes: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (&shapes["schema"], &shapes["shapes"][0]["seeds"]),
        (&"heartsay-sim-shapes/1".into(), &2.into())
    );
    assert_eq!(sim(&["shapes", "--only", "circle"]).0, 1);
}

#[test]
fn replay_from_agent_rebuilds_a_verdict_and_finds_the_pause_that_would_have_held_the_member_in() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stopped.jsonl");
    let arguments = ["replay", "--from-agent", file, "--seeds", "2"];
    let (code, out, err) = sim(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    for words in
        ["> 2 ", "n4 down, silent for 2.02 s", "not rebuilt", "in 2 of 2 runs", "With acceptable_pause = "]
    {
        assert!(out.contains(words), "no {words} in {out}");
    }
    let (_, out, _) = sim(&[&arguments[..], &["-o", "json"]].concat());
    let again: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let held = again["held_seconds"].as_f64().expect("a pause holds");
    assert!((3.0..7.0).contains(&held), "{again}");
    assert_eq!((&again["member"], &again["simulated"]["down_in"]), (&"n4".into(), &2.into()));

    let (code, text, _) = sim(&[&arguments[..], &["--show"]].concat());
    assert!(code == 0 && text.contains("what = \"pause\"") && text.contains("nodes = 5"), "{text}");
    for (more, words) in [(&["--case", "9"][..], "1 to 2"), (&["--seed", "1"], "cannot be used with")] {
        let (code, _, err) = sim(&[&arguments[..], more].concat());
        assert!(code != 0 && err.contains(words), "{err}");
    }
    assert!(sim(&["replay"]).2.contains("<SCENARIO>"), "without it, it is as it was");
}

#[test]
fn a_swarm_of_liars_names_the_lies_of_a_seed_that_fails_and_replays_it() {
    let lies = ["--only", "hostile", "--lies", "heartbeat,cookie", "--nodes", "4"];
    let swarm =
        |more: &[&str]| sim(&[&["swarm", "--from", "1", "--to", "40"] as &[&str], &lies, more].concat());
    let (code, out, err) = swarm(&["--failures", "1", "--show"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("lied-alive: ") && out.contains("alone it fails too: heartbeat"), "{out}");
    assert!(out.contains("lies = [\"heartbeat\"]"), "the least that fails: {out}");
    let replay =
        out.lines().find_map(|line| line.trim().strip_prefix("replay: heartsay-sim ")).expect("a command");
    assert!(replay.contains("swarm-hostile") && replay.contains("--lies heartbeat,cookie"), "{replay}");
    let words: Vec<&str> = replay.split(' ').collect();
    let (code, out, err) = sim(&words);
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("lies (heartbeat) to [") && out.contains("lied-alive: "), "{out}");
    let (_, out, _) = swarm(&["--table", "--failures", "100"]);
    assert!(out.contains("heartbeat        4") && out.contains("lied-alive"), "{out}");
}

#[test]
fn lies_are_chosen_for_a_swarm_of_liars_alone() {
    for arguments in [
        &["swarm", "--only", "cuts", "--lies", "accuse"] as &[&str],
        &["replay", "crash", "--seed", "1", "--lies", "accuse"],
        &["swarm", "--only", "quorum", "--table"],
    ] {
        let (code, _, err) = sim(arguments);
        assert!(code == 1 && err.contains("hostile"), "{arguments:?}: {err}");
    }
    let (code, _, err) = sim(&["swarm", "--only", "hostile", "--lies", "acuse"]);
    assert!(code == 2 && err.contains("accuse"), "{err}");
}
