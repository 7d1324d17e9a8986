//! One file, replaced as a whole.
//!
//! A reader sees the old list or the new one, never a part, also after a crash: the new one is written beside it, brought to
//! the disk and moved over it. No link is followed: any user who may write in the directory could lead us elsewhere by one.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc;

/// Puts `bytes` at `path`, as [`put`] does, unless they are there already. Whether that changed anything.
///
/// # Errors
/// The old file, if there is one, is as it was: with what is wrong, without the path.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    if let Some(old) = metadata(path)?
        && old.len() == bytes.len() as u64
        && read(path, old.len())? == bytes
    {
        return Ok(false);
    }
    put(path, bytes)?;
    Ok(true)
}

/// Puts at `path` what `change` makes of the bytes that are there, as [`put`] does, unless it leaves them as they are. Whether
/// that changed anything. What another program writes meanwhile is not lost: the change is made once more, of its bytes. (But
/// for some microseconds between the last look and the move; no call of the system joins the two.)
///
/// # Errors
/// There is no file, or it is as it was: with what is wrong, without the path.
pub(crate) fn edit(path: &Path, change: impl Fn(&[u8]) -> Result<Vec<u8>, String>) -> io::Result<bool> {
    for _ in 0..EDITS {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        metadata(path)?.ok_or_else(|| io::Error::other("there is no file to write a block into"))?;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let (old, mut bytes) = (file.metadata()?, Vec::new());
        file.take(LONGEST_EDITED + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LONGEST_EDITED {
            return Err(io::Error::other(format!("it has more than {LONGEST_EDITED} bytes")));
        }
        let new = change(&bytes).map_err(io::Error::other)?;
        if new == bytes {
            return Ok(false);
        }
        if put_unless(path, &new, |now| now.is_none_or(|now| stamp(now) != stamp(&old)))? {
            return Ok(true);
        }
    }
    Err(io::Error::other("another program writes it again and again"))
}

/// Device and inode: which file it is, whatever it is called.
pub(crate) type FileId = (u64, u64);

/// Of what lies at the path, itself if it is a link; `None`: nothing is there.
pub(crate) fn id_at(path: &Path) -> Option<FileId> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Whether this file is the one at the path, and not another that was put there since.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    file.metadata().is_ok_and(|own| id_at(path) == Some((own.dev(), own.ino())))
}

/// What changes with each write, also with one of as many bytes.
fn stamp(file: &Metadata) -> [i64; 6] {
    let signed = |n: u64| i64::from_ne_bytes(n.to_ne_bytes());
    let (at, size) = (signed(file.ino()), signed(file.size()));
    [at, size, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()]
}

/// Puts `bytes` at `path`, with owner and mode of the file that is there.
///
/// # Errors
/// The old file, if there is one, is as it was: with what is wrong, without the path.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_unless(path, bytes, |_| false).map(drop)
}

/// The same, unless `is_late` says of the file that is there in the last moment that it is another. Whether it was put.
fn put_unless(path: &Path, bytes: &[u8], is_late: impl Fn(Option<&Metadata>) -> bool) -> io::Result<bool> {
    let old = metadata(path)?;
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    // Removed again unless it is moved. Made anew, so that nothing of others is opened.
    let made = tempfile::Builder::new().prefix(".heartsay-").tempfile_in(dir);
    // Without the name of the new file, which is another at each try.
    let mut file = made.map_err(|e| {
        io::Error::new(e.kind(), format!("no file can be made in {}: {}", dir.display(), e.kind()))
    })?;
    file.write_all(bytes)?;
    keep(file.as_file(), old.as_ref())?;
    file.as_file().sync_all()?;
    if is_late(metadata(path)?.as_ref()) {
        return Ok(false);
    }
    file.persist(path).map_err(|e| e.error)?;
    File::open(dir)?.sync_all()?;
    Ok(true)
}

/// Of the file that is there, if one is.
fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(old) if old.is_file() => Ok(Some(old)),
        Ok(_) => Err(io::Error::other("there is something else than a plain file; links are not followed")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn read(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut bytes = Vec::new();
    match file {
        Ok(file) => file.take(length + 1).read_to_end(&mut bytes)?,
        // One that we may not read may still be replaced.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => 0,
        Err(e) => return Err(e),
    };
    Ok(bytes)
}

/// Gives `file` the owner and the mode of `old`.
fn keep(file: &File, old: Option<&Metadata>) -> io::Result<()> {
    let Some(old) = old else { return file.set_permissions(Permissions::from_mode(MODE)) };
    let new = file.metadata()?;
    let changed = |old: u32, new: u32| (old != new).then_some(old);
    let (user, group) = (changed(old.uid(), new.uid()), changed(old.gid(), new.gid()));
    if user.is_some() || group.is_some() {
        std::os::unix::fs::fchown(file, user, group).map_err(|e| {
            let (user, group) = (old.uid(), old.gid());
            io::Error::new(e.kind(), format!("its owner {user}:{group} cannot be kept: {e}"))
        })?;
    }
    // Behind the owner, whose change takes bits away.
    file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
}

/// Of a file that was not there: what is in it is no secret, and its reader is another user.
const MODE: u32 = 0o644;
/// In bytes: a hundred thousand hosts.
const LONGEST_EDITED: u64 = 4 << 20;
/// Tries of one edit.
const EDITS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::{chown, symlink};

    use nix::unistd::Uid;

    use crate::skipped::skipped;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_made_replaced_and_left_alone_where_nothing_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        assert!(replace(&path, b"one").unwrap());
        let inode = || std::fs::metadata(&path).unwrap().ino();
        let first = inode();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        assert!(!replace(&path, b"one").unwrap());
        assert_eq!(inode(), first, "the same bytes are not written again");
        std::fs::set_permissions(&path, Permissions::from_mode(0o4640)).unwrap();
        assert!(replace(&path, b"two").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_ne!(inode(), first, "a new file was moved over the old one");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o4640);
        assert_eq!(names(dir.path()), ["list"], "nothing is left beside it");
    }

    #[test]
    fn a_link_is_not_followed_and_what_it_leads_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("list"), dir.path().join("target"));
        std::fs::write(&target, "precious").unwrap();
        symlink(&target, &path).unwrap();
        assert!(replace(&path, b"one").unwrap_err().to_string().contains("links are not followed"));
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"one").is_err());
        let mut left = names(dir.path());
        left.sort();
        assert_eq!(left, ["list", "target"]);
    }

    #[test]
    fn what_another_writes_during_an_edit_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        let append = |old: &[u8]| Ok([old, b"ours\n"].concat());
        assert!(edit(&path, append).unwrap_err().to_string().contains("no file"));
        std::fs::write(&path, "theirs 1\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let once = std::cell::Cell::new(false);
        let disturbed = |old: &[u8]| {
            if !once.replace(true) {
                // As many bytes in the same file.
                std::fs::write(&path, "theirs 2\n").unwrap();
            }
            append(old)
        };
        assert!(edit(&path, disturbed).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs 2\nours\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert!(!edit(&path, |old| Ok(old.to_vec())).unwrap());
        assert!(edit(&path, |_| Err("no".to_owned())).is_err());
        let always = |old: &[u8]| {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, old).unwrap();
            append(old)
        };
        assert!(edit(&path, always).unwrap_err().to_string().contains("again and again"));
        assert_eq!(names(dir.path()), ["hosts"], "nothing is left beside it");
    }

    #[test]
    fn the_owner_is_kept() {
        if !Uid::effective().is_root() {
            return skipped("only root gives files away");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::fs::write(&path, "one").unwrap();
        chown(&path, Some(12), Some(34)).unwrap();
        assert!(replace(&path, b"two").unwrap());
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (12, 34));
    }
}
