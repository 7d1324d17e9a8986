//! The documentation names nothing that does not exist: verbs, flags, settings, scenarios, files, headings. Its code runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that trips over is a test that fails"
)]
#![allow(clippy::disallowed_methods, reason = "a program of one's own has a clock of its own")]

mod embed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use heartsay_membership::Event;

#[test]
fn every_command_in_the_documentation_exists_with_its_flags() {
    let mut helps = BTreeMap::new();
    let mut seen = 0;
    for (path, text) in pages() {
        for words in commands(&text) {
            // The default build does not have it.
            if words.iter().any(|word| word == "kubernetes") && !cfg!(feature = "kubernetes") {
                continue;
            }
            let (verbs, help) = explained(&words, &mut helps);
            // What follows `--` belongs to another program.
            for flag in words
                .iter()
                .take_while(|word| *word != "--")
                .filter(|word| word.starts_with('-') && word.len() > 1)
            {
                let flag = flag.split('=').next().unwrap();
                let known = help.split(|c: char| !(c.is_alphanumeric() || c == '-')).any(|word| word == flag);
                assert!(known, "{}: heartsay {} has no {flag}: {words:?}", path.display(), verbs.join(" "));
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} commands found: is the documentation read at all?");
}

#[test]
fn every_setting_is_documented_and_every_documented_setting_exists() {
    let defaults = heartsay(&["config", "default"]);
    let settings: BTreeSet<&str> = defaults
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once(" = "))
        .map(|(key, _)| key)
        .filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let table = operations.split("| in the file |").nth(1).unwrap().split("\n\n").next().unwrap();
    let documented: BTreeSet<&str> =
        table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(settings, documented);
}

#[test]
fn every_scenario_in_the_documentation_is_shipped() {
    let mut seen = 0;
    for (path, text) in pages() {
        let words: Vec<&str> = text.split_whitespace().collect();
        for three in words.windows(3) {
            let runs = ["run", "replay", "sweep", "show"].contains(&three[1]);
            let scenario = three[2].trim_matches(|c: char| !c.is_alphanumeric());
            if three[0].ends_with("heartsay-sim") && runs && !three[2].starts_with('-') {
                let file = root().join("simulator/scenarios").join(format!("{scenario}.toml"));
                // Those drawn from a seed are replayed by that name.
                let drawn = three[1] == "replay" && scenario == "swarm";
                assert!(drawn || file.exists(), "{}: no scenario {scenario}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "only {seen} scenarios found");
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    for (path, text) in &pages {
        for target in targets(text) {
            if let Some(broken) = broken(path, &target) {
                panic!("{}: link to {target}: {broken}", path.display());
            }
        }
    }
    assert!(pages.len() > 15, "{} pages", pages.len());
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = root().join("docs/decisions.md");
    let found = |text: &str| targets(text).iter().filter(|target| broken(&page, target).is_some()).count();
    assert_eq!(
        found("[a](../README.md) ![b](scale-law.svg) [c](protocol.md#1-promises) <img src='scale-law.svg'>"),
        0
    );
    assert_eq!(found("[a](../READ.md) ![b](law.svg) [c](protocol.md#1-threats) [d](#nothing)"), 4);
    assert_eq!(found("<img src=\"no.svg\"> <a href='no.md'>a</a>\n\n[b]: no.md\n"), 3);
    assert_eq!(found("```\n[a](no.md)\n```\n`[b](no.md)` [c](https://example.org/no.md)"), 0);
}

#[test]
fn every_page_of_the_documentation_is_in_its_index() {
    let docs = root().join("docs");
    let index = fs::read_to_string(docs.join("README.md")).unwrap();
    let listed: BTreeSet<PathBuf> =
        targets(&index).iter().map(|target| docs.join(target.split('#').next().unwrap())).collect();
    for (path, _) in pages().iter().filter(|(path, _)| path.parent() == Some(&docs)) {
        assert!(
            path.ends_with("README.md") || listed.contains(path),
            "docs/README.md leaves out {}",
            path.display()
        );
    }
}

/// Whole lines of Rust in the documentation stand in `embed`, which is compiled and run, or in an example.
#[test]
fn the_code_in_the_documentation_is_the_code_that_runs() {
    let flush = |code: &str| code.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let files =
        ["agent/tests/embed/mod.rs", "agent/tokio/examples/three.rs", "agent/client/examples/follow.rs"];
    let files = files.map(|file| root().join(file));
    let code = files.map(|file| flush(&fs::read_to_string(file).unwrap())).join("\n");
    let mut seen = 0;
    for (path, text) in pages() {
        for block in text.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            assert!(
                code.contains(flush(block).trim()),
                "{}: in no file that is compiled:\n{block}",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 2, "only {seen} pieces of code found");
}

#[test]
fn two_members_driven_by_the_documented_loop_meet() {
    let sockets = ["m1", "m2"].map(|name| (name, UdpSocket::bind("127.0.0.1:0").unwrap()));
    let seed = sockets[0].1.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    for (name, socket) in sockets {
        let tell = tell.clone();
        thread::spawn(move || {
            let heard = |event| {
                if let Event::Member(event) = event {
                    let _ = tell.send((name, event.name.to_string()));
                }
            };
            embed::start(name, &socket, seed, heard).map_err(|e| e.to_string())
        });
    }
    drop(tell);
    let mut met = BTreeSet::new();
    while met.len() < 2 {
        met.insert(told.recv_timeout(Duration::from_secs(20)).expect("they do not meet"));
    }
    assert_eq!(met, BTreeSet::from([("m1", "m2".to_owned()), ("m2", "m1".to_owned())]));
}

#[test]
fn headings_become_anchors_as_on_the_usual_hosts() {
    assert_eq!(slug("## Why no TCP between agents?"), "why-no-tcp-between-agents");
    assert_eq!(
        slug("### Why is an accusation *as of a heartbeat*?"),
        "why-is-an-accusation-as-of-a-heartbeat"
    );
    assert_eq!(slug("### everybody's"), "everybodys");
}

/// The pages that people read, each with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    markdown(&root().join("docs"), &mut paths);
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(top.filter(|path| path.extension().is_some_and(|e| e == "md")));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The Markdown files in `folder` and below.
fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            markdown(&path, found);
        } else if path.extension().is_some_and(|e| e == "md") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The words after `heartsay` of each command in a code block or between backticks.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut code = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line);
        } else {
            code.extend(line.split('`').skip(1).step_by(2));
        }
    }
    let alone = |word: &String| word != "heartsay";
    code.iter()
        .flat_map(|line| simple_commands(line.trim().trim_start_matches("$ ")))
        .filter(|words| words.first().is_some_and(|first| first == "heartsay") && words.len() > 1)
        // `heartsay: ...` and `heartsay agent version=...` are what the program says, not what is typed.
        .filter(|words| !words[1].contains(':') && !words.iter().any(|word| word.contains("=\"")))
        // Nor are rows of a table of results, in which the name stands before numbers.
        .filter(|words| {
            words.iter().any(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()) && word != "heartsay")
        })
        .map(|words| words.into_iter().skip_while(|word| !alone(word)).collect())
        .collect()
}

/// Splits a line at pipes, `&&`, `;` and comments, and each part into words. Quoted text is one word.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![vec![String::new()]];
    let mut quote = None;
    for c in line.chars() {
        let words = all.last_mut().unwrap();
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => words.last_mut().unwrap().push('\u{b7}'),
            (None, '\'' | '"') => {
                quote = Some(c);
                words.last_mut().unwrap().push(c);
            }
            (None, '#') if words.last().unwrap().is_empty() => break,
            (None, '|' | '&' | ';') => all.push(vec![String::new()]),
            (None, ' ') => words.push(String::new()),
            (None, _) => words.last_mut().unwrap().push(c),
        }
    }
    all.into_iter().map(|words| words.into_iter().filter(|word| !word.is_empty()).collect()).collect()
}

/// The verb of a command (two words where verbs have verbs) and its help.
fn explained(words: &[String], helps: &mut BTreeMap<Vec<String>, String>) -> (Vec<String>, String) {
    let mut verbs: Vec<String> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--socket" | "-o" => drop(words.next()),
            word if word.starts_with('-') => {
                if !verbs.is_empty() {
                    break;
                }
            }
            word if verbs.is_empty()
                || (verbs.len() == 1
                    && ["config", "kubernetes", "service", "tags"].contains(&verbs[0].as_str())) =>
            {
                verbs.push(word.to_owned());
            }
            _ => break,
        }
    }
    let help = helps.entry(verbs.clone()).or_insert_with(|| {
        let args: Vec<&str> = verbs.iter().map(String::as_str).chain(["--help"]).collect();
        heartsay(&args)
    });
    (verbs.clone(), help.clone())
}

/// What `heartsay` prints; it has to succeed.
fn heartsay(args: &[&str]) -> String {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("heartsay");
    let output = command.args(args).output().unwrap();
    assert!(
        output.status.success(),
        "heartsay {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Where the links and pictures of a page lead, but for those to other hosts.
fn targets(text: &str) -> Vec<String> {
    let text: String =
        prose(text).lines().map(|line| line.split('`').step_by(2).collect::<String>() + "\n").collect();
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let named =
        text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, to)| to.trim());
    let html = ["src=", "href=", "srcset="].map(|name| text.split(name).skip(1));
    let html = html.into_iter().flatten().filter_map(|rest| rest.get(1..)?.split(['"', '\'']).next());
    let all = inline.chain(named).chain(html).filter(|target| !target.contains(':'));
    all.map(str::to_owned).collect()
}

/// What is wrong with a link of the page at `path`.
fn broken(path: &Path, target: &str) -> Option<&'static str> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let there = if file.is_empty() { path.to_owned() } else { path.parent()?.join(file) };
    if !there.exists() {
        return Some("no such file");
    }
    if anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(&there).ok()?;
    let found = prose(&text).lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
    (!found).then_some("no such heading")
}

/// The text without code blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
