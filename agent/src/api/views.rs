//! Views for readers, at a bounded price for the protocol.
//!
//! The loop that gossips makes each view, so readers could keep it from its work by asking. Therefore all that ask while
//! a view is made share the next one, and that is made only after nine times as long as the last one took: all readers
//! together have at most a tenth of the protocol's time. Writers pass by.

use std::sync::{Arc, Weak};
use std::time::Duration;

use heartsay_membership::{Instant, Name};
use tokio::sync::{Mutex, Semaphore};

use super::{App, Problem};
use crate::daemon::driver::{Request, Scope, Snapshot};
use crate::task;

/// What readers share.
#[derive(Debug)]
pub(crate) struct Views {
    whole: Shared,
    brief: Shared,
    /// Questions about one member.
    single: Arc<Semaphore>,
}

/// The last view of one kind.
type Shared = Arc<Mutex<Option<Last>>>;

#[derive(Debug)]
struct Last {
    /// When it was asked for. A reader that came before may have it.
    asked: Instant,
    /// When the next one may be asked for.
    next: Instant,
    view: Weak<Snapshot>,
}

impl Views {
    /// Without any.
    pub(crate) fn new() -> Self {
        let single = Arc::new(Semaphore::new(SINGLE));
        Self { whole: Shared::default(), brief: Shared::default(), single }
    }
}

impl App {
    /// The view with all members, not older than this call.
    pub(crate) async fn whole(&self) -> Result<Arc<Snapshot>, Problem> {
        self.shared(&self.0.views.whole, || Scope::All).await
    }

    /// The view without members, not older than this call.
    pub(crate) async fn brief(&self) -> Result<Arc<Snapshot>, Problem> {
        self.shared(&self.0.views.brief, || Scope::None).await
    }

    /// The view with one member at most.
    pub(crate) async fn single(&self, name: Name) -> Result<Snapshot, Problem> {
        let Ok(turn) = Arc::clone(&self.0.views.single).acquire_owned().await else {
            return Err(Problem::unavailable(STOPPING));
        };
        let app = self.clone();
        // To its end, also if the reader goes: a question that was asked costs the loop its time.
        let asked = task::start(async move {
            let view = app.ask(|reply| Request::Look(Scope::One(name), reply)).await;
            drop(turn);
            view
        });
        asked.await.unwrap_or_else(|_| Err(Problem::unavailable(STOPPING)))
    }

    async fn shared(&self, shared: &Shared, scope: fn() -> Scope) -> Result<Arc<Snapshot>, Problem> {
        let came = self.0.clock.now();
        let mut last = Arc::clone(shared).lock_owned().await;
        if let Some(view) =
            last.as_ref().filter(|last| last.asked >= came).and_then(|last| last.view.upgrade())
        {
            return Ok(view);
        }
        let app = self.clone();
        // To its end, also if the reader goes, so that the pause after it is kept.
        let asked = task::start(async move {
            let clock = &app.0.clock;
            if let Some(next) = last.as_ref().map(|last| last.next).filter(|next| *next > clock.now()) {
                tokio::time::sleep_until(clock.deadline(next)).await;
            }
            let asked = clock.now();
            let view = Arc::new(app.ask(|reply| Request::Look(scope(), reply)).await?);
            let next = clock.now() + (view.took * PAUSE).min(LONGEST);
            *last = Some(Last { asked, next, view: Arc::downgrade(&view) });
            Ok(view)
        });
        asked.await.unwrap_or_else(|_| Err(Problem::unavailable(STOPPING)))
    }
}

const STOPPING: &str = "the agent is stopping";
/// Between two views, in times of what the last one took. Honest guess: readers notice nothing, and the protocol has nine
/// tenths of its time.
const PAUSE: u32 = 9;
/// A view that took long because the machine stood still says nothing about the next.
const LONGEST: Duration = Duration::from_secs(1);
/// Questions about one member that are with the loop at the same time.
const SINGLE: usize = 8;
