//! One shell command of the operator's: run in a group of its own, heard, and ended when its time is up.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::group::Group;
use crate::task;

/// What every command of the operator's is told, and how long it may run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// How long one may run.
    pub(crate) time_limit: Duration,
    /// Our name, our socket.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// How one run ended, and what it wrote.
pub(crate) struct Ran {
    /// `None`: its time was up, or that of the agent.
    pub(crate) status: Option<ExitStatus>,
    /// The beginning of it.
    pub(crate) output: String,
}

/// Runs `command` by the shell on these terms, told `own` variables beside, with `input`, and not beyond `stop`. Nothing of its
/// group lives on.
///
/// # Errors
/// It cannot be started, or does not die.
pub(crate) async fn run(
    command: &str,
    terms: &Terms,
    own: &[(&'static str, String)],
    input: String,
    stop: &CancellationToken,
) -> io::Result<Ran> {
    let (reader, writer) = io::pipe()?;
    let mut shell = Command::new("/bin/sh");
    without_what_is_ours(&mut shell);
    shell
        .args(["-c", command])
        .envs(terms.environment.iter().chain(own).map(|(key, value)| (*key, value)))
        .stdin(Stdio::piped())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut group = Group::start(&mut shell).await?;
    // Our own ends of the pipe would keep it open.
    drop(shell);
    let heard = Heard::from(reader)?;
    group.feed(input.into_bytes());
    let ended = stop.run_until_cancelled(group.run(Some(terms.time_limit), GRACE)).await;
    let status = match ended {
        Some(status) => status?,
        None => group.end(GRACE).await.map(|_| None)?,
    };
    Ok(Ran { status, output: heard.end(GRACE).await })
}

/// What comes out of a pipe: read to its end, so that a command need not wait for its reader, and kept in its beginning.
pub(crate) struct Heard {
    listening: AbortOnDropHandle<()>,
    beginning: Arc<Mutex<Vec<u8>>>,
}

impl Heard {
    /// Begins to read.
    ///
    /// # Errors
    /// The system has no room.
    pub(crate) fn from(pipe: io::PipeReader) -> io::Result<Self> {
        let beginning = Arc::<Mutex<Vec<u8>>>::default();
        let pipe = pipe::Receiver::from_owned_fd(pipe.into())?;
        let listening = AbortOnDropHandle::new(task::start(listen(pipe, Arc::clone(&beginning))));
        Ok(Self { listening, beginning })
    }

    /// The beginning of what was written by the group that has ended. A process that has left it may keep the pipe open
    /// without end, and is not waited for longer than `grace`.
    pub(crate) async fn end(self, grace: Duration) -> String {
        let _ = tokio::time::timeout(grace, self.listening).await;
        let beginning = std::mem::take(&mut *self.beginning.lock());
        String::from_utf8_lossy(&beginning).into_owned()
    }
}

/// Keeps variables from a command that are for the agent alone.
pub(crate) fn without_what_is_ours(command: &mut Command) {
    for (key, _) in std::env::vars_os().filter(|(key, _)| is_for_the_agent(&key.to_string_lossy())) {
        command.env_remove(key);
    }
}

/// Settings of the agent are not for its commands; ours replace them. Nor is what the service manager gave to the agent, in whose
/// name a command would speak.
fn is_for_the_agent(variable: &str) -> bool {
    variable.starts_with("HEARTSAY_")
        || variable.starts_with("LISTEN_")
        || variable.starts_with("WATCHDOG_")
        || matches!(variable, "NOTIFY_SOCKET" | "CREDENTIALS_DIRECTORY")
}

async fn listen(mut from: pipe::Receiver, to: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let mut to = to.lock();
        let room = OUTPUT.saturating_sub(to.len());
        to.extend_from_slice(piece.get(..length.min(room)).unwrap_or(&[]));
    }
}

/// Kept of what a run writes, in bytes.
const OUTPUT: usize = 4096;
/// Between asking a run to end and killing it.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    async fn ran(command: &str) -> Ran {
        let terms = Terms { time_limit: Duration::from_millis(500), ..Terms::default() };
        run(command, &terms, &[], String::new(), &CancellationToken::new()).await.unwrap()
    }

    #[test]
    fn a_run_does_not_inherit_what_is_for_the_agent_alone() {
        for (variable, kept) in [
            ("PATH", true),
            ("INVOCATION_ID", true),
            ("HEARTSAY_KEY_FILE", false),
            ("NOTIFY_SOCKET", false),
            ("LISTEN_PID", false),
            ("WATCHDOG_USEC", false),
            ("CREDENTIALS_DIRECTORY", false),
        ] {
            assert_eq!(is_for_the_agent(variable), !kept, "{variable}");
        }
    }

    #[tokio::test]
    async fn a_run_that_takes_too_long_is_ended_with_its_offspring() {
        let ran = ran("echo begun; sleep 60 | cat").await;
        assert!(ran.status.is_none());
        assert_eq!(ran.output, "begun\n");
    }

    #[tokio::test]
    async fn a_run_that_writes_without_end_is_not_held_up_and_not_kept_whole() {
        let ran = ran("head -c 1000000 /dev/zero").await;
        assert!(ran.status.unwrap().success());
        assert_eq!(ran.output.len(), OUTPUT);
    }
}
