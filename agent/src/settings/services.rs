//! `[[service]]`: from tables to services that this member gives for as long as the settings say so.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::block::Fields;
use super::layers::Block;
use super::reader::{Failed, Reader};
use crate::services::check::UNKNOWN;
use crate::services::instance::MOST_INSTANCES;
use crate::services::{Health, Instance, Registration, ServiceName};

impl Reader {
    /// The services of all files.
    pub(super) fn services(&mut self) -> Result<Vec<Registration>, Failed> {
        let blocks = self.blocks("service");
        let before = self.errors.len();
        let mut services: Vec<Registration> = Vec::new();
        for block in blocks.iter().take(MOST_INSTANCES) {
            let mut fields = Fields::new("service", block);
            if let Some(service) = fields.service() {
                if services.iter().any(|one| label(one) == label(&service)) {
                    let problem = format!("{:?} is there twice", label(&service));
                    fields.refuse("name", &problem, "give each an id of its own");
                }
                let shown = format!("service.{}", label(&service));
                self.show(&shown, Some(told(block)), &block.origin);
                for (check, block) in service.checks.iter().zip(fields.tables("check")) {
                    self.show(&format!("{shown}.check.{}", check.name), Some(told(block)), &block.origin);
                }
                services.push(service);
            }
            self.errors.append(&mut fields.errors);
        }
        self.no_more("service", &blocks, MOST_INSTANCES);
        self.no_more_checks(&services);
        if self.errors.len() > before { Err(Failed) } else { Ok(services) }
    }
}

impl Fields<'_> {
    fn service(&mut self) -> Option<Registration> {
        self.only(&FIELDS, TAGS, &["check"]);
        let name = self.one("name", str::parse::<ServiceName>);
        if !self.has("name") {
            self.refuse("name", "is missing", "write the name of the service");
        }
        let checks = self.checks();
        let instance = Instance {
            id: self.one("id", |text| Ok::<_, String>(text.to_owned())).unwrap_or_default(),
            port: self.one("port", port),
            address: self.one("address", |text| text.parse::<IpAddr>().map_err(|_| "is no IP address")),
            health: if checks.is_empty() { Health::Passing } else { UNKNOWN },
            tags: self.tags(),
        };
        if let Err(problem) = instance.check() {
            self.refuse("id", &problem, "correct it");
        }
        Some(Registration { name: name?, instance, checks })
    }

    fn tags(&mut self) -> BTreeMap<String, String> {
        let keys: Vec<String> =
            self.block.fields.keys().filter_map(|key| key.strip_prefix(TAGS)).map(str::to_owned).collect();
        let text = |text: &str| Ok::<_, String>(text.to_owned());
        keys.into_iter()
            .filter_map(|key| {
                let value = self.one(&format!("{TAGS}{key}"), text)?;
                Some((key, value))
            })
            .collect()
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().ok().filter(|port| *port > 0).ok_or("is no port from 1 to 65535")
}

/// What stands for it in `config show`.
fn label(service: &Registration) -> String {
    match service.instance.id.as_str() {
        "" => service.name.to_string(),
        id => format!("{}/{id}", service.name),
    }
}

/// The table on one line.
fn told(block: &Block) -> String {
    let pairs = block.fields.iter().filter(|(key, _)| *key != "name" && *key != "id");
    pairs.map(|(key, (texts, _))| format!("{key}={}", texts.join(","))).collect::<Vec<_>>().join(" ")
}

const FIELDS: [&str; 5] = ["name", "id", "port", "address", "tags"];
/// A table in the table, whose keys are free.
const TAGS: &str = "tags.";
