//! `members` and `phi`: all members at a glance.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use unicode_width::UnicodeWidthStr as _;

use super::exit::{Exit, say};
use super::output::{Output, age, brief, count, fit_to_show, natural, span, status_cell};
use super::table::{Cell, GAP, cut, finish, squeeze};
use crate::api::tag::WantedTag;
use crate::client::{Client, segment};
use crate::types::{Load, Member, Members};
use crate::words::few;

/// Arguments of `members`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct List {
    /// Only members with this status; several are any of them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS")]
    status: Vec<Status>,
    /// Only members with this tag, whatever its value unless one is given; several are all of them.
    #[arg(long, value_name = "KEY[=VALUE]")]
    tag: Vec<WantedTag>,
    /// Only members whose agent has this version.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Only members that tell a load of at most this many percent of their cores.
    #[arg(long, value_name = "PERCENT")]
    max_load: Option<u32>,
    /// Which columns, in this order.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "COLUMN", default_values_t = COLUMNS)]
    columns: Vec<Column>,
    /// Order by this column, numbers as numbers [default: problems first, then by name].
    #[arg(long, value_enum, value_name = "COLUMN")]
    sort: Option<Column>,
    /// No first line with the names of the columns, and no sum at the end.
    #[arg(long)]
    no_headers: bool,
}

/// What is told of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Column {
    /// Its name.
    Name,
    /// alive, suspect, down or left.
    Status,
    /// How long it has had this status.
    Since,
    /// Surprise at its silence.
    Phi,
    /// Where it gossips.
    Address,
    /// Where it stands.
    Zone,
    /// What it says of itself.
    Tags,
    /// Accusers and whatever else is unusual.
    Note,
    /// Version of its agent.
    Version,
    /// Processes per core, where its setting `load` is on.
    Load,
    /// Free memory, with the same setting.
    Memory,
    /// Free space of the disk with its state, with the same setting.
    Disk,
    /// Heartbeats of this life.
    Heartbeat,
    /// When this life began, in Unix milliseconds.
    Generation,
    /// Its random identity.
    HostId,
}

/// What a member can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Status {
    /// Heard of lately.
    Alive,
    /// Accused, not yet judged.
    Suspect,
    /// Called down by several witnesses.
    Down,
    /// Has said good-bye.
    Left,
}

impl Status {
    /// The word of the API.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

impl List {
    /// Lists the members that match; "no" when none does.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let statuses = self.status.iter().map(|s| format!("status={}", s.word()));
        let tags = self.tag.iter().map(|tag| format!("tag={}", segment(&tag.to_string())));
        let version = self.version.iter().map(|version| format!("version={}", segment(version)));
        let load = self.max_load.iter().map(|percent| format!("max_load={percent}"));
        let filter: Vec<String> = statuses.chain(tags).chain(version).chain(load).collect();
        let answer = client.get(&format!("/v1/members?{}", filter.join("&"))).await?;
        let empty = client.read::<Members>(&answer)?.members.is_empty();
        output.show_list(&answer, Some("members"), |members| self.table(members, output))?;
        if empty {
            say("no member matches");
            return Ok(Exit::No);
        }
        if output.is_text() && !self.no_headers {
            say(&sum(&fit_to_show::<Members>(&answer)?));
        }
        Ok(Exit::Done)
    }

    fn table(&self, mut members: Members, output: &Output) -> String {
        members.members.sort_by(|a, b| {
            let first = self.sort.map_or_else(
                || rank(&a.status).cmp(&rank(&b.status)),
                |column| column.compare(a, b, &members.me),
            );
            first.then_with(|| natural(&a.name, &b.name))
        });
        let mut rows: Vec<Vec<String>> = members
            .members
            .iter()
            .map(|member| self.columns.iter().map(|column| column.text(member, &members.me)).collect())
            .collect();
        let header: Vec<String> = self.columns.iter().map(|column| column.title()).collect();
        if let Some(width) = output.width() {
            let titles = (!self.no_headers).then_some(&header);
            fit(&self.columns, titles, &mut rows, width);
        }
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut table = output.table((!self.no_headers).then_some(&header));
        for row in rows {
            table.add_row(self.columns.iter().zip(row).map(|(column, text)| {
                if *column == Column::Status { status_cell(&text) } else { Cell::new(text) }
            }));
        }
        finish(&table)
    }
}

impl Column {
    fn title(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_uppercase().replace('-', " ")).unwrap_or_default()
    }

    fn text(self, member: &Member, me: &str) -> String {
        match self {
            Self::Name => member.name.clone(),
            Self::Status => member.status.clone(),
            Self::Since => age(&member.since),
            Self::Phi => phi_text(member, me),
            Self::Address => member.address.clone(),
            Self::Zone => or_dash(member.zone.clone().unwrap_or_default()),
            Self::Tags => {
                let tags: Vec<String> = member.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
                or_dash(tags.join(","))
            }
            Self::Note => or_dash(note(member, me)),
            Self::Version => or_dash(member.version.clone().unwrap_or_default()),
            Self::Load => percent(member, |load| load.cpu_percent),
            Self::Memory => percent(member, |load| load.memory_free_percent),
            Self::Disk => percent(member, |load| load.disk_free_percent),
            Self::Heartbeat => member.heartbeat.to_string(),
            Self::Generation => member.generation.to_string(),
            Self::HostId => member.host_id.clone(),
        }
    }

    /// Most first where more is of more interest: surprise, and what changed last.
    fn compare(self, a: &Member, b: &Member, me: &str) -> Ordering {
        match self {
            Self::Status => rank(&a.status).cmp(&rank(&b.status)),
            Self::Phi => b.phi.total_cmp(&a.phi),
            // RFC 3339 in UTC: the later, the greater.
            Self::Since => b.since.cmp(&a.since),
            // Most room first; members that do not tell come last.
            Self::Load => by_room(a, b, |load| load.cpu_percent),
            Self::Memory => by_room(a, b, |load| 100_u32.saturating_sub(load.memory_free_percent)),
            Self::Disk => by_room(a, b, |load| 100_u32.saturating_sub(load.disk_free_percent)),
            Self::Name
            | Self::Address
            | Self::Zone
            | Self::Tags
            | Self::Note
            | Self::Version
            | Self::Heartbeat
            | Self::Generation
            | Self::HostId => natural(&self.text(a, me), &self.text(b, me)),
        }
    }

    /// Columns that it keeps in a narrow terminal; `None`: it is useless unless it is whole.
    fn least(self) -> Option<usize> {
        match self {
            Self::Name | Self::Note => Some(8),
            Self::Tags => Some(5),
            Self::Zone => Some(4),
            // An IPv4 address with its port is whole.
            Self::Address => Some(21),
            Self::Status
            | Self::Since
            | Self::Phi
            | Self::Version
            | Self::Load
            | Self::Memory
            | Self::Disk
            | Self::Heartbeat
            | Self::Generation
            | Self::HostId => None,
        }
    }
}

fn percent(member: &Member, of: impl Fn(&Load) -> u32) -> String {
    or_dash(member.load.as_ref().map(|load| format!("{} %", of(load))).unwrap_or_default())
}

fn by_room(a: &Member, b: &Member, taken: impl Fn(&Load) -> u32) -> Ordering {
    let [a, b] = [a, b].map(|member| member.load.as_ref().map(&taken));
    (a.is_none(), a).cmp(&(b.is_none(), b))
}

/// Cuts the texts so that each row is one line of `width` columns, if that is possible.
fn fit(columns: &[Column], header: Option<&Vec<String>>, rows: &mut [Vec<String>], width: usize) {
    let widest = |n: usize| {
        let texts = rows.iter().chain(header).filter_map(|row| row.get(n));
        texts.map(|text| text.width()).max().unwrap_or(0)
    };
    let title = |n: usize| header.and_then(|header| header.get(n)).map_or(0, |title| title.width());
    let mut widths: Vec<(usize, usize)> = columns
        .iter()
        .enumerate()
        .map(|(n, column)| {
            let widest = widest(n);
            (widest, column.least().map_or(widest, |least| least.max(title(n)).min(widest)))
        })
        .collect();
    squeeze(&mut widths, width.saturating_sub(GAP * columns.len().saturating_sub(1)));
    for row in rows {
        for (text, (width, _)) in row.iter_mut().zip(&widths) {
            *text = cut(text, *width);
        }
    }
}

/// `5 members: 4 alive, 1 down`.
fn sum(members: &Members) -> String {
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    for member in &members.members {
        // The healthy first: here they are the news.
        let order = if member.status == "alive" { 0 } else { 1 + rank(&member.status) };
        *counts.entry((order, &member.status)).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|((_, status), n)| format!("{n} {status}")).collect();
    format!("{}: {}", count(members.members.len(), "member", "members"), counts.join(", "))
}

/// Arguments of `phi`.
#[derive(Args)]
pub(super) struct Phi {
    /// No first line with the names of the columns.
    #[arg(long)]
    no_headers: bool,
}

impl Phi {
    /// Shows the failure detector's numbers, the most surprising first.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let answer = client.get("/v1/members?evidence=true").await?;
        client.read::<Members>(&answer)?;
        output.show_list(&answer, Some("members"), |mut members: Members| {
            members.members.sort_by(|a, b| b.phi.total_cmp(&a.phi).then_with(|| natural(&a.name, &b.name)));
            phi_table(&members, (!self.no_headers).then_some(PHI_HEADER), output)
        })?;
        Ok(Exit::Done)
    }
}

/// Reads `KEY=VALUE`; the value may be empty and may hold further `=`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not of the form KEY=VALUE".to_owned()),
    }
}

/// Problems first, those that have left last.
fn rank(status: &str) -> u8 {
    match status {
        "suspect" => 0,
        "down" => 1,
        "alive" => 3,
        "left" => 4,
        _ => 2,
    }
}

fn phi_table(members: &Members, header: Option<&[&str]>, output: &Output) -> String {
    let mut table = output.table(header);
    for member in &members.members {
        let evidence = member.evidence.as_ref();
        let told = |text: Option<String>| Cell::new(text.unwrap_or_else(|| "-".to_owned()));
        // Of ourselves, or before the first step, there is nothing learnt.
        let learnt = evidence.filter(|e| e.samples > 0);
        table.add_row([
            Cell::new(member.name.clone()),
            status_cell(&member.status),
            Cell::new(phi_text(member, &members.me)),
            told(evidence.map(|e| format!("{:.1}", e.phi_threshold))),
            told(evidence.map(|e| span(e.silence_seconds))),
            told(learnt.map(|e| brief(e.mean_seconds))),
            told(learnt.map(|e| brief(e.deviation_seconds))),
            told(evidence.map(|e| e.samples.to_string())),
            told(evidence.and_then(|e| e.rtt_seconds).map(brief)),
        ]);
    }
    finish(&table)
}

/// A dash where there is nothing to be surprised at.
pub(super) fn phi_text(member: &Member, me: &str) -> String {
    let silent = matches!(member.status.as_str(), "down" | "left");
    if member.name == me || silent { "-".to_owned() } else { format!("{:.1}", member.phi) }
}

/// Accusers, and whatever else is unusual; empty where nothing is.
pub(super) fn note(member: &Member, me: &str) -> String {
    if member.name == me {
        return "this agent".to_owned();
    }
    let mut notes = Vec::new();
    if let Some(seconds) = member.restarting_seconds {
        notes.push(format!("restarting, waited for {seconds:.0} s more"));
    }
    if !member.accusers.is_empty() {
        let mut accusers = member.accusers.clone();
        accusers.sort_unstable_by(|a, b| natural(a, b));
        notes.push(format!("accused by {}", few(&accusers)));
    }
    if !member.beating {
        notes.push("its service does not beat".to_owned());
    }
    if member.kept_out_until.is_some() {
        let left = member.kept_out_seconds.map(|left| format!(" for {} of good behaviour", span(left)));
        notes.push(format!("kept out{}", left.unwrap_or_default()));
    } else if member.degraded {
        notes.push("degraded: loses far more than others".to_owned());
    }
    if member.reachable == Some(false) && member.status == "alive" {
        let why = if member.refused { ": refused, by a packet filter" } else { "" };
        notes.push(format!("alive, but not reachable from here{why}"));
    }
    match member.fenced {
        Some(true) => notes.push("fenced".to_owned()),
        Some(false) => notes.push("not fenced yet".to_owned()),
        None => {}
    }
    notes.join("; ")
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

const HELP: &str = "\
On a terminal the table is cut to its width, with an ellipsis; into a pipe or a file, and with -o wide, all of it is \
written, each row on a line that is as wide as it needs to be. Of more than three accusers the rest is counted: \
`heartsay why NAME` and -o json name them all. The last line, how many there are by status, goes to standard error.";

/// Shown unless others are asked for.
const COLUMNS: [Column; 8] = [
    Column::Name,
    Column::Status,
    Column::Since,
    Column::Phi,
    Column::Address,
    Column::Zone,
    Column::Tags,
    Column::Note,
];
const PHI_HEADER: &[&str] =
    &["NAME", "STATUS", "PHI", "ACCUSES AT", "SILENT FOR", "MEAN STEP", "DEVIATION", "STEPS", "ROUND TRIP"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_value_may_hold_anything_and_a_key_must_be_there() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(key_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(key_value("=b").is_err());
        assert!(key_value("ab").is_err());
    }

    #[test]
    fn problems_come_first_and_unknown_words_before_the_healthy() {
        let mut words = ["left", "alive", "degraded", "down", "suspect"];
        words.sort_by_key(|w| rank(w));
        assert_eq!(words, ["suspect", "down", "degraded", "alive", "left"]);
    }

    #[test]
    fn a_row_with_all_there_can_be_fits_80_columns() {
        let row: Vec<String> = [
            "db-primary-17.eu-central-1.example.org",
            "suspect",
            "2m10s",
            "0.0",
            "10.100.200.117:4327",
            "eu-central-1a",
            "role=db,shard=7,rack=14,version=1.2.3,owner=payments",
            "accused by n1, n2, n3 and 4 more; degraded",
        ]
        .map(str::to_owned)
        .to_vec();
        let header: Vec<String> = COLUMNS.iter().map(|column| column.title()).collect();
        for width in [80, 100, 120, 500] {
            let mut rows = vec![row.clone()];
            fit(&COLUMNS, Some(&header), &mut rows, width);
            let all: usize = rows[0].iter().map(|text| text.width() + GAP).sum();
            assert!(all - GAP <= width, "{width}: {rows:?}");
            assert_eq!(rows[0][1..5], row[1..5], "{width}: what is useless in part is whole");
            assert_eq!(rows[0] == row, width == 500, "{rows:?}");
        }
    }
}
