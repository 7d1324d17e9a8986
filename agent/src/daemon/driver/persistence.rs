//! Peers, generation and agreed roster on their way to the disk.
//!
//! The store writes and waits for the disk; this keeps the protocol from
//! waiting with it, and decides what is worth writing when.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{Generation, Instant, Name};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::event_log::EventLog;
use heartsay_tokio::store::{Peer, Store};

/// What is kept between lives, written beside the loop so that a slow disk
/// never holds it up.
#[derive(Debug)]
pub(crate) struct Persistence {
    store: Arc<Store>,
    /// Known from earlier lives and not seen in this one; kept for a day, so that
    /// a start during an outage does not forget whom to look for.
    remembered: Vec<Peer>,
    pub(crate) changed: bool,
    last: Instant,
    /// How many agreed rosters were handed to the disk.
    turn: u64,
    writing: Option<JoinHandle<()>>,
}

impl Persistence {
    /// Of this store, with what it has from earlier lives.
    #[must_use]
    pub(crate) fn new(now: Instant, store: Arc<Store>, remembered: Vec<Peer>) -> Self {
        Self { store, remembered, changed: false, last: now, turn: 0, writing: None }
    }

    pub(crate) fn due(&self, now: Instant) -> bool {
        let wanted = if self.changed || self.store.is_behind() { SAVE_EVERY } else { LOOK_EVERY };
        now.since(self.last) >= wanted && self.writing.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(crate) fn save(&mut self, now: Instant, seen: Vec<Peer>, event_log: &Arc<EventLog>) {
        if now > Instant::EPOCH + REMEMBERED_FOR {
            self.remembered.clear();
        }
        self.changed = false;
        self.last = now;
        let (peers, store, event_log) =
            (self.with_remembered(seen), Arc::clone(&self.store), Arc::clone(event_log));
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let saved =
                store.restore().and_then(|()| store.save_peers(&peers)).and_then(|()| store.catch_up());
            note_disk(&event_log, "peers", saved);
        }));
    }

    /// Says what could not be written at the start.
    pub(crate) fn begin(&mut self, event_log: &Arc<EventLog>) {
        if self.store.is_behind() {
            let (store, event_log) = (Arc::clone(&self.store), Arc::clone(event_log));
            tokio::task::spawn_blocking(move || note_disk(&event_log, "generation", store.catch_up()));
        }
    }

    /// Replaces the generation that is kept by a lower one.
    pub(crate) fn reset(&mut self, generation: Generation, event_log: &Arc<EventLog>) {
        let (store, event_log) = (Arc::clone(&self.store), Arc::clone(event_log));
        tokio::task::spawn_blocking(move || {
            note_disk(&event_log, "generation", store.reset_generation(generation));
        });
    }

    pub(crate) fn raise(&mut self, generation: Generation, event_log: &Arc<EventLog>) {
        let (store, event_log) = (Arc::clone(&self.store), Arc::clone(event_log));
        tokio::task::spawn_blocking(move || {
            note_disk(
                &event_log,
                "generation",
                store.save_generation(generation).and_then(|()| store.catch_up()),
            );
        });
    }

    /// The roster that an earlier life agreed on, if `wanted`. If it is not, it is dropped: when it is wanted again, it would be
    /// out of date.
    pub(crate) fn agreed(&mut self, wanted: bool, event_log: &Arc<EventLog>) -> Vec<Name> {
        let names = self.store.agreed();
        if !wanted && !names.is_empty() {
            self.agree(Vec::new(), event_log);
        }
        if wanted { names } else { Vec::new() }
    }

    /// At once: a restart must not go back to an earlier roster.
    pub(crate) fn agree(&mut self, names: Vec<Name>, event_log: &Arc<EventLog>) {
        self.turn += 1;
        let (turn, store, event_log) = (self.turn, Arc::clone(&self.store), Arc::clone(event_log));
        tokio::task::spawn_blocking(move || {
            note_disk(
                &event_log,
                "agreed roster",
                store.save_agreed(turn, &names).and_then(|()| store.catch_up()),
            );
        });
    }

    /// At the end, when nobody waits any more.
    pub(crate) fn save_now(&self, seen: Vec<Peer>) {
        if let Err(e) = self.store.restore().and_then(|()| self.store.save_peers(&self.with_remembered(seen)))
        {
            warn!(error = %e, "the list of peers could not be saved");
        }
    }

    fn with_remembered(&self, mut seen: Vec<Peer>) -> Vec<Peer> {
        let names: BTreeSet<&str> = seen.iter().map(|peer| peer.name.as_str()).collect();
        let unseen = |old: &&Peer| !names.contains(old.name.as_str());
        let unseen: Vec<Peer> = self.remembered.iter().filter(unseen).cloned().collect();
        seen.extend(unseen);
        seen
    }
}

fn note_disk(event_log: &EventLog, what: &str, result: io::Result<()>) {
    match result {
        Ok(()) => {
            if event_log.condition("disk", None) {
                info!("the state directory can be written again");
            }
        }
        Err(e) => {
            let sentence = format!("the state directory cannot be written ({what}: {e}); going on without");
            if event_log.condition("disk", Some(sentence.clone())) {
                warn!("{sentence}");
            }
        }
    }
}

/// How often a changing list of peers is written, and how soon after the start at the earliest: while
/// many start together, each has a new peer every moment, and all wait for one disk.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether all is still there. What has not changed is not written.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// As long as the cluster itself remembers who is down.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);
