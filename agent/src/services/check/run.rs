//! One check at work: a task that looks, judges, and says when that changes something.

use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::Instant;
use heartsay_tokio::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::judge::{Because, Judge};
use super::probe::{Found, Probe};
use super::{Check, Effect, Kind};
use crate::chance;
use crate::services::Health;
use crate::task;
use crate::types::ServiceCheck;

/// What all checks of an agent share.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// When a look was.
    pub(crate) clock: Arc<Clock>,
    /// Told when the health of any has changed.
    pub(crate) stirred: Arc<Notify>,
    /// What programs are told.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// For programs that start.
    pub(super) places: Arc<Semaphore>,
}

impl Tools {
    /// For the checks of an agent.
    pub(crate) fn new(clock: Arc<Clock>, environment: Vec<(&'static str, String)>) -> Self {
        Self { clock, stirred: Arc::default(), environment, places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// For tests.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        Self::new(Arc::new(Clock::start()), Vec::new())
    }
}

/// A check at work; dropped, it is none any more.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    check: Check,
    state: Mutex<State>,
    /// Signs of life of the owner of the service.
    sign: Arc<Notify>,
}

/// As it is now.
#[derive(Clone, Debug)]
struct State {
    health: Health,
    text: String,
    last: Option<Look>,
}

#[derive(Clone, Debug)]
struct Look {
    result: Health,
    at: Instant,
    took: Duration,
}

impl Running {
    /// Puts a check to work, with what is to be believed until it has looked.
    pub(crate) fn start(check: Check, tools: &Tools, health: Health) -> Self {
        let state = State { health, text: "has not looked yet".to_owned(), last: None };
        let shared = Arc::new(Shared { check, state: Mutex::new(state), sign: Arc::default() });
        let task = task::start(watch(Arc::clone(&shared), tools.clone(), health));
        Self { shared, _task: AbortOnDropHandle::new(task) }
    }

    /// As configured.
    pub(crate) fn check(&self) -> &Check {
        &self.shared.check
    }

    /// Whether it has this effect now.
    pub(crate) fn is_critical(&self, effect: Effect) -> bool {
        self.shared.check.effect == effect && self.health() == Health::Critical
    }

    /// What it makes of the service.
    pub(crate) fn health(&self) -> Health {
        self.shared.state.lock().health
    }

    /// The same, and one sentence.
    pub(crate) fn says(&self) -> (Health, String) {
        let state = self.shared.state.lock();
        (state.health, format!("check {}: {}", self.shared.check.name, state.text))
    }

    /// The owner of the service has said something.
    pub(crate) fn sign(&self) {
        self.shared.sign.notify_one();
    }

    /// For an answer.
    pub(crate) fn row(&self, clock: &Clock) -> ServiceCheck {
        let (Check { name, kind, .. }, State { health, text, last }) =
            (&self.shared.check, self.shared.state.lock().clone());
        ServiceCheck {
            name: name.clone(),
            kind: kind.word().to_owned(),
            target: kind.target(),
            health: health.word().to_owned(),
            text,
            result: last.as_ref().map(|last| last.result.word().to_owned()),
            time: last.as_ref().map(|last| clock.stamp(last.at)),
            took_ms: last.as_ref().map(|last| last.took.as_secs_f64() * 1e3),
        }
    }
}

async fn watch(shared: Arc<Shared>, tools: Tools, health: Health) {
    let check = &shared.check;
    let mut probe = Probe::new(check, &tools, &shared.sign);
    let mut judge = Judge::new(check.terms, health);
    let start = tokio::time::Instant::now();
    // So that those of many agents, and all of this one, do not begin together.
    tokio::time::sleep(FIRST.mul_f64(chance::share())).await;
    loop {
        let begun = tokio::time::Instant::now();
        let found = probe.look(check.limit).await;
        let now = tokio::time::Instant::now();
        let result = found.health;
        let (health, because) = judge.take(now - start, result);
        let look = Look { result, at: tools.clock.now(), took: now - begun };
        let state = State { health, text: said(&found, because), last: Some(look) };
        let before = std::mem::replace(&mut *shared.state.lock(), state);
        if before.health != health {
            tools.stirred.notify_one();
        }
        tokio::select! {
            () = tokio::time::sleep(pause(check, health.max(result))) => {}
            () = probe.stirred() => {}
        }
    }
}

/// What was found, and why that is not the health where it is not.
fn said(found: &Found, because: Because) -> String {
    let text = line(&found.text);
    match because {
        Because::Nothing => text,
        Because::Starting(left) => format!("{text} (not counted for {left:.0?} yet: it may be starting)"),
        Because::Counting(n, of) => format!("{text} ({n} of {of} in a row)"),
        Because::Flapping(falls, left) => {
            format!("{text} (must stay so for {left:.0?} more: it has fallen {falls} times of late)")
        }
    }
}

/// A process that is back need not wait for long until that is seen; of its end the kernel tells.
fn pause(check: &Check, health: Health) -> Duration {
    let soon = matches!(check.kind, Kind::Process(_) | Kind::Unit(_)) && health != Health::Passing;
    let interval = if soon { check.interval.min(SOON) } else { check.interval };
    chance::jittered(interval, JITTER)
}

/// Words of others as one line for people, of bounded length.
pub(super) fn line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().take(LONGEST_TEXT).map(plain).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Programs that are started and have not run for long yet.
const PLACES: usize = 8;
/// Before the first look.
const FIRST: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(1);
/// Part of the interval.
const JITTER: f64 = 0.1;
/// In characters; a line of a plugin.
const LONGEST_TEXT: usize = 200;
