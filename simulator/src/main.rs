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

/// As rosters grow, memory that was given back is soon wanted again, and to get it anew, cleared, is dear: a run of 3,000 members
/// spends 5.5 of 69 s in the kernel, and 4.5 of 66 s when nothing is given back. Nor is it gone through for what might be given
/// back, which with 10,000 members took 8 % of the time in which they form.
#[allow(unsafe_code, reason = "the options have no safe names")]
fn keep_memory() {
    /// Of mimalloc.h; the bindings have no names for them.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    const GENERIC_COLLECT: libmimalloc_sys::mi_option_t = 34;
    for (option, value) in [(PURGE_DELAY, -1), (GENERIC_COLLECT, 1_000_000_000)] {
        // SAFETY: sets a number, which anybody may at any time. A default: what the environment says (`MIMALLOC_...`) wins.
        unsafe { libmimalloc_sys::mi_option_set_default(option, value) };
    }
}
