//! Gossip: how members learn of one another and of changes, by rounds, comparisons, pulls and broadcasts; also how a
//! member joins, leaves and moves.

pub mod ages;
pub mod anti_entropy;
pub mod beacon;
pub mod broadcast;
pub mod clone;
pub mod join;
pub mod leave;
pub mod overslept;
pub mod pull;
pub mod readdress;
pub mod remainder;
pub mod restart;
pub mod rounds;
pub mod takeover;
#[cfg(test)]
mod tests;

use core::net::SocketAddr;

use heartsay_proto::ages::Age;

use crate::Instant;
use crate::config::Config;
use crate::identity::Generation;
use ages::Candidate;
use anti_entropy::Reply;
use beacon::NewsDelays;
use broadcast::Broadcast;
use clone::SuspectedClone;
use join::Join;
use leave::Leave;
use pull::Pulls;
use remainder::Remainders;
use takeover::Takeovers;

use crate::transport::source_budgets::SourceBudgets;

/// State of the gossip of one node.
#[derive(Debug)]
pub struct Gossip {
    pub broadcast: Broadcast,
    pub join: Join,
    pub pulls: Pulls,
    /// The missing parts of long states.
    pub remainders: Remainders,
    pub leave: Option<Leave>,
    /// The new names that others may tell without being asked.
    pub unasked: SourceBudgets,
    /// When the first of the announced restarts runs out of time.
    pub restarts_end: Instant,
    /// Page of the roster at which the next exchange continues, if the last could not carry all pages.
    pub page_cursor: u32,
    /// When rosters were last seen to differ.
    pub unrest_at: Instant,
    /// Reused for coding and decoding pages.
    pub ages: Vec<Age>,
    /// The members of a shard for which a page reports newer heartbeats; reused.
    pub candidates: Vec<Candidate>,
    /// Another incarnation of our name and host, while we ask whether a process runs it.
    pub clone_suspect: Option<SuspectedClone>,
    /// Address and generation of such an incarnation that no process seemed to run.
    pub taken_for_past: Option<(SocketAddr, Generation)>,
    /// Later lives of members that are present, while we ask whether these still answer.
    pub takeovers: Takeovers,
    pub next_round: Instant,
    /// When a newcomer makes its next extra exchange.
    pub eager_at: Instant,
    /// Reused for the answer to an exchange; empty.
    pub reply: Reply,
    /// How long the beacons of others took.
    pub news_delays: NewsDelays,
}

impl Gossip {
    pub fn new(now: Instant, config: &Config) -> Self {
        Self {
            broadcast: Broadcast::new(now, config.burst_rate, config.coalesce, config.fanout),
            join: Join::new(now),
            pulls: Pulls::new(now),
            remainders: Remainders::new(),
            leave: None,
            unasked: SourceBudgets::new(now, config.names_rate),
            restarts_end: Instant::NEVER,
            page_cursor: 0,
            unrest_at: now,
            ages: Vec::new(),
            candidates: Vec::new(),
            clone_suspect: None,
            taken_for_past: None,
            takeovers: Takeovers::default(),
            next_round: now,
            eager_at: now,
            reply: Reply::default(),
            news_delays: NewsDelays::default(),
        }
    }
}
