//! Bounds what one source may ask of us: new names told without being asked, pulls, probes on its behalf.
//!
//! Picture: a guest book. A visitor may sign for some friends too, but not for a whole town, and all visitors of a minute
//! together fill no more than a few pages.
//!
//! Rule: each source address has a budget, and all of them together have one, of which those that have not proven their
//! address leave a quarter to the others.
//!
//! Weak spot: a source address can be forged, so the common budget is what holds against a sender that forges many. It
//! slows down real newcomers too, until they have proven their address.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use crate::Instant;
use crate::transport::token_bucket::TokenBucket;

/// The budgets of all sources for one kind of request.
#[derive(Debug)]
pub struct SourceBudgets {
    rate: u32,
    sources: BTreeMap<(IpAddr, u16), TokenBucket>,
    all: TokenBucket,
}

impl SourceBudgets {
    pub fn new(now: Instant, rate: u32) -> Self {
        Self::shared_by(now, rate, SOURCES_AT_ONCE)
    }

    /// The same with as much for all together as so many sources may have.
    pub fn shared_by(now: Instant, rate: u32, sources: u32) -> Self {
        let all = TokenBucket::new(now, rate.saturating_mul(sources));
        Self { rate, sources: BTreeMap::new(), all }
    }

    /// Whether one more request of this source is served.
    pub fn takes(&mut self, now: Instant, from: SocketAddr, proven: bool) -> bool {
        // Many agents of one host talk by way of its loopback, from a port each.
        let port = if from.ip().is_loopback() { from.port() } else { 0 };
        let source = (from.ip(), port);
        if !self.sources.contains_key(&source) && self.sources.len() >= MOST {
            self.tidy(now);
        }
        if self.sources.len() < MOST || self.sources.contains_key(&source) {
            let rate = self.rate;
            let budget = self.sources.entry(source).or_insert_with(|| TokenBucket::new(now, rate));
            if !budget.take(now, 1) {
                return false;
            }
        }
        let kept = if proven { 0 } else { self.all.size() / RESERVE };
        self.all.available(now) > kept && self.all.take(now, 1)
    }

    /// A budget that is whole again need not be kept.
    pub fn tidy(&mut self, now: Instant) {
        self.sources.retain(|_, budget| budget.available(now) < budget.size());
    }
}

/// The common budget, in budgets of one source: a mass start of 2,000 members passes at once. Honest guess.
const SOURCES_AT_ONCE: u32 = 32;
/// The part of the common budget that is kept for proven sources: a quarter. Honest guess.
const RESERVE: usize = 4;
/// Sources that are told apart. With more at once, only the common budget counts.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    fn host(number: u16) -> SocketAddr {
        let [a, b] = number.to_be_bytes();
        ([10, 0, a, b], 4327).into()
    }

    #[test]
    fn one_source_spends_its_own_budget_and_not_that_of_others() {
        let mut budgets = SourceBudgets::new(at(0), 16);
        assert_eq!((0..1000).filter(|_| budgets.takes(at(0), host(1), true)).count(), 64);
        assert!(budgets.takes(at(0), host(2), true));
        assert_eq!((0..1000).filter(|_| budgets.takes(at(1000), host(1), true)).count(), 16);
    }

    #[test]
    fn sources_that_have_not_proven_themselves_leave_a_quarter_to_the_others() {
        let mut budgets = SourceBudgets::new(at(0), 16);
        let taken = (0..40_000).filter(|i| budgets.takes(at(0), host(*i), false)).count();
        assert_eq!(taken, 64 * 24);
        assert!(budgets.takes(at(0), host(50_000), true));
    }

    #[test]
    fn many_sources_share_one_budget_and_take_no_more_room_than_their_table() {
        let mut budgets = SourceBudgets::new(at(0), 16);
        let taken = (0..40_000).filter(|i| budgets.takes(at(0), host(*i), true)).count();
        assert_eq!(taken, 64 * 32);
        assert_eq!(budgets.sources.len(), MOST);
        assert!(budgets.takes(at(60_000), host(50_000), true));
        assert_eq!(budgets.sources.len(), 1, "the others are as if they had never come");
        budgets.tidy(at(120_000));
        assert!(budgets.sources.is_empty(), "nothing is kept of the time when a cluster formed");
    }
}
