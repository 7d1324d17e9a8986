//! The queue of a thread that writes, seen from those who hand in.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// Waits until what was handed in so far is written, but not for long. `item` makes what the thread answers then.
pub(crate) fn flush<T>(to: &SyncSender<T>, item: impl Fn(SyncSender<()>) -> T) {
    let (done, is_done) = sync_channel(1);
    for _ in 0..TRIES {
        if to.try_send(item(done.clone())).is_ok() {
            let _ = is_done.recv_timeout(PATIENCE);
            return;
        }
        // It is full; perhaps it is still read.
        std::thread::sleep(PATIENCE / TRIES);
    }
}

/// At the end, for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 50;
