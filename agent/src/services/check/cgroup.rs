//! Whether something runs in the cgroup of a unit of systemd. The kernel says so, and tells when it changes: `cgroup.events` of
//! [cgroup-v2](https://docs.kernel.org/admin-guide/cgroup-v2.html).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use heartsay_tokio::readable;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::aside::Aside;
use super::probe::Found;

/// The cgroup of one unit.
#[derive(Debug)]
pub(super) struct Cgroup {
    root: PathBuf,
    unit: String,
    /// Where it was last.
    dir: Option<PathBuf>,
    finding: Aside<Option<PathBuf>>,
    change: Option<Inotify>,
}

impl Cgroup {
    /// Of this name, below the root of all cgroups.
    pub(super) fn new(root: &Path, unit: &str) -> Self {
        let (root, unit) = (root.to_owned(), unit.to_owned());
        Self { root, unit, dir: None, finding: Aside::new(), change: None }
    }

    /// Watches before it reads: what happens in between is not missed.
    pub(super) async fn look(&mut self) -> Found {
        self.change = None;
        if let Some(found) = self.dir.clone().and_then(|dir| self.read(&dir)) {
            return found;
        }
        // The second where version 1 is beside it.
        let trees = [self.root.clone(), self.root.join("unified")];
        let Some(root) = trees.into_iter().find(|root| root.join("cgroup.controllers").exists()) else {
            return Found::critical(NOT_VERSION_2);
        };
        let unit = self.unit.clone();
        self.dir = self.finding.run(move || find(&root, &unit)).await.ok().flatten();
        let found = self.dir.clone().and_then(|dir| self.read(&dir));
        found.unwrap_or_else(|| Found::critical("is not started"))
    }

    /// Waits until something has begun to run in it, or has ended.
    pub(super) async fn stirred(&mut self) {
        let Some(change) = self.change.take() else { return std::future::pending().await };
        if readable(change.into()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// `None` where it is gone.
    fn read(&mut self, dir: &Path) -> Option<Found> {
        let events = dir.join("cgroup.events");
        // Without a watch (all of this user's are in use, usually) the next look sees it.
        self.change = watch(&events).ok();
        let text = fs::read_to_string(&events).ok()?;
        let says = |wanted: &str| text.lines().any(|line| line == wanted);
        Some(match (says("populated 1"), says("frozen 1")) {
            (true, false) => Found::passing("runs"),
            (true, true) => Found::critical(FROZEN),
            (false, _) => Found::critical("nothing runs in it"),
        })
    }
}

fn watch(file: &Path) -> nix::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    watch.add_watch(file, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE_SELF)?;
    Ok(watch)
}

/// The directory of this name in the slices below `root`: in that of the system at first, where nearly all are.
fn find(root: &Path, unit: &str) -> Option<PathBuf> {
    let usual = root.join("system.slice").join(unit);
    if usual.is_dir() {
        return Some(usual);
    }
    let mut slices = vec![root.to_owned()];
    for n in 0..MOST_SLICES {
        let dir = slices.get(n)?.join(unit);
        if dir.is_dir() {
            return Some(dir);
        }
        if let Ok(below) = slices.get(n).map_or(Err(io::ErrorKind::NotFound.into()), fs::read_dir) {
            let dirs = below.flatten().map(|entry| entry.path());
            slices.extend(dirs.filter(|dir| dir.extension().is_some_and(|kind| kind == "slice")));
        }
    }
    None
}

/// Of all its processes none gets on, as after `systemctl freeze`.
pub(super) const FROZEN: &str = "its processes are frozen";
/// More than a host has, and read within milliseconds.
const MOST_SLICES: usize = 512;
const NOT_VERSION_2: &str =
    "the cgroups of this host are not those of version 2: use exec with systemctl is-active";

#[cfg(test)]
mod tests {
    use super::*;

    use std::process::Command;
    use std::time::Duration;

    use crate::skipped::skipped;

    #[tokio::test]
    async fn a_unit_is_found_in_its_slice_and_what_becomes_of_it_is_known_at_once() {
        let root = tempfile::tempdir().unwrap();
        let mut cgroup = Cgroup::new(root.path(), "db@1.service");
        assert_eq!(cgroup.look().await, Found::critical(NOT_VERSION_2));
        fs::write(root.path().join("cgroup.controllers"), "").unwrap();
        let slice = root.path().join("system.slice/system-db.slice");
        fs::create_dir_all(&slice).unwrap();
        assert_eq!(cgroup.look().await, Found::critical("is not started"));
        let dir = slice.join("db@1.service");
        fs::create_dir(&dir).unwrap();
        let write = |text: &str| fs::write(dir.join("cgroup.events"), text).unwrap();
        write("populated 1\nfrozen 0\n");
        assert_eq!(cgroup.look().await, Found::passing("runs"));
        let limit = Duration::from_secs(20);
        write("populated 1\nfrozen 1\n");
        tokio::time::timeout(limit, cgroup.stirred()).await.unwrap();
        assert_eq!(cgroup.look().await, Found::critical(FROZEN));
        write("populated 0\nfrozen 0\n");
        tokio::time::timeout(limit, cgroup.stirred()).await.unwrap();
        assert_eq!(cgroup.look().await, Found::critical("nothing runs in it"));
        write("populated 1\nfrozen 0\n");
        tokio::time::timeout(limit, cgroup.stirred()).await.unwrap();
        assert_eq!(cgroup.look().await, Found::passing("runs"));
        fs::remove_dir_all(&dir).unwrap();
        tokio::time::timeout(limit, cgroup.stirred()).await.unwrap();
        assert_eq!(cgroup.look().await, Found::critical("is not started"));
    }

    #[tokio::test]
    async fn the_kernel_tells_when_the_last_process_of_a_cgroup_ends() {
        let root = Path::new("/sys/fs/cgroup");
        let tree =
            if root.join("cgroup.controllers").exists() { root.to_owned() } else { root.join("unified") };
        let name = format!("heartsay-test-{}.service", std::process::id());
        let dir = tree.join(&name);
        if let Err(error) = fs::create_dir(&dir) {
            return skipped(format!("no cgroup can be made: {error}"));
        }
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let mut cgroup = Cgroup::new(root, &name);
        let moved = fs::write(dir.join("cgroup.procs"), child.id().to_string());
        let before = cgroup.look().await;
        child.kill().unwrap();
        child.wait().unwrap();
        let told = tokio::time::timeout(Duration::from_secs(20), cgroup.stirred()).await;
        let after = cgroup.look().await;
        fs::remove_dir(&dir).unwrap();
        assert!(moved.is_ok() && told.is_ok(), "{moved:?} {told:?}");
        assert_eq!((before, after), (Found::passing("runs"), Found::critical("nothing runs in it")));
    }
}
