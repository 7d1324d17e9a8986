//! Who reaches whom: this agent's own paths, and of others what they say is not well.

use std::time::Duration;

use ratatui_core::style::Style;
use ratatui_core::text::Span;

use super::{choose, dash, me};
use crate::cli::output::{brief, seconds_between};
use crate::cli::paths::note;
use crate::cli::top::list::Pane;
use crate::cli::top::pen::{Column, Pen, rest, row, shortened, titles};
use crate::cli::top::view::{Scene, ago};
use crate::types::PathRow;
use crate::words::few;

/// Trouble first. Others are asked while this list is shown.
pub(in crate::cli::top) fn paths(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let model = scene.model;
    let width = pen.width();
    let mut columns = vec![
        Column::left("FROM", (width / 8).max(8)),
        Column::left("TO", (width / 8).max(8)),
        Column::left("DIRECT", 9),
        Column::right("RTT", 8),
        Column::right("HEARD", 6),
        Column::right("FOR", 6),
    ];
    columns.push(Column::left("WHAT FAILS, WHO REACHES IT", rest(&columns, width)));
    pen.line(titles(&columns, pen.paint));
    let list = model.lists.of(Pane::Paths);
    if list.order.is_empty() {
        pen.line(Span::styled("no path", pen.paint.dim()));
    }
    if !model.mute.is_empty() {
        let names: Vec<&str> = model.mute.iter().map(String::as_str).collect();
        pen.line(Span::styled(format!("{} did not answer", few(&names)), pen.paint.dim()));
    }
    for (number, is_chosen) in list.visible(pen.room()) {
        let Some((from, path)) = model.line_of_paths(number) else { continue };
        let heard = path.last_direct_ms_ago.map(|ms| Duration::from_millis(ms).as_secs_f64());
        let style = pen.paint.status(&path.state);
        let cells = [
            (shortened(from.unwrap_or(me(model)), (width / 8).max(8)), Style::new()),
            (shortened(&path.name, (width / 8).max(8)), Style::new()),
            (state(path), style),
            (path.rtt_ms.map_or_else(dash, |ms| brief(ms / 1e3)), Style::new()),
            (heard.map_or_else(|| from.map_or_else(|| "never".to_owned(), |_| dash()), ago), Style::new()),
            (
                path.since
                    .as_deref()
                    .and_then(|since| seconds_between(since, scene.now))
                    .map_or_else(dash, ago),
                Style::new(),
            ),
            (note(path, from), Style::new()),
        ];
        choose(pen, row(&columns, cells.into_iter()), is_chosen);
    }
}

/// With the direction that fails: on a small terminal there is no room for the words.
fn state(path: &PathRow) -> String {
    match path.direction.as_deref() {
        Some(direction @ ("in" | "out" | "both")) if path.state == "down" => format!("down {direction}"),
        _ => path.state.clone(),
    }
}
