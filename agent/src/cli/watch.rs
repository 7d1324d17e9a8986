//! `watch`: what happens, as it happens.

use std::process::Stdio;

use clap::Args;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::exit::{Exit, say};
use super::output::{Format, Output, count, print};
use crate::api::types::WatchLine;
use crate::client::{Client, ClientError};

/// Arguments of `watch`.
#[derive(Args)]
pub(super) struct Follow {
    /// Resume after this index instead of beginning with a snapshot.
    #[arg(long, value_name = "INDEX")]
    since: Option<u64>,
    /// Run this shell command for each event, one at a time: the event's JSON on its stdin, and
    /// HEARTSAY_EVENT, HEARTSAY_INDEX, HEARTSAY_NAME, HEARTSAY_STATUS, HEARTSAY_CHANGED in its environment.
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
}

impl Follow {
    /// Follows until the agent or the reader goes away.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let mut watch = match client.watch(self.since).await {
            Err(ClientError::Refused(problem)) if problem.status == GONE => {
                anyhow::bail!("{}\nStart again without --since to get a snapshot first.", problem.detail)
            }
            other => other?,
        };
        loop {
            let raw = watch.line().await?;
            let line: WatchLine = watch.read(&raw)?;
            match output.format {
                Format::Table => print(&sentence(&line, output))?,
                Format::Json => print(&serde_json::to_string_pretty(&watch.read::<Value>(&raw)?)?)?,
                Format::Jsonl => print(&String::from_utf8_lossy(&raw))?,
                Format::Yaml => {
                    print(&format!("---\n{}", serde_saphyr::to_string(&watch.read::<Value>(&raw)?)?))?;
                }
            }
            if let Some(command) = &self.exec
                && !matches!(line.kind.as_str(), "idle" | "lagged")
            {
                execute(command, &line, &raw).await;
            }
        }
    }
}

fn sentence(line: &WatchLine, output: &Output) -> String {
    let what = match line.kind.as_str() {
        // Signs of life of the stream itself are for programs.
        "idle" => return String::new(),
        "snapshot" => {
            let members = line.members.as_deref().unwrap_or_default();
            let alive = members.iter().filter(|m| m.status == "alive").count();
            format!("snapshot: {}, {alive} alive", count(members.len(), "member", "members"))
        }
        "lagged" => "lagged: events were missed; a new snapshot follows".to_owned(),
        "self" => "this agent".to_owned(),
        "quorum" => match &line.quorum {
            Some(quorum) => super::status::quorum_text(quorum, output),
            None => "quorum".to_owned(),
        },
        kind => {
            let verb = kind.strip_prefix("member-").unwrap_or(kind);
            let name = line.name.as_deref().unwrap_or("this agent");
            match line.status.as_deref() {
                Some(status) if status != verb => {
                    format!("{name} {verb}: {}", output.status(status))
                }
                _ if line.fenced == Some(true) => format!("{name} {}, fenced", output.status(verb)),
                _ => format!("{name} {}", output.status(verb)),
            }
        }
    };
    let changed = match line.changed.as_deref() {
        Some(keys) if !keys.is_empty() => format!(": {}", keys.join(", ")),
        _ => String::new(),
    };
    let by = match line.by.as_deref() {
        Some(by) if !by.is_empty() => format!(", by {}", by.join(",")),
        _ => String::new(),
    };
    let reason = match line.reason.as_deref() {
        Some(reason) if !reason.is_empty() => format!(" ({reason})"),
        _ => String::new(),
    };
    format!("{}  #{}  {what}{changed}{by}{reason}", line.time, line.index)
}

/// Runs a user's command for one event. Its failure is told and changes nothing.
async fn execute(command: &str, line: &WatchLine, raw: &[u8]) {
    let started = Command::new("/bin/sh")
        .args(["-c", command])
        .env("HEARTSAY_EVENT", &line.kind)
        .env("HEARTSAY_INDEX", line.index.to_string())
        .env("HEARTSAY_NAME", line.name.as_deref().unwrap_or_default())
        .env("HEARTSAY_STATUS", line.status.as_deref().unwrap_or_default())
        .env("HEARTSAY_CHANGED", line.changed.as_deref().unwrap_or_default().join(" "))
        .stdin(Stdio::piped())
        .spawn();
    let ended = async {
        let mut child = started?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its stdin is in its right.
            let _ = stdin.write_all(raw).await;
        }
        child.wait().await
    };
    match ended.await {
        Ok(status) if status.success() => {}
        Ok(status) => say(&format!("the command for #{} ended with {status}", line.index)),
        Err(error) => say(&format!("the command for #{} could not run: {error}", line.index)),
    }
}

/// The agent no longer remembers that far back.
const GONE: u16 = 410;
