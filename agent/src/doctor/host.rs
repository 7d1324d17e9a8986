//! What only the host shows: limits of its kernel, room on its disk, and why no agent answers.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Group, Uid, User};
use tokio::net::{TcpStream, UdpSocket};

use super::{Code, Condition, Said};

/// What the kernel of this host allows, as far as it can be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// `net.core.rmem_max`, in bytes.
    pub(crate) receive_buffer: Option<u64>,
    /// Entries of the neighbour table, and how many it may have.
    pub(crate) neighbours: Option<(u64, u64)>,
    /// The file system of the state directory.
    pub(crate) state_dir: Option<StateDir>,
}

/// See [`Limits::state_dir`].
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    pub(crate) path: PathBuf,
    pub(crate) free: u64,
    pub(crate) read_only: bool,
}

impl Limits {
    /// As they are now.
    pub(crate) fn read(state_dir: Option<&Path>) -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        let limit = number("/proc/sys/net/ipv4/neigh/default/gc_thresh3");
        Self {
            receive_buffer: number("/proc/sys/net/core/rmem_max"),
            neighbours: neighbours().zip(limit),
            state_dir: state_dir.and_then(StateDir::read),
        }
    }

    /// What is too small for a cluster of so many.
    pub(crate) fn conditions(&self, members: usize) -> Vec<Condition> {
        let mut all = Vec::new();
        if let Some(bytes) = self.receive_buffer.filter(|bytes| *bytes < RECEIVE_BUFFER && members > MANY) {
            let what = format!(
                "net.core.rmem_max is {bytes} bytes, and a cluster of {members} members needs {RECEIVE_BUFFER}"
            );
            all.push(Condition::new(Code::ReceiveBufferSmall, what));
        }
        if let Some((used, limit)) = self.neighbours.filter(|(used, limit)| *used >= limit / 10 * 9) {
            let what = format!("the neighbour table of this host has {used} entries of {limit} (gc_thresh3)");
            all.push(Condition::new(Code::NeighbourTableFull, what));
        }
        if let Some(dir) = &self.state_dir {
            let path = dir.path.display();
            let why = match (dir.read_only, dir.free < ROOM) {
                (true, _) => {
                    Some(format!("the state directory {path} is on a file system that is read-only"))
                }
                (false, true) => {
                    Some(format!("the file system of the state directory {path} has {} bytes free", dir.free))
                }
                (false, false) => None,
            };
            all.extend(why.map(|why| Condition::new(Code::StateDirectory, why)));
        }
        all
    }
}

impl StateDir {
    fn read(path: &Path) -> Option<Self> {
        let fs = statvfs(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            free: fs.blocks_available().saturating_mul(fs.fragment_size()),
            read_only: fs.flags().contains(FsFlags::ST_RDONLY),
        })
    }
}

/// Of the whole host, whichever network namespace they are in; below that of ours.
fn neighbours() -> Option<u64> {
    let statistics = fs::read_to_string("/proc/net/stat/arp_cache").ok();
    let whole = statistics
        .as_deref()
        .and_then(|text| u64::from_str_radix(text.lines().nth(1)?.split_whitespace().next()?, 16).ok());
    whole.or_else(|| {
        let table = fs::read_to_string("/proc/net/arp").ok()?;
        u64::try_from(table.lines().skip(1).count()).ok()
    })
}

/// Why the socket at `path` may not be opened by this user.
pub(crate) fn denied(path: &Path) -> Condition {
    let me = User::from_uid(Uid::effective()).ok().flatten();
    let me = me.map_or_else(|| format!("user {}", Uid::effective()), |user| user.name);
    let said = match fs::metadata(path) {
        Ok(file) => {
            let group = Group::from_gid(Gid::from_raw(file.gid())).ok().flatten();
            let group = group.map_or_else(|| file.gid().to_string(), |group| group.name);
            let mode = file.mode() & 0o7777;
            let remedy = if mode & 0o060 == 0o060 {
                format!(
                    "add {me} to group {group} (usermod -aG {group} {me}) and log in again, or ask as root"
                )
            } else {
                format!(
                    "ask as root, or let group {group} in: socket_mode = \"0660\" and a restart of the agent"
                )
            };
            Said::new(
                format!("{me} may not open the socket {} (group {group}, mode {mode:04o})", path.display()),
                remedy,
            )
        }
        // Not even that may be seen.
        Err(_) => {
            format!("{me} may not open the socket {}: a directory above it is closed", path.display()).into()
        }
    };
    Condition::new(Code::SocketRights, said)
}

/// What systemd says of the unit, if it has a say and the unit does not run.
pub(crate) async fn unit() -> Option<Condition> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let mut command = tokio::process::Command::new("systemctl");
    command.args(["show", "heartsay", "--property=LoadState,ActiveState,Result,ConditionResult"]);
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    unit_condition(&String::from_utf8_lossy(&output.stdout))
}

fn unit_condition(shown: &str) -> Option<Condition> {
    let of =
        |key: &str| shown.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or("");
    if of("LoadState") != "loaded" || matches!(of("ActiveState"), "active" | "reloading") {
        return None;
    }
    let said = if of("ConditionResult") == "no" {
        Said::new(
            "systemd skips the unit heartsay: there are no settings on this host",
            "write /etc/heartsay/heartsay.toml, and systemctl start heartsay",
        )
    } else {
        format!("the unit heartsay is {} ({})", of("ActiveState"), of("Result")).into()
    };
    Some(Condition::new(Code::UnitNotRunning, said))
}

/// What the host of a member that is down does with what is sent there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Knock {
    /// It refuses datagrams at the port of the agent.
    pub(crate) port_refuses: bool,
    /// It refuses datagrams at a port that hardly anything uses.
    pub(crate) other_refuses: bool,
    /// It answers TCP, if only to refuse it.
    pub(crate) answers_tcp: bool,
}

impl Knock {
    /// Knocks at the host of a member that is down: some datagrams of one byte and a connection that is closed at once.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let other = SocketAddr::new(address.ip(), UNUSED_PORT);
        let (port_refuses, other_refuses, answers_tcp) =
            tokio::join!(refuses(address), refuses(other), answers_tcp(address));
        Self { port_refuses, other_refuses, answers_tcp }
    }

    /// What that says about member `name`.
    pub(crate) fn condition(self, name: &str, address: SocketAddr) -> Option<Condition> {
        match self {
            // The process is gone, and its host says so; or the host is gone too.
            Self { port_refuses: true, .. }
            | Self { port_refuses: false, other_refuses: false, answers_tcp: false } => None,
            Self { port_refuses: false, other_refuses: true, .. } => {
                let what = format!(
                    "{name} is down, its host runs, and its port {address} neither answers nor refuses datagrams"
                );
                Some(Condition::new(Code::PortSilent, what).of(name))
            }
            Self { port_refuses: false, other_refuses: false, answers_tcp: true } => {
                let what = format!(
                    "{name} is down, its host {} answers TCP, and refuses no datagram: ICMP \"port unreachable\", or all of \
                     UDP, is filtered there or on the way",
                    address.ip()
                );
                Some(Condition::new(Code::RefusalsFiltered, what).of(name))
            }
        }
    }
}

async fn refuses(to: SocketAddr) -> bool {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let Ok(socket) = UdpSocket::bind(any).await else { return false };
    if socket.connect(to).await.is_err() {
        return false;
    }
    for _ in 0..KNOCKS {
        let is_refusal = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
        // A refusal is reported by the next operation, whichever that is.
        if socket.send(&[0]).await.is_err_and(|e| is_refusal(&e)) {
            return true;
        }
        let answer = tokio::time::timeout(KNOCK, socket.recv(&mut [0; 1])).await;
        if matches!(answer, Ok(Err(e)) if is_refusal(&e)) {
            return true;
        }
    }
    false
}

async fn answers_tcp(to: SocketAddr) -> bool {
    match tokio::time::timeout(KNOCK * KNOCKS, TcpStream::connect(to)).await {
        Ok(Ok(_)) => true,
        Ok(Err(e)) => e.kind() == std::io::ErrorKind::ConnectionRefused,
        Err(_) => false,
    }
}

/// What the agent asks for.
const RECEIVE_BUFFER: u64 = 1 << 20;
/// Members from which on the usual buffer is small: docs/operations.md, sizing.
const MANY: usize = 1000;
/// Less than a state directory may take.
const ROOM: u64 = 1 << 20;
/// Where traceroute begins, as hardly anything listens there.
const UNUSED_PORT: u16 = 33_434;
/// Hosts refuse a few datagrams a second, and forget the others.
const KNOCKS: u32 = 3;
/// Round trips between continents take less.
const KNOCK: Duration = Duration::from_millis(500);
/// For a service manager that is busy.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(limits: &Limits, members: usize) -> Vec<&'static str> {
        limits.conditions(members).iter().map(|one| one.code.kind().word).collect()
    }

    #[test]
    fn limits_of_the_kernel_are_told_where_they_matter() {
        let well = Limits {
            receive_buffer: Some(212_992),
            neighbours: Some((899, 1000)),
            state_dir: Some(StateDir { path: "/var/lib/heartsay".into(), free: ROOM, read_only: false }),
        };
        assert_eq!(codes(&well, 1000), [""; 0]);
        assert_eq!(codes(&well, 1001), ["receive-buffer-small"]);
        assert_eq!(codes(&Limits { receive_buffer: Some(RECEIVE_BUFFER), ..well.clone() }, 9999), [""; 0]);
        assert_eq!(
            codes(&Limits { neighbours: Some((900, 1000)), ..well.clone() }, 5),
            ["neighbour-table-full"]
        );
        let dir = well.state_dir.clone().unwrap();
        for (free, read_only) in [(ROOM - 1, false), (ROOM, true)] {
            let limits =
                Limits { state_dir: Some(StateDir { free, read_only, ..dir.clone() }), ..well.clone() };
            assert_eq!(codes(&limits, 5), ["state-directory"]);
        }
        assert_eq!(codes(&Limits::default(), 9999), [""; 0], "what cannot be read is no trouble");
    }

    #[test]
    fn what_a_host_does_with_datagrams_tells_a_dead_process_from_a_silent_port() {
        let at = SocketAddr::from(([10, 0, 0, 2], 4327));
        for (port_refuses, other_refuses, answers_tcp, code) in [
            (true, true, true, None),
            (true, false, false, None),
            (false, false, false, None),
            (false, true, true, Some("port-silent")),
            (false, true, false, Some("port-silent")),
            (false, false, true, Some("refusals-filtered")),
        ] {
            let knock = Knock { port_refuses, other_refuses, answers_tcp };
            let found = knock.condition("m2", at);
            assert_eq!(found.map(|one| one.code.kind().word), code, "{knock:?}");
        }
    }

    #[tokio::test]
    async fn a_port_without_a_process_refuses_and_one_that_listens_does_not() {
        let open = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let open_at = open.local_addr().unwrap();
        let knock = Knock::at(open_at).await;
        assert!(!knock.port_refuses && knock.other_refuses && knock.answers_tcp, "{knock:?}");
        drop(open);
        assert!(Knock::at(open_at).await.port_refuses);
    }

    #[test]
    fn a_unit_that_was_skipped_is_told_from_one_that_failed() {
        let shown = |active: &str, result: &str, condition: &str| {
            let text = format!(
                "LoadState=loaded\nActiveState={active}\nResult={result}\nConditionResult={condition}\n"
            );
            unit_condition(&text).map(|one| one.said.what)
        };
        assert_eq!(shown("active", "success", "yes"), None);
        assert!(shown("inactive", "success", "no").unwrap().contains("no settings"));
        assert_eq!(shown("failed", "exit-code", "yes").unwrap(), "the unit heartsay is failed (exit-code)");
        assert_eq!(unit_condition("LoadState=not-found\nActiveState=inactive\n"), None);
    }

    #[test]
    fn a_socket_that_may_not_be_opened_is_told_with_its_group_and_the_way_in() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("heartsay.sock");
        fs::write(&at, "").unwrap();
        let with = |mode: u32| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
            denied(&at)
        };
        assert!(with(0o660).said.remedy.contains("usermod -aG"));
        let closed = with(0o600);
        assert!(closed.said.what.contains("mode 0600") && closed.said.remedy.contains("socket_mode"));
    }
}
