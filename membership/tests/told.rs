//! A source outside the cluster says that a member is gone: true, false, untrusted, and from a member that lies.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use heartsay_membership::{
    AccuserView, Command, Config, Event, Input, MemberEventKind, Name, Rejected, Source, Status,
};
use heartsay_proto::gossip::{Accusation, Claim};
use heartsay_testkit::{World, config, packets};

/// How the reason of a verdict begins that rests on what it says.
const SAID: &str = "libvirt says that it is gone, and it does not answer";

fn libvirt() -> Source {
    Source::new("libvirt").unwrap()
}

fn trusting() -> Config {
    Config { sources: vec![libvirt()], ..config() }
}

fn testify(of: &str) -> Command {
    Command::Testify { name: Name::new(of).unwrap(), source: libvirt() }
}

/// So many members that trust the source, after ten seconds.
fn cluster(members: usize, config: &Config) -> World {
    let mut world = World::new();
    for host in 1..=members {
        world.start_as(&format!("n{host}"), host as u128, &["n1"], config.clone());
    }
    world.run(10.0);
    world.forget_events();
    world
}

/// Stops `n3` without a word, has `n1` told so at once if `told`, and returns how long it took until the last of the
/// others called it down.
fn time_to_down(members: usize, told: bool, config: &Config) -> f64 {
    let mut world = cluster(members, config);
    world.vanish("n3");
    world.stop("n3");
    if told {
        world.command("n1", testify("n3")).unwrap();
        assert_eq!(world.status("n1", "n3"), Some(Status::Suspect), "at once");
    }
    let others = world.others("n3");
    world.wait(5.0, |w| others.iter().all(|by| w.status(by, "n3") == Some(Status::Down)))
}

#[test]
fn a_true_word_spares_the_pause() {
    for members in [3, 5, 20] {
        let (told, untold) =
            (time_to_down(members, true, &trusting()), time_to_down(members, false, &trusting()));
        println!("{members} members: down at the last after {told:.2} s, untold after {untold:.2} s");
        assert!(told < 0.9 && untold > 2.0);
    }
}

#[test]
fn all_that_trust_the_source_say_who_said_it() {
    let mut world = cluster(5, &trusting());
    world.vanish("n3");
    world.stop("n3");
    world.command("n1", testify("n3")).unwrap();
    let others = world.others("n3");
    world.wait(2.0, |w| others.iter().all(|by| w.status(by, "n3") == Some(Status::Down)));
    for by in &others {
        let accusers = world.member(by, "n3").unwrap().accusers;
        let source = |of: &AccuserView| of.source == Some(libvirt());
        assert!(accusers.iter().any(|a| a.by == "n1" && source(a)), "{by}: {accusers:?}");
        assert!(!accusers.iter().any(|a| a.by != "n1" && source(a)), "only n1 was told");
    }
    let said = |event: &Event| matches!(event, Event::Member(e) if e.kind == MemberEventKind::Down && e.reason.starts_with(SAID));
    assert!(world.all_events().any(said));
}

/// `n2` says that another source has told it so, before `n1` says it of one that is trusted.
#[test]
fn a_verdict_names_a_source_that_is_trusted() {
    let mut world = World::new();
    let strange = Source::new("aaa").unwrap();
    for host in 1..=5 {
        let sources = if host == 2 { vec![strange, libvirt()] } else { vec![libvirt()] };
        world.start_as(&format!("n{host}"), host, &["n1"], Config { sources, ..config() });
    }
    world.run(10.0);
    world.forget_events();
    world.vanish("n3");
    world.stop("n3");
    world.command("n2", Command::Testify { name: Name::new("n3").unwrap(), source: strange }).unwrap();
    world.command("n1", testify("n3")).unwrap();
    world.wait(2.0, |w| ["n1", "n4", "n5"].iter().all(|by| w.status(by, "n3") == Some(Status::Down)));
    let said = |event: &Event| matches!(event, Event::Member(e) if e.kind == MemberEventKind::Down && e.reason.starts_with("aaa"));
    for by in ["n1", "n4", "n5"] {
        assert!(!world.events(by).iter().any(|(_, event)| said(event)), "{by} does not trust it");
    }
}

#[test]
fn a_false_word_is_over_with_the_next_heartbeat() {
    let mut world = cluster(5, &trusting());
    for _ in 0..20 {
        world.command("n1", testify("n3")).unwrap();
        world.run(1.0);
        world.command("n2", testify("n3")).unwrap();
        world.command("n4", testify("n3")).unwrap();
        world.run(2.5);
        assert!(world.all_say("n3", Status::Alive), "{:?}", world.statuses("n3"));
    }
    assert_eq!(world.count("n3", MemberEventKind::Down), 0, "told sixty times, and it answers");
}

#[test]
fn who_trusts_no_source_gives_no_verdict_on_its_word() {
    let mut world = World::new();
    world.start_as("n1", 1, &["n1"], trusting());
    for host in 2..=5 {
        world.start_as(&format!("n{host}"), host, &["n1"], config());
    }
    world.run(10.0);
    let refused = world.command("n2", testify("n3"));
    assert_eq!(refused, Err(Rejected::UntrustedSource(libvirt())));
    assert!(world.all_say("n3", Status::Alive));
    // Told by one that trusts it: the others look at once, and wait as long as for anyone.
    world.vanish("n3");
    world.stop("n3");
    world.command("n1", testify("n3")).unwrap();
    world.wait(0.1, |w| w.status("n2", "n3") == Some(Status::Suspect));
    // A verdict of n1 would be told, but n1 is only one of those that look.
    world.forget_events();
    world.run(3.0);
    assert!(["n2", "n4", "n5"].iter().all(|by| world.status(by, "n3") == Some(Status::Down)));
}

#[test]
fn nobody_testifies_about_itself_strangers_or_the_dead() {
    let mut world = cluster(3, &trusting());
    let own = world.command("n1", testify("n1"));
    assert_eq!(own, Err(Rejected::Oneself(Name::new("n1").unwrap())));
    let stranger = world.command("n1", testify("n9"));
    assert_eq!(stranger, Err(Rejected::UnknownMember(Name::new("n9").unwrap())));
    world.vanish("n3");
    world.stop("n3");
    world.wait(4.0, |w| {
        w.status("n1", "n3") == Some(Status::Down) && w.status("n2", "n3") == Some(Status::Down)
    });
    world.forget_events();
    world.command("n1", testify("n3")).unwrap();
    world.run(3.0);
    assert_eq!(world.events("n1"), [], "that is known");
}

/// A member that lies: "libvirt has told these members", each by name.
#[test]
fn a_word_that_is_invented_puts_no_living_member_down() {
    let mut world = cluster(5, &trusting());
    let hash = |name: &str| {
        heartsay_proto::LastWords::read(&heartsay_membership::last_words(
            &Name::new(name).unwrap(),
            heartsay_membership::LastSecret::new([1; 16]),
            0,
        ))
        .unwrap()
        .subject
    };
    for _ in 0..20 {
        let view = world.member("n2", "n3").unwrap();
        let accusations = ["n1", "n2", "n4"].map(|by| Accusation {
            by: hash(by),
            basis: view.heartbeat + 1,
            kind: 5,
            source: "libvirt".into(),
            ..Accusation::default()
        });
        let claim = Claim {
            subject: hash("n3"),
            generation: view.generation,
            heartbeat: view.heartbeat,
            accusations: accusations.to_vec(),
            ..Claim::default()
        };
        let bytes = packets::datagram(&packets::telling(vec![claim]), &config());
        let from = world.address("n5");
        for to in ["n1", "n2", "n4"] {
            drop(world.hand(to, Input::Datagram { from, bytes: &bytes }));
        }
        world.run(1.7);
    }
    world.run(3.0);
    assert_eq!(world.count("n3", MemberEventKind::Down), 0);
    assert!(world.all_say("n3", Status::Alive));
}
