//! Whether a server on this host answers over HTTP: one request, one connection, and no more of the answer than its head.

use axum::body::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

use super::Url;
use super::probe::Found;

/// Asks once.
pub(super) async fn look(url: &Url) -> Found {
    match ask(url).await {
        Ok(status) if status.is_success() => Found::passing(status.to_string()),
        Ok(status) if status == StatusCode::TOO_MANY_REQUESTS => Found::warning(status.to_string()),
        Ok(status) => Found::critical(status.to_string()),
        Err(why) => Found::critical(why),
    }
}

async fn ask(url: &Url) -> Result<StatusCode, String> {
    let request = Request::builder()
        .uri(url.path())
        .header(HOST, url.authority())
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .header(USER_AGENT, concat!("heartsay/", env!("CARGO_PKG_VERSION")))
        .body(Full::<Bytes>::default())
        .map_err(|e| e.to_string())?;
    let stream = TcpStream::connect(url.addresses()).await.map_err(|e| e.to_string())?;
    // Of the types that the client of the socket has, so that hyper is compiled once.
    let stream = Either::<UnixStream, TcpStream>::Right(stream);
    let said = |e: hyper::Error| format!("no answer that is HTTP: {e}");
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(said)?;
    // It ends with the request, and what the server still has to say is not read.
    let _driven = AbortOnDropHandle::new(tokio::spawn(connection));
    sender.send_request(request).await.map(|response| response.status()).map_err(said)
}

/// The least that the library reads by.
const LARGEST_HEAD: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use crate::services::Health;

    /// What is found where the answer is this, without end if it has none.
    async fn found(answer: &'static [u8]) -> Found {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/health", server.local_addr().unwrap()).parse().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).await.unwrap();
            assert!(asked[..length].starts_with(b"GET /health HTTP/1.1\r\n"));
            let _ = stream.write_all(answer).await;
            while answer.ends_with(b"...") && stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        let found = look(&url).await;
        served.await.unwrap();
        found
    }

    #[tokio::test]
    async fn the_status_decides_and_the_rest_is_not_read() {
        assert_eq!(found(b"HTTP/1.1 204 No Content\r\n\r\n").await, Found::passing("204 No Content"));
        assert_eq!(found(b"HTTP/1.1 200 OK\r\n\r\n...").await, Found::passing("200 OK"));
        let busy = Found::warning("429 Too Many Requests");
        assert_eq!(found(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n").await, busy);
        let moved = Found::critical("302 Found");
        assert_eq!(found(b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n").await, moved);
        for noise in [&b"+OK POP3\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nX: ..."] {
            assert_eq!(found(noise).await.health, Health::Critical);
        }
    }
}
