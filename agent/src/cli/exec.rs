//! `exec`: a command that runs only while this agent sees quorum.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use heartsay_membership::Instant;
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};

use super::exit::{Exit, say};
use super::status::{NO_ELECTORATE, has_electorate};
use crate::client::{Client, ClientError};
use crate::escape::escape;
use crate::group::{Group, bury};
use crate::types::{Quorum, WatchLine};
use heartsay_tokio::clock::Clock;

/// Arguments of `exec`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Exec {
    /// Start the command once quorum is held, and stop it when quorum is lost or the agent does not answer.
    #[arg(long, required = true)]
    while_quorum: bool,
    /// Wait also while there is no electorate (`expected` is not set, so that quorum is never held), for a
    /// reload to bring one. Without this, that ends with code 125 at once.
    #[arg(long)]
    wait: bool,
    /// How long to wait for quorum at the start [default: without limit].
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Option<Duration>,
    /// How long the command and its offspring may take to stop after SIGTERM; then SIGKILL.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5s", value_name = "TIME")]
    grace: Duration,
    /// Start the command again when quorum is back, instead of ending with code 123.
    #[arg(long)]
    restart: bool,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Exec {
    /// Runs the command; its exit code is ours.
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<Exit> {
        let (to, mut quorum) = watch::channel(Sight::default());
        let clock = Arc::new(Clock::start());
        tokio::spawn(keep_watch(client.clone(), Arc::clone(&clock), to));
        let mut signals = signals()?;
        let mut patience = self.timeout;
        loop {
            let waiting = wait_for_quorum(&clock, &mut quorum, patience, self.wait);
            match unless_ended(waiting, &mut signals).await {
                Start::Held => {}
                Start::TimeUp => {
                    say(&format!("time is up: {}", quorum.borrow().why));
                    return Ok(Exit::TimeUp);
                }
                Start::Never => {
                    say(&format!("{NO_ELECTORATE}; --wait waits for a reload to bring one"));
                    return Ok(code(NEVER));
                }
                Start::Ended(signal) => return Ok(code(128_i32.saturating_add(signal as i32))),
            }
            // Once it has run, its time is not limited any more.
            patience = None;
            let lost_before = quorum.borrow_and_update().lost;
            let mut group = match Group::start(&mut self.command()).await {
                Ok(group) => group,
                Err(error) => return Ok(cannot_start(&self.command, &error)),
            };
            let why = tokio::select! {
                status = attend(&mut group, &mut signals) => {
                    let status = status.context("cannot wait for the command")?;
                    // Nothing of it runs on unguarded.
                    let _ = group.end(self.grace).await;
                    return Ok(code_of(status));
                }
                why = lost(&clock, &mut quorum, lost_before) => why,
            };
            say(&format!("stopping the command (process group {}): {why}", group.id()));
            let status = group.end(self.grace).await.context("the command cannot be stopped")?;
            say(&format!("the command has stopped: {status}"));
            if !self.restart {
                return Ok(code(QUORUM_LOST));
            }
        }
    }

    fn command(&self) -> Command {
        let mut command =
            Command::new(self.command.first().map_or_else(Default::default, OsString::as_os_str));
        command.args(self.command.iter().skip(1));
        if io::stdin().is_terminal() {
            // Reading from a terminal would stop a group that is not the one in front.
            command.stdin(Stdio::null());
        }
        command
    }
}

/// Quorum as last seen.
#[derive(Clone, Debug)]
struct Sight {
    held: bool,
    /// There is no electorate, so quorum will never be held.
    never: bool,
    /// How often it was seen not to be held: a loss shows even when it was short.
    lost: u64,
    /// The agent's proof is good until then, unless it is renewed. An older agent does not say.
    until: Option<Instant>,
    why: String,
}

impl Sight {
    /// Held, by a proof that is still good: after a pause of this process, what it saw may be old.
    fn holds(&self, now: Instant) -> bool {
        self.held && self.until.is_none_or(|until| now < until)
    }
}

impl Default for Sight {
    fn default() -> Self {
        Self { held: false, never: false, lost: 0, until: None, why: NOT_ASKED.to_owned() }
    }
}

/// Follows what the agent says, over its restarts, for as long as there is a receiver.
async fn keep_watch(client: Client, clock: Arc<Clock>, to: watch::Sender<Sight>) {
    let news = Notify::new();
    loop {
        // The stream is quick, and the questions notice an agent that stands still.
        let error = tokio::select! {
            error = follow(&client, &news, &to) => error,
            error = ask(&client, &clock, &news, &to) => error,
        };
        let why = error.to_string();
        to.send_modify(|sight| {
            *sight = Sight { held: false, never: false, lost: sight.lost + 1, until: None, why };
        });
        tokio::time::sleep(RETRY).await;
    }
}

/// A loss counts at once. That quorum is held counts from an answer: a line of the stream may have waited, for an
/// unknown time.
async fn follow(client: &Client, news: &Notify, to: &watch::Sender<Sight>) -> ClientError {
    let mut watch = loop {
        match client.watch("").await {
            Ok(watch) => break watch,
            // Too many streams: the questions still tell, half a second later.
            Err(error) if error.is_busy() => tokio::time::sleep(BUSY).await,
            Err(error) => return error,
        }
    };
    loop {
        let line = match watch.line().await {
            Ok(line) => line,
            Err(error) => return error,
        };
        match watch.read::<WatchLine>(&line) {
            Ok(WatchLine { kind, quorum: Some(quorum), .. }) if kind == "quorum" => match is_held(&quorum) {
                true => news.notify_one(),
                false => take(to, &quorum, None),
            },
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

async fn ask(client: &Client, clock: &Clock, news: &Notify, to: &watch::Sender<Sight>) -> ClientError {
    let (mut began, mut kept) = (clock.now(), client.keep());
    loop {
        let before = clock.now();
        let left = ANSWER.saturating_sub(before.since(began));
        let asked = kept.get_within("/v1/quorum", left.max(SHORTEST)).await;
        match asked.and_then(|answer| client.read::<Quorum>(&answer)) {
            Ok(quorum) => {
                // What was left was left after the question: so this is never later than the end of the proof.
                let left = quorum.left_seconds.and_then(|left| Duration::try_from_secs_f64(left).ok());
                take(to, &quorum, left.map(|left| before + left));
                tokio::select! {
                    () = tokio::time::sleep(pause(left)) => {}
                    () = news.notified() => {}
                }
                began = clock.now();
            }
            // Too many connections: that says nothing of quorum. It counts as an answer that has not come yet.
            Err(error) if error.is_busy() && clock.now().since(began) < ANSWER => {
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return error,
        }
    }
}

/// Until the next question: it must not come when what was left is gone, while the proof has been renewed.
fn pause(left: Option<Duration>) -> Duration {
    left.map_or(ASK, |left| (left / 2).clamp(SHORTEST, ASK))
}

fn is_held(quorum: &Quorum) -> bool {
    quorum.quorum == "held"
}

fn take(to: &watch::Sender<Sight>, quorum: &Quorum, until: Option<Instant>) {
    let held = is_held(quorum);
    let never = !has_electorate(quorum);
    let why = format!("quorum is {}: {}", escape(&quorum.quorum), escape(&quorum.reason));
    to.send_modify(|sight| {
        *sight = Sight { held, never, lost: sight.lost + u64::from(!held && sight.held), until, why };
    });
}

/// How waiting for quorum ended.
enum Start {
    Held,
    TimeUp,
    /// It cannot be held.
    Never,
    /// A signal ended it.
    Ended(Signal),
}

/// Waits, with an ear for signals. Those that end a program end this one. The others mean a command that is not there yet,
/// and when it starts it begins anew anyway: so they are passed over, and the waiting goes on as it was.
async fn unless_ended(waiting: impl Future<Output = Start>, signals: &mut mpsc::Receiver<Signal>) -> Start {
    tokio::pin!(waiting);
    loop {
        tokio::select! {
            start = &mut waiting => return start,
            Some(signal) = signals.recv() => {
                if ENDING.contains(&signal) {
                    return Start::Ended(signal);
                }
                say(&format!("{signal} is ignored: there is no quorum yet, and so no command to pass it on to"));
            }
            never = bury(None, None) => match never {},
        }
    }
}

/// Waits for quorum, in time, and as long as it makes sense unless `always`.
async fn wait_for_quorum(
    clock: &Clock,
    quorum: &mut watch::Receiver<Sight>,
    patience: Option<Duration>,
    always: bool,
) -> Start {
    let settled = async {
        let mut told = BTreeSet::from([NOT_ASKED.to_owned()]);
        loop {
            let sight = quorum.borrow_and_update().clone();
            if sight.holds(clock.now()) {
                return Start::Held;
            }
            if sight.never && !always {
                return Start::Never;
            }
            // The user sees that nothing runs, and wants to know why; each reason is told once.
            if told.len() > MOST_TOLD {
                told.clear();
            }
            if told.insert(sight.why.clone()) {
                say(&format!("waiting for quorum: {}", sight.why));
            }
            if quorum.changed().await.is_err() {
                // The watch has ended.
                return Start::TimeUp;
            }
        }
    };
    match patience {
        Some(patience) => tokio::time::timeout(patience, settled).await.unwrap_or(Start::TimeUp),
        None => settled.await,
    }
}

/// Returns, with the reason, when quorum is not held, was not for a while, or may not be any more.
async fn lost(clock: &Clock, quorum: &mut watch::Receiver<Sight>, before: u64) -> String {
    loop {
        let Sight { held, lost, until, why, .. } = quorum.borrow_and_update().clone();
        if !held {
            return why;
        }
        if lost != before {
            return "quorum was lost for a moment".to_owned();
        }
        tokio::select! {
            changed = quorum.changed() => if changed.is_err() {
                return "nobody watches quorum".to_owned();
            },
            () = run_out(clock, until) => return "the agent's proof of quorum has run out".to_owned(),
        }
    }
}

async fn run_out(clock: &Clock, until: Option<Instant>) {
    match until {
        // Without a timer there is no telling.
        Some(until) => drop(clock.reached(until).await),
        None => std::future::pending().await,
    }
}

/// Passes signals on until the command ends.
async fn attend(group: &mut Group, signals: &mut mpsc::Receiver<Signal>) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = group.wait_and_bury() => return status,
            Some(signal) = signals.recv() => group.signal(signal),
        }
    }
}

/// Signals that are passed on, as they come. Not those that were ignored when this program was started, as `nohup` does:
/// the command ignores them, too.
pub(super) fn signals() -> anyhow::Result<mpsc::Receiver<Signal>> {
    let (to, from) = mpsc::channel(16);
    let ignored = ignored();
    for number in PASSED_ON.into_iter().filter(|number| ignored >> (*number as u32 - 1) & 1 == 0) {
        let mut stream = signal(SignalKind::from_raw(number as i32)).context("cannot listen to signals")?;
        let to = to.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && to.send(number).await.is_ok() {} });
    }
    Ok(from)
}

/// Ends process 1 of a container as any other process is ended: nothing else does, since the system spares process 1 the
/// signals to which it does not listen.
pub(super) async fn ended_as_first() -> anyhow::Result<Exit> {
    if std::process::id() != 1 {
        return std::future::pending().await;
    }
    match signals()?.recv().await {
        Some(signal) => Ok(code(128_i32.saturating_add(signal as i32))),
        None => std::future::pending().await,
    }
}

/// The mask of the signals that this process ignores, as long as it has not listened to any; none where the system does not tell.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn cannot_start(command: &[OsString], error: &io::Error) -> Exit {
    let name = command.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    say(&format!("cannot run {name}: {error}"));
    code(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// As a shell tells it: its own code, or 128 and the number of the signal.
fn code_of(status: ExitStatus) -> Exit {
    code(status.code().unwrap_or_else(|| 128_i32.saturating_add(status.signal().unwrap_or(0))))
}

fn code(number: i32) -> Exit {
    Exit::Code(ExitCode::from(u8::try_from(number).unwrap_or(1)))
}

const HELP: &str = "\
The command runs in a process group of its own. Signals TERM, INT, HUP, QUIT, USR1 and USR2 are passed on to the whole \
group; whatever of it is left when the command ends is stopped too. While this waits for quorum, TERM, INT and QUIT \
end it, and HUP, USR1 and USR2 are ignored: there is no command that could have missed anything. As process 1 of a \
container it buries orphans.

This is advisory. It stops the command soon after this agent sees that quorum is lost; it cannot stop what this host \
cannot stop (a machine that stands still, a request that is under way), nor prove that no other host has begun to act. \
Where acting twice does harm, have the resource itself check a fencing token. If this process is killed with SIGKILL, \
a second one that waits beside it stops the group, with 5 s between SIGTERM and SIGKILL; a command that has made a \
session of its own (setsid, a daemon) is out of reach.

Exit codes:
  that of the command, or 128 and the number of the signal that ended it, or
       that ended us while we waited
  123  quorum was lost, or the agent did not answer: the command was stopped
  124  quorum was not held within --timeout
  125  there is no electorate, so quorum is never held (see --wait)
  126  the command cannot be executed
  127  the command does not exist";

/// Reasons that are remembered as told; more than there are, but for the numbers and names in them.
const MOST_TOLD: usize = 32;
/// Before the first answer.
const NOT_ASKED: &str = "the agent has not been asked yet";
const QUORUM_LOST: i32 = 123;
const NEVER: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];
const PASSED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
/// How often the agent is asked, beside its stream, and how long it may take to answer. Together
/// they bound how long an agent that stands still is believed, if its proof does not run out before. Honest guess.
const ASK: Duration = Duration::from_millis(500);
const ANSWER: Duration = Duration::from_secs(2);
/// Between two tries for a place among the streams. Honest guess.
const BUSY: Duration = Duration::from_secs(5);
/// Between two questions when hardly anything is left. Honest guess.
const SHORTEST: Duration = Duration::from_millis(20);
/// How often a missing agent is looked for.
const RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_asked_again_before_its_proof_runs_out() {
        let pause = |ms| pause(Some(Duration::from_millis(ms)));
        assert_eq!([1400, 1000, 450, 0].map(pause), [ASK, ASK, Duration::from_millis(225), SHORTEST]);
        assert_eq!(super::pause(None), ASK);
    }
}
