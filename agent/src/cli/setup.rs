//! `completions` and `keygen`: what needs no agent.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, CommandFactory as _};
use serde_json::json;

use super::Cli;
use super::exit::Exit;
use super::output::{Output, print};

/// Arguments of `completions`.
#[derive(Args)]
pub(super) struct Completions {
    /// For which shell.
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints the script.
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "heartsay", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}

/// Arguments of `keygen`.
#[derive(Args)]
pub(super) struct Keygen {
    /// Write the key to a new file that only its owner can read; a file that exists is never touched.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Keygen {
    /// Makes 32 random bytes, in base64.
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Exit> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).context("the system has no randomness to give")?;
        let key = STANDARD.encode(key);
        let Some(path) = self.out else {
            output.show(&json!({ "key": key }), || key.clone())?;
            return Ok(Exit::Done);
        };
        let at = || path.display().to_string();
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(at)?;
        writeln!(file, "{key}").and_then(|()| file.sync_all()).with_context(at)?;
        output.show(&json!({ "file": path }), || format!("a new key is in {}", at()))?;
        Ok(Exit::Done)
    }
}
