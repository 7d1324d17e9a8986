//! `/metrics` of real agents: readable for what reads it, complete from the start, and the shipped alerts speak of it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod skipped;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use daemon::{pair, plan};
use serde_json::{Value, json};
use skipped::skipped;

const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";

/// The samples of a text in one of the two formats, which is read strictly.
fn samples(text: &str, open: bool) -> BTreeMap<String, f64> {
    let (mut kinds, mut helped, mut samples) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    assert!(text.ends_with('\n'));
    let body = if open { text.strip_suffix("# EOF\n").expect("an end") } else { text };
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').expect(line);
            assert!(helped.insert(name), "helped twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(["counter", "gauge", "histogram"].contains(&kind) || (open && kind == "info"), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "typed twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            assert!(open, "{line}");
            let (name, unit) = rest.split_once(' ').expect(line);
            assert!(name.ends_with(unit), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let name = series.split('{').next().unwrap();
            let family = match open {
                true => name.trim_end_matches("_total").trim_end_matches("_info"),
                false => name,
            };
            let of_histogram =
                ["_bucket", "_count", "_sum"].iter().find_map(|part| family.strip_suffix(part));
            let family = of_histogram.filter(|name| kinds.get(name) == Some(&"histogram")).unwrap_or(family);
            let kind = *kinds.get(family).unwrap_or_else(|| panic!("no type before {line}"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(helped.contains(family), "no help before {line}");
            assert!(series.contains("cluster=\"tests\""), "{line}");
            let value: f64 = value.parse().expect(line);
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn both_formats_are_read_and_say_the_same() {
    let (a, _b) = pair();
    let text = a.ask("GET", "/metrics", "", "");
    assert!(text.headers.contains("text/plain; version=0.0.4"), "{}", text.headers);
    let open = a.ask("GET", "/metrics", OPEN_METRICS, "");
    assert!(open.headers.contains("application/openmetrics-text; version=1.0.0"), "{}", open.headers);
    let (text, open) = (samples(&text.body, false), samples(&open.body, true));
    assert_eq!(text.keys().collect::<Vec<_>>(), open.keys().collect::<Vec<_>>());
    assert_eq!(text["heartsay_members{cluster=\"tests\",status=\"alive\"}"], 2.0);
    for series in text.keys() {
        assert!(!series.contains("\"b\""), "a series of a peer: {series}");
    }
}

#[test]
fn every_series_is_there_before_its_first_event() {
    let agent = plan("a").start();
    let before = samples(&agent.ask("GET", "/metrics", "", "").body, false);
    for (name, label, values) in [
        ("datagrams_dropped_total", "reason", &["echo", "unknown-key", "other-cluster", "bad-checksum"][..]),
        ("datagrams_undelivered_total", "reason", &["too-large", "host-unreachable", "forbidden"]),
        ("state_transitions_total", "to", &["join", "suspect", "down", "left", "forgotten", "fenced"]),
        ("hook_runs_total", "result", &["good", "failed", "out-of-time", "dropped"]),
        ("members", "status", &["suspect", "down", "left"]),
    ] {
        for value in values {
            let series = format!("heartsay_{name}{{cluster=\"tests\",{label}=\"{value}\"}}");
            assert_eq!(before.get(&series), Some(&0.0), "{series}");
        }
    }
    // What happens then brings no new series.
    let mut other = plan("b").seed(&agent.address()).start();
    agent.wait_status("b", "alive");
    other.kill();
    agent.wait_for("b is lost", |agent| agent.get("/v1/members/b")["status"] != "alive");
    let after = samples(&agent.ask("GET", "/metrics", "", "").body, false);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
}

#[test]
fn the_alerts_and_the_dashboard_speak_of_metrics_that_exist() {
    let agent = plan("a").start();
    let series = samples(&agent.ask("GET", "/metrics", "", "").body, false);
    let known: BTreeSet<&str> = series.keys().map(|series| series.split('{').next().unwrap()).collect();
    let alerts = std::fs::read_to_string(packaging("prometheus/alerts.yaml")).unwrap();
    let alerts = alerts.lines().filter(|line| line.trim_start().starts_with("expr:")).map(str::to_owned);
    for (what, questions) in [("alerts", alerts.collect()), ("dashboard", questions_of_the_dashboard())] {
        let mut found = 0;
        for question in &questions {
            for word in question.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                if word.starts_with("heartsay_") {
                    assert!(known.contains(word), "{what}: {word} in {question}");
                    found += 1;
                }
            }
        }
        assert!(found > 12, "{what}: {found}");
    }
}

/// Each panel's questions to Prometheus, with its variables filled in.
fn questions_of_the_dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(packaging("grafana/heartsay.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let questions = targets.map(|target| target["expr"].as_str().unwrap());
    questions
        .map(|expr| {
            expr.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$cluster", ".*")
        })
        .collect()
}

#[test]
fn promtool_finds_nothing_wrong() {
    if Command::new("promtool").arg("--version").output().is_err() {
        skipped("promtool is not installed");
        return;
    }
    let (a, _b) = pair();
    let mut check = Command::new("promtool");
    let check = check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.stdout(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(a.ask("GET", "/metrics", "", "").body.as_bytes()).unwrap();
    let said = check.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    for verb in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]] {
        let said = Command::new("promtool").args(verb).current_dir(packaging("prometheus")).output().unwrap();
        assert!(said.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&said.stderr));
    }
    let rule = |(i, expr): (usize, String)| json!({ "record": format!("panel:{i}"), "expr": expr });
    let rules: Vec<Value> = questions_of_the_dashboard().into_iter().enumerate().map(rule).collect();
    let dir = tempfile::tempdir().unwrap();
    let rules = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(dir.path().join("rules.yaml"), rules.to_string()).unwrap();
    let said =
        Command::new("promtool").args(["check", "rules", "rules.yaml"]).current_dir(&dir).output().unwrap();
    assert!(said.status.success(), "dashboard: {}", String::from_utf8_lossy(&said.stderr));
}

fn packaging(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path)
}
