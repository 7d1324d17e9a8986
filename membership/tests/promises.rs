//! What the pages promise of a single call, held against a node that is handed one datagram at a time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use core::time::Duration;

use heartsay_membership::{
    Command, Config, Event, Input, Instant, Interner, MemberEventKind, Name, Node, Output, Rejected, Status,
};
use heartsay_proto::gossip::{Accusation, Claim, Packet};
use heartsay_proto::{Budget, Keyring, decode_packet, open};
use heartsay_testkit::{DAWN_MS, SEED, Start, config, packets};

/// `n0`, and what the others would say of themselves.
struct Story {
    now: Instant,
    node: Node,
    others: Vec<Packet>,
}

impl Story {
    /// `n0` knows `n1` to `n4`, and `n1` by what `n2` tells.
    fn of_five() -> Self {
        let now = Instant::EPOCH + Duration::from_secs(10);
        let mut story = Self { now, node: node(0, now), others: Vec::new() };
        for i in 1..5 {
            story.others.push(introduction(i, now));
        }
        for i in 1..4 {
            story.hand(&story.others[i].clone()).unwrap();
        }
        let told = Packet { claims: story.others[0].claims.clone(), ..story.others[1].clone() };
        story.hand(&told).unwrap();
        assert_eq!(story.node.members(), 5);
        story
    }

    fn hand(&mut self, packet: &Packet) -> Result<(), Rejected> {
        let bytes = packets::datagram(packet, &config());
        let from = ([10, 0, 0, 9], 4327).into();
        self.node.handle(self.now, Input::Datagram { from, bytes: &bytes })
    }

    /// What the node tells until it waits, and for how long it does.
    fn told(&mut self) -> (Vec<MemberEventKind>, Duration) {
        let mut told = Vec::new();
        loop {
            match self.node.poll_output() {
                Output::Event(Event::Member(event)) => told.push(event.kind),
                Output::Event(_) | Output::Transmit(_) => {}
                Output::Timeout(at) => return (told, at.since(self.now)),
            }
        }
    }

    /// Three of the four others accuse `n1`, in one datagram.
    fn accusation(&self) -> Packet {
        let [accused, accusers @ ..] = self.others.as_slice() else { unreachable!("there are four") };
        let accusation = |accuser: &Packet| Accusation {
            by: accuser.claims[0].subject,
            basis: accused.claims[0].heartbeat + 20,
            kind: 1,
            weak: false,
            silent_ms: 3000,
            ..Accusation::default()
        };
        let claim = Claim {
            subject: accused.claims[0].subject,
            generation: accused.claims[0].generation,
            heartbeat: accused.claims[0].heartbeat,
            accusations: accusers.iter().map(accusation).collect(),
            ..Claim::default()
        };
        Packet { sender: accusers[0].sender, heartbeat: 1, claims: vec![claim], ..Packet::default() }
    }

    fn status_of_n1(&self) -> Status {
        self.node.member(self.now, &Name::new("n1").unwrap()).unwrap().status
    }
}

fn node(i: u8, now: Instant) -> Node {
    node_with(config(), i, now)
}

/// `n0` is at the first address.
fn node_with(config: Config, i: u8, now: Instant) -> Node {
    let name = format!("n{i}");
    let start = Start::new(&name).at(([10, 0, 0, i + 1], 4327).into()).generation(DAWN_MS).state(Vec::new());
    start.config(config).node(i.into(), SEED, now).0
}

/// What another member says of itself when it calls.
fn introduction(i: u8, now: Instant) -> Packet {
    let mut other = node(i, now);
    other.handle(now, Input::Command(Command::Join(vec![([10, 0, 0, 1], 4327).into()]))).unwrap();
    let Output::Transmit(datagram) = other.poll_output() else { unreachable!("it calls") };
    let mut scratch = Vec::new();
    let opened = open(&datagram.bytes, &config().cluster, &Keyring::empty(), Budget::MAX, &mut scratch);
    Packet { body: None, ..decode_packet(opened.unwrap().0).unwrap() }
}

#[test]
fn a_verdict_waits_for_the_next_time_out() {
    let mut story = Story::of_five();
    story.told();
    let accusation = story.accusation();
    story.hand(&accusation).unwrap();
    let (told, wait) = story.told();
    assert_eq!(
        (told, wait),
        (vec![MemberEventKind::Suspect], Duration::ZERO),
        "it asks to be called at once"
    );
    story.node.handle(story.now, Input::Timeout).unwrap();
    assert_eq!(story.told().0, [MemberEventKind::Down]);
}

#[test]
fn a_refutation_that_waits_to_be_received_comes_before_the_verdict() {
    let mut story = Story::of_five();
    story.told();
    let accusation = story.accusation();
    story.hand(&accusation).unwrap();
    let basis = accusation.claims[0].accusations[0].basis;
    let refutation = Packet { heartbeat: basis + 1, claims: Vec::new(), ..story.others[0].clone() };
    story.hand(&refutation).unwrap();
    story.node.handle(story.now, Input::Timeout).unwrap();
    assert_eq!(story.told().0, [MemberEventKind::Suspect, MemberEventKind::Alive]);
    assert_eq!(story.status_of_n1(), Status::Alive);
}

#[test]
fn one_refused_claim_does_not_stop_the_others_of_its_datagram() {
    let now = Instant::EPOCH + Duration::from_secs(10);
    let mut story = Story { now, node: node(0, now), others: Vec::new() };
    let mut packet = introduction(1, now);
    let mut future = introduction(2, now).claims.remove(0);
    future.generation += 3 * 24 * 3600 * 1000;
    packet.claims.insert(0, future);
    packet.claims.push(introduction(3, now).claims.remove(0));
    assert!(matches!(story.hand(&packet), Err(Rejected::FarFuture { .. })));
    assert_eq!(story.told().0, [MemberEventKind::Join, MemberEventKind::Join]);
    assert_eq!(story.node.stats().rejected["far-future"], 1);
}

#[test]
fn a_member_with_no_other_to_look_for_has_joined_once() {
    let now = Instant::EPOCH + Duration::from_secs(10);
    let mut story = Story { now, node: node(0, now), others: Vec::new() };
    let mut joined = Vec::new();
    for _ in 0..50 {
        story.now += Duration::from_millis(100);
        story.node.handle(story.now, Input::Timeout).unwrap();
        if story.now == now + Duration::from_secs(3) {
            story.hand(&introduction(1, now)).unwrap();
        }
        loop {
            match story.node.poll_output() {
                Output::Event(Event::Joined { members }) => joined.push(members),
                Output::Event(_) | Output::Transmit(_) => {}
                Output::Timeout(_) => break,
            }
        }
    }
    assert_eq!(joined, [1]);
}

#[test]
fn records_kept_once_for_many_nodes_change_nothing_that_leaves() {
    let now = Instant::EPOCH + Duration::from_secs(10);
    let shared = Config { interner: Interner::shared(), ..config() };
    let leaves = |config: &Config| {
        let mut left = Vec::new();
        for i in [0, 5] {
            let mut story = Story { now, node: node_with(config.clone(), i, now), others: Vec::new() };
            for other in 1..5 {
                story.hand(&introduction(other, now)).unwrap();
            }
            for _ in 0..20 {
                story.now += Duration::from_millis(100);
                story.node.handle(story.now, Input::Timeout).unwrap();
                while let output @ (Output::Event(_) | Output::Transmit(_)) = story.node.poll_output() {
                    left.push(format!("{output:?}"));
                }
            }
        }
        left
    };
    let alone = leaves(&config());
    assert!(alone.len() > 20);
    assert_eq!(leaves(&shared), alone);
}
