//! Entries that a reader wants, out of all that are kept.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::writer::LEFT_OUT;
use super::{Kept, segments};

/// A moment as entries have it: such stamps sort as the times do.
pub(crate) fn stamp(moment: Timestamp) -> String {
    format!("{moment:.6}")
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Of this member; `None`: of all.
    pub(crate) member: Option<String>,
    /// It is this agent: what it tells of itself and of quorum counts too.
    pub(crate) is_self: bool,
    /// Any of these; empty: all.
    pub(crate) types: Vec<String>,
    /// Not before.
    pub(crate) since: Option<String>,
    /// Not after.
    pub(crate) until: Option<String>,
    /// The last so many of them.
    pub(crate) limit: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Each entry, the oldest first.
    pub(crate) entries: VecDeque<Box<RawValue>>,
    /// There were more, and earlier ones.
    pub(crate) more: bool,
    /// Entries that do not check.
    pub(crate) damaged: u64,
    /// Stamp of the first of all that are kept.
    pub(crate) oldest: Option<String>,
    /// Of what is kept: in memory, for now.
    pub(crate) in_memory: bool,
    /// Events of which no entry says yet that they are missing.
    pub(crate) left_out: u64,
}

/// What matters of an entry for the choice.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

/// Looks through all that is kept and not older than `oldest`, a stamp. Waits for the disk.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn search(kept: &Kept, oldest: &str, wanted: &Wanted) -> io::Result<Found> {
    let mut found = Found { in_memory: kept.failing, left_out: kept.left_out, ..Found::default() };
    for (path, length) in &kept.files {
        let text = segments::read(path, *length)?;
        for json in segments::entries(&text) {
            found.see(json, oldest, wanted);
        }
    }
    kept.in_memory.iter().for_each(|json| found.see(Some(json), oldest, wanted));
    Ok(found)
}

impl Found {
    fn see(&mut self, json: Option<&str>, oldest: &str, wanted: &Wanted) {
        // An entry that checks and makes no sense is none of ours.
        let Some((json, head)) =
            json.and_then(|json| Some((json, serde_json::from_str::<Head<'_>>(json).ok()?)))
        else {
            self.damaged += 1;
            return;
        };
        if *head.time < *oldest {
            return;
        }
        if self.oldest.is_none() {
            self.oldest = Some(head.time.to_string());
        }
        if !wanted.takes(&head) {
            return;
        }
        if let Ok(entry) = RawValue::from_string(json.to_owned()) {
            self.entries.push_back(entry);
        }
        if self.entries.len() > wanted.limit {
            self.entries.pop_front();
            self.more = true;
        }
    }
}

impl Wanted {
    fn takes(&self, head: &Head<'_>) -> bool {
        let kind: &str = &head.kind;
        let of_member = |member: &String| {
            // What is missing may have been about any.
            kind == LEFT_OUT
                || head.name.as_deref() == Some(member.as_str())
                || self.is_self && matches!(kind, "self" | "quorum")
        };
        self.member.as_ref().is_none_or(of_member)
            && (self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind))
            && self.since.as_deref().is_none_or(|since| *head.time >= *since)
            && self.until.as_deref().is_none_or(|until| *head.time <= *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    fn entry(second: u32, kind: &str, name: Option<&str>) -> Arc<str> {
        let time = format!("2026-11-20T13:45:{second:02}.000000Z");
        serde_json::json!({ "type": kind, "index": second, "time": time, "name": name }).to_string().into()
    }

    /// Seconds of the entries that are found.
    fn seconds(wanted: &Wanted) -> Vec<u64> {
        let in_memory = vec![
            entry(1, "self", None),
            entry(2, "member-down", Some("n2")),
            entry(3, "left-out", None),
            entry(4, "quorum", None),
            entry(5, "service-gone", Some("n2")),
            entry(6, "member-down", Some("n3")),
        ];
        let kept = Kept { files: Vec::new(), in_memory, failing: true, left_out: 3 };
        let found = search(&kept, "2026-11-20T13:45:01.000000Z", wanted).unwrap();
        assert_eq!((found.oldest.as_deref(), found.damaged), (Some("2026-11-20T13:45:01.000000Z"), 0));
        assert!(found.in_memory && found.left_out == 3);
        assert_eq!(found.more, wanted.limit < 6 && found.entries.len() == wanted.limit);
        let index = |entry: &RawValue| {
            serde_json::from_str::<serde_json::Value>(entry.get()).unwrap()["index"].as_u64().unwrap()
        };
        found.entries.iter().map(|entry| index(entry)).collect()
    }

    #[test]
    fn members_types_and_times_narrow_and_the_last_ones_are_kept() {
        let all = Wanted { limit: 100, ..Wanted::default() };
        assert_eq!(seconds(&all), [1, 2, 3, 4, 5, 6]);
        assert_eq!(seconds(&Wanted { limit: 2, ..all.clone() }), [5, 6]);
        let of = |member: &str, is_self| Wanted { member: Some(member.to_owned()), is_self, ..all.clone() };
        assert_eq!(seconds(&of("n2", false)), [2, 3, 5]);
        assert_eq!(seconds(&of("n1", true)), [1, 3, 4]);
        let types = vec!["member-down".to_owned(), "quorum".to_owned()];
        assert_eq!(seconds(&Wanted { types, ..all.clone() }), [2, 4, 6]);
        let at = |second: u32| Some(format!("2026-11-20T13:45:{second:02}.000000Z"));
        assert_eq!(seconds(&Wanted { since: at(2), until: at(4), ..all.clone() }), [2, 3, 4]);
    }

    #[test]
    fn what_is_a_week_old_is_not_shown_and_what_makes_no_sense_is_counted() {
        let in_memory = vec![entry(1, "self", None), entry(2, "self", None), "7".into(), "{}".into()];
        let kept = Kept { files: Vec::new(), in_memory, failing: false, left_out: 0 };
        let wanted = Wanted { limit: 9, ..Wanted::default() };
        let found = search(&kept, "2026-11-20T13:45:02.000000Z", &wanted).unwrap();
        assert_eq!((found.entries.len(), found.damaged), (1, 2));
        assert_eq!(found.oldest.as_deref(), Some("2026-11-20T13:45:02.000000Z"));
    }
}
