//! The shapes of single values, and defaults that are found out at start.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use heartsay_membership::{
    DetectorConfig, Electorate, ElectorateError, FixedConfig, Name, PhiConfig, Profile, Tail,
};
use heartsay_proto::{Budget, Keyring};
use nix::libc;
use nix::unistd::{Gid, Group, Uid};
use socket2::{Domain, Protocol, Socket, Type};

use crate::escape;
use crate::export::format::is_host_name;

/// Where the socket is by default; `None` for a user
/// without a runtime directory.
#[must_use]
pub(crate) fn default_socket() -> Option<PathBuf> {
    if Uid::effective().is_root() {
        return Some(PathBuf::from("/run/heartsay/heartsay.sock"));
    }
    variable("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("heartsay.sock"))
}

/// local, lan or wan.
pub(super) fn profile(text: &str) -> Result<Profile, String> {
    match text {
        "local" => Ok(Profile::Local),
        "lan" => Ok(Profile::Lan),
        "wan" => Ok(Profile::Wan),
        _ => Err(not_one_of("is not local, lan or wan", text, &["local", "lan", "wan"])),
    }
}

/// true or false.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    let meant = match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "1" => "true",
        "no" | "off" | "0" => "false",
        _ => text,
    };
    text.parse().map_err(|_| not_one_of("is neither true nor false", meant, &["true", "false"]))
}

/// Who votes. A single voter whose name is nearly the word that is refused is no voter.
pub(super) fn electorate(text: &str) -> Result<Electorate, String> {
    let electorate: Electorate = text.parse().map_err(|e: ElectorateError| e.to_string())?;
    if let Electorate::Voters(voters) = &electorate
        && voters.len() == 1
        && let Some(name) = voters.keys().map(Name::as_str).find(|name| likeness(name, LAST_AGREED) > 0.9)
    {
        return Err(format!("{name} would be the only voter; {}", ElectorateError::Follows));
    }
    Ok(electorate)
}

/// Said of a member that has no vote by zones, because it is in none of them.
pub(super) fn outside_all_zones(electorate: &Electorate, zone: Option<&str>) -> Option<String> {
    let Electorate::Zones { zones, .. } = electorate else { return None };
    if zone.is_some_and(|zone| zones.contains_key(zone)) {
        return None;
    }
    let known: Vec<&str> = zones.keys().map(String::as_str).collect();
    let ours =
        zone.map_or_else(|| "no zone is set".to_owned(), |zone| format!("zone {zone:?} is none of those"));
    let meant = zone.and_then(|zone| nearest(zone, &known));
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
    Some(format!("{ours} in expected ({}), so this member has no vote{meant}", known.join(", ")))
}

/// The word that was most likely meant, if one of these was.
#[must_use]
pub(super) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let like = words.iter().map(|word| (*word, likeness(text, word)));
    like.filter(|(_, likeness)| *likeness > 0.75).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(word, _)| word)
}

fn likeness(text: &str, word: &str) -> f64 {
    strsim::jaro_winkler(&text.to_ascii_lowercase().replace('-', "_"), &word.replace('-', "_"))
}

/// The problem, and what was most likely meant.
pub(crate) fn not_one_of(problem: &str, text: &str, words: &[&str]) -> String {
    match nearest(text, words) {
        Some(meant) => format!("{problem}; did you mean {meant:?}?"),
        None => problem.to_owned(),
    }
}

/// `IP:PORT`, or an IP that gets `port`.
pub(super) fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)))
        .map_err(|_| "is not IP:PORT".to_owned())
}

/// An address to listen on. A multicast group can be bound, and no answer comes from it.
pub(super) fn of_a_host(address: SocketAddr) -> Result<SocketAddr, String> {
    if address.ip().is_multicast() || address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("is the address of many; give one of this host".to_owned());
    }
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_unicast_link_local()
        && v6.scope_id() == 0
    {
        return Err("is of one link, and which one is not said; give an address that is not".to_owned());
    }
    Ok(address)
}

/// An address of this host to listen on.
pub(super) fn listen(text: &str, port: u16) -> Result<SocketAddr, String> {
    address(text, port).and_then(of_a_host)
}

/// An address from which answers to datagrams leave, as the system would choose another for those to "all".
pub(super) fn of_one_interface(address: SocketAddr) -> Result<SocketAddr, String> {
    if address.ip().is_unspecified() {
        return Err("stands for all addresses; give one of this host".to_owned());
    }
    Ok(address)
}

/// A domain that has room for names before it.
pub(super) fn domain(text: &str) -> Result<String, &'static str> {
    let text = text.trim_end_matches('.');
    if text.len() > LONGEST_DOMAIN || !is_host_name(text) {
        return Err("is no domain such as shop.internal");
    }
    Ok(text.to_owned())
}

/// How long an answer may be kept.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|e| format!("is no duration ({e})"))?;
    if ttl.subsec_nanos() > 0 {
        return Err("has a part of a second, which the DNS has not".to_owned());
    }
    if ttl > super::LONGEST { Err("is longer than 10m".to_owned()) } else { Ok(ttl) }
}

/// A number of bytes that a datagram may have.
pub(super) fn datagram_size(text: &str) -> Result<Budget, String> {
    let size: usize = text.parse().map_err(|_| "is not a number of bytes".to_owned())?;
    Budget::new(size).map_err(|e| e.to_string())
}

/// What judges the silence of a member: phi, phi-exponential, or fixed:N.
pub(super) fn detector(text: &str, interval: Duration) -> Result<DetectorConfig, String> {
    let phi = |tail| DetectorConfig::Phi(PhiConfig { tail, ..PhiConfig::default() });
    match text {
        "phi" => return Ok(phi(Tail::Normal)),
        "phi-exponential" => return Ok(phi(Tail::Exponential)),
        _ => {}
    }
    let Some(missed) = text.strip_prefix("fixed:") else {
        return Err(not_one_of(
            "is not phi, phi-exponential or fixed:N",
            text,
            &["phi", "phi-exponential", "fixed:4"],
        ));
    };
    let missed = count(missed, 2..=100).map_err(|problem| format!("the number of missed beats {problem}"))?;
    Ok(DetectorConfig::Fixed(FixedConfig { expected: interval, missed, ..FixedConfig::default() }))
}

/// A number within these limits.
pub(super) fn count<T: FromStr + PartialOrd + fmt::Display>(
    text: &str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("is not a number from {} to {}", range.start(), range.end()))
}

/// A duration within these limits.
pub(super) fn duration(text: &str, range: std::ops::RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|e| format!("is no duration ({e})"))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let [least, most] = [range.start(), range.end()].map(|limit| humantime::format_duration(*limit));
    Err(format!("is outside {least} to {most}"))
}

/// How many members there may be.
pub(super) fn max_members(text: &str) -> Result<usize, String> {
    count(text, 2..=MOST_MEMBERS)
}

/// Permissions of a file.
pub(super) fn mode(text: &str) -> Result<u32, &'static str> {
    match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("is not an octal mode such as 0660"),
    }
}

/// A name that people can tell from others by reading it.
pub(super) fn name(text: &str) -> Result<Name, String> {
    match text.chars().find(|c| !escape::shows(*c)) {
        Some(character) => {
            Err(format!("a name cannot contain {}, which nobody sees", character.escape_unicode()))
        }
        None => Name::new(text).map_err(|e| e.to_string()),
    }
}

/// A zone that people can tell from others by reading it.
pub(super) fn zone(text: &str) -> Result<String, String> {
    match text.chars().find(|c| !escape::shows(*c)) {
        Some(character) => {
            Err(format!("a zone cannot contain {}, which nobody sees", character.escape_unicode()))
        }
        None if text.trim().is_empty() => Err("is empty; leave it out where there is none".to_owned()),
        None if text.trim() != text => Err("begins or ends with a space, which nobody sees".to_owned()),
        None => Ok(text.to_owned()),
    }
}

/// How often one member, each in its turn, sends news only to be measured; 0: this one never does.
pub(super) fn beacon(text: &str) -> Result<Option<Duration>, String> {
    let gap = duration(text, Duration::ZERO..=LONGEST_BEACON)?;
    match gap {
        Duration::ZERO => Ok(None),
        gap if gap < SHORTEST_BEACON => {
            Err("is less than 1s, and not 0s, with which none is sent".to_owned())
        }
        gap => Ok(Some(gap)),
    }
}

/// Said of a member that has no vote by weights, because its weight is no number.
pub(super) fn without_weight(electorate: &Electorate, tags: &BTreeMap<String, String>) -> Option<String> {
    let Electorate::Expected { weight: Some(key), .. } = electorate else { return None };
    let said = tags.get(key).filter(|said| said.parse::<u32>().is_err())?;
    Some(format!("the tag {key} is {said:?}, which is no number, so this member has no vote"))
}

/// A path that is not empty.
pub(super) fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("is empty") } else { Ok(PathBuf::from(text)) }
}

/// A path at which there can be a socket, also written as a URL.
pub(super) fn socket(text: &str) -> Result<PathBuf, String> {
    let text = text.strip_prefix("unix://").unwrap_or(text);
    let path = path(text)?;
    if text.len() > LONGEST_SOCKET {
        let bytes = text.len();
        return Err(format!("has {bytes} bytes; the path of a socket has {LONGEST_SOCKET} at most"));
    }
    Ok(path)
}

/// Whether `text` can be the name or the address of a host.
pub(super) fn is_host(text: &str) -> bool {
    let name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    !text.is_empty() && (name(text) || text.parse::<IpAddr>().is_ok())
}

/// A key file, as it was when it was opened.
#[derive(Debug)]
pub(super) struct KeyFile {
    text: Vec<u8>,
    mode: u32,
    owner: Uid,
}

/// Reads a key file. Links are followed, as the secrets of Kubernetes need it, if they are root's or ours.
pub(super) fn key_file(path: &str) -> Result<KeyFile, KeyFileError> {
    let unreadable = |e: io::Error| KeyFileError::Unreadable(format!("cannot be read: {e}"));
    let link = std::fs::symlink_metadata(path).map_err(unreadable)?;
    if link.is_symlink() && !is_trusted(Uid::from_raw(link.uid())) {
        return Err(KeyFileError::Wrong(format!("is a link of user {}; {OWNER}", link.uid())));
    }
    // A pipe would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(KeyFileError::Wrong("is no plain file".to_owned()));
    }
    let mut text = Vec::new();
    file.take(LONGEST_KEY_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LONGEST_KEY_FILE {
        let detail = format!("is longer than {LONGEST_KEY_FILE} bytes, which no list of keys is");
        return Err(KeyFileError::Wrong(detail));
    }
    Ok(KeyFile { text, mode: found.permissions().mode(), owner: Uid::from_raw(found.uid()) })
}

impl KeyFile {
    /// Whether it is a file of those that this process trusts, which is what an agent needs.
    pub(super) fn check_owner(&self) -> Result<(), String> {
        match is_trusted(self.owner) {
            true => Ok(()),
            false => Err(format!("belongs to user {}; {OWNER}", self.owner)),
        }
    }
}

fn is_trusted(owner: Uid) -> bool {
    owner.is_root() || owner == Uid::effective()
}

/// Why there are no keys.
#[derive(Debug)]
pub(super) enum KeyFileError {
    /// That may pass.
    Unreadable(String),
    /// That does not.
    Wrong(String),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable(why) | Self::Wrong(why)) = self;
        f.write_str(why)
    }
}

/// Reads the text of a key file. Errors name the line and never what is written there.
pub(super) fn keyring(KeyFile { text, mode, .. }: &KeyFile) -> Result<Keyring, String> {
    if mode & 0o007 != 0 {
        return Err(format!("is open to everybody (mode {:04o}); run chmod o-rwx on it", mode & 0o777));
    }
    if mode & 0o020 != 0 {
        return Err(format!("can be changed by its group (mode {:04o}); run chmod g-w on it", mode & 0o777));
    }
    let text = std::str::from_utf8(text).map_err(|_| {
        "is no text; each line is a key in base64, as \"heartsay keygen\" writes it".to_owned()
    })?;
    // Some editors begin a file with it.
    let keyring = Keyring::parse(text.trim_start_matches('\u{feff}')).map_err(|e| e.to_string())?;
    if keyring.is_empty() {
        return Err("holds no key; \"heartsay keygen\" makes one".to_owned());
    }
    Ok(keyring)
}

/// A group by number or name.
pub(super) fn group(text: &str) -> Result<Gid, String> {
    if let Ok(number) = text.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err("is not a group of this host".to_owned()),
        Err(e) => Err(format!("cannot be looked up: {e}")),
    }
}

/// The files that are read when none is named: `main`, and the drop-ins in `dir`, by name.
///
/// # Errors
/// The directory is there and does not say what is in it.
pub(super) fn standard_files(main: &Path, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    match std::fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                files.push(entry?.path());
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files.insert(0, main.to_owned());
    Ok(files)
}

/// All addresses of this host: of both families where the kernel has IPv6.
pub(super) fn default_bind() -> &'static str {
    let both = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).and_then(|s| s.set_only_v6(false));
    if both.is_ok() { "[::]:4327" } else { "0.0.0.0:4327" }
}

/// What this host is called.
pub(super) fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

/// Whether a host is called so before it is given a name. All of them are, so it names none.
pub(super) fn is_of_no_host(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or(name);
    first.eq_ignore_ascii_case("localhost") || ["", "(none)"].contains(&name)
}

/// Where the state is kept by default.
pub(super) fn default_state_dir() -> Option<String> {
    if Uid::effective().is_root() {
        return Some("/var/lib/heartsay".to_owned());
    }
    if let Some(dir) = variable("XDG_STATE_HOME") {
        return Some(format!("{dir}/heartsay"));
    }
    variable("HOME").map(|home| format!("{home}/.local/state/heartsay"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Far more than one flat cluster can be; a larger number is a slip.
const MOST_MEMBERS: usize = 1_000_000;
/// Of the 253 that a name has at most.
const LONGEST_DOMAIN: usize = 120;
const SHORTEST_BEACON: Duration = Duration::from_secs(1);
const LONGEST_BEACON: Duration = Duration::from_secs(24 * 3600);
const LAST_AGREED: &str = "last-agreed";
/// As the system has it (`sun_path`), less the zero at the end.
const LONGEST_SOCKET: usize = 107;

/// Ends the sentence of a key file of another user.
const OWNER: &str = "only files of root and of the user that runs the agent are taken";
/// In bytes; a thousand keys.
const LONGEST_KEY_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_come_by_name_after_the_main_file_and_none_is_a_choice() {
        let dir = tempfile::tempdir().unwrap();
        let files = |dir: &Path| standard_files(Path::new("main.toml"), dir).unwrap();
        assert_eq!(files(&dir.path().join("none")), [Path::new("main.toml")]);
        for name in ["20-b.toml", "10-a.toml", "README"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        assert_eq!(files(dir.path()), [PathBuf::from("main.toml"), at("10-a.toml"), at("20-b.toml")]);
    }

    #[test]
    fn a_member_outside_all_zones_that_vote_is_told_so() {
        let zones = electorate("zones:east=3,west=3,north=1").unwrap();
        assert_eq!(outside_all_zones(&zones, Some("east")), None);
        let said = |zone| outside_all_zones(&zones, zone).unwrap();
        assert!(said(Some("esat")).contains("did you mean \"east\"?"));
        assert!(said(None).contains("no zone is set") && said(Some("oslo")).ends_with("has no vote"));
        assert_eq!(outside_all_zones(&electorate("5").unwrap(), None), None);
    }

    #[test]
    fn a_member_whose_weight_is_no_number_is_told_so() {
        let tags = |votes: &str| BTreeMap::from([("votes".to_owned(), votes.to_owned())]);
        let weighted = electorate("7*votes").unwrap();
        assert!(without_weight(&weighted, &tags("thre")).unwrap().contains("the tag votes is \"thre\""));
        assert_eq!(without_weight(&weighted, &tags("3")), None);
        assert_eq!(without_weight(&weighted, &BTreeMap::new()), None, "that is how to say it");
        assert_eq!(without_weight(&electorate("7").unwrap(), &tags("thre")), None);
    }

    #[test]
    fn what_every_host_is_called_at_first_names_none() {
        for name in ["localhost", "localhost.localdomain", "LocalHost", "(none)", ""] {
            assert!(is_of_no_host(name), "{name}");
        }
        for name in ["localhost1", "db-1", "none", "db.localhost"] {
            assert!(!is_of_no_host(name), "{name}");
        }
    }

    #[test]
    fn a_name_with_an_invisible_character_is_refused() {
        assert!(name("db-1").is_ok() && name("dбé-东").is_ok());
        for text in ["db\u{200b}-1", "\u{202e}1-bd", "db\u{feff}", "a b"] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_of_many_is_not_one_to_listen_on() {
        for (text, fine) in [
            ("10.0.0.1", true),
            ("::", true),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("ff02::1", false),
            ("fe80::1", false),
            ("[fe80::1%2]:4328", true),
        ] {
            assert_eq!(address(text, 1).and_then(of_a_host).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn a_key_file_may_begin_with_a_byte_order_mark() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("\u{feff}{}=\n", "A".repeat(43))).unwrap();
        assert!(key_file(file.path().to_str().unwrap()).is_ok_and(|found| keyring(&found).is_ok()));
    }

    #[test]
    fn drop_ins_that_cannot_be_listed_are_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(standard_files(Path::new("main.toml"), file.path()).is_err());
    }
}
