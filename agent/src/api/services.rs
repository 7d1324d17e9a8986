//! `/v1/services`: what the members say of services, and the instances of this host.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::future::join_all;
use futures_util::stream;
use heartsay_membership::{Answer, Name, Question};

use super::admission::{Place, StreamPlace};
use super::watch::{IDLE, Streaming, too_many};
use super::writes::{Caller, parse};
use super::{App, Problem, answer, filter};
use crate::services::listing::{self, Wanted};
use crate::services::{Held, Instance, Owner, Refused, Registration, ServiceName};
use crate::settings;
use crate::types::{
    DeregisterRequest, HealthRequest, HoldLine, NamedService, RegisterRequest, ServiceEvent, ServiceInstance,
    Services, Word,
};

/// All names.
pub(super) async fn services(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let wanted = wanted(&query)?;
    let turn = place.answers().turn_soon(&place).await?;
    let (snapshot, own) = (app.whole().await?, app.0.services.own().await);
    let text = turn
        .write(move || {
            let (services, unreadable) = listing::services(&snapshot.members, &own, &wanted);
            answer::json(&Services {
                me: snapshot.me.to_string(),
                index: snapshot.index,
                joined: app.has_joined(&snapshot),
                isolated: snapshot.stats.isolated,
                services,
                unreadable,
            })
        })
        .await?;
    Ok(turn.give(text).into_response("application/json"))
}

/// One name.
pub(super) async fn service(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    name: Result<Path<String>, PathRejection>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let Path(name) = name?;
    named(app, place, name, &query).await
}

/// A service whose name is a path of ours.
pub(super) async fn called_so(
    State(app): State<App>,
    Extension(place): Extension<Arc<Place>>,
    uri: Uri,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    named(app, place, name.to_owned(), &query).await
}

async fn named(
    app: App,
    place: Arc<Place>,
    name: String,
    query: &[(String, String)],
) -> Result<Response, Problem> {
    let (whys, query): (Vec<_>, Vec<_>) = query.iter().cloned().partition(|(key, _)| key == "why");
    let why = match whys.last() {
        Some((key, value)) => filter::flag(key, value)?,
        None => false,
    };
    let wanted = Wanted { name: Some(name.clone()), ..wanted(&query)? };
    let told = if why { ask_why(&app, &wanted).await? } else { BTreeMap::new() };
    let turn = place.answers().turn_soon(&place).await?;
    let (snapshot, own) = (app.whole().await?, app.0.services.own().await);
    let found = turn
        .write(move || {
            let mut service = listing::services(&snapshot.members, &own, &wanted).0.pop()?;
            for one in &mut service.instances {
                let Some(answer) = told.get(&(one.member.clone(), one.id.clone())) else { continue };
                one.answered = Some(answer.is_some());
                one.text = answer.clone().filter(|text| !text.is_empty());
            }
            Some(answer::json(&NamedService {
                me: snapshot.me.to_string(),
                index: snapshot.index,
                joined: app.has_joined(&snapshot),
                isolated: snapshot.stats.isolated,
                service,
            }))
        })
        .await?;
    let text = found.ok_or_else(|| Problem::not_found(format!("no member has a service {name:?}")))?;
    Ok(turn.give(text).into_response("application/json"))
}

/// What the members say of their instances that are not passing, by member and id; `None`: it has not answered.
async fn ask_why(app: &App, wanted: &Wanted) -> Result<BTreeMap<(String, String), Option<String>>, Problem> {
    let snapshot = app.whole().await?;
    let found = listing::services(&snapshot.members, &BTreeMap::new(), wanted).0.pop().unwrap_or_default();
    let is_ours = |one: &ServiceInstance| one.member == snapshot.me.as_str();
    let may_answer = |one: &ServiceInstance| one.status != "down" && one.health != "passing" && !is_ours(one);
    let unwell = found.instances.into_iter().filter(may_answer).take(MOST_ASKED);
    let asked = unwell.map(async |one| {
        let question = Question::Health { service: found.name.clone(), id: one.id.clone() };
        let answer = match Name::new(&one.member) {
            Ok(member) => app.ask_member(member, question).await,
            Err(_) => return None,
        };
        // One that has gone in the meantime, or one too many to be asked, is as if it had not been asked.
        let text = match answer.ok()?.1 {
            Some(Answer::Health(text)) => Some(text.unwrap_or_default()),
            Some(Answer::Paths(_)) | None => None,
        };
        Some(((one.member, one.id), text))
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

fn wanted(query: &[(String, String)]) -> Result<Wanted, Problem> {
    filter::check_number(query)?;
    let mut wanted = Wanted::default();
    for (key, value) in query {
        match key.as_str() {
            "healthy" => wanted.healthy = filter::flag(key, value)?,
            "member" => wanted.members.push(value.clone()),
            "tag" => {
                let tag = value.parse().map_err(|e| Problem::bad_request(format!("tag {e}")))?;
                wanted.tags.push(tag);
            }
            "max_load" => wanted.max_load = Some(filter::percent(key, value)?),
            _ => {
                let detail = format!(
                    "{key} is not understood; known are healthy, max_load, member and tag, and why for one name"
                );
                return Err(Problem::bad_request(detail));
            }
        }
    }
    Ok(wanted)
}

/// Registers an instance of this host, with `hold` for as long as the connection.
pub(super) async fn register(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(place): Extension<Arc<Place>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let wish: RegisterRequest = parse(&body)?;
    let hold = wish.hold;
    let what = registration(wish)?;
    let at = app.single(app.0.about.name.clone()).await?.members.first().map(|view| view.address.ip());
    let at = at.ok_or_else(|| Problem::unavailable("this agent is not in its own view"))?;
    let service = listing::event(app.0.about.name.as_str(), at, what.name.as_str(), &what.instance);
    if !hold {
        app.0.services.register(what, Owner::Api).await?;
        return Ok(Json(line(&app, "registered", Some(service))).into_response());
    }
    let stream = place.stream(app.0.clock.now()).map_err(too_many)?;
    let owner = match &caller {
        Caller::Local(peer) => Owner::Holder { uid: peer.uid.as_raw(), pid: peer.pid },
        Caller::Remote { .. } => return Err(Problem::forbidden("over TCP nothing can be changed")),
    };
    let held = app.0.services.register(what, owner).await?;
    Ok(holding(Holding { app, held, due: Some(service), _stream: stream }))
}

/// A registration that lasts as long as its answer. When the other end is gone, the server drops the answer, without waiting
/// for something to be written, and this with it.
struct Holding {
    app: App,
    held: Held,
    /// What is said first.
    due: Option<ServiceEvent>,
    _stream: StreamPlace,
}

impl Holding {
    /// What to send next; waits for it. `None` when it was deregistered or the agent stops.
    async fn next(&mut self) -> Option<Bytes> {
        let line = match self.due.take() {
            Some(service) => line(&self.app, "registered", Some(service)),
            None => tokio::select! {
                () = tokio::time::sleep(IDLE) => line(&self.app, "idle", None),
                () = self.held.ended.cancelled() => return None,
                () = self.app.0.stopping.cancelled() => return None,
            },
        };
        // Text always serializes.
        serde_json::to_string(&line).ok().map(|json| format!("{json}\n").into())
    }
}

fn holding(holding: Holding) -> Response {
    let body = Body::from_stream(stream::unfold(holding, |mut holding| async {
        let chunk = holding.next().await?;
        Some((Ok::<_, Infallible>(chunk), holding))
    }));
    let headers =
        [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-cache, no-transform")];
    let mut response = (headers, body).into_response();
    response.extensions_mut().insert(Streaming);
    response
}

fn line(app: &App, kind: &str, service: Option<ServiceEvent>) -> HoldLine {
    let clock = &app.0.clock;
    HoldLine { kind: kind.to_owned(), time: clock.stamp(clock.now()), service }
}

fn registration(wish: RegisterRequest) -> Result<Registration, Problem> {
    let RegisterRequest { name, id, port, address, tags, checks, hold: _ } = wish;
    let name = name_of(&name)?;
    let address = match address.as_deref().map(str::parse) {
        None => None,
        Some(Ok(address)) => Some(address),
        Some(Err(_)) => {
            let detail = format!("address {:?} is no IP address", address.unwrap_or_default());
            return Err(Problem::bad_request(detail));
        }
    };
    let instance = Instance { id, port, address, tags, ..Instance::default() };
    instance.check().map_err(Problem::bad_request)?;
    let texts = |check: BTreeMap<String, Word>| {
        check.into_iter().map(|(key, word)| (key, word.to_string())).collect()
    };
    let checks = settings::asked(checks.into_iter().map(texts).collect())
        .map_err(|errors| Problem::bad_request(errors.to_string()))?;
    Ok(Registration { name, instance, checks })
}

fn name_of(text: &str) -> Result<ServiceName, Problem> {
    text.parse().map_err(|e: String| Problem::bad_request(e))
}

/// Takes an instance of this host away.
pub(super) async fn deregister(State(app): State<App>, body: Bytes) -> Result<StatusCode, Problem> {
    let DeregisterRequest { name, id } = parse(&body)?;
    app.0.services.deregister((name_of(&name)?, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says how an instance of this host is.
pub(super) async fn health(State(app): State<App>, body: Bytes) -> Result<StatusCode, Problem> {
    let HealthRequest { name, id, health, text } = parse(&body)?;
    let health = health.parse().map_err(|e: String| Problem::bad_request(e))?;
    if text.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT) {
        return Err(Problem::bad_request(format!("the text has more than {LONGEST_TEXT} bytes")));
    }
    app.0.services.health((name_of(&name)?, id), health, text).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Taken(detail) => Self::conflict(detail),
            Refused::Unknown(detail) => Self::not_found(detail),
            Refused::Rejected(rejected) => rejected.into(),
            Refused::Full | Refused::TooManyChecks => Self::conflict(refused.to_string()),
            Refused::Stopping => Self::unavailable(refused.to_string()),
        }
    }
}

/// Instances whose members are asked why, at most: as many as a person reads, and all at once, so that it takes a second.
const MOST_ASKED: usize = 40;
/// What is said of a health: a sentence or two.
const LONGEST_TEXT: usize = 1024;
