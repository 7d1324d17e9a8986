//! The network between the nodes: how long a datagram takes, and whether it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the network does to datagrams. Nodes go by the keys of their world; a pair is a sender and a receiver.
#[derive(Debug)]
pub struct Wire {
    /// How long a datagram takes.
    pub delay: Duration,
    /// Datagrams of these pairs do not arrive.
    pub cut: BTreeSet<(String, String)>,
    /// A filter refuses the datagrams of these pairs, and the sender is told.
    pub refused: BTreeSet<(String, String)>,
    /// The share of the datagrams of these pairs that does not arrive.
    pub loss: BTreeMap<(String, String), f64>,
    /// Longer datagrams from or to these nodes do not arrive.
    pub narrow: BTreeMap<String, usize>,
    rng: ChaCha8Rng,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver gets it.
    Arrives,
    /// It is gone, and its sender is not told.
    Lost,
    /// It is gone, and its sender is told.
    Refused,
}

impl Wire {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            delay: DELAY,
            cut: BTreeSet::new(),
            refused: BTreeSet::new(),
            loss: BTreeMap::new(),
            narrow: BTreeMap::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Nothing between the two arrives.
    pub fn cut_between(&mut self, a: &str, b: &str) {
        self.cut.insert((a.to_owned(), b.to_owned()));
        self.cut.insert((b.to_owned(), a.to_owned()));
    }

    /// What becomes of a datagram of this length. Where no node is, the host refuses it.
    pub(crate) fn fate(&mut self, from: &str, to: Option<&str>, length: usize) -> Fate {
        let too_long = |end| self.narrow.get(end).is_some_and(|longest| length > *longest);
        if too_long(from) || to.is_some_and(too_long) {
            return Fate::Lost;
        }
        let Some(to) = to else { return Fate::Refused };
        if self.cut.is_empty() && self.refused.is_empty() && self.loss.is_empty() {
            return Fate::Arrives;
        }
        let pair = (from.to_owned(), to.to_owned());
        let loss = self.loss.get(&pair).copied().unwrap_or_default();
        if self.cut.contains(&pair) || (loss > 0.0 && self.rng.random_bool(loss)) {
            Fate::Lost
        } else if self.refused.contains(&pair) {
            Fate::Refused
        } else {
            Fate::Arrives
        }
    }
}

/// A local network.
const DELAY: Duration = Duration::from_micros(500);
