//! What real agents keep of what happened: over kills, over a full disk, and with the evidence of a verdict.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod said;
mod skipped;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use daemon::{Agent, exchange, plan};
use nix::sys::signal::Signal;
use said::{code, stderr, stdout};
use serde_json::{Value, json};
use skipped::skipped;

fn history(agent: &Agent, query: &str) -> Value {
    agent.get(&format!("/v1/history?limit=1000000{query}"))
}

fn entries(agent: &Agent, query: &str) -> Vec<Value> {
    history(agent, query)["entries"].as_array().unwrap().clone()
}

fn heartsay(agent: &Agent, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    command.arg("--socket").arg(agent.plan.socket()).args(args).output().unwrap()
}

/// Sets the tag that counts, whether or not the agent lives to answer.
fn count(socket: &Path, n: u64) {
    let body = json!({ "set": { "n": n.to_string() } }).to_string();
    let _ = exchange(socket, "POST", "/v1/tags", "Content-Type: application/json\r\n", &body);
}

/// All values of that tag that the history tells of.
fn counted(agent: &Agent) -> BTreeSet<u64> {
    let all = entries(agent, "&type=member-update");
    all.iter().filter_map(|entry| entry["tags"]["n"].as_str()?.parse().ok()).collect()
}

/// Of one life; the kill comes somewhere in its first half.
const CHANGES: u64 = 100;

/// `HEARTSAY_KILLS=200` makes it longer.
#[test]
fn no_kill_loses_what_was_told_and_none_makes_it_unreadable() {
    let kills: u64 = std::env::var("HEARTSAY_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let mut agent = plan("a").flags(&["--last-words=false"]).start();
    let mut seen = 0;
    for kill in 0..kills {
        let first = kill * 1000;
        count(&agent.plan.socket(), first);
        agent.wait_for("the first change is told", |agent| counted(agent).contains(&first));
        let told = counted(&agent);
        // In the midst of writing: changes come until it is dead. Of so few that all lives have room in the history.
        let (socket, (done, is_done)) = (agent.plan.socket(), mpsc::channel());
        thread::scope(|scope| {
            scope.spawn(move || {
                for n in 1..CHANGES {
                    count(&socket, first + n);
                    let _ = done.send(());
                }
            });
            for _ in 0..kill % (CHANGES / 2) {
                is_done.recv_timeout(Duration::from_secs(20)).unwrap();
            }
            agent.kill();
        });
        agent = agent.again();
        let now = counted(&agent);
        let missing: Vec<_> = told.difference(&now).collect();
        assert!(missing.is_empty(), "kill {kill}: missing {missing:?}");
        let of_life: Vec<u64> = now.range(first..).copied().collect();
        let whole: Vec<u64> = (first..first + of_life.len() as u64).collect();
        assert_eq!(of_life, whole, "kill {kill}: a hole");
        seen += of_life.len();
        assert_eq!(history(&agent, "")["damaged"], 0, "kill {kill}");
    }
    agent.wait_for("each life is told", |agent| {
        let lives: BTreeSet<u64> =
            entries(agent, "&type=self").iter().map(|entry| entry["life"].as_u64().unwrap()).collect();
        lives.len() as u64 == kills + 1
    });
    assert!(seen as u64 > kills, "{seen} changes in {kills} lives: none was told in the midst");
}

#[test]
fn a_verdict_is_explained_long_after_it_with_the_pause_that_would_have_held_the_member_in() {
    let a = plan("a").flags(&["--acceptable-pause", "1s"]).start();
    let b = plan("b").flags(&["--acceptable-pause", "1s"]).seed(&a.address()).start();
    a.wait_status("b", "alive");
    b.freeze();
    a.wait_status("b", "down");
    b.signal(Signal::SIGCONT);
    a.wait_status("b", "alive");
    a.wait_for("its return is written", |a| !entries(a, "&member=b&type=member-alive").is_empty());
    let downs = entries(&a, "&member=b&type=member-down");
    let down = downs.first().unwrap();
    assert_eq!(down["acceptable_pause_seconds"], 1.0);
    assert_eq!(down["evidence"]["accusations"][0]["by"], "a", "{down}");
    assert!(down["heartbeat"].is_u64() && down["life"].is_u64(), "{down}");
    let at = down["time"].as_str().unwrap();

    let past = a.get(&format!("/v1/history/b?at={at}"));
    assert_eq!((&past["status"], &past["then"][0]["type"]), (&json!("down"), &json!("member-alive")));
    let (silent, held) = (&past["pause"]["silent_seconds"], &past["pause"]["would_have_held_seconds"]);
    assert!(silent.as_f64().unwrap() >= 1.0, "{past}");
    assert!(held.as_f64().unwrap() >= silent.as_f64().unwrap(), "{past}");

    let output = heartsay(&a, &["why", "b", "--at", at]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for words in [
        "b was down at",
        "ACCUSER",
        "a pause of 1.00 s",
        "With acceptable_pause above",
        "it would have stayed in",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let output = heartsay(&a, &["why", "b", "--at", "3d"]);
    assert_eq!(code(&output), 4, "{}", stdout(&output));
    assert!(stdout(&output).contains("the history begins at"), "{}", stdout(&output));
    let output = heartsay(&a, &["why", "nobody", "--at", "1m"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("no member is called nobody"), "{}", stderr(&output));
    let output = heartsay(&a, &["why", "b", "--at", "yesterday"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("14:03"), "{}", stderr(&output));
}

#[test]
fn the_death_of_a_process_is_told_after_a_restart_of_the_one_that_saw_it() {
    let a = plan("a").start();
    let mut b = plan("b").flags(&["--last-words=false"]).seed(&a.address()).start();
    a.wait_status("b", "alive");
    b.kill();
    a.wait_status("b", "down");
    a.wait_for("it is written", |a| !entries(a, "&member=b&type=member-down").is_empty());
    let at = entries(&a, "&member=b&type=member-down")[0]["time"].as_str().unwrap().to_owned();
    let a = a.restart();
    let past = a.get(&format!("/v1/history/b?at={at}"));
    assert_eq!(past["status"], "down");
    assert!(past["pause"]["reason"].as_str().unwrap().contains("no pause would have held it in"), "{past}");
    let past = a.get(&format!("/v1/history/b?at={}", jiff::Timestamp::now()));
    assert!(past["started"].is_string(), "{past}");
    let output = heartsay(&a, &["history", "b"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("b down, by a"), "{}", stdout(&output));
    let rows = stdout(&heartsay(&a, &["history", "-n", "1", "-o", "jsonl"]));
    assert_eq!(rows.lines().count(), 1, "{rows}");
    assert_eq!(code(&heartsay(&a, &["history", "b", "--since", "now"])), 4);
    assert_eq!(code(&heartsay(&a, &["history", "--since", "now", "--until", "2h"])), 1);
}

#[test]
fn members_that_were_there_before_are_not_told_one_by_one() {
    let a = plan("a").start();
    let b = plan("b").seed(&a.address()).start();
    a.wait_status("b", "alive");
    a.wait_for("the newcomer is told", |a| !entries(a, "&member=b&type=member-join").is_empty());
    b.wait_for("it says that it has joined", |b| {
        entries(b, "&type=self").iter().any(|entry| entry["reason"].as_str().unwrap().contains("joined"))
    });
    assert_eq!(entries(&b, "&type=member-join"), Vec::<Value>::new());
}

#[test]
fn a_history_that_is_not_wanted_is_not_kept() {
    let a = plan("a").flags(&["--history=false"]).start();
    assert!(a.ask("GET", "/v1/history", "", "").problem(409).contains("history = false"));
    assert_eq!(code(&heartsay(&a, &["history"])), 1);
    assert!(!a.plan.dir().join("state/history").exists());
}

#[test]
fn wrong_questions_are_refused_with_what_is_right() {
    let a = plan("a").start();
    for (query, words) in [
        ("?since=yesterday", "RFC 3339"),
        ("?limit=0", "from 1 to"),
        ("?type=snapshot", "left-out"),
        ("?status=down", "known are member"),
    ] {
        assert!(a.ask("GET", &format!("/v1/history{query}"), "", "").problem(400).contains(words), "{query}");
    }
    for query in ["", "?at=yesterday", "?at=2026-11-20T14:03:00Z&x=1"] {
        a.ask("GET", &format!("/v1/history/b{query}"), "", "").problem(400);
    }
    a.ask("GET", "/v1/history/b?at=2026-11-20T14:03:00Z", "", "").problem(404);
    a.ask("GET", "/v1/history/a?at=2026-11-20T14:03:00Z", "", "").problem(400);
}

/// A file system of its own, which is full soon.
struct Small(PathBuf);

impl Small {
    fn mount(dir: &Path) -> Option<Self> {
        let dir = dir.join("small");
        fs::create_dir(&dir).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&dir);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_is_said_and_what_came_meanwhile_is_written_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(dir.path()) else { return skipped("no right to mount a file system") };
    let a = plan("a").with_state_dir(&small.0.join("state")).start();
    a.wait_for("something is written", |a| !entries(a, "").is_empty());
    let filler = small.0.join("filler");
    // Byte by byte at the end, so that not even a line has room.
    let mut file = fs::File::create(&filler).unwrap();
    for size in [4096, 512, 1] {
        while std::io::Write::write(&mut file, &vec![0; size]).is_ok_and(|n| n > 0) {}
    }
    let n = AtomicU64::new(0);
    a.wait_for("it says so", |a| {
        // What is left of the last page takes some lines.
        count(&a.plan.socket(), n.fetch_add(1, Ordering::Relaxed));
        a.get("/v1/self")["conditions"].to_string().contains("the history cannot be written")
    });
    count(&a.plan.socket(), 1_000_000);
    a.wait_for("memory has it", |a| history(a, "")["kept"] == "memory" && counted(a).contains(&1_000_000));
    let output = heartsay(&a, &["history"]);
    assert!(stderr(&output).contains("kept in memory only"), "{}", stderr(&output));
    drop(file);
    fs::remove_file(&filler).unwrap();
    a.wait_for("the disk has it", |a| history(a, "")["kept"] == "disk");
    let a = a.restart();
    assert!(counted(&a).contains(&1_000_000));
    assert_eq!(history(&a, "")["damaged"], 0);
    assert_eq!(a.log().matches("the history cannot be written").count(), 1, "{}", a.log());
}

#[test]
fn a_bundle_has_what_a_report_needs_and_neither_key_nor_command() {
    let dir = tempfile::tempdir().unwrap();
    let key = format!("{}=", "Q".repeat(43));
    let keyring = dir.path().join("keyring");
    fs::write(&keyring, format!("{key}\n")).unwrap();
    fs::set_permissions(&keyring, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let flags = ["--key-file", keyring.to_str().unwrap(), "--hook", "on_self=true -- hunter2"];
    let a = plan("a").flags(&flags).start();
    a.wait_for("something is written", |a| !entries(a, "").is_empty());
    let file = dir.path().join("bundle.tar.gz");
    let output = heartsay(&a, &["bundle", "--out", file.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let listing = stdout(&output);
    let mut unpacked = String::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(&file).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(listing.contains(&name), "{name} is not in\n{listing}");
        unpacked += &format!("{name}\n");
        std::io::Read::read_to_string(&mut entry, &mut unpacked).unwrap();
    }
    for words in [
        "history.json",
        "this agent has started",
        "metrics.txt",
        "heartsay_members",
        "doctor.json",
        "\"acceptable_pause\"",
    ] {
        assert!(unpacked.contains(words), "{words}");
    }
    for secret in [key.as_str(), "hunter2"] {
        assert!(!unpacked.contains(secret), "{secret}");
    }
    assert_eq!(code(&heartsay(&a, &["bundle", "--out", file.to_str().unwrap()])), 1, "it is there already");
}
