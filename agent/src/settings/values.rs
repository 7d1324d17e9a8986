//! The shapes of single values, and defaults that are found out at start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use heartsay_membership::{Name, Profile};
use heartsay_proto::Keyring;
use nix::unistd::{Gid, Group, Uid};
use socket2::{Domain, Protocol, Socket, Type};

use crate::escape;

/// Where the socket is unless somebody says otherwise; `None` for a user
/// without a runtime directory.
#[must_use]
pub(crate) fn default_socket() -> Option<PathBuf> {
    if Uid::effective().is_root() {
        return Some(PathBuf::from("/run/heartsay/heartsay.sock"));
    }
    variable("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("heartsay.sock"))
}

/// local, lan or wan.
pub(super) fn profile(text: &str) -> Result<Profile, &'static str> {
    match text {
        "local" => Ok(Profile::Local),
        "lan" => Ok(Profile::Lan),
        "wan" => Ok(Profile::Wan),
        _ => Err("is not local, lan or wan"),
    }
}

/// `IP:PORT`, or an IP that gets `port`.
pub(super) fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)))
        .map_err(|_| "is not IP:PORT".to_owned())
}

/// An address to listen on. A multicast group can be bound, and nobody answers from it.
pub(super) fn of_a_host(address: SocketAddr) -> Result<SocketAddr, String> {
    if address.ip().is_multicast() || address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("is the address of many; give one of this host".to_owned());
    }
    Ok(address)
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

/// A path that is not empty.
pub(super) fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("is empty") } else { Ok(PathBuf::from(text)) }
}

/// Reads a key file. Errors name the line and never what is written there.
pub(super) fn keyring(file: &str) -> Result<Keyring, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("cannot be read: {e}"))?;
    let mode = std::fs::metadata(file).map_err(|e| format!("cannot be examined: {e}"))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!("is open to everybody (mode {:04o}); run chmod o-rwx on it", mode & 0o777));
    }
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

/// Where the state lives unless somebody says otherwise.
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
    fn a_name_with_what_nobody_sees_is_refused() {
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
        ] {
            assert_eq!(address(text, 1).and_then(of_a_host).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn a_key_file_may_begin_with_a_byte_order_mark() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("\u{feff}{}=\n", "A".repeat(43))).unwrap();
        assert!(keyring(file.path().to_str().unwrap()).is_ok());
    }

    #[test]
    fn drop_ins_that_cannot_be_listed_are_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(standard_files(Path::new("main.toml"), file.path()).is_err());
    }
}
