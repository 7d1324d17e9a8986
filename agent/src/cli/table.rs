//! Tables and sentences in the width of a terminal: what is cut, what is broken, and how much room a text takes.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Rows of cells. Each column is as wide as what is in it.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
    /// Of the terminal, where that matters.
    width: Option<usize>,
    colour: bool,
}

impl Table {
    /// Without rows, in a terminal of that width or for no terminal.
    pub(super) fn new(width: Option<usize>, colour: bool) -> Self {
        Self { rows: Vec::new(), width, colour }
    }

    /// Adds a row.
    pub(super) fn add_row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The columns that each of its columns takes.
    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |n: usize| self.rows.iter().filter_map(move |row| row.get(n));
        (0..columns).map(|n| cells(n).map(|cell| visible(&cell.text)).max().unwrap_or(0)).collect()
    }
}

/// Text in one style. It may hold painted words, which take no room for their paint.
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Plain text.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    /// The same in a style, where colours are wanted.
    pub(super) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// Lays the table out: names and numbers stay whole, and prose in the last column gives way. No line is longer than the
/// terminal, even where nothing useful fits: half a row on the next line is worse than one that ends with an ellipsis.
pub(super) fn finish(table: &Table) -> String {
    let widths = table.widths();
    let Some((_, firsts)) = widths.split_last() else { return String::new() };
    let indent: usize = firsts.iter().map(|width| width + GAP).sum();
    let room = table.width.and_then(|width| width.checked_sub(indent)).filter(|room| *room >= PROSE);
    let mut lines = Vec::new();
    for row in &table.rows {
        let mut line = String::new();
        let mut rest = Vec::new();
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let mut parts = match room {
                Some(room) if n == firsts.len() => wrap(&cell.text, room),
                Some(_) | None => vec![cell.text.clone()],
            }
            .into_iter();
            let text = parts.next().unwrap_or_default();
            let gap = " ".repeat((width + GAP).saturating_sub(visible(&text)));
            let style = if table.colour && !text.is_empty() { cell.style } else { Style::new() };
            line += &format!("{style}{text}{style:#}{gap}");
            rest = parts.collect();
        }
        lines.push(line.trim_end().to_owned());
        lines.extend(rest.into_iter().map(|part| format!("{}{part}", " ".repeat(indent))));
    }
    if let Some(width) = table.width {
        lines.iter_mut().for_each(|line| *line = cut(line, width));
    }
    lines.join("\n")
}

/// As much of `text` as `width` columns show, with an ellipsis where something is missing. Paint takes no room and stays.
pub(super) fn cut(text: &str, width: usize) -> String {
    if visible(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = Some(width.saturating_sub(1));
    let mut paint = false;
    for c in text.chars() {
        paint |= c == '\x1b';
        if paint {
            out.push(c);
            paint = c != 'm';
            continue;
        }
        let Some(room) = left else { continue };
        left = room.checked_sub(c.width().unwrap_or(0));
        out.push(if left.is_some() { c } else { '…' });
    }
    out
}

/// Lines of at most `width` columns, broken between words where that is possible.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = visible(word);
        match lines.last_mut() {
            Some(line) if used == 0 || used + 1 + length <= width => {
                if used > 0 {
                    line.push(' ');
                    used += 1;
                }
                line.push_str(word);
            }
            Some(_) | None => {
                lines.push(word.to_owned());
                used = 0;
            }
        }
        used += length;
    }
    lines.into_iter().flat_map(|line| broken(line, width)).collect()
}

/// The line in pieces, if it is one word that is too long.
fn broken(line: String, width: usize) -> Vec<String> {
    if visible(&line) <= width || line.contains('\x1b') {
        return vec![line];
    }
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for c in line.chars() {
        let columns = c.width().unwrap_or(0);
        if used > 0 && used + columns > width {
            pieces.push(String::new());
            used = 0;
        }
        used += columns;
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

/// Columns of a terminal that the text takes. What is in it has been made fit to show, so escape sequences are our paint.
fn visible(text: &str) -> usize {
    let (mut columns, mut rest) = (0, text);
    while let Some((before, after)) = rest.split_once('\x1b') {
        columns += before.width();
        rest = after.split_once('m').map_or("", |(_, behind)| behind);
    }
    columns + rest.width()
}

/// Takes from the widest of `columns` (width and least width each) until all of them take `room`, or none
/// has anything to give.
pub(super) fn squeeze(columns: &mut [(usize, usize)], room: usize) {
    while columns.iter().map(|(width, _)| width).sum::<usize>() > room {
        let widest =
            columns.iter_mut().filter(|(width, least)| width > least).max_by_key(|(width, _)| *width);
        let Some((width, _)) = widest else { break };
        *width -= 1;
    }
}

/// Blanks between two columns, as [`finish`] makes them.
pub(super) const GAP: usize = 2;
/// Least room in which prose can be read. Below it the row is cut.
const PROSE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_so_and_never_takes_more_columns() {
        for (text, width, shown) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("東京都", 6, "東京都"),
            ("東京都", 5, "東京…"),
            ("東京都", 4, "東…"),
            ("ab", 1, "…"),
            ("\x1b[32malive\x1b[0m", 5, "\x1b[32malive\x1b[0m"),
            ("\x1b[32malive\x1b[0m n1", 3, "\x1b[32mal…\x1b[0m"),
        ] {
            assert_eq!(cut(text, width), shown);
        }
    }

    #[test]
    fn sentences_break_between_words_and_words_only_where_they_must() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("a \x1b[31mbc\x1b[0m d", 4), ["a \x1b[31mbc\x1b[0m", "d"]);
        assert_eq!(wrap("東京 abcdefg h", 4), ["東京", "abcd", "efg", "h"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn paint_takes_no_room_in_a_table_and_no_line_is_longer_than_the_terminal() {
        let shown = |colour, width| {
            let paint = |word: &str| match colour {
                true => format!("\x1b[1;31m{word}\x1b[0m"),
                false => word.to_owned(),
            };
            let mut table = Table::new(width, colour);
            table.add_row([Cell::new("key").styled(Style::new().bold()), Cell::new("東京")]);
            table.add_row([format!("{}!", paint("alive")), format!("2 of the others, 1 {}", paint("down"))]);
            finish(&table)
        };
        let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
        assert_eq!(shown(false, None), "key     東京\nalive!  2 of the others, 1 down");
        assert_eq!(shown(false, Some(26)), "key     東京\nalive!  2 of the others, 1\n        down");
        assert_eq!(shown(false, Some(20)), "key     東京\nalive!  2 of the ot…");
        for width in [None, Some(26), Some(20), Some(3)] {
            assert_eq!(plain(&shown(true, width)), shown(false, width), "{width:?}");
        }
    }

    #[test]
    fn the_widest_give_way_first_and_none_below_its_least() {
        let mut columns = [(30, 8), (7, 7), (60, 5)];
        squeeze(&mut columns, 50);
        assert_eq!(columns.map(|(width, _)| width).iter().sum::<usize>(), 50);
        assert_eq!((columns[1].0, columns[0].0.abs_diff(columns[2].0)), (7, 1));
        squeeze(&mut columns, 1);
        assert_eq!(columns.map(|(width, _)| width), [8, 7, 5]);
    }
}
