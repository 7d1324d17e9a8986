//! Direct paths: the two ends of a cut link tell it, no other does, and weather is no cut.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use heartsay_simulator::run::{Report, run};
use heartsay_simulator::scenario::{parse, source};

fn told(report: &Report) -> Vec<(u64, u64)> {
    report.runs.iter().map(|run| (run.counters["path-downs"], run.counters["path-ups"])).collect()
}

fn ran(text: &str, seeds: &[u64]) -> Report {
    let scenario = parse(text, &[]).unwrap_or_else(|problem| panic!("{problem}"));
    run(&scenario, seeds, &[], &|| {}).expect("runs")
}

#[test]
fn a_cut_link_is_told_once_at_each_end_and_so_is_its_end() {
    let text = source("cut-one-link").expect("is shipped");
    let report = ran(text, &[1, 2, 3, 4]);
    assert_eq!(told(&report), [(2, 2); 4]);
    assert!(report.sound(), "{:?}", report.runs.iter().map(|run| &run.violations).collect::<Vec<_>>());
}

#[test]
fn in_a_larger_cluster_too_and_each_way_alone() {
    for both in [true, false] {
        let report = ran(
            &format!(
                "name = 'link'\nabout = 'link'\nnodes = 16\nduration = '120s'\n[network]\nloss = 0.01\n\
                 [[fault]]\nwhat = 'cut'\nat = '30s'\nfor = '60s'\nfrom = ['n3']\nto = ['n7']\nboth = {both}\n\
                 [check]\nliveness = false\n"
            ),
            &[1, 2, 3],
        );
        assert_eq!(told(&report), [(2, 2); 3], "both ways: {both}");
    }
}

#[test]
fn loss_crashes_and_pauses_are_no_cut_links() {
    for (loss, nodes) in [(0.05, 5), (0.1, 9), (0.3, 5), (0.05, 32)] {
        let text = format!(
            "name = 'weather'\nabout = 'weather'\nnodes = {nodes}\nduration = '300s'\n[network]\nloss = {loss}\n\
             [[fault]]\nwhat = 'pause'\nat = '60s'\nfor = '4s'\nwho = 'n1'\n\
             [[fault]]\nwhat = 'crash'\nat = '120s'\nwho = 'n2'\n\
             [check]\nliveness = false\n"
        );
        assert_eq!(told(&ran(&text, &[1, 2])), [(0, 0); 2], "{nodes} members, {loss} lost");
    }
}
