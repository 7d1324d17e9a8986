//! Every verb against a small made-up agent that says what the contract allows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that trips over is a test that fails"
)]

mod said;
mod skipped;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use said::{code, stderr, stdout};
use skipped::skipped;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use heartsay_client::types;
use serde_json::{Value, json};
use tempfile::TempDir;
use unicode_width::UnicodeWidthStr as _;

// Lists.

#[test]
fn members_are_listed_with_problems_first() {
    let fake = Fake::start();
    let output = fake.heartsay(&["members"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let names: Vec<&str> = text.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", "n3", "n4", "n1", "n2", "n5"]);
    assert!(text.contains("accused by n1, n2"), "{text}");
    assert!(text.contains("role=db"), "{text}");
    assert!(!text.contains('\x1b'), "no colours for a pipe");
    let text = stdout(&fake.heartsay(&["members", "--no-headers"]));
    assert!(text.starts_with("n3"), "{text}");
}

#[test]
fn the_columns_and_the_order_of_the_list_can_be_chosen() {
    let fake = Fake::start();
    fake.set_names(&["n10", "n2", "n1", "n20", "n3"]);
    let first = |args: &[&str]| {
        let text = stdout(&fake.heartsay(&[&["members", "--no-headers"], args].concat()));
        text.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(first(&["--sort", "name"]), ["n1", "n2", "n3", "n10", "n20"]);
    assert_eq!(first(&["--sort", "phi"])[0], "n1", "the third is the suspect one");
    let text = stdout(&fake.heartsay(&["members", "--columns", "status,name,host-id"]));
    assert!(text.starts_with("STATUS"), "{text}");
    let heads: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["STATUS", "NAME", "HOST", "ID"]);
    assert_eq!(code(&fake.heartsay(&["members", "--columns", "nonsense"])), 2);
}

#[test]
fn the_list_ends_with_a_sum_for_people_and_is_never_cut_for_programs() {
    let fake = Fake::start();
    let output = fake.heartsay(&["members"]);
    assert_eq!(stderr(&output).trim(), "heartsay: 5 members: 2 alive, 1 suspect, 1 down, 1 left");
    for args in [&["members", "--no-headers"][..], &["members", "-o", "json"], &["members", "-o", "jsonl"]] {
        assert_eq!(stderr(&fake.heartsay(args)), "", "{args:?}");
    }
    let long = "x".repeat(500);
    fake.set_tag("n2", "long", &long);
    for args in [&["members"][..], &["members", "-o", "wide"]] {
        assert!(stdout(&fake.heartsay(args)).contains(&long), "{args:?}");
    }
}

#[test]
fn of_many_accusers_three_are_named() {
    let fake = Fake::start();
    fake.set("n3", "accusers", json!(["n12", "n4", "n1", "n2", "n10"]));
    let text = stdout(&fake.heartsay(&["members"]));
    assert!(text.contains("accused by n1, n2, n4 and 2 more"), "{text}");
}

#[test]
fn paths_are_listed_with_problems_first_and_one_is_told_in_words() {
    let fake = Fake::start();
    let output = fake.heartsay(&["paths"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let names: Vec<&str> = text.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", "n3", "n2", "n5", "n10"], "{text}");
    assert!(text.contains("what we send does not arrive there; reached through n2, n4"), "{text}");
    assert!(text.contains("2 questions unanswered"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("n5") && l.contains("never")), "{text}");
    assert_eq!(stderr(&output).trim(), "heartsay: 4 direct paths from n1, 1 down");
    let rows = stdout(&fake.heartsay(&["paths", "-o", "jsonl"]));
    assert_eq!(rows.lines().count(), 4, "{rows}");

    let output = fake.heartsay(&["paths", "n3"]);
    assert_eq!(code(&output), 4);
    let text = stdout(&output);
    for part in [
        "n3 does not answer n1 directly since",
        "9 questions in a row are unanswered",
        "It lives: n2 and n4 reach it, last 0.4s ago.",
        "n1 still hears it, so what n1 sends does not arrive there",
        "No member is called down for that.",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let row: Value = serde_json::from_str(&stdout(&fake.heartsay(&["paths", "n3", "-o", "json"]))).unwrap();
    assert_eq!((&row["name"], &row["direction"]), (&json!("n3"), &json!("out")));
    let output = fake.heartsay(&["paths", "n10"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("n10 answers n1 directly, round trip 0.4 ms."), "{}", stdout(&output));
    assert_eq!(code(&fake.heartsay(&["paths", "n5"])), 4, "nothing has passed yet");
    let output = fake.heartsay(&["paths", "n4"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("n4 is down: paths are told of members that are alive"),
        "{}",
        stderr(&output)
    );
    let output = fake.heartsay(&["paths", "n33"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("no member is called n33"), "{}", stderr(&output));
}

#[test]
fn paths_of_another_member_are_its_word_and_a_matrix_has_what_is_not_well() {
    let fake = Fake::start();
    let output = fake.heartsay(&["paths", "--from", "n2"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("what it sends does not arrive at n2"), "{text}");
    assert_eq!(stderr(&output).trim(), "heartsay: n2 says: 7 well, 1 down, with 2 nothing has passed yet");
    let output = fake.heartsay(&["paths", "--from", "n2", "n3"]);
    assert_eq!(code(&output), 4, "it does not work");
    assert!(
        stdout(&output).contains("n2 says of n3: what it sends does not arrive at n2"),
        "{}",
        stdout(&output)
    );
    let output = fake.heartsay(&["paths", "--from", "n2", "n1"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("n2 says nothing against its path to n1"), "{}", stdout(&output));
    assert_eq!(code(&fake.heartsay(&["paths", "--from", "n2", "n33"])), 1, "there is none");
    let output = fake.heartsay(&["paths", "--from", "n3"]);
    assert_eq!(code(&output), 1);
    assert_eq!(stderr(&output).trim(), "heartsay: n3 has not answered");

    let output = fake.heartsay(&["paths", "--matrix"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let row =
        |name: &str| rows.iter().find(|row| row.first() == Some(&name)).unwrap_or_else(|| panic!("{text}"));
    let column = row("FROM").iter().position(|name| *name == "n3").unwrap();
    assert_eq!((row("n1")[column], row("n2")[column]), ("out", "in"), "{text}");
    assert_eq!(row("n3")[1], "?", "{text}");
    assert!(stderr(&output).contains("members answered"), "{}", stderr(&output));
    let rows = stdout(&fake.heartsay(&["paths", "--matrix", "-o", "jsonl"]));
    let silent = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
    let silent: Vec<Value> = silent.filter(|row| row["error"] != Value::Null).collect();
    assert!(silent.iter().any(|row| row["from"] == "n3" && row["error"] == "n3 has not answered"), "{rows}");
    assert_eq!(code(&fake.heartsay(&["paths", "--matrix", "n2"])), 2);
}

#[test]
fn a_change_of_a_path_is_one_line_for_people() {
    let fake = Fake::start();
    let mut line = event(12, "link", "n3", "");
    ["status", "by"].iter().for_each(|key| drop(line.as_object_mut().unwrap().remove(*key)));
    line["state"] = json!("down");
    line["direction"] = json!("both");
    line["through"] = json!(["n2", "n4"]);
    line["reason"] = json!("nothing arrives");
    fake.say(&line);
    fake.hang_up();
    let text = stdout(&fake.heartsay(&["watch", "--no-reconnect"]));
    assert!(text.contains("direct path to n3 down, reached through n2, n4 (nothing arrives)"), "{text}");
}

// What others said.

/// Every verb, with all that a peer or a user may have said full of what a terminal would obey.
#[test]
fn no_verb_lets_anything_through_that_a_terminal_would_obey() {
    let fake = Fake::start();
    fake.poison();
    fake.say(&poisoned(&event(12, "member-down", "n3", "down")));
    fake.hang_up();
    let key = fake.dir.path().join("new\u{202e}key");
    let key = key.to_str().unwrap();
    let bundle = fake.dir.path().join("bundle\u{202e}");
    let bundle = bundle.to_str().unwrap();
    let dirt = "evil\n\x1b[2J\u{9b}\u{202e}\u{200b}";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port().to_string();
    let verbs: &[(&str, &[&str])] = &[
        ("members", &[]),
        ("members", &["--columns", "name,host-id,note,tags,zone,address"]),
        ("status", &[]),
        ("doctor", &[]),
        ("top", &["--once"]),
        ("web", &["--port", &taken]),
        ("why", &["n3"]),
        ("why", &[dirt]),
        ("why", &["n3", "--at", "1h"]),
        ("history", &[]),
        ("history", &["n3", "--since", "1h"]),
        ("bundle", &["--out", bundle]),
        ("paths", &[]),
        ("paths", &["n3"]),
        ("paths", &[dirt]),
        ("phi", &[]),
        ("watch", &["--no-reconnect"]),
        ("service", &["list"]),
        ("service", &["show", "db"]),
        ("wait", &["--for", "alive>=99 && n99=down", "--timeout", "200ms"]),
        ("wait", &["--for", "n\u{202e}9=down", "--timeout", "200ms"]),
        ("wait", &["--for", "quorum", "--timeout", "2s"]),
        ("quorum", &[]),
        ("exec", &["--while-quorum", "--timeout", "200ms", "--", "true"]),
        ("beat", &[]),
        ("join", &[dirt, "--timeout", "1s"]),
        ("join", &["nobody", "--timeout", "1s"]),
        ("leave", &[]),
        ("restart", &["--no-wait"]),
        ("last-words", &[]),
        ("forget", &["n4"]),
        ("forget", &[dirt]),
        ("testify", &["n4", "dead", "--source", "libvirt"]),
        ("testify", &[dirt, "dead", "--source", dirt]),
        ("tags", &[]),
        ("tags", &["set", "forbidden=1"]),
        ("tags", &["set", &format!("k={dirt}")]),
        ("config", &["show", "--config", "/dev/null", "--cluster", "c", "--zone", dirt, "--state-dir", dirt]),
        ("config", &["check", dirt]),
        ("version", &[]),
        ("keygen", &["--out", key]),
        ("keys", &["list"]),
        ("keys", &["list", "--file", dirt]),
        ("export", &[]),
        ("export", &["--once", "hosts", "--anyway"]),
        ("export", &["--once", "haproxy", "--name", "web", "--port", "80", "--anyway"]),
        ("reload", &[]),
        ("agent", &["--config", "/dev/null", "--cluster", dirt, "--expected", dirt]),
        // These say nothing of others.
        ("completions", &["bash"]),
        ("dev", &["--nodes", "1", "--once", "--kill-after", "0s"]),
    ];
    fake.set_quorum("lost");
    let help = stdout(&fake.heartsay(&["--help"]));
    let all =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for verb in all.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next())
    {
        assert!(verb == "help" || verbs.iter().any(|(known, _)| *known == verb), "{verb} is not tried here");
    }
    for (verb, args) in verbs {
        let output = fake.heartsay(&[&[*verb], *args].concat());
        for text in [stdout(&output), stderr(&output)] {
            let bad = text.chars().find(|c| {
                (c.is_control() && *c != '\n')
                    || matches!(*c, '\u{61c}' | '\u{feff}' | '\u{e0041}' | '\u{fe0f}' | '\u{3164}' | '\u{2028}')
                    || matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            });
            assert_eq!(bad, None, "{verb} {args:?}:\n{text:?}");
            assert!(!text.lines().any(|line| line.starts_with("FORGED")), "{verb} {args:?}:\n{text}");
        }
    }
    // Where we paint ourselves, others do not.
    for verb in [
        &["members"][..],
        &["status"],
        &["top", "--once"],
        &["why", "n3"],
        &["phi"],
        &["quorum"],
        &["watch", "--no-reconnect"],
    ] {
        let painted = fake.command(verb).env("CLICOLOR_FORCE", "1").output().unwrap();
        let painted = stdout(&painted);
        assert!(painted.contains("\x1b[") || verb[0] == "phi", "{verb:?} has no colours: {painted}");
        let foreign =
            ["\x1b]", "\x1b[2J", "\x1b[7m", "\u{9b}"].iter().find(|sequence| painted.contains(**sequence));
        assert_eq!(foreign, None, "{verb:?}: {painted:?}");
    }
    // Programs get what was said, to the letter.
    let json = stdout(&fake.heartsay(&["members", "-o", "json"]));
    let all: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(all["members"][1]["tags"]["role"], format!("db{DIRT}"));
    let yaml = stdout(&fake.heartsay(&["members", "-o", "yaml"]));
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), all);
}

#[test]
fn members_can_be_filtered_and_an_empty_list_is_a_no() {
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
    assert_eq!(names(&["--tag", "role"]), (0, "n1 n2 n3".to_owned()), "whatever its value");
    assert_eq!(names(&["--tag", "role", "--tag", "rack"]), (4, String::new()));
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
        "a heartbeat",
        "Its address is 10.0.0.3:4327, and its agent started at 2026-11-18T11:06:40Z",
        "no such process",
        "doubts itself",
        "advanced 4.2s ago",
        "every 1.00 s ± 50.0 ms (learnt from 87 steps)",
        "φ is 6.2; from 8.0 on it is asked directly. Silence alone never accuses.",
        "Direct contact from here fails",
        "What would change this: a newer heartbeat of it clears it.",
        "Probably them: this agent is well",
        "3 of 4 peers share this view",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

#[test]
fn why_of_the_past_tells_each_accuser_by_what_margin_and_which_pause_would_have_held_it_in() {
    let fake = Fake::start();
    let output = fake.heartsay(&["why", "n3", "--at", "2026-11-20T12:00:05Z"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for words in [
        "n3 was down at 2026-11-20T12:00:05.000Z, for 4.9s by then, as n1 saw it",
        "Events are missing",
        "silence, also when asked",
        "3.12 s",
        "a pause of 2.00 s",
        "+1.12 s",
        "weak: the accuser doubts itself",
        "4 questions unanswered",
        "φ 9.5: +4.5 against the 5 that accuses, +1.5 against the 8 that testifies",
        "a verdict needs 2, and 2 had proven silence",
        "Before that: 2026-11-20T12:00:00.123Z  n3 suspect",
        "Then: 2026-11-20T12:00:00.123Z  n3 alive",
        "at the verdict it had been silent for 3.12 s, +1.12 s against it",
        "With acceptable_pause above 7.50 s it would have stayed in",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let json: Value =
        serde_json::from_str(&stdout(&fake.heartsay(&["why", "n3", "--at", "1h", "-o", "json"]))).unwrap();
    assert_eq!(json, past());
}

#[test]
fn history_says_what_is_missing_in_it_and_programs_get_each_entry() {
    let fake = Fake::start();
    let output = fake.heartsay(&["history"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("TIME"), "{text}");
    assert!(text.contains("2026-11-20T12:00:00.123Z  n3 down, by n1, n2 (refused by its host)"), "{text}");
    assert!(text.contains("3 events are left out here"), "{text}");
    let remarks = stderr(&output);
    for words in ["3 entries", "kept in memory only", "2 events are left out just now", "1 entry is damaged"]
    {
        assert!(remarks.contains(words), "{words:?} is not in\n{remarks}");
    }
    let output = fake.heartsay(&["history", "n3", "-n", "5", "--type", "member-down,quorum", "-o", "jsonl"]);
    assert_eq!(stdout(&output).lines().count(), 3);
    assert_eq!(stderr(&output), "");
}

#[test]
fn why_says_what_this_agent_holds_against_it_also_when_its_looks_are_over() {
    let fake = Fake::start();
    let why = |kind: &str, pieces: Value| {
        let case = json!({
            "phi": 8.0, "pieces": pieces, "witnesses": ["n2"], "needed": 1, "proven": 1, "refused": 1, "unfit": 0,
            "pause_left_seconds": 0.0, "basis": 812, "held": false,
        });
        let mut evidence = member("n3")["evidence"].clone();
        evidence["accusations"] =
            json!([{ "by": "n1", "kind": kind, "basis": 812, "weak": false, "since": TIME }]);
        if kind == "told" {
            evidence["accusations"][0]["source"] = json!("libvirt");
        }
        evidence["case"] = case;
        fake.set("n3", "evidence", evidence);
        stdout(&fake.heartsay(&["why", "n3"]))
    };
    let piece = |kind: &str| json!([{ "kind": kind, "phi": 1.0, "count": 2, "first": TIME, "last": TIME }]);
    for (kind, words) in [
        ("refused", "This agent accuses it itself (its host says: no such process, for "),
        ("silent", "This agent accuses it itself (silence, also when asked, for "),
        ("unfit", "This agent accuses it itself (alive, unfit: stay out until then, for "),
        ("told", "This agent accuses it itself (told by libvirt, for "),
    ] {
        for pieces in [json!([]), piece(if kind == "unfit" { "direct" } else { "flaps" })] {
            let text = why(kind, pieces);
            assert!(text.contains(words), "{kind}: {text}");
            assert!(!text.contains("nothing of its own"), "{kind}: {text}");
        }
    }
    for (kind, pieces, words) in [
        ("refused", "refused", "its host refuses: no such process"),
        ("silent", "silence", "its heartbeat is overdue"),
        ("silent", "direct", "2 questions unanswered"),
        ("silent", "indirect", "2 helpers' questions unanswered"),
        ("unfit", "link", "2 recent questions unanswered while it lived"),
        ("degraded", "flaps", "back from down 2 times of late"),
    ] {
        let text = why(kind, piece(pieces));
        assert!(text.contains(words) && !text.contains("accuses it itself"), "{pieces}: {text}");
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
        "yes, sends with key 112; also opens 37",
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

#[test]
fn a_question_about_quorum_is_answered_with_why_it_is_not_held() {
    let fake = Fake::start();
    let reason = "more votes than stated";
    fake.state.reason.lock().unwrap().clone_from(&reason.to_owned());
    for verb in ["status", "quorum"] {
        for word in ["lost", "unsettled"] {
            fake.set_quorum(word);
            for format in ["table", "wide", "json", "jsonl", "yaml"] {
                let text = stdout(&fake.heartsay(&[verb, "-o", format]));
                assert!(text.contains(reason), "{verb} {format}: {text}");
            }
        }
    }
    let output = fake.heartsay(&["wait", "--for", "quorum", "--timeout", "300ms"]);
    assert!(stderr(&output).contains(&format!("quorum is unsettled: {reason}")), "{}", stderr(&output));
    fake.set_quorum("held");
    assert!(!stdout(&fake.heartsay(&["status"])).contains(reason), "all is well");
}

#[test]
fn the_answer_of_quorum_is_the_code_also_without_a_reader() {
    let fake = Fake::start();
    for (word, ends) in [("held", 0), ("lost", 4)] {
        fake.set_quorum(word);
        let mut child = fake.command(&["quorum"]).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(ends), "{word}");
    }
}

#[test]
fn keys_are_listed_by_id_and_one_sends() {
    let fake = Fake::start();
    let text = stdout(&fake.heartsay(&["keys", "list"]));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["KEY", "USE"], ["112", "sends"], ["37", "opens"]]);
    let json: Value = serde_json::from_slice(&fake.heartsay(&["keys", "list", "-o", "json"]).stdout).unwrap();
    let shown = json["keys"].as_array().unwrap();
    let shown: Vec<_> = shown.iter().map(|key| (key["id"].as_u64(), key["sends"].as_bool())).collect();
    assert_eq!(shown, [(Some(112), Some(true)), (Some(37), Some(false))]);
    let lacking = json["keys"][0]["lacked_by"].as_array().unwrap();
    assert!(!lacking.is_empty(), "those of this cluster say nothing about keys: {json}");
}

#[test]
fn a_key_file_is_listed_without_its_keys() {
    let fake = Fake::start();
    let file = fake.dir.path().join("keyring");
    let path = file.to_str().unwrap();
    assert_eq!(code(&fake.heartsay(&["keygen", "--out", path])), 0);
    let output = fake.heartsay(&["keys", "list", "--file", path]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 2);
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(!stdout(&output).contains(key.trim()) && !stderr(&output).contains(key.trim()));
    let output = fake.heartsay(&["keys", "list", "--file", "/nowhere"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("/nowhere cannot be read"), "{}", stderr(&output));
}

// Changes.

#[test]
fn join_says_which_members_answered_or_that_none_did() {
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
    let output = fake.heartsay(&["forget", "n1", "n44", "n4"]);
    assert_eq!((code(&output), stdout(&output).trim()), (1, "n4 is forgotten"), "the others all the same");
    for said in ["n1 is alive", "no member is called n44; did you mean n4?"] {
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    let output = fake.heartsay(&["testify", "n4", "dead", "--source", "libvirt"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stdout(&output).contains("n4 is down as soon as its witnesses get no answer"),
        "{}",
        stdout(&output)
    );
    let wish = json!({ "name": "n4", "state": "dead", "source": "libvirt" });
    assert_eq!(fake.last_wish(), ("testify", wish));
    assert_eq!(code(&fake.heartsay(&["testify", "n4", "well", "--source", "libvirt"])), 2);
    assert_eq!(stdout(&fake.heartsay(&["tags"])).trim(), "role=lb");
    assert_eq!(stdout(&fake.heartsay(&["tags", "set", "a=1", "b=x=y"])).trim(), "a=1\nb=x=y");
    assert_eq!(fake.last_wish(), ("tags", json!({ "set": { "a": "1", "b": "x=y" }, "delete": [] })));
    fake.heartsay(&["tags", "delete", "a"]);
    assert_eq!(fake.last_wish(), ("tags", json!({ "set": {}, "delete": ["a"] })));
}

#[test]
fn reload_says_what_was_taken_and_what_needs_a_restart() {
    let fake = Fake::start();
    let output = fake.heartsay(&["reload"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output), "taken over: seeds, tags.role\nchanged too, but needs a restart: interval\n");
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
    let output = fake.heartsay(&["watch", "-o", "jsonl", "--no-reconnect"]);
    assert_eq!(code(&output), 3);
    let lines: Vec<types::WatchLine> =
        stdout(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        lines.iter().map(|l| l.kind.as_str()).collect::<Vec<_>>(),
        ["snapshot", "member-down", "idle"]
    );
    let text = stdout(&fake.heartsay(&["watch", "--no-reconnect"]));
    assert!(text.contains("#11  snapshot: 5 members, 2 alive"), "{text}");
    assert!(text.contains("#12  n3 down, by n1, n2 (refused by its host)"), "{text}");
    assert!(!text.contains("idle"), "{text}");
}

#[test]
fn watch_resumes_where_it_was_told_and_says_when_that_is_too_long_ago() {
    let fake = Fake::start();
    fake.say(&event(12, "member-down", "n3", "down"));
    fake.hang_up();
    let output = fake.heartsay(&["watch", "--since", "11", "-o", "jsonl", "--no-reconnect"]);
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
    let output = fake.heartsay(&["watch", "--no-reconnect", "--exec", &command]);
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log, "11 snapshot n1  1\n12 member-suspect n2 suspect 1\n13 member-down n2 down 1\n");
    assert!(stderr(&output).contains("the command for #13 ended with"), "{}", stderr(&output));
}

#[test]
fn watch_goes_on_where_it_was_and_says_when_it_cannot() {
    let fake = Fake::start();
    let mut watch = Running::start(fake.command(&["watch", "-o", "jsonl"]));
    assert_eq!(watch.line()["type"], "snapshot");
    fake.say(&event(12, "member-down", "n3", "down"));
    assert_eq!(watch.line()["index"], 12);
    fake.cut();
    watch.says("Reconnecting");
    fake.say(&event(13, "member-alive", "n3", "alive"));
    let line = watch.line();
    assert_eq!((&line["index"], &line["type"]), (&json!(13), &json!("member-alive")), "no second snapshot");
    fake.restart();
    fake.cut();
    assert_eq!(watch.line(), json!({ "type": "lagged", "index": 13, "time": watch.last["time"] }));
    assert_eq!(watch.line()["type"], "snapshot");
}

#[test]
fn watch_asks_for_the_lines_that_are_wanted() {
    let fake = Fake::start();
    fake.say(&event(12, "member-down", "n3", "down"));
    fake.hang_up();
    let filters = ["--type", "member-down,quorum", "--status", "down", "--tag", "role=a&b", "--tag", "rack"];
    let output = fake.heartsay(&[&["watch", "-o", "jsonl", "--no-reconnect"], &filters[..]].concat());
    let lines = stdout(&output);
    let types: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].take()).collect();
    assert_eq!(types, ["snapshot", "member-down"], "the snapshot always comes");
    let pairs: Vec<String> = fake.last_query().into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    let wanted =
        ["type=snapshot", "type=member-down", "type=quorum", "status=down", "tag=role=a&b", "tag=rack"];
    assert_eq!(pairs, wanted);
    for args in [&["watch", "--type", "down"][..], &["watch", "--tag", "=x"], &["watch", "--timeout", "1s"]] {
        assert_eq!(code(&fake.heartsay(args)), 2, "{args:?}");
    }
}

#[test]
fn a_command_runs_for_the_types_that_are_asked_for_and_not_for_the_snapshot() {
    let fake = Fake::start();
    fake.say(&event(12, "member-down", "n3", "down"));
    fake.hang_up();
    for (types, ran) in
        [("member-down", "member-down\n"), ("snapshot,member-down", "snapshot\nmember-down\n")]
    {
        let log = fake.dir.path().join(types);
        let command = format!("echo $HEARTSAY_EVENT >> {}", log.display());
        fake.heartsay(&["watch", "--no-reconnect", "--type", types, "--exec", &command]);
        assert_eq!(std::fs::read_to_string(log).unwrap(), ran);
    }
}

#[test]
fn watch_asks_for_a_snapshot_as_soon_as_it_is_told_that_it_cannot_resume() {
    let fake = Fake::start();
    let mut watch = Running::start(fake.command(&["watch", "-o", "jsonl"]));
    assert_eq!(watch.line()["type"], "snapshot");
    let away = fake.dir.path().join("away.sock");
    std::fs::rename(&fake.socket, &away).unwrap();
    fake.cut();
    // So long that it looks for the agent less and less often.
    std::thread::sleep(Duration::from_millis(1600));
    fake.restart();
    std::fs::rename(&away, &fake.socket).unwrap();
    assert_eq!(watch.line()["type"], "lagged");
    let next = watch.lines.recv_timeout(Duration::from_millis(800)).expect("the snapshot is late");
    assert!(next.contains("snapshot"), "{next}");
}

#[test]
fn a_stream_ends_with_its_reader_also_when_nothing_happens() {
    let fake = Fake::start();
    let pid = fake.dir.path().join("pid");
    let handler = format!("sleep 4242 & echo $! > {}; wait", pid.display());
    for (args, ends) in [
        (&["watch"][..], 0),
        (&["watch", "-o", "jsonl"], 0),
        (&["watch", "--exec", &handler], 0),
        // Not that it holds.
        (&["wait", "--for", "n2=down"], 141),
    ] {
        let mut child = fake.command(args).spawn().unwrap();
        fake.once_watched();
        if args.len() == 3 && args[1] == "--exec" {
            until("the command runs", || {
                std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
            });
        }
        let mut out = child.stdout.take().unwrap();
        if args[0] == "watch" {
            assert_ne!(out.read(&mut [0; 4096]).unwrap(), 0);
        }
        drop(out);
        until("it ends", || child.try_wait().unwrap().is_some());
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (ends, ""), "{args:?}");
    }
    assert!(!is_there(&pid_in(&pid)), "the command ends too");
}

// Terminals.

/// A name, an address and tags that are long or wide.
#[test]
fn no_line_is_longer_than_the_terminal() {
    let fake = Fake::start();
    fake.set("n3", "name", json!("db-primary-17.eu-central-1.example.org"));
    fake.set("n4", "tags", json!({ "city": "東京都千代田区丸の内一丁目九番一号", "role": "x".repeat(90) }));
    fake.set("n2", "address", json!("[2001:db8:1234:5678:9abc:def0:1234:5678]:4327"));
    for format in ["lost", "held"] {
        fake.set_quorum(format);
        for args in [&["members"][..], &["status"], &["quorum"], &["phi"], &["why", "n2"], &["keys", "list"]]
        {
            for columns in [20, 40, 80, 133] {
                for colour in [true, false] {
                    let screen = on_terminal(fake.command(args), columns, colour);
                    let plain = anstream_free(&screen);
                    assert_eq!(screen != plain, colour, "{args:?} {columns}: {screen:?}");
                    for line in plain.lines() {
                        let width = line.width();
                        assert!(width <= columns.into(), "{args:?} {columns}: {width}: {line:?}\n{plain}");
                    }
                }
            }
        }
    }
    let wide = on_terminal(fake.command(&["members", "-o", "wide"]), 40, false);
    assert_eq!(wide.lines().count(), 6, "a row is a line: {wide}");
    assert!(wide.contains(&"x".repeat(90)), "{wide}");
}

#[test]
fn colours_move_no_column() {
    let fake = Fake::start();
    for args in [&["members"][..], &["status"], &["phi"]] {
        let [plain, painted] = [false, true].map(|colour| on_terminal(fake.command(args), 200, colour));
        let cells = |text: &str| text.lines().map(|line| line.chars().count()).collect::<Vec<_>>();
        assert_eq!(cells(&anstream_free(&painted)), cells(&plain), "{args:?}:\n{painted}\n{plain}");
    }
}

// Commands that are run.

#[test]
fn a_handler_has_a_limit_and_ends_with_its_offspring() {
    let fake = Fake::start();
    fake.hang_up();
    let pid = fake.dir.path().join("pid");
    let handler = format!("sleep 4242 & echo $! > {}; wait", pid.display());
    let output = fake.heartsay(&["watch", "--no-reconnect", "--timeout", "300ms", "--exec", &handler]);
    assert!(
        stderr(&output).contains("the command for #11 was ended: its time was up"),
        "{}",
        stderr(&output)
    );
    assert!(!is_there(&pid_in(&pid)));
}

#[test]
fn what_watch_and_exec_started_ends_with_them_however_they_end() {
    let fake = Fake::start();
    for verb in [&["watch", "--exec"][..], &["exec", "--while-quorum", "--", "sh", "-c"]] {
        for signal in ["TERM", "KILL"] {
            let pid = fake.dir.path().join(format!("{}-{signal}", verb[0]));
            let script = format!("sleep 4242 & echo $! > {}; wait", pid.display());
            let mut running = fake.command(&[verb, &[&script]].concat()).spawn().unwrap();
            until("the command runs", || {
                std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
            });
            let pid = pid_in(&pid);
            assert!(is_there(&pid));
            let sent = Command::new("kill").args(["-s", signal, &running.id().to_string()]).status().unwrap();
            assert!(sent.success());
            let status = running.wait().unwrap();
            if signal == "TERM" {
                assert_eq!(status.code(), Some(143), "{verb:?}");
                assert!(!is_there(&pid), "{verb:?}: it has waited for its command");
            }
            until("the offspring has ended", || !is_there(&pid));
        }
    }
}

#[test]
fn exec_that_waits_ignores_what_is_meant_for_the_command_and_ends_when_it_is_told_to() {
    let fake = Fake::start();
    fake.set_quorum("lost");
    let log = fake.dir.path().join("log");
    let script =
        format!("trap 'echo HUP >> {0}; exit 7' HUP; echo started >> {0}; sleep 60 & wait", log.display());
    let start = || {
        // A shell that starts the tests in the background has some signals ignored, and that is inherited.
        let exec = fake.command(&["exec", "--while-quorum", "--", "sh", "-c", &script]);
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT,QUIT").arg(exec.get_program()).args(exec.get_args());
        exec.get_envs().for_each(|(key, _)| _ = command.env_remove(key));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        fake.once_watched();
        child
    };
    let mut waiting = start();
    for signal in ["HUP", "USR1", "USR2"] {
        send(&waiting, signal);
    }
    let mut remarks = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let remarks: Vec<String> = (0..4).map(|_| remarks.next().unwrap().unwrap()).collect();
    let say = |words: &str| remarks.iter().filter(|remark| remark.contains(words)).count();
    assert_eq!(say("is ignored: there is no quorum yet"), 3, "{remarks:?}");
    assert_eq!(say("waiting for quorum: quorum is lost: because"), 1, "{remarks:?}");
    fake.set_quorum("held");
    until("the command runs", || std::fs::read_to_string(&log).is_ok_and(|text| text == "started\n"));
    send(&waiting, "HUP");
    assert_eq!(waiting.wait().unwrap().code(), Some(7), "now it is passed on");
    fake.set_quorum("lost");
    for (signal, ends) in [("TERM", 143), ("INT", 130), ("QUIT", 131)] {
        let mut waiting = start();
        send(&waiting, signal);
        assert_eq!(waiting.wait().unwrap().code(), Some(ends), "{signal}");
    }
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let fake = Fake::start();
    let program = assert_cmd::cargo::cargo_bin!("heartsay").display().to_string();
    let log = fake.dir.path().join("log");
    let script = format!("echo started >> {}; sleep 1; exit 7", log.display());
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh", &program, "--socket"])
        .arg(&fake.socket)
        .args(["exec", "--while-quorum", "--", "sh", "-c", &script])
        .spawn()
        .unwrap();
    until("the command runs", || log.exists());
    send(&child, "HUP");
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn process_1_of_a_container_buries_orphans_and_can_be_ended() {
    let fake = Fake::start();
    let first = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]).arg(assert_cmd::cargo::cargo_bin!("heartsay"));
        command.arg("--socket").arg(&fake.socket).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    if !Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        skipped("this machine gives us no process ids of our own");
        return;
    }
    let script = "for i in 1 2 3; do (setsid sleep 0.1 &); done; sleep 1; \
                  if grep -l '^State:.*Z' /proc/[0-9]*/status; then exit 9; fi; exit 7";
    let output = first(&["exec", "--while-quorum", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(code(&output), 7, "zombies: {}{}", stdout(&output), stderr(&output));
    // The offspring that is left when the command ends is stopped at once, not after the grace.
    let script = "(trap 'exit 0' TERM; while :; do sleep 0.05; done) & sleep 0.2; exit 7";
    let mut quick =
        first(&["exec", "--while-quorum", "--grace", "60s", "--", "sh", "-c", script]).spawn().unwrap();
    until("it ends", || quick.try_wait().unwrap().is_some());
    assert_eq!(quick.wait().unwrap().code(), Some(7));
    // Those from before.
    assert_ne!(fake.watched.try_iter().count(), 0);
    for args in
        [&["wait", "--for", "n2=down"][..], &["watch"], &["exec", "--while-quorum", "--", "sleep", "60"]]
    {
        let mut outside = first(args).spawn().unwrap();
        fake.once_watched();
        let children = format!("/proc/{0}/task/{0}/children", outside.id());
        let inside = std::fs::read_to_string(children).unwrap();
        assert!(Command::new("kill").args(["-s", "TERM", inside.trim()]).status().unwrap().success());
        until("it ends", || outside.try_wait().unwrap().is_some());
        assert_eq!(outside.wait().unwrap().code(), Some(143), "{args:?}");
    }
}

#[test]
fn exec_without_an_electorate_says_so_at_once() {
    let fake = Fake::start();
    fake.set_quorum("none");
    let output = fake.heartsay(&["exec", "--while-quorum", "--", "true"]);
    assert_eq!(code(&output), 125, "{}", stderr(&output));
    assert!(stderr(&output).contains("no electorate"), "{}", stderr(&output));
    let output = fake.heartsay(&["exec", "--while-quorum", "--wait", "--timeout", "300ms", "--", "true"]);
    assert_eq!(code(&output), 124, "{}", stderr(&output));
}

#[test]
fn wait_counts_members_by_their_tags() {
    let fake = Fake::start();
    for (condition, ends) in [
        ("members{role=db}==2", 0),
        ("alive{role=db}>=1 && suspect{role=db}==1", 0),
        ("alive{role=db}>=2", 124),
        ("members{role}==3", 0),
    ] {
        let output = fake.heartsay(&["wait", "--for", condition, "--timeout", "300ms"]);
        assert_eq!(code(&output), ends, "{condition}: {}", stderr(&output));
    }
}

#[test]
fn wait_says_what_cannot_come_true() {
    let fake = Fake::start();
    fake.set_quorum("none");
    for (condition, words) in [("quorum", "no electorate"), ("fenced(n4)", "no fence")] {
        let output = fake.heartsay(&["wait", "--for", condition, "--timeout", "20s"]);
        assert_eq!(code(&output), 1, "{condition}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    let output = fake.heartsay(&["wait", "--for", "n33=down", "--timeout", "300ms"]);
    assert_eq!(code(&output), 124);
    assert!(stderr(&output).contains("no member is called n33"), "{}", stderr(&output));
    assert!(stderr(&output).contains("did you mean n3?"), "{}", stderr(&output));
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
fn wait_for_no_time_asks_once_and_does_not_guess() {
    let fake = Fake::start();
    for (condition, ends) in [("joined && alive>=2", 0), ("alive>=9", 124)] {
        let output = fake.heartsay(&["wait", "--for", condition, "--timeout", "0s"]);
        assert_eq!(code(&output), ends, "{condition}: {}", stderr(&output));
    }
    let args = ["wait", "--for", "joined", "--timeout", "0s", "-o", "json"];
    let output = command(std::path::Path::new("/nowhere.sock"), &args).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &answer["conditions"][0]["now"]), (124, &json!("unknown")));
    assert!(stderr(&output).contains("the socket does not exist"), "{}", stderr(&output));
}

#[test]
fn wait_outlasts_an_agent_that_has_no_room_or_is_stopping() {
    let fake = Fake::start();
    fake.state.busy.store(3, Ordering::Relaxed);
    let output = fake.heartsay(&["wait", "--for", "alive>=2", "--timeout", "20s"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
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
/// How the agent reaches the others.
fn services() -> Value {
    json!({
        "self": "n1", "index": 11, "joined": true, "isolated": false, "unreadable": 0,
        "services": [{
            "name": "db", "healthy": 0, "known": 1,
            "instances": [{
                "member": "n2", "status": "alive", "id": "main", "address": "10.0.0.2", "port": 5432,
                "health": "critical", "tags": { "role": "primary" }, "text": "no disk",
            }],
        }],
    })
}

/// n2 says that it does not hear n3, and n3 does not answer.
async fn told_paths(
    State(s): State<Arc<FakeState>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    match query.get("from").map(String::as_str) {
        None | Some("n1") => Json(s.said(paths())).into_response(),
        Some("n3") => {
            let detail = "n3 has not answered";
            let problem = json!({ "type": "about:blank", "title": "", "status": 504, "detail": detail });
            (StatusCode::GATEWAY_TIMEOUT, Json(problem)).into_response()
        }
        Some(from) => {
            let mut told = paths();
            told["from"] = from.into();
            (told["well"], told["unknown"]) = (7.into(), 2.into());
            let rows = told["paths"].as_array_mut().unwrap();
            rows.retain(|row| row["name"] == "n3" && from == "n2");
            for row in rows {
                row["direction"] = "in".into();
            }
            Json(s.said(told)).into_response()
        }
    }
}

fn paths() -> Value {
    let row = |name: &str,
               state: &str,
               since: Option<&str>,
               direction: Option<&str>,
               unanswered: u32,
               through: &[&str]| {
        let through: Vec<Value> = through.iter().map(|name| json!({ "name": name, "ms_ago": 400 })).collect();
        json!({
            "name": name, "id": "76c6806e", "address": "10.0.0.9:4327", "state": state, "since": since,
            "direction": direction, "unanswered": unanswered, "last_direct_ms_ago": 12_300, "rtt_ms": 0.41,
            "through": through
        })
    };
    json!({ "self": "n1", "at": TIME, "paths": [
        row("n10", "up", None, None, 0, &[]),
        row("n2", "up", Some(TIME), None, 2, &[]),
        row("n3", "down", Some(TIME), Some("out"), 9, &["n2", "n4"]),
        { "name": "n5", "id": "", "address": "10.0.0.5:4327", "state": "unknown" },
    ]})
}

struct Fake {
    dir: TempDir,
    socket: PathBuf,
    state: Arc<FakeState>,
    watched: mpsc::Receiver<()>,
}

struct FakeState {
    quorum: Mutex<String>,
    /// Why quorum is as it is.
    reason: Mutex<String>,
    members: Mutex<Value>,
    /// Everything that it says is full of control characters.
    poison: AtomicBool,
    /// So many streams more are refused for now.
    busy: AtomicU64,
    generation: AtomicU64,
    query: Mutex<Vec<(String, String)>>,
    wishes: Mutex<Vec<(&'static str, Value)>>,
    /// What the stream says after its snapshot, whether it has ended, and how often it was cut.
    log: tokio::sync::watch::Sender<(Vec<String>, bool, u64)>,
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
            reason: Mutex::new("because".to_owned()),
            members: Mutex::new(members()),
            poison: AtomicBool::new(false),
            busy: AtomicU64::new(0),
            generation: AtomicU64::new(1_795_000_000_000),
            query: Mutex::default(),
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
                    me["quorum"] = s.quorum();
                    Json(s.said(me))
                }),
            )
            .route("/v1/history", get(async |State(s): State<Arc<FakeState>>| Json(s.said(history()))))
            .route("/v1/history/{name}", get(async |State(s): State<Arc<FakeState>>| Json(s.said(past()))))
            .route("/v1/paths", get(told_paths))
            .route("/v1/services", get(async |State(s): State<Arc<FakeState>>| Json(s.said(services()))))
            .route("/v1/quorum", get(async |State(s): State<Arc<FakeState>>| Json(s.said(s.quorum()))))
            .route(
                "/v1/version",
                get(async |State(s): State<Arc<FakeState>>| {
                    Json(s.said(json!({ "version": "9.9.9", "protocol_min": 1, "protocol_max": 2 })))
                }),
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

    fn set(&self, name: &str, field: &str, value: Value) {
        let mut members = self.state.members.lock().unwrap();
        let list = members["members"].as_array_mut().unwrap();
        list.iter_mut().find(|member| member["name"] == name).unwrap()[field] = value;
    }

    fn set_tag(&self, name: &str, key: &str, value: &str) {
        self.set(name, "tags", json!({ key: value }));
    }

    fn set_names(&self, names: &[&str]) {
        let mut members = self.state.members.lock().unwrap();
        for (member, name) in members["members"].as_array_mut().unwrap().iter_mut().zip(names) {
            member["name"] = json!(name);
        }
    }

    /// From now on it says nothing that a terminal could stand.
    fn poison(&self) {
        self.state.poison.store(true, Ordering::Relaxed);
    }

    fn last_query(&self) -> Vec<(String, String)> {
        self.state.query.lock().unwrap().clone()
    }

    /// Ends the streams there are, and takes new ones.
    fn cut(&self) {
        self.state.log.send_modify(|log| log.2 += 1);
    }

    /// A new life.
    fn restart(&self) {
        self.state.generation.fetch_add(1, Ordering::Relaxed);
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

    /// Blocks until a client follows the stream.
    fn once_watched(&self) {
        self.watched.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}

impl FakeState {
    fn quorum(&self) -> Value {
        let mut quorum = quorum(&self.quorum.lock().unwrap());
        if quorum["reason"] != "" {
            quorum["reason"] = json!(*self.reason.lock().unwrap());
        }
        quorum
    }

    fn said(&self, value: Value) -> Value {
        if self.poison.load(Ordering::Relaxed) { poisoned(&value) } else { value }
    }
}

/// Adds dirt to every text but those that are words of the contract or times.
fn poisoned(value: &Value) -> Value {
    const WORDS: [&str; 10] =
        ["alive", "suspect", "down", "left", "held", "lost", "unsettled", "silent", "refused", TIME];
    match value {
        Value::String(text)
            if WORDS.contains(&text.as_str()) || text.starts_with("member-") || text == "snapshot" =>
        {
            value.clone()
        }
        Value::String(text) => json!(format!("{text}{DIRT}")),
        Value::Array(all) => all.iter().map(poisoned).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), poisoned(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A line that is forged, an escape sequence in seven and in eight bits, and what turns or hides text.
const DIRT: &str = "\nFORGED\r\x1b]0;owned\x07\x1b[2J\x1b[7m\u{9b}2J\u{202e}\u{2066}\u{200b}\u{feff}\u{61c}\u{e0041}\u{fe0f}\u{3164}\u{2028}\x7f";

/// A command whose output is read while it runs; killed at the end.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    remarks: mpsc::Receiver<String>,
    last: Value,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let remarks = lines_of(child.stderr.take().unwrap());
        Self { child, lines, remarks, last: Value::Null }
    }

    fn line(&mut self) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(20)).expect("no further line");
        self.last = serde_json::from_str(&line).unwrap();
        self.last.clone()
    }

    /// Blocks until it says so on standard error.
    fn says(&self, words: &str) {
        while !self.remarks.recv_timeout(Duration::from_secs(20)).expect(words).contains(words) {}
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(child: &Child, signal: &str) {
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
}

/// What it shows on a terminal of so many columns.
fn on_terminal(mut command: Command, columns: u16, colour: bool) -> String {
    let size = nix::pty::Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(&size, None).unwrap();
    command.env("TERM", "xterm").stdout(terminal.slave);
    if !colour {
        command.env("NO_COLOR", "1");
    }
    let mut child = command.spawn().unwrap();
    // Its own end of the terminal, so that reading ends with the child.
    drop(command);
    let mut shown = Vec::new();
    // Ends with an error once the other side is closed.
    let _ = std::fs::File::from(terminal.master).read_to_end(&mut shown);
    child.wait().unwrap();
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

/// Without colours.
fn anstream_free(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Read elsewhere, so that a missing line does not hang the test.
fn lines_of(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (to, lines) = mpsc::channel();
    let from = BufReader::new(from);
    std::thread::spawn(move || from.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
    lines
}

fn pid_in(file: &std::path::Path) -> String {
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

/// Whether the process lives; one that is dead and not buried does not.
fn is_there(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("in vain: {what}");
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
async fn some(
    State(state): State<Arc<FakeState>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Json<Value> {
    let mut all = state.said(state.members.lock().unwrap().clone());
    let wanted =
        |key: &str| query.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    let (statuses, tags) = (wanted("status"), wanted("tag"));
    all["members"].as_array_mut().unwrap().retain(|m| {
        let has = |tag: &&str| match tag.split_once('=') {
            Some((key, value)) => m["tags"][key] == value,
            None => !m["tags"][tag].is_null(),
        };
        (statuses.is_empty() || statuses.contains(&m["status"].as_str().unwrap())) && tags.iter().all(has)
    });
    Json(all)
}

async fn one(State(state): State<Arc<FakeState>>, Path(name): Path<String>) -> Response {
    if name == "html" {
        return (StatusCode::BAD_GATEWAY, "<html>").into_response();
    }
    let members = state.members.lock().unwrap();
    match members["members"].as_array().unwrap().iter().find(|m| m["name"] == name.as_str()) {
        Some(member) => Json(state.said(member.clone())).into_response(),
        None => problem(StatusCode::NOT_FOUND, &format!("no member is called {name}")),
    }
}

async fn watch(State(state): State<Arc<FakeState>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let busy = state.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if busy.is_ok() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "256 event streams are open to this agent");
    }
    let generation = state.generation.load(Ordering::Relaxed);
    let number = |wanted: &str| -> Option<u64> {
        query.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.parse().unwrap())
    };
    let since = number("since");
    if since.is_some_and(|n| n < 10) || number("generation").is_some_and(|life| life != generation) {
        return problem(StatusCode::GONE, "the log of this agent begins at 10");
    }
    *state.query.lock().unwrap() = query;
    let mut snapshot = state.said(json!({
        "type": "snapshot", "index": 11, "time": TIME, "name": "n1", "members": members()["members"],
    }));
    snapshot["generation"] = json!(generation);
    let first = since.is_none().then(|| format!("{snapshot}\n"));
    let receiver = state.log.subscribe();
    let index = |line: &str| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap();
    let at = receiver.borrow().0.iter().filter(|line| since.is_some_and(|n| index(line) <= n)).count();
    let cuts = receiver.borrow().2;
    let lines = futures_util::stream::unfold((first, receiver, at), move |(first, mut log, at)| async move {
        if let Some(line) = first {
            return Some((Ok::<_, std::io::Error>(line), (None, log, at)));
        }
        let over =
            log.wait_for(|(lines, ended, now)| lines.len() > at || *ended || *now != cuts).await.ok()?;
        let line = over.0.get(at).cloned()?;
        drop(over);
        Some((Ok(line), (None, log, at + 1)))
    });
    // Most tests do not listen.
    let _ = state.watchers.lock().unwrap().send(());
    Body::from_stream(lines).into_response()
}

async fn wish(State(state): State<Arc<FakeState>>, Path(wish): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let (verb, answer) = match wish.as_str() {
        "join" => {
            let joined = body["seeds"][0] != "nobody";
            let answer = json!({ "dialled": body["seeds"], "joined": joined, "members": 5 });
            ("join", Json(state.said(answer)).into_response())
        }
        "beat" => {
            ("beat", Json(json!({ "beating": true, "within_seconds": 9.0, "last": TIME })).into_response())
        }
        "reload" => {
            let answer = json!({ "changed": ["seeds", "tags.role"], "restart": ["interval"] });
            ("reload", Json(state.said(answer)).into_response())
        }
        "leave" => ("leave", Json(json!({ "acknowledged": 3, "asked": 4 })).into_response()),
        "testify" => (
            "testify",
            match body["source"].as_str().unwrap() {
                "libvirt" => StatusCode::NO_CONTENT.into_response(),
                other => problem(StatusCode::BAD_REQUEST, &format!("{other:?} does not name a source")),
            },
        ),
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
            let detail = state.said(json!("only root may do that"));
            ("tags", problem(StatusCode::FORBIDDEN, detail.as_str().unwrap()))
        }
        "tags" => {
            let mut me = member("n1");
            me["tags"] = body["set"].clone();
            ("tags", Json(state.said(me)).into_response())
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
        "down_as_of": null, "last_words": false, "outlook": "a newer heartbeat of it clears it",
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
        "started": TIME, "encrypted": true, "keys": [112, 37], "joined": true, "isolated": false, "leaving": false,
        "local_health": 0, "peers_agreeing": 3, "peers_known": 4,
        "news_delay": { "median_seconds": 0.05, "slowest_seconds": 0.214, "beacons": 12 },
        "counts": { "alive": 2, "suspect": 1, "down": 1, "left": 1 }, "quorum": quorum("held"),
        "seeds": [
            { "name": "seeds.example", "addresses": ["10.0.0.2:4327"], "error": null },
            { "name": "typo.example", "addresses": [], "error": "no such host" },
        ],
        "conditions": ["clock is 3 s ahead of most peers"],
        "version": { "version": "9.9.9", "protocol_min": 1, "protocol_max": 2 },
    })
}

fn history() -> Value {
    let mut down = event(12, "member-down", "n3", "down");
    down["acceptable_pause_seconds"] = json!(2.0);
    down["evidence"] = member("n3")["evidence"].clone();
    down["evidence"]["accusations"][0]["since"] = json!("2026-11-20T11:59:57.000000Z");
    down["evidence"]["accusations"][0]["proven"] = json!(true);
    down["evidence"]["case"] = json!({
        "phi": 9.5, "pieces": [{ "kind": "direct", "phi": 6.5, "count": 4, "first": TIME, "last": TIME }],
        "witnesses": ["n1", "n2"], "needed": 2, "proven": 2, "refused": 0, "unfit": 0, "pause_left_seconds": 0.0,
        "basis": 812, "held": false,
    });
    let missing = json!({
        "type": "left-out", "index": 0, "time": TIME, "left_out": 3, "reason": "3 events are left out here",
    });
    json!({
        "self": "n1", "kept": "memory", "oldest": TIME, "more": false, "damaged": 1, "left_out": 2,
        "entries": [event(11, "member-suspect", "n3", "suspect"), down, missing],
    })
}

fn past() -> Value {
    let entries = history()["entries"].clone();
    json!({
        "self": "n1", "name": "n3", "at": "2026-11-20T12:00:05.000000Z", "status": "down", "entry": entries[1],
        "suspected": entries[0], "then": [event(14, "member-alive", "n3", "alive")], "gap": true, "kept": "disk",
        "oldest": TIME, "started": null,
        "pause": {
            "acceptable_seconds": 2.0, "silent_seconds": 3.12, "would_have_held_seconds": 7.5,
            "reason": "it was silent for so long, and then went on",
        },
    })
}

/// `none`: there is no electorate.
fn quorum(word: &str) -> Value {
    if word == "none" {
        return json!({ "quorum": "lost", "present": 3, "needed": 0, "expected": null, "reason": "", "since": TIME });
    }
    json!({ "quorum": word, "present": 3, "needed": 3, "expected": 5, "reason": "because", "since": TIME })
}

fn event(index: u64, kind: &str, name: &str, status: &str) -> Value {
    json!({
        "type": kind, "index": index, "time": TIME, "name": name, "generation": 1_795_000_000_000_u64,
        "status": status, "by": ["n1", "n2"], "reason": "refused by its host",
    })
}

const TIME: &str = "2026-11-20T12:00:00.123456Z";
