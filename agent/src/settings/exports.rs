//! `[[export]]`: from tables to exports, each with all that is wrong in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::block::Fields;
use super::layers::Block;
use super::reader::{Failed, Reader};
use super::{LONGEST, values};
use crate::api::tag::WantedTag;
use crate::export::format::template::{Template, TemplateError};
use crate::export::{Export, Format, Port, Select, Shape};
use crate::services::{Health, ServiceName};
use crate::types::STATUSES;

impl Reader {
    /// The exports of all files.
    pub(super) fn exports(&mut self) -> Result<Vec<Export>, Failed> {
        let blocks = self.blocks("export");
        let before = self.errors.len();
        let mut exports: Vec<Export> = Vec::new();
        for block in blocks.iter().take(MOST) {
            let mut fields = Fields::new("export", block);
            let export = fields.export();
            if let Some(twice) = exports.iter().find(|one| one.label() == export.label()) {
                fields.refuse(
                    "path",
                    &format!("{:?} is another export's too", twice.label()),
                    "give each its own",
                );
            }
            self.errors.append(&mut fields.errors);
            self.show(&format!("export.{}", export.label()), Some(told(block, &export)), &block.origin);
            exports.push(export);
        }
        self.no_more("export", &blocks, MOST);
        if self.errors.len() > before { Err(Failed) } else { Ok(exports) }
    }
}

/// What is allowed but will not work as things are.
pub(super) fn unwise(export: &Export) -> Option<String> {
    let path = export.path.as_deref()?;
    if export.block && !path.is_file() {
        return Some(format!("export {}: there is no file to write a block into", path.display()));
    }
    let dir = path.parent().filter(|dir| !dir.is_dir())?;
    Some(format!("export {}: there is no directory {}", path.display(), dir.display()))
}

/// The table on one line, as `config show` has it.
fn told(block: &Block, export: &Export) -> String {
    let pairs = block.fields.iter().filter(|(key, _)| *key != "path");
    let mut told: Vec<String> = pairs.map(|(key, (texts, _))| format!("{key}={}", texts.join(","))).collect();
    if let Some(template) = &export.shape.template {
        // Another template at the same path is a change too.
        told.push(format!("template_crc={:08x}", template.digest()));
    }
    told.join(" ")
}

impl Fields<'_> {
    fn export(&mut self) -> Export {
        self.only(&FIELDS, "", &[]);
        let format = self.one("format", |text| {
            Format::of(text).ok_or_else(|| {
                let problem = format!("is not one of {}", Format::WORDS.join(", "));
                values::not_one_of(&problem, text, &Format::WORDS)
            })
        });
        if format.is_none() && !self.has("format") {
            self.refuse("format", "is missing", &format!("write one of {}", Format::WORDS.join(", ")));
        }
        let export = Export {
            format: format.unwrap_or(Format::Json),
            shape: self.shape(),
            port: self.one("port", str::parse::<Port>).unwrap_or_default(),
            select: self.select(),
            path: self.one("path", absolute),
            block: self.one("block", values::truth).unwrap_or_default(),
            runtime: self.one("runtime", absolute),
            min_members: self.one("min_members", |text| number(text, 1_000_000)).unwrap_or(1),
            settle: self.one("settle", duration).unwrap_or(SETTLE),
            splay: self.one("splay", duration).unwrap_or_default(),
            on_change: self.one("on_change", |text| Ok::<_, String>(text.to_owned())),
        };
        if let Some(format) = format {
            self.judge(format, &export);
        }
        export
    }

    /// Values that are right one by one and make no sense together.
    fn judge(&mut self, format: Format, export: &Export) {
        if !self.errors.is_empty() {
            return;
        }
        if let Some((key, problem)) = format.objection(&export.shape, export.select.has_port(&export.port)) {
            self.refuse(key, problem, &format!("see docs/operations.md, exports, format {}", format.word()));
        }
        if export.runtime.is_some() && format != Format::Haproxy {
            self.refuse("runtime", "is there for format haproxy alone", "leave it out");
        }
        if export.block && format != Format::Hosts {
            self.refuse("block", "is there for format hosts alone", "leave it out");
        }
        if export.select.service.is_none() && !export.select.health.is_empty() {
            let remedy = "write its name as select.service, or leave it out";
            self.refuse("select.health", "is that of a service, and none is named", remedy);
        }
        if export.path.is_none() && export.runtime.is_none() {
            self.refuse("path", "is missing", "write the path of the file");
        }
    }

    fn shape(&mut self) -> Shape {
        let text = |text: &str| Ok::<_, String>(text.to_owned());
        Shape {
            name: self.one("name", text),
            options: self.one("options", text).unwrap_or_default(),
            slots: self.one("slots", |text| number(text, MOST_SLOTS)).unwrap_or_default(),
            domain: self.one("domain", text),
            template: self.template(),
        }
    }

    /// One that cannot be read may be there later; one that is none stays none.
    fn template(&mut self) -> Option<Template> {
        let path = self.one("template", absolute)?;
        match Template::read(&path) {
            Ok(template) => Some(template),
            Err(e) => {
                let passes = matches!(e, TemplateError::Unreadable(_));
                self.refuse("template", &format!("{path:?} {e}"), "correct it");
                self.errors.iter_mut().rev().take(1).for_each(|error| error.usage = !passes);
                None
            }
        }
    }

    fn select(&mut self) -> Select {
        let status = |text: &str| match STATUSES.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err("is not alive, suspect, down or left"),
        };
        Select {
            service: self.one("select.service", str::parse::<ServiceName>),
            health: self.many("select.health", str::parse::<Health>),
            statuses: self.many("select.status", status),
            tags: self.many("select.tag", str::parse::<WantedTag>),
            zones: self.many("select.zone", |text| Ok::<_, String>(text.to_owned())),
        }
    }
}

/// The agent's working directory is no place that anybody knows.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.is_absolute() && path.file_name().is_some() && !text.contains('\0') {
        Ok(path.to_owned())
    } else {
        Err("is no absolute path of a file".to_owned())
    }
}

fn number(text: &str, most: usize) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number <= most)
        .ok_or_else(|| format!("is not a number from 0 to {most}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|e| format!("is no duration ({e})"))?;
    if duration <= LONGEST { Ok(duration) } else { Err("is longer than 10m".to_owned()) }
}

const FIELDS: [&str; 19] = [
    "format",
    "path",
    "block",
    "runtime",
    "name",
    "options",
    "slots",
    "domain",
    "template",
    "port",
    "select.service",
    "select.health",
    "select.status",
    "select.tag",
    "select.zone",
    "min_members",
    "settle",
    "splay",
    "on_change",
];
/// Exports of one agent; each is a task.
const MOST: usize = 32;
/// HAProxy takes memory for each.
const MOST_SLOTS: usize = 4096;
/// A restarted host is back, and stays, or falls again within it. Honest guess.
const SETTLE: Duration = Duration::from_secs(2);
