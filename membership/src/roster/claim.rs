//! A claim: what one member says about one incarnation of another, in the roster's terms.

use crate::identity::{Generation, Version};
use crate::roster::incarnation::Incarnation;
use crate::roster::standing::Standing;
use crate::roster::state::Delta;

/// A statement about one incarnation of one member.
#[derive(Clone, Debug)]
pub struct Claim {
    pub subject: u64,
    pub generation: Generation,
    pub standing: Standing,
    pub forgotten: bool,
    pub incarnation: Option<Incarnation>,
    pub delta: Option<Delta>,
}

/// Upper bound on heartbeats: as many as the shortest interval allows since the incarnation began, for clocks a day
/// apart.
pub fn heartbeat_limit(unix_ms: u64, generation: u64) -> u64 {
    unix_ms.saturating_add(FARTHEST_START_MS).saturating_sub(generation) / SHORTEST_INTERVAL_MS + (1 << 20)
}

/// Upper bound on versions of a state: one change per millisecond since the incarnation began, for clocks a day apart. A
/// thousand changes a second are far more than an owner could spread.
pub fn version_limit(unix_ms: u64, generation: u64) -> Version {
    unix_ms.saturating_add(FARTHEST_START_MS).saturating_sub(generation).saturating_add(1 << 20)
}

/// An incarnation that begins later than this many milliseconds from now is refused: one of the two clocks is wrong.
pub const FARTHEST_START_MS: u64 = 24 * 3600 * 1000;
pub const SHORTEST_INTERVAL_MS: u64 = 10;
