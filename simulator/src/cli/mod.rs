//! The command line: one file per verb group.

#[macro_use]
mod out;

mod bench;
mod compare;
mod detectors;
mod from_agent;
mod one_link;
mod report;
mod results;
mod run;
mod shapes;
mod swarm;
mod sweep;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use heartsay_simulator::scenario::{self, Scenario, Span};

/// Run the heartsay protocol in virtual time, with trouble, and judge it.
#[derive(Parser)]
#[command(name = "heartsay-sim", version, about, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a scenario over several seeds and print the measures
    Run(run::Run),
    /// Run one seed again and tell what happens, with virtual times; or a verdict that an agent's history has kept
    Replay(run::Replay),
    /// Run scenarios drawn from seeds until the time is up; print the seeds that fail
    Swarm(swarm::Swarm),
    /// Run a scenario for every combination of parameters
    Sweep(sweep::Sweep),
    /// Draw a run as one HTML page with pictures; takes a scenario or results of `run -o json`
    Report(report::Report),
    /// Compare two results of `run -o json`
    Compare(compare::Compare),
    /// The same faults for the real machine and for models of other detectors, in one table
    CompareDetectors(detectors::Detectors),
    /// Mistakes against detection time of single detectors on one lossy link
    OneLink(one_link::OneLink),
    Shapes(shapes::Shapes),
    Results(results::Results),
    /// Measure the simulator itself: virtual seconds per second, memory
    Bench(bench::Bench),
    /// List the shipped scenarios
    List {
        /// Those of which some limits are known not to be kept yet, and which limits
        #[arg(long)]
        unmet: bool,
    },
    /// Print the text of a shipped scenario, to begin one's own with
    Show {
        /// Name of the scenario
        scenario: String,
    },
}

/// What a verb came to.
enum Outcome {
    Well,
    Broken,
}

/// Which scenario, and where it differs from the text.
#[derive(clap::Args)]
struct Choice {
    /// A shipped scenario (see `list`) or a TOML file
    scenario: String,
    #[command(flatten)]
    overrides: Overrides,
}

/// Where a scenario differs from its text.
#[derive(clap::Args)]
struct Overrides {
    /// Members of the cluster
    #[arg(long, short)]
    nodes: Option<usize>,
    /// Length of the run in virtual time, as in "90s"
    #[arg(long)]
    duration: Option<Span>,
    /// Change any key of the scenario, as in network.loss=0.1 or fault.0.who=16
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Overrides {
    fn sets(&self) -> Vec<String> {
        let mut sets = self.set.clone();
        sets.extend(self.nodes.map(|nodes| format!("nodes={nodes}")));
        sets.extend(self.duration.map(|duration| format!("duration=\"{duration}\"")));
        sets
    }
}

impl Choice {
    fn sets(&self) -> Vec<String> {
        self.overrides.sets()
    }

    fn load(&self) -> anyhow::Result<Scenario> {
        Ok(scenario::load(&self.scenario, &self.sets())?)
    }

    /// The options that choose the same again.
    fn words(&self) -> String {
        let sets: String = self.sets().iter().map(|set| format!(" --set '{set}'")).collect();
        format!("{}{sets}", self.scenario)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

pub(crate) fn main() -> ExitCode {
    // Clap itself ends with 2 on wrong usage.
    let outcome = match Arguments::parse().verb {
        Verb::Run(run) => run.go(),
        Verb::Replay(replay) => replay.go(),
        Verb::Swarm(swarm) => swarm.go(),
        Verb::Sweep(sweep) => sweep.go(),
        Verb::Report(report) => report.go(),
        Verb::Compare(compare) => compare.go(),
        Verb::CompareDetectors(detectors) => detectors.go(),
        Verb::OneLink(one_link) => one_link.go(),
        Verb::Shapes(shapes) => shapes.go(),
        Verb::Results(results) => results.go(),
        Verb::Bench(bench) => bench.go(),
        Verb::List { unmet } => list(unmet),
        Verb::Show { scenario } => show(&scenario),
    };
    match outcome {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::Broken) => ExitCode::from(1),
        Err(error) => {
            eprintln!("heartsay-sim: {error:#}");
            let usage = error.downcast_ref::<scenario::Problem>().is_some();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn list(unmet: bool) -> anyhow::Result<Outcome> {
    for name in scenario::shipped() {
        let scenario = scenario::load(name, &[])?;
        match scenario.unmet {
            Some(why) if unmet => say!("{name:<18} {} Not kept: {why}", scenario.about),
            None if !unmet => say!("{name:<18} {}", scenario.about),
            Some(_) | None => {}
        }
    }
    Ok(Outcome::Well)
}

fn show(name: &str) -> anyhow::Result<Outcome> {
    // Loading first, for its error message when there is no such scenario.
    scenario::load(name, &[])?;
    put!("{}", scenario::source(name).unwrap_or_default());
    Ok(Outcome::Well)
}

const EXIT_CODES: &str = "Exit codes:
  0  all well
  1  a check or a budget was broken, or an error
  2  wrong usage: options, scenario names, scenario files";
