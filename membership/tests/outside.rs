//! A member that is out must not say that it is in: members that are put out, refused, unanswered, or copied.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use heartsay_membership::{
    Command, Config, Electorate, Event, HostId, MemberEventKind, OutsideReason, Quorum, Status,
};
use heartsay_testkit::{Start, World, config};

/// Nodes `n1` to `nN` that all vote and hold quorum.
fn voters(count: u32) -> World {
    let mut world = World::new();
    for i in 1..=count {
        world.start_as(&format!("n{i}"), i.into(), &["n1"], voting(count));
    }
    world.run(30.0);
    assert!((1..=count).all(|i| quorum(&world, &format!("n{i}")) == Quorum::Held));
    world.forget_events();
    world
}

fn voting(count: u32) -> Config {
    let electorate: Electorate = count.to_string().parse().unwrap();
    Config { electorate: Some(electorate), ..config() }
}

fn quorum(world: &World, name: &str) -> Quorum {
    world.node(name).quorum(world.now).quorum
}

/// The word for why `name` believes that it is out.
fn outside(world: &World, name: &str) -> Option<&'static str> {
    world.node(name).outside().map(|outside| outside.reason.word())
}

/// Nine of ten datagrams to `name` are lost, while all that it sends arrives, until `until` holds. `never` must not hold
/// meanwhile.
fn deafen(
    world: &mut World,
    name: &str,
    seconds: u32,
    never: impl Fn(&World) -> bool,
    until: impl Fn(&World) -> bool,
) {
    world.wire.loss = world.others(name).into_iter().map(|other| ((other, name.to_owned()), 0.9)).collect();
    world.wait(f64::from(seconds), |world| {
        assert!(!never(world), "{world:?}");
        until(world)
    });
    world.wire.loss.clear();
}

/// A holder of quorum has called n2 down, and n2 would say that it holds quorum too.
fn two_would_act(world: &World) -> bool {
    quorum(world, "n2") == Quorum::Held
        && world.names().any(|other| {
            other != "n2"
                && world.status(other, "n2") == Some(Status::Down)
                && quorum(world, other) == Quorum::Held
        })
}

#[test]
fn a_member_that_is_kept_out_learns_it_and_has_lost_quorum_before_the_verdict() {
    for count in [3, 5, 9] {
        let mut world = voters(count);
        deafen(&mut world, "n2", 120, two_would_act, |w| outside(w, "n2") == Some("kept-out"));
        let told = world.node("n2").outside().unwrap();
        assert!(
            matches!(told.reason, OutsideReason::KeptOut { wait } if (1..=61).contains(&wait.as_secs()))
                && told.by.len() >= 2,
            "{told:?}"
        );
        assert!(told.to_string().contains("keep this member out"), "{told}");
        let status = world.node("n2").quorum(world.now);
        assert_eq!(status.quorum, Quorum::Lost);
        assert!(status.reason.contains("keep this member out"), "{}", status.reason);
        let said = |e: &Event| matches!(e, Event::Outside(Some(_)));
        assert_eq!(world.events("n2").iter().filter(|(_, e)| said(e)).count(), 1, "told once");
        world.heal();
        world.wait(150.0, |w| outside(w, "n2").is_none() && w.all_say("n2", Status::Alive));
        world.wait(10.0, |w| quorum(w, "n2") == Quorum::Held);
        let back = |e: &Event| matches!(e, Event::Outside(None));
        assert_eq!(world.events("n2").iter().filter(|(_, e)| back(e)).count(), 1, "and once when it is over");
        for other in world.names().filter(|other| *other != "n2") {
            assert_eq!(quorum(&world, other), Quorum::Held);
        }
    }
}

#[test]
fn a_suspended_member_holds_no_quorum_when_it_is_called_down() {
    let mut world = voters(3);
    world.command("n2", Command::Beat(false)).unwrap();
    world.wait(8.0, |w| w.all_say("n2", Status::Down));
    world.wait(2.0, |w| quorum(w, "n2") == Quorum::Lost && outside(w, "n2") == Some("down"));
    world.command("n2", Command::Beat(true)).unwrap();
    world.wait(5.0, |w| quorum(w, "n2") == Quorum::Held && outside(w, "n2").is_none());
}

#[test]
fn a_mute_member_knows_that_it_is_unanswered() {
    let mut world = voters(5);
    for other in ["n1", "n3", "n4", "n5"] {
        world.wire.cut.insert(("n2".into(), other.into()));
    }
    world.wait(2.0, |w| quorum(w, "n2") == Quorum::Lost);
    world.wait(15.0, |w| outside(w, "n2") == Some("unanswered"));
    world.heal();
    world.wait(5.0, |w| outside(w, "n2").is_none());
}

#[test]
fn a_deaf_member_that_calls_the_others_down_is_not_in_again() {
    let mut world = voters(3);
    for other in ["n1", "n3"] {
        world.wire.cut.insert((other.into(), "n2".into()));
    }
    world.wait(30.0, |w| outside(w, "n2") == Some("unanswered"));
    world.wait(60.0, |w| ["n1", "n3"].iter().all(|other| w.status("n2", other) == Some(Status::Down)));
    world.run(10.0);
    assert_eq!(outside(&world, "n2"), Some("unanswered"), "{world:?}");
    world.heal();
    world.wait(60.0, |w| outside(w, "n2").is_none());
}

#[test]
fn the_last_of_two_is_not_out() {
    let mut world = voters(2);
    world.kill("n2");
    world.wait(15.0, |w| w.status("n1", "n2") == Some(Status::Down));
    world.run(60.0);
    assert_eq!(outside(&world, "n1"), None);
}

/// A second process of the name `n3`, under another key of this little world. It comes with the given host id.
fn twin(world: &mut World, host: u128, config: Config) {
    let twin = Start::new("n3").key("twin").host(host).at("10.0.0.99:4099".parse().unwrap());
    world.add(twin.seeds(&["n1"]).config(config));
}

fn refusals(world: &World, name: &str) -> usize {
    world.events(name).iter().filter(|(_, e)| matches!(e, Event::NameRefused { .. })).count()
}

#[test]
fn a_refused_name_has_not_joined_holds_no_quorum_and_is_told_so_once() {
    let mut world = voters(3);
    twin(&mut world, 999, voting(3));
    for _ in 0..200 {
        world.run(0.1);
        assert_ne!(quorum(&world, "twin"), Quorum::Held);
        let joined = |e: &Event| matches!(e, Event::Joined { .. });
        assert!(!world.events("twin").iter().any(|(_, e)| joined(e)));
    }
    assert!(!world.node("twin").is_joined());
    assert_eq!((outside(&world, "twin"), refusals(&world, "twin")), (Some("refused"), 1));
    assert_eq!(
        (refusals(&world, "n3"), quorum(&world, "n3")),
        (0, Quorum::Held),
        "the first is not disturbed"
    );
    world.kill("n3");
    world.wait(15.0, |w| w.node("twin").is_joined() && quorum(w, "twin") == Quorum::Held);
    assert_eq!(outside(&world, "twin"), None);
}

#[test]
fn of_a_copied_state_directory_the_later_process_gives_way_without_a_storm() {
    for count in [2, 3, 7] {
        let mut world = voters(count.max(3));
        twin(&mut world, 3, voting(count.max(3)));
        world.wait(3.0, |w| outside(w, "twin") == Some("refused"));
        world.run(10.0);
        let all = ["n2", "n3", "twin"];
        let sent = |w: &World| all.map(|name| w.node(name).stats().datagrams_sent);
        let before = sent(&world);
        world.run(10.0);
        let [usual, first, later] = std::array::from_fn(|i| sent(&world)[i] - before[i]);
        let most = 2 * usual + 50;
        assert!(first < most && later < most, "of {count}: {first} and {later}, and {usual} by another");
        assert_eq!((outside(&world, "twin"), refusals(&world, "twin")), (Some("refused"), 1));
        assert!(!world.node("twin").is_joined());
        assert_eq!((outside(&world, "n3"), refusals(&world, "n3")), (None, 0));
        let others = world.names().filter(|n| !["n3", "twin"].contains(n)).count();
        assert!(world.count("n3", MemberEventKind::Restart) <= 2 * others, "once there and once back");
        let seen = world.member("n1", "n3").unwrap();
        assert_eq!((seen.address, seen.status), (world.address("n3"), Status::Alive));
        assert_eq!((quorum(&world, "n3"), quorum(&world, "twin")), (Quorum::Held, Quorum::Lost));
    }
}

#[test]
fn a_host_that_restarts_elsewhere_with_its_state_directory_is_no_twin() {
    let mut world = voters(5);
    let elsewhere = "10.0.0.98:4098".parse().unwrap();
    world.kill("n3");
    world.run(0.2);
    world.add(Start::new("n3").host(3).at(elsewhere).seeds(&["n1"]).config(voting(5)));
    let moved =
        |w: &World| w.names().all(|by| w.member(by, "n3").is_some_and(|seen| seen.address == elsewhere));
    world.wait(1.0, |w| w.node("n3").is_joined() && moved(w));
    world.run(10.0);
    assert_eq!((outside(&world, "n3"), refusals(&world, "n3")), (None, 0));
    assert_eq!((quorum(&world, "n3"), world.count("n3", MemberEventKind::Restart)), (Quorum::Held, 4));
}

#[test]
fn a_member_back_with_a_slow_clock_at_another_address_begins_above_its_own_past() {
    // The old address answers nothing, or refuses.
    for silent in [true, false] {
        let mut world = voters(3);
        let before = world.node("n3").own().generation;
        if silent {
            world.stop("n3");
            world.rename("n3", "past");
            ["n1", "n2"].iter().for_each(|other| world.cut_between("past", other));
            world.cut_between("past", "n3");
        } else {
            world.kill("n3");
        }
        let elsewhere = "10.0.0.98:4098".parse().unwrap();
        let start = Start::new("n3").host(3).at(elsewhere).seeds(&["n1"]).config(voting(3));
        world.add(start.generation(before - 3_600_000));
        let raised = |w: &World| {
            let raised = |e: &Event| matches!(e, Event::GenerationRaised(g) if *g == before + 1);
            w.events("n3").iter().any(|(_, e)| raised(e))
        };
        world.wait(6.0, raised);
        world.wait(6.0, |w| w.status("n1", "n3") == Some(Status::Alive) && quorum(w, "n3") == Quorum::Held);
        assert_eq!(refusals(&world, "n3"), 0);
    }
}

/// What `name` was told of itself, in order.
fn told(world: &World, name: &str) -> Vec<&'static str> {
    let word = |event: &Event| {
        if let Event::Outside(outside) = event {
            return Some(outside.as_ref().map_or("in", |outside| outside.reason.word()));
        }
        let name = matches!(event, Event::NameRefused { .. }).then_some("name");
        name.or_else(|| matches!(event, Event::Joined { .. }).then_some("joined"))
    };
    world.events(name).iter().filter_map(|(_, event)| word(event)).collect()
}

#[test]
fn clones_that_do_not_reach_one_another_stop_raising_their_generations() {
    for first_is_lower in [true, false] {
        let mut world = voters(3);
        if !first_is_lower {
            // The copy was there first.
            world.kill("n3");
            world.run(1.0);
            world.start_as("n3", 3, &["n1"], voting(3));
            world.run(20.0);
        }
        world.cut_between("n3", "twin");
        twin(&mut world, 3, voting(3));
        world.run(60.0);
        let refused: Vec<&str> =
            ["n3", "twin"].into_iter().filter(|n| outside(&world, n) == Some("refused")).collect();
        assert_eq!(refused, ["twin"], "the one with the higher address: {world:?}");
        assert_eq!((refusals(&world, "twin"), refusals(&world, "n3")), (1, 0));
        let generation = world.node("n3").own().generation;
        world.run(60.0);
        assert_eq!(world.node("n3").own().generation, generation, "its generation is not raised any more");
        assert_eq!((quorum(&world, "n3"), quorum(&world, "twin")), (Quorum::Held, Quorum::Lost));
        world.kill("n3");
        world.wait(30.0, |w| outside(w, "twin").is_none() && quorum(w, "twin") == Quorum::Held);
    }
}

#[test]
fn a_refused_member_joins_once_its_name_is_free() {
    // Straight in; unanswered first, being cut off.
    for cut in [false, true] {
        let mut world = voters(3);
        twin(&mut world, 999, voting(3));
        world.wait(3.0, |w| outside(w, "twin") == Some("refused"));
        if cut {
            ["n1", "n2", "n3"].iter().for_each(|other| world.cut_between("twin", other));
            world.wait(30.0, |w| outside(w, "twin") == Some("unanswered"));
        }
        world.kill("n3");
        world.wait(15.0, |w| w.status("n1", "n3") == Some(Status::Down));
        world.heal();
        world.wait(70.0, |w| quorum(w, "twin") == Quorum::Held);
        let expected: &[&str] = if cut {
            &["name", "refused", "unanswered", "in", "joined"]
        } else {
            &["name", "refused", "in", "joined"]
        };
        assert_eq!(told(&world, "twin"), expected);
        assert!(world.node("twin").is_joined());
    }
}

#[test]
fn a_joined_member_that_was_unanswered_does_not_join_again() {
    let mut world = voters(5);
    for other in ["n1", "n3", "n4", "n5"] {
        world.wire.cut.insert(("n2".into(), other.into()));
    }
    world.wait(15.0, |w| outside(w, "n2") == Some("unanswered"));
    world.heal();
    world.wait(5.0, |w| outside(w, "n2").is_none());
    assert_eq!(told(&world, "n2"), ["unanswered", "in"]);
}

/// The same world, with another host under the name `n3` in a cluster of its own: n4, n5 and `twin`.
fn two_clusters(first_is_here: bool) -> World {
    let mut world = World::new();
    let here =
        |world: &mut World| (1..=3).for_each(|i| world.start_as(&format!("n{i}"), i, &["n1"], voting(6)));
    let there = |world: &mut World| {
        for (a, b) in ["n4", "n5", "twin"].iter().flat_map(|a| ["n1", "n2", "n3"].map(|b| (*a, b))) {
            world.cut_between(a, b);
        }
        (4..=5).for_each(|i| world.start_as(&format!("n{i}"), i, &["n4"], voting(6)));
        let twin = Start::new("n3").key("twin").host(999).at("10.0.0.99:4099".parse().unwrap());
        world.add(twin.seeds(&["n4"]).config(voting(6)));
    };
    if first_is_here {
        here(&mut world);
    } else {
        there(&mut world);
    }
    world.run(10.0);
    if first_is_here {
        there(&mut world);
    } else {
        here(&mut world);
    }
    world.run(20.0);
    world
}

#[test]
fn of_two_clusters_that_meet_with_a_holder_of_one_name_each_the_first_keeps_it() {
    for first_is_here in [true, false] {
        let mut world = two_clusters(first_is_here);
        let (first, later) = if first_is_here { ("n3", "twin") } else { ("twin", "n3") };
        assert!(["n3", "twin"].iter().all(|n| outside(&world, n).is_none() && world.node(n).is_joined()));
        world.forget_events();
        world.heal();
        let seed = world.address("n4");
        world.command("n1", Command::Seeds(vec![seed])).unwrap();
        let host = HostId(if first_is_here { 3 } else { 999 });
        for _ in 0..300 {
            world.run(0.1);
            assert!(["n3", "twin"].iter().any(|n| quorum(&world, n) != Quorum::Held), "{world:?}");
        }
        assert_eq!((outside(&world, first), outside(&world, later)), (None, Some("refused")), "{world:?}");
        assert_eq!((told(&world, first), told(&world, later)), (vec![], vec!["name", "refused"]));
        for other in ["n1", "n2", "n4", "n5"] {
            let seen = world.member(other, "n3").unwrap();
            assert_eq!((seen.host_id, seen.status), (host, Status::Alive), "at {other}");
        }
        world.wait(10.0, |w| quorum(w, first) == Quorum::Held && quorum(w, later) == Quorum::Lost);
        // When the first goes, the other takes its place.
        world.kill(first);
        world.wait(30.0, |w| quorum(w, later) == Quorum::Held && outside(w, later).is_none());
    }
}

#[test]
fn of_two_that_are_alone_under_one_name_the_later_gives_way_for_as_long_as_the_first_lives() {
    let call = |seeds: bool, to| if seeds { Command::Seeds(vec![to]) } else { Command::Join(vec![to]) };
    for (later_calls, again) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut world = World::new();
        world.start_as("n3", 3, &[], voting(2));
        world.run(1.0);
        let later = Start::new("n3").key("twin").host(2).at("10.0.0.99:4099".parse().unwrap());
        world.add(later.config(voting(2)));
        // Long enough for the calls to a seed to have become rare.
        world.run(60.0);
        let (caller, called) = if later_calls { ("twin", "n3") } else { ("n3", "twin") };
        let seed = world.address(called);
        world.forget_events();
        world.command(caller, call(again, seed)).unwrap();
        world.run(5.0);
        let case = format!("the later one calls: {later_calls}, again and again: {again}: {world:?}");
        for _ in 0..600 {
            world.run(0.2);
            assert_eq!((outside(&world, "n3"), outside(&world, "twin")), (None, Some("refused")), "{case}");
        }
        assert_eq!((refusals(&world, "n3"), refusals(&world, "twin")), (0, 1), "{case}");
        world.kill("n3");
        world.wait(15.0, |w| outside(w, "twin").is_none());
        assert_eq!(told(&world, "twin"), ["name", "refused", "in", "joined"], "{case}");
    }
}

#[test]
fn a_renamed_host_is_one_vote_and_the_others_keep_quorum() {
    let mut world = voters(3);
    let address = world.address("n3");
    world.kill("n3");
    world.run(0.3);
    world.add(Start::new("renamed").host(3).at(address).seeds(&["n1"]).config(voting(3)));
    world.run(15.0);
    assert_eq!(world.status("n1", "n3"), Some(Status::Down));
    for name in ["n1", "n2", "renamed"] {
        assert_eq!(
            quorum(&world, name),
            Quorum::Held,
            "{name}: {}",
            world.node(name).quorum(world.now).reason
        );
    }
    // A fourth host is one too many: it has no vote, and takes none.
    world.start_as("n4", 4, &["n1"], voting(3));
    world.run(15.0);
    let status = world.node("n1").quorum(world.now);
    assert_eq!((status.quorum, status.present), (Quorum::Held, 3), "{}", status.reason);
    assert!(status.reason.contains("n4 has no vote: 3 are expected"), "{}", status.reason);
    world.kill("n2");
    world.kill("renamed");
    world.wait(10.0, |w| quorum(w, "n1") == Quorum::Lost);
}
