//! `why NAME --at TIME`: the case of one member at a moment in the past, in sentences.

use jiff::Timestamp;

use super::history::{sentence, to_the_millisecond};
use super::output::{Output, brief, list, natural, seconds_between, span};
use super::table::finish;
use super::why::{charge, piece_words, undone_by, weight};
use crate::types::{Accusation, Case, Evidence, HistoryEntry, Past, PastPause};

/// The case in paragraphs.
pub(super) fn case(past: &Past, output: &Output) -> String {
    let mut paragraphs = vec![output.prose(&headline(past, output))];
    if past.gap {
        paragraphs.push(
            output.prose("Events are missing between that and the moment: more came then than were kept."),
        );
    }
    if let Some(entry) = &past.entry {
        paragraphs.extend(evidence(entry, output));
    }
    if let Some(suspected) = &past.suspected {
        let before = format!("Before that: {}", dated(suspected, output));
        paragraphs.push([vec![output.prose(&before)], evidence(suspected, output)].concat().join("\n"));
    }
    for next in &past.then {
        let then = format!("Then: {}", dated(next, output));
        paragraphs.push([vec![output.prose(&then)], evidence(next, output)].concat().join("\n"));
    }
    if let Some(pause) = &past.pause {
        paragraphs.push(output.prose(&pause_words(pause)));
    }
    if past.kept == "memory" {
        paragraphs
            .push(output.prose(
                "The state directory takes no writes: the end of the history is kept in memory only.",
            ));
    }
    paragraphs.join("\n\n")
}

fn headline(past: &Past, output: &Output) -> String {
    let (name, me, at) = (&past.name, &past.me, to_the_millisecond(&past.at));
    let (Some(entry), Some(status)) = (&past.entry, &past.status) else {
        let known = match (&past.started, &past.oldest) {
            (Some(started), _) => format!(
                "the agent began a new life at {}, and nothing was told of {name} from then on",
                to_the_millisecond(started)
            ),
            (None, Some(oldest)) => format!("the history begins at {}", to_the_millisecond(oldest)),
            (None, None) => "the history is empty".to_owned(),
        };
        return format!(
            "What {name} was at {at}, {me} does not know: {known}. A member that is there when the agent starts is not told of until something changes."
        );
    };
    let since = &entry.event.time;
    let stood = past
        .at
        .parse()
        .ok()
        .and_then(|at: Timestamp| seconds_between(since, at))
        .map_or_else(String::new, span);
    format!(
        "{name} was {} at {at}, for {stood} by then, as {me} saw it: {}.",
        output.status(status),
        dated(entry, output)
    )
}

fn dated(entry: &HistoryEntry, output: &Output) -> String {
    format!("{}  {}", to_the_millisecond(&entry.event.time), sentence(entry, output))
}

/// Who accused it then, and on what.
fn evidence(entry: &HistoryEntry, output: &Output) -> Vec<String> {
    let Some(evidence) = &entry.evidence else { return Vec::new() };
    let mut parts = Vec::new();
    if !evidence.accusations.is_empty() {
        parts.push(accusers(entry, evidence, output));
    }
    if evidence.last_words {
        parts.push(
            "Its host said that the process had ended: its last words, which need no witness.".to_owned(),
        );
    } else if let Some(case) = &evidence.case {
        parts.push(own(case, evidence, output));
    }
    parts
}

/// Each accuser, how long the silence had lasted for it, and how far that is from the acceptable pause.
fn accusers(entry: &HistoryEntry, evidence: &Evidence, output: &Output) -> String {
    let (time, pause) = (&entry.event.time, entry.acceptable_pause_seconds);
    let heartbeat = entry.heartbeat.unwrap_or(u64::MAX);
    let mut all: Vec<&Accusation> = evidence.accusations.iter().collect();
    all.sort_by(|a, b| natural(&a.by, &b.by));
    let mut table =
        output.table(Some(&["ACCUSER", "EVIDENCE", "FOR", "AGAINST", "MARGIN", "UNDONE BY", "WEIGHT"]));
    for one in all {
        let lasted = time.parse().ok().and_then(|time| seconds_between(&one.since, time));
        // Only silence is measured against the pause.
        let pause = pause.filter(|_| one.kind == "silent");
        let margin = lasted.zip(pause).map(|(lasted, pause)| format!("{:+.2} s", lasted - pause));
        table.add_row([
            one.by.clone(),
            charge(one),
            lasted.map_or_else(|| "-".to_owned(), brief),
            pause.map_or_else(|| "-".to_owned(), |pause| format!("a pause of {}", brief(pause))),
            margin.unwrap_or_else(|| "-".to_owned()),
            undone_by(one.basis, heartbeat, Some(evidence)),
            weight(one).to_owned(),
        ]);
    }
    finish(&table)
}

/// What this agent had found out itself, and how far that was from what a verdict needs.
fn own(case: &Case, evidence: &Evidence, output: &Output) -> String {
    let asked = format!(
        "Witnesses: {}; a verdict needs {}, and {} had proven silence.{}",
        list(&case.witnesses),
        case.needed,
        case.proven,
        if case.held { " Verdicts waited longer then, as many were silent." } else { "" }
    );
    let habit = format!(
        "Its heartbeat had last advanced {} before; it usually did every {} ± {}.",
        span(evidence.silence_seconds),
        brief(evidence.mean_seconds),
        brief(evidence.deviation_seconds)
    );
    if case.pieces.is_empty() {
        return output.prose(&format!("{asked} {habit}"));
    }
    let mut table = output.table(Some(&["OWN EVIDENCE", "φ"]));
    for piece in &case.pieces {
        table.add_row([piece_words(piece), format!("{:.1}", piece.phi)]);
    }
    let sum = format!(
        "Own evidence is worth φ {:.1}: {:+.1} against the 5 that accuses, {:+.1} against the 8 that testifies.",
        case.phi,
        case.phi - 5.0,
        case.phi - 8.0
    );
    format!("{}\n{}", finish(&table), output.prose(&format!("{sum} {asked} {habit}")))
}

fn pause_words(pause: &PastPause) -> String {
    let setting = pause.acceptable_seconds.map_or_else(
        || "The acceptable pause".to_owned(),
        |seconds| format!("The acceptable pause was {}", brief(seconds)),
    );
    let silent = pause.silent_seconds.map_or_else(String::new, |seconds| {
        let margin = pause
            .acceptable_seconds
            .map_or_else(String::new, |pause| format!(", {:+.2} s against it", seconds - pause));
        format!("; at the verdict it had been silent for {}{margin}", brief(seconds))
    });
    let held = match pause.would_have_held_seconds {
        Some(seconds) => format!(
            ". With acceptable_pause above {} it would have stayed in: {}.",
            brief(seconds),
            pause.reason
        ),
        None => format!(": {}.", pause.reason),
    };
    format!("{setting}{silent}{held}")
}
