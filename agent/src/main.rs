//! heartsay: one agent per host that knows who is in the cluster and who is
//! alive, and the command line that asks it.

mod api;
mod chance;
mod cli;
mod daemon;
mod doctor;
mod event_log;
mod export;
mod falls;
mod file;
mod group;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod last_words;
mod load;
mod names;
mod queue;
mod recorder;
mod services;
mod settings;
mod show;
#[cfg(test)]
#[path = "../tests/skipped/mod.rs"]
mod skipped;
mod task;
mod watchdog;
mod web;
mod words;

use heartsay_client::{self as client, escape, types};
use last_words::guardian;

fn main() -> std::process::ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(word) if word == group::KEEPER => {
            group::keep(words.next().is_some_and(|word| word == group::HOLDS))
        }
        Some(word) if word == guardian::GUARDIAN => guardian::stand(words.next().as_deref()),
        _ => cli::main(),
    }
}
