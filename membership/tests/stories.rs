//! Situations of the protocol, two to thirty-two nodes, told to be read aloud.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use heartsay_membership::{Command, Config, Event, Input, MemberEventKind, Name, Rejected, Status};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{Packet, Pull};
use heartsay_proto::{Cluster, Keyring, seal};
use heartsay_testkit::{DAWN_MS, Sent, Start, World, config, packets, unix_ms};

#[test]
fn a_member_has_joined_when_its_own_seed_has_found_it() {
    let mut world = World::new();
    world.start("n2", &[]);
    let address = world.address("n2");
    world.kill("n2");
    world.start("n1", &[]);
    world.command("n1", Command::Seeds(vec![address])).unwrap();
    world.run(3.0);
    assert!(!world.node("n1").is_joined(), "it is unanswered so far");
    world.start("n2", &["n1"]);
    world.wait(35.0, |w| w.nodes().all(|node| node.is_joined()));
}

#[test]
fn thirty_two_nodes_started_together_see_each_other_within_a_second() {
    let mut world = World::new();
    for i in 1..=32 {
        world.start(&format!("n{i}"), &["n1"]);
    }
    world.wait(1.0, |w| w.agree() && w.nodes().all(|node| node.members() == 32));
    assert!(world.nodes().all(|node| node.is_joined()));
}

#[test]
fn in_a_quiet_cluster_nothing_happens() {
    let mut world = World::cluster(10);
    world.forget_events();
    world.run(120.0);
    for name in world.names() {
        assert_eq!(world.events(name), [], "at {name}");
    }
    assert!(world.agree());
}

#[test]
fn a_heartbeat_is_raised_by_its_owner_alone_and_is_everywhere_a_slot_later() {
    let mut world = World::cluster(8);
    world.run(30.0);
    for node in world.nodes() {
        for seen in node.view(world.now) {
            let own = world.node(seen.name.as_str()).own().heartbeat;
            assert!(seen.heartbeat <= own, "only the owner raises a heartbeat");
            assert!(own - seen.heartbeat <= 1, "{} lags by {}", seen.name, own - seen.heartbeat);
        }
    }
}

#[test]
fn members_that_vanish_together_are_found_together() {
    let gone = ["n3", "n4", "n5", "n6", "n7", "n8"];
    let mut world = World::cluster(26);
    for name in gone {
        world.vanish(name);
        world.stop(name);
    }
    let left: Vec<String> = world.names().filter(|n| !gone.contains(n)).map(str::to_owned).collect();
    let seen = |w: &World, status| {
        gone.iter().filter(|name| left.iter().all(|by| w.status(by, name) >= Some(status))).count()
    };
    let first = world.wait(1.5, |w| seen(w, Status::Suspect) > 0);
    let others = world.wait(2.0, |w| seen(w, Status::Suspect) == gone.len());
    let down = first + others + world.wait(4.0, |w| seen(w, Status::Down) == gone.len());
    assert!(others < 0.8, "they are not found in the round after: {others}");
    assert!(down < 4.0, "{down}");
}

#[test]
fn when_the_witnesses_of_a_dead_member_die_others_replace_them() {
    let mut world = World::cluster(24);
    world.vanish("n7");
    world.stop("n7");
    world.wait(1.5, |w| w.status("n1", "n7") == Some(Status::Suspect));
    let witnesses = world.member("n1", "n7").unwrap().case.unwrap().witnesses;
    let gone: Vec<String> =
        witnesses.iter().map(|w| w.as_str().to_owned()).filter(|w| w != "n1").take(4).collect();
    for name in &gone {
        world.vanish(name);
        world.stop(name);
    }
    let took = world.wait(5.0, |w| {
        let mut left = w.names().filter(|n| !gone.iter().any(|gone| gone == n) && *n != "n7");
        left.all(|by| w.status(by, "n7") == Some(Status::Down))
    });
    assert!(took < 4.5, "{took}");
}

#[test]
fn a_newcomer_probes_a_member_that_is_already_suspect() {
    let mut world = World::cluster(3);
    let host = world.node("n2").own().host_id.0;
    world.vanish("n1");
    world.stop("n1");
    world.wait(2.0, |w| w.status("n3", "n1") == Some(Status::Suspect));
    world.run(0.8);
    world.stop("n2");
    world.run(1.4);
    assert_eq!(
        world.status("n3", "n1"),
        Some(Status::Suspect),
        "its case is complete, and one word more is needed"
    );
    world.kill("n2");
    world.start_as("n2", host, &["n3"], config());
    world.wait(0.1, |w| w.status("n2", "n1") == Some(Status::Suspect));
    // No new accusation is heard by the newcomer.
    world.command("n3", Command::Leave).unwrap();
    world.wait(5.0, |w| w.status("n2", "n1") == Some(Status::Down));
}

#[test]
fn a_suspended_member_is_called_down_and_comes_back_with_its_next_beat() {
    for count in [3, 10] {
        let mut world = World::cluster(count);
        world.command("n2", Command::Beat(false)).unwrap();
        let took = world.wait(5.0, |w| w.all_say("n2", Status::Down));
        assert!(took > 2.0, "not before the acceptable pause, but after {took} s");
        world.run(30.0);
        assert!(world.all_say("n2", Status::Down), "and it stays down, whatever it hears");
        let present = world.node("n2").view(world.now).iter().filter(|m| m.status == Status::Alive).count();
        assert_eq!(present, count, "its own view is true, and it accuses no member");
        world.command("n2", Command::Beat(true)).unwrap();
        let back = world.wait(2.0, |w| w.all_say("n2", Status::Alive));
        assert!(back < 0.5, "back after {back} s");
    }
}

#[test]
fn a_process_that_pauses_for_a_second_is_not_called_down() {
    let mut world = World::cluster(10);
    world.forget_events();
    world.stop("n3");
    world.run(1.0);
    world.resume("n3");
    world.run(5.0);
    assert_eq!(world.count("n3", MemberEventKind::Down), 0);
    assert!(world.all_say("n3", Status::Alive));
    for other in ["n1", "n2", "n4", "n10"] {
        assert_eq!(world.count(other, MemberEventKind::Suspect), 0, "the sleeper does not blame {other}");
    }
}

#[test]
fn a_newcomer_asks_the_members_that_a_busy_seed_names() {
    // Now and then it asks the seed again, so there are several worlds.
    let by_the_seed = |busy| (1..=8).map(|seed| sent_by_the_seed_to_a_newcomer(seed, busy)).sum::<usize>();
    let (calm, busy) = (by_the_seed(false), by_the_seed(true));
    assert!(busy < calm / 2, "{busy} of {calm} bytes");
}

fn sent_by_the_seed_to_a_newcomer(seed: u64, busy: bool) -> usize {
    let mut world = World::with_seed(seed).filled(40);
    if busy {
        let packet =
            Packet { seq: 1, body: Some(Body::Pull(Pull::default())), ..packets::telling(Vec::new()) };
        let frame = packets::datagram(&packet, &config());
        let from = "10.0.0.99:4099".parse().unwrap();
        for _ in 0..300 {
            let _ = world.hand("n1", Input::Datagram { from, bytes: &frame });
        }
    }
    world.sent.clear();
    world.start("n41", &["n1"]);
    let took = world.wait(1.0, |w| w.node("n41").members() == 41);
    assert!(took < 0.1, "{took}");
    let to_newcomer = |sent: &&Sent| sent.from == "n1" && sent.receiver.as_deref() == Some("n41");
    world.sent.iter().filter(to_newcomer).map(|sent| sent.bytes).sum()
}

#[test]
fn a_member_at_the_address_of_a_dead_one_does_not_answer_for_it() {
    let mut world = World::cluster(6);
    let address = world.address("n3");
    world.kill("n3");
    world.add(Start::new("n9").at(address).seeds(&["n1"]));
    world.wait(4.5, |w| w.names().all(|by| by == "n9" || w.status(by, "n3") == Some(Status::Down)));
    assert!(world.names().all(|by| world.status(by, "n9") == Some(Status::Alive)));
}

/// Six, of whom n5 is cut off while n3 dies and another host, 999, takes over its name.
fn taken_over_while_one_is_away() -> World {
    let mut world = World::cluster(6);
    for other in OTHERS.into_iter().chain(["n3"]) {
        world.cut_between("n5", other);
    }
    world.kill("n3");
    world.wait(8.0, |w| OTHERS.iter().all(|by| w.status(by, "n3") == Some(Status::Down)));
    world.start_as("n3", 999, &["n1"], config());
    world.wait(3.0, |w| OTHERS.iter().all(|by| w.status(by, "n3") == Some(Status::Alive)));
    world
}

const OTHERS: [&str; 4] = ["n1", "n2", "n4", "n6"];

/// The host that n5 holds for n3.
fn holder(world: &World) -> u128 {
    world.member("n5", "n3").unwrap().host_id.0
}

#[test]
fn a_member_that_suspects_the_first_of_two_dead_hosts_of_a_name_follows_the_others() {
    let mut world = taken_over_while_one_is_away();
    world.kill("n3");
    world.wait(8.0, |w| OTHERS.iter().all(|by| w.status(by, "n3") == Some(Status::Down)));
    assert_ne!(world.status("n5", "n3"), Some(Status::Down), "one alone does not call it down");
    world.heal();
    world.wait(20.0, |w| w.all_say("n3", Status::Down));
    assert_eq!(holder(&world), 999);
}

#[test]
fn a_member_that_missed_the_end_of_a_host_comes_to_follow_the_heir_of_its_name() {
    let mut world = taken_over_while_one_is_away();
    // The heir has joined, and knows that most see it.
    world.run(1.0);
    world.heal();
    world.run(4.0);
    assert_ne!(holder(&world), 999, "n5 may have had a moment's doubt only");
    world.wait(40.0, |w| holder(w) == 999 && w.agree());
    let refused = world.events("n3").iter().any(|(_, e)| matches!(e, Event::NameRefused { .. }));
    assert!(!refused, "one refuses, and most agree");
}

#[test]
fn a_forgotten_member_is_gone_everywhere_and_does_not_come_back() {
    let mut world = World::cluster(5);
    let name = Name::new("n3").unwrap();
    assert!(matches!(world.command("n1", Command::Forget(name.clone())), Err(Rejected::StillHere { .. })));
    let unknown = Name::new("n99").unwrap();
    assert_eq!(world.command("n1", Command::Forget(unknown.clone())), Err(Rejected::UnknownMember(unknown)));
    world.kill("n3");
    world.wait(3.0, |w| w.all_say("n3", Status::Down));
    // One member does not hear of it now, and would bring it back later.
    for other in ["n1", "n2", "n4"] {
        world.cut_between("n5", other);
    }
    world.command("n1", Command::Forget(name)).unwrap();
    world.run(1.0);
    assert_eq!(world.status("n2", "n3"), None);
    world.heal();
    world.wait(10.0, |w| w.statuses("n3").iter().all(Option::is_none));
    world.run(10.0);
    assert!(world.statuses("n3").iter().all(Option::is_none));
}

#[test]
fn a_member_that_comes_and_goes_stays_out_the_third_time() {
    let mut world = World::cluster(10);
    world.run(20.0);
    world.forget_events();
    for _ in 0..4 {
        world.vanish("n3");
        world.run(6.0);
        world.heal();
        world.run(10.0);
    }
    assert!(world.all_say("n3", Status::Down), "{world:?}");
    let others = world.others("n3");
    let downs = others.iter().map(|other| {
        let about = |e: &Event| matches!(e, Event::Member(m) if m.name.as_str() == "n3" && m.kind == MemberEventKind::Down);
        world.events(other).iter().filter(|(_, e)| about(e)).count()
    });
    assert_eq!(downs.max(), Some(3), "called down at three cuts, then no more");
    world.wait(480.0, |w| w.all_say("n3", Status::Alive));
}

#[test]
fn three_that_are_left_damp_the_one_that_flaps_and_two_do_not() {
    for (count, out) in [(3, true), (2, false)] {
        let mut world = World::cluster(count);
        world.run(20.0);
        for _ in 0..3 {
            world.vanish("n2");
            world.run(14.0);
            world.heal();
            world.run(8.0);
        }
        let down = world.status("n1", "n2") == Some(Status::Down);
        assert_eq!(down, out, "of {count}: {world:?}");
    }
}

#[test]
fn a_seed_that_comes_late_is_still_found() {
    let mut world = World::new();
    let seed = "10.0.0.1:4001".parse().unwrap();
    world.start("n2", &[]);
    world.command("n2", Command::Seeds(vec![seed])).unwrap();
    world.run(30.0);
    assert!(!world.node("n2").is_joined());
    world.add(Start::new("n1").at(seed));
    world.wait(3.0, |w| w.agree() && w.node("n2").is_joined());
}

#[test]
fn a_newcomer_whose_seed_dies_while_it_is_asked_does_not_storm_its_host() {
    let mut world = World::new();
    world.start("n1", &[]);
    world.run(1.0);
    world.start("n2", &["n1"]);
    // The call was answered, and the question for the roster is under way.
    world.run(0.0012);
    world.kill("n1");
    let before = world.sent.len();
    world.run(5.0);
    let sent = world.sent.len() - before;
    // 9,819 when a refusal was a reason to ask again at once.
    assert!(sent < 50, "{sent} datagrams in five seconds to a host that refuses them");
    world.start_as("n1", 1, &["n2"], config());
    world.wait(3.0, |w| w.agree() && w.node("n2").is_joined());
}

#[test]
fn a_member_begins_above_an_earlier_life_that_was_numbered_ahead() {
    let mut world = World::cluster(3);
    // The clock of n2's host was ahead in an earlier life that others remember.
    let ahead = DAWN_MS + 3_600_000;
    world.kill("n2");
    world.run(0.1);
    world.add(Start::new("n2").host(2).seeds(&["n1"]).generation(ahead));
    world.run(3.0);
    world.kill("n2");
    world.run(0.1);
    world.start_as("n2", 2, &["n1"], config());
    world.run(5.0);
    let raised = |e: &Event| matches!(e, Event::GenerationRaised(g) if *g > ahead);
    assert!(world.events("n2").iter().any(|(_, e)| raised(e)));
    assert!(world.all_say("n2", Status::Alive));
    assert!(world.agree());
}

#[test]
fn a_generation_too_far_in_the_future_is_refused() {
    let mut world = World::cluster(3);
    let dreamer = Start::new("dreamer").at("10.0.0.77:4077".parse().unwrap()).seeds(&["n1"]);
    world.add(dreamer.generation(DAWN_MS + 3 * DAY_MS));
    world.run(3.0);
    assert!(
        world
            .rejected
            .iter()
            .any(|(_, r)| matches!(r, Rejected::FarFuture { name, .. } if name.as_str() == "dreamer"))
    );
    assert!(world.events("dreamer").iter().any(|(_, e)| *e == Event::ClockRefused));
    assert_eq!(world.status("n1", "dreamer"), None);
}

#[test]
fn a_member_whose_clock_is_right_again_resets_its_generation() {
    let mut world = World::cluster(3);
    world.add(Start::new("n9").seeds(&["n1"]).generation(DAWN_MS + 3 * DAY_MS));
    world.run(3.0);
    let reset = |e: &Event| matches!(e, Event::GenerationReset(_));
    assert!(!world.events("n9").iter().any(|(_, e)| reset(e)), "its clock is still wrong");
    assert_eq!(world.status("n1", "n9"), None);
    let out = |w: &World| w.node("n9").outside().map(|outside| outside.reason.word());
    assert_eq!(out(&world), Some("clock"), "it knows that it is not taken in");
    assert!(!world.node("n9").is_joined());
    let unix_ms = unix_ms(world.now);
    world.hand("n9", Input::WallClock { unix_ms }).unwrap();
    world.wait(5.0, |w| w.all_say("n9", Status::Alive) && w.agree());
    world.wait(15.0, |w| out(w).is_none() && w.node("n9").is_joined());
    let refused = |w: &World| w.events("n9").iter().filter(|(_, e)| *e == Event::ClockRefused).count();
    let before = refused(&world);
    world.run(10.0);
    assert_eq!(refused(&world), before, "refusals of the old life count no more");
    let resets = world.events("n9").iter().filter(|(_, e)| reset(e)).count();
    assert_eq!(resets, 1);
    assert!(world.node("n9").own().generation <= unix_ms + 5_000);
}

#[test]
fn one_peer_with_a_clock_far_behind_does_not_make_the_others_doubt_theirs() {
    let mut world = World::cluster(5);
    world.run(10.0);
    world.add(Start::new("n9").seeds(&["n1"]).clock(DAWN_MS - 3 * DAY_MS));
    world.forget_events();
    world.run(20.0);
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        assert!(!world.events(name).iter().any(|(_, e)| *e == Event::ClockRefused), "{name}");
        assert_eq!(world.node(name).outside(), None, "{name}");
    }
}

#[test]
fn a_member_whose_clock_jumped_a_year_ahead_is_told_so_without_a_storm() {
    let mut world = World::cluster(5);
    world.kill("n3");
    world.run(2.0);
    world.kill("n2");
    world.run(0.2);
    world.add(Start::new("n2").host(2).seeds(&["n1"]).generation(DAWN_MS + 365 * DAY_MS));
    let before = world.sent.len();
    world.run(5.0);
    assert!(world.events("n2").iter().any(|(_, e)| *e == Event::ClockRefused));
    let by = |name: &str| world.sent[before..].iter().filter(|sent| sent.from == name).count();
    for name in ["n1", "n2", "n4", "n5"] {
        assert!(by(name) < 200, "{name} sent {} datagrams in five seconds", by(name));
    }
}

#[test]
fn garbage_is_counted_by_reason_and_changes_nothing() {
    let mut world = World::cluster(3);
    let before = world.node("n1").view_fingerprint();
    let noise = [0xa5; 9000];
    let frame = |cluster: &str, body: &[u8]| {
        let mut frame = Vec::new();
        seal(body, &Cluster::new(cluster).unwrap(), &Keyring::empty(), [0; 24], &mut frame);
        frame
    };
    let mut damaged = frame("story", &noise[..60]);
    *damaged.last_mut().unwrap() ^= 1;
    for (bytes, reason) in [
        (noise[..0].to_vec(), "truncated"),
        (noise[..60].to_vec(), "not-ours"),
        (noise.to_vec(), "oversized"),
        (frame("story", &[])[..8].to_vec(), "truncated"),
        (frame("other", &noise[..60]), "other-cluster"),
        (frame("story", &noise[..60]), "malformed"),
        (damaged, "bad-checksum"),
    ] {
        let count = |w: &World| w.node("n1").stats().rejected.get(reason).copied().unwrap_or(0);
        let counted = count(&world);
        let from = "10.0.0.66:1".parse().unwrap();
        assert!(world.hand("n1", Input::Datagram { from, bytes: &bytes }).is_err());
        assert_eq!(count(&world), counted + 1, "{reason}");
    }
    assert_eq!(world.node("n1").view_fingerprint(), before);
    assert_eq!(world.node("n1").stats().rejected.values().sum::<u64>(), 7);
}

#[test]
fn a_seed_that_all_ask_stays_within_its_byte_budget_and_alive() {
    let mut world = World::new();
    let config = Config { byte_rate: 5_000, ..config() };
    world.start_as("n1", 1, &[], config);
    for i in 2..=40 {
        world.start(&format!("n{i}"), &["n1"]);
    }
    let began = world.sent.len();
    world.wait(20.0, |w| w.agree() && w.nodes().all(|node| node.members() == 40));
    let elapsed = (world.now.as_micros() - 1_000_000) as f64 / 1e6;
    let bytes: usize =
        world.sent[began..].iter().filter(|sent| sent.from == "n1").map(|sent| sent.bytes + 28).sum();
    assert!(bytes as f64 <= 5_000.0 * (4.0 + elapsed), "{bytes} B in {elapsed} s");
    assert!(world.node("n1").stats().datagrams_held_back > 0, "the budget was never used up");
    world.forget_events();
    world.run(30.0);
    let events: Vec<_> = world.all_events().collect();
    assert!(events.is_empty(), "and it was not taken for dead: {events:?}");
}

/// Members that are alive and still accused of something, at any observer.
fn accused(world: &World) -> Vec<String> {
    let views = world.nodes().flat_map(|node| node.view(world.now));
    views
        .filter(|m| m.status == Status::Alive && !m.accusers.is_empty())
        .map(|m| m.name.to_string())
        .collect()
}

#[test]
fn no_accusation_outlives_its_basis_after_a_one_way_cut() {
    let mut world = World::cluster(6);
    world.run(20.0);
    for from in ["n4", "n5", "n6"] {
        world.wire.cut.extend(["n1", "n2", "n3"].map(|to| (from.to_owned(), to.to_owned())));
    }
    world.run(10.0);
    assert_ne!(accused(&world), Vec::<String>::new(), "members are accused while it lasts");
    world.heal();
    // The longest that an accuser asks after one such episode: the shortest penalty, and the length of the cut.
    world.run(75.0);
    assert_eq!(accused(&world), Vec::<String>::new());
    assert!(world.agree());
}

#[test]
fn a_deaf_member_makes_no_healthy_member_suspect() {
    let mut world = World::cluster(8);
    world.forget_events();
    let deaf = (1..8).map(|i| (format!("n{i}"), "n8".to_owned()));
    world.wire.cut.extend(deaf);
    world.run(10.0);
    world.kill("n8");
    for i in 1..8 {
        assert_eq!(world.count(&format!("n{i}"), MemberEventKind::Suspect), 0, "n{i} is well");
    }
}

#[test]
fn a_filter_that_refuses_for_a_living_member_does_not_accuse_it_and_its_death_is_found_in_time() {
    for refused in [&["n1"][..], &["n1", "n2"]] {
        let mut world = World::cluster(10);
        world.forget_events();
        world.wire.refused.extend(refused.iter().map(|from| ((*from).to_owned(), "n9".to_owned())));
        world.run(60.0);
        for kind in [MemberEventKind::Suspect, MemberEventKind::Down] {
            assert_eq!(world.count("n9", kind), 0, "{kind:?}");
        }
        let seen = world.member("n1", "n9").unwrap();
        assert_eq!((seen.reachable, seen.refused), (Some(false), true), "it is shown as what it is");
        world.kill("n9");
        world.wait(2.5, |w| w.all_say("n9", Status::Down));
    }
}

#[test]
fn a_member_with_a_wrong_address_is_put_out_once_at_most() {
    let mut world = World::cluster(6);
    let all = (1..6).map(|i| (format!("n{i}"), "n6".to_owned()));
    world.wire.refused.extend(all);
    world.run(10.0);
    world.forget_events();
    world.run(50.0);
    let again = world.count("n6", MemberEventKind::Down) + world.count("n6", MemberEventKind::Suspect);
    assert!(again <= 10, "at most put out once by each, as of no use to anybody: {again}");
}

#[test]
fn a_member_that_slept_longer_than_the_dead_are_remembered_does_not_bring_them_back() {
    let mut world = World::new();
    let seconds = std::time::Duration::from_secs;
    for i in 1..=5 {
        let mut config = config();
        (config.forget_down_after, config.forget_left_after) = (seconds(20), seconds(10));
        config.tombstones = (seconds(60), 100);
        world.start_as(&format!("n{i}"), i, &["n1", "n2"], config);
    }
    world.run(15.0);
    world.stop("n1");
    world.run(20.0);
    world.vanish("n4");
    world.stop("n4");
    world.command("n5", Command::Leave).unwrap();
    world.run(2.0);
    world.kill("n5");
    world.run(200.0);
    assert_eq!(world.node("n2").members(), 2, "n1, n4 and n5 are forgotten");
    world.forget_events();
    world.resume("n1");
    world.run(60.0);
    for gone in ["n4", "n5"] {
        for kind in [MemberEventKind::Join, MemberEventKind::Suspect, MemberEventKind::Down] {
            let others = world.others("n1");
            let events = others.iter().flat_map(|other| world.events(other));
            let about =
                |e: &Event| matches!(e, Event::Member(m) if m.name.as_str() == gone && m.kind == kind);
            assert_eq!(events.filter(|(_, e)| about(e)).count(), 0, "{gone}: {kind:?}");
        }
    }
    for awake in ["n1", "n2", "n3"] {
        assert_eq!(world.node(awake).members(), 3, "{awake}");
    }
}

#[test]
fn a_host_that_overslept_keeps_the_members_that_it_hears_of_again() {
    let mut world = World::cluster(4);
    world.vanish("n4");
    world.stop("n4");
    world.wait(6.0, |w| w.status("n1", "n4") == Some(Status::Down));
    let five_days_on = unix_ms(world.now) + 5 * DAY_MS;
    world.hand("n1", Input::WallClock { unix_ms: five_days_on }).unwrap();
    world.forget_events();
    world.run(35.0);
    assert_eq!(world.node("n1").members(), 4, "n2 and n3 still tell of n4");
    assert_eq!(world.count("n2", MemberEventKind::Forgotten), 0);
    assert_eq!(world.count("n4", MemberEventKind::Forgotten), 1);
}

const DAY_MS: u64 = 24 * 3_600_000;
