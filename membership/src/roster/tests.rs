//! How claims change the roster: who comes, who takes whose place, and who stays out.

use core::time::Duration;

use super::*;
use crate::roster::incarnation::Incarnation;
use crate::roster::standing::Marks;
use crate::testing::{Bench, address, claim, hash, incarnation, incarnation_at, value};

/// A later life of `n{i}`, begun by its own host.
fn later(i: usize, generation: u64) -> Incarnation {
    incarnation_at(i, generation, address(i))
}

/// A host of its own that wants the name of `n1`.
fn pretender(generation: u64) -> Incarnation {
    let held = later(1, generation);
    Incarnation::new(held.name.clone(), HostId(99), generation, address(99), held.schedule)
}

impl Bench {
    fn apply(&mut self, claim: Claim) -> Result<Change, Rejected> {
        self.roster.apply(self.now, claim, &self.core.config)
    }
}

#[test]
fn a_newcomer_is_taken_in_once() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.apply(claim(incarnation(1), None)), Ok(Change::New));
    assert_eq!(bench.apply(claim(incarnation(1), None)), Ok(Change::Same));
    assert_eq!((bench.roster.len(), bench.roster.census().alive), (2, 2));
    let unknown = Claim { incarnation: None, ..claim(incarnation(2), None) };
    assert_eq!(bench.apply(unknown), Ok(Change::Unknown), "marks alone bring in no member");
}

#[test]
fn a_later_life_clears_what_stood_against_the_earlier_one() {
    let mut bench = Bench::new(2);
    bench.mark(1, &Marks { down: Some(7), ..Marks::default() });
    assert_eq!(bench.member(1).standing(), Status::Down);
    assert_eq!(bench.apply(claim(later(1, 2), None)), Ok(Change::Restarted));
    assert_eq!(bench.member(1).standing(), Status::Alive);
    assert_eq!(bench.apply(claim(incarnation(1), None)), Ok(Change::Stale), "the past is corrected");
}

#[test]
fn a_member_that_moves_keeps_its_heartbeat_and_its_state() {
    let mut bench = Bench::new(1);
    bench.take_in(claim(incarnation(1), Some(value("tag/role", b"db"))));
    bench.hear(1, 7);
    let moved = bench.apply(claim(incarnation(1).moved(address(9)), None));
    assert_eq!(moved, Ok(Change::Moved { from: address(1) }));
    let member = bench.member(1);
    assert_eq!((member.heartbeat, member.state.version()), (7, 1));
    assert_eq!(member.incarnation.address(), address(9));
}

#[test]
fn a_name_is_not_given_to_another_host_while_its_holder_is_alive() {
    let mut bench = Bench::new(2);
    let refused = bench.apply(claim(pretender(5), None));
    assert!(matches!(refused, Err(Rejected::DuplicateName { newcomer: HostId(99), .. })), "{refused:?}");
    assert_eq!(bench.member(1).incarnation.host_id, HostId(1));
    bench.roster.set_status(bench.now, hash(1), Status::Down);
    assert_eq!(bench.apply(claim(pretender(5), None)), Ok(Change::Restarted));
    assert_eq!(bench.member(1).incarnation.host_id, HostId(99));
}

#[test]
fn a_suspect_keeps_its_name_for_half_a_minute() {
    let mut bench = Bench::new(2);
    bench.roster.set_status(bench.now, hash(1), Status::Suspect);
    bench.pass(NAME_KEPT - Duration::from_millis(1));
    assert!(bench.apply(claim(pretender(5), None)).is_err());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.apply(claim(pretender(5), None)), Ok(Change::Restarted));
}

#[test]
fn a_forgotten_life_stays_out_and_a_later_one_comes_in() {
    let mut bench = Bench::new(2);
    let forgotten = Claim { forgotten: true, ..claim(incarnation(1), None) };
    assert_eq!(bench.apply(forgotten.clone()), Ok(Change::Forgotten));
    assert_eq!(bench.apply(forgotten), Ok(Change::Same));
    assert_eq!(bench.roster.len(), 1);
    assert_eq!(bench.apply(claim(incarnation(1), None)), Ok(Change::Stale), "told by one that has not heard");
    assert_eq!(bench.apply(claim(later(1, 2), None)), Ok(Change::New));
}

#[test]
fn a_full_roster_takes_no_newcomer_and_later_lives_all_the_same() {
    let mut bench = Bench::of(0, 1..3, |config| config.max_members = 3);
    let refused = bench.apply(claim(incarnation(3), None));
    assert!(matches!(refused, Err(Rejected::Full { cap: 3, .. })), "{refused:?}");
    assert_eq!(bench.roster.len(), 3);
    assert_eq!(bench.apply(claim(later(2, 2), None)), Ok(Change::Restarted));
}
