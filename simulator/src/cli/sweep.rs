//! `sweep`: a scenario for every combination of parameters.

use anyhow::anyhow;
use heartsay_simulator::measure::{Measures, Spread, Summary};
use heartsay_simulator::run::{self, Report};
use heartsay_simulator::scenario;

use super::{Choice, Outcome, Output, bench::Stopwatch, run::bar, table::number};

#[derive(clap::Args)]
pub(super) struct Sweep {
    #[command(flatten)]
    pub(super) choice: Choice,
    /// A key and its values, as in network.loss=0,0.01,0.1; several make a grid
    #[arg(long, value_name = "KEY=V1,V2,…", required = true)]
    over: Vec<String>,
    /// How many seeds per point, from 1 on
    #[arg(long, short, default_value_t = 5)]
    seeds: u64,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Sweep {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        let watch = Stopwatch::start();
        let axes = self.over.iter().map(|over| axis(over)).collect::<anyhow::Result<Vec<_>>>()?;
        let seeds: Vec<u64> = (1..=self.seeds.max(1)).collect();
        let points = points(&axes)
            .into_iter()
            .map(|point| {
                let sets = [self.choice.sets(), point].concat();
                Ok((scenario::load(&self.choice.scenario, &sets)?, sets))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let length: u64 = points.iter().map(|(s, _)| s.duration.0.as_secs() * self.seeds.max(1)).sum();
        let bar = bar(&self.choice.scenario, length)?;
        let reports = run::grid(&points, &seeds, &|| bar.inc(1)).map_err(|error| anyhow!(error));
        bar.finish_and_clear();
        let reports = reports?;
        let measures: Vec<&Measures> =
            reports.iter().flat_map(|report| &report.runs).map(|run| &run.measures).collect();
        let all = Summary::of(&measures);
        match self.output {
            Output::Json => say!("{}", serde_json::to_string_pretty(&json(&axes, &seeds, &reports, &all))?),
            Output::Table => print(&axes, &reports, &all),
        }
        // Not on standard output: what is printed there is the same for the same seeds.
        eprintln!("{} runs in {:.0} s", measures.len(), watch.elapsed().as_secs_f64());
        let sound = reports.iter().all(Report::sound);
        Ok(if sound { Outcome::Well } else { Outcome::Broken })
    }
}

fn json(axes: &[Axis], seeds: &[u64], reports: &[Report], all: &Summary) -> serde_json::Value {
    let broken = |r: &Report| -> Vec<u64> {
        r.runs.iter().filter(|run| run.violations.count > 0).map(|run| run.seed).collect()
    };
    let points: Vec<_> = reports
        .iter()
        .map(|r| serde_json::json!({ "set": r.set, "summary": r.summary, "broken-seeds": broken(r) }))
        .collect();
    let first = reports.first();
    serde_json::json!({
        "schema": SCHEMA,
        "scenario": first.map(|r| &r.scenario),
        "nodes": first.map(|r| r.nodes),
        "generator": first.map(|r| r.generator),
        "over": axes,
        "seeds": seeds,
        "points": points,
        "all": all,
    })
}

/// A parameter and its values.
pub(super) type Axis = (String, Vec<String>);

pub(super) fn axis(text: &str) -> anyhow::Result<Axis> {
    let (key, values) = text.split_once('=').ok_or_else(|| anyhow!("--over {text}: write key=v1,v2"))?;
    Ok((key.to_owned(), values.split(',').map(str::to_owned).collect()))
}

/// Every combination, as overrides; the last parameter runs fastest.
pub(super) fn points(axes: &[Axis]) -> Vec<Vec<String>> {
    let mut points: Vec<Vec<String>> = vec![Vec::new()];
    for (key, values) in axes {
        let longer = |point: &Vec<String>| -> Vec<Vec<String>> {
            values.iter().map(|v| [point.clone(), vec![format!("{key}={v}")]].concat()).collect()
        };
        points = points.iter().flat_map(longer).collect();
    }
    points
}

fn print(axes: &[Axis], reports: &[Report], all: &Summary) {
    // Only what differs from point to point.
    let name = |report: &Report| {
        let own = report.set.iter().skip(report.set.len().saturating_sub(axes.len()));
        own.map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let width = reports.iter().map(|report| name(report).len()).max().unwrap_or(0).max(10);
    let quorum = all.shows_quorum();
    let heads: String = QUORUM_HEADS.iter().filter(|_| quorum).map(|head| format!("{head:>9}")).collect();
    say!(
        "{:<width$}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}{:>7}{:>6}{:>9}{:>9}{:>7}{heads}",
        "",
        "susp mean",
        "susp p99",
        "down 1st",
        "down med",
        "down p99",
        "down max",
        "missed",
        "FP",
        "FP-",
        "needless",
        "bytes/s",
        "checks"
    );
    for report in reports {
        let quorum = if quorum { quorum_cells(&report.summary) } else { String::new() };
        say!("{:<width$}{}{quorum}", name(report), cells(report));
    }
    let runs: usize = reports.iter().map(|report| report.runs.len()).sum();
    say!("\n{runs} runs of {} together:", reports.first().map_or("", |report| &report.scenario));
    together(all);
}

fn cells(report: &Report) -> String {
    let s = &report.summary;
    let first = if s.down_first.count > 0 { &s.down_first } else { &s.stalled_down_first };
    format!(
        "{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}{:>7}{:>6}{:>9}{:>9}{:>7}",
        time(&s.suspect, s.suspect.mean),
        time(&s.suspect, s.suspect.p99),
        time(first, first.median),
        time(&s.down, s.down.median),
        time(&s.down, s.down.p99),
        time(&s.down, s.down.max),
        s.down.missing,
        s.false_positives,
        s.false_positives_by_healthy,
        s.needless_evictions,
        number(s.bytes.mean),
        if report.sound() { "ok" } else { "BROKEN" }
    )
}

/// Losses by healthy members, the same per 1,000 member-hours, member-seconds without; median and slowest of losing and
/// regaining it.
fn quorum_cells(s: &Summary) -> String {
    let (lose, regain) = (&s.quorum_to_lose, &s.quorum_to_regain);
    format!(
        "{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        s.quorum_losses,
        number(s.quorum_losses_per_1000h),
        number(s.quorum_without),
        time(lose, lose.median),
        time(lose, lose.max),
        time(regain, regain.median),
        time(regain, regain.max)
    )
}

fn together(all: &Summary) {
    for (label, s) in
        [("down, the first observer", &all.down_first), ("impaired called down", &all.stalled_down_first)]
    {
        if s.count + s.missing > 0 {
            let [median, p99, p999] = [s.median, s.p99, s.p999].map(|value| time(s, value));
            say!(
                "  {label}: median {median} s, p99 {p99}, p99.9 {p999}; {} times, {} never",
                s.count,
                s.missing
            );
        }
    }
    say!(
        "  FP {}, FP- {}, healthy members evicted {}, needless evictions {}",
        all.false_positives,
        all.false_positives_by_healthy,
        all.healthy_evicted,
        all.needless_evictions
    );
    say!(
        "  suspicions {}, of healthy members {} ({} per member and hour; precision {}); busiest minute {} bytes/s and member",
        all.suspicions,
        all.healthy_suspected,
        number(all.healthy_suspected_per_hour),
        number(1.0 - all.suspicions_false_share),
        number(all.bytes_minute)
    );
    if all.shows_quorum() {
        say!(
            "  losses of quorum by healthy members {} ({} per 1,000 member-hours), {} member-seconds without",
            all.quorum_losses,
            number(all.quorum_losses_per_1000h),
            number(all.quorum_without)
        );
    }
}

/// A figure of a distribution, if that has values.
fn time(s: &Spread, value: f64) -> String {
    if s.count > 0 { number(value) } else { "-".to_owned() }
}

/// Losses of quorum and their rate, time without it, time to lose and to hold it again.
const QUORUM_HEADS: [&str; 7] =
    ["Q losses", "/1000 h", "without", "lose med", "lose max", "hold med", "hold max"];
/// Layout of the JSON.
const SCHEMA: &str = "heartsay-sim-sweep/1";
