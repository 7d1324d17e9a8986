//! The names of what can be wrong. A code is a contract with scripts and alerts: it is added, never renamed or given
//! another meaning.

use std::fmt;
use std::time::Duration;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Something does not work.
    Error,
    /// Something works worse than it should, or will not work when it is needed.
    Warning,
    /// Worth a look; nothing is wrong yet.
    Note,
}

impl Severity {
    /// As the API says it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// The least that it takes to have this agent say something that is not so. Somebody on the way who drops datagrams forges
/// nothing: what is said then is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forger {
    /// A datagram, an ICMP message or an answer of the DNS from no member. No address proves that it is true, since each can
    /// be forged: it is shown beside what it may explain, and hides nothing.
    Outsider,
    /// What a member says, or does not say.
    Insider,
    /// This host itself.
    Host,
}

/// What is known of a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// As people and scripts see it.
    pub(crate) word: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Who can forge it.
    pub(crate) forger: Forger,
    /// It follows from these: it is hidden while one of them stands, for the same subject if both have one.
    pub(crate) after: &'static [Code],
    /// It is shown after it has stood for so long. Below that it often passes by itself.
    pub(crate) visible: Duration,
    /// What to do, unless the condition brings a more exact remedy.
    pub(crate) remedy: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident: $word:literal, $severity:ident, $forger:ident, after [$($after:ident),*], visible $seconds:literal s, $remedy:literal;)*) => {
        /// One way to be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// All of them; of two that are equally bad the first is shown first.
            pub(crate) const ALL: &[Self] = &[$(Self::$code),*];

            /// What is known of it.
            pub(crate) fn kind(self) -> Kind {
                match self {
                    $(Self::$code => Kind {
                        word: $word,
                        severity: Severity::$severity,
                        forger: Forger::$forger,
                        after: &[$(Self::$after),*],
                        visible: Duration::from_secs($seconds),
                        remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

codes! {
    /// The settings on this host make no sense, and no agent runs.
    SettingsRefused: "settings-refused", Error, Host, after [], visible 0 s,
        "mend them, look with heartsay config check, and start the agent";
    /// The unit of systemd does not run.
    UnitNotRunning: "unit-not-running", Error, Host, after [SettingsRefused], visible 0 s,
        "systemctl start heartsay; its log: journalctl -u heartsay";
    /// No process listens at the socket.
    AgentNotRunning: "agent-not-running", Error, Host, after [SettingsRefused, UnitNotRunning], visible 0 s,
        "start it (systemctl start heartsay), or give the path of its socket with --socket";
    /// The socket may not be opened by this user.
    SocketRights: "socket-rights", Error, Host, after [], visible 0 s,
        "run it as a user of the group that owns the socket, or as root; socket_group and socket_mode say who may";
    /// The agent takes connections and does not answer.
    AgentHangs: "agent-hangs", Error, Host, after [], visible 0 s,
        "look whether it is stopped (kill -CONT) or starved of CPU; systemctl restart heartsay";
    /// The socket file was removed and cannot be made again.
    SocketRemoved: "socket-removed", Error, Host, after [], visible 0 s,
        "remove what is in its place; it is tried again every 10 s";
    /// Another living host holds the name.
    DuplicateName: "duplicate-name", Error, Insider, after [], visible 0 s,
        "give one of the two another name; a cloned machine also needs a state directory of its own";
    /// A second host has the name of a member.
    NameClaimed: "name-claimed", Error, Outsider, after [], visible 0 s,
        "give one of the two another name; a cloned machine also needs a state directory of its own";
    /// The clock is more than a day off.
    ClockOff: "clock-off", Error, Insider, after [], visible 0 s,
        "set the clock (timedatectl set-ntp true, or chronyc makestep)";
    /// Datagrams are sealed with a key that does not open here.
    KeyUnknown: "key-unknown", Error, Outsider, after [], visible 0 s,
        "give all members the same key_file and reload; heartsay keys list shows the ids on each host";
    /// Some members have a key, and some have none.
    EncryptionDiffers: "encryption-differs", Error, Outsider, after [], visible 0 s,
        "set key_file on all members, or on none, and reload";
    /// Another cluster sends datagrams here.
    ClusterIdDiffers: "cluster-id-differs", Error, Outsider, after [], visible 0 s,
        "if those hosts are to be members, set the same cluster on all; if not, mend the seed that leads here";
    /// Another version of the wire.
    VersionOld: "version-old", Error, Outsider, after [], visible 0 s,
        "upgrade the older of the two";
    /// The host has no address for others.
    AdvertisedAddress: "advertised-address", Error, Host, after [], visible 5 s,
        "set advertise to an address, an interface or a network that this host has";
    /// The local service does not beat.
    ServiceDoesNotBeat: "service-does-not-beat", Error, Host, after [], visible 0 s,
        "bring the local service back, so that it beats (heartsay beat)";
    /// UDP does not pass between this host and all others.
    UdpBlocked: "udp-blocked", Error, Host, after [], visible 0 s,
        "let UDP pass both ways at the port of the agents, on this host (nft list ruleset) and on the way";
    /// Seeds resolve, and no agent answers there.
    SeedsUnreachable: "seeds-unreachable", Error, Host,
        after [ClockOff, DuplicateName, AdvertisedAddress, UdpBlocked],
        visible 10 s,
        "see that an agent of the same cluster and key runs there, and that UDP passes both ways";
    /// Seeds have no addresses.
    SeedsDoNotResolve: "seeds-do-not-resolve", Error, Outsider, after [], visible 0 s,
        "mend the name, or the resolver of this host; it is asked again without end";
    /// Most others look silent at once.
    Isolated: "isolated", Error, Insider, after [UdpBlocked, ServiceDoesNotBeat], visible 3 s,
        "look at this host's interface, cable and packet filter";
    /// The others find this member unfit.
    KeptOut: "kept-out", Error, Insider, after [UdpBlocked, ServiceDoesNotBeat], visible 0 s,
        "look at this host's interface, cable and packet filter; what runs on it must not act as if it held quorum";
    /// The others do not count this member.
    NotCounted: "not-counted", Error, Insider,
        after [UdpBlocked, Isolated, ServiceDoesNotBeat, KeptOut, DuplicateName, ClockOff],
        visible 3 s,
        "see that UDP passes both ways between the others and the address that this agent advertises";
    /// Other members answer, and none calls.
    NeverCalled: "never-called", Error, Insider,
        after [UdpBlocked, Isolated, ServiceDoesNotBeat, KeptOut, NotCounted, DuplicateName, ClockOff, AdvertisedAddress, TwoMembersAtOneAddress],
        visible 0 s,
        "see that advertise is an address at which others reach this host, and that packet filters let them begin";
    /// Two members at one address.
    TwoMembersAtOneAddress: "two-members-at-one-address", Error, Insider, after [], visible 0 s,
        "check advertise on both, and whether two hosts have this address";
    /// Two members with one host id.
    CopiedStateDirectory: "copied-state-directory", Error, Insider, after [], visible 0 s,
        "on the copy: stop the agent, remove what is in its state directory, start it";
    /// The state directory cannot be written.
    StateDirectory: "state-directory", Error, Host, after [], visible 0 s,
        "make room on its file system, and give the agent's user the right to write there";
    /// Long datagrams get lost.
    MtuHole: "mtu-hole", Error, Insider, after [UdpBlocked], visible 0 s,
        "mend the link, let ICMP \"fragmentation needed\" through, or set a smaller datagram_size on every member";
    /// A direct path works one way only.
    OneWayLink: "one-way-link", Error, Insider, after [UdpBlocked, Isolated, NotCounted], visible 3 s,
        "look at packet filters and routes in that direction";
    /// A direct path works neither way.
    PathDown: "path-down", Error, Insider, after [UdpBlocked, Isolated, NotCounted, TwoMembersAtOneAddress], visible 10 s,
        "look at the link between the two, and at packet filters for this pair";
    /// Electorates differ.
    ExpectedDiffers: "expected-differs", Error, Insider, after [], visible 0 s,
        "state the same on all members, and reload";
    /// More voters are expected than there are.
    ExpectedTooLarge: "expected-too-large", Warning, Insider, after [UdpBlocked, Isolated, NotCounted, SeedsUnreachable, ExpectedDiffers, ClockOff, DuplicateName, AdvertisedAddress], visible 30 s,
        "start the missing members, or lower expected on all members and reload";
    /// More voters are there than expected.
    ExpectedTooSmall: "expected-too-small", Warning, Insider, after [ExpectedDiffers], visible 5 s,
        "raise expected on all members and reload, or forget the members that are gone for good (heartsay forget NAME)";
    /// A member that is down is on a host that runs, and neither answers nor refuses. A forged answer to the knock may turn
    /// this, the next and [`MemberDown`](Self::MemberDown) into one another; each says that the member is down.
    PortSilent: "port-silent", Error, Insider, after [UdpBlocked, Isolated], visible 0 s,
        "look there: is the agent stopped, or does a packet filter drop UDP at its port?";
    /// The host of a dead agent does not say so.
    RefusalsFiltered: "refusals-filtered", Warning, Insider, after [UdpBlocked, Isolated], visible 0 s,
        "let ICMP \"port unreachable\" through, there and on the way: with it the death of a process is known at once";
    /// This side of a cut has no quorum.
    CutOff: "cut-off", Error, Insider,
        after [UdpBlocked, Isolated, NotCounted, KeptOut, DuplicateName, ClockOff, TwoMembersAtOneAddress, CopiedStateDirectory], visible 0 s,
        "ask one of them (heartsay status on its host): if it holds quorum, mend the network between; if their hosts have died, start them";
    /// A member comes and goes.
    MemberFlapping: "member-flapping", Error, Insider,
        after [UdpBlocked, Isolated, NotCounted, KeptOut, TwoMembersAtOneAddress, CopiedStateDirectory], visible 0 s,
        "look there: cable, interface, packet filter, and whether its agent is restarted again and again";
    /// A member is down.
    MemberDown: "member-down", Error, Insider,
        after [PortSilent, RefusalsFiltered, UdpBlocked, Isolated, NotCounted, KeptOut, TwoMembersAtOneAddress, CopiedStateDirectory],
        visible 0 s,
        "start the agent there; heartsay why NAME shows the evidence; if it is gone for good: heartsay forget NAME";
    /// Datagrams do not find a way.
    NoRoute: "no-route", Error, Outsider, after [CutOff, MemberDown, MemberFlapping, PortSilent, RefusalsFiltered, SeedsUnreachable, UdpBlocked, AdvertisedAddress, Isolated, NotCounted], visible 5 s,
        "mend the route (ip route get ADDRESS), or the seed that names this address";
    /// The neighbour table of the kernel is full.
    NeighbourTableFull: "neighbour-table-full", Error, Host, after [], visible 0 s,
        "raise net.ipv4.neigh.default.gc_thresh3 (and net.ipv6.neigh.default.gc_thresh3) above the number of neighbours";
    /// The kernel does not take datagrams.
    DatagramsDoNotLeave: "datagrams-do-not-leave", Error, Outsider, after [NeighbourTableFull, UdpBlocked, MtuHole], visible 5 s,
        "mend what the line names; dmesg may say more";
    /// The kernel drops datagrams unread.
    ReceiveBufferSmall: "receive-buffer-small", Warning, Outsider, after [], visible 0 s,
        "raise net.core.rmem_max to 1048576 and restart the agent, or give it more CPU time";
    /// A filter rejects instead of dropping.
    FilterRejects: "filter-rejects", Warning, Outsider, after [UdpBlocked], visible 3 s,
        "let its filter drop silently instead of rejecting: a reject says that the process is gone";
    /// A member loses far more than others.
    MemberDegraded: "member-degraded", Warning, Insider, after [UdpBlocked, Isolated, OneWayLink, PathDown, MtuHole], visible 0 s,
        "look at its interface, cable and CPU; heartsay why NAME shows the evidence";
    /// A service does not work.
    ServiceCritical: "service-critical", Warning, Insider, after [], visible 0 s,
        "look at the program there; heartsay service show NAME on its host says what its check found";
    /// Round trips are too long for the profile.
    ProfileTooTight: "profile-too-tight", Warning, Insider, after [AgentSlow], visible 0 s,
        "take a wider profile on all members: lan instead of local, wan instead of lan";
    /// The agent is late.
    AgentSlow: "agent-slow", Warning, Insider, after [UdpBlocked, Isolated, NotCounted, OneWayLink, PathDown, MtuHole], visible 30 s,
        "give the agent more CPU time, and look at what this host's network loses";
    /// Quorum is not held.
    QuorumNotHeld: "quorum-not-held", Error, Insider,
        after [UdpBlocked, Isolated, NotCounted, KeptOut, DuplicateName, ClockOff, ServiceDoesNotBeat, SeedsUnreachable, AdvertisedAddress, ExpectedDiffers, ExpectedTooLarge, ExpectedTooSmall, CutOff, MemberDown, PortSilent, RefusalsFiltered, OneWayLink, PathDown],
        visible 15 s,
        "heartsay quorum says why";
    /// Values of others are too long here.
    ValuesTooLong: "values-too-long", Warning, Insider, after [MtuHole], visible 0 s,
        "raise datagram_size here to that of the others";
    /// An export fails.
    ExportFailing: "export-failing", Warning, Insider, after [], visible 0 s,
        "heartsay export shows each; the file stays as it was";
    /// The list of an export is kept as it was.
    NamesHeld: "names-held", Warning, Insider, after [UdpBlocked, Isolated, NotCounted, SeedsUnreachable], visible 3 s,
        "mend the view of this agent first; the names follow by themselves";
    /// The last reload was refused.
    ReloadRefused: "reload-refused", Warning, Host, after [], visible 0 s,
        "mend the settings, look with heartsay config check, and reload";
    /// Some members have a zone, and some have none.
    ZoneMissing: "zone-missing", Note, Insider, after [], visible 60 s,
        "set zone on all members, or on none";
    /// A zone has one member, and others have several.
    ZoneOfOne: "zone-of-one", Note, Insider, after [], visible 0 s,
        "check the spelling of its zone; a zone of one has no witness of its own";
    /// The agent is of another version than this program.
    AgentOutdated: "agent-outdated", Note, Host, after [], visible 0 s,
        "heartsay restart: the others wait and raise no alarm";
}

impl Code {
    /// Each says one thing about one member; about several in one line it names none as its subject.
    pub(crate) fn is_of_a_member(self) -> bool {
        matches!(
            self,
            Self::MemberDown
                | Self::MemberFlapping
                | Self::MemberDegraded
                | Self::OneWayLink
                | Self::PathDown
                | Self::FilterRejects
                | Self::ServiceCritical
                | Self::PortSilent
                | Self::RefusalsFiltered
        )
    }

    /// The code of this name.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.kind().word == word)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().word)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_kebab_case_and_differ_and_each_has_a_remedy() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.kind().word).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            let Kind { word, remedy, .. } = code.kind();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{word}");
            assert!(!remedy.is_empty(), "{word}");
            assert_eq!(Code::named(word), Some(*code));
        }
    }

    #[test]
    fn nothing_follows_from_itself() {
        fn causes(code: Code, seen: &mut Vec<Code>) {
            assert!(!seen.contains(&code), "{seen:?} leads to {code} again");
            seen.push(code);
            code.kind().after.iter().for_each(|cause| causes(*cause, seen));
            seen.pop();
        }
        Code::ALL.iter().for_each(|code| causes(*code, &mut Vec::new()));
    }

    #[test]
    fn what_an_outsider_can_forge_hides_nothing() {
        let forged = |code: &&Code| code.kind().forger == Forger::Outsider;
        assert!(Code::ALL.iter().any(|code| forged(&code)));
        for code in Code::ALL {
            let hidden_by: Vec<_> = code.kind().after.iter().filter(forged).collect();
            assert!(hidden_by.is_empty(), "{hidden_by:?} would hide {code}");
        }
    }

    #[test]
    fn the_page_explains_each_code() {
        let page = include_str!("../../../docs/operations.md");
        let table = page.split_once("### Codes of what is wrong").unwrap().1.split_once("\n### ").unwrap().0;
        for code in Code::ALL {
            let Kind { word, severity, .. } = code.kind();
            let row = format!("| `{word}` | {} |", severity.word());
            assert!(table.contains(&row), "{row} is not in the table");
        }
        assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), Code::ALL.len());
    }
}
