//! What members said of quorum, beside what they could have had.

/// What members said of quorum, beside what they could have had. Only where a scenario states an electorate. Times in seconds.
///
/// A member is *healthy* if for 10 s it has run, been in no trouble, and had two-way links to a majority of the votes, its
/// own included, of members in no trouble.
#[derive(Debug, Default)]
pub struct QuorumFigures {
    /// Running members that hold, lost, are unsettled about quorum at the end.
    pub at_end: [usize; 3],
    /// Member-seconds of healthy members.
    pub healthy: f64,
    /// Those of them in which the member did not hold quorum.
    pub without: f64,
    /// Times that a healthy member lost quorum.
    pub losses: u64,
    /// From each such loss until the member held quorum again, or was not healthy any more.
    pub gaps: Vec<f32>,
    /// From the moment at which a member that holds quorum has no majority within reach until it says so.
    pub to_lose: Vec<f32>,
    /// Members that never said so, though they were given the acceptable pause.
    pub never_lost: u64,
    /// From the moment at which one that lost it in this way has a majority within reach again until it holds quorum.
    pub to_regain: Vec<f32>,
    /// Members that never did, though they were healthy.
    pub never_regained: u64,
}
