//! Whether what real members claim is explained by the datagrams that they received.
//!
//! A proof "a majority was in two-way contact, as of then" is a statement about causes: for each of *q* votes something
//! that the prover sent then or later has reached the elector, and something that the elector sent after that has reached
//! the prover. A loan adds the same between borrower and lender. [`Causes`] follows which member can know of which moment
//! of which other (a matrix clock), from nothing but who received a datagram of whom, and when it left. A member may
//! claim only what this allows, whatever the datagrams said, and by whatever way of asking: direct questions, waves,
//! groups, loans of loans.
//!
//! [`Words`] checks what members tell of one another: events, or lines of a log. [`Settling`] checks the other half of a
//! claim of quorum: it is held only after good proofs without a gap.
//!
//! Time is true time in microseconds, except where a member's own clock is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::merge::{Status, Told};

/// Who votes, by zones: a plain electorate is one zone. A majority is most zones, and in each of them enough votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electorate {
    /// Of each zone, the votes of each member, and how many are enough.
    pub zones: Vec<(Vec<u32>, u32)>,
}

/// All that one member can know of when the others did something. Goes with each datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// In row `x` and column `y`: `x` is known to have known of `y` as of this time. 0: not at all.
    known: Vec<u64>,
}

/// What each of a few members can know.
#[derive(Clone, Debug)]
pub struct Causes {
    members: usize,
    pasts: Vec<Arc<Past>>,
}

impl Causes {
    /// `members` members that have heard of nothing.
    #[must_use]
    pub fn new(members: usize) -> Self {
        let none = Arc::new(Past { known: vec![0; members * members] });
        Self { members, pasts: vec![none; members] }
    }

    /// `member` begins a new life, and knows nothing of the one before.
    pub fn begins(&mut self, member: usize) {
        if let Some(past) = self.pasts.get_mut(member) {
            *past = Arc::new(Past { known: vec![0; self.members * self.members] });
        }
    }

    /// `member` does something at `now`: receives what `from` sent, when that knew as much as this, or a timer fires.
    pub fn acts(&mut self, now: u64, member: usize, received: Option<(usize, &Past)>) {
        let members = self.members;
        let Some(past) = self.pasts.get_mut(member) else { return };
        let known = &mut Arc::make_mut(past).known;
        if let Some((from, theirs)) = received {
            for (ours, theirs) in known.iter_mut().zip(&theirs.known) {
                *ours = (*ours).max(*theirs);
            }
            for of in 0..members {
                let theirs = theirs.known.get(from * members + of).copied().unwrap_or(0);
                if let Some(ours) = known.get_mut(member * members + of) {
                    *ours = (*ours).max(theirs);
                }
            }
        }
        if let Some(itself) = known.get_mut(member * members + member) {
            *itself = now;
        }
    }

    /// What a datagram that `member` sends now carries.
    #[must_use]
    pub fn past(&self, member: usize) -> Option<Arc<Past>> {
        self.pasts.get(member).cloned()
    }

    /// Whether `member` may claim a proof as of `then`, its own or a borrowed one.
    #[must_use]
    pub fn explain(&self, member: usize, then: u64, electorate: &Electorate) -> bool {
        let Some(past) = self.pasts.get(member) else { return false };
        let known = |x: usize, y: usize| past.known.get(x * self.members + y).copied().unwrap_or(0);
        // `y` has heard `x`, and something that `y` did after that is known here. A question that left at the very moment
        // counts.
        let heard = |x: usize, y: usize| x == y || known(y, x) >= then;
        let (mut lenders, mut next) = (vec![false; self.members], vec![member]);
        while let Some(prover) = next.pop() {
            if core::mem::replace(&mut lenders[prover], true) {
                continue;
            }
            if electorate.is_majority(|elector| heard(prover, elector)) {
                return true;
            }
            next.extend((0..self.members).filter(|lender| !lenders[*lender] && heard(prover, *lender)));
        }
        false
    }
}

impl Electorate {
    /// Whether the members that are `there` have a majority.
    fn is_majority(&self, there: impl Fn(usize) -> bool) -> bool {
        let won = |(votes, needed): &&(Vec<u32>, u32)| {
            let present = votes.iter().enumerate().filter(|(member, votes)| **votes > 0 && there(*member));
            present.map(|(_, votes)| *votes).sum::<u32>() >= *needed
        };
        self.zones.iter().filter(won).count() * 2 > self.zones.len()
    }
}

/// How a member's claims about quorum may follow one another, by its own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settling {
    /// Until when the last proof was good, and since when there has been one without a gap.
    proven: Option<(u64, u64)>,
}

impl Settling {
    /// The member's best proof is, at `now`, good until `until`. Whether it may say that it holds quorum, if quorum
    /// settles after `settle` microseconds of good proofs.
    pub fn may_hold(&mut self, now: u64, until: Option<u64>, settle: u64) -> bool {
        let since = self.proven.filter(|(until, _)| *until > now).map_or(now, |(_, since)| since);
        self.proven = until.filter(|until| *until > now).map(|until| (until, since));
        self.proven.is_some_and(|(_, since)| now >= since + settle)
    }
}

/// What members tell of one another and of quorum, in the order of time.
#[derive(Clone, Debug)]
pub struct Words<K> {
    told: BTreeMap<(K, K), Told>,
    held: BTreeMap<K, bool>,
}

impl<K> Default for Words<K> {
    fn default() -> Self {
        Self { told: BTreeMap::new(), held: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Words<K> {
    /// `observer` tells this of `subject`. What is wrong with that, after what it told before.
    pub fn tells(&mut self, observer: K, subject: K, told: Told) -> Option<String> {
        let before = self.told.insert((observer, subject), told)?;
        (!told.may_follow(&before)).then(|| format!("{told:?} after {before:?}"))
    }

    /// `observer` has dropped `subject` from its view, and may hear of it as of a member that it never knew.
    pub fn forgets(&mut self, observer: K, subject: K) {
        self.told.remove(&(observer, subject));
    }

    /// `member` says whether it holds quorum.
    pub fn says(&mut self, member: K, held: bool) {
        self.held.insert(member, held);
    }

    /// The process of `member` is gone, and with it all that it knew.
    pub fn ends(&mut self, member: &K) {
        self.told.retain(|(observer, _), _| observer != member);
        self.held.remove(member);
    }

    /// Whether `observer` has just told that `subject` is down, while both said last that they hold quorum. No more than
    /// that can be seen from outside; one that was not scheduled says late that it has lost quorum.
    #[must_use]
    pub fn overlap(&self, observer: &K, subject: &K) -> bool {
        let holds = |member| self.held.get(member).copied().unwrap_or(false);
        let key = (observer.clone(), subject.clone());
        let down = self.told.get(&key).is_some_and(|told| told.status == Status::Down);
        down && holds(observer) && holds(subject)
    }
}
