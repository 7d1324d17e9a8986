//! A door whose file may be removed under it: by a clean-up of temporary files,
//! a log-out that takes its runtime directory along, an `rm -rf` too many.
//!
//! The kernel tells of it ([`inotify(7)`](https://man7.org/linux/man-pages/man7/inotify.7.html)),
//! so nothing runs while all is well. The door is then made anew; connections
//! that came by the old one go on.

use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tracing::{info, warn};

use super::App;
use super::admission::Admission;
use super::server::{Door, Stream};
use super::socket::Socket;
use super::writes::Caller;
use crate::doctor::Code;
use crate::event_log::EventLog;
use crate::task;
use heartsay_tokio::readable;

/// The door that there is at the moment.
pub(crate) struct Renewed(watch::Receiver<Arc<UnixListener>>);

/// The door of `socket`, made anew for as long as that is kept.
///
/// # Errors
/// The runtime cannot wait for the listener.
pub(crate) fn door(
    socket: &Arc<Socket>,
    listener: std::os::unix::net::UnixListener,
    event_log: Arc<EventLog>,
) -> anyhow::Result<Renewed> {
    let (to, current) = watch::channel(Arc::new(listening(listener)?));
    task::start(keep(Arc::downgrade(socket), to, event_log));
    Ok(Renewed(current))
}

impl Door for Renewed {
    fn admission(app: &App) -> &Arc<Admission> {
        UnixListener::admission(app)
    }

    async fn open(&self) -> io::Result<(Stream, Caller)> {
        let mut current = self.0.clone();
        loop {
            let listener = Arc::clone(&current.borrow_and_update());
            tokio::select! {
                opened = listener.open() => return opened,
                Ok(()) = current.changed() => {}
            }
        }
    }
}

async fn keep(socket: Weak<Socket>, to: watch::Sender<Arc<UnixListener>>, event_log: Arc<EventLog>) {
    while let Some(held) = socket.upgrade() {
        // Watched before it is looked at: what happens in between is not missed.
        let removal = watch_file(held.path());
        if held.is_there() {
            event_log.condition(Code::SocketRemoved, None);
            drop(held);
            match removal {
                Ok(removal) => drop(readable(removal.into()).await),
                // All watches of this user are in use, usually.
                Err(_) => tokio::time::sleep(LOOK).await,
            }
            // Let the removal of a whole directory finish.
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let path = held.path().to_owned();
        let renewed = tokio::task::spawn_blocking(move || held.renew()).await;
        match renewed.map_err(Into::into).and_then(|listener| listening(listener?)) {
            Ok(listener) => {
                info!(path = %path.display(), "the socket was removed, and is there again");
                to.send_replace(Arc::new(listener));
            }
            Err(error) => {
                let sentence = format!(
                    "the socket was removed and cannot be made again, so nobody gets in by it: {error:#}"
                );
                if event_log.condition(Code::SocketRemoved, Some(sentence.clone().into())) {
                    warn!("{sentence}");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn listening(listener: std::os::unix::net::UnixListener) -> anyhow::Result<UnixListener> {
    UnixListener::from_std(listener).context("cannot watch the socket")
}

/// Something can be read from it when the file at `path`, or its directory, was removed or moved.
fn watch_file(path: &Path) -> nix::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    // A socket that is open loses its name, which is a change of its attributes, and lives on.
    let gone = AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DONT_FOLLOW;
    watch.add_watch(path, gone)?;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        watch.add_watch(dir, AddWatchFlags::IN_MOVE_SELF)?;
    }
    Ok(watch)
}

/// Honest guess: longer than `rm -rf` takes, short for a probe of a container.
const PAUSE: Duration = Duration::from_secs(1);
/// While a file of another program is in the way.
const RETRY: Duration = Duration::from_secs(10);
/// Where the kernel does not tell.
const LOOK: Duration = Duration::from_secs(60);
