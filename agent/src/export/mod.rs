//! Exports: the members, or the instances of a service, in the form in which another program reads them.
//!
//! An export is a file, or a conversation with HAProxy, that follows the view: which members ([`Select`]), in which
//! [`Format`], and when. The formats are pure functions from members to bytes. What members say of themselves is hostile
//! text: a member whose name or tag would mean something in the file is left out of it, and counted. An instance of a service
//! ([`Served`]) is an entry like a member, and all that is said of members here holds for it.
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
pub(crate) mod served;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use entry::{Entry, Port};
pub(crate) use format::{Format, Rendered, Shape};
pub(crate) use keeper::Exports;
pub(crate) use ledger::Ledger;
pub(crate) use select::Select;
pub(crate) use served::{Served, is_awaited, seen};

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

/// The wanted ones among these, by name, and how many of them are left out: they do not say the port that they should have, or
/// an address that is one, or would be called like another.
pub(crate) fn entries(all: impl Iterator<Item = Entry>, select: &Select, port: &Port) -> (Vec<Entry>, usize) {
    let (mut entries, mut count) = (Vec::new(), 0);
    for entry in all.filter(|entry| select.takes(entry)) {
        count += 1;
        if entry.served.is_none() || entries.len() < MOST_INSTANCES {
            entries.extend(entry.with_port(port).filter(Entry::is_reachable));
        }
    }
    // Of one name, an instance without an id goes first, and then that of the shorter member: by what does not change.
    entries.sort_by(|a, b| (&a.name, rank(a)).cmp(&(&b.name, rank(b))));
    entries.dedup_by(|b, a| a.name == b.name);
    let left_out = count - entries.len();
    (entries, left_out)
}

fn rank(entry: &Entry) -> Option<(bool, &str)> {
    entry.served.as_ref().map(|served| (!served.id.is_empty(), served.member.as_str()))
}

/// In one list. As many as members, unless `max_members` says otherwise: one that lies has 128, and the memory for each.
const MOST_INSTANCES: usize = 16_384;
