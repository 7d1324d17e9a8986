//! From text to values, one setting at a time; errors are collected, not fatal.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heartsay_membership::{Name, Source, StateError};
use heartsay_proto::Keyring;
use nix::unistd::Gid;

use super::layers::{self, Given, Layers, Raw};
use super::table::{self, Default};
use super::values::{self, KeyFileError};
use super::{AgentArgs, Origin, SettingsError, Shown};
use crate::daemon::hooks::{OCCASIONS, occasion};

/// Marks that the error has been noted already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed;

/// Reads settings out of the layers; notes what it shows and what is wrong.
#[derive(std::default::Default)]
pub(super) struct Reader {
    pub(super) layers: Layers,
    pub(super) errors: Vec<SettingsError>,
    pub(super) shown: Vec<Shown>,
}

impl Reader {
    /// The files to read, in order, with their content.
    pub(super) fn files(&mut self, args: &AgentArgs) -> Vec<(PathBuf, String)> {
        let (paths, compulsory) = match &args.config {
            Some((path, _)) => (vec![path.clone()], true),
            None => (self.standard_files(), false),
        };
        let mut files = Vec::new();
        for path in paths {
            match std::fs::read(&path) {
                Ok(bytes) => match String::from_utf8(bytes) {
                    Ok(text) => files.push((path, text)),
                    Err(e) => {
                        let sound = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or(&[]);
                        let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
                        let problem = "is no UTF-8".to_owned();
                        let origin = Origin::File(path, line);
                        self.errors.push(SettingsError::usage("", origin, problem, "save the file as UTF-8"));
                    }
                },
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && !compulsory => {}
                Err(e) => {
                    let origin = args.config.as_ref().and_then(|(_, origin)| origin.clone());
                    let problem = format!("cannot read {}: {e}", path.display());
                    let origin = origin.unwrap_or(Origin::Default);
                    self.errors.push(SettingsError::usage(
                        "config",
                        origin,
                        problem,
                        "check path and permissions",
                    ));
                }
            }
        }
        files
    }

    fn standard_files(&mut self) -> Vec<PathBuf> {
        let (main, dir) = (Path::new(layers::MAIN_FILE), Path::new(layers::DROP_INS));
        values::standard_files(main, dir).unwrap_or_else(|e| {
            let problem = format!("cannot list {}: {e}", dir.display());
            let remedy = "let the agent's user read the directory and what is in it, or give --config FILE";
            self.errors.push(SettingsError::usage("config", Origin::Default, problem, remedy));
            Vec::new()
        })
    }

    /// The value of `key` and where it comes from: given, fixed default, or `found` at start.
    fn text(&self, key: &str, found: Option<String>) -> (Option<String>, Origin) {
        if let Some(Given { raw: Raw::One(text), origin }) = self.layers.0.get(key) {
            return (Some(text.clone()), origin.clone());
        }
        let fixed = table::row(key).and_then(|row| match row.default {
            Default::Text(text) => Some(text.to_owned()),
            Default::Found(_) | Default::Compulsory => None,
        });
        (fixed.or(found), Origin::Default)
    }

    pub(super) fn show(&mut self, key: &str, value: Option<String>, origin: &Origin) {
        let reload = table::row(key.split('.').next().unwrap_or(key)).is_some_and(|row| row.reload);
        self.shown.push(Shown { key: key.to_owned(), value, origin: origin.to_string(), reload });
    }

    /// The value, or nothing where there is none; an error is noted.
    pub(super) fn read<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        found: Option<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failed> {
        let Some((text, origin)) = self.shown_text(key, found) else { return Ok(None) };
        parse(&text).map(Some).map_err(|e| self.wrong(key, origin, &text, &e))
    }

    // What is the same for all settings is apart from what is compiled for each.

    fn shown_text(&mut self, key: &str, found: Option<String>) -> Option<(String, Origin)> {
        let (text, origin) = self.text(key, found);
        self.show(key, text.clone(), &origin);
        text.map(|text| (text, origin))
    }

    fn wrong(&mut self, key: &str, origin: Origin, text: &str, error: &dyn fmt::Display) -> Failed {
        self.errors.push(SettingsError::usage(key, origin, format!("{text:?}: {error}"), &remedy(key)));
        Failed
    }

    fn missing(&mut self, key: &str) -> Failed {
        if self.errors.iter().any(|error| error.key.is_empty() || error.key == "config") {
            // It may well be in the file that could not be read.
            return Failed;
        }
        let problem = "is not set and has no default here".to_owned();
        let remedy =
            format!("{}, set {} or write it into {}", remedy(key), variable_of(key), layers::MAIN_FILE);
        self.errors.push(SettingsError::usage(key, Origin::Default, problem, &remedy));
        Failed
    }

    /// The name of the member: `host`, as this host is called, unless one is given. A host that is called as all are before
    /// they are given a name may have one in a moment, so that is not for good, as bad usage is.
    pub(super) fn name(&mut self, host: Option<String>) -> Result<Name, Failed> {
        let (given, origin) = self.text("name", None);
        match host {
            Some(host) if given.is_none() && values::is_of_no_host(&host) => {
                self.show("name", None, &origin);
                let problem =
                    format!("is not set, and this host is called {host:?} as any is before it has a name");
                let remedy = format!("name the host, or {}", remedy("name"));
                self.errors.push(SettingsError {
                    key: "name".to_owned(),
                    origin,
                    problem,
                    remedy,
                    usage: false,
                });
                Err(Failed)
            }
            host => self.need("name", host, values::name),
        }
    }

    /// The value; to have none is an error.
    pub(super) fn need<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        found: Option<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failed> {
        self.read(key, found, parse)?.ok_or_else(|| self.missing(key))
    }

    /// A duration within these limits.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        found: Option<Duration>,
        range: std::ops::RangeInclusive<Duration>,
    ) -> Result<Duration, Failed> {
        let found = found.map(|d| humantime::format_duration(d).to_string());
        self.need(key, found, |text| values::duration(text, range))
    }

    /// A list, as it is given, and where; without one it is empty.
    fn many(&mut self, key: &'static str) -> (Vec<String>, Origin) {
        let (all, origin) = match self.layers.0.get(key) {
            Some(Given { raw: Raw::Many(all), origin }) => (all.clone(), origin.clone()),
            _ => (Vec::new(), Origin::Default),
        };
        self.show(key, (!all.is_empty()).then(|| all.join(",")), &origin);
        (all, origin)
    }

    /// Names of the HTTP listener, each of which can be a name.
    pub(super) fn hosts(&mut self) -> Result<Vec<String>, Failed> {
        let (hosts, origin) = self.many("http_hosts");
        let Some(wrong) = hosts.iter().find(|host| !values::is_host(host)) else { return Ok(hosts) };
        let problem = format!("{wrong:?} is no host name without a port");
        self.errors.push(SettingsError::usage("http_hosts", origin, problem, &remedy("http_hosts")));
        Err(Failed)
    }

    /// What outside the cluster may say that a member is gone.
    pub(super) fn sources(&mut self) -> Result<Vec<Source>, Failed> {
        const KEY: &str = "trusted_sources";
        let (names, origin) = self.many(KEY);
        let sources: Result<Vec<_>, _> = names.iter().map(|name| Source::new(name)).collect();
        sources.map_err(|e| {
            self.errors.push(SettingsError::usage(KEY, origin, e.to_string(), &remedy(KEY)));
            Failed
        })
    }

    /// The seeds, each of which is well-formed.
    pub(super) fn seeds(&mut self) -> Result<Vec<String>, Failed> {
        let (seeds, origin) = self.many("seeds");
        let before = self.errors.len();
        for seed in &seeds {
            if let Err(e) = crate::daemon::seeds::host_and_port(seed) {
                let problem = format!("{seed:?}: {e}");
                self.errors.push(SettingsError::usage("seeds", origin.clone(), problem, &remedy("seeds")));
            }
        }
        if self.errors.len() > before { Err(Failed) } else { Ok(seeds) }
    }

    /// The pairs of all layers together.
    pub(super) fn table(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let pairs = match self.layers.0.get(key) {
            Some(Given { raw: Raw::Table(pairs), .. }) => pairs.clone(),
            _ => BTreeMap::new(),
        };
        for (name, (value, origin)) in &pairs {
            self.show(&format!("{key}.{name}"), Some(value.clone()), origin);
        }
        pairs.into_iter().map(|(name, (value, _))| (name, value)).collect()
    }

    /// The hooks, each for an occasion that there is.
    pub(super) fn hooks(&mut self) -> Result<BTreeMap<&'static str, String>, Failed> {
        let before = self.errors.len();
        let mut hooks = BTreeMap::new();
        for (name, command) in self.table("hooks") {
            match occasion(&name) {
                Some(name) => drop(hooks.insert(name, command)),
                None => {
                    let problem = format!("{name:?} is no occasion");
                    let remedy = match values::nearest(&name, &OCCASIONS) {
                        Some(meant) => format!("did you mean {meant:?}?"),
                        None => format!("there are {}", OCCASIONS.join(", ")),
                    };
                    let origin = self.origin_of_pair("hooks", |key| key == name);
                    self.errors.push(SettingsError::usage("hooks", origin, problem, &remedy));
                }
            }
        }
        if self.errors.len() > before { Err(Failed) } else { Ok(hooks) }
    }

    /// The keys of the file. What is in it is right or wrong; that it cannot be read may pass.
    pub(super) fn keyring(&mut self) -> Result<Option<Keyring>, Failed> {
        let Some(file) = self.read("key_file", None, |text| Ok::<_, String>(text.to_owned()))? else {
            return Ok(None);
        };
        let keyring = match values::key_file(&file) {
            Ok(found) => found.check_owner().and_then(|()| values::keyring(&found)).map_err(|e| (e, true)),
            Err(KeyFileError::Wrong(e)) => Err((e, true)),
            Err(KeyFileError::Unreadable(e)) => Err((e, false)),
        };
        keyring.map(Some).map_err(|(e, usage)| {
            let (key, problem) = ("key_file".to_owned(), format!("{file:?}: {e}"));
            let (origin, remedy) = (self.origin("key_file"), remedy("key_file"));
            self.errors.push(SettingsError { key, origin, problem, remedy, usage });
            Failed
        })
    }

    /// A group of this host. It may be in a directory that is not up yet: not for good, as bad usage is.
    pub(super) fn group(&mut self, key: &'static str) -> Result<Option<Gid>, Failed> {
        let before = self.errors.len();
        let group = self.read(key, None, values::group);
        self.errors.iter_mut().skip(before).for_each(|error| error.usage = false);
        group
    }

    /// Notes that values that are right one by one make no sense together.
    pub(super) fn refuse(&mut self, key: &str, problem: &str, remedy: &str) {
        self.errors.push(SettingsError::usage(key, self.origin(key), problem.to_owned(), remedy));
    }

    /// Notes that a member cannot say this of itself.
    pub(super) fn refuse_state(&mut self, error: &StateError) {
        let (key, remedy) = match error {
            StateError::Key { key } | StateError::Reserved { key } => (Some(key), "give the tag another key"),
            StateError::Value { key, .. } | StateError::Fit { key, .. } => (Some(key), "shorten it"),
            StateError::Keys { .. } | StateError::Size { .. } => (None, "give fewer or shorter tags"),
        };
        if key.is_some_and(|key| key == "zone") {
            return self.refuse("zone", &error.to_string(), remedy);
        }
        // Long ones are shortened in the error.
        let is = |name: &str| key.is_some_and(|key| format!("tag/{name}").starts_with(key.as_str()));
        let origin = self.origin_of_pair("tags", is);
        self.errors.push(SettingsError::usage("tags", origin, error.to_string(), remedy));
    }

    /// Where the first pair of a table that `is` meant was given.
    fn origin_of_pair(&self, key: &str, is: impl Fn(&str) -> bool) -> Origin {
        match self.layers.0.get(key) {
            Some(Given { raw: Raw::Table(pairs), origin }) => {
                pairs.iter().find(|(name, _)| is(name)).map_or(origin, |(_, (_, origin))| origin).clone()
            }
            _ => self.origin(key),
        }
    }

    fn origin(&self, key: &str) -> Origin {
        self.layers.0.get(key).map_or(Origin::Default, |given| given.origin.clone())
    }
}

/// What to write instead, from the row of the setting.
fn remedy(key: &str) -> String {
    match table::row(key) {
        Some(row) if key == "key_file" => format!("see --{}", row.flag),
        Some(row) => format!("give --{} {}", row.flag, row.value),
        None => "see heartsay agent --help".to_owned(),
    }
}

fn variable_of(key: &str) -> &'static str {
    table::row(key).map_or("the variable", |row| row.env)
}
