//! What forged claims and datagrams are made of.

use bytes::Bytes;
use heartsay_membership::Config;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{Accusation, Claim, Entry, Packet};
use heartsay_proto::{Budget, decode_packet, encode_packet, open, seal};

use super::memory::Known;

/// A forged datagram.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// Who gets it.
    pub(crate) to: usize,
    /// Whose address it shows.
    pub(crate) from: usize,
    /// What is in it.
    pub(crate) bytes: Bytes,
}

/// A claim about the present life of a member, without its identity.
pub(super) fn about(known: &Known) -> Option<Claim> {
    let Claim { subject, generation, .. } = *known.record.as_ref()?;
    Some(Claim { subject, generation, heartbeat: known.heartbeat, ..Claim::default() })
}

/// The same with its identity.
pub(super) fn in_full(known: &Known) -> Option<Claim> {
    let claim = about(known)?;
    Some(Claim { body: known.record.as_ref()?.body.clone(), ..claim })
}

/// Somebody says that a member is silent, or unfit.
pub(super) fn accusation(by: &Known, kind: u32, basis: u64) -> Option<Accusation> {
    let by = by.record.as_ref()?.subject;
    Some(Accusation { by, basis, kind, silent_ms: LONG_SILENT_MS, ..Accusation::default() })
}

/// A change of one key.
pub(super) fn entry(key: &str, value: &str, version: u64) -> Entry {
    Entry { key: key.to_owned(), value: value.as_bytes().to_vec().into(), version, deleted: false }
}

/// A packet with nothing but a body.
pub(super) fn saying(seq: u32, body: Body) -> Packet {
    Packet { seq, body: Some(body), ..Packet::default() }
}

/// A packet with nothing but claims.
pub(super) fn telling(claims: Vec<Claim>) -> Packet {
    Packet { claims, ..Packet::default() }
}

/// The packet as a member sends it. `None`: it is too long for any.
pub(super) fn written(packet: &Packet, config: &Config) -> Option<Bytes> {
    let mut body = Vec::new();
    encode_packet(packet, &mut body);
    framed(&body, config)
}

/// Any bytes in a frame that is right.
pub(super) fn framed(body: &[u8], config: &Config) -> Option<Bytes> {
    let mut frame = Vec::new();
    seal(body, &config.cluster, &config.keyring, [0; 24], &mut frame);
    (frame.len() <= Budget::MAX).then(|| frame.into())
}

/// What is in a frame.
pub(super) fn body_of(bytes: &[u8], config: &Config) -> Option<Vec<u8>> {
    let mut scratch = Vec::new();
    let opened = open(bytes, &config.cluster, &config.keyring, Budget::MAX, &mut scratch);
    opened.ok().map(|(body, _)| body.to_vec())
}

/// The packet in a datagram.
pub(super) fn read(bytes: &[u8], config: &Config) -> Option<Packet> {
    decode_packet(&body_of(bytes, config)?).ok()
}

/// Kinds of accusations on the wire.
pub(super) const SILENT: u32 = 0;
pub(super) const PROVEN: u32 = 1;
pub(super) const REFUSED: u32 = 2;
pub(super) const DEGRADED: u32 = 3;
pub(super) const UNFIT: u32 = 4;
const LONG_SILENT_MS: u64 = 9_000;
