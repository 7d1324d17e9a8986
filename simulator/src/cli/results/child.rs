//! One command of this program in a process of its own: it can be ended, and its memory goes with it.

use core::time::Duration;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::Context as _;
use heartsay_simulator::scenario::Span;

/// What became of a command.
pub(super) enum Ended {
    /// It ended by itself.
    Said {
        /// Its standard output.
        out: String,
        /// Its exit code; -1 if a signal ended it.
        code: i32,
    },
    /// It took too long and was ended.
    Late,
}

/// Runs this program with the words of `command` and `more`. Its progress goes where ours goes.
pub(super) fn run(command: &str, more: &[&str], limit: Duration) -> anyhow::Result<Ended> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .args(command.split_whitespace())
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start heartsay-sim {command}"))?;
    let mut out = child.stdout.take().context("no output to read")?;
    let (send, receive) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let read = out.read_to_string(&mut text);
        // The receiver has gone when the time is over.
        let _ = send.send(read.map(|_| text));
    });
    let said = receive.recv_timeout(limit);
    if said.is_err() {
        child.kill().with_context(|| format!("cannot end heartsay-sim {command}"))?;
    }
    let status = child.wait()?;
    // The other end of its pipe is closed, so that it ends.
    let _ = reader.join();
    Ok(match said {
        Ok(text) => Ended::Said { out: text?, code: status.code().unwrap_or(-1) },
        Err(_) => Ended::Late,
    })
}

impl Ended {
    /// What it said, for a page.
    pub(super) fn text(self, limit: Span) -> String {
        match self {
            Self::Said { out, code: 0 | 1 } => out.trim_end().to_owned(),
            Self::Said { out, code } => format!("{out}failed with exit code {code}"),
            Self::Late => format!("not finished in {limit}"),
        }
    }
}
