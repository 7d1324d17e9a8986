//! One member as a task: commands go in, views and events come out.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{
    Command, Config, Event, HostId, Identity, IdentityError, Input, Instant, MemberView, Name, Node, Output,
    QuorumStatus, Rejected, Status, is_reachable,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use crate::clock::{self, Clock};
use crate::net::{self, SocketError, Udp};
use crate::seeds::Seeds;
use crate::store::{Peer, Store};

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
    /// Where host id, generation, peers and the agreed roster are kept. `None`: nowhere, and each start is another host,
    /// which has to wait until the earlier one of its name is down.
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
    /// The socket, the state directory or the system's randomness.
    #[error("{0:#}")]
    Host(anyhow::Error),
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
    /// Whether others have taken this member in, or nobody is to be looked for.
    pub joined: bool,
}

impl View {
    /// Those against whom nothing speaks.
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
        let clock = Clock::start();
        let socket = net::bind(options.bind).map_err(SpawnError::Host)?;
        let bound = socket.local_addr().map_err(|error| SpawnError::Host(error.into()))?;
        let mut seeds = Seeds::new(options.seeds);
        let addresses = seeds.look_up().await;
        let address = match options.advertise {
            Some(address) if address.port() == 0 => SocketAddr::new(address.ip(), bound.port()),
            Some(address) => address,
            None => reached_at(bound, &addresses).ok_or(SpawnError::Address { bind: options.bind })?,
        };
        if !is_reachable(address) {
            return Err(IdentityError::Address { address }.into());
        }
        let store = options.state_dir.map(|dir| Store::open(&dir, clock.unix_ms())).transpose();
        let store = store.map_err(SpawnError::Host)?.map(|store| store.of_cluster(config.cluster.id()));
        let random = u128::from_be_bytes(clock::entropy().map_err(SpawnError::Host)?);
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
        let udp = Udp::new(socket).map_err(SpawnError::Host)?;
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(EVENTS);
        let (show, view) = watch::channel(look(&node, clock.now()));
        let (resolved, lookups) = mpsc::channel(1);
        let shell = Shell {
            wake: clock.now(),
            node,
            udp,
            clock,
            store: store.map(Arc::new),
            agreed: 0,
            writes: JoinSet::new(),
            show,
            events: events.clone(),
            buffer: vec![0; BUFFER],
            changed: false,
            ended: false,
        };
        let task = tokio::spawn(async move {
            // Ends with this task, also when that is aborted.
            let mut resolver = JoinSet::new();
            resolver.spawn(keep_resolving(seeds, rejoin, resolved));
            if let Err(error) = shell.run(addresses, inbox, lookups).await {
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

/// The machine and its world.
struct Shell {
    node: Node,
    udp: Udp,
    clock: Clock,
    store: Option<Arc<Store>>,
    /// How many agreed rosters were handed to the disk.
    agreed: u64,
    /// What is on its way to the disk.
    writes: JoinSet<()>,
    show: watch::Sender<View>,
    events: broadcast::Sender<Event>,
    buffer: Vec<u8>,
    wake: Instant,
    changed: bool,
    ended: bool,
}

impl Shell {
    async fn run(
        mut self,
        seeds: Vec<SocketAddr>,
        mut inbox: mpsc::Receiver<Request>,
        mut lookups: mpsc::Receiver<Vec<SocketAddr>>,
    ) -> io::Result<()> {
        self.begin(seeds);
        let mut clock_told = self.clock.now();
        while !self.ended {
            let wake = self.clock.deadline(self.wake);
            tokio::select! {
                biased;
                request = inbox.recv() => match request {
                    Some((command, reply)) => {
                        // Whoever asked may be gone by now.
                        let _ = reply.send(self.hand_in(Input::Command(command)));
                    }
                    None => return Ok(()),
                },
                Some(seeds) = lookups.recv() => drop(self.hand_in(Input::Command(Command::Seeds(seeds)))),
                ready = self.udp.ready() => ready?,
                () = tokio::time::sleep_until(wake) => {}
            }
            // What has come is read before the time is told: it may be the answer that was waited for.
            for _ in 0..BACKLOG {
                if self.read_inbox()? {
                    break;
                }
            }
            let now = self.clock.now();
            if now >= self.wake {
                drop(self.hand_in(Input::Timeout));
            }
            if now.since(clock_told) >= MINUTE {
                clock_told = now;
                let unix_ms = self.clock.unix_ms();
                drop(self.hand_in(Input::WallClock { unix_ms }));
                self.keep_peers();
            }
            if std::mem::take(&mut self.changed) {
                self.show.send_replace(look(&self.node, self.clock.now()));
            }
        }
        while self.writes.join_next().await.is_some() {}
        Ok(())
    }

    fn begin(&mut self, seeds: Vec<SocketAddr>) {
        let unix_ms = self.clock.unix_ms();
        drop(self.hand_in(Input::WallClock { unix_ms }));
        if let Some(store) = self.store.clone() {
            let peers = store.peers().into_iter().map(|peer| peer.address).collect();
            let agreed = store.agreed();
            drop(self.hand_in(Input::Command(Command::Remembered(peers))));
            drop(self.hand_in(Input::Command(Command::Agreed(agreed))));
        }
        drop(self.hand_in(Input::Command(Command::Seeds(seeds))));
    }

    /// Hands one thing in, and takes out all that comes of it.
    fn hand_in(&mut self, input: Input<'_>) -> Result<(), Rejected> {
        let now = self.clock.now();
        let result = self.node.handle(now, input);
        self.drain();
        result
    }

    /// Reads refusals and some datagrams. Whether none is left.
    fn read_inbox(&mut self) -> io::Result<bool> {
        for _ in 0..BATCH {
            match self.udp.socket_error() {
                // A refusal from somewhere unknown is no news to anybody.
                Some(SocketError::Refused { to }) => drop(self.hand_in(Input::Refused { to })),
                Some(SocketError::Failed { to, failure }) => self.failed(to, failure),
                None => break,
            }
        }
        for _ in 0..BATCH {
            let Some((from, length)) = self.udp.receive(&mut self.buffer)? else { return Ok(true) };
            let bytes = self.buffer.get(..length).unwrap_or_default();
            if let Err(rejected) = self.node.handle(self.clock.now(), Input::Datagram { from, bytes }) {
                debug!(%from, %rejected, "a datagram was refused");
            }
            self.drain();
        }
        Ok(false)
    }

    fn drain(&mut self) {
        loop {
            match self.node.poll_output() {
                Output::Transmit(datagram) => {
                    if let Err(failure) = self.udp.send(datagram.to, &datagram.bytes) {
                        self.failed(datagram.to, failure);
                    }
                }
                Output::Event(event) => self.tell(event),
                Output::Timeout(when) => break self.wake = when,
            }
        }
    }

    fn failed(&mut self, to: SocketAddr, failure: net::SendFailure) {
        debug!(%to, why = failure.hint, "a datagram does not get through");
        if failure.label == net::TOO_LARGE {
            // Only noted; nothing comes of it now.
            drop(self.node.handle(self.clock.now(), Input::TooLong { to }));
        }
    }

    fn tell(&mut self, event: Event) {
        self.changed = true;
        self.keep(&event);
        self.ended |= matches!(event, Event::LeaveDone { .. });
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// What the next life has to know goes to the disk, beside the loop: a slow one never holds it up.
    fn keep(&mut self, event: &Event) {
        let Some(store) = self.store.clone() else { return };
        match event {
            Event::GenerationRaised(generation) | Event::Readdressed { generation, .. } => {
                let generation = *generation;
                self.write(move || store.save_generation(generation));
            }
            Event::GenerationReset(generation) => {
                let generation = *generation;
                self.write(move || store.reset_generation(generation));
            }
            Event::Agreed(names) => {
                self.agreed += 1;
                let (turn, names) = (self.agreed, names.clone());
                self.write(move || store.save_agreed(turn, &names));
            }
            Event::Joined { .. } | Event::LeaveDone { .. } => self.keep_peers(),
            Event::Member(_)
            | Event::Quorum(_)
            | Event::Outside(_)
            | Event::NameRefused { .. }
            | Event::ClockRefused
            | Event::PathLimited { .. }
            | Event::Isolated(_)
            | Event::Stalled(_) => {}
        }
    }

    fn keep_peers(&mut self) {
        let Some(store) = self.store.clone() else { return };
        let me = self.node.me();
        let others = self.node.summaries().filter(|m| m.name != me && m.status != Status::Left);
        let peers: Vec<Peer> =
            others.map(|m| Peer { name: m.name.to_string(), address: m.address }).collect();
        self.write(move || store.save_peers(&peers));
    }

    fn write(&mut self, write: impl FnOnce() -> io::Result<()> + Send + 'static) {
        while self.writes.try_join_next().is_some() {}
        self.writes.spawn_blocking(move || {
            if let Err(error) = write() {
                warn!(%error, "the state directory cannot be written; the next start may have to wait for its own name");
            }
        });
    }
}

fn look(node: &Node, now: Instant) -> View {
    View { members: node.view(now), quorum: node.quorum(now), joined: node.is_joined() }
}

/// Where others reach somebody who listens at `bound`.
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

/// Looks the seeds up again, as long as somebody wants to know.
async fn keep_resolving(mut seeds: Seeds, every: Duration, resolved: mpsc::Sender<Vec<SocketAddr>>) {
    while !seeds.is_empty() {
        tokio::time::sleep(every).await;
        let found = seeds.look_up().await;
        if resolved.send(found).await.is_err() {
            return;
        }
    }
}

/// One byte more than any datagram may have, so that a longer one is seen to be.
const BUFFER: usize = 1_473;
/// Datagrams between two looks at the requests, and batches before the time is told regardless.
const BATCH: usize = 256;
const BACKLOG: usize = 16;
/// Commands that wait, and events that a slow reader may be behind.
const QUEUE: usize = 64;
const EVENTS: usize = 1_024;
const MINUTE: Duration = Duration::from_secs(60);
