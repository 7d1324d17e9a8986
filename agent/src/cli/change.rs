//! `join`, `leave`, `restart`, `forget`, `testify`, `tags`, `reload`: what changes something.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::completions::MEMBER;
use super::exit::{Exit, say};
use super::members::key_value;
use super::output::{Output, count, list};
use super::why::unknown;
use crate::client::Client;
use crate::types::{
    ForgetRequest, JoinRequest, JoinResponse, LeaveResponse, Member, Reloaded, RestartRequest, SelfInfo,
    TagsRequest, TestifiedState, TestifyRequest,
};

/// Arguments of `join`.
#[derive(Args)]
pub(super) struct Join {
    /// Agents to dial.
    #[arg(required = true, value_name = "HOST[:PORT]")]
    seeds: Vec<String>,
    /// How long to wait for one of them to answer; 0s does not wait.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5s", value_name = "TIME")]
    timeout: Duration,
}

impl Join {
    /// Dials, and waits for the first that answers.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let wish = JoinRequest { seeds: self.seeds, timeout_seconds: self.timeout.as_secs_f64() };
        let answer = client.post("/v1/join", &wish, self.timeout).await?;
        let done: JoinResponse = client.read(&answer)?;
        output.show(&answer, |done: JoinResponse| {
            if done.joined {
                format!("joined: {} known", count(done.members, "member", "members"))
            } else {
                format!("dialled {}", list(&done.dialled))
            }
        })?;
        if !done.joined && !self.timeout.is_zero() {
            say(&format!(
                "none of {} answered within {}; to have it dialled for ever, make it a seed of the agent",
                list(&wish.seeds),
                humantime::format_duration(self.timeout)
            ));
            return Ok(Exit::TimeUp);
        }
        Ok(Exit::Done)
    }
}

/// `heartsay leave`.
pub(super) async fn leave(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let answer = client.post("/v1/leave", &json!({}), LEAVE).await?;
    client.read::<LeaveResponse>(&answer)?;
    output.show(&answer, |done: LeaveResponse| match done.asked {
        0 => "left; there was nobody to tell".to_owned(),
        asked => format!("left; {} of {} confirmed it", done.acknowledged, count(asked, "peer", "peers")),
    })?;
    Ok(Exit::Done)
}

/// Arguments of `restart`.
#[derive(Args)]
pub(super) struct Restart {
    /// How long the others wait before they look for it, 60s at most; and we, until it is back.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "15s", value_name = "TIME")]
    within: Duration,
    /// Do not wait until it is back.
    #[arg(long)]
    no_wait: bool,
}

impl Restart {
    /// Has the agent stop, and waits for its next life.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let began = Instant::now();
        let before = client.me().await?;
        let wish = RestartRequest { within_seconds: self.within.as_secs_f64() };
        let answer = client.post("/v1/restart", &wish, LEAVE).await?;
        client.read::<LeaveResponse>(&answer)?;
        let back = self.no_wait || self.is_back(client, &before).await;
        if !back {
            say(&format!(
                "it is not back within {}: whoever started it does not start it again, or the new one does not find the \
                 others; see its log",
                humantime::format_duration(self.within)
            ));
            return Ok(Exit::TimeUp);
        }
        output.show(&answer, |done: LeaveResponse| {
            let told =
                format!("{} of {} confirmed it", done.acknowledged, count(done.asked, "peer", "peers"));
            if self.no_wait {
                format!("restarting; {told}")
            } else {
                format!("restarted, back after {:.1} s; {told}", began.elapsed().as_secs_f64())
            }
        })?;
        Ok(Exit::Done)
    }

    /// Whether a later life answers in time, and has found the others if there were any.
    async fn is_back(&self, client: &Client, before: &SelfInfo) -> bool {
        let later = async {
            loop {
                if let Ok(now) = client.read_within::<SelfInfo>("/v1/self", LOOK * 10).await
                    && now.member.generation > before.member.generation
                    && (now.joined || !before.joined)
                {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(self.within, later).await.is_ok()
    }
}

/// `heartsay reload`.
pub(super) async fn reload(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let answer = client.post("/v1/reload", &json!({}), Duration::ZERO).await?;
    client.read::<Reloaded>(&answer)?;
    output.show(&answer, |Reloaded { changed, restart }: Reloaded| {
        let taken = match changed.as_slice() {
            [] => "nothing that a reload takes over has changed".to_owned(),
            changed => format!("taken over: {}", changed.join(", ")),
        };
        let later = match restart.as_slice() {
            [] => String::new(),
            restart => format!("\nchanged too, but needs a restart: {}", restart.join(", ")),
        };
        taken + &later
    })?;
    Ok(Exit::Done)
}

/// Arguments of `forget`.
#[derive(Args)]
pub(super) struct Forget {
    /// Members that are down or have left.
    #[arg(required = true, value_hint = MEMBER, value_name = "NAME")]
    names: Vec<String>,
}

impl Forget {
    /// Drops each of them everywhere; one that cannot be dropped keeps none of the others.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let (mut ended, several) = (Exit::Done, self.names.len() > 1);
        for name in self.names {
            let wish = ForgetRequest { name };
            match client.post("/v1/forget", &wish, Duration::ZERO).await {
                Ok(answer) => {
                    output.show(&answer, |_: IgnoredAny| format!("{} is forgotten", wish.name))?;
                }
                Err(error) if several && (error.is_not_found() || error.is_conflict()) => {
                    say(&format!("{:#}", unknown(client, &wish.name, error).await));
                    ended = Exit::Failed;
                }
                Err(error) => return Err(unknown(client, &wish.name, error).await),
            }
        }
        Ok(ended)
    }
}

/// Arguments of `testify`.
#[derive(Args)]
pub(super) struct Testify {
    /// The member.
    #[arg(value_hint = MEMBER)]
    name: String,
    /// What is known of it: its machine is off, or gone.
    state: Testified,
    /// Who says so: one of `trusted_sources`.
    #[arg(long)]
    source: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Testified {
    Dead,
}

impl Testify {
    /// Hands on what a source outside the cluster says.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let Testified::Dead = self.state;
        let wish = TestifyRequest { name: self.name, state: TestifiedState::Dead, source: self.source };
        let answer = match client.post("/v1/testify", &wish, Duration::ZERO).await {
            Ok(answer) => answer,
            Err(error) => return Err(unknown(client, &wish.name, error).await),
        };
        output.show(&answer, |_: IgnoredAny| {
            let TestifyRequest { name, source, .. } = &wish;
            format!("The members are told that {source} says so; {name} is down as soon as its witnesses get no answer.")
        })?;
        Ok(Exit::Done)
    }
}

/// Arguments of `tags`.
#[derive(Args)]
pub(super) struct Tags {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Subcommand)]
enum Change {
    /// Set tags; others stay as they are.
    Set {
        /// What to set.
        #[arg(required = true, value_parser = key_value, value_name = "KEY=VALUE")]
        tags: Vec<(String, String)>,
    },
    /// Delete tags.
    Delete {
        /// What to delete.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
}

impl Tags {
    /// Shows this member's tags, after changing them if so asked.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let answer = match self.change {
            None => {
                let mut me = client.get("/v1/self").await?;
                me.get_mut("member").map(Value::take).unwrap_or_default()
            }
            Some(change) => {
                let wish = match change {
                    Change::Set { tags } => {
                        TagsRequest { set: tags.into_iter().collect(), ..Default::default() }
                    }
                    Change::Delete { keys } => TagsRequest { delete: keys, ..Default::default() },
                };
                client.post("/v1/tags", &wish, Duration::ZERO).await?
            }
        };
        client.read::<Member>(&answer)?;
        output.show(&answer, |member: Member| {
            member.tags.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("\n")
        })?;
        Ok(Exit::Done)
    }
}

/// Between two looks whether it is back.
const LOOK: Duration = Duration::from_millis(100);
/// Above the longest good-bye of any profile.
const LEAVE: Duration = Duration::from_secs(20);
