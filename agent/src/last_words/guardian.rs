//! The guardian: waits for the end of its agent, and says its last words.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{self, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid, setsid};
use tokio::process::{Child, ChildStdin};

use super::will::Testament;
use crate::daemon::start::pages;
use crate::group;

/// One that waits for us.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
    /// Ends with us.
    _pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts one. It ends when we have ended, in whatever way.
    ///
    /// # Errors
    /// The system cannot start it.
    pub(super) fn start(will: File) -> io::Result<Self> {
        let mut command = group::ourselves(GUARDIAN);
        let mut child =
            command.arg(process::id().to_string()).env_clear().stdout(Stdio::from(will)).spawn()?;
        // Not left with the child: to wait for that would close it.
        let pipe = child.stdin.take();
        Ok(Self { child, _pipe: pipe })
    }

    /// Waits until it has ended, which it should not before us.
    pub(super) async fn ended(&mut self) {
        let _ = self.child.wait().await;
    }
}

/// What the guardian of this process does; its standard output is the will, to which it writes nothing.
pub(crate) fn stand(agent: Option<&OsStr>) -> ExitCode {
    let agent = agent.and_then(OsStr::to_str).and_then(|pid| pid.parse().ok()).map(Pid::from_raw);
    let Some(agent) = agent else { return ExitCode::FAILURE };
    // What ends all processes of a terminal or a session does not end this one.
    let _ = setsid();
    // What is sent to all processes of the agent is not the end of it: that is waited for.
    let mut deaf = SigSet::empty();
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT]
        .into_iter()
        .for_each(|one| deaf.add(one));
    let _ = deaf.thread_block();
    let Ok(will) = io::stdout().as_fd().try_clone_to_owned().map(File::from) else {
        return ExitCode::FAILURE;
    };
    // Its start was most of what it takes.
    pages::give_back();
    if io::copy(&mut io::stdin(), &mut io::sink()).is_err() {
        return ExitCode::FAILURE;
    }
    if has_ended(agent)
        && let Some(testament) = Testament::read(&will)
    {
        speak(&testament);
    }
    ExitCode::SUCCESS
}

/// Whether our parent is another one: the kernel closes what a process had before it gives its children away. A parent that
/// closed the pipe and lives is no dead one, whatever made it do so.
fn has_ended(agent: Pid) -> bool {
    for _ in 0..LOOKS {
        if getppid() != agent {
            return true;
        }
        std::thread::sleep(LOOK);
    }
    false
}

/// Sends it to all, twice: a datagram may be lost. Returns how many could be sent.
pub(crate) fn speak(testament: &Testament) -> usize {
    let four = socket(testament.from, Ipv4Addr::UNSPECIFIED.into());
    let six = socket(testament.from, Ipv6Addr::UNSPECIFIED.into());
    let send = |heir: &&SocketAddr| {
        let socket = if heir.is_ipv4() { &four } else { &six };
        socket.as_ref().is_ok_and(|socket| socket.send_to(&testament.words, heir).is_ok())
    };
    let sent = testament.heirs.iter().filter(send).count();
    std::thread::sleep(AGAIN);
    sent.max(testament.heirs.iter().filter(send).count())
}

/// Where the agent spoke from, if that is such an address and this host has it, since routes and packet filters may go by it.
fn socket(from: Option<IpAddr>, any: IpAddr) -> io::Result<UdpSocket> {
    let from = from.filter(|from| from.is_ipv4() == any.is_ipv4());
    from.and_then(|from| UdpSocket::bind((from, 0)).ok()).map_or_else(|| UdpSocket::bind((any, 0)), Ok)
}

/// The word by which this program is called as a guardian.
pub(crate) const GUARDIAN: &str = "wait-for-last-words";
/// Ten seconds and more: longer than the kernel takes to end a process. Honest guess.
const LOOKS: u32 = 50_000;
const LOOK: Duration = Duration::from_micros(200);
/// Longer than most bursts of loss, and sooner than the second wave of news.
const AGAIN: Duration = Duration::from_millis(50);
