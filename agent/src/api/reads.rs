//! Questions: none of these changes anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use heartsay_membership::{Answer, MemberView, Name, PathState, Question, Status};
use serde::Serialize;
use serde_json::{Value, json};

use super::admission::Place;
use super::answer;
use super::filter::{self, MemberFilter};
use super::{App, Problem};
use crate::api::metrics::Format;
use crate::daemon::driver::Snapshot;
use crate::doctor::Condition;
use crate::settings::Shown;
use crate::show::{self, Fallen};
use crate::types::{ExportRows, Member, Members, PathRow, Paths, Quorum, SelfInfo, Version};
use crate::web;

pub(super) async fn members(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    filter::check_number(&query)?;
    let (mut filter, mut evidence) = (MemberFilter::default(), false);
    for (key, value) in &query {
        match key.as_str() {
            "evidence" => evidence = filter::flag(key, value)?,
            _ if filter.add(key, value)? => {}
            _ => {
                let detail =
                    format!("{key} is not understood; known are status, tag, version, max_load and evidence");
                return Err(Problem::bad_request(detail));
            }
        }
    }
    let turn = place.answers().turn_soon(&place).await?;
    let snapshot = app.whole().await?;
    let text = turn
        .write(move || {
            let members = snapshot.members.iter().filter(|view| filter.takes(view));
            let fallen = app.0.event_log.falls();
            let members = members.map(|view| one(&app, view, &fallen, evidence)).collect();
            answer::json(&Members {
                me: snapshot.me.to_string(),
                index: snapshot.index,
                joined: app.has_joined(&snapshot),
                isolated: snapshot.stats.isolated,
                members,
            })
        })
        .await?;
    Ok(turn.give(text).into_response("application/json"))
}

pub(super) async fn member(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Member>, Problem> {
    let Path(name) = name?;
    let unknown = || Problem::not_found(format!("no member is called {name:?}"));
    let wanted = Name::new(&name).map_err(|_| unknown())?;
    let snapshot = app.single(wanted).await?;
    let view = snapshot.members.first().ok_or_else(unknown)?;
    Ok(Json(one(&app, view, &app.0.event_log.falls(), true)))
}

pub(super) async fn myself(State(app): State<App>) -> Result<Json<SelfInfo>, Problem> {
    let snapshot = app.whole().await?;
    let myself = snapshot.members.iter().find(|view| view.is_self);
    let myself = myself.ok_or_else(|| Problem::unavailable("this agent is not in its own view"))?;
    let about = &app.0.about;
    let standing = super::looked_at(&app.0, &snapshot);
    let since = |one: &Condition| one.stood.map(|stood| app.0.clock.stamp(snapshot.at - stood));
    Ok(Json(SelfInfo {
        member: one(&app, myself, &Fallen::default(), true),
        cluster: about.cluster.clone(),
        profile: about.profile.clone(),
        bind: about.bind.clone(),
        pid: std::process::id(),
        started: app.0.clock.stamp(about.started),
        encrypted: show::keys(myself).first().is_some_and(|id| *id != 0),
        keys: show::keys(myself),
        joined: app.has_joined(&snapshot),
        outside: snapshot.outside.as_ref().map(|outside| show::outside(&app.0.clock, outside)),
        isolated: snapshot.stats.isolated,
        leaving: snapshot.leaving,
        local_health: snapshot.stats.local_health,
        peers_agreeing: snapshot.stats.peers_agreeing,
        peers_known: snapshot.stats.peers_known,
        news_delay: show::news_delay(&snapshot.news_delays),
        seeds_heard: snapshot.stats.seeds_heard,
        counts: show::counts(&snapshot.members),
        quorum: show::quorum_at(&app.0.clock, snapshot.at, &snapshot.quorum),
        beat: show::beat(&app.0.clock, &snapshot.service_watchdog),
        seeds: app.0.seeds.shown(),
        conditions: standing.iter().filter(|one| one.is_problem()).map(|one| one.said.to_string()).collect(),
        findings: standing.iter().map(|one| show::finding(one, since(one))).collect(),
        version: version_info(),
    }))
}

/// How this agent reaches the others itself, or how another member does, which is asked.
pub(super) async fn paths(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    filter::check_number(&query)?;
    let mut from = None;
    for (key, value) in query {
        match key.as_str() {
            "from" if from.is_none() => from = Some(value),
            "from" => return Err(Problem::bad_request("from is given twice; one member is asked at a time")),
            _ => return Err(Problem::bad_request(format!("{key} is not understood; known is from"))),
        }
    }
    match from {
        Some(from) if from != app.0.about.name.as_str() => paths_from(&app, from).await,
        Some(from) => own_paths(app, place, Some(from)).await,
        None => own_paths(app, place, None).await,
    }
}

/// As another member tells.
async fn paths_from(app: &App, from: String) -> Result<Response, Problem> {
    let member = Name::new(&from).map_err(|_| Problem::not_found(format!("no member is called {from:?}")))?;
    let (at, answer) = app.ask_member(member, Question::Paths).await?;
    let Some(Answer::Paths(told)) = answer else { return Err(no_answer(&from)) };
    let snapshot = app.whole().await?;
    let clock = &app.0.clock;
    let known: BTreeMap<&Name, &MemberView> =
        snapshot.members.iter().map(|view| (&view.name, view)).collect();
    let row = |path| Some(show::path_told(clock, at, path, known.get(&path.name)?));
    let mut paths: Vec<PathRow> = told.paths.iter().filter_map(row).collect();
    paths.sort_by(|a, b| (a.state != "down", &a.name).cmp(&(b.state != "down", &b.name)));
    let told = Paths {
        me: snapshot.me.to_string(),
        at: clock.stamp(at),
        from: Some(from),
        well: Some(told.well),
        unknown: Some(told.unknown),
        cut: told.cut || told.strange > 0,
        paths,
    };
    Ok(Json(told).into_response())
}

fn no_answer(name: &str) -> Problem {
    Problem::no_answer(format!(
        "{name} has not answered within a second: it is away, nothing passes between the two hosts, or its agent is too old to \
         be asked"
    ))
}

/// Trouble first, then by name, as the view is.
async fn own_paths(app: App, place: Arc<Place>, from: Option<String>) -> Result<Response, Problem> {
    let turn = place.answers().turn_soon(&place).await?;
    let snapshot = app.whole().await?;
    let text = turn
        .write(move || {
            let (clock, at) = (&app.0.clock, snapshot.at);
            let present =
                |view: &&MemberView| !view.is_self && matches!(view.status, Status::Alive | Status::Suspect);
            let mut views: Vec<&MemberView> = snapshot.members.iter().filter(present).collect();
            views.sort_by_key(|view| view.path.state != PathState::Down);
            let paths = views.into_iter().map(|view| show::path(clock, at, view)).collect();
            let me = snapshot.me.to_string();
            answer::json(&Paths { me, at: clock.stamp(at), from, paths, ..Paths::default() })
        })
        .await?;
    Ok(turn.give(text).into_response("application/json"))
}

pub(super) async fn quorum(State(app): State<App>) -> Result<Json<Quorum>, Problem> {
    let snapshot = app.brief().await?;
    Ok(Json(show::quorum_at(&app.0.clock, snapshot.at, &snapshot.quorum)))
}

/// Counters since the start, flat: a number by name, and refusals and losses by reason.
pub(crate) async fn stats(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let snapshot = app.brief().await?;
    let Snapshot { stats, loss, known, .. } = &*snapshot;
    let mut all = json!({
        "members": known,
        "datagrams_sent": stats.datagrams_sent,
        "datagrams_held_back": stats.datagrams_held_back,
        "datagrams_received": stats.datagrams_received,
        "bytes_sent": stats.bytes_sent,
        "bytes_received": stats.bytes_received,
        "rounds": stats.rounds,
        "exchanges": stats.exchanges,
        "probes": stats.probes,
        "probes_unanswered": stats.probes_unanswered,
        "probe_requests": stats.probe_requests,
        "nacks": stats.nacks,
        "refusals": stats.refusals,
        "refusals_unproven": stats.refusals_unproven,
        "refusals_cut": stats.refusals_cut,
        "bursts": stats.bursts,
        "claims_sent": stats.claims_sent,
        "claims_received": stats.claims_received,
        "stale_claims": stats.stale_claims,
        "suspicions_raised": stats.suspicions_raised,
        "suspicions_refuted": stats.suspicions_refuted,
        "refutations_of_self": stats.refutations_of_self,
        "verdicts": stats.verdicts,
        "stalls": stats.stalls,
        "pages_equal": stats.pages_equal,
        "pages_unequal": stats.pages_unequal,
        "rejected": stats.rejected,
        "local_health": stats.local_health,
        "isolated": stats.isolated,
        "tombstones": stats.tombstones,
        "peers_agreeing": stats.peers_agreeing,
        "peers_known": stats.peers_known,
        "seeds_heard": stats.seeds_heard,
        "narrow_paths": stats.narrow_paths,
        "values_too_long": stats.values_too_long,
        "socket_overflow": loss.overflow,
        "not_delivered": loss.failures,
        "timer_lag_seconds": loss.lag.as_secs_f64(),
        "log_lines_dropped": app.0.log.dropped(),
        "hooks": app.0.hook_runs.counts().into_iter().collect::<BTreeMap<_, _>>(),
        "events": app.0.event_log.counts(),
    });
    // One macro does not take them all.
    let rest = [
        ("calls_received", stats.calls_received),
        ("last_words", stats.last_words),
        ("last_words_unproven", stats.last_words_unproven),
        ("path_downs", stats.path_downs),
        ("path_ups", stats.path_ups),
        ("paths_down", stats.paths_down as u64),
        ("paths_unwatched", stats.paths_unwatched),
        ("paths_measuring", stats.paths_measuring as u64),
    ];
    if let Some(all) = all.as_object_mut() {
        all.extend(rest.map(|(name, count)| (name.to_owned(), count.into())));
    }
    Ok(Json(all))
}

/// How the exports fare.
pub(super) async fn exports(State(app): State<App>) -> Json<ExportRows> {
    let (me, exports) = (app.0.about.name.to_string(), app.0.exports.rows(&app.0.clock));
    Json(ExportRows { me, exports })
}

/// Every setting in force, with its origin. Keys are told by their file only.
pub(super) async fn config(State(app): State<App>) -> Json<Vec<Shown>> {
    Json(app.0.settings.read().clone())
}

pub(super) async fn version() -> Json<Version> {
    Json(version_info())
}

pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let snapshot = app.whole().await?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::wanted(accept.unwrap_or_default());
    let text = crate::api::metrics::encode(&snapshot, &app.0, format)
        .map_err(|e| Problem::unavailable(format!("metrics could not be written: {e}")))?;
    Ok(([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")], text).into_response())
}

/// For browsers; it asks the rest itself.
pub(super) async fn page(headers: HeaderMap) -> Response {
    web::page(&headers)
}

/// Answered by way of the protocol loop, so that it says something about it.
pub(super) async fn livez(State(app): State<App>) -> Result<Json<Word>, Problem> {
    app.brief().await?;
    Ok(Json(Word { status: "live" }))
}

pub(super) async fn readyz(State(app): State<App>) -> Result<Json<Word>, Problem> {
    let snapshot = app.brief().await?;
    if snapshot.leaving {
        return Err(Problem::unavailable("this agent is leaving"));
    }
    if let Some(outside) = &snapshot.outside {
        return Err(Problem::unavailable(outside.to_string()));
    }
    if !app.has_joined(&snapshot) {
        return Err(Problem::unavailable("no other member has been found yet"));
    }
    Ok(Json(Word { status: "ready" }))
}

/// `{"status":"ready"}`.
#[derive(Debug, Serialize)]
pub(super) struct Word {
    status: &'static str,
}

fn one(app: &App, view: &MemberView, fallen: &Fallen, evidence: bool) -> Member {
    if evidence {
        show::member_with_evidence(&app.0.clock, view, fallen, app.0.about.phi_threshold)
    } else {
        show::member(&app.0.clock, view, fallen)
    }
}

fn version_info() -> Version {
    Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol_min: u32::from(heartsay_proto::VERSION),
        protocol_max: u32::from(heartsay_proto::VERSION),
    }
}
