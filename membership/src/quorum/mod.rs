//! Does our side have the majority?
//!
//! Pure arithmetic with a settling time: quorum is held while a proof of the
//! majority is young enough ([`lease`]) and has been so without a gap for a
//! while; it is lost the moment the proof runs out, by the clock and without
//! anybody having to say so.

use core::fmt;

use crate::Instant;
use crate::config::Config;
use crate::core::Core;
use crate::identity::Name;
use crate::io::Event;
use crate::roster::Roster;

mod agreed_roster;
mod electorate;
mod fence;
mod fence_watch;
mod following;
mod lease;
mod majority;
pub mod otherwise;
mod service;
#[cfg(test)]
mod tests;

pub use agreed_roster::{RosterContext, RosterTracker, VoteReply};
pub use electorate::{Ballot, Electorate, ElectorateError, TAG, majority};
pub use fence::{Acknowledged, FenceError, FenceEvidence, MOST_ABOUT, MOST_ELECTORS};
pub use lease::{Lease, RetryPolicy};
pub use majority::Majority;

use fence_watch::Fence;
use service::Voting;

/// Whether this member stands on a side that may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quorum {
    /// A majority of the electorate is in two-way contact, and has been for the settling time.
    Held,
    /// No majority is.
    Lost,
    /// Too early to say, or nobody said who votes.
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
    /// Since when it has been so.
    pub since: Instant,
    /// Until when the proof is good that we have. While quorum is held it is renewed all the time; once this moment
    /// has passed without, quorum is lost, whatever else was said before. `None`: no proof.
    pub until: Option<Instant>,
    /// Votes in two-way contact, our own included.
    pub present: u32,
    /// Votes needed. With an electorate that follows the cluster: half of the votes where the lowest name is among them.
    pub needed: u32,
    /// All votes there are; `None` when nobody configured an electorate. With one that follows the cluster: members of
    /// the agreed roster, 0 while there is none.
    pub expected: Option<u32>,
    /// The electorate as it was stated.
    pub electorate: Option<String>,
    /// Whether a fence is kept: the proof is then this member's own, and `until` the end of its lease.
    pub fence: bool,
    /// With an electorate that follows the cluster: who votes; nobody while no roster is agreed on.
    pub agreed: Option<AgreedRoster>,
    /// One sentence for people.
    pub reason: String,
}

/// The roster that was last agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedRoster {
    /// By name, the one that decides a tie first.
    pub names: Vec<Name>,
    /// Since when it has been so; after a restart, since then.
    pub since: Instant,
}

/// Who may act, as one node sees it: its own proof of a majority, what it says of it to others, and the fence.
#[derive(Debug)]
pub struct QuorumService {
    pub voting: Voting,
    pub fence: Fence,
    /// When to count who is here: soon after somebody's status changed.
    pub recount_at: Instant,
    effects: Vec<Effect>,
}

/// What the service sees of the rest of the node while it is called.
#[derive(Debug)]
pub struct Context<'a> {
    pub now: Instant,
    pub core: &'a Core,
    pub roster: &'a Roster,
    /// We have said good-bye.
    pub leaving: bool,
    /// Others have taken us in.
    pub joined: bool,
    /// Somebody has told us that we do not count, and in words why.
    pub told_out: bool,
    pub outside: Option<String>,
}

/// What the node is to do for the service, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Ask an elector whether it hears us.
    Ask(u64),
    /// Tell programs.
    Event(Event),
    /// Tell programs how quorum stands once all before this is done.
    TellStatus,
    /// Say in our own record that quorum was lost, or no longer so.
    Say(Quorum),
    /// Count who is here, soon; or at once.
    Recount,
    Count,
    /// The lease of this member has run out for certain.
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

    /// What came of the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.effects)
    }
}
