//! The open requests: each expected answer is also a probe of the member that should answer.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Instant;

/// A request sent and not yet answered.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The member asked; `None` for an address whose member is unknown.
    pub subject: Option<u64>,
    pub to: SocketAddr,
    pub sent: Instant,
    pub deadline: Instant,
    pub kind: RequestKind,
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// The exchange of a round.
    Exchange,
    /// A call out of turn, because several other members are silent.
    ExtraProbe,
    /// A direct probe of a member under suspicion.
    Probe {
        /// How long after the last one that stayed unanswered.
        after: Option<Duration>,
    },
    /// A probe of a link that may be bad.
    LinkProbe,
    /// Whether a member that others reach answers us too. Waits for half an acceptable pause, so that a late answer counts.
    ReachProbe,
    /// Whether a member that others do not hear answers us.
    JointProbe,
    /// A request to an elector, for the proof that it hears us.
    Lease,
    /// The same as part of a wave.
    Wave,
    /// A probe on behalf of another member.
    OnBehalf {
        /// The address of the member that asked for it.
        asker: SocketAddr,
        /// That member; 0: we do not know it.
        member: u64,
        /// The number to answer with.
        seq: u32,
        /// How long the answer may be, if that member has not proven its address.
        room: u16,
    },
    /// A request to a helper.
    Indirect {
        /// The helper.
        helper: u64,
        /// How long after the last question of ours that stayed unanswered.
        after: Option<Duration>,
    },
    /// Our good-bye.
    Leave,
    /// Whether a process runs another incarnation of our own name and host.
    CloneProbe,
    /// Which life answers at an address, before a later life of a member counts.
    Takeover,
    /// A call at an address of the operator, or at that of the member that found us.
    Dial,
    /// Whether a source whose request is to be answered is where it says.
    Source,
    /// What the member knows itself, because a person wants to see it. Blames nobody if it stays unanswered.
    Question(
        /// Of the command that asked.
        u64,
    ),
    /// A ping that measures how long a datagram may be on this path.
    PathProbe {
        /// Padded to the full length; otherwise the bare ping beside it.
        long: bool,
    },
    /// A request for a part of the roster.
    Pull {
        /// The part.
        part: usize,
        /// The hash up to which it asked.
        until: u64,
        /// The member asked, if it is known.
        peer: Option<u64>,
    },
}

impl Request {
    /// Whether it asks for a part of the roster.
    pub fn is_pull(&self) -> bool {
        matches!(self.kind, RequestKind::Pull { .. })
    }

    /// The member to whose address it goes, if we know it by name.
    pub fn addressee(&self) -> Option<u64> {
        match self.kind {
            RequestKind::Indirect { helper, .. } => Some(helper),
            RequestKind::Pull { peer, .. } => peer,
            RequestKind::Exchange
            | RequestKind::ExtraProbe
            | RequestKind::Probe { .. }
            | RequestKind::LinkProbe
            | RequestKind::ReachProbe
            | RequestKind::JointProbe
            | RequestKind::Lease
            | RequestKind::Wave
            | RequestKind::OnBehalf { .. }
            | RequestKind::Leave
            | RequestKind::CloneProbe
            | RequestKind::Takeover
            | RequestKind::Dial
            | RequestKind::Source
            | RequestKind::Question(_)
            | RequestKind::PathProbe { .. } => self.subject,
        }
    }
}

impl RequestKind {
    /// Whether it went to a member in its regular turn, not because of a doubt: its outcome shows how good our paths
    /// are.
    pub fn is_first(self) -> bool {
        matches!(self, Self::Exchange | Self::ExtraProbe)
    }

    /// Whether it is a question to the member itself, whose answer, or the lack of one, tells of the path to it.
    pub fn is_direct(self) -> bool {
        match self {
            Self::Exchange
            | Self::ExtraProbe
            | Self::Probe { .. }
            | Self::LinkProbe
            | Self::ReachProbe
            | Self::JointProbe
            | Self::Lease
            | Self::Wave
            | Self::OnBehalf { .. } => true,
            Self::Indirect { .. }
            | Self::Leave
            | Self::CloneProbe
            | Self::Takeover
            | Self::Dial
            | Self::Source
            | Self::Question(_)
            | Self::PathProbe { .. }
            | Self::Pull { .. } => false,
        }
    }
}

/// The open requests, in the order in which they were sent.
#[derive(Debug)]
pub struct Requests {
    open: Vec<OpenRequest>,
    numbers: ChaCha8Rng,
    /// The last number that was not drawn.
    last: u32,
}

/// A request with its number and the first bytes of its datagram, which an ICMP message about it has to quote.
#[derive(Clone, Copy, Debug)]
struct OpenRequest {
    seq: u32,
    request: Request,
    /// `None` if it has not left, so that no refusal of it can be true.
    head: Option<DatagramHead>,
    /// Nothing more is expected. An answer that comes all the same shows that the refusal was false.
    refused: bool,
}

/// The first bytes of a datagram. With a key they hold the whole nonce, of which 96 bits depend on a secret. Without one they hold the
/// checksum over everything, the sender's tag, and most often the number of the request too. Another host cannot guess
/// them unless it sees the datagram.
pub type DatagramHead = [u8; 32];

impl Requests {
    /// Numbers are random: an answer proves that its sender has seen the request, and a late answer to an earlier
    /// incarnation of ours matches no request of this one.
    pub fn new(seed: u64) -> Self {
        let mut numbers = ChaCha8Rng::seed_from_u64(seed);
        let last = numbers.next_u32();
        Self { open: Vec::new(), numbers, last }
    }

    /// Notes a request and returns its number, which is never 0: 0 means "no answer expected".
    pub fn open(&mut self, request: Request) -> u32 {
        let mut seq = 0;
        while seq == 0 || self.place(seq).is_some() {
            seq = self.numbers.next_u32();
        }
        self.note(seq, request);
        seq
    }

    /// The same with the number after the last such one, for a request that proves nothing: later ones name it in fewer
    /// bytes.
    pub fn open_in_turn(&mut self, request: Request) -> u32 {
        self.last = self.last.wrapping_add(1);
        while self.last == 0 || self.place(self.last).is_some() {
            self.last = self.last.wrapping_add(1);
        }
        self.note(self.last, request);
        self.last
    }

    fn note(&mut self, seq: u32, request: Request) {
        if self.open.len() >= MOST {
            self.open.remove(0);
        }
        self.open.push(OpenRequest { seq, request, head: None, refused: false });
    }

    /// A request did not leave, so that no answer can come, and none is missing.
    pub fn withdraw(&mut self, seq: u32) {
        if let Some(place) = self.place(seq) {
            self.open.remove(place);
        }
    }

    /// A datagram with this number leaves for `to`. If it is an open request of ours, and not an answer with the number
    /// of the peer, its first bytes are kept.
    pub fn leaves(&mut self, seq: u32, to: SocketAddr, datagram: &[u8]) {
        let fits = |open: &&mut OpenRequest| open.seq == seq && open.request.to == to && open.head.is_none();
        if let Some(open) = self.open.iter_mut().rev().find(fits) {
            open.head = datagram.first_chunk().copied();
        }
    }

    /// A request that had to wait leaves only now: its time begins now.
    pub fn leaves_again(&mut self, now: Instant, seq: u32, datagram: &[u8]) {
        if let Some(open) = self.open.iter_mut().rev().find(|open| open.seq == seq) {
            open.request.deadline += now.since(open.request.sent);
            open.request.sent = now;
            open.head = datagram.first_chunk().copied();
        }
    }

    /// Whether an answer to this request is still expected.
    pub fn is_awaited(&self, seq: u32) -> bool {
        self.place(seq).and_then(|place| self.open.get(place)).is_some_and(|open| !open.refused)
    }

    /// Marks the request to `to` whose datagram begins like this as refused, and returns it. Pulls wait for their
    /// time-out all the same. They are repeated then, and an address that refuses at once would otherwise be asked a
    /// thousand times a second.
    pub fn refused(&mut self, to: SocketAddr, head: &DatagramHead) -> Option<Request> {
        let quoted = |open: &&mut OpenRequest| {
            open.request.to == to && open.head.as_ref() == Some(head) && !open.refused
        };
        let open = self.open.iter_mut().find(quoted)?;
        open.refused = !matches!(open.request.kind, RequestKind::Pull { .. });
        Some(open.request)
    }

    /// Takes out the request that an answer with this number belongs to.
    pub fn answered(&mut self, seq: u32) -> Option<Request> {
        let place = self.place(seq)?;
        Some(self.open.remove(place).request)
    }

    /// Whether such a request is open.
    pub fn any(&self, is_such: impl Fn(&Request) -> bool) -> bool {
        self.open.iter().any(|open| is_such(&open.request))
    }

    pub fn get(&self, seq: u32) -> Option<&Request> {
        self.open.get(self.place(seq)?).map(|open| &open.request)
    }

    /// An incarnation of `subject` is over: the requests to it may stay unanswered without blame.
    pub fn forgive(&mut self, subject: u64) {
        let own = |kind| {
            matches!(
                kind,
                RequestKind::Exchange
                    | RequestKind::ExtraProbe
                    | RequestKind::Probe { .. }
                    | RequestKind::LinkProbe
                    | RequestKind::ReachProbe
            )
        };
        let requests = self.open.iter_mut().map(|open| &mut open.request);
        for request in requests.filter(|r| r.subject == Some(subject) && own(r.kind)) {
            request.subject = None;
        }
    }

    /// The same for all requests.
    pub fn forgive_all(&mut self) {
        let subjects: BTreeSet<u64> = self.open.iter().filter_map(|open| open.request.subject).collect();
        subjects.into_iter().for_each(|subject| self.forgive(subject));
    }

    /// Takes out the requests whose time is up, and returns those that still waited, each with whether it ever left.
    pub fn expired(&mut self, now: Instant) -> Vec<(Request, bool)> {
        if self.open.is_empty() {
            self.open.shrink_to(USUAL);
        }
        let over = self.open.extract_if(.., |open| open.request.deadline <= now);
        over.filter(|open| !open.refused).map(|open| (open.request, open.head.is_some())).collect()
    }

    /// Whether a peer at this address has yet to answer us.
    pub fn is_open_to(&self, to: SocketAddr) -> bool {
        self.open.iter().any(|open| open.request.to == to)
    }

    /// Whether a helper has yet to report on `subject`.
    pub fn waits_for_helpers(&self, subject: u64) -> bool {
        let helps =
            |r: &Request| matches!(r.kind, RequestKind::Indirect { .. }) && r.subject == Some(subject);
        self.open.iter().any(|open| !open.refused && helps(&open.request))
    }

    pub fn next(&self) -> Instant {
        let waiting = self.open.iter().filter(|open| !open.refused);
        waiting.map(|open| open.request.deadline).min().unwrap_or(Instant::NEVER)
    }

    /// We were away for a while, and no member is to blame for that: deadlines move forward.
    pub fn shift(&mut self, by: Duration) {
        for open in &mut self.open {
            open.request.deadline += by;
        }
    }

    fn place(&self, seq: u32) -> Option<usize> {
        self.open.iter().rposition(|open| open.seq == seq)
    }
}

/// Far more than a healthy node has open; bounds what a flood of requests makes us keep.
const MOST: usize = 4096;
/// Room that is kept when nothing is open.
const USUAL: usize = 32;
