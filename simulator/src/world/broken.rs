//! Worlds that are broken on purpose, from inside: the checkers must see it.

#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use core::time::Duration;

use heartsay_membership::Instant;

use super::World;
use crate::models::{Machine, Model, Part, Stage};
use crate::oracle::Belief;
use crate::scenario::load;
use crate::trace::Trace;

const SEED: u64 = 1;

fn world() -> World {
    let sets = ["nodes=4".to_owned(), "duration=30s".to_owned()];
    let scenario = load("quiet", &sets).expect("shipped");
    World::new(&scenario, SEED, Trace::new(None)).expect("sound")
}

/// Lets the world go on until `second`.
fn until(world: &mut World, second: u64) {
    while world.queue.next_at().is_some_and(|at| at <= Instant::from_micros(second * 1_000_000)) {
        let (at, happening) = world.queue.pop().expect("just seen");
        world.now = at;
        world.step(happening);
    }
}

#[test]
fn a_table_that_holds_what_no_event_told_is_seen() {
    let mut world = world();
    until(&mut world, 10);
    assert_eq!(world.judge.violations().count, 0, "{:?}", world.judge.violations());
    // As if the machine had never told that it knows n2.
    world.board.set(world.now, 0, 2, Belief::Unknown);
    until(&mut world, 12);
    assert!(
        world.judge.violations().broke("view-without-event"),
        "seed {SEED}: {:?}",
        world.judge.violations()
    );
}

/// Always wants to be woken at once, and never does anything.
struct Restless;

impl Model for Restless {
    fn begin(&mut self, _: Instant, _: &mut Stage) {}
    fn datagram(&mut self, _: Instant, _: usize, _: &[u8], _: &mut Stage) {}
    fn timeout(&mut self, _: Instant, _: &mut Stage) {}
    fn wants(&self) -> Instant {
        Instant::EPOCH
    }
}

/// Says a word to another, and answers every datagram with two.
struct Chatty(usize);

impl Model for Chatty {
    fn begin(&mut self, _: Instant, stage: &mut Stage) {
        stage.send(self.0, vec![0].into());
    }
    fn datagram(&mut self, _: Instant, from: usize, bytes: &[u8], stage: &mut Stage) {
        stage.send(from, bytes.to_vec().into());
        stage.send(from, bytes.to_vec().into());
    }
    fn timeout(&mut self, _: Instant, _: &mut Stage) {}
    fn wants(&self) -> Instant {
        Instant::NEVER
    }
}

#[test]
fn members_that_answer_answers_without_end_are_seen_and_the_run_ends() {
    let mut world = world();
    until(&mut world, 10);
    for (me, other) in [(1, 2), (2, 1)] {
        let part = Part { me, nodes: 4, settle: Duration::ZERO, pause: Duration::ZERO };
        let process = world.hosts[me].process.as_mut().expect("runs");
        process.node = Machine::playing(Box::new(Chatty(other)), part, Instant::EPOCH);
    }
    let ended = world.run(&|_| {});
    assert!(ended.violations.broke("storm"), "seed {SEED}: {:?}", ended.violations);
}

#[test]
fn a_machine_that_wakes_without_end_is_seen_and_does_not_hang_the_world() {
    let mut world = world();
    until(&mut world, 10);
    let part = Part { me: 1, nodes: 4, settle: Duration::ZERO, pause: Duration::ZERO };
    let process = world.hosts[1].process.as_mut().expect("runs");
    process.node = Machine::playing(Box::new(Restless), part, Instant::EPOCH);
    until(&mut world, 12);
    assert!(world.judge.violations().broke("spins"), "seed {SEED}: {:?}", world.judge.violations());
}
