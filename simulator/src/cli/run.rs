//! `run` and `replay`.

use std::io::{BufWriter, IsTerminal as _};

use anyhow::anyhow;
use heartsay_membership::Instant;
use heartsay_simulator::liar::Lie;
use heartsay_simulator::run::{self, Report};
use heartsay_simulator::scenario::{self, Scenario, Span};
use heartsay_simulator::swarm::{self, Theme};
use heartsay_simulator::trace::Log;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Choice, Outcome, Output, Overrides, from_agent::FromAgent, out::Out, table};

#[derive(clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) choice: Choice,
    /// How many seeds, from 1 on
    #[arg(long, short, default_value_t = 5, conflicts_with = "seed")]
    seeds: u64,
    /// Only this seed
    #[arg(long)]
    seed: Option<u64>,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// More lines: one per seed, and the machines' own counters
    #[arg(long, short)]
    verbose: bool,
    /// JSON: every second of every run too (bytes, sizes of tables, ghosts)
    #[arg(long)]
    series: bool,
    /// A broken budget is shown and does not fail the run
    #[arg(long)]
    lenient: bool,
}

impl Run {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        if self.seeds == 0 {
            return Err(anyhow!("--seeds 0: nothing to run"));
        }
        let scenario = self.choice.load()?;
        let seeds: Vec<u64> = self.seed.map_or_else(|| (1..=self.seeds).collect(), |seed| vec![seed]);
        let mut report = with_bar(&scenario, &seeds, &self.choice.sets())?;
        if self.series {
            report = report.with_series();
        }
        match self.output {
            Output::Json => say!("{}", serde_json::to_string_pretty(&report)?),
            Output::Table => table::report(&report, self.verbose, &self.choice.words()),
        }
        let fine = report.passed() || (self.lenient && report.sound());
        Ok(if fine { Outcome::Well } else { Outcome::Broken })
    }
}

#[derive(clap::Args)]
pub(super) struct Replay {
    /// A shipped scenario (see `list`) or a TOML file
    #[arg(required_unless_present = "from_agent")]
    scenario: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
    /// The seed to replay
    #[arg(long, required_unless_present = "from_agent")]
    seed: Option<u64>,
    #[command(flatten)]
    from_agent: FromAgent,
    /// Print everything that members notice
    #[arg(long)]
    log: bool,
    /// Print every datagram too
    #[arg(long)]
    packets: bool,
    /// Print only what this member does and sees
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Print nothing before this virtual time
    #[arg(long, value_name = "TIME")]
    from: Option<Span>,
    /// Of swarm-hostile: only these lies
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true)]
    lies: Vec<Lie>,
    /// End here instead of at the scenario's end
    #[arg(long, value_name = "TIME")]
    until: Option<Span>,
}

impl Replay {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        let (Some(name), Some(seed)) = (&self.scenario, self.seed) else {
            return self.from_agent.go(&self.overrides);
        };
        // A swarm is a scenario of its own: the seed draws it.
        let mut scenario = match Theme::called(name) {
            Some(Theme::Hostile) => swarm::draw_lies(seed, self.overrides.nodes, &self.lies)?,
            Some(_) | None if !self.lies.is_empty() => return Err(anyhow!("--lies needs swarm-hostile")),
            Some(theme) => swarm::draw(seed, theme, self.overrides.nodes)?,
            None => scenario::load(name, &self.overrides.sets())?,
        };
        if let Some(until) = self.until {
            scenario.duration = until;
            scenario.check.liveness = false;
        }
        let log = (self.log || self.packets).then(|| Log {
            out: Box::new(BufWriter::new(Out::new())),
            packets: self.packets,
            only: self.only.clone(),
            from: Instant::EPOCH + self.from.unwrap_or_default().0,
        });
        let run = run::run_one(&scenario, seed, log).map_err(|error| anyhow!(error))?;
        say!("seed {}, trace {}, {} inputs", run.seed, run.trace, run.inputs);
        table::violations(&run);
        table::happened(&run);
        Ok(if run.violations.count == 0 { Outcome::Well } else { Outcome::Broken })
    }
}

/// Runs with a progress bar, if standard error is a terminal.
pub(super) fn with_bar(scenario: &Scenario, seeds: &[u64], sets: &[String]) -> anyhow::Result<Report> {
    let length = seeds.len() as u64 * scenario.duration.0.as_secs();
    let bar = bar(&scenario.name, length)?;
    let report = run::run(scenario, seeds, sets, &|| bar.inc(1)).map_err(|error| anyhow!(error));
    bar.finish_and_clear();
    report
}

/// A bar over `length` virtual seconds; hidden where standard error is no terminal.
pub(super) fn bar(name: &str, length: u64) -> anyhow::Result<ProgressBar> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} virtual s, {eta} left")?;
    bar.set_style(style);
    bar.set_prefix(name.to_owned());
    Ok(bar)
}
