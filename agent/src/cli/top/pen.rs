//! Writing on the screen: line by line from above, never beyond its edges.

use std::borrow::Cow;

use anstyle::{AnsiColor, Effects};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::{Line, Span};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::fault::Side;
use super::trouble::Trouble;
use crate::cli::output::status_style;
use crate::cli::table::cut;

/// The styles, with colours or without. What a colour says, a letter or a word beside it says as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) colour: bool,
}

impl Paint {
    fn of(self, style: anstyle::Style) -> Style {
        if self.colour { style.into() } else { anstyle::Style::new().effects(style.get_effects()).into() }
    }

    pub(super) fn bold(self) -> Style {
        self.of(anstyle::Style::new().bold())
    }

    pub(super) fn dim(self) -> Style {
        self.of(anstyle::Style::new().dimmed())
    }

    /// What was said a while ago and may not be so any more.
    pub(super) fn stale(self) -> Style {
        Style::from(anstyle::Style::new().dimmed()).fg(Color::Reset).remove_modifier(Modifier::BOLD)
    }

    /// The line on which the reader stands.
    pub(super) fn chosen(self) -> Style {
        self.of(anstyle::Style::new().effects(Effects::INVERT))
    }

    pub(super) fn error(self) -> Style {
        self.of(AnsiColor::Red.on_default().bold())
    }

    pub(super) fn warning(self) -> Style {
        self.of(AnsiColor::Yellow.on_default().bold())
    }

    pub(super) fn well(self) -> Style {
        self.of(AnsiColor::Green.on_default())
    }

    /// Of a status word.
    pub(super) fn status(self, status: &str) -> Style {
        self.of(status_style(status))
    }

    pub(super) fn trouble(self, trouble: Trouble) -> Style {
        match trouble {
            Trouble::Down => self.status("down"),
            Trouble::Suspect => self.status("suspect"),
            Trouble::Cut | Trouble::Flapping | Trouble::Slow => self.warning(),
            Trouble::Well => self.status("alive"),
            Trouble::Left => self.dim(),
        }
    }

    pub(super) fn severity(self, severity: &str) -> Style {
        match severity {
            "error" => self.error(),
            "warning" => self.warning(),
            _ => self.dim(),
        }
    }

    pub(super) fn side(self, side: Side) -> Style {
        match side {
            Side::Us | Side::Them => self.error(),
            Side::Between | Side::All => self.warning(),
        }
    }
}

/// The part of the screen that is not written on yet.
pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    pub(super) paint: Paint,
}

impl<'a> Pen<'a> {
    /// On all of this.
    pub(super) fn new(buffer: &'a mut Buffer, paint: Paint) -> Self {
        let area = buffer.area;
        Self { buffer, area, paint }
    }

    /// Columns.
    pub(super) fn width(&self) -> usize {
        self.area.width.into()
    }

    /// Lines that are left.
    pub(super) fn room(&self) -> usize {
        self.area.height.into()
    }

    /// The last `lines` lines; they are gone from this one.
    pub(super) fn foot(&mut self, lines: usize) -> Pen<'_> {
        let lines = u16::try_from(lines).unwrap_or(u16::MAX).min(self.area.height);
        self.area.height -= lines;
        let area = Rect { y: self.area.y + self.area.height, height: lines, ..self.area };
        Pen { buffer: self.buffer, area, paint: self.paint }
    }

    /// Writes a line, cut to the width, if there is room.
    pub(super) fn line(&mut self, line: impl Into<Line<'static>>) {
        let line = fitted(line.into(), self.width());
        if self.area.height == 0 {
            return;
        }
        self.buffer.set_line(self.area.x, self.area.y, &line, self.area.width);
        self.area.y += 1;
        self.area.height -= 1;
    }

    /// The same on a ground of this style.
    pub(super) fn line_on(&mut self, line: impl Into<Line<'static>>, ground: Style) {
        let row = Rect { height: self.area.height.min(1), ..self.area };
        self.line(line);
        self.buffer.set_style(row, ground);
    }

    /// Two texts, one at each edge; the left one gives way.
    pub(super) fn ends(&mut self, left: Line<'static>, right: Span<'static>) {
        let room = self.width().saturating_sub(right.width() + 1);
        let mut line = fitted(left, room);
        let gap = self.width().saturating_sub(line.width() + right.width());
        line.push_span(Span::raw(" ".repeat(gap)));
        line.push_span(right);
        self.line(line);
    }

    /// `── title ─────────`
    pub(super) fn rule(&mut self, mut title: Line<'static>) {
        let dim = self.paint.dim();
        title.spans.insert(0, Span::styled("── ", dim));
        let rest = self.width().saturating_sub(title.width() + 1);
        title.push_span(Span::styled(format!(" {}", "─".repeat(rest)), dim));
        self.line(title);
    }

    /// What is not written on yet.
    pub(super) fn rest(&self) -> Rect {
        self.area
    }

    /// Changes the style of what has been written there.
    pub(super) fn restyle(&mut self, area: Rect, style: Style) {
        self.buffer.set_style(area, style);
    }
}

/// As much of a name as fits: names of hosts differ at their ends, so what is in the middle gives way.
pub(super) fn shortened(name: &str, width: usize) -> String {
    if name.width() <= width {
        return name.to_owned();
    }
    let room = width.saturating_sub(1);
    let tail = room / 2;
    let (mut head_used, mut tail_used) = (0, 0);
    let fits = |used: &mut usize, c: char, most: usize| {
        *used += c.width().unwrap_or(0);
        *used <= most
    };
    let head: String = name.chars().take_while(|c| fits(&mut head_used, *c, room - tail)).collect();
    let tail: Vec<char> = name.chars().rev().take_while(|c| fits(&mut tail_used, *c, tail)).collect();
    head + "…" + &tail.into_iter().rev().collect::<String>()
}

/// One column of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) width: usize,
    /// Numbers stand at the right edge.
    pub(super) right: bool,
}

impl Column {
    pub(super) fn left(title: &'static str, width: usize) -> Self {
        Self { title, width, right: false }
    }

    pub(super) fn right(title: &'static str, width: usize) -> Self {
        Self { title, width, right: true }
    }
}

/// The names of the columns as a line.
pub(super) fn titles(columns: &[Column], paint: Paint) -> Line<'static> {
    row(columns, columns.iter().map(|column| (column.title.to_owned(), paint.bold())))
}

/// Cells under the columns.
pub(super) fn row(columns: &[Column], cells: impl Iterator<Item = (String, Style)>) -> Line<'static> {
    let mut spans = Vec::new();
    for (n, (column, (text, style))) in columns.iter().zip(cells).enumerate() {
        let text = cut(&text, column.width);
        let blank = " ".repeat(column.width.saturating_sub(text.width()));
        if n > 0 {
            spans.push(Span::raw(" "));
        }
        let text = Span::styled(text, style);
        if column.right {
            spans.extend([Span::raw(blank), text]);
        } else {
            spans.extend([text, Span::raw(blank)]);
        }
    }
    Line::from(spans)
}

/// What is left of the width for a last column.
pub(super) fn rest(columns: &[Column], width: usize) -> usize {
    width.saturating_sub(columns.iter().map(|column| column.width + 1).sum())
}

fn fitted(mut line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    let (mut left, mut is_full) = (width, false);
    line.spans.retain_mut(|span| {
        if is_full {
            return false;
        }
        let wide = span.width();
        // One column is for the ellipsis.
        if wide < left {
            left -= wide;
            return true;
        }
        is_full = true;
        let text = cut(&format!("{}  ", span.content), left);
        span.content = Cow::Owned(text);
        true
    });
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_both_its_ends() {
        for (name, width, shown) in [
            ("web-017", 7, "web-017"),
            ("eu-central-1-web-017", 12, "eu-cen…b-017"),
            ("東京都-東京都-7", 8, "東京…-7"),
            ("ab", 1, "…"),
            ("ab", 0, "…"),
        ] {
            assert_eq!(shortened(name, width), shown);
        }
    }
}
