//! `GET /v1/watch`: a snapshot, then every change, each with a rising index.
//!
//! The stream pulls: it takes from the ring what its reader has missed when the
//! reader has room for more, so a slow reader costs the others nothing. One that
//! fell out of the ring is told `lagged` and gets a fresh snapshot.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::admission::{Place, Refused, StreamPlace};
use super::answer::Pieces;
use super::filter::{self, LineFilter};
use super::{App, Problem};
use crate::event_log::Missed;
use crate::show;
use crate::types::WatchLine;

pub(super) async fn watch(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let style = if accepts_sse(&headers) { Style::Sse } else { Style::Lines };
    filter::check_number(&query)?;
    let mut filter = LineFilter::default();
    let since = resume_point(&app, &query, &headers, &mut filter)?;
    if let Some(since) = since
        && app.0.event_log.after(since, 0) == Missed::Gone
    {
        return Err(Problem::gone(format!(
            "events after index {since} are not kept here (newest is {}); start over without since",
            app.0.event_log.newest()
        )));
    }
    let stream = place.stream(app.0.clock.now()).map_err(too_many)?;
    let with_snapshot = since.is_none() && filter.takes_type("snapshot");
    let mut at = since.unwrap_or(0);
    if !with_snapshot && !filter.takes_all() {
        let turn = place.answers().turn_soon(&place).await?;
        let view = app.whole().await?;
        // Before the answer: what happens after that is told by events, as no snapshot tells it.
        at = since.unwrap_or(view.index);
        let begun = turn.write(move || {
            filter.begin(&view.members);
            filter
        });
        filter = begun.await?;
    }
    let follower = Follower {
        changes: app.0.event_log.subscribe(),
        generation: app.0.about.generation,
        at,
        due: if with_snapshot { VecDeque::from([Due::Snapshot]) } else { VecDeque::new() },
        // Proxies and clients learn at once that the stream is there.
        idle_at: Instant::now(),
        style,
        filter,
        app,
        begun: None,
        place,
        _stream: stream,
    };
    Ok(answer(follower))
}

pub(super) fn too_many(refused: Refused) -> Problem {
    let (most, whose) = match refused {
        Refused::Full(most) => (most, ""),
        Refused::OfOne(most) => (most, " from your user or address"),
    };
    Problem::busy(format!(
        "{most} event streams are open to this agent{whose}, which is the most; end one, or ask later"
    ))
}

/// All that the follower sends, without end.
fn answer(follower: Follower) -> Response {
    let style = follower.style;
    let body = Body::from_stream(stream::unfold(follower, |mut follower| async {
        let chunk = follower.next().await?;
        follower.idle_at = Instant::now() + IDLE;
        Some((Ok::<_, Infallible>(chunk), follower))
    }));
    let content_type = match style {
        Style::Lines => "application/x-ndjson",
        Style::Sse => "text/event-stream",
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        // nginx and others keep an answer back until they have some kilobytes of it, unless told not to.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut response = (headers, body).into_response();
    response.extensions_mut().insert(Streaming);
    response
}

/// Marks an answer that has no end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streaming;

/// How lines are written.
#[derive(Clone, Copy, Debug)]
enum Style {
    Lines,
    Sse,
}

/// What goes out before further events.
#[derive(Debug)]
enum Due {
    Lagged,
    /// At the beginning, for readers that want that type. Later for every filter: a reader that has missed lines can learn
    /// what they said from nothing else.
    Snapshot,
}

struct Follower {
    app: App,
    changes: watch::Receiver<u64>,
    generation: u64,
    /// Index of the last event that the reader has.
    at: u64,
    due: VecDeque<Due>,
    /// When a sign of life is due.
    idle_at: Instant,
    style: Style,
    filter: LineFilter,
    /// A long line on its way.
    begun: Option<Pieces>,
    place: Arc<Place>,
    _stream: StreamPlace,
}

impl Follower {
    /// What to send next; waits for it. `None` when the agent stops.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.begun.as_mut().and_then(Pieces::next) {
                return Some(piece);
            }
            self.begun = None;
            match self.due.pop_front() {
                Some(Due::Lagged) => return Some(self.remark("lagged")),
                Some(Due::Snapshot) => self.begun = Some(self.snapshot().await?),
                None => {}
            }
            if self.begun.is_some() {
                continue;
            }
            // Seen before reading, so that an event in between wakes us again.
            self.changes.mark_unchanged();
            match self.app.0.event_log.after(self.at, CHUNK) {
                Missed::Gone => self.due.extend([Due::Lagged, Due::Snapshot]),
                Missed::Lines(lines) if !lines.is_empty() => {
                    let events = self.events(&lines);
                    if !events.is_empty() {
                        return Some(events);
                    }
                }
                Missed::Lines(_) => {
                    let stopping = self.app.0.stopping.clone();
                    tokio::select! {
                        changed = self.changes.changed() => changed.ok()?,
                        () = tokio::time::sleep_until(self.idle_at) => return Some(self.remark("idle")),
                        () = stopping.cancelled() => return None,
                    }
                }
            }
        }
    }

    async fn snapshot(&mut self) -> Option<Pieces> {
        let turn = self.place.answers().turn(&self.place).await.ok()?;
        let view = self.app.whole().await.ok()?;
        self.at = view.index;
        let (app, mut filter) = (self.app.clone(), std::mem::take(&mut self.filter));
        let (generation, style, id) = (self.generation, self.style, self.id());
        let written = turn.write(move || {
            let clock = &app.0.clock;
            filter.begin(&view.members);
            let fallen = app.0.event_log.falls();
            let wanted = view.members.iter().filter(|view| filter.members.takes(view));
            let line = WatchLine {
                kind: "snapshot".to_owned(),
                index: view.index,
                time: clock.stamp(view.at),
                name: Some(view.me.to_string()),
                generation: Some(generation),
                quorum: Some(show::quorum(clock, &view.quorum)),
                joined: Some(app.has_joined(&view)),
                isolated: Some(view.stats.isolated),
                members: Some(wanted.map(|view| show::member(clock, view, &fallen)).collect()),
                ..WatchLine::default()
            };
            (style.written(&id, &line), filter)
        });
        let (text, filter) = written.await.ok()?;
        self.filter = filter;
        Some(turn.give(text))
    }

    fn events(&mut self, lines: &[Arc<str>]) -> Bytes {
        let mut out = String::new();
        for line in lines {
            self.at += 1;
            if self.filter.takes_all() || self.filter.takes(line) {
                self.style.write(&mut out, &self.id(), line);
            }
        }
        out.into()
    }

    /// A line that is no event: it carries the index the reader is at.
    fn remark(&self, kind: &str) -> Bytes {
        let clock = &self.app.0.clock;
        let time = clock.stamp(clock.now());
        let line = WatchLine { kind: kind.to_owned(), index: self.at, time, ..WatchLine::default() };
        self.style.written(&self.id(), &line)
    }

    /// Where a reader that has all of this goes on.
    fn id(&self) -> String {
        format!("{}-{}", self.generation, self.at)
    }
}

impl Style {
    fn written(self, id: &str, line: &WatchLine) -> Bytes {
        let mut out = String::new();
        // Text and finite numbers always serialize.
        if let Ok(json) = serde_json::to_string(line) {
            self.write(&mut out, id, &json);
        }
        out.into()
    }

    fn write(self, out: &mut String, id: &str, json: &str) {
        match self {
            Self::Lines => *out += &format!("{json}\n"),
            Self::Sse => *out += &format!("id: {id}\ndata: {json}\n\n"),
        }
    }
}

fn accepts_sse(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT);
    accepted.iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/event-stream"))
}

/// Where to go on: `?since=INDEX`, with `&generation=G` if the reader wants to be
/// told of a restart in between; or the header that SSE clients send by themselves.
/// The rest of the query is the filter's.
fn resume_point(
    app: &App,
    query: &[(String, String)],
    headers: &HeaderMap,
    filter: &mut LineFilter,
) -> Result<Option<u64>, Problem> {
    let number = |what: &str, text: &str| {
        text.parse::<u64>().map_err(|_| Problem::bad_request(format!("{what} {text:?} is no whole number")))
    };
    let mut since = None;
    let mut generation = None;
    if let Some(id) = headers.get("last-event-id").and_then(|id| id.to_str().ok()) {
        let (life, index) = id.split_once('-').ok_or_else(|| {
            Problem::bad_request(format!("Last-Event-ID {id:?} is not one of ours (GENERATION-INDEX)"))
        })?;
        generation = Some(number("Last-Event-ID", life)?);
        since = Some(number("Last-Event-ID", index)?);
    }
    for (key, value) in query {
        match key.as_str() {
            "since" => since = Some(number("since", value)?),
            "generation" => generation = Some(number("generation", value)?),
            _ if filter.add(key, value)? => {}
            _ => {
                return Err(Problem::bad_request(format!(
                    "{key} is not understood; known are since, generation, type, service, status and tag"
                )));
            }
        }
    }
    if since.is_some() && generation.is_some_and(|life| life != app.0.about.generation) {
        return Err(Problem::gone("the agent was restarted since; start over without since"));
    }
    Ok(since)
}

/// A sign of life for readers and proxies in between, which cut a silent connection after 60 s, mostly.
pub(super) const IDLE: Duration = Duration::from_secs(15);
/// Events per write.
const CHUNK: usize = 64;
