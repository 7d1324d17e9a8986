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

/// Memory is never given back. As rosters grow it is soon wanted again, and the kernel clears what it hands out: a run of 3,000
/// members spends 5.5 of 69 s there, and 4.5 of 66 s this way. The allocator's search for what it might give back is off too:
/// with 10,000 members it took 8 % of the time in which they form.
#[allow(unsafe_code, reason = "the options have no safe names")]
fn keep_memory() {
    /// Of mimalloc.h; the bindings have no names for them.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    const GENERIC_COLLECT: libmimalloc_sys::mi_option_t = 34;
    for (option, value) in [(PURGE_DELAY, -1), (GENERIC_COLLECT, 1_000_000_000)] {
        // SAFETY: sets a number, which is allowed at any time. A default: what the environment says (`MIMALLOC_...`) wins.
        unsafe { libmimalloc_sys::mi_option_set_default(option, value) };
    }
}
