//! What the agent makes of everything that happens in its machine: log, events, conditions, counters, and what goes to the disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use heartsay_membership::{Event, Instant, Name, Node, Rejected, Status};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::asking::Asking;
use super::far_future::FarFuture;
use super::send_failures::{self, Seat, SendFailures};
use super::{Asked, Farewell, Loss, Marks, Mismatches, Notice, ServiceWatchdog};
use crate::daemon::notify::{self, Watchdog};
use crate::daemon::telemetry::Refusals;
use crate::doctor::{Code, Said};
use crate::event_log::EventLog;
use crate::recorder::{self, Allowance};
use crate::services::announced::Announced;
use crate::services::registry::Reasons;
use heartsay_tokio::clock::Clock;
use heartsay_tokio::net::SendFailure;
use heartsay_tokio::{Observer, Persistence, Report};

/// Told of everything that happens in the machine; tells the process, the log and the readers of events.
pub(crate) struct Reporter {
    /// The machine's time.
    pub(crate) clock: Arc<Clock>,
    /// Where events go.
    pub(crate) event_log: Arc<EventLog>,
    /// Where the process is told.
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    /// Where the questions of other members go; the machine bounds how many there are.
    pub(crate) asked: mpsc::UnboundedSender<Asked>,
    /// Whether the local service beats.
    pub(crate) service_watchdog: ServiceWatchdog,
    /// Why a check has us give no sign of life.
    pub(crate) suspended: Option<String>,
    /// Senders with another key or cluster.
    pub(crate) mismatches: Mismatches,
    /// What is kept between lives.
    pub(crate) persistence: Persistence,
    /// Services as readers were told of them last.
    pub(crate) announced: Announced,
    /// Why those of this host are not passing.
    pub(crate) reasons: Reasons,
    /// What is remembered between two turns.
    pub(crate) state: LoopState,
}

/// What the loop remembers between two turns.
#[derive(Debug)]
pub(crate) struct LoopState {
    pub(super) status: Option<Instant>,
    pub(super) status_stale: bool,
    pub(super) status_wanted: bool,
    pub(super) addresses: Option<Instant>,
    pub(super) addresses_stale: bool,
    /// What the status line said of it last.
    pub(super) looking: bool,
    pub(super) joined: bool,
    /// All that the first complete view has was told; the machine itself knows before that.
    pub(super) has_view: bool,
    failures: SendFailures,
    /// When the electorates that the others state were last compared with ours.
    pub(super) electorates: Option<Instant>,
    /// When peers last refused our clock.
    pub(super) clock_refused: Option<Instant>,
    /// Lives that begin more than a day after now, by our clock, and are not taken in.
    pub(super) far_future: FarFuture,
    pub(super) loss: Loss,
    pub(super) marks: Marks,
    refusals: Refusals,
    /// For evidence in the history: to gather it takes time that is the protocol's.
    pub(super) evidence: Allowance,
    pub(super) farewells: Vec<oneshot::Sender<Farewell>>,
    pub(super) asking: Asking,
    watchdog: Watchdog,
}

impl LoopState {
    /// Before the first turn.
    #[must_use]
    pub(crate) fn first(now: Instant) -> Self {
        Self {
            status: None,
            status_stale: true,
            status_wanted: notify::wanted(),
            addresses: None,
            addresses_stale: false,
            looking: false,
            joined: false,
            has_view: false,
            failures: SendFailures::default(),
            electorates: None,
            clock_refused: None,
            far_future: FarFuture::default(),
            loss: Loss::default(),
            marks: Marks::default(),
            refusals: Refusals::default(),
            evidence: Allowance::new(EVIDENCE, EVIDENCE, now),
            farewells: Vec::new(),
            asking: Asking::default(),
            watchdog: Watchdog::from_environment(now),
        }
    }
}

impl Observer for Reporter {
    fn event(&mut self, node: &Node, now: Instant, event: Event) {
        self.persistence.note(node, &event);
        self.tell_event(node, now, event);
    }

    fn rejected(&mut self, node: &Node, now: Instant, from: SocketAddr, why: &Rejected) {
        self.state.refusals.note(now, from, why);
        if let Rejected::FarFuture { name, ahead_ms } = why {
            self.note_far_future(node, now, name, *ahead_ms);
        }
        let is_member =
            || node.summaries().any(|member| member.address == from && member.status != Status::Left);
        self.mismatches.note(now, from, why, || node.key_ids(), is_member, &self.event_log);
    }

    fn sent(&mut self, now: Instant, to: SocketAddr) {
        self.state.failures.sent(now, to);
    }

    fn failed(&mut self, now: Instant, to: SocketAddr, failure: SendFailure) {
        *self.state.loss.failures.entry(failure.label).or_default() += 1;
        self.state.failures.note(now, to, failure);
        let hint = failure.hint;
        if self.state_failures() {
            warn!(%to, "datagrams to {to} do not get through: {hint}");
        }
    }
}

impl Reporter {
    /// Everything that is looked at now and then.
    pub(super) fn tend(&mut self, node: &Node) {
        let now = self.clock.now();
        self.look_at_clocks(node, now);
        self.look_at_failures(node, now);
        self.mismatches.look(now, &self.event_log);
        self.persistence.tend(node, now);
        self.state.watchdog.pet(now);
        self.tell_status(node, now);
        self.look_at_addresses(node, now);
        self.look_at_electorates(node, now);
    }

    /// The machine also calls itself joined when there is no other member to look for.
    pub(super) fn look_whether_joined(&mut self, node: &Node) {
        if !self.state.joined && node.is_joined() && node.members() > 1 {
            self.state.joined = true;
            let _ = self.notices.send(Notice::Joined);
        }
    }

    fn look_at_failures(&mut self, node: &Node, now: Instant) {
        if !self.state.failures.due(now) {
            return;
        }
        let members: BTreeMap<SocketAddr, &Name> = node
            .summaries()
            .filter(|member| member.status != Status::Left)
            .map(|member| (member.address, member.name))
            .collect();
        let heard = |name: &&Name| node.member(now, name).filter(|view| view.reachable == Some(true));
        self.state.failures.look(now, |at| match members.get(&at) {
            Some(name) => Seat::Member { answered: heard(name).and_then(|view| view.last_direct) },
            None => Seat::Empty,
        });
        if self.state_failures() && self.state.failures.sentences().is_empty() {
            info!("datagrams get through everywhere again");
        }
    }

    /// States all that does not get through, by its cause. Whether any of it is news.
    fn state_failures(&self) -> bool {
        let mut said = self.state.failures.sentences();
        let mut news = false;
        for code in send_failures::CODES {
            news |= self.event_log.condition(code, said.remove(&code));
        }
        news
    }
}

/// The report of a write to the state directory, as a condition that stays until a write succeeds.
pub(crate) fn disk_report(event_log: Arc<EventLog>) -> Report {
    Arc::new(move |what, written| match written {
        Ok(()) => {
            if event_log.condition(Code::StateDirectory, None) {
                info!("the state directory can be written again");
            }
        }
        Err(e) => {
            let said = Said::from(format!(
                "the state directory cannot be written ({what}: {e}), and the agent goes on without"
            ));
            if event_log.condition(Code::StateDirectory, Some(said.clone())) {
                warn!("{said}");
            }
        }
    })
}

/// The report of the recorder, likewise.
pub(crate) fn history_report(event_log: Weak<EventLog>) -> recorder::Report {
    Arc::new(move |written| {
        let Some(event_log) = event_log.upgrade() else { return };
        match written {
            Ok(()) => {
                if event_log.condition_of(Code::StateDirectory, "history", None) {
                    info!("the history can be written again");
                }
            }
            Err(e) => {
                let said = Said::from(format!(
                    "the history cannot be written ({e}): what happens is kept in memory, and not all of it"
                ));
                if event_log.condition_of(Code::StateDirectory, "history", Some(said.clone())) {
                    warn!("{said}");
                }
            }
        }
    })
}

/// Verdicts and suspicions a second of which the history keeps the evidence. In a cluster of ten thousand that takes some
/// hundredths of a second.
const EVIDENCE: u64 = 100;
