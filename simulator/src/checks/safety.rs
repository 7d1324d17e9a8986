//! After each step: no member speaks for another, nothing goes back, nothing is too large.

use std::collections::HashMap;

use heartsay_membership::{Generation, Heartbeat, Instant, Name};

use super::Violations;
use crate::oracle::{Belief, Oracle};

/// The rules that hold at every moment.
#[derive(Debug, Default)]
pub struct Safety {
    tables: HashMap<usize, Vec<(Generation, Heartbeat)>>,
}

/// One row of a member's table, as the checks need it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The member that it is about.
    pub subject: usize,
    /// Which life.
    pub generation: Generation,
    /// Its highest heartbeat known there.
    pub heartbeat: Heartbeat,
    /// What is believed of it.
    pub belief: Belief,
}

impl Safety {
    /// A member sends `size` bytes; `limit` is what the configuration allows.
    pub fn datagram(out: &mut Violations, at: Instant, from: &str, size: usize, limit: usize) {
        if size > limit {
            out.add(at, "datagram-size", || format!("{from} sent {size} bytes; the limit is {limit}"));
        }
    }

    /// `observer` says that `name` reached (generation, heartbeat). `owner` looks up the
    /// heartbeat of that life at its owner; it is asked only when the last look-up is too old to tell.
    pub fn claim(
        out: &mut Violations,
        at: Instant,
        observer: &str,
        (name, generation, heartbeat): (&Name, Generation, Heartbeat),
        oracle: &mut Oracle,
        owner: impl FnOnce(usize) -> Option<(Generation, Heartbeat)>,
    ) -> Option<usize> {
        let Some(subject) = oracle.find(name) else {
            out.add(at, "invented-name", || format!("{observer} knows {name}, who never was"));
            return None;
        };
        let Some(life) = oracle.truth(subject).life(generation) else {
            out.add(at, "invented-generation", || {
                format!("{observer} gives {name} generation {generation}, which it never lived")
            });
            return Some(subject);
        };
        if heartbeat > life.heartbeat {
            if let Some((_, current)) = owner(life.host).filter(|(g, _)| *g == generation) {
                life.heartbeat = life.heartbeat.max(current);
            }
            let truth = life.heartbeat;
            if heartbeat > truth {
                out.add(at, "invented-heartbeat", || {
                    format!("{observer} gives {name} heartbeat {heartbeat}; its owner is at {truth}")
                });
            }
        }
        Some(subject)
    }

    /// A member holds `size` entries; no more names than `names` ever were.
    pub fn size(out: &mut Violations, at: Instant, observer: &str, size: usize, names: usize) {
        if size > names {
            out.add(at, "table-size", || {
                format!("{observer} holds {size} entries; only {names} names exist")
            });
        }
    }

    /// Compares a row of `observer`'s table with the last time it was looked at.
    pub fn row(&mut self, out: &mut Violations, at: Instant, observer: usize, row: &Row) {
        let before = self.tables.entry(observer).or_default();
        if row.subject >= before.len() {
            before.resize(row.subject + 1, (0, 0));
        }
        let known = &mut before[row.subject];
        let now = (row.generation, row.heartbeat);
        if now < *known {
            let was = *known;
            out.add(at, "went-back", || {
                format!("n{observer} had n{} at {was:?} and now has it at {now:?}", row.subject)
            });
        }
        *known = now;
    }

    /// `observer`'s table holds what its events never told: a reader of the events is misled.
    pub fn told(out: &mut Violations, at: Instant, observer: usize, row: &Row, told: Belief) {
        if told != row.belief {
            out.add(at, "view-without-event", || {
                format!("n{observer} has n{} as {:?}; its events said {told:?}", row.subject, row.belief)
            });
        }
    }

    /// `from` has sent `datagrams` in the running second. False: it is a storm, and the run would never end.
    pub fn calm(out: &mut Violations, at: Instant, from: usize, datagrams: u32) -> bool {
        if datagrams > STORM {
            out.add(at, "storm", || {
                format!("n{from} sent {datagrams} datagrams in a second; the run ends here")
            });
        }
        datagrams <= STORM
    }

    /// `observer` asked `spins` times in a row to be woken at once. False: too often.
    pub fn spins(out: &mut Violations, at: Instant, observer: usize, spins: u32) -> bool {
        if spins > MOST_SPINS {
            out.add(at, "spins", || format!("n{observer} asks again and again to be woken at once"));
        }
        spins <= MOST_SPINS
    }

    /// The observer's process ended: its next table starts anew.
    pub fn forget(&mut self, observer: usize) {
        self.tables.remove(&observer);
    }
}

/// More datagrams in one second than any member has a reason to send: five times what fills the 5 MB/s of a
/// seed while 1,000 members join.
const STORM: u32 = 20_000;
/// A machine that asks to be woken at once more often than this is in a loop.
const MOST_SPINS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Life;
    use heartsay_membership::Status;

    fn oracle() -> (Oracle, Name) {
        let mut oracle = Oracle::default();
        let name = Name::new("n0").expect("sound");
        let member = oracle.add(&name);
        oracle.truth(member).lives.push(Life { generation: 100, host: 0, heartbeat: 5 });
        (oracle, name)
    }

    #[test]
    fn a_heartbeat_above_its_owners_is_seen() {
        let (mut oracle, name) = oracle();
        let mut out = Violations::default();
        let now = Instant::EPOCH;
        // Fresh truth clears an honest claim …
        Safety::claim(&mut out, now, "n1", (&name, 100, 7), &mut oracle, |_| Some((100, 7)));
        assert_eq!(out.count, 0);
        // … and convicts a false one, also when the owner is gone.
        Safety::claim(&mut out, now, "n1", (&name, 100, 8), &mut oracle, |_| Some((100, 7)));
        Safety::claim(&mut out, now, "n1", (&name, 100, 9), &mut oracle, |_| None);
        assert_eq!(out.count, 2);
        assert!(out.broke("invented-heartbeat"));
    }

    #[test]
    fn a_generation_or_name_that_never_was_is_seen() {
        let (mut oracle, name) = oracle();
        let mut out = Violations::default();
        Safety::claim(&mut out, Instant::EPOCH, "n1", (&name, 101, 0), &mut oracle, |_| None);
        let stranger = Name::new("stranger").expect("sound");
        Safety::claim(&mut out, Instant::EPOCH, "n1", (&stranger, 1, 0), &mut oracle, |_| None);
        assert!(out.broke("invented-generation") && out.broke("invented-name"));
    }

    #[test]
    fn a_table_that_goes_back_is_seen() {
        let mut safety = Safety::default();
        let mut out = Violations::default();
        let belief = Belief::Is(Status::Alive);
        let row = |generation, heartbeat| Row { subject: 3, generation, heartbeat, belief };
        for known in [(1, 5), (1, 6), (2, 0)] {
            safety.row(&mut out, Instant::EPOCH, 0, &row(known.0, known.1));
        }
        assert_eq!(out.count, 0, "a new life begins at 0");
        safety.row(&mut out, Instant::EPOCH, 0, &row(1, 9));
        assert!(out.broke("went-back"));
        safety.forget(0);
        safety.row(&mut out, Instant::EPOCH, 0, &row(1, 1));
        assert_eq!(out.count, 1, "a restarted observer starts anew");
    }

    #[test]
    fn sizes_over_their_limits_are_seen() {
        let mut out = Violations::default();
        Safety::datagram(&mut out, Instant::EPOCH, "n0", 1200, 1200);
        Safety::size(&mut out, Instant::EPOCH, "n0", 8, 8);
        assert_eq!(out.count, 0);
        Safety::datagram(&mut out, Instant::EPOCH, "n0", 1201, 1200);
        Safety::size(&mut out, Instant::EPOCH, "n0", 9, 8);
        assert!(out.broke("datagram-size") && out.broke("table-size"));
    }
}
