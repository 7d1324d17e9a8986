//! What members sent and held, second by second.

use super::svg::{Chart, Scale};
use crate::measure::{Measures, Second};

/// A line's name, and how to read it off a second.
type Line = (&'static str, fn(&Second) -> f64);

/// Bytes per member and second: the mean, and the most that one member sent.
pub(super) fn bytes(run: &Measures, seconds: f64) -> String {
    let lines: [Line; 2] = [
        ("most by one member", |s| f64::from(s.bytes_max)),
        ("mean of all members", |s| f64::from(s.bytes_mean)),
    ];
    chart(run, seconds, "bytes/s", &lines, "Bytes sent over time")
}

/// Sizes of tables, and members that are gone and still in the view of another.
pub(super) fn tables(run: &Measures, seconds: f64) -> String {
    let lines: [Line; 3] = [
        ("largest table", |s| f64::from(s.table_max)),
        ("members that run", |s| f64::from(s.up)),
        ("ghosts per member", |s| f64::from(s.ghosts) / f64::from(s.up.max(1))),
    ];
    chart(run, seconds, "entries", &lines, "Tables and ghosts over time")
}

fn chart(run: &Measures, seconds: f64, unit: &str, lines: &[Line], title: &str) -> String {
    let top = lines.iter().flat_map(|(_, of)| run.seconds.iter().map(of)).fold(1.0, f64::max);
    let mut chart = Chart::new(220.0, 64.0, Scale::linear(0.0, seconds), Scale::linear(0.0, top * 1.05));
    chart.axes("virtual time, s", unit);
    let mut legend = Vec::new();
    for (i, (name, of)) in lines.iter().enumerate() {
        let class = format!("c{i}");
        let points: Vec<(f64, f64)> = run.seconds.iter().map(|s| (f64::from(s.at), of(s))).collect();
        chart.line(&points, &class);
        legend.push((class, (*name).to_owned()));
    }
    chart.legend(&legend);
    chart.finish(title)
}
