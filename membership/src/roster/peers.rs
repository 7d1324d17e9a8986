//! Chooses the peer to call next, by a round-robin tournament schedule.
//!
//! Rule: in slot `s` each member calls the one that stands `shift(s)` places further on in the roster. Members with the
//! same roster and the same slot use the same shift, so each member is called exactly once per slot. The shifts of one
//! epoch (`n - 1` slots) are a permutation of `1..n`, so each member calls each other one once per epoch, whatever the
//! others do.
//!
//! Bound: with `n` members we contact a given peer again after at most `2 (n - 1)` slots, and after exactly `n - 1`
//! while the roster does not change.
//!
//! All members agree on the slot, and each is called at its own phase of it (slot_clock.rs). So a member is called once
//! per interval, and its silence is noticed within one.
//!
//! Weak spot: where rosters differ, or members are out of step, the calls of a slot are only as even as random ones.
//! The bound per caller stays.

use core::time::Duration;

use rand::{Rng, RngExt};

use crate::Instant;
use crate::roster::Roster;
use crate::roster::member::Member;
use crate::roster::standing::Status;

/// The rank `shift(slot)` places after ours, among `n` members; `None` if we are alone.
pub fn rank_for(slot: u64, mine: usize, n: usize) -> Option<usize> {
    let others = u64::try_from(n).ok()?.checked_sub(1).filter(|others| *others > 0)?;
    let step = coprime_near_golden(others);
    // Widened, so that no slot number overflows.
    let turn = (u128::from(slot) * u128::from(step)) % u128::from(others);
    let shift = usize::try_from(turn).ok()? + 1;
    Some((mine + shift) % n)
}

/// The peer for this slot: the member at its rank, or the next one after it that satisfies `fit`.
pub fn for_slot(roster: &Roster, me: u64, slot: u64, fit: impl Fn(&Member) -> bool) -> Option<&Member> {
    let n = roster.len();
    let first = rank_for(slot, roster.rank(me)?, n)?;
    (0..n).filter_map(|i| roster.at((first + i) % n)).find(|m| fit(m) && m.hash() != me)
}

/// Whether the member is another one than `me`, and present.
pub fn is_other(member: &Member, me: u64) -> bool {
    member.is_present() && member.hash() != me
}

/// Up to `count` different members that satisfy `fit`, chosen uniformly at random.
pub fn sample<'a>(
    roster: &'a Roster,
    rng: &mut impl Rng,
    count: usize,
    fit: impl Fn(&Member) -> bool,
) -> Vec<&'a Member> {
    let n = roster.len();
    let mut chosen: Vec<&Member> = Vec::with_capacity(count);
    // Random draws are faster than a scan while most members fit; the scan covers the rest.
    for _ in 0..count.saturating_mul(4) {
        if chosen.len() == count || n == 0 {
            return chosen;
        }
        if let Some(member) = roster.at(rng.random_range(0..n))
            && fit(member)
            && !chosen.iter().any(|c| c.hash() == member.hash())
        {
            chosen.push(member);
        }
    }
    let mut rest: Vec<&Member> =
        roster.iter().filter(|m| fit(m) && !chosen.iter().any(|c| c.hash() == m.hash())).collect();
    while chosen.len() < count && !rest.is_empty() {
        chosen.push(rest.swap_remove(rng.random_range(0..rest.len())));
    }
    chosen
}

/// The present members that have sent us something within `time`.
pub fn heard_within(roster: &Roster, me: u64, now: Instant, time: Duration) -> Vec<&Member> {
    roster.iter().filter(|m| is_other(m, me) && now.since(m.path.last_direct()) < time).collect()
}

/// A down member to call in this round, if any. All members together call each down member about twice a round, so that
/// the halves of a cut meet again at once and a dead host draws no crowd.
pub fn knock<'a>(roster: &'a Roster, rng: &mut impl Rng) -> Option<&'a Member> {
    let census = roster.census();
    let (down, present) = (census.down, census.alive + census.suspect);
    if down == 0 || !rng.random_bool((2.0 * f64::from(down) / f64::from(present.max(1))).min(1.0)) {
        return None;
    }
    sample(roster, rng, 1, |m| m.status == Status::Down).pop()
}

/// The number nearest to the golden section of `n` that shares no divisor with
/// it: multiples of it visit all residues, in an order that mixes well.
fn coprime_near_golden(n: u64) -> u64 {
    let golden = n / 8 * 5 + (n % 8) * 5 / 8;
    (0..n)
        .flat_map(|d| [golden.checked_sub(d), golden.checked_add(d)])
        .flatten()
        .find(|s| *s > 0 && gcd(*s, n) == 1)
        .unwrap_or(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_member_is_called_exactly_once_in_each_slot() {
        for n in [2, 3, 5, 32, 129] {
            for slot in 0..300 {
                let called: BTreeSet<_> = (0..n).map(|mine| rank_for(slot, mine, n).unwrap()).collect();
                assert_eq!(called.len(), n);
                assert!((0..n).all(|mine| rank_for(slot, mine, n) != Some(mine)));
            }
        }
    }

    #[test]
    fn each_member_calls_each_other_once_per_epoch() {
        for n in [2_usize, 3, 7, 32, 100, 1000] {
            let epoch = u64::try_from(n).unwrap() - 1;
            for start in [0, 1_700_000_000, u64::MAX - 5000] {
                let met: BTreeSet<_> =
                    (start..start + epoch).map(|slot| rank_for(slot, 1, n).unwrap()).collect();
                assert_eq!(met.len(), n - 1, "n {n} start {start}");
            }
        }
    }

    #[test]
    fn a_member_alone_calls_no_peer() {
        assert_eq!(rank_for(5, 0, 1), None);
        assert_eq!(rank_for(5, 0, 0), None);
    }
}
