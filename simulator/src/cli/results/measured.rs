//! What the line of an experiment says, made from its JSON.

use std::collections::BTreeSet;

use heartsay_simulator::measure::{Spread, Summary};
use serde::{Deserialize, Serialize};

/// What an experiment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Measure {
    /// How soon the dead are suspected and called down.
    Detection,
    /// Healthy members called down.
    Mistakes,
    /// A grid of impaired members: how soon they are called down, and who else.
    Sweep,
    /// How soon a cluster has formed.
    Formation,
    /// How soon a newcomer knows and is known.
    Newcomer,
    /// What becomes of members that are half deaf or mute.
    Gray,
    /// What is sent at rest.
    Bytes,
    /// How soon all agree after a cut.
    Agreement,
    /// How long members that have gone stay in tables.
    Ghosts,
    /// Whether healthy members keep quorum, how soon it is lost and held again, and what that costs.
    Quorum,
}

/// One line, less its name and command.
#[derive(Debug, Serialize)]
pub(super) struct Result {
    /// The measure in words.
    pub(super) measured: String,
    /// Members.
    pub(super) nodes: usize,
    /// Seeds.
    pub(super) seeds: usize,
    /// `kept`, or how many rules were broken, and which.
    pub(super) checks: String,
    /// Limits of the scenario that were broken.
    #[serde(rename = "limits-broken")]
    pub(super) broken: String,
    /// Everything that was measured.
    summary: Summary,
}

/// Reads what `run` or `sweep` printed as JSON.
pub(super) fn read(measure: Measure, json: &str) -> serde_json::Result<Result> {
    if measure == Measure::Sweep {
        return serde_json::from_str::<Grid>(json).map(Grid::result);
    }
    serde_json::from_str::<Report>(json).map(|report| report.result(measure))
}

/// What `run -o json` prints, as far as it is needed here.
#[derive(Deserialize)]
struct Report {
    nodes: usize,
    summary: Summary,
    budget: Vec<Limit>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Limit {
    key: String,
    measured: Option<f64>,
    limit: f64,
    kept: bool,
}

#[derive(Deserialize)]
struct Run {
    violations: Violations,
}

#[derive(Deserialize)]
struct Violations {
    count: u64,
    first: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    rule: String,
}

/// What `sweep -o json` prints, as far as it is needed here.
#[derive(Deserialize)]
struct Grid {
    nodes: usize,
    seeds: Vec<u64>,
    points: Vec<Point>,
    all: Summary,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Point {
    broken_seeds: Vec<u64>,
}

impl Report {
    fn result(self, measure: Measure) -> Result {
        let count: u64 = self.runs.iter().map(|run| run.violations.count).sum();
        let first = self.runs.iter().flat_map(|run| &run.violations.first);
        let rules: BTreeSet<&str> = first.map(|violation| violation.rule.as_str()).collect();
        let rules: Vec<&str> = rules.into_iter().collect();
        let broken: Vec<String> = self.budget.iter().filter(|line| !line.kept).map(Limit::words).collect();
        Result {
            measured: measure.words(&self.summary),
            nodes: self.nodes,
            seeds: self.runs.len(),
            checks: if count == 0 {
                "kept".to_owned()
            } else {
                format!("**{count} broken** ({})", rules.join(", "))
            },
            broken: if broken.is_empty() { "none".to_owned() } else { broken.join(", ") },
            summary: self.summary,
        }
    }
}

impl Limit {
    fn words(&self) -> String {
        let measured = self.measured.map_or_else(|| "never".to_owned(), short);
        format!("{} {measured} > {}", self.key, short(self.limit))
    }
}

impl Grid {
    fn result(self) -> Result {
        let bad: usize = self.points.iter().map(|point| point.broken_seeds.len()).sum();
        let runs = self.points.len() * self.seeds.len();
        Result {
            measured: format!("{runs} runs; {}", Measure::Sweep.words(&self.all)),
            nodes: self.nodes,
            seeds: self.seeds.len(),
            checks: if bad == 0 { "kept".to_owned() } else { format!("**broken in {bad} runs**") },
            broken: String::new(),
            summary: self.all,
        }
    }
}

impl Measure {
    fn words(self, s: &Summary) -> String {
        let mb = |bytes: f64| short(bytes / 1e6);
        match self {
            Self::Detection => detection(s),
            Self::Sweep => {
                let first = spread(&s.stalled_down_first, &[MEDIAN, P99, P999]);
                format!("first down median / p99 / p99.9 {first}; {}", mistakes(s))
            }
            Self::Formation => format!(
                "full views median / p99 / max {}; peak {} MB/s, of the seed {}",
                spread(&s.formation, &[MEDIAN, P99, MAX]),
                mb(s.bytes_peak),
                mb(s.bytes_contact)
            ),
            Self::Newcomer => format!(
                "its full view median / max {}; known to each {}; peak {} MB/s",
                spread(&s.newcomer_full, &[MEDIAN, MAX]),
                spread(&s.newcomer_known, &[MEDIAN, P99, MAX]),
                mb(s.bytes_peak)
            ),
            Self::Gray => gray(s),
            Self::Ghosts => format!(
                "last ghost gone median / max {}; agreement max {}; largest table {}; {}; {} B/s, peak {} kB/s",
                spread(&s.ghosts_gone, &[MEDIAN, MAX]),
                spread(&s.agreement, &[MAX]),
                short(s.table_max),
                mistakes(s),
                short(s.bytes.mean),
                short(s.bytes_peak / 1e3)
            ),
            Self::Quorum => quorum(s),
            Self::Bytes => format!(
                "mean / p99 {} B/s and member; {} datagrams/s",
                spread(&s.bytes, &[MEAN, P99]),
                short(s.datagrams)
            ),
            Self::Agreement => {
                let agreement = spread(&s.agreement, &[MEDIAN, MAX]);
                format!("agreement median / max {agreement}; {}; {} B/s", mistakes(s), short(s.bytes.mean))
            }
            Self::Mistakes => {
                let bytes = short(s.bytes.mean);
                format!(
                    "{}; divergence {} member-s; {bytes} B/s{}",
                    mistakes(s),
                    short(s.divergence),
                    newcomers(s)
                )
            }
        }
    }
}

fn detection(s: &Summary) -> String {
    let [held, lost, unsettled] = s.quorum;
    let quorum = if s.quorum == [0; 3] {
        String::new()
    } else {
        format!("; quorum held {held}, lost {lost}, unsettled {unsettled}")
    };
    format!(
        "suspect mean / p99 {}; down median / p99 {}; FP {}{quorum}",
        spread(&s.suspect, &[MEAN, P99]),
        spread(&s.down, &[MEDIAN, P99]),
        s.false_positives
    )
}

fn quorum(s: &Summary) -> String {
    format!(
        "healthy members lost quorum {} times in {} member-hours ({} per 1,000), {} member-s without; to lose it median / p99 / max {}; \
         to hold it again {}; member median / max {} B/s",
        s.quorum_losses,
        short(s.quorum_healthy / 3600.0),
        short(s.quorum_losses_per_1000h),
        short(s.quorum_without),
        spread(&s.quorum_to_lose, &[MEDIAN, P99, MAX]),
        spread(&s.quorum_to_regain, &[MEDIAN, P99, MAX]),
        spread(&s.bytes_member, &[MEDIAN, MAX])
    )
}

fn gray(s: &Summary) -> String {
    let once = s.removed.count;
    format!(
        "removed by most {once} of {}, after median / max {}, again {} times; healthy removed {}; FP {}, FP- {}; any called down {}",
        once + s.removed.missing,
        spread(&s.removed, &[MEDIAN, MAX]),
        s.removed_again,
        s.healthy_removed,
        s.false_positives,
        s.false_positives_by_healthy,
        s.called_down
    )
}

fn mistakes(s: &Summary) -> String {
    format!(
        "FP {}, FP- {}, healthy evicted {}, needless {}",
        s.false_positives, s.false_positives_by_healthy, s.healthy_evicted, s.needless_evictions
    )
}

fn newcomers(s: &Summary) -> String {
    if s.newcomer_full.count == 0 {
        return String::new();
    }
    let Spread { max, missing, .. } = s.newcomer_full;
    format!("; newcomers' full view max {}, missing {missing}", short(max))
}

/// A figure of a distribution.
type Pick = fn(&Spread) -> f64;

fn spread(s: &Spread, picks: &[Pick]) -> String {
    if s.count == 0 {
        return if s.missing > 0 { "never" } else { "none" }.to_owned();
    }
    let words: Vec<String> = picks.iter().map(|pick| short(pick(s))).collect();
    let missing = if s.missing > 0 { format!(" ({} missing)", s.missing) } else { String::new() };
    words.join(" / ") + &missing
}

/// Three significant digits, whole from a hundred on.
fn short(x: f64) -> String {
    if x.abs() >= 100.0 {
        return format!("{x:.0}");
    }
    // The exponent after rounding, as 9.996 is 10.0.
    let scientific = format!("{x:.2e}");
    let exponent = scientific.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
    let decimals = usize::try_from(2 - exponent).unwrap_or(0);
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

const MEAN: Pick = |s| s.mean;
const MEDIAN: Pick = |s| s.median;
const P99: Pick = |s| s.p99;
const P999: Pick = |s| s.p999;
const MAX: Pick = |s| s.max;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_no_idle_zeros() {
        for (x, text) in [
            (0.0, "0"),
            (0.0413, "0.0413"),
            (0.72, "0.72"),
            (2.996, "3"),
            (9.996, "10"),
            (12.04, "12"),
            (12.06, "12.1"),
            (99.96, "100"),
            (1562.4, "1562"),
        ] {
            assert_eq!(short(x), text);
        }
    }

    #[test]
    fn what_never_came_is_said() {
        let spread =
            |count, missing| spread(&Spread { count, missing, max: 2.5, ..Spread::default() }, &[MAX]);
        assert_eq!(
            [spread(0, 0), spread(0, 3), spread(4, 0), spread(4, 3)],
            ["none", "never", "2.5", "2.5 (3 missing)"]
        );
    }

    #[test]
    fn quorum_is_said_in_one_line() {
        let times = Spread { count: 2, missing: 1, median: 1.25, p99: 1.4, max: 1.5, ..Spread::default() };
        let s = Summary {
            quorum_losses: 3,
            quorum_healthy: 7200.0,
            quorum_losses_per_1000h: 1500.0,
            quorum_without: 10.5,
            quorum_to_lose: times,
            ..Summary::default()
        };
        let words = Measure::Quorum.words(&s);
        assert!(
            words.contains("lost quorum 3 times in 2 member-hours (1500 per 1,000), 10.5 member-s"),
            "{words}"
        );
        assert!(words.contains("1.25 / 1.4 / 1.5 (1 missing); to hold it again none"), "{words}");
    }

    #[test]
    fn broken_rules_and_limits_are_named_once() {
        let json = r#"{"nodes": 8, "summary": {}, "budget": [
            {"key": "down-max", "measured": null, "limit": 4, "kept": false},
            {"key": "missed", "measured": 0, "limit": 0, "kept": true}], "runs": [
            {"violations": {"count": 2, "first": [{"rule": "storm"}, {"rule": "spins"}]}},
            {"violations": {"count": 1, "first": [{"rule": "storm"}]}}]}"#;
        let result = read(Measure::Detection, json).expect("JSON");
        assert_eq!((result.nodes, result.seeds), (8, 2));
        assert_eq!(result.checks, "**3 broken** (spins, storm)");
        assert_eq!(result.broken, "down-max never > 4");
    }
}
