//! `agent`: the daemon itself.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::start;
use crate::settings::AgentArgs;

/// Arguments of `agent`.
#[derive(Args)]
pub(super) struct Agent {
    #[command(flatten)]
    args: AgentArgs,
    /// Stop when stdin ends. A parent that keeps the other end cannot leave an agent behind,
    /// however it dies itself.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl Agent {
    /// Runs until told to stop.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.exit_with_stdin {
            std::thread::Builder::new().name("stdin".to_owned()).spawn(stop_with_stdin)?;
        }
        start::run(self.args)
    }
}

fn stop_with_stdin() {
    // Whether it ends or breaks is the same.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    let _ = kill(Pid::this(), Signal::SIGTERM);
    std::thread::sleep(GOOD_BYE);
    std::process::exit(1);
}

/// Above the longest good-bye of any profile; after that no member listens any more.
const GOOD_BYE: Duration = Duration::from_secs(20);
