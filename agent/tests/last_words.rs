//! A process is killed, and its host says so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod daemon;

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;

use daemon::{Agent, Plan, plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn a_killed_agent_is_down_because_its_host_says_so() {
    let (a, mut b) = two(|plan| plan);
    let mut watch = a.watch("", "");
    b.kill();
    assert_eq!(watch.until("member-down", "b")["reason"], SAID);
    let why = a.get("/v1/members/b");
    assert_eq!(why["evidence"]["last_words"], true, "{why}");
}

#[test]
fn with_a_key_too_which_its_guardian_does_not_have() {
    let room = tempfile::tempdir().unwrap();
    let key = room.path().join("keyring");
    let made =
        Command::new(env!("CARGO_BIN_EXE_heartsay")).args(["keygen", "--out"]).arg(&key).status().unwrap();
    assert!(made.success());
    let (a, mut b) = two(|plan| plan.flags(&["--key-file", key.to_str().unwrap()]));
    let mut watch = a.watch("", "");
    b.kill();
    assert_eq!(watch.until("member-down", "b")["reason"], SAID);
}

#[test]
fn an_agent_that_dies_by_itself_is_no_different() {
    let (a, mut b) = two(|plan| plan);
    let mut watch = a.watch("", "");
    b.signal(Signal::SIGABRT);
    b.wait();
    assert_eq!(watch.until("member-down", "b")["reason"], SAID);
}

#[test]
fn after_an_orderly_end_nothing_is_said_and_no_process_waits() {
    for flags in [&[][..], &["--leave-on-terminate=false"]] {
        let (_a, mut b) = two(|plan| plan.flags(flags));
        let guardian = guardian(&b);
        b.signal(Signal::SIGTERM);
        b.wait();
        assert!(!will(&b.plan).exists());
        b.wait_for("the guardian has ended", |_| kill(guardian, None).is_err());
        assert!(last_words(&b.plan).1.contains("nothing to say"));
    }
}

#[test]
fn while_an_agent_lives_no_guardian_of_it_ends_and_nothing_is_said() {
    let (a, b) = two(|plan| plan);
    let guardians = [guardian(&a), guardian(&b)];
    a.wait_log("member-join");
    b.post("/v1/tags", r#"{"set":{"spoken":"yes"}}"#);
    a.wait_log("spoken");
    assert_eq!(guardians, [guardian(&a), guardian(&b)]);
    assert!(!a.log().contains("has ended"), "{}", a.log());
}

#[test]
fn a_guardian_that_is_killed_is_replaced() {
    let (a, mut b) = two(|plan| plan);
    let first = guardian(&b);
    kill(first, Signal::SIGKILL).unwrap();
    b.wait_for("there is another", |b| children(b).iter().any(|pid| *pid != first));
    let mut watch = a.watch("", "");
    b.kill();
    assert_eq!(watch.until("member-down", "b")["reason"], SAID);
}

#[test]
fn a_guardian_does_not_listen_to_what_ends_its_agent() {
    let (a, mut b) = two(|plan| plan);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(guardian(&b), signal).unwrap();
    }
    let mut watch = a.watch("", "");
    b.kill();
    assert_eq!(watch.until("member-down", "b")["reason"], SAID);
}

#[test]
fn where_all_processes_were_killed_the_service_manager_has_it_said() {
    let (a, mut b) = two(|plan| plan);
    let (code, said) = last_words(&b.plan);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("nothing was said") && said.contains("running process"), "{said}");
    // Nor where its lock has gone.
    fs::remove_file(b.plan.socket().with_extension("sock.lock")).unwrap();
    assert_eq!(last_words(&b.plan).0, 1);
    let guardian = guardian(&b);
    let mut watch = a.watch("", "");
    // So that it cannot speak before it is killed.
    kill(guardian, Signal::SIGSTOP).unwrap();
    b.kill();
    kill(guardian, Signal::SIGKILL).unwrap();
    assert_eq!(last_words(&b.plan), (0, "told 1 members\n".to_owned()));
    assert_eq!(watch.until("member-down", "b")["reason"], SAID);
    assert!(last_words(&b.plan).1.contains("nothing to say"), "once");
}

#[test]
fn the_next_life_is_not_taken_for_the_last() {
    let (a, mut b) = two(|plan| plan);
    let words = words(&b.plan);
    b.kill();
    let b = b.again();
    b.wait_status("a", "alive");
    a.wait_for("it is back", |a| a.get("/v1/members/b")["status"] == "alive");
    let known = a.get("/v1/stats")["last_words"].clone();
    let mut watch = a.watch("", "");
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..3 {
        outside.send_to(&words, a.address()).unwrap();
    }
    b.post("/v1/tags", r#"{"set":{"later":"yes"}}"#);
    watch.until("member-update", "b");
    assert_eq!(a.get("/v1/members/b")["status"], "alive");
    assert_eq!(a.get("/v1/stats")["last_words"], known);
}

#[test]
fn without_them_no_process_waits() {
    let (_a, b) = two_with(|plan| plan.flags(&["--last-words=false"]), false);
    assert!(children(&b).is_empty());
    assert!(!will(&b.plan).exists());
}

/// Two agents that know each other, and the will of the second says so.
fn two(with: impl Fn(Plan) -> Plan) -> (Agent, Agent) {
    two_with(with, true)
}

fn two_with(with: impl Fn(Plan) -> Plan, leaves: bool) -> (Agent, Agent) {
    let a = with(plan("a")).start();
    let b = with(plan("b").seed(&a.address())).start();
    a.wait_status("b", "alive");
    b.wait_status("a", "alive");
    if leaves {
        let heir = a.address();
        b.wait_for("it has a will", |b| {
            fs::read_to_string(will(&b.plan)).is_ok_and(|will| will.contains(&heir))
        });
    }
    (a, b)
}

fn will(plan: &Plan) -> PathBuf {
    let mut name = plan.socket().into_os_string();
    name.push(".last-words");
    name.into()
}

/// What will be said of this process.
fn words(plan: &Plan) -> Vec<u8> {
    let will = fs::read_to_string(will(plan)).unwrap();
    let words = will.lines().nth(1).unwrap();
    (0..words.len()).step_by(2).map(|at| u8::from_str_radix(&words[at..at + 2], 16).unwrap()).collect()
}

fn last_words(plan: &Plan) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    let done = command.arg("last-words").arg("--socket").arg(plan.socket()).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// The only child of an agent without hooks.
fn guardian(agent: &Agent) -> Pid {
    let children = children(agent);
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn children(agent: &Agent) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let lists =
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    let pids = lists.collect::<Vec<_>>().join(" ");
    pids.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

const SAID: &str = "its host says that the process has ended";
