//! `paths --matrix`: who reaches whom, as each member says when it is asked.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::{Deserialize, Serialize};

use crate::cli::exit::{Exit, say};
use crate::cli::output::{Output, count, natural};
use crate::cli::table::{Cell, finish};
use crate::client::{Client, ClientError, segment};
use crate::types::{Member, Members, PathRow, Paths};
use crate::words::few;

/// What all say, as it is printed in JSON.
#[derive(Serialize, Deserialize)]
struct Matrix {
    #[serde(rename = "self")]
    me: String,
    /// Members that are alive or suspect. They may be more than were asked.
    known: usize,
    rows: Vec<Row>,
}

/// What one member says.
#[derive(Serialize, Deserialize)]
struct Row {
    from: String,
    /// Why it has said nothing.
    error: Option<String>,
    well: u32,
    unknown: u32,
    cut: bool,
    paths: Vec<PathRow>,
}

/// Asks all, and shows what they say.
pub(super) async fn show(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let matrix = ask(client).await?;
    let answer = serde_json::to_value(&matrix)?;
    output.show_list(&answer, Some("rows"), |matrix| table(&matrix, output))?;
    if output.is_text() {
        say(&sum(&matrix));
    }
    Ok(Exit::Done)
}

async fn ask(client: &Client) -> anyhow::Result<Matrix> {
    let Members { me, members, .. } = client.read(&client.get("/v1/members").await?)?;
    let own: Paths = client.read(&client.get("/v1/paths").await?)?;
    let doubted: BTreeSet<&str> =
        own.paths.iter().filter(|path| path.state != "up").map(|path| path.name.as_str()).collect();
    let mut asked: Vec<_> =
        members.iter().filter(|member| matches!(member.status.as_str(), "alive" | "suspect")).collect();
    let known = asked.len();
    asked.sort_by(|a, b| {
        let later = |member: &Member| {
            let is_doubted = member.status != "alive" || doubted.contains(member.name.as_str());
            (member.name != me, !is_doubted)
        };
        later(a).cmp(&later(b)).then_with(|| natural(&a.name, &b.name))
    });
    let rows = asked.into_iter().take(MOST).map(|member| row(client, member.name.clone()));
    let rows: Vec<_> = stream::iter(rows).buffered(AT_ONCE).collect().await;
    let mut rows = rows.into_iter().collect::<Result<Vec<Row>, ClientError>>()?;
    rows.sort_by(|a, b| natural(&a.from, &b.from));
    Ok(Matrix { me, known, rows })
}

/// One that does not answer has a row too.
async fn row(client: &Client, from: String) -> Result<Row, ClientError> {
    let none = Row { from, error: None, well: 0, unknown: 0, cut: false, paths: Vec::new() };
    match client.get(&format!("/v1/paths?from={}", segment(&none.from))).await {
        Ok(answer) => {
            let told: Paths = client.read(&answer)?;
            // Of itself the agent tells all.
            let (well, unwell): (Vec<_>, Vec<_>) = told.paths.into_iter().partition(is_well);
            let (unknown, unwell): (Vec<_>, Vec<_>) =
                unwell.into_iter().partition(|path| path.state == "unknown" && path.unanswered == 0);
            let some = |told: Option<u32>, rows: usize| {
                told.unwrap_or_default().saturating_add(u32::try_from(rows).unwrap_or(u32::MAX))
            };
            Ok(Row {
                well: some(told.well, well.len()),
                unknown: some(told.unknown, unknown.len()),
                cut: told.cut,
                paths: unwell,
                ..none
            })
        }
        Err(ClientError::Refused(problem)) => Ok(Row { error: Some(problem.detail), ..none }),
        Err(error) => Err(error),
    }
}

fn is_well(path: &PathRow) -> bool {
    path.state == "up" && path.unanswered == 0
}

/// Only the rows and columns in which something is not well: of a hundred members that reach one another there is nothing to
/// see.
fn table(matrix: &Matrix, output: &Output) -> String {
    let mut columns: Vec<&str> =
        matrix.rows.iter().flat_map(|row| &row.paths).map(|path| path.name.as_str()).collect();
    columns.sort_by(|a, b| natural(a, b));
    columns.dedup();
    let (shown, well): (Vec<&Row>, Vec<&Row>) =
        matrix.rows.iter().partition(|row| row.error.is_some() || !row.paths.is_empty());
    let mut text = String::new();
    if !shown.is_empty() {
        let header: Vec<&str> = ["FROM"].into_iter().chain(columns.iter().copied()).chain(["NOTE"]).collect();
        let mut table = output.table(Some(&header));
        for row in shown {
            let cells = columns.iter().map(|column| Cell::new(cell(row, column)));
            table.add_row([Cell::new(row.from.clone())].into_iter().chain(cells).chain([note(row).into()]));
        }
        text = finish(&table) + "\n";
    }
    if well.is_empty() {
        return text.trim_end().to_owned();
    }
    let names: Vec<&str> = well.iter().map(|row| row.from.as_str()).collect();
    format!("{text}every path is well from {}", few(&names))
}

/// In a word: which direction fails, as seen from the row.
fn cell(row: &Row, column: &str) -> String {
    let path = row.paths.iter().find(|path| path.name == column);
    match path {
        _ if row.from == column => "-",
        _ if row.error.is_some() => "?",
        None if row.unknown > 0 => "",
        None => "up",
        Some(path) if path.state == "down" => path.direction.as_deref().unwrap_or("down"),
        Some(path) if path.unanswered > 0 => "doubt",
        Some(_) => "up",
    }
    .to_owned()
}

fn note(row: &Row) -> String {
    match &row.error {
        Some(error) => error.clone(),
        None if row.cut => "it has more than it told".to_owned(),
        None => String::new(),
    }
}

fn sum(matrix: &Matrix) -> String {
    let answered = matrix.rows.iter().filter(|row| row.error.is_none()).count();
    let down = matrix.rows.iter().flat_map(|row| &row.paths).filter(|path| path.state == "down").count();
    let asked = count(matrix.rows.len(), "member", "members");
    let more = match matrix.known.saturating_sub(matrix.rows.len()) {
        0 => String::new(),
        more => format!("; {more} more were not asked: see --from"),
    };
    format!("{answered} of {asked} answered, {} down{more}", count(down, "direct path", "direct paths"))
}

/// Members that are asked: as many as a person follows, and all of them in the seconds that a person waits.
const MOST: usize = 40;
/// Of those, so many at a time.
const AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str, state: &str, direction: Option<&str>, unanswered: u32) -> PathRow {
        PathRow {
            name: name.to_owned(),
            id: String::new(),
            address: String::new(),
            state: state.to_owned(),
            since: None,
            direction: direction.map(str::to_owned),
            unanswered,
            last_direct_ms_ago: None,
            rtt_ms: None,
            through: Vec::new(),
        }
    }

    fn row(from: &str, paths: Vec<PathRow>) -> Row {
        Row { from: from.to_owned(), error: None, well: 3, unknown: 0, cut: false, paths }
    }

    fn shown(rows: Vec<Row>) -> String {
        let matrix = Matrix { me: "n1".to_owned(), known: rows.len(), rows };
        table(&matrix, &Output::plain(None))
    }

    #[test]
    fn rows_and_columns_in_which_all_is_well_are_folded() {
        let silent = Row { error: Some("it is away".to_owned()), ..row("n5", Vec::new()) };
        let rows = vec![
            row("n1", Vec::new()),
            row("n2", vec![path("n4", "down", Some("out"), 9), path("n1", "up", None, 2)]),
            row("n3", Vec::new()),
            row("n4", vec![path("n2", "down", Some("in"), 9)]),
            silent,
        ];
        let text = shown(rows);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["FROM", "n1", "n2", "n4", "NOTE"]);
        assert_eq!(lines[1], ["n2", "doubt", "-", "out"]);
        assert_eq!(lines[2], ["n4", "up", "in", "-"]);
        assert_eq!(lines[3], ["n5", "?", "?", "?", "it", "is", "away"]);
        assert_eq!(text.lines().last(), Some("every path is well from n1, n3"));
    }

    #[test]
    fn of_members_that_all_reach_one_another_there_is_one_line() {
        assert_eq!(
            shown(vec![row("n1", Vec::new()), row("n2", Vec::new())]),
            "every path is well from n1, n2"
        );
    }
}
