//! Who learns what: rounds, comparisons, pulls, broadcasts, and how a member comes, goes and moves.

pub mod ages;
pub mod anti_entropy;
pub mod broadcast;
pub mod clone;
pub mod join;
pub mod leave;
pub mod overslept;
pub mod peers;
pub mod pull;
pub mod readdress;
pub mod remainder;
pub mod restart;
pub mod rounds;
pub mod slot_clock;
