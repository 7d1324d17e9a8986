//! One member, and THE order of claims.
//!
//! Picture: every claim about one life of a member is a set of high-water
//! marks. Merging two claims is taking the higher mark of each kind, so it
//! does not matter who says what, how often, or in which order. The status is
//! read off the marks:
//!
//! 1. *left* is the owner's own word and final for this life;
//! 2. a verdict "down as of heartbeat h" holds while no heartbeat above h is known;
//! 3. so does an accusation;
//! 4. otherwise the member is alive.
//!
//! A higher generation is another life and replaces all of it. There is no
//! incarnation number: a newer heartbeat is what refutes.
//!
//! Weak spot: a heartbeat cannot be taken back, so a forged high one hides a
//! death. Frames are authenticated when a key is set, and a heartbeat beyond
//! what the generation's age allows is refused.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use std::sync::Arc;

use heartsay_detector::{Detector, DetectorConfig, RttEstimator};

use crate::Instant;
use crate::config::Config;
use crate::fingerprint;
use crate::identity::{Generation, Heartbeat, HostId, Name};
use crate::state::State;

/// What a member is, as one observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nothing speaks against it.
    Alive,
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
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        })
    }
}

/// What never changes during one life of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub name: Name,
    pub host_id: HostId,
    pub generation: Generation,
    /// Together its address; a `SocketAddr` takes twice as much.
    ip: IpAddr,
    port: u16,
    pub reference: Reference,
    /// Hash of the name: the key and the order of the roster.
    pub hash: u64,
    /// Upper half of the name's hash, then a hash of all of the above: equal
    /// tags mean the same life, and tags sort like names.
    pub tag: u64,
}

impl Life {
    pub fn new(
        name: Name,
        host_id: HostId,
        generation: Generation,
        address: SocketAddr,
        reference: Reference,
    ) -> Self {
        let hash = fingerprint::of_name(&name);
        let (ip, port) = (address.ip(), address.port());
        let mut life = Self { name, host_id, generation, ip, port, reference, hash, tag: 0 };
        life.tag = fingerprint::of_life(&life);
        life
    }

    /// Where others reach it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// The line on which a member's heartbeats lie, in its own wall-clock time.
///
/// Both ends of a conversation know it, so both predict the same heartbeat for
/// the same nominal time, and only the difference (the age, in rounds) travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub struct Reference {
    pub unix_ms: u64,
    pub heartbeat: Heartbeat,
    /// Never zero.
    pub interval_ms: u32,
}

impl Reference {
    /// Time on the line at which `heartbeat` is due.
    pub fn unix_ms_of(&self, heartbeat: Heartbeat) -> u64 {
        let beats = i128::from(heartbeat) - i128::from(self.heartbeat);
        let ms = i128::from(self.unix_ms).saturating_add(beats.saturating_mul(i128::from(self.interval_ms)));
        u64::try_from(ms.max(0)).unwrap_or(u64::MAX)
    }

    pub fn interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.interval_ms))
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
    /// Accusations that no heartbeat has cancelled, by accuser; bounded.
    pub accusations: Vec<Accusation>,
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
    /// has passed in good behaviour; see damping.rs.
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
    /// Commutative, associative, idempotent (tests/laws.rs).
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
            Self { accusations, .. }
                if accusations.iter().any(|a| a.of_silence() && a.basis >= heartbeat) =>
            {
                Status::Suspect
            }
            Self { .. } => Status::Alive,
        }
    }

    fn join(&mut self, heartbeat: Heartbeat, other: &Self) {
        self.left |= other.left;
        self.down = self.down.max(other.down);
        for accusation in &other.accusations {
            match self.accusations.iter_mut().find(|mine| mine.key() == accusation.key()) {
                Some(mine) => *mine = stronger(*mine, *accusation),
                None => self.accusations.push(*accusation),
            }
        }
        self.tidy(heartbeat);
    }

    /// Drops what a heartbeat has cancelled and keeps the strongest few accusations.
    fn tidy(&mut self, heartbeat: Heartbeat) {
        self.down = self.down.filter(|basis| *basis >= heartbeat);
        self.accusations.retain(|a| a.basis >= heartbeat);
        self.accusations.sort_unstable_by(|a, b| {
            let of_link = a.kind.is_of_link().cmp(&b.kind.is_of_link());
            of_link.then(b.basis.cmp(&a.basis)).then(a.by.cmp(&b.by))
        });
        self.accusations.truncate(MAX_ACCUSATIONS);
    }

    /// Accusations of silence: those that make a member suspect.
    pub fn of_silence(&self) -> impl Iterator<Item = &Accusation> {
        self.accusations.iter().filter(|a| a.of_silence())
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
static UNMARKED: Marks = Marks { left: false, down: None, accusations: Vec::new() };

impl Accusation {
    pub fn of_silence(&self) -> bool {
        !self.kind.is_of_link()
    }

    /// One accuser may say one thing of the silence and one of the link.
    fn key(&self) -> (u64, bool) {
        (self.by, self.kind.is_of_link())
    }
}

/// Of two accusations by one accuser, the one that says more: the newer basis,
/// then the stronger evidence, then the one that is sure of itself, then the longer silence.
fn stronger(a: Accusation, b: Accusation) -> Accusation {
    let key = |x: &Accusation| {
        // Of a link, "unfit" stands until its basis has passed.
        let gravest = if x.kind.is_of_link() { x.kind } else { Evidence::Degraded };
        (gravest, x.basis, x.kind, !x.weak, core::cmp::Reverse(x.began))
    };
    if key(&b) > key(&a) { b } else { a }
}

/// One entry of the roster: a life, its marks, and what we ourselves have seen of it.
///
/// *Picture*: a patient's wrist band and file. Whoever looks after a thousand each second
/// walks along the bands; the file is fetched when there is something to write. A round reads
/// nothing but the band of members of whom there is no news but their heartbeat.
// In this order: who fetches a band touches both its ends (hearsay.rs).
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Member {
    /// Highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// Silence of the heartbeat in the merged view.
    pub detector: Detector,
    /// Our local time, in microseconds, of its heartbeat 0: the earliest that
    /// the arrivals of late allow.
    zero: i64,
    file: Box<File>,
}

/// What is seldom read of a member.
// What is smaller than a word shares one with a moment: 56 bytes, the most that a chunk of 64 holds.
#[derive(Clone, Debug)]
pub struct File {
    pub life: Arc<Life>,
    pub state: State,
    /// Nothing, of nearly all.
    marks: Option<Box<Marks>>,
    pub path: Path,
    /// Since when the status is what it is.
    since: Moment,
    /// Status as last reported. Set by `Roster::set_status`, which keeps count.
    pub status: Status,
    /// Stamp of what is said about it: pages add them up.
    pub stamp: u32,
}

/// Our own contacts with a member.
#[derive(Clone, Debug)]
pub struct Path {
    pub rtt: RttEstimator,
    last_direct: Moment,
    /// Whether our last direct contact worked; `None`: there was none.
    pub reachable: Option<bool>,
}

impl Path {
    /// When we last heard from it directly; `EPOCH`: never.
    pub fn last_direct(&self) -> Instant {
        self.last_direct.into()
    }

    /// A datagram came straight from it.
    pub fn heard(&mut self, now: Instant) {
        self.last_direct = now.into();
    }
}

/// A moment in seven bytes of microseconds: 2,283 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment([u8; 7]);

impl From<Instant> for Moment {
    fn from(at: Instant) -> Self {
        let [a, b, c, d, e, f, g, _] = at.as_micros().min(LATEST_MICROS).to_le_bytes();
        Self([a, b, c, d, e, f, g])
    }
}

impl From<Moment> for Instant {
    fn from(Moment([a, b, c, d, e, f, g]): Moment) -> Self {
        Self::from_micros(u64::from_le_bytes([a, b, c, d, e, f, g, 0]))
    }
}

/// The band has the file's words.
impl Deref for Member {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl DerefMut for Member {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Member {
    pub fn new(now: Instant, life: Arc<Life>, standing: Standing, state: State, config: &Config) -> Self {
        let status = standing.status();
        let Standing { heartbeat, marks } = standing;
        let mut member = Self {
            heartbeat,
            detector: Detector::new(now, &config.detector),
            zero: i64::MAX,
            file: Box::new(File {
                life,
                state,
                marks: Some(marks).filter(|marks| *marks != UNMARKED).map(Box::new),
                path: Path {
                    rtt: RttEstimator::new(&config.rtt),
                    last_direct: Instant::EPOCH.into(),
                    reachable: None,
                },
                since: now.into(),
                status,
                stamp: 0,
            }),
        };
        member.anchor(now, now, member.life.reference.interval_ms);
        member.restamp();
        member
    }

    /// To be called after any change of marks or state; heartbeats of a member
    /// in good standing need it not.
    pub fn restamp(&mut self) {
        self.stamp = fingerprint::of_standing(self);
    }

    pub fn hash(&self) -> u64 {
        self.life.hash
    }

    pub fn tag(&self) -> u64 {
        self.life.tag
    }

    /// Where it says that it is, so that witnesses may come from elsewhere.
    pub fn zone(&self) -> Option<&[u8]> {
        self.state.get(ZONE)
    }

    /// Since when the status is what it is.
    pub fn since(&self) -> Instant {
        self.since.into()
    }

    /// What is reported of it from now on.
    pub fn report(&mut self, now: Instant, status: Status) {
        (self.status, self.since) = (status, now.into());
    }

    /// What was said of it beside its heartbeat.
    pub fn marks(&self) -> &Marks {
        self.marks.as_deref().unwrap_or(&UNMARKED)
    }

    /// The status that its marks mean, whatever was reported last.
    pub fn standing(&self) -> Status {
        self.marks().status(self.heartbeat)
    }

    /// Takes marks in, by THE order of claims. True if any of them was news.
    pub fn mark(&mut self, marks: &Marks) -> bool {
        if self.marks.is_none() && *marks == UNMARKED {
            return false;
        }
        let mut joined = self.marks().clone();
        joined.join(self.heartbeat, marks);
        let news = joined != *self.marks();
        if news {
            self.keep(joined);
        }
        news
    }

    fn keep(&mut self, marks: Marks) {
        self.marks = Some(marks).filter(|marks| *marks != UNMARKED).map(Box::new);
        self.restamp();
    }

    /// Begins another life of ours, without leaving the roster.
    pub fn begin_life(&mut self, life: Life) {
        self.life = Arc::new(life);
        self.keep(Marks::default());
    }

    /// Alive, or accused and not judged: takes part in the cluster.
    pub fn is_present(&self) -> bool {
        matches!(self.status, Status::Alive | Status::Suspect)
    }

    /// Takes a heartbeat that is news; false when it is none.
    pub fn advance(&mut self, now: Instant, heartbeat: Heartbeat, detector: &DetectorConfig) -> bool {
        let Some(steps) = heartbeat.checked_sub(self.heartbeat).filter(|s| *s > 0) else {
            return false;
        };
        self.beat(now, steps, self.life.reference.interval_ms, detector);
        if self.status != Status::Alive {
            let mut marks = self.marks().clone();
            marks.tidy(heartbeat);
            self.keep(marks);
        }
        true
    }

    /// Takes so many more heartbeats, on its band alone: of a member that has nothing to refute.
    pub fn beat(&mut self, now: Instant, steps: u64, interval_ms: u32, detector: &DetectorConfig) {
        let before = self.detector.last();
        self.heartbeat = self.heartbeat.saturating_add(steps);
        self.detector.heartbeat(now, steps, detector);
        self.anchor(before, now, interval_ms);
    }

    /// Whether enough of its heartbeats were seen to be surprised by a silence. A
    /// newcomer's first ones come quickly, by burst and by its own calls.
    pub fn has_rhythm(&self) -> bool {
        match &self.detector {
            Detector::Phi(phi) => phi.samples() >= RHYTHM,
            Detector::Fixed(_) => true,
        }
    }

    /// Our local time, in microseconds, of its heartbeat 0: the earliest that the arrivals of late allow.
    pub fn zero(&self) -> i64 {
        self.zero
    }

    /// Takes in the arrival of its heartbeat at `now`; the one before it came at `before`.
    ///
    /// What arrived quickest is forgotten little by little, as clocks drift: if theirs is slow, a line that is never moved
    /// would one day say that beats which are yet to be made were made long ago.
    fn anchor(&mut self, before: Instant, now: Instant, interval_ms: u32) {
        let beats = i64::try_from(self.heartbeat).ok();
        let beaten = beats.and_then(|beats| beats.checked_mul(micros_of(interval_ms)));
        // Neither is negative.
        let zero = micros(now) - beaten.unwrap_or(i64::MAX);
        let faded = now.micros_since(before) / FORGET;
        self.zero = self.zero.saturating_add_unsigned(faded).min(zero);
    }
}

pub fn micros_of(interval_ms: u32) -> i64 {
    i64::from(interval_ms.max(1)) * 1000
}

pub fn micros(at: Instant) -> i64 {
    signed(at.as_micros())
}

pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Accusations kept per member: of silence those of the five witnesses and of
/// some who came first, and what the witnesses say of the link.
pub const MAX_ACCUSATIONS: usize = 12;
/// One witness alone keeps nobody out, not even where one is a majority.
pub const ACCUSERS_TO_KEEP_OUT: usize = 2;

/// Key of the state in which a member says its zone.
pub const ZONE: &str = "zone";
/// Intervals from which a rhythm is known. With fewer, everybody who has just met
/// everybody asks after all of them once the first hurry is over (simulator,
/// `quiet` at 500 members: 160 needless probes each).
const RHYTHM: u32 = 8;
/// Of the time that passes, one part in so many is added to the quickest arrival: 122 in a million, more than the
/// clocks of two hosts drift apart, and half a second between two direct calls in the largest clusters.
const FORGET: u64 = 8192;
/// The last that a [`Moment`] can say.
const LATEST_MICROS: u64 = (1 << 56) - 1;

#[cfg(test)]
mod tests {
    use heartsay_proto::Cluster;

    use super::*;
    use crate::config::Profile;

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
    fn a_band_is_shorter_than_a_line_of_cache_and_its_file_is_small() {
        assert_eq!(size_of::<Member>(), 48);
        // Sizes at which the allocator rounds up by nothing; a life has two counters in front (memory.rs).
        assert!(size_of::<File>() <= 56, "{}", size_of::<File>());
        assert!(size_of::<Life>() <= 104, "{}", size_of::<Life>());
    }

    #[test]
    fn a_moment_is_told_again_and_none_is_later_than_the_last() {
        for micros in [0, 1, 1 << 32, LATEST_MICROS] {
            assert_eq!(
                Instant::from(Moment::from(Instant::from_micros(micros))),
                Instant::from_micros(micros)
            );
        }
        assert_eq!(Instant::from(Moment::from(Instant::NEVER)), Instant::from_micros(LATEST_MICROS));
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

    #[test]
    fn a_good_bye_is_stronger_than_any_verdict_or_heartbeat() {
        let mut standing = Standing { heartbeat: 5, marks: Marks { left: true, ..Marks::default() } };
        standing.join(&down(99, 100));
        assert_eq!(standing.status(), Status::Left);
    }

    #[test]
    fn the_quickest_arrival_counts_until_a_clock_may_have_drifted_away_from_it() {
        let config = Config::new(Cluster::new("line").unwrap(), Profile::Lan);
        let reference = Reference { unix_ms: 1, heartbeat: 0, interval_ms: 1000 };
        let life = Life::new(Name::new("n").unwrap(), HostId(1), 1, ([10, 0, 0, 1], 4327).into(), reference);
        let standing = Standing { heartbeat: 1, ..Standing::default() };
        let at = |s: f64| Instant::EPOCH + Duration::from_secs_f64(s);
        let mut member = Member::new(at(1.1), Arc::new(life), standing, State::default(), &config);
        assert_eq!(member.zero(), 100_000);
        // Its clock is slow by a part in 10,000, and as the network has it most beats come late and a few at once.
        let late = |beat: i32| if beat % 50 == 0 { 0.1 } else { 2.3 };
        let beats = (2..100_000).map(|beat| f64::from(beat) * 1.0001 + late(beat));
        for (beat, heard) in (2..).zip(beats) {
            member.beat(at(heard), 1, 1000, &config.detector);
            let line = i64::from(beat) * 100 + 100_000;
            assert!((line - 10_000..line + 10_000).contains(&member.zero()), "{beat}: {}", member.zero());
        }
    }

    #[test]
    fn a_heartbeat_is_due_on_a_line_that_begins_with_the_life() {
        let reference = Reference { unix_ms: 1_000_000, heartbeat: 3, interval_ms: 1000 };
        assert_eq!(
            [3, 77, 0].map(|heartbeat| reference.unix_ms_of(heartbeat)),
            [1_000_000, 1_074_000, 997_000]
        );
        assert_eq!(reference.unix_ms_of(u64::MAX), u64::MAX);
        assert_eq!(Reference { heartbeat: u64::MAX, ..reference }.unix_ms_of(0), 0);
    }
}
