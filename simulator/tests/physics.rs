//! The made-up world does to the machines what its scenarios say.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use heartsay_membership::Instant;
use heartsay_simulator::run::{Run, run_one};
use heartsay_simulator::scenario::parse;
use heartsay_simulator::trace::Log;

const HEAD: &str = "name = 'x'\nabout = 'y'\nnodes = 6\nduration = '60s'\n[check]\nevery-step = true\n";

fn go(rest: &str) -> Run {
    let scenario = parse(&format!("{HEAD}{rest}"), &[]).unwrap_or_else(|problem| panic!("{rest}: {problem}"));
    run_one(&scenario, 1, None).expect("runs")
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("one writer").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log of a run.
fn told(rest: &str) -> String {
    let scenario = parse(&format!("{HEAD}{rest}"), &[]).unwrap_or_else(|problem| panic!("{rest}: {problem}"));
    let lines = Lines::default();
    let log = Log { out: Box::new(lines.clone()), packets: false, only: None, from: Instant::EPOCH };
    run_one(&scenario, 1, Some(log)).expect("runs");
    let bytes = lines.0.lock().expect("one writer").clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn a_quiet_cluster_forms_agrees_and_breaks_nothing() {
    let run = go("");
    assert_eq!(run.violations.count, 0, "{:?}", run.violations);
    assert_eq!(run.summary.formation.missing, 0);
    assert_eq!(run.summary.agreement.missing, 0);
    assert!(run.summary.bytes.mean > 0.0);
}

#[test]
fn a_refused_crash_is_noticed_sooner_than_a_silent_one() {
    let crash = "[network]\nrefusals = true\n[[fault]]\nat = '20s'\nwho = 'n3'\nwhat =";
    let (refused, silent) = (go(&format!("{crash} 'crash'")), go(&format!("{crash} 'vanish'")));
    for run in [&refused, &silent] {
        assert_eq!(run.summary.down.missing, 0, "{:?}", run.violations);
        assert_eq!(run.summary.down.count, 5);
    }
    assert!(refused.summary.down.max < silent.summary.down.min);
    assert!(refused.lost.nobody > 0);
}

#[test]
fn a_pause_stops_the_timers_and_keeps_the_mail() {
    let run = go("[[fault]]\nat = '20s'\nwho = 'n3'\nwhat = 'pause'\nfor = '1900ms'");
    // Just below what is forgiven.
    assert_eq!(run.summary.false_positives, 0);
    assert_eq!(run.lost.buffer, 0);
    assert!(run.counters["stalls"] >= 1, "it notices that it stood still");
    let long = told("[[fault]]\nat = '20s'\nwho = 'n3'\nwhat = 'pause'\nfor = '8s'");
    assert!(long.contains("n3 down"), "eight seconds are above what is forgiven");
}

#[test]
fn a_block_holds_the_mail_while_the_timers_run() {
    let log = told("[[fault]]\nat = '20s'\nwho = 'n3'\nwhat = 'block'\nfor = '6s'");
    assert!(log.contains("n3 suspect"), "the others hear nothing of it");
    assert!(!log.contains("n3     stalled"), "its timers were on time");
}

#[test]
fn a_restart_is_a_later_life_with_and_without_its_disk() {
    for disk in ["kept", "lost"] {
        let log = told(&format!(
            "[[fault]]\nat = '20s'\nwho = 'n3'\nwhat = 'restart'\nback-after = '9s'\ndisk = '{disk}'"
        ));
        assert_eq!(log.matches("n3     starts").count(), 2, "{disk}");
        assert!(log.contains("n3 restart"), "{disk}: a later life of a known name");
    }
}

#[test]
fn a_clock_that_was_set_back_does_not_take_the_generation_with_it() {
    let generation = |log: &str| -> Vec<u64> {
        let lines = log.lines().filter(|line| line.contains("n3     starts"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    };
    let step = "[[fault]]\nat = '15s'\nwho = 'n3'\nwhat = 'clock-step'\nby = '1h'\nback = true\n";
    let kept = generation(&told(&format!("{step}[[fault]]\nat = '20s'\nwho = 'n3'\nwhat = 'restart'")));
    assert!(kept[1] > kept[0], "{kept:?}");
    let lost = generation(&told(&format!(
        "{step}[[fault]]\nat = '20s'\nwho = 'n3'\nwhat = 'restart'\ndisk = 'lost'"
    )));
    assert!(lost[1] < lost[0], "without its disk it cannot know: {lost:?}");
}

#[test]
fn a_partition_cuts_and_heals() {
    let cut = "[[fault]]\nat = '20s'\nwhat = 'partition'\nsides = ['50%', '50%']\nfor = '10s'";
    let run = go(cut);
    assert!(run.lost.cut > 0);
    assert_eq!((run.violations.count, run.summary.agreement.missing), (0, 0), "{:?}", run.violations);
    let log = told(cut);
    assert!(log.contains(" suspect") && log.contains(" alive"), "suspected while it lasts, refuted after it");
}

#[test]
fn newcomers_are_timed_and_a_member_that_leaves_is_gone() {
    let run = go("[[fault]]\nat = '20s'\nwhat = 'join'\nwho = 2\n[[fault]]\nat = '40s'\nwhat = 'leave'");
    assert_eq!(run.summary.newcomer_full.count, 2);
    assert_eq!(run.summary.newcomer_known.count, 14, "seven others each");
    assert_eq!(run.violations.count, 0, "{:?}", run.violations);
    assert_eq!(run.summary.false_positives, 0);
    let two = go("[[fault]]\nat = '20s'\nwhat = 'join'\n[[fault]]\nat = '40s'\nwhat = 'join'").summary;
    assert_eq!(two.newcomer_known.count, 14, "the second knows the first, too");
    assert!(two.newcomer_known.max < 5.0, "who comes 20 s later is not waited for: {:?}", two.newcomer_known);
}

#[test]
fn a_twin_with_the_same_name_does_not_displace_the_first() {
    let run = go("[[fault]]\nat = '20s'\nwhat = 'duplicate-name'\nwho = 'n3'");
    assert_eq!(run.violations.count, 0, "{:?}", run.violations);
    assert_eq!(run.summary.false_positives, 0);
}
