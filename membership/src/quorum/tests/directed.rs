//! The real lease of five members, in step with the specification, through all cuts of directed links.
//!
//! Wherever [`heartsay_spec::cuts::one_at_a_time`] goes, the real rules go too: whatever directed links die, for how long
//! and how often, each member's proof is as old as specified, and it holds quorum exactly when it should.

use core::time::Duration;
use std::collections::BTreeSet;

use heartsay_spec::lease::{Member, Rules, State};
use heartsay_spec::links::{Effect, bit, effects};

use crate::Instant;
use crate::quorum::{Ballot, Lease, Majority, Quorum};

const MEMBERS: usize = 5;

/// One member under the real rules.
#[derive(Clone)]
struct Real {
    lease: Lease,
    majority: Majority,
}

/// All members at one moment.
#[derive(Clone)]
struct World {
    now: Instant,
    members: Vec<Real>,
    specified: State<MEMBERS>,
}

fn ticks(n: u8) -> Duration {
    Duration::from_millis(100) * u32::from(n)
}

fn hash(member: usize) -> u64 {
    member as u64 + 1
}

impl World {
    /// All in contact, with this much of quorum.
    fn whole(members: [Member; MEMBERS]) -> Self {
        let now = Instant::EPOCH + ticks(100);
        let real = |(at, member): (usize, &Member)| {
            let mut majority = Majority::new(now - ticks(50), ticks(RULES.settle));
            majority.quorum = if member.held { Quorum::Held } else { Quorum::Lost };
            majority.proven_since = member.proven.checked_sub(1).map(|age| now - ticks(age));
            let mut lease = Lease::default();
            (0..MEMBERS).filter(|other| *other != at).for_each(|other| lease.answered(hash(other), now));
            Real { lease, majority }
        };
        Self {
            now,
            members: members.iter().enumerate().map(real).collect(),
            specified: State::whole(members),
        }
    }

    /// One tick of both. All members ask one another, and borrow what those that answer have.
    fn step(&mut self, ballot: &Ballot, links: &Effect<MEMBERS>) {
        self.now += ticks(1);
        let now = self.now;
        self.specified = self.specified.step(&RULES, links);
        let hears = |asks: usize| (0..MEMBERS).filter(move |m| *m != asks && bit(links.two_way[asks], *m));
        for (asks, member) in self.members.iter_mut().enumerate() {
            hears(asks).for_each(|asked| member.lease.answered(hash(asked), now));
            member.lease.count(now, hash(asks), ballot, ticks(RULES.lease));
        }
        // A loan may be lent again at once, by as many as there are.
        for (asks, lender) in
            (1..MEMBERS).flat_map(|_| 0..MEMBERS).flat_map(|a| hears(a).map(move |l| (a, l)))
        {
            if let Some(proof) = self.members[lender].lease.proof() {
                self.members[asks].lease.borrow(now, now.since(proof.as_of), proof.present);
            }
        }
        for member in &mut self.members {
            let until = member.lease.proof().map(|proof| proof.as_of + ticks(RULES.lease));
            member.majority.observe(now, until, ticks(RULES.settle));
        }
    }

    /// Whether each member says what is specified.
    fn agrees(&self) -> bool {
        self.members.iter().zip(&self.specified.members).all(|(real, specified)| {
            let age = real.lease.proof().map(|proof| self.now.since(proof.as_of));
            // From the length of a lease on, ages make no difference.
            let proof = if specified.proof < RULES.lease {
                age == Some(ticks(specified.proof))
            } else {
                age.is_none_or(|age| age >= ticks(RULES.lease))
            };
            proof && (real.majority.quorum() == Quorum::Held) == specified.held
        })
    }
}

#[test]
fn the_real_lease_of_five_members_does_what_is_specified_whatever_directed_links_are_cut() {
    let electors = (0..MEMBERS).map(|m| (hash(m), 1)).collect();
    let ballot = Ballot { votes: 5, needed: 3, electors, ..Ballot::default() };
    let effects = effects::<MEMBERS>();
    let start = [Member { proof: 0, proven: 1, held: false }; MEMBERS];
    let (mut seen, mut open) = (BTreeSet::from([start]), vec![start]);
    let mut steps = 0_u32;
    let whole = |state: &State<MEMBERS>| {
        let mut members = state.step(&RULES, &Effect::WHOLE).members;
        members.sort_unstable();
        members
    };
    while let Some(members) = open.pop() {
        let mut next = BTreeSet::from([whole(&State::whole(members))]);
        for (links, _) in &effects {
            let mut world = World::whole(members);
            // Longer than a proof lasts, and than it takes to hold quorum: then nothing changes any more.
            for _ in 0..=RULES.lease + RULES.settle {
                world.step(&ballot, links);
                steps += 1;
                assert!(world.agrees(), "{members:?} {links:?}: {:?}", world.specified);
                next.insert(whole(&world.specified));
            }
        }
        open.extend(next.into_iter().filter(|members| seen.insert(*members)));
    }
    // All links whole: all hold quorum, or all, two or one do not and have had a proof for one or two ticks.
    assert_eq!((seen.len(), steps), (7, 365_750));
}

/// Clocks are exact here: the tests of the specification are about the others.
const RULES: Rules<MEMBERS> = Rules {
    votes: [1; MEMBERS],
    needed: 3,
    lease: 2,
    slow: 0,
    settle: 2,
    patience: 3,
    fast: 0,
    lull: 1,
    bound: true,
    aged: true,
    holds: true,
    silent: true,
    heeds: true,
};
