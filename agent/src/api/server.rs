//! Connections: who is at the other end, how many, and for how long.
//!
//! Slow or idle clients hold a connection and nothing else: heads must arrive
//! in time, the number of connections is [bounded](super::admission), and none of
//! this runs on the thread of the protocol.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use heartsay_membership::Instant;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::App;
use super::admission::{Admission, Guest, Place, Refused};
use super::half_closed::{HalfClosed, Progress};
use super::peer::Peer;
use super::problem::Problem;
use super::watch::Streaming;
use super::writes::Caller;

/// Answers until the agent stops, then lets the answers under way go out.
pub(crate) async fn serve<D: Door>(door: D, router: Router, app: App) {
    let stop = app.0.stopping.clone();
    let admission = D::admission(&app);
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let tasks = TaskTracker::new();
    let mut said: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = door.open() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, usually; others may close some.
                let now = app.0.clock.now();
                if said.is_none_or(|last| now.since(last) >= SAID_AGAIN) {
                    warn!(error = %e, "connections cannot be accepted; trying again every second");
                    said = Some(now);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let guest = Guest { origin: caller.origin(), privileged: caller.may_change(app.0.about.admin_group) };
        let place = match admission.connection(guest, app.0.clock.now()) {
            Ok(place) => Arc::new(place),
            Err(refused) => {
                // Beyond what is refused at the same time, closing is answer enough.
                if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                    tasks.spawn(async move {
                        refuse(stream, refused).await;
                        drop(turn);
                    });
                }
                continue;
            }
        };
        tasks.spawn(answer(stream, caller, place, router.clone(), stop.clone()));
    }
    tasks.close();
    if tokio::time::timeout(LAST_WORDS, tasks.wait()).await.is_err() {
        debug!("some clients did not read their last answer");
    }
}

/// Answers what comes by one connection, until it ends or has to leave.
async fn answer(stream: Stream, caller: Caller, place: Arc<Place>, router: Router, stop: CancellationToken) {
    let router = TowerToHyperService::new(router);
    let of_whom = Arc::clone(&place);
    let (progress, sent_all) = (Progress::default(), CancellationToken::new());
    let stream = HalfClosed::new(stream, progress.clone(), sent_all.clone());
    // Not as layers, which would be built for each connection: those that come again and again would cost more.
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        request.extensions_mut().insert(Arc::clone(&of_whom));
        progress.asked();
        let (answered, progress) = (router.call(request), progress.clone());
        async move {
            let response = answered.await;
            if response.as_ref().is_ok_and(|response| response.extensions().get::<Streaming>().is_some()) {
                progress.streams();
            }
            response
        }
    });
    let connection = http().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = place.leave.cancelled() => Ok(()),
        () = sent_all.cancelled() => {
            // No request comes any more: what it has asked for is answered, and that is all.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = place.leave.cancelled() => Ok(()),
            }
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        debug!(error = %e, "a connection broke");
    }
}

fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(BUFFER);
    builder
}

/// Answers one request with "not now".
async fn refuse(stream: Stream, refused: Refused) {
    let detail = match refused {
        Refused::Full(_) => "too many connections are open to this agent; ask again in a moment",
        Refused::OfOne(_) => {
            "too many connections are open to this agent from your user or address; close one, or ask again in a moment"
        }
    };
    let service = service_fn(async |_: hyper::Request<Incoming>| {
        Ok::<Response<Body>, Infallible>(Problem::busy(detail).into_response())
    });
    let mut builder = http();
    let connection = builder.keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Its sender is told or gone.
    let _ = tokio::time::timeout(LAST_WORDS, connection).await;
}

/// A connection without a request under way may have to make room. One whose answer is made but not read
/// counts as such, one with a stream does not.
pub(crate) async fn keep_place(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    request: Request,
    next: Next,
) -> Response {
    place.busy();
    app.0.asked.notify_one();
    let response = next.run(request).await;
    if response.extensions().get::<Streaming>().is_none() {
        place.idle(app.0.clock.now());
    }
    response
}

/// A connection. One type for both, so that hyper is compiled once.
pub(crate) type Stream = Either<UnixStream, TcpStream>;

/// Something that connections come from, each with who is at the other end.
pub(crate) trait Door: Send + Sync + 'static {
    /// How many may come in by it.
    fn admission(app: &App) -> &Arc<Admission>;

    /// Waits for the next one.
    fn open(&self) -> impl Future<Output = io::Result<(Stream, Caller)>> + Send;
}

impl Door for UnixListener {
    fn admission(app: &App) -> &Arc<Admission> {
        &app.0.on_socket
    }

    async fn open(&self) -> io::Result<(Stream, Caller)> {
        let (stream, _) = self.accept().await?;
        let peer = Peer::of(&stream)?;
        Ok((Either::Left(stream), Caller::Local(peer)))
    }
}

/// Over TCP nothing may be changed.
impl Door for TcpListener {
    fn admission(app: &App) -> &Arc<Admission> {
        &app.0.over_tcp
    }

    async fn open(&self) -> io::Result<(Stream, Caller)> {
        let (stream, from) = self.accept().await?;
        let at = stream.local_addr()?.ip();
        Ok((Either::Right(stream), Caller::Remote { from: from.ip(), at }))
    }
}

/// Refuses heads and queries longer than any that makes sense.
pub(crate) async fn length_limits(request: Request, next: Next) -> Response {
    let query = request.uri().query().map_or(0, str::len);
    if query > QUERY_LIMIT {
        let detail = format!("the query has {query} bytes; at most {QUERY_LIMIT} bytes are read");
        return Problem::new(StatusCode::URI_TOO_LONG, detail).into_response();
    }
    let path = request.uri().path().len();
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let head = headers.fold(path + query, usize::saturating_add);
    if head > HEAD_LENGTH {
        let detail = format!("the head has {head} bytes; at most {HEAD_LENGTH} bytes are read");
        return Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail).into_response();
    }
    next.run(request).await
}

/// Gives up on handlers that take too long.
pub(crate) async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("no answer within {} s", TIME_LIMIT.as_secs());
            Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).into_response()
        }
    }
}

/// From the first byte of a request, or from the last answer, to a whole head.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Reading the body included.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Longest head that is read, and most of an answer that waits to be sent, in bytes. Beyond it hyper itself answers with 431.
const BUFFER: usize = 96 * 1024;
/// Longest head that is understood, in bytes: as most servers do it.
const HEAD_LENGTH: usize = 16 * 1024;
/// Longest query, in bytes: the most filters, each with a long tag.
const QUERY_LIMIT: usize = 8 * 1024;
/// After the stop, and for connections that are refused.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// In the log, while connections cannot be accepted.
const SAID_AGAIN: Duration = Duration::from_secs(10);
/// Refused at the same time.
const REFUSALS: usize = 32;
