//! Tombstones: incarnations that were dropped, remembered for a while so that a late claim does not bring them back.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::identity::Generation;

/// Bounded in time and in number; the oldest goes first.
#[derive(Clone, Debug)]
pub struct Tombstones {
    stones: BTreeMap<u64, (Generation, Instant)>,
    keep: Duration,
    most: usize,
}

impl Tombstones {
    pub fn new((keep, most): (Duration, usize)) -> Self {
        Self { stones: BTreeMap::new(), keep, most }
    }

    pub fn len(&self) -> usize {
        self.stones.len()
    }

    /// Remembers that `generation` of `subject`, and every incarnation before it, is gone.
    pub fn bury(&mut self, now: Instant, subject: u64, generation: Generation) {
        let stone = self.stones.entry(subject).or_insert((generation, now));
        *stone = (stone.0.max(generation), now);
        if self.stones.len() > self.most
            && let Some(oldest) = self.stones.iter().min_by_key(|(_, (_, at))| *at).map(|(s, _)| *s)
        {
            self.stones.remove(&oldest);
        }
    }

    /// The last incarnation of `subject` that is gone.
    pub fn generation(&self, subject: u64) -> Option<Generation> {
        self.stones.get(&subject).map(|(generation, _)| *generation)
    }

    /// Forgets tombstones older than the time kept.
    pub fn age(&mut self, now: Instant) {
        let keep = self.keep;
        self.stones.retain(|_, (_, at)| now.since(*at) < keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_are_bounded_in_number_and_in_time() {
        let mut stones = Tombstones::new((Duration::from_secs(10), 3));
        let at = |s| Instant::EPOCH + Duration::from_secs(s);
        for i in 0..5 {
            stones.bury(at(i), i, 100 + i);
        }
        assert_eq!(stones.len(), 3);
        assert_eq!(stones.generation(0), None);
        assert_eq!(stones.generation(4), Some(104));
        stones.bury(at(5), 4, 7);
        assert_eq!(stones.generation(4), Some(104), "an older life does not lower the stone");
        stones.age(at(12));
        assert_eq!(stones.len(), 2);
    }
}
