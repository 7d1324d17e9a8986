//! A distribution in a few numbers.

use serde::{Deserialize, Serialize};

/// A distribution in a few numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Values.
    pub count: u64,
    /// Values that never came.
    pub missing: u64,
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// 90th percentile (nearest rank, as the others).
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Summarises `values`.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>, missing: u64) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let Some((&min, &max)) = values.first().zip(values.last()) else {
            return Self { missing, ..Self::default() };
        };
        let rank = |share: f64| {
            let rank = (values.len() as f64 * share).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(max)
        };
        Self {
            count: values.len() as u64,
            missing,
            min,
            mean: values.iter().sum::<f64>() / values.len() as f64,
            median: rank(0.5),
            p90: rank(0.9),
            p99: rank(0.99),
            p999: rank(0.999),
            max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::of((1..=100).map(f64::from), 3);
        assert_eq!(
            (spread.min, spread.median, spread.p90, spread.p99, spread.max),
            (1.0, 50.0, 90.0, 99.0, 100.0)
        );
        assert_eq!((spread.count, spread.missing, spread.mean), (100, 3, 50.5));
        assert_eq!(Spread::of([], 2), Spread { missing: 2, ..Spread::default() });
    }
}
