//! How close the digest coder comes to the entropy of what it codes.
//!
//! `cargo run --release -p heartsay-proto --example entropy`

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use heartsay_proto::ages;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SEED: u64 = 7;
const PAGE: usize = 128;

fn main() {
    println!("seed {SEED}, pages of {PAGE}; bits per member, header and padding included\n");
    println!("| ages | members | left out | entropy | coded | ratio |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    for (mean, deviation) in [(6.0, 1.3), (2.0, 1.0), (6.0, 4.0)] {
        for members in [100, 1_000, 10_000] {
            for absent in [0.0, 0.1] {
                let sample: Vec<_> = (0..members)
                    .map(|_| (rng.random::<f64>() >= absent).then(|| normal(&mut rng, mean, deviation)))
                    .collect();
                let mut bytes = Vec::new();
                sample.chunks(PAGE).for_each(|page| ages::encode(page, &mut bytes));
                let coded = bytes.len() as f64 * 8.0 / members as f64;
                let floor = entropy(&sample);
                println!(
                    "| N({mean}, {deviation}) | {members} | {:.0} % | {floor:.2} | {coded:.2} | {:.3} |",
                    absent * 100.0,
                    coded / floor
                );
            }
        }
    }
}

/// A whole number of rounds, normally distributed (Box and Muller).
fn normal(rng: &mut ChaCha8Rng, mean: f64, deviation: f64) -> i64 {
    let (a, b): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (mean + deviation * (-2.0 * a.ln()).sqrt() * (TAU * b).cos()).round() as i64
}

/// Bits per member of the sample's own frequencies: what no code of single ages can beat.
fn entropy(sample: &[Option<i64>]) -> f64 {
    let mut counts = BTreeMap::new();
    sample.iter().for_each(|age| *counts.entry(age).or_insert(0_u32) += 1);
    let shares = counts.values().map(|&count| f64::from(count) / sample.len() as f64);
    shares.map(|share| -share * share.log2()).sum()
}
