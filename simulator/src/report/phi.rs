//! Phi of one member in the eyes of another, with the threshold.

use heartsay_membership::Status;

use super::svg::{Chart, Scale};
use crate::oracle::Belief;
use crate::recording::Recording;

/// The timeline of the recorded pair; `threshold`: where silence becomes an accusation (`None`: fixed time-outs).
pub(super) fn figure(film: &Recording, seconds: f64, threshold: Option<f64>) -> Option<String> {
    let (observer, subject) = film.pair?;
    if film.phi.is_empty() {
        return None;
    }
    // The time around the trouble; all of a quiet run.
    let from = film.first_trouble().map_or(0.0, |at| (f64::from(at) - BEFORE).max(0.0));
    let to = film.last_trouble().map_or(seconds, |at| (f64::from(at) + AFTER).min(seconds));
    let top = threshold.map_or(20.0, |t| t * 2.5);
    let mut chart = Chart::new(260.0, 56.0, Scale::linear(from, to), Scale::linear(0.0, top));
    for cut in &film.cuts {
        for band in &cut.bands {
            chart.band(f64::from(band.from).max(from), f64::from(band.to).clamp(from, to), "cutband");
        }
    }
    for band in &film.lanes.get(subject)?.bands {
        let (a, b) = (f64::from(band.from).max(from), f64::from(band.to).clamp(from, to));
        if a < to {
            chart.band(a, b, "troubleband");
        }
    }
    chart.axes("virtual time, s", "phi");
    let points: Vec<(f64, f64)> =
        film.phi.iter().map(|(at, phi)| (f64::from(*at), f64::from(*phi))).collect();
    let points: Vec<(f64, f64)> = points.into_iter().filter(|(at, _)| (from..=to).contains(at)).collect();
    chart.line(&points, "c0");
    if let Some(threshold) = threshold {
        chart.level(threshold, "limit", &format!("threshold {threshold}"));
    }
    let told = film.verdicts.iter().filter(|(at, _)| (from..=to).contains(&f64::from(*at)));
    for (i, (at, belief)) in told.take(MOST).enumerate() {
        let (class, word) = match belief {
            Belief::Unknown => ("gone", "forgotten"),
            Belief::Is(Status::Alive | Status::Restarting) => ("alive", "alive"),
            Belief::Is(Status::Suspect) => ("suspect", "suspect"),
            Belief::Is(Status::Down) => ("down", "down"),
            Belief::Is(Status::Left) => ("left", "left"),
        };
        chart.moment(f64::from(*at), class, i % 4, &format!("{word} {at:.2} s"));
    }
    Some(chart.finish(&format!("phi of n{subject} at n{observer} over time")))
}

/// Words for below the figure.
pub(super) fn caption(film: &Recording) -> String {
    let (observer, subject) = film.pair.unwrap_or_default();
    format!(
        "Surprise of n{observer} at the silence of n{subject}, in decimal digits, sampled every 100 ms; the \
         acceptable pause is subtracted from the silence before phi is computed, so phi stays 0 that long. \
         Larger values are cut off at the top. Upright lines: what n{observer} then believes of n{subject}. \
         Suspicion also comes from unanswered probes and from others' testimony, so it may come before phi \
         reaches the threshold."
    )
}

/// Seconds shown before the trouble.
const BEFORE: f64 = 8.0;
/// Seconds shown after it.
const AFTER: f64 = 12.0;
/// Verdicts that are labelled.
const MOST: usize = 16;
