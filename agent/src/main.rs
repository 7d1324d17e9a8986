//! heartsay: one agent per host that knows who is in the cluster and who is
//! alive, and the command line that asks it.

mod api;
mod cli;
mod client;
mod daemon;
mod escape;
mod event_log;
mod group;
mod settings;
mod show;
#[cfg(test)]
#[path = "../tests/skipped/mod.rs"]
mod skipped;
#[allow(unreachable_pub, reason = "the tests read these types too")]
mod types;

fn main() -> std::process::ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == group::KEEPER) {
        return group::keep();
    }
    cli::main()
}
