//! Quorum: decides whether our side of the cluster has the majority.
//!
//! The decision is pure arithmetic with a settling time. Quorum is held while a proof of the majority is young enough
//! ([`lease`]) and has been so without a gap for a while. It is lost the moment the proof runs out, by the clock,
//! without any message.

use core::fmt;

use heartsay_proto::gossip;

use crate::Instant;
use crate::config::Config;
use crate::core::Core;
use crate::roster::Roster;

mod asking;
mod ballot;
mod electorate;
mod electorate_text;
mod fence;
mod fence_watch;
mod lease;
mod majority;
pub mod otherwise;
mod places;
mod reason;
mod service;
#[cfg(test)]
mod tests;
mod waves;
mod zone_sight;

pub use ballot::{Ballot, Count, ZoneBallot};
pub use electorate::{Electorate, MOST_ZONES, TAG, majority};
pub use electorate_text::ElectorateError;
pub use fence::{Acknowledged, FenceError, FenceEvidence, MOST_ABOUT, MOST_ELECTORS};
pub use lease::{Lease, RetryPolicy};
pub use majority::Majority;
pub use waves::Waves;

use fence_watch::Fence;
use service::Voting;

/// Whether this member is on a side that may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quorum {
    /// A majority of the electorate is in two-way contact, and has been for the settling time.
    Held,
    /// No majority is in two-way contact.
    Lost,
    /// Too early to say, or no electorate is configured.
    Unsettled,
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Lost => "lost",
            Self::Unsettled => "unsettled",
        })
    }
}

/// Quorum, why, and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumStatus {
    /// The verdict.
    pub quorum: Quorum,
    /// Since when.
    pub since: Instant,
    /// Until when our proof is good. While quorum is held the proof is renewed all the time. If this moment passes
    /// without a renewal, quorum is lost, whatever was reported before. `None`: no proof.
    pub until: Option<Instant>,
    /// Votes in two-way contact, our own included. For an electorate by zones: zones of which a majority is.
    pub present: u32,
    /// Votes, or zones, needed; half of them, if with the member or zone that decides a tie they suffice.
    pub needed: u32,
    /// The number of all votes, or zones; `None` if no electorate is configured.
    pub expected: Option<u32>,
    /// The electorate as it was stated.
    pub electorate: Option<String>,
    /// Whether a fence is kept. The proof is then this member's own, and `until` is the end of its lease.
    pub fence: bool,
    /// For an electorate by zones: the votes of each zone, by name; otherwise empty.
    pub zones: Vec<ZoneVotes>,
    /// One sentence for people.
    pub reason: String,
}

/// The votes of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneVotes {
    /// The name of the zone.
    pub zone: String,
    /// Votes in two-way contact, as far as this member has counted them or was told by one that asks all. For people: the
    /// proof rests on [`QuorumStatus::until`].
    pub present: u32,
    /// Votes that make the zone count.
    pub needed: u32,
    /// The number of all votes, as stated.
    pub expected: u32,
}

/// The quorum service of one node: its own proof of a majority, what it says of that to others, and the fence.
#[derive(Debug)]
pub struct QuorumService {
    pub voting: Voting,
    pub fence: Fence,
    /// When to count the members next: soon after a status changed.
    pub recount_at: Instant,
    effects: Vec<Effect>,
}

/// What the service sees of the rest of the node during a call.
#[derive(Debug)]
pub struct Context<'a> {
    pub now: Instant,
    pub core: &'a Core,
    pub roster: &'a Roster,
    /// We have said good-bye.
    pub leaving: bool,
    /// A peer has told us that we do not count, and why, in words.
    pub told_out: bool,
    pub outside: Option<String>,
}

impl Context<'_> {
    /// Whether proofs are lent. With a fence each member needs a proof of its own, or its end could not be known from
    /// outside.
    pub fn lends(&self) -> bool {
        !self.core.config.fence
    }
}

/// A question to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub to: u64,
    /// As part of a wave: the place of the relay that began it, and the group that the member is to lead.
    pub wave: Option<(u32, Option<gossip::Lead>)>,
}

/// What the node is to do for the service, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Ask a member whether it hears us.
    Ask(Question),
    /// Tell a relay how many votes of our group have answered its wave.
    Tell { relay: u64, tally: gossip::Tally },
    /// Quorum has changed: report it to programs, and say in our own record whether it is lost.
    Changed(QuorumStatus),
    /// Quorum is lost, and a majority is in two-way contact again, or no more: say so in our own record.
    Proven(bool),
    /// The lease of this member has certainly run out.
    Fenced(u64),
}

impl QuorumService {
    pub fn new(now: Instant, config: &Config) -> Self {
        let electorate = config.electorate.clone();
        Self {
            voting: Voting::new(now, electorate, config.quorum_settle, config.fence_mark()),
            fence: Fence::new(now),
            recount_at: now,
            effects: Vec::new(),
        }
    }

    /// The effects of the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.effects)
    }
}
