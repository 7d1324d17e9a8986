//! How close the digest coder comes to the entropy of what it codes.
//!
//! `cargo run --release -p heartsay-proto --example entropy`
//!
//! First on ages as gossip makes them: members raise their heartbeats once a round and call
//! the member a random number of places further on; syn and ack get lost. Then on normal
//! distributions of known shape, with members left out.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use heartsay_proto::ages::{self, Age};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SEED: u64 = 7;
/// Members per page; larger ones only save headers.
const PAGE: usize = 500;
/// Members whose heartbeats are followed; the others only pass them on.
const FOLLOWED: usize = 500;
const ROUNDS: u16 = 40;
/// Coded bits over entropy.
const TARGET: f64 = 1.3;

fn main() {
    println!("seed {SEED}, pages of {PAGE} at most; bits per member, header and padding included\n");
    println!("| ages | members | lost or left out | mean | entropy | coded | ratio |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut worst = 0_f64;
    for members in [100, 1_000, 10_000] {
        for loss in [0.0, 0.1] {
            let sample = gossip(&mut rng, members, loss);
            worst = worst.max(line("gossip", members, loss, &sample));
        }
    }
    for (mean, deviation) in [(6.0, 1.3), (2.0, 1.0), (6.0, 4.0)] {
        for members in [100, 1_000, 10_000] {
            for absent in [0.0, 0.1] {
                let page =
                    |_| Age::from((rng.random::<f64>() >= absent).then(|| normal(&mut rng, mean, deviation)));
                let sample: Vec<_> = (0..members).map(page).collect();
                worst = worst.max(line(&format!("N({mean}, {deviation})"), members, absent, &sample));
            }
        }
    }
    println!("\nworst ratio {worst:.3}, target {TARGET}");
}

fn line(ages: &str, members: usize, left_out: f64, sample: &[Age]) -> f64 {
    let mut bytes = Vec::new();
    sample.chunks(PAGE.min(members)).for_each(|page| ages::encode(page, &mut bytes));
    let coded = bytes.len() as f64 * 8.0 / sample.len() as f64;
    // Of each page by itself: views differ in their mean, and each page is coded by its own.
    let pages = sample.chunks(PAGE.min(members));
    let floor = pages.map(|page| entropy(page) * page.len() as f64).sum::<f64>() / sample.len() as f64;
    let ratio = coded / floor;
    let known: Vec<i64> = sample.iter().filter_map(|age| age.rounds()).collect();
    let mean = known.iter().sum::<i64>() as f64 / known.len() as f64;
    let left_out = left_out * 100.0;
    println!("| {ages} | {members} | {left_out:.0} % | {mean:.1} | {floor:.2} | {coded:.2} | {ratio:.3} |");
    ratio
}

/// What twenty members know after a while, as ages in rounds.
fn gossip(rng: &mut ChaCha8Rng, members: usize, loss: f64) -> Vec<Age> {
    let followed = members.min(FOLLOWED);
    // By observer, the heartbeats of those followed.
    let mut known = vec![vec![0_u16; followed]; members];
    for round in 1..=ROUNDS {
        let shift = rng.random_range(1..members);
        for (subject, row) in known.iter_mut().enumerate().take(followed) {
            *row.get_mut(subject).unwrap() = round;
        }
        // All call within a moment, in any order.
        let first = rng.random_range(0..members);
        let stride = (1..).map(|n| n + members / 3).find(|n| gcd(*n, members) == 1).unwrap();
        for turn in 0..members {
            let caller = (first + turn * stride) % members;
            let called = (caller + shift) % members;
            if rng.random::<f64>() >= loss {
                let [caller, called] = known.get_disjoint_mut([caller, called]).unwrap();
                take(called, caller);
                if rng.random::<f64>() >= loss {
                    take(caller, called);
                }
            }
        }
    }
    let observers = known.iter().step_by((members / 20).max(1));
    observers.flatten().map(|heartbeat| Age::of(i64::from(ROUNDS - heartbeat))).collect()
}

fn take(into: &mut [u16], from: &[u16]) {
    into.iter_mut().zip(from).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A whole number of rounds, normally distributed (Box and Muller).
fn normal(rng: &mut ChaCha8Rng, mean: f64, deviation: f64) -> i64 {
    let (a, b): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (mean + deviation * (-2.0 * a.ln()).sqrt() * (TAU * b).cos()).round() as i64
}

/// Bits per member of a page's own frequencies, known beforehand: what no code of single ages can beat.
fn entropy(sample: &[Age]) -> f64 {
    let mut counts = BTreeMap::new();
    sample.iter().for_each(|age| *counts.entry(age).or_insert(0_u32) += 1);
    let shares = counts.values().map(|&count| f64::from(count) / sample.len() as f64);
    shares.map(|share| -share * share.log2()).sum()
}
