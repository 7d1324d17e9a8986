//! A client that has sent all that it will, and says so, still reads: `printf 'GET ...' | socat - UNIX-CONNECT:...`, `nc -N`.
//!
//! The HTTP library takes the end of what comes for the end of the client, and would answer it nothing. So that end is kept
//! from it while a client may still read: the connection then ends after the answer. A client that has gone is gone at once: on
//! a Unix socket the system says which of both it is; over TCP both look alike, and one that follows a stream there has gone.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::server::Stream;

/// How far a connection has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU8>);

impl Progress {
    /// A request has come.
    pub(super) fn asked(&self) {
        self.0.fetch_max(ASKED, Ordering::Relaxed);
    }

    /// It is answered by a stream.
    pub(super) fn streams(&self) {
        self.0.fetch_max(STREAMS, Ordering::Relaxed);
    }

    fn is(&self, far: u8) -> bool {
        self.0.load(Ordering::Relaxed) >= far
    }
}

/// A connection whose reading end may come before its writing end.
#[derive(Debug)]
pub(super) struct HalfClosed {
    stream: Stream,
    progress: Progress,
    /// Cancelled when the client has sent all.
    sent_all: CancellationToken,
}

impl HalfClosed {
    pub(super) fn new(stream: Stream, progress: Progress, sent_all: CancellationToken) -> Self {
        Self { stream, progress, sent_all }
    }

    /// Whether the client that sends nothing more may still read.
    fn may_read(&self) -> bool {
        let hung_up = match &self.stream {
            Either::Left(unix) => hung_up(unix.as_fd()),
            Either::Right(_) => None,
        };
        self.progress.is(ASKED)
            && match hung_up {
                Some(hung_up) => !hung_up,
                None => !self.progress.is(STREAMS),
            }
    }
}

/// Whether the other end of a Unix socket is closed altogether; `None` where the system does not tell.
fn hung_up(fd: BorrowedFd<'_>) -> Option<bool> {
    let mut polled = [PollFd::new(fd, PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO).ok()?;
    let [polled] = polled;
    Some(polled.revents()?.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
}

impl AsyncRead for HalfClosed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.sent_all.is_cancelled() {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let at_end = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        if at_end && buffer.remaining() > 0 && self.may_read() {
            self.sent_all.cancel();
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for HalfClosed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const ASKED: u8 = 1;
const STREAMS: u8 = 2;
