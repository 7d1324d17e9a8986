//! What is wrong, with what to do.

use jiff::Timestamp;
use ratatui_core::text::{Line, Span};

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
    let width = pen.width().saturating_sub(INDENT).max(10);
    let blocks: Vec<Vec<Line<'static>>> =
        model.problems.iter().map(|one| block(one, scene.now, width, pen.paint)).collect();
    // As many from above as leave the chosen one in sight.
    let height = |from: usize| -> usize { blocks.iter().take(list.at + 1).skip(from).map(Vec::len).sum() };
    let first = (0..=list.at).find(|from| height(*from) <= pen.room()).unwrap_or(list.at);
    for (number, block) in blocks.into_iter().enumerate().skip(first) {
        for (n, line) in block.into_iter().enumerate() {
            choose(pen, line, number == list.at && n == 0);
        }
    }
}

fn block(problem: &Problem, now: Timestamp, width: usize, paint: Paint) -> Vec<Line<'static>> {
    let [mut first, _] = self::problem(problem, now, paint);
    let mut lines = Vec::new();
    let said = first.spans.pop().map(|span| span.content.into_owned()).unwrap_or_default();
    let used = first.width().saturating_sub(INDENT);
    let mut said = wrap(&said, width.saturating_sub(used).max(10)).into_iter();
    first.push_span(Span::raw(said.next().unwrap_or_default()));
    lines.push(first);
    let rest: Vec<String> = said.collect();
    let indent = " ".repeat(INDENT);
    lines.extend(
        wrap(&rest.join(" "), width)
            .into_iter()
            .filter(|line| !line.is_empty())
            .map(|line| Line::raw(format!("{indent}{line}"))),
    );
    let remedy = wrap(&format!("do: {}", problem.remedy), width);
    lines.extend(remedy.into_iter().map(|line| Line::styled(format!("{indent}{line}"), paint.bold())));
    lines
}

/// What is wrong, and what to do.
pub(in crate::cli::top) fn problem(problem: &Problem, now: Timestamp, paint: Paint) -> [Line<'static>; 2] {
    let age = problem.since.as_deref().and_then(|since| seconds_between(since, now));
    let age = age.map_or_else(String::new, |seconds| format!(" ({})", ago(seconds)));
    let style = paint.severity(&problem.severity);
    let code = match problem.code.as_str() {
        "" => problem.severity.clone(),
        code => code.to_owned(),
    };
    let what = Line::from(vec![
        Span::styled(side_word(problem.side), style),
        Span::styled(code, style),
        Span::raw("  "),
        Span::raw(format!("{}{age}", problem.what)),
    ]);
    [what, Line::raw(problem.remedy.clone())]
}

/// Columns before what is wrong goes on.
const INDENT: usize = 6;
