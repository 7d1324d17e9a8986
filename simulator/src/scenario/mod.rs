//! A scenario: the cluster, its network, the trouble it meets, and what is expected of it.
//!
//! Written in TOML to be read aloud. Every key is documented on its field here
//! and in `docs/simulator.md`; unknown keys are refused with the nearest name.

mod fault;
mod limits;
mod load;
mod network;
mod protocol;
mod shipped;
mod units;
mod validate;

use serde::Deserialize;

use crate::models::Baseline;

pub use fault::{Disk, Fault, Phase, Pick, What};
pub use limits::{Budget, Check};
pub use load::{Problem, load, parse};
pub use network::{Burst, Link, Network, Path, Zone};
pub use protocol::{Detector, Profile, Protocol};
pub use shipped::{shipped, source};
pub use units::{Delay, Span, Who};

/// Everything about a run but its seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// Short name, as in `heartsay-sim run NAME`.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// Which of its limits or checks today's protocol does not keep. Such a scenario says what is right, and is left out
    /// of `list` (and so of what is run over all of it) until it is kept.
    pub unmet: Option<String>,
    /// Members of the cluster at its start, 1 to 65,535.
    pub nodes: usize,
    /// Length of the run in virtual time.
    pub duration: Span,
    /// What runs on the hosts: `heartsay` (default), or a model of another detector to measure by: `swim`,
    /// `lifeguard`, `fixed`, `phi`, `phi-exponential`.
    #[serde(default)]
    pub machine: Baseline,
    /// How the cluster comes to be.
    #[serde(default)]
    pub start: Start,
    /// What lies between the members.
    #[serde(default)]
    pub network: Network,
    /// Where the machine's settings differ from the shipped ones.
    #[serde(default)]
    pub protocol: Protocol,
    /// Trouble, in any order.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// What to measure.
    #[serde(default)]
    pub measure: Measure,
    /// What must hold.
    #[serde(default)]
    pub check: Check,
    /// Limits on the measures; a worse result fails the run.
    #[serde(default)]
    pub budget: Budget,
}

impl Scenario {
    /// Whether some member lies: then what members know of one another need not be true.
    #[must_use]
    pub fn has_liars(&self) -> bool {
        self.faults.iter().any(|fault| fault.what == What::Lie)
    }
}

/// How the cluster comes to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Start {
    /// Members start at random moments of this span, the contacts at its
    /// beginning. Default 1 s.
    pub over: Span,
    /// Instead: one member after the other, this far apart.
    pub every: Option<Span>,
    /// The first so many members are the seed addresses of all. Default 3.
    pub contacts: usize,
    /// Each member's wall clock is off by a random amount up to this, either way. Default 500 ms.
    pub clock_offset: Span,
    /// Bytes of tags that each member says of itself, in values of a third of a datagram. Default 0.
    pub state: usize,
}

impl Default for Start {
    fn default() -> Self {
        Self { over: Span::secs(1), every: None, contacts: 3, clock_offset: Span::ms(500), state: 0 }
    }
}

/// What to measure.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Measure {
    /// Bytes and ages of heartbeats are measured from here on. Default 10 s.
    pub after: Span,
    /// How often views are compared. Default 250 ms.
    pub every: Span,
}

impl Default for Measure {
    fn default() -> Self {
        Self { after: Span::secs(10), every: Span::ms(250) }
    }
}
