//! A command with all its offspring: started and ended as one process group.
//!
//! This process may be killed before it can end the group. So a second process, the
//! keeper, waits beside each group for our end of a pipe to close, which the kernel
//! does however we die, and ends the group then. `PR_SET_PDEATHSIG` is the road not
//! taken: it reaches the leader alone, and its offspring lives on.
//!
//! With a watchdog the keeper has a second hold on the device and does not end before the group: the kernel pets a device once
//! when its last hold is let go, and that must not happen while the command of a killed guard still runs.
//!
//! Weak spot: a process that makes a session of its own (`setsid`, a daemon)
//! has left the group and is not ended with it.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::task;

/// A running process group, and its leader, which is a child of ours. Dropped
/// before it has ended, it is killed.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) leader: Child,
    id: Pid,
    ended: bool,
    /// Killed when this is dropped; `None` where it could not be started.
    keeper: Option<Child>,
}

impl Group {
    /// Starts `command` as the leader of a new group.
    ///
    /// # Errors
    /// The system cannot start it.
    pub(crate) async fn start(command: &mut Command) -> io::Result<Self> {
        // Before the command, so that there is no moment at which it runs unkept. Where there is no /proc the
        // command runs all the same, as a group that only we can end.
        let keeper = start_keeper(None).ok();
        Self::kept(command, keeper).await
    }

    /// The same with a keeper that holds this open until the group has ended.
    ///
    /// # Errors
    /// The system cannot start the command, or the keeper.
    pub(crate) async fn start_holding(command: &mut Command, held: OwnedFd) -> io::Result<Self> {
        let keeper = start_keeper(Some(held)).map_err(|error| {
            io::Error::other(format!("the process that waits beside it cannot be started: {error}"))
        })?;
        Self::kept(command, Some(keeper)).await
    }

    /// The same without a keeper: what is to end at once needs none.
    ///
    /// # Errors
    /// The system cannot start it.
    pub(crate) fn unkept(command: &mut Command) -> io::Result<Self> {
        let leader = command.process_group(0).spawn()?;
        let id = leader.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("it has no process id"))?;
        Ok(Self { leader, id, ended: false, keeper: None })
    }

    /// Gives it a keeper after all.
    pub(crate) async fn keep(&mut self) {
        self.keeper = start_keeper(None).ok();
        self.tell_keeper().await;
    }

    async fn kept(command: &mut Command, keeper: Option<Child>) -> io::Result<Self> {
        let mut group = Self::unkept(command)?;
        group.keeper = keeper;
        group.tell_keeper().await;
        Ok(group)
    }

    async fn tell_keeper(&mut self) {
        if let Some(pipe) = self.keeper.as_mut().and_then(|keeper| keeper.stdin.as_mut()) {
            // Fits the pipe; a keeper that is gone already keeps nothing.
            let _ = pipe.write_all(self.id.to_string().as_bytes()).await;
        }
    }

    /// Process id of the leader, which is that of the group too.
    pub(crate) fn id(&self) -> Pid {
        self.id
    }

    /// Writes `text` to the leader's standard input, if that is a pipe, and closes it. A leader that does
    /// not read it is in its right.
    pub(crate) fn feed(&mut self, text: Vec<u8>) {
        if let Some(mut stdin) = self.leader.stdin.take() {
            task::start(async move { drop(stdin.write_all(&text).await) });
        }
    }

    /// Waits for the leader, and buries orphans meanwhile. For a process with this one group and no other children.
    ///
    /// # Errors
    /// The leader cannot be waited for.
    pub(crate) async fn wait_and_bury(&mut self) -> io::Result<ExitStatus> {
        let Self { leader, keeper, id, .. } = self;
        tokio::select! {
            status = leader.wait() => status,
            never = bury(Some(*id), keeper.as_mut()) => match never {},
        }
    }

    /// Waits for the leader until `limit`, then ends what is left of the group. `None`: the time was up.
    ///
    /// # Errors
    /// As [`end`](Self::end).
    pub(crate) async fn run(
        &mut self,
        limit: Option<Duration>,
        grace: Duration,
    ) -> io::Result<Option<ExitStatus>> {
        let status = match limit {
            Some(limit) => tokio::time::timeout(limit, self.leader.wait()).await.ok().transpose()?,
            None => Some(self.leader.wait().await?),
        };
        self.end(grace).await?;
        Ok(status)
    }

    /// Sends a signal to every process of the group.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.ended {
            // Fails when all of them are gone, and then none is left to tell.
            let _ = killpg(self.id, signal);
        }
    }

    /// Ends the processes of the group that still run: asks, waits for `grace`, kills. How the leader ended.
    ///
    /// # Errors
    /// The leader did not even die when killed, which only a broken device or file system explains.
    pub(crate) async fn end(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        // A stopped process would not hear the first.
        self.signal(Signal::SIGCONT);
        if tokio::time::timeout(grace, self.gone()).await.is_err() {
            self.signal(Signal::SIGKILL);
            // Not `gone`: a dead process whose new parent does not look after it counts as there without end.
            let _ = tokio::time::timeout(LAST, self.dead()).await;
        }
        self.ended = true;
        let dead = tokio::time::timeout(LAST, self.leader.wait()).await;
        dead.unwrap_or_else(|_| Err(io::Error::other("it does not die")))
    }

    /// Whether any process of the group still runs. A dead one that its parent has not buried does not; one that the system
    /// does not show does.
    pub(crate) fn runs(&self) -> bool {
        is_there(self.id) && runs(self.id)
    }

    /// Waits until no process of the group is left.
    async fn gone(&mut self) {
        let _ = self.leader.wait().await;
        while is_there(self.id) {
            // Dead children that the system has given to us, as it does to process 1, would always count as there.
            let group = Pid::from_raw(-self.id.as_raw());
            while !matches!(waitpid(group, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(_)) {
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits, without end, until no process of the group runs: how the leader ended.
    ///
    /// # Errors
    /// The leader cannot be waited for.
    pub(crate) async fn dead(&mut self) -> io::Result<ExitStatus> {
        let status = self.leader.wait().await;
        let mut pause = LOOK;
        while self.runs() {
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(SLOW_LOOK);
        }
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Buries dead children that no other code waits for: process 1 of a container inherits every orphan there, and one that is
/// not waited for stays as a zombie. Leaves `leader` and `keeper` to the code that has started them.
pub(crate) async fn bury(leader: Option<Pid>, mut keeper: Option<&mut Child>) -> Infallible {
    // Before the first look, so that no death falls between.
    let Ok(mut deaths) = signal(SignalKind::child()) else { return std::future::pending().await };
    let looking = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        let dead = waitid(Id::All, looking).ok().and_then(|status| status.pid());
        let kept = keeper.as_ref().and_then(|keeper| keeper.id()).and_then(|id| i32::try_from(id).ok());
        match dead {
            None => drop(deaths.recv().await),
            Some(pid) if Some(pid) == leader => tokio::time::sleep(LOOK).await,
            Some(pid) if Some(pid.as_raw()) == kept => {
                // Its own handle must know that there is nothing to kill any more.
                let _ = keeper.as_mut().map(|keeper| keeper.try_wait());
            }
            Some(pid) => drop(waitpid(pid, Some(WaitPidFlag::WNOHANG))),
        }
    }
}

/// Whether the system knows a process of this group, dead ones included. Only one answer means that there is none: another
/// error than that is of a process which we may not signal.
fn is_there(group: Pid) -> bool {
    killpg(group, None) != Err(Errno::ESRCH)
}

/// Whether a process of this group is not dead. What /proc does not show is not known to be dead.
fn runs(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let numbered = |name: &OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let mut found = processes
        .flatten()
        .filter(|process| numbered(&process.file_name()))
        // One that has gone since has no line.
        .filter_map(|process| is_dead_in(&std::fs::read_to_string(process.path().join("stat")).ok()?, group))
        .peekable();
    found.peek().is_none() || found.any(|dead| !dead)
}

/// Whether the process of this line of /proc is dead, if it is of the group.
fn is_dead_in(stat: &str, group: Pid) -> Option<bool> {
    // Behind the name, which may contain anything: state, parent, group.
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    let dead = ["Z", "X", "x"].contains(&words.next()?);
    (words.nth(1)?.parse() == Ok(group.as_raw())).then_some(dead)
}

/// The keeper's whole work: ends the group whose id is on standard input once that input ends. One that `holds` waits for the
/// end of the group, however long that takes.
pub(crate) fn keep(holds: bool) -> ExitCode {
    let mut id = String::new();
    let _ = io::stdin().read_to_string(&mut id);
    // Never the group 0, which is our own, nor 1.
    let Some(id) = id.parse().ok().filter(|id| *id > 1).map(Pid::from_raw) else {
        return ExitCode::SUCCESS;
    };
    let _ = killpg(id, Signal::SIGTERM);
    let _ = killpg(id, Signal::SIGCONT);
    for _ in 0..KEEPER_LOOKS {
        if !is_there(id) {
            return ExitCode::SUCCESS;
        }
        std::thread::sleep(LOOK);
    }
    let _ = killpg(id, Signal::SIGKILL);
    while holds && is_there(id) && runs(id) {
        std::thread::sleep(SLOW_LOOK);
    }
    ExitCode::SUCCESS
}

/// This very program, called by another word, also when its file has been replaced meanwhile. Its standard input ends with us.
pub(crate) fn ourselves(word: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("heartsay").arg(word).current_dir("/").stdin(Stdio::piped()).stderr(Stdio::null());
    command
}

/// In a group of its own, so that what a terminal sends to us does not end it before us. What it holds is its standard output,
/// to which it writes nothing.
fn start_keeper(held: Option<OwnedFd>) -> io::Result<Child> {
    ourselves(KEEPER)
        .args(held.is_some().then_some(HOLDS))
        .stdout(held.map_or_else(Stdio::null, Stdio::from))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// The word by which this program is called as a keeper.
pub(crate) const KEEPER: &str = "keep-process-group";
/// The second word for one that holds something.
pub(crate) const HOLDS: &str = "holds";
/// Between the keeper's asking and killing: five seconds, as `exec --grace`.
const KEEPER_LOOKS: u32 = 500;
/// Between two looks whether any process of the group is left.
const LOOK: Duration = Duration::from_millis(10);
/// The same where each look reads all of /proc.
const SLOW_LOOK: Duration = Duration::from_millis(100);
/// What the system may take to end a killed process.
const LAST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> Group {
        Group::start(Command::new("/bin/sh").args(["-c", script])).await.unwrap()
    }

    #[tokio::test]
    async fn a_group_ends_as_a_whole_also_when_its_leader_has_gone_before() {
        let mut group = shell("sleep 60 & exit 7").await;
        assert_eq!(group.leader.wait().await.unwrap().code(), Some(7));
        assert!(killpg(group.id(), None).is_ok(), "the background process runs on");
        assert_eq!(group.end(Duration::from_secs(5)).await.unwrap().code(), Some(7));
        assert!(killpg(group.id(), None).is_err());
    }

    #[tokio::test]
    async fn a_group_runs_while_a_process_of_it_does_and_dead_ones_do_not_count() {
        let mut group = shell("sleep 60 & exit 7").await;
        assert_eq!(group.leader.wait().await.unwrap().code(), Some(7));
        assert!(group.runs(), "the background process");
        group.signal(Signal::SIGKILL);
        assert_eq!(group.dead().await.unwrap().code(), Some(7));
        assert!(!group.runs());
        let found = |rest: &str| is_dead_in(&format!("7 (a) Z 1 (b) {rest}"), Pid::from_raw(70));
        assert_eq!(["S 1 70 70 0", "D 1 70 70 0"].map(found), [Some(false); 2]);
        assert_eq!(["Z 1 70 70 0", "S 1 7 70 0", "", "S"].map(found), [Some(true), None, None, None]);
    }

    #[tokio::test]
    async fn who_does_not_listen_is_killed_after_the_grace() {
        use std::os::unix::process::ExitStatusExt as _;
        let mut group = shell("trap '' TERM; while :; do sleep 0.01; done").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(group.end(Duration::from_millis(100)).await.unwrap().signal(), Some(9));
    }
}
