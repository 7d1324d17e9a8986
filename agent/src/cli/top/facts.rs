//! What the agent says, on its way to the screen: everything in it has been made fit for a terminal.

use std::collections::BTreeMap;

use crate::types::{Finding, Member, PathRow, Paths, SelfInfo, Service, ServiceInstance, WatchLine};

/// One look at the agent.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The agent itself. Its findings are joined with those of its host.
    pub(super) me: SelfInfo,
    /// Of the last event that the members include.
    pub(super) index: u64,
    /// As the agent sorts them.
    pub(super) members: Vec<Member>,
    /// Names as the agent knows them, where they are shown otherwise.
    pub(super) spelt: BTreeMap<String, String>,
}

/// An instance of a service.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) service: String,
    /// Of the service, instances that are well, and all.
    pub(super) healthy: usize,
    pub(super) known: usize,
    pub(super) told: ServiceInstance,
}

impl Instance {
    /// `web`, or `web/2`.
    pub(super) fn full_name(&self) -> String {
        if self.told.id.is_empty() {
            self.service.clone()
        } else {
            format!("{}/{}", self.service, self.told.id)
        }
    }
}

/// What comes from the agent, bit by bit.
#[derive(Debug)]
pub(super) enum News {
    /// It answers.
    Facts(Box<Facts>),
    /// Its direct paths.
    Paths(Vec<PathRow>),
    /// How another member reaches the others, as it has told; `None`: it has not answered.
    Told(String, Option<Paths>),
    /// All services.
    Services(Vec<Service>),
    /// Something happened.
    Line(Box<WatchLine>),
    /// The member that was asked for, with its evidence; `None`: it is known no more.
    Case(String, Option<Box<Member>>),
    /// It does not answer.
    Away {
        /// Why.
        why: String,
        /// What its host shows.
        findings: Vec<Finding>,
    },
}

/// What the screen wants to be asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// Looks that were asked for so far.
    pub(super) looks: u64,
    /// The member whose evidence is wanted with each look: as it is shown, and as the agent knows it.
    pub(super) case: Option<(String, String)>,
    /// Whether the other members are to be asked how they reach one another.
    pub(super) reach: bool,
}

impl Wishes {
    /// One more.
    pub(super) fn add(&mut self, wish: Wish) {
        match wish {
            Wish::Look => self.looks = self.looks.wrapping_add(1),
            Wish::Case(shown, known) => self.case = Some((shown, known)),
            Wish::NoCase => self.case = None,
        }
    }
}

/// A change of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Everything, now.
    Look,
    /// The evidence on this member with each look from now on, by the name that is shown and the name that the agent knows.
    Case(String, String),
    /// No member's any more.
    NoCase,
}
