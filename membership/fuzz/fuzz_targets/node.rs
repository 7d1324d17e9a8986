//! A member that is handed anything in any order: raw bytes as datagrams, packets of valid form
//! with contents out of the input, answers to what it has just sent, time-outs, refusals, commands.
//!
//! It must not panic, must keep its tables within their caps, must send no datagram beyond the limit,
//! and none that a member could not read.
#![no_main]

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use heartsay_membership::{
    Command, Config, Electorate, HostId, Identity, Input, Instant, Name, Node, Output, Profile, Question as Asked,
};
use heartsay_proto::gossip::packet::Body as Content;
use heartsay_proto::gossip::{
    Accusation, Answer, Body, Claim, Entry, Exchange, HealthAnswer, HealthQuestion, Lead, Lease, List, Packet, Page,
    PathHelper, PathRow, PathsAnswer, PathsQuestion, Ping, Pong, ProbeReport, ProbeRequest, Pull, Question, Refusal,
    Silence, Supply, Tally, Twin, Want, answer, question,
};
use heartsay_proto::{Budget, Cluster, Keyring, decode_packet, encode_packet, open, seal};
use libfuzzer_sys::arbitrary::{self, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut handled = 0;
    // An input that has run out yields zeros; the loop ends then.
    let _ = live(&mut Unstructured::new(bytes), &mut handled);
    let before = HANDLED.fetch_add(handled, Ordering::Relaxed);
    if before / MILESTONE < (before + handled) / MILESTONE {
        eprintln!("handled: {} inputs of a node in this process", before + handled);
    }
});

/// Inputs handed to nodes: one execution is a life of many.
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// The count is told each time that so many more have been handled.
const MILESTONE: u64 = 1_000_000;

fn live(u: &mut Unstructured<'_>, handled: &mut u64) -> arbitrary::Result<()> {
    let mut config = Config::new(Cluster::new("fuzz").expect("a good name"), Profile::Lan);
    config.max_members = CAP;
    config.electorate = u.arbitrary::<bool>()?.then(|| Electorate::expected(5));
    config.fence = u.arbitrary()?;
    let (cluster, keyring) = (config.cluster.clone(), Keyring::empty());
    let mut now = Instant::EPOCH + Duration::from_secs(1);
    let mut node = Node::new(identity(), config, 7, now).expect("a good identity");
    let _ = node.handle(now, Input::WallClock { unix_ms: DAWN_MS });
    let mut cast = Cast { sent: Vec::new(), pages: Vec::new(), asked: 0, view: 0, mark: 0 };
    let mut frame = Vec::new();
    while !u.is_empty() {
        let from = address(u.int_in_range(0..=7)?);
        let (mut body, mut scratch) = (Vec::new(), Vec::new());
        // Refusals of all kinds are expected.
        let _ = match u.int_in_range(0..=15)? {
            0..=8 => {
                let packet = packet(u, &cast)?;
                encode_packet(&packet, &mut body);
                seal(&body, &cluster, &keyring, [0; 24], &mut frame);
                node.handle(now, Input::Datagram { from, bytes: &frame })
            }
            9 => {
                let length = u.int_in_range(0..=200)?;
                seal(u.bytes(length.min(u.len()))?, &cluster, &keyring, [0; 24], &mut frame);
                node.handle(now, Input::Datagram { from, bytes: &frame })
            }
            10 => {
                let length = u.int_in_range(0..=40)?;
                let bytes = u.bytes(length.min(u.len()))?;
                node.handle(now, Input::Datagram { from, bytes })
            }
            11 if u.arbitrary()? => node.handle(now, Input::TooLong { to: from }),
            11 => {
                // What it has just sent, or anything else.
                let sent = cast.sent.last().filter(|_| from.port() % 2 == 0);
                let quoted = sent.map_or(frame.as_slice(), Vec::as_slice);
                node.handle(now, Input::Refused { to: from, quoted })
            }
            12 => {
                let command = command(u)?;
                node.handle(now, Input::Command(command))
            }
            // What it sent itself comes back, as the network can have it.
            13 => match cast.sent.last() {
                Some(bytes) => node.handle(now, Input::Datagram { from, bytes }),
                None => node.handle(now, Input::Timeout),
            },
            14 => {
                now = now + Duration::from_millis(u.int_in_range(0..=120_000)?);
                node.handle(now, Input::Timeout)
            }
            _ => {
                now = now + Duration::from_millis(u.int_in_range(0..=1_500)?);
                node.handle(now, Input::Timeout)
            }
        };
        for _ in 0..MOST_OUTPUT {
            match node.poll_output() {
                Output::Timeout(_) => break,
                Output::Event(_) => {}
                Output::Transmit(transmit) => {
                    assert!(transmit.bytes.len() <= Budget::DEFAULT, "{} bytes", transmit.bytes.len());
                    let opened = open(&transmit.bytes, &cluster, &keyring, Budget::MAX, &mut scratch);
                    let (body, _) = opened.expect("what was sealed opens");
                    let sent = decode_packet(body).expect("what was written is read");
                    cast.learn(&sent);
                    cast.sent = vec![transmit.bytes.to_vec()];
                }
            }
        }
        *handled += 1;
        assert!(matches!(node.poll_output(), Output::Timeout(_)), "more than {MOST_OUTPUT} outputs");
        assert!(node.members() <= CAP, "{} members", node.members());
    }
    let view = node.view(now);
    assert_eq!(view.len(), node.members());
    let finite = |phi: f64| phi.is_finite() && phi >= 0.0;
    assert!(view.iter().all(|m| finite(m.phi)), "a phi that is no number");
    Ok(())
}

/// What an attacker who listens knows.
struct Cast {
    /// The last datagram.
    sent: Vec<Vec<u8>>,
    /// The last pages: with their sums one can speak of members by position.
    pages: Vec<Page>,
    /// Number of the last question.
    asked: u32,
    view: u64,
    /// Of the electorate: who says another one has no vote.
    mark: u32,
}

impl Cast {
    fn learn(&mut self, sent: &Packet) {
        self.asked = sent.seq;
        if let Some(lease) = &sent.lease {
            self.mark = lease.electorate;
        }
        if let Some(Content::Exchange(exchange)) = &sent.body
            && !exchange.pages.is_empty()
        {
            self.pages.clone_from(&exchange.pages);
            self.view = sent.view;
        }
    }
}

/// Real lives: their tags, and what their owners say of themselves when they dial a seed.
static LIVES: LazyLock<Vec<(u64, Claim)>> = LazyLock::new(|| (1..=5).filter_map(introduction).collect());

fn introduction(index: u8) -> Option<(u64, Claim)> {
    let now = Instant::EPOCH + Duration::from_secs(1);
    let cluster = Cluster::new("fuzz").expect("a good name");
    let identity = Identity {
        name: Name::new(&format!("n{index}")).expect("a good name"),
        host_id: HostId(u128::from(index)),
        generation: DAWN_MS,
        address: address(index),
        state: vec![("k0".into(), b"a".to_vec())],
    };
    let mut node = Node::new(identity, Config::new(cluster.clone(), Profile::Lan), 7, now).ok()?;
    let seeds = Command::Seeds(vec![address(0)]);
    for input in [Input::WallClock { unix_ms: DAWN_MS }, Input::Command(seeds), Input::Timeout] {
        node.handle(now, input).ok()?;
        loop {
            match node.poll_output() {
                Output::Timeout(_) => break,
                Output::Event(_) => {}
                Output::Transmit(transmit) => {
                    let mut scratch = Vec::new();
                    let (body, _) =
                        open(&transmit.bytes, &cluster, &Keyring::empty(), Budget::MAX, &mut scratch).ok()?;
                    let packet = decode_packet(body).ok()?;
                    return Some((packet.sender, packet.claims.into_iter().next()?));
                }
            }
        }
    }
    None
}

fn packet(u: &mut Unstructured<'_>, cast: &Cast) -> arbitrary::Result<Packet> {
    assert_eq!(LIVES.len(), 5, "somebody did not introduce itself");
    let claims = some(u, 4, claim)?;
    let seq = if u.arbitrary()? { cast.asked } else { u.arbitrary()? };
    let body = match u.int_in_range(0..=9)? {
        0 => None,
        1..=3 => Some(Content::Exchange(Exchange {
            step: u.int_in_range(1..=8)?,
            pages: some(u, 4, |u| page(u, cast))?,
            lists: some(u, 3, |u| list(u, cast))?,
            wants: some(u, 4, |u| Ok(Want { tag: tag(u)?, since: number(u)?, known: u.arbitrary()? }))?,
        })),
        4 => Some(Content::Pull(Pull {
            from: u.arbitrary()?,
            until: u.arbitrary()?,
            have: some(u, 40, Unstructured::arbitrary::<u8>)?.into(),
            brief: u.arbitrary()?,
        })),
        5 => Some(Content::Supply(Supply {
            from: u.arbitrary()?,
            next: u.arbitrary()?,
            members: u.arbitrary()?,
        })),
        6 => Some(Content::Ping(Ping {
            subject: tag(u)?,
            about: some(u, 12, tag)?,
            padding: some(u, 40, Unstructured::arbitrary::<u8>)?.into(),
            lead: match u.arbitrary()? {
                true => Some(Lead {
                    number: u.arbitrary()?,
                    group: u.int_in_range(0..=4)?,
                    groups: u.int_in_range(0..=4)?,
                    relay: tag(u)?,
                }),
                false => None,
            },
            path_from: if u.arbitrary()? { tag(u)? } else { 0 },
            bare: u.arbitrary()?,
        })),
        7 => Some(Content::Pong(Pong {
            silences: some(u, 12, |u| Ok(Silence { subject: tag(u)?, silent_ms: u.arbitrary()? }))?,
            padding: some(u, 40, Unstructured::arbitrary::<u8>)?.into(),
            heard_ms: u.arbitrary()?,
        })),
        8 => Some(Content::ProbeRequest(ProbeRequest {
            subject: tag(u)?,
            ip: vec![10, 0, 0, u.arbitrary()?].into(),
            port: u.int_in_range(1..=65_535)?,
            path: u.arbitrary()?,
        })),
        _ => {
            Some(match u.int_in_range(0..=5)? {
                0 => Content::ProbeReport(ProbeReport {
                    subject: tag(u)?,
                    outcome: u.int_in_range(0..=4)?,
                    heard_ms: u.arbitrary()?,
                }),
                1 => Content::Refusal(Refusal { reason: u.int_in_range(0..=4)? }),
                2 => Content::Tally(Tally {
                    number: u.arbitrary()?,
                    group: u.int_in_range(0..=4)?,
                    votes: u.arbitrary()?,
                    zones: u.arbitrary()?,
                    tie: u.arbitrary()?,
                }),
                3 => Content::Question(Question {
                    topic: Some(match u.arbitrary()? {
                        true => question::Topic::Paths(PathsQuestion { from: tag(u)? }),
                        false => question::Topic::Health(HealthQuestion { service: "web".into(), id: String::new() }),
                    }),
                }),
                4 => Content::Answer(Answer {
                    topic: Some(match u.arbitrary()? {
                        true => answer::Topic::Paths(PathsAnswer {
                            rows: some(u, 60, |u| {
                                Ok(PathRow {
                                    subject: tag(u)?,
                                    state: u.arbitrary()?,
                                    direction: u.arbitrary()?,
                                    unanswered: u.arbitrary()?,
                                    since_ms: u.arbitrary()?,
                                    through: some(u, 5, |u| Ok(PathHelper { helper: tag(u)?, ago_ms: u.arbitrary()? }))?,
                                })
                            })?,
                            next: tag(u)?,
                            well: u.arbitrary()?,
                            unknown: u.arbitrary()?,
                        }),
                        false => answer::Topic::Health(HealthAnswer { known: u.arbitrary()?, text: u.arbitrary()? }),
                    }),
                }),
                _ => Content::Twin(Twin { began: number(u)?, answer: u.arbitrary()? }),
            })
        }
    };
    Ok(Packet {
        sender: tag(u)?,
        heartbeat: number(u)?,
        seq,
        view: if u.arbitrary()? { cast.view } else { u.arbitrary()? },
        beat: u.arbitrary()?,
        lease: match u.arbitrary()? {
            true => Some(Lease {
                electorate: cast.mark,
                age_ms: u.arbitrary()?,
                present: u.arbitrary()?,
                wave: u.int_in_range(0..=9)?,
                answered: u.int_in_range(0..=9)?,
                answered_ms: u.arbitrary()?,
                zones: u.arbitrary()?,
            }),
            false => None,
        },
        longest: u.int_in_range(0..=2000)?,
        cookie: u.arbitrary()?,
        cookie_back: u.arbitrary()?,
        body,
        claims,
    })
}

fn page(u: &mut Unstructured<'_>, cast: &Cast) -> arbitrary::Result<Page> {
    if u.ratio(3, 4)? && !cast.pages.is_empty() {
        let mut page = u.choose(&cast.pages)?.clone();
        if u.arbitrary()? {
            page.ages = some(u, 12, Unstructured::arbitrary::<u8>)?.into();
        }
        if u.ratio(1, 4)? {
            page.stamps = u.arbitrary()?;
        }
        return Ok(page);
    }
    let bits = u.int_in_range(0..=24)?;
    let prefix = u.arbitrary::<u32>()? & ((1 << bits) - 1);
    let ages = some(u, 12, Unstructured::arbitrary::<u8>)?.into();
    Ok(Page { bits, prefix, lives: u.arbitrary()?, stamps: u.arbitrary()?, ages })
}

fn list(u: &mut Unstructured<'_>, cast: &Cast) -> arbitrary::Result<List> {
    let named: bool = u.arbitrary()?;
    let known = if named || cast.pages.is_empty() { None } else { Some(u.choose(&cast.pages)?) };
    let bits = known.map_or_else(|| u.int_in_range(0..=6), |page| Ok(page.bits))?;
    let prefix = known.map_or_else(|| u.arbitrary(), |page| Ok(page.prefix))? & ((1 << bits) - 1);
    let lives = known.map_or_else(|| if named { Ok(0) } else { u.arbitrary() }, |page| Ok(page.lives))?;
    let rows = some(u, 6, |u| Ok((tag(u)?, number(u)?, number(u)? | 1)))?;
    Ok(List {
        bits,
        prefix,
        tags: rows.iter().filter(|_| named).map(|row| row.0).collect(),
        lives,
        versions: rows.iter().map(|row| row.1).collect(),
        standings: rows.iter().map(|row| row.2).collect(),
    })
}

/// About one of a few, so that lives, verdicts and values meet.
fn claim(u: &mut Unstructured<'_>) -> arbitrary::Result<Claim> {
    if u.arbitrary()? {
        let (_, own) = u.choose(&LIVES)?;
        let mut claim = own.clone();
        claim.heartbeat = number(u)?;
        claim.left = u.ratio(1, 16)?;
        claim.down = if u.ratio(1, 4)? { number(u)? } else { 0 };
        if u.ratio(1, 4)? {
            claim.accusations = some(u, 3, accusation)?;
        }
        return Ok(claim);
    }
    let who: u8 = u.int_in_range(0..=9)?;
    let life = Body {
        name: if who == 0 { "me".into() } else { format!("n{who}") },
        host_id: vec![u.int_in_range(0..=1)?; 16].into(),
        ip: vec![10, 0, 0, who].into(),
        port: 1_000 + u32::from(who),
        ref_unix_ms: DAWN_MS.wrapping_add(number(u)? >> 20),
        ref_heartbeat: number(u)? >> 30,
        interval_ms: u.int_in_range(10..=600_000)?,
        moves: u.int_in_range(0..=2)?,
    };
    let generation = match u.int_in_range(0..=3)? {
        0..=2 => DAWN_MS + u64::from(u.int_in_range(0..=3_u8)?),
        _ => number(u)?,
    };
    Ok(Claim {
        subject: u.arbitrary()?,
        generation,
        heartbeat: number(u)?,
        left: u.ratio(1, 16)?,
        down: number(u)?,
        accusations: some(u, 3, accusation)?,
        forgotten: u.ratio(1, 16)?,
        body: if u.ratio(7, 8)? { Some(life) } else { None },
        entries: some(u, 3, |u| {
            Ok(Entry {
                key: format!("k{}", u.int_in_range(0..=5_u8)?),
                value: vec![b'v'; u.int_in_range(0..=768)?].into(),
                version: number(u)?,
                deleted: u.arbitrary()?,
            })
        })?,
        since: number(u)?,
        version: number(u)?,
        kept: if u.arbitrary()? { Some(vec![0; u.int_in_range(0..=40)?].into()) } else { None },
        newest: number(u)?,
        restart_ms: u.int_in_range(0..=100_000)?,
    })
}

fn accusation(u: &mut Unstructured<'_>) -> arbitrary::Result<Accusation> {
    let by = u.choose(&LIVES)?.1.subject;
    Ok(Accusation {
        by: if u.arbitrary()? { by } else { u.arbitrary()? },
        basis: number(u)?,
        kind: u.int_in_range(0..=6)?,
        weak: u.arbitrary()?,
        silent_ms: number(u)?,
        source: vec![b's'; u.int_in_range(0..=17)?].into(),
    })
}

fn command(u: &mut Unstructured<'_>) -> arbitrary::Result<Command> {
    Ok(match u.int_in_range(0..=11)? {
        0 => Command::Seeds(some(u, 4, |u| Ok(address(u.int_in_range(0..=7)?)))?),
        1 => Command::Join(some(u, 4, |u| Ok(address(u.int_in_range(0..=7)?)))?),
        2 => Command::Leave,
        3 => Command::Forget(Name::new(&format!("n{}", u.int_in_range(1..=9_u8)?)).expect("a good name")),
        4 => Command::Set(some(u, 3, |u| {
            let value = if u.arbitrary()? { Some(vec![7; u.int_in_range(0..=900)?]) } else { None };
            Ok((format!("k{}", u.int_in_range(0..=5_u8)?), value))
        })?),
        5 => Command::Expect(match u.int_in_range(0..=10_u32)? {
            0 => None,
            votes => Some(Electorate::expected(votes)),
        }),
        6 => Command::Readdress(address(u.int_in_range(0..=7)?)),
        7 => Command::Remembered(some(u, 4, |u| Ok(address(u.int_in_range(0..=7)?)))?),
        8 => Command::Ask {
            number: number(u)?,
            member: Name::new(&format!("n{}", u.int_in_range(1..=9_u8)?)).expect("a good name"),
            question: match u.arbitrary()? {
                true => Asked::Paths,
                false => Asked::Health { service: "web".into(), id: u.arbitrary()? },
            },
        },
        9 => Command::Answer { number: number(u)?, text: u.arbitrary()? },
        _ => Command::Beat(u.arbitrary()?),
    })
}

fn some<'a, T>(
    u: &mut Unstructured<'a>,
    most: usize,
    mut one: impl FnMut(&mut Unstructured<'a>) -> arbitrary::Result<T>,
) -> arbitrary::Result<Vec<T>> {
    let count = u.int_in_range(0..=most)?;
    (0..count).map(|_| one(u)).collect()
}

/// Of a life that there is, as a rule.
fn tag(u: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    if u.ratio(1, 8)? { u.arbitrary() } else { Ok(u.choose(&LIVES)?.0) }
}

/// Small as a rule, and at times of any length.
fn number(u: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    Ok(if u.ratio(7, 8)? {
        u.int_in_range(0..=60)?
    } else {
        u.arbitrary::<u64>()? >> (u.arbitrary::<u8>()? % 64)
    })
}

fn identity() -> Identity {
    Identity {
        name: Name::new("me").expect("a good name"),
        host_id: HostId(1),
        generation: DAWN_MS,
        address: address(0),
        state: vec![("zone".into(), b"a".to_vec())],
    }
}

fn address(index: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, index], 1_000 + u16::from(index)))
}

const DAWN_MS: u64 = 1_700_000_000_000;
const CAP: usize = 6;
/// What one input may set off, generously: every kind of thing for every member.
const MOST_OUTPUT: usize = 1_000;
