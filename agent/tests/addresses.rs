//! Real agents whose network is not there yet, changes, or has IPv6 only: each in a network namespace, all on one bridge
//! (`scripts/netns.sh`). Says so and passes where that cannot be had: not root, no iproute2, no right to make namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use daemon::exchange;
use serde_json::Value;

#[test]
fn a_host_that_gets_another_address_is_updated_everywhere_and_missed_by_nobody() {
    let Some(mut network) = Network::of(4, "move") else { return };
    for i in 1..=4 {
        network.agent(i, &["--seed", "10.77.0.1", "--seed", "10.77.0.2", "--expected", "4"]);
    }
    network.wait("all see all", |n| (1..=4).all(|i| n.alive(i) == 4));
    network.wait("quorum everywhere", |n| (1..=4).all(|i| n.get(i, "/v1/quorum")["quorum"] == "held"));
    let before = network.member(1, 3);
    let events = network.get(1, "/v1/self")["index"].as_u64();
    network.ip(3, "addr add 10.77.0.33/24 dev eth0");
    network.ip(3, "addr del 10.77.0.3/24 dev eth0");
    // Where the second address hung on the first, it goes with it.
    network.ip_if_it_can(3, "addr add 10.77.0.33/24 dev eth0");
    network.wait("all know the new address", |n| {
        (1..=4).all(|i| n.member(i, 3)["address"] == "10.77.0.33:4327" && n.alive(i) == 4)
    });
    network.wait("it can be reached there", |n| n.member(1, 3)["reachable"] == true);
    let after = network.member(1, 3);
    assert_eq!(after["host_id"], before["host_id"]);
    assert_eq!(after["generation"].as_u64().unwrap(), before["generation"].as_u64().unwrap() + 1);
    network.wait("its heartbeat goes on", |n| {
        n.member(1, 3)["heartbeat"].as_u64() > before["heartbeat"].as_u64()
    });
    for i in [1, 2, 4] {
        let log = network.log(i);
        let told: Vec<&str> = log.lines().filter(|line| line.contains("member=m3")).collect();
        assert!(
            told.iter().any(|line| line.contains("member-update") && line.contains("10.77.0.33")),
            "{log}"
        );
        for kind in ["member-restart", "member-left", "member-down"] {
            assert!(!told.iter().any(|line| line.contains(kind)), "{kind} at m{i}, {events:?}: {log}");
        }
    }
    network.wait("quorum everywhere", |n| (1..=4).all(|i| n.get(i, "/v1/quorum")["quorum"] == "held"));
}

#[test]
fn an_address_that_comes_after_the_start_is_waited_for_and_that_of_containers_is_not_told() {
    let Some(mut network) = Network::of(2, "late") else { return };
    for i in 1..=2 {
        network.ip(i, "link add docker0 type bridge");
        network.ip(i, "addr add 172.17.0.1/16 dev docker0");
        network.ip(i, "link set docker0 up");
        network.ip(i, &format!("addr del 10.77.0.{i}/24 dev eth0"));
        network.agent(i, &["--seed", "10.77.0.1"]);
    }
    network
        .wait("both say what they wait for", |n| (1..=2).all(|i| n.conditions(i).contains("no address yet")));
    for i in 1..=2 {
        network.ip(i, &format!("addr add 10.77.0.{i}/24 dev eth0"));
    }
    network.wait("both meet at their addresses", |n| {
        let at = |by, i| n.member(by, i)["address"] == format!("10.77.0.{i}:4327");
        (1..=2).all(|by| n.alive(by) == 2 && (1..=2).all(|i| at(by, i)))
    });
    network.wait("nothing is left to say", |n| n.conditions(2) == "[]");
}

#[test]
fn the_own_name_at_127_0_1_1_makes_nobody_advertise_loopback() {
    let Some(mut network) = Network::of(2, "debian") else { return };
    for i in 1..=2 {
        let other = 3 - i;
        network.file(i, "hosts", &format!("127.0.0.1 localhost\n127.0.1.1 m{i}\n10.77.0.{other} m{other}\n"));
        network.file(i, "nsswitch.conf", "hosts: files\n");
        network.agent(i, &["--seed", "m1"]);
    }
    network.wait("both meet", |n| (1..=2).all(|i| n.alive(i) == 2));
    for i in 1..=2 {
        assert_eq!(network.member(2, i)["address"], format!("10.77.0.{i}:4327"));
    }
    assert_eq!(network.conditions(1), "[]");
    let rejected = network.get(1, "/v1/stats")["rejected"]["echo"].as_u64().unwrap_or(0);
    assert_eq!(rejected, 0, "it does not call itself");
}

#[test]
fn hosts_with_nothing_but_ipv6_find_one_another_with_the_default_bind_and_hear_refusals() {
    let Some(mut network) = Network::of(3, "six") else { return };
    for i in 1..=3 {
        network.ip(i, "-4 addr flush dev eth0");
        if !network.ip_if_it_can(i, &format!("addr add fd00::{i}/64 dev eth0 nodad")) {
            eprintln!("SKIPPED: no IPv6 here");
            return;
        }
        network.agent(i, &["--seed", "fd00::1", "--advertise", if i == 3 { "fd00::/16" } else { "eth0" }]);
    }
    network.wait("all see all", |n| (1..=3).all(|i| n.alive(i) == 3));
    for i in 1..=3 {
        assert_eq!(network.member(1, i)["address"], format!("[fd00::{i}]:4327"));
    }
    network.kill(3);
    network.wait("the kernel's refusal is heard", |n| {
        n.member(1, 3)["status"] == "down" && n.log(1).contains("its host refuses datagrams")
    });
}

#[test]
fn a_service_of_the_name_server_is_a_seed_and_its_records_say_the_ports() {
    if Command::new("dnsmasq").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no dnsmasq");
        return;
    }
    let Some(mut network) = Network::of(3, "srv") else { return };
    network.run(
        1,
        &[
            "dnsmasq",
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
            "--pid-file",
            "--user=root",
            "--bind-interfaces",
            "--listen-address=10.77.0.1",
            "--host-record=a.example.org,10.77.0.1",
            "--host-record=b.example.org,10.77.0.2",
            "--srv-host=_heartsay._udp.example.org,a.example.org,5001,10,5",
            "--srv-host=_heartsay._udp.example.org,b.example.org,5002,20,5",
        ],
    );
    for i in 1..=3 {
        network.file(i, "resolv.conf", "nameserver 10.77.0.1\noptions timeout:1 attempts:2\n");
        network.file(i, "nsswitch.conf", "hosts: dns\n");
        let bind = format!("0.0.0.0:500{i}");
        network.agent(i, &["--seed", "_heartsay._udp.example.org", "--bind", &bind]);
    }
    network.wait("all see all", |n| (1..=3).all(|i| n.alive(i) == 3));
    let seed = &network.get(3, "/v1/self")["seeds"][0];
    let addresses: Vec<&str> =
        seed["addresses"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert_eq!(addresses, ["10.77.0.1:5001", "10.77.0.2:5002"], "the lower priority number first");
    // One that has no records is named, and the others still count.
    network.kill(3);
    network.agent(
        3,
        &["--seed", "_nothing._udp.example.org", "--seed", "10.77.0.2:5002", "--bind", "0.0.0.0:5003"],
    );
    network.wait("it joins by the other seed", |n| n.alive(3) == 3);
    assert!(
        network
            .conditions(3)
            .contains("_nothing._udp.example.org cannot be resolved: the name has no SRV records"),
        "{}",
        network.conditions(3)
    );
}

#[test]
fn two_members_at_one_address_are_named_to_all_others() {
    let Some(mut network) = Network::of(3, "twice") else { return };
    network.agent(1, &["--seed", "10.77.0.1"]);
    network.agent(2, &["--seed", "10.77.0.1"]);
    network.agent(3, &["--seed", "10.77.0.1", "--advertise", "10.77.0.2"]);
    network.wait("the first names both", |n| n.conditions(1).contains("m2 and m3 at 10.77.0.2:4327"));
}

/// A network of namespaces with agents in some of them; all gone when dropped.
struct Network {
    prefix: String,
    dir: tempfile::TempDir,
    agents: Vec<(usize, Child)>,
}

impl Network {
    /// So many hosts `m1`, `m2`, ... at 10.77.0.1 and so on; `None`, and a word on stderr, where it cannot be done.
    fn of(hosts: usize, purpose: &str) -> Option<Self> {
        let prefix = format!("hsa{}{purpose}", std::process::id());
        let network = Self { prefix, dir: tempfile::tempdir().unwrap(), agents: Vec::new() };
        let output = network.script(&["net", &hosts.to_string()]).output().unwrap();
        match output.status.code() {
            Some(0) => Some(network),
            Some(CANNOT) => {
                eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            _ => panic!("{output:?}"),
        }
    }

    fn script(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/netns.sh"));
        command.args(verb).env("HEARTSAY_NETNS", &self.prefix).env("HEARTSAY_NETNS_DIR", self.dir.path());
        command
    }

    fn namespace(&self, i: usize) -> String {
        format!("{}-{i}", self.prefix)
    }

    fn ip_if_it_can(&self, i: usize, words: &str) -> bool {
        let output =
            Command::new("ip").args(["-n", &self.namespace(i)]).args(words.split(' ')).output().unwrap();
        output.status.success()
    }

    fn ip(&self, i: usize, words: &str) {
        assert!(self.ip_if_it_can(i, words), "ip {words}");
    }

    /// What is in this file of /etc, for those who start in the namespace from now on.
    fn file(&self, i: usize, name: &str, text: &str) {
        let dir = self.etc(i);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }

    fn etc(&self, i: usize) -> PathBuf {
        PathBuf::from("/etc/netns").join(self.namespace(i))
    }

    /// Starts a process there.
    fn run(&mut self, i: usize, words: &[&str]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path(i)).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(i)]).args(words);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEARTSAY_")) {
            command.env_remove(name);
        }
        command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // ip becomes the process: same id.
        self.agents.push((i, command.spawn().unwrap()));
    }

    fn agent(&mut self, i: usize, flags: &[&str]) {
        let (name, state) = (format!("m{i}"), self.dir.path().join(format!("state{i}")));
        let socket = self.socket(i);
        let (state, socket) = (state.to_str().unwrap().to_owned(), socket.to_str().unwrap().to_owned());
        let own = [
            env!("CARGO_BIN_EXE_heartsay"),
            "agent",
            "--config",
            "/dev/null",
            "--cluster",
            "addresses",
            "--name",
            &name,
            "--state-dir",
            &state,
            "--socket",
            &socket,
        ];
        self.run(i, &[&own, flags].concat());
    }

    fn kill(&mut self, i: usize) {
        let (_, child) = self.agents.iter_mut().rfind(|(host, _)| *host == i).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn socket(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("{i}.sock"))
    }

    fn log_path(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("{i}.log"))
    }

    fn log(&self, i: usize) -> String {
        fs::read_to_string(self.log_path(i)).unwrap_or_default()
    }

    /// The JSON at `path`; null while it does not answer.
    fn get(&self, i: usize, path: &str) -> Value {
        let response = exchange(&self.socket(i), "GET", path, "", "");
        response.map_or(Value::Null, |response| serde_json::from_str(&response.body).unwrap_or_default())
    }

    fn member(&self, by: usize, i: usize) -> Value {
        self.get(by, &format!("/v1/members/m{i}"))
    }

    fn alive(&self, by: usize) -> usize {
        let members = self.get(by, "/v1/members?status=alive");
        members["members"].as_array().map_or(0, Vec::len)
    }

    fn conditions(&self, i: usize) -> String {
        self.get(i, "/v1/self")["conditions"].to_string()
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..TRIES {
            if done(self) {
                return;
            }
            thread::sleep(PAUSE);
        }
        let logs: Vec<String> = (1..=4).map(|i| format!("--- m{i}\n{}", self.log(i))).collect();
        panic!("waited in vain until {what}:\n{}", logs.join("\n"));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for (i, child) in &mut self.agents {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_dir_all(PathBuf::from("/etc/netns").join(format!("{}-{i}", self.prefix)));
        }
        let _ = self.script(&["down"]).output();
    }
}

/// Exit code of the script where the machine does not allow it.
const CANNOT: i32 = 3;
const PAUSE: Duration = Duration::from_millis(50);
/// 45 s: generous for a loaded machine, and only ever waited in full by a failure.
const TRIES: usize = 900;
