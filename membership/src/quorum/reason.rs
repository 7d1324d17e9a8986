//! Quorum in words: which votes are there, and which members have none.

use crate::identity::Name;
use crate::quorum::service::Voting;
use crate::quorum::{Context, Electorate, QuorumService};
use crate::roster::standing::Status;

impl QuorumService {
    /// `only 2 of 5 expected votes hear us, 3 are needed`, or the same of zones.
    pub fn votes_text(&self, ctx: &Context<'_>, present: u32, needed: u32) -> String {
        let Voting { ballot, sight, lease, .. } = &self.voting;
        let only = if present < needed { "only " } else { "" };
        let mut text = if ballot.zones.is_empty() {
            format!("{only}{present} of {} expected votes hear us, {needed} are needed", ballot.votes)
        } else {
            let known = sight.known(ctx.now, ctx.core.config.lease(), lease.zones());
            format!(
                "{only}{present} of {} zones have a majority of votes that hear us, {needed} are needed: {}",
                ballot.all(),
                ballot.by_zone(&known)
            )
        };
        if let Some(decides) = self.decides().filter(|_| present.saturating_mul(2) == ballot.all()) {
            let with = if needed <= present { "with" } else { "without" };
            text.push_str(&format!("; half, {with} {decides}, which decides a tie"));
        }
        text
    }

    /// The member or the zone that decides a tie, if there can be one.
    fn decides(&self) -> Option<&str> {
        match self.voting.electorate()? {
            Electorate::Expected { tie, .. } => tie.as_ref().map(Name::as_str),
            Electorate::Zones { tie, .. } => tie.as_deref(),
            Electorate::Voters(_) => None,
        }
    }

    /// Which members have no vote because enough were there before them, and what to do.
    pub fn surplus_text(&self, ctx: &Context<'_>) -> String {
        let Voting { ballot, .. } = &self.voting;
        let mut text = String::new();
        let name = |hash: &u64| ctx.roster.get(*hash).map(|m| (m.incarnation.name.to_string(), m.status));
        let surplus: Vec<String> = ballot.surplus.iter().filter_map(name).map(|(name, _)| name).collect();
        if !surplus.is_empty() {
            let have = if surplus.len() == 1 { "has" } else { "have" };
            text = format!(
                "; {} {have} no vote: {} are expected, and as many were there before",
                list(surplus),
                ballot.votes
            );
            let places = ballot.electors.iter().map(|(hash, _)| hash).chain(&ballot.waiting);
            let down: Vec<String> =
                places.filter_map(name).filter(|(_, s)| *s == Status::Down).map(|(name, _)| name).collect();
            if !down.is_empty() {
                let (are, them) = if down.len() == 1 { ("is", "it") } else { ("are", "them") };
                text.push_str(&format!("; {} {are} down: forget {them}, if gone for good", list(down)));
            }
        }
        let waiting: Vec<String> = ballot.waiting.iter().filter_map(name).map(|(name, _)| name).collect();
        if !waiting.is_empty() {
            text.push_str(&format!(
                "; {} may vote once all have been seen alive together for {} s",
                list(waiting),
                (ctx.core.config.acceptable_pause * super::places::CALM).as_secs_f64()
            ));
        }
        text
    }
}

/// The first of many names.
fn list(mut names: Vec<String>) -> String {
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    let names = names.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

/// Names in one list.
const NAMES: usize = 5;
