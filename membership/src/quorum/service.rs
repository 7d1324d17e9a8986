//! The quorum service: keeps the lease by asking electors, and counts the members that are present.
//!
//! Who asks whom is in [`super::asking`].

use core::time::Duration;

use heartsay_proto::gossip;

use crate::Instant;
use crate::identity::Name;
use crate::quorum::electorate::Look;
use crate::quorum::otherwise::Otherwise;
use crate::quorum::places::Places;
use crate::quorum::zone_sight::ZoneSight;
use crate::quorum::{
    Ballot, Context, Effect, Electorate, FenceError, Lease, MOST_ELECTORS, Majority, Quorum, QuorumService,
    QuorumStatus, Waves, ZoneBallot, ZoneVotes,
};
use crate::transport::requests::{Request, RequestKind};

/// What this node knows about votes.
#[derive(Debug)]
pub struct Voting {
    electorate: Option<Electorate>,
    /// The length of leases, with a fence.
    fence: Option<Duration>,
    pub mark: u32,
    pub ballot: Ballot,
    /// Who votes where more votes are known than were stated.
    places: Places,
    /// For an electorate by zones: the votes of each, for people.
    pub sight: ZoneSight,
    pub waves: Waves,
    pub search: Search,
    /// When the next question is due.
    pub renew_at: Instant,
    /// Since when this electorate is stated.
    pub since: Instant,
    pub lease: Lease,
    pub majority: Majority,
    /// Votes in two-way contact by our own count.
    pub present: u32,
    /// How many members answered us with another electorate, or with none.
    mismatched: u32,
    /// Members that were configured with another electorate than ours.
    pub otherwise: Otherwise,
}

/// The search for a member that lends us its proof.
#[derive(Debug, Default)]
pub struct Search {
    /// How often we have asked since our proof has aged, and how many members in all.
    pub steps: u32,
    pub asked_so_far: usize,
    /// The member that we asked last, and when.
    pub asked: Option<u64>,
    pub at: Instant,
    /// Where the next search begins.
    pub turn: usize,
    /// The member whose answer last made our proof younger.
    pub lender: Option<u64>,
}

impl Voting {
    pub fn electorate(&self) -> Option<&Electorate> {
        self.electorate.as_ref()
    }

    pub fn new(
        now: Instant,
        electorate: Option<Electorate>,
        settle: Duration,
        fence: Option<Duration>,
    ) -> Self {
        Self {
            mark: electorate.as_ref().map_or(0, |electorate| electorate.mark(fence)),
            electorate,
            fence,
            ballot: Ballot::default(),
            places: Places::default(),
            sight: ZoneSight::default(),
            waves: Waves::new(now),
            search: Search::default(),
            renew_at: now,
            since: now,
            lease: Lease::default(),
            majority: Majority::new(now, settle),
            present: 0,
            mismatched: 0,
            otherwise: Otherwise::default(),
        }
    }

    /// The operator states another electorate. What was settled before no longer counts.
    pub fn expect(&mut self, now: Instant, electorate: Option<Electorate>, settle: Duration) {
        if electorate != self.electorate {
            *self = Self::new(now, electorate, settle, self.fence);
        }
    }

    /// Whether the proof on which quorum rests has run out.
    pub fn has_run_out(&self, now: Instant) -> bool {
        self.majority.until().is_some_and(|until| until <= now)
    }

    /// When electors are asked next.
    pub fn renew_at(&self) -> Instant {
        if self.electorate.is_some() { self.renew_at } else { Instant::NEVER }
    }

    /// When to judge although nothing was heard.
    pub fn settles_at(&self) -> Instant {
        if self.electorate.is_some() { self.majority.next() } else { Instant::NEVER }
    }
}

impl QuorumService {
    /// A member came or went: counts the electors and the present members.
    pub fn count(&mut self, ctx: &Context<'_>) {
        self.recount_at = Instant::NEVER;
        let roster = ctx.roster;
        self.voting.otherwise.keep(|hash| roster.get(hash).is_some());
        let Voting { electorate, places, .. } = &mut self.voting;
        if let Some(electorate) = electorate {
            let pause = ctx.core.config.acceptable_pause;
            let look = Look { now: ctx.now, roster, pause };
            let (ballot, again) = electorate.ballot(look, places);
            let electors = ballot.electors.len().max(electorate.most_electors());
            self.voting.ballot = ballot;
            self.recount_at = again;
            if ctx.core.config.fence && electors > MOST_ELECTORS {
                self.voting.ballot.fault = Some(FenceError::TooMany(electors).to_string());
            } else if ctx.core.config.fence && !self.voting.ballot.surplus.is_empty() {
                self.voting.ballot.fault = Some(FenceError::Surplus.to_string());
            }
            self.voting.waves.relays = self.draw_relays(ctx);
            self.voting.waves.forget(ctx.now, ctx.core.config.lease());
            let roster = ctx.roster;
            self.voting.lease.keep(|hash| roster.get(hash).is_some());
            self.voting.renew_at = self.voting.renew_at.min(ctx.now);
        }
        self.look_at_fences(ctx);
        self.judge(ctx);
    }

    /// Counts the proofs again and reports a change of quorum.
    pub fn judge(&mut self, ctx: &Context<'_>) {
        if self.voting.electorate.is_none() {
            return;
        }
        let (length, settle) = (ctx.core.config.lease(), self.settling_time(ctx));
        let voting = &mut self.voting;
        voting.present = voting.lease.count(ctx.now, ctx.core.me, &voting.ballot, length);
        // A node that does not count as a member holds no quorum, whatever its last answers would prove.
        let counts = voting.ballot.fault.is_none() && !ctx.told_out;
        let proof = voting.lease.proof().filter(|_| counts);
        let until = proof.map(|proof| proof.as_of + length);
        let was_proven = voting.majority.until().is_some();
        let changed = voting.majority.observe(ctx.now, until, settle);
        let proven = voting.majority.until().is_some();
        if changed {
            voting.mismatched = 0;
            self.effects.push(Effect::Changed(self.status(ctx)));
        } else if voting.majority.quorum() == Quorum::Lost && proven != was_proven {
            self.effects.push(Effect::Proven(proven));
        }
    }

    /// An answer to one of our requests: its sender heard us when we asked.
    pub fn hear_answer(
        &mut self,
        ctx: &Context<'_>,
        sender: u64,
        request: &Request,
        packet: &gossip::Packet,
    ) {
        let sent = request.sent;
        self.note_electorate(ctx, sender, packet.lease.as_ref().map(|said| said.electorate));
        if self.voting.electorate.is_none() {
            return;
        }
        let lease = packet.lease.as_ref();
        let Some(said) = lease.filter(|said| said.electorate == self.voting.mark) else {
            // A vote from a member with another electorate does not count here, or two sides could have one each.
            self.voting.mismatched = self.voting.mismatched.saturating_add(1);
            return;
        };
        self.voting.lease.answered(sender, sent);
        if request.kind == RequestKind::Wave {
            self.voting.lease.heard(sender, packet.seq, ctx.now);
        }
        self.voting.sight.hear(ctx.now, ctx.core.config.lease(), &said.zones);
        if let Some(age_ms) = said.age_ms.checked_sub(1).filter(|_| ctx.lends()) {
            let before = self.voting.lease.proof();
            self.voting.lease.borrow(sent, Duration::from_millis(age_ms.into()), said.present);
            if self.voting.lease.proof() > before {
                self.voting.search.lender = Some(sender);
            }
        }
        self.hear_silences(ctx, sender, sent, packet.body.as_ref());
        // A node that asks hundreds counts when it asks, not at each answer.
        if ctx.core.config.fence || self.voting.lease.len() <= COUNTED {
            self.judge(ctx);
            self.follow_up(ctx);
        }
    }

    fn note_electorate(&mut self, ctx: &Context<'_>, sender: u64, said: Option<u32>) {
        let voting = &mut self.voting;
        let ours = voting.electorate.as_ref().map(|_| voting.mark);
        voting.otherwise.note(ctx.now, sender, said, ours);
    }

    /// What our answers say about quorum.
    pub fn say_lease(&self, ctx: &Context<'_>) -> Option<gossip::Lease> {
        self.voting.electorate.as_ref()?;
        let length = ctx.core.config.lease();
        let proof = self
            .voting
            .lease
            .proof()
            .filter(|proof| self.voting.ballot.fault.is_none() && ctx.now.since(proof.as_of) < length)
            .filter(|_| !ctx.told_out);
        // Rounded up: a proof never appears younger on its way.
        let age_ms =
            proof.map_or(0, |p| u32::try_from(ctx.now.since(p.as_of).as_millis()).map_or(0, |ms| ms + 2));
        let zones = self.voting.sight.counted(ctx.now, length, self.voting.lease.zones());
        Some(gossip::Lease {
            electorate: self.voting.mark,
            age_ms,
            present: proof.map_or(0, |proof| proof.present),
            zones,
            ..gossip::Lease::default()
        })
    }

    /// Whether votes that make a majority have beaten since our last proof ran out, and lately, as we hear through whomever.
    /// Of no use to a member that is out.
    #[must_use]
    pub fn hears_of_a_majority(&self, ctx: &Context<'_>) -> bool {
        let Voting { ballot, lease, .. } = &self.voting;
        let ran_out = lease.proof().map(|proof| proof.as_of + ctx.core.config.lease());
        let lately = ctx.now - ctx.core.config.acceptable_pause * 2;
        let since = ran_out.map_or(lately, |at| at.max(lately));
        let beats = |hash: u64| {
            let member = ctx.roster.get(hash);
            hash == ctx.core.me || member.is_some_and(|m| ctx.core.has_beaten_since(ctx.roster, m, since))
        };
        let votes = ballot.electors.iter().map(|(hash, _)| *hash);
        !ctx.told_out && ballot.is_majority(&ballot.count(votes.filter(|hash| beats(*hash))))
    }

    /// Whether there has been a good proof that our side has the majority for so long, without a gap.
    #[must_use]
    pub fn is_proven_for(&self, now: Instant, time: Duration) -> bool {
        self.majority(now).proven_since.is_some_and(|since| now.since(since) >= time)
    }

    /// The proof of the majority over time, as of this moment.
    #[must_use]
    pub fn majority(&self, now: Instant) -> Majority {
        self.voting.majority.at(now)
    }

    /// Whether a member has answered neither our last question nor the one before. A relay asks hundreds, and some answer
    /// is always lost.
    pub fn misses_again(&self, now: Instant, member: u64, lease: Duration) -> bool {
        self.voting.lease.answered_at(member).is_none_or(|at| now.since(at) >= lease * 5 / 7)
    }

    /// Whether our side has the majority. Exact at this moment: a proof that has run out since the last call no longer
    /// counts.
    #[must_use]
    pub fn status(&self, ctx: &Context<'_>) -> QuorumStatus {
        let voting = &self.voting;
        let majority = self.majority(ctx.now);
        let proven = voting.lease.proof().filter(|_| majority.until().is_some());
        let present = voting.present.max(proven.map_or(0, |proof| proof.present));
        let needed = self.needed(present);
        QuorumStatus {
            quorum: majority.quorum(),
            since: majority.since(),
            until: majority.until(),
            present,
            needed,
            expected: voting.electorate.as_ref().map(Electorate::votes),
            electorate: voting.electorate.as_ref().map(ToString::to_string),
            fence: ctx.core.config.fence,
            zones: self.zones(ctx),
            reason: self.why_quorum(ctx, majority.quorum(), present, needed),
        }
    }

    /// The votes of each zone, if the electorate is by zones.
    fn zones(&self, ctx: &Context<'_>) -> Vec<ZoneVotes> {
        let Voting { ballot, sight, lease, .. } = &self.voting;
        let known = sight.known(ctx.now, ctx.core.config.lease(), lease.zones());
        let of = |(at, zone): (usize, &ZoneBallot)| ZoneVotes {
            zone: zone.name.clone(),
            present: known.get(at).copied().unwrap_or(0),
            needed: zone.needed,
            expected: zone.votes,
        };
        ballot.zones.iter().enumerate().map(of).collect()
    }

    /// How many votes we need. A proof by half of them is one by the member, or the zone, that decides a tie.
    fn needed(&self, present: u32) -> u32 {
        let Voting { electorate: Some(electorate), ballot, majority, .. } = &self.voting else { return 0 };
        let has_tie = ballot.tie.is_some() || ballot.tie_zone.is_some();
        let by_half = has_tie && present.saturating_mul(2) == ballot.all() && majority.until().is_some();
        if by_half { present } else { electorate.needed() }
    }

    fn why_quorum(&self, ctx: &Context<'_>, quorum: Quorum, present: u32, needed: u32) -> String {
        let voting = &self.voting;
        let Some(electorate) = &voting.electorate else {
            return "no electorate: start the agent with --expected".to_owned();
        };
        if let Some(fault) = &voting.ballot.fault {
            return fault.clone();
        }
        if let Some(outside) = &ctx.outside {
            return outside.clone();
        }
        let mut reason = self.votes_text(ctx, present, needed);
        if quorum == Quorum::Unsettled {
            reason.push_str("; still settling");
        } else if quorum == Quorum::Lost && present >= needed {
            reason.push_str("; waiting for it to last");
        }
        let unknown: Vec<&str> = electorate.unknown(ctx.roster).map(Name::as_str).collect();
        if !unknown.is_empty() {
            reason.push_str(&format!("; not in the view: {}", unknown.join(", ")));
        }
        reason.push_str(&self.surplus_text(ctx));
        if voting.mismatched > 0 && present < needed {
            reason.push_str(
                "; some members answer that were told of another electorate, or hold us for down or unfit",
            );
        }
        reason
    }

    /// Larger clusters take longer to find one another. Never less than a proof is good: a member that comes back must
    /// not hold quorum by a proof from before its return.
    pub fn settling_time(&self, ctx: &Context<'_>) -> Duration {
        let doublings = self.voting.ballot.votes.max(1).ilog2();
        ctx.core.config.quorum_settle.max(ctx.core.config.lease()) + ctx.core.config.interval * doublings / 4
    }
}

/// Up to this many electors that have answered are counted at each answer.
const COUNTED: usize = 64;
