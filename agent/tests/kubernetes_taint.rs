//! `heartsay kubernetes taint` between live agents and a stand-in of the API server.
#![cfg(feature = "kubernetes")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod kubernetes;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use daemon::{Agent, plan};
use kubernetes::{Fault, KEY, Server, server, tls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

#[test]
fn a_member_that_dies_gets_the_taint_and_is_freed_when_it_is_back() {
    let server = server(&["a", "b", "node-of-c", "x", "y"]);
    let others = json!([
        { "key": "dedicated", "value": "db", "effect": "NoExecute" }, { "key": KEY, "effect": "NoSchedule", "value": "x" },
    ]);
    server.put("node-of-c", &others);
    // Of somebody who uses the same key.
    let by_hand = json!([{ "key": KEY, "value": "by-hand", "effect": "NoExecute" }]);
    server.put("a", &by_hand);
    let [a, _b, mut c] = three();
    let mut tainter = Tainter::start(&a, &server, &[]);
    tainter.until("lead");

    c.kill();
    // A kubelet writes in between: the change is made for what is there then.
    let written = json!([others[0], others[1], { "key": "disk", "effect": "NoSchedule" }]);
    server.fault("PATCH", Fault::Written("node-of-c", written.clone()));
    let line = tainter.until("taint");
    assert_eq!((&line["node"], &line["dry_run"]), (&json!("node-of-c"), &json!(false)));
    assert_eq!(
        (server.tainted(), server.others("node-of-c")),
        (vec!["node-of-c".to_owned()], written.clone())
    );
    assert_eq!(
        server.asked("PATCH /api/v1/nodes/node-of-c"),
        ["PATCH /api/v1/nodes/node-of-c 409", "PATCH /api/v1/nodes/node-of-c 200"]
    );

    let _c = c.again();
    assert_eq!(tainter.until("untaint")["node"], "node-of-c");
    assert_eq!((server.tainted().len(), server.others("node-of-c")), (0, written));
    assert_eq!((server.changes(), server.others("a")), (2, by_hand));

    tainter.signal(Signal::SIGTERM);
    assert_eq!(tainter.ends(), 0);
    assert_eq!(server.state().lease.as_ref().unwrap()["spec"]["holderIdentity"], "", "it is given back");
}

#[test]
fn no_more_than_the_floor_allows() {
    let server = server(&["a", "b", "c", "d", "e"]);
    let [a, _b, _c, mut d, mut e] = cluster(["a", "b", "c", "d", "e"]);
    let mut tainter = Tainter::start(&a, &server, &[]);
    d.kill();
    assert_eq!(tainter.until("taint")["node"], "d");
    e.kill();
    let line = tainter.until("floor");
    assert_eq!((&line["nodes"], server.tainted()), (&json!(["e"]), vec!["d".to_owned()]));
    let _d = d.again();
    assert_eq!(tainter.until("untaint")["node"], "d");
    assert_eq!(tainter.until("taint")["node"], "e");
    assert_eq!((server.tainted(), server.changes()), (vec!["e".to_owned()], 3));
}

#[test]
fn without_quorum_or_without_its_agent_nothing_changes() {
    let server = server(&["a", "b", "node-of-c"]);
    server.put("b", &ours());
    let [mut a, mut b, mut c] = three();
    b.kill();
    c.kill();
    a.wait_for("quorum is lost", |a| a.get("/v1/quorum")["quorum"] == "lost");
    let mut tainter = Tainter::start(&a, &server, &[]);
    let line = tainter.until("hold");
    assert!(line["reason"].as_str().unwrap().contains("quorum"), "{line}");
    assert_eq!(Tainter::start(&a, &server, &["--once"]).ends(), 4);
    assert_eq!(server.asked(""), [""; 0], "nobody is even asked");

    // The majority is back: what is seen now is done.
    let _b = b.again();
    assert_eq!(tainter.until("untaint")["node"], "b");
    assert_eq!(tainter.until("taint")["node"], "node-of-c");

    a.kill();
    let line = tainter.until("hold");
    assert!(line["reason"].as_str().unwrap().contains("does not answer"), "{line}");
    let _c = c.again();
    assert_eq!(Tainter::start(&a, &server, &["--once"]).ends(), 3);
    assert_eq!((server.tainted(), server.changes()), (vec!["node-of-c".to_owned()], 2));
    let _a = a.again();
    assert_eq!(tainter.until("untaint")["node"], "node-of-c");
}

#[test]
fn one_of_many_acts_and_another_one_takes_over() {
    let server = server(&["a", "b", "node-of-c"]);
    let [a, b, mut c] = three();
    let mut first = Tainter::start(&a, &server, &[]);
    first.until("lead");
    let mut second = Tainter::start(&b, &server, &[]);
    assert_eq!(second.until("standby")["reason"], "a acts");
    c.kill();
    first.until("taint");

    // Of the same pod: it goes on at once, with what is there.
    first.signal(Signal::SIGKILL);
    first.ends();
    let mut first = Tainter::start(&a, &server, &[]);
    first.until("lead");
    assert_eq!(server.changes(), 1);

    first.signal(Signal::SIGKILL);
    first.ends();
    second.until("lead");
    let _c = c.again();
    assert_eq!(second.until("untaint")["node"], "node-of-c");
    assert_eq!(server.changes(), 2);
    let lease = server.state().lease.clone().unwrap();
    assert_eq!(
        (&lease["spec"]["holderIdentity"], &lease["spec"]["leaseTransitions"]),
        (&json!("b"), &json!(1))
    );
}

#[test]
fn a_dry_run_says_it_and_changes_nothing() {
    let server = server(&["a", "b", "node-of-c"]);
    server.put("a", &ours());
    let [a, _b, mut c] = three();
    c.kill();
    a.wait_status("c", "down");
    let mut tainter = Tainter::start(&a, &server, &["--dry-run", "--once"]);
    let line = tainter.until("untaint");
    assert_eq!((&line["node"], &line["dry_run"]), (&json!("a"), &json!(true)));
    // There is room for one, and it is not free before that is done.
    assert_eq!(tainter.until("floor")["nodes"], json!(["node-of-c"]));
    assert_eq!(tainter.ends(), 0);
    assert!(server.asked("").iter().all(|line| line.starts_with("GET ")), "{:?}", server.asked(""));
    assert_eq!(server.tainted(), ["a"]);
}

#[test]
fn a_server_that_refuses_or_hangs_is_asked_again_within_limits() {
    let server = server(&["a"]);
    server.put("a", &ours());
    let a = alone();

    // No rights.
    server.fault("PATCH", Fault::Answer(403, ""));
    for _ in 0..4 {
        server.fault("GET", Fault::Answer(403, ""));
    }
    let mut tainter = Tainter::start(&a, &server, &["--once"]);
    let line = tainter.until("failed");
    assert!(line["reason"].as_str().unwrap().contains("403 Forbidden: as the test wants it"), "{line}");
    server.state().token = "second".to_owned();
    assert_eq!((tainter.ends(), server.tainted()), (1, vec!["a".to_owned()]));

    // The token is another one by now, in the file too.
    let mut tainter = Tainter::start(&a, &server, &[]);
    assert!(tainter.until("failed")["reason"].as_str().unwrap().contains("401"));
    fs::write(a.plan.dir().join("token"), "second\n").unwrap();
    assert_eq!(tainter.until("untaint")["node"], "a");

    for fault in [Fault::Answer(429, "Retry-After: 2\r\n"), Fault::Hang] {
        server.put("a", &ours());
        // A new start reads the nodes.
        tainter.signal(Signal::SIGTERM);
        assert_eq!(tainter.ends(), 0);
        server.fault("PATCH", Fault::Written("a", ours()));
        server.fault("PATCH", fault);
        tainter = Tainter::start(&a, &server, &[]);
        tainter.until("failed");
        assert_eq!(tainter.until("untaint")["node"], "a");
    }
}

#[test]
fn a_certificate_of_somebody_else_gets_no_token() {
    let server = server(&["a"]);
    let a = alone();
    let other = tls("other.crt");
    let mut tainter = Tainter::start(&a, &server, &["--once", "--ca-file", other.to_str().unwrap()]);
    assert!(tainter.until("failed")["reason"].as_str().unwrap().contains("certificate"));
    assert_eq!((tainter.ends(), server.asked("").len()), (1, 0));
}

#[test]
fn outside_of_a_pod_the_server_has_to_be_named() {
    let output = heartsay().args(["kubernetes", "taint", "--once"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--api"), "{said}");
}

fn ours() -> Value {
    json!([{ "key": KEY, "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z" }])
}

/// An agent that is its own majority.
fn alone() -> Agent {
    let [a] = cluster(["a"]);
    a
}

/// Agents that hold quorum; the node of c is called otherwise.
fn three() -> [Agent; 3] {
    cluster(["a", "b", "c"])
}

fn cluster<const N: usize>(names: [&str; N]) -> [Agent; N] {
    let expected = N.to_string();
    let mut seed: Option<String> = None;
    let agents = names.map(|name| {
        let mut agent = plan(name).flags(&["--expected", &expected]);
        if (N, name) == (3, "c") {
            agent = agent.flags(&["--tag", "node=node-of-c"]);
        }
        if let Some(seed) = &seed {
            agent = agent.seed(seed);
        }
        let agent = agent.start();
        seed.get_or_insert_with(|| agent.address());
        agent
    });
    for agent in &agents {
        for name in names {
            agent.wait_status(name, "alive");
        }
        agent.wait_for("quorum is held", |agent| agent.get("/v1/quorum")["quorum"] == "held");
    }
    agents
}

struct Tainter {
    child: Child,
    lines: Receiver<Value>,
    said: Vec<String>,
}

impl Tainter {
    fn start(agent: &Agent, server: &Server, flags: &[&str]) -> Self {
        let token = agent.plan.dir().join("token");
        if !token.exists() {
            fs::write(&token, "first\n").unwrap();
        }
        let mut command = heartsay();
        command.arg("--socket").arg(agent.plan.socket()).args(["-o", "jsonl", "kubernetes", "taint"]);
        command.args(["--api", &server.url, "--namespace", "heartsay", "--lease", "3s"]);
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        command.args(["--token-file", &path(&token)]);
        if !flags.contains(&"--ca-file") {
            command.args(["--ca-file", &path(&tls("ca.crt"))]);
        }
        let mut child = command.args(flags).stdout(Stdio::piped()).spawn().unwrap();
        let (to, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = to.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Reads on until a line of this type.
    fn until(&mut self, kind: &str) -> Value {
        loop {
            let Ok(line) = self.lines.recv_timeout(Duration::from_secs(30)) else {
                panic!("no {kind} after:\n{}", self.said.join("\n"));
            };
            self.said.push(line.to_string());
            if line["type"] == kind {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Its code; -1 for a signal.
    fn ends(&mut self) -> i32 {
        for _ in 0..1500 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end; it said:\n{}", self.said.join("\n"));
    }
}

impl Drop for Tainter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn heartsay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    for (name, _) in std::env::vars() {
        if name.starts_with("HEARTSAY_") || name.starts_with("KUBERNETES_") {
            command.env_remove(name);
        }
    }
    command
}
