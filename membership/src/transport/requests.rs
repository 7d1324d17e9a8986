//! Questions that are under way: every expected answer is a probe.

use crate::Instant;
use core::net::SocketAddr;
use std::collections::BTreeSet;

/// A question sent and not yet answered.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Whom it is to; `None` for an address of which we do not know who lives there.
    pub subject: Option<u64>,
    pub to: SocketAddr,
    pub sent: Instant,
    pub deadline: Instant,
    pub kind: RequestKind,
}

/// What the question was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// The exchange of a round.
    Exchange,
    /// A call out of turn, as several others are silent.
    ExtraProbe,
    /// A direct probe of a member under suspicion.
    Probe,
    /// A look at a link that may be bad.
    LinkProbe,
    /// A question to an elector, for the proof that it hears us.
    Lease,
    /// A probe that we make for somebody else.
    OnBehalf {
        /// Who asked.
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
    /// Whether somebody lives another life of our own name and host.
    CloneProbe,
    /// A call at a seed's address.
    Dial,
    /// A ping that measures how long a datagram may be on the way.
    PathProbe {
        /// Padded to the longest; else the bare one beside it.
        long: bool,
    },
    /// A request for a part of the roster.
    Pull {
        /// Which part.
        part: usize,
        /// Up to which hash it asked.
        until: u64,
    },
}

impl RequestKind {
    /// Asked of whoever's turn it is, not because of a doubt: its end tells how good our paths are.
    pub fn is_first(self) -> bool {
        matches!(self, Self::Exchange | Self::ExtraProbe)
    }
}

/// The questions under way, in the order in which they were asked.
#[derive(Debug)]
pub struct Requests {
    open: Vec<(u32, Request)>,
    last: u32,
}

impl Requests {
    /// Numbers start at a random place, so that a late answer to an earlier
    /// life of ours fits no question of this one.
    pub fn new(start: u32) -> Self {
        Self { open: Vec::new(), last: start }
    }

    /// Notes a question and gives its number. 0 is never given: it means "no answer expected".
    pub fn open(&mut self, request: Request) -> u32 {
        self.last = self.last.wrapping_add(1).max(1);
        if self.open.len() >= MOST {
            self.open.remove(0);
        }
        self.open.push((self.last, request));
        self.last
    }

    /// The question that an answer with this number belongs to.
    pub fn answered(&mut self, seq: u32) -> Option<Request> {
        let place = self.place(seq)?;
        Some(self.open.remove(place).1)
    }

    pub fn get(&self, seq: u32) -> Option<&Request> {
        self.open.get(self.place(seq)?).map(|(_, request)| request)
    }

    /// Nobody is to be blamed if questions to a life of `subject` that is over stay unanswered.
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

    /// The same of all questions.
    pub fn forgive_all(&mut self) {
        let subjects: BTreeSet<u64> = self.open.iter().filter_map(|(_, request)| request.subject).collect();
        subjects.into_iter().for_each(|subject| self.forgive(subject));
    }

    /// Takes out the questions whose time is up.
    pub fn expired(&mut self, now: Instant) -> Vec<Request> {
        if self.open.is_empty() {
            self.open.shrink_to(USUAL);
        }
        self.open.extract_if(.., |(_, c)| c.deadline <= now).map(|(_, c)| c).collect()
    }

    /// Takes out the questions that were sent to `to`. Pulls wait for their time-out all the same: they are asked again
    /// then, and whoever refuses at once would be asked again at once, a thousand times a second.
    pub fn refused(&mut self, to: SocketAddr) -> Vec<Request> {
        let ends = |request: &Request| request.to == to && !matches!(request.kind, RequestKind::Pull { .. });
        self.open.extract_if(.., |(_, c)| ends(c)).map(|(_, c)| c).collect()
    }

    /// Whether a helper has yet to say what it has heard of `subject`.
    pub fn waits_for_helpers(&self, subject: u64) -> bool {
        let helps = |(_, c): &(u32, Request)| {
            matches!(c.kind, RequestKind::Indirect { .. }) && c.subject == Some(subject)
        };
        self.open.iter().any(helps)
    }

    pub fn next(&self) -> Instant {
        self.open.iter().map(|(_, c)| c.deadline).min().unwrap_or(Instant::NEVER)
    }

    /// We were away for a while; nobody can be blamed for that.
    pub fn shift(&mut self, by: core::time::Duration) {
        for (_, request) in &mut self.open {
            request.deadline += by;
        }
    }

    fn place(&self, seq: u32) -> Option<usize> {
        self.open.iter().rposition(|(number, _)| *number == seq)
    }
}

/// Far more than a healthy node has open; bounds what a flood of requests can make us keep.
const MOST: usize = 4096;
/// Room that is kept when all is answered.
const USUAL: usize = 64;
