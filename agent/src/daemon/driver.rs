//! The event loop, sole owner of the machine.
//!
//! The [shell](Shell) of heartsay-tokio drives the machine. Here is what the agent does around it: it answers requests
//! between two turns, gives a [reporter](Reporter) all that happens, and watches the local service.

mod addresses;
mod asking;
mod clocks;
mod far_future;
mod marks;
mod mismatch;
mod publish;
mod reporter;
mod request;
mod send_failures;
mod service_watchdog;
mod services;
mod stated;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Command, Instant, Status};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::doctor::Code;
use crate::show;
use heartsay_tokio::Shell;
pub(crate) use marks::Marks;
pub(crate) use mismatch::Mismatches;
pub(crate) use publish::MEMBER_EVENTS;
pub(crate) use reporter::{LoopState, Reporter, disk_report, history_report};
pub(crate) use request::{Asked, Farewell, Loss, Notice, Request, Scope, Snapshot};
pub(crate) use service_watchdog::ServiceWatchdog;

/// The loop and what it owns.
pub(crate) struct Driver {
    /// The machine with its socket and its time.
    pub(crate) shell: Shell,
    /// Where questions come from.
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Where everything that happens goes.
    pub(crate) reporter: Reporter,
}

impl Driver {
    /// Runs until [`Request::Stop`], or until no sender of requests is left.
    ///
    /// # Errors
    /// The socket or the reactor broke.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        self.shell.tell_wall_clock(&mut self.reporter);
        loop {
            let service = self.reporter.service_watchdog.due();
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(Request::Stop) | None => break,
                    Some(request) => self.answer(request),
                },
                ready = self.shell.ready(service) => ready?,
            }
            if let Some(late) = self.shell.turn(&mut self.reporter)? {
                self.tend(late);
            }
            self.look_at_service();
            self.reporter.look_whether_joined(self.shell.node());
        }
        let saved = tokio::time::timeout(LAST_WRITES, self.reporter.persistence.end(self.shell.node())).await;
        if let Err(e) = saved.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            warn!(error = %e, "the list of peers could not be saved");
        }
        Ok(())
    }

    /// Everything periodic rides on the wake-ups of the machine; this one was `late` by that.
    fn tend(&mut self, late: Duration) {
        if self.reporter.doubts_a_clock() {
            self.shell.tell_wall_clock(&mut self.reporter);
        }
        self.reporter.state.loss.lag = late;
        self.reporter.state.marks.look(self.now(), self.shell.node(), self.shell.overflow());
        self.reporter.tend(self.shell.node());
    }

    fn answer(&mut self, request: Request) {
        // The caller may have gone; no reply needs to arrive.
        match request {
            Request::Look(scope, reply) => drop(reply.send(self.snapshot(&scope))),
            Request::Addresses(reply) => drop(reply.send(self.addresses())),
            Request::Command(command, reply) => {
                drop(reply.send(self.shell.command(command, &mut self.reporter)));
            }
            Request::Ask(member, question, reply) => {
                let number = self.reporter.state.asking.open(reply);
                let asked = Command::Ask { number, member, question };
                if let Err(refused) = self.shell.command(asked, &mut self.reporter) {
                    self.reporter.state.asking.end(number, Err(refused));
                }
            }
            Request::Beat(reply) => {
                if self.reporter.service_watchdog.beat(self.now()) {
                    self.review_rest();
                }
                let _ = reply.send(self.reporter.service_watchdog);
            }
            Request::Suspend(why) => self.suspend(why),
            Request::Leave(reply) => self.say_good_bye(Command::Leave, reply),
            Request::Restart(within, reply) => self.say_good_bye(Command::Restart(within), reply),
            Request::Stop => {}
        }
    }

    fn say_good_bye(&mut self, how: Command, reply: oneshot::Sender<Farewell>) {
        self.reporter.state.farewells.push(reply);
        // A second wish is refused, and waits for the same good-bye.
        self.tell(how);
    }

    /// The local service did not beat in time: we give no sign of life until it does.
    fn look_at_service(&mut self) {
        let now = self.now();
        if self.reporter.service_watchdog.look(now) {
            self.review_rest();
        }
    }

    /// A check of a service wants us to give no sign of life, or no check does any more.
    fn suspend(&mut self, why: Option<String>) {
        self.reporter.suspended = why;
        self.review_rest();
    }

    /// What keeps us from giving signs of life has changed: says so, and rests or beats.
    fn review_rest(&mut self) {
        let reporter = &mut self.reporter;
        let unbeaten = reporter.service_watchdog.within().filter(|_| reporter.service_watchdog.is_closed());
        let unbeaten = unbeaten.map(|within| format!("the local service has not beaten for {within:?}"));
        let why = reporter.suspended.clone().or(unbeaten);
        let beats = why.is_none();
        let condition = why
            .map(|why| format!("{why}: this member gives no sign of life, so that the others call it down"));
        let sentence = condition.clone().unwrap_or_else(|| "the local service is well again".to_owned());
        if beats {
            info!("{sentence}");
        } else {
            warn!("{sentence}");
        }
        reporter.event_log.condition(Code::ServiceDoesNotBeat, condition.map(Into::into));
        self.reporter.tell_of_ourselves(self.now(), sentence);
        self.set_beating(beats);
    }

    /// Says so to the others too, as long as they still listen.
    fn set_beating(&mut self, beating: bool) {
        let note = (show::BEAT.to_owned(), (!beating).then(|| show::MISSED.to_vec()));
        self.tell(Command::Set(vec![note]));
        self.tell(Command::Beat(beating));
    }

    /// Hands in a command whose refusal does not matter: that happens only while leaving.
    fn tell(&mut self, command: Command) {
        let _ = self.shell.command(command, &mut self.reporter);
    }

    fn addresses(&self) -> (SocketAddr, Vec<SocketAddr>) {
        let node = self.shell.node();
        let there = |status| matches!(status, Status::Alive | Status::Restarting | Status::Suspect);
        let others = node.summaries().filter(|member| member.name != node.me() && there(member.status));
        (node.own().address, others.map(|member| member.address).collect())
    }

    fn snapshot(&self, scope: &Scope) -> Snapshot {
        let (now, node, reporter) = (self.now(), self.shell.node(), &self.reporter);
        let outside = node.outside();
        let mut snapshot = Snapshot {
            took: Duration::ZERO,
            at: now,
            index: reporter.event_log.newest(),
            me: node.me().clone(),
            known: node.members(),
            members: match scope {
                Scope::None => Vec::new(),
                Scope::One(name) => node.member(now, name).into_iter().collect(),
                Scope::All => node.view(now),
            },
            quorum: node.quorum(now),
            stats: node.stats(),
            news_delays: node.news_delays().clone(),
            loss: Loss { overflow: self.shell.overflow(), ..reporter.state.loss.clone() },
            marks: reporter.state.marks,
            joined: reporter.state.joined && outside.is_none(),
            outside,
            leaving: node.is_leaving(),
            service_watchdog: reporter.service_watchdog,
            suspended: reporter.suspended.is_some(),
        };
        snapshot.took = self.now().since(now);
        snapshot
    }

    fn now(&self) -> Instant {
        self.reporter.clock.now()
    }
}

/// For what is still to be written at the end. A broken disk may hang; the agent does not hang with it.
const LAST_WRITES: Duration = Duration::from_secs(5);
