//! `swarm`: scenarios that seeds draw.

use std::io::Write as _;

use anyhow::anyhow;
use heartsay_simulator::run::{self, Run};
use heartsay_simulator::scenario::Span;
use heartsay_simulator::swarm::{self, Theme};
use rayon::prelude::*;

use super::{Outcome, bench::Stopwatch, out::Out, table};

#[derive(clap::Args)]
pub(super) struct Swarm {
    /// How long, in real time
    #[arg(long = "for", default_value = "1m")]
    lasts: Span,
    /// What the scenarios are about
    #[arg(long, value_enum, default_value_t)]
    only: Theme,
    /// Members; default: drawn too
    #[arg(long, short)]
    nodes: Option<usize>,
    /// The first seed; the next ones follow
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Stop after so many failures
    #[arg(long, default_value_t = 5)]
    failures: usize,
    /// Print each failing scenario's text
    #[arg(long)]
    show: bool,
}

impl Swarm {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        let watch = Stopwatch::start();
        let batch = rayon::current_num_threads() as u64 * 4;
        let (mut next, mut failed) = (self.from, 0);
        while watch.elapsed() < self.lasts.0 && failed < self.failures {
            let seeds: Vec<u64> = (next..next + batch).collect();
            next += batch;
            let runs: anyhow::Result<Vec<Run>> = seeds.par_iter().map(|seed| self.one(*seed)).collect();
            for run in runs?.into_iter().filter(|run| run.violations.count > 0) {
                failed += 1;
                say!("seed {} fails:", run.seed);
                table::violations(&run);
                let nodes = self.nodes.map_or_else(String::new, |n| format!(" --nodes {n}"));
                let name = match self.only {
                    Theme::All => "swarm",
                    Theme::Quorum => "swarm-quorum",
                    Theme::Fence => "swarm-fence",
                };
                say!("  replay: heartsay-sim replay {name} --seed {}{nodes} --log", run.seed);
                if self.show {
                    say!("{}", swarm::text(run.seed, self.only, self.nodes));
                }
            }
            Out::new().flush()?;
        }
        say!("{} scenarios, {failed} failed", next - self.from);
        Ok(if failed == 0 { Outcome::Well } else { Outcome::Broken })
    }

    fn one(&self, seed: u64) -> anyhow::Result<Run> {
        let scenario = swarm::draw(seed, self.only, self.nodes)?;
        run::run_one(&scenario, seed, None).map_err(|error| anyhow!(error))
    }
}
