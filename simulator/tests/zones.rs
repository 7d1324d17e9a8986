//! Trouble that strikes sites: targets and sides by zone.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

use heartsay_simulator::recording::{Recording, Told};
use heartsay_simulator::run::{Run, film};
use heartsay_simulator::scenario::parse;

/// Nine members in two sites, of which the first has two thirds.
fn two_sites(fault: &str) -> (Run, Recording) {
    let text = format!(
        "name = 'x'\nabout = 'y'\nnodes = 9\nduration = '40s'\n[protocol]\nexpected = 'all'\n[check]\nliveness = false\n\
         [[network.zone]]\nname = 'east'\nweight = 2\n[[network.zone]]\nname = 'west'\n\
         [[fault]]\nat = '20s'\n{fault}\n"
    );
    let scenario = parse(&text, &[]).unwrap_or_else(|problem| panic!("{problem}"));
    film(&scenario, 1, &|| {}).expect("runs")
}

fn struck(film: &Recording, what: &str) -> Vec<usize> {
    let struck =
        |lane: &usize| film.lanes[*lane].bands.iter().any(|band| band.what == what && band.from > 10.0);
    (0..film.lanes.len()).filter(struck).collect()
}

#[test]
fn a_site_is_struck_as_a_whole_and_no_other() {
    for what in ["pause", "block", "lossy"] {
        let send = if what == "lossy" { "send = 0.5" } else { "" };
        let (_, film) = two_sites(&format!("what = '{what}'\nwho = {{ zone = 'west' }}\n{send}"));
        assert_eq!(struck(&film, what), [6, 7, 8], "{what}");
    }
    let (_, film) = two_sites("what = 'vanish'\nwho = { zone = ['east'] }");
    assert_eq!(struck(&film, "gone"), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn sites_are_the_sides_of_a_cut_and_the_ends_of_links() {
    let sides = [1, 1, 1, 1, 1, 1, 2, 2, 2];
    for fault in [
        "what = 'partition'\nsides = [{ zone = 'east' }, { zone = 'west' }]",
        "what = 'partition'\nsides = [{ zone = 'east' }, '10%']",
        "what = 'cut'\nfrom = { zone = 'east' }\nto = { zone = 'west' }\nboth = true",
    ] {
        let (run, film) = two_sites(fault);
        assert_eq!(film.cuts[0].side, sides, "{fault}");
        let lost = |member| {
            film.story.iter().any(|(_, told)| matches!(told, Told::Quorum(m, heartsay_membership::Quorum::Lost) if *m == member))
        };
        assert_eq!((lost(7), lost(0)), (true, false), "three of nine are no majority: {fault}");
        assert_eq!(run.summary.quorum_to_lose.count, 3, "{fault}");
    }
}

#[test]
fn a_drawn_side_takes_none_that_is_named_for_another() {
    for seed in 1..=20 {
        let text = "name = 'x'\nabout = 'y'\nnodes = 4\nduration = '12s'\n[check]\nliveness = false\n\
                    [[fault]]\nat = '10s'\nwhat = 'partition'\nsides = [2, ['n3']]\n\
                    [[fault]]\nat = '11s'\nwhat = 'cut'\nfrom = 2\nto = 'n0'\n";
        let scenario = parse(text, &[]).unwrap_or_else(|problem| panic!("{problem}"));
        let (_, film) = film(&scenario, seed, &|| {}).expect("runs");
        let sides = |cut: usize| (1..=2).map(move |side| (cut, side));
        let counts: Vec<usize> = sides(0)
            .chain(sides(1))
            .map(|(cut, side)| film.cuts[cut].side.iter().filter(|s| **s == side).count())
            .collect();
        assert_eq!(counts, [2, 1, 2, 1], "seed {seed}");
        assert_eq!((film.cuts[0].side[3], film.cuts[1].side[0]), (2, 2), "seed {seed}");
    }
}

#[test]
fn a_named_member_that_is_away_at_the_cut_does_not_come_back_as_a_bridge() {
    let text = "name = 'x'\nabout = 'y'\nnodes = 4\nduration = '20s'\n[check]\nliveness = false\n\
                [[fault]]\nat = '9s'\nwhat = 'restart'\nwho = 'n3'\nback-after = '2s'\n\
                [[fault]]\nat = '10s'\nwhat = 'partition'\nsides = [['n0', 'n1'], ['n2', 'n3']]\n";
    let scenario = parse(text, &[]).unwrap_or_else(|problem| panic!("{problem}"));
    let (_, film) = film(&scenario, 1, &|| {}).expect("runs");
    assert_eq!(film.cuts[0].side, [1, 1, 2, 2]);
}
