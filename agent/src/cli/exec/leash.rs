//! The watchdog of `exec`: petted while the proof of quorum lies ahead, or while no command runs.
//!
//! The bound is by counting. Every pet is preceded by a look at the clock after the pet before it, so at most one pet comes
//! after the end of the proof: that of a process that stood still between look and pet. It came before the device fired, so
//! within one time-out of the last good pet, and grants one more: twice the time-out after the end of the proof the machine
//! is reset, or no process of the command was left before.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use heartsay_membership::Instant;
use heartsay_tokio::clock::Clock;
use tokio::sync::watch;

use super::super::exit::say;
use super::sight::Sight;
use crate::client::Client;
use crate::watchdog::{Plan, Watchdog, WatchdogError};

/// What `exec` is told about the watchdog.
#[derive(Args)]
pub(super) struct Options {
    /// Have this watchdog device (/dev/watchdog0) reset the machine when it stands still, or cannot stop the
    /// command, after its proof of quorum has run out.
    #[arg(long, requires = "while_quorum", value_name = "DEVICE")]
    watchdog: Option<PathBuf>,
    /// The time-out of the device, in whole seconds as it counts them. The same on all hosts.
    #[arg(long, value_parser = whole_seconds, default_value = "2s", requires = "watchdog", value_name = "TIME")]
    watchdog_timeout: Duration,
    /// Do not open the device: only log when the machine would have been reset.
    #[arg(long, requires = "watchdog")]
    log_only: bool,
    /// For tests: take a file or a pipe in the device's place, with a dot for each pet and a V for an orderly end. No
    /// machine is reset.
    #[arg(long, requires = "watchdog")]
    stand_in: bool,
}

impl Options {
    /// The time-out of the device, if there is one.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.watchdog.is_some().then_some(self.watchdog_timeout)
    }

    /// Opens the device, if there is one. From then on it has to be petted.
    ///
    /// # Errors
    /// It is of no use.
    pub(super) fn open(
        &self,
        clock: &Arc<Clock>,
        quorum: &watch::Receiver<Sight>,
    ) -> Result<Option<Leash>, WatchdogError> {
        let Some(path) = self.watchdog.clone() else { return Ok(None) };
        let opened = clock.now();
        let plan =
            Plan { path, timeout: self.watchdog_timeout, stand_in: self.stand_in, log_only: self.log_only };
        let dog = Watchdog::open(&plan)?;
        introduce(&dog, self.watchdog_timeout);
        Ok(Some(Leash {
            phase: Cell::new(Phase::Idle),
            fires: Cell::new(opened + dog.timeout()),
            told: Cell::new(false),
            announced: RefCell::default(),
            broken: watch::Sender::default(),
            quorum: quorum.clone(),
            timeout: dog.timeout(),
            wish: self.watchdog_timeout,
            clock: Arc::clone(clock),
            dog: RefCell::new(dog),
        }))
    }
}

/// Says what is not as one may think.
fn introduce(dog: &Watchdog, wish: Duration) {
    let path = dog.path().display();
    if dog.is_log_only() {
        say(&format!(
            "--log-only: {path} is not opened, since that would arm it. So nothing resets this machine, and whether the device \
             is free and takes {wish:?} is not known"
        ));
    }
    if dog.is_stand_in() {
        say(&format!("{path} is not a watchdog device: pets are recorded, and nothing resets this machine"));
    }
    if dog.timeout() < wish {
        let has = dog.timeout();
        say(&format!(
            "{path} has a time-out of {has:?}, less than the {wish:?} asked for, so the machine is reset sooner"
        ));
    }
    if dog.nowayout() {
        say(&format!(
            "{path} cannot be disarmed (nowayout): when this process ends, in whatever way, this machine is reset unless \
             another program pets the device"
        ));
    }
}

/// Where the command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No process of it exists, so there is nothing from which a reset would protect.
    Idle,
    /// It runs, by the quorum that was never lost since this count of losses.
    Running { lost: u64 },
    /// It has to stop, and was not seen to be gone.
    Stopping,
}

/// The rule.
fn may_pet(phase: Phase, sight: &Sight, now: Instant) -> bool {
    match phase {
        Phase::Idle => true,
        Phase::Running { lost } => sight.proves(now) && sight.lost == lost,
        Phase::Stopping => false,
    }
}

/// An open watchdog and what it hangs on.
pub(super) struct Leash {
    phase: Cell<Phase>,
    /// Not before this the device resets the machine.
    fires: Cell<Instant>,
    /// That it is not petted has been said.
    told: Cell<bool>,
    announced: RefCell<String>,
    /// Why the device cannot be petted.
    broken: watch::Sender<Option<String>>,
    quorum: watch::Receiver<Sight>,
    /// That of the device.
    timeout: Duration,
    /// The one asked for, on all hosts: that of a device may be less, and what is counted on is this.
    wish: Duration,
    clock: Arc<Clock>,
    dog: RefCell<Watchdog>,
}

impl Leash {
    /// Pets, by the rule.
    pub(super) async fn pets(&self) -> Infallible {
        loop {
            self.tick();
            tokio::time::sleep(self.timeout / PETS).await;
        }
    }

    fn tick(&self) {
        // Before the pet: what it grants is counted from here.
        let now = self.clock.now();
        let may = may_pet(self.phase.get(), &self.quorum.borrow(), now);
        if now >= self.fires.get() {
            self.overdue(now);
        }
        if !may {
            self.withheld(now);
            return;
        }
        let petted = self.dog.borrow_mut().pet();
        match petted {
            Ok(()) => {
                self.fires.set(now + self.timeout);
                self.told.set(false);
            }
            Err(error) => {
                // The first reason is the one to tell.
                if self.broken.borrow().is_none() {
                    self.broken.send_replace(Some(format!("the watchdog cannot be petted: {error}")));
                }
            }
        }
    }

    /// The moment at which a device resets the machine has passed, and here we are.
    fn overdue(&self, now: Instant) {
        let late = now.since(self.fires.get());
        self.fires.set(Instant::NEVER);
        if self.dog.borrow().is_log_only() {
            say(&format!(
                "--log-only: the watchdog would have reset this machine {late:.1?} ago, since it was not petted"
            ));
        } else if !self.dog.borrow().is_stand_in() {
            say(&format!("the watchdog should have reset this machine {late:.1?} ago, and did not"));
        }
    }

    fn withheld(&self, now: Instant) {
        if self.told.replace(true) {
            return;
        }
        let dog = self.dog.borrow();
        let not = if dog.is_log_only() { "would not be" } else { "is not" };
        let is = if dog.is_log_only() || dog.is_stand_in() { "would be" } else { "is" };
        let ahead = || Some(self.fires.get()).filter(|fires| *fires != Instant::NEVER);
        // We stood still, and the moment has passed.
        let Some(left) = dog.left().or_else(|| ahead().map(|fires| fires.since(now))) else {
            return say(&format!("the watchdog {not} petted any more"));
        };
        say(&format!(
            "the watchdog {not} petted any more: in {left:.1?} this machine {is} reset, unless the command is gone before"
        ));
    }

    /// Without a pet for this long the machine is reset.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long another host has to wait once the proof of this one has run out for certain.
    pub(super) fn hold(&self) -> Duration {
        hold(self.wish)
    }

    /// Only logs.
    pub(super) fn is_log_only(&self) -> bool {
        self.dog.borrow().is_log_only()
    }

    /// A second hold on the device, for the process that outlives this one.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(super) fn second_hold(&self) -> io::Result<Option<OwnedFd>> {
        self.dog.borrow().hold()
    }

    /// Says after which time takeover is certain, when that is not what was said last.
    pub(super) async fn announce(&self, client: &Client) {
        // Without an answer the sentence is shorter.
        let settings = client.keep().get_within("/v1/config", CONFIG).await.unwrap_or_default();
        let mut settings = settings.as_array().into_iter().flatten();
        let pause = settings.find(|setting| setting["key"] == "acceptable_pause");
        let pause = pause.and_then(|setting| humantime::parse_duration(setting["value"].as_str()?).ok());
        let mut text = takeover(pause, self.wish);
        if self.is_log_only() {
            text = format!("--log-only: without it, {text}");
        }
        if *self.announced.borrow() != text {
            say(&text);
            self.announced.replace(text);
        }
    }

    /// The command is about to run. False, and it may not: no proof lies ahead.
    pub(super) fn begin(&self, lost: u64) -> bool {
        let running = Phase::Running { lost };
        let may = may_pet(running, &self.quorum.borrow(), self.clock.now());
        if may {
            self.phase.set(running);
        }
        may
    }

    /// The command has to stop.
    pub(super) fn stop(&self) {
        self.phase.set(Phase::Stopping);
        self.tick();
    }

    /// No process of the command is left.
    pub(super) fn rest(&self) {
        self.phase.set(Phase::Idle);
        self.tick();
    }

    /// Returns, with the reason, when the device cannot be petted.
    pub(super) async fn broken(&self) -> String {
        let mut broken = self.broken.subscribe();
        match broken.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// The end of this process. The device is disarmed only if no process of the command is left.
    pub(super) fn end(self) {
        let dog = self.dog.into_inner();
        if self.phase.get() != Phase::Idle {
            say("the watchdog stays armed: the command was not seen to be gone");
            return;
        }
        if let Err(error) = dog.release() {
            say(&format!("the watchdog cannot be disarmed, and resets this machine: {error}"));
        }
    }
}

/// The sentence that an operator plans by.
fn takeover(pause: Option<Duration>, timeout: Duration) -> String {
    let (hold, margin) = (hold(timeout), margin(timeout));
    let fenced = format!(
        "takeover is certain {hold:.2?} after the end of its proof of quorum, so after this member is fenced (watchdog 2 x \
         {timeout:?}, margin {margin:?})"
    );
    match pause {
        Some(pause) => {
            let (lease, all) = (lease(pause), lease(pause) + hold);
            format!(
                "{fenced}, and {all:.2?} after the last question that a majority answered (lease {lease:.2?})"
            )
        }
        None => fenced,
    }
}

/// See the head of this file.
fn hold(timeout: Duration) -> Duration {
    2 * timeout + margin(timeout)
}

/// For devices that count coarsely or go slow, and for the reset itself. Honest guess: a tenth of what they count, half a
/// second at least.
fn margin(timeout: Duration) -> Duration {
    (timeout / 5).max(Duration::from_millis(500))
}

/// The longest proof of quorum, in true time, by two clocks that are each 1 % off (docs/quorum-proofs.md, sections 1 and 2).
fn lease(acceptable_pause: Duration) -> Duration {
    acceptable_pause.mul_f64(0.7 * 1.02)
}

/// What a command may take to stop: the rest of the time-out is for the kill, for the proof that it is gone, and for a pet that
/// came a while before the end of the quorum proof.
pub(super) fn longest_grace(timeout: Duration) -> Duration {
    timeout / 2
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.subsec_nanos() != 0 || !(1..=LONGEST).contains(&time.as_secs()) {
        return Err(format!("a watchdog device counts whole seconds, 1 to {LONGEST}"));
    }
    Ok(time)
}

/// Pets within a time-out. More of them bring the last one nearer to the end of the proof; fewer cost less. Honest guess.
const PETS: u32 = 8;
/// Longest time-out, in seconds: beyond an hour there is no takeover to wait for.
const LONGEST: u64 = 3600;
/// What the agent may take to tell its settings.
const CONFIG: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn held(until: Option<u64>, lost: u64) -> Sight {
        Sight { held: true, until: until.map(at), lost, ..Sight::default() }
    }

    #[test]
    fn it_is_petted_while_the_proof_lies_ahead_and_not_a_moment_longer() {
        let running = Phase::Running { lost: 3 };
        assert!(may_pet(running, &held(Some(1000), 3), at(999)));
        assert!(!may_pet(running, &held(Some(1000), 3), at(1000)), "the proof has run out");
        assert!(!may_pet(running, &held(Some(1000), 4), at(0)), "it was lost meanwhile");
        assert!(!may_pet(running, &held(None, 3), at(0)), "held, without an end");
        assert!(!may_pet(running, &Sight { held: false, ..held(Some(1000), 3) }, at(0)));
    }

    #[test]
    fn a_command_that_has_to_stop_gets_no_pet_by_a_new_proof_and_one_that_is_gone_needs_none() {
        assert!(!may_pet(Phase::Stopping, &held(Some(1000), 0), at(0)));
        assert!(may_pet(Phase::Idle, &Sight::default(), at(0)));
    }

    #[test]
    fn with_the_defaults_takeover_is_certain_within_eight_seconds() {
        let (pause, timeout) = (Duration::from_secs(2), Duration::from_secs(2));
        assert_eq!(hold(timeout), Duration::from_millis(4500));
        assert!(lease(pause) + hold(timeout) < Duration::from_secs(8));
        let text = takeover(Some(pause), timeout);
        assert!(text.contains("certain 4.50s after") && text.contains("5.93s after the last"), "{text}");
        assert!(
            longest_grace(timeout) + timeout / PETS < timeout,
            "a command that stops late costs no reset"
        );
    }

    #[test]
    fn a_device_counts_whole_seconds() {
        assert_eq!(whole_seconds("15s"), Ok(Duration::from_secs(15)));
        for text in ["1500ms", "0s", "2h", "x"] {
            assert!(whole_seconds(text).is_err(), "{text}");
        }
    }
}
