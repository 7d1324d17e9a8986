//! The rules of merge, lease, verdict and fence, as a specification that runs.
//!
//! It is written from `docs/quorum-proofs.md` and `docs/protocol.md`, not from the code, and shares none with it: it depends on
//! no other crate. It is small enough to be read, and to be explored in all its states:
//!
//! - [`merge`]: what is known of a member, and the order of it;
//! - [`links`]: which member hears which, as directed links of up to five members;
//! - [`lease`]: proofs, loans, quorum held and lost, verdicts, notices; [`cuts`] explores all cuts of directed links;
//! - [`fence`]: when a lease has certainly run out, with links that change at will;
//! - [`trace`]: whether what a real member claims is explained by the datagrams that it and others received.
//!
//! Each of [`lease::Rules`], [`fence::Rules`] can be broken, and the tests show that the explorer then finds what the
//! rule is for. Time is in ticks in what is explored, and in microseconds in traces.

#![allow(
    clippy::indexing_slicing,
    reason = "members are numbers below the length of every array; nothing here comes from a peer or a user"
)]

pub mod cuts;
pub mod fence;
pub mod lease;
pub mod links;
pub mod merge;
pub mod trace;
