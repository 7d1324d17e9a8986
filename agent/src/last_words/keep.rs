//! Keeps will and guardian true while the agent runs.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{LastSecret, Name, last_words};
use heartsay_tokio::clock;
use tracing::warn;

use super::guardian::Guardian;
use super::will::{MOST_HEIRS, Testament, Will};
use crate::api::App;
use crate::daemon::driver::Request;
use crate::task;

/// The last words of this agent, kept until its end.
#[derive(Debug)]
pub(crate) struct LastWords(Option<Arc<Will>>);

impl LastWords {
    /// Keeps them from now on; without a secret there are none.
    pub(crate) fn keep(
        app: &App,
        socket: &Path,
        (name, bound): (&Name, IpAddr),
        secret: Option<LastSecret>,
    ) -> Self {
        let path = Will::path(socket);
        let Some(secret) = secret else {
            // That of an earlier process.
            let _ = std::fs::remove_file(&path);
            return Self(None);
        };
        let will = match Will::make(&path) {
            Ok(will) => Arc::new(will),
            Err(error) => {
                warn!(path = %path.display(), %error, "no last words: the file cannot be made; if this process is \
                    killed, the others find it out by themselves");
                return Self(None);
            }
        };
        let bound = Some(bound).filter(|bound| !bound.is_unspecified());
        let keeper = Keeper { app: app.clone(), will: Arc::clone(&will), name: name.clone(), bound, secret };
        task::start(keeper.keep());
        Self(Some(will))
    }

    /// Nothing is to be said: this end is orderly.
    pub(crate) fn withhold(&self) {
        if let Some(will) = &self.0 {
            will.withhold();
        }
    }
}

/// A secret for this process.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn draw() -> Result<LastSecret, clock::EntropyError> {
    clock::entropy().map(LastSecret::new)
}

struct Keeper {
    app: App,
    will: Arc<Will>,
    name: Name,
    /// `None`: all addresses of this host.
    bound: Option<IpAddr>,
    secret: LastSecret,
}

impl Keeper {
    async fn keep(self) {
        let mut changes = self.app.0.event_log.subscribe();
        let (mut guardian, mut written) = (self.guard(), (None, Vec::new()));
        let mut pause = FIRST;
        loop {
            changes.borrow_and_update();
            let again = if self.look(&mut written).await { Duration::MAX } else { RETRY };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = ended(guardian.as_mut()) => {
                    warn!("the process that would say our last words is gone; another is started");
                    guardian = self.guard();
                }
                () = tokio::time::sleep(again) => {}
            }
            // What comes together is written together, and large rosters cost more. At the start they come one by one.
            let for_all = FOR_EACH * u32::try_from(written.1.len()).unwrap_or(u32::MAX);
            tokio::time::sleep(pause + for_all).await;
            pause = GATHER.min(pause * 2);
        }
    }

    /// Writes the will anew if other members are there, or if others know us at another address; false if it could not
    /// be written. `written`: from where, and to whom, are those that are written.
    async fn look(&self, written: &mut (Option<IpAddr>, Vec<SocketAddr>)) -> bool {
        let Ok((own, mut there)) = self.app.ask(Request::Addresses).await else { return true };
        there.truncate(MOST_HEIRS);
        let wanted = (self.bound.or(Some(own.ip())), there);
        let alone = wanted.1.is_empty() && written.1.is_empty();
        if alone || wanted == *written {
            return true;
        }
        let words = last_words(&self.name, self.secret, wanted.1.len()).to_vec();
        let testament = Testament { words, from: wanted.0, heirs: wanted.1 };
        if let Err(error) = self.will.write(&testament) {
            warn!(%error, "our last words cannot be written");
            return false;
        }
        *written = (testament.from, testament.heirs);
        true
    }

    fn guard(&self) -> Option<Guardian> {
        let started = self.will.hand_out().and_then(Guardian::start);
        started
            .inspect_err(|error| warn!(%error, "no process can be started that would say our last words"))
            .ok()
    }
}

async fn ended(guardian: Option<&mut Guardian>) {
    match guardian {
        Some(guardian) => guardian.ended().await,
        None => tokio::time::sleep(RETRY).await,
    }
}

/// Between two looks, at the start and later. Honest guess; last words miss a member that joined since the last look.
const FIRST: Duration = Duration::from_millis(50);
const GATHER: Duration = Duration::from_secs(1);
/// Of this for each member: five seconds for a thousand.
const FOR_EACH: Duration = Duration::from_millis(4);
/// After something that failed.
const RETRY: Duration = Duration::from_secs(10);
