//! Members whose address changes while they run.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use heartsay_membership::{
    Config, Electorate, Event, HostId, Input, KeyChange, MemberEventKind, MemberView, Quorum, Status,
};
use heartsay_proto::gossip::{Accusation, Body, Claim};
use heartsay_testkit::{DAWN_MS, Start, World, config, packets};

const NEW: &str = "10.0.7.7:4007";

fn seen(world: &World, by: &str, subject: &str) -> MemberView {
    world.member(by, subject).unwrap()
}

/// The host of `who` has the address `to`, and its agent is told so.
fn readdress(world: &mut World, who: &str, to: &str) {
    world.readdress(who, to.parse().unwrap());
}

fn all_have(world: &World, who: &str, address: &str) -> bool {
    world.names().all(|by| seen(world, by, who).address.to_string() == address)
}

/// What others were told of `who`, each kind once and in order.
fn told(world: &World, who: &str) -> Vec<MemberEventKind> {
    let others = world.names().filter(|name| *name != who);
    let mut kinds: Vec<MemberEventKind> = others
        .flat_map(|name| world.events(name))
        .filter_map(|(_, event)| {
            let Event::Member(event) = event else { return None };
            (event.name.as_str() == who).then_some(event.kind)
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn voting(count: u32) -> World {
    let mut world = World::new();
    for i in 1..=count {
        let config = Config { electorate: Some(Electorate::expected(count)), fence: count <= 9, ..config() };
        world.start_as(&format!("n{i}"), u128::from(i), &["n1"], config);
    }
    world.run(20.0);
    world.forget_events();
    world
}

#[test]
fn a_member_that_moves_is_found_at_its_new_address_at_once_and_not_missed() {
    for count in [3, 9, 24] {
        let mut world = voting(count);
        let before = seen(&world, "n1", "n2");
        readdress(&mut world, "n2", NEW);
        let took = world.wait(1.0, |w| all_have(w, "n2", NEW));
        assert!(took < 0.3, "{took}");
        world.run(60.0);
        assert!(world.agree());
        let after = seen(&world, "n1", "n2");
        assert_eq!((after.status, after.generation), (Status::Alive, before.generation + 1));
        assert_eq!(after.state, before.state);
        assert!(
            after.heartbeat > before.heartbeat + 50,
            "it goes on: {} {}",
            before.heartbeat,
            after.heartbeat
        );
        assert_eq!(after.reachable, Some(true));
        for name in world.names() {
            let about_others =
                |event: &Event| !matches!(event, Event::Member(event) if event.name.as_str() == "n2");
            let others: Vec<&Event> =
                world.events(name).iter().map(|(_, event)| event).filter(|e| about_others(e)).collect();
            let own =
                [Event::Readdressed { address: NEW.parse().unwrap(), generation: before.generation + 1 }];
            let expected: Vec<&Event> = if name == "n2" { own.iter().collect() } else { Vec::new() };
            assert_eq!(
                others, expected,
                "at {name}: quorum is held all the time, and no member is suspected"
            );
        }
        assert_eq!(told(&world, "n2"), [MemberEventKind::Update]);
        assert_eq!(world.count("n2", MemberEventKind::Update), count as usize, "once at each");
    }
}

#[test]
fn the_update_says_what_changed() {
    let mut world = World::cluster(3);
    world.forget_events();
    let old = world.address("n2");
    readdress(&mut world, "n2", NEW);
    world.run(1.0);
    for name in world.names() {
        let told: Vec<_> = world
            .events(name)
            .iter()
            .filter_map(|(_, event)| {
                let Event::Member(event) = event else { return None };
                Some((event.reason.to_string(), event.changed.clone()))
            })
            .collect();
        let before = Some(old.to_string().into_bytes());
        let changed = vec![KeyChange { key: "address".to_owned(), before }];
        assert_eq!(told, [(format!("its address changed from {old} to {NEW}"), changed)]);
    }
}

#[test]
fn a_member_that_was_down_before_it_moved_is_back_at_once() {
    let mut world = voting(5);
    // Its old address is gone: it reaches no member, and no member reaches it.
    world.vanish("n2");
    let gone =
        |w: &World| w.names().filter(|n| *n != "n2").all(|by| w.status(by, "n2") == Some(Status::Down));
    world.wait(6.0, gone);
    world.run(20.0);
    world.heal();
    world.forget_events();
    readdress(&mut world, "n2", NEW);
    world.wait(2.0, |w| all_have(w, "n2", NEW) && w.all_say("n2", Status::Alive));
    world.wait(20.0, |w| w.node("n2").quorum(w.now).quorum == Quorum::Held);
    assert_eq!(told(&world, "n2"), [MemberEventKind::Alive, MemberEventKind::Update]);
}

#[test]
fn a_member_that_moves_while_half_of_the_others_cannot_hear_it_is_not_called_down() {
    let mut world = World::cluster(9);
    world.forget_events();
    for other in ["n3", "n4", "n5", "n6"] {
        world.cut_between("n2", other);
    }
    readdress(&mut world, "n2", NEW);
    world.wait(1.0, |w| all_have(w, "n2", NEW));
    world.run(5.0);
    world.heal();
    world.run(30.0);
    let told = told(&world, "n2");
    assert!(told.contains(&MemberEventKind::Update), "{told:?}");
    assert!(!told.contains(&MemberEventKind::Down) && !told.contains(&MemberEventKind::Restart), "{told:?}");
    assert!(world.agree());
}

#[test]
fn several_moves_in_a_row_and_moves_of_all_one_after_the_other_are_followed() {
    let mut world = voting(6);
    for i in 10..14 {
        readdress(&mut world, "n2", &format!("10.0.7.{i}:4007"));
        world.run(0.02);
    }
    world.wait(1.0, |w| all_have(w, "n2", "10.0.7.13:4007"));
    world.run(5.0);
    for i in 1..=6 {
        readdress(&mut world, &format!("n{i}"), &format!("10.0.8.{i}:4007"));
        world.run(0.1);
    }
    world.wait(2.0, |w| (1..=6).all(|i| all_have(w, &format!("n{i}"), &format!("10.0.8.{i}:4007"))));
    world.run(20.0);
    assert!(world.agree());
    for i in 1..=6 {
        let told = told(&world, &format!("n{i}"));
        assert!(
            !told.contains(&MemberEventKind::Restart) && !told.contains(&MemberEventKind::Down),
            "n{i}: {told:?}"
        );
    }
}

#[test]
fn a_restart_after_a_move_is_a_restart() {
    let mut world = World::cluster(4);
    readdress(&mut world, "n2", NEW);
    world.run(3.0);
    world.kill("n2");
    world.run(0.2);
    world.forget_events();
    world.add(Start::new("n2").host(2).at(NEW.parse().unwrap()).seeds(&["n1"]));
    world.wait(2.0, |w| w.count("n2", MemberEventKind::Restart) == 3);
    assert!(world.all_say("n2", Status::Alive));
}

#[test]
fn a_move_to_where_it_is_already_changes_nothing() {
    let mut world = World::cluster(3);
    let before = seen(&world, "n1", "n2");
    world.forget_events();
    let address = before.address.to_string();
    readdress(&mut world, "n2", &address);
    world.run(2.0);
    assert_eq!(seen(&world, "n1", "n2").generation, before.generation);
    assert_eq!(world.count("n2", MemberEventKind::Update), 0);
}

/// A later life of n2 at another address, as n3 tells n1 of it.
fn told_of_later_life(world: &mut World, later: u64, moves: u32) {
    told_of_accused_life(world, later, moves, Vec::new());
}

/// The same with what others say against it.
fn told_of_accused_life(world: &mut World, later: u64, moves: u32, accusations: Vec<Accusation>) {
    let known = seen(world, "n1", "n2");
    let body = packets::body("n2", known.host_id.0, NEW.parse().unwrap(), known.generation);
    let claim = Claim {
        generation: known.generation + later,
        heartbeat: known.heartbeat,
        body: Some(Body { moves, ..body }),
        accusations,
        ..Claim::default()
    };
    let bytes = packets::datagram(&packets::telling(vec![claim]), &config());
    let from = world.address("n3");
    world.hand("n1", Input::Datagram { from, bytes: &bytes }).unwrap();
}

#[test]
fn only_the_record_of_the_later_life_tells_a_move_from_a_restart() {
    use MemberEventKind::{Restart, Update};
    for (later, moves, kind) in
        [(1, 1, Update), (1, 0, Restart), (3, 3, Update), (3, 2, Restart), (1, 256, Restart)]
    {
        let mut world = World::cluster(3);
        world.forget_events();
        assert_eq!(seen(&world, "n1", "n2").host_id, HostId(2));
        assert!(seen(&world, "n1", "n2").generation >= DAWN_MS);
        // It has gone where it was.
        world.kill("n2");
        told_of_later_life(&mut world, later, moves);
        world.run(0.05);
        assert_eq!(told(&world, "n2"), [kind], "{later} later, {moves} moves");
        assert_eq!(seen(&world, "n1", "n2").state.is_empty(), kind == Restart);
    }
}

#[test]
fn a_claim_with_a_new_address_and_an_accusation_starts_a_probe_there() {
    for accused in [false, true] {
        let mut world = World::cluster(3);
        let basis = seen(&world, "n1", "n2").heartbeat;
        let accusation = Accusation { by: 7, basis, kind: 1, silent_ms: 100, ..Accusation::default() };
        world.kill("n2");
        world.sent.clear();
        told_of_accused_life(&mut world, 1, 1, Vec::from_iter(accused.then_some(accusation)));
        world.run(0.005);
        let asked = world.sent.iter().any(|sent| sent.from == "n1" && sent.to.to_string() == NEW);
        assert_eq!(asked, accused, "as soon as it counts");
    }
}
