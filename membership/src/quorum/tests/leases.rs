//! Leases and fences among a few members in virtual time: paths that fail and heal one by one, answers that come late
//! or twice, electors that restart, clocks that run up to 1 % off. No verdict is waited for. Each member that hears an
//! answer asks at once whether it proves another member's lease to have run out, and that member's own clock decides
//! whether it has.

use core::time::Duration;
use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Instant;
use crate::quorum::fence::NonGrantSpans;
use crate::quorum::{Acknowledged, Ballot, Lease, Majority, Quorum};

const LENGTH: Duration = Duration::from_millis(1400);
const MEMBERS: usize = 5;
/// How long one world lasts, in microseconds.
const END: u64 = 60_000_000;

struct Member {
    /// How fast its clock is, in millionths.
    ppm: i64,
    lease: Lease,
    majority: Majority,
    acknowledged: Acknowledged,
    silences: Vec<NonGrantSpans>,
    /// Requests that left before belong to an earlier incarnation.
    born: u64,
}

/// Events, each at a moment of true time in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Ask { who: usize, whom: usize },
    Question { who: usize, whom: usize, sent: u64 },
    Answer { who: usize, whom: usize, sent: u64, silent: Vec<Duration> },
    Turn { path: (usize, usize) },
    Restart { who: usize },
}

/// What happened in a world.
#[derive(Default)]
struct Told {
    held: u64,
    fenced: u64,
    /// Fences around a member that held a lease.
    lies: u64,
}

/// The rules that may be broken.
#[derive(Clone, Copy)]
struct Rules {
    ppm: i64,
    /// The length of a lease that observers count on.
    length: Duration,
    /// Whether electors vouch for no time before their start, as they must.
    floor: bool,
    /// Whether members lend one another their proofs, as they must not.
    lend: bool,
}

const RULES: Rules = Rules { ppm: 10_000, length: LENGTH, floor: true, lend: false };

fn local(ppm: i64, micros: u64) -> Instant {
    Instant::from_micros(micros.saturating_add_signed(micros.cast_signed() * ppm / 1_000_000))
}

/// Most datagrams are quick; some are under way for long.
fn delay(dice: &mut ChaCha8Rng) -> u64 {
    let most = if dice.random_bool(0.9) { 2_000 } else { 300_000 };
    dice.random_range(100..most)
}

fn play(seed: u64, rules: Rules) -> Told {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let ballot = Ballot {
        votes: 5,
        needed: 3,
        electors: (1..=MEMBERS as u64).map(|e| (e, 1)).collect(),
        ..Ballot::default()
    };
    let begin = |ppm, born: u64, floor| Member {
        ppm,
        lease: Lease::default(),
        majority: Majority::new(local(ppm, born), LENGTH),
        acknowledged: Acknowledged::new(if floor { local(ppm, born) } else { Instant::EPOCH }),
        silences: vec![NonGrantSpans::default(); MEMBERS],
        born,
    };
    // No question is about the time before the world.
    let mut members: Vec<Member> = (0..MEMBERS)
        .map(|m| begin([rules.ppm, -10_000, 0, dice.random_range(-10_000..=10_000), 10_000][m], 0, true))
        .collect();
    let mut up = [[true; MEMBERS]; MEMBERS];
    let mut queue = BTreeSet::new();
    let mut order = 0_u64;
    let mut push = |queue: &mut BTreeSet<_>, at: u64, what: Happening| {
        order += 1;
        queue.insert((at, order, what));
    };
    for who in 0..MEMBERS {
        push(&mut queue, 5_000_000 + 7_000_000 * who as u64, Happening::Restart { who });
        for whom in (0..MEMBERS).filter(|whom| *whom != who) {
            push(&mut queue, dice.random_range(0..500_000), Happening::Ask { who, whom });
            push(&mut queue, dice.random_range(0..9_000_000), Happening::Turn { path: (who, whom) });
        }
    }
    let mut told = Told::default();
    while let Some((now, _, what)) = queue.pop_first().filter(|(now, ..)| *now < END) {
        match what {
            Happening::Turn { path: (a, b) } => {
                up[a][b] = !up[a][b];
                let lasts = if up[a][b] { 9_000_000 } else { 4_000_000 };
                push(&mut queue, now + dice.random_range(0..lasts), what);
            }
            Happening::Restart { who } => {
                members[who] = begin(members[who].ppm, now, rules.floor);
                push(&mut queue, now + dice.random_range(0..30_000_000), what);
            }
            Happening::Ask { who, whom } => {
                let delay = delay(&mut dice);
                if up[who][whom] {
                    push(&mut queue, now + delay, Happening::Question { who, whom, sent: now });
                }
                push(&mut queue, now + dice.random_range(50_000..700_000), what);
            }
            Happening::Question { who, whom, sent } => {
                let elector = &mut members[whom];
                let at = local(elector.ppm, now);
                let acknowledged = &mut elector.acknowledged;
                let silent =
                    (1..=MEMBERS as u64).map(|about| at.since(acknowledged.none_since(about))).collect();
                acknowledged.note(who as u64 + 1, at);
                let delay = delay(&mut dice);
                if up[whom][who] {
                    push(&mut queue, now + delay, Happening::Answer { who, whom, sent, silent });
                }
            }
            Happening::Answer { who, whom, sent, silent } => {
                let lent =
                    members[whom].lease.proof().map(|proof| local(members[whom].ppm, now).since(proof.as_of));
                let member = &mut members[who];
                if sent < member.born {
                    continue;
                }
                let (at, sent) = (local(member.ppm, now), local(member.ppm, sent));
                // As the node does it: first what has run out, then what was heard.
                member.majority = member.majority.at(at);
                member.lease.answered(whom as u64 + 1, sent);
                if let Some(age) = lent.filter(|_| rules.lend) {
                    member.lease.borrow(sent, age, 0);
                }
                member.lease.count(at, who as u64 + 1, &ballot, LENGTH);
                let until = member.lease.proof().map(|proof| proof.as_of + LENGTH);
                member.majority.observe(at, until, LENGTH);
                told.held += u64::from(member.majority.quorum() == Quorum::Held);
                for (about, silent) in silent.into_iter().enumerate() {
                    member.silences[about].testify(whom as u64 + 1, sent, at, silent);
                }
                for subject in (0..MEMBERS).filter(|subject| *subject != who) {
                    let (observer, name) = (&members[who], subject as u64 + 1);
                    let own = (who as u64 + 1, observer.acknowledged.none_since(name));
                    if observer.silences[subject].prove(at, name, own, &ballot, rules.length) {
                        told.fenced += 1;
                        let subject = &members[subject];
                        let holds = subject.majority.at(local(subject.ppm, now)).quorum() == Quorum::Held;
                        told.lies += u64::from(holds);
                    }
                }
            }
        }
    }
    told
}

fn play_all(rules: Rules) -> Told {
    (0..WORLDS).map(|seed| play(seed, rules)).fold(Told::default(), |sum, told| Told {
        held: sum.held + told.held,
        fenced: sum.fenced + told.fenced,
        lies: sum.lies + told.lies,
    })
}

#[test]
fn a_member_that_holds_a_lease_is_never_proven_to_hold_none() {
    let told = play_all(RULES);
    assert!(told.held > 10_000 && told.fenced > 1_000, "{} {}", told.held, told.fenced);
    assert_eq!(told.lies, 0);
}

#[test]
fn each_of_the_rules_is_needed() {
    let lies = |rules| play_all(rules).lies;
    assert!(lies(Rules { ppm: -100_000, ..RULES }) > 0, "a clock that is ten times as slow as assumed");
    assert!(lies(Rules { length: LENGTH * 9 / 10, ..RULES }) > 0, "a silence shorter than the lease");
    assert!(lies(Rules { floor: false, ..RULES }) > 0, "an elector that speaks for its earlier life");
    assert!(lies(Rules { lend: true, ..RULES }) > 0, "proofs that are lent");
}

const WORLDS: u64 = 100;
