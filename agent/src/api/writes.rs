//! Wishes: these change something, so the kernel must say who asks.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::{self, Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use heartsay_membership::{Command, LONGEST_RESTART, MemberView, Name, Source, Status};
use nix::unistd::Gid;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tracing::info;

use super::admission::Origin;
use super::peer::Peer;
use super::{App, Problem};
use crate::daemon::driver::{Request, Scope, Snapshot};
use crate::show;
use crate::types::{
    Beat, EmptyRequest, ForgetRequest, JoinRequest, JoinResponse, LeaveResponse, MeasureResponse, Member,
    Reloaded, RestartRequest, TagsRequest, TestifiedState, TestifyRequest,
};

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A process of this host, by the kernel's word.
    Local(Peer),
    /// A client over TCP.
    Remote {
        /// Its address.
        from: IpAddr,
        /// That of ours to which it came.
        at: IpAddr,
    },
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(peer) => write!(f, "uid {}", peer.uid),
            Self::Remote { .. } => f.write_str("somebody over TCP"),
        }
    }
}

impl Caller {
    /// Root, the agent's own user, and members of the admin group.
    pub(crate) fn may_change(&self, admins: Option<Gid>) -> bool {
        let Self::Local(peer) = self else { return false };
        peer.uid.is_root() || peer.is_our_user() || admins.is_some_and(|group| peer.is_in(group))
    }
}

impl Caller {
    /// With whom its connections are counted.
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::Local(peer) => Origin::User(peer.uid.as_raw()),
            Self::Remote { from, .. } => Origin::at(*from),
        }
    }
}

/// Before a wish is heard: whether its caller may have wishes, and then its body, whole and in time.
pub(super) async fn admit(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: HttpRequest,
    next: Next,
) -> Response {
    if *request.method() != Method::POST {
        return next.run(request).await;
    }
    if let Err(problem) = authorize(&app, &caller) {
        return problem.into_response();
    }
    let (head, body) = request.into_parts();
    match whole(body).await {
        Ok(bytes) => next.run(HttpRequest::from_parts(head, Body::from(bytes))).await,
        Err(problem) => problem.into_response(),
    }
}

async fn whole(body: Body) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_WITHIN, body::to_bytes(body, BODY_LIMIT)).await;
    let late = |_| {
        let detail = format!("the body did not come within {} s", BODY_WITHIN.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    };
    read.map_err(late)?.map_err(|e| match too_long(&e) {
        true => {
            let detail = format!("the body is too long; at most {BODY_LIMIT} bytes are read");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        false => Problem::bad_request(format!("the body could not be read: {e}")),
    })
}

fn too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>())
}

/// Has the paths to some members measured; the answer does not wait for the end.
pub(super) async fn measure_paths(
    State(app): State<App>,
    body: Bytes,
) -> Result<Json<MeasureResponse>, Problem> {
    let EmptyRequest {} = parse(&body)?;
    let measured = app.ask(|reply| Request::Command(Command::MeasurePaths, reply)).await?;
    measured.map_err(|e| Problem::unavailable(e.to_string()))?;
    let snapshot = app.brief().await?;
    Ok(Json(MeasureResponse { measuring: snapshot.stats.paths_measuring }))
}

pub(super) async fn join(State(app): State<App>, body: Bytes) -> Result<Json<JoinResponse>, Problem> {
    let JoinRequest { seeds: wanted, timeout_seconds } = parse(&body)?;
    if wanted.is_empty() {
        return Err(Problem::bad_request("seeds is empty: whom to join?"));
    }
    let mut addresses = Vec::new();
    let mut errors = Vec::new();
    for (seed, resolved) in app.0.seeds.resolve(&wanted).await {
        match resolved {
            Ok(found) => addresses.extend(found),
            Err(e) => errors.push(format!("{seed}: {e}")),
        }
    }
    if addresses.is_empty() {
        return Err(Problem::bad_request(errors.join("; ")));
    }
    let before = app.ask(|reply| Request::Look(Scope::None, reply)).await?.index;
    let mut changes = app.0.event_log.subscribe();
    app.ask(|reply| Request::Command(Command::Join(addresses.clone()), reply)).await??;
    let patience = Duration::try_from_secs_f64(timeout_seconds).unwrap_or_default().min(LONGEST_WAIT);
    let answered = async {
        loop {
            let snapshot = app.whole().await?;
            if has_answered(&snapshot, &addresses, before) || changes.changed().await.is_err() {
                return Ok::<_, Problem>(());
            }
        }
    };
    let joined = match tokio::time::timeout(patience, answered).await {
        Ok(result) => result.map(|()| true)?,
        Err(_) => false,
    };
    let members = app.ask(|reply| Request::Look(Scope::None, reply)).await?.known;
    let dialled = addresses.iter().map(ToString::to_string).collect();
    Ok(Json(JoinResponse { dialled, joined, members }))
}

pub(super) async fn beat(State(app): State<App>, body: Bytes) -> Result<Json<Beat>, Problem> {
    let EmptyRequest {} = parse(&body)?;
    let service_watchdog = app.ask(Request::Beat).await?;
    let beat = show::beat(&app.0.clock, &service_watchdog);
    beat.map(Json)
        .ok_or_else(|| Problem::conflict("beat_within is not set: this agent waits for nobody's beat"))
}

pub(super) async fn leave(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Json<LeaveResponse>, Problem> {
    let EmptyRequest {} = parse(&body)?;
    info!(%caller, "asked to leave");
    let farewell = app.ask(Request::Leave).await?;
    Ok(Json(LeaveResponse { acknowledged: farewell.acknowledged, asked: farewell.asked }))
}

pub(super) async fn restart(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Json<LeaveResponse>, Problem> {
    let RestartRequest { within_seconds } = parse(&body)?;
    let within = Duration::try_from_secs_f64(within_seconds).ok();
    let Some(within) = within.filter(|within| !within.is_zero() && *within <= LONGEST_RESTART) else {
        return Err(Problem::bad_request(format!(
            "within_seconds is {within_seconds}; others wait for more than none and for {} seconds at most",
            LONGEST_RESTART.as_secs()
        )));
    };
    info!(%caller, ?within, "asked to restart");
    let farewell = app.ask(|reply| Request::Restart(within, reply)).await?;
    Ok(Json(LeaveResponse { acknowledged: farewell.acknowledged, asked: farewell.asked }))
}

pub(super) async fn forget(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let ForgetRequest { name } = parse(&body)?;
    let wanted = Name::new(&name).map_err(|e| Problem::bad_request(format!("{name:?}: {e}")))?;
    info!(%caller, name, "asked to forget");
    app.ask(|reply| Request::Command(Command::Forget(wanted), reply)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// A source outside the cluster says that a member is gone.
pub(super) async fn testify(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let TestifyRequest { name, state: TestifiedState::Dead, source } = parse(&body)?;
    let wanted = Name::new(&name).map_err(|e| Problem::bad_request(format!("{name:?}: {e}")))?;
    let source = Source::new(&source).map_err(|e| Problem::bad_request(e.to_string()))?;
    info!(%caller, name, %source, "told that a member is gone");
    app.ask(|reply| Request::Command(Command::Testify { name: wanted, source }, reply)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the settings again, as SIGHUP does, and says what came of it.
pub(super) async fn reload(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Json<Reloaded>, Problem> {
    let EmptyRequest {} = parse(&body)?;
    info!(%caller, "asked to reload");
    let (reply, answer) = oneshot::channel();
    let stopping = || Problem::unavailable("the agent is stopping");
    app.0.reloads.send(reply).await.map_err(|_| stopping())?;
    let done = answer.await.map_err(|_| stopping())?;
    done.map(Json).map_err(|e| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, e))
}

pub(super) async fn tags(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Json<Member>, Problem> {
    let TagsRequest { set, delete } = parse(&body)?;
    if set.contains_key("") {
        return Err(Problem::bad_request("a tag has no key".to_owned()));
    }
    // Keys only: a value may be long, or not for the log.
    let (keys, deleted) = (set.keys().cloned().collect::<Vec<_>>().join(","), delete.join(","));
    info!(%caller, set = keys, delete = deleted, "asked to change tags");
    let set = set.into_iter().map(|(key, value)| (format!("tag/{key}"), Some(value.into_bytes())));
    let delete = delete.into_iter().map(|key| (format!("tag/{key}"), None));
    let changes = set.chain(delete).collect();
    app.ask(|reply| Request::Command(Command::Set(changes), reply)).await??;
    let me = app.0.about.name.clone();
    let snapshot = app.ask(|reply| Request::Look(Scope::One(me), reply)).await?;
    let myself = snapshot.members.first();
    let myself = myself.ok_or_else(|| Problem::unavailable("this agent is not in its own view"))?;
    Ok(Json(show::member(&app.0.clock, myself, &show::Fallen::default())))
}

/// A dialled address is a member's now, or a member came in meanwhile: a seed
/// may know itself by another address than we do.
fn has_answered(snapshot: &Snapshot, dialled: &[SocketAddr], before: u64) -> bool {
    let others = || snapshot.members.iter().filter(|view| !view.is_self);
    let present = |view: &MemberView| matches!(view.status, Status::Alive | Status::Suspect);
    others().any(|view| present(view) && dialled.contains(&view.address))
        || (snapshot.index > before && snapshot.joined && others().any(present))
}

fn authorize(app: &App, caller: &Caller) -> Result<(), Problem> {
    let admins = app.0.about.admin_group;
    if caller.may_change(admins) {
        return Ok(());
    }
    let Caller::Local(Peer { uid, .. }) = caller else {
        return Err(Problem::forbidden("over TCP nothing can be changed; use the Unix socket"));
    };
    let those = match admins {
        None => "root and the agent's own user (admin_group is not set)".to_owned(),
        Some(group) => format!("members of group {group}"),
    };
    Err(Problem::forbidden(format!("user {uid} may read only; changes are for {those}")))
}

pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let bytes: &[u8] = if body.is_empty() { b"{}" } else { body };
    let wrong = |e: &dyn fmt::Display| Problem::bad_request(format!("the body is not what is wanted: {e}"));
    // Of an array, serde would take the elements for the fields in turn.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(wrong(&"an array, where an object is expected"));
    }
    serde_json::from_slice(bytes).map_err(|e| wrong(&e))
}

/// Largest request body, in bytes: more seeds or tags than any agent has.
const BODY_LIMIT: usize = 64 * 1024;
/// From the head of a request to the end of its body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Longest that a join waits for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
