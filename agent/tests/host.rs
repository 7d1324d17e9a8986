//! What a host does to an agent that runs on it: files that vanish, disks that cannot be written, signals, another cluster.
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
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use daemon::{exchange, plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use skipped::skipped;

#[test]
fn a_socket_that_is_removed_under_a_running_agent_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let a = plan("a").with_socket(&run.join("heartsay.sock")).start();
    let mut watch = a.watch("", "");
    assert_eq!(watch.line()["type"], "snapshot");
    // The lock goes along.
    fs::remove_dir_all(&run).unwrap();
    a.wait_for("it answers again", |a| a.try_get("/livez/").is_some());
    assert_eq!(a.post("/v1/tags", r#"{"set":{"role":"web"}}"#).status, 200);
    watch.until("member-update", "a");
    a.wait_log("the socket was removed, and is there again");
}

#[test]
fn a_socket_of_another_program_is_left_alone_and_taken_back_when_that_is_gone() {
    let a = plan("a").start();
    let socket = a.plan.socket();
    fs::remove_file(&socket).unwrap();
    let other = UnixListener::bind(&socket).unwrap();
    let pid = format!("belongs to a running process (pid {}", std::process::id());
    a.wait_for("it says so", |a| a.log().contains(&pid));
    drop(other);
    a.wait_for("it answers again", |a| a.try_get("/livez").is_some());
    a.wait_for("nothing is wrong any more", |a| a.get("/v1/self")["conditions"] == Value::Array(vec![]));
}

#[test]
fn an_agent_starts_on_a_disk_that_is_read_only_and_catches_up_when_it_is_not() {
    let before = Life::start("any", "a", &[]);
    let first = before.me();
    let dir = before.stop();
    let state = dir.path().join("state");
    let state = state.to_str().unwrap();
    let read_only = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", read_only, state];
    let possible = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skipped("no right to mount");
        return;
    }
    let life = Life::start_in(dir, "any", "a", &wrapper);
    let me = life.me();
    assert!(me["member"]["generation"].as_u64() > first["member"]["generation"].as_u64());
    assert_eq!(me["member"]["host_id"], first["member"]["host_id"]);
    life.wait_for("it says so", |me| {
        me["conditions"].to_string().contains("state directory cannot be written (generation")
    });
    let pid = life.child.id().to_string();
    let nsenter = ["--mount", "--target", &pid, "mount", "-o", "remount,rw,bind", state];
    assert!(Command::new("nsenter").args(nsenter).status().unwrap().success());
    life.wait_for("it is written", |me| me["conditions"] == Value::Array(vec![]));
    let kept = fs::read_to_string(life.dir().join("state/generation")).unwrap();
    assert!(kept.trim_end().ends_with(&format!(" {}", me["member"]["generation"])), "{kept}");
}

#[test]
fn a_host_that_moves_to_another_cluster_remembers_no_member_of_the_old_one() {
    let a = Life::start("old", "a", &[]);
    let seed = a.me()["member"]["address"].as_str().unwrap().to_owned();
    let b = Life::start("old", "b", &["--seed", &seed]);
    b.wait_for("it knows the other", |me| me["counts"]["alive"] == 2);
    let id = b.me()["member"]["host_id"].clone();
    let dir = b.stop();
    assert!(fs::read_to_string(dir.path().join("state/peers")).unwrap().contains("cluster = old"));
    let b = Life::start_in(dir, "new", "b", &[]);
    assert_eq!(b.me()["member"]["host_id"], id);
    assert!(b.dir().join("state/peers.other-cluster").exists());
    // The log is written by a thread of its own.
    let log = b.dir().join("log");
    let said = |_: &Value| {
        let log = fs::read_to_string(&log).unwrap();
        log.matches("the state directory is of another cluster").count() == 1
    };
    b.wait_for("it says so once", said);
}

#[test]
fn a_signal_without_a_meaning_ends_no_agent_and_quit_says_good_bye() {
    let mut a = plan("a").start();
    a.signal(Signal::SIGUSR2);
    a.wait_for("it says so", |a| a.log().contains("SIGUSR2 means nothing"));
    a.signal(Signal::SIGQUIT);
    assert_eq!(a.wait().code(), Some(0), "{}", a.log());
}

/// An agent of a cluster of one's choice, in what surroundings one likes.
struct Life {
    child: Child,
    dir: Option<tempfile::TempDir>,
}

impl Life {
    fn start(cluster: &str, name: &str, flags: &[&str]) -> Self {
        Self::launch(tempfile::tempdir().unwrap(), cluster, name, &[], flags)
    }

    fn start_in(dir: tempfile::TempDir, cluster: &str, name: &str, wrapper: &[&str]) -> Self {
        Self::launch(dir, cluster, name, wrapper, &[])
    }

    fn launch(dir: tempfile::TempDir, cluster: &str, name: &str, wrapper: &[&str], flags: &[&str]) -> Self {
        let agent = [env!("CARGO_BIN_EXE_heartsay"), "agent", "--cluster", cluster, "--name", name];
        let words = [wrapper, &agent].concat();
        let bind = format!("{}:4327", daemon::own_ip());
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log")).unwrap();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["--bind", &bind]).args(flags);
        command.arg("--state-dir").arg(dir.path().join("state")).arg("--socket").arg(dir.path().join("sock"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let life = Self { child, dir: Some(dir) };
        life.wait_for("it answers", |_| true);
        life
    }

    fn dir(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    fn me(&self) -> Value {
        exchange(&self.dir().join("sock"), "GET", "/v1/self", "", "").unwrap().json()
    }

    fn wait_for(&self, what: &str, condition: impl Fn(&Value) -> bool) {
        for _ in 0..1500 {
            let answer = exchange(&self.dir().join("sock"), "GET", "/v1/self", "", "");
            if answer.is_ok_and(|answer| condition(&answer.json())) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("waited in vain until {what}:\n{}", fs::read_to_string(self.dir().join("log")).unwrap());
    }

    /// Lets it say good-bye; what it leaves behind.
    fn stop(mut self) -> tempfile::TempDir {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
        self.dir.take().unwrap()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
