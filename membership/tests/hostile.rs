//! Forged datagrams, as an insider can send them: what they change, and for how long.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use heartsay_membership::{
    Command, Config, Event, Generation, Heartbeat, Input, OutsideReason, Rejected, Status, Version,
};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{self, Accusation, Claim, Entry, Packet};
use heartsay_proto::{Budget, Keyring, decode_packet, open};
use heartsay_testkit::{DAWN_MS, Said, World, config, packets};

/// A cluster, and what an eavesdropper has learnt of its members.
struct Target {
    world: World,
    records: BTreeMap<String, Claim>,
}

impl Target {
    fn of(count: usize) -> Self {
        let mut world = World::new();
        world.listening = true;
        let mut world = world.filled(count);
        world.listening = false;
        let mut records = BTreeMap::new();
        for (_, _, said) in &world.journal {
            let Said::Datagram { bytes, .. } = said else { continue };
            for claim in read(bytes).claims {
                if let Some(body) = &claim.body {
                    records.insert(body.name.clone(), claim);
                }
            }
        }
        world.journal.clear();
        assert_eq!(records.len(), count);
        Self { world, records }
    }

    /// A claim about the present life of a member, without its identity.
    fn about(&self, name: &str) -> Claim {
        let Claim { subject, generation, .. } = self.records[name];
        Claim { subject, generation, heartbeat: self.heartbeat(name), ..Claim::default() }
    }

    fn heartbeat(&self, name: &str) -> Heartbeat {
        self.world.member(name, name).unwrap().heartbeat
    }

    /// The same claim with the identity of its subject.
    fn with_identity(&self, name: &str, claim: &Claim) -> Claim {
        Claim { body: self.records[name].body.clone(), ..claim.clone() }
    }

    fn accusation(&self, by: &str, kind: u32, basis: Heartbeat) -> Accusation {
        Accusation {
            by: self.records[by].subject,
            basis,
            kind,
            weak: false,
            silent_ms: 9_000,
            ..Default::default()
        }
    }

    /// Hands a member a datagram.
    fn hand(&mut self, to: &str, packet: &Packet) -> Result<(), Rejected> {
        let bytes = packets::datagram(packet, &config());
        self.world.hand(to, Input::Datagram { from: elsewhere(), bytes: &bytes })
    }

    /// Tells members something in one datagram each. What they refuse is refused.
    fn tell(&mut self, to: &[&str], claims: &[Claim]) {
        for to in to {
            let _ = self.hand(to, &packets::telling(claims.to_vec()));
        }
    }

    /// Whether a member has said that it is out, and why it said so last.
    fn outside(&self, name: &str) -> Option<OutsideReason> {
        let mut reason = None;
        for (_, event) in self.world.events(name) {
            if let Event::Outside(outside) = event {
                reason = outside.as_ref().map(|outside| outside.reason);
            }
        }
        reason
    }
}

/// The address of an attacker.
fn elsewhere() -> SocketAddr {
    ([10, 66, 0, 1], 666).into()
}

fn read(bytes: &[u8]) -> Packet {
    let mut scratch = Vec::new();
    let (body, _) = open(bytes, &config().cluster, &Keyring::empty(), Budget::MAX, &mut scratch).unwrap();
    decode_packet(body).unwrap()
}

const SILENT: u32 = 0;
const PROVEN: u32 = 1;
const DEGRADED: u32 = 3;
const UNFIT: u32 = 4;
/// Nearly all that the age of a life allows: 111 days of heartbeats.
const FAR: Heartbeat = 9_600_000;

#[test]
fn a_verdict_far_ahead_that_two_invented_accusers_support_is_over_in_seconds() {
    for (receivers, raised, identified) in [
        (&["n2"][..], false, false),
        (&["n2"], true, false),
        (&["n2"], true, true),
        (&["n1", "n2", "n3", "n4", "n5"], false, false),
        (&["n1", "n2", "n3", "n4", "n5"], true, true),
        (&["n2", "n3", "n4", "n5"], true, false),
    ] {
        let mut target = Target::of(5);
        let about = target.about("n1");
        let claim = Claim {
            heartbeat: if raised { FAR } else { about.heartbeat },
            down: 1 + FAR,
            accusations: ["n3", "n4"].map(|by| target.accusation(by, UNFIT, FAR)).to_vec(),
            ..about
        };
        let claim = if identified { target.with_identity("n1", &claim) } else { claim };
        target.tell(receivers, &[claim]);
        target.world.run(5.0);
        assert!(
            target.world.all_say("n1", Status::Alive),
            "{receivers:?} {raised} {identified}: {:?}",
            target.world
        );
        assert_eq!(target.outside("n1"), None);
        target.world.run(30.0);
        assert!(target.world.all_say("n1", Status::Alive), "and it stays in");
    }
}

#[test]
fn a_member_that_is_put_out_by_forgery_says_so_and_is_back_within_480_beats() {
    let mut target = Target::of(5);
    let about = target.about("n1");
    let basis = about.heartbeat + 470;
    let accusations = ["n3", "n4"].map(|by| target.accusation(by, UNFIT, basis)).to_vec();
    let claim = Claim { down: 1 + basis, accusations, ..about };
    target.tell(&["n2"], &[claim]);
    target.world.run(5.0);
    assert!(target.world.all_say("n1", Status::Down), "what two witnesses could have said");
    assert!(matches!(target.outside("n1"), Some(OutsideReason::KeptOut { .. })), "{:?}", target.world);
    target.world.run(480.0);
    assert!(target.world.all_say("n1", Status::Alive));
    assert_eq!(target.outside("n1"), None);
}

#[test]
fn a_penalty_that_grows_is_known_to_all_before_the_next_beat() {
    let mut target = Target::of(16);
    let about = target.about("n1");
    let out_until = |basis| {
        let accusations = ["n3", "n4"].map(|by| target.accusation(by, UNFIT, basis)).to_vec();
        Claim { down: 1 + basis, accusations, ..about.clone() }
    };
    let (first, longer) = (out_until(about.heartbeat + 40), out_until(about.heartbeat + 60));
    target.tell(&["n2"], &[first]);
    target.world.run(5.0);
    assert!(target.world.all_say("n1", Status::Down));
    target.tell(&["n2"], std::slice::from_ref(&longer));
    target.world.run(0.5);
    for other in 2..=16 {
        let verdict = target.world.member(&format!("n{other}"), "n1").unwrap().verdict;
        assert_eq!(verdict, Some(longer.down - 1), "n{other}");
    }
}

#[test]
fn no_basis_lies_further_ahead_than_a_witness_could_say() {
    // How far ahead of the heartbeat it can be, and what the roster then holds.
    for (kind, ahead, kept) in [
        (SILENT, 100, true),
        (SILENT, 200, false),
        (PROVEN, FAR / 2, false),
        (DEGRADED, 470, true),
        (DEGRADED, 700, false),
        (UNFIT, 470, true),
        (UNFIT, 700, false),
    ] {
        let mut target = Target::of(5);
        let about = target.about("n1");
        let basis = about.heartbeat + ahead;
        let accusations = vec![target.accusation("n3", kind, basis)];
        for claim in [
            Claim { accusations: accusations.clone(), ..about.clone() },
            target.with_identity("n1", &Claim { accusations, ..about.clone() }),
        ] {
            target.tell(&["n2"], &[claim]);
            let accusers = target.world.member("n2", "n1").unwrap().accusers;
            assert_eq!(accusers.iter().any(|a| a.basis == basis), kept, "{kind} {ahead}: {accusers:?}");
        }
        // A verdict by silence alone reaches as far as an accusation of silence.
        let mut target = Target::of(5);
        let about = target.about("n1");
        // Of a member that has just spoken no verdict by silence is believed.
        target.world.vanish("n1");
        target.world.run(2.2);
        let basis = about.heartbeat + ahead;
        target.tell(&["n2"], &[Claim { down: 1 + basis, ..about }]);
        let verdict = target.world.member("n2", "n1").unwrap().verdict;
        assert_eq!(verdict == Some(basis), ahead <= 120, "{ahead}: {verdict:?}");
    }
}

#[test]
fn a_member_that_speaks_to_us_is_not_called_down_by_what_others_say() {
    let everybody = ["n1", "n2", "n3", "n4", "n5"];
    for (kind, verdict) in [(PROVEN, true), (PROVEN, false), (SILENT, true)] {
        let mut target = Target::of(5);
        target.world.run(5.0);
        let mut told = 0;
        for round in 0..20 {
            let about = target.about("n1");
            let basis = about.heartbeat + [0, 1, 5, 100][round % 4];
            let accusations = ["n3", "n4", "n5"].map(|by| target.accusation(by, kind, basis)).to_vec();
            let down = if verdict { 1 + basis } else { 0 };
            // Only those that have just heard it: the others know no better.
            let heard = |other: &&str| {
                let seen = target.world.member(other, "n1").unwrap().last_direct;
                let down = target.world.status(other, "n1") == Some(Status::Down);
                **other != *"n1"
                    && !down
                    && seen.is_some_and(|at| target.world.now.since(at).as_secs_f64() < 1.0)
            };
            let audience: Vec<&str> = everybody.into_iter().filter(heard).collect();
            told += audience.len();
            target.tell(&audience, &[Claim { down, accusations, ..about }]);
            // Verdicts are given at time-outs.
            target.world.run(0.001);
            for other in audience {
                let status = target.world.status(other, "n1");
                assert_ne!(status, Some(Status::Down), "{kind} {verdict} at {other}: {:?}", target.world);
            }
            target.world.run(0.5);
        }
        assert!(told > 10, "{told}");
    }
}

/// Says that a life is not kept any more.
fn forgotten(subject: u64, generation: Generation) -> Claim {
    Claim { subject, generation, forgotten: true, ..Claim::default() }
}

#[test]
fn a_name_that_lives_is_not_forgotten_by_a_claim() {
    let everybody = ["n1", "n2", "n3", "n4", "n5"];
    for later in [0, 1, 23 * 3600 * 1000] {
        let mut target = Target::of(5);
        let Claim { subject, generation, .. } = target.about("n1");
        let claim = forgotten(subject, generation + later);
        for _ in 0..2 {
            target.tell(&everybody[1..], std::slice::from_ref(&claim));
            assert!(target.world.all_say("n1", Status::Alive), "{later}: {:?}", target.world);
        }
        target.world.run(3.0);
        // It hears of it too, and begins a life above the one that is said to be forgotten.
        target.tell(&everybody[..1], std::slice::from_ref(&claim));
        target.world.run(3.0);
        assert!(target.world.all_say("n1", Status::Alive), "{later}: {:?}", target.world);
        assert!(target.world.member("n2", "n1").unwrap().generation > claim.generation);
        let raised = |(_, event): &(_, Event)| matches!(event, Event::GenerationRaised(_));
        assert!(target.world.events("n1").iter().any(raised), "and says so");
    }
}

#[test]
fn a_suspect_is_not_forgotten_by_a_claim_and_a_member_that_is_down_is() {
    let mut target = Target::of(5);
    let Claim { subject, generation, .. } = target.about("n1");
    target.world.vanish("n1");
    target.world.wait(5.0, |w| w.status("n2", "n1") == Some(Status::Suspect));
    target.tell(&["n2"], &[forgotten(subject, generation)]);
    assert_eq!(target.world.status("n2", "n1"), Some(Status::Suspect));
    target.world.wait(5.0, |w| w.status("n2", "n1") == Some(Status::Down));
    target.tell(&["n2"], &[forgotten(subject, generation)]);
    assert_eq!(target.world.status("n2", "n1"), None);
}

#[test]
fn no_claim_keeps_a_name_out_that_a_member_does_not_know_yet() {
    for generation in [DAWN_MS + 20 * 3600 * 1000, u64::MAX - 1, u64::MAX] {
        let mut target = Target::of(4);
        // The hash of a name is known to everybody who knows the name.
        let mut next = Target::of(5);
        next.world.run(1.0);
        let subject = next.records["n5"].subject;
        target.tell(&["n1", "n2", "n3", "n4"], &[forgotten(subject, generation)]);
        target.world.start("n5", &["n1"]);
        target.world.run(5.0);
        assert!(target.world.all_say("n5", Status::Alive), "{generation}: {:?}", target.world);
    }
}

/// A change of one key in the name of its owner.
fn change(claim: Claim, key: &str, value: &str, at: Version, version: Version) -> Claim {
    let value = value.as_bytes().to_vec().into();
    let entries = vec![Entry { key: key.into(), value, version: at, deleted: false }];
    Claim { entries, version, since: version.saturating_sub(1), ..claim }
}

fn tag(world: &World, by: &str, subject: &str, key: &str) -> Option<String> {
    let value = world.member(by, subject).unwrap().state.remove(key)?;
    Some(String::from_utf8(value).unwrap())
}

#[test]
fn an_owner_outbids_versions_that_others_invent_for_its_state() {
    let set = |value: &str| Command::Set(vec![("tag/role".into(), Some(value.into()))]);
    for version in [2, 3, 1000, 80_000_000, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        for ahead in [0, 1, 40] {
            let mut target = Target::of(5);
            target.world.command("n1", set("db")).unwrap();
            target.world.run(0.001);
            let about = target.about("n1");
            let at = version.saturating_add(ahead);
            let claim = change(Claim { since: 0, ..about }, "tag/role", "forged", at, version);
            target.tell(&["n2", "n3"], &[Claim { since: 0, ..claim }]);
            target.world.run(10.0);
            for by in ["n1", "n2", "n3", "n4", "n5"] {
                let role = tag(&target.world, by, "n1", "tag/role");
                assert_eq!(role.as_deref(), Some("db"), "{version}+{ahead} at {by}");
            }
            target.world.command("n1", set("web")).unwrap();
            target.world.run(5.0);
            for by in ["n1", "n2", "n3", "n4", "n5"] {
                let role = tag(&target.world, by, "n1", "tag/role");
                assert_eq!(role.as_deref(), Some("web"), "{version}+{ahead} at {by}");
            }
            assert!(target.world.agree());
        }
    }
}

#[test]
fn a_key_that_others_invent_is_gone_everywhere_when_its_owner_has_heard_of_it() {
    let mut target = Target::of(5);
    let about = target.about("n1");
    target.tell(&["n2", "n3"], &[change(Claim { since: 0, ..about }, "tag/evil", "1", 3, 3)]);
    target.world.run(10.0);
    for by in ["n1", "n2", "n3", "n4", "n5"] {
        assert_eq!(tag(&target.world, by, "n1", "tag/evil"), None, "{by}");
        assert_eq!(tag(&target.world, by, "n1", "zone").as_deref(), Some("a"), "{by}");
    }
}

/// "Your name is taken."
fn refusal(name: &str) -> Packet {
    let body = packets::body(name, 4711, ([10, 0, 0, 9], 4327).into(), DAWN_MS);
    let holder = Claim { generation: DAWN_MS, body: Some(body), ..Claim::default() };
    let refusal = gossip::Refusal { reason: 1 };
    Packet { body: Some(Body::Refusal(refusal)), ..packets::telling(vec![holder]) }
}

#[test]
fn a_refusal_that_nobody_was_asked_for_is_not_believed() {
    for reason in [1, 2] {
        let mut world = World::new();
        world.start("n1", &[]);
        world.start("n2", &["n1"]);
        let mut target = Target { world, records: BTreeMap::new() };
        let forged = Packet { body: Some(Body::Refusal(gossip::Refusal { reason })), ..refusal("n2") };
        for _ in 0..20 {
            let _ = target.hand("n2", &forged);
            target.world.run(0.05);
        }
        assert_eq!(target.outside("n2"), None);
        let refused = |(_, e): &(_, Event)| matches!(e, Event::NameRefused { .. } | Event::ClockRefused);
        assert!(!target.world.events("n2").iter().any(refused), "{reason}");
        assert!(target.world.all_say("n2", Status::Alive));
    }
}

#[test]
fn a_later_holder_of_a_name_is_believed_only_of_a_peer() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.start("n2", &["n1"]);
    let mut target = Target { world, records: BTreeMap::new() };
    let later = DAWN_MS + 20_000;
    let body = packets::body("n2", 4711, ([10, 0, 0, 9], 4327).into(), DAWN_MS);
    target.tell(&["n2"], &[Claim { generation: later, body: Some(body), ..Claim::default() }]);
    target.world.run(1.0);
    assert_eq!(target.outside("n2"), None);
}

#[test]
fn an_echo_under_the_address_of_a_seed_does_not_drop_the_seed() {
    // While it looks for others, and when it has found one.
    for found in [false, true] {
        let mut world = World::new();
        world.listening = true;
        world.start("n1", &[]);
        world.start("n3", &[]);
        if !found {
            world.vanish("n2");
            world.cut_between("n1", "n2");
            world.cut_between("n3", "n2");
        } else {
            world.cut_between("n1", "n2");
        }
        let seed = world.address("n1");
        world.start("n2", &["n3", "n1"]);
        world.run(1.0);
        // Everything that it has sent comes back, in the name of its seed, and so late that it asks no more.
        let mut sent = Vec::new();
        for (_, name, said) in &world.journal {
            if let Said::Datagram { bytes, .. } = said
                && name == "n2"
            {
                sent.push(bytes.clone());
            }
        }
        assert!(sent.len() > 3);
        world.run(2.0);
        for bytes in &sent {
            let _ = world.hand("n2", Input::Datagram { from: seed, bytes });
        }
        world.heal();
        let took = world.wait(65.0, |w| w.status("n2", "n1") == Some(Status::Alive));
        assert!(took < 65.0);
    }
}

#[test]
fn the_last_seed_is_tried_again_though_its_call_came_back() {
    let mut world = World::new();
    world.listening = true;
    world.start("n1", &[]);
    world.cut_between("n1", "n2");
    world.start("n2", &["n1"]);
    let seed = world.address("n1");
    // Whoever is on the way sends every call back.
    for _ in 0..40 {
        let calls = std::mem::take(&mut world.journal);
        for (_, name, said) in calls {
            if let Said::Datagram { bytes, .. } = said
                && name == "n2"
            {
                let _ = world.hand("n2", Input::Datagram { from: seed, bytes: &bytes });
            }
        }
        world.run(0.05);
    }
    world.heal();
    world.wait(70.0, |w| w.status("n2", "n1") == Some(Status::Alive) && w.status("n1", "n2").is_some());
}

/// Members that there are not.
fn invented(count: usize) -> impl Iterator<Item = Claim> {
    (0..count).map(|i| {
        let [_, _, a, b] = u32::try_from(i).unwrap().to_be_bytes();
        let body = packets::body(&format!("x{i}"), 1 << 64 | i as u128, ([10, 99, a, b], 1).into(), DAWN_MS);
        Claim { generation: DAWN_MS, heartbeat: 1, body: Some(body), ..Claim::default() }
    })
}

#[test]
fn a_sender_of_invented_names_fills_no_roster() {
    let mut target = Target::of(5);
    let claims: Vec<Claim> = invented(20_000).collect();
    for some in claims.chunks(12) {
        target.tell(&["n2"], some);
    }
    let members = target.world.node("n2").members();
    assert!(members < 200, "{members}");
    assert!(target.world.node("n2").stats().rejected.get("too-many-names") > Some(&1000));
    // A newcomer is taken in meanwhile.
    target.world.start("n6", &["n2"]);
    target.world.run(2.0);
    assert_eq!(target.world.status("n2", "n6"), Some(Status::Alive));
}

#[test]
fn senders_at_many_addresses_share_one_budget_for_unasked_names() {
    let mut target = Target::of(5);
    let claims: Vec<Claim> = invented(20_000).collect();
    for (i, some) in claims.chunks(12).enumerate() {
        let [_, _, a, b] = u32::try_from(i).unwrap().to_be_bytes();
        let from = ([10, 66, a, b], 666).into();
        let bytes = packets::datagram(&packets::telling(some.to_vec()), &config());
        let _ = target.world.hand("n2", Input::Datagram { from, bytes: &bytes });
    }
    let members = target.world.node("n2").members();
    assert!(members < 2100, "{members}");
}

#[test]
fn what_was_asked_for_is_taken_however_much_it_is() {
    let mut world = World::new();
    let generous = Config { names_rate: u32::MAX, ..config() };
    world.start_as("n1", 1, &[], generous);
    world.run(1.0);
    let mut target = Target { world, records: BTreeMap::new() };
    let claims: Vec<Claim> = invented(600).collect();
    for some in claims.chunks(12) {
        target.tell(&["n1"], some);
    }
    assert_eq!(target.world.node("n1").members(), 601);
    target.world.start("n2", &["n1"]);
    target.world.wait(60.0, |w| w.node("n2").members() == 602);
    let rejected = target.world.node("n2").stats().rejected;
    // The first exchange tells names too, before the pulls that bring all of them.
    assert!(rejected.get("too-many-names").is_none_or(|refused| *refused < 64), "{rejected:?}");
}

#[test]
fn a_life_that_has_to_begin_a_day_ahead_keeps_as_many_heartbeats_as_it_has() {
    let mut target = Target::of(5);
    let about = target.about("n1");
    // It refutes, and so jumps to a heartbeat for which an older life would need months.
    let accusations = vec![target.accusation("n3", PROVEN, FAR)];
    target.tell(&["n1"], &[Claim { accusations, ..about.clone() }]);
    target.world.run(2.0);
    assert!(target.heartbeat("n1") > FAR);
    target.tell(&["n1"], &[forgotten(about.subject, about.generation + 23 * 3600 * 1000)]);
    target.world.run(5.0);
    assert!(target.world.all_say("n1", Status::Alive), "{:?}", target.world);
    let before = target.world.member("n2", "n1").unwrap();
    assert!(before.generation > about.generation && before.heartbeat > FAR);
    target.world.run(60.0);
    assert!(target.world.all_say("n1", Status::Alive), "{:?}", target.world);
    assert!(target.world.member("n2", "n1").unwrap().heartbeat > before.heartbeat + 55);
}
