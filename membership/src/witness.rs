//! Who watches whom.
//!
//! Each member has a few witnesses, the same ones in everybody's eyes: those
//! whom rendezvous hashing draws to it (Thaler and Ravishankar, 1998). When it
//! is accused, they look for themselves. That bounds the probes that one
//! accusation can cause, and gives independent, named accusers.

use crate::fingerprint;
use crate::member::{Evidence, Member, Status};
use crate::roster::Roster;

/// The `count` members in good standing that are drawn to `subject`.
pub fn of(roster: &Roster, subject: u64, count: usize) -> Vec<u64> {
    let mut drawn: Vec<(u64, u64)> = Vec::with_capacity(count + 1);
    for member in roster.iter() {
        if member.status != Status::Alive || member.hash() == subject {
            continue;
        }
        let pull = (fingerprint::of_pair(subject, member.hash()), member.hash());
        let place = drawn.partition_point(|other| *other > pull);
        if place < count {
            drawn.insert(place, pull);
            drawn.truncate(count);
        }
    }
    drawn.into_iter().map(|(_, hash)| hash).collect()
}

/// Whether `observer`, in good standing, is one of the `count` drawn to `subject`.
/// Stops looking as soon as enough others are drawn more strongly.
pub fn is_one(roster: &Roster, subject: u64, count: usize, observer: u64) -> bool {
    let pull = (fingerprint::of_pair(subject, observer), observer);
    let stronger = |m: &&Member| {
        m.status == Status::Alive
            && m.hash() != subject
            && (fingerprint::of_pair(subject, m.hash()), m.hash()) > pull
    };
    roster.iter().filter(stronger).take(count).count() < count
}

/// Members in good standing that could testify about `subject`, ourselves included.
fn able(roster: &Roster, subject: u64) -> usize {
    roster.iter().filter(|m| m.status == Status::Alive && m.hash() != subject).count()
}

/// How many witnesses make a quorum.
pub fn needed(roster: &Roster, subject: u64, witnesses: usize) -> usize {
    able(roster, subject).min(witnesses) / 2 + 1
}

/// What the accusers of one member have said, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Testimony {
    /// Sure of themselves, and their silence is proven or was refused.
    pub proven: usize,
    /// Sure of themselves, and refused by the host's kernel.
    pub refused: usize,
    /// Members in good standing that could testify, ourselves included.
    pub able: usize,
    /// How many must, at most [`crate::Config::witnesses`] of them being asked.
    pub needed: usize,
}

impl Testimony {
    /// Counts those accusations whose makers are themselves in good standing.
    pub fn against(subject: &Member, roster: &Roster, witnesses: usize) -> Self {
        let able = able(roster, subject.hash());
        let needed = needed(roster, subject.hash(), witnesses);
        let mut testimony = Self { able, needed, ..Self::default() };
        for accusation in &subject.standing.accusations {
            let credible = !accusation.weak
                && accusation.basis >= subject.standing.heartbeat
                && roster.get(accusation.by).is_some_and(|by| by.status == Status::Alive);
            testimony.proven += usize::from(credible && accusation.kind >= Evidence::Proven);
            testimony.refused += usize::from(credible && accusation.kind == Evidence::Refused);
        }
        testimony
    }
}
