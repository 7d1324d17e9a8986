//! The event loop, sole owner of the machine.
//!
//! *Wait for one thing, hand it in, take out everything that comes of it; only
//! then wait again.* The simulator's loop is the same with a made-up world.
//!
//! One rule is the driver's own: queued datagrams are handed in before the time
//! is, so that no verdict is given about somebody whose answer is already here.

mod addresses;
mod far_future;
mod gate;
mod memory;
mod mismatch;
mod obstacles;
mod request;
mod stated;
mod tell;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{Command, Input, Instant, Name, Node, Output, Rejected, Status};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::api::show;
use crate::api::types::WatchLine;
use crate::clock::Clock;
use crate::net::{self, Complaint, Obstacle, Udp};
use crate::notify::{self, Watchdog};
use crate::store::Peer;
use crate::telemetry::Refusals;
use crate::view::Board;
use far_future::FarFuture;
pub(crate) use gate::Gate;
pub(crate) use memory::Memory;
pub(crate) use mismatch::Mismatches;
use obstacles::Obstacles;
pub(crate) use request::{Farewell, Loss, Notice, Picture, Request, Scope};
pub(crate) use tell::MEMBER_EVENTS;

/// The loop and what it owns.
pub(crate) struct Driver {
    /// The machine.
    pub(crate) node: Node,
    /// Its socket.
    pub(crate) udp: Udp,
    /// Its time.
    pub(crate) clock: Arc<Clock>,
    /// Where its events go.
    pub(crate) board: Arc<Board>,
    /// Where questions come from.
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Where the process is told.
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    /// Whether the local service beats.
    pub(crate) gate: Gate,
    /// Who has another key or cluster.
    pub(crate) mismatches: Mismatches,
    /// What is kept between lives.
    pub(crate) memory: Memory,
    /// What the loop remembers between two turns.
    pub(crate) turn: Turn,
}

/// What the loop remembers between two turns.
#[derive(Debug)]
pub(crate) struct Turn {
    buffer: Vec<u8>,
    wake: Instant,
    wall_clock: Option<Instant>,
    /// Of the wall clock, as the machine was told it.
    offset: i64,
    status: Option<Instant>,
    status_stale: bool,
    status_wanted: bool,
    addresses: Option<Instant>,
    addresses_stale: bool,
    /// What the status line said of it last.
    looking: bool,
    joined: bool,
    obstacles: Obstacles,
    /// When it was last looked at what the others were told about who votes.
    electorates: Option<Instant>,
    /// When peers last refused our clock.
    clock_refused: Option<Instant>,
    /// Lives that begin more than a day after now, by our clock, and are not taken in.
    far_future: FarFuture,
    loss: Loss,
    refusals: Refusals,
    farewells: Vec<oneshot::Sender<Farewell>>,
    watchdog: Watchdog,
}

impl Turn {
    /// Before the first turn.
    #[must_use]
    pub(crate) fn first(now: Instant) -> Self {
        Self {
            buffer: vec![0; BUFFER],
            wake: now,
            wall_clock: None,
            offset: 0,
            status: None,
            status_stale: true,
            status_wanted: notify::wanted(),
            addresses: None,
            addresses_stale: false,
            looking: false,
            joined: false,
            obstacles: Obstacles::default(),
            electorates: None,
            clock_refused: None,
            far_future: FarFuture::default(),
            loss: Loss::default(),
            refusals: Refusals::default(),
            farewells: Vec::new(),
            watchdog: Watchdog::from_environment(now),
        }
    }
}

impl Driver {
    /// Runs until somebody says [`Request::Stop`] or nobody is left to say it.
    ///
    /// # Errors
    /// The socket or the reactor broke.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        self.tell_wall_clock();
        self.memory.begin(&self.board);
        self.recall();
        let timer = tokio::time::sleep_until(self.clock.deadline(self.turn.wake));
        tokio::pin!(timer);
        loop {
            timer.as_mut().reset(self.clock.deadline(self.turn.wake.min(self.gate.due())));
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(Request::Stop) | None => break,
                    Some(request) => self.answer(request),
                },
                ready = self.udp.ready() => ready?,
                () = &mut timer => {}
            }
            if self.clock.offset() != self.turn.offset {
                // Before anybody is answered: it may have been a long sleep of all clocks but this one.
                self.tell_wall_clock();
            }
            let emptied = self.read_inbox()?;
            if self.clock.now() >= self.turn.wake {
                self.clear_backlog(emptied)?;
                self.tell_time();
            }
            self.look_at_gate();
        }
        self.memory.save_now(self.peers());
        Ok(())
    }

    /// Hands one thing in and takes out everything that comes of it.
    fn hand_in(&mut self, now: Instant, input: Input<'_>) -> Result<(), Rejected> {
        let result = self.node.handle(now, input);
        self.drain(now);
        result
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.node.poll_output() {
                Output::Transmit(out) => match self.udp.send(out.to, &out.bytes) {
                    Ok(()) => self.turn.obstacles.sent(now, out.to),
                    Err(obstacle) => self.note_obstacle(now, out.to, obstacle),
                },
                Output::Event(event) => self.tell_event(now, event),
                Output::Timeout(when) => {
                    self.turn.wake = when;
                    break;
                }
            }
        }
        // The machine also calls itself joined when nobody is to be looked for.
        if !self.turn.joined && self.node.is_joined() && self.node.members() > 1 {
            self.turn.joined = true;
            let _ = self.notices.send(Notice::Joined);
        }
    }

    /// Reads complaints and up to [`BATCH`] datagrams. Whether none is left.
    fn read_inbox(&mut self) -> io::Result<bool> {
        for _ in 0..BATCH {
            match self.udp.complaint() {
                Some(Complaint::Refused { to }) => {
                    let now = self.clock.now();
                    self.turn.obstacles.arrived(to);
                    // A refusal from somewhere unknown is no news to anybody.
                    let _ = self.hand_in(now, Input::Refused { to });
                }
                Some(Complaint::Failed { to, obstacle }) => {
                    self.note_obstacle(self.clock.now(), to, obstacle);
                }
                None => break,
            }
        }
        for _ in 0..BATCH {
            let Some((from, length)) = self.udp.receive(&mut self.turn.buffer)? else { return Ok(true) };
            let now = self.clock.now();
            let bytes = self.turn.buffer.get(..length).unwrap_or(&[]);
            if let Err(why) = self.node.handle(now, Input::Datagram { from, bytes }) {
                self.turn.refusals.note(now, from, &why);
                if let Rejected::FarFuture { name, ahead_ms } = &why {
                    self.note_far_future(now, name, *ahead_ms);
                }
                self.mismatches.note(now, from, &why, &self.board);
            }
            self.drain(now);
        }
        Ok(false)
    }

    /// Before the time is told: reads what had come by then. Bounded, so that
    /// a flood cannot stop the clock.
    fn clear_backlog(&mut self, mut emptied: bool) -> io::Result<()> {
        for _ in 0..BACKLOG {
            if emptied {
                break;
            }
            emptied = self.read_inbox()?;
        }
        Ok(())
    }

    /// The wake-up that the machine asked for; everything periodic rides on it.
    fn tell_time(&mut self) {
        let now = self.clock.now();
        if now < self.turn.wake {
            return;
        }
        self.turn.loss.lag = now.since(self.turn.wake);
        let _ = self.hand_in(now, Input::Timeout);
        let doubtful = !self.turn.far_future.is_empty() || self.turn.clock_refused.is_some();
        if self.turn.wall_clock.is_none_or(|last| doubtful || now.since(last) >= MINUTE) {
            self.tell_wall_clock();
        }
        self.look_at_obstacles(now);
        if self.turn.clock_refused.is_some_and(|last| now.since(last) >= MINUTE) {
            self.turn.clock_refused = None;
            self.board.condition("clock", None);
        }
        self.mismatches.look(now, &self.board);
        if self.memory.due(now) {
            let peers = self.peers();
            self.memory.save(now, peers, &self.board);
        }
        self.turn.watchdog.pet(now);
        self.tell_status(now);
        self.look_at_addresses(now);
        self.look_at_electorates(now);
    }

    fn tell_wall_clock(&mut self) {
        let unix_ms = self.clock.unix_ms();
        let now = self.clock.now();
        (self.turn.wall_clock, self.turn.offset) = (Some(now), self.clock.offset());
        let _ = self.hand_in(now, Input::WallClock { unix_ms });
        if !self.turn.far_future.is_empty() {
            self.turn.far_future.look(now, unix_ms);
            self.tell_of_clock();
        }
    }

    /// By our clock, a life begins more than a day from now.
    fn note_far_future(&mut self, now: Instant, name: &Name, ahead_ms: u64) {
        let generation = self.clock.unix_ms().saturating_add(ahead_ms);
        if self.turn.far_future.note(now, name, generation) {
            self.tell_of_clock();
        }
    }

    fn tell_of_clock(&self) {
        let census = self.node.census();
        let others = usize::try_from(census.alive + census.suspect).unwrap_or(usize::MAX).saturating_sub(1);
        let stamp = self.clock.stamp(self.clock.now());
        let sentence = self.turn.far_future.sentence(others, self.clock.unix_ms(), &stamp);
        self.board.condition("clock behind", sentence);
    }

    /// What an earlier life of ours had agreed on.
    fn recall(&mut self) {
        let now = self.clock.now();
        let follows = self.node.quorum(now).agreed.is_some();
        let names = self.memory.agreed(follows, &self.board);
        if !names.is_empty() {
            info!(
                members = names.len(),
                "the agreed roster of the last life holds until this one knows better"
            );
            let _ = self.hand_in(now, Input::Command(Command::Agreed(names)));
        }
    }

    fn answer(&mut self, request: Request) {
        let now = self.clock.now();
        // Whoever asked may be gone by now; that is its own affair.
        match request {
            Request::Look(scope, reply) => drop(reply.send(self.picture(now, &scope))),
            Request::Command(command, reply) => {
                let result = self.hand_in(now, Input::Command(command));
                drop(reply.send(result));
            }
            Request::Beat(reply) => {
                if self.gate.beat(now) {
                    self.open_gate(now);
                }
                let _ = reply.send(self.gate);
            }
            Request::Leave(reply) => self.say_good_bye(now, Command::Leave, reply),
            Request::Restart(within, reply) => self.say_good_bye(now, Command::Restart(within), reply),
            Request::Stop => {}
        }
    }

    fn say_good_bye(&mut self, now: Instant, how: Command, reply: oneshot::Sender<Farewell>) {
        self.turn.farewells.push(reply);
        // A second wish waits for the same good-bye.
        let _ = self.hand_in(now, Input::Command(how));
    }

    /// The local service did not beat in time: we give no sign of life until it does.
    fn look_at_gate(&mut self) {
        let now = self.clock.now();
        let (true, Some(within)) = (self.gate.look(now), self.gate.within()) else { return };
        let sentence = format!(
            "the local service has not beaten for {within:?}: this member gives no sign of life, so that the \
             others call it down"
        );
        warn!("{sentence}");
        self.board.condition("beat", Some(sentence.clone()));
        self.tell_of_ourselves(now, sentence);
        self.set_beating(now, false);
    }

    fn open_gate(&mut self, now: Instant) {
        info!("the local service beats again");
        self.board.condition("beat", None);
        self.tell_of_ourselves(now, "the local service beats again".to_owned());
        self.set_beating(now, true);
    }

    /// Says so to the others too, as long as they still listen.
    fn set_beating(&mut self, now: Instant, beating: bool) {
        let note = (show::BEAT.to_owned(), (!beating).then(|| show::MISSED.to_vec()));
        // Refused only while leaving, when it does not matter any more.
        let _ = self.hand_in(now, Input::Command(Command::Set(vec![note])));
        let _ = self.hand_in(now, Input::Command(Command::Beat(beating)));
    }

    fn tell_of_ourselves(&self, now: Instant, reason: String) {
        let (kind, time) = ("self".to_owned(), self.clock.stamp(now));
        self.board.publish(WatchLine { kind, time, reason: Some(reason), ..WatchLine::default() });
    }

    fn picture(&self, now: Instant, scope: &Scope) -> Picture {
        let outside = self.node.outside();
        Picture {
            at: now,
            index: self.board.newest(),
            me: self.node.me().clone(),
            known: self.node.members(),
            members: match scope {
                Scope::Nobody => Vec::new(),
                Scope::One(name) => self.node.member(now, name).into_iter().collect(),
                Scope::Everybody => self.node.view(now),
            },
            quorum: self.node.quorum(now),
            stats: self.node.stats(),
            loss: Loss { overflow: self.udp.overflow(), ..self.turn.loss.clone() },
            joined: self.turn.joined && outside.is_none(),
            outside,
            leaving: self.node.is_leaving(),
            gate: self.gate,
        }
    }

    fn note_obstacle(&mut self, now: Instant, to: SocketAddr, obstacle: Obstacle) {
        if obstacle.label == net::TOO_LARGE {
            // Only notes it, and says nothing.
            let _ = self.node.handle(now, Input::TooLong { to });
        }
        *self.turn.loss.obstacles.entry(obstacle.label).or_default() += 1;
        self.turn.obstacles.note(now, to, obstacle);
        let hint = obstacle.hint;
        if self.board.condition("send", self.turn.obstacles.sentence()) {
            warn!(%to, "datagrams to {to} do not get through: {hint}");
        }
    }

    fn look_at_obstacles(&mut self, now: Instant) {
        if !self.turn.obstacles.due(now) {
            return;
        }
        let members: BTreeSet<SocketAddr> =
            self.node.summaries().filter(|m| m.status != Status::Left).map(|m| m.address).collect();
        self.turn.obstacles.look(now, |at| members.contains(&at));
        let sentence = self.turn.obstacles.sentence();
        let over = sentence.is_none();
        if self.board.condition("send", sentence) && over {
            info!("datagrams get through everywhere again");
        }
    }

    fn peers(&self) -> Vec<Peer> {
        let me = self.node.me();
        self.node
            .summaries()
            .filter(|member| member.name != me && member.status != Status::Left)
            .map(|member| Peer { name: member.name.to_string(), address: member.address })
            .collect()
    }
}

/// One byte more than any datagram may have, so that a longer one is seen to be.
const BUFFER: usize = 1_473;
/// Datagrams between two looks at the requests.
const BATCH: usize = 256;
/// Batches before the time is told regardless; some times what the kernel queues.
const BACKLOG: usize = 16;
const MINUTE: Duration = Duration::from_secs(60);
