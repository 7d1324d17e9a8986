//! Our questions: sent, repeated once, and given up.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{self, PathRow, answer, question};

use crate::Instant;
use crate::identity::Name;
use crate::io::{Question, Rejected};
use crate::questions::{MOST_TEXT, cleaned};
use crate::roster::fingerprint;
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::token_bucket::TokenBucket;

/// The open questions.
#[derive(Debug)]
pub struct Asking {
    open: BTreeMap<u64, Open>,
    budget: TokenBucket,
}

/// A question that is not answered yet.
#[derive(Debug)]
struct Open {
    /// The member, and the hash of its name.
    member: Name,
    subject: u64,
    question: Question,
    /// The number of the request on the wire; `None`: it has not left yet.
    seq: Option<u32>,
    /// How often this page was asked for.
    tries: u32,
    /// When it is asked again, or given up.
    next: Instant,
    pages: u32,
    /// From where on the next page of paths is asked for, and what came so far.
    from: u64,
    paths: PathRows,
}

/// The paths of a member, as it tells them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathRows {
    pub rows: Vec<PathRow>,
    pub well: u32,
    pub unknown: u32,
    /// It has more than it told, or told what makes no sense.
    pub cut: bool,
}

/// How a question ended.
#[derive(Debug, PartialEq)]
pub struct Ended {
    /// Of the command that asked.
    pub number: u64,
    pub member: Name,
    /// The hash of its name.
    pub subject: u64,
    pub answer: Option<Said>,
}

/// What a member answered.
#[derive(Debug, PartialEq)]
pub enum Said {
    Paths(PathRows),
    /// `None`: there is no such instance.
    Health(Option<String>),
}

impl Asking {
    pub fn new(now: Instant) -> Self {
        Self { open: BTreeMap::new(), budget: TokenBucket::new(now, RATE) }
    }

    /// When a question is asked again, or given up.
    pub fn next(&self) -> Instant {
        self.open.values().map(|open| open.next).min().unwrap_or(Instant::NEVER)
    }

    /// Asks a member that is in the roster.
    pub fn ask(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        number: u64,
        member: Name,
        question: Question,
    ) -> Result<(), Rejected> {
        if self.open.len() >= MOST_OPEN || self.open.contains_key(&number) || !self.budget.take(now, 1) {
            return Err(Rejected::AskingTooMuch);
        }
        let open = Open {
            subject: fingerprint::of_name(&member),
            member,
            question,
            seq: None,
            tries: 0,
            next: now,
            pages: 0,
            from: 0,
            paths: PathRows::default(),
        };
        self.open.insert(number, open);
        self.try_again(now, ctx, number);
        Ok(())
    }

    /// Repeats the questions whose time has come, and returns those that are given up.
    pub fn step(&mut self, now: Instant, ctx: &mut Context<'_>) -> Vec<Ended> {
        let due = self.open.iter().filter(|(_, open)| open.next <= now);
        let due: Vec<(u64, u32)> = due.map(|(number, open)| (*number, open.tries)).collect();
        let mut ended = Vec::new();
        for (number, tries) in due {
            if tries < TRIES {
                self.try_again(now, ctx, number);
            } else {
                ended.extend(self.end(ctx, number, None));
            }
        }
        ended
    }

    /// An address has proven itself: what waited for that leaves.
    pub fn on_proof(&mut self, now: Instant, ctx: &mut Context<'_>, address: SocketAddr) {
        let at = |subject| ctx.roster.get(subject).map(|member| member.incarnation.address());
        let waiting =
            self.open.iter().filter(|(_, open)| open.seq.is_none() && at(open.subject) == Some(address));
        let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        for number in waiting {
            self.send(now, ctx, number);
        }
    }

    /// An answer to request `seq` has come from `from`, a datagram of the member `sender`.
    pub fn on_answer(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        (from, sender, seq): (SocketAddr, Option<u64>, u32),
        said: gossip::Answer,
    ) -> Result<Option<Ended>, Rejected> {
        let unexpected = Rejected::Unexpected { what: "answer" };
        let request = ctx.transport.requests.get(seq).copied();
        let Some(Request { kind: RequestKind::Question(number), .. }) =
            request.filter(|request| request.to == from && request.subject == sender)
        else {
            return Err(unexpected);
        };
        let Some(open) = self.open.get_mut(&number).filter(|open| open.seq == Some(seq)) else {
            return Err(unexpected);
        };
        match (&open.question, said.topic) {
            (Question::Health { .. }, Some(answer::Topic::Health(told))) => {
                let text = told.known.then(|| cleaned(&told.text, MOST_TEXT));
                Ok(self.end(ctx, number, Some(Said::Health(text))))
            }
            (Question::Paths, Some(answer::Topic::Paths(told))) => {
                let goes_on = open.take_page(told);
                ctx.transport.requests.answered(seq);
                if goes_on {
                    self.try_again(now, ctx, number);
                    return Ok(None);
                }
                let paths = core::mem::take(&mut open.paths);
                Ok(self.end(ctx, number, Some(Said::Paths(paths))))
            }
            _ => Err(unexpected),
        }
    }

    fn end(&mut self, ctx: &mut Context<'_>, number: u64, answer: Option<Said>) -> Option<Ended> {
        let open = self.open.remove(&number)?;
        if let Some(seq) = open.seq {
            ctx.transport.requests.answered(seq);
        }
        Some(Ended { number, member: open.member, subject: open.subject, answer })
    }

    fn try_again(&mut self, now: Instant, ctx: &mut Context<'_>, number: u64) {
        let Some(open) = self.open.get_mut(&number) else { return };
        open.tries += 1;
        open.next = now + TRY;
        self.send(now, ctx, number);
    }

    /// Sends a question, or asks for the proof of its address first.
    fn send(&mut self, now: Instant, ctx: &mut Context<'_>, number: u64) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let Some(to) = ctx.roster.get(open.subject).map(|member| member.incarnation.address()) else {
            return;
        };
        if !ctx.transport.addresses.is_home(now, to, open.subject) {
            ctx.ask_source(now, open.subject, to);
            return;
        }
        // The second try has the number of the first, whose answer may be late.
        let asked =
            open.seq.filter(|seq| ctx.transport.requests.get(*seq).is_some_and(|asked| asked.to == to));
        let seq = asked.unwrap_or_else(|| {
            let deadline = now + TRY * TRIES;
            let kind = RequestKind::Question(number);
            ctx.transport.requests.open(Request {
                subject: Some(open.subject),
                to,
                sent: now,
                deadline,
                kind,
            })
        });
        open.seq = Some(seq);
        let topic = match &open.question {
            Question::Paths => question::Topic::Paths(gossip::PathsQuestion { from: open.from }),
            Question::Health { service, id } => {
                let (service, id) = (service.clone(), id.clone());
                question::Topic::Health(gossip::HealthQuestion { service, id })
            }
        };
        let packet = ctx.packet(seq, Some(Body::Question(gossip::Question { topic: Some(topic) })));
        ctx.send(to, &packet);
    }
}

impl Open {
    /// Takes a page of paths. Whether there is another one to ask for.
    fn take_page(&mut self, told: gossip::PathsAnswer) -> bool {
        if self.pages == 0 {
            (self.paths.well, self.paths.unknown) = (told.well, told.unknown);
        }
        self.pages += 1;
        for mut row in told.rows {
            let after_last = self.paths.rows.last().is_none_or(|last| last.subject < row.subject);
            if self.paths.rows.len() >= MOST_ROWS || row.subject < self.from || !after_last {
                self.paths.cut = true;
                return false;
            }
            row.through.truncate(MOST_HELPERS);
            self.paths.rows.push(row);
        }
        if told.next == 0 {
            return false;
        }
        let reached = self.paths.rows.last().map_or(self.from, |last| last.subject);
        if told.next <= reached || self.pages >= MOST_PAGES {
            self.paths.cut = true;
            return false;
        }
        (self.from, self.seq, self.tries) = (told.next, None, 0);
        true
    }
}

/// How often a question, or one page of it, is asked, and how long each time: so it ends within a second, which people wait
/// for, and a round trip of a second is longer than any between two hosts that form a cluster.
pub const TRIES: u32 = 2;
pub const TRY: Duration = Duration::from_millis(500);
/// Questions that are open at once, and new ones per second (four times that at once): somebody looks at a picture of 128
/// members, ten times a minute, and a program that asks without end costs the others no more than that.
const MOST_OPEN: usize = 128;
const RATE: u32 = 40;
/// A member follows 256 paths (`detection/direct_paths.rs`), some sixteen to a page; in the shortest datagrams five. A liar is
/// asked no further.
const MOST_ROWS: usize = 256;
const MOST_PAGES: u32 = 20;
/// Of one row.
const MOST_HELPERS: usize = 3;
