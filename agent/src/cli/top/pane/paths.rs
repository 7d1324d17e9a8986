//! Who answers this agent directly.

use std::time::Duration;

use ratatui_core::style::Style;
use ratatui_core::text::Span;

use super::{choose, dash};
use crate::cli::output::{brief, seconds_between};
use crate::cli::paths::note;
use crate::cli::top::list::Pane;
use crate::cli::top::pen::{Column, Pen, rest, row, shortened, titles};
use crate::cli::top::view::{Scene, ago};

/// Who answers this agent directly, trouble first.
pub(in crate::cli::top) fn paths(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let model = scene.model;
    let width = pen.width();
    let mut columns = vec![
        Column::left("MEMBER", (width / 5).max(10)),
        Column::left("DIRECT", 7),
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
    for (number, is_chosen) in list.visible(pen.room()) {
        let Some(path) = model.paths.get(number) else { continue };
        let heard = path.last_direct_ms_ago.map(|ms| Duration::from_millis(ms).as_secs_f64());
        let style = pen.paint.status(&path.state);
        let cells = [
            (shortened(&path.name, (width / 5).max(10)), Style::new()),
            (path.state.clone(), style),
            (path.rtt_ms.map_or_else(dash, |ms| brief(ms / 1e3)), Style::new()),
            (heard.map_or_else(|| "never".to_owned(), ago), Style::new()),
            (
                path.since
                    .as_deref()
                    .and_then(|since| seconds_between(since, scene.now))
                    .map_or_else(dash, ago),
                Style::new(),
            ),
            (note(path), Style::new()),
        ];
        choose(pen, row(&columns, cells.into_iter()), is_chosen);
    }
}
