//! Laws that hold for whatever comes in, in whatever order.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may stop at the first surprise"
)]

#[path = "../../proto/tests/common/mod.rs"]
mod any;

use std::net::SocketAddr;

use any::any_packet;
use heartsay_membership::{
    AccuserView, Command, Config, HostId, Input, Instant, MemberView, Node, Output, Rejected, Status,
    Transmit,
};
use heartsay_proto::gossip::{Accusation, Claim};
use heartsay_proto::{Budget, DecodeError, Keyring, decode_packet, open};
use heartsay_testkit::{DAWN_MS, Start, packets};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    /// Merging is commutative, associative and idempotent where each name has one host: any order of the same claims, with
    /// any repetitions, leads to the same view.
    #[test]
    fn the_order_of_claims_does_not_matter(
        claims in vec(any_claim(), 1..12),
        order in vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let mut straight = node(1200);
        let mut shuffled = node(1200);
        for claim in &claims {
            let _ = tell(&mut straight, std::slice::from_ref(claim));
        }
        // Some order first, with repetitions, then everything backwards.
        for index in &order {
            let _ = tell(&mut shuffled, std::slice::from_ref(index.get(&claims)));
        }
        for claim in claims.iter().rev() {
            let _ = tell(&mut shuffled, std::slice::from_ref(claim));
        }
        prop_assert_eq!(seen(&straight), seen(&shuffled));
        prop_assert_eq!(straight.view_fingerprint(), shuffled.view_fingerprint());
        // Once more changes nothing.
        let before = seen(&straight);
        let _ = tell(&mut straight, &claims);
        prop_assert_eq!(before, seen(&straight));
    }

    /// Where a name has several hosts, the order does not matter any more once all but the last of them have left and
    /// everything has been told again, as members do that differ.
    #[test]
    fn the_order_of_hosts_of_a_name_does_not_matter_when_the_earlier_ones_are_gone(
        told in vec((0_u64..4, any_claim()), 1..12),
        order in vec(any::<prop::sample::Index>(), 24),
    ) {
        // The life is the host's.
        let alike = |(host, claim): &(u64, Claim)| of_host(*host, with_marks_of(claim, introduction(0, *host, 0)));
        let mut claims: Vec<Claim> = told.iter().map(alike).collect();
        let last = told.iter().map(|(host, _)| *host).max().unwrap();
        for host in 0..last {
            claims.push(of_host(host, Claim { left: true, ..introduction(0, host, 0) }));
        }
        let mut shuffled = claims.clone();
        for (at, index) in order.iter().enumerate() {
            let (a, b) = (at % shuffled.len(), index.index(shuffled.len()));
            shuffled.swap(a, b);
        }
        let views = [claims, shuffled].map(|claims| {
            let mut node = node(1200);
            for claim in claims.iter().cycle().take(claims.len() * 5) {
                let _ = tell(&mut node, std::slice::from_ref(claim));
            }
            (seen(&node), node.view_fingerprint())
        });
        prop_assert_eq!(&views[0], &views[1]);
        let holder = &views[0].0[1];
        prop_assert_eq!(holder.generation, DAWN_MS + last);
    }

    /// No claim lowers a generation, or a heartbeat within one, or makes a member vanish.
    #[test]
    fn nothing_ever_goes_back(claims in vec(any_claim(), 1..20)) {
        let mut node = node(1200);
        for claim in claims {
            let before = seen(&node);
            let _ = tell(&mut node, &[claim]);
            let after = seen(&node);
            for was in before {
                let is = after.iter().find(|is| is.name == was.name);
                prop_assert!(is.is_some_and(|is| (is.generation, is.heartbeat) >= (was.generation, was.heartbeat)));
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
            sent += drain(&mut node, limit, &config.keyring);
        }
        prop_assert!(members == 0 || sent > 0);
    }

    /// Noise, bare and in a frame that is right: refused, counted by a reason that has a name, and nothing changes.
    #[test]
    fn noise_is_refused_and_counted(datagrams in vec((vec(any::<u8>(), 1..200), any::<bool>()), 1..20)) {
        let mut node = node(1200);
        let before = (node.view_fingerprint(), node.members());
        let mut refused = 0;
        for (noise, in_a_frame) in &datagrams {
            let framed = || packets::framed(noise, &config(1200));
            let result = hand(&mut node, &if *in_a_frame { framed() } else { noise.clone() });
            // In a frame it can be a packet that says nothing which anybody understands.
            prop_assert!(result.is_err() || *in_a_frame, "{noise:?}");
            refused += u64::from(result.is_err());
        }
        prop_assert_eq!((node.view_fingerprint(), node.members()), before);
        prop_assert_eq!(counted(&node), refused);
    }

    /// Any packet that can be understood, between claims about more members than there is room for: what is refused is
    /// counted, and the roster is full and no fuller.
    #[test]
    fn packets_with_any_contents_do_no_harm(packets in vec(any_packet(), 1..30), more in 0_usize..60) {
        let mut node = node(1200);
        let mut refused = 0;
        for (at, packet) in packets.iter().enumerate() {
            refused += u64::from(hand(&mut node, &packets::datagram(packet, &config(1200))).is_err());
            refused += u64::from(tell(&mut node, &[introduction(at, 0, 0)]).is_err());
            let _ = node.handle(Instant::from_micros(2_000_000), Input::Timeout);
            drain(&mut node, 1200, &Keyring::empty());
        }
        for who in packets.len()..packets.len() + more {
            refused += u64::from(tell(&mut node, &[introduction(who, 0, 0)]).is_err());
        }
        prop_assert!(node.members() <= CAP && node.members() > (packets.len() + more).min(CAP - 1));
        prop_assert_eq!(counted(&node), refused);
    }
}

/// What holds of two hosts of one name is less than of one. While the first that arrived is alive, the second is refused;
/// so two members that hear of them in another order see another host, until one of them is gone.
#[test]
fn of_two_living_hosts_of_a_name_the_first_that_arrived_stays() {
    let [old, new] = [0, 1].map(|host| of_host(host, introduction(0, host, 0)));
    for (first, second, refused) in [(&old, &new, true), (&new, &old, false)] {
        let mut node = node(1200);
        tell(&mut node, std::slice::from_ref(first)).unwrap();
        let before = seen(&node);
        // A life that began before the one that is known is old news, whosever it is.
        let result = tell(&mut node, std::slice::from_ref(second));
        assert_eq!(matches!(result, Err(Rejected::DuplicateName { .. })), refused, "{result:?}");
        assert_eq!(seen(&node), before);
    }
}

#[test]
fn a_view_of_65535_members_still_fits_its_datagrams() {
    let config = config(512);
    let mut node = node_with(config.clone());
    fill(&mut node, &config, 65_534, 0);
    assert_eq!(node.members(), 65_535);
    let (mut now, mut sent) = (Instant::from_micros(1_000_000), 0);
    for _ in 0..8 {
        now += std::time::Duration::from_millis(500);
        let _ = node.handle(now, Input::Timeout);
        sent += drain(&mut node, 512, &config.keyring);
    }
    assert!(sent > 0);
}

fn config(limit: usize) -> Config {
    let names_rate = u32::MAX;
    Config { datagram: Budget::new(limit).unwrap(), names_rate, ..heartsay_testkit::config() }
}

fn node(limit: usize) -> Node {
    node_with(Config { max_members: CAP, ..config(limit) })
}

fn node_with(config: Config) -> Node {
    let start = Start::new("me").at("10.0.0.1:4327".parse().unwrap()).generation(DAWN_MS).config(config);
    start.node(1, 42, Instant::from_micros(1_000_000)).0
}

/// Claims about a few names and lives, so that they meet.
fn any_claim() -> impl Strategy<Value = Claim> {
    let restart = prop_oneof![Just(0_u32), Just(1), 2..100_000_u32];
    let accusations = vec((0_u64..4, 0_u64..40, 0_u32..6, any::<bool>(), "[st]?"), 0..4);
    let marks = (0_u64..40, prop::bool::weighted(0.1), 0_u64..40, restart, accusations);
    (0_usize..4, 0_u64..3, marks).prop_map(|(who, life, (heartbeat, left, down, restart_ms, accusations))| {
        let accusations = accusations
            .into_iter()
            .map(|(by, basis, kind, weak, source)| Accusation {
                by,
                basis,
                kind,
                weak,
                silent_ms: 100,
                source: source.into(),
            })
            .collect();
        Claim { heartbeat, left, down, restart_ms, accusations, ..introduction(who, life, 0) }
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
    let name = format!("member-with-quite-a-long-name-{who}");
    let address = ([10, 1, (who >> 8) as u8, who as u8], 4327);
    Claim {
        generation: DAWN_MS + life,
        body: Some(packets::body(&name, 10 + who as u128, address.into(), DAWN_MS)),
        version: keys as u64,
        entries,
        ..Claim::default()
    }
}

/// The claim as another host of the same name would make it.
fn of_host(host: u64, mut claim: Claim) -> Claim {
    if let Some(body) = &mut claim.body {
        body.host_id = u128::from(host + 100).to_be_bytes().to_vec().into();
    }
    claim
}

/// What is said of the first, about the second.
fn with_marks_of(claim: &Claim, about: Claim) -> Claim {
    let Claim { heartbeat, left, down, restart_ms, ref accusations, .. } = *claim;
    Claim { heartbeat, left, down, restart_ms, accusations: accusations.clone(), ..about }
}

fn tell(node: &mut Node, claims: &[Claim]) -> Result<(), Rejected> {
    hand(node, &packets::datagram(&packets::telling(claims.to_vec()), &config(1200)))
}

fn hand(node: &mut Node, bytes: &[u8]) -> Result<(), Rejected> {
    let from: SocketAddr = "10.0.0.2:4327".parse().unwrap();
    node.handle(Instant::from_micros(2_000_000), Input::Datagram { from, bytes })
}

/// Datagrams that were refused; each reason has a name.
fn counted(node: &Node) -> u64 {
    let rejected = node.stats().rejected;
    let known = |reason: &&str| DecodeError::REASONS.contains(reason) || Rejected::REASONS.contains(reason);
    assert!(rejected.keys().all(known), "{rejected:?}");
    rejected.values().sum()
}

fn fill(node: &mut Node, config: &Config, members: usize, keys: usize) {
    let now = Instant::from_micros(1_000_000);
    let from: SocketAddr = "10.0.0.2:4327".parse().unwrap();
    for who in 0..members {
        let keys = if who % 7 == 0 { keys } else { 0 };
        let frame = packets::datagram(&packets::telling(vec![introduction(who, 0, keys)]), config);
        let _ = node.handle(now, Input::Datagram { from, bytes: &frame });
        while !matches!(node.poll_output(), Output::Timeout(_)) {}
    }
    let _ = node.handle(now, Input::Command(Command::Seeds(vec![from])));
}

/// Takes everything out, checks lengths, and that what leaves can be read by those who have the key, and by no other.
fn drain(node: &mut Node, limit: usize, keyring: &Keyring) -> usize {
    let cluster = config(limit).cluster;
    let mut sent = 0;
    loop {
        match node.poll_output() {
            Output::Transmit(Transmit { bytes, .. }) => {
                assert!(bytes.len() <= limit, "{} bytes, limit {limit}", bytes.len());
                let mut scratch = Vec::new();
                match open(&bytes, &cluster, keyring, limit, &mut scratch) {
                    Ok((body, _)) => drop(decode_packet(body).unwrap()),
                    // For its receiver alone.
                    Err(sealed) => assert_eq!(sealed, DecodeError::OtherLife),
                }
                sent += 1;
            }
            Output::Event(_) => {}
            Output::Timeout(_) => return sent,
        }
    }
}

/// What a node sees, without what depends on the moment of hearing it, and without accusations of a link that do not call it
/// unfit: of one accuser, an "unfit" that a heartbeat has cancelled still takes their place, if it comes late.
#[derive(Debug, PartialEq)]
struct Seen {
    name: String,
    host: HostId,
    generation: u64,
    heartbeat: u64,
    status: Status,
    verdict: Option<u64>,
    kept_out: Option<u64>,
    restarting: bool,
    accusers: Vec<(String, u64, bool, bool, bool, bool)>,
}

fn seen(node: &Node) -> Vec<Seen> {
    let view = node.view(Instant::from_micros(2_000_000));
    let line = |m: MemberView| {
        let accuser = |a: AccuserView| (a.by, a.basis, a.refused, a.proven, a.unfit, a.weak);
        let kept = |a: &AccuserView| !a.degraded || a.unfit;
        let mut accusers: Vec<_> = m.accusers.into_iter().filter(kept).map(accuser).collect();
        accusers.sort();
        Seen {
            name: m.name.to_string(),
            host: m.host_id,
            generation: m.generation,
            heartbeat: m.heartbeat,
            status: m.status,
            verdict: m.verdict,
            kept_out: m.kept_out,
            restarting: m.restarting.is_some(),
            accusers,
        }
    };
    view.into_iter().map(line).collect()
}

/// The most members in these tests, the node itself included.
const CAP: usize = 50;
