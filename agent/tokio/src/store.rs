//! What must outlive the process: host id, generation, last known peers.
//!
//! A directory of small files, each line with its checksum in front, each file
//! replaced as a whole (written beside, fsynced, renamed, directory fsynced).
//! A line that does not check ends the file: power loss leaves torn tails and
//! blocks of zeros, never a wrong value.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use heartsay_membership::{FARTHEST_START_MS as DAY_MS, Generation, HostId, next_generation};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::clock::{self, EntropyError};

/// The state directory, locked for this process.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// Held for the lock on it.
    _lock: File,
    host_id: HostId,
    generation: Generation,
    /// Highest generation on disk; held while anything is written.
    written: Mutex<Generation>,
    /// The cluster whose peers these are.
    cluster: String,
    behind: Mutex<Behind>,
}

/// What could not be written, for another try.
#[derive(Debug, Default)]
struct Behind {
    generation: Option<Generation>,
    peers: bool,
}

impl Store {
    /// Makes the directory if need be, locks it, reads or makes the host id,
    /// and begins a life: a generation above every earlier one and at least
    /// `unix_ms`, on disk before this returns. Where the disk is full or read-only
    /// and the host id can be read, the life begins all the same, and is to be
    /// written later: that is no time to lose a host.
    ///
    /// # Errors
    /// The directory cannot be made, locked, or, but for that, written.
    pub fn open(dir: &Path, unix_ms: u64) -> Result<Self, OpenError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(|error| OpenError::Make { dir: dir.to_owned(), error })?;
        let lock = lock(dir)?;
        let host_id = host_id(dir)?;
        let generation = next_generation(stored_generation(dir, unix_ms), unix_ms);
        let store = Self {
            dir: dir.to_owned(),
            _lock: lock,
            host_id,
            generation,
            written: Mutex::new(0),
            cluster: String::new(),
            behind: Mutex::default(),
        };
        match store.save_generation(generation) {
            Err(error) if !is_full_or_read_only(&error) => {
                Err(OpenError::Directory { dir: dir.to_owned(), error })
            }
            Ok(()) | Err(_) => Ok(store),
        }
    }

    /// The peers are of this cluster from now on. Those of another one are set aside.
    #[must_use]
    pub fn of_cluster(mut self, id: &str) -> Self {
        let path = self.dir.join(PEERS);
        let lines = read(&path).map(|(lines, _)| lines).unwrap_or_default();
        if let Some(other) = cluster_of(&lines).filter(|cluster| *cluster != id) {
            // A file that stays is not read.
            let _ = fs::rename(&path, path.with_extension(ASIDE));
            info!(
                cluster = id,
                other, "the state directory is of another cluster: its peers are set aside as *.{ASIDE}"
            );
        }
        id.clone_into(&mut self.cluster);
        self
    }

    /// Which host this is, in every life.
    #[must_use]
    pub fn host_id(&self) -> HostId {
        self.host_id
    }

    /// Which life this is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Keeps `generation` for the next start, unless a higher one is kept already.
    ///
    /// # Errors
    /// Disk full or gone; the old value stays.
    pub(crate) fn save_generation(&self, generation: Generation) -> io::Result<()> {
        let mut written = self.written.lock();
        // Two raises may come here in any order.
        let saved = match generation > *written {
            true => replace(&self.dir.join(GENERATION), &[generation.to_string()]),
            false => return Ok(()),
        };
        self.behind.lock().generation = saved.is_err().then_some(generation);
        saved.map(|()| *written = generation)
    }

    /// Keeps `generation` for the next start, whichever is kept now: that was one of a wrong clock.
    ///
    /// # Errors
    /// Disk full or gone; the old value stays.
    pub(crate) fn reset_generation(&self, generation: Generation) -> io::Result<()> {
        let mut written = self.written.lock();
        let saved = replace(&self.dir.join(GENERATION), &[generation.to_string()]);
        // What could not be written of the life before is written no more.
        self.behind.lock().generation = saved.is_err().then_some(generation);
        *written = generation.saturating_sub(u64::from(saved.is_err()));
        saved
    }

    /// Keeps names and addresses of all peers for the next start.
    ///
    /// # Errors
    /// Disk full or gone; the old list stays.
    pub(crate) fn save_peers(&self, peers: &[Peer]) -> io::Result<()> {
        let lines = peers.iter().map(|peer| format!("{} {}", peer.name, peer.address));
        let lines: Vec<String> = self.header().chain(lines).collect();
        let _alone = self.written.lock();
        let saved = replace(&self.dir.join(PEERS), &lines);
        self.behind.lock().peers = saved.is_err();
        saved
    }

    /// Whether something could not be written.
    #[must_use]
    pub(crate) fn is_behind(&self) -> bool {
        let behind = self.behind.lock();
        behind.generation.is_some() || behind.peers
    }

    /// Makes anew what was removed while this agent runs. Without its host id the next life would be that of
    /// another host, and its name refused.
    ///
    /// # Errors
    /// Disk full or gone.
    pub(crate) fn restore(&self) -> io::Result<()> {
        let written = self.written.lock();
        let path = self.dir.join(IDENTITY);
        if path.try_exists()? {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o750).create(&self.dir)?;
        replace(&path, &[self.host_id.to_string()])?;
        if *written > 0 {
            replace(&self.dir.join(GENERATION), &[written.to_string()])?;
        }
        warn!(dir = %self.dir.display(), "the host id was removed while this agent ran, and is there again");
        Ok(())
    }

    /// Writes what could not be written before, but for the peers: they are written whole each time.
    ///
    /// # Errors
    /// Disk still full or gone.
    pub(crate) fn catch_up(&self) -> io::Result<()> {
        let generation = self.behind.lock().generation;
        generation.map_or(Ok(()), |generation| self.save_generation(generation))
    }

    /// The first line of a file that is kept for one cluster.
    fn header(&self) -> impl Iterator<Item = String> {
        (!self.cluster.is_empty()).then(|| format!("{OF_CLUSTER}{}", self.cluster)).into_iter()
    }

    /// The lines of such a file after the first, if it is of our cluster or, from an older agent, says of none.
    fn read_of_cluster(&self, file: &Path) -> io::Result<(Vec<String>, bool)> {
        let (mut lines, torn) = read(file)?;
        Ok(match cluster_of(&lines) {
            Some(cluster) if cluster != self.cluster => (Vec::new(), false),
            Some(_) => (lines.split_off(1), torn),
            None => (lines, torn),
        })
    }

    /// Peers known at the end of the last life, as far as the file is sound.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let path = self.dir.join(PEERS);
        let (lines, torn) = match self.read_of_cluster(&path) {
            Ok(found) => found,
            Err(e) => {
                warn!(path = %path.display(), error = %e, "the list of remembered peers cannot be read");
                return Vec::new();
            }
        };
        if torn {
            warn!(path = %path.display(), kept = lines.len(), "the list of remembered peers is damaged; its sound part is used");
        }
        lines
            .iter()
            .filter_map(|line| {
                let (name, address) = line.rsplit_once(' ')?;
                Some(Peer { name: name.to_owned(), address: address.parse().ok()? })
            })
            .collect()
    }
}

/// Where a member was last known to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its gossip address.
    pub address: SocketAddr,
}

/// Why a life cannot begin from a state directory. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not there, and cannot be made.
    #[error("cannot make the state directory {}; give --state-dir: {error}", dir.display())]
    Make {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Nothing can be written to it.
    #[error("cannot write the state directory {}: {error}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process has it.
    #[error(
        "the state directory {} is in use by another agent (pid {pid}); give each agent its own --state-dir",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that has it, as it says itself.
        pid: String,
    },
    /// Something else keeps one of its files from use.
    #[error("cannot {what}: {error}")]
    File {
        /// What was tried, with the path of the file.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// A first start, and no randomness for the host id.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl OpenError {
    fn file(what: String) -> impl FnOnce(io::Error) -> Self {
        |error| Self::File { what, error }
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened
        .or_else(|e| match is_full_or_read_only(&e) {
            // That of an earlier life does too.
            true => File::open(&path).map_err(|_| e),
            false => Err(e),
        })
        .map_err(|error| OpenError::Directory { dir: dir.to_owned(), error })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(OpenError::InUse { dir: dir.to_owned(), pid: pid.trim().to_owned() });
        }
        Err(TryLockError::Error(e)) => return Err(OpenError::file(format!("lock {}", path.display()))(e)),
    }
    // For the message above only; the lock itself is the kernel's.
    let _ = file.set_len(0);
    let _ = file.rewind();
    let _ = writeln!(file, "{}", std::process::id());
    Ok(file)
}

fn host_id(dir: &Path) -> Result<HostId, OpenError> {
    let path = dir.join(IDENTITY);
    let (lines, _) = read(&path).map_err(OpenError::file(format!("read {}", path.display())))?;
    if let Some(id) = lines.first().and_then(|line| parse_host_id(line)) {
        return Ok(id);
    }
    if path.exists() {
        let aside = dir.join(format!("{IDENTITY}.damaged"));
        let what = format!("move {} aside", path.display());
        fs::rename(&path, &aside).map_err(OpenError::file(what))?;
        warn!(kept = %aside.display(), "the host id is damaged; a new one is made, and while the cluster holds the old one for alive it refuses this host's name");
    }
    let random = u128::from_be_bytes(clock::entropy()?);
    // Version and variant bits, so that other tools take it for the UUID it is.
    let id = HostId(random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62));
    // The generation follows, and takes the directory to the disk for both.
    let what = format!("write {}", path.display());
    put(&path, &[id.to_string()]).map_err(OpenError::file(what))?;
    info!(host_id = %id, "first start on this host");
    Ok(id)
}

/// The generation that was kept, with a word to people where there is something wrong with it.
fn stored_generation(dir: &Path, unix_ms: u64) -> Option<Generation> {
    let path = dir.join(GENERATION);
    let stored = match read(&path) {
        Ok((lines, _)) => lines.first().and_then(|line| line.parse::<Generation>().ok()),
        Err(_) => None,
    };
    match stored {
        Some(stored) => {
            if stored > unix_ms.saturating_add(DAY_MS) {
                warn!(
                    days_ahead = (stored - unix_ms) / DAY_MS,
                    "the last life in {} is numbered by a clock far ahead of this host's: where that is right now, this agent begins a new life as soon as its peers refuse this one; where it is behind, set it",
                    path.display()
                );
            }
        }
        None => {
            if path.exists() {
                warn!(path = %path.display(), "the stored generation is damaged; the clock alone decides");
            }
        }
    }
    stored
}

/// Such a disk may well be readable, and will be writable again.
fn is_full_or_read_only(e: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge | ReadOnlyFilesystem)
}

/// The cluster that a file says it is of.
fn cluster_of(lines: &[String]) -> Option<&str> {
    lines.first()?.strip_prefix(OF_CLUSTER)
}

fn parse_host_id(text: &str) -> Option<HostId> {
    let hex: String = text.split('-').collect();
    (hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok().map(HostId))?
}

/// The sound lines of a file, and whether anything unsound came after them.
/// No file: no lines.
fn read(path: &Path) -> io::Result<(Vec<String>, bool)> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
        Err(e) => return Err(e),
    };
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match sound(line) {
            Some(text) => lines.push(text),
            None => return Ok((lines, true)),
        }
    }
    Ok((lines, false))
}

/// `checksum text\n` with the right checksum.
fn sound(line: &[u8]) -> Option<String> {
    let (sum, text) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32fast::hash(text.as_bytes())).then(|| text.to_owned())
}

/// Replaces the file by these lines, on disk before this returns.
fn replace(path: &Path, lines: &[String]) -> io::Result<()> {
    if put(path, lines)? {
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The same, but which of the two is there after a power loss is open until the directory, too, is on disk.
/// A reader sees the old or the new, whole. Returns whether they differ.
fn put(path: &Path, lines: &[String]) -> io::Result<bool> {
    // One name for the draft: the lock makes us the only writer, and a crash
    // leaves at most one behind.
    let draft = path.with_extension("new");
    let mut text = String::new();
    for line in lines {
        text += &format!("{:08x} {line}\n", crc32fast::hash(line.as_bytes()));
    }
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(false);
    }
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(true)
}

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
const GENERATION: &str = "generation";
const PEERS: &str = "peers";
/// No line of an older agent begins so: names hold no spaces.
const OF_CLUSTER: &str = "cluster = ";
/// Ending of files that are of another cluster.
const ASIDE: &str = "other-cluster";

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, address: &str) -> Peer {
        Peer { name: name.to_owned(), address: address.parse().unwrap() }
    }

    #[test]
    fn a_state_directory_that_is_removed_meanwhile_comes_back_with_the_same_host_and_life() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let store = Store::open(&state, 1_000).unwrap();
        fs::remove_dir_all(&state).unwrap();
        store.restore().and_then(|()| store.save_peers(&[])).unwrap();
        let (host, generation) = (store.host_id(), store.generation());
        drop(store);
        let next = Store::open(&state, 500).unwrap();
        assert_eq!((next.host_id(), next.generation()), (host, generation + 1));
    }

    #[test]
    fn a_generation_is_above_every_earlier_one_even_when_the_clock_stepped_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Store::open(dir.path(), 5_000).unwrap().generation(), 5_000);
        assert_eq!(Store::open(dir.path(), 5_000).unwrap().generation(), 5_001);
        assert_eq!(Store::open(dir.path(), 100).unwrap().generation(), 5_002);
        assert_eq!(Store::open(dir.path(), 9_000).unwrap().generation(), 9_000);
    }

    #[test]
    fn a_generation_of_a_wrong_clock_can_be_replaced_by_a_lower_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 9_000).unwrap();
        store.reset_generation(100).unwrap();
        store.save_generation(90).unwrap();
        drop(store);
        assert_eq!(Store::open(dir.path(), 50).unwrap().generation(), 101);
    }

    #[test]
    fn a_raised_generation_is_kept_for_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 5_000).unwrap();
        store.save_generation(70_000).unwrap();
        store.save_generation(60_000).unwrap();
        drop(store);
        assert_eq!(Store::open(dir.path(), 6_000).unwrap().generation(), 70_001);
    }

    #[test]
    fn two_agents_never_share_a_directory_and_the_second_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path(), 1).unwrap();
        let refused = Store::open(dir.path(), 1).unwrap_err().to_string();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        assert!(refused.contains("--state-dir"), "{refused}");
        drop(first);
        Store::open(dir.path(), 1).unwrap();
    }

    #[test]
    fn the_host_id_stays_and_reads_as_a_random_uuid() {
        let dir = tempfile::tempdir().unwrap();
        let id = Store::open(dir.path(), 1).unwrap().host_id();
        assert_eq!(Store::open(dir.path(), 1).unwrap().host_id(), id);
        assert_eq!(id.to_string().as_bytes()[14], b'4');
    }

    #[test]
    fn a_damaged_host_id_is_kept_aside_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let id = Store::open(dir.path(), 1).unwrap().host_id();
        fs::write(dir.path().join(IDENTITY), [0; 46]).unwrap();
        assert_ne!(Store::open(dir.path(), 1).unwrap().host_id(), id);
        assert_eq!(fs::read(dir.path().join("identity.damaged")).unwrap(), [0; 46]);
    }

    #[test]
    fn a_damaged_generation_falls_back_to_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), 9_000).unwrap());
        fs::write(dir.path().join(GENERATION), "00000000 12").unwrap();
        assert_eq!(Store::open(dir.path(), 7_000).unwrap().generation(), 7_000);
    }

    #[test]
    fn a_torn_tail_costs_only_the_torn_lines() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1).unwrap();
        let peers = [peer("a", "10.0.0.1:4327"), peer("b", "[::1]:4327"), peer("c", "10.0.0.3:4327")];
        store.save_peers(&peers).unwrap();
        assert_eq!(store.peers(), peers);
        let path = dir.path().join(PEERS);
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let read = store.peers();
            assert_eq!(read, peers[..read.len()]);
            fs::write(&path, [&whole[..cut], &[0; 64]].concat()).unwrap();
            assert_eq!(store.peers(), peers[..read.len()]);
        }
    }

    #[test]
    fn what_is_of_another_cluster_is_set_aside_and_the_host_id_stays() {
        let dir = tempfile::tempdir().unwrap();
        let open = |cluster: &str| Store::open(dir.path(), 1).unwrap().of_cluster(cluster);
        let peers = [peer("a", "10.0.0.1:4327")];
        let old = open("old");
        let id = old.host_id();
        old.save_peers(&peers).unwrap();
        drop(old);
        let old = open("old");
        assert_eq!(old.peers(), peers);
        drop(old);
        let new = open("new");
        assert_eq!((new.peers(), new.host_id()), (vec![], id));
        assert!(dir.path().join("peers.other-cluster").exists());
        drop(new);
        assert_eq!(open("old").peers(), [], "what was set aside is not taken up again");
    }

    #[test]
    fn files_of_an_older_agent_which_name_no_cluster_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let peers = [peer("a", "10.0.0.1:4327")];
        let older = Store::open(dir.path(), 1).unwrap();
        older.save_peers(&peers).unwrap();
        drop(older);
        let store = Store::open(dir.path(), 1).unwrap().of_cluster("any");
        assert_eq!(store.peers(), peers);
    }

    /// Where the draft of a file cannot be made, the file cannot be written, not even by root.
    fn block(dir: &Path, file: &str) -> PathBuf {
        let draft = dir.join(file).with_extension("new");
        fs::create_dir(&draft).unwrap();
        draft
    }

    #[test]
    fn what_could_not_be_written_is_written_when_it_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1_000).unwrap();
        let blocks = [GENERATION, PEERS].map(|file| block(dir.path(), file));
        assert!(store.save_generation(2_000).is_err() && store.save_peers(&[]).is_err());
        assert!(store.catch_up().is_err() && store.is_behind());
        blocks.iter().for_each(|draft| fs::remove_dir(draft).unwrap());
        store.save_peers(&[]).unwrap();
        assert!(store.is_behind(), "the rest is still to be written");
        store.catch_up().unwrap();
        assert!(!store.is_behind());
        drop(store);
        assert_eq!(Store::open(dir.path(), 1).unwrap().generation(), 2_001);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let dir = file.path().join("below");
        let refused = Store::open(&dir, 1).unwrap_err().to_string();
        assert!(refused.contains(dir.to_str().unwrap()), "{refused}");
    }
}
