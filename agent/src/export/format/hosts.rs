//! Lines as in `/etc/hosts`.
//!
//! A name there is believed by every program of the host. So a member is left out whose name is no host name, is one that
//! hosts have of their own, or differs from another's in the case of its letters only, which resolvers do not see.

use std::collections::BTreeSet;

use super::{Entry, HEAD, Rendered, Shape};

pub(super) fn write(shape: &Shape, entries: &[Entry]) -> Rendered {
    let mut text = HEAD.to_owned();
    let mut taken = BTreeSet::new();
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    // Of names that differ by case, the one in small letters is meant.
    sorted.sort_by_key(|entry| {
        (entry.name.to_ascii_lowercase(), entry.name != entry.name.to_ascii_lowercase())
    });
    for entry in sorted {
        let name = match &shape.domain {
            Some(domain) => format!("{}.{domain}", entry.name),
            None => entry.name.clone(),
        };
        if is_host_name(&name) && !is_reserved(&name) && taken.insert(name.to_ascii_lowercase()) {
            text += &format!("{} {name}\n", entry.address);
        }
    }
    Rendered { bytes: text.into_bytes(), members: taken.len(), left_out: entries.len() - taken.len() }
}

/// Whether it is a name by RFC 1123, underscores allowed, and no address.
pub(crate) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let fine = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fine && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    // The last label of a name is never a number, so that no name reads as an address, in short forms as 127.1 either.
    let last = text.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    text.len() <= 253 && !number && text.split('.').all(label)
}

/// Names that mean the host itself, or its network.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    let last = name.rsplit('.').next().unwrap_or_default();
    first == "localhost" || last == "localhost" || name == "broadcasthost" || name.starts_with("ip6-")
}

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
}
