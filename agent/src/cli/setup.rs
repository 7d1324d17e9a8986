//! `config` and `keygen`: what belongs to the setting up.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, FromArgMatches as _, Subcommand};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::exit::Exit;
use super::output::{Output, print};
use super::table::finish;
use crate::settings::{self, AgentArgs, Shown};

/// Verbs of `config`.
#[derive(Subcommand)]
pub(super) enum Config {
    /// Print a file with every setting, its meaning and its default.
    Default,
    /// Show what `heartsay agent` with these flags would use, and where each value comes from.
    Show(AgentArgs),
    /// Check a file, or the installed ones.
    Check {
        /// The file; without it, those that the agent would read.
        file: Option<PathBuf>,
    },
}

impl Config {
    /// Answers.
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Exit> {
        match self {
            Self::Default => print(&settings::default_toml())?,
            Self::Show(args) => {
                let shown = settings::show(&args)?;
                let answer = serde_json::to_value(&shown)?;
                output.show(&answer, |shown: Vec<Shown>| {
                    let mut table = output.table(Some(&["SETTING", "VALUE", "FROM"]));
                    for one in &shown {
                        table.add_row([one.key.as_str(), one.value.as_deref().unwrap_or("-"), &one.origin]);
                    }
                    finish(&table)
                })?;
            }
            Self::Check { file } => {
                let warnings = settings::check(&reading(file)?)?;
                output.show(&json!({ "ok": true, "warnings": warnings }), |Checked { warnings }| {
                    let warnings = warnings.iter().map(|w| format!("\nwarning: {w}"));
                    format!("the settings are good{}", warnings.collect::<String>())
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

#[derive(Deserialize)]
struct Checked {
    warnings: Vec<String>,
}

/// Arguments of an agent that is told nothing but its file.
fn reading(file: Option<PathBuf>) -> anyhow::Result<AgentArgs> {
    let command = AgentArgs::augment_args(clap::Command::new("check").no_binary_name(true));
    let flag = file.map(|file| ["--config".into(), file.into_os_string()]);
    let matches = command.try_get_matches_from(flag.into_iter().flatten())?;
    Ok(AgentArgs::from_arg_matches(&matches)?)
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
            output.show(&json!({ "key": key }), |_: IgnoredAny| key.clone())?;
            return Ok(Exit::Done);
        };
        let at = || path.display().to_string();
        let refused = || match path.exists() {
            true => format!("{} is there already, and stays; give another --out", at()),
            false => at(),
        };
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(refused)?;
        writeln!(file, "{key}").and_then(|()| file.sync_all()).with_context(at)?;
        output.show(&json!({ "file": path }), |_: IgnoredAny| format!("a new key is in {}", at()))?;
        Ok(Exit::Done)
    }
}
