//! What keeps exports true while the agent runs: a task for each.
//!
//! It sleeps until something happens in the event log, or until what is new has settled; then it looks at the view, and
//! publishes the list if that has changed and can be believed. A command of the operator's runs beside it, one run at a time:
//! whatever changes meanwhile is told by one more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use heartsay_membership::Instant;
use heartsay_tokio::clock;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::doubt::Sight;
use super::follow::{self, LOOK, Look};
use super::format::{is_server_name, with_block};
use super::{Entry, Export, Ledger, Rendered, entries, is_awaited, runtime, seen};
use crate::api::App;
use crate::chance;
use crate::daemon::driver::Snapshot;
use crate::daemon::shell::{self, Terms};
use crate::doctor::Code;
use crate::file;
use crate::task;
use crate::types::ExportRow;

/// All exports of an agent.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    running: Mutex<Vec<Running>>,
}

#[derive(Debug)]
struct Running {
    export: Export,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How one export fares.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Members in the list that is published.
    pub(crate) members: usize,
    /// Wanted members that are not in it, because of what they say.
    pub(crate) left_out: usize,
    /// When it last changed.
    pub(crate) changed: Option<Instant>,
    /// Why a newer list is held back.
    pub(crate) held: Option<String>,
    /// Why it could not be published.
    pub(crate) error: Option<String>,
    /// Changes so far.
    pub(crate) changes: u64,
    /// Failures so far, one for each kind in a row.
    pub(crate) errors: u64,
    /// Runs of the command, by result.
    pub(crate) runs: BTreeMap<&'static str, u64>,
    /// Why its last run failed.
    pub(crate) run_error: Option<String>,
}

impl Exports {
    /// Replaces the running exports by these. One that has not changed goes on.
    pub(crate) fn apply(&self, app: &App, terms: &Terms, exports: &[Export]) {
        let mut running = self.running.lock();
        let (kept, ended): (Vec<Running>, Vec<Running>) =
            running.drain(..).partition(|one| exports.contains(&one.export));
        *running = kept;
        for one in &ended {
            one.stop.cancel();
            app.0.event_log.condition_of(Code::ExportFailing, &one.export.label(), None);
        }
        let mut ended: Vec<(String, JoinHandle<()>)> =
            ended.into_iter().map(|one| (one.export.label(), one.task)).collect();
        for export in exports {
            if running.iter().any(|one| one.export == *export) {
                continue;
            }
            let before = ended.iter().position(|(label, _)| *label == export.label());
            let before = before.map(|position| ended.swap_remove(position).1);
            running.push(start(app, terms.clone(), export.clone(), before));
        }
    }

    /// Each with its state, as configured.
    pub(crate) fn states(&self) -> Vec<(Export, State)> {
        self.running.lock().iter().map(|one| (one.export.clone(), one.state.lock().clone())).collect()
    }

    /// The same for an answer.
    pub(crate) fn rows(&self, clock: &clock::Clock) -> Vec<ExportRow> {
        let shown = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let row = |(export, state): (Export, State)| ExportRow {
            format: export.format.word().to_owned(),
            path: shown(&export.path),
            runtime: shown(&export.runtime),
            members: state.members,
            left_out: state.left_out,
            changed: state.changed.map(|at| clock.stamp(at)),
            held: state.held,
            error: state.error.or(state.run_error),
            changes: state.changes,
            errors: state.errors,
            runs: state.runs.into_iter().map(|(word, runs)| (word.to_owned(), runs)).collect(),
        };
        self.states().into_iter().map(row).collect()
    }

    /// Waits until none runs any more, after the agent's stop.
    pub(crate) async fn ended(&self) {
        let tasks: Vec<JoinHandle<()>> = self.running.lock().drain(..).map(|one| one.task).collect();
        join_all(tasks).await;
    }
}

/// Starts an export, once the one `before` it at the same place has ended.
fn start(app: &App, terms: Terms, export: Export, before: Option<JoinHandle<()>>) -> Running {
    let (state, stop) = (Arc::<Mutex<State>>::default(), app.0.stopping.child_token());
    let keeper = Keeper {
        app: app.clone(),
        ledger: Ledger::new(export.settle + export.splay.mul_f64(chance::share())),
        export: Arc::new(export.clone()),
        terms,
        state: Arc::clone(&state),
        stale: false,
        told: None,
        unfit: 0,
        runs: None,
    };
    let ends = stop.clone();
    let task = task::start(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        keeper.keep(ends).await;
    });
    Running { export, state, stop, task }
}

struct Keeper {
    app: App,
    ledger: Ledger,
    export: Arc<Export>,
    terms: Terms,
    state: Arc<Mutex<State>>,
    /// Something failed, so the same list is published once more.
    stale: bool,
    /// When HAProxy, or a file of others, was last brought to the list.
    told: Option<Instant>,
    /// Members of the published list that the format left out.
    unfit: usize,
    /// To what runs the command, if there is one: a word for each change.
    runs: Option<mpsc::Sender<()>>,
}

impl Look for Keeper {
    /// Publishes what there is to publish.
    async fn look(&mut self) -> Option<Instant> {
        // Fails while the agent stops.
        let view = self.app.whole().await.ok()?;
        let now = view.at;
        let doubt = Sight::of(&view, self.app.has_joined(&view)).doubt();
        if let Some(doubt) = doubt.filter(|_| !self.ledger.has_begun()) {
            return self.hold(now, doubt);
        }
        let (export, select) = (&self.export, &self.export.select);
        let all = seen(view.members.iter(), select.service.as_ref());
        let (wanted, unlisted) = entries(all, select, &export.port);
        let Some(list) = self.ledger.propose(now, wanted, |entry| is_awaited(entry, &view.members)) else {
            return self.ledger.due();
        };
        let refresh = self.refresh_at();
        if self.ledger.is_published(&list) && !self.stale && refresh.is_none_or(|refresh| now < refresh) {
            self.state.lock().left_out = self.unfit + unlisted;
            self.release();
            return earliest(self.ledger.due(), refresh);
        }
        if let Some(doubt) = doubt {
            return self.hold(now, doubt);
        }
        let (list, rendered) = match render(&self.export, view.me.to_string(), list).await {
            Ok(rendered) => rendered,
            Err(error) => return self.fail(now, error),
        };
        let least = self.export.min_members;
        if rendered.members < least {
            let held = format!("{} members are fewer than min_members, {least}", rendered.members);
            return self.hold(now, &held);
        }
        self.publish(&view, list, rendered, unlisted).await;
        if self.stale {
            // What was due is due still.
            return Some(now + RETRY);
        }
        earliest(self.ledger.due(), self.refresh_at())
    }
}

impl Keeper {
    async fn keep(mut self, stop: CancellationToken) {
        let worker = self.start_worker(&stop);
        follow::view(&self.app.clone(), &stop, &mut self).await;
        self.runs = None;
        if let Some(worker) = worker {
            let _ = worker.await;
        }
    }

    async fn publish(&mut self, view: &Snapshot, list: Vec<Entry>, rendered: Rendered, unlisted: usize) {
        let members = rendered.members;
        let fresh = !self.ledger.is_published(&list);
        let (wrote, told) = tokio::join!(write(&self.export, rendered.bytes), tell(&self.export, &list));
        self.told = self.is_shared().then_some(view.at);
        let without = told.clone().unwrap_or(usize::MAX);
        let changed = match wrote {
            Ok(changed) => changed.unwrap_or(fresh),
            Err(_) => false,
        };
        if wrote.is_ok() {
            self.ledger.commit(list);
        }
        let error = wrote.err().or(told.err());
        self.stale = error.is_some();
        self.unfit = rendered.left_out;
        let left_out = rendered.left_out + unlisted;
        {
            let mut state = self.state.lock();
            (state.members, state.left_out, state.held) = (members, left_out, None);
            if changed {
                state.changes += 1;
                state.changed = Some(self.app.0.clock.now());
            }
        }
        if changed {
            let export = self.export.label();
            info!(export, members, left_out, "the list of members has changed");
            // What HAProxy was told without a reload needs none.
            let needed = self.export.runtime.is_none() || without > 0;
            if let Some(runs) = self.runs.as_ref().filter(|_| needed) {
                // Where one waits already, it will see this change too.
                let _ = runs.try_send(());
            }
        }
        match error {
            Some(error) => drop(self.fail(view.at, error)),
            None => self.release(),
        }
    }

    /// The last list stays.
    fn hold(&self, now: Instant, why: &str) -> Option<Instant> {
        let fresh = self.state.lock().held.replace(why.to_owned()).is_none();
        if fresh && self.ledger.has_begun() {
            warn!(export = self.export.label(), "the list of members is kept as it was: {why}");
        }
        self.report();
        Some(now + LOOK)
    }

    /// It could not be published, and is tried again.
    fn fail(&self, now: Instant, error: String) -> Option<Instant> {
        let mut state = self.state.lock();
        if state.error.as_ref() != Some(&error) {
            warn!(export = self.export.label(), "{error}");
            state.errors += 1;
            state.error = Some(error);
        }
        drop(state);
        self.report();
        Some(now + RETRY)
    }

    /// All is as it should be.
    fn release(&self) {
        let mut state = self.state.lock();
        (state.held, state.error) = (None, None);
        drop(state);
        self.report();
    }

    /// To those who look at the agent's conditions.
    fn report(&self) {
        report(&self.app, &self.export, &self.state.lock(), self.ledger.has_begun());
    }

    fn refresh_at(&self) -> Option<Instant> {
        self.told.map(|told| told + REFRESH)
    }

    /// Another program may undo what was published.
    fn is_shared(&self) -> bool {
        self.export.runtime.is_some() || self.export.block
    }

    /// What runs the command, if there is one.
    fn start_worker(&mut self, stop: &CancellationToken) -> Option<JoinHandle<()>> {
        let command = self.export.on_change.clone()?;
        let (to, jobs) = mpsc::channel(1);
        self.runs = Some(to);
        let worker = Worker {
            app: self.app.clone(),
            export: Arc::clone(&self.export),
            terms: self.terms.clone(),
            state: Arc::clone(&self.state),
            stop: stop.clone(),
        };
        Some(task::start(worker.work(command, jobs)))
    }
}

/// Runs the command of one export.
struct Worker {
    app: App,
    export: Arc<Export>,
    terms: Terms,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
}

impl Worker {
    async fn work(self, command: String, mut jobs: mpsc::Receiver<()>) {
        let export = self.export.label();
        while jobs.recv().await.is_some() {
            if self.stop.is_cancelled() {
                return;
            }
            // As it is now: what changed while this run waited, it tells too.
            let members = self.state.lock().members;
            let own = [("HEARTSAY_EXPORT", export.clone()), ("HEARTSAY_MEMBERS", members.to_string())];
            let ran = shell::run(&command, &self.terms, &own, String::new(), &self.stop).await;
            let (result, error) = match ran {
                Ok(ran) => {
                    for line in ran.output.lines() {
                        info!(export, "on_change: {line}");
                    }
                    match ran.status {
                        Some(status) if status.success() => ("good", None),
                        Some(status) => ("failed", Some(format!("on_change failed: {status}"))),
                        None => ("out-of-time", Some("on_change was ended: its time was up".to_owned())),
                    }
                }
                Err(error) => ("failed", Some(format!("on_change could not run: {error}"))),
            };
            if let Some(error) = &error {
                warn!(export, "{error}");
            }
            let mut state = self.state.lock();
            *state.runs.entry(result).or_default() += 1;
            state.run_error = error;
            report(&self.app, &self.export, &state, true);
        }
    }
}

/// The list and its bytes. On another thread: a template may take its time.
async fn render(
    export: &Arc<Export>,
    me: String,
    list: Vec<Entry>,
) -> Result<(Vec<Entry>, Rendered), String> {
    let export = Arc::clone(export);
    let rendered = tokio::task::spawn_blocking(move || {
        export.format.render(&export.shape, &me, &list).map(|rendered| (list, rendered))
    });
    rendered.await.unwrap_or_else(|_| Err("the agent stops".to_owned()))
}

/// Whether the file changed; `None` without one.
async fn write(export: &Export, bytes: Vec<u8>) -> Result<Option<bool>, String> {
    let Some(path) = export.path.clone() else { return Ok(None) };
    let block = export.block;
    let wrote = tokio::task::spawn_blocking(move || {
        let wrote = match block {
            true => file::edit(&path, |old| with_block(old, &bytes)),
            false => file::replace(&path, &bytes),
        };
        wrote.map_err(|error| format!("{}: {error}", path.display()))
    });
    wrote.await.unwrap_or_else(|_| Err("the agent stops".to_owned())).map(Some)
}

/// How many members have no server in HAProxy.
async fn tell(export: &Export, list: &[Entry]) -> Result<usize, String> {
    let Some(socket): Option<&Path> = export.runtime.as_deref() else { return Ok(0) };
    // The same as in the file, but that two at one place are one server.
    let fit = list.iter().filter(|entry| is_server_name(&entry.name));
    let members: BTreeSet<_> = fit.filter_map(Entry::socket).collect();
    let members = Vec::from_iter(members);
    runtime::bring(socket, export.shape.name.as_deref().unwrap_or_default(), &members).await
}

fn report(app: &App, export: &Export, state: &State, begun: bool) {
    let held = state.held.as_ref().filter(|_| begun).map(|why| format!("its list is kept as it was: {why}"));
    let wrong = state.error.clone().or_else(|| state.run_error.clone()).or(held);
    let label = export.label();
    let said = wrong.map(|wrong| format!("export {label}: {wrong}").into());
    app.0.event_log.condition_of(Code::ExportFailing, &label, said);
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// After a failure.
const RETRY: Duration = Duration::from_secs(2);
/// HAProxy that was started again does not know what the one before it was told; a program that writes a file anew does not
/// know of the block.
const REFRESH: Duration = Duration::from_secs(10);
