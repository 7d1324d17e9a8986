//! What every part may read: the settings, who we are, the clocks, the randomness, and how well we ourselves do.

pub mod own_heartbeat;
pub mod slot_clock;

use core::time::Duration;
use std::sync::Arc;

use heartsay_detector::{LocalHealth, RttEstimator};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use siphasher::sip::SipHasher13;

use crate::Instant;
use crate::config::Config;
use crate::core::slot_clock::SlotClock;
use crate::identity::{Generation, Heartbeat, Identity};
use crate::roster::Roster;
use crate::roster::claim::{FARTHEST_START_MS, heartbeat_limit};
use crate::roster::member::{Member, micros, micros_of, signed};
use crate::stats::Stats;

/// What every part may read.
#[derive(Debug)]
pub struct Core {
    /// Of all nodes in one process the same, if they like.
    pub config: Arc<Config>,
    pub me: u64,
    /// That of our present life.
    pub tag: u64,
    pub rng: ChaCha8Rng,
    pub health: LocalHealth,
    /// All our paths taken together: round trips and how often nothing comes back.
    pub paths: RttEstimator,
    pub stats: Stats,
    /// When anybody else last spoke to us.
    pub last_heard: Instant,
    /// Until then we are catching up after a stall, and judge nobody.
    pub recovering_until: Instant,
    /// The generation with which this process began; it may have begun anew since.
    pub began_as: Generation,
    pub started: Instant,
    /// Who was heard after this is known to have lived since our last long sleep; `EPOCH`: there was none of late.
    pub heard_after: Instant,
    /// When a life numbered by a wrong clock was given up for another one.
    pub reset_at: Option<Instant>,
    /// Wall clock minus our clock, in milliseconds.
    pub unix_offset_ms: i64,
    /// By command, nothing that we send is a sign of life. The heartbeat as of
    /// which we were accused meanwhile.
    pub suspended: Option<Heartbeat>,
    /// Our step among all others, and when the next round is due.
    pub slot_clock: SlotClock,
    /// By how many heartbeats we are ahead of our slots, having gone beyond accusations.
    pub heartbeat_bias: u64,
    /// When the driver last called, and when we had asked to be called.
    pub last_call: Instant,
    pub promised: Instant,
}

impl Core {
    /// `seed` feeds all randomness of the node; the identity is mixed in, so that two nodes with one seed do not act in
    /// step, nor use one nonce twice. `hash` and `tag` are those of its name and of its first life.
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
            rng: ChaCha8Rng::from_seed(expand(seed, me)),
            health: LocalHealth::new(now, config.local_health),
            paths: RttEstimator::new(&config.rtt),
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

    /// Whether a life may have begun then. Guarded against our own clock, never against what was stored: a member that has
    /// been up for a year is not from the future.
    pub fn generation_is_plausible(&self, now: Instant, generation: Generation) -> bool {
        generation <= self.unix_ms(now).saturating_add(FARTHEST_START_MS)
    }

    /// The highest heartbeat that may be believed of a member.
    pub fn plausible_heartbeat(&self, now: Instant, roster: &Roster, hash: u64) -> Heartbeat {
        let generation = roster.get(hash).map_or(0, |m| m.incarnation.generation);
        heartbeat_limit(self.unix_ms(now), generation)
    }

    /// We were away for so long.
    pub fn note_absence(&mut self, now: Instant, away: Duration) {
        let (remembered, _) = self.config.tombstones;
        if away >= remembered {
            self.heard_after = now + self.config.interval * GONE_ROUND;
        }
    }

    /// Whether what we know of a member is no older than our last long sleep.
    pub fn vouches_for(&self, member: &Member) -> bool {
        self.heard_after == Instant::EPOCH
            || member.hash() == self.me
            || member.detector.last() > self.heard_after
    }

    /// The highest heartbeat that a member can have had at `at`. An accusation is based on this, so that
    /// heartbeats still under way from before do not refute it, and the first one made after it does: whoever
    /// cannot hear us, and so cannot refute in answer, refutes by beating on.
    ///
    /// All beat once in a slot ([`crate::core::slot_clock`]), so whatever arrived in the slot in which it was made, the first by burst
    /// or any by a call, tells in which slot each was made.
    pub fn heartbeat_by(&self, roster: &Roster, member: &Member, at: Instant) -> Heartbeat {
        let line = &member.incarnation.schedule;
        let interval = micros_of(line.interval_ms);
        let mut first_beat_at = member.first_beat_at();
        if roster.exceeds_one_exchange() {
            // Where exchanges carry a part of the roster at a time, the quickest arrival so far may be many rounds
            // old, and whoever happens to know a newer heartbeat would hold the dead for alive. So wall clocks are
            // believed: of a member whose clock is behind, the basis is so much too high, and it refutes by going
            // beyond it at once. A life begins with a beat, so its beats are one ahead of its line.
            let begun = signed(line.unix_ms_of(0)).saturating_sub(self.unix_offset_ms).saturating_mul(1000);
            first_beat_at = first_beat_at.min(begun.saturating_sub(interval));
        }
        if line.interval() == self.config.interval {
            first_beat_at = self.slot_clock.slot_of(first_beat_at);
        }
        let elapsed = micros(at).saturating_sub(first_beat_at).max(0);
        member.heartbeat.max(elapsed.unsigned_abs() / interval.unsigned_abs())
    }
    /// How long to wait for an answer from `member`.
    pub fn patience(&self, member: Option<&Member>) -> Duration {
        let known = member.map(|member| &member.path.rtt);
        known.filter(|rtt| rtt.smoothed().is_some()).unwrap_or(&self.paths).rto(&self.config.rtt)
    }
}

/// Rounds in which what other sleepers know of the dead has gone round: several times what news needs.
const GONE_ROUND: u32 = 10;

/// Our own clock in milliseconds.
pub fn clock_ms(now: Instant) -> i64 {
    i64::try_from(now.as_micros() / 1000).unwrap_or(i64::MAX)
}

/// Spreads a seed and an identity over the 256 bits that the generator wants.
fn expand(seed: u64, me: &Identity) -> [u8; 32] {
    use core::hash::Hasher;
    let mut bytes = [0; 32];
    for (lane, chunk) in (0_u64..).zip(bytes.chunks_exact_mut(8)) {
        let mut hasher = SipHasher13::new_with_keys(seed, lane);
        hasher.write_u128(me.host_id.0);
        hasher.write_u64(me.generation);
        hasher.write(me.name.as_str().as_bytes());
        chunk.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    bytes
}
