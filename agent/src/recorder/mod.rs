//! The flight recorder: what happened in the last seven days, and on what evidence, also after the agent is gone.
//!
//! Picture: the box in an aeroplane. The pilot hands a note through a slot and flies on; behind the slot one thread writes
//! in its own time. A slot that is full drops the note and counts it. The box has a fixed size: the oldest tape makes room
//! for the newest.
//!
//! ```text
//! protocol ── take ──► queue of 1,024 ──► writer ──► allowance ──► segments of 1 MiB, 8 MiB in all
//!                          full: counted             used up: counted      not writable: kept in memory meanwhile
//! ```
//!
//! What is counted becomes an entry `left-out` as soon as entries are taken again.

mod allowance;
mod past;
mod search;
mod segments;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use heartsay_membership::{Heartbeat, MemberView};
use heartsay_tokio::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

pub(crate) use allowance::Allowance;
pub(crate) use past::past;
pub(crate) use search::{Found, Wanted, search, stamp};

use crate::queue;
use crate::types::WatchLine;
use writer::{Writer, Writing};

/// The slot. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    to: SyncSender<Item>,
    shared: Arc<Shared>,
}

/// What is kept beside an event of a member.
#[derive(Debug)]
pub(crate) struct Beside {
    /// Of the member.
    pub(crate) heartbeat: Heartbeat,
    /// With what the status rests on, where it is a verdict or on the way to one.
    pub(crate) view: Option<Box<MemberView>>,
}

/// Of this life of the agent.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// Our generation at the start.
    pub(crate) generation: u64,
    /// φ that makes suspect.
    pub(crate) phi_threshold: f64,
    /// The setting.
    pub(crate) acceptable_pause: Duration,
    /// What starts, in a sentence.
    pub(crate) said: String,
}

/// Is told when writing begins to fail, and when it works again.
pub(crate) type Report = Arc<dyn Fn(Result<(), &io::Error>) + Send + Sync>;

/// What both ends know.
struct Shared {
    dir: PathBuf,
    report: Report,
    /// Entries that were dropped at the slot, and are in no `left-out` yet.
    dropped: AtomicU64,
    /// The slot is full: the disk does not answer.
    stuck: AtomicBool,
    counts: Counts,
    waiting: Mutex<writer::Waiting>,
    /// One reads at a time: the disk may hang, and then one thread hangs with it.
    reading: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    left_out: AtomicU64,
    bytes: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).field("counts", &self.counts).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Item {
    Event(Box<Happened>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

#[derive(Debug)]
struct Happened {
    line: WatchLine,
    beside: Option<Beside>,
}

/// How the recorder fares, for counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fare {
    /// Entries that were written in this life.
    pub(crate) written: u64,
    /// Events that were left out in it.
    pub(crate) left_out: u64,
    /// On disk.
    pub(crate) bytes: u64,
}

impl Recorder {
    /// Writes to `dir` from now on, on a thread that does nothing else. It is made when it is needed.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(dir: PathBuf, clock: Arc<Clock>, life: Life, report: Report) -> io::Result<Self> {
        let (to, items) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            dir,
            report,
            dropped: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            counts: Counts::default(),
            waiting: Mutex::default(),
            reading: Arc::new(Semaphore::new(1)),
        });
        let started = WatchLine {
            kind: "self".to_owned(),
            time: clock.stamp(clock.now()),
            reason: Some(life.said.clone()),
            ..WatchLine::default()
        };
        let writer = Writer::new(Arc::clone(&shared), clock, life);
        std::thread::Builder::new()
            .name("history".to_owned())
            .stack_size(STACK)
            .spawn(move || writer.run(&items))?;
        let recorder = Self { to, shared };
        recorder.take(started, None);
        Ok(recorder)
    }

    /// Hands an event through the slot.
    pub(crate) fn take(&self, line: WatchLine, beside: Option<Beside>) {
        if self.to.try_send(Item::Event(Box::new(Happened { line, beside }))).is_ok() {
            return;
        }
        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.left_out.fetch_add(1, Ordering::Relaxed);
        if !self.shared.stuck.swap(true, Ordering::Relaxed) {
            let stuck = io::Error::new(io::ErrorKind::TimedOut, "the disk does not take entries in time");
            (self.shared.report)(Err(&stuck));
        }
    }

    /// Waits until what was handed in so far is written, but not for long.
    pub(crate) fn flush(&self) {
        queue::flush(&self.to, Item::Flush);
    }

    /// For counters.
    pub(crate) fn fare(&self) -> Fare {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { written, left_out, bytes } = &self.shared.counts;
        Fare { written: of(written), left_out: of(left_out), bytes: of(bytes) }
    }

    /// The right to read; one at a time.
    pub(crate) fn reading(&self) -> Arc<Semaphore> {
        Arc::clone(&self.shared.reading)
    }

    /// What there is to read now. Waits for the disk.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn kept(&self) -> io::Result<Kept> {
        let waiting = self.shared.waiting.lock();
        let files = segments::list(&self.shared.dir)?;
        // What is shown has to be there after a kill, if that can be.
        let failing = waiting.writing == Writing::Fails;
        Ok(Kept {
            files: files.into_iter().map(|file| (self.shared.dir.join(file.name()), file.length)).collect(),
            in_memory: if failing { waiting.lines() } else { Vec::new() },
            failing,
            left_out: waiting.left_out() + self.shared.dropped.load(Ordering::Relaxed),
        })
    }
}

/// What there is to read at one moment.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The oldest first, each with as many bytes as are whole.
    files: Vec<(PathBuf, u64)>,
    /// What could not be written yet.
    in_memory: Vec<Arc<str>>,
    /// It cannot be, just now.
    failing: bool,
    /// Events of which no entry says yet that they are missing.
    left_out: u64,
}

/// As far back as anything is kept.
pub(crate) const DAYS: u64 = 7;
/// Events that may wait for the disk: a thousand members that fall silent at once. With evidence some 2 MB.
const QUEUE: usize = 1024;
/// Enough to write an entry.
const STACK: usize = 128 * 1024;
