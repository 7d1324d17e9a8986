//! What runs where.

use ratatui_core::style::Style;
use ratatui_core::text::Span;

use super::choose;
use crate::cli::service::address;
use crate::cli::top::facts::Instance;
use crate::cli::top::list::Pane;
use crate::cli::top::model::Model;
use crate::cli::top::pen::{Column, Paint, Pen, rest, row, shortened, titles};

/// What runs where, the worst first.
pub(in crate::cli::top) fn services(model: &Model, pen: &mut Pen<'_>) {
    let width = pen.width();
    let mut columns = vec![
        Column::left("SERVICE", (width / 5).max(10)),
        Column::left("HEALTH", 8),
        Column::left("MEMBER", (width / 5).max(10)),
        Column::right("HEALTHY", 9),
    ];
    columns.push(Column::left("ADDRESS, NOTE", rest(&columns, width)));
    pen.line(titles(&columns, pen.paint));
    let list = model.lists.of(Pane::Services);
    if list.order.is_empty() {
        pen.line(Span::styled("no service", pen.paint.dim()));
    }
    for (number, is_chosen) in list.visible(pen.room()) {
        let Some(one) = model.services.get(number) else { continue };
        let cells = service_row(one, (width / 5).max(10), pen.paint);
        choose(pen, row(&columns, cells.into_iter()), is_chosen);
    }
}

fn service_row(one: &Instance, width: usize, paint: Paint) -> [(String, Style); 5] {
    let told = &one.told;
    let style = match (told.status.as_str(), told.health.as_str()) {
        ("alive", "passing") => paint.well(),
        ("alive", "warning") => paint.warning(),
        _ => paint.error(),
    };
    let is = if told.status == "alive" { String::new() } else { format!("its member is {}; ", told.status) };
    let text = told.text.as_ref().map_or_else(String::new, |text| format!(", {text}"));
    [
        (one.full_name(), Style::new()),
        (told.health.clone(), style),
        (shortened(&told.member, width), paint.status(&told.status)),
        (format!("{} of {}", one.healthy, one.known), Style::new()),
        (format!("{is}{}{text}", address(told)), Style::new()),
    ]
}
