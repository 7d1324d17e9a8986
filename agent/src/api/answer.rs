//! Large answers: written beside the other work, few at a time, and not kept for readers that do not take them.
//!
//! An answer with all members takes megabytes and milliseconds in a large cluster. So it is written on a thread of its own,
//! one after the other. A bounded number of them is held for readers, of which one origin has half at most, and a reader
//! that takes longer than [`TAKEN_WITHIN`] loses its connection.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::Problem;
use super::admission::{Origin, Place};
use crate::task;

/// How many large answers one listener holds.
#[derive(Debug)]
pub(crate) struct Answers {
    held: Arc<Semaphore>,
    of_one: Mutex<BTreeMap<Origin, Arc<Semaphore>>>,
    most_of_one: usize,
    writing: Arc<Semaphore>,
}

/// The right to one large answer, until its reader has taken it.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_one: OwnedSemaphorePermit,
    _held: OwnedSemaphorePermit,
    writing: Arc<Semaphore>,
    place: Arc<Place>,
    limit: Option<AbortOnDropHandle<()>>,
}

impl Answers {
    /// At most this many at a time, half of them for one origin.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            held: Arc::new(Semaphore::new(most)),
            of_one: Mutex::default(),
            most_of_one: most.div_ceil(2),
            writing: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self, place: &Arc<Place>) -> Result<Turn, Problem> {
        let gone = |_| Problem::unavailable("the agent is stopping");
        let own = self.of(place.origin());
        let of_one = own.acquire_owned().await.map_err(gone)?;
        let held = Arc::clone(&self.held).acquire_owned().await.map_err(gone)?;
        let (writing, place) = (Arc::clone(&self.writing), Arc::clone(place));
        Ok(Turn { _of_one: of_one, _held: held, writing, place, limit: None })
    }

    /// The same, for a reader that wants to hear soon.
    pub(crate) async fn turn_soon(&self, place: &Arc<Place>) -> Result<Turn, Problem> {
        let busy =
            || Problem::busy("too many readers take large answers from this agent; ask again in a moment");
        tokio::time::timeout(TURN_WITHIN, self.turn(place)).await.unwrap_or_else(|_| Err(busy()))
    }

    fn of(&self, origin: Origin) -> Arc<Semaphore> {
        let mut of_one = self.of_one.lock();
        // An origin is remembered for as long as it waits or reads.
        of_one.retain(|_, own| Arc::strong_count(own) > 1);
        let own = of_one.entry(origin).or_insert_with(|| Arc::new(Semaphore::new(self.most_of_one)));
        Arc::clone(own)
    }
}

impl Turn {
    /// Writes the answer on another thread, when no other answer is written.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let gone = || Problem::unavailable("the agent is stopping");
        let writing = Arc::clone(&self.writing).acquire_owned().await.map_err(|_| gone())?;
        let written = tokio::task::spawn_blocking(move || {
            let written = write();
            drop(writing);
            written
        });
        written.await.map_err(|_| gone())
    }

    /// The answer, in pieces that are handed out as the reader takes them; from now on it has to.
    pub(crate) fn give(mut self, text: Bytes) -> Pieces {
        if text.len() > PIECE {
            let place = Arc::clone(&self.place);
            let limit = task::start(async move {
                tokio::time::sleep(TAKEN_WITHIN).await;
                place.leave.cancel();
            });
            self.limit = Some(AbortOnDropHandle::new(limit));
        }
        Pieces { rest: text, turn: Some(self) }
    }
}

/// What is still to be handed out.
#[derive(Debug)]
pub(crate) struct Pieces {
    rest: Bytes,
    /// Until the last piece was handed out.
    turn: Option<Turn>,
}

impl Pieces {
    /// The next one.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        if self.rest.is_empty() {
            self.turn = None;
        }
        // A piece of a large text would keep all of it.
        (!piece.is_empty()).then(|| Bytes::copy_from_slice(&piece))
    }

    /// As the answer to a request.
    pub(crate) fn into_response(self, content_type: &'static str) -> Response {
        ([(header::CONTENT_TYPE, content_type)], Body::new(self)).into_response()
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Text and finite numbers always serialize.
pub(crate) fn json(answer: &impl Serialize) -> Bytes {
    serde_json::to_vec(answer).unwrap_or_default().into()
}

/// Handed out at once, in bytes: all of most answers.
const PIECE: usize = 32 * 1024;
/// What a reader may take for a large answer. Honest guess: 10,000 members at 150 kB a second.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// How long a question waits for its turn; below the limit of every question.
const TURN_WITHIN: Duration = Duration::from_secs(5);
