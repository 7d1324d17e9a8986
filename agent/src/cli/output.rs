//! What goes to stdout: the API's JSON as it is, or a table for people.

use std::io::{self, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::Value;

use super::exit::ReaderGone;

/// The ways to print an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
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

    /// Prints `answer`, or the text that `table` makes of it.
    pub(super) fn show(&self, answer: &Value, table: impl FnOnce() -> String) -> anyhow::Result<()> {
        self.show_list(answer, None, table)
    }

    /// The same for an answer whose field `list` holds the things that `jsonl` gives a line each.
    pub(super) fn show_list(
        &self,
        answer: &Value,
        list: Option<&str>,
        table: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Table => table(),
            Format::Json => serde_json::to_string_pretty(answer)?,
            Format::Jsonl => match list.and_then(|l| answer.get(l)).and_then(Value::as_array) {
                Some(things) => things.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
                None => answer.to_string(),
            },
            Format::Yaml => serde_saphyr::to_string(answer)?,
        };
        print(&text)
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
}
