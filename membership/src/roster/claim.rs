//! A claim: what one member says about one incarnation of another, in the roster's terms.

use crate::identity::{Generation, Heartbeat, Version};
use crate::roster::incarnation::{Incarnation, Schedule};
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
/// apart, beyond those that the process had before. A process that has to begin another incarnation, perhaps a day ahead,
/// keeps its heartbeat.
pub fn heartbeat_limit(unix_ms: u64, generation: Generation, schedule: Option<&Schedule>) -> Heartbeat {
    let begun = schedule.map_or(generation, |schedule| schedule.unix_ms.min(generation));
    let before = schedule.map_or(0, |schedule| schedule.heartbeat.min(MOST_BEFORE));
    let age_ms = unix_ms.saturating_add(FARTHEST_START_MS).saturating_sub(begun);
    before + age_ms / SHORTEST_INTERVAL_MS + (1 << 20)
}

/// Upper bound on versions of a state: one change per millisecond since the incarnation began, for clocks a day apart. A
/// thousand changes a second are far more than an owner could spread.
pub fn version_limit(unix_ms: u64, generation: u64) -> Version {
    unix_ms.saturating_add(FARTHEST_START_MS).saturating_sub(generation).saturating_add(1 << 20)
}

/// An incarnation that begins later than this many milliseconds from now is refused: one of the two clocks is wrong.
pub const FARTHEST_START_MS: u64 = 24 * 3600 * 1000;
pub const SHORTEST_INTERVAL_MS: u64 = 10;
/// Heartbeats of three centuries at the shortest interval.
const MOST_BEFORE: Heartbeat = 1 << 40;
