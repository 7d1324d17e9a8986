//! What is remembered about one member as a subject.

use heartsay_membership::Instant;

use crate::bits::Members;

/// Book-keeping about one member as a subject.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) episode: Option<usize>,
    pub(super) newcomer: Option<Newcomer>,
    pub(super) formed: bool,
    /// Has had the whole state of all.
    pub(super) stated: bool,
    pub(super) evicted: Option<Instant>,
    pub(super) down: Option<Instant>,
    pub(super) back: bool,
    /// Most of the others hold it for down.
    pub(super) out: bool,
}

pub(super) struct Newcomer {
    pub(super) since: Instant,
    pub(super) generation: u64,
    pub(super) full: bool,
    pub(super) known: Members,
}
