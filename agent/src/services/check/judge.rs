//! What the results of looks make of the health of a service: a result and its time come in, health comes out.
//!
//! - One miss is a blip. `warn` of them in a row are a warning, `fall` of them are critical; `rise` good ones in a row undo it.
//! - Until the first good result a new service has a warning, and misses within `grace` of the start do not count.
//! - Each step down from passing is a fall. From the third of late on, the state stays as bad as it is until the
//!   results have been good for [`FIRST_HOLD`], doubled with each further fall up to [`LONGEST_HOLD`]. Half of the falls are
//!   forgotten in each [`MEMORY`] of passing.

use std::time::Duration;

use crate::services::Health;

/// How results become health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Good results in a row that undo a worse state.
    pub(crate) rise: u32,
    /// Results in a row that are not good: a warning.
    pub(crate) warn: u32,
    /// Misses in a row: critical.
    pub(crate) fall: u32,
    /// From the start, as long as nothing was good.
    pub(crate) grace: Duration,
}

/// Why a state is another than the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Because {
    /// It is not.
    Nothing,
    /// It is starting: so much of its grace is left.
    Starting(Duration),
    /// So many of so many results in a row.
    Counting(u32, u32),
    /// It has fallen so often of late that it must be good for so much longer.
    Flapping(u32, Duration),
}

/// The state of one check.
#[derive(Debug)]
pub(super) struct Judge {
    terms: Terms,
    health: Health,
    /// Something was good.
    begun: bool,
    /// Results in a row: good; not missed; not good; missed.
    good: u32,
    fine: u32,
    poor: u32,
    missed: u32,
    /// Since when the results are good.
    good_since: Duration,
    falls: u32,
    /// When it was passing again.
    risen: Duration,
}

impl Judge {
    /// Of a check that has not looked yet, with what is to be believed until it has.
    pub(super) fn new(terms: Terms, health: Health) -> Self {
        let zero = Duration::ZERO;
        Self {
            terms,
            health,
            begun: false,
            good: 0,
            fine: 0,
            poor: 0,
            missed: 0,
            good_since: zero,
            falls: 0,
            risen: zero,
        }
    }

    /// The health, now that a look has this result. `now` counts from the start of the check.
    pub(super) fn take(&mut self, now: Duration, result: Health) -> (Health, Because) {
        if !self.begun && result != Health::Passing && now < self.terms.grace {
            return (self.health, Because::Starting(self.terms.grace - now));
        }
        let first = result == Health::Passing && !self.begun;
        self.begun |= first;
        self.count(now, result);
        let (wanted, because) = self.wanted(now, result, first);
        match (self.health, wanted) {
            (Health::Passing, Health::Warning | Health::Critical) => self.fall(now),
            (Health::Warning | Health::Critical, Health::Passing) => self.risen = now,
            _ => {}
        }
        self.health = wanted;
        (wanted, because)
    }

    fn count(&mut self, now: Duration, result: Health) {
        let next = |streak: u32, goes_on: bool| if goes_on { streak.saturating_add(1) } else { 0 };
        if result == Health::Passing && self.good == 0 {
            self.good_since = now;
        }
        self.good = next(self.good, result == Health::Passing);
        self.fine = next(self.fine, result != Health::Critical);
        self.poor = next(self.poor, result != Health::Passing);
        self.missed = next(self.missed, result == Health::Critical);
    }

    fn wanted(&self, now: Duration, result: Health, first: bool) -> (Health, Because) {
        let Terms { rise, warn, fall, .. } = self.terms;
        let worse = if self.missed >= fall {
            Health::Critical
        } else if self.poor >= warn.min(fall) {
            Health::Warning
        } else {
            Health::Passing
        };
        if worse >= self.health && worse > Health::Passing || self.health == Health::Passing {
            let counting = match result {
                Health::Passing => Because::Nothing,
                Health::Warning => Because::Counting(self.poor, warn.min(fall)),
                Health::Critical => Because::Counting(self.missed, fall),
            };
            return (worse, if worse == result { Because::Nothing } else { counting });
        }
        if first {
            // Nothing has fallen, so nothing has to rise.
            return (Health::Passing, Because::Nothing);
        }
        let (streak, better) = match result {
            Health::Passing => (self.good, Health::Passing),
            Health::Warning => (self.fine, Health::Warning),
            Health::Critical => return (self.health, Because::Counting(self.missed, fall)),
        };
        if streak < rise {
            return (self.health, Because::Counting(streak, rise));
        }
        let left = self.hold().saturating_sub(now.saturating_sub(self.good_since));
        if better == Health::Passing && !left.is_zero() {
            return (self.health, Because::Flapping(self.falls, left));
        }
        (better, Because::Nothing)
    }

    fn fall(&mut self, now: Duration) {
        let quiet = now.saturating_sub(self.risen).as_secs() / MEMORY.as_secs();
        self.falls = self.falls.checked_shr(u32::try_from(quiet).unwrap_or(u32::MAX)).unwrap_or(0);
        self.falls = (self.falls + 1).min(MOST_FALLS);
    }

    /// How long the results must be good before the state is.
    fn hold(&self) -> Duration {
        match self.falls.checked_sub(FREE_FALLS + 1) {
            Some(doublings) => (FIRST_HOLD * (1 << doublings.min(MOST_FALLS))).min(LONGEST_HOLD),
            None => Duration::ZERO,
        }
    }
}

/// Before the first look at a service that is new: nothing is known to be wrong, and nobody should be sent there yet.
pub(crate) const UNKNOWN: Health = Health::Warning;
/// A restart, and one more that did not work at once, are no flapping.
const FREE_FALLS: u32 = 2;
const FIRST_HOLD: Duration = Duration::from_secs(30);
/// Honest guess: an operator who has mended it waits no longer than for a cup of coffee.
const LONGEST_HOLD: Duration = Duration::from_secs(600);
const MEMORY: Duration = Duration::from_secs(600);
/// More would double beyond the longest hold, and take longer to fade.
const MOST_FALLS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    use Health::{Critical, Passing, Warning};

    const TERMS: Terms = Terms { rise: 1, warn: 2, fall: 3, grace: Duration::from_secs(10) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What one result each second makes, from second `from` on.
    fn judged(judge: &mut Judge, from: u64, results: &[Health]) -> Vec<Health> {
        let each = results.iter().zip(from..);
        each.map(|(result, second)| judge.take(at(second), *result).0).collect()
    }

    /// One that was good at the start.
    fn well(terms: Terms) -> Judge {
        let mut judge = Judge::new(terms, UNKNOWN);
        assert_eq!(judge.take(at(0), Passing), (Passing, Because::Nothing));
        judge
    }

    #[test]
    fn a_blip_flips_nothing() {
        let mut judge = well(TERMS);
        for n in 0..100 {
            let told = judged(&mut judge, n * 10, &[Critical, Passing, Warning, Passing]);
            assert_eq!(told, [Passing; 4]);
        }
    }

    #[test]
    fn misses_in_a_row_are_a_warning_and_then_critical_and_it_rises_when_the_results_do() {
        let mut judge = well(Terms { rise: 2, ..TERMS });
        assert_eq!(judge.take(at(1), Critical), (Passing, Because::Counting(1, 3)));
        assert_eq!(judge.take(at(2), Critical), (Warning, Because::Counting(2, 3)));
        assert_eq!(judge.take(at(3), Critical), (Critical, Because::Nothing));
        assert_eq!(judge.take(at(4), Passing), (Critical, Because::Counting(1, 2)));
        assert_eq!(
            judge.take(at(5), Critical),
            (Critical, Because::Counting(1, 3)),
            "a blip of the other kind"
        );
        assert_eq!(judged(&mut judge, 6, &[Passing, Passing]), [Critical, Passing]);
    }

    #[test]
    fn a_result_that_is_a_warning_counts_as_one() {
        let mut judge = well(TERMS);
        assert_eq!(
            judged(&mut judge, 1, &[Warning, Warning, Warning, Warning]),
            [Passing, Warning, Warning, Warning]
        );
        assert_eq!(judged(&mut judge, 5, &[Critical, Critical, Critical]), [Warning, Warning, Critical]);
        assert_eq!(judged(&mut judge, 8, &[Warning, Passing]), [Warning, Passing], "better by steps");
    }

    #[test]
    fn where_one_miss_is_certain_it_is_critical_at_once() {
        let mut judge = well(Terms { fall: 1, ..TERMS });
        assert_eq!(judged(&mut judge, 1, &[Critical, Passing]), [Critical, Passing]);
    }

    #[test]
    fn misses_within_the_grace_do_not_count_and_end_with_the_first_good_result() {
        let mut judge = Judge::new(TERMS, UNKNOWN);
        assert_eq!(judge.take(at(1), Critical), (UNKNOWN, Because::Starting(at(9))));
        assert_eq!(judged(&mut judge, 2, &[Critical; 8]), [UNKNOWN; 8]);
        assert_eq!(judged(&mut judge, 10, &[Critical; 3]), [Warning, Warning, Critical]);

        let mut judge = Judge::new(Terms { rise: 5, ..TERMS }, UNKNOWN);
        assert_eq!(judged(&mut judge, 1, &[Critical, Passing]), [UNKNOWN, Passing], "it has not fallen");
        assert_eq!(judged(&mut judge, 3, &[Critical; 3]), [Passing, Warning, Critical], "grace is over");
    }

    /// Falls by three misses, and comes back as soon as it may: how long it was good before it was believed.
    fn fall_and_rise(judge: &mut Judge, from: u64) -> u64 {
        assert_eq!(judged(judge, from, &[Critical; 3]).last(), Some(&Critical));
        let held = (0..10_000).find(|n| judge.take(at(from + 3 + n), Passing).0 == Passing);
        held.unwrap()
    }

    #[test]
    fn one_that_flaps_waits_twice_as_long_each_time_up_to_a_limit() {
        let mut judge = well(TERMS);
        let mut now = 1;
        let mut held = Vec::new();
        for _ in 0..10 {
            held.push(fall_and_rise(&mut judge, now));
            now += 3 + held.last().unwrap() + 1;
        }
        assert_eq!(held, [0, 0, 30, 60, 120, 240, 480, 600, 600, 600]);
        now += 10 * MEMORY.as_secs();
        assert_eq!(fall_and_rise(&mut judge, now), 0, "calm for long: forgotten");
    }

    #[test]
    fn one_that_is_held_and_misses_begins_its_wait_again() {
        let mut judge = well(TERMS);
        for n in 0..2 {
            fall_and_rise(&mut judge, 1 + n * 10);
        }
        judged(&mut judge, 30, &[Critical; 3]);
        assert_eq!(judge.take(at(40), Passing), (Critical, Because::Flapping(3, at(30))));
        assert_eq!(judge.take(at(69), Passing), (Critical, Because::Flapping(3, at(1))));
        judge.take(at(70), Critical);
        assert_eq!(judge.take(at(71), Passing), (Critical, Because::Flapping(3, at(30))));
        assert_eq!(judge.take(at(101), Passing), (Passing, Because::Nothing));
    }
}
