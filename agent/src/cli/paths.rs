//! `paths [NAME]`: which members answer this agent directly, and which do not though they live.

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
}

impl List {
    /// Lists the paths, or explains one; then the exit code says whether it works.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
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
    let mut table = output.table(Some(&["NAME", "DIRECT", "SINCE", "RTT", "HEARD", "NOTE"]));
    for path in &paths.paths {
        table.add_row([
            path.name.clone().into(),
            status_cell(&path.state),
            path.since.as_deref().map_or_else(String::new, age).into(),
            path.rtt_ms.map_or_else(String::new, |ms| brief(ms / 1e3)).into(),
            path.last_direct_ms_ago
                .map_or_else(|| "never".to_owned(), |ms| format!("{} ago", ago(ms)))
                .into(),
            note(path).into(),
        ]);
    }
    finish(&table)
}

/// Problems first, then doubts, then by name.
pub(super) fn order(a: &PathRow, b: &PathRow) -> Ordering {
    rank(a).cmp(&rank(b)).then_with(|| natural(&a.name, &b.name))
}

fn rank(path: &PathRow) -> u8 {
    match (path.state.as_str(), path.unanswered) {
        ("down", _) => 0,
        (_, 1..) => 1,
        ("unknown", _) => 2,
        _ => 3,
    }
}

/// What fails, and which members reach it all the same.
pub(super) fn note(path: &PathRow) -> String {
    if path.state != "down" {
        return match usize::try_from(path.unanswered).unwrap_or(usize::MAX) {
            0 => String::new(),
            n => count(n, "question unanswered", "questions unanswered"),
        };
    }
    let fails = match path.direction.as_deref() {
        Some("out") => "what we send does not arrive there",
        Some("in") => "what it sends does not arrive here",
        Some("both") => "nothing arrives either way",
        _ => "direction not known",
    };
    match names(path).as_slice() {
        [] => fails.to_owned(),
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

Exit codes with NAME:
  0    the path works
  1    no such member, or it is not alive
  3    no agent
  4    it does not work, or nothing has passed yet";
