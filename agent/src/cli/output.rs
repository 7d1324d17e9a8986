//! What goes to stdout: the API's JSON as it is, or a table for people.

use std::cmp::Ordering;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::exit::ReaderGone;
use super::table::{Cell, Table, wrap};
use crate::escape::{escape_all, escape_lines, escape_painted};

/// The ways to print an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people; on a terminal, lists are cut and sentences broken to its width.
    #[default]
    Table,
    /// The same, never cut nor broken: each row is one line, as wide as it needs to be.
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
    /// Columns, where they are not those of the terminal.
    columns: Option<usize>,
}

impl Output {
    /// Colours go to terminals only, and not against the reader's wish.
    pub(super) fn new(format: Format) -> Self {
        let choice = anstream::AutoStream::choice(&io::stdout());
        Self { format, colour: choice != anstream::ColorChoice::Never, columns: None }
    }

    /// For text that is put together here and shown elsewhere: without colours, and broken at so many columns if at any.
    pub(super) fn plain(columns: Option<usize>) -> Self {
        let format = if columns.is_some() { Format::Table } else { Format::Wide };
        Self { format, colour: false, columns }
    }

    /// Whether colours are wanted.
    pub(super) fn is_coloured(&self) -> bool {
        self.colour
    }

    /// Whether people are to read it, rather than programs.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Columns of the terminal that lists are cut to; `None`: they are not.
    pub(super) fn width(&self) -> Option<usize> {
        if self.columns.is_some() {
            return self.columns;
        }
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
        read_or_not(match self.data(answer, list)? {
            Some(text) => print(&text),
            None => self.say(&table(fit_to_show(answer)?)),
        })
    }

    /// `answer` as programs read it; `None` where people are to.
    fn data(&self, answer: &Value, list: Option<&str>) -> anyhow::Result<Option<String>> {
        Ok(Some(match self.format {
            Format::Table | Format::Wide => return Ok(None),
            Format::Json => serde_json::to_string_pretty(answer)?,
            Format::Jsonl => match list.and_then(|l| answer.get(l)).and_then(Value::as_array) {
                Some(things) => things.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
                None => answer.to_string(),
            },
            Format::Yaml => serde_saphyr::to_string(answer)?,
        }))
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

    /// A table without lines, for [`finish`](super::table::finish).
    pub(super) fn table(&self, header: Option<&[&str]>) -> Table {
        let mut table = Table::new(self.width(), self.colour);
        if let Some(header) = header {
            table.add_row(header.iter().map(|title| Cell::new(*title).styled(Style::new().bold())));
        }
        table
    }

    /// Sentences, broken between words where the terminal ends.
    pub(super) fn prose(&self, text: &str) -> String {
        match self.width() {
            Some(width) => text.split('\n').flat_map(|line| wrap(line, width)).collect::<Vec<_>>().join("\n"),
            None => text.to_owned(),
        }
    }
}

/// An answer with everything in it made fit for a terminal.
pub(super) fn fit_to_show<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<T> {
    // By way of its text, as all types are read: another way would be compiled for each of them once more.
    Ok(serde_json::from_slice(escape_all(answer).to_string().as_bytes())?)
}

/// An answer without a reader is an answer all the same: the exit code says it.
fn read_or_not(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    match printed {
        Err(error) if error.is::<ReaderGone>() => Ok(()),
        other => other,
    }
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

/// A status word as a cell in its colour.
pub(super) fn status_cell(status: &str) -> Cell {
    Cell::new(status).styled(status_style(status))
}

/// The same as a style.
pub(super) fn status_style(status: &str) -> Style {
    match status {
        "alive" | "held" | "up" => AnsiColor::Green.on_default(),
        "suspect" | "unsettled" => AnsiColor::Yellow.on_default().bold(),
        "down" | "lost" => AnsiColor::Red.on_default().bold(),
        _ => Style::new().dimmed(),
    }
}

/// Seconds from an RFC 3339 stamp until now; `None` for what is no stamp.
pub(super) fn seconds_since(stamp: &str) -> Option<f64> {
    seconds_between(stamp, jiff::Timestamp::now())
}

/// The same until then.
pub(super) fn seconds_between(stamp: &str, until: jiff::Timestamp) -> Option<f64> {
    let then: jiff::Timestamp = stamp.parse().ok()?;
    Some(until.duration_since(then).as_secs_f64().max(0.0))
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
