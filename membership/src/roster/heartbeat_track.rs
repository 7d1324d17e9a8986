//! Heartbeat tracks: when a member's newest heartbeat was due, and until when its silence needs no check. A round reads
//! nothing else of most members.
//!
//! Picture: a ward chart with one line for each bed. It is read many times a day; a patient's file is fetched only when
//! the chart says so.
//!
//! Pages of heartbeats are written and read a thousand members at a time, several times a second, and once a second all
//! members are checked for silence. So the tracks lie together in memory, and the member itself is read only if its
//! track requires it.

use heartsay_proto::ages::Age;

use crate::Instant;
use crate::identity::Heartbeat;
use crate::roster::incarnation::Schedule;
use crate::roster::member::{Member, signed};
use crate::roster::standing::Status;

/// The newest heartbeat of a member as a time in its [`Schedule`], and whether the member still beats.
///
/// Sixteen bytes: the tracks of a thousand members fill 250 cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub struct HeartbeatTrack {
    /// When its newest heartbeat was due, in milliseconds of its owner's wall clock.
    due_ms: i64,
    /// Milliseconds between heartbeats, and in the three lowest bits the standing. Zero milliseconds: the heartbeats
    /// are too far off to be counted here, and pages leave the member out, which the coder allows.
    packed: u32,
    /// Before this moment, in [`TICK`]s of our clock, its silence is not surprising: a bound, and often much too early.
    next_check: u32,
}

/// The interval of the last track, ready for division. Most members have the same interval, and a multiplication takes
/// a third of a division's time. (Lemire, Kaser and Kurz, Faster remainder by direct computation, 2019: with 64 bits of
/// the reciprocal, rounded up, the quotient of any two numbers of 32 bits is exact.)
#[derive(Clone, Copy, Debug)]
pub struct IntervalDivider {
    /// The packed field of that track, without the bits that do not matter here.
    halved: u32,
    /// 2^64 divided by the interval, rounded up.
    reciprocal: u64,
}

impl IntervalDivider {
    /// The value before the first track.
    pub const UNKNOWN: Self = Self { halved: u32::MAX, reciprocal: 0 };

    /// For a track with an interval of two milliseconds or more.
    fn of(track: HeartbeatTrack) -> Self {
        // The divisor is at least two, so 2^64 divided by it and rounded up is below 2^64.
        let reciprocal = u64::MAX / u64::from(track.interval_ms().max(2)) + 1;
        Self { halved: track.packed >> GONE_BIT, reciprocal }
    }

    fn divide(self, ms: u32) -> u64 {
        // A product of 64 and 32 bits.
        u64::try_from((u128::from(self.reciprocal) * u128::from(ms)) >> 64).unwrap_or(u64::MAX)
    }
}

impl HeartbeatTrack {
    pub fn of(member: &Member) -> Self {
        let stands = match member.status {
            Status::Alive if member.is_marked() => ACCUSED,
            Status::Alive => ALIVE,
            Status::Suspect => SUSPECT,
            Status::Restarting | Status::Down | Status::Left => GONE,
        };
        let mut track = Self::at(&member.incarnation.schedule, member.heartbeat, stands);
        if !member.has_history() {
            // Only its next heartbeat can give it a history.
            track.no_check_until_heard();
        }
        track
    }

    fn at(schedule: &Schedule, heartbeat: Heartbeat, stands: u32) -> Self {
        // Within these bounds nothing here can overflow.
        let interval_ms = Some(schedule.interval_ms.max(1)).filter(|ms| *ms <= LONGEST_INTERVAL_MS);
        let due_ms = due_ms(schedule, heartbeat).filter(|ms| ms.unsigned_abs() <= FARTHEST_MS);
        match due_ms.zip(interval_ms) {
            Some((due_ms, interval_ms)) => {
                Self { due_ms, packed: interval_ms << STANDS_BITS | stands, next_check: 0 }
            }
            None => Self { due_ms: 0, packed: stands, next_check: 0 },
        }
    }

    /// Whether it is in good standing.
    pub fn is_alive(self) -> bool {
        matches!(self.packed & STANDS, ALIVE | ACCUSED)
    }

    /// Whether there is nothing that a newer heartbeat would refute.
    pub fn is_unmarked(self) -> bool {
        self.packed & STANDS == ALIVE
    }

    /// Whether it is restarting, down or left, and so beats no more.
    pub fn is_gone(self) -> bool {
        self.packed & STANDS == GONE
    }

    pub fn interval_ms(self) -> u32 {
        self.packed >> STANDS_BITS
    }

    /// Whether the detector need not be asked. `now` in [`TICK`]s.
    pub fn needs_no_check(self, now: u64) -> bool {
        now < self.next_check.into()
    }

    /// Before `until` the detector need not be asked.
    pub fn set_next_check(&mut self, until: Instant) {
        // A time that does not fit means a check every time.
        self.next_check = u32::try_from(ticks(until)).unwrap_or(0);
    }

    /// The detector need not be asked before the member is heard again.
    pub fn no_check_until_heard(&mut self) {
        self.next_check = u32::MAX;
    }

    /// How many heartbeats it is behind its schedule at `unix_ms` of its time ([`nominal`]); negative when it is ahead.
    /// A member that beats no more is left out.
    pub fn age(self, unix_ms: i64, divider: &mut IntervalDivider) -> Age {
        if self.packed >> GONE_BIT != divider.halved {
            let interval = self.interval_ms();
            if interval == 0 || self.is_gone() {
                return Age::LEFT_OUT;
            }
            if interval == 1 {
                return Age::of(unix_ms - self.due_ms);
            }
            *divider = IntervalDivider::of(self);
        }
        let late = unix_ms - self.due_ms;
        match u32::try_from(late) {
            Ok(late) => Age::of(signed(divider.divide(late))),
            Err(_) => Age::of(late.div_euclid(self.interval_ms().into())),
        }
    }

    /// How many milliseconds a reported heartbeat lies beyond the one we know. The report says that the member is `age`
    /// rounds behind its schedule at `unix_ms` of its time ([`nominal`]). Negative when that is not news; meaningless
    /// when the age was left out.
    pub fn beyond(self, unix_ms: i64, age: Age) -> i64 {
        let rounds = age.rounds_or_any().wrapping_add(1).wrapping_mul(self.interval_ms().into());
        (unix_ms - self.due_ms).wrapping_sub(rounds)
    }

    /// The number of heartbeats in so many milliseconds [`beyond`](Self::beyond) what we know. `None`: no news.
    pub fn steps(self, beyond: i64, divider: &mut IntervalDivider) -> Option<u64> {
        let (beyond, interval) = (u64::try_from(beyond).ok()?, u64::from(self.interval_ms()));
        if interval < 2 {
            return beyond.checked_div(interval)?.checked_add(1);
        }
        if self.packed >> GONE_BIT != divider.halved {
            *divider = IntervalDivider::of(self);
        }
        // One or several is unpredictable, so there is no shortcut for one.
        let more = match u32::try_from(beyond) {
            Ok(beyond) => divider.divide(beyond),
            Err(_) => beyond / interval,
        };
        Some(more + 1)
    }

    /// Adds as many heartbeats as [`steps`](Self::steps) returned.
    pub fn advance(&mut self, steps: u64) {
        // The result is at most the schedule at the reported time less the reported age, so nothing overflows.
        self.due_ms += steps.cast_signed() * i64::from(self.interval_ms());
    }
}

/// Time in [`TICK`]s.
pub fn ticks(at: Instant) -> u64 {
    at.as_micros() >> TICK
}

fn due_ms(schedule: &Schedule, heartbeat: Heartbeat) -> Option<i64> {
    let beats = i64::try_from(heartbeat).ok()?.checked_sub(i64::try_from(schedule.heartbeat).ok()?)?;
    let begun = i64::try_from(schedule.unix_ms).ok()?;
    begun.checked_add(beats.checked_mul(schedule.interval_ms.max(1).into())?)
}

/// The time in a member's schedule from which ages are counted, equal at both ends of an exchange: the member's own
/// time when it spoke.
pub fn nominal(schedule: &Schedule, heartbeat: Heartbeat) -> i64 {
    signed(schedule.unix_ms_of(heartbeat)).min(FARTHEST_MS.cast_signed())
}

/// Standing of a member in its track. That it beats no more is a bit of its own.
const STANDS_BITS: u32 = 3;
const STANDS: u32 = (1 << STANDS_BITS) - 1;
const ALIVE: u32 = 0;
const ACCUSED: u32 = 1;
const SUSPECT: u32 = 2;
const GONE_BIT: u32 = 2;
const GONE: u32 = 1 << GONE_BIT;
/// Later times are left out: 36 million years after 1970.
const FARTHEST_MS: u64 = 1 << 60;
/// More than the wire allows.
const LONGEST_INTERVAL_MS: u32 = 1 << 20;
/// Microseconds in a tick, as a power of two: 66 ms. Eight years of ticks fit.
const TICK: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: Schedule = Schedule { unix_ms: 1_000_000, heartbeat: 3, interval_ms: 700 };

    fn track(schedule: &Schedule, heartbeat: Heartbeat) -> HeartbeatTrack {
        HeartbeatTrack::at(schedule, heartbeat, ALIVE)
    }

    fn age(track: HeartbeatTrack, unix_ms: i64) -> Option<i64> {
        track.age(unix_ms, &mut IntervalDivider::UNKNOWN.clone()).rounds()
    }

    fn ahead(track: HeartbeatTrack, unix_ms: i64, age: i64) -> Option<u64> {
        track.steps(track.beyond(unix_ms, Age::of(age)), &mut IntervalDivider::UNKNOWN.clone())
    }

    #[test]
    fn an_age_is_the_schedule_less_the_known_heartbeat() {
        for unix_ms in [0, 997_899, 997_900, 999_999, 1_000_000, 1_000_699, 1_000_700, 9_000_000, 1 << 49] {
            for heartbeat in [0, 3, 4, 1_000] {
                let line = 3 + (unix_ms - 1_000_000_i64).div_euclid(700);
                let known = i64::try_from(heartbeat).unwrap();
                assert_eq!(
                    age(track(&REFERENCE, heartbeat), unix_ms),
                    Some(line - known),
                    "{heartbeat}, {unix_ms}"
                );
            }
        }
    }

    #[test]
    fn an_age_is_exact_after_any_earlier_division() {
        let mut divider = IntervalDivider::UNKNOWN;
        let ends = |around: i64| [around - 1, around, around + 1];
        let intervals =
            (0..21).flat_map(|i| ends(1 << i)).chain([1000, 3000]).filter(|ms| (1..=1 << 20).contains(ms));
        for interval in intervals {
            let interval_ms = u32::try_from(interval).unwrap();
            let track = track(&Schedule { unix_ms: 0, heartbeat: 0, interval_ms }, 0);
            let edges = (0..33).flat_map(|i| [ends(1 << i), ends((1 << i) / interval * interval)]);
            for late in edges.flatten().flat_map(|late| [late, -late]) {
                let rounds = track.age(late, &mut divider).rounds();
                assert_eq!(rounds, Some(late.div_euclid(interval)), "{late} / {interval}");
            }
        }
    }

    #[test]
    fn a_reported_age_gives_back_the_heartbeat_that_it_was_made_of() {
        for unix_ms in [900_000, 1_000_000, 1_000_699, 1_000_700, 1 << 49] {
            for (known, told) in [(0, 0), (3, 4), (4, 3), (5, 5), (7, 9), (2, 1_000)] {
                let age = age(track(&REFERENCE, told), unix_ms).unwrap();
                let mut mine = track(&REFERENCE, known);
                let steps = ahead(mine, unix_ms, age);
                assert_eq!(steps, told.checked_sub(known).filter(|steps| *steps > 0), "{known} and {told}");
                mine.advance(steps.unwrap_or(0));
                assert_eq!(mine, track(&REFERENCE, known.max(told)));
            }
        }
    }

    #[test]
    fn a_member_that_beats_no_more_is_left_out_but_still_heard() {
        let gone = HeartbeatTrack::at(&REFERENCE, 3, GONE);
        assert_eq!(age(gone, 1_000_000), None);
        assert_eq!(ahead(gone, 1_000_000, -2), Some(2));
    }

    #[test]
    fn what_is_too_far_off_is_left_out_and_changes_nothing() {
        let (now, end) = (1_000_000, 1 << 60);
        let absurd = Schedule { unix_ms: 0, heartbeat: u64::MAX, interval_ms: 1 };
        let slow = Schedule { interval_ms: u32::MAX, ..REFERENCE };
        let late = Schedule { unix_ms: (1 << 60) + 1, ..REFERENCE };
        let far = [(&absurd, 0), (&REFERENCE, u64::MAX), (&REFERENCE, u64::MAX / 3), (&slow, 3), (&late, 3)];
        for track in far.map(|(schedule, heartbeat)| track(schedule, heartbeat)) {
            assert_eq!(age(track, now), None);
            assert_eq!(ahead(track, end, -Age::FARTHEST), None);
        }
        assert_eq!(nominal(&late, u64::MAX), end);
        let mut track = track(&REFERENCE, 3);
        assert_eq!(age(track, end), None, "more rounds than an age can have");
        assert_eq!(ahead(track, 0, Age::FARTHEST), None);
        for _ in 0..3 {
            let steps = ahead(track, end, -Age::FARTHEST).unwrap_or(0);
            track.advance(steps);
            assert_eq!(age(track, end), Some(-Age::FARTHEST), "as far as can be told, and no further");
        }
    }

    #[test]
    fn no_check_is_needed_until_the_tick_before_the_moment_and_never_longer() {
        let mut track = track(&REFERENCE, 3);
        for until in [0, 65_535, 65_536, 3_000_000, 1 << 47, (1 << 48) - 1, 1 << 48, u64::MAX] {
            track.set_next_check(Instant::from_micros(until));
            let last = (until >> 16).saturating_sub(1);
            assert!(!track.needs_no_check(ticks(Instant::from_micros(until))), "{until}");
            assert_eq!(track.needs_no_check(last), (65_536..1 << 48).contains(&until), "{until}");
        }
    }

    #[test]
    fn a_track_takes_sixteen_bytes() {
        assert_eq!(size_of::<HeartbeatTrack>(), 16);
    }
}
