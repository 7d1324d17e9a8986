//! `results`: the experiments S1 to S12 and Q, one line each.

mod child;
mod experiments;
mod measured;

use std::num::NonZero;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use heartsay_simulator::scenario::Span;
use serde::Serialize;

use super::{Outcome, Output, bench::Stopwatch};
use child::Ended;
use experiments::{Experiments, Row};
use measured::Result;

/// Run the experiments S1 to S12 and Q (quorum) and write what came out, as a page of docs/results
///
/// Each line of the page is one command of this program, named in its last column. A line is printed as soon as it is there.
/// Broken checks and limits are results too: they do not change the exit code. All together take hours; --only, --skip and
/// --seeds make it less.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Results {
    /// Only the experiments of this name, as in S1 or "S8 (a)"; again for more
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Not those whose name or command contains this, as in "nodes 10000"; again for more
    #[arg(long, value_name = "TEXT")]
    skip: Vec<String>,
    /// Most seeds of one experiment; most have ten anyway
    #[arg(long, short, default_value_t = 100)]
    seeds: u64,
    /// Give up a command that takes longer than this in real time, and say so in its line
    #[arg(long, value_name = "TIME", default_value = "1h")]
    limit: Span,
    /// Print names and commands, and run nothing
    #[arg(long)]
    list: bool,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Results {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        ensure!(self.seeds > 0, "--seeds 0: nothing to run");
        let chosen = Experiments::shipped()?.chosen(&self.only, &self.skip);
        ensure!(!chosen.is_empty(), "no experiment is called so; --list names them");
        if self.list {
            self.names(&chosen);
            return Ok(Outcome::Well);
        }
        let about = About::now(self.seeds, self.limit);
        let table = self.output == Output::Table;
        if table {
            say!("{}", about.head());
        }
        let count = chosen.row.len() + chosen.text.iter().map(|text| text.run.len()).sum::<usize>();
        let mut numbers = 1..;
        let mut announce = |what: &str, command: &str| {
            eprintln!("{} of {count}  {what}: {command}", numbers.next().unwrap_or_default());
        };
        let mut lines = Vec::new();
        if table && !chosen.row.is_empty() {
            say!("{TABLE}");
        }
        for row in &chosen.row {
            announce(&row.name, &row.command(self.seeds));
            let line = self.line(row)?;
            if table {
                say!("{}", line.markdown());
            }
            lines.push(line);
        }
        let mut texts = Vec::new();
        for text in &chosen.text {
            if table {
                say!("\n## {}", text.name);
            }
            for command in &text.run {
                announce(&text.name, command);
                let said = child::run(command, &[], self.limit.0)?.text(self.limit);
                if table {
                    say!("\n```text\n{said}\n```");
                }
                texts.push(Text { name: text.name.clone(), command: command.clone(), said });
            }
        }
        if !table {
            let page = Page { schema: SCHEMA, about, rows: lines, texts };
            say!("{}", serde_json::to_string_pretty(&page)?);
        }
        Ok(Outcome::Well)
    }

    fn names(&self, chosen: &Experiments) {
        for row in &chosen.row {
            say!("{:<30} heartsay-sim {}", row.name, row.command(self.seeds));
        }
        for text in &chosen.text {
            text.run.iter().for_each(|command| say!("{:<30} heartsay-sim {command}", text.name));
        }
    }

    fn line(&self, row: &Row) -> anyhow::Result<Line> {
        let command = row.command(self.seeds);
        let watch = Stopwatch::start();
        let lenient: &[&str] = if command.starts_with("run ") { &["--lenient"] } else { &[] };
        let ended = child::run(&command, &[lenient, &["-o", "json"]].concat(), self.limit.0)?;
        let seconds = watch.elapsed().as_secs();
        let (result, failed) = match ended {
            Ended::Late => (None, Some("not finished in time".to_owned())),
            Ended::Said { out, code } => match measured::read(row.measure, &out) {
                Ok(result) => (Some(result), None),
                Err(_) => (None, Some(format!("failed with exit code {code}"))),
            },
        };
        Ok(Line { name: row.name.clone(), beside: row.beside.clone(), command, seconds, failed, result })
    }
}

/// The whole page as JSON.
#[derive(Serialize)]
struct Page {
    schema: &'static str,
    #[serde(flatten)]
    about: About,
    rows: Vec<Line>,
    texts: Vec<Text>,
}

/// Of what, when and how the results are.
#[derive(Serialize)]
struct About {
    date: String,
    commit: String,
    cores: usize,
    seeds: u64,
    limit: Span,
}

/// One row and what came of it.
#[derive(Serialize)]
struct Line {
    name: String,
    beside: String,
    command: String,
    seconds: u64,
    /// Why there is no result.
    failed: Option<String>,
    #[serde(flatten)]
    result: Option<Result>,
}

/// One command whose output is shown as it is.
#[derive(Serialize)]
struct Text {
    name: String,
    command: String,
    #[serde(rename = "text")]
    said: String,
}

impl About {
    fn now(seeds: u64, limit: Span) -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self { date: today(), commit: commit(), cores, seeds, limit }
    }

    fn head(&self) -> String {
        let Self { date, commit, cores, .. } = self;
        let words: Vec<String> = std::env::args().skip(1).map(quoted).collect();
        format!(
            "# Results of {date}\n\n{commit}, {cores} cores, by `heartsay-sim {}`. Times in\n{LEGEND}\n",
            words.join(" ")
        )
    }
}

impl Line {
    fn markdown(&self) -> String {
        let Self { name, beside, command, seconds, .. } = self;
        let told = match &self.result {
            Some(Result { measured, nodes, seeds, checks, broken, .. }) => {
                let broken = if broken.is_empty() { String::new() } else { format!(" {broken}") };
                format!("{measured} | {beside} | {nodes} | {seeds} | {checks} |{broken}")
            }
            None => format!("{} | {beside} | | | |", self.failed.as_deref().unwrap_or_default()),
        };
        format!("| {name} | {told} | {seconds} | `{command}` |")
    }
}

/// The commit that the working directory is at, which is what is measured if the program was built from it.
fn commit() -> String {
    let git = |arguments: &[&str]| Command::new("git").args(arguments).output().context("no git");
    let version = || format!("Version {}", env!("CARGO_PKG_VERSION"));
    let Ok(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return version() };
    if !head.status.success() {
        return version();
    }
    let clean = git(&["diff", "--quiet", "HEAD"]).is_ok_and(|diff| diff.status.success());
    let head = String::from_utf8_lossy(&head.stdout);
    format!("Commit {}{}", head.trim(), if clean { "" } else { ", with changes" })
}

#[expect(
    clippy::disallowed_methods,
    reason = "dates the page; what runs in the simulator has a clock of its own"
)]
fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days since 1970-01-01 (Hinnant, *chrono-compatible low-level date algorithms*).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months count from March, so that the leap day comes last.
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn quoted(word: String) -> String {
    if word.contains([' ', '(', ')']) { format!("'{word}'") } else { word }
}

const EXAMPLES: &str = "Examples:
  heartsay-sim results --list
  heartsay-sim results --only S1 --only S2 --seeds 3
  heartsay-sim results --skip 'nodes 10000' --limit 10m > docs/results/2026-11-30.md";
const LEGEND: &str = "virtual seconds; *FP*: healthy members called down, per observer (*FP-*: by healthy observers). Bytes with 28 B
of headers per datagram. Each row is `heartsay-sim` with the words in its last column; the same seed gives the
same figures. *Real s* is what the row took here, on all cores.";
const TABLE: &str = "| | measured | beside | N | seeds | checks | limits broken | real s | command |
|---|---|---|---|---|---|---|---|---|";
/// Layout of the JSON.
const SCHEMA: &str = "heartsay-sim-results/1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_785), (2026, 11, 28));
    }
}
