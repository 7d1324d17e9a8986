//! What leaves and arrives: claims on the wire, open requests, budgets, path limits.

pub mod egress;
pub mod path_limits;
pub mod requests;
pub mod scratch;
pub mod token_bucket;
pub mod wire;
