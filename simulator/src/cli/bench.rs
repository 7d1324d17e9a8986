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
        say!(
            "{:>8} {:>10} {:>10} {:>10} {:>16} {:>14} {:>10}",
            "members",
            "virtual s",
            "real s",
            "CPU s",
            "virtual s/CPU s",
            "inputs/CPU s",
            "peak MiB"
        );
        for nodes in self.nodes {
            let seconds = if nodes <= 2000 { 120 } else { 60 };
            let sets = [
                format!("nodes={nodes}"),
                format!("duration=\"{seconds}s\""),
                "measure.after=\"10s\"".to_owned(),
            ];
            let scenario = scenario::load("quiet", &sets)?;
            let (watch, before) = (Stopwatch::start(), cpu_seconds());
            let run = run::run_one(&scenario, 1, None).map_err(|error| anyhow!(error))?;
            let real = watch.elapsed().as_secs_f64();
            // On a machine with other work the processor time says more than the clock.
            let cpu = cpu_seconds().zip(before).map_or(real, |(after, before)| after - before).max(0.01);
            say!(
                "{nodes:>8} {seconds:>10} {real:>10.2} {cpu:>10.2} {:>16.1} {:>14.0} {:>10}",
                f64::from(seconds) / cpu,
                run.inputs as f64 / cpu,
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

/// Processor time of this process so far, in all its threads.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may contain anything, come state, then 11 fields, then user and system ticks.
    let ticks = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|t| t.parse::<f64>().ok()).sum();
    Some(ticks / TICKS_PER_SECOND)
}

/// Most memory this process ever had resident.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
}

/// `USER_HZ`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
