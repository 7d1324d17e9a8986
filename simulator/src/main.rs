//! `heartsay-sim`: run scenarios, replay seeds, search for failures, compare builds.
//!
//! Exit codes: 0 all well; 1 a check or a budget was broken, or an error; 2 wrong usage.

mod cli;

use std::process::ExitCode;

/// Thousands of nodes share one heap, which costs a fifth of a run with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
