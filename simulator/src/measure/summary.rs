//! Runs taken together.

use serde::{Deserialize, Serialize};

use super::{Episode, Measures, Spread};
#[cfg(doc)]
use super::{Forming, Mistakes, QuorumFigures, RosterFigures, Traffic};

/// Measures of one or several runs, as they are printed. Times in seconds.
///
/// One flat struct, as its fields are the keys of `summary` in the JSON of `run`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Until each observer suspects, over all pairs of observer and dead member.
    pub suspect: Spread,
    /// Until the first observer does, over dead members.
    pub suspect_first: Spread,
    /// Until the last observer does, over dead members that all noticed.
    pub suspect_last: Spread,
    /// Until each observer says down, over all pairs.
    pub down: Spread,
    /// Until the first observer does.
    pub down_first: Spread,
    /// Until the last observer does.
    pub down_last: Spread,
    /// Until each observer says that the lease of a dead member has run out; missing: pairs without.
    pub fenced: Spread,
    /// Until the first observer calls a paused or blocked member down; missing: those that never were.
    pub stalled_down_first: Spread,
    /// Until most members hold an impaired one for down; missing: those that never were.
    pub removed: Spread,
    /// Times that this happened again to the same one.
    pub removed_again: u64,
    /// See [`Mistakes::healthy_removed`].
    pub healthy_removed: u64,
    /// See [`Mistakes::called_down`].
    pub called_down: u64,
    /// See [`Mistakes::false_positives`].
    pub false_positives: u64,
    /// See [`Mistakes::false_positives_by_healthy`].
    pub false_positives_by_healthy: u64,
    /// See [`Mistakes::healthy_evicted`].
    pub healthy_evicted: u64,
    /// See [`Mistakes::false_suspicions`].
    pub false_suspicions: u64,
    /// See [`Mistakes::suspicions`].
    pub suspicions: u64,
    /// See [`Mistakes::healthy_suspected`].
    pub healthy_suspected: u64,
    /// The same per hour of each member.
    pub healthy_suspected_per_hour: f64,
    /// False suspicions per hour of each observer.
    pub false_suspicions_per_hour: f64,
    /// The share of suspicions that befell a faultless member: one less the precision. Of none it is 0.
    pub suspicions_false_share: f64,
    /// See [`Mistakes::needless_evictions`].
    pub needless_evictions: u64,
    /// See [`Measures::divergence`], mean over runs.
    pub divergence: f64,
    /// Full views of the first members, over all of them.
    pub formation: Spread,
    /// See [`Forming::newcomer_full`].
    pub newcomer_full: Spread,
    /// See [`Forming::newcomer_known`].
    pub newcomer_known: Spread,
    /// See [`Forming::states`].
    pub states: Spread,
    /// See [`Forming::newcomer_states`].
    pub newcomer_states: Spread,
    /// Distinct sizes of views seen while the cluster formed, mean over runs.
    pub view_sizes: f64,
    /// Bytes sent per member and second.
    pub bytes: Spread,
    /// See [`Traffic::busiest_minute`], of the run with the busiest.
    pub bytes_minute: f64,
    /// Most bytes that any member sent in any second.
    pub bytes_peak: f64,
    /// Most bytes that any of the seeds (`start.contacts`) sent in any second.
    pub bytes_contact: f64,
    /// Most entries that any table held.
    pub table_max: f64,
    /// Bytes sent per second, mean of each member's whole run.
    pub bytes_member: Spread,
    /// Datagrams sent per member and second, mean.
    pub datagrams: f64,
    /// Ages of heartbeats, rounds.
    pub age: Spread,
    /// Members that hold, lost, are unsettled about quorum at the end, over all runs.
    pub quorum: [usize; 3],
    /// See [`QuorumFigures::losses`].
    pub quorum_losses: u64,
    /// The same per 1,000 member-hours of healthy members.
    pub quorum_losses_per_1000h: f64,
    /// See [`QuorumFigures::healthy`].
    pub quorum_healthy: f64,
    /// See [`QuorumFigures::without`].
    pub quorum_without: f64,
    /// Its share of the time of healthy members.
    pub quorum_without_share: f64,
    /// See [`QuorumFigures::gaps`].
    pub quorum_gaps: Spread,
    /// See [`QuorumFigures::to_lose`]; missing: [`QuorumFigures::never_lost`].
    pub quorum_to_lose: Spread,
    /// See [`QuorumFigures::to_regain`]; missing: [`QuorumFigures::never_regained`].
    pub quorum_to_regain: Spread,
    /// See [`RosterFigures::one`]; missing: [`RosterFigures::never`].
    pub one_roster: Spread,
    /// See [`RosterFigures::unheld`].
    pub changes_unheld: u64,
    /// See [`RosterFigures::late`].
    pub late_splits: Spread,
    /// See [`RosterFigures::deaf`]; missing: [`RosterFigures::deaf_unaware`].
    pub deaf_knows: Spread,
    /// See [`RosterFigures::mute`]; missing: [`RosterFigures::mute_unaware`].
    pub mute_knows: Spread,
    /// See [`RosterFigures::status_changes`].
    pub status_changes: Spread,
    /// From the last trouble to agreement, over runs; missing: runs that did not agree.
    pub agreement: Spread,
    /// See [`Measures::ghosts_gone`], over runs; missing: runs that ended with ghosts.
    pub ghosts_gone: Spread,
}

impl Summary {
    /// Whether members were asked for quorum, and any was healthy long enough to be judged or was cut off.
    #[must_use]
    pub fn shows_quorum(&self) -> bool {
        self.quorum_healthy > 0.0 || self.quorum_to_lose.count + self.quorum_to_lose.missing > 0
    }

    /// The distributions that have values, each with its name.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, &Spread)> {
        let rows = [
            ("suspect, each observer, s", &self.suspect),
            ("  the first", &self.suspect_first),
            ("  the last", &self.suspect_last),
            ("down, each observer, s", &self.down),
            ("  the first", &self.down_first),
            ("  the last", &self.down_last),
            (FENCED, &self.fenced),
            ("impaired called down, s", &self.stalled_down_first),
            ("  by most members", &self.removed),
            ("full view at start, s", &self.formation),
            ("newcomer's full view, s", &self.newcomer_full),
            ("newcomer known, s", &self.newcomer_known),
            ("all states at start, s", &self.states),
            ("newcomer has all states, s", &self.newcomer_states),
            ("agreement after trouble, s", &self.agreement),
            ("no ghost after trouble, s", &self.ghosts_gone),
            ("age of heartbeats, rounds", &self.age),
            ("healthy without quorum, s", &self.quorum_gaps),
            ("lost quorum after cut, s", &self.quorum_to_lose),
            ("held it after heal, s", &self.quorum_to_regain),
            ("one roster after change, s", &self.one_roster),
            ("  differ later than that, s", &self.late_splits),
            ("deaf member knows it, s", &self.deaf_knows),
            ("mute member knows it, s", &self.mute_knows),
            ("changes of one's status", &self.status_changes),
            ("sent, bytes/s and member", &self.bytes),
            ("  mean of each member", &self.bytes_member),
        ];
        // Where no fence is kept, none is missing.
        let shown = |name: &str, spread: &Spread| spread.count > 0 || (spread.missing > 0 && name != FENCED);
        rows.into_iter().filter(|(name, spread)| shown(name, spread)).collect()
    }

    /// Pools runs.
    #[must_use]
    pub fn of(runs: &[&Measures]) -> Self {
        let pool = Pool(runs);
        let count = runs.len().max(1) as f64;
        let quorum_losses = pool.sum(|m| m.quorum.losses);
        let quorum_healthy = runs.iter().map(|m| m.quorum.healthy).sum();
        let quorum_without = runs.iter().map(|m| m.quorum.without).sum();
        let (suspicions, healthy_suspected) =
            (pool.sum(|m| m.mistakes.suspicions), pool.sum(|m| m.mistakes.healthy_suspected));
        let member_seconds = pool.sum(|m| m.member_seconds) as f64;
        let unformed = pool.never(|m| m.forming.whole.is_some());
        let seconds_seen = runs.iter().map(|m| m.traffic.bytes.len()).sum::<usize>().max(1) as f64;
        Self {
            suspect: pool.pairs(|e| &e.suspect),
            suspect_first: pool.first(true, |e| &e.suspect),
            suspect_last: pool.last(|e| &e.suspect),
            down: pool.pairs(|e| &e.down),
            down_first: pool.first(true, |e| &e.down),
            down_last: pool.last(|e| &e.down),
            fenced: pool.pairs(|e| &e.fenced),
            stalled_down_first: pool.first(false, |e| &e.down),
            removed: pool.removed(),
            removed_again: pool.impaired().map(|e| e.outs.len().saturating_sub(1) as u64).sum(),
            healthy_removed: pool.sum(|m| m.mistakes.healthy_removed),
            called_down: pool.sum(|m| m.mistakes.called_down),
            false_positives: pool.sum(|m| m.mistakes.false_positives),
            false_positives_by_healthy: pool.sum(|m| m.mistakes.false_positives_by_healthy),
            healthy_evicted: pool.sum(|m| m.mistakes.healthy_evicted),
            false_suspicions: pool.sum(|m| m.mistakes.false_suspicions),
            suspicions,
            healthy_suspected,
            healthy_suspected_per_hour: per(healthy_suspected as f64 * HOUR, member_seconds),
            false_suspicions_per_hour: per(
                pool.sum(|m| m.mistakes.false_suspicions) as f64 * HOUR,
                member_seconds,
            ),
            suspicions_false_share: per(healthy_suspected as f64, suspicions as f64),
            needless_evictions: pool.sum(|m| m.mistakes.needless_evictions),
            divergence: runs.iter().map(|m| m.divergence).sum::<f64>() / count,
            formation: pool.times(|m| &m.forming.each, unformed),
            newcomer_full: pool.times(|m| &m.forming.newcomer_full, pool.sum(|m| m.forming.newcomers_lost)),
            newcomer_known: pool.times(|m| &m.forming.newcomer_known, 0),
            states: pool.times(|m| &m.forming.states, pool.sum(|m| m.forming.stateless[0])),
            newcomer_states: pool.times(|m| &m.forming.newcomer_states, pool.sum(|m| m.forming.stateless[1])),
            view_sizes: runs.iter().map(|m| m.forming.view_sizes.len()).sum::<usize>() as f64 / count,
            bytes: Spread::of(runs.iter().flat_map(|m| m.traffic.bytes.iter().map(|b| f64::from(*b))), 0),
            bytes_minute: runs.iter().map(|m| m.traffic.busiest_minute()).fold(0.0, f64::max),
            bytes_peak: pool.most(|m| [m.traffic.peak]),
            bytes_contact: pool.most(|m| m.seconds.iter().map(|s| s.bytes_contact)),
            table_max: pool.most(|m| m.seconds.iter().map(|s| s.table_max)),
            bytes_member: pool.members(),
            datagrams: pool.sum(|m| m.traffic.datagrams) as f64 / seconds_seen,
            age: Spread::of(runs.iter().flat_map(|m| m.ages.iter().map(|a| f64::from(*a))), 0),
            quorum: [0, 1, 2].map(|i| runs.iter().map(|m| m.quorum.at_end[i]).sum()),
            quorum_losses,
            quorum_losses_per_1000h: per(quorum_losses as f64 * 1000.0 * HOUR, quorum_healthy),
            quorum_healthy,
            quorum_without,
            quorum_without_share: per(quorum_without, quorum_healthy),
            quorum_gaps: pool.times(|m| &m.quorum.gaps, 0),
            quorum_to_lose: pool.times(|m| &m.quorum.to_lose, pool.sum(|m| m.quorum.never_lost)),
            quorum_to_regain: pool.times(|m| &m.quorum.to_regain, pool.sum(|m| m.quorum.never_regained)),
            one_roster: pool.times(|m| &m.rosters.one, pool.sum(|m| m.rosters.never)),
            changes_unheld: pool.sum(|m| m.rosters.unheld),
            late_splits: pool.times(|m| &m.rosters.late, 0),
            deaf_knows: pool.times(|m| &m.rosters.deaf, pool.sum(|m| m.rosters.deaf_unaware)),
            mute_knows: pool.times(|m| &m.rosters.mute, pool.sum(|m| m.rosters.mute_unaware)),
            status_changes: pool.turns(),
            agreement: pool.once(|m| m.agreement),
            ghosts_gone: pool.once(|m| m.ghosts_gone),
        }
    }
}

/// Several runs, and the questions to all of them.
struct Pool<'a>(&'a [&'a Measures]);

/// Seconds until each observer noticed.
type Times = fn(&Episode) -> &Vec<f32>;

impl<'a> Pool<'a> {
    fn episodes(&self) -> impl Iterator<Item = &'a Episode> {
        self.0.iter().flat_map(|m| &m.episodes)
    }

    fn fatal(&self) -> impl Iterator<Item = &'a Episode> {
        self.episodes().filter(|e| e.fatal && !e.observers.is_empty())
    }

    fn impaired(&self) -> impl Iterator<Item = &'a Episode> {
        self.episodes().filter(|e| !e.fatal)
    }

    /// Over all pairs of observer and dead member.
    fn pairs(&self, pick: Times) -> Spread {
        let all = || self.fatal().flat_map(move |e| e.observers.iter().map(move |o| pick(e)[o]));
        Spread::of(seconds(all()), all().filter(|t| *t < 0.0).count() as u64)
    }

    /// The first observer of each episode, of the dead or of the impaired.
    fn first(&self, fatal: bool, pick: Times) -> Spread {
        let first = |e: &Episode| {
            let seen = e.observers.iter().map(|o| pick(e)[o]).filter(|t| *t >= 0.0);
            seen.fold(f32::INFINITY, f32::min)
        };
        if fatal { finite(self.fatal().map(first)) } else { finite(self.impaired().map(first)) }
    }

    /// The last observer of each death.
    fn last(&self, pick: Times) -> Spread {
        finite(self.fatal().map(|e| {
            let times = e.observers.iter().map(|o| pick(e)[o]);
            times.fold(0.0f32, |worst, t| if t < 0.0 { f32::INFINITY } else { worst.max(t) })
        }))
    }

    /// Until most members held an impaired one for down.
    fn removed(&self) -> Spread {
        Spread::of(
            self.impaired().filter_map(|e| e.outs.first()).map(|t| f64::from(*t)),
            self.impaired().filter(|e| e.outs.is_empty()).count() as u64,
        )
    }

    fn times(&self, pick: fn(&Measures) -> &Vec<f32>, missing: u64) -> Spread {
        Spread::of(seconds(self.0.iter().flat_map(|m| pick(m).iter().copied())), missing)
    }

    /// The mean that each member sent, over its seconds.
    fn members(&self) -> Spread {
        let members = self.0.iter().flat_map(|m| &m.traffic.members).filter(|(_, seconds)| *seconds > 0);
        Spread::of(members.map(|(bytes, seconds)| *bytes as f64 / f64::from(*seconds)), 0)
    }

    /// Changes of the status of one member after one change of the network.
    fn turns(&self) -> Spread {
        Spread::of(self.0.iter().flat_map(|m| m.rosters.status_changes.iter().map(|n| f64::from(*n))), 0)
    }

    fn sum(&self, pick: fn(&Measures) -> u64) -> u64 {
        self.0.iter().map(|m| pick(m)).sum()
    }

    fn most<I: IntoIterator<Item = u32>>(&self, pick: impl Fn(&'a Measures) -> I) -> f64 {
        self.0.iter().flat_map(|m| pick(m)).map(f64::from).fold(0.0, f64::max)
    }

    /// Something that comes once in a run.
    fn once(&self, pick: fn(&Measures) -> Option<f64>) -> Spread {
        let missing = self.0.iter().filter(|m| pick(m).is_none()).count() as u64;
        Spread::of(self.0.iter().filter_map(|m| pick(m)), missing)
    }

    /// Runs in which it never came.
    fn never(&self, came: fn(&Measures) -> bool) -> u64 {
        self.0.iter().filter(|m| !came(m)).count() as u64
    }
}

/// A rate; of no time there is none.
fn per(amount: f64, time: f64) -> f64 {
    if time > 0.0 { amount / time } else { 0.0 }
}

/// What is infinite never came.
fn finite(times: impl Iterator<Item = f32>) -> Spread {
    let (come, missing): (Vec<f32>, Vec<f32>) = times.partition(|t| t.is_finite());
    Spread::of(come.into_iter().map(f64::from), missing.len() as u64)
}

fn seconds(times: impl Iterator<Item = f32>) -> impl Iterator<Item = f64> {
    times.filter(|t| *t >= 0.0).map(f64::from)
}

const HOUR: f64 = 3600.0;
const FENCED: &str = "fenced, each observer, s";

#[cfg(test)]
mod tests {
    use heartsay_membership::Instant;

    use super::*;
    use crate::measure::{QuorumFigures, Traffic};

    #[test]
    fn losses_of_quorum_are_per_thousand_hours_and_members_have_means_of_their_own() {
        let one = |losses, healthy, without| Measures {
            quorum: QuorumFigures {
                losses,
                healthy,
                without,
                never_lost: losses,
                ..QuorumFigures::default()
            },
            traffic: Traffic { members: vec![(300, 3), (0, 0), (800, 2)], ..Traffic::default() },
            ..Measures::default()
        };
        let summary = Summary::of(&[&one(1, 1800.0, 9.0), &one(2, 5400.0, 0.0)]);
        assert_eq!((summary.quorum_losses, summary.quorum_losses_per_1000h), (3, 1500.0));
        assert_eq!((summary.quorum_without, summary.quorum_without_share), (9.0, 0.00125));
        assert_eq!(summary.quorum_to_lose.missing, 3);
        let Spread { count, min, max, .. } = summary.bytes_member;
        assert_eq!((count, min, max), (4, 100.0, 400.0), "one that did not run has no mean");
        assert_eq!(Summary::of(&[&one(0, 0.0, 0.0)]).quorum_losses_per_1000h, 0.0);
    }

    #[test]
    fn detection_is_timed_per_pair_first_and_last() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut episode = Episode::new(3, at(1000), true, [0, 1, 2].into_iter().collect());
        episode.noticed(0, at(1500), false);
        episode.noticed(1, at(1600), false);
        episode.noticed(0, at(3000), true);
        episode.noticed(0, at(9000), true);
        episode.noticed(1, at(4000), true);
        episode.noticed(2, at(5000), true);
        let mut missed = Episode::new(4, at(0), true, [0, 1].into_iter().collect());
        missed.noticed(0, at(2000), true);
        let measures = Measures { episodes: vec![episode, missed], ..Measures::default() };
        let summary = Summary::of(&[&measures]);
        assert_eq!((summary.suspect.count, summary.suspect.missing, summary.suspect.min), (4, 1, 0.5));
        assert_eq!(
            (summary.suspect_last.max, summary.suspect_last.missing),
            (4.0, 1),
            "down is suspicion enough"
        );
        assert_eq!((summary.down_first.min, summary.down_first.max), (2.0, 2.0));
        assert_eq!((summary.down_last.count, summary.down_last.max), (1, 4.0));
    }
}
