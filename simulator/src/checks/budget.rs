//! Limits on the measures.

use serde::Serialize;

use crate::measure::Summary;
use crate::scenario::{Budget, Span};

/// One limit and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The key in the scenario's `[budget]`.
    pub key: &'static str,
    /// What was measured; `None`: it never came.
    pub measured: Option<f64>,
    /// The most that is allowed.
    pub limit: f64,
    /// Whether it is kept.
    pub kept: bool,
}

/// Compares the measures of all seeds with the scenario's limits.
#[must_use]
pub fn judge(budget: &Budget, s: &Summary) -> Vec<Line> {
    let span = |limit: Option<Span>| limit.map(|limit| limit.0.as_secs_f64());
    let count = |limit: Option<u64>| limit.map(|limit| limit as f64);
    // What some never did has no slowest.
    let all = |max: f64, missing: u64| (missing == 0).then_some(max);
    let missed = (s.down.missing) as f64;
    let lines = [
        ("suspect-mean", span(budget.suspect_mean), Some(s.suspect.mean)),
        ("suspect-p99", span(budget.suspect_p99), Some(s.suspect.p99)),
        ("down-median", span(budget.down_median), Some(s.down.median)),
        ("down-p99", span(budget.down_p99), Some(s.down.p99)),
        ("down-max", span(budget.down_max), all(s.down.max, s.down.missing)),
        ("first-down-median", span(budget.first_down_median), Some(s.down_first.median)),
        ("fenced-max", span(budget.fenced_max), all(s.fenced.max, s.fenced.missing)),
        ("missed", count(budget.missed), Some(missed)),
        ("false-positives", count(budget.false_positives), Some(s.false_positives as f64)),
        (
            "false-positives-by-healthy",
            count(budget.false_positives_by_healthy),
            Some(s.false_positives_by_healthy as f64),
        ),
        ("healthy-evicted", count(budget.healthy_evicted), Some(s.healthy_evicted as f64)),
        ("removed-max", span(budget.removed_max), all(s.removed.max, s.removed.missing)),
        ("removed-again", count(budget.removed_again), Some(s.removed_again as f64)),
        ("healthy-removed", count(budget.healthy_removed), Some(s.healthy_removed as f64)),
        ("called-down", count(budget.called_down), Some(s.called_down as f64)),
        ("ghosts-gone", span(budget.ghosts_gone), all(s.ghosts_gone.max, s.ghosts_gone.missing)),
        ("needless-evictions", count(budget.needless_evictions), Some(s.needless_evictions as f64)),
        ("quorum-held", count(budget.quorum_held), Some(s.quorum[0] as f64)),
        ("divergence", budget.divergence, Some(s.divergence)),
        ("formation", span(budget.formation), all(s.formation.max, s.formation.missing)),
        ("newcomer-full", span(budget.newcomer_full), all(s.newcomer_full.max, s.newcomer_full.missing)),
        ("newcomer-known", span(budget.newcomer_known), Some(s.newcomer_known.max)),
        ("agreement", span(budget.agreement), all(s.agreement.max, s.agreement.missing)),
        ("bytes-mean", budget.bytes_mean, Some(s.bytes.mean)),
        ("bytes-p99", budget.bytes_p99, Some(s.bytes.p99)),
        ("bytes-peak", budget.bytes_peak, Some(s.bytes_peak)),
    ];
    let lines =
        lines.into_iter().filter_map(|(key, limit, measured)| limit.map(|limit| (key, limit, measured)));
    lines
        .map(|(key, limit, measured)| Line {
            key,
            measured,
            limit,
            kept: measured.is_some_and(|m| m <= limit),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Spread;

    #[test]
    fn a_worse_result_and_one_that_never_came_break_the_budget() {
        let budget = Budget {
            down_p99: Some(Span::secs(3)),
            false_positives: Some(0),
            formation: Some(Span::secs(3)),
            ..Budget::default()
        };
        let mut summary = Summary { down: Spread { p99: 2.9, ..Spread::default() }, ..Summary::default() };
        assert!(judge(&budget, &summary).iter().all(|line| line.kept));
        assert_eq!(judge(&budget, &summary).len(), 3, "only what the scenario names");
        summary.down.p99 = 3.1;
        summary.false_positives = 1;
        summary.formation.missing = 1;
        assert!(judge(&budget, &summary).iter().all(|line| !line.kept));
    }
}
