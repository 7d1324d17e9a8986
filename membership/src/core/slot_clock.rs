//! The slot clock: which slot it is, and when within a slot each member is called.
//!
//! Picture: a delivery round with a fixed time for each house. Each house is visited once a day at its own time, by a
//! different driver each day.
//!
//! Rule: time is cut into slots of one interval. In each slot the tournament schedule of `peers.rs` assigns exactly one
//! caller to each member, and the *called* member's hash determines the time of the call within the slot (its phase).
//! So each member is called once per interval, always at the same phase. A silent member is noticed within one
//! interval, and a thousand agents that share a machine do not all want it at once, as they would if all rounds began
//! together.
//!
//! The common time: move half-way towards a time within half an interval of ours, and all the way to one that is
//! further ahead; a member that is behind moves to us. So the members get into step, whatever their wall clocks say.
//!
//! Weak spot: a member with a fast clock pulls all others along. Only the beginning of rounds and the counting of
//! heartbeats depend on this time.

use core::time::Duration;

use crate::Instant;

/// This node's estimate of the cluster's time.
#[derive(Clone, Copy, Debug)]
pub struct SlotClock {
    /// Cluster time minus our clock, in milliseconds.
    offset_ms: i64,
    interval_ms: i64,
}

impl SlotClock {
    /// Starts from the wall clock: with clocks kept by NTP all members are in step at once.
    ///
    /// The start is a little ahead of the wall clock. Many nodes start at whole seconds. If slots began there too, half
    /// of the others would hear their first heartbeat one slot late.
    pub fn new(offset_ms: i64, interval_ms: u32) -> Self {
        let interval_ms = i64::from(interval_ms.max(1));
        Self { offset_ms: offset_ms.saturating_add(interval_ms / 10), interval_ms }
    }

    /// Our time as sent to others. Never 0.
    pub fn say(&self, now: Instant) -> u32 {
        u32::try_from(self.units(now)).unwrap_or(0).saturating_add(1)
    }

    /// A peer sent its time.
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

    /// How long ago a member said this time, which may be none of ours: it then lies ahead. One interval ahead is no
    /// time at all; what is further ahead, or was not sent, is `None`. Times wrap around, so 2.9 hours are the most.
    pub fn since(&self, now: Instant, said: u32) -> Option<Duration> {
        let said = i64::from(said.checked_sub(1)?);
        let ms = UNIT_MS * (self.units(now) - said).rem_euclid(WRAP);
        let ahead_ms = UNIT_MS * WRAP - ms;
        if ms < UNIT_MS * WRAP / 2 {
            u64::try_from(ms).ok().map(Duration::from_millis)
        } else {
            (ahead_ms <= self.interval_ms).then_some(Duration::ZERO)
        }
    }

    /// The slot of `now`.
    pub fn slot(&self, now: Instant) -> u64 {
        self.time_ms(now).max(0).div_euclid(self.interval_ms).unsigned_abs()
    }

    /// When `whom` is called in the slot after that of `now`.
    pub fn next_call(&self, now: Instant, whom: u64) -> Instant {
        let into = self.time_ms(now).rem_euclid(self.interval_ms);
        let wait = Duration::from_millis((self.interval_ms - into).unsigned_abs());
        let interval = Duration::from_millis(self.interval_ms.unsigned_abs());
        now + wait + interval.mul_f64(phase(whom))
    }

    /// The beginning of the slot that contains `at`, both in microseconds of our clock.
    pub fn slot_of(&self, at: i64) -> i64 {
        let late = at.saturating_add(self.offset_ms.saturating_mul(1000));
        at.saturating_sub(late.rem_euclid(self.interval_us()))
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

/// The phase of a member: when in each slot it is called, as a share of the slot.
fn phase(hash: u64) -> f64 {
    // The half of the hash by which the roster is not sorted.
    let [.., a, b, c, d] = hash.to_be_bytes();
    let even = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
    PHASES.start + (PHASES.end - PHASES.start) * even
}

/// The phases at which members are called. They stay away from the edges of a slot, where slightly different clocks or
/// a late timer would put a call into another slot. And they are narrow enough that a member that calls early in one
/// slot and late in the next leaves at most 1.6 intervals between. A member that cannot hear refutes by its calls
/// alone, and the acceptable pause is two intervals.
const PHASES: core::ops::Range<f64> = 0.2..0.8;
/// Unit of the time as sent, and where it wraps around: three bytes on the wire, five hours.
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
        let mut beats: Vec<SlotClock> = [0, 130, 480, 900, 60_000, -3_600_000, 59_700]
            .iter()
            .map(|offset| SlotClock::new(1_700_000_000_000 + offset, 1000))
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
    fn each_member_is_called_at_its_own_phase_by_any_caller() {
        let beats =
            [SlotClock::new(150, 1000), SlotClock::new(149, 1000), SlotClock::new(1_700_000_000_150, 1000)];
        for (whom, phase) in [(0, 200), (u64::from(u32::MAX), 800), (1 << 31, 500)] {
            for beat in &beats {
                let calls = [760, 1000, 1740].map(|now| beat.next_call(at(now), whom));
                for call in calls {
                    let expected = at(1750 + phase);
                    assert!(call.since(expected).max(expected.since(call)) <= Duration::from_millis(1));
                }
            }
        }
        let (early, late) = (beats[0].slot(at(750 + 200)), beats[0].slot(at(750 + 800)));
        assert_eq!(early, late, "and all hours are of one slot");
    }

    #[test]
    fn the_phases_are_spread_evenly() {
        let mut phases: Vec<f64> =
            (0..1000_u64).map(|i| phase(i.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        phases.sort_by(f64::total_cmp);
        for (i, phase) in phases.iter().enumerate() {
            let expected = 0.2 + 0.6 * i as f64 / 1000.0;
            assert!((phase - expected).abs() < 0.03, "{i}: {phase}, not {expected}");
        }
    }

    #[test]
    fn a_slot_contains_its_moment() {
        let beat = SlotClock::new(150, 1000);
        assert_eq!([750_000, 1_250_000, 1_749_999].map(|at| beat.slot_of(at)), [750_000; 3]);
        assert_eq!([1_750_000, 0, -250_001].map(|at| beat.slot_of(at)), [1_750_000, -250_000, -1_250_000]);
        assert!([i64::MAX, i64::MIN].iter().all(|at| beat.slot_of(*at).unsigned_abs() > 1 << 62));
    }

    #[test]
    fn a_time_is_as_old_as_the_cluster_has_it() {
        let (mut ours, theirs) = (SlotClock::new(0, 1000), SlotClock::new(7_000_000, 1000));
        ours.hear(at(0), theirs.say(at(0)));
        let said = theirs.say(at(1000));
        let ages = [1000, 1250, 61_000].map(|ms| ours.since(at(ms), said).unwrap().as_millis());
        assert_eq!(ages, [0, 250, 60_000]);
        assert_eq!(ours.since(at(500), said), Some(Duration::ZERO), "a little ahead is a clock's error");
        assert_eq!(ours.since(at(0), theirs.say(at(1500))), None);
        assert_eq!(ours.since(at(0), 0), None, "it was not sent");
        assert!(
            [u32::MAX, 1 << 21]
                .iter()
                .all(|said| ours.since(at(0), *said).is_none_or(|age| age.as_secs() < 10_500))
        );
    }

    #[test]
    fn a_time_that_was_not_sent_is_ignored() {
        let mut beat = SlotClock::new(0, 1000);
        beat.hear(at(5), 0);
        assert_eq!(beat.time_ms(at(5)), 105);
        assert_ne!(beat.say(at(0)), 0);
    }
}
