//! Which lines each list has, and in which order.

use std::cmp::Ordering;

use super::list::{Pane, Sort, sorted};
use super::model::Model;
use crate::cli::output::natural;
use crate::cli::paths;
use crate::types::Member;

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
            Pane::Paths => self.paths.len() + self.told.len(),
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
            Pane::Paths => self.line_of_paths(number).map(|(_, path)| path.name.clone()),
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
            Pane::Paths => self
                .line_of_paths(number)
                .map(|(from, path)| format!("{} {}", from.unwrap_or_default(), path.name)),
            Pane::Problems => {
                self.problems.get(number).map(|one| format!("{} {:?} {}", one.code, one.of, one.side.word()))
            }
        }
    }

    fn ordered(&self, pane: Pane) -> Vec<usize> {
        let wanted = (0..self.number(pane)).filter(|number| self.is_wanted(pane, *number)).collect();
        match pane {
            // As they came.
            Pane::Events | Pane::Problems => wanted,
            Pane::Members => sorted(wanted, &|a, b| self.compare_members(a, b)),
            Pane::Services => sorted(wanted, &|a, b| self.compare_services(a, b)),
            Pane::Paths => sorted(wanted, &|a, b| match (self.line_of_paths(a), self.line_of_paths(b)) {
                (Some((by, a)), Some((other, b))) => paths::rank(a)
                    .cmp(&paths::rank(b))
                    .then_with(|| natural(by.unwrap_or_default(), other.unwrap_or_default()))
                    .then_with(|| natural(&a.name, &b.name)),
                _ => Ordering::Equal,
            }),
        }
    }

    /// Whether the filter lets it through. It says nothing of problems.
    fn is_wanted(&self, pane: Pane, number: usize) -> bool {
        let known = |name: &str| self.member(name).map(|(member, _)| member);
        if self.filter.is_empty() {
            return true;
        }
        match pane {
            Pane::Problems => true,
            Pane::Members => {
                self.members().get(number).is_some_and(|one| self.filter.takes(&one.name, Some(one)))
            }
            Pane::Services => self.services.get(number).is_some_and(|one| {
                let text = format!("{} {}", one.full_name(), one.told.member);
                self.filter.takes(&text, known(&one.told.member))
            }),
            Pane::Events => self
                .events
                .get(number)
                .is_some_and(|one| self.filter.takes(&one.what, one.name.as_deref().and_then(known))),
            Pane::Paths => self.line_of_paths(number).is_some_and(|(from, one)| {
                let text = format!("{} {}", one.name, from.unwrap_or_default());
                self.filter.takes(text.trim_end(), known(&one.name))
            }),
        }
    }

    fn compare_members(&self, a: usize, b: usize) -> Ordering {
        let members = self.members();
        let (Some(one), Some(other)) = (members.get(a), members.get(b)) else { return Ordering::Equal };
        let troubles = self.troubles.get(a).cmp(&self.troubles.get(b));
        self.compare(one, other, troubles).then_with(|| natural(&one.name, &other.name))
    }

    fn compare_services(&self, a: usize, b: usize) -> Ordering {
        let (Some(one), Some(other)) = (self.services.get(a), self.services.get(b)) else {
            return Ordering::Equal;
        };
        let rank = |status: &str, health: &str| match (status, health) {
            (_, "critical") => 0,
            ("alive", "passing") => 3,
            ("alive", _) => 2,
            _ => 1,
        };
        let (a, b) = (&one.told, &other.told);
        rank(&a.status, &a.health)
            .cmp(&rank(&b.status, &b.health))
            .then_with(|| natural(&one.service, &other.service))
            .then_with(|| natural(&a.member, &b.member))
            .then_with(|| natural(&a.id, &b.id))
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
