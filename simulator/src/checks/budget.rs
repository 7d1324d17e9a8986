//! Limits on the measures.
//!
//! Most measures are what they are: the same seeds give the same. A mean or a median over deaths is also an estimate: how
//! long before the next scheduled contact a host dies is chance (0 to 1.1 s of a detection of 0.7 s), and few seeds have
//! few deaths. Such a limit is broken only by more than the doubt that the seeds leave; what lies between is called unsure.

use serde::Serialize;

use crate::measure::{Spread, Summary};
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
    /// Of a mean or a median: two standard errors, by what each seed gives alone. `None` of others, and of one seed.
    pub doubt: Option<f64>,
    /// What comes of it.
    pub verdict: Verdict,
    /// Not broken.
    pub kept: bool,
}

/// What a limit says of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// At the limit or below.
    Kept,
    /// Above it, by no more than chance allows: more seeds would tell.
    Unsure,
    /// Above it, or it never came.
    Broken,
}

/// Compares the measures of all seeds together, `s`, with the scenario's limits. `each`: those of every seed alone.
#[must_use]
pub fn judge(budget: &Budget, s: &Summary, each: &[&Summary]) -> Vec<Line> {
    let given = LIMITS.iter().filter_map(|(key, limit, measured)| Some((key, limit(budget)?, measured(s))));
    given.map(|(key, limit, measured)| line(key, limit, measured, each)).collect()
}

fn line(key: &'static str, limit: f64, measured: Option<f64>, each: &[&Summary]) -> Line {
    let estimate = estimated(key);
    let doubt = estimate.and_then(|estimate| doubt(each, estimate));
    let by_chance = |over: f64| estimate.is_some() && doubt.is_none_or(|doubt| over <= doubt);
    let verdict = match measured.map(|measured| measured - limit) {
        Some(over) if over <= 0.0 => Verdict::Kept,
        Some(over) if by_chance(over) => Verdict::Unsure,
        _ => Verdict::Broken,
    };
    Line { key, measured, limit, doubt, verdict, kept: verdict != Verdict::Broken }
}

/// What is an estimate, as the others are not: the moments of few deaths are drawn.
fn estimated(key: &str) -> Option<fn(&Summary) -> &Spread> {
    match key {
        "suspect-mean" => Some(|s| &s.suspect),
        "down-median" => Some(|s| &s.down),
        "first-down-median" => Some(|s| &s.down_first),
        _ => None,
    }
}

/// Two standard errors of the mean over seeds. Deaths of one seed may have fallen together, and its observers tell one another,
/// so a seed counts once.
fn doubt(each: &[&Summary], estimate: fn(&Summary) -> &Spread) -> Option<f64> {
    let means =
        || each.iter().map(|s| estimate(s)).filter(|spread| spread.count > 0).map(|spread| spread.mean);
    let count = means().count() as f64;
    if count < 2.0 {
        return None;
    }
    let mean = means().sum::<f64>() / count;
    let variance = means().map(|m| (m - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Some(2.0 * (variance / count).sqrt())
}

fn seconds(limit: Option<Span>) -> Option<f64> {
    limit.map(|limit| limit.0.as_secs_f64())
}

/// What some never did has no slowest.
fn slowest(spread: &Spread) -> Option<f64> {
    if_all(spread, spread.max)
}

fn if_all(spread: &Spread, figure: f64) -> Option<f64> {
    (spread.missing == 0).then_some(figure)
}

/// A key of `[budget]`, its limit, and what is measured against it.
type Limit = (&'static str, fn(&Budget) -> Option<f64>, fn(&Summary) -> Option<f64>);

const LIMITS: [Limit; 47] = [
    ("suspect-mean", |b| seconds(b.suspect_mean), |s| Some(s.suspect.mean)),
    ("suspect-p99", |b| seconds(b.suspect_p99), |s| Some(s.suspect.p99)),
    ("down-median", |b| seconds(b.down_median), |s| Some(s.down.median)),
    ("down-p99", |b| seconds(b.down_p99), |s| Some(s.down.p99)),
    ("down-max", |b| seconds(b.down_max), |s| slowest(&s.down)),
    ("first-down-median", |b| seconds(b.first_down_median), |s| Some(s.down_first.median)),
    ("fenced-max", |b| seconds(b.fenced_max), |s| slowest(&s.fenced)),
    ("missed", |b| b.missed.map(|most| most as f64), |s| Some(s.down.missing as f64)),
    ("false-positives", |b| b.false_positives.map(|most| most as f64), |s| Some(s.false_positives as f64)),
    (
        "false-positives-by-healthy",
        |b| b.false_positives_by_healthy.map(|most| most as f64),
        |s| Some(s.false_positives_by_healthy as f64),
    ),
    ("false-suspicions", |b| b.false_suspicions.map(|most| most as f64), |s| Some(s.false_suspicions as f64)),
    ("healthy-suspected-per-hour", |b| b.healthy_suspected_per_hour, |s| Some(s.healthy_suspected_per_hour)),
    ("suspicions-false-share", |b| b.suspicions_false_share, |s| Some(s.suspicions_false_share)),
    ("healthy-evicted", |b| b.healthy_evicted.map(|most| most as f64), |s| Some(s.healthy_evicted as f64)),
    ("removed-max", |b| seconds(b.removed_max), |s| slowest(&s.removed)),
    ("removed-again", |b| b.removed_again.map(|most| most as f64), |s| Some(s.removed_again as f64)),
    ("healthy-removed", |b| b.healthy_removed.map(|most| most as f64), |s| Some(s.healthy_removed as f64)),
    ("called-down", |b| b.called_down.map(|most| most as f64), |s| Some(s.called_down as f64)),
    ("ghosts-gone", |b| seconds(b.ghosts_gone), |s| slowest(&s.ghosts_gone)),
    (
        "needless-evictions",
        |b| b.needless_evictions.map(|most| most as f64),
        |s| Some(s.needless_evictions as f64),
    ),
    ("quorum-held", |b| b.quorum_held.map(|most| most as f64), |s| Some(s.quorum[0] as f64)),
    ("quorum-losses", |b| b.quorum_losses.map(|most| most as f64), |s| Some(s.quorum_losses as f64)),
    ("quorum-losses-per-1000h", |b| b.quorum_losses_per_1000h, |s| Some(s.quorum_losses_per_1000h)),
    ("quorum-without", |b| b.quorum_without, |s| Some(s.quorum_without)),
    ("quorum-without-share", |b| b.quorum_without_share, |s| Some(s.quorum_without_share)),
    ("quorum-gap-max", |b| seconds(b.quorum_gap_max), |s| Some(s.quorum_gaps.max)),
    (
        "quorum-to-lose-p99",
        |b| seconds(b.quorum_to_lose_p99),
        |s| if_all(&s.quorum_to_lose, s.quorum_to_lose.p99),
    ),
    ("quorum-to-lose-max", |b| seconds(b.quorum_to_lose_max), |s| slowest(&s.quorum_to_lose)),
    (
        "quorum-to-regain-p99",
        |b| seconds(b.quorum_to_regain_p99),
        |s| if_all(&s.quorum_to_regain, s.quorum_to_regain.p99),
    ),
    ("quorum-to-regain-max", |b| seconds(b.quorum_to_regain_max), |s| slowest(&s.quorum_to_regain)),
    ("one-roster-p99", |b| seconds(b.one_roster_p99), |s| if_all(&s.one_roster, s.one_roster.p99)),
    ("deaf-knows-max", |b| seconds(b.deaf_knows_max), |s| slowest(&s.deaf_knows)),
    ("mute-knows-max", |b| seconds(b.mute_knows_max), |s| slowest(&s.mute_knows)),
    ("changes-max", |b| b.changes_max.map(|most| most as f64), |s| Some(s.status_changes.max)),
    ("divergence", |b| b.divergence, |s| Some(s.divergence)),
    ("formation", |b| seconds(b.formation), |s| slowest(&s.formation)),
    ("newcomer-full", |b| seconds(b.newcomer_full), |s| slowest(&s.newcomer_full)),
    ("newcomer-known", |b| seconds(b.newcomer_known), |s| Some(s.newcomer_known.max)),
    ("states", |b| seconds(b.states), |s| slowest(&s.states)),
    ("newcomer-states", |b| seconds(b.newcomer_states), |s| slowest(&s.newcomer_states)),
    ("agreement", |b| seconds(b.agreement), |s| slowest(&s.agreement)),
    ("bytes-mean", |b| b.bytes_mean, |s| Some(s.bytes.mean)),
    ("bytes-p99", |b| b.bytes_p99, |s| Some(s.bytes.p99)),
    ("bytes-minute", |b| b.bytes_minute, |s| Some(s.bytes_minute)),
    ("bytes-member-median", |b| b.bytes_member_median, |s| Some(s.bytes_member.median)),
    ("bytes-member-max", |b| b.bytes_member_max, |s| Some(s.bytes_member.max)),
    ("bytes-peak", |b| b.bytes_peak, |s| Some(s.bytes_peak)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worse_result_and_one_that_never_came_break_the_budget() {
        let budget = Budget {
            down_p99: Some(Span::secs(3)),
            false_positives: Some(0),
            formation: Some(Span::secs(3)),
            ..Budget::default()
        };
        let mut summary = Summary { down: Spread { p99: 2.9, ..Spread::default() }, ..Summary::default() };
        assert!(judge(&budget, &summary, &[&summary]).iter().all(|line| line.kept));
        assert_eq!(judge(&budget, &summary, &[&summary]).len(), 3, "only what the scenario names");
        summary.down.p99 = 3.1;
        summary.false_positives = 1;
        summary.formation.missing = 1;
        assert!(judge(&budget, &summary, &[&summary]).iter().all(|line| !line.kept));
    }

    #[test]
    fn quorum_that_comes_and_goes_or_stays_too_long_breaks_its_limits() {
        let budget = Budget {
            quorum_losses: Some(0),
            quorum_losses_per_1000h: Some(1.0),
            quorum_gap_max: Some(Span::secs(1)),
            quorum_to_lose_max: Some(Span::secs(2)),
            quorum_to_regain_p99: Some(Span::secs(5)),
            bytes_member_max: Some(5000.0),
            ..Budget::default()
        };
        let broken = |s: &Summary| judge(&budget, s, &[s]).iter().filter(|line| !line.kept).count();
        let spread = |max, missing| Spread { count: 9, missing, max, p99: max, ..Spread::default() };
        let fine = Summary {
            quorum_losses_per_1000h: 0.9,
            quorum_gaps: spread(0.9, 0),
            quorum_to_lose: spread(1.4, 0),
            quorum_to_regain: spread(4.9, 0),
            ..Summary::default()
        };
        assert_eq!(broken(&fine), 0);
        let worse = Summary {
            quorum_losses: 1,
            quorum_losses_per_1000h: 1.1,
            quorum_gaps: spread(1.1, 0),
            quorum_to_lose: spread(2.1, 0),
            quorum_to_regain: spread(5.1, 0),
            bytes_member: spread(5001.0, 0),
            ..Summary::default()
        };
        assert_eq!(broken(&worse), 6);
        let never = Summary { quorum_to_lose: spread(1.4, 1), quorum_to_regain: spread(0.0, 1), ..fine };
        assert_eq!(broken(&never), 2, "what never came is no fast one");
    }

    #[test]
    fn a_mean_over_few_deaths_breaks_its_limit_only_beyond_what_chance_allows() {
        let budget = Budget { suspect_mean: Some(Span::secs(1)), ..Budget::default() };
        let mean =
            |mean| Summary { suspect: Spread { count: 7, mean, ..Spread::default() }, ..Summary::default() };
        let verdict = |each: &[f64]| {
            let each: Vec<Summary> = each.iter().copied().map(mean).collect();
            let all = mean(each.iter().map(|s| s.suspect.mean).sum::<f64>() / each.len() as f64);
            let lines = judge(&budget, &all, &each.iter().collect::<Vec<_>>());
            (lines[0].verdict, lines[0].doubt)
        };
        // Means 1.1 with a deviation of 0.2, twice over the root of their number.
        assert_eq!(verdict(&[0.9, 1.1, 1.3]).0, Verdict::Unsure);
        assert!((verdict(&[0.9, 1.1, 1.3]).1.unwrap() - 0.4 / 3f64.sqrt()).abs() < 1e-9);
        assert_eq!(verdict(&[1.0, 1.2].repeat(6)).0, Verdict::Broken, "twelve seeds tell");
        assert_eq!(verdict(&[0.8, 1.0]).0, Verdict::Kept);
        assert_eq!(verdict(&[1.2]), (Verdict::Unsure, None), "one seed is no mean");
        let exact = Budget { suspect_p99: Some(Span::secs(1)), ..Budget::default() };
        let worst = Summary { suspect: Spread { p99: 1.1, ..Spread::default() }, ..Summary::default() };
        assert_eq!(
            judge(&exact, &worst, &[&worst])[0].verdict,
            Verdict::Broken,
            "the slowest are no estimate"
        );
    }
}
