//! Keeping step: when the rounds of all members begin.
//!
//! Picture: rowers who hear one another. Each pulls when it believes that the
//! others do, and leans towards what it hears. When all rounds begin together,
//! the tournament of `peers.rs` calls everybody once per interval, to within
//! the jitter; out of step, calls would come as they may, and a silent member
//! would be noticed up to two intervals late instead of one.
//!
//! Rule: half-way towards a time that is within half an interval of ours,
//! and all the way to one that is further ahead (those behind come to us).
//! So the members meet, whatever their wall clocks say.
//!
//! Weak spot: a member with a fast clock pulls all others along. Nothing but
//! the beginning of rounds depends on this time.

use core::time::Duration;

use crate::Instant;

/// Our idea of the cluster's time.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// Cluster time minus our clock, in milliseconds.
    offset_ms: i64,
    interval_ms: i64,
}

impl Beat {
    /// Starts from the wall clock: with clocks kept by NTP everybody is in step at once.
    pub fn new(offset_ms: i64, interval_ms: u32) -> Self {
        Self { offset_ms, interval_ms: i64::from(interval_ms.max(1)) }
    }

    /// Our time, as it is said to others. Never 0.
    pub fn say(&self, now: Instant) -> u32 {
        u32::try_from(self.units(now)).unwrap_or(0).saturating_add(1)
    }

    /// Somebody said its time.
    pub fn hear(&mut self, now: Instant, said: u32) {
        let Some(theirs) = said.checked_sub(1) else { return };
        let ahead = (i64::from(theirs) - self.units(now)).rem_euclid(WRAP);
        let ahead_ms = UNIT_MS * if ahead >= WRAP / 2 { ahead - WRAP } else { ahead };
        if ahead_ms.abs() <= self.interval_ms / 2 {
            self.offset_ms = self.offset_ms.saturating_add(ahead_ms / 2);
        } else if ahead_ms > 0 {
            self.offset_ms = self.offset_ms.saturating_add(ahead_ms);
        }
    }

    /// The slot whose beginning is nearest to `now`.
    pub fn slot(&self, now: Instant) -> u64 {
        let nearest = self.time_ms(now).saturating_add(self.interval_ms / 2).max(0);
        (nearest / self.interval_ms).unsigned_abs()
    }

    /// When the slot after the one nearest to `now` begins.
    pub fn next_slot(&self, now: Instant) -> Instant {
        let time = self.time_ms(now);
        let next = time.saturating_add(self.interval_ms / 2).div_euclid(self.interval_ms) + 1;
        let wait = next.saturating_mul(self.interval_ms).saturating_sub(time);
        now + Duration::from_millis(wait.max(0).unsigned_abs())
    }

    /// When the slot begins that is nearest to `at`, both in microseconds of our clock.
    pub fn slot_near(&self, at: i64) -> i64 {
        let half = self.interval_us() / 2;
        let late = at.saturating_add(self.offset_ms.saturating_mul(1000)).saturating_add(half);
        at.saturating_sub(late.rem_euclid(self.interval_us()).saturating_sub(half))
    }

    fn interval_us(&self) -> i64 {
        self.interval_ms.saturating_mul(1000)
    }

    fn time_ms(&self, now: Instant) -> i64 {
        i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX).saturating_add(self.offset_ms)
    }

    fn units(&self, now: Instant) -> i64 {
        (self.time_ms(now) / UNIT_MS).rem_euclid(WRAP)
    }
}

/// Units in which the time is said, and where they begin again: three bytes on
/// the wire, five hours.
const UNIT_MS: i64 = 10;
const WRAP: i64 = 1 << 21;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn members_whose_clocks_differ_by_minutes_come_into_step() {
        let mut beats: Vec<Beat> = [0, 130, 480, 900, 60_000, -3_600_000, 59_700]
            .iter()
            .map(|offset| Beat::new(1_700_000_000_000 + offset, 1000))
            .collect();
        for round in 0..200_usize {
            let now = at(1000 * round as u64);
            let (a, b) = (round % 7, (round * 3 + 1 + round / 7) % 7);
            let said = beats[a].say(now);
            beats[b].hear(now, said);
        }
        let now = at(200_000);
        let times: Vec<i64> = beats.iter().map(|b| b.time_ms(now)).collect();
        let spread = times.iter().max().unwrap() - times.iter().min().unwrap();
        assert!(spread < 100, "{times:?}");
    }

    #[test]
    fn rounds_begin_at_the_slots_and_none_is_taken_twice() {
        let beat = Beat::new(250, 1000);
        assert_eq!(beat.next_slot(at(0)), at(750));
        assert_eq!(beat.slot(at(700)), 1, "a tenth early belongs to the slot that it anticipates");
        assert_eq!(beat.next_slot(at(700)), at(1750));
        assert_eq!(beat.next_slot(at(820)), at(1750));
    }

    #[test]
    fn a_slot_is_the_one_whose_beginning_is_nearest() {
        let beat = Beat::new(250, 1000);
        assert_eq!([250_000, 750_000, 1_249_999].map(|at| beat.slot_near(at)), [750_000; 3]);
        assert_eq!([1_250_000, 0, -750_000].map(|at| beat.slot_near(at)), [1_750_000, -250_000, -250_000]);
        assert!([i64::MAX, i64::MIN].iter().all(|at| beat.slot_near(*at).unsigned_abs() > 1 << 62));
    }

    #[test]
    fn a_time_that_was_not_said_is_not_heard() {
        let mut beat = Beat::new(0, 1000);
        beat.hear(at(5), 0);
        assert_eq!(beat.time_ms(at(5)), 5);
        assert_ne!(beat.say(at(0)), 0);
    }
}
