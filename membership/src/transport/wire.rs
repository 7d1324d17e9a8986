//! Translates claims between the wire and the domain, and nothing else.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;
use heartsay_proto::{LastMark, LastSecret, Message, gossip};
use smol_str::SmolStr;

use crate::Instant;
use crate::identity::{Generation, HostId, Name, Version, is_reachable};
use crate::io::Rejected;
use crate::roster::claim::Claim;
use crate::roster::incarnation::{Incarnation, Schedule};
use crate::roster::member::Member;
use crate::roster::source::Source;
use crate::roster::standing::{ACCUSERS_TO_KEEP_OUT, Accusation, Evidence, Marks, Restart, Standing};
use crate::roster::state::{Delta, ENTRY_OVERHEAD, Entry};

/// How much of a member a claim carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Marks only: for receivers that know the incarnation.
    Thin,
    /// Marks and the state after a version: for receivers that know the incarnation.
    Since(u64),
    /// Everything: for receivers that may not know the incarnation.
    Full,
    /// Everything, but without the oldest changes if not all fit: the latest changes, for receivers that know the rest.
    Latest,
}

/// Reads a claim whose bounds were checked by [`heartsay_proto::decode_packet`].
pub fn read_claim(now: Instant, claim: gossip::Claim) -> Result<Claim, Rejected> {
    let incarnation = claim.body.map(|body| read_incarnation(claim.generation, &body)).transpose()?;
    let subject = incarnation.as_ref().map_or(claim.subject, |incarnation| incarnation.hash);
    let accusations = claim.accusations.iter().map(|a| read_accusation(now, a)).collect();
    let within = claim.restart_ms.checked_sub(1).map(|ms| Duration::from_millis(ms.into()));
    let restart = within.map(|within| Restart::of(now, claim.heartbeat, within));
    let last_words = LastSecret::try_from(claim.last_words.as_ref()).ok();
    let marks = Marks { left: claim.left, down: claim.down.checked_sub(1), last_words, restart, accusations };
    let mut standing = Standing { heartbeat: claim.heartbeat, ..Standing::default() };
    if marks != Marks::default() {
        // Merged by the order of claims, so that the result keeps its rules.
        standing.join(&Standing { marks, ..standing.clone() });
    }
    let newest = claim.newest.max(claim.version);
    let delta = (newest > claim.since || !claim.entries.is_empty()).then(|| Delta {
        since: claim.since,
        until: claim.version,
        newest,
        entries: claim.entries.into_iter().map(read_entry).collect(),
        kept: claim.kept,
    });
    Ok(Claim {
        subject,
        generation: claim.generation,
        standing,
        forgotten: claim.forgotten,
        incarnation,
        delta,
    })
}

/// Our claim about `member`: at most `room` bytes in all, and `share` of them for its state.
pub fn write_claim(
    now: Instant,
    member: &Member,
    detail: Detail,
    room: usize,
    share: usize,
) -> gossip::Claim {
    let marks = member.marks();
    let mut told: Vec<&Accusation> = marks.accusations.iter().collect();
    let mut claim = gossip::Claim {
        subject: member.hash(),
        generation: member.incarnation.generation,
        heartbeat: member.heartbeat,
        left: marks.left,
        down: marks.down.map_or(0, |basis| basis.saturating_add(1)),
        accusations: told.iter().map(|a| write_accusation(now, a)).collect(),
        restart_ms: marks.restart.map_or(0, |restart| write_restart(now, restart)),
        ..gossip::Claim::default()
    };
    if matches!(detail, Detail::Full | Detail::Latest) {
        claim.body = Some(write_incarnation(&member.incarnation));
    }
    // Nearly never needed: some of many accusations wait for the next datagram.
    while claim.encoded_len() > room
        && let Some(place) = superfluous(&told)
    {
        told.remove(place);
        claim.accusations.remove(place);
    }
    // Without its accusers a member that is kept out would refute the verdict.
    let basis = marks.down.unwrap_or(0);
    let unfit = told.iter().filter(|a| a.kind == Evidence::Unfit && !a.weak && a.basis >= basis).count();
    if marks.is_kept_out() && unfit < ACCUSERS_TO_KEEP_OUT {
        claim.down = 0;
    }
    let last_words = write_words(marks.last_words.as_ref().map(LastSecret::bytes));
    let since = match detail {
        Detail::Thin => return with_last_words(claim, last_words, room),
        Detail::Since(version) => version,
        Detail::Full | Detail::Latest => 0,
    };
    // A missing part needs no room, and most claims have none.
    let more = !member.state.is_known_to(since);
    let versions = VERSIONS_TOLD * (1 + length(member.state.version()));
    let for_state = if more { room.saturating_sub(claim.encoded_len() + versions).min(share) } else { 0 };
    let delta = if detail == Detail::Latest {
        member.state.latest(for_state)
    } else {
        member.state.delta(since, for_state)
    };
    claim.since = delta.since;
    claim.version = delta.until;
    claim.newest = if delta.newest > delta.until { delta.newest } else { 0 };
    claim.kept = delta.kept;
    claim.entries = delta.entries.into_iter().map(write_entry).collect();
    with_last_words(claim, last_words, room)
}

/// They come where there is room: a verdict stands without them, and no state ever waits for them.
fn with_last_words(mut claim: gossip::Claim, last_words: Bytes, room: usize) -> gossip::Claim {
    if claim.down > 0 {
        claim.last_words = last_words;
    }
    if !claim.last_words.is_empty() && claim.encoded_len() > room {
        claim.last_words.clear();
    }
    claim
}

/// Which of these accusations waits for the next datagram: the weakest of the kind that has more of them. So however
/// many accuse a member of silence, the testimony that puts it out is told too.
fn superfluous(told: &[&Accusation]) -> Option<usize> {
    let is_unfit = |a: &&Accusation| a.kind == Evidence::Unfit;
    let unfit = told.iter().filter(|a| is_unfit(a)).count();
    let crowd = unfit > told.len() - unfit;
    told.iter().rposition(|a| is_unfit(a) == crowd)
}

/// Says that no member keeps a record of this incarnation any more.
pub fn write_forgotten(subject: u64, generation: Generation) -> gossip::Claim {
    gossip::Claim { subject, generation, forgotten: true, ..gossip::Claim::default() }
}

/// Bytes of an address on the wire.
pub fn write_ip(address: SocketAddr) -> Bytes {
    match address.ip() {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    }
}

/// An address from the wire; `None` for one that [`heartsay_proto::decode_packet`] would have refused.
pub fn read_address(ip: &[u8], port: u32) -> Option<SocketAddr> {
    let port = u16::try_from(port).ok()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn read_incarnation(generation: Generation, body: &gossip::Body) -> Result<Incarnation, Rejected> {
    let name = Name::new(&body.name)?;
    let malformed = Rejected::Unexpected { what: "identity" };
    let address = read_address(&body.ip, body.port)
        .filter(|address| is_reachable(*address))
        .ok_or(malformed.clone())?;
    let host_id = <[u8; 16]>::try_from(body.host_id.as_ref()).map_err(|_| malformed)?;
    let schedule = Schedule {
        unix_ms: body.ref_unix_ms,
        heartbeat: body.ref_heartbeat,
        interval_ms: body.interval_ms.max(1),
    };
    let mut incarnation =
        Incarnation::new(name, HostId(u128::from_be_bytes(host_id)), generation, address, schedule);
    // A count too large for the field means nothing.
    incarnation.moves = u8::try_from(body.moves).unwrap_or(0);
    incarnation.last_mark = LastMark::try_from(body.last_mark.as_ref()).unwrap_or(LastMark::NONE);
    Ok(incarnation)
}

fn write_incarnation(incarnation: &Incarnation) -> gossip::Body {
    gossip::Body {
        name: incarnation.name.as_str().into(),
        host_id: Bytes::copy_from_slice(&incarnation.host_id.0.to_be_bytes()),
        ip: write_ip(incarnation.address()),
        port: incarnation.address().port().into(),
        ref_unix_ms: incarnation.schedule.unix_ms,
        ref_heartbeat: incarnation.schedule.heartbeat,
        interval_ms: incarnation.schedule.interval_ms,
        moves: incarnation.moves.into(),
        last_mark: write_words(
            Some(incarnation.last_mark.bytes()).filter(|_| incarnation.leaves_last_words()),
        ),
    }
}

fn write_words(bytes: Option<&[u8; 16]>) -> Bytes {
    bytes.map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(bytes))
}

fn read_accusation(now: Instant, accusation: &gossip::Accusation) -> Accusation {
    // Unknown kinds of later versions count as the weakest.
    let kind = match accusation.kind {
        1 => Evidence::Proven,
        2 => Evidence::Refused,
        3 => Evidence::Degraded,
        4 => Evidence::Unfit,
        5 => Evidence::Told,
        _ => Evidence::Silent,
    };
    let silent = Duration::from_millis(accusation.silent_ms).min(LONGEST_SILENCE);
    Accusation {
        by: accusation.by,
        basis: accusation.basis,
        kind,
        weak: accusation.weak,
        began: now - silent,
        source: core::str::from_utf8(&accusation.source).ok().and_then(|name| Source::new(name).ok()),
    }
}

fn write_accusation(now: Instant, accusation: &Accusation) -> gossip::Accusation {
    let kind = match accusation.kind {
        Evidence::Silent => 0,
        Evidence::Proven => 1,
        Evidence::Refused => 2,
        Evidence::Degraded => 3,
        Evidence::Unfit => 4,
        Evidence::Told => 5,
    };
    let silent_ms = u64::try_from(now.since(accusation.began).as_millis()).unwrap_or(u64::MAX);
    let source = accusation.source.map_or_else(Bytes::new, |s| Bytes::copy_from_slice(s.as_str().as_bytes()));
    gossip::Accusation {
        by: accusation.by,
        basis: accusation.basis,
        kind,
        weak: accusation.weak,
        silent_ms,
        source,
    }
}

/// Rounded up, so that passing the time on does not shorten it.
fn write_restart(now: Instant, restart: Restart) -> u32 {
    let left_ms = restart.until.micros_since(now).div_ceil(1000);
    u32::try_from(left_ms).unwrap_or(u32::MAX).saturating_add(1)
}

fn read_entry(entry: gossip::Entry) -> (SmolStr, Entry) {
    let value = (!entry.deleted).then_some(entry.value);
    (SmolStr::new(entry.key), Entry { value, version: entry.version })
}

fn write_entry((key, entry): (SmolStr, Entry)) -> gossip::Entry {
    let deleted = entry.value.is_none();
    gossip::Entry { key: key.into(), value: entry.value.unwrap_or_default(), version: entry.version, deleted }
}

/// Longest key and value together that fit a claim of at most `room` bytes to a receiver that knows the incarnation.
/// Beside many accusations the entry has to wait.
pub fn longest_entry(room: usize) -> usize {
    room.saturating_sub(THIN + VERSIONS_TOLD * (1 + length(Version::MAX)) + ENTRY_OVERHEAD)
}

/// Bytes of a number on the wire.
fn length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Versions in a claim, at most three: from which, up to which, and the newest.
const VERSIONS_TOLD: usize = 3;
/// A claim without identity, accusations and state, at most.
const THIN: usize = 44;
/// Longer silences need not be told apart; the bound makes a hostile number harmless.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);
/// Bytes of each state that come with a record. The limit keeps long states from delaying the others: three or four
/// records share a datagram, and for most members it is the whole state. The rest is fetched by remainder.rs.
pub const SHARE: usize = 256;
