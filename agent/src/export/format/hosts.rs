//! Lines as in `/etc/hosts`.
//!
//! A name there is believed by every program of the host. So a member is left out whose name is no host name, is one that
//! hosts have of their own, or differs from another's in the case of its letters only, which resolvers do not see.

use std::collections::BTreeSet;

use super::{Entry, HEAD, Rendered, Shape};

pub(super) fn write(shape: &Shape, entries: &[Entry]) -> Rendered {
    let named = named(shape.domain.as_deref(), entries.iter());
    let lines = named.iter().map(|(entry, name)| format!("{} {name}\n", entry.address));
    let text = HEAD.to_owned() + &lines.collect::<String>();
    Rendered { bytes: text.into_bytes(), members: named.len(), left_out: entries.len() - named.len() }
}

/// The members that can have a host name, each with it.
pub(crate) fn named<'a>(
    domain: Option<&str>,
    entries: impl Iterator<Item = &'a Entry>,
) -> Vec<(&'a Entry, String)> {
    let mut sorted: Vec<&Entry> = entries.collect();
    // Of names that differ by case, the one in small letters is meant.
    sorted.sort_by_key(|entry| {
        (entry.name.to_ascii_lowercase(), entry.name != entry.name.to_ascii_lowercase())
    });
    let mut taken = BTreeSet::new();
    let with_name = |entry: &'a Entry| {
        let name = match domain {
            Some(domain) => format!("{}.{domain}", entry.name),
            None => entry.name.clone(),
        };
        let fine = is_host_name(&name) && !is_reserved(&name) && taken.insert(name.to_ascii_lowercase());
        fine.then_some((entry, name))
    };
    sorted.into_iter().filter_map(with_name).collect()
}

/// A file of others with these bytes as a block in it: in the place of the one that is there, or else at its end. All
/// other bytes stay.
///
/// # Errors
/// Where the block begins and ends cannot be told.
pub(crate) fn with_block(old: &[u8], bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (mut from, mut to, mut marks, mut at) = (None, None, 0, 0);
    for line in old.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii();
        marks += usize::from(text == BEGIN || text == END);
        if text == BEGIN {
            from = Some(at);
        }
        at += line.len();
        if text == END {
            to = Some(at);
        }
    }
    let block = [BEGIN, b"\n", bytes, END, b"\n"].concat();
    let (head, tail) = match (marks, from, to) {
        (0, ..) => (old, &b""[..]),
        (2, Some(from), Some(to)) if from < to => {
            (old.get(..from).unwrap_or_default(), old.get(to..).unwrap_or_default())
        }
        _ => {
            return Err(
                "its lines \"# heartsay begin\" and \"# heartsay end\" are no pair; correct it".to_owned()
            );
        }
    };
    let end = if head.is_empty() || head.ends_with(b"\n") { &b""[..] } else { b"\n" };
    Ok([head, end, &block, tail].concat())
}

/// Whether it is a name by RFC 1123, underscores allowed, and no address.
pub(crate) fn is_host_name(text: &str) -> bool {
    // The last label of a name is never a number, so that no name reads as an address, in short forms as 127.1 either.
    let last = text.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    text.len() <= 253 && !number && text.split('.').all(is_label)
}

/// Whether it is one label of such a name.
pub(crate) fn is_label(text: &str) -> bool {
    let fine = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    fine && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}

/// Names that mean the host itself, or its network.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    let last = name.rsplit('.').next().unwrap_or_default();
    first == "localhost" || last == "localhost" || name == "broadcasthost" || name.starts_with("ip6-")
}

const BEGIN: &[u8] = b"# heartsay begin";
const END: &[u8] = b"# heartsay end";

#[cfg(test)]
mod tests {
    use super::super::tests::{HOSTILE, entry};
    use super::*;

    fn text(domain: Option<&str>, names: &[&str]) -> (String, usize) {
        let shape = Shape { domain: domain.map(str::to_owned), ..Shape::default() };
        let entries: Vec<Entry> = names.iter().map(|name| entry(name)).collect();
        let written = write(&shape, &entries);
        (String::from_utf8(written.bytes).unwrap().replace(HEAD, ""), written.left_out)
    }

    #[test]
    fn a_line_for_each_member_with_the_domain_behind_its_name() {
        assert_eq!(
            text(None, &["n1", "db-1.example"]),
            ("10.0.0.1 db-1.example\n10.0.0.1 n1\n".to_owned(), 0)
        );
        assert_eq!(text(Some("hs.internal"), &["n1"]).0, "10.0.0.1 n1.hs.internal\n");
    }

    #[test]
    fn no_member_takes_a_name_that_is_none_or_that_hosts_have() {
        for name in HOSTILE.into_iter().chain([
            "localhost",
            "LocalHost",
            "localhost.localdomain",
            "a.localhost",
            "ip6-loopback",
            "127.0.0.1",
            "127.1",
            "0x7f",
            "::1",
            "-x",
            "a..b",
            ".",
            "näme",
            "x\t6.6.6.6",
        ]) {
            assert_eq!(text(None, &["n1", name]), ("10.0.0.1 n1\n".to_owned(), 1), "{name:?}");
        }
        assert_eq!(text(None, &["DB", "Db", "db"]), ("10.0.0.1 db\n".to_owned(), 2));
    }

    #[test]
    fn a_block_is_written_and_written_anew_and_every_other_byte_stays() {
        let put = |old: &[u8], bytes: &str| with_block(old, bytes.as_bytes());
        let block = |bytes: &str| format!("# heartsay begin\n{bytes}# heartsay end\n");
        for old in ["", "127.0.0.1 localhost\n", "\r\n\t x # heartsay begins\r\n", "\n\n"] {
            let first = put(old.as_bytes(), "10.0.0.1 a\n").unwrap();
            assert_eq!(first, format!("{old}{}", block("10.0.0.1 a\n")).into_bytes());
            let more = [&first[..], b"::1 after \xff"].concat();
            let second = put(&more, "").unwrap();
            assert_eq!(second, [old.as_bytes(), block("").as_bytes(), b"::1 after \xff"].concat());
            assert_eq!(put(&second, ""), Ok(second));
        }
        let open = put(b"127.0.0.1 localhost", "").unwrap();
        assert_eq!(open, format!("127.0.0.1 localhost\n{}", block("")).into_bytes());
        for torn in ["# heartsay begin\n", "# heartsay end\n", "# heartsay end\n# heartsay begin\n"] {
            assert!(put(torn.as_bytes(), "").is_err(), "{torn:?}");
        }
        assert!(put(block("").repeat(2).as_bytes(), "").is_err());
    }
}
