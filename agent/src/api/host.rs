//! The names by which clients call this agent over TCP.
//!
//! A web page can have its own name resolve to an address of this host (DNS rebinding), and the browser then lets the page
//! read what the agent answers. But the browser says the name of the page in `Host`. So a request is answered only if it
//! calls the agent by the address that it came to, by `localhost`, by the name of this host, or by a name that the operator
//! lists. A request without `Host` comes from no browser.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{self, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::writes::Caller;
use super::{App, Problem};

/// Names that are ours, beside the address of each connection.
#[derive(Clone, Debug)]
pub(crate) struct HostNames(BTreeSet<String>);

impl HostNames {
    /// Those that the operator lists, and those that are always ours.
    pub(crate) fn new(listed: &[String]) -> Self {
        let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let all = listed.iter().cloned().chain(own).chain(["localhost".to_owned()]);
        Self(all.map(|name| plain(&name)).collect())
    }

    /// Whether `host` means us, for a client that has come to the address `at`.
    fn know(&self, host: &str, at: IpAddr) -> bool {
        let host = plain(host);
        let is_at = |host: &str| host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical() == at.to_canonical());
        is_at(&host) || self.0.contains(&host)
    }
}

/// Without what does not distinguish names: case, brackets, zone, the dot of the root.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Refuses requests over TCP that are meant for another host.
pub(super) async fn known_host(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let Caller::Remote { at, .. } = caller else { return next.run(request).await };
    let stranger = called(&request).into_iter().find(|host| !app.0.about.hosts.know(host, at));
    match stranger {
        None => next.run(request).await,
        Some(host) => {
            let detail = format!(
                "{host:?} is no name of this agent; ask for {at} or localhost, or list the name in http_hosts"
            );
            Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
        }
    }
}

/// Whether each name by which the request calls us is this address of loopback, or `localhost`.
pub(crate) fn is_loopback<B>(request: &http::Request<B>, at: IpAddr) -> bool {
    let names = HostNames(BTreeSet::from(["localhost".to_owned()]));
    called(request).iter().all(|host| names.know(host, at))
}

/// Each name by which the request calls us. What is no name at all stays as it is, and is known to none.
fn called<B>(request: &http::Request<B>) -> Vec<String> {
    let in_uri = request.uri().host().map(str::to_owned);
    let in_head = request.headers().get_all(header::HOST).iter().map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        text.parse::<Authority>().map_or(text, |authority| authority.host().to_owned())
    });
    in_uri.into_iter().chain(in_head).filter(|host| !host.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_address_and_our_names_are_known_and_no_other() {
        let names = HostNames::new(&["Metrics.Example.net".to_owned(), "192.0.2.7".to_owned()]);
        let at = |host: &str, at: &str| names.know(host, at.parse().unwrap());
        for host in ["127.0.0.1", "localhost", "LOCALHOST.", "metrics.example.net", "192.0.2.7"] {
            assert!(at(host, "127.0.0.1"), "{host}");
        }
        assert!(at("[fe80::1%eth0]", "fe80::1") && at("10.0.0.1", "::ffff:10.0.0.1"));
        for host in ["evil.example", "127.0.0.2", "localhost.evil.example", "192.0.2.8", "::1"] {
            assert!(!at(host, "127.0.0.1"), "{host}");
        }
    }

    #[test]
    fn every_name_in_a_request_counts() {
        let called = |uri: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            called(&request.body(axum::body::Body::empty()).unwrap())
        };
        assert_eq!(called("/livez", &["[::1]:4328"]), ["[::1]"]);
        assert_eq!(called("/livez", &["a:1", "b"]), ["a", "b"]);
        assert_eq!(called("http://c:2/livez", &["a"]), ["c", "a"]);
        assert_eq!(called("/livez", &["a b"]), ["a b"]);
        assert!(called("/livez", &[]).is_empty() && called("/livez", &[""]).is_empty());
    }
}
