//! Checks of real agents: what an agent sees of its services, and what all members learn of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use daemon::{Agent, Plan, plan};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[test]
fn a_port_that_closes_is_critical_for_all_members_and_its_host_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let a = with_check(plan("a"), &format!("tcp = \"{at}\"\ninterval = \"1s\"\nfall = 2\nwarn = 2\n"));
    let b = plan("b").seed(&a.address()).start();
    let mut watches = [a.watch("?service=web", ""), b.watch("?service=web", "")];
    a.wait_for("it passes", |a| health(a) == "passing");
    b.wait_for("it is told", |b| b.try_get("/v1/services/web").is_some_and(|web| web["healthy"] == 1));
    drop(listener);
    let [here, there] = watches.each_mut().map(|watch| watch.next_of("service-critical"));
    assert_eq!(there["reason"], "it was passing", "the text stays on its host");
    let reason = here["reason"].as_str().unwrap();
    assert!(reason.starts_with("it was passing; check tcp: Connection refused"), "{reason}");
    let shown = heartsay(&b, &["service", "show", "web"]);
    assert!(shown.contains("a says: check tcp: Connection refused"), "{shown}");
    let _listener = TcpListener::bind(at).unwrap();
    watches.iter_mut().for_each(|watch| drop(watch.next_of("service-up")));
    assert!(instance(&b).get("checks").is_none(), "another host's checks are its own");
}

#[test]
fn a_program_that_registers_asks_for_checks_and_none_that_acts_as_the_agent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let a = plan("a").start();
    let mut watch = a.watch("?service=web", "");
    let body = format!(r#"{{"name":"web","checks":[{{"tcp":"{at}","interval":"1s","fall":1}}]}}"#);
    assert_eq!(a.post("/v1/services", &body).status, 200);
    watch.next_of("service-up");
    assert_eq!(instance(&a)["checks"][0]["kind"], "tcp");
    let looked = instance(&a)["checks"][0]["time"].clone();
    assert_eq!(a.post("/v1/services", &body).status, 200, "a script that registers again");
    assert_eq!(health(&a), "passing", "the check that was there goes on");
    assert!(looked.is_string());
    drop(listener);
    watch.next_of("service-critical");
    for (checks, said) in [
        (r#"[{"exec":"/bin/true"}]"#, "exec acts as the user of the agent, so it is for settings alone"),
        (r#"[{"disk":"/tmp"}]"#, "disk acts as the user of the agent"),
        (r#"[{"tcp":"example.org:80"}]"#, "service.check.tcp"),
        (r#"[{"tcp":"127.0.0.1:1","fal":1}]"#, "did you mean"),
        (r#"[{"tcp":["127.0.0.1:1"]}]"#, "line 1"),
    ] {
        let body = format!(r#"{{"name":"db","checks":{checks}}}"#);
        let detail = a.post("/v1/services", &body).problem(400);
        assert!(detail.contains(said), "{checks}: {detail}");
    }
    heartsay(&a, &["exec", "--service", "api", "--service-check", "ttl=1h", "--", "true"]);
    heartsay(&a, &["service", "register", "api", "--check", "tcp=127.0.0.1:1,fall=1,grace=0s"]);
    a.wait_for("it is critical", |a| a.get("/v1/services/api")["instances"][0]["health"] == "critical");
}

#[test]
fn a_check_that_suspends_takes_its_member_down_and_brings_it_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let check = format!("tcp = \"{at}\"\ninterval = \"1s\"\nfall = 1\neffect = \"suspend\"\n");
    let a = with_check(plan("a").flags(&["--expected", "3"]), &check);
    let start = |name: &str| plan(name).flags(&["--expected", "3"]).seed(&a.address()).start();
    let (b, c) = (start("b"), start("c"));
    a.wait_for("it passes", |a| health(a) == "passing");
    for agent in [&b, &c] {
        agent.wait_status("a", "alive");
        agent.wait_for("it holds quorum", |agent| agent.get("/v1/quorum")["quorum"] == "held");
    }
    drop(listener);
    b.wait_status("a", "down");
    assert_eq!(b.get("/v1/members/a")["beating"], false);
    let log = a.wait_log("check tcp of web is critical: this member gives no sign of life");
    assert!(log.contains("WARN"), "{log}");
    let _listener = TcpListener::bind(at).unwrap();
    b.wait_status("a", "alive");
    b.wait_for("it beats", |b| b.get("/v1/members/a")["beating"] == true);
}

#[test]
fn a_server_is_asked_over_http() {
    let status = Arc::new(AtomicU16::new(200));
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = server.local_addr().unwrap();
    let answers = Arc::clone(&status);
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let status = answers.load(Ordering::Relaxed);
            let _ = write!(stream, "HTTP/1.1 {status} \r\nContent-Length: 0\r\n\r\n");
        }
    });
    let check = format!("http = \"http://{at}/health\"\ninterval = \"1s\"\nfall = 1\n");
    let a = with_check(plan("a"), &check);
    let mut watch = a.watch("?service=web", "");
    a.wait_for("it passes", |a| health(a) == "passing");
    status.store(503, Ordering::Relaxed);
    let reason = watch.next_of("service-critical")["reason"].clone();
    assert_eq!(reason, "it was passing; check http: 503 Service Unavailable");
    assert_eq!(instance(&a)["text"], "check http: 503 Service Unavailable");
    status.store(429, Ordering::Relaxed);
    assert_eq!(watch.next_of("service-warning")["service"]["health"], "warning");
    status.store(200, Ordering::Relaxed);
    watch.next_of("service-up");
}

#[test]
fn a_plugin_that_hangs_is_killed_with_all_that_it_has_started_and_never_runs_twice() {
    let plan = plan("a");
    let pids = plan.dir().join("pids");
    let plugin = plan.dir().join("plugin");
    let script =
        format!("#!/bin/sh\ntrap '' TERM\nsleep 600 &\necho $$ $! >> {}\nwait\nwait\n", pids.display());
    put_program(&plugin, &script);
    let exec = format!(
        "exec = [\"{}\"]\ninterval = \"1s\"\ntimeout = \"500ms\"\nfall = 1\ngrace = \"0s\"\n",
        plugin.display()
    );
    let mut a = with_check(plan, &exec);
    let ran = || fs::read_to_string(&pids).unwrap_or_default();
    let alive = |line: &str| line.split(' ').any(runs);
    a.wait_for("it has run three times", |_| {
        let ran = ran();
        let running = ran.lines().filter(|run| alive(run)).count();
        assert!(running <= 1, "{running} at once");
        ran.lines().count() >= 3
    });
    let first = ran().lines().next().unwrap().to_owned();
    assert!(!alive(&first), "the whole group is gone");
    assert_eq!(health(&a), "critical");
    let text = instance(&a)["text"].as_str().unwrap().to_owned();
    assert_eq!(text, "check exec: did not end within 500ms, and was killed");
    // An agent that is told to stop leaves no run behind.
    a.signal(Signal::SIGTERM);
    a.wait();
    a.wait_for("nothing of it runs", |_| !ran().lines().any(alive));
}

#[test]
fn a_plugin_that_prints_megabytes_costs_one_line() {
    let exec = r#"exec = ["/bin/sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x; exit 1"]"#;
    let a = with_check(plan("a"), &format!("{exec}\nwarn = 1\ngrace = \"0s\"\n"));
    a.wait_for("it has run", |a| instance(a)["checks"][0]["result"] == "warning");
    let one = instance(&a);
    assert_eq!(one["health"], "warning");
    assert!(one["text"].as_str().unwrap().len() < 300);
}

#[test]
fn the_death_of_a_process_is_known_at_once() {
    let plan = plan("a");
    let file = plan.dir().join("pid");
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(&file, child.id().to_string()).unwrap();
    // Long before the next look.
    let a = with_check(plan, &format!("process = \"{}\"\ninterval = \"1h\"\n", file.display()));
    let mut watch = a.watch("?service=web", "");
    a.wait_for("it passes", |a| health(a) == "passing");
    child.kill().unwrap();
    let reason = watch.next_of("service-critical")["reason"].to_string();
    assert!(reason.contains("check process: process") && reason.contains("has ended"), "{reason}");
    child.wait().unwrap();
    let mut next = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(&file, next.id().to_string()).unwrap();
    watch.next_of("service-up");
    next.kill().unwrap();
    next.wait().unwrap();
}

#[test]
fn an_owner_has_to_speak_in_time_and_what_it_says_counts_too() {
    let a = with_check(plan("a"), "ttl = \"1s\"\ngrace = \"0s\"\n");
    let mut watch = a.watch("?service=web", "");
    let says = |health: &str| {
        let body = json!({ "name": "web", "health": health, "text": "by myself" }).to_string();
        assert_eq!(a.post("/v1/services/health", &body).status, 204);
    };
    a.wait_for("it is overdue", |a| health(a) == "critical");
    assert_eq!(instance(&a)["text"], "check ttl: its owner has said nothing for 1s");
    says("passing");
    watch.next_of("service-up");
    let reason = watch.next_of("service-critical")["reason"].to_string();
    assert!(reason.contains("check ttl"), "{reason}");
    says("warning");
    watch.next_of("service-warning");
    assert_eq!(instance(&a)["text"], "by myself", "what it says is the worst");
}

#[test]
fn the_worst_of_several_checks_counts_and_the_shell_shows_each() {
    let plan = plan("a");
    let dir = plan.dir().join("data");
    let disk = format!("disk = \"{}\"\ninterval = \"1s\"\ngrace = \"0s\"\n", dir.display());
    let fine = "[[service.check]]\nname = \"plugin\"\nexec = [\"/bin/echo\", \"all well\"]\n";
    let a = with_check(plan, &format!("{disk}{fine}"));
    a.wait_for("both have looked", |a| {
        health(a) == "critical" && instance(a)["checks"][1]["health"] == "passing"
    });
    assert_eq!(instance(&a)["text"], "check disk: cannot write: No such file or directory (os error 2)");
    let shown = heartsay(&a, &["service", "show", "web"]);
    for word in ["CHECK", "disk", "plugin", "/bin/echo all well", "No such file", "critical", "passing"] {
        assert!(shown.contains(word), "{word} is missing in\n{shown}");
    }
    let shown: Value =
        serde_json::from_str(&heartsay(&a, &["service", "show", "web", "-o", "json"])).unwrap();
    let check = &shown["instances"][0]["checks"][1];
    assert_eq!(
        (&check["name"], &check["kind"], &check["text"]),
        (&json!("plugin"), &json!("exec"), &json!("all well"))
    );
    assert!(check["took_ms"].as_f64().unwrap() > 0.0 && check["time"].is_string(), "{check}");
    fs::create_dir(&dir).unwrap();
    a.wait_for("it can be written", |a| health(a) == "passing");
}

#[test]
fn a_reload_adds_keeps_and_removes_checks() {
    let (one, other) = (
        "exec = [\"/bin/true\"]\ninterval = \"1h\"\n",
        "tcp = \"127.0.0.1:1\"\ngrace = \"0s\"\ninterval = \"1s\"\n",
    );
    let a = with_check(plan("a"), one);
    a.wait_for("it passes", |a| health(a) == "passing");
    let looked = instance(&a)["checks"][0]["time"].clone();
    let reload = |checks: &str| {
        fs::write(a.plan.dir().join("config.toml"), service(checks)).unwrap();
        a.post("/v1/reload", "").json()["changed"].to_string()
    };
    let changed = reload(&format!("{one}[[service.check]]\n{other}"));
    assert_eq!(changed, "[\"service.web.check.tcp\"]");
    a.wait_for("the new one has looked", |a| health(a) == "critical");
    assert_eq!(instance(&a)["checks"][0]["time"], looked, "the one that was there goes on");
    assert_eq!(reload(one), "[\"service.web.check.tcp\"]");
    assert_eq!(health(&a), "passing");
    assert_eq!(instance(&a)["checks"].as_array().unwrap().len(), 1);
    assert_eq!(instance(&a)["checks"][0]["time"], looked);
    reload(&one.replace("true", "false"));
    assert_ne!(instance(&a)["checks"][0]["time"], looked, "another program is another check");
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    for (check, line, said) in [
        ("tcp = \"db:1\"\n", 4, "check.tcp: \"db:1\": is not of the form"),
        ("http = \"https://127.0.0.1/\"\n", 4, "needs TLS"),
        ("exec = \"true\"\n", 4, "no absolute path of a program"),
        ("exec = []\n", 4, "no absolute path of a program"),
        ("unit = \"../x.service\"\n", 4, "no name of a unit"),
        ("tcp = \"127.0.0.1:1\"\nttl = \"5s\"\n", 5, "check.ttl: is there beside tcp"),
        ("interval = \"5s\"\n", 3, "as is any other thing to look at"),
        ("ttl = \"5s\"\ninterval = \"1s\"\n", 5, "none of a ttl"),
        ("tcp = \"127.0.0.1:1\"\ninterval = \"100ms\"\n", 5, "is outside 1s to 1h"),
        ("tcp = \"127.0.0.1:1\"\nfall = 2\nwarn = 3\n", 6, "more than fall"),
        ("tcp = \"127.0.0.1:1\"\nintervall = \"1s\"\n", 5, "did you mean \"interval\"?"),
        ("tcp = \"127.0.0.1:1\"\n[[service.check]]\ntcp = \"127.0.0.1:2\"\n", 5, "is there twice"),
        ("tcp = \"127.0.0.1:1\"\n[[service.check.x]]\ny = 1\n", 5, "check.x: unknown setting"),
    ] {
        let plan = plan("a");
        let config = plan.dir().join("config.toml");
        fs::write(&config, service(check)).unwrap();
        let (code, text) = plan.flags(&["--config", config.to_str().unwrap()]).fails();
        assert_eq!(code, 2, "{check}: {text}");
        assert!(
            text.contains(&format!("config.toml:{line}: service.check")) && text.contains(said),
            "{check}: {text}"
        );
    }
    let plan = plan("a");
    let config = plan.dir().join("config.toml");
    fs::write(&config, "[[service]]\nname = \"web\"\n[service.check]\ntcp = \"127.0.0.1:1\"\n").unwrap();
    let (_, text) = plan.flags(&["--config", config.to_str().unwrap()]).fails();
    assert!(text.contains("write [[service.check]] above each"), "{text}");
}

/// A service with one check, whose fields begin on line 4.
fn service(check: &str) -> String {
    format!("[[service]]\nname = \"web\"\n[[service.check]]\n{check}")
}

fn with_check(plan: Plan, check: &str) -> Agent {
    let config = plan.dir().join("config.toml");
    fs::write(&config, service(check)).unwrap();
    plan.flags(&["--config", config.to_str().unwrap()]).start()
}

fn put_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whether this process runs, and is not only still to be buried.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

fn instance(agent: &Agent) -> Value {
    agent.get("/v1/services/web")["instances"][0].clone()
}

fn health(agent: &Agent) -> String {
    instance(agent)["health"].as_str().unwrap().to_owned()
}

fn heartsay(agent: &Agent, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    let done = command.arg("--socket").arg(agent.plan.socket()).args(words).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
