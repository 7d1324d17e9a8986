//! No datagram outgrows its limit, whatever is put into it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{any_claim, any_list, any_packet, any_page, any_want};
use heartsay_proto::gossip::{Claim, Exchange, List, Packet, Page, Want, packet};
use heartsay_proto::{
    Budget, Cluster, Filler, Key, Keyring, PLAIN_OVERHEAD, SEALED_OVERHEAD, encode_packet, seal,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

#[expect(clippy::large_enum_variant, reason = "few of them, in a test")]
#[derive(Debug, Clone)]
enum Piece {
    Claim(Claim),
    Page(Page),
    List(List),
    Want(Want),
}

proptest! {
    #[test]
    fn filled_packets_keep_their_limit_and_account_exactly(
        start in any_packet(),
        limit in 0_usize..3_000,
        pieces in vec(any_piece(), 0..60),
    ) {
        let longest = start.encoded_len();
        let Ok(mut filler) = Filler::new(start, limit) else {
            prop_assert!(longest > limit);
            return Ok(());
        };
        for piece in pieces {
            let mut grown = filler.packet().clone();
            let (possible, taken) = push(&mut grown, &mut filler, piece);
            prop_assert_eq!(filler.left(), limit - filler.packet().encoded_len());
            prop_assert_eq!(taken, possible && grown.encoded_len() <= limit, "refused although it fits");
            prop_assert!(!taken || filler.packet() == &grown);
        }
        prop_assert!(filler.finish().encoded_len() <= limit);
    }

    #[test]
    fn framed_packets_keep_the_datagram_limit(
        limit in Budget::MIN..=Budget::MAX,
        sealed: bool,
        claims in vec(any_claim(), 0..30),
    ) {
        let keyring = Keyring::new(sealed.then(|| Key::from_bytes([3; 32])).into_iter().collect());
        let budget = Budget::new(limit).unwrap();
        let mut filler = Filler::new(Packet::default(), budget.for_frame(&keyring)).unwrap();
        for claim in claims {
            let _full = filler.try_claim(claim);
        }
        let (mut body, mut datagram) = (Vec::new(), Vec::new());
        encode_packet(&filler.finish(), &mut body);
        seal(&body, &Cluster::new("c").unwrap(), &keyring, [0; 24], &mut datagram);
        prop_assert!(datagram.len() <= limit);
    }
}

#[test]
fn exchange_that_needs_a_longer_length_is_counted() {
    // An exchange of 127 bytes has a length of one byte, one of 128 needs two.
    let exchange = Exchange { step: 1, ..Default::default() };
    let packet = Packet { body: Some(packet::Body::Exchange(exchange)), ..Default::default() };
    let page = |bytes| Page { ages: vec![1; bytes].into(), ..Default::default() };
    for bytes in 110..130 {
        let mut whole = packet.clone();
        if let Some(packet::Body::Exchange(exchange)) = &mut whole.body {
            exchange.pages.push(page(bytes));
        }
        let length = whole.encoded_len();
        let mut filler = Filler::new(packet.clone(), length - 1).unwrap();
        assert_eq!(filler.try_page(page(bytes)), Err(page(bytes)));
        let mut filler = Filler::new(packet.clone(), length).unwrap();
        assert_eq!((filler.try_page(page(bytes)), filler.left()), (Ok(()), 0));
    }
}

#[test]
fn pages_need_an_exchange() {
    let mut filler = Filler::new(Packet::default(), 1_000).unwrap();
    assert_eq!(filler.try_want(Want::default()), Err(Want::default()));
}

#[test]
fn budgets_have_bounds() {
    assert!(Budget::new(Budget::MIN - 1).is_err() && Budget::new(Budget::MAX + 1).is_err());
    assert_eq!(Budget::default(), Budget::new(Budget::DEFAULT).unwrap());
    let budget = Budget::default();
    assert_eq!(budget.for_frame(&Keyring::empty()), 1_200 - PLAIN_OVERHEAD);
    assert_eq!(budget.for_frame(&Keyring::new(vec![Key::from_bytes([3; 32])])), 1_200 - SEALED_OVERHEAD);
}

#[test]
fn largest_entry_with_the_largest_identity_fits_a_sealed_datagram() {
    use heartsay_proto::gossip::{Body, Entry};
    use heartsay_proto::packet::{KEY_MAX, NAME_MAX, VALUE_MAX};
    /// Milliseconds until the year 2248, and as many beats and versions: no member takes more of them.
    const FAR: u64 = (1 << 43) - 1;
    let claim = Claim {
        subject: u64::MAX,
        generation: FAR,
        heartbeat: FAR,
        body: Some(Body {
            name: "n".repeat(NAME_MAX),
            host_id: vec![1; 16].into(),
            ip: vec![1; 16].into(),
            port: 65_535,
            ref_unix_ms: FAR,
            ref_heartbeat: FAR,
            interval_ms: 600_000,
            moves: 255,
            last_mark: vec![1; 16].into(),
        }),
        entries: vec![Entry {
            key: "k".repeat(KEY_MAX),
            value: vec![1; VALUE_MAX].into(),
            version: FAR,
            deleted: true,
        }],
        since: FAR,
        version: FAR,
        ..Default::default()
    };
    let sealed = Keyring::new(vec![Key::from_bytes([3; 32])]);
    let start = Packet { sender: 1, heartbeat: FAR, seq: u32::MAX, view: 1, ..Default::default() };
    let mut filler = Filler::new(start, Budget::default().for_frame(&sealed)).unwrap();
    assert_eq!(filler.try_claim(claim), Ok(()));
}

/// Puts the piece into both; says whether it can go in at all, and whether it did.
fn push(grown: &mut Packet, filler: &mut Filler, piece: Piece) -> (bool, bool) {
    let exchange = match &mut grown.body {
        Some(packet::Body::Exchange(exchange)) => Some(exchange),
        _ => None,
    };
    let possible = exchange.is_some();
    match piece {
        Piece::Claim(claim) => {
            grown.claims.push(claim.clone());
            (true, filler.try_claim(claim.clone()).map_err(|back| assert_eq!(back, claim)).is_ok())
        }
        Piece::Page(page) => {
            exchange.into_iter().for_each(|exchange| exchange.pages.push(page.clone()));
            (possible, filler.try_page(page.clone()).map_err(|back| assert_eq!(back, page)).is_ok())
        }
        Piece::List(list) => {
            exchange.into_iter().for_each(|exchange| exchange.lists.push(list.clone()));
            (possible, filler.try_list(list.clone()).map_err(|back| assert_eq!(back, list)).is_ok())
        }
        Piece::Want(want) => {
            exchange.into_iter().for_each(|exchange| exchange.wants.push(want));
            (possible, filler.try_want(want).map_err(|back| assert_eq!(back, want)).is_ok())
        }
    }
}

fn any_piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        any_claim().prop_map(Piece::Claim),
        any_page().prop_map(Piece::Page),
        any_list().prop_map(Piece::List),
        any_want().prop_map(Piece::Want),
    ]
}
