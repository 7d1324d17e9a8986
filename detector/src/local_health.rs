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
    /// One point is forgotten for each such time without bad news. Default 5 s, some rounds: for a member
    /// with no other left to probe; others recover by answered probes (honest guess). At least 1 µs is used.
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
/// *Picture*: a man with a cold should not complain that the soup has no taste.
///
/// *Rule*: a score from 0 (well) to 8. One point for each full `late` of a timer, and for an accusation that we had to
/// refute; one off for each probe answered in time, and for time without bad news. A probe without an answer, or a nack
/// that is missing, costs what it says for "hardly anything reaches us" against "as usual". That is the logarithm of two
/// probabilities of a loss, where `usual` is the share that stays unanswered here anyway, and a host that is cut off gets
/// one in ten of its usual answers:
///
/// ```text
/// lost:  log10( (1 - (1 - usual) / 10) / usual ), one point at most          answered:  log10( 1 / 10 ) = -1 point
/// ```
///
/// So a point is a decimal digit, as in [`Case`](crate::Case), and the score is Page's cumulative sum (1954): whatever the
/// usual loss, mere chance brings it to 3 about once in a thousand times. Below 9 % a loss costs the whole point, at a half
/// it costs 0.28, at two thirds 0.16. Dead members are a minority, a dead network card is not, and loss that all have alike
/// is no illness.
///
/// What others say of us, accusations, never brings the score to `impaired` by itself: a liar could keep us in doubt.
///
/// *Weak spot*: in a cluster of two, a dead peer and a broken self look the same. And a pause that the
/// driver's clock does not count (a frozen virtual machine) cannot be seen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalHealth {
    config: LocalHealthConfig,
    /// In parts of a point.
    points: u16,
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
        self.blame(now, u16::try_from(points).unwrap_or(u16::MAX).saturating_mul(POINT));
    }

    /// A probe of ours, or a helper, answered in time; what was found in the inbox after a stall did not.
    pub fn probe_answered(&mut self, now: Instant) {
        self.points = self.points(now).saturating_sub(POINT);
        self.since = now;
    }

    /// A probe of ours was not answered in time, and no helper was to speak for the path. `usual`: the share of
    /// probes, to whomever, that stay unanswered here.
    pub fn probe_unanswered(&mut self, now: Instant, usual: f32) {
        self.blame(now, beyond(usual));
    }

    /// A helper that owes us a nack did not send it: it is unlikely that both it and the member we asked
    /// about are dead, so it may be us who cannot hear. Its request and its nack may be lost as a probe may.
    pub fn nack_missing(&mut self, now: Instant, usual: f32) {
        self.blame(now, beyond(usual));
    }

    /// We were accused and had to refute it: a peer did not hear us in time, or says so.
    pub fn accused(&mut self, now: Instant) {
        let most = u16::from(self.config.impaired.saturating_sub(1)).saturating_mul(POINT);
        self.blame(now, most.saturating_sub(self.points(now)).min(POINT));
    }

    /// We asked to be woken at `expected` and it is `now`. When that is so late that we were away rather than
    /// slow, says for how long: the caller shifts every "last heard" by that much and drains its inbox before
    /// it judges any member.
    #[must_use = "silence during a stall is ours and must be taken off"]
    pub fn stall(&mut self, now: Instant, expected: Instant) -> Option<Duration> {
        let away = now.since(expected);
        self.timer_lag(now, away);
        (away > self.config.stall).then_some(away)
    }

    /// 0 (well) to 8 (worst).
    #[must_use]
    pub fn score(&self, now: Instant) -> u8 {
        u8::try_from(self.points(now) / POINT).unwrap_or(Self::WORST)
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

    fn points(&self, now: Instant) -> u16 {
        let forgotten = now.since(self.since).as_micros() / self.config.decay.as_micros().max(1);
        self.points.saturating_sub(u16::try_from(forgotten).unwrap_or(u16::MAX).saturating_mul(POINT))
    }

    fn blame(&mut self, now: Instant, parts: u16) {
        if parts > 0 {
            self.points = self.points(now).saturating_add(parts).min(u16::from(Self::WORST) * POINT);
            self.since = now;
        }
    }
}

/// What a lost probe says against ourselves where the share `usual` is lost anyway, in parts of a point.
fn beyond(usual: f32) -> u16 {
    // What is not a number counts as no usual loss.
    let usual = if usual.is_nan() { 0.0 } else { f64::from(usual.clamp(0.0, 1.0)) };
    let cut_off = 1.0 - (1.0 - usual) / 10.0;
    let digits = libm::log10(cut_off / usual).clamp(0.0, 1.0);
    (0..=POINT).rev().find(|part| f64::from(*part) <= f64::from(POINT) * digits).unwrap_or(POINT)
}

/// Parts of a point.
const POINT: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(1_000_000_000);

    fn healthy() -> LocalHealth {
        LocalHealth::new(NOW, LocalHealthConfig::default())
    }

    #[test]
    fn each_sign_of_our_own_trouble_is_one_point() {
        let unanswered = |health: &mut LocalHealth, now| health.probe_unanswered(now, 0.0);
        let no_nack = |health: &mut LocalHealth, now| health.nack_missing(now, 0.0);
        for sign in [unanswered, no_nack, LocalHealth::accused] {
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
            health.nack_missing(NOW, 0.0);
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
            if probe % 3 == 0 {
                health.probe_unanswered(NOW, 0.0);
            } else {
                health.probe_answered(NOW);
            }
            assert!(!health.impaired(NOW));
        }
        for _ in 0..4 {
            health.probe_unanswered(NOW, 0.02);
        }
        assert!(health.impaired(NOW));
    }

    #[test]
    fn what_is_lost_anyway_is_no_illness_and_more_than_that_is() {
        // Every second one is lost, as always here.
        let mut health = healthy();
        for _ in 0..1_000 {
            health.probe_unanswered(NOW, 0.5);
            health.probe_answered(NOW);
            health.nack_missing(NOW, 0.5);
            health.probe_answered(NOW);
            assert!(!health.impaired(NOW));
        }
        for _ in 0..12 {
            health.probe_unanswered(NOW, 0.5);
        }
        assert!(health.impaired(NOW), "none comes back any more");
        let mut health = healthy();
        for usual in [1.0, 2.0, f32::INFINITY] {
            (0..100).for_each(|_| health.probe_unanswered(NOW, usual));
            assert_eq!(health.score(NOW), 0);
        }
        health.probe_unanswered(NOW, f32::NAN);
        assert_eq!(health.score(NOW), 1);
    }

    #[test]
    fn chance_seldom_brings_doubt_whatever_share_is_lost() {
        let mut dice: u64 = 1;
        for percent in [2, 10, 19, 36, 51, 64, 75] {
            let mut health = healthy();
            let doubts = (0..50_000).filter(|_| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match (dice >> 33) % 100 < percent {
                    true => health.probe_unanswered(NOW, percent as f32 / 100.0),
                    false => health.probe_answered(NOW),
                }
                health.impaired(NOW)
            });
            assert!(doubts.count() < 150, "of 50,000 contacts at {percent} %");
        }
    }

    #[test]
    fn accusations_alone_never_bring_doubt() {
        let mut health = healthy();
        (0..300).for_each(|_| health.accused(NOW));
        assert_eq!((health.score(NOW), health.impaired(NOW)), (2, false));
        (0..4).for_each(|_| health.nack_missing(NOW, 0.0));
        health.accused(NOW);
        assert_eq!(health.score(NOW), 6, "what we found ourselves stays");
    }

    #[test]
    fn time_heals_one_point_after_another() {
        let mut health = healthy();
        health.timer_lag(NOW, Duration::from_millis(300));
        let after = |seconds| NOW + Duration::from_secs(seconds);
        assert_eq!([4, 5, 14, 15, 1_000_000].map(|s| health.score(after(s))), [3, 2, 1, 0, 0]);
        health.nack_missing(after(5), 0.0);
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
