//! What stands between an agent and the service beside it: `exec`, `beat` and hooks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that trips over is a test that fails"
)]

mod daemon;

use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use daemon::{Agent, plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn exec_gives_the_code_of_its_command_and_stops_it_with_its_offspring_when_quorum_is_lost() {
    let a = plan("a").flags(&["--expected", "2"]).start();
    let mut b = plan("b").flags(&["--expected", "2"]).seed(&a.address()).start();
    let mut early = exec(&a, &["--timeout", "20s"], "exit 7");
    assert_eq!(ended(&mut early).code(), Some(7), "it has waited for quorum");

    let pid = a.plan.dir().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; trap '' TERM; wait; wait", pid.display());
    let mut guarded = exec(&a, &["--grace", "200ms"], &script);
    a.wait_for("the command runs", |_| fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
    let offspring: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    b.kill();
    assert_eq!(ended(&mut guarded).code(), Some(123));
    a.wait_for("its offspring has ended", |_| kill(Pid::from_raw(offspring), None).is_err());
    let mut late = exec(&a, &["--timeout", "300ms"], "exit 7");
    assert_eq!(ended(&mut late).code(), Some(124), "without quorum it does not begin");
}

#[test]
fn exec_starts_its_command_again_when_asked_to_and_passes_signals_on() {
    let a = plan("a").flags(&["--expected", "2"]).start();
    let b = plan("b").flags(&["--expected", "2"]).seed(&a.address()).start();
    let log = a.plan.dir().join("starts");
    let script =
        format!("trap 'exit 9' USR1; echo started >> {}; while :; do sleep 0.05; done", log.display());
    let mut guarded = exec(&a, &["--restart"], &script);
    let starts = |n: usize| {
        a.wait_for("it has started", |_| {
            fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == n)
        });
    };
    starts(1);
    let b = {
        let mut b = b;
        b.kill();
        a.wait_for("quorum is lost", |a| a.get("/v1/quorum")["quorum"] == "lost");
        b.again()
    };
    starts(2);
    kill(Pid::from_raw(guarded.id().try_into().unwrap()), Signal::SIGUSR1).unwrap();
    assert_eq!(ended(&mut guarded).code(), Some(9));
    drop(b);
}

#[test]
fn exec_does_not_trust_an_agent_that_is_gone_or_stands_still() {
    for stop in [Signal::SIGKILL, Signal::SIGSTOP] {
        let a = plan("a").flags(&["--expected", "1"]).start();
        a.wait_for("quorum is held", |a| a.get("/v1/quorum")["quorum"] == "held");
        let running = a.plan.dir().join("running");
        let mut guarded = exec(&a, &[], &format!("touch {}; exec sleep 1000", running.display()));
        a.wait_for("the command runs", |_| running.exists());
        a.signal(stop);
        assert_eq!(ended(&mut guarded).code(), Some(123), "{stop}");
        let _ = kill(Pid::from_raw(a.pid().try_into().unwrap()), Signal::SIGCONT);
    }
}

#[test]
fn a_command_that_cannot_be_run_has_the_codes_of_a_shell() {
    let a = plan("a").flags(&["--expected", "1"]).start();
    for (program, code) in [("/no/such/program", 127), ("/dev/null", 126)] {
        let mut child = heartsay(&a, &["exec", "--while-quorum", "--", program]).spawn().unwrap();
        assert_eq!(ended(&mut child).code(), Some(code), "{program}");
    }
}

#[test]
fn a_service_that_does_not_beat_is_called_down_by_the_others_and_comes_back_with_its_beat() {
    let a = plan("a").start();
    let b = plan("b").flags(&["--beat-within", "1s"]).seed(&a.address()).start();
    let c = plan("c").seed(&a.address()).start();
    assert!(b.get("/v1/self")["beat"]["beating"] == true && a.get("/v1/self")["beat"].is_null());
    a.wait_status("b", "alive");
    a.wait_status("b", "down");
    c.wait_status("b", "down");
    assert_eq!(a.get("/v1/members/b")["beating"], false, "the others know why");
    let me = b.get("/v1/self");
    assert_eq!((&me["beat"]["beating"], &me["member"]["status"]), (&false.into(), &"alive".into()));
    assert!(me["conditions"][0].as_str().unwrap().contains("has not beaten for 1s"), "{me}");
    b.wait_log("has not beaten for 1s");

    let beats = ["beat", "--every", "100ms", "--", "sh", "-c", "test -e \"$0\""];
    let well = b.plan.dir().join("well");
    fs::write(&well, "").unwrap();
    let mut beating = heartsay(&b, &[&beats[..], &[well.to_str().unwrap()]].concat()).spawn().unwrap();
    a.wait_status("b", "alive");
    assert_eq!(a.get("/v1/members/b")["beating"], true);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(a.get("/v1/members/b")["status"], "alive", "a service that beats stays");
    // The check fails from now on: no beat.
    fs::remove_file(&well).unwrap();
    a.wait_status("b", "down");
    beating.kill().unwrap();
    beating.wait().unwrap();
    assert!(a.post("/v1/beat", "{}").problem(409).contains("beat_within"));
}

#[test]
fn an_agent_that_is_upgraded_is_not_missed_while_it_is_away() {
    let a = plan("a").start();
    let mut b = plan("b").seed(&a.address()).start();
    let c = plan("c").seed(&a.address()).start();
    for observer in [&a, &c] {
        observer.wait_status("b", "alive");
        observer.wait_status(if observer.plan.name == "a" { "c" } else { "a" }, "alive");
    }
    b.wait_for("it has joined", |b| b.get("/v1/self")["joined"] == true);
    let mut watches = [a.watch("", ""), c.watch("", "")];
    let before = b.get("/v1/self")["member"]["generation"].clone();
    let mut verb = heartsay(&b, &["restart", "--within", "50s"]).stderr(Stdio::inherit()).spawn().unwrap();
    assert_eq!(b.wait().code(), Some(75), "for the service manager that starts it again");
    // It is not started again for longer than the acceptable pause: the port is closed, and refusals convict without any pause.
    let rounds = || a.get("/v1/stats")["rounds"].as_u64().unwrap();
    let until = rounds() + 4;
    a.wait_for("four rounds have gone by", |_| rounds() >= until);
    for observer in [&a, &c] {
        let member = observer.get("/v1/members/b");
        assert_eq!((&member["status"], &member["generation"]), (&"alive".into(), &before));
        let left = member["restarting_seconds"].as_f64().unwrap();
        assert!((1.0..50.0).contains(&left), "{left}");
    }
    let b = b.again();
    assert_eq!(ended(&mut verb).code(), Some(0), "it has waited for the next life");
    for watch in &mut watches {
        // The first line is the view as it was.
        let mut seen: Vec<String> = Vec::new();
        while seen.last().is_none_or(|kind| kind != "member-restart") {
            let line = watch.line();
            if line["name"] == "b" {
                seen.push(line["type"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(seen, ["member-restart"]);
    }
    assert!(a.get("/v1/members/b")["restarting_seconds"].is_null());
    assert!(b.post("/v1/restart", r#"{"within_seconds":61}"#).problem(400).contains("60 seconds"));
}

#[test]
fn hooks_run_with_the_event_and_never_hold_the_agent_up() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name);
    let lost =
        format!("on_quorum_lost=echo \"$HEARTSAY_SELF $HEARTSAY_QUORUM\" > {}", path("lost").display());
    let regained = format!("on_quorum_regained=echo yes > {}", path("regained").display());
    let down = format!("on_member_down=cat > {}; echo $HEARTSAY_NAME is gone", path("down").display());
    let hooks = [&lost, &regained, &down].map(|hook| ["--hook", hook]).concat();
    // This one would fill the lane and hang without end.
    let slow = ["--hook", "on_event=sleep 1000", "--hook-timeout", "30s", "--expected", "2"];
    let a = plan("a").flags(&hooks).flags(&slow).start();
    let mut b = plan("b").flags(&["--expected", "2"]).seed(&a.address()).start();
    let says = |name: &str, text: &str| {
        a.wait_for(name, |_| fs::read_to_string(path(name)).is_ok_and(|said| said.contains(text)));
    };
    says("regained", "yes");
    b.kill();
    says("lost", "a lost");
    says("down", "\"type\":\"member-down\"");
    a.wait_for("what it wrote is in the log", |a| a.log().contains("b is gone"));
    a.wait_for("it is counted", |a| a.get("/v1/stats")["hooks"]["good"].as_u64() >= Some(3));
}

fn heartsay(agent: &Agent, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartsay"));
    command.arg("--socket").arg(agent.plan.socket()).args(args).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn exec(agent: &Agent, flags: &[&str], script: &str) -> Child {
    let args = [&["exec", "--while-quorum"], flags, &["--", "/bin/sh", "-c", script]].concat();
    heartsay(agent, &args).spawn().unwrap()
}

fn ended(child: &mut Child) -> ExitStatus {
    for _ in 0..300 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = child.kill();
    child.wait().unwrap();
    unreachable!("it does not end")
}
