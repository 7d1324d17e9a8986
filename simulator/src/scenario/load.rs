//! Reading a scenario: TOML, then overrides, then the questions that types cannot ask.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use super::validate::{Complaint, List, Place, check};
use super::{Scenario, shipped::source};

/// Why a scenario is no scenario. The user's fault; nothing has run.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Neither a shipped scenario nor a readable file.
    #[error("no scenario {name:?}: {why}{}", hint(.nearest.as_deref()))]
    Unknown {
        /// As asked for.
        name: String,
        /// What the file system said.
        why: String,
        /// The shipped name that looks most like it.
        nearest: Option<String>,
    },
    /// Not TOML, or a key or value that means nothing.
    #[error("{text}{}", hint(.nearest.as_deref()))]
    Text {
        /// What and where.
        text: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// An override that cannot be applied.
    #[error("--set {set}: {why}")]
    Set {
        /// As given.
        set: String,
        /// Why not.
        why: String,
    },
    /// A combination that makes no sense.
    #[error("{0}")]
    Sense(String),
}

/// Loads a shipped scenario by name, or a file, and applies `sets` (`key=value`).
///
/// # Errors
/// See [`Problem`].
pub fn load(name: &str, sets: &[String]) -> Result<Scenario, Problem> {
    if let Some(text) = source(name) {
        return parse(text, sets);
    }
    match std::fs::read_to_string(name) {
        Ok(text) => parse(&text, sets),
        Err(error) => Err(Problem::Unknown {
            name: name.to_owned(),
            why: format!("not shipped, and as a file: {error}"),
            nearest: nearest(name, super::shipped()),
        }),
    }
}

/// Reads a scenario from text and applies `sets`.
///
/// # Errors
/// See [`Problem`].
pub fn parse(text: &str, sets: &[String]) -> Result<Scenario, Problem> {
    // The text alone first: only then do errors carry lines.
    let mut scenario: Scenario = toml::from_str(text).map_err(|error| unreadable(&error))?;
    if !sets.is_empty() {
        let mut table: Table = toml::from_str(text).map_err(|error| unreadable(&error))?;
        for set in sets {
            apply(&mut table, set).map_err(|why| Problem::Set { set: set.clone(), why })?;
        }
        scenario = Scenario::deserialize(table).map_err(|error| unreadable(&error))?;
    }
    check(&scenario).map_err(|complaint| senseless(text, sets, complaint))?;
    Ok(scenario)
}

/// A complaint with the line that it is about, if the text has it and no override took its place.
fn senseless(text: &str, sets: &[String], complaint: Complaint) -> Problem {
    let Complaint { text: why, place } = complaint;
    let line = place.filter(|place| !is_overridden(sets, place)).and_then(|place| line(text, &place));
    Problem::Sense(line.map_or_else(|| why.clone(), |line| format!("line {line}: {why}")))
}

fn is_overridden(sets: &[String], place: &Place) -> bool {
    let list = match place.list {
        List::Faults => "fault",
        List::Links => "network.link",
    };
    let key = format!("{list}.{}.{}", place.entry, place.key);
    sets.iter().any(|set| set.split_once('=').is_some_and(|(set, _)| set.trim() == key))
}

/// Where the text has this key, counted from 1.
fn line(text: &str, place: &Place) -> Option<usize> {
    let places: Places = toml::from_str(text).ok()?;
    let list = match place.list {
        List::Faults => &places.fault,
        List::Links => &places.network.link,
    };
    let start = list.get(place.entry)?.get(place.key)?.span().start;
    Some(text.get(..start)?.matches('\n').count() + 1)
}

/// Where the keys of a scenario's lists stand in its text.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Places {
    fault: Vec<BTreeMap<String, Spanned<Value>>>,
    network: NetworkPlaces,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NetworkPlaces {
    link: Vec<BTreeMap<String, Spanned<Value>>>,
}

/// Puts `value` at the dotted `key` of `table`; numbers go into lists (`fault.0.who=10`).
fn apply(table: &mut Table, set: &str) -> Result<(), String> {
    let (key, text) = set.split_once('=').ok_or("write key=value")?;
    // A bare word is text: --set network.rtt=5ms needs no quotes.
    let value = toml::from_str::<Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().ok_or("write key=value")?;
    let mut at = table;
    let mut parts = parts.into_iter();
    while let Some(part) = parts.next() {
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        at = match next {
            Value::Table(inner) => inner,
            Value::Array(list) => {
                let index = parts
                    .next()
                    .ok_or_else(|| format!("{part} is a list; name one of it, as in {part}.0"))?;
                let index: usize =
                    index.parse().map_err(|_| format!("{part} is a list; {index:?} is no number"))?;
                let entries = list.len();
                match list.get_mut(index) {
                    Some(Value::Table(inner)) => inner,
                    _ => return Err(format!("{part} has {entries} entries, counted from 0")),
                }
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => return Err(format!("{part} holds a single value")),
        };
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// An error of the TOML reader with the name that was probably meant. The
/// reader quotes the unknown word first and the words it knows after it.
fn unreadable(error: &toml::de::Error) -> Problem {
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    let unknown = error.message().starts_with("unknown ").then(|| quoted.next()).flatten();
    let nearest = unknown.and_then(|unknown| nearest(unknown, quoted));
    Problem::Text { text: error.to_string().trim_end().to_owned(), nearest }
}

pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|k| (strsim::jaro_winkler(unknown, k), k))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k.to_owned())
}

pub(super) fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!("\ndid you mean `{n}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Who;

    const SMALL: &str = "name = 'x'\nabout = 'y'\nnodes = 8\nduration = '10s'\n";

    fn complaint(text: &str, sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        parse(&format!("{SMALL}{text}"), &sets).map(|_| ()).expect_err("should be refused").to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
        let text = complaint("[network]\nlos = 0.1", &[]);
        assert!(text.contains("line 6") && text.contains("did you mean `loss`?"), "{text}");
        let text = complaint("[[fault]]\nwhat = 'vansih'\nat = '1s'", &[]);
        assert!(text.contains("did you mean `vanish`?"), "{text}");
        let text = complaint("[budget]\ndown-p9 = '1s'", &[]);
        assert!(text.contains("did you mean `down-p99`?"), "{text}");
    }

    #[test]
    fn combinations_without_sense_are_refused_in_words() {
        for (text, words) in [
            ("[[fault]]\nwhat = 'crash'\nat = '1s'\nsend = 0.5", "`send` means nothing here"),
            ("[[fault]]\nwhat = 'crash'\nat = '11s'", "after the end"),
            ("[[fault]]\nwhat = 'crash'\nat = '1s'\nwho = 9", "the cluster has 8"),
            ("[[fault]]\nwhat = 'crash'\nat = '1s'\nwho = 'n8'", "they are n0 to n7"),
            ("[[fault]]\nwhat = 'crash'\nat = '1s'\nwho = 0", "at least 1"),
            ("[[fault]]\nwhat = 'partition'\nat = '1s'", "`sides` is missing"),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\non = '1s'", "come together"),
            ("[network]\nloss = 1.5", "between 0 and 1"),
            ("[start]\ncontacts = 0", "would never meet"),
            ("[start]\nstate = 9000", "at most 8000 bytes"),
            ("[protocol]\ndatagram = 100", "protocol:"),
            ("[[fault]]\nwhat = 'crash'\nat = '1s'\nwithin = '9s'", "beyond the end"),
            ("[[fault]]\nwhat = 'crash'\nat = '1s'\nover = '10s'", "beyond the end"),
            ("[[fault]]\nwhat = 'crash'\nat = '1s'\nwho = '101%'", "no share"),
            ("[[fault]]\nwhat = 'join'\nat = '1s'\nwho = 65535", "at most 65535"),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\nfor = '0s'", "must not be zero"),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\non = '1s'\noff = '0s'", "must not be zero"),
            ("[[fault]]\nwhat = 'clock-drift'\nat = '1s'\nppm = -1000000", "between -900000 and 900000"),
            ("[[fault]]\nwhat = 'lossy'\nat = '1s'", "`send` and `receive`"),
            ("[[fault]]\nwhat = 'cut'\nat = '1s'\nfrom = 'n1'\nto = ['n1']", "cut off from itself"),
            ("[[fault]]\nwhat = 'cut'\nat = '1s'\nfrom = 'all'\nto = ['n1']", "no member for the other"),
            ("[[fault]]\nwhat = 'partition'\nat = '1s'\nsides = ['100%', '10%']", "no member for the last"),
            ("[[fault]]\nwhat = 'partition'\nat = '1s'\nsides = [['n1'], ['n1', 'n2']]", "from itself"),
            ("[start]\nevery = '2s'", "would start after the end"),
            (
                "[[fault]]\nwhat = 'partition'\nat = '1s'\nsides = ['n98', 'n99']",
                "no member is called \"n98\"",
            ),
            ("[[fault]]\nwhat = 'partition'\nat = '1s'\nsides = [['n1'], []]", "`sides`: an empty list"),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\nwho = []", "hits no member"),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\nwho = ['n1', 'n2', 'n1']", "n1 is named twice"),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\nwho = 'n07'", "no member is called \"n07\""),
            ("[[fault]]\nwhat = 'cut'\nat = '1s'\nfrom = 'n1'\nto = 'n9'", "`to`: no member is called"),
            ("[[fault]]\nwhat = 'refuse'\nat = '1s'\nfrom = 9\nto = 'n1'", "`from`: 9 members are asked for"),
            ("[[fault]]\nwhat = 'refuse'\nat = '1s'\nfrom = '100%'\nto = 1", "no member for the other"),
            ("[[fault]]\nwhat = 'join'\nat = '1s'\nwho = 'n9'", "newcomers are a number"),
            ("[[network.link]]\nfrom = 'n1'\nto = 'n8'", "network.link 1: `to`: no member is called"),
            ("[[network.link]]\nfrom = 9\nto = 'n1'", "9 members are asked for; the cluster has 8"),
            ("[protocol]\nelectorate = 'n1,n8'", "protocol.electorate: no member is called \"n8\""),
            ("[protocol]\nelectorate = '4+tie=n8'", "protocol.electorate: no member is called \"n8\""),
            ("[protocol]\nelectorate = 'zones:a=1'", "no [[network.zone]] is called \"a\""),
            ("[protocol]\nexpected = 'n1'", "named in protocol.electorate"),
            (
                "[[network.zone]]\nname = 'east'\n[[fault]]\nwhat = 'pause'\nat = '1s'\nwho = 'east'",
                "no member is called \"east\", and that is a zone: write { zone = \"east\" }; they are n0 to n7",
            ),
            ("[network]\nmtu = 10", "IPv4 promises 68"),
            ("[network]\nburst = { good = '0s', bad = '1s' }", "must not be zero"),
            (
                "[[network.zone]]\nname = 'a'\n[[network.path]]\nbetween = ['a', 'a']\nrtt = '1ms'\n\
                 burst = { good = '1s', bad = '1s', loss = 2 }",
                "network.path.burst.loss = 2: a share lies",
            ),
            ("[network]\nrtt = { uniform = { low = '5ms', high = '1ms' } }", "low 5ms is above"),
            ("[[network.zone]]\nname = 'a'\nweight = 0", "above zero"),
            ("[[network.zone]]\nname = 'a'\n[[network.zone]]\nname = 'a'", "there twice"),
            ("[protocol]\ninterval = '0s'", "interval must not be zero"),
            ("[protocol]\nwitnesses = 0", "witnesses must not be zero"),
            ("[protocol]\nphi-threshold = -1", "above zero"),
            ("[budget]\nbytes-mean = -1", "never kept"),
            ("[[network.path]]\nbetween = ['a', 'b']\nrtt = '1ms'", "no zone is called \"a\"; there is no"),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\nwho = { zone = 'a' }", "`who`: no zone is called \"a\""),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\nwho = { zone = [] }", "hits no member"),
            ("[[fault]]\nwhat = 'pause'\nat = '1s'\nwho = { site = 'a' }", "unknown field `site`"),
            ("[[fault]]\nwhat = 'join'\nat = '1s'\nwho = { zone = 'a' }", "newcomers are a number"),
            ("[protocol]\nexpected = { zone = 'a' }", "protocol.expected = \"zone a\""),
            (
                "[[network.zone]]\nname = 'east'\n[[fault]]\nwhat = 'partition'\nat = '1s'\nsides = [{ zone = 'eats' }, 1]",
                "they are east\ndid you mean `east`?",
            ),
            (
                "[[network.zone]]\nname = 'a'\nweight = 99\n[[network.zone]]\nname = 'b'\n\
                 [[fault]]\nwhat = 'pause'\nat = '1s'\nwho = { zone = 'b' }",
                "zone b has no member where nodes = 8",
            ),
            (
                "[[network.zone]]\nname = 'a'\n[[network.zone]]\nname = 'b'\n\
                 [[fault]]\nwhat = 'partition'\nat = '1s'\nsides = [{ zone = 'a' }, ['n3']]",
                "n3 would be cut off from itself",
            ),
        ] {
            let complaint = complaint(text, &[]);
            assert!(complaint.contains(words), "{text}: {complaint}");
        }
        assert!(complaint("", &["nodes=0"]).contains("at least one member"));
    }

    #[test]
    fn a_complaint_about_a_target_names_its_line_unless_an_override_took_its_place() {
        let text = "[[fault]]\nwhat = 'crash'\nat = '1s'\n[[fault]]\nwhat = 'pause'\nat = '1s'\nwho = 'n8'";
        let said = complaint(text, &[]);
        assert_eq!(said, "line 11: fault 2 (pause): `who`: no member is called \"n8\"; they are n0 to n7");
        let said = complaint(text, &["fault.1.who=n9", "nodes=9"]);
        assert_eq!(said, "fault 2 (pause): `who`: no member is called \"n9\"; they are n0 to n8");
        let said = complaint("[[network.link]]\nto = 'n0'\nfrom = 'n8'", &["duration=20s"]);
        assert!(said.starts_with("line 7: network.link 1: `from`"), "{said}");
        let said = complaint("[[fault]]\nwhat = 'pause'\nat = '11s'", &[]);
        assert!(said.starts_with("line 6: fault 1 (pause): at 11s"), "{said}");
    }

    #[test]
    fn overrides_reach_every_key() {
        let text = format!("{SMALL}[[fault]]\nwhat = 'crash'\nat = '1s'");
        let sets = ["nodes=16", "network.rtt=5ms", "fault.0.who=3", "protocol.fanout=7"];
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        let scenario = parse(&text, &sets).expect("sound");
        assert_eq!(scenario.nodes, 16);
        assert_eq!(scenario.faults[0].who, Some(Who::Count(3)));
        assert_eq!(scenario.network.rtt, crate::scenario::Delay::Constant(crate::scenario::Span::ms(5)));
        assert_eq!(scenario.protocol.config(16).expect("sound").fanout, 7);
        assert!(complaint("", &["nodes"]).contains("key=value"));
        assert!(complaint("", &["fault.0.who=1"]).contains("fault"));
    }

    #[test]
    fn every_shipped_scenario_is_sound_and_named_like_its_file() {
        for name in crate::scenario::shipped() {
            let scenario = load(name, &[]).unwrap_or_else(|problem| panic!("{name}: {problem}"));
            assert_eq!(scenario.name, name);
        }
    }

    #[test]
    fn a_misspelt_scenario_gets_the_nearest_name() {
        let problem = load("crahs", &[]).map(|_| ()).expect_err("there is none");
        assert!(problem.to_string().contains("did you mean `crash`?"), "{problem}");
    }
}
