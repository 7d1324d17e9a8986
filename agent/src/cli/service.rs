//! `service`: what the members say of services, and those of this host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::de::IgnoredAny;

use super::exit::{Exit, say};
use super::members::key_value;
use super::output::{Output, age, brief, count, natural, status_cell};
use super::table::{Cell, finish};
use crate::api::tag::WantedTag;
use crate::client::{Client, segment};
use crate::services::{self, ServiceName};
use crate::types::{
    DeregisterRequest, HealthRequest, HoldLine, NamedService, RegisterRequest, ServiceInstance, Services,
    Word,
};

/// Verbs of `service`.
#[derive(Subcommand)]
pub(super) enum Service {
    /// List the services of the cluster, or the instances of one. Exit code 4: there is none.
    List(List),
    /// All instances of one service, wherever they are and however they do; of those that are not passing, their hosts are
    /// asked why. And what the agent of this host looks at to know how its own are. Exit code 4: there is none.
    Show {
        /// The service.
        name: ServiceName,
    },
    /// Register a service of this host. It stays until it is deregistered, or until the agent ends: what has to
    /// outlast the agent stands in its settings, and what has to go with its program is held by
    /// `heartsay exec --service` or a client.
    Register(Register),
    /// Take a service of this host away again. One of the settings is changed there.
    Deregister(Which),
    /// Say how a service of this host is.
    Health(Health),
}

/// Arguments of `service list`.
#[derive(Args)]
pub(super) struct List {
    /// Only this service, by instance.
    name: Option<ServiceName>,
    /// Only instances that are passing, on members that are alive.
    #[arg(long)]
    healthy: bool,
    /// Only instances with this tag, whatever its value unless one is given; several are all of them.
    #[arg(long, value_name = "KEY[=VALUE]")]
    tag: Vec<WantedTag>,
    /// Only instances of this member; several are any of them.
    #[arg(long, value_name = "NAME", value_hint = super::completions::MEMBER)]
    member: Vec<String>,
    /// Only instances on hosts that tell a load of at most this many percent of their cores.
    #[arg(long, value_name = "PERCENT")]
    max_load: Option<u32>,
    /// The instance on the host with the least load first; last those on hosts that tell none.
    #[arg(long, requires = "name")]
    by_load: bool,
}

/// Arguments of `service register`.
#[derive(Args)]
pub(super) struct Register {
    /// The service: lower-case letters, digits and hyphens.
    name: ServiceName,
    /// Where it listens.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Where it is, if not at the address of this member.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// What it says of itself; several are given one by one.
    #[arg(long, value_parser = key_value, value_name = "KEY=VALUE")]
    tag: Vec<(String, String)>,
    /// Tells it from others of the name on this host.
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
    /// What the agent looks at to know how it is, by the fields of `[[service.check]]`, as in tcp=127.0.0.1:80,interval=5s;
    /// several are given one by one. exec and disk are for the settings.
    #[arg(long, value_parser = check_fields, value_name = "KIND=TARGET[,FIELD=VALUE]...")]
    check: Vec<CheckFields>,
}

/// Fields of a check.
pub(super) type CheckFields = BTreeMap<String, Word>;

/// Reads them.
pub(super) fn check_fields(text: &str) -> Result<CheckFields, String> {
    let field = |text: &str| key_value(text).map(|(key, value)| (key, Word::Text(value)));
    text.split(',').map(field).collect()
}

/// An instance of this host.
#[derive(Args)]
pub(super) struct Which {
    /// The service.
    name: ServiceName,
    /// Which instance of it.
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
}

/// Arguments of `service health`.
#[derive(Args)]
pub(super) struct Health {
    #[command(flatten)]
    which: Which,
    /// How it is.
    #[arg(value_enum)]
    health: services::Health,
    /// Why, in one sentence. It stays on this host; other members are told when they ask (`service show`).
    #[arg(long)]
    text: Option<String>,
}

impl Service {
    /// Asks, or changes something.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => match &list.name {
                Some(name) => instances(client, output, name, &list.query(), list.order()).await,
                None => names(client, output, &list.query()).await,
            },
            Self::Show { name } => instances(client, output, &name, "why=1", Order::WithChecks).await,
            Self::Register(verb) => verb.run(client, output).await,
            Self::Deregister(Which { name, id }) => {
                let wish = DeregisterRequest { name: name.to_string(), id };
                let answer = client.post("/v1/services/deregister", &wish, Duration::ZERO).await?;
                output.show(&answer, |_: IgnoredAny| format!("{name} is deregistered"))?;
                Ok(Exit::Done)
            }
            Self::Health(Health { which: Which { name, id }, health, text }) => {
                let word = health.word();
                let wish = HealthRequest { name: name.to_string(), id, health: word.to_owned(), text };
                let answer = client.post("/v1/services/health", &wish, Duration::ZERO).await?;
                output.show(&answer, |_: IgnoredAny| format!("{name} is {word}"))?;
                Ok(Exit::Done)
            }
        }
    }
}

impl Register {
    async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let wish = RegisterRequest {
            name: self.name.to_string(),
            id: self.id,
            port: self.port,
            address: self.address.map(|address| address.to_string()),
            tags: self.tag.into_iter().collect(),
            checks: self.check,
            hold: false,
        };
        let answer = client.post("/v1/services", &wish, Duration::ZERO).await?;
        output.show(&answer, |done: HoldLine| {
            let service = done.service.unwrap_or_default();
            let port = service.port.map_or_else(String::new, |port| format!(" port {port}"));
            format!("{} is registered at {}{port}", service.name, service.address)
        })?;
        Ok(Exit::Done)
    }
}

/// How instances are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    ByMember,
    ByLoad,
    /// By member, and below them what the agent of this host looks at.
    WithChecks,
}

impl List {
    fn query(&self) -> String {
        let tags = self.tag.iter().map(|tag| format!("tag={}", segment(&tag.to_string())));
        let members = self.member.iter().map(|name| format!("member={}", segment(name)));
        let load = self.max_load.iter().map(|percent| format!("max_load={percent}"));
        let healthy = self.healthy.then(|| "healthy".to_owned());
        healthy.into_iter().chain(tags).chain(members).chain(load).collect::<Vec<_>>().join("&")
    }

    fn order(&self) -> Order {
        if self.by_load { Order::ByLoad } else { Order::ByMember }
    }
}

async fn names(client: &Client, output: &Output, query: &str) -> anyhow::Result<Exit> {
    let answer = client.get(&format!("/v1/services?{query}")).await?;
    let found = client.read::<Services>(&answer)?;
    output.show_list(&answer, Some("services"), |services: Services| {
        let header = ["NAME", "HEALTHY", "KNOWN", "MEMBERS"];
        let mut table = output.table((!services.services.is_empty()).then_some(&header));
        for service in services.services {
            let mut members: Vec<&str> = service.instances.iter().map(|one| one.member.as_str()).collect();
            members.sort_unstable();
            members.dedup();
            let members = crate::words::few(&members);
            table.add_row([service.name, service.healthy.to_string(), service.known.to_string(), members]);
        }
        finish(&table)
    })?;
    if found.unreadable > 0 {
        let some = count(found.unreadable, "value makes", "values make");
        say(&format!("{some} no sense and are not shown"));
    }
    if found.services.is_empty() {
        say("no service matches");
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

async fn instances(
    client: &Client,
    output: &Output,
    name: &ServiceName,
    query: &str,
    order: Order,
) -> anyhow::Result<Exit> {
    let answer = match client.get(&format!("/v1/services/{name}?{query}")).await {
        Ok(answer) => answer,
        Err(error) if error.is_not_found() => {
            say(&error.to_string());
            return Ok(Exit::No);
        }
        Err(error) => return Err(error.into()),
    };
    let none = client.read::<NamedService>(&answer)?.service.instances.is_empty();
    output.show_list(&answer, Some("instances"), |named: NamedService| {
        let (me, mut instances) = (named.me, named.service.instances);
        instances.sort_by(|a, b| natural(&a.member, &b.member).then_with(|| natural(&a.id, &b.id)));
        let load = |one: &ServiceInstance| one.load.as_ref().map(|load| load.cpu_percent);
        if order == Order::ByLoad {
            instances.sort_by_key(|one| (load(one).is_none(), load(one)));
        }
        let checks = if order == Order::WithChecks { checks(output, &instances) } else { String::new() };
        let any_load = instances.iter().any(|one| one.load.is_some());
        let header = ["MEMBER", "STATUS", "ID", "ADDRESS", "HEALTH", "LOAD", "TAGS", "NOTE"];
        let header: Vec<&str> = header.into_iter().filter(|name| any_load || *name != "LOAD").collect();
        let mut table = output.table((!instances.is_empty()).then_some(&header));
        for one in instances {
            let (status, address, tags, note) =
                (status_cell(&one.status), address(&one), tags(&one), note(&one, &me));
            let load = load(&one).map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"));
            let mut row =
                vec![Cell::new(one.member), status, one.id.into(), address.into(), one.health.into()];
            row.extend(any_load.then(|| Cell::new(load)));
            row.extend([tags.into(), note.into()]);
            table.add_row(row);
        }
        finish(&table) + &checks
    })?;
    if none {
        say("no instance matches");
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

/// What the agent of this host looks at: a table below that of the instances, or nothing.
fn checks(output: &Output, instances: &[ServiceInstance]) -> String {
    let checks: Vec<_> =
        instances.iter().flat_map(|one| one.checks.iter().map(move |check| (one, check))).collect();
    if checks.is_empty() {
        return String::new();
    }
    let mut table = output.table(Some(&["ID", "CHECK", "KIND", "HEALTH", "LAST", "TOOK", "TARGET", "TEXT"]));
    for (one, check) in checks {
        table.add_row([
            one.id.clone(),
            check.name.clone(),
            check.kind.clone(),
            check.health.clone(),
            check.time.as_deref().map_or_else(|| "-".to_owned(), age),
            check.took_ms.map_or_else(|| "-".to_owned(), |ms| brief(ms / 1e3)),
            check.target.clone(),
            check.text.clone(),
        ]);
    }
    format!("\n\n{}", finish(&table))
}

/// With the port, if it says one.
pub(super) fn address(one: &ServiceInstance) -> String {
    match one.port {
        Some(port) if one.address.contains(':') => format!("[{}]:{port}", one.address),
        Some(port) => format!("{}:{port}", one.address),
        None => one.address.clone(),
    }
}

fn tags(one: &ServiceInstance) -> String {
    one.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn note(one: &ServiceInstance, me: &str) -> String {
    let elsewhere = one.elsewhere.then(|| "not the member's address, by its own word".to_owned());
    let by = one.by.as_ref().map(|by| format!("by {by}"));
    let theirs = one.member != me;
    // Others are told the health alone, unless they ask.
    let unasked = theirs && one.health != "passing" && one.text.is_none();
    let ask = unasked.then(|| match one.answered {
        Some(true) => format!("{} does not say why", one.member),
        Some(false) => format!("{} knows why, and has not answered", one.member),
        None => "its host knows why".to_owned(),
    });
    let text = one.text.as_ref().map(|text| match theirs {
        true => format!("{} says: {text}", one.member),
        false => text.clone(),
    });
    elsewhere.into_iter().chain(by).chain(text).chain(ask).collect::<Vec<_>>().join("; ")
}
