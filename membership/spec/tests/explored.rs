//! The specification in all its states, and what the explorer finds when a rule is broken.
//!
//! `cargo test --release -p heartsay-spec -- --nocapture` prints how much was explored; `--ignored` goes deeper.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and tell how much they saw"
)]

use heartsay_spec::cuts::{self, Broken, Explored};
use heartsay_spec::fence;
use heartsay_spec::lease::{Fault, Rules};
use heartsay_spec::links::{effects, kinds};
use heartsay_spec::merge::{Known, Status, Told};

fn sound<const N: usize>(what: &str, explored: Result<Explored, Broken<N>>) {
    match explored {
        Ok(Explored { states, steps }) => println!("{what}, {N} members: {states} states, {steps} steps"),
        Err(broken) => panic!("{what}: {broken:?}"),
    }
}

fn breaks<const N: usize>(explored: Result<Explored, Broken<N>>, is: impl Fn(Fault) -> bool) {
    let fault = explored.unwrap_err().fault;
    assert!(is(fault), "{fault:?}");
}

fn calls_down(fault: Fault) -> bool {
    matches!(fault, Fault::CallsDown(..))
}

fn put_out(fault: Fault) -> bool {
    matches!(fault, Fault::PutOut(..))
}

/// Votes of five members: one each, weighted, and fewer voters than members.
fn rules() -> [Rules<5>; 3] {
    let rules = Rules::of();
    [rules, rules.with_votes([2, 1, 1, 1, 0]), rules.with_votes([1, 1, 1, 0, 0])]
}

#[test]
fn directed_links_of_five_members_have_few_different_effects() {
    let all = effects::<5>();
    assert_eq!(all.iter().map(|(_, sets)| u64::from(*sets)).sum::<u64>(), 1 << 20, "each set of links once");
    println!("5 members: {} effects of 1048576 sets of links, {} kinds", all.len(), kinds::<5>().len());
    assert!(all.len() < 1 << 17);
}

#[test]
fn no_member_is_down_for_a_holder_while_it_holds_quorum_whatever_directed_links_are_cut() {
    for rules in rules() {
        sound("one cut at a time", cuts::one_at_a_time(&rules));
    }
}

#[test]
fn links_that_change_in_each_tick_of_a_cut_change_nothing_about_it() {
    sound("flickering", cuts::flickering(&Rules::<3>::short()));
    sound("flickering, one voter", cuts::flickering(&Rules::<3>::short().with_votes([1, 0, 0])));
    sound("changing", cuts::changing(&Rules::<4>::of()));
}

#[test]
fn a_member_that_is_put_out_holds_no_quorum_whatever_directed_links_are_cut() {
    sound("notices", cuts::notices(&Rules::<5>::of(), true));
}

#[test]
fn a_lease_longer_than_a_verdict_takes_would_overlap() {
    let rules = Rules::<5>::of();
    for rules in [
        Rules { lease: rules.lease + 1, ..rules },
        Rules { slow: rules.slow + 1, ..rules },
        Rules { fast: rules.fast + 1, ..rules },
        Rules { lull: rules.lull + 1, ..rules },
        Rules { patience: rules.patience - 1, ..rules },
    ] {
        breaks(cuts::one_at_a_time(&rules), calls_down);
    }
}

#[test]
fn an_answer_that_is_not_the_askers_own_would_prove_nothing() {
    // A member that hears others, and is not heard, would hold quorum without end.
    breaks(cuts::one_at_a_time(&Rules::<5> { bound: false, ..Rules::of() }), |_| true);
}

#[test]
fn a_loan_that_grows_younger_would_keep_a_dead_majority_alive() {
    breaks(cuts::one_at_a_time(&Rules::<5> { aged: false, ..Rules::of() }), |_| true);
}

#[test]
fn a_verdict_by_one_without_quorum_would_overlap() {
    breaks(cuts::one_at_a_time(&Rules::<5> { holds: false, ..Rules::of() }), calls_down);
}

#[test]
fn half_of_the_votes_would_be_too_few() {
    let rules = Rules::<4> { needed: 2, ..Rules::of() };
    breaks(cuts::one_at_a_time(&rules), |fault| {
        matches!(fault, Fault::TwoQuorums(..) | Fault::CallsDown(..))
    });
}

#[test]
fn a_cut_that_moves_is_beyond_the_promise() {
    breaks(cuts::moving(&Rules::<3>::of()), calls_down);
}

#[test]
fn a_member_that_does_not_heed_that_it_is_put_out_would_hold_quorum() {
    let rules = Rules::<5>::of();
    // The others hear of it while nobody holds quorum, and it begins to hold it with them.
    breaks(cuts::notices(&Rules { heeds: false, ..rules }, true), put_out);
    // Where news is as quick as is assumed, that others acknowledge it no more is a second lock on the same door.
    sound("notices, acknowledged", cuts::notices(&Rules { silent: false, ..rules }, true));
}

#[test]
fn a_notice_that_a_holder_hears_of_late_is_beyond_the_promise() {
    breaks(cuts::notices(&Rules::<5>::of(), false), put_out);
}

#[test]
#[ignore = "a minute"]
fn deeper() {
    sound("flickering", cuts::flickering(&Rules::<3>::of()));
    sound("changing", cuts::changing(&Rules::<5>::of()));
}

#[test]
fn a_member_that_holds_quorum_is_never_fenced_whatever_happens() {
    let Explored { states, steps } = fence::explore::<3>(&fence::Rules::default(), false).unwrap();
    println!("fence, 5 members: {states} states, {steps} steps");
    let three = fence::Rules { needed: 2, ..fence::Rules::default() };
    let Explored { states, steps } = fence::explore::<1>(&three, true).unwrap();
    println!("fence, 3 members, answers lost and restarts: {states} states, {steps} steps");
}

#[test]
fn each_rule_of_the_fence_is_needed() {
    let rules = fence::Rules::default();
    for broken in [
        fence::Rules { silence: rules.silence - 1, ..rules },
        fence::Rules { needed: 2, ..rules },
        fence::Rules { settle: 0, ..rules },
        fence::Rules { fresh: rules.settle + 2, ..rules },
        fence::Rules { floor: false, ..rules },
        fence::Rules { own: false, ..rules },
    ] {
        assert!(fence::explore::<3>(&broken, false).is_err(), "{broken:?}");
    }
}

fn all_known() -> Vec<Known> {
    let mut all = Vec::new();
    for (generation, heartbeat, left) in
        (0..2).flat_map(|g| (0..3).flat_map(move |h| [(g, h, false), (g, h, true)]))
    {
        for down in [None, Some(0), Some(1), Some(2), Some(3)] {
            all.push(Known { generation, heartbeat, left, down }.tidy());
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn merging_is_a_join_so_neither_order_nor_repetition_matters() {
    let all = all_known();
    for a in &all {
        assert_eq!(a.join(*a), *a);
        for b in &all {
            let ab = a.join(*b);
            assert_eq!(ab, b.join(*a));
            assert!(ab.follows(*a) && ab.follows(*b), "nothing known is lost");
            for c in &all {
                assert_eq!(ab.join(*c), a.join(b.join(*c)));
                assert!(!(c.follows(*a) && c.follows(*b)) || c.follows(ab), "no more than both know");
            }
        }
    }
}

#[test]
fn what_may_be_told_is_what_some_knowledge_explains() {
    let told = |known: &Known| Told {
        generation: known.generation,
        heartbeat: known.heartbeat,
        status: known.status(),
    };
    let all = all_known();
    for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
        let explains = |(x, y): (&Known, &Known)| told(x) == told(a) && told(y) == told(b) && y.follows(*x);
        let explained = all.iter().flat_map(|x| all.iter().map(move |y| (x, y))).any(explains);
        assert_eq!(told(b).may_follow(&told(a)), explained, "{a:?} {b:?}");
    }
    let down = Told { generation: 1, heartbeat: 5, status: Status::Down };
    assert!(
        !Told { status: Status::Alive, ..down }.may_follow(&down),
        "a verdict is refuted by a heartbeat only"
    );
}
