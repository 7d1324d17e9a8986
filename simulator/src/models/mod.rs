//! Baselines: other people's failure detectors, as small models in the same world.
//!
//! They are **models, not the products**: written from the papers and from memberlist's published rules, to
//! meet the same faults on the same network with the same seeds as the real machine. They know from the
//! start who belongs to the cluster (no join, no restart, no good-bye), speak a toy encoding, and are judged
//! by quality only: the safety checks concern the real machine alone. What they agree with in print is
//! tested below and in `tests/models.rs`.

mod beats;
mod swim;

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use heartsay_membership::{
    Command, Event, Generation, Heartbeat, Input, Instant, MemberEvent, MemberEventKind, MemberSummary, Name,
    Node, Output, Rejected, Status, Transmit,
};
use serde::{Deserialize, Serialize};

use crate::host::{address, number};
use crate::sim_rng::SimRng;
pub use beats::deviations;
pub use swim::{memberlist_suspicion, swim_periods_to_first_probe};

/// What runs on the hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// The real machine.
    #[default]
    Heartsay,
    /// SWIM with suspicion (Das 2002), with memberlist's gossip and its LAN settings.
    Swim,
    /// The same with the rules of Lifeguard (Dadgar 2018): local health, suspicion by confirmations, buddy.
    Lifeguard,
    /// Heartbeats from all to all, five missed.
    Fixed,
    /// Heartbeats from all to all, phi accrual with a normal tail (Hayashibara 2004), threshold 8.
    Phi,
    /// Heartbeats from all to all, phi accrual with an exponential tail (Cassandra), threshold 8.
    PhiExponential,
}

impl Baseline {
    /// All of them, the real machine first.
    pub const ALL: [Self; 6] =
        [Self::Heartsay, Self::Swim, Self::Lifeguard, Self::Fixed, Self::Phi, Self::PhiExponential];

    /// As a scenario writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Heartsay => "heartsay",
            Self::Swim => "swim",
            Self::Lifeguard => "lifeguard",
            Self::Fixed => "fixed",
            Self::Phi => "phi",
            Self::PhiExponential => "phi-exponential",
        }
    }
}

/// What a model is told at its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Its own number.
    pub(crate) me: usize,
    /// Members of the cluster, itself included.
    pub(crate) nodes: usize,
    /// How long after its own start all others have started.
    pub(crate) settle: Duration,
    /// Silence that is forgiven, where a model has such a thing.
    pub(crate) pause: Duration,
}

/// What runs on one host: the real machine or a model, behind the same contract.
pub(crate) enum Machine {
    Real(Box<Node>),
    Model(Box<Player>),
}

impl Machine {
    pub(crate) fn model(baseline: Baseline, part: Part, dice: SimRng, now: Instant) -> Self {
        let model: Box<dyn Model> = match baseline {
            Baseline::Swim | Baseline::Heartsay => Box::new(swim::Swim::new(part, false, dice)),
            Baseline::Lifeguard => Box::new(swim::Swim::new(part, true, dice)),
            Baseline::Fixed => Box::new(beats::Beats::new(part, beats::Rule::Fixed)),
            Baseline::Phi => Box::new(beats::Beats::new(part, beats::Rule::Normal)),
            Baseline::PhiExponential => Box::new(beats::Beats::new(part, beats::Rule::Exponential)),
        };
        Self::playing(model, part, now + part.settle)
    }

    /// `model`, awake from `begin` on.
    pub(crate) fn playing(model: Box<dyn Model>, part: Part, begin: Instant) -> Self {
        Self::Model(Box::new(Player { part, model, begin, playing: false, stage: Stage::default() }))
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), Rejected> {
        match self {
            Self::Real(node) => node.handle(now, input),
            Self::Model(player) => {
                player.handle(now, &input);
                Ok(())
            }
        }
    }

    pub(crate) fn poll_output(&mut self) -> Output {
        match self {
            Self::Real(node) => node.poll_output(),
            Self::Model(player) => player.poll_output(),
        }
    }

    pub(crate) fn members(&self) -> usize {
        match self {
            Self::Real(node) => node.members(),
            Self::Model(player) => player.part.nodes,
        }
    }

    /// The table, without its costly columns; a model has none to show.
    pub(crate) fn summaries(&self) -> impl Iterator<Item = MemberSummary<'_>> {
        self.real().into_iter().flat_map(Node::summaries)
    }

    /// Generation and heartbeat that it gives itself.
    pub(crate) fn own(&self) -> (Generation, Heartbeat) {
        match self {
            Self::Real(node) => {
                let own = node.own();
                (own.generation, own.heartbeat)
            }
            Self::Model(_) => (GENERATION, 0),
        }
    }

    pub(crate) fn real(&self) -> Option<&Node> {
        match self {
            Self::Real(node) => Some(node),
            Self::Model(_) => None,
        }
    }
}

/// A detector: told what arrives and when its time has come; says what it sends and believes.
pub(crate) trait Model {
    fn begin(&mut self, now: Instant, stage: &mut Stage);
    fn datagram(&mut self, now: Instant, from: usize, bytes: &[u8], stage: &mut Stage);
    fn timeout(&mut self, now: Instant, stage: &mut Stage);
    /// When it wants to be woken.
    fn wants(&self) -> Instant;
}

/// Gives a model the contract of the real machine.
pub(crate) struct Player {
    part: Part,
    model: Box<dyn Model>,
    begin: Instant,
    playing: bool,
    stage: Stage,
}

impl Player {
    fn handle(&mut self, now: Instant, input: &Input<'_>) {
        if !self.playing && now >= self.begin {
            self.playing = true;
            for other in (0..self.part.nodes).filter(|other| *other != self.part.me) {
                self.stage.says(other, MemberEventKind::Join, Status::Alive);
            }
            self.model.begin(now, &mut self.stage);
        }
        if !self.playing {
            return;
        }
        match input {
            Input::Datagram { from, bytes } => {
                if let Some(from) = number(*from).filter(|from| *from < self.part.nodes) {
                    self.model.datagram(now, from, bytes, &mut self.stage);
                }
            }
            Input::Timeout | Input::WallClock { .. } => self.model.timeout(now, &mut self.stage),
            // No model listens to refusals; and there is nothing to command.
            Input::Refused { .. }
            | Input::TooLong { .. }
            | Input::Entropy { .. }
            | Input::Command(Command::Seeds(_) | Command::Leave | _) => {}
        }
    }

    fn poll_output(&mut self) -> Output {
        let wants = if self.playing { self.model.wants() } else { self.begin };
        self.stage.outputs.pop_front().unwrap_or(Output::Timeout(wants))
    }
}

/// Where a model's sayings go.
#[derive(Default)]
pub(crate) struct Stage {
    outputs: VecDeque<Output>,
}

impl Stage {
    pub(crate) fn send(&mut self, to: usize, bytes: Bytes) {
        self.outputs.push_back(Output::Transmit(Transmit { to: address(to), bytes }));
    }

    pub(crate) fn believes(&mut self, subject: usize, status: Status) {
        let kind = match status {
            Status::Alive | Status::Restarting => MemberEventKind::Alive,
            Status::Suspect => MemberEventKind::Suspect,
            Status::Down => MemberEventKind::Down,
            Status::Left => MemberEventKind::Left,
        };
        self.says(subject, kind, status);
    }

    fn says(&mut self, subject: usize, kind: MemberEventKind, status: Status) {
        // Numbers make valid names.
        let Ok(name) = Name::new(&format!("n{subject}")) else { return };
        let event = MemberEvent {
            kind,
            name,
            generation: GENERATION,
            heartbeat: 0,
            status,
            fenced: None,
            by: Vec::new(),
            changed: Vec::new(),
            reason: "a model says so".into(),
        };
        self.outputs.push_back(Output::Event(Event::Member(event)));
    }
}

/// Models live once.
pub(crate) const GENERATION: Generation = 1;
/// One beat, one probe: as the real machine's LAN profile and memberlist's.
const INTERVAL: Duration = Duration::from_secs(1);
