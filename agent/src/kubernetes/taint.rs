//! Round and round: look at the agent, take one's turn, look at the nodes, change what is to be changed.
//!
//! Nothing is kept from one round to the next but what saves a question, so a start in the middle of anything is like any other round.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::api::{Api, ApiError};
use super::lease::{Lease, Turn};
use super::node::{EFFECT, Mark, Node, NodeList};
use super::plan::{Plan, Wanted};
use super::sight::{self, Doubt};
use crate::chance;
use crate::client::{Client, Filter, Follow};

/// Puts taints on nodes, and takes them off.
#[derive(Debug)]
pub(crate) struct Tainter {
    api: Api,
    client: Client,
    key: String,
    /// Who we are to the lease; `None`: the name of the agent.
    identity: Option<String>,
    lease: Lease,
    /// Only says what it would do.
    dry_run: bool,
    nodes: Option<Nodes>,
    told: Told,
}

/// The nodes as last read, and as changed since.
#[derive(Debug)]
struct Nodes {
    all: BTreeMap<String, Node>,
    read: Instant,
}

/// What was said already. What goes on is said once.
#[derive(Debug, Default)]
struct Told {
    state: Option<(&'static str, String)>,
    plan: Plan,
    /// By node, what has failed there alone.
    failures: BTreeMap<String, String>,
}

/// One line of what it says.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Event {
    /// RFC 3339.
    pub(crate) time: String,
    /// `lead`, `standby`, `hold`, `taint`, `untaint`, `floor`, `absent` or `failed`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// With `taint`, `untaint` and `failed`: which node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// With `floor` and `absent`: which nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes: Vec<String>,
    /// It was not done, only said.
    pub(crate) dry_run: bool,
    /// One sentence.
    pub(crate) reason: String,
}

/// How one round, or the last of them, went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All that is to be done is done.
    Done,
    /// The agent says nothing that may be acted on.
    Held,
    /// Another instance acts.
    Standby,
    /// No agent answers.
    NoAgent,
    /// The API server does not do what it is asked for.
    Failed,
}

impl Ended {
    /// Both of them.
    fn and(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

type Say<'a> = &'a mut dyn FnMut(Event) -> anyhow::Result<()>;

impl Tainter {
    /// Acts at `api` on what the agent at `client` says.
    pub(crate) fn new(
        api: Api,
        client: Client,
        key: String,
        identity: Option<String>,
        (namespace, length): (String, Duration),
        dry_run: bool,
    ) -> Self {
        let lease = Lease::new(namespace, length);
        Self { api, client, key, identity, lease, dry_run, nodes: None, told: Told::default() }
    }

    /// Looks and acts, round after round, without an end.
    ///
    /// # Errors
    /// What it says cannot be said.
    pub(crate) async fn run(&mut self, say: Say<'_>) -> anyhow::Result<()> {
        let (mut failures, mut follow) = (0_u32, None);
        loop {
            let (ended, wait) = self.round(say).await?;
            failures = if ended == Ended::Failed { failures.saturating_add(1) } else { 0 };
            let pause = match ended {
                Ended::Failed => backoff(failures).max(wait.unwrap_or_default()),
                // There is one that acts, and there may be a thousand that wait.
                Ended::Standby => jitter(self.lease.pause() * 2),
                Ended::Done | Ended::Held | Ended::NoAgent => jitter(self.lease.pause()),
            };
            // Instances that wait sleep on: woken by the same event, all would ask for the lease at the same moment.
            if ended == Ended::Done {
                let follow = follow.get_or_insert_with(|| self.client.follow(Filter::new()));
                let _ = tokio::time::timeout(pause, changed(follow)).await;
                let _ = tokio::time::timeout(GATHER, all(follow)).await;
            } else {
                follow = None;
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Does what is to be done now, and no more.
    ///
    /// # Errors
    /// What it says cannot be said.
    pub(crate) async fn once(&mut self, say: Say<'_>) -> anyhow::Result<Ended> {
        for failures in 1..=TRIES {
            let (ended, wait) = self.round(say).await?;
            if ended != Ended::Failed {
                return Ok(ended);
            }
            if failures < TRIES {
                tokio::time::sleep(backoff(failures).max(wait.unwrap_or_default())).await;
            }
        }
        Ok(Ended::Failed)
    }

    /// On the way out.
    pub(crate) async fn end(&mut self) {
        self.lease.give_back(&self.api).await;
    }

    /// With a failure comes how long the server wants to be left alone.
    async fn round(&mut self, say: Say<'_>) -> anyhow::Result<(Ended, Option<Duration>)> {
        let failed = match self.look(say).await? {
            Ok(ended) => return Ok((ended, None)),
            Err(error) => error,
        };
        // Who knows what has been done.
        self.nodes = None;
        self.state("failed", failed.to_string(), say)?;
        Ok((Ended::Failed, failed.retry_after().map(|wait| wait.min(LONGEST_WAIT))))
    }

    async fn look(&mut self, say: Say<'_>) -> anyhow::Result<Result<Ended, ApiError>> {
        let standing = match sight::standing(&self.client).await {
            Ok(standing) => standing,
            Err(doubt) => return self.hold(doubt, say).await.map(Ok),
        };
        let mut until = standing.until;
        if !self.dry_run {
            let me = self.identity.as_ref().unwrap_or(&standing.name);
            match self.lease.turn(&self.api, me).await {
                Ok(Turn::Ours(ours)) => until = until.min(ours),
                Ok(Turn::Others(holder)) => {
                    self.nodes = None;
                    self.told.plan = Plan::default();
                    self.state("standby", format!("{holder} acts"), say)?;
                    return Ok(Ok(Ended::Standby));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        let wanted = match sight::wanted(&self.client).await {
            Ok(wanted) => wanted,
            Err(doubt) => return self.hold(doubt, say).await.map(Ok),
        };
        self.settle(&wanted, until, say).await
    }

    /// What there is, is kept; another one may act.
    async fn hold(&mut self, doubt: Doubt, say: Say<'_>) -> anyhow::Result<Ended> {
        self.nodes = None;
        self.told.plan = Plan::default();
        self.state("hold", format!("{}; the taints stay as they are", doubt.why), say)?;
        self.lease.give_back(&self.api).await;
        Ok(if doubt.silent { Ended::NoAgent } else { Ended::Held })
    }

    /// Makes the nodes as they are wanted, until then.
    async fn settle(
        &mut self,
        wanted: &Wanted,
        until: Instant,
        say: Say<'_>,
    ) -> anyhow::Result<Result<Ended, ApiError>> {
        let known = self.nodes.as_ref().filter(|nodes| nodes.read.elapsed() < RELIST);
        let plan = known.map(|nodes| Plan::of(&marks(nodes, &self.key), wanted));
        // Nothing is changed by what was known before.
        if !plan.is_some_and(|plan| plan.is_empty() || (self.dry_run && plan == self.told.plan)) {
            match list(&self.api).await {
                Ok(nodes) => self.nodes = Some(nodes),
                Err(error) => return Ok(Err(error)),
            }
        }
        let why = if self.dry_run { "dry run: nothing is changed" } else { "this instance acts" };
        self.state("lead", why.to_owned(), say)?;

        let off = self.plan(wanted).off;
        if self.dry_run {
            self.tell_of(&self.plan(wanted), wanted, say)?;
            return Ok(Ok(Ended::Done));
        }
        let mut ended = Ended::Done;
        for name in off {
            let changed = self.change(&name, Mark::Ours, until).await;
            match self.tell(&name, changed, ("untaint", freed()), say)? {
                Ok(now) => ended = ended.and(now),
                Err(error) => return Ok(Err(error)),
            }
        }
        // Anew, by what has come off indeed.
        let plan = self.plan(wanted);
        for name in &plan.on {
            let changed = self.change(name, Mark::Free, until).await;
            match self.tell(name, changed, ("taint", downed(wanted, name)), say)? {
                Ok(now) => ended = ended.and(now),
                Err(error) => return Ok(Err(error)),
            }
        }
        self.tell_of(&Plan { off: Vec::new(), on: Vec::new(), ..plan }, wanted, say)?;
        Ok(Ok(ended))
    }

    /// How a change went: an error comes back if it is not of this node alone.
    fn tell(
        &mut self,
        name: &str,
        changed: Result<bool, ApiError>,
        (kind, reason): (&'static str, String),
        say: Say<'_>,
    ) -> anyhow::Result<Result<Ended, ApiError>> {
        let error = match changed {
            Ok(changed) => {
                if changed {
                    say(self.event(kind, name, reason))?;
                }
                self.told.failures.remove(name);
                return Ok(Ok(Ended::Done));
            }
            Err(error) if error.is_about_this_alone() => error.to_string(),
            Err(error) => return Ok(Err(error)),
        };
        if self.told.failures.get(name) != Some(&error) {
            say(self.event("failed", name, error.clone()))?;
            self.told.failures.insert(name.to_owned(), error);
        }
        Ok(Ok(Ended::Failed))
    }

    /// Turns a node that has `from` around; `false`: somebody else has changed it meanwhile, so that there is nothing to turn.
    async fn change(&mut self, name: &str, from: Mark, until: Instant) -> Result<bool, ApiError> {
        let path = format!("/api/v1/nodes/{name}");
        let Some(nodes) = &mut self.nodes else { return Ok(false) };
        for _ in 0..TRIES {
            let Some(node) = nodes.all.get(name).filter(|node| node.mark(&self.key) == from) else {
                return Ok(false);
            };
            let change = match from {
                Mark::Ours => node.untainted(&self.key),
                Mark::Free | Mark::Others => node.tainted(&self.key, &seconds_time()),
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ApiError::Late(
                    "what the agent said, or the lease, is too old by now".to_owned(),
                ));
            }
            match self.api.patch::<Node>(&path, &change, left).await {
                Ok(node) => {
                    nodes.all.insert(name.to_owned(), node);
                    return Ok(true);
                }
                // A kubelet writes often. It is read again, and counts as it is now.
                Err(error) if error.is_conflict() => match self.api.get::<Node>(&path).await {
                    Ok(node) => drop(nodes.all.insert(name.to_owned(), node)),
                    Err(error) if error.is_absent() => drop(nodes.all.remove(name)),
                    Err(error) => return Err(error),
                },
                Err(error) if error.is_absent() => drop(nodes.all.remove(name)),
                Err(error) => return Err(error),
            }
        }
        Err(ApiError::Late(format!("{name} was changed by others each time")))
    }

    fn plan(&self, wanted: &Wanted) -> Plan {
        self.nodes.as_ref().map(|nodes| Plan::of(&marks(nodes, &self.key), wanted)).unwrap_or_default()
    }

    /// What is to be done but is not, each time that it is another.
    fn tell_of(&mut self, plan: &Plan, wanted: &Wanted, say: Say<'_>) -> anyhow::Result<()> {
        let new = |of: fn(&Plan) -> &Vec<String>| {
            let told = of(&self.told.plan);
            of(plan).iter().filter(|name| !told.contains(name)).collect::<Vec<_>>()
        };
        for name in new(|plan| &plan.off) {
            say(self.event("untaint", name, freed()))?;
        }
        for name in new(|plan| &plan.on) {
            say(self.event("taint", name, downed(wanted, name)))?;
        }
        let lists =
            [("floor", &plan.kept, &self.told.plan.kept), ("absent", &plan.absent, &self.told.plan.absent)];
        for (kind, now, told) in lists {
            if now == told {
                continue;
            }
            let reason = match (kind, now.is_empty()) {
                ("floor", false) => format!(
                    "{} stay without the taint: at most {} may have it at a time, a tenth of the nodes and at least one",
                    now.join(", "),
                    plan.limit
                ),
                ("floor", true) => "no node waits for the taint any more".to_owned(),
                (_, false) => format!(
                    "there is no node {}: name the node of a member in its tag `node`",
                    now.join(", ")
                ),
                (_, true) => "each member that is down has a node".to_owned(),
            };
            say(Event { nodes: now.clone(), ..self.event(kind, "", reason) })?;
        }
        self.told.plan = plan.clone();
        Ok(())
    }

    /// What it is in now, each time that this is another.
    fn state(&mut self, kind: &'static str, why: String, say: Say<'_>) -> anyhow::Result<()> {
        if self.told.state.as_ref().is_none_or(|told| *told != (kind, why.clone())) {
            say(self.event(kind, "", why.clone()))?;
            self.told.state = Some((kind, why));
        }
        Ok(())
    }

    fn event(&self, kind: &'static str, node: &str, reason: String) -> Event {
        let node = Some(node.to_owned()).filter(|node| !node.is_empty());
        Event { time: seconds_time(), kind, node, dry_run: self.dry_run, reason, ..Event::default() }
    }
}

/// The nodes, page by page: one with all its images is large.
async fn list(api: &Api) -> Result<Nodes, ApiError> {
    let (mut all, read, mut next) = (BTreeMap::new(), Instant::now(), String::new());
    loop {
        let page: NodeList = api.get(&format!("/api/v1/nodes?limit={PAGE}{next}")).await?;
        all.extend(page.items.into_iter().map(|node| (node.metadata.name.clone(), node)));
        match page.metadata.next.filter(|next| !next.is_empty()) {
            Some(more) => next = format!("&continue={}", crate::client::segment(&more)),
            None => return Ok(Nodes { all, read }),
        }
    }
}

fn marks(nodes: &Nodes, key: &str) -> BTreeMap<String, Mark> {
    nodes.all.iter().map(|(name, node)| (name.clone(), node.mark(key))).collect()
}

/// Returns when something has happened that may matter.
async fn changed(follow: &mut Follow) {
    loop {
        match follow.line().await {
            Ok(line) if line.kind == "idle" => {}
            // After a snapshot too: something may have happened before it.
            Ok(_) => return,
            // The next round says why.
            Err(_) => return std::future::pending().await,
        }
    }
}

/// Takes what comes, and never returns.
async fn all(follow: &mut Follow) {
    loop {
        changed(follow).await;
    }
}

fn downed(wanted: &Wanted, node: &str) -> String {
    let members = wanted.down.get(node).map(|members| members.join(", ")).unwrap_or_default();
    format!("{members} is down; pods that do not tolerate {EFFECT} are evicted")
}

fn freed() -> String {
    "its member is alive".to_owned()
}

fn seconds_time() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Twice as long after each failure, up to a limit.
fn backoff(failures: u32) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX));
    jitter(doubled.min(LONGEST_WAIT))
}

/// Between half of it and all of it, so that many instances do not come at once.
fn jitter(time: Duration) -> Duration {
    time.mul_f64(0.5 + chance::share() / 2.0)
}

/// Of one change over conflicts, and of `--once` over failures.
const TRIES: u32 = 5;
/// Half of what comes after the first failure, and the most that comes between two rounds.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// However little happens, nodes come and go.
const RELIST: Duration = Duration::from_secs(60);
/// Nodes to a page.
const PAGE: u32 = 100;
/// Events of one moment come within it.
const GATHER: Duration = Duration::from_millis(50);
