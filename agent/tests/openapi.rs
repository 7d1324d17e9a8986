//! `docs/openapi.yaml` says what the server does: each route of the router, and each answer of a live agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

use daemon::{Agent, Response, pair, plan};

#[test]
fn every_route_is_documented_and_every_documented_route_exists() {
    let router = include_str!("../src/api/mod.rs");
    let routes = router.split(".route(\"").skip(1).map(|rest| {
        let (path, rest) = rest.split_once("\", ").unwrap();
        (path.to_owned(), rest.split_once('(').unwrap().0.to_owned())
    });
    let routes: BTreeSet<_> = routes.collect();
    assert!(routes.len() > 20, "{routes:?}");
    let document = Document::read();
    let documented = document.0["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let item = document.resolved(item).as_object().unwrap();
        item.keys().map(|method| (path.clone(), method.clone())).collect::<Vec<_>>()
    });
    assert_eq!(routes, documented.collect());
}

#[test]
fn the_words_of_the_stream_are_those_of_the_server() {
    let document = Document::read();
    let types = include_str!("../client/src/types.rs");
    for (name, list) in [("LineType", "LINE_TYPES"), ("HistoryType", "HISTORY_TYPES"), ("Status", "STATUSES")]
    {
        let list = types.split_once(&format!("pub const {list}")).unwrap().1.split_once("= [").unwrap().1;
        let words: Vec<_> = list.split_once(']').unwrap().0.split('"').skip(1).step_by(2).collect();
        assert_eq!(document.0["components"]["schemas"][name]["enum"], json!(words));
    }
}

#[test]
fn an_agent_answers_questions_as_documented() {
    let (a, mut b) = pair();
    a.wait_for("quorum is held", |a| a.get("/v1/quorum")["quorum"] == "held");
    let document = Document::read();
    let mut asked = BTreeSet::new();
    let mut ask = |path: &str, query: &str, status: u16| {
        asked.insert(path.to_owned());
        document.takes("get", path, status, &a.ask("GET", &(path.replace("{name}", "b") + query), "", ""));
    };
    for query in ["", "?evidence=true", "?status=alive&status=down&tag=role&tag=role=web"] {
        ask("/v1/members", query, 200);
    }
    ask("/v1/sd/prometheus", "?port=9100&zone=z1&status=alive", 200);
    ask("/v1/sd/prometheus", "?service=web&health=passing&health=warning", 200);
    ask("/v1/sd/prometheus", "?service=Web", 400);
    for path in ["/v1/members/{name}", "/v1/paths", "/v1/self", "/v1/quorum", "/v1/exports", "/v1/stats"] {
        ask(path, "", 200);
        ask(path, "?wrong=1", 400);
    }
    for (query, status) in
        [("?from=b", 200), ("?from=a", 200), ("?from=nobody", 404), ("?from=a&from=b", 400)]
    {
        ask("/v1/paths", query, status);
    }
    ask("/", "?any=1", 200);
    for path in ["/v1/config", "/v1/version", "/metrics", "/livez", "/readyz", "/readyz/", "/metrics/"] {
        ask(path, "", 200);
    }
    ask("/livez/", "?any=1", 200);
    for (name, path) in [("health", "health"), ("deregister", "deregister"), ("b", "{name}")] {
        let body = json!({ "name": name, "port": 80, "tags": { "v": "1" } }).to_string();
        document.takes("post", "/v1/services", 200, &a.post("/v1/services", &body));
        ask(&format!("/v1/services/{path}"), "", 200);
        ask(&format!("/v1/services/{path}"), "?wrong=1", 400);
        ask(&format!("/v1/services/{path}"), "?why", 200);
    }
    ask("/v1/history", "?member=b&type=member-join&since=2026-11-20T14:03:00Z&limit=9", 200);
    ask("/v1/history", "?limit=0", 400);
    ask("/v1/history/{name}", "?at=2026-11-20T14:03:00Z", 200);
    ask("/v1/history/{name}", "", 400);
    ask("/v1/services", "?healthy&member=a&tag=v=1", 200);
    ask("/v1/services", "?healthy=maybe", 400);
    ask("/v1/watch", "?since=1000000", 410);
    ask("/v1/watch", "?type=wrong", 400);
    ask("/v1/members", "?status=wrong", 400);
    ask("/v1/members", &format!("?tag={}", "x".repeat(9000)), 414);
    let documented = document.0["paths"].as_object().unwrap().iter();
    let read = documented.filter(|(_, item)| document.resolved(item).get("get").is_some());
    assert_eq!(asked, read.map(|(path, _)| path.clone()).collect());

    // It is asked, and the answer has a text.
    let ill = json!({ "name": "mail", "port": 25 }).to_string();
    document.takes("post", "/v1/services", 200, &b.post("/v1/services", &ill));
    let said = json!({ "name": "mail", "health": "critical", "text": "the queue is full" }).to_string();
    document.takes("post", "/v1/services/health", 204, &b.post("/v1/services/health", &said));
    a.wait_for("its host tells why", |a| {
        a.get("/v1/services/mail?why=1")["instances"][0]["text"] == "the queue is full"
    });
    document.takes("get", "/v1/services/{name}", 200, &a.ask("GET", "/v1/services/mail?why=1", "", ""));
    b.kill();
    for member in ["/v1/members/b", "/v1/members/nobody"] {
        let status = if member.ends_with("/b") { 200 } else { 404 };
        document.takes("get", "/v1/members/{name}", status, &a.ask("GET", member, "", ""));
    }
    a.wait_status("b", "down");
    // Longer than readers share an answer.
    a.wait_for("it does not answer any more", |a| a.ask("GET", "/v1/paths?from=b", "", "").status == 504);
    document.takes("get", "/v1/paths", 504, &a.ask("GET", "/v1/paths?from=b", "", ""));
    a.wait_for("it is kept", |a| a.get("/v1/history?type=member-down")["entries"][0].is_object());
    document.takes("get", "/v1/history", 200, &a.ask("GET", "/v1/history", "", ""));
    let past = format!("/v1/history/b?at={}", jiff::Timestamp::now());
    document.takes("get", "/v1/history/{name}", 200, &a.ask("GET", &past, "", ""));
    document.takes("get", "/v1/history/{name}", 404, &a.ask("GET", &past.replace("/b?", "/nobody?"), "", ""));
    document.takes("get", "/v1/members", 200, &a.ask("GET", "/v1/members?evidence=1", "", ""));
    document.takes("get", "/v1/self", 200, &a.ask("GET", "/v1/self", "", ""));
}

#[test]
fn an_agent_answers_changes_as_documented() {
    let export = tempfile::tempdir().unwrap();
    let config = export.path().join("heartsay.toml");
    let list = export.path().join("list");
    let text = format!(
        "beat_within = \"10s\"\ntrusted_sources = [\"bmc\"]\n[[export]]\nformat = \"json\"\npath = {list:?}\non_change = \"true\"\n\
         [[service]]\nname = \"web\"\n[[service.check]]\nexec = [\"/bin/true\"]\n[[service.check]]\nttl = \"1h\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let agent = plan("a").flags(&["--config", config.to_str().unwrap()]).start();
    let plain = plan("b").start();
    let document = Document::read();
    let post = |agent: &Agent, path: &str, body: &str, status: u16| {
        document.takes("post", path, status, &agent.post(path, body));
    };
    post(&agent, "/v1/beat", "", 200);
    post(&plain, "/v1/beat", "{}", 409);
    post(&agent, "/v1/tags", r#"{"set":{"role":"web"},"delete":["color"]}"#, 200);
    post(&agent, "/v1/tags", r#"{"sets":{}}"#, 400);
    post(&agent, "/v1/tags", r#" [{"role":"db"}]"#, 400);
    post(&agent, "/v1/join", &json!({ "seeds": [plain.address()], "timeout_seconds": 20 }).to_string(), 200);
    post(&agent, "/v1/join", r#"{"seeds":[]}"#, 400);
    post(&agent, "/v1/services", r#"{"name":"db","id":"1","address":"192.0.2.1"}"#, 200);
    post(&agent, "/v1/services", r#"{"name":"Db"}"#, 400);
    post(&agent, "/v1/services", r#"{"name":"db","id":"1","hold":true}"#, 409);
    post(&agent, "/v1/services/health", r#"{"name":"db","id":"1","health":"warning","text":"slow"}"#, 204);
    document.takes("get", "/v1/services", 200, &agent.ask("GET", "/v1/services", "", ""));
    post(&agent, "/v1/services/health", r#"{"name":"db","health":"warning"}"#, 404);
    post(&agent, "/v1/services/deregister", r#"{"name":"db","id":"1"}"#, 204);
    post(&agent, "/v1/services/deregister", r#"{"name":"db","id":"1"}"#, 404);
    post(&agent, "/v1/paths/measure", "", 200);
    post(&agent, "/v1/paths/measure", r#"{"path":1}"#, 400);
    post(&agent, "/v1/forget", r#"{"name":"nobody"}"#, 404);
    post(&agent, "/v1/forget", r#"{"name":"b"}"#, 409);
    post(&agent, "/v1/testify", r#"{"name":"nobody","state":"dead","source":"bmc"}"#, 404);
    post(&agent, "/v1/testify", r#"{"name":"b","state":"dead","source":"a b"}"#, 400);
    post(&agent, "/v1/testify", r#"{"name":"b","state":"well","source":"bmc"}"#, 400);
    post(&agent, "/v1/testify", r#"{"name":"b","state":"dead","source":"ec2"}"#, 409);
    post(&agent, "/v1/testify", r#"{"name":"b","state":"dead","source":"bmc"}"#, 204);
    post(&agent, "/v1/tags", &"x".repeat(70_000), 413);
    post(&agent, "/v1/reload", "", 200);
    std::fs::write(&config, "wrong = 1\n").unwrap();
    post(&agent, "/v1/reload", "{}", 422);
    document.takes("get", "/v1/self", 200, &agent.ask("GET", "/v1/self", "", ""));
    document.takes("get", "/v1/exports", 200, &agent.ask("GET", "/v1/exports", "", ""));
    post(&plain, "/v1/leave", "{}", 200);
    agent.wait_status("b", "left");
    post(&agent, "/v1/forget", r#"{"name":"b"}"#, 204);
    post(&agent, "/v1/restart", r#"{"within_seconds":61}"#, 400);
    post(&agent, "/v1/restart", "", 200);
}

#[test]
fn an_agent_streams_lines_as_documented() {
    let a = plan("a").flags(&["--expected", "2"]).start();
    // Its host says nothing, so that it becomes suspect.
    let mut b = plan("b").seed(&a.address()).flags(&["--expected", "2", "--last-words=false"]).start();
    a.wait_status("b", "alive");
    a.wait_for("quorum is held", |a| a.get("/v1/quorum")["quorum"] == "held");
    let validator = Document::read().validator("/components/schemas/WatchLine");
    let mut watch = a.watch("", "");
    assert!(watch.headers.contains("application/x-ndjson"), "{}", watch.headers);
    b.kill();
    let mut kinds = BTreeSet::new();
    let mut read = |last: &str| {
        loop {
            let line = watch.line();
            validator.validate(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let kind = line["type"].as_str().unwrap().to_owned();
            let is_last = kind == last;
            kinds.insert(kind);
            if is_last {
                return;
            }
        }
    };
    read("quorum");
    let _b = b.again();
    read("member-restart");
    a.post("/v1/tags", r#"{"set":{"role":"db"}}"#);
    read("member-update");
    a.post("/v1/services", r#"{"name":"db","port":5432}"#);
    a.post("/v1/services/deregister", r#"{"name":"db"}"#);
    read("service-gone");
    let all = [
        "snapshot",
        "member-suspect",
        "member-down",
        "quorum",
        "member-restart",
        "member-update",
        "service-up",
    ];
    for kind in all {
        assert!(kinds.contains(kind), "{kind} did not come: {kinds:?}");
    }
}

#[test]
fn what_the_document_does_not_say_is_found() {
    let document = Document::read();
    let version = document.validator("/components/schemas/Version");
    let said = json!({ "version": "0.1.0", "protocol_min": 1, "protocol_max": 1 });
    assert!(version.is_valid(&said));
    let changed = |key: &str, value: Value| {
        let mut said = said.clone();
        said[key] = value;
        said
    };
    assert!(!version.is_valid(&changed("protocol_min", json!("1"))));
    assert!(!version.is_valid(&changed("new", json!(1))), "a field that is not documented");
    assert!(!version.is_valid(&json!({ "version": "0.1.0" })));
}

/// The document, in which no object has more fields than it says.
struct Document(Value);

impl Document {
    fn read() -> Self {
        let text = include_str!("../../docs/openapi.yaml");
        let mut document: Value = serde_saphyr::from_str(text).unwrap();
        close(&mut document);
        Self(document)
    }

    /// What this part of the document stands for.
    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part["$ref"].as_str() {
            Some(other) => self.0.pointer(other.trim_start_matches('#')).expect(other),
            None => part,
        }
    }

    /// Of the schema at this place.
    fn validator(&self, pointer: &str) -> Validator {
        let schema = json!({ "$ref": format!("#{pointer}"), "components": self.0["components"], "paths": self.0["paths"] });
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&schema).unwrap_or_else(|e| panic!("{pointer}: {e}"))
    }

    /// The answer has this status, and a type and a body that are documented for it.
    fn takes(&self, method: &str, path: &str, status: u16, answer: &Response) {
        let at = format!("{method} {path}, {status}");
        assert_eq!(answer.status, status, "{at}: {}", answer.body);
        let operation = &self.resolved(&self.0["paths"][path])[method];
        let documented = self.resolved(&operation["responses"][status.to_string()]);
        assert!(documented.is_object(), "{at} is not documented");
        let Some(kinds) = documented["content"].as_object() else {
            assert_eq!(answer.body, "", "{at}");
            return;
        };
        let header = answer.headers.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
        let kind = kinds.get(header).unwrap_or_else(|| panic!("{at}: {header} is not documented"));
        if header.contains("json") {
            let components = &self.0["components"];
            let mut schema = kind["schema"].clone();
            schema["components"] = components.clone();
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            if let Err(error) = validator.validate(&answer.json()) {
                panic!("{at}: {error}, at {}: {}", error.instance_path(), answer.body);
            }
        }
    }
}

/// Fields may be added, so readers ignore those that they do not know; but each of this version is documented.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") {
                object.insert("additionalProperties".to_owned(), false.into());
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
