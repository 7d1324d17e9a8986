//! The verbs against real agents: every command that the documentation shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod said;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use said::{code, stderr, stdout};

use heartsay_client::types;
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn one_agent_alone_answers_every_question() {
    let a = Agent::start("a", &["--tag", "role=db", "--expected", "1"]);
    a.wait("alive>=1");
    for format in ["table", "json", "jsonl", "yaml"] {
        for verb in [&["members"][..], &["status"], &["why", "a"], &["phi"], &["version"], &["tags"]] {
            let output = a.run(&[verb, &["-o", format]].concat());
            assert_eq!(code(&output), 0, "{verb:?} {format}: {}", stderr(&output));
            assert!(!output.stdout.is_empty(), "{verb:?} {format}");
        }
    }
    let members: types::Members = a.json(&["members"]);
    assert_eq!((members.me.as_str(), members.members.len()), ("a", 1));
    assert_eq!(members.members[0].tags["role"], "db");
    let me: types::SelfInfo = a.json(&["status"]);
    assert_eq!((me.cluster.as_str(), me.profile.as_str(), me.pid), ("test", "local", a.child.id()));
    a.wait("quorum");
    assert_eq!(code(&a.run(&["quorum"])), 0);
    assert_eq!(code(&a.run(&["members", "--status", "down"])), 4);
    assert_eq!(code(&a.run(&["members", "--tag", "role=web"])), 4);
    assert_eq!(code(&a.run(&["members", "--tag", "role=db", "--status", "alive"])), 0);
    let output = a.run(&["why", "b"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("no member is called b"), "{}", stderr(&output));
    let output = a.run(&["forget", "a"]);
    assert_eq!(code(&output), 1, "a member does not forget itself: {}", stdout(&output));
    let output = a.run(&["watch", "--since", "999999999"]);
    assert_ne!(code(&output), 0, "an index from the future: {}", stdout(&output));
}

#[test]
fn a_life_from_joining_to_being_forgotten() {
    let a = Agent::start("a", &[]);
    let mut b = Agent::start("b", &[]);
    a.wait("alive==1");

    let output = b.run(&["join", &a.address(), "--timeout", "20s"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    a.wait("alive==2 && b=alive");
    b.wait("alive==2 && joined");

    assert_eq!(code(&b.run(&["tags", "set", "role=web", "shard=7"])), 0);
    assert_eq!(stdout(&b.run(&["tags", "delete", "shard"])).trim(), "role=web");
    a.until("the tag is seen", || code(&a.run(&["members", "--tag", "role=web"])) == 0);

    let first: types::Member = a.json(&["why", "b"]);
    b.kill();
    a.wait("b=down");
    let text = stdout(&a.run(&["why", "b"]));
    assert!(text.contains("b is down") && text.contains("Them or us?"), "{text}");
    assert!(stdout(&a.run(&["members"])).contains("down"));

    b.start_again();
    a.wait("b=alive");
    let second: types::Member = a.json(&["why", "b"]);
    assert!(second.generation > first.generation);

    let output = b.run(&["leave"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).starts_with("left"), "{}", stdout(&output));
    assert!(b.child.wait().unwrap().success(), "an agent that has left ends well");
    assert_eq!(code(&b.run(&["members"])), 3);
    a.wait("b=left");
    assert_eq!(code(&a.run(&["forget", "b"])), 0);
    a.wait("members==1");
    let output = a.run(&["forget", "b"]);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
}

/// The acceptable pause is longer than this test waits.
#[test]
fn a_member_that_a_source_calls_gone_and_that_does_not_answer_is_down_without_the_pause() {
    let trusting = ["--acceptable-pause", "5m", "--trusted-source", "libvirt"];
    let a = Agent::start("a", &trusting);
    let b = Agent::start("b", &trusting);
    a.wait("alive==1");
    b.wait("alive==1");
    assert_eq!(code(&b.run(&["join", &a.address(), "--timeout", "20s"])), 0);
    a.wait("b=alive");
    let output = a.run(&["testify", "b", "dead", "--source", "ec2"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("trusted_sources"), "{}", stderr(&output));
    let told = || assert_eq!(code(&a.run(&["testify", "b", "dead", "--source", "libvirt"])), 0);
    told();
    a.wait("b=alive");
    let stopped = nix::unistd::Pid::from_raw(b.child.id().try_into().unwrap());
    nix::sys::signal::kill(stopped, nix::sys::signal::Signal::SIGSTOP).unwrap();
    told();
    a.wait("b=down");
    let text = stdout(&a.run(&["why", "b"]));
    assert!(text.contains("told by libvirt; silence, also when asked"), "{text}");
    let events = stdout(&a.run(&["history", "b", "-o", "jsonl"]));
    assert!(events.contains("libvirt says that it is gone, and it does not answer"), "{events}");
    nix::sys::signal::kill(stopped, nix::sys::signal::Signal::SIGCONT).unwrap();
    a.wait("b=alive");
}

#[test]
fn watch_begins_with_a_snapshot_and_resumes_without_a_gap() {
    let a = Agent::start("a", &[]);
    a.wait("alive==1");
    let mut follow = a.command(&["watch", "-o", "jsonl"]).spawn().unwrap();
    let lines = lines_of(&mut follow);
    let snapshot: types::WatchLine = next(&lines);
    assert_eq!(snapshot.kind, "snapshot");

    let b = Agent::start("b", &["--seed", &a.address()]);
    let join = std::iter::repeat_with(|| next(&lines)).find(|l| l.kind == "member-join").unwrap();
    assert_eq!((join.name.as_deref(), join.status.as_deref()), (Some("b"), Some("alive")));
    assert!(join.index > snapshot.index);
    let _ = follow.kill();
    let _ = follow.wait();

    let since = snapshot.index.to_string();
    let mut resumed =
        a.command(&["watch", "-o", "jsonl", "--since", &since, "--no-reconnect"]).spawn().unwrap();
    let lines = lines_of(&mut resumed);
    let again = std::iter::repeat_with(|| next(&lines)).find(|l| l.kind == "member-join").unwrap();
    assert_eq!((again.index, again.name), (join.index, join.name));
    drop(a);
    drop(b);
    assert_eq!(resumed.wait().unwrap().code(), Some(3), "the stream ends with the agent");
}

#[test]
fn config_shows_where_each_value_comes_from() {
    let run = |args: &[&str]| {
        let mut command = clean_command();
        command.args(args).env("HEARTSAY_ZONE", "rack-1").env("XDG_RUNTIME_DIR", "/run/user/0");
        command.output().unwrap()
    };
    let output = run(&["config", "show", "--config", "/dev/null", "--cluster", "test", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let shown: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let origin = |key: &str| shown.iter().find(|s| s["key"] == key).unwrap()["origin"].clone();
    assert_eq!(
        [origin("cluster"), origin("zone"), origin("profile")],
        ["--cluster", "HEARTSAY_ZONE", "default"]
    );
    let text = stdout(&run(&["config", "show", "--config", "/dev/null", "--cluster", "test"]));
    assert!(text.contains("HEARTSAY_ZONE") && text.contains("rack-1"), "{text}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    std::fs::write(&file, "cluster = \"test\"\nintervall = \"1s\"\n").unwrap();
    let output = run(&["config", "check", file.to_str().unwrap()]);
    assert_eq!(code(&output), 2, "{}", stdout(&output));
    assert!(stderr(&output).contains("bad.toml:2"), "{}", stderr(&output));
    assert!(stderr(&output).contains("did you mean \"interval\"?"), "{}", stderr(&output));
}

#[test]
fn an_agent_that_hangs_on_its_stdin_ends_with_it() {
    let mut a = Agent::start("a", &["--exit-with-stdin"]);
    a.wait("alive==1");
    drop(a.child.stdin.take());
    a.until_ended();
}

/// A real agent; ends with this value.
struct Agent {
    name: &'static str,
    args: Vec<String>,
    dir: TempDir,
    child: Child,
}

impl Agent {
    fn start(name: &'static str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let child = Self::spawn(name, dir.path(), &args, "127.0.0.1:0");
        Self { name, args, dir, child }
    }

    /// A new life at the same address.
    fn start_again(&mut self) {
        let bind = std::fs::read_to_string(self.dir.path().join("address")).unwrap();
        self.child = Self::spawn(self.name, self.dir.path(), &self.args, &bind);
    }

    fn spawn(name: &str, dir: &Path, args: &[String], bind: &str) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        clean_command()
            .args(["agent", "--config", "/dev/null", "--cluster", "test", "--profile", "local"])
            .args(["--name", name, "--bind", bind])
            .arg("--socket")
            .arg(dir.join("sock"))
            .arg("--state-dir")
            .arg(dir.join("state"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = clean_command();
        command.arg("--socket").arg(self.dir.path().join("sock")).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json<T: serde::de::DeserializeOwned>(&self, args: &[&str]) -> T {
        let output = self.run(&[args, &["-o", "json"]].concat());
        assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn wait(&self, condition: &str) {
        let output = self.run(&["wait", "--for", condition, "--timeout", "30s"]);
        assert_eq!(code(&output), 0, "{}: {condition}: {}\n{}", self.name, stderr(&output), self.log());
    }

    /// For what no event tells.
    fn until(&self, what: &str, done: impl Fn() -> bool) {
        for _ in 0..300 {
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{}: in vain: {what}\n{}", self.name, self.log());
    }

    fn until_ended(&mut self) {
        for _ in 0..300 {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{} goes on and on\n{}", self.name, self.log());
    }

    /// Where it gossips; kept for [`Self::start_again`].
    fn address(&self) -> String {
        let me: types::SelfInfo = self.json(&["status"]);
        me.member.address
    }

    fn kill(&mut self) {
        let address = self.address();
        std::fs::write(self.dir.path().join("address"), address).unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn clean_command() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("heartsay"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("HEARTSAY_")) {
        command.env_remove(key);
    }
    command
}

/// Lines as they come, read elsewhere so that a missing one does not hang the test.
fn lines_of(child: &mut Child) -> std::sync::mpsc::Receiver<String> {
    use std::io::BufRead as _;
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

fn next(lines: &std::sync::mpsc::Receiver<String>) -> types::WatchLine {
    serde_json::from_str(&lines.recv_timeout(Duration::from_secs(30)).expect("no further line")).unwrap()
}
