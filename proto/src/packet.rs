//! Packets in and out of bytes, and the bounds that a packet must keep.
//!
//! Counts need no bounds of their own: a datagram is at most 1,472 bytes and every
//! element of a repeated field takes at least one of them, so that what is decoded has
//! at most as many elements as the datagram has bytes. Numbers that stand for a kind
//! (of accusation, outcome, refusal) are not checked either: an older agent has to let a
//! newer one's pass and take what it does not know for the weakest.

use prost::Message;
use prost::bytes::Bytes;

use crate::budget::Budget;
use crate::error::DecodeError;
use crate::frame::is_word;
use crate::gossip::packet::Body as Content;
use crate::gossip::question::Topic;
use crate::gossip::{Body, Claim, Entry, Exchange, List, Packet, Question};

/// Writes a packet, replacing what `out` held.
pub fn encode_packet(packet: &Packet, out: &mut Vec<u8>) {
    out.clear();
    // Room for any datagram: to ask how long this one is would take half as long as to write it.
    out.reserve(Budget::MAX);
    packet.encode_raw(out);
}

/// Reads a packet and checks every bound that it must keep.
///
/// # Errors
/// [`DecodeError::Malformed`] for bytes that are no packet, otherwise the variant of the
/// first bound that is broken. The whole packet is dropped: a sender that breaks one
/// bound is not to be trusted with the rest.
pub fn decode_packet(body: &[u8]) -> Result<Packet, DecodeError> {
    let packet = Packet::decode(body)?;
    check(&packet)?;
    Ok(packet)
}

/// The same of bytes that may be shared: the values of the packet are slices of them. If it has an exchange, that is put
/// into `spare`, whatever it held, so that it takes nothing from the heap which `spare` has room for.
///
/// An exchange of which nothing at all is said is none.
///
/// # Errors
/// As those of [`decode_packet`].
pub fn decode_into(spare: Exchange, body: Bytes) -> Result<Packet, DecodeError> {
    let mut packet = Packet { body: Some(Content::Exchange(emptied(spare))), ..Packet::default() };
    // Protobuf's rule for a field that comes again: a message of the same kind goes on with what is there.
    packet.merge(body)?;
    let nothing_said = |body: &mut Content| matches!(body, Content::Exchange(e) if *e == Exchange::default());
    packet.body = packet.body.take_if(|body| !nothing_said(body));
    check(&packet)?;
    Ok(packet)
}

/// The same exchange without anything in it, to be filled again.
#[must_use]
pub fn emptied(mut exchange: Exchange) -> Exchange {
    exchange.step = 0;
    exchange.pages.clear();
    exchange.lists.clear();
    exchange.wants.clear();
    exchange
}

fn check(packet: &Packet) -> Result<(), DecodeError> {
    match &packet.body {
        Some(Content::Exchange(exchange)) => check_exchange(exchange)?,
        Some(Content::ProbeRequest(request)) => check_address(&request.ip, request.port)?,
        Some(Content::Question(question)) => check_question(question)?,
        Some(
            Content::Pull(_)
            | Content::Supply(_)
            | Content::Ping(_)
            | Content::Pong(_)
            | Content::ProbeReport(_)
            | Content::Refusal(_)
            | Content::Tally(_)
            | Content::Twin(_)
            | Content::Who(_)
            | Content::Here(_)
            | Content::Answer(_),
        )
        | None => {}
    }
    packet.claims.iter().try_for_each(check_claim)
}

fn check_exchange(exchange: &Exchange) -> Result<(), DecodeError> {
    if !(1..=STEP_MAX).contains(&exchange.step) {
        return Err(DecodeError::BadStep { step: exchange.step });
    }
    exchange.pages.iter().try_for_each(|page| check_range(page.bits, page.prefix))?;
    exchange.lists.iter().try_for_each(check_list)
}

fn check_question(question: &Question) -> Result<(), DecodeError> {
    let Some(Topic::Health(asked)) = &question.topic else { return Ok(()) };
    if is_instance(&asked.service, &asked.id) { Ok(()) } else { Err(DecodeError::BadQuestion) }
}

/// Whether a service, and an instance of it, can be called so: words of at most [`KEY_MAX`] bytes; an instance may have no id.
#[must_use]
pub fn is_instance(service: &str, id: &str) -> bool {
    let fits = |text: &str| text.len() <= KEY_MAX && is_word(text);
    !service.is_empty() && fits(service) && fits(id)
}

fn check_list(list: &List) -> Result<(), DecodeError> {
    check_range(list.bits, list.prefix)?;
    let (tags, versions, standings) = (list.tags.len(), list.versions.len(), list.standings.len());
    if versions != standings || (tags != 0 && tags != versions) {
        return Err(DecodeError::UnequalColumns { tags, versions, standings });
    }
    match list.standings.iter().find(|&&standing| standing != 0 && standing % 4 == 0) {
        Some(&standing) => Err(DecodeError::BadStanding { standing }),
        None => Ok(()),
    }
}

fn check_range(bits: u32, prefix: u32) -> Result<(), DecodeError> {
    if bits > BITS_MAX {
        return Err(DecodeError::BadBits { bits });
    }
    if prefix >> bits != 0 {
        return Err(DecodeError::BadPrefix { prefix, bits });
    }
    Ok(())
}

fn check_claim(claim: &Claim) -> Result<(), DecodeError> {
    claim.body.iter().try_for_each(check_body)?;
    claim.entries.iter().try_for_each(check_entry)
}

fn check_body(body: &Body) -> Result<(), DecodeError> {
    if body.name.is_empty() || body.name.len() > NAME_MAX || !is_word(&body.name) {
        return Err(DecodeError::BadName);
    }
    if body.host_id.len() != HOST_ID_LENGTH {
        return Err(DecodeError::BadHostId { length: body.host_id.len() });
    }
    check_address(&body.ip, body.port)?;
    if !(INTERVAL_MIN_MS..=INTERVAL_MAX_MS).contains(&body.interval_ms) {
        return Err(DecodeError::BadInterval { interval_ms: body.interval_ms });
    }
    Ok(())
}

fn check_address(ip: &[u8], port: u32) -> Result<(), DecodeError> {
    if !matches!(ip.len(), 4 | 16) {
        return Err(DecodeError::BadIp { length: ip.len() });
    }
    if !(1..=PORT_MAX).contains(&port) {
        return Err(DecodeError::BadPort { port });
    }
    Ok(())
}

fn check_entry(entry: &Entry) -> Result<(), DecodeError> {
    if entry.key.is_empty() || entry.key.len() > KEY_MAX || !is_word(&entry.key) {
        return Err(DecodeError::BadKey);
    }
    if entry.value.len() > VALUE_MAX {
        return Err(DecodeError::BadValue { length: entry.value.len() });
    }
    Ok(())
}

/// Longest member name, in bytes. Host names have at most 64 on Linux (HOST_NAME_MAX);
/// twice that leaves room for a suffix.
pub const NAME_MAX: usize = 128;
/// Bytes of a host id, a UUID.
pub const HOST_ID_LENGTH: usize = 16;
/// Longest key of a state entry, in bytes; honest guess.
pub const KEY_MAX: usize = 64;
/// Longest value of a state entry, in bytes: with key and claim around it one entry
/// still fits a sealed datagram of 1,200 bytes.
pub const VALUE_MAX: usize = 768;
/// Finest hash range of a page or list: 2^24 pages, beyond any roster.
pub const BITS_MAX: u32 = 24;
/// Last step of an exchange that is answered.
pub const STEP_MAX: u32 = 8;
/// Shortest round, in milliseconds.
pub const INTERVAL_MIN_MS: u32 = 10;
/// Longest round, in milliseconds: ten minutes.
pub const INTERVAL_MAX_MS: u32 = 600_000;
const PORT_MAX: u32 = 65_535;
