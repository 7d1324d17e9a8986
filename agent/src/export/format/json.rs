//! The members as JSON, for programs without one of the other formats.

use serde::Serialize;

use super::{Entry, Rendered};

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "self")]
    me: &'a str,
    members: &'a [Entry],
}

pub(super) fn write(me: &str, entries: &[Entry]) -> Rendered {
    Rendered { bytes: pretty(&Document { me, members: entries }), members: entries.len(), left_out: 0 }
}

/// Indented, with a line end behind it.
pub(super) fn pretty(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers always serialize.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOSTILE, entry};
    use super::*;

    use serde_json::Value;

    #[test]
    fn every_text_comes_back_as_it_was_said() {
        for hostile in HOSTILE {
            let mut told = entry(hostile);
            told.tags.insert(hostile.to_owned(), hostile.to_owned());
            let read: Value = serde_json::from_slice(&write("me", &[told]).bytes).unwrap();
            let member = &read["members"][0];
            assert_eq!((&member["name"], &member["tags"][hostile]), (&hostile.into(), &hostile.into()));
            assert_eq!(
                (&read["self"], &member["address"], &member["port"]),
                (&"me".into(), &"10.0.0.1".into(), &80.into())
            );
        }
    }
}
