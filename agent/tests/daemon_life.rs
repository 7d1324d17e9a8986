//! Signals, good-byes, deaths and returns of real agents.

mod daemon;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use daemon::{Agent, Plan, own_ip, pair, plan};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn sigterm_says_good_bye_and_leaves_nothing_behind() {
    let (a, mut b) = pair();
    b.signal(Signal::SIGTERM);
    assert_eq!(b.wait().code(), Some(0));
    a.wait_status("b", "left");
    assert!(!b.plan.socket().exists());
    assert!(b.log().contains("acknowledged=1"), "{}", b.log());
}

#[test]
fn without_leave_on_terminate_no_member_is_told() {
    let a = plan("a").start();
    let mut b = plan("b").seed(&a.address()).flags(&["--leave-on-terminate=false"]).start();
    a.wait_status("b", "alive");
    b.signal(Signal::SIGINT);
    assert_eq!(b.wait().code(), Some(0));
    assert!(!b.plan.socket().exists());
    // Its port is closed, and the kernel says so.
    a.wait_status("b", "down");
}

#[test]
fn an_agent_that_stops_while_it_holds_quorum_runs_the_hook_of_its_loss_and_a_second_signal_does_not_wait_for_it()
 {
    let (quick, slow) = (plan("a"), plan("b"));
    let (said, begun) = (quick.dir().join("said"), slow.dir().join("begun"));
    let hook = |script: &str| format!("on_quorum_lost={script}");
    let quick_hook =
        hook(&format!("sleep 0.3; echo $HEARTSAY_QUORUM: $HEARTSAY_REASON > {}", said.display()));
    let slow_hook = hook(&format!("touch {}; sleep 60", begun.display()));
    let mut quick = quick.flags(&["--expected", "1", "--hook", &quick_hook]).start();
    let mut slow = slow.flags(&["--expected", "1", "--hook", &slow_hook]).start();
    for agent in [&quick, &slow] {
        agent.wait_for("quorum is held", |agent| agent.get("/v1/quorum")["quorum"] == "held");
        agent.signal(Signal::SIGTERM);
    }
    assert_eq!(quick.wait().code(), Some(0));
    assert_eq!(fs::read_to_string(&said).unwrap(), "lost: this agent stops\n");
    slow.wait_for("its hook runs", |_| begun.exists());
    slow.signal(Signal::SIGTERM);
    assert_eq!(slow.wait().code(), Some(1));
}

#[test]
fn a_second_signal_does_not_wait_for_a_good_bye_without_an_answer() {
    let a = plan("a").start();
    let mut b = plan("b").seed(&a.address()).flags(&["--leave-timeout", "10m"]).start();
    b.wait_status("a", "alive");
    a.freeze();
    b.signal(Signal::SIGTERM);
    b.wait_for("it is leaving", |b| b.log().contains("leaving"));
    b.signal(Signal::SIGTERM);
    assert_eq!(b.wait().code(), Some(1));
    assert!(!b.plan.socket().exists());
    assert!(b.log().contains("second signal"), "{}", b.log());
}

#[test]
fn a_good_bye_without_an_answer_ends_in_time() {
    let a = plan("a").start();
    let mut b = plan("b").seed(&a.address()).flags(&["--leave-timeout", "300ms"]).start();
    b.wait_status("a", "alive");
    a.freeze();
    b.signal(Signal::SIGTERM);
    assert_eq!(b.wait().code(), Some(0));
    assert!(b.log().contains("acknowledged=0"), "{}", b.log());
}

#[test]
fn the_api_can_ask_an_agent_to_leave_and_gets_its_answer() {
    let (a, mut b) = pair();
    let answer = b.post("/v1/leave", "").json();
    assert!(answer["acknowledged"].as_u64().unwrap() >= 1, "{answer}");
    assert_eq!(b.wait().code(), Some(0));
    a.wait_status("b", "left");
    let b = b.again();
    a.wait_status("b", "alive");
    b.wait_status("a", "alive");
}

#[test]
fn a_watch_ends_when_its_agent_does() {
    let mut agent = plan("a").start();
    let mut watch = agent.watch("", "");
    watch.line();
    agent.signal(Signal::SIGTERM);
    while let Some(line) = watch.text() {
        assert!(line.starts_with('{'), "{line}");
    }
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn sighup_takes_over_what_it_can_and_names_what_needs_a_restart() {
    let agent = plan("a");
    let config = agent.dir().join("heartsay.toml");
    let write = |text: &str| fs::write(&config, text).unwrap();
    write("interval = \"1s\"\n[tags]\nrole = \"web\"\nrack = \"1\"\n");
    let agent = agent.flags(&["--config", config.to_str().unwrap()]).start();
    write(
        "interval = \"2s\"\nexpected = 5\nseeds = [\"no-such-host.invalid\"]\nlog_level = \"debug\"\n\
         [tags]\nrole = \"db\"\n",
    );
    agent.signal(Signal::SIGHUP);
    agent.wait_for("the tags are taken over", |agent| {
        let tags = &agent.get("/v1/members/a")["tags"];
        tags["role"] == "db" && tags["rack"].is_null()
    });
    agent.wait_for("quorum is kept for five", |agent| agent.get("/v1/quorum")["needed"] == 3);
    agent.wait_for("the seed is tried", |agent| agent.get("/v1/self")["seeds"][0]["error"].is_string());
    let log = agent.wait_log("need a restart");
    assert!(log.contains("need a restart") && log.contains("settings=\"interval\""), "{log}");
    let shown = agent.get("/v1/config").to_string();
    assert!(shown.contains("\"no-such-host.invalid\""), "{shown}");
    let interval =
        agent.get("/v1/config").as_array().unwrap().iter().find(|s| s["key"] == "interval").cloned();
    assert_eq!(interval.unwrap()["value"], "1s");

    write("nonsense = 1\n");
    agent.signal(Signal::SIGHUP);
    agent.wait_for("the bad file is refused", |agent| agent.log().contains("nothing was changed"));
    assert_eq!(agent.get("/v1/members/a")["tags"]["role"], "db");
    let refused = |agent: &Agent| {
        let conditions = agent.get("/v1/self")["conditions"].to_string();
        conditions.contains("the last reload was refused, nothing was changed")
            && conditions.contains("nonsense")
    };
    agent.wait_for("status says so", refused);
    let detail = agent.post("/v1/reload", "").problem(422);
    assert!(detail.contains("heartsay.toml:1: nonsense"), "{detail}");
    assert!(refused(&agent));

    write("interval = \"2s\"\n[tags]\nrole = \"lb\"\n");
    let done = agent.post("/v1/reload", "").json();
    assert_eq!(done["restart"], json!(["interval"]));
    assert!(done["changed"].as_array().unwrap().contains(&json!("tags.role")), "{done}");
    assert_eq!(agent.get("/v1/members/a")["tags"]["role"], "lb", "answered when it is done");
    assert!(!refused(&agent));
}

#[test]
fn a_reload_that_the_machine_refuses_is_refused_as_a_whole_and_other_keys_in_the_same_file_are_taken() {
    let agent = plan("a");
    let (config, keys) = (agent.dir().join("heartsay.toml"), agent.dir().join("keys"));
    let write_keys = |letter: &str| {
        fs::write(&keys, format!("{}A=\n", letter.repeat(42))).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let write = |text: &str| fs::write(&config, text).unwrap();
    write_keys("A");
    write("[tags]\nrole = \"web\"\n");
    let (config, key_file) = (config.to_str().unwrap(), keys.to_str().unwrap());
    let agent = agent.flags(&["--config", config, "--key-file", key_file, "--expected", "3"]).start();
    // Fits by itself, but not beside what was set by hand meanwhile: at most 64 keys.
    let many: Vec<String> = (0..60).map(|n| format!("\"t{n}\":\"x\"")).collect();
    assert_eq!(agent.post("/v1/tags", &format!("{{\"set\":{{{}}}}}", many.join(","))).status, 200);
    write(
        "log_level = \"debug\"\nseeds = [\"no-such-host.invalid\"]\n\
         [tags]\nrole = \"db\"\na = \"1\"\nb = \"1\"\nc = \"1\"\nd = \"1\"\n",
    );
    let detail = agent.post("/v1/reload", "").problem(422);
    assert!(detail.contains("nothing was changed") && detail.contains("keys are too many"), "{detail}");
    assert_eq!(agent.get("/v1/members/a")["tags"]["role"], "web");
    let me = agent.get("/v1/self");
    assert_eq!(me["seeds"], json!([]), "{me}");
    assert!(
        me["conditions"].to_string().contains("the last reload was refused, nothing was changed"),
        "{me}"
    );
    assert!(!agent.get("/v1/config").to_string().contains("no-such-host"));
    // The same once more: what was refused has not become what is in force.
    assert!(agent.post("/v1/reload", "").problem(422).contains("keys are too many"));

    write("[tags]\nrole = \"db\"\n");
    write_keys("B");
    let done = agent.post("/v1/reload", "").json();
    assert_eq!(
        (&done["changed"], &done["restart"]),
        (&json!(["tags.role", "key_file"]), &json!([])),
        "{done}"
    );
    assert_eq!(agent.get("/v1/members/a")["tags"]["role"], "db");
    assert!(!agent.get("/v1/self")["conditions"].to_string().contains("reload"));
    write_keys("A");
    assert_eq!(agent.post("/v1/reload", "").json()["restart"], json!([]));
}

#[test]
fn a_storm_of_reloads_ends_and_each_that_asked_is_answered() {
    let agent = plan("a").start();
    for _ in 0..50 {
        agent.signal(Signal::SIGHUP);
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(agent.post("/v1/reload", "").status, 200));
        }
    });
    assert_eq!(agent.post("/v1/reload", "").json()["restart"], json!([]));
}

#[test]
fn expected_that_differs_is_named_with_its_figures_until_all_agree() {
    let a = plan("a");
    let config = a.dir().join("heartsay.toml");
    fs::write(&config, "expected = 2\n").unwrap();
    let a = a.flags(&["--config", config.to_str().unwrap()]).start();
    let b = plan("b").flags(&["--expected", "5"]).seed(&a.address()).start();
    let c = plan("c").flags(&["--expected", "a,b"]).seed(&a.address()).start();
    let said = |agent: &Agent| {
        let conditions = agent.get("/v1/self")["conditions"].to_string();
        conditions.split("expected is ").nth(1).map(str::to_owned).unwrap_or_default()
    };
    a.wait_for("both are named", |a| said(a).contains("(b: 5, c: other voters, fence or acceptable_pause)"));
    b.wait_for("so are they there", |b| said(b).starts_with("5 here") && said(b).contains("a: 2"));
    drop(c);
    a.wait_for("a member that has gone is named no more", |a| said(a).contains("(b: 5)"));
    fs::write(&config, "expected = 5\n").unwrap();
    assert_eq!(a.post("/v1/reload", "").status, 200);
    a.wait_for("they agree", |a| said(a).is_empty());
    b.wait_for("they agree", |b| said(b).is_empty());
}

#[test]
fn a_host_that_was_copied_and_got_another_name_is_named() {
    let (a, b) = pair();
    let clone = plan("c").seed(&a.address());
    let copy = clone.dir().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(b.plan.dir().join("state/identity"), copy.join("identity")).unwrap();
    let mut clone = clone.with_state_dir(&copy).start();
    let said = |a: &Agent| a.get("/v1/self")["conditions"].to_string();
    a.wait_for("both are named", |a| said(a).contains("two members with one host id: b and c"));
    clone.kill();
    a.wait_for("it is over with the copy", |a| !said(a).contains("host id"));
}

#[test]
fn by_zones_quorum_shows_the_votes_of_each() {
    let flags = |zone| ["--expected", "zones:east=1,north=1,west=1", "--zone", zone];
    let a = plan("a").flags(&flags("east")).start();
    let _b = plan("b").flags(&flags("west")).seed(&a.address()).start();
    a.wait_for("two of three zones are there", |a| a.get("/v1/quorum")["quorum"] == "held");
    let quorum = a.get("/v1/quorum");
    assert_eq!(
        (&quorum["present"], &quorum["needed"], &quorum["expected"]),
        (&json!(2), &json!(2), &json!(3))
    );
    let zone = |zone: &str, present| json!({"zone": zone, "present": present, "needed": 1, "expected": 1});
    assert_eq!(quorum["zones"], json!([zone("east", 1), zone("north", 0), zone("west", 1)]), "{quorum}");
    let reason = quorum["reason"].as_str().unwrap();
    assert!(reason.starts_with("2 of 3 zones") && reason.contains("north 0 of 1 (1 needed)"), "{reason}");
}

#[test]
fn sigusr1_writes_all_that_is_known_to_the_log() {
    let (a, _b) = pair();
    assert_eq!(a.post("/v1/tags", r#"{"set":{"k":"v"},"delete":["gone"]}"#).status, 200);
    assert_eq!(a.post("/v1/reload", "").status, 200);
    a.signal(Signal::SIGUSR1);
    let log = a.wait_log("state member=b status=alive");
    assert!(log.contains("asked to change tags caller=uid "), "{log}");
    for debug in ["Local(", "Peer {", "Some(", "Stats {", "Loss {", "\": ", "[\""] {
        assert!(!log.contains(debug), "{debug} is for programmers: {log}");
    }
}

#[test]
fn a_killed_process_without_last_words_is_called_down_by_the_refusals_of_its_host() {
    let a = plan("a").start();
    let mut b = plan("b").seed(&a.address()).flags(&["--last-words=false"]).start();
    let c = plan("c").seed(&a.address()).start();
    c.wait_status("b", "alive");
    let mut watch = a.watch("", "");
    b.kill();
    let suspect = watch.until("member-suspect", "b");
    assert!(suspect["reason"].as_str().unwrap().contains("refuse"), "{suspect}");
    a.wait_status("b", "down");
    c.wait_status("b", "down");
    assert!(a.get("/v1/stats")["refusals"].as_u64().unwrap() > 0);
    let b = b.again();
    a.wait_status("b", "alive");
    c.wait_status("b", "alive");
    drop(b);
}

#[test]
fn a_second_host_of_the_same_name_gives_up_and_says_who_has_it() {
    let (a, b) = pair();
    let twin = plan("b").seed(&a.address()).flags(&["--duplicate-name-timeout", "1s"]);
    let (code, log) = twin.fails();
    assert_eq!(code, 1, "{log}");
    let host = b.get("/v1/self")["member"]["host_id"].as_str().unwrap().to_owned();
    let sentence = format!("the name b is held by another living host, {host}, at {}", b.address());
    assert!(log.contains(&sentence) && log.contains("--name"), "{log}");
    // The holder is untouched.
    let held = a.get("/v1/members/b");
    assert_eq!((&held["host_id"], &held["status"]), (&host.into(), &"alive".into()));
}

#[test]
fn a_clone_with_its_state_directory_gives_up_and_the_first_stays() {
    let (a, b) = pair();
    let clone = plan("b").seed(&a.address()).flags(&["--duplicate-name-timeout", "1s"]);
    let copy = clone.dir().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(b.plan.dir().join("state")).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() && file.file_name() != "lock" {
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    let host = b.get("/v1/self")["member"]["host_id"].clone();
    let (code, log) = clone.with_state_dir(&copy).fails();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains(&format!("at {}", b.address())) && log.contains("--state-dir"), "{log}");
    a.wait_for("the first is the member again", |a| {
        let held = a.get("/v1/members/b");
        held["host_id"] == host && held["address"] == b.address() && held["status"] == "alive"
    });
    let restarts = a.get("/v1/stats")["events"]["member-restart"].as_u64().unwrap_or(0);
    assert!(restarts <= 2, "{restarts} restarts");
    assert!(a.log().contains("another process with the same host id"), "{}", a.log());
    assert_eq!(b.get("/v1/self")["outside"], json!(null));
    assert_eq!(b.ask("GET", "/readyz", "", "").status, 200);
}

#[test]
fn a_refused_name_is_seen_everywhere_and_told_once() {
    let (a, b) = pair();
    let twin = plan("b").seed(&a.address()).flags(&["--expected", "2"]).start();
    twin.wait_for("it knows", |twin| twin.get("/v1/self")["outside"]["why"] == "refused");
    assert!(twin.ask("GET", "/readyz", "", "").problem(503).contains("is held by host"));
    let me = twin.get("/v1/self");
    assert_eq!((&me["joined"], &me["quorum"]["quorum"] == "held"), (&json!(false), false));
    assert!(me["conditions"][0].as_str().unwrap().contains(&b.address()), "{me}");
    let metrics = twin.ask("GET", "/metrics", "", "").body;
    assert!(metrics.contains("heartsay_outside{cluster=\"tests\",reason=\"refused\"} 1"), "{metrics}");
    assert!(metrics.contains("heartsay_joined{cluster=\"tests\"} 0"), "{metrics}");
    let mut watch = twin.watch("?since=0", "");
    let line = loop {
        let line = watch.line();
        if line["type"] == "self" && line["status"] == "refused" {
            break line;
        }
    };
    assert!(line["reason"].as_str().unwrap().contains("is held by host"), "{line}");
    let rounds = twin.get("/v1/stats")["rounds"].as_u64().unwrap();
    twin.wait_for("more refusals come", |twin| twin.get("/v1/stats")["rounds"].as_u64() >= Some(rounds + 3));
    let log = twin.wait_log("is held by host");
    let told = log.lines().filter(|line| line.contains("WARN") && line.contains("is held by host"));
    assert_eq!(told.count(), 1, "{log}");
}

#[test]
fn peers_of_the_last_life_are_found_again_without_any_seed() {
    let a = plan("a").start();
    let b = plan("b").flags(&[]).start();
    // Neither is configured to know the other: only an operator's word joins them.
    let body = format!(r#"{{"seeds":["{}"],"timeout_seconds":20}}"#, a.address());
    assert_eq!(b.post("/v1/join", &body).json()["joined"], true);
    let mut b = b;
    b.signal(Signal::SIGTERM);
    assert_eq!(b.wait().code(), Some(0));
    let b = b.again();
    b.wait_status("a", "alive");
    a.wait_status("b", "alive");
}

#[test]
fn rubbish_is_counted_by_reason_and_told_once() {
    let agent = plan("a").start();
    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..200 {
        other.send_to(b"rubbish, and more of it than a frame needs", agent.address()).unwrap();
    }
    agent.wait_for("it is counted", |agent| {
        agent.get("/v1/stats")["rejected"]
            .as_object()
            .is_some_and(|by| by.values().any(|n| n.as_u64() >= Some(200)))
    });
    let log = agent.wait_log("datagram refused");
    assert_eq!(log.matches("datagram refused").count(), 1, "{log}");
    assert!(log.contains(&format!("from={}", other.local_addr().unwrap())), "{log}");
    let metrics = agent.ask("GET", "/metrics", "", "").body;
    let counted = metrics.lines().filter(|line| line.starts_with("heartsay_datagrams_dropped_total{"));
    assert!(counted.filter(|line| !line.ends_with(" 0")).count() == 1, "{metrics}");
}

#[test]
fn agents_with_a_key_do_not_hear_agents_without() {
    let keyed = |plan: Plan| {
        let file = plan.dir().join("keys");
        fs::write(&file, format!("{}=\n", "k".repeat(43).replace('k', "A"))).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let file = file.to_str().unwrap().to_owned();
        plan.flags(&["--key-file", &file])
    };
    let a = keyed(plan("a")).start();
    let b = keyed(plan("b")).seed(&a.address()).start();
    b.wait_status("a", "alive");
    assert_eq!(b.get("/v1/self")["encrypted"], true);
    let stranger = plan("stranger").seed(&a.address()).start();
    a.wait_for("the stranger is refused", |a| {
        a.get("/v1/stats")["rejected"].as_object().is_some_and(|by| !by.is_empty())
    });
    assert_eq!(a.ask("GET", "/v1/members/stranger", "", "").status, 404);
    assert_eq!(stranger.ask("GET", "/readyz", "", "").status, 503);
}

#[test]
fn other_keys_and_other_clusters_are_said_with_the_addresses_they_come_from() {
    let with_key = |plan: Plan, key: &str| {
        let file = plan.dir().join("keys");
        fs::write(&file, format!("{}=\n", key.repeat(43))).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let file = file.to_str().unwrap().to_owned();
        plan.flags(&["--key-file", &file])
    };
    let says = |agent: &Agent, what: &str, from: &str| {
        agent.wait_for(&format!("it says {what} of {from}"), |agent| {
            let conditions = agent.get("/v1/self")["conditions"].clone();
            conditions.as_array().unwrap().iter().filter_map(|said| said.as_str()).any(|said| {
                said.contains(&format!("datagrams from {from} are refused")) && said.contains(what)
            })
        });
    };
    let a = with_key(plan("a"), "A").start();
    let key = |agent: &Agent| agent.get("/v1/self")["keys"][0].as_u64().unwrap();
    let b = with_key(plan("b"), "E").seed(&a.address()).start();
    assert_ne!(key(&a), key(&b));
    says(&a, &format!("sealed with key {}, and the keyring here holds {}", key(&b), key(&a)), &b.address());
    let plain = plan("plain").seed(&a.address()).start();
    says(&a, "they are not sealed", &plain.address());
    let c = with_key(plan("c"), "A").seed(&plain.address()).start();
    says(&plain, "this agent has no key", &c.address());
    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (cluster, mut datagram) = (heartsay_proto::Cluster::new("elsewhere").unwrap(), Vec::new());
    heartsay_proto::seal(b"", &cluster, &heartsay_proto::Keyring::empty(), [0; 24], &mut datagram);
    for _ in 0..2 {
        other.send_to(&datagram, plain.address()).unwrap();
    }
    says(&plain, "another cluster than \"tests\"", &other.local_addr().unwrap().to_string());
}

#[test]
fn the_service_manager_is_told_how_it_goes() {
    let agent = plan("a");
    let path = agent.dir().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut agent = agent
        .variable("NOTIFY_SOCKET", path.to_str().unwrap())
        // The first of its cluster: the other seed is not up yet, and may come at any time.
        .seed(&format!("{}:4327", own_ip()))
        // Half a second apart; the loop comes by each second at the latest.
        .variable("WATCHDOG_USEC", "1000000")
        .start();
    // Told and not waited for yet: that it is ready and how it goes come from two threads, in either order.
    let mut told: Vec<String> = Vec::new();
    let mut until = |wanted: &str| {
        // A word each half second at the latest.
        for _ in 0..60 {
            if let Some(place) = told.iter().position(|word| word.contains(wanted)) {
                return told.remove(place);
            }
            let mut buffer = [0; 512];
            let length = manager.recv(&mut buffer).unwrap_or_else(|e| panic!("{wanted}: {e}"));
            told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        panic!("{wanted}: only {told:?}");
    };
    until("READY=1");
    until("STATUS=looking for other members; 1 alive");
    until("WATCHDOG=1");
    let other = plan("b").seed(&agent.address()).start();
    until("STATUS=2 alive, 0 suspect, 0 down; quorum unsettled");
    drop(other);
    agent.signal(Signal::SIGHUP);
    assert!(until("RELOADING=1").contains("MONOTONIC_USEC="));
    until("READY=1");
    agent.signal(Signal::SIGTERM);
    until("STOPPING=1");
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn a_log_without_a_reader_holds_up_nothing() {
    let mut agent = plan("a").start_unread();
    let lost = || agent.get("/v1/stats")["log_lines_dropped"].as_u64() > Some(0);
    // Two lines each; a pipe holds some hundred of them.
    let asked = (0..5000).take_while(|i| {
        assert_eq!(agent.post("/v1/tags", &format!(r#"{{"set":{{"n":"{i}"}}}}"#)).status, 200);
        !lost()
    });
    assert!(asked.count() < 5000 && lost());
    let rounds = agent.get("/v1/stats")["rounds"].as_u64();
    agent.wait_for("it goes on", |a| a.get("/v1/stats")["rounds"].as_u64() > rounds.map(|n| n + 2));
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.wait().code(), Some(0), "its last words wait for no reader");
}

#[test]
fn a_limit_of_the_size_of_files_is_a_full_disk_and_no_end() {
    let limit = ["sh", "-c", "ulimit -f 0 && exec \"$@\"", "sh"];
    let mut agent = plan("a").start();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.wait().code(), Some(0));
    // It has its host id; nothing more can be written. Nor can its log.
    agent.plan = std::mem::replace(&mut agent.plan, plan("unused")).under(&limit);
    let agent = agent.again();
    agent.wait_for("it says so", |a| a.get("/v1/self")["conditions"].to_string().contains("state directory"));
    assert_eq!(agent.post("/v1/tags", r#"{"set":{"role":"web"}}"#).status, 200);
}
