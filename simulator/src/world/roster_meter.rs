//! One roster among all that hold quorum, measured: from each change of the network on.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use heartsay_membership::Instant;

use crate::measure::RosterFigures;

/// Figures in the making. It is told of changes, splits and what members say.
pub(super) struct RosterMeter {
    figures: RosterFigures,
    tracks: Vec<Track>,
    /// A change after which nothing else changes for so long is judged.
    within: Duration,
    /// One that is deaf or mute for so long must know it.
    patience: Duration,
    change: Change,
    /// News of a member that is let in reaches all within so long.
    news: Duration,
    /// The turns after the change before, to which verdicts belong that fall while the news of this one is under way.
    before: Turns,
    /// Who has whom kept out. The end of that is no change of mind: it was known from the start.
    kept_out: BTreeSet<(usize, usize)>,
    /// Members that are being let in: when the first holder had them in again.
    let_in: BTreeMap<usize, Instant>,
    /// Some member has held quorum.
    formed: bool,
    /// Something happened since rosters were compared last.
    stale: bool,
}

/// The last change of the network, and what followed.
#[derive(Default)]
struct Change {
    at: Instant,
    /// It came after some member had held quorum.
    counts: bool,
    /// Rosters of holders differ.
    split: bool,
    /// Since when.
    since: Instant,
    /// When they last ceased to.
    united: Instant,
    /// How often each observer, holding quorum, changed its mind about each subject.
    turns: Turns,
}

/// By observer and subject.
type Turns = BTreeMap<(usize, usize), u16>;

/// What an observer says of a member that it had in, or of one that was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is in again.
    In,
    /// It is down.
    Down,
    /// It is kept out as unfit.
    KeptOut,
}

/// What a member hears, and who hears it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Contact {
    /// It hears some other and is heard, or it does not run, or neither hears nor is heard.
    #[default]
    Other,
    /// It hears no other, and is heard.
    Deaf,
    /// No other hears it, and it hears.
    Mute,
}

#[derive(Default)]
struct Track {
    held: bool,
    outside: bool,
    isolated: bool,
    contact: Contact,
    /// It has been deaf or mute since then and does not know it.
    unaware: Option<Instant>,
}

impl RosterMeter {
    pub(super) fn new(within: Duration, patience: Duration) -> Self {
        Self {
            news: patience.mul_f64(NEWS),
            let_in: BTreeMap::new(),
            before: Turns::new(),
            kept_out: BTreeSet::new(),
            figures: RosterFigures::default(),
            tracks: Vec::new(),
            within,
            patience,
            change: Change::default(),
            formed: false,
            stale: false,
        }
    }

    /// One more member, which has not started.
    pub(super) fn add(&mut self) {
        self.tracks.push(Track::default());
    }

    /// The network changed, or a member came, went, stood still or went on.
    pub(super) fn changed(&mut self, now: Instant) {
        self.stale = true;
        if now > self.change.at {
            self.close(now);
            let split = self.change.split;
            self.change =
                Change { at: now, counts: self.formed, split, since: now, united: now, turns: Turns::new() };
        }
    }

    /// Members that said last that they hold quorum.
    pub(super) fn holders(&self) -> impl Iterator<Item = usize> {
        self.tracks.iter().enumerate().filter(|(_, track)| track.held).map(|(member, _)| member)
    }

    /// Whether rosters must be compared again.
    pub(super) fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.stale)
    }

    /// Rosters were compared.
    pub(super) fn compared(&mut self, now: Instant, split: bool) {
        if !split {
            // Of a member about which some still differ, a second return is no news.
            let news = self.news;
            self.let_in.retain(|_, at| now.since(*at) < news);
        }
        if self.change.split && !split {
            self.change.united = now;
            self.end_split(now);
        }
        if split && !self.change.split {
            self.change.since = now;
        }
        self.change.split = split;
    }

    /// `observer` says something else of `subject` than before.
    pub(super) fn turned(&mut self, now: Instant, observer: usize, subject: usize, turn: Turn) {
        let both = (observer, subject);
        let was_kept_out = self.kept_out.remove(&both);
        if turn == Turn::KeptOut {
            self.kept_out.insert(both);
        }
        if !self.tracks[observer].held || (turn == Turn::In && was_kept_out) {
            return;
        }
        let late = turn == Turn::Down && now.since(self.change.at) < self.news;
        let turns = if late { &mut self.before } else { &mut self.change.turns };
        *turns.entry(both).or_default() += 1;
    }

    /// `observer` has `subject` in again. Returns when all must have it in, if `observer` is the first.
    pub(super) fn lets_in(&mut self, now: Instant, observer: usize, subject: usize) -> Option<Instant> {
        let first = self.tracks[observer].held && !self.let_in.contains_key(&subject);
        first.then(|| {
            self.let_in.insert(subject, now);
            now + self.news
        })
    }

    /// Members about whom rosters may differ, as they are being let in.
    pub(super) fn being_let_in(&self, now: Instant) -> Vec<usize> {
        self.let_in.iter().filter(|(_, at)| now.since(**at) < self.news).map(|(member, _)| *member).collect()
    }

    /// The roster of `observer` has one more member, or one less.
    pub(super) fn roster(&mut self, observer: usize) {
        self.stale |= self.tracks[observer].held;
    }

    /// `member` says that it holds quorum, or that it does not.
    pub(super) fn says(&mut self, now: Instant, member: usize, held: bool) {
        self.tracks[member].held = held;
        (self.stale, self.formed) = (true, self.formed || held);
        if !held {
            self.knows(now, member);
        }
    }

    /// `member` is told that it is out, or that it is in again.
    pub(super) fn outside(&mut self, now: Instant, member: usize, outside: bool) {
        self.tracks[member].outside = outside;
        if outside {
            self.knows(now, member);
        }
    }

    /// `member` says that it hears no other, or does again.
    pub(super) fn isolated(&mut self, now: Instant, member: usize, isolated: bool) {
        self.tracks[member].isolated = isolated;
        if isolated {
            self.knows(now, member);
        }
    }

    /// What `member` hears from now on, and who hears it.
    pub(super) fn contact(&mut self, now: Instant, member: usize, contact: Contact) {
        let (figures, track) = (&mut self.figures, &mut self.tracks[member]);
        let old = std::mem::replace(&mut track.contact, contact);
        if old == contact {
            return;
        }
        let overdue = track.unaware.take().is_some_and(|since| now.since(since) >= self.patience);
        figures.deaf_unaware += u64::from(overdue && old == Contact::Deaf);
        figures.mute_unaware += u64::from(overdue && old == Contact::Mute);
        let must_learn = contact != Contact::Other && track.held && !track.outside && !track.isolated;
        track.unaware = must_learn.then_some(now);
    }

    /// The process of `member` ended.
    pub(super) fn ended(&mut self, now: Instant, member: usize) {
        self.contact(now, member, Contact::Other);
        self.tracks[member] = Track::default();
    }

    pub(super) fn finish(mut self, now: Instant) -> RosterFigures {
        for member in 0..self.tracks.len() {
            self.contact(now, member, Contact::Other);
        }
        self.close(now);
        self.count_turns();
        self.figures
    }

    fn knows(&mut self, now: Instant, member: usize) {
        let (figures, track) = (&mut self.figures, &mut self.tracks[member]);
        let Some(since) = track.unaware.take() else { return };
        let took = now.since(since).as_secs_f32();
        match track.contact {
            Contact::Deaf => figures.deaf.push(took),
            Contact::Mute => figures.mute.push(took),
            Contact::Other => {}
        }
    }

    /// The time after a change is over.
    fn close(&mut self, now: Instant) {
        let (figures, change) = (&mut self.figures, &self.change);
        if change.counts && now.since(change.at) >= self.within {
            figures.unheld += u64::from(!self.tracks.iter().any(|track| track.held));
            if change.split {
                figures.never += 1;
            } else {
                figures.one.push(change.united.since(change.at).as_secs_f32());
            }
        }
        let split = change.split;
        self.count_turns();
        self.before = std::mem::take(&mut self.change.turns);
        if split {
            self.end_split(now);
        }
    }

    /// No more turns belong to the change before.
    fn count_turns(&mut self) {
        let mut most: BTreeMap<usize, u16> = BTreeMap::new();
        for ((_, subject), times) in std::mem::take(&mut self.before) {
            let most = most.entry(subject).or_default();
            *most = (*most).max(times);
        }
        self.figures.status_changes.extend(most.into_values());
    }

    /// Rosters differ no more, or the time after a change is over.
    fn end_split(&mut self, now: Instant) {
        if now.since(self.change.at) > self.within {
            self.figures.late.push(now.since(self.change.since).as_secs_f32());
        }
    }
}

/// Time in which news reaches all, by the acceptable pause: half a second (`docs/quorum-proofs.md`, A6).
const NEWS: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// Three members that hold quorum from the second second on.
    fn meter() -> RosterMeter {
        let mut meter = RosterMeter::new(Duration::from_millis(3500), Duration::from_secs(2));
        for member in 0..3 {
            meter.add();
            meter.changed(at(member as u64));
        }
        (0..3).for_each(|member| meter.says(at(2_000), member, true));
        meter
    }

    #[test]
    fn a_change_is_timed_until_rosters_differ_for_the_last_time() {
        let mut meter = meter();
        meter.changed(at(30_000));
        for (ms, split) in [(32_000, true), (32_500, false), (33_000, true), (33_250, false)] {
            meter.compared(at(ms), split);
        }
        meter.changed(at(50_000));
        meter.compared(at(51_000), true);
        meter.changed(at(60_000));
        meter.changed(at(61_000));
        (0..3).for_each(|member| meter.says(at(62_000), member, false));
        meter.compared(at(62_500), false);
        let figures = meter.finish(at(90_000));
        assert_eq!(
            figures.one,
            [3.25, 1.5],
            "the start comes before any quorum, and one second is too short"
        );
        assert_eq!((figures.never, figures.unheld), (1, 1));
        assert_eq!(figures.late, [9.0], "only that which never ended lasted beyond the bound");
    }

    #[test]
    fn a_member_that_is_let_in_has_half_a_second_for_all_holders_together() {
        let mut meter = meter();
        assert_eq!(meter.lets_in(at(40_000), 0, 2), Some(at(40_500)));
        assert_eq!(meter.being_let_in(at(40_499)), [2]);
        assert_eq!(meter.lets_in(at(40_600), 1, 2), None, "the time began with the first");
        meter.compared(at(40_600), true);
        assert_eq!(meter.being_let_in(at(40_600)), [0; 0]);
        meter.compared(at(41_000), false);
        assert_eq!(meter.lets_in(at(42_000), 1, 2), Some(at(42_500)), "another time");
        meter.says(at(43_000), 0, false);
        meter.compared(at(43_000), false);
        assert_eq!(meter.lets_in(at(44_000), 0, 2), None, "only what holders say counts");
    }

    #[test]
    fn changes_of_mind_are_those_of_the_most_fickle_holder_since_the_last_change() {
        let mut meter = meter();
        meter.changed(at(30_000));
        meter.says(at(31_000), 2, false);
        for (observer, times) in [(0, 1), (1, 3), (2, 8)] {
            (0..times).for_each(|_| meter.turned(at(32_000), observer, 2, Turn::Down));
        }
        meter.turned(at(32_000), 1, 0, Turn::Down);
        meter.changed(at(60_000));
        meter.turned(at(60_500), 0, 2, Turn::In);
        assert_eq!(meter.finish(at(90_000)).status_changes, [1, 3, 1]);
    }

    #[test]
    fn a_verdict_that_falls_right_after_the_heal_belongs_to_the_cut() {
        let mut meter = meter();
        meter.changed(at(30_000));
        meter.changed(at(33_000));
        meter.turned(at(33_020), 0, 2, Turn::Down);
        meter.turned(at(33_040), 0, 2, Turn::In);
        meter.turned(at(33_500), 1, 2, Turn::Down);
        meter.turned(at(33_540), 1, 2, Turn::In);
        assert_eq!(meter.finish(at(90_000)).status_changes, [1, 2], "half a second later it does not");
    }

    #[test]
    fn the_end_of_a_penalty_is_no_change_of_mind() {
        let mut meter = meter();
        meter.changed(at(30_000));
        meter.turned(at(32_000), 0, 2, Turn::KeptOut);
        meter.turned(at(82_000), 0, 2, Turn::In);
        meter.turned(at(83_000), 0, 1, Turn::Down);
        meter.turned(at(84_000), 0, 1, Turn::In);
        assert_eq!(meter.finish(at(90_000)).status_changes, [2, 1]);
    }

    #[test]
    fn deaf_and_mute_members_are_timed_until_they_know_and_counted_if_they_do_not() {
        let mut meter = meter();
        meter.contact(at(30_000), 0, Contact::Deaf);
        meter.contact(at(30_000), 1, Contact::Mute);
        meter.contact(at(30_000), 2, Contact::Mute);
        meter.says(at(31_250), 0, false);
        meter.isolated(at(31_500), 0, true);
        meter.outside(at(31_500), 1, true);
        for member in 0..3 {
            meter.contact(at(32_000), member, Contact::Other);
        }
        meter.contact(at(40_000), 0, Contact::Mute);
        meter.contact(at(50_000), 2, Contact::Deaf);
        meter.contact(at(51_999), 2, Contact::Other);
        let figures = meter.finish(at(90_000));
        assert_eq!((figures.deaf, figures.mute), (vec![1.25], vec![1.5]));
        assert_eq!(figures.mute_unaware, 1, "one without quorum knows before");
        assert_eq!(figures.deaf_unaware, 0, "two seconds less a little are too short");
    }
}
