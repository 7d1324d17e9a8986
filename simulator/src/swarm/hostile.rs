//! One liar in a cluster of voters: whatever it says, it harms no healthy member.

use super::{Seed, SimRng};
use crate::liar::Lie;

/// The lies and the number of members that `seed` draws: half of the seeds one kind of lie alone, some all kinds.
#[must_use]
pub fn lies(seed: u64, nodes: Option<usize>, among: &[Lie]) -> (Vec<Lie>, usize) {
    let mut dice = Seed(seed).dice("swarm-hostile", 0);
    let drawn = SIZES[dice.below(SIZES.len())];
    let among = if among.is_empty() { &Lie::ALL } else { among };
    let count = match dice.below(10) {
        0..5 => 1,
        5..9 => 2 + dice.below(4),
        _ => among.len(),
    };
    let mut lies: Vec<Lie> = dice.choose(among.len(), count).into_iter().map(|i| among[i]).collect();
    lies.sort_unstable();
    (lies, nodes.unwrap_or(drawn).max(LEAST))
}

/// The scenario as text, with the lies that the seed draws.
pub(super) fn text(seed: u64, nodes: Option<usize>) -> String {
    let (lies, nodes) = lies(seed, nodes, &[]);
    telling(seed, nodes, &lies)
}

/// The scenario as text, with these lies.
#[must_use]
pub fn telling(seed: u64, nodes: usize, lies: &[Lie]) -> String {
    let mut dice = Seed(seed).dice("swarm-hostile", 1);
    let words: Vec<String> = lies.iter().map(|lie| format!("\"{lie}\"")).collect();
    let every = [50, 200, 200, 1_000][dice.below(4)];
    let liar = dice.below(nodes);
    let about = if dice.chance(0.5) {
        format!("about = \"n{}\"\n", (liar + 1 + dice.below(nodes - 1)) % nodes)
    } else {
        String::new()
    };
    format!(
        "name = \"swarm-{seed}\"\nabout = \"Drawn from seed {seed}.\"\nnodes = {nodes}\nduration = \"{END_S}s\"\n\
         \n[start]\ncontacts = 3\nover = \"1s\"\n\
         \n[network]\nrtt = {{ uniform = {{ low = \"500us\", high = \"{}ms\" }} }}\nloss = {}\nrefusals = {}\n\
         \n[protocol]\nexpected = \"all\"\nfence = {}\nmax-members = {}\n\
         \n[check]\nliveness = false\nsides = false\none-cut = false\n\
         \n[[fault]]\nwhat = \"lie\"\nat = \"{BEGIN_S}s\"\nfor = \"{LASTS_S}s\"\nwho = \"n{liar}\"\n\
         every = \"{every}ms\"\nlies = [{}]\nforge-source = {}\n{about}{}",
        1 + dice.below(20),
        [0.0, 0.0, 0.01][dice.below(3)],
        dice.chance(0.5),
        nodes <= 9 && dice.chance(0.3),
        nodes + 100,
        words.join(", "),
        dice.chance(0.3),
        trouble(&mut dice, nodes, liar),
    )
}

/// In a third of the seeds a true death, in a quarter a cut that leaves one honest side without a majority.
fn trouble(dice: &mut SimRng, nodes: usize, liar: usize) -> String {
    let at = 25_000 + dice.below(10_000);
    let honest = |dice: &mut SimRng| (liar + 1 + dice.below(nodes - 1)) % nodes;
    match dice.below(12) {
        0..4 if nodes > LEAST => {
            let what = if dice.chance(0.5) { "vanish" } else { "crash" };
            format!("\n[[fault]]\nwhat = \"{what}\"\nat = \"{at}ms\"\nwho = \"n{}\"\n", honest(dice))
        }
        4..7 => {
            // The liar stands on a side, or has links to both.
            let bridge = dice.chance(0.5);
            let first = honest(dice);
            let (mut one, mut other) = (vec![first], Vec::new());
            for member in (0..nodes).filter(|m| *m != first && (*m != liar || !bridge)) {
                let few = one.len() < nodes.div_ceil(2) - 1;
                if few && dice.chance(0.3) { &mut one } else { &mut other }.push(member);
            }
            let side = |members: &[usize]| {
                let names: Vec<String> = members.iter().map(|member| format!("\"n{member}\"")).collect();
                format!("[{}]", names.join(", "))
            };
            if other.is_empty() {
                return String::new();
            }
            format!(
                "\n[[fault]]\nwhat = \"partition\"\nat = \"{at}ms\"\nfor = \"15s\"\nsides = [{}, {}]\n",
                side(&one),
                side(&other)
            )
        }
        _ => String::new(),
    }
}

/// Numbers of members; small ones, which lies harm most easily, weigh more.
const SIZES: [usize; 8] = [3, 3, 4, 5, 5, 8, 8, 32];
/// Two healthy members and a liar.
const LEAST: usize = 3;
const BEGIN_S: u64 = 15;
const LASTS_S: u64 = 35;
const END_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{What, parse};

    #[test]
    fn seeds_draw_each_lie_alone_and_all_together_in_all_sizes() {
        let drawn: Vec<(Vec<Lie>, usize)> = (0..3000).map(|seed| lies(seed, None, &[])).collect();
        for lie in Lie::ALL {
            assert!(drawn.iter().filter(|(lies, _)| *lies == [lie]).count() > 20, "{lie}");
        }
        assert!(drawn.iter().filter(|(lies, _)| lies.len() == Lie::ALL.len()).count() > 200);
        for size in SIZES {
            assert!(drawn.iter().any(|(_, nodes)| *nodes == size), "{size}");
        }
        let some = [Lie::Vote, Lie::Lend];
        assert!((0..100).all(|seed| lies(seed, None, &some).0.iter().all(|lie| some.contains(lie))));
    }

    #[test]
    fn scenarios_have_deaths_cuts_and_forged_sources() {
        let text = |seed| text(seed, None);
        let scenarios: Vec<_> = (0..300).map(|seed| parse(&text(seed), &[]).expect("sound")).collect();
        let with = |what| scenarios.iter().filter(|s| s.faults.iter().any(|f| f.what == what)).count();
        assert_eq!(with(What::Lie), 300);
        assert!(with(What::Vanish) + with(What::Crash) > 60 && with(What::Partition) > 40);
        assert!(scenarios.iter().filter(|s| s.faults[0].forge_source).count() > 60);
    }
}
