//! Results as tables for people.

use heartsay_simulator::checks::Verdict;
use heartsay_simulator::measure::{Spread, Summary};
use heartsay_simulator::run::{Report, Run};

/// Prints a report. `words` chooses the same scenario again.
pub(super) fn report(report: &Report, verbose: bool, words: &str) {
    say!("{}: {}", report.scenario, report.about);
    say!(
        "{} members, {} seeds, {} s of virtual time each\n",
        report.nodes,
        report.runs.len(),
        report.seconds
    );
    summary(&report.summary);
    if verbose {
        per_seed(report);
    }
    if !report.budget.is_empty() {
        say!("\n{:<28}{:>12}{:>12}{:>12}", "budget", "measured", "limit", "doubt ±");
        for line in &report.budget {
            let measured = line.measured.map_or_else(|| "never".to_owned(), number);
            let doubt = line.doubt.map_or_else(String::new, number);
            let verdict = match line.verdict {
                Verdict::Kept => "",
                Verdict::Unsure => "   unsure: more seeds would tell",
                Verdict::Broken => "   BROKEN",
            };
            let text =
                format!("  {:<26}{measured:>12}{:>12}{doubt:>12}{verdict}", line.key, number(line.limit));
            say!("{}", text.trim_end());
        }
    }
    say!();
    let broken: Vec<&Run> = report.runs.iter().filter(|run| run.violations.count > 0).collect();
    for run in &broken {
        say!("seed {}:", run.seed);
        violations(run);
        say!("  replay: heartsay-sim replay {words} --seed {} --log", run.seed);
    }
    if broken.is_empty() {
        say!("checks: all kept");
    }
    if let Some(why) = &report.unmet {
        let now = if report.passed() { "; with these seeds all is kept" } else { "" };
        say!("known not to be kept: {why}{now}");
    }
    let shown = if verbose { report.runs.as_slice() } else { report.runs.get(..1).unwrap_or(&[]) };
    shown.iter().for_each(happened);
    let traces: Vec<&str> = report.runs.iter().map(|run| run.trace.as_str()).collect();
    say!("trace of seed {}: {}", report.runs.first().map_or(0, |r| r.seed), traces.first().unwrap_or(&""));
}

/// Prints what the trouble of one run did.
pub(super) fn happened(run: &Run) {
    if run.happened.is_empty() {
        say!("what happened (seed {}): nothing, as the scenario has no fault", run.seed);
        return;
    }
    say!("what happened (seed {}):", run.seed);
    for line in &run.happened {
        say!("  {line}");
    }
}

/// Prints what was violated in one run.
pub(super) fn violations(run: &Run) {
    for violation in &run.violations.first {
        say!("  {:>10.6} s  {}: {}", violation.at_us as f64 / 1e6, violation.rule, violation.what);
    }
    let more = run.violations.count.saturating_sub(run.violations.first.len() as u64);
    if more > 0 {
        say!("  … and {more} more");
    }
}

fn summary(s: &Summary) {
    say!(
        "{:<28}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "",
        "min",
        "mean",
        "median",
        "p99",
        "max",
        "count",
        "missing"
    );
    for (label, spread) in s.rows() {
        row(label, spread);
    }
    say!();
    say!(
        "false positives {} (by healthy observers {}), healthy members evicted {}, needless evictions {}",
        s.false_positives,
        s.false_positives_by_healthy,
        s.healthy_evicted,
        s.needless_evictions
    );
    if s.suspicions > 0 {
        say!(
            "suspicions {}, of healthy members {} ({} per member and hour; precision {}); each observer was told of {} such an hour",
            s.suspicions,
            s.healthy_suspected,
            number(s.healthy_suspected_per_hour),
            number(1.0 - s.suspicions_false_share),
            number(s.false_suspicions_per_hour)
        );
    }
    if s.removed.count + s.removed.missing > 0 {
        say!(
            "impaired members held for down by most: {}, again {} times; healthy ones {}",
            s.removed.count,
            s.removed_again,
            s.healthy_removed
        );
    }
    if s.quorum != [0; 3] {
        let [held, lost, unsettled] = s.quorum;
        say!("quorum at the end: {held} members hold it, {lost} lost it, {unsettled} are unsettled");
    }
    if s.shows_quorum() {
        say!(
            "losses of quorum by healthy members {} in {} member-hours ({} per 1,000); {} member-seconds without ({} %)",
            s.quorum_losses,
            number(s.quorum_healthy / 3600.0),
            number(s.quorum_losses_per_1000h),
            number(s.quorum_without),
            number(s.quorum_without_share * 100.0)
        );
    }
    if s.changes_unheld > 0 {
        say!("no member held quorum in the end after {} of the changes of the network", s.changes_unheld);
    }
    say!(
        "view divergence {} member-seconds; {} distinct view sizes while forming; {} datagrams/s and member; busiest minute {} bytes/s and member, peak of one member {}, of a seed {}; largest table {}",
        number(s.divergence),
        number(s.view_sizes),
        number(s.datagrams),
        number(s.bytes_minute),
        number(s.bytes_peak),
        number(s.bytes_contact),
        number(s.table_max)
    );
}

fn row(label: &str, s: &Spread) {
    let [min, mean, median, p99, max] = [s.min, s.mean, s.median, s.p99, s.max].map(number);
    say!("{label:<28}{min:>9}{mean:>9}{median:>9}{p99:>9}{max:>9}{:>9}{:>9}", s.count, s.missing);
}

fn per_seed(report: &Report) {
    say!(
        "\n{:>6} {:>9} {:>9} {:>9} {:>9} {:>5} {:>5} {:>9} {:>9}  trace",
        "seed",
        "susp p99",
        "down med",
        "down p99",
        "down max",
        "FP",
        "FP-",
        "bytes/s",
        "agree"
    );
    for run in &report.runs {
        let s = &run.summary;
        say!(
            "{:>6} {:>9} {:>9} {:>9} {:>9} {:>5} {:>5} {:>9} {:>9}  {}",
            run.seed,
            number(s.suspect.p99),
            number(s.down.median),
            number(s.down.p99),
            number(s.down.max),
            s.false_positives,
            s.false_positives_by_healthy,
            number(s.bytes.mean),
            if s.agreement.missing > 0 { "never".to_owned() } else { number(s.agreement.max) },
            run.trace
        );
    }
    let members_seconds = (report.nodes as f64 * report.seconds).max(1.0);
    let count = report.runs.len() as f64;
    say!("\ncounters per member and minute; why datagrams were lost or refused");
    let mut keys: Vec<&str> = report.runs.iter().flat_map(|r| r.counters.keys().copied()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let sum: u64 = report.runs.iter().filter_map(|r| r.counters.get(key)).sum();
        put!("  {key} {}", number(sum as f64 * 60.0 / members_seconds / count));
    }
    say!();
    for run in &report.runs {
        say!("  seed {}: {:?}, {:?}", run.seed, run.lost, run.rejected);
    }
}

/// A number with three or four significant digits.
pub(super) fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        a if a >= 1e6 => format!("{:.2}M", x / 1e6),
        a if a >= 1e4 => format!("{:.1}k", x / 1e3),
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        a if a >= 0.1 => format!("{x:.3}"),
        _ => format!("{x:.4}"),
    }
}
