//! Fetches the rest of long states: what did not fit beside a record.
//!
//! Picture: a parcel in several boxes. Each box says up to which number it goes and how many there are, so the receiver
//! knows what to ask for.
//!
//! Rule: the sender of the first part is asked first, because it has all of it; if it does not answer, any other
//! member. The states wait in one queue and go to its end with each part that arrives, so the states of which we have
//! least come first.
//!
//! A request is a want in an exchange step 3 without a step 2 before it, which every agent answers. The number of open
//! requests grows with each answer and halves with each one that is missing (AIMD, as TCP's window), so neither a slow
//! host nor a narrow path is flooded.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::gossip::Gossip;
use crate::identity::Version;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::standing::Status;
use crate::transport::context::Context;
use crate::transport::wire::Detail;

/// Members of whose state we have only a part, by name hash. Each is either in the queue or being asked for, never
/// both.
#[derive(Debug)]
pub struct Remainders {
    lacking: BTreeMap<u64, Remainder>,
    /// Those that wait in the queue.
    line: VecDeque<u64>,
    /// Those that were asked for, and the deadline of the answer.
    asked: Vec<(u64, Instant)>,
    /// How many may be asked for at once.
    window: usize,
}

/// How much of one state is here.
#[derive(Clone, Copy, Debug)]
struct Remainder {
    /// Tag of the incarnation.
    tag: u64,
    /// The version that a peer has.
    newest: Version,
    /// The version that we have.
    version: Version,
    /// Requests that brought nothing.
    vain: u32,
}

impl Remainders {
    pub fn new() -> Self {
        Self { lacking: BTreeMap::new(), line: VecDeque::new(), asked: Vec::new(), window: FIRST_WINDOW }
    }

    /// Whether no known state is incomplete.
    pub fn is_empty(&self) -> bool {
        self.lacking.is_empty()
    }

    /// Whether the rest of this member's state is on its way.
    pub fn has(&self, hash: u64) -> bool {
        self.lacking.contains_key(&hash)
    }

    /// When `step_remainders` is next due.
    pub fn next(&self) -> Instant {
        self.asked.iter().map(|(_, deadline)| *deadline).min().unwrap_or(Instant::NEVER)
    }

    /// No member has more of it, or none answers. Returns whether it was being asked for.
    fn give_up(&mut self, hash: u64) -> bool {
        let asked = self.close(hash);
        if self.lacking.remove(&hash).is_some()
            && !asked
            && let Some(place) = self.line.iter().position(|waits| *waits == hash)
        {
            self.line.remove(place);
        }
        asked
    }

    /// Closes an open request.
    fn close(&mut self, hash: u64) -> bool {
        let open = self.asked.len();
        self.asked.retain(|(asked, _)| *asked != hash);
        self.asked.len() < open
    }

    /// The member whose state is to be asked for next.
    fn call(&mut self) -> Option<u64> {
        if self.asked.len() >= self.window {
            return None;
        }
        core::iter::from_fn(|| self.line.pop_front()).find(|hash| self.lacking.contains_key(hash))
    }
}

impl Gossip {
    /// A claim about `subject` was taken, from a sender that has its state up to version `newest`.
    pub fn note_rest(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, newest: Version) {
        let known = ctx.roster.get(subject).map(|member| (member.tag(), member.state.version()));
        let rest = self.remainders.lacking.get(&subject).copied();
        let Some((tag, version)) = known else {
            if rest.is_some() {
                self.remainders.give_up(subject);
                self.fill_up(now, ctx);
            }
            return;
        };
        let rest = rest.filter(|rest| rest.tag == tag);
        let newest = rest.map_or(newest, |rest| rest.newest.max(newest));
        if version >= newest {
            if self.remainders.has(subject) {
                let answered = self.remainders.give_up(subject);
                self.remainders.window = (self.remainders.window + usize::from(answered)).min(LARGEST_WINDOW);
                self.fill_up(now, ctx);
            }
            return;
        }
        let gained = rest.is_some_and(|rest| version > rest.version);
        let vain = rest.filter(|_| !gained).map_or(0, |rest| rest.vain);
        let before = self.remainders.lacking.insert(subject, Remainder { tag, newest, version, vain });
        if gained && self.remainders.close(subject) {
            self.remainders.window = (self.remainders.window + 1).min(LARGEST_WINDOW);
            self.remainders.line.push_back(subject);
        } else if rest.is_none() && (before.is_none() || self.remainders.close(subject)) {
            // A request for an earlier incarnation stays unanswered.
            self.remainders.line.push_back(subject);
        }
        self.fill_up(now, ctx);
    }

    /// Asks elsewhere for parts whose answer is overdue.
    pub fn step_remainders(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let late: Vec<u64> =
            self.remainders.asked.extract_if(.., |(_, until)| *until <= now).map(|(hash, _)| hash).collect();
        if late.is_empty() {
            return;
        }
        self.remainders.window = (self.remainders.window / 2).max(FIRST_WINDOW);
        for hash in late {
            let Some(rest) = self.remainders.lacking.get_mut(&hash) else { continue };
            rest.vain += 1;
            if rest.vain >= TRIES {
                // An exchange will bring it when a member that has it can be reached.
                self.remainders.give_up(hash);
            } else {
                self.remainders.line.push_back(hash);
            }
        }
        self.fill_up(now, ctx);
    }

    /// Asks for as many as the window allows.
    fn fill_up(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if self.leave.is_none() {
            while let Some(hash) = self.remainders.call() {
                self.ask_for_remainder(now, ctx, hash);
            }
        }
        self.completed(now, ctx);
    }

    fn ask_for_remainder(&mut self, now: Instant, ctx: &mut Context<'_>, hash: u64) {
        let (Some(member), Some(rest)) = (ctx.roster.get(hash), self.remainders.lacking.get(&hash).copied())
        else {
            self.remainders.give_up(hash);
            return;
        };
        let want = gossip::Want { tag: member.tag(), since: member.state.version(), known: true };
        let own = (rest.vain.is_multiple_of(2) && member.status == Status::Alive)
            .then(|| member.incarnation.address());
        let (me, addresses) = (ctx.core.me, &ctx.transport.addresses);
        let other = |m: &Member| {
            m.status == Status::Alive && m.hash() != me && m.hash() != hash && addresses.reaches(now, m)
        };
        let to = own.or_else(|| {
            let others = peers::sample(ctx.roster, &mut ctx.core.rng, 1, other);
            others.first().map(|m| m.incarnation.address())
        });
        // There is no other member to ask: that counts as a request in vain, at the same pace.
        self.remainders.asked.push((hash, now + (ctx.core.patience(None) * 2).max(SHORTEST_WAIT)));
        let Some(to) = to else { return };
        let exchange = gossip::Exchange { step: 3, wants: vec![want], ..gossip::Exchange::default() };
        let Some(mut filler) = ctx.filler(to, 0, Some(Body::Exchange(exchange))) else { return };
        if self.is_new(now, ctx.core, ctx.membership) {
            // A peer that does not know us answers nothing.
            let _ = filler.try_claim(ctx.claim_with(now, to, ctx.roster.myself(), Detail::Full, 0));
        }
        ctx.send(to, &filler.finish());
    }
}

/// Fewest requests open at once, and the first number.
const FIRST_WINDOW: usize = 4;
/// Most: 38 kB on their way to us, well under the 208 KiB of a socket's buffer as kernels count (2.3 kB each).
const LARGEST_WINDOW: usize = 32;
/// Longer than a busy host takes to answer. Honest guess.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// Half of them to the owner, half to other members: with three in ten datagrams lost both ways, one state in 200 fails
/// so often.
const TRIES: u32 = 8;
