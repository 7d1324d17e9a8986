//! Where the machine's settings differ from the shipped ones.

use heartsay_detector::{DetectorConfig, FixedConfig, PhiConfig, Tail};
use heartsay_membership::{Config, Electorate, Interner, Profile as Shipped};
use heartsay_proto::{Budget as Datagram, Cluster, Key, Keyring};
use serde::Deserialize;

use super::{Span, Who};

/// Settings of the machine that differ from the shipped profile. Same names and
/// meanings as in the machine's `Config`.
///
/// One flat struct, as its fields are the keys of `[protocol]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Protocol {
    /// `local`, `lan` (default) or `wan`.
    pub profile: Profile,
    /// One heartbeat and one exchange per interval.
    pub interval: Option<Span>,
    /// Members called in each round; not a setting of the agent's.
    pub exchanges: Option<u32>,
    /// Silence that is forgiven.
    pub acceptable_pause: Option<Span>,
    /// Helpers of an indirect probe.
    pub helpers: Option<usize>,
    /// Witnesses per member.
    pub witnesses: Option<usize>,
    /// Peers told at once of news.
    pub fanout: Option<usize>,
    /// How long news is collected.
    pub coalesce: Option<Span>,
    /// Burst datagrams per second.
    pub burst_rate: Option<u32>,
    /// How silence is judged: `phi` (default), `phi-exponential` or `fixed`.
    pub detector: Option<Detector>,
    /// phi: the threshold.
    pub phi_threshold: Option<f64>,
    /// phi: floor under the learnt deviation.
    pub min_deviation: Option<Span>,
    /// fixed: heartbeats missed.
    pub missed: Option<u32>,
    /// Wait for an answer on a path never measured.
    pub rtt_initial: Option<Span>,
    /// Shortest wait for an answer.
    pub rtt_min: Option<Span>,
    /// Longest wait for an answer.
    pub rtt_max: Option<Span>,
    /// Down members are dropped after this.
    pub forget_down_after: Option<Span>,
    /// Members that left are dropped after this.
    pub forget_left_after: Option<Span>,
    /// Absent seeds are dialled this often.
    pub rejoin_interval: Option<Span>,
    /// How long a good-bye waits.
    pub leave_timeout: Option<Span>,
    /// Expected size of the cluster, for quorum (`"all"`: as many as there are).
    pub expected: Option<Who>,
    /// Who votes, as agents are told it (`"n0,n1,n2"`, `"role=voter:3"`), instead of a size.
    pub electorate: Option<String>,
    /// Whether a fence is kept.
    pub fence: Option<bool>,
    /// How long a majority must be proven before quorum is held.
    pub quorum_settle: Option<Span>,
    /// Most members that a roster takes.
    pub max_members: Option<usize>,
    /// Largest datagram, bytes.
    pub datagram: Option<usize>,
    /// Mean time between two beacons of all members together.
    pub beacon: Option<Span>,
    /// Whether the members have a key.
    pub key: bool,
    /// Whether a host says that the process on it has ended.
    pub last_words: bool,
}

/// See the machine's own `Profile`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in the machine")]
pub enum Profile {
    Local,
    #[default]
    Lan,
    Wan,
}

/// See the `detector` crate.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in the detector crate")]
pub enum Detector {
    Phi,
    PhiExponential,
    Fixed,
}

impl Protocol {
    /// The machine's settings for a cluster of `nodes`.
    ///
    /// # Errors
    /// A datagram limit that the wire does not allow.
    pub fn config(&self, nodes: usize) -> Result<Config, String> {
        let cluster = Cluster::new("simulated").map_err(|error| error.to_string())?;
        let profile = match self.profile {
            Profile::Local => Shipped::Local,
            Profile::Lan => Shipped::Lan,
            Profile::Wan => Shipped::Wan,
        };
        let mut config = Config::new(cluster, profile);
        config.interner = Interner::shared();
        macro_rules! take {
            ($($field:ident $(. $inner:tt)?),*) => {
                $(if let Some(value) = self.$field { config.$field = value $(. $inner)?; })*
            };
        }
        take!(interval.0, exchanges, acceptable_pause.0, helpers, witnesses, fanout, coalesce.0, burst_rate);
        take!(forget_down_after.0, forget_left_after.0, rejoin_interval.0, leave_timeout.0);
        take!(quorum_settle.0, max_members, fence);
        config.beacon = self.beacon.map(|span| span.0);
        config.detector = self.detector();
        if let Some(initial) = self.rtt_initial {
            config.rtt.initial = initial.0;
        }
        if let Some(min) = self.rtt_min {
            config.rtt.min = min.0;
        }
        if let Some(max) = self.rtt_max {
            config.rtt.max = max.0;
        }
        if let Some(expected) = &self.expected {
            config.electorate =
                expected.drawn(nodes).and_then(|n| u32::try_from(n).ok()).map(Electorate::expected);
        }
        if let Some(electorate) = &self.electorate {
            config.electorate = Some(electorate.parse().map_err(|error| format!("electorate: {error}"))?);
        }
        config.check_fence().map_err(|error| error.to_string())?;
        if let Some(limit) = self.datagram {
            config.datagram = Datagram::new(limit).map_err(|error| error.to_string())?;
        }
        if self.key {
            config.keyring = Keyring::new(vec![Key::from_bytes([7; 32])]);
        }
        Ok(config)
    }

    fn detector(&self) -> DetectorConfig {
        let fixed = FixedConfig::default();
        let phi = PhiConfig::default();
        let phi = PhiConfig {
            threshold: self.phi_threshold.unwrap_or(phi.threshold),
            min_deviation: self.min_deviation.map_or(phi.min_deviation, |span| span.0),
            ..phi
        };
        match self.detector {
            None | Some(Detector::Phi) => DetectorConfig::Phi(phi),
            Some(Detector::PhiExponential) => {
                DetectorConfig::Phi(PhiConfig { tail: Tail::Exponential, ..phi })
            }
            Some(Detector::Fixed) => {
                DetectorConfig::Fixed(FixedConfig { missed: self.missed.unwrap_or(fixed.missed), ..fixed })
            }
        }
    }
}
