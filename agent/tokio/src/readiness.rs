//! Waiting for a descriptor of our own that is neither a socket nor a process.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until there is something to read from `fd`, which does not block, and closes it.
///
/// # Errors
/// It is of a kind that cannot be waited for, or the system has no room.
#[expect(deprecated, reason = "not sound with borrowed descriptors; this one is owned")]
pub async fn readable(fd: OwnedFd) -> io::Result<()> {
    AsyncFd::with_interest(fd, Interest::READABLE)?.readable().await.map(drop)
}
