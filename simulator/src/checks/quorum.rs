//! Never two sides that both may act.

use core::time::Duration;

use heartsay_membership::{Instant, Quorum, QuorumStatus};

use super::Violations;
use crate::network::{Cut, Network};

/// What each running member says about quorum, and the rules about it.
#[derive(Debug, Default)]
pub struct Quorums {
    says: Vec<Option<Quorum>>,
}

impl Quorums {
    /// `member` says this. The arithmetic is checked at once.
    pub fn says(&mut self, out: &mut Violations, at: Instant, member: usize, status: &QuorumStatus) {
        if member >= self.says.len() {
            self.says.resize(member + 1, None);
        }
        self.says[member] = Some(status.quorum);
        let Some(expected) = status.expected else { return };
        // With the member or the zone that decides a tie, half is enough.
        let tied = status.electorate.as_ref().is_some_and(|electorate| electorate.contains("+tie="));
        let majority = status.needed > expected / 2 || tied && status.needed * 2 == expected;
        let enough = status.present >= status.needed;
        if status.quorum == Quorum::Held && !(majority && enough && status.until.is_some()) {
            out.add(at, "quorum-arithmetic", || {
                let QuorumStatus { present, needed, .. } = status;
                format!(
                    "n{member} claims quorum with {present} present, {needed} needed, {expected} expected"
                )
            });
        }
    }

    /// The process of `member` ended.
    pub fn ended(&mut self, member: usize) {
        if let Some(says) = self.says.get_mut(member) {
            *says = None;
        }
    }

    /// Whether `member` has said last that it stands on the side that may act.
    #[must_use]
    pub fn held(&self, member: usize) -> bool {
        self.says.get(member) == Some(&Some(Quorum::Held))
    }

    /// How many say held, lost, unsettled.
    #[must_use]
    pub fn count(&self) -> [usize; 3] {
        [Quorum::Held, Quorum::Lost, Quorum::Unsettled]
            .map(|q| self.says.iter().filter(|says| **says == Some(q)).count())
    }

    /// `observer` calls `subject` down, which lives beyond a cut. `acts`: the subject, asked now, would still say held.
    /// A member that acts on that verdict must be sure that the subject no longer does.
    pub fn verdict(
        &self,
        out: &mut Violations,
        at: Instant,
        observer: usize,
        subject: usize,
        acts: impl Fn(usize) -> bool,
    ) {
        if self.held(observer) && acts(observer) && self.held(subject) && acts(subject) {
            out.add(at, "quorum-overlap", || {
                format!("n{observer} holds quorum and calls n{subject} down, which lives beyond a cut and holds it too")
            });
        }
    }

    /// `observer` has had `subject`, which runs, for down for so long that its lease must be over. `acts`: asked now, it
    /// would say held. A member that is out must not act beside those that put it out.
    pub fn put_out(
        out: &mut Violations,
        at: Instant,
        observer: usize,
        subject: usize,
        acts: impl Fn(usize) -> bool,
    ) {
        if acts(observer) && acts(subject) {
            out.add(at, "put-out-and-holding", || {
                format!("n{observer} holds quorum and has n{subject} for down, which runs and holds it too")
            });
        }
    }

    /// `observer` says that the lease of `subject` has run out. `acts`: the subject, asked now, would say held.
    pub fn fenced(
        out: &mut Violations,
        at: Instant,
        observer: usize,
        subject: usize,
        acts: impl Fn(usize) -> bool,
    ) {
        if acts(subject) {
            out.add(at, "fence", || {
                format!("n{observer} says that the lease of n{subject} has run out, and n{subject} holds one")
            });
        }
    }

    /// Once a cut has been in force for `within`, at most one of its sides holds quorum.
    pub fn sides(
        &self,
        out: &mut Violations,
        at: Instant,
        network: &Network,
        within: Duration,
        acts: impl Fn(usize) -> bool,
    ) {
        for cut in network.cuts() {
            if !cut.active || at.since(cut.since) < within || !cut.divides(network.members()) {
                continue;
            }
            let mut holders = (0..self.says.len()).filter(|&m| self.held(m) && acts(m));
            let Some(first) = holders.next() else { continue };
            if let Some(other) = holders.find(|&m| apart(cut, m, first)) {
                out.add(at, "two-quorums", || {
                    format!("n{first} and n{other}, on two sides of a cut, both hold quorum")
                });
            }
        }
    }
}

/// Whether these two are on different sides. Of a one-way cut only the first side is cut from the others.
fn apart(cut: &Cut, a: usize, b: usize) -> bool {
    let (a, b) = (cut.side(a), cut.side(b));
    a != b && (!cut.one_way || a == 1 || b == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Network as Rules;
    use crate::sim_rng::Seed;

    fn status(quorum: Quorum, present: u32) -> QuorumStatus {
        QuorumStatus {
            quorum,
            since: Instant::EPOCH,
            until: Some(Instant::NEVER),
            present,
            needed: 3,
            expected: Some(4),
            electorate: None,
            fence: false,
            zones: Vec::new(),
            reason: String::new(),
        }
    }

    fn acts(_: usize) -> bool {
        true
    }

    #[test]
    fn a_fence_around_one_that_holds_a_lease_is_seen() {
        let mut out = Violations::default();
        Quorums::fenced(&mut out, Instant::EPOCH, 0, 2, |m| m == 0);
        assert_eq!(out.count, 0);
        Quorums::fenced(&mut out, Instant::EPOCH, 0, 2, acts);
        assert!(out.broke("fence"));
    }

    #[test]
    fn one_that_is_put_out_and_holds_quorum_is_seen() {
        let mut out = Violations::default();
        for acts in [0, 2] {
            Quorums::put_out(&mut out, Instant::EPOCH, 0, 2, |m| m == acts);
        }
        assert_eq!(out.count, 0, "one of the two holds");
        Quorums::put_out(&mut out, Instant::EPOCH, 0, 2, acts);
        assert!(out.broke("put-out-and-holding"));
    }

    #[test]
    fn two_sides_with_quorum_and_bad_sums_are_seen() {
        for one_way in [false, true] {
            let mut network = Network::new(&Rules::default(), 4, Seed(1).dice("network", 0));
            let cut = network.plan_cut(vec![1, 1, 2, 2], one_way);
            network.set_cut(cut, true, Instant::EPOCH);
            let mut out = Violations::default();
            let mut quorums = Quorums::default();
            let second = Duration::from_secs(1);
            let late = Instant::EPOCH + second;
            quorums.says(&mut out, late, 3, &status(Quorum::Lost, 1));
            quorums.says(&mut out, late, 0, &status(Quorum::Held, 3));
            quorums.says(&mut out, late, 2, &status(Quorum::Lost, 2));
            quorums.sides(&mut out, late, &network, second, acts);
            quorums.verdict(&mut out, late, 0, 2, acts);
            assert_eq!((out.count, quorums.count()), (0, [1, 2, 0]));

            quorums.says(&mut out, late, 2, &status(Quorum::Held, 3));
            quorums.sides(&mut out, Instant::EPOCH, &network, second, acts);
            assert_eq!(out.count, 0, "too early to say");
            quorums.sides(&mut out, late, &network, second, |m| m == 0);
            quorums.verdict(&mut out, late, 0, 2, |m| m == 0);
            assert_eq!(out.count, 0, "its proof has run out while it slept");
            quorums.sides(&mut out, late, &network, second, acts);
            quorums.verdict(&mut out, late, 0, 2, acts);
            quorums.says(&mut out, late, 3, &status(Quorum::Held, 2));
            let rules = ["two-quorums", "quorum-overlap", "quorum-arithmetic"];
            assert!(rules.iter().all(|rule| out.broke(rule)));
        }
    }
}
