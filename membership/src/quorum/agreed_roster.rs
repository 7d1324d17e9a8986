//! The agreed roster: the electorate that follows the cluster (`last-agreed`), as one member keeps it.
//!
//! Picture: a club whose list of members hangs on the wall. A meeting with a majority of the list may change it; a
//! smaller one may not, however sure it is that the others are dead.
//!
//! Rules:
//!
//! - *Found*: the first roster consists of the members that have been seen together for a while, unless one of them has
//!   a roster without us. If some of them hold quorum, it consists of those.
//! - *Grow*: while quorum is held, members that stay are added, one at a time.
//! - *Shrink*: while quorum is held, members that are down are struck off. A member that says good-bye is struck off by
//!   all at once, because it says itself that it no longer votes. Suspicion and being forgotten change nothing.
//! - *Tie*: half of the roster is a majority if the lowest name is in that half and the roster has lasted.
//! - *Mutual*: a member counts only for members on its own roster.
//! - *Begin again*: a member that hears from holders of quorum that it was struck off discards its own roster.
//!
//! Why two sides of one cut never both hold quorum: the smaller side has lost quorum, by the clock, before the larger
//! one can call any member down, so it cannot shrink its roster. Rosters that differ only by *d* members that are gone
//! for good agree: of *n* votes one side needs more than half of the *n - d* that are left (or half with the lowest
//! name), and two sides cannot both have that. Rosters that differ by one newcomer agree, because majorities of *n* and
//! of *n + 1* share a vote where no tie is decided. And a member that was struck off finds no member that counts with
//! it when it is back.
//!
//! Weak spot: each member changes its own roster when it sees the reason, and no two do so at the same moment. A member
//! that was struck off on one side, is alive, and still counts on the other makes two majorities possible that share no
//! member (docs/decisions.md).

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::identity::Name;
use crate::quorum::{AgreedRoster, Ballot, majority};
use crate::roster::standing::Status;

/// The agreed roster of one member, and the candidates for it.
#[derive(Clone, Debug)]
pub struct RosterTracker {
    /// By hash, as rosters are sorted. Empty: no roster is agreed on yet.
    names: BTreeMap<u64, Name>,
    since: Instant,
    /// Number of members that make a first roster.
    first: usize,
    /// Live members that are not in it, and since when we have seen them alive.
    waiting: BTreeMap<u64, Instant>,
    /// When the set of waiting members last changed. Matters to a first roster.
    unrest: Instant,
    /// The last reply of each live member.
    words: BTreeMap<u64, VoteReply>,
    /// When it last grew, and the member that was added.
    grown: Instant,
    newest: Option<u64>,
    /// How mature it is since it last grew.
    lasted: Maturity,
}

/// How long a roster has lasted since it grew, counting only proven time with quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Maturity {
    /// Others may not have added the newest member yet.
    New,
    /// It has lasted for the settling time: all others have added the newest member.
    Known,
    /// It has lasted for [`CALM`] settling times: the newest member itself has caught up.
    Calm,
}

/// What a member's answer says about us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteReply {
    /// It counts with us, and has no roster yet or has only begun to look for the others.
    Open,
    /// It counts with us, and has lost quorum.
    Lost,
    /// It counts with us, and holds quorum with this many votes present.
    Holds { present: u32 },
    /// It does not count with us, for whatever reason.
    Refuses,
    /// It does not count with us, and it holds quorum: we are not on its roster, or not for long enough.
    StruckOff,
}

impl VoteReply {
    /// Whether it has a roster without us, or one without quorum, and so cannot help to found one.
    fn refuses(self) -> bool {
        matches!(self, Self::Lost | Self::Refuses | Self::StruckOff)
    }

    /// The votes present, if it holds quorum and counts with us.
    fn present(self) -> Option<u32> {
        match self {
            Self::Holds { present } => Some(present),
            Self::Open | Self::Lost | Self::Refuses | Self::StruckOff => None,
        }
    }
}

/// The circumstances of a look at the view.
#[derive(Clone, Copy, Debug)]
pub struct RosterContext {
    pub now: Instant,
    /// Our own hash.
    pub me: u64,
    /// Since when quorum is held here, if it is at this moment.
    pub held: Option<Instant>,
    /// As of when a majority was last proven.
    pub proven: Instant,
    /// Votes that hear us by our own count; `None` if our proof is a borrowed one.
    pub present: Option<u32>,
    /// How long a member must have been alive, and the view unchanged.
    pub settle: Duration,
    /// Others are being looked for, and none has answered.
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

    /// Takes the roster that an earlier run of ours had agreed on, unless this run has one already. Returns whether it
    /// did.
    pub fn recall(&mut self, now: Instant, names: BTreeMap<u64, Name>) -> bool {
        let takes = self.names.is_empty() && !names.is_empty();
        if takes {
            (self.names, self.since) = (names, now);
            // It may have been written down while it grew.
            (self.grown, self.newest, self.lasted) = (now, None, Maturity::New);
        }
        takes
    }

    /// Whether we count with `member`. Without a roster we count with all members; with the newest one only when the
    /// others, too, have had the time to add it.
    pub fn counts_with(&self, member: u64) -> bool {
        self.names.is_empty()
            || self.has(member) && (self.lasted > Maturity::New || self.newest != Some(member))
    }

    pub fn has(&self, member: u64) -> bool {
        self.names.contains_key(&member)
    }

    /// `member` has answered. `held`: whether we hold quorum. Returns whether the roster was discarded.
    pub fn answered(&mut self, now: Instant, member: u64, word: VoteReply, held: bool) -> bool {
        self.words.insert(member, word);
        if word != VoteReply::StruckOff || held || !self.has(member) {
            return false;
        }
        // The holders of quorum have gone on without us, and we cannot know whom else they struck off. A single one may
        // be behind.
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

    /// Changes the number of members that make a first roster; an agreed roster stays.
    pub fn ask_for(&mut self, first: u32) {
        self.first = usize::try_from(first).unwrap_or(usize::MAX).max(1);
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = (u64, &Name)> {
        self.names.iter().map(|(hash, name)| (*hash, name))
    }

    /// Members that may be added soon and are worth asking: for a first roster a few stand for all.
    pub fn waiting(&self) -> impl Iterator<Item = u64> {
        let most = if self.names.is_empty() { ASKED } else { usize::MAX };
        self.waiting.keys().copied().take(most)
    }

    /// Brings the roster in line with the view. `view`: all members, ourselves included. `hears`: whether a member has
    /// lately answered that we count for it. Returns whether the roster has changed.
    pub fn follow<'a>(
        &mut self,
        look: RosterContext,
        view: impl Iterator<Item = (u64, &'a Name, Status)> + Clone,
        hears: impl Fn(u64) -> bool,
    ) -> bool {
        let before = self.names.len();
        for (hash, _, status) in view.clone() {
            // All members do this at once, with a majority or without: the member says itself that it no longer votes.
            let gone = status == Status::Left || status == Status::Down && look.held.is_some();
            if gone && self.names.remove(&hash).is_some() {
                tracing::debug!(%status, "out of the agreed roster");
            }
        }
        let shrunk = self.names.len() != before;
        self.wait(look.now, view.clone());
        if shrunk && self.names.is_empty() {
            // No member is left, and the next roster is a first one again.
            self.unrest = look.now;
        }
        // By proven time: the last proof before a cut is good for a while after it.
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
            // If it has settled and is not founded, a member has not answered yet.
            return if enough {
                (self.unrest + look.settle).max(look.now + ONCE_MORE)
            } else {
                Instant::NEVER
            };
        }
        // While quorum is lost no member is added, and its return causes a look anyway.
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

    /// Each member of the roster has one vote, in the view or not.
    pub fn ballot(&self) -> Ballot {
        let votes = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let lowest = self.names.iter().min_by_key(|(_, name)| *name).map(|(hash, _)| *hash);
        Ballot {
            votes,
            needed: majority(votes),
            // A newcomer that not all members have added yet could make a half here, while the others see a majority.
            tie: lowest.filter(|_| self.lasted == Maturity::Calm && votes.is_multiple_of(2)),
            electors: self.names.keys().map(|hash| (*hash, 1)).collect(),
            ..Ballot::default()
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

    /// Notes the live members that are not in the roster.
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

    /// The last replies of the waiting members.
    fn newcomers(&self) -> impl Iterator<Item = VoteReply> {
        self.words.iter().filter(|(hash, _)| self.waiting.contains_key(hash)).map(|(_, word)| *word)
    }

    /// Founds the first roster: all live members, if they have been alive for long and none of them has a roster
    /// without us. Otherwise a few members started beyond a cut would found one of their own, with the help of members
    /// that lost quorum.
    ///
    /// If some members hold quorum, the roster consists of those and ourselves, because not all of them have added the
    /// other new members yet. The exception is when most of the members that they count are as new as we are.
    fn found<'a>(
        &mut self,
        look: RosterContext,
        view: impl Iterator<Item = (u64, &'a Name, Status)>,
        hears: impl Fn(u64) -> bool,
    ) -> bool {
        let settled = look.now >= self.unrest + look.settle && !look.searching;
        // If any member holds quorum, only the replies of the holders matter.
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
        // A roster with fewer than half of the members that the holders count would be held too easily.
        let all = present.is_none_or(|present| count.saturating_add(1).saturating_mul(2) <= present);
        let holds = |hash: u64| hash == look.me || said(hash).and_then(VoteReply::present).is_some();
        let takes = |hash: &u64| self.waiting.contains_key(hash) && (all || holds(*hash));
        self.names =
            view.filter(|(hash, _, _)| takes(hash)).map(|(hash, name, _)| (hash, name.clone())).collect();
        self.waiting.retain(|hash, _| !self.names.contains_key(hash));
        self.newest = None;
        !self.names.is_empty()
    }

    /// Adds one more member: the lowest name among those that have stayed. Not before all members, the newest included,
    /// have had the time to catch up, and not if its vote would be missing at once.
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
        // The majority must be proven for the time when the member was due: after a cut there may be none.
        let ripe =
            |hash: &u64| self.waiting.get(hash).is_some_and(|since| look.proven >= *since + look.settle);
        let next = view.filter(|(hash, _, _)| ripe(hash) && enough(*hash)).min_by_key(|(_, name, _)| *name);
        let Some((hash, name, _)) = next else { return false };
        self.waiting.remove(&hash);
        self.newest = Some(hash);
        self.names.insert(hash, name.clone()).is_none()
    }
}

/// After this many settling times all members have the same roster. One passes until all have added a newcomer, one
/// until the newcomer holds quorum itself. Two more pass, as it started that much later, until it has caught up with
/// the members that the others have added.
const CALM: u32 = 4;
/// With a roster yet to be founded, this many members are asked directly whether we count for them. For more, the
/// answers of each round tell.
const ASKED: usize = 16;
/// When to look again if a due member has not answered: by then a request has been sent twice.
const ONCE_MORE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::fingerprint;

    const SETTLE: Duration = Duration::from_secs(2);

    /// A roster, the view it follows, and the time.
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

        /// A club that has agreed on all these, and holds quorum.
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

        /// Lets time pass, and looks at the view. Returns whether the roster has changed.
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
    fn a_first_roster_is_all_members_seen_together_for_the_settling_time() {
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
    fn a_node_that_looks_for_the_others_agrees_on_no_first_roster() {
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
    fn no_roster_is_founded_beside_a_member_that_has_one_without_us() {
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
    fn a_member_that_stays_is_added_while_quorum_is_held() {
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
    fn a_member_whose_vote_would_be_missing_at_once_is_not_added() {
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
    fn a_member_counts_with_its_own_roster_and_with_the_newest_once_it_has_lasted() {
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
    fn a_member_that_holders_on_its_roster_have_struck_off_begins_again() {
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
    fn a_down_member_is_struck_off_with_quorum_and_not_without() {
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
    fn a_member_that_says_good_bye_is_struck_off_at_once_with_quorum_or_without() {
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
    fn the_roster_of_an_earlier_run_holds_until_the_view_says_otherwise() {
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
    fn rosters_that_differ_by_members_that_are_gone_leave_no_two_majorities() {
        // Each live member has struck off some of the dead, each a different choice. All choices, and all cuts among
        // the live.
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
            // Subsets of the dead that the one side and the other still count.
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
