//! What may be for a moment, and not for long.

use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_membership::Instant;

/// Since when each of several things is so.
#[derive(Debug)]
pub struct Lasting<K> {
    since: BTreeMap<K, Instant>,
    told: BTreeMap<K, Instant>,
}

impl<K> Default for Lasting<K> {
    fn default() -> Self {
        Self { since: BTreeMap::new(), told: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Lasting<K> {
    /// Whether `thing` is so at `now`. For how long it has been, once that is longer than `bound`, and whether this is said
    /// for the first time.
    pub fn see(&mut self, now: Instant, thing: K, is_so: bool, bound: Duration) -> Option<(Duration, bool)> {
        if !is_so {
            self.since.remove(&thing);
            self.told.remove(&thing);
            return None;
        }
        let since = *self.since.entry(thing.clone()).or_insert(now);
        let lasts = now.since(since);
        (lasts > bound).then(|| (lasts, self.told.insert(thing, since).is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_for_longer_than_its_bound_is_told_once() {
        let mut lasting = Lasting::default();
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let bound = Duration::from_secs(2);
        assert_eq!(lasting.see(at(1), "x", true, bound), None);
        assert_eq!(lasting.see(at(3), "x", true, bound), None);
        assert_eq!(lasting.see(at(4), "x", true, bound), Some((Duration::from_secs(3), true)));
        assert_eq!(lasting.see(at(5), "x", true, bound), Some((Duration::from_secs(4), false)));
        assert_eq!(lasting.see(at(5), "y", true, bound), None);
        assert_eq!(lasting.see(at(6), "x", false, bound), None);
        assert_eq!(lasting.see(at(7), "x", true, bound), None, "it begins anew");
        assert_eq!(lasting.see(at(10), "x", true, bound), Some((Duration::from_secs(3), true)));
    }
}
