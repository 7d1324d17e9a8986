//! Worlds that are broken on purpose, from inside: the checkers must see it.

#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use core::time::Duration;
use std::sync::Arc;

use heartsay_membership::{Electorate, Event, HostId, Identity, Instant, Node, Status};

use super::World;
use crate::models::{Machine, Model, Part, Stage};
use crate::oracle::Belief;
use crate::scenario::{load, parse, source};
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

/// Three of four members that vote are sure of one another, and the view of one is changed behind its back at 20 s.
fn with_view_of_n0(belief: Belief, about: usize, second: u64) -> World {
    let sets = ["nodes=4", "duration=60s", "protocol.expected=all"].map(str::to_owned);
    let scenario = load("quiet", &sets).expect("shipped");
    let mut world = World::new(&scenario, SEED, Trace::new(None)).expect("sound");
    until(&mut world, 20);
    assert_eq!(world.judge.violations().count, 0, "{:?}", world.judge.violations());
    world.board.set(world.now, 0, about, belief);
    until(&mut world, second);
    world
}

fn told(world: &World) -> Vec<&str> {
    let told = world.judge.violations().first.iter().filter(|v| v.rule == "one-cut");
    told.map(|v| v.what.as_str()).collect()
}

#[test]
fn a_holder_that_has_another_for_down_is_seen() {
    let world = with_view_of_n0(Belief::Is(Status::Down), 2, 21);
    let told = told(&world);
    assert!(told[0].contains("n0 and n2 hold quorum, and n0 has n2 for down"), "seed {SEED}: {told:?}");
}

#[test]
fn a_holder_that_does_not_know_another_is_seen() {
    let world = with_view_of_n0(Belief::Unknown, 1, 21);
    let told = told(&world);
    assert!(told[0].contains("n0 does not know n1 as a member"), "seed {SEED}: {told:?}");
}

#[test]
fn holders_that_differ_about_a_third_are_seen_once_the_bound_has_passed() {
    let sets = ["nodes=4", "duration=60s", "protocol.expected=all"].map(str::to_owned);
    let text =
        format!("{}\n[[fault]]\nat='20s'\nwhat='vanish'\nwho='n3'\n", source("quiet").expect("shipped"));
    let scenario = parse(&text, &sets).expect("sound");
    let mut world = World::new(&scenario, SEED, Trace::new(None)).expect("sound");
    until(&mut world, 22);
    world.board.set(world.now, 0, 3, Belief::Is(Status::Alive));
    world.board.set(world.now, 1, 3, Belief::Is(Status::Down));
    until(&mut world, 23);
    assert_eq!(told(&world), [""; 0], "3.5 s are allowed");
    world.board.set(world.now, 0, 3, Belief::Is(Status::Alive));
    world.board.set(world.now, 1, 3, Belief::Is(Status::Down));
    until(&mut world, 24);
    let told = told(&world);
    assert!(
        told[0].starts_with("3.500 s after the last change n0 and n1 hold quorum, and only n0 has n3"),
        "{told:?}"
    );
}

#[test]
fn holders_that_let_a_member_in_too_late_are_seen() {
    let told_after = |ms: u64| {
        let mut world = with_view_of_n0(Belief::Is(Status::Alive), 2, 20);
        let at = world.now;
        for observer in 0..4 {
            world.board.set(at, observer, 3, Belief::Is(Status::Down));
        }
        world.board.set(at, 0, 3, Belief::Is(Status::Alive));
        world.meter.rosters().expect("all vote").lets_in(at, 0, 3);
        world.now = at + Duration::from_millis(ms);
        world.compare();
        told(&world).len()
    };
    assert_eq!(told_after(499), 0, "seed {SEED}: news takes half a second");
    assert_eq!(told_after(500), 1, "seed {SEED}");
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

/// Four members that vote and have tags; n1 tells lies that nobody believes. At 20 s `breaks` something behind their backs.
fn lied_to(breaks: impl FnOnce(&mut World)) -> World {
    let sets = ["nodes=4", "duration=60s", "protocol.expected=all", "start.state=100", "check.one-cut=false"];
    let lie = "[[fault]]\nat='5s'\nwhat='lie'\nwho='n1'\nlies=['cookie']\n";
    let text = format!("{}\n{lie}", source("quiet").expect("shipped"));
    let scenario = parse(&text, &sets.map(str::to_owned)).expect("sound");
    let mut world = World::new(&scenario, SEED, Trace::new(None)).expect("sound");
    until(&mut world, 20);
    assert_eq!(world.judge.violations().count, 0, "{:?}", world.judge.violations());
    breaks(&mut world);
    until(&mut world, 24);
    world
}

fn broke(world: &World, rule: &str) -> bool {
    world.judge.violations().broke(rule)
}

#[test]
fn a_healthy_member_that_is_held_for_down_or_gone_is_seen() {
    for (belief, rule) in [
        (Belief::Is(Status::Down), "lied-down"),
        (Belief::Is(Status::Left), "lied-away"),
        (Belief::Unknown, "lied-away"),
    ] {
        let world = lied_to(|world| world.board.set(world.now, 0, 2, belief));
        assert!(broke(&world, rule), "seed {SEED}: {:?}", world.judge.violations());
        let about_the_liar = lied_to(|world| world.board.set(world.now, 0, 1, belief));
        assert!(!broke(&about_the_liar, rule), "what becomes of the liar is no harm");
        let short = lied_to(|world| {
            world.board.set(world.now, 0, 2, belief);
            until(world, 21);
            world.board.set(world.now, 0, 2, Belief::Is(Status::Alive));
        });
        assert!(!broke(&short, rule), "a second is allowed");
    }
}

#[test]
fn a_dead_member_that_is_held_for_alive_is_seen() {
    let dead = |shown: bool| {
        let mut world = lied_to(|world| world.stop(2, true));
        if shown {
            world.board.set(world.now, 0, 2, Belief::Is(Status::Alive));
        }
        until(&mut world, 40);
        broke(&world, "lied-alive")
    };
    assert!(dead(true) && !dead(false));
}

#[test]
fn a_life_that_was_never_lived_is_seen() {
    let world = lied_to(|world| world.hosts[2].host_id = HostId(7));
    assert!(broke(&world, "impersonated"), "seed {SEED}: {:?}", world.judge.violations());
}

#[test]
fn a_state_above_that_of_its_owner_and_quorum_that_is_gone_are_seen() {
    let world = lied_to(|world| {
        // A process without tags in the place of the true one: it has nothing to say, and holds no quorum yet.
        let host = &mut world.hosts[2];
        let identity = Identity {
            name: host.name.clone(),
            host_id: host.host_id,
            generation: host.stored,
            address: host.address,
            state: Vec::new(),
        };
        let node = Node::new(identity, Arc::clone(&world.config), SEED, Instant::EPOCH).expect("sound");
        host.process.as_mut().expect("runs").node = Machine::Real(Box::new(node));
        host.paused = 1;
    });
    for rule in ["state-invented", "quorum-taken"] {
        assert!(broke(&world, rule), "{rule}, seed {SEED}: {:?}", world.judge.violations());
    }
}

#[test]
fn quorum_without_a_majority_in_reach_is_seen() {
    let world = lied_to(|world| {
        let electorate = Some(Electorate::expected(100));
        world.config = Arc::new(heartsay_membership::Config { electorate, ..(*world.config).clone() });
    });
    assert!(broke(&world, "quorum-lent"), "seed {SEED}: {:?}", world.judge.violations());
}

#[test]
fn a_member_that_gives_way_and_a_roster_beyond_its_cap_are_seen() {
    let world = lied_to(|world| {
        let (holder, address) = (HostId(7), world.hosts[2].address);
        world.note(2, Event::NameRefused { holder, address, generation: 1 });
    });
    assert!(broke(&world, "driven-out"), "seed {SEED}: {:?}", world.judge.violations());
    let world = lied_to(|world| world.harm.most_members = 3);
    assert!(broke(&world, "overgrown"), "seed {SEED}: {:?}", world.judge.violations());
}
