//! Beacons: how long news takes to reach this member.
//!
//! Picture: a clock tower strikes now and then, and a listener who has the right time knows how long the sound took.
//!
//! Now and then a member writes the cluster's time ([slot clock](crate::core::slot_clock)) into its record. That travels
//! as any other change of a record does, and each other member sees on arrival how old it is. No wall clock is compared.
//! All members together write one beacon per [`Config::beacon`], however many they are, so the cost to each member
//! does not grow with the cluster. (The idea: valkey issue 1924.)

use core::time::Duration;

use crate::Instant;
use crate::config::Config;
use crate::core::Core;
use crate::roster::fingerprint;
use crate::roster::state::{BEACON_KEY, State};

/// Whether it is this member's turn to write one, in a view with so many members that are there. Drawn for each slot
/// without memory, so that a restart neither brings nor delays one.
pub fn is_due(now: Instant, core: &Core, present: u32) -> bool {
    let Config { beacon: Some(gap), interval, .. } = &*core.config else { return false };
    let slots = gap.as_millis() / interval.as_millis().max(1) * u128::from(present);
    let draw = fingerprint::of_pair(core.me, core.slot_clock.slot(now));
    present > 1 && u128::from(draw).is_multiple_of(slots.max(1))
}

/// What a member writes at this moment.
pub fn write(now: Instant, core: &Core) -> Vec<u8> {
    core.slot_clock.say(now).to_string().into_bytes()
}

/// How old the beacon in a record is. `None` if there is none, if its time makes no sense, or if it was written
/// before this member started: then it is no news that was on its way.
pub fn age(now: Instant, core: &Core, state: &State) -> Option<Duration> {
    let said = std::str::from_utf8(state.get(BEACON_KEY)?).ok()?.parse().ok()?;
    core.slot_clock.since(now, said).filter(|age| *age <= now.since(core.started))
}

/// How long news took to reach this member, by the beacons of others.
///
/// Exact to a few hundredths of a second: so well do members agree on the time of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewsDelays {
    /// The first counts those up to the first of [`NewsDelays::BOUNDS`], and so on; the last, all that are longer.
    counts: [u64; NewsDelays::BOUNDS.len() + 1],
    total: Duration,
    /// The latest, the newest last.
    latest: Vec<Duration>,
}

impl NewsDelays {
    /// Upper bounds of the classes in which delays are counted.
    pub const BOUNDS: [Duration; 11] = [
        Duration::from_millis(20),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(200),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(2),
        Duration::from_secs(5),
        Duration::from_secs(10),
        Duration::from_secs(30),
        Duration::from_secs(120),
    ];

    pub(crate) fn take(&mut self, delay: Duration) {
        let class = Self::BOUNDS.partition_point(|bound| *bound < delay);
        if let Some(count) = self.counts.get_mut(class) {
            *count += 1;
        }
        self.total = self.total.saturating_add(delay);
        if self.latest.len() == LATEST {
            self.latest.remove(0);
        }
        self.latest.push(delay);
    }

    /// Beacons since the start, by class: as many as [`NewsDelays::BOUNDS`], and one more for those that are longer.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The sum of all delays since the start.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The latest delays, 32 at most, the newest last.
    #[must_use]
    pub fn latest(&self) -> &[Duration] {
        &self.latest
    }
}

const LATEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_counted_by_class_and_the_latest_are_kept() {
        let mut delays = NewsDelays::default();
        for ms in [0, 20, 21, 119_999, 120_001, 9_000_000] {
            delays.take(Duration::from_millis(ms));
        }
        assert_eq!(delays.counts(), [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(delays.total(), Duration::from_millis(9_240_041));
        for ms in 0..100 {
            delays.take(Duration::from_millis(ms));
        }
        assert_eq!(
            (delays.latest().len(), delays.latest().last()),
            (LATEST, Some(&Duration::from_millis(99)))
        );
        assert_eq!(delays.latest().first(), Some(&Duration::from_millis(68)));
    }
}
