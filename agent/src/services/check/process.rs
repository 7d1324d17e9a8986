//! Whether the process of a pid file runs. The kernel tells when it ends ([`pidfd_open(2)`](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)).
//!
//! Weak spot: of a pid file that was left behind, another process may have got the number since. It is believed.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use heartsay_tokio::readable;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::aside::Aside;
use super::probe::Found;

/// The process of one pid file.
#[derive(Debug)]
pub(super) struct Process {
    file: PathBuf,
    reading: Aside<io::Result<Pid>>,
    /// Of the one that ran at the last look.
    runs: Option<OwnedFd>,
}

impl Process {
    /// Of a pid file.
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), reading: Aside::new(), runs: None }
    }

    /// Reads the file anew: it may be of another process than before.
    pub(super) async fn look(&mut self) -> Found {
        self.runs = None;
        let file = self.file.clone();
        let pid = match self.reading.run(move || read(&file)).await {
            Ok(Ok(pid)) => pid,
            Ok(Err(error)) => return Found::critical(format!("pid file: {error}")),
            Err(error) => return Found::critical(format!("pid file: {error}")),
        };
        let number = pid.as_raw_nonzero();
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) if has_ended(&process) => Found::critical(format!("process {number} has ended")),
            Ok(process) => {
                self.runs = Some(process);
                Found::passing(format!("process {number} runs"))
            }
            Err(rustix::io::Errno::SRCH) => Found::critical(format!("there is no process {number}")),
            Err(error) => Found::critical(format!("process {number}: {error}")),
        }
    }

    /// Waits until the process ends.
    pub(super) async fn stirred(&mut self) {
        let Some(process) = self.runs.take() else { return std::future::pending().await };
        if readable(process).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn read(path: &Path) -> io::Result<Pid> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    // PostgreSQL has more lines in it.
    let number = text.lines().next().unwrap_or_default().trim().parse::<i32>().ok();
    number
        .filter(|number| *number > 0)
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("has no number in it"))
}

/// A process that its parent has not looked after yet is there, and has ended.
fn has_ended(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ended| ended > 0)
}

/// Of a pid file.
const LONGEST: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::process::Command;
    use std::time::Duration;

    use crate::services::Health;

    #[tokio::test]
    async fn the_end_of_a_process_is_known_at_once_and_one_that_nobody_buries_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let mut process = Process::new(&file);
        assert_eq!(process.look().await.health, Health::Critical, "no file");
        fs::write(&file, "0\n").unwrap();
        assert_eq!(process.look().await, Found::critical("pid file: has no number in it"));
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(&file, format!("{}\nmore\n", child.id())).unwrap();
        assert_eq!(process.look().await, Found::passing(format!("process {} runs", child.id())));
        child.kill().unwrap();
        tokio::time::timeout(Duration::from_secs(20), process.stirred()).await.unwrap();
        assert_eq!(process.look().await, Found::critical(format!("process {} has ended", child.id())));
        child.wait().unwrap();
        assert_eq!(process.look().await, Found::critical(format!("there is no process {}", child.id())));
        let waited = tokio::time::timeout(Duration::from_millis(20), process.stirred()).await;
        assert!(waited.is_err(), "there is nothing to wait for");
    }
}
