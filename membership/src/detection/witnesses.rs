//! Draws the witnesses of each member: the few members that check an accusation against it.
//!
//! Rule: rendezvous hashing draws them (Thaler and Ravishankar, 1998), so all members with the same roster agree on the
//! witnesses of a member. When the member is accused, its witnesses probe it themselves. That bounds the probes that
//! one accusation can cause, and gives independent, named accusers. Where members have a zone, each witness comes from
//! a different one as far as there are zones, so that no single switch or proxy makes up a quorum of witnesses.
//!
//! Weak spot: members whose rosters differ (churn, news under way) draw differently. A newcomer displaces at most one
//! witness of five, so two draws that differ by one member share four. Testimony counts from any member, so a witness
//! too many does no harm, and the first accusers make up for one too few.

use core::cmp::Reverse;
use std::collections::BTreeMap;

use crate::config::Config;
use crate::identity::Heartbeat;
use crate::roster::Roster;
use crate::roster::fingerprint;
use crate::roster::member::Member;
use crate::roster::standing::{Evidence, Status};

/// The `count` members in good standing that are drawn for `subject`: first the strongest draw of each zone, then the
/// second of each, and so on. Members without a zone count as one zone, so without zones the order is that of the draw
/// alone.
pub fn of(roster: &Roster, subject: u64, count: usize) -> Vec<u64> {
    if !roster.is_zoned() {
        return strongest(roster, subject, count, |_| true);
    }
    // The strongest of each zone, at most `count` of any.
    let mut by_zone: BTreeMap<&[u8], Vec<(u64, u64)>> = BTreeMap::new();
    for (hash, member) in roster.entries() {
        if member.status != Status::Alive || hash == subject {
            continue;
        }
        let pull = (fingerprint::of_pair(subject, hash), hash);
        draw(by_zone.entry(zone(member)).or_default(), pull, count);
    }
    let mut order: Vec<(usize, Reverse<(u64, u64)>)> = by_zone
        .values()
        .flat_map(|drawn| drawn.iter().enumerate().map(|(place, pull)| (place, Reverse(*pull))))
        .collect();
    order.sort_unstable();
    order.into_iter().take(count).map(|(_, Reverse((_, hash)))| hash).collect()
}

/// The same for a cluster without zones. In a cut, a thousand members ask this about hundreds of others twice a second,
/// so no record is read.
fn strongest(roster: &Roster, subject: u64, count: usize, fit: impl Fn(u64) -> bool) -> Vec<u64> {
    let mut drawn: Vec<(u64, u64)> = Vec::with_capacity(count + 1);
    for hash in roster.alive().filter(|hash| *hash != subject && fit(*hash)) {
        draw(&mut drawn, (fingerprint::of_pair(subject, hash), hash), count);
    }
    drawn.into_iter().map(|(_, hash)| hash).collect()
}

/// The witnesses of a member that may be deaf: the strongest draws, those left out that have lost quorum. They may be deaf
/// too.
pub fn that_hear(roster: &Roster, subject: u64, count: usize) -> Vec<u64> {
    strongest(roster, subject, count, |hash| roster.get(hash).is_some_and(|m| !m.says_lost()))
}

/// Adds one draw to the list of the `count` strongest, strongest first.
fn draw(drawn: &mut Vec<(u64, u64)>, pull: (u64, u64), count: usize) {
    let place = drawn.partition_point(|other| *other > pull);
    if place < count {
        drawn.insert(place, pull);
        drawn.truncate(count);
    }
}

/// Whether `observer`, in good standing, is one of the `count` drawn for `subject`. Stops looking as soon as enough
/// others of its own zone are drawn more strongly.
pub fn is_one(roster: &Roster, subject: u64, count: usize, observer: u64) -> bool {
    let fit = |m: &&Member| m.status == Status::Alive && m.hash() != subject;
    let Some(zone_of_observer) = roster.get(observer).filter(fit).map(zone) else { return false };
    let pull = (fingerprint::of_pair(subject, observer), observer);
    let others = roster.alive().filter(|hash| *hash != subject);
    let stronger = others.filter(|hash| (fingerprint::of_pair(subject, *hash), *hash) > pull);
    if !roster.is_zoned() {
        return stronger.take(count).count() < count;
    }
    let of_zone = |hash: &u64| roster.get(*hash).is_some_and(|m| zone(m) == zone_of_observer);
    stronger.filter(of_zone).take(count).count() < count && of(roster, subject, count).contains(&observer)
}

fn zone(member: &Member) -> &[u8] {
    member.zone().unwrap_or_default()
}

/// How many members in good standing could testify about `subject`, ourselves included.
fn able(roster: &Roster, subject: u64) -> usize {
    let itself = roster.get(subject).is_some_and(|m| m.status == Status::Alive);
    usize::try_from(roster.census().alive).unwrap_or(usize::MAX) - usize::from(itself)
}

/// How many witnesses make a quorum.
pub fn needed(roster: &Roster, subject: u64, witnesses: usize) -> usize {
    able(roster, subject).min(witnesses) / 2 + 1
}

/// The accusations against one member, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Testimony {
    /// Accusers that do not doubt themselves and whose evidence is a proven silence or a refusal.
    pub proven: usize,
    /// Accusers that do not doubt themselves and were refused by the host's kernel.
    pub refused: usize,
    /// Accusers that do not doubt themselves and find the member unfit although it runs.
    pub unfit: usize,
    /// Accusers that do not doubt themselves and get no answer, however briefly: those of `proven` among them.
    pub silent: usize,
    /// Accusers to whom a trusted source outside the cluster has said that the member is gone.
    pub told: usize,
    /// Members in good standing that could testify, ourselves included.
    pub able: usize,
    /// How many must testify, of at most [`crate::Config::witnesses`] that are asked.
    pub needed: usize,
    /// The heartbeat as of which a verdict would be given: the highest that enough of the accusers reach. Any heartbeat
    /// above it leaves too few accusers.
    pub basis: Option<Heartbeat>,
    /// The same for a verdict that rests on what a source says.
    pub told_basis: Option<Heartbeat>,
}

impl Testimony {
    /// Counts the accusations by members that are themselves in good standing.
    pub fn against(subject: &Member, roster: &Roster, config: &Config) -> Self {
        let needed = needed(roster, subject.hash(), config.witnesses);
        let mut testimony = Self { able: able(roster, subject.hash()), needed, ..Self::default() };
        let (mut proven, mut refused, mut silent) = (Vec::new(), Vec::new(), Vec::new());
        let mut told = Vec::new();
        for accusation in &subject.marks().accusations {
            let credible = !accusation.weak
                && accusation.basis >= subject.heartbeat
                && roster.get(accusation.by).is_some_and(|by| by.status == Status::Alive);
            if !credible {
                continue;
            }
            if accusation.is_told_by(&config.sources) {
                told.push(accusation.basis);
            }
            if accusation.kind >= Evidence::Silent {
                silent.push(accusation.basis);
            }
            match accusation.kind {
                Evidence::Refused => {
                    proven.push(accusation.basis);
                    refused.push(accusation.basis);
                }
                Evidence::Proven => proven.push(accusation.basis),
                Evidence::Unfit => testimony.unfit += 1,
                Evidence::Silent | Evidence::Told | Evidence::Degraded => {}
            }
        }
        (testimony.proven, testimony.refused) = (proven.len(), refused.len());
        (testimony.silent, testimony.told) = (silent.len(), told.len());
        testimony.basis = reached_by(proven, needed).max(reached_by(refused, needed.min(REFUSED)));
        // `None` is less than any heartbeat.
        testimony.told_basis = reached_by(silent, needed).min(reached_by(told, 1));
        testimony
    }
}

/// The highest basis that `count` of them reach.
fn reached_by(mut bases: Vec<Heartbeat>, count: usize) -> Option<Heartbeat> {
    bases.sort_unstable_by(|a, b| b.cmp(a));
    bases.get(count.checked_sub(1)?).copied()
}

/// Refusals that make a verdict: that of one kernel, and a second one.
pub const REFUSED: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heartsay_proto::Cluster;

    use super::*;
    use crate::Instant;
    use crate::config::Profile;
    use crate::roster::member::ZONE;
    use crate::roster::standing::{Accusation, Marks, Standing};
    use crate::roster::state::State;
    use crate::testing::{claim, incarnation, value};

    /// Members `n0`, `n1`, …, in zones by turns.
    fn members(count: usize, zones: &[&str]) -> (Roster, Vec<u64>) {
        let config = Config::new(Cluster::new("draw").unwrap(), Profile::Lan);
        let zone = |i: usize| {
            let zone = zones.get(i % zones.len().max(1))?;
            Some(value(ZONE, zone.as_bytes()))
        };
        // The owner of the roster has left, so that it is never drawn.
        let me = Standing { marks: Marks { left: true, ..Marks::default() }, ..Standing::default() };
        let me = Member::new(Instant::EPOCH, Arc::new(incarnation(count)), me, State::default(), &config);
        let mut roster = Roster::new(me, &config);
        let mut hashes = Vec::new();
        for i in 0..count {
            let incarnation = incarnation(i);
            hashes.push(incarnation.hash);
            roster.apply(Instant::EPOCH, claim(incarnation, zone(i)), &config).unwrap();
        }
        (roster, hashes)
    }

    #[test]
    fn a_zone_that_is_set_later_counts_from_then_on() {
        let (mut roster, hashes) = members(70, &[]);
        assert!(!roster.is_zoned());
        let config = Config::new(Cluster::new("draw").unwrap(), Profile::Lan);
        for (i, hash) in hashes.iter().enumerate() {
            let mut member = roster.get_mut(*hash).unwrap();
            let zone = vec![b'a' + u8::try_from(i % 7).unwrap()];
            member.state.set(&[(ZONE.to_owned(), Some(zone))], config.capacity()).unwrap();
            member.restamp();
        }
        let drawn = of(&roster, hashes[0], 5);
        let mut seen: Vec<&[u8]> = drawn.iter().map(|h| zone(roster.get(*h).unwrap())).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn witnesses_come_from_as_many_zones_as_there_are() {
        for zones in [&["a", "b", "c"][..], &["a", "b", "c", "d", "e", "f", "g"]] {
            let (roster, hashes) = members(70, zones);
            for subject in hashes {
                let drawn = of(&roster, subject, 5);
                assert_eq!(drawn.len(), 5);
                let mut seen: Vec<&[u8]> = drawn.iter().map(|h| zone(roster.get(*h).unwrap())).collect();
                seen.sort_unstable();
                seen.dedup();
                assert_eq!(seen.len(), zones.len().min(5));
            }
        }
    }

    #[test]
    fn all_members_agree_on_the_witnesses_and_without_zones_the_hash_alone_draws_them() {
        for zones in [&[][..], &["a", "b", "c"]] {
            let (roster, hashes) = members(40, zones);
            for subject in &hashes {
                let drawn = of(&roster, *subject, 5);
                for observer in &hashes {
                    let one = *observer != *subject && is_one(&roster, *subject, 5, *observer);
                    assert_eq!(one, drawn.contains(observer));
                }
                if zones.is_empty() {
                    let mut strongest: Vec<u64> = hashes.iter().copied().filter(|h| h != subject).collect();
                    strongest.sort_unstable_by_key(|h| Reverse(fingerprint::of_pair(*subject, *h)));
                    assert_eq!(drawn, strongest[..5]);
                }
            }
        }
    }

    #[test]
    fn in_a_small_cluster_all_members_are_witnesses_and_a_majority_decides() {
        for (count, quorum) in [(2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (50, 3)] {
            let (roster, hashes) = members(count, &["a", "b"]);
            assert_eq!(of(&roster, hashes[0], 5).len(), (count - 1).min(5));
            assert_eq!(needed(&roster, hashes[0], 5), quorum, "of {count}");
        }
    }

    #[test]
    fn a_verdict_is_as_of_the_heartbeat_that_enough_accusers_reach() {
        let (mut roster, hashes) = members(40, &[]);
        let config = Config::new(Cluster::new("draw").unwrap(), Profile::Lan);
        let accusation = |by: usize, basis, kind| Accusation {
            by: hashes[by],
            basis,
            kind,
            weak: by == 9,
            began: Instant::EPOCH,
            source: None,
        };
        let accusations = vec![
            accusation(1, 31, Evidence::Proven),
            accusation(2, 30, Evidence::Proven),
            accusation(3, 35, Evidence::Proven),
            accusation(4, 40, Evidence::Silent),
            accusation(9, 40, Evidence::Proven),
        ];
        roster.get_mut(hashes[0]).unwrap().mark(&Marks { accusations, ..Marks::default() });
        let testimony = Testimony::against(roster.get(hashes[0]).unwrap(), &roster, &config);
        assert_eq!((testimony.proven, testimony.needed), (3, 3));
        assert_eq!(testimony.basis, Some(30), "a heartbeat of 31 leaves two, which are too few");
        let refused = vec![accusation(5, 33, Evidence::Refused), accusation(6, 32, Evidence::Refused)];
        roster.get_mut(hashes[0]).unwrap().mark(&Marks { accusations: refused, ..Marks::default() });
        let testimony = Testimony::against(roster.get(hashes[0]).unwrap(), &roster, &config);
        assert_eq!((testimony.proven, testimony.refused), (5, 2));
        assert_eq!(testimony.basis, Some(32), "the kernel's word, twice");
    }

    #[test]
    fn the_accused_and_the_dead_are_no_witnesses_and_the_next_in_the_draw_replaces_them() {
        let (mut roster, hashes) = members(40, &["a", "b", "c"]);
        let drawn = of(&roster, hashes[0], 5);
        roster.get_mut(drawn[1]).unwrap().status = Status::Suspect;
        let again = of(&roster, hashes[0], 5);
        assert_eq!(again.len(), 5);
        assert!(!again.contains(&drawn[1]));
        assert_eq!(drawn.iter().filter(|h| again.contains(h)).count(), 4, "the others stay");
    }
}
