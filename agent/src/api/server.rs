//! Connections: who is at the other end, how many, and for how long.
//!
//! Slow or idle clients hold a connection and nothing else: heads must arrive
//! in time, the number of connections is bounded, and none of this runs on the
//! thread of the protocol.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::peer::Peer;
use super::problem::Problem;
use super::writes::Caller;

/// Answers until `stop`, then lets the answers under way go out.
pub(crate) async fn serve<D: Door>(door: D, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(D::CONNECTIONS));
    let tasks = TaskTracker::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = door.open() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, usually; others may close some.
                warn!(error = %e, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone().layer(axum::Extension(caller)));
        let stop = stop.clone();
        tasks.spawn(async move {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(e) = ended {
                debug!(error = %e, "a connection broke");
            }
            drop(place);
        });
    }
    tasks.close();
    if tokio::time::timeout(LAST_WORDS, tasks.wait()).await.is_err() {
        debug!("some clients did not read their last answer");
    }
}

/// Something that connections come from, each with who is at the other end.
pub(crate) trait Door: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// How many there may be at a time.
    const CONNECTIONS: usize;

    /// Waits for the next one.
    fn open(&self) -> impl Future<Output = io::Result<(Self::Stream, Caller)>> + Send;
}

impl Door for UnixListener {
    type Stream = UnixStream;
    /// Enough for every watcher on a host; far below the usual limit of descriptors.
    const CONNECTIONS: usize = 256;

    async fn open(&self) -> io::Result<(UnixStream, Caller)> {
        let (stream, _) = self.accept().await?;
        let peer = Peer::of(&stream)?;
        Ok((stream, Caller::Local(peer)))
    }
}

/// Over TCP nobody may change anything.
impl Door for TcpListener {
    type Stream = TcpStream;
    const CONNECTIONS: usize = 64;

    async fn open(&self) -> io::Result<(TcpStream, Caller)> {
        Ok((self.accept().await?.0, Caller::Remote))
    }
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
/// After the stop.
const LAST_WORDS: Duration = Duration::from_secs(1);
