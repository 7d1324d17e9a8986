//! When a member's newest heartbeat was due, and until when nobody need worry: all that a round reads of most members.
//!
//! Picture: a nurse's chart with one line a bed. Pages of heartbeats are written and read a thousand
//! lines at a time, several times a second, and once a second somebody asks who is silent; so the lines lie
//! together, and the band of a member is looked at only when its line says so.

use crate::Instant;
use crate::identity::Heartbeat;
use crate::member::{Member, Reference, Status};

/// The newest heartbeat of a member as a time on its line ([`Reference`]), and whether it beats at all.
///
/// Sixteen bytes: of a thousand members 250 lines of cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub struct Pulse {
    /// When its newest heartbeat was due, in milliseconds of its owner's wall clock.
    due_ms: i64,
    /// Milliseconds between heartbeats, and in the two lowest bits how it stands. Zero milliseconds: heartbeats so
    /// far off that they cannot be counted here; pages then leave it out, which the coder may.
    rhythm: u32,
    /// Before this moment its silence surprises nobody, in [`TICK`]s of our clock: a bound, and often much too early.
    calm_until: u32,
}

impl Pulse {
    pub fn of(member: &Member) -> Self {
        let stands = match member.status {
            Status::Alive => ALIVE,
            Status::Suspect => SUSPECT,
            Status::Down | Status::Left => GONE,
        };
        Self::at(&member.life.reference, member.heartbeat, stands)
    }

    fn at(reference: &Reference, heartbeat: Heartbeat, stands: u32) -> Self {
        // Below a limit at which everything here can be divided as signed and narrow.
        let interval_ms = Some(reference.interval_ms.max(1)).filter(|ms| *ms < 1 << 29);
        match due_ms(reference, heartbeat).zip(interval_ms) {
            Some((due_ms, interval_ms)) => Self { due_ms, rhythm: interval_ms << 2 | stands, calm_until: 0 },
            None => Self { due_ms: 0, rhythm: stands, calm_until: 0 },
        }
    }

    /// Whether there is nothing that a newer heartbeat would refute.
    pub fn is_alive(self) -> bool {
        self.rhythm & STANDS == ALIVE
    }

    /// Down or left: it beats no more.
    pub fn is_gone(self) -> bool {
        self.rhythm & STANDS == GONE
    }

    pub fn interval_ms(self) -> u32 {
        self.rhythm >> 2
    }

    /// Whether nobody need ask the detector. `now` in [`TICK`]s.
    pub fn is_calm(self, now: u64) -> bool {
        now < self.calm_until.into()
    }

    /// Before `until` the detector need not be asked.
    pub fn calm(&mut self, until: Instant) {
        // Beyond what fits it is asked each time.
        self.calm_until = u32::try_from(ticks(until)).unwrap_or(0);
    }

    /// Whatever happens, the detector need not be asked before the member is heard again.
    pub fn calm_until_heard(&mut self) {
        self.calm_until = u32::MAX;
    }

    /// How many heartbeats it is behind its line at `unix_ms` of its time, negative when it is ahead.
    /// `None` of one that beats no more.
    pub fn age(self, unix_ms: i64) -> Option<i64> {
        let interval = self.interval_ms().cast_signed();
        if interval == 0 || self.is_gone() {
            return None;
        }
        let late = unix_ms.checked_sub(self.due_ms)?;
        // Narrow numbers divide in a third of the time, and this is done for everybody in each exchange.
        Some(match i32::try_from(late) {
            Ok(late) => late.div_euclid(interval).into(),
            Err(_) => late.div_euclid(interval.into()),
        })
    }

    /// By how many heartbeats a member that is `age` behind its line at `unix_ms` of its time is ahead of what
    /// we know. `None`: it is not.
    pub fn ahead(self, unix_ms: i64, age: i64) -> Option<u64> {
        let interval = self.interval_ms();
        let late = unix_ms.checked_sub(self.due_ms)?;
        let beyond = late.checked_sub(age.checked_add(1)?.checked_mul(interval.into())?)?;
        let beyond = u64::try_from(beyond).ok()?;
        let more = match u32::try_from(beyond) {
            Ok(beyond) => beyond.checked_div(interval)?.into(),
            Err(_) => beyond.checked_div(interval.into())?,
        };
        Some(more + 1)
    }

    /// So many heartbeats more.
    pub fn advance(&mut self, steps: u64) {
        let passed = steps.checked_mul(self.interval_ms().into());
        match passed.and_then(|passed| self.due_ms.checked_add_unsigned(passed)) {
            Some(due_ms) => self.due_ms = due_ms,
            None => self.rhythm &= STANDS,
        }
    }
}

/// Time in [`TICK`]s.
pub fn ticks(at: Instant) -> u64 {
    at.as_micros() >> TICK
}

fn due_ms(reference: &Reference, heartbeat: Heartbeat) -> Option<i64> {
    let beats = i64::try_from(heartbeat).ok()?.checked_sub(i64::try_from(reference.heartbeat).ok()?)?;
    let begun = i64::try_from(reference.unix_ms).ok()?;
    begun.checked_add(beats.checked_mul(reference.interval_ms.max(1).into())?)
}

/// How a member stands, as a pulse says it.
const STANDS: u32 = 3;
const ALIVE: u32 = 0;
const SUSPECT: u32 = 1;
const GONE: u32 = 2;
/// Microseconds in a tick, as a power of two: 66 ms. Eight years of them fit.
const TICK: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: Reference = Reference { unix_ms: 1_000_000, heartbeat: 3, interval_ms: 700 };

    fn pulse(reference: &Reference, heartbeat: Heartbeat) -> Pulse {
        Pulse::at(reference, heartbeat, ALIVE)
    }

    #[test]
    fn an_age_is_what_the_line_says_less_what_is_known() {
        for unix_ms in [0, 997_899, 997_900, 999_999, 1_000_000, 1_000_699, 1_000_700, 9_000_000, 1 << 50] {
            for heartbeat in [0, 3, 4, 1_000] {
                let line = 3 + (unix_ms - 1_000_000_i64).div_euclid(700);
                let known = i64::try_from(heartbeat).unwrap();
                assert_eq!(
                    pulse(&REFERENCE, heartbeat).age(unix_ms),
                    Some(line - known),
                    "{heartbeat}, {unix_ms}"
                );
            }
        }
    }

    #[test]
    fn whoever_is_told_an_age_finds_the_heartbeat_that_it_was_made_of() {
        for unix_ms in [900_000, 1_000_000, 1_000_699, 1_000_700, 1 << 50] {
            for (known, told) in [(0, 0), (3, 4), (4, 3), (5, 5), (7, 9), (2, 1_000)] {
                let age = pulse(&REFERENCE, told).age(unix_ms).unwrap();
                let mut mine = pulse(&REFERENCE, known);
                let steps = mine.ahead(unix_ms, age);
                assert_eq!(steps, told.checked_sub(known).filter(|steps| *steps > 0), "{known} and {told}");
                mine.advance(steps.unwrap_or(0));
                assert_eq!(mine, pulse(&REFERENCE, known.max(told)));
            }
        }
    }

    #[test]
    fn who_beats_no_more_is_left_out_and_heard_all_the_same() {
        let gone = Pulse::at(&REFERENCE, 3, GONE);
        assert_eq!(gone.age(1_000_000), None);
        assert_eq!(gone.ahead(1_000_000, -2), Some(2));
    }

    #[test]
    fn what_is_too_far_off_is_left_out_and_changes_nothing() {
        let absurd = Reference { unix_ms: 0, heartbeat: u64::MAX, interval_ms: 1 };
        let slow = Reference { interval_ms: u32::MAX, ..REFERENCE };
        let far = [(&absurd, 0), (&REFERENCE, u64::MAX), (&REFERENCE, u64::MAX / 3), (&slow, 3)];
        for mut pulse in far.map(|(reference, heartbeat)| pulse(reference, heartbeat)) {
            assert_eq!(pulse.age(0), None);
            assert_eq!(pulse.ahead(0, i64::MIN), None);
            pulse.advance(u64::MAX);
        }
        let mut pulse = pulse(&REFERENCE, 3);
        assert_eq!((pulse.ahead(0, i64::MAX), pulse.ahead(i64::MAX, i64::MIN)), (None, None));
        assert_eq!(pulse.age(i64::MIN), None);
        pulse.advance(u64::MAX);
        assert_eq!(pulse.age(1_000_000), None, "it lies far off from now on");
    }

    #[test]
    fn it_is_calm_until_the_tick_before_the_moment_and_never_longer() {
        let mut pulse = pulse(&REFERENCE, 3);
        for until in [0, 65_535, 65_536, 3_000_000, 1 << 47, (1 << 48) - 1, 1 << 48, u64::MAX] {
            pulse.calm(Instant::from_micros(until));
            let last = (until >> 16).saturating_sub(1);
            assert!(!pulse.is_calm(ticks(Instant::from_micros(until))), "{until}");
            assert_eq!(pulse.is_calm(last), (65_536..1 << 48).contains(&until), "{until}");
        }
    }

    #[test]
    fn it_takes_sixteen_bytes() {
        assert_eq!(size_of::<Pulse>(), 16);
    }
}
