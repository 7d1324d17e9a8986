//! Paths whose refusals were disproved: a filter speaks there, not the member's kernel.
//!
//! Picture: a porter says that nobody lives here. The tenant comes down the stairs. From then on the porter's word is
//! worth no more than a bell that nobody answers.
//!
//! Rule: a refusal is believed when the helpers, asked at once, do not hear the member either. One of them hears it, it
//! answers us after all, or its next heartbeat comes by way of others: then the refusal was the path's. From there on a
//! refusal over this path is a contact without an answer, until none has come for [`TRUSTED_AGAIN`].
//!
//! Weak spot: when the process behind such a path does die, we find it by its silence only, and so two seconds later; the
//! others find it as always.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;

/// When a refusal that says nothing came last, by the tag of the life at the other end.
#[derive(Debug, Default)]
pub struct Refusals {
    disproved: BTreeMap<u64, Instant>,
}

impl Refusals {
    /// A refusal by the life `tag` was disproved.
    pub fn disprove(&mut self, now: Instant, tag: u64) {
        self.disproved.retain(|_, at| now.since(*at) < TRUSTED_AGAIN);
        if self.disproved.len() < MOST || self.disproved.contains_key(&tag) {
            self.disproved.insert(tag, now);
        }
    }

    /// A refusal came from where the life `tag` is. Whether it says nothing of it.
    pub fn says_nothing(&mut self, now: Instant, tag: u64) -> bool {
        let Some(at) = self.disproved.get_mut(&tag) else { return false };
        if now.since(*at) >= TRUSTED_AGAIN {
            self.disproved.remove(&tag);
            return false;
        }
        *at = now;
        true
    }

    /// Whether refusals from there were disproved of late.
    pub fn is_disproved(&self, now: Instant, tag: u64) -> bool {
        self.disproved.get(&tag).is_some_and(|at| now.since(*at) < TRUSTED_AGAIN)
    }
}

/// Without a refusal for so long, the filter is taken to be gone: a few turns of the schedule of calls among a hundred
/// members. Honest guess: too short costs the helpers' questions once more, too long a slower word about a death.
const TRUSTED_AGAIN: Duration = Duration::from_secs(300);
/// Paths remembered at most; more of them are our own filter, and each is then found out anew.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disproved_path_is_trusted_again_when_no_refusal_has_come_for_long() {
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
