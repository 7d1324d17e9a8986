//! heartsay: one agent per host that knows who is in the cluster and who is
//! alive, and the command line that asks it.

mod api;
mod clock;
mod driver;
mod metrics;
mod net;
mod notify;
mod run;
mod seeds;
mod settings;
mod store;
mod telemetry;
mod view;

use std::process::ExitCode;

use clap::Parser;

/// Decentralized gossip membership.
#[derive(Debug, Parser)]
#[command(version)]
enum Cli {
    /// Run the agent.
    Agent(settings::AgentArgs),
}

fn main() -> ExitCode {
    let Cli::Agent(args) = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("heartsay: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run::run(args)).unwrap_or_else(|e| {
        eprintln!("heartsay: {e:#}");
        ExitCode::FAILURE
    });
    // Name look-ups may hang for long; nobody waits for them any more.
    runtime.shutdown_background();
    code
}
