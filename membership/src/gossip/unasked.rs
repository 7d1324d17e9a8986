//! Bounds how many new names are taken from senders that we have not asked.
//!
//! Picture: a guest book. A visitor may sign for some friends too, but not for a whole town, and all visitors of a minute
//! together fill no more than a few pages.
//!
//! Rule: each source address has a budget of new names, and all of them together have one. The answers to our own pulls
//! need none: there we decide whom to ask, and how much. A name that was refused comes again, with the next exchange or
//! pull.
//!
//! Weak spot: a source address can be forged, so the common budget is what holds against a sender that forges many. It
//! slows down real newcomers too.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use crate::Instant;
use crate::transport::token_bucket::TokenBucket;

/// The budgets of new names.
#[derive(Debug)]
pub struct Unasked {
    rate: u32,
    sources: BTreeMap<(IpAddr, u16), TokenBucket>,
    all: TokenBucket,
}

impl Unasked {
    pub fn new(now: Instant, rate: u32) -> Self {
        let all = TokenBucket::new(now, rate.saturating_mul(SOURCES_AT_ONCE));
        Self { rate, sources: BTreeMap::new(), all }
    }

    /// Whether one more new name is taken from this source.
    pub fn takes(&mut self, now: Instant, from: SocketAddr) -> bool {
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
        self.all.take(now, 1)
    }

    /// A budget that is whole again need not be kept.
    pub fn tidy(&mut self, now: Instant) {
        self.sources.retain(|_, budget| budget.available(now) < budget.size());
    }
}

/// The common budget, in budgets of one source: a mass start of 2,000 members passes at once. Honest guess.
const SOURCES_AT_ONCE: u32 = 32;
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
        let mut unasked = Unasked::new(at(0), 16);
        assert_eq!((0..1000).filter(|_| unasked.takes(at(0), host(1))).count(), 64);
        assert!(unasked.takes(at(0), host(2)));
        assert_eq!((0..1000).filter(|_| unasked.takes(at(1000), host(1))).count(), 16);
    }

    #[test]
    fn many_sources_share_one_budget_and_take_no_more_room_than_their_table() {
        let mut unasked = Unasked::new(at(0), 16);
        let taken = (0..40_000).filter(|i| unasked.takes(at(0), host(*i))).count();
        assert_eq!(taken, 64 * 32);
        assert_eq!(unasked.sources.len(), MOST);
        assert!(unasked.takes(at(60_000), host(50_000)));
        assert_eq!(unasked.sources.len(), 1, "the others are as if they had never come");
        unasked.tidy(at(120_000));
        assert!(unasked.sources.is_empty(), "nothing is kept of the time when a cluster formed");
    }
}
