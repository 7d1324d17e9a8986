//! The open requests: each expected answer is also a probe of the member that should answer.

use crate::Instant;
use core::net::SocketAddr;
use std::collections::BTreeSet;

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
    Probe,
    /// A probe of a link that may be bad.
    LinkProbe,
    /// A request to an elector, for the proof that it hears us.
    Lease,
    /// A probe on behalf of another member.
    OnBehalf {
        /// The member that asked for it.
        asker: SocketAddr,
        /// The number to answer with.
        seq: u32,
    },
    /// A request to a helper.
    Indirect {
        /// The helper.
        helper: u64,
    },
    /// Our good-bye.
    Leave,
    /// Whether a process runs another incarnation of our own name and host.
    CloneProbe,
    /// A call at a seed's address.
    Dial,
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
    },
}

impl Request {
    /// Whether it asks for a part of the roster.
    pub fn is_pull(&self) -> bool {
        matches!(self.kind, RequestKind::Pull { .. })
    }
}

impl RequestKind {
    /// Whether it went to a member in its regular turn, not because of a doubt: its outcome shows how good our paths
    /// are.
    pub fn is_first(self) -> bool {
        matches!(self, Self::Exchange | Self::ExtraProbe)
    }
}

/// The open requests, in the order in which they were sent.
#[derive(Debug)]
pub struct Requests {
    open: Vec<(u32, Request)>,
    last: u32,
}

impl Requests {
    /// Numbers start at a random place, so that a late answer to an earlier incarnation of ours matches no request of
    /// this one.
    pub fn new(start: u32) -> Self {
        Self { open: Vec::new(), last: start }
    }

    /// Notes a request and returns its number, which is never 0: 0 means "no answer expected".
    pub fn open(&mut self, request: Request) -> u32 {
        self.last = self.last.wrapping_add(1).max(1);
        if self.open.len() >= MOST {
            self.open.remove(0);
        }
        self.open.push((self.last, request));
        self.last
    }

    /// Takes out the request that an answer with this number belongs to.
    pub fn answered(&mut self, seq: u32) -> Option<Request> {
        let place = self.place(seq)?;
        Some(self.open.remove(place).1)
    }

    pub fn get(&self, seq: u32) -> Option<&Request> {
        self.open.get(self.place(seq)?).map(|(_, request)| request)
    }

    /// An incarnation of `subject` is over: the requests to it may stay unanswered without blame.
    pub fn forgive(&mut self, subject: u64) {
        let own = |kind| {
            matches!(
                kind,
                RequestKind::Exchange | RequestKind::ExtraProbe | RequestKind::Probe | RequestKind::LinkProbe
            )
        };
        for (_, request) in self.open.iter_mut().filter(|(_, c)| c.subject == Some(subject) && own(c.kind)) {
            request.subject = None;
        }
    }

    /// The same for all requests.
    pub fn forgive_all(&mut self) {
        let subjects: BTreeSet<u64> = self.open.iter().filter_map(|(_, request)| request.subject).collect();
        subjects.into_iter().for_each(|subject| self.forgive(subject));
    }

    /// Takes out the requests whose time is up.
    pub fn expired(&mut self, now: Instant) -> Vec<Request> {
        if self.open.is_empty() {
            self.open.shrink_to(USUAL);
        }
        self.open.extract_if(.., |(_, c)| c.deadline <= now).map(|(_, c)| c).collect()
    }

    /// Takes out the requests that were sent to `to`. Pulls wait for their time-out all the same. They are repeated
    /// then, and an address that refuses at once would otherwise be asked a thousand times a second.
    pub fn refused(&mut self, to: SocketAddr) -> Vec<Request> {
        let ends = |request: &Request| request.to == to && !matches!(request.kind, RequestKind::Pull { .. });
        self.open.extract_if(.., |(_, c)| ends(c)).map(|(_, c)| c).collect()
    }

    /// Whether a peer at this address has yet to answer us.
    pub fn is_open_to(&self, to: SocketAddr) -> bool {
        self.open.iter().any(|(_, request)| request.to == to)
    }

    /// Whether a helper has yet to report on `subject`.
    pub fn waits_for_helpers(&self, subject: u64) -> bool {
        let helps = |(_, c): &(u32, Request)| {
            matches!(c.kind, RequestKind::Indirect { .. }) && c.subject == Some(subject)
        };
        self.open.iter().any(helps)
    }

    pub fn next(&self) -> Instant {
        self.open.iter().map(|(_, c)| c.deadline).min().unwrap_or(Instant::NEVER)
    }

    /// We were away for a while, and no member is to blame for that: deadlines move forward.
    pub fn shift(&mut self, by: core::time::Duration) {
        for (_, request) in &mut self.open {
            request.deadline += by;
        }
    }

    fn place(&self, seq: u32) -> Option<usize> {
        self.open.iter().rposition(|(number, _)| *number == seq)
    }
}

/// Far more than a healthy node has open; bounds what a flood of requests makes us keep.
const MOST: usize = 4096;
/// Room that is kept when nothing is open.
const USUAL: usize = 64;
