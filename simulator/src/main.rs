//! `heartsay-sim`: run scenarios, replay seeds, search for failures, compare builds.
//!
//! Exit codes: 0 all well; 1 a check or a budget was broken, or an error; 2 wrong usage.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
