//! As process 1 of a container: a child does the work, and we do what is left to process 1.
//!
//! Every orphan of the container becomes our child, and stays as a zombie until it is waited for. The agent and the commands
//! that it runs have children of their own, for which other code waits; so the one that waits for all is a process of
//! its own. It passes signals on, and ends as the child ends. A guardian that speaks for an agent that was killed has
//! time to do so before the container ends with us.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::exit::say;
use crate::daemon::start::pages;

/// The code of the child that does the work of this process, once it has ended; `None`: this process has to do it
/// itself, because it is not process 1 or cannot start a child.
pub(super) fn work_by_a_child() -> Option<ExitCode> {
    if std::process::id() != 1 {
        return None;
    }
    let signals = SigSet::all();
    let started = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
        .map_err(io::Error::from)
        .and_then(|listener| Ok((listener, start()?)));
    match started {
        Ok((listener, child)) => {
            // Not before: a child begins with what its parent blocks. What has come by then is seen all the same, as the
            // child is looked at first.
            let _ = signals.thread_block();
            pages::give_back();
            Some(code(look_after(child, &listener)))
        }
        Err(error) => {
            say(&format!("as process 1 it starts no child, and orphans stay as zombies: {error}"));
            None
        }
    }
}

/// This program once more, with the same words.
fn start() -> io::Result<Pid> {
    let mut words = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    let child = command.args(words).stdin(Stdio::inherit()).spawn()?;
    i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)
}

/// Until the child has ended, and then for a moment until all others have: how the child ended.
fn look_after(child: Pid, listener: &SignalFd) -> WaitStatus {
    loop {
        if let Some(end) = bury(child) {
            for _ in 0..LOOKS {
                if waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD) {
                    break;
                }
                std::thread::sleep(LOOK);
            }
            return end;
        }
        // Whatever else it returns for, the child is looked at again.
        if let Ok(Some(told)) = listener.read_signal() {
            pass_on(&told, child);
        }
    }
}

/// Waits for all that are dead. How the child ended, if it is among them.
fn bury(child: Pid) -> Option<WaitStatus> {
    let mut end = None;
    while let Ok(dead) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if dead == WaitStatus::StillAlive {
            break;
        }
        let ended = matches!(dead, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
        if ended && dead.pid() == Some(child) {
            end = Some(dead);
        }
    }
    end
}

fn pass_on(told: &siginfo, child: Pid) {
    let signal = i32::try_from(told.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
    // What a terminal sends goes to the child too, and a second SIGINT means more than one.
    let by_terminal = told.ssi_code == libc::SI_KERNEL;
    if let Some(signal) = signal.filter(|signal| *signal != Signal::SIGCHLD && !by_terminal) {
        let _ = kill(child, signal);
    }
}

/// As a shell tells it.
fn code(end: WaitStatus) -> ExitCode {
    let number = if let WaitStatus::Exited(_, code) = end {
        code
    } else if let WaitStatus::Signaled(_, signal, _) = end {
        128_i32.saturating_add(signal as i32)
    } else {
        1
    };
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}

/// Half a second, ten times as long as last words take.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(10);
