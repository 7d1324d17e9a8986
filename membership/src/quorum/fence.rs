//! The proof of a fence: has the lease of a silent member certainly run out?
//!
//! Picture: a diver's air is counted from the last answered knock. The crew on deck cannot see the diver's gauge, but
//! it can ask each person who might have answered a knock when that last happened. If enough of them answered none for
//! longer than the air lasts, the diver is up or will never act.
//!
//! Rule: each elector notes when it last acknowledged each member ([`Acknowledged`]). An observer asks the electors for
//! how long they have acknowledged nothing of a member, and keeps the answers as spans of its own clock
//! ([`NonGrantSpans`]). A span in which *q* votes together acknowledged nothing shares an elector with every majority.
//! If it is longer than a lease, the lease has run out inside it. No promise is made and nothing is kept on disk: a
//! past silence is a fact, and stays one.
//!
//! Weak spot: it needs votes in few hands. It rests on the member's own answers alone. So with a fence proofs are not
//! lent, each member asks all electors, and the electorate has to be small (docs/quorum-proofs.md, section 3).

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::quorum::{Ballot, Count};

/// When a node last acknowledged each member, that is, answered a request of it with a lease.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    last: BTreeMap<u64, Instant>,
    /// Nothing is known about the time before: an earlier incarnation of ours may have acknowledged, or a member was
    /// forgotten.
    floor: Instant,
}

impl Acknowledged {
    pub fn new(now: Instant) -> Self {
        Self { last: BTreeMap::new(), floor: now }
    }

    pub fn note(&mut self, member: u64, now: Instant) {
        self.last.insert(member, now);
    }

    /// Since when nothing of `member` has certainly been acknowledged.
    pub fn none_since(&self, member: u64) -> Instant {
        self.last.get(&member).copied().unwrap_or(self.floor).max(self.floor)
    }

    /// Forgets members that are no longer in the roster, and with them the time before.
    pub fn keep(&mut self, known: impl Fn(u64) -> bool) {
        let floor = &mut self.floor;
        self.last.retain(|member, at| {
            let keep = known(*member);
            if !keep {
                *floor = (*floor).max(*at);
            }
            keep
        });
    }
}

/// A span of our clock in which an elector acknowledged nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Instant,
    to: Instant,
}

/// What electors said about one member.
#[derive(Clone, Debug, Default)]
pub struct NonGrantSpans {
    by_elector: BTreeMap<u64, Span>,
}

impl NonGrantSpans {
    /// `elector` answered, at `now`, a request that left at `sent`: it has acknowledged nothing for `silent`.
    ///
    /// The elector spoke at some moment between the two. So its silence began at the latest `silent` before `now`, and
    /// lasted at least until `sent`. Its clock may be fast and ours slow, so a fiftieth is taken off.
    pub fn testify(&mut self, elector: u64, sent: Instant, now: Instant, silent: Duration) {
        let told = Span { from: now - silent * 49 / 50, to: sent };
        if told.from >= told.to {
            return;
        }
        let known = self.by_elector.entry(elector).or_insert(told);
        let touch = told.from <= known.to && known.from <= told.to;
        *known = match touch {
            true => Span { from: known.from.min(told.from), to: known.to.max(told.to) },
            false if told.to > known.to => told,
            false => *known,
        };
    }

    /// Whether the lease of `subject`, of length `length`, has run out without a new one being possible yet. `own`: our
    /// own hash, and since when we have acknowledged nothing.
    pub fn prove(
        &self,
        now: Instant,
        subject: u64,
        own: (u64, Instant),
        ballot: &Ballot,
        length: Duration,
    ) -> bool {
        if ballot.fault.is_some() {
            return false;
        }
        // A member that held a lease until the end of a span holds the next one a settling time later at the earliest,
        // which is never less than a lease. Clocks are off by at most two hundredths.
        let fresh = length * 49 / 50;
        let mut spans: Vec<(Span, u64)> = ballot
            .electors
            .iter()
            .filter(|(elector, _)| *elector != subject)
            .filter_map(|(elector, _)| {
                let span = match *elector == own.0 {
                    true => Span { from: own.1, to: now },
                    false => *self.by_elector.get(elector)?,
                };
                (now.since(span.to) < fresh).then_some((span, *elector))
            })
            .collect();
        spans.sort_unstable_by_key(|(span, _)| span.from);
        // For each possible end of the common span: when does it begin, with the longest silences that reach it?
        spans.iter().any(|(end, _)| {
            let mut count = Count::default();
            let reach = spans.iter().filter(|(span, _)| span.to >= end.to);
            // A majority shares an elector with every majority.
            let begins = reach.into_iter().find_map(|(span, elector)| {
                ballot.add(&mut count, *elector);
                ballot.is_majority(&count).then_some(span.from)
            });
            begins.is_some_and(|from| end.to.since(from) >= beyond(length))
        })
    }
}

/// Longer than a lease of `length` by any clock: two hundredths for the rates of two clocks, one for rounding.
fn beyond(length: Duration) -> Duration {
    length * 103 / 100
}

/// The evidence for a fence around one member.
#[derive(Clone, Debug)]
pub struct FenceEvidence {
    /// The incarnation that is silent.
    pub tag: u64,
    pub silences: NonGrantSpans,
    /// Proven; stays true for as long as the member stays down.
    pub fenced: bool,
}

impl FenceEvidence {
    pub fn new(tag: u64) -> Self {
        Self { tag, silences: NonGrantSpans::default(), fenced: false }
    }
}

/// Why there can be no fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// No electorate is stated.
    #[error("a fence needs to be told who votes: state `expected`")]
    NoElectorate,
    /// More votes than were stated.
    #[error(
        "more votes are known than were stated, and a fence needs electors that stay the same: forget members that are \
         gone, expect more, or name the voters"
    )]
    Surplus,
    /// More electors than the limit.
    #[error("a fence takes {MOST_ELECTORS} electors at the most, of whom everybody asks each; here are {0}")]
    TooMany(usize),
}

/// Most electors of a fence. Each member asks each elector twice in the life of a lease: nine electors cost each member
/// 2 kB/s, and a majority of nine survives the loss of four.
pub const MOST_ELECTORS: usize = 9;
/// How many members one question about silences may name: it stays within the smallest datagram, and so does its
/// answer.
pub const MOST_ABOUT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_millis(1400);
    const SUBJECT: u64 = 5;
    const ME: u64 = 1;

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn five() -> Ballot {
        Ballot { votes: 5, needed: 3, electors: (1..=5).map(|e| (e, 1)).collect(), ..Ballot::default() }
    }

    /// At 9.99 s, 2 and 3 say that they have been silent since about 8 s.
    fn silences() -> NonGrantSpans {
        let mut silences = NonGrantSpans::default();
        for elector in [2, 3] {
            silences.testify(elector, at(9_980), at(10_000), ms(2_000));
        }
        silences
    }

    #[test]
    fn a_common_silence_of_a_majority_beyond_the_lease_fences() {
        let prove = |own, ballot: &Ballot| silences().prove(at(10_010), SUBJECT, (ME, own), ballot, LENGTH);
        assert!(prove(at(5_000), &five()));
        assert!(!prove(at(9_000), &five()), "we have acknowledged it ourselves");
        assert!(!prove(at(8_540), &five()), "1,440 ms are not enough");
        assert!(prove(at(8_530), &five()));
        let fault = Ballot { fault: Some(String::new()), ..five() };
        assert!(!prove(at(5_000), &fault));
    }

    #[test]
    fn neither_the_subject_nor_a_stranger_vouches_for_it() {
        let mut silences = NonGrantSpans::default();
        for elector in [SUBJECT, 2, 77] {
            silences.testify(elector, at(9_980), at(10_000), ms(9_000));
        }
        assert!(!silences.prove(at(10_000), SUBJECT, (ME, at(0)), &five(), LENGTH));
        silences.testify(4, at(9_980), at(10_000), ms(9_000));
        assert!(silences.prove(at(10_000), SUBJECT, (ME, at(0)), &five(), LENGTH));
        assert!(!silences.prove(at(10_000), SUBJECT, (77, at(0)), &five(), LENGTH), "we have no vote");
    }

    #[test]
    fn silences_that_do_not_overlap_for_a_lease_prove_nothing() {
        let mut silences = NonGrantSpans::default();
        silences.testify(2, at(8_600), at(8_610), ms(4_000));
        silences.testify(3, at(9_980), at(10_000), ms(1_200));
        assert!(!silences.prove(at(10_000), SUBJECT, (ME, at(0)), &five(), LENGTH));
        assert!(!silences.prove(at(9_000), SUBJECT, (ME, at(0)), &five(), LENGTH));
    }

    #[test]
    fn an_answer_under_way_for_long_says_little_and_an_old_one_nothing() {
        let mut late = NonGrantSpans::default();
        for elector in [2, 3] {
            late.testify(elector, at(9_000), at(10_000), ms(2_000));
        }
        assert!(
            !late.prove(at(10_000), SUBJECT, (ME, at(0)), &five(), LENGTH),
            "it may have been said at once"
        );
        let end = 9_980 + 1_372;
        assert!(silences().prove(at(end - 1), SUBJECT, (ME, at(0)), &five(), LENGTH));
        assert!(
            !silences().prove(at(end), SUBJECT, (ME, at(0)), &five(), LENGTH),
            "it may hold another lease"
        );
    }

    #[test]
    fn answers_join_to_one_silence_unless_an_acknowledgement_lies_between() {
        let mut silences = silences();
        for elector in [2, 3] {
            silences.testify(elector, at(11_000), at(11_010), ms(1_100));
        }
        assert!(silences.prove(at(11_010), SUBJECT, (ME, at(0)), &five(), LENGTH));
        for elector in [2, 3] {
            silences.testify(elector, at(12_300), at(12_310), ms(1_000));
        }
        assert!(!silences.prove(at(12_310), SUBJECT, (ME, at(0)), &five(), LENGTH));
    }

    #[test]
    fn weights_count_as_votes() {
        let ballot =
            Ballot { votes: 5, needed: 3, electors: vec![(2, 3), (3, 1), (SUBJECT, 1)], ..Ballot::default() };
        assert!(silences().prove(at(10_000), SUBJECT, (ME, at(0)), &ballot, LENGTH));
        let light =
            Ballot { votes: 5, needed: 3, electors: vec![(2, 1), (3, 1), (SUBJECT, 3)], ..Ballot::default() };
        assert!(!silences().prove(at(10_000), SUBJECT, (ME, at(0)), &light, LENGTH));
    }

    #[test]
    fn no_elector_vouches_for_the_time_before_its_start_or_for_forgotten_members() {
        let mut acknowledged = Acknowledged::new(at(100));
        assert_eq!(acknowledged.none_since(9), at(100));
        acknowledged.note(9, at(500));
        acknowledged.note(8, at(300));
        assert_eq!((acknowledged.none_since(9), acknowledged.none_since(8)), (at(500), at(300)));
        acknowledged.keep(|member| member != 9);
        assert_eq!((acknowledged.none_since(9), acknowledged.none_since(8)), (at(500), at(500)));
    }
}
