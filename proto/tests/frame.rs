//! Frames: what is refused and why, and that nothing else gets through.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use heartsay_proto::frame::ClusterError;
use heartsay_proto::{
    ANYONE, Budget, Cluster, DecodeError, Key, KeyId, Keyring, PLAIN_OVERHEAD, SEALED_OVERHEAD, Seal, open,
    open_for, seal, seal_for,
};
use proptest::collection::vec;
use proptest::prelude::*;

const BODY: &[u8] = b"heard it through the grapevine";
const NONCE: [u8; 24] = [9; 24];

proptest! {
    #[test]
    fn frames_open_to_their_bodies(body in vec(any::<u8>(), 0..1_400), nonce: [u8; 24], key: [u8; 32]) {
        for (keyring, overhead) in
            [(Keyring::empty(), PLAIN_OVERHEAD), (Keyring::new(vec![Key::from_bytes(key)]), SEALED_OVERHEAD)]
        {
            let mut datagram = vec![1; 5];
            seal(&body, &cluster(), &keyring, nonce, &mut datagram);
            prop_assert_eq!(datagram.len(), body.len() + overhead);
            let id = keyring.primary().map_or(KeyId::PLAIN, Key::id);
            prop_assert_eq!(opened(&datagram, &keyring), Ok((body.clone(), id)));
        }
    }

    #[test]
    fn arbitrary_bytes_never_open(datagram in vec(any::<u8>(), 0..200), ours: bool) {
        for keyring in [Keyring::empty(), keyring(&[1])] {
            let mut datagram = datagram.clone();
            if ours {
                let header = sealed(&keyring);
                datagram.splice(0..0, header[..8].iter().copied());
            }
            prop_assert!(opened(&datagram, &keyring).is_err());
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    for keyring in [Keyring::empty(), keyring(&[1])] {
        let datagram = sealed(&keyring);
        for length in 0..datagram.len() {
            let error = opened(&datagram[..length], &keyring).unwrap_err();
            let shortest = datagram.len() - BODY.len();
            assert_eq!(
                matches!(error, DecodeError::Truncated { .. }),
                length < shortest,
                "{length}: {error}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for keyring in [Keyring::empty(), keyring(&[1])] {
        let mut datagram = sealed(&keyring);
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&datagram, &keyring).is_err(), "bit {bit}");
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn other_magic_is_not_ours() {
    let mut datagram = sealed(&Keyring::empty());
    datagram[1] = b'x';
    assert_eq!(reason(&datagram, &Keyring::empty()), "not-ours");
    assert_eq!(reason(b"x", &Keyring::empty()), "not-ours");
}

#[test]
fn other_versions_are_named() {
    let mut datagram = sealed(&Keyring::empty());
    datagram[2] = 3;
    assert_eq!(opened(&datagram, &Keyring::empty()), Err(DecodeError::NewerVersion { version: 3 }));
    datagram[2] = 1;
    assert_eq!(opened(&datagram, &Keyring::empty()), Err(DecodeError::OlderVersion { version: 1 }));
    datagram[2] = 0;
    assert_eq!(reason(&datagram, &Keyring::empty()), "not-ours");
}

#[test]
fn other_cluster_is_refused_plain_and_sealed() {
    for keyring in [Keyring::empty(), keyring(&[1])] {
        let mut datagram = Vec::new();
        seal(BODY, &Cluster::new("staging").unwrap(), &keyring, NONCE, &mut datagram);
        assert_eq!(reason(&datagram, &keyring), "other-cluster");
    }
}

#[test]
fn cluster_with_the_same_tag_is_still_refused() {
    // Found by search: four bytes of SHA-256 collide after some 80,000 ids. Checksum and
    // seal cover the whole id.
    let (one, other) = (Cluster::new("cluster-33326").unwrap(), Cluster::new("cluster-35706").unwrap());
    for (keyring, expected) in [(Keyring::empty(), "bad-checksum"), (keyring(&[1]), "unauthentic")] {
        let (mut datagram, mut same_header, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        seal(BODY, &one, &keyring, NONCE, &mut datagram);
        seal(BODY, &other, &keyring, NONCE, &mut same_header);
        assert_eq!(datagram[..8], same_header[..8]);
        let error = open(&datagram, &other, &keyring, Budget::MAX, &mut scratch).unwrap_err();
        assert_eq!(error.reason(), expected);
    }
}

#[test]
fn plain_frame_is_refused_by_a_holder_of_a_key() {
    assert_eq!(reason(&sealed(&Keyring::empty()), &keyring(&[1])), "plain-but-keyed");
}

#[test]
fn sealed_frame_is_refused_without_a_key() {
    assert_eq!(reason(&sealed(&keyring(&[1])), &Keyring::empty()), "sealed-but-no-key");
}

#[test]
fn unknown_key_is_told_from_failed_authentication() {
    let datagram = sealed(&keyring(&[1]));
    assert_eq!(reason(&datagram, &keyring(&[2])), "unknown-key");
    let (one, other) = same_id();
    let datagram = sealed(&Keyring::new(vec![one]));
    assert_eq!(reason(&datagram, &Keyring::new(vec![other])), "unauthentic");
}

#[test]
fn wrong_checksum_is_noticed() {
    let mut datagram = sealed(&Keyring::empty());
    datagram[8] ^= 1;
    assert_eq!(reason(&datagram, &Keyring::empty()), "bad-checksum");
}

#[test]
fn datagram_beyond_the_limit_is_oversized() {
    let datagram = sealed(&Keyring::empty());
    let (limit, length) = (datagram.len() - 1, datagram.len());
    let mut scratch = Vec::new();
    let result = open(&datagram, &cluster(), &Keyring::empty(), limit, &mut scratch);
    assert_eq!(result.unwrap_err(), DecodeError::Oversized { length, limit });
    assert!(open(&datagram, &cluster(), &Keyring::empty(), length, &mut scratch).is_ok());
}

#[test]
fn rotation_seals_with_the_first_key_and_opens_with_any() {
    let datagram = sealed(&keyring(&[2, 1]));
    for accepting in [&[2][..], &[1, 2], &[3, 2, 1]] {
        let (body, id) = opened(&datagram, &keyring(accepting)).unwrap();
        assert_eq!((&*body, id), (BODY, Key::from_bytes([2; 32]).id()));
    }
}

#[test]
fn keys_that_share_an_id_are_all_tried() {
    let (one, other) = same_id();
    assert_eq!(one.id(), other.id());
    let datagram = sealed(&Keyring::new(vec![other.clone()]));
    assert_eq!(opened(&datagram, &Keyring::new(vec![one, other])).unwrap().0, BODY);
}

#[test]
fn a_datagram_opens_for_the_life_that_it_is_sealed_for_and_for_no_other() {
    let (keys, mut datagram) = (keyring(&[1]), Vec::new());
    // Of one name: the upper halves are equal.
    let (life, later) = (0xAAAA_0000_0000_0001, 0xAAAA_0000_0000_0002);
    seal_for(BODY, &cluster(), &keys, Seal { receiver: life, number: 5, secret: &[0; 16] }, &mut datagram);
    let opened = |receivers: &[u64]| {
        let mut scratch = Vec::new();
        open_for(&datagram, &cluster(), &keys, receivers, Budget::MAX, &mut scratch)
            .map(|opened| (opened.body.to_vec(), opened.sealed))
    };
    assert_eq!(opened(&[later, life, ANYONE]), Ok((BODY.to_vec(), Some((life, 5)))));
    assert_eq!(opened(&[later, ANYONE]), Err(DecodeError::OtherLife));
    // Another member whose tag ends alike: the mark is right, and the seal is not.
    let alike = life ^ 0xFFFF_0000_0000_0000;
    assert!(matches!(opened(&[alike]), Err(DecodeError::Unauthentic { .. })));
}

#[test]
fn a_life_whose_tag_ends_in_zeros_is_not_anyone() {
    let (keys, mut datagram, mut scratch) = (keyring(&[1]), Vec::new(), Vec::new());
    let life = 0xAAAA_BBBB_0000_0000;
    seal_for(BODY, &cluster(), &keys, Seal { receiver: life, number: 5, secret: &[0; 16] }, &mut datagram);
    let opened = open_for(&datagram, &cluster(), &keys, &[ANYONE, life], Budget::MAX, &mut scratch).unwrap();
    assert_eq!(opened.sealed, Some((life, 5)));
    assert_eq!(reason(&datagram, &keys), "other-life");
}

/// A machine that is copied while it runs, secret and number included.
#[test]
fn two_copies_of_a_sender_never_use_one_nonce_for_two_datagrams() {
    let nonce = |body: &[u8], receiver, number, secret| {
        let mut datagram = Vec::new();
        seal_for(body, &cluster(), &keyring(&[1]), Seal { receiver, number, secret }, &mut datagram);
        datagram[8..32].to_vec()
    };
    let one = nonce(BODY, 7, 5, &[3; 16]);
    assert_eq!(one, nonce(BODY, 7, 5, &[3; 16]), "the same datagram");
    assert_ne!(one, nonce(b"another body", 7, 5, &[3; 16]));
    assert_ne!(one, nonce(BODY, 7 | 1 << 40, 5, &[3; 16]), "another receiver with the same mark");
    assert_ne!(one, nonce(BODY, 7, 6, &[3; 16]));
    assert_ne!(one, nonce(BODY, 7, 5, &[4; 16]), "what a listener would have to guess");
}

#[test]
fn cluster_ids_are_short_words() {
    for id in ["a", "prod-eu", "zürich", &"x".repeat(64)] {
        assert_eq!(Cluster::new(id).unwrap().id(), id);
    }
    assert_eq!(Cluster::new(""), Err(ClusterError::Length { bytes: 0 }));
    assert_eq!(Cluster::new("x".repeat(65)), Err(ClusterError::Length { bytes: 65 }));
    for id in ["two words", "tab\t", "nul\0", "no\u{a0}break"] {
        assert_eq!(Cluster::new(id), Err(ClusterError::NotPrintable), "{id:?}");
    }
}

fn cluster() -> Cluster {
    Cluster::new("production").unwrap()
}

fn keyring(fills: &[u8]) -> Keyring {
    Keyring::new(fills.iter().map(|&fill| Key::from_bytes([fill; 32])).collect())
}

/// Two different keys with one id: 256 keys share 255 ids.
fn same_id() -> (Key, Key) {
    let keys: Vec<Key> = (0..=255).map(|fill| Key::from_bytes([fill; 32])).collect();
    let pairs =
        keys.iter().enumerate().flat_map(|(at, one)| keys[at + 1..].iter().map(move |other| (one, other)));
    let (one, other) = pairs.into_iter().find(|(one, other)| one.id() == other.id()).unwrap();
    (one.clone(), other.clone())
}

fn sealed(keyring: &Keyring) -> Vec<u8> {
    let mut datagram = Vec::new();
    seal(BODY, &cluster(), keyring, NONCE, &mut datagram);
    datagram
}

fn opened(datagram: &[u8], keyring: &Keyring) -> Result<(Vec<u8>, KeyId), DecodeError> {
    let mut scratch = Vec::new();
    open(datagram, &cluster(), keyring, Budget::MAX, &mut scratch).map(|(body, id)| (body.to_vec(), id))
}

fn reason(datagram: &[u8], keyring: &Keyring) -> &'static str {
    opened(datagram, keyring).unwrap_err().reason()
}
