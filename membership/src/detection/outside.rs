//! Tells a node whether the others count it as a member, as far as it can know.
//!
//! Picture: the door of a club no longer opens. Either a notice on it says why, or no answer comes to the bell. Either
//! way the person outside does not speak for the club.
//!
//! A node can learn it in three ways:
//!
//! - *A refusal*: another live host has its name, or its clock lies in the others' future.
//! - *A verdict*: a claim about its present incarnation says down, and the node does not refute that
//!   ([`crate::detection::flap_damping`]) or cannot, because its heartbeat is suspended by command.
//! - *Silence*: other members exist, and none of its requests is answered.
//!
//! Each state ends by itself: a refusal when most peers see this incarnation under its name, a verdict with a heartbeat
//! above the verdict's, silence with an answer.
//!
//! While a refusal or a verdict lasts, the node holds no quorum and lends no proof, whatever older answers would prove.
//! Of silence, the lease knows first.
//!
//! Weak spot: claims. A sender that can forge the accusations of two members can make a node believe that it is out,
//! just as it can make all others believe so. A key prevents that.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use crate::Instant;
use crate::detection::Detection;
use crate::detection::deaf::Hearing;
use crate::detection::flap_damping::{self, FARTHEST_TESTIMONY};
use crate::effect::Effect;
use crate::identity::{Generation, Heartbeat, HostId, Name};
use crate::io::Event;
use crate::roster::Roster;
use crate::roster::member::Member;
use crate::roster::peers::is_other;
use crate::roster::standing::{Marks, Status};
use crate::transport::context::Context;

/// Why the others do not count this node as a member, and since when it has known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Why.
    pub reason: OutsideReason,
    /// The members that say so, by name, as far as we know them.
    pub by: Vec<Name>,
    /// When this node learned it.
    pub since: Instant,
}

/// Why the others do not count a node as a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideReason {
    /// Another live host, or a copy of this one, holds its name.
    NameRefused {
        /// The host that holds the name.
        holder: HostId,
        /// The address of that host.
        address: SocketAddr,
        /// Its generation.
        generation: Generation,
    },
    /// Its clock is more than a day ahead of the others', so that its incarnation begins in their future.
    ClockAhead,
    /// Its witnesses find it unfit although it runs.
    KeptOut {
        /// Until it is let in, if it behaves, by the pace of its heartbeats.
        wait: Duration,
    },
    /// A verdict says that it is down, and it does not refute that while its heartbeat is suspended.
    Down,
    /// Other members exist, and none of them has answered for a long time.
    Unanswered,
}

impl OutsideReason {
    /// All values of [`Self::word`].
    pub const WORDS: [&str; 5] = ["refused", "clock", "kept-out", "down", "unanswered"];

    /// Short stable word for labels and status lines.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NameRefused { .. } => "refused",
            Self::ClockAhead => "clock",
            Self::KeptOut { .. } => "kept-out",
            Self::Down => "down",
            Self::Unanswered => "unanswered",
        }
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by.as_slice() {
            [] => "the others".to_owned(),
            names => names.iter().map(Name::as_str).collect::<Vec<_>>().join(", "),
        };
        match self.reason {
            OutsideReason::NameRefused { holder, address, .. } => {
                write!(f, "the name is held by host {holder}, alive at {address}: this member is not taken in")
            }
            OutsideReason::ClockAhead => f.write_str(
                "peers say that this host's clock is more than a day ahead of theirs, and do not take this member in",
            ),
            OutsideReason::KeptOut { wait } => write!(
                f,
                "{by} keep this member out as unfit: it loses too much of what is sent to it or comes and goes too \
                 often; it is let in after {:.0} s of good behaviour",
                wait.as_secs_f64()
            ),
            OutsideReason::Down => write!(f, "{by} have called this member down: it gives no sign of life"),
            OutsideReason::Unanswered => f.write_str(
                "no member answers this one: what it sends does not arrive there, or the answers do not arrive here",
            ),
        }
    }
}

/// What this node knows about that.
#[derive(Debug)]
pub struct Footing {
    refused: Option<Refused>,
    /// When our clock was last refused.
    clock: Option<Instant>,
    verdict: Option<Verdict>,
    /// When we last heard that enough witnesses find us unfit, and up to which heartbeat. The verdict follows.
    notice: Option<(Instant, Heartbeat)>,
    /// When one of our requests was last answered, and how many are now.
    answered_at: Instant,
    hearing: Hearing,
    /// For the last peers that compared views with us: whether theirs is the same.
    agreement: VecDeque<(u64, bool)>,
    /// As last reported.
    told: Option<&'static str>,
    since: Instant,
    /// "Joined" is to be reported as soon as we are not out.
    joins: bool,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    holder: HostId,
    address: SocketAddr,
    generation: Generation,
    last: Instant,
}

#[derive(Clone, Debug)]
struct Verdict {
    until: Heartbeat,
    kept_out: bool,
    by: Vec<u64>,
}

impl Footing {
    pub fn new(now: Instant) -> Self {
        Self {
            refused: None,
            clock: None,
            verdict: None,
            notice: None,
            answered_at: now,
            hearing: Hearing::new(now),
            // One more, because a new entry comes in before the oldest goes out.
            agreement: VecDeque::with_capacity(AGREEMENT + 1),
            told: None,
            since: now,
            joins: false,
        }
    }

    /// Our name or our clock is refused: we have not joined.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some() || self.clock.is_some()
    }

    /// The address of the host that holds our name, while we are refused for it.
    pub fn holder(&self) -> Option<SocketAddr> {
        self.refused.map(|refused| refused.address)
    }

    /// Whether a peer has told us that we do not count, or soon will not.
    pub fn is_told_out(&self) -> bool {
        self.is_refused() || self.verdict.is_some() || self.is_on_notice()
    }

    /// Whether enough witnesses find us unfit. The others already acknowledge us no more.
    pub fn is_on_notice(&self) -> bool {
        self.notice.is_some()
    }

    /// A peer has compared its view with ours.
    pub fn note_agreement(&mut self, peer: u64, agrees: bool) {
        self.agreement.retain(|(other, _)| *other != peer);
        self.agreement.push_back((peer, agrees));
        if self.agreement.len() > AGREEMENT {
            self.agreement.pop_front();
        }
    }

    /// Whether most peers that compared views with us lately see the cluster as we do, and so our incarnation under our
    /// name. A single peer that still waits for the end of an earlier holder then has no say.
    pub fn is_taken_in(&self) -> bool {
        self.agreement.iter().filter(|(_, agrees)| *agrees).count() * 2 > self.agreement.len()
    }

    /// Whether they agree, for each peer that compared views lately and is still present.
    pub fn peers_heard(&self, roster: &Roster) -> impl Iterator<Item = bool> {
        let there = |hash: &u64| roster.get(*hash).is_some_and(Member::is_present);
        self.agreement.iter().filter(move |(peer, _)| there(peer)).map(|(_, agrees)| *agrees)
    }

    pub fn answered(&mut self, now: Instant) {
        self.answered_at = now;
        self.hearing.answered(now);
    }

    /// Whether our requests are answered.
    pub fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    /// The members that say so.
    pub fn kept_out_by(&self) -> &[u64] {
        self.verdict.as_ref().map_or(&[], |verdict| &verdict.by)
    }

    /// The heartbeat up to which our witnesses keep us out.
    pub fn kept_out_until(&self) -> Option<Heartbeat> {
        self.verdict.as_ref().filter(|verdict| verdict.kept_out).map(|verdict| verdict.until)
    }

    /// A new incarnation has no verdict against it.
    pub fn begin_anew(&mut self) {
        (self.verdict, self.notice) = (None, None);
    }

    /// A request that left at `sent` was not answered.
    pub fn unanswered(&mut self, sent: Instant) {
        self.hearing.unanswered(sent);
    }
}

impl Detection {
    /// Why the others do not count this node as a member. `None`: as far as it knows, they do.
    #[must_use]
    pub fn outside(&self, roster: &Roster) -> Option<Outside> {
        let footing = &self.footing;
        footing.told?;
        let (reason, by) = if let Some(Refused { holder, address, generation, .. }) = footing.refused {
            (OutsideReason::NameRefused { holder, address, generation }, Vec::new())
        } else if footing.clock.is_some() {
            (OutsideReason::ClockAhead, Vec::new())
        } else if let Some(verdict) = &footing.verdict {
            let beats = verdict.until.saturating_sub(roster.myself().heartbeat).saturating_add(1);
            let interval = roster.myself().incarnation.schedule.interval();
            let wait = interval.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX));
            let reason = if verdict.kept_out { OutsideReason::KeptOut { wait } } else { OutsideReason::Down };
            (reason, roster.names(&verdict.by))
        } else {
            (OutsideReason::Unanswered, Vec::new())
        };
        Some(Outside { reason, by, since: footing.since })
    }

    /// Another live host has our name, or has had it since before us.
    pub fn refuse(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        holder: HostId,
        address: SocketAddr,
        generation: Generation,
    ) {
        let fresh = Refused { holder, address, generation, last: now };
        let known = self.footing.refused.replace(fresh);
        if known.is_none_or(|known| known.holder != holder || known.address != address) {
            // Earlier agreement on the view says nothing about our name.
            self.footing.agreement.clear();
            self.footing.told = None;
            // A refused node has not joined. It joins when the refusal is over, whatever keeps it out in between.
            self.footing.joins |= ctx.membership.complete;
            ctx.emit(Event::NameRefused { holder, address, generation });
            self.review_own_membership(now, ctx);
        }
    }

    /// Our clock lies more than a day ahead of the clocks of peers.
    pub fn refuse_clock(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if self.footing.clock.replace(now).is_none() {
            self.footing.joins |= ctx.membership.complete;
            self.review_own_membership(now, ctx);
        }
    }

    /// The name is free.
    pub fn accept(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if self.footing.refused.take().is_some() {
            self.review_own_membership(now, ctx);
        }
    }

    /// A claim about our present incarnation. Notes the verdicts that we do not refute.
    pub fn hear_verdict(&mut self, now: Instant, ctx: &mut Context<'_>, marks: &Marks) {
        let Some(until) = marks.down else { return };
        let heartbeat = ctx.roster.myself().heartbeat;
        let kept_out = marks.is_kept_out();
        // No witness asks for more, so a false claim, or one by a clock far ahead, cannot keep us out for good.
        if !(heartbeat..=heartbeat.saturating_add(FARTHEST_TESTIMONY)).contains(&until)
            || !(kept_out || ctx.core.suspended.is_some())
            || self.footing.verdict.as_ref().is_some_and(|known| known.until > until)
        {
            return;
        }
        let against = marks.accusations.iter().filter(|a| kept_out || a.of_silence());
        // One accuser may accuse by silence and by link.
        let by: BTreeSet<u64> = against.map(|a| a.by).collect();
        if self.footing.verdict.as_ref().is_none_or(|known| known.until < until) {
            self.footing.hearing.begin_anew(now);
            self.deaf.listen(now);
        }
        self.footing.verdict = Some(Verdict { until, kept_out, by: by.into_iter().collect() });
        self.review_own_membership(now, ctx);
    }

    /// A claim about our present incarnation. Enough witnesses that find us unfit put us on notice.
    pub fn hear_notice(&mut self, now: Instant, ctx: &mut Context<'_>, marks: &Marks) {
        let heartbeat = ctx.roster.myself().heartbeat;
        let span = heartbeat..=heartbeat.saturating_add(FARTHEST_TESTIMONY);
        let mut bases: Vec<Heartbeat> = flap_damping::unfit_testimony(ctx, marks).map(|a| a.basis).collect();
        bases.retain(|basis| span.contains(basis));
        let enough = bases.len() >= flap_damping::accusers_to_keep_out(ctx, ctx.core.me);
        if let Some(until) = bases.into_iter().max().filter(|_| enough)
            && self.footing.notice.replace((now, until)).is_none()
        {
            ctx.effect(Effect::JudgeQuorum);
        }
    }

    /// Runs once per round, and when one of the reasons has changed.
    pub fn review_own_membership(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let heartbeat = ctx.roster.myself().heartbeat;
        if self.footing.verdict.as_ref().is_some_and(|verdict| heartbeat > verdict.until) {
            self.footing.verdict = None;
        }
        // The members that gave it repeat it in their answers, until they give the verdict or take it back.
        let pause = ctx.core.config.acceptable_pause;
        let lasts = |(heard, until): &(Instant, Heartbeat)| now.since(*heard) < pause && heartbeat <= *until;
        self.footing.notice = self.footing.notice.filter(lasts);
        let over = |refused: &Refused| now.since(refused.last) >= STILL_REFUSED || self.footing.is_taken_in();
        if self.footing.refused.as_ref().is_some_and(over) {
            self.footing.refused = None;
        }
        let clock = self.footing.clock;
        if clock.is_some_and(|last| now.since(last) >= STILL_REFUSED || self.footing.is_taken_in()) {
            self.footing.clock = None;
        }
        let is = match &self.footing {
            Footing { refused: Some(_), .. } => Some("refused"),
            Footing { clock: Some(_), .. } => Some("clock"),
            Footing { verdict: Some(Verdict { kept_out: true, .. }), .. } => Some("kept-out"),
            Footing { verdict: Some(_), .. } => Some("down"),
            _ => self.is_unanswered(now, ctx).then_some("unanswered"),
        };
        if is == self.footing.told {
            return;
        }
        (self.footing.told, self.footing.since) = (is, now);
        ctx.emit(Event::Outside(self.outside(ctx.roster)));
        self.tell_of_joining(ctx);
        ctx.effect(Effect::JudgeQuorum);
    }

    /// The roster is complete.
    pub fn on_complete(&mut self, ctx: &mut Context<'_>) {
        self.footing.joins = true;
        self.tell_of_joining(ctx);
    }

    /// Reports "joined" once, and not while we are refused or otherwise out.
    fn tell_of_joining(&mut self, ctx: &mut Context<'_>) {
        let is_in = self.footing.told.is_none() && !self.footing.is_refused();
        if is_in && ctx.membership.complete && core::mem::take(&mut self.footing.joins) {
            ctx.emit(Event::Joined { members: ctx.roster.len() });
        }
    }

    /// Whether no request is answered although a member is there that is not down. A node that has yet to join takes no
    /// comfort in having called the others down, and neither does one that knows already that none answers it.
    fn is_unanswered(&self, now: Instant, ctx: &Context<'_>) -> bool {
        let (me, known) = (ctx.core.me, self.footing.told == Some("unanswered"));
        let there = |m: &Member| is_other(m, me) || (self.footing.joins || known) && m.status == Status::Down;
        self.footing.hearing.in_vain() >= IN_VAIN
            && now.since(self.footing.answered_at) >= ctx.core.config.acceptable_pause * UNANSWERED_FOR
            && ctx.roster.iter().any(there)
    }
}

/// A refusal comes with every exchange; after this long without one, no peer refuses us any more.
const STILL_REFUSED: Duration = Duration::from_secs(10);
/// Acceptable pauses without any answer, and unanswered requests, after which we report it. Where half of all datagrams
/// are lost, one request in four is answered, and twenty in a row fail less than once in 300 times. Honest guesses.
const UNANSWERED_FOR: u32 = 5;
const IN_VAIN: u32 = 20;
/// How many peers' last comparison of views is remembered.
const AGREEMENT: usize = 40;
