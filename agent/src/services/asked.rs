//! Other members ask why an instance of this host is as it is: their answer.

use heartsay_membership::Command;
use tokio::sync::mpsc;

use super::ServiceName;
use super::registry::Own;
use crate::api::App;
use crate::daemon::driver::{Asked, Request};

/// Answers as long as the agent runs. The machine takes no more questions than it has a budget for.
pub(crate) async fn answer(app: App, mut questions: mpsc::UnboundedReceiver<Asked>) {
    while let Some(Asked { number, service, id }) = questions.recv().await {
        let mut own = app.0.services.own().await;
        let name = service.parse::<ServiceName>().ok();
        let told = name.and_then(|name| own.remove(&(name, id))).map(text);
        let wish = |reply| Request::Command(Command::Answer { number, text: told }, reply);
        // It fails only while the agent leaves.
        let _ = app.ask(wish).await;
    }
}

/// No more than the owner, or the worst of the checks, says: who registered it, and what is looked at, stays here.
fn text(own: Own) -> String {
    own.text.unwrap_or_default()
}
