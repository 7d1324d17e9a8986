//! Whether the others count us as a member, as far as we can know.
//!
//! Picture: a club whose door does not open any more. A notice on it says why, or nobody answers the bell. Either way,
//! whoever stands outside does not speak for the club.
//!
//! Three things tell us. *A refusal*: another living host has our name, or our clock lies in the others' future. *A verdict*: a claim about our own life that says
//! down, and that we do not refute ([`crate::detection::flap_damping`]) or cannot (we rest by command). *Silence*: others are there, and
//! of all that we ask nothing is answered. Each ends by itself: with most peers seeing our life under our name, with a
//! heartbeat above the verdict's, with an answer.
//!
//! While one of the first two lasts we hold no quorum and lend no proof, whatever old answers would prove; of the third
//! the lease knows first.
//!
//! Weak spot: a claim. Who can forge the accusations of two members can make us believe that we are out, as it can make
//! everybody else: use a key.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use crate::Instant;
use crate::detection::Detection;
use crate::detection::flap_damping::FARTHEST_TESTIMONY;
use crate::effect::Effect;
use crate::identity::{Generation, Heartbeat, HostId, Name};
use crate::io::Event;
use crate::roster::Roster;
use crate::roster::member::Member;
use crate::roster::peers::is_other;
use crate::roster::standing::Marks;
use crate::transport::context::Context;

/// Why the others do not count this node as a member, and since when it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Why.
    pub reason: OutsideReason,
    /// Who says so, by name, of those that we know.
    pub by: Vec<Name>,
    /// Since when this node has known.
    pub since: Instant,
}

/// Why the others do not count a node as a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideReason {
    /// Its name is held by another living host, or by a copy of it.
    NameRefused {
        /// The host that holds the name.
        holder: HostId,
        /// Where it lives.
        address: SocketAddr,
        /// Its generation.
        generation: Generation,
    },
    /// Its clock is more than a day ahead of the others', so that its life begins in their future.
    ClockAhead,
    /// Its witnesses find it unfit, though it runs.
    KeptOut {
        /// Heartbeats until it is let in, if it behaves.
        beats: u64,
    },
    /// It was called down, and does not refute that while it rests.
    Down,
    /// Others are there, and for long none of them has answered.
    Unanswered,
}

impl OutsideReason {
    /// All words of [`Self::word`].
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
            OutsideReason::KeptOut { beats } => write!(
                f,
                "{by} keep this member out as unfit: it loses too much of what is sent to it or comes and goes too \
                 often; it is let in after {beats} more heartbeats of good behaviour"
            ),
            OutsideReason::Down => write!(f, "{by} have called this member down: it gives no sign of life"),
            OutsideReason::Unanswered => f.write_str(
                "no member answers this one: what it sends does not arrive there, or the answers do not arrive here",
            ),
        }
    }
}

/// What this node knows of that.
#[derive(Debug)]
pub struct Footing {
    refused: Option<Refused>,
    /// When our clock was refused last.
    clock: Option<Instant>,
    verdict: Option<Verdict>,
    /// Questions without an answer since the last that had one, and when that was.
    in_vain: u32,
    answered_at: Instant,
    /// Of the last peers that said what they see, whether they see what we see.
    agreement: VecDeque<(u64, bool)>,
    /// As last told.
    told: Option<&'static str>,
    since: Instant,
    /// That we have joined is to be told as soon as we are not out.
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
            in_vain: 0,
            answered_at: now,
            // One more while the oldest makes room.
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

    /// Whether somebody has told us that we do not count.
    pub fn is_told_out(&self) -> bool {
        self.is_refused() || self.verdict.is_some()
    }

    /// A peer has compared its view with ours.
    pub fn note_agreement(&mut self, peer: u64, agrees: bool) {
        self.agreement.retain(|(other, _)| *other != peer);
        self.agreement.push_back((peer, agrees));
        if self.agreement.len() > AGREEMENT {
            self.agreement.pop_front();
        }
    }

    /// Whether most peers that we have compared with lately see the cluster as we do, so with our incarnation under our
    /// name: then one that still waits for the end of an earlier holder has no say.
    pub fn is_taken_in(&self) -> bool {
        self.agreement.iter().filter(|(_, agrees)| *agrees).count() * 2 > self.agreement.len()
    }

    /// Whether they agree, of those that said so lately and are still there.
    pub fn peers_heard(&self, roster: &Roster) -> impl Iterator<Item = bool> {
        let there = |hash: &u64| roster.get(*hash).is_some_and(Member::is_present);
        self.agreement.iter().filter(move |(peer, _)| there(peer)).map(|(_, agrees)| *agrees)
    }

    pub fn answered(&mut self, now: Instant) {
        (self.in_vain, self.answered_at) = (0, now);
    }

    /// A new life has no verdict against it.
    pub fn begin_anew(&mut self) {
        self.verdict = None;
    }

    pub fn unanswered(&mut self) {
        self.in_vain = self.in_vain.saturating_add(1);
    }
}

impl Detection {
    /// Why the others do not count this node as a member; `None`: as far as it knows, they do.
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
            let reason =
                if verdict.kept_out { OutsideReason::KeptOut { beats } } else { OutsideReason::Down };
            (reason, roster.names(&verdict.by))
        } else {
            (OutsideReason::Unanswered, Vec::new())
        };
        Some(Outside { reason, by, since: footing.since })
    }

    /// Another living host has our name, or has had it since before us.
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
            // What peers said of the view before says nothing about our name.
            self.footing.agreement.clear();
            self.footing.told = None;
            // Who is refused has not joined, so it joins when that is over, whatever keeps it out in between.
            self.footing.joins |= ctx.membership.complete;
            ctx.emit(Event::NameRefused { holder, address, generation });
            self.look_at_ourselves(now, ctx);
        }
    }

    /// Our clock lies more than a day ahead of that of peers.
    pub fn refuse_clock(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if self.footing.clock.replace(now).is_none() {
            self.footing.joins |= ctx.membership.complete;
            self.look_at_ourselves(now, ctx);
        }
    }

    /// The name is free.
    pub fn accept(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if self.footing.refused.take().is_some() {
            self.look_at_ourselves(now, ctx);
        }
    }

    /// Somebody says this of our present life. Of verdicts we note those that we live through.
    pub fn hear_verdict(&mut self, now: Instant, ctx: &mut Context<'_>, marks: &Marks) {
        let Some(until) = marks.down else { return };
        let heartbeat = ctx.roster.myself().heartbeat;
        let kept_out = marks.is_kept_out();
        // No witness asks for more; a liar's word, or a clock far ahead, does not keep us out for ever.
        if !(heartbeat..=heartbeat.saturating_add(FARTHEST_TESTIMONY)).contains(&until)
            || !(kept_out || ctx.core.suspended.is_some())
            || self.footing.verdict.as_ref().is_some_and(|known| known.until > until)
        {
            return;
        }
        let against = marks.accusations.iter().filter(|a| kept_out || a.of_silence());
        // One accuser may speak of the silence and of the link.
        let by: BTreeSet<u64> = against.map(|a| a.by).collect();
        self.footing.verdict = Some(Verdict { until, kept_out, by: by.into_iter().collect() });
        self.look_at_ourselves(now, ctx);
    }

    /// Once per round, and when something of it has changed.
    pub fn look_at_ourselves(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let heartbeat = ctx.roster.myself().heartbeat;
        if self.footing.verdict.as_ref().is_some_and(|verdict| heartbeat > verdict.until) {
            self.footing.verdict = None;
        }
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

    /// Once, and not while we are refused or otherwise out.
    fn tell_of_joining(&mut self, ctx: &mut Context<'_>) {
        let is_in = self.footing.told.is_none() && !self.footing.is_refused();
        if is_in && ctx.membership.complete && core::mem::take(&mut self.footing.joins) {
            ctx.emit(Event::Joined { members: ctx.roster.len() });
        }
    }

    /// Whether nobody answers, though somebody is there who has not been called down.
    fn is_unanswered(&self, now: Instant, ctx: &Context<'_>) -> bool {
        let me = ctx.core.me;
        self.footing.in_vain >= IN_VAIN
            && now.since(self.footing.answered_at) >= ctx.core.config.acceptable_pause * UNANSWERED_FOR
            && ctx.roster.iter().any(|m| is_other(m, me))
    }
}

/// A refusal comes with every exchange; after so long without one nobody refuses any more.
const STILL_REFUSED: Duration = Duration::from_secs(10);
/// Acceptable pauses without any answer, and questions in vain, from which we say so: where half of all datagrams are
/// lost, one of four questions is answered, and twenty in a row are not once in 300 times. Honest guesses.
const UNANSWERED_FOR: u32 = 5;
const IN_VAIN: u32 = 20;
/// The last words of so many peers on the view are remembered.
const AGREEMENT: usize = 40;
