//! `doctor`: what is wrong, from the agent and from its host, each with what to do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exit::{Exit, say};
use super::output::{Output, age, count};
use super::table::{Cell, finish};
use crate::client::{Address, Client, ClientError, Unreachable};
use crate::doctor::host::{self, Knock, Limits};
use crate::doctor::{Code, Condition, Said, Severity, settle};
use crate::settings::{self, AgentArgs};
use crate::show;
use crate::types::{EmptyRequest, Finding, Member, Members, SelfInfo};

/// Arguments of `doctor`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Doctor {
    /// Send nothing: no long datagrams to members, and no knock at the hosts of members that are down.
    #[arg(long)]
    no_probe: bool,
}

/// What is printed.
#[derive(Serialize, Deserialize)]
struct Report {
    /// Name of the agent; `null` where none answers.
    #[serde(rename = "self")]
    me: Option<String>,
    /// Nothing is wrong; notes do not count.
    healthy: bool,
    findings: Vec<Finding>,
    /// What was looked at, also where nothing is wrong.
    looked_at: Vec<Look>,
}

/// One thing that was looked at.
#[derive(Serialize, Deserialize)]
struct Look {
    what: String,
    found: String,
}

impl Doctor {
    /// Looks and prints; the exit code says whether anything is wrong.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        match self.look(client).await {
            Ok(report) => {
                let exit = if report.healthy { Exit::Done } else { Exit::No };
                print(&report, exit, output)
            }
            Err(error) => match without_agent(client, &error).await {
                Some(report) => print(&report, Exit::NoAgent, output),
                None => Err(error.into()),
            },
        }
    }

    async fn look(&self, client: &Client) -> Result<Report, ClientError> {
        let before = ask(client).await?;
        // Where nothing comes, nothing long does.
        if self.no_probe || before.me.isolated || !before.me.joined {
            return Ok(self.examine(client, before, Measured::NotAsked).await);
        }
        let measured = measure(client).await;
        Ok(self.examine(client, ask(client).await?, measured).await)
    }

    async fn examine(&self, client: &Client, answers: Answers, measured: Measured) -> Report {
        let Answers { me, members, state_dir } = answers;
        let (limits, mut own) = this_host(state_dir, &me, members.len()).await;
        let knocked = if self.no_probe { Vec::new() } else { knock(&members).await };
        own.extend(knocked.iter().filter_map(|(member, at, knock)| knock.condition(&member.name, *at)));
        let findings = join(&me.findings, own);
        Report {
            healthy: findings.iter().all(|one| one.severity == Severity::Note.word()),
            findings,
            looked_at: looked_at(client, &me, &members, &limits, measured, &knocked),
            me: Some(me.member.name),
        }
    }
}

/// All of it as JSON, without anything being sent.
pub(super) async fn report(client: &Client) -> anyhow::Result<Value> {
    let report = match (Doctor { no_probe: true }).look(client).await {
        Ok(report) => report,
        Err(error) => without_agent(client, &error).await.ok_or(error)?,
    };
    Ok(serde_json::to_value(report)?)
}

/// What is wrong with this host, found without sending anything.
pub(super) async fn on_host(
    client: &Client,
    me: &SelfInfo,
    members: usize,
) -> Result<Vec<Condition>, ClientError> {
    let (_, own) = this_host(state_dir(client).await?, me, members).await;
    Ok(own)
}

/// What the hosts of members that are down do with what is sent there.
pub(super) async fn at_hosts_of(members: &[Member]) -> Vec<Condition> {
    let knocked = knock(members).await;
    knocked.iter().filter_map(|(member, at, knock)| knock.condition(&member.name, *at)).collect()
}

/// Why there is no agent to ask, as far as this host shows it.
pub(super) async fn why_absent(client: &Client, error: &ClientError) -> Vec<Finding> {
    without_agent(client, error).await.map(|report| report.findings).unwrap_or_default()
}

async fn this_host(state_dir: Option<PathBuf>, me: &SelfInfo, members: usize) -> (Limits, Vec<Condition>) {
    let mut own = Vec::new();
    let limits = match limits(state_dir).await {
        Some(limits) => limits,
        None => {
            let what = "the file system of the state directory does not answer".to_owned();
            own.push(Condition::new(Code::StateDirectory, what));
            Limits::default()
        }
    };
    own.extend(limits.conditions(members));
    own.extend(other_version(&me.version.version));
    (limits, own)
}

fn print(report: &Report, exit: Exit, output: &Output) -> anyhow::Result<Exit> {
    let answer = serde_json::to_value(report)?;
    output.show_list(&answer, Some("findings"), |report| text(&report, output))?;
    if output.is_text() {
        say(&sum(report));
    }
    Ok(exit)
}

/// What became of the wish that long datagrams be sent.
#[derive(Clone, Copy)]
enum Measured {
    NotAsked,
    Paths(u64),
    /// The agent does not let this user, does not know it, or was not done in time.
    No,
}

/// Has the agent send long datagrams to some members, and waits until it knows whether they pass.
async fn measure(client: &Client) -> Measured {
    let Ok(answer) = client.post("/v1/paths/measure", &EmptyRequest {}, Duration::ZERO).await else {
        return Measured::No;
    };
    let number = |answer: &Value, key: &str| answer.get(key).and_then(Value::as_u64);
    let Some(paths) = number(&answer, "measuring") else { return Measured::No };
    for _ in 0..LOOKS {
        match client
            .get_within("/v1/stats", PATIENCE)
            .await
            .ok()
            .and_then(|stats| number(&stats, "paths_measuring"))
        {
            Some(0) => return Measured::Paths(paths),
            Some(_) => tokio::time::sleep(LOOK).await,
            None => return Measured::No,
        }
    }
    Measured::No
}

/// What the agent says.
struct Answers {
    me: SelfInfo,
    members: Vec<Member>,
    /// Where it keeps what has to last.
    state_dir: Option<PathBuf>,
}

async fn ask(client: &Client) -> Result<Answers, ClientError> {
    let me = client.read(&client.get_within("/v1/self", PATIENCE).await?)?;
    let members: Members = client.read(&client.get_within("/v1/members", PATIENCE).await?)?;
    Ok(Answers { me, members: members.members, state_dir: state_dir(client).await? })
}

async fn state_dir(client: &Client) -> Result<Option<PathBuf>, ClientError> {
    let config = client.get_within("/v1/config", PATIENCE).await?;
    let is_dir = |row: &&Value| row.get("key").and_then(Value::as_str) == Some("state_dir");
    let row = config.as_array().and_then(|rows| rows.iter().find(is_dir));
    Ok(row.and_then(|row| row.get("value")).and_then(Value::as_str).map(PathBuf::from))
}

/// Why there is no agent to ask; `None` if there is one, and it makes no sense.
async fn without_agent(client: &Client, error: &ClientError) -> Option<Report> {
    let ClientError::Unreachable { address, why } = error else { return None };
    // The lines behind the first say what to do, as the code does.
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default();
    let mut all = Vec::new();
    match (why, address) {
        (Unreachable::Denied, Address::Socket(path)) => all.push(host::denied(path)),
        (Unreachable::Silent(_) | Unreachable::Closed, _) => {
            all.push(Condition::new(Code::AgentHangs, what.to_owned()));
        }
        _ => {
            all.push(Condition::new(Code::AgentNotRunning, what.to_owned()));
            all.extend(host::unit().await);
            all.extend(refused_settings());
        }
    }
    let found = match why {
        Unreachable::Denied => "may not be opened",
        Unreachable::Silent(_) | Unreachable::Closed => "takes connections and does not answer",
        Unreachable::Absent | Unreachable::Refused | Unreachable::NoSocket | Unreachable::Other(_) => {
            "no agent answers"
        }
    };
    Some(Report {
        me: None,
        healthy: false,
        findings: join(&[], all),
        looked_at: vec![look("socket", format!("{}: {found}", client.address()))],
    })
}

/// `None` where a disk hangs, which would hold the rest up.
async fn limits(state_dir: Option<PathBuf>) -> Option<Limits> {
    let read = tokio::task::spawn_blocking(move || Limits::read(state_dir.as_deref()));
    tokio::time::timeout(PATIENCE, read).await.ok()?.ok()
}

/// The settings that an agent would start with here, if there are any.
fn refused_settings() -> Option<Condition> {
    if !Path::new(settings::MAIN_FILE).exists() {
        return None;
    }
    let errors = settings::load(&AgentArgs::default()).err()?.to_string();
    let first = errors.lines().next().unwrap_or_default().to_owned();
    Some(Condition::new(Code::SettingsRefused, format!("the settings are refused: {first}")))
}

fn other_version(agent: &str) -> Option<Condition> {
    let mine = env!("CARGO_PKG_VERSION");
    (agent != mine).then(|| {
        let what = format!("the agent runs version {agent}, and this program is {mine}");
        Condition::new(Code::AgentOutdated, what)
    })
}

/// Knocks at the hosts of some members that are down, all at the same time.
async fn knock(members: &[Member]) -> Vec<(&Member, SocketAddr, Knock)> {
    let down = members.iter().filter(|member| member.status == "down" && member.kept_out_until.is_none());
    let hosts = down.filter_map(|member| Some((member, member.address.parse().ok()?))).take(KNOCKED);
    let knocks = hosts.map(async |(member, at)| (member, at, Knock::at(at).await));
    futures_util::future::join_all(knocks).await
}

/// What the agent found and what is found here, without what follows from the other.
pub(super) fn join(agents: &[Finding], own: Vec<Condition>) -> Vec<Finding> {
    let mut all: Vec<Condition> = agents.iter().filter_map(read).collect();
    all.extend(own);
    // An agent that is newer than this program may know more.
    let mut findings: Vec<Finding> =
        agents.iter().filter(|one| Code::named(&one.code).is_none()).cloned().collect();
    findings.extend(settle(&all).iter().map(|one| {
        let of = (!one.of.is_empty()).then_some(one.of.as_str());
        let is_it = |known: &&Finding| known.code == one.code.kind().word && known.of.as_deref() == of;
        agents.iter().find(is_it).cloned().unwrap_or_else(|| show::finding(one, None))
    }));
    findings
}

fn read(finding: &Finding) -> Option<Condition> {
    let said = Said::new(finding.what.clone(), finding.remedy.clone());
    Some(Condition::new(Code::named(&finding.code)?, said).of(finding.of.clone().unwrap_or_default()))
}

fn looked_at(
    client: &Client,
    me: &SelfInfo,
    members: &[Member],
    limits: &Limits,
    measured: Measured,
    knocked: &[(&Member, SocketAddr, Knock)],
) -> Vec<Look> {
    let here = |status: &str| members.iter().filter(|member| member.status == status).count();
    let mut all = vec![
        look(
            "agent",
            format!("{} answers at {}, version {}", me.member.name, client.address(), me.version.version),
        ),
        look(
            "members",
            format!("{} alive, {} suspect, {} down", here("alive"), here("suspect"), here("down")),
        ),
        look("quorum", me.quorum.quorum.clone()),
        look(
            "seeds",
            format!("{}, {} resolved", count(me.seeds.len(), "seed", "seeds"), {
                me.seeds.iter().filter(|seed| seed.error.is_none()).count()
            }),
        ),
        look("sealed", if me.encrypted { "yes" } else { "no" }.to_owned()),
    ];
    all.push(look(
        "long datagrams",
        match measured {
            Measured::NotAsked => "not measured".to_owned(),
            Measured::Paths(paths) => {
                format!(
                    "measured on {}",
                    count(usize::try_from(paths).unwrap_or(usize::MAX), "path", "paths")
                )
            }
            Measured::No => {
                "not measured: that takes a user who may make changes, and some seconds".to_owned()
            }
        },
    ));
    if let Some(bytes) = limits.receive_buffer {
        all.push(look("receive buffer", format!("net.core.rmem_max is {bytes}")));
    }
    if let Some((used, limit)) = limits.neighbours {
        all.push(look("neighbour table", format!("{used} of {limit}")));
    }
    if let Some(dir) = &limits.state_dir {
        all.push(look("state directory", format!("{}, {} MiB free", dir.path.display(), dir.free >> 20)));
    }
    all.extend(knocked.iter().map(|(member, at, knock)| {
        let says = |yes: bool, word: &str| format!("{}{word}", if yes { "" } else { "not " });
        let found = format!(
            "{at} {}, another port {}, TCP {}",
            says(knock.port_refuses, "refused"),
            says(knock.other_refuses, "refused"),
            says(knock.answers_tcp, "answered")
        );
        look(&format!("host of {}", member.name), found)
    }));
    all
}

fn look(what: &str, found: String) -> Look {
    Look { what: what.to_owned(), found }
}

fn text(report: &Report, output: &Output) -> String {
    let mut table = output.table(None);
    for finding in &report.findings {
        let style = match finding.severity.as_str() {
            "error" => AnsiColor::Red.on_default().bold(),
            "warning" => AnsiColor::Yellow.on_default().bold(),
            _ => Style::new().dimmed(),
        };
        let since =
            finding.since.as_deref().map_or_else(String::new, |since| format!(" (for {})", age(since)));
        table.add_row([
            Cell::new(finding.severity.clone()).styled(style),
            Cell::new(finding.code.clone()).styled(Style::new().bold()),
            Cell::new(format!("{}{since}", finding.what)),
        ]);
        table.add_row([
            Cell::new(""),
            Cell::new("").styled(Style::new()),
            format!("do: {}", finding.remedy).into(),
        ]);
    }
    if !report.findings.is_empty() {
        return finish(&table);
    }
    let mut looks = output.table(None);
    for Look { what, found } in &report.looked_at {
        looks.add_row([Cell::new(what.clone()).styled(Style::new().bold()), found.clone().into()]);
    }
    format!("nothing wrong; looked at\n{}", finish(&looks))
}

fn sum(report: &Report) -> String {
    let of =
        |severity: Severity| report.findings.iter().filter(|one| one.severity == severity.word()).count();
    let mut parts = vec![
        count(of(Severity::Error), "error", "errors"),
        count(of(Severity::Warning), "warning", "warnings"),
    ];
    if of(Severity::Note) > 0 {
        parts.push(count(of(Severity::Note), "note", "notes"));
    }
    format!("{} on {}", parts.join(", "), report.me.as_deref().unwrap_or("this host"))
}

/// An agent that hangs is told from one that is slow after this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether the paths are measured, and how many: a path that loses everything long takes some seconds.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 48;
/// Hosts that are knocked at. Of a crowd these are enough to see the cause.
const KNOCKED: usize = 3;

const HELP: &str = "\
Each line is one cause; what only follows from it is left out. Codes keep their names, and `status`, the API (`findings` in /v1/self) and the \
metric heartsay_condition use the same; docs/operations.md lists them. Run it on the host that complains, then on another one: some causes \
are seen from one side only.

The agent sends datagrams of full length to up to four members, one a second, if this user may make changes. At the hosts of up to three members that are down it knocks: three datagrams of one byte to the agent's port and to port 33434, and one \
TCP connection that is closed at once. So it tells a dead process from a filter.

Exit codes:
  0    nothing is wrong; notes do not count
  3    no agent answers here; the reason is printed
  4    something is wrong";

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: &str, of: Option<&str>) -> Finding {
        Finding {
            code: code.to_owned(),
            severity: "error".to_owned(),
            of: of.map(str::to_owned),
            what: "what".to_owned(),
            remedy: "remedy".to_owned(),
            since: Some("2026-11-30T10:00:00Z".to_owned()),
        }
    }

    #[test]
    fn what_the_host_shows_hides_what_the_agent_could_only_see_the_end_of() {
        let agents = [finding("member-down", Some("m2")), finding("member-down", Some("m3"))];
        let own = vec![Condition::new(Code::PortSilent, "silent".to_owned()).of("m2")];
        let joined = join(&agents, own);
        let codes: Vec<_> = joined.iter().map(|one| (one.code.as_str(), one.of.as_deref())).collect();
        assert_eq!(codes, [("port-silent", Some("m2")), ("member-down", Some("m3"))]);
        assert_eq!(joined[1], agents[1], "as the agent said it, with its time");
    }

    #[test]
    fn a_code_that_is_too_new_for_this_program_is_shown_as_it_came() {
        let agents = [finding("sun-eclipsed", None)];
        assert_eq!(join(&agents, Vec::new()), agents);
    }
}
