//! Following the view: look when something has happened, or when there is something to wait for.

use std::time::Duration;

use heartsay_membership::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::App;

/// Something that looks at the view.
pub(crate) trait Look: Send {
    /// When to look again though nothing happens.
    fn look(&mut self) -> impl Future<Output = Option<Instant>> + Send;
}

/// Has it look now and after each event, until `stop`.
pub(crate) async fn view(app: &App, stop: &CancellationToken, looker: &mut impl Look) {
    let mut changes = app.0.event_log.subscribe();
    while !stop.is_cancelled() {
        // Before the look, so that what happens during it is seen by the next.
        changes.borrow_and_update();
        let Some(again) = stop.run_until_cancelled(looker.look()).await else { break };
        let clock = &app.0.clock;
        let again = again.map(|again| clock.deadline(again).max(clock.after(GATHER)));
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            () = until(again) => continue,
            () = stop.cancelled() => break,
        }
        // What comes together is seen together.
        tokio::time::sleep(GATHER).await;
    }
}

async fn until(limit: Option<tokio::time::Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit).await,
        None => std::future::pending().await,
    }
}

/// Events of one moment come within it.
const GATHER: Duration = Duration::from_millis(10);
/// Between two looks while a list is held back: that a doubt is over is not always an event.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
