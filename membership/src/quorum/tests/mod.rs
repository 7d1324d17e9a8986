//! The rules of quorum tried against an adversary, in virtual time.

mod directed;
mod leases;
mod model;
mod places;
mod service;
mod waves;
