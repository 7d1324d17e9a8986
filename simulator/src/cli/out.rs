//! Standard output, whose reader may go away: `heartsay-sim list | head -1` is no failure.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Stdout, Write};
use std::process::exit;

/// `println!` that ends the program quietly when its reader has gone.
macro_rules! say {
    () => { say!("") };
    ($($word:tt)*) => { $crate::cli::out::line(format_args!($($word)*)) };
}

/// `print!` that ends the program quietly when its reader has gone.
macro_rules! put {
    ($($word:tt)*) => { $crate::cli::out::write(format_args!($($word)*)) };
}

/// Standard output that ends the program quietly when its reader has gone.
pub(super) struct Out(Stdout);

impl Out {
    pub(super) fn new() -> Self {
        Self(io::stdout())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_closed(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_closed(self.0.flush())
    }
}

pub(super) fn line(words: Arguments) {
    write(format_args!("{words}\n"));
}

pub(super) fn write(words: Arguments) {
    if let Err(error) = Out::new().write_fmt(words) {
        // A full disk, say: what was asked for cannot be had.
        eprintln!("heartsay-sim: cannot write: {error}");
        exit(1);
    }
}

fn unless_closed<T>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        other => other,
    }
}
