//! nginx: the servers of an `upstream`, to be included into one, or the whole of it.
//!
//! Nothing that a member says gets in, but for its port, which is a number.

use super::{Entry, HEAD, Rendered, Shape, options};

pub(super) fn write(shape: &Shape, entries: &[Entry]) -> Rendered {
    let options = options(shape);
    let sockets: Vec<_> = entries.iter().filter_map(Entry::socket).collect();
    let mut lines: Vec<String> =
        sockets.iter().map(|socket| format!("server {socket}{options};\n")).collect();
    if lines.is_empty() {
        // An upstream without servers is an error, and nginx would not start.
        lines.push("server 127.0.0.1:1 down;\n".to_owned());
    }
    let body = match &shape.name {
        Some(name) => {
            let lines: String = lines.iter().map(|line| format!("    {line}")).collect();
            format!("upstream {name} {{\n{lines}}}\n")
        }
        None => lines.concat(),
    };
    let left_out = entries.len() - sockets.len();
    Rendered { bytes: format!("{HEAD}{body}").into_bytes(), members: sockets.len(), left_out }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOSTILE, entry, shape};
    use super::*;

    fn text(shape: &Shape, entries: &[Entry]) -> String {
        String::from_utf8(write(shape, entries).bytes).unwrap().replace(HEAD, "")
    }

    #[test]
    fn servers_stand_alone_or_in_an_upstream_and_an_empty_one_is_no_error() {
        let bare = Shape { options: "max_fails=1".to_owned(), ..Shape::default() };
        assert_eq!(text(&bare, &[entry("a")]), "server 10.0.0.1:80 max_fails=1;\n");
        assert_eq!(text(&shape(), &[entry("a")]), "upstream web {\n    server 10.0.0.1:80;\n}\n");
        assert_eq!(text(&shape(), &[]), "upstream web {\n    server 127.0.0.1:1 down;\n}\n");
    }

    #[test]
    fn names_and_tags_do_not_get_in() {
        for hostile in HOSTILE {
            let mut told = entry(hostile);
            told.tags.insert(hostile.to_owned(), hostile.to_owned());
            told.zone = Some(hostile.to_owned());
            assert_eq!(text(&shape(), &[told]), text(&shape(), &[entry("n1")]), "{hostile:?}");
        }
    }
}
