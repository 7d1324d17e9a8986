//! A command that runs only while quorum is held.

use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use crate::Client;
use crate::types::Quorum;

impl Client {
    /// Starts a command once quorum is held, and lets it run only while it is. How it ended; `None` when quorum was lost.
    ///
    /// The words are the command and its arguments; `with` may set its environment, its folder and its output. It reads `/dev/null`,
    /// ends with 127 where there is no such program, and runs in a process group of its own, which gets SIGTERM, and SIGKILL after `grace`: when quorum is lost, also for a
    /// moment; when the agent does not answer, or its proof runs out; when the command ends; when this future is dropped; and
    /// when this process ends in any way. It is advisory: a host that stands still cannot stop itself. `heartsay exec` does more,
    /// above all with `--watchdog`.
    ///
    /// # Errors
    /// The command cannot be started.
    pub async fn guard(
        &self,
        words: &[impl AsRef<OsStr> + Sync],
        grace: Duration,
        with: impl FnOnce(&mut Command) + Send,
    ) -> io::Result<Option<ExitStatus>> {
        let mut sight = loop {
            let mut sight = Sight { until: Instant::now() + ANSWER, since: None };
            if sight.look(self).await {
                break sight;
            }
            tokio::time::sleep(ASK).await;
        };
        // Ends the group when its input ends, so also when this process ends, however it does.
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEP, &(grace.as_millis() / 50).to_string()]).stdin(Stdio::piped());
        let mut keeper = keeper.process_group(0).spawn()?;
        let input = keeper.stdin.take().ok_or_else(|| io::Error::other("it has no input"))?;
        let input = input.into_owned_fd()?;
        let mut command = Command::new("/bin/sh");
        with(command.args(["-c", START, "sh"]).args(words));
        let mut child = command.stdin(input.try_clone()?).process_group(0).spawn()?;
        // It would hold the input of the keeper open.
        drop(command);
        let status = loop {
            if !sight.look(self).await {
                break None;
            }
            if let Ok(status) = tokio::time::timeout(sight.pause(), child.wait()).await {
                break Some(status?);
            }
        };
        drop(input);
        // The group is gone when its leader is waited for.
        let (_, _) = tokio::join!(child.wait(), keeper.wait());
        Ok(status)
    }
}

/// Quorum as the guard sees it: held, by a proof that is good until a moment.
struct Sight {
    until: Instant,
    since: Option<String>,
}

impl Sight {
    /// Whether it is held, without a break since the last look.
    async fn look(&mut self, client: &Client) -> bool {
        let before = Instant::now();
        let patience = self.until.saturating_duration_since(before);
        let quorum: Quorum = match client.read_within("/v1/quorum", patience).await {
            Ok(quorum) => quorum,
            // That says nothing of quorum.
            Err(error) if error.is_busy() => return self.since.is_some() && Instant::now() < self.until,
            Err(_) => return false,
        };
        let left = quorum.left_seconds.and_then(|left| Duration::try_from_secs_f64(left).ok());
        self.until = before + left.map_or(ANSWER, |left| left.min(ANSWER));
        let unbroken = self.since.as_ref().is_none_or(|since| *since == quorum.since);
        self.since = Some(quorum.since);
        quorum.quorum == "held" && unbroken && Instant::now() < self.until
    }

    fn pause(&self) -> Duration {
        (self.until.saturating_duration_since(Instant::now()) / 2).min(ASK)
    }
}

/// How often the agent is asked.
const ASK: Duration = Duration::from_millis(500);
/// For so long an answer counts at most.
const ANSWER: Duration = Duration::from_secs(2);
/// The keeper knows of the command before it begins.
const START: &str = r#"echo $$ >&0; exec "$@" </dev/null"#;
const KEEP: &str = r#"read g; read _; [ "$g" ] || exit; exec 2>/dev/null; kill -TERM -"$g"; kill -CONT -"$g"; n=$0
while kill -0 -"$g" && [ "$n" -gt 0 ]; do sleep 0.05; n=$((n - 1)); done; kill -KILL -"$g""#;
