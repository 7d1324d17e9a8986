//! `swarm`: scenarios that seeds draw.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::anyhow;
use heartsay_simulator::liar::Lie;
use heartsay_simulator::measure::Spread;
use heartsay_simulator::run::{self, Run};
use heartsay_simulator::scenario::{self, Span};
use heartsay_simulator::swarm::{self, Shape, Theme};
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
    /// With `--only cuts`: only seeds that draw this shape
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    /// With `--only hostile`: only these lies, as in accuse,verdict
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true)]
    lies: Vec<Lie>,
    /// Members; default: drawn too
    #[arg(long, short)]
    nodes: Option<usize>,
    /// The first seed; the next ones follow
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Stop before this seed, if the time has not run out
    #[arg(long)]
    to: Option<u64>,
    /// Stop after so many failures
    #[arg(long, default_value_t = 5)]
    failures: usize,
    /// Print each failing scenario's text
    #[arg(long)]
    show: bool,
    /// With `--only cuts` or `hostile`: print no violations, only the table at the end
    #[arg(long)]
    table: bool,
}

impl Swarm {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        if self.shape.is_some() && self.only != Theme::Cuts {
            return Err(anyhow!("--shape needs --only cuts"));
        }
        if self.table && !matches!(self.only, Theme::Cuts | Theme::Hostile) {
            return Err(anyhow!("--table needs --only cuts or hostile"));
        }
        if !self.lies.is_empty() && self.only != Theme::Hostile {
            return Err(anyhow!("--lies needs --only hostile"));
        }
        let watch = Stopwatch::start();
        let batch = rayon::current_num_threads() * 4;
        let (mut next, mut scenarios, mut failed, mut compared) = (self.from, 0, 0, 0);
        let (mut tallies, mut harms) = (Tallies::default(), Harms::default());
        while watch.elapsed() < self.lasts.0 && failed < self.failures {
            let end = self.to.unwrap_or(u64::MAX);
            let seeds: Vec<u64> = (next..end).filter(|seed| self.draws(*seed)).take(batch).collect();
            let Some(last) = seeds.last() else { break };
            next = last + 1;
            scenarios += seeds.len();
            let runs: anyhow::Result<Vec<Run>> = seeds.par_iter().map(|seed| self.one(*seed)).collect();
            for run in runs? {
                compared += run.compared;
                if self.only == Theme::Cuts {
                    tallies.add(swarm::shape(run.seed, self.nodes), &run);
                }
                if self.only == Theme::Hostile {
                    harms.add(swarm::hostile::lies(run.seed, self.nodes, &self.lies), &run);
                }
                if run.violations.count > 0 {
                    failed += 1;
                    self.failure(&run);
                }
            }
            Out::new().flush()?;
        }
        tallies.print();
        if self.table && self.only == Theme::Hostile {
            harms.print();
        }
        say!("{scenarios} scenarios, {failed} failed; {compared} steps compared with the specification");
        Ok(if failed == 0 { Outcome::Well } else { Outcome::Broken })
    }

    /// Whether what this seed draws is asked for.
    fn draws(&self, seed: u64) -> bool {
        self.shape.is_none_or(|shape| swarm::shape(seed, self.nodes).0 == shape)
    }

    fn failure(&self, run: &Run) {
        if self.table {
            return;
        }
        say!("seed {} fails:", run.seed);
        table::violations(run);
        let nodes = self.nodes.map_or_else(String::new, |n| format!(" --nodes {n}"));
        let name = self.only.word();
        let (lies, guilty) = (self.lies_of(run.seed), self.guilty(run));
        let words =
            if self.lies.is_empty() { String::new() } else { format!(" --lies {}", words(&self.lies)) };
        if self.only == Theme::Hostile {
            say!("  lies: {}; alone it fails too: {}", words_or_none(&lies), words_or_none(&guilty));
        }
        say!("  replay: heartsay-sim replay {name} --seed {}{nodes}{words} --log", run.seed);
        if self.show {
            let text = match self.only {
                Theme::Hostile => {
                    let least = guilty.first().map_or(lies.as_slice(), std::slice::from_ref);
                    swarm::hostile::telling(run.seed, run_nodes(run.seed, self.nodes), least)
                }
                Theme::All | Theme::Quorum | Theme::Fence | Theme::Cuts => {
                    swarm::text(run.seed, self.only, self.nodes)
                }
            };
            say!("{text}");
        }
    }

    fn lies_of(&self, seed: u64) -> Vec<Lie> {
        swarm::hostile::lies(seed, self.nodes, &self.lies).0
    }

    /// Of several lies those that break the same rule when the same seed tells them alone.
    fn guilty(&self, run: &Run) -> Vec<Lie> {
        if self.only != Theme::Hostile {
            return Vec::new();
        }
        let lies = self.lies_of(run.seed);
        let nodes = run_nodes(run.seed, self.nodes);
        let fails = |lie: &Lie| {
            let text = swarm::hostile::telling(run.seed, nodes, std::slice::from_ref(lie));
            let scenario = scenario::parse(&text, &[]).ok();
            let alone = scenario.and_then(|scenario| run::run_one(&scenario, run.seed, None).ok());
            alone.is_some_and(|alone| run.violations.rules.keys().any(|rule| alone.violations.broke(rule)))
        };
        lies.into_par_iter().filter(fails).collect()
    }

    fn one(&self, seed: u64) -> anyhow::Result<Run> {
        let scenario = if self.only == Theme::Hostile {
            swarm::draw_lies(seed, self.nodes, &self.lies)?
        } else {
            swarm::draw(seed, self.only, self.nodes)?
        };
        run::run_one(&scenario, seed, None).map_err(|error| anyhow!(error))
    }
}

fn run_nodes(seed: u64, nodes: Option<usize>) -> usize {
    swarm::hostile::lies(seed, nodes, &[]).1
}

fn words(lies: &[Lie]) -> String {
    lies.iter().map(|lie| lie.word()).collect::<Vec<_>>().join(",")
}

fn words_or_none(lies: &[Lie]) -> String {
    if lies.is_empty() { "none".to_owned() } else { words(lies) }
}

/// What the runs of each lie and size came to; several lies in one run count together.
#[derive(Default)]
struct Harms(BTreeMap<(Option<Lie>, usize), Harmed>);

#[derive(Default)]
struct Harmed {
    seeds: u64,
    /// Seeds that broke some rule.
    failed: u64,
    /// Of each rule: seeds that broke it, the first of them, and the longest harm in seconds where it lasts.
    rules: BTreeMap<&'static str, (u64, u64, f64)>,
}

impl Harms {
    fn add(&mut self, (lies, nodes): (Vec<Lie>, usize), run: &Run) {
        let alone = (lies.len() == 1).then(|| lies.first().copied()).flatten();
        let harmed = self.0.entry((alone, nodes)).or_default();
        harmed.seeds += 1;
        harmed.failed += u64::from(run.violations.count > 0);
        for rule in run.violations.rules.keys() {
            let (seeds, _, longest) = harmed.rules.entry(rule).or_insert((0, run.seed, 0.0));
            *seeds += 1;
            *longest = longest.max(run.harm.get(rule).copied().unwrap_or_default());
        }
    }

    /// A row for each lie and size.
    fn print(&self) {
        say!(
            "{:<11}{:>7}{:>7}{:>7}  broken: seeds (the first), the longest",
            "lie",
            "nodes",
            "seeds",
            "failed"
        );
        for ((lie, nodes), harmed) in &self.0 {
            let rules: Vec<String> = harmed
                .rules
                .iter()
                .map(|(rule, (seeds, first, longest))| {
                    let lasts = if *longest > 0.0 { format!(", {longest:.1} s") } else { String::new() };
                    format!("{rule} {seeds} ({first}){lasts}")
                })
                .collect();
            let lie = lie.map_or("several", Lie::word);
            let line =
                format!("{lie:<11}{nodes:>7}{:>7}{:>7}  {}", harmed.seeds, harmed.failed, rules.join("; "));
            say!("{}", line.trim_end());
        }
    }
}

/// What the runs of each shape and size came to.
#[derive(Default)]
struct Tallies(BTreeMap<(Shape, usize), Tally>);

#[derive(Default)]
struct Tally {
    seeds: u64,
    /// Seeds that broke some rule.
    failed: u64,
    /// Of each rule: seeds that broke it, and the first of them.
    rules: BTreeMap<&'static str, (u64, u64)>,
    /// Seconds to one roster, and changes that never came to one.
    one: (Vec<f32>, u64),
    /// Changes of the network after which no member held quorum in the end.
    unheld: u64,
    /// Seconds for which rosters differed after the bound.
    late: f32,
    /// Seconds until a deaf or a mute member knew it, and those that never did.
    known: (Vec<f32>, u64),
    /// Changes of mind about a member after a change of the network, of the most fickle holder: how many members had
    /// any, how many more than one, and the first seed of these.
    changes: (u64, u64, Option<u64>),
    most_changes: u16,
}

impl Tallies {
    fn add(&mut self, group: (Shape, usize), run: &Run) {
        let tally = self.0.entry(group).or_default();
        tally.seeds += 1;
        tally.failed += u64::from(run.violations.count > 0);
        for rule in run.violations.rules.keys() {
            tally.rules.entry(rule).or_insert((0, run.seed)).0 += 1;
        }
        let rosters = &run.measures.rosters;
        tally.one.0.extend(&rosters.one);
        tally.one.1 += rosters.never;
        tally.unheld += rosters.unheld;
        tally.late = rosters.late.iter().copied().fold(tally.late, f32::max);
        tally.known.0.extend(rosters.deaf.iter().chain(&rosters.mute));
        tally.known.1 += rosters.deaf_unaware + rosters.mute_unaware;
        tally.most_changes = rosters.status_changes.iter().copied().fold(tally.most_changes, u16::max);
        let more = rosters.status_changes.iter().filter(|times| **times > 1).count();
        tally.changes.0 += rosters.status_changes.len() as u64;
        tally.changes.1 += more as u64;
        if more > 0 {
            tally.changes.2.get_or_insert(run.seed);
        }
    }

    /// A row for each shape and size; nothing where there is none.
    fn print(&self) {
        if self.0.is_empty() {
            return;
        }
        say!(
            "{:<11}{:>7}{:>7}{:>7}  {:^26}{:>8}{:>11}  {:^20}  {:<26}broken: seeds (the first)",
            "shape",
            "nodes",
            "seeds",
            "failed",
            "one roster: p99 max never",
            "unheld",
            "late: max",
            "known: max never",
            "changes: max, over 1 of"
        );
        for ((shape, nodes), tally) in &self.0 {
            let (one, known) = (spread(&tally.one), spread(&tally.known));
            let rules: Vec<String> = tally
                .rules
                .iter()
                .map(|(rule, (seeds, first))| format!("{rule} {seeds} ({first})"))
                .collect();
            let line = format!(
                "{:<11}{nodes:>7}{:>7}{:>7}  {:>9}{:>9}{:>8}{:>8}{:>11}  {:>10}{:>10}  {:<26}{}",
                shape.to_string(),
                tally.seeds,
                tally.failed,
                table::number(one.p99),
                table::number(one.max),
                one.missing,
                tally.unheld,
                table::number(f64::from(tally.late)),
                table::number(known.max),
                known.missing,
                tally.changes(),
                rules.join(", ")
            );
            say!("{}", line.trim_end());
        }
    }
}

impl Tally {
    fn changes(&self) -> String {
        let (all, more, first) = self.changes;
        let seed = first.map_or_else(String::new, |seed| format!(" ({seed})"));
        format!("{}, {more} of {all}{seed}", self.most_changes)
    }
}

fn spread((values, missing): &(Vec<f32>, u64)) -> Spread {
    Spread::of(values.iter().copied().map(f64::from), *missing)
}
