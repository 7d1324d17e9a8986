//! Who votes where more votes are known than were stated.
//!
//! Picture: a boat has five seats. The five that boarded first sit. A guest that comes later stands, also while the seat
//! of a passenger who is ashore is empty, until the owner says that this passenger will not return.
//!
//! Rule: of more electors than were stated, those that started first vote, by the start of their present run. A member
//! that is down keeps its place until it is forgotten. And a member takes a place only when all electors have been seen
//! alive together for a while since it came; so a place that moves is without a vote for that time.
//!
//! Why two sides never both have enough: of two disjoint majorities take the elector that started last, and the member
//! that counts it. That member would count it only if it did not know one of the others, all of which started before.
//! But an elector counts only after all have been seen alive together for [`CALM`] pauses, in which news of it reaches
//! all that are not cut off. The order alone does not have this property (`tests/places.rs`, docs/decisions.md).
//!
//! Weak spot: where no more votes are known than were stated each counts at once, as ever. Groups that were started apart
//! each may have a majority until they have met.

use core::time::Duration;
use std::collections::BTreeSet;

use crate::Instant;
use crate::identity::Generation;

/// A member that could vote.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub hash: u64,
    pub votes: u32,
    /// The place of its zone; 0 if votes are not counted by zones.
    pub zone: usize,
    /// When its present run started, by its own clock.
    pub generation: Generation,
    pub alive: bool,
}

/// Who votes, and who does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seats {
    /// Name hash, votes and zone, by hash.
    pub electors: Vec<(u64, u32, usize)>,
    /// Those that came when all places were taken.
    pub surplus: Vec<u64>,
    /// Those that have a place and no vote yet.
    pub waiting: Vec<u64>,
}

/// The electors that have been seen alive together for long.
#[derive(Clone, Debug, Default)]
pub struct Places {
    admitted: BTreeSet<u64>,
    /// Those with a place, if all candidates are alive, and since when it is so.
    calm: Option<(Instant, Vec<u64>)>,
}

impl Places {
    /// Gives the places to `candidates`. `stated`: the votes of each zone; `pause`: the acceptable pause. Returns also
    /// when to look again although nothing has changed.
    pub fn give(
        &mut self,
        now: Instant,
        candidates: &[Candidate],
        stated: &[u32],
        pause: Duration,
    ) -> (Seats, Instant) {
        let mut seats = Seats::default();
        let (mut first, mut open): (Vec<u64>, Vec<Candidate>) = (Vec::new(), Vec::new());
        for (zone, stated) in stated.iter().enumerate() {
            let mut here: Vec<Candidate> = candidates.iter().filter(|c| c.zone == zone).copied().collect();
            let there = here.iter().fold(0_u32, |sum, c| sum.saturating_add(c.votes));
            if there <= *stated {
                first.extend(here.iter().map(|c| c.hash));
                seats.electors.extend(here.iter().map(|c| (c.hash, c.votes, c.zone)));
                continue;
            }
            here.sort_unstable_by_key(|c| (c.generation, c.hash));
            let mut sum = 0_u32;
            for candidate in here {
                sum = sum.saturating_add(candidate.votes);
                if sum <= *stated {
                    first.push(candidate.hash);
                    open.push(candidate);
                } else {
                    seats.surplus.push(candidate.hash);
                }
            }
        }
        first.sort_unstable();
        let calm = pause * CALM;
        self.look(now, candidates, first, calm);
        for candidate in open {
            match self.admitted.contains(&candidate.hash) {
                true => seats.electors.push((candidate.hash, candidate.votes, candidate.zone)),
                false => seats.waiting.push(candidate.hash),
            }
        }
        seats.electors.sort_unstable();
        let waits = self.calm.as_ref().filter(|_| !seats.waiting.is_empty());
        (seats, waits.map_or(Instant::NEVER, |(since, _)| *since + calm))
    }

    /// Admits those that have been alive together until now for long enough, and begins to watch those of today.
    fn look(&mut self, now: Instant, candidates: &[Candidate], first: Vec<u64>, calm: Duration) {
        if let Some((_, together)) = self.calm.as_ref().filter(|(since, _)| now.since(*since) >= calm) {
            self.admitted = together.iter().copied().collect();
        }
        // One that left, or was forgotten, has no place to come back to.
        let known: BTreeSet<u64> = candidates.iter().map(|c| c.hash).collect();
        self.admitted.retain(|hash| known.contains(hash));
        if !candidates.iter().all(|c| c.alive) {
            self.calm = None;
        } else if self.calm.as_ref().is_none_or(|(_, together)| *together != first) {
            self.calm = Some((now, first));
        }
    }
}

/// In this many acceptable pauses a cut is seen for certain: the first verdict across one comes within seven seconds of it
/// (docs/quorum-proofs.md, section 4), which is three and a half.
pub const CALM: u32 = 5;
