//! Chance, so that many do not act as one.

use std::time::Duration;

/// From 0 to 1, another at each call; a half where the system has no random bytes to give.
pub(crate) fn share() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

/// A time that is longer or shorter by up to this part of it.
pub(crate) fn jittered(time: Duration, part: f64) -> Duration {
    time.mul_f64(1.0 - part + 2.0 * part * share())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jittered_time_stays_within_its_part_and_differs() {
        let second = Duration::from_secs(1);
        let some: Vec<Duration> = (0..1000).map(|_| jittered(second, 0.1)).collect();
        assert!(some.iter().all(|time| (second.mul_f64(0.899)..second.mul_f64(1.101)).contains(time)));
        assert!(some.iter().any(|time| *time < second) && some.iter().any(|time| *time > second));
        assert_eq!(jittered(second, 0.0), second);
    }
}
