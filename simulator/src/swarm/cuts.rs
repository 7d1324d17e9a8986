//! One cut of links in a cluster of voters, of any shape: whole or partial, one-way, coming and going, moving.

use core::fmt;

use super::{Seed, SimRng};

/// Which links of a cluster are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Shape {
    /// No other hears one member.
    Mute,
    /// One member hears no other.
    Deaf,
    /// One side is not heard by the other.
    OneWay,
    /// Only neighbours on a ring hear each other; of fewer than five members, on a chain.
    Ring,
    /// Only neighbours on a line hear each other.
    Chain,
    /// Two sides, and one member with links to both.
    Bridge,
    /// One member has links to all; the others have none.
    Star,
    /// One link.
    OneLink,
    /// All links of one member.
    AllOfOne,
    /// Three sides.
    ThreeWay,
    /// Two sides, cut for 3 s and whole for 4 s by turns.
    Flapping,
    /// Two sides; halfway some members change sides while the cut stays.
    Moving,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Mute,
        Self::Deaf,
        Self::OneWay,
        Self::Ring,
        Self::Chain,
        Self::Bridge,
        Self::Star,
        Self::OneLink,
        Self::AllOfOne,
        Self::ThreeWay,
        Self::Flapping,
        Self::Moving,
    ];

    /// Whether all members stand on disjoint sides, as `two-quorums` and `quorum-overlap` assume.
    fn divides(self) -> bool {
        match self {
            Self::Mute | Self::Deaf | Self::OneWay | Self::AllOfOne | Self::ThreeWay | Self::Flapping => true,
            Self::Ring | Self::Chain | Self::Bridge | Self::Star | Self::OneLink | Self::Moving => false,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mute => "mute",
            Self::Deaf => "deaf",
            Self::OneWay => "one-way",
            Self::Ring => "ring",
            Self::Chain => "chain",
            Self::Bridge => "bridge",
            Self::Star => "star",
            Self::OneLink => "one-link",
            Self::AllOfOne => "all-of-one",
            Self::ThreeWay => "three-way",
            Self::Flapping => "flapping",
            Self::Moving => "moving",
        })
    }
}

/// The shape and the number of members that `seed` draws.
#[must_use]
pub fn shape(seed: u64, nodes: Option<usize>) -> (Shape, usize) {
    let mut dice = Seed(seed).dice("swarm-cuts", 0);
    let (shape, few) = (Shape::ALL[dice.below(Shape::ALL.len())], SIZES[dice.below(SIZES.len())]);
    let size = if dice.chance(LARGE_SHARE) { LARGE } else { few };
    (shape, nodes.unwrap_or(size).max(LEAST))
}

/// The scenario as text.
pub(super) fn text(seed: u64, nodes: Option<usize>) -> String {
    let (shape, nodes) = shape(seed, nodes);
    shaped(seed, shape, nodes)
}

fn shaped(seed: u64, shape: Shape, nodes: usize) -> String {
    let mut dice = Seed(seed).dice("swarm-cuts", 1);
    let voters = [3, 5, 7].into_iter().filter(|voters| *voters < nodes).collect::<Vec<_>>();
    let electorate = match voters.as_slice() {
        voters if !voters.is_empty() && dice.chance(0.4) => {
            let names: Vec<String> =
                (0..voters[dice.below(voters.len())]).map(|voter| format!("n{voter}")).collect();
            format!("electorate = \"{}\"", names.join(","))
        }
        _ => "expected = \"all\"".to_owned(),
    };
    let mut text = format!(
        "name = \"swarm-cuts-{seed}\"\nabout = \"Drawn from seed {seed}: {shape} of {nodes}.\"\nnodes = {nodes}\n\
         duration = \"100s\"\n\
         \n[network]\nrtt = {{ uniform = {{ low = \"200us\", high = \"{}us\" }} }}\nloss = {}\n\
         \n[protocol]\n{electorate}\n\
         \n[check]\nliveness = false\nsides = {}\nput-out = true\n",
        [400, 1_000, 5_000, 20_000, 40_000][dice.below(5)],
        [0.0, 0.0, 0.005, 0.01, 0.02][dice.below(5)],
        shape.divides(),
    );
    if dice.chance(0.5) {
        for (share, sign) in [("50%", ""), ("30%", "-")] {
            let ppm = dice.below(10_001);
            text.push_str(&format!(
                "\n[[fault]]\nwhat = \"clock-drift\"\nat = \"1s\"\nwho = \"{share}\"\nppm = {sign}{ppm}\n"
            ));
        }
    }
    let lasts = 20_000 + dice.below(20_001);
    let at = BEGIN_MS + dice.below(1_000);
    text.push_str(&faults(shape, nodes, at, lasts, &mut dice));
    text
}

/// The cut itself, from `at` on for `lasts`, both in milliseconds.
fn faults(shape: Shape, nodes: usize, at: usize, lasts: usize, dice: &mut SimRng) -> String {
    let members = dice.choose(nodes, nodes);
    let half = 1 + dice.below(nodes - 1);
    let (one, rest) = members.split_at(1);
    let time = format!("at = \"{at}ms\"\nfor = \"{lasts}ms\"\n");
    let partition = |sides: &[&[usize]], more: &str| {
        let sides: Vec<String> = sides.iter().map(|side| names(side)).collect();
        format!("\n[[fault]]\nwhat = \"partition\"\n{time}sides = [{}]\n{more}", sides.join(", "))
    };
    const ONE_WAY: &str = "one-way = true\n";
    match shape {
        Shape::Mute => partition(&[one, rest], ONE_WAY),
        Shape::Deaf => partition(&[rest, one], ONE_WAY),
        Shape::OneWay => partition(&[&members[..half], &members[half..]], ONE_WAY),
        Shape::AllOfOne => partition(&[one, rest], ""),
        Shape::ThreeWay => {
            let first = 1 + dice.below(nodes - 2);
            let second = first + 1 + dice.below(nodes - first - 1);
            partition(&[&members[..first], &members[first..second], &members[second..]], "")
        }
        Shape::Flapping => {
            let one_way = if dice.chance(0.3) { ONE_WAY } else { "" };
            partition(&[&members[..half], &members[half..]], &format!("on = \"3s\"\noff = \"4s\"\n{one_way}"))
        }
        Shape::Moving => moving(&members, half, at, lasts, dice),
        Shape::Ring if nodes >= 5 => {
            pairs(&members, &time, dice, |a, b| a.abs_diff(b) == 1 || a.abs_diff(b) == nodes - 1)
        }
        Shape::Ring | Shape::Chain => pairs(&members, &time, dice, |a, b| a.abs_diff(b) == 1),
        Shape::Bridge => {
            let half = 1 + dice.below(nodes - 2);
            pairs(&members, &time, dice, |a, b| a == 0 || b == 0 || (a <= half) == (b <= half))
        }
        Shape::Star => pairs(&members, &time, dice, |a, b| a == 0 || b == 0),
        Shape::OneLink => pairs(&members, &time, dice, |a, b| a.min(b) > 0 || a.max(b) > 1),
    }
}

/// Two sides; halfway at most half of each changes sides, at least one member in all.
fn moving(members: &[usize], half: usize, at: usize, lasts: usize, dice: &mut SimRng) -> String {
    let (one, other) = members.split_at(half);
    let moves = |side: &[usize], dice: &mut SimRng| dice.below(side.len() / 2 + 1);
    let (mut there, back) = (moves(one, dice), moves(other, dice));
    if there + back == 0 {
        there = 1;
    }
    let then = [&one[there..], &other[..back]].concat();
    let (then, rest) = if then.is_empty() {
        // The only member of its side goes over, and some other takes its place.
        (other[..1].to_vec(), [one, &other[1..]].concat())
    } else {
        (then, [&one[..there], &other[back..]].concat())
    };
    let cut = |at: usize, sides: [&[usize]; 2]| {
        let (one, other) = (names(sides[0]), names(sides[1]));
        format!(
            "\n[[fault]]\nwhat = \"partition\"\nat = \"{at}ms\"\nfor = \"{}ms\"\nsides = [{one}, {other}]\n",
            lasts / 2
        )
    };
    cut(at, [one, other]) + &cut(at + lasts / 2, [&then, &rest])
}

/// Cuts all links between members that are no `neighbours`, by their places in the list: all both ways, each one way, or a mixture.
fn pairs(
    members: &[usize],
    time: &str,
    dice: &mut SimRng,
    neighbours: impl Fn(usize, usize) -> bool,
) -> String {
    // Of many links the simulator looks at each for each datagram.
    let both = if members.len() > MOST_ONE_WAY { 1.0 } else { [1.0, 0.0, 0.5][dice.below(3)] };
    let mut text = String::new();
    for a in 0..members.len() {
        let [mut whole, mut there, mut back] = [const { Vec::new() }; 3];
        for b in (a + 1..members.len()).filter(|b| !neighbours(a, *b)) {
            let way = match (dice.chance(both), dice.chance(0.5)) {
                (true, _) => &mut whole,
                (false, true) => &mut there,
                (false, false) => &mut back,
            };
            way.push(members[b]);
        }
        let me = names(&members[a..=a]);
        let cut = |from: &str, to: &str, more: &str| {
            format!("\n[[fault]]\nwhat = \"cut\"\n{time}from = {from}\nto = {to}\n{more}")
        };
        if !whole.is_empty() {
            text.push_str(&cut(&me, &names(&whole), "both = true\n"));
        }
        if !there.is_empty() {
            text.push_str(&cut(&me, &names(&there), ""));
        }
        if !back.is_empty() {
            text.push_str(&cut(&names(&back), &me, ""));
        }
    }
    text
}

fn names(members: &[usize]) -> String {
    let names: Vec<String> = members.iter().map(|member| format!("\"n{member}\"")).collect();
    format!("[{}]", names.join(", "))
}

/// Numbers of members; small ones, of which all states are soon seen, weigh more.
const SIZES: [usize; 12] = [3, 3, 3, 5, 5, 5, 7, 7, 9, 9, 12, 32];
/// Seldom drawn, as it takes long.
const LARGE: usize = 128;
const LARGE_SHARE: f64 = 0.005;
/// Two members have one link, and no majority without it.
const LEAST: usize = 3;
const MOST_ONE_WAY: usize = 32;
/// The cluster has formed and holds quorum.
const BEGIN_MS: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Scenario, What, parse};

    fn scenario(seed: u64, nodes: usize, shape: Shape) -> Scenario {
        let text = shaped(seed, shape, nodes);
        parse(&text, &[]).unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{text}"))
    }

    #[test]
    fn every_shape_of_every_size_is_sound_and_cuts_something_for_20_to_40_s() {
        for shape in Shape::ALL {
            for nodes in [3, 4, 5, 7, 12, 32] {
                for seed in 0..20 {
                    let scenario = scenario(seed, nodes, shape);
                    let cuts =
                        scenario.faults.iter().filter(|f| matches!(f.what, What::Cut | What::Partition));
                    let lasts = cuts.clone().filter_map(|f| f.lasts).map(|lasts| lasts.0.as_secs());
                    assert!(cuts.count() > 0, "{shape} of {nodes}");
                    let least = if shape == Shape::Moving { 10 } else { 20 };
                    assert!(lasts.clone().all(|s| (least..=40).contains(&s)), "{shape} of {nodes}");
                }
            }
        }
    }

    #[test]
    fn a_ring_of_five_cuts_the_five_links_that_are_no_edge_of_it() {
        let scenario = scenario(1, 5, Shape::Ring);
        let cuts = scenario.faults.iter().filter(|f| f.what == What::Cut);
        let links: usize = cuts
            .map(|f| {
                let many = |who: &Option<crate::scenario::Who>| match who {
                    Some(crate::scenario::Who::Named(names)) => names.len(),
                    _ => 0,
                };
                many(&f.from) * many(&f.to)
            })
            .sum();
        assert_eq!(links, 5);
    }

    #[test]
    fn seeds_draw_all_shapes_and_sizes() {
        let drawn: Vec<(Shape, usize)> = (0..2000).map(|seed| shape(seed, None)).collect();
        for shape in Shape::ALL {
            assert!(drawn.iter().filter(|(s, _)| *s == shape).count() > 100, "{shape}");
        }
        for size in [3, 5, 7, 9, 12, 32, 128] {
            assert!(drawn.iter().any(|(_, nodes)| *nodes == size), "{size}");
        }
    }
}
