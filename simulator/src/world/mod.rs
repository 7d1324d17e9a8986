//! The made-up world: takes the next thing from the queue, sets the clock, hands it in, drains.
//!
//! [`World`] knows all parts and carries what happens from one to the other. Four parts have state and rules of their
//! own and see no world: `judge` (what must hold), `meter` (how well it goes) and `chronicle` (what trouble did); `proofs` compares what members claim with the specification. The files of `World` itself: `driver` is the
//! loop between queue and machines, `process` begins and ends lives, `last_words` tells of their end, `lies` lets a member lie and `harm` looks what comes of it, `standing` says who could have quorum, `rosters` compares what holders of quorum believe, `witness` writes down what members say, `survey`
//! looks at the world from time to time, `ended` is what a run leaves behind.

#[cfg(test)]
mod broken;
mod chronicle;
mod driver;
mod ended;
mod harm;
mod judge;
mod last_words;
mod lies;
mod meter;
mod process;
mod proofs;
mod quorum_meter;
mod roster_meter;
mod rosters;
mod standing;
mod survey;
mod witness;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use heartsay_membership::{Config, Event, Instant};

use crate::faults::FaultAction;
use crate::host::{Host, Packet, Stamp};
use crate::models::Baseline;
use crate::network::{Arrival, Network};
use crate::oracle::{Board, Oracle};
use crate::queue::Queue;
use crate::recording::{LOOK, Recording};
use crate::scenario::Scenario;
use crate::sim_rng::{Seed, SimRng};
use crate::trace::{Trace, WORLD};
use chronicle::Chronicle;
pub use ended::Ended;
use harm::Harm;
use judge::Judge;
use meter::Meter;
use proofs::Proofs;
use quorum_meter::QuorumMeter;
use roster_meter::RosterMeter;

/// One run in progress.
pub struct World {
    pub(crate) now: Instant,
    pub(crate) queue: Queue<SimEvent>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) oracle: Oracle,
    pub(crate) board: Board,
    pub(crate) scenario: Scenario,
    pub(crate) dice: SimRng,
    pub(crate) trace: Trace,
    pub(crate) recording: Option<Recording>,
    judge: Judge,
    harm: Harm,
    meter: Meter,
    proofs: Proofs,
    pub(crate) chronicle: Chronicle,
    config: Arc<Config>,
    seed: Seed,
    /// When the last trouble came or went.
    calm: Instant,
    rejected: BTreeMap<&'static str, u64>,
    /// Empty between uses, kept for their room.
    arrivals: Vec<Arrival>,
    events: Vec<Event>,
}

/// What the queue holds.
pub(crate) enum SimEvent {
    Wake(usize),
    Ready(usize),
    Arrive {
        to: usize,
        from: usize,
        bytes: Bytes,
        stamp: Stamp,
    },
    Refuse {
        at: usize,
        to: usize,
        quoted: Bytes,
    },
    WallClock {
        host: usize,
        life: u64,
    },
    FaultAction(FaultAction),
    Second,
    Sample,
    /// A look at the recorded pair.
    Look,
    /// Rosters of holders of quorum are compared.
    Compare,
}

impl World {
    /// The beginning of `scenario` as `seed` draws it.
    ///
    /// # Errors
    /// Settings that the machine does not take.
    pub fn new(scenario: &Scenario, seed: u64, trace: Trace) -> Result<Self, String> {
        let seed = Seed(seed);
        let config = Arc::new(scenario.protocol.config(scenario.nodes)?);
        let states = scenario.machine == Baseline::Heartsay && config.electorate.is_some();
        let patience = states.then_some(config.acceptable_pause);
        let judge = Judge::new(scenario, &config);
        let votes = patience
            .map(|patience| (QuorumMeter::new(patience), RosterMeter::new(judge.one_cut_within(), patience)));
        let network = Network::new(&scenario.network, scenario.nodes, seed.dice("network", 0));
        let proofs = Proofs::new(scenario, &config, |member| network.zone(member));
        let mut world = Self {
            now: Instant::EPOCH,
            queue: Queue::new(),
            hosts: Vec::new(),
            network,
            oracle: Oracle::default(),
            board: Board::default(),
            scenario: scenario.clone(),
            dice: seed.dice("faults", 0),
            trace,
            recording: None,
            judge,
            harm: Harm::new(scenario, &config),
            meter: Meter::new(scenario.nodes, votes),
            proofs,
            chronicle: Chronicle::new(scenario.faults.len()),
            config,
            seed,
            calm: Instant::EPOCH,
            rejected: BTreeMap::new(),
            arrivals: Vec::new(),
            events: Vec::new(),
        };
        world.plan();
        Ok(world)
    }

    /// Records what pictures need, and phi of `pair` (observer, subject).
    #[must_use]
    pub fn recorded(mut self, pair: Option<(usize, usize)>) -> Self {
        let mut recording = Recording { pair, ..Recording::default() };
        self.hosts.iter().for_each(|_| recording.add());
        self.recording = Some(recording);
        if pair.is_some() {
            self.queue.push(self.now + LOOK, SimEvent::Look);
        }
        self
    }

    /// Runs to the end of the scenario. `progress` hears of every virtual second.
    pub fn run(mut self, progress: &dyn Fn(Duration)) -> Ended {
        let end = Instant::EPOCH + self.scenario.duration.0;
        while let Some((at, happening)) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            if matches!(happening, SimEvent::Second) {
                progress(at.since(Instant::EPOCH));
            }
            self.step(happening);
            if self.judge.sees_storm() {
                return self.finish();
            }
        }
        self.now = end;
        self.finish()
    }

    fn step(&mut self, happening: SimEvent) {
        match happening {
            SimEvent::Wake(host) => self.wake(host),
            SimEvent::Ready(host) => self.serve(host),
            SimEvent::Arrive { to, from, bytes, stamp } => {
                self.arrive(to, Packet::Datagram { from, bytes, stamp });
            }
            SimEvent::Refuse { at, to, quoted } => self.arrive(at, Packet::Refused { to, quoted }),
            SimEvent::WallClock { host, life } => self.tell_time(host, life),
            SimEvent::FaultAction(act) => {
                self.act(act);
                self.stand();
            }
            SimEvent::Second => self.second(),
            SimEvent::Sample => self.sample(),
            SimEvent::Look => self.look(),
            SimEvent::Compare => self.compare(),
        }
        self.compare_if_stale();
    }

    /// Something about the world changed: the calm begins anew.
    pub(crate) fn disturb(&mut self, line: impl FnOnce() -> String) {
        self.changed();
        self.trace.say(self.now, WORLD, line);
    }

    pub(crate) fn record(&mut self, what: impl FnOnce(&mut Recording)) {
        self.recording.as_mut().map(what);
    }

    fn plan(&mut self) {
        let start = self.scenario.start.clone();
        let mut dice = self.seed.dice("start", 0);
        for member in 0..self.scenario.nodes {
            self.add_host(None);
            let at = match start.every {
                Some(every) => every.0 * member as u32,
                None if member < start.contacts => Duration::ZERO,
                None => dice.within(start.over.0),
            };
            self.meter.will_start(Instant::EPOCH + at);
            self.queue.push(Instant::EPOCH + at, SimEvent::FaultAction(FaultAction::Start(member)));
        }
        for (i, fault) in self.scenario.faults.iter().enumerate() {
            let mut at = Instant::EPOCH + fault.at.0;
            if let Some(within) = fault.within {
                at += self.seed.dice("moment", i as u64).within(within.0);
            }
            self.queue.push(at, SimEvent::FaultAction(FaultAction::Begin(i)));
        }
        self.queue.push(Instant::EPOCH + SECOND, SimEvent::Second);
        self.queue.push(Instant::EPOCH + self.scenario.measure.every.0, SimEvent::Sample);
    }
}

const SECOND: Duration = Duration::from_secs(1);
