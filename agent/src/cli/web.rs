//! `web`: the page and the questions behind it, for one browser on this host.
//!
//! Every user of the host can connect to a port of loopback, and any web page can have a browser do it. So each question
//! needs a token, which is new each time and is told to the caller alone. It stands behind the `#` of the address, which a
//! browser sends to nobody, and comes back in a header, which no other origin can set. A cookie would go to every port.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as asking;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::either::Either;

use super::doctor;
use super::exit::{Exit, say};
use super::output::{Output, print};
use crate::api::host::is_loopback;
use crate::client::{Address, Client, ClientError};
use crate::types::Finding;
use crate::web;

/// Arguments of `web`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Web {
    /// Port on 127.0.0.1; 0 takes one that is free.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
}

impl Web {
    /// Serves until a signal ends it.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        client.get("/v1/version").await?;
        let Page { address, serving } = open(client, self.port).await?;
        if output.is_text() {
            print(&address)?;
            say("open this address in a browser of this host; all that know it can read. Ctrl-C ends it");
        } else {
            output.show(&json!({ "url": address }), |_: serde::de::IgnoredAny| String::new())?;
        }
        serving.await;
        Ok(Exit::Done)
    }
}

/// A page that can be opened in a browser.
pub(super) struct Page<F> {
    /// With the token.
    pub(super) address: String,
    /// Serves it, without end.
    pub(super) serving: F,
}

/// A page of this client's agent at a port of loopback; 0: one that is free.
pub(super) async fn open(
    client: &Client,
    port: u16,
) -> anyhow::Result<Page<impl Future<Output = ()> + use<>>> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(wanted).await.with_context(|| {
        format!("cannot listen on {wanted}; give another --port, or none for one that is free")
    })?;
    let at = listener.local_addr().context("cannot read the address of the listener")?;
    let token = draw().context("no randomness for a token")?;
    let address = format!("http://{at}/#token={token}");
    let desk = Arc::new(Desk { client: client.clone(), token, away: Mutex::default() });
    Ok(Page { address, serving: async move { serve(&listener, desk).await } })
}

/// 128 random bits.
fn draw() -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random))
}

async fn serve(listener: &TcpListener, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, usually; others may close some.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let shown = Arc::new(AtomicBool::new(false));
            let knows = Arc::clone(&shown);
            let service = service_fn(move |request| {
                let (desk, shown) = (Arc::clone(&desk), Arc::clone(&shown));
                async move { Ok::<Response, Infallible>(desk.answer(&request, &shown).await) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(BUFFER);
            let stranger = async {
                tokio::time::sleep(HEAD_LIMIT).await;
                if knows.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                // One that breaks is the browser's business.
                _ = server.serve_connection(TokioIo::new(stream), service) => {}
                () = stranger => {}
            }
            drop(place);
        });
    }
}

/// What each connection needs.
struct Desk {
    client: Client,
    token: String,
    away: Mutex<Option<Away>>,
}

/// Why there is no agent, as it was found not long ago.
struct Away {
    at: Instant,
    why: String,
    findings: Vec<Finding>,
}

impl Desk {
    /// `shown`: whether the token has come over this connection.
    async fn answer(&self, request: &Request<Incoming>, shown: &AtomicBool) -> Response {
        if !is_loopback(request, IpAddr::from(Ipv4Addr::LOCALHOST)) {
            let detail = "this is asked for by another name; take the address that `heartsay web` printed";
            return problem(StatusCode::MISDIRECTED_REQUEST, detail, &[]);
        }
        if request.method() != Method::GET {
            let detail = format!("nothing can be changed here, so {} is not taken", request.method());
            let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, &detail, &[]);
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            return refused;
        }
        // It holds nothing of the cluster.
        if request.uri().path() == "/" {
            let mut page = web::page(request.headers());
            page.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return page;
        }
        if !self.is_token(request.headers().get(header::AUTHORIZATION)) {
            let detail = "the token is missing, or of an earlier run; take the whole address that `heartsay web` printed";
            let mut refused = problem(StatusCode::UNAUTHORIZED, detail, &[]);
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return refused;
        }
        shown.store(true, Ordering::Relaxed);
        match tokio::time::timeout(PATIENCE, self.ask(request.uri())).await {
            Ok(Ok(answer)) => {
                *self.away.lock().await = None;
                protected(answer.map(Body::new))
            }
            Ok(Err(_)) | Err(_) => self.no_answer().await,
        }
    }

    /// Compares without telling by the time it takes how much is right.
    fn is_token(&self, given: Option<&HeaderValue>) -> bool {
        let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer ")).unwrap_or_default();
        let differ = given.iter().zip(self.token.as_bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        given.len() == self.token.len() && differ == 0
    }

    /// Has the agent answer, over a connection that ends with the answer.
    async fn ask(&self, uri: &Uri) -> anyhow::Result<Response<Incoming>> {
        let (stream, host) = match self.client.address() {
            Address::Socket(path) => (Either::Left(UnixStream::connect(path).await?), "heartsay"),
            Address::Tcp(at) => (Either::Right(TcpStream::connect(at).await?), at.as_str()),
        };
        let (mut sender, connection) = asking::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path).header(header::HOST, host).body(Full::<Bytes>::default())?;
        Ok(sender.send_request(request).await?)
    }

    /// Says why, and what this host shows of it. That starts systemctl and reads the settings, so it is found once in a while.
    async fn no_answer(&self) -> Response {
        let mut away = self.away.lock().await;
        if away.as_ref().is_none_or(|away| away.at.elapsed() >= LOOK) {
            *away = match self.client.get_within("/v1/version", LAST).await {
                Err(error @ ClientError::Unreachable { .. }) => {
                    let findings = doctor::why_absent(&self.client, &error).await;
                    Some(Away { at: Instant::now(), why: error.to_string(), findings })
                }
                // It is back, or was busy.
                Ok(_) | Err(_) => None,
            };
        }
        match &*away {
            Some(away) => problem(StatusCode::BAD_GATEWAY, &away.why, &away.findings),
            None => problem(StatusCode::BAD_GATEWAY, "the agent did not answer; ask again", &[]),
        }
    }
}

fn problem(status: StatusCode, detail: &str, findings: &[Finding]) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "findings": findings,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    protected((status, kind, body.to_string()).into_response())
}

/// What the agent says is for the page alone, and is not kept.
fn protected(mut response: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

const HELP: &str = "\
The address is printed once the page can be opened. Behind its # stands a token, new each time: without it nothing is \
told, for every user of this host can connect to 127.0.0.1, also one who may not open the socket. The page keeps the \
token in its tab, so it can be loaded anew there; another tab needs the whole address. What the page shows is what \
this user may read at the socket; nothing can be changed. From another machine: heartsay web --port 8080, and there \
ssh -L 8080:127.0.0.1:8080 HOST; then open the address as it was printed.

An agent with http_listen serves the same page at its own address, without a token.

When the agent goes away, the page says so, with what this host shows of the reason, and goes on when it is back.

Examples:
  heartsay web
  heartsay web --port 8080
  heartsay web -o json | jq -r .url

Exit codes:
  1    it cannot listen at this port, or the agent refuses
  3    no agent at the start
  128 and the number of the signal that ended it: 130 for Ctrl-C";

/// Connections at a time: a browser takes six for one page.
const PLACES: usize = 64;
/// As the agent has it; and how long a connection may take that has not shown the token.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
const BUFFER: usize = 96 * 1024;
/// For the head of an answer, and for a last try. The page itself gives up after 6 s, and is to be told why before that.
const PATIENCE: Duration = Duration::from_secs(3);
const LAST: Duration = Duration::from_secs(2);
/// Between two looks at why there is no agent.
const LOOK: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_opens() {
        let desk =
            Desk { client: Client::new(Some("/nowhere")), token: "abc".to_owned(), away: Mutex::default() };
        let takes = |value: &'static str| desk.is_token(Some(&HeaderValue::from_static(value)));
        assert!(takes("Bearer abc"));
        for wrong in ["", "abc", "Bearer", "Bearer ", "Bearer ab", "Bearer abcd", "Bearer abd", "bearer abc"]
        {
            assert!(!takes(wrong), "{wrong}");
        }
        assert!(!desk.is_token(None));
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert!(one.len() == 22 && one != other);
    }
}
