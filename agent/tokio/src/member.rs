//! One member as a task: commands go in, views and events come out.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{
    Command, Config, Event, HostId, Identity, IdentityError, Instant, MemberView, Name, Node, QuorumStatus,
    Rejected, Status, is_reachable,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;

use crate::clock::{self, Clock, EntropyError};
use crate::net::{self, BindError, WatchError};
use crate::persistence::Persistence;
use crate::seeds::{self, LastGood};
use crate::shell::{Observer, Shell};
use crate::store::{OpenError, Store};

/// How to start a member.
#[derive(Clone, Debug)]
pub struct Options {
    /// Unique in the cluster.
    pub name: Name,
    /// Where to listen. The default, `0.0.0.0:0`, takes any free port.
    pub bind: SocketAddr,
    /// Where others reach it. `None`: where it listens, or, if that is any address, the source address towards the first
    /// seed.
    pub advertise: Option<SocketAddr>,
    /// `host:port` or `address:port` of other members. Looked up again once in [`Config::rejoin_interval`].
    pub seeds: Vec<String>,
    /// Where host id, generation and peers are kept. `None`: nowhere, and each start is another host, which has to wait until the earlier one of its name is down.
    pub state_dir: Option<PathBuf>,
    /// What the member says about itself at the start: [`heartsay_membership::ZONE`], keys under
    /// [`heartsay_membership::TAG`], and any of your own.
    pub state: Vec<(String, Vec<u8>)>,
}

impl Options {
    /// A member called `name` that listens anywhere, knows no seeds and keeps nothing.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self {
            name,
            bind: SocketAddr::from(([0, 0, 0, 0], 0)),
            advertise: None,
            seeds: Vec::new(),
            state_dir: None,
            state: Vec::new(),
        }
    }
}

/// Why a member did not start. Nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The name, the address or the state is none that a member can have.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It listens on any address, and no seed says which of them others reach.
    #[error(
        "it listens on {bind}, and no seed says which of this host's addresses others reach: give `advertise`"
    )]
    Address {
        /// Where it would have listened.
        bind: SocketAddr,
    },
    /// There is no socket at the address where it would listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket cannot be used.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system has no randomness to give.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The machine refused it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The member has ended.
    #[error("this member has ended")]
    Ended,
}

/// What a member sees at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// All members by name, this one included.
    pub members: Vec<MemberView>,
    /// Whether this side may act, with the reason.
    pub quorum: QuorumStatus,
    /// Whether others have taken this member in, or there is none to look for.
    pub joined: bool,
}

impl View {
    /// Members that are not suspected of anything.
    pub fn alive(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.status == Status::Alive)
    }

    /// The member of this name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&MemberView> {
        self.members.iter().find(|member| member.name.as_str() == name)
    }
}

/// A running member. Dropped, it ends without a good-bye, as in a crash; see [`Self::leave`].
#[derive(Debug)]
pub struct Member {
    address: SocketAddr,
    requests: mpsc::Sender<Request>,
    view: watch::Receiver<View>,
    events: broadcast::Sender<Event>,
    task: JoinHandle<()>,
}

type Request = (Command, oneshot::Sender<Result<(), Rejected>>);

impl Member {
    /// Starts a member on the current runtime. It looks for the others by itself; [`Event::Joined`] and
    /// [`View::joined`] say when it has found them.
    ///
    /// # Errors
    /// The name, the address, the state directory or the socket; nothing is left behind but the state directory.
    pub async fn spawn(config: Config, options: Options) -> Result<Self, SpawnError> {
        let clock = Arc::new(Clock::start());
        let socket = net::bind(options.bind)?;
        let bound = socket.local_addr().map_err(WatchError::Address)?;
        let mut good = LastGood::default();
        let addresses = seeds::look_up(&options.seeds, &mut good).await;
        let address = match options.advertise {
            Some(address) if address.port() == 0 => SocketAddr::new(address.ip(), bound.port()),
            Some(address) => address,
            None => reached_at(bound, &addresses).ok_or(SpawnError::Address { bind: options.bind })?,
        };
        if !is_reachable(address) {
            return Err(IdentityError::Address { address }.into());
        }
        let store = options.state_dir.map(|dir| Store::open(&dir, clock.unix_ms())).transpose();
        let store = store?.map(|store| store.of_cluster(config.cluster.id()));
        let random = u128::from_be_bytes(clock::entropy()?);
        let me = Identity {
            name: options.name,
            host_id: store.as_ref().map_or(HostId(random), Store::host_id),
            generation: store.as_ref().map_or_else(|| clock.unix_ms(), Store::generation),
            address,
            state: options.state,
        };
        let seed = u64::try_from(random >> 64).unwrap_or_default();
        let rejoin = config.rejoin_interval;
        let node = Node::new(me, config, seed, clock.now())?;
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(EVENTS);
        let (show, view) = watch::channel(look(&node, clock.now()));
        let (resolved, lookups) = mpsc::channel(1);
        let shell = Shell::new(node, socket, Arc::clone(&clock))?;
        let peers = store.as_ref().map(Store::peers).unwrap_or_default();
        let remembered = peers.iter().map(|peer| peer.address).collect();
        let keep = |store| Persistence::new(clock.now(), Arc::new(store), peers, Arc::new(report));
        let outlet = Outlet {
            persistence: store.map(keep),
            view: show,
            events: events.clone(),
            changed: false,
            ended: false,
        };
        let member = Task { shell, clock, outlet, remembered, seeds: addresses, inbox, lookups };
        let task = tokio::spawn(async move {
            // Ends with this task, also when that is aborted.
            let mut resolver = JoinSet::new();
            resolver.spawn(keep_resolving(options.seeds, good, rejoin, resolved));
            if let Err(error) = member.run().await {
                warn!(%error, "the member has lost its socket");
            }
        });
        Ok(Self { address, requests, view, events, task })
    }

    /// Where others reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The view as it changes. Heartbeats alone do not change it.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// All events from now on. A reader that falls behind by more than 1,024 is told how many it has missed, and takes the
    /// [view](Self::view) instead.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Asks something of the machine.
    ///
    /// # Errors
    /// The machine refuses, or has ended.
    pub async fn command(&self, command: Command) -> Result<(), CommandError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send((command, reply)).await.map_err(|_| CommandError::Ended)?;
        Ok(answer.await.map_err(|_| CommandError::Ended)??)
    }

    /// Changes what the member says about itself; `None` deletes a key.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn set(&self, key: &str, value: Option<Vec<u8>>) -> Result<(), CommandError> {
        self.command(Command::Set(vec![(key.to_owned(), value)])).await
    }

    /// Says good-bye and ends: the others call it left at once. Returns how many peers have confirmed it, of how many.
    ///
    /// # Errors
    /// It has ended before.
    pub async fn leave(mut self) -> Result<(usize, usize), CommandError> {
        let mut events = self.events();
        self.command(Command::Leave).await?;
        let done = loop {
            match events.recv().await {
                Ok(Event::LeaveDone { acknowledged, asked }) => break (acknowledged, asked),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Err(CommandError::Ended),
            }
        };
        // Its socket is closed and its state directory free for the next start when this returns.
        let _ = (&mut self.task).await;
        Ok(done)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What runs as a task.
struct Task {
    shell: Shell,
    clock: Arc<Clock>,
    outlet: Outlet,
    /// Where members of an earlier life were.
    remembered: Vec<SocketAddr>,
    seeds: Vec<SocketAddr>,
    inbox: mpsc::Receiver<Request>,
    lookups: mpsc::Receiver<Vec<SocketAddr>>,
}

impl Task {
    async fn run(mut self) -> io::Result<()> {
        self.begin();
        while !self.outlet.ended {
            tokio::select! {
                biased;
                request = self.inbox.recv() => match request {
                    Some((command, reply)) => {
                        // The caller may have gone.
                        let _ = reply.send(self.shell.command(command, &mut self.outlet));
                    }
                    None => return Ok(()),
                },
                Some(seeds) = self.lookups.recv() => self.tell(Command::Seeds(seeds)),
                ready = self.shell.ready(Instant::NEVER) => ready?,
            }
            let time_was_told = self.shell.turn(&mut self.outlet)?.is_some();
            let now = self.clock.now();
            if time_was_told && let Some(persistence) = &mut self.outlet.persistence {
                persistence.tend(self.shell.node(), now);
            }
            if std::mem::take(&mut self.outlet.changed) {
                self.outlet.view.send_replace(look(self.shell.node(), now));
            }
        }
        if let Some(persistence) = self.outlet.persistence {
            report("peers", persistence.end(self.shell.node()).await);
        }
        Ok(())
    }

    /// What is known from earlier, and where to look for others.
    fn begin(&mut self) {
        self.shell.tell_wall_clock(&mut self.outlet);
        let (remembered, seeds) = (std::mem::take(&mut self.remembered), std::mem::take(&mut self.seeds));
        self.tell(Command::Remembered(remembered));
        self.tell(Command::Seeds(seeds));
    }

    /// Refused only while leaving, when it does not matter any more.
    fn tell(&mut self, command: Command) {
        let _ = self.shell.command(command, &mut self.outlet);
    }
}

/// Where the events of the machine go: to readers, and what the next life has to know to the disk.
struct Outlet {
    persistence: Option<Persistence>,
    view: watch::Sender<View>,
    events: broadcast::Sender<Event>,
    /// The view differs from the one that was shown.
    changed: bool,
    /// The good-bye is over.
    ended: bool,
}

impl Observer for Outlet {
    fn event(&mut self, node: &Node, _: Instant, event: Event) {
        self.changed = true;
        if let Some(persistence) = &mut self.persistence {
            persistence.note(node, &event);
        }
        self.ended |= matches!(event, Event::LeaveDone { .. });
        // There may be no reader.
        let _ = self.events.send(event);
    }
}

fn report(what: &'static str, written: io::Result<()>) {
    if let Err(error) = written {
        warn!(%error, what, "the state directory cannot be written; the next start may have to wait for its own name");
    }
}

fn look(node: &Node, now: Instant) -> View {
    View { members: node.view(now), quorum: node.quorum(now), joined: node.is_joined() }
}

/// Where others reach a member that listens at `bound`.
fn reached_at(bound: SocketAddr, seeds: &[SocketAddr]) -> Option<SocketAddr> {
    if is_reachable(bound) {
        return Some(bound);
    }
    // Nothing is sent: the kernel only chooses the route, and with it the source.
    let towards = |seed: &SocketAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(bound.ip(), 0)).ok()?;
        socket.connect(seed).ok()?;
        socket.local_addr().ok()
    };
    let here = seeds.iter().find_map(towards)?;
    Some(SocketAddr::new(here.ip().to_canonical(), bound.port())).filter(|address| is_reachable(*address))
}

/// Looks the seeds up again until the member has ended.
async fn keep_resolving(
    seeds: Vec<String>,
    mut good: LastGood,
    every: Duration,
    resolved: mpsc::Sender<Vec<SocketAddr>>,
) {
    while !seeds.is_empty() {
        tokio::time::sleep(every).await;
        let found = seeds::look_up(&seeds, &mut good).await;
        if resolved.send(found).await.is_err() {
            return;
        }
    }
}

/// Commands that wait, and events that a slow reader may be behind.
const QUEUE: usize = 64;
const EVENTS: usize = 1_024;
