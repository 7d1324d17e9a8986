//! The recipes of docs/recipes.md, as they are written there. What this machine does not have is said and skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]
#![allow(clippy::disallowed_methods, reason = "a program of one's own has a clock of its own")]

mod daemon;
mod network;
mod skipped;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use daemon::{Agent, plan};
use network::Network;
use nix::sys::signal::Signal;

#[test]
fn a_member_in_doubt_leaves_the_list_before_the_verdict_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (list, config) = (dir.path().join("web.cfg"), dir.path().join("heartsay.toml"));
    // HAProxy itself has its own tests.
    let block =
        block("## Drain on `suspect`", "toml").replace("/var/cache/heartsay", dir.path().to_str().unwrap());
    let block: String =
        block.lines().filter(|line| !line.starts_with("runtime")).map(|line| format!("{line}\n")).collect();
    fs::write(&config, block).unwrap();
    let a = plan("a").flags(&["--config", config.to_str().unwrap()]).start();
    let mut members: Vec<Agent> = (1..=4).map(|n| web(&format!("w{n}"), &a)).collect();
    let listed = || fs::read_to_string(&list).unwrap_or_default().matches("server w").count();
    a.wait_for("four are in the list", |_| listed() == 4);

    let victim = members.pop().unwrap();
    victim.freeze();
    a.wait_for("it is out of the list", |_| listed() == 3);
    assert_eq!(a.get("/v1/members/w4")["status"], "suspect", "before the verdict");
    victim.signal(Signal::SIGCONT);
    a.wait_for("it is back", |_| listed() == 4);
}

#[test]
fn one_member_of_many_sends_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let (config, pages) = (dir.path().join("heartsay.toml"), dir.path().join("pages"));
    let page = dir.path().join("page");
    fs::write(&page, format!("#!/bin/sh\necho \"$HEARTSAY_SELF: $1\" >> {}\n", pages.display())).unwrap();
    executable(&page);
    let hook = block("## Page on `down`", "toml");
    let hook = hook.replace("/usr/local/bin/one-member.sh", script("one-member.sh").to_str().unwrap());
    fs::write(&config, hook.replace("/usr/local/bin/page", page.to_str().unwrap())).unwrap();
    let start = |name: &str, seed: Option<&str>| {
        let plan = plan(name).variable("PATH", &path());
        let plan = plan.flags(&["--config", config.to_str().unwrap(), "--expected", "4"]);
        match seed {
            Some(seed) => plan.seed(seed),
            None => plan,
        }
        .start()
    };
    let mut a = start("a", None);
    let others: Vec<Agent> = ["b", "c", "d"].iter().map(|name| start(name, Some(&a.address()))).collect();
    for agent in others.iter().chain([&a]) {
        agent.wait_for("all are there and quorum is held", |agent| {
            agent.get("/v1/quorum")["quorum"] == "held"
                && agent.get("/v1/members?status=alive")["members"].as_array().unwrap().len() == 4
        });
    }
    a.kill();
    let told = || fs::read_to_string(&pages).unwrap_or_default();
    others[0].wait_for("the page is sent", |_| !told().is_empty());
    for agent in &others {
        agent.wait_status("a", "down");
        agent.wait_for("its hook has run", |agent| {
            let metrics = agent.ask("GET", "/metrics", "", "").body;
            let runs = |result| {
                let series = format!("result=\"{result}\"}} ");
                let of = metrics.lines().filter(|line| line.starts_with("heartsay_hook_runs_total"));
                of.filter_map(|line| line.split_once(&series))
                    .map(|(_, n)| n.parse::<u64>().unwrap())
                    .sum::<u64>()
            };
            runs("good") + runs("failed") == 1
        });
    }
    let told = told();
    assert!(told.starts_with("b: a is down: ") && told.lines().count() == 1, "{told}");
}

#[test]
fn one_member_alone_does_the_job_and_none_without_quorum() {
    let flags = ["--config", "/dev/null", "--expected", "3", "--tag", "role=web"];
    let a = plan("a").flags(&flags).start();
    let b = plan("b").flags(&flags).seed(&a.address()).start();
    let mut c = plan("c").flags(&flags).seed(&a.address()).start();
    for agent in [&a, &b, &c] {
        agent.wait_for("quorum is held by three", |agent| {
            agent.get("/v1/quorum")["quorum"] == "held"
                && agent.get("/v1/members?status=alive")["members"].as_array().unwrap().len() == 3
        });
    }
    let line = block("## A job on one member only", "text");
    let command = line.split_once("root ").unwrap().1.split_once(" &&").unwrap().0;
    let does = |agent: &Agent| {
        let command = command.replace("/usr/local/bin", script("").to_str().unwrap());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &command]).env("PATH", path());
        shell.env("HEARTSAY_SELF", &agent.plan.name).env("HEARTSAY_SOCKET", agent.plan.socket());
        shell.output().unwrap().status.code().unwrap()
    };
    assert_eq!([&a, &b, &c].map(does), [0, 4, 4]);
    c.kill();
    b.signal(Signal::SIGSTOP);
    a.wait_for("quorum is lost", |agent| agent.get("/v1/quorum")["quorum"] == "lost");
    assert_eq!(does(&a), 4);
    b.signal(Signal::SIGCONT);
}

#[test]
fn the_address_is_on_one_member_of_the_majority_and_never_on_two() {
    let Some(mut network) = Network::bare(3, "vip") else { return };
    let flags = ["--seed", "10.77.0.1", "--seed", "10.77.0.2", "--expected", "3", "--tag", "role=web"];
    for i in 1..=3 {
        network.agent(i, &flags);
    }
    let unit = block("## A virtual IP", "ini");
    let words = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/heartsay ")).unwrap();
    let words = words.replace("/usr/local/bin", script("").to_str().unwrap()).replace("10.0.0.100", ADDRESS);
    for i in 1..=3 {
        network.wait("quorum is held", |network| network.quorum(i) == "held");
        let (socket, name) = (network.socket(i), format!("HEARTSAY_SELF=m{i}"));
        let socket = format!("HEARTSAY_SOCKET={}", socket.display());
        let path = format!("PATH={}", path());
        let mut all = vec!["env", &socket, &name, &path, "heartsay"];
        all.extend(words.split(' '));
        network.run(i, &all);
    }
    holder_is(&network, 1);

    network.script(&["cut", "1"]).expect("cut");
    holder_is(&network, 2);
    network.script(&["heal"]).expect("heal");
    holder_is(&network, 1);
    // What runs the script; then its kernel is all that there is to take the address away.
    network.signal(1, Signal::SIGKILL);
    let began = Instant::now();
    while holders(&network) == BTreeSet::from([1]) {
        assert!(began.elapsed() < Duration::from_secs(8), "the address stays");
        thread::sleep(LOOK);
    }
}

/// Until this host has the address alone. Meanwhile never two have it.
fn holder_is(network: &Network, i: usize) {
    let began = Instant::now();
    loop {
        let holders = holders(network);
        assert!(holders.len() < 2, "{holders:?} have it");
        if holders == BTreeSet::from([i]) {
            return;
        }
        let logs: Vec<String> = (1..=3).map(|i| network.log(i)).collect();
        assert!(began.elapsed() < Duration::from_secs(40), "m{i} does not get it: {}", logs.join("\n---\n"));
        thread::sleep(LOOK);
    }
}

fn holders(network: &Network) -> BTreeSet<usize> {
    let has = |i: &usize| {
        let mut command = Command::new("ip");
        let output = command.args(["-n", &network.namespace(*i), "-4", "address", "show"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(ADDRESS)
    };
    (1..=3).filter(has).collect()
}

fn web(name: &str, seed: &Agent) -> Agent {
    let flags = ["--config", "/dev/null", "--tag", "role=web", "--tag", "port=80"];
    plan(name).flags(&flags).seed(&seed.address()).start()
}

/// The first block of this language below this heading.
fn block(heading: &str, language: &str) -> String {
    let text = fs::read_to_string(root().join("docs/recipes.md")).unwrap();
    let (_, below) = text.split_once(&format!("{heading}\n")).expect(heading);
    let (_, block) = below.split_once(&format!("```{language}\n")).expect(language);
    block.split_once("```").unwrap().0.to_owned()
}

/// With the program that is tested before all others.
fn path() -> String {
    let dir = Path::new(env!("CARGO_BIN_EXE_heartsay")).parent().unwrap().display();
    format!("{dir}:{}", std::env::var("PATH").unwrap())
}

fn script(name: &str) -> PathBuf {
    root().join("agent/packaging/recipes").join(name)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

const ADDRESS: &str = "10.77.0.100";
const LOOK: Duration = Duration::from_millis(50);
