//! The example of a primary and a backup (`docs/examples/primary-backup`), attacked. Two machines and a witness, each a network
//! namespace; the watchdog device of a machine is a pipe, and this test is the reset line: without a pet in time it kills all
//! that runs there. Whatever is done to the primary, at no time do both act.
//!
//! `HEARTSAY_ATTACKS=100 cargo test -p heartsay --test primary_backup -- --nocapture` makes so many attacks, in an order drawn
//! from `HEARTSAY_ATTACKS_SEED`; by default each kind once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod network;
mod pipe;
mod skipped;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use network::{Network, now};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipe::Pipe;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use skipped::skipped;

#[test]
fn a_primary_and_a_backup_never_both_act_whatever_is_done_to_the_primary() {
    let Some(mut lab) = Lab::new() else { return };
    let mut attacks = ATTACKS.to_vec();
    attacks.retain(|attack| lab.can(*attack));
    let count = std::env::var("HEARTSAY_ATTACKS").ok().map(|count| count.parse().expect("a number"));
    let count: usize = count.unwrap_or(attacks.len());
    let seed = std::env::var("HEARTSAY_ATTACKS_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut chance = StdRng::seed_from_u64(seed);
    for i in 0..count {
        if i > 0 && i % attacks.len() == 0 {
            attacks.shuffle(&mut chance);
        }
        let attack = attacks[i % attacks.len()];
        lab.wait_for("one acts", |lab| lab.acting().is_some());
        thread::sleep(Duration::from_millis(chance.random_range(0..1000)));
        lab.attack(attack);
        judge(&lab.log);
    }
    let reigns = judge(&lab.log);
    eprintln!("{count} attacks (seed {seed}), {} reigns, {} resets, no overlap", reigns.len(), lab.resets());
    assert!(reigns.len() > 1, "no takeover at all");
}

#[test]
fn two_that_act_at_once_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let found = |text: &str| {
        fs::write(&log, text).unwrap();
        std::panic::catch_unwind(|| judge(&log)).is_err()
    };
    assert!(!found("0 m1 7 100\n0 m1 7 200\n0 m2 8 300\n"));
    assert!(found("0 m1 7 100\n0 m2 8 200\n0 m1 7 300\n"), "mixed");
    assert!(found("0 m1 7 100\n0 m1 7 250\n0 m2 8 200\n"), "written late");
}

/// What is done to the machine of the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// SIGSTOP to its agent.
    StopAgent,
    /// SIGSTOP to `heartsay exec`.
    StopGuard,
    /// SIGKILL to `heartsay exec`.
    KillGuard,
    /// SIGSTOP to all at once: a paused virtual machine whose watchdog counts on.
    StopMachine,
    /// Its cable is pulled.
    Cut,
    /// It gets another address.
    Move,
    /// Its disk hangs, so that a part of the command cannot be killed, and its cable is pulled.
    HangDisk,
    /// Its wall clock is set forward by an hour.
    StepClock,
    /// Its agent is killed and starts again.
    RestartAgent,
}

const ATTACKS: [Attack; 9] = [
    Attack::StopMachine,
    Attack::Cut,
    Attack::StopGuard,
    Attack::StepClock,
    Attack::HangDisk,
    Attack::StopAgent,
    Attack::Move,
    Attack::KillGuard,
    Attack::RestartAgent,
];

impl Attack {
    /// It ends the reign of the primary for certain.
    fn is_deadly(self) -> bool {
        !matches!(self, Self::Move | Self::StepClock | Self::RestartAgent)
    }
}

struct Lab {
    network: Network,
    dir: tempfile::TempDir,
    machines: Vec<Machine>,
    log: PathBuf,
    clock: Option<PathBuf>,
    over: Arc<AtomicBool>,
}

/// One of the two nodes.
struct Machine {
    number: usize,
    dog: Arc<Pipe>,
    guard: Option<Child>,
    disk: Option<Disk>,
    /// All that ran there was killed.
    is_off: Arc<AtomicBool>,
    resets: usize,
}

impl Lab {
    fn new() -> Option<Self> {
        let network = Network::bare(3, "pb")?;
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("acting");
        fs::write(&log, "").unwrap();
        let clock = preloaded_clock(dir.path());
        let over = Arc::<AtomicBool>::default();
        let machines = [1, 2].map(|number| {
            let home = dir.path().join(format!("machine{number}"));
            fs::create_dir(&home).unwrap();
            fs::write(home.join("step"), "0").unwrap();
            let machine = Machine {
                number,
                dog: Arc::new(Pipe::new(&home)),
                guard: None,
                disk: Disk::new(&home),
                is_off: Arc::default(),
                resets: 0,
            };
            machine.wire(network.namespace(number), Arc::clone(&over));
            machine
        });
        let mut lab = Self { network, dir, machines: machines.into(), log, clock, over };
        lab.agent(3);
        lab.boot(1);
        lab.boot(2);
        Some(lab)
    }

    /// Whether this machine allows it.
    fn can(&self, attack: Attack) -> bool {
        let disks = self.machines.iter().all(|machine| machine.disk.is_some());
        let why = if attack == Attack::HangDisk && !disks {
            "a disk that hangs needs a loop device, mkfs.ext4 and fsfreeze"
        } else if attack == Attack::StepClock && self.clock.is_none() {
            "a clock that is set needs a C compiler"
        } else {
            return true;
        };
        skipped(format!("{attack:?}: {why}"));
        false
    }

    fn home(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("machine{i}"))
    }

    fn agent(&mut self, i: usize) {
        let state = match self.machines.get(i - 1).and_then(|machine| machine.disk.as_ref()) {
            Some(disk) => disk.mounted.join("state"),
            None => self.dir.path().join(format!("state{i}")),
        };
        let (name, socket) = (format!("m{i}"), self.network.socket(i));
        let environment = self.environment(i);
        let mut words = vec!["env".to_owned()];
        words.extend(environment);
        let own =
            [env!("CARGO_BIN_EXE_heartsay"), "agent", "--config", "/dev/null", "--cluster", "pb", "--name"];
        words.extend(own.map(ToOwned::to_owned));
        words.push(name);
        for (flag, path) in [("--state-dir", state), ("--socket", socket)] {
            words.extend([flag.to_owned(), path.to_str().unwrap().to_owned()]);
        }
        let rest = ["--expected", "3", "--fence", "--acceptable-pause", "1s", "--seed", "10.77.0.1"];
        words.extend(
            rest.into_iter().chain(["--seed", "10.77.0.2", "--seed", "10.77.0.3"]).map(ToOwned::to_owned),
        );
        self.network.run(i, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// What makes the wall clock of this machine one that can be set.
    fn environment(&self, i: usize) -> Vec<String> {
        let Some(clock) = self.clock.as_ref().filter(|_| i < 3) else { return Vec::new() };
        let step = self.home(i).join("step");
        vec![format!("LD_PRELOAD={}", clock.display()), format!("STEP_FILE={}", step.display())]
    }

    fn guard(&mut self, i: usize) {
        let home = self.home(i);
        let said = fs::OpenOptions::new().create(true).append(true).open(home.join("exec.log")).unwrap();
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/primary-backup/node.sh");
        let (me, other) = (format!("m{i}"), format!("m{}", 3 - i));
        // A process beside it writes to the disk, and hangs with it.
        let disk = self.machines[i - 1].disk.as_ref().map_or(&home, |disk| &disk.mounted).join("work");
        let script = r#"while :; do echo >"$0"; sleep 0.05; done & exec "$@""#;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.network.namespace(i), "env"]).args(self.environment(i));
        command.arg(format!("HEARTSAY_BIN={}", env!("CARGO_BIN_EXE_heartsay"))).arg("ACCEPTABLE_PAUSE=1");
        command.arg(format!("HEARTSAY_SOCKET={}", self.network.socket(i).display()));
        command.args([env!("CARGO_BIN_EXE_heartsay"), "exec", "--while-quorum", "--restart"]);
        command.args([
            "--watchdog",
            self.machines[i - 1].dog.path(),
            "--stand-in",
            "--watchdog-timeout",
            "1s",
        ]);
        command.args(["--", "bash", "-c", script]).arg(disk).args([example, &me, &other]).arg(&self.log);
        command.args((i == 1).then_some("preferred"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        self.machines[i - 1].guard = Some(command.spawn().unwrap());
    }

    /// Starts what runs on a machine, as after a reset.
    fn boot(&mut self, i: usize) {
        self.machines[i - 1].bury();
        self.machines[i - 1].is_off.store(false, Ordering::SeqCst);
        self.agent(i);
        self.guard(i);
    }

    /// Boots what was reset, and starts a guard that has ended; not on the machine that is under attack.
    fn tend(&mut self, attacked: Option<usize>) {
        for i in [1, 2].into_iter().filter(|i| Some(*i) != attacked) {
            if self.machines[i - 1].is_off.load(Ordering::SeqCst) {
                self.machines[i - 1].resets += 1;
                self.boot(i);
            } else if self.machines[i - 1].guard.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.guard(i);
            }
        }
    }

    /// The machine whose primary wrote within the last half second.
    fn acting(&self) -> Option<usize> {
        let text = fs::read_to_string(&self.log).unwrap();
        let act = text.lines().next_back().map(Act::read)?;
        (since_boot().saturating_sub(act.at) < 500).then(|| act.reign.0[1..].parse().unwrap())
    }

    fn attack(&mut self, attack: Attack) {
        let Some(primary) = self.acting() else { return };
        let began = now();
        self.strike(attack, primary);
        if attack.is_deadly() {
            self.wait_while("the other one takes over", Some(primary), |lab| {
                lab.acting() == Some(3 - primary)
            });
        } else {
            thread::sleep(LASTS);
        }
        eprintln!("{attack:?} on m{primary}: {:.1?}, m{} acts", now() - began, self.acting().unwrap_or(0));
        // In it a primary that has come to by now would be seen.
        thread::sleep(Duration::from_millis(300));
        self.mend(attack, primary);
        thread::sleep(Duration::from_millis(700));
        self.wait_for("all are there", |lab| (1..=3).all(|i| lab.network.alive(i) == 3));
    }

    fn strike(&mut self, attack: Attack, i: usize) {
        let guard = Pid::from_raw(self.machines[i - 1].guard.as_ref().unwrap().id().try_into().unwrap());
        match attack {
            Attack::StopAgent => self.network.signal(i, Signal::SIGSTOP),
            Attack::StopGuard => kill(guard, Signal::SIGSTOP).unwrap(),
            Attack::KillGuard => kill(guard, Signal::SIGKILL).unwrap(),
            Attack::StopMachine => signal_all(&self.network.namespace(i), Signal::SIGSTOP),
            Attack::Cut => self.network.script(&["cut", &i.to_string()]).unwrap(),
            Attack::Move => self.renumber(i, &format!("10.77.0.{i}"), &format!("10.77.0.10{i}")),
            Attack::HangDisk => {
                self.machines[i - 1].disk.as_ref().unwrap().freeze(true);
                self.network.script(&["cut", &i.to_string()]).unwrap();
            }
            Attack::StepClock => fs::write(self.home(i).join("step"), "3600").unwrap(),
            Attack::RestartAgent => {
                self.network.kill(i);
                self.agent(i);
            }
        }
    }

    fn mend(&mut self, attack: Attack, i: usize) {
        match attack {
            Attack::StopAgent | Attack::StopGuard => {
                signal_all(&self.network.namespace(i), Signal::SIGCONT);
            }
            Attack::StopMachine => wake_slowly(&self.network.namespace(i)),
            Attack::Cut => self.network.script(&["heal"]).unwrap(),
            Attack::Move => self.renumber(i, &format!("10.77.0.10{i}"), &format!("10.77.0.{i}")),
            Attack::HangDisk => {
                self.machines[i - 1].disk.as_ref().unwrap().freeze(false);
                self.network.script(&["heal"]).unwrap();
            }
            Attack::StepClock => fs::write(self.home(i).join("step"), "0").unwrap(),
            Attack::KillGuard | Attack::RestartAgent => {}
        }
    }

    fn renumber(&self, i: usize, from: &str, to: &str) {
        self.network.ip(i, &format!("addr add {to}/24 dev eth0"));
        self.network.ip(i, &format!("addr del {from}/24 dev eth0"));
        // Where the kernel removes the second address with the first.
        self.network.ip_if_it_can(i, &format!("addr add {to}/24 dev eth0"));
    }

    fn wait_for(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        self.wait_while(what, None, done);
    }

    fn wait_while(&mut self, what: &str, attacked: Option<usize>, done: impl Fn(&Self) -> bool) {
        let began = now();
        while !done(self) {
            if now() - began > PATIENCE {
                let said =
                    [1, 2].map(|i| fs::read_to_string(self.home(i).join("exec.log")).unwrap_or_default());
                let logs = [1, 2, 3].map(|i| self.network.log(i));
                panic!("waited in vain until {what}:\n{}\n{}", said.join("\n--\n"), logs.join("\n--\n"));
            }
            self.tend(attacked);
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn resets(&self) -> usize {
        self.machines.iter().map(|machine| machine.resets).sum()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for machine in &mut self.machines {
            if let Some(disk) = &machine.disk {
                disk.freeze(false);
            }
            signal_all(&self.network.namespace(machine.number), Signal::SIGKILL);
            machine.bury();
        }
    }
}

impl Machine {
    /// The reset line, from the device to the machine.
    fn wire(&self, namespace: String, over: Arc<AtomicBool>) {
        let (dog, is_off) = (Arc::clone(&self.dog), Arc::clone(&self.is_off));
        thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                if dog.fires(TIMEOUT) {
                    signal_all(&namespace, Signal::SIGKILL);
                    is_off.store(true, Ordering::SeqCst);
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
    }

    fn bury(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.kill();
            let _ = guard.wait();
        }
    }
}

/// A file system of its own, which can be made to hang: what writes to it waits, and cannot be killed.
struct Disk {
    mounted: PathBuf,
}

impl Disk {
    fn new(home: &Path) -> Option<Self> {
        let (image, mounted) = (home.join("image"), home.join("disk"));
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        fs::create_dir(&mounted).unwrap();
        let run = |words: &[&str]| {
            Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
        };
        let (image, point) = (image.to_str().unwrap(), mounted.to_str().unwrap());
        let made = run(&["mkfs.ext4", "-q", image]) && run(&["mount", "-o", "loop", image, point]);
        // Seen to work once, and undone.
        let disk = made.then_some(Self { mounted })?;
        (disk.freeze(true) && disk.freeze(false)).then_some(disk)
    }

    fn freeze(&self, frozen: bool) -> bool {
        let flag = if frozen { "--freeze" } else { "--unfreeze" };
        let output = Command::new("fsfreeze").arg(flag).arg(&self.mounted).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.freeze(false);
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}

/// A library that adds to the wall clock of a program what stands in a file; the clock of this host is not touched.
fn preloaded_clock(dir: &Path) -> Option<PathBuf> {
    const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, now);
    const char *name = getenv("STEP_FILE");
    if (id == CLOCK_REALTIME && code == 0 && name) {
        char text[32] = {0};
        int file = open(name, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) now->tv_sec += atoi(text);
            close(file);
        }
    }
    return code;
}
"#;
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    fs::write(&source, SOURCE).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
    compiler.output().is_ok_and(|output| output.status.success()).then_some(library)
}

/// A machine that goes on, the youngest process first: what acts does so before its guard notices.
fn wake_slowly(namespace: &str) {
    for pid in processes(namespace).into_iter().rev() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        thread::sleep(Duration::from_millis(50));
    }
}

fn processes(namespace: &str) -> BTreeSet<i32> {
    let output = Command::new("ip").args(["netns", "pids", namespace]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Every process of a network namespace, again and again until no new one is found.
fn signal_all(namespace: &str, signal: Signal) {
    let mut told = BTreeSet::new();
    loop {
        let found = processes(namespace);
        let new: Vec<i32> = found.difference(&told).copied().collect();
        if new.is_empty() {
            return;
        }
        for pid in new {
            // It may have gone.
            let _ = kill(Pid::from_raw(pid), signal);
            told.insert(pid);
        }
    }
}

/// A line that a primary wrote.
struct Act {
    /// Node and process.
    reign: (String, String),
    /// Milliseconds since the host was started.
    at: u64,
}

impl Act {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        Self { reign: (words[1].to_owned(), words[2].to_owned()), at: words[3].parse().unwrap() }
    }
}

/// From when to when each acted. Fails if one began before another had ended, by the clock or by the order of the lines.
fn judge(log: &Path) -> Vec<((String, String), u64, u64)> {
    let text = fs::read_to_string(log).unwrap();
    let mut reigns: Vec<((String, String), u64, u64)> = Vec::new();
    for act in text.lines().map(Act::read) {
        match reigns.last_mut() {
            Some((reign, _, end)) if *reign == act.reign => *end = act.at,
            last => {
                let end = last.map_or(0, |(_, _, end)| *end);
                let known = reigns.iter().any(|(reign, _, _)| *reign == act.reign);
                assert!(!known && act.at > end, "two acted at {} ms: {:?} and another", act.at, act.reign);
                reigns.push((act.reign, act.at, act.at));
            }
        }
    }
    reigns
}

/// Milliseconds since the host was started.
fn since_boot() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().replace('.', "").parse::<u64>().unwrap() * 10
}

/// That of the devices: the shortest, so that the test is short too.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long an attack lasts that ends no reign for certain.
const LASTS: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(45);
