//! Explores all that cuts of directed links can do to the rules of [`lease`](crate::lease).
//!
//! [`one_at_a_time`]: any set of directed links dies at any moment and is whole again at any later one, as often as one
//! likes; the links that are dead stay the same within a cut. This is the assumption A2 of docs/quorum-proofs.md, and more: a cut
//! need not divide the cluster. [`flickering`]: links change in every tick of a cut, as long as its sides stay apart and
//! news passes within each; [`changing`]: they change once, which five members allow for. [`moving`]: from one cut straight to another, of which nothing is promised. [`notices`]: a
//! member is put out, at any moment of a cut.

use std::collections::BTreeSet;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::lease::{Fault, Member, Rules, State};
use crate::links::{Effect, effects, kinds, permutations};

/// How much was explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: u64,
    /// Steps from one to the next.
    pub steps: u64,
}

/// States that were seen. The states are our own, so that a hash which an adversary could fool is good enough.
pub(crate) type Seen<T> = HashSet<T, BuildHasherDefault<Mix>>;

/// Multiplies and rotates: far faster than the hash of the standard library.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

/// How it came to a fault: the links in each tick, and the states after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken<const N: usize> {
    /// What is wrong.
    pub fault: Fault,
    /// The moment.
    pub state: State<N>,
    /// The links of that tick.
    pub links: Effect<N>,
}

/// A cut while it lasts.
#[derive(Clone, Copy, Debug)]
struct Cut<const N: usize> {
    links: Effect<N>,
    sides: [u8; N],
    lasts: u8,
}

impl<const N: usize> Cut<N> {
    fn of(links: Effect<N>) -> Self {
        Self { links, sides: links.sides(), lasts: 0 }
    }

    /// One more tick of the cut.
    fn step(&mut self, rules: &Rules<N>, state: &State<N>) -> Result<State<N>, Broken<N>> {
        let next = state.step(rules, &self.links);
        self.lasts = self.lasts.saturating_add(1);
        // In the first tick of the cut the newest proof is one tick old.
        let sides = (self.lasts >= rules.good()).then_some(&self.sides);
        match next.fault(rules, sides) {
            Some(fault) => Err(Broken { fault, state: next, links: self.links }),
            None => Ok(next),
        }
    }

    /// The rest of the cut, until nothing changes any more.
    fn run_out(
        mut self,
        rules: &Rules<N>,
        mut state: State<N>,
        explored: &mut Explored,
    ) -> Result<(), Broken<N>> {
        loop {
            let then = self.step(rules, &state)?;
            explored.steps += 1;
            if then == state {
                return Ok(());
            }
            state = then;
            explored.states += 1;
        }
    }
}

/// Any directed links die and are whole again, one cut at a time.
///
/// # Errors
/// The first fault.
pub fn one_at_a_time<const N: usize>(rules: &Rules<N>) -> Result<Explored, Broken<N>> {
    let effects = effects::<N>();
    let mut explored = Explored::default();
    // A moment at which all links are whole is told by what each member has of quorum, and members with one vote each are
    // alike.
    let alike = rules.votes == [rules.votes[0]; N];
    let whole = |state: &State<N>| {
        let mut members = state.step(rules, &Effect::WHOLE).members;
        if alike {
            members.sort_unstable();
        }
        members
    };
    let start = [Member { proof: 0, proven: 1, held: false }; N];
    let mut seen = BTreeSet::from([start]);
    let mut open: Vec<[Member; N]> = vec![start];
    while let Some(members) = open.pop() {
        let state = State::whole(members);
        let mut next = BTreeSet::from([whole(&state)]);
        for (links, _) in &effects {
            let (mut cut, mut state) = (Cut::of(*links), state);
            loop {
                let then = cut.step(rules, &state)?;
                explored.steps += 1;
                if then == state && cut.lasts > rules.good() {
                    break;
                }
                explored.states += 1;
                next.insert(whole(&then));
                state = then;
            }
        }
        open.extend(next.into_iter().filter(|members| seen.insert(*members)));
    }
    Ok(explored)
}

/// In every tick other links are dead, while two sides stay apart and news passes within each.
///
/// # Errors
/// The first fault.
pub fn flickering<const N: usize>(rules: &Rules<N>) -> Result<Explored, Broken<N>> {
    let effects = effects::<N>();
    // Members with as many votes are alike.
    let keeps = |to: &[usize; N]| (0..N).all(|a| rules.votes[a] == rules.votes[to[a]]);
    let orders: Vec<[usize; N]> = permutations::<N>().into_iter().filter(keeps).collect();
    let first = |state: &State<N>, sides: &[u8; N]| {
        let rename = |to: &[usize; N]| {
            (state.renamed(to), Effect { two_way: *sides, reaches: *sides }.renamed(*to).two_way)
        };
        orders.iter().map(rename).min().unwrap_or((*state, *sides))
    };
    let all = Effect::<N>::WHOLE.two_way;
    let partitions: BTreeSet<[u8; N]> = effects.iter().map(|(links, _)| links.sides()).collect();
    let within = |sides: &[u8; N]| -> Vec<Effect<N>> {
        let stays = |a: usize, links: &Effect<N>| {
            links.two_way[a] & !sides[a] == 0 && sides[a] & !links.reaches[a] == 0
        };
        effects.iter().map(|(links, _)| *links).filter(|links| (0..N).all(|a| stays(a, links))).collect()
    };
    let start = (State::calm(rules), all);
    let (mut seen, mut open) = (Seen::from_iter([start]), vec![start]);
    let mut explored = Explored::default();
    while let Some((state, sides)) = open.pop() {
        explored.states += 1;
        // In a cut, on with it or an end to it; while whole, any cut.
        let cuts = if sides == all { partitions.iter().copied().collect() } else { vec![sides] };
        let steps =
            cuts.into_iter().flat_map(|sides| within(&sides).into_iter().map(move |links| (links, sides)));
        for (links, sides) in steps.chain([(Effect::WHOLE, all)]) {
            let then = state.step(rules, &links);
            explored.steps += 1;
            if let Some(fault) = then.fault(rules, None) {
                return Err(Broken { fault, state: then, links });
            }
            let then = first(&then, &sides);
            if seen.insert(then) {
                open.push(then);
            }
        }
    }
    Ok(explored)
}

/// A cut that changes, once, into another, without a moment of being whole. Of that nothing is promised.
///
/// # Errors
/// The first fault.
pub fn moving<const N: usize>(rules: &Rules<N>) -> Result<Explored, Broken<N>> {
    let effects = effects::<N>();
    let mut explored = Explored::default();
    for (first, _) in kinds::<N>() {
        let (mut cut, mut state) = (Cut::of(first), State::calm(rules));
        loop {
            let then = cut.step(rules, &state)?;
            if then == state {
                break;
            }
            state = then;
            for (second, _) in &effects {
                Cut::of(*second).run_out(rules, state, &mut explored)?;
            }
        }
    }
    Ok(explored)
}

/// The links change once within a cut, at any moment, while its sides stay apart and news passes within each.
///
/// # Errors
/// The first fault.
pub fn changing<const N: usize>(rules: &Rules<N>) -> Result<Explored, Broken<N>> {
    let effects = effects::<N>();
    let mut explored = Explored::default();
    for (first, _) in kinds::<N>() {
        // The sides of both together, within which all hear of all.
        let stays = |second: &Effect<N>| {
            let mut both = first;
            (0..N).for_each(|a| both.two_way[a] |= second.two_way[a]);
            let sides = both.sides();
            let news = |a: usize| sides[a] & !(first.reaches[a] & second.reaches[a]) == 0;
            (0..N).all(news).then_some(Cut { links: *second, sides, lasts: 0 })
        };
        let cuts: Vec<Cut<N>> = effects.iter().filter_map(|(second, _)| stays(second)).collect();
        for mut second in cuts {
            let (mut cut, mut state) = (Cut { links: first, ..second }, State::calm(rules));
            loop {
                let then = cut.step(rules, &state)?;
                if then == state {
                    break;
                }
                state = then;
                second.lasts = cut.lasts;
                second.run_out(rules, state, &mut explored)?;
            }
        }
    }
    Ok(explored)
}

/// A member that runs is put out, at any moment before, in or after a cut of any directed links. `prompt`: news of the
/// notice reaches each member that holds quorum within a tick, which is half a second (assumption A6).
///
/// # Errors
/// The first fault.
pub fn notices<const N: usize>(rules: &Rules<N>, prompt: bool) -> Result<Explored, Broken<N>> {
    let mut explored = Explored::default();
    for (links, _) in kinds::<N>() {
        for (witness, subject) in (0..N).flat_map(|a| (0..N).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            // No cut yet, the cut, whole again.
            let mut seen = Seen::from_iter([(State::calm(rules), 0)]);
            let mut open = vec![(State::calm(rules), 0)];
            while let Some((state, phase)) = open.pop() {
                explored.states += 1;
                let given = state.notice.is_none().then(|| state.noticed(witness, subject));
                for (state, phase) in
                    [state].into_iter().chain(given).flat_map(|s| [(s, phase), (s, phase + 1)])
                {
                    let Some(links) = [Effect::WHOLE, links, Effect::WHOLE].get(phase).copied() else {
                        continue;
                    };
                    let then = state.step(rules, &links);
                    explored.steps += 1;
                    if prompt && then.is_untold() {
                        continue;
                    }
                    if let Some(fault) = then.fault(rules, None) {
                        return Err(Broken { fault, state: then, links });
                    }
                    if seen.insert((then, phase)) {
                        open.push((then, phase));
                    }
                }
            }
        }
    }
    Ok(explored)
}
