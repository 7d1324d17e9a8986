//! The user at the other end of a Unix socket, by the kernel's word alone.
//!
//! The groups are those that the process had when it connected (`SO_PEERGROUPS`, see unix(7)): a group that its unit gave
//! it counts although no user database says so, and no look-up can hang on a network that is down.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, LazyLock};

use nix::libc;
use nix::unistd::{Gid, Uid};
use tokio::net::UnixStream;

/// A process of this host, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its user.
    pub(crate) uid: Uid,
    /// Its number, in our namespace of processes.
    pub(crate) pid: Option<i32>,
    /// Its first group.
    gid: Gid,
    /// Its further groups.
    groups: Arc<[libc::gid_t]>,
}

impl Peer {
    /// The process that connected `stream`.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        // A kernel that does not know the option leaves it with its first one.
        let groups = groups(stream).unwrap_or_default().into();
        Ok(Self {
            uid: Uid::from_raw(peer.uid()),
            // The kernel says 0 of one in a namespace that we do not see.
            pid: peer.pid().filter(|pid| *pid > 0),
            gid: Gid::from_raw(peer.gid()),
            groups,
        })
    }

    /// Whether it was of the user that this process is of.
    pub(crate) fn is_our_user(&self) -> bool {
        self.uid == Uid::effective() && !means_anybody(self.uid)
    }

    /// Whether it was in this group. In that of all groups that have no number here, none is.
    pub(crate) fn is_in(&self, group: Gid) -> bool {
        !is_nogroup(group) && (self.gid == group || self.groups.contains(&group.as_raw()))
    }
}

/// Whether the kernel says this group also of those that have no number in this user namespace (the overflow group).
/// Nowhere a group whose members share anything.
pub(crate) fn is_nogroup(group: Gid) -> bool {
    // Asked of the kernel once: callers come often.
    static OTHER: LazyLock<Option<u32>> = LazyLock::new(|| setting("/proc/sys/kernel/overflowgid"));
    group.as_raw() == OVERFLOW || *OTHER == Some(group.as_raw())
}

/// The same of a user, where there can be users without a number. Elsewhere it is a user like any other, as which an agent
/// may run.
fn means_anybody(user: Uid) -> bool {
    static OTHER: LazyLock<Option<u32>> = LazyLock::new(|| setting("/proc/sys/kernel/overflowuid"));
    let overflow = user.as_raw() == OVERFLOW || *OTHER == Some(user.as_raw());
    overflow && !has_all_users(&std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default())
}

/// Whether a user namespace with this map has a number for each user.
fn has_all_users(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// `None` where /proc does not show it.
fn setting(path: &str) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The supplementary groups of the process that connected `socket`.
fn groups(socket: &impl AsFd) -> io::Result<Vec<libc::gid_t>> {
    let mut groups: Vec<libc::gid_t> = vec![0; USUAL];
    loop {
        let mut length = libc::socklen_t::try_from(size_of_val(groups.as_slice())).unwrap_or(0);
        let (fd, into) = (socket.as_fd().as_raw_fd(), groups.as_mut_ptr().cast());
        #[expect(unsafe_code, reason = "no library knows this option; `into` has room for `length` bytes")]
        let got =
            unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERGROUPS, into, &raw mut length) };
        let count = usize::try_from(length).unwrap_or(0) / size_of::<libc::gid_t>();
        let error = if got == 0 { None } else { Some(io::Error::last_os_error()) };
        match error {
            None => {
                groups.truncate(count);
                return Ok(groups);
            }
            // There are more, and `length` says how many.
            Some(e) if e.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                groups.resize(count, 0);
            }
            Some(e) => return Err(e),
        }
    }
}

/// Room for the groups of nearly all processes; the kernel allows 65,536.
const USUAL: usize = 32;

/// What the kernel says of a user or group without a number, if it is not set otherwise.
const OVERFLOW: u32 = 65_534;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_peer_is_in_the_groups_of_its_process_and_in_no_other() {
        let (a, _b) = UnixStream::pair().unwrap();
        let peer = Peer::of(&a).unwrap();
        assert_eq!(peer.uid, Uid::effective());
        assert!(peer.is_in(Gid::effective()));
        let own: Vec<_> = nix::unistd::getgroups().unwrap().into_iter().map(Gid::as_raw).collect();
        assert_eq!(peer.groups.to_vec(), own);
        assert!(!peer.is_in(Gid::from_raw(4_000_000_000)));
    }

    #[tokio::test]
    async fn no_peer_is_in_the_group_of_those_without_a_number() {
        let (a, _b) = UnixStream::pair().unwrap();
        let everywhere =
            Peer { gid: Gid::from_raw(OVERFLOW), groups: [OVERFLOW].into(), ..Peer::of(&a).unwrap() };
        assert!(!everywhere.is_in(Gid::from_raw(OVERFLOW)));
    }

    #[test]
    fn only_the_first_user_namespace_has_all_users() {
        assert!(has_all_users("         0          0 4294967295\n"));
        assert!(!has_all_users("         0     100000      65536\n") && !has_all_users(""));
    }
}
