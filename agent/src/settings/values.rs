//! The shapes of single values, and defaults that are found out at start.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use heartsay_membership::Profile;
use heartsay_proto::Keyring;
use nix::unistd::{Gid, Group, Uid};
use socket2::{Domain, Protocol, Socket, Type};

use super::layers;

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
    let keyring = Keyring::parse(&text).map_err(|e| e.to_string())?;
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

/// The files that are read when none is named.
pub(super) fn standard_files() -> Vec<PathBuf> {
    let mut drop_ins: Vec<PathBuf> = std::fs::read_dir(layers::DROP_INS)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    drop_ins.sort();
    drop_ins.insert(0, Path::new(layers::MAIN_FILE).to_owned());
    drop_ins
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
