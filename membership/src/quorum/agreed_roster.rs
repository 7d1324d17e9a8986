//! The electorate that follows the cluster: the roster that was last agreed on, as one member keeps it.
//!
//! Picture: a club whose list of members hangs on the wall. A meeting with a majority of the list may change the list;
//! a smaller one may not, however sure it is that the others are dead.
//!
//! Rules. *Found*: the first list is whoever has been seen together for a while, unless somebody there has a list without
//! us; where some hold quorum, it is those. *Grow*: while quorum is held, members that stay are added, one at a time.
//! *Shrink*: while quorum is held, whoever is down is struck off; whoever says good-bye is struck off by all at once, since it
//! says itself that it votes no more. Suspicion and being forgotten change nothing. *Tie*: half of the list is a majority when
//! the lowest name is in it, once the list has lasted. *Mutual*: a member counts for those on its own list, and for nobody
//! else. *Begin again*: whoever hears from holders of quorum that it was struck off throws its own list away.
//!
//! Why two sides of one cut never both hold: the smaller one has no quorum, by the clock, before the larger one can
//! call anybody down, and so cannot shrink its list. Lists that differ only by members that are gone for good agree:
//! of *n* votes without *d* one side needs half of *n - d* among those that are left, and two sides cannot both find that.
//! Lists that differ by one newcomer agree, as majorities of *n* and *n + 1* share a vote where no tie is decided. And
//! whoever was struck off finds nobody who counts with it when it is back.
//!
//! Weak spot: each member changes its own list when it sees why, and no two at the same moment. Whoever was struck off
//! here, lives, and still counts over there makes two majorities that share nobody (docs/decisions.md).

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::identity::Name;
use crate::quorum::{AgreedRoster, Ballot, majority};
use crate::roster::standing::Status;

/// The agreed roster of one member, and who may be next.
#[derive(Clone, Debug)]
pub struct RosterTracker {
    /// By hash, as rosters are sorted. Empty: nothing is agreed on yet.
    names: BTreeMap<u64, Name>,
    since: Instant,
    /// So many make a first roster.
    first: usize,
    /// Those not in it that are alive, and since when we have seen them so.
    waiting: BTreeMap<u64, Instant>,
    /// When somebody last came to those who wait, or went. Matters to a first roster.
    unrest: Instant,
    /// What those who are alive said last.
    words: BTreeMap<u64, VoteReply>,
    /// When it last grew, and by whom.
    grown: Instant,
    newest: Option<u64>,
    /// How long it has lasted since.
    lasted: Maturity,
}

/// How long a roster has lasted since it grew: with quorum, and by what was proven, not by the time that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Maturity {
    /// Others may not have added the newest yet.
    New,
    /// For the settling time: they have.
    Known,
    /// For [`CALM`] settling times: the newest itself has caught up.
    Calm,
}

/// What a member says about us when it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteReply {
    /// It counts with us, and has no roster yet, or has only begun to look for the others.
    Open,
    /// It counts with us, and has lost quorum.
    Lost,
    /// It counts with us, and holds quorum with so many votes present.
    Holds { present: u32 },
    /// It does not, for whatever reason.
    Refuses,
    /// It does not, and it holds quorum: its roster is without us, or not for long with us.
    StruckOff,
}

impl VoteReply {
    /// Whether it has a roster, and with it none can be founded: it is without us, or without quorum.
    fn refuses(self) -> bool {
        matches!(self, Self::Lost | Self::Refuses | Self::StruckOff)
    }

    /// The votes present, from whoever holds quorum and counts with us.
    fn present(self) -> Option<u32> {
        match self {
            Self::Holds { present } => Some(present),
            Self::Open | Self::Lost | Self::Refuses | Self::StruckOff => None,
        }
    }
}

/// The circumstances under which one looks at the view.
#[derive(Clone, Copy, Debug)]
pub struct RosterContext {
    pub now: Instant,
    /// Our own hash.
    pub me: u64,
    /// Since when quorum is held here, if it is at this moment.
    pub held: Option<Instant>,
    /// As of when a majority was last proven.
    pub proven: Instant,
    /// Votes that hear us by our own count; `None` where we live on what others lend us.
    pub present: Option<u32>,
    /// How long somebody must have been seen alive, and the view have been as it is.
    pub settle: Duration,
    /// Others are looked for, and nobody has answered.
    pub searching: bool,
}

impl RosterTracker {
    pub fn new(now: Instant, first: u32) -> Self {
        let mut agreed = Self {
            names: BTreeMap::new(),
            since: now,
            first: 1,
            waiting: BTreeMap::new(),
            unrest: now,
            words: BTreeMap::new(),
            grown: now,
            newest: None,
            lasted: Maturity::New,
        };
        agreed.ask_for(first);
        agreed
    }

    /// Takes what an earlier life of ours had agreed on, unless this one has agreed already. Returns whether it did.
    pub fn recall(&mut self, now: Instant, names: BTreeMap<u64, Name>) -> bool {
        let takes = self.names.is_empty() && !names.is_empty();
        if takes {
            (self.names, self.since) = (names, now);
            // It may have been written while it grew.
            (self.grown, self.newest, self.lasted) = (now, None, Maturity::New);
        }
        takes
    }

    /// Whether we count with `member`. While nothing is agreed on, with everybody; with a newcomer once the others, too,
    /// have had the time to add it.
    pub fn counts_with(&self, member: u64) -> bool {
        self.names.is_empty()
            || self.has(member) && (self.lasted > Maturity::New || self.newest != Some(member))
    }

    pub fn has(&self, member: u64) -> bool {
        self.names.contains_key(&member)
    }

    /// `member` has answered. `held`: whether quorum is held here. Returns whether the roster was thrown away.
    pub fn answered(&mut self, now: Instant, member: u64, word: VoteReply, held: bool) -> bool {
        self.words.insert(member, word);
        if word != VoteReply::StruckOff || held || !self.has(member) {
            return false;
        }
        // Those who hold quorum have gone on without us, and who else was struck off we cannot know. One alone may be behind.
        let on_it = || self.words.iter().filter(|(hash, _)| self.has(**hash)).map(|(_, word)| *word);
        let without = on_it().filter(|word| *word == VoteReply::StruckOff).count();
        let with = on_it().filter(|word| matches!(word, VoteReply::Holds { .. })).count();
        let over = without > with;
        if over {
            self.names.clear();
            self.waiting.clear();
            (self.since, self.unrest) = (now, now);
        }
        over
    }

    /// Whether `member` has said that it has no proof to lend us.
    pub fn is_of_no_help(&self, member: u64) -> bool {
        self.words.get(&member).is_some_and(|word| !matches!(word, VoteReply::Holds { .. }))
    }

    /// Another number of members makes a first roster; what is agreed on stays.
    pub fn ask_for(&mut self, first: u32) {
        self.first = usize::try_from(first).unwrap_or(usize::MAX).max(1);
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = (u64, &Name)> {
        self.names.iter().map(|(hash, name)| (*hash, name))
    }

    /// Those who may be added soon, as far as they are worth asking: in a first roster some stand for all.
    pub fn waiting(&self) -> impl Iterator<Item = u64> {
        let most = if self.names.is_empty() { ASKED } else { usize::MAX };
        self.waiting.keys().copied().take(most)
    }

    /// Brings it in line with the view. `view`: everybody else and ourselves; `hears`: whether a member has answered us
    /// lately that we count for it. Returns whether the roster has changed.
    pub fn follow<'a>(
        &mut self,
        look: RosterContext,
        view: impl Iterator<Item = (u64, &'a Name, Status)> + Clone,
        hears: impl Fn(u64) -> bool,
    ) -> bool {
        let before = self.names.len();
        for (hash, _, status) in view.clone() {
            // At once and by everybody, whether there is a majority or not: it says itself that it votes no more.
            let gone = status == Status::Left || status == Status::Down && look.held.is_some();
            if gone && self.names.remove(&hash).is_some() {
                tracing::debug!(%status, "out of the agreed roster");
            }
        }
        let shrunk = self.names.len() != before;
        self.wait(look.now, view.clone());
        if shrunk && self.names.is_empty() {
            // None is left, and the next is a first one again.
            self.unrest = look.now;
        }
        // By what is proven, not by the time: the last proof before a cut is good for a while after it.
        let with_quorum = look.held.map_or(Duration::ZERO, |since| look.proven.since(since.max(self.grown)));
        self.lasted = self.lasted.max(match with_quorum {
            long if long >= look.settle * CALM => Maturity::Calm,
            long if long >= look.settle => Maturity::Known,
            _ => Maturity::New,
        });
        let grown =
            if self.names.is_empty() { self.found(look, view, hears) } else { self.add(look, view, hears) };
        if grown {
            (self.grown, self.lasted) = (look.now, Maturity::New);
        }
        if shrunk || grown {
            self.since = look.now;
        }
        shrunk || grown
    }

    /// When to look again although nothing was heard.
    pub fn next(&self, look: RosterContext) -> Instant {
        if self.names.is_empty() {
            let enough = self.waiting.len() >= self.first && !look.searching;
            // If it has settled and is not founded, somebody has not answered yet.
            return if enough {
                (self.unrest + look.settle).max(look.now + ONCE_MORE)
            } else {
                Instant::NEVER
            };
        }
        // While quorum is lost nobody is added, and when it is back one looks anyway.
        let Some(held) = look.held else { return Instant::NEVER };
        let grown = held.max(self.grown);
        let at = match (self.lasted, self.waiting.values().min()) {
            (Maturity::New, _) => grown + look.settle,
            (Maturity::Known, _) => grown + look.settle * CALM,
            (Maturity::Calm, Some(since)) => *since + look.settle,
            (Maturity::Calm, None) => Instant::NEVER,
        };
        at.max(look.now + ONCE_MORE)
    }

    /// Each has one vote, in the view or not.
    pub fn ballot(&self) -> Ballot {
        let votes = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let lowest = self.names.iter().min_by_key(|(_, name)| *name).map(|(hash, _)| *hash);
        Ballot {
            votes,
            needed: majority(votes),
            // A newcomer that not everybody has on the list yet could make a half here, where the others see a majority.
            tie: lowest.filter(|_| self.lasted == Maturity::Calm && votes.is_multiple_of(2)),
            electors: self.names.keys().map(|hash| (*hash, 1)).collect(),
            fault: None,
        }
    }

    pub fn shown(&self) -> AgreedRoster {
        let mut names: Vec<Name> = self.names.values().cloned().collect();
        names.sort_unstable();
        AgreedRoster { names, since: self.since }
    }

    /// Why there is no roster yet.
    pub fn why_none(&self, searching: bool) -> String {
        let (there, first) = (self.waiting.len(), self.first);
        if there < first {
            return format!(
                "no roster is agreed on yet: {there} of the {first} members that make a first one are alive; \
                 last-agreed:{there} would do with fewer, and with fewer than half of all, two groups each could"
            );
        }
        let refusing = self.newcomers().filter(|word| word.refuses()).count();
        if refusing > 0 {
            return format!(
                "no roster is agreed on yet: {refusing} members answer that have one without us, or without quorum, or were \
                 told of another electorate"
            );
        }
        let what =
            if searching { "nobody has answered at the seeds" } else { "waiting for the view to last" };
        format!("no roster is agreed on yet: {what}")
    }

    /// Notes who is alive and not in it.
    fn wait<'a>(&mut self, now: Instant, view: impl Iterator<Item = (u64, &'a Name, Status)>) {
        let (mut waiting, mut words) = (BTreeMap::new(), BTreeMap::new());
        for (hash, _, status) in view {
            if let Some(word) = self.words.get(&hash).filter(|_| status == Status::Alive) {
                words.insert(hash, *word);
            }
            if status == Status::Alive && !self.names.contains_key(&hash) {
                waiting.insert(hash, self.waiting.get(&hash).copied().unwrap_or(now));
            }
        }
        if !waiting.keys().eq(self.waiting.keys()) {
            self.unrest = now;
        }
        (self.waiting, self.words) = (waiting, words);
    }

    /// What those said last who wait.
    fn newcomers(&self) -> impl Iterator<Item = VoteReply> {
        self.words.iter().filter(|(hash, _)| self.waiting.contains_key(hash)).map(|(_, word)| *word)
    }

    /// The first roster: everybody who is alive, if they have been for long and none of them has a roster without us.
    /// Otherwise a few that are started beyond a cut would make one of their own, with the help of those who lost. Where
    /// some hold quorum, it is those and ourselves: others that are new have not been added by all of them yet. Unless most
    /// of those whom they count are as new as we are.
    fn found<'a>(
        &mut self,
        look: RosterContext,
        view: impl Iterator<Item = (u64, &'a Name, Status)>,
        hears: impl Fn(u64) -> bool,
    ) -> bool {
        let settled = look.now >= self.unrest + look.settle && !look.searching;
        // Where somebody holds quorum, only the word of those who do matters.
        let said = |hash: u64| self.words.get(&hash).copied();
        let holders = self.newcomers().filter_map(VoteReply::present);
        let (count, present) =
            holders.fold((0_u32, None), |(count, most), p| (count.saturating_add(1), most.max(Some(p))));
        let welcome = match present {
            None => !self.newcomers().any(VoteReply::refuses) && self.waiting().all(hears),
            Some(_) => !self.newcomers().any(|word| word == VoteReply::StruckOff),
        };
        if !settled || !welcome || self.waiting.len() < self.first {
            return false;
        }
        // With fewer than half of those whom the holders count, the roster would be one that is too easily held.
        let all = present.is_none_or(|present| count.saturating_add(1).saturating_mul(2) <= present);
        let holds = |hash: u64| hash == look.me || said(hash).and_then(VoteReply::present).is_some();
        let takes = |hash: &u64| self.waiting.contains_key(hash) && (all || holds(*hash));
        self.names =
            view.filter(|(hash, _, _)| takes(hash)).map(|(hash, name, _)| (hash, name.clone())).collect();
        self.waiting.retain(|hash, _| !self.names.contains_key(hash));
        self.newest = None;
        !self.names.is_empty()
    }

    /// One more: the lowest name of those who have stayed. Not before everybody, the last one too, has had the time to catch
    /// up, and not if its vote would be missed at once.
    fn add<'a>(
        &mut self,
        look: RosterContext,
        view: impl Iterator<Item = (u64, &'a Name, Status)>,
        hears: impl Fn(u64) -> bool,
    ) -> bool {
        if look.held.is_none() || self.lasted < Maturity::Calm {
            return false;
        }
        let needed = majority(u32::try_from(self.names.len()).unwrap_or(u32::MAX).saturating_add(1));
        let enough =
            |hash: u64| look.present.is_none_or(|present| present + u32::from(hears(hash)) >= needed);
        // A majority must have been there when it was due, not only when we last heard: after a cut there may be none.
        let ripe =
            |hash: &u64| self.waiting.get(hash).is_some_and(|since| look.proven >= *since + look.settle);
        let next = view.filter(|(hash, _, _)| ripe(hash) && enough(*hash)).min_by_key(|(_, name, _)| *name);
        let Some((hash, name, _)) = next else { return false };
        self.waiting.remove(&hash);
        self.newest = Some(hash);
        self.names.insert(hash, name.clone()).is_none()
    }
}

/// After so many settling times everybody has the same roster: one until all have added a newcomer, one until it holds
/// quorum itself, and two, since it started that much later, until it has caught up with whom the others have added.
const CALM: u32 = 4;
/// So many of a first roster are asked whether we count for them, before there is one. Of more, the answers of every
/// round tell.
const ASKED: usize = 16;
/// When to look again after whoever is due has not answered: a question has been asked twice by then.
const ONCE_MORE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::fingerprint;

    const SETTLE: Duration = Duration::from_secs(2);

    /// A roster, the view it looks at, and the time.
    struct Club {
        agreed: RosterTracker,
        view: BTreeMap<&'static str, Status>,
        now: Instant,
        held: Option<Instant>,
        searching: bool,
        deaf: &'static str,
    }

    impl Club {
        fn of(first: u32, names: &[&'static str]) -> Self {
            let agreed = RosterTracker::new(Instant::EPOCH, first);
            let view = names.iter().map(|name| (*name, Status::Alive)).collect();
            Self { agreed, view, now: Instant::EPOCH, held: None, searching: false, deaf: "" }
        }

        /// One that has agreed on all these, and holds quorum.
        fn agreed(names: &[&'static str]) -> Self {
            let mut club = Self::of(1, names);
            club.after(0);
            assert!(club.after(2000));
            club.holds(true);
            assert!(!club.after(8000), "and calm by now");
            club
        }

        fn holds(&mut self, held: bool) {
            self.held = held.then_some(self.now);
        }

        fn look(&self) -> RosterContext {
            let present =
                self.view.iter().filter(|(name, status)| **status == Status::Alive && **name != self.deaf);
            let on_it = |name: &str| self.agreed.names().any(|(_, on_it)| on_it.as_str() == name);
            let present = u32::try_from(present.filter(|(name, _)| on_it(name)).count()).ok();
            let me = fingerprint::of_name(&Name::new("me").unwrap());
            RosterContext {
                now: self.now,
                me,
                held: self.held,
                proven: self.now,
                present,
                settle: SETTLE,
                searching: self.searching,
            }
        }

        /// Time passes, then one looks. Whether the roster has changed.
        fn after(&mut self, ms: u64) -> bool {
            self.now += Duration::from_millis(ms);
            let named: Vec<(Name, Status)> =
                self.view.iter().map(|(name, status)| (Name::new(name).unwrap(), *status)).collect();
            let view = named.iter().map(|(name, status)| (fingerprint::of_name(name), name, *status));
            let deaf = Name::new(self.deaf).ok().map(|name| fingerprint::of_name(&name));
            let look = self.look();
            self.agreed.follow(look, view, |hash| Some(hash) != deaf)
        }

        fn becomes(&mut self, name: &'static str, status: Status) -> bool {
            self.view.insert(name, status);
            self.after(10)
        }

        fn names(&self) -> String {
            self.agreed.shown().names.iter().map(Name::as_str).collect()
        }
    }

    #[test]
    fn a_first_roster_is_whoever_has_been_seen_together_for_the_settling_time() {
        let mut club = Club::of(3, &["a", "b"]);
        club.after(0);
        assert!(!club.after(9000), "two are not three");
        assert!(!club.becomes("c", Status::Alive));
        assert_eq!(club.agreed.next(club.look()), club.now + SETTLE);
        assert!(!club.after(1000));
        assert!(!club.becomes("d", Status::Alive), "the view has changed");
        assert!(!club.after(1990));
        assert!(club.after(10));
        assert_eq!(club.names(), "abcd");
    }

    #[test]
    fn nobody_agrees_on_a_first_roster_while_it_looks_for_the_others() {
        let mut club = Club::of(1, &["a"]);
        club.searching = true;
        club.after(0);
        assert!(!club.after(9000));
        assert!(club.agreed.why_none(true).contains("seeds"));
        club.searching = false;
        assert!(club.after(0));
        assert_eq!(club.names(), "a", "alone, and nobody to look for");
    }

    #[test]
    fn nobody_founds_where_somebody_has_a_roster_without_us() {
        let mut club = Club::of(2, &["a", "b", "c"]);
        let b = fingerprint::of_name(&Name::new("b").unwrap());
        club.after(0);
        club.agreed.answered(club.now, b, VoteReply::Refuses, false);
        assert!(!club.after(9000));
        assert!(club.agreed.why_none(false).contains("without us"));
        club.agreed.answered(club.now, b, VoteReply::Lost, false);
        assert!(!club.after(250), "or one without quorum");
        club.agreed.answered(club.now, b, VoteReply::Open, false);
        club.deaf = "c";
        assert!(!club.after(250), "and of the third nothing is known yet");
        club.deaf = "";
        assert!(club.after(250));
    }

    #[test]
    fn whoever_stays_is_added_while_quorum_is_held() {
        let mut club = Club::agreed(&["a", "b", "c"]);
        club.holds(false);
        club.becomes("d", Status::Alive);
        assert!(!club.after(9000), "nobody may say so");
        assert_eq!(club.agreed.next(club.look()), Instant::NEVER);
        club.holds(true);
        assert!(club.after(0));
        assert_eq!(club.names(), "abcd");
        club.after(8000);
        club.becomes("e", Status::Alive);
        club.after(1500);
        club.becomes("e", Status::Suspect);
        club.becomes("e", Status::Alive);
        assert!(!club.after(1900), "it has to last");
        assert!(club.after(100));
        assert_eq!(club.names(), "abcde");
    }

    #[test]
    fn newcomers_are_added_one_at_a_time_the_lowest_name_first() {
        let mut club = Club::agreed(&["c", "d"]);
        club.becomes("b", Status::Alive);
        club.becomes("a", Status::Alive);
        assert!(club.after(2000));
        assert_eq!(club.names(), "acd");
        assert_eq!(club.agreed.next(club.look()), club.now + SETTLE);
        assert!(!club.after(2000) && !club.after(5990), "it may not have caught up");
        assert!(club.after(10));
        assert_eq!(club.names(), "abcd");
    }

    #[test]
    fn nobody_is_added_whose_vote_would_be_missed_at_once() {
        let mut club = Club::agreed(&["a"]);
        club.deaf = "b";
        club.becomes("b", Status::Alive);
        assert!(!club.after(5000), "one of two hears us");
        club.deaf = "";
        assert!(club.after(250));
    }

    #[test]
    fn a_roster_that_has_grown_decides_ties_only_once_it_has_lasted_with_quorum() {
        let mut club = Club::agreed(&["b", "c", "d"]);
        club.becomes("z", Status::Alive);
        assert!(club.after(2000));
        assert_eq!(club.agreed.ballot().tie, None);
        club.holds(false);
        club.after(9000);
        assert_eq!(club.agreed.ballot().tie, None, "without quorum time proves nothing");
        club.holds(true);
        club.after(7990);
        assert_eq!(club.agreed.ballot().tie, None);
        club.after(10);
        assert!(club.agreed.ballot().tie.is_some());
    }

    #[test]
    fn a_member_counts_with_those_on_its_own_list_and_with_the_newest_once_it_has_lasted() {
        let mut club = Club::of(2, &["a", "b"]);
        let hash = |name: &str| fingerprint::of_name(&Name::new(name).unwrap());
        assert!(club.agreed.counts_with(hash("x")), "while there is none");
        club.after(0);
        club.after(2000);
        assert!(club.agreed.counts_with(hash("b")) && !club.agreed.counts_with(hash("x")));
        club.holds(true);
        club.after(8000);
        club.becomes("x", Status::Alive);
        assert!(club.after(2000));
        assert!(club.agreed.counts_with(hash("b")) && !club.agreed.counts_with(hash("x")));
        club.after(2000);
        assert!(club.agreed.counts_with(hash("x")));
    }

    #[test]
    fn whoever_hears_from_a_holder_on_its_own_list_that_it_was_struck_off_begins_again() {
        let mut club = Club::agreed(&["a", "b", "c"]);
        let hash = |name: &str| fingerprint::of_name(&Name::new(name).unwrap());
        let now = club.now;
        let mut says = |name: &str, word, held| club.agreed.answered(now, hash(name), word, held);
        assert!(!says("a", VoteReply::Refuses, false), "it may have been told otherwise");
        assert!(!says("x", VoteReply::StruckOff, false), "that is nobody's word");
        assert!(!says("a", VoteReply::StruckOff, true), "we hold quorum too");
        assert!(!says("b", VoteReply::Holds { present: 2 }, false));
        assert!(!says("a", VoteReply::StruckOff, false), "one against one");
        assert!(says("b", VoteReply::StruckOff, false));
        assert!(club.agreed.is_empty());
        club.after(0);
        club.agreed.answered(club.now, hash("a"), VoteReply::StruckOff, false);
        assert!(!club.after(9000), "and it waits until it is taken in");
        let holds = VoteReply::Holds { present: 3 };
        for (name, word) in [("a", holds), ("b", holds), ("c", VoteReply::StruckOff)] {
            club.agreed.answered(club.now, hash(name), word, false);
        }
        assert!(!club.after(250), "not everybody has taken it in");
        club.agreed.answered(club.now, hash("c"), VoteReply::Open, false);
        assert!(club.after(250));
        assert_eq!(club.names(), "ab", "the third is new as well");
    }

    #[test]
    fn whoever_is_called_down_with_quorum_is_struck_off_and_nobody_without() {
        let mut club = Club::agreed(&["a", "b", "c", "d", "e"]);
        assert!(!club.becomes("d", Status::Suspect), "a suspicion is no verdict");
        club.holds(false);
        assert!(!club.becomes("d", Status::Down));
        assert_eq!(club.names(), "abcde");
        club.holds(true);
        assert!(club.after(0), "it is down still, and now there is a majority to say so");
        assert_eq!(club.names(), "abce");
        club.view.remove("e");
        assert!(!club.after(9000), "forgotten is not struck off");
        assert_eq!(club.agreed.ballot().votes, 4);
    }

    #[test]
    fn whoever_says_good_bye_is_struck_off_at_once_with_quorum_or_without() {
        let mut club = Club::agreed(&["a", "b", "c"]);
        club.holds(false);
        assert!(club.becomes("b", Status::Left));
        assert_eq!(club.names(), "ac");
    }

    #[test]
    fn half_with_the_lowest_name_is_a_majority_and_the_other_half_is_none() {
        let club = Club::agreed(&["b10", "b2", "B", "c"]);
        let ballot = club.agreed.ballot();
        let hash = |name: &str| fingerprint::of_name(&Name::new(name).unwrap());
        assert_eq!((ballot.votes, ballot.needed, ballot.tie), (4, 3, Some(hash("B"))), "by bytes");
        assert!(ballot.suffices(2, true) && !ballot.suffices(2, false) && ballot.suffices(3, false));
        assert_eq!(
            Club::agreed(&["a", "b", "c"]).agreed.ballot().tie,
            None,
            "of an odd number there is no half"
        );
    }

    #[test]
    fn what_an_earlier_life_agreed_on_holds_until_the_view_says_otherwise() {
        let mut club = Club::of(3, &["a"]);
        let named =
            |names: [&str; 3]| names.map(|n| Name::new(n).unwrap()).map(|n| (fingerprint::of_name(&n), n));
        assert!(!club.agreed.recall(club.now, BTreeMap::new()));
        assert!(club.agreed.recall(club.now, BTreeMap::from(named(["a", "b", "c"]))));
        assert!(!club.agreed.recall(club.now, BTreeMap::from(named(["x", "y", "z"]))), "once");
        assert!(!club.after(9000));
        assert_eq!(club.names(), "abc");
    }

    #[test]
    fn lists_that_differ_by_members_that_are_gone_leave_no_two_majorities() {
        // Everybody who lives has struck off some of the dead, each others. All of whom, and all cuts among the living.
        let names: Vec<Name> = (0..7).map(|i| Name::new(&format!("n{i}")).unwrap()).collect();
        let has = |mask: u32, i: usize| mask >> i & 1 == 1;
        let holds = |list: u32, side: u32| {
            let mut agreed = RosterTracker::new(Instant::EPOCH, 1);
            let of = |(i, name): (usize, &Name)| has(list, i).then(|| (i as u64, name.clone()));
            agreed.recall(Instant::EPOCH, names.iter().enumerate().filter_map(of).collect());
            agreed.lasted = Maturity::Calm;
            let ballot = agreed.ballot();
            let tie = ballot.tie.is_some_and(|lowest| has(side, usize::try_from(lowest).unwrap()));
            ballot.suffices((list & side).count_ones(), tie)
        };
        let all = 0b111_1111_u32;
        for alive in 1..=all {
            let dead = all & !alive;
            // Subsets of the dead that this side and that side still count.
            let subsets = |of: u32| (0..=of).filter(move |s| s & !of == 0);
            for side in subsets(alive).filter(|side| *side != 0 && *side != alive) {
                for (here, there) in
                    subsets(dead).flat_map(|here| subsets(dead).map(move |there| (here, there)))
                {
                    let both = holds(alive | here, side) && holds(alive | there, alive & !side);
                    assert!(!both, "{alive:b}: {side:b} counts {here:b}, the others {there:b}");
                }
            }
        }
    }
}
