//! What happened.

use jiff::Timestamp;
use ratatui_core::style::Style;
use ratatui_core::text::Span;

use super::{choose, dash};
use crate::cli::output::seconds_between;
use crate::cli::top::list::Pane;
use crate::cli::top::model::Event;
use crate::cli::top::pen::{Column, Paint, Pen, rest, row, titles};
use crate::cli::top::view::{Scene, ago, time_of_day};

/// What happened, the latest first.
pub(in crate::cli::top) fn events(scene: Scene<'_>, pen: &mut Pen<'_>, is_list: bool) {
    let Scene { model, now, .. } = scene;
    let mut columns = vec![Column::left("TIME UTC", 8), Column::right("AGO", 6)];
    columns.push(Column::left("WHAT", rest(&columns, pen.width())));
    if !is_list {
        for event in model.events.iter().take(pen.room()) {
            let cells = event_row(event, now, pen.paint);
            pen.line(row(&columns, cells.into_iter()));
        }
        return;
    }
    pen.line(titles(&columns, pen.paint));
    let list = model.lists.of(Pane::Events);
    if list.order.is_empty() {
        pen.line(Span::styled("no event", pen.paint.dim()));
    }
    for (number, is_chosen) in list.visible(pen.room()) {
        let Some(event) = model.events.get(number) else { continue };
        let cells = event_row(event, now, pen.paint);
        choose(pen, row(&columns, cells.into_iter()), is_chosen);
    }
}

fn event_row(event: &Event, now: Timestamp, paint: Paint) -> [(String, Style); 3] {
    let style = match event.status.as_deref() {
        Some(status @ ("down" | "suspect")) => paint.status(status),
        _ => Style::new(),
    };
    [
        (time_of_day(&event.time).to_owned(), paint.dim()),
        (seconds_between(&event.time, now).map_or_else(dash, ago), paint.dim()),
        (event.what.clone(), style),
    ]
}
