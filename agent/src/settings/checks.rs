//! `[[service.check]]`: from tables in a `[[service]]` to checks of it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heartsay_proto::is_word;

use super::block::Fields;
use super::error::SettingsErrors;
use super::layers::{Block, Origin};
use super::reader::Reader;
use super::values;
use crate::services::Registration;
use crate::services::check::{Check, Effect, Kind, MOST_CHECKS, Place, Terms, Url};

impl Reader {
    /// Notes where all services together have more checks than an agent makes.
    pub(super) fn no_more_checks(&mut self, services: &[Registration]) {
        let checks: usize = services.iter().map(|service| service.checks.len()).sum();
        if checks > MOST_CHECKS {
            let problem = format!("all services together have {checks} checks; {MOST_CHECKS} are made");
            self.refuse("service", &problem, "leave some out, or look at several things by one exec");
        }
    }
}

/// The checks that a program asks for, by the same fields.
///
/// # Errors
/// All that is wrong, or what is not done for programs: to start others, and to write to disks, as the user of the agent.
pub(crate) fn asked(checks: Vec<BTreeMap<String, String>>) -> Result<Vec<Check>, SettingsErrors> {
    let origin = Origin::Default;
    let block = |fields: BTreeMap<String, String>| {
        let fields = fields.into_iter().map(|(key, text)| (key, (vec![text], origin.clone())));
        Block { fields: fields.collect(), tables: BTreeMap::new(), origin: origin.clone() }
    };
    let checks = checks.into_iter().map(block).collect();
    let tables = BTreeMap::from([("check".to_owned(), (checks, origin.clone()))]);
    let service = Block { fields: BTreeMap::new(), tables, origin };
    let mut fields = Fields::new("service", &service);
    let checks = fields.checks();
    for check in checks.iter().filter(|check| matches!(check.kind, Kind::Exec(_) | Kind::Disk(_))) {
        let word = check.kind.word();
        let problem = format!("{word} acts as the user of the agent, so it is for settings alone");
        fields.refuse(&format!("check.{word}"), &problem, "write it in a file of the settings");
    }
    if fields.errors.is_empty() { Ok(checks) } else { Err(SettingsErrors(fields.errors)) }
}

impl Fields<'_> {
    /// The checks of a service.
    pub(super) fn checks(&mut self) -> Vec<Check> {
        let blocks = self.tables("check");
        let mut checks: Vec<Check> = Vec::new();
        for block in blocks.iter().take(MOST_OF_ONE) {
            let mut fields = Fields::new("service.check", block);
            let check = fields.check(block);
            if let Some(twice) =
                check.as_ref().filter(|one| checks.iter().any(|other| other.name == one.name))
            {
                let problem = format!("{:?} is there twice in this service", twice.name);
                fields.refuse("name", &problem, "give each a name of its own");
            }
            self.errors.append(&mut fields.errors);
            checks.extend(check);
        }
        if let Some(block) = blocks.get(MOST_OF_ONE) {
            let problem = format!("{} are too many for one service; {MOST_OF_ONE} are made", blocks.len());
            self.error("check", block.origin.clone(), problem, "leave some out");
        }
        checks
    }

    fn check(&mut self, block: &Block) -> Option<Check> {
        self.only(&FIELDS, "", &[]);
        let given: Vec<&str> =
            Kind::WORDS.into_iter().filter(|word| block.fields.contains_key(*word)).collect();
        let [word] = *given else {
            let (key, problem) = match *given {
                [] => ("tcp", "is missing, as is any other thing to look at".to_owned()),
                [.., last] => (last, format!("is there beside {}", given.first().unwrap_or(&""))),
            };
            self.refuse(key, &problem, &format!("write one of {} in each check", Kind::WORDS.join(", ")));
            return None;
        };
        let kind = self.thing(word);
        if word == "ttl" {
            for key in ["interval", "timeout"].into_iter().filter(|key| block.fields.contains_key(*key)) {
                self.refuse(key, "is none of a ttl, which is over when it is over", "leave it out");
            }
        }
        let interval = if word == "disk" { DISK_INTERVAL } else { INTERVAL };
        let check = Check {
            name: self.one("name", name).unwrap_or_else(|| word.to_owned()),
            interval: self.one("interval", |text| values::duration(text, SECOND..=HOUR)).unwrap_or(interval),
            limit: self.one("timeout", |text| values::duration(text, TIMEOUTS)).unwrap_or(TIMEOUT),
            terms: self.terms(word),
            effect: self.one("effect", effect).unwrap_or_default(),
            kind: kind?,
        };
        Some(check)
    }

    fn thing(&mut self, word: &str) -> Option<Kind> {
        match word {
            "tcp" => self.one(word, str::parse::<Place>).map(Kind::Tcp),
            "http" => self.one(word, str::parse::<Url>).map(Kind::Http),
            "exec" => self.program().map(Kind::Exec),
            "process" => self.one(word, absolute).map(Kind::Process),
            "unit" => self.one(word, unit).map(Kind::Unit),
            "ttl" => self.one(word, |text| values::duration(text, SECOND..=24 * HOUR)).map(Kind::Ttl),
            _ => self.one(word, absolute).map(Kind::Disk),
        }
    }

    fn program(&mut self) -> Option<Vec<String>> {
        let word = |text: &str| match text.contains('\0') {
            true => Err("has a zero byte in it"),
            false => Ok(text.to_owned()),
        };
        let before = self.errors.len();
        let words = self.many("exec", word);
        let fine = words.first().is_some_and(|program| Path::new(program).is_absolute());
        if !fine && self.errors.len() == before {
            let remedy =
                "write it and its arguments as [\"/PATH/OF/PROGRAM\", \"ARGUMENT\"]; no shell reads them";
            self.refuse("exec", "begins with no absolute path of a program", remedy);
        }
        (self.errors.len() == before).then_some(words)
    }

    fn terms(&mut self, word: &str) -> Terms {
        let certain = Kind::is_certain(word);
        let count = |text: &str| values::count(text, 1..=100);
        let fall = self.one("fall", count).unwrap_or(if certain { 1 } else { FALL });
        let warn = self.one("warn", count);
        if warn.is_some_and(|warn| warn > fall) {
            self.refuse("warn", &format!("is more than fall, which is {fall}"), "write a smaller number");
        }
        Terms {
            rise: self.one("rise", count).unwrap_or(1),
            warn: warn.unwrap_or(WARN).min(fall),
            fall,
            grace: self.one("grace", |text| values::duration(text, Duration::ZERO..=HOUR)).unwrap_or(GRACE),
        }
    }
}

fn effect(text: &str) -> Result<Effect, String> {
    match text {
        "note" => Ok(Effect::Note),
        "drain" => Ok(Effect::Drain),
        "suspend" => Ok(Effect::Suspend),
        _ => Err(values::not_one_of("is not note, drain or suspend", text, &["note", "drain", "suspend"])),
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > LONGEST_NAME || !is_word(text) {
        return Err(format!("is no word of at most {LONGEST_NAME} bytes"));
    }
    Ok(text.to_owned())
}

fn absolute(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    match path.is_absolute() && !text.contains('\0') {
        true => Ok(path.to_owned()),
        false => Err("is no absolute path"),
    }
}

fn unit(text: &str) -> Result<String, &'static str> {
    let fine = text.ends_with(".service") || text.ends_with(".scope") || text.ends_with(".slice");
    match fine && !text.starts_with('.') && !text.contains(['/', '\0']) && text.len() <= 255 {
        true => Ok(text.to_owned()),
        false => Err("is no name of a unit that has processes, such as nginx.service"),
    }
}

const FIELDS: [&str; 15] = [
    "name", "tcp", "http", "exec", "process", "unit", "ttl", "disk", "interval", "timeout", "rise", "warn",
    "fall", "grace", "effect",
];
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const INTERVAL: Duration = Duration::from_secs(10);
/// Each write of a disk is a commit of its journal.
const DISK_INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
const WARN: u32 = 2;
const FALL: u32 = 3;
const GRACE: Duration = Duration::from_secs(10);
const LONGEST_NAME: usize = 40;
/// Checks of one service.
const MOST_OF_ONE: usize = 16;
