//! `exec`: a command that runs only while this agent sees quorum, or whose service is registered while it runs.

mod leash;
mod memory;
mod registration;
mod sight;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use heartsay_membership::Instant;
use heartsay_tokio::clock::Clock;
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use self::leash::{Leash, Options, longest_grace};
use self::memory::MemoryKills;
use self::registration::Registration;
use self::sight::{NOT_ASKED, Sight, keep_watch};
use super::exit::{Exit, say};
use super::status::NO_ELECTORATE;
use crate::client::{Client, Hold};
use crate::group::{Group, bury};
use crate::task;

/// Arguments of `exec`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Exec {
    /// Start the command once quorum is held, and stop it when quorum is lost or the agent does not answer.
    #[arg(long, required_unless_present = "service")]
    while_quorum: bool,
    /// Wait also while there is no electorate (`expected` is not set, so that quorum is never held), for a
    /// reload to bring one. Without this, that ends with code 125 at once.
    #[arg(long, requires = "while_quorum")]
    wait: bool,
    /// How long to wait for quorum at the start [default: without limit].
    #[arg(long, requires = "while_quorum", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Option<Duration>,
    /// How long the command and its offspring may take to stop after SIGTERM; then SIGKILL [default: 5s; with
    /// --watchdog half of its time-out, and not more].
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    grace: Option<Duration>,
    /// Start the command again when quorum is back, instead of ending with code 123.
    #[arg(long, requires = "while_quorum")]
    restart: bool,
    #[command(flatten)]
    leash: Options,
    #[command(flatten)]
    service: registration::ServiceOptions,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Exec {
    /// Runs the command; its exit code is ours.
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<Exit> {
        if let Some(text) = self.too_patient() {
            say(&text);
            return Ok(code(USAGE));
        }
        if !self.while_quorum {
            return self.plain(client).await;
        }
        let (to, quorum) = watch::channel(Sight::default());
        let clock = Arc::new(Clock::start());
        let leash = match self.leash.open(&clock, &quorum) {
            Ok(leash) => leash,
            Err(error) => {
                say(&error.to_string());
                return Ok(code(NO_WATCHDOG));
            }
        };
        task::start(keep_watch(client.clone(), Arc::clone(&clock), to));
        let Some(leash) = leash else {
            return self.guard(client, &clock, quorum, None).await;
        };
        let exit = tokio::select! {
            exit = self.guard(client, &clock, quorum, Some(&leash)) => exit,
            never = leash.pets() => match never {},
        };
        leash.end();
        exit
    }

    /// Runs the command at once, whether there is an agent or not.
    async fn plain(&self, client: &Client) -> anyhow::Result<Exit> {
        let mut signals = signals()?;
        let service = self.service.registration(client);
        let hold = match begin(service.as_ref()).await {
            Ok(hold) => hold,
            Err(exit) => return Ok(exit),
        };
        let mut group = match self.start(None).await {
            Ok(group) => group,
            Err(error) => return Ok(cannot_start(&self.command, &error)),
        };
        let status = tokio::select! {
            status = attend(&mut group, &mut signals) => status.context("cannot wait for the command")?,
            never = registered(service.as_ref(), hold) => match never {},
        };
        let _ = self.end(&mut group, None).await;
        Ok(code_of(status))
    }

    /// Waits for quorum and runs the command, once or again and again.
    async fn guard(
        &self,
        client: &Client,
        clock: &Clock,
        mut quorum: watch::Receiver<Sight>,
        leash: Option<&Leash>,
    ) -> anyhow::Result<Exit> {
        let mut signals = signals()?;
        let service = self.service.registration(client);
        let mut patience = self.timeout;
        loop {
            let waiting = wait_for_quorum(clock, &mut quorum, patience, self.wait);
            let start = unless_ended(waiting, &mut signals, leash).await;
            if let Some(exit) = not_started(start, &quorum.borrow()) {
                return Ok(exit);
            }
            let hold = match begin(service.as_ref()).await {
                Ok(hold) => hold,
                Err(exit) => return Ok(exit),
            };
            // That may have taken its time.
            if !quorum.borrow().holds(clock.now()) {
                continue;
            }
            // Once it has run, its time is not limited any more.
            patience = None;
            if let Some(leash) = leash {
                if quorum.borrow().until.is_none() {
                    say(NO_PROOF);
                    return Ok(code(NO_WATCHDOG));
                }
                leash.announce(client).await;
            }
            let lost_before = quorum.borrow_and_update().lost;
            if leash.is_some_and(|leash| !leash.begin(lost_before)) {
                continue;
            }
            let mut group = match self.start(leash).await {
                Ok(group) => group,
                Err(error) => {
                    leash.inspect(|leash| leash.rest());
                    return Ok(cannot_start(&self.command, &error));
                }
            };
            let (why, ends) = tokio::select! {
                status = attend(&mut group, &mut signals) => {
                    let status = status.context("cannot wait for the command")?;
                    // Nothing of it runs on unguarded.
                    let _ = self.end(&mut group, leash).await;
                    return Ok(code_of(status));
                }
                why = lost(clock, &mut quorum, lost_before) => (why, QUORUM_LOST),
                why = broken(leash) => (why, NO_WATCHDOG),
                never = registered(service.as_ref(), hold) => match never {},
            };
            leash.inspect(|leash| leash.stop());
            say(&format!("stopping the command (process group {}): {why}", group.id()));
            let status = self.end(&mut group, leash).await.context("the command cannot be stopped")?;
            say(&format!("the command has stopped: {status}"));
            if !self.restart || ends == NO_WATCHDOG {
                return Ok(code(ends));
            }
        }
    }

    async fn start(&self, leash: Option<&Leash>) -> io::Result<Group> {
        let mut command = self.command();
        let Some(leash) = leash else { return Group::start(&mut command).await };
        // For a backup: what it has to wait for on other hosts is the same that they have to wait for here.
        command.env(HOLD_VARIABLE, leash.hold().as_secs_f64().to_string());
        match leash.second_hold()? {
            Some(held) => Group::start_holding(&mut command, held).await,
            None => Group::start(&mut command).await,
        }
    }

    /// Ends the group. With a watchdog it does not return before no process of it is left: the machine is reset before.
    async fn end(&self, group: &mut Group, leash: Option<&Leash>) -> io::Result<ExitStatus> {
        let ended = group.end(self.grace(leash.map(Leash::timeout))).await;
        let Some(leash) = leash else { return ended };
        if group.runs() {
            say(&format!("process group {} does not die, not even by SIGKILL", group.id()));
            if leash.is_log_only() {
                return ended;
            }
        }
        let status = group.dead().await;
        leash.rest();
        status
    }

    /// How long the command may take to stop: what was asked for, but no longer than the watchdog leaves.
    fn grace(&self, timeout: Option<Duration>) -> Duration {
        let longest = timeout.map(longest_grace);
        let grace = self.grace.or(longest).unwrap_or(GRACE);
        longest.map_or(grace, |longest| grace.min(longest))
    }

    fn too_patient(&self) -> Option<String> {
        let (grace, timeout) = (self.grace?, self.leash.timeout()?);
        let longest = longest_grace(timeout);
        (grace > longest).then(|| {
            format!(
                "--grace {grace:?} is more than half of --watchdog-timeout {timeout:?}: the machine would be reset while the \
                 command stops. Give --grace {longest:?} or less, or a longer time-out on all hosts"
            )
        })
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

/// Registers the service, if there is one, before the command starts.
async fn begin(service: Option<&Registration<'_>>) -> Result<Option<Hold>, Exit> {
    let Some(service) = service else { return Ok(None) };
    service.begin().await.map_err(|error| {
        say(&format!("{error} (--service-id ID gives this one an id of its own)"));
        code(NOT_REGISTERED)
    })
}

/// Keeps the service registered, if there is one, until this is dropped.
async fn registered(service: Option<&Registration<'_>>, hold: Option<Hold>) -> Infallible {
    match service {
        Some(service) => service.keep(hold).await,
        None => std::future::pending().await,
    }
}

/// How waiting for quorum ended.
enum Start {
    Held,
    TimeUp,
    /// It cannot be held.
    Never,
    /// A signal ended it.
    Ended(Signal),
    /// The watchdog does not take its pets.
    Broken(String),
}

/// The end of this program, if the command does not start.
fn not_started(start: Start, sight: &Sight) -> Option<Exit> {
    match start {
        Start::Held => None,
        Start::TimeUp => {
            say(&format!("time is up: {}", sight.why));
            Some(Exit::TimeUp)
        }
        Start::Never => {
            say(&format!("{NO_ELECTORATE}; --wait waits for a reload to bring one"));
            Some(code(NEVER))
        }
        Start::Ended(signal) => Some(code(128_i32.saturating_add(signal as i32))),
        Start::Broken(why) => {
            say(&why);
            Some(code(NO_WATCHDOG))
        }
    }
}

/// Returns, with the reason, when there is a watchdog that does not take its pets.
async fn broken(leash: Option<&Leash>) -> String {
    match leash {
        Some(leash) => leash.broken().await,
        None => std::future::pending().await,
    }
}

/// Waits, with an ear for signals. Those that end a program end this one. The others mean a command that is not there yet,
/// and when it starts it begins anew anyway: so they are passed over, and the waiting goes on as it was.
async fn unless_ended(
    waiting: impl Future<Output = Start>,
    signals: &mut mpsc::Receiver<Signal>,
    leash: Option<&Leash>,
) -> Start {
    tokio::pin!(waiting);
    loop {
        tokio::select! {
            start = &mut waiting => return start,
            why = broken(leash) => return Start::Broken(why),
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
    let kills = MemoryKills::now();
    let status = loop {
        tokio::select! {
            status = group.wait_and_bury() => break status?,
            Some(signal) = signals.recv() => group.signal(signal),
        }
    };
    if status.signal() == Some(Signal::SIGKILL as i32) && kills.any() {
        say("the kernel has killed the command: the memory of its cgroup ran out");
    }
    Ok(status)
}

/// Signals that are passed on, as they come. Not those that were ignored when this program was started, as `nohup` does:
/// the command ignores them, too.
pub(super) fn signals() -> anyhow::Result<mpsc::Receiver<Signal>> {
    let (to, from) = mpsc::channel(16);
    let ignored = ignored();
    for number in PASSED_ON.into_iter().filter(|number| ignored >> (*number as u32 - 1) & 1 == 0) {
        let mut stream = signal(SignalKind::from_raw(number as i32)).context("cannot listen to signals")?;
        let to = to.clone();
        task::start(async move { while stream.recv().await.is_some() && to.send(number).await.is_ok() {} });
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

With --service the service is registered over a connection that is open while the command runs, so the kernel ends both \
together, also by SIGKILL. An agent that is away keeps no command from running, and is told again when it is back.

Without --watchdog this is advisory. It stops the command soon after this agent sees that quorum is lost; it cannot \
stop what this host cannot stop (a machine that stands still, a request that is under way), nor prove that no other host \
has begun to act. If this process is killed with SIGKILL, a second one that waits beside it stops the group, with 5 s \
between SIGTERM and SIGKILL; a command that has made a session of its own (setsid, a daemon) is out of reach.

With --watchdog the device resets the machine when this process does not pet it: it does so while no process of the \
command exists, and while one does only as long as the proof of quorum lies ahead. A printed time after the end of that \
proof the machine has been reset, or the command was gone; the command finds it, in seconds, in HEARTSAY_TAKEOVER_HOLD. \
If this process is killed with SIGKILL, at whatever time, the machine is reset. Only an orderly end disarms the device. A \
virtual device of a paused virtual machine stands still with it, and a request that has left the machine is under way: \
where acting twice does harm, have the resource itself check a fencing token.

Exit codes:
  that of the command, or 128 and the number of the signal that ended it, or
       that ended us while we waited
  2    the command line makes no sense, or --grace is too long for the watchdog
  121  the agent refuses to register the service; nothing was started
  122  the watchdog cannot be used; nothing was started, or it was stopped
  123  quorum was lost, or the agent did not answer: the command was stopped
  124  quorum was not held within --timeout
  125  there is no electorate, so quorum is never held (see --wait)
  126  the command cannot be executed
  127  the command does not exist";

/// Reasons that are remembered as told; more than there are, but for the numbers and names in them.
const MOST_TOLD: usize = 32;
/// An agent that is older than its field `left_seconds`.
const NO_PROOF: &str = "the agent does not say for how long its proof of quorum is good, so a watchdog has nothing to go by: \
                        upgrade the agent";
/// How long a backup has to wait, for the command.
const HOLD_VARIABLE: &str = "HEARTSAY_TAKEOVER_HOLD";
/// For the command to stop, without a watchdog.
const GRACE: Duration = Duration::from_secs(5);
const USAGE: i32 = 2;
const NOT_REGISTERED: i32 = 121;
const NO_WATCHDOG: i32 = 122;
const QUORUM_LOST: i32 = 123;
const NEVER: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];
const PASSED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
