//! heartsay: one agent per host that knows who is in the cluster and who is
//! alive, and the command line that asks it.

mod api;
mod cli;
mod client;
mod clock;
mod driver;
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
mod store;
mod telemetry;
mod view;

fn main() -> std::process::ExitCode {
    cli::main()
}
