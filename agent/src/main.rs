//! heartsay: one agent per host that knows who is in the cluster and who is
//! alive, and the command line that asks it.

mod api {
    #[allow(unreachable_pub, reason = "shared")]
    pub(crate) mod types;
}
mod cli;
mod client;

fn main() -> std::process::ExitCode {
    cli::main()
}
