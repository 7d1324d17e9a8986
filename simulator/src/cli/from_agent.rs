//! `replay --from-agent`: a verdict of a real agent's history, run again.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use heartsay_simulator::agent_history::{AgentHistory, Case, Cause, Known};
use heartsay_simulator::scenario::{self, Scenario, Span};
use serde::Serialize;

use super::run::with_bar;
use super::{Outcome, Output, Overrides};

#[derive(clap::Args)]
pub(super) struct FromAgent {
    /// A verdict of this history instead: what `heartsay history -o jsonl` prints, or `history.json` of `heartsay bundle`; - reads
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "seed", "log", "packets", "only", "from", "until"])]
    from_agent: Option<PathBuf>,
    /// With --from-agent: this verdict of its list; else the last by silence
    #[arg(long, value_name = "NUMBER", requires = "from_agent")]
    case: Option<usize>,
    /// With --from-agent: how many runs
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..), requires = "from_agent")]
    seeds: u64,
    /// With --from-agent: print the scenario, to go on with by `run` and `report`
    #[arg(long, requires = "from_agent")]
    show: bool,
    /// With --from-agent: how to print
    #[arg(long, short, value_enum, default_value_t = Output::Table, requires = "from_agent")]
    output: Output,
}

impl FromAgent {
    pub(super) fn go(&self, overrides: &Overrides) -> anyhow::Result<Outcome> {
        let history = AgentHistory::read(&self.text()?).with_context(|| self.name())?;
        let cases = history.cases();
        let (number, case) = self.chosen(&cases)?;
        let Some(text) = case.scenario() else {
            bail!(
                "verdict {number}, {}: {}; nothing can be rebuilt from that, or it takes more than the hour that is run again at most",
                case.member,
                words(case)
            );
        };
        let sets = overrides.sets();
        let scenario = scenario::parse(&text, &sets)?;
        if self.show {
            put!("{}", with(&text, &sets));
            return Ok(Outcome::Well);
        }
        let again = Again::of(&scenario, case, self.seeds)?;
        match self.output {
            Output::Json => say!("{}", serde_json::to_string_pretty(&again)?),
            Output::Table => {
                list(&history, &cases, number);
                rebuilt(case, &scenario, &sets);
                again.print();
                say!(
                    "\nThe scenario, to go on with: the same command with --show > FILE, then heartsay-sim report FILE --out page.html"
                );
            }
        }
        Ok(Outcome::Well)
    }

    fn name(&self) -> String {
        self.from_agent.as_deref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    fn text(&self) -> anyhow::Result<String> {
        let Some(path) = &self.from_agent else {
            bail!("neither a scenario with --seed nor --from-agent is given")
        };
        let mut text = String::new();
        if path.as_os_str() == "-" {
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
        } else {
            text = std::fs::read_to_string(path).with_context(|| self.name())?;
        }
        Ok(text)
    }

    /// The number of the case, from 1, and the case.
    fn chosen<'a>(&self, cases: &'a [Case]) -> anyhow::Result<(usize, &'a Case)> {
        let numbered = || cases.iter().enumerate().map(|(i, case)| (i + 1, case));
        match self.case {
            Some(number) => match numbered().find(|(n, _)| *n == number) {
                Some(found) => Ok(found),
                None => bail!("{} has verdicts 1 to {}", self.name(), cases.len()),
            },
            None => {
                let silent = |(_, case): &(usize, &Case)| matches!(case.cause, Cause::Silence { .. });
                match numbered().rfind(silent).or_else(|| numbered().next_back()) {
                    Some(found) => Ok(found),
                    None => bail!("{} has no verdict: no entry member-down", self.name()),
                }
            }
        }
    }
}

/// What came of running it again.
#[derive(Debug, Serialize)]
struct Again {
    member: String,
    /// Of the verdict.
    time: String,
    nodes: usize,
    /// Members that were struck together.
    struck: usize,
    runs: usize,
    /// From the beginning of the silence, as the agent saw it; `null`: the verdict was not one by silence.
    agent_down_seconds: Option<f64>,
    /// The same for the simulator, with the setting of then.
    simulated: Tried,
    /// Other settings that were tried, the shortest first.
    others: Vec<Tried>,
    /// The shortest acceptable pause that was tried and gave no verdict in any run.
    held_seconds: Option<f64>,
}

/// One setting.
#[derive(Clone, Debug, Serialize)]
struct Tried {
    acceptable_pause_seconds: f64,
    /// Runs in which a member that was struck was called down.
    down_in: usize,
    runs: usize,
    /// From its beginning until the first observer said suspect: the quickest, the median and the slowest of those runs.
    suspect_seconds: Option<[f64; 3]>,
    /// The same for down.
    down_seconds: Option<[f64; 3]>,
}

impl Again {
    fn of(scenario: &Scenario, case: &Case, seeds: u64) -> anyhow::Result<Self> {
        let nodes = scenario.nodes;
        let setting = scenario.protocol.config(nodes).map_err(|why| anyhow::anyhow!(why))?.acceptable_pause;
        let attempt = |pause| Tried::of(scenario, pause, seeds);
        let simulated = attempt(setting)?;
        let mut others = Vec::new();
        if let Cause::Silence { lasted, ended: true, .. } = case.cause
            && simulated.down_in > 0
        {
            // A pause of the length of the silence would do but for the time that questions take.
            let (mut gives, mut holds) = (setting, to_the_step(setting.max(lasted) + SLACK));
            others.push(attempt(holds)?);
            if others.iter().all(|tried| tried.down_in == 0) {
                while holds - gives > STEP {
                    let middle = to_the_step(gives + (holds - gives) / 2);
                    if middle <= gives || middle >= holds {
                        break;
                    }
                    let tried = attempt(middle)?;
                    if tried.down_in == 0 {
                        holds = middle;
                    } else {
                        gives = middle;
                    }
                    others.push(tried);
                }
            }
            others.sort_by(|a, b| a.acceptable_pause_seconds.total_cmp(&b.acceptable_pause_seconds));
        }
        let held =
            others.iter().filter(|tried| tried.down_in == 0).map(|tried| tried.acceptable_pause_seconds);
        let held_seconds = held.min_by(f64::total_cmp);
        Ok(Self {
            member: case.member.clone(),
            time: case.at.to_string(),
            nodes,
            struck: case.struck.len(),
            runs: simulated.runs,
            agent_down_seconds: match case.cause {
                Cause::Silence { until_down, .. } => Some(until_down.as_secs_f64()),
                Cause::Refused | Cause::LastWords | Cause::Unfit | Cause::Unknown => None,
            },
            simulated,
            others,
            held_seconds,
        })
    }

    fn print(&self) {
        say!("\nwhat the detector does");
        if let Some(seconds) = self.agent_down_seconds {
            say!("  agent       down {seconds:.2} s after the silence began, as its accusers put it");
        }
        let Tried { down_in, runs, .. } = self.simulated;
        say!("  simulator   {}", self.simulated.words());
        if down_in == 0 {
            say!(
                "\nThe simulator does not give this verdict in {runs} runs. What gave it is not in the history: loss of the network \
                 (--set network.loss=0.1), a longer silence than its accusers saw, a busy host."
            );
            return;
        }
        if self.others.is_empty() {
            say!("\nNo acceptable_pause would have held it in: that life did not come back.");
            return;
        }
        say!("\nwith another acceptable_pause");
        for tried in std::iter::once(&self.simulated).chain(&self.others) {
            let pause = Span(Duration::from_secs_f64(tried.acceptable_pause_seconds));
            say!("  {:<11} down in {} of {runs} runs", pause.to_string(), tried.down_in);
        }
        match self.held_seconds {
            Some(held) => say!(
                "\nWith acceptable_pause = \"{}\" the verdict would not have come, in any of {runs} runs. A host that is gone for good is \
                 then down that much later.",
                Span(Duration::from_secs_f64(held))
            ),
            None => say!("\nNo acceptable_pause that was tried would have held it in."),
        }
    }
}

impl Tried {
    fn of(scenario: &Scenario, pause: Duration, seeds: u64) -> anyhow::Result<Self> {
        let mut scenario = scenario.clone();
        scenario.protocol.acceptable_pause = Some(Span(pause));
        let seeds: Vec<u64> = (1..=seeds).collect();
        let report = with_bar(&scenario, &seeds, &[])?;
        let first = |times: &[f32]| {
            times.iter().copied().filter(|seconds| *seconds >= 0.0).min_by(f32::total_cmp).map(f64::from)
        };
        let (mut suspects, mut downs) = (Vec::new(), Vec::new());
        for run in &report.runs {
            let episodes = &run.measures.episodes;
            let earliest = |of: &dyn Fn(&heartsay_simulator::measure::Episode) -> Option<f64>| {
                episodes.iter().filter_map(of).min_by(f64::total_cmp)
            };
            suspects.extend(earliest(&|episode| first(&episode.suspect)));
            downs.extend(earliest(&|episode| first(&episode.down)));
        }
        Ok(Self {
            acceptable_pause_seconds: pause.as_secs_f64(),
            down_in: downs.len(),
            runs: report.runs.len(),
            suspect_seconds: spread(suspects),
            down_seconds: spread(downs),
        })
    }

    fn words(&self) -> String {
        let of = |what: &str, times: Option<[f64; 3]>| match times {
            Some([low, median, high]) => format!("{what} {median:.2} s ({low:.2} to {high:.2})"),
            None => format!("never {what}"),
        };
        let (suspect, down) = (of("suspect", self.suspect_seconds), of("down", self.down_seconds));
        format!("{suspect}, {down} after it began, in {} of {} runs", self.down_in, self.runs)
    }
}

fn list(history: &AgentHistory, cases: &[Case], chosen: usize) {
    let (entries, ends) = history.extent();
    if let Some((first, last)) = ends {
        say!("{entries} entries, {first:.0} to {last:.0}");
    }
    let from = chosen.saturating_sub(LISTED / 2).min(cases.len().saturating_sub(LISTED));
    for (i, case) in cases.iter().enumerate().skip(from).take(LISTED) {
        let mark = if i + 1 == chosen { ">" } else { " " };
        say!("{mark} {:<4} {:.3}  {} down, {}", i + 1, case.at, case.member, words(case));
    }
    if cases.len() > LISTED {
        say!("  … {} verdicts in all; --case NUMBER takes another", cases.len());
    }
}

fn rebuilt(case: &Case, scenario: &Scenario, sets: &[String]) {
    let Known { nodes: (_, why), acceptable_pause, phi_threshold, heartbeats, rtt, links_down, gap } =
        &case.known;
    let unknown = |what: Option<String>| what.unwrap_or_else(|| "not kept: the default".to_owned());
    let span = |time: &Duration| format!("{}s", (time.as_secs_f64() * 1e6).round() / 1e6);
    say!("\nrebuilt");
    say!("  members            {} ({why})", scenario.nodes);
    say!("  acceptable_pause   {}", unknown(acceptable_pause.as_ref().map(span)));
    say!("  φ that asks        {}", unknown(phi_threshold.map(|phi| phi.to_string())));
    let rhythm = |(mean, samples): &(Duration, u32)| format!("every {} ({samples} steps)", span(mean));
    say!("  heartbeats         {}", unknown(heartbeats.as_ref().map(rhythm)));
    say!("  round trip         {}", unknown(rtt.as_ref().map(span)));
    say!("  trouble            {}", trouble(case));
    if !sets.is_empty() {
        say!("  changed by you     {}", sets.join(", "));
    }
    say!("not rebuilt");
    say!(
        "  loss of the network (none is assumed; --set network.loss=0.05), the profile (by the round trip), how busy hosts were,"
    );
    say!(
        "  what other agents saw, and when in a round it fell silent: up to one heartbeat before its first accuser; each run draws that"
    );
    if *links_down > 0 {
        say!("  {links_down} direct paths were down within half a minute of it, as the agent saw it");
    }
    if *gap {
        say!("  events are missing within half a minute of it");
    }
}

fn trouble(case: &Case) -> String {
    let who = match case.struck.len() {
        1 => case.member.clone(),
        n => {
            let names: Vec<&str> = case.struck.iter().map(String::as_str).take(5).collect();
            format!("{n} members together ({}{})", names.join(", "), if n > 5 { ", …" } else { "" })
        }
    };
    match case.cause {
        Cause::Silence { lasted, ended: true, .. } => format!(
            "{who}: silent for {:.2} s, then there again; a process that stands still or a cable, to the detector the same",
            lasted.as_secs_f64()
        ),
        Cause::Silence { ended: false, .. } => format!("{who}: silent for good"),
        Cause::Refused => format!("{who}: its process is gone, its host says that the port is closed"),
        Cause::LastWords => format!("{who}: its process is gone, its host says so"),
        Cause::Unfit | Cause::Unknown => who,
    }
}

fn words(case: &Case) -> String {
    match case.cause {
        Cause::Silence { lasted, ended: true, until_down } => format!(
            "silent for {:.2} s by then; there again after {:.2} s",
            until_down.as_secs_f64(),
            lasted.as_secs_f64()
        ),
        Cause::Silence { until_down, .. } => {
            format!("silent for {:.2} s by then, and that life did not come back", until_down.as_secs_f64())
        }
        Cause::Refused => "its host refused datagrams".to_owned(),
        Cause::LastWords => "its host said that the process had ended".to_owned(),
        Cause::Unfit => "it was found unfit though it ran: its links lost too much".to_owned(),
        Cause::Unknown => "its evidence is not kept".to_owned(),
    }
}

/// The text of the scenario, with what was changed in it as a comment.
fn with(text: &str, sets: &[String]) -> String {
    if sets.is_empty() {
        text.to_owned()
    } else {
        format!("# run with --set {}\n{text}", sets.join(" --set "))
    }
}

/// The least, the median and the greatest.
fn spread(mut times: Vec<f64>) -> Option<[f64; 3]> {
    times.sort_by(f64::total_cmp);
    Some([*times.first()?, *times.get(times.len() / 2)?, *times.last()?])
}

fn to_the_step(time: Duration) -> Duration {
    let steps = (time.as_secs_f64() / STEP.as_secs_f64()).round();
    STEP.mul_f64(steps)
}

/// Above the length of a silence: a verdict by silence comes that late at most.
const SLACK: Duration = Duration::from_secs(2);
/// Between settings that are told apart.
const STEP: Duration = Duration::from_millis(100);
/// Verdicts that are listed.
const LISTED: usize = 12;
