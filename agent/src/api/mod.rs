//! HTTP/1.1 and JSON on the Unix socket: what the agent knows, for any program.
//!
//! Reads for every user who can open the socket; changes for root, the agent's own
//! user and the admin group, by the credentials the kernel gives for the other
//! end. A TCP listener, if one is configured, answers reads only. Every error is
//! a problem document (RFC 9457).

pub(crate) mod admission;
mod answer;
pub(crate) mod asking;
mod conditions;
pub(crate) mod knocks;
pub(crate) mod renewal;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod tag;
pub(crate) mod views;

mod discovery;
mod filter;
mod half_closed;
mod history;
pub(crate) mod host;
pub(crate) mod metrics;
pub(crate) mod peer;
mod problem;
mod reads;
mod services;
mod watch;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use heartsay_membership::{Instant, Name};
use nix::unistd::Gid;
use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
use self::asking::Asking;
use self::knocks::Knocks;
use self::views::Views;
use crate::daemon::driver::{Request, Snapshot};
use crate::daemon::hooks::Runs;
use crate::daemon::log::Log;
use crate::daemon::seeds::Seeds;
use crate::event_log::EventLog;
use crate::export::Exports;
use crate::names::Names;
use crate::services::Registry;
use crate::settings::Shown;
use crate::types::Reloaded;
pub(crate) use conditions::conditions;
use conditions::looked_at;
use heartsay_tokio::clock::Clock;
pub(crate) use problem::Problem;
pub(crate) use reads::stats;

/// What every handler may use. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App(pub Arc<Context>);

/// See [`App`].
#[derive(Debug)]
pub(crate) struct Context {
    /// The way to the driver.
    pub(crate) requests: mpsc::Sender<Request>,
    /// Events and conditions.
    pub(crate) event_log: Arc<EventLog>,
    /// For stamps.
    pub(crate) clock: Arc<Clock>,
    /// As configured, with what came of them.
    pub(crate) seeds: Arc<Seeds>,
    /// Settings in force; replaced by a reload.
    pub(crate) settings: RwLock<Vec<Shown>>,
    /// What does not change while the agent runs.
    pub(crate) about: About,
    /// Files that follow the members.
    pub(crate) exports: Exports,
    /// Names for the DNS, if they are answered.
    pub(crate) names: Option<Names>,
    /// The services of this host.
    pub(crate) services: Registry,
    /// What hooks have done so far.
    pub(crate) hook_runs: Arc<Runs>,
    /// What the hosts of members that fell silent do.
    pub(crate) knocks: Arc<Knocks>,
    /// Views that readers share.
    pub(crate) views: Views,
    /// What other members are asked.
    pub(crate) asking: Asking,
    /// There is a question.
    pub(crate) asked: Notify,
    /// Connections to the socket.
    pub(crate) on_socket: Arc<Admission>,
    /// Connections over TCP.
    pub(crate) over_tcp: Arc<Admission>,
    /// The way to the process around the driver.
    pub(crate) reloads: mpsc::Sender<Reload>,
    /// Where lines of the log go, or are lost.
    pub(crate) log: Log,
    /// Fires when the agent stops: streams end.
    pub(crate) stopping: CancellationToken,
}

/// What does not change while the agent runs.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// Our name.
    pub(crate) name: Name,
    /// How clients over TCP may call us.
    pub(crate) hosts: host::HostNames,
    /// Our generation at start.
    pub(crate) generation: u64,
    /// Cluster id.
    pub(crate) cluster: String,
    /// `local`, `lan` or `wan`.
    pub(crate) profile: String,
    /// Bound UDP address.
    pub(crate) bind: String,
    /// Shown by the wall clock of the moment: a host may have had none when it began.
    pub(crate) started: Instant,
    /// φ that makes suspect.
    pub(crate) phi_threshold: f64,
    /// How long the profile waits for an answer at most.
    pub(crate) longest_wait: Duration,
    /// Whose members may write.
    pub(crate) admin_group: Option<Gid>,
}

/// A wish to read the settings again, and where to say what came of it.
pub(crate) type Reload = oneshot::Sender<Result<Reloaded, String>>;

impl App {
    /// Asks the driver, at once.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Problem::unavailable("the agent is stopping");
        self.0.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// In the cluster and counted there, or alone because no seed says where others are.
    pub(crate) fn has_joined(&self, snapshot: &Snapshot) -> bool {
        self.0.has_joined(snapshot)
    }
}

impl Context {
    fn has_joined(&self, snapshot: &Snapshot) -> bool {
        snapshot.joined || (snapshot.outside.is_none() && self.seeds.are_only_us())
    }
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let admitted =
        |writes: Router<App>| writes.layer(middleware::from_fn_with_state(app.clone(), writes::admit));
    // What callers mean has to be understood, so a query where none is read is refused.
    let strict = Router::new()
        .route("/v1/members/{name}", get(reads::member))
        .route("/v1/self", get(reads::myself))
        .route("/v1/quorum", get(reads::quorum))
        .route("/v1/exports", get(reads::exports))
        .route("/v1/stats", get(stats))
        .route("/v1/config", get(reads::config))
        .route("/v1/version", get(reads::version))
        .merge(admitted(
            Router::new()
                .route("/v1/beat", post(writes::beat))
                .route("/v1/forget", post(writes::forget))
                .route("/v1/testify", post(writes::testify))
                .route("/v1/paths/measure", post(writes::measure_paths))
                .route("/v1/reload", post(writes::reload))
                .route("/v1/services", post(services::register))
                .route("/v1/services/deregister", post(services::deregister))
                .route("/v1/services/health", post(services::health))
                .route("/v1/tags", post(writes::tags)),
        ));
    // Not so here: scrapers, balancers and probes add what they like, and the slash.
    let lenient = Router::new()
        .route("/", get(reads::page))
        .route("/metrics", get(reads::metrics))
        .route("/livez", get(reads::livez))
        .route("/readyz", get(reads::readyz))
        .route("/metrics/", get(reads::metrics))
        .route("/livez/", get(reads::livez))
        .route("/readyz/", get(reads::readyz));
    // These wait for others, each with a limit of its own.
    let patient = admitted(
        Router::new()
            .route("/v1/join", post(writes::join))
            .route("/v1/leave", post(writes::leave))
            .route("/v1/restart", post(writes::restart)),
    );
    let no_query = || middleware::from_fn(problem::no_query);
    let bounded = strict
        .layer(no_query())
        .merge(lenient)
        .route("/v1/members", get(reads::members))
        .route("/v1/paths", get(reads::paths))
        .route("/v1/services", get(services::services))
        .route("/v1/services/deregister", get(services::called_so))
        .route("/v1/services/health", get(services::called_so))
        .route("/v1/services/{name}", get(services::service))
        .route("/v1/sd/prometheus", get(discovery::prometheus))
        .route("/v1/history", get(history::history))
        .route("/v1/history/{name}", get(history::past))
        .layer(middleware::from_fn(server::time_limit));
    let patient = patient.layer(no_query()).route("/v1/watch", get(watch::watch));
    bounded
        .merge(patient)
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(middleware::from_fn(server::length_limits))
        .layer(middleware::from_fn_with_state(app.clone(), host::known_host))
        .layer(middleware::from_fn_with_state(app.clone(), server::keep_place))
        .with_state(app)
}
