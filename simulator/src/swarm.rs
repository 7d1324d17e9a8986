//! Scenarios that a seed draws, judged by safety and liveness.

mod cuts;
pub mod hostile;

use crate::liar::Lie;
use crate::scenario::{Problem, Scenario, parse};
use crate::sim_rng::{Seed, SimRng};

/// What the drawn scenarios are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Theme {
    /// Trouble of every kind.
    #[default]
    All,
    /// Small clusters of voters under cuts, pauses, drifting clocks and crashes.
    Quorum,
    /// The fence, under cuts that move and everything else that the promise allows.
    Fence,
    /// One cut of one of twelve shapes, whole or partial, in a cluster of voters: it must end in one roster.
    Cuts,
    /// One member that lies, in a cluster of voters.
    Hostile,
}

impl Theme {
    /// What `replay` calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "swarm",
            Self::Quorum => "swarm-quorum",
            Self::Fence => "swarm-fence",
            Self::Cuts => "swarm-cuts",
            Self::Hostile => "swarm-hostile",
        }
    }

    /// The theme that `replay` calls so.
    #[must_use]
    pub fn called(word: &str) -> Option<Self> {
        [Self::All, Self::Quorum, Self::Fence, Self::Cuts, Self::Hostile]
            .into_iter()
            .find(|theme| theme.word() == word)
    }
}

pub use cuts::{Shape, shape};

/// Draws a scenario. With `nodes`, only the size is fixed.
///
/// # Errors
/// A bug of this function: what it writes is always sound.
pub fn draw(seed: u64, theme: Theme, nodes: Option<usize>) -> Result<Scenario, Problem> {
    parse(&text(seed, theme, nodes), &[])
}

/// Draws a scenario with a liar, of whose lies only these are drawn.
///
/// # Errors
/// As [`draw`].
pub fn draw_lies(seed: u64, nodes: Option<usize>, among: &[Lie]) -> Result<Scenario, Problem> {
    let (lies, nodes) = hostile::lies(seed, nodes, among);
    parse(&hostile::telling(seed, nodes, &lies), &[])
}

/// The scenario as text, so that a failing seed can be kept as a file.
#[must_use]
pub fn text(seed: u64, theme: Theme, nodes: Option<usize>) -> String {
    match theme {
        Theme::All => all(seed, nodes),
        Theme::Quorum => quorum(seed, nodes),
        Theme::Fence => fence(seed, nodes),
        Theme::Cuts => cuts::text(seed, nodes),
        Theme::Hostile => hostile::text(seed, nodes),
    }
}

/// Who votes among `nodes` members.
fn electorate(dice: &mut SimRng, nodes: usize) -> &'static str {
    match dice.below(4) {
        0 if nodes > 3 => "electorate = \"n0,n1,n2\"",
        1 if nodes > 4 => "electorate = \"n0:2,n1,n2,n3\"",
        _ => "expected = \"all\"",
    }
}

/// Up to nine voters and no moment of rest: cuts of any shape at any time, also of single paths, stalls, restarts at once or
/// later, with and without a disk, datagrams that come twice, late, or not, clocks that change their rate within 1 %.
fn fence(seed: u64, nodes: Option<usize>) -> String {
    let mut dice = Seed(seed).dice("swarm-fence", 0);
    let drawn = [3, 3, 4, 5, 5, 5, 7, 9][dice.below(8)];
    let nodes = nodes.unwrap_or(drawn);
    let mut text = format!(
        "name = \"swarm-{seed}\"\nabout = \"Drawn from seed {seed}.\"\nnodes = {nodes}\nduration = \"60s\"\n\
         \n[start]\ncontacts = 3\nover = \"1s\"\n\
         \n[network]\nrtt = {{ uniform = {{ low = \"500us\", high = \"{}ms\" }} }}\nloss = {}\nrefusals = {}\n\
         duplicate = {}\nreorder = {}\n\
         \n[protocol]\n{}\nfence = true\nrejoin-interval = \"10s\"\n\
         \n[check]\nliveness = false\nsides = false\none-cut = false\n",
        [2, 20, 20, 300][dice.below(4)],
        [0.0, 0.005, 0.05, 0.2][dice.below(4)],
        dice.chance(0.5),
        [0.0, 0.05][dice.below(2)],
        [0.0, 0.1][dice.below(2)],
        electorate(&mut dice, nodes),
    );
    for (share, sign) in [("50%", ""), ("30%", "-"), ("50%", "-"), ("30%", "")] {
        let (at, ppm) = (1 + dice.below(40), dice.below(10_001));
        text.push_str(&format!(
            "\n[[fault]]\nwhat = \"clock-drift\"\nat = \"{at}s\"\nwho = \"{share}\"\nppm = {sign}{ppm}\n"
        ));
    }
    for _ in 0..3 + dice.below(6) {
        let (at, lasts) = (5_000 + dice.below(45_000), 200 + dice.below(9_000));
        let (share, back) = (10 + dice.below(56), 20 + dice.below(4_000));
        let few = 1 + dice.below((nodes / 3).max(1));
        let kind = match dice.below(9) {
            0 | 1 => format!("what = \"partition\"\nsides = [\"{share}%\", \"30%\"]\nfor = \"{lasts}ms\""),
            2 => format!("what = \"partition\"\nsides = [1, \"30%\"]\none-way = true\nfor = \"{lasts}ms\""),
            3 => format!(
                "what = \"cut\"\nfrom = 1\nto = {few}\nboth = {}\nfor = \"{lasts}ms\"",
                dice.chance(0.5)
            ),
            4 => format!("what = \"pause\"\nwho = {few}\nfor = \"{lasts}ms\""),
            5 => format!("what = \"block\"\nwho = {few}\nfor = \"{lasts}ms\""),
            6 => format!("what = \"restart\"\nwho = {few}\nback-after = \"{back}ms\""),
            7 => format!("what = \"restart\"\nwho = 1\ndisk = \"lost\"\nback-after = \"{back}ms\""),
            _ => format!("what = \"vanish\"\nwho = 1\nback-after = \"{}ms\"", lasts + back),
        };
        text.push_str(&format!("\n[[fault]]\nat = \"{at}ms\"\n{kind}\n"));
        if kind.contains("partition") && dice.chance(0.3) {
            let (on, off) = (200 + dice.below(4_000), 100 + dice.below(3_000));
            text.push_str(&format!("on = \"{on}ms\"\noff = \"{off}ms\"\n"));
        }
    }
    text
}

/// Safety alone: a member that flaps is kept out for longer than these scenarios last. Whether all agree in the end is
/// asked by the other theme.
///
/// Cuts of every shape, one after the other, with pauses and restarts, while clocks run up to 1 % fast or slow.
fn quorum(seed: u64, nodes: Option<usize>) -> String {
    let mut dice = Seed(seed).dice("swarm-quorum", 0);
    let drawn = [3, 3, 4, 5, 5, 5, 7, 9, 12][dice.below(9)];
    let nodes = nodes.unwrap_or(drawn);
    let electorate = electorate(&mut dice, nodes);
    let fence = nodes <= 9 && Seed(seed).dice("swarm-quorum-fence", 0).chance(0.5);
    let mut text = format!(
        "name = \"swarm-{seed}\"\nabout = \"Drawn from seed {seed}.\"\nnodes = {nodes}\nduration = \"120s\"\n\
         \n[start]\ncontacts = 3\nover = \"1s\"\n\
         \n[network]\nrtt = {{ uniform = {{ low = \"500us\", high = \"{}ms\" }} }}\nloss = {}\nrefusals = {}\n\
         \n[protocol]\n{electorate}\nfence = {fence}\nrejoin-interval = \"10s\"\n\
         \n[check]\nliveness = false\none-cut = false\n\
         \n[[fault]]\nwhat = \"clock-drift\"\nat = \"1s\"\nwho = \"50%\"\nppm = {}\n\
         \n[[fault]]\nwhat = \"clock-drift\"\nat = \"1s\"\nwho = \"30%\"\nppm = {}\n",
        1 + dice.below(20),
        [0.0, 0.0, 0.005, 0.02][dice.below(4)],
        dice.chance(0.5),
        dice.below(10_001),
        -(dice.below(10_001) as i64),
    );
    let mut at = 8_000;
    // One cut after the other: of one that moves the rules promise nothing (docs/quorum.md).
    for _ in 0..2 + dice.below(3) {
        at += WHOLE_MS + dice.below(4_000);
        let lasts = 500 + dice.below(9_000);
        // At most two thirds: of three members, one is left for the other side.
        let share = 10 + dice.below(56);
        let sides = match dice.below(6) {
            0 => "\"34%\", \"33%\", \"33%\"".to_owned(),
            1 => "1, \"50%\"".to_owned(),
            _ => format!("\"{share}%\", \"50%\""),
        };
        text.push_str(&format!(
            "\n[[fault]]\nwhat = \"partition\"\nat = \"{at}ms\"\nsides = [{sides}]\nfor = \"{lasts}ms\"\n"
        ));
        if dice.chance(0.3) {
            text.push_str("one-way = true\n");
        }
        if dice.chance(0.3) {
            let (on, off) = (200 + dice.below(4_000), 200 + dice.below(4_000));
            text.push_str(&format!("on = \"{on}ms\"\noff = \"{off}ms\"\n"));
        }
        at += lasts;
    }
    for _ in 0..dice.below(3) {
        let (at, lasts) = (8_000 + dice.below(35_000), 500 + dice.below(12_000));
        let few = 1 + dice.below((nodes / 3).max(1));
        let kind = match dice.below(4) {
            0 | 1 => format!("what = \"pause\"\nwho = {few}\nfor = \"{lasts}ms\""),
            2 => format!("what = \"restart\"\nwho = {few}\nback-after = \"{lasts}ms\""),
            _ => format!("what = \"block\"\nwho = {few}\nfor = \"{lasts}ms\""),
        };
        text.push_str(&format!("\n[[fault]]\nat = \"{at}ms\"\n{kind}\n"));
    }
    by_site(seed, nodes, electorate, text)
}

/// A quarter of the seeds count by zones, or have a member or zone that decides a tie; some of their cuts part the zones. From
/// dice of its own, so that the other seeds stay what they were.
fn by_site(seed: u64, nodes: usize, electorate: &str, text: String) -> String {
    let mut dice = Seed(seed).dice("swarm-quorum-sites", 0);
    if !dice.chance(0.25) || nodes < 3 {
        return text;
    }
    if nodes.is_multiple_of(2) && dice.chance(0.3) {
        let tie = format!("electorate = \"{nodes}+tie=n{}\"", dice.below(nodes));
        return text.replace(electorate, &tie);
    }
    let zones: &[&str] = if dice.chance(0.7) { &["a", "b", "c"] } else { &["a", "b"] };
    let size = |zone: usize| nodes / zones.len() + usize::from(zone < nodes % zones.len());
    let votes: Vec<String> =
        zones.iter().enumerate().map(|(at, zone)| format!("{zone}={}", size(at))).collect();
    let tie = if zones.len() == 2 { "+tie=a" } else { "" };
    let mut text = text.replace(electorate, &format!("electorate = \"zones:{}{tie}\"", votes.join(",")));
    for (at, zone) in zones.iter().enumerate() {
        text.push_str(&format!("\n[[network.zone]]\nname = \"{zone}\"\nweight = {}\n", size(at)));
    }
    // The first zone against the others, or each for itself.
    let names = |from: usize, upto: usize| {
        (from..upto).map(|member| format!("\"n{member}\"")).collect::<Vec<_>>().join(", ")
    };
    let first = format!("[[{}], [{}]]", names(0, size(0)), names(size(0), nodes));
    let each: Vec<String> = zones.iter().map(|zone| format!("{{ zone = \"{zone}\" }}")).collect();
    let each = format!("[{}]", each.join(", "));
    let lines = text.lines().map(|line| match line.strip_prefix("sides = ") {
        Some(_) if dice.chance(0.5) => {
            format!("sides = {}\n", if dice.chance(0.5) { &first } else { &each })
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

fn all(seed: u64, nodes: Option<usize>) -> String {
    let mut dice = Seed(seed).dice("swarm", 0);
    let drawn = 3 + dice.below(22);
    let nodes = nodes.unwrap_or(drawn);
    let contacts = 1 + dice.below(3);
    let loss = [0.0, 0.0, 0.01, 0.05, 0.1][dice.below(5)];
    let rtt = [1, 1, 5, 40][dice.below(4)];
    let over = 1 + dice.below(5);
    let duplicate = [0.0, 0.02][dice.below(2)];
    let reorder = [0.0, 0.05][dice.below(2)];
    let corrupt = [0.0, 0.01][dice.below(2)];
    let refusals = dice.chance(0.5);
    let mut faults: String = (0..1 + dice.below(4)).map(|_| fault(&mut dice, nodes)).collect();
    faults.push_str(&filter(seed, nodes));
    // Of a cut that moves into another the rules promise nothing (docs/quorum.md).
    let sides = faults.matches("what = \"partition\"").count() < 2;
    let shaky = SHAKY.iter().any(|kind| faults.contains(&format!("what = \"{kind}\"")));
    let calm = if shaky { CALM_SHAKY } else { CALM };
    format!(
        "name = \"swarm-{seed}\"\nabout = \"Drawn from seed {seed}.\"\nnodes = {nodes}\nduration = \"{}s\"\n\
         \n[start]\ncontacts = {contacts}\nover = \"{over}s\"\n\
         \n[network]\nrtt = {{ uniform = {{ low = \"{rtt}ms\", high = \"{}ms\" }} }}\nloss = {loss}\n\
         duplicate = {duplicate}\nreorder = {reorder}\ncorrupt = {corrupt}\nrefusals = {refusals}\n\
         \n[protocol]\nexpected = \"all\"\n\
         \n[check]\nagree-within = \"{calm}s\"\nevery-step = {}\nsides = {sides}\none-cut = false\n{faults}",
        TROUBLE + calm + 10,
        rtt * 2,
        nodes <= 16,
    )
}

/// One piece of trouble that is over by [`TROUBLE`].
fn fault(dice: &mut SimRng, nodes: usize) -> String {
    let at = 15 + dice.below(TROUBLE - 45);
    let lasts = 1 + dice.below(25);
    let few = 1 + dice.below((nodes / 3).max(1));
    let kind = match dice.below(14) {
        0 => format!("what = \"crash\"\nwho = {few}"),
        1 => format!("what = \"vanish\"\nwho = {few}"),
        2 => format!("what = \"restart\"\nwho = {few}\nover = \"{lasts}s\""),
        3 => format!("what = \"restart\"\nwho = 1\ndisk = \"lost\"\nback-after = \"{lasts}s\""),
        4 => format!("what = \"crash-loop\"\nevery = \"{}s\"\nfor = \"{lasts}s\"", 1 + dice.below(4)),
        5 => format!("what = \"pause\"\nwho = {few}\nfor = \"{lasts}s\""),
        6 => format!(
            "what = \"block\"\nwho = {few}\non = \"2s\"\noff = \"200ms\"\nphase = \"apart\"\nfor = \"{lasts}s\""
        ),
        7 => format!("what = \"slow\"\nwork = \"{}ms\"\nfor = \"{lasts}s\"", 1 + dice.below(60)),
        8 => format!("what = \"lossy\"\nwho = {few}\nsend = 0.8\nfor = \"{lasts}s\""),
        9 => format!(
            "what = \"partition\"\nsides = [\"{}%\", \"50%\"]\nfor = \"{lasts}s\"",
            20 + dice.below(40)
        ),
        10 => format!(
            "what = \"partition\"\nsides = [\"40%\", \"60%\"]\none-way = true\non = \"3s\"\noff = \"4s\"\nfor = \"{lasts}s\""
        ),
        11 => format!("what = \"clock-step\"\nby = \"{}m\"\nback = {}", 1 + dice.below(90), dice.chance(0.5)),
        12 => "what = \"leave\"\nwho = 1".to_owned(),
        _ => format!("what = \"join\"\nwho = {few}\nover = \"{lasts}s\""),
    };
    format!("\n[[fault]]\nat = \"{at}s\"\n{kind}\n")
}

/// In every fourth scenario, a packet filter that refuses, inbound at one member or outbound at one. Of dice of its own, so that the
/// rest of a seed is what it was.
fn filter(seed: u64, nodes: usize) -> String {
    let mut dice = Seed(seed).dice("swarm-refuse", 0);
    if !dice.chance(0.25) {
        return String::new();
    }
    let (at, lasts, few) =
        (15 + dice.below(TROUBLE - 45), 1 + dice.below(25), 1 + dice.below((nodes / 3).max(1)));
    let (from, to) = if dice.chance(0.5) { (few, 1) } else { (1, few) };
    format!("\n[[fault]]\nat = \"{at}s\"\nwhat = \"refuse\"\nfrom = {from}\nto = {to}\nfor = \"{lasts}s\"\n")
}

/// So long everything is whole between two cuts: longer than a proof is good.
const WHOLE_MS: usize = 1_500;
/// Seconds by which all trouble is over.
const TROUBLE: usize = 90;
/// Seconds of calm in which agreement must come.
const CALM: usize = 60;
/// The same after trouble in which members come and go: one that flaps is kept out on purpose until it has
/// behaved, for 240 beats at the longest (`membership/src/detection/flap_damping.rs`).
const CALM_SHAKY: usize = 260;
const SHAKY: [&str; 7] = ["crash-loop", "restart", "pause", "block", "slow", "lossy", "partition"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_draws_a_sound_scenario() {
        for seed in 0..500 {
            for theme in [Theme::All, Theme::Quorum, Theme::Fence, Theme::Cuts, Theme::Hostile] {
                draw(seed, theme, None)
                    .unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{}", text(seed, theme, None)));
            }
        }
        let refused = (0..500).filter(|seed| text(*seed, Theme::All, None).contains("\"refuse\"")).count();
        assert!((80..170).contains(&refused), "{refused} of 500 with a filter");
        assert_ne!(text(1, Theme::All, None), text(2, Theme::All, None));
        assert_eq!(draw(1, Theme::Quorum, Some(7)).expect("sound").nodes, 7);
    }
}
