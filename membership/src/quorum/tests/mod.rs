//! The rules of quorum tried against an adversary, in made-up time.

mod followers;
mod leases;
mod model;
mod service;
