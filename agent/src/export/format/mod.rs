//! The formats, each a pure function from members to bytes.
//!
//! The same members give the same bytes, in the order of their names, so that a file changes only when they do.

mod envoy;
mod haproxy;
mod hosts;
mod json;
mod nginx;
mod prometheus;
pub(crate) mod template;

pub(in crate::export) use haproxy::is_server_name;
pub(in crate::export) use hosts::with_block;
pub(crate) use hosts::{is_host_name, is_label, named};
pub(crate) use prometheus::groups as prometheus_groups;
use template::Template;

use super::Entry;

/// What an export is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A `backend` section of HAProxy.
    Haproxy,
    /// Lines `server` for an `upstream` of nginx, or the whole of it.
    Nginx,
    /// A cluster's endpoints for Envoy's EDS.
    EnvoyEds,
    /// Targets for Prometheus.
    PrometheusSd,
    /// Lines as in /etc/hosts.
    Hosts,
    /// The members as JSON.
    Json,
    /// Whatever a template makes of them.
    Template,
}

impl Format {
    /// All of them.
    pub(crate) const WORDS: [&str; 7] =
        ["haproxy", "nginx", "envoy-eds", "prometheus-sd", "hosts", "json", "template"];

    /// As it is written.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::EnvoyEds => "envoy-eds",
            Self::PrometheusSd => "prometheus-sd",
            Self::Hosts => "hosts",
            Self::Json => "json",
            Self::Template => "template",
        }
    }

    /// The one that is written so.
    pub(crate) fn of(word: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::value_variants().iter().copied().find(|format| format.word() == word)
    }

    /// What `shape` lacks or has too much of for this format, in words.
    pub(crate) fn objection(self, shape: &Shape, has_port: bool) -> Option<(&'static str, &'static str)> {
        let needs_port = matches!(self, Self::Haproxy | Self::Nginx | Self::EnvoyEds);
        let needs_name = matches!(self, Self::Haproxy | Self::EnvoyEds);
        let takes_name = needs_name || self == Self::Nginx;
        let takes_options = matches!(self, Self::Haproxy | Self::Nginx);
        if needs_port && !has_port {
            return Some(("port", "is missing; write the port that members serve, or tag:KEY"));
        }
        if needs_name && shape.name.is_none() {
            return Some(("name", "is missing; write the name of the backend or cluster"));
        }
        if !takes_name && shape.name.is_some() {
            return Some(("name", "has no meaning in this format"));
        }
        if !takes_options && !shape.options.is_empty() {
            return Some(("options", "has no meaning in this format"));
        }
        if self != Self::Haproxy && shape.slots > 0 {
            return Some(("slots", "has no meaning in this format"));
        }
        if self != Self::Hosts && shape.domain.is_some() {
            return Some(("domain", "has no meaning in this format"));
        }
        let controls = |text: &String| text.contains(char::is_control);
        let strange = |name: &String| !is_server_name(name) && self != Self::EnvoyEds;
        if shape.name.as_ref().is_some_and(|name| name.is_empty() || controls(name) || strange(name)) {
            return Some(("name", "has other characters than letters, digits and _:.-"));
        }
        if controls(&shape.options) {
            return Some(("options", "has more than one line, or a control character"));
        }
        if shape.domain.as_ref().is_some_and(|domain| !is_host_name(domain)) {
            return Some(("domain", "is no domain"));
        }
        match (self == Self::Template, shape.template.is_some()) {
            (true, false) => Some(("template", "is missing; write the path of the template")),
            (false, true) => Some(("template", "has no meaning in this format")),
            (true, true) | (false, false) => None,
        }
    }

    /// The bytes of an export of these members, which are sorted by name.
    ///
    /// # Errors
    /// A template fails; in words.
    pub(crate) fn render(self, shape: &Shape, me: &str, entries: &[Entry]) -> Result<Rendered, String> {
        Ok(match self {
            Self::Haproxy => haproxy::write(shape, entries),
            Self::Nginx => nginx::write(shape, entries),
            Self::EnvoyEds => envoy::write(shape, entries),
            Self::PrometheusSd => prometheus::write(entries),
            Self::Hosts => hosts::write(shape, entries),
            Self::Json => json::write(me, entries),
            Self::Template => match &shape.template {
                Some(template) => template.write(me, entries)?,
                None => return Err("there is no template".to_owned()),
            },
        })
    }
}

/// What the operator says about the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Of the backend, upstream or cluster.
    pub(crate) name: Option<String>,
    /// Behind each server.
    pub(crate) options: String,
    /// Servers that there are at least: those that no member has are disabled.
    pub(crate) slots: usize,
    /// Behind each name in hosts.
    pub(crate) domain: Option<String>,
    /// For that format.
    pub(crate) template: Option<Template>,
}

/// What was written, and who is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// The whole file.
    pub(crate) bytes: Vec<u8>,
    /// Members in it.
    pub(crate) members: usize,
    /// Members that would have changed its meaning.
    pub(crate) left_out: usize,
}

/// Stands in the file for `options`, with a space before it.
fn options(shape: &Shape) -> String {
    if shape.options.is_empty() { String::new() } else { format!(" {}", shape.options) }
}

/// A reader of the file should know that an edit will not last.
const HEAD: &str = "# Written by heartsay; changes are lost.\n";

#[cfg(test)]
mod tests {
    use super::*;

    use crate::export::Port;
    use crate::export::entry::tests::entry_at;

    /// Names and tags with what means something in any of the formats.
    pub(super) const HOSTILE: [&str; 14] = [
        "x;}evil{",
        "x\nserver evil 6.6.6.6:1",
        "x\r\n6.6.6.6\tlocalhost",
        "\"],\"evil\":[\"",
        "x'\"\\",
        "x#y",
        "${jndi}",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "`id`",
        "$(id)",
        "x y",
        "\u{2028}x",
        "\0",
    ];

    pub(super) fn entry(name: &str) -> Entry {
        entry_at(name, "10.0.0.1:4327", &[("role", "web")]).unwrap().with_port(&Port::Fixed(80)).unwrap()
    }

    pub(super) fn shape() -> Shape {
        Shape { name: Some("web".to_owned()), ..Shape::default() }
    }

    #[test]
    fn every_word_is_a_format_and_every_format_has_one() {
        for word in Format::WORDS {
            assert_eq!(Format::of(word).map(Format::word), Some(word));
            assert_eq!(<Format as clap::ValueEnum>::from_str(word, false).map(Format::word), Ok(word));
        }
        assert_eq!(Format::of("Haproxy"), None);
    }

    #[test]
    fn what_a_format_needs_is_asked_for_and_what_it_ignores_is_refused() {
        let object = |format: Format, shape: &Shape, port| format.objection(shape, port).map(|(key, _)| key);
        assert_eq!(object(Format::Haproxy, &shape(), false), Some("port"));
        assert_eq!(object(Format::EnvoyEds, &Shape::default(), true), Some("name"));
        assert_eq!(object(Format::Hosts, &shape(), false), Some("name"));
        assert_eq!(object(Format::Nginx, &Shape { slots: 1, ..shape() }, true), Some("slots"));
        assert_eq!(object(Format::Template, &Shape::default(), false), Some("template"));
        assert_eq!(object(Format::Nginx, &Shape::default(), true), None);
        for name in ["", "a b", "a;b", "a\nb", "a{"] {
            let shape = Shape { name: Some(name.to_owned()), ..Shape::default() };
            assert_eq!(object(Format::Haproxy, &shape, true), Some("name"), "{name:?}");
            assert_eq!(object(Format::Nginx, &shape, true), Some("name"), "{name:?}");
        }
        let lines = Shape { options: "check\nserver evil 6.6.6.6:1".to_owned(), ..shape() };
        assert_eq!(object(Format::Haproxy, &lines, true), Some("options"));
        let domain = Shape { domain: Some("a b".to_owned()), ..Shape::default() };
        assert_eq!(object(Format::Hosts, &domain, false), Some("domain"));
    }
}
