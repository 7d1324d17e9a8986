//! What leaves and arrives: claims on the wire, open requests, budgets, path limits.

pub mod context;
pub mod egress;
pub mod path_limits;
pub mod requests;
pub mod scratch;
pub mod sending;
pub mod token_bucket;
pub mod wire;

use std::collections::VecDeque;

use crate::Instant;
use crate::config::Config;
use crate::io::Output;
use egress::EgressLimiter;
use path_limits::PathLimits;
use requests::Requests;
use scratch::Scratch;

/// State of what leaves and arrives at one node.
#[derive(Debug)]
pub struct Transport {
    pub requests: Requests,
    /// Bounds all that leaves.
    pub egress: EgressLimiter,
    /// How long a datagram may be on which path.
    pub path_limits: PathLimits,
    /// Reused for the body of what comes and goes, and for a page of it.
    pub bytes: Vec<u8>,
    pub scratch: Scratch,
    /// What the driver has yet to take.
    pub out: VecDeque<Output>,
    /// Until then not all members know our address, which has changed: datagrams introduce us.
    pub introduce_until: Instant,
}

impl Transport {
    pub fn new(now: Instant, config: &Config, first_request: u32) -> Self {
        Self {
            requests: Requests::new(first_request),
            egress: EgressLimiter::new(now, config.byte_rate),
            path_limits: PathLimits::new(),
            bytes: Vec::new(),
            scratch: Scratch::new(),
            out: VecDeque::new(),
            introduce_until: Instant::EPOCH,
        }
    }
}
