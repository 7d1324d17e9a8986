//! The command line without any agent: help, usage errors, and how it says that no agent is there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that trips over is a test that fails"
)]

mod said;
mod skipped;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Output, Stdio};
use std::time::Duration;

use said::{code, stderr, stdout};
use skipped::skipped;

fn heartsay(args: &[&str]) -> Output {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("heartsay");
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("HEARTSAY_") {
            command.env_remove(key);
        }
    }
    command.args(args).timeout(Duration::from_secs(30)).output().unwrap()
}

#[test]
fn every_verb_explains_itself() {
    let help = stdout(&heartsay(&["--help"]));
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter(|l| !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    for verb in [
        "dev",
        "members",
        "status",
        "top",
        "web",
        "doctor",
        "why",
        "history",
        "bundle",
        "phi",
        "watch",
        "wait",
        "quorum",
        "join",
        "leave",
        "restart",
        "forget",
        "testify",
        "tags",
        "completions",
        "version",
        "keygen",
    ] {
        assert!(verbs.contains(&verb), "{verb} is not in {verbs:?}");
    }
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        let output = heartsay(&[verb, "--help"]);
        assert_eq!(code(&output), 0, "{verb}: {}", stderr(&output));
        assert!(stdout(&output).contains("Usage: heartsay"), "{verb}");
    }
}

#[test]
fn the_exit_codes_are_documented() {
    let help = stdout(&heartsay(&["--help"]));
    for line in ["0    done", "1    error", "2    usage", "3    no agent", "4    no", "124  time is up"] {
        assert!(help.contains(line), "{line:?} is not in\n{help}");
    }
}

#[test]
fn nonsense_is_a_usage_error() {
    for args in [
        &["nonsense"][..],
        &[],
        &["members", "--status", "gone"],
        &["members", "--tag", ""],
        &["members", "--tag", "=web"],
        &["watch", "--tag", "=web"],
        &["members", "-o", "xml"],
        &["wait"],
        &["wait", "--for", "alive"],
        &["wait", "--for", "alive>=x"],
        &["wait", "--for", "alive>=1", "--timeout", "30"],
        &["why"],
        &["why", "n1", "--at", "yesterday"],
        &["history", "--since", "10"],
        &["history", "--type", "snapshot"],
        &["history", "-n", "0"],
        &["join"],
        &["tags", "set"],
        &["tags", "set", "novalue"],
        &["dev", "--nodes", "0"],
        &["dev", "--nodes", "1001"],
        &["completions", "tcsh"],
        &["top"],
        &["top", "--once", "-o", "json"],
        &["top", "--once", "status=gone"],
        &["web", "--port", "65536"],
    ] {
        let output = heartsay(args);
        assert_eq!(code(&output), 2, "{args:?}: {}{}", stdout(&output), stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn an_absent_agent_is_told_from_a_dead_one() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.sock");
    let dead = dir.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    for (socket, words) in [(&absent, "the socket does not exist"), (&dead, "nobody listens at")] {
        let socket = socket.to_str().unwrap();
        for verb in ["members", "status", "phi", "watch", "quorum", "leave", "tags", "web"] {
            let output = heartsay(&["--socket", socket, verb]);
            assert_eq!(code(&output), 3, "{verb}: {}", stderr(&output));
            assert!(stderr(&output).contains(words), "{verb}: {}", stderr(&output));
            assert!(stderr(&output).contains(socket), "{verb}: {}", stderr(&output));
        }
        for rest in [&["why", "n1"][..], &["join", "n1"], &["forget", "n1"], &["tags", "delete", "k"]] {
            let output = heartsay(&[&["--socket", socket][..], rest].concat());
            assert_eq!(code(&output), 3, "{rest:?}: {}", stderr(&output));
        }
        let output = heartsay(&["--socket", socket, "top", "--once"]);
        assert_eq!((code(&output), stdout(&output)), (3, String::new()));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn what_is_no_socket_is_called_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = heartsay(&["--socket", file.path().to_str().unwrap(), "members"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("is no socket"), "{}", stderr(&output));
}

#[test]
fn a_condition_that_the_shell_has_cut_says_to_quote_it() {
    for (condition, words) in
        [("alive", "--for 'alive>=3'"), ("members{role=web}", "--for 'alive>=3'"), ("alive=3", "alive==3")]
    {
        let output = heartsay(&["wait", "--for", condition]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains(words), "{condition}: {}", stderr(&output));
    }
}

#[test]
fn a_forbidden_socket_is_called_forbidden() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("closed.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
    if nix::unistd::Uid::effective().is_root() {
        return skipped("nothing is forbidden to root");
    }
    let output = heartsay(&["--socket", socket.to_str().unwrap(), "members"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("permission denied"), "{}", stderr(&output));
}

#[test]
fn the_socket_may_come_from_the_environment_and_as_a_url() {
    let output = assert_cmd::cargo::cargo_bin_cmd!("heartsay")
        .env("HEARTSAY_SOCKET", "unix:///nowhere/at/all.sock")
        .arg("members")
        .output()
        .unwrap();
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("no agent at /nowhere/at/all.sock"), "{}", stderr(&output));
}

#[test]
fn waiting_for_an_agent_that_never_comes_ends_in_time() {
    let output = heartsay(&["--socket", "/nowhere.sock", "wait", "--for", "alive>=1", "--timeout", "300ms"]);
    assert_eq!(code(&output), 124);
    assert!(stderr(&output).contains("time is up"), "{}", stderr(&output));
    assert!(stderr(&output).contains("/nowhere.sock"), "{}", stderr(&output));
}

#[test]
fn the_version_needs_no_agent() {
    let output = heartsay(&["--socket", "/nowhere.sock", "version"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains(env!("CARGO_PKG_VERSION")));
    assert!(stdout(&output).contains("none at /nowhere.sock"));
    let output = heartsay(&["--socket", "/nowhere.sock", "version", "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["client"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(answer["agent"].is_null());
}

#[test]
fn completions_exist_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = heartsay(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("quorum"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("heartsay"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn every_key_is_new_and_has_32_bytes() {
    use base64::Engine as _;
    let keys: Vec<String> = (0..2).map(|_| stdout(&heartsay(&["keygen"])).trim().to_owned()).collect();
    assert_ne!(keys[0], keys[1]);
    for key in keys {
        assert_eq!(base64::engine::general_purpose::STANDARD.decode(key).unwrap().len(), 32);
    }
}

#[test]
fn a_key_file_is_private_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keyring");
    let path = file.to_str().unwrap();
    let output = heartsay(&["keygen", "--out", path]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(key.trim().len(), 44);
    assert!(!stdout(&output).contains(key.trim()), "a key in a file is not shown");

    let output = heartsay(&["keygen", "--out", path]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains(&format!("{path} is there already")), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), key);
}
