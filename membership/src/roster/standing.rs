//! The mergeable claims about one incarnation of a member, and THE order of claims.
//!
//! Rule: the claims about one incarnation are a set of high-water marks. Merging two claims takes the higher mark of
//! each kind, so it does not matter who makes a claim, how often, or in which order. The marks determine the status:
//!
//! 1. *left* is the owner's own claim and final for this incarnation;
//! 2. a verdict "down as of heartbeat h" holds while no heartbeat above h is known;
//! 3. so does the owner's own claim that it restarts, until its time is over;
//! 4. so does an accusation of silence, unless its maker doubts itself;
//! 5. otherwise the member is alive.
//!
//! A higher generation is another incarnation and replaces all of it. There is no separate incarnation number as in
//! SWIM: a newer heartbeat is what refutes.
//!
//! Weak spot: a heartbeat cannot be taken back, so a forged high one hides a death. Frames are authenticated when a key
//! is set, and a heartbeat beyond what the generation's age allows is refused.

use core::cmp::Ordering;
use core::fmt;
use core::time::Duration;

use heartsay_proto::LastSecret;

use crate::Instant;
use crate::identity::Heartbeat;
use crate::roster::source::Source;

/// The status of a member, as one observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nothing counts against it.
    Alive,
    /// Its own claim: its process ends and begins again within a stated time. Meanwhile it takes no part, and is not
    /// accused. For a program that only routes to it, it is alive, and is shown so.
    Restarting,
    /// Accused, without a verdict yet: stop routing to it, do not take over from it.
    Suspect,
    /// A quorum of witnesses has called it down; a newer heartbeat brings it back.
    Down,
    /// Said good-bye.
    Left,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alive | Self::Restarting => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        })
    }
}

/// The high-water marks of one incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// The marks beside the heartbeat.
    pub marks: Marks,
}

/// The claims about an incarnation except its heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The owner said good-bye.
    pub left: bool,
    /// Verdict: down as of this heartbeat.
    pub down: Option<Heartbeat>,
    /// Beside a verdict: the process has ended, and its host has said so. Proven by the mark in its incarnation.
    pub last_words: Option<LastSecret>,
    /// The owner announced a restart.
    pub restart: Option<Restart>,
    /// Accusations that no heartbeat has cancelled, by accuser; bounded.
    pub accusations: Vec<Accusation>,
}

/// The owner's own claim: "this incarnation ends here, and the next begins soon".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Its last heartbeat. Any above this cancels the restart.
    pub basis: Heartbeat,
    /// Until then it is not probed, by the clock of the node that holds this value. `EPOCH`: that time is over.
    pub until: Instant,
}

impl Restart {
    /// The claim of a member whose last heartbeat is `basis`. More than [`LONGEST_RESTART`] is never granted.
    pub fn of(now: Instant, basis: Heartbeat, within: Duration) -> Self {
        let until = if within.is_zero() { Instant::EPOCH } else { now + within.min(LONGEST_RESTART) };
        Self { basis, until }
    }

    /// Whether its time is not yet over.
    pub fn lasts(&self) -> bool {
        self.until != Instant::EPOCH
    }
}

/// A claim "I have evidence that it is silent", as of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// Name hash of the accuser.
    pub by: u64,
    /// Any heartbeat above this cancels it.
    pub basis: Heartbeat,
    /// How strong the evidence is.
    pub kind: Evidence,
    /// The accuser doubts itself.
    pub weak: bool,
    /// When the silence began, by the clock of the node that holds this value.
    pub began: Instant,
    /// What outside the cluster has told the accuser that the member is gone.
    pub source: Option<Source>,
}

/// What an accuser has seen. Later variants are stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// It is alive, but loses far more of our contacts than others do.
    Degraded,
    /// The same, so much or so often that it should stay out until its basis has passed in good behaviour; see
    /// flap_damping.rs.
    Unfit,
    /// Nothing of the accuser's own: a source outside the cluster says that the member is gone.
    Told,
    /// Contacts, direct and indirect, stayed unanswered.
    Silent,
    /// The same for longer than the acceptable pause.
    Proven,
    /// The host's kernel answered that the process is gone.
    Refused,
}

impl Evidence {
    /// Whether it concerns the quality of the link and not silence. Such evidence makes no member suspect.
    pub fn is_of_link(self) -> bool {
        match self {
            Self::Degraded | Self::Unfit => true,
            Self::Told | Self::Silent | Self::Proven | Self::Refused => false,
        }
    }
}

impl Standing {
    /// The status that these marks mean.
    pub fn status(&self) -> Status {
        self.marks.status(self.heartbeat)
    }

    /// THE order of claims about one incarnation: the higher mark of each kind. Commutative, associative, idempotent
    /// (tests/laws.rs), with one exception. Of "degraded" and "unfit" by one accuser only the stronger is kept, so
    /// which of them remains after a heartbeat cancels that one depends on the order.
    pub fn join(&mut self, other: &Self) {
        self.heartbeat = self.heartbeat.max(other.heartbeat);
        self.marks.join(self.heartbeat, &other.marks);
    }
}

impl Marks {
    /// The status of an incarnation with these marks whose highest heartbeat is `heartbeat`.
    pub fn status(&self, heartbeat: Heartbeat) -> Status {
        match self {
            Self { left: true, .. } => Status::Left,
            Self { down: Some(basis), .. } if *basis >= heartbeat => Status::Down,
            Self { restart: Some(word), .. } if word.basis >= heartbeat && word.lasts() => Status::Restarting,
            Self { accusations, .. } if accusations.iter().any(|a| a.counts() && a.basis >= heartbeat) => {
                Status::Suspect
            }
            Self { .. } => Status::Alive,
        }
    }

    /// The same order for the marks alone, as of the highest heartbeat known.
    pub fn join(&mut self, heartbeat: Heartbeat, other: &Self) {
        self.left |= other.left;
        self.down = self.down.max(other.down);
        // Only one secret fits.
        self.last_words = self.last_words.max(other.last_words);
        self.restart = later(self.restart, other.restart);
        // A cancelled accusation does not displace another one.
        self.accusations.retain(|a| a.basis >= heartbeat);
        for accusation in other.accusations.iter().filter(|a| a.basis >= heartbeat) {
            match self.accusations.iter_mut().find(|mine| mine.key() == accusation.key()) {
                Some(mine) => *mine = stronger(*mine, *accusation),
                None => self.accusations.push(*accusation),
            }
        }
        self.tidy(heartbeat);
    }

    /// Drops what a heartbeat has cancelled, and keeps the strongest few accusations.
    pub fn tidy(&mut self, heartbeat: Heartbeat) {
        self.down = self.down.filter(|basis| *basis >= heartbeat);
        self.last_words = self.last_words.filter(|_| self.down.is_some());
        self.restart = self.restart.filter(|word| word.basis >= heartbeat);
        // A member that has said good-bye is not accused any more.
        self.accusations.retain(|a| a.basis >= heartbeat && !self.left);
        self.accusations.sort_unstable_by(|a, b| {
            let of_link = a.kind.is_of_link().cmp(&b.kind.is_of_link());
            of_link.then(b.basis.cmp(&a.basis)).then(a.by.cmp(&b.by))
        });
        // However many accuse it of silence, the testimony that puts it out stays.
        let (mut unfit, mut others) = (0, 0);
        self.accusations.retain(|a| {
            let count = if a.kind == Evidence::Unfit { &mut unfit } else { &mut others };
            *count += 1;
            *count <= MAX_ACCUSATIONS
        });
    }

    /// Accusations of silence.
    pub fn of_silence(&self) -> impl Iterator<Item = &Accusation> {
        self.accusations.iter().filter(|a| a.of_silence())
    }

    /// The accusations of silence that make a member suspect.
    pub fn that_count(&self) -> impl Iterator<Item = &Accusation> {
        self.accusations.iter().filter(|a| a.counts())
    }

    /// What this member says of it, by this kind of evidence.
    pub fn accusation(&self, by: u64, kind: Evidence) -> Option<&Accusation> {
        self.accusations.iter().find(|a| a.by == by && a.kind == kind)
    }

    /// The heartbeat up to which it is kept out, if it is.
    pub fn kept_out_until(&self) -> Option<Heartbeat> {
        self.down.filter(|_| self.is_kept_out())
    }

    /// Whether more than one witness calls it down until a heartbeat that is still to come. The accused sits that out
    /// and does not refute it.
    pub fn is_kept_out(&self) -> bool {
        self.down.is_some_and(|basis| {
            let unfit = |a: &&Accusation| a.kind == Evidence::Unfit && !a.weak && a.basis >= basis;
            self.accusations.iter().filter(unfit).count() >= ACCUSERS_TO_KEEP_OUT
        })
    }
}

/// No marks at all.
pub static UNMARKED: Marks =
    Marks { left: false, down: None, last_words: None, restart: None, accusations: Vec::new() };

impl Accusation {
    pub fn of_silence(&self) -> bool {
        !self.kind.is_of_link()
    }

    /// Whether it makes its subject suspect: it is of silence, and its maker does not doubt itself.
    pub fn counts(&self) -> bool {
        self.of_silence() && !self.weak
    }

    /// Whether one of these sources has told its maker that the subject is gone.
    pub fn is_told_by(&self, trusted: &[Source]) -> bool {
        self.source.is_some_and(|source| trusted.contains(&source))
    }

    /// One accuser may make one accusation of silence and one about the link.
    fn key(&self) -> (u64, bool) {
        (self.by, self.kind.is_of_link())
    }
}

/// Of two announced restarts, the one with the newer basis. With equal bases, the time that ends first: a claim that
/// was under way for longer says less about the time that is left.
fn later(a: Option<Restart>, b: Option<Restart>) -> Option<Restart> {
    let (Some(mine), Some(theirs)) = (a, b) else { return a.or(b) };
    match mine.basis.cmp(&theirs.basis) {
        Ordering::Less => b,
        Ordering::Equal => Some(Restart { until: mine.until.min(theirs.until), ..mine }),
        Ordering::Greater => a,
    }
}

/// Of two accusations by one accuser, the one that says more: the newer basis, then the one whose maker does not doubt
/// itself, then the stronger evidence, then the longer silence, then the one that names a source.
fn stronger(a: Accusation, b: Accusation) -> Accusation {
    let key = |x: &Accusation| {
        // About a link, "unfit" stands until its basis has passed.
        let gravest = if x.kind.is_of_link() { x.kind } else { Evidence::Degraded };
        (gravest, x.basis, !x.weak, x.kind, core::cmp::Reverse(x.began), x.source)
    };
    if key(&b) > key(&a) { b } else { a }
}

/// Accusations kept per member: so many of silence, by its witnesses and by some early accusers, and of a degraded link;
/// and so many of an unfit one. With one bound for all, members that called a deaf one silent pushed out what its
/// witnesses had found.
pub const MAX_ACCUSATIONS: usize = 12;
/// The longest restart that is waited for. The start of a host takes about a minute, and a member that needs longer is
/// better called down. Honest guess.
pub const LONGEST_RESTART: Duration = Duration::from_secs(60);
/// A single witness never quarantines a member, not even where one is a majority.
pub const ACCUSERS_TO_KEEP_OUT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn accused(heartbeat: Heartbeat, basis: Heartbeat) -> Standing {
        let accusation = Accusation {
            by: 7,
            basis,
            kind: Evidence::Silent,
            weak: false,
            began: Instant::EPOCH,
            source: None,
        };
        Standing { heartbeat, ..said(accusation) }
    }

    fn said(accusation: Accusation) -> Standing {
        let marks = Marks { accusations: vec![accusation], ..Marks::default() };
        Standing { marks, ..Standing::default() }
    }

    fn down(heartbeat: Heartbeat, basis: Heartbeat) -> Standing {
        Standing { heartbeat, marks: Marks { down: Some(basis), ..Marks::default() } }
    }

    #[test]
    fn a_cancelled_accusation_displaces_no_other() {
        let of_link = |kind, basis| {
            said(Accusation { by: 7, basis, kind, weak: false, began: Instant::EPOCH, source: None })
        };
        let degraded = Standing { heartbeat: 22, ..of_link(Evidence::Degraded, 22) };
        let unfit = of_link(Evidence::Unfit, 0);
        let (mut one, mut other) = (degraded.clone(), unfit.clone());
        one.join(&unfit);
        other.join(&degraded);
        assert_eq!(one, degraded);
        assert_eq!(other, degraded);
    }

    #[test]
    fn a_newer_heartbeat_undoes_accusation_and_verdict() {
        let mut standing = accused(10, 12);
        standing.join(&down(10, 12));
        assert_eq!(standing.status(), Status::Down);
        standing.join(&Standing { heartbeat: 12, ..Standing::default() });
        assert_eq!(standing.status(), Status::Down, "a heartbeat at the basis is no news");
        standing.join(&Standing { heartbeat: 13, ..Standing::default() });
        assert_eq!(standing.status(), Status::Alive);
        assert_eq!(standing.marks.accusations, []);
    }

    #[test]
    fn an_accusation_that_comes_after_its_refutation_has_no_effect() {
        let mut standing = Standing { heartbeat: 13, ..Standing::default() };
        standing.join(&accused(10, 12));
        assert_eq!(standing.status(), Status::Alive);
    }

    #[test]
    fn heartbeats_verdicts_and_good_byes_merge_as_specified() {
        use heartsay_spec::merge::{self, Known};
        let known = |standing: &Standing| Known {
            generation: 1,
            heartbeat: standing.heartbeat,
            left: standing.marks.left,
            down: standing.marks.down,
        };
        let mut all = Vec::new();
        for (heartbeat, left) in (0..4).flat_map(|h| [(h, false), (h, true)]) {
            for down in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                let marks = Marks { left, down, ..Marks::default() };
                all.push(Standing { heartbeat, marks });
            }
        }
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            let mut joined = a.clone();
            joined.join(b);
            assert_eq!(known(&joined), known(a).join(known(b)), "{a:?} {b:?}");
            let specified = match known(&joined).status() {
                merge::Status::Alive => Status::Alive,
                merge::Status::Down => Status::Down,
                merge::Status::Left => Status::Left,
            };
            assert_eq!(joined.status(), specified);
        }
    }

    fn unfit(by: u64, basis: Heartbeat) -> Accusation {
        Accusation { by, basis, kind: Evidence::Unfit, weak: false, began: Instant::EPOCH, source: None }
    }

    #[test]
    fn one_accuser_quarantines_no_member_and_two_do() {
        let mut standing = down(10, 70);
        assert!(!standing.marks.is_kept_out(), "a verdict far ahead, without the accusers who gave it");
        standing.join(&said(unfit(7, 70)));
        standing.join(&said(unfit(7, 75)));
        assert!(!standing.marks.is_kept_out(), "one accuser counts once");
        standing.join(&said(unfit(8, 69)));
        assert!(!standing.marks.is_kept_out(), "the second does not go as far");
        standing.join(&said(unfit(9, 70)));
        assert!(standing.marks.is_kept_out());
        standing.join(&Standing { heartbeat: 71, ..Standing::default() });
        assert_eq!(standing.status(), Status::Alive, "its own heartbeat lets it in");
    }

    #[test]
    fn a_bad_link_makes_no_member_suspect_and_hides_no_silence() {
        let mut standing = Standing { heartbeat: 10, ..said(unfit(7, 70)) };
        assert_eq!(standing.status(), Status::Alive);
        let silent = Accusation { kind: Evidence::Proven, ..unfit(7, 11) };
        standing.join(&said(silent));
        assert_eq!(standing.status(), Status::Suspect);
        assert_eq!(standing.marks.of_silence().count(), 1);
        let degraded = Accusation { kind: Evidence::Degraded, ..unfit(7, 99) };
        standing.join(&said(degraded));
        assert!(
            standing.marks.accusations.contains(&unfit(7, 70)),
            "unfit stands until its basis has passed"
        );
    }

    #[test]
    fn many_accusations_of_silence_leave_room_for_those_that_put_out() {
        let mut standing = Standing { heartbeat: 10, ..said(unfit(99, 20)) };
        for by in 0..80 {
            standing.join(&said(Accusation { kind: Evidence::Silent, ..unfit(by, 30) }));
        }
        assert_eq!(standing.marks.of_silence().count(), MAX_ACCUSATIONS);
        assert!(standing.marks.accusations.contains(&unfit(99, 20)));
        for by in 0..80 {
            standing.join(&said(unfit(by, 30)));
        }
        assert_eq!(standing.marks.accusations.len(), 2 * MAX_ACCUSATIONS, "and both are bounded");
    }

    fn restarts(heartbeat: Heartbeat, within: u64) -> Standing {
        let restart = Some(Restart::of(Instant::EPOCH, heartbeat, Duration::from_secs(within)));
        Standing { heartbeat, marks: Marks { restart, ..Marks::default() } }
    }

    #[test]
    fn an_announced_restart_stands_above_accusations_and_below_verdicts() {
        let mut standing = accused(10, 12);
        standing.join(&restarts(10, 15));
        assert_eq!(standing.status(), Status::Restarting);
        assert_eq!(standing.marks.accusations.len(), 1, "they count when its time is over");
        standing.join(&restarts(10, 0));
        assert_eq!(standing.status(), Status::Suspect);
        standing.join(&restarts(10, 15));
        assert_eq!(standing.status(), Status::Suspect, "what is over is over");
        let mut out = down(10, 12);
        out.join(&restarts(10, 15));
        assert_eq!(out.status(), Status::Down, "nobody comes in by saying that it restarts");
    }

    #[test]
    fn a_newer_heartbeat_ends_a_restart_and_the_shorter_wait_holds() {
        let mut standing = restarts(10, 15);
        standing.join(&restarts(10, 14));
        assert_eq!(standing, restarts(10, 14));
        standing.join(&restarts(11, 15));
        assert_eq!(standing, restarts(11, 15));
        standing.join(&Standing { heartbeat: 12, ..Standing::default() });
        assert_eq!(standing, Standing { heartbeat: 12, ..Standing::default() });
        assert_eq!(restarts(10, 3600), restarts(10, 60), "nobody is waited for longer than a minute");
    }

    #[test]
    fn an_accuser_that_doubts_itself_makes_no_member_suspect_and_withdraws_nothing() {
        let weak = Accusation { kind: Evidence::Proven, weak: true, ..unfit(7, 11) };
        let mut standing = Standing { heartbeat: 10, ..said(weak) };
        assert_eq!(standing.status(), Status::Alive);
        assert_eq!(standing.marks.accusations, [weak], "but it is shown");
        let sure = Accusation { kind: Evidence::Silent, weak: false, ..weak };
        standing.join(&said(sure));
        assert_eq!(standing.status(), Status::Suspect);
        standing.join(&said(weak));
        assert_eq!(standing.marks.accusations, [sure], "as of the same heartbeat");
    }

    #[test]
    fn a_member_that_has_said_good_bye_is_accused_of_nothing() {
        let mut standing = Standing { heartbeat: 10, ..said(unfit(7, 70)) };
        standing.join(&Standing { marks: Marks { left: true, ..Marks::default() }, ..Standing::default() });
        assert_eq!(standing.marks.accusations, []);
        standing.join(&said(unfit(8, 70)));
        assert_eq!(standing.marks.accusations, []);
    }

    #[test]
    fn a_good_bye_is_stronger_than_any_verdict_or_heartbeat() {
        let mut standing = Standing { heartbeat: 5, marks: Marks { left: true, ..Marks::default() } };
        standing.join(&down(99, 100));
        assert_eq!(standing.status(), Status::Left);
    }
}
