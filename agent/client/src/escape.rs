//! Text of others on its way to a terminal.
//!
//! Tags, names and reasons come from peers and users, and a terminal obeys what it
//! is shown: an escape sequence moves its cursor, a line end forges a row, a
//! bidirectional mark turns a word around. Whatever people read goes through here;
//! JSON and YAML have escapes of their own and stay exact.

use std::borrow::Cow;

use serde_json::Value;

/// `text` on one line, with everything that would not show as itself written out: `\n`, `\u{1b}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(shows) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if shows(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    Cow::Owned(out)
}

/// The same for a text of our own that has several lines.
pub fn escape_lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

/// The same for a text that we have painted: colours are let through.
pub fn escape_painted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        let parameters = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        out += &escape_lines(before);
        match parameters.strip_prefix('m') {
            Some(behind) => {
                out += "\x1b[";
                out += after.strip_suffix(behind).unwrap_or_default();
                rest = behind;
            }
            None => {
                out += &escape("\x1b[");
                rest = after;
            }
        }
    }
    out + &escape_lines(rest)
}

/// The same for every text in an answer of the API, before it is laid out for people.
pub fn escape_all(value: &Value) -> Value {
    match value {
        Value::String(text) => escape(text).into(),
        Value::Array(items) => items.iter().map(escape_all).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (escape(key).into_owned(), escape_all(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Whether a terminal shows `c` as a mark of its own, or as part of the one before it.
pub fn shows(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    if IGNORED.iter().any(|(first, last)| (*first..=*last).contains(&c)) {
        return false;
    }
    // The standard library knows what cannot be printed (control, format, bidirectional, unassigned). Behind
    // another character it lets accents pass, which are part of how people write.
    String::from_iter(['x', c]).escape_debug().nth(2).is_none()
}

/// Printable by their category, and yet shown as nothing: Unicode's `Default_Ignorable_Code_Point` beyond the
/// format characters.
const IGNORED: [(char, char); 9] = [
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{e0000}', '\u{e0fff}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in
            ["", "role=web", "n1 \"quoted\" \\ 'x'", "Zürich", "Zu\u{308}rich", "東京", "दिल्ली", "→ φ ±"]
        {
            assert!(matches!(escape(text), Cow::Borrowed(_)), "{text}: {}", escape(text));
        }
    }

    #[test]
    fn what_a_terminal_would_obey_or_hide_is_written_out() {
        for (text, shown) in [
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\x1b]0;owned\x07\x1b[2J", "\\u{1b}]0;owned\\u{7}\\u{1b}[2J"),
            ("\u{9b}2J\x7f", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}gnp\u{2066}", "\\u{202e}gnp\\u{2066}"),
            ("n\u{200b}1\u{feff}\u{200d}", "n\\u{200b}1\\u{feff}\\u{200d}"),
            ("a\u{2028}b\u{a0}c\u{ad}", "a\\u{2028}b\\u{a0}c\\u{ad}"),
            ("n1\u{fe0f}\u{3164}\u{e0041}", "n1\\u{fe0f}\\u{3164}\\u{e0041}"),
        ] {
            assert_eq!(escape(text), shown);
        }
        assert_eq!(escape_lines("a\n\x1bb"), "a\n\\u{1b}b");
    }

    #[test]
    fn our_own_colours_pass_and_nothing_else_does() {
        assert_eq!(escape_painted("\x1b[1;32malive\x1b[0m\nb"), "\x1b[1;32malive\x1b[0m\nb");
        assert_eq!(escape_painted("\x1b[2J\x1b]0;x\x07\x1b["), "\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{1b}[");
    }

    #[test]
    fn an_answer_is_cleaned_in_keys_and_values_at_any_depth() {
        let said = json!({ "tags": { "k\n": "\u{1b}" }, "list": ["\r", 1, null], "n": 2.5 });
        assert_eq!(
            escape_all(&said),
            json!({ "tags": { "k\\n": "\\u{1b}" }, "list": ["\\r", 1, null], "n": 2.5 })
        );
    }
}
