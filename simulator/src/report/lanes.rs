//! Swim-lanes: every interesting member over time, as the others see it, under its trouble.

use super::svg::{Chart, Scale, TOP};
use crate::recording::{Band, Recording, Tally};

/// The lanes of a run of `seconds`.
pub(super) fn figure(film: &Recording, seconds: f64) -> String {
    let chosen = choose(film);
    let height = 74.0 + ROW * chosen.len() as f64;
    let rows = Scale::linear(0.0, chosen.len() as f64);
    let mut chart = Chart::new(height, LEFT, Scale::linear(0.0, seconds), rows);
    for (i, cut) in film.cuts.iter().enumerate() {
        for band in &cut.bands {
            chart.band(f64::from(band.from), end(band, seconds), "cutband");
            let sides: Vec<String> = (1..=cut.side.iter().copied().max().unwrap_or(0))
                .map(|side| cut.side.iter().filter(|s| **s == side).count().to_string())
                .collect();
            let x = chart.x.at(f64::from(band.from)) + 4.0;
            if i == 0 && cut.bands.len() < 4 {
                chart.word(x, TOP - 3.0, "start", "note", &format!("cut {}", sides.join(" | ")));
            }
        }
    }
    chart.x_axis("virtual time, s");
    for (row, &member) in chosen.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        lane(&mut chart, film, member, y, seconds);
        let side = film.cuts.first().and_then(|cut| cut.side.get(member)).filter(|side| **side > 0);
        let side = side.map_or_else(String::new, |side| format!(" side {side}"));
        chart.word(LEFT - 6.0, y + ROW - 5.0, "end", "tick", &format!("n{member}{side}"));
    }
    let item = |class: &str, words: &str| (class.to_owned(), words.to_owned());
    chart.legend(&[
        item("alive", "alive"),
        item("suspect", "suspect"),
        item("down", "down"),
        item("left", "left"),
        item("bad", "in trouble"),
        item("gone", "gone"),
    ]);
    chart.finish("Members over time as the others see them, with their trouble")
}

/// Words for below the figure.
pub(super) fn caption(film: &Recording) -> String {
    let shown = choose(film).len();
    let all = film.lanes.len();
    format!(
        "Each lane is one member; its height is shared out by what the other members believe of it. The bar \
         under a lane is what really is wrong with it. {shown} of {all} members are shown: those in trouble \
         first, then those most doubted, then others."
    )
}

fn lane(chart: &mut Chart, film: &Recording, member: usize, y: f64, seconds: f64) {
    let lane = &film.lanes[member];
    let (top, tall) = (y + 2.0, ROW - 7.0);
    let changes = lane.beliefs.iter().enumerate().map(|(i, (from, tally))| {
        let to = lane.beliefs.get(i + 1).map_or(seconds, |(to, _)| f64::from(*to));
        (f64::from(*from), to, *tally)
    });
    for (from, to, tally) in merged(changes, seconds / 900.0) {
        let total = f64::from(tally.total());
        if total == 0.0 {
            continue;
        }
        let (a, b) = (chart.x.at(from), chart.x.at(to));
        let mut at = top + tall;
        for (class, count) in
            [("alive", tally.alive), ("suspect", tally.suspect), ("down", tally.down), ("left", tally.left)]
        {
            let part = tall * f64::from(count) / total;
            at -= part;
            if count > 0 {
                let title = format!("n{member}, {from:.2} s: {class} to {count} of {total:.0}");
                chart.boxed(a, at, (b - a).max(0.3), part, class, &title);
            }
        }
    }
    for band in &lane.bands {
        let (a, b) = (chart.x.at(f64::from(band.from)), chart.x.at(end(band, seconds)));
        let class = if band.what == "gone" { "gone" } else { "bad" };
        let title = format!("n{member}: {} from {:.2} s", band.what, band.from);
        chart.boxed(a, y + ROW - 4.5, (b - a).max(0.6), 3.5, class, &title);
    }
}

/// Stretches shorter than `least` seconds put together, as the most doubtful of them: a pixel shows no
/// more, and what is doubted for a moment only is to be seen all the same.
fn merged(changes: impl Iterator<Item = (f64, f64, Tally)>, least: f64) -> Vec<(f64, f64, Tally)> {
    let doubt = |t: &Tally| t.suspect + t.down;
    let mut out: Vec<(f64, f64, Tally)> = Vec::new();
    let mut group: Option<(f64, f64, Tally)> = None;
    for (from, to, tally) in changes {
        if to - from >= least {
            out.extend(group.take());
            out.push((from, to, tally));
            continue;
        }
        let (since, _, worst) = group.unwrap_or((from, to, tally));
        let worst = if doubt(&tally) > doubt(&worst) { tally } else { worst };
        group = Some((since, to, worst));
        if to - since >= least {
            out.extend(group.take());
        }
    }
    out.extend(group);
    out
}

/// Members worth a lane, in order of their number: those in trouble, those most doubted, some others.
fn choose(film: &Recording) -> Vec<usize> {
    let doubt = |m: usize| {
        let worst = film.lanes[m].beliefs.iter().map(|(_, t)| t.suspect + 2 * t.down).max().unwrap_or(0);
        (!film.lanes[m].bands.is_empty(), worst)
    };
    let mut members: Vec<usize> = (0..film.lanes.len()).collect();
    members.sort_by_key(|m| (core::cmp::Reverse(doubt(*m)), *m));
    let telling = members.iter().filter(|m| doubt(**m) > (false, 0)).count();
    let count = if telling == 0 { FEW } else { (telling + FEW / 2).min(MOST) };
    let mut chosen: Vec<usize> = if let Some(cut) = film.cuts.first().filter(|_| telling > MOST) {
        // Each member is doubted by the other side: the same number from each.
        let sides = usize::from(cut.side.iter().copied().max().unwrap_or(1)).max(1);
        let side =
            |s: usize| members.iter().filter(move |m| usize::from(cut.side[**m]) == s).take(FEW * 2 / sides);
        (1..=sides).flat_map(side).copied().collect()
    } else {
        members.into_iter().take(count).collect()
    };
    let side = |m: &usize| film.cuts.first().and_then(|cut| cut.side.get(*m)).copied().unwrap_or(0);
    chosen.sort_by_key(|m| (side(m), film.lanes[*m].bands.is_empty(), *m));
    chosen
}

fn end(band: &Band, seconds: f64) -> f64 {
    f64::from(band.to).min(seconds)
}

const LEFT: f64 = 86.0;
const ROW: f64 = 19.0;
/// Lanes of members that nothing happened to.
const FEW: usize = 8;
/// More would not be read.
const MOST: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_stretches_are_joined_and_long_ones_kept_as_they_are() {
        let tally = |alive, down| Tally { alive, down, ..Tally::default() };
        let changes = [
            (0.0, 5.0, tally(9, 0)),
            (5.0, 5.1, tally(8, 1)),
            (5.1, 5.2, tally(0, 9)),
            (5.2, 5.3, tally(4, 5)),
            (5.3, 9.0, tally(9, 0)),
        ];
        let lane = merged(changes.into_iter(), 0.25);
        assert_eq!(lane, [(0.0, 5.0, tally(9, 0)), (5.0, 5.3, tally(0, 9)), (5.3, 9.0, tally(9, 0))]);
    }
}
