//! The core: settings, identity, clocks, randomness, this node's own health, and its counters. Every part reads it, and
//! all but quorum write it too: they draw random numbers, count, and learn from answers.

pub mod joints;
pub mod own_heartbeat;
pub mod slot_clock;
pub mod surroundings;

use core::time::Duration;
use std::sync::Arc;

use heartsay_detector::{LocalHealth, LossAfterLoss, LossShare, RttEstimator};
use heartsay_proto::SECRET_LENGTH;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use siphasher::sip::SipHasher13;

use crate::Instant;
use crate::config::Config;
use crate::core::joints::Joints;
use crate::core::slot_clock::SlotClock;
use crate::core::surroundings::Surroundings;
use crate::identity::{Generation, Heartbeat, Identity};
use crate::roster::Roster;
use crate::roster::claim::{FARTHEST_START_MS, heartbeat_limit};
use crate::roster::incarnation::Schedule;
use crate::roster::member::{Member, micros, micros_of, signed};
use crate::stats::Stats;

/// What the parts share beside the roster.
#[derive(Debug)]
pub struct Core {
    /// May be shared by all nodes in one process.
    pub config: Arc<Config>,
    pub me: u64,
    /// The tag of our present incarnation.
    pub tag: u64,
    pub rng: ChaCha8Rng,
    pub health: LocalHealth,
    /// Round trips over all our paths taken together.
    pub paths: RttEstimator,
    /// How many of our contacts, over all paths, stay unanswered anyway.
    pub loss: LossShare,
    /// How often a contact stays unanswered after another one did: our own next one, and that of a helper.
    pub loss_again: LossAfterLoss,
    pub loss_of_helper: LossAfterLoss,
    /// Whether most of our paths are dead.
    pub surroundings: Surroundings,
    /// Members that we reach and that those around us do not.
    pub joints: Joints,
    pub stats: Stats,
    /// When any other member last spoke to us.
    pub last_heard: Instant,
    /// Until then we are catching up after a stall and give no verdicts.
    pub recovering_until: Instant,
    /// The generation with which this process began; it may have been raised since.
    pub began_as: Generation,
    pub started: Instant,
    /// A member heard after this has certainly been alive since our last long sleep; `EPOCH`: no such sleep recently.
    pub heard_after: Instant,
    /// When an incarnation numbered by a wrong clock was replaced by another.
    pub reset_at: Option<Instant>,
    /// Wall clock minus our clock, in milliseconds.
    pub unix_offset_ms: i64,
    /// Set by command: nothing that we send is a sign of life. Holds the highest heartbeat as of which we were accused
    /// meanwhile.
    pub suspended: Option<Heartbeat>,
    /// Which slot it is, in step with all others, and when the next round is due.
    pub slot_clock: SlotClock,
    /// How many heartbeats we are ahead of our slots, from refuting accusations.
    pub heartbeat_bias: u64,
    /// When the driver last called, and when we had asked to be called.
    pub last_call: Instant,
    pub promised: Instant,
}

impl Core {
    /// `seed` feeds all randomness of the node. The identity is mixed in, so that two nodes with one seed do not
    /// act in step. `hash` is that of its name, `tag` that of its first incarnation.
    pub fn new(
        now: Instant,
        me: &Identity,
        config: Arc<Config>,
        seed: u64,
        (hash, tag): (u64, u64),
        interval_ms: u32,
    ) -> Self {
        let generation_ms = i64::try_from(me.generation).unwrap_or(i64::MAX);
        let unix_offset_ms = generation_ms.saturating_sub(clock_ms(now));
        Self {
            me: hash,
            tag,
            rng: ChaCha8Rng::from_seed(expand(seed, me, 0)),
            health: LocalHealth::new(now, config.local_health),
            paths: RttEstimator::new(),
            loss: LossShare::new(config.rtt.failure_rate),
            loss_again: LossAfterLoss::default(),
            loss_of_helper: LossAfterLoss::default(),
            surroundings: Surroundings::new(),
            joints: Joints::default(),
            stats: Stats::default(),
            last_heard: now,
            recovering_until: Instant::EPOCH,
            began_as: me.generation,
            started: now,
            heard_after: Instant::EPOCH,
            reset_at: None,
            unix_offset_ms,
            suspended: None,
            slot_clock: SlotClock::new(unix_offset_ms, interval_ms),
            heartbeat_bias: 0,
            last_call: now,
            promised: now,
            config,
        }
    }

    /// The wall clock as last told, in Unix milliseconds.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        clock_ms(now).saturating_add(self.unix_offset_ms).max(0).unsigned_abs()
    }

    /// Whether an incarnation may have begun at `generation`. Compared with our own clock, never with a stored value: a
    /// member that has been up for a year is not from the future.
    pub fn generation_is_plausible(&self, now: Instant, generation: Generation) -> bool {
        generation <= self.unix_ms(now).saturating_add(FARTHEST_START_MS)
    }

    /// The highest heartbeat that is plausible for a member.
    pub fn plausible_heartbeat(&self, now: Instant, roster: &Roster, hash: u64) -> Heartbeat {
        let incarnation = roster.get(hash).map(|member| &member.incarnation);
        let generation = incarnation.map_or(0, |incarnation| incarnation.generation);
        heartbeat_limit(self.unix_ms(now), generation, incarnation.map(|incarnation| &incarnation.schedule))
    }

    /// We were away for this long.
    pub fn note_absence(&mut self, now: Instant, away: Duration) {
        let (remembered, _) = self.config.tombstones;
        if away >= remembered {
            self.heard_after = now + self.config.interval * GONE_ROUND;
        }
    }

    /// Whether our knowledge of a member is newer than our last long sleep.
    pub fn vouches_for(&self, member: &Member) -> bool {
        self.heard_after == Instant::EPOCH
            || member.hash() == self.me
            || member.detector.last() > self.heard_after
    }

    /// The highest heartbeat that a member can have had at `at`. An accusation is based on it. So heartbeats still
    /// under way from before do not refute it, and the first one made after it does. A member that cannot hear us, and
    /// so cannot refute in an answer, refutes by its further heartbeats.
    ///
    /// All members beat once per slot ([`crate::core::slot_clock`]). So one arrival in the slot of its heartbeat (the
    /// first by broadcast, or any by a call) tells the slot of every heartbeat.
    pub fn heartbeat_by(&self, roster: &Roster, member: &Member, at: Instant) -> Heartbeat {
        member.heartbeat.max(self.beats_by(roster, member, at))
    }

    /// Whether the newest heartbeat that we know of a member was made after `at`.
    pub fn has_beaten_since(&self, roster: &Roster, member: &Member, at: Instant) -> bool {
        member.heartbeat > self.beats_by(roster, member, at)
    }

    /// How many heartbeats a member that never stood still has made by `at`.
    fn beats_by(&self, roster: &Roster, member: &Member, at: Instant) -> Heartbeat {
        let line = &member.incarnation.schedule;
        let interval = micros_of(line.interval_ms);
        let mut first_beat_at = member.first_beat_at();
        if roster.exceeds_one_exchange() {
            // If an exchange carries only a part of the roster, the quickest arrival so far may be many rounds old, and
            // a member that happens to know a newer heartbeat would take the dead for alive. So wall clocks are
            // believed here. For a member whose clock is behind, the basis is too high by that much, and it refutes by
            // going beyond it at once. An incarnation begins with a heartbeat, so its heartbeats are one ahead of its
            // schedule.
            let begun = signed(line.unix_ms_of(0)).saturating_sub(self.unix_offset_ms).saturating_mul(1000);
            first_beat_at = first_beat_at.min(begun.saturating_sub(interval));
        }
        if line.interval() == self.config.interval {
            first_beat_at = self.slot_clock.slot_of(first_beat_at);
        }
        let elapsed = micros(at).saturating_sub(first_beat_at).max(0);
        elapsed.unsigned_abs() / interval.unsigned_abs()
    }

    /// The heartbeat that is due by now on a schedule, if its owner's clock agrees with ours. An incarnation begins with
    /// a heartbeat, so its heartbeats are one ahead of its schedule.
    pub fn heartbeat_due(&self, now: Instant, schedule: &Schedule) -> Heartbeat {
        let elapsed_ms = self.unix_ms(now).saturating_sub(schedule.unix_ms_of(0));
        (elapsed_ms / u64::from(schedule.interval_ms.max(1))).saturating_add(1)
    }

    /// How long to wait for an answer from `member`.
    pub fn patience(&self, member: Option<&Member>) -> Duration {
        let known = member.map(|member| &member.path.rtt);
        known.filter(|rtt| rtt.smoothed().is_some()).unwrap_or(&self.paths).rto(&self.config.rtt)
    }
}

/// Rounds in which what other sleepers know of dead members has spread: several times what news needs.
const GONE_ROUND: u32 = 10;

/// This node's clock in milliseconds.
pub fn clock_ms(now: Instant) -> i64 {
    i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX)
}

/// What keys the nonces until the driver hands in real entropy.
pub fn first_secret(seed: u64, me: &Identity) -> [u8; SECRET_LENGTH] {
    expand(seed, me, 4)
}

/// Spreads a seed and an identity over the bytes that are needed, from this lane on.
fn expand<const N: usize>(seed: u64, me: &Identity, from: u64) -> [u8; N] {
    use core::hash::Hasher;
    let mut bytes = [0; N];
    for (lane, chunk) in (from..).zip(bytes.chunks_exact_mut(8)) {
        let mut hasher = SipHasher13::new_with_keys(seed, lane);
        hasher.write_u128(me.host_id.0);
        hasher.write_u64(me.generation);
        hasher.write(me.name.as_str().as_bytes());
        chunk.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    bytes
}
