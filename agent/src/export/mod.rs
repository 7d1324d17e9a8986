//! Exports: the members, in the form in which another program reads them.
//!
//! An export is a file, or a conversation with HAProxy, that follows the view: which members ([`Select`]), in which
//! [`Format`], and when. The formats are pure functions from members to bytes. What members say of themselves is hostile
//! text: a member whose name or tag would mean something in the file is left out of it, and counted.
//!
//! [`Ledger`] decides when a change is published: who is gone at once, who is new after a while. [`doubt`] says when the view
//! is not to be believed, and the last good list stays. A task for each ([`Exports`]) carries it out; without
//! exports there is none, and nothing wakes up.

pub(crate) mod doubt;
pub(crate) mod entry;
pub(crate) mod follow;
pub(crate) mod format;
pub(crate) mod keeper;
pub(crate) mod ledger;
pub(crate) mod runtime;
pub(crate) mod select;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use entry::{Entry, Port};
pub(crate) use format::{Format, Rendered, Shape};
pub(crate) use keeper::Exports;
pub(crate) use ledger::Ledger;
pub(crate) use select::Select;

/// One export, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    /// Who reads it.
    pub(crate) format: Format,
    /// The form, where the format leaves one open.
    pub(crate) shape: Shape,
    /// Where members serve.
    pub(crate) port: Port,
    /// Which members.
    pub(crate) select: Select,
    /// The file, if there is one.
    pub(crate) path: Option<PathBuf>,
    /// It is a block in a file of others.
    pub(crate) block: bool,
    /// Socket of HAProxy's runtime API, if that is told too.
    pub(crate) runtime: Option<PathBuf>,
    /// A shorter list is never published.
    pub(crate) min_members: usize,
    /// How long nothing new has to come before what is new is published.
    pub(crate) settle: Duration,
    /// Up to so much longer, by a number drawn at the start: not all hosts of a cluster do the same at once.
    pub(crate) splay: Duration,
    /// Shell command to run when something has changed.
    pub(crate) on_change: Option<String>,
}

impl Export {
    /// What it is called: its file, or else the socket.
    pub(crate) fn label(&self) -> String {
        let place = self.path.as_deref().or(self.runtime.as_deref()).unwrap_or(Path::new(""));
        place.display().to_string()
    }
}

/// The wanted ones among these, by name, and how many of them do not say the port that they should have.
pub(crate) fn entries(all: impl Iterator<Item = Entry>, select: &Select, port: &Port) -> (Vec<Entry>, usize) {
    let wanted: Vec<Entry> = all.filter(|entry| select.takes(entry)).collect();
    let count = wanted.len();
    let mut entries: Vec<Entry> = wanted.into_iter().filter_map(|entry| entry.with_port(port)).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let without = count - entries.len();
    (entries, without)
}
