//! Hosts for the tests: each a network namespace, all on one bridge (`scripts/cluster/netns.sh`), with agents in some or all of
//! them. Says so on standard error and gives none where that cannot be had: not root, no iproute2 or nftables, no right to
//! make namespaces.

#![allow(dead_code, reason = "every test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of any test function"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use heartsay_spec::merge;
use heartsay_spec::trace::Words;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::daemon::exchange;
use crate::skipped::skipped;

/// Hosts `m1`, `m2`, ... at 10.77.0.1 and so on; all gone when dropped.
pub struct Network {
    prefix: String,
    dir: tempfile::TempDir,
    /// Those that were started here, not by the script.
    agents: Vec<(usize, Child)>,
    patience: Duration,
}

impl Network {
    /// So many hosts with an agent on each, which expects as many.
    pub fn of(members: usize, purpose: &str) -> Option<Self> {
        Self::flagged(members, purpose, &[])
    }

    /// The same, each with these flags.
    pub fn flagged(members: usize, purpose: &str, flags: &[&str]) -> Option<Self> {
        Self::made(purpose, AFTER_A_HEAL, &[&["up", &members.to_string()], flags].concat())
    }

    /// So many hosts, with nothing on them yet.
    pub fn bare(hosts: usize, purpose: &str) -> Option<Self> {
        Self::made(purpose, LOADED, &["net", &hosts.to_string()])
    }

    fn made(purpose: &str, patience: Duration, verb: &[&str]) -> Option<Self> {
        let prefix = format!("hst{}{purpose}", std::process::id());
        let network = Self { prefix, dir: tempfile::tempdir().unwrap(), agents: Vec::new(), patience };
        fs::create_dir(network.files()).unwrap();
        match network.script(verb) {
            Ok(()) => Some(network),
            Err(output) if output.status.code() == Some(CANNOT) => {
                skipped(String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(output) => panic!("{output:?}"),
        }
    }

    /// `scripts/cluster/netns.sh` with this verb.
    pub fn script(&self, verb: &[&str]) -> Result<(), Output> {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/cluster/netns.sh"));
        command.args(verb).env("HEARTSAY_NETNS", &self.prefix).env("HEARTSAY_NETNS_DIR", self.files());
        let output = command.env("HEARTSAY_BIN", env!("CARGO_BIN_EXE_heartsay")).output().unwrap();
        if output.status.success() { Ok(()) } else { Err(output) }
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("netns")
    }

    pub fn namespace(&self, i: usize) -> String {
        format!("{}-{i}", self.prefix)
    }

    pub fn ip_if_it_can(&self, i: usize, words: &str) -> bool {
        let output =
            Command::new("ip").args(["-n", &self.namespace(i)]).args(words.split(' ')).output().unwrap();
        output.status.success()
    }

    pub fn ip(&self, i: usize, words: &str) {
        assert!(self.ip_if_it_can(i, words), "ip {words}");
    }

    /// What is in this file of /etc, for programs that start in the namespace from now on.
    pub fn file(&self, i: usize, name: &str, text: &str) {
        let dir = self.etc(i);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }

    pub fn etc(&self, i: usize) -> PathBuf {
        PathBuf::from("/etc/netns").join(self.namespace(i))
    }

    /// Starts a process there.
    pub fn run(&mut self, i: usize, words: &[&str]) {
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

    pub fn agent(&mut self, i: usize, flags: &[&str]) {
        let (name, state) = (format!("m{i}"), self.files().join(format!("state{i}")));
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

    /// Starts a name server at 10.77.0.i with these records.
    pub fn name_server(&mut self, i: usize, records: &[&str]) {
        let listen = format!("--listen-address=10.77.0.{i}");
        let own = [
            "dnsmasq",
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
            "--pid-file",
            "--user=root",
            "--bind-interfaces",
            &listen,
        ];
        self.run(i, &[&own, records].concat());
    }

    /// Kills what was started first: the name server.
    pub fn kill_server(&mut self) {
        let (_, child) = self.agents.first_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn post(&self, i: usize, path: &str, body: &str) {
        let json = "Content-Type: application/json\r\n";
        let response = exchange(&self.socket(i), "POST", path, json, body).unwrap();
        assert!(response.status < 300, "{}", response.body);
    }

    pub fn kill(&mut self, i: usize) {
        let (_, child) = self.agents.iter_mut().rfind(|(host, _)| *host == i).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The process that was started last on host `i` gets a signal.
    pub fn signal(&self, i: usize, signal: Signal) {
        let (_, child) = self.agents.iter().rfind(|(host, _)| *host == i).unwrap();
        nix::sys::signal::kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    }

    /// How many ICMP messages that say "unreachable" host `i` has received.
    pub fn unreachables(&self, i: usize) -> u64 {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(i), "cat", "/proc/net/snmp"]);
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp: "));
        let (names, counts) = (lines.next().unwrap(), lines.next().unwrap());
        let mut pairs = names.split(' ').zip(counts.split(' '));
        pairs.find(|(name, _)| *name == "InDestUnreachs").unwrap().1.parse().unwrap()
    }

    pub fn socket(&self, i: usize) -> PathBuf {
        self.files().join(format!("{i}.sock"))
    }

    pub fn log_path(&self, i: usize) -> PathBuf {
        self.files().join(format!("{i}.log"))
    }

    pub fn log(&self, i: usize) -> String {
        fs::read_to_string(self.log_path(i)).unwrap_or_default()
    }

    /// The JSON at `path`; null while it does not answer.
    pub fn get(&self, i: usize, path: &str) -> Value {
        let response = exchange(&self.socket(i), "GET", path, "", "");
        response.map_or(Value::Null, |response| serde_json::from_str(&response.body).unwrap_or_default())
    }

    pub fn member(&self, by: usize, i: usize) -> Value {
        self.get(by, &format!("/v1/members/m{i}"))
    }

    /// What agent `by` says of its direct path to `i`.
    pub fn path(&self, by: usize, i: usize) -> Value {
        let paths = self.get(by, "/v1/paths");
        let rows = paths["paths"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == format!("m{i}")).unwrap_or_default()
    }

    pub fn alive(&self, by: usize) -> usize {
        let members = self.get(by, "/v1/members?status=alive");
        members["members"].as_array().map_or(0, Vec::len)
    }

    pub fn conditions(&self, i: usize) -> String {
        self.get(i, "/v1/self")["conditions"].to_string()
    }

    pub fn quorum(&self, i: usize) -> String {
        self.get(i, "/v1/quorum")["quorum"].as_str().unwrap_or_default().to_owned()
    }

    /// The members that agent `i` sees in this status, by number, in the order of their names.
    pub fn with(&self, i: usize, status: &str) -> Vec<usize> {
        let members = self.get(i, &format!("/v1/members?status={status}"));
        let members = members["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["name"].as_str().unwrap()[1..].parse().unwrap()).collect()
    }

    /// What agent `i` says of the lease that `j` had.
    pub fn fenced(&self, i: usize, j: usize) -> Option<bool> {
        self.member(i, j)["fenced"].as_bool()
    }

    pub fn sees_alive(&self, i: usize, count: usize) -> bool {
        self.with(i, "alive").len() == count
    }

    /// The lives that agent `i` knows, by name.
    pub fn generations(&self, i: usize) -> BTreeMap<String, u64> {
        let members = self.get(i, "/v1/members");
        let members = members["members"].as_array().unwrap().iter();
        members.map(|m| (m["name"].as_str().unwrap().to_owned(), m["generation"].as_u64().unwrap())).collect()
    }

    /// Compares what the logs of all agents tell of one another and of quorum, in the order of time, with the specification.
    /// Returns how many lines there were.
    pub fn compare(&self, members: usize) -> usize {
        // Each line begins with its time; all have one clock.
        let mut lines: Vec<(String, String)> = Vec::new();
        for i in 1..=members {
            lines.extend(self.log(i).lines().map(|line| (line.to_owned(), format!("m{i}"))));
        }
        lines.sort();
        let (mut words, mut compared) = (Words::default(), 0);
        for (line, observer) in lines {
            let field = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
            if let Some(quorum) = field("quorum=") {
                words.says(observer, quorum == "held");
                compared += 1;
                continue;
            }
            let Some((subject, status)) = field("member=").zip(field("status=")) else { continue };
            let subject = subject.to_owned();
            compared += 1;
            if line.contains("member-forgotten") {
                words.forgets(observer, subject);
                continue;
            }
            let number = |key| field(key).unwrap().parse().unwrap();
            let status = match status {
                "down" => merge::Status::Down,
                "left" => merge::Status::Left,
                _ => merge::Status::Alive,
            };
            let told =
                merge::Told { generation: number("generation="), heartbeat: number("heartbeat="), status };
            assert_eq!(words.tells(observer.clone(), subject.clone(), told), None, "{observer}: {line}");
            assert!(!words.overlap(&observer, &subject), "both hold quorum: {observer}: {line}");
        }
        compared
    }

    pub fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let began = now();
        while !done(self) {
            if now() - began > self.patience {
                panic!("waited in vain until {what}; the logs:\n{}", self.logs());
            }
            thread::sleep(PAUSE);
        }
        eprintln!("{what}: after {:.1?}", now() - began);
    }

    fn logs(&self) -> String {
        let logs = (1..).map_while(|i| Some((i, fs::read_to_string(self.log_path(i)).ok()?)));
        logs.map(|(i, log)| format!("--- m{i}\n{log}")).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for (i, child) in &mut self.agents {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_dir_all(PathBuf::from("/etc/netns").join(format!("{}-{i}", self.prefix)));
        }
        if let Err(output) = self.script(&["down"])
            && output.status.code() != Some(CANNOT)
        {
            eprintln!("not all could be removed: {output:?}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "real agents run in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Exit code of the script where the machine does not allow it.
const CANNOT: i32 = 3;
const PAUSE: Duration = Duration::from_millis(50);
/// As much as is promised after a heal; the rest is faster.
const AFTER_A_HEAL: Duration = Duration::from_secs(10);
/// Generous for a loaded machine, and only ever waited in full by a failure.
const LOADED: Duration = Duration::from_secs(45);
