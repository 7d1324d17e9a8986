//! One agent from start to end: puts the parts together, listens to signals,
//! and decides the exit code.
//!
//! The protocol has a thread of its own, so that no question, however large,
//! delays a heartbeat; everything else shares this one. When the protocol ends
//! for whatever reason, the process ends: an agent that answers but does not
//! gossip would be worse than none.

mod bind;
pub(crate) mod pages;
mod signals;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use axum::Json;
use axum::extract::State;
use heartsay_membership::{Command, Config, Electorate, Identity, Name, Node};
use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::api::admission::{Admission, Limits};
use crate::api::asking::Asking;
use crate::api::host::HostNames;
use crate::api::renewal::{self, Renewed};
use crate::api::socket::Socket;
use crate::api::views::Views;
use crate::api::{self, About, App, Context, Reload};
use crate::daemon::advertise::Advertiser;
use crate::daemon::driver::{
    Asked, Driver, LoopState, Mismatches, Notice, Reporter, Request, ServiceWatchdog, disk_report,
    history_report,
};
use crate::daemon::hooks::{self, Hooks, Runs};
use crate::daemon::log::Log;
use crate::daemon::notify;
use crate::daemon::seeds::{self, Keeper, Seeds};
use crate::daemon::shell::Terms;
use crate::daemon::telemetry::{self, Telemetry};
use crate::doctor::Code;
use crate::escape::escape;
use crate::event_log::EventLog;
use crate::export::Exports;
use crate::last_words::{self, LastWords};
use crate::load;
use crate::names::server::Sockets;
use crate::names::{self, Names};
use crate::recorder::{Life, Recorder};
use crate::services::announced::Announced;
use crate::services::check::Tools;
use crate::services::{self, Registration, Registry, registry};
use crate::settings::{self, AgentArgs, Settings};
use crate::task;
use crate::types::Reloaded;
use heartsay_tokio::clock::{self, Clock};
use heartsay_tokio::net;
use heartsay_tokio::store::{Peer, Store};
use heartsay_tokio::{Persistence, Shell};
use signals::{Signals, Wish};

/// Runs an agent until it is told to stop: `heartsay agent`.
///
/// 0 after a good-bye, 75 after one until the next life, 2 for settings that make no sense, 1 for any other failure.
///
/// # Errors
/// Whatever kept it from running, in words for people.
pub(crate) fn run(args: AgentArgs) -> anyhow::Result<ExitCode> {
    // Here and not in the command line: the runtime's loop is compiled into the function that starts it, and would keep the
    // pages around that one in memory.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(until_told(args));
    // Name look-ups may hang for long; they are not waited for.
    runtime.shutdown_background();
    ended
}

async fn until_told(args: AgentArgs) -> anyhow::Result<ExitCode> {
    let settings = match settings::load(&args) {
        Ok(settings) => settings,
        Err(errors) => {
            for error in errors.to_string().lines() {
                eprintln!("heartsay: {}", escape(error));
            }
            return Ok(ExitCode::from(errors.exit_code()));
        }
    };
    let telemetry = telemetry::start(settings.log.level.clone(), settings.log.json)?;
    // Heard from the first moment on: a stop during the start is a stop.
    let mut signals = Signals::listen()?;
    let log = telemetry.log().clone();
    let ended = tokio::select! {
        started = Agent::start(args, settings, telemetry) => match started {
            Ok(agent) => agent.supervise(signals).await,
            Err(error) => Err(error),
        },
        () = signals.stop() => {
            info!("told to stop before it had started");
            Ok(ExitCode::SUCCESS)
        }
    };
    log.flush();
    ended
}

/// A running agent.
struct Agent {
    args: AgentArgs,
    settings: Settings,
    telemetry: Telemetry,
    app: App,
    requests: mpsc::Sender<Request>,
    notices: mpsc::UnboundedReceiver<Notice>,
    /// Wishes to read the settings again, by the socket API.
    reloads: mpsc::Receiver<Reload>,
    /// The machine has taken, or refused, what a reload brought.
    taken: (mpsc::UnboundedSender<Taken>, mpsc::UnboundedReceiver<Taken>),
    /// That is still to come.
    reloading: bool,
    /// Requests for another since then; `None`: by a signal.
    asked: VecDeque<Option<Reload>>,
    /// Resolves when the protocol thread ends; broken when it panicked.
    protocol: oneshot::Receiver<anyhow::Result<()>>,
    /// The socket API; never ends by itself.
    api: JoinHandle<()>,
    /// For commands of exports.
    terms: Terms,
    /// Runs hooks; ends after `stopping`, when none runs any more.
    hooks: JoinHandle<()>,
    joined: watch::Sender<bool>,
    /// What is said if this end is not orderly.
    last_words: LastWords,
    /// The others wait for our next life.
    restarts: bool,
    /// Removes the socket at the end.
    _socket: Arc<Socket>,
}

impl Agent {
    /// Takes every lock and every address first; then the first datagram leaves.
    async fn start(args: AgentArgs, mut settings: Settings, telemetry: Telemetry) -> anyhow::Result<Self> {
        let clock = Arc::new(Clock::start());
        let Doors { socket, unix, udp, local, tcp, dns } = Doors::open(&settings).await?;
        let store = Store::open(&settings.state_dir, clock.unix_ms())?;
        let store = Arc::new(store.of_cluster(settings.machine.cluster.id()));
        let seeds = Arc::new(Seeds::new(&settings.seeds, local.ip()));
        let advertise = advertiser(&settings, &seeds, local).await;
        let me = identity(&settings, &store, advertise.own());
        let seed = draw_seed()?;
        if settings.last_words {
            settings.machine.last_words = Some(last_words::keep::draw()?);
        }
        say_what_starts(&settings, &me, local, seed);
        let (services, registered) = Registry::new();
        let (app, inbox, reloads) =
            app(&settings, &me, local, seeds, clock, telemetry.log().clone(), services.clone());
        record(&settings, &app)?;
        let requests = app.0.requests.clone();
        let terms = terms(&settings, &me);
        let tools = Tools::new(Arc::clone(&app.0.clock), terms.environment.clone());
        task::start(registry::keep(services, registered, requests, tools, settings.services.clone()));
        let hooks = spawn_hooks(&settings, &app, &terms);
        let remembered = store.peers();
        let addresses = sample(&remembered);
        let (notices, told) = mpsc::unbounded_channel();
        let (asked, questions) = mpsc::unbounded_channel();
        task::start(services::asked::answer(app.clone(), questions));
        let machine = Machine {
            app: app.clone(),
            me,
            config: settings.machine.clone(),
            seed,
            udp,
            store,
            remembered,
            beat_within: settings.beat_within,
            inbox,
            notices,
            asked,
        };
        let protocol = spawn_protocol(move || machine.driver())?;
        let socket = Arc::new(socket);
        let unix = renewal::door(&socket, unix, Arc::clone(&app.0.event_log))?;
        let api = serve(&app, unix, tcp)?;
        let joined = spawn_keeper(&app, advertise, addresses);
        app.0.exports.apply(&app, &terms, &settings.exports);
        if settings.load {
            task::start(load::keep(app.0.requests.clone(), settings.state_dir.clone()));
        }
        let last_words =
            LastWords::keep(&app, socket.path(), (&settings.name, local.ip()), settings.machine.last_words);
        if let Some(dns) = dns {
            dns.serve(&app)?;
            task::start(names::keep(app.clone()));
        }
        Ok(Self {
            args,
            settings,
            telemetry,
            requests: app.0.requests.clone(),
            app,
            notices: told,
            reloads,
            taken: mpsc::unbounded_channel(),
            reloading: false,
            asked: VecDeque::new(),
            terms,
            hooks,
            protocol,
            api,
            joined,
            last_words,
            restarts: false,
            _socket: socket,
        })
    }

    async fn supervise(mut self, mut signals: Signals) -> anyhow::Result<ExitCode> {
        // The protocol itself answers. Other members need not be there yet: the first host of a cluster is ready alone.
        if self.app.brief().await.is_ok() {
            notify::ready();
        }
        let app = self.app.clone();
        task::start(async move { pages::give_back_at_rest(&app.0.asked).await });
        let mut stop = Stop::No;
        let mut contested: Option<Contested> = None;
        loop {
            let limit = match (&stop, &contested) {
                (Stop::Leaving(limit), _) => Some(*limit),
                (Stop::No, Some(contested)) => Some(contested.limit),
                (Stop::No | Stop::Stopping, _) => None,
            };
            tokio::select! {
                ended = &mut self.protocol => return self.finish(ended, &mut signals).await,
                _ = &mut self.api => bail!("the socket API ended; this is a defect"),
                Some(notice) = self.notices.recv() => match notice {
                    Notice::Joined => _ = self.joined.send_replace(true),
                    Notice::NameRefused { holder, address } => {
                        let limit = self.app.0.clock.after(self.settings.duplicate_name_timeout);
                        let limit = contested.map_or(limit, |contested| contested.limit);
                        contested = Some(Contested { holder: holder.to_string(), address, limit });
                    }
                    Notice::NameAccepted => {
                        if contested.take().is_some() {
                            info!("the name is ours: nobody refuses it any more");
                        }
                    }
                    Notice::Left { restarts } => {
                        self.last_words.withhold();
                        self.restarts = restarts;
                        self.tell(Request::Stop);
                        stop = Stop::Stopping;
                    }
                },
                signal = signals.next() => match (signal, &stop) {
                    (Wish::Stop, Stop::No) => stop = self.begin_stop(),
                    (Wish::Stop, Stop::Leaving(_) | Stop::Stopping) => {
                        warn!("second signal: stopping without waiting");
                        return Ok(ExitCode::FAILURE);
                    }
                    (Wish::Reload, _) => self.reload(None),
                    (Wish::Dump, _) => self.dump(),
                },
                Some(wish) = self.reloads.recv(), if self.asked.len() < RELOADS => self.reload(Some(wish)),
                Some((result, asked)) = self.taken.1.recv() => self.end_reload(result, asked),
                () = until(limit) => {
                    if !matches!(stop, Stop::No) {
                        warn!("the good-bye was not acknowledged in time");
                        self.tell(Request::Stop);
                        stop = Stop::Stopping;
                    } else if let Some(contested) = &contested {
                        return Err(contested.error(&self.settings.name));
                    }
                }
            }
        }
    }

    fn begin_stop(&self) -> Stop {
        notify::stopping();
        if !self.settings.leave_on_terminate {
            info!("stopping without a good-bye, as configured");
            self.tell(Request::Stop);
            return Stop::Stopping;
        }
        let patience = self.settings.machine.leave_timeout + GRACE;
        info!(?patience, "leaving");
        self.tell(Request::Leave(oneshot::channel().0));
        Stop::Leaving(self.app.0.clock.after(patience))
    }

    /// Lets the answers under way go out and the hooks come to their end, and judges how it ended.
    async fn finish(
        self,
        ended: Result<anyhow::Result<()>, oneshot::error::RecvError>,
        signals: &mut Signals,
    ) -> anyhow::Result<ExitCode> {
        self.app.0.stopping.cancel();
        let recorder = self.app.0.event_log.recorder().cloned();
        tokio::select! {
            _ = async {
                let exports = self.app.0.exports.ended();
                let history = tokio::task::spawn_blocking(move || recorder.as_ref().map(Recorder::flush));
                tokio::join!(tokio::time::timeout(GRACE * 4, self.api), self.hooks, exports, history)
            } => {}
            () = signals.stop() => {
                warn!("second signal: stopping without waiting");
                return Ok(ExitCode::FAILURE);
            }
        }
        match ended {
            Ok(Ok(())) => {
                // An orderly end without a good-bye tells no member either, as configured.
                self.last_words.withhold();
                info!("stopped");
                Ok(if self.restarts { ExitCode::from(RESTART) } else { ExitCode::SUCCESS })
            }
            Ok(Err(e)) => Err(e.context("the protocol ended")),
            Err(_) => {
                error!("the protocol thread panicked");
                bail!("the protocol thread panicked; this is a defect, please report what was printed above")
            }
        }
    }

    /// SIGHUP or `heartsay reload`: takes over what can be, and says what needs a restart. First the machine, which may
    /// refuse, and may take its time to say so; what it refuses is refused as a whole. One after the other: those who
    /// ask meanwhile wait, and signals among them are one.
    fn reload(&mut self, asked: Option<Reload>) {
        if self.reloading {
            if asked.is_some() || !self.asked.iter().any(Option::is_none) {
                self.asked.push_back(asked);
            }
            return;
        }
        self.reloading = true;
        notify::reloading();
        let fresh = settings::load(&self.args).map_err(|e| e.to_string());
        let commands = fresh.as_ref().map(|fresh| self.commands(fresh)).unwrap_or_default();
        let (requests, taken) = (self.requests.clone(), self.taken.0.clone());
        let (registry, before) = (self.app.0.services.clone(), self.settings.services.clone());
        task::start(async move {
            let result = match fresh {
                Ok(fresh) => {
                    let done = carry_out_all(&requests, commands, &registry, &fresh.services, before).await;
                    done.map(|()| Box::new(fresh))
                }
                Err(errors) => Err(errors),
            };
            let _ = taken.send((result, asked));
        });
    }

    fn end_reload(&mut self, result: Result<Box<Settings>, String>, asked: Option<Reload>) {
        let done = result
            .map(|fresh| self.take_over(*fresh))
            .map_err(|errors| format!("nothing was changed: {}", errors.replace('\n', "; ")));
        notify::ready();
        let event_log = &self.app.0.event_log;
        match &done {
            Ok(Reloaded { changed, restart }) => {
                info!(changed = changed.join(","), "settings reloaded");
                if !restart.is_empty() {
                    warn!(settings = restart.join(","), "these settings changed too, but need a restart");
                }
                event_log.condition(Code::ReloadRefused, None);
            }
            Err(errors) => {
                error!("reload refused, {errors}");
                let said = format!("the last reload was refused, {errors}").into();
                event_log.condition(Code::ReloadRefused, Some(said));
            }
        }
        // The asking side may be gone.
        let _ = asked.map(|asked| asked.send(done));
        self.reloading = false;
        if let Some(next) = self.asked.pop_front() {
            self.reload(next);
        }
    }

    /// What the machine has to be told.
    fn commands(&self, fresh: &Settings) -> Vec<Command> {
        let mut commands = Vec::new();
        let mut state: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        for key in self.settings.tags.keys().filter(|key| !fresh.tags.contains_key(*key)) {
            state.push((format!("tag/{key}"), None));
        }
        for (key, value) in
            fresh.tags.iter().filter(|(key, value)| self.settings.tags.get(*key) != Some(*value))
        {
            state.push((format!("tag/{key}"), Some(value.clone().into_bytes())));
        }
        if !state.is_empty() {
            commands.push(Command::Set(state));
        }
        if fresh.machine.keyring != self.settings.machine.keyring {
            commands.push(Command::Keys(fresh.machine.keyring.clone()));
        }
        if fresh.machine.electorate != self.settings.machine.electorate {
            commands.push(Command::Expect(fresh.machine.electorate.clone()));
        }
        commands
    }

    /// The rest, now that the machine has taken its part.
    fn take_over(&mut self, fresh: Settings) -> Reloaded {
        let (mut changed, restart) = settings::difference(&self.settings.shown, &fresh.shown);
        let key_file = "key_file".to_owned();
        if !changed.contains(&key_file) && self.settings.machine.keyring != fresh.machine.keyring {
            // The same file with other keys in it.
            changed.push(key_file);
        }
        if fresh.seeds != self.settings.seeds {
            self.app.0.seeds.replace(&fresh.seeds);
        }
        self.telemetry.set_level(fresh.log.level.clone());
        let shown = settings::in_force(&self.settings.shown, fresh.shown);
        self.app.0.settings.write().clone_from(&shown);
        self.settings.shown = shown;
        self.settings.tags = fresh.tags;
        self.settings.services = fresh.services;
        self.settings.seeds = fresh.seeds;
        self.app.0.exports.apply(&self.app, &self.terms, &fresh.exports);
        self.settings.machine.electorate = fresh.machine.electorate;
        self.settings.machine.keyring = fresh.machine.keyring;
        Reloaded { changed, restart }
    }

    /// SIGUSR1: everything known, to the log.
    fn dump(&self) {
        let app = self.app.clone();
        task::start(async move {
            let Ok(snapshot) = app.whole().await else { return };
            info!(members = snapshot.members.len(), quorum = %snapshot.quorum.quorum, reason = snapshot.quorum.reason, index = snapshot.index, "state");
            for condition in api::conditions(&app.0, &snapshot) {
                info!(code = %condition.code, condition = %condition.said, "state");
            }
            if let Ok(Json(stats)) = api::stats(State(app.clone())).await {
                info!(%stats, "state");
            }
            for view in &snapshot.members {
                let accusers: Vec<_> = view.accusers.iter().map(|accuser| accuser.by.to_string()).collect();
                info!(member = %view.name, status = %view.status, address = %view.address, generation = view.generation, heartbeat = view.heartbeat, phi = view.phi, reachable = view.reachable, by = accusers.join(","), "state");
            }
        });
    }

    /// Without waiting: signals must get through even when the driver does not answer.
    fn tell(&self, request: Request) {
        let requests = self.requests.clone();
        task::start(async move { drop(requests.send(request).await) });
    }
}

/// First the services, which may be refused for themselves; they are put back if the rest is refused.
async fn carry_out_all(
    requests: &mpsc::Sender<Request>,
    commands: Vec<Command>,
    registry: &Registry,
    services: &[Registration],
    before: Vec<Registration>,
) -> Result<(), String> {
    registry.settings(services.to_vec()).await.map_err(|e| e.to_string())?;
    let done = carry_out(requests, commands).await;
    if done.is_err()
        && let Err(e) = registry.settings(before).await
    {
        warn!("the services of the settings could not be put back: {e}");
    }
    done
}

/// Hands commands to the machine, one after the other, and stops at the first that it refuses. Whatever it refuses at
/// all, it refuses in the first: later ones only while it leaves.
async fn carry_out(requests: &mpsc::Sender<Request>, commands: Vec<Command>) -> Result<(), String> {
    for command in commands {
        let (reply, answer) = oneshot::channel();
        if requests.send(Request::Command(command, reply)).await.is_ok()
            && let Ok(Err(e)) = answer.await
        {
            return Err(e.to_string());
        }
    }
    Ok(())
}

/// What came of a reload, and who asked for it.
type Taken = (Result<Box<Settings>, String>, Option<Reload>);

/// How far the stop has come.
enum Stop {
    No,
    /// Good-bye said; wait for acknowledgements until then.
    Leaving(tokio::time::Instant),
    Stopping,
}

/// Another host holds our name.
struct Contested {
    holder: String,
    address: SocketAddr,
    /// When we give up.
    limit: tokio::time::Instant,
}

impl Contested {
    fn error(&self, name: &Name) -> anyhow::Error {
        anyhow!(
            "the name {name} is held by another living host, {}, at {}; give this agent its own --name, \
             or stop that one (a cloned machine needs its own --state-dir content too: remove the copied one)",
            self.holder,
            self.address
        )
    }
}

/// Everything that is bound at the start.
struct Doors {
    socket: Socket,
    unix: UnixListener,
    udp: std::net::UdpSocket,
    /// Where `udp` is bound.
    local: SocketAddr,
    tcp: Option<std::net::TcpListener>,
    dns: Option<Sockets>,
}

impl Doors {
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let (socket, unix) =
            Socket::bind(&settings.socket.path, settings.socket.mode, settings.socket.group)?;
        let udp = bind::when_there(|| Ok(net::bind(settings.bind)?)).await?;
        let local = udp.local_addr().context("cannot read the address of the UDP socket")?;
        let tcp = match settings.http_listen {
            Some(at) => Some(bind::when_there(|| listen(at)).await?),
            None => None,
        };
        let dns = match &settings.dns {
            Some(dns) => Some(bind::when_there(|| Sockets::bind(dns.listen)).await?),
            None => None,
        };
        Ok(Self { socket, unix, udp, local, tcp, dns })
    }
}

/// Knows where others reach this host, as far as the seeds tell by now.
async fn advertiser(settings: &Settings, seeds: &Seeds, local: SocketAddr) -> Advertiser {
    let mut advertise = Advertiser::new(settings.advertise.clone(), local);
    let found = seeds.resolve_soon(&settings.seeds).await;
    advertise.look(seeds::towards(settings.seeds.iter(), &found));
    advertise
}

fn identity(settings: &Settings, store: &Store, address: SocketAddr) -> Identity {
    Identity {
        name: settings.name.clone(),
        host_id: store.host_id(),
        generation: store.generation(),
        address,
        state: settings::initial_state(settings),
    }
}

fn draw_seed() -> anyhow::Result<u64> {
    let random = u128::from_be_bytes(clock::entropy()?);
    Ok(u64::try_from(random & u128::from(u64::MAX)).unwrap_or_default())
}

fn say_what_starts(settings: &Settings, me: &Identity, local: SocketAddr, seed: u64) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        name = %me.name,
        cluster = settings.machine.cluster.id(),
        bind = %local,
        advertise = %me.address,
        host_id = %me.host_id,
        generation = me.generation,
        seed,
        socket = %settings.socket.path.display(),
        "heartsay agent"
    );
    for variable in settings::unknown_variables() {
        warn!("{variable}");
    }
    if settings.machine.keyring.is_empty() {
        info!("no key file: datagrams are neither encrypted nor authenticated");
    }
    if let Some(advice) = settings.machine.electorate.as_ref().and_then(Electorate::advice) {
        info!("{advice}");
    }
}

/// What the parts of the process share, and the two queues that are filled through it.
fn app(
    settings: &Settings,
    me: &Identity,
    local: SocketAddr,
    seeds: Arc<Seeds>,
    clock: Arc<Clock>,
    log: Log,
    services: Registry,
) -> (App, mpsc::Receiver<Request>, mpsc::Receiver<Reload>) {
    let (requests, inbox) = mpsc::channel(REQUESTS);
    let (wishes, reloads) = mpsc::channel(1);
    let about = About {
        name: me.name.clone(),
        hosts: HostNames::new(&settings.http_hosts),
        generation: me.generation,
        cluster: settings.machine.cluster.id().to_owned(),
        profile: settings.profile_word().to_owned(),
        bind: local.to_string(),
        started: clock.now(),
        phi_threshold: settings.machine.detector.threshold(),
        longest_wait: settings.machine.rtt.max,
        admin_group: settings.socket.admin_group,
    };
    let context = Context {
        requests,
        event_log: Arc::new(EventLog::new()),
        clock,
        seeds,
        settings: RwLock::new(settings.shown.clone()),
        about,
        exports: Exports::default(),
        services,
        names: settings.dns.as_ref().and_then(Names::new),
        hook_runs: Arc::new(Runs::default()),
        knocks: Arc::default(),
        views: Views::new(),
        asking: Asking::default(),
        on_socket: Arc::new(Admission::new(ON_SOCKET)),
        asked: Notify::new(),
        over_tcp: Arc::new(Admission::new(OVER_TCP)),
        reloads: wishes,
        log,
        stopping: CancellationToken::new(),
    };
    (App(Arc::new(context)), inbox, reloads)
}

/// Has what happens be kept, if that is wanted.
fn record(settings: &Settings, app: &App) -> anyhow::Result<()> {
    let Context { clock, event_log, about, .. } = &*app.0;
    if !settings.history {
        return Ok(());
    }
    let said =
        format!("this agent has started: version {}, cluster {}", env!("CARGO_PKG_VERSION"), about.cluster);
    let life = Life {
        generation: about.generation,
        phi_threshold: about.phi_threshold,
        acceptable_pause: settings.machine.acceptable_pause,
        said,
    };
    let dir = settings.state_dir.join("history");
    let report = history_report(Arc::downgrade(event_log));
    let recorder = Recorder::start(dir, Arc::clone(clock), life, report);
    event_log.record(recorder.context("cannot start the thread that keeps the history")?);
    Ok(())
}

fn terms(settings: &Settings, me: &Identity) -> Terms {
    Terms {
        time_limit: settings.hooks.time_limit,
        environment: vec![
            ("HEARTSAY_SELF", me.name.to_string()),
            ("HEARTSAY_SOCKET", settings.socket.path.display().to_string()),
        ],
    }
}

fn spawn_hooks(settings: &Settings, app: &App, terms: &Terms) -> JoinHandle<()> {
    let hooks = Hooks { commands: settings.hooks.commands.clone(), terms: terms.clone() };
    let context = &app.0;
    let (event_log, runs) = (Arc::clone(&context.event_log), Arc::clone(&context.hook_runs));
    task::start(hooks::keep(hooks, event_log, runs, context.stopping.clone()))
}

/// Keeps the machine told of seeds and addresses. Returns what the keeper is told: whether others have been found.
fn spawn_keeper(app: &App, advertise: Advertiser, remembered: Vec<SocketAddr>) -> watch::Sender<bool> {
    let (joined, has_joined) = watch::channel(false);
    let keeper = Keeper {
        seeds: Arc::clone(&app.0.seeds),
        event_log: Arc::clone(&app.0.event_log),
        requests: app.0.requests.clone(),
        advertise,
        remembered,
        joined: has_joined,
    };
    task::start(keeper.keep());
    joined
}

/// What the driver is made of, on the thread that runs it.
struct Machine {
    app: App,
    me: Identity,
    config: Config,
    seed: u64,
    udp: std::net::UdpSocket,
    store: Arc<Store>,
    /// Peers of an earlier life.
    remembered: Vec<Peer>,
    beat_within: Option<Duration>,
    inbox: mpsc::Receiver<Request>,
    notices: mpsc::UnboundedSender<Notice>,
    /// Questions of other members.
    asked: mpsc::UnboundedSender<Asked>,
}

impl Machine {
    fn driver(self) -> anyhow::Result<Driver> {
        let Context { clock, event_log, about, services, .. } = &*self.app.0;
        let now = clock.now();
        let node = Node::new(self.me, self.config, self.seed, now)?;
        let report = disk_report(Arc::clone(event_log));
        let mut reporter = Reporter {
            clock: Arc::clone(clock),
            event_log: Arc::clone(event_log),
            notices: self.notices,
            asked: self.asked,
            service_watchdog: ServiceWatchdog::new(self.beat_within, now),
            suspended: None,
            mismatches: Mismatches::new(&about.cluster),
            persistence: Persistence::new(now, self.store, self.remembered, report),
            announced: Announced::default(),
            reasons: services.reasons(),
            state: LoopState::first(now),
        };
        reporter.tell_of_own_services(&node, now);
        Ok(Driver { shell: Shell::new(node, self.udp, Arc::clone(clock))?, requests: self.inbox, reporter })
    }
}

/// Runs the driver that `make` makes on a thread of its own. The answer comes
/// when it ends, and breaks when it panics.
fn spawn_protocol(
    make: impl FnOnce() -> anyhow::Result<Driver> + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<anyhow::Result<()>>> {
    let (ended, end) = oneshot::channel();
    let body = move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(async { Ok(make()?.run().await?) });
        // A write may hang on a broken disk; we do not hang with it.
        runtime.shutdown_timeout(GRACE * 4);
        ended
    };
    std::thread::Builder::new()
        .name("protocol".to_owned())
        .spawn(move || drop(ended.send(body())))
        .context("cannot start the protocol thread")?;
    Ok(end)
}

fn serve(app: &App, unix: Renewed, tcp: Option<std::net::TcpListener>) -> anyhow::Result<JoinHandle<()>> {
    let router = api::router(app.clone());
    let servers = TaskTracker::new();
    let unix = servers.spawn(api::server::serve(unix, router.clone(), app.clone()));
    let tcp = match tcp {
        Some(tcp) => {
            let tcp = tokio::net::TcpListener::from_std(tcp).context("cannot watch the HTTP listener")?;
            Some(servers.spawn(api::server::serve(tcp, router, app.clone())))
        }
        None => None,
    };
    Ok(task::start(async move {
        // Either ends only at the stop, or by a defect.
        match tcp {
            Some(tcp) => {
                tokio::select! { _ = unix => (), _ = tcp => () }
                servers.close();
                servers.wait().await;
            }
            None => drop(unix.await),
        }
    }))
}

fn listen(at: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(at)
        .with_context(|| format!("cannot listen on TCP {at} for HTTP; give another --http-listen"))?;
    listener.set_nonblocking(true).context("cannot make the HTTP listener non-blocking")?;
    info!(at = %listener.local_addr().unwrap_or(at), "HTTP for reads");
    Ok(listener)
}

/// At most [`MOST_REMEMBERED`] of them, from all over the list.
fn sample(peers: &[Peer]) -> Vec<SocketAddr> {
    let step = peers.len().div_ceil(MOST_REMEMBERED).max(1);
    peers.iter().step_by(step).map(|peer| peer.address).collect()
}

async fn until(limit: Option<tokio::time::Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit).await,
        None => std::future::pending().await,
    }
}

/// Every watcher of a host and as many questions beside them, and less than half of both for one user; far below the usual limit of 1,024 descriptors.
const ON_SOCKET: Limits = Limits {
    connections: 512,
    reserved: 16,
    connections_of_one: 192,
    streams: 256,
    streams_of_one: 96,
    answers: 16,
};
/// Scrapers and a few watchers. Nothing can be changed there, so no place is kept for changes.
const OVER_TCP: Limits = Limits {
    connections: 64,
    reserved: 0,
    connections_of_one: 32,
    streams: 32,
    streams_of_one: 16,
    answers: 4,
};
/// Wishes for a reload that may wait for another.
const RELOADS: usize = 16;
/// Questions that may wait for the driver; more wait before the door.
const REQUESTS: usize = 64;
/// Ends an agent that is to be started again. Of sysexits.h: a failure that passes by itself (EX_TEMPFAIL).
const RESTART: u8 = 75;
/// Beyond what the machine itself allows a good-bye; also for last answers.
const GRACE: Duration = Duration::from_millis(500);
/// Peers of an earlier life that are dialled at start: plenty to find one alive.
const MOST_REMEMBERED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_protocol_that_panics_or_fails_is_noticed() {
        let panicked = spawn_protocol(|| panic!("on purpose")).unwrap();
        assert!(panicked.await.is_err());
        let failed = spawn_protocol(|| bail!("on purpose")).unwrap();
        assert_eq!(failed.await.unwrap().unwrap_err().to_string(), "on purpose");
    }

    #[test]
    fn of_many_remembered_peers_some_from_all_over_are_dialled() {
        let peer = |n: u16| Peer { name: n.to_string(), address: SocketAddr::from(([127, 0, 0, 1], n)) };
        let many: Vec<Peer> = (0..10_000).map(peer).collect();
        let some = sample(&many);
        assert!(some.len() <= MOST_REMEMBERED && some.len() > MOST_REMEMBERED / 2, "{}", some.len());
        assert!(some.last().unwrap().port() > 9_900);
        assert_eq!(sample(&many[..3]).len(), 3);
        assert_eq!(sample(&[]).len(), 0);
    }
}
