//! Counters of one node since its start.

use std::collections::BTreeMap;

/// What the node has done since it started. Counters only grow. One flat struct, as each counter is one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams handed to the driver.
    pub datagrams_sent: u64,
    /// Datagrams that the limit [`Config::byte_rate`](crate::Config::byte_rate) held back.
    pub datagrams_held_back: u64,
    /// Datagrams held back because their address had not proven itself.
    pub datagrams_unproven: u64,
    /// Datagrams handed in, refused ones included.
    pub datagrams_received: u64,
    /// UDP payload sent, in bytes.
    pub bytes_sent: u64,
    /// UDP payload received, in bytes.
    pub bytes_received: u64,
    /// Rounds so far.
    pub rounds: u64,
    /// Exchanges opened.
    pub exchanges: u64,
    /// Exchanges that other members opened with us.
    pub calls_received: u64,
    /// Direct probes sent, exchanges not counted.
    pub probes: u64,
    /// Direct contacts (exchanges and probes) that got no answer in time.
    pub probes_unanswered: u64,
    /// Requests to helpers.
    pub probe_requests: u64,
    /// Helpers' nacks: the helper is well but did not hear the member.
    pub nacks: u64,
    /// Refusals by a peer's kernel that quoted an open request.
    pub refusals: u64,
    /// Refusals that quoted no open request: forged, late, or of a datagram that expects no answer. Ignored.
    pub refusals_unproven: u64,
    /// Refusals that quoted too little to be verified. Ignored.
    pub refusals_cut: u64,
    /// Datagrams that passed news on at once.
    pub bursts: u64,
    /// Claims sent.
    pub claims_sent: u64,
    /// Claims received.
    pub claims_received: u64,
    /// Claims received that were older than what we know.
    pub stale_claims: u64,
    /// Accusations that we made.
    pub suspicions_raised: u64,
    /// Members seen to refute an accusation or a verdict.
    pub suspicions_refuted: u64,
    /// Accusations against ourselves that we refuted.
    pub refutations_of_self: u64,
    /// Verdicts that we gave.
    pub verdicts: u64,
    /// Processes whose hosts told us straight that they have ended.
    pub last_words: u64,
    /// Last words that fit no process that we know: late, of an unknown member, or forged. Ignored.
    pub last_words_unproven: u64,
    /// Times when this process was not scheduled for long.
    pub stalls: u64,
    /// Pages compared and found equal.
    pub pages_equal: u64,
    /// Pages compared and found unequal.
    pub pages_unequal: u64,
    /// Direct paths to living members found to be down.
    pub path_downs: u64,
    /// Those of them that were found to work again.
    pub path_ups: u64,
    /// Doubts about a direct path that were not followed, because too many others are.
    pub paths_unwatched: u64,
    /// Inputs refused, by [`crate::Rejected::reason`].
    pub rejected: BTreeMap<&'static str, u64>,
    /// 0 well .. 8 impaired.
    pub local_health: u8,
    /// Most other members look silent: verdicts are held.
    pub isolated: bool,
    /// Dropped incarnations that are still remembered.
    pub tombstones: usize,
    /// How many of the last peers that compared views with us see what we see.
    pub peers_agreeing: usize,
    /// How many peers that were.
    pub peers_known: usize,
    /// Values of other members that are too long for our datagrams: members with larger ones pass them on.
    pub values_too_long: usize,
    /// Seeds that sent us anything while we looked for the others.
    pub seeds_heard: usize,
    /// Paths on which long datagrams get lost while short ones arrive.
    pub narrow_paths: usize,
    /// Paths of which it is being measured whether they do.
    pub paths_measuring: usize,
    /// Living members whose direct path from here is down at present.
    pub paths_down: usize,
}
