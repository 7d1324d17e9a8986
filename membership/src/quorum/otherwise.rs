//! Finds members that were configured with another electorate than ours. Their votes and ours do not count for each
//! other, and nothing else shows why.
//!
//! An answer carries only a mark of the electorate, not its text. So the texts that an operator is likely to have
//! written are tried until one has that mark.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::identity::Name;
use crate::quorum::{Context, Electorate, QuorumService};

/// The electorate that a member was configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stated {
    /// None, it seems: its answers say nothing about quorum, although it counts us as a member.
    Nothing,
    /// This electorate.
    This(Electorate),
    /// One that cannot be found from its mark.
    Another,
}

/// The last marks of members that differ from ours. Bounded.
#[derive(Debug, Default)]
pub struct Otherwise {
    /// By name hash.
    said: BTreeMap<u64, Said>,
}

/// What a member has said in answers one after the other.
#[derive(Clone, Copy, Debug)]
struct Said {
    mark: Option<u32>,
    first: Instant,
    last: Instant,
}

impl Said {
    /// Whether more than one answer in a row said so. A member that does not count us yet sends no mark, and among many
    /// members it may not answer again for minutes.
    fn goes_on(&self) -> bool {
        self.last.since(self.first) >= SILENT
    }
}

impl Otherwise {
    /// A member has answered with this mark.
    pub fn note(&mut self, now: Instant, sender: u64, said: Option<u32>, ours: Option<u32>) {
        if said == ours {
            self.said.remove(&sender);
            return;
        }
        if let Some(before) = self.said.get_mut(&sender).filter(|before| before.mark == said) {
            before.last = now;
        } else if self.said.len() < MOST || self.said.contains_key(&sender) {
            self.said.insert(sender, Said { mark: said, first: now, last: now });
        }
    }

    /// Drops members for which `is_there` is false.
    pub fn keep(&mut self, is_there: impl Fn(u64) -> bool) {
        self.said.retain(|hash, _| is_there(*hash));
    }
}

impl QuorumService {
    /// Present members that were configured with another electorate than ours, by name.
    pub fn told_otherwise(&self, ctx: &Context<'_>, taken_in: bool) -> Vec<(Name, Stated)> {
        let said = &self.voting.otherwise.said;
        let mut found: Vec<(Name, Stated)> = said
            .iter()
            .filter_map(|(hash, said)| Some((ctx.roster.get(*hash).filter(|m| m.is_present())?, said)))
            .filter_map(|(member, said)| {
                let stated = match said.mark {
                    Some(mark) => self.guess(ctx, mark),
                    None if !said.goes_on() || !taken_in => return None,
                    None => Stated::Nothing,
                };
                Some((member.incarnation.name.clone(), stated))
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn guess(&self, ctx: &Context<'_>, mark: u32) -> Stated {
        let lease = Some(ctx.core.config.lease());
        let is = |electorate: &Electorate| electorate.mark(None) == mark || electorate.mark(lease) == mark;
        let ours = self.voting.electorate().and_then(|electorate| match electorate {
            Electorate::Expected { tag, weight, tie, .. } => (1..=FIGURES)
                .map(|votes| {
                    let tie = tie.clone().filter(|_| votes.is_multiple_of(2));
                    Electorate::Expected { votes, tag: tag.clone(), weight: weight.clone(), tie }
                })
                .find(is),
            Electorate::Zones { zones, tag, tie } => zones
                .keys()
                .flat_map(|zone| (1..=FIGURES).map(move |votes| (zone, votes)))
                .map(|(zone, votes)| {
                    let mut zones = zones.clone();
                    zones.insert(zone.clone(), votes);
                    Electorate::Zones { zones, tag: tag.clone(), tie: tie.clone() }
                })
                .find(is),
            Electorate::Voters(voters) => voters
                .keys()
                .map(|left_out| {
                    let mut fewer = voters.clone();
                    fewer.remove(left_out);
                    Electorate::Voters(fewer)
                })
                .find(is),
        });
        let plain = || (1..=FIGURES).map(Electorate::expected).find(is);
        // Our own is among the candidates, for members that differ only in the fence.
        ours.or_else(plain).map_or(Stated::Another, Stated::This)
    }
}

/// Members that are remembered: more than an operator would read.
const MOST: usize = 64;
/// Numbers of votes that are tried.
const FIGURES: u32 = 256;
/// A member whose answers have had no mark for so long keeps no quorum: longer than it takes to tell us that we are out.
const SILENT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_without_a_mark_says_nothing_however_long_ago() {
        let at = |seconds| Instant::EPOCH + Duration::from_secs(seconds);
        let mut otherwise = Otherwise::default();
        let goes_on = |otherwise: &Otherwise| otherwise.said[&3].goes_on();
        otherwise.note(at(1), 3, None, Some(5));
        assert!(!goes_on(&otherwise));
        otherwise.note(at(2), 3, None, Some(5));
        assert!(!goes_on(&otherwise), "of the same start");
        otherwise.note(at(31), 3, None, Some(5));
        assert!(goes_on(&otherwise));
        otherwise.note(at(90), 3, Some(7), Some(5));
        otherwise.note(at(91), 3, None, Some(5));
        assert!(!goes_on(&otherwise));
    }

    #[test]
    fn a_member_with_our_mark_again_is_forgotten_and_a_crowd_does_not_grow() {
        let mut otherwise = Otherwise::default();
        for sender in 0..1000 {
            otherwise.note(Instant::EPOCH, sender, Some(7), Some(5));
        }
        assert_eq!(otherwise.said.len(), MOST);
        otherwise.note(Instant::EPOCH, 3, Some(5), Some(5));
        assert!(!otherwise.said.contains_key(&3));
        otherwise.keep(|sender| sender == 4);
        assert_eq!(otherwise.said.len(), 1);
    }
}
