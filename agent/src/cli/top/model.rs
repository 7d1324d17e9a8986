//! What the screen shows: facts and keys go in with the time, rows come out. It knows no terminal, no agent and no clock.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;

use super::facts::{Facts, Instance, News};
use super::fault::Verdict;
use super::filter::Filter;
use super::habits::Habits;
use super::list::{Lists, Pane, Sort, by_name, named};
use super::problem::{Problem, problems};
use super::trouble::{Trouble, usual};
use crate::cli::output::Output;
use crate::cli::watch::words;
use crate::types::{Finding, Member, PathRow, Service, WatchLine};

/// Everything that is on the screen or could be.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) contact: Contact,
    pub(super) facts: Option<Facts>,
    pub(super) paths: Vec<PathRow>,
    /// Paths of other members that are not well, by their own word, and the members that did not say.
    pub(super) told: Vec<(String, PathRow)>,
    pub(super) mute: BTreeSet<String>,
    pub(super) services: Vec<Instance>,
    /// The newest first.
    pub(super) events: VecDeque<Event>,
    pub(super) habits: Habits,
    /// Of the members, in their order.
    pub(super) troubles: Vec<Trouble>,
    /// The round trip of half of the paths, in seconds.
    pub(super) usual: f64,
    pub(super) problems: Vec<Problem>,
    pub(super) verdict: Option<Verdict>,
    pub(super) pane: Pane,
    pub(super) lists: Lists,
    pub(super) filter: Filter,
    pub(super) sort: Sort,
    pub(super) over: Over,
    /// Something came in since the conclusions were drawn.
    unsettled: bool,
    /// Numbers of the members, and of the paths, in the order of their names.
    member_names: Vec<usize>,
    path_names: Vec<usize>,
}

/// Whether the agent answers.
#[derive(Debug, Default)]
pub(super) enum Contact {
    /// Not yet.
    #[default]
    Begun,
    /// Last at this time.
    Live(Timestamp),
    /// No more.
    Away {
        /// Of its last answer, if there was any.
        last: Option<Timestamp>,
        /// Why.
        why: String,
        /// What its host shows.
        findings: Vec<Finding>,
    },
}

/// What lies over the lists.
#[derive(Debug, Default)]
pub(super) enum Over {
    /// Nothing.
    #[default]
    Nothing,
    /// The keys.
    Help,
    /// A filter that is being typed, with what is wrong with it.
    Typing { text: String, error: Option<String> },
    /// The evidence on a member.
    Case { name: String, told: Told, scrolled: usize },
}

/// How much is known of a case.
#[derive(Debug)]
pub(super) enum Told {
    /// It was asked for.
    Asked,
    /// All there is.
    Member(Box<Member>),
    /// No member is called so any more.
    Gone,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) index: u64,
    /// RFC 3339.
    pub(super) time: String,
    /// The member.
    pub(super) name: Option<String>,
    /// Its status by then.
    pub(super) status: Option<String>,
    /// One sentence.
    pub(super) what: String,
}

impl Model {
    /// Takes in what came from the agent.
    pub(super) fn take(&mut self, news: News, now: Timestamp) {
        match news {
            News::Facts(facts) => {
                self.member_names = by_name(&facts.members, member_name);
                self.contact = Contact::Live(now);
                self.habits.look(&facts.members, now);
                let is_there = |name: &str| {
                    let known = facts.members.iter().find(|member| member.name == name);
                    known.is_some_and(|member| matches!(member.status.as_str(), "alive" | "suspect"))
                };
                self.mute.retain(|name| is_there(name));
                self.told.retain(|(from, path)| is_there(from) && is_there(&path.name));
                self.facts = Some(*facts);
            }
            News::Paths(paths) => {
                self.usual = usual(&paths);
                self.path_names = by_name(&paths, path_name);
                self.paths = paths;
            }
            News::Told(from, paths) => {
                if let Some(paths) = paths {
                    self.mute.remove(&from);
                    self.told.retain(|(by, _)| *by != from);
                    let unwell = |path: &PathRow| path.state == "down" || path.unanswered > 0;
                    let rows = paths.paths.into_iter().filter(unwell);
                    self.told.extend(rows.map(|path| (from.clone(), path)));
                } else {
                    // What it said last may not be so any more.
                    self.told.retain(|(by, _)| *by != from);
                    self.mute.insert(from);
                }
            }
            News::Services(services) => self.services = services.into_iter().flat_map(instances).collect(),
            News::Line(line) => self.happened(&line),
            News::Case(of, member) => {
                if let Over::Case { name, told, .. } = &mut self.over
                    && *name == of
                {
                    *told = member.map_or(Told::Gone, Told::Member);
                }
                return;
            }
            News::Away { why, findings } => {
                let last = self.last_heard();
                self.contact = Contact::Away { last, why, findings };
            }
        }
        self.unsettled = true;
    }

    /// When the agent last answered.
    pub(super) fn last_heard(&self) -> Option<Timestamp> {
        match &self.contact {
            Contact::Begun => None,
            Contact::Live(at) => Some(*at),
            Contact::Away { last, .. } => *last,
        }
    }

    /// Members that are known.
    pub(super) fn members(&self) -> &[Member] {
        self.facts.as_ref().map_or(&[], |facts| &facts.members)
    }

    /// The member of this name, with its trouble.
    pub(super) fn member(&self, name: &str) -> Option<(&Member, Trouble)> {
        let at = named(self.members(), &self.member_names, member_name, name)?;
        Some((self.members().get(at)?, *self.troubles.get(at)?))
    }

    /// A line of the list of paths: whose it is, if it is another member's, and the path. Ours come first.
    pub(super) fn line_of_paths(&self, number: usize) -> Option<(Option<&str>, &PathRow)> {
        match number.checked_sub(self.paths.len()) {
            None => self.paths.get(number).map(|path| (None, path)),
            Some(number) => self.told.get(number).map(|(from, path)| (Some(from.as_str()), path)),
        }
    }

    /// The direct path to the member of this name.
    pub(super) fn path(&self, name: &str) -> Option<&PathRow> {
        self.paths.get(named(&self.paths, &self.path_names, path_name, name)?)
    }

    fn happened(&mut self, line: &WatchLine) {
        if matches!(line.kind.as_str(), "idle" | "snapshot") {
            return;
        }
        self.habits.happened(line);
        let newer = |facts: &&mut Facts| line.index > facts.index;
        if let (Some(facts), Some(name), Some(status)) =
            (self.facts.as_mut().filter(newer), &line.name, &line.status)
            && let Some(at) = named(&facts.members, &self.member_names, member_name, name)
            && let Some(member) = facts.members.get_mut(at)
            && line.kind.starts_with("member-")
            && member.status != *status
        {
            // The numbers follow with the next look.
            member.status.clone_from(status);
            member.since.clone_from(&line.time);
            member.phi = 0.0;
        }
        if self.events.len() == KEPT {
            self.events.pop_back();
        }
        self.events.push_front(Event {
            index: line.index,
            time: line.time.clone(),
            name: line.name.clone(),
            status: line.status.clone(),
            what: match &line.quorum {
                Some(quorum) => format!("quorum {}: {}", quorum.quorum, quorum.reason),
                None => words(line, &Output::plain(None)),
            },
        });
    }

    /// Draws the conclusions from what came in, once for all of it.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        if let Some(facts) = &self.facts {
            let troubles =
                facts.members.iter().map(|member| Trouble::of(member, self.path(&member.name), self.usual));
            let troubles: Vec<Trouble> = troubles.collect();
            let problems = problems(facts, &self.services);
            self.verdict = Some(Verdict::of(facts, &troubles, &problems));
            (self.troubles, self.problems) = (troubles, problems);
        }
        self.reorder();
    }
}

fn instances(service: Service) -> impl Iterator<Item = Instance> {
    let Service { name, healthy, known, instances } = service;
    instances.into_iter().map(move |told| Instance { service: name.clone(), healthy, known, told })
}

fn member_name(member: &Member) -> &str {
    &member.name
}

fn path_name(path: &PathRow) -> &str {
    &path.name
}

/// Events that are kept.
const KEPT: usize = 500;
