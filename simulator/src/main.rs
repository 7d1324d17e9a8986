//! `heartsay-sim`: run scenarios, replay seeds, search for failures, compare builds.
//!
//! Exit codes: 0 all well; 1 a check or a budget was broken, or an error; 2 wrong usage.

mod cli;

use std::process::ExitCode;

/// Thousands of nodes share one heap, which costs a fifth of a run with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_memory();
    cli::main()
}

/// Memory that was given back is soon wanted again, as rosters grow; and to get it anew, cleared, is dear (a run of 3,000
/// members spends 5.5 of 69 s in the kernel, and 4.5 of 66 s when nothing is given back; the peak is the same).
#[allow(unsafe_code, reason = "the option has no safe name")]
fn keep_memory() {
    /// Of mimalloc.h; the bindings have no name for it.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets a number, which anybody may at any time. A default: `MIMALLOC_PURGE_DELAY` of the environment wins.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, -1) };
}
