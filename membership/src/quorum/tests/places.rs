//! More members run than were stated: do two sides of a cut ever both have enough of the places?
//!
//! Random worlds. Members join, stop and restart, with wall clocks that are off; one cut at a time divides them. News
//! reaches all on one side within half a second, the loss of a member is noticed within seven. Each member gives the
//! places by its own view. A tick is half a second. A member that starts is told what one other knows, and the last that
//! runs on a side stays: a side without memory is one that was started apart, of which nothing is promised.

use core::time::Duration;
use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::Instant;
use crate::quorum::places::{Candidate, Places};

/// How places are given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// As shipped.
    Places,
    /// By the start of the run alone.
    Order,
    /// By the order in which the member heard of them.
    Arrival,
    /// Only members that are not silent have places.
    Living,
}

const PAUSE: Duration = Duration::from_secs(2);
/// Longest time until the loss of a member is noticed, and until a member may hold quorum after its start.
const NOTICED: u64 = 14;
const SETTLED: u64 = 4;

struct Member {
    running: bool,
    side: u8,
    generation: u64,
    started: u64,
    places: Places,
    /// Generation of each member that it knows, whether it is alive, and when it was heard of.
    view: BTreeMap<u64, (u64, bool, u64)>,
    electors: Vec<u64>,
    again: Instant,
    shown: Vec<(u64, u64, bool)>,
}

struct World {
    rng: SmallRng,
    tick: u64,
    expected: usize,
    rule: Rule,
    members: Vec<Member>,
    cut: bool,
    changed: u64,
}

impl World {
    fn new(seed: u64, rule: Rule) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let expected = [3, 3, 4, 5][rng.random_range(0..4)];
        let mut world =
            Self { rng, tick: 100, expected, rule, members: Vec::new(), cut: false, changed: 100 };
        for _ in 0..expected {
            world.start();
        }
        // All that were stated are known to all before anything happens.
        let all: BTreeMap<u64, _> =
            (0_u64..).zip(&world.members).map(|(i, m)| (i, (m.generation, true, 0))).collect();
        for member in &mut world.members {
            (member.view, member.started) = (all.clone(), 0);
        }
        world
    }

    /// Wall clocks are off by up to a minute.
    fn now_by_some_clock(&mut self) -> u64 {
        self.tick + self.rng.random_range(0..240)
    }

    fn start(&mut self) {
        let (generation, started) = (self.now_by_some_clock(), self.tick);
        let side = self.rng.random_range(0..2);
        self.members.push(Member {
            running: true,
            side,
            generation,
            started,
            places: Places::default(),
            view: BTreeMap::new(),
            electors: Vec::new(),
            again: Instant::EPOCH,
            shown: Vec::new(),
        });
    }

    /// A running member that `who` is together with.
    fn other(&mut self, who: usize) -> Option<usize> {
        let there = |o: &usize| *o != who && self.members[*o].running && self.together(who, *o);
        let others: Vec<usize> = (0..self.members.len()).filter(there).collect();
        (!others.is_empty()).then(|| others[self.rng.random_range(0..others.len())])
    }

    /// A new member comes, if there is a member on its side to tell it of the others.
    fn join(&mut self) {
        self.start();
        let who = self.members.len() - 1;
        match self.other(who) {
            Some(other) => self.be_told(who, other),
            None => drop(self.members.pop()),
        }
    }

    /// When members came, others do not tell.
    fn be_told(&mut self, who: usize, other: usize) {
        let told = self.members[other].view.iter();
        let heard = |(hash, (generation, alive, _)): (&u64, &(u64, bool, u64))| {
            (*hash, (*generation, *alive, self.tick))
        };
        self.members[who].view = told.map(heard).collect();
    }

    fn restart(&mut self, who: usize) {
        let Some(other) = self.other(who) else { return };
        let generation = self.now_by_some_clock().max(self.members[who].generation + 1);
        let member = &mut self.members[who];
        (member.running, member.generation, member.started) = (true, generation, self.tick);
        (member.places, member.electors, member.shown) = (Places::default(), Vec::new(), Vec::new());
        self.be_told(who, other);
    }

    fn stop(&mut self, who: usize) {
        let last = self.other(who).is_none();
        self.members[who].running &= last;
    }

    fn together(&self, a: usize, b: usize) -> bool {
        !self.cut || self.members[a].side == self.members[b].side
    }

    /// What `who` can learn of `subject`: from itself, or from the others on its side.
    fn truth(&self, who: usize, subject: usize) -> Option<(u64, bool)> {
        let of = &self.members[subject];
        if of.running && self.together(who, subject) {
            return Some((of.generation, true));
        }
        let others = (0..self.members.len()).filter(|o| self.members[*o].running && self.together(who, *o));
        let told = others.filter_map(|o| self.members[o].view.get(&(subject as u64)));
        told.map(|(generation, ..)| *generation).max().map(|generation| (generation, false))
    }

    fn learn(&mut self) {
        for who in 0..self.members.len() {
            for subject in 0..self.members.len() {
                if !self.members[who].running {
                    continue;
                }
                let Some((generation, alive)) = self.truth(who, subject) else { continue };
                let known = self.members[who].view.get(&(subject as u64)).copied();
                // What has changed a tick ago is known; a loss takes longer.
                let old = self.tick - self.changed.max(self.members[subject].started) > 1;
                let late = self.tick - self.changed >= NOTICED;
                let learns = match known {
                    None => who == subject || old || self.rng.random_bool(0.5),
                    Some((known, was, _)) if known < generation || alive && !was => {
                        who == subject || old || self.rng.random_bool(0.5)
                    }
                    Some((_, was, _)) => was && !alive && (late || self.rng.random_bool(0.1)),
                };
                if learns {
                    let since = known.map_or(self.tick, |(.., since)| since);
                    self.members[who].view.insert(subject as u64, (generation, alive, since));
                }
            }
        }
    }

    fn give(&mut self) {
        let stated = self.expected;
        let votes = u32::try_from(stated).unwrap();
        let now = Instant::EPOCH + Duration::from_millis(500 * self.tick);
        for member in self.members.iter_mut().filter(|m| m.running) {
            let shown: Vec<(u64, u64, bool)> = member
                .view
                .iter()
                .map(|(hash, (generation, alive, _))| (*hash, *generation, *alive))
                .collect();
            if self.rule == Rule::Places {
                if shown != member.shown || now >= member.again {
                    let candidate =
                        |&(hash, generation, alive)| Candidate { hash, votes: 1, zone: 0, generation, alive };
                    let candidates: Vec<Candidate> = shown.iter().map(candidate).collect();
                    let (seats, again) = member.places.give(now, &candidates, &[votes], PAUSE);
                    member.electors = seats.electors.iter().map(|(hash, ..)| *hash).collect();
                    (member.shown, member.again) = (shown, again);
                }
                continue;
            }
            let mut order: Vec<(u64, u64)> = member
                .view
                .iter()
                .filter(|(_, (_, alive, _))| *alive || self.rule != Rule::Living)
                .map(|(hash, (generation, _, since))| {
                    // Of those that a newcomer hears of at once, any is the first.
                    (if self.rule == Rule::Arrival { *since } else { *generation }, u64::MAX - *hash)
                })
                .collect();
            order.sort_unstable();
            member.electors = order.into_iter().map(|(_, hash)| u64::MAX - hash).take(stated).collect();
        }
    }

    /// Whether a member on this side counts enough electors that are there and acknowledge it.
    fn has_enough(&self, side: u8) -> bool {
        let here = |who: usize| self.members[who].running && self.members[who].side == side;
        (0..self.members.len()).filter(|who| here(*who)).any(|who| {
            let member = &self.members[who];
            let counts = |elector: &&u64| {
                let (index, known) = (usize::try_from(**elector).unwrap(), member.view.get(*elector));
                here(index) && known.is_some_and(|(life, ..)| *life == self.members[index].generation)
            };
            let votes = member.electors.iter().filter(counts).count();
            self.tick - member.started >= SETTLED && votes > self.expected / 2
        })
    }

    fn step(&mut self) {
        self.tick += 1;
        let whole_for = self.tick - self.changed;
        if self.cut && self.rng.random_bool(0.02) || !self.cut && whole_for > 2 && self.rng.random_bool(0.05)
        {
            (self.cut, self.changed) = (!self.cut, self.tick);
            for member in 0..self.members.len() {
                self.members[member].side = self.rng.random_range(0..2);
            }
        }
        let who = self.rng.random_range(0..self.members.len());
        match self.rng.random_range(0..60) {
            0 if self.members.len() < self.expected + 3 => self.join(),
            1 => self.restart(who),
            2 => self.stop(who),
            _ => {}
        }
        self.learn();
        self.give();
    }
}

/// Whether two sides both had enough in this world.
fn breaks(seed: u64, rule: Rule) -> bool {
    let mut world = World::new(seed, rule);
    (0..400).any(|_| {
        world.step();
        world.cut && world.has_enough(0) && world.has_enough(1)
    })
}

#[test]
fn of_more_members_than_stated_two_sides_never_both_have_enough() {
    let broken: Vec<u64> = (0..3000).filter(|seed| breaks(*seed, Rule::Places)).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn each_simpler_rule_lets_two_sides_have_enough() {
    for (rule, what) in [(Rule::Order, "order"), (Rule::Arrival, "arrival"), (Rule::Living, "living")] {
        let broken = (0..3000).filter(|seed| breaks(*seed, rule)).count();
        println!("{what}: {broken} of 3000");
        assert!(broken > 0, "{what}");
    }
}
