//! The terminal: taken over, drawn on, and given back however this ends.
//!
//! Its own few sequences instead of a backend of ratatui: that of crossterm brings a reactor and a signal handler beside
//! those of tokio, and the input of termion unwraps what the terminal sends.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use parking_lot::Mutex;
use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Style};
use ratatui_core::terminal::Terminal;
use tokio::sync::mpsc;
use unicode_width::UnicodeWidthStr as _;

/// A terminal in our hands, until this is dropped.
pub(super) struct Screen {
    pub(super) terminal: Terminal<Ansi>,
    before: Termios,
}

impl Screen {
    /// Takes the terminal: another screen, each key at once, no cursor. A panic gives it back before it says what it is.
    pub(super) fn take() -> anyhow::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        let mut screen = Self { terminal: Terminal::new(Ansi)?, before: before.clone() };
        let told = std::panic::take_hook();
        let before = Mutex::new(before);
        std::panic::set_hook(Box::new(move |panic| {
            give_back(&before.lock());
            told(panic);
        }));
        put(ENTER)?;
        screen.terminal.clear()?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(&self.before);
    }
}

fn give_back(before: &Termios) {
    // A terminal that is gone cannot be given back.
    let _ = put(LEAVE);
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What is typed, as it comes; ends when the terminal is gone.
pub(super) fn typed() -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (to, from) = mpsc::channel(16);
    // A thread, since the runtime cannot wait for each kind of terminal. It ends with the process.
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
        let mut bytes = [0; 256];
        loop {
            match io::stdin().read(&mut bytes) {
                Ok(0) => return,
                Ok(n) if to.blocking_send(bytes.get(..n).unwrap_or_default().to_vec()).is_err() => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    })?;
    Ok(from)
}

/// Draws by the sequences that every terminal of today knows.
pub(super) struct Ansi;

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        put(&drawn(content))
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        // It is hidden as long as the screen is ours.
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, _: P) -> io::Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        put("\x1b[2J")
    }

    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        self.clear()
    }

    fn size(&self) -> io::Result<Size> {
        let size = terminal_size::terminal_size_of(io::stdout().as_fd());
        let size = size.map_or((80, 24), |(width, height)| (width.0, height.0));
        Ok(Size::new(size.0.min(WIDEST), size.1.min(TALLEST)))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sequences for these cells; nothing for none.
fn drawn<'a>(content: impl Iterator<Item = (u16, u16, &'a Cell)>) -> String {
    let mut out = String::new();
    let (mut next, mut style) = (None, anstyle::Style::new());
    for (x, y, cell) in content {
        if next != Some((x, y)) {
            // Writing into a string cannot fail, here and below.
            let _ = write!(out, "\x1b[{};{}H", y.saturating_add(1), x.saturating_add(1));
        }
        let wanted = painted(cell.style());
        if wanted != style {
            let _ = write!(out, "{style:#}{wanted}");
            style = wanted;
        }
        out.push_str(cell.symbol());
        // After a wide character it is not certain where the terminal stands.
        next = (cell.symbol().width() == 1).then(|| (x.saturating_add(1), y));
    }
    let _ = write!(out, "{style:#}");
    out
}

/// The same in the words of the rest of the command line.
pub(super) fn painted(style: Style) -> anstyle::Style {
    let colour =
        |colour: Option<Color>| colour.filter(|colour| *colour != Color::Reset).map(anstyle::Color::from);
    anstyle::Style::new()
        .fg_color(colour(style.fg))
        .bg_color(colour(style.bg))
        .effects(style.add_modifier.into())
}

/// Another screen, without its cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
/// What a terminal says of its size is not trusted beyond this.
const WIDEST: u16 = 1000;
const TALLEST: u16 = 500;

#[cfg(test)]
mod tests {
    use ratatui_core::buffer::Buffer;

    use super::super::pen::{Paint, Pen};
    use super::*;

    #[test]
    fn only_what_changed_is_sent_and_nothing_where_nothing_did() {
        let picture = |text: &'static str| {
            let mut buffer = Buffer::empty(ratatui_core::layout::Rect::new(0, 0, 20, 2));
            let mut pen = Pen::new(&mut buffer, Paint { colour: true });
            pen.line("same");
            let error = pen.paint.error();
            pen.line(ratatui_core::text::Span::styled(text, error));
            buffer
        };
        let sent = |from: &Buffer, to: &Buffer| drawn(from.diff(to).into_iter());
        let (ten, eleven) = (picture("for 10s"), picture("for 11s"));
        assert_eq!(sent(&ten, &ten), "");
        assert_eq!(sent(&ten, &eleven), "\x1b[2;6H\x1b[1m\x1b[31m1\x1b[0m");
        assert_eq!(sent(&ten, &picture("for 21s")), "\x1b[2;5H\x1b[1m\x1b[31m21\x1b[0m");
    }
}
