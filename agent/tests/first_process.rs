//! An agent as process 1 of a container: in a process namespace of its own. Says so and passes where that cannot be had.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod skipped;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use daemon::{Agent, Plan, plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skipped::skipped;

const NAMESPACE: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn in_a_namespace(name: &str) -> Option<Plan> {
    let tried = Command::new(NAMESPACE[0]).args(&NAMESPACE[1..]).arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        skipped("no right to make a process namespace");
        return None;
    }
    Some(plan(name).under(&NAMESPACE))
}

/// State and id of the children of a process.
fn children(of: u32) -> Vec<(char, u32)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    let read = lines.filter_map(|line| {
        let (head, rest) = line.rsplit_once(") ")?;
        let mut words = rest.split(' ');
        let (state, parent) = (words.next()?.chars().next()?, words.next()?);
        let id = head.split(' ').next()?.parse().ok()?;
        (parent.parse() == Ok(of)).then_some((state, id))
    });
    read.collect()
}

/// The first process of the namespace, as the host numbers it.
fn first(agent: &Agent) -> u32 {
    children(agent.pid())[0].1
}

fn send(process: u32, signal: Signal) {
    kill(Pid::from_raw(process.try_into().unwrap()), signal).unwrap();
}

#[test]
fn no_zombies_pile_up_and_a_stop_is_a_good_bye() {
    let Some(plan) = in_a_namespace("n1") else { return };
    let other = daemon::plan("n2").seed(&plan.address()).start();
    let (hook, ran) = (plan.dir().join("hook"), plan.dir().join("ran"));
    // What leaves the group of the hook becomes a child of process 1.
    let text = format!("#!/bin/sh\nsetsid sh -c 'sleep 0.1 & exit 0'\necho ran >> {}\n", ran.display());
    fs::write(&hook, text).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let hooks = format!("on_event={}", hook.display());
    let mut agent = plan.flags(&["--hook", &hooks]).start();
    agent.wait_status("n2", "alive");
    agent.wait_for("a hook has run", |_| fs::read_to_string(&ran).is_ok_and(|text| text.contains("ran")));
    let first = first(&agent);
    agent.wait_for("nobody is left unburied", |_| children(first).iter().all(|(state, _)| *state != 'Z'));
    send(first, Signal::SIGTERM);
    assert_eq!(agent.wait().code(), Some(0));
    other.wait_status("n1", "left");
}

#[test]
fn a_killed_agent_has_its_last_words_and_its_end_is_that_of_the_container() {
    let Some(plan) = in_a_namespace("n1") else { return };
    let other = daemon::plan("n2").seed(&plan.address()).start();
    let mut agent = plan.start();
    agent.wait_status("n2", "alive");
    other.wait_status("n1", "alive");
    // Its will is written a moment after it has heard of the other.
    let will = agent.plan.socket().with_extension("sock.last-words");
    agent.wait_for("it has a will", |_| fs::metadata(&will).is_ok_and(|file| file.len() > 0));
    let worker = children(first(&agent))[0].1;
    send(worker, Signal::SIGKILL);
    assert_eq!(agent.wait().code(), Some(128 + 9));
    other.wait_log("its host says that the process has ended");
}
