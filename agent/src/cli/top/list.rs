//! The lists: the lines of each, and where the reader stands in it.

use std::cmp::Ordering;

/// So many numbers in the order of what they stand for. One sort for all lists: each kind of its own would be ten kilobytes
/// of program.
pub(super) fn sorted(mut numbers: Vec<usize>, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    numbers.sort_by(|a, b| compare(*a, *b));
    numbers
}

/// All of these, by their names.
pub(super) fn by_name<T>(all: &[T], name: impl Fn(&T) -> &str) -> Vec<usize> {
    let name = |number: usize| all.get(number).map(&name);
    sorted((0..all.len()).collect(), &|a, b| name(a).cmp(&name(b)))
}

/// The number of the one that has this name.
pub(super) fn named<T>(
    all: &[T],
    by_name: &[usize],
    name: impl Fn(&T) -> &str,
    wanted: &str,
) -> Option<usize> {
    let found = by_name.binary_search_by(|number| all.get(*number).map(&name).cmp(&Some(wanted)));
    by_name.get(found.ok()?).copied()
}

/// One list at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Members,
    Services,
    Events,
    Paths,
    Problems,
}

impl Pane {
    /// In the order of their keys.
    pub(super) const ALL: [Self; 5] =
        [Self::Members, Self::Services, Self::Events, Self::Paths, Self::Problems];

    /// What is in it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Services => "services",
            Self::Events => "events",
            Self::Paths => "paths",
            Self::Problems => "problems",
        }
    }

    /// The next one, or with -1 the one before.
    pub(super) fn step(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        let next = at.cast_signed().saturating_add(by).rem_euclid(Self::ALL.len().cast_signed());
        Self::ALL.get(next.cast_unsigned()).copied().unwrap_or_default()
    }
}

/// The order of the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Trouble,
    Name,
    Phi,
    Rtt,
    Since,
    Zone,
}

impl Sort {
    /// By what.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Name => "name",
            Self::Phi => "phi",
            Self::Rtt => "round trip",
            Self::Since => "latest change",
            Self::Zone => "zone",
        }
    }

    /// The next one.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Name,
            Self::Name => Self::Phi,
            Self::Phi => Self::Rtt,
            Self::Rtt => Self::Since,
            Self::Since => Self::Zone,
            Self::Zone => Self::Trouble,
        }
    }
}

/// Of each pane, by its number.
#[derive(Debug, Default)]
pub(super) struct Lists([List; 5]);

/// The lines of one pane.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Numbers of what is shown, in the order in which it is.
    pub(super) order: Vec<usize>,
    /// The line on which the reader stands.
    pub(super) at: usize,
}

impl List {
    /// The number of what the reader stands on.
    pub(super) fn chosen(&self) -> Option<usize> {
        self.order.get(self.at).copied()
    }

    /// As many lines as there is room for, the chosen one among them, each with whether it is that.
    pub(super) fn visible(&self, room: usize) -> impl Iterator<Item = (usize, bool)> {
        let last = self.order.len().saturating_sub(room);
        let first = self.at.saturating_sub(room / 2).min(last);
        let lines = self.order.iter().enumerate().skip(first).take(room);
        lines.map(|(line, number)| (*number, line == self.at))
    }

    /// Goes so many lines down, or up, and not beyond the ends.
    pub(super) fn move_by(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by).min(self.order.len().saturating_sub(1));
    }
}

impl Lists {
    /// The list of this pane.
    pub(super) fn of(&self, pane: Pane) -> &List {
        let [members, services, events, paths, problems] = &self.0;
        match pane {
            Pane::Members => members,
            Pane::Services => services,
            Pane::Events => events,
            Pane::Paths => paths,
            Pane::Problems => problems,
        }
    }

    /// The same to be changed.
    pub(super) fn of_mut(&mut self, pane: Pane) -> &mut List {
        let [members, services, events, paths, problems] = &mut self.0;
        match pane {
            Pane::Members => members,
            Pane::Services => services,
            Pane::Events => events,
            Pane::Paths => paths,
            Pane::Problems => problems,
        }
    }
}
