//! `paths [NAME]`: which members answer an agent directly, and which do not though they live. The agent is this one, another
//! that is asked, or each in turn.

mod matrix;

use std::cmp::Ordering;

use clap::Args;
use serde_json::Value;

use super::completions::MEMBER;
use super::exit::{Exit, say};
use super::output::{Output, age, brief, count, fit_to_show, list, natural, span, status_cell};
use super::table::finish;
use super::why::unknown;
use crate::client::{Client, segment};
use crate::types::{Member, PathRow, Paths};
use crate::words::few;

/// Arguments of `paths`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct List {
    /// Only this member, in words.
    #[arg(value_hint = MEMBER)]
    name: Option<String>,
    /// As this member tells it, which is asked now: only paths that are not well.
    #[arg(long, value_name = "NAME", value_hint = MEMBER, conflicts_with = "matrix")]
    from: Option<String>,
    /// As all members tell it, which are asked now: 40 at most, those with trouble first.
    #[arg(long, conflicts_with = "name")]
    matrix: bool,
}

impl List {
    /// Lists the paths, or explains one; then the exit code says whether it works.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        if self.matrix {
            return matrix::show(client, output).await;
        }
        if let Some(from) = &self.from {
            return told(client, output, from, self.name.as_deref()).await;
        }
        let answer = client.get("/v1/paths").await?;
        let paths: Paths = client.read(&answer)?;
        let Some(name) = self.name else {
            output.show_list(&answer, Some("paths"), |paths| table(paths, output))?;
            if output.is_text() {
                say(&sum(&fit_to_show(&answer)?));
            }
            return Ok(Exit::Done);
        };
        let rows = answer.get("paths").and_then(Value::as_array);
        let is_wanted = |row: &&Value| row.get("name").and_then(Value::as_str) == Some(&name);
        let Some(row) = rows.and_then(|rows| rows.iter().find(is_wanted)) else {
            return Err(no_path(client, &paths.me, &name).await);
        };
        let works = client.read::<PathRow>(row)?.state == "up";
        let me = fit_to_show(&Value::String(paths.me))?;
        output.show(row, |path: PathRow| output.prose(&words(&path, &me)))?;
        Ok(if works { Exit::Done } else { Exit::No })
    }
}

/// The paths that another member tells of, or its path to one other.
async fn told(client: &Client, output: &Output, from: &str, to: Option<&str>) -> anyhow::Result<Exit> {
    let mut answer = client.get(&format!("/v1/paths?from={}", segment(from))).await?;
    let Some(to) = to else {
        output.show_list(&answer, Some("paths"), |paths| table(paths, output))?;
        if output.is_text() {
            say(&sum(&fit_to_show(&answer)?));
        }
        return Ok(Exit::Done);
    };
    if let Some(rows) = answer.get_mut("paths").and_then(Value::as_array_mut) {
        rows.retain(|row| row.get("name").and_then(Value::as_str) == Some(to));
    }
    let told: Paths = client.read(&answer)?;
    let works = told.paths.iter().all(|path| path.state == "up");
    if told.paths.is_empty() {
        // A name that is not known here is an error.
        client.get(&format!("/v1/members/{}", segment(to))).await?;
    }
    output.show(&answer, |told: Paths| {
        let from = told.from.clone().unwrap_or_default();
        match told.paths.first() {
            Some(path) => output.prose(&format!("{from} says of {to}: {}.", note(path, Some(&from)))),
            None => output.prose(&format!("{from} says nothing against its path to {to}.")),
        }
    })?;
    Ok(if works { Exit::Done } else { Exit::No })
}

/// Why there is nothing to say of the path to `name`.
async fn no_path(client: &Client, me: &str, name: &str) -> anyhow::Error {
    if name == me {
        return anyhow::anyhow!("{name} is the agent that answers here; it needs no path to itself");
    }
    match client.get(&format!("/v1/members/{}", segment(name))).await {
        Ok(answer) => match client.read::<Member>(&answer) {
            Ok(member) => anyhow::anyhow!(
                "{name} is {}: paths are told of members that are alive; see heartsay why {name}",
                member.status
            ),
            Err(error) => error.into(),
        },
        Err(error) => unknown(client, name, error).await,
    }
}

fn table(mut paths: Paths, output: &Output) -> String {
    paths.paths.sort_by(order);
    let header = ["NAME", "DIRECT", "SINCE", "RTT", "HEARD", "NOTE"];
    // Another member tells only of what is not well.
    let is_empty = paths.paths.is_empty() && paths.from.is_some();
    let mut table = output.table((!is_empty).then_some(&header));
    for path in &paths.paths {
        table.add_row([
            path.name.clone().into(),
            status_cell(&path.state),
            path.since.as_deref().map_or_else(String::new, age).into(),
            path.rtt_ms.map_or_else(String::new, |ms| brief(ms / 1e3)).into(),
            heard(path, paths.from.as_deref()).into(),
            note(path, paths.from.as_deref()).into(),
        ]);
    }
    finish(&table)
}

/// When anything last came straight from it; another member does not tell that.
fn heard(path: &PathRow, from: Option<&str>) -> String {
    match path.last_direct_ms_ago {
        Some(ms) => format!("{} ago", ago(ms)),
        None if from.is_some() => String::new(),
        None => "never".to_owned(),
    }
}

/// Problems first, then doubts, then by name.
fn order(a: &PathRow, b: &PathRow) -> Ordering {
    rank(a).cmp(&rank(b)).then_with(|| natural(&a.name, &b.name))
}

/// The worst first.
pub(super) fn rank(path: &PathRow) -> u8 {
    match (path.state.as_str(), path.unanswered) {
        ("down", _) => 0,
        (_, 1..) => 1,
        ("unknown", _) => 2,
        _ => 3,
    }
}

/// What fails, and which members reach it all the same. `from`: the member whose path it is, if it is not this agent.
pub(super) fn note(path: &PathRow, from: Option<&str>) -> String {
    if path.state != "down" {
        return match usize::try_from(path.unanswered).unwrap_or(usize::MAX) {
            0 => String::new(),
            n => count(n, "question unanswered", "questions unanswered"),
        };
    }
    let fails = match path.direction.as_deref() {
        Some("out") => match from {
            Some(from) => format!("what {from} sends does not arrive there"),
            None => "what we send does not arrive there".to_owned(),
        },
        Some("in") => match from {
            Some(from) => format!("what it sends does not arrive at {from}"),
            None => "what it sends does not arrive here".to_owned(),
        },
        Some("both") => "nothing arrives either way".to_owned(),
        _ => "direction not known".to_owned(),
    };
    match names(path).as_slice() {
        [] => fails,
        names => format!("{fails}; reached through {}", few(names)),
    }
}

fn names(path: &PathRow) -> Vec<&str> {
    path.through.iter().map(|through| through.name.as_str()).collect()
}

/// One path, in sentences.
fn words(path: &PathRow, me: &String) -> String {
    let name = &path.name;
    let heard = path.last_direct_ms_ago.map_or_else(
        || "Nothing ever came straight from it.".to_owned(),
        |ms| format!("The last datagram straight from it came {} ago.", ago(ms)),
    );
    let rtt = path.rtt_ms.map_or_else(String::new, |ms| format!(", round trip {}", brief(ms / 1e3)));
    match path.state.as_str() {
        "down" => {
            let since = path.since.as_deref().unwrap_or_default();
            let lives = match (names(path).as_slice(), path.through.first()) {
                ([], _) | (_, None) => "It lives: others hear its heartbeats.".to_owned(),
                (names, Some(last)) => {
                    let verb = if names.len() == 1 { "reaches" } else { "reach" };
                    format!("It lives: {} {verb} it, last {} ago.", list(names), ago(last.ms_ago))
                }
            };
            let fails = match path.direction.as_deref() {
                Some("out") => format!(
                    "{me} still hears it, so what {me} sends does not arrive there. Look at what drops datagrams \
                     on the way to {}.",
                    path.address
                ),
                Some("in") => format!(
                    "What it sends does not arrive here. Look at what drops datagrams on the way from {}.",
                    path.address
                ),
                Some("both") => {
                    format!("Nothing arrives in either direction. Look at the path to {}.", path.address)
                }
                _ => "Which direction fails is not known yet.".to_owned(),
            };
            let questions = usize::try_from(path.unanswered).unwrap_or(usize::MAX);
            let questions = count(questions, "question is", "questions in a row are");
            format!(
                "{name} does not answer {me} directly since {since} ({}): {questions} unanswered.\n{lives}\n{fails}\n{heard} \
                 No member is called down for that.",
                age(since)
            )
        }
        "up" => {
            let again = path
                .since
                .as_deref()
                .map_or_else(String::new, |since| format!(" Again, for {}.", age(since)));
            let doubt = match usize::try_from(path.unanswered).unwrap_or(usize::MAX) {
                0 => String::new(),
                n => format!(
                    "\nJust now {} unanswered; some more of them, and the path counts as down.",
                    count(n, "question is", "questions in a row are")
                ),
            };
            format!("{name} answers {me} directly{rtt}.{again} {heard}{doubt}")
        }
        _ => format!(
            "Nothing has passed directly between {me} and {name} yet. Members call each other in turn: in a large \
             cluster that takes some minutes."
        ),
    }
}

fn sum(paths: &Paths) -> String {
    let down = paths.paths.iter().filter(|path| path.state == "down").count();
    if let (Some(from), Some(well)) = (&paths.from, paths.well) {
        let unknown = match paths.unknown.unwrap_or_default() {
            0 => String::new(),
            some => format!(", with {some} nothing has passed yet"),
        };
        let cut = if paths.cut { ", and more than it told" } else { "" };
        return format!("{from} says: {well} well, {down} down{unknown}{cut}");
    }
    let all = count(paths.paths.len(), "direct path", "direct paths");
    format!("{all} from {}, {down} down", paths.me)
}

fn ago(ms: u64) -> String {
    span(std::time::Duration::from_millis(ms).as_secs_f64())
}

const HELP: &str = "\
A path is down when a member lives, as others know, and does not answer this agent. That changes no member's status. \
HEARD is when anything last came straight from the member; in a large cluster two members talk with each other only \
every few minutes.

With --from and --matrix other members are asked, at that moment and once each: what they say is their word, and one \
that does not answer within a second is shown as such. In a matrix, rows reach columns: out means that what the \
member of the row sends does not arrive, in that what the other sends does not, both that neither does. Rows in \
which all is well are one line.

Exit codes with NAME:
  0    the path works
  1    no such member, or it is not alive
  3    no agent
  4    it does not work, or nothing has passed yet";
