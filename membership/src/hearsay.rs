//! Hearsay: the heartbeats that somebody tells of a page of members on whom both sides agree.
//!
//! Picture: a roll that is read out. Whoever listens follows with a finger on its own list and looks up only where a
//! higher number is read than stands there.
//!
//! Twice a second each member listens to the heartbeats of all others, so this is where an agent, and a simulator of
//! thousands of them, spends its time.

use core::ops::Range;
use std::collections::BTreeMap;

use heartsay_detector::DetectorConfig;
use heartsay_proto::ages::{self, Age};
use heartsay_proto::gossip;

use crate::Instant;
use crate::claims::{SHORTEST_INTERVAL_MS, heartbeat_limit};
use crate::drawer::Drawer;
use crate::identity::Heartbeat;
use crate::io::Rejected;
use crate::member::Member;
use crate::node::Node;
use crate::probe::Probe;
use crate::pulse::{Pulse, Rhythm};

/// What is the same for all members of a page.
struct Hearsay<'a> {
    now: Instant,
    unix_ms: u64,
    /// When the other side spoke, on its own line; see [`crate::pulse::nominal`].
    nominal: i64,
    config: &'a DetectorConfig,
    /// When the acceptable pause of those is over who are heard now.
    pause_over: Option<Instant>,
    probes: &'a BTreeMap<u64, Probe>,
}

impl Node {
    /// Takes the heartbeats of a page, told at `nominal`.
    pub(crate) fn take_ages(
        &mut self,
        now: Instant,
        nominal: i64,
        page: &gossip::Page,
    ) -> Result<(), Rejected> {
        let (mut ages, mut newer) = (core::mem::take(&mut self.ages), core::mem::take(&mut self.newer));
        let decoded = ages::decode(&page.ages, self.roster.page_len(page.bits, page.prefix), &mut ages);
        // Those whose heartbeat may change what is thought of them.
        let mut spoke = Vec::new();
        if decoded.is_ok() {
            let config = &self.config.detector;
            let (unix_ms, pause_over) = (self.unix_ms(now), config.pause_over(now));
            let hearsay = Hearsay { now, unix_ms, nominal, config, pause_over, probes: &self.probes };
            let (own, mut rest) = (self.roster.place(self.me), ages.as_mut_slice());
            for (number, drawer, range) in self.roster.parts_mut(page.bits, page.prefix) {
                let (here, beyond) = rest.split_at_mut_checked(range.len()).unwrap_or_default();
                rest = beyond;
                // Nobody else tells us how often we have beaten.
                let own = own.filter(|own| own.0 == number).and_then(|own| own.1.checked_sub(range.start));
                if let Some(own) = own.and_then(|own| here.get_mut(own)) {
                    *own = Age::LEFT_OUT;
                }
                hearsay.take(drawer, range, here, &mut newer, &mut spoke);
            }
        }
        (self.ages, self.newer) = (ages, newer);
        for (hash, heartbeat) in spoke {
            if let Some(mut member) = self.roster.get_mut(hash) {
                member.advance(now, heartbeat, &self.config.detector);
            }
            self.after_heartbeat(now, hash);
        }
        Ok(decoded?)
    }
}

/// A heartbeat that is news.
#[derive(Clone, Copy, Debug, Default)]
pub struct Newer {
    /// Whose, by the place in the range.
    at: usize,
    /// By how many milliseconds it goes [`beyond`](Pulse::beyond) what we know.
    beyond: i64,
}

impl Hearsay<'_> {
    /// Takes the heartbeats of a range of a drawer. Those of members that may have something to refute come out in
    /// `spoke` and are not taken.
    fn take(
        &self,
        drawer: &mut Drawer,
        range: Range<usize>,
        ages: &[Age],
        newer: &mut Vec<Newer>,
        spoke: &mut Vec<(u64, Heartbeat)>,
    ) {
        let pulses = drawer.pulses.get_mut(range.clone()).unwrap_or_default();
        let members = drawer.members.get_mut(range.clone()).unwrap_or_default();
        let mut rhythm = Rhythm::UNKNOWN;
        for &Newer { at, beyond } in find_newer(self.nominal, ages, pulses, members, newer) {
            let (Some(pulse), Some(member)) = (pulses.get_mut(at), members.get_mut(at)) else { break };
            let told = ages.get(at).and_then(|age| age.rounds());
            let Some((steps, _)) = pulse.steps(beyond, &mut rhythm).zip(told) else { continue };
            // What can have been beaten since it was last heard needs no look at its life.
            let silence = self.now.micros_since(member.detector.last());
            let heartbeat = member.heartbeat.saturating_add(steps);
            if steps.saturating_mul(SHORTEST_INTERVAL_MS * 1000) > silence
                && heartbeat > heartbeat_limit(self.unix_ms, member.life.generation)
            {
                continue;
            }
            let hash = || drawer.riders.get(range.start + at).map_or(0, |rider| rider.hash);
            if !pulse.is_unmarked() || (!self.probes.is_empty() && self.probes.contains_key(&hash())) {
                spoke.push((hash(), heartbeat));
            } else {
                member.beat(self.now, steps, pulse.interval_ms(), self.config);
                pulse.advance(steps);
                pulse.calm(member.detector.calm_until(self.pause_over));
            }
        }
    }
}

/// Finds those of whom a newer heartbeat is told than we know.
///
/// Two things keep a processor waiting, and each is kept out of the way of the other. Whether it is news is as good as
/// a coin, which nobody guesses: all are written down, and the next one over those that are no news. And what we know of
/// a member has to be fetched from far: the fetching is done for all before anything is done with it, so that they
/// come together (`heartsay-sim bench --nodes 1000`: five percent less of all its time).
// By itself, so that what it counts with is kept in registers.
#[inline(never)]
fn find_newer<'a>(
    nominal: i64,
    ages: &[Age],
    pulses: &[Pulse],
    members: &[Member],
    newer: &'a mut Vec<Newer>,
) -> &'a [Newer] {
    if newer.len() < ages.len() {
        newer.resize(ages.len(), Newer::default());
    }
    let mut count = 0;
    for (at, (age, pulse)) in ages.iter().zip(pulses).enumerate() {
        let Some(place) = newer.get_mut(count) else { break };
        // Of one that is left out this is some number, and is not looked at.
        (place.at, place.beyond) = (at, pulse.beyond(nominal, *age));
        count += usize::from(place.beyond >= 0);
    }
    let newer = newer.get_mut(..count).unwrap_or_default();
    for member in newer.iter().filter_map(|news| members.get(news.at)) {
        // Both ends of its band, as it may lie in two lines.
        core::hint::black_box((member.heartbeat, member.zero()));
    }
    newer
}
