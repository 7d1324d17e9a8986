//! From the agent to the model: looks now and then, and the stream of events, which says when to look again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::facts::{Facts, News, Wishes};
use crate::cli::doctor;
use crate::cli::output::fit_to_show;
use crate::client::{Client, ClientError, Kept, Watch, segment};
use crate::doctor::Condition;
use crate::escape::{escape, escape_lines};
use crate::task;
use crate::types::{Finding, Members, Paths, SelfInfo, Services, WatchLine};

/// Asks one agent, over its restarts.
pub(super) struct Feed {
    client: Client,
    to: mpsc::Sender<News>,
    wishes: watch::Receiver<Wishes>,
    /// What this host shows, and when it was looked at.
    host: Option<(Instant, Vec<Condition>)>,
    /// Life of the agent, and its last event that was told.
    told: Option<(u64, u64)>,
    /// The other members that can be asked, as they are shown and as the agent knows them.
    others: Vec<(String, String)>,
    /// When they were last asked, and whether that goes on.
    round: Option<(Instant, JoinHandle<()>)>,
}

/// Why it stops for now.
enum End {
    /// The screen is closed.
    Closed,
    /// No answer.
    Away(anyhow::Error),
}

/// Why there is no answer.
#[derive(Clone, Default)]
struct Explained {
    why: String,
    findings: Vec<Finding>,
    at: Option<Instant>,
}

impl Explained {
    /// Looks at the host, unless it has just said why: that starts systemctl, and reads the settings.
    async fn explain(&mut self, client: &Client, error: &anyhow::Error) {
        let why = format!("{error:#}");
        if why == self.why && self.at.is_some_and(|at| at.elapsed() < HOST) {
            return;
        }
        self.findings = match error.downcast_ref::<ClientError>() {
            Some(error) => fit_findings(doctor::why_absent(client, error).await),
            None => Vec::new(),
        };
        (self.why, self.at) = (escape_lines(&why), Some(Instant::now()));
    }
}

/// What one look found, as far as the next depends on it.
struct Looked {
    generation: u64,
    index: u64,
    members: usize,
}

impl Feed {
    pub(super) fn new(client: Client, to: mpsc::Sender<News>, wishes: watch::Receiver<Wishes>) -> Self {
        Self { client, to, wishes, host: None, told: None, others: Vec::new(), round: None }
    }

    /// Until the screen is closed.
    pub(super) async fn run(mut self) {
        let mut pause = SHORTEST;
        let mut explained = Explained::default();
        loop {
            let began = Instant::now();
            let error = match self.live().await {
                Ok(never) => match never {},
                Err(End::Closed) => return,
                Err(End::Away(error)) => error,
            };
            if began.elapsed() > LONGEST {
                pause = SHORTEST;
            }
            explained.explain(&self.client, &error).await;
            let Explained { why, findings, .. } = explained.clone();
            if self.to.send(News::Away { why, findings }).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST.min(pause * 2);
        }
    }

    async fn live(&mut self) -> Result<Infallible, End> {
        let mut kept = self.client.keep();
        let mut looked = self.look(&mut kept, true).await?;
        let mut watch = self.watch(&looked).await?;
        let (mut last, mut due) = (Instant::now(), None::<Instant>);
        let (mut turn, mut is_all_due, mut asked) = (0_u32, false, self.wishes.borrow_and_update().looks);
        loop {
            let usual = last + interval(looked.members);
            tokio::select! {
                line = watch.line() => {
                    let line = fit(&line.map_err(away)?)?;
                    if line.kind != "idle" {
                        is_all_due |= line.kind == "link" || line.kind.starts_with("service-");
                        // Together with what follows from the same cause.
                        let soon = (last + interval(looked.members) / 4).max(Instant::now() + SOON);
                        due = Some(due.map_or(soon, |due| due.min(soon)));
                    }
                    self.tell(line, &looked).await?;
                    continue;
                }
                changed = self.wishes.changed() => {
                    changed.map_err(|_| End::Closed)?;
                    let wanted = self.wishes.borrow_and_update().looks;
                    if wanted == asked {
                        self.ask_others();
                        self.ask_case(&mut kept).await?;
                        continue;
                    }
                    asked = wanted;
                    is_all_due = true;
                }
                () = tokio::time::sleep_until(due.unwrap_or(usual)) => {}
            }
            turn = turn.wrapping_add(1);
            looked = self.look(&mut kept, is_all_due || turn.is_multiple_of(EACH)).await?;
            (last, due, is_all_due) = (Instant::now(), None, false);
        }
    }

    /// Asks for the agent and its members; with `all` for the slower things too.
    async fn look(&mut self, kept: &mut Kept, all: bool) -> Result<Looked, End> {
        let facts = facts(&self.client, kept, &mut self.host, false).await.map_err(End::Away)?;
        let looked = Looked {
            generation: facts.me.member.generation,
            index: facts.index,
            members: facts.members.len(),
        };
        self.others = others(&facts);
        self.send(News::Facts(Box::new(facts))).await?;
        self.ask_others();
        if all {
            for news in slower(kept).await.map_err(End::Away)? {
                self.send(news).await?;
            }
        }
        self.ask_case(kept).await?;
        Ok(looked)
    }

    /// Asks the other members how they reach one another, while that is looked at. It goes on beside the rest: one that does
    /// not answer takes a second.
    fn ask_others(&mut self) {
        let is_due = match &self.round {
            None => true,
            Some((began, round)) => began.elapsed() >= ROUND && round.is_finished(),
        };
        if !is_due || !self.wishes.borrow().reach || self.others.is_empty() {
            return;
        }
        let (client, to, wishes) = (self.client.clone(), self.to.clone(), self.wishes.clone());
        let others = self.others.clone();
        let round = async move {
            let ask = |(shown, known): (String, String)| {
                let (client, wishes) = (&client, &wishes);
                async move {
                    if !wishes.borrow().reach {
                        return None;
                    }
                    let path = format!("/v1/paths?from={}", segment(&known));
                    let told = match client.get_within(&path, PATIENCE).await {
                        Ok(answer) => Some(fit_to_show(&answer).ok()?),
                        Err(ClientError::Refused(problem)) if problem.status == NO_ANSWER => None,
                        // It has gone, or this agent is older than that.
                        Err(_) => return None,
                    };
                    Some(News::Told(shown, told))
                }
            };
            let mut told = stream::iter(others.into_iter().map(ask)).buffer_unordered(AT_ONCE);
            while let Some(news) = told.next().await {
                if let Some(news) = news
                    && to.send(news).await.is_err()
                {
                    return;
                }
            }
        };
        self.round = Some((Instant::now(), task::start(round)));
    }

    async fn ask_case(&mut self, kept: &mut Kept) -> Result<(), End> {
        let Some((shown, known)) = self.wishes.borrow().case.clone() else { return Ok(()) };
        let news = match kept.get_within(&format!("/v1/members/{}", segment(&known)), PATIENCE).await {
            Ok(answer) => News::Case(shown, Some(fit_to_show(&answer).map_err(End::Away)?)),
            Err(error) if error.is_not_found() => News::Case(shown, None),
            Err(error) => return Err(away(error)),
        };
        self.send(news).await
    }

    /// Opens the stream behind the last event that was told, or with some of the past.
    async fn watch(&mut self, looked: &Looked) -> Result<Watch, End> {
        let told = self.told.filter(|(generation, _)| *generation == looked.generation);
        let since = told.map_or(looked.index.saturating_sub(PAST), |(_, index)| index);
        self.told = Some((looked.generation, since));
        match stream(&self.client, looked.generation, since).await {
            // It does not keep as much.
            Err(ClientError::Refused(problem)) if problem.status == GONE => {
                self.told = Some((looked.generation, looked.index));
                stream(&self.client, looked.generation, looked.index).await.map_err(away)
            }
            other => other.map_err(away),
        }
    }

    async fn tell(&mut self, line: WatchLine, looked: &Looked) -> Result<(), End> {
        self.told = Some((looked.generation, line.index));
        self.send(News::Line(Box::new(line))).await
    }

    async fn send(&self, news: News) -> Result<(), End> {
        self.to.send(news).await.map_err(|_| End::Closed)
    }
}

/// Everything once.
pub(super) async fn once(client: &Client) -> anyhow::Result<Vec<News>> {
    let mut kept = client.keep();
    let facts = facts(client, &mut kept, &mut None, true).await?;
    let (generation, index) = (facts.me.member.generation, facts.index);
    let mut all = vec![News::Facts(Box::new(facts))];
    all.extend(slower(&mut kept).await?);
    let since = index.saturating_sub(PAST);
    let mut at = since;
    // What has happened is a help, and nothing without which there is no picture.
    let Ok(mut watch) = stream(client, generation, since).await else { return Ok(all) };
    while at < index {
        let Ok(Ok(line)) = tokio::time::timeout(PATIENCE, watch.line()).await else { break };
        let Ok(line) = fit(&line) else { break };
        at = line.index;
        all.push(News::Line(Box::new(line)));
    }
    Ok(all)
}

async fn facts(
    client: &Client,
    kept: &mut Kept,
    host: &mut Option<(Instant, Vec<Condition>)>,
    once: bool,
) -> anyhow::Result<Facts> {
    let mut answer = kept.get_within("/v1/self", PATIENCE).await?;
    let members = kept.get_within("/v1/members", PATIENCE).await?;
    let me: SelfInfo = client.read(&answer)?;
    // The agent has begun to knock by now, and says so by the next look.
    let knocked = if once && me.joined && !me.isolated {
        doctor::at_hosts_of(&client.read::<Members>(&members)?.members).await
    } else {
        Vec::new()
    };
    let spelt = spelt(&members);
    let Members { index, members, .. } = fit_to_show(&members)?;
    if host.as_ref().is_none_or(|(at, _)| at.elapsed() >= HOST) {
        // An agent without settings to read tells less of its host, and the rest is true all the same.
        let found = doctor::on_host(client, &me, members.len()).await.unwrap_or_default();
        *host = Some((Instant::now(), found));
    }
    let mut own = host.as_ref().map(|(_, own)| own.clone()).unwrap_or_default();
    own.extend(knocked);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("findings".to_owned(), serde_json::to_value(doctor::join(&me.findings, own))?);
    }
    Ok(Facts { me: fit_to_show(&answer)?, index, members, spelt })
}

async fn slower(kept: &mut Kept) -> anyhow::Result<[News; 2]> {
    let paths: Paths = fit_to_show(&kept.get_within("/v1/paths", PATIENCE).await?)?;
    let services = match kept.get_within("/v1/services", PATIENCE).await {
        Ok(answer) => fit_to_show::<Services>(&answer)?.services,
        // An agent from before there were services.
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok([News::Paths(paths.paths), News::Services(services)])
}

/// Other members that are there: not more than can be followed.
fn others(facts: &Facts) -> Vec<(String, String)> {
    let me = &facts.me.member.name;
    let there = facts
        .members
        .iter()
        .filter(|member| member.name != *me && matches!(member.status.as_str(), "alive" | "suspect"));
    let names = there.map(|member| {
        let known = facts.spelt.get(&member.name).unwrap_or(&member.name);
        (member.name.clone(), known.clone())
    });
    names.take(MOST_ASKED).collect()
}

/// Names that are shown otherwise than the agent knows them.
fn spelt(members: &Value) -> BTreeMap<String, String> {
    let members = members.get("members").and_then(Value::as_array).into_iter().flatten();
    let names = members.filter_map(|member| member.get("name").and_then(Value::as_str));
    let pairs = names.map(|name| (escape(name).into_owned(), name.to_owned()));
    pairs.filter(|(shown, name)| shown != name).collect()
}

/// None where they cannot be made fit, which text always can.
fn fit_findings(findings: Vec<Finding>) -> Vec<Finding> {
    serde_json::to_value(findings).ok().and_then(|findings| fit_to_show(&findings).ok()).unwrap_or_default()
}

async fn stream(client: &Client, generation: u64, since: u64) -> Result<Watch, ClientError> {
    client.watch(&format!("since={since}&generation={generation}")).await
}

fn fit(line: &[u8]) -> Result<WatchLine, End> {
    let line: Value = serde_json::from_slice(line).map_err(|error| End::Away(error.into()))?;
    fit_to_show(&line).map_err(End::Away)
}

fn away(error: ClientError) -> End {
    End::Away(error.into())
}

/// Between two looks while nothing happens: the more there is to read, the longer.
fn interval(members: usize) -> Duration {
    let some = u32::try_from(members).unwrap_or(u32::MAX);
    (LOOK * some / 400).clamp(LOOK, LOOK * 5)
}

/// An answer takes longer only where something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks in a small cluster: phi moves by seconds.
const LOOK: Duration = Duration::from_secs(2);
/// From an event to the next look.
const SOON: Duration = Duration::from_millis(150);
/// Between two looks at the host: of these things none changes in seconds.
const HOST: Duration = Duration::from_secs(30);
/// Each so many looks paths and services are asked for, unless an event tells of them.
const EACH: u32 = 3;
/// Events of the past that are read at the start.
const PAST: u64 = 300;
/// Between two tries to find an agent, at first and at most.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);
/// Between two rounds of questions to other members, how many are asked in one, and at a time.
const ROUND: Duration = Duration::from_secs(10);
const MOST_ASKED: usize = 128;
const AT_ONCE: usize = 4;
/// HTTP's word for a member that has not answered.
const NO_ANSWER: u16 = 504;
/// HTTP's word for events that are not kept any more.
const GONE: u16 = 410;
