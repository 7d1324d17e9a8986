//! `exec --watchdog` with a pipe in the device's place: when it is petted, and when not any more; and with the kernel's own
//! software device where it cannot reset this machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod pipe;
mod skipped;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use daemon::{Agent, plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipe::{Pipe, now};
use skipped::skipped;

#[test]
fn pets_end_with_quorum_and_the_device_is_disarmed_when_the_command_is_gone() {
    let (a, mut b) = two();
    let dog = Pipe::new(a.plan.dir());
    let mut guarded = Guarded::start(&a, &dog, &["--grace", "1s"], STUBBORN);
    guarded.runs(&a);
    thread::sleep(TIMEOUT);
    let gap = dog.longest_gap(now() - TIMEOUT);
    assert!(gap < TIMEOUT / 3, "a gap of {gap:?} while all is well");
    b.kill();
    assert_eq!(guarded.ended().code(), Some(123));
    assert!(dog.ends_with("V"), "disarmed: {}", dog.told());
    let gap = dog.longest_gap(guarded.began);
    assert!(gap > Duration::from_millis(800), "no pet while the command stops: {gap:?}");
    assert!(gap < TIMEOUT, "and no reset: {gap:?}");
    let said = guarded.said();
    assert!(said.contains("is not petted any more"), "{said}");
    assert!(said.contains("5.93s after the last question that a majority answered"), "{said}");
}

#[test]
fn pets_end_with_the_proof_of_an_agent_that_stands_still() {
    let a = one();
    let dog = Pipe::new(a.plan.dir());
    let mut guarded = Guarded::start(&a, &dog, &["--grace", "1s"], STUBBORN);
    guarded.runs(&a);
    a.freeze();
    let frozen = now();
    assert_eq!(guarded.ended().code(), Some(123));
    // What was written is read a moment later.
    a.wait_for("the device is let go", |_| dog.is_let_go());
    // Between the last by the proof and the one after the end of the command.
    let (last, gap) = dog.longest_gap_from(frozen);
    assert!(last - frozen < LEASE, "{:?} after it stood still", last - frozen);
    assert!(gap > Duration::from_millis(800), "{gap:?}");
    a.signal(Signal::SIGCONT);
}

#[test]
fn a_guard_that_stands_still_pets_no_more_and_one_that_is_killed_leaves_the_device_armed() {
    let a = one();
    let dog = Pipe::new(a.plan.dir());
    let mut guarded = Guarded::start(&a, &dog, &[], "trap '' TERM; while :; do sleep 0.05; done");
    let command = guarded.runs(&a);
    guarded.signal(Signal::SIGSTOP);
    // A write that was under way.
    thread::sleep(Duration::from_millis(100));
    let stopped = dog.pets().len();
    thread::sleep(TIMEOUT);
    assert_eq!(dog.pets().len(), stopped, "a device would have reset the machine");
    guarded.child.kill().unwrap();
    guarded.child.wait().unwrap();
    // The kernel pets a device when its last opener goes: so not while the command still runs.
    a.wait_for("what it ran has ended", |_| {
        let gone = dog.is_let_go();
        let runs = is_running(command);
        assert!(!(gone && runs), "the device was let go before the command had ended");
        gone
    });
    assert!(!dog.told().contains('V'), "{}", dog.told());
}

#[test]
fn a_guard_that_waits_for_quorum_pets_and_disarms_when_it_is_told_to_end() {
    let (a, mut b) = two();
    let dog = Pipe::new(a.plan.dir());
    let mut guarded = Guarded::start(&a, &dog, &["--restart"], "exec sleep 1000");
    guarded.runs(&a);
    b.kill();
    a.wait_for("it has been stopped", |_| guarded.said().contains("the command has stopped"));
    let waits = now();
    thread::sleep(TIMEOUT);
    let gap = dog.longest_gap(waits);
    assert!(gap < TIMEOUT / 3, "no command, and nothing to reset the machine for: {gap:?}");
    assert!(!dog.told().contains('V'));
    guarded.signal(Signal::SIGTERM);
    assert_eq!(guarded.ended().code(), Some(143));
    assert!(dog.ends_with("V"), "{}", dog.told());
}

#[test]
fn a_command_that_ends_by_itself_or_by_a_signal_is_an_orderly_end() {
    let a = one();
    let dog = Pipe::new(a.plan.dir());
    let mut guarded =
        Guarded::start(&a, &dog, &[], "test \"$HEARTSAY_TAKEOVER_HOLD\" = 4.5 && sleep 1 && exit 7");
    assert_eq!(guarded.ended().code(), Some(7));
    assert!(dog.ends_with("V"), "{}", dog.told());
    let dog = Pipe::new(a.plan.dir());
    let mut guarded = Guarded::start(&a, &dog, &[], "exec sleep 1000");
    guarded.runs(&a);
    guarded.signal(Signal::SIGTERM);
    assert_eq!(guarded.ended().code(), Some(143));
    assert!(dog.ends_with("V"), "{}", dog.told());
}

/// A process that is frozen by its cgroup (of version 1) does not even die, like one that waits for a broken disk.
#[test]
fn a_command_that_cannot_be_killed_has_its_machine_reset() {
    let Some(freezer) = Freezer::new() else { return skipped("no freezer (cgroup version 1) to write to") };
    let (a, mut b) = two();
    let dog = Pipe::new(a.plan.dir());
    let script = format!("echo $$ > {}; exec sleep 1000", freezer.dir.join("cgroup.procs").display());
    let mut guarded = Guarded::start(&a, &dog, &["--restart"], &script);
    guarded.runs(&a);
    freezer.set("FROZEN");
    b.kill();
    a.wait_for("it has tried all", |_| guarded.said().contains("does not die, not even by SIGKILL"));
    let tried = dog.pets().len();
    thread::sleep(TIMEOUT);
    assert_eq!(dog.pets().len(), tried, "a device would have reset the machine by now");
    guarded.signal(Signal::SIGTERM);
    thread::sleep(TIMEOUT / 4);
    assert!(guarded.child.try_wait().unwrap().is_none(), "it does not end before the command");
    assert_eq!((dog.pets().len(), dog.told().contains('V')), (tried, false));
    freezer.set("THAWED");
    assert_eq!(
        guarded.ended().code(),
        Some(143),
        "no machine was reset here, and the command is gone at last"
    );
    assert!(dog.ends_with("V"), "{}", dog.told());
}

#[test]
fn log_only_writes_nothing_and_says_when_the_machine_would_have_been_reset() {
    let a = one();
    let dog = a.plan.dir().join("dog");
    fs::write(&dog, "").unwrap();
    let flags = ["--watchdog", dog.to_str().unwrap(), "--stand-in", "--log-only"];
    let mut guarded = Guarded::launch(&a, &flags, "exec sleep 1000");
    guarded.runs(&a);
    guarded.signal(Signal::SIGSTOP);
    thread::sleep(TIMEOUT + TIMEOUT / 4);
    guarded.signal(Signal::SIGCONT);
    assert_eq!(guarded.ended().code(), Some(123), "its proof ran out meanwhile");
    let said = guarded.said();
    assert!(said.contains("--log-only: the watchdog would have reset this machine"), "{said}");
    assert!(said.contains("is not opened"), "{said}");
    assert_eq!(fs::read_to_string(&dog).unwrap(), "");
}

#[test]
fn a_watchdog_that_is_of_no_use_is_told_before_anything_starts() {
    let a = one();
    let file = a.plan.dir().join("file");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    for (flags, code, text) in [
        (&["--watchdog", "/dev/no-such-watchdog"][..], 122, "modprobe softdog"),
        (&["--watchdog", file], 122, "it is no device; for a test, --stand-in"),
        (&["--watchdog", "/dev/null"], 122, "of another kind"),
        (&["--watchdog", file, "--stand-in", "--watchdog-timeout", "1500ms"], 2, "whole seconds"),
        (&["--watchdog", file, "--stand-in", "--grace", "2s"], 2, "Give --grace 1s or less"),
        (&["--stand-in"], 2, "--watchdog <DEVICE>"),
    ] {
        let started = a.plan.dir().join("started");
        let mut guarded = Guarded::launch(&a, flags, &format!("touch {}", started.display()));
        assert_eq!(guarded.ended().code(), Some(code), "{flags:?}");
        let said = guarded.said();
        assert!(said.contains(text), "{flags:?}: {said}");
        assert!(!started.exists());
    }
}

#[test]
fn a_device_that_takes_no_pet_stops_the_command() {
    let a = one();
    let dog = Pipe::new(a.plan.dir());
    let mut guarded = Guarded::start(&a, &dog, &["--restart"], "exec sleep 1000");
    guarded.runs(&a);
    dog.close();
    assert_eq!(guarded.ended().code(), Some(122));
    let said = guarded.said();
    assert!(said.contains("the watchdog cannot be petted"), "{said}");
}

/// Only where the device that would be armed is known to reset nothing.
#[test]
fn the_device_of_the_kernel_is_armed_taken_by_one_and_disarmed_by_an_orderly_end_only() {
    let device = match harmless_device() {
        Ok(device) => device,
        Err(why) => return skipped(why),
    };
    let a = one();
    let flags = ["--watchdog", device.path.to_str().unwrap(), "--watchdog-timeout", "3s"];
    let mut first = Guarded::launch(&a, &flags, "exec sleep 1000");
    first.runs(&a);
    assert_eq!((device.says("state").as_str(), device.says("timeout").as_str()), ("active", "3"));
    let mut second = Guarded::launch(&a, &flags, "true");
    assert_eq!(second.ended().code(), Some(122));
    assert!(second.said().contains("it is busy"), "{}", second.said());
    first.signal(Signal::SIGTERM);
    assert_eq!(first.ended().code(), Some(143));
    assert_eq!(device.says("state"), "inactive");

    let too_long = ["--watchdog", device.path.to_str().unwrap(), "--watchdog-timeout", "1h"];
    let mut refused = Guarded::launch(&a, &too_long, "exec sleep 1000");
    // The software device takes any time-out up to 65,535 s: so it is armed with it, and disarmed.
    refused.runs(&a);
    assert_eq!(device.says("timeout"), "3600");
    refused.signal(Signal::SIGTERM);
    refused.ended();

    let mut killed = Guarded::launch(&a, &flags, "exec sleep 1000");
    let command = killed.runs(&a);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    a.wait_for("its command has ended", |_| !is_running(command));
    assert_eq!(device.says("state"), "active", "the machine would be reset");
    a.wait_for("the device is let go", |_| fs::write(&device.path, "V").is_ok());
    assert_eq!(device.says("state"), "inactive");
}

/// The software device, loaded here so that it is known not to reset the machine: the kernel does not show with which parameters
/// it was loaded by others.
fn harmless_device() -> Result<Device, &'static str> {
    if Path::new("/sys/module/softdog").exists() {
        return Err("softdog is loaded already, and may reset this machine");
    }
    let mut load = Command::new("modprobe");
    load.args(["softdog", "soft_noboot=1", "nowayout=0"]).stderr(Stdio::null());
    if !load.status().is_ok_and(|status| status.success()) {
        return Err("the module softdog cannot be loaded");
    }
    let devices = fs::read_dir("/sys/class/watchdog").into_iter().flatten().flatten();
    let named = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("identity")).is_ok_and(|name| name.trim() == "Software Watchdog")
    };
    let device = devices.into_iter().find(named).ok_or("softdog gives no device")?;
    Ok(Device { path: Path::new("/dev").join(device.file_name()), sysfs: device.path() })
}

impl Drop for Device {
    fn drop(&mut self) {
        // Fails while it is open, and then it stays.
        let _ = Command::new("rmmod").arg("softdog").status();
    }
}

struct Device {
    path: PathBuf,
    sysfs: PathBuf,
}

impl Device {
    fn says(&self, name: &str) -> String {
        fs::read_to_string(self.sysfs.join(name)).unwrap_or_default().trim().to_owned()
    }
}

/// A cgroup of its own that can be frozen.
struct Freezer {
    dir: PathBuf,
}

impl Freezer {
    fn new() -> Option<Self> {
        let dir = PathBuf::from(format!("/sys/fs/cgroup/freezer/heartsay-test-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let freezer = Self { dir };
        freezer.dir.join("freezer.state").exists().then_some(freezer)
    }

    fn set(&self, state: &str) {
        fs::write(self.dir.join("freezer.state"), state).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.join("freezer.state"), "THAWED");
        let pids = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        for _ in 0..100 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Not so a dead process that its parent has not buried.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn one() -> Agent {
    let a = plan("a").flags(&["--expected", "1"]).start();
    a.wait_for("quorum is held", |a| a.get("/v1/quorum")["quorum"] == "held");
    a
}

fn two() -> (Agent, Agent) {
    let a = plan("a").flags(&["--expected", "2"]).start();
    let b = plan("b").flags(&["--expected", "2"]).seed(&a.address()).start();
    a.wait_for("quorum is held", |a| a.get("/v1/quorum")["quorum"] == "held");
    (a, b)
}

/// `exec` and its command, which says which process it is.
struct Guarded {
    child: Child,
    began: std::time::Instant,
    log: PathBuf,
    pid: PathBuf,
}

impl Guarded {
    fn start(agent: &Agent, dog: &Pipe, flags: &[&str], script: &str) -> Self {
        Self::launch(agent, &[&["--watchdog", dog.path(), "--stand-in"], flags].concat(), script)
    }

    fn launch(agent: &Agent, flags: &[&str], script: &str) -> Self {
        let (log, pid) = (agent.plan.dir().join("exec.log"), agent.plan.dir().join("command.pid"));
        let _ = fs::remove_file(&pid);
        let script = format!("echo $$ > {}; {script}", pid.display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
        command.arg("--socket").arg(agent.plan.socket()).args(["exec", "--while-quorum"]).args(flags);
        command.args(["--", "/bin/sh", "-c", &script]).stdin(Stdio::null());
        let child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        Self { child, began: now(), log, pid }
    }

    /// Waits until the command runs.
    fn runs(&self, agent: &Agent) -> Pid {
        let read = || fs::read_to_string(&self.pid).ok()?.strip_suffix('\n')?.parse().ok();
        agent.wait_for("the command runs", |_| read().is_some());
        // The process beside `exec` learns a moment after its start which group it is to end.
        thread::sleep(Duration::from_millis(200));
        Pid::from_raw(read().unwrap())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        for _ in 0..1500 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end: {}", self.said())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends by SIGKILL only.
const STUBBORN: &str = "trap '' TERM; while :; do sleep 0.05; done";
/// That of the device, by default.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest proof with the default settings, and what a busy machine adds.
const LEASE: Duration = Duration::from_millis(1400 + 200);
