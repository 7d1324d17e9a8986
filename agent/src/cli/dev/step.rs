//! What is told, for programs and in words.

use std::path::Path;

use anstyle::AnsiColor;
use serde::Serialize;

use super::story::Spread;
use crate::cli::output::{Output, count};

/// Something to tell.
#[derive(Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub(super) enum Step<'a> {
    /// The first act begins.
    Starting { nodes: usize, dir: &'a Path },
    /// All see all.
    Formed { nodes: usize, seconds: f64 },
    /// How to ask the agents oneself.
    Hint { socket: &'a Path, page: Option<&'a str> },
    /// The crash.
    Killed { member: &'a str, pid: Option<u32> },
    /// One survivor saw it.
    Seen { by: &'a str, member: &'a str, status: &'a str, seconds: f64 },
    /// All survivors saw it.
    Noticed { member: &'a str, suspect: Option<Spread>, down: Option<Spread> },
    /// The new life begins.
    Restarted { member: &'a str, pid: Option<u32> },
    /// All survivors saw it.
    Returned { member: &'a str, restart: Option<Spread>, before: u64, after: u64 },
    /// Every agent says that its side has the majority.
    AllHold { nodes: usize },
    /// The network is cut.
    Cut { members: &'a str, from: &'a str },
    /// Both sides know of it.
    Parted {
        members: &'a str,
        from: &'a str,
        majority: usize,
        nodes: usize,
        lost: Option<Spread>,
        down: Option<Spread>,
        /// What those that are cut off say of the others.
        beyond: &'a str,
    },
    /// The network is whole.
    Healed,
    /// All know of it.
    Whole { members: &'a str, from: &'a str, healed: Option<Spread>, held_again: Option<Spread> },
    /// An agent says another thing of its side.
    Quorum { by: &'a str, quorum: &'a str, seconds: Option<f64> },
    /// All agents know the services.
    Serving { services: &'a [String] },
    /// A service says of itself that it is not well, and all agents know it.
    Unwell { service: &'a str, member: &'a str, health: &'a str, text: &'a str },
    /// The end of a service.
    ServiceKilled { service: &'a str, member: &'a str, pid: Option<u32> },
    /// One agent sees a service so.
    Service { by: &'a str, service: &'a str, member: &'a str, state: &'a str, seconds: Option<f64> },
    /// All agents saw it.
    ServiceGone { service: &'a str, member: &'a str, seen: Option<Spread> },
    /// The story is over, the cluster runs on.
    GoingOn,
    /// Something else changed.
    Changed { by: &'a str, member: &'a str, status: &'a str },
    /// All agents are asked to leave.
    Stopping { nodes: usize },
}

impl Step<'_> {
    /// Told of small clusters only.
    pub(super) fn is_detail(&self) -> bool {
        let of_all = |by: &str, seconds: Option<f64>| seconds.is_some() || by != "n1";
        matches!(self, Self::Seen { .. })
            || matches!(self, Self::Changed { by, .. } if *by != "n1")
            || matches!(self, Self::Quorum { by, seconds, .. } | Self::Service { by, seconds, .. } if of_all(by, *seconds))
    }

    /// For people, one line or several.
    pub(super) fn words(&self, o: &Output) -> String {
        let pid = |pid: &Option<u32>| pid.map(|p| format!(" (pid {p})")).unwrap_or_default();
        match self {
            Self::Starting { nodes, dir } => {
                format!("starting {} in {}", count(*nodes, "agent", "agents"), dir.display())
            }
            Self::Formed { nodes: 1, seconds } => format!("the agent is up after {seconds:.2}s"),
            Self::Formed { nodes, seconds } => {
                format!("all {nodes} see one another, {seconds:.2}s after the last was started")
            }
            Self::Hint { socket, page } => {
                let (program, socket) = (program(), socket.display());
                let page =
                    page.map(|page| format!("in a browser of this host: {page}\n")).unwrap_or_default();
                format!(
                    "{page}ask them yourself:\n  {program} --socket {socket} members\n  {program} --socket {socket} quorum\n  \
                     curl --unix-socket {socket} http://heartsay/v1/members"
                )
            }
            Self::Killed { member, pid: id } => format!("{member}{} is killed: SIGKILL", pid(id)),
            Self::Seen { by, member, status, seconds } => {
                format!("  {by} sees {member} {} after {seconds:.3}s", o.status(status))
            }
            Self::Noticed { member, suspect, down } => {
                let suspect =
                    suspect.map(|s| format!("\n{}: {}", o.status("suspect"), spread(&s))).unwrap_or_default();
                let down =
                    down.map(|d| format!("\n{}:    {}", o.status("down"), spread(&d))).unwrap_or_default();
                format!("every survivor knows that {member} is down{suspect}{down}")
            }
            Self::AllHold { nodes } => {
                format!("every agent holds quorum: {nodes} of {nodes} present, {} needed", nodes / 2 + 1)
            }
            Self::Cut { members, from } => {
                format!("the network is cut: {members} are alone, nothing passes between them and {from}")
            }
            Self::Parted { members, from, majority, nodes, lost, down, beyond } => {
                let (lost, down) = (times(lost), times(down));
                format!(
                    "both sides know of the cut\n{members}: quorum {} {lost}; {from} {}\n{from}: quorum {} all the time, {majority} of \
                     {nodes}; {members} {} {down}",
                    o.status("lost"),
                    o.status(beyond),
                    o.status("held"),
                    o.status("down")
                )
            }
            Self::Healed => "the network is whole again".to_owned(),
            Self::Whole { members, from, healed, held_again } => {
                let (healed, held) = (times(healed), times(held_again));
                format!(
                    "every agent sees all others alive again: {healed}\n{members}: quorum {} again {held}\n{from}: quorum {} \
                     all the time",
                    o.status("held"),
                    o.status("held")
                )
            }
            Self::Quorum { by, quorum, seconds } => {
                format!("  {by} says that quorum is {}{}", o.status(quorum), after(*seconds))
            }
            Self::Serving { services } => format!("every agent knows the services: {}", services.join(", ")),
            Self::Unwell { service, member, health, text } => {
                format!("{service} on {member} says {}: {text}; every agent knows it", health_word(o, health))
            }
            Self::ServiceKilled { service, member, pid: id } => {
                format!("the program of {service} on {member}{} is killed: SIGKILL", pid(id))
            }
            Self::Service { by, service, member, state, seconds } => {
                format!("  {by} sees {service} on {member} {}{}", health_word(o, state), after(*seconds))
            }
            Self::ServiceGone { service, member, seen } => {
                format!("every agent knows that {service} on {member} is gone: {}", times(seen))
            }
            Self::Restarted { member, pid: id } => format!("{member} is started again{}", pid(id)),
            Self::Returned { member, restart, before, after } => {
                let times = restart.map(|r| spread(&r)).unwrap_or_default();
                format!(
                    "every survivor knows the new {member}: {times}\nits generation went from {before} to {after}"
                )
            }
            Self::GoingOn => {
                "the cluster runs on; kill -9 a pid to see it noticed; Ctrl-C stops everything".to_owned()
            }
            Self::Changed { by, member, status } => format!("  {by} sees {member} {}", o.status(status)),
            Self::Stopping { nodes } => format!("stopping {}", count(*nodes, "agent", "agents")),
        }
    }
}

fn health_word(o: &Output, word: &str) -> String {
    let style = match word {
        "passing" => AnsiColor::Green,
        "warning" => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    o.paint(style.on_default(), word)
}

fn times(spread_: &Option<Spread>) -> String {
    spread_.as_ref().map(spread).unwrap_or_default()
}

fn after(seconds: Option<f64>) -> String {
    seconds.map(|seconds| format!(" after {seconds:.3}s")).unwrap_or_default()
}

pub(super) fn spread(spread: &Spread) -> String {
    let Spread { observers, median_seconds, max_seconds } = spread;
    match observers {
        1 => format!("after {max_seconds:.2}s (1 observer)"),
        _ => format!("after {median_seconds:.2}s (median), {max_seconds:.2}s (slowest of {observers})"),
    }
}

/// This program as it can be called from here.
fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "heartsay".to_owned() };
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| program.strip_prefix(here).ok().map(Path::to_owned));
    short.unwrap_or(program).display().to_string()
}
