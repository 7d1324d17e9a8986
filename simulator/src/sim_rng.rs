//! Every random draw of a run, from one root seed.
//!
//! The root seed is stretched into an independent generator for each purpose
//! (the network, the faults, member 7's second life …), so that one more draw
//! in one place does not shift all the others. The logarithms come from `libm`,
//! not from the platform: the same seed is the same run on every machine.

use core::time::Duration;
use std::hash::Hasher as _;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use siphasher::sip::SipHasher13;

/// Name of the generator, as recorded in every output.
pub const GENERATOR: &str = "ChaCha8 (rand_chacha 0.10), children by SipHash-1-3 of (root, purpose, index)";

/// A number from which children are derived by purpose and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// A generator for one purpose.
    #[must_use]
    pub fn dice(self, purpose: &str, index: u64) -> SimRng {
        let mut seed = [0; 32];
        for (word, chunk) in (0u64..).zip(seed.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&self.child(purpose, index, word).to_le_bytes());
        }
        SimRng(ChaCha8Rng::from_seed(seed))
    }

    /// A number for one purpose, e.g. the seed that a machine is given.
    #[must_use]
    pub fn number(self, purpose: &str, index: u64) -> u64 {
        self.child(purpose, index, u64::MAX)
    }

    fn child(self, purpose: &str, index: u64, word: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, word);
        hasher.write(purpose.as_bytes());
        hasher.write_u64(index);
        hasher.finish()
    }
}

/// A generator and the few distributions that the simulator needs.
#[derive(Clone, Debug)]
pub struct SimRng(ChaCha8Rng);

impl SimRng {
    /// Uniform over all 64-bit numbers.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0.0 .. 1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// True with probability `p`. Draws nothing when `p` is 0 or 1.
    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && (p >= 1.0 || self.unit() < p)
    }

    /// Uniform in `0 .. n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // Multiply-shift; its bias is below 2^-32 for every n in use.
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }

    /// Uniform in `0 .. span`.
    pub fn within(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.unit())
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(core::f64::consts::TAU * self.unit())
    }

    /// `count` different numbers out of `0 .. n`, in random order.
    pub fn choose(&mut self, n: usize, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        let count = count.min(n);
        for i in 0..count {
            let j = i + self.below(n - i);
            all.swap(i, j);
        }
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_differ_by_purpose_index_and_root() {
        let a = Seed(1).dice("network", 0).word();
        assert_eq!(a, Seed(1).dice("network", 0).word());
        assert_ne!(a, Seed(1).dice("network", 1).word());
        assert_ne!(a, Seed(1).dice("faults", 0).word());
        assert_ne!(a, Seed(2).dice("network", 0).word());
    }

    #[test]
    fn draws_follow_their_distributions() {
        let mut dice = Seed(7).dice("test", 0);
        let n = 20_000;
        let mean = (0..n).map(|_| dice.unit()).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
        let normals: Vec<f64> = (0..n).map(|_| dice.normal()).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(n);
        let variance = normals.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "normal {mean} {variance}");
        assert!((0..n).all(|_| dice.below(3) < 3));
    }

    #[test]
    fn chosen_numbers_are_different_and_in_range() {
        let mut chosen = Seed(3).dice("test", 0).choose(50, 20);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 20);
        assert!(chosen.iter().all(|&i| i < 50));
        assert_eq!(Seed(3).dice("test", 0).choose(3, 9).len(), 3);
    }
}
