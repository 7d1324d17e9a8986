//! The Unix socket itself: never stolen from a living agent, never left behind.
//!
//! A lock beside the socket settles who may have it; what lies at the path is
//! removed only by the holder, and only when no process answers there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::libc;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Gid, Uid};
use parking_lot::Mutex;
use socket2::{Domain, SockAddr, Type};
use tracing::{info, warn};

use crate::file::{self, FileId};

/// A bound socket; its file goes when this does, if it is still ours.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    mode: u32,
    group: Option<Gid>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// The file we made.
    file: FileId,
    /// Held for the lock on it.
    lock: File,
}

impl Socket {
    /// Binds `path` with these permissions.
    ///
    /// # Errors
    /// The path is too long, taken by a living process, something else than a
    /// socket, or not writable.
    pub(crate) fn bind(path: &Path, mode: u32, group: Option<Gid>) -> anyhow::Result<(Self, UnixListener)> {
        make_directory(path)?;
        let lock = lock(path)?;
        let (file, listener) = listen(path, mode, group)?;
        let held = Mutex::new(Held { file, lock });
        Ok((Self { path: path.to_owned(), mode, group, held }, listener))
    }

    /// Where its file is, or was.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what lies at the path is the file that we made.
    #[must_use]
    pub(crate) fn is_there(&self) -> bool {
        file::id_at(&self.path).is_some_and(|file| file == self.held.lock().file)
    }

    /// Binds the path once more, after the file was removed.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub(crate) fn renew(&self) -> anyhow::Result<UnixListener> {
        make_directory(&self.path)?;
        let mut held = self.held.lock();
        // The lock may have been removed with it, and another agent may hold it by now.
        if !file::is_at(&held.lock, &lock_path(&self.path)) {
            held.lock = lock(&self.path)?;
        }
        let (file, listener) = listen(&self.path, self.mode, self.group)?;
        held.file = file;
        Ok(listener)
    }
}

fn make_directory(path: &Path) -> anyhow::Result<()> {
    let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) else { return Ok(()) };
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.with_context(|| format!("cannot make the directory of the socket {}; give --socket", path.display()))
}

/// No client can connect before it listens, and so not before its permissions are set.
fn listen(path: &Path, mode: u32, group: Option<Gid>) -> anyhow::Result<(FileId, UnixListener)> {
    let shown = path.display();
    clear(path)?;
    let bound = || {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        io::Result::Ok(socket)
    };
    let socket = bound().with_context(|| format!("cannot make the socket {shown}; give --socket"))?;
    let opened = || {
        let file = file::id_at(path).with_context(|| format!("cannot examine the socket {shown}"))?;
        if let Some(group) = group {
            std::os::unix::fs::chown(path, None, Some(group.as_raw()))
                .with_context(|| format!("cannot give the socket {shown} to group {group}"))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the permissions of the socket {shown}"))?;
        socket.listen(BACKLOG).with_context(|| format!("cannot listen at the socket {shown}"))?;
        socket.set_nonblocking(true).context("cannot make the socket non-blocking")?;
        Ok(file)
    };
    match opened() {
        Ok(file) => Ok((file, socket.into())),
        Err(e) => {
            let _ = fs::remove_file(path);
            Err(e)
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.is_there() {
            info!(path = %self.path.display(), "the socket is not ours any more; left alone");
        } else if let Err(e) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), error = %e, "the socket could not be removed");
        }
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let lock = lock_path(path);
    let refused = || format!("cannot lock the socket {} (by {})", path.display(), lock.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Where others may make files, a link or a pipe may lie in wait.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&lock)
        .with_context(refused)?;
    only_ours(&file).with_context(refused)?;
    // `last-words` holds it for a moment.
    let mut locked = file.try_lock();
    for _ in 0..LOOKS {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(LOOK);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            bail!(taken(path, pid.trim()));
        }
        Err(TryLockError::Error(e)) => {
            return Err(e).with_context(|| format!("cannot lock {}", lock.display()));
        }
    }
    // For the message above only; the lock itself is the kernel's.
    let _ = file.set_len(0);
    let _ = file.rewind();
    let _ = writeln!(file, "{}", std::process::id());
    Ok(file)
}

/// Holds the socket of an agent that has ended, so that no other begins meanwhile.
///
/// # Errors
/// An agent runs, or it cannot be told whether one does.
pub(crate) fn hold(path: &Path) -> anyhow::Result<File> {
    let held = lock(path)?;
    // The lock of one that runs may have been removed.
    if UnixStream::connect(path).is_ok() {
        bail!(taken(path, "unknown"));
    }
    Ok(held)
}

/// We write to it. So it must not be a file of another user, nor one with another name.
pub(crate) fn only_ours(file: &File) -> anyhow::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() > 1 {
        bail!("it is a link, or no plain file; remove it");
    }
    let owner = Uid::from_raw(found.uid());
    if !owner.is_root() && owner != Uid::effective() {
        bail!("it belongs to user {owner}; remove it");
    }
    Ok(())
}

/// Removes what a dead agent left at the path.
fn clear(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("cannot examine {}", path.display())),
        Ok(file) if !file.file_type().is_socket() => {
            bail!("{} exists and is no socket; remove it or give --socket", path.display())
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(stream) => {
            let pid = getsockopt(&stream, sockopt::PeerCredentials).map(|peer| peer.pid().to_string());
            bail!(taken(path, &pid.unwrap_or_else(|_| "unknown".to_owned())));
        }
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(e) => return Err(e).with_context(|| format!("cannot tell whether {} is in use", path.display())),
    }
    info!(path = %path.display(), "removing the socket of an agent that is gone");
    fs::remove_file(path).with_context(|| format!("cannot remove the stale socket {}", path.display()))
}

fn taken(path: &Path, pid: &str) -> String {
    format!(
        "the socket {} belongs to a running process (pid {pid}); stop it, or give each agent its own --socket",
        path.display()
    )
}

/// Three times as long as last words take.
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_millis(20);
/// Callers that may wait to be let in: as many as the kernel allows, as for any listener of the standard library.
const BACKLOG: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("run/heartsay.sock")
    }

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, _listener) = Socket::bind(&path(&dir), 0o660, None).unwrap();
        assert_eq!(fs::metadata(path(&dir)).unwrap().permissions().mode() & 0o777, 0o660);
        drop(socket);
        assert!(!path(&dir).exists());
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(path(&dir).parent().unwrap()).unwrap();
        // Closing a listener leaves its file, as a killed agent does.
        drop(UnixListener::bind(path(&dir)).unwrap());
        assert!(path(&dir).exists());
        Socket::bind(&path(&dir), 0o600, None).unwrap();
    }

    #[test]
    fn a_living_socket_is_refused_with_its_pid_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let own = format!("pid {}", std::process::id());
        let (_socket, _listener) = Socket::bind(&path(&dir), 0o600, None).unwrap();
        let refused = Socket::bind(&path(&dir), 0o600, None).unwrap_err().to_string();
        assert!(refused.contains(&own), "{refused}");
        UnixStream::connect(path(&dir)).unwrap();
    }

    #[test]
    fn a_living_socket_of_a_stranger_is_refused_with_its_pid_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(path(&dir).parent().unwrap()).unwrap();
        let _stranger = UnixListener::bind(path(&dir)).unwrap();
        let refused = Socket::bind(&path(&dir), 0o600, None).unwrap_err().to_string();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        UnixStream::connect(path(&dir)).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(path(&dir).parent().unwrap()).unwrap();
        fs::write(path(&dir), "precious").unwrap();
        assert!(Socket::bind(&path(&dir), 0o600, None).is_err());
        assert_eq!(fs::read(path(&dir)).unwrap(), b"precious");
    }

    #[test]
    fn a_socket_whose_file_was_removed_with_its_directory_and_lock_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, _old) = Socket::bind(&path(&dir), 0o660, None).unwrap();
        fs::remove_dir_all(path(&dir).parent().unwrap()).unwrap();
        assert!(!socket.is_there());
        let _new = socket.renew().unwrap();
        assert!(socket.is_there());
        assert_eq!(fs::metadata(path(&dir)).unwrap().permissions().mode() & 0o777, 0o660);
        UnixStream::connect(path(&dir)).unwrap();
        assert!(Socket::bind(&path(&dir), 0o600, None).is_err(), "it is locked again");
        drop(socket);
        assert!(!path(&dir).exists(), "and goes with its owner");
    }

    #[test]
    fn a_socket_that_another_agent_has_taken_over_is_left_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, _listener) = Socket::bind(&path(&dir), 0o600, None).unwrap();
        fs::remove_dir_all(path(&dir).parent().unwrap()).unwrap();
        let (other, _of_other) = Socket::bind(&path(&dir), 0o600, None).unwrap();
        let refused = socket.renew().unwrap_err().to_string();
        assert!(refused.contains("belongs to a running process"), "{refused}");
        assert!(other.is_there() && !socket.is_there());
    }

    #[test]
    fn a_lock_that_is_a_link_leads_to_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(path(&dir).parent().unwrap()).unwrap();
        let (precious, lock) = (dir.path().join("precious"), lock_path(&path(&dir)));
        fs::write(&precious, "content").unwrap();
        std::os::unix::fs::symlink(&precious, &lock).unwrap();
        assert!(Socket::bind(&path(&dir), 0o600, None).is_err());
        fs::remove_file(&lock).unwrap();
        fs::hard_link(&precious, &lock).unwrap();
        let refused = format!("{:#}", Socket::bind(&path(&dir), 0o600, None).unwrap_err());
        assert!(refused.contains("is a link"), "{refused}");
        assert_eq!(fs::read(&precious).unwrap(), b"content");
        fs::remove_file(&lock).unwrap();
        nix::unistd::mkfifo(&lock, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Socket::bind(&path(&dir), 0o600, None).is_err());
    }

    #[test]
    fn a_socket_that_was_replaced_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, _listener) = Socket::bind(&path(&dir), 0o600, None).unwrap();
        fs::remove_file(path(&dir)).unwrap();
        fs::write(path(&dir), "of another program").unwrap();
        drop(socket);
        assert!(path(&dir).exists());
    }
}
