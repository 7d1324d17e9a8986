//! `sweep`: a scenario for every combination of parameters.

use anyhow::anyhow;
use heartsay_simulator::run::Report;
use heartsay_simulator::scenario;

use super::{Choice, Outcome, Output, run::with_bar, table::number};

#[derive(clap::Args)]
pub(super) struct Sweep {
    #[command(flatten)]
    choice: Choice,
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
        let axes = self.over.iter().map(|over| axis(over)).collect::<anyhow::Result<Vec<_>>>()?;
        let points = points(&axes);
        let seeds: Vec<u64> = (1..=self.seeds.max(1)).collect();
        let mut reports: Vec<(String, Report)> = Vec::new();
        for point in &points {
            let sets = [self.choice.sets(), point.clone()].concat();
            let scenario = scenario::load(&self.choice.scenario, &sets)?;
            reports.push((point.join(" "), with_bar(&scenario, &seeds, &sets)?));
        }
        match self.output {
            Output::Json => {
                let reports: Vec<&Report> = reports.iter().map(|(_, report)| report).collect();
                say!("{}", serde_json::to_string_pretty(&reports)?);
            }
            Output::Table => print(&reports),
        }
        let sound = reports.iter().all(|(_, report)| report.sound());
        Ok(if sound { Outcome::Well } else { Outcome::Broken })
    }
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

fn print(reports: &[(String, Report)]) {
    let width = reports.iter().map(|(point, _)| point.len()).max().unwrap_or(0).max(10);
    say!(
        "{:<width$}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}{:>7}{:>9}{:>9}{:>9}{:>7}",
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
    for (point, report) in reports {
        let s = &report.summary;
        say!(
            "{point:<width$}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}{:>7}{:>9}{:>9}{:>9}{:>7}",
            number(s.suspect.mean),
            number(s.suspect.p99),
            number(if s.down_first.count > 0 { s.down_first.median } else { s.stalled_down_first.median }),
            number(s.down.median),
            number(s.down.p99),
            number(s.down.max),
            s.down.missing,
            s.false_positives,
            s.false_positives_by_healthy,
            s.needless_evictions,
            number(s.bytes.mean),
            if report.sound() { "ok" } else { "BROKEN" }
        );
    }
}
