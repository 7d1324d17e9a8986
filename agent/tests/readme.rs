//! The documentation names nothing that does not exist: verbs, flags, settings, scenarios, files, headings.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that trips over is a test that fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_command_in_the_documentation_exists_with_its_flags() {
    let mut helps = BTreeMap::new();
    let mut seen = 0;
    for (path, text) in pages() {
        for words in commands(&text) {
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
        for target in prose(text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(there.exists(), "{}: link to {target}: no such file", path.display());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&there).unwrap();
                let found = prose(&text).lines().filter(|l| l.starts_with('#')).any(|l| slug(l) == anchor);
                assert!(found, "{}: link to {target}: no such heading", path.display());
            }
        }
    }
    assert!(pages.len() > 4, "{} pages", pages.len());
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
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    paths.sort();
    paths.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
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
                || (verbs.len() == 1 && ["config", "tags"].contains(&verbs[0].as_str())) =>
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
