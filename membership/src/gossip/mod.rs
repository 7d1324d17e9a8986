//! Who learns what: rounds, comparisons, pulls, broadcasts, and how a member comes, goes and moves.

pub mod ages;
pub mod anti_entropy;
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

use core::net::SocketAddr;

use heartsay_proto::ages::Age;

use crate::Instant;
use crate::config::Config;
use crate::identity::Generation;
use ages::Candidate;
use anti_entropy::Reply;
use broadcast::Broadcast;
use clone::SuspectedClone;
use join::Join;
use leave::Leave;
use pull::Pulls;
use remainder::Remainders;

/// State of the gossip of one node.
#[derive(Debug)]
pub struct Gossip {
    pub broadcast: Broadcast,
    pub join: Join,
    pub pulls: Pulls,
    /// What is still to come of long states.
    pub remainders: Remainders,
    pub leave: Option<Leave>,
    /// When the time is over of the first of those who restart.
    pub restarts_end: Instant,
    /// Where in the roster the next exchange goes on that could not carry all pages.
    pub page_cursor: u32,
    /// When rosters were last seen to differ.
    pub unrest_at: Instant,
    /// Reused for coding and decoding pages.
    pub ages: Vec<Age>,
    /// The members of a shard that a page says have beaten since.
    pub candidates: Vec<Candidate>,
    /// Another life of our name and host, while we ask whether somebody lives it.
    pub clone_suspect: Option<SuspectedClone>,
    /// Where such a life was that nobody seemed to live, and its generation.
    pub taken_for_past: Option<(SocketAddr, Generation)>,
    pub next_round: Instant,
    /// The next of the extra exchanges of a newcomer.
    pub eager_at: Instant,
    /// Reused for the answer to an exchange; empty.
    pub reply: Reply,
}

impl Gossip {
    pub fn new(now: Instant, config: &Config) -> Self {
        Self {
            broadcast: Broadcast::new(now, config.burst_rate, config.coalesce, config.fanout),
            join: Join::new(now),
            pulls: Pulls::new(now),
            remainders: Remainders::new(),
            leave: None,
            restarts_end: Instant::NEVER,
            page_cursor: 0,
            unrest_at: now,
            ages: Vec::new(),
            candidates: Vec::new(),
            clone_suspect: None,
            taken_for_past: None,
            next_round: now,
            eager_at: now,
            reply: Reply::default(),
        }
    }
}
