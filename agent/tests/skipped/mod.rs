//! A test that this machine does not allow says so where it is seen: what a test prints is shown only if it fails.

use std::fmt::Display;
use std::io::Write;

/// One line for the reader and for the summary of `scripts/check.sh`.
pub(crate) fn skipped(why: impl Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not `eprintln`, which the test harness catches.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}
