//! The entries on disk: files of lines, each with its checksum in front, of which the oldest goes as a whole.
//!
//! A file is named by the Unix milliseconds at which it was begun, always above those of the one before. So its name also says
//! how young the one before it is at least. A line that was torn by the end of the process is cut off before the next is written; what
//! does not check is skipped by readers. Nothing is brought to the disk by force: entries survive the end of the process, and
//! of the last seconds before the end of the host some may be missing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

use super::DAYS;
use crate::file;

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// Unix milliseconds at its beginning.
    begun: u64,
    /// In bytes.
    pub(super) length: u64,
}

impl Segment {
    /// Of its file.
    pub(super) fn name(self) -> String {
        format!("{:0width$}{ENDING}", self.begun, width = DIGITS)
    }
}

/// All files, the oldest first; none where there is no directory.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        let begun = digits.filter(|digits| digits.len() == DIGITS).and_then(|digits| digits.parse().ok());
        // Of a link, of itself: it is no plain file and none of ours.
        if let (Some(begun), Ok(found)) = (begun, entry.metadata())
            && found.is_file()
        {
            all.push(Segment { begun, length: found.len() });
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// The entries of a text in order, each as its JSON; `None` for one that is damaged.
pub(super) fn entries(text: &[u8]) -> impl Iterator<Item = Option<&str>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| {
        let (sum, json) = line.split_at_checked(SUM)?;
        let json = json.strip_prefix(b" ")?;
        let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
        (crc32fast::hash(json) == sum).then(|| std::str::from_utf8(json).ok()).flatten()
    })
}

/// Adds an entry to a text.
pub(super) fn add(text: &mut String, json: &str) {
    *text += &format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
}

/// How many bytes an entry takes.
pub(super) fn length(json: &str) -> u64 {
    (json.len() + SUM + 2) as u64
}

/// The first `length` bytes of a file; nothing of one that has made room meanwhile.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match open(path, OpenOptions::new().read(true)) {
        Ok(file) => file.take(length.min(LONGEST)).read_to_end(&mut bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(e),
    };
    Ok(bytes)
}

/// All of them, with the last one open.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    closed: Vec<Segment>,
    current: Option<(Segment, File)>,
}

impl Segments {
    /// Makes the directory if need be, and goes on with the last file, without what is torn at its end.
    ///
    /// # Errors
    /// Disk full, gone or read-only.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        let mut closed = list(dir)?;
        let current = match closed.pop() {
            Some(last) => match resume(dir, last) {
                Ok(current) => Some(current),
                // It stays as it is, for readers.
                Err(_) => {
                    closed.push(last);
                    None
                }
            },
            None => None,
        };
        Ok(Self { dir: dir.to_owned(), closed, current })
    }

    /// Writes whole lines, at `unix_ms`, after it has made room.
    ///
    /// # Errors
    /// Disk full or gone; nothing of it counts. The files are to be opened anew.
    pub(super) fn append(&mut self, unix_ms: u64, lines: &[u8]) -> io::Result<()> {
        self.make_room(unix_ms, lines.len() as u64)?;
        let (segment, file) = match &mut self.current {
            Some(current) => current,
            None => {
                let begun = self.closed.last().map_or(0, |last| last.begun + 1).max(unix_ms);
                let segment = Segment { begun, length: 0 };
                let mut options = OpenOptions::new();
                let file =
                    open(&self.dir.join(segment.name()), options.append(true).create_new(true).mode(0o640))?;
                self.current.insert((segment, file))
            }
        };
        match file.write_all(lines) {
            Ok(()) => {
                segment.length += lines.len() as u64;
                Ok(())
            }
            Err(e) => {
                // What could not be cut off here is when the file is opened again.
                let _ = file.set_len(segment.length);
                Err(e)
            }
        }
    }

    /// On disk, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let current = self.current.as_ref().map(|(segment, _)| segment);
        self.closed.iter().chain(current).map(|segment| segment.length).sum()
    }

    /// Closes the current file if it is full, old or gone, and drops what is too old or too much.
    fn make_room(&mut self, unix_ms: u64, more: u64) -> io::Result<()> {
        if let Some((segment, file)) = &self.current {
            let path = self.dir.join(segment.name());
            if !file::is_at(file, &path) {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed"));
            }
            let is_full = segment.length > 0 && segment.length + more > FULL;
            if is_full || unix_ms.saturating_sub(segment.begun) > DAY_MS {
                self.closed.push(*segment);
                self.current = None;
            }
        }
        while let Some(oldest) = self.closed.first().copied() {
            let next = self.closed.get(1).or(self.current.as_ref().map(|(segment, _)| segment));
            let is_old = next.is_some_and(|next| unix_ms.saturating_sub(next.begun) > DAYS * DAY_MS);
            if !is_old && self.bytes() + more <= TOTAL && self.closed.len() < MOST {
                break;
            }
            match fs::remove_file(self.dir.join(oldest.name())) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => drop(self.closed.remove(0)),
            }
        }
        Ok(())
    }
}

/// Opens the last file, and cuts off what is behind its last whole line.
fn resume(dir: &Path, last: Segment) -> io::Result<(Segment, File)> {
    let path = dir.join(last.name());
    let mut file = open(&path, OpenOptions::new().read(true).append(true))?;
    let mut tail = Vec::new();
    let from = last.length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    (&file).take(TAIL).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let length = from + whole as u64;
    if length < last.length {
        file.set_len(length)?;
    }
    Ok((Segment { length, ..last }, file))
}

/// No link is followed, and nothing but a file waited for: another may have put something else there.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Behind the name of each file.
const ENDING: &str = ".log";
/// Of Unix milliseconds, for longer than anything lasts: so names sort as numbers do.
const DIGITS: usize = 16;
/// Hexadecimal digits of a checksum.
const SUM: usize = 8;
/// A file that would get longer is closed.
const FULL: u64 = 1 << 20;
/// All files together.
const TOTAL: u64 = 8 << 20;
/// Files, short ones too: one a day, and the full ones.
const MOST: usize = 24;
/// Longer than any file of ours.
const LONGEST: u64 = 2 * FULL;
/// Longer than what can be torn at an end: all that is written at once.
const TAIL: u64 = FULL;
const DAY_MS: u64 = 24 * 3600 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn append(segments: &mut Segments, unix_ms: u64, entries: &[&str]) {
        let mut text = String::new();
        entries.iter().for_each(|json| add(&mut text, json));
        segments.append(unix_ms, text.as_bytes()).unwrap();
    }

    /// What readers see: entries, and how many are damaged.
    fn seen(dir: &Path) -> (Vec<String>, usize) {
        let texts: Vec<Vec<u8>> =
            list(dir).unwrap().iter().map(|s| read(&dir.join(s.name()), s.length).unwrap()).collect();
        let all: Vec<Option<&str>> = texts.iter().flat_map(|text| entries(text)).collect();
        let damaged = all.iter().filter(|entry| entry.is_none()).count();
        (all.into_iter().flatten().map(str::to_owned).collect(), damaged)
    }

    fn on_disk(dir: &Path) -> u64 {
        list(dir).unwrap().iter().map(|segment| segment.length).sum()
    }

    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn_and_what_comes_then_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        append(&mut Segments::open(dir.path()).unwrap(), 1000, &["\"first\"", "\"second\""]);
        let path = dir.path().join(list(dir.path()).unwrap()[0].name());
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            for zeros in [0, 64] {
                fs::write(&path, [&whole[..cut], &vec![0; zeros]].concat()).unwrap();
                let kept = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
                append(&mut Segments::open(dir.path()).unwrap(), 2000, &["\"third\""]);
                let expected = [&["\"first\"", "\"second\""][..kept], &["\"third\""]].concat();
                assert_eq!(
                    seen(dir.path()),
                    (expected.iter().map(|e| (*e).to_owned()).collect(), 0),
                    "{cut}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_check_is_skipped_and_counted_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        append(&mut Segments::open(dir.path()).unwrap(), 1, &["\"first\"", "\"second\"", "\"third\""]);
        let path = dir.path().join(list(dir.path()).unwrap()[0].name());
        let text = fs::read_to_string(&path).unwrap().replace("second", "sec\u{7f}nd");
        fs::write(&path, text).unwrap();
        assert_eq!(seen(dir.path()), (vec!["\"first\"".to_owned(), "\"third\"".to_owned()], 1));
        for rubbish in ["", "\n", "x\n", "00000000\n", "0000000g x\n", "ÿÿÿÿÿÿÿÿ x\n"] {
            assert_eq!(entries(rubbish.as_bytes()).flatten().count(), 0, "{rubbish:?}");
        }
    }

    #[test]
    fn the_oldest_file_makes_room_and_all_of_it_stays_within_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path()).unwrap();
        let entry = |n: u64| format!("\"{n:06}{}\"", "x".repeat(10_000));
        let last = 2000;
        for n in 0..=last {
            append(&mut segments, 1000 + n, &[&entry(n)]);
            assert!(on_disk(dir.path()) <= TOTAL);
            assert_eq!(segments.bytes(), on_disk(dir.path()));
        }
        assert!(on_disk(dir.path()) > TOTAL - 2 * FULL, "{}", on_disk(dir.path()));
        let (entries, damaged) = seen(dir.path());
        let first = last + 1 - entries.len() as u64;
        assert_eq!((entries, damaged), ((first..=last).map(entry).collect(), 0), "the newest, without a gap");
        // A clock that was set back changes nothing in the order.
        append(&mut segments, 1, &[&entry(last + 1), &"y".repeat(500_000)]);
        append(&mut segments, 1, &[&"z".repeat(700_000)]);
        assert!(seen(dir.path()).0.last().unwrap().starts_with('z'));
    }

    #[test]
    fn a_file_takes_a_day_and_is_dropped_when_all_in_it_is_a_week_old() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path()).unwrap();
        let noon = |day: u64| 1_800_000_000_000 + day * (DAY_MS + 1);
        for day in 0..20 {
            append(&mut segments, noon(day), &[&format!("\"{day}\"")]);
        }
        let days: Vec<String> = (12..20).map(|day| format!("\"{day}\"")).collect();
        assert_eq!(seen(dir.path()).0, days);
        append(&mut segments, noon(20) + DAYS * DAY_MS, &["\"much later\""]);
        assert_eq!(
            seen(dir.path()).0,
            ["\"19\"", "\"much later\""],
            "how old the end of a file is, the next one says"
        );
    }

    #[test]
    fn files_of_others_are_left_alone_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (precious, history) = (dir.path().join("precious"), dir.path().join("history"));
        fs::write(&precious, "content").unwrap();
        append(&mut Segments::open(&history).unwrap(), 1, &["\"first\""]);
        std::os::unix::fs::symlink(&precious, history.join(format!("{:016}{ENDING}", 7))).unwrap();
        for other in ["notes.log", "0.log", "000000000000000x.log"] {
            fs::write(history.join(other), "theirs").unwrap();
        }
        append(&mut Segments::open(&history).unwrap(), 9, &["\"second\""]);
        assert_eq!(seen(&history).0, ["\"first\"", "\"second\""]);
        assert_eq!(fs::read(&precious).unwrap(), b"content");
    }

    #[test]
    fn a_directory_that_is_removed_meanwhile_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let history = dir.path().join("history");
        let mut segments = Segments::open(&history).unwrap();
        append(&mut segments, 1, &["\"first\""]);
        fs::remove_dir_all(&history).unwrap();
        assert!(segments.append(2, b"x\n").is_err());
        append(&mut Segments::open(&history).unwrap(), 3, &["\"second\""]);
        assert_eq!(seen(&history).0, ["\"second\""]);
    }
}
