//! All that one member of a cluster was handed, in order, so that it can be lived through again without the others.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Command, Config, Input, Instant, Node, Output};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Budget, Keyring, decode_packet, open};

use crate::{SEED, hosts};

/// The inputs of the member that was started last.
pub struct Recording {
    /// How many members there are, this one included.
    pub members: usize,
    /// When it was started.
    pub start: Instant,
    /// What it was handed, in order.
    pub lines: Vec<Line>,
}

/// One input.
pub struct Line {
    /// When.
    pub at: Instant,
    /// What it is.
    pub kind: Kind,
    /// The sender of a datagram.
    pub from: SocketAddr,
    /// Empty for a time-out.
    pub bytes: Vec<u8>,
}

/// What an input is, as far as it matters for its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Anything while the newcomer meets the others, and until its pages are large.
    Join,
    /// A syn: take its pages, answer with ours.
    Syn,
    /// An ack: take its pages.
    Ack,
    /// Any other datagram.
    Other,
    /// A time-out that begins a round: each member is looked at, and a syn leaves.
    Round,
    /// Any other time-out.
    Timer,
}

impl Recording {
    /// Runs a cluster in virtual time until it has been quiet for long, and then for `quiet`.
    ///
    /// # Panics
    /// The members do not meet.
    #[must_use]
    pub fn new(members: usize, quiet: Duration) -> Self {
        let mut world = hosts::world(members - 1, &hosts::shared());
        // The last one comes when the others have met, as a newcomer does.
        while !hosts::is_complete(&world) {
            assert!(world.now < Instant::EPOCH + Duration::from_secs(60), "not all members have met");
            world.run(1.0);
        }
        let start = world.now;
        let mut lines = Vec::new();
        world.add(hosts::host(members - 1, &hosts::shared()));
        let newcomer = hosts::name(members - 1);
        for (time, joining) in [(SETTLE, true), (quiet, false)] {
            world.run_with(time, |to, at, input| {
                if to == newcomer {
                    lines.push(Line::of(at, input, joining));
                }
            });
        }
        assert!(hosts::is_complete(&world), "the newcomer does not know all members");
        let mut recording = Self { members, start, lines };
        recording.tell_rounds_from_timers();
        recording
    }

    /// The member as it was at its start.
    #[must_use]
    pub fn node(&self) -> Node {
        started(self.members - 1, &hosts::config(), self.start)
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
        assert_eq!(node.members(), self.members, "the replay differs from the recording");
    }

    /// Writes it down.
    ///
    /// # Errors
    /// It cannot be written.
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

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// It cannot be read.
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
            let from = hosts::address(hosts::index(u16::from_le_bytes(take(&mut rest))));
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
        let (from, bytes) = if let Input::Datagram { from, bytes } = input {
            (*from, bytes.to_vec())
        } else {
            (hosts::address(0), Vec::new())
        };
        let kind = match &bytes {
            _ if joining => Kind::Join,
            bytes if bytes.is_empty() => Kind::Round,
            bytes => Kind::of(bytes),
        };
        Self { at, kind, from, bytes }
    }

    /// Hands it to the node and takes everything out; returns how many datagrams came out.
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
    /// In the order of their numbers in a file.
    pub const ALL: [Self; 6] = [Self::Join, Self::Syn, Self::Ack, Self::Other, Self::Round, Self::Timer];

    fn of(bytes: &[u8]) -> Self {
        let mut scratch = Vec::new();
        let (body, _) = open(bytes, &hosts::cluster(), &Keyring::empty(), Budget::MAX, &mut scratch).unwrap();
        match decode_packet(body).unwrap().body {
            Some(Body::Exchange(exchange)) if exchange.step == 1 => Self::Syn,
            Some(Body::Exchange(exchange)) if exchange.step == 2 => Self::Ack,
            _ => Self::Other,
        }
    }
}

/// A host that has just been told the time of day and its seeds, and everything is taken out that it then wants.
#[must_use]
pub fn started(index: usize, config: &Config, now: Instant) -> Node {
    let (mut node, clock) = hosts::host(index, config).node(0, SEED, now);
    let seeds = if index == 0 { Vec::new() } else { vec![hosts::address(0)] };
    for input in clock.into_iter().chain([Input::Command(Command::Seeds(seeds))]) {
        node.handle(now, input).unwrap();
        drain(&mut node);
    }
    node
}

/// Takes everything out of a node; returns how many datagrams that were.
pub fn drain(node: &mut Node) -> usize {
    let mut sent = 0;
    loop {
        match node.poll_output() {
            Output::Transmit(_) => sent += 1,
            Output::Event(_) => {}
            Output::Timeout(_) => return sent,
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, more) = rest.split_at(N);
    *rest = more;
    head.try_into().unwrap()
}

/// Time for a newcomer to meet all members, to end its first hurry, and to get large pages.
const SETTLE: Duration = Duration::from_secs(12);
