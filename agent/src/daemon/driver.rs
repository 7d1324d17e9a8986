//! The event loop, sole owner of the machine.
//!
//! *Wait for one thing, hand it in, take out everything that comes of it; only
//! then wait again.* The simulator's loop is the same with a made-up world.
//!
//! One rule is the driver's own: queued datagrams are handed in before the time
//! is, so that no verdict is given about somebody whose answer is already here.

mod addresses;
mod far_future;
mod mismatch;
mod persistence;
mod publish;
mod request;
mod send_failures;
mod service_watchdog;
mod stated;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{Command, Input, Instant, Name, Node, Output, Rejected, Status};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::daemon::notify::{self, Watchdog};
use crate::daemon::telemetry::Refusals;
use crate::event_log::EventLog;
use crate::show;
use crate::types::WatchLine;
use far_future::FarFuture;
use heartsay_tokio::clock::Clock;
use heartsay_tokio::net::{self, SendFailure, SocketError, Udp};
use heartsay_tokio::store::Peer;
pub(crate) use mismatch::Mismatches;
pub(crate) use persistence::Persistence;
pub(crate) use publish::MEMBER_EVENTS;
pub(crate) use request::{Farewell, Loss, Notice, Request, Scope, Snapshot};
use send_failures::SendFailures;
pub(crate) use service_watchdog::ServiceWatchdog;

/// The loop and what it owns.
pub(crate) struct Driver {
    /// The machine.
    pub(crate) node: Node,
    /// Its socket.
    pub(crate) udp: Udp,
    /// Its time.
    pub(crate) clock: Arc<Clock>,
    /// Where its events go.
    pub(crate) event_log: Arc<EventLog>,
    /// Where questions come from.
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Where the process is told.
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    /// Whether the local service beats.
    pub(crate) service_watchdog: ServiceWatchdog,
    /// Who has another key or cluster.
    pub(crate) mismatches: Mismatches,
    /// What is kept between lives.
    pub(crate) persistence: Persistence,
    /// What the loop remembers between two turns.
    pub(crate) state: LoopState,
}

/// What the loop remembers between two turns.
#[derive(Debug)]
pub(crate) struct LoopState {
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
    failures: SendFailures,
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

impl LoopState {
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
            failures: SendFailures::default(),
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
        self.persistence.begin(&self.event_log);
        self.recall();
        let timer = tokio::time::sleep_until(self.clock.deadline(self.state.wake));
        tokio::pin!(timer);
        loop {
            timer.as_mut().reset(self.clock.deadline(self.state.wake.min(self.service_watchdog.due())));
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(Request::Stop) | None => break,
                    Some(request) => self.answer(request),
                },
                ready = self.udp.ready() => ready?,
                () = &mut timer => {}
            }
            if self.clock.offset() != self.state.offset {
                // Before anybody is answered: it may have been a long sleep of all clocks but this one.
                self.tell_wall_clock();
            }
            let emptied = self.read_inbox()?;
            if self.clock.now() >= self.state.wake {
                self.clear_backlog(emptied)?;
                self.tell_time();
            }
            self.look_at_service();
        }
        self.persistence.save_now(self.peers());
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
                    Ok(()) => self.state.failures.sent(now, out.to),
                    Err(failure) => self.note_failure(now, out.to, failure),
                },
                Output::Event(event) => self.tell_event(now, event),
                Output::Timeout(when) => {
                    self.state.wake = when;
                    break;
                }
            }
        }
        // The machine also calls itself joined when nobody is to be looked for.
        if !self.state.joined && self.node.is_joined() && self.node.members() > 1 {
            self.state.joined = true;
            let _ = self.notices.send(Notice::Joined);
        }
    }

    /// Reads complaints and up to [`BATCH`] datagrams. Whether none is left.
    fn read_inbox(&mut self) -> io::Result<bool> {
        for _ in 0..BATCH {
            match self.udp.socket_error() {
                Some(SocketError::Refused { to }) => {
                    let now = self.clock.now();
                    self.state.failures.arrived(to);
                    // A refusal from somewhere unknown is no news to anybody.
                    let _ = self.hand_in(now, Input::Refused { to });
                }
                Some(SocketError::Failed { to, failure }) => {
                    self.note_failure(self.clock.now(), to, failure);
                }
                None => break,
            }
        }
        for _ in 0..BATCH {
            let Some((from, length)) = self.udp.receive(&mut self.state.buffer)? else { return Ok(true) };
            let now = self.clock.now();
            let bytes = self.state.buffer.get(..length).unwrap_or(&[]);
            if let Err(why) = self.node.handle(now, Input::Datagram { from, bytes }) {
                self.state.refusals.note(now, from, &why);
                if let Rejected::FarFuture { name, ahead_ms } = &why {
                    self.note_far_future(now, name, *ahead_ms);
                }
                self.mismatches.note(now, from, &why, &self.event_log);
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
        if now < self.state.wake {
            return;
        }
        self.state.loss.lag = now.since(self.state.wake);
        let _ = self.hand_in(now, Input::Timeout);
        let doubtful = !self.state.far_future.is_empty() || self.state.clock_refused.is_some();
        if self.state.wall_clock.is_none_or(|last| doubtful || now.since(last) >= MINUTE) {
            self.tell_wall_clock();
        }
        self.look_at_failures(now);
        if self.state.clock_refused.is_some_and(|last| now.since(last) >= MINUTE) {
            self.state.clock_refused = None;
            self.event_log.condition("clock", None);
        }
        self.mismatches.look(now, &self.event_log);
        if self.persistence.due(now) {
            let peers = self.peers();
            self.persistence.save(now, peers, &self.event_log);
        }
        self.state.watchdog.pet(now);
        self.tell_status(now);
        self.look_at_addresses(now);
        self.look_at_electorates(now);
    }

    fn tell_wall_clock(&mut self) {
        let unix_ms = self.clock.unix_ms();
        let now = self.clock.now();
        (self.state.wall_clock, self.state.offset) = (Some(now), self.clock.offset());
        let _ = self.hand_in(now, Input::WallClock { unix_ms });
        if !self.state.far_future.is_empty() {
            self.state.far_future.look(now, unix_ms);
            self.tell_of_clock();
        }
    }

    /// By our clock, a life begins more than a day from now.
    fn note_far_future(&mut self, now: Instant, name: &Name, ahead_ms: u64) {
        let generation = self.clock.unix_ms().saturating_add(ahead_ms);
        if self.state.far_future.note(now, name, generation) {
            self.tell_of_clock();
        }
    }

    fn tell_of_clock(&self) {
        let census = self.node.census();
        let others = usize::try_from(census.alive + census.suspect).unwrap_or(usize::MAX).saturating_sub(1);
        let stamp = self.clock.stamp(self.clock.now());
        let sentence = self.state.far_future.sentence(others, self.clock.unix_ms(), &stamp);
        self.event_log.condition("clock behind", sentence);
    }

    /// What an earlier life of ours had agreed on.
    fn recall(&mut self) {
        let now = self.clock.now();
        let follows = self.node.quorum(now).agreed.is_some();
        let names = self.persistence.agreed(follows, &self.event_log);
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
            Request::Look(scope, reply) => drop(reply.send(self.snapshot(now, &scope))),
            Request::Command(command, reply) => {
                let result = self.hand_in(now, Input::Command(command));
                drop(reply.send(result));
            }
            Request::Beat(reply) => {
                if self.service_watchdog.beat(now) {
                    self.service_is_back(now);
                }
                let _ = reply.send(self.service_watchdog);
            }
            Request::Leave(reply) => self.say_good_bye(now, Command::Leave, reply),
            Request::Restart(within, reply) => self.say_good_bye(now, Command::Restart(within), reply),
            Request::Stop => {}
        }
    }

    fn say_good_bye(&mut self, now: Instant, how: Command, reply: oneshot::Sender<Farewell>) {
        self.state.farewells.push(reply);
        // A second wish waits for the same good-bye.
        let _ = self.hand_in(now, Input::Command(how));
    }

    /// The local service did not beat in time: we give no sign of life until it does.
    fn look_at_service(&mut self) {
        let now = self.clock.now();
        let (true, Some(within)) = (self.service_watchdog.look(now), self.service_watchdog.within()) else {
            return;
        };
        let sentence = format!(
            "the local service has not beaten for {within:?}: this member gives no sign of life, so that the \
             others call it down"
        );
        warn!("{sentence}");
        self.event_log.condition("beat", Some(sentence.clone()));
        self.tell_of_ourselves(now, sentence);
        self.set_beating(now, false);
    }

    fn service_is_back(&mut self, now: Instant) {
        info!("the local service beats again");
        self.event_log.condition("beat", None);
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
        self.event_log.publish(WatchLine { kind, time, reason: Some(reason), ..WatchLine::default() });
    }

    fn snapshot(&self, now: Instant, scope: &Scope) -> Snapshot {
        let outside = self.node.outside();
        Snapshot {
            at: now,
            index: self.event_log.newest(),
            me: self.node.me().clone(),
            known: self.node.members(),
            members: match scope {
                Scope::Nobody => Vec::new(),
                Scope::One(name) => self.node.member(now, name).into_iter().collect(),
                Scope::Everybody => self.node.view(now),
            },
            quorum: self.node.quorum(now),
            stats: self.node.stats(),
            loss: Loss { overflow: self.udp.overflow(), ..self.state.loss.clone() },
            joined: self.state.joined && outside.is_none(),
            outside,
            leaving: self.node.is_leaving(),
            service_watchdog: self.service_watchdog,
        }
    }

    fn note_failure(&mut self, now: Instant, to: SocketAddr, failure: SendFailure) {
        if failure.label == net::TOO_LARGE {
            // Only notes it, and says nothing.
            let _ = self.node.handle(now, Input::TooLong { to });
        }
        *self.state.loss.failures.entry(failure.label).or_default() += 1;
        self.state.failures.note(now, to, failure);
        let hint = failure.hint;
        if self.event_log.condition("send", self.state.failures.sentence()) {
            warn!(%to, "datagrams to {to} do not get through: {hint}");
        }
    }

    fn look_at_failures(&mut self, now: Instant) {
        if !self.state.failures.due(now) {
            return;
        }
        let members: BTreeSet<SocketAddr> =
            self.node.summaries().filter(|m| m.status != Status::Left).map(|m| m.address).collect();
        self.state.failures.look(now, |at| members.contains(&at));
        let sentence = self.state.failures.sentence();
        let over = sentence.is_none();
        if self.event_log.condition("send", sentence) && over {
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
