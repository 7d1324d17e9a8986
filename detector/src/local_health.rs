//! Is it them, or is it us?

use core::time::Duration;

use crate::Instant;

/// What [`LocalHealth`] takes for bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalHealthConfig {
    /// Each full `late` that a timer fires behind time is one point. Default 100 ms: some ten time slices,
    /// which an idle host never misses (honest guess). At least 1 µs is used.
    pub late: Duration,
    /// A wake-up later than this is a stall. Default 200 ms: above the scheduler noise of a loaded 2-core
    /// host, far below the acceptable pause of 2 s (honest guess). Smaller forgives members silences that
    /// were theirs; greater blames them for ours.
    pub stall: Duration,
    /// One point is forgotten for each such time without bad news. Default 5 s, some rounds: for those who
    /// have nobody left to probe; others recover by answered probes (honest guess). At least 1 µs is used.
    pub decay: Duration,
    /// Score from which we are impaired, 1 to 8. Default 3: more than two unlucky coincidences (honest
    /// guess).
    pub impaired: u8,
}

impl Default for LocalHealthConfig {
    fn default() -> Self {
        Self {
            late: Duration::from_millis(100),
            stall: Duration::from_millis(200),
            decay: Duration::from_secs(5),
            impaired: 3,
        }
    }
}

/// Our own lateness stretches our patience with others (Lifeguard's *local health multiplier*, DSN-W 2018).
///
/// *Picture*: whoever has a cold should not complain that the soup has no taste.
///
/// *Rule*: a score from 0 (well) to 8. One point for each sign that we are slow or cut off, one off for each
/// probe answered in time, and for time without bad news. An unanswered probe costs what an answered one
/// earns, so the score climbs only while most probes of ours fail: dead members are a minority, a dead
/// network card is not.
///
/// *Weak spot*: in a cluster of two, a dead peer and a broken self look the same. And a pause that the
/// driver's clock does not count (a frozen virtual machine) cannot be seen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalHealth {
    config: LocalHealthConfig,
    points: u8,
    /// When `points` was right; time since then decays it.
    since: Instant,
}

impl LocalHealth {
    /// The worst score. Lifeguard's `S`.
    pub const WORST: u8 = 8;

    /// In good health.
    #[must_use]
    pub const fn new(now: Instant, config: LocalHealthConfig) -> Self {
        Self { config, points: 0, since: now }
    }

    /// A timer fired `lag` after it should have. Do not report a wake-up both here and to
    /// [`stall`](Self::stall).
    pub fn timer_lag(&mut self, now: Instant, lag: Duration) {
        let points = lag.as_micros() / self.config.late.as_micros().max(1);
        self.blame(now, u8::try_from(points).unwrap_or(Self::WORST));
    }

    /// A probe of ours was answered in time; one that was found in the inbox after a stall was not.
    pub fn probe_answered(&mut self, now: Instant) {
        self.points = self.score(now).saturating_sub(1);
        self.since = now;
    }

    /// A probe of ours was not answered in time, and no helper was to speak for the path.
    pub fn probe_unanswered(&mut self, now: Instant) {
        self.blame(now, 1);
    }

    /// A helper that owes us a nack did not send it: it is unlikely that both it and the member we asked
    /// about are dead, so it may be us who cannot hear.
    pub fn nack_missing(&mut self, now: Instant) {
        self.blame(now, 1);
    }

    /// We were accused and had to refute it: somebody did not hear us in time.
    pub fn accused(&mut self, now: Instant) {
        self.blame(now, 1);
    }

    /// We asked to be woken at `expected` and it is `now`. When that is so late that we were away rather than
    /// slow, says for how long: the caller shifts every "last heard" by that much and drains its inbox before
    /// it judges anybody.
    #[must_use = "silence during a stall is ours and must be taken off"]
    pub fn stall(&mut self, now: Instant, expected: Instant) -> Option<Duration> {
        let away = now.since(expected);
        self.timer_lag(now, away);
        (away > self.config.stall).then_some(away)
    }

    /// 0 (well) to 8 (worst).
    #[must_use]
    pub fn score(&self, now: Instant) -> u8 {
        let forgotten = now.since(self.since).as_micros() / self.config.decay.as_micros().max(1);
        self.points.saturating_sub(u8::try_from(forgotten).unwrap_or(u8::MAX))
    }

    /// Factor for our time-outs towards others, 1 to 9: `1 + score`, as in Lifeguard.
    #[must_use]
    pub fn stretch(&self, now: Instant) -> f32 {
        1.0 + f32::from(self.score(now))
    }

    /// Whether what we say against others should be marked as weak.
    #[must_use]
    pub fn impaired(&self, now: Instant) -> bool {
        self.score(now) >= self.config.impaired.max(1)
    }

    fn blame(&mut self, now: Instant, points: u8) {
        if points > 0 {
            self.points = self.score(now).saturating_add(points).min(Self::WORST);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(1_000_000_000);

    fn healthy() -> LocalHealth {
        LocalHealth::new(NOW, LocalHealthConfig::default())
    }

    #[test]
    fn each_sign_of_our_own_trouble_is_one_point() {
        for sign in [LocalHealth::probe_unanswered, LocalHealth::nack_missing, LocalHealth::accused] {
            let mut health = healthy();
            sign(&mut health, NOW);
            assert_eq!((health.score(NOW), health.stretch(NOW)), (1, 2.0));
            health.probe_answered(NOW);
            assert_eq!((health.score(NOW), health.stretch(NOW)), (0, 1.0));
        }
    }

    #[test]
    fn score_stays_between_well_and_worst() {
        let mut health = healthy();
        health.probe_answered(NOW);
        assert_eq!(health.score(NOW), 0);
        for _ in 0..300 {
            health.accused(NOW);
        }
        assert_eq!((health.score(NOW), health.stretch(NOW)), (LocalHealth::WORST, 9.0));
        health.timer_lag(NOW, Duration::MAX);
        assert_eq!(health.score(NOW), LocalHealth::WORST);
    }

    #[test]
    fn a_timer_costs_as_much_as_it_is_late() {
        let mut health = healthy();
        health.timer_lag(NOW, Duration::from_millis(99));
        assert_eq!(health.score(NOW), 0);
        health.timer_lag(NOW, Duration::from_millis(250));
        assert_eq!(health.score(NOW), 2);
        assert!(!health.impaired(NOW));
        health.timer_lag(NOW, Duration::from_millis(100));
        assert!(health.impaired(NOW));
    }

    #[test]
    fn a_few_dead_members_do_not_make_us_ill_but_a_dead_network_does() {
        let mut health = healthy();
        for probe in 0..1_000 {
            let outcome =
                if probe % 3 == 0 { LocalHealth::probe_unanswered } else { LocalHealth::probe_answered };
            outcome(&mut health, NOW);
            assert!(!health.impaired(NOW));
        }
        for _ in 0..4 {
            health.probe_unanswered(NOW);
        }
        assert!(health.impaired(NOW));
    }

    #[test]
    fn time_heals_one_point_after_another() {
        let mut health = healthy();
        health.timer_lag(NOW, Duration::from_millis(300));
        let after = |seconds| NOW + Duration::from_secs(seconds);
        assert_eq!([4, 5, 14, 15, 1_000_000].map(|s| health.score(after(s))), [3, 2, 1, 0, 0]);
        health.accused(after(5));
        assert_eq!((health.score(after(5)), health.score(after(9)), health.score(after(10))), (3, 3, 2));
        assert_eq!(health.score(NOW), 3, "time going backwards is harmless");
    }

    #[test]
    fn a_late_wake_up_is_a_stall_only_when_we_were_away() {
        let mut health = healthy();
        let early = NOW + Duration::from_secs(1);
        assert_eq!(health.stall(NOW, early), None);
        assert_eq!(health.stall(NOW, NOW - Duration::from_millis(200)), None);
        let away = Duration::from_secs(3);
        assert_eq!(health.stall(NOW, NOW - away), Some(away));
        assert!(health.impaired(NOW));
    }
}
