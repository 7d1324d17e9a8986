//! `GET /v1/history`: what has happened, and `/v1/history/NAME`: the case of one member at a moment in the past.
//!
//! Read from the disk, which may hang: on a thread of its own, one reader at a time, and never in the way of other answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use heartsay_membership::Name;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::admission::Place;
use super::{App, Problem, answer, filter};
use crate::recorder::{DAYS, Found, Wanted, past as past_of, search, stamp};
use crate::types::{HISTORY_TYPES, Past};

/// As [`crate::types::History`], with entries as they were written.
#[derive(Serialize)]
struct History {
    #[serde(rename = "self")]
    me: String,
    kept: &'static str,
    oldest: Option<String>,
    more: bool,
    damaged: u64,
    left_out: u64,
    entries: VecDeque<Box<RawValue>>,
}

pub(super) async fn history(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    filter::check_number(&query)?;
    let mut wanted = Wanted { limit: USUAL, ..Wanted::default() };
    for (key, value) in query {
        match key.as_str() {
            "member" => wanted.member = Some(value),
            "type" if HISTORY_TYPES.contains(&value.as_str()) => wanted.types.push(value),
            "type" => {
                let detail = format!("type {value:?} is none of {}", HISTORY_TYPES.join(", "));
                return Err(Problem::bad_request(detail));
            }
            "since" => wanted.since = Some(moment(&key, &value)?),
            "until" => wanted.until = Some(moment(&key, &value)?),
            "limit" => wanted.limit = limit(&value)?,
            _ => {
                let detail =
                    format!("{key} is not understood; known are member, type, since, until and limit");
                return Err(Problem::bad_request(detail));
            }
        }
    }
    wanted.is_self = wanted.member.as_deref() == Some(app.0.about.name.as_str());
    let me = app.0.about.name.to_string();
    let write = move |found: Found| {
        answer::json(&History {
            me,
            kept: kept(&found),
            oldest: found.oldest,
            more: found.more,
            damaged: found.damaged,
            left_out: found.left_out,
            entries: found.entries,
        })
    };
    read(&app, &place, wanted, write).await
}

pub(super) async fn past(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    name: Result<Path<String>, PathRejection>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let Path(name) = name?;
    let at = match query.as_slice() {
        [(key, value)] if key == "at" => moment(key, value)?,
        _ => return Err(Problem::bad_request("at is wanted, and nothing else: the moment, as RFC 3339")),
    };
    if name == app.0.about.name.as_str() {
        let detail =
            format!("{name} is this agent itself; ask another member, or look at /v1/history?member={name}");
        return Err(Problem::bad_request(detail));
    }
    let known = match Name::new(&name) {
        Ok(wanted) => !app.single(wanted).await?.members.is_empty(),
        Err(_) => false,
    };
    let types = HISTORY_TYPES.into_iter().filter(|kind| !kind.starts_with("service-"));
    let wanted = Wanted {
        member: Some(name.clone()),
        // For the beginnings of its lives.
        is_self: true,
        types: types.filter(|kind| !matches!(*kind, "quorum" | "link")).map(str::to_owned).collect(),
        limit: usize::MAX,
        ..Wanted::default()
    };
    let me = app.0.about.name.to_string();
    let write = move |found: Found| {
        let (past, is_told_of) = past_of(&found, &name, &at);
        if !known && !is_told_of {
            let detail = format!("no member is called {name:?}, and the history has nothing of one");
            return Err(Problem::not_found(detail));
        }
        let past = Past { me, kept: kept(&found).to_owned(), ..past };
        Ok(answer::json(&past))
    };
    read(&app, &place, wanted, write).await
}

/// Searches, and gives what is written of it.
async fn read<T: Into<Written> + Send + 'static>(
    app: &App,
    place: &Arc<Place>,
    wanted: Wanted,
    write: impl FnOnce(Found) -> T + Send + 'static,
) -> Result<Response, Problem> {
    let Some(recorder) = app.0.event_log.recorder().cloned() else {
        return Err(Problem::conflict("this agent keeps no history, by its setting history = false"));
    };
    let busy = || {
        Problem::busy(
            "others read the history of this agent, or its disk does not answer; ask again in a moment",
        )
    };
    let reading = tokio::time::timeout(TURN_WITHIN, recorder.reading().acquire_owned()).await;
    let reading = reading.map_err(|_| busy())?.map_err(|_| busy())?;
    let oldest = app.0.clock.unix_ms().saturating_sub(DAYS * 24 * 3600 * 1000);
    let oldest = i64::try_from(oldest).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let oldest = stamp(oldest.unwrap_or(Timestamp::UNIX_EPOCH));
    let read = tokio::task::spawn_blocking(move || {
        let found = recorder.kept().and_then(|kept| search(&kept, &oldest, &wanted));
        (found.map(|found| write(found).into()), reading)
    });
    let (written, reading) = read.await.map_err(|_| Problem::unavailable("the agent is stopping"))?;
    let written: Written =
        written.map_err(|e| Problem::unavailable(format!("the history cannot be read: {e}")))?;
    // The next one reads when there is room for its answer too.
    let turn = place.answers().turn_soon(place).await?;
    drop(reading);
    Ok(turn.give(written.0?).into_response("application/json"))
}

/// An answer, or why there is none.
struct Written(Result<Bytes, Problem>);

impl From<Bytes> for Written {
    fn from(text: Bytes) -> Self {
        Self(Ok(text))
    }
}

impl From<Result<Bytes, Problem>> for Written {
    fn from(answer: Result<Bytes, Problem>) -> Self {
        Self(answer)
    }
}

fn kept(found: &Found) -> &'static str {
    if found.in_memory { "memory" } else { "disk" }
}

fn limit(value: &str) -> Result<usize, Problem> {
    let number = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    number.ok_or_else(|| Problem::bad_request(format!("limit {value:?} is no whole number from 1 to {MOST}")))
}

/// A moment as the entries have it, so that the two can be compared.
fn moment(key: &str, value: &str) -> Result<String, Problem> {
    let moment = value.parse().map(stamp);
    moment.map_err(|_| {
        Problem::bad_request(format!("{key} {value:?} is no time of RFC 3339, such as 2026-11-20T14:03:00Z"))
    })
}

/// Entries in an answer, unless it says how many.
const USUAL: usize = 1000;
/// More than are kept.
const MOST: usize = 1_000_000;
/// How long a question waits for those before it; below the limit of every question.
const TURN_WITHIN: Duration = Duration::from_secs(5);
