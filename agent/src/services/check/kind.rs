//! What a check looks at, as configured.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;

use super::Terms;

/// One check of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Tells it from others of its service.
    pub(crate) name: String,
    /// What is looked at.
    pub(crate) kind: Kind,
    /// From the end of one look to the next.
    pub(crate) interval: Duration,
    /// How long one look may take.
    pub(crate) limit: Duration,
    /// How looks become health.
    pub(crate) terms: Terms,
    /// What else it does while it is critical.
    pub(crate) effect: Effect,
}

/// What a critical check does beside making its instance critical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    #[default]
    Note,
    /// All services of the host are critical with it.
    Drain,
    /// The member gives no sign of life, so that the others call it down.
    Suspend,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something accepts connections.
    Tcp(Place),
    /// A server answers 2xx.
    Http(Url),
    /// A program ends with 0: its words.
    Exec(Vec<String>),
    /// The process of this pid file runs.
    Process(PathBuf),
    /// Something runs in the cgroup of this unit of systemd.
    Unit(String),
    /// The service's owner has said something within this time.
    Ttl(Duration),
    /// A file can be written in this directory.
    Disk(PathBuf),
}

impl Kind {
    /// The word of each.
    pub(crate) const WORDS: [&str; 7] = ["tcp", "http", "exec", "process", "unit", "ttl", "disk"];

    /// The word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::Exec(_) => "exec",
            Self::Process(_) => "process",
            Self::Unit(_) => "unit",
            Self::Ttl(_) => "ttl",
            Self::Disk(_) => "disk",
        }
    }

    /// What is looked at, as it was written.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Tcp(place) => place.to_string(),
            Self::Http(url) => url.to_string(),
            Self::Exec(words) => words.join(" "),
            Self::Process(path) | Self::Disk(path) => path.display().to_string(),
            Self::Unit(unit) => unit.clone(),
            Self::Ttl(time) => humantime::format_duration(*time).to_string(),
        }
    }

    /// One miss says it: the thing is there or not, and no answer of it got lost.
    pub(crate) fn is_certain(word: &str) -> bool {
        matches!(word, "process" | "unit" | "ttl" | "disk")
    }
}

/// `HOST:PORT`, where the host needs no look-up, which could hang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    text: String,
    addresses: Vec<SocketAddr>,
}

impl Place {
    /// Any of these will do.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn of(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        if port == 0 {
            return None;
        }
        if host == "localhost" {
            return Some(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        Some(vec![(host.parse::<std::net::IpAddr>().ok()?, port).into()])
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "is not of the form HOST:PORT with an IP address, or localhost, as the host";
        let address = text.parse::<SocketAddr>().ok().map(|at| (at.ip().to_string(), at.port()));
        let named =
            || text.strip_prefix("localhost:")?.parse().ok().map(|port| ("localhost".to_owned(), port));
        let (host, port) = address.or_else(named).ok_or(WRONG)?;
        let addresses = Self::of(&host, port).ok_or(WRONG)?;
        Ok(Self { text: text.to_owned(), addresses })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `http://HOST[:PORT]/PATH`, with a host as in a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    addresses: Vec<SocketAddr>,
    authority: String,
    path: String,
}

impl Url {
    /// Any of these will do.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// As the header `Host` says it.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// With what is asked.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str =
            "is not of the form http://HOST:PORT/PATH with an IP address, or localhost, as the host";
        let uri: Uri = text.parse().map_err(|_| WRONG)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("needs TLS, which is not offered; use exec with curl or check_http"),
            _ => return Err(WRONG),
        }
        let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or(WRONG)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let addresses = Place::of(host, authority.port_u16().unwrap_or(80)).ok_or(WRONG)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { text: text.to_owned(), addresses, authority: authority.to_string(), path: path.to_owned() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_this_host() {
        let places = |text: &str| text.parse::<Place>().map(|place| place.addresses);
        assert_eq!(places("10.0.0.1:80"), Ok(vec!["10.0.0.1:80".parse().unwrap()]));
        assert_eq!(places("[::1]:80"), Ok(vec!["[::1]:80".parse().unwrap()]));
        let both = vec!["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()];
        assert_eq!(places("localhost:80"), Ok(both));
        for wrong in ["db:80", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:70000", "localhost", "localhost:x", ""] {
            assert!(places(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_url_says_whom_to_ask_and_what() {
        let url: Url = "http://127.0.0.1:8080/health?deep=1".parse().unwrap();
        assert_eq!(url.addresses(), ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!((url.authority(), url.path()), ("127.0.0.1:8080", "/health?deep=1"));
        let url: Url = "http://[::1]".parse().unwrap();
        assert_eq!((url.addresses(), url.path()), (&["[::1]:80".parse().unwrap()][..], "/"));
        for wrong in ["http://db/", "http://me@127.0.0.1/", "ftp://127.0.0.1/", "/health", "http://", ""] {
            assert!(wrong.parse::<Url>().is_err(), "{wrong}");
        }
        assert!("https://127.0.0.1/".parse::<Url>().unwrap_err().contains("exec"));
    }
}
