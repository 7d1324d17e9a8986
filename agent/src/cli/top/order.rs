//! Which lines each list has, and in which order.

use std::cmp::Ordering;

use super::list::{Pane, Sort};
use super::model::Model;
use super::trouble::Trouble;
use crate::cli::output::natural;
use crate::cli::paths;
use crate::types::{Member, PathRow};

impl Model {
    /// Goes so many lines down, or up.
    pub(super) fn move_by(&mut self, by: isize) {
        self.lists.of_mut(self.pane).move_by(by);
    }

    /// How many there are without a filter.
    pub(super) fn number(&self, pane: Pane) -> usize {
        match pane {
            Pane::Members => self.members().len(),
            Pane::Services => self.services.len(),
            Pane::Events => self.events.len(),
            Pane::Paths => self.paths.len(),
            Pane::Problems => self.problems.len(),
        }
    }

    /// The member that the chosen line is about.
    pub(super) fn chosen_member(&self) -> Option<String> {
        let number = self.lists.of(self.pane).chosen()?;
        match self.pane {
            Pane::Members => self.members().get(number).map(|member| member.name.clone()),
            Pane::Services => self.services.get(number).map(|one| one.told.member.clone()),
            Pane::Events => self.events.get(number).and_then(|event| event.name.clone()),
            Pane::Paths => self.paths.get(number).map(|path| path.name.clone()),
            Pane::Problems => {
                let of = self.problems.get(number)?.of.as_deref()?;
                self.member(of).map(|(member, _)| member.name.clone())
            }
        }
    }

    /// Lays all lists anew. Who stands on the first line stays there, where the worst is; who stands on another stays with
    /// what it is about.
    pub(super) fn reorder(&mut self) {
        for pane in Pane::ALL {
            let order = self.ordered(pane);
            let list = self.lists.of(pane);
            let key = list.chosen().filter(|_| list.at > 0).and_then(|number| self.key(pane, number));
            let kept =
                key.and_then(|key| order.iter().position(|n| self.key(pane, *n).as_ref() == Some(&key)));
            let list = self.lists.of_mut(pane);
            list.at = kept.unwrap_or(list.at).min(order.len().saturating_sub(1));
            list.order = order;
        }
    }

    /// What a line is about, whatever its number.
    fn key(&self, pane: Pane, number: usize) -> Option<String> {
        match pane {
            Pane::Members => self.members().get(number).map(|member| member.name.clone()),
            Pane::Services => {
                self.services.get(number).map(|one| format!("{} {}", one.full_name(), one.told.member))
            }
            Pane::Events => self.events.get(number).map(|event| format!("{} {}", event.index, event.time)),
            Pane::Paths => self.paths.get(number).map(|path| path.name.clone()),
            Pane::Problems => {
                self.problems.get(number).map(|one| format!("{} {:?} {}", one.code, one.of, one.side.word()))
            }
        }
    }

    fn ordered(&self, pane: Pane) -> Vec<usize> {
        let known = |name: &str| self.member(name).map(|(member, _)| member);
        match pane {
            Pane::Members => self.ordered_members(),
            Pane::Services => {
                let order = self.services.iter().enumerate().filter(|(_, one)| {
                    let text = format!("{} {}", one.full_name(), one.told.member);
                    self.filter.is_empty() || self.filter.takes(&text, known(&one.told.member))
                });
                let mut order: Vec<_> = order.collect();
                order.sort_by(|(_, a), (_, b)| {
                    let rank = |status: &str, health: &str| match (status, health) {
                        (_, "critical") => 0,
                        ("alive", "passing") => 3,
                        ("alive", _) => 2,
                        _ => 1,
                    };
                    let ranks =
                        rank(&a.told.status, &a.told.health).cmp(&rank(&b.told.status, &b.told.health));
                    ranks
                        .then_with(|| natural(&a.service, &b.service))
                        .then_with(|| natural(&a.told.member, &b.told.member))
                        .then_with(|| natural(&a.told.id, &b.told.id))
                });
                order.into_iter().map(|(number, _)| number).collect()
            }
            Pane::Events => {
                let order = self.events.iter().enumerate().filter(|(_, event)| {
                    let member = event.name.as_deref().filter(|_| !self.filter.is_empty()).and_then(known);
                    self.filter.takes(&event.what, member)
                });
                order.map(|(number, _)| number).collect()
            }
            Pane::Paths => {
                let order = self.paths.iter().enumerate();
                let mut order: Vec<(usize, &PathRow)> = order
                    .filter(|(_, path)| {
                        self.filter.is_empty() || self.filter.takes(&path.name, known(&path.name))
                    })
                    .collect();
                order.sort_by(|(_, a), (_, b)| paths::order(a, b));
                order.into_iter().map(|(number, _)| number).collect()
            }
            Pane::Problems => (0..self.problems.len()).collect(),
        }
    }

    fn ordered_members(&self) -> Vec<usize> {
        let members = self.members().iter().zip(&self.troubles).enumerate();
        let mut order: Vec<(usize, (&Member, &Trouble))> =
            members.filter(|(_, (member, _))| self.filter.takes(&member.name, Some(member))).collect();
        order.sort_by(|(_, (a, is)), (_, (b, was))| {
            self.compare(a, b, is.cmp(was)).then_with(|| natural(&a.name, &b.name))
        });
        order.into_iter().map(|(number, _)| number).collect()
    }

    fn compare(&self, a: &Member, b: &Member, troubles: Ordering) -> Ordering {
        let rtt = |member: &Member| self.path(&member.name).and_then(|path| path.rtt_ms).unwrap_or(-1.0);
        match self.sort {
            // Of two that are as bad, the one that it has just befallen.
            Sort::Trouble if troubles == Ordering::Equal => {
                let is_worth = |member: &Member| !matches!(member.status.as_str(), "alive" | "left");
                if is_worth(a) && is_worth(b) { b.since.cmp(&a.since) } else { Ordering::Equal }
            }
            Sort::Trouble => troubles,
            Sort::Name => Ordering::Equal,
            Sort::Phi => b.phi.total_cmp(&a.phi),
            Sort::Rtt => rtt(b).total_cmp(&rtt(a)),
            Sort::Since => b.since.cmp(&a.since),
            Sort::Zone => a.zone.cmp(&b.zone).then(troubles),
        }
    }
}
