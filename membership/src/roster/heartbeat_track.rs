//! When a member's newest heartbeat was due, and until when nobody need worry: all that a round reads of most members.
//!
//! Picture: a nurse's chart with one line a bed. Pages of heartbeats are written and read a thousand
//! lines at a time, several times a second, and once a second somebody asks who is silent; so the lines lie
//! together, and the band of a member is looked at only when its line says so.

use heartsay_proto::ages::Age;

use crate::Instant;
use crate::identity::Heartbeat;
use crate::roster::incarnation::Schedule;
use crate::roster::member::{Member, signed};
use crate::roster::standing::Status;

/// The newest heartbeat of a member as a time on its line ([`Schedule`]), and whether it beats at all.
///
/// Sixteen bytes: of a thousand members 250 lines of cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub struct HeartbeatTrack {
    /// When its newest heartbeat was due, in milliseconds of its owner's wall clock.
    due_ms: i64,
    /// Milliseconds between heartbeats, and in the three lowest bits how it stands. Zero milliseconds: heartbeats so
    /// far off that they cannot be counted here; pages then leave it out, which the coder may.
    packed: u32,
    /// Before this moment its silence surprises nobody, in [`TICK`]s of our clock: a bound, and often much too early.
    next_check: u32,
}

/// The interval of the one before, ready to divide by: most members beat at the same one, and a multiplication takes a
/// third of a division's time. (Lemire, Kaser and Kurz, Faster remainder by direct computation, 2019: with 64 bits of the
/// reciprocal, rounded up, the quotient of any two numbers of 32 bits is exact.)
#[derive(Clone, Copy, Debug)]
pub struct IntervalDivider {
    /// As in a track, less what does not matter of how it stands.
    halved: u32,
    /// 2^64 by the interval, rounded up.
    reciprocal: u64,
}

impl IntervalDivider {
    /// Before the first.
    pub const UNKNOWN: Self = Self { halved: u32::MAX, reciprocal: 0 };

    /// Of one with an interval of two milliseconds or more.
    fn of(track: HeartbeatTrack) -> Self {
        // By two at the least, 2^64 divided and rounded up is below 2^64.
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
            // Only its next heartbeat can give it one.
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

    /// Restarting, down or left: it beats no more.
    pub fn is_gone(self) -> bool {
        self.packed & STANDS == GONE
    }

    pub fn interval_ms(self) -> u32 {
        self.packed >> STANDS_BITS
    }

    /// Whether nobody need ask the detector. `now` in [`TICK`]s.
    pub fn needs_no_check(self, now: u64) -> bool {
        now < self.next_check.into()
    }

    /// Before `until` the detector need not be asked.
    pub fn set_next_check(&mut self, until: Instant) {
        // Beyond what fits it is asked each time.
        self.next_check = u32::try_from(ticks(until)).unwrap_or(0);
    }

    /// Whatever happens, the detector need not be asked before the member is heard again.
    pub fn no_check_until_heard(&mut self) {
        self.next_check = u32::MAX;
    }

    /// How many heartbeats it is behind its line at `unix_ms` of its time ([`nominal`]), negative when it is ahead.
    /// Nothing is said of one that beats no more.
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

    /// By how many milliseconds the heartbeat of a member that is `age` rounds behind its line at `unix_ms` of its time
    /// ([`nominal`]) goes beyond what we know; negative when it is not news. Any number when nothing is said of it.
    pub fn beyond(self, unix_ms: i64, age: Age) -> i64 {
        let rounds = age.rounds_or_any().wrapping_add(1).wrapping_mul(self.interval_ms().into());
        (unix_ms - self.due_ms).wrapping_sub(rounds)
    }

    /// By how many heartbeats a member is ahead that is so many milliseconds [`beyond`](Self::beyond) what we know.
    /// `None`: it is not.
    pub fn steps(self, beyond: i64, divider: &mut IntervalDivider) -> Option<u64> {
        let (beyond, interval) = (u64::try_from(beyond).ok()?, u64::from(self.interval_ms()));
        if interval < 2 {
            return beyond.checked_div(interval)?.checked_add(1);
        }
        if self.packed >> GONE_BIT != divider.halved {
            *divider = IntervalDivider::of(self);
        }
        // Whether it is one or several nobody can guess, so there is no short way for one.
        let more = match u32::try_from(beyond) {
            Ok(beyond) => divider.divide(beyond),
            Err(_) => beyond / interval,
        };
        Some(more + 1)
    }

    /// So many heartbeats more, as they came out of [`steps`](Self::steps).
    pub fn advance(&mut self, steps: u64) {
        // No further than where the line is at the time told, less the age told: overflows nothing.
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

/// A time on a member's line from which ages are counted, as both ends of a conversation have it: its own when it spoke.
pub fn nominal(schedule: &Schedule, heartbeat: Heartbeat) -> i64 {
    signed(schedule.unix_ms_of(heartbeat)).min(FARTHEST_MS.cast_signed())
}

/// How a member stands, as a track says it: that it beats no more is a bit of its own.
const STANDS_BITS: u32 = 3;
const STANDS: u32 = (1 << STANDS_BITS) - 1;
const ALIVE: u32 = 0;
const ACCUSED: u32 = 1;
const SUSPECT: u32 = 2;
const GONE_BIT: u32 = 2;
const GONE: u32 = 1 << GONE_BIT;
/// Times beyond that are left out: 36 million years after 1970.
const FARTHEST_MS: u64 = 1 << 60;
/// More than the wire lets pass.
const LONGEST_INTERVAL_MS: u32 = 1 << 20;
/// Microseconds in a tick, as a power of two: 66 ms. Eight years of them fit.
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
    fn an_age_is_what_the_line_says_less_what_is_known() {
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
    fn an_age_is_exact_whatever_was_divided_by_before() {
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
    fn whoever_is_told_an_age_finds_the_heartbeat_that_it_was_made_of() {
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
    fn who_beats_no_more_is_left_out_and_heard_all_the_same() {
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
    fn it_is_calm_until_the_tick_before_the_moment_and_never_longer() {
        let mut track = track(&REFERENCE, 3);
        for until in [0, 65_535, 65_536, 3_000_000, 1 << 47, (1 << 48) - 1, 1 << 48, u64::MAX] {
            track.set_next_check(Instant::from_micros(until));
            let last = (until >> 16).saturating_sub(1);
            assert!(!track.needs_no_check(ticks(Instant::from_micros(until))), "{until}");
            assert_eq!(track.needs_no_check(last), (65_536..1 << 48).contains(&until), "{until}");
        }
    }

    #[test]
    fn it_takes_sixteen_bytes() {
        assert_eq!(size_of::<HeartbeatTrack>(), 16);
    }
}
