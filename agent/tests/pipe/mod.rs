//! A pipe in the place of a watchdog device: what is written to it, and when.

#![allow(dead_code, reason = "every test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of any test function"
)]

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Read all the time, as a device is.
pub struct Pipe {
    path: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    told: Vec<(Instant, u8)>,
    /// When a device was last given another time-out; none while it is disarmed.
    granted: Option<Instant>,
    /// No process has it open for writing, though one had.
    let_go: bool,
    closed: bool,
}

impl Shared {
    fn take(&mut self, bytes: &[u8]) {
        let at = now();
        self.told.extend(bytes.iter().map(|byte| (at, *byte)));
        self.granted = self.told.last().filter(|(_, byte)| *byte == b'.').map(|(at, _)| *at);
        self.let_go = false;
    }

    /// As the kernel does it: a device that is not disarmed is petted once when its last opener goes.
    fn close(&mut self) {
        if !self.let_go && !self.told.is_empty() {
            self.let_go = true;
            self.granted = self.granted.and(Some(now()));
        }
    }
}

impl Pipe {
    /// A new one in this directory.
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("dog");
        // Another one may have been there.
        let _ = std::fs::remove_file(&path);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let shared = Arc::<Mutex<Shared>>::default();
        let mut pipe = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&path).unwrap();
        let filled = Arc::clone(&shared);
        thread::spawn(move || {
            loop {
                let mut bytes = [0; 64];
                let read = pipe.read(&mut bytes);
                let mut shared = filled.lock().unwrap();
                if shared.closed {
                    return;
                }
                match read {
                    Ok(0) => shared.close(),
                    Ok(count) => shared.take(&bytes[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => shared.let_go = false,
                    Err(_) => return,
                }
                drop(shared);
                thread::sleep(LOOK);
            }
        });
        Self { path, shared }
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// All that was written.
    pub fn told(&self) -> String {
        self.shared.lock().unwrap().told.iter().map(|(_, byte)| char::from(*byte)).collect()
    }

    pub fn ends_with(&self, text: &str) -> bool {
        // What was written is read a moment later.
        thread::sleep(20 * LOOK);
        self.told().ends_with(text)
    }

    /// When it was petted.
    pub fn pets(&self) -> Vec<Instant> {
        let shared = self.shared.lock().unwrap();
        shared.told.iter().filter(|(_, byte)| *byte == b'.').map(|(at, _)| *at).collect()
    }

    /// The longest time without a pet after this moment.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        self.longest_gap_from(since).1
    }

    /// The same, and when it began.
    pub fn longest_gap_from(&self, since: Instant) -> (Instant, Duration) {
        let moments: Vec<Instant> =
            [since].into_iter().chain(self.pets().into_iter().filter(|at| *at > since)).collect();
        let gaps = moments.iter().zip(moments.iter().skip(1)).map(|(a, b)| (*a, *b - *a));
        gaps.max_by_key(|(_, gap)| *gap).unwrap_or((since, Duration::ZERO))
    }

    /// Whether a device with this time-out would reset the machine now; if so, it does so once.
    pub fn fires(&self, timeout: Duration) -> bool {
        let mut shared = self.shared.lock().unwrap();
        shared.granted.take_if(|granted| now() - *granted > timeout).is_some()
    }

    /// Whether all that had it open have closed it.
    pub fn is_let_go(&self) -> bool {
        self.shared.lock().unwrap().let_go
    }

    /// Reads no more: who writes then gets an error.
    pub fn close(&self) {
        self.shared.lock().unwrap().closed = true;
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close();
    }
}

#[expect(clippy::disallowed_methods, reason = "real programs run in real time")]
pub fn now() -> Instant {
    Instant::now()
}

const LOOK: Duration = Duration::from_millis(5);
