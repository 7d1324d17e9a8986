//! The completion scripts in their shells: the words of the command line, and the names of the members.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]
#![allow(clippy::disallowed_methods, reason = "a test has a clock of its own")]

mod daemon;
mod skipped;

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use daemon::{Agent, plan};
use skipped::skipped;

const HEARTSAY: &str = env!("CARGO_BIN_EXE_heartsay");

#[test]
fn bash_knows_the_members_where_one_is_wanted() {
    let (web, _db) = two();
    let bash = |line: &str| bash(line, &web.plan.socket());
    assert_eq!(bash("heartsay why w"), ["web-1"]);
    assert_eq!(names(bash("heartsay paths ")), ["db-1", "web-1"]);
    assert_eq!(names(bash("heartsay -o json why ")), ["db-1", "web-1"]);
    assert_eq!(names(bash("heartsay forget ")), [""; 0], "none is down");
    assert_eq!(names(bash("heartsay status ")), [""; 0]);
    assert!(bash("heartsay why --so").contains(&"--socket".to_owned()));
    assert!(bash("heartsay foo").is_empty());
    assert_eq!(bash("heartsay forg"), ["forget"]);
}

#[test]
fn bash_asks_the_agent_of_the_command_line() {
    let (web, _db) = two();
    let line = format!("heartsay --socket {} why d", web.plan.socket().display());
    assert_eq!(bash(&line, Path::new("/nowhere.sock")), ["db-1"]);
}

#[test]
fn fish_knows_the_members_where_one_is_wanted() {
    let (web, _db) = two();
    let fish = |line: &str| {
        let program = format!("{HEARTSAY} completions fish | source; complete -C '{line}'");
        let output = shell("fish", &["--no-config", "-c", &program], &web.plan.socket())?;
        Some(words(&output))
    };
    let Some(found) = fish("heartsay why w") else { return };
    assert_eq!(found, ["web-1"]);
    assert_eq!(names(fish("heartsay paths ").unwrap()), ["db-1", "web-1"]);
    assert_eq!(names(fish("heartsay status ").unwrap()), [""; 0]);
}

/// What completes in zsh needs a terminal: the function that hands the names over is called by itself.
#[test]
fn zsh_knows_the_members() {
    let (web, _db) = two();
    let program = format!(
        "compdef() {{ }}
        _call_program() {{ shift; eval \"$@\" }}
        compadd() {{ print -rl -- ${{(P)2}} }}
        . <({HEARTSAY} completions zsh)
        words=(why '') LBUFFER='heartsay why '
        _heartsay_members"
    );
    let Some(output) = shell("zsh", &["-f", "-c", &program], &web.plan.socket()) else { return };
    assert_eq!(names(words(&output)), ["db-1", "web-1"]);
}

#[test]
fn nothing_is_said_and_nothing_waited_for_when_no_agent_answers() {
    let (web, _db) = two();
    web.freeze();
    for socket in [web.plan.socket(), "/nowhere.sock".into()] {
        let began = Instant::now();
        let output = heartsay(&["completions", "--members", "why"], &socket);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()), "{}", socket.display());
    }
}

fn two() -> (Agent, Agent) {
    let web = plan("web-1").start();
    let db = plan("db-1").seed(&web.address()).start();
    web.wait_status("db-1", "alive");
    (web, db)
}

/// What bash would offer at the end of `line`; cut into words at spaces.
fn bash(line: &str, socket: &Path) -> Vec<String> {
    let program = r#"
        complete() { :; }
        compopt() { :; }
        . <("$HEARTSAY" completions bash)
        IFS=' ' read -ra COMP_WORDS <<<"$LINE"
        [[ $LINE != *' ' ]] || COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _heartsay_members heartsay "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = clean("bash", socket);
    command.args(["--norc", "-c", program]).env("LINE", line);
    words(&command.output().unwrap())
}

/// None, said so, where this shell is not installed.
fn shell(name: &str, args: &[&str], socket: &Path) -> Option<Output> {
    let found = clean(name, socket).args(args).output();
    if found.is_err() {
        skipped(format!("{name} is not installed"));
    }
    found.ok()
}

fn heartsay(args: &[&str], socket: &Path) -> Output {
    clean(HEARTSAY, socket).args(args).output().unwrap()
}

/// With `heartsay` in its path.
fn clean(program: &str, socket: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEARTSAY_")) {
        command.env_remove(name);
    }
    let dir = Path::new(HEARTSAY).parent().unwrap().display();
    let path = format!("{dir}:{}", std::env::var("PATH").unwrap());
    command.env("PATH", path).env("HEARTSAY", HEARTSAY).env("HEARTSAY_SOCKET", socket);
    command
}

/// The first word of each line; what follows a tab in fish describes it.
fn words(output: &Output) -> Vec<String> {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split('\t').next())
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Those that are members here, sorted.
fn names(words: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> =
        words.into_iter().filter(|word| ["web-1", "db-1"].contains(&word.as_str())).collect();
    names.sort();
    names
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}
