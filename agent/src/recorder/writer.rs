//! The thread that writes: entries of events, as many as the allowance has room for.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use heartsay_tokio::clock::Clock;

use super::segments::{self, Segments};
use super::{Allowance, Beside, Happened, Item, Life, Shared};
use crate::show;
use crate::types::{HistoryEntry, WatchLine};

/// Whether what waits gets to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Writing {
    /// As far as is known.
    #[default]
    Works,
    /// The last try failed.
    Fails,
}

/// Entries that are not on disk.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    entries: VecDeque<Arc<str>>,
    bytes: u64,
    /// Whether they get there.
    pub(super) writing: Writing,
    /// Left out before the first of them.
    before: LeftOut,
    /// Left out behind the last of them.
    behind: LeftOut,
}

/// Events that are missing at one place.
#[derive(Debug, Default)]
struct LeftOut {
    count: u64,
    /// Of the first.
    since: Option<String>,
}

impl Waiting {
    /// All of them.
    pub(super) fn lines(&self) -> Vec<Arc<str>> {
        self.entries.iter().cloned().collect()
    }

    /// Events of which no entry says yet that they are missing.
    pub(super) fn left_out(&self) -> u64 {
        self.before.count + self.behind.count
    }

    fn push(&mut self, json: Arc<str>) {
        self.bytes += segments::length(&json);
        self.entries.push_back(json);
    }

    /// Drops the oldest until the rest is no more than memory is given for. How many went.
    fn shrink(&mut self) -> u64 {
        let before = self.before.count;
        while self.bytes > IN_MEMORY
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= segments::length(&oldest);
            let gone = serde_json::from_slice::<HistoryEntry>(oldest.as_bytes()).unwrap_or_default();
            // An entry that stands for others counts as these.
            self.before.add(gone.left_out.unwrap_or(1), &gone.event.time);
        }
        self.before.count - before
    }
}

impl LeftOut {
    fn add(&mut self, count: u64, time: &str) {
        self.count += count;
        self.since.get_or_insert_with(|| time.to_owned());
    }

    /// The entry that says so; nothing where nothing is missing.
    fn entry(&self, life: u64) -> Option<String> {
        let Self { count, since: Some(since) } = self else { return None };
        let events = if *count == 1 { "event is" } else { "events are" };
        let event = WatchLine {
            kind: LEFT_OUT.to_owned(),
            time: since.clone(),
            reason: Some(format!(
                "{count} {events} left out here: more came than are kept, or the disk took none"
            )),
            ..WatchLine::default()
        };
        serde_json::to_string(&HistoryEntry {
            event,
            life,
            left_out: Some(*count),
            ..HistoryEntry::default()
        })
        .ok()
    }
}

/// Writes what it is given, until no sender is left.
pub(super) struct Writer {
    shared: Arc<Shared>,
    clock: Arc<Clock>,
    life: Life,
    allowance: Allowance,
    /// To be opened, at first and after a failure.
    segments: Option<Segments>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, clock: Arc<Clock>, life: Life) -> Self {
        let allowance = Allowance::new(AT_ONCE, PER_SECOND, clock.now());
        Self { shared, clock, life, allowance, segments: None }
    }

    pub(super) fn run(mut self, items: &Receiver<Item>) {
        loop {
            let fails = self.shared.waiting.lock().writing == Writing::Fails;
            let item = match fails {
                // Only while something waits for the disk is anything done without an event.
                true => items.recv_timeout(RETRY),
                false => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match item {
                Ok(item) => {
                    let mut flushed = self.handle(item);
                    // What has come meanwhile goes with it.
                    for item in items.try_iter().take(BATCH) {
                        flushed.extend(self.handle(item));
                    }
                    self.write();
                    for done in flushed {
                        let _ = done.try_send(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle(&mut self, item: Item) -> Vec<std::sync::mpsc::SyncSender<()>> {
        match item {
            Item::Event(event) => {
                self.take(*event);
                Vec::new()
            }
            Item::Flush(done) => vec![done],
        }
    }

    /// Puts the entry of an event with those that wait, if there is room for it.
    fn take(&mut self, Happened { line, beside }: Happened) {
        let (kind, time) = (line.kind.clone(), line.time.clone());
        let json = self.written(line, beside);
        let shared = Arc::clone(&self.shared);
        let mut waiting = shared.waiting.lock();
        // These came before it.
        let dropped = shared.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            waiting.behind.add(dropped, &time);
        }
        // What tells of this agent and of quorum is rare, and has to be there in any flood.
        let reserve = if matches!(kind.as_str(), "self" | "quorum") { 0 } else { RESERVE };
        let room = |json: &String| self.allowance.take(self.clock.now(), segments::length(json), reserve);
        match json.filter(room) {
            Some(json) => {
                if let Some(missing) = waiting.behind.entry(self.life.generation) {
                    waiting.push(missing.into());
                    waiting.behind = LeftOut::default();
                }
                waiting.push(json.into());
                let gone = waiting.shrink();
                shared.counts.left_out.fetch_add(gone, Ordering::Relaxed);
                if waiting.bytes > AT_A_TIME && waiting.writing == Writing::Works {
                    drop(waiting);
                    self.write();
                }
            }
            None => {
                waiting.behind.add(1, &time);
                shared.counts.left_out.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The event as an entry. One that is too long goes without what makes it long.
    fn written(&self, event: WatchLine, beside: Option<Beside>) -> Option<String> {
        let mut entry = HistoryEntry { event, life: self.life.generation, ..HistoryEntry::default() };
        if let Some(Beside { heartbeat, view }) = beside {
            entry.heartbeat = Some(heartbeat);
            if let Some(view) = view {
                entry.acceptable_pause_seconds = Some(self.life.acceptable_pause.as_secs_f64());
                let member = show::member_with_evidence(
                    &self.clock,
                    &view,
                    &show::Fallen::default(),
                    self.life.phi_threshold,
                );
                entry.evidence = member.evidence;
            }
        }
        let fits = |json: &String| json.len() <= LONGEST;
        if let Some(json) = serde_json::to_string(&entry).ok().filter(fits) {
            return Some(json);
        }
        (entry.evidence, entry.event.tags, entry.event.before) = (None, None, None);
        serde_json::to_string(&entry).ok().filter(fits)
    }

    /// Brings to the files what waits.
    fn write(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut waiting = shared.waiting.lock();
        if waiting.entries.is_empty() {
            return;
        }
        let done = self.append(&waiting);
        let was = waiting.writing;
        match &done {
            Ok(()) => {
                let entries = waiting.entries.len() as u64;
                shared.counts.written.fetch_add(entries, Ordering::Relaxed);
                let behind = std::mem::take(&mut waiting.behind);
                *waiting = Waiting { behind, ..Waiting::default() };
            }
            Err(_) => {
                waiting.writing = Writing::Fails;
                self.segments = None;
            }
        }
        let now = waiting.writing;
        drop(waiting);
        if let Some(segments) = &self.segments {
            shared.counts.bytes.store(segments.bytes(), Ordering::Relaxed);
        }
        let stuck = done.is_ok() && shared.stuck.swap(false, Ordering::Relaxed);
        if was != now || stuck {
            (shared.report)(done.as_ref().copied());
        }
    }

    fn append(&mut self, waiting: &Waiting) -> io::Result<()> {
        let segments = match &mut self.segments {
            Some(segments) => segments,
            None => self.segments.insert(Segments::open(&self.shared.dir)?),
        };
        let mut text = String::new();
        if let Some(missing) = waiting.before.entry(self.life.generation) {
            segments::add(&mut text, &missing);
        }
        waiting.entries.iter().for_each(|json| segments::add(&mut text, json));
        segments.append(self.clock.unix_ms(), text.as_bytes())
    }
}

/// The type of an entry that says that others are missing.
pub(super) const LEFT_OUT: &str = "left-out";
/// Written at once, in bytes: a thousand members that go and come back, with evidence for many of them.
const AT_ONCE: u64 = 2 << 20;
/// And for long. A flood of an hour then takes three of the eight MiB, and the days before it are still there.
const PER_SECOND: u64 = 256;
/// Not for members and services.
const RESERVE: u64 = 128 * 1024;
/// Of an entry, in bytes: all tags that a member can have, twice.
const LONGEST: usize = 32 * 1024;
/// Written together, in bytes.
const AT_A_TIME: u64 = 64 * 1024;
/// Kept while the disk takes nothing, in bytes.
const IN_MEMORY: u64 = 256 * 1024;
/// Between two tries then.
const RETRY: Duration = Duration::from_secs(5);
/// Items that are taken together.
const BATCH: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    use parking_lot::Mutex;

    use super::super::{Kept, Recorder};

    /// A recorder, and what was reported: `true` for works again.
    fn recorder(dir: &Path) -> (Recorder, Arc<Mutex<Vec<bool>>>) {
        let told: Arc<Mutex<Vec<bool>>> = Arc::default();
        let tell = Arc::clone(&told);
        let life = Life {
            generation: 7,
            phi_threshold: 8.0,
            acceptable_pause: Duration::from_secs(2),
            said: "started".to_owned(),
        };
        let report: super::super::Report = Arc::new(move |how| tell.lock().push(how.is_ok()));
        (Recorder::start(dir.to_owned(), Arc::new(Clock::start()), life, report).unwrap(), told)
    }

    fn event(kind: &str, name: &str, padding: usize) -> WatchLine {
        WatchLine {
            kind: kind.to_owned(),
            index: 1,
            time: "2026-11-20T13:45:53.781021Z".to_owned(),
            name: Some(name.to_owned()),
            reason: Some("x".repeat(padding)),
            ..WatchLine::default()
        }
    }

    fn entries(kept: &Kept) -> Vec<HistoryEntry> {
        let mut all = Vec::new();
        for (path, length) in &kept.files {
            let text = segments::read(path, *length).unwrap();
            all.extend(
                segments::entries(&text).map(|json| serde_json::from_str(json.expect("whole")).unwrap()),
            );
        }
        all.extend(kept.in_memory.iter().map(|json| serde_json::from_str::<HistoryEntry>(json).unwrap()));
        all
    }

    /// Events of the type, and all that are said to be missing.
    fn told(entries: &[HistoryEntry], kind: &str) -> (u64, u64) {
        let told = entries.iter().filter(|entry| entry.event.kind == kind).count() as u64;
        (told, entries.iter().filter_map(|entry| entry.left_out).sum())
    }

    #[test]
    fn a_flood_stays_within_its_bound_and_says_how_many_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (recorder, reports) = recorder(dir.path());
        for n in 0..40_000 {
            recorder.take(event("member-down", &format!("n{n}"), 300), None);
            if n % 512 == 0 {
                recorder.flush();
            }
        }
        recorder.flush();
        recorder.take(event("quorum", "n1", 10), None);
        recorder.flush();
        let kept = recorder.kept().unwrap();
        let size: u64 = kept.files.iter().map(|(_, length)| length).sum();
        assert!(size <= AT_ONCE + 64 * 1024, "{size}");
        assert!(size > AT_ONCE / 2, "{size}");
        let all = entries(&kept);
        assert_eq!((told(&all, "quorum").0, told(&all, "self").0), (1, 1), "these come through");
        let (downs, missing) = told(&all, "member-down");
        assert_eq!(downs + missing + kept.left_out, 40_000);
        let fare = recorder.fare();
        assert_eq!((fare.left_out, fare.bytes), (missing, size));
        assert!(reports.lock().iter().all(|ok| *ok) || reports.lock().last() == Some(&true));
    }

    #[test]
    fn what_cannot_be_written_waits_in_memory_and_gets_there_when_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let history = dir.path().join("history");
        std::fs::write(&history, "in the way").unwrap();
        let (recorder, reports) = recorder(&history);
        for n in 0..2000 {
            recorder.take(event("member-down", &format!("n{n}"), 300), None);
            if n % 512 == 0 {
                recorder.flush();
            }
        }
        recorder.flush();
        assert_eq!(*reports.lock(), [false], "told once");
        let waiting = recorder.shared.waiting.lock();
        assert!(waiting.bytes <= IN_MEMORY && waiting.bytes > IN_MEMORY / 2, "{}", waiting.bytes);
        assert_eq!(waiting.entries.len() as u64 + waiting.left_out(), 2001);
        drop(waiting);
        std::fs::remove_file(&history).unwrap();
        recorder.take(event("member-alive", "n1", 10), None);
        recorder.flush();
        assert_eq!(*reports.lock(), [false, true]);
        let kept = recorder.kept().unwrap();
        assert!(kept.in_memory.is_empty() && !kept.failing);
        let all = entries(&kept);
        assert_eq!(all[0].event.kind, LEFT_OUT, "what is missing is missing before the rest");
        let (downs, missing) = told(&all, "member-down");
        // The start of this life was among them.
        assert_eq!(downs + missing, 2001);
    }

    #[test]
    fn it_gets_there_without_a_further_event_too() {
        let dir = tempfile::tempdir().unwrap();
        let history = dir.path().join("history");
        std::fs::write(&history, "in the way").unwrap();
        let (recorder, reports) = recorder(&history);
        recorder.flush();
        std::fs::remove_file(&history).unwrap();
        let tries = AtomicUsize::new(0);
        while reports.lock().last() != Some(&true) {
            assert!(tries.fetch_add(1, Ordering::Relaxed) < 300, "{:?}", reports.lock());
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(entries(&recorder.kept().unwrap()).len(), 1);
    }

    #[test]
    fn a_slot_that_nobody_empties_does_not_hold_up_whoever_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let (recorder, reports) = recorder(dir.path());
        recorder.flush();
        {
            // As long as a disk that hangs.
            let _stuck = recorder.shared.waiting.lock();
            for _ in 0..super::super::QUEUE + 100 {
                recorder.take(event("member-down", "n1", 10), None);
            }
            assert_eq!(*reports.lock(), [false], "told once");
            assert!((98..=100).contains(&recorder.fare().left_out), "{}", recorder.fare().left_out);
        }
        recorder.flush();
        recorder.take(event("member-alive", "n1", 10), None);
        recorder.flush();
        recorder.flush();
        let all = entries(&recorder.kept().unwrap());
        let (downs, missing) = told(&all, "member-down");
        assert_eq!(downs + missing, super::super::QUEUE as u64 + 100);
        assert!(missing >= 98, "{missing}");
        assert_eq!(reports.lock().last(), Some(&true));
    }

    #[test]
    fn an_entry_that_is_too_long_goes_without_what_makes_it_long() {
        let dir = tempfile::tempdir().unwrap();
        let (recorder, _) = recorder(dir.path());
        let tags = [("k".to_owned(), "v".repeat(LONGEST))];
        recorder.take(WatchLine { tags: Some(tags.into()), ..event("member-join", "n1", 10) }, None);
        recorder.take(event("member-join", "n2", LONGEST), None);
        recorder.take(event("member-join", "n3", 10), None);
        recorder.flush();
        let all = entries(&recorder.kept().unwrap());
        assert_eq!(told(&all, "member-join"), (2, 1));
        assert!(all.iter().all(|entry| entry.event.tags.is_none()));
    }
}
