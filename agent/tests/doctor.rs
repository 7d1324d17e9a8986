//! `heartsay doctor` with real agents: what it says of a cluster that is well, and of some that are not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod said;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use heartsay_proto::{Cluster, Keyring};
use nix::sys::signal::Signal;
use serde_json::Value;

use daemon::{Agent, Plan, pair, plan};
use said::{code, stderr, stdout};

fn doctor(socket: &Path, flags: &[&str]) -> Output {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("heartsay");
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("HEARTSAY_")) {
        command.env_remove(key);
    }
    command.arg("--socket").arg(socket).arg("doctor").args(flags).output().unwrap()
}

/// Codes and what they are about, and the exit code.
fn found(socket: &Path) -> (Vec<(String, Value)>, i32) {
    let output = doctor(socket, &["-o", "json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let findings = report["findings"].as_array().unwrap().iter();
    let found = findings.map(|one| (one["code"].as_str().unwrap().to_owned(), one["of"].clone())).collect();
    (found, code(&output))
}

fn only(code: &str, of: Option<&str>) -> Vec<(String, Value)> {
    vec![(code.to_owned(), of.into())]
}

#[test]
fn nothing_is_wrong_and_then_the_cause_alone_is_told_with_what_to_do() {
    let (a, mut b) = pair();
    a.wait_for("quorum is held", |a| a.get("/v1/quorum")["quorum"] == "held");
    assert_eq!(found(&a.plan.socket()), (vec![], 0));
    let said = doctor(&a.plan.socket(), &[]);
    assert!(stdout(&said).starts_with("nothing wrong; looked at\n"), "{said:?}");
    assert!(stdout(&said).contains("long datagrams") && stderr(&said).contains("0 errors"), "{said:?}");

    b.kill();
    a.wait_status("b", "down");
    // Quorum is lost too, and not told: it follows.
    assert_eq!(found(&a.plan.socket()), (only("member-down", Some("b")), 4));
    let said = doctor(&a.plan.socket(), &["--no-probe"]);
    assert_eq!(code(&said), 4);
    for words in ["error", "member-down", "b at ", "do: start the agent there", "heartsay forget b"] {
        assert!(stdout(&said).contains(words), "{words} is not in {}", stdout(&said));
    }
    let me = a.get("/v1/self");
    assert_eq!(me["findings"][0]["code"], "member-down", "status says the same: {me}");
    assert_eq!(me["conditions"].as_array().unwrap().len(), 1);
    let metrics = a.ask("GET", "/metrics", "", "").body;
    for line in ["code=\"member-down\"} 1", "code=\"key-unknown\"} 0"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert_eq!(found(&b.plan.socket()).0, only("agent-not-running", None));
}

#[test]
fn no_agent_and_one_that_hangs_are_told_with_the_code_of_no_agent() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.sock");
    assert_eq!(found(&absent), (only("agent-not-running", None), 3));
    let said = doctor(&absent, &[]);
    assert!(stdout(&said).contains("do: start it"), "{said:?}");

    let agent = plan("a").start();
    agent.freeze();
    assert_eq!(found(&agent.plan.socket()), (only("agent-hangs", None), 3));
    agent.signal(Signal::SIGCONT);
    assert_eq!(found(&agent.plan.socket()).1, 0);
}

#[test]
fn a_condition_that_the_agent_states_has_its_code_in_status_and_doctor() {
    let agent = plan("a").seed("no-such-host.invalid").start();
    agent.wait_for("the seed is looked up", |a| a.get("/v1/self")["seeds"][0]["error"].is_string());
    assert_eq!(found(&agent.plan.socket()), (only("seeds-do-not-resolve", Some("no-such-host.invalid")), 4));
    let mut status = assert_cmd::cargo::cargo_bin_cmd!("heartsay");
    let status = status.arg("--socket").arg(agent.plan.socket()).arg("status").output().unwrap();
    let line = "! seeds-do-not-resolve: seed no-such-host.invalid cannot be resolved: ";
    assert!(stdout(&status).contains(line), "{}", stdout(&status));
}

/// Datagrams of one without the key, two of each kind that is told as a hint: another key, no key, another cluster, another
/// version.
fn forge(from: &UdpSocket, to: &Agent) {
    let (ours, elsewhere) = (Cluster::new("tests").unwrap(), Cluster::new("elsewhere").unwrap());
    let another_key = Keyring::parse(&format!("{}=", "E".repeat(43))).unwrap();
    for (cluster, keyring, version) in [
        (&ours, &another_key, None),
        (&ours, &Keyring::empty(), None),
        (&elsewhere, &another_key, None),
        (&ours, &another_key, Some(1)),
    ] {
        let mut datagram = Vec::new();
        heartsay_proto::seal(b"forged", cluster, keyring, [7; 24], &mut datagram);
        datagram[2] = version.unwrap_or(datagram[2]);
        for _ in 0..2 {
            from.send_to(&datagram, to.address()).unwrap();
        }
    }
}

fn with_key(plan: Plan) -> Plan {
    let file = plan.dir().join("keys");
    fs::write(&file, format!("{}=\n", "A".repeat(43))).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap().to_owned();
    plan.flags(&["--key-file", &file])
}

#[test]
fn an_outsider_that_forges_datagrams_hides_nothing_that_is_wrong_here() {
    let seed = UdpSocket::bind(plan("seed").address()).unwrap();
    let seed_at = seed.local_addr().unwrap().to_string();
    // No other code says why: who votes in a zone that nobody has seen is not counted.
    let zones = ["--zone", "east", "--expected", "zones:east=1,west=1,north=1"];
    let without_quorum = with_key(plan("a")).flags(&zones).start();
    let without_seed = with_key(plan("b")).seed(&seed_at).start();
    for (agent, code) in [(&without_quorum, "quorum-not-held"), (&without_seed, "seeds-unreachable")] {
        forge(&seed, agent);
        let shown = || {
            let findings = agent.get("/v1/self")["findings"].clone();
            let codes =
                findings.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned());
            codes.collect::<Vec<_>>()
        };
        let hints = ["key-unknown", "encryption-differs", "cluster-id-differs", "version-old"];
        agent.wait_for("the forgeries are told", |_| {
            let shown = shown();
            hints.iter().all(|hint| shown.iter().any(|code| code == hint))
        });
        agent.wait_for(&format!("{code} is told beside them"), |_| shown().iter().any(|shown| shown == code));
        assert_eq!(shown().len(), hints.len() + 1, "{:?}", shown());
        let (found, exit) = found(&agent.plan.socket());
        assert!(exit == 4 && found.iter().any(|(found, _)| found == code), "{found:?}");
        let metrics = agent.ask("GET", "/metrics", "", "").body;
        assert!(metrics.contains(&format!("code=\"{code}\"}} 1")), "{metrics}");
        let said = agent.get("/v1/self")["findings"][0]["remedy"].as_str().unwrap().to_owned();
        assert!(said.starts_with("if those are members, and no forgery: "), "a forgery is a hint: {said}");
    }
}
