//! `watch`: what happens, as it happens.

use std::io;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exec::signals;
use super::exit::{Exit, say};
use super::members::Status;
use super::output::{Format, Output, count, fit_to_show, print};
use super::reader;
use crate::api::tag::WantedTag;
use crate::client::{Address, Client, ClientError, Watch, segment};
use crate::daemon::hooks;
use crate::group::Group;
use crate::services::ServiceName;
use crate::task;
use crate::types::{LINE_TYPES, WatchLine};
use crate::words::few;

/// Arguments of `watch`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Follow {
    /// Resume after this index instead of beginning with a snapshot.
    #[arg(long, value_name = "INDEX")]
    since: Option<u64>,
    /// Only lines of this type; several are any of them. `snapshot`, `lagged` and `idle` always come.
    #[arg(long = "type", value_delimiter = ',', value_parser = PossibleValuesParser::new(LINE_TYPES), value_name = "TYPE")]
    types: Vec<String>,
    /// Only what is about services of this name; several are any of them.
    #[arg(long, value_name = "NAME")]
    service: Vec<ServiceName>,
    /// Only members that have this status by then; several are any of them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS")]
    status: Vec<Status>,
    /// Only members with this tag, whatever its value unless one is given; several are all of them.
    #[arg(long, value_name = "KEY[=VALUE]")]
    tag: Vec<WantedTag>,
    /// Run this shell command for each line that is asked for, but `idle` and `lagged`, one at a time: the JSON on its stdin, and
    /// HEARTSAY_EVENT, _INDEX, _NAME, _STATUS, _STATE, _FENCED, _SERVICE, _INSTANCE, _CHANGED, _REASON, _QUORUM and _SOCKET in its environment.
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
    /// With --exec: how long one run may take before it is ended with all its offspring [default: without limit].
    #[arg(long, requires = "exec", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Option<Duration>,
    /// End with the agent, with code 3, instead of looking for it again.
    #[arg(long)]
    no_reconnect: bool,
}

/// Where to go on.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Life of the agent in which the index counts.
    generation: u64,
    /// Of the last line that was read.
    index: u64,
}

impl Follow {
    /// Follows until the reader goes away or a signal ends it, over the agent's restarts.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let stop = CancellationToken::new();
        let listening = stop.clone();
        // Without a command there is nothing to tidy up, and the system ends us; all but process 1 of a container.
        let listens = self.exec.is_some() || std::process::id() == 1;
        let mut signals = listens.then(signals).transpose()?;
        let signal = task::start(async move {
            let signal = tokio::select! {
                Some(signal) = next(&mut signals) => Some(signal),
                () = reader::gone() => None,
            };
            listening.cancel();
            signal
        });
        self.follow(client, output, &stop).await?;
        Ok(match signal.await? {
            Some(signal) => Exit::Code(ExitCode::from(ENDED_BY_SIGNAL.saturating_add(signal as u8))),
            None => Exit::Done,
        })
    }

    /// Returns when it is to stop.
    async fn follow(&self, client: &Client, output: &Output, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut at = match self.since {
            Some(index) => {
                let me = client.me().await?;
                Some(Point { generation: me.member.generation, index })
            }
            None => None,
        };
        let mut watch = match client.watch(&self.query(at)).await {
            Err(error) if is_gone(&error) => {
                anyhow::bail!("{error}\nStart again without --since to get a snapshot first.")
            }
            other => other?,
        };
        loop {
            let began = Instant::now();
            let Some(end) = self.read(&mut watch, &mut at, output, client.address(), stop).await? else {
                return Ok(());
            };
            if self.no_reconnect {
                return Err(end.into());
            }
            say(&format!("{end}\nReconnecting as soon as there is one again."));
            // An agent that ends every stream soon is not asked again without a pause.
            let pause = if began.elapsed() < LONGEST { SHORTEST } else { Duration::ZERO };
            let Some(again) = self.reconnect(client, &mut at, output, stop, pause).await? else {
                return Ok(());
            };
            say("connected again");
            watch = again;
        }
    }

    /// Tries until there is an agent; `None` when it is to stop.
    async fn reconnect(
        &self,
        client: &Client,
        at: &mut Option<Point>,
        output: &Output,
        stop: &CancellationToken,
        mut pause: Duration,
    ) -> anyhow::Result<Option<Watch>> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).clamp(SHORTEST, LONGEST),
                () = stop.cancelled() => return Ok(None),
            }
            match client.watch(&self.query(*at)).await {
                Ok(watch) => return Ok(Some(watch)),
                // A reader must know that there may be a gap before the snapshot that comes next.
                Err(error) if is_gone(&error) && at.is_some() => {
                    let index = at.take().map_or(0, |point| point.index);
                    let time = jiff::Timestamp::now().to_string();
                    let kind = "lagged".to_owned();
                    let line = WatchLine { kind, index, time, ..WatchLine::default() };
                    show(&serde_json::to_vec(&line)?, output)?;
                    // It has answered, so there is nothing to wait for.
                    pause = Duration::ZERO;
                }
                Err(ClientError::Unreachable { .. }) => {}
                Err(error) if error.is_busy() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Shows lines until the stream ends, and says how; `None` when it is to stop.
    async fn read(
        &self,
        watch: &mut Watch,
        at: &mut Option<Point>,
        output: &Output,
        address: &Address,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<ClientError>> {
        loop {
            let raw = tokio::select! {
                line = watch.line() => match line {
                    Ok(raw) => raw,
                    Err(error) => return Ok(Some(error)),
                },
                () = stop.cancelled() => return Ok(None),
            };
            let line: WatchLine = watch.read(&raw)?;
            match (at.as_mut(), line.generation) {
                (_, Some(generation)) if line.kind == "snapshot" => {
                    *at = Some(Point { generation, index: line.index });
                }
                (Some(at), _) => at.index = line.index,
                (None, _) => {}
            }
            show(&raw, output)?;
            let is_wanted = match line.kind.as_str() {
                "idle" | "lagged" => false,
                // It always comes; a command gets it only on request.
                "snapshot" => self.wants_snapshot(),
                _ => true,
            };
            if let Some(command) = self.exec.as_ref().filter(|_| is_wanted) {
                self.execute(command, &line, &raw, address, stop).await;
            }
        }
    }

    fn wants_snapshot(&self) -> bool {
        self.types.is_empty() || self.types.iter().any(|kind| kind == "snapshot")
    }

    /// What to ask the agent for.
    fn query(&self, at: Option<Point>) -> String {
        let point = at.map(|Point { generation, index }| format!("since={index}&generation={generation}"));
        // The snapshot says in which life of the agent the index counts, and what there was before the first event.
        let snapshot = (!self.wants_snapshot()).then(|| "type=snapshot".to_owned());
        let types = self.types.iter().map(|kind| format!("type={kind}"));
        let services = self.service.iter().map(|name| format!("service={name}"));
        let types = types.chain(services);
        let statuses = self.status.iter().map(|status| format!("status={}", status.word()));
        let tags = self.tag.iter().map(|tag| format!("tag={}", segment(&tag.to_string())));
        let all = point.into_iter().chain(snapshot).chain(types).chain(statuses).chain(tags);
        all.collect::<Vec<_>>().join("&")
    }

    /// Runs a user's command for one event. Its failure is told and changes nothing.
    async fn execute(
        &self,
        command: &str,
        line: &WatchLine,
        raw: &[u8],
        address: &Address,
        stop: &CancellationToken,
    ) {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", command])
            .envs(hooks::environment(line))
            .env("HEARTSAY_SOCKET", address.to_string());
        shell.stdin(Stdio::piped());
        let ran = async {
            let mut group = Group::start(&mut shell).await?;
            group.feed(raw.to_vec());
            tokio::select! {
                ran = group.run(self.timeout, GRACE) => return ran.map(Some),
                () = stop.cancelled() => {}
            }
            group.end(GRACE).await?;
            Ok::<_, io::Error>(None)
        };
        let index = line.index;
        match ran.await {
            Ok(Some(Some(status))) if status.success() => {}
            Ok(Some(Some(status))) => say(&format!("the command for #{index} ended with {status}")),
            Ok(Some(None)) => say(&format!("the command for #{index} was ended: its time was up")),
            Ok(None) => {}
            Err(error) => say(&format!("the command for #{index} could not run: {error}")),
        }
    }
}

/// The next signal, if they are listened to.
async fn next(signals: &mut Option<mpsc::Receiver<Signal>>) -> Option<Signal> {
    match signals {
        Some(signals) => signals.recv().await,
        None => std::future::pending().await,
    }
}

/// Prints one line of the stream.
fn show(raw: &[u8], output: &Output) -> anyhow::Result<()> {
    match output.format {
        Format::Jsonl => print(&String::from_utf8_lossy(raw)),
        Format::Json => print(&serde_json::to_string_pretty(&serde_json::from_slice::<Value>(raw)?)?),
        Format::Yaml => {
            print(&format!("---\n{}", serde_saphyr::to_string(&serde_json::from_slice::<Value>(raw)?)?))
        }
        Format::Table | Format::Wide => {
            output.say(&sentence(&fit_to_show(&serde_json::from_slice::<Value>(raw)?)?, output))
        }
    }
}

fn sentence(line: &WatchLine, output: &Output) -> String {
    match words(line, output) {
        // Signs of life of the stream itself are for programs.
        what if what.is_empty() => what,
        what => format!("{}  #{}  {what}", line.time, line.index),
    }
}

/// What has happened; nothing for a sign of life.
pub(super) fn words(line: &WatchLine, output: &Output) -> String {
    let what = match line.kind.as_str() {
        "idle" => return String::new(),
        "snapshot" => {
            let members = line.members.as_deref().unwrap_or_default();
            let alive = members.iter().filter(|m| m.status == "alive").count();
            format!("snapshot: {}, {alive} alive", count(members.len(), "member", "members"))
        }
        "lagged" => "lagged: events were missed; a new snapshot follows".to_owned(),
        "self" => "this agent".to_owned(),
        "quorum" => match &line.quorum {
            Some(quorum) => format!("quorum {}", super::status::quorum_count(quorum, output)),
            None => "quorum".to_owned(),
        },
        "link" => link(line, output),
        kind => {
            if let Some(service) = &line.service {
                let id = if service.id.is_empty() { String::new() } else { format!("/{}", service.id) };
                let verb = kind.strip_prefix("service-").unwrap_or(kind);
                let reason = line.reason.as_deref().unwrap_or_default();
                let what = format!("{}{id} on {} {}", service.name, service.member, output.status(verb));
                return format!("{what} ({reason})");
            }
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
        Some(by) if !by.is_empty() => format!(", by {}", few(by)),
        _ => String::new(),
    };
    let reason = match line.reason.as_deref() {
        Some(reason) if !reason.is_empty() => format!(" ({reason})"),
        _ => String::new(),
    };
    format!("{what}{changed}{by}{reason}")
}

/// `direct path to db-2 down (both directions), reached through web-1`.
fn link(line: &WatchLine, output: &Output) -> String {
    let (name, state) = (line.name.as_deref().unwrap_or("?"), line.state.as_deref().unwrap_or("?"));
    let through = match line.through.as_deref() {
        Some(through) if !through.is_empty() => format!(", reached through {}", few(through)),
        _ => String::new(),
    };
    format!("direct path to {name} {}{through}", output.status(state))
}

/// The agent no longer remembers that far back, or is another.
fn is_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(problem) if problem.status == 410)
}

const HELP: &str = "\
When the agent goes away, this reconnects and goes on with the event after the last one; what cannot be resumed (the \
agent was restarted, or more than 4,096 events ago) is told by a line `lagged`, and a new snapshot follows. A command \
of --exec runs in a process group of its own. When its shell ends, when --timeout has passed, or when this program is \
ended, what is left of the group gets SIGTERM, and SIGKILL 5 s later; also when this program is killed with SIGKILL. \
When the reader of the output goes away (`| head -1`), this ends at once and quietly.

Exit codes:
  0    the reader of the output has gone
  1    the agent refused, for instance an index that it does not keep
  3    no agent at the start; with --no-reconnect, it has gone
  128 and the number of the signal that ended it, with --exec";

/// Between asking a command to end and killing it.
const GRACE: Duration = Duration::from_secs(5);
/// Between two tries to reconnect, at first and at most.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);
/// What shells add to the number of a signal.
const ENDED_BY_SIGNAL: u8 = 128;
