//! `report`: a run as one HTML page.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use heartsay_simulator::report::{Grid, Page};
use heartsay_simulator::run::{self, Stored};
use heartsay_simulator::scenario::{self, Protocol};

use super::{Choice, Outcome, compare, run::with_bar, sweep};

#[derive(clap::Args)]
pub(super) struct Report {
    #[command(flatten)]
    choice: Choice,
    /// How many seeds, from 1 on
    #[arg(long, short, default_value_t = 5)]
    seeds: u64,
    /// The seed whose pictures over time are drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The pair whose phi is drawn, as in n3,n7; default: a healthy member and the first that is struck
    #[arg(long, value_name = "OBSERVER,SUBJECT", value_parser = pair)]
    phi: Option<(usize, usize)>,
    /// Draw a sweep too, as in protocol.phi-threshold=6,8,12; twice makes a map
    #[arg(long, value_name = "KEY=V1,V2,…")]
    over: Vec<String>,
    /// Draw measures against the size of the cluster too, as in 16,64,256
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Seeds for each point of a sweep
    #[arg(long, default_value_t = 2)]
    sweep_seeds: u64,
    /// The file to write
    #[arg(long, default_value = "report.html")]
    out: PathBuf,
}

impl Report {
    pub(super) fn go(mut self) -> anyhow::Result<Outcome> {
        let stored = self.stored()?;
        if self.seeds == 0 || self.sweep_seeds == 0 {
            bail!("--seeds 0: nothing to draw");
        }
        if self.over.len() > 2 {
            bail!("--over: a picture has two sides; give at most two");
        }
        let scenario = self.choice.load()?;
        if let Some((a, b)) = self.phi
            && (a == b || a.max(b) >= scenario.nodes)
        {
            bail!("--phi n{a},n{b}: two different members of n0 to n{}", scenario.nodes - 1);
        }
        let mut seeds: Vec<u64> = stored.as_ref().map_or_else(
            || (1..=self.seeds).collect(),
            |stored| stored.runs.iter().map(|run| run.seed).collect(),
        );
        if !seeds.contains(&self.seed) {
            match stored {
                Some(_) => self.seed = seeds.first().copied().unwrap_or(1),
                None => seeds.push(self.seed),
            }
        }
        let sets = self.choice.sets();
        let report = with_bar(&scenario, &seeds, &sets)?;
        let film = run::record(&scenario, self.seed, self.phi).map_err(|error| anyhow!(error))?;
        let mut grids = Vec::new();
        if !self.over.is_empty() {
            grids.push(self.grid(&self.over)?);
        }
        if !self.sizes.is_empty() {
            let sizes: Vec<String> = self.sizes.iter().map(ToString::to_string).collect();
            grids.push(self.grid(&[format!("nodes={}", sizes.join(","))])?);
        }
        let notes = stored.map_or_else(Vec::new, |stored| differences(&stored, &report));
        let text = text(&self.choice.scenario)?;
        let page = Page {
            scenario: &scenario,
            text: &text,
            config: &scenario.protocol.config(scenario.nodes).map_err(|error| anyhow!(error))?,
            report: &report,
            film: &film,
            seed: self.seed,
            grids: &grids,
            command: &self.command(),
            replay: &format!("heartsay-sim replay {}", self.choice.words()),
            notes: &notes,
        };
        std::fs::write(&self.out, page.html())
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        say!(
            "{}: {} seeds, {}",
            self.out.display(),
            report.runs.len(),
            if report.passed() { "all kept" } else { "broken limits or checks" }
        );
        Ok(Outcome::Well)
    }

    /// Results of `run -o json` are a recipe: the same scenario, overrides and seeds run again.
    fn stored(&mut self) -> anyhow::Result<Option<Stored>> {
        let name = self.choice.scenario.clone();
        if Path::new(&name).extension().is_none_or(|extension| extension != "json") {
            return Ok(None);
        }
        let stored = compare::read(Path::new(&name))?;
        if scenario::source(&stored.scenario).is_none() {
            bail!(
                "{name} is of scenario {:?}, which is not shipped: give its file and --set",
                stored.scenario
            );
        }
        self.choice.scenario.clone_from(&stored.scenario);
        let set = &mut self.choice.overrides.set;
        *set = [stored.set.clone(), std::mem::take(set)].concat();
        self.seeds = stored.runs.len() as u64;
        Ok(Some(stored))
    }

    fn grid(&self, over: &[String]) -> anyhow::Result<Grid> {
        let axes = over.iter().map(|axis| sweep::axis(axis)).collect::<anyhow::Result<Vec<_>>>()?;
        let seeds: Vec<u64> = (1..=self.sweep_seeds).collect();
        let mut points = Vec::new();
        for point in sweep::points(&axes) {
            let sets = [self.choice.sets(), point].concat();
            let scenario = scenario::load(&self.choice.scenario, &sets)?;
            points.push(with_bar(&scenario, &seeds, &sets)?.summary);
        }
        let shipped = axes.iter().map(|(key, values)| {
            let default = shipped(key)?;
            values.iter().position(|value| same(value, &default))
        });
        let shipped = shipped.collect();
        Ok(Grid { axes, points, shipped })
    }

    fn command(&self) -> String {
        let mut words = format!("heartsay-sim report {} --seeds {}", self.choice.words(), self.seeds);
        if self.seed != 1 {
            words.push_str(&format!(" --seed {}", self.seed));
        }
        if let Some((a, b)) = self.phi {
            words.push_str(&format!(" --phi n{a},n{b}"));
        }
        for over in &self.over {
            words.push_str(&format!(" --over '{over}'"));
        }
        if !self.sizes.is_empty() {
            let sizes: Vec<String> = self.sizes.iter().map(ToString::to_string).collect();
            words.push_str(&format!(" --sizes {}", sizes.join(",")));
        }
        if !(self.over.is_empty() && self.sizes.is_empty()) {
            words.push_str(&format!(" --sweep-seeds {}", self.sweep_seeds));
        }
        words
    }
}

fn pair(text: &str) -> Result<(usize, usize), String> {
    let number = |name: &str| name.trim().strip_prefix('n').and_then(|n| n.parse::<usize>().ok());
    let (a, b) = text.split_once(',').ok_or("write two members, as in n3,n7")?;
    number(a).zip(number(b)).ok_or_else(|| "write two members, as in n3,n7".to_owned())
}

/// The shipped value of a setting, as a scenario would write it.
fn shipped(key: &str) -> Option<String> {
    let config = Protocol::default().config(1).ok()?;
    let seconds = |span: core::time::Duration| format!("{}s", span.as_secs_f64());
    let phi = match &config.detector {
        heartsay_detector::DetectorConfig::Phi(phi) => *phi,
        heartsay_detector::DetectorConfig::Fixed(_) => return None,
    };
    Some(match key {
        "protocol.interval" => seconds(config.interval),
        "protocol.acceptable-pause" => seconds(config.acceptable_pause),
        "protocol.helpers" => config.helpers.to_string(),
        "protocol.witnesses" => config.witnesses.to_string(),
        "protocol.fanout" => config.fanout.to_string(),
        "protocol.coalesce" => seconds(config.coalesce),
        "protocol.burst-rate" => config.burst_rate.to_string(),
        "protocol.phi-threshold" => phi.threshold.to_string(),
        "protocol.min-deviation" => seconds(phi.min_deviation),
        _ => return None,
    })
}

fn same(a: &str, b: &str) -> bool {
    let span = |text: &str| text.trim_matches('"').parse::<scenario::Span>().ok();
    a == b
        || a.parse::<f64>().ok().zip(b.parse::<f64>().ok()).is_some_and(|(a, b)| a == b)
        || (span(a).is_some() && span(a) == span(b))
}

fn text(name: &str) -> anyhow::Result<String> {
    match scenario::source(name) {
        Some(text) => Ok(text.to_owned()),
        None => std::fs::read_to_string(name).with_context(|| format!("cannot read {name}")),
    }
}

/// Seeds that this build runs otherwise than the one that wrote the results.
fn differences(stored: &Stored, report: &run::Report) -> Vec<String> {
    let differ: Vec<String> = stored
        .runs
        .iter()
        .zip(&report.runs)
        .filter(|(before, now)| before.trace != now.trace)
        .map(|(before, _)| before.seed.to_string())
        .collect();
    if differ.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "This build runs seeds {} otherwise than the build that wrote the results: the figures here are this build's.",
        differ.join(", ")
    )]
}
