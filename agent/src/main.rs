//! heartsay: one agent per host that knows who is in the cluster and who is
//! alive, and the command line that asks it.

mod api;
mod cli;
mod daemon;
mod doctor;
mod event_log;
mod export;
mod file;
mod group;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod names;
mod services;
mod settings;
mod show;
#[cfg(test)]
#[path = "../tests/skipped/mod.rs"]
mod skipped;
mod watchdog;
mod words;

use heartsay_client::{self as client, escape, types};

fn main() -> std::process::ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == group::KEEPER) {
        return group::keep(words.next().is_some_and(|word| word == group::HOLDS));
    }
    cli::main()
}
