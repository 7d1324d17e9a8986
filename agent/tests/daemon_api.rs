//! The socket API of real agents, spoken to with nothing but a socket.

mod daemon;
mod skipped;

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use daemon::{Agent, pair, plan, speak};
use skipped::skipped;

#[test]
fn every_question_has_an_answer() {
    let (a, b) = pair();
    let members = a.get("/v1/members");
    assert_eq!(members["self"], "a");
    let names: Vec<_> = members["members"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    let count = |path: &str| a.get(path)["members"].as_array().unwrap().len();
    assert_eq!(count("/v1/members?tag=role%3Dweb"), 1);
    assert_eq!(count("/v1/members?tag=role"), 1);
    assert_eq!(count("/v1/members?tag=role=db"), 0);
    assert_eq!(count("/v1/members?status=alive&status=down"), 2);
    assert_eq!(count("/v1/members?status=down"), 0);
    assert!(a.get("/v1/members")["members"][1]["evidence"].is_null());
    assert!(a.get("/v1/members?evidence=true")["members"][1]["evidence"]["outlook"].is_string());

    let seen = a.get("/v1/members/b");
    assert_eq!((seen["status"].as_str(), seen["zone"].as_str()), (Some("alive"), Some("z1")));
    assert_eq!(seen["address"], b.address());
    assert!(seen["evidence"]["phi_threshold"].as_f64().unwrap() > 0.0);
    assert!(a.ask("GET", "/v1/members/nobody", "", "").problem(404).contains("nobody"));

    let me = b.get("/v1/self");
    assert_eq!(me["cluster"], "tests");
    assert_eq!(me["pid"], b.pid());
    assert_eq!(me["joined"], true);
    assert_eq!(me["counts"]["alive"], 2);
    assert_eq!(me["seeds"][0]["addresses"][0], a.address());
    assert_eq!(me["conditions"].as_array().unwrap().len(), 0, "{me}");
    b.wait_for("quorum is held", |b| b.get("/v1/quorum")["quorum"] == "held");
    assert!(b.get("/v1/stats")["datagrams_sent"].as_u64().unwrap() > 0);
    assert_eq!(b.get("/v1/version")["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(b.get("/livez")["status"], "live");
    assert_eq!(b.get("/readyz")["status"], "ready");
    let config = b.get("/v1/config");
    let expected = config.as_array().unwrap().iter().find(|s| s["key"] == "expected").unwrap();
    assert_eq!((&expected["value"], &expected["origin"]), (&"2".into(), &"--expected".into()));
}

#[test]
fn an_agent_is_not_ready_before_it_has_found_a_seed() {
    let seed = plan("seed");
    let agent = plan("a").seed(&seed.address()).start();
    assert!(agent.ask("GET", "/readyz", "", "").problem(503).contains("no other member"));
    assert_eq!(agent.get("/v1/self")["joined"], false);
    let _seed = seed.start();
    agent.wait_for("it is ready", |agent| agent.try_get("/readyz").is_some());
}

#[test]
fn an_unresolvable_seed_is_shown_and_not_fatal() {
    let agent = plan("a").seed("no-such-host.invalid").start();
    agent.wait_for("the seed is told", |agent| {
        let me = agent.get("/v1/self");
        me["seeds"][0]["error"].is_string() && me["conditions"].to_string().contains("no-such-host.invalid")
    });
    assert_eq!(agent.ask("GET", "/readyz", "", "").status, 503);
}

#[test]
fn a_watch_is_a_snapshot_and_every_change_after_it() {
    let (a, mut b) = pair();
    let mut watch = a.watch("", "");
    assert_eq!(watch.status, 200);
    assert!(watch.headers.contains("application/x-ndjson"), "{}", watch.headers);
    let snapshot = watch.line();
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(snapshot["members"].as_array().unwrap().len(), 2);
    let first = snapshot["index"].as_u64().unwrap();

    b.kill();
    let mut last = first;
    let down = loop {
        let line = watch.line();
        assert_eq!(line["index"].as_u64().unwrap(), last + 1, "{line}");
        last += 1;
        if line["type"] == "member-down" {
            break line;
        }
    };
    assert_eq!((&down["name"], &down["status"]), (&"b".into(), &"down".into()));
    assert!(down["reason"].is_string() && down["generation"].is_u64());

    // Another reader that was away gets just what it has missed.
    let mut resumed = a.watch(&format!("?since={first}"), "");
    for index in first + 1..=last {
        let line = resumed.line();
        assert_eq!(line["index"], index);
        assert_ne!(line["type"], "snapshot");
    }
    let mut b = b.again();
    let back = watch.until("member-restart", "b");
    assert_eq!(back["address"], b.address());
    b.kill();
}

#[test]
fn a_watch_from_elsewhere_in_time_is_gone() {
    let agent = plan("a").start();
    let ask = |query: &str| agent.ask("GET", &format!("/v1/watch{query}"), "", "");
    assert!(ask("?since=1000000").problem(410).contains("newest"));
    assert!(ask("?since=0&generation=1").problem(410).contains("restarted"));
    ask("?since=x").problem(400);
    ask("?from=1").problem(400);
    let header = "Last-Event-ID: 1-0\r\n";
    agent.ask("GET", "/v1/watch", header, "").problem(410);
}

#[test]
fn a_watch_speaks_sse_on_request() {
    let agent = plan("a").start();
    let mut watch = agent.watch("", "Accept: text/event-stream\r\n");
    assert!(watch.headers.contains("text/event-stream"), "{}", watch.headers);
    let id = watch.text().unwrap();
    let generation = agent.get("/v1/self")["member"]["generation"].as_u64().unwrap();
    assert!(id.starts_with(&format!("id: {generation}-")), "{id}");
    assert!(watch.text().unwrap().starts_with("data: {\"type\":\"snapshot\""));
    assert_eq!(watch.text().unwrap(), "");
    agent.post("/v1/tags", r#"{"set":{"role":"db"}}"#);
    let next = watch.text().unwrap();
    assert!(watch.text().unwrap().contains("member-update"));
    // A reconnecting client repeats the id it has and gets what came after.
    let before = id.strip_prefix("id: ").unwrap();
    let headers = format!("Accept: text/event-stream\r\nLast-Event-ID: {before}\r\n");
    assert_eq!(agent.watch("", &headers).text().unwrap(), next);
}

#[test]
fn a_watch_passes_proxies_and_its_first_line_comes_at_once() {
    let agent = plan("a").start();
    let index = agent.get("/v1/members")["index"].as_u64().unwrap();
    for accept in ["", "Accept: text/event-stream\r\n"] {
        let mut watch = agent.watch("", accept);
        for header in ["x-accel-buffering: no", "cache-control: no-cache, no-transform"] {
            assert!(watch.headers.contains(header), "{}", watch.headers);
        }
        assert!(watch.text().is_some());
        // Also where nothing has happened since.
        let text = agent.watch(&format!("?since={index}"), accept).text().unwrap();
        assert!(text.contains(&index.to_string()), "{text}");
    }
    assert_eq!(agent.watch(&format!("?since={index}"), "").line()["type"], "idle");
}

#[test]
fn a_watch_can_be_narrowed_to_types_statuses_and_tags() {
    let (a, mut b) = pair();
    let first = a.get("/v1/members")["index"].as_u64().unwrap();
    let mut down = a.watch("?type=member-down", "");
    assert_eq!(down.line()["type"], "idle", "no snapshot was asked for");
    let mut web = a.watch("?tag=role%3Dweb", "");
    let snapshot = web.line();
    let names: Vec<_> = snapshot["members"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["a"]);
    let mut left = a.watch("?status=left&status=suspect", "");
    assert_eq!(left.line()["members"], json!([]));
    b.post("/v1/tags", r#"{"set":{"role":"web"}}"#);
    assert_eq!(web.line()["name"], "b", "it has the tag now");
    b.kill();
    let line = down.line();
    assert_eq!((&line["type"], &line["name"]), (&"member-down".into(), &"b".into()));
    web.until("member-down", "b");
    let mut again = a.watch(&format!("?since={first}&type=member-down&tag=role%3Dweb"), "");
    assert_eq!(again.line()["index"], line["index"], "as the stream that was there");
    for query in ["?type=down", "?status=gone", "?colour=red"] {
        a.ask("GET", &format!("/v1/watch{query}"), "", "").problem(400);
    }
}

#[test]
fn watchers_and_idle_connections_keep_no_other_client_out() {
    let agent = plan("a").flags(&["--expected", "1", "--beat-within", "10m"]).start();
    agent.wait_for("quorum is held", |agent| agent.get("/v1/quorum")["quorum"] == "held");
    let mut watches: Vec<_> = (0..256).map(|_| agent.watch("", "")).collect();
    assert!(watches.iter().all(|watch| watch.status == 200));
    let idle: Vec<UnixStream> = (0..400).map(|_| UnixStream::connect(agent.plan.socket()).unwrap()).collect();
    // Not at once: they may be about to ask.
    agent.wait_for("the idle make room", |agent| agent.try_get("/livez").is_some());

    let refused = agent.ask("GET", "/v1/watch", "", "");
    assert!(refused.headers.contains("retry-after: "), "{}", refused.headers);
    assert!(refused.problem(503).contains("256 event streams are open"), "{}", refused.body);
    agent.wait_for("the log says so", |agent| agent.log().contains("too many streams"));

    // Readers, writers, the service's beat, and the guard of quorum.
    assert_eq!(agent.get("/v1/members")["self"], "a");
    assert_eq!(agent.post("/v1/beat", "").status, 200);
    assert_eq!(agent.post("/v1/tags", r#"{"set":{"k":"v"}}"#).status, 200);
    let guarded = Command::new(env!("CARGO_BIN_EXE_heartsay"))
        .arg("--socket")
        .arg(agent.plan.socket())
        .args(["exec", "--while-quorum", "--timeout", "30s", "--", "true"])
        .status()
        .unwrap();
    assert_eq!(guarded.code(), Some(0));
    // No earlier client pays for it, but for the idle ones.
    for watch in &mut watches {
        watch.until("member-update", "a");
    }
    let metrics = agent.ask("GET", "/metrics", "", "").body;
    assert!(metrics.contains("heartsay_api_streams{cluster=\"tests\"} 256"), "{metrics}");
    let refused = metrics
        .lines()
        .find(|line| line.starts_with("heartsay_api_refused_total") && line.contains("what=\"streams\""));
    assert!(refused.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    drop(watches);
    agent.wait_for("there is room again", |agent| agent.watch("", "").status == 200);
    drop(idle);
}

#[test]
fn a_connection_too_many_is_answered_at_once() {
    let agent = plan("a");
    let address = format!("{}:4328", agent.ip);
    let agent = agent.flags(&["--http-listen", &address]).start();
    // They have just come, and are about to ask: none of them can make room.
    let connect = |_| TcpStream::connect(&address).unwrap();
    let streams = RefCell::new(Vec::new());
    agent.wait_for("one is refused", |_| {
        *streams.borrow_mut() = (0..34).map(connect).collect::<Vec<_>>();
        let Ok(answer) = speak(connect(0), "GET", "/livez", "", "") else { return false };
        answer.status == 503
            && answer.headers.contains("retry-after: ")
            && answer.body.contains("too many connections")
    });
    agent.wait_log("too many connections");
    drop(streams);
    assert_eq!(agent.get("/livez")["status"], "live", "the socket is another door");
}

#[test]
fn a_reader_that_falls_behind_is_told_so_and_gets_a_new_snapshot() {
    let agent = plan("a").start();
    let mut slow = agent.watch("", "");
    // A reader of one type has missed lines of it all the same.
    let mut narrow = agent.watch("?type=member-update", "");
    assert_eq!(narrow.line()["type"], "idle");
    let mut last = slow.line()["index"].as_u64().unwrap();
    // More than the ring and every buffer in between hold.
    let mut fast = UnixStream::connect(agent.plan.socket()).unwrap();
    let mut answers = BufReader::new(fast.try_clone().unwrap());
    let mut sink = vec![0; 1 << 16];
    for n in 0..12_000 {
        let body = format!(r#"{{"set":{{"n":"{n}"}}}}"#);
        let head =
            format!("POST /v1/tags HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        fast.write_all(head.as_bytes()).unwrap();
        assert!(answers.read(&mut sink).unwrap() > 0);
    }
    let lagged = loop {
        let line = slow.line();
        if line["type"] == "lagged" {
            break line;
        }
        assert_eq!(line["index"].as_u64().unwrap(), last + 1, "a silent gap before {line}");
        last += 1;
    };
    assert_eq!(lagged["index"], last);
    let snapshot = slow.line();
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(snapshot["members"][0]["tags"]["n"], "11999");
    while narrow.line()["type"] != "lagged" {}
    assert_eq!(narrow.line()["type"], "snapshot");
    agent.post("/v1/tags", r#"{"delete":["n"]}"#);
    assert_eq!(slow.line()["index"].as_u64().unwrap(), snapshot["index"].as_u64().unwrap() + 1);
}

#[test]
fn what_makes_no_sense_is_a_problem_with_a_detail() {
    let agent = plan("a").start();
    assert!(agent.ask("GET", "/v2/members", "", "").problem(404).contains("/v2/members"));
    assert!(agent.ask("DELETE", "/v1/members", "", "").problem(405).contains("DELETE"));
    assert!(agent.ask("GET", "/v1/members?state=alive", "", "").problem(400).contains("state"));
    assert!(agent.ask("GET", "/v1/members?status=dead", "", "").problem(400).contains("dead"));
    assert!(agent.post("/v1/tags", "{\"set\": 7}").problem(400).contains("line 1"));
    assert!(agent.post("/v1/tags", "{").problem(400).contains("EOF"));
    assert!(agent.post("/v1/join", "{\"seeds\":[]}").problem(400).contains("whom"));
    assert!(agent.post("/v1/forget", "{\"name\":\"nobody\"}").problem(404).contains("nobody"));
    assert!(agent.post("/v1/forget", "{\"name\":\"a b\"}").problem(400).contains("a b"));
    agent.post("/v1/tags", &" ".repeat(70_000)).problem(413);
    let large = format!(r#"{{"set":{{"big":"{}"}}}}"#, "v".repeat(1000));
    assert!(agent.post("/v1/tags", &large).problem(400).contains("tag/big"));
    assert_eq!(agent.get("/livez")["status"], "live");
}

#[test]
fn what_is_not_understood_is_refused_by_its_name() {
    let agent = plan("a").flags(&["--beat-within", "10m"]).start();
    for (path, body, known) in [
        ("/v1/tags", r#"{"set":{},"remove":["k"]}"#, "`set` or `delete`"),
        ("/v1/join", r#"{"seeds":["n1"],"remove":1}"#, "`seeds` or `timeout_seconds`"),
        ("/v1/forget", r#"{"name":"n1","remove":1}"#, "`name`"),
        ("/v1/restart", r#"{"remove":1}"#, "`within_seconds`"),
        ("/v1/leave", r#"{"remove":1}"#, "no fields"),
        ("/v1/beat", r#"{"remove":1}"#, "no fields"),
        ("/v1/reload", r#"{"remove":1}"#, "no fields"),
    ] {
        let detail = agent.post(path, body).problem(400);
        assert!(detail.contains("unknown field `remove`") && detail.contains(known), "{path}: {detail}");
        let detail = agent.ask("POST", &format!("{path}?remove=1"), "", "{}").problem(400);
        assert!(detail.contains("remove") && detail.contains("in the body"), "{path}: {detail}");
    }
    for (query, words) in [
        ("/v1/members?remove=1", "known are status, tag, version, max_load and evidence"),
        ("/v1/members?max_load=half", "as in max_load=75"),
        ("/v1/watch?max_load=75", "known are since"),
        ("/v1/watch?version=1", "known are since"),
        ("/v1/watch?remove=1", "known are since, generation, type, service, status and tag"),
        ("/v1/members?evidence=maybe", "true or false"),
        ("/v1/members?tag=", "KEY or KEY=VALUE"),
        ("/v1/watch?tag=%3Dweb", "KEY or KEY=VALUE"),
        ("/v1/members/a?remove=1", "takes no query"),
        ("/v1/self?remove", "takes no query"),
        ("/v1/quorum?remove=1", "takes no query"),
        ("/v1/stats?remove=1", "takes no query"),
        ("/v1/config?remove=1", "takes no query"),
        ("/v1/version?remove=1", "takes no query"),
        ("/v1/members/%ff", "UTF-8"),
    ] {
        let detail = agent.ask("GET", query, "", "").problem(400);
        assert!(detail.contains(words), "{query}: {detail}");
    }
    for path in ["/livez?verbose", "/readyz?x=1", "/metrics?x=1", "/v1/self?"] {
        assert_eq!(agent.ask("GET", path, "", "").status, 200, "{path}");
    }
    for (path, body) in [("/v1/beat", ""), ("/v1/beat", "{}"), ("/v1/tags", "")] {
        assert_eq!(agent.post(path, body).status, 200, "{path} {body}");
    }
}

#[test]
fn tags_join_and_forget_change_what_all_see() {
    let a = plan("a").start();
    let mut b = plan("b").start();
    let body = format!(r#"{{"seeds":["{}"],"timeout_seconds":20}}"#, a.address());
    let joined = b.post("/v1/join", &body).json();
    assert_eq!((&joined["joined"], &joined["members"]), (&true.into(), &2.into()));
    assert_eq!(joined["dialled"][0], a.address());
    let mut watch = a.watch("", "");
    let member = b.post("/v1/tags", r#"{"set":{"role":"db"}}"#).json();
    assert_eq!(member["tags"]["role"], "db");
    a.wait_for("the tag has arrived", |a| a.get("/v1/members/b")["tags"]["role"] == "db");
    let update = watch.until("member-update", "b");
    assert_eq!((&update["changed"], &update["before"]), (&json!(["tag/role"]), &json!({})));
    b.post("/v1/tags", r#"{"set":{"role":"web"}}"#);
    let update = watch.until("member-update", "b");
    assert_eq!((&update["tags"]["role"], &update["before"]), (&json!("web"), &json!({ "tag/role": "db" })));
    assert!(a.post("/v1/forget", r#"{"name":"b"}"#).problem(409).contains("alive"));
    b.kill();
    a.wait_status("b", "down");
    assert_eq!(a.post("/v1/forget", r#"{"name":"b"}"#).status, 204);
    assert_eq!(a.ask("GET", "/v1/members/b", "", "").status, 404);
}

#[test]
fn over_tcp_everything_can_be_read_and_nothing_changed() {
    let agent = plan("a");
    let address = format!("{}:4328", agent.ip);
    let agent = agent.flags(&["--http-listen", &address]).start();
    let ask = |method: &str, path: &str| {
        speak(TcpStream::connect(&address).unwrap(), method, path, "", "{}").unwrap()
    };
    assert_eq!(ask("GET", "/v1/members").json()["self"], "a");
    assert_eq!(ask("GET", "/readyz").status, 200);
    assert!(ask("POST", "/v1/leave").problem(403).contains("Unix socket"));
    assert_eq!(agent.get("/livez")["status"], "live");
}

#[test]
fn others_may_read_and_only_admins_may_change() {
    if !nix::unistd::Uid::effective().is_root() {
        skipped("only root can act as another user");
        return;
    }
    // 4242 is in no database of users: what a unit's SupplementaryGroups= gives counts all the same.
    for (flags, groups, may_change) in [
        (&[][..], "4242", false),
        (&["--admin-group", "4244"][..], "4242", true),
        (&["--admin-group", "4242"][..], "4243", false),
        (&["--admin-group", "4242"][..], "4243,4242", true),
    ] {
        let agent = plan("a").flags(&["--socket-mode", "0666"]).flags(flags);
        fs::set_permissions(agent.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        let agent = agent.start();
        // In a place that any user may enter.
        let program = agent.plan.dir().join("heartsay");
        fs::copy(env!("CARGO_BIN_EXE_heartsay"), &program).unwrap();
        let as_another_user = |args: &[&str]| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=4244", &format!("--groups={groups}")]);
            command.arg(&program).arg("--socket").arg(agent.plan.socket()).args(args);
            command.current_dir("/").output().unwrap()
        };
        assert!(as_another_user(&["members"]).status.success());
        let output = as_another_user(&["tags", "set", "x=y"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), may_change, "{said}");
        assert!(may_change || said.contains("may read only"), "{said}");
        assert_eq!(agent.post("/v1/tags", "{}").status, 200, "root may always");
    }
}

#[test]
fn a_client_that_sends_nothing_more_still_gets_its_answer() {
    let plan = plan("n1");
    let listen = format!("{}:4380", plan.ip);
    let agent = plan.flags(&["--http-listen", &listen]).start();
    for request in ["GET /readyz HTTP/1.0\r\n\r\n", "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut local = UnixStream::connect(agent.plan.socket()).unwrap();
        local.write_all(request.as_bytes()).unwrap();
        local.shutdown(Shutdown::Write).unwrap();
        let mut remote = TcpStream::connect(&listen).unwrap();
        remote.write_all(request.as_bytes()).unwrap();
        remote.shutdown(Shutdown::Write).unwrap();
        local.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        remote.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        for stream in [&mut local as &mut dyn Read, &mut remote] {
            let mut answer = String::new();
            // To its end: the connection does not stay open for a client that asks nothing more.
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.contains(" 200 OK") && answer.contains("ready"), "{request:?}: {answer:?}");
        }
    }
}

#[test]
fn a_watcher_that_sends_nothing_more_follows_on_and_one_that_has_gone_makes_room() {
    let agent = plan("n1").start();
    let mut follows = UnixStream::connect(agent.plan.socket()).unwrap();
    follows.write_all(b"GET /v1/watch HTTP/1.0\r\n\r\n").unwrap();
    follows.shutdown(Shutdown::Write).unwrap();
    follows.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut lines = BufReader::new(follows).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("snapshot")));
    agent.post("/v1/tags", r#"{"set":{"role":"web"}}"#);
    assert!(lines.any(|line| line.contains("member-update")), "it goes on");
    drop(lines);
    let gone = agent.watch("", "");
    agent.wait_for("it counts", |agent| streams(agent) >= Some(1));
    drop(gone);
    // At once, not when the next line cannot be written.
    agent.post("/v1/tags", r#"{"set":{"role":"db"}}"#);
    agent.wait_for("no stream is left", |agent| streams(agent) == Some(0));
}

fn streams(agent: &Agent) -> Option<usize> {
    let metrics = agent.ask("GET", "/metrics", "", "").body;
    let line = metrics.lines().find(|line| line.starts_with("heartsay_api_streams{"))?;
    line.rsplit(' ').next()?.parse().ok()
}
