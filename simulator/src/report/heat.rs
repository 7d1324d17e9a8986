//! A sweep over two parameters as a map: dark is much.

use super::svg::{Chart, RIGHT, Scale, TOP, WIDTH, short};
use super::sweep::{Grid, Measure};

/// The map of one measure, the shipped default framed. `None` for fewer than two parameters.
pub(super) fn figure(grid: &Grid, measure: &Measure) -> Option<String> {
    let [(first, rows), (second, columns)] = grid.axes.as_slice() else { return None };
    let height = TOP + BELOW + ROW * rows.len() as f64;
    let scale = Scale::linear(0.0, 1.0);
    let mut chart = Chart::new(height, LEFT, scale, scale);
    let wide = (WIDTH - RIGHT - LEFT) / columns.len() as f64;
    let most = grid.points.iter().map(measure.of).fold(0.0, f64::max);
    for (i, row) in rows.iter().enumerate() {
        let y = TOP + ROW * i as f64;
        chart.word(LEFT - 8.0, y + ROW / 2.0 + 4.0, "end", "tick", row);
        for (j, column) in columns.iter().enumerate() {
            let x = LEFT + wide * j as f64;
            let value = grid.at(measure, i, j);
            // By square root, so that small values are told from none.
            let level = if most > 0.0 && value.is_finite() {
                libm::round(libm::sqrt(value / most) * 8.0)
            } else {
                0.0
            };
            let title = format!("{first}={row}, {second}={column}: {}", word(value));
            chart.boxed(x + 1.0, y + 1.0, wide - 2.0, ROW - 2.0, &format!("h{level:.0}"), &title);
            // Each the readable one of light and dark ink, on light and on dark paper (contrast 4 or more).
            let ink = match level {
                7.0.. => "cell onheat",
                6.0.. => "cell onmid",
                _ => "cell",
            };
            chart.word(x + wide / 2.0, y + ROW / 2.0 + 5.0, "middle", ink, &word(value));
        }
    }
    for (j, column) in columns.iter().enumerate() {
        let x = LEFT + wide * (j as f64 + 0.5);
        chart.word(x, height - BELOW + 16.0, "middle", "tick", column);
    }
    chart.word(WIDTH - RIGHT, height - 6.0, "end", "name", second);
    chart.word(4.0, TOP - 12.0, "start", "name", &format!("{} by {first}", measure.name));
    // A parameter that is no setting of ours has no default; the other's is marked along it.
    let place = |axis: usize| grid.shipped.get(axis).copied().flatten();
    if place(0).is_some() || place(1).is_some() {
        let (y, tall) = place(0).map_or((TOP, ROW * rows.len() as f64), |i| (TOP + ROW * i as f64, ROW));
        let (x, across) =
            place(1).map_or((LEFT, wide * columns.len() as f64), |j| (LEFT + wide * j as f64, wide));
        chart.boxed(x, y, across, tall, "frame", "the shipped default");
        chart.legend(&[("frame".to_owned(), "shipped default".to_owned())]);
    }
    Some(chart.finish(&format!("{} by {first} and {second}", measure.name)))
}

fn word(value: f64) -> String {
    if value.is_finite() { short(value) } else { "never".to_owned() }
}

const LEFT: f64 = 90.0;
const ROW: f64 = 34.0;
const BELOW: f64 = 40.0;
