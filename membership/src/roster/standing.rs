//! What is said of one life of a member, and THE order of claims.
//!
//! Picture: every claim about one life of a member is a set of high-water
//! marks. Merging two claims is taking the higher mark of each kind, so it
//! does not matter who says what, how often, or in which order. The status is
//! read off the marks:
//!
//! 1. *left* is the owner's own word and final for this life;
//! 2. a verdict "down as of heartbeat h" holds while no heartbeat above h is known;
//! 3. so does the owner's own word that it restarts, until its time is over;
//! 4. so does an accusation of silence, unless its maker doubts itself;
//! 5. otherwise the member is alive.
//!
//! A higher generation is another life and replaces all of it. There is no
//! incarnation number: a newer heartbeat is what refutes.
//!
//! Weak spot: a heartbeat cannot be taken back, so a forged high one hides a
//! death. Frames are authenticated when a key is set, and a heartbeat beyond
//! what the generation's age allows is refused.

use core::cmp::Ordering;
use core::fmt;
use core::time::Duration;

use crate::Instant;
use crate::identity::Heartbeat;

/// What a member is, as one observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nothing speaks against it.
    Alive,
    /// Its own word: its process ends and begins again, within a stated time. Takes no part meanwhile, and nobody accuses it.
    /// For whoever only routes to it, it is alive, and is shown so.
    Restarting,
    /// Accused by somebody, not judged yet: stop routing to it, do not take over from it.
    Suspect,
    /// Judged by a quorum of witnesses; a newer heartbeat brings it back.
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

/// The high-water marks of one life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// What was said against it.
    pub marks: Marks,
}

/// What was said of a life beside its heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The owner said good-bye.
    pub left: bool,
    /// Called down as of this heartbeat.
    pub down: Option<Heartbeat>,
    /// The owner said that it restarts.
    pub restart: Option<Restart>,
    /// Accusations that no heartbeat has cancelled, by accuser; bounded.
    pub accusations: Vec<Accusation>,
}

/// "I end here, and a later life of mine begins soon": the owner's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Its last heartbeat. Any above this cancels it.
    pub basis: Heartbeat,
    /// Until then nobody asks after it, on the clock of whoever holds this value. `EPOCH`: that time is over.
    pub until: Instant,
}

impl Restart {
    /// The word of somebody whose last heartbeat is `basis`. More than [`LONGEST_RESTART`] is not granted to anybody.
    pub fn of(now: Instant, basis: Heartbeat, within: Duration) -> Self {
        let until = if within.is_zero() { Instant::EPOCH } else { now + within.min(LONGEST_RESTART) };
        Self { basis, until }
    }

    /// Whether its time is not over yet.
    pub fn lasts(&self) -> bool {
        self.until != Instant::EPOCH
    }
}

/// "I have evidence that it is silent", as of a heartbeat.
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
    /// When the silence began, on the clock of whoever holds this value.
    pub began: Instant,
}

/// What an accuser has seen. Later ones are stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// It lives, but loses far more of our contacts than others do.
    Degraded,
    /// The same, so much or so often that it should stay out until its basis
    /// has passed in good behaviour; see flap_damping.rs.
    Unfit,
    /// Contacts, direct and indirect, stayed unanswered.
    Silent,
    /// The same for longer than the acceptable pause.
    Proven,
    /// The host's kernel answered that the process is gone.
    Refused,
}

impl Evidence {
    /// About the quality of the link, not about silence: makes nobody suspect.
    pub fn is_of_link(self) -> bool {
        match self {
            Self::Degraded | Self::Unfit => true,
            Self::Silent | Self::Proven | Self::Refused => false,
        }
    }
}

impl Standing {
    /// The status that these marks mean.
    pub fn status(&self) -> Status {
        self.marks.status(self.heartbeat)
    }

    /// THE order of claims about one life: the higher mark of each kind.
    /// Commutative, associative, idempotent (tests/laws.rs), but for one thing: of "degraded" and "unfit" by one accuser
    /// only the stronger is kept, so which of them is left when a heartbeat cancels that one depends on the order.
    pub fn join(&mut self, other: &Self) {
        self.heartbeat = self.heartbeat.max(other.heartbeat);
        self.marks.join(self.heartbeat, &other.marks);
    }
}

impl Marks {
    /// The status of a life with these marks whose highest heartbeat is `heartbeat`.
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

    /// The same order, of what is said beside the heartbeat, as of the highest one known.
    pub fn join(&mut self, heartbeat: Heartbeat, other: &Self) {
        self.left |= other.left;
        self.down = self.down.max(other.down);
        self.restart = later(self.restart, other.restart);
        // What a heartbeat has cancelled takes nothing's place.
        self.accusations.retain(|a| a.basis >= heartbeat);
        for accusation in other.accusations.iter().filter(|a| a.basis >= heartbeat) {
            match self.accusations.iter_mut().find(|mine| mine.key() == accusation.key()) {
                Some(mine) => *mine = stronger(*mine, *accusation),
                None => self.accusations.push(*accusation),
            }
        }
        self.tidy(heartbeat);
    }

    /// Drops what a heartbeat has cancelled and keeps the strongest few accusations.
    pub fn tidy(&mut self, heartbeat: Heartbeat) {
        self.down = self.down.filter(|basis| *basis >= heartbeat);
        self.restart = self.restart.filter(|word| word.basis >= heartbeat);
        // Who has said good-bye is accused of nothing any more.
        self.accusations.retain(|a| a.basis >= heartbeat && !self.left);
        self.accusations.sort_unstable_by(|a, b| {
            let of_link = a.kind.is_of_link().cmp(&b.kind.is_of_link());
            of_link.then(b.basis.cmp(&a.basis)).then(a.by.cmp(&b.by))
        });
        self.accusations.truncate(MAX_ACCUSATIONS);
    }

    /// Accusations of silence.
    pub fn of_silence(&self) -> impl Iterator<Item = &Accusation> {
        self.accusations.iter().filter(|a| a.of_silence())
    }

    /// Those of them that make a member suspect.
    pub fn that_count(&self) -> impl Iterator<Item = &Accusation> {
        self.accusations.iter().filter(|a| a.counts())
    }

    /// Called down until a heartbeat that is still to come, by the word of more
    /// than one witness: the accused lives through it and does not refute.
    pub fn is_kept_out(&self) -> bool {
        self.down.is_some_and(|basis| {
            let unfit = |a: &&Accusation| a.kind == Evidence::Unfit && !a.weak && a.basis >= basis;
            self.accusations.iter().filter(unfit).count() >= ACCUSERS_TO_KEEP_OUT
        })
    }
}

/// Nothing was said of it.
pub static UNMARKED: Marks = Marks { left: false, down: None, restart: None, accusations: Vec::new() };

impl Accusation {
    pub fn of_silence(&self) -> bool {
        !self.kind.is_of_link()
    }

    /// Whether it makes its subject suspect: of silence, and its maker does not doubt itself.
    pub fn counts(&self) -> bool {
        self.of_silence() && !self.weak
    }

    /// One accuser may say one thing of the silence and one of the link.
    fn key(&self) -> (u64, bool) {
        (self.by, self.kind.is_of_link())
    }
}

/// Of two words that a member restarts, the one with the newer basis; of one basis, the time that is over first: what was
/// under way for longer says less of the time that is left.
fn later(a: Option<Restart>, b: Option<Restart>) -> Option<Restart> {
    let (Some(mine), Some(theirs)) = (a, b) else { return a.or(b) };
    match mine.basis.cmp(&theirs.basis) {
        Ordering::Less => b,
        Ordering::Equal => Some(Restart { until: mine.until.min(theirs.until), ..mine }),
        Ordering::Greater => a,
    }
}

/// Of two accusations by one accuser, the one that says more: the newer basis,
/// then the one that is sure of itself, then the stronger evidence, then the longer silence.
fn stronger(a: Accusation, b: Accusation) -> Accusation {
    let key = |x: &Accusation| {
        // Of a link, "unfit" stands until its basis has passed.
        let gravest = if x.kind.is_of_link() { x.kind } else { Evidence::Degraded };
        (gravest, x.basis, !x.weak, x.kind, core::cmp::Reverse(x.began))
    };
    if key(&b) > key(&a) { b } else { a }
}

/// Accusations kept per member: of silence those of the five witnesses and of
/// some who came first, and what the witnesses say of the link.
pub const MAX_ACCUSATIONS: usize = 12;
/// The longest that anybody is waited for by its own word: the start of a host takes about a minute, and whoever needs longer
/// is better called down. Honest guess.
pub const LONGEST_RESTART: Duration = Duration::from_secs(60);
/// One witness alone keeps nobody out, not even where one is a majority.
pub const ACCUSERS_TO_KEEP_OUT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn accused(heartbeat: Heartbeat, basis: Heartbeat) -> Standing {
        let accusation =
            Accusation { by: 7, basis, kind: Evidence::Silent, weak: false, began: Instant::EPOCH };
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
    fn what_a_heartbeat_has_cancelled_takes_nothings_place() {
        let of_link =
            |kind, basis| said(Accusation { by: 7, basis, kind, weak: false, began: Instant::EPOCH });
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
    fn an_accusation_that_comes_after_its_refutation_says_nothing() {
        let mut standing = Standing { heartbeat: 13, ..Standing::default() };
        standing.join(&accused(10, 12));
        assert_eq!(standing.status(), Status::Alive);
    }

    fn unfit(by: u64, basis: Heartbeat) -> Accusation {
        Accusation { by, basis, kind: Evidence::Unfit, weak: false, began: Instant::EPOCH }
    }

    #[test]
    fn one_accuser_keeps_nobody_out_and_two_do() {
        let mut standing = down(10, 70);
        assert!(!standing.marks.is_kept_out(), "a verdict far ahead without anybody who gave it");
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
    fn a_bad_link_makes_nobody_suspect_and_hides_no_silence() {
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

    fn restarts(heartbeat: Heartbeat, within: u64) -> Standing {
        let restart = Some(Restart::of(Instant::EPOCH, heartbeat, Duration::from_secs(within)));
        Standing { heartbeat, marks: Marks { restart, ..Marks::default() } }
    }

    #[test]
    fn the_own_word_of_a_restart_stands_above_accusations_and_below_verdicts() {
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
    fn who_doubts_itself_makes_nobody_suspect_and_takes_nothing_back_that_it_was_sure_of() {
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
    fn who_has_said_good_bye_is_accused_of_nothing() {
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
