//! Transport: claims on the wire, open requests, budgets for what leaves, and the length limit of each path.

pub mod addresses;
pub mod context;
pub mod egress;
pub mod first_contact;
pub mod held;
pub mod lives;
pub mod path_limits;
pub mod replays;
pub mod requests;
pub mod scratch;
pub mod seals;
pub mod sending;
pub mod source_budgets;
pub mod table;
#[cfg(test)]
mod tests;
pub mod token_bucket;
pub mod wire;

use std::collections::VecDeque;

use crate::Instant;
use crate::config::Config;
use crate::io::Output;
use addresses::Addresses;
use egress::EgressLimiter;
use heartsay_proto::SECRET_LENGTH;
use held::Held;
use lives::Lives;
use path_limits::PathLimits;
use replays::Replays;
use requests::Requests;
use scratch::Scratch;
use seals::Seals;
use source_budgets::SourceBudgets;

/// State of the transport of one node.
#[derive(Debug)]
pub struct Transport {
    pub requests: Requests,
    /// Which addresses have proven themselves; bounds what goes to others.
    pub addresses: Addresses,
    /// Requests that wait until their source has proven itself.
    pub held: Held,
    /// The probes that others ask of us.
    pub helped: SourceBudgets,
    /// Bounds all bytes that leave.
    pub egress: EgressLimiter,
    /// How long a datagram may be on each path.
    pub path_limits: PathLimits,
    /// With a key: what datagrams are sealed with.
    pub seals: Seals,
    /// With a key: which life is at an address.
    pub lives: Lives,
    /// With a key: which datagrams have been seen.
    pub replays: Replays,
    /// Reused for the bodies of datagrams in both directions, and for a page of one.
    pub bytes: Vec<u8>,
    pub scratch: Scratch,
    /// Outputs that the driver has yet to take.
    pub out: VecDeque<Output>,
    /// Until then not all members know our new address: datagrams introduce us.
    pub introduce_until: Instant,
}

impl Transport {
    /// `numbers` seeds the numbers of requests, and `cookies` makes cookies.
    pub fn new(
        now: Instant,
        config: &Config,
        numbers: u64,
        cookies: (u64, u64),
        (life, secret): (u64, [u8; SECRET_LENGTH]),
    ) -> Self {
        Self {
            requests: Requests::new(numbers),
            addresses: Addresses::new(config.max_members, cookies),
            held: Held::default(),
            helped: SourceBudgets::new(now, config.probe_rate),
            egress: EgressLimiter::new(now, config.byte_rate),
            path_limits: PathLimits::new(),
            seals: Seals::new(life, secret),
            lives: Lives::new(now),
            replays: Replays::default(),
            bytes: Vec::new(),
            scratch: Scratch::new(),
            out: VecDeque::new(),
            introduce_until: Instant::EPOCH,
        }
    }
}
