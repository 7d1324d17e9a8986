//! Lines on their way to standard error, which may be read slowly or not at all.
//!
//! A full pipe, a stopped terminal or a journal under pressure would hold up
//! every writer, the protocol among them. So lines wait in a bounded
//! queue for a thread that does nothing else; beyond it they are dropped, and
//! the next line that gets through says how many.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing_subscriber::fmt::MakeWriter;

use crate::escape::{escape, escape_painted};
use crate::queue;

/// The writing end. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    to: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

/// What the lines are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Programs: each line is exact.
    Json,
    /// People: what others said is escaped.
    Text,
    /// People before a terminal, with colours.
    Coloured,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(out: impl Write + Send + 'static, form: Form) -> io::Result<Self> {
        let (to, items) = sync_channel(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(STACK)
            .spawn(move || write_all(out, form, &items, &counter))?;
        Ok(Self { to, dropped })
    }

    /// Lines that were lost.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was written so far is out, but not for long.
    pub(crate) fn flush(&self) {
        queue::flush(&self.to, Item::Flush);
    }
}

impl Write for Log {
    /// One call is one line, as the formatter makes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.to.try_send(Item::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Writes until no sender is left. A line that cannot be written, as on a full disk, is lost too.
fn write_all(mut out: impl Write, form: Form, items: &Receiver<Item>, dropped: &AtomicU64) {
    let mut told = 0;
    while let Ok(item) = items.recv() {
        match item {
            Item::Line(line) => {
                if out.write_all(&shown(line, form)).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Item::Flush(done) => drop(done.try_send(())),
        }
        let now = dropped.load(Ordering::Relaxed);
        let news = || {
            format!("{} lines of this log are lost: it was not read, or not written, in time\n", now - told)
        };
        if now > told && out.write_all(news().as_bytes()).is_ok() {
            told = now;
        }
    }
}

/// One line, whatever was put into it.
fn shown(line: Vec<u8>, form: Form) -> Vec<u8> {
    if form == Form::Json {
        return line;
    }
    let text = String::from_utf8_lossy(&line);
    // A line end within belongs to a value that is logged; the last one is the formatter's.
    let (text, end) = text.strip_suffix('\n').map_or((text.as_ref(), ""), |text| (text, "\n"));
    let text = text.replace('\n', "\\n");
    let text = if form == Form::Text { escape(&text).into_owned() } else { escape_painted(&text) };
    (text + end).into_bytes()
}

/// Lines that may wait: at 200 bytes each, 100 kB.
const LINES: usize = 512;
/// Enough to write a line.
const STACK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    use parking_lot::Mutex;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_in_order() {
        let paper = Paper::default();
        let mut log = Log::start(paper.clone(), Form::Text).unwrap();
        for i in 0..100 {
            writeln!(log, "{i}").unwrap();
        }
        Log::flush(&log);
        let expected: String = (0..100).map(|i| format!("{i}\n")).collect();
        assert_eq!(String::from_utf8(paper.0.lock().clone()).unwrap(), expected);
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_writer_to_a_log_without_a_reader_does_not_wait_and_the_loss_is_told() {
        let paper = Paper::default();
        let mut log = Log::start(paper.clone(), Form::Text).unwrap();
        {
            let _stuck = paper.0.lock();
            for _ in 0..LINES + 100 {
                log.write_all(b"line\n").unwrap();
            }
            assert!((98..=100).contains(&log.dropped()), "{}", log.dropped());
        }
        Log::flush(&log);
        let text = String::from_utf8(paper.0.lock().clone()).unwrap();
        assert!(text.contains(&format!("{} lines of this log are lost", log.dropped())), "{text}");
    }

    #[test]
    fn what_others_said_forges_no_line_and_moves_no_cursor() {
        let said = "WARN a\nERROR forged \u{202e}\x1b[2J \x1b[32mgreen\x1b[0m\n";
        for (form, written) in [
            (Form::Json, said),
            (Form::Text, "WARN a\\nERROR forged \\u{202e}\\u{1b}[2J \\u{1b}[32mgreen\\u{1b}[0m\n"),
            (Form::Coloured, "WARN a\\nERROR forged \\u{202e}\\u{1b}[2J \x1b[32mgreen\x1b[0m\n"),
        ] {
            assert_eq!(String::from_utf8(shown(said.into(), form)).unwrap(), written);
        }
    }

    /// Full for the first lines.
    struct Disk(Paper, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.1.checked_sub(1) {
                Some(left) => {
                    self.1 = left;
                    Err(io::ErrorKind::StorageFull.into())
                }
                None => self.0.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_full_disk_has_lost_are_counted_and_told_when_it_takes_lines_again() {
        let paper = Paper::default();
        // Two lines, and twice the news of it.
        let mut log = Log::start(Disk(paper.clone(), 4), Form::Text).unwrap();
        for line in ["lost\n", "lost\n", "kept\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        Log::flush(&log);
        assert_eq!(log.dropped(), 2);
        let text = String::from_utf8(paper.0.lock().clone()).unwrap();
        assert!(text.starts_with("kept\n2 lines of this log are lost"), "{text}");
    }
}
