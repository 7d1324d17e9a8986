//! The questions of others, and what they may cost us.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::Message;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{self, PathRow, answer};

use crate::Instant;
use crate::io::Rejected;
use crate::questions::{MOST_TEXT, cleaned};
use crate::transport::context::Context;
use crate::transport::source_budgets::SourceBudgets;

/// What is needed to answer.
#[derive(Debug)]
pub struct Answering {
    budgets: SourceBudgets,
    /// Questions that the program around the node has to answer.
    waiting: Vec<Waiting>,
    last: u64,
}

/// Who asked, and how the answer is to be marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub member: u64,
    pub at: SocketAddr,
    pub seq: u32,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    asker: Asker,
    until: Instant,
}

impl Answering {
    pub fn new(now: Instant) -> Self {
        Self { budgets: SourceBudgets::shared_by(now, RATE, SOURCES), waiting: Vec::new(), last: 0 }
    }

    /// Whether a question is to be answered, and to whom.
    pub fn admit(
        &mut self,
        now: Instant,
        ctx: &Context<'_>,
        from: SocketAddr,
        sender: Option<u64>,
        seq: u32,
    ) -> Result<Asker, Rejected> {
        let is_home = |member: &u64| ctx.transport.addresses.is_home(now, from, *member);
        let Some(member) = sender.filter(is_home).filter(|_| seq != 0) else {
            return Err(Rejected::Unexpected { what: "question" });
        };
        if !self.budgets.takes(now, from, true) {
            return Err(Rejected::TooManyQuestions { from });
        }
        Ok(Asker { member, at: from, seq })
    }

    /// Keeps a question until the program answers it, and returns its number. If there are too many, it gets no answer.
    pub fn wait(&mut self, now: Instant, asker: Asker) -> Option<u64> {
        self.waiting.retain(|waiting| now < waiting.until);
        if self.waiting.len() >= MOST_WAITING {
            return None;
        }
        self.last += 1;
        self.waiting.push(Waiting { number: self.last, asker, until: now + LONGEST });
        Some(self.last)
    }

    /// The program answers; `None`: there is no such instance. Too late it changes nothing.
    pub fn tell_health(&mut self, now: Instant, ctx: &mut Context<'_>, number: u64, text: Option<&str>) {
        let place = self.waiting.iter().position(|waiting| waiting.number == number && now < waiting.until);
        let Some(place) = place else { return };
        let asker = self.waiting.remove(place).asker;
        let told = |text| gossip::HealthAnswer { known: true, text };
        let room = room_beside(ctx, asker, answer::Topic::Health(told(String::new())));
        let told = match text {
            Some(text) => told(cleaned(text, room.min(MOST_TEXT))),
            None => gossip::HealthAnswer::default(),
        };
        send(ctx, asker, answer::Topic::Health(told));
    }

    pub fn tidy(&mut self, now: Instant) {
        self.budgets.tidy(now);
        self.waiting.retain(|waiting| now < waiting.until);
    }
}

/// Answers with one page: of these rows, in order of the members' hashes, as many as fit.
pub fn tell_paths(
    ctx: &mut Context<'_>,
    asker: Asker,
    rows: impl IntoIterator<Item = PathRow>,
    (well, unknown): (u32, u32),
) {
    let mut told = gossip::PathsAnswer { rows: Vec::new(), next: u64::MAX, well, unknown };
    let mut room = room_beside(ctx, asker, answer::Topic::Paths(told.clone()));
    told.next = 0;
    for row in rows {
        let length = row.encoded_len() + ROW;
        if length > room {
            told.next = row.subject;
            break;
        }
        room -= length;
        told.rows.push(row);
    }
    send(ctx, asker, answer::Topic::Paths(told));
}

fn send(ctx: &mut Context<'_>, asker: Asker, topic: answer::Topic) {
    let packet = ctx.packet(asker.seq, Some(Body::Answer(gossip::Answer { topic: Some(topic) })));
    ctx.send(asker.at, &packet);
}

/// What a datagram to the asker has room for beside this much of an answer.
fn room_beside(ctx: &Context<'_>, asker: Asker, topic: answer::Topic) -> usize {
    let packet = ctx.packet(asker.seq, Some(Body::Answer(gossip::Answer { topic: Some(topic) })));
    ctx.packet_limit(asker.at).saturating_sub(packet.encoded_len() + LENGTHS)
}

/// Questions of one source that are answered per second (four times that at once, as many as one long list of paths has
/// pages), and of how many sources together: at most 20 answers a second, 24 kB, which is less than a fortieth of
/// [`byte_rate`](crate::Config::byte_rate). A person who looks at all members asks each six times a minute.
pub const RATE: u32 = 4;
pub const SOURCES: u32 = 5;
/// After this long the asker has given up.
const LONGEST: Duration = Duration::from_secs(1);
/// Questions that wait for the program at once: as many as may come in that time.
const MOST_WAITING: usize = 128;
/// Tag and length of a row.
const ROW: usize = 3;
/// By so much the lengths around an answer grow, and the tag of its text.
const LENGTHS: usize = 6;
