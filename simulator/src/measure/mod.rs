//! How well it went: detection, mistakes, bytes, convergence.

use core::time::Duration;

use heartsay_membership::Instant;
use serde::{Deserialize, Serialize};

use crate::bits::Members;

/// Raw observations of one run; runs are pooled before they are summarised.
#[derive(Debug, Default)]
pub struct Measures {
    /// Deaths, pauses and blocks whose detection is timed.
    pub episodes: Vec<Episode>,
    /// A faultless member called down, counted per observer (the papers' FP).
    pub false_positives: u64,
    /// The same, by observers that are faultless too (FP-).
    pub false_positives_by_healthy: u64,
    /// Faultless members called down by anybody, each once per time it happened.
    pub healthy_evicted: u64,
    /// A faultless member suspected, counted per observer.
    pub false_suspicions: u64,
    /// Members called down and back within 10 s, of the same life.
    pub needless_evictions: u64,
    /// Members that run and are called down, per observer, whatever their trouble.
    pub called_down: u64,
    /// Times that most of the running members held one for down that runs and is in no trouble.
    pub healthy_removed: u64,
    /// Member-seconds in which a live member's view differs from the majority's.
    pub divergence: f64,
    /// When the last of the first members had its full view, after the last start. `None`: never.
    pub formation: Option<Duration>,
    /// Until each of the first members had its full view, after the last start.
    pub formation_each: Vec<f32>,
    /// From a newcomer's start to its own full view.
    pub newcomer_full: Vec<f32>,
    /// From a newcomer's start, or from an observer's own if that is later, until the observer knows it.
    pub newcomer_known: Vec<f32>,
    /// Newcomers that never had a full view, though they lived to the end.
    pub newcomers_lost: u64,
    /// Until each of the first members had the whole state of all, after the last start; where they say much.
    pub states: Vec<f32>,
    /// From a newcomer's start until it had the whole state of all; where they say much.
    pub newcomer_states: Vec<f32>,
    /// First members and newcomers that never had, though they lived to the end.
    pub stateless: [u64; 2],
    /// Sizes of views that anybody had while the cluster formed.
    pub view_sizes: Vec<usize>,
    /// Bytes sent (with IP and UDP headers) by each running member in each second after `measure.after`.
    pub bytes: Vec<u32>,
    /// Datagrams sent in the same time.
    pub datagrams: u64,
    /// Most bytes that any member sent in any second.
    pub bytes_peak: u32,
    /// Ages of heartbeats in rounds: how far views are behind the owners.
    pub ages: Vec<u16>,
    /// Running members that hold, lost, are unsettled about quorum at the end.
    pub quorum: [usize; 3],
    /// From the last trouble to agreement, seconds.
    pub agreement: Option<f64>,
    /// From the last trouble until nobody had a member in its view that does not run, seconds.
    pub ghosts_gone: Option<f64>,
    /// Every second of the run.
    pub seconds: Vec<Second>,
    /// Disagreement over time: (seconds, members off the majority's view, wrong entries).
    pub disagreement: Vec<(f32, u32, u32)>,
}

impl Measures {
    /// Drops what grows with members and seconds, once it is summarised.
    pub fn thin(&mut self) {
        (self.bytes, self.ages, self.disagreement, self.seconds) = Default::default();
        (self.formation_each, self.newcomer_full, self.newcomer_known) = Default::default();
        (self.states, self.newcomer_states) = Default::default();
    }
}

/// What one second of a run looked like, over the members that ran at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Second {
    /// Its end, virtual seconds.
    pub at: u32,
    /// Members that run.
    pub up: u32,
    /// Bytes sent per member, with headers.
    pub bytes_mean: f32,
    /// The most that one member sent.
    pub bytes_max: u32,
    /// The most that one of the seeds (`start.contacts`) sent.
    pub bytes_contact: u32,
    /// Mean size of their tables, the dead that are not forgotten included.
    pub table_mean: f32,
    /// The largest table.
    pub table_max: u32,
    /// Pairs in which a member that does not run is in somebody's view.
    pub ghosts: u32,
}

/// One thing to be detected.
#[derive(Clone, Debug)]
pub struct Episode {
    /// Whom it befell.
    pub subject: usize,
    /// When.
    pub onset: Instant,
    /// The member is dead: not to notice it is a failure.
    pub fatal: bool,
    /// Observers that are there to notice.
    pub observers: Members,
    /// Seconds until each observer suspected; negative: not yet.
    pub suspect: Vec<f32>,
    /// Seconds until each observer said down; negative: not yet.
    pub down: Vec<f32>,
    /// Seconds until each observer said fenced; negative: not yet.
    pub fenced: Vec<f32>,
    /// Seconds at which most of the running members came to hold it for down: once, if all is well.
    pub outs: Vec<f32>,
}

impl Episode {
    /// An episode that nobody has noticed.
    #[must_use]
    pub fn new(subject: usize, onset: Instant, fatal: bool, observers: Members) -> Self {
        let unseen = vec![UNSEEN; observers.iter().last().map_or(0, |last| last + 1)];
        let (suspect, down, fenced) = (unseen.clone(), unseen.clone(), unseen);
        Self { subject, onset, fatal, observers, suspect, down, fenced, outs: Vec::new() }
    }

    /// `observer` says suspect (or, with `down`, down) at `now`.
    pub fn noticed(&mut self, observer: usize, now: Instant, down: bool) {
        let after = now.since(self.onset).as_secs_f32();
        for list in if down {
            [Some(&mut self.suspect), Some(&mut self.down)]
        } else {
            [Some(&mut self.suspect), None]
        } {
            if let Some(seen) = list.and_then(|list| list.get_mut(observer))
                && *seen < 0.0
            {
                *seen = after;
            }
        }
    }

    /// `observer` says fenced at `now`.
    pub fn fenced_by(&mut self, observer: usize, now: Instant) {
        if let Some(seen) = self.fenced.get_mut(observer).filter(|seen| **seen < 0.0) {
            *seen = now.since(self.onset).as_secs_f32();
        }
    }

    /// The observer's process ended: it need not notice any more.
    pub fn excuse(&mut self, observer: usize) {
        self.observers.remove(observer);
    }
}

/// A distribution in a few numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Values.
    pub count: u64,
    /// Values that never came.
    pub missing: u64,
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// 90th percentile (nearest rank, as the others).
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Summarises `values`.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>, missing: u64) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let Some((&min, &max)) = values.first().zip(values.last()) else {
            return Self { missing, ..Self::default() };
        };
        let rank = |share: f64| {
            let rank = (values.len() as f64 * share).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(max)
        };
        Self {
            count: values.len() as u64,
            missing,
            min,
            mean: values.iter().sum::<f64>() / values.len() as f64,
            median: rank(0.5),
            p90: rank(0.9),
            p99: rank(0.99),
            p999: rank(0.999),
            max,
        }
    }
}

/// Measures of one or several runs, as they are printed. Times in seconds.
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
    /// See [`Measures::healthy_removed`].
    pub healthy_removed: u64,
    /// See [`Measures::called_down`].
    pub called_down: u64,
    /// See [`Measures::false_positives`].
    pub false_positives: u64,
    /// See [`Measures::false_positives_by_healthy`].
    pub false_positives_by_healthy: u64,
    /// See [`Measures::healthy_evicted`].
    pub healthy_evicted: u64,
    /// See [`Measures::false_suspicions`].
    pub false_suspicions: u64,
    /// See [`Measures::needless_evictions`].
    pub needless_evictions: u64,
    /// See [`Measures::divergence`], mean over runs.
    pub divergence: f64,
    /// Full views of the first members, over all of them.
    pub formation: Spread,
    /// See [`Measures::newcomer_full`].
    pub newcomer_full: Spread,
    /// See [`Measures::newcomer_known`].
    pub newcomer_known: Spread,
    /// See [`Measures::states`].
    pub states: Spread,
    /// See [`Measures::newcomer_states`].
    pub newcomer_states: Spread,
    /// Distinct sizes of views seen while the cluster formed, mean over runs.
    pub view_sizes: f64,
    /// Bytes sent per member and second.
    pub bytes: Spread,
    /// Most bytes that any member sent in any second.
    pub bytes_peak: f64,
    /// Most bytes that any of the seeds (`start.contacts`) sent in any second.
    pub bytes_contact: f64,
    /// Most entries that any table held.
    pub table_max: f64,
    /// Datagrams sent per member and second, mean.
    pub datagrams: f64,
    /// Ages of heartbeats, rounds.
    pub age: Spread,
    /// Members that hold, lost, are unsettled about quorum at the end, over all runs.
    pub quorum: [usize; 3],
    /// From the last trouble to agreement, over runs; missing: runs that did not agree.
    pub agreement: Spread,
    /// See [`Measures::ghosts_gone`], over runs; missing: runs that ended with ghosts.
    pub ghosts_gone: Spread,
}

impl Summary {
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
            ("sent, bytes/s and member", &self.bytes),
        ];
        // Where no fence is kept, none is missing.
        let shown = |name: &str, spread: &Spread| spread.count > 0 || (spread.missing > 0 && name != FENCED);
        rows.into_iter().filter(|(name, spread)| shown(name, spread)).collect()
    }

    /// Pools runs.
    #[must_use]
    pub fn of(runs: &[&Measures]) -> Self {
        let episodes = || runs.iter().flat_map(|m| &m.episodes);
        let fatal = || episodes().filter(|e| e.fatal && !e.observers.is_empty());
        let impaired = || episodes().filter(|e| !e.fatal);
        let every_second = || runs.iter().flat_map(|m| &m.seconds);
        let pairs = |pick: fn(&Episode) -> &Vec<f32>| {
            let all = || fatal().flat_map(move |e| e.observers.iter().map(move |o| pick(e)[o]));
            Spread::of(seconds(all()), all().filter(|t| *t < 0.0).count() as u64)
        };
        let first = |e: &Episode, pick: fn(&Episode) -> &Vec<f32>| {
            let seen = e.observers.iter().map(|o| pick(e)[o]).filter(|t| *t >= 0.0);
            seen.fold(f32::INFINITY, f32::min)
        };
        let last = |e: &Episode, pick: fn(&Episode) -> &Vec<f32>| {
            let times = e.observers.iter().map(|o| pick(e)[o]);
            times.fold(0.0f32, |worst, t| if t < 0.0 { f32::INFINITY } else { worst.max(t) })
        };
        let summarise = |times: Vec<f32>| {
            let missing = times.iter().filter(|t| t.is_infinite()).count() as u64;
            Spread::of(times.iter().filter(|t| t.is_finite()).map(|t| f64::from(*t)), missing)
        };
        let pool = |pick: fn(&Measures) -> &Vec<f32>, missing: u64| {
            Spread::of(seconds(runs.iter().flat_map(|m| pick(m).iter().copied())), missing)
        };
        let count = runs.len().max(1) as f64;
        let sum = |pick: fn(&Measures) -> u64| runs.iter().map(|m| pick(m)).sum::<u64>();
        let seconds_seen = runs.iter().map(|m| m.bytes.len()).sum::<usize>().max(1) as f64;
        let unformed = runs.iter().filter(|m| m.formation.is_none()).count() as u64;
        let agreed = runs.iter().filter_map(|m| m.agreement);
        Self {
            suspect: pairs(|e| &e.suspect),
            suspect_first: summarise(fatal().map(|e| first(e, |e| &e.suspect)).collect()),
            suspect_last: summarise(fatal().map(|e| last(e, |e| &e.suspect)).collect()),
            down: pairs(|e| &e.down),
            down_first: summarise(fatal().map(|e| first(e, |e| &e.down)).collect()),
            down_last: summarise(fatal().map(|e| last(e, |e| &e.down)).collect()),
            fenced: pairs(|e| &e.fenced),
            stalled_down_first: summarise(impaired().map(|e| first(e, |e| &e.down)).collect()),
            removed: Spread::of(
                impaired().filter_map(|e| e.outs.first()).map(|t| f64::from(*t)),
                impaired().filter(|e| e.outs.is_empty()).count() as u64,
            ),
            removed_again: impaired().map(|e| e.outs.len().saturating_sub(1) as u64).sum(),
            healthy_removed: sum(|m| m.healthy_removed),
            called_down: sum(|m| m.called_down),
            false_positives: sum(|m| m.false_positives),
            false_positives_by_healthy: sum(|m| m.false_positives_by_healthy),
            healthy_evicted: sum(|m| m.healthy_evicted),
            false_suspicions: sum(|m| m.false_suspicions),
            needless_evictions: sum(|m| m.needless_evictions),
            divergence: runs.iter().map(|m| m.divergence).sum::<f64>() / count,
            formation: pool(|m| &m.formation_each, unformed),
            newcomer_full: pool(|m| &m.newcomer_full, sum(|m| m.newcomers_lost)),
            newcomer_known: pool(|m| &m.newcomer_known, 0),
            states: pool(|m| &m.states, sum(|m| m.stateless[0])),
            newcomer_states: pool(|m| &m.newcomer_states, sum(|m| m.stateless[1])),
            view_sizes: runs.iter().map(|m| m.view_sizes.len()).sum::<usize>() as f64 / count,
            bytes: Spread::of(runs.iter().flat_map(|m| m.bytes.iter().map(|b| f64::from(*b))), 0),
            bytes_peak: runs.iter().map(|m| f64::from(m.bytes_peak)).fold(0.0, f64::max),
            bytes_contact: every_second().map(|s| f64::from(s.bytes_contact)).fold(0.0, f64::max),
            table_max: every_second().map(|s| f64::from(s.table_max)).fold(0.0, f64::max),
            datagrams: sum(|m| m.datagrams) as f64 / seconds_seen,
            age: Spread::of(runs.iter().flat_map(|m| m.ages.iter().map(|a| f64::from(*a))), 0),
            quorum: [0, 1, 2].map(|i| runs.iter().map(|m| m.quorum[i]).sum()),
            ghosts_gone: Spread::of(
                runs.iter().filter_map(|m| m.ghosts_gone),
                runs.iter().filter(|m| m.ghosts_gone.is_none()).count() as u64,
            ),
            agreement: Spread::of(agreed, runs.iter().filter(|m| m.agreement.is_none()).count() as u64),
        }
    }
}

fn seconds(times: impl Iterator<Item = f32>) -> impl Iterator<Item = f64> {
    times.filter(|t| *t >= 0.0).map(f64::from)
}

const UNSEEN: f32 = -1.0;
const FENCED: &str = "fenced, each observer, s";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::of((1..=100).map(f64::from), 3);
        assert_eq!(
            (spread.min, spread.median, spread.p90, spread.p99, spread.max),
            (1.0, 50.0, 90.0, 99.0, 100.0)
        );
        assert_eq!((spread.count, spread.missing, spread.mean), (100, 3, 50.5));
        assert_eq!(Spread::of([], 2), Spread { missing: 2, ..Spread::default() });
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
