//! The rosters of all that hold quorum, compared; and which members hear, and are heard.

use super::roster_meter::{Contact, RosterMeter};
use super::{SimEvent, World};
use crate::checks::Split;
use crate::host::would_say_held;

impl World {
    /// The network changed, or a member came, went, stood still or went on.
    pub(super) fn changed(&mut self) {
        self.calm = self.now;
        if let Some(rosters) = self.meter.rosters() {
            rosters.changed(self.now);
            self.queue.push(self.now + self.judge.one_cut_within(), SimEvent::Compare);
        }
    }

    /// Compares rosters if anything happened that may have changed them.
    pub(super) fn compare_if_stale(&mut self) {
        if self.meter.rosters().is_some_and(RosterMeter::take_stale) {
            self.compare();
        }
    }

    /// Compares the rosters of all that hold quorum.
    pub(super) fn compare(&mut self) {
        if !self.meter.measures_quorum() {
            return;
        }
        let now = self.now;
        let let_in = self.meter.rosters().map(|rosters| rosters.being_let_in(now)).unwrap_or_default();
        let split = self.is_split(&let_in);
        if let Some(rosters) = self.meter.rosters() {
            rosters.compared(self.now, split);
        }
        if split && self.judge.splits_matter(self.now, self.calm) {
            let holders: Vec<usize> = self.meter.holders().filter(|m| self.acts(*m)).collect();
            if let Some(split) = self.worst_split(&holders, &let_in) {
                self.judge.split(self.now, self.calm, &split, &holders);
            }
        }
    }

    /// Whether two members that hold quorum have different rosters, apart from members that are being let in.
    fn is_split(&self, let_in: &[usize]) -> bool {
        let roster = |member: usize| self.board.roster_without(member, let_in);
        let mut holders = self.meter.holders();
        let Some(any) = holders.next() else { return false };
        if holders.all(|other| roster(other) == roster(any)) {
            return false;
        }
        // A word may be older than the proof behind it is good.
        let mut holders = self.meter.holders().filter(|member| self.acts(*member));
        let Some(first) = holders.next().map(roster) else { return false };
        let mut others = self.meter.holders().filter(|other| roster(*other) != first);
        others.any(|other| self.acts(other))
    }

    fn acts(&self, member: usize) -> bool {
        would_say_held(&self.hosts, member, self.now)
    }

    /// How two of `holders` differ: of all ways the worst.
    fn worst_split(&self, holders: &[usize], let_in: &[usize]) -> Option<Split> {
        let roster = |member: usize| self.board.roster_without(member, let_in);
        let pairs =
            || holders.iter().flat_map(|a| holders.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
        let belief = |observer, subject| self.board.belief(observer, subject);
        let told = |(_, subject): &(usize, usize)| !let_in.contains(subject);
        if let Some((observer, subject)) = pairs().filter(told).find(|(a, b)| belief(*a, *b).down()) {
            return Some(Split::Down { observer, subject });
        }
        if let Some((observer, subject)) = pairs().filter(told).find(|(a, b)| !belief(*a, *b).present()) {
            return Some(Split::Outside { observer, subject });
        }
        let (with, without) = pairs().find(|(a, b)| roster(*a) != roster(*b))?;
        let differs = |m: &usize| belief(with, *m).present() != belief(without, *m).present();
        let others = (0..self.hosts.len()).filter(|m| *m != with && *m != without && !let_in.contains(m));
        let about = others.into_iter().find(differs)?;
        let (with, without) = if belief(with, about).present() { (with, without) } else { (without, with) };
        Some(Split::Rosters { with, without, about })
    }

    /// Which members are deaf or mute now.
    pub(super) fn hear(&mut self) {
        if !self.meter.measures_quorum() {
            return;
        }
        let now = self.now;
        for member in 0..self.hosts.len() {
            let contact = self.contact(member);
            if let Some(rosters) = self.meter.rosters() {
                rosters.contact(now, member, contact);
            }
        }
    }

    fn contact(&self, member: usize) -> Contact {
        let runs = |member: usize| self.hosts[member].process.is_some();
        let others = || (0..self.hosts.len()).filter(|other| *other != member && runs(*other));
        if !runs(member) {
            return Contact::Other;
        }
        let hears = others().any(|other| self.network.carries(other, member));
        let is_heard = others().any(|other| self.network.carries(member, other));
        match (hears, is_heard) {
            (false, true) => Contact::Deaf,
            (true, false) => Contact::Mute,
            (true, true) | (false, false) => Contact::Other,
        }
    }
}
