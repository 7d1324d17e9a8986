//! Which members hear which, as directed links.
//!
//! Any subset of the directed links may be alive: 2^20 of them among five members. What a tick of the specification
//! makes of it are two relations only: which pairs hear *one another* (a question is answered), and to whom *news* of a
//! member comes, over however many others. Link sets with the same two relations are one [`Effect`], which is what makes
//! five members few enough to explore.

use std::collections::BTreeMap;

/// What a set of live links lets happen in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Effect<const N: usize> {
    /// For each member, those in two-way contact with it, itself included, as bits.
    pub two_way: [u8; N],
    /// For each member, those to whom its news comes, itself included.
    pub reaches: [u8; N],
}

impl<const N: usize> Effect<N> {
    /// All links are alive.
    pub const WHOLE: Self = Self { two_way: [(1 << N) - 1; N], reaches: [(1 << N) - 1; N] };

    /// The effect of these directed links: in row `from`, bit `to`.
    #[must_use]
    pub fn of(mut alive: [u8; N]) -> Self {
        for (member, row) in alive.iter_mut().enumerate() {
            *row |= 1 << member;
        }
        let mut two_way = [0; N];
        let mut reaches = alive;
        for a in 0..N {
            for b in 0..N {
                two_way[a] |= u8::from(bit(alive[a], b) && bit(alive[b], a)) << b;
                if bit(reaches[b], a) {
                    reaches[b] |= reaches[a];
                }
            }
        }
        Self { two_way, reaches }
    }

    /// The members of each side: those that are in two-way contact with one another, over however many others.
    #[must_use]
    pub fn sides(&self) -> [u8; N] {
        let mut sides = self.two_way;
        for a in 0..N {
            for b in 0..N {
                if bit(sides[b], a) {
                    sides[b] |= sides[a];
                }
            }
        }
        sides
    }

    /// The same with the members renamed: `to[a]` is the new number of `a`.
    #[must_use]
    pub fn renamed(&self, to: [usize; N]) -> Self {
        let moved = |row: u8| (0..N).filter(|a| bit(row, *a)).fold(0, |row, a| row | 1 << to[a]);
        let mut next = *self;
        for (a, to) in to.into_iter().enumerate() {
            next.two_way[to] = moved(self.two_way[a]);
            next.reaches[to] = moved(self.reaches[a]);
        }
        next
    }
}

/// Each effect that some set of directed links among `N` members has, and how many sets have it.
#[must_use]
pub fn effects<const N: usize>() -> Vec<(Effect<N>, u32)> {
    let mut found = BTreeMap::new();
    for set in 0_u32..1 << (N * (N - 1)) {
        let mut alive = [0; N];
        let mut rest = set;
        for (from, row) in alive.iter_mut().enumerate() {
            for to in (0..N).filter(|to| *to != from) {
                *row |= u8::from(rest & 1 == 1) << to;
                rest >>= 1;
            }
        }
        *found.entry(Effect::of(alive)).or_insert(0) += 1;
    }
    found.into_iter().collect()
}

/// One effect of each kind, where members that are alike change places; and how many it stands for.
#[must_use]
pub fn kinds<const N: usize>() -> Vec<(Effect<N>, u32)> {
    let orders = permutations::<N>();
    let first = |effect: &Effect<N>| orders.iter().all(|to| effect.renamed(*to) >= *effect);
    effects().into_iter().filter(|(effect, _)| first(effect)).collect()
}

/// All orders of `N` members.
#[must_use]
pub fn permutations<const N: usize>() -> Vec<[usize; N]> {
    let mut orders = vec![[0; N]];
    for filled in 0..N {
        let put = |order: &[usize; N]| {
            let order = *order;
            (0..=filled).map(move |at| {
                let mut next = order;
                next.copy_within(at..filled, at + 1);
                next[at] = filled;
                next
            })
        };
        orders = orders.iter().flat_map(put).collect();
    }
    orders
}

/// Whether `member` is in the set.
#[must_use]
pub fn bit(set: u8, member: usize) -> bool {
    set >> member & 1 == 1
}
