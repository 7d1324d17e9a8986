//! Plain counters of one life of the machine.

use std::collections::BTreeMap;

/// What the machine has done since it started. Counters only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams handed to the driver.
    pub datagrams_sent: u64,
    /// Datagrams that would have left, but for [`Config::byte_rate`](crate::Config::byte_rate).
    pub datagrams_held_back: u64,
    /// Datagrams handed in, refused ones included.
    pub datagrams_received: u64,
    /// UDP payload sent, in bytes.
    pub bytes_sent: u64,
    /// UDP payload received, in bytes.
    pub bytes_received: u64,
    /// Rounds lived through.
    pub rounds: u64,
    /// Exchanges opened.
    pub exchanges: u64,
    /// Direct probes sent, exchanges not counted.
    pub probes: u64,
    /// Direct contacts (exchanges and probes) that got no answer in time.
    pub probes_unanswered: u64,
    /// Requests to helpers.
    pub probe_requests: u64,
    /// Helpers' answers that they are well but heard nothing.
    pub nacks: u64,
    /// Datagrams that a peer's kernel refused.
    pub refusals: u64,
    /// Datagrams that carried news at once.
    pub bursts: u64,
    /// Claims sent.
    pub claims_sent: u64,
    /// Claims received.
    pub claims_received: u64,
    /// Claims received that we knew better.
    pub stale_claims: u64,
    /// Accusations that we raised.
    pub suspicions_raised: u64,
    /// Members seen to refute an accusation or a verdict.
    pub suspicions_refuted: u64,
    /// Accusations against ourselves that we refuted.
    pub refutations_of_self: u64,
    /// Verdicts that we pronounced.
    pub verdicts: u64,
    /// Times that we were not scheduled for long.
    pub stalls: u64,
    /// Pages compared and found equal.
    pub pages_equal: u64,
    /// Pages compared and found unequal.
    pub pages_unequal: u64,
    /// Inputs refused, by [`crate::Rejected::reason`].
    pub rejected: BTreeMap<&'static str, u64>,
    /// 0 well .. 8 impaired.
    pub local_health: u8,
    /// Most others look silent: verdicts are held.
    pub isolated: bool,
    /// Dropped lives still remembered.
    pub tombstones: usize,
    /// Of the last peers that said what they see, how many see what we see.
    pub peers_agreeing: usize,
    /// How many that were.
    pub peers_known: usize,
    /// Values of others that are too long for our datagrams: members with larger ones pass them on.
    pub values_too_long: usize,
    /// Seeds from which anything came while we looked for the others.
    pub seeds_heard: usize,
    /// Paths on which long datagrams get lost while short ones arrive.
    pub narrow_paths: usize,
}
