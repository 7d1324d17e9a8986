//! The rest of long states: what did not fit beside a record, fetched at once.
//!
//! Picture: a parcel that comes in several boxes. Each box says up to which number it goes and how many
//! there are, so whoever gets one knows what to ask for. The sender is asked first, who has all of it; if it does not
//! answer, anybody else. All wait in one line and go to its end with each box, so that those
//! of whom we have least come first.
//!
//! A question is a want in a step 3 that no step 2 came before, which every agent answers. How many are open at
//! once grows with each answer and halves with each that stays away (AIMD, as TCP's window), so that neither a
//! slow host nor a narrow path is flooded.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::identity::Version;
use crate::node::Node;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::standing::Status;
use crate::transport::wire::Detail;

/// Members of whose state we have a part, by name hash. Each of them waits in the line or is being asked for, never both.
#[derive(Debug)]
pub struct Remainders {
    lacking: BTreeMap<u64, Remainder>,
    /// Those that wait for their turn.
    line: VecDeque<u64>,
    /// Those that were asked for, and until when an answer is waited for.
    asked: Vec<(u64, Instant)>,
    /// How many may be asked for at once.
    window: usize,
}

/// What there is of one state.
#[derive(Clone, Copy, Debug)]
struct Remainder {
    /// Of which life.
    tag: u64,
    /// The version that somebody has.
    newest: Version,
    /// The version that we have.
    version: Version,
    /// Questions without gain.
    vain: u32,
}

impl Remainders {
    pub fn new() -> Self {
        Self { lacking: BTreeMap::new(), line: VecDeque::new(), asked: Vec::new(), window: FIRST_WINDOW }
    }

    /// Whether all that is known to exist is here.
    pub fn is_empty(&self) -> bool {
        self.lacking.is_empty()
    }

    /// Whether the rest of this member's state is on its way.
    pub fn has(&self, hash: u64) -> bool {
        self.lacking.contains_key(&hash)
    }

    /// When to look at [`Node::step_remainders`] again.
    pub fn next(&self) -> Instant {
        self.asked.iter().map(|(_, deadline)| *deadline).min().unwrap_or(Instant::NEVER)
    }

    /// Nobody has more of it, or nobody answers. Whether it was being asked for.
    fn give_up(&mut self, hash: u64) -> bool {
        let asked = self.close(hash);
        if self.lacking.remove(&hash).is_some()
            && !asked
            && let Some(place) = self.line.iter().position(|waits| *waits == hash)
        {
            self.line.remove(place);
        }
        asked
    }

    /// Takes a question off the list of those that are open.
    fn close(&mut self, hash: u64) -> bool {
        let open = self.asked.len();
        self.asked.retain(|(asked, _)| *asked != hash);
        self.asked.len() < open
    }

    /// Who is next to be asked for.
    fn call(&mut self) -> Option<u64> {
        if self.asked.len() >= self.window {
            return None;
        }
        core::iter::from_fn(|| self.line.pop_front()).find(|hash| self.lacking.contains_key(hash))
    }
}

impl Node {
    /// A claim about `subject` was taken, by somebody who has its state up to version `newest`.
    pub(crate) fn note_rest(&mut self, now: Instant, subject: u64, newest: Version) {
        let known = self.roster.get(subject).map(|member| (member.tag(), member.state.version()));
        let rest = self.gossip.remainders.lacking.get(&subject).copied();
        let Some((tag, version)) = known else {
            if rest.is_some() {
                self.gossip.remainders.give_up(subject);
                self.fill_up(now);
            }
            return;
        };
        let rest = rest.filter(|rest| rest.tag == tag);
        let newest = rest.map_or(newest, |rest| rest.newest.max(newest));
        if version >= newest {
            if self.gossip.remainders.has(subject) {
                let answered = self.gossip.remainders.give_up(subject);
                self.gossip.remainders.window =
                    (self.gossip.remainders.window + usize::from(answered)).min(LARGEST_WINDOW);
                self.fill_up(now);
            }
            return;
        }
        let gained = rest.is_some_and(|rest| version > rest.version);
        let vain = rest.filter(|_| !gained).map_or(0, |rest| rest.vain);
        let before = self.gossip.remainders.lacking.insert(subject, Remainder { tag, newest, version, vain });
        if gained && self.gossip.remainders.close(subject) {
            self.gossip.remainders.window = (self.gossip.remainders.window + 1).min(LARGEST_WINDOW);
            self.gossip.remainders.line.push_back(subject);
        } else if rest.is_none() && (before.is_none() || self.gossip.remainders.close(subject)) {
            // What was asked of an earlier life stays unanswered.
            self.gossip.remainders.line.push_back(subject);
        }
        self.fill_up(now);
    }

    /// Answers that have stayed away are asked for elsewhere.
    pub(crate) fn step_remainders(&mut self, now: Instant) {
        let late: Vec<u64> = self
            .gossip
            .remainders
            .asked
            .extract_if(.., |(_, until)| *until <= now)
            .map(|(hash, _)| hash)
            .collect();
        if late.is_empty() {
            return;
        }
        self.gossip.remainders.window = (self.gossip.remainders.window / 2).max(FIRST_WINDOW);
        for hash in late {
            let Some(rest) = self.gossip.remainders.lacking.get_mut(&hash) else { continue };
            rest.vain += 1;
            if rest.vain >= TRIES {
                // An exchange will bring it when somebody can be reached who has it.
                self.gossip.remainders.give_up(hash);
            } else {
                self.gossip.remainders.line.push_back(hash);
            }
        }
        self.fill_up(now);
    }

    /// Asks for as many as may be asked for.
    fn fill_up(&mut self, now: Instant) {
        if self.gossip.leave.is_none() {
            while let Some(hash) = self.gossip.remainders.call() {
                self.ask_for_remainder(now, hash);
            }
        }
        self.completed(now);
    }

    fn ask_for_remainder(&mut self, now: Instant, hash: u64) {
        let (Some(member), Some(rest)) =
            (self.roster.get(hash), self.gossip.remainders.lacking.get(&hash).copied())
        else {
            self.gossip.remainders.give_up(hash);
            return;
        };
        let want = gossip::Want { tag: member.tag(), since: member.state.version(), known: true };
        let own = (rest.vain.is_multiple_of(2) && member.status == Status::Alive)
            .then(|| member.incarnation.address());
        let me = self.core.me;
        let other = |m: &Member| m.status == Status::Alive && m.hash() != me && m.hash() != hash;
        let to = own.or_else(|| {
            let others = peers::sample(&self.roster, &mut self.core.rng, 1, other);
            others.first().map(|m| m.incarnation.address())
        });
        // Nobody else to ask: that counts as a question in vain, at the same pace.
        self.gossip.remainders.asked.push((hash, now + (self.core.patience(None) * 2).max(SHORTEST_WAIT)));
        let Some(to) = to else { return };
        let exchange = gossip::Exchange { step: 3, wants: vec![want], ..gossip::Exchange::default() };
        let Some(mut filler) = self.filler(to, 0, Some(Body::Exchange(exchange))) else { return };
        if self.is_new(now) {
            // Whoever does not know us answers nothing.
            let _ = filler.try_claim(self.claim_with(now, to, self.roster.myself(), Detail::Full, 0));
        }
        self.send(to, &filler.finish());
    }
}

/// Questions open at once, at first and at least.
const FIRST_WINDOW: usize = 4;
/// At most: 38 kB on their way to us, well under the 208 KiB of a socket's buffer as kernels count (2.3 kB each).
const LARGEST_WINDOW: usize = 32;
/// Longer than a busy host takes to answer. Honest guess.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// Half of them to the owner, half to anybody: with a loss of three in ten both ways, one in 200 fails so often.
const TRIES: u32 = 8;

#[cfg(test)]
mod tests {
    use heartsay_proto::Cluster;

    use super::*;
    use crate::config::{Config, Profile};
    use crate::identity::Identity;
    use crate::identity::{HostId, Name};
    use crate::roster::claim::Claim;
    use crate::roster::incarnation::{Incarnation, Schedule};
    use crate::roster::standing::Standing;

    fn incarnation(i: u128, generation: u64) -> Incarnation {
        let schedule = Schedule { unix_ms: generation, heartbeat: 0, interval_ms: 1000 };
        let name = Name::new(&format!("n{i}")).unwrap();
        Incarnation::new(name, HostId(i), generation, ([10, 0, 0, 1], 4327).into(), schedule)
    }

    #[test]
    fn whoever_begins_another_life_waits_in_one_place() {
        let now = Instant::EPOCH;
        let config = Config::new(Cluster::new("rest").unwrap(), Profile::Lan);
        let me = Identity {
            name: Name::new("me").unwrap(),
            host_id: HostId(99),
            generation: 1,
            address: ([10, 0, 0, 9], 4327).into(),
            state: Vec::new(),
        };
        let mut node = Node::new(me, config.clone(), 1, now).unwrap();
        // Four are asked for, the others wait; then all begin another life, and one is complete and lacks something again.
        for generation in [1, 2, 3] {
            for i in 0..7 {
                let incarnation = incarnation(i, generation);
                let (subject, standing) = (incarnation.hash, Standing::default());
                let claim = Claim {
                    subject,
                    generation,
                    standing,
                    forgotten: false,
                    incarnation: Some(incarnation),
                    delta: None,
                };
                node.roster.apply(now, claim, &config).unwrap();
                node.note_rest(now, subject, 9);
                if i == 6 {
                    node.gossip.remainders.give_up(subject);
                    node.note_rest(now, subject, 9);
                }
            }
        }
        let mut places: Vec<u64> = node.gossip.remainders.asked.iter().map(|(hash, _)| *hash).collect();
        places.extend(&node.gossip.remainders.line);
        places.sort_unstable();
        assert_eq!(places, node.gossip.remainders.lacking.keys().copied().collect::<Vec<_>>());
    }
}
