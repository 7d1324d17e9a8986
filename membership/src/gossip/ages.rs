//! Merges the heartbeats that a peer reports for a page of members on which both sides agree.
//!
//! Picture: a list of numbers is read out. The listener follows with a finger on its own list and stops only where the
//! number read is higher than its own.
//!
//! Each member hears the heartbeats of all others twice a second, so an agent, and a simulator of thousands of agents,
//! spends most of its time here.

use core::ops::Range;

use heartsay_detector::DetectorConfig;
use heartsay_proto::ages::{self, Age};
use heartsay_proto::gossip;

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::identity::Heartbeat;
use crate::io::Rejected;
use crate::roster::claim::{SHORTEST_INTERVAL_MS, heartbeat_limit};
use crate::roster::heartbeat_track::{HeartbeatTrack, IntervalDivider};
use crate::roster::incarnation::Incarnation;
use crate::roster::member::Member;
use crate::roster::shard::Shard;
use crate::transport::context::Context;

/// Whether we probe a member, so that a newer heartbeat of it is news.
pub type IsProbed<'a> = dyn Fn(u64) -> bool + 'a;

/// What is the same for all members of a page.
struct AgeMerge<'a> {
    now: Instant,
    unix_ms: u64,
    /// When the other side spoke, on its own clock; see [`crate::roster::heartbeat_track::nominal`].
    nominal: i64,
    config: &'a DetectorConfig,
    /// When the acceptable pause of a member heard now will be over.
    pause_over: Option<Instant>,
    is_probed: Option<&'a IsProbed<'a>>,
}

impl Gossip {
    /// Takes the heartbeats of a page, reported at `nominal`.
    pub fn take_ages(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        nominal: i64,
        page: &gossip::Page,
        is_probed: Option<&IsProbed<'_>>,
    ) -> Result<(), Rejected> {
        let (mut ages, mut newer) = (core::mem::take(&mut self.ages), core::mem::take(&mut self.candidates));
        let decoded = ages::decode(&page.ages, ctx.roster.page_len(page.bits, page.prefix), &mut ages);
        // Members whose new heartbeat may change their status.
        let mut spoke = Vec::new();
        if decoded.is_ok() {
            let config = &ctx.core.config.detector;
            let (unix_ms, pause_over) = (ctx.core.unix_ms(now), config.pause_over(now));
            let age_merge = AgeMerge { now, unix_ms, nominal, config, pause_over, is_probed };
            let (own, mut rest) = (ctx.roster.place(ctx.core.me), ages.as_mut_slice());
            for (number, shard, range) in ctx.roster.parts_mut(page.bits, page.prefix) {
                let (here, beyond) = rest.split_at_mut_checked(range.len()).unwrap_or_default();
                rest = beyond;
                // Our own heartbeat is never taken from others.
                let own = own.filter(|own| own.0 == number).and_then(|own| own.1.checked_sub(range.start));
                if let Some(own) = own.and_then(|own| here.get_mut(own)) {
                    *own = Age::LEFT_OUT;
                }
                age_merge.take(shard, range, here, &mut newer, &mut spoke);
            }
        }
        (self.ages, self.candidates) = (ages, newer);
        for (hash, heartbeat) in spoke {
            if let Some(mut member) = ctx.roster.get_mut(hash) {
                member.advance(now, heartbeat, &ctx.core.config.detector);
            }
            ctx.effect(Effect::Heartbeat(hash));
        }
        Ok(decoded?)
    }
}

/// A heartbeat newer than the one we know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidate {
    /// Whose it is: the place in the range.
    at: usize,
    /// How many milliseconds it lies [`beyond`](HeartbeatTrack::beyond) what we know.
    beyond: i64,
}

impl AgeMerge<'_> {
    fn limit(&self, incarnation: &Incarnation) -> Heartbeat {
        heartbeat_limit(self.unix_ms, incarnation.generation, Some(&incarnation.schedule))
    }

    /// Takes the heartbeats of a range of a shard. Members whose heartbeat may refute something are returned in `spoke`
    /// instead of being taken.
    fn take(
        &self,
        shard: &mut Shard,
        range: Range<usize>,
        ages: &[Age],
        newer: &mut Vec<Candidate>,
        spoke: &mut Vec<(u64, Heartbeat)>,
    ) {
        let tracks = shard.tracks.get_mut(range.clone()).unwrap_or_default();
        let members = shard.members.get_mut(range.clone()).unwrap_or_default();
        let mut divider = IntervalDivider::UNKNOWN;
        for &Candidate { at, beyond } in find_newer(self.nominal, ages, tracks, members, newer) {
            let (Some(track), Some(member)) = (tracks.get_mut(at), members.get_mut(at)) else { break };
            let told = ages.get(at).and_then(|age| age.rounds());
            let Some((steps, _)) = track.steps(beyond, &mut divider).zip(told) else { continue };
            // A step that fits into the silence since the last heartbeat is plausible without a look at the
            // incarnation.
            let silence = self.now.micros_since(member.detector.last());
            let heartbeat = member.heartbeat.saturating_add(steps);
            if steps.saturating_mul(SHORTEST_INTERVAL_MS * 1000) > silence
                && heartbeat > self.limit(&member.incarnation)
            {
                continue;
            }
            let hash = || shard.index.get(range.start + at).map_or(0, |entry| entry.hash);
            if !track.is_unmarked() || self.is_probed.is_some_and(|is_probed| is_probed(hash())) {
                spoke.push((hash(), heartbeat));
            } else {
                member.beat(self.now, steps, track.interval_ms(), self.config);
                track.advance(steps);
                track.set_next_check(member.detector.calm_until(self.pause_over));
            }
        }
    }
}

/// Finds the members whose reported heartbeat is newer than the one we know.
///
/// The code avoids two stalls of the processor. Whether a heartbeat is news is unpredictable, so there is no branch:
/// each place is written down, and the next one overwrites it if it was no news. And the record of a member is a cache
/// miss, so all records are touched before any of them is used, and the misses overlap (`heartsay-sim bench --nodes
/// 1000`: five percent less of all its time).
// A function of its own, so that its counters stay in registers.
#[inline(never)]
fn find_newer<'a>(
    nominal: i64,
    ages: &[Age],
    tracks: &[HeartbeatTrack],
    members: &[Member],
    newer: &'a mut Vec<Candidate>,
) -> &'a [Candidate] {
    if newer.len() < ages.len() {
        newer.resize(ages.len(), Candidate::default());
    }
    let mut count = 0;
    for (at, (age, track)) in ages.iter().zip(tracks).enumerate() {
        let Some(place) = newer.get_mut(count) else { break };
        // For an age that was left out the value is meaningless, and is not looked at.
        (place.at, place.beyond) = (at, track.beyond(nominal, *age));
        count += usize::from(place.beyond >= 0);
    }
    let newer = newer.get_mut(..count).unwrap_or_default();
    for member in newer.iter().filter_map(|news| members.get(news.at)) {
        // Touch both ends of the record, as it may lie in two cache lines.
        core::hint::black_box((member.heartbeat, member.first_beat_at()));
    }
    newer
}
