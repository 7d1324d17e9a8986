//! Settings: flag over `HEARTSAY_*` over file over default, each with its origin.
//!
//! Three steps, three files: `table` knows which settings exist, `layers`
//! collects what was written and where, and this file makes sense of it. All
//! errors are found in one go; each says which setting, where it was given and
//! what to do.

mod block;
mod checks;
mod error;
mod exports;
mod layers;
mod reader;
mod services;
pub(crate) mod table;
mod values;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use heartsay_membership::{
    Config, Electorate, HostId, Identity, IdentityError, Instant, Name, Node, Profile, StateError,
};
use heartsay_proto::Cluster;
use nix::unistd::Gid;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;

use crate::api::peer::is_nogroup;
use crate::daemon::advertise::{self, Advertise};
use crate::export::Export;
use crate::services::{Registration, instance};
use crate::show;
use crate::types::WatchLine;
pub(crate) use checks::asked;
pub(crate) use error::{SettingsError, SettingsErrors};
pub(crate) use layers::{AgentArgs, MAIN_FILE, Origin};
use reader::{Failed, Reader};
use table::{Default, Kind, ROWS};
pub(crate) use values::{default_socket, not_one_of};

/// UDP port of the gossip: H-E-A-R on the keys of a telephone.
pub(crate) const DEFAULT_PORT: u16 = 4327;

/// Everything an agent is told before it starts.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Unique name.
    pub(crate) name: Name,
    /// Failure domain.
    pub(crate) zone: Option<String>,
    /// Tags as configured; the socket API may change the live ones.
    pub(crate) tags: BTreeMap<String, String>,
    /// Settings of the machine: cluster, keys, intervals, expected members.
    pub(crate) machine: Config,
    /// As it was called.
    pub(crate) profile: Profile,
    /// UDP address to listen on.
    pub(crate) bind: SocketAddr,
    /// What to tell others, if anything was said.
    pub(crate) advertise: Option<Advertise>,
    /// `HOST[:PORT]` each.
    pub(crate) seeds: Vec<String>,
    /// TCP address for reads.
    pub(crate) http_listen: Option<SocketAddr>,
    /// Further names of that listener.
    pub(crate) http_hosts: Vec<String>,
    /// Names for the DNS, if they are answered.
    pub(crate) dns: Option<DnsSettings>,
    /// How often the local service has to beat.
    pub(crate) beat_within: Option<Duration>,
    /// Commands to run.
    pub(crate) hooks: HookSettings,
    /// Files that follow the members.
    pub(crate) exports: Vec<Export>,
    /// Services of this host.
    pub(crate) services: Vec<Registration>,
    /// Host id, generation, peers.
    pub(crate) state_dir: PathBuf,
    /// Whether what happens is kept there.
    pub(crate) history: bool,
    /// Unix socket of the API.
    pub(crate) socket: SocketSettings,
    /// Good-bye on SIGTERM and SIGINT.
    pub(crate) leave_on_terminate: bool,
    /// How busy this host is, told to the others.
    pub(crate) load: bool,
    /// What is said when the process ends in any other way.
    pub(crate) last_words: bool,
    /// Patience with another holder of our name.
    pub(crate) duplicate_name_timeout: Duration,
    /// The agent's log.
    pub(crate) log: LogSettings,
    /// Every setting as text with its origin.
    pub(crate) shown: Vec<Shown>,
}

/// How the DNS is answered.
#[derive(Clone, Debug)]
pub(crate) struct DnsSettings {
    /// UDP and TCP address.
    pub(crate) listen: SocketAddr,
    /// Behind each name.
    pub(crate) domain: String,
    /// Whole seconds.
    pub(crate) ttl: Duration,
}

/// What runs on which occasion.
#[derive(Clone, Debug)]
pub(crate) struct HookSettings {
    /// Shell commands by occasion.
    pub(crate) commands: BTreeMap<&'static str, String>,
    /// How long one may run.
    pub(crate) time_limit: Duration,
}

/// Where the API is, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct SocketSettings {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its permissions.
    pub(crate) mode: u32,
    /// Its group, where it is not the agent's own.
    pub(crate) group: Option<Gid>,
    /// Whose members may write.
    pub(crate) admin_group: Option<Gid>,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// `info`, or a list of targets.
    pub(crate) level: Targets,
    /// JSON instead of text.
    pub(crate) json: bool,
}

impl Settings {
    /// The profile as it is written.
    #[must_use]
    pub(crate) fn profile_word(&self) -> &'static str {
        match self.profile {
            Profile::Local => "local",
            Profile::Lan => "lan",
            Profile::Wan => "wan",
        }
    }
}

/// One setting as `config show` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// Key in the file; `tags.role` for one tag.
    pub(crate) key: String,
    /// What holds; `null` where there is none.
    pub(crate) value: Option<String>,
    /// `--flag`, `HEARTSAY_VARIABLE`, `file:line` or `default`.
    pub(crate) origin: String,
    /// Taken over by a reload.
    pub(crate) reload: bool,
}

/// Makes sense of flags, environment and files.
///
/// # Errors
/// Everything that is wrong, with its place and a remedy.
pub(crate) fn load(args: &AgentArgs) -> Result<Settings, SettingsErrors> {
    let mut reader = Reader { errors: args.malformed.clone(), ..Reader::default() };
    for (path, text) in reader.files(args) {
        let errors = reader.layers.cover_file(&path, &text);
        reader.errors.extend(errors);
    }
    reader.layers.cover(&args.given);
    let settings = settle(&mut reader);
    if let Ok(settings) = &settings {
        if let Err(e) = judge(settings) {
            reader.refuse_state(&e);
        }
        if let Some(problem) =
            advertise::impossible(settings.advertise.as_ref(), settings.bind, &settings.seeds)
        {
            reader.refuse("advertise", &problem, "leave it out, and the address towards the seeds is taken");
        }
        if settings.tags.contains_key("") {
            reader.refuse("tags", "a tag has no key", "write KEY=VALUE, for instance role=web");
        }
        if let Some(problem) = too_few_members(settings) {
            reader.refuse("max_members", &problem, "give a larger --max-members, or expect fewer");
        }
        if let Some(problem) = behind_one_door(settings) {
            reader.refuse("dns_listen", &problem, "give it another port");
        }
    }
    match settings {
        Ok(settings) if reader.errors.is_empty() => Ok(settings),
        _ => Err(SettingsErrors(reader.errors)),
    }
}

/// Every setting with its value and origin: `heartsay config show`.
///
/// # Errors
/// As [`load`].
pub(crate) fn show(args: &AgentArgs) -> Result<Vec<Shown>, SettingsErrors> {
    load(args).map(|settings| settings.shown)
}

/// Checks everything and says what is allowed but unwise: `heartsay config check`.
///
/// # Errors
/// As [`load`].
pub(crate) fn check(args: &AgentArgs) -> Result<Vec<String>, SettingsErrors> {
    let settings = load(args)?;
    let mut warnings = Vec::new();
    if settings.machine.keyring.is_empty() {
        warnings.push("no key_file: datagrams are neither encrypted nor authenticated".to_owned());
    }
    if settings.seeds.is_empty() {
        warnings.push("no seeds: this agent waits to be found".to_owned());
    }
    if settings.machine.acceptable_pause < settings.machine.interval {
        warnings.push("acceptable_pause is shorter than interval: one lost datagram may accuse".to_owned());
    }
    if settings.http_listen.is_some_and(|at| !at.ip().is_loopback()) {
        warnings.push("http_listen is reachable from other hosts: everybody there can read".to_owned());
    }
    if settings.dns.as_ref().is_some_and(|dns| !dns.listen.ip().is_loopback()) {
        warnings
            .push("dns_listen is reachable from other hosts: everybody there can read the names".to_owned());
    }
    warnings.extend(advertise::unwise(settings.bind, &settings.seeds));
    warnings.extend(settings.machine.electorate.as_ref().and_then(Electorate::advice));
    warnings.extend(
        settings
            .machine
            .electorate
            .as_ref()
            .and_then(|electorate| values::outside_all_zones(electorate, settings.zone.as_deref())),
    );
    let electorate = settings.machine.electorate.as_ref();
    warnings.extend(electorate.and_then(|electorate| values::without_weight(electorate, &settings.tags)));
    warnings.extend(settings.exports.iter().filter_map(exports::unwise));
    warnings.extend(unknown_variables());
    Ok(warnings)
}

/// A sentence for each `HEARTSAY_*` variable that is not read, which is a typing error most of the time.
#[must_use]
pub(crate) fn unknown_variables() -> Vec<String> {
    unknown_among(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

fn unknown_among(names: impl Iterator<Item = String>) -> Vec<String> {
    // What hooks and handlers are told is for them, and they may start this program again.
    let told = crate::daemon::hooks::environment(&WatchLine::default());
    let known = |name: &str| {
        ROWS.iter().any(|row| row.env == name)
            || told.iter().any(|(variable, _)| *variable == name)
            || OTHER_VARIABLES.contains(&name)
    };
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX) && !known(name))
        .filter(|name| !NOT_OURS.iter().any(|prefix| name.starts_with(prefix)))
        .map(|name| match table::nearest(name.trim_start_matches(PREFIX)).and_then(table::row) {
            Some(row) => format!("{name} is set and is no setting; did you mean {}?", row.env),
            None => format!("{name} is set and is no setting; \"heartsay agent --help\" lists every one"),
        })
        .collect();
    unknown.sort();
    unknown
}

/// The ids of the keys in a file, the sealing one first.
///
/// # Errors
/// What is wrong with the file, without its content.
pub(crate) fn key_ids(file: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = file.display();
    let found = values::key_file(&file.to_string_lossy()).map_err(|e| anyhow::anyhow!("{shown} {e}"))?;
    let keyring = values::keyring(&found).map_err(|e| anyhow::anyhow!("{shown} {e}"))?;
    Ok(keyring.keys().iter().map(|key| key.id().get()).collect())
}

/// A file with every setting, its meaning and default, all commented out:
/// `heartsay config default`.
#[must_use]
pub(crate) fn default_toml() -> String {
    let mut text = String::from(
        "# Settings of the heartsay agent. Flags and HEARTSAY_* variables win over this file.\n\
         # Lines that are commented out show the default.\n",
    );
    let mut heading = "";
    for row in ROWS {
        if row.heading != heading {
            heading = row.heading;
            text += &format!("\n## {heading}\n");
        }
        text += &format!("\n# {}\n", row.help);
        let example = match (row.kind, row.default) {
            (Kind::Switch, Default::Text(truth)) => truth.to_owned(),
            (_, Default::Text(value)) => format!("\"{value}\""),
            (Kind::Many | Kind::Blocks, _) => "[]".to_owned(),
            (Kind::Table, _) => "{}".to_owned(),
            (_, Default::Found(_) | Default::Compulsory) => "\"\"".to_owned(),
        };
        match row.default {
            Default::Compulsory => text += "# Compulsory.\n",
            Default::Found(words) => text += &format!("# Default: {words}.\n"),
            Default::Text(_) => {}
        }
        text += &format!("#{} = {example}\n", row.key);
    }
    text
}

/// Settings that differ between two lists: those that a reload takes over, and
/// those that need a restart.
#[must_use]
pub(crate) fn difference(old: &[Shown], new: &[Shown]) -> (Vec<String>, Vec<String>) {
    let value = |of: &[Shown], key: &str| of.iter().find(|s| s.key == key).and_then(|s| s.value.clone());
    let mut keys: Vec<&Shown> = new.iter().collect();
    keys.extend(old.iter().filter(|o| !new.iter().any(|n| n.key == o.key)));
    let changed = keys.into_iter().filter(|s| value(old, &s.key) != value(new, &s.key));
    let (now, later): (Vec<_>, Vec<_>) = changed.partition(|s| s.reload);
    let keys = |of: Vec<&Shown>| of.into_iter().map(|s| s.key.clone()).collect();
    (keys(now), keys(later))
}

/// What holds after a reload: the new where it was taken over, else the old.
#[must_use]
pub(crate) fn in_force(old: &[Shown], new: Vec<Shown>) -> Vec<Shown> {
    let kept = |fresh: &Shown| old.iter().find(|o| o.key == fresh.key).cloned();
    new.into_iter().map(|fresh| if fresh.reload { fresh } else { kept(&fresh).unwrap_or(fresh) }).collect()
}

/// What the member tells about itself from the start.
#[must_use]
pub(crate) fn initial_state(settings: &Settings) -> Vec<(String, Vec<u8>)> {
    let version = Some((show::VERSION.to_owned(), env!("CARGO_PKG_VERSION").into()));
    let zone = settings.zone.as_ref().map(|zone| ("zone".to_owned(), zone.clone().into_bytes()));
    let tags = settings.tags.iter().map(|(k, v)| (format!("tag/{k}"), v.clone().into_bytes()));
    let services =
        instance::values(settings.services.iter().map(|service| (&service.name, &service.instance)));
    version.into_iter().chain(zone).chain(tags).chain(services).collect()
}

/// Reads every setting, also after one that is wrong, so that all errors are found. The order is that of `config show`.
fn settle(r: &mut Reader) -> Result<Settings, Failed> {
    let cluster = r.need("cluster", None, |text| Cluster::new(text));
    let profile = r.need("profile", None, values::profile);
    let base = Config::new(cluster?, profile?);
    let name = r.name(values::host_name());
    let zone = r.read("zone", None, values::zone);
    let tags = r.table("tags");
    let load = r.need("load", None, values::truth);
    let bind =
        r.need("bind", Some(values::default_bind().to_owned()), |text| values::listen(text, DEFAULT_PORT));
    let advertise = r.read("advertise", None, str::parse::<Advertise>);
    let seeds = r.seeds();
    let keyring = r.keyring();
    let datagram = r.need("datagram_size", None, values::datagram_size);
    let max_members = r.need("max_members", None, values::max_members);
    let http_listen = r.read("http_listen", None, |text| values::listen(text, DEFAULT_PORT + 1));
    let http_hosts = r.hosts();
    let dns = dns(r, base.cluster.id());
    let interval = r.duration("interval", Some(base.interval), SHORTEST_INTERVAL..=LONGEST);
    let pause = r.duration("acceptable_pause", Some(base.acceptable_pause), SHORTEST_INTERVAL..=LONGEST);
    let beacon = r.need("beacon", None, values::beacon);
    let detector =
        r.need("detector", None, |text| values::detector(text, *interval.as_ref().unwrap_or(&base.interval)));
    let exchanges = r.need("exchanges", None, |text| values::count(text, 1..=5));
    let witnesses = r.need("witnesses", None, |text| values::count(text, 1..=15));
    let sources = r.sources();
    let electorate = r.read("expected", None, values::electorate);
    let fence = fence(r, &base, electorate.as_ref());
    let beat_within = r.read("beat_within", None, beat_within);
    let hooks = hooks(r);
    let exports = r.exports();
    let services = r.services();
    let state_dir = r.need("state_dir", values::default_state_dir(), values::path);
    let history = r.need("history", None, values::truth);
    let socket = socket(r);
    let leave_on_terminate = r.need("leave_on_terminate", None, values::truth);
    let last_words = r.need("last_words", None, values::truth);
    let leave_timeout = r.duration("leave_timeout", Some(base.leave_timeout), Duration::ZERO..=LONGEST);
    let duplicate_name_timeout = r.duration("duplicate_name_timeout", None, Duration::ZERO..=LONGEST);
    let log = log(r);
    Ok(Settings {
        name: name?,
        zone: zone?,
        tags,
        machine: Config {
            keyring: keyring?.unwrap_or_default(),
            datagram: datagram?,
            max_members: max_members?,
            interval: interval?,
            acceptable_pause: pause?,
            beacon: beacon?,
            detector: detector?,
            exchanges: exchanges?,
            witnesses: witnesses?,
            sources: sources?,
            leave_timeout: leave_timeout?,
            electorate: electorate?,
            fence: fence?,
            ..base
        },
        profile: profile?,
        bind: bind?,
        advertise: advertise?,
        seeds: seeds?,
        http_listen: http_listen?,
        http_hosts: http_hosts?,
        dns: dns?,
        beat_within: beat_within?,
        hooks: hooks?,
        exports: exports?,
        services: services?,
        state_dir: state_dir?,
        history: history?,
        socket: socket?,
        leave_on_terminate: leave_on_terminate?,
        load: load?,
        last_words: last_words?,
        duplicate_name_timeout: duplicate_name_timeout?,
        log: log?,
        shown: std::mem::take(&mut r.shown),
    })
}

/// A fence needs an electorate that allows one.
fn fence(
    r: &mut Reader,
    base: &Config,
    electorate: Result<&Option<Electorate>, &Failed>,
) -> Result<bool, Failed> {
    r.need("fence", None, |text| {
        let fence = values::truth(text)?;
        match electorate {
            Ok(electorate) => {
                let machine = Config { fence, electorate: electorate.clone(), ..base.clone() };
                machine.check_fence().map(|()| fence).map_err(|e| e.to_string())
            }
            // The electorate is wrong in itself, and said to be.
            Err(Failed) => Ok(fence),
        }
    })
}

/// Names of a cluster whose id is no domain need one of their own.
fn dns(r: &mut Reader, cluster: &str) -> Result<Option<DnsSettings>, Failed> {
    let usual = Some(format!("{cluster}.heartsay")).filter(|domain| values::domain(domain).is_ok());
    let listen = r.read("dns_listen", None, |text| {
        values::listen(text, DEFAULT_PORT + 2).and_then(values::of_one_interface)
    });
    let domain = r.read("dns_domain", usual, values::domain);
    let ttl = r.need("dns_ttl", None, values::ttl);
    let open = r.need("dns_open", None, values::truth);
    let (listen, domain, ttl, open) = (listen?, domain?, ttl?, open?);
    let Some(listen) = listen else { return Ok(None) };
    if !listen.ip().is_loopback() && !open {
        let problem = format!("{listen} can be reached from other hosts");
        r.refuse("dns_listen", &problem, "give one such as 127.0.0.1, or allow it with --dns-open");
        return Err(Failed);
    }
    let Some(domain) = domain else {
        let problem = format!("{cluster}.heartsay, by the cluster, is no domain");
        r.refuse("dns_domain", &problem, "give --dns-domain DOMAIN");
        return Err(Failed);
    };
    Ok(Some(DnsSettings { listen, domain, ttl }))
}

fn beat_within(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(within) if (SHORTEST_INTERVAL..=LONGEST).contains(&within) => Ok(within),
        Ok(_) => Err("is outside 50ms to 10m".to_owned()),
        Err(e) => Err(format!("is no duration ({e})")),
    }
}

fn hooks(r: &mut Reader) -> Result<HookSettings, Failed> {
    let commands = r.hooks();
    let time_limit = r.duration("hook_timeout", None, SHORTEST_INTERVAL..=LONGEST);
    Ok(HookSettings { commands: commands?, time_limit: time_limit? })
}

fn socket(r: &mut Reader) -> Result<SocketSettings, Failed> {
    let usual = default_socket().map(|path| path.display().to_string());
    let path = r.need("socket", usual, values::socket);
    let mode = r.need("socket_mode", None, values::mode);
    let group = r.group("socket_group");
    let admin_group = r.group("admin_group");
    if matches!(admin_group, Ok(Some(group)) if is_nogroup(group)) {
        let problem = "stands for every group that has no number here, and so names no users";
        r.refuse("admin_group", problem, "make a group of its own");
    }
    Ok(SocketSettings { path: path?, mode: mode?, group: group?, admin_group: admin_group? })
}

fn log(r: &mut Reader) -> Result<LogSettings, Failed> {
    let level = r.need("log_level", None, crate::daemon::telemetry::targets);
    let json = r.need("log_format", None, |text| match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(not_one_of("is neither text nor json", text, &["text", "json"])),
    });
    Ok(LogSettings { level: level?, json: json? })
}

/// The machine itself is the judge of sizes: it is pure, so one can be made
/// and thrown away.
fn judge(settings: &Settings) -> Result<(), StateError> {
    let me = Identity {
        name: settings.name.clone(),
        host_id: HostId(0),
        generation: 1,
        // Not judged here: which one it will be is found out at the start.
        address: (Ipv4Addr::LOCALHOST, 1).into(),
        state: initial_state(settings),
    };
    match Node::new(me, settings.machine.clone(), 0, Instant::EPOCH) {
        Ok(_) | Err(IdentityError::Address { .. }) => Ok(()),
        Err(IdentityError::State(error)) => Err(error),
    }
}

/// Said where the members that are expected do not fit beside one another.
fn too_few_members(settings: &Settings) -> Option<String> {
    let Config { max_members, electorate, .. } = &settings.machine;
    let expected = electorate.as_ref().map_or(0, Electorate::most_electors);
    (expected > *max_members).then(|| format!("{max_members} is less than the {expected} that are expected"))
}

/// Said where two things would listen at one address: no start could give it to both.
fn behind_one_door(settings: &Settings) -> Option<String> {
    let Settings { dns: Some(dns), bind, http_listen, .. } = settings else { return None };
    let takes = |at: &SocketAddr| {
        let all = at.ip().is_unspecified() && (at.is_ipv6() || dns.listen.is_ipv4());
        dns.listen.port() != 0 && at.port() == dns.listen.port() && (all || at.ip() == dns.listen.ip())
    };
    let others = [("bind", Some(*bind)), ("http_listen", *http_listen)];
    let other = others.into_iter().find_map(|(key, at)| Some((key, at.filter(takes)?)));
    other.map(|(key, at)| format!("{} is what {key} takes ({at})", dns.listen))
}

/// Under this, timers of a busy host are coarser than what they measure.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
/// Longer than any wait here should be; the wire ends at it too.
const LONGEST: Duration = Duration::from_secs(600);

/// Of each variable that is ours.
const PREFIX: &str = "HEARTSAY_";
/// Where the file is, and what commands are told beside an event.
const OTHER_VARIABLES: [&str; 3] = ["HEARTSAY_CONFIG", "HEARTSAY_SELF", "HEARTSAY_MEMBERS"];
/// Kubernetes gives them to the pods beside a service that is called heartsay.
const NOT_OURS: [&str; 2] = ["HEARTSAY_SERVICE_", "HEARTSAY_PORT"];

#[cfg(test)]
mod tests {
    use heartsay_membership::{DetectorConfig, PhiConfig, Tail};

    use super::*;

    #[test]
    fn a_variable_that_is_not_read_is_named_with_the_one_that_was_meant() {
        let names = [
            "PATH",
            "HEARTSAY_SEED",
            "HEARTSAY_SEEDS",
            "HEARTSAY_SOCKET",
            "HEARTSAY_CONFIG",
            "HEARTSAY_EVENT",
            "HEARTSAY_SERVICE_HOST",
            "HEARTSAY_PORT_4327_UDP",
            "HEARTSAY_XYZZY",
        ];
        let said = unknown_among(names.map(str::to_owned).into_iter());
        assert_eq!(
            said,
            [
                "HEARTSAY_SEED is set and is no setting; did you mean HEARTSAY_SEEDS?",
                "HEARTSAY_XYZZY is set and is no setting; \"heartsay agent --help\" lists every one",
            ]
        );
    }

    use std::os::unix::fs::PermissionsExt;

    use layers::{Given, Raw};

    use clap::{Args, Command, FromArgMatches};

    fn args(flags: &[&str]) -> AgentArgs {
        let command = AgentArgs::augment_args(Command::new("agent").no_binary_name(true));
        AgentArgs::from_arg_matches(&command.get_matches_from(flags)).unwrap()
    }

    fn with_file(flags: &[&str], text: &str) -> (AgentArgs, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut args = args(flags);
        args.config = Some((file.path().to_owned(), None));
        (args, file)
    }

    fn shown(settings: &Settings, key: &str) -> (String, String) {
        let shown = settings.shown.iter().find(|shown| shown.key == key).unwrap();
        (shown.value.clone().unwrap_or_default(), shown.origin.clone())
    }

    #[test]
    fn flag_wins_over_environment_wins_over_file_wins_over_default() {
        let (mut args, file) = with_file(
            &["--interval", "300ms"],
            "cluster = \"c\"\ninterval = \"4s\"\nzone = \"file\"\nacceptable_pause = \"5s\"\n",
        );
        for (key, text, variable) in
            [("interval", "9s", "HEARTSAY_INTERVAL"), ("zone", "env", "HEARTSAY_ZONE")]
        {
            let given = Given { raw: Raw::One(text.to_owned()), origin: Origin::Env(variable) };
            args.given.0.entry(table::row(key).unwrap().key).or_insert(given);
        }
        let settings = load(&args).unwrap();
        let file = file.path().display();
        assert_eq!(shown(&settings, "interval"), ("300ms".into(), "--interval".into()));
        assert_eq!(shown(&settings, "zone"), ("env".into(), "HEARTSAY_ZONE".into()));
        assert_eq!(shown(&settings, "acceptable_pause"), ("5s".into(), format!("{file}:4")));
        assert_eq!(shown(&settings, "bind"), (values::default_bind().into(), "default".into()));
        assert_eq!(settings.machine.interval, Duration::from_millis(300));
        assert_eq!(settings.machine.acceptable_pause, Duration::from_secs(5));
    }

    #[test]
    fn the_detector_counts_missed_beats_of_the_interval() {
        let of = |flags: &[&str]| load(&args(&[&["--cluster", "c"][..], flags].concat())).unwrap().machine;
        assert_eq!(of(&[]).detector, DetectorConfig::default());
        let fixed =
            of(&["--interval", "2s", "--detector", "fixed:3", "--exchanges", "2", "--witnesses", "7"]);
        let DetectorConfig::Fixed(config) = fixed.detector else { panic!("{:?}", fixed.detector) };
        assert_eq!((config.missed, config.expected), (3, Duration::from_secs(2)));
        assert_eq!((fixed.exchanges, fixed.witnesses), (2, 7));
        let phi = of(&["--detector", "phi-exponential"]).detector;
        assert!(matches!(phi, DetectorConfig::Phi(PhiConfig { tail: Tail::Exponential, .. })));
    }

    #[test]
    fn lists_are_replaced_and_tables_merged() {
        let text = "cluster = \"c\"\nseeds = [\"a\", \"b\"]\ntags = { role = \"web\", rack = \"1\" }\n";
        let (args, _file) = with_file(&["--seed", "z:1", "--tag", "role=db"], text);
        let settings = load(&args).unwrap();
        assert_eq!(settings.seeds, ["z:1"]);
        let tags: Vec<_> = settings.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, [("rack", "1"), ("role", "db")]);
        assert_eq!(shown(&settings, "tags.role").1, "--tag");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
        let (args, file) = with_file(&[], "cluster = \"c\"\n\nintervall = \"1s\"\n");
        let errors = load(&args).unwrap_err();
        assert_eq!(errors.exit_code(), 2);
        let place =
            format!("{}:3: intervall: unknown setting; did you mean \"interval\"?", file.path().display());
        assert_eq!(errors.to_string(), place);
    }

    #[test]
    fn a_file_of_another_encoding_is_named_with_its_line() {
        for text in [&b"cluster = \"c\"\nname = \"z\xfcrich\"\n"[..], b"\xff\xfec\0l\0u\0"] {
            let (args, file) = with_file(&[], "");
            std::fs::write(file.path(), text).unwrap();
            let errors = load(&args).map(drop).unwrap_err();
            let line = if text.starts_with(b"c") { 2 } else { 1 };
            let said = format!("{}:{line}: is no UTF-8; save the file as UTF-8", file.path().display());
            assert_eq!((errors.to_string(), errors.exit_code()), (said, 2));
        }
    }

    #[test]
    fn every_error_is_told_at_once() {
        let errors = load(&args(&["--cluster", "c", "--interval", "2", "--bind", "nowhere"])).unwrap_err();
        let text = errors.to_string();
        assert!(text.contains("--interval: \"2\": is no duration"), "{text}");
        assert!(text.contains("--bind: \"nowhere\": is not IP:PORT; give --bind IP:PORT"), "{text}");
        assert_eq!(errors.exit_code(), 2);
    }

    #[test]
    fn a_missing_cluster_is_a_usage_error_that_says_how_to_give_one() {
        let errors = load(&args(&[])).unwrap_err();
        assert_eq!(errors.exit_code(), 2);
        assert!(errors.to_string().contains("give --cluster ID, set HEARTSAY_CLUSTER"), "{errors}");
    }

    #[test]
    fn a_long_name_and_a_large_tag_are_refused() {
        let long = "n".repeat(200);
        let errors = load(&args(&["--cluster", "c", "--name", &long])).unwrap_err();
        assert_eq!(errors.exit_code(), 2);
        assert!(errors.to_string().contains("200 bytes is too long"), "{errors}");
        let tag = format!("big={}", "v".repeat(800));
        let errors = load(&args(&["--cluster", "c", "--tag", &tag])).unwrap_err();
        assert_eq!(errors.exit_code(), 2);
        assert!(errors.to_string().contains("tag/big"), "{errors}");
    }

    #[test]
    fn whatever_makes_no_sense_is_exit_code_2_and_says_where_and_what_was_meant() {
        let long = format!("/run/{}.sock", "s".repeat(120));
        for (flags, said) in [
            (&["--name", "a b"][..], "--name: \"a b\": a name cannot contain"),
            (&["--cluster", "a b"], "--cluster"),
            (&["--zone", ""], "--zone: \"\": is empty; leave it out"),
            (&["--zone", "east "], "--zone: \"east \": begins or ends with a space"),
            (&["--seed", "n1,n2"], "--seed: \"n1,n2\": has a comma; give each seed by itself"),
            (&["--zone", "ea\nst"], "a zone cannot contain \\u{a}, which nobody sees"),
            (&["--tag", "=x"], "--tag: a tag has no key; write KEY=VALUE"),
            (&["--bind", "fe80::1"], "--bind: \"fe80::1\": is of one link"),
            (&["--advertise", "255.255.255.255"], "--advertise: \"255.255.255.255\": is an address at which"),
            (&["--seed", "224.0.0.1"], "--seed: \"224.0.0.1\": is an address at which no member can be"),
            (&["--seed", "10.0.0.1:0"], "--seed: \"10.0.0.1:0\": the port is no number from 1"),
            (&["--seed", "fe80::1"], "--seed: \"fe80::1\": is of one link"),
            (&["--beacon", "1ms"], "--beacon: \"1ms\": is less than 1s"),
            (
                &["--max-members", "3", "--expected", "5"],
                "--max-members: 3 is less than the 5 that are expected",
            ),
            (&["--dns-listen", "127.0.0.1:4327"], "--dns-listen: 127.0.0.1:4327 is what bind takes ("),
            (
                &["--http-listen", "127.0.0.1:4329", "--dns-listen", "127.0.0.1"],
                "--dns-listen: 127.0.0.1:4329 is what http_listen takes",
            ),
            (&["--fence=yes"], "--fence: \"yes\": is neither true nor false; did you mean \"true\"?"),
            (&["--leave-on-terminate=off"], "did you mean \"false\"?"),
            (&["--fence"], "--fence: "),
            (
                &["--detector", "phy"],
                "--detector: \"phy\": is not phi, phi-exponential or fixed:N; did you mean \"phi\"?",
            ),
            (&["--detector", "fixed:1"], "the number of missed beats is not a number from 2 to 100"),
            (&["--exchanges", "6"], "--exchanges: \"6\": is not a number from 1 to 5"),
            (&["--witnesses", "0"], "--witnesses: \"0\": is not a number from 1 to 15"),
            (&["--tag", "a b=1"], "--tag: key \"tag/a b\""),
            (&["--zone", &"z".repeat(800)], "--zone"),
            (&["--advertise", "127.0.0.1", "--seed", "10.0.0.1"], "--advertise: "),
            (&["--advertise", "eth0", "--bind", "10.0.0.1"], "--advertise: "),
            (&["--advertise", "[2001:db8::1]:1", "--bind", "0.0.0.0"], "--advertise: "),
            (&["--expected", "last-agreed:3"], "no electorate follows the cluster"),
            (&["--expected", "last_agreed"], "last_agreed would be the only voter; no electorate follows"),
            (&["--profile", "lann"], "did you mean \"lan\"?"),
            (&["--log-format", "jsn"], "did you mean \"json\"?"),
            (&["--log-level", "inffo"], "did you mean \"info\"?"),
            (&["--hook", "on_quorum_lsot=true"], "did you mean \"on_quorum_lost\"?"),
            (&["--socket", &long], "--socket"),
            (&["--seed", "n1:0"], "--seed"),
            (&["--http-listen", "224.0.0.1:80"], "--http-listen: \"224.0.0.1:80\": is the address of many"),
            (
                &["--dns-listen", "10.0.0.1"],
                "--dns-listen: 10.0.0.1:4329 can be reached from other hosts; give one",
            ),
            (
                &["--dns-listen", "0.0.0.0", "--dns-open"],
                "--dns-listen: \"0.0.0.0\": stands for all addresses",
            ),
            (&["--dns-domain", "a..b"], "--dns-domain: \"a..b\": is no domain"),
            (&["--dns-ttl", "1500ms"], "--dns-ttl: \"1500ms\": has a part of a second"),
            (&["--dns-ttl", "1h"], "--dns-ttl: \"1h\": is longer than 10m"),
            (
                &["--cluster", "ä", "--dns-listen", "127.0.0.1"],
                "ä.heartsay, by the cluster, is no domain; give --dns-domain",
            ),
        ] {
            let cluster: &[&str] = if flags.contains(&"--cluster") { &[] } else { &["--cluster", "c"] };
            let errors = load(&args(&[cluster, flags].concat())).map(drop).unwrap_err();
            assert_eq!(errors.exit_code(), 2, "{flags:?}: {errors}");
            assert!(errors.to_string().contains(said), "{flags:?}: {errors}");
        }
        for voters in ["a,b,c", "a,last-agreed", "db-1", "role=voter:3"] {
            assert!(load(&args(&["--cluster", "c", "--expected", voters])).is_ok(), "{voters}");
        }
    }

    #[test]
    fn a_file_that_is_not_understood_is_the_only_thing_that_is_wrong() {
        for (text, said) in [("cluster = \"c", ":1: "), ("cluster = \"c\"\nname = {\n", ":2: ")] {
            let (args, file) = with_file(&[], text);
            let errors = load(&args).unwrap_err().to_string();
            assert!(errors.starts_with(&format!("{}{said}", file.path().display())), "{errors}");
            assert_eq!(errors.lines().count(), 1, "the cluster is in the file: {errors}");
        }
        let (mut args, _file) = with_file(&[], "");
        args.config = Some(("/no/such/file".into(), Some(Origin::Flag("config"))));
        let errors = load(&args).unwrap_err().to_string();
        assert!(errors.contains("cannot read") && !errors.contains("cluster"), "{errors}");
    }

    #[test]
    fn an_error_about_one_tag_names_the_line_of_that_tag() {
        let (args, file) = with_file(&[], "cluster = \"c\"\ntags = { fine = \"1\", \"a b\" = \"2\" }\n");
        let mut args = args;
        args.given = self::args(&["--tag", "other=1"]).given;
        let errors = load(&args).unwrap_err();
        assert!(
            errors.to_string().starts_with(&format!("{}:2: tags: key", file.path().display())),
            "{errors}"
        );
    }

    #[test]
    fn a_host_without_a_name_has_to_be_given_one_and_may_have_one_at_another_start() {
        let mut reader = Reader::default();
        assert!(reader.name(Some("localhost.localdomain".to_owned())).is_err());
        let errors = SettingsErrors(reader.errors);
        assert_eq!(errors.exit_code(), 1);
        assert!(errors.to_string().contains("this host is called \"localhost.localdomain\""), "{errors}");
        let named = Reader::default().name(Some("db-1".to_owned())).unwrap();
        assert_eq!(named.as_str(), "db-1");
    }

    #[test]
    fn a_group_that_is_not_there_yet_is_no_bad_usage_and_worth_another_start() {
        let errors = load(&args(&["--cluster", "c", "--admin-group", "no-such-group"])).unwrap_err();
        assert_eq!(errors.exit_code(), 1);
        assert!(errors.to_string().contains("is not a group of this host"), "{errors}");
        let errors = load(&args(&["--cluster", "c", "--key-file", "/no/such/file"])).unwrap_err();
        assert_eq!(errors.exit_code(), 1, "it may be on a disk that is not mounted yet");
    }

    #[test]
    fn the_most_members_are_what_was_given_and_16384_otherwise() {
        let most = |given: &[&str]| load(&args(&[&["--cluster", "c"], given].concat()));
        assert_eq!(most(&[]).unwrap().machine.max_members, 16_384);
        assert_eq!(most(&["--max-members", "500"]).unwrap().machine.max_members, 500);
        for wrong in ["1", "1000001", "many"] {
            assert!(most(&["--max-members", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tag_that_does_not_fit_the_datagrams_is_refused_with_both_sizes() {
        let tag = format!("big={}", "v".repeat(700));
        let small = ["--cluster", "c", "--tag", &tag, "--datagram-size", "512"];
        let errors = load(&args(&small)).unwrap_err();
        assert_eq!(errors.exit_code(), 2);
        let text = errors.to_string();
        assert!(text.contains("tag/big") && text.contains("707 bytes; datagrams of 512 bytes"), "{text}");
        assert!(load(&args(&small[..4])).is_ok());
    }

    #[test]
    fn a_bad_key_file_is_told_by_line_and_never_by_content() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# keys\nc2VjcmV0\n").unwrap();
        let path = file.path().to_str().unwrap();
        let errors = load(&args(&["--cluster", "c", "--key-file", path])).unwrap_err();
        assert!(errors.to_string().contains("line 2"), "{errors}");
        assert!(!errors.to_string().contains("c2VjcmV0"), "{errors}");
        assert_eq!(errors.exit_code(), 2);
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let errors = load(&args(&["--cluster", "c", "--key-file", path])).unwrap_err();
        assert!(errors.to_string().contains("chmod"), "{errors}");
    }

    #[test]
    fn exports_of_all_files_stand_side_by_side_and_each_error_names_its_line() {
        let one =
            "[[export]]\nformat = \"json\"\npath = \"/a\"\n[export.select]\ntag = [\"role=web\", \"rack\"]\n";
        let (args, _file) = with_file(&[], &format!("cluster = \"c\"\n{one}"));
        let mut reader = Reader::default();
        for (path, text) in reader.files(&args) {
            assert_eq!(reader.layers.cover_file(&path, &text), []);
            assert_eq!(reader.layers.cover_file(Path::new("b.toml"), &one.replace("/a", "/b")), []);
        }
        let exports = settle(&mut reader).unwrap().exports;
        let labels: Vec<String> = exports.iter().map(Export::label).collect();
        assert_eq!(labels, ["/a", "/b"]);
        assert_eq!((exports[0].select.tags.len(), exports[0].min_members), (2, 1));
        assert_eq!(exports[0].settle, Duration::from_secs(2));
        let of_service = "cluster = \"c\"\n[[export]]\nformat = \"nginx\"\npath = \"/a\"\nselect = { service = \"web\" }\n";
        let exports = load(&with_file(&[], of_service).0).unwrap().exports;
        assert_eq!(exports[0].select.service, "web".parse().ok(), "instances say their ports");

        for (more, line, said) in [
            ("", 2, "export.format: is missing"),
            ("format = \"jsn\"\npath = \"/a\"", 3, "did you mean \"json\"?"),
            ("format = \"json\"", 2, "export.path: is missing"),
            ("format = \"json\"\npath = \"a\"", 4, "is no absolute path"),
            ("format = \"json\"\npath = \"/a\"\npaht = 1", 5, "did you mean \"path\"?"),
            ("format = \"nginx\"\npath = \"/a\"", 2, "export.port: is missing"),
            ("format = \"nginx\"\npath = \"/a\"\nport = 0", 5, "neither a port nor tag:KEY"),
            ("format = \"nginx\"\npath = \"/a\"\nport = 1\nname = \"a b\"", 6, "other characters"),
            ("format = \"nginx\"\npath = \"/a\"\nport = 1\nruntime = \"/s\"", 6, "format haproxy alone"),
            ("format = \"json\"\npath = \"/a\"\nselect.status = \"up\"", 5, "is not alive, suspect"),
            ("format = \"json\"\npath = \"/a\"\nselect.service = \"Web\"", 5, "is no name of a service"),
            ("format = \"json\"\npath = \"/a\"\nselect.health = \"passing\"", 5, "and none is named"),
            (
                "format = \"json\"\npath = \"/a\"\nselect = { service = \"web\", health = \"fine\" }",
                5,
                "is not passing, warning or critical",
            ),
            ("format = \"json\"\npath = \"/a\"\nsettle = \"11m\"", 5, "longer than 10m"),
            ("format = \"json\"\npath = \"/a\"\nmin_members = -1", 5, "is not a number from 0"),
            ("format = \"json\"\npath = [\"/a\"]\nport = []", 5, "is a list"),
            (
                "format = \"json\"\npath = \"/a\"\n[[export]]\nformat = \"hosts\"\npath = \"/a\"",
                7,
                "another export's",
            ),
        ] {
            let (args, file) = with_file(&[], &format!("cluster = \"c\"\n[[export]]\n{more}\n"));
            let errors = load(&args).map(drop).unwrap_err();
            let place = format!("{}:{line}: export", file.path().display());
            assert!(
                errors.to_string().contains(&place) && errors.to_string().contains(said),
                "{more}: {errors}"
            );
            assert_eq!(errors.exit_code(), 2, "{more}");
        }
        let template =
            "cluster = \"c\"\n[[export]]\nformat = \"template\"\npath = \"/a\"\ntemplate = \"/no/such\"\n";
        let errors = load(&with_file(&[], template).0).map(drop).unwrap_err();
        assert_eq!(errors.exit_code(), 1, "it may be on a disk that is not mounted yet: {errors}");
        let (args, _file) = with_file(&[], "cluster = \"c\"\nexport = \"json\"\n");
        assert!(load(&args).unwrap_err().to_string().contains("write tables, [[export]] above each"));
    }

    #[test]
    fn the_default_file_says_nothing_new() {
        let text = default_toml();
        let (args, _file) = with_file(&[], &format!("{text}\ncluster = \"c\"\n"));
        let plain = load(&args).unwrap();
        let uncommented: String = text
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with([' ', '#']) && !line.ends_with("\"\""))
            .map(|line| format!("{line}\n"))
            .collect();
        let (args, _file) = with_file(&[], &format!("{uncommented}\ncluster = \"c\"\n"));
        let written = load(&args).unwrap();
        let values =
            |s: &Settings| s.shown.iter().map(|s| (s.key.clone(), s.value.clone())).collect::<Vec<_>>();
        assert_eq!(values(&plain), values(&written));
    }
}
