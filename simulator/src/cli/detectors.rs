//! `compare-detectors`: the same faults for the real machine and for models of others.

use heartsay_simulator::measure::{Spread, Summary};
use heartsay_simulator::models::Baseline;
use heartsay_simulator::run::Report;
use heartsay_simulator::scenario;

use super::{Choice, Outcome, Output, run::with_bar, table::number};

#[derive(clap::Args)]
pub(super) struct Detectors {
    #[command(flatten)]
    pub(super) choice: Choice,
    /// How many seeds, from 1 on
    #[arg(long, short, default_value_t = 3)]
    seeds: u64,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Detectors {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        let seeds: Vec<u64> = (1..=self.seeds.max(1)).collect();
        let mut reports = Vec::new();
        for baseline in Baseline::ALL {
            let sets = [self.choice.sets(), vec![format!("machine=\"{}\"", baseline.word())]].concat();
            let scenario = scenario::load(&self.choice.scenario, &sets)?;
            reports.push((baseline, with_bar(&scenario, &seeds, &sets)?));
        }
        if self.output == Output::Json {
            let reports: Vec<_> = reports.iter().map(|(_, report)| report).collect();
            say!("{}", serde_json::to_string_pretty(&reports)?);
            return Ok(Outcome::Well);
        }
        table(&reports, seeds.len());
        Ok(Outcome::Well)
    }
}

fn table(reports: &[(Baseline, Report)], seeds: usize) {
    if let Some((_, first)) = reports.first() {
        say!("{}: {}", first.scenario, first.about);
        say!("{} members, {seeds} seeds, {} s of virtual time each\n", first.nodes, first.seconds);
    }
    say!(
        "{:<17}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}{:>9}{:>7}{:>9}{:>10}{:>9}",
        "",
        "susp med",
        "susp p99",
        "down 1st",
        "down med",
        "down p99",
        "missed",
        "FP",
        "FP-",
        "needless",
        "diverge s",
        "bytes/s"
    );
    for (baseline, report) in reports {
        row(baseline.word(), &report.summary);
    }
    say!(
        "\nAll but heartsay are small models written from the papers and from published settings (docs/simulator.md),"
    );
    say!("not those products: they show what the rules do with the same faults, network and seeds.");
}

fn row(name: &str, s: &Summary) {
    let (first, each) = if s.down_first.count + s.down_first.missing > 0 {
        (&s.down_first, Some(&s.down))
    } else {
        (&s.stalled_down_first, None)
    };
    let time = |count: u64, value: f64| if count > 0 { number(value) } else { "-".to_owned() };
    let each = |pick: fn(&Spread) -> f64| {
        each.map_or_else(|| "-".to_owned(), |spread| time(spread.count, pick(spread)))
    };
    say!(
        "{name:<17}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}{:>9}{:>7}{:>9}{:>10}{:>9}",
        time(s.suspect.count, s.suspect.median),
        time(s.suspect.count, s.suspect.p99),
        time(first.count, first.median),
        each(|s| s.median),
        each(|s| s.p99),
        s.down.missing,
        s.false_positives,
        s.false_positives_by_healthy,
        s.needless_evictions,
        number(s.divergence),
        number(s.bytes.mean),
    );
}
