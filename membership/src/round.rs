//! What a node does by the clock: once per round, and more often while it is new.

use core::time::Duration;

use rand::RngExt;

use crate::Instant;
use crate::identity::Heartbeat;
use crate::io::MemberEventKind;
use crate::member::{Member, Status};
use crate::node::Node;
use crate::peers;

impl Node {
    /// Once per interval: one heartbeat, one exchange, one look at everybody.
    pub(crate) fn round(&mut self, now: Instant) {
        self.stats.rounds += 1;
        let slot = self.beat.slot(now);
        let tenth = self.config.interval / 10;
        let jitter = self.rng.random_range(0.0..2.0);
        self.round_at = (self.beat.next_slot(now) - tenth) + tenth.mul_f64(jitter);
        if self.leave.is_some() {
            return;
        }
        if self.resting.is_none() {
            self.advance(now, 0);
        }
        let me = self.me;
        if let Some(peer) = peers::for_slot(&self.roster, me, slot, Member::is_present).map(Member::hash) {
            self.open_exchange(now, peer);
        }
        if let Some(peer) = peers::knock(&self.roster, &mut self.rng).map(Member::hash) {
            self.open_exchange(now, peer);
        }
        self.look_at_silence(now);
        self.look_at_links(now);
        self.recount(now);
        if self.stats.rounds.is_multiple_of(HOUSEKEEPING_ROUNDS) {
            self.drop_the_long_gone(now);
        }
    }

    /// Our own next heartbeat, above `basis`: one for the start and one for each slot since, however many were missed.
    /// So whoever has seen one of them knows when the others are due ([`Node::heartbeat_by`]).
    fn advance(&mut self, now: Instant, basis: Heartbeat) {
        // Before we have come into step, slots come and go; a beat too few is made up for, one too many is not.
        let in_step = now.since(self.started) >= EAGER_TIME;
        let slots =
            if in_step { self.beat.slot(now).saturating_sub(self.beat.slot(self.started)) } else { 0 };
        let me = self.me;
        if let Some(mut myself) = self.roster.get_mut(me) {
            let next = myself.heartbeat.max(basis).saturating_add(1);
            myself.heartbeat = next.max(slots.saturating_add(1));
        }
    }

    /// Stops to give signs of life, or begins again.
    ///
    /// We still speak, so that our own view stays true: the others count what
    /// we say of anybody else, but without a newer heartbeat it does not speak for us.
    pub(crate) fn rest(&mut self, now: Instant, rest: bool) {
        if rest {
            self.resting.get_or_insert(0);
        } else if let Some(basis) = self.resting.take() {
            self.advance(now, basis);
            self.burst.news(now, self.me, false);
        }
    }

    /// In the first moments of its life, when not everybody has heard of it.
    pub(crate) fn is_young(&self, now: Instant) -> bool {
        let age = now.since(self.started);
        age < EAGER_TIME || (age < LONGEST_YOUTH && self.pulls.is_behind(now))
    }

    /// A newcomer talks more often for its first moments, so that it is known everywhere at once. Others do so
    /// once, when newcomers have ceased to come: whoever missed one of many has most likely heard of another.
    pub(crate) fn eager_exchange(&mut self, now: Instant) {
        let young = self.is_young(now);
        self.eager_at = if young { now + self.config.interval / EAGER_FACTOR } else { Instant::NEVER };
        // While much is missing, pulls bring it, and a comparison of everything would only say so.
        if self.leave.is_some() || self.stats.rounds == 0 || self.pulls.is_behind(now) {
            return;
        }
        let me = self.me;
        let peer = peers::sample(&self.roster, &mut self.rng, 1, |m| m.is_present() && m.hash() != me)
            .first()
            .map(|m| m.hash());
        if let Some(peer) = peer {
            self.open_exchange(now, peer);
        }
    }

    /// Somebody has come whom we did not know.
    pub(crate) fn note_newcomer(&mut self, now: Instant) {
        if !self.is_young(now) {
            let soon = self.config.interval.mul_f64(self.rng.random_range(AFTERMATH));
            self.eager_at = now + soon;
        }
    }

    fn drop_the_long_gone(&mut self, now: Instant) {
        let (down, left) = (self.config.forget_down_after, self.config.forget_left_after);
        let gone: Vec<u64> = self
            .roster
            .iter()
            .filter(|m| match m.status {
                Status::Down => now.since(m.since) >= down,
                Status::Left => now.since(m.since) >= left,
                Status::Alive | Status::Suspect => false,
            })
            .map(Member::hash)
            .filter(|hash| *hash != self.me)
            .collect();
        for hash in gone {
            self.report(hash, MemberEventKind::Forgotten, &[], "gone for too long");
            self.roster.bury(now, hash);
        }
        self.roster.age_tombstones(now);
    }
}

/// For so long a newcomer talks more often.
const EAGER_TIME: Duration = Duration::from_secs(3);
/// In a mass start it lasts until the views are alike, but not longer than this.
const LONGEST_YOUTH: Duration = Duration::from_secs(30);
/// So many times as often.
const EAGER_FACTOR: u32 = 5;
/// From the last newcomer to a look at what was missed, in intervals: when news has spread (burst.rs), and not
/// everybody at once.
const AFTERMATH: core::ops::Range<f64> = 0.2..0.4;
/// The long gone are looked for once in so many rounds.
const HOUSEKEEPING_ROUNDS: u64 = 10;
