//! `wait`: sleeps on the event stream until conditions hold.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::Instant;

use super::condition::{All, Condition, Picture};
use super::exit::{Exit, say};
use super::output::{Format, Output, span};
use crate::api::types::{SelfInfo, WatchLine};
use crate::client::{Client, ClientError};

/// Arguments of `wait`.
#[derive(Args)]
pub(super) struct Wait {
    /// What to wait for: alive>=3 (or suspect, down, left, members; >= <= == > <), quorum,
    /// joined, NAME=down. Several, joined by && or given repeatedly, must hold together.
    #[arg(long = "for", required = true, value_name = "CONDITION")]
    conditions: Vec<All>,
    /// How long to wait, also for the agent itself to appear. Exit code 124 when it has passed.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "60s", value_name = "TIME")]
    timeout: Duration,
}

impl Wait {
    /// Waits.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let conditions: Vec<Condition> = self.conditions.into_iter().flat_map(|all| all.0).collect();
        let started = Instant::now();
        let mut waiting = Waiting { client, conditions, picture: None, trouble: None };
        let met = match tokio::time::timeout(self.timeout, waiting.until_met()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => false,
        };
        let waited = started.elapsed().as_secs_f64();
        waiting.report(met, waited, output)?;
        Ok(if met { Exit::Done } else { Exit::TimeUp })
    }
}

struct Waiting<'a> {
    client: &'a Client,
    conditions: Vec<Condition>,
    /// `None` until an agent has shown one.
    picture: Option<Picture>,
    /// Why there is no agent just now.
    trouble: Option<ClientError>,
}

impl Waiting<'_> {
    /// Follows the agent, over its restarts, until everything holds.
    async fn until_met(&mut self) -> Result<(), ClientError> {
        loop {
            match self.follow().await {
                Ok(()) => return Ok(()),
                Err(error) if error.may_pass() => self.trouble = Some(error),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow(&mut self) -> Result<(), ClientError> {
        let mut watch = self.client.watch(None).await?;
        loop {
            let line = watch.line().await?;
            let line: WatchLine = watch.read(&line)?;
            self.trouble = None;
            if matches!(line.kind.as_str(), "snapshot" | "self" | "idle") {
                self.ask_for_the_rest().await?;
            }
            let picture = self.picture.get_or_insert_default();
            take(picture, line);
            if self.conditions.iter().all(|c| c.holds(picture)) {
                return Ok(());
            }
        }
    }

    /// Quorum and joining are no part of a snapshot. Asked after the stream is open, so nothing falls between.
    async fn ask_for_the_rest(&mut self) -> Result<(), ClientError> {
        if !self.conditions.iter().any(|c| matches!(c, Condition::Quorum | Condition::Joined)) {
            return Ok(());
        }
        let me: SelfInfo = self.client.read(&self.client.get("/v1/self").await?)?;
        let picture = self.picture.get_or_insert_default();
        picture.joined = me.joined;
        picture.quorum = Some(me.quorum);
        Ok(())
    }

    fn report(&self, met: bool, waited: f64, output: &Output) -> anyhow::Result<()> {
        let unknown = Picture::default();
        let picture = self.picture.as_ref().unwrap_or(&unknown);
        let each: Vec<_> = self
            .conditions
            .iter()
            .map(|c| json!({ "for": c.to_string(), "met": c.holds(picture), "now": c.now(picture) }))
            .collect();
        let answer = json!({ "met": met, "waited_seconds": waited, "conditions": each });
        let now = || self.conditions.iter().map(|c| c.now(picture)).collect::<Vec<_>>().join(", ");
        if met || output.format != Format::Table {
            output.show(&answer, || format!("{} after {}", now(), span(waited)))?;
        }
        if !met {
            let state = match (&self.trouble, &self.picture) {
                (Some(trouble), _) => trouble.to_string(),
                (None, Some(_)) => now(),
                (None, None) => format!("no answer from {}", self.client.socket().display()),
            };
            say(&format!("time is up after {}: {state}", span(waited)));
        }
        Ok(())
    }
}

/// Brings a picture up to date with one line of the stream.
fn take(picture: &mut Picture, line: WatchLine) {
    if let Some(members) = line.members {
        let fenced = members.iter().filter(|m| m.fenced == Some(true));
        picture.fenced = fenced.map(|m| m.name.clone()).collect();
        picture.members = members.into_iter().map(|m| (m.name, m.status)).collect();
    }
    if let Some(quorum) = line.quorum {
        picture.quorum = Some(quorum);
    }
    match (line.kind.as_str(), line.name, line.status) {
        ("member-forgotten", Some(name), _) => {
            picture.members.remove(&name);
            picture.fenced.remove(&name);
        }
        (kind, Some(name), Some(status)) if kind.starts_with("member-") => {
            if line.fenced == Some(true) {
                picture.fenced.insert(name.clone());
            } else if status != "down" {
                picture.fenced.remove(&name);
            }
            picture.members.insert(name, status);
        }
        _ => {}
    }
}

/// How often a missing agent is looked for. Short beside its start, long beside a connect.
const RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_follows_the_stream() {
        let mut picture = Picture::default();
        let event = |kind: &str, name: &str, status: &str| WatchLine {
            kind: kind.to_owned(),
            name: Some(name.to_owned()),
            status: Some(status.to_owned()),
            ..WatchLine::default()
        };
        take(&mut picture, event("member-join", "n1", "alive"));
        let fenced = |name: &str| WatchLine { fenced: Some(true), ..event("member-fenced", name, "down") };
        for name in ["n1", "n2", "n3"] {
            take(&mut picture, fenced(name));
        }
        take(&mut picture, event("member-alive", "n3", "alive"));
        take(&mut picture, event("member-forgotten", "n3", "alive"));
        take(&mut picture, event("member-down", "n2", "down"));
        take(&mut picture, event("member-forgotten", "n1", "left"));
        take(&mut picture, WatchLine { kind: "idle".to_owned(), ..WatchLine::default() });
        assert_eq!(picture.members, [("n2".to_owned(), "down".to_owned())].into());
        assert_eq!(picture.fenced, ["n2".to_owned()].into());
    }
}
