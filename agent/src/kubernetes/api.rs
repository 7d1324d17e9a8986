//! The API server: one request, one connection, one answer. Trying again is for those who ask.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where the server is, and as whom it is asked.
#[derive(Debug)]
pub(crate) struct Api {
    host: String,
    port: u16,
    /// As the header `Host` says it.
    authority: String,
    /// Both are read for each request: they are replaced while the pod runs.
    token: PathBuf,
    ca: PathBuf,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The token, or the certificates.
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    /// It may have done what it was asked for, or not.
    #[error("the API server: {0}")]
    Lost(String),
    /// It was not asked any more.
    #[error("{0}")]
    Late(String),
    /// It has answered.
    #[error("the API server refuses with {status}: {why}")]
    Refused { status: StatusCode, why: String, retry_after: Option<Duration> },
}

impl ApiError {
    /// What is there is not what the change was made for.
    pub(super) fn is_conflict(&self) -> bool {
        self.has(StatusCode::CONFLICT)
    }

    /// There is no such thing.
    pub(super) fn is_absent(&self) -> bool {
        self.has(StatusCode::NOT_FOUND)
    }

    /// It has certainly not been done, and the next request may well be.
    pub(super) fn is_about_this_alone(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.is_client_error()
            && !matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT))
    }

    /// How long the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::File { .. } | Self::Lost(_) | Self::Late(_) => None,
        }
    }

    fn has(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }
}

impl Api {
    /// The server at `url`.
    ///
    /// # Errors
    /// No URL that can be used, in words.
    pub(crate) fn new(url: &str, token: PathBuf, ca: PathBuf) -> Result<Self, String> {
        let wrong = || format!("{url:?} is not of the form https://HOST:PORT");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        // Over anything but TLS the token would be anyone's.
        if uri.scheme_str() != Some("https") || uri.path() != "/" || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(443);
        Ok(Self { host, port, authority: authority.to_string(), token, ca })
    }

    /// Reads.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.ask(Method::GET, path, None, PATIENCE).await
    }

    /// Makes what is not there.
    pub(super) async fn create<T: DeserializeOwned>(&self, path: &str, what: &Value) -> Result<T, ApiError> {
        self.ask(Method::POST, path, Some(("application/json", what)), PATIENCE).await
    }

    /// Changes what `change` names and nothing else (RFC 7386), within this time. With a `resourceVersion` in it, only what still has that.
    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        change: &Value,
        within: Duration,
    ) -> Result<T, ApiError> {
        let body = ("application/merge-patch+json", change);
        self.ask(Method::PATCH, path, Some(body), within.min(PATIENCE)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, &Value)>,
        within: Duration,
    ) -> Result<T, ApiError> {
        let asked = tokio::time::timeout(within, self.exchange(method, path, body)).await;
        let answer = asked.unwrap_or_else(|_| Err(lost(format!("no answer within {within:.1?}"))))?;
        serde_json::from_slice(&answer).map_err(|e| lost(format!("its answer to {path}: {e}")))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Bytes, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, self.bearer().await?)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("heartsay/", env!("CARGO_PKG_VERSION")));
        if let Some((kind, _)) = body {
            request = request.header(CONTENT_TYPE, kind);
        }
        let bytes = body.map(|(_, body)| body.to_string()).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(lost)?;

        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(lost)?;
        let name = ServerName::try_from(self.host.clone()).map_err(lost)?;
        let stream = self.tls().await?.connect(name, stream).await.map_err(lost)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // It ends with the request.
        let driven = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender.send_request(request).await.map_err(lost)?;
        let answer = answer(response).await;
        drop(driven);
        answer
    }

    async fn bearer(&self) -> Result<HeaderValue, ApiError> {
        let token = read(&self.token).await?;
        let wrong = |why: &str| ApiError::File { path: self.token.clone(), why: why.to_owned() };
        let token = str::from_utf8(&token).map_err(|_| wrong("is not text"))?.trim();
        if token.is_empty() {
            return Err(wrong("is empty"));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| wrong("is no token"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn tls(&self) -> Result<TlsConnector, ApiError> {
        let wrong = |why: String| ApiError::File { path: self.ca.clone(), why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&read(&self.ca).await?) {
            let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
            roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("holds no certificate".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(lost)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

async fn answer<B>(response: Response<B>) -> Result<Bytes, ApiError>
where
    B: hyper::body::Body<Data = Bytes, Error = hyper::Error>,
{
    let status = response.status();
    let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = wait.map(Duration::from_secs);
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    if status.is_success() {
        return Ok(body.map_err(lost)?.to_bytes());
    }
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let told = serde_json::from_slice::<Told>(&body).ok().map(|told| told.message);
    let why = told.filter(|why| !why.is_empty()).unwrap_or_else(|| "no reason".to_owned());
    Err(ApiError::Refused { status, why, retry_after })
}

/// The kind `Status`, with which it explains itself.
#[derive(Deserialize)]
struct Told {
    message: String,
}

async fn read(path: &Path) -> Result<Vec<u8>, ApiError> {
    let bytes = tokio::fs::read(path).await;
    bytes.map_err(|e| ApiError::File { path: path.to_owned(), why: e.to_string() })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn lost(why: impl ToString) -> ApiError {
    ApiError::Lost(why.to_string())
}

/// With one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of an answer. A node with all its images has some 20 kB, and a page 100 nodes.
const LARGEST: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_at_a_url_with_tls_and_nothing_behind() {
        let api = |url| Api::new(url, PathBuf::new(), PathBuf::new()).map(|api| (api.host, api.port));
        assert_eq!(api("https://10.0.0.1:6443"), Ok(("10.0.0.1".to_owned(), 6443)));
        assert_eq!(api("https://[fd00::1]/"), Ok(("fd00::1".to_owned(), 443)));
        for wrong in ["http://10.0.0.1", "10.0.0.1", "https://me@host", "https://host/prefix", ""] {
            assert!(api(wrong).is_err(), "{wrong}");
        }
    }
}
