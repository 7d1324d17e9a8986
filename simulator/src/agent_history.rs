//! Verdicts that an agent's history has kept, and the scenario that each of them makes.
//!
//! Picture: the diagram of an accident, drawn from what witnesses wrote down. Where the cars stood is in it; how wet the road was
//! is not, and the drawing says so.
//!
//! The history holds one agent's view: who was called down when, on whose word, how long it had been silent, with which settings,
//! and when it was there again. From that comes a cluster of the same size with the same settings, in which as many members stand
//! still for as long. To a detector a process that stands still and a host whose network is gone are the same silence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use heartsay_membership::Name;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// What an agent has kept.
#[derive(Debug)]
pub struct AgentHistory {
    /// The oldest first.
    entries: Vec<Entry>,
}

/// What put a member out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Silence of at least so long; `ended`: then the same life was there again.
    Silence {
        /// From its first accusation to its return, or to the last entry about it.
        lasted: Duration,
        /// It came back.
        ended: bool,
        /// From its first accusation to the verdict.
        until_down: Duration,
    },
    /// Its host refused datagrams.
    Refused,
    /// Its host said that the process had ended.
    LastWords,
    /// Found unfit though it ran: its links lost too much, which is no silence.
    Unfit,
    /// Too much came at once, or an older agent wrote it: the evidence is not kept.
    Unknown,
}

/// One verdict.
#[derive(Debug)]
pub struct Case {
    /// The member.
    pub member: String,
    /// When it was called down.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// Members that were called down by silence within [`TOGETHER`] of it, it included.
    pub struck: BTreeSet<String>,
    /// The settings and figures of that moment, as far as they are kept.
    pub known: Known,
}

/// The settings and figures of the moment of a verdict.
#[derive(Clone, Debug)]
pub struct Known {
    /// Members of the cluster, and what says so.
    pub nodes: (usize, &'static str),
    /// The setting.
    pub acceptable_pause: Option<Duration>,
    /// The setting.
    pub phi_threshold: Option<f64>,
    /// Mean distance of its heartbeats, learnt from so many.
    pub heartbeats: Option<(Duration, u32)>,
    /// Round trip to it.
    pub rtt: Option<Duration>,
    /// Direct paths that were down around it, as the agent saw it.
    pub links_down: usize,
    /// Events are missing around it.
    pub gap: bool,
}

/// Why a text is no history.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Neither an answer of the API nor lines of it.
    #[error("line {line} is no entry of a history: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// What the reader of JSON said.
        why: serde_json::Error,
    },
    /// Nothing is in it.
    #[error("it has no entries")]
    Empty,
}

impl AgentHistory {
    /// Reads what `heartsay history -o jsonl` or `-o json` prints, or `history.json` of a bundle.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let entries = match serde_json::from_str::<Answer>(text) {
            Ok(answer) => answer.entries,
            Err(_) => text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(i, line)| {
                    serde_json::from_str(line).map_err(|why| Unreadable::Line { line: i + 1, why })
                })
                .collect::<Result<_, _>>()?,
        };
        if entries.is_empty() { Err(Unreadable::Empty) } else { Ok(Self { entries }) }
    }

    /// How many entries, and the times of the first and the last.
    #[must_use]
    pub fn extent(&self) -> (usize, Option<(Timestamp, Timestamp)>) {
        let ends = self.entries.first().zip(self.entries.last());
        (self.entries.len(), ends.map(|(first, last)| (first.time, last.time)))
    }

    /// Every verdict in it, the oldest first.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        let mut cases: Vec<Case> = (0..self.entries.len()).filter_map(|at| self.case(at)).collect();
        let silent: Vec<(String, Timestamp)> = cases
            .iter()
            .filter(|case| matches!(case.cause, Cause::Silence { .. }))
            .map(|case| (case.member.clone(), case.at))
            .collect();
        for case in &mut cases {
            let near = |at: &Timestamp| apart(*at, case.at) <= TOGETHER;
            case.struck = silent.iter().filter(|(_, at)| near(at)).map(|(name, _)| name.clone()).collect();
            case.struck.insert(case.member.clone());
        }
        cases
    }

    fn case(&self, at: usize) -> Option<Case> {
        let down = self.entries.get(at).filter(|entry| entry.kind == "member-down")?;
        let name = down.name.clone()?;
        let then = self
            .entries
            .iter()
            .skip(at + 1)
            .find(|entry| entry.name.as_ref() == Some(&name) && MOVES.contains(&entry.kind.as_str()));
        let evidence = down.evidence.as_ref();
        let near = |entry: &&Entry| apart(entry.time, down.time) <= AROUND;
        Some(Case {
            cause: cause(down, then),
            at: down.time,
            struck: BTreeSet::new(),
            known: Known {
                nodes: self.nodes(at),
                acceptable_pause: down.acceptable_pause_seconds.and_then(seconds),
                phi_threshold: evidence.map(|e| e.phi_threshold),
                heartbeats: evidence.and_then(|e| Some((seconds(e.mean_seconds)?, e.samples))),
                rtt: evidence.and_then(|e| e.rtt_seconds).and_then(seconds),
                links_down: self
                    .entries
                    .iter()
                    .filter(near)
                    .filter(|entry| entry.kind == "link" && entry.state.as_deref() == Some("down"))
                    .count(),
                gap: self.entries.iter().filter(near).any(|entry| entry.kind == "left-out"),
            },
            member: name,
        })
    }

    /// Members of the cluster at that entry: as quorum has counted them last, or those that are named before it.
    fn nodes(&self, at: usize) -> (usize, &'static str) {
        let before = || self.entries.iter().take(at + 1);
        let expected = before().rev().find_map(|entry| entry.quorum.as_ref()?.expected);
        if let Some(expected) = expected.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 1) {
            return (expected, "votes that quorum expects");
        }
        let mut there: BTreeMap<&str, bool> = BTreeMap::new();
        for entry in before() {
            for name in entry.name.iter().chain(entry.by.iter().flatten()) {
                there.entry(name).or_insert(true);
            }
            if let Some(name) = &entry.name {
                there.insert(name, !matches!(entry.kind.as_str(), "member-left" | "member-forgotten"));
            }
        }
        let named = there.values().filter(|there| **there).count();
        (named.max(FEWEST), "members that the history names: there may be more, --nodes says so")
    }
}

impl Case {
    /// The scenario in which this happens again; `None`: it is nothing that a scenario can say, nothing is known of it, or it
    /// took more than an hour, which would be longer to run than anybody waits.
    #[must_use]
    pub fn scenario(&self) -> Option<String> {
        let (fault, refusals, last_words, trouble) = match self.cause {
            Cause::Silence { lasted, .. } if lasted > LONGEST => return None,
            Cause::Silence { lasted, ended: true, .. } => {
                ("pause", false, false, lasted.max(Duration::from_millis(1)))
            }
            Cause::Silence { ended: false, .. } => ("vanish", false, false, Duration::ZERO),
            Cause::Refused => ("crash", true, false, Duration::ZERO),
            Cause::LastWords => ("crash", false, true, Duration::ZERO),
            Cause::Unfit | Cause::Unknown => return None,
        };
        let Known { nodes: (nodes, _), acceptable_pause, phi_threshold, heartbeats, rtt, .. } = &self.known;
        let pause = acceptable_pause.unwrap_or_default();
        let end = BEFORE + trouble + pause + AFTER;
        let about = format!("{} of {nodes} as an agent's history has it at {}.", self.struck.len(), self.at);
        let mut text = format!(
            "name = \"from-agent\"\nabout = \"{about}\"\nnodes = {nodes}\nduration = \"{}s\"\n\n[network]\nrefusals = {refusals}\n",
            end.as_secs() + 1
        );
        if let Some(rtt) = rtt {
            let _ = writeln!(text, "rtt = \"{}us\"", rtt.as_micros().max(1));
        }
        let profile = if rtt.is_some_and(|rtt| rtt > FAR) { "wan" } else { "lan" };
        let _ = write!(text, "\n[protocol]\nprofile = \"{profile}\"\nlast-words = {last_words}\n");
        if let Some(pause) = acceptable_pause {
            let _ = writeln!(text, "acceptable-pause = \"{}ms\"", pause.as_millis());
        }
        if let Some(phi) = phi_threshold {
            let _ = writeln!(text, "phi-threshold = {phi:?}");
        }
        let interval = self.interval();
        if heartbeats.is_some() {
            let _ = writeln!(text, "interval = \"{}ms\"", interval.as_millis());
        }
        let _ = write!(
            text,
            "\n[[fault]]\nwhat = \"{fault}\"\nat = \"{}s\"\nwithin = \"{}ms\"\nwho = {}\n",
            BEFORE.as_secs(),
            interval.as_millis(),
            self.struck.len().min(*nodes)
        );
        if !trouble.is_zero() {
            let _ = writeln!(text, "for = \"{}ms\"", trouble.as_millis());
        }
        Some(text)
    }

    /// Of its heartbeats, as it was set: the mean that was learnt, to the tenth of a second.
    fn interval(&self) -> Duration {
        let mean = self.known.heartbeats.map_or(USUAL, |(mean, _)| mean);
        let tenths = (mean.as_secs_f64() * 10.0).round().max(1.0);
        Duration::from_secs_f64(tenths / 10.0)
    }
}

/// What put it out, and what came of that.
fn cause(down: &Entry, then: Option<&Entry>) -> Cause {
    let Some(evidence) = &down.evidence else { return Cause::Unknown };
    if evidence.last_words {
        return Cause::LastWords;
    }
    let of = |kind: &str| evidence.accusations.iter().filter(|one| one.kind == kind && !one.weak).count();
    let (silent, refused, unfit) = (of("silent"), of("refused"), of("unfit"));
    if refused > 0 && refused >= silent {
        return Cause::Refused;
    }
    if unfit > silent {
        return Cause::Unfit;
    }
    let began = evidence
        .accusations
        .iter()
        .filter(|one| one.kind == "silent" && !one.weak)
        .map(|one| one.since)
        .min();
    let Some(began) = began else { return Cause::Unknown };
    let back = then.filter(|then| then.kind == "member-alive");
    let end = back.map_or(down.time, |back| back.time);
    if began > down.time || end < down.time {
        return Cause::Unknown;
    }
    Cause::Silence { lasted: apart(end, began), ended: back.is_some(), until_down: apart(down.time, began) }
}

fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.duration_since(other).unsigned_abs()
}

/// `None`: no agent has such a setting, or measures that.
fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST)
}

/// Of a member, as agents let it be; what else is in a file may move the cursor of who reads about it.
fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else { return Ok(None) };
    Name::new(&name).map(|_| Some(name)).map_err(D::Error::custom)
}

fn stamp<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// `GET /v1/history`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Answer {
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "stamp")]
    time: Timestamp,
    #[serde(default, deserialize_with = "name")]
    name: Option<String>,
    by: Option<Vec<String>>,
    state: Option<String>,
    quorum: Option<Quorum>,
    acceptable_pause_seconds: Option<f64>,
    evidence: Option<Evidence>,
}

#[derive(Debug, Deserialize)]
struct Quorum {
    expected: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Evidence {
    mean_seconds: f64,
    samples: u32,
    phi_threshold: f64,
    rtt_seconds: Option<f64>,
    #[serde(default)]
    last_words: bool,
    accusations: Vec<Accusation>,
}

#[derive(Debug, Deserialize)]
struct Accusation {
    kind: String,
    weak: bool,
    #[serde(deserialize_with = "stamp")]
    since: Timestamp,
}

/// What is said of a member after a verdict.
const MOVES: [&str; 6] =
    ["member-alive", "member-restart", "member-join", "member-left", "member-forgotten", "member-down"];
/// Verdicts so close to one another have one cause: a verdict by silence takes the acceptable pause, and doubts up to twice that.
pub const TOGETHER: Duration = Duration::from_secs(5);
/// What is told beside a case happened so close to it.
const AROUND: Duration = Duration::from_secs(30);
/// Members learn one another's rhythm for so long before the trouble.
const BEFORE: Duration = Duration::from_secs(40);
/// Longer silences, pauses and round trips are not run again.
const LONGEST: Duration = Duration::from_secs(3600);
/// For verdicts and returns.
const AFTER: Duration = Duration::from_secs(20);
/// Round trips above this are those between sites.
const FAR: Duration = Duration::from_millis(20);
/// As agents are shipped.
const USUAL: Duration = Duration::from_secs(1);
/// A cluster in which one can be called down by others.
const FEWEST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    /// `n4` of five stood still for six seconds: `kill -STOP`, `kill -CONT` in a real cluster.
    const STOPPED: &str = include_str!("../tests/data/stopped.jsonl");

    #[test]
    fn what_no_agent_writes_is_refused_or_not_run() {
        let escape = STOPPED.replace("\"m4\"", "\"m4\\u001b[2J\"").replace("\"n4\"", "\"n4\\u001b[2J\"");
        assert_ne!(escape, STOPPED);
        assert!(matches!(AgentHistory::read(&escape), Err(Unreadable::Line { .. })));
        assert_eq!([f64::MAX, 3601.0, -1.0, f64::NAN].map(seconds), [None; 4]);
        let silence = |lasted| Case {
            member: "m4".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            cause: Cause::Silence { lasted, ended: true, until_down: Duration::from_secs(2) },
            struck: BTreeSet::from(["m4".to_owned()]),
            known: Known {
                nodes: (5, ""),
                acceptable_pause: None,
                phi_threshold: None,
                heartbeats: None,
                rtt: None,
                links_down: 0,
                gap: false,
            },
        };
        assert!(silence(LONGEST).scenario().is_some());
        assert_eq!(silence(LONGEST * 8).scenario(), None, "a night would take minutes a run");
    }

    fn only(history: &str) -> Case {
        let mut cases = AgentHistory::read(history).unwrap().cases();
        cases.retain(|case| matches!(case.cause, Cause::Silence { .. }));
        assert_eq!(cases.len(), 1);
        cases.remove(0)
    }

    #[test]
    fn a_silence_is_as_long_as_its_accusers_and_its_return_say() {
        let case = only(STOPPED);
        let Cause::Silence { lasted, ended, until_down } = case.cause else { panic!("{:?}", case.cause) };
        assert!(ended && (5.0..6.0).contains(&lasted.as_secs_f64()), "{lasted:?}");
        assert!((2.0..2.1).contains(&until_down.as_secs_f64()), "{until_down:?}");
        assert_eq!((case.member.as_str(), case.known.nodes.0), ("n4", 5));
        assert_eq!(case.known.acceptable_pause, Some(Duration::from_secs(2)));
    }

    #[test]
    fn the_answer_of_the_api_says_the_same_as_its_lines() {
        let lines: Vec<serde_json::Value> =
            STOPPED.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let answer = serde_json::json!({ "self": "n1", "entries": lines }).to_string();
        assert_eq!(only(&answer).cause, only(STOPPED).cause);
    }

    #[test]
    fn every_cause_that_can_be_rebuilt_makes_a_scenario_that_is_taken() {
        let silence = |ended| Cause::Silence { lasted: Duration::from_secs(6), ended, until_down: USUAL };
        for (cause, what) in [
            (silence(true), Some("pause")),
            (silence(false), Some("vanish")),
            (Cause::Refused, Some("crash")),
            (Cause::LastWords, Some("crash")),
            (Cause::Unfit, None),
            (Cause::Unknown, None),
        ] {
            let case = Case { cause, ..only(STOPPED) };
            let text = case.scenario();
            assert_eq!(text.is_some(), what.is_some(), "{cause:?}");
            if let Some(text) = text {
                let scenario = scenario::parse(&text, &[]).unwrap_or_else(|why| panic!("{text}\n{why}"));
                assert_eq!(
                    scenario.faults.iter().map(|fault| fault.what.word()).collect::<Vec<_>>(),
                    what.as_slice()
                );
            }
        }
    }

    #[test]
    fn verdicts_of_one_moment_have_one_cause() {
        let second = STOPPED.lines().map(|line| line.replace("n4", "n5")).collect::<Vec<_>>().join("\n");
        let cases = AgentHistory::read(&format!("{STOPPED}\n{second}")).unwrap().cases();
        let names: Vec<&str> = cases.last().unwrap().struck.iter().map(String::as_str).collect();
        assert_eq!(names, ["n4", "n5"]);
    }

    #[test]
    fn what_is_no_history_is_refused_with_its_line() {
        for (text, words) in
            [("", "no entries"), ("{\"entries\":[]}", "no entries"), ("{\"type\":1}", "line 1")]
        {
            let why = AgentHistory::read(text).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }
}
