//! What others say of ourselves: accusations, verdicts, later incarnations, and other holders of our name.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip;

use crate::Instant;
use crate::identity::{Generation, HostId};
use crate::io::{Event, Rejected};
use crate::node::Node;
use crate::node::apply::{DUPLICATE_NAME, FAR_FUTURE};
use crate::roster::Change;
use crate::roster::claim::Claim;
use crate::roster::incarnation::Incarnation;
use crate::roster::peers::is_other;
use crate::roster::standing::Status;
use crate::transport::wire;

impl Node {
    /// Somebody speaks about us.
    pub(super) fn hear_of_ourselves(&mut self, now: Instant, claim: &Claim) -> Change {
        let me = self.core.me;
        let myself = self.roster.myself();
        let (generation, heartbeat) = (myself.incarnation.generation, myself.heartbeat);
        if claim.generation < generation {
            return Change::Stale;
        }
        if self.gossip.leave.is_some() {
            // Whoever goes, or restarts, begins no other life any more.
            return Change::Same;
        }
        let gone = claim.forgotten || claim.standing.marks.left;
        if claim.generation > generation || gone {
            if self.core.generation_is_plausible(now, claim.generation) {
                self.hear_of_later_life(now, claim);
            }
            return Change::Same;
        }
        let (detection, mut ctx) = self.detection();
        detection.hear_verdict(now, &mut ctx, &claim.standing.marks);
        self.settle(now);
        // A verdict that keeps us out is lived through; accusations of silence are answered.
        let down = claim.standing.marks.down.filter(|_| !claim.standing.marks.is_kept_out());
        let accused = claim.standing.marks.of_silence().map(|a| a.basis).chain(down).max();
        let Some(basis) = accused else { return Change::Same };
        let plausible = basis <= self.core.plausible_heartbeat(now, &self.roster, me);
        if let Some(accused) = self.core.suspended.as_mut() {
            *accused = if plausible { basis.max(*accused) } else { *accused };
            return Change::Same;
        }
        if basis >= heartbeat && plausible {
            self.core.beat_above(now, &mut self.roster, basis);
            self.core.stats.refutations_of_self += 1;
            // Accusers that doubt themselves have made nobody think ill of us.
            if down.is_some() || claim.standing.marks.that_count().next().is_some() {
                self.core.health.accused(now);
                self.gossip.broadcast.news(now, me, false);
            }
        }
        Change::Stale
    }

    /// A later life of ours that we do not remember, or an end that we did not make. Somebody may live it elsewhere.
    fn hear_of_later_life(&mut self, now: Instant, claim: &Claim) {
        let status = claim.standing.status();
        let present =
            !claim.forgotten && matches!(status, Status::Alive | Status::Restarting | Status::Suspect);
        let mine = self.roster.myself().incarnation.address();
        let elsewhere =
            claim.incarnation.as_ref().filter(|incarnation| present && incarnation.address() != mine);
        match elsewhere {
            Some(incarnation) if self.detection.footing.is_refused() => {
                self.name_held(now, incarnation.host_id, incarnation.address(), incarnation.generation);
            }
            Some(incarnation) => {
                let (gossip, mut ctx) = self.gossip();
                gossip.hear_of_twin(now, &mut ctx, incarnation);
                self.settle(now);
            }
            // Where it is lived is not told; the next claim in full tells.
            None if present && claim.incarnation.is_none() => {}
            None => {
                self.begin_anew(now, claim.generation);
                self.name_free(now);
            }
        }
    }

    /// Another host has our name.
    pub(super) fn hear_of_our_name(
        &mut self,
        now: Instant,
        other: &Incarnation,
        claim: &Claim,
        own_word: bool,
    ) -> Result<Change, Rejected> {
        let (me, myself) = (self.core.me, &self.roster.myself().incarnation);
        let (later, first) = (claim.generation > myself.generation, myself.is_before(other));
        let plausible = self.core.generation_is_plausible(now, claim.generation);
        match claim.standing.status() {
            // It is gone: the name is free, and our life has to begin after its.
            Status::Down | Status::Left => {
                if later && plausible {
                    self.begin_anew(now, claim.generation);
                    self.name_free(now);
                }
            }
            // It comes to us, and nobody is known to hold it for a member. Where somebody holds us for one, it gives way;
            // of two that are alone, the later.
            Status::Alive | Status::Restarting | Status::Suspect if own_word => {
                if first || self.roster.iter().any(|m| is_other(m, me)) {
                    let (name, newcomer) = (other.name.clone(), other.host_id);
                    return Err(Rejected::DuplicateName { name, holder: myself.host_id, newcomer });
                }
                self.name_held(now, other.host_id, other.address(), claim.generation);
            }
            // Others hold it for a member. Whoever has just arrived gives way. Otherwise two clusters have met, each with a
            // holder: the first begins anew above the other, which then hears of a later life that was here before it.
            Status::Alive | Status::Restarting | Status::Suspect if later => {
                if first && !self.gossip.is_new(now, &self.core, self.own_membership()) {
                    if plausible {
                        self.begin_above(now, claim.generation);
                    }
                } else {
                    self.name_held(now, other.host_id, other.address(), claim.generation);
                }
            }
            Status::Alive | Status::Restarting | Status::Suspect => {}
        }
        Ok(Change::Same)
    }

    /// Others do not take us in.
    pub(crate) fn on_refusal(&mut self, now: Instant, refusal: &gossip::Refusal, claims: &[gossip::Claim]) {
        match refusal.reason {
            DUPLICATE_NAME => {
                let myself = self.roster.myself();
                let name = myself.incarnation.name.as_str();
                let holder = claims.iter().find_map(|c| c.body.as_ref().filter(|b| b.name == name));
                let Some(body) = holder else { return };
                let (Some(address), Ok(host)) =
                    (wire::read_address(&body.ip, body.port), <[u8; 16]>::try_from(body.host_id.as_ref()))
                else {
                    return;
                };
                let holder = HostId(u128::from_be_bytes(host));
                if holder != myself.incarnation.host_id && !self.detection.footing.is_taken_in() {
                    let generation = claims.iter().map(|c| c.generation).max().unwrap_or(0);
                    self.name_held(now, holder, address, generation);
                }
            }
            FAR_FUTURE => self.on_clock_refused(now),
            // Of a full cluster the seeds' own log tells; reasons of later versions say nothing to us.
            _ => {}
        }
    }

    /// Our life lies more than a day ahead of somebody's clock. If it lies so far ahead of ours too, our clock was wrong when
    /// the life was numbered, and is right now: nobody has taken that life in, so we begin another one.
    fn on_clock_refused(&mut self, now: Instant) {
        if self.core.generation_is_plausible(now, self.roster.myself().incarnation.generation) {
            // What was sent before another life began is still being refused.
            // And a single peer with a clock far behind is not the cluster.
            let under_way = self.core.reset_at.is_some_and(|at| now.since(at) <= UNDER_WAY);
            if !under_way && !self.detection.footing.is_taken_in() {
                self.emit(Event::ClockRefused);
                let (detection, mut ctx) = self.detection();
                detection.refuse_clock(now, &mut ctx);
                self.settle(now);
            }
            return;
        }
        let generation = self.core.unix_ms(now);
        self.core.reset_at = Some(now);
        self.begin_life(now, generation);
        self.emit(Event::GenerationReset(generation));
    }

    /// Another living host has our name.
    fn name_held(&mut self, now: Instant, holder: HostId, address: SocketAddr, generation: Generation) {
        let (detection, mut ctx) = self.detection();
        detection.refuse(now, &mut ctx, holder, address, generation);
        self.settle(now);
    }

    /// No other host has our name any more.
    fn name_free(&mut self, now: Instant) {
        let (detection, mut ctx) = self.detection();
        detection.accept(now, &mut ctx);
        self.settle(now);
    }
}

/// Longer than a question and its answer are under way.
const UNDER_WAY: Duration = Duration::from_secs(5);
