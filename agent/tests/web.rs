//! The page, as an agent and `heartsay web` serve it. What a browser makes of it: scripts/ci/page.py.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;
mod said;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use daemon::{Agent, Response, pair, plan};

#[test]
fn an_agent_serves_the_page_at_its_root_and_lets_it_run_nothing_else() {
    let plan = plan("a");
    let address = format!("{}:4328", plan.ip);
    let agent = plan.flags(&["--http-listen", &address]).start();
    for page in [agent.ask("GET", "/", "", ""), over_tcp(&address, "GET", "/", "")] {
        is_page(&page);
        assert!(
            page.body.starts_with("<!doctype html>") && page.body.contains("lang=\"en\""),
            "{}",
            page.body
        );
    }
    let compressed = raw(
        &address,
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept-Encoding: br, gzip\r\n\r\n",
    );
    let end = compressed.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&compressed[..end]).to_lowercase();
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
    assert!(compressed.len() < 60_000, "{} bytes", compressed.len());
    assert!(compressed[end + 4..].starts_with(b"\x1f\x8b"));
    // Readers add what they like to the address of a page.
    assert_eq!(over_tcp(&address, "GET", "/?from=chat", "").status, 200);
    over_tcp(&address, "POST", "/", "").problem(405);
    let elsewhere = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(raw(&address, elsewhere).starts_with(b"HTTP/1.1 421 "));
}

#[test]
fn without_the_token_of_this_run_nothing_is_told() {
    let agent = plan("a").start();
    let web = Web::start(&agent);
    is_page(&web.ask("GET", "/", ""));
    for headers in [
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer x\r\n",
        &format!("Cookie: token={}\r\n", web.token),
    ] {
        for path in ["/v1/self", "/v1/watch", "/metrics", "/nothing", "//"] {
            let refused = web.ask("GET", path, headers);
            assert!(refused.problem(401).contains("token"), "{path}");
            assert!(refused.headers.contains("www-authenticate: bearer"), "{}", refused.headers);
        }
        let in_query = format!("/v1/self?token={}", web.token);
        web.ask("GET", &in_query, headers).problem(401);
    }
    let told = web.ask("GET", "/v1/self", &web.key());
    assert_eq!((told.status, &told.json()["member"]["name"]), (200, &"a".into()));
    for header in [
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(told.headers.contains(header), "{header}: {}", told.headers);
    }
    let other = Web::start(&agent);
    assert_ne!(web.token, other.token);
    other.ask("GET", "/v1/self", &web.key()).problem(401);
}

#[test]
fn it_reads_alone_and_by_its_own_name_alone() {
    let agent = plan("a").start();
    let web = Web::start(&agent);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"] {
        let answer = web.ask(method, "/v1/tags", &web.key());
        assert_eq!(answer.status, 405, "{method}: {}", answer.body);
        assert!(answer.headers.contains("allow: get"), "{}", answer.headers);
    }
    let named = |host: &str, path: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{}\r\n", web.key());
        String::from_utf8_lossy(&raw(&web.address, &request)).into_owned()
    };
    for host in ["127.0.0.1", &web.address, "localhost:8080"] {
        assert!(named(host, "/v1/self").starts_with("HTTP/1.1 200 "), "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "192.0.2.1", "localhost@evil"] {
        for path in ["/", "/v1/self"] {
            let answer = named(host, path);
            let is_refused = answer.starts_with("HTTP/1.1 421 ") || answer.starts_with("HTTP/1.1 400 ");
            assert!(is_refused && !answer.contains("\"member\""), "{host}: {answer}");
        }
    }
}

#[test]
fn what_the_agent_says_comes_through_and_so_does_the_stream() {
    let (a, mut b) = pair();
    let web = Web::start(&a);
    assert_eq!(web.ask("GET", "/v1/members?tag=role=web", &web.key()).json()["members"][0]["name"], "a");
    assert!(web.ask("GET", "/v1/members/nobody", &web.key()).problem(404).contains("nobody"));
    assert!(web.ask("GET", "/v1/self?wrong=1", &web.key()).problem(400).contains("wrong"));
    let mut stream = TcpStream::connect(&web.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n{}\r\n", web.key()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut until = |text: &str| lines.by_ref().map(Result::unwrap).find(|line| line.contains(text)).unwrap();
    assert!(until("snapshot").contains("\"b\""));
    b.kill();
    assert!(until("\"member-down\"").contains("\"b\""));
    let streams = |a: &Agent| {
        a.ask("GET", "/metrics", "", "").body.contains("heartsay_api_streams{cluster=\"tests\"} 0")
    };
    assert!(!streams(&a));
    drop(lines);
    a.wait_for("its stream ends with the page", streams);
}

#[test]
fn an_agent_that_goes_away_is_told_with_the_reason_and_found_again() {
    let mut agent = plan("a").start();
    let web = Web::start(&agent);
    agent.kill();
    let answer = web.ask("GET", "/v1/self", &web.key());
    assert!(answer.problem(502).contains("nobody listens at"), "{}", answer.body);
    let codes: Vec<Value> =
        answer.json()["findings"].as_array().unwrap().iter().map(|one| one["code"].clone()).collect();
    assert!(codes.contains(&"agent-not-running".into()), "{codes:?}");
    is_page(&web.ask("GET", "/", ""));
    let _agent = agent.again();
    assert_eq!(web.ask("GET", "/v1/self", &web.key()).status, 200);
}

#[test]
fn it_ends_by_a_signal_and_says_what_it_cannot_do() {
    let agent = plan("a").start();
    let mut web = Web::start(&agent);
    let taken = Command::new(env!("CARGO_BIN_EXE_heartsay"))
        .arg("--socket")
        .arg(agent.plan.socket())
        .args(["web", "--port", web.address.rsplit_once(':').unwrap().1])
        .output()
        .unwrap();
    assert_eq!((said::code(&taken), said::stdout(&taken)), (1, String::new()));
    assert!(said::stderr(&taken).contains("cannot listen on 127.0.0.1:"), "{}", said::stderr(&taken));
    web.signal(Signal::SIGINT);
    let ended = web.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(2));
}

/// It is the page, with all that keeps it to itself.
fn is_page(answer: &Response) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; script-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "cross-origin-opener-policy: same-origin",
    ] {
        assert!(answer.headers.contains(header), "{header} is not in {}", answer.headers);
    }
    let policy = answer.headers.lines().find(|line| line.starts_with("content-security-policy")).unwrap();
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
}

/// A running `heartsay web`; ended with the test.
struct Web {
    child: Child,
    address: String,
    token: String,
}

impl Web {
    fn start(agent: &Agent) -> Self {
        Self::of(&agent.plan.socket())
    }

    fn of(socket: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
        command.arg("--socket").arg(socket).args(["web", "-o", "json"]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains('}') {
            assert_ne!(said.read_line(&mut text).unwrap(), 0, "{text}");
        }
        let said: Value = serde_json::from_str(&text).unwrap();
        let (url, token) = said["url"].as_str().unwrap().split_once("#token=").unwrap();
        let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix('/')).unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        Self { child, address: address.to_owned(), token: token.to_owned() }
    }

    fn key(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> Response {
        over_tcp(&self.address, method, path, headers)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn over_tcp(address: &str, method: &str, path: &str, headers: &str) -> Response {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    daemon::speak(stream, method, path, headers, "").unwrap()
}

fn raw(address: &str, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}
