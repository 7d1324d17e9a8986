//! A command with all its offspring: started and ended as one process group.
//!
//! Weak spot: a process that makes a session of its own (`setsid`, a daemon)
//! has left the group and is not ended with it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// A running process group, and its leader, which is a child of ours. Dropped
/// before it has ended, it is killed.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) leader: Child,
    id: Pid,
    ended: bool,
}

impl Group {
    /// Starts `command` as the leader of a new group.
    ///
    /// # Errors
    /// The system cannot start it.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let leader = command.process_group(0).spawn()?;
        let id = leader.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("it has no process id"))?;
        Ok(Self { leader, id, ended: false })
    }

    /// Process id of the leader, which is that of the group too.
    pub(crate) fn id(&self) -> Pid {
        self.id
    }

    /// Sends a signal to every process of the group.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.ended {
            // Fails when all of them are gone, and then there is nobody to tell.
            let _ = killpg(self.id, signal);
        }
    }

    /// Ends whoever of the group still runs: asks, waits for `grace`, kills. How the leader ended.
    ///
    /// # Errors
    /// The leader did not even die when killed, which only a broken device or file system explains.
    pub(crate) async fn end(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        // A stopped process would not hear the first.
        self.signal(Signal::SIGCONT);
        if tokio::time::timeout(grace, self.gone()).await.is_err() {
            self.signal(Signal::SIGKILL);
            // Dead processes whose new parent does not look after them count as there: not for ever.
            let _ = tokio::time::timeout(LAST, self.gone()).await;
        }
        self.ended = true;
        let dead = tokio::time::timeout(LAST, self.leader.wait()).await;
        dead.unwrap_or_else(|_| Err(io::Error::other("it does not die")))
    }

    /// Waits until nobody of the group is left.
    async fn gone(&mut self) {
        let _ = self.leader.wait().await;
        while killpg(self.id, None).is_ok() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Between two looks whether somebody of the group is left.
const LOOK: Duration = Duration::from_millis(10);
/// What the system may take to end a killed process.
const LAST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Group {
        Group::start(Command::new("/bin/sh").args(["-c", script])).unwrap()
    }

    #[tokio::test]
    async fn a_group_ends_as_a_whole_also_when_its_leader_has_gone_before() {
        let mut group = shell("sleep 60 & exit 7");
        assert_eq!(group.leader.wait().await.unwrap().code(), Some(7));
        assert!(killpg(group.id(), None).is_ok(), "the background process runs on");
        assert_eq!(group.end(Duration::from_secs(5)).await.unwrap().code(), Some(7));
        assert!(killpg(group.id(), None).is_err());
    }

    #[tokio::test]
    async fn who_does_not_listen_is_killed_after_the_grace() {
        use std::os::unix::process::ExitStatusExt as _;
        let mut group = shell("trap '' TERM; while :; do sleep 0.01; done");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(group.end(Duration::from_millis(100)).await.unwrap().signal(), Some(9));
    }
}
