//! What one member of a quiet cluster works and takes from the heap, per kind of input.
//!
//! ```text
//! cargo run --release -p heartsay-membership --example rounds                 allocations at 1,000 members
//! cargo run --release -p heartsay-membership --example rounds record 300 FILE
//! valgrind --tool=callgrind target/release/examples/rounds replay FILE        see scripts/measure/bench-compare.sh
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use heartsay_membership::Node;
use heartsay_proto::ages::{self, Age};
use heartsay_testkit::allocations::{self, Counting};
use heartsay_testkit::recording::{Kind, Line, Recording};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["record", members, file] => {
            let recording = Recording::new(members.parse().expect("a number of members"), QUIET);
            recording.write(&mut BufWriter::new(File::create(file).unwrap())).unwrap();
        }
        ["replay", file] => replay(&Recording::read(&mut File::open(file).unwrap()).unwrap()),
        [] => replay(&Recording::new(1_000, QUIET)),
        [members] => replay(&Recording::new(members.parse().expect("a number of members"), QUIET)),
        _ => panic!("rounds [MEMBERS] | record MEMBERS FILE | replay FILE"),
    }
}

fn replay(recording: &Recording) {
    println!("{} members, {} s of quiet\n", recording.members, QUIET.as_secs());
    println!("| kind | inputs | datagrams out | allocations per input | of them not for output |");
    println!("|---|---:|---:|---:|---:|");
    let mut node = recording.node();
    let mut sums: BTreeMap<Kind, [u64; 3]> = BTreeMap::new();
    for line in &recording.lines {
        let before = allocations::taken();
        let sent = match line.kind {
            Kind::Join => live_join(line, &mut node),
            Kind::Syn => live_syn(line, &mut node),
            Kind::Ack => live_ack(line, &mut node),
            Kind::Round => live_round(line, &mut node),
            Kind::Other | Kind::Timer => live_other(line, &mut node),
        };
        let taken = allocations::taken() - before;
        let sum = sums.entry(line.kind).or_default();
        let [inputs, out, allocations] = sum;
        *inputs += 1;
        *out += sent as u64;
        *allocations += taken;
    }
    for (kind, [inputs, out, taken]) in sums {
        // A datagram that leaves is a buffer.
        let each = |n: u64| n as f64 / inputs as f64;
        println!(
            "| {kind:?} | {inputs} | {:.2} | {:.1} | {:.1} |",
            each(out),
            each(taken),
            each(taken) - each(out)
        );
    }
    code(recording.members);
}

// Not inlined, so that a profile by function is one by kind.

#[inline(never)]
fn live_join(line: &Line, node: &mut Node) -> usize {
    line.live_through(node)
}

#[inline(never)]
fn live_syn(line: &Line, node: &mut Node) -> usize {
    // A side effect that differs, or the compiler would make one function of all.
    std::hint::black_box(1);
    line.live_through(node)
}

#[inline(never)]
fn live_ack(line: &Line, node: &mut Node) -> usize {
    std::hint::black_box(2);
    line.live_through(node)
}

#[inline(never)]
fn live_round(line: &Line, node: &mut Node) -> usize {
    std::hint::black_box(3);
    line.live_through(node)
}

#[inline(never)]
fn live_other(line: &Line, node: &mut Node) -> usize {
    std::hint::black_box(4);
    line.live_through(node)
}

/// The digest coder alone, on ages like those of a cluster of this size.
fn code(members: usize) {
    let mut state = 7_u64;
    let mut dice = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % 3).unwrap_or_default()
    };
    let page: Vec<Age> = (0..members).map(|_| Age::of(1 + (0..5).map(|_| dice()).sum::<i64>())).collect();
    let (mut coded, mut back) = (Vec::with_capacity(4 * members), Vec::with_capacity(members));
    ages_encode(&page, &mut coded);
    ages_decode(&coded, members, &mut back);
    assert_eq!(page, back);
}

#[inline(never)]
fn ages_encode(page: &[Age], coded: &mut Vec<u8>) {
    ages::encode(page, coded);
}

#[inline(never)]
fn ages_decode(coded: &[u8], members: usize, back: &mut Vec<Age>) {
    ages::decode(coded, members, back).expect("what was encoded");
}

const QUIET: Duration = Duration::from_secs(20);
