//! Commands that the operator wants run when something happens.
//!
//! Fed like any reader of the event stream, from the board's ring: however slow
//! a command is, the protocol does not wait. Each hook has a lane, so that its
//! runs come one after the other and in order; the two hooks of quorum share
//! one, so that "regained" never overtakes "lost", and so do the two of our own
//! standing. Lanes run side by side, up to a bound from which that of quorum is
//! exempt.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::daemon::shell::{self, Ran, Terms};
use crate::escape::escape;
use crate::event_log::{EventLog, Missed};
use crate::show;
use crate::task;
use crate::types::WatchLine;

/// What is to be run when, as configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    /// Shell commands by the name of their occasion, one of [`OCCASIONS`].
    pub(crate) commands: BTreeMap<&'static str, String>,
    /// For each of them.
    pub(crate) terms: Terms,
}

/// Runs so far.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    good: AtomicU64,
    failed: AtomicU64,
    out_of_time: AtomicU64,
    dropped: AtomicU64,
}

impl Runs {
    /// By result.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 4] {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("good", of(&self.good)),
            ("failed", of(&self.failed)),
            ("out-of-time", of(&self.out_of_time)),
            ("dropped", of(&self.dropped)),
        ]
    }
}

/// The occasion called `name`, if there is one.
pub(crate) fn occasion(name: &str) -> Option<&'static str> {
    OCCASIONS.into_iter().find(|known| *known == name)
}

/// Runs hooks until `stop`, and then the last one: an agent that ends while it holds quorum loses it. Ends when no hook
/// runs any more.
pub(crate) async fn keep(hooks: Hooks, event_log: Arc<EventLog>, runs: Arc<Runs>, stop: CancellationToken) {
    if hooks.commands.is_empty() {
        return;
    }
    let mut changes = event_log.subscribe();
    let mut seen = 0;
    let mut dispatcher = Dispatcher::new(hooks, &runs, &stop);
    loop {
        // Looked at first: what was published before the stop is taken.
        let over = stop.is_cancelled();
        match event_log.after(seen, BATCH) {
            Missed::Lines(lines) if lines.is_empty() && over => break,
            Missed::Lines(lines) if lines.is_empty() => {}
            Missed::Lines(lines) => {
                for json in lines {
                    // What we wrote ourselves can be read.
                    let Ok(line) = serde_json::from_slice::<WatchLine>(json.as_bytes()) else { continue };
                    seen = line.index;
                    dispatcher.take(&line, &json);
                }
                continue;
            }
            Missed::Gone => {
                let newest = event_log.newest();
                warn!(from = seen, to = newest, "more events than are kept: their hooks did not run");
                seen = newest;
                continue;
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            () = stop.cancelled() => {}
        }
    }
    dispatcher.end(seen).await;
}

struct Dispatcher {
    lanes: BTreeMap<&'static str, mpsc::Sender<Job>>,
    workers: BTreeMap<&'static str, JoinHandle<()>>,
    /// Ends the lane of quorum, which is longer than the others at work.
    last: CancellationToken,
    hooks: Arc<Hooks>,
    runs: Arc<Runs>,
    /// Whether quorum was held when last heard of.
    held: Option<bool>,
}

/// One run.
struct Job {
    name: &'static str,
    index: u64,
    environment: Vec<(&'static str, String)>,
    json: Arc<str>,
}

impl Dispatcher {
    fn new(hooks: Hooks, runs: &Arc<Runs>, stop: &CancellationToken) -> Self {
        let hooks = Arc::new(hooks);
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let (mut lanes, mut workers, last) = (BTreeMap::new(), BTreeMap::new(), CancellationToken::new());
        for name in hooks.commands.keys() {
            lanes.entry(lane(name)).or_insert_with(|| {
                let (to, jobs) = mpsc::channel(WAITING);
                let room = (lane(name) != QUORUM).then(|| Arc::clone(&room));
                let stop = if lane(name) == QUORUM { &last } else { stop }.clone();
                let worker = task::start(work(jobs, room, Arc::clone(&hooks), Arc::clone(runs), stop));
                workers.insert(lane(name), worker);
                to
            });
        }
        Self { lanes, workers, last, hooks, runs: Arc::clone(runs), held: None }
    }

    /// The agent stops. Its quorum ends with it; the hooks of that come to their end within [`LAST`], the others at once.
    async fn end(mut self, index: u64) {
        if self.held == Some(true) {
            let (name, reason) = ("on_quorum_lost", "this agent stops".to_owned());
            let line =
                WatchLine { kind: "quorum".to_owned(), index, reason: Some(reason), ..WatchLine::default() };
            let mut environment = environment(&line);
            environment.retain(|(key, _)| *key != "HEARTSAY_QUORUM");
            environment.push(("HEARTSAY_QUORUM", "lost".to_owned()));
            // Plain text and numbers.
            let json = serde_json::to_string(&line).unwrap_or_default().into();
            if let Some(lane) = self.lanes.get(QUORUM).filter(|_| self.hooks.commands.contains_key(name))
                && lane.try_send(Job { name, index, environment, json }).is_err()
            {
                warn!(hook = name, index, "too many runs wait already: this one is dropped");
            }
        }
        // Each worker ends behind the last job of its lane.
        self.lanes.clear();
        let quorum = self.workers.remove(QUORUM);
        let last = async {
            let Some(mut worker) = quorum else { return };
            if tokio::time::timeout(LAST, &mut worker).await.is_err() {
                self.last.cancel();
                let _ = worker.await;
            }
        };
        tokio::join!(last, join_all(self.workers.into_values()));
    }

    fn take(&mut self, line: &WatchLine, json: &Arc<str>) {
        for name in self.occasions(line) {
            let Some((name, _)) = self.hooks.commands.get_key_value(name.as_str()) else { continue };
            let job = Job { name, index: line.index, environment: environment(line), json: Arc::clone(json) };
            let Some(lane) = self.lanes.get(lane(name)) else { continue };
            if lane.try_send(job).is_err() {
                self.runs.dropped.fetch_add(1, Ordering::Relaxed);
                warn!(hook = *name, index = line.index, "too many runs wait already: this one is dropped");
            }
        }
    }

    /// What the event is an occasion for.
    fn occasions(&mut self, line: &WatchLine) -> Vec<String> {
        let mut all = vec!["on_event".to_owned()];
        match (&line.quorum, line.kind.as_str()) {
            (Some(quorum), "quorum") => {
                // From "lost" to "unsettled" nothing is lost that was not lost before.
                let held = quorum.quorum == "held";
                if self.held.replace(held) != Some(held) {
                    all.push(if held { "on_quorum_regained" } else { "on_quorum_lost" }.to_owned());
                }
            }
            (_, kind) => {
                all.push(format!("on_{}", kind.replace('-', "_")));
                match line.status.as_deref() {
                    Some(show::IN) if kind == "self" => all.push("on_taken_in".to_owned()),
                    Some(_) if kind == "self" => all.push("on_put_out".to_owned()),
                    _ => {}
                }
            }
        }
        all
    }
}

/// Runs the jobs of one lane, one after the other.
async fn work(
    mut jobs: mpsc::Receiver<Job>,
    room: Option<Arc<Semaphore>>,
    hooks: Arc<Hooks>,
    runs: Arc<Runs>,
    stop: CancellationToken,
) {
    while let Some(job) = jobs.recv().await {
        // The semaphore is never closed.
        let _place = match &room {
            Some(room) => room.acquire().await.ok(),
            None => None,
        };
        if stop.is_cancelled() {
            return;
        }
        let Some(command) = hooks.commands.get(job.name) else { continue };
        let ran = run(command, &job, &hooks, &stop).await;
        judge(&job, ran, &runs).fetch_add(1, Ordering::Relaxed);
    }
}

async fn run(command: &str, job: &Job, hooks: &Hooks, stop: &CancellationToken) -> io::Result<Ran> {
    shell::run(command, &hooks.terms, &job.environment, format!("{}\n", job.json), stop).await
}

/// Tells how a run ended; the counter that it belongs to.
fn judge<'a>(job: &Job, ran: io::Result<Ran>, runs: &'a Runs) -> &'a AtomicU64 {
    let (hook, index) = (job.name, job.index);
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => {
            warn!(hook, index, %error, "the hook could not run");
            return &runs.failed;
        }
    };
    for line in ran.output.lines() {
        info!(hook, index, "{line}");
    }
    match ran.status {
        Some(status) if status.success() => {
            info!(hook, index, "the hook ran");
            &runs.good
        }
        Some(status) => {
            warn!(hook, index, "the hook failed: {status}");
            &runs.failed
        }
        None => {
            warn!(hook, index, "the hook was ended: its time was up, or the agent stops");
            &runs.out_of_time
        }
    }
}

/// The lane of a hook.
fn lane(name: &'static str) -> &'static str {
    match name {
        _ if name.starts_with("on_quorum_") => QUORUM,
        "on_put_out" | "on_taken_in" => STANDING,
        _ => name,
    }
}

/// What a command is told of the event that it runs for.
pub(crate) fn environment(line: &WatchLine) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        ("HEARTSAY_EVENT", line.kind.clone()),
        ("HEARTSAY_INDEX", line.index.to_string()),
        ("HEARTSAY_NAME", text(&line.name)),
        ("HEARTSAY_STATUS", text(&line.status)),
        ("HEARTSAY_STATE", text(&line.state)),
        ("HEARTSAY_FENCED", line.fenced.map(|fenced| fenced.to_string()).unwrap_or_default()),
        ("HEARTSAY_SERVICE", line.service.as_ref().map(|s| s.name.clone()).unwrap_or_default()),
        ("HEARTSAY_INSTANCE", line.service.as_ref().map(|s| s.id.clone()).unwrap_or_default()),
        ("HEARTSAY_CHANGED", line.changed.as_deref().unwrap_or_default().join(" ")),
        // A sentence with words of others in it. On one line, and without a zero byte, which no environment can hold.
        ("HEARTSAY_REASON", escape(line.reason.as_deref().unwrap_or_default()).into_owned()),
        ("HEARTSAY_QUORUM", line.quorum.as_ref().map(|q| q.quorum.clone()).unwrap_or_default()),
    ]
}

/// What hooks can be for.
pub(crate) const OCCASIONS: [&str; 20] = [
    "on_event",
    "on_quorum_lost",
    "on_quorum_regained",
    "on_member_join",
    "on_member_suspect",
    "on_member_alive",
    "on_member_down",
    "on_member_left",
    "on_member_restart",
    "on_member_update",
    "on_member_forgotten",
    "on_member_fenced",
    "on_service_up",
    "on_service_warning",
    "on_service_critical",
    "on_service_gone",
    "on_link",
    "on_self",
    "on_put_out",
    "on_taken_in",
];
const QUORUM: &str = "quorum";
const STANDING: &str = "standing";
/// Hooks that run at the same time, beside that of quorum.
const AT_ONCE: usize = 4;
/// Runs that may wait in one lane: more than half a cluster of a hundred going down at once.
const WAITING: usize = 64;
/// Events taken from the ring at a time.
const BATCH: usize = 256;
/// For the hooks of quorum, once the agent stops. With the good-bye before it and the grace after it, below the time that
/// the shipped unit gives a stop.
const LAST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    use crate::types::Quorum;

    fn event(kind: &str, quorum: Option<&str>) -> WatchLine {
        let quorum = quorum.map(|word| {
            let json =
                json!({"quorum": word, "present": 1, "needed": 2, "expected": 3, "reason": "", "since": ""});
            serde_json::from_value::<Quorum>(json).unwrap()
        });
        WatchLine { kind: kind.to_owned(), name: Some("n1".to_owned()), quorum, ..WatchLine::default() }
    }

    fn hooks(commands: &[(&'static str, &str)]) -> Hooks {
        Hooks {
            commands: commands.iter().map(|(name, command)| (*name, (*command).to_owned())).collect(),
            terms: Terms { time_limit: Duration::from_millis(500), ..Terms::default() },
        }
    }

    fn job(name: &'static str) -> Job {
        let line = event("member-down", None);
        Job { name, index: 1, environment: environment(&line), json: "{}".into() }
    }

    #[test]
    fn a_reason_is_one_line_in_the_environment() {
        let reason = Some("it says \n\0\u{1b}[2J".to_owned());
        let told = environment(&WatchLine { reason, ..event("member-down", None) });
        assert!(told.contains(&("HEARTSAY_REASON", "it says \\n\\u{0}\\u{1b}[2J".to_owned())), "{told:?}");
    }

    #[tokio::test]
    async fn quorum_is_lost_once_however_often_it_is_said() {
        let mut dispatcher = Dispatcher::new(hooks(&[]), &Arc::default(), &CancellationToken::new());
        let mut said = |word| dispatcher.occasions(&event("quorum", Some(word)));
        assert_eq!(said("held"), ["on_event", "on_quorum_regained"]);
        assert_eq!(said("lost"), ["on_event", "on_quorum_lost"]);
        assert_eq!(said("unsettled"), ["on_event"]);
        assert_eq!(said("held"), ["on_event", "on_quorum_regained"]);
        assert_eq!(said("unsettled"), ["on_event", "on_quorum_lost"]);
        let ours = |status: &str| WatchLine { status: Some(status.to_owned()), ..event("self", None) };
        assert_eq!(dispatcher.occasions(&ours("kept-out")), ["on_event", "on_self", "on_put_out"]);
        assert_eq!(dispatcher.occasions(&ours("in")), ["on_event", "on_self", "on_taken_in"]);
        assert_eq!(dispatcher.occasions(&event("self", None)), ["on_event", "on_self"]);
        for line in [event("member-down", None), event("link", None), ours("kept-out"), ours("in")] {
            for name in dispatcher.occasions(&line) {
                assert!(occasion(&name).is_some(), "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_run_has_the_event_in_its_environment_and_on_its_input_and_its_output_is_kept() {
        let hooks = hooks(&[]);
        let command = "echo $HEARTSAY_EVENT $HEARTSAY_NAME; cat; echo oops >&2; exit 3";
        let ran = run(command, &job("on_event"), &hooks, &CancellationToken::new()).await.unwrap();
        assert_eq!(ran.output, "member-down n1\n{}\noops\n");
        assert_eq!(ran.status.unwrap().code(), Some(3));
    }

    #[tokio::test]
    async fn an_agent_that_stops_with_quorum_in_hand_says_that_it_is_lost_and_gives_what_runs_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let held = format!("echo held >> {}", at("quorum"));
        let lost = format!("sleep 0.2; echo $HEARTSAY_QUORUM $HEARTSAY_REASON >> {}", at("quorum"));
        let tidy = format!(
            "trap 'echo tidied > {}; exit 0' TERM; touch {}; sleep 60 & wait",
            at("tidied"),
            at("begun")
        );
        let (event_log, stop) = (Arc::new(EventLog::new()), CancellationToken::new());
        let hooks = Hooks {
            terms: Terms { time_limit: Duration::from_secs(60), ..Terms::default() },
            ..hooks(&[("on_quorum_regained", &held), ("on_quorum_lost", &lost), ("on_member_down", &tidy)])
        };
        let keeper = tokio::spawn(keep(hooks, Arc::clone(&event_log), Arc::default(), stop.clone()));
        event_log.publish(event("member-down", None));
        while !dir.path().join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        event_log.publish(event("quorum", Some("held")));
        stop.cancel();
        keeper.await.unwrap();
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        assert_eq!(text("quorum"), "held\nlost this agent stops\n");
        assert_eq!(text("tidied"), "tidied\n");
    }

    #[tokio::test]
    async fn runs_of_one_hook_come_in_order_and_too_many_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let command = format!("sleep 0.05; echo $HEARTSAY_INDEX >> {}", path.display());
        let event_log = Arc::new(EventLog::new());
        let runs = Arc::new(Runs::default());
        let hooks = hooks(&[("on_member_down", &command)]);
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(hooks, Arc::clone(&event_log), Arc::clone(&runs), stop.clone()));
        for _ in 0..WAITING + 10 {
            event_log.publish(event("member-down", None));
        }
        let result = |name| runs.counts().into_iter().find(|(word, _)| *word == name).unwrap().1;
        while result("good") < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(result("dropped") >= 9, "{:?}", runs.counts());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("1\n2\n3\n"), "{text}");
        stop.cancel();
        keeper.await.unwrap();
    }
}
