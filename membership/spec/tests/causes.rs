//! What datagrams explain, and what they do not.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use heartsay_spec::merge::{Status, Told};
use heartsay_spec::trace::{Causes, Electorate, Settling, Words};

/// Five members, one vote each.
fn five() -> Electorate {
    Electorate { zones: vec![(vec![1; 5], 3)] }
}

/// `from` sends at `left` what `to` receives at `arrives`.
fn tell(causes: &mut Causes, (from, left): (usize, u64), (to, arrives): (usize, u64)) {
    causes.acts(left, from, None);
    let past = causes.past(from);
    causes.acts(arrives, to, past.as_deref().map(|past| (from, past)));
}

/// `asks` has an answer of `asked` at `left` + 20.
fn ask(causes: &mut Causes, asks: usize, asked: usize, left: u64) {
    tell(causes, (asks, left), (asked, left + 10));
    tell(causes, (asked, left + 10), (asks, left + 20));
}

#[test]
fn answers_of_a_majority_explain_a_proof_as_of_the_oldest_question() {
    let mut causes = Causes::new(5);
    ask(&mut causes, 0, 1, 100);
    assert!(!causes.explain(0, 100, &five()), "two of five");
    ask(&mut causes, 0, 2, 300);
    assert!(causes.explain(0, 100, &five()) && !causes.explain(0, 101, &five()));
    ask(&mut causes, 0, 1, 400);
    assert!(causes.explain(0, 300, &five()) && !causes.explain(0, 301, &five()));
}

#[test]
fn to_hear_from_members_or_to_be_heard_explains_nothing() {
    let mut causes = Causes::new(5);
    for other in 1..5 {
        tell(&mut causes, (other, 100), (0, 110));
        tell(&mut causes, (0, 200), (other, 210));
    }
    assert!(!causes.explain(0, 1, &five()));
}

#[test]
fn a_loan_explains_a_proof_as_old_as_the_lenders_and_no_younger_than_the_question() {
    let mut causes = Causes::new(5);
    ask(&mut causes, 1, 2, 100);
    ask(&mut causes, 1, 3, 200);
    ask(&mut causes, 4, 1, 500);
    // With the vote of the borrower itself, which has just had an answer of the lender, two others are enough.
    assert!(causes.explain(4, 200, &five()) && !causes.explain(4, 201, &five()));
    let voters = Electorate { zones: vec![(vec![0, 1, 1, 1, 0], 2)] };
    assert!(causes.explain(4, 200, &voters) && !causes.explain(4, 201, &voters), "without it, one other");
    ask(&mut causes, 0, 4, 600);
    assert!(causes.explain(0, 200, &voters) && !causes.explain(0, 201, &voters), "a loan of a loan");
}

#[test]
fn a_loan_is_no_younger_than_the_question() {
    let voters = Electorate { zones: vec![(vec![0, 1, 0, 0, 0], 1)] };
    let mut causes = Causes::new(5);
    // The answer leaves 400 later.
    tell(&mut causes, (0, 100), (1, 110));
    tell(&mut causes, (1, 500), (0, 510));
    assert!(causes.explain(0, 100, &voters) && !causes.explain(0, 101, &voters));
}

#[test]
fn the_ping_of_the_next_wave_is_the_answer_to_an_answer() {
    let mut causes = Causes::new(5);
    causes.acts(100, 0, None);
    let ping = causes.past(0).unwrap();
    for other in 1..5 {
        causes.acts(110, other, Some((0, &ping)));
    }
    for other in 1..5 {
        let answer = causes.past(other).unwrap();
        causes.acts(120, 0, Some((other, &answer)));
    }
    assert!(!causes.explain(3, 1, &five()));
    tell(&mut causes, (0, 700), (3, 710));
    assert!(causes.explain(3, 100, &five()) && !causes.explain(3, 101, &five()));
}

#[test]
fn a_new_life_has_no_proof_of_the_one_before() {
    let mut causes = Causes::new(5);
    ask(&mut causes, 0, 1, 100);
    ask(&mut causes, 0, 2, 100);
    causes.begins(0);
    assert!(!causes.explain(0, 1, &five()));
}

#[test]
fn by_zones_most_zones_need_a_majority_each() {
    let zones = Electorate {
        zones: vec![(vec![1, 1, 1, 0, 0], 2), (vec![0, 0, 0, 1, 0], 1), (vec![0, 0, 0, 0, 1], 1)],
    };
    let mut causes = Causes::new(5);
    ask(&mut causes, 0, 1, 100);
    ask(&mut causes, 0, 2, 100);
    assert!(!causes.explain(0, 100, &zones), "one zone of three");
    ask(&mut causes, 0, 4, 200);
    assert!(causes.explain(0, 100, &zones));
}

#[test]
fn quorum_is_held_after_proofs_without_a_gap() {
    let mut settling = Settling::default();
    assert!(!settling.may_hold(100, Some(200), 150));
    assert!(!settling.may_hold(190, Some(290), 150));
    assert!(settling.may_hold(250, Some(350), 150));
    assert!(!settling.may_hold(350, Some(450), 150), "at its end a proof is over");
    assert!(!settling.may_hold(400, None, 150));
    assert!(!settling.may_hold(549, Some(600), 150));
}

#[test]
fn a_verdict_between_two_that_both_say_held_and_one_undone_without_a_heartbeat_are_seen() {
    let mut words = Words::default();
    let told = |heartbeat, status| Told { generation: 1, heartbeat, status };
    words.says("a", true);
    words.says("b", true);
    assert_eq!(words.tells("a", "b", told(5, Status::Down)), None);
    assert!(words.overlap(&"a", &"b"));
    words.says("b", false);
    assert!(!words.overlap(&"a", &"b"));
    assert!(words.tells("a", "b", told(5, Status::Alive)).is_some(), "no newer heartbeat");
    assert_eq!(words.tells("a", "b", told(6, Status::Alive)), None);
    words.ends(&"a");
    assert_eq!(
        words.tells("a", "b", told(2, Status::Alive)),
        None,
        "a new life knows nothing of the one before"
    );
}
