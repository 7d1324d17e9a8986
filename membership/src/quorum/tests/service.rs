//! The quorum service alone: a core, a roster, and answers handed in by the test.

use core::time::Duration;

use heartsay_proto::gossip;

use crate::quorum::{Context, Effect, Electorate, Quorum, QuorumService, QuorumStatus};
use crate::roster::member::ZONE;
use crate::testing::{Bench, address, claim, hash, incarnation, incarnation_at, value};
use crate::transport::requests::{Request, RequestKind};

/// A service with its surroundings: `n0`, itself, among `n1`, `n2`, ….
struct World {
    bench: Bench,
    service: QuorumService,
    told_out: bool,
}

impl World {
    fn new(members: usize, expected: u32) -> Self {
        let electorate = Some(Electorate::expected(expected));
        let bench = Bench::of(0, 1..members, |config| config.electorate = electorate);
        let service = QuorumService::new(bench.now, &bench.core.config);
        let mut world = Self { bench, service, told_out: false };
        world.call(QuorumService::count);
        world
    }

    /// With an electorate by zones; these others say their zones.
    fn by_zones(electorate: &str, others: &[(usize, &str)]) -> Self {
        let electorate = Some(electorate.parse().unwrap());
        let mut bench = Bench::of(0, [], |config| config.electorate = electorate);
        for (other, zone) in others {
            bench.take_in(claim(incarnation(*other), Some(value(ZONE, zone.as_bytes()))));
        }
        let service = QuorumService::new(bench.now, &bench.core.config);
        let mut world = Self { bench, service, told_out: false };
        world.call(QuorumService::count);
        world
    }

    /// Another member comes, and started after all others.
    fn come(&mut self, i: usize) {
        self.bench.take_in(claim(incarnation_at(i, 2, address(i)), None));
        self.call(QuorumService::count);
    }

    /// Calls the service, and returns its effects.
    fn call(&mut self, call: impl FnOnce(&mut QuorumService, &Context<'_>)) -> Vec<Effect> {
        let context = Context {
            now: self.bench.now,
            core: &self.bench.core,
            roster: &self.bench.roster,
            leaving: false,
            told_out: self.told_out,
            outside: self.told_out.then(|| "somebody else has our name".to_owned()),
        };
        call(&mut self.service, &context);
        self.service.take_effects()
    }

    /// These members answer what was asked a moment ago, with the mark of their electorate.
    fn answer(&mut self, who: &[usize], mark: u32) -> Vec<Effect> {
        let sent = self.bench.now;
        self.bench.pass(Duration::from_millis(1));
        let lease = Some(gossip::Lease { electorate: mark, present: 1, ..gossip::Lease::default() });
        let packet = gossip::Packet { lease, ..gossip::Packet::default() };
        let mut effects = Vec::new();
        for i in who {
            let (elector, kind) = (hash(*i), RequestKind::Lease);
            let request = Request { subject: Some(elector), to: address(*i), sent, deadline: sent, kind };
            effects.extend(
                self.call(|service, context| service.hear_answer(context, elector, &request, &packet)),
            );
        }
        effects
    }

    /// The members that are asked now.
    fn ask(&mut self) -> Vec<u64> {
        let effects = self.call(QuorumService::renew);
        effects
            .iter()
            .filter_map(|e| if let Effect::Ask(question) = e { Some(question.to) } else { None })
            .collect()
    }

    fn mark(&mut self) -> u32 {
        let mut mark = 0;
        self.call(|service, context| mark = service.say_lease(context).unwrap().electorate);
        mark
    }

    fn status(&mut self) -> QuorumStatus {
        let mut status = None;
        self.call(|service, context| status = Some(service.status(context)));
        status.unwrap()
    }

    fn quorum(&mut self) -> (Quorum, String) {
        let status = self.status();
        (status.quorum, status.reason)
    }

    /// Answers of two of three, for longer than the settling time.
    fn settle(&mut self) -> Vec<Effect> {
        let mark = self.mark();
        let mut effects = Vec::new();
        for _ in 0..40 {
            self.bench.pass(Duration::from_millis(100));
            effects.extend(self.answer(&[1], mark));
        }
        effects
    }
}

#[test]
fn it_asks_a_majority_and_holds_once_that_has_answered_for_the_settling_time() {
    let mut world = World::new(3, 3);
    assert_eq!(world.ask().len(), 1, "itself it need not ask");
    assert_eq!(world.quorum().0, Quorum::Unsettled);
    let effects = world.settle();
    assert_eq!(world.quorum().0, Quorum::Held);
    let told: Vec<Quorum> = effects
        .iter()
        .filter_map(|effect| if let Effect::Changed(status) = effect { Some(status.quorum) } else { None })
        .collect();
    assert_eq!(told, [Quorum::Held], "told once");
}

#[test]
fn it_is_lost_when_the_proof_runs_out_and_says_so_in_the_record() {
    let mut world = World::new(3, 3);
    world.settle();
    world.bench.pass(world.bench.core.config.lease());
    let effects = world.call(QuorumService::judge);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Changed(status) if status.quorum == Quorum::Lost))
    );
    let (quorum, reason) = world.quorum();
    assert_eq!(quorum, Quorum::Lost);
    assert_eq!(reason, "only 1 of 3 expected votes hear us, 2 are needed");
}

#[test]
fn with_a_majority_in_contact_again_the_record_says_that_it_settles() {
    let mut world = World::new(3, 3);
    world.settle();
    world.bench.pass(world.bench.core.config.lease());
    world.call(QuorumService::judge);
    let told: Vec<bool> = (world.settle().iter())
        .filter_map(|effect| if let Effect::Proven(proven) = effect { Some(*proven) } else { None })
        .collect();
    assert_eq!(told, [true], "once, and not when it is held");
}

#[test]
fn a_search_for_a_lender_widens_and_begins_with_the_last_one() {
    let mut world = World::new(40, 40);
    let mark = world.mark();
    // One lends us a proof of now.
    let lend = |world: &mut World, i: usize| {
        let lease = gossip::Lease { electorate: mark, age_ms: 1, present: 30, ..gossip::Lease::default() };
        let packet = gossip::Packet { lease: Some(lease), ..gossip::Packet::default() };
        let (sent, kind) = (world.bench.now, RequestKind::Lease);
        let request = Request { subject: Some(hash(i)), to: address(i), sent, deadline: sent, kind };
        world.call(|service, context| service.hear_answer(context, hash(i), &request, &packet));
    };
    lend(&mut world, 33);
    world.bench.pass(Duration::from_millis(1040));
    let (mut counts, mut asked) = (Vec::new(), Vec::new());
    while asked.iter().collect::<std::collections::BTreeSet<_>>().len() < 39 {
        let now = world.ask();
        counts.push(now.len());
        asked.extend(now);
        world.bench.pass(Duration::from_millis(100));
        assert!(counts.len() < 9, "{counts:?}");
    }
    assert_eq!(asked.first(), Some(&hash(33)));
    assert_eq!(counts, [1, 1, 1, 2, 4, 8, 16, 16]);
}

#[test]
fn a_node_that_is_told_it_does_not_count_holds_nothing_whatever_its_answers_prove() {
    let mut world = World::new(3, 3);
    world.settle();
    world.told_out = true;
    world.call(QuorumService::judge);
    assert_eq!(world.quorum(), (Quorum::Lost, "somebody else has our name".to_owned()));
}

#[test]
fn an_answer_from_a_member_with_another_electorate_is_no_vote() {
    let mut world = World::new(3, 3);
    let other = world.mark() ^ 1;
    for _ in 0..40 {
        world.bench.pass(Duration::from_millis(100));
        world.answer(&[1, 2], other);
        world.call(QuorumService::judge);
    }
    let (quorum, reason) = world.quorum();
    assert_ne!(quorum, Quorum::Held);
    assert!(reason.contains("told of another electorate"), "{reason}");
}

#[test]
fn one_more_than_stated_has_no_vote_and_takes_none_from_the_others() {
    let mut world = World::new(3, 3);
    world.settle();
    for _ in 0..110 {
        let mark = world.mark();
        world.bench.pass(Duration::from_millis(100));
        world.answer(&[1], mark);
        world.call(QuorumService::renew);
    }
    world.come(3);
    assert_eq!(world.quorum().0, Quorum::Held);
    let (quorum, reason) = {
        world.settle();
        world.quorum()
    };
    assert_eq!(quorum, Quorum::Held);
    assert!(reason.contains("n3 has no vote: 3 are expected"), "{reason}");
    let mark = world.mark();
    world.bench.pass(world.bench.core.config.lease());
    world.answer(&[3], mark);
    assert_eq!(world.quorum().0, Quorum::Lost, "its answer is no vote");
}

#[test]
fn a_surplus_from_the_start_waits_until_all_have_been_seen_together() {
    let mut world = World::new(4, 3);
    world.settle();
    let (quorum, reason) = world.quorum();
    assert_ne!(quorum, Quorum::Held);
    assert!(reason.contains("once all have been seen alive together for 10 s"), "{reason}");
    let mark = world.mark();
    for _ in 0..110 {
        world.bench.pass(Duration::from_millis(100));
        world.call(|service, context| {
            if service.recount_at <= context.now {
                service.count(context);
            }
        });
        world.answer(&[1, 2, 3], mark);
    }
    let (quorum, reason) = world.quorum();
    assert_eq!(quorum, Quorum::Held, "{reason}");
    assert!(reason.contains("n0 has no vote"), "{reason}");
}

#[test]
fn by_zones_the_reason_says_which_zone_lacks_votes() {
    let mut world = World::by_zones("zones:east=2,west=1", &[(1, "east"), (2, "west")]);
    let status = world.status();
    assert_eq!((status.present, status.needed, status.expected), (0, 2, Some(2)));
    assert!(status.reason.contains("east 0 of 2 (2 needed), west 0 of 1 (1 needed)"), "{}", status.reason);
    let mark = world.mark();
    world.answer(&[1, 2], mark);
    let status = world.status();
    assert_eq!(status.present, 1, "{}", status.reason);
    let zones: Vec<(&str, u32, u32)> =
        status.zones.iter().map(|z| (z.zone.as_str(), z.present, z.needed)).collect();
    assert_eq!(zones, [("east", 1, 2), ("west", 1, 1)], "we say no zone, and have no vote");
}

#[test]
fn by_zones_others_are_told_how_many_of_each_are_there() {
    let mut world = World::by_zones("zones:east=2,west=1", &[(1, "east"), (2, "west")]);
    let mark = world.mark();
    world.answer(&[1, 2], mark);
    let mut zones = Vec::new();
    world.call(|service, context| zones = service.say_lease(context).unwrap().zones);
    assert_eq!(zones, [1, 1]);
}
