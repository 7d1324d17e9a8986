//! `dev`: the first command that a new user types.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn the_story_is_told_to_its_good_end() {
    let dir = tempfile::tempdir().unwrap();
    let output =
        dev(&dir, &["--once", "--nodes", "3", "--kill-after", "500ms", "-o", "jsonl"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let steps: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let find = |step: &str| {
        steps.iter().find(|s| s["step"] == step).unwrap_or_else(|| panic!("no {step} in\n{text}"))
    };
    for step in ["starting", "formed", "hint", "killed", "noticed", "restarted", "returned", "stopping"] {
        find(step);
    }
    let killed = &find("killed")["member"];
    let downs =
        steps.iter().filter(|s| s["step"] == "seen" && s["status"] == "down" && s["member"] == *killed);
    assert_eq!(downs.count(), 2, "both survivors saw it");
    let returned = find("returned");
    assert!(returned["after"].as_u64() > returned["before"].as_u64(), "a new generation");
    let result = &find("result")["result"];
    assert_eq!(result["ok"], true);
    assert_eq!(result["down"]["observers"], 2);
    assert!(result["down"]["median_seconds"].as_f64() <= result["down"]["max_seconds"].as_f64());
    assert_eq!(leftovers(&dir), (0, 0), "neither processes nor files stay");
}

#[test]
fn the_story_fits_one_and_two_agents() {
    for nodes in ["1", "2"] {
        let dir = tempfile::tempdir().unwrap();
        let output = dev(&dir, &["--once", "--nodes", nodes, "--kill-after", "200ms"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{nodes}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains("All well."), "{text}");
        assert_eq!(text.contains("SIGKILL"), nodes == "2", "{text}");
        assert_eq!(leftovers(&dir), (0, 0));
    }
}

#[test]
fn a_cut_takes_quorum_from_the_smaller_side_alone_and_heals() {
    let steps = told(&["--cut", "--nodes", "5", "--kill-after", "500ms"]);
    let of = |step: &str| steps.iter().filter(|s| s["step"] == step).collect::<Vec<_>>();
    for step in ["all-hold", "cut", "parted", "healed", "whole", "result"] {
        assert_eq!(of(step).len(), 1, "{step}");
    }
    assert_eq!((&of("cut")[0]["members"], &of("cut")[0]["from"]), (&json!("n4 and n5"), &json!("n1 to n3")));
    let lost: Vec<&Value> =
        of("quorum").into_iter().filter(|s| s["quorum"] == "lost").map(|s| &s["by"]).collect();
    assert!(lost.len() == 2 && lost.contains(&&json!("n4")) && lost.contains(&&json!("n5")), "{lost:?}");
    let cut = &of("result")[0]["result"]["cut"];
    assert_eq!((&cut["lost"]["observers"], &cut["down"]["observers"]), (&json!(2), &json!(3)), "{cut}");
    assert_eq!(cut["held_again"]["observers"], 2, "{cut}");
}

#[test]
fn a_death_is_noticed_while_datagrams_are_lost() {
    let steps = told(&["--loss", "20", "--nodes", "3", "--kill-after", "500ms"]);
    assert!(steps.iter().any(|s| s["step"] == "noticed"));
}

#[test]
fn a_service_that_dies_is_seen_by_all_agents() {
    let steps = told(&["--services", "--nodes", "3", "--kill-after", "500ms"]);
    let of = |step: &str| steps.iter().find(|s| s["step"] == step).unwrap_or_else(|| panic!("no {step}"));
    assert_eq!(of("unwell")["health"], "warning");
    let gone = of("service-gone");
    assert_eq!((&gone["service"], &gone["member"]), (&json!("web"), &json!("n2")));
    assert_eq!(gone["seen"]["observers"], 3, "its own agent too");
}

#[test]
fn a_cut_of_two_agents_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = dev(&dir, &["--cut", "--nodes", "2"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("--nodes 3"), "{text}");
}

#[test]
fn all_agents_of_the_play_vote_so_quorum_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = dev(&dir, &["--nodes", "3", "--kill-after", "1h"]).spawn().unwrap();
    let mut out = after_formed(&mut child);
    let mut line = String::new();
    while !line.contains("--socket") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    let socket = line.split_whitespace().skip_while(|word| *word != "--socket").nth(1).unwrap();
    let ask = |args: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("heartsay"));
        let output = command.args(["--socket", socket]).args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(ask(&["wait", "--for", "alive>=3 && quorum", "--timeout", "30s"]).0, Some(0));
    let (code, text) = ask(&["quorum"]);
    assert!(code == Some(0) && text.starts_with("held: 3 of 3 present, 2 needed"), "{text}");
    send(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn quiet_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--once", "--nodes", "1", "--kill-after", "0s", "--quiet", "--keep"];
    let output = dev(&dir, &args).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "All well.\n");
    assert_eq!(leftovers(&dir), (0, 1));
}

#[test]
fn an_interrupt_stops_all_agents_in_good_order() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = dev(&dir, &["--nodes", "3", "--kill-after", "1h"]).spawn().unwrap();
        let mut out = after_formed(&mut child);
        send(&child, signal);
        let status = child.wait().unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(status.code(), Some(0), "{signal}: {rest}");
        assert_eq!(leftovers(&dir), (0, 0));
    }
}

#[test]
fn an_interrupted_once_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = dev(&dir, &["--nodes", "2", "--once", "--kill-after", "1h"]).spawn().unwrap();
    let _out = after_formed(&mut child);
    send(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(leftovers(&dir).0, 0);
}

#[test]
fn the_play_ends_with_its_audience_also_when_nothing_happens() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = dev(&dir, &["--nodes", "2", "--kill-after", "1h"]).spawn().unwrap();
    let mut out = after_formed(&mut child);
    let mut line = String::new();
    while !line.contains("/v1/members") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    drop(out);
    for _ in 0..200 {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!((status.code(), leftovers(&dir)), (Some(0), (0, 0)));
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("it plays on without a reader");
}

#[test]
fn no_agent_outlives_a_parent_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = dev(&dir, &["--nodes", "3", "--kill-after", "1h"]).spawn().unwrap();
    let _out = after_formed(&mut child);
    assert_eq!(processes(dir.path()), 3);
    send(&child, Signal::SIGKILL);
    child.wait().unwrap();
    for _ in 0..200 {
        if processes(dir.path()) == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{} agents live on", processes(dir.path()));
}

#[test]
fn a_failed_start_shows_what_the_agent_said() {
    let dir = tempfile::tempdir().unwrap();
    // A place whose sockets' paths are too long for the system.
    let deep = dir.path().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    let output = dev(&dir, &["--once", "--nodes", "2"]).env("TMPDIR", &deep).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("its last words:") && text.contains("sock"), "{text}");
    assert_eq!(processes(dir.path()), 0);
}

/// The steps of a story with its good end.
fn told(args: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let output = dev(&dir, &[&["--once", "-o", "jsonl"], args].concat()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(leftovers(&dir), (0, 0), "neither processes nor files stay");
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn dev(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("heartsay"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("HEARTSAY_")) {
        command.env_remove(key);
    }
    command.arg("dev").args(args).env("TMPDIR", dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads until all see one another.
fn after_formed(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("see one another") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    out
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// Processes and directories that are still there.
fn leftovers(dir: &TempDir) -> (usize, usize) {
    (processes(dir.path()), std::fs::read_dir(dir.path()).unwrap().count())
}

/// How many processes have something of `dir` in their command line.
fn processes(dir: &Path) -> usize {
    let dir = dir.to_str().unwrap().as_bytes();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| line.windows(dir.len()).any(|part| part == dir))
        .count()
}

#[test]
fn the_page_of_the_first_agent_is_there_while_the_cluster_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut play = dev(&dir, &["--once", "--nodes", "3", "--web", "--kill-after", "1s", "-o", "jsonl"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(play.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let mut pages = lines.filter_map(|line| {
        let step: Value = serde_json::from_str(&line).unwrap();
        (step["step"] == "hint").then(|| step["page"].as_str().unwrap().to_owned())
    });
    let address = pages.next().unwrap();
    let (host, token) = address.strip_prefix("http://").unwrap().split_once("/#token=").unwrap();
    let mut agent = TcpStream::connect(host).unwrap();
    write!(
        agent,
        "GET /v1/self HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    agent.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"name\":\"n1\""), "{answer}");
    assert_eq!(pages.next(), None);
    assert!(play.wait().unwrap().success());
    TcpStream::connect(host).unwrap_err();
}
