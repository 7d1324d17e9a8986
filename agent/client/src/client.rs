//! The socket API from the other side: the one path to the agent.
//!
//! One connection per request, HTTP/1.1 by hyper, or one [kept](Kept) for many. What
//! comes back can be had as the JSON that the agent sent: whole, also with fields that this program is too old to know.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

use crate::escape::escape;
use crate::types::{History, Member, Members, Paths, Problem, Quorum, RegisterRequest, SelfInfo};
use crate::{Filter, HistoryFilter};

/// Speaks to the agent at one address.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
}

/// Where an agent is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Its Unix socket.
    Socket(PathBuf),
    /// `HOST:PORT`, where it answers reads (`http_listen`).
    Tcp(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp(at) => write!(f, "http://{at}"),
        }
    }
}

impl Client {
    /// The agent at `address` (a path, `unix:///path` or `http://HOST:PORT`); without one, or with an empty one as units write it,
    /// that of `HEARTSAY_SOCKET`, or the first of the usual places at which a socket exists.
    #[must_use]
    pub fn new(address: Option<&str>) -> Self {
        let set = std::env::var("HEARTSAY_SOCKET").ok();
        let given = address.filter(|given| !given.is_empty()).or(set.as_deref());
        let address = match given.filter(|given| !given.is_empty()) {
            Some(given) => understood(given),
            None => {
                let usual = usual_sockets();
                let first = usual.iter().find(|p| p.exists()).or(usual.first());
                Address::Socket(first.cloned().unwrap_or_default())
            }
        };
        Self { address }
    }

    /// Where the agent is expected.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The members that pass the filter.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn members(&self, filter: &Filter) -> Result<Members, ClientError> {
        self.read_within(&format!("/v1/members?{}", filter.of_members()), PATIENCE).await
    }

    /// One member, with its evidence; `None` if no member has this name.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn member(&self, name: &str) -> Result<Option<Member>, ClientError> {
        match self.get(&format!("/v1/members/{}", segment(name))).await {
            Ok(answer) => self.read(&answer).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The agent, and its cluster as a whole.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn me(&self) -> Result<SelfInfo, ClientError> {
        self.read_within("/v1/self", PATIENCE).await
    }

    /// Whether this agent stands on the side that may act.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn quorum(&self) -> Result<Quorum, ClientError> {
        self.read_within("/v1/quorum", PATIENCE).await
    }

    /// How the agent reaches the other members itself; with `from`, how that member does, which is asked now.
    ///
    /// # Errors
    /// As [`get`](Self::get); refused with 504 if that member does not answer, with 404 if there is none of that name.
    pub async fn paths(&self, from: Option<&str>) -> Result<Paths, ClientError> {
        let path =
            from.map_or_else(|| "/v1/paths".to_owned(), |from| format!("/v1/paths?from={}", segment(from)));
        self.read_within(&path, PATIENCE).await
    }

    /// What has happened, also before a restart of the agent: the oldest entry first.
    ///
    /// # Errors
    /// As [`get`](Self::get); refused with 409 by an agent that keeps no history.
    pub async fn history(&self, filter: &HistoryFilter) -> Result<History, ClientError> {
        self.read_within(&filter.path(), PATIENCE).await
    }

    /// Asks for `path`, for instance `/v1/members`.
    ///
    /// # Errors
    /// No agent answers, or it refuses.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.get_within(path, PATIENCE).await
    }

    /// The same, with less patience.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_within(&self, path: &str, patience: Duration) -> Result<Value, ClientError> {
        self.json(&self.ask(Method::GET, path, Bytes::new(), patience).await?)
    }

    /// The same for what is no JSON, for instance `/metrics`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.ask(Method::GET, path, Bytes::new(), PATIENCE).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The same, read as the type that the contract gives it.
    ///
    /// # Errors
    /// As [`get`](Self::get), or the answer is not of that type.
    pub async fn read_within<T: DeserializeOwned>(
        &self,
        path: &str,
        patience: Duration,
    ) -> Result<T, ClientError> {
        self.typed(&self.ask(Method::GET, path, Bytes::new(), patience).await?)
    }

    /// Sends a wish that the agent may work on for up to `work`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(
        &self,
        path: &str,
        wish: &(impl Serialize + Sync),
        work: Duration,
    ) -> Result<Value, ClientError> {
        let body = serde_json::to_vec(wish).map_err(|e| self.broken(&e))?;
        self.json(&self.ask(Method::POST, path, body.into(), work.saturating_add(PATIENCE)).await?)
    }

    /// A connection for many requests.
    #[must_use]
    pub fn keep(&self) -> Kept {
        Kept { client: self.clone(), line: None }
    }

    /// One stream of what happens, until it breaks: a snapshot first, unless the query says otherwise. [`follow`](Self::follow) goes
    /// on after a break.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn watch(&self, query: &str) -> Result<Watch, ClientError> {
        let path = format!("/v1/watch?{query}");
        let response = self.patiently(PATIENCE, self.send(Method::GET, &path, Bytes::new())).await?;
        if !response.status().is_success() {
            return Err(self.problem(response).await);
        }
        Ok(Watch { client: self.clone(), body: response.into_body(), buffer: BytesMut::new(), searched: 0 })
    }

    /// Registers a service of the agent's host for as long as what is returned, whatever ends this process. It is not
    /// registered again by itself when the agent restarts: see [`Hold::ended`].
    ///
    /// # Errors
    /// As [`get`](Self::get); another program may have registered it.
    pub async fn hold(&self, wish: &RegisterRequest) -> Result<Hold, ClientError> {
        let wish = RegisterRequest { hold: true, ..wish.clone() };
        let body = serde_json::to_vec(&wish).map_err(|e| self.broken(&e))?;
        self.patiently(PATIENCE, async {
            let response = self.send(Method::POST, "/v1/services", body.into()).await?;
            if !response.status().is_success() {
                return Err(self.problem(response).await);
            }
            let body = response.into_body();
            let mut lines = Watch { client: self.clone(), body, buffer: BytesMut::new(), searched: 0 };
            lines.line().await?;
            Ok(Hold(lines))
        })
        .await
    }

    /// Registers a service of the agent's host until this is dropped, or until this process ends in any way; again when the agent
    /// is back after a restart. Ends with what the agent refuses.
    pub async fn register(&self, wish: &RegisterRequest) -> ClientError {
        loop {
            let error = match self.hold(wish).await {
                Ok(hold) => hold.ended().await,
                Err(error) => error,
            };
            if !error.may_pass() {
                return error;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Reads an answer as the type that the contract gives it.
    ///
    /// # Errors
    /// It is not of that type.
    pub fn read<T: DeserializeOwned>(&self, value: &Value) -> Result<T, ClientError> {
        // By way of its text: a second way into each type would be compiled for all of them.
        self.typed(value.to_string().as_bytes())
    }

    fn json(&self, answer: &[u8]) -> Result<Value, ClientError> {
        if answer.is_empty() { Ok(Value::Null) } else { self.typed(answer) }
    }

    fn typed<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(answer).map_err(|e| self.broken(&e))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, ClientError> {
        self.patiently(patience, async {
            let response = self.send(method, path, body).await?;
            self.answer(response).await
        })
        .await
    }

    async fn answer(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        if !response.status().is_success() {
            return Err(self.problem(response).await);
        }
        Ok(response.into_body().collect().await.map_err(|_| self.closed())?.to_bytes())
    }

    async fn connect(&self) -> io::Result<Either<UnixStream, TcpStream>> {
        match &self.address {
            Address::Socket(path) => connect(path).await.map(Either::Left),
            Address::Tcp(at) => TcpStream::connect(at).await.map(Either::Right),
        }
    }

    async fn line(&self) -> Result<Sender, ClientError> {
        let stream = self.connect().await.map_err(|e| self.unreachable(e))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| self.closed())?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        self.send_on(&mut self.line().await?, method, path, body).await
    }

    async fn send_on(
        &self,
        line: &mut Sender,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.host())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| self.broken(&e))?;
        line.send_request(request).await.map_err(|_| self.closed())
    }

    /// Over a socket the name means nothing.
    fn host(&self) -> &str {
        match &self.address {
            Address::Socket(_) => "heartsay",
            Address::Tcp(at) => at,
        }
    }

    async fn patiently<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(patience, work).await {
            Ok(done) => done,
            Err(_) => Err(self.error(Unreachable::Silent(patience))),
        }
    }

    async fn problem(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        let body = match response.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return self.closed(),
        };
        serde_json::from_slice(&body).map_or_else(
            |_| self.broken(&format!("{status}: {}", String::from_utf8_lossy(&body).trim())),
            ClientError::Refused,
        )
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's own list of errors is open")]
    fn unreachable(&self, error: io::Error) -> ClientError {
        self.error(match error.kind() {
            io::ErrorKind::NotFound => Unreachable::Absent,
            io::ErrorKind::PermissionDenied => Unreachable::Denied,
            // So the system answers for any other file, too.
            io::ErrorKind::ConnectionRefused if !self.address.is_possible() => Unreachable::NoSocket,
            io::ErrorKind::ConnectionRefused => Unreachable::Refused,
            _ => Unreachable::Other(error),
        })
    }

    fn closed(&self) -> ClientError {
        self.error(Unreachable::Closed)
    }

    fn error(&self, why: Unreachable) -> ClientError {
        ClientError::Unreachable { address: self.address.clone(), why }
    }

    fn broken(&self, what: &(impl ToString + ?Sized)) -> ClientError {
        ClientError::Broken { address: self.address.clone(), what: what.to_string() }
    }
}

/// A running watch: one JSON text per line.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    body: Incoming,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
}

impl Watch {
    /// The next line as the agent sent it. Safe to drop half-way.
    ///
    /// # Errors
    /// [`Unreachable::Closed`] when the agent ends the stream.
    pub async fn line(&mut self) -> Result<Bytes, ClientError> {
        loop {
            let fresh = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(line);
            }
            self.searched = self.buffer.len();
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) | None => return Err(self.client.closed()),
            }
        }
    }

    /// Reads a line as the type that the contract gives it.
    ///
    /// # Errors
    /// It is not of that type.
    pub fn read<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, ClientError> {
        self.client.typed(line)
    }
}

/// A service that is registered until this is dropped.
#[derive(Debug)]
pub struct Hold(Watch);

impl Hold {
    /// Waits until it is not registered any more, because the agent ends or somebody deregistered it.
    pub async fn ended(mut self) -> ClientError {
        loop {
            if let Err(error) = self.0.line().await {
                return error;
            }
        }
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

/// One connection, kept for request after request, so that not each of them has to find a place. Made anew when the agent
/// has closed it.
#[derive(Debug)]
pub struct Kept {
    client: Client,
    line: Option<Sender>,
}

impl Kept {
    /// Asks for `path`.
    ///
    /// # Errors
    /// As [`get`](Client::get).
    pub async fn get_within(&mut self, path: &str, patience: Duration) -> Result<Value, ClientError> {
        let answer = self.ask(Method::GET, path, Bytes::new(), patience).await?;
        self.client.json(&answer)
    }

    /// Sends a wish that can be sent twice: the agent may have heard it before the connection broke.
    ///
    /// # Errors
    /// As [`get`](Client::get).
    pub async fn post(&mut self, path: &str, wish: &(impl Serialize + Sync)) -> Result<Value, ClientError> {
        let body = serde_json::to_vec(wish).map_err(|e| self.client.broken(&e))?;
        let answer = self.ask(Method::POST, path, body.into(), PATIENCE).await?;
        self.client.json(&answer)
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, ClientError> {
        let (client, line) = (self.client.clone(), &mut self.line);
        let asked = client.patiently(patience, async {
            if let Some(mut kept) = line.take().filter(|kept| !kept.is_closed())
                && let Ok(response) = client.send_on(&mut kept, method.clone(), path, body.clone()).await
            {
                *line = Some(kept);
                return client.answer(response).await;
            }
            let mut fresh = client.line().await?;
            let response = client.send_on(&mut fresh, method, path, body).await?;
            *line = Some(fresh);
            client.answer(response).await
        });
        let answer = asked.await;
        if !matches!(answer, Ok(_) | Err(ClientError::Refused(_))) {
            // A late answer would be taken for that of the next question.
            self.line = None;
        }
        answer
    }
}

impl Address {
    fn is_possible(&self) -> bool {
        match self {
            Self::Socket(path) => is_socket(path),
            Self::Tcp(_) => true,
        }
    }
}

/// While the queue before the socket is full, the kernel lets those in first that wait in a blocking call.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            connected => return connected,
        }
        let path = path.to_owned();
        let queued = tokio::task::spawn_blocking(move || in_queue(&path)).await.map_err(io::Error::other)?;
        match queued {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            connected => return connected.and_then(UnixStream::from_std),
        }
    }
}

/// Waits in the kernel's queue, for a while: a thread that waits cannot be told to stop.
fn in_queue(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_write_timeout(Some(QUEUE))?;
    socket.connect(&socket2::SockAddr::unix(path)?)?;
    socket.set_write_timeout(None)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent to speak to. Nothing was changed, or not known to be.
    #[error("{}", unreachable_text(address, why))]
    Unreachable {
        /// Where we tried.
        address: Address,
        /// What happened there.
        why: Unreachable,
    },
    /// The agent said no. The caller's fault, as its text explains.
    #[error("{}", escape(&.0.detail))]
    Refused(Problem),
    /// An answer came, but not as the contract says.
    #[error("{address} does not answer like a heartsay agent: {what}")]
    Broken {
        /// Where.
        address: Address,
        /// What was wrong with the answer.
        what: String,
    },
}

impl ClientError {
    /// Whether the agent said that the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(p) if p.status == StatusCode::NOT_FOUND.as_u16())
    }

    /// Whether the agent said that it is not to be as things stand, for instance because another has it.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(p) if p.status == StatusCode::CONFLICT.as_u16())
    }

    /// Whether the agent has too many callers just now.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Refused(p) if p.status == StatusCode::SERVICE_UNAVAILABLE.as_u16())
    }

    /// Whether trying again soon may find an agent: it is starting, stopping, between two lives, stands still for a while,
    /// or has too many callers.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { why, .. } => match why {
                Unreachable::Absent | Unreachable::Refused | Unreachable::Closed | Unreachable::Silent(_) => {
                    true
                }
                Unreachable::Denied | Unreachable::NoSocket | Unreachable::Other(_) => false,
            },
            Self::Refused(p) => [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT]
                .iter()
                .any(|status| p.status == status.as_u16()),
            Self::Broken { .. } => false,
        }
    }
}

/// How a socket can fail to lead to an agent.
#[derive(Debug)]
pub enum Unreachable {
    /// No such file.
    Absent,
    /// The file is there, and not for us.
    Denied,
    /// The file is there, and no process listens behind it.
    Refused,
    /// The file is there, and is something else.
    NoSocket,
    /// A process listens and does not answer within this time.
    Silent(Duration),
    /// The connection ended before the answer did.
    Closed,
    /// Anything else that the system says.
    Other(io::Error),
}

/// Any text as one segment of a path, or one value of a query.
#[must_use]
pub fn segment(name: &str) -> impl fmt::Display {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
}

fn unreachable_text(at: &Address, why: &Unreachable) -> String {
    match why {
        Unreachable::Refused if matches!(at, Address::Tcp(_)) => {
            format!("no agent listens at {at}: it does where http_listen says so")
        }
        Unreachable::Absent => format!(
            "no agent at {at}: the socket does not exist\n\
             Is the agent running here (`heartsay agent`, `systemctl status heartsay`)? \
             If it listens elsewhere: --socket PATH or HEARTSAY_SOCKET."
        ),
        Unreachable::Denied => format!(
            "permission denied at {at}\n\
             The socket is open to its owner and its group only: join that group (`ls -l {at}`), or use sudo."
        ),
        Unreachable::Refused => format!(
            "nobody listens at {at}: the socket is left over from an agent that is gone\n\
             Start the agent again; it replaces the socket."
        ),
        Unreachable::NoSocket => {
            format!("{at} is no socket: give the agent's with --socket PATH or HEARTSAY_SOCKET")
        }
        Unreachable::Silent(patience) => {
            format!("the agent at {at} did not answer within {patience:?}")
        }
        Unreachable::Closed => {
            format!("the agent at {at} closed the connection: it is stopping, or has died")
        }
        Unreachable::Other(error) => format!("cannot reach an agent at {at}: {error}"),
    }
}

/// Consul, Docker and others write the same thing as a URL; both are taken.
fn understood(address: &str) -> Address {
    if let Some(at) = address.strip_prefix("http://") {
        return Address::Tcp(at.trim_end_matches('/').to_owned());
    }
    let path = address.strip_prefix("unix://").or_else(|| address.strip_prefix("unix:"));
    Address::Socket(PathBuf::from(path.unwrap_or(address)))
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

fn usual_sockets() -> Vec<PathBuf> {
    let system = PathBuf::from("/run/heartsay/heartsay.sock");
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("heartsay.sock"));
    std::iter::once(system).chain(user).collect()
}

/// How long a loaded machine may take to answer a question: two orders above
/// what a busy agent was seen to need, short enough for a person. Honest guess.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a missing agent is looked for.
const RETRY: Duration = Duration::from_millis(200);
/// In the queue before the socket, at a time. An end of the program waits for it.
const QUEUE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_may_be_written_as_a_url() {
        let at = |text: &str| Client::new(Some(text)).address().clone();
        let socket = |path: &str| Address::Socket(path.into());
        assert_eq!(at("unix:///a/b.sock"), socket("/a/b.sock"));
        assert_eq!(at("unix:/a/b.sock"), socket("/a/b.sock"));
        assert_eq!(at("a/b.sock"), socket("a/b.sock"));
        assert_eq!(at("http://[::1]:4380/"), Address::Tcp("[::1]:4380".to_owned()));
        assert_eq!(at(""), *Client::new(None).address(), "as units leave it empty");
    }

    #[test]
    fn a_name_cannot_break_out_of_its_segment() {
        assert_eq!(segment("a/../b?c").to_string(), "a%2F%2E%2E%2Fb%3Fc");
    }
}
