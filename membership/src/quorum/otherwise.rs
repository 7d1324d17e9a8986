//! Members that were told of another electorate than we were, as their answers show: their votes and ours are no use to
//! one another, and nothing else says why.
//!
//! An answer carries a mark of the electorate, not its words. Those that an operator is likely to have written are
//! tried until one has that mark.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::identity::Name;
use crate::quorum::{Context, Electorate, QuorumService};

/// What a member was told about who votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stated {
    /// Nothing, as it seems: it answers without a word on quorum, and counts us as a member.
    Nothing,
    /// This.
    This(Electorate),
    /// Something that cannot be told from its mark.
    Another,
}

/// What members said last, if it is not what we would say. Bounded.
#[derive(Debug, Default)]
pub struct Otherwise {
    /// By name hash: the mark, and since when it says that one.
    said: BTreeMap<u64, (Option<u32>, Instant)>,
}

impl Otherwise {
    /// Somebody has answered with this mark.
    pub fn note(&mut self, now: Instant, sender: u64, said: Option<u32>, ours: Option<u32>) {
        if said == ours {
            self.said.remove(&sender);
            return;
        }
        if self.said.get(&sender).is_some_and(|(before, _)| *before == said) {
            return;
        }
        if self.said.len() < MOST || self.said.contains_key(&sender) {
            self.said.insert(sender, (said, now));
        }
    }

    /// Drops those of whom `is_there` says no.
    pub fn keep(&mut self, is_there: impl Fn(u64) -> bool) {
        self.said.retain(|hash, _| is_there(*hash));
    }
}

impl QuorumService {
    /// Members that are here and were told of another electorate than we were, by name.
    pub fn told_otherwise(&self, ctx: &Context<'_>, taken_in: bool) -> Vec<(Name, Stated)> {
        let said = &self.voting.otherwise.said;
        let mut found: Vec<(Name, Stated)> = said
            .iter()
            .filter_map(|(hash, said)| Some((ctx.roster.get(*hash).filter(|m| m.is_present())?, said)))
            .filter_map(|(member, (mark, since))| {
                let stated = match mark {
                    Some(mark) => self.guess(ctx, *mark),
                    // Who does not count us says nothing either, and tells us so.
                    None if ctx.now.since(*since) < SILENT || !taken_in => return None,
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
            Electorate::Expected { tag, weight, .. } => (1..=FIGURES)
                .map(|votes| Electorate::Expected { votes, tag: tag.clone(), weight: weight.clone() })
                .find(is),
            Electorate::Voters(voters) => voters
                .keys()
                .map(|left_out| {
                    let mut fewer = voters.clone();
                    fewer.remove(left_out);
                    Electorate::Voters(fewer)
                })
                .find(is),
            Electorate::LastAgreed { .. } => None,
        });
        let plain = || (1..=FIGURES).map(Electorate::expected).find(is);
        let follows = || (1..=FIGURES).map(|first| Electorate::LastAgreed { first }).find(is);
        // Ours itself is among them where only the fence differs.
        ours.or_else(plain).or_else(follows).map_or(Stated::Another, Stated::This)
    }
}

/// Members that are remembered. More than anybody reads.
const MOST: usize = 64;
/// Numbers of votes that are tried.
const FIGURES: u32 = 256;
/// So long without a word on quorum, and it keeps none: longer than it takes to tell us that we are out.
const SILENT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_the_same_again_is_forgotten_and_a_crowd_does_not_grow() {
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
