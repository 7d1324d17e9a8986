//! Never two sides that both may act.

use core::time::Duration;

use heartsay_membership::{Instant, Quorum, QuorumStatus};

use super::Violations;
use crate::network::Network;

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
        let majority = status.needed > expected / 2;
        let enough = status.present >= status.needed;
        if status.quorum == Quorum::Held && !(majority && enough) {
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

    /// Whether `member` says that it stands on the side that may act.
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

    /// `observer` calls `subject` down, which lives beyond a cut: whoever acts on that
    /// verdict must be sure that the subject no longer acts.
    pub fn verdict(&self, out: &mut Violations, at: Instant, observer: usize, subject: usize) {
        if self.held(observer) && self.held(subject) {
            out.add(at, "quorum-overlap", || {
                format!("n{observer} holds quorum and calls n{subject} down, which lives beyond a cut and holds it too")
            });
        }
    }

    /// Once every cut has been in force for `within`, at most one side holds quorum.
    pub fn sides(
        &self,
        out: &mut Violations,
        at: Instant,
        network: &Network,
        since: &[Instant],
        within: Duration,
    ) {
        for (cut, since) in network.cuts().iter().zip(since) {
            if !cut.active || cut.one_way || at.since(*since) < within {
                continue;
            }
            let mut holders = (0..self.says.len()).filter(|&m| self.held(m) && cut.side(m) != 0);
            let Some(first) = holders.next() else { continue };
            if let Some(other) = holders.find(|&m| cut.side(m) != cut.side(first)) {
                out.add(at, "two-quorums", || {
                    format!("n{first} and n{other}, on two sides of a cut, both hold quorum")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Seed;
    use crate::scenario::Network as Rules;

    fn status(quorum: Quorum, present: u32) -> QuorumStatus {
        let reason = String::new();
        QuorumStatus {
            quorum,
            since: Instant::EPOCH,
            until: None,
            present,
            needed: 3,
            expected: Some(4),
            electorate: None,
            reason,
        }
    }

    #[test]
    fn two_sides_with_quorum_and_bad_sums_are_seen() {
        let mut network = Network::new(&Rules::default(), 4, Seed(1).dice("network", 0));
        let cut = network.plan_cut(vec![1, 1, 2, 2], false);
        network.set_cut(cut, true, Instant::EPOCH);
        let mut out = Violations::default();
        let mut quorums = Quorums::default();
        let second = Duration::from_secs(1);
        let late = Instant::EPOCH + second;
        quorums.says(&mut out, late, 0, &status(Quorum::Held, 3));
        quorums.says(&mut out, late, 2, &status(Quorum::Lost, 2));
        quorums.sides(&mut out, late, &network, &[Instant::EPOCH], second);
        quorums.verdict(&mut out, late, 0, 2);
        assert_eq!((out.count, quorums.count()), (0, [1, 1, 0]));

        quorums.says(&mut out, late, 2, &status(Quorum::Held, 3));
        quorums.sides(&mut out, Instant::EPOCH, &network, &[Instant::EPOCH], second);
        assert_eq!(out.count, 0, "too early to say");
        quorums.sides(&mut out, late, &network, &[Instant::EPOCH], second);
        quorums.verdict(&mut out, late, 0, 2);
        quorums.says(&mut out, late, 3, &status(Quorum::Held, 2));
        assert!(out.broke("two-quorums") && out.broke("quorum-overlap") && out.broke("quorum-arithmetic"));
    }
}
