//! How far apart the views of the members are, over time.

use super::svg::{Chart, Scale};
use crate::measure::Measures;
use crate::recording::Recording;

/// Share of members off the commonest view, and share of wrong entries, in one run.
pub(super) fn figure(run: &Measures, film: &Recording, nodes: usize, seconds: f64) -> String {
    let members = nodes.max(2) as f64;
    let share = |count: u32, of: f64| f64::from(count) / of * 100.0;
    let views: Vec<(f64, f64)> =
        run.disagreement.iter().map(|(at, off, _)| (f64::from(*at), share(*off, members))).collect();
    let entries: Vec<(f64, f64)> = run
        .disagreement
        .iter()
        .map(|(at, _, wrong)| (f64::from(*at), share(*wrong, members * (members - 1.0))))
        .collect();
    let top = views.iter().chain(&entries).map(|(_, y)| *y).fold(1.0, f64::max);
    let mut chart = Chart::new(240.0, 56.0, Scale::linear(0.0, seconds), Scale::linear(0.0, top));
    for band in film.cuts.iter().flat_map(|cut| &cut.bands) {
        chart.band(f64::from(band.from), f64::from(band.to).min(seconds), "cutband");
    }
    chart.axes("virtual time, s", "%");
    chart.steps(&views, "c0");
    chart.steps(&entries, "c1");
    chart.legend(&[
        ("c0".to_owned(), "members whose view is not the commonest".to_owned()),
        ("c1".to_owned(), "entries that are wrong".to_owned()),
    ]);
    chart.finish("Disagreement over time")
}
