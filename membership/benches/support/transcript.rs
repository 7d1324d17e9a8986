//! All that one member of a cluster was handed, in order, so that it can be lived through again
//! without the others.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Config, Input, Instant, Node};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Budget, Cluster, Keyring, decode_packet, open};

use super::{World, config, drain, greeting, node};

/// The inputs of the member that was started last.
pub struct Transcript {
    pub members: usize,
    pub start: Instant,
    pub lines: Vec<Line>,
}

/// One input.
pub struct Line {
    pub at: Instant,
    pub kind: Kind,
    pub from: SocketAddr,
    /// Empty for a time-out.
    pub bytes: Vec<u8>,
}

/// What an input is, as far as it matters for its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Everything before all know all, and for as long again as large pages need.
    Join,
    /// A syn: take its pages, answer with ours.
    Syn,
    /// An ack: take its pages.
    Ack,
    /// Any other datagram.
    Other,
    /// A time-out that begins a round: a look at everybody, and a syn leaves.
    Round,
    /// Any other time-out.
    Timer,
}

impl Transcript {
    /// Runs a cluster in virtual time until it has been quiet for long, and then for `quiet`.
    pub fn record(members: usize, quiet: Duration) -> Self {
        let mut world = World::start(members - 1, &World::shared());
        // The last one comes when the others have met, as a newcomer does.
        while !world.is_complete() {
            assert!(world.now < Instant::EPOCH + Duration::from_secs(60), "not everybody has met everybody");
            world.run(Duration::from_secs(1), |_, _, _| {});
        }
        let start = world.now;
        let mut lines = Vec::new();
        world.join_one(&World::shared());
        for (time, joining) in [(SETTLE, true), (quiet, false)] {
            world.run(time, |to, at, input| {
                if to == members - 1 {
                    lines.push(Line::of(at, input, joining));
                }
            });
        }
        assert!(world.is_complete(), "the newcomer does not know everybody");
        let mut transcript = Self { members, start, lines };
        transcript.tell_rounds_from_timers();
        transcript
    }

    /// The member as it was at its start.
    pub fn node(&self) -> Node {
        let mut node = node(self.members - 1, &config(), self.start);
        for input in greeting(self.members - 1, self.start) {
            let _ = node.handle(self.start, input);
            drain(&mut node);
        }
        node
    }

    fn tell_rounds_from_timers(&mut self) {
        let mut node = self.node();
        for line in &mut self.lines {
            let rounds = node.stats().rounds;
            line.live_through(&mut node);
            if line.kind == Kind::Round && node.stats().rounds == rounds {
                line.kind = Kind::Timer;
            }
        }
        assert_eq!(node.members(), self.members, "the second life is not like the first");
    }

    pub fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        to.write_all(&(self.members as u64).to_le_bytes())?;
        to.write_all(&self.start.as_micros().to_le_bytes())?;
        for line in &self.lines {
            to.write_all(&line.at.as_micros().to_le_bytes())?;
            to.write_all(&[line.kind as u8])?;
            to.write_all(&line.from.port().to_le_bytes())?;
            to.write_all(&(line.bytes.len() as u16).to_le_bytes())?;
            to.write_all(&line.bytes)?;
        }
        Ok(())
    }

    pub fn read(from: &mut impl Read) -> std::io::Result<Self> {
        let mut all = Vec::new();
        from.read_to_end(&mut all)?;
        let mut rest = all.as_slice();
        let members = u64::from_le_bytes(take(&mut rest)) as usize;
        let start = Instant::from_micros(u64::from_le_bytes(take(&mut rest)));
        let mut lines = Vec::new();
        while !rest.is_empty() {
            let at = Instant::from_micros(u64::from_le_bytes(take(&mut rest)));
            let [kind] = take(&mut rest);
            let kind = Kind::ALL[usize::from(kind)];
            let from = super::address(usize::from(u16::from_le_bytes(take(&mut rest)) - super::PORT));
            let length = usize::from(u16::from_le_bytes(take(&mut rest)));
            let (bytes, more) = rest.split_at(length);
            rest = more;
            lines.push(Line { at, kind, from, bytes: bytes.to_vec() });
        }
        Ok(Self { members, start, lines })
    }
}

impl Line {
    fn of(at: Instant, input: &Input<'_>, joining: bool) -> Self {
        let (from, bytes) = match input {
            Input::Datagram { from, bytes } => (*from, bytes.to_vec()),
            Input::Refused { .. }
            | Input::TooLong { .. }
            | Input::Timeout
            | Input::WallClock { .. }
            | Input::Command(_) => (super::address(0), Vec::new()),
        };
        let kind = match &bytes {
            _ if joining => Kind::Join,
            bytes if bytes.is_empty() => Kind::Round,
            bytes => Kind::of(bytes),
        };
        Self { at, kind, from, bytes }
    }

    /// Hands it in and takes everything out; returns how many datagrams came out.
    pub fn live_through(&self, node: &mut Node) -> usize {
        let input = if self.bytes.is_empty() {
            Input::Timeout
        } else {
            Input::Datagram { from: self.from, bytes: &self.bytes }
        };
        let _ = node.handle(self.at, input);
        drain(node)
    }
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Join, Self::Syn, Self::Ack, Self::Other, Self::Round, Self::Timer];

    fn of(bytes: &[u8]) -> Self {
        let mut scratch = Vec::new();
        let cluster = Cluster::new("bench").unwrap();
        let (body, _) = open(bytes, &cluster, &Keyring::empty(), Budget::MAX, &mut scratch).unwrap();
        match decode_packet(body).unwrap().body {
            Some(Body::Exchange(exchange)) if exchange.step == 1 => Self::Syn,
            Some(Body::Exchange(exchange)) if exchange.step == 2 => Self::Ack,
            _ => Self::Other,
        }
    }
}

impl World {
    fn join_one(&mut self, config: &Config) {
        let index = self.nodes.len();
        self.nodes.push(node(index, config, self.now));
        self.wakes.push(Instant::NEVER);
        for input in greeting(index, self.now) {
            self.hand(index, input);
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, more) = rest.split_at(N);
    *rest = more;
    head.try_into().unwrap()
}

/// For a newcomer to meet everybody, for its first hurry to end, and for pages to become large.
const SETTLE: Duration = Duration::from_secs(12);
