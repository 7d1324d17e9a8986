//! What the agent has to tell its readers: events with a rising
//! index, and conditions an operator should know of.
//!
//! One writer, the driver. Readers take what they have missed and go; no
//! lock is held while a reader is written to. A reader that was away for longer
//! than the ring lasts is told so ([`Missed::Gone`]) and starts over with a
//! snapshot: there is no silent gap.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use heartsay_membership::Instant;
use heartsay_tokio::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::doctor::{Code, Condition, Said};
use crate::falls::Falls;
use crate::recorder::{Beside, Recorder};
use crate::types::WatchLine;

/// Events and conditions of this agent.
#[derive(Debug)]
pub(crate) struct EventLog {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
    /// Members that were called down lately.
    falls: Mutex<Falls>,
    /// By code and what each is about, with when it began.
    conditions: Mutex<BTreeMap<(Code, String), (Instant, Said)>>,
    clock: Clock,
    /// What happens is kept there for later, if at all.
    recorder: OnceLock<Recorder>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The last lines, serialized once for all readers; the last one has index `newest`.
    lines: VecDeque<Arc<str>>,
    newest: u64,
    /// Events so far, by kind.
    counts: BTreeMap<String, u64>,
}

/// What a reader has missed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// These lines of JSON, without line ends, in order; empty when up to date.
    Lines(Vec<Arc<str>>),
    /// More than is kept, or a future that has not happened.
    Gone,
}

impl EventLog {
    /// Nothing has happened yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            ring: Mutex::default(),
            newest: watch::Sender::new(0),
            falls: Mutex::default(),
            conditions: Mutex::default(),
            clock: Clock::start(),
            recorder: OnceLock::new(),
        }
    }

    /// From now on, what happens is kept there too.
    pub(crate) fn record(&self, recorder: Recorder) {
        // Set once, at the start.
        let _ = self.recorder.set(recorder);
    }

    /// Where what happens is kept, if it is.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        self.recorder.get()
    }

    /// Gives the event the next index, wakes the readers, and has it kept.
    pub(crate) fn publish(&self, line: WatchLine) {
        self.publish_with(line, None);
    }

    /// The same, kept with what stands beside it.
    pub(crate) fn publish_with(&self, mut line: WatchLine, beside: Option<Beside>) {
        self.tell(&mut line);
        if let Some(recorder) = self.recorder.get() {
            recorder.take(line, beside);
        }
    }

    /// For readers of the stream alone: not kept.
    pub(crate) fn publish_unkept(&self, mut line: WatchLine) {
        self.tell(&mut line);
    }

    fn tell(&self, line: &mut WatchLine) {
        let mut ring = self.ring.lock();
        line.index = ring.newest + 1;
        // Serializing plain text and numbers cannot fail.
        let Ok(json) = serde_json::to_string(&*line) else { return };
        ring.newest = line.index;
        if ring.lines.len() == KEPT {
            ring.lines.pop_front();
        }
        ring.lines.push_back(json.into());
        *ring.counts.entry(line.kind.clone()).or_default() += 1;
        let newest = ring.newest;
        drop(ring);
        self.newest.send_replace(newest);
    }

    /// Index of the last event; 0 before the first.
    #[must_use]
    pub(crate) fn newest(&self) -> u64 {
        self.ring.lock().newest
    }

    /// At most `most` lines that came after index `since`.
    #[must_use]
    pub(crate) fn after(&self, since: u64, most: usize) -> Missed {
        let ring = self.ring.lock();
        let Some(behind) = ring.newest.checked_sub(since).and_then(|n| usize::try_from(n).ok()) else {
            return Missed::Gone;
        };
        let Some(skip) = ring.lines.len().checked_sub(behind) else { return Missed::Gone };
        Missed::Lines(ring.lines.iter().skip(skip).take(most).cloned().collect())
    }

    /// Wakes whenever an event was published.
    #[must_use]
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// A member was called down; `in_contact`: while this agent reached most of the cluster.
    pub(crate) fn fell(&self, name: &str, in_contact: bool) {
        self.falls.lock().note(self.clock.now(), name, in_contact);
    }

    /// How often members fell in the last ten minutes, by what is their own.
    #[must_use]
    pub(crate) fn falls(&self) -> BTreeMap<String, usize> {
        self.falls.lock().count(self.clock.now())
    }

    /// Events so far, by kind.
    #[must_use]
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.ring.lock().counts.clone()
    }

    /// States a problem of this agent, or with `None` that it is gone. Whether that is news.
    pub(crate) fn condition(&self, code: Code, said: Option<Said>) -> bool {
        self.condition_of(code, "", said)
    }

    /// The same about a seed or a file.
    pub(crate) fn condition_of(&self, code: Code, of: &str, said: Option<Said>) -> bool {
        let (at, key) = (self.clock.now(), (code, of.to_owned()));
        let mut conditions = self.conditions.lock();
        match said {
            Some(said) => match conditions.get_mut(&key) {
                Some(known) => {
                    known.1 = said;
                    false
                }
                None => conditions.insert(key, (at, said)).is_none(),
            },
            None => conditions.remove(&key).is_some(),
        }
    }

    /// All problems that are stated, also those that follow from others.
    #[must_use]
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        let now = self.clock.now();
        let shown = |((code, of), (since, said)): (&(Code, String), &(Instant, Said))| {
            Condition::new(*code, said.clone()).of(of).stood(now.since(*since))
        };
        self.conditions.lock().iter().map(shown).collect()
    }

    /// The same in words, for tests.
    #[cfg(test)]
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.conditions().iter().map(|one| one.said.to_string()).collect()
    }
}

/// Enough for every member of a large cluster to come, go and come back while
/// a reader restarts; about a megabyte when full.
const KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn event_log(events: u64) -> EventLog {
        let event_log = EventLog::new();
        for _ in 0..events {
            event_log.publish(WatchLine { kind: "self".to_owned(), ..WatchLine::default() });
        }
        event_log
    }

    fn indexes(missed: &Missed) -> Vec<u64> {
        let Missed::Lines(lines) = missed else { panic!("gone") };
        lines.iter().map(|line| serde_json::from_str::<WatchLine>(line).unwrap().index).collect()
    }

    #[test]
    fn a_reader_gets_exactly_what_it_has_missed() {
        let event_log = event_log(5);
        assert_eq!(indexes(&event_log.after(0, 100)), [1, 2, 3, 4, 5]);
        assert_eq!(indexes(&event_log.after(2, 2)), [3, 4]);
        assert_eq!(indexes(&event_log.after(5, 100)), [0; 0]);
    }

    #[test]
    fn the_future_and_the_forgotten_past_are_gone() {
        assert_eq!(event_log(5).after(6, 1), Missed::Gone);
        assert_eq!(event_log(0).after(1, 1), Missed::Gone);
        let kept = u64::try_from(KEPT).unwrap();
        let event_log = event_log(kept + 10);
        assert_eq!(event_log.after(9, 1), Missed::Gone);
        assert_eq!(indexes(&event_log.after(10, 1)), [11]);
        assert_eq!(event_log.newest(), kept + 10);
    }

    #[test]
    fn a_condition_is_news_once_when_it_comes_and_once_when_it_goes() {
        let event_log = EventLog::new();
        let said = |what: &str| Some(Said::from(what.to_owned()));
        assert!(event_log.condition(Code::StateDirectory, said("full")));
        assert!(!event_log.condition(Code::StateDirectory, said("still full")));
        assert_eq!(event_log.sentences(), ["still full"]);
        assert!(event_log.condition_of(Code::SeedsDoNotResolve, "n1", said("no")), "another is another");
        assert!(event_log.condition_of(Code::SeedsDoNotResolve, "n1", None));
        assert!(event_log.condition(Code::StateDirectory, None));
        assert!(!event_log.condition(Code::StateDirectory, None));
    }

    #[test]
    fn a_condition_that_is_said_anew_has_stood_since_it_was_first_said() {
        let event_log = EventLog::new();
        event_log.condition(Code::StateDirectory, Some("full".to_owned().into()));
        let since = event_log.conditions.lock()[&(Code::StateDirectory, String::new())].0;
        event_log.condition(Code::StateDirectory, Some("still full".to_owned().into()));
        assert_eq!(event_log.conditions.lock()[&(Code::StateDirectory, String::new())].0, since);
    }
}
