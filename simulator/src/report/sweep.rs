//! One measure against a parameter, one line per value of a second.

use super::svg::{Chart, Scale, short};
use crate::measure::Summary;

/// A grid of runs: every value of one or two parameters.
#[derive(Debug)]
pub struct Grid {
    /// The parameters and their values as typed, at most two.
    pub axes: Vec<(String, Vec<String>)>,
    /// What came out, the last axis running fastest.
    pub points: Vec<Summary>,
    /// Where on each axis the shipped defaults lie, if a value is theirs.
    pub shipped: Vec<Option<usize>>,
}

/// A measure worth a picture.
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) of: fn(&Summary) -> f64,
    /// Whether it means anything there.
    applies: fn(&Summary) -> bool,
}

/// What a sweep is drawn for.
pub(super) const MEASURES: [Measure; 7] = [
    Measure { name: "false positives", of: |s| s.false_positives as f64, applies: |_| true },
    Measure { name: "needless evictions", of: |s| s.needless_evictions as f64, applies: |_| true },
    Measure { name: "detection (down) p99, s", of: detection, applies: |_| true },
    Measure {
        name: "losses of quorum per 1,000 h",
        of: |s| s.quorum_losses_per_1000h,
        applies: Summary::shows_quorum,
    },
    Measure {
        name: "healthy suspected per member and hour",
        of: |s| s.healthy_suspected_per_hour,
        applies: |_| true,
    },
    Measure { name: "bytes/s and member, mean", of: |s| s.bytes.mean, applies: |_| true },
    Measure { name: "bytes/s and member, busiest minute", of: |s| s.bytes_minute, applies: |_| true },
];

impl Grid {
    /// Value at a place of the grid.
    pub(super) fn at(&self, measure: &Measure, first: usize, second: usize) -> f64 {
        let columns = self.axes.get(1).map_or(1, |(_, values)| values.len());
        self.points.get(first * columns + second).map_or(0.0, measure.of)
    }

    /// Whether that measure is anywhere different from zero.
    pub(super) fn shows(&self, measure: &Measure) -> bool {
        self.points.iter().map(measure.of).any(|value| value != 0.0 && value.is_finite())
    }

    /// Whether that measure is zero everywhere though it means something.
    pub(super) fn is_silent(&self, measure: &Measure) -> bool {
        !self.shows(measure) && self.points.iter().any(measure.applies)
    }

    /// The measure against the first parameter, a line for each value of the second.
    pub(super) fn figure(&self, measure: &Measure) -> String {
        let Some((key, values)) = self.axes.first() else { return String::new() };
        let xs: Vec<f64> = values.iter().enumerate().map(|(i, v)| number(v).unwrap_or(i as f64)).collect();
        let (low, high) = ends(&xs);
        // Sizes of clusters and other wide ranges are read in decades.
        let wide = low > 0.0 && high / low >= 20.0;
        let top = self.points.iter().map(measure.of).fold(0.0, f64::max);
        let x = if wide { Scale::log(low, high) } else { Scale::linear(low, high) };
        let mut chart =
            Chart::new(250.0, 60.0, x, Scale::linear(0.0, if top > 0.0 { top * 1.08 } else { 1.0 }));
        chart.axes(key, measure.name);
        if let Some(Some(shipped)) = self.shipped.first() {
            chart.moment(xs[*shipped], "shipped", 0, "shipped default");
        }
        let alone = (String::new(), vec![String::new()]);
        let (second, lines) = self.axes.get(1).unwrap_or(&alone);
        let mut legend = Vec::new();
        for (j, line) in lines.iter().enumerate() {
            let class = format!("c{}", j % COLOURS);
            let points: Vec<(f64, f64)> = xs
                .iter()
                .enumerate()
                .map(|(i, x)| (*x, self.at(measure, i, j)))
                .filter(|(_, y)| y.is_finite())
                .collect();
            chart.line(&points, &class);
            for (x, y) in &points {
                chart.dot(*x, *y, &class, &format!("{key}={} {line}: {}", short(*x), short(*y)));
            }
            if !line.is_empty() {
                legend.push((class, format!("{}={line}", second.rsplit('.').next().unwrap_or(second))));
            }
        }
        chart.legend(&legend);
        chart.finish(&format!("{} against {key}", measure.name))
    }
}

/// Slowest percent of the verdicts; not a number where there was none.
fn detection(s: &Summary) -> f64 {
    match (s.down.count, s.stalled_down_first.count) {
        (0, 0) => f64::NAN,
        (0, _) => s.stalled_down_first.p99,
        _ => s.down.p99,
    }
}

/// A value of an axis as a number; lengths of time in seconds.
pub(super) fn number(value: &str) -> Option<f64> {
    let plain = value.trim_matches('"');
    let span = || plain.parse::<crate::scenario::Span>().ok().map(|span| span.0.as_secs_f64());
    plain.parse().ok().or_else(span)
}

fn ends(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    (low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

const COLOURS: usize = 6;
