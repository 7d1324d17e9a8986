//! The gossip alone: what one or two sides ask and tell, and their effects.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::gossip::anti_entropy::Sender;
use crate::io::{Event, MemberEventKind};
use crate::roster::incarnation::Incarnation;
use crate::roster::member::Member;
use crate::roster::standing::{Accusation, Evidence, Marks, Standing, Status};
use crate::roster::state::{Delta, QUORUM_KEY, State};
use crate::testing::{Bench, Sent, address, claim, hash, incarnation, incarnation_at, value};
use crate::transport::context::Context;
use crate::transport::requests::RequestKind;
use crate::transport::sending::AnswerExtras;
use crate::transport::wire::{self, Detail};

/// One member's gossip and what it is called with.
struct Side {
    bench: Bench,
    gossip: Gossip,
}

impl Side {
    fn new(bench: Bench) -> Self {
        let gossip = Gossip::new(bench.now, &bench.core.config);
        Self { bench, gossip }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Gossip, Instant, &mut Context<'_>) -> T) -> T {
        let now = self.bench.now;
        call(&mut self.gossip, now, &mut self.bench.context())
    }

    /// Takes a datagram: its claims, the sender's heartbeat, and its body.
    fn take(&mut self, from: usize, packet: gossip::Packet) {
        for claim in packet.claims {
            let claim = wire::read_claim(self.bench.now, claim).unwrap();
            if claim.subject != self.bench.core.me {
                self.bench.take_in(claim);
            }
        }
        self.bench.hear(from, packet.heartbeat);
        let (from, member, seq) = (address(from), Some(hash(from)), packet.seq);
        match packet.body.unwrap() {
            Body::Exchange(exchange) => {
                let (tag, heartbeat, view) = (packet.sender, packet.heartbeat, packet.view);
                let sender = Sender { address: from, tag, member, heartbeat, view };
                self.call(|gossip, now, ctx| {
                    let mut comparison = gossip.begin(now, ctx, sender, &exchange);
                    for page in &exchange.pages {
                        let same = gossip.hear_page(now, ctx, comparison.nominal, page, None).unwrap();
                        gossip.compare_page(now, ctx, &mut comparison, page, same);
                    }
                    let reply = gossip.end(now, ctx, comparison, &exchange);
                    gossip.answer(now, ctx, from, (seq, exchange.step), reply, AnswerExtras::default());
                });
            }
            Body::Pull(pull) => self.call(|gossip, now, ctx| gossip.on_pull(now, ctx, from, seq, &pull)),
            Body::Supply(supply) => {
                let request = self.bench.transport.requests.answered(seq).unwrap();
                self.call(|gossip, now, ctx| gossip.on_supply(now, ctx, from, &request, &supply)).unwrap();
            }
            Body::Ping(_)
            | Body::Pong(_)
            | Body::ProbeRequest(_)
            | Body::ProbeReport(_)
            | Body::Refusal(_)
            | Body::Tally(_)
            | Body::Who(_)
            | Body::Here(_)
            | Body::Question(_)
            | Body::Answer(_)
            | Body::Twin(_) => {}
        }
    }

    fn knows(&self) -> BTreeSet<u64> {
        self.bench.roster.entries().map(|(hash, _)| hash).collect()
    }
}

/// The pulls among what has left, with their request numbers.
fn pulls(sent: &[Sent]) -> Vec<(u32, gossip::Pull)> {
    let pull = |sent: &Sent| match &sent.packet.body {
        Some(Body::Pull(pull)) => Some((sent.packet.seq, pull.clone())),
        _ => None,
    };
    sent.iter().filter_map(pull).collect()
}

/// `n0` and `n1` compare their rosters, in which `n0` lacks one member of `members` and `n1` another. Returns how many
/// datagrams that takes.
fn compare(members: usize) -> usize {
    let mut sides = [
        Side::new(Bench::of(0, 1..members, |_| {})),
        Side::new(Bench::of(1, (0..members - 1).filter(|i| *i != 1).chain([members]), |_| {})),
    ];
    sides[0].call(|gossip, now, ctx| gossip.open_exchange(now, ctx, hash(1)));
    let mut datagrams = 0;
    for turn in 0.. {
        let (from, to) = (turn % 2, (turn + 1) % 2);
        let Some(sent) = sides[from].bench.sent().pop() else { break };
        assert_eq!(sent.to, address(to));
        datagrams += 1;
        sides[to].take(from, sent.packet);
    }
    assert_eq!(sides[0].knows(), (0..=members).map(hash).collect());
    assert_eq!(sides[0].bench.roster.fingerprint(), sides[1].bench.roster.fingerprint());
    datagrams
}

#[test]
fn two_sides_settle_a_difference_in_four_or_five_steps() {
    assert_eq!(compare(20), 4, "syn, list, what is lacking on both sides, what was asked for");
    assert_eq!(compare(100), 5, "the page is compared by its parts first");
}

#[test]
fn two_sides_that_agree_need_two_steps() {
    let mut sides = [
        Side::new(Bench::of(0, 1..20, |_| {})),
        Side::new(Bench::of(1, (0..20).filter(|i| *i != 1), |_| {})),
    ];
    sides[0].call(|gossip, now, ctx| gossip.open_exchange(now, ctx, hash(1)));
    let syn = sides[0].bench.sent().remove(0).packet;
    sides[1].take(0, syn);
    assert_eq!(sides[1].bench.take_effects(), [Effect::Agreement { peer: hash(0), agrees: true }]);
    let ack = sides[1].bench.sent().remove(0).packet;
    sides[0].take(1, ack);
    assert_eq!(sides[0].bench.take_effects(), [Effect::Agreement { peer: hash(1), agrees: true }]);
    assert!(sides[0].bench.sent().is_empty());
}

#[test]
fn a_page_reports_only_heartbeats_that_may_refute() {
    let mut teller = Side::new(Bench::of(1, [0, 2, 3, 4], |_| {}));
    let mut side = Side::new(Bench::new(5));
    for bench in [&mut teller.bench, &mut side.bench] {
        bench.pass(Duration::from_secs(5));
    }
    teller.bench.hear(2, 5);
    teller.bench.hear(3, 5);
    teller.bench.hear(4, 5);
    let accusation = Accusation {
        by: hash(1),
        basis: 3,
        kind: Evidence::Silent,
        weak: false,
        began: side.bench.now,
        source: None,
    };
    side.bench.mark(3, &Marks { accusations: vec![accusation], ..Marks::default() });
    teller.call(|gossip, now, ctx| gossip.open_exchange(now, ctx, hash(0)));
    let packet = teller.bench.sent().remove(0).packet;
    let Some(Body::Exchange(exchange)) = packet.body else { panic!("no exchange") };
    let sender =
        Sender { address: address(1), tag: packet.sender, member: Some(hash(1)), heartbeat: 0, view: 0 };
    let same = side.call(|gossip, now, ctx| {
        let comparison = gossip.begin(now, ctx, sender, &exchange);
        let is_probed = |subject| subject == hash(4);
        gossip.hear_page(now, ctx, comparison.nominal, &exchange.pages[0], Some(&is_probed)).unwrap()
    });
    assert_eq!(same, Some(false), "the same members, of whom other things were said before");
    assert_eq!([2, 3, 4].map(|i| side.bench.member(i).heartbeat), [5, 5, 5]);
    let news: BTreeSet<u64> = side
        .bench
        .take_effects()
        .into_iter()
        .map(|effect| if let Effect::Heartbeat(subject) = effect { subject } else { panic!("{effect:?}") })
        .collect();
    assert_eq!(news, BTreeSet::from([hash(3), hash(4)]), "one is accused, and one is probed");
}

/// `n0` looks for others at the address of `n1`, and has its answer.
fn newcomer() -> Side {
    let mut side = Side::new(Bench::new(2));
    side.bench.membership.complete = false;
    let (now, mine) = (side.bench.now, address(0));
    side.gossip.join.set_seeds(now, vec![address(1)], mine);
    side.call(|gossip, now, ctx| gossip.step_join(now, ctx));
    let sent = side.bench.sent();
    assert_eq!(side.bench.transport.requests.get(sent[0].packet.seq).unwrap().kind, RequestKind::Dial);
    side.call(|gossip, now, ctx| gossip.dial_answered(now, ctx, Some(address(1))));
    side
}

#[test]
fn a_newcomer_pulls_a_large_roster_in_parts_until_it_has_all() {
    let mut seed = Side::new(Bench::of(1, (0..200).filter(|i| *i != 1), |_| {}));
    let mut side = newcomer();
    let mut asked = Vec::new();
    loop {
        let sent = side.bench.sent();
        asked.push(pulls(&sent).len());
        if sent.is_empty() {
            break;
        }
        for question in sent {
            seed.take(0, question.packet);
        }
        for answer in seed.bench.sent() {
            side.take(1, answer.packet);
        }
    }
    assert_eq!(asked[..2], [1, 4], "the answer says how much there is, and the rest is asked for in parts");
    assert_eq!(side.knows(), seed.knows());
    assert_eq!(side.bench.take_effects(), [Effect::Complete]);
}

#[test]
fn a_supply_that_does_not_go_forward_ends_its_part() {
    let mut side = newcomer();
    let supply = |side: &mut Side, next| {
        let sent = side.bench.sent();
        let (seq, pull) = pulls(&sent).pop().unwrap();
        let request = side.bench.transport.requests.answered(seq).unwrap();
        let supply = gossip::Supply { from: pull.from, next, members: 9 };
        side.call(|gossip, now, ctx| gossip.on_supply(now, ctx, address(1), &request, &supply)).unwrap();
        pull.from
    };
    assert_eq!(supply(&mut side, 1 << 40), 0);
    assert_eq!(supply(&mut side, 1 << 41), 1 << 40);
    assert_eq!(side.bench.take_effects(), []);
    assert_eq!(supply(&mut side, 1 << 41), 1 << 41);
    assert_eq!(pulls(&side.bench.sent()), [], "the same place again");
    assert_eq!(side.bench.take_effects(), [Effect::Complete]);
}

#[test]
fn a_newcomer_is_complete_when_the_states_are_there_too() {
    let mut side = newcomer();
    assert!(!side.gossip.join.is_joined());
    side.call(|gossip, now, ctx| gossip.note_rest(now, ctx, hash(1), 1));
    let end = gossip::Supply { from: 0, next: 0, members: 2 };
    let (seq, _) = pulls(&side.bench.sent()).pop().unwrap();
    let request = side.bench.transport.requests.answered(seq).unwrap();
    side.call(|gossip, now, ctx| gossip.on_supply(now, ctx, address(1), &request, &end)).unwrap();
    assert!(!side.gossip.join.is_joined());
    assert_eq!(side.bench.take_effects(), [], "a part of the state of n1 is still to come");
    side.bench.take_in(claim(incarnation(1), Some(value("zone", b"a"))));
    side.call(|gossip, now, ctx| gossip.note_rest(now, ctx, hash(1), 1));
    assert!(side.gossip.join.is_joined());
    assert_eq!(side.bench.take_effects(), [Effect::Complete]);
}

#[test]
fn a_newcomer_waits_half_a_minute_for_states_and_no_longer() {
    let mut side = newcomer();
    side.call(|gossip, now, ctx| {
        gossip.note_rest(now, ctx, hash(1), 1);
        gossip.pulled(now, ctx);
    });
    assert_eq!(side.gossip.join.complete_by(), side.bench.now + Duration::from_secs(30));
    side.bench.pass(Duration::from_secs(30));
    side.call(|gossip, now, ctx| gossip.completed(now, ctx));
    assert_eq!(side.bench.take_effects(), [Effect::Complete]);
}

#[test]
fn an_address_of_our_own_is_no_seed() {
    let mut side = Side::new(Bench::new(1));
    let (now, mine, alias) = (side.bench.now, address(0), address(9));
    side.gossip.join.set_seeds(now, vec![mine], mine);
    assert!(side.gossip.join.is_joined() && side.gossip.join.next() == Instant::NEVER);
    side.gossip.join.set_seeds(now, vec![mine, alias], mine);
    side.call(|gossip, now, ctx| gossip.step_join(now, ctx));
    let called: Vec<_> = side.bench.sent().iter().map(|sent| sent.to).collect();
    assert_eq!(called, [alias]);
    assert!(!side.gossip.join.is_joined());
    side.gossip.join.drop_address(alias);
    assert!(side.gossip.join.is_joined() && side.gossip.join.next() == Instant::NEVER);
}

#[test]
fn news_is_told_to_four_and_a_moment_later_to_three() {
    let mut side = Side::new(Bench::new(30));
    let begin = side.bench.now;
    side.gossip.broadcast.news(begin, hash(5), false);
    let mut waves = Vec::new();
    while side.gossip.broadcast.next() < Instant::NEVER {
        side.bench.pass(side.gossip.broadcast.next().since(side.bench.now));
        side.call(|gossip, now, ctx| gossip.pass_on_news(now, ctx));
        let sent = side.bench.sent();
        assert!(sent.iter().all(|sent| sent.packet.claims.len() == 1));
        let told: BTreeSet<_> = sent.iter().map(|sent| sent.to).collect();
        waves.push((side.bench.now.since(begin).as_millis(), told.len()));
    }
    assert_eq!(waves, [(10, 4), (160, 3)]);
}

#[test]
fn a_change_of_our_own_goes_straight_to_each_member_within_a_budget() {
    let told = |members: usize, times: usize| {
        let mut side = Side::new(Bench::new(members));
        (0..times).for_each(|_| side.call(|gossip, now, ctx| gossip.tell_each(now, ctx)));
        let sent = side.bench.sent();
        assert!(sent.iter().all(|sent| sent.packet.claims.len() == 1));
        (sent.len(), sent.iter().map(|sent| sent.to).collect::<BTreeSet<_>>().len())
    };
    assert_eq!((told(128, 1), told(300, 3)), ((127, 127), (200, 200)));
}

/// Whom the first wave of a piece of news goes to.
fn told(side: &mut Side) -> BTreeSet<std::net::SocketAddr> {
    let now = side.bench.now;
    side.gossip.broadcast.news(now, hash(0), false);
    side.bench.pass(side.gossip.broadcast.next().since(now));
    side.call(|gossip, now, ctx| gossip.pass_on_news(now, ctx));
    side.bench.sent().iter().map(|sent| sent.to).collect()
}

#[test]
fn suspects_are_told_news_where_they_are_no_fewer_than_the_others() {
    let suspects = |count: usize| {
        let mut side = Side::new(Bench::new(6));
        for i in 1..=count {
            let now = side.bench.now;
            side.bench.roster.set_status(now, hash(i), Status::Suspect);
        }
        let told = told(&mut side);
        (1..=count).filter(|i| told.contains(&address(*i))).count()
    };
    assert_eq!(suspects(2), 0, "they hear it from those that probe them");
    assert!(suspects(3) >= 2, "four of five are told: perhaps we are the one that does not hear");
}

#[test]
fn a_member_that_lost_quorum_tells_suspects_too() {
    let mut side = Side::new(Bench::new(6));
    let now = side.bench.now;
    side.bench.take_in(claim(incarnation(0), Some(value(QUORUM_KEY, b"lost"))));
    for i in [1, 2] {
        side.bench.roster.set_status(now, hash(i), Status::Suspect);
    }
    let told = told(&mut side);
    assert!([1, 2].iter().any(|i| told.contains(&address(*i))), "four of five are told");
}

#[test]
fn where_most_paths_are_dead_those_that_we_heard_last_are_told_and_called() {
    let mut side = Side::new(Bench::new(200));
    for i in [7, 8] {
        let now = side.bench.now;
        side.bench.roster.get_mut(hash(i)).unwrap().path.heard(now);
    }
    let now = side.bench.now;
    (0..3).for_each(|_| side.bench.core.surroundings.note_call(now, true));
    assert!(told(&mut side).is_superset(&BTreeSet::from([7, 8].map(address))));
    side.bench.core.stats.rounds = 1;
    side.bench.core.started = Instant::EPOCH;
    let mut called = BTreeSet::new();
    for _ in 0..20 {
        side.call(|gossip, now, ctx| gossip.eager_exchange(now, ctx));
        called.extend(side.bench.sent().iter().map(|sent| sent.to));
    }
    assert_eq!(called, BTreeSet::from([7, 8].map(address)));
    assert_eq!(side.gossip.eager_at, side.bench.now + Duration::from_millis(200), "five times a second");
    side.bench.pass(Duration::from_secs(8));
    let now = side.bench.now;
    (0..3).for_each(|_| side.bench.core.surroundings.note_call(now, false));
    side.call(|gossip, now, ctx| gossip.eager_exchange(now, ctx));
    assert_eq!(side.gossip.eager_at, Instant::NEVER);
}

#[test]
fn news_keeps_to_its_budget_however_much_there_is() {
    let mut side = Side::new(Bench::of(0, 1..300, |config| config.burst_rate = 10));
    for i in 0..10_000 {
        let now = side.bench.now;
        side.gossip.broadcast.news(now, hash(i % 300), false);
        if side.gossip.broadcast.next() <= now {
            side.call(|gossip, now, ctx| gossip.pass_on_news(now, ctx));
        }
        side.bench.pass(Duration::from_millis(1));
    }
    let datagrams = side.bench.sent().len();
    assert!((100..=4 * 10 + 10 * 10).contains(&datagrams), "{datagrams}");
}

#[test]
fn a_good_bye_is_done_when_three_have_confirmed_it() {
    let mut side = Side::new(Bench::new(20));
    side.call(|gossip, now, ctx| gossip.say_good_bye(now, ctx, None));
    assert_eq!(side.bench.take_effects(), [Effect::Leaving]);
    assert_eq!(side.bench.member(0).status, Status::Left);
    assert!(
        matches!(&side.bench.events()[..], [Event::Member(event)] if event.kind == MemberEventKind::Left)
    );
    let told: BTreeSet<_> = side.bench.sent().iter().map(|sent| sent.to).collect();
    assert_eq!(told.len(), 6);
    for _ in 0..2 {
        side.gossip.good_bye_heard();
    }
    side.bench.pass(Duration::from_millis(200));
    side.call(|gossip, now, ctx| gossip.step_leave(now, ctx));
    assert_eq!(side.bench.events(), []);
    assert_eq!(side.bench.sent().len(), 6, "others are asked");
    side.gossip.good_bye_heard();
    side.bench.pass(Duration::from_millis(200));
    side.call(|gossip, now, ctx| gossip.step_leave(now, ctx));
    assert_eq!(side.bench.events(), [Event::LeaveDone { acknowledged: 3, asked: 12 }]);
    assert_eq!(side.gossip.leave.as_ref().unwrap().next(), Instant::NEVER);
}

#[test]
fn a_good_bye_that_is_not_confirmed_is_done_when_its_time_is_over() {
    let mut side = Side::new(Bench::new(20));
    let begin = side.bench.now;
    side.call(|gossip, now, ctx| gossip.say_good_bye(now, ctx, Some(Duration::from_secs(5))));
    let myself = side.bench.member(0);
    assert_eq!((myself.status, myself.standing()), (Status::Restarting, Status::Restarting));
    assert_eq!(side.bench.events(), [], "for other programs nothing has changed");
    let mut events = Vec::new();
    while events.is_empty() {
        side.bench.pass(side.gossip.leave.as_ref().unwrap().next().since(side.bench.now));
        side.call(|gossip, now, ctx| gossip.step_leave(now, ctx));
        events = side.bench.events();
    }
    assert_eq!(side.bench.now.since(begin), Duration::from_secs(1));
    assert_eq!(events, [Event::LeaveDone { acknowledged: 0, asked: 30 }]);
}

#[test]
fn a_state_that_misses_its_rest_is_asked_for_once_at_a_time() {
    let mut side = Side::new(Bench::of(0, 1..8, |_| {}));
    // Four are asked for and the others wait; then each begins two more incarnations, and n7 is complete in between.
    for generation in [1, 2, 3] {
        for i in 1..8 {
            side.bench.take_in(claim(incarnation_at(i, generation, address(i)), None));
            side.call(|gossip, now, ctx| gossip.note_rest(now, ctx, hash(i), 9));
        }
        side.bench.take_in(claim(
            incarnation_at(7, generation, address(7)),
            Some(Delta { until: 9, newest: 9, ..Delta::default() }),
        ));
        side.call(|gossip, now, ctx| gossip.note_rest(now, ctx, hash(7), 9));
        assert!(!side.gossip.remainders.has(hash(7)));
        side.call(|gossip, now, ctx| gossip.note_rest(now, ctx, hash(7), 10));
        assert!(side.gossip.remainders.has(hash(7)));
    }
    side.bench.sent();
    // No answer comes: the questions that are open end together, and the next ones leave.
    let mut questions: BTreeMap<u64, usize> = BTreeMap::new();
    while side.gossip.remainders.next() < Instant::NEVER {
        side.bench.pass(side.gossip.remainders.next().since(side.bench.now));
        side.call(|gossip, now, ctx| gossip.step_remainders(now, ctx));
        let sent = side.bench.sent();
        let wanted: BTreeSet<u64> = sent.iter().map(wanted).collect();
        assert_eq!(wanted.len(), sent.len(), "one member is asked for twice at once");
        wanted.into_iter().for_each(|tag| *questions.entry(tag).or_default() += 1);
    }
    let members: Vec<u64> = (1..8).map(|i| incarnation_at(i, 3, address(i)).tag).collect();
    assert_eq!(questions.keys().copied().collect::<BTreeSet<_>>(), members.into_iter().collect());
    assert!(questions.values().all(|count| (7..=8).contains(count)), "{questions:?}");
    assert!(side.gossip.remainders.is_empty(), "eight questions in vain are enough");
}

/// The tag of the incarnation whose state is asked for.
fn wanted(sent: &Sent) -> u64 {
    let Some(Body::Exchange(exchange)) = &sent.packet.body else { panic!("no exchange") };
    exchange.wants[0].tag
}

/// A copy of `n0` that runs at the address of `n9`.
fn copy(generation: u64) -> Incarnation {
    Incarnation::new(
        incarnation(0).name,
        incarnation(0).host_id,
        generation,
        address(9),
        incarnation(0).schedule,
    )
}

#[test]
fn a_later_incarnation_that_does_not_answer_is_our_past() {
    let mut side = Side::new(Bench::new(3));
    side.call(|gossip, now, ctx| gossip.hear_of_twin(now, ctx, &copy(7), false));
    for asked in 0..8 {
        assert_eq!(side.bench.take_effects(), []);
        let sent = side.bench.sent();
        assert!(matches!(sent[..], [Sent { to, .. }] if to == address(9)), "{asked} were asked");
        let asked_for = sent.first().and_then(|sent| sent.packet.body.as_ref());
        assert!(matches!(asked_for, Some(Body::Ping(_))), "no more than a ping before it answers");
        side.call(|gossip, now, ctx| gossip.clone_unanswered(now, ctx));
    }
    assert_eq!(side.bench.take_effects(), [Effect::BeginAnew(7)]);
}

/// The copy answers when its process began. `taken_in`: our peers hold us for the member. Returns the effects.
fn copy_answers(generation: u64, began: u64, taken_in: bool) -> Vec<Effect> {
    let mut side = Side::new(Bench::new(3));
    side.bench.core.began_as = 5;
    side.call(|gossip, now, ctx| gossip.hear_of_twin(now, ctx, &copy(generation), taken_in));
    let seq = side.bench.sent()[0].packet.seq;
    let member = Member::new(
        side.bench.now,
        copy(generation).into(),
        Standing::default(),
        State::default(),
        &side.bench.core.config,
    );
    let claim = wire::write_claim(side.bench.now, &member, Detail::Full, 0, 0);
    let said = gossip::Twin { began, answer: true };
    side.call(|gossip, now, ctx| {
        gossip.on_twin(now, ctx, (address(9), member.tag(), seq), said, vec![claim], taken_in);
    });
    side.bench.take_effects()
}

#[test]
fn of_two_copies_the_one_that_began_later_gives_way() {
    let held = Effect::NameHeld { holder: incarnation(0).host_id, address: address(9), generation: 7 };
    assert_eq!(copy_answers(7, 4, false), [held], "it began before us");
    assert_eq!(copy_answers(7, 6, false), [Effect::BeginAnew(7)], "it gives way, and we go on above it");
    assert_eq!(copy_answers(7, 4, true), [Effect::BeginAnew(7)], "anybody can say when it began");
}
