//! The sockets: one for datagrams, one for connections, at one address.
//!
//! All is bounded: the length of a question, the number of connections, and the time for which one may be idle or leave an
//! answer unread. To other hosts, if the operator opens it to them, no datagram is longer than any host takes, so that a forged
//! sender is sent little.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::answer::{LEAST, MOST, Way};
use crate::api::App;
use crate::task;

/// Both sockets, bound.
#[derive(Debug)]
pub(crate) struct Sockets {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

impl Sockets {
    /// Binds them.
    ///
    /// # Errors
    /// Where, and what to do.
    pub(crate) fn bind(at: SocketAddr) -> anyhow::Result<Self> {
        let failed =
            |what: &str| format!("cannot listen on {what} {at} for the DNS; give another --dns-listen");
        let udp = std::net::UdpSocket::bind(at).with_context(|| failed("UDP"))?;
        // The same port, also where any was asked for.
        let at = udp.local_addr().context("cannot read the address of the DNS socket")?;
        let tcp = std::net::TcpListener::bind(at).with_context(|| failed("TCP"))?;
        udp.set_nonblocking(true)
            .and_then(|()| tcp.set_nonblocking(true))
            .context("cannot make the DNS sockets non-blocking")?;
        info!(%at, "DNS for names");
        Ok(Self { udp, tcp })
    }

    /// Answers until the agent stops.
    ///
    /// # Errors
    /// The runtime cannot watch the sockets.
    pub(crate) fn serve(self, app: &App) -> anyhow::Result<()> {
        let udp = UdpSocket::from_std(self.udp).context("cannot watch the DNS socket")?;
        let tcp = TcpListener::from_std(self.tcp).context("cannot watch the DNS listener")?;
        let stop = &app.0.stopping;
        task::start(stop.clone().run_until_cancelled_owned(datagrams(udp, app.clone())));
        task::start(stop.clone().run_until_cancelled_owned(connections(tcp, app.clone(), stop.clone())));
        Ok(())
    }
}

async fn datagrams(socket: UdpSocket, app: App) {
    let Some(names) = app.0.names.as_ref() else { return };
    let mut query = [0; LONGEST];
    loop {
        let (length, from) = match socket.recv_from(&mut query).await {
            Ok(received) => received,
            Err(e) => {
                debug!(error = %e, "a question could not be received");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let most = if from.ip().to_canonical().is_loopback() { MOST } else { LEAST };
        let answer = query.get(..length).and_then(|query| names.answer(query, Way::Udp(most)));
        if let Some(answer) = answer {
            // Who does not take it asks again.
            let _ = socket.try_send_to(&answer, from);
        }
    }
}

async fn connections(listener: TcpListener, app: App, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of descriptors, usually; others may close some.
                debug!(error = %e, "a connection for the DNS could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            if let Some(names) = &app.0.names {
                names.counts.closed.fetch_add(1, Relaxed);
            }
            continue;
        };
        let app = app.clone();
        let serve = async move {
            let ended = conversation(stream, &app).await;
            drop(place);
            if let Err(e) = ended {
                debug!(error = %e, "a connection for the DNS broke");
            }
        };
        task::start(stop.clone().run_until_cancelled_owned(serve));
    }
}

/// Answers what comes by one connection, in order, until it is idle for too long or sends something that gets no answer.
async fn conversation(mut stream: TcpStream, app: &App) -> io::Result<()> {
    let Some(names) = app.0.names.as_ref() else { return Ok(()) };
    let mut query = [0; LONGEST];
    loop {
        let Ok(length) = timeout(IDLE, stream.read_u16()).await?.map(usize::from) else { return Ok(()) };
        let Some(query) = query.get_mut(..length) else { return Ok(()) };
        timeout(IDLE, stream.read_exact(query)).await??;
        let Some(answer) = names.answer(query, Way::Tcp) else { return Ok(()) };
        let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
        let message = [&length.to_be_bytes(), answer.as_slice()].concat();
        timeout(IDLE, stream.write_all(&message)).await??;
    }
}

/// Of a question, in bytes. One with every option that is known has a fraction of it.
const LONGEST: usize = 4096;
/// At a time. Programs of this host come over TCP for long answers only.
const CONNECTIONS: usize = 64;
/// For the next question, and for the reader of an answer.
const IDLE: Duration = Duration::from_secs(5);
/// After a failure of the system.
const PAUSE: Duration = Duration::from_millis(100);
