//! What is measured in a run, and the marks that it takes to count each thing once.

use core::time::Duration;
use std::collections::BTreeSet;

use heartsay_membership::{Generation, Instant, Quorum};

use super::quorum_meter::QuorumMeter;
use super::roster_meter::RosterMeter;
use super::standing::Standing;
use crate::bits::Members;
use crate::measure::{Episode, Measures, Second};

/// Measures in the making. It is told what happened and whose fault it was; it looks at nothing itself.
pub(super) struct Meter {
    measures: Measures,
    marks: Vec<Marks>,
    formation: Formation,
    sampled: Instant,
    /// Bytes of the present second, and the members that sent them, as far as they count.
    second: (u64, u32),
    /// Both where a scenario states an electorate.
    quorum: Option<QuorumMeter>,
    rosters: Option<RosterMeter>,
}

/// What is remembered about one member.
#[derive(Default)]
struct Marks {
    episode: Option<usize>,
    newcomer: Option<Newcomer>,
    formed: bool,
    /// Has had the whole state of all.
    stated: bool,
    evicted: Option<Instant>,
    /// Until when any suspected it.
    doubted_until: Option<Instant>,
    down: Option<Instant>,
    back: bool,
    /// Most of the others hold it for down.
    out: bool,
}

struct Newcomer {
    since: Instant,
    generation: Generation,
    full: bool,
    known: Members,
}

/// How the first members come to be a cluster.
struct Formation {
    /// Members at the start.
    nodes: usize,
    /// The last start of one of them.
    from: Instant,
    /// How many have not had their full view since.
    waiting: usize,
    view_sizes: BTreeSet<usize>,
}

impl Meter {
    /// `votes`: what measures quorum and the rosters of its holders; `None`: there is no electorate.
    pub(super) fn new(nodes: usize, votes: Option<(QuorumMeter, RosterMeter)>) -> Self {
        let formation =
            Formation { nodes, from: Instant::EPOCH, waiting: nodes, view_sizes: BTreeSet::new() };
        let (quorum, rosters) = votes.unzip();
        let (measures, marks) = (Measures::default(), Vec::new());
        Self { measures, marks, formation, sampled: Instant::EPOCH, second: (0, 0), quorum, rosters }
    }

    /// One more member, which has not started.
    pub(super) fn add(&mut self) {
        self.marks.push(Marks::default());
        if let Some(quorum) = &mut self.quorum {
            quorum.add();
        }
        if let Some(rosters) = &mut self.rosters {
            rosters.add();
        }
    }

    /// One of the first members will start then.
    pub(super) fn will_start(&mut self, at: Instant) {
        self.formation.from = self.formation.from.max(at);
    }

    /// Whether all of the first members have started.
    pub(super) fn all_have_started(&self, now: Instant) -> bool {
        now >= self.formation.from
    }

    /// Whether some of the first members have not had their full view yet.
    pub(super) fn is_forming(&self) -> bool {
        self.formation.waiting > 0
    }

    /// A life of `member` begins.
    pub(super) fn started(&mut self, now: Instant, member: usize, generation: Generation) {
        let marks = &mut self.marks[member];
        marks.episode = None;
        marks.stated = false;
        if now > self.formation.from {
            marks.newcomer =
                Some(Newcomer { since: now, generation, full: false, known: Members::default() });
        }
    }

    /// The process of `member` ends: what befell others only just now it need not notice any more.
    pub(super) fn stopped(&mut self, now: Instant, member: usize) {
        self.marks[member].newcomer = None;
        for episode in &mut self.measures.episodes {
            if now.since(episode.onset) < EXCUSABLE && episode.down.get(member).is_some_and(|t| *t < 0.0) {
                episode.excuse(member);
            }
        }
        if let Some(quorum) = &mut self.quorum {
            quorum.ended(now, member);
        }
        if let Some(rosters) = &mut self.rosters {
            rosters.ended(now, member);
        }
    }

    /// Whether there is an electorate.
    pub(super) fn measures_quorum(&self) -> bool {
        self.quorum.is_some()
    }

    /// `member` stands so towards quorum.
    pub(super) fn stands(&mut self, now: Instant, member: usize, standing: Standing) {
        if let Some(quorum) = &mut self.quorum {
            quorum.stands(now, member, standing);
        }
    }

    /// `member` says this of quorum.
    pub(super) fn says_quorum(&mut self, now: Instant, member: usize, says: Quorum) {
        if let Some(quorum) = &mut self.quorum {
            quorum.says(now, member, says == Quorum::Held);
        }
        if let Some(rosters) = &mut self.rosters {
            rosters.says(now, member, says == Quorum::Held);
        }
    }

    /// What compares them, if they are.
    pub(super) fn rosters(&mut self) -> Option<&mut RosterMeter> {
        self.rosters.as_mut()
    }

    /// Members that said last that they hold quorum, where rosters are compared.
    pub(super) fn holders(&self) -> impl Iterator<Item = usize> {
        self.rosters.iter().flat_map(RosterMeter::holders)
    }

    /// Begins to time the detection of what befalls `subject`.
    pub(super) fn open_episode(&mut self, now: Instant, subject: usize, fatal: bool, observers: Members) {
        self.marks[subject].episode = Some(self.measures.episodes.len());
        self.measures.episodes.push(Episode::new(subject, now, fatal, observers));
    }

    /// `observer` suspects `subject`, or calls it `down`.
    pub(super) fn noticed(&mut self, now: Instant, observer: usize, subject: usize, down: bool) {
        if let Some(episode) = self.episode(subject) {
            episode.noticed(observer, now, down);
        }
    }

    /// `observer` says that the lease of `subject` has run out.
    pub(super) fn fenced(&mut self, now: Instant, observer: usize, subject: usize) {
        if let Some(episode) = self.episode(subject) {
            episode.fenced_by(observer, now);
        }
    }

    /// A faultless member is suspected.
    pub(super) fn suspected_wrongly(&mut self) {
        self.measures.mistakes.false_suspicions += 1;
    }

    /// Some come to suspect `subject`, whom none suspected, or no longer do. `rightly`: it is not faultless. One suspicion may
    /// be refuted here before it is heard of there, so what begins within a moment of the last one belongs to it.
    pub(super) fn in_doubt(&mut self, now: Instant, subject: usize, doubted: bool, rightly: bool) {
        let (marks, mistakes) = (&mut self.marks[subject], &mut self.measures.mistakes);
        if doubted && marks.doubted_until.is_none_or(|until| now.since(until) > ONE_SUSPICION) {
            mistakes.suspicions += 1;
            mistakes.healthy_suspected += u64::from(!rightly);
        }
        marks.doubted_until = Some(if doubted { Instant::NEVER } else { now });
    }

    /// A member that is up is called down.
    pub(super) fn called_down(&mut self, now: Instant, subject: usize) {
        self.measures.mistakes.called_down += 1;
        let marks = &mut self.marks[subject];
        if marks.down.is_none_or(|at| now.since(at) > NEEDLESS) {
            marks.back = false;
        }
        marks.down = Some(now);
    }

    /// It was faultless.
    pub(super) fn called_down_wrongly(&mut self, now: Instant, subject: usize, by_healthy: bool) {
        let (marks, mistakes) = (&mut self.marks[subject], &mut self.measures.mistakes);
        mistakes.false_positives += 1;
        mistakes.false_positives_by_healthy += u64::from(by_healthy);
        mistakes.healthy_evicted += u64::from(marks.evicted.is_none_or(|at| now.since(at) > NEEDLESS));
        marks.evicted = Some(now);
    }

    /// A member that was called down is in a view again.
    pub(super) fn is_back(&mut self, now: Instant, subject: usize) {
        let marks = &mut self.marks[subject];
        if marks.down.is_some_and(|at| now.since(at) <= NEEDLESS) && !marks.back {
            marks.back = true;
            self.measures.mistakes.needless_evictions += 1;
        }
    }

    /// Whether most of the others hold `subject` for down. True: they have only just come to, and nothing befell it that
    /// would be timed.
    pub(super) fn removed(&mut self, now: Instant, subject: usize, out: bool) -> bool {
        if std::mem::replace(&mut self.marks[subject].out, out) || !out {
            return false;
        }
        let episode = self.episode(subject);
        let unexplained = episode.is_none();
        if let Some(episode) = episode {
            episode.outs.push(now.since(episode.onset).as_secs_f32());
        }
        unexplained
    }

    /// Most of the others came to hold a faultless member for down.
    pub(super) fn removed_wrongly(&mut self) {
        self.measures.mistakes.healthy_removed += 1;
    }

    /// `observer` has this life of `subject` in its view.
    pub(super) fn known(&mut self, now: Instant, observer: usize, subject: usize, generation: Generation) {
        // An observer that started later cannot have known it before.
        let began = self.marks[observer].newcomer.as_ref().map_or(Instant::EPOCH, |n| n.since);
        if let Some(newcomer) = &mut self.marks[subject].newcomer
            && generation >= newcomer.generation
            && newcomer.known.insert(observer)
        {
            let took = now.since(newcomer.since.max(began));
            self.measures.forming.newcomer_known.push(took.as_secs_f32());
        }
    }

    /// `observer` has all members in its view. If it is the last of the first members to: after what time.
    pub(super) fn full_view(&mut self, now: Instant, observer: usize) -> Option<Duration> {
        let (marks, forming) = (&mut self.marks[observer], &mut self.measures.forming);
        if let Some(newcomer) = marks.newcomer.as_mut().filter(|n| !n.full) {
            newcomer.full = true;
            forming.newcomer_full.push(now.since(newcomer.since).as_secs_f32());
        }
        let formation = &mut self.formation;
        if now < formation.from || observer >= formation.nodes || marks.formed {
            return None;
        }
        marks.formed = true;
        formation.waiting -= 1;
        let took = now.since(formation.from);
        forming.each.push(took.as_secs_f32());
        if formation.waiting > 0 {
            return None;
        }
        forming.whole = Some(took);
        forming.whole
    }

    /// Sizes of the views of running members.
    pub(super) fn view_sizes(&mut self, sizes: impl Iterator<Item = usize>) {
        self.formation.view_sizes.extend(sizes);
    }

    /// `member` has the whole state of all.
    pub(super) fn has_all_states(&mut self, now: Instant, member: usize) {
        let (marks, forming) = (&mut self.marks[member], &mut self.measures.forming);
        if std::mem::replace(&mut marks.stated, true) {
            return;
        }
        match &marks.newcomer {
            Some(newcomer) => forming.newcomer_states.push(now.since(newcomer.since).as_secs_f32()),
            None => forming.states.push(now.since(self.formation.from).as_secs_f32()),
        }
    }

    /// The most that one member sent in one second.
    pub(super) fn peak(&mut self, bytes: u32) {
        self.measures.traffic.peak = self.measures.traffic.peak.max(bytes);
    }

    /// What `member` sent in one second that counts.
    pub(super) fn traffic(&mut self, member: usize, bytes: u32, datagrams: u32) {
        let traffic = &mut self.measures.traffic;
        traffic.bytes.push(bytes);
        traffic.datagrams += u64::from(datagrams);
        if traffic.members.len() <= member {
            traffic.members.resize(member + 1, (0, 0));
        }
        let (sum, seconds) = &mut traffic.members[member];
        (*sum, *seconds) = (*sum + u64::from(bytes), *seconds + 1);
        self.second.0 += u64::from(bytes);
        self.second.1 += 1;
    }

    /// One second is over.
    pub(super) fn second(&mut self, second: Second) {
        self.measures.member_seconds += u64::from(second.up);
        self.measures.seconds.push(second);
        let counted = std::mem::take(&mut self.second);
        if counted.1 > 0 {
            self.measures.traffic.seconds.push(counted);
        }
    }

    /// Rounds by which one view is behind an owner.
    pub(super) fn age(&mut self, rounds: u64) {
        self.measures.ages.push(u16::try_from(rounds).unwrap_or(u16::MAX));
    }

    /// `off` members differ from the majority's view, `wrong` entries from the truth.
    pub(super) fn disagreement(&mut self, now: Instant, off: usize, wrong: usize) {
        let passed = now.since(self.sampled).as_secs_f64();
        self.sampled = now;
        // While the cluster forms, views differ by nature.
        if !self.is_forming() {
            self.measures.divergence += off as f64 * passed;
        }
        let at = now.since(Instant::EPOCH).as_secs_f32();
        self.measures.disagreement.push((at, off as u32, wrong as u32));
    }

    /// The measures. `stateful`: members that run and whose states were asked for.
    pub(super) fn finish(self, now: Instant, stateful: impl Iterator<Item = usize>) -> Measures {
        let Self { mut measures, marks, formation, quorum, rosters, .. } = self;
        measures.quorum = quorum.map(|quorum| quorum.finish(now)).unwrap_or_default();
        measures.rosters = rosters.map(|rosters| rosters.finish(now)).unwrap_or_default();
        let forming = &mut measures.forming;
        forming.view_sizes = formation.view_sizes.into_iter().collect();
        let newcomers = marks.iter().filter_map(|m| m.newcomer.as_ref());
        forming.newcomers_lost = newcomers.filter(|n| !n.full).count() as u64;
        for marks in stateful.filter_map(|member| marks.get(member)).filter(|marks| !marks.stated) {
            forming.stateless[usize::from(marks.newcomer.is_some())] += 1;
        }
        measures
    }

    fn episode(&mut self, subject: usize) -> Option<&mut Episode> {
        self.measures.episodes.get_mut(self.marks[subject].episode?)
    }
}

/// Called down and back within this is a needless eviction (as in the targets).
const NEEDLESS: Duration = Duration::from_secs(10);
/// A suspicion that comes again within this is the same.
const ONE_SUSPICION: Duration = Duration::from_secs(1);
/// An observer that dies this soon after a death need not have noticed it.
const EXCUSABLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn meter(nodes: usize) -> Meter {
        let mut meter = Meter::new(nodes, None);
        (0..nodes).for_each(|_| meter.add());
        meter
    }

    #[test]
    fn one_eviction_is_counted_once_however_many_call_it_down() {
        let mut meter = meter(4);
        for observer in 1..4u64 {
            meter.called_down(at(observer), 0);
            meter.called_down_wrongly(at(observer), 0, observer == 1);
        }
        meter.is_back(at(5_000), 0);
        meter.is_back(at(5_001), 0);
        meter.called_down(at(20_000), 0);
        meter.is_back(at(40_000), 0);
        let mistakes = meter.finish(at(0), [].into_iter()).mistakes;
        assert_eq!((mistakes.called_down, mistakes.false_positives), (4, 3));
        assert_eq!((mistakes.false_positives_by_healthy, mistakes.healthy_evicted), (1, 1));
        assert_eq!(mistakes.needless_evictions, 1, "after 20 s it was no mistake");
    }

    #[test]
    fn one_suspicion_is_counted_once_however_many_share_it() {
        let mut meter = meter(2);
        meter.in_doubt(at(1_000), 0, true, false);
        meter.in_doubt(at(1_200), 0, false, false);
        meter.in_doubt(at(1_300), 0, true, false);
        meter.in_doubt(at(5_000), 0, true, false);
        meter.in_doubt(at(6_000), 0, false, false);
        meter.in_doubt(at(6_000), 1, true, true);
        meter.in_doubt(at(7_500), 0, true, true);
        let mistakes = meter.finish(at(0), [].into_iter()).mistakes;
        assert_eq!((mistakes.suspicions, mistakes.healthy_suspected), (3, 1));
    }

    #[test]
    fn a_cluster_has_formed_with_the_last_full_view_after_the_last_start() {
        let mut meter = meter(2);
        meter.will_start(at(1_000));
        assert_eq!(meter.full_view(at(500), 0), None, "the other has not started");
        assert_eq!(meter.full_view(at(1_200), 0), None);
        assert_eq!(meter.full_view(at(1_300), 0), None);
        assert!(meter.is_forming());
        assert_eq!(meter.full_view(at(1_500), 1), Some(Duration::from_millis(500)));
        assert_eq!(meter.full_view(at(1_600), 1), None);
        let forming = meter.finish(at(0), [].into_iter()).forming;
        assert_eq!((forming.whole, forming.each.len()), (Some(Duration::from_millis(500)), 2));
    }

    #[test]
    fn a_newcomer_is_known_from_its_start_or_the_observers() {
        let mut meter = meter(3);
        meter.started(at(0), 0, 1);
        meter.started(at(10_000), 1, 7);
        meter.started(at(12_000), 2, 1);
        meter.known(at(10_250), 0, 1, 6);
        meter.known(at(10_500), 0, 1, 7);
        meter.known(at(10_750), 0, 1, 7);
        meter.known(at(13_000), 2, 1, 7);
        assert_eq!(meter.finish(at(0), [].into_iter()).forming.newcomer_known, [0.5, 1.0]);
    }

    #[test]
    fn what_befell_a_member_explains_that_most_hold_it_for_down() {
        let mut meter = meter(2);
        assert!(meter.removed(at(1_000), 0, true));
        assert!(!meter.removed(at(1_100), 0, true), "only when they come to");
        meter.open_episode(at(1_000), 1, false, Members::default());
        assert!(!meter.removed(at(3_000), 1, true));
        assert_eq!(meter.finish(at(0), [].into_iter()).episodes[0].outs, [2.0]);
    }
}
