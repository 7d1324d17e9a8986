//! Signals as wishes.

use anyhow::Context as _;
use nix::libc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// What a signal asks for.
pub(crate) enum Wish {
    Stop,
    Reload,
    Dump,
}

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    quit: Signal,
    user2: Signal,
    /// SIGXFSZ: a file has grown to the limit (`ulimit -f`, `LimitFSIZE=`).
    file_size: Signal,
}

impl Signals {
    /// From now on a signal is a wish, not a death.
    ///
    /// # Errors
    /// The runtime cannot listen.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
            user1: on(SignalKind::user_defined1())?,
            quit: on(SignalKind::quit())?,
            user2: on(SignalKind::user_defined2())?,
            file_size: on(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    /// Waits for the wish to stop alone. Others are forgotten: before the start there is nothing to do for them.
    pub(crate) async fn stop(&mut self) {
        while !matches!(self.next().await, Wish::Stop) {}
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Wish {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Wish::Stop,
                _ = self.interrupt.recv() => return Wish::Stop,
                _ = self.quit.recv() => return Wish::Stop,
                _ = self.hangup.recv() => return Wish::Reload,
                _ = self.user1.recv() => return Wish::Dump,
                // By default it would end us without a good-bye.
                _ = self.user2.recv() => info!("SIGUSR2 means nothing to this agent"),
                // So would this. The write itself fails, and is treated as on a full disk.
                _ = self.file_size.recv() => {}
            }
        }
    }
}
