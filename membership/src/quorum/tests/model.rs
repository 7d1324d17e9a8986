//! Model checking: explores all that can happen to three members under the real rules, with time in ticks and an
//! adversary that cuts, heals and loses as it likes.
//!
//! In each tick each member asks each other one. The adversary cuts the three apart and heals them as it likes, and may
//! lose one request per tick, or one in each direction of a path; an uncut path does not lose two in a row. A member
//! that holds quorum calls down, alone, each member that it has not heard of for the whole patience (the real verdict
//! needs more). States are explored until no new one turns up.
//!
//! What is not promised is tried too: a cut that moves, from one shape straight to another, while a member is now on
//! this side and now on that one. With a fence even that does no harm: proofs are not lent, and a member that says
//! "fenced" has asked a majority, in the same tick, for how long it acknowledged nothing.

use core::time::Duration;
use std::collections::BTreeSet;

use crate::Instant;
use crate::quorum::{Ballot, Lease, Majority, Quorum};

const MEMBERS: usize = 3;
/// How long a proof is good, and must have been good, in ticks.
const LENGTH: u8 = 3;
/// Ages beyond this are all treated alike.
const OLD: u8 = LENGTH + 2;

/// The side of each member, for each cut.
const WHOLE: usize = 0;
const CUTS: [[u8; MEMBERS]; 5] = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 2]];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    cut: usize,
    /// For how many ticks the cut has not changed.
    steady: u8,
    /// By asking and asked member: ticks since the last request that was answered.
    asked: [[u8; MEMBERS]; MEMBERS],
    members: [Mind; MEMBERS],
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mind {
    quorum: Quorum,
    /// For how long there has been a proof.
    proven: Option<u8>,
    /// Age of the best proof, own or borrowed.
    proof: u8,
}

/// What the adversary does in a tick.
#[derive(Clone, Copy, Debug)]
struct Malice {
    cut: usize,
    /// The request that is lost, by asking and asked member, and whether the one in return is lost too.
    lose: Option<(usize, usize, bool)>,
}

fn now() -> Instant {
    Instant::EPOCH + ticks(100)
}

fn ticks(n: u8) -> Duration {
    Duration::from_millis(100) * u32::from(n)
}

fn older(age: u8) -> u8 {
    (age + 1).min(OLD)
}

impl State {
    fn start() -> Self {
        let mind = Mind { quorum: Quorum::Unsettled, proven: None, proof: OLD };
        Self {
            cut: 0,
            steady: 0,
            asked: [[OLD; MEMBERS]; MEMBERS],
            members: [mind.clone(), mind.clone(), mind],
        }
    }

    /// One tick; `None` if the malice is not allowed.
    fn step(&self, ballot: &Ballot, malice: Malice, lend: bool) -> Option<Self> {
        let mut next = self.clone();
        next.steady = if malice.cut == self.cut { older(self.steady) } else { 0 };
        next.cut = malice.cut;
        for (asks, side) in CUTS[malice.cut].iter().enumerate() {
            let mut lease = Lease::default();
            lease.borrow(now() - ticks(older(self.members[asks].proof)), Duration::ZERO, 0);
            for asked in (0..MEMBERS).filter(|asked| *asked != asks) {
                let apart = *side != CUTS[malice.cut][asked];
                let lost = malice
                    .lose
                    .is_some_and(|(a, b, both)| (a, b) == (asks, asked) || (both && (b, a) == (asks, asked)));
                if lost && (apart || self.asked[asks][asked] != 0) {
                    return None;
                }
                if apart || lost {
                    next.asked[asks][asked] = older(self.asked[asks][asked]);
                } else {
                    next.asked[asks][asked] = 0;
                    if lend {
                        lease.borrow(now(), ticks(older(self.members[asked].proof)), 0);
                    }
                }
                lease.answered(hash(asked), now() - ticks(next.asked[asks][asked]));
            }
            lease.count(now(), hash(asks), ballot, ticks(LENGTH));
            next.members[asks] = self.members[asks].observe(&lease);
        }
        Some(next)
    }

    /// Whether a member is fenced and holds quorum: a majority of electors that answer the asker have acknowledged
    /// nothing of it for `silence` ticks. An acknowledgement is an answer, so the silence is the age of the last
    /// answer.
    fn broken_fence(&self, ballot: &Ballot, silence: u8) -> Option<String> {
        let fenced = |asks: usize, subject: usize| {
            let answers = |e: usize| e == asks || self.asked[asks][e] == 0;
            let silent = |e: usize| e != subject && self.asked[subject][e] >= silence;
            let of = |e: usize| ballot.of(hash(e));
            (0..MEMBERS).filter(|e| answers(*e) && silent(*e)).map(of).sum::<u32>() >= ballot.needed
        };
        let holds = |m: usize| self.members[m].quorum == Quorum::Held;
        pairs()
            .find(|(asks, subject)| holds(*subject) && fenced(*asks, *subject))
            .map(|(asks, subject)| format!("{asks} says that {subject} is fenced, which holds quorum"))
    }

    /// The state that must not occur.
    fn violation(&self, patience: u8) -> Option<String> {
        let holds = |m: usize| self.members[m].quorum == Quorum::Held;
        for (judge, judged) in pairs() {
            let apart = CUTS[self.cut][judge] != CUTS[self.cut][judged];
            // The first request of the silence left one tick after the last answered one. Being asked counts as
            // hearing, too.
            let down = self.asked[judge][judged].min(self.asked[judged][judge]) > patience;
            if holds(judge) && holds(judged) && down {
                return Some(format!("{judge} calls {judged} down, and both hold quorum"));
            }
            if holds(judge) && holds(judged) && apart && self.steady >= LENGTH {
                return Some(format!("{judge} and {judged} hold quorum on two sides"));
            }
        }
        None
    }
}

impl Mind {
    /// Applies the real rules to the ages of this state.
    fn observe(&self, lease: &Lease) -> Self {
        let mut majority = Majority::new(now() - ticks(50), ticks(LENGTH));
        majority.quorum = self.quorum;
        majority.proven_since = self.proven.map(|age| now() - ticks(older(age)));
        let as_of = lease.proof().map_or(Instant::EPOCH, |proof| proof.as_of);
        let good = now().since(as_of) <= ticks(OLD);
        majority.observe(now(), good.then(|| as_of + ticks(LENGTH)), ticks(LENGTH));
        let age = |at: Instant| u8::try_from(now().since(at).as_millis() / 100).unwrap_or(OLD).min(OLD);
        Self {
            quorum: majority.quorum,
            proven: majority.proven_since.map(|at| age(at).min(LENGTH)),
            proof: age(as_of),
        }
    }
}

fn hash(member: usize) -> u64 {
    member as u64 + 1
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..MEMBERS).flat_map(|a| (0..MEMBERS).map(move |b| (a, b))).filter(|(a, b)| a != b)
}

/// All members borrow, and verdicts come after `patience`; cuts may move or not.
fn explore(votes: &[u32], patience: u8, moves: bool) -> Result<usize, String> {
    search(votes, true, moves, |state, _| state.violation(patience))
}

/// Fences after `silence`; cuts may move. With `lend`, against the rule, proofs are lent.
fn explore_fence(votes: &[u32], silence: u8, lend: bool) -> Result<usize, String> {
    search(votes, lend, true, |state, ballot| state.broken_fence(ballot, silence))
}

/// Visits all reachable states. Returns their number, or what is wrong in the first bad one.
fn search(
    votes: &[u32],
    lend: bool,
    moves: bool,
    wrong: impl Fn(&State, &Ballot) -> Option<String>,
) -> Result<usize, String> {
    let total: u32 = votes.iter().sum();
    let electors = (0..).map(hash).zip(votes.iter().copied()).filter(|(_, votes)| *votes > 0).collect();
    let ballot = Ballot { votes: total, needed: total / 2 + 1, electors, ..Ballot::default() };
    let one = pairs().map(|(a, b)| Some((a, b, false)));
    let both = pairs().filter(|(a, b)| a < b).map(|(a, b)| Some((a, b, true)));
    let loses: Vec<_> = core::iter::once(None).chain(one).chain(both).collect();
    let mut seen = BTreeSet::from([State::start()]);
    let mut open = vec![State::start()];
    while let Some(state) = open.pop() {
        for (cut, lose) in (0..CUTS.len()).flat_map(|cut| loses.iter().map(move |lose| (cut, *lose))) {
            let malice = Malice { cut, lose };
            if !moves && cut != state.cut && cut != WHOLE && state.cut != WHOLE {
                continue;
            }
            let Some(next) = state.step(&ballot, malice, lend) else { continue };
            if let Some(what) = wrong(&next, &ballot) {
                return Err(format!("{what}: {malice:?} in {state:?}"));
            }
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn three_voters_never_overlap_whatever_is_cut_and_lost() {
    let states = explore(&[1, 1, 1], LENGTH, false).unwrap();
    assert!(states > 1000, "{states}");
}

#[test]
fn proofs_that_are_lent_repeatedly_do_not_grow_younger() {
    // One voter; the others rely on what it lends, or on what they lend one another.
    let states = explore(&[1, 0, 0], LENGTH, false).unwrap();
    assert!(states > 1000, "{states}");
}

#[test]
fn weights_change_nothing_about_it() {
    let states = explore(&[3, 1, 1], LENGTH, false).unwrap();
    assert!(states > 1000, "{states}");
}

#[test]
fn a_verdict_one_tick_sooner_would_overlap() {
    for votes in [[1, 1, 1], [1, 0, 0]] {
        assert!(explore(&votes, LENGTH - 1, false).is_err_and(|what| what.contains("calls")), "{votes:?}");
    }
}

#[test]
fn no_fence_is_put_around_a_member_that_holds_quorum_even_when_cuts_move() {
    for votes in [[1, 1, 1], [1, 0, 0], [2, 1, 1]] {
        let states = explore_fence(&votes, LENGTH, false).unwrap();
        assert!(states > 1000, "{votes:?}: {states}");
    }
}

#[test]
fn a_fence_after_a_shorter_silence_or_with_borrowed_proofs_would_be_wrong() {
    assert!(explore_fence(&[1, 1, 1], LENGTH - 1, false).is_err_and(|what| what.contains("fenced")));
    // One voter, and a member without a vote that lends what it was lent.
    assert!(explore_fence(&[1, 0, 0], LENGTH, true).is_err_and(|what| what.contains("fenced")));
}

#[test]
fn a_cut_that_moves_is_beyond_the_promise() {
    // The third is first with the first, then with the second: each has a majority with it, and neither hears the
    // other.
    assert!(explore(&[1, 1, 1], LENGTH, true).is_err_and(|what| what.contains("calls")));
}
