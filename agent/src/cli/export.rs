//! `export`: the members, or the instances of a service, in the form in which another program reads them.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::exit::{Exit, ReaderGone, say};
use super::members::Status;
use super::output::{Output, age, count};
use super::table::finish;
use crate::api::tag::WantedTag;
use crate::client::Client;
use crate::export::format::template::Template;
use crate::export::{Entry, Format, Port, Select, Shape, entries};
use crate::services::{Health, Instance, ServiceName};
use crate::types::{ExportRow, ExportRows, Member, Members, NamedService, ServiceInstance};

/// Arguments of `export`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Export {
    /// Print the members once in this format; without it, list the exports of the agent.
    #[arg(long, value_enum, value_name = "FORMAT")]
    once: Option<Format>,
    /// The instances of this service instead of the members.
    #[arg(long, value_name = "NAME", requires = "once")]
    service: Option<ServiceName>,
    /// Only instances that are this; several are any of them [default: passing,warning].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "HEALTH", requires = "service")]
    health: Vec<Health>,
    /// Only members with this status; several are any of them [default: alive,suspect].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS", requires = "once")]
    status: Vec<Status>,
    /// Only members with this tag, whatever its value unless one is given; several are all of them.
    #[arg(long, value_name = "KEY[=VALUE]", requires = "once")]
    tag: Vec<WantedTag>,
    /// Only members in this zone; several are any of them.
    #[arg(long, value_name = "ZONE", requires = "once")]
    zone: Vec<String>,
    /// The port that members serve, or tag:KEY where each says its own in a tag; instances say theirs without it.
    #[arg(long, value_name = "PORT", requires = "once")]
    port: Option<Port>,
    /// Name of the backend (haproxy), upstream (nginx) or cluster (envoy-eds).
    #[arg(long, value_name = "NAME", requires = "once")]
    name: Option<String>,
    /// Written behind each server (haproxy, nginx): "check inter 1s", "max_fails=1".
    #[arg(long, value_name = "TEXT", requires = "once", allow_hyphen_values = true)]
    options: Option<String>,
    /// Servers that there are at least (haproxy): free ones are disabled.
    #[arg(long, value_name = "N", requires = "once")]
    slots: Option<u16>,
    /// Written behind each name (hosts).
    #[arg(long, value_name = "DOMAIN", requires = "once")]
    domain: Option<String>,
    /// The template, in the language of Jinja (template).
    #[arg(long, value_name = "FILE", requires = "once")]
    template: Option<PathBuf>,
    /// Print also what the agent sees while it is isolated, or before it has joined.
    #[arg(long, requires = "once")]
    anyway: bool,
}

impl Export {
    /// Prints the list; "no" while it is not to be believed.
    pub(super) async fn run(mut self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let Some(format) = self.once else { return list(client, output).await };
        let (select, port, shape) = (self.select(), self.port.take().unwrap_or_default(), self.shape()?);
        if let Some((key, problem)) = format.objection(&shape, select.has_port(&port)) {
            let usage = clap::error::ErrorKind::ValueValidation;
            super::Cli::command().error(usage, format!("--{key} {problem}, with {}", format.word())).exit();
        }
        let members: Members = client.read(&client.get("/v1/members").await?)?;
        if !self.anyway && (members.isolated || !members.joined) {
            let why = if members.isolated { "is isolated" } else { "is not in the cluster, or not yet" };
            say(&format!("this agent {why}, so nothing is printed; --anyway prints what it sees"));
            return Ok(Exit::No);
        }
        let all = match &select.service {
            None => members.members.into_iter().filter_map(Entry::of).collect(),
            Some(service) => instances(client, service, members.members).await?,
        };
        let (list, unlisted) = entries(all.into_iter(), &select, &port);
        let rendered = format.render(&shape, &members.me, &list).map_err(anyhow::Error::msg)?;
        let mut out = io::stdout().lock();
        match out.write_all(&rendered.bytes).and_then(|()| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Err(ReaderGone.into()),
            other => other?,
        }
        let left_out = rendered.left_out + unlisted;
        if left_out > 0 {
            let left_out = match select.service {
                None => count(left_out, "member is", "members are"),
                Some(_) => count(left_out, "instance is", "instances are"),
            };
            say(&format!("{left_out} left out: what they say of themselves does not fit the format"));
        }
        Ok(Exit::Done)
    }

    fn select(&mut self) -> Select {
        Select {
            service: self.service.take(),
            health: std::mem::take(&mut self.health),
            statuses: self.status.iter().map(|status| status.word().to_owned()).collect(),
            tags: std::mem::take(&mut self.tag),
            zones: std::mem::take(&mut self.zone),
        }
    }

    fn shape(&mut self) -> anyhow::Result<Shape> {
        let template = match &self.template {
            Some(path) => {
                let read = Template::read(path);
                Some(read.map_err(|e| anyhow::anyhow!("{} {e}", path.display()))?)
            }
            None => None,
        };
        Ok(Shape {
            name: self.name.take(),
            options: self.options.take().unwrap_or_default(),
            slots: self.slots.unwrap_or_default().into(),
            domain: self.domain.take(),
            template,
        })
    }
}

/// The instances of a service. A name that no member has is one of which there are none.
async fn instances(
    client: &Client,
    service: &ServiceName,
    members: Vec<Member>,
) -> anyhow::Result<Vec<Entry>> {
    let told = match client.get(&format!("/v1/services/{service}")).await {
        Ok(answer) => client.read::<NamedService>(&answer)?.service.instances,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let members: BTreeMap<String, Entry> =
        members.into_iter().filter_map(Entry::of).map(|member| (member.name.clone(), member)).collect();
    let entry = |row: ServiceInstance| {
        let member = members.get(&row.member)?;
        Some(member.serving(service.as_str(), instance(row)?))
    };
    Ok(told.into_iter().filter_map(entry).collect())
}

/// `None`: a later agent says what this program does not know.
fn instance(row: ServiceInstance) -> Option<Instance> {
    let address = if row.elsewhere { Some(row.address.parse().ok()?) } else { None };
    Some(Instance { id: row.id, port: row.port, address, health: row.health.parse().ok()?, tags: row.tags })
}

async fn list(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let answer = client.get("/v1/exports").await?;
    let none = client.read::<ExportRows>(&answer)?.exports.is_empty();
    output.show_list(&answer, Some("exports"), |rows: ExportRows| {
        let header = ["EXPORT", "FORMAT", "MEMBERS", "LEFT OUT", "CHANGED", "NOTE"];
        let mut table = output.table((!rows.exports.is_empty()).then_some(&header));
        for row in rows.exports {
            let changed = row.changed.as_deref().map_or_else(|| "-".to_owned(), age);
            let note = note(&row);
            let place = row.path.or(row.runtime).unwrap_or_default();
            let (members, left_out) = (row.members.to_string(), row.left_out.to_string());
            table.add_row([place, row.format, members, left_out, changed, note]);
        }
        finish(&table)
    })?;
    if none {
        say("no export is configured");
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

fn note(row: &ExportRow) -> String {
    let held = row.held.as_ref().map(|why| format!("kept as it was: {why}"));
    row.error.clone().or(held).unwrap_or_else(|| "-".to_owned())
}

const HELP: &str = "\
Exit code 4: the agent is isolated or has not joined, so that the list would be too short, or there are no exports. What the list looks \
like in each format, and how the agent keeps files by itself, is in docs/operations.md, section exports.";
