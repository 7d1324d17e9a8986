//! Services of real agents: registered, held by a connection, told to every member, gone with their program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daemon::{Agent, pair, plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

#[test]
fn a_held_service_is_gone_on_every_member_when_its_holder_is_killed() {
    let (a, b) = pair();
    let mut watches = [a.watch("?service=db", ""), b.watch("?service=db", "")];
    let mut holder = Command::new(env!("CARGO_BIN_EXE_heartsay"))
        .args([
            "--socket",
            a.plan.socket().to_str().unwrap(),
            "exec",
            "--service",
            "db",
            "--service-port",
            "5432",
        ])
        .args(["--service-tag", "role=primary", "--", "sleep", "600"])
        .spawn()
        .unwrap();
    for watch in &mut watches {
        let up = until(watch, "service-up");
        assert_eq!(up["name"], "a");
        let service = &up["service"];
        assert_eq!((&service["port"], &service["tags"]), (&json!(5432), &json!({ "role": "primary" })));
        assert_eq!(service["address"], a.plan.ip.to_string());
    }
    assert_eq!(healthy(&b, "db"), 1);
    kill(pid(&holder), Signal::SIGKILL).unwrap();
    // Long before the next sign of life is written to the connection, after 15 s.
    let [here, there] = watches.each_mut().map(|watch| until(watch, "service-gone")["reason"].clone());
    let here = here.as_str().unwrap();
    assert!(here.starts_with("deregistered; its connection ended: process "), "{here}");
    assert_eq!(there, "deregistered", "the text stays on its host");
    holder.wait().unwrap();
    b.ask("GET", "/v1/services/db", "", "").problem(404);
}

#[test]
fn a_host_that_tells_its_load_can_be_chosen_by_it() {
    let a = plan("a").start();
    let b = plan("b").flags(&["--load"]).seed(&a.address()).start();
    let mut watch = a.watch("?type=member-update", "");
    let load = || a.get("/v1/members/b")["load"].clone();
    a.wait_for("the load of b", |_| load().is_object());
    let shares = ["memory_free_percent", "disk_free_percent"].map(|key| load()[key].as_u64().unwrap());
    assert!(shares.iter().all(|share| *share <= 100) && load()["cpu_percent"].is_u64());
    assert_eq!(a.get("/v1/members/a")["load"], Value::Null, "it was not asked to tell");
    assert_eq!(a.get("/v1/members/b")["version"], env!("CARGO_PKG_VERSION"));

    let names = |query: &str| a.get(&format!("/v1/members?{query}"))["members"].as_array().unwrap().len();
    assert_eq!(names("max_load=6400"), 1);
    assert_eq!(names("version=0.0.0"), 0);
    assert_eq!(names(concat!("version=", env!("CARGO_PKG_VERSION"))), 2);

    for agent in [&a, &b] {
        let held = agent.post("/v1/services", r#"{"name":"web","port":80}"#);
        assert_eq!(held.status, 200);
    }
    a.wait_for("both instances", |a| healthy(a, "web") == 2);
    let hosts = |query: &str| {
        let of = a.get(&format!("/v1/services/web?{query}"))["instances"].clone();
        of.as_array()
            .unwrap()
            .iter()
            .map(|one| one["member"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(hosts("max_load=6400"), ["b"]);
    assert_eq!(hosts(""), ["a", "b"]);
    // What is told next is the tag: the load before it was no event.
    assert_eq!(b.post("/v1/tags", r#"{"set":{"k":"v"}}"#).status, 200);
    assert_eq!(until(&mut watch, "member-update")["changed"], json!(["tag/k"]));
}

#[test]
fn two_programs_cannot_hold_the_same_and_another_id_is_another() {
    let a = plan("a").start();
    let first = hold(&a.plan.socket(), r#"{"name":"db","hold":true}"#);
    let problem = a.post("/v1/services", r#"{"name":"db","hold":true}"#).problem(409);
    let me = format!("held by process {} of uid {}", std::process::id(), nix::unistd::Uid::current());
    assert!(problem.contains(&me) && problem.contains("another id"), "{problem}");
    let _second = hold(&a.plan.socket(), r#"{"name":"db","id":"2","port":7,"hold":true}"#);
    assert_eq!(healthy(&a, "db"), 2);
    let second = heartsay(&a, &["exec", "--service", "db", "--", "true"]);
    assert_eq!(second.0, 121, "{}", second.1);
    assert!(second.1.contains("--service-id"), "{}", second.1);

    // Somebody else takes it away: the holder is told.
    let mut rest = String::new();
    assert_eq!(a.post("/v1/services/deregister", r#"{"name":"db"}"#).status, 204);
    let _ = BufReader::new(first).read_to_string(&mut rest);
    assert_eq!(healthy(&a, "db"), 1);
}

#[test]
fn health_is_told_to_all_and_its_text_stays_here() {
    let (a, b) = pair();
    let mut watch = b.watch("?service=web&type=service-up&type=service-critical&type=service-gone", "");
    assert_eq!(a.post("/v1/services", r#"{"name":"web","port":80,"tags":{"v":"1"}}"#).status, 200);
    until(&mut watch, "service-up");
    let said = r#"{"name":"web","health":"critical","text":"no disk"}"#;
    assert_eq!(a.post("/v1/services/health", said).status, 204);
    assert_eq!(until(&mut watch, "service-critical")["reason"], "it was passing");
    assert_eq!(healthy(&b, "web"), 0);
    assert_eq!(b.get("/v1/services/web?healthy")["instances"], json!([]));
    let [here, there] = [&a, &b].map(|agent| agent.get("/v1/services/web")["instances"][0].clone());
    assert_eq!((&here["text"], &here["by"]), (&json!("no disk"), &json!("the API")));
    assert_eq!((&there["text"], &there["health"]), (&Value::Null, &json!("critical")));
    assert_eq!(b.get("/v1/services?healthy")["services"], json!([]));
    assert_eq!(b.get("/v1/services?tag=v=1&member=a")["services"][0]["name"], "web");
    let tags = &a.get("/v1/members/a")["tags"];
    assert!(!tags.to_string().contains("service"), "{tags}");

    assert_eq!(a.post("/v1/services/health", r#"{"name":"web","health":"passing"}"#).status, 204);
    until(&mut watch, "service-up");
    a.post("/v1/services/health", r#"{"name":"db","health":"passing"}"#).problem(404);
    a.post("/v1/services/health", r#"{"name":"web","health":"fine"}"#).problem(400);
    assert_eq!(a.post("/v1/services/deregister", r#"{"name":"web"}"#).status, 204);
    until(&mut watch, "service-gone");
}

#[test]
fn another_host_is_told_why_when_it_asks() {
    let (a, b) = pair();
    assert_eq!(a.post("/v1/services", r#"{"name":"web","id":"blue","port":80}"#).status, 200);
    let text = "check http: 503\u{1b}[31m Service Unavailable";
    let said = json!({ "name": "web", "id": "blue", "health": "critical", "text": text });
    assert_eq!(a.post("/v1/services/health", &said.to_string()).status, 204);
    let one = |query: &str| b.get(&format!("/v1/services/web{query}"))["instances"][0].clone();
    b.wait_for("it is known", |_| one("")["health"] == "critical");
    assert_eq!((&one("")["text"], &one("")["answered"]), (&Value::Null, &Value::Null), "nobody has asked");
    let told = one("?why=1");
    assert_eq!(told["text"], "check http: 503\u{fffd}[31m Service Unavailable");
    assert_eq!((&told["answered"], &told["by"], &told["checks"]), (&json!(true), &Value::Null, &Value::Null));
    let (_, shown) = heartsay(&b, &["service", "show", "web"]);
    assert!(shown.contains("a says: check http: 503"), "{shown}");
    b.ask("GET", "/v1/services/web?why=maybe", "", "").problem(400);

    // A host that does not answer is named, and does not keep the reader waiting. Nobody has asked about this one before.
    for (path, health) in [("", json!({ "port": 81 })), ("/health", json!({ "health": "warning" }))] {
        let mut body = health;
        (body["name"], body["id"]) = ("web".into(), "green".into());
        let status = a.post(&format!("/v1/services{path}"), &body.to_string()).status;
        assert!(matches!(status, 200 | 204), "{status}");
    }
    let green = |query: &str| b.get(&format!("/v1/services/web{query}"))["instances"][1].clone();
    b.wait_for("it is known", |_| green("")["health"] == "warning");
    a.signal(Signal::SIGSTOP);
    let told = green("?why=1");
    assert_eq!(
        (&told["id"], &told["answered"], &told["text"]),
        (&json!("green"), &json!(false), &Value::Null)
    );
    let problem = b.ask("GET", "/v1/paths?from=a", "", "").problem(504);
    a.signal(Signal::SIGCONT);
    assert!(problem.starts_with("a has not answered within a second"), "{problem}");
}

#[test]
fn services_of_a_host_that_dies_are_gone_and_back_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("heartsay.toml");
    fs::write(&config, "[[service]]\nname = \"db\"\nport = 5432\ntags = { role = \"primary\" }\n").unwrap();
    let a = plan("a").start();
    let mut watch = a.watch("?service=db", "");
    let config = ["--config", config.to_str().unwrap()];
    let mut b = plan("b").seed(&a.address()).flags(&config).start();
    assert_eq!(until(&mut watch, "service-up")["service"]["tags"]["role"], "primary");
    assert_eq!(b.post("/v1/services", r#"{"name":"db","id":"2"}"#).status, 200);
    until(&mut watch, "service-up");
    b.kill();
    for _ in 0..2 {
        assert_eq!(until(&mut watch, "service-gone")["reason"], "its member is down");
    }
    let view = a.get("/v1/services/db");
    assert_eq!((&view["healthy"], &view["known"]), (&json!(0), &json!(2)));
    assert_eq!(view["instances"][0]["status"], "down");
    let _b = b.again();
    assert_eq!(until(&mut watch, "service-up")["service"]["id"], "");
    assert_eq!(a.get("/v1/services/db")["known"], 1, "what the API registered has ended with the agent");
}

#[test]
fn a_reload_takes_services_up_and_away_and_one_that_is_refused_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("heartsay.toml");
    let service = |name: &str| format!("[[service]]\nname = \"{name}\"\n");
    fs::write(&config, service("db")).unwrap();
    let a = plan("a").flags(&["--config", config.to_str().unwrap()]).start();
    let names = || {
        let all = a.get("/v1/services")["services"].clone();
        all.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["db"]);
    a.post("/v1/services", r#"{"name":"db"}"#).problem(409);
    a.post("/v1/services/deregister", r#"{"name":"db"}"#).problem(409);
    let _held = hold(&a.plan.socket(), r#"{"name":"api","hold":true}"#);
    fs::write(&config, service("web") + &service("api")).unwrap();
    let problem = a.post("/v1/reload", "").problem(422);
    assert!(problem.contains("api") && problem.contains("held by"), "{problem}");
    assert_eq!(names(), ["api", "db"]);
    fs::write(&config, service("web") + &service("web")).unwrap();
    let problem = a.post("/v1/reload", "").problem(422);
    assert!(problem.contains(":4: service.name") && problem.contains("twice"), "{problem}");
    fs::write(&config, service("web") + "port = 0\n").unwrap();
    assert!(a.post("/v1/reload", "").problem(422).contains(":3: service.port"));
    fs::write(&config, service("web")).unwrap();
    assert!(a.post("/v1/reload", "").json()["changed"].to_string().contains("service.web"));
    assert_eq!(names(), ["api", "web"]);
}

#[test]
fn exec_registers_again_when_the_agent_is_back_and_the_command_runs_on() {
    let a = plan("a").start();
    let mut exec = Command::new(env!("CARGO_BIN_EXE_heartsay"))
        .args(["--socket", a.plan.socket().to_str().unwrap(), "exec", "--service", "db", "--", "cat"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    a.wait_for("it is registered", |a| a.try_get("/v1/services/db").is_some());
    let a = a.restart();
    a.wait_for("it is registered again", |a| a.try_get("/v1/services/db").is_some());
    drop(exec.stdin.take());
    assert_eq!(exec.wait().unwrap().code(), Some(0), "the command ended by itself");
    let mut said = String::new();
    exec.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("is not registered for now").count(), 1, "{said}");
    a.wait_for("it is gone", |a| a.try_get("/v1/services/db").is_none());
}

#[test]
fn exec_runs_without_an_agent() {
    let absent = plan("a");
    let socket = absent.socket();
    let ran = run(&socket, &["exec", "--service", "db", "--", "sh", "-c", "exit 7"]);
    assert_eq!(ran.0, 7, "{}", ran.1);
    assert!(ran.1.contains("is not registered for now"), "{}", ran.1);
}

#[test]
fn what_a_liar_says_of_its_services_is_left_out_and_harms_nobody() {
    let (a, b) = pair();
    // Another address than its own is its own word, and shown as such.
    let body = r#"{"name":"db","address":"192.0.2.1","port":1}"#;
    assert_eq!(b.post("/v1/services", body).status, 200);
    a.wait_for("it is told", |a| a.try_get("/v1/services/db").is_some());
    let one = a.get("/v1/services/db")["instances"][0].clone();
    assert_eq!(
        (&one["address"], &one["elsewhere"], &one["member"]),
        (&json!("192.0.2.1"), &json!(true), &json!("b"))
    );
    // Users cannot reach the keys of services as tags.
    assert_eq!(b.post("/v1/tags", r#"{"set":{"service.db":"x"}}"#).status, 200);
    assert_eq!(b.get("/v1/services/db")["known"], 1);
}

#[test]
fn what_does_not_fit_is_refused_and_says_what_the_limit_is() {
    let a = plan("a").start();
    for (body, said) in [
        (r#"{"name":"Db"}"#, "lower-case letters"),
        (r#"{"name":"db","port":0}"#, "port 0"),
        (r#"{"name":"db","id":"a b"}"#, "no word"),
        (r#"{"name":"db","address":"here"}"#, "no IP address"),
        (r#"{"name":"db","tags":{"":"x"}}"#, "no key"),
        (r#"{"nam":"db"}"#, "unknown field"),
    ] {
        let problem = a.post("/v1/services", body).problem(400);
        assert!(problem.contains(said), "{body}: {problem}");
    }
    let long = json!({ "name": "db", "tags": { "k": "x".repeat(800) } }).to_string();
    let problem = a.post("/v1/services", &long).problem(400);
    assert!(problem.contains("768"), "{problem}");
    a.ask("GET", "/v1/services/db", "", "").problem(404);
    for query in ["?healthy=maybe", "?tag=", "?wrong=1"] {
        a.ask("GET", &format!("/v1/services{query}"), "", "").problem(400);
    }
    // Names that are paths of ours can be asked for all the same.
    for name in ["health", "deregister"] {
        a.ask("GET", &format!("/v1/services/{name}"), "", "").problem(404);
        assert_eq!(a.post("/v1/services", &json!({ "name": name }).to_string()).status, 200);
        assert_eq!(healthy(&a, name), 1);
    }
}

#[test]
fn a_shell_registers_lists_waits_and_deregisters() {
    let (a, b) = pair();
    assert_eq!(heartsay(&b, &["service", "list"]).0, 4);
    assert_eq!(heartsay(&b, &["service", "show", "db"]).0, 4);
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_heartsay"))
        .args(["--socket", b.plan.socket().to_str().unwrap(), "wait", "--for", "healthy(db)>=2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for agent in [&a, &b] {
        let done = heartsay(agent, &["service", "register", "db", "--port", "1", "--tag", "v=1"]);
        assert_eq!(done.0, 0, "{}", done.1);
    }
    assert!(waiting.wait().unwrap().success());
    let (code, text) = heartsay(&b, &["service", "list"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("db") && text.contains("a, b") || text.contains("a and b"), "{text}");
    let (_, text) = heartsay(&b, &["service", "list", "db", "--healthy", "--member", "a"]);
    assert!(text.contains(&format!("{}:1", a.plan.ip)) && text.contains("v=1"), "{text}");
    let (code, text) = heartsay(&a, &["service", "health", "db", "critical", "--text", "no disk"]);
    assert_eq!(code, 0, "{text}");
    let (_, text) = heartsay(&a, &["service", "show", "db"]);
    assert!(text.contains("critical") && text.contains("no disk"), "{text}");
    assert_eq!(heartsay(&b, &["wait", "--for", "healthy(db)==1", "--timeout", "20s"]).0, 0);
    assert_eq!(heartsay(&a, &["service", "deregister", "db"]).0, 0);
    assert_eq!(heartsay(&a, &["service", "deregister", "db"]).0, 1);
}

/// Reads on until a line of this type.
fn until(watch: &mut daemon::Watch, kind: &str) -> Value {
    loop {
        let line = watch.line();
        if line["type"] == kind {
            return line;
        }
        assert!(!line["type"].as_str().unwrap().starts_with("service-"), "before {kind}: {line}");
    }
}

fn healthy(agent: &Agent, name: &str) -> u64 {
    agent.get(&format!("/v1/services/{name}"))["healthy"].as_u64().unwrap()
}

/// Registers a service over a connection that stays.
fn hold(socket: &Path, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "POST /v1/services HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while !line.contains("registered") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "it ended");
    }
    stream
}

/// Runs a verb: its code, and all that it said.
fn heartsay(agent: &Agent, words: &[&str]) -> (i32, String) {
    run(&agent.plan.socket(), words)
}

fn run(socket: &Path, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    let done = command.arg("--socket").arg(socket).args(words).output().unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}
