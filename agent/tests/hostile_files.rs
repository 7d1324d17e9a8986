//! Files that another user has put where the agent reads or writes: it follows none of them, and waits for none.

#![allow(clippy::unwrap_used, reason = "a test that trips over is a test that fails")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use daemon::plan;
use nix::sys::stat::Mode;
use skipped::skipped;

mod daemon;
mod skipped;

/// What the agent says of this key file, which it refuses with exit code 2.
fn refused(key_file: &Path) -> String {
    let (code, log) = plan("a").flags(&["--key-file", key_file.to_str().unwrap()]).fails();
    assert_eq!(code, 2, "{log}");
    assert!(!log.contains("AAAA"), "it shows the key: {log}");
    log
}

fn key(dir: &Path, mode: u32) -> PathBuf {
    let path = dir.join("keyring");
    fs::write(&path, format!("{}=\n", "A".repeat(43))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_key_file_that_is_no_plain_file_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    for path in [&pipe, Path::new("/dev/zero"), dir.path()] {
        assert!(refused(path).contains("is no plain file"), "{}", path.display());
    }
}

#[test]
fn a_key_file_that_is_too_long_or_open_to_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refused(&key(dir.path(), 0o620)).contains("chmod g-w"));
    assert!(refused(&key(dir.path(), 0o604)).contains("chmod o-rwx"));
    let path = key(dir.path(), 0o600);
    fs::write(&path, "# note\n".repeat(10_000)).unwrap();
    assert!(refused(&path).contains("longer than 65536 bytes"));
}

#[test]
fn a_key_file_or_a_link_of_another_user_is_refused() {
    if !nix::unistd::Uid::effective().is_root() {
        skipped("only root can make files of another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = key(dir.path(), 0o600);
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    // As Kubernetes does it: `keyring` is a link to `..data/keyring`.
    plan("a").flags(&["--key-file", link.to_str().unwrap()]).start();
    std::os::unix::fs::lchown(&link, Some(4001), None).unwrap();
    assert!(refused(&link).contains("is a link of user 4001"));
    chown(&path, Some(4001), None).unwrap();
    assert!(refused(&path).contains("belongs to user 4001"));
}

#[test]
fn a_link_in_the_place_of_the_lock_leads_to_no_other_file() {
    let plan = plan("a");
    let precious = plan.dir().join("precious");
    fs::write(&precious, "content").unwrap();
    let mut lock = plan.socket().into_os_string();
    lock.push(".lock");
    symlink(&precious, &lock).unwrap();
    let dir = plan.dir().to_owned();
    let mut agent = plan.launch();
    assert_eq!(agent.wait().code(), Some(1));
    let log = agent.log();
    assert_eq!(fs::read(dir.join("precious")).unwrap(), b"content", "{log}");
    assert!(log.contains("cannot lock the socket"), "{log}");
}
