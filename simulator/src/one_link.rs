//! One link, one detector: mistake rate against detection time, on a week of heartbeats.
//!
//! The question of Chen, Toueg and Aguilera (*On the quality of service of failure detectors*, 2002) and of
//! Hayashibara's figures: a detector that waits longer errs less; which curve lies lowest? The trace is generated to
//! the published shape of the WAN trace of Hayashibara 2004 (beats of 100 ms, delays with jitter, 0.4 %
//! lost in 814 bursts a week, a few of them very long), not the recording itself. Each detector is alone on
//! the link: no probes, no witnesses.
//!
//! Heartbeats alone cannot do better than a deadline after the expected arrival: nothing else is known. Nor
//! can questions over the same link: an answer takes a round trip, the next heartbeat half of one, and the same
//! bursts swallow both. What is left is to ask another observer. So beside the detectors stands their quorum: three
//! of five observers, each with a link and bursts of its own. Its correlated twin, five observers behind one
//! uplink, is the single link again.
//!
//! *Whole beats* is an experiment of ours to do better: a silence can end only when a heartbeat
//! is due, so a deadline between two of them gives away time and saves no mistake. It waits for the expected arrival
//! of the beat so many beats later and one deviation of its delay; for a share of a beat, it waits for one more at
//! that share of the beats.

use core::time::Duration;
use std::collections::VecDeque;

use heartsay_detector::{PhiAccrual, PhiConfig, Tail};
use heartsay_membership::Instant;
use rayon::prelude::*;
use serde::Serialize;

use crate::models::deviations;
use crate::sim_rng::Seed;

/// A week of heartbeats on one link.
#[derive(Debug)]
pub struct Trace {
    /// (number of the heartbeat, seconds at which it arrives), in order of arrival; what came after a later
    /// one is left out, as detectors do.
    arrivals: Vec<(u64, f64)>,
    /// What the generator made of the wanted shape.
    pub shape: Shape,
}

/// What a generated trace looks like.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shape {
    /// Heartbeats sent.
    pub sent: u64,
    /// Share lost.
    pub lost: f64,
    /// Bursts of losses.
    pub bursts: u64,
    /// Heartbeats lost in the longest.
    pub longest: u64,
    /// Mean and deviation of intervals between arrivals, seconds.
    pub interval: (f64, f64),
}

/// One detector with one setting.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Point {
    /// Which detector.
    pub detector: &'static str,
    /// Its parameter: a threshold, or a margin or pause in seconds.
    pub setting: f64,
    /// From a crash right after a heartbeat until it is suspected for good, mean seconds.
    pub detection: f64,
    /// Mistakes: suspected while it lives, per second.
    pub mistakes: f64,
    /// Share of the time in which the live sender is not suspected.
    pub accuracy: f64,
}

impl Trace {
    /// Draws `days` of it.
    #[must_use]
    pub fn draw(seed: u64, days: f64) -> Self {
        let mut dice = Seed(seed).dice("one-link", 0);
        let sent = (days * 86_400.0 / BEAT) as u64;
        let bursts = libm::round(BURSTS_A_WEEK * days / 7.0).max(1.0) as u64;
        // Lengths by a discrete Pareto law; its shape is the one whose mean makes 0.4 % of all beats.
        let mut lengths: Vec<u64> = (0..bursts)
            .map(|_| libm::floor(libm::pow(1.0 - dice.unit(), -1.0 / TAIL)).min(LONGEST) as u64)
            .collect();
        let wanted = (sent as f64 * LOST) as u64;
        // The longest are cut, so stretching them to the wanted share takes a few rounds.
        for _ in 0..4 {
            let stretch = wanted as f64 / lengths.iter().sum::<u64>().max(1) as f64;
            for length in &mut lengths {
                *length = libm::round(*length as f64 * stretch).clamp(1.0, LONGEST) as u64;
            }
        }
        let mut starts: Vec<u64> = lengths.iter().map(|_| dice.below(sent as usize) as u64).collect();
        starts.sort_unstable();
        let mut lost = vec![false; sent as usize];
        for (start, length) in starts.iter().zip(&lengths) {
            let end = (start + length).min(sent) as usize;
            lost[*start as usize..end].fill(true);
        }
        let mut arrivals = Vec::with_capacity(sent as usize);
        let (mut last, mut gone) = (f64::NEG_INFINITY, 0u32);
        for beat in 0..sent {
            let jitter = libm::exp(SIGMA * dice.normal());
            let spike = if dice.chance(SPIKES) { -SPIKE * libm::log(1.0 - dice.unit()) } else { 0.0 };
            let delay = LEAST_DELAY + JITTER * jitter + spike;
            if lost[beat as usize] {
                gone += 1;
                continue;
            }
            let at = beat as f64 * BEAT + delay;
            if at > last {
                arrivals.push((beat, at));
                last = at;
            }
        }
        let gaps = || arrivals.windows(2).map(|w| w[1].1 - w[0].1);
        let count = gaps().count().max(1) as f64;
        let mean = gaps().sum::<f64>() / count;
        let deviation = libm::sqrt(gaps().map(|g| (g - mean) * (g - mean)).sum::<f64>() / count);
        let shape = Shape {
            sent,
            lost: f64::from(gone) / sent.max(1) as f64,
            bursts,
            longest: lengths.iter().copied().max().unwrap_or(0),
            interval: (mean, deviation),
        };
        Self { arrivals, shape }
    }
}

/// A trace for each observer, `days` long, from seeds in a row.
#[must_use]
pub fn draw_all(seed: u64, days: f64) -> [Trace; OBSERVERS] {
    core::array::from_fn(|i| Trace::draw(seed.wrapping_add(1000 * i as u64), days))
}

/// The curve of every detector over the first trace, in order, and that of a quorum of observers of whom each has
/// a trace of its own.
#[must_use]
pub fn curves(traces: &[Trace; OBSERVERS]) -> Vec<Point> {
    let mut jobs: Vec<(&'static str, f64)> = Vec::new();
    for threshold in [0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0, 32.0, 100.0, 300.0] {
        jobs.push(("phi-normal", threshold));
    }
    for threshold in [0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0, 24.0] {
        jobs.push(("phi-exponential", threshold));
    }
    for margin in MARGINS {
        jobs.push(("chen", margin));
    }
    for pause in MARGINS {
        jobs.push(("heartsay", pause));
    }
    for beats in [0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 18.0, 28.0, 48.0, 98.0] {
        jobs.push((WHOLE_BEATS, beats));
    }
    for pause in MARGINS {
        jobs.push((QUORUM, pause));
    }
    jobs.par_iter()
        .map(|&(detector, setting)| Point {
            setting,
            ..measured(traces, detector, patience(detector, setting))
        })
        .collect()
}

/// Every detector of [`DETECTORS`] at exactly the same mean detection times, for each of `seconds`; `None` where no
/// setting reaches it. Between points of a curve one would compare drawn lines: mistakes fall in steps, one per beat.
#[must_use]
pub fn at_equal_detection(traces: &[Trace; OBSERVERS], seconds: &[f64]) -> Vec<[Option<Point>; 6]> {
    let jobs: Vec<(f64, usize)> =
        seconds.iter().flat_map(|at| (0..DETECTORS.len()).map(move |i| (*at, i))).collect();
    let points: Vec<Option<Point>> =
        jobs.par_iter().map(|&(at, i)| matched(traces, DETECTORS[i], at)).collect();
    points.chunks(DETECTORS.len()).map(|row| core::array::from_fn(|i| row[i])).collect()
}

/// Detection time is nearly a straight line over patience, so a few secants find it.
fn matched(traces: &[Trace; OBSERVERS], detector: &'static str, seconds: f64) -> Option<Point> {
    let (mut a, mut b) = (measured(traces, detector, 0.0), measured(traces, detector, 1.0));
    for _ in 0..SECANTS {
        let slope = (b.detection - a.detection) / (b.setting - a.setting);
        let setting = b.setting + (seconds - b.detection) / slope;
        if setting < 0.0 || !setting.is_finite() {
            return None;
        }
        let next = measured(traces, detector, setting);
        if (next.detection - seconds).abs() < EQUAL {
            return Some(next);
        }
        (a, b) = (b, next);
    }
    None
}

/// A setting as patience: deviations, mean intervals, seconds or beats.
fn patience(detector: &str, setting: f64) -> f64 {
    match detector {
        "phi-normal" => deviations(setting),
        "phi-exponential" => setting * core::f64::consts::LN_10,
        _ => setting,
    }
}

/// A detector with its patience, which stands as the setting.
fn measured(traces: &[Trace; OBSERVERS], detector: &'static str, patience: f64) -> Point {
    let [trace, ..] = traces;
    match detector {
        QUORUM => measure_quorum(traces, patience),
        _ => measure(trace, detector, patience),
    }
}

/// Three of five observers that suspect at the same time. From a crash on, it is the third deadline of five that
/// counts; as the links are alike, it is taken to be their mean.
fn measure_quorum(traces: &[Trace; OBSERVERS], patience: f64) -> Point {
    let mut edges: Vec<(f64, i32)> = Vec::new();
    let mut detection = 0.0;
    let mut span = f64::INFINITY;
    for trace in traces {
        let mut judge = Judge::new("heartsay", patience);
        let (mut waited, mut asked, mut deadline) = (0.0, 0u64, f64::INFINITY);
        for (i, &(beat, at)) in trace.arrivals.iter().enumerate() {
            if i > WARM && at > deadline {
                edges.extend([(deadline, 1), (at, -1)]);
            }
            deadline = judge.heard(beat, at);
            if i > WARM {
                waited += deadline - beat as f64 * BEAT;
                asked += 1;
            }
        }
        detection += waited / asked.max(1) as f64 / OBSERVERS as f64;
        span = span.min(trace.arrivals.last().zip(trace.arrivals.get(WARM)).map_or(1.0, |(b, a)| b.1 - a.1));
    }
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut suspecting, mut mistakes, mut wrong, mut since) = (0, 0u64, 0.0, 0.0);
    for (at, step) in edges {
        if suspecting >= NEEDED {
            wrong += at - since;
        }
        mistakes += u64::from(suspecting + step == NEEDED && step > 0);
        suspecting += step;
        since = at;
    }
    Point {
        detector: QUORUM,
        setting: patience,
        detection,
        mistakes: mistakes as f64 / span,
        accuracy: 1.0 - wrong / span,
    }
}

fn measure(trace: &Trace, detector: &'static str, patience: f64) -> Point {
    let mut judge = Judge::new(detector, patience);
    let (mut mistakes, mut wrong) = (0u64, 0.0);
    let (mut waited, mut asked) = (0.0, 0u64);
    let mut deadline = f64::INFINITY;
    for (i, &(beat, at)) in trace.arrivals.iter().enumerate() {
        if i > WARM && at > deadline {
            mistakes += 1;
            wrong += at - deadline;
        }
        deadline = judge.heard(beat, at);
        if i > WARM {
            // A crash right after this beat left: it is suspected for good at this deadline.
            waited += deadline - (beat as f64 * BEAT);
            asked += 1;
        }
    }
    let span = trace.arrivals.last().zip(trace.arrivals.get(WARM)).map_or(1.0, |(b, a)| b.1 - a.1);
    Point {
        detector,
        setting: patience,
        detection: waited / asked.max(1) as f64,
        mistakes: mistakes as f64 / span,
        accuracy: 1.0 - wrong / span,
    }
}

/// A detector as the deadline it sets with every heartbeat.
struct Judge {
    kind: &'static str,
    patience: f64,
    window: VecDeque<f64>,
    sum: f64,
    squares: f64,
    last: Option<f64>,
    ours: (PhiAccrual, PhiConfig),
    next: u64,
}

impl Judge {
    fn new(kind: &'static str, patience: f64) -> Self {
        // The shipped detector, told the interval; its patience is the acceptable pause.
        let config = PhiConfig {
            expected: Duration::from_secs_f64(BEAT),
            acceptable_pause: Duration::from_secs_f64(patience),
            // A tenth of the interval, as shipped (100 ms at 1 s).
            min_deviation: Duration::from_secs_f64(BEAT / 10.0),
            ..PhiConfig::default()
        };
        Self {
            kind,
            patience,
            window: VecDeque::with_capacity(WINDOW + 1),
            sum: 0.0,
            squares: 0.0,
            last: None,
            ours: (PhiAccrual::new(Instant::EPOCH, &config), config),
            next: 0,
        }
    }

    fn heard(&mut self, beat: u64, at: f64) -> f64 {
        match self.kind {
            "heartsay" => self.ours(beat, at),
            "chen" => {
                // Estimated arrival of the next: the mean offset of the last beats from their schedule.
                self.learn(at - beat as f64 * BEAT);
                self.mean() + (beat + 1) as f64 * BEAT + self.patience
            }
            WHOLE_BEATS => {
                self.learn(at - beat as f64 * BEAT);
                let until = |beat: u64| libm::floor(beat as f64 * self.patience);
                let more = until(beat + 1) - until(beat);
                self.mean() + self.deviation() + ((beat + 1) as f64 + more) * BEAT
            }
            kind => {
                if let Some(last) = self.last.replace(at) {
                    self.learn(at - last);
                }
                let wait = if kind == "phi-normal" {
                    self.mean() + self.patience * self.deviation()
                } else {
                    self.mean() * self.patience
                };
                at + wait
            }
        }
    }

    fn ours(&mut self, beat: u64, at: f64) -> f64 {
        let (detector, config) = &mut self.ours;
        let now = Instant::EPOCH + Duration::from_secs_f64(at);
        detector.heartbeat(now, (beat + 1).saturating_sub(self.next), config);
        self.next = beat + 1;
        // The same deadline as `time_at_phi`, by its closed form (a test compares them).
        let deviation = detector.deviation().max(config.min_deviation).as_secs_f64();
        debug_assert_eq!(config.tail, Tail::Normal);
        at + self.patience + detector.mean().as_secs_f64() + EIGHT * deviation
    }

    fn learn(&mut self, value: f64) {
        self.window.push_back(value);
        self.sum += value;
        self.squares += value * value;
        if self.window.len() > WINDOW
            && let Some(old) = self.window.pop_front()
        {
            self.sum -= old;
            self.squares -= old * old;
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.window.len().max(1) as f64
    }

    fn deviation(&self) -> f64 {
        let mean = self.mean();
        libm::sqrt((self.squares / self.window.len().max(1) as f64 - mean * mean).max(0.0))
    }
}

/// Mistake rate of `detector` at a detection time, between its points on a logarithmic scale; `None` outside them.
#[must_use]
pub fn at_detection(points: &[Point], detector: &str, seconds: f64) -> Option<f64> {
    let mut curve: Vec<(f64, f64)> =
        points.iter().filter(|p| p.detector == detector).map(|p| (p.detection, p.mistakes)).collect();
    curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    let pair = curve.windows(2).find(|w| (w[0].0..=w[1].0).contains(&seconds))?;
    let share = (seconds - pair[0].0) / (pair[1].0 - pair[0].0).max(1e-12);
    let log = |rate: f64| libm::log(rate.max(NEVER));
    Some(libm::exp(log(pair[0].1) * (1.0 - share) + log(pair[1].1) * share))
}

/// Names of the detectors, in order of the table.
pub const DETECTORS: [&str; 6] = ["phi-normal", "phi-exponential", "chen", "heartsay", WHOLE_BEATS, QUORUM];
/// Observers of the quorum, and how many it takes: the shipped five witnesses.
pub const OBSERVERS: usize = 5;
const NEEDED: i32 = 3;
const QUORUM: &str = "heartsay-3-of-5";
const WHOLE_BEATS: &str = "whole-beats";
/// Detection times that differ by less are equal; tries to get there.
const EQUAL: f64 = 2e-4;
const SECANTS: usize = 8;
/// A rate below one mistake in a week counts as this.
pub const NEVER: f64 = 1e-6;
/// Seconds between beats.
const BEAT: f64 = 0.1;
/// Share of heartbeats lost (Hayashibara 2004: 0.399 %).
const LOST: f64 = 0.004;
const BURSTS_A_WEEK: f64 = 814.0;
/// Pareto shape of burst lengths: most are of a few beats, some of a hundred and more.
const TAIL: f64 = 1.05;
/// No burst is longer than this many beats.
const LONGEST: f64 = 1100.0;
/// Delay: a floor, log-normal jitter on top, and rarely a spike. Guesses of an intercontinental path.
const LEAST_DELAY: f64 = 0.110;
const JITTER: f64 = 0.008;
const SIGMA: f64 = 0.8;
const SPIKES: f64 = 0.002;
const SPIKE: f64 = 0.060;
/// Arrivals that fill the windows before anything counts.
const WARM: usize = 1000;
const WINDOW: usize = 1000;
/// Deviations at phi 8.
const EIGHT: f64 = 5.612_001_243_174_965;
const MARGINS: [f64; 11] = [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_week_has_the_published_shape() {
        let shape = Trace::draw(1, 7.0).shape;
        assert_eq!((shape.bursts, shape.sent), (814, 6_048_000));
        assert!((shape.lost - 0.004).abs() < 0.001, "{shape:?}");
        assert!(shape.longest > 300 && shape.longest <= 1100, "{shape:?}");
        assert!((shape.interval.0 - 0.1).abs() < 0.002, "{shape:?}");
    }

    #[test]
    fn the_closed_form_of_our_deadline_is_the_detectors_own() {
        let trace = Trace::draw(3, 0.05);
        let mut judge = Judge::new("heartsay", 0.2);
        for &(beat, at) in &trace.arrivals {
            let deadline = judge.heard(beat, at);
            let (detector, config) = &judge.ours;
            if beat % 997 == 0 {
                let own = detector.time_at_phi(8.0, config).since(Instant::EPOCH).as_secs_f64();
                assert!((own - deadline).abs() < 1e-5, "{own} {deadline}");
            }
        }
    }

    #[test]
    fn a_quorum_over_links_of_their_own_errs_less_than_any_single_link() {
        let points = curves(&draw_all(2, 1.0));
        for seconds in [0.3, 0.5, 0.8, 1.0, 2.0] {
            let quorum = at_detection(&points, QUORUM, seconds).unwrap_or(NEVER);
            for single in &DETECTORS[..5] {
                let single = at_detection(&points, single, seconds).unwrap_or(1.0);
                assert!(quorum < single, "at {seconds} s: {quorum:e} against {single:e}");
            }
        }
    }

    #[test]
    fn who_waits_longer_errs_less() {
        let points = curves(&draw_all(2, 1.0));
        for name in DETECTORS {
            let curve: Vec<&Point> = points.iter().filter(|p| p.detector == name).collect();
            for pair in curve.windows(2) {
                assert!(pair[0].detection < pair[1].detection, "{pair:?}");
                assert!(
                    pair[0].mistakes >= pair[1].mistakes && pair[0].accuracy <= pair[1].accuracy,
                    "{pair:?}"
                );
            }
        }
    }
}
