//! A member of the roster: its incarnation, the claims about it, and what this node itself has seen of it.
//!
//! Picture: a patient's wrist band and file. A nurse with a thousand patients walks along the bands; a file is fetched
//! only to write in it.
//!
//! [`Member`] is the band, the hot half, and [`MemberCold`] the file, the cold half. A round reads only the hot half of
//! members about which only the heartbeat is news.

use core::hint::black_box;
use core::ops::{Deref, DerefMut};
use std::sync::Arc;

use heartsay_detector::{Detector, DetectorConfig, RttEstimator};

use crate::Instant;
use crate::config::Config;
use crate::identity::Heartbeat;
use crate::roster::fingerprint;
use crate::roster::incarnation::Incarnation;
use crate::roster::standing::{Marks, Standing, Status, UNMARKED};
use crate::roster::state::{QUORUM_HEARING, QUORUM_KEY, QUORUM_LOST, QUORUM_SETTLING, State};

/// A member as one observer keeps it: the hot half, with a pointer to the cold half.
// In this order, because a prefetch touches both ends (ages.rs).
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Member {
    /// Highest heartbeat known.
    pub heartbeat: Heartbeat,
    /// The silence of the heartbeat in the merged view.
    pub detector: Detector,
    /// The time of its heartbeat 0 on our clock, in microseconds: the earliest that recent arrivals allow.
    first_beat_at: i64,
    cold: Box<MemberCold>,
}

/// The half of a member that is seldom read.
// Fields smaller than a word share one with a moment: 56 bytes, the most that an allocation of 64 holds.
#[derive(Clone, Debug)]
pub struct MemberCold {
    pub incarnation: Arc<Incarnation>,
    pub state: State,
    /// `None` for nearly all members.
    marks: Option<Box<Marks>>,
    pub path: Path,
    /// When it took this status.
    since: CompactInstant,
    /// Status as last reported. Set by `Roster::set_status`, which keeps the census.
    pub status: Status,
    /// Stamp of the claims about it; pages add the stamps up.
    pub stamp: u32,
}

/// Our own contacts with a member.
#[derive(Clone, Debug)]
pub struct Path {
    pub rtt: RttEstimator,
    last_direct: CompactInstant,
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
struct CompactInstant([u8; 7]);

impl From<Instant> for CompactInstant {
    fn from(at: Instant) -> Self {
        let [a, b, c, d, e, f, g, _] = at.as_micros().min(LATEST_MICROS).to_le_bytes();
        Self([a, b, c, d, e, f, g])
    }
}

impl From<CompactInstant> for Instant {
    fn from(CompactInstant([a, b, c, d, e, f, g]): CompactInstant) -> Self {
        Self::from_micros(u64::from_le_bytes([a, b, c, d, e, f, g, 0]))
    }
}

/// The hot half gives access to the cold half.
impl Deref for Member {
    type Target = MemberCold;

    fn deref(&self) -> &MemberCold {
        &self.cold
    }
}

impl DerefMut for Member {
    fn deref_mut(&mut self) -> &mut MemberCold {
        &mut self.cold
    }
}

impl Member {
    pub fn new(
        now: Instant,
        incarnation: Arc<Incarnation>,
        standing: Standing,
        state: State,
        config: &Config,
    ) -> Self {
        let status = standing.status();
        let Standing { heartbeat, marks } = standing;
        let mut member = Self {
            heartbeat,
            detector: Detector::new(now, &config.detector),
            first_beat_at: i64::MAX,
            cold: Box::new(MemberCold {
                incarnation,
                state,
                marks: Some(marks).filter(|marks| *marks != UNMARKED).map(Box::new),
                path: Path { rtt: RttEstimator::new(), last_direct: Instant::EPOCH.into(), reachable: None },
                since: now.into(),
                status,
                stamp: 0,
            }),
        };
        member.anchor(now, now, member.incarnation.schedule.interval_ms);
        member.restamp();
        member
    }

    /// Call it after any change of marks or state. Heartbeats of a member in good standing do not need it.
    pub fn restamp(&mut self) {
        self.stamp = fingerprint::of_standing(self);
    }

    pub fn hash(&self) -> u64 {
        self.incarnation.hash
    }

    pub fn tag(&self) -> u64 {
        self.incarnation.tag
    }

    /// The zone in its state, so that witnesses can come from other zones.
    pub fn zone(&self) -> Option<&[u8]> {
        self.state.get(ZONE)
    }

    /// Whether it says itself that it has lost quorum.
    pub fn says_lost(&self) -> bool {
        self.may_be_deaf() || self.says(QUORUM_HEARING)
    }

    /// Whether it says that it has lost quorum, and does not say that it hears of a majority.
    pub fn may_be_deaf(&self) -> bool {
        self.says(QUORUM_LOST)
    }

    /// Whether it says itself that it has no quorum yet, but a majority in two-way contact.
    pub fn says_settling(&self) -> bool {
        self.says(QUORUM_SETTLING)
    }

    fn says(&self, of_quorum: &[u8]) -> bool {
        self.state.get(QUORUM_KEY) == Some(of_quorum)
    }

    /// When it took its status.
    pub fn since(&self) -> Instant {
        self.since.into()
    }

    /// Sets the status that is reported from now on.
    pub fn report(&mut self, now: Instant, status: Status) {
        (self.status, self.since) = (status, now.into());
    }

    /// The claims about it except its heartbeat.
    pub fn marks(&self) -> &Marks {
        self.marks.as_deref().unwrap_or(&UNMARKED)
    }

    /// Whether there are claims about it that no heartbeat has cancelled.
    pub fn is_marked(&self) -> bool {
        self.marks.is_some()
    }

    /// The status that its marks mean, whatever was reported last.
    pub fn standing(&self) -> Status {
        self.marks().status(self.heartbeat)
    }

    /// Merges marks by THE order of claims. True if any of them was news.
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

    /// Begins another incarnation of this node, without leaving the roster.
    pub fn begin_incarnation(&mut self, incarnation: Arc<Incarnation>) {
        self.incarnation = incarnation;
        self.keep(Marks::default());
    }

    /// Continues in a later incarnation of the same process, with this state. The measurements on the path to its
    /// earlier address, and the claims against it there, are void.
    pub fn follow(&mut self, incarnation: Arc<Incarnation>, state: State) {
        self.state = state;
        (self.path.rtt, self.path.reachable) = (RttEstimator::new(), None);
        self.begin_incarnation(incarnation);
    }

    /// Whether it is alive, or suspect, and so takes part in the cluster.
    pub fn is_present(&self) -> bool {
        matches!(self.status, Status::Alive | Status::Suspect)
    }

    /// Takes a heartbeat if it is news; false if it is not.
    pub fn advance(&mut self, now: Instant, heartbeat: Heartbeat, detector: &DetectorConfig) -> bool {
        let Some(steps) = heartbeat.checked_sub(self.heartbeat).filter(|s| *s > 0) else {
            return false;
        };
        self.beat(now, steps, self.incarnation.schedule.interval_ms, detector);
        if self.is_marked() {
            let mut marks = self.marks().clone();
            marks.tidy(heartbeat);
            self.keep(marks);
        }
        true
    }

    /// Takes this many more heartbeats in the hot half only, for a member that has nothing to refute.
    pub fn beat(&mut self, now: Instant, steps: u64, interval_ms: u32, detector: &DetectorConfig) {
        let before = self.detector.last();
        self.heartbeat = self.heartbeat.saturating_add(steps);
        self.detector.heartbeat(now, steps, detector);
        self.anchor(before, now, interval_ms);
    }

    /// Whether enough of its heartbeats were seen to judge a silence. A newcomer's first ones come quickly, by
    /// broadcast and by its own calls.
    pub fn has_history(&self) -> bool {
        match &self.detector {
            Detector::Phi(phi) => phi.samples() >= RHYTHM,
            Detector::Fixed(_) => true,
        }
    }

    /// The time of its heartbeat 0 on our clock, in microseconds: the earliest that recent arrivals allow.
    pub fn first_beat_at(&self) -> i64 {
        self.first_beat_at
    }

    /// Takes the arrival of its heartbeat at `now`; the one before arrived at `before`.
    ///
    /// The quickest arrival is forgotten gradually, because clocks drift. If the member's clock is slow, an estimate
    /// that never moves would one day claim that future heartbeats were made long ago.
    fn anchor(&mut self, before: Instant, now: Instant, interval_ms: u32) {
        let beats = i64::try_from(self.heartbeat).ok();
        let beaten = beats.and_then(|beats| beats.checked_mul(micros_of(interval_ms)));
        // Neither is negative.
        let first_beat_at = micros(now) - beaten.unwrap_or(i64::MAX);
        let faded = now.micros_since(before) / FORGET;
        self.first_beat_at = self.first_beat_at.saturating_add_unsigned(faded).min(first_beat_at);
    }
}

/// Touches what will be read of some members: their cold halves, and then their incarnations.
pub fn touch_cold(members: &[&Member]) {
    members.iter().for_each(|member| _ = black_box(member.stamp));
    members.iter().for_each(|member| _ = black_box(member.hash()));
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

/// Key of the state that holds a member's zone.
pub const ZONE: &str = "zone";
/// Number of intervals that make a history. With fewer, members that have just met would all probe each other once the
/// first exchanges are over (simulator, `quiet` at 500 members: 160 needless probes each).
const RHYTHM: u32 = 8;
/// This fraction of the time that passes is added to the quickest arrival: 122 in a million, which is more than the
/// clocks of two hosts drift apart, and half a second between two direct calls in the largest clusters.
const FORGET: u64 = 8192;
/// The last moment that a [`CompactInstant`] can hold.
const LATEST_MICROS: u64 = (1 << 56) - 1;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use heartsay_proto::Cluster;

    use super::*;
    use crate::config::Profile;
    use crate::identity::{HostId, Name};
    use crate::roster::incarnation::Schedule;

    #[test]
    fn the_hot_half_is_shorter_than_a_cache_line_and_the_cold_half_is_small() {
        assert_eq!(size_of::<Member>(), 48);
        // At these sizes the allocator wastes nothing; an incarnation has two counters in front (memory.rs).
        assert!(size_of::<MemberCold>() <= 56, "{}", size_of::<MemberCold>());
        assert!(size_of::<Incarnation>() <= 120, "{}", size_of::<Incarnation>());
    }

    #[test]
    fn a_moment_survives_compaction_and_none_is_later_than_the_last() {
        for micros in [0, 1, 1 << 32, LATEST_MICROS] {
            assert_eq!(
                Instant::from(CompactInstant::from(Instant::from_micros(micros))),
                Instant::from_micros(micros)
            );
        }
        assert_eq!(Instant::from(CompactInstant::from(Instant::NEVER)), Instant::from_micros(LATEST_MICROS));
    }

    #[test]
    fn the_quickest_arrival_counts_until_a_clock_may_have_drifted() {
        let config = Config::new(Cluster::new("line").unwrap(), Profile::Lan);
        let schedule = Schedule { unix_ms: 1, heartbeat: 0, interval_ms: 1000 };
        let incarnation =
            Incarnation::new(Name::new("n").unwrap(), HostId(1), 1, ([10, 0, 0, 1], 4327).into(), schedule);
        let standing = Standing { heartbeat: 1, ..Standing::default() };
        let at = |s: f64| Instant::EPOCH + Duration::from_secs_f64(s);
        let mut member = Member::new(at(1.1), Arc::new(incarnation), standing, State::default(), &config);
        assert_eq!(member.first_beat_at(), 100_000);
        // Its clock is slow by one part in 10,000, and the network delivers most heartbeats late and a few at once.
        let late = |beat: i32| if beat % 50 == 0 { 0.1 } else { 2.3 };
        let beats = (2..100_000).map(|beat| f64::from(beat) * 1.0001 + late(beat));
        for (beat, heard) in (2..).zip(beats) {
            member.beat(at(heard), 1, 1000, &config.detector);
            let line = i64::from(beat) * 100 + 100_000;
            assert!(
                (line - 10_000..line + 10_000).contains(&member.first_beat_at()),
                "{beat}: {}",
                member.first_beat_at()
            );
        }
    }
}
