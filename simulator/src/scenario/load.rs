//! Reading a scenario: TOML, then overrides, then the questions that types cannot ask.

use crate::models::Yardstick;
use heartsay_detector::{DetectorConfig, FixedConfig, PhiConfig, Tail};
use heartsay_membership::{Config, Electorate, Profile as Shipped};
use heartsay_proto::{Budget as Datagram, Cluster};
use serde::Deserialize as _;
use toml::{Table, Value};

use super::{Detector, Fault, Profile, Protocol, Scenario, What, Who, shipped::source};

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
    check(&scenario).map_err(Problem::Sense)?;
    Ok(scenario)
}

impl Protocol {
    /// The machine's settings for a cluster of `nodes`.
    ///
    /// # Errors
    /// A datagram limit that the wire does not allow.
    pub fn config(&self, nodes: usize) -> Result<Config, String> {
        let cluster = Cluster::new("simulated").map_err(|error| error.to_string())?;
        let profile = match self.profile {
            Profile::Local => Shipped::Local,
            Profile::Lan => Shipped::Lan,
            Profile::Wan => Shipped::Wan,
        };
        let mut config = Config::new(cluster, profile);
        macro_rules! take {
            ($($field:ident $(. $inner:tt)?),*) => {
                $(if let Some(value) = self.$field { config.$field = value $(. $inner)?; })*
            };
        }
        take!(interval.0, acceptable_pause.0, helpers, witnesses, fanout, coalesce.0, burst_rate);
        take!(forget_down_after.0, forget_left_after.0, rejoin_interval.0, leave_timeout.0);
        take!(quorum_settle.0, max_members);
        config.detector = self.detector();
        if let Some(initial) = self.rtt_initial {
            config.rtt.initial = initial.0;
        }
        if let Some(min) = self.rtt_min {
            config.rtt.min = min.0;
        }
        if let Some(max) = self.rtt_max {
            config.rtt.max = max.0;
        }
        if let Some(expected) = &self.expected {
            config.electorate = u32::try_from(expected.count(nodes)).ok().map(Electorate::expected);
        }
        if let Some(electorate) = &self.electorate {
            config.electorate = Some(electorate.parse().map_err(|error| format!("electorate: {error}"))?);
        }
        if let Some(limit) = self.datagram {
            config.datagram = Datagram::new(limit).map_err(|error| error.to_string())?;
        }
        Ok(config)
    }

    fn detector(&self) -> DetectorConfig {
        let fixed = FixedConfig::default();
        let phi = PhiConfig::default();
        let phi = PhiConfig {
            threshold: self.phi_threshold.unwrap_or(phi.threshold),
            min_deviation: self.min_deviation.map_or(phi.min_deviation, |span| span.0),
            ..phi
        };
        match self.detector {
            None | Some(Detector::Phi) => DetectorConfig::Phi(phi),
            Some(Detector::PhiExponential) => {
                DetectorConfig::Phi(PhiConfig { tail: Tail::Exponential, ..phi })
            }
            Some(Detector::Fixed) => {
                DetectorConfig::Fixed(FixedConfig { missed: self.missed.unwrap_or(fixed.missed), ..fixed })
            }
        }
    }
}

fn check(s: &Scenario) -> Result<(), String> {
    if s.nodes == 0 {
        return Err("nodes = 0: a cluster has at least one member".to_owned());
    }
    if s.nodes > 65_535 {
        return Err(format!("nodes = {}: at most 65535 members are simulated", s.nodes));
    }
    if s.duration.0.is_zero() {
        return Err("duration = \"0s\": nothing would happen".to_owned());
    }
    if s.start.contacts == 0 && s.nodes > 1 {
        return Err("start.contacts = 0: nobody would ever meet".to_owned());
    }
    if s.start.over.0 >= s.duration.0 {
        return Err(format!("start.over {} does not fit the duration {}", s.start.over, s.duration));
    }
    if s.machine != Yardstick::Heartsay {
        if s.start.every.is_some() {
            let machine = s.machine.word();
            return Err(format!(
                "machine = {machine:?} is a model of a detector: it knows its cluster and cannot be joined one by one"
            ));
        }
        let strange = |f: &&Fault| {
            matches!(
                f.what,
                What::Restart
                    | What::CrashLoop
                    | What::Leave
                    | What::Join
                    | What::Churn
                    | What::DuplicateName
            ) || f.back_after.is_some()
        };
        if let Some(fault) = s.faults.iter().find(strange) {
            let (machine, what) = (s.machine.word(), fault.what.word());
            return Err(format!(
                "machine = {machine:?} is a model of a detector, not of a membership: it knows no {what:?} (nor a return)"
            ));
        }
    }
    if s.measure.every.0.is_zero() {
        return Err("measure.every must not be zero".to_owned());
    }
    s.protocol.config(s.nodes).map_err(|why| format!("protocol: {why}"))?;
    let n = &s.network;
    let shares =
        [("loss", n.loss), ("duplicate", n.duplicate), ("reorder", n.reorder), ("corrupt", n.corrupt)];
    for (key, share) in shares {
        share_is_sane(&format!("network.{key}"), share)?;
    }
    if n.bandwidth.is_some_and(|b| b <= 0.0 || !b.is_finite()) {
        return Err("network.bandwidth must be above zero".to_owned());
    }
    for path in &n.paths {
        share_is_sane("network.path.loss", path.loss)?;
        for zone in &path.between {
            if !n.zones.iter().any(|z| z.name == *zone) {
                let names = n.zones.iter().map(|z| z.name.as_str());
                return Err(format!(
                    "network.path names the zone {zone:?}, which is not defined{}",
                    hint(nearest(zone, names).as_deref())
                ));
            }
        }
    }
    for (i, fault) in s.faults.iter().enumerate() {
        check_fault(s, fault).map_err(|why| format!("fault {} ({}): {why}", i + 1, word(fault.what)))?;
    }
    Ok(())
}

fn check_fault(s: &Scenario, f: &Fault) -> Result<(), String> {
    if f.at.0 >= s.duration.0 {
        return Err(format!("at {} lies after the end of the run ({})", f.at, s.duration));
    }
    let given = [
        ("who", f.who.is_some()),
        ("for", f.lasts.is_some()),
        ("on", f.on.is_some()),
        ("off", f.off.is_some()),
        ("over", f.over.is_some()),
        ("every", f.every.is_some()),
        ("back-after", f.back_after.is_some()),
        ("send", f.send.is_some()),
        ("receive", f.receive.is_some()),
        ("share", f.share.is_some()),
        ("by", f.by.is_some()),
        ("ppm", f.ppm.is_some()),
        ("work", f.work.is_some()),
        ("from", f.from.is_some()),
        ("to", f.to.is_some()),
        ("sides", f.sides.is_some()),
    ];
    let (needs, takes): (&[&str], &[&str]) = match f.what {
        What::Crash | What::Vanish | What::Restart => (&[], &["who", "over", "back-after"]),
        What::CrashLoop => (&["every"], &["who", "for", "every"]),
        What::Pause | What::Block => (&[], &["who", "for", "on", "off", "over"]),
        What::Slow => (&["work"], &["who", "for", "on", "off", "over", "work"]),
        What::ClockStep => (&["by"], &["who", "over", "by"]),
        What::ClockDrift => (&["ppm"], &["who", "ppm"]),
        What::Lossy => (&[], &["who", "for", "on", "off", "over", "send", "receive"]),
        What::Cut => (&["from", "to"], &["for", "on", "off", "from", "to"]),
        What::Partition => (&["sides"], &["for", "on", "off", "sides"]),
        What::Corrupt => (&["share"], &["who", "for", "on", "off", "over", "share"]),
        What::DuplicateName | What::Leave => (&[], &["who", "over"]),
        What::Join => (&[], &["who", "over", "every"]),
        What::Churn => (&["every"], &["for", "every"]),
    };
    for (key, is_given) in given {
        if is_given && !takes.contains(&key) {
            return Err(format!(
                "the key `{key}` means nothing here; {} takes {}",
                word(f.what),
                takes.join(", ")
            ));
        }
        if !is_given && needs.contains(&key) {
            return Err(format!("the key `{key}` is missing"));
        }
    }
    if f.on.is_some() != f.off.is_some() {
        return Err("`on` and `off` come together".to_owned());
    }
    if f.every.is_some_and(|every| every.0.is_zero()) || f.on.is_some_and(|on| on.0.is_zero()) {
        return Err("`every` and `on` must not be zero".to_owned());
    }
    for (key, share) in [("send", f.send), ("receive", f.receive), ("share", f.share)] {
        share_is_sane(key, share.unwrap_or(0.0))?;
    }
    if f.what == What::Lossy && f.send.is_none() && f.receive.is_none() {
        return Err("one of `send` and `receive` is needed".to_owned());
    }
    if f.sides.as_ref().is_some_and(|sides| sides.len() < 2 || sides.len() > 200) {
        return Err("a partition has 2 to 200 sides".to_owned());
    }
    for who in [&f.who, &f.from, &f.to].into_iter().flatten() {
        match who {
            Who::Count(k) if *k > s.nodes && f.what != What::Join => {
                return Err(format!("{k} members are asked for; the cluster has {}", s.nodes));
            }
            Who::Named(names) => {
                for name in names {
                    let number = name.strip_prefix('n').and_then(|n| n.parse::<usize>().ok());
                    if number.is_none_or(|n| n >= s.nodes) {
                        return Err(format!("no member is called {name:?}; they are n0 to n{}", s.nodes - 1));
                    }
                }
            }
            Who::Count(_) | Who::Share(_) | Who::All => {}
        }
    }
    Ok(())
}

fn share_is_sane(key: &str, share: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&share) {
        Ok(())
    } else {
        Err(format!("{key} = {share}: a share lies between 0 and 1"))
    }
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

fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|k| (strsim::jaro_winkler(unknown, k), k))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k.to_owned())
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!("\ndid you mean `{n}`?"))
}

/// The kind as it is written in a scenario.
fn word(what: What) -> String {
    serde_json::to_value(what).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("[start]\ncontacts = 0", "nobody would ever meet"),
            ("[protocol]\ndatagram = 100", "protocol:"),
            ("[[network.path]]\nbetween = ['a', 'b']\nrtt = '1ms'", "not defined"),
        ] {
            let complaint = complaint(text, &[]);
            assert!(complaint.contains(words), "{text}: {complaint}");
        }
        assert!(complaint("", &["nodes=0"]).contains("at least one member"));
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
