//! Heap that a node holds per quiet member.
//!
//! ```text
//! cargo run --release -p heartsay-membership --example memory                  1,000 and 10,000 members
//! cargo run --release -p heartsay-membership --example memory live 1000 600    so many, after so many seconds of quiet
//! ```
//!
//! By default one node is told of all the others by the datagrams with which a newcomer is supplied. Counted are the bytes
//! that the process then holds beyond those of a node that knows only itself, as the allocator rounds them. With
//! `Interner::shared()` several nodes are told the same, and what each further one holds is divided by the members: the
//! price of a pair of observer and member.
//!
//! With `live` a cluster of nodes that share nothing runs, and all that they hold, buffers included, is divided by the pairs.
//! By then room for newcomers has been given back, and members that were met are remembered.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::time::Duration;

use heartsay_membership::{Config, Input, Instant, Node};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{self, Claim, Entry, Packet};
use heartsay_proto::{Budget, Filler, Keyring};
use heartsay_testkit::allocations::{self, Counting};
use heartsay_testkit::{DAWN_MS, hosts, packets, recording};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => told(),
        ["live", members, seconds] => live(members.parse().unwrap(), seconds.parse().unwrap()),
        _ => eprintln!("memory | memory live MEMBERS SECONDS"),
    }
}

fn live(members: usize, seconds: u64) {
    let before = allocations::held();
    let mut world = hosts::world(members, &hosts::config());
    println!("| seconds | of three keys each, B per member |");
    println!("|---:|---:|");
    let mut passed = 0;
    for until in [10, 60, seconds / 2, seconds].into_iter().filter(|until| *until <= seconds) {
        world.run_with(Duration::from_secs(until.saturating_sub(passed)), |_, _, _| {});
        assert!(hosts::is_complete(&world));
        passed = until.max(passed);
        let pairs = (members * (members - 1)) as f64;
        println!("| {passed} | {:.0} |", (allocations::held() - before) as f64 / pairs);
    }
}

fn told() {
    let base = held(1, 0, 1, &hosts::config());
    println!("A node that knows only itself: {base:.0} B\n");
    println!("| members | state of each | a node of its own, B per member | shared bodies, B per pair |");
    println!("|---:|---|---:|---:|");
    for members in [1_000, 10_000] {
        for keys in [0, 3] {
            let alone = (held(members, keys, 1, &hosts::config()) - base) / (members - 1) as f64;
            let shared = hosts::shared();
            let four = held(members, keys, 4, &shared);
            drop(shared);
            let shared = hosts::shared();
            let one = held(members, keys, 1, &shared);
            let pair = (four - one) / (3 * members) as f64;
            println!("| {members} | {keys} keys | {alone:.0} | {pair:.0} |");
        }
    }
}

/// Heap of so many nodes that know so many members, all beating.
fn held(members: usize, keys: usize, nodes: usize, config: &Config) -> f64 {
    let start = Instant::EPOCH + Duration::from_secs(1);
    let config = &Config { names_rate: u32::MAX, ..config.clone() };
    let claims: Vec<Claim> = (1..members).map(|index| claim(index, keys)).collect();
    let datagrams = supply(&claims, config);
    let before = allocations::held();
    let mut all: Vec<Node> = Vec::with_capacity(nodes);
    for _ in 0..nodes {
        let mut node = recording::started(0, config, start);
        for bytes in &datagrams {
            let from = "10.9.9.9:999".parse().unwrap();
            node.handle(start, Input::Datagram { from, bytes }).unwrap();
            recording::drain(&mut node);
        }
        assert_eq!(node.members(), members);
        all.push(node);
    }
    let held = allocations::held() - before;
    drop(all);
    held as f64
}

/// A member with a long name.
fn claim(index: usize, keys: usize) -> Claim {
    let entry = |(i, key): (usize, &str)| Entry {
        key: key.into(),
        value: format!("{key}-{}", index % 17).into_bytes().into(),
        version: 1 + i as u64,
        deleted: false,
    };
    let address = ([10, 1, (index >> 8) as u8, index as u8], 7_946);
    Claim {
        subject: 0,
        generation: DAWN_MS,
        heartbeat: 7,
        body: Some(packets::body(&hosts::name(index), index as u128, address.into(), DAWN_MS)),
        entries: ["zone", "role", "version"].into_iter().take(keys).enumerate().map(entry).collect(),
        version: keys as u64,
        ..Claim::default()
    }
}

/// The claims in as few datagrams as they fit.
fn supply(claims: &[Claim], config: &Config) -> Vec<Vec<u8>> {
    let packet = || Packet {
        sender: 1,
        heartbeat: 1,
        body: Some(Body::Ping(gossip::Ping::default())),
        ..Packet::default()
    };
    let filler = || Filler::new(packet(), Budget::default().for_frame(&Keyring::empty())).unwrap();
    let (mut datagrams, mut open) = (Vec::new(), filler());
    let close = |open: Filler| packets::datagram(&open.finish(), config);
    for claim in claims {
        if let Err(claim) = open.try_claim(claim.clone()) {
            datagrams.push(close(std::mem::replace(&mut open, filler())));
            open.try_claim(claim).unwrap();
        }
    }
    datagrams.push(close(open));
    datagrams
}
