//! How the story is shown: a picture that moves, plain lines, or JSON lines.

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::board::{Board, Look, Quorum};
use super::cluster::Node;
use super::step::{Step, spread};
use super::story::{Failed, Spread, Told};
use crate::cli::exit::ReaderGone;
use crate::cli::output::{Format, Output, print};

/// Where it is shown.
pub(super) struct Stage {
    output: Output,
    mode: Mode,
    started: Instant,
    /// What each single agent sees is told of small clusters only.
    small: bool,
    /// Lines of the moving picture on the screen now.
    drawn: usize,
    picture: String,
    last_drawn: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Lines, and below them a picture that moves.
    Moving,
    /// Lines.
    Plain,
    /// A JSON object per step.
    Lines,
    /// Only the result.
    Silent,
}

impl Stage {
    /// Picks the way that suits the reader.
    pub(super) fn new(output: Output, quiet: bool, nodes: usize) -> Self {
        let mode = match output.format {
            _ if quiet => Mode::Silent,
            Format::Table | Format::Wide if std::io::stdout().is_terminal() => Mode::Moving,
            Format::Table | Format::Wide => Mode::Plain,
            Format::Jsonl => Mode::Lines,
            Format::Json | Format::Yaml => Mode::Silent,
        };
        Self {
            output,
            mode,
            started: Instant::now(),
            small: nodes <= MATRIX,
            drawn: 0,
            picture: String::new(),
            last_drawn: None,
        }
    }

    /// Tells one step.
    pub(super) fn step(&mut self, step: &Step<'_>) -> anyhow::Result<()> {
        let seconds = self.started.elapsed().as_secs_f64();
        match self.mode {
            Mode::Silent => Ok(()),
            Mode::Lines => {
                let mut line = json!({ "at_seconds": seconds });
                if let (Some(line), serde_json::Value::Object(step)) =
                    (line.as_object_mut(), serde_json::to_value(step)?)
                {
                    line.extend(step);
                }
                print(&line.to_string())
            }
            Mode::Plain | Mode::Moving if !self.small && step.is_detail() => Ok(()),
            Mode::Plain | Mode::Moving => {
                let text = step.words(&self.output);
                let stamp = self.output.paint(Style::new().dimmed(), &format!("{seconds:>7.2}s"));
                self.above(&format!("{stamp}  {}", text.replace('\n', "\n          ")))
            }
        }
    }

    /// Moves the picture, if there is one and the last is old enough.
    pub(super) fn draw(&mut self, board: &Board, nodes: &[Node]) -> anyhow::Result<()> {
        let now = Instant::now();
        let fresh = self.last_drawn.is_some_and(|last| now - last < FRAME);
        if self.mode != Mode::Moving || fresh {
            return Ok(());
        }
        self.last_drawn = Some(now);
        // A line that wraps, or a picture taller than the screen, could not be taken back.
        let (width, height) =
            terminal_size::terminal_size().map_or((80, 24), |(w, h)| (usize::from(w.0), usize::from(h.0)));
        let fits = MATRIX_WIDTH + 4 * nodes.len() < width && nodes.len() + 5 < height;
        let picture =
            if self.small && fits { self.matrix(board, nodes) } else { self.field(board, width, height) };
        if self.drawn > 0 && picture == self.picture {
            return Ok(());
        }
        let erase = self.erase();
        self.drawn = picture.lines().count();
        write(&format!("{erase}{picture}\n"))?;
        self.picture = picture;
        Ok(())
    }

    /// Tells how it went: the one thing that is told in every mode.
    pub(super) fn conclude(&mut self, told: &Told, failure: Option<&Failed>) -> anyhow::Result<()> {
        let mut answer = serde_json::to_value(told)?;
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("ok".to_owned(), failure.is_none().into());
            answer.insert("failure".to_owned(), failure.map(ToString::to_string).into());
        }
        write(&self.erase())?;
        self.drawn = 0;
        if self.mode == Mode::Lines {
            answer = json!({ "step": "result", "result": answer });
        }
        self.output.show(&answer, |_: IgnoredAny| match failure {
            Some(failure) => {
                let word = self.output.paint(AnsiColor::Red.on_default().bold(), "It did not go well:");
                format!("{word} {failure}")
            }
            None => {
                let word = self.output.paint(AnsiColor::Green.on_default().bold(), "All well.");
                let mut parts = vec![word];
                let mut part = |what: &str, seen: Option<Spread>| {
                    parts.extend(seen.map(|seen| format!("{what} {}.", spread(&seen))));
                };
                part("The end of a service was seen", told.service_gone);
                part("A crash was noticed", told.down);
                part("The new life was seen", told.restart);
                if let Some(cut) = &told.cut {
                    part("Agents that were cut off lost quorum", cut.lost);
                    part("The others saw them down", cut.down);
                    part("After the heal all saw all alive", cut.healed);
                }
                parts.join(" ")
            }
        })
    }

    /// Rows are members, columns are the agents that see them.
    fn matrix(&self, board: &Board, nodes: &[Node]) -> String {
        let bold = Style::new().bold();
        let observers: String = nodes.iter().map(|n| format!("{:>4}", n.name)).collect();
        let head = format!("  {:<7}{:<13}{:<22}seen by{observers}", "MEMBER", "PROCESS", "ADDRESS");
        let mut lines = vec![String::new(), self.output.paint(bold, &head)];
        for (member, node) in nodes.iter().enumerate() {
            let process = node.pid().map_or_else(|| "gone".to_owned(), |pid| format!("pid {pid}"));
            let seen: String = (0..nodes.len())
                .map(|observer| format!("   {}", self.mark(board.look(observer, member).0)))
                .collect();
            lines.push(format!(
                "  {:<7}{process:<13}{:<22}       {seen}",
                node.name,
                node.address.to_string()
            ));
        }
        let quorum: String = (0..nodes.len()).map(|observer| self.vote(board.quorum(observer))).collect();
        let head = format!("  {:<42}{:>7}", "", "quorum");
        lines.push(format!("{}{quorum}", self.output.paint(bold, &head)));
        lines.push(self.legend());
        lines.join("\n")
    }

    /// Whether an agent holds quorum, in a column of the matrix.
    fn vote(&self, quorum: Quorum) -> String {
        let (style, word) = match quorum {
            Quorum::Held => (AnsiColor::Green.on_default(), " yes"),
            Quorum::Lost => (AnsiColor::Red.on_default(), "  no"),
            Quorum::Unsettled => (AnsiColor::Yellow.on_default(), "   …"),
            Quorum::Unknown => (Style::new(), "   ·"),
        };
        self.output.paint(style, word)
    }

    /// One mark for each member, as the first who sees it differently from alive sees it.
    fn field(&self, board: &Board, width: usize, height: usize) -> String {
        let size = board.size();
        let marks: Vec<String> = (0..size)
            .map(|member| {
                let looks = (0..size).map(|observer| board.look(observer, member).0);
                let worst = looks.max_by_key(|look| match look {
                    Look::Unknown => 0,
                    Look::Alive => 1,
                    Look::Left => 2,
                    Look::Suspect => 3,
                    Look::Down => 4,
                });
                self.mark(worst.unwrap_or_default())
            })
            .collect();
        let wide = width.saturating_sub(4).clamp(1, FIELD);
        let rows = marks.chunks(wide).take(height.saturating_sub(5)).map(|row| format!("  {}", row.concat()));
        let held = (0..size).filter(|observer| board.quorum(*observer) == Quorum::Held).count();
        let complete = format!("  {} of {size} see all alive, {held} hold quorum", board.complete_views());
        [String::new()]
            .into_iter()
            .chain(rows)
            .chain([complete, self.legend()])
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn legend(&self) -> String {
        let known = [Look::Alive, Look::Suspect, Look::Down, Look::Left, Look::Unknown];
        known.map(|look| format!("  {} {}", self.mark(look), look.word())).concat()
    }

    fn mark(&self, look: Look) -> String {
        let mark = match look {
            Look::Unknown => "·",
            Look::Alive => "●",
            Look::Suspect => "?",
            Look::Down => "✗",
            Look::Left => "○",
        };
        self.output.paint(crate::cli::output::status_style(look.word()), mark)
    }

    /// Writes lines that stay, and leaves the place below them to the picture.
    fn above(&mut self, text: &str) -> anyhow::Result<()> {
        let erase = self.erase();
        self.drawn = 0;
        self.last_drawn = None;
        write(&format!("{erase}{text}\n"))
    }

    /// Takes the picture off the screen: up to its first line, and clear all below.
    fn erase(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}F\x1b[J", self.drawn) }
    }
}

impl Look {
    /// The word of the API.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

impl Quorum {
    /// The word of the API.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unsettled => "unsettled",
            Self::Held => "held",
            Self::Lost => "lost",
        }
    }
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        other => Ok(other?),
    }
}

/// Up to this many agents a matrix of all views fits on a screen.
const MATRIX: usize = 16;
/// Columns of the matrix before the marks.
const MATRIX_WIDTH: usize = 52;
/// Marks in a line of the field.
const FIELD: usize = 100;
/// Ten pictures a second look like movement and cost nothing.
const FRAME: Duration = Duration::from_millis(100);
