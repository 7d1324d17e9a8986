//! The rows about quorum, on worlds small enough to know what they must say.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use heartsay_simulator::measure::Summary;
use heartsay_simulator::run::run;
use heartsay_simulator::scenario::parse;

/// Five members for 90 s, which all start within a second.
fn five(text: &str, seeds: &[u64]) -> Summary {
    let text = format!("name = 'five'\nabout = 'five'\nnodes = 5\nduration = '90s'\n{text}");
    let scenario = parse(&text, &[]).unwrap_or_else(|problem| panic!("{problem}"));
    run(&scenario, seeds, &[], &|| {}).expect("runs").summary
}

fn near(measured: f64, expected: f64, by: f64) {
    assert!((measured - expected).abs() <= by, "{measured} is not {expected} ± {by}");
}

const ALL: &str = "[protocol]\nexpected = 'all'\n";

#[test]
fn without_trouble_all_are_healthy_ten_seconds_after_the_start_and_lose_nothing() {
    let summary = five(ALL, &[1, 2]);
    near(summary.quorum_healthy, 2.0 * 5.0 * 79.5, 2.0 * 5.0 * 0.5);
    assert_eq!((summary.quorum_losses, summary.quorum_without), (0, 0.0));
    assert_eq!((summary.quorum_to_lose.count, summary.quorum_to_regain.count), (0, 0));
    assert!(summary.shows_quorum() && !five("", &[1]).shows_quorum(), "only with an electorate");
    assert_eq!(summary.bytes_member.count, 10, "a mean of each member of each seed");
}

#[test]
fn a_cut_is_timed_where_a_majority_is_missing_and_costs_the_others_nothing() {
    let cut = "[[fault]]\nwhat = 'partition'\nat = '30s'\nfor = '20s'\nsides = [['n0', 'n1'], '60%']\n";
    let summary = five(&format!("{ALL}{cut}"), &[1]);
    // Three for 79.5 s; two until the cut, and from 10 s after the heal on.
    near(summary.quorum_healthy, 3.0 * 79.5 + 2.0 * (19.5 + 30.0), 2.5);
    assert_eq!(summary.quorum_losses, 0, "neither side lost it needlessly");
    let (lost, again) = (&summary.quorum_to_lose, &summary.quorum_to_regain);
    assert_eq!((lost.count, lost.missing, again.count, again.missing), (2, 0, 2, 0));
    assert!(lost.min > 0.3 && lost.max < 1.44, "{lost:?}: the promise is 1.43 s");
    assert!(again.min > 0.1 && again.max < 10.0, "{again:?}");
}

#[test]
fn a_paused_member_is_no_healthy_one_that_loses_quorum() {
    let pause = "[[fault]]\nwhat = 'pause'\nat = '30s'\nfor = '5s'\nwho = 'n0'\n";
    let summary = five(&format!("{ALL}{pause}"), &[1]);
    assert_eq!((summary.quorum_losses, summary.quorum_to_lose.count), (0, 0));
    near(summary.quorum_healthy, 5.0 * 79.5 - 15.0, 2.5);
}

#[test]
fn loss_that_takes_quorum_from_healthy_members_is_seen() {
    // Each direction of each link carries nothing for a quarter of the time, 5 s at once: members are left alone in turn.
    let burst = "[network]\nburst = { good = '15s', bad = '5s' }\n";
    let summary = five(&format!("{ALL}{burst}"), &[1, 2]);
    assert!(summary.quorum_losses > 0, "no proof lasts for 5 s");
    let gaps = &summary.quorum_gaps;
    assert!(gaps.count >= summary.quorum_losses, "{gaps:?}");
    let hours = summary.quorum_healthy / 3600.0;
    near(summary.quorum_losses_per_1000h, summary.quorum_losses as f64 * 1000.0 / hours, 0.01);
    near(summary.quorum_without_share, summary.quorum_without / summary.quorum_healthy, 1e-9);
    assert!(summary.quorum_without >= 0.9 * gaps.mean * gaps.count as f64, "gaps are time without");
}

#[test]
fn a_cut_that_ends_in_one_roster_is_timed_and_a_mute_and_a_deaf_member_know_it() {
    let cut = |sides: &str| {
        format!(
            "{ALL}[[fault]]\nwhat = 'partition'\nat = '30s'\nfor = '20s'\nsides = {sides}\none-way = true\n[check]\nliveness = false\n"
        )
    };
    let mute = five(&cut("[['n1'], '80%']"), &[1, 2]);
    let one = &mute.one_roster;
    assert_eq!((one.count, one.missing, mute.changes_unheld), (4, 0, 0), "two cuts and two heals");
    assert!(one.min < 0.2 && one.max > 2.0 && one.max < 3.5, "{one:?}");
    assert_eq!((mute.mute_knows.count, mute.deaf_knows.count), (2, 0));
    assert!(mute.mute_knows.max < 1.44, "{:?}: it says so as it loses quorum", mute.mute_knows);
    let changes = &mute.status_changes;
    assert_eq!((changes.count, changes.max), (4, 1.0), "down at the cut, in at the heal, twice");
    let deaf = five(&cut("['80%', ['n1']]"), &[1, 2]);
    assert_eq!((deaf.mute_knows.count, deaf.deaf_knows.count), (0, 2));
    let none = five(&cut("[['n0', 'n1', 'n2'], ['n3', 'n4']]").replace(ALL, ""), &[1]);
    assert_eq!((none.one_roster.count, none.status_changes.count), (0, 0), "only with an electorate");
}

/// Three sites: two of 3 members, one of 1.
fn three_sites(electorate: &str, faults: &str) -> (Summary, u64) {
    let zone = |name: &str, weight: u32| format!("[[network.zone]]\nname = '{name}'\nweight = {weight}\n");
    let zones = zone("east", 3) + &zone("west", 3) + &zone("north", 1);
    let text = format!(
        "name = 'sites'\nabout = 'sites'\nnodes = 7\nduration = '90s'\n[protocol]\nelectorate = '{electorate}'\n{zones}{faults}"
    );
    let scenario = parse(&text, &[]).unwrap_or_else(|problem| panic!("{problem}"));
    let report = run(&scenario, &[1, 2, 3], &[], &|| {}).expect("runs");
    let violations = report.runs.iter().map(|run| run.violations.count).sum();
    (report.summary, violations)
}

fn cut(sides: &str) -> String {
    format!("[[fault]]\nwhat = 'partition'\nat = '30s'\nfor = '20s'\nsides = {sides}\n")
}

#[test]
fn of_three_sites_two_go_on_and_the_third_has_lost_quorum_in_time() {
    let zones = "zones:east=3,west=3,north=1";
    for (site, rest, members) in
        [("east", "['n3', 'n4', 'n5', 'n6']", 3), ("north", "['n0', 'n1', 'n2', 'n3', 'n4', 'n5']", 1)]
    {
        let (summary, violations) = three_sites(zones, &cut(&format!("[{{ zone = '{site}' }}, {rest}]")));
        let lost = &summary.quorum_to_lose;
        assert_eq!((lost.count, lost.missing), (3 * members, 0), "{site} alone");
        assert!(lost.max < 1.43, "{lost:?}");
        assert_eq!((summary.quorum_losses, violations), (0, 0), "the others lost nothing");
    }
    let (summary, _) = three_sites(zones, &cut("[{ zone = 'east' }, { zone = 'west' }, { zone = 'north' }]"));
    assert_eq!((summary.quorum_to_lose.count, summary.quorum_to_lose.missing), (3 * 7, 0), "none has two");
    let (summary, _) = three_sites(zones, &cut("[['n0', 'n3', 'n4', 'n5'], ['n1', 'n2', 'n6']]"));
    assert_eq!(
        summary.quorum_to_lose.count,
        3 * 4,
        "all of west and one of east are one zone; two of east and north two"
    );
}

#[test]
fn of_two_sites_the_one_that_decides_goes_on() {
    let (summary, violations) =
        three_sites("zones:east=3,west=3+tie=west", &cut("[{ zone = 'east' }, ['n3', 'n4', 'n5', 'n6']]"));
    assert_eq!((summary.quorum_to_lose.count, summary.quorum_losses, violations), (9, 0, 0));
}
