//! A program that looks, by the rules of the plugins of Nagios: exit code 0 is passing, 1 a warning, all else critical, and the
//! first line of its output says why.
//!
//! It is a process group of its own, no shell between, and ends as a whole with its time. The start is done aside: the file of
//! the program may be on a disk that hangs. A run that does not end keeps the next from beginning.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::Tools;
use super::aside::Aside;
use super::probe::Found;
use super::run::line;
use crate::daemon::shell::{Heard, without_what_is_ours};
use crate::group::Group;
use crate::task;

/// The runs of one program.
#[derive(Debug)]
pub(super) struct Exec {
    words: Vec<String>,
    environment: Vec<(&'static str, String)>,
    places: Arc<Semaphore>,
    starting: Aside<io::Result<Started>>,
    /// Of a run that was killed and still did not end.
    left: Option<Group>,
}

/// A program that runs, and what it says.
#[derive(Debug)]
struct Started {
    group: Group,
    output: io::PipeReader,
    errors: io::PipeReader,
}

impl Exec {
    /// Of a program with its arguments.
    pub(super) fn new(words: &[String], tools: &Tools) -> Self {
        Self {
            words: words.to_vec(),
            environment: tools.environment.clone(),
            places: Arc::clone(&tools.places),
            starting: Aside::new(),
            left: None,
        }
    }

    /// Runs it once.
    pub(super) async fn look(&mut self, limit: Duration) -> Found {
        if self.left.as_ref().is_some_and(Group::runs) {
            return Found::critical("the last run was killed and does not end");
        }
        self.left = None;
        match self.run(limit).await {
            Ok(found) => found,
            Err(error) => Found::critical(format!("cannot be run: {error}")),
        }
    }

    async fn run(&mut self, limit: Duration) -> io::Result<Found> {
        let _place = self.place().await;
        let command = self.command();
        let started = tokio::time::timeout(limit, self.starting.run(move || start(command))).await;
        let Ok(started) = started else {
            return Ok(Found::critical(format!("does not start within {limit:?}")));
        };
        let Started { mut group, output, errors } = started.map_err(io::Error::other)??;
        let (output, errors) = (Heard::from(output)?, Heard::from(errors)?);
        let ended = wait(&mut group, limit).await;
        let (output, errors) = tokio::join!(output.end(GRACE), errors.end(GRACE));
        match ended {
            Ok(Some(status)) => Ok(judge(status, &output, &errors)),
            Ok(None) => Ok(Found::critical(format!("did not end within {limit:?}, and was killed"))),
            Err(error) => {
                self.left = Some(group);
                Ok(Found::critical(format!("did not end within {limit:?}: {error}")))
            }
        }
    }

    /// Held until this run ends, and given back before where that takes long: one that hangs holds up nobody.
    async fn place(&self) -> Option<AbortOnDropHandle<()>> {
        // It is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let held = async move {
            tokio::time::sleep(BRIEF).await;
            drop(place);
        };
        Some(AbortOnDropHandle::new(task::start(held)))
    }

    fn command(&self) -> Command {
        let (program, words) =
            self.words.split_first().map_or(("", &[][..]), |(p, words)| (p.as_str(), words));
        let mut command = Command::new(program);
        without_what_is_ours(&mut command);
        command
            .args(words)
            .envs(self.environment.iter().map(|(key, value)| (*key, value)))
            .stdin(Stdio::null());
        command
    }
}

fn start(mut command: Command) -> io::Result<Started> {
    let ((output, writer), (errors, other)) = (io::pipe()?, io::pipe()?);
    command.stdout(writer).stderr(other);
    Ok(Started { group: Group::unkept(&mut command)?, output, errors })
}

/// Most end at once. One that does not gets a keeper, which costs a process.
async fn wait(group: &mut Group, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let soon = BRIEF.min(limit);
    if tokio::time::timeout(soon, group.leader.wait()).await.is_err() {
        group.keep().await;
    }
    group.run(Some(limit - soon), GRACE).await
}

fn judge(status: ExitStatus, output: &str, errors: &str) -> Found {
    // What comes behind the bar is for machines.
    let said = output.lines().next().unwrap_or_default().split('|').next().unwrap_or_default();
    let text = [line(said), line(errors.lines().next().unwrap_or_default())]
        .into_iter()
        .find(|text| !text.is_empty());
    let text = text.unwrap_or_else(|| status.to_string());
    match status.code() {
        Some(0) => Found::passing(text),
        Some(1) => Found::warning(text),
        Some(2) => Found::critical(text),
        _ => Found::critical(format!("{text} ({status})")),
    }
}

/// As long as nearly all plugins take, at most. Honest guess.
const BRIEF: Duration = Duration::from_millis(500);
/// Between asking a run to end and killing it; also for a process that has left the group and holds the pipe.
const GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use crate::services::Health;

    fn exec(words: &[&str]) -> Exec {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Exec::new(&words, &Tools::alone())
    }

    async fn ran(script: &str) -> Found {
        exec(&["/bin/sh", "-c", script]).look(Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn the_exit_code_decides_and_the_first_line_says_why() {
        assert_eq!(ran("echo 'DISK OK - 40% | /=40%'; echo more").await, Found::passing("DISK OK - 40%"));
        assert_eq!(ran("echo slow; exit 1").await, Found::warning("slow"));
        assert_eq!(ran("printf 'a\\tb\\033[2J\\n'; exit 2").await, Found::critical("a b [2J"));
        assert_eq!(ran("echo lost >&2; exit 3").await, Found::critical("lost (exit status: 3)"));
        assert_eq!(ran("exit 2").await, Found::critical("exit status: 2"));
        let killed = ran("kill -9 $$").await;
        assert!(killed.health == Health::Critical && killed.text.contains("signal: 9"), "{}", killed.text);
        let absent = exec(&["/absent/plugin"]).look(Duration::from_secs(20)).await;
        assert!(
            absent.health == Health::Critical && absent.text.contains("cannot be run"),
            "{}",
            absent.text
        );
        // No shell reads the words.
        let words = exec(&["/bin/echo", "$HOME; `id`"]).look(Duration::from_secs(20)).await;
        assert_eq!(words, Found::passing("$HOME; `id`"));
    }

    #[tokio::test]
    async fn one_that_writes_without_end_is_bounded() {
        let long = ran("head -c 3000000 /dev/zero | tr '\\0' x").await;
        assert!(long.health == Health::Passing && long.text.len() < 300, "{}", long.text.len());
        let mut endless = exec(&["/usr/bin/yes"]);
        let found = endless.look(Duration::from_millis(300)).await;
        assert_eq!(found, Found::critical("did not end within 300ms, and was killed"));
    }

    #[tokio::test]
    async fn one_that_prints_what_is_no_text_or_cannot_be_run_is_judged_all_the_same() {
        let binary =
            ran("printf '\\377\\376\\000\\001\\033[2J ok\\n'; head -c 100000 /dev/urandom; exit 1").await;
        assert!(binary.health == Health::Warning && binary.text.ends_with("ok"), "{}", binary.text);
        assert!(!binary.text.contains(char::is_control), "{:?}", binary.text);
        let wrong = ran("exit 255").await;
        assert_eq!(wrong, Found::critical("exit status: 255 (exit status: 255)"));
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("plugin");
        std::fs::write(&program, "no program").unwrap();
        for mode in [0o644, 0o755] {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = exec(&[program.to_str().unwrap()]).look(Duration::from_secs(20)).await;
            assert!(found.text.starts_with("cannot be run: "), "{mode:o}: {}", found.text);
        }
    }

    #[tokio::test]
    async fn one_that_ends_and_leaves_a_child_with_its_output_is_judged_soon() {
        for child in ["sleep 600 &", "setsid sleep 600 &", "(trap '' TERM HUP; sleep 600) &"] {
            let begun = tokio::time::Instant::now();
            let found = ran(&format!("{child} echo \"fine $!\"")).await;
            let offspring = found.text.strip_prefix("fine ").and_then(|pid| pid.parse().ok()).unwrap();
            assert!(found.health == Health::Passing && begun.elapsed() < Duration::from_secs(10), "{child}");
            // One with a session of its own is out of reach.
            let _ = kill(Pid::from_raw(offspring), nix::sys::signal::Signal::SIGKILL);
        }
    }

    #[tokio::test]
    async fn one_that_hangs_ends_with_its_offspring() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("trap '' TERM; sleep 600 & echo $! > {}; wait; wait", file.display());
        let found = exec(&["/bin/sh", "-c", &script]).look(Duration::from_millis(700)).await;
        assert!(found.text.contains("did not end within 700ms"), "{}", found.text);
        let offspring: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let gone = async {
            // Dead; its new parent may still have to look after it.
            while kill(Pid::from_raw(offspring), None).is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    }

    #[tokio::test]
    async fn those_that_hang_do_not_hold_up_another() {
        let tools = Tools::alone();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let hung: Vec<_> = (0..20)
            .map(|_| {
                let mut exec = Exec::new(&words(&["/bin/sleep", "600"]), &tools);
                tokio::spawn(async move { exec.look(Duration::from_secs(60)).await })
            })
            .collect();
        let mut other = Exec::new(&words(&["/bin/true"]), &tools);
        let found = tokio::time::timeout(Duration::from_secs(20), other.look(Duration::from_secs(10))).await;
        assert_eq!(found.unwrap().health, Health::Passing);
        hung.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
