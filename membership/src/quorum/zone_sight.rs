//! How many votes of each zone are in two-way contact, as far as this node can tell people.
//!
//! A proof says that zones suffice, not which votes they are. A node that asks all electors has counted them; the others
//! are told with the proofs that they borrow. Quorum never rests on these numbers.

use core::time::Duration;

use crate::Instant;

/// What is known of the votes of each zone.
#[derive(Clone, Debug, Default)]
pub struct ZoneSight {
    /// What the groups of our own waves have told.
    tallied: Option<(Instant, Vec<u32>)>,
    /// What others have said that they counted.
    told: Option<(Instant, Vec<u32>)>,
}

impl ZoneSight {
    /// The groups of our waves have these votes.
    pub fn tally(&mut self, now: Instant, zones: Vec<u32>) {
        self.tallied = Some((now, zones));
    }

    /// A member that lends its proof says that it counts these votes. One that asks all says most, and stays until it is
    /// `length` old.
    pub fn hear(&mut self, now: Instant, length: Duration, zones: &[u32]) {
        let sum = |zones: &[u32]| zones.iter().fold(0_u32, |sum, votes| sum.saturating_add(*votes));
        let known = fresh(&self.told, now, length);
        if !zones.is_empty() && known.is_none_or(|known| sum(known) <= sum(zones)) {
            self.told = Some((now, zones.to_vec()));
        }
    }

    /// What we say of it ourselves. What others told us is not passed on: it would never grow old.
    pub fn counted(&self, now: Instant, length: Duration, own: &[u32]) -> Vec<u32> {
        larger(own, fresh(&self.tallied, now, length).unwrap_or_default())
    }

    /// All that is known.
    pub fn known(&self, now: Instant, length: Duration, own: &[u32]) -> Vec<u32> {
        larger(&self.counted(now, length, own), fresh(&self.told, now, length).unwrap_or_default())
    }
}

fn fresh(told: &Option<(Instant, Vec<u32>)>, now: Instant, length: Duration) -> Option<&[u32]> {
    told.as_ref().filter(|(at, _)| now.since(*at) < length).map(|(_, zones)| zones.as_slice())
}

fn larger(a: &[u32], b: &[u32]) -> Vec<u32> {
    let of = |votes: &[u32], at: usize| votes.get(at).copied().unwrap_or(0);
    (0..a.len().max(b.len())).map(|at| of(a, at).max(of(b, at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_millis(1400);

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn what_others_told_is_shown_while_it_is_young_and_never_passed_on() {
        let mut sight = ZoneSight::default();
        sight.hear(at(0), LENGTH, &[5, 4]);
        sight.hear(at(100), LENGTH, &[1, 0]);
        assert_eq!(sight.known(at(200), LENGTH, &[0, 5]), [5, 5], "of one that asks all");
        assert_eq!(sight.counted(at(200), LENGTH, &[0, 5]), [0, 5]);
        assert_eq!(sight.known(at(1400), LENGTH, &[0, 5]), [0, 5]);
        sight.hear(at(1400), LENGTH, &[1, 0]);
        assert_eq!(sight.known(at(1500), LENGTH, &[]), [1, 0], "an old number gives way to a smaller one");
        sight.tally(at(1500), vec![2, 2]);
        assert_eq!(sight.counted(at(1500), LENGTH, &[]), [2, 2]);
    }
}
