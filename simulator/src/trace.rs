//! The fingerprint of a run, and its log for people.

use std::hash::Hasher as _;
use std::io::Write;

use heartsay_membership::{Instant, MemberEvent};
use siphasher::sip::SipHasher13;

/// Hashes everything that happens; prints it when asked.
///
/// Two runs with equal hashes took the same inputs at the same virtual times
/// with the same bytes and told the same events: one is a replay of the other.
pub struct Trace {
    hash: SipHasher13,
    log: Option<Log>,
    inputs: u64,
}

/// Where and how much to print.
pub struct Log {
    /// Where to.
    pub out: Box<dyn Write + Send>,
    /// Every datagram too.
    pub packets: bool,
    /// Only what this member does or sees.
    pub only: Option<String>,
    /// Nothing before this.
    pub from: Instant,
}

impl Trace {
    /// A trace that prints into `log`, or nowhere.
    #[must_use]
    pub fn new(log: Option<Log>) -> Self {
        Self { hash: SipHasher13::new(), log, inputs: 0 }
    }

    /// Hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Inputs handed to machines so far.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// An input of kind `kind` is handed to `host`.
    pub fn input(&mut self, at: Instant, host: usize, kind: u8, bytes: &[u8]) {
        self.inputs += 1;
        self.mark(at, host, kind);
        self.hash.write(bytes);
    }

    /// `host` says that an entry changed.
    pub fn member(&mut self, at: Instant, host: usize, name: &str, event: &MemberEvent) {
        self.mark(at, host, EVENT);
        self.hash.write(event.name.as_str().as_bytes());
        self.hash.write_u64(event.generation);
        self.hash.write_u64(event.heartbeat);
        self.hash.write_u8(event.kind as u8);
        if event.fenced == Some(true) {
            self.hash.write_u8(1);
        }
        self.say(at, name, || {
            let by: Vec<&str> = event.by.iter().map(|n| n.as_str()).collect();
            let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
            let fenced = if event.fenced == Some(true) { ", fenced" } else { "" };
            let kind = format!("{:?}", event.kind).to_lowercase();
            format!(
                "{} {kind}, now {}{} (generation {}, heartbeat {}){by}: {}",
                event.name, event.status, fenced, event.generation, event.heartbeat, event.reason
            )
        });
    }

    /// A datagram leaves.
    pub fn sent(&mut self, at: Instant, host: usize, name: &str, to: &str, size: usize, arrivals: usize) {
        self.mark(at, host, SENT);
        self.hash.write_usize(size);
        if self.log.as_ref().is_some_and(|log| log.packets) {
            let fate = if arrivals == 0 { ", lost" } else { "" };
            self.say(at, name, || format!("-> {to}, {size} bytes{fate}"));
        }
    }

    /// Anything else worth a line.
    pub fn say(&mut self, at: Instant, name: &str, line: impl FnOnce() -> String) {
        let Some(log) = &mut self.log else { return };
        if at < log.from || log.only.as_ref().is_some_and(|only| only != name && name != WORLD) {
            return;
        }
        let micros = at.as_micros();
        // When the reader has gone, the run goes on.
        let _ = writeln!(log.out, "{:>6}.{:06} {name:<6} {}", micros / 1_000_000, micros % 1_000_000, line());
    }

    fn mark(&mut self, at: Instant, host: usize, kind: u8) {
        self.hash.write_u64(at.as_micros());
        self.hash.write_u32(host as u32);
        self.hash.write_u8(kind);
    }
}

/// In the log, the name of what happens to all members.
pub const WORLD: &str = "*";
const EVENT: u8 = 100;
const SENT: u8 = 101;
