//! Cuts of many shapes, and what each side says of quorum: the table of `docs/quorum-proofs.md`, section 4.
//!
//! All members vote. The cut begins 30 s after the start, or up to a second later, and lasts 30 s.

use std::collections::BTreeSet;

use heartsay_membership::{Instant, Quorum};
use rayon::prelude::*;
use serde::Serialize;

use crate::recording::{Recording, Told};
use crate::run::film;
use crate::scenario::{Problem, Scenario, load};

/// How a cluster is cut.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its name in the table.
    pub name: &'static str,
    /// Members of the cluster, all with a vote.
    pub nodes: usize,
    /// Every member, on its side.
    sides: Vec<Vec<usize>>,
    /// What else differs from a plain cut.
    sets: &'static [&'static str],
}

/// What came of one shape, over all its seeds. Times in seconds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// Name of the shape.
    pub shape: &'static str,
    /// Members of the cluster.
    pub nodes: usize,
    /// Seeds that were run.
    pub seeds: usize,
    /// From the cut until a member without a majority said `lost`.
    pub lost: Option<Range>,
    /// Members on a side with a majority, over all seeds.
    pub majority: usize,
    /// How many of those ever said `lost`.
    pub majority_lost: usize,
    /// From the cut until a member that held quorum first called another down.
    pub first_down: Option<Range>,
    /// From the heal until a member that had been without a majority held quorum again.
    pub held_again: Option<Range>,
    /// Verdicts given more than a second after the heal.
    pub late_downs: usize,
    /// Rules that were broken.
    pub violations: u64,
    /// The cut came and went, so that verdicts after the last heal are meant.
    #[serde(skip)]
    flaps: bool,
}

/// The least and the most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// All shapes, in the order of the table.
#[must_use]
pub fn shapes() -> Vec<Shape> {
    let first = |count: usize| vec![(0..count).collect()];
    let few = |nodes: usize| first((nodes * 3 / 10).max(1));
    let mut all = Vec::new();
    for nodes in [5, 10, 32, 128] {
        all.push(Shape::new("half", nodes, first(nodes / 2)));
        all.push(Shape::new("minority", nodes, few(nodes)));
    }
    for nodes in [9, 32] {
        let third = nodes / 3;
        all.push(Shape::new(
            "three-way",
            nodes,
            vec![(0..third).collect(), (third..2 * nodes / 3).collect()],
        ));
    }
    for nodes in [5, 32] {
        all.push(Shape { sets: &["fault.0.one-way=true"], ..Shape::new("one-way", nodes, few(nodes)) });
        all.push(Shape::new("one isolated", nodes, first(1)));
    }
    for (nodes, hubs) in HUBS {
        all.push(Shape::new("hub: all that ask for the others", nodes, vec![hubs.to_vec()]));
        let rest = (0..nodes).filter(|member| !hubs.contains(member)).collect();
        let deaf = Shape::new("deaf hub: it hears no other", nodes, vec![rest]);
        all.push(Shape { sets: &["fault.0.one-way=true"], ..deaf });
    }
    for nodes in [5, 10] {
        let plain = Shape::new("flapping, 3 s on and 4 s off", nodes, few(nodes));
        all.push(Shape { sets: &FLAPPING, ..plain });
    }
    all.push(Shape::new("minority", 1000, first(300)));
    all
}

impl Shape {
    /// These sides, and one of the rest.
    fn new(name: &'static str, nodes: usize, mut sides: Vec<Vec<usize>>) -> Self {
        let named = sides.concat();
        sides.push((0..nodes).filter(|member| !named.contains(member)).collect());
        Self { name, nodes, sides, sets: &[] }
    }

    fn flaps(&self) -> bool {
        self.sets == FLAPPING
    }

    /// Members of the side that has a majority, if one has.
    fn majority(&self) -> BTreeSet<usize> {
        self.sides.iter().filter(|side| 2 * side.len() > self.nodes).flatten().copied().collect()
    }

    /// The cut as a scenario.
    ///
    /// # Errors
    /// A bug of this file: its shapes are sound.
    pub fn scenario(&self) -> Result<Scenario, Problem> {
        let side = |side: &Vec<usize>| {
            let names: Vec<String> = side.iter().map(|member| format!("\"n{member}\"")).collect();
            format!("[{}]", names.join(","))
        };
        let sides: Vec<String> = self.sides.iter().map(side).collect();
        let mut sets = vec![
            format!("nodes={}", self.nodes),
            "protocol.expected=all".to_owned(),
            "duration=90s".to_owned(),
            "fault.0.for=30s".to_owned(),
            format!("fault.0.sides=[{}]", sides.join(",")),
        ];
        sets.extend(self.sets.iter().map(|set| (*set).to_owned()));
        load("partition-30-70", &sets)
    }

    /// Runs `seeds` on all cores. `tick` is told of every virtual second of every run.
    ///
    /// # Errors
    /// See [`Shape::scenario`].
    pub fn run(&self, seeds: &[u64], tick: &(dyn Fn() + Sync)) -> Result<Outcome, String> {
        let scenario = self.scenario().map_err(|problem| problem.to_string())?;
        let one = |seed: &u64| {
            let (run, film) = film(&scenario, *seed, tick)?;
            Ok(Seen::of(self, &film, run.violations.count))
        };
        let seen: Result<Vec<Seen>, String> = seeds.par_iter().map(one).collect();
        Ok(Outcome::of(self, &seen?))
    }
}

impl Outcome {
    fn of(shape: &Shape, seen: &[Seen]) -> Self {
        let range = |times: fn(&Seen) -> &[f64]| Range::of(seen.iter().flat_map(times).copied());
        Self {
            shape: shape.name,
            nodes: shape.nodes,
            seeds: seen.len(),
            lost: range(|seen| &seen.lost),
            majority: shape.majority().len() * seen.len(),
            majority_lost: seen.iter().map(|seen| seen.majority_lost.len()).sum(),
            first_down: range(|seen| seen.first_down.as_slice()),
            held_again: range(|seen| &seen.held_again),
            late_downs: seen.iter().map(|seen| seen.late_downs).sum(),
            violations: seen.iter().map(|seen| seen.violations).sum(),
            flaps: shape.flaps(),
        }
    }

    /// No rule was broken and no member called down late. A member that flaps may be put out after the last heal: that is meant.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.violations == 0 && (self.late_downs == 0 || self.flaps)
    }
}

impl Range {
    fn of(times: impl Iterator<Item = f64>) -> Option<Self> {
        times
            .map(|time| Self { min: time, max: time })
            .reduce(|all, one| Self { min: all.min.min(one.min), max: all.max.max(one.max) })
    }
}

/// What the story of one seed says.
#[derive(Debug, Default)]
struct Seen {
    lost: Vec<f64>,
    majority_lost: BTreeSet<usize>,
    first_down: Option<f64>,
    held_again: Vec<f64>,
    late_downs: usize,
    violations: u64,
}

impl Seen {
    fn of(shape: &Shape, film: &Recording, violations: u64) -> Self {
        let majority = shape.majority();
        let few: BTreeSet<usize> = (0..shape.nodes).filter(|member| !majority.contains(member)).collect();
        let mut seen = Self { violations, ..Self::default() };
        let (mut holds, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        let (mut cut, mut healed) = (None, None);
        let since = |begin: Instant, now: Instant| now.since(begin).as_secs_f64();
        for &(now, told) in &film.story {
            match told {
                Told::Cut => {
                    cut = cut.or(Some(now));
                    (healed, waiting) = (None, few.clone());
                }
                Told::Healed => healed = Some(now),
                Told::Quorum(member, says) => {
                    if says == Quorum::Held {
                        holds.insert(member)
                    } else {
                        holds.remove(&member)
                    };
                    match (says, cut, healed) {
                        (Quorum::Lost, Some(_), _) if majority.contains(&member) => {
                            seen.majority_lost.insert(member);
                        }
                        (Quorum::Lost, Some(cut), _) if waiting.remove(&member) => {
                            seen.lost.push(since(cut, now));
                        }
                        (Quorum::Held, _, Some(healed)) if few.contains(&member) => {
                            seen.held_again.push(since(healed, now));
                        }
                        (Quorum::Lost | Quorum::Held | Quorum::Unsettled, _, _) => {}
                    }
                }
                Told::Down(observer) => {
                    if let Some(cut) = cut.filter(|_| holds.contains(&observer)) {
                        seen.first_down.get_or_insert(since(cut, now));
                    }
                    // News of a verdict given before the heal may be under way for a moment.
                    seen.late_downs += usize::from(healed.is_some_and(|healed| since(healed, now) > 1.0));
                }
            }
        }
        if shape.flaps() {
            // It is cut again and again; only the first time is timed.
            seen.lost.retain(|time| *time < FLAP);
        }
        seen
    }
}

/// The members that ask all the others where electors are many: drawn by name, so the same in every run
/// (`membership/src/quorum/service.rs`).
const HUBS: [(usize, [usize; 3]); 3] = [(12, [3, 6, 9]), (32, [3, 9, 25]), (128, [3, 107, 121])];
/// A member that flaps is kept out for a while after the last heal, so no agreement is asked for.
const FLAPPING: [&str; 3] = ["fault.0.on=3s", "fault.0.off=4s", "check.liveness=false"];
/// Seconds that each cut of one that flaps lasts.
const FLAP: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn seen(shape: &Shape, story: &[(u64, Told)]) -> Seen {
        let story = story.iter().map(|(ms, told)| (at(*ms), *told)).collect();
        Seen::of(shape, &Recording { story, ..Recording::default() }, 0)
    }

    #[test]
    fn every_shape_is_a_sound_scenario_with_each_member_on_one_side() {
        for shape in shapes() {
            let scenario = shape.scenario().unwrap_or_else(|problem| panic!("{shape:?}: {problem}"));
            assert_eq!(scenario.nodes, shape.nodes);
            let mut members = shape.sides.concat();
            members.sort_unstable();
            assert_eq!(members, (0..shape.nodes).collect::<Vec<_>>(), "{shape:?}");
        }
    }

    #[test]
    fn a_story_is_timed_from_the_cut_and_from_the_heal() {
        let (held, lost) = (Quorum::Held, Quorum::Lost);
        let shape = Shape::new("minority", 5, vec![vec![0]]);
        let seen = seen(
            &shape,
            &[
                (5_000, Told::Quorum(0, held)),
                (5_000, Told::Quorum(1, held)),
                (30_000, Told::Cut),
                (31_000, Told::Quorum(0, lost)),
                (31_500, Told::Quorum(2, lost)),
                (31_600, Told::Down(0)),
                (32_000, Told::Down(1)),
                (33_000, Told::Down(1)),
                (60_000, Told::Healed),
                (60_500, Told::Down(1)),
                (61_500, Told::Down(1)),
                (63_000, Told::Quorum(0, held)),
            ],
        );
        assert_eq!((seen.lost, seen.held_again), (vec![1.0], vec![3.0]));
        assert_eq!(seen.first_down, Some(2.0), "only one that holds quorum counts");
        assert_eq!(seen.late_downs, 1, "half a second after the heal is not late");
        assert_eq!(seen.majority_lost.len(), 1);
    }

    #[test]
    fn a_verdict_after_the_heal_is_no_fault_of_a_cut_that_flaps() {
        let story = [(30_000, Told::Cut), (33_000, Told::Healed), (35_000, Told::Down(1))];
        for shape in shapes() {
            let outcome = Outcome::of(&shape, &[seen(&shape, &story)]);
            assert_eq!(outcome.sound(), shape.flaps(), "{shape:?}");
        }
    }

    #[test]
    fn the_side_without_a_majority_says_lost_and_holds_again_after_the_heal() {
        let shape = Shape::new("half", 5, vec![vec![0, 1]]);
        let outcome = shape.run(&[1], &|| {}).expect("runs");
        let lost = outcome.lost.expect("two are without a majority");
        assert!((0.5..1.5).contains(&lost.min) && lost.max < 1.5, "{outcome:?}");
        assert!(outcome.held_again.is_some() && outcome.sound(), "{outcome:?}");
        assert_eq!((outcome.majority, outcome.majority_lost), (3, 0));
    }
}
