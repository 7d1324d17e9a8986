//! Claims of others about this node: accusations, verdicts, later incarnations, and other holders of our name.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip;

use crate::Instant;
use crate::detection::flap_damping::FARTHEST_TESTIMONY;
use crate::gossip::takeover::Teller;
use crate::identity::{Generation, HostId};
use crate::io::{Event, Rejected};
use crate::node::Node;
use crate::node::apply::{DUPLICATE_NAME, FAR_FUTURE};
use crate::roster::Change;
use crate::roster::claim::Claim;
use crate::roster::incarnation::Incarnation;
use crate::roster::peers::is_other;
use crate::roster::standing::Status;
use crate::roster::state::Delta;
use crate::transport::wire;

impl Node {
    /// A claim about this node.
    pub(super) fn on_own_claim(&mut self, now: Instant, claim: &Claim) -> Change {
        let me = self.core.me;
        let myself = self.roster.myself();
        let (generation, heartbeat) = (myself.incarnation.generation, myself.heartbeat);
        if claim.generation < generation {
            return Change::Stale;
        }
        if self.gossip.leave.is_some() {
            // A node that leaves or restarts begins no further incarnation.
            return Change::Same;
        }
        if claim.generation == generation && self.is_told_dead(claim.standing.marks.last_words) {
            self.outlive_last_words(now);
            return Change::Stale;
        }
        let gone = claim.forgotten || claim.standing.marks.left;
        if claim.generation > generation || gone {
            if self.core.generation_is_plausible(now, claim.generation) {
                self.on_later_incarnation(now, claim);
            }
            return Change::Same;
        }
        if let Some(delta) = claim.delta.as_ref().filter(|delta| myself.state.is_forged_by(delta)) {
            self.outbid(now, delta);
        }
        let (detection, mut ctx) = self.detection();
        detection.hear_verdict(now, &mut ctx, &claim.standing.marks);
        detection.hear_notice(now, &mut ctx, &claim.standing.marks);
        self.settle(now);
        // A verdict that quarantines us has to be sat out, unless it lies further ahead than any witness asks for.
        // Accusations of silence are answered.
        let farthest = heartbeat.saturating_add(FARTHEST_TESTIMONY);
        let kept_out = claim.standing.marks.is_kept_out();
        let down = claim.standing.marks.down.filter(|basis| !kept_out || *basis > farthest);
        let accused = claim.standing.marks.of_silence().map(|a| a.basis).chain(down).max();
        let Some(basis) = accused else { return Change::Same };
        let plausible = basis <= self.core.plausible_heartbeat(now, &self.roster, me);
        if let Some(accused) = self.core.suspended.as_mut() {
            *accused = if plausible { basis.max(*accused) } else { *accused };
            return Change::Same;
        }
        if basis >= heartbeat && plausible {
            self.core.beat_above(now, &mut self.roster, basis);
            self.transport.seals.leap();
            self.core.stats.refutations_of_self += 1;
            // Accusers that doubt themselves have changed no other member's view of us.
            if down.is_some() || claim.standing.marks.that_count().next().is_some() {
                self.core.health.accused(now);
                self.gossip.broadcast.news(now, me, false);
            }
        }
        Change::Stale
    }

    /// Others have a state of ours that we never had. Ours has to be newer, or our changes would be old news to them.
    fn outbid(&mut self, now: Instant, forged: &Delta) {
        let me = self.core.me;
        let Some(mut myself) = self.roster.get_mut(me) else { return };
        myself.state.renew_above(forged.highest());
        myself.restamp();
        drop(myself);
        self.gossip.broadcast.news(now, me, true);
    }

    /// The claim tells of a later incarnation of ours that we do not remember, or of an end that we did not announce.
    /// Another process may run it elsewhere.
    fn on_later_incarnation(&mut self, now: Instant, claim: &Claim) {
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
                let taken_in = self.detection.footing.is_taken_in();
                let (gossip, mut ctx) = self.gossip();
                gossip.hear_of_twin(now, &mut ctx, incarnation, taken_in);
                self.settle(now);
            }
            // The claim does not say where that incarnation runs; the next full claim will.
            None if present && claim.incarnation.is_none() => {}
            None => {
                self.begin_anew(now, claim.generation);
                self.name_free(now);
            }
        }
    }

    /// Another host uses our name.
    pub(super) fn on_claim_to_our_name(
        &mut self,
        now: Instant,
        teller: Teller,
        other: &Incarnation,
        claim: &Claim,
    ) -> Result<Change, Rejected> {
        let (me, myself) = (self.core.me, &self.roster.myself().incarnation);
        let (later, first) = (claim.generation > myself.generation, myself.is_before(other));
        let plausible = self.core.generation_is_plausible(now, claim.generation);
        match claim.standing.status() {
            // The other host is gone. The name is free, and our incarnation has to begin after its last one.
            Status::Down | Status::Left => {
                if later && plausible {
                    self.begin_anew(now, claim.generation);
                    self.name_free(now);
                }
            }
            // The other host contacts us itself, and no peer is known to hold it for a member. If a peer holds us for a
            // member, the other host gives way. If both are alone, the later one gives way.
            Status::Alive | Status::Restarting | Status::Suspect if teller.own_word => {
                if first || self.roster.iter().any(|m| is_other(m, me)) {
                    let (name, newcomer) = (other.name.clone(), other.host_id);
                    return Err(Rejected::DuplicateName { name, holder: myself.host_id, newcomer });
                }
                self.name_held(now, other.host_id, other.address(), claim.generation);
            }
            // Others hold that host for a member. If we have just arrived, we give way once it has answered us. Otherwise
            // two clusters have met, each with a holder of the name. The earlier holder begins anew above the other, and
            // the other then hears of a later incarnation that was here before it.
            Status::Alive | Status::Restarting | Status::Suspect if later => {
                if first && !self.gossip.is_new(now, &self.core, self.own_membership()) {
                    if plausible {
                        self.begin_above(now, claim.generation);
                    }
                } else if self.is_peer(teller.from) && self.rival_is_there(now, teller, other, claim) {
                    self.name_held(now, other.host_id, other.address(), claim.generation);
                }
            }
            Status::Alive | Status::Restarting | Status::Suspect => {}
        }
        Ok(Change::Same)
    }

    /// Whether a member is at this address, or a peer that we have asked.
    fn is_peer(&self, address: SocketAddr) -> bool {
        self.transport.requests.is_open_to(address)
            || self.roster.iter().any(|member| member.incarnation.address() == address)
    }

    /// Others do not accept us as a member. That is believed only of a peer that we have asked: a forged refusal would
    /// otherwise keep any newcomer out.
    pub(crate) fn on_refusal(
        &mut self,
        now: Instant,
        from: SocketAddr,
        refusal: &gossip::Refusal,
        claims: &[gossip::Claim],
    ) {
        // Each claim about us is refused, also those that asked for nothing: another refusal answers a question.
        if !self.transport.requests.is_open_to(from) {
            return;
        }
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
                // Our own earlier life at our own address has ended. At another, a copy of our state directory runs.
                let another = holder != myself.incarnation.host_id || address != myself.incarnation.address();
                if another && !self.detection.footing.is_taken_in() {
                    let generation = claims.iter().map(|c| c.generation).max().unwrap_or(0);
                    self.name_held(now, holder, address, generation);
                }
            }
            FAR_FUTURE => self.on_clock_refused(now),
            // A full cluster is reported in the seeds' own logs. Reasons of later versions mean nothing to us.
            _ => {}
        }
    }

    /// Our generation lies more than a day ahead of a peer's clock. If it is that far ahead of our own clock too, our
    /// clock was wrong when the generation was chosen and is right now. No peer has accepted that incarnation, so we
    /// begin another one.
    fn on_clock_refused(&mut self, now: Instant) {
        if self.core.generation_is_plausible(now, self.roster.myself().incarnation.generation) {
            // Datagrams sent before the new incarnation are still being refused. And a single peer with a clock far
            // behind is not the cluster.
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
        self.begin_incarnation(now, generation);
        self.emit(Event::GenerationReset(generation));
    }

    /// Another live host has our name.
    pub(super) fn name_held(
        &mut self,
        now: Instant,
        holder: HostId,
        address: SocketAddr,
        generation: Generation,
    ) {
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

/// Longer than a request and its answer are under way.
const UNDER_WAY: Duration = Duration::from_secs(5);
