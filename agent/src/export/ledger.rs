//! When a change of the list is published: down at once, up after settling.
//!
//! Who is gone, or is elsewhere now, leaves the list at once: a balancer that goes on asking it loses requests. Who is new, or
//! says something else about itself, comes when nothing of that kind has happened for `settle`, so that a cluster that starts, or
//! a member that comes and goes, makes one change and not many; the first of them waits four times as long at most.
//!
//! One exception: an instance that a connection held is not known to a new life of its agent before its holder has registered
//! again, and stays meanwhile, for [`RETURN`].
//!
//! Weak spot: members that leave one by one, some milliseconds apart, make as many changes.

use std::collections::BTreeMap;
use std::time::Duration;

use heartsay_membership::Instant;

use super::Entry;

/// What is published, and what waits to be.
#[derive(Debug)]
pub(crate) struct Ledger {
    settle: Duration,
    published: BTreeMap<String, Entry>,
    /// New members, and those that say something new, each with the moment since when.
    pending: BTreeMap<String, (Entry, Instant)>,
    /// Published, and awaited again, each since when.
    awaited: BTreeMap<String, Instant>,
    /// Of the first look. Nothing is published before the view of that moment has settled.
    first: Option<Instant>,
    begun: bool,
}

impl Ledger {
    /// Nothing is published yet. `settle`: see above.
    pub(crate) fn new(settle: Duration) -> Self {
        Self {
            settle,
            published: BTreeMap::new(),
            pending: BTreeMap::new(),
            awaited: BTreeMap::new(),
            first: None,
            begun: false,
        }
    }

    /// The list to publish now, by name, if these are wanted; `None` before the first has settled. Nothing changes before
    /// [`commit`](Self::commit): a list that is held back is asked for again. `is_awaited`: whether one that is published and
    /// not wanted any more is likely to come again at once.
    pub(crate) fn propose(
        &mut self,
        now: Instant,
        wanted: Vec<Entry>,
        is_awaited: impl Fn(&Entry) -> bool,
    ) -> Option<Vec<Entry>> {
        let first = *self.first.get_or_insert(now);
        let wanted: BTreeMap<String, Entry> =
            wanted.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        self.pending.retain(|name, _| wanted.contains_key(name));
        let mut list = self.stay(now, &wanted, is_awaited);
        for (name, entry) in wanted {
            let published = self.published.get(&name);
            if published == Some(&entry) {
                self.pending.remove(&name);
                list.push(entry);
                continue;
            }
            list.extend(published.filter(|published| is_there(published, &entry)).cloned());
            match self.pending.get(&name) {
                Some((waits, _)) if *waits == entry => {}
                _ => drop(self.pending.insert(name, (entry, now))),
            }
        }
        if self.settles().is_some_and(|due| due <= now) {
            let settled = |since: Instant| since + self.settle <= now;
            let fresh: Vec<&Entry> =
                self.pending.values().filter(|(_, since)| settled(*since)).map(|(entry, _)| entry).collect();
            list.retain(|entry| fresh.iter().all(|fresh| fresh.name != entry.name));
            list.extend(fresh.into_iter().cloned());
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        (self.begun || first + self.settle <= now).then_some(list)
    }

    /// Those that are published, not wanted, and stay for a while yet.
    fn stay(
        &mut self,
        now: Instant,
        wanted: &BTreeMap<String, Entry>,
        is_awaited: impl Fn(&Entry) -> bool,
    ) -> Vec<Entry> {
        let gone = self.published.values().filter(|entry| !wanted.contains_key(&entry.name));
        let gone: Vec<&Entry> = gone.filter(|entry| is_awaited(entry)).collect();
        let since =
            |entry: &&Entry| (entry.name.clone(), self.awaited.get(&entry.name).copied().unwrap_or(now));
        let awaited: BTreeMap<_, _> = gone.iter().map(since).collect();
        let stays = |entry: &&&Entry| awaited.get(&entry.name).is_some_and(|since| now < *since + RETURN);
        let list = gone.iter().filter(stays).map(|entry| (*entry).clone()).collect();
        self.awaited = awaited;
        list
    }

    /// Takes over a list that was published.
    pub(crate) fn commit(&mut self, list: Vec<Entry>) {
        self.published = list.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        self.begun = true;
        self.pending.retain(|name, (entry, _)| self.published.get(name) != Some(entry));
        self.awaited.retain(|name, _| self.published.contains_key(name));
    }

    /// When to propose again though nothing has happened.
    pub(crate) fn due(&self) -> Option<Instant> {
        let returns = self.awaited.values().min().map(|since| *since + RETURN);
        self.settles().into_iter().chain(returns).min()
    }

    /// When what is new has settled.
    fn settles(&self) -> Option<Instant> {
        let since = || self.pending.values().map(|(_, since)| *since);
        let pending = since().max().zip(since().min());
        let pending = pending.map(|(last, first)| (last + self.settle).min(first + self.settle * PATIENCE));
        let begin = self.first.filter(|_| !self.begun).map(|first| first + self.settle);
        match (pending, begin) {
            (Some(pending), Some(begin)) => Some(pending.max(begin)),
            (one, other) => one.or(other),
        }
    }

    /// Whether this list, by name, is the one that is published.
    pub(crate) fn is_published(&self, list: &[Entry]) -> bool {
        self.begun && list.iter().eq(self.published.values())
    }

    /// Whether anything was published.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }
}

/// Whether a list that has `published` still leads to the member.
fn is_there(published: &Entry, now: &Entry) -> bool {
    (published.address, published.port) == (now.address, now.port)
}

/// How long after a new life of an agent a holder may take to register again. `exec` and the clients ask it every 0.1 and 0.2 s.
const RETURN: Duration = Duration::from_secs(2);
/// Times `settle` that the first change waits at most while others come.
const PATIENCE: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::export::Port;
    use crate::export::entry::tests::entry_at;

    const SETTLE: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn list(names: &[&str]) -> Vec<Entry> {
        names
            .iter()
            .map(|name| entry_at(name, "10.0.0.1:4327", &[]).unwrap().with_port(&Port::Fixed(80)).unwrap())
            .collect()
    }

    fn never(_: &Entry) -> bool {
        false
    }

    fn names(list: Option<Vec<Entry>>) -> Vec<String> {
        list.expect("a list").into_iter().map(|entry| entry.name).collect()
    }

    /// Publishes whatever is proposed.
    fn publish(ledger: &mut Ledger, ms: u64, wanted: &[&str]) -> Vec<String> {
        let list = ledger.propose(at(ms), list(wanted), never).expect("a list");
        ledger.commit(list.clone());
        names(Some(list))
    }

    fn begun(wanted: &[&str]) -> Ledger {
        let mut ledger = Ledger::new(SETTLE);
        assert_eq!(ledger.propose(at(0), list(wanted), never), None);
        assert_eq!(ledger.due(), Some(at(2000)));
        assert_eq!(publish(&mut ledger, 2000, wanted), wanted);
        assert_eq!(ledger.due(), None, "at rest nothing is waited for");
        ledger
    }

    #[test]
    fn who_is_down_leaves_at_once_and_who_is_new_waits() {
        let mut ledger = begun(&["a", "b"]);
        assert_eq!(publish(&mut ledger, 5000, &["a"]), ["a"]);
        assert_eq!(publish(&mut ledger, 6000, &["a", "b"]), ["a"]);
        assert_eq!(ledger.due(), Some(at(8000)));
        assert_eq!(publish(&mut ledger, 8000, &["a", "b"]), ["a", "b"]);
    }

    #[test]
    fn who_comes_and_goes_stays_out_until_it_stays() {
        let mut ledger = begun(&["a"]);
        for second in 0..10 {
            assert_eq!(publish(&mut ledger, 10_000 + 1000 * second, &["a", "b"]), ["a"]);
            assert_eq!(publish(&mut ledger, 10_500 + 1000 * second, &["a"]), ["a"]);
        }
        assert_eq!(ledger.due(), None);
    }

    #[test]
    fn those_who_come_together_come_at_once_and_the_first_does_not_wait_for_ever() {
        let mut ledger = begun(&["a"]);
        let (mut wanted, mut changes) = (vec!["a"], Vec::new());
        for (n, name) in ["b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].into_iter().enumerate() {
            wanted.push(name);
            let ms = 10_000 + 1000 * n as u64;
            let (before, after) = (ledger.published.len(), publish(&mut ledger, ms, &wanted).len());
            if after > before {
                changes.push((ms, after));
            }
        }
        assert_eq!(changes, [(18_000, 8)], "b waits four times, and who came a second ago waits on");
    }

    #[test]
    fn who_moves_leaves_its_old_place_at_once() {
        let mut ledger = begun(&["a", "b"]);
        let mut moved = list(&["a", "b"]);
        moved[1].address = "10.0.0.9".parse().unwrap();
        let proposed = ledger.propose(at(5000), moved.clone(), never).unwrap();
        assert_eq!(names(Some(proposed.clone())), ["a"]);
        ledger.commit(proposed);
        assert_eq!(ledger.propose(at(7000), moved.clone(), never), Some(moved));
    }

    #[test]
    fn who_says_something_else_is_kept_as_it_was_until_that_has_settled() {
        let mut ledger = begun(&["a"]);
        let mut fresh = list(&["a"]);
        fresh[0].zone = Some("east".to_owned());
        assert_eq!(ledger.propose(at(5000), fresh.clone(), never), Some(list(&["a"])));
        assert_eq!(ledger.propose(at(7000), fresh.clone(), never), Some(fresh));
    }

    #[test]
    fn what_is_held_back_is_proposed_again_and_forgotten_when_it_is_over() {
        let mut ledger = begun(&["a", "b", "c"]);
        assert_eq!(names(ledger.propose(at(5000), list(&["a"]), never)), ["a"]);
        assert_eq!(names(ledger.propose(at(6000), list(&["a"]), never)), ["a"]);
        assert_eq!(names(ledger.propose(at(7000), list(&["a", "b", "c"]), never)), ["a", "b", "c"]);
        assert_eq!(ledger.due(), None, "they never left");
    }

    #[test]
    fn an_empty_list_settles_too() {
        let mut ledger = Ledger::new(SETTLE);
        assert_eq!(ledger.propose(at(0), Vec::new(), never), None);
        assert_eq!(ledger.propose(at(2000), Vec::new(), never), Some(Vec::new()));
    }

    #[test]
    fn who_is_awaited_stays_a_while_and_is_no_newcomer_then() {
        let mut ledger = begun(&["a", "b"]);
        let awaited = |entry: &Entry| entry.name == "b";
        let proposed = ledger.propose(at(5000), list(&["a"]), awaited);
        assert_eq!(proposed, Some(list(&["a", "b"])));
        assert!(ledger.is_published(&proposed.unwrap()));
        assert_eq!(ledger.due(), Some(at(7000)));
        let mut back = list(&["a", "b"]);
        back[1].generation += 1;
        assert_eq!(ledger.propose(at(5100), back.clone(), never), Some(list(&["a", "b"])));
        assert_eq!(ledger.propose(at(7100), back.clone(), never), Some(back.clone()), "its new life is told");
        ledger.commit(back);
        assert_eq!(ledger.due(), None);
        assert_eq!(names(ledger.propose(at(9000), list(&["a"]), awaited)), ["a", "b"]);
        assert_eq!(names(ledger.propose(at(10_999), list(&["a"]), awaited)), ["a", "b"]);
        assert_eq!(publish(&mut ledger, 11_000, &["a"]), ["a"], "it did not come");
        assert_eq!(ledger.due(), None);
        assert_eq!(names(ledger.propose(at(12_000), list(&["a"]), awaited)), ["a"]);
    }
}
