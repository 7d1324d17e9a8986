//! One picture as text, for a pipe or a note.

use std::env;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;

use super::list::Pane;
use super::model::Model;
use super::pane;
use super::pen::{Paint, Pen};
use super::screen::painted;
use super::trouble::Trouble;
use super::view::{MOST_LINES, Scene, draw};

/// The picture, in `width` columns and as many lines as it needs.
pub(super) fn picture(model: &Model, now: jiff::Timestamp, width: u16, colour: bool) -> String {
    let height = u16::try_from(height(model, now, width.into())).unwrap_or(u16::MAX);
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(Scene { model, now, once: true }, &mut Pen::new(&mut buffer, Paint { colour }));
    let lines = buffer.content().chunks(usize::from(width)).map(|cells| text(cells, colour));
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Room for all problems, for all members in trouble, and for as many others as one screen has lines.
fn height(model: &Model, now: jiff::Timestamp, width: usize) -> usize {
    let troubled = model.troubles.iter().filter(|trouble| **trouble < Trouble::Well).count();
    let members = model.lists.of(Pane::Members).order.len();
    let members = members.min(FEW.max(troubled.min(MANY) + 1));
    HEAD + pane::height(&model.problems, now, width, MOST_LINES) + members + 1 + EVENTS
}

fn text(cells: &[ratatui_core::buffer::Cell], colour: bool) -> String {
    let mut out = String::new();
    let mut style = anstyle::Style::new();
    let blank = cells.iter().rev().take_while(|cell| cell.symbol() == " ").count();
    for cell in cells.iter().take(cells.len() - blank) {
        let wanted = if colour { painted(cell.style()) } else { style };
        if wanted != style {
            out += &format!("{style:#}{wanted}");
            style = wanted;
        }
        out += cell.symbol();
    }
    out + &format!("{style:#}")
}

/// `COLUMNS`, or the width of the terminal, or 80.
pub(super) fn width(terminal: Option<u16>) -> u16 {
    let set = env::var("COLUMNS").ok().and_then(|columns| columns.parse::<u16>().ok());
    set.or(terminal).unwrap_or(80).clamp(40, 500)
}

/// Lines above the problems, with those between the lists.
const HEAD: usize = 9;
const EVENTS: usize = 6;
/// Members that are always shown.
const FEW: usize = 20;
/// Members in trouble that are shown.
const MANY: usize = 200;
