//! Whether the proof of a majority lasts: quorum held, lost, or too early to say.

use core::time::Duration;

use super::Quorum;
use crate::Instant;

/// Follows the proof of the majority over time.
#[derive(Clone, Debug)]
pub struct Majority {
    pub(super) quorum: Quorum,
    since: Instant,
    /// Until when the newest proof is good.
    until: Option<Instant>,
    /// Since when there has been a good proof without a gap.
    pub(super) proven_since: Option<Instant>,
    /// When this electorate was set: "lost" is reported only after a fair chance to find the others.
    started: Instant,
    settle: Duration,
}

impl Majority {
    pub fn new(now: Instant, settle: Duration) -> Self {
        Self { quorum: Quorum::Unsettled, since: now, until: None, proven_since: None, started: now, settle }
    }

    /// The state at `now`, if nothing more was heard.
    pub fn at(&self, now: Instant) -> Self {
        let mut then = self.clone();
        if let Some(until) = then.until.filter(|until| *until <= now) {
            then.observe(until, None, self.settle);
        }
        then
    }

    pub fn quorum(&self) -> Quorum {
        self.quorum
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The best proof is good until `until`. Returns whether quorum changed. `settle`: how long a proof must last.
    pub fn observe(&mut self, now: Instant, until: Option<Instant>, settle: Duration) -> bool {
        self.settle = settle;
        self.until = until.filter(|until| *until > now);
        let next = if self.until.is_none() {
            self.proven_since = None;
            let early = self.quorum == Quorum::Unsettled && now < self.started + settle;
            if early { Quorum::Unsettled } else { Quorum::Lost }
        } else {
            let since = *self.proven_since.get_or_insert(now);
            if now >= since + settle { Quorum::Held } else { self.quorum }
        };
        let changed = next != self.quorum;
        if changed {
            self.quorum = next;
            self.since = now;
        }
        changed
    }

    /// When to observe again although nothing was heard: when the proof runs out, or when it has lasted.
    pub fn next(&self) -> Instant {
        let runs_out = self.until.unwrap_or(Instant::NEVER);
        match (self.quorum, self.proven_since) {
            (Quorum::Held, _) => runs_out,
            (_, Some(since)) => runs_out.min(since + self.settle),
            (Quorum::Unsettled, None) => self.started + self.settle,
            (Quorum::Lost, None) => Instant::NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn it_is_lost_when_the_proof_runs_out_and_held_again_only_when_it_lasts() {
        let mut majority = Majority::new(at(0), SETTLE);
        assert!(!majority.observe(at(0), Some(at(1400)), SETTLE));
        assert!(!majority.observe(at(1000), Some(at(2400)), SETTLE));
        assert_eq!(majority.next(), at(2000));
        assert_eq!(majority.at(at(2399)).proven_since, Some(at(0)));
        assert_eq!(majority.at(at(2400)).proven_since, None, "it has run out");
        assert!(majority.observe(at(2000), Some(at(2400)), SETTLE));
        assert_eq!((majority.quorum(), majority.next()), (Quorum::Held, at(2400)));
        assert!(majority.observe(at(2400), Some(at(2400)), SETTLE), "at the end it is over");
        assert_eq!(majority.quorum(), Quorum::Lost);
        assert!(!majority.observe(at(3000), Some(at(4000)), SETTLE));
        assert!(!majority.observe(at(4000), None, SETTLE), "it did not last");
        assert!(!majority.observe(at(4100), Some(at(5500)), SETTLE));
        assert!(!majority.observe(at(5000), Some(at(6400)), SETTLE));
        assert!(majority.observe(at(6100), Some(at(6400)), SETTLE));
        assert_eq!(majority.quorum(), Quorum::Held);
    }

    #[test]
    fn at_the_start_it_is_unsettled_until_the_others_had_a_chance() {
        let mut majority = Majority::new(at(0), SETTLE);
        assert!(!majority.observe(at(0), None, SETTLE));
        assert!(!majority.observe(at(1000), None, SETTLE));
        assert_eq!(majority.next(), at(2000));
        assert!(majority.observe(at(2000), None, SETTLE));
        assert_eq!(majority.quorum(), Quorum::Lost);
    }
}
