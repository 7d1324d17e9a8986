//! Watches the fence: keeps track of whether the lease of each silent member has certainly run out.
//!
//! A node plays two roles. As an elector it notes which members it acknowledges, and answers for how long it has
//! acknowledged nothing of a member. As an observer it asks all electors about silent members, in the requests that
//! keep its own lease anyway. The rule is in [`crate::quorum`], the proof in docs/quorum-proofs.md.

use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;
use rand::{Rng, RngExt};

use crate::Instant;
use crate::identity::Name;
use crate::quorum::{Acknowledged, Context, Effect, FenceEvidence, MOST_ABOUT, QuorumService};
use crate::roster::fingerprint;
use crate::roster::member::Member;
use crate::roster::standing::Status;

/// What this node knows about silences.
#[derive(Debug)]
pub struct Fence {
    acknowledged: Acknowledged,
    /// Members that are suspect or down.
    pending: BTreeMap<u64, FenceEvidence>,
    /// Until then electors are asked more often.
    hurry_until: Instant,
}

impl Fence {
    pub fn new(now: Instant) -> Self {
        Self { acknowledged: Acknowledged::new(now), pending: BTreeMap::new(), hurry_until: now }
    }

    /// The member is back, or gone for good: drops the evidence.
    pub fn open(&mut self, member: u64) {
        self.pending.remove(&member);
    }

    /// Whether a member has recently fallen silent and electors are still to be asked about it.
    pub fn hurries(&self, now: Instant) -> bool {
        now < self.hurry_until && self.pending.values().any(|evidence| !evidence.fenced)
    }

    pub fn stands(&self, member: &Member) -> bool {
        member.status == Status::Down
            && self.pending.get(&member.hash()).is_some_and(|e| e.fenced && e.tag == member.tag())
    }
}

impl QuorumService {
    /// The lease part of our answer to `asker`. Sending it acknowledges the asker. Only a member that is in our roster
    /// with this very incarnation, is not down, and is not about to be quarantined is acknowledged. So the lease of a
    /// live member that is quarantined ends before the verdict.
    pub fn acknowledge(
        &mut self,
        ctx: &Context<'_>,
        asker: Option<u64>,
        counts: bool,
    ) -> Option<gossip::Lease> {
        let asker = asker.filter(|_| counts)?;
        if ctx.core.config.fence {
            self.fence.acknowledged.note(asker, ctx.now);
        }
        self.say_lease(ctx)
    }

    /// For how long we have acknowledged nothing of the members in `about`.
    pub fn silences(&self, now: Instant, about: &[u64], fence: bool) -> Vec<gossip::Silence> {
        if !fence {
            return Vec::new();
        }
        let silence = |subject: &u64| {
            let silent = now.since(self.fence.acknowledged.none_since(*subject));
            let silent_ms = u32::try_from(silent.as_millis()).unwrap_or(u32::MAX);
            gossip::Silence { subject: *subject, silent_ms }
        };
        about.iter().take(MOST_ABOUT).map(silence).collect()
    }

    /// The members to ask the electors about; a random part of them if one request cannot hold all.
    pub fn ask_about(&self, rng: &mut impl Rng) -> Vec<u64> {
        let mut about: Vec<u64> =
            self.fence.pending.iter().filter(|(_, e)| !e.fenced).map(|(hash, _)| *hash).collect();
        if about.len() > MOST_ABOUT {
            let turn = rng.random_range(0..about.len());
            about.rotate_left(turn);
            about.truncate(MOST_ABOUT);
        }
        about
    }

    /// An elector that was asked at `sent` says for how long it has acknowledged nothing of some members.
    pub fn hear_silences(&mut self, ctx: &Context<'_>, elector: u64, sent: Instant, body: Option<&Body>) {
        let Some(Body::Pong(pong)) = body.filter(|_| ctx.core.config.fence) else { return };
        for said in &pong.silences {
            let Some(evidence) = self.fence.pending.get_mut(&said.subject) else { continue };
            let silent = Duration::from_millis(said.silent_ms.into());
            evidence.silences.testify(elector, sent, ctx.now, silent);
            if self.newly_fenced(ctx, said.subject) {
                self.effects.push(Effect::Fenced(said.subject));
            }
        }
    }

    /// Whether the electors' answers so far prove, by now, that the lease of `name` has run out. Can be asked about any
    /// suspect or down member; a fence event needs the verdict too.
    pub fn lease_ran_out(&self, ctx: &Context<'_>, name: &Name) -> bool {
        let subject = fingerprint::of_name(name);
        let own = (ctx.core.me, self.fence.acknowledged.none_since(subject));
        self.fence.pending.get(&subject).is_some_and(|evidence| {
            evidence.silences.prove(ctx.now, subject, own, &self.voting.ballot, ctx.core.config.lease())
        })
    }

    /// Whether a down member has just become fenced.
    pub fn newly_fenced(&mut self, ctx: &Context<'_>, subject: u64) -> bool {
        let Some(member) = ctx.roster.get(subject).filter(|m| m.status == Status::Down) else {
            return false;
        };
        let proven = self.lease_ran_out(ctx, &member.incarnation.name);
        let tag = member.tag();
        let Some(evidence) = self.fence.pending.get_mut(&subject) else { return false };
        let fresh = proven && !evidence.fenced && evidence.tag == tag;
        evidence.fenced |= fresh;
        fresh
    }

    /// Keeps evidence about silent members, and drops it for all others.
    pub fn look_at_fences(&mut self, ctx: &Context<'_>) {
        if !ctx.core.config.fence {
            return;
        }
        let roster = ctx.roster;
        self.fence.acknowledged.keep(|hash| roster.get(hash).is_some());
        let census = roster.census();
        if census.suspect + census.down == 0 {
            self.fence.pending.clear();
            return;
        }
        let silent = |m: &&Member| matches!(m.status, Status::Suspect | Status::Down);
        self.fence
            .pending
            .retain(|hash, e| roster.get(*hash).is_some_and(|m| m.tag() == e.tag && silent(&m)));
        for member in roster.iter().filter(silent) {
            self.fence.pending.entry(member.hash()).or_insert_with(|| {
                self.fence.hurry_until = ctx.now + ctx.core.config.lease() * HURRY;
                FenceEvidence::new(member.tag())
            });
        }
    }
}

/// For this many leases after a member has fallen silent, electors are asked more often: it takes one lease until a
/// silence is long enough, and one and a half until the verdict.
const HURRY: u32 = 4;
