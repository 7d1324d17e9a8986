//! HAProxy: one `backend` section, to be loaded with `-f` beside the main file.

use std::collections::BTreeSet;

use super::{Entry, HEAD, Rendered, Shape, options};

pub(super) fn write(shape: &Shape, entries: &[Entry]) -> Rendered {
    let (name, options) = (shape.name.as_deref().unwrap_or_default(), options(shape));
    let mut text = format!("{HEAD}backend {name}\n");
    let mut taken = BTreeSet::new();
    for entry in entries {
        if let Some(socket) = entry.socket().filter(|_| is_server_name(&entry.name)) {
            text += &format!("    server {} {socket}{options}\n", entry.name);
            taken.insert(entry.name.as_str());
        }
    }
    let members = taken.len();
    // A member may be called like a slot.
    let slots = (1..).map(|n| format!("slot-{n}")).filter(|slot| !taken.contains(slot.as_str()));
    for slot in slots.take(shape.slots.saturating_sub(members)) {
        text += &format!("    server {slot} 127.0.0.1:1{options} disabled\n");
    }
    Rendered { bytes: text.into_bytes(), members, left_out: entries.len() - members }
}

/// Whether HAProxy takes it as the name of a server or a backend.
pub(in crate::export) fn is_server_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOSTILE, entry, shape};
    use super::*;

    #[test]
    fn a_section_with_a_line_for_each_member_and_each_free_slot() {
        let shape = Shape { options: "check inter 1s".to_owned(), slots: 3, ..shape() };
        let written = write(&shape, &[entry("n1"), entry("slot-1")]);
        let text = "# Written by heartsay; changes are lost.\nbackend web\n    server n1 10.0.0.1:80 check inter 1s\n    \
                    server slot-1 10.0.0.1:80 check inter 1s\n    server slot-2 127.0.0.1:1 check inter 1s disabled\n";
        assert_eq!(String::from_utf8(written.bytes).unwrap(), text);
    }

    #[test]
    fn no_name_becomes_a_word_of_the_configuration() {
        let alone = write(&shape(), &[entry("n1")]).bytes;
        for name in HOSTILE.into_iter().chain(["näme", "a/b", "a,b", "a\"b"]) {
            let written = write(&shape(), &[entry("n1"), entry(name)]);
            assert_eq!((&written.bytes, written.left_out), (&alone, 1), "{name:?}");
        }
    }
}
