//! Members over real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use heartsay_membership::{Cluster, Command, Config, Event, Name, Profile, Rejected, StateError, Status};
use heartsay_tokio::{CommandError, Member, Options, SpawnError, View};

fn config() -> Config {
    Config::new(Cluster::new("test").unwrap(), Profile::Local)
}

fn options(name: &str, seeds: &[&Member]) -> Options {
    Options {
        bind: "127.0.0.1:0".parse().unwrap(),
        seeds: seeds.iter().map(|seed| seed.address().to_string()).collect(),
        ..Options::new(Name::new(name).unwrap())
    }
}

async fn sees(member: &Member, what: impl FnMut(&View) -> bool) {
    let mut view = member.view();
    tokio::time::timeout(Duration::from_secs(20), view.wait_for(what)).await.expect("within 20 s").unwrap();
}

#[tokio::test]
async fn three_meet_one_leaves_and_one_is_dropped() {
    let first = Member::spawn(config(), options("n1", &[])).await.unwrap();
    let second = Member::spawn(config(), options("n2", &[&first])).await.unwrap();
    let third = Member::spawn(config(), options("n3", &[&first])).await.unwrap();
    for member in [&first, &second, &third] {
        sees(member, |view| view.alive().count() == 3).await;
    }
    second.set("tag/role", Some(b"web".to_vec())).await.unwrap();
    let role = |view: &View| view.member("n2").and_then(|n2| n2.state.get("tag/role").cloned());
    sees(&first, |view| role(view).is_some_and(|role| role == b"web")).await;
    let (acknowledged, asked) = second.leave().await.unwrap();
    assert!(acknowledged > 0 && acknowledged <= asked);
    sees(&first, |view| view.member("n2").is_some_and(|n2| n2.status == Status::Left)).await;
    drop(third);
    sees(&first, |view| view.member("n3").is_some_and(|n3| n3.status == Status::Down)).await;
}

#[tokio::test]
async fn a_member_with_a_state_directory_is_the_same_host_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = Member::spawn(config(), options("n1", &[])).await.unwrap();
    let kept = || Options { state_dir: Some(dir.path().join("n2")), ..options("n2", &[&first]) };
    let mut lives = Vec::new();
    for _ in 0..2 {
        let mut events = first.events();
        let second = Member::spawn(config(), kept()).await.unwrap();
        sees(&first, |view| view.alive().count() == 2).await;
        let shown = first.view().borrow().member("n2").map(|n2| (n2.host_id, n2.generation)).unwrap();
        lives.push(shown);
        let refused =
            std::iter::from_fn(|| events.try_recv().ok()).any(|e| matches!(e, Event::NameRefused { .. }));
        assert!(!refused);
        second.leave().await.unwrap();
        sees(&first, |view| view.member("n2").is_some_and(|n2| n2.status == Status::Left)).await;
    }
    assert_eq!(lives[0].0, lives[1].0);
    assert!(lives[0].1 < lives[1].1);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    let anywhere = Options { bind: "0.0.0.0:0".parse().unwrap(), ..options("n1", &[]) };
    assert!(matches!(Member::spawn(config(), anywhere).await, Err(SpawnError::Address { .. })));
    let nowhere = Options { advertise: Some("0.0.0.0:7".parse().unwrap()), ..options("n1", &[]) };
    assert!(matches!(Member::spawn(config(), nowhere).await, Err(SpawnError::Identity(_))));
    let member = Member::spawn(config(), options("n1", &[])).await.unwrap();
    let refused = member.set("quorum", Some(b"held".to_vec())).await;
    let Err(CommandError::Rejected(Rejected::State(StateError::Reserved { key }))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(key, "quorum");
    let twice = Options { bind: member.address(), ..options("n2", &[]) };
    assert!(matches!(Member::spawn(config(), twice).await, Err(SpawnError::Bind(_))));
    let unknown = member.command(Command::Forget(Name::new("n9").unwrap())).await;
    assert!(matches!(unknown, Err(CommandError::Rejected(Rejected::UnknownMember(_)))));
}
