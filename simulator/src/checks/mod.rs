//! What must hold in every run, whatever the seed.
//!
//! *Safety* is asked after each step, *liveness* after the calm, *budgets* over
//! all seeds of a scenario. Each check is itself tested on a broken run.

mod budget;
mod lasting;
mod liveness;
mod one_cut;
mod quorum;
mod safety;

use std::collections::BTreeMap;

use heartsay_membership::Instant;
use serde::Serialize;

pub use budget::{Line, Verdict, judge};
pub use lasting::Lasting;
pub use liveness::liveness;
pub use one_cut::{OneCut, Split};
pub use quorum::Quorums;
pub use safety::{Row, Safety};

/// Something that must not happen, and did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Virtual time in microseconds.
    pub at_us: u64,
    /// Short stable name of the rule.
    pub rule: &'static str,
    /// What happened, in words.
    pub what: String,
}

/// Violations of one run: the first few in words, the rest counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Violations {
    /// How many.
    pub count: u64,
    /// How many of each rule.
    pub rules: BTreeMap<&'static str, u64>,
    /// The first of them.
    pub first: Vec<Violation>,
}

impl Violations {
    /// Notes one.
    pub fn add(&mut self, at: Instant, rule: &'static str, what: impl FnOnce() -> String) {
        self.count += 1;
        *self.rules.entry(rule).or_default() += 1;
        if self.first.len() < KEPT {
            self.first.push(Violation { at_us: at.as_micros(), rule, what: what() });
        }
    }

    /// Whether a rule of this name was broken.
    #[must_use]
    pub fn broke(&self, rule: &str) -> bool {
        self.rules.contains_key(rule)
    }
}

const KEPT: usize = 10;
