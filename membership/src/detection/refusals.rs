//! Remembers the paths on which a refusal was disproved: there a packet filter answers, not the member's kernel.
//!
//! Picture: a porter says that no such tenant lives here, and then the tenant comes down the stairs. From then on the
//! porter's word counts no more than an unanswered bell.
//!
//! Rule: a refusal is believed if the helpers, asked at once, do not hear the member either. It is disproved if a
//! helper hears the member, if the member answers us after all, or if its next heartbeat arrives through others. From
//! then on a refusal on this path counts as a contact without an answer, until none has come for [`TRUSTED_AGAIN`].
//!
//! Weak spot: when the process behind such a path does die, we find out by its silence only, and so two seconds later.
//! The other members find out as always.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;

/// When the last untrusted refusal came, by the tag of the incarnation at the other end.
#[derive(Debug, Default)]
pub struct Refusals {
    disproved: BTreeMap<u64, Instant>,
}

impl Refusals {
    /// A refusal by the incarnation `tag` was disproved.
    pub fn disprove(&mut self, now: Instant, tag: u64) {
        self.disproved.retain(|_, at| now.since(*at) < TRUSTED_AGAIN);
        if self.disproved.len() < MOST || self.disproved.contains_key(&tag) {
            self.disproved.insert(tag, now);
        }
    }

    /// A refusal came from the address of the incarnation `tag`. Returns whether it says nothing about that
    /// incarnation.
    pub fn says_nothing(&mut self, now: Instant, tag: u64) -> bool {
        let Some(at) = self.disproved.get_mut(&tag) else { return false };
        if now.since(*at) >= TRUSTED_AGAIN {
            self.disproved.remove(&tag);
            return false;
        }
        *at = now;
        true
    }

    /// Whether refusals from there were disproved recently.
    pub fn is_disproved(&self, now: Instant, tag: u64) -> bool {
        self.disproved.get(&tag).is_some_and(|at| now.since(*at) < TRUSTED_AGAIN)
    }
}

/// After this long without a refusal the filter is taken to be gone: a few turns of the call schedule among a hundred
/// members. Honest guess. Too short costs another round of questions to helpers, too long delays the news of a death.
const TRUSTED_AGAIN: Duration = Duration::from_secs(300);
/// Most paths remembered. More of them mean a filter at our own end, and then each refusal is checked by helpers anew.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disproved_path_is_trusted_again_after_a_long_time_without_a_refusal() {
        let mut refusals = Refusals::default();
        let at = |s| Instant::EPOCH + Duration::from_secs(s);
        assert!(!refusals.says_nothing(at(1), 7));
        refusals.disprove(at(1), 7);
        assert!(refusals.says_nothing(at(200), 7) && !refusals.says_nothing(at(200), 8));
        assert!(refusals.says_nothing(at(499), 7), "counted from the last one");
        assert!(!refusals.is_disproved(at(799), 7));
        assert!(!refusals.says_nothing(at(799), 7));
        for tag in 0..1000 {
            refusals.disprove(at(800), tag);
        }
        assert_eq!(refusals.disproved.len(), MOST);
    }
}
