//! One instance of this host: who registered it, and how it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::check::{Effect, Running};
use super::instance::{Health, Instance};
use super::registry::Key;

/// Who registered an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// `[[service]]`.
    Settings,
    /// A program that did not stay.
    Api,
    /// The program at the other end of a connection.
    Holder {
        /// Its user.
        uid: u32,
        /// Its process, if the kernel says.
        pid: Option<i32>,
    },
}

/// One instance of this host.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) instance: Instance,
    pub(super) owner: Owner,
    pub(super) number: u64,
    /// What the owner has said.
    pub(super) said: Health,
    pub(super) text: Option<String>,
    pub(super) checks: Vec<Arc<Running>>,
    pub(super) drained: Option<String>,
    pub(super) ended: CancellationToken,
}

impl Entry {
    /// Makes its health the worst that anyone says; `drained`: why all services of this host are critical, if they are.
    pub(super) fn weigh(&mut self, drained: Option<&String>) {
        let worst = self.checks.iter().map(|check| check.health()).max();
        let drain = drained.map(|_| Health::Critical);
        self.instance.health = self.said.max(worst.max(drain).unwrap_or_default());
        self.drained = drained.cloned();
    }

    /// What is said of its health, by who makes it what it is.
    pub(super) fn text(&self) -> Option<String> {
        let drained = self.drained.clone().map(|text| (Health::Critical, text));
        let mut worst = None;
        for (health, text) in self.checks.iter().map(|check| check.says()).chain(drained) {
            if health > worst.as_ref().map_or(Health::Passing, |(worst, _)| *worst) {
                worst = Some((health, text));
            }
        }
        match worst {
            Some((health, text)) if health > self.said || health == self.said && self.text.is_none() => {
                Some(text)
            }
            _ => self.text.clone(),
        }
    }
}

/// All of this host.
pub(super) type Entries = BTreeMap<Key, Entry>;

/// The first check with this effect that is critical, in words that stay the same for as long as it is.
pub(super) fn critical(entries: &Entries, effect: Effect) -> Option<String> {
    entries.iter().find_map(|((service, _), entry)| {
        let check = entry.checks.iter().find(|check| check.is_critical(effect))?;
        Some(format!("check {} of {service} is critical", check.check().name))
    })
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("the settings"),
            Self::Api => f.write_str("the API"),
            Self::Holder { uid, pid: Some(pid) } => write!(f, "process {pid} of uid {uid}"),
            Self::Holder { uid, pid: None } => write!(f, "a program of uid {uid}"),
        }
    }
}
