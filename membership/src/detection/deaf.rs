//! Members that do not hear: their heartbeats arrive, and they answer nothing.
//!
//! Picture: a speaker whose earpiece is dead. The audience hears him say that he hears nothing.
//!
//! Rule: a member that hears no other loses quorum when its lease runs out, and says so in its record, which the others
//! hear. One that hears of a majority all the same, through others, says that instead, and is left alone. While a majority
//! hears us and we are its witness, we ask it directly. If it asks us, as it asks everybody, and answers nothing, we find
//! it unfit ([`crate::detection::flap_damping`]), with a short notice. It stays out until it has answered several questions with
//! hardly one missing, and for a few beats after. A member that knows that it was deaf and hears again need not wait for
//! them: it jumps over those beats. We put it out again if it does not answer.
//!
//! Without an electorate no member says that it lost quorum. Then a bad link takes longer to be found.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;
use crate::detection::flap_damping::RAISED_BY;
use crate::detection::witnesses;
use crate::detection::{Backing, Detection};
use crate::effect::Effect;
use crate::identity::Heartbeat;
use crate::roster::member::Member;
use crate::roster::standing::Evidence;
use crate::transport::context::Context;
use crate::transport::requests::RequestKind;
use crate::transport::token_bucket::TokenBucket;

/// The members that we ask whether they hear us.
#[derive(Debug)]
pub struct Deaf {
    /// Not that of the probes, which is used up in a cut by the same silences.
    pub budget: TokenBucket,
    asked: BTreeMap<u64, Inquiry>,
    /// Members that we have found deaf, until they are in again.
    found: BTreeSet<u64>,
    /// While we are out for being deaf: when we next ask one of those that put us out, and whose turn it is.
    own: Option<(Instant, usize)>,
}

/// Our questions to one incarnation of a member.
#[derive(Clone, Copy, Debug)]
struct Inquiry {
    tag: u64,
    /// When the first question left that it has not answered.
    since: Instant,
    questions: u32,
    next: Instant,
    /// Whether the last question is answered.
    heard: bool,
    /// Grows by one with each answer and falls by several with each that is missing.
    credit: u32,
}

impl Deaf {
    /// At most `rate` questions a second.
    pub fn new(now: Instant, rate: u32) -> Self {
        let budget = TokenBucket::new(now, rate);
        Self { budget, asked: BTreeMap::new(), found: BTreeSet::new(), own: None }
    }

    /// When the next question is due.
    pub fn next(&self) -> Instant {
        let own = self.own.map(|(next, _)| next);
        self.asked.values().map(|inquiry| inquiry.next).chain(own).min().unwrap_or(Instant::NEVER)
    }

    /// We learn that we are out. If it is for being deaf, we ask whether we hear.
    pub fn listen(&mut self, now: Instant) {
        self.own.get_or_insert((now, 0));
    }

    /// Whether what it has not answered of late is explained.
    pub fn has_found(&self, subject: u64) -> bool {
        self.found.contains(&subject)
    }

    /// The member hears us. One that was found deaf has to answer several questions.
    pub fn answered(&mut self, subject: u64) {
        if !self.found.contains(&subject) {
            self.asked.remove(&subject);
        } else if let Some(inquiry) = self.asked.get_mut(&subject) {
            inquiry.heard = true;
        }
    }
}

/// Whether our own requests are answered.
#[derive(Clone, Copy, Debug)]
pub struct Hearing {
    /// So many in a row were not.
    in_vain: u32,
    /// Grows by one with each answer and falls by several with each that is missing.
    credit: u32,
    /// When it left zero.
    since: Instant,
    /// When it was last begun anew.
    anew: Instant,
}

impl Hearing {
    pub fn new(now: Instant) -> Self {
        Self { in_vain: 0, credit: 0, since: now, anew: now }
    }

    /// How many of our requests in a row were not answered.
    pub fn in_vain(&self) -> u32 {
        self.in_vain
    }

    pub fn answered(&mut self, now: Instant) {
        if self.credit == 0 {
            self.since = now;
        }
        (self.in_vain, self.credit) = (0, (self.credit + 1).min(MOST_CREDIT));
    }

    pub fn unanswered(&mut self, sent: Instant) {
        self.in_vain = self.in_vain.saturating_add(1);
        if sent >= self.anew {
            self.credit = self.credit.saturating_sub(GOOD_AGAIN);
        }
    }

    /// What was answered so far says nothing about what we know now, and neither does what was asked and not answered.
    pub fn begin_anew(&mut self, now: Instant) {
        (self.credit, self.anew) = (0, now);
    }

    /// Several answers have come, and hardly one is missing, for long enough that the members that ask us know it too.
    fn is_good(&self, now: Instant, acceptable_pause: Duration) -> bool {
        self.credit >= GOOD_AGAIN && now.since(self.since) >= acceptable_pause / OFTEN * 2
    }
}

impl Detection {
    /// Once per round: members that say that they lost quorum are asked whether they hear us.
    pub fn look_for_deaf(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let is_out = |subject: u64| ctx.roster.get(subject).is_some_and(|m| !m.is_present() || m.says_lost());
        for subject in self.deaf.found.extract_if(.., |subject| !is_out(*subject)) {
            // Its link was as bad as it was deaf. That says nothing about the link now.
            self.damping.forgive_link(subject);
        }
        if self.backing != Backing::Proven {
            self.deaf.asked.clear();
            return;
        }
        let me = ctx.core.me;
        let lost: Vec<u64> = ctx
            .roster
            .iter()
            .filter(|m| m.is_present() && m.hash() != me && m.may_be_deaf())
            .map(Member::hash)
            .take(MOST)
            .collect();
        for subject in lost {
            self.ask_whether_it_hears(now, ctx, subject);
        }
    }

    /// The member says that it lost quorum.
    pub fn ask_whether_it_hears(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(member) = ctx.roster.get(subject).filter(|m| m.may_be_deaf()) else { return };
        let (tag, heard) = (member.tag(), false);
        let inquiry = Inquiry { tag, since: now, questions: 0, next: now, heard, credit: 0 };
        let known = self.deaf.asked.get(&subject).is_some_and(|known| known.tag == inquiry.tag);
        if !known
            && self.backing == Backing::Proven
            && self.deaf.asked.len() < MOST
            && Self::asks_the_deaf(ctx, subject)
        {
            self.deaf.asked.insert(subject, inquiry);
        }
    }

    /// Asks those whose next question is due, and finds those unfit that have answered none.
    pub fn step_deaf(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let due: Vec<u64> =
            self.deaf.asked.iter().filter(|(_, i)| i.next <= now).map(|(subject, _)| *subject).collect();
        for subject in due {
            self.ask_the_deaf(now, ctx, subject);
        }
        self.ask_the_others(now, ctx);
    }

    /// While we are out for being deaf, we ask those that put us out, so that we know soon whether we hear again.
    fn ask_the_others(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let Some((next, turn)) = self.deaf.own else { return };
        if !self.is_out_as_deaf(ctx) {
            self.deaf.own = None;
        } else if now >= next {
            let pause = ctx.core.config.acceptable_pause;
            self.deaf.own = Some((now + pause / (2 * OFTEN), turn.wrapping_add(1)));
            let by = self.footing.kept_out_by();
            let peer = turn.checked_rem(by.len()).and_then(|at| by.get(at)).copied();
            if let Some(peer) = peer.and_then(|peer| ctx.roster.get(peer))
                && self.deaf.budget.take(now, 1)
            {
                let (peer, to) = (peer.hash(), peer.incarnation.address());
                ctx.ping(now, peer, to, RequestKind::Lease);
            }
        }
    }

    /// Whether we lost quorum and are out for so few beats that it must be because we were deaf.
    fn is_out_as_deaf(&self, ctx: &Context<'_>) -> bool {
        let myself = ctx.roster.myself();
        let near = |until: Heartbeat| until < myself.heartbeat.saturating_add(LONGEST_JUMP);
        myself.says_lost() && self.footing.kept_out_until().is_some_and(near)
    }

    /// Whether we are drawn to ask this member.
    fn asks_the_deaf(ctx: &Context<'_>, subject: u64) -> bool {
        witnesses::that_hear(ctx.roster, subject, ctx.core.config.witnesses).contains(&ctx.core.me)
    }

    fn ask_the_deaf(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let may_ask = self.backing == Backing::Proven && Self::asks_the_deaf(ctx, subject);
        let Some(inquiry) = self.deaf.asked.get_mut(&subject) else { return };
        let member = ctx.roster.get(subject).filter(|m| m.tag() == inquiry.tag && m.may_be_deaf());
        let Some(member) = member.filter(|m| may_ask && (m.is_present() || m.marks().is_kept_out())) else {
            self.deaf.asked.remove(&subject);
            return;
        };
        inquiry.credit = match inquiry.heard {
            true => inquiry.credit + 1,
            false => inquiry.credit.saturating_sub(GOOD_AGAIN / 2),
        };
        // One answer ends the inquiry about a member that is in. One that is out has to give several.
        let enough = if member.is_present() { 1 } else { GOOD_AGAIN };
        if inquiry.credit >= enough {
            self.deaf.asked.remove(&subject);
            if member.is_present() {
                // It is not deaf. If its link is bad, that counts.
                self.deaf.found.remove(&subject);
            }
            return;
        }
        inquiry.heard = false;
        let pause = ctx.core.config.acceptable_pause;
        let silence = inquiry.since + pause / OFTEN * QUESTIONS;
        let step = if inquiry.credit > 0 {
            ctx.core.patience(Some(member)).max(pause / QUICKLY)
        } else if now < silence {
            (pause / OFTEN).min(silence.since(now))
        } else {
            pause / OFTEN
        };
        inquiry.next = now + step;
        // A question that the budget holds back stays unanswered without blame.
        if !self.deaf.budget.take(now, 1) {
            return;
        }
        inquiry.questions = inquiry.questions.saturating_add(1);
        // A member that hears no answer asks everybody. What asks us in vain is cut off from us; what does not, we do not
        // know: there may be no link between us, as between most on a ring.
        let asks_us = member.path.last_direct() + ctx.core.config.lease() >= inquiry.since;
        let found = asks_us && inquiry.questions > QUESTIONS && now >= silence && inquiry.credit == 0;
        let to = member.incarnation.address();
        ctx.ping(now, subject, to, RequestKind::Lease);
        if found && now >= ctx.core.recovering_until {
            self.deaf.found.insert(subject);
            self.testify_of_link(now, ctx, subject, Evidence::Unfit, PENALTY);
        }
    }

    /// One of our requests was answered. If we are out because we were deaf, so that we lost quorum, and have heard well
    /// since we learned of it, we come back.
    pub fn come_back(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let until = self.footing.kept_out_until().filter(|_| self.is_out_as_deaf(ctx));
        if let Some(until) = until
            && self.footing.hearing().is_good(now, ctx.core.config.acceptable_pause)
        {
            // Its witnesses may have said a little more than the verdict, which grows by steps.
            ctx.core.beat_above(now, ctx.roster, until.saturating_add(RAISED_BY));
            ctx.effect(Effect::News { subject: ctx.core.me, full: false });
            self.review_own_membership(now, ctx);
        }
    }

    /// How long a member has notice before it is put out as unfit. For one that we have found deaf the time of news is
    /// enough, as long as it says that it lost quorum: it would say that it settles an acceptable pause before it holds
    /// quorum again.
    pub fn notice(&self, ctx: &Context<'_>, subject: u64) -> Duration {
        let pause = ctx.core.config.acceptable_pause;
        let says_lost = ctx.roster.get(subject).is_some_and(Member::says_lost);
        if says_lost && self.deaf.has_found(subject) { ctx.core.config.news_time() } else { pause }
    }
}

/// Questions without an answer after which a member is deaf. Where a fifth of all datagrams are lost, each question or
/// its answer is lost in one case of three, and all five in one of 160; and the member has lost quorum besides.
const QUESTIONS: u32 = 5;
/// Acceptable pause by the time between two questions: 200 ms with the shipped settings.
const OFTEN: u32 = 10;
/// Acceptable pause by the shortest time between two questions to a member that has begun to answer: 62 ms.
const QUICKLY: u32 = 32;
/// Answers after which a member that was found deaf hears again: one that is missing costs its witnesses half of them, and
/// the member itself, which asks many at a time, all. One that loses half of what it is sent stays out.
const GOOD_AGAIN: u32 = 8;
/// Three missing answers of a member that asks many at a time cost all of its credit.
const MOST_CREDIT: u32 = 3 * GOOD_AGAIN;
/// Beats of good behaviour that are asked for. One that knows that it was deaf jumps over them. The others learn of the
/// last testimony while they pass: with 4, some of 80 learnt too late that 48 others were still deaf, and let them in.
pub const PENALTY: Heartbeat = 12;
/// Beats over which a member that was deaf may jump: the penalty, and as much again for what the witnesses expect it to
/// have counted already.
const LONGEST_JUMP: Heartbeat = 2 * PENALTY;
/// Members that are asked at a time.
const MOST: usize = 256;
