//! Settings of a node. Each default says where it comes from and what moving it trades.

use core::time::Duration;

use crate::roster::interner::Interner;
use heartsay_detector::{DetectorConfig, LocalHealthConfig, RttConfig};
use heartsay_proto::{Budget, Cluster, Keyring, LastSecret};

use crate::quorum::{Electorate, FenceError, MOST_ELECTORS};
use crate::roster::source::Source;
use crate::roster::state::Capacity;
use crate::transport::wire::longest_entry;

/// All settings that a node gets at its start. One flat struct, so that `Config { key, ..Config::new(…) }` sets any of them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Cluster id; datagrams of any other cluster are refused.
    pub cluster: Cluster,
    /// Keys; empty: datagrams are checksummed, not encrypted.
    pub keyring: Keyring,
    /// Largest datagram, in bytes of UDP payload. 1,200: the largest that every IPv6 path takes unfragmented with room
    /// for tunnels (RFC 9000, 14.1).
    pub datagram: Budget,
    /// One heartbeat and one exchange per interval. 1 s: the field's habit
    /// (SWIM, serf, Cassandra); halving it doubles the bytes and takes about a
    /// quarter second off the first notice.
    pub interval: Duration,
    /// Members called in each round. 1: more would cost bytes and gain little (docs/results/exchanges.md).
    pub exchanges: u32,
    /// How long a healthy process may be silent without being called down. 2 s covers garbage collections and
    /// scheduling gaps seen in the field; no verdict by silence can come earlier.
    pub acceptable_pause: Duration,
    /// Number of helpers asked for an indirect probe. 3: SWIM and memberlist.
    pub helpers: usize,
    /// Witnesses per member. 5: a majority of three survives two faulty ones.
    pub witnesses: usize,
    /// Peers told at once when news arrives. 4: reaches 98 % of any cluster
    /// (fixed point of 1 - e^-4x); exchanges carry it to the rest.
    pub fanout: usize,
    /// News is collected this long before it is relayed, so that a burst of
    /// events shares datagrams. 10 ms: honest guess, far under a round.
    pub coalesce: Duration,
    /// Broadcast datagrams per second, sustained; short peaks may use four times as many. 50: 60 kB/s at most even
    /// while everything changes.
    pub burst_rate: u32,
    /// Probe datagrams per second, sustained, with peaks of four times as many. 50: eight cases at once at full speed;
    /// more cases wait for their turn.
    pub probe_rate: u32,
    /// Limit on all bytes per second that leave, headers of IP and UDP included: sustained, with peaks of four times as
    /// many at once, so at most five times as many in any second. 1 MB: a quiet member of 10,000 sends less than a
    /// hundredth of it. Less slows down a mass start, in which seeds are asked most: with half of it 2,000 members saw
    /// one another after 4.9 s instead of 2.7 (simulator, `bootstrap`).
    pub byte_rate: u32,
    /// How long to wait for answers, and how failing paths are learnt.
    pub rtt: RttConfig,
    /// How heartbeat silence is judged. Its φ starts a probe; it never accuses by itself.
    pub detector: DetectorConfig,
    /// What counts as trouble of this node itself.
    pub local_health: LocalHealthConfig,
    /// A member that is down is dropped after this long. 24 h, as serf's reconnect time-out.
    pub forget_down_after: Duration,
    /// A member that has left is dropped after this long.
    pub forget_left_after: Duration,
    /// How long, and how many, dropped incarnations are remembered so that they do not come back.
    pub tombstones: (Duration, usize),
    /// How often seeds that are not in the view are dialled, without end.
    pub rejoin_interval: Duration,
    /// How long a good-bye waits for acknowledgements.
    pub leave_timeout: Duration,
    /// The electors. `None`: no quorum is kept.
    pub electorate: Option<Electorate>,
    /// Whether the lease of a down member is tracked, so that `down` can say `fenced`. Proofs are not lent then: each
    /// member asks all electors itself, of which there may be at most nine. Must be the same on all members: members
    /// without it do not count for those with it.
    pub fence: bool,
    /// How long a majority must be proven without a gap before quorum is held; larger clusters add to it.
    pub quorum_settle: Duration,
    /// Most members that the roster takes. Each takes up to 2.2 kB in an agent, so 65,535 fill 140 MB; a real cluster
    /// needs no more than a few times its own size.
    pub max_members: usize,
    /// New names per second that one source address may tell without being asked, with peaks of four times as many; all
    /// addresses together may tell 32 times as many. Answers to our own pulls do not count. 16: a relayed datagram brings
    /// at most a dozen newcomers, and what is refused comes with the next pull. Honest guess.
    pub names_rate: u32,
    /// What outside the cluster may say that a member is gone ([`Command::Testify`](crate::Command::Testify)), here or
    /// at another member; empty: nothing may. A word of one of these spares a verdict the acceptable pause, no witness.
    pub sources: Vec<Source>,
    /// Mean time between two beacons of the whole cluster, by which each member learns how long news takes
    /// ([`NewsDelays`](crate::NewsDelays)). `None`: this member writes none.
    pub beacon: Option<Duration>,
    /// What this process leaves with something that outlives it, which says it when the process has ended
    /// ([`last_words`](crate::last_words)). From the operating system's entropy, another one for each process. `None`: it leaves none.
    pub last_words: Option<LastSecret>,
    /// Where nodes of one process share the bodies of records. The default shares nothing.
    pub interner: Interner,
}

/// Named sets of settings for the usual kinds of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One machine: loopback, containers of one host.
    Local,
    /// One site: round trips up to some milliseconds. The default.
    Lan,
    /// Between sites: round trips up to some hundred milliseconds.
    Wan,
}

impl Config {
    /// Settings of `profile` for the cluster called `cluster`, without keys.
    #[must_use]
    pub fn new(cluster: Cluster, profile: Profile) -> Self {
        let lan = Self {
            cluster,
            keyring: Keyring::default(),
            datagram: Budget::default(),
            interval: Duration::from_secs(1),
            exchanges: 1,
            acceptable_pause: Duration::from_secs(2),
            helpers: 3,
            witnesses: 5,
            fanout: 4,
            coalesce: Duration::from_millis(10),
            burst_rate: 50,
            probe_rate: 50,
            byte_rate: 1_000_000,
            rtt: RttConfig::lan(),
            detector: DetectorConfig::default(),
            local_health: LocalHealthConfig::default(),
            forget_down_after: Duration::from_secs(24 * 3600),
            forget_left_after: Duration::from_secs(3600),
            tombstones: (Duration::from_secs(72 * 3600), 4096),
            rejoin_interval: Duration::from_secs(60),
            leave_timeout: Duration::from_secs(1),
            electorate: None,
            fence: false,
            quorum_settle: Duration::from_secs(2),
            max_members: 65_535,
            names_rate: 16,
            sources: Vec::new(),
            beacon: None,
            last_words: None,
            interner: Interner::default(),
        };
        match profile {
            Profile::Lan => lan,
            // Loopback has no loss and no distance, but hosts that run many agents are busy: the waits shrink, the
            // acceptable pause stays.
            Profile::Local => Self { rtt: RttConfig::local(), ..lan },
            Profile::Wan => Self {
                acceptable_pause: Duration::from_secs(4),
                rtt: RttConfig::wan(),
                leave_timeout: Duration::from_secs(3),
                quorum_settle: Duration::from_secs(4),
                ..lan
            },
        }
    }

    /// How long a proof of the majority is good: seven tenths of the acceptable pause.
    ///
    /// No verdict by silence comes before the whole pause is over. The other three tenths cover the difference between
    /// clocks and the time that a cut may hide behind losses. Beyond that, the losing side of a cut could still hold
    /// quorum while it is called down (docs/quorum-proofs.md). Not a setting: another ratio would break the promise or make
    /// quorum flap.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.acceptable_pause * 7 / 10
    }

    /// Time in which news reaches all members that are not cut off (docs/quorum-proofs.md, A6).
    #[must_use]
    pub(crate) fn news_time(&self) -> Duration {
        self.acceptable_pause / 4
    }

    /// Checks that the fence works with this electorate.
    ///
    /// # Errors
    /// There is no electorate, or it has more electors than every member can ask.
    pub fn check_fence(&self) -> Result<(), FenceError> {
        match &self.electorate {
            _ if !self.fence => Ok(()),
            None => Err(FenceError::NoElectorate),
            Some(electorate) => match electorate.most_electors() {
                most if most > MOST_ELECTORS => Err(FenceError::TooMany(most)),
                _ => Ok(()),
            },
        }
    }

    /// Room for a claim in a packet of its own.
    pub(crate) fn claim_room(&self) -> usize {
        self.datagram.for_frame(&self.keyring).saturating_sub(HEADER)
    }

    /// How much of a state one datagram can carry.
    pub(crate) fn capacity(&self) -> Capacity {
        Capacity { entry: longest_entry(self.claim_room()), datagram: self.datagram.limit() }
    }

    /// With a fence, only leases of equal length count for one another.
    pub(crate) fn fence_mark(&self) -> Option<Duration> {
        self.fence.then(|| self.lease())
    }
}

/// Most bytes that a packet has beside one claim: its own fields, and a body without lists.
pub(crate) const HEADER: usize = 88;
