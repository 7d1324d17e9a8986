//! Scenarios that nobody chose: drawn from a seed, judged by safety and liveness.

use crate::dice::{Dice, Seed};
use crate::scenario::{Problem, Scenario, parse};

/// Draws a scenario. With `nodes`, only the size is fixed.
///
/// # Errors
/// A bug of this function: what it writes is always sound.
pub fn draw(seed: u64, nodes: Option<usize>) -> Result<Scenario, Problem> {
    parse(&text(seed, nodes), &[])
}

/// The scenario as text, so that a failing seed can be kept as a file.
#[must_use]
pub fn text(seed: u64, nodes: Option<usize>) -> String {
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
    let faults: String = (0..1 + dice.below(4)).map(|_| fault(&mut dice, nodes)).collect();
    let shaky = SHAKY.iter().any(|kind| faults.contains(&format!("what = \"{kind}\"")));
    let calm = if shaky { CALM_SHAKY } else { CALM };
    format!(
        "name = \"swarm-{seed}\"\nabout = \"Drawn from seed {seed}.\"\nnodes = {nodes}\nduration = \"{}s\"\n\
         \n[start]\ncontacts = {contacts}\nover = \"{over}s\"\n\
         \n[network]\nrtt = {{ uniform = {{ low = \"{rtt}ms\", high = \"{}ms\" }} }}\nloss = {loss}\n\
         duplicate = {duplicate}\nreorder = {reorder}\ncorrupt = {corrupt}\nrefusals = {refusals}\n\
         \n[protocol]\nexpected = \"all\"\n\
         \n[check]\nagree-within = \"{calm}s\"\nevery-step = {}\n{faults}",
        TROUBLE + calm + 10,
        rtt * 2,
        nodes <= 16,
    )
}

/// One piece of trouble that is over by [`TROUBLE`].
fn fault(dice: &mut Dice, nodes: usize) -> String {
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

/// Seconds by which all trouble is over.
const TROUBLE: usize = 90;
/// Seconds of calm in which agreement must come.
const CALM: usize = 60;
/// The same after trouble in which members come and go: one that flaps is kept out on purpose until it has
/// behaved, for 240 beats at the longest (`membership/src/damping.rs`).
const CALM_SHAKY: usize = 260;
const SHAKY: [&str; 7] = ["crash-loop", "restart", "pause", "block", "slow", "lossy", "partition"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_draws_a_sound_scenario() {
        for seed in 0..500 {
            draw(seed, None).unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{}", text(seed, None)));
        }
        assert_ne!(text(1, None), text(2, None));
        assert_eq!(draw(1, Some(7)).expect("sound").nodes, 7);
    }
}
