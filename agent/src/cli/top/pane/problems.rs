//! What is wrong, with what to do.

use jiff::Timestamp;
use ratatui_core::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use super::choose;
use crate::cli::output::seconds_between;
use crate::cli::table::wrap;
use crate::cli::top::list::Pane;
use crate::cli::top::pen::{Paint, Pen};
use crate::cli::top::problem::Problem;
use crate::cli::top::view::{Scene, ago, side_word};

/// Everything that is wrong, in full.
pub(in crate::cli::top) fn problems(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let model = scene.model;
    let list = model.lists.of(Pane::Problems);
    if list.order.is_empty() {
        pen.line(Span::styled("nothing is wrong", pen.paint.well()));
    }
    let (width, paint) = (pen.width(), pen.paint);
    let blocks: Vec<Vec<Line<'static>>> =
        model.problems.iter().map(|one| block(one, scene.now, width, paint)).collect();
    // As many from above as leave the chosen one in sight.
    let height = |from: usize| -> usize { blocks.iter().take(list.at + 1).skip(from).map(Vec::len).sum() };
    let first = (0..=list.at).find(|from| height(*from) <= pen.room()).unwrap_or(list.at);
    for (number, block) in blocks.into_iter().enumerate().skip(first) {
        for (n, line) in block.into_iter().enumerate() {
            choose(pen, line, number == list.at && n == 0);
        }
    }
}

/// What is wrong and what to do, in at most `room` lines. Where not all of it fits, what to do is left the most.
pub(in crate::cli::top) fn problem(
    problem: &Problem,
    now: Timestamp,
    (width, room): (usize, usize),
    paint: Paint,
) -> Vec<Line<'static>> {
    let all = block(problem, now, width, paint);
    if all.len() <= room {
        return all;
    }
    let remedy = remedy(problem, width, paint);
    let shown = room.saturating_sub(1);
    let is_cut = remedy.len() > shown;
    let mut lines = vec![what(problem, now, paint)];
    lines.extend(remedy.into_iter().take(shown));
    if let (true, Some(last)) = (is_cut && shown > 0, lines.last_mut()) {
        last.push_span(Span::raw(" …"));
    }
    lines
}

/// All of it.
fn block(problem: &Problem, now: Timestamp, width: usize, paint: Paint) -> Vec<Line<'static>> {
    let mut first = what(problem, now, paint);
    let beside = if problem.remedy.is_empty() { String::new() } else { format!("  → {}", problem.remedy) };
    if (width >= WIDE || beside.is_empty()) && first.width() + beside.width() <= width {
        first.push_span(Span::raw(beside));
        return vec![first];
    }
    let said = first.spans.pop().map(|span| span.content.into_owned()).unwrap_or_default();
    let (used, inner) = (first.width(), inner(width));
    let mut said = wrap(&said, width.saturating_sub(used).max(10)).into_iter();
    first.push_span(Span::raw(said.next().unwrap_or_default()));
    let mut lines = vec![first];
    let rest: Vec<String> = said.collect();
    let rest = wrap(&rest.join(" "), inner).into_iter().filter(|line| !line.is_empty());
    lines.extend(rest.map(|line| Line::raw(format!("{:INDENT$}{line}", ""))));
    lines.extend(remedy(problem, width, paint));
    lines
}

/// One line, however long.
fn what(problem: &Problem, now: Timestamp, paint: Paint) -> Line<'static> {
    let age = problem.since.as_deref().and_then(|since| seconds_between(since, now));
    let age = age.map_or_else(String::new, |seconds| format!(" ({})", ago(seconds)));
    let style = paint.severity(&problem.severity);
    let code = match problem.code.as_str() {
        "" => problem.severity.clone(),
        code => code.to_owned(),
    };
    Line::from(vec![
        Span::styled(side_word(problem.side), style),
        Span::styled(code, style),
        Span::raw("  "),
        Span::raw(format!("{}{age}", problem.what)),
    ])
}

fn remedy(problem: &Problem, width: usize, paint: Paint) -> Vec<Line<'static>> {
    if problem.remedy.is_empty() {
        return Vec::new();
    }
    let lines = wrap(&format!("do: {}", problem.remedy), inner(width));
    lines.into_iter().map(|line| Line::styled(format!("{:INDENT$}{line}", ""), paint.bold())).collect()
}

/// Lines that all of these take, `most` at most.
pub(in crate::cli::top) fn height(all: &[Problem], now: Timestamp, width: usize, most: usize) -> usize {
    let plain = Paint { colour: false };
    // Each takes one or more.
    all.iter().take(most).map(|one| block(one, now, width, plain).len()).sum::<usize>().min(most)
}

/// Columns behind the indent, with room for the sign that more would follow.
fn inner(width: usize) -> usize {
    width.saturating_sub(INDENT + 2).max(10)
}

/// Columns in which what is wrong and what to do may stand on one line.
const WIDE: usize = 150;
/// Columns before what is wrong goes on.
const INDENT: usize = 6;
