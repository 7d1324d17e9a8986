//! The rest of long states: what did not fit beside a record, fetched at once.
//!
//! Picture: a parcel that comes in several boxes. Each box says up to which number it goes and how many
//! there are, so whoever gets one knows what to ask for. The sender is asked first, who has all of it; if it does not
//! answer, anybody else. All wait in one line and go to its end with each box, so that those
//! of whom we have least come first.
//!
//! A question is a want in a step 3 that no step 2 came before, which every agent answers. How many are open at
//! once grows with each answer and halves with each that stays away (AIMD, as TCP's window), so that neither a
//! slow host nor a narrow path is flooded.

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

/// Members of whose state we have a part, by name hash. Each of them waits in the line or is being asked for, never both.
#[derive(Debug)]
pub struct Remainders {
    lacking: BTreeMap<u64, Remainder>,
    /// Those that wait for their turn.
    line: VecDeque<u64>,
    /// Those that were asked for, and until when an answer is waited for.
    asked: Vec<(u64, Instant)>,
    /// How many may be asked for at once.
    window: usize,
}

/// What there is of one state.
#[derive(Clone, Copy, Debug)]
struct Remainder {
    /// Of which life.
    tag: u64,
    /// The version that somebody has.
    newest: Version,
    /// The version that we have.
    version: Version,
    /// Questions without gain.
    vain: u32,
}

impl Remainders {
    pub fn new() -> Self {
        Self { lacking: BTreeMap::new(), line: VecDeque::new(), asked: Vec::new(), window: FIRST_WINDOW }
    }

    /// Whether all that is known to exist is here.
    pub fn is_empty(&self) -> bool {
        self.lacking.is_empty()
    }

    /// Whether the rest of this member's state is on its way.
    pub fn has(&self, hash: u64) -> bool {
        self.lacking.contains_key(&hash)
    }

    /// When to look at [`Node::step_remainders`] again.
    pub fn next(&self) -> Instant {
        self.asked.iter().map(|(_, deadline)| *deadline).min().unwrap_or(Instant::NEVER)
    }

    /// Nobody has more of it, or nobody answers. Whether it was being asked for.
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

    /// Takes a question off the list of those that are open.
    fn close(&mut self, hash: u64) -> bool {
        let open = self.asked.len();
        self.asked.retain(|(asked, _)| *asked != hash);
        self.asked.len() < open
    }

    /// Who is next to be asked for.
    fn call(&mut self) -> Option<u64> {
        if self.asked.len() >= self.window {
            return None;
        }
        core::iter::from_fn(|| self.line.pop_front()).find(|hash| self.lacking.contains_key(hash))
    }
}

impl Gossip {
    /// A claim about `subject` was taken, by somebody who has its state up to version `newest`.
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
            // What was asked of an earlier life stays unanswered.
            self.remainders.line.push_back(subject);
        }
        self.fill_up(now, ctx);
    }

    /// Answers that have stayed away are asked for elsewhere.
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
                // An exchange will bring it when somebody can be reached who has it.
                self.remainders.give_up(hash);
            } else {
                self.remainders.line.push_back(hash);
            }
        }
        self.fill_up(now, ctx);
    }

    /// Asks for as many as may be asked for.
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
        let me = ctx.core.me;
        let other = |m: &Member| m.status == Status::Alive && m.hash() != me && m.hash() != hash;
        let to = own.or_else(|| {
            let others = peers::sample(ctx.roster, &mut ctx.core.rng, 1, other);
            others.first().map(|m| m.incarnation.address())
        });
        // Nobody else to ask: that counts as a question in vain, at the same pace.
        self.remainders.asked.push((hash, now + (ctx.core.patience(None) * 2).max(SHORTEST_WAIT)));
        let Some(to) = to else { return };
        let exchange = gossip::Exchange { step: 3, wants: vec![want], ..gossip::Exchange::default() };
        let Some(mut filler) = ctx.filler(to, 0, Some(Body::Exchange(exchange))) else { return };
        if self.is_new(now, ctx.core, ctx.membership) {
            // Whoever does not know us answers nothing.
            let _ = filler.try_claim(ctx.claim_with(now, to, ctx.roster.myself(), Detail::Full, 0));
        }
        ctx.send(to, &filler.finish());
    }
}

/// Questions open at once, at first and at least.
const FIRST_WINDOW: usize = 4;
/// At most: 38 kB on their way to us, well under the 208 KiB of a socket's buffer as kernels count (2.3 kB each).
const LARGEST_WINDOW: usize = 32;
/// Longer than a busy host takes to answer. Honest guess.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// Half of them to the owner, half to anybody: with a loss of three in ten both ways, one in 200 fails so often.
const TRIES: u32 = 8;
