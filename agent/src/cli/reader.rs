//! Whether our output still has a reader: a program that says nothing for hours would not learn it by writing.

use std::io;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

/// Returns when standard output is a pipe whose other end is closed. Otherwise it never returns: a file has no reader, and
/// a socket or a terminal that is gone is noticed by writing.
pub(super) async fn gone() {
    let (to, from) = oneshot::channel();
    // A thread, since not everything that may be standard output can be waited for by the runtime. It ends with the process.
    let watching = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        if is_closed() {
            // Fails when the receiver is gone, which then does not need to know.
            let _ = to.send(());
        }
    });
    if watching.is_err() || from.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until there is something to say about the reader: whether it is that it has gone.
fn is_closed() -> bool {
    let out = io::stdout();
    loop {
        let mut ends = [PollFd::new(out.as_fd(), PollFlags::empty())];
        match poll(&mut ends, PollTimeout::NONE) {
            Ok(_) => {
                return ends.iter().any(|end| end.revents().is_some_and(|e| e.contains(PollFlags::POLLERR)));
            }
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
