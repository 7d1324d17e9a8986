//! The lease: a proof that a majority hears this member, and until when it is good.
//!
//! Picture: a diver knocks on the hull. Each answered knock proves that both directions worked *when the knock was
//! sent*, so air is counted from then, not from when the answer came.
//!
//! Rule: each request that an elector answers proves two-way contact as of its sending. A majority is proven as of the
//! oldest of the newest proofs that make one. A member with such a proof lends it in its answers, with its age; the
//! borrower counts the age from its own request. So every proof rests on a majority that answered, through however many
//! members it was lent, and it never appears younger than it is.
//!
//! Weak spot: time. A clock that stands still keeps a proof fresh without end; a bounded rate of the clocks is assumed
//! (docs/quorum-proofs.md).

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::quorum::Ballot;

/// A claim "at that time, this many votes were in two-way contact with one another".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proof {
    pub as_of: Instant,
    pub present: u32,
}

/// How often an elector is asked.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// After a request that it answered.
    pub period: Duration,
    /// After a request that it did not answer.
    pub retry: Duration,
    /// The same, if requests to it have stayed unanswered for longer than `hope`.
    pub slow: Duration,
    pub hope: Duration,
}

/// What we can prove, from answers to our own requests and from proofs that others lend us.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    /// For each elector, when its newest answered request left, and its newest request.
    electors: BTreeMap<u64, ElectorContact>,
    own: Option<Proof>,
    zones: Vec<u32>,
    borrowed: Option<Proof>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ElectorContact {
    answered: Option<Instant>,
    asked: Option<Instant>,
    /// When the first of the requests left that have stayed unanswered in a row.
    silent_since: Option<Instant>,
    /// The number of the last ping of a wave that it answered, and when the answer came.
    heard: Option<(u32, Instant)>,
}

impl Lease {
    pub fn asked(&mut self, elector: u64, at: Instant) {
        let knock = self.electors.entry(elector).or_default();
        // A question that was lost an hour ago does not begin a silence.
        let goes_on = knock.asked.is_some_and(|asked| at.since(asked) < IN_A_ROW);
        if knock.asked <= knock.answered || !goes_on {
            knock.silent_since = Some(at);
        }
        knock.asked = Some(at);
    }

    /// An elector answered a request that left at `sent`.
    pub fn answered(&mut self, elector: u64, sent: Instant) {
        let knock = self.electors.entry(elector).or_default();
        knock.answered = knock.answered.max(Some(sent));
    }

    /// A member answered the ping of a wave, which had this number.
    pub fn heard(&mut self, elector: u64, number: u32, now: Instant) {
        self.electors.entry(elector).or_default().heard = Some((number, now));
    }

    /// The number of the last ping of a wave that `elector` answered, and when the answer came.
    pub fn last_heard(&self, elector: u64) -> Option<(u32, Instant)> {
        self.electors.get(&elector)?.heard
    }

    /// Whether `elector` has answered a request that left at `since` or later.
    pub fn has_answered(&self, elector: u64, since: Instant) -> bool {
        self.answered_at(elector).is_some_and(|at| at >= since)
    }

    /// When the newest request left that `elector` answered.
    pub fn answered_at(&self, elector: u64) -> Option<Instant> {
        self.electors.get(&elector).and_then(|knock| knock.answered)
    }

    /// A proof that others have counted for us.
    pub fn take(&mut self, proof: Proof) {
        self.borrowed = self.borrowed.max(Some(proof));
    }

    /// The member that answered our request of `sent` had a proof that was `age` old.
    pub fn borrow(&mut self, sent: Instant, age: Duration, present: u32) {
        // A proof from before our start cannot be expressed in our time.
        if age <= sent.since(Instant::EPOCH) {
            self.take(Proof { as_of: sent - age, present });
        }
    }

    /// Counts again what we can prove ourselves. Returns the votes present.
    pub fn count(&mut self, now: Instant, me: u64, ballot: &Ballot, length: Duration) -> u32 {
        // By the electors that we asked, which are few where a few ask for all.
        let others = self.electors.iter().filter(|(elector, _)| **elector != me);
        let proven = others.filter_map(|(elector, knock)| Some((*elector, knock.answered?)));
        let mut newest: Vec<(Instant, u64)> =
            proven.chain([(me, now)]).map(|(elector, at)| (at, elector)).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        // Of an elector or a zone that decides a tie, the proof contains an answer: a count that suffices has it.
        let as_of = ballot.majority_as_of(&newest, |count, elector| ballot.add(count, *elector));
        // While the proof is good, electors that it does not need are asked less often.
        let is_good = as_of.is_some_and(|at| now.since(at) < length);
        let window = if is_good { length * 2 } else { length };
        let there = newest.iter().take_while(|(at, _)| now.since(*at) < window);
        let count = ballot.count(there.map(|(_, elector)| *elector));
        let present = ballot.present(&count);
        self.zones = count.zones;
        self.own = as_of.map(|as_of| Proof { as_of, present });
        present
    }

    /// Of each zone, the votes in two-way contact at the last count.
    pub fn zones(&self) -> &[u32] {
        &self.zones
    }

    /// The best proof there is.
    pub fn proof(&self) -> Option<Proof> {
        self.own.max(self.borrowed)
    }

    /// When to ask an elector (again).
    pub fn due(&self, elector: u64, pace: RetryPolicy) -> Instant {
        let Some(knock) = self.electors.get(&elector) else { return Instant::EPOCH };
        match (knock.asked, knock.answered) {
            (None, None) => Instant::EPOCH,
            (asked, Some(answered)) if asked.is_none_or(|asked| asked <= answered) => answered + pace.period,
            (Some(asked), _) => {
                // Not since its last answer: an elector that was not asked for an hour is no worse than another.
                let silent = asked.since(knock.silent_since.unwrap_or(asked));
                asked + if silent > pace.hope { pace.slow } else { pace.retry }
            }
            (None, Some(answered)) => answered + pace.period,
        }
    }

    /// Whether the newest request to `elector` is still unanswered.
    pub fn waits_for(&self, elector: u64) -> bool {
        self.electors.get(&elector).is_some_and(|knock| knock.asked > knock.answered)
    }

    /// Electors of which anything is known.
    pub fn len(&self) -> usize {
        self.electors.len()
    }

    /// Forgets electors that are no longer in the roster.
    pub fn keep(&mut self, known: impl Fn(u64) -> bool) {
        self.electors.retain(|elector, _| known(*elector));
    }
}

/// Requests that follow one another within this time are in a row.
const IN_A_ROW: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::ZoneBallot;

    const LENGTH: Duration = Duration::from_millis(1400);

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    fn five() -> Ballot {
        Ballot { votes: 5, needed: 3, electors: (1..=5).map(|e| (e, 1)).collect(), ..Ballot::default() }
    }

    #[test]
    fn a_majority_is_proven_as_of_its_oldest_needed_answer() {
        let mut lease = Lease::default();
        lease.answered(2, at(100));
        assert_eq!((lease.count(at(500), 1, &five(), LENGTH), lease.proof()), (2, None));
        lease.answered(3, at(300));
        lease.answered(4, at(200));
        assert_eq!(lease.count(at(500), 1, &five(), LENGTH), 4);
        assert_eq!(lease.proof().map(|p| p.as_of), Some(at(200)), "we, 3 and 4");
        lease.answered(4, at(150));
        lease.count(at(500), 1, &five(), LENGTH);
        assert_eq!(lease.proof().map(|p| p.as_of), Some(at(200)), "an answer that comes late proves no more");
    }

    #[test]
    fn answers_that_are_too_old_count_as_proof_of_then_and_not_as_present() {
        let mut lease = Lease::default();
        lease.answered(2, at(100));
        lease.answered(3, at(100));
        assert_eq!(lease.count(at(2000), 1, &five(), LENGTH), 1);
        assert_eq!(lease.proof().map(|p| p.as_of), Some(at(100)));
    }

    #[test]
    fn a_borrowed_proof_is_older_than_the_question_by_its_age() {
        let mut lease = Lease::default();
        lease.borrow(at(1000), Duration::from_millis(400), 3);
        lease.borrow(at(900), Duration::from_millis(100), 4);
        assert_eq!(lease.proof(), Some(Proof { as_of: at(800), present: 4 }));
        let mut young = Lease::default();
        young.borrow(at(100), Duration::from_millis(400), 3);
        assert_eq!(young.proof(), None, "from before our beginning");
    }

    #[test]
    fn votes_weigh_and_ours_counts_as_of_now() {
        let electors = vec![(1, 3), (2, 1), (3, 1)];
        let ballot = Ballot { votes: 5, needed: 3, electors, ..Ballot::default() };
        let mut lease = Lease::default();
        assert_eq!(lease.count(at(500), 1, &ballot, LENGTH), 3);
        assert_eq!(lease.proof().map(|p| p.as_of), Some(at(500)));
        let mut other = Lease::default();
        other.answered(3, at(400));
        assert_eq!((other.count(at(500), 2, &ballot, LENGTH), other.proof()), (2, None));
    }

    #[test]
    fn an_elector_that_was_not_asked_for_an_hour_is_asked_again_as_soon_as_any_other() {
        let ms = Duration::from_millis;
        let pace = RetryPolicy { period: ms(600), retry: ms(50), slow: ms(1000), hope: ms(2800) };
        let hour = 3_600_000;
        let mut lease = Lease::default();
        lease.asked(2, at(100));
        lease.answered(2, at(100));
        lease.asked(2, at(hour));
        assert_eq!(lease.due(2, pace), at(hour + 50), "one lost question");
        lease.asked(2, at(hour + 50));
        assert_eq!(lease.due(2, pace), at(hour + 100));
        lease.asked(2, at(hour + 2900));
        assert_eq!(lease.due(2, pace), at(hour + 3900), "silent for longer than two leases");
        lease.asked(2, at(2 * hour));
        assert_eq!(lease.due(2, pace), at(2 * hour + 50), "what was lost an hour ago begins no silence");
    }

    #[test]
    fn half_is_a_majority_only_as_of_an_answer_of_the_one_that_decides_a_tie() {
        let electors = (1..=4).map(|e| (e, 1)).collect();
        let ballot = Ballot { votes: 4, needed: 3, tie: Some(3), electors, ..Ballot::default() };
        let as_of = |answers: &[(u64, u64)]| {
            let mut lease = Lease::default();
            answers.iter().for_each(|(elector, ms)| lease.answered(*elector, at(*ms)));
            lease.count(at(500), 1, &ballot, LENGTH);
            lease.proof().map(|proof| proof.as_of)
        };
        assert_eq!(as_of(&[(2, 400)]), None, "half, without it");
        assert_eq!(as_of(&[(3, 200)]), Some(at(200)), "half, with it");
        assert_eq!(as_of(&[(2, 400), (3, 200)]), Some(at(200)), "the newest half lacks it");
        assert_eq!(as_of(&[(2, 200), (3, 400)]), Some(at(400)), "it need not wait for the third");
        assert_eq!(as_of(&[(2, 300), (4, 200), (3, 100)]), Some(at(200)), "three are enough without it");
    }

    #[test]
    fn by_zones_a_majority_is_proven_as_of_the_oldest_answer_that_most_zones_need() {
        let zone = |name: &str, votes| ZoneBallot::new(name.to_owned(), votes);
        let ballot = Ballot {
            votes: 7,
            needed: 2,
            electors: (1..=7).map(|e| (e, 1)).collect(),
            zones: vec![zone("east", 3), zone("north", 1), zone("west", 3)],
            zone_of: vec![0, 0, 0, 2, 2, 2, 1],
            ..Ballot::default()
        };
        let mut lease = Lease::default();
        for (elector, ms) in [(4, 450), (5, 440), (6, 430)] {
            lease.answered(elector, at(ms));
        }
        assert_eq!(lease.count(at(500), 1, &ballot, LENGTH), 1, "all of west, one of east");
        assert_eq!(lease.proof(), None, "four of seven votes are no majority of zones");
        assert_eq!(lease.zones(), [1, 0, 3]);
        lease.answered(2, at(200));
        assert_eq!(lease.count(at(500), 1, &ballot, LENGTH), 2);
        assert_eq!(lease.proof().map(|p| p.as_of), Some(at(200)));
        lease.answered(7, at(300));
        lease.count(at(500), 1, &ballot, LENGTH);
        assert_eq!(lease.proof().map(|p| p.as_of), Some(at(300)), "north and west, without east");
    }
}
