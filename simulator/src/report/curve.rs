//! Mistake rate against detection time, one curve per detector.

use super::svg::{Chart, Scale, short};
use crate::one_link::{DETECTORS, NEVER, Point};

/// The curves as an SVG file of their own, light and dark.
#[must_use]
pub fn svg(points: &[Point]) -> String {
    let detections = || points.iter().map(|p| p.detection);
    let (low, high) = (detections().fold(f64::INFINITY, f64::min), detections().fold(0.0, f64::max));
    let top = points.iter().map(|p| p.mistakes).fold(NEVER, f64::max);
    let mut chart = Chart::new(420.0, 64.0, Scale::log(low, high), Scale::log(NEVER, top));
    chart.axes("mean detection time, s", "mistakes per second (the lowest line: fewer than one a week)");
    let mut legend = Vec::new();
    for (i, name) in DETECTORS.iter().enumerate() {
        let class = format!("c{i}");
        let curve = points.iter().filter(|p| p.detector == *name);
        let line: Vec<(f64, f64)> = curve.clone().map(|p| (p.detection, p.mistakes.max(NEVER))).collect();
        chart.line(&line, &class);
        for p in curve {
            let title =
                format!("{name} {}: {} s, {} mistakes/s", p.setting, short(p.detection), short(p.mistakes));
            chart.dot(p.detection, p.mistakes.max(NEVER), &class, &title);
        }
        legend.push((class, (*name).to_owned()));
    }
    chart.legend(&legend);
    let style = format!(
        "<style>{}svg {{ background: var(--paper); font-family: sans-serif; }}</style>",
        super::STYLE
    );
    let svg = chart.finish("Mistake rate against detection time on one link");
    svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1).replacen(
        '>',
        &format!(">{style}"),
        1,
    )
}
