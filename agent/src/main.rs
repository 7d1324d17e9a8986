//! heartsay: one agent per host that knows who is in the cluster and who is
//! alive, and the command line that asks it.

mod advertise;
mod api;
mod cli;
mod client;
mod clock;
mod driver;
mod escape;
mod group;
mod hooks;
mod log;
mod metrics;
mod net;
mod notify;
mod readiness;
mod run;
mod seeds;
mod settings;
mod srv;
mod store;
mod telemetry;
mod view;

fn main() -> std::process::ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == group::KEEPER) {
        return group::keep();
    }
    cli::main()
}
