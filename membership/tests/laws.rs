//! Laws that hold for whatever comes in, in whatever order.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may stop at the first surprise"
)]

use std::net::SocketAddr;

use heartsay_membership::{Command, Config, HostId, Identity, Input, Instant, Name, Node, Output, Profile};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{Accusation, Claim, Packet};
use heartsay_proto::{Budget, Cluster, Keyring, decode_packet, encode_packet, open, seal};
use proptest::collection::vec;
use proptest::prelude::*;

const DAWN_MS: u64 = 1_700_000_000_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Merging is commutative, associative and idempotent: any order of the
    /// same claims, with any repetitions, leads to the same view.
    #[test]
    fn the_order_of_claims_does_not_matter(
        claims in vec(any_claim(), 1..12),
        order in vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let mut straight = node(1200);
        let mut shuffled = node(1200);
        for claim in &claims {
            tell(&mut straight, std::slice::from_ref(claim));
        }
        // Some order first, with repetitions, then everything backwards.
        for index in &order {
            tell(&mut shuffled, std::slice::from_ref(index.get(&claims)));
        }
        for claim in claims.iter().rev() {
            tell(&mut shuffled, std::slice::from_ref(claim));
        }
        prop_assert_eq!(seen(&straight), seen(&shuffled));
        prop_assert_eq!(straight.view_fingerprint(), shuffled.view_fingerprint());
        // Once more changes nothing.
        let before = seen(&straight);
        tell(&mut straight, &claims);
        prop_assert_eq!(before, seen(&straight));
    }

    /// No claim lowers a generation, or a heartbeat within one.
    #[test]
    fn nothing_ever_goes_back(claims in vec(any_claim(), 1..20)) {
        let mut node = node(1200);
        for claim in claims {
            let before = seen(&node);
            tell(&mut node, &[claim]);
            let after = seen(&node);
            for line in before {
                if let Some(now) = after.iter().find(|l| l.0 == line.0) {
                    prop_assert!((now.1, now.2) >= (line.1, line.2));
                }
            }
        }
    }

    /// Whatever the size of the view, no datagram is longer than the limit.
    #[test]
    fn no_datagram_is_longer_than_the_limit(
        members in 0_usize..3000,
        limit in Budget::MIN..=Budget::MAX,
        sealed in any::<bool>(),
        keys in 0_usize..5,
    ) {
        let mut config = config(limit);
        if sealed {
            config.keyring = Keyring::new(vec![heartsay_proto::Key::from_bytes([7; 32])]);
        }
        let mut node = node_with(config.clone());
        fill(&mut node, &config, members, keys);
        let mut now = Instant::from_micros(1_000_000);
        let mut sent = 0;
        for _ in 0..40 {
            now += std::time::Duration::from_millis(250);
            let _ = node.handle(now, Input::Timeout);
            sent += drain(&mut node, limit);
        }
        prop_assert!(members == 0 || sent > 0);
    }

    /// Any bytes in any order: a counted refusal, no panic, no growth.
    #[test]
    fn bytes_of_any_kind_are_refused_and_counted(datagrams in vec(vec(any::<u8>(), 0..200), 1..20)) {
        let mut node = node(1200);
        let before = node.view_fingerprint();
        for bytes in &datagrams {
            let from = "10.9.9.9:9".parse().unwrap();
            let result = node.handle(Instant::from_micros(2_000_000), Input::Datagram { from, bytes });
            prop_assert!(result.is_err());
        }
        prop_assert_eq!(node.view_fingerprint(), before);
        prop_assert_eq!(node.stats().rejected.values().sum::<u64>(), datagrams.len() as u64);
    }

    /// Well-framed packets with hostile contents: no panic, and the roster stays within its cap.
    #[test]
    fn valid_frames_with_any_contents_do_no_harm(
        bodies in vec(vec(any::<u8>(), 0..120), 1..30),
        claims in vec(any_claim(), 0..30),
    ) {
        let mut node = node(1200);
        let cluster = Cluster::new("laws").unwrap();
        let mut now = Instant::from_micros(2_000_000);
        for body in bodies {
            let mut frame = Vec::new();
            seal(&body, &cluster, &Keyring::empty(), [0; 24], &mut frame);
            now += std::time::Duration::from_millis(10);
            let _ = node.handle(now, Input::Datagram { from: "10.9.9.9:9".parse().unwrap(), bytes: &frame });
            let _ = node.handle(now, Input::Timeout);
            drain(&mut node, 1200);
        }
        tell(&mut node, &claims);
        drain(&mut node, 1200);
        prop_assert!(node.members() <= 50);
    }
}

#[test]
fn a_view_of_65535_members_still_fits_its_datagrams() {
    let config = config(512);
    let mut node = node_with(config.clone());
    fill(&mut node, &config, 65_534, 0);
    assert_eq!(node.members(), 65_535);
    let mut now = Instant::from_micros(1_000_000);
    for _ in 0..8 {
        now += std::time::Duration::from_millis(500);
        let _ = node.handle(now, Input::Timeout);
        drain(&mut node, 512);
    }
}

fn config(limit: usize) -> Config {
    let mut config = Config::new(Cluster::new("laws").unwrap(), Profile::Lan);
    config.datagram = Budget::new(limit).unwrap();
    config
}

fn node(limit: usize) -> Node {
    let mut config = config(limit);
    config.max_members = 50;
    node_with(config)
}

fn node_with(config: Config) -> Node {
    let identity = Identity {
        name: Name::new("me").unwrap(),
        host_id: HostId(1),
        generation: DAWN_MS,
        address: "10.0.0.1:4327".parse().unwrap(),
        state: vec![("zone".into(), b"a".to_vec())],
    };
    Node::new(identity, config, 42, Instant::from_micros(1_000_000)).unwrap()
}

/// Claims about a few names and lives, so that they meet.
fn any_claim() -> impl Strategy<Value = Claim> {
    let marks = (
        0_u64..40,
        prop::bool::weighted(0.1),
        0_u64..40,
        vec((0_u64..4, 0_u64..40, 0_u32..6, any::<bool>()), 0..4),
    );
    (0_usize..4, 0_u64..3, marks).prop_map(|(who, life, (heartbeat, left, down, accusations))| {
        let accusations = accusations
            .into_iter()
            .map(|(by, basis, kind, weak)| Accusation { by, basis, kind, weak, silent_ms: 100 })
            .collect();
        Claim { heartbeat, left, down, accusations, ..introduction(who, life, 0) }
    })
}

/// A claim that introduces a member; state grows with `keys`.
fn introduction(who: usize, life: u64, keys: usize) -> Claim {
    let entries: Vec<_> = (1..=keys)
        .map(|i| heartsay_proto::gossip::Entry {
            key: format!("key{i}"),
            value: vec![b'v'; 150].into(),
            version: i as u64,
            deleted: false,
        })
        .collect();
    Claim {
        generation: DAWN_MS + life,
        body: Some(heartsay_proto::gossip::Body {
            name: format!("member-with-quite-a-long-name-{who}"),
            host_id: vec![u8::try_from(who % 251).unwrap(); 16].into(),
            ip: vec![10, 1, (who >> 8) as u8, (who & 255) as u8].into(),
            port: 4327,
            ref_unix_ms: DAWN_MS,
            ref_heartbeat: 0,
            interval_ms: 1000,
        }),
        version: keys as u64,
        entries,
        ..Claim::default()
    }
}

fn tell(node: &mut Node, claims: &[Claim]) {
    let now = Instant::from_micros(2_000_000);
    let packet = Packet { sender: 99, heartbeat: 1, claims: claims.to_vec(), ..Packet::default() };
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    encode_packet(&packet, &mut body);
    seal(&body, &Cluster::new("laws").unwrap(), &Keyring::empty(), [0; 24], &mut frame);
    let from: SocketAddr = "10.0.0.2:4327".parse().unwrap();
    let _ = node.handle(now, Input::Datagram { from, bytes: &frame });
}

fn fill(node: &mut Node, config: &Config, members: usize, keys: usize) {
    let now = Instant::from_micros(1_000_000);
    let from: SocketAddr = "10.0.0.2:4327".parse().unwrap();
    for who in 0..members {
        let keys = if who % 7 == 0 { keys } else { 0 };
        let mut claim = introduction(who, 0, keys);
        // 16 bits of the counter make the names differ beyond 65,536 too.
        if let Some(body) = &mut claim.body {
            body.host_id = (who as u128 + 10).to_be_bytes().to_vec().into();
        }
        let packet = Packet { sender: 99, claims: vec![claim], ..Packet::default() };
        let (mut body, mut frame) = (Vec::new(), Vec::new());
        encode_packet(&packet, &mut body);
        seal(&body, &config.cluster, &config.keyring, [3; 24], &mut frame);
        let _ = node.handle(now, Input::Datagram { from, bytes: &frame });
        while !matches!(node.poll_output(), Output::Timeout(_)) {}
    }
    let _ = node.handle(now, Input::Command(Command::Seeds(vec![from])));
}

/// Takes everything out, checks lengths, and that what leaves can be read.
fn drain(node: &mut Node, limit: usize) -> usize {
    let mut sent = 0;
    loop {
        match node.poll_output() {
            Output::Transmit(transmit) => {
                assert!(transmit.bytes.len() <= limit, "{} bytes, limit {limit}", transmit.bytes.len());
                let mut scratch = Vec::new();
                let keyed = Keyring::new(vec![heartsay_proto::Key::from_bytes([7; 32])]);
                let cluster = Cluster::new("laws").unwrap();
                let plain = open(&transmit.bytes, &cluster, &Keyring::empty(), limit, &mut scratch)
                    .map(|(b, _)| b.to_vec());
                let body = plain.or_else(|_| {
                    open(&transmit.bytes, &cluster, &keyed, limit, &mut scratch).map(|(b, _)| b.to_vec())
                });
                let packet = decode_packet(&body.unwrap()).unwrap();
                if let Some(Body::Exchange(exchange)) = packet.body {
                    assert!(exchange.step >= 1);
                }
                sent += 1;
            }
            Output::Event(_) => {}
            Output::Timeout(_) => return sent,
        }
    }
}

/// What a node sees: name, generation, heartbeat, status and verdict of each.
fn seen(node: &Node) -> Vec<(String, u64, u64, String, Option<u64>)> {
    node.view(Instant::from_micros(2_000_000))
        .into_iter()
        .map(|m| (m.name.to_string(), m.generation, m.heartbeat, m.status.to_string(), m.verdict))
        .collect()
}
