//! How long until members know: detection latencies as a distribution, and news from its first knower on.

use super::svg::{Chart, Scale};
use crate::measure::{Episode, Measures, Spread};

/// Seconds of every pair of observer and subject, pooled over runs.
#[derive(Default)]
pub(super) struct Latencies {
    /// Of deaths (else of members in trouble, who may well not be called down).
    fatal: bool,
    suspect: Vec<f64>,
    down: Vec<f64>,
    pairs: usize,
    /// From the first observer's verdict on.
    spread: Vec<f64>,
    /// From a newcomer's start until each observer knows it.
    joins: Vec<f64>,
}

impl Latencies {
    /// Those of deaths; where no member died, those of members in trouble.
    pub(super) fn of(runs: &[&Measures]) -> Self {
        let fatal = runs.iter().any(|m| m.episodes.iter().any(|e| e.fatal));
        let mut all = Self { fatal, ..Self::default() };
        for run in runs {
            // An observer in trouble hears late of the others' trouble: that is not what is asked.
            let mut troubled: Vec<usize> =
                run.episodes.iter().filter(|e| !e.fatal).map(|e| e.subject).collect();
            troubled.sort_unstable();
            for episode in run.episodes.iter().filter(|e| e.fatal == fatal) {
                let mut episode = episode.clone();
                for member in &troubled {
                    episode.observers.remove(*member);
                }
                all.add(&episode);
            }
        }
        all.joins = runs.iter().flat_map(|m| &m.forming.newcomer_known).map(|t| f64::from(*t)).collect();
        for list in [&mut all.suspect, &mut all.down, &mut all.spread, &mut all.joins] {
            list.sort_by(f64::total_cmp);
        }
        all
    }

    fn add(&mut self, episode: &Episode) {
        let seen = |list: &[f32]| -> Vec<f64> {
            let times = episode.observers.iter().filter_map(|o| list.get(o)).filter(|t| **t >= 0.0);
            times.map(|t| f64::from(*t)).collect()
        };
        let down = seen(&episode.down);
        let first = down.iter().copied().fold(f64::INFINITY, f64::min);
        self.pairs += episode.observers.len();
        self.spread.extend(down.iter().map(|t| t - first));
        self.suspect.extend(seen(&episode.suspect));
        self.down.extend(down);
    }

    /// Cumulated distribution of both, with the limits of the scenario.
    pub(super) fn figure(&self, suspect_limit: Option<f64>, down_limit: Option<f64>) -> Option<String> {
        let last = self.suspect.last().copied().unwrap_or(0.0).max(self.down.last().copied().unwrap_or(0.0));
        if last == 0.0 {
            return None;
        }
        let far = [Some(last), suspect_limit, down_limit].into_iter().flatten().fold(0.0, f64::max) * 1.05;
        let mut chart = Chart::new(280.0, 56.0, Scale::linear(0.0, far), Scale::linear(0.0, 1.0));
        chart.axes("seconds since the trouble began", "share of observers that know");
        for (row, (values, class, limit)) in
            [(&self.suspect, "suspect", suspect_limit), (&self.down, "down", down_limit)]
                .into_iter()
                .enumerate()
        {
            let spread = Spread::of(values.iter().copied(), 0);
            chart.steps(&cumulated(values, self.pairs, far), class);
            if spread.count > 0 {
                for (mark, value) in [("p50", spread.median), ("p99", spread.p99)] {
                    let place = row * 4 + usize::from(mark == "p99") * 2;
                    chart.moment(
                        value,
                        &format!("thin {class}"),
                        place + 1,
                        &format!("{class} {mark} {value:.2} s"),
                    );
                }
            }
            if let Some(limit) = limit {
                chart.moment(limit, "limit", row * 4 + 4, &format!("limit of {class} p99 {limit} s"));
            }
        }
        let item = |class: &str| (class.to_owned(), class.to_owned());
        chart.legend(&[item("suspect"), item("down")]);
        Some(chart.finish("Detection latency, cumulated"))
    }

    /// Words for below [`figure`](Self::figure).
    pub(super) fn caption(&self) -> String {
        let known = self.down.len();
        let what = if self.fatal { "a dead member" } else { "a member in trouble (which lives)" };
        format!(
            "Over {} pairs of an observer without trouble and {what}; {known} times it was called down. A curve that ends \
             below 1 has observers that never said so.",
            self.pairs
        )
    }

    /// How news spreads: share informed against the time since the first that knew (or since a newcomer's start).
    pub(super) fn dissemination(&self) -> Option<String> {
        let last = self.spread.last().copied().unwrap_or(0.0).max(self.joins.last().copied().unwrap_or(0.0));
        if last == 0.0 {
            return None;
        }
        let far = last * 1.05;
        let mut chart = Chart::new(240.0, 56.0, Scale::linear(0.0, far), Scale::linear(0.0, 1.0));
        chart.axes("seconds", "share informed");
        let mut legend = Vec::new();
        for (values, class, words) in [
            (&self.spread, "down", "verdict, since its first knower"),
            (&self.joins, "alive", "newcomer, since its start"),
        ] {
            if values.last().is_some_and(|last| *last > 0.0) {
                chart.steps(&cumulated(values, values.len(), far), class);
                legend.push((class.to_owned(), words.to_owned()));
                let spread = Spread::of(values.iter().copied(), 0);
                chart.moment(
                    spread.p99,
                    &format!("thin {class}"),
                    legend.len(),
                    &format!("p99 {:.3} s", spread.p99),
                );
            }
        }
        chart.legend(&legend);
        Some(chart.finish("Share of members informed over time"))
    }
}

/// Points of the cumulated distribution of sorted `values` out of `of`, up to `far`; at most about 500.
fn cumulated(values: &[f64], of: usize, far: f64) -> Vec<(f64, f64)> {
    let of = of.max(values.len()).max(1) as f64;
    let every = (values.len() / 500).max(1);
    let mut points = vec![(0.0, 0.0)];
    for (i, value) in values.iter().enumerate() {
        if i % every == every - 1 || i + 1 == values.len() {
            points.push((*value, (i + 1) as f64 / of));
        }
    }
    points.push((far, values.len() as f64 / of));
    points
}
