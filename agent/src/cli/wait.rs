//! `wait`: sleeps on the event stream until conditions hold.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::Instant;

use super::condition::{All, Condition, Picture};
use super::exit::{Exit, say};
use super::output::{Output, span};
use super::reader;
use super::status::{NO_ELECTORATE, has_electorate};
use super::why::nearest;
use crate::client::{Client, ClientError};
use crate::escape::escape;
use crate::types::{NamedService, WatchLine};

/// Arguments of `wait`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Wait {
    /// What to wait for, see below. Several, joined by && or given repeatedly, must hold together.
    #[arg(long = "for", required = true, value_name = "CONDITION")]
    conditions: Vec<All>,
    /// How long to wait, also for the agent itself to appear. Exit code 124 when it has passed. With 0s the agent is asked
    /// once.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "60s", value_name = "TIME")]
    timeout: Duration,
}

impl Wait {
    /// Waits.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let conditions: Vec<Condition> = self.conditions.into_iter().flat_map(|all| all.0).collect();
        let started = Instant::now();
        let once = self.timeout.is_zero();
        let patience = if once { ONE_ANSWER } else { self.timeout };
        let mut waiting =
            Waiting { client, conditions, once, picture: None, trouble: None, told: BTreeSet::new() };
        let met = tokio::select! {
            met = tokio::time::timeout(patience, waiting.until_met()) => met.unwrap_or(Ok(false))?,
            // Not 0, which says that it holds.
            () = reader::gone() => return Ok(Exit::Code(ExitCode::from(READER_GONE))),
        };
        let waited = started.elapsed().as_secs_f64();
        waiting.report(met, waited, output)?;
        Ok(if met { Exit::Done } else { Exit::TimeUp })
    }
}

struct Waiting<'a> {
    client: &'a Client,
    conditions: Vec<Condition>,
    /// Whether the first answer is the last.
    once: bool,
    /// `None` until an agent has shown one.
    picture: Option<Picture>,
    /// Why there is no agent just now.
    trouble: Option<ClientError>,
    /// Names that no member has, as was said already.
    told: BTreeSet<String>,
}

impl Waiting<'_> {
    /// Follows the agent, over its restarts, until everything holds. `false`: it was asked once, and not everything did.
    async fn until_met(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.follow().await.map_err(anyhow::Error::downcast::<ClientError>) {
                Ok(met) => return Ok(met),
                Err(Ok(error)) if error.may_pass() => self.trouble = Some(error),
                Err(Ok(error)) => return Err(error.into()),
                Err(Err(error)) => return Err(error),
            }
            if self.once {
                return Ok(false);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow(&mut self) -> anyhow::Result<bool> {
        let mut watch = self.client.watch("").await?;
        loop {
            let line = watch.line().await?;
            let line: WatchLine = watch.read(&line)?;
            self.trouble = None;
            if matches!(line.kind.as_str(), "snapshot" | "self" | "idle") {
                self.ask_for_the_rest().await?;
            }
            if !matches!(line.kind.as_str(), "idle" | "lagged" | "link" | "quorum") {
                self.ask_for_services().await?;
            }
            let picture = self.picture.get_or_insert_default();
            picture.view.take(line);
            if self.conditions.iter().all(|c| c.holds(picture)) {
                return Ok(true);
            }
            self.say_what_cannot_be()?;
            if self.once {
                return Ok(false);
            }
        }
    }

    /// Quorum and joining are no part of a snapshot. Asked after the stream is open, so nothing falls between.
    async fn ask_for_the_rest(&mut self) -> Result<(), ClientError> {
        let need_no_more = |c: &Condition| matches!(c, Condition::Count { .. } | Condition::Healthy { .. });
        if self.conditions.iter().all(need_no_more) {
            return Ok(());
        }
        let me = self.client.me().await?;
        let picture = self.picture.get_or_insert_default();
        picture.view.joined = me.joined;
        picture.view.quorum = Some(me.quorum);
        Ok(())
    }

    /// Services, too: how many do well hangs on what each says and on each member, and the agent has counted it already.
    async fn ask_for_services(&mut self) -> Result<(), ClientError> {
        for condition in &self.conditions {
            let Condition::Healthy { service, .. } = condition else { continue };
            let asked = self.client.get(&format!("/v1/services/{service}?healthy")).await;
            let healthy = match asked {
                Ok(answer) => self.client.read::<NamedService>(&answer)?.service.healthy,
                Err(error) if error.is_not_found() => 0,
                Err(error) => return Err(error),
            };
            self.picture.get_or_insert_default().healthy.insert(service.clone(), healthy);
        }
        Ok(())
    }

    /// An error for what no event can bring, a remark on what only a stranger can bring.
    fn say_what_cannot_be(&mut self) -> anyhow::Result<()> {
        let Some(Picture { view: picture, .. }) = &self.picture else { return Ok(()) };
        for condition in &self.conditions {
            let name = match (condition, &picture.quorum) {
                (Condition::Quorum, Some(quorum)) if !has_electorate(quorum) => {
                    anyhow::bail!("quorum cannot be waited for: {NO_ELECTORATE}");
                }
                (Condition::Fenced(_), Some(quorum)) if !quorum.fence => {
                    anyhow::bail!(
                        "{condition} cannot be waited for: this agent keeps no fence; set \"fence\""
                    );
                }
                (Condition::Member { name, .. } | Condition::Fenced(name), _) => name,
                (
                    Condition::Count { .. }
                    | Condition::Healthy { .. }
                    | Condition::Quorum
                    | Condition::Joined,
                    _,
                ) => continue,
            };
            // Before the whole view is there, no name is unknown for certain.
            if picture.joined && !picture.members.contains_key(name) && self.told.insert(name.clone()) {
                let nearest = nearest(name, picture.members.keys());
                let meant = nearest.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
                say(&format!("no member is called {name}, so this waits for one that is{meant}"));
            }
        }
        Ok(())
    }

    fn report(&self, met: bool, waited: f64, output: &Output) -> anyhow::Result<()> {
        let holds = |c: &Condition| self.picture.as_ref().is_some_and(|picture| c.holds(picture));
        // Without an answer of the agent, nothing is known, not even that it is not so.
        let known =
            |c: &Condition| self.picture.as_ref().map_or("unknown".to_owned(), |picture| c.now(picture));
        let each: Vec<_> = self
            .conditions
            .iter()
            .map(|c| json!({ "for": c.to_string(), "met": holds(c), "now": known(c) }))
            .collect();
        let answer = json!({ "met": met, "waited_seconds": waited, "conditions": each });
        // For people, what the agent says of quorum is one line.
        let now =
            || self.conditions.iter().map(|c| escape(&known(c)).into_owned()).collect::<Vec<_>>().join(", ");
        if met || !output.is_text() {
            output.show(&answer, |_: IgnoredAny| format!("{} after {}", now(), span(waited)))?;
        }
        if !met {
            let state = match (&self.trouble, &self.picture) {
                (Some(trouble), _) => trouble.to_string(),
                (None, Some(_)) => now(),
                (None, None) => format!("no answer from {}", self.client.address()),
            };
            say(&format!("time is up after {}: {state}", span(waited)));
        }
        Ok(())
    }
}

const HELP: &str = "\
Conditions:
  alive>=3             how many members have a status: alive, suspect, down or
                       left; all: members. Compared by >=  <=  ==  >  <
  alive{role=web}>=3   the same of those with this tag; {role}: with any value;
                       {role=web,rack=1}: with both. No value holds , or }
  healthy(postgres)>=2 how many instances of a service are passing, on members
                       that are alive
  quorum               this agent stands on the side that may act. An error
                       without an electorate
  joined               this agent has had its first complete view
  n3=down              a member has a status. member:n3=down, where n3 could be
                       taken for a word of ours
  fenced(n3)           the lease that a member had has run out for certain. An
                       error without a fence
Quote them: the shell takes > for itself. A name that no member has, once this agent has joined, is told on \
standard error; the waiting goes on, also over a restart of the agent.

Exit codes:
  0    all of them hold
  1    one of them cannot
  3    the agent's socket cannot be used, for instance without permission
  124  not within --timeout
  141  the reader of the output has gone before";

/// What the one answer may take where no waiting is wanted.
const ONE_ANSWER: Duration = Duration::from_secs(10);
/// As of a program that SIGPIPE has ended.
const READER_GONE: u8 = 141;
/// How often a missing agent is looked for. Short beside its start, long beside a connect.
const RETRY: Duration = Duration::from_millis(100);
