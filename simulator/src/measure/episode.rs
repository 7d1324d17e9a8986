//! One thing to be detected, and who detected it when.

use heartsay_membership::Instant;

use crate::bits::Members;

/// One thing to be detected.
#[derive(Clone, Debug)]
pub struct Episode {
    /// The member that it befell.
    pub subject: usize,
    /// When.
    pub onset: Instant,
    /// The member is dead: not to notice it is a failure.
    pub fatal: bool,
    /// Observers that are there to notice.
    pub observers: Members,
    /// Seconds until each observer suspected; negative: not yet.
    pub suspect: Vec<f32>,
    /// Seconds until each observer said down; negative: not yet.
    pub down: Vec<f32>,
    /// Seconds until each observer said fenced; negative: not yet.
    pub fenced: Vec<f32>,
    /// Seconds at which most of the running members came to hold it for down: once, if all is well.
    pub outs: Vec<f32>,
}

impl Episode {
    /// An episode that no observer has noticed.
    #[must_use]
    pub fn new(subject: usize, onset: Instant, fatal: bool, observers: Members) -> Self {
        let unseen = vec![UNSEEN; observers.iter().last().map_or(0, |last| last + 1)];
        let (suspect, down, fenced) = (unseen.clone(), unseen.clone(), unseen);
        Self { subject, onset, fatal, observers, suspect, down, fenced, outs: Vec::new() }
    }

    /// `observer` says suspect (or, with `down`, down) at `now`.
    pub fn noticed(&mut self, observer: usize, now: Instant, down: bool) {
        let after = now.since(self.onset).as_secs_f32();
        for list in if down {
            [Some(&mut self.suspect), Some(&mut self.down)]
        } else {
            [Some(&mut self.suspect), None]
        } {
            if let Some(seen) = list.and_then(|list| list.get_mut(observer))
                && *seen < 0.0
            {
                *seen = after;
            }
        }
    }

    /// `observer` says fenced at `now`.
    pub fn fenced_by(&mut self, observer: usize, now: Instant) {
        if let Some(seen) = self.fenced.get_mut(observer).filter(|seen| **seen < 0.0) {
            *seen = now.since(self.onset).as_secs_f32();
        }
    }

    /// The observer's process ended: it need not notice any more.
    pub fn excuse(&mut self, observer: usize) {
        self.observers.remove(observer);
    }
}

const UNSEEN: f32 = -1.0;
