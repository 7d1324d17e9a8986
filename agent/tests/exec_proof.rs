//! How long `exec` believes a proof of quorum, asked of a made-up agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

#[test]
fn exec_goes_by_the_time_that_is_left_whatever_the_wall_clock_says() {
    // The wall clock of the agent is years behind, or ours is ahead.
    let agent = Fake::start(|_| Some(1.4));
    let mut guarded = agent.exec(&[], "sleep 3; exit 7");
    assert_eq!(guarded.wait().unwrap().code(), Some(7));
}

#[test]
fn exec_starts_nothing_again_by_a_proof_that_has_run_out() {
    // The first answer is the last one: the agent stands still.
    let agent = Fake::start(|question| (question == 0).then_some(0.3));
    let starts = agent.dir.path().join("starts");
    let script = format!("echo >> {}; exec sleep 1000", starts.display());
    let mut guarded = agent.exec(&["--restart"], &script);
    agent.wait_for("the question that got no answer is given up, and another is asked", |agent| {
        agent.asked() >= 3
    });
    assert_eq!(fs::read_to_string(&starts).unwrap().lines().count(), 1);
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(guarded.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    );
    guarded.wait().unwrap();
}

/// Says that quorum is held by a proof that ended long ago by the wall clock.
struct Fake {
    dir: TempDir,
    asked: Arc<AtomicUsize>,
}

impl Fake {
    /// `left`: seconds that the proof is good, by the number of the question; `None`: no answer.
    fn start(left: impl Fn(usize) -> Option<f64> + Send + Copy + 'static) -> Self {
        let fake = Self { dir: tempfile::tempdir().unwrap(), asked: Arc::default() };
        let listener = UnixListener::bind(fake.dir.path().join("sock")).unwrap();
        let asked = Arc::clone(&fake.asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, asked) = (stream.unwrap(), Arc::clone(&asked));
                thread::spawn(move || answer(stream, &asked, left));
            }
        });
        fake
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn exec(&self, flags: &[&str], script: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
        command
            .arg("--socket")
            .arg(self.dir.path().join("sock"))
            .args(["exec", "--while-quorum"])
            .args(flags);
        command.args(["--", "/bin/sh", "-c", script]).stdin(Stdio::null()).spawn().unwrap()
    }

    fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..1500 {
            if condition(self) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("waited in vain until {what}");
    }
}

fn answer(mut stream: UnixStream, asked: &AtomicUsize, left: impl Fn(usize) -> Option<f64>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        let quorum = line.starts_with("GET /v1/quorum");
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap() == 0 {
                return;
            }
        }
        line.clear();
        let said = match quorum {
            true => left(asked.fetch_add(1, Ordering::Relaxed)).map(|left| {
                let body = format!(
                    r#"{{"quorum":"held","present":1,"needed":1,"expected":1,"reason":"","since":"2000-01-01T00:00:00Z",
                    "electorate":"1","until":"2000-01-01T00:00:01Z","left_seconds":{left},"fence":false}}"#
                );
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }),
            // A stream in which nothing happens.
            false => Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
        };
        if let Some(said) = said {
            // It may have gone.
            let _ = stream.write_all(said.as_bytes());
        }
    }
}
