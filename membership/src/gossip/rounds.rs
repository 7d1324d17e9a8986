//! What a node does by the clock: once per round, and more often while it is new.

use core::time::Duration;

use rand::RngExt;

use crate::Instant;
use crate::identity::Heartbeat;
use crate::io::MemberEventKind;
use crate::node::Node;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::standing::Status;

impl Node {
    /// Once per slot: one heartbeat, [`Config::exchanges`](crate::Config::exchanges), one look at everybody.
    pub(crate) fn round(&mut self, now: Instant) {
        self.core.stats.rounds += 1;
        let slot = self.core.slot_clock.slot(now);
        self.gossip.next_round = self
            .core
            .slot_clock
            .next_call(now, self.whom_to_call(slot.saturating_add(1), 0).unwrap_or(self.core.me));
        if self.gossip.leave.is_some() {
            return;
        }
        self.beat_once(now);
        for call in 0..self.core.config.exchanges {
            if let Some(peer) = self.whom_to_call(slot, call) {
                self.open_exchange(now, peer);
            }
        }
        if let Some(peer) = peers::knock(&self.roster, &mut self.core.rng).map(Member::hash) {
            self.open_exchange(now, peer);
        }
        self.look_at_silence(now);
        self.look_at_links(now);
        self.look_at_ourselves(now);
        self.quorum.recount_at = now;
        self.drop_unheard(now);
        if self.core.stats.rounds.is_multiple_of(HOUSEKEEPING_ROUNDS) {
            self.keep_house(now);
        }
    }

    /// The first comes at the hour of whom it calls, the others with it.
    fn whom_to_call(&self, slot: u64, call: u32) -> Option<u64> {
        let turn = slot.saturating_mul(u64::from(self.core.config.exchanges)).saturating_add(u64::from(call));
        peers::for_slot(&self.roster, self.core.me, turn, Member::is_present).map(Member::hash)
    }

    /// This slot's heartbeat, with the first that we do in it: one for the start and one for each slot since, however many
    /// were missed. So whoever has seen one of them knows when the others are due ([`Node::heartbeat_by`]).
    pub(crate) fn beat_once(&mut self, now: Instant) {
        // After a good-bye nothing may say that we are still here.
        if self.core.suspended.is_none() && self.gossip.leave.is_none() {
            self.raise_heartbeat(self.due(now).saturating_add(self.core.heartbeat_bias));
        }
    }

    /// Our next heartbeat, above `basis`. All later ones are as much ahead.
    pub(crate) fn beat_above(&mut self, now: Instant, basis: Heartbeat) {
        let heartbeat = self.roster.myself().heartbeat.max(basis).saturating_add(1);
        self.core.heartbeat_bias = self.core.heartbeat_bias.max(heartbeat.saturating_sub(self.due(now)));
        self.raise_heartbeat(heartbeat);
    }

    fn raise_heartbeat(&mut self, heartbeat: Heartbeat) {
        let me = self.core.me;
        if let Some(mut myself) = self.roster.get_mut(me) {
            myself.heartbeat = myself.heartbeat.max(heartbeat);
        }
    }

    /// How many heartbeats our life has had time for. Before we have come into step, slots come and go, and only whole
    /// intervals count: a beat too few is made up for, of one too many everybody would think that it came early.
    fn due(&self, now: Instant) -> Heartbeat {
        let age = now.since(self.core.started);
        let slots = if age >= EAGER_TIME {
            self.core.slot_clock.slot(now).saturating_sub(self.core.slot_clock.slot(self.core.started))
        } else {
            let intervals = age.as_millis() / self.core.config.interval.as_millis().max(1);
            u64::try_from(intervals).unwrap_or(0)
        };
        slots.saturating_add(1)
    }

    /// Stops to give signs of life, or begins again.
    ///
    /// We still speak, so that our own view stays true: the others count what
    /// we say of anybody else, but without a newer heartbeat it does not speak for us.
    pub(crate) fn suspend(&mut self, now: Instant, rest: bool) {
        if rest {
            self.core.suspended.get_or_insert(0);
        } else if let Some(basis) = self.core.suspended.take() {
            self.beat_once(now);
            if basis >= self.roster.myself().heartbeat {
                self.beat_above(now, basis);
            }
            self.gossip.broadcast.news(now, self.core.me, false);
        }
    }

    /// In the first moments of its life, when not everybody has heard of it.
    pub(crate) fn is_young(&self, now: Instant) -> bool {
        let age = now.since(self.core.started);
        age < EAGER_TIME || (age < LONGEST_YOUTH && self.gossip.pulls.is_behind(now))
    }

    /// A newcomer talks more often for its first moments, so that it is known everywhere at once. Others do so
    /// once, when newcomers have ceased to come: whoever missed one of many has most likely heard of another.
    pub(crate) fn eager_exchange(&mut self, now: Instant) {
        let lively = self.is_young(now) || now < self.gossip.introduce_until;
        self.gossip.eager_at =
            if lively { now + self.core.config.interval / EAGER_FACTOR } else { Instant::NEVER };
        // While much is missing, pulls bring it, and a comparison of everything would only say so.
        if self.gossip.leave.is_some() || self.core.stats.rounds == 0 || self.gossip.pulls.is_behind(now) {
            return;
        }
        let me = self.core.me;
        let peer = peers::sample(&self.roster, &mut self.core.rng, 1, |m| m.is_present() && m.hash() != me)
            .first()
            .map(|m| m.hash());
        if let Some(peer) = peer {
            self.open_exchange(now, peer);
        }
    }

    /// Somebody has come whom we did not know.
    pub(crate) fn note_newcomer(&mut self, now: Instant) {
        if !self.is_young(now) {
            let soon = self.core.config.interval.mul_f64(self.core.rng.random_range(AFTERMATH));
            self.gossip.eager_at = now + soon;
        }
    }

    fn keep_house(&mut self, now: Instant) {
        // Where the census knows of none, no card is read for it.
        let census = self.roster.census();
        if census.down + census.left > 0 {
            self.drop_the_long_gone(now);
        }
        self.roster.age_tombstones(now);
        if now.since(self.gossip.unrest_at) >= SETTLED {
            self.roster.fit();
        }
    }

    fn drop_the_long_gone(&mut self, now: Instant) {
        let (down, left) = (self.core.config.forget_down_after, self.core.config.forget_left_after);
        let gone: Vec<u64> = self
            .roster
            .iter()
            .filter(|m| match m.status {
                Status::Down => now.since(m.since()) >= down,
                Status::Left => now.since(m.since()) >= left,
                Status::Alive | Status::Restarting | Status::Suspect => false,
            })
            .map(Member::hash)
            .filter(|hash| *hash != self.core.me)
            .collect();
        for hash in gone {
            self.report(hash, MemberEventKind::Forgotten, &[], "gone for too long");
            self.roster.bury(now, hash);
        }
    }
}

/// For so long a newcomer talks more often.
const EAGER_TIME: Duration = Duration::from_secs(3);
/// In a mass start it lasts until the views are alike, but not longer than this.
const LONGEST_YOUTH: Duration = Duration::from_secs(30);
/// So many times as often.
const EAGER_FACTOR: u32 = 5;
/// From the last newcomer to a look at what was missed, in intervals: when news has spread (broadcast.rs), and not
/// everybody at once.
const AFTERMATH: core::ops::Range<f64> = 0.2..0.4;
/// House is kept once in so many rounds.
const HOUSEKEEPING_ROUNDS: u64 = 10;
/// Who has neither come nor gone for so long is not expected to soon.
const SETTLED: Duration = Duration::from_secs(30);
