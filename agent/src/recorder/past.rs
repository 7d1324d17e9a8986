//! The case of one member at a moment in the past: what gave it its status, and what came of that.
//!
//! A member is what the last entry about it says, unless this agent began a new life since: then it is unknown until something
//! is told of it. A verdict is put beside the acceptable pause, which is what people can turn: how long had it been silent,
//! and how long was it in the end?

use jiff::Timestamp;

use super::Found;
use super::writer::LEFT_OUT;
use crate::types::{Accusation, HistoryEntry, Past, PastPause};

/// The case of `name` at the stamp `at`, and whether any entry is about that member. `found`: the entries about it, those that
/// say that others are missing, and those that begin a life of this agent, in the order in which they came.
pub(crate) fn past(found: &Found, name: &str, at: &str) -> (Past, bool) {
    let mut is_told_of = false;
    let mut past =
        Past { name: name.to_owned(), at: at.to_owned(), oldest: found.oldest.clone(), ..Past::default() };
    for entry in &found.entries {
        let Ok(entry) = serde_json::from_slice::<HistoryEntry>(entry.get().as_bytes()) else { continue };
        is_told_of |= entry.event.name.as_deref() == Some(name);
        if entry.event.time.as_str() > at { goes_on(&mut past, entry) } else { see(&mut past, entry) }
    }
    past.pause = verdict(&past).map(|(down, then)| pause(down, then));
    (past, is_told_of)
}

/// An entry before that moment.
fn see(past: &mut Past, entry: HistoryEntry) {
    let kind = entry.event.kind.as_str();
    match kind {
        LEFT_OUT => past.gap = true,
        // The stream tells nothing of the start of a life.
        "self" if entry.event.index == 0 => {
            (past.entry, past.suspected, past.gap) = (None, None, false);
            past.started = Some(entry.event.time);
        }
        _ if status(kind).is_none() => {}
        _ => {
            let before = past.entry.take().filter(|before| before.event.kind == SUSPECT);
            past.suspected = before.filter(|_| kind == DOWN);
            past.gap = false;
            past.entry = Some(entry);
        }
    }
    past.status = past.entry.as_ref().and_then(|entry| status(&entry.event.kind)).map(str::to_owned);
}

/// An entry after it.
fn goes_on(past: &mut Past, entry: HistoryEntry) {
    let last = past.then.last().map(|last| last.event.kind.as_str());
    // The first of a member that was well then is told, and what it leads to.
    let is_over = last.is_some_and(|last| !matches!(last, SUSPECT | DOWN));
    if status(&entry.event.kind).is_some() && !is_over && past.then.len() < MOST {
        past.then.push(entry);
    }
}

/// What put it out at that moment or after it, and what came then.
fn verdict(past: &Past) -> Option<(&HistoryEntry, &[HistoryEntry])> {
    if let Some(down) = past.entry.as_ref().filter(|entry| entry.event.kind == DOWN) {
        return Some((down, &past.then));
    }
    let at = past.then.iter().position(|entry| entry.event.kind == DOWN)?;
    Some((past.then.get(at)?, past.then.get(at + 1..)?))
}

/// What an entry makes of the member; `None`: nothing.
fn status(kind: &str) -> Option<&'static str> {
    match kind {
        "member-join" | "member-alive" | "member-restart" => Some("alive"),
        SUSPECT => Some("suspect"),
        DOWN => Some("down"),
        "member-left" => Some("left"),
        "member-forgotten" => Some("forgotten"),
        _ => None,
    }
}

/// What the acceptable pause had to do with this verdict, by what came then.
fn pause(down: &HistoryEntry, then: &[HistoryEntry]) -> PastPause {
    let acceptable_seconds = down.acceptable_pause_seconds;
    let said =
        |reason: &str| PastPause { acceptable_seconds, reason: reason.to_owned(), ..PastPause::default() };
    let Some(evidence) = &down.evidence else {
        return said("the evidence was not kept, as too much came at once");
    };
    if evidence.last_words {
        return said("no pause would have held it in: its host said that the process had ended");
    }
    let counts = |kind: &str| evidence.accusations.iter().filter(|one| one.kind == kind && !one.weak).count();
    if counts("refused") > 0 && counts("refused") >= counts("silent") {
        return said("no pause would have held it in: its host refused datagrams, which needs none");
    }
    if counts("unfit") > counts("silent") {
        return said("no pause would have held it in: it was found unfit though it ran");
    }
    let silent: Vec<&Accusation> =
        evidence.accusations.iter().filter(|one| one.kind == "silent" && !one.weak).collect();
    // By their stamps, which sort as the times do.
    let Some(began) = silent.iter().map(|one| one.since.as_str()).min() else {
        return said("none of its accusers is known here, so neither is how long it had been silent");
    };
    let silent_seconds = between(began, &down.event.time);
    let source = evidence.accusations.iter().find_map(|one| one.source.as_deref());
    if let Some(source) = source.filter(|_| silent_seconds < acceptable_seconds) {
        return said(&format!("no pause would have held it in: {source} had said that it was gone"));
    }
    let (would_have_held_seconds, reason) = match then.first().map(|next| (next, next.event.kind.as_str())) {
        Some((back, "member-alive")) => match between(began, &back.event.time) {
            Some(seconds) => (Some(seconds), "it was silent for so long, and then went on".to_owned()),
            None => (None, "the times of these entries make no sense".to_owned()),
        },
        Some((next, "member-restart" | "member-join")) => (
            None,
            format!(
                "no pause would have held it in: that life did not come back; another was there at {}",
                next.event.time
            ),
        ),
        Some((_, "member-left" | "member-forgotten")) => {
            (None, "no pause would have held it in: that life did not come back".to_owned())
        }
        Some(_) | None => (None, "it has not come back, as far as the history goes".to_owned()),
    };
    PastPause { acceptable_seconds, silent_seconds, would_have_held_seconds, reason }
}

/// Seconds between two stamps.
fn between(from: &str, to: &str) -> Option<f64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.duration_since(from).as_secs_f64()).filter(|seconds| *seconds >= 0.0)
}

const SUSPECT: &str = "member-suspect";
const DOWN: &str = "member-down";
/// Told of what came after.
const MOST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;
    use serde_json::value::RawValue;

    fn stamp(second: u32) -> String {
        format!("2026-11-20T13:45:{second:02}.000000Z")
    }

    fn entry(second: u32, kind: &str) -> serde_json::Value {
        json!({ "type": kind, "index": second, "time": stamp(second), "name": "n2", "life": 7 })
    }

    /// Down at second 10, silent since second 7 and 8 as two members say.
    fn down(accusations: &[(&str, u32, bool)], last_words: bool) -> serde_json::Value {
        let mut down = entry(10, DOWN);
        down["acceptable_pause_seconds"] = json!(2.0);
        let accusations: Vec<_> = accusations
            .iter()
            .map(|(kind, since, weak)| {
                json!({ "by": "n1", "kind": kind, "proven": true, "basis": 5, "weak": weak, "since": stamp(*since) })
            })
            .collect();
        down["evidence"] = json!({
            "silence_seconds": 3.1, "mean_seconds": 1.0, "deviation_seconds": 0.1, "samples": 9, "phi_threshold": 8.0,
            "rtt_seconds": null, "last_direct": null, "accusations": accusations, "down_as_of": 5,
            "last_words": last_words, "outlook": "",
        });
        down
    }

    fn silent() -> serde_json::Value {
        down(&[("silent", 8, false), ("silent", 7, false), ("silent", 1, true)], false)
    }

    fn at(second: u32, entries: &[serde_json::Value]) -> Past {
        let raw = |entry: &serde_json::Value| RawValue::from_string(entry.to_string()).unwrap();
        let found = Found { entries: entries.iter().map(raw).collect(), ..Found::default() };
        let (past, is_told_of) = past(&found, "n2", &stamp(second));
        assert!(is_told_of);
        past
    }

    fn kinds(entries: &[HistoryEntry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.event.kind.as_str()).collect()
    }

    #[test]
    fn a_member_is_what_the_last_entry_before_that_moment_says() {
        let all = [
            entry(1, "member-join"),
            entry(8, SUSPECT),
            silent(),
            entry(14, "member-alive"),
            entry(20, "member-left"),
        ];
        for (second, status) in [
            (0, None),
            (1, Some("alive")),
            (9, Some("suspect")),
            (10, Some("down")),
            (15, Some("alive")),
            (30, Some("left")),
        ] {
            assert_eq!(at(second, &all).status.as_deref(), status, "{second}");
        }
        let down = at(12, &all);
        assert_eq!(down.suspected.unwrap().event.index, 8);
        assert_eq!(kinds(&down.then), ["member-alive"]);
        let before = at(5, &all);
        assert_eq!(kinds(&before.then), [SUSPECT, DOWN, "member-alive"], "and what it leads to");
        assert_eq!(kinds(&at(16, &all).then), ["member-left"]);
    }

    #[test]
    fn a_pause_that_would_have_held_it_in_is_as_long_as_its_silence() {
        let pause = |then: &[serde_json::Value]| at(12, &[&[silent()], then].concat()).pause.unwrap();
        let back = pause(&[entry(14, "member-alive")]);
        assert_eq!(back.acceptable_seconds, Some(2.0));
        assert_eq!(back.silent_seconds, Some(3.0), "a weak accuser does not count");
        assert_eq!(back.would_have_held_seconds, Some(7.0));
        for (next, words) in [
            (Some("member-restart"), "another was there"),
            (Some("member-left"), "did not come back"),
            (None, "has not come back"),
        ] {
            let then: Vec<_> = next.map(|kind| entry(14, kind)).into_iter().collect();
            let pause = pause(&then);
            assert_eq!(pause.would_have_held_seconds, None);
            assert!(pause.reason.contains(words), "{}", pause.reason);
        }
        // Also where the verdict came after the moment that was asked for.
        let later = at(9, &[entry(8, SUSPECT), silent(), entry(14, "member-alive")]);
        assert_eq!(later.pause.unwrap().would_have_held_seconds, Some(7.0));
        assert_eq!(at(9, &[entry(8, SUSPECT), entry(14, "member-alive")]).pause, None);
    }

    #[test]
    fn a_verdict_that_is_not_by_silence_has_nothing_to_do_with_the_pause() {
        let mut told = down(&[("silent", 9, false), ("silent", 9, false)], false);
        told["evidence"]["accusations"][0]["source"] = json!("libvirt");
        for (down, words) in [
            (down(&[("refused", 9, false), ("refused", 9, false)], false), "refused datagrams"),
            (down(&[], true), "the process had ended"),
            (down(&[("unfit", 9, false)], false), "unfit"),
            (told, "libvirt had said that it was gone"),
            (down(&[], false), "is known here"),
            (entry(10, DOWN), "was not kept"),
        ] {
            let pause = at(12, &[down, entry(14, "member-alive")]).pause.unwrap();
            assert_eq!((pause.silent_seconds, pause.would_have_held_seconds), (None, None));
            assert!(pause.reason.contains(words), "{}", pause.reason);
        }
    }

    #[test]
    fn a_new_life_of_this_agent_knows_nothing_of_before_and_a_gap_is_told() {
        let mut started = entry(12, "self");
        (started["name"], started["index"]) = (json!(null), json!(0));
        let past = at(13, &[silent(), started.clone()]);
        assert_eq!((past.status, past.started), (None, Some(stamp(12))));
        let past = at(15, &[silent(), started, entry(14, "member-restart"), entry(15, LEFT_OUT)]);
        assert_eq!((past.status.as_deref(), past.gap), (Some("alive"), true));
    }
}
