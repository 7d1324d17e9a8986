//! `members` and `phi`: everybody at a glance.

use clap::{Args, ValueEnum};
use comfy_table::Cell;

use super::exit::{Exit, say};
use super::output::{Output, age, brief, finish, span, status_cell};
use crate::api::types::{Member, Members};
use crate::client::{Client, segment};

/// Arguments of `members`.
#[derive(Args)]
pub(super) struct List {
    /// Only members with this status; several are any of them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS")]
    status: Vec<Status>,
    /// Only members with this tag; several are all of them.
    #[arg(long, value_parser = key_value, value_name = "KEY=VALUE")]
    tag: Vec<(String, String)>,
    /// No first line with the names of the columns.
    #[arg(long)]
    no_headers: bool,
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
        let tags = self.tag.iter().map(|(key, value)| format!("tag={}", segment(&format!("{key}={value}"))));
        let filter: Vec<String> = statuses.chain(tags).collect();
        let answer = client.get(&format!("/v1/members?{}", filter.join("&"))).await?;
        let mut members = client.read::<Members>(&answer)?;
        members.members.sort_by(|a, b| rank(&a.status).cmp(&rank(&b.status)).then(a.name.cmp(&b.name)));
        let header = (!self.no_headers).then_some(HEADER);
        output.show_list(&answer, Some("members"), || list_table(&members, header, output))?;
        if members.members.is_empty() {
            say("no member matches");
            return Ok(Exit::No);
        }
        Ok(Exit::Done)
    }
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
        let mut members = client.read::<Members>(&answer)?;
        members.members.sort_by(|a, b| b.phi.total_cmp(&a.phi).then(a.name.cmp(&b.name)));
        let header = (!self.no_headers).then_some(PHI_HEADER);
        output.show_list(&answer, Some("members"), || phi_table(&members, header, output))?;
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

fn list_table(members: &Members, header: Option<&[&str]>, output: &Output) -> String {
    let mut table = output.table(header);
    for member in &members.members {
        let tags: Vec<String> = member.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        table.add_row([
            Cell::new(&member.name),
            status_cell(&member.status),
            Cell::new(age(&member.since)),
            Cell::new(phi_text(member, &members.me)),
            Cell::new(&member.address),
            Cell::new(member.zone.as_deref().unwrap_or("-")),
            Cell::new(or_dash(tags.join(","))),
            Cell::new(or_dash(note(member, &members.me))),
        ]);
    }
    finish(table)
}

fn phi_table(members: &Members, header: Option<&[&str]>, output: &Output) -> String {
    let mut table = output.table(header);
    for member in &members.members {
        let evidence = member.evidence.as_ref();
        let told = |text: Option<String>| Cell::new(text.unwrap_or_else(|| "-".to_owned()));
        // Of ourselves, or before the first step, there is nothing learnt.
        let learnt = evidence.filter(|e| e.samples > 0);
        table.add_row([
            Cell::new(&member.name),
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
    finish(table)
}

fn phi_text(member: &Member, me: &str) -> String {
    let silent = matches!(member.status.as_str(), "down" | "left");
    if member.name == me || silent { "-".to_owned() } else { format!("{:.1}", member.phi) }
}

fn note(member: &Member, me: &str) -> String {
    if member.name == me {
        return "this agent".to_owned();
    }
    let mut notes = Vec::new();
    if let Some(seconds) = member.restarting_seconds {
        notes.push(format!("restarting, waited for {seconds:.0} s more"));
    }
    if !member.accusers.is_empty() {
        let mut accusers = member.accusers.clone();
        accusers.sort_unstable();
        notes.push(format!("accused by {}", accusers.join(",")));
    }
    if !member.beating {
        notes.push("its service does not beat".to_owned());
    }
    if let Some(until) = member.kept_out_until {
        notes.push(format!("kept out until heartbeat {until}"));
    } else if member.degraded {
        notes.push("degraded".to_owned());
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

const HEADER: &[&str] = &["NAME", "STATUS", "SINCE", "PHI", "ADDRESS", "ZONE", "TAGS", "NOTE"];
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
}
