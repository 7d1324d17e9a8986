//! A scenario over several seeds: in parallel, in order, pooled.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::checks::{Line, Violations, judge};
use crate::measure::{Measures, Second, Summary};
use crate::network::Lost;
use crate::recording::Recording;
use crate::scenario::Scenario;
use crate::sim_rng::GENERATOR;
use crate::trace::{Log, Trace};
use crate::world::{Ended, World};

/// Results of one scenario over its seeds: what `run -o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Version of this layout.
    pub schema: &'static str,
    /// Name of the scenario.
    pub scenario: String,
    /// Its one sentence.
    pub about: String,
    /// Which of its limits are known not to be kept; `None`: all must be.
    pub unmet: Option<String>,
    /// Overrides, as given.
    pub set: Vec<String>,
    /// Members at the start.
    pub nodes: usize,
    /// Virtual seconds per run.
    pub seconds: f64,
    /// The generator of all random draws.
    pub generator: &'static str,
    /// Over all runs together.
    pub summary: Summary,
    /// Limits of the scenario.
    pub budget: Vec<Line>,
    /// Each run, in order of seeds.
    pub runs: Vec<Run>,
}

/// One seed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The root seed.
    pub seed: u64,
    /// Hash of everything that happened, in hex.
    pub trace: String,
    /// Inputs handed to machines.
    pub inputs: u64,
    /// Steps of members that were compared with the specification: inputs, and what they told of one another.
    pub compared: u64,
    /// Its own measures.
    pub summary: Summary,
    /// What must not happen, and did.
    pub violations: Violations,
    /// What each fault of the scenario did, in words.
    pub happened: Vec<String>,
    /// Datagrams that did not arrive.
    pub lost: Lost,
    /// Inputs refused by machines, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// The machines' own counters, summed over members running at the end.
    pub counters: BTreeMap<&'static str, u64>,
    /// Where members lie: of each kind of harm done for longer than it may, for how long, in seconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub harm: BTreeMap<&'static str, f64>,
    /// Every second of the run; only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Second>>,
    /// Raw observations, for pictures; not printed.
    #[serde(skip)]
    pub measures: Measures,
}

impl Report {
    /// Nothing was violated and no limit was broken.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.sound() && self.budget.iter().all(|line| line.kept)
    }

    /// With every second of every run.
    #[must_use]
    pub fn with_series(mut self) -> Self {
        for run in &mut self.runs {
            run.series = Some(run.measures.seconds.clone());
        }
        self
    }

    /// Nothing was violated.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.runs.iter().all(|run| run.violations.count == 0)
    }
}

/// A report as read back from JSON, as far as `compare` and `report` need it.
#[derive(Debug, Deserialize)]
pub struct Stored {
    /// Version of the layout.
    pub schema: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Overrides, as given.
    pub set: Vec<String>,
    /// Members at the start.
    pub nodes: usize,
    /// Over all runs together.
    pub summary: Summary,
    /// Seeds and their traces.
    pub runs: Vec<StoredRun>,
}

/// One seed of a [`Stored`] report.
#[derive(Debug, Deserialize)]
pub struct StoredRun {
    /// The root seed.
    pub seed: u64,
    /// Hash of everything that happened, in hex.
    pub trace: String,
}

/// Runs one seed.
///
/// # Errors
/// Settings that the machine does not take.
pub fn run_one(scenario: &Scenario, seed: u64, log: Option<Log>) -> Result<Run, String> {
    let ended = World::new(scenario, seed, Trace::new(log))?.run(&|_| {});
    Ok(Run::of(seed, ended))
}

/// Runs one seed and records it. `tick` is told of every virtual second.
///
/// # Errors
/// Settings that the machine does not take.
pub fn film(scenario: &Scenario, seed: u64, tick: &dyn Fn()) -> Result<(Run, Recording), String> {
    let world = World::new(scenario, seed, Trace::new(None))?.recorded(None);
    let mut ended = world.run(&|_| tick());
    let recording = ended.recording.take().unwrap_or_default();
    Ok((Run::of(seed, ended), recording))
}

/// Runs one seed and records what pictures need; with phi of `pair` (observer, subject), or of the pair
/// that shows the trouble best.
///
/// # Errors
/// Settings that the machine does not take.
pub fn record(scenario: &Scenario, seed: u64, pair: Option<(usize, usize)>) -> Result<Recording, String> {
    let go = |pair| Ok(World::new(scenario, seed, Trace::new(None))?.recorded(pair).run(&|_| {}));
    let first = |pair| go(pair).map(|ended: Ended| ended.recording.unwrap_or_default());
    match pair {
        Some(pair) => first(Some(pair)),
        // Which member is struck is known only afterwards; the same seed strikes the same again.
        None => first(first(None)?.telling_pair()),
    }
}

/// Runs all `seeds`, on all cores. `tick` is told of every virtual second of every run.
///
/// # Errors
/// Settings that the machine does not take.
pub fn run(
    scenario: &Scenario,
    seeds: &[u64],
    set: &[String],
    tick: &(dyn Fn() + Sync),
) -> Result<Report, String> {
    let one = |seed: &u64| {
        let world = World::new(scenario, *seed, Trace::new(None))?;
        Ok(Run::of(*seed, world.run(&|_| tick())))
    };
    // A large cluster's tables fill the memory: one after the other then.
    let runs: Result<Vec<Run>, String> = if scenario.nodes > LARGE {
        seeds.iter().map(one).collect()
    } else {
        seeds.par_iter().map(one).collect()
    };
    let runs = runs?;
    let summary = Summary::of(&runs.iter().map(|run| &run.measures).collect::<Vec<_>>());
    Ok(Report {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        unmet: scenario.unmet.clone(),
        set: set.to_vec(),
        nodes: scenario.nodes,
        seconds: scenario.duration.0.as_secs_f64(),
        generator: GENERATOR,
        budget: judge(&scenario.budget, &summary, &runs.iter().map(|run| &run.summary).collect::<Vec<_>>()),
        summary,
        runs,
    })
}

/// Runs several scenarios, each with its overrides, over all `seeds`, on all cores, and gives their reports
/// in order. Of their raw observations only those are kept that can be pooled over many runs.
///
/// # Errors
/// Settings that the machine does not take.
pub fn grid(
    points: &[(Scenario, Vec<String>)],
    seeds: &[u64],
    tick: &(dyn Fn() + Sync),
) -> Result<Vec<Report>, String> {
    let one = |(scenario, sets): &(Scenario, Vec<String>)| {
        let mut report = run(scenario, seeds, sets, tick)?;
        report.runs.iter_mut().for_each(|run| run.measures.thin());
        Ok(report)
    };
    if points.iter().any(|(scenario, _)| scenario.nodes > LARGE) {
        points.iter().map(one).collect()
    } else {
        points.par_iter().map(one).collect()
    }
}

impl Run {
    fn of(seed: u64, ended: Ended) -> Self {
        Self {
            seed,
            trace: format!("{:016x}", ended.trace),
            inputs: ended.inputs,
            compared: ended.compared,
            summary: Summary::of(&[&ended.measures]),
            violations: ended.violations,
            happened: ended.happened,
            lost: ended.lost,
            rejected: ended.rejected,
            counters: ended.counters,
            harm: ended.harm,
            series: None,
            measures: ended.measures,
        }
    }
}

/// Layout of the JSON; a number higher when a field changes its meaning or goes.
pub const SCHEMA: &str = "heartsay-sim/1";
const LARGE: usize = 2500;
