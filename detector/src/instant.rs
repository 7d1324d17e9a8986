//! The only notion of time in the pure crates.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A moment, in microseconds since an epoch that the driver chose.
///
/// The agent counts from its start on the monotonic clock, the simulator from
/// the beginning of a run. Pure code cannot make one out of thin air except
/// from another one: it has no clock to ask. 64 bits of microseconds last
/// 584,000 years, and half the size of `std::time::Instant` counts when a
/// table holds several per member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The driver's epoch.
    pub const EPOCH: Self = Self(0);
    /// Later than everything: "no deadline".
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the driver's epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the driver's epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }

    /// The same in microseconds, for what is counted a thousand times a second: a [`Duration`] is taken apart again.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("never");
        }
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_at_both_ends() {
        let one = Instant::from_micros(1);
        assert_eq!(one - Duration::from_secs(1), Instant::EPOCH);
        assert_eq!(one + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::EPOCH.since(one), Duration::ZERO);
    }
}
