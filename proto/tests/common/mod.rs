//! Any valid packet, piece by piece. It names every field of the wire, so it is no part of `heartsay-testkit`, which also
//! builds against older revisions; the laws of the membership include this file.

#![allow(unreachable_pub, dead_code, reason = "each test takes what it needs")]

use heartsay_proto::gossip::{
    Accusation, Answer, Body, Claim, Entry, Exchange, HealthAnswer, HealthQuestion, Here, Lead, Lease, List,
    Packet, Page, PathHelper, PathRow, PathsAnswer, PathsQuestion, Ping, Pong, ProbeReport, ProbeRequest,
    Pull, Question, Refusal, Silence, Supply, Tally, Twin, Want, Who, answer, packet, question,
};
use proptest::collection::vec;
use proptest::prelude::*;

pub fn any_packet() -> impl Strategy<Value = Packet> {
    let fixed = (any::<u64>(), number(), any::<u32>(), any::<u64>(), any::<u32>());
    let lease = (any::<((u32, u32, u32), (u32, u32, u32))>(), vec(any::<u32>(), 0..4)).prop_map(
        |(((electorate, age_ms, present), (wave, answered, answered_ms)), zones)| Lease {
            electorate,
            age_ms,
            present,
            wave,
            answered,
            answered_ms,
            zones,
        },
    );
    let lease = proptest::option::of(lease);
    let lease = (lease, 0_u32..2000, any::<u32>());
    let parts = (fixed, lease, proptest::option::of(any_content()), vec(any_claim(), 0..5));
    parts.prop_map(|((sender, heartbeat, seq, view, beat), (lease, longest, cookie), body, claims)| Packet {
        sender,
        heartbeat,
        seq,
        view,
        beat,
        lease,
        longest,
        cookie,
        cookie_back: cookie.rotate_left(7),
        straight_to: longest,
        claims,
        body,
    })
}

fn any_content() -> impl Strategy<Value = packet::Body> {
    let ids = (any::<u64>(), any::<u64>(), any::<u32>());
    prop_oneof![
        any_exchange().prop_map(packet::Body::Exchange),
        (any::<u64>(), any::<u64>(), vec(any::<u8>(), 0..800), any::<bool>()).prop_map(
            |(from, until, have, brief)| packet::Body::Pull(Pull { from, until, have: have.into(), brief })
        ),
        ids.prop_map(|(from, next, members)| packet::Body::Supply(Supply { from, next, members })),
        (
            any::<u64>(),
            vec(any::<u64>(), 0..10),
            vec(any::<u8>(), 0..500),
            any_lead(),
            any::<u64>(),
            any::<bool>()
        )
            .prop_map(|(subject, about, padding, lead, path_from, bare)| packet::Body::Ping(Ping {
                subject,
                about,
                padding: padding.into(),
                lead,
                path_from,
                bare
            })),
        (vec(any_silence(), 0..10), vec(any::<u8>(), 0..500), any::<u32>()).prop_map(
            |(silences, padding, heard_ms)| packet::Body::Pong(Pong {
                silences,
                padding: padding.into(),
                heard_ms
            })
        ),
        (any::<u64>(), ip(), 1_u32..=65_535, any::<bool>()).prop_map(|(subject, ip, port, path)| {
            packet::Body::ProbeRequest(ProbeRequest { subject, ip, port, path })
        }),
        (any::<u64>(), any::<u32>(), any::<u32>()).prop_map(|(subject, outcome, heard_ms)| {
            packet::Body::ProbeReport(ProbeReport { subject, outcome, heard_ms })
        }),
        ids.prop_map(|(_, _, reason)| packet::Body::Refusal(Refusal { reason })),
        (any::<(u32, u32, u32, bool)>(), vec(any::<u32>(), 0..4)).prop_map(
            |((number, group, votes, tie), zones)| {
                packet::Body::Tally(Tally { number, group, votes, zones, tie })
            }
        ),
        any::<(u64, bool)>().prop_map(|(began, answer)| packet::Body::Twin(Twin { began, answer })),
        vec(any::<u8>(), 0..50).prop_map(|padding| packet::Body::Who(Who { padding: padding.into() })),
        Just(packet::Body::Here(Here {})),
        any_question().prop_map(|topic| packet::Body::Question(Question { topic })),
        any_answer().prop_map(|topic| packet::Body::Answer(Answer { topic })),
    ]
}

fn any_question() -> impl Strategy<Value = Option<question::Topic>> {
    let health = ("[!-~]{1,64}", "[!-~]{0,64}");
    proptest::option::of(prop_oneof![
        any::<u64>().prop_map(|from| question::Topic::Paths(PathsQuestion { from })),
        health.prop_map(|(service, id)| question::Topic::Health(HealthQuestion { service, id })),
    ])
}

fn any_answer() -> impl Strategy<Value = Option<answer::Topic>> {
    let helper = any::<(u64, u32)>().prop_map(|(helper, ago_ms)| PathHelper { helper, ago_ms });
    let row = (any::<(u64, u32, u32, u32, u32)>(), vec(helper, 0..4)).prop_map(
        |((subject, state, direction, unanswered, since_ms), through)| PathRow {
            subject,
            state,
            direction,
            unanswered,
            since_ms,
            through,
        },
    );
    let paths = (vec(row, 0..10), any::<(u64, u32, u32)>())
        .prop_map(|(rows, (next, well, unknown))| PathsAnswer { rows, next, well, unknown });
    let health = (any::<bool>(), ".{0,200}").prop_map(|(known, text)| HealthAnswer { known, text });
    proptest::option::of(prop_oneof![
        paths.prop_map(answer::Topic::Paths),
        health.prop_map(answer::Topic::Health),
    ])
}

fn any_lead() -> impl Strategy<Value = Option<Lead>> {
    let lead = any::<(u32, u32, u32, u64)>();
    proptest::option::of(lead.prop_map(|(number, group, groups, relay)| Lead {
        number,
        group,
        groups,
        relay,
    }))
}

fn any_silence() -> impl Strategy<Value = Silence> {
    any::<(u64, u32)>().prop_map(|(subject, silent_ms)| Silence { subject, silent_ms })
}

fn any_exchange() -> impl Strategy<Value = Exchange> {
    let parts = (1_u32..=8, vec(any_page(), 0..4), vec(any_list(), 0..4), vec(any_want(), 0..4));
    parts.prop_map(|(step, pages, lists, wants)| Exchange { step, pages, lists, wants })
}

pub fn any_page() -> impl Strategy<Value = Page> {
    (0_u32..=24, any::<u32>(), any::<u64>(), any::<u32>(), vec(any::<u8>(), 0..80)).prop_map(
        |(bits, prefix, lives, stamps, ages)| Page {
            prefix: prefix & ((1 << bits) - 1),
            lives,
            stamps,
            ages: ages.into(),
            bits,
        },
    )
}

pub fn any_list() -> impl Strategy<Value = List> {
    let rows = vec((any::<u64>(), number(), number(), 0_u64..4), 0..12);
    (0_u32..=24, any::<u32>(), any::<u64>(), any::<bool>(), rows).prop_map(
        |(bits, prefix, lives, named, rows)| List {
            bits,
            prefix: prefix & ((1 << bits) - 1),
            tags: rows.iter().filter(|_| named).map(|row| row.0).collect(),
            lives,
            versions: rows.iter().map(|row| row.1).collect(),
            standings: rows.iter().map(|row| if row.3 == 0 { 0 } else { row.2 << 2 | row.3 }).collect(),
        },
    )
}

pub fn any_want() -> impl Strategy<Value = Want> {
    (any::<u64>(), number(), any::<bool>()).prop_map(|(tag, since, known)| Want { tag, since, known })
}

pub fn any_claim() -> impl Strategy<Value = Claim> {
    let flags = (any::<bool>(), any::<bool>(), any::<u32>());
    let numbers = (any::<u64>(), number(), number(), number(), number(), number());
    let parts = (
        numbers,
        flags,
        vec(any_accusation(), 0..3),
        proptest::option::of(any_body()),
        vec(any_entry(), 0..3),
        (proptest::option::of(vec(any::<u8>(), 0..20)), number(), vec(any::<u8>(), 0..20)),
    );
    parts.prop_map(
        |(
            (subject, generation, heartbeat, down, since, version),
            flags,
            accusations,
            body,
            entries,
            rest,
        )| Claim {
            subject,
            generation,
            heartbeat,
            left: flags.0,
            down,
            accusations,
            forgotten: flags.1,
            body,
            entries,
            since,
            version,
            restart_ms: flags.2,
            kept: rest.0.map(Into::into),
            newest: rest.1,
            last_words: rest.2.into(),
        },
    )
}

fn any_accusation() -> impl Strategy<Value = Accusation> {
    (any::<u64>(), number(), 0_u32..6, any::<bool>(), number(), "[a-z]{0,16}").prop_map(
        |(by, basis, kind, weak, silent_ms, source)| Accusation {
            silent_ms,
            by,
            basis,
            kind,
            weak,
            source: source.into(),
        },
    )
}

fn any_body() -> impl Strategy<Value = Body> {
    let reference = (number(), number(), 10_u32..=600_000, 0_u32..300);
    let rest = (reference, vec(any::<u8>(), 0..20));
    ("[a-z0-9.é-]{1,60}", any::<[u8; 16]>(), ip(), 1_u32..=65_535, rest).prop_map(
        |(name, host_id, ip, port, ((ref_unix_ms, ref_heartbeat, interval_ms, moves), last_mark))| Body {
            name,
            host_id: host_id.to_vec().into(),
            ip,
            port,
            ref_unix_ms,
            ref_heartbeat,
            interval_ms,
            moves,
            last_mark: last_mark.into(),
        },
    )
}

fn any_entry() -> impl Strategy<Value = Entry> {
    ("[!-~]{1,64}", vec(any::<u8>(), 0..=768), number(), any::<bool>())
        .prop_map(|(key, value, version, deleted)| Entry { key, value: value.into(), version, deleted })
}

fn ip() -> impl Strategy<Value = heartsay_proto::Bytes> {
    prop_oneof![vec(any::<u8>(), 4), vec(any::<u8>(), 16)].prop_map(Into::into)
}

/// Numbers of all encoded lengths, not only the longest.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 2_u32..64).prop_map(|(number, shift)| number >> shift)
}
