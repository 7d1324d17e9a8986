//! Lives that begin more than a day after now, by our clock: whose clock is wrong?
//!
//! The machine refuses them. One among many has a clock that is ahead; when it is most members, ours is behind.

use std::collections::BTreeMap;
use std::time::Duration;

use heartsay_membership::{FARTHEST_START_MS as DAY_MS, Generation, Instant, Name};

use crate::doctor::Said;

/// Lives that were refused and still would be.
#[derive(Debug, Default)]
pub(crate) struct FarFuture {
    /// With the time at which each was last heard of: one that is heard no more has been set right, or has gone.
    lives: BTreeMap<Name, (Generation, Instant)>,
}

impl FarFuture {
    pub(crate) fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// One was refused. Whether that is news.
    pub(crate) fn note(&mut self, now: Instant, name: &Name, generation: Generation) -> bool {
        let full = self.lives.len() >= MOST && !self.lives.contains_key(name);
        !full && self.lives.insert(name.clone(), (generation, now)).is_none()
    }

    /// The clock was looked at: forgets those that would be taken in now, or are not heard any more.
    pub(crate) fn look(&mut self, now: Instant, unix_ms: u64) {
        self.lives.retain(|_, (generation, last)| {
            *generation > unix_ms.saturating_add(DAY_MS) && now.since(*last) < OVER
        });
    }

    /// What people are told; `others` are members in the view beside ourselves, `stamp` is the time that we take it to be.
    pub(crate) fn sentence(&self, others: usize, unix_ms: u64, stamp: &str) -> Option<Said> {
        let (name, (generation, _)) = self.lives.first_key_value()?;
        let days = generation.saturating_sub(unix_ms).saturating_add(DAY_MS / 2) / DAY_MS;
        let (more, is) = match self.lives.len() - 1 {
            0 => (String::new(), "is"),
            more => (format!(" and {more} more"), "are"),
        };
        let remedy = if self.lives.len() > others {
            "most likely it is this host's clock that is behind: set it (timedatectl set-ntp true, or chronyc makestep); \
             nothing needs a restart"
        } else {
            "one of the two clocks is wrong: set it (timedatectl set-ntp true, or chronyc makestep)"
        };
        let what = format!(
            "{name}{more} began {days} days after the time of this host ({stamp}) and so {is} not taken in"
        );
        Some(Said::new(what, remedy))
    }
}

/// So long after the last refusal it is over: some times what a seed waits between two calls.
const OVER: Duration = Duration::from_secs(180);
/// Enough to see that it is most members.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Instant = Instant::EPOCH;

    #[test]
    fn a_life_that_is_not_heard_any_more_has_been_set_right() {
        let mut far = FarFuture::default();
        far.note(AT, &Name::new("n1").unwrap(), 1_003 * DAY_MS);
        far.look(AT + Duration::from_secs(179), 1_000 * DAY_MS);
        assert!(!far.is_empty());
        far.look(AT + Duration::from_secs(180), 1_000 * DAY_MS);
        assert!(far.is_empty());
    }

    #[test]
    fn of_one_among_many_either_clock_may_be_wrong_and_of_most_it_is_ours() {
        let (now, later) = (1_000 * DAY_MS, 1_003 * DAY_MS);
        let name = |name: &str| Name::new(name).unwrap();
        let mut far = FarFuture::default();
        assert_eq!(far.sentence(0, now, "then"), None);
        assert!(far.note(AT, &name("n1"), later));
        assert!(!far.note(AT, &name("n1"), later), "no news");
        let of_one = far.sentence(4, now, "then").unwrap().to_string();
        assert!(of_one.contains("n1 began 3 days") && of_one.contains("one of the two"), "{of_one}");
        assert!(far.note(AT, &name("n2"), later));
        let of_most = far.sentence(0, now, "then").unwrap().to_string();
        assert!(of_most.contains("n1 and 1 more") && of_most.contains("this host's clock"), "{of_most}");
        far.look(AT, now + DAY_MS);
        assert!(!far.is_empty(), "two days are still too far");
        far.look(AT, later);
        assert_eq!(far.sentence(0, later, "then"), None);
    }
}
