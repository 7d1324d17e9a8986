//! Every setting, once: its key, flag, environment variable, default and meaning.
//!
//! Flags, variables, the help, `config default` and `config show` are all made
//! from these rows, so that none of them can know a setting that another does not.

/// One setting.
#[derive(Debug)]
pub(crate) struct Row {
    /// Key in the file; also the stable name in `config show`.
    pub(crate) key: &'static str,
    /// Flag, without dashes.
    pub(crate) flag: &'static str,
    /// Environment variable.
    pub(crate) env: &'static str,
    /// What the flag's value is called in the help.
    pub(crate) value: &'static str,
    /// Group in the help and in the default file.
    pub(crate) heading: &'static str,
    /// How many values, and of what shape.
    pub(crate) kind: Kind,
    /// What holds when nothing is given.
    pub(crate) default: Default,
    /// One or two sentences.
    pub(crate) help: &'static str,
    /// Taken over by a reload; otherwise only by a restart.
    pub(crate) reload: bool,
}

/// Shape of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, number, duration, address.
    One,
    /// A list; a repeated flag, commas in the environment, an array in the file.
    Many,
    /// `key=value` pairs; a table in the file.
    Table,
    /// `true` or `false`; the bare flag means `true`.
    Switch,
    /// Tables of one kind; in files alone.
    Blocks,
}

/// Where a value comes from when none was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// This text, as if it had been written in the file.
    Text(&'static str),
    /// Found out at start; described here in words.
    Found(&'static str),
    /// Must be given.
    Compulsory,
}

/// The row of `key`, if there is one.
#[must_use]
pub(crate) fn row(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

/// Settings that a typing error may have meant, best first.
#[must_use]
pub(crate) fn nearest(key: &str) -> Option<&'static str> {
    let wanted = key.to_ascii_lowercase().replace('-', "_");
    ROWS.iter()
        .flat_map(|row| [(row.key, row.key.to_owned()), (row.key, row.flag.replace('-', "_"))])
        .map(|(key, written)| (key, strsim::jaro_winkler(&wanted, &written)))
        .filter(|(_, likeness)| *likeness > 0.75)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(key, _)| key)
}

const WHO: &str = "Who this agent is";
const NET: &str = "Network";
const DETECT: &str = "Detection";
const SERVICE: &str = "The service beside it";
const FILES: &str = "Socket and files";
const STOP: &str = "Stopping";
const LOG: &str = "Logging";

/// All of them, in the order in which people meet them.
pub(crate) const ROWS: &[Row] = &[
    Row {
        key: "cluster",
        flag: "cluster",
        env: "HEARTSAY_CLUSTER",
        value: "ID",
        heading: WHO,
        kind: Kind::One,
        default: Default::Compulsory,
        help: "Id of the cluster, the same on every member. Datagrams of any other cluster are refused, \
               so that re-used addresses never merge two clusters.",
        reload: false,
    },
    Row {
        key: "name",
        flag: "name",
        env: "HEARTSAY_NAME",
        value: "NAME",
        heading: WHO,
        kind: Kind::One,
        default: Default::Found("the host name"),
        help: "Name of this member, unique in the cluster; at most 128 bytes without spaces.",
        reload: false,
    },
    Row {
        key: "zone",
        flag: "zone",
        env: "HEARTSAY_ZONE",
        value: "ZONE",
        heading: WHO,
        kind: Kind::One,
        default: Default::Found("none"),
        help: "Part of the installation that fails as one: a rack, a room, an availability zone.",
        reload: false,
    },
    Row {
        key: "tags",
        flag: "tag",
        env: "HEARTSAY_TAGS",
        value: "KEY=VALUE",
        heading: WHO,
        kind: Kind::Table,
        default: Default::Found("none"),
        help: "A tag that the other members see; repeat for more. At most 768 bytes each.",
        reload: true,
    },
    Row {
        key: "load",
        flag: "load",
        env: "HEARTSAY_LOAD",
        value: "BOOL",
        heading: WHO,
        kind: Kind::Switch,
        default: Default::Text("false"),
        help: "Tell the other members how busy this host is, in steps, at most once a minute: processes per core, \
               free memory, free space of the disk that holds the state.",
        reload: false,
    },
    Row {
        key: "bind",
        flag: "bind",
        env: "HEARTSAY_BIND",
        value: "IP:PORT",
        heading: NET,
        kind: Kind::One,
        default: Default::Found("[::]:4327, IPv6 and IPv4; 0.0.0.0:4327 where the kernel has no IPv6"),
        help: "UDP address to listen on.",
        reload: false,
    },
    Row {
        key: "advertise",
        flag: "advertise",
        env: "HEARTSAY_ADVERTISE",
        value: "ADDRESS",
        heading: NET,
        kind: Kind::One,
        default: Default::Found("the bound address, or the one from which the seeds are reached"),
        help: "Address at which the other members reach this one: IP, IP:PORT, an interface (eth0), or a network in \
               which this host has one address (10.0.0.0/8). Unless it is an IP, it follows the host's network.",
        reload: false,
    },
    Row {
        key: "seeds",
        flag: "seed",
        env: "HEARTSAY_SEEDS",
        value: "SEED",
        heading: NET,
        kind: Kind::Many,
        default: Default::Found("none: the first of its cluster"),
        help: "Where other members may be found; repeat for more: HOST, HOST:PORT, or a service whose SRV records say both \
               (_heartsay._udp.example.org). Names are resolved again and again.",
        reload: true,
    },
    Row {
        key: "key_file",
        flag: "key-file",
        env: "HEARTSAY_KEY_FILE",
        value: "FILE",
        heading: NET,
        kind: Kind::One,
        default: Default::Found("none: datagrams are not encrypted"),
        help: "Keys of the cluster: one per line, 32 bytes in base64. The first one seals, all open; a line \"plain\" \
               stands for no key. Must not be readable by others.",
        reload: true,
    },
    Row {
        key: "datagram_size",
        flag: "datagram-size",
        env: "HEARTSAY_DATAGRAM_SIZE",
        value: "BYTES",
        heading: NET,
        kind: Kind::One,
        default: Default::Text("1200"),
        help: "Largest datagram, 512 to 1472 bytes; smaller for narrow tunnels.",
        reload: false,
    },
    Row {
        key: "max_members",
        flag: "max-members",
        env: "HEARTSAY_MAX_MEMBERS",
        value: "N",
        heading: NET,
        kind: Kind::One,
        default: Default::Text("16384"),
        help: "Most members that this agent takes, 2 to 1000000; each takes up to 2.2 kB of memory.",
        reload: false,
    },
    Row {
        key: "http_listen",
        flag: "http-listen",
        env: "HEARTSAY_HTTP_LISTEN",
        value: "IP:PORT",
        heading: NET,
        kind: Kind::One,
        default: Default::Found("off"),
        help: "Answer reads (members, /metrics, /livez, /readyz, a page for browsers at /) over TCP too. Nothing can be changed there.",
        reload: false,
    },
    Row {
        key: "http_hosts",
        flag: "http-host",
        env: "HEARTSAY_HTTP_HOSTS",
        value: "NAME",
        heading: NET,
        kind: Kind::Many,
        default: Default::Found("none further"),
        help: "Name by which clients call http_listen, beside its address, localhost and the name of this host; repeat for more. \
               Requests for other names are refused, so that no web page can read here by way of a browser.",
        reload: false,
    },
    Row {
        key: "dns_listen",
        flag: "dns-listen",
        env: "HEARTSAY_DNS_LISTEN",
        value: "IP:PORT",
        heading: NET,
        kind: Kind::One,
        default: Default::Found("off"),
        help: "Answer the DNS for names of members and roles, over UDP and TCP. An address of this host alone, such as \
               127.0.0.1:4329, unless dns_open says otherwise.",
        reload: false,
    },
    Row {
        key: "dns_domain",
        flag: "dns-domain",
        env: "HEARTSAY_DNS_DOMAIN",
        value: "DOMAIN",
        heading: NET,
        kind: Kind::One,
        default: Default::Found("CLUSTER.heartsay"),
        help: "Domain of the names: db-1.CLUSTER.heartsay is member db-1, web.role.CLUSTER.heartsay the members with tag role=web.",
        reload: false,
    },
    Row {
        key: "dns_ttl",
        flag: "dns-ttl",
        env: "HEARTSAY_DNS_TTL",
        value: "DURATION",
        heading: NET,
        kind: Kind::One,
        default: Default::Text("1s"),
        help: "How long caches may keep an answer: so long after a verdict a dead member may still be found. Whole seconds.",
        reload: false,
    },
    Row {
        key: "dns_open",
        flag: "dns-open",
        env: "HEARTSAY_DNS_OPEN",
        value: "BOOL",
        heading: NET,
        kind: Kind::Switch,
        default: Default::Text("false"),
        help: "Whether dns_listen may be an address that other hosts reach: all of them can read the names then.",
        reload: false,
    },
    Row {
        key: "profile",
        flag: "profile",
        env: "HEARTSAY_PROFILE",
        value: "PROFILE",
        heading: DETECT,
        kind: Kind::One,
        default: Default::Text("lan"),
        help: "Kind of network: local (one machine), lan (one site) or wan (between sites).",
        reload: false,
    },
    Row {
        key: "interval",
        flag: "interval",
        env: "HEARTSAY_INTERVAL",
        value: "DURATION",
        heading: DETECT,
        kind: Kind::One,
        default: Default::Found("1s"),
        help: "Time between two heartbeats. Halving it doubles the traffic.",
        reload: false,
    },
    Row {
        key: "acceptable_pause",
        flag: "acceptable-pause",
        env: "HEARTSAY_ACCEPTABLE_PAUSE",
        value: "DURATION",
        heading: DETECT,
        kind: Kind::One,
        default: Default::Found("2s; 4s with profile wan"),
        help: "How long a healthy process may be silent without being called down. \
               The one knob to turn: shorter finds crashes sooner, longer forgives longer pauses.",
        reload: false,
    },
    Row {
        key: "beacon",
        flag: "beacon",
        env: "HEARTSAY_BEACON",
        value: "DURATION",
        heading: DETECT,
        kind: Kind::One,
        default: Default::Text("10m"),
        help: "How often a member of the cluster, each in its turn, sends news by which the others measure how long \
               news takes; 0s: this member sends none. The same on every host.",
        reload: false,
    },
    Row {
        key: "detector",
        flag: "detector",
        env: "HEARTSAY_DETECTOR",
        value: "DETECTOR",
        heading: DETECT,
        kind: Kind::One,
        default: Default::Text("phi"),
        help: "What judges the silence of a member: phi learns its rhythm, phi-exponential forgives delays with a heavy \
               tail, fixed:N counts N missed beats.",
        reload: false,
    },
    Row {
        key: "exchanges",
        flag: "exchanges",
        env: "HEARTSAY_EXCHANGES",
        value: "COUNT",
        heading: DETECT,
        kind: Kind::One,
        default: Default::Text("1"),
        help: "Members called in each interval, 1 to 5. Each further one costs as much again, and makes heartbeats younger.",
        reload: false,
    },
    Row {
        key: "witnesses",
        flag: "witnesses",
        env: "HEARTSAY_WITNESSES",
        value: "COUNT",
        heading: DETECT,
        kind: Kind::One,
        default: Default::Text("5"),
        help: "Members of which most have to agree before one is called down, 1 to 15. The same on all members.",
        reload: false,
    },
    Row {
        key: "trusted_sources",
        flag: "trusted-source",
        env: "HEARTSAY_TRUSTED_SOURCES",
        value: "NAME",
        heading: DETECT,
        kind: Kind::Many,
        default: Default::Found("none"),
        help: "What outside the cluster may say that a member is gone (heartsay testify --source NAME); repeat for more. \
               Then it is down as soon as its witnesses get no answer. The same on all members.",
        reload: false,
    },
    Row {
        key: "expected",
        flag: "expected",
        env: "HEARTSAY_EXPECTED",
        value: "VOTES",
        heading: DETECT,
        kind: Kind::One,
        default: Default::Found("none: no quorum is kept"),
        help: "Who votes; quorum is more than half of all votes. A number of members (5), those with a tag \
               (role=voter:3), names, which is the safest (a,b,c), or sites, of which most decide \
               (zones:east=5,west=5,north=3). The same on all members.",
        reload: true,
    },
    Row {
        key: "fence",
        flag: "fence",
        env: "HEARTSAY_FENCE",
        value: "BOOL",
        heading: DETECT,
        kind: Kind::Switch,
        default: Default::Text("false"),
        help: "Whether to look after the leases of members that are down, so that events say when a lease has run out \
               for certain (fenced). At most nine electors. The same on all members.",
        reload: false,
    },
    Row {
        key: "beat_within",
        flag: "beat-within",
        env: "HEARTSAY_BEAT_WITHIN",
        value: "DURATION",
        heading: SERVICE,
        kind: Kind::One,
        default: Default::Found("off"),
        help: "The local service has to call \"heartsay beat\" at least this often, counted from the start of the agent. \
               When it does not, this member gives no sign of life and the others call it down.",
        reload: false,
    },
    Row {
        key: "hooks",
        flag: "hook",
        env: "HEARTSAY_HOOKS",
        value: "OCCASION=COMMAND",
        heading: SERVICE,
        kind: Kind::Table,
        default: Default::Found("none"),
        help: "Shell commands to run, as the agent's user: on_quorum_lost, on_quorum_regained, on_member_join, \
               on_member_suspect, on_member_alive, on_member_down, on_member_left, on_member_restart, \
               on_member_update, on_member_forgotten, on_member_fenced, on_service_up, on_service_warning, on_service_critical, \
               on_service_gone, on_link, on_self, on_event (each of them). The event is told in HEARTSAY_EVENT, _INDEX, _NAME, \
               _STATUS, _FENCED, _SERVICE, _INSTANCE, _CHANGED, _REASON, _QUORUM and as JSON on standard input; \
               the output goes to the log.",
        reload: false,
    },
    Row {
        key: "hook_timeout",
        flag: "hook-timeout",
        env: "HEARTSAY_HOOK_TIMEOUT",
        value: "DURATION",
        heading: SERVICE,
        kind: Kind::One,
        default: Default::Text("30s"),
        help: "How long a hook may run before it is ended with all its offspring.",
        reload: false,
    },
    Row {
        key: "export",
        flag: "export",
        env: "HEARTSAY_EXPORT",
        value: "TABLE",
        heading: SERVICE,
        kind: Kind::Blocks,
        default: Default::Found("none"),
        help: "Files that follow the members, or the instances of a service, for HAProxy, nginx, Envoy, Prometheus and others; in files alone, as [[export]] \
               with format and path, and with port, name, select, min_members, settle, on_change and others as the format has it.",
        reload: true,
    },
    Row {
        key: "service",
        flag: "service",
        env: "HEARTSAY_SERVICE",
        value: "TABLE",
        heading: SERVICE,
        kind: Kind::Blocks,
        default: Default::Found("none"),
        help: "Services of this host, told to all members; in files alone, as [[service]] with name, and with port, address, \
               tags, id where there are several of a name, and [[service.check]] for what the agent looks at.",
        reload: true,
    },
    Row {
        key: "state_dir",
        flag: "state-dir",
        env: "HEARTSAY_STATE_DIR",
        value: "DIR",
        heading: FILES,
        kind: Kind::One,
        default: Default::Found("/var/lib/heartsay as root, else ~/.local/state/heartsay"),
        help: "Host id, generation, last known peers and history live here. One agent per directory.",
        reload: false,
    },
    Row {
        key: "history",
        flag: "history",
        env: "HEARTSAY_HISTORY",
        value: "BOOL",
        heading: FILES,
        kind: Kind::Switch,
        default: Default::Text("true"),
        help: "Keep what happened in the last seven days in the state directory, for \"heartsay history\" and \
               \"heartsay why --at\"; at most 8 MiB.",
        reload: false,
    },
    Row {
        key: "socket",
        flag: "socket",
        env: "HEARTSAY_SOCKET",
        value: "PATH",
        heading: FILES,
        kind: Kind::One,
        default: Default::Found("/run/heartsay/heartsay.sock as root, else $XDG_RUNTIME_DIR/heartsay.sock"),
        help: "Unix socket on which the agent answers; unix:///path is understood too.",
        reload: false,
    },
    Row {
        key: "socket_mode",
        flag: "socket-mode",
        env: "HEARTSAY_SOCKET_MODE",
        value: "OCTAL",
        heading: FILES,
        kind: Kind::One,
        default: Default::Text("0660"),
        help: "Permissions of the socket: who may read.",
        reload: false,
    },
    Row {
        key: "socket_group",
        flag: "socket-group",
        env: "HEARTSAY_SOCKET_GROUP",
        value: "GROUP",
        heading: FILES,
        kind: Kind::One,
        default: Default::Found("the agent's own"),
        help: "Group of the socket, by name or number.",
        reload: false,
    },
    Row {
        key: "admin_group",
        flag: "admin-group",
        env: "HEARTSAY_ADMIN_GROUP",
        value: "GROUP",
        heading: FILES,
        kind: Kind::One,
        default: Default::Found("none"),
        help: "Group whose members may change things (join, leave, forget, tags), \
               beside root and the agent's own user.",
        reload: false,
    },
    Row {
        key: "leave_on_terminate",
        flag: "leave-on-terminate",
        env: "HEARTSAY_LEAVE_ON_TERMINATE",
        value: "BOOL",
        heading: STOP,
        kind: Kind::Switch,
        default: Default::Text("true"),
        help: "Say good-bye when asked to stop. Without it the others notice by themselves; \
               quorum voters that only restart may prefer that.",
        reload: false,
    },
    Row {
        key: "last_words",
        flag: "last-words",
        env: "HEARTSAY_LAST_WORDS",
        value: "BOOL",
        heading: STOP,
        kind: Kind::Switch,
        default: Default::Text("true"),
        help: "When this process ends in any other way, have its host tell the members so at once. A small \
               process beside it waits for that.",
        reload: false,
    },
    Row {
        key: "leave_timeout",
        flag: "leave-timeout",
        env: "HEARTSAY_LEAVE_TIMEOUT",
        value: "DURATION",
        heading: STOP,
        kind: Kind::One,
        default: Default::Found("1s; 3s with profile wan"),
        help: "How long the good-bye waits to be acknowledged.",
        reload: false,
    },
    Row {
        key: "duplicate_name_timeout",
        flag: "duplicate-name-timeout",
        env: "HEARTSAY_DUPLICATE_NAME_TIMEOUT",
        value: "DURATION",
        heading: STOP,
        kind: Kind::One,
        default: Default::Text("30s"),
        help: "Give up after this long when another living host holds the name.",
        reload: false,
    },
    Row {
        key: "log_level",
        flag: "log-level",
        env: "HEARTSAY_LOG_LEVEL",
        value: "LEVEL",
        heading: LOG,
        kind: Kind::One,
        default: Default::Text("info"),
        help: "error, warn, info, debug or trace; or a list such as info,heartsay_membership=debug.",
        reload: true,
    },
    Row {
        key: "log_format",
        flag: "log-format",
        env: "HEARTSAY_LOG_FORMAT",
        value: "FORMAT",
        heading: LOG,
        kind: Kind::One,
        default: Default::Text("text"),
        help: "text or json, on standard error.",
        reload: false,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_variables_follow_from_the_key() {
        for row in ROWS {
            assert_eq!(row.env, format!("HEARTSAY_{}", row.key.to_uppercase()));
            let flag = row.key.replace('_', "-");
            assert!(row.flag == flag || format!("{}s", row.flag) == flag, "{} / {}", row.flag, row.key);
        }
    }

    #[test]
    fn a_typing_error_finds_what_was_meant() {
        assert_eq!(nearest("intervall"), Some("interval"));
        assert_eq!(nearest("acceptable-pause"), Some("acceptable_pause"));
        assert_eq!(nearest("seed"), Some("seeds"));
        assert_eq!(nearest("zzz"), None);
    }
}
