//! What keeps the names true: a task that looks at the view when something has happened.
//!
//! Who is gone loses its name at once, who is new has one at once: a wrong address costs one attempt, and no program is
//! reloaded by it, so nothing is waited for as with files. An instance of a service that is critical is gone. While the view is not to be believed, the names stay as they were.

use std::sync::Arc;

use heartsay_membership::Instant;
use tracing::{debug, warn};

use super::Names;
use super::zone::Zone;
use crate::api::App;
use crate::daemon::driver::Snapshot;
use crate::doctor::Code;
use crate::export::Entry;
use crate::export::doubt::Sight;
use crate::export::follow::{self, LOOK, Look};
use crate::export::served::instances;

/// Runs until the agent stops.
pub(crate) async fn keep(app: App) {
    let stop = app.0.stopping.child_token();
    follow::view(&app.clone(), &stop, &mut Keeper { app, left_out: 0 }).await;
}

struct Keeper {
    app: App,
    /// As last said in the log.
    left_out: usize,
}

impl Look for Keeper {
    async fn look(&mut self) -> Option<Instant> {
        let (app, names) = (&self.app, self.app.0.names.as_ref()?);
        // Both fail while the agent stops.
        let view = app.whole().await.ok()?;
        let zone = seen(Arc::clone(&view), names.suffix.clone()).await?;
        let doubt = Sight::of(&view, app.has_joined(&view)).doubt();
        if let Some(doubt) = doubt.filter(|_| !names.has(&zone)) {
            self.hold(names, doubt);
            return Some(view.at + LOOK);
        }
        let (members, left_out) = (zone.members, zone.left_out);
        if names.publish(zone, app.0.clock.unix_ms() / 1000) {
            debug!(members, left_out, "the names in the DNS have changed");
        }
        if left_out > self.left_out {
            warn!(
                left_out,
                "members have no name or role in the DNS, or instances of services no place there, because of what they say of \
                 themselves"
            );
        }
        self.left_out = left_out;
        app.0.event_log.condition(Code::NamesHeld, None);
        None
    }
}

impl Keeper {
    fn hold(&self, names: &Names, doubt: &'static str) {
        if !names.hold(doubt) {
            return;
        }
        let sentence = format!("the names in the DNS are kept as they were: {doubt}");
        warn!("{sentence}");
        self.app.0.event_log.condition(Code::NamesHeld, Some(sentence.into()));
    }
}

/// On another thread: of many members it takes its time.
async fn seen(view: Arc<Snapshot>, suffix: String) -> Option<Zone> {
    let seen = tokio::task::spawn_blocking(move || {
        let known: Vec<Entry> = view.members.iter().filter_map(Entry::of_view).collect();
        let mut told = instances(&view.members);
        let some: Vec<Entry> = told.by_ref().take(MOST).collect();
        let mut zone = Zone::new(&suffix, &known, &some);
        zone.left_out += told.count();
        zone
    });
    seen.await.ok()
}

/// Instances that have names. Each takes five at most, with some 200 bytes, and a member may tell of 128.
const MOST: usize = 65_536;
