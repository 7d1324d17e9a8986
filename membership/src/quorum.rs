//! Does our side have the majority?

use crate::Instant;

/// Whether this member stands on a side that may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quorum {
    /// A majority of the electorate is here, and has been for the settling time.
    Held,
    /// No majority is here.
    Lost,
    /// Too early to say, or nobody said how large the cluster is.
    Unsettled,
}

/// Quorum, why, and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumStatus {
    /// The verdict.
    pub quorum: Quorum,
    /// Since when it has been so.
    pub since: Instant,
    /// Members that count as present, this one included.
    pub present: u32,
    /// Members needed.
    pub needed: u32,
    /// Size of the electorate; `None` when nobody configured one.
    pub expected: Option<u32>,
    /// One sentence for people.
    pub reason: String,
}
