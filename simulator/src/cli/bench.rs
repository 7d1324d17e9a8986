//! `bench`: how fast and how large the simulator itself is.

use core::time::Duration;
use std::time::Instant;

use anyhow::anyhow;
use heartsay_simulator::run;
use heartsay_simulator::scenario;

use super::Outcome;

#[derive(clap::Args)]
pub(super) struct Bench {
    /// Sizes of the cluster
    #[arg(long, value_delimiter = ',', default_values_t = [128, 1000])]
    nodes: Vec<usize>,
}

impl Bench {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        println!(
            "{:>8} {:>10} {:>10} {:>12} {:>12} {:>12}",
            "members", "virtual s", "real s", "x real time", "inputs/s", "peak MiB"
        );
        for nodes in self.nodes {
            let seconds = if nodes <= 200 {
                120
            } else if nodes <= 2000 {
                60
            } else {
                30
            };
            let sets = [
                format!("nodes={nodes}"),
                format!("duration=\"{seconds}s\""),
                "measure.after=\"10s\"".to_owned(),
            ];
            let scenario = scenario::load("quiet", &sets)?;
            let watch = Stopwatch::start();
            let run = run::run_one(&scenario, 1, None).map_err(|error| anyhow!(error))?;
            let real = watch.elapsed().as_secs_f64();
            println!(
                "{nodes:>8} {seconds:>10} {real:>10.2} {:>12.1} {:>12.0} {:>12}",
                f64::from(seconds) / real,
                run.inputs as f64 / real,
                peak_mib().map_or_else(|| "?".to_owned(), |mib| mib.to_string())
            );
        }
        Ok(Outcome::Well)
    }
}

/// The only look at the real clock in this program: it times the program, never the protocol.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measures the simulator, not what runs in it")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "measures the simulator, not what runs in it")]
    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Most memory this process ever had resident.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
}
