//! The will: a file with what is to be said, and to whom.
//!
//! Written in place, so that who has it open has the latest: never that of the next process at the same path. A process
//! that is killed while it writes leaves a checksum that does not fit, and so no will.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use heartsay_proto::LastWords;
use parking_lot::Mutex;
use tempfile::NamedTempFile;

use crate::file;

/// The will of this process.
#[derive(Debug)]
pub(crate) struct Will {
    path: PathBuf,
    file: File,
    withheld: Mutex<bool>,
}

/// What a will says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Testament {
    /// The datagram.
    pub(crate) words: Vec<u8>,
    /// The address of this host from which the agent spoke, if it had one of its own choice.
    pub(crate) from: Option<IpAddr>,
    /// To whom.
    pub(crate) heirs: Vec<SocketAddr>,
}

impl Will {
    /// An empty one, in place of one that an earlier process may have left there. Only we may read it.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        let directory = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(directory)?.persist(path).map_err(|refused| refused.error)?;
        Ok(Self { path: path.to_owned(), file, withheld: Mutex::new(false) })
    }

    /// Where the will of the agent with this socket is.
    pub(crate) fn path(socket: &Path) -> PathBuf {
        let mut name = socket.as_os_str().to_owned();
        name.push(".last-words");
        PathBuf::from(name)
    }

    /// For the one that waits.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn hand_out(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Says this from now on, unless it is withheld.
    ///
    /// # Errors
    /// The file cannot be written. There is no will then.
    pub(crate) fn write(&self, testament: &Testament) -> io::Result<()> {
        let withheld = self.withheld.lock();
        if *withheld { Ok(()) } else { self.file.write_all_at(&testament.write(), 0) }
    }

    /// Nothing is to be said: the end is orderly.
    pub(crate) fn withhold(&self) {
        let mut withheld = self.withheld.lock();
        *withheld = true;
        // Whatever fails of it, one of both is enough.
        let _ = self.file.set_len(0);
        if file::is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Testament {
    fn write(&self) -> Vec<u8> {
        let mut text = String::new();
        for byte in &self.words {
            let _ = write!(text, "{byte:02x}");
        }
        let from = self.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
        let _ = write!(text, "\n{from}");
        for heir in &self.heirs {
            let _ = write!(text, "\n{heir}");
        }
        let sum = crc32fast::hash(text.as_bytes());
        format!("{sum:08x} {:08x}\n{text}", text.len()).into_bytes()
    }

    /// Reads a will; `None` where there is none, or none that is whole.
    pub(crate) fn read(file: &File) -> Option<Self> {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).ok()?;
        let (sum, length) = std::str::from_utf8(&head).ok()?.trim_end().split_once(' ')?;
        let (sum, length) = (u32::from_str_radix(sum, 16).ok()?, usize::from_str_radix(length, 16).ok()?);
        let mut text = vec![0; length.min(LONGEST)];
        file.read_exact_at(&mut text, HEAD as u64).ok()?;
        if crc32fast::hash(&text) != sum {
            return None;
        }
        let text = String::from_utf8(text).ok()?;
        let mut lines = text.lines();
        let words = lines.next()?;
        let words = (0..words.len()).step_by(2).map(|at| words.get(at..at + 2));
        let words: Vec<u8> = words.map(|byte| u8::from_str_radix(byte?, 16).ok()).collect::<Option<_>>()?;
        let from = match lines.next()? {
            "-" => None,
            from => Some(from.parse().ok()?),
        };
        let heirs: Vec<SocketAddr> = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
        // A forged file makes us send nothing else, and to no more.
        LastWords::read(&words)?;
        (heirs.len() <= MOST_HEIRS).then_some(Self { words, from, heirs })
    }
}

/// Checksum and length.
const HEAD: usize = 18;
/// Told straight. News brings it to the rest.
pub(crate) const MOST_HEIRS: usize = 1000;
/// So many of the longest addresses.
const LONGEST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use heartsay_proto::LastSecret;

    use super::*;

    fn testament(heirs: u16) -> Testament {
        let heirs_told = heirs + 1;
        let heirs = (1..=heirs).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let words = LastWords { subject: 7, secret: LastSecret::new([9; 16]), told: heirs_told };
        let from = Some([10, 0, 0, 9].into());
        Testament {
            words: words.write().to_vec(),
            from,
            heirs: heirs.chain(["[::1]:4327".parse().unwrap()]).collect(),
        }
    }

    #[test]
    fn what_is_written_last_is_read_also_when_it_is_shorter() {
        let room = tempfile::tempdir().unwrap();
        let will = Will::make(&room.path().join("will")).unwrap();
        let guardian = will.hand_out().unwrap();
        assert_eq!(Testament::read(&guardian), None);
        for heirs in [3, 900, 2, 0] {
            will.write(&testament(heirs)).unwrap();
            assert_eq!(Testament::read(&guardian), Some(testament(heirs)));
        }
    }

    #[test]
    fn a_will_that_was_cut_or_withheld_is_none() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("will");
        let will = Will::make(&path).unwrap();
        let whole = testament(300).write();
        for length in [0, 1, 17, 18, 40, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(Testament::read(&File::open(&path).unwrap()), None, "{length}");
        }
        let mut changed = whole;
        changed[30] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert_eq!(Testament::read(&File::open(&path).unwrap()), None);
        will.write(&testament(3)).unwrap();
        will.withhold();
        assert_eq!(Testament::read(&will.hand_out().unwrap()), None);
        will.write(&testament(3)).unwrap();
        assert_eq!(Testament::read(&will.hand_out().unwrap()), None, "what comes after it says nothing");
        assert!(!path.exists());
    }

    #[test]
    fn who_has_the_will_of_an_earlier_process_open_never_reads_that_of_the_next() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("will");
        let earlier = Will::make(&path).unwrap();
        earlier.write(&testament(1)).unwrap();
        let guardian = earlier.hand_out().unwrap();
        Will::make(&path).unwrap().write(&testament(2)).unwrap();
        assert_eq!(Testament::read(&guardian), Some(testament(1)));
        earlier.withhold();
        assert_eq!(Testament::read(&File::open(&path).unwrap()), Some(testament(2)), "nor takes it away");
    }

    #[test]
    fn only_its_owner_may_read_it() {
        use std::os::unix::fs::MetadataExt as _;
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("will");
        let _will = Will::make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
