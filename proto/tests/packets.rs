//! Packets: round trips, bounds, and the bytes of older agents.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::any_packet;
use heartsay_proto::ages::Age;
use heartsay_proto::gossip::{
    Answer, Body, Claim, Entry, Exchange, HealthAnswer, HealthQuestion, Here, Lead, Lease, List, Packet,
    Page, PathHelper, PathRow, PathsAnswer, PathsQuestion, Ping, Pong, ProbeReport, ProbeRequest, Pull,
    Question, Silence, Tally, Twin, Want, Who, answer, packet, question,
};
use heartsay_proto::service::{Instance, Service};
use heartsay_proto::{
    Budget, Cluster, DecodeError, Key, Keyring, Seal, ages, decode_into, decode_packet, encode_packet,
    open_for, seal_for,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

proptest! {
    #[test]
    fn packets_come_back_as_they_went(packet in any_packet()) {
        prop_assert_eq!(decode_packet(&encoded(&packet)), Ok(packet));
    }

    #[test]
    fn a_reused_exchange_decodes_like_a_fresh_one(packet in any_packet(), used in any_packet(), at: prop::sample::Index, to: u8) {
        let used = || match &used.body {
            Some(packet::Body::Exchange(exchange)) => exchange.clone(),
            _ => Exchange::default(),
        };
        let mut bytes = encoded(&packet);
        prop_assert_eq!(decode_into(used(), bytes.clone().into()), Ok(packet));
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let (anew, again) = (decode_packet(&bytes), decode_into(used(), bytes.into()));
        // An exchange of which nothing is said is none, or one that lacks its step.
        let stepless = anew == Err(DecodeError::BadStep { step: 0 });
        prop_assert!(anew == again || stepless);
    }

    #[test]
    fn a_packet_that_can_be_decoded_survives_a_round_trip(
        noise in vec(any::<u8>(), 0..12),
        packet in any_packet(),
        at: prop::sample::Index,
        to: u8,
    ) {
        let mut damaged = encoded(&packet);
        if !damaged.is_empty() {
            let at = at.index(damaged.len());
            damaged[at] = to;
        }
        // Noise may be a field of its own at the end, or read alone.
        for bytes in [noise.clone(), damaged.clone(), [encoded(&packet), noise].concat()] {
            if let Ok(packet) = decode_packet(&bytes) {
                prop_assert_eq!(decode_packet(&encoded(&packet)), Ok(packet));
            }
        }
    }
}

#[test]
fn a_packet_without_a_body_comes_without_one() {
    let bytes = encoded(&start());
    let packet =
        decode_into(Exchange { step: 2, pages: vec![Page::default()], ..Exchange::default() }, bytes.into());
    assert_eq!(packet, Ok(start()));
}

#[test]
fn plain_ping_keeps_its_bytes() {
    let ping = Ping { subject: 42, ..Default::default() };
    let packet = Packet { body: Some(packet::Body::Ping(ping)), ..start() };
    golden("ping-plain", &packet, &Keyring::empty());
}

#[test]
fn questions_about_silences_and_their_answers_keep_their_bytes() {
    let ping = Ping { subject: 42, about: vec![7, u64::MAX], ..Ping::default() };
    golden("ping-about", &Packet { body: Some(packet::Body::Ping(ping)), ..start() }, &Keyring::empty());
    let silences =
        vec![Silence { subject: 7, silent_ms: 1_445 }, Silence { subject: u64::MAX, silent_ms: 0 }];
    let lease = Lease { electorate: 0xA1B2_C3D4, age_ms: 301, present: 3, ..Lease::default() };
    let packet = Packet {
        lease: Some(lease),
        body: Some(packet::Body::Pong(Pong { silences, ..Pong::default() })),
        ..start()
    };
    golden("pong-silences", &packet, &Keyring::empty());
}

#[test]
fn questions_about_a_path_and_their_answers_keep_their_bytes() {
    let plain = |name, body| golden(name, &Packet { body: Some(body), ..start() }, &Keyring::empty());
    let request = ProbeRequest { subject: 42, ip: vec![10, 0, 0, 7].into(), port: 4327, path: true };
    plain("path-request", packet::Body::ProbeRequest(request));
    plain("path-ping", packet::Body::Ping(Ping { subject: 42, path_from: 7, ..Ping::default() }));
    plain(
        "bare-ping",
        packet::Body::Ping(Ping { subject: 42, padding: vec![0; 8].into(), bare: true, ..Ping::default() }),
    );
    plain("path-pong", packet::Body::Pong(Pong { heard_ms: 1_446, ..Pong::default() }));
    let report = ProbeReport { subject: 42, outcome: 1, heard_ms: u32::MAX };
    plain("path-report", packet::Body::ProbeReport(report));
}

#[test]
fn questions_and_their_answers_keep_their_bytes() {
    let plain = |name, body| golden(name, &Packet { body: Some(body), ..start() }, &Keyring::empty());
    let asks = |topic| packet::Body::Question(Question { topic: Some(topic) });
    let tells = |topic| packet::Body::Answer(Answer { topic: Some(topic) });
    plain("question-paths", asks(question::Topic::Paths(PathsQuestion { from: 8 })));
    let health = HealthQuestion { service: "web".to_owned(), id: "blue".to_owned() };
    plain("question-health", asks(question::Topic::Health(health)));
    let row = PathRow {
        subject: 42,
        state: 1,
        direction: 2,
        unanswered: 17,
        since_ms: 8_001,
        through: vec![PathHelper { helper: u64::MAX, ago_ms: 350 }, PathHelper { helper: 7, ago_ms: 0 }],
    };
    let paths = PathsAnswer { rows: vec![row], next: 43, well: 120, unknown: 6 };
    plain("answer-paths", tells(answer::Topic::Paths(paths)));
    let text = "check http: 503 Service Unavailable".to_owned();
    plain("answer-health", tells(answer::Topic::Health(HealthAnswer { known: true, text })));
}

#[test]
fn an_agent_that_does_not_know_a_topic_reads_a_question_without_one() {
    // Tag 9 of a question, with nothing in it.
    let body = vec![0xCA, 0x01, 0x02, 0x4A, 0x00];
    let bytes = [encoded(&start()), body].concat();
    let asked = Packet { body: Some(packet::Body::Question(Question { topic: None })), ..start() };
    assert_eq!(decode_packet(&bytes), Ok(asked));
}

#[test]
fn waves_and_the_votes_that_answer_them_keep_their_bytes() {
    let lease = Lease {
        electorate: 0xA1B2_C3D4,
        age_ms: 601,
        present: 80,
        wave: 1,
        answered: 33,
        answered_ms: 599,
        zones: Vec::new(),
    };
    let lead = Lead { number: 0xFFFF_FFFF, group: 10, groups: 11, relay: u64::MAX };
    let ping = Ping { subject: 42, lead: Some(lead), ..Ping::default() };
    let packet = Packet { lease: Some(lease.clone()), body: Some(packet::Body::Ping(ping)), ..start() };
    golden("ping-wave", &packet, &Keyring::empty());
    let tally = Tally { number: 0xFFFF_FFFF, group: 10, votes: 7, ..Tally::default() };
    let packet = Packet { body: Some(packet::Body::Tally(tally.clone())), ..start() };
    golden("tally", &packet, &Keyring::empty());
    let by_zones = Lease { present: 2, zones: vec![5, 300, 0], ..lease };
    let packet = Packet {
        lease: Some(by_zones),
        body: Some(packet::Body::Ping(Ping { subject: 42, ..Ping::default() })),
        ..start()
    };
    golden("ping-wave-zones", &packet, &Keyring::empty());
    let tally = Tally { zones: vec![2, 5, 0], tie: true, ..tally };
    golden("tally-zones", &Packet { body: Some(packet::Body::Tally(tally)), ..start() }, &Keyring::empty());
}

#[test]
fn plain_exchange_with_a_page_keeps_its_bytes() {
    golden("exchange-plain", &exchange_with_a_page(), &Keyring::empty());
}

#[test]
fn frames_of_version_1_are_refused_by_that_name() {
    for name in ["v1/exchange-plain", "v1/exchange-sealed"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"));
        let old = unhex(&std::fs::read_to_string(path).unwrap());
        let key = Keyring::new(vec![Key::from_bytes([0x5A; 32])]);
        let (cluster, mut scratch) = (Cluster::new("golden").unwrap(), Vec::new());
        for keyring in [Keyring::empty(), key] {
            let refused = open_for(&old, &cluster, &keyring, &[LIFE], Budget::MAX, &mut scratch);
            assert_eq!(refused, Err(DecodeError::OlderVersion { version: 1 }), "{name}");
        }
    }
}

#[test]
fn who_and_here_keep_their_bytes() {
    let keyring = Keyring::new(vec![Key::from_bytes([0x5A; 32])]);
    let who = packet::Body::Who(Who { padding: vec![0; 8].into() });
    golden("who-sealed", &Packet { body: Some(who), ..start() }, &keyring);
    golden("here-sealed", &Packet { body: Some(packet::Body::Here(Here {})), ..start() }, &keyring);
}

#[test]
fn sealed_exchange_keeps_its_bytes() {
    golden("exchange-sealed", &exchange_with_a_page(), &Keyring::new(vec![Key::from_bytes([0x5A; 32])]));
}

#[test]
fn plain_claims_keep_their_bytes() {
    golden("claims-plain", &Packet { claims: vec![claim()], ..start() }, &Keyring::empty());
}

#[test]
fn the_question_about_a_copied_state_directory_keeps_its_bytes() {
    let twin = Twin { began: 1_700_000_000_000, answer: true };
    let body = Some(packet::Body::Twin(twin));
    golden("twin-plain", &Packet { body, claims: vec![claim()], ..start() }, &Keyring::empty());
}

#[test]
fn restarts_moves_parts_of_states_and_narrow_paths_keep_their_bytes() {
    let mut claim = Claim {
        restart_ms: 15_001,
        kept: Some(vec![1, 2, 3, 4, 5, 250, 251, 252, 253, 254].into()),
        newest: 300,
        ..claim()
    };
    claim.body.as_mut().unwrap().moves = 2;
    let pull = Pull { from: 1 << 60, until: 1 << 61, have: vec![1, 2, 3].into(), brief: true };
    let body = Some(packet::Body::Pull(pull));
    golden("pull-brief", &Packet { body, longest: 512, claims: vec![claim], ..start() }, &Keyring::empty());
}

#[test]
fn last_words_keep_their_bytes_where_a_claim_passes_them_on() {
    let mut claim = Claim { down: 1_002, last_words: vec![7; 16].into(), ..claim() };
    claim.body.as_mut().unwrap().last_mark = vec![9; 16].into();
    golden("last-words", &Packet { claims: vec![claim], ..start() }, &Keyring::empty());
}

#[test]
fn names_are_words_of_128_bytes_at_most() {
    let named = |name: &str| with_body(|body| body.name = name.into());
    assert_eq!(named(&"n".repeat(128)), Ok(()));
    for name in ["", "two words", "bell\u{7}", &"n".repeat(129)] {
        assert_eq!(named(name), Err(DecodeError::BadName), "{name:?}");
    }
}

#[test]
fn host_ids_are_16_bytes() {
    for length in [0, 15, 17] {
        let result = with_body(|body| body.host_id = vec![1; length].into());
        assert_eq!(result, Err(DecodeError::BadHostId { length }));
    }
}

#[test]
fn addresses_are_ipv4_or_ipv6_with_a_port() {
    for length in [0, 5, 15, 17] {
        let result = with_body(|body| body.ip = vec![1; length].into());
        assert_eq!(result, Err(DecodeError::BadIp { length }));
    }
    for port in [0, 65_536] {
        assert_eq!(with_body(|body| body.port = port), Err(DecodeError::BadPort { port }));
        let request = ProbeRequest { subject: 1, ip: vec![1; 4].into(), port, path: false };
        let packet = Packet { body: Some(packet::Body::ProbeRequest(request)), ..start() };
        assert_eq!(decode_packet(&encoded(&packet)), Err(DecodeError::BadPort { port }));
    }
}

#[test]
fn rounds_last_from_10_ms_to_10_minutes() {
    for interval_ms in [10, 600_000] {
        assert_eq!(with_body(|body| body.interval_ms = interval_ms), Ok(()));
    }
    for interval_ms in [0, 9, 600_001] {
        let result = with_body(|body| body.interval_ms = interval_ms);
        assert_eq!(result, Err(DecodeError::BadInterval { interval_ms }));
    }
}

#[test]
fn exchanges_have_8_steps() {
    for step in [0, 9] {
        assert_eq!(with_exchange(|exchange| exchange.step = step), Err(DecodeError::BadStep { step }));
    }
}

#[test]
fn hash_ranges_have_24_bits_and_a_prefix_that_fits() {
    let page = |bits, prefix| {
        with_exchange(|exchange| {
            exchange.pages[0].bits = bits;
            exchange.pages[0].prefix = prefix;
        })
    };
    let list = |bits, prefix| {
        with_exchange(|exchange| exchange.lists.push(List { bits, prefix, ..Default::default() }))
    };
    for (bits, prefix) in [(0, 0), (1, 1), (24, (1 << 24) - 1)] {
        assert_eq!((page(bits, prefix), list(bits, prefix)), (Ok(()), Ok(())));
    }
    for (bits, prefix) in [(0, 1), (1, 2), (24, 1 << 24)] {
        let error = Err(DecodeError::BadPrefix { prefix, bits });
        assert_eq!((page(bits, prefix), list(bits, prefix)), (error.clone(), error));
    }
    for bits in [25, 32, u32::MAX] {
        let error = Err(DecodeError::BadBits { bits });
        assert_eq!((page(bits, 0), list(bits, 0)), (error.clone(), error));
    }
}

#[test]
fn columns_of_a_list_are_equally_long() {
    let list = |tags: usize, versions: usize, standings: usize| {
        let list = List {
            tags: vec![1; tags],
            versions: vec![1; versions],
            standings: vec![0; standings],
            ..Default::default()
        };
        with_exchange(|exchange| exchange.lists.push(list))
    };
    assert_eq!((list(0, 0, 0), list(0, 2, 2), list(2, 2, 2)), (Ok(()), Ok(()), Ok(())));
    for (tags, versions, standings) in [(1, 2, 2), (2, 2, 1), (0, 1, 0), (1, 0, 0)] {
        let error = DecodeError::UnequalColumns { tags, versions, standings };
        assert_eq!(list(tags, versions, standings), Err(error));
    }
}

#[test]
fn standings_with_a_basis_have_a_kind() {
    let list = |standing| {
        let list = List { versions: vec![1], standings: vec![standing], ..Default::default() };
        with_exchange(|exchange| exchange.lists.push(list))
    };
    assert_eq!((list(0), list(1), list(4 * 9 + 3)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(list(36), Err(DecodeError::BadStanding { standing: 36 }));
}

#[test]
fn entries_have_short_keys_and_bounded_values() {
    let entry = |key: &str, length: usize| {
        let entry = Entry { key: key.into(), value: vec![1; length].into(), ..Default::default() };
        let packet = Packet { claims: vec![Claim { entries: vec![entry], ..claim() }], ..start() };
        decode_packet(&encoded(&packet)).map(drop)
    };
    assert_eq!(entry(&"k".repeat(64), 768), Ok(()));
    for key in ["", "two words", &"k".repeat(65)] {
        assert_eq!(entry(key, 1), Err(DecodeError::BadKey), "{key:?}");
    }
    assert_eq!(entry("k", 769), Err(DecodeError::BadValue { length: 769 }));
}

#[test]
fn questions_about_services_name_words() {
    let asked = |service: &str, id: &str| {
        let health = HealthQuestion { service: service.to_owned(), id: id.to_owned() };
        let question = Question { topic: Some(question::Topic::Health(health)) };
        let packet = Packet { body: Some(packet::Body::Question(question)), ..start() };
        decode_packet(&encoded(&packet)).map(drop)
    };
    let long = "x".repeat(65);
    assert_eq!((asked("web", ""), asked(&long[1..], &long[1..])), (Ok(()), Ok(())));
    for (service, id) in [("", "a"), ("two words", ""), ("web", "bell\u{7}"), (&long, ""), ("web", &long)] {
        assert_eq!(asked(service, id), Err(DecodeError::BadQuestion), "{service:?} {id:?}");
    }
}

#[test]
fn kinds_of_newer_agents_pass() {
    let mut claim = claim();
    claim.accusations = vec![heartsay_proto::gossip::Accusation {
        by: 1,
        basis: 1,
        kind: 7,
        weak: false,
        silent_ms: 0,
        ..Default::default()
    }];
    let packet = Packet { claims: vec![claim], ..start() };
    assert_eq!(decode_packet(&encoded(&packet)), Ok(packet));
}

#[test]
fn fields_of_newer_agents_are_skipped() {
    let packet = Packet { claims: vec![claim()], ..start() };
    let mut bytes = encoded(&packet);
    bytes.extend([0xA0, 0x06, 0x01]); // field 100, a varint
    assert_eq!(decode_packet(&bytes), Ok(packet));
}

#[test]
fn bytes_that_are_no_packet_are_malformed() {
    assert_eq!(decode_packet(&[0xFF; 9]).unwrap_err().reason(), "malformed");
}

#[test]
fn services_have_golden_bytes() {
    let first = Instance {
        id: "blue".into(),
        port: 5432,
        health: 2,
        address: vec![10, 0, 0, 17].into(),
        tags: vec!["role=primary".into(), "rack=1".into()],
    };
    let service = Service { instances: vec![first, Instance::default()] };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/service.hex");
    let today = service.encode_to_vec();
    if !path.exists() && std::env::var_os("HEARTSAY_UPDATE").is_some() {
        let lines: Vec<String> = today.chunks(32).map(hex).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let old = unhex(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(Service::decode(&*old).as_ref(), Ok(&service), "old bytes are read otherwise");
    assert_eq!(hex(&old), hex(&today), "today's bytes differ");
    assert_eq!(Service { instances: vec![Instance::default()] }.encode_to_vec().len(), 2, "the shortest");
}

/// Old bytes are understood, and today's are the same. A file is only ever added, with
/// `HEARTSAY_UPDATE=1`: a change of one means that running clusters stop understanding.
fn golden(name: &str, packet: &Packet, keyring: &Keyring) {
    let cluster = Cluster::new("golden").unwrap();
    let (mut body, mut datagram, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    encode_packet(packet, &mut body);
    let seal = Seal { receiver: LIFE, number: 0x0001_0203_0405_0607, secret: &[7; 16] };
    seal_for(&body, &cluster, keyring, seal, &mut datagram);

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"));
    if !path.exists() && std::env::var_os("HEARTSAY_UPDATE").is_some() {
        let lines: Vec<String> = datagram.chunks(32).map(hex).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let old = unhex(&std::fs::read_to_string(&path).unwrap());
    let opened = open_for(&old, &cluster, keyring, &[LIFE], Budget::MAX, &mut scratch).unwrap();
    assert_eq!(decode_packet(opened.body).as_ref(), Ok(packet), "{name}: old bytes are read otherwise");
    assert_eq!(hex(&old), hex(&datagram), "{name}: today's bytes differ");
}

/// For which the sealed ones are.
const LIFE: u64 = 0x1122_3344_5566_7788;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

fn start() -> Packet {
    Packet {
        sender: 0x0123_4567_89AB_CDEF,
        heartbeat: 86_400,
        seq: 7,
        view: 0xFEED_FACE_CAFE_BEEF,
        ..Default::default()
    }
}

fn exchange_with_a_page() -> Packet {
    let members = [Some(6), Some(5), None, Some(7), Some(6), Some(8), Some(6), Some(4), Some(120), Some(6)];
    let mut coded = Vec::new();
    ages::encode(&members.map(Age::from), &mut coded);
    let exchange = Exchange {
        step: 1,
        pages: vec![Page { bits: 3, prefix: 5, lives: 99, stamps: 77, ages: coded.into() }],
        lists: vec![List {
            bits: 4,
            prefix: 9,
            tags: vec![1, 2],
            versions: vec![300, 4],
            standings: vec![0, 4 * 500 + 2],
            ..Default::default()
        }],
        wants: vec![Want { tag: 3, since: 12, known: true }],
    };
    Packet { body: Some(packet::Body::Exchange(exchange)), ..start() }
}

fn claim() -> Claim {
    Claim {
        subject: 42,
        generation: 1_700_000_000_000,
        heartbeat: 1_000,
        body: Some(Body {
            name: "db-17".into(),
            host_id: vec![0xAB; 16].into(),
            ip: vec![10, 0, 0, 17].into(),
            port: 7_946,
            ref_unix_ms: 1_700_000_000_000,
            ref_heartbeat: 1,
            interval_ms: 1_000,
            ..Body::default()
        }),
        entries: vec![Entry { key: "zone".into(), value: "eu-1".into(), version: 3, deleted: false }],
        version: 3,
        ..Default::default()
    }
}

fn with_body(change: impl FnOnce(&mut Body)) -> Result<(), DecodeError> {
    let mut claim = claim();
    change(claim.body.as_mut().unwrap());
    decode_packet(&encoded(&Packet { claims: vec![claim], ..start() })).map(drop)
}

fn with_exchange(change: impl FnOnce(&mut Exchange)) -> Result<(), DecodeError> {
    let mut packet = exchange_with_a_page();
    let Some(packet::Body::Exchange(exchange)) = &mut packet.body else { panic!("an exchange") };
    change(exchange);
    decode_packet(&packet.encode_to_vec()).map(drop)
}

fn encoded(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![1];
    encode_packet(packet, &mut bytes);
    bytes
}
