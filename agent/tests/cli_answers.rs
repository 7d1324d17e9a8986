//! Every verb against a small made-up agent that says what the contract allows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that trips over is a test that fails"
)]

mod said;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use said::{code, stderr, stdout};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "../src/api/types.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "the contract, as the tests' other half")]
mod types;

// Lists.

#[test]
fn members_are_listed_with_problems_first() {
    let fake = Fake::start();
    let output = fake.heartsay(&["members"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let names: Vec<&str> = text.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", "n3", "n4", "n1", "n2", "n5"]);
    assert!(text.contains("accused by n1,n2"), "{text}");
    assert!(text.contains("role=db"), "{text}");
    assert!(!text.contains('\x1b'), "no colours for a pipe");
    let text = stdout(&fake.heartsay(&["members", "--no-headers"]));
    assert!(text.starts_with("n3"), "{text}");
}

#[test]
fn members_can_be_filtered_and_nobody_is_a_no() {
    let fake = Fake::start();
    let names = |args: &[&str]| {
        let output = fake.heartsay(&[&["members", "-o", "jsonl"], args].concat());
        let names: Vec<String> =
            stdout(&output).lines().map(|l| serde_json::from_str::<types::Member>(l).unwrap().name).collect();
        (code(&output), names.join(" "))
    };
    assert_eq!(names(&["--status", "alive"]), (0, "n1 n2".to_owned()));
    assert_eq!(names(&["--status", "suspect,down"]), (0, "n3 n4".to_owned()));
    assert_eq!(names(&["--tag", "role=db"]), (0, "n2 n3".to_owned()));
    assert_eq!(names(&["--tag", "role=db", "--status", "alive"]), (0, "n2".to_owned()));
    assert_eq!(names(&["--tag", "role=web"]), (4, String::new()));
    assert_eq!(names(&["--tag", "role=a&b=c #"]), (4, String::new()), "a value is sent as it is");
}

#[test]
fn json_is_what_the_agent_said_to_the_letter() {
    let fake = Fake::start();
    for (args, said) in [
        (&["members"][..], members()),
        (&["status"], myself()),
        (&["quorum"], quorum("held")),
        (&["why", "n3"], member("n3")),
        (&["phi"], members()),
        (&["tags"], member("n1")),
    ] {
        let json = stdout(&fake.heartsay(&[args, &["-o", "json"]].concat()));
        // Text, not values: the order of the fields is kept too.
        assert_eq!(json, format!("{}\n", serde_json::to_string_pretty(&said).unwrap()), "{args:?}");
        let yaml = stdout(&fake.heartsay(&[args, &["-o", "yaml"]].concat()));
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), said, "{args:?}\n{yaml}");
    }
    assert!(members()["members"][0].get("from_the_future").is_some(), "the fake knows a newer contract");
}

#[test]
fn colours_are_for_those_who_want_them() {
    let fake = Fake::start();
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = fake.command(args);
        command.envs(env.iter().copied());
        stdout(&command.output().unwrap())
    };
    assert!(run(&["members"], &[("CLICOLOR_FORCE", "1")]).contains("\x1b["));
    assert!(!run(&["members", "--no-color"], &[("CLICOLOR_FORCE", "1")]).contains("\x1b["));
    assert!(!run(&["members"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains("\x1b["));
}

#[test]
fn phi_shows_habit_and_threshold_most_surprising_first() {
    let fake = Fake::start();
    let text = stdout(&fake.heartsay(&["phi"]));
    assert!(text.lines().nth(1).unwrap().starts_with("n3"), "{text}");
    assert!(text.contains("6.2") && text.contains("8.0") && text.contains("87"), "{text}");
}

// One member, and ourselves.

#[test]
fn why_tells_the_case_in_sentences() {
    let fake = Fake::start();
    let output = fake.heartsay(&["why", "n3"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for words in [
        "n3 is suspect, for ",
        "2 members accuse it:",
        "heartbeat > 812",
        "no such process",
        "doubts itself",
        "advanced 4.2s ago",
        "every 1.00 s ± 50.0 ms (learnt from 87 steps)",
        "φ is 6.2; silence alone accuses at 8.0",
        "Direct contact from here fails",
        "What would change this: a heartbeat above 812 clears it.",
        "Probably them: this agent is well",
        "3 of 4 peers share this view",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

#[test]
fn why_of_the_healthy_and_of_oneself_is_short() {
    let fake = Fake::start();
    let text = stdout(&fake.heartsay(&["why", "n2"]));
    assert!(text.contains("Nobody accuses it.") && !text.contains("Them or us"), "{text}");
    let text = stdout(&fake.heartsay(&["why", "n1"]));
    assert!(text.contains("the agent that answers here"), "{text}");
}

#[test]
fn an_unknown_member_is_an_error_with_a_hint() {
    let fake = Fake::start();
    for args in [&["why", "n33"][..], &["forget", "n33"]] {
        let output = fake.heartsay(args);
        assert_eq!(code(&output), 1);
        assert!(stderr(&output).contains("no member is called n33; did you mean n3?"), "{}", stderr(&output));
    }
    let output = fake.heartsay(&["why", "zebra"]);
    assert!(!stderr(&output).contains("did you mean"), "{}", stderr(&output));
}

#[test]
fn status_shows_what_an_operator_should_know() {
    let fake = Fake::start();
    let text = stdout(&fake.heartsay(&["status"]));
    for words in [
        "n1 (10.0.0.1:4327)",
        "prod",
        "2 alive",
        "1 down",
        "3 of 4 peers",
        "held: 3 of 5",
        "no such host",
        "! clock",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

#[test]
fn quorum_is_an_exit_code() {
    let fake = Fake::start();
    assert_eq!(code(&fake.heartsay(&["quorum"])), 0);
    for word in ["lost", "unsettled"] {
        fake.set_quorum(word);
        let output = fake.heartsay(&["quorum"]);
        assert_eq!(code(&output), 4);
        assert!(stdout(&output).contains(word));
    }
}

// Changes.

#[test]
fn join_says_who_answered_or_that_nobody_did() {
    let fake = Fake::start();
    let output = fake.heartsay(&["join", "seed-1:4327", "--timeout", "2s"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("joined: 5 members known"));
    assert_eq!(fake.last_wish(), ("join", json!({ "seeds": ["seed-1:4327"], "timeout_seconds": 2.0 })));
    let output = fake.heartsay(&["join", "nobody", "--timeout", "1s"]);
    assert_eq!(code(&output), 124);
    assert!(stderr(&output).contains("none of nobody answered within 1s"), "{}", stderr(&output));
    let output = fake.heartsay(&["join", "nobody", "--timeout", "0s"]);
    assert_eq!(code(&output), 0, "who does not wait is not disappointed");
}

#[test]
fn leave_forget_and_tags_say_what_they_did() {
    let fake = Fake::start();
    let output = fake.heartsay(&["leave"]);
    assert_eq!((code(&output), stdout(&output).trim()), (0, "left; 3 of 4 peers confirmed it"));
    let output = fake.heartsay(&["forget", "n4"]);
    assert_eq!((code(&output), stdout(&output).trim()), (0, "n4 is forgotten"));
    let output = fake.heartsay(&["forget", "n1"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("n1 is alive; only a member that is down"), "{}", stderr(&output));
    assert_eq!(stdout(&fake.heartsay(&["tags"])).trim(), "role=lb");
    assert_eq!(stdout(&fake.heartsay(&["tags", "set", "a=1", "b=x=y"])).trim(), "a=1\nb=x=y");
    assert_eq!(fake.last_wish(), ("tags", json!({ "set": { "a": "1", "b": "x=y" }, "delete": [] })));
    fake.heartsay(&["tags", "delete", "a"]);
    assert_eq!(fake.last_wish(), ("tags", json!({ "set": {}, "delete": ["a"] })));
}

#[test]
fn a_refusal_is_shown_in_the_agents_words() {
    let fake = Fake::start();
    let output = fake.heartsay(&["tags", "set", "forbidden=1"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("only root may do that"), "{}", stderr(&output));
}

#[test]
fn what_is_no_agent_is_not_taken_for_one() {
    let fake = Fake::start();
    let output = fake.heartsay(&["why", "html"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("does not answer like a heartsay agent"), "{}", stderr(&output));
}

#[test]
fn the_version_of_both_sides_is_shown() {
    let fake = Fake::start();
    let output = fake.heartsay(&["version"]);
    assert!(stdout(&output).contains("agent    9.9.9 (protocol 1 to 2)"), "{}", stdout(&output));
}

// Streams.

#[test]
fn watch_passes_lines_on_and_ends_with_the_agent() {
    let fake = Fake::start();
    fake.say(&event(12, "member-down", "n3", "down"));
    fake.say(&json!({ "type": "idle", "index": 12, "time": TIME }));
    fake.hang_up();
    let output = fake.heartsay(&["watch", "-o", "jsonl"]);
    assert_eq!(code(&output), 3);
    let lines: Vec<types::WatchLine> =
        stdout(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        lines.iter().map(|l| l.kind.as_str()).collect::<Vec<_>>(),
        ["snapshot", "member-down", "idle"]
    );
    let text = stdout(&fake.heartsay(&["watch"]));
    assert!(text.contains("#11  snapshot: 5 members, 2 alive"), "{text}");
    assert!(text.contains("#12  n3 down, by n1,n2 (refused by its host)"), "{text}");
    assert!(!text.contains("idle"), "{text}");
}

#[test]
fn watch_resumes_where_it_was_told_and_says_when_that_is_too_long_ago() {
    let fake = Fake::start();
    fake.say(&event(12, "member-down", "n3", "down"));
    fake.hang_up();
    let output = fake.heartsay(&["watch", "--since", "11", "-o", "jsonl"]);
    assert_eq!(stdout(&output).lines().count(), 1);
    let output = fake.heartsay(&["watch", "--since", "3"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("begins at 10"), "{}", stderr(&output));
}

#[test]
fn watch_runs_a_command_per_event_in_order() {
    let fake = Fake::start();
    fake.say(&event(12, "member-suspect", "n2", "suspect"));
    fake.say(&json!({ "type": "idle", "index": 12, "time": TIME }));
    fake.say(&event(13, "member-down", "n2", "down"));
    fake.hang_up();
    let log = fake.dir.path().join("log");
    let command = format!(
        "echo \"$HEARTSAY_INDEX $HEARTSAY_EVENT $HEARTSAY_NAME $HEARTSAY_STATUS $(wc -l)\" >> {}; false",
        log.display()
    );
    let output = fake.heartsay(&["watch", "--exec", &command]);
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log, "11 snapshot   1\n12 member-suspect n2 suspect 1\n13 member-down n2 down 1\n");
    assert!(stderr(&output).contains("the command for #13 ended with"), "{}", stderr(&output));
}

#[test]
fn wait_returns_at_once_when_it_holds_already() {
    let fake = Fake::start();
    for condition in ["alive>=2", "members==5", "n4=down && left==1", "quorum", "joined", "member:n3=suspect"]
    {
        let output = fake.heartsay(&["wait", "--for", condition, "--timeout", "10s"]);
        assert_eq!(code(&output), 0, "{condition}: {}", stderr(&output));
    }
    let output = fake.heartsay(&["wait", "--for", "alive>=2", "--for", "down<1", "--timeout", "300ms"]);
    assert_eq!(code(&output), 124);
    assert!(stderr(&output).contains("2 alive, 1 down"), "{}", stderr(&output));
}

#[test]
fn wait_sleeps_until_the_stream_says_so() {
    for (condition, news) in [
        ("n2=down", event(12, "member-down", "n2", "down")),
        ("alive>=3", event(13, "member-join", "n6", "alive")),
        ("members<5", event(14, "member-forgotten", "n5", "left")),
        ("quorum", json!({ "type": "quorum", "index": 15, "time": TIME, "quorum": quorum("held") })),
    ] {
        let fake = Fake::start();
        fake.set_quorum("lost");
        let waiting =
            fake.command(&["wait", "--for", condition, "--timeout", "20s", "-o", "json"]).spawn().unwrap();
        fake.once_watched();
        fake.say(&news);
        let output = waiting.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{condition}: {}", stderr(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["met"], &answer["conditions"][0]["for"]), (&json!(true), &json!(condition)));
    }
}

#[test]
fn wait_waits_for_the_agent_too() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("late.sock");
    let waiting = command(&socket, &["wait", "--for", "alive>=2", "--timeout", "20s"]).spawn().unwrap();
    let _fake = Fake::start_at(dir, socket);
    assert_eq!(code(&waiting.wait_with_output().unwrap()), 0);
}

// The made-up agent.

/// An agent that exists on the socket only.
struct Fake {
    dir: TempDir,
    socket: PathBuf,
    state: Arc<FakeState>,
    watched: mpsc::Receiver<()>,
}

struct FakeState {
    quorum: Mutex<String>,
    wishes: Mutex<Vec<(&'static str, Value)>>,
    /// What the stream says after its snapshot, and whether it has ended.
    log: tokio::sync::watch::Sender<(Vec<String>, bool)>,
    watchers: Mutex<mpsc::Sender<()>>,
}

impl Fake {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("fake.sock");
        Self::start_at(dir, socket)
    }

    fn start_at(dir: TempDir, socket: PathBuf) -> Self {
        let (watchers, watched) = mpsc::channel();
        let state = Arc::new(FakeState {
            quorum: Mutex::new("held".to_owned()),
            wishes: Mutex::default(),
            log: tokio::sync::watch::Sender::default(),
            watchers: Mutex::new(watchers),
        });
        let routes = Router::new()
            .route("/v1/members", get(some))
            .route("/v1/members/{name}", get(one))
            .route(
                "/v1/self",
                get(async |State(s): State<Arc<FakeState>>| {
                    let mut me = myself();
                    me["quorum"] = quorum(&s.quorum.lock().unwrap());
                    Json(me)
                }),
            )
            .route(
                "/v1/quorum",
                get(async |State(s): State<Arc<FakeState>>| Json(quorum(&s.quorum.lock().unwrap()))),
            )
            .route(
                "/v1/version",
                get(async || Json(json!({ "version": "9.9.9", "protocol_min": 1, "protocol_max": 2 }))),
            )
            .route("/v1/watch", get(watch))
            .route("/v1/{wish}", post(wish))
            .with_state(Arc::clone(&state));
        // Bound here, so that it is there when this returns.
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                axum::serve(tokio::net::UnixListener::from_std(listener).unwrap(), routes).await
            })
        });
        Self { dir, socket, state, watched }
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.socket, args)
    }

    fn heartsay(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn set_quorum(&self, word: &str) {
        *self.state.quorum.lock().unwrap() = word.to_owned();
    }

    fn last_wish(&self) -> (&'static str, Value) {
        self.state.wishes.lock().unwrap().last().cloned().unwrap()
    }

    fn say(&self, line: &Value) {
        self.state.log.send_modify(|log| log.0.push(format!("{line}\n")));
    }

    fn hang_up(&self) {
        self.state.log.send_modify(|log| log.1 = true);
    }

    /// Blocks until somebody follows the stream.
    fn once_watched(&self) {
        self.watched.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}

fn command(socket: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("heartsay"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("HEARTSAY_") || key == "NO_COLOR" {
            command.env_remove(key);
        }
    }
    command.arg("--socket").arg(socket).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// With the agent's filters: repeated statuses widen, repeated tags narrow.
async fn some(Query(query): Query<Vec<(String, String)>>) -> Json<Value> {
    let mut all = members();
    let wanted =
        |key: &str| query.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    let (statuses, tags) = (wanted("status"), wanted("tag"));
    all["members"].as_array_mut().unwrap().retain(|m| {
        let has = |tag: &&str| tag.split_once('=').is_some_and(|(k, v)| m["tags"][k] == v);
        (statuses.is_empty() || statuses.contains(&m["status"].as_str().unwrap())) && tags.iter().all(has)
    });
    Json(all)
}

async fn one(Path(name): Path<String>) -> Response {
    if name == "html" {
        return (StatusCode::BAD_GATEWAY, "<html>").into_response();
    }
    match members()["members"].as_array().unwrap().iter().find(|m| m["name"] == name.as_str()) {
        Some(member) => Json(member).into_response(),
        None => problem(StatusCode::NOT_FOUND, &format!("no member is called {name}")),
    }
}

async fn watch(State(state): State<Arc<FakeState>>, request: Request) -> Response {
    let since: Option<u64> =
        request.uri().query().and_then(|q| q.strip_prefix("since=")).map(|n| n.parse().unwrap());
    if since.is_some_and(|n| n < 10) {
        return problem(StatusCode::GONE, "the log of this agent begins at 10");
    }
    let snapshot = json!({ "type": "snapshot", "index": 11, "time": TIME, "members": members()["members"] });
    let first = since.is_none().then(|| format!("{snapshot}\n"));
    let receiver = state.log.subscribe();
    let lines = futures_util::stream::unfold((first, receiver, 0), async |(first, mut log, at)| {
        if let Some(line) = first {
            return Some((Ok::<_, std::io::Error>(line), (None, log, at)));
        }
        let line =
            log.wait_for(|(lines, ended)| lines.len() > at || *ended).await.ok()?.0.get(at).cloned()?;
        Some((Ok(line), (None, log, at + 1)))
    });
    // Nobody needs to know, mostly.
    let _ = state.watchers.lock().unwrap().send(());
    Body::from_stream(lines).into_response()
}

async fn wish(State(state): State<Arc<FakeState>>, Path(wish): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let (verb, answer) = match wish.as_str() {
        "join" => {
            let joined = body["seeds"][0] != "nobody";
            (
                "join",
                Json(json!({ "dialled": body["seeds"], "joined": joined, "members": 5 })).into_response(),
            )
        }
        "leave" => ("leave", Json(json!({ "acknowledged": 3, "asked": 4 })).into_response()),
        "forget" => (
            "forget",
            match body["name"].as_str().unwrap() {
                "n4" => StatusCode::NO_CONTENT.into_response(),
                "n1" => problem(
                    StatusCode::CONFLICT,
                    "n1 is alive; only a member that is down or has left can be forgotten",
                ),
                other => problem(StatusCode::NOT_FOUND, &format!("no member is called {other}")),
            },
        ),
        "tags" if body["set"].get("forbidden").is_some() => {
            ("tags", problem(StatusCode::FORBIDDEN, "only root may do that"))
        }
        "tags" => {
            let mut me = member("n1");
            me["tags"] = body["set"].clone();
            ("tags", Json(me).into_response())
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    state.wishes.lock().unwrap().push((verb, body));
    answer
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let body = types::Problem {
        kind: "about:blank".to_owned(),
        title: status.to_string(),
        status: status.as_u16(),
        detail: detail.to_owned(),
    };
    (status, [("content-type", "application/problem+json")], Json(body)).into_response()
}

fn members() -> Value {
    let mut n1 = make("n1", "alive", &json!({ "role": "lb" }));
    n1["from_the_future"] = json!({ "an": ["older", "client"] });
    let mut n3 = make("n3", "suspect", &json!({ "role": "db" }));
    n3["phi"] = json!(6.2);
    n3["reachable"] = json!(false);
    n3["accusers"] = json!(["n1", "n2"]);
    n3["evidence"] = json!({
        "silence_seconds": 4.2, "mean_seconds": 1.0, "deviation_seconds": 0.05, "samples": 87,
        "phi_threshold": 8.0, "rtt_seconds": 0.0009, "last_direct": TIME,
        "accusations": [
            { "by": "n1", "kind": "silent", "basis": 812, "weak": false, "since": TIME },
            { "by": "n2", "kind": "refused", "basis": 812, "weak": true, "since": TIME },
        ],
        "down_as_of": null, "outlook": "a heartbeat above 812 clears it",
    });
    let all = json!([
        n1,
        make("n2", "alive", &json!({ "role": "db" })),
        n3,
        make("n4", "down", &json!({})),
        make("n5", "left", &json!({})),
    ]);
    json!({ "self": "n1", "index": 11, "members": all })
}

fn member(name: &str) -> Value {
    members()["members"].as_array().unwrap().iter().find(|m| m["name"] == name).unwrap().clone()
}

fn make(name: &str, status: &str, tags: &Value) -> Value {
    json!({
        "name": name, "host_id": "00000000-0000-0000-0000-000000000001", "generation": 1_795_000_000_000_u64,
        "heartbeat": 813, "status": status, "address": format!("10.0.0.{}:4327", &name[1..]), "zone": "a",
        "tags": tags, "phi": 0.1, "since": TIME, "reachable": true, "accusers": [],
    })
}

fn myself() -> Value {
    json!({
        "member": member("n1"), "cluster": "prod", "profile": "lan", "bind": "0.0.0.0:4327", "pid": 4711,
        "started": TIME, "encrypted": true, "joined": true, "isolated": false, "leaving": false,
        "local_health": 0, "peers_agreeing": 3, "peers_known": 4,
        "counts": { "alive": 2, "suspect": 1, "down": 1, "left": 1 }, "quorum": quorum("held"),
        "seeds": [
            { "name": "seeds.example", "addresses": ["10.0.0.2:4327"], "error": null },
            { "name": "typo.example", "addresses": [], "error": "no such host" },
        ],
        "conditions": ["clock is 3 s ahead of most peers"],
        "version": { "version": "9.9.9", "protocol_min": 1, "protocol_max": 2 },
    })
}

fn quorum(word: &str) -> Value {
    json!({ "quorum": word, "present": 3, "needed": 3, "expected": 5, "reason": "because", "since": TIME })
}

fn event(index: u64, kind: &str, name: &str, status: &str) -> Value {
    json!({
        "type": kind, "index": index, "time": TIME, "name": name, "generation": 1_795_000_000_000_u64,
        "status": status, "by": ["n1", "n2"], "reason": "refused by its host",
    })
}

const TIME: &str = "2026-11-20T12:00:00.123456Z";
