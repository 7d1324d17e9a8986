//! Flag over environment over file: who gave which value, still as text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SettingsError;
use super::table::{self, Default, Kind, ROWS, Row};

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// On the command line, by this flag.
    Flag(&'static str),
    /// In the environment, by this variable.
    Env(&'static str),
    /// In a file, on this line (counted from 1).
    File(PathBuf, usize),
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Env(variable) => f.write_str(variable),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    One(String),
    Many(Vec<String>),
    /// Pairs, each with where it was given: tables are merged, not replaced.
    Table(BTreeMap<String, (String, Origin)>),
    /// Tables of one kind. Those of all files stand side by side.
    Blocks(Vec<Block>),
}

/// One table of several of its kind. Tables in it are flattened: `select.tag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) fields: BTreeMap<String, (Vec<String>, Origin)>,
    /// Several tables of a kind in it, `[[service.check]]`: each kind with where the first is.
    pub(super) tables: BTreeMap<String, (Vec<Block>, Origin)>,
    pub(super) origin: Origin,
}

/// A value and where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// What was given, by key. Later layers are laid over earlier ones.
#[derive(Clone, Debug, std::default::Default)]
pub(super) struct Layers(pub(super) BTreeMap<&'static str, Given>);

impl Layers {
    /// Lays one value over what is there: lists are replaced, tables merged.
    fn put(&mut self, key: &'static str, over: Given) {
        if let Raw::Table(new) = &over.raw
            && let Some(Given { raw: Raw::Table(old), .. }) = self.0.get_mut(key)
        {
            old.extend(new.clone());
            return;
        }
        if let Raw::Blocks(new) = &over.raw
            && let Some(Given { raw: Raw::Blocks(old), .. }) = self.0.get_mut(key)
        {
            old.extend(new.iter().cloned());
            return;
        }
        self.0.insert(key, over);
    }

    /// Lays `over` on top of these.
    pub(super) fn cover(&mut self, over: &Self) {
        for (key, given) in &over.0 {
            self.put(key, given.clone());
        }
    }

    /// Lays the file `path` with the content `text` on top of these; says what
    /// it could not take.
    pub(super) fn cover_file(&mut self, path: &Path, text: &str) -> Vec<SettingsError> {
        let line = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        let at = |offset: usize| Origin::File(path.to_owned(), line(offset));
        let document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(e) => {
                let origin = at(e.span().map_or(0, |span| span.start));
                return vec![SettingsError::usage("", origin, e.message().to_owned(), "correct the file")];
            }
        };
        let mut errors = Vec::new();
        for (written, value) in document.get_ref() {
            let origin = at(written.span().start);
            let Some(row) = table::row(written.get_ref()) else {
                let remedy = match table::nearest(written.get_ref()) {
                    Some(key) => format!("did you mean \"{key}\"?"),
                    None => "\"heartsay config default\" lists every setting".to_owned(),
                };
                errors.push(SettingsError::usage(
                    written.get_ref(),
                    origin,
                    "unknown setting".to_owned(),
                    &remedy,
                ));
                continue;
            };
            match raw_of(row, value.get_ref(), &origin, &at) {
                Some(raw) => self.put(row.key, Given { raw, origin }),
                None => errors.push(SettingsError::usage(
                    row.key,
                    origin,
                    format!("cannot be {}", value.get_ref().type_str()),
                    &match row.kind {
                        Kind::One => "write one text or number".to_owned(),
                        Kind::Many => "write a list of texts, [\"a\", \"b\"]".to_owned(),
                        Kind::Table => "write a table of texts, { key = \"value\" }".to_owned(),
                        Kind::Switch => "write true or false".to_owned(),
                        Kind::Blocks => format!(
                            "write tables, [[{}]] above each, of texts, numbers and lists of them",
                            row.key
                        ),
                    },
                )),
            }
        }
        errors
    }
}

/// The flags of `heartsay agent`, also understood from the environment.
///
/// Keeps what was given as text with its origin; [`super::load`] makes sense of it.
#[derive(Clone, Debug, std::default::Default)]
pub(crate) struct AgentArgs {
    pub(super) config: Option<(PathBuf, Option<Origin>)>,
    pub(super) given: Layers,
    pub(super) malformed: Vec<SettingsError>,
}

impl clap::Args for AgentArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("HEARTSAY_CONFIG")
            .hide_env_values(true)
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!("Read this file only, instead of {MAIN_FILE} and {DROP_INS}/*.toml"));
        let rows = ROWS.iter().filter(|row| row.kind != Kind::Blocks);
        rows.fold(command.arg(config), |command, row| command.arg(arg_of(row)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for AgentArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(path) = matches.get_one::<PathBuf>("config").filter(|path| !path.as_os_str().is_empty()) {
            self.config = Some((path.clone(), origin_of(matches, "config", "config", "HEARTSAY_CONFIG")));
        }
        for row in ROWS.iter().filter(|row| row.kind != Kind::Blocks) {
            let Some(origin) = origin_of(matches, row.flag, row.flag, row.env) else { continue };
            let mut values: Vec<String> =
                matches.get_many::<String>(row.flag).into_iter().flatten().cloned().collect();
            if matches!(origin, Origin::Env(_)) {
                // An empty variable is one that a template left blank.
                values.retain(|value| !value.is_empty());
                if matches!(row.kind, Kind::Many | Kind::Table) {
                    let parts = values.iter().flat_map(|v| v.split(',')).map(str::trim);
                    // So is an item between two commas, or behind the last.
                    values = parts.filter(|part| !part.is_empty()).map(str::to_owned).collect();
                }
                if values.is_empty() {
                    continue;
                }
            }
            let raw = match row.kind {
                Kind::One | Kind::Switch => Raw::One(values.pop().unwrap_or_default()),
                Kind::Many => Raw::Many(values),
                Kind::Table => Raw::Table(pairs(row, &values, &origin, &mut self.malformed)),
                Kind::Blocks => continue,
            };
            self.given.put(row.key, Given { raw, origin });
        }
        Ok(())
    }
}

fn arg_of(row: &'static Row) -> Arg {
    let default = match row.default {
        Default::Text(text) | Default::Found(text) => format!(" [default: {text}]"),
        Default::Compulsory => " [compulsory]".to_owned(),
    };
    let arg = Arg::new(row.flag)
        .long(row.flag)
        .value_name(row.value)
        .env(row.env)
        .hide_env_values(true)
        .help_heading(row.heading)
        .help(format!("{}{default}", row.help));
    match row.kind {
        Kind::One => arg.action(ArgAction::Set),
        Kind::Many | Kind::Table | Kind::Blocks => arg.action(ArgAction::Append),
        Kind::Switch => {
            arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    }
}

fn origin_of(matches: &ArgMatches, id: &str, flag: &'static str, env: &'static str) -> Option<Origin> {
    let source = matches.value_source(id)?;
    if source == ValueSource::CommandLine {
        return Some(Origin::Flag(flag));
    }
    (source == ValueSource::EnvVariable).then_some(Origin::Env(env))
}

fn pairs(
    row: &Row,
    values: &[String],
    origin: &Origin,
    malformed: &mut Vec<SettingsError>,
) -> BTreeMap<String, (String, Origin)> {
    let mut pairs = BTreeMap::new();
    for value in values {
        match value.split_once('=') {
            Some((key, value)) => {
                pairs.insert(key.to_owned(), (value.to_owned(), origin.clone()));
            }
            None => malformed.push(SettingsError::usage(
                row.key,
                origin.clone(),
                format!("{value:?} is no pair"),
                "write KEY=VALUE, for instance role=web",
            )),
        }
    }
    pairs
}

fn raw_of(row: &Row, value: &DeValue<'_>, origin: &Origin, at: &impl Fn(usize) -> Origin) -> Option<Raw> {
    match (row.kind, value) {
        (Kind::Many, DeValue::Array(items)) => {
            Some(Raw::Many(items.iter().map(|item| scalar(item.get_ref())).collect::<Option<_>>()?))
        }
        (Kind::Many, one) => Some(Raw::Many(vec![scalar(one)?])),
        (Kind::Table, DeValue::Table(pairs)) => pairs
            .iter()
            .map(|(key, value)| Some((key.get_ref().to_string(), (scalar(value.get_ref())?, origin.clone()))))
            .collect::<Option<_>>()
            .map(Raw::Table),
        (Kind::Blocks, DeValue::Array(items)) => {
            items.iter().map(|item| block(item, at)).collect::<Option<_>>().map(Raw::Blocks)
        }
        (Kind::Table | Kind::Blocks, _) => None,
        (Kind::One | Kind::Switch, one) => Some(Raw::One(scalar(one)?)),
    }
}

/// One table of several, with those in it.
fn block(item: &Spanned<DeValue<'_>>, at: &impl Fn(usize) -> Origin) -> Option<Block> {
    let (fields, tables, origin) = (BTreeMap::new(), BTreeMap::new(), at(item.span().start));
    let mut block = Block { fields, tables, origin };
    take_fields(item.get_ref(), "", at, &mut block)?;
    Some(block)
}

/// The fields of a table, and of the tables in it.
fn take_fields(
    table: &DeValue<'_>,
    prefix: &str,
    at: &impl Fn(usize) -> Origin,
    into: &mut Block,
) -> Option<()> {
    let DeValue::Table(pairs) = table else { return None };
    for (key, value) in pairs {
        let (name, origin) = (format!("{prefix}{}", key.get_ref()), at(key.span().start));
        if prefix.is_empty() && value.get_ref().is_table() {
            take_fields(value.get_ref(), &format!("{name}."), at, into)?;
            continue;
        }
        let DeValue::Array(items) = value.get_ref() else {
            into.fields.insert(name, (vec![scalar(value.get_ref())?], origin));
            continue;
        };
        if prefix.is_empty() && items.iter().any(|item| item.get_ref().is_table()) {
            let blocks = items.iter().map(|item| block(item, at)).collect::<Option<_>>()?;
            into.tables.insert(name, (blocks, origin));
            continue;
        }
        let texts = items.iter().map(|item| scalar(item.get_ref())).collect::<Option<_>>()?;
        into.fields.insert(name, (texts, origin));
    }
    Some(())
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Read when no `--config` was given.
pub(crate) const MAIN_FILE: &str = "/etc/heartsay/heartsay.toml";
/// Read after it, in lexical order.
pub(super) const DROP_INS: &str = "/etc/heartsay/conf.d";
