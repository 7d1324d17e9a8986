//! The keys of a cluster change while it runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use heartsay_membership::{Command, Config, KEYS_KEY, Keyring, MemberEventKind, Plain, Rejected, Status};
use heartsay_proto::Key;
use heartsay_testkit::{Start, World, config};

#[test]
fn a_key_is_changed_at_a_third_of_loss_and_nobody_is_called_down() {
    let [old, new] = [1, 2].map(|fill| Key::from_bytes([fill; 32]));
    let steps =
        [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()], vec![new.clone()]].map(Keyring::new);
    rolled_out(Keyring::new(vec![old]), &steps, &format!("{}", new.id()));
}

#[test]
fn a_plain_cluster_gets_its_first_key_the_same_way() {
    let key = Key::from_bytes([1; 32]);
    let keyring = |plain| Keyring::new(vec![key.clone()]).with_plain(plain);
    let steps = [Plain::Sent, Plain::Accepted, Plain::Refused].map(keyring);
    rolled_out(Keyring::empty(), &steps, &format!("{}", key.id()));
}

/// Hands each step to one member after the other, and the next one when all records show it.
fn rolled_out(first: Keyring, steps: &[Keyring], last: &str) {
    let mut world = World::new();
    let config = Config { keyring: first, ..config() };
    for i in 1..=6 {
        world.add(Start::new(&format!("n{i}")).config(config.clone()).seeds(&["n1"]));
    }
    world.run(20.0);
    let pairs = NAMES.iter().flat_map(|a| NAMES.iter().map(move |b| (a.to_string(), b.to_string())));
    world.wire.loss = pairs.map(|pair| (pair, 0.3)).collect();
    world.run(20.0);
    world.forget_events();
    world.rejected.clear();
    for keyring in steps {
        let ids = keyring.ids().iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        for name in NAMES {
            world.command(name, Command::Keys(keyring.clone())).unwrap();
            world.run(3.0);
        }
        let shown = |world: &World, by: &str, of: &str| {
            let state = world.member(by, of).unwrap().state;
            state.get(KEYS_KEY).map(|ids| String::from_utf8_lossy(ids).into_owned())
        };
        let all = world.wait(60.0, |world| {
            NAMES.iter().all(|by| NAMES.iter().all(|of| shown(world, by, of).as_deref() == Some(&*ids)))
        });
        println!("{ids} seen by all after {all} s");
    }
    world.run(20.0);
    let refused = |why: &Rejected| {
        ["unknown-key", "unauthentic", "plain-but-keyed", "sealed-but-no-key"].contains(&why.reason())
    };
    assert!(!world.rejected.iter().any(|(_, why)| refused(why)), "{:?}", world.rejected);
    for name in NAMES {
        assert_eq!(world.count(name, MemberEventKind::Down), 0, "{name}: {world:?}");
        assert_eq!(world.count(name, MemberEventKind::Update), 0, "the key of the protocol is its own");
    }
    world.wire.loss.clear();
    world.run(10.0);
    assert!(NAMES.iter().all(|name| world.all_say(name, Status::Alive)));
    let said = world.member("n1", "n6").unwrap().state;
    assert_eq!(
        said.get(KEYS_KEY).map(|ids| String::from_utf8_lossy(ids).into_owned()).as_deref(),
        Some(last)
    );
}

#[test]
fn what_a_member_opens_is_not_for_users_to_say() {
    let mut world = World::cluster(1);
    let refused =
        world.command("n1", Command::Set(vec![(KEYS_KEY.into(), Some(b"7".to_vec()))])).unwrap_err();
    assert_eq!(refused.reason(), "bad-state");
}

const NAMES: [&str; 6] = ["n1", "n2", "n3", "n4", "n5", "n6"];
