//! Exports with real agents, and with the programs that read them. What this machine does not have is said and skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test that trips over is a test that fails"
)]
#![allow(clippy::disallowed_methods, reason = "a program of one's own has a clock of its own")]

mod daemon;
mod network;
mod skipped;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use daemon::{Agent, Plan, plan};
use jiff::Timestamp;
use network::Network;
use serde_json::Value;
use skipped::skipped;

#[test]
fn a_file_follows_the_members_and_a_reload_takes_other_exports() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let export = |name: &str| {
        format!(
            "[[export]]\nformat = \"json\"\npath = \"{}\"\nsettle = \"200ms\"\nselect = {{ tag = \"role=web\" }}\n\
             on_change = \"echo $HEARTSAY_SELF $HEARTSAY_MEMBERS >> {}\"\n",
            at(name).display(),
            at("said").display()
        )
    };
    let (a, config) = reader(&export("one"));
    let names = |name: &str| names(&at(name));
    a.wait_for("no member is web yet", |_| !at("one").exists());
    let mut b = web("b", &a, "80");
    let c = web("c", &a, "80");
    a.wait_for("both are in the file", |_| names("one") == ["b", "c"]);
    b.kill();
    a.wait_for("b is out of it", |_| names("one") == ["c"]);
    a.wait_for("the command ran", |_| text(&at("said")).ends_with("a 1\n"));
    let row = &a.get("/v1/exports")["exports"][0];
    assert_eq!((&row["members"], &row["error"]), (&1.into(), &Value::Null), "{row}");

    // An error in one table changes nothing.
    fs::write(&config, format!("{}{}", export("two"), export("three").replace("json", "jsno"))).unwrap();
    let problem = a.post("/v1/reload", "").problem(422);
    assert!(problem.contains("export.format") && problem.contains("did you mean \"json\""), "{problem}");
    fs::write(&config, export("two")).unwrap();
    let reloaded = a.post("/v1/reload", "").json();
    assert!(reloaded["changed"].to_string().contains("export."), "{reloaded}");
    a.wait_for("the other file is there", |_| names("two") == ["c"]);
    let _d = web("d", &c, "80");
    a.wait_for("d is in it", |_| names("two") == ["c", "d"]);
    assert_eq!(names("one"), ["c"], "nobody keeps the first any more");
    fs::write(&config, "").unwrap();
    a.post("/v1/reload", "");
    assert_eq!(a.get("/v1/exports")["exports"], Value::Array(Vec::new()));
}

#[test]
fn a_list_that_is_too_short_is_held_back_and_a_place_that_cannot_be_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let export = |path: &Path, more: &str| {
        format!("[[export]]\nformat = \"json\"\npath = \"{}\"\nsettle = \"100ms\"\n{more}\n", path.display())
    };
    let (floor, link, gone) = (at("floor"), at("link"), at("no").join("file"));
    std::os::unix::fs::symlink(at("precious"), &link).unwrap();
    fs::write(at("precious"), "as it was").unwrap();
    let floored = export(&floor, "min_members = 2");
    let (a, _config) = reader(&format!("{floored}{}{}", export(&link, ""), export(&gone, "")));
    let mut b = web("b", &a, "80");
    a.wait_for("both are in the file", |_| names(&floor) == ["a", "b"]);
    b.kill();
    a.wait_status("b", "down");
    let row = |a: &Agent, n: usize| a.get("/v1/exports")["exports"][n].clone();
    a.wait_for("it is held back", |a| {
        row(a, 0)["held"].as_str().is_some_and(|why| why.contains("min_members, 2"))
    });
    assert_eq!(names(&floor), ["a", "b"]);
    a.wait_for("links are refused", |a| row(a, 1)["error"].as_str().is_some_and(|why| why.contains("links")));
    assert_eq!(text(&at("precious")), "as it was");
    a.wait_for("no directory", |a| {
        row(a, 2)["error"].as_str().is_some_and(|why| why.contains("no file can be made"))
    });
    thread::sleep(Duration::from_millis(500));
    assert_eq!(row(&a, 2)["errors"], 1, "told once");
    let conditions = a.get("/v1/self")["conditions"].to_string();
    for path in [&floor, &link, &gone] {
        assert!(conditions.contains(&format!("export {}: ", path.display())), "{conditions}");
    }
    let _b = b.again();
    a.wait_for("it is well again", |a| row(a, 0)["held"].is_null());
    fs::create_dir(at("no")).unwrap();
    a.wait_for("it is written", |a| row(a, 2)["error"].is_null() && gone.exists());
}

#[test]
fn one_command_runs_at_a_time_and_one_that_does_not_end_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let export = |name: &str, command: &str| {
        let path = at(name);
        format!(
            "[[export]]\nformat = \"json\"\npath = \"{path}\"\nsettle = \"0s\"\non_change = \"{command}\"\n"
        )
    };
    let (lock, said) = (at("lock"), at("said"));
    let alone = format!(
        "mkdir {lock} || echo twice >> {said}; sleep 0.3; rmdir {lock}; echo $HEARTSAY_MEMBERS >> {said}"
    );
    let endless = format!("sleep 60 & echo $! >> {}; wait", at("pids"));
    let config = format!("hook_timeout = \"500ms\"\n{}{}", export("one", &alone), export("two", &endless));
    let (a, _config) = reader(&config);
    let others: Vec<Agent> = (1..=5).map(|n| web(&format!("w{n}"), &a, "80")).collect();
    a.wait_for("the last run has seen all", |_| text(Path::new(&said)).ends_with("6\n"));
    assert!(!text(Path::new(&said)).contains("twice"), "{}", text(Path::new(&said)));
    let row = |n: usize| a.get("/v1/exports")["exports"][n].clone();
    assert!(row(0)["runs"]["good"].as_u64() <= row(0)["changes"].as_u64(), "{}", row(0));
    a.wait_for("its time is up", |_| row(1)["runs"]["out-of-time"].as_u64() >= Some(1));
    assert!(row(1)["error"].as_str().unwrap().contains("its time was up"));
    a.wait_for("nothing of it lives on", |_| {
        let pids = text(Path::new(&at("pids")));
        row(1)["runs"]["out-of-time"].as_u64() == Some(pids.lines().count() as u64)
            && pids.lines().all(|pid| !Path::new("/proc").join(pid).exists())
    });
    drop(others);
}

#[test]
fn most_others_lost_at_once_are_believed_after_a_while_and_without_quorum_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (file, voted) = (dir.path().join("file"), dir.path().join("voted"));
    let export = |path: &Path| {
        format!("[[export]]\nformat = \"json\"\npath = \"{}\"\nsettle = \"100ms\"\n", path.display())
    };
    let (a, _config) = reader(&export(&file));
    let config = dir.path().join("config");
    fs::write(&config, format!("expected = 3\n{}", export(&voted))).unwrap();
    let voter = plan("v").flags(&["--config", config.to_str().unwrap()]).seed(&a.address()).start();
    let mut others = [web("b", &a, "80"), web("c", &a, "80")];
    let held =
        |agent: &Agent| agent.get("/v1/exports")["exports"][0]["held"].as_str().unwrap_or("").to_owned();
    a.wait_for("all are in the file", |_| names(&file) == ["a", "b", "c", "v"]);
    // Only one of the three electors votes: v itself, as the others were told of no electorate.
    voter.wait_for("v holds its list back", |v| held(v).contains("quorum is not held"));
    for other in &mut others {
        other.kill();
    }
    a.wait_status("b", "down");
    a.wait_status("c", "down");
    let down = Instant::now();
    a.wait_for("it is held back", |a| held(a).contains("most others were lost at the same time"));
    // The first of the two may be called down before the second is missed.
    assert!(names(&file).len() >= 3, "{:?}", names(&file));
    a.wait_for("it is believed in the end", |_| names(&file) == ["a", "v"]);
    assert!(down.elapsed() > Duration::from_secs(5), "{:?}", down.elapsed());
    assert!(!voted.exists(), "{}", text(&voted));
}

#[test]
fn what_a_member_says_does_not_reach_a_file_as_more_than_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let template = at("template");
    fs::write(&template, "{% for m in members %}\n{{ m.name }} {{ m.tags.note }}\n{% endfor %}\n").unwrap();
    let export = |format: &str, more: &str| {
        let path = at(format);
        format!(
            "[[export]]\nformat = \"{format}\"\npath = \"{}\"\nsettle = \"100ms\"\n{more}\n",
            path.display()
        )
    };
    let tagged = "port = \"tag:port\"\nname = \"web\"\nselect.tag = \"role=web\"";
    let config = [
        export("haproxy", tagged),
        export("nginx", tagged),
        export("template", &format!("template = \"{}\"\nselect.tag = \"role=web\"", template.display())),
        export("hosts", "select.tag = \"role=web\""),
    ];
    let (a, _config) = reader(&config.concat());
    let good = web("good", &a, "80");
    let _port = web("port", &good, "80; } evil {");
    let note = ["--tag", "note=x\nserver evil 6.6.6.6:1"];
    let _note = plan("note")
        .flags(&["--tag", "role=web", "--tag", "port=81"])
        .flags(&note)
        .seed(&a.address())
        .start();
    let _name = web("x;y", &a, "82");
    let _host = web("localhost", &a, "83");
    a.wait_for("all are there", |a| a.get("/v1/self")["counts"]["alive"] == 6);
    let left_out = |a: &Agent, n: usize| a.get("/v1/exports")["exports"][n]["left_out"].clone();
    a.wait_for("all are judged", |a| (0..4).all(|n| left_out(a, n) == [2, 1, 2, 2][n]));
    let listed = |name: &str| text(&at(name));
    let lines = |name: &str, word: &str| listed(name).lines().filter(|line| line.contains(word)).count();
    assert_eq!(lines("haproxy", "server "), 3, "{}", listed("haproxy"));
    assert_eq!(lines("nginx", "server "), 4, "{}", listed("nginx"));
    assert_eq!(listed("template").lines().count(), 3, "{}", listed("template"));
    assert_eq!(lines("hosts", "127."), 3, "{}", listed("hosts"));
    for name in ["haproxy", "nginx", "template", "hosts"] {
        assert!(!listed(name).contains("evil") && !listed(name).contains("x;y"), "{}", listed(name));
        assert_eq!(lines(name, "localhost"), usize::from(matches!(name, "haproxy" | "template")));
    }
}

#[test]
fn the_command_prints_what_the_agent_would_write() {
    let (a, _config) = reader("");
    a.wait_for("it has joined", |a| a.get("/v1/members")["joined"] == true);
    let printed = |args: &[&str]| heartsay(&a, &[&["export"], args].concat());
    let out = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let nginx = printed(&["--once", "nginx", "--port", "80", "--options", "max_fails=1"]);
    let line = format!("server {}:80 max_fails=1;\n", a.plan.ip);
    assert_eq!(out(&nginx), format!("# Written by heartsay; changes are lost.\n{line}"));
    let none = printed(&["--once", "prometheus-sd", "--tag", "role=none"]);
    assert_eq!((out(&none).as_str(), none.status.code()), ("[]\n", Some(0)));
    assert_eq!(printed(&["--once", "haproxy"]).status.code(), Some(2), "without a port");
    assert_eq!(
        printed(&["--once", "json", "--name", "x"]).status.code(),
        Some(2),
        "that means nothing there"
    );
    assert_eq!(printed(&[]).status.code(), Some(4), "no exports");
    // One that looks for others has no list to give.
    let alone = plan("b").seed("127.0.0.9:1").start();
    let empty = heartsay(&alone, &["export", "--once", "json"]);
    assert_eq!((out(&empty).as_str(), empty.status.code()), ("", Some(4)));
    assert!(out(&heartsay(&alone, &["export", "--once", "json", "--anyway"])).contains("\"b\""));
    assert_eq!(alone.get("/v1/members")["joined"], false);
    assert_eq!(alone.watch("", "").line()["joined"], false);
    assert!(alone.ask("GET", "/v1/sd/prometheus", "", "").problem(503).contains("keep the targets"));
}

#[test]
fn haproxy_nginx_and_prometheus_understand_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (a, _config) = reader("");
    a.wait_for("it has joined", |a| a.get("/v1/members")["joined"] == true);
    let exported = |name: &str, args: &[&str]| {
        let output = heartsay(&a, &[&["export", "--once"], args].concat());
        assert!(output.status.success(), "{output:?}");
        let path = dir.path().join(name);
        fs::write(&path, output.stdout).unwrap();
        path
    };
    for id in ["", "two"] {
        a.post("/v1/services", &format!("{{\"name\":\"web\",\"id\":\"{id}\",\"port\":7}}"));
    }
    for (name, select) in
        [("some", &[][..]), ("none", &["--tag", "role=nobody"]), ("service", &["--service", "web"])]
    {
        let with = |args: &[&str]| exported(name, &[args, select].concat());
        if is_there("haproxy") {
            let args =
                ["haproxy", "--name", "web", "--port", "80", "--options", "check inter 1s", "--slots", "3"];
            let own = with(&args);
            let main = dir.path().join("main.cfg");
            fs::write(&main, HAPROXY.replace("SOCKET", "/nowhere")).unwrap();
            understood(Command::new("haproxy").arg("-c").arg("-f").arg(main).arg("-f").arg(own));
        }
        if is_there("nginx") {
            let whole = with(&["nginx", "--name", "web", "--port", "80", "--options", "max_fails=1"]);
            understood(nginx(dir.path(), &format!("include {};", whole.display())));
            let lines = with(&["nginx", "--port", "80"]);
            understood(nginx(dir.path(), &format!("upstream web {{ include {}; }}", lines.display())));
        }
        if is_there("promtool") {
            let targets = with(&["prometheus-sd", "--port", "9100"]);
            let (written, targets) = (targets.clone(), targets.with_extension("json"));
            fs::rename(written, &targets).unwrap();
            let config = dir.path().join("prometheus.yml");
            let file = targets.display();
            let job = format!("{{ job_name: hs, file_sd_configs: [{{ files: ['{file}'] }}] }}");
            fs::write(&config, format!("scrape_configs: [{job}]\n")).unwrap();
            understood(Command::new("promtool").args(["check", "config"]).arg(&config));
            let mut found = Command::new("promtool");
            let found =
                understood(found.args(["check", "service-discovery", "--timeout=2s"]).arg(&config).arg("hs"));
            assert_eq!(found.contains(&format!("{}:9100", a.plan.ip)), name != "none", "{found}");
        }
    }
}

#[test]
fn prometheus_finds_the_members_over_http() {
    if !is_there("prometheus") {
        return;
    }
    let a =
        plan("a").flags(&["--config", "/dev/null", "--http-listen", "127.0.0.1:0", "--tag", "k=v"]).start();
    let log = a.wait_log("HTTP for reads");
    let at = log.split("at=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("prometheus.yml");
    let job = format!(
        "{{ job_name: hs, http_sd_configs: [{{ url: 'http://{at}/v1/sd/prometheus?port=9100', refresh_interval: 1s }}] }}"
    );
    fs::write(&config, format!("scrape_configs: [{job}]\n")).unwrap();
    let mut check = Command::new("promtool");
    let found = understood(check.args(["check", "service-discovery", "--timeout=5s"]).arg(&config).arg("hs"));
    assert!(
        found.contains(&format!("{}:9100", a.plan.ip)) && found.contains("__meta_heartsay_tag_k"),
        "{found}"
    );
}

/// Wanted: each within 100 ms of the verdict. What is asserted is generous, for a loaded machine.
#[test]
fn a_death_is_in_the_file_and_in_haproxy_soon_after_the_verdict() {
    if !is_there("haproxy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (file, socket) = (dir.path().join("web.cfg"), dir.path().join("admin.sock"));
    let export = format!(
        "[[export]]\nformat = \"haproxy\"\npath = \"{}\"\nname = \"web\"\nport = \"tag:port\"\nslots = 4\nsettle = \"100ms\"\n\
         runtime = \"{}\"\nselect = {{ tag = \"role=web\" }}\non_change = \"touch {}\"\n",
        file.display(),
        socket.display(),
        dir.path().join("reloaded").display()
    );
    let main = dir.path().join("main.cfg");
    let server = "backend web\n    server-template s 3 127.0.0.1:1 disabled\n";
    fs::write(&main, HAPROXY.replace("SOCKET", &socket.display().to_string()) + server).unwrap();
    let mut haproxy = Process::start(Command::new("haproxy").arg("-db").arg("-f").arg(&main));
    // Before it listens, a reload is all that the agent can do.
    until(|| UnixStream::connect(&socket).is_ok());
    let (a, _config) = reader(&export);
    let mut members: Vec<Agent> = (1..=3).map(|n| web(&format!("w{n}"), &a, "8080")).collect();
    a.wait_for("three are in the file", |_| text(&file).matches("server w").count() == 3);
    a.wait_for("three are ready", |_| ready(&socket).len() == 3);
    assert!(!dir.path().join("reloaded").exists(), "no reload was needed");

    let mut watch = a.watch("?type=member-down", "");
    // The view as it is.
    watch.line();
    let victim = members.pop().unwrap().kill_and_say();
    let looking = socket.clone();
    let leads = format!("{victim}:8080");
    let served = thread::spawn(move || {
        until(|| !ready(&looking).contains(&leads));
        Timestamp::now()
    });
    until(|| !text(&file).contains("server w3 "));
    let (written, served) = (Timestamp::now(), served.join().unwrap());
    let line = watch.until("member-down", "w3");
    let verdict: Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    let ms = |at: Timestamp| at.duration_since(verdict).as_secs_f64() * 1e3;
    // Not `eprintln`, which the test harness catches.
    let _ = writeln!(
        std::io::stderr(),
        "after the verdict: file {:.1} ms, HAProxy {:.1} ms",
        ms(written),
        ms(served)
    );
    assert!(ms(written) < 2000.0 && ms(served) < 2000.0);

    // A new process of HAProxy knows nothing of what the one before was told.
    haproxy.stop();
    let mut haproxy = Process::start(Command::new("haproxy").arg("-db").arg("-f").arg(&main));
    a.wait_for("it is told again", |_| ready(&socket).len() == 2);
    // More members than servers: what is left is a reload.
    let _more: Vec<Agent> = (4..=5).map(|n| web(&format!("w{n}"), &a, "8080")).collect();
    a.wait_for("four are in the file", |_| text(&file).matches("server w").count() == 4);
    a.wait_for("a reload is asked for", |_| dir.path().join("reloaded").exists());
    assert_eq!(ready(&socket).len(), 3);
    haproxy.stop();
}

#[test]
fn a_list_of_a_service_is_without_those_that_are_killed_or_critical_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let export = |format: &str, more: &str| {
        let path = at(format);
        format!(
            "[[export]]\nformat = \"{format}\"\npath = \"{}\"\nsettle = \"2s\"\nselect.service = \"web\"\n{more}\n",
            path.display()
        )
    };
    let config = [
        export("json", ""),
        export("haproxy", "name = \"web\""),
        export("nginx", "select.health = \"passing\""),
        export("prometheus-sd", "port = \"tag:metrics\""),
    ];
    let (a, _config) = reader(&config.concat());
    let member = |name: &str| {
        plan(name).flags(&["--config", "/dev/null", "--tag", "metrics=9100"]).seed(&a.address()).start()
    };
    let (b, c) = (member("b"), member("c"));
    let mut holder = hold(&b, "web", "8080");
    c.post("/v1/services", r#"{"name":"web","port":8081,"tags":{"metrics":"9101"}}"#);
    c.post("/v1/services", r#"{"name":"web","id":"two","port":8082,"address":"10.9.9.9"}"#);
    c.post("/v1/services", r#"{"name":"db","port":5432}"#);
    let (json, nginx) = (at("json"), at("nginx"));
    a.wait_for("all are in the file", |_| names(&json) == ["b", "c", "c-two"]);
    a.wait_for("and in the others", |_| {
        ["haproxy", "nginx", "prometheus-sd"].iter().all(|name| text(&at(name)).contains("10.9.9.9"))
    });
    let servers =
        |ports: &[(&str, &str)]| ports.iter().map(|(ip, port)| format!("server {ip}:{port};\n")).collect();
    let (ip_b, ip_c) = (b.plan.ip.to_string(), c.plan.ip.to_string());
    let all: String = servers(&[(&ip_b, "8080"), (&ip_c, "8081"), ("10.9.9.9", "8082")]);
    assert!(text(&nginx).ends_with(&all), "{}", text(&nginx));
    assert!(text(&at("haproxy")).contains("    server c-two 10.9.9.9:8082\n"), "{}", text(&at("haproxy")));
    let targets = text(&at("prometheus-sd"));
    for target in [format!("{ip_b}:9100"), format!("{ip_c}:9101"), "10.9.9.9:9100".to_owned()] {
        assert!(targets.contains(&target), "{targets}");
    }

    let killed = Instant::now();
    holder.stop();
    until(|| names(&json) == ["c", "c-two"]);
    let _ = writeln!(std::io::stderr(), "out of the file {:.1?} after the kill", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(2), "before anything settles: {:?}", killed.elapsed());
    let says = |health: &str| {
        c.post("/v1/services/health", &format!("{{\"name\":\"web\",\"health\":\"{health}\"}}"));
        Instant::now()
    };
    let said = says("warning");
    until(|| !text(&nginx).contains("8081"));
    assert!(said.elapsed() < Duration::from_secs(2), "passing alone was asked for: {:?}", said.elapsed());
    a.wait_for("the warning has settled", |_| text(&json).contains("\"health\": \"warning\""));
    assert_eq!(names(&json), ["c", "c-two"], "it serves");
    let said = says("critical");
    until(|| names(&json) == ["c-two"]);
    assert!(said.elapsed() < Duration::from_secs(2), "{:?}", said.elapsed());
    let back = says("passing");
    until(|| names(&json) == ["c", "c-two"]);
    assert!(back.elapsed() >= Duration::from_millis(1500), "it has to settle: {:?}", back.elapsed());

    // The last ones: the floor holds, for members and instances alike.
    for id in ["", "two"] {
        c.post("/v1/services/deregister", &format!("{{\"name\":\"web\",\"id\":\"{id}\"}}"));
    }
    let held = |a: &Agent| a.get("/v1/exports")["exports"][0]["held"].to_string();
    a.wait_for("it is held back", |a| held(a).contains("min_members, 1"));
    assert!(!names(&json).is_empty());
}

#[test]
fn a_held_service_stays_in_the_list_while_its_agent_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("json");
    let export = format!(
        "[[export]]\nformat = \"json\"\npath = \"{}\"\nsettle = \"1s\"\nmin_members = 0\nselect.service = \"web\"\n",
        file.display()
    );
    let (a, _config) = reader(&export);
    let mut b = plan("b").flags(&["--config", "/dev/null"]).seed(&a.address()).start();
    let _holder = hold(&b, "web", "8080");
    a.wait_for("it is in the file", |_| names(&file) == ["b"]);
    let mut watch = a.watch("?service=web", "");
    let life = || {
        assert_eq!(names(&file), ["b"], "it is in the list all the time");
        let read: Value = serde_json::from_str(&text(&file)).unwrap();
        read["members"][0]["generation"].clone()
    };
    let first = life();
    b.post("/v1/restart", "");
    b.wait();
    let _b = b.again();
    until(|| life() != first);
    // Events tell what is.
    watch.until("service-gone", "b");
    watch.until("service-up", "b");
}

#[test]
fn a_service_is_printed_and_given_to_prometheus_as_a_file_has_it() {
    let a = plan("a").flags(&["--config", "/dev/null", "--tag", "v=1", "--tag", "w=1"]).start();
    a.wait_for("it has joined", |a| a.get("/v1/members")["joined"] == true);
    a.post("/v1/services", r#"{"name":"web","port":80,"tags":{"v":"2"}}"#);
    a.post("/v1/services", r#"{"name":"web","id":"x","port":81}"#);
    a.post("/v1/services", r#"{"name":"web","id":"loop"}"#);
    a.post("/v1/services/health", r#"{"name":"web","id":"x","health":"critical"}"#);
    let printed = |args: &[&str]| {
        let output = heartsay(&a, &[&["export", "--once"], args].concat());
        let [out, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (out, said, output.status.code())
    };
    let (nginx, said, code) = printed(&["nginx", "--service", "web"]);
    assert!(nginx.ends_with(&format!("changes are lost.\nserver {}:80;\n", a.plan.ip)), "{nginx}");
    assert!(said.contains("1 instance is left out") && code == Some(0), "{said}");
    let (all, ..) = printed(&["nginx", "--service", "web", "--health", "critical,passing"]);
    assert_eq!(all.matches("server ").count(), 2, "{all}");
    let (json, ..) = printed(&["json", "--service", "web", "--tag", "v=2", "--tag", "w"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let one = &json["members"][0];
    let told = ["name", "member", "service", "id", "health", "status"].map(|key| one[key].as_str().unwrap());
    assert_eq!(told, ["a", "a", "web", "", "passing", "alive"]);
    assert_eq!(
        (&one["tags"], json["members"].as_array().unwrap().len()),
        (&serde_json::json!({ "v": "2", "w": "1" }), 1)
    );
    assert_eq!(printed(&["prometheus-sd", "--service", "none"]).0, "[]\n", "no member has it");
    assert_eq!(printed(&["nginx", "--port", "80", "--health", "passing"]).2, Some(2), "of which service");
    assert_eq!(printed(&["json", "--service", "No"]).2, Some(2));

    let groups = a.get("/v1/sd/prometheus?service=web");
    let (file, ..) = printed(&["prometheus-sd", "--service", "web"]);
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), groups);
    assert_eq!(groups[0]["targets"][0], format!("{}:80", a.plan.ip));
    let labels = &groups[0]["labels"];
    assert_eq!(
        (&labels["__meta_heartsay_service"], groups.as_array().unwrap().len()),
        (&"web".into(), 1),
        "{groups}"
    );
    assert_eq!(
        a.get("/v1/sd/prometheus?service=web&health=critical&port=9100")[0]["targets"][0],
        format!("{}:9100", a.plan.ip)
    );
    let without = a.get("/v1/sd/prometheus?health=critical&port=9100");
    assert_eq!(without.as_array().unwrap().len(), 1, "members have no health: {without}");
    for query in ["service=web&version=none", "version=none", "max_load=75"] {
        assert_eq!(a.get(&format!("/v1/sd/prometheus?{query}")), Value::Array(Vec::new()), "{query}");
    }
}

#[test]
fn a_service_whose_process_is_killed_is_out_of_haproxy_soon() {
    if !is_there("haproxy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let export = format!(
        "[[export]]\nformat = \"haproxy\"\nname = \"web\"\nsettle = \"100ms\"\nruntime = \"{}\"\nselect.service = \"web\"\n",
        socket.display()
    );
    let main = dir.path().join("main.cfg");
    let server = "backend web\n    server-template s 4 127.0.0.1:1 disabled\n";
    fs::write(&main, HAPROXY.replace("SOCKET", &socket.display().to_string()) + server).unwrap();
    let _haproxy = Process::start(Command::new("haproxy").arg("-db").arg("-f").arg(&main));
    until(|| UnixStream::connect(&socket).is_ok());
    let (a, _config) = reader(&export);
    let b = web("b", &a, "80");
    let mut first = hold(&a, "web", "8080");
    let _second = hold(&b, "web", "8081");
    // Two that say the same place are one server.
    for id in ["one", "two"] {
        let body = format!("{{\"name\":\"web\",\"id\":\"{id}\",\"port\":8082,\"address\":\"10.9.9.9\"}}");
        b.post("/v1/services", &body);
    }
    let sorted = || {
        let mut ready = ready(&socket);
        ready.sort();
        ready
    };
    let mut all =
        vec!["10.9.9.9:8082".to_owned(), format!("{}:8080", a.plan.ip), format!("{}:8081", b.plan.ip)];
    all.sort();
    a.wait_for("three servers are ready", |_| sorted() == all);
    assert_eq!(a.get("/v1/exports")["exports"][0]["errors"], 0);
    let killed = Instant::now();
    first.stop();
    all.retain(|at| !at.ends_with(":8080"));
    until(|| sorted() == all);
    let _ = writeln!(std::io::stderr(), "out of HAProxy {:.1?} after the kill", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
}

#[test]
fn a_reader_that_is_cut_off_keeps_its_list() {
    for electorate in [None, Some("4")] {
        let purpose = if electorate.is_some() { "xq" } else { "x" };
        let Some(mut network) = Network::bare(4, purpose) else { return };
        let dir = tempfile::tempdir().unwrap();
        let (file, config) = (dir.path().join("list"), dir.path().join("config"));
        let alive = dir.path().join("alive");
        let export = |path: &Path, status: &str| {
            let path = path.display();
            format!(
                "[[export]]\nformat = \"json\"\npath = \"{path}\"\nsettle = \"200ms\"\nselect.status = {status}\n"
            )
        };
        let both = export(&file, "[\"alive\", \"suspect\"]") + &export(&alive, "\"alive\"");
        fs::write(&config, both).unwrap();
        for i in 1..=4 {
            let socket = network.socket(i).display().to_string();
            let state = dir.path().join(format!("state{i}")).display().to_string();
            let (name, seed) = (format!("m{i}"), "10.77.0.2:4327");
            let config = if i == 1 { config.to_str().unwrap() } else { "/dev/null" };
            let mut words =
                vec![env!("CARGO_BIN_EXE_heartsay"), "agent", "--cluster", "x", "--config", config];
            words.extend(["--name", &name, "--state-dir", &state, "--socket", &socket, "--seed", seed]);
            words.extend(electorate.map_or(Vec::new(), |electorate| vec!["--expected", electorate]));
            network.run(i, &words);
        }
        let least = || names(&file).len().min(names(&alive).len());
        network.wait("all are in the files", |_| least() == 4);
        // At rest for a while, so that what is measured is the cut and not the start.
        thread::sleep(Duration::from_secs(3));
        network.script(&["cut", "1"]).expect("cut");
        let cut = Instant::now();
        // The verdicts come after ten seconds, and are old news after ten more.
        while cut.elapsed() < Duration::from_secs(26) {
            assert_eq!(
                least(),
                4,
                "electorate {electorate:?}, after {:?}: {}",
                cut.elapsed(),
                network.log(1)
            );
            thread::sleep(Duration::from_millis(20));
        }
        let doubted = |network: &Network| {
            let members = network.get(1, "/v1/members");
            members["isolated"] == true || members["joined"] == false
        };
        assert!(doubted(&network), "readers are told");
        assert_eq!(network.get(1, "/v1/sd/prometheus")["status"], 503, "Prometheus keeps what it has");
        network.script(&["heal"]).expect("heal");
        network.wait("it is believed again", |network| !doubted(network));
        assert_eq!(least(), 4);
        network.kill(3);
        network.wait("a death is believed again", |_| names(&file) == ["m1", "m2", "m4"]);
    }
}

/// An agent with these exports, and the file of its settings.
fn reader(exports: &str) -> (Agent, PathBuf) {
    let plan = plan("a");
    let config = plan.dir().join("heartsay.toml");
    fs::write(&config, exports).unwrap();
    (plan.flags(&["--config", config.to_str().unwrap()]).start(), config)
}

fn web(name: &str, seed: &Agent, port: &str) -> Agent {
    let plan: Plan = plan(name).flags(&["--config", "/dev/null", "--tag", "role=web"]);
    plan.flags(&["--tag", &format!("port={port}")]).seed(&seed.address()).start()
}

trait Kill {
    fn kill_and_say(self) -> String;
}

impl Kill for Agent {
    /// Its address, for the last time.
    fn kill_and_say(mut self) -> String {
        self.kill();
        self.plan.ip.to_string()
    }
}

fn heartsay(agent: &Agent, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    command.arg("--socket").arg(agent.plan.socket()).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Names in an export as JSON.
fn names(path: &Path) -> Vec<String> {
    let read: Value = serde_json::from_str(&text(path)).unwrap_or_default();
    let members = read["members"].as_array().cloned().unwrap_or_default();
    members.iter().map(|member| member["name"].as_str().unwrap().to_owned()).collect()
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        skipped(format!("{program} is not installed"));
    }
    found
}

/// What it says; it has nothing to complain about.
fn understood(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn nginx(dir: &Path, http: &str) -> &'static mut Command {
    let config = dir.join("nginx.conf");
    let at = dir.display();
    let text = format!(
        "error_log stderr;\npid {at}/nginx.pid;\nevents {{}}\nhttp {{ access_log off; {http}\n\
         server {{ listen 127.0.0.1:18080; location / {{ proxy_pass http://web; }} }} }}\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-t").arg("-c").arg(config);
    Box::leak(Box::new(command))
}

/// Where the servers of `web` lead that are not in maintenance.
fn ready(socket: &Path) -> Vec<String> {
    let Ok(mut stream) = UnixStream::connect(socket) else { return Vec::new() };
    let _ = stream.write_all(b"show servers state web\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let rows = answer.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let rows = rows.filter(|row| row.get(1) == Some(&"web") && row[6].parse::<u32>().unwrap() & 1 == 0);
    rows.map(|row| format!("{}:{}", row[4], row[18])).collect()
}

fn until(done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A program that holds a service of this agent.
fn hold(agent: &Agent, service: &str, port: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    command.arg("--socket").arg(agent.plan.socket());
    command.args(["exec", "--service", service, "--service-port", port, "--", "cat"]);
    // What it runs ends with it: nothing more comes from its input.
    Process(command.stdin(Stdio::piped()).spawn().unwrap())
}

/// Killed when the test lets go of it.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

const HAPROXY: &str = "\
global
    stats socket SOCKET mode 600 level admin
defaults
    mode tcp
    timeout connect 1s
    timeout client 1s
    timeout server 1s
";
