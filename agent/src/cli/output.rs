//! What goes to stdout: the API's JSON as it is, or a table for people.

use std::cmp::Ordering;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::de::DeserializeOwned;
use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::exit::ReaderGone;
use crate::escape::{escape_all, escape_lines, escape_painted};

/// The ways to print an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people; lists are cut to the width of a terminal.
    #[default]
    Table,
    /// The same, never cut.
    Wide,
    /// The API's JSON, indented.
    Json,
    /// The API's JSON, one line per thing.
    Jsonl,
    /// The API's JSON, as YAML.
    Yaml,
}

/// Where answers go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// The form asked for.
    pub(super) format: Format,
    colour: bool,
}

impl Output {
    /// Colours go to terminals only, and not against the reader's wish.
    pub(super) fn new(format: Format) -> Self {
        let choice = anstream::AutoStream::choice(&io::stdout());
        Self { format, colour: choice != anstream::ColorChoice::Never }
    }

    /// Whether people are to read it, rather than programs.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Columns of the terminal that lists are cut to; `None`: they are not.
    pub(super) fn width(&self) -> Option<usize> {
        let terminal = self.format == Format::Table && io::stdout().is_terminal();
        let (width, _) = terminal.then(terminal_size::terminal_size).flatten()?;
        Some(width.0.into())
    }

    /// Prints `answer`, or the text that `table` makes of it: of what peers and users said, only what is fit
    /// for a terminal gets there.
    pub(super) fn show<T: DeserializeOwned>(
        &self,
        answer: &Value,
        table: impl FnOnce(T) -> String,
    ) -> anyhow::Result<()> {
        self.show_list(answer, None, table)
    }

    /// The same for an answer whose field `list` holds the things that `jsonl` gives a line each.
    pub(super) fn show_list<T: DeserializeOwned>(
        &self,
        answer: &Value,
        list: Option<&str>,
        table: impl FnOnce(T) -> String,
    ) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Table | Format::Wide => return self.say(&table(fit_to_show(answer)?)),
            Format::Json => serde_json::to_string_pretty(answer)?,
            Format::Jsonl => match list.and_then(|l| answer.get(l)).and_then(Value::as_array) {
                Some(things) => things.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
                None => answer.to_string(),
            },
            Format::Yaml => serde_saphyr::to_string(answer)?,
        };
        print(&text)
    }

    /// Prints a text for people.
    pub(super) fn say(&self, text: &str) -> anyhow::Result<()> {
        print(&if self.colour { escape_painted(text) } else { escape_lines(text) })
    }

    /// `text` in `style`, where colours are wanted.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A status word in its colour; the word itself says the same.
    pub(super) fn status(&self, status: &str) -> String {
        self.paint(status_style(status), status)
    }

    /// A table without lines; as wide as the terminal, or as it likes where there is none.
    pub(super) fn table(&self, header: Option<&[&str]>) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if let Some(header) = header {
            table.set_header(header.iter().map(|h| Cell::new(h).add_attribute(Attribute::Bold)));
        }
        table
    }
}

/// An answer with everything in it made fit for a terminal.
pub(super) fn fit_to_show<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<T> {
    Ok(T::deserialize(escape_all(answer))?)
}

/// A line or a text, with a line end if it has none. Nothing for nothing.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let text = text.trim_end_matches('\n');
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        other => Ok(other?),
    }
}

/// Lets no cell but the last wrap: names and numbers stay whole, prose gives way.
pub(super) fn finish(mut table: Table) -> String {
    let last = table.column_count().saturating_sub(1);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if column.index != last {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    if let Some(column) = table.column_mut(last) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(16)));
    }
    table.trim_fmt()
}

/// A status word as a cell in its colour.
pub(super) fn status_cell(status: &str) -> Cell {
    let cell = Cell::new(status);
    match status {
        "alive" => cell.fg(Color::Green),
        "suspect" => cell.fg(Color::Yellow).add_attribute(Attribute::Bold),
        "down" => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        _ => cell.add_attribute(Attribute::Dim),
    }
}

/// The same as a style.
pub(super) fn status_style(status: &str) -> Style {
    match status {
        "alive" | "held" => AnsiColor::Green.on_default(),
        "suspect" | "unsettled" => AnsiColor::Yellow.on_default().bold(),
        "down" | "lost" => AnsiColor::Red.on_default().bold(),
        _ => Style::new().dimmed(),
    }
}

/// Seconds from an RFC 3339 stamp until now; `None` for what is no stamp.
pub(super) fn seconds_since(stamp: &str) -> Option<f64> {
    let then: jiff::Timestamp = stamp.parse().ok()?;
    let passed = jiff::Timestamp::now().duration_since(then);
    Some(passed.as_secs_f64().max(0.0))
}

/// How long ago an RFC 3339 stamp was: `3.1s`, `2m10s`, `12d`.
pub(super) fn age(stamp: &str) -> String {
    seconds_since(stamp).map_or_else(|| stamp.to_owned(), span)
}

/// A span of time in two figures that matter: `3.1s`, `42s`, `2m10s`, `3h7m`, `2d3h`, `12d`.
pub(super) fn span(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    let whole = Duration::from_secs_f64(seconds.min(1e15).round()).as_secs();
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{minutes}m{}s", whole % 60),
        3600..86_400 => format!("{hours}h{minutes}m"),
        86_400..864_000 => format!("{days}d{hours}h"),
        864_000.. => format!("{days}d"),
    }
}

/// A short time as people measure such: `0.9 ms`, `1.20 s`.
pub(super) fn brief(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// `one`, or `other` with the number before it, by count.
pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// `a, b, c`, or from the fourth on `a, b, c and 4 more`.
pub(super) fn few<S: AsRef<str>>(names: &[S]) -> String {
    let first: Vec<&str> = names.iter().take(FEW).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(FEW) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// As much of `text` as `width` columns show, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else { break };
        left = rest;
        out.push(c);
    }
    out + "…"
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

/// Orders text as people do: `n2` before `n10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (number, other) = (digits(left), digits(right));
        let order = if number.is_empty() || other.is_empty() {
            match (left.chars().next(), right.chars().next()) {
                // What differs in nothing but zeros in front still has an order.
                (None, None) => return a.cmp(b),
                (x, y) if x != y => return x.cmp(&y),
                (x, _) => {
                    let length = x.map_or(0, char::len_utf8);
                    (left, right) = (left.get(length..).unwrap_or(""), right.get(length..).unwrap_or(""));
                    continue;
                }
            }
        } else {
            let value = |digits: &str| {
                let digits = digits.trim_start_matches('0');
                (digits.len(), digits.to_owned())
            };
            value(number).cmp(&value(other))
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left.get(number.len()..).unwrap_or(""), right.get(other.len()..).unwrap_or(""));
    }
}

/// The digits at the beginning.
fn digits(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default()
}

/// Names that are told one by one where there may be many.
const FEW: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_the_two_figures_that_matter() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (3.12, "3.1s"),
            (9.96, "10s"),
            (42.7, "43s"),
            (130.0, "2m10s"),
            (11_220.0, "3h7m"),
            (183_600.0, "2d3h"),
            (1_036_800.0, "12d"),
            (-1.0, "0.0s"),
            (f64::NAN, "0.0s"),
            (f64::MAX, "11574074074d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn lists_read_like_speech() {
        assert_eq!(list::<&str>(&[]), "nobody");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }

    #[test]
    fn of_many_names_three_are_told() {
        assert_eq!(few(&["a", "b", "c"]), "a, b, c");
        assert_eq!(few(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }

    #[test]
    fn what_is_cut_says_so_and_never_takes_more_columns() {
        for (text, width, shown) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("東京都", 6, "東京都"),
            ("東京都", 5, "東京…"),
            ("東京都", 4, "東…"),
            ("ab", 1, "…"),
        ] {
            assert_eq!(cut(text, width), shown);
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

    #[test]
    fn numbers_in_names_are_ordered_as_numbers() {
        let mut names =
            ["n10", "n2", "n1", "n02", "n", "db-2-a", "db-10-a", "N3", "n99999999999999999999", "ä1"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["N3", "db-2-a", "db-10-a", "n", "n1", "n02", "n2", "n10", "n99999999999999999999", "ä1"]
        );
    }
}
