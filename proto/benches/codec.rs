//! What coding costs: `cargo bench -p heartsay-proto`.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros and helpers of benches")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heartsay_proto::ages::Age;
use heartsay_proto::gossip::{Body, Claim, Entry, Exchange, Packet, Page, packet};
use heartsay_proto::{
    Budget, Cluster, Filler, Key, Keyring, Seal, ages, decode_packet, encode_packet, open, seal, seal_for,
};

fn ages_of_a_thousand(c: &mut Criterion) {
    let mut group = c.benchmark_group("ages");
    group.throughput(Throughput::Elements(1_000));
    for (name, page, absent) in
        [("one page", 1_000, false), ("pages of 128", 128, false), ("10 % left out", 128, true)]
    {
        let members: Vec<Age> = sample(absent);
        let pages: Vec<&[Age]> = members.chunks(page).collect();
        let mut bytes = Vec::new();
        group.bench_function(format!("encode 1,000, {name}"), |b| {
            b.iter(|| {
                bytes.clear();
                pages.iter().for_each(|page| ages::encode(page, &mut bytes));
            });
        });
        let coded: Vec<(Vec<u8>, usize)> = pages
            .iter()
            .map(|page| {
                let mut bytes = Vec::new();
                ages::encode(page, &mut bytes);
                (bytes, page.len())
            })
            .collect();
        let mut out = Vec::new();
        group.bench_function(format!("decode 1,000, {name}"), |b| {
            b.iter(|| coded.iter().for_each(|(bytes, count)| ages::decode(bytes, *count, &mut out).unwrap()));
        });
    }
}

fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet");
    for (name, packet) in [("pages", full_of_pages()), ("claims", full_of_claims())] {
        let mut bytes = Vec::new();
        group.bench_function(format!("encode {name}"), |b| b.iter(|| encode_packet(&packet, &mut bytes)));
        group.bench_function(format!("decode {name}"), |b| b.iter(|| decode_packet(&bytes).unwrap()));
    }
    group.bench_function("fill with claims", |b| b.iter(full_of_claims));
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    let cluster = Cluster::new("bench").unwrap();
    let mut body = Vec::new();
    encode_packet(&full_of_pages(), &mut body);
    for (name, keyring) in
        [("plain", Keyring::empty()), ("sealed", Keyring::new(vec![Key::from_bytes([7; 32])]))]
    {
        let (mut datagram, mut scratch) = (Vec::new(), Vec::new());
        let seal_of = Seal { receiver: 7, number: 9, secret: &[1; 16] };
        group.bench_function(format!("seal for a life {name}"), |b| {
            b.iter(|| seal_for(&body, &cluster, &keyring, seal_of, &mut datagram));
        });
        group.bench_function(format!("seal {name}"), |b| {
            b.iter(|| seal(&body, &cluster, &keyring, [9; 24], &mut datagram));
        });
        group.bench_function(format!("open {name}"), |b| {
            b.iter(|| open(&datagram, &cluster, &keyring, Budget::MAX, &mut scratch).unwrap().0.len());
        });
    }
}

/// 1,000 ages shaped like normal(6, 1.3): sums of pseudo-random dice (a linear
/// congruential generator, Knuth's MMIX constants).
fn sample(absent: bool) -> Vec<Age> {
    let mut state = 7_u64;
    let mut dice = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let mut age = || 2 + (0..5).map(|_| dice(3)).sum::<u64>().cast_signed() - 1;
    let ages: Vec<i64> = (0..1_000).map(|_| age()).collect();
    ages.into_iter().map(|age| Age::from((!absent || dice(10) > 0).then_some(age))).collect()
}

fn full_of_pages() -> Packet {
    let exchange = Exchange { step: 1, ..Default::default() };
    let packet = Packet {
        sender: 1,
        heartbeat: 1 << 20,
        seq: 7,
        view: 2,
        body: Some(packet::Body::Exchange(exchange)),
        ..Default::default()
    };
    let mut filler = Filler::new(packet, Budget::DEFAULT).unwrap();
    let ages = sample(false);
    for (prefix, page) in (0..16).zip(ages.chunks(128).cycle()) {
        let mut bytes = Vec::new();
        ages::encode(page, &mut bytes);
        let _full =
            filler.try_page(Page { bits: 4, prefix, lives: 1 << 60, stamps: 1 << 30, ages: bytes.into() });
    }
    filler.finish()
}

fn full_of_claims() -> Packet {
    let entry = |key: &str| Entry { key: key.into(), value: "rack-17".into(), version: 9, deleted: false };
    let claim = Claim {
        subject: 1 << 60,
        generation: 1 << 40,
        heartbeat: 1 << 20,
        body: Some(Body {
            name: "db-17.example.net".into(),
            host_id: vec![5; 16].into(),
            ip: vec![10, 0, 0, 17].into(),
            port: 7_946,
            ref_unix_ms: 1 << 40,
            ref_heartbeat: 1,
            interval_ms: 1_000,
            ..Body::default()
        }),
        entries: vec![entry("zone"), entry("role")],
        version: 9,
        ..Default::default()
    };
    let mut filler =
        Filler::new(Packet { sender: 1, heartbeat: 1, ..Default::default() }, Budget::DEFAULT).unwrap();
    while filler.try_claim(claim.clone()).is_ok() {}
    filler.finish()
}

criterion_group!(benches, ages_of_a_thousand, packets, frames);
criterion_main!(benches);
