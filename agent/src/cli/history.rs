//! `history [NAME]`: what happened in the last days, also before a restart of the agent.

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;

use super::completions::MEMBER;
use super::exit::{Exit, say};
use super::moment::moment;
use super::output::{Output, count, fit_to_show};
use super::table::finish;
use super::watch::words;
use crate::client::{Client, HistoryFilter};
use crate::recorder::stamp;
use crate::types::{HISTORY_TYPES, History, HistoryEntry};

/// Arguments of `history`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Show {
    /// Only what is about this member.
    #[arg(value_hint = MEMBER)]
    name: Option<String>,
    /// Not before: 10m, 2h or 3d ago, 14:03, 2026-11-20 14:03, or RFC 3339; in UTC.
    #[arg(long, allow_hyphen_values = true, value_parser = moment, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Not after, in the same forms.
    #[arg(long, allow_hyphen_values = true, value_parser = moment, value_name = "TIME")]
    until: Option<Timestamp>,
    /// The last so many entries.
    #[arg(short, long = "number", default_value_t = USUAL, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    number: u32,
    /// Only entries of this type; several are any of them.
    #[arg(long = "type", value_delimiter = ',', value_parser = PossibleValuesParser::new(HISTORY_TYPES), value_name = "TYPE")]
    types: Vec<String>,
}

impl Show {
    /// Prints the entries; "no" where there is none.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since > until
        {
            anyhow::bail!("--since {since} is after --until {until}");
        }
        let answer = client.get(&self.filter().path()).await?;
        let history: History = client.read(&answer)?;
        output.show_list(&answer, Some("entries"), |history| table(&history, output))?;
        if output.is_text() {
            for remark in remarks(&fit_to_show(&answer)?) {
                say(&remark);
            }
        }
        Ok(if history.entries.is_empty() { Exit::No } else { Exit::Done })
    }

    fn filter(&self) -> HistoryFilter {
        let all = HistoryFilter::new().limit(self.number);
        let of = self.name.iter().fold(all, |all, name| all.member(name));
        let from = self.since.iter().fold(of, |of, since| of.since(&stamp(*since)));
        let to = self.until.iter().fold(from, |from, until| from.until(&stamp(*until)));
        self.types.iter().fold(to, |all, kind| all.kind(kind))
    }
}

fn table(history: &History, output: &Output) -> String {
    let mut table = output.table((!history.entries.is_empty()).then_some(&["TIME", "WHAT"]));
    for entry in &history.entries {
        table.add_row([to_the_millisecond(&entry.event.time), sentence(entry, output)]);
    }
    finish(&table)
}

/// What one entry says.
pub(super) fn sentence(entry: &HistoryEntry, output: &Output) -> String {
    match entry.left_out {
        Some(_) => entry.event.reason.clone().unwrap_or_default(),
        None => words(&entry.event, output),
    }
}

/// `2026-11-20T13:45:53.781Z`: the microseconds of a stamp tell people nothing.
pub(super) fn to_the_millisecond(stamp: &str) -> String {
    stamp.parse::<Timestamp>().map_or_else(|_| stamp.to_owned(), |at| format!("{at:.3}"))
}

fn remarks(history: &History) -> Vec<String> {
    let mut remarks = Vec::new();
    let entries = count(history.entries.len(), "entry", "entries");
    remarks.push(match (&history.oldest, history.more) {
        (_, true) => format!("the last {entries}; there are earlier ones, which a larger -n shows"),
        (Some(oldest), false) => format!("{entries}; the history of {} begins at {oldest}", history.me),
        (None, false) => format!("{entries}; the history of {} is empty", history.me),
    });
    if history.kept == "memory" {
        remarks.push(format!(
            "the state directory of {} takes no writes: what came since then is kept in memory only, and ends with the agent",
            history.me
        ));
    }
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    if history.left_out > 0 {
        let events = count(number(history.left_out), "event is", "events are");
        remarks.push(format!("{events} left out just now: more come than are kept, or than the disk takes"));
    }
    if history.damaged > 0 {
        let entries = count(number(history.damaged), "entry is", "entries are");
        remarks.push(format!("{entries} damaged, as by a power cut, and not shown"));
    }
    remarks
}

/// As the agent has it.
const USUAL: u32 = 1000;

const HELP: &str = "\
The agent keeps what happened in the last seven days, 8 MiB at most, in its state directory; `history = false` turns it \
off. Members that were there already when it started are not told one by one. Where more came than is kept, an entry \
says how many are missing. Verdicts have their evidence with them: `-o json` shows it, and `heartsay why NAME --at TIME` explains it.

Exit codes:
  0    there are entries
  1    the agent keeps no history, or refused
  3    no agent
  4    there is no such entry";
