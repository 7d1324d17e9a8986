//! A template of the operator's, in Jinja's language.
//!
//! The reader of the file, which is not known here, decides which characters mean something. So what is printed as it is has to be
//! plain: letters, digits and `-_.:/@+=,`. A member that would print anything else is left out. Through the filter `tojson`
//! every text may be printed. Time and memory of a run are bounded.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use minijinja::value::Serde;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, Value, context, filters, functions,
    tests as checks,
};

use super::{Entry, Rendered};

/// A template that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
}

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub(crate) fn read(path: &Path) -> Result<Self, TemplateError> {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
        read.map_err(TemplateError::Unreadable)?;
        if text.len() as u64 > LONGEST {
            return Err(TemplateError::Wrong(format!("it is longer than {LONGEST} bytes")));
        }
        Self::new(text).map_err(TemplateError::Wrong)
    }

    fn new(text: String) -> Result<Self, String> {
        environment(FUEL).template_from_str(&text).map_err(|error| sentence(&error))?;
        Ok(Self { text })
    }

    /// Tells one text from another.
    pub(crate) fn digest(&self) -> u32 {
        crc32fast::hash(self.text.as_bytes())
    }

    /// The text for these members. A member that cannot be printed is left out.
    pub(super) fn write(&self, me: &str, entries: &[Entry]) -> Result<Rendered, String> {
        let environment = environment(FUEL + FUEL_OF_ONE * entries.len() as u64);
        let template = environment.template_from_str(&self.text).map_err(|error| sentence(&error))?;
        let run =
            |entries: &[&Entry]| template.render(context! { self_name => me, members => Serde(entries) });
        let all: Vec<&Entry> = entries.iter().collect();
        let (kept, text) = match run(&all) {
            Ok(text) => (all, text),
            Err(error) if is_not_plain(&error) => {
                let printable = |entry: &&Entry| !run(&[entry]).is_err_and(|error| is_not_plain(&error));
                let kept: Vec<&Entry> = entries.iter().filter(printable).collect();
                let text = run(&kept).map_err(|error| sentence(&error))?;
                (kept, text)
            }
            Err(error) => return Err(sentence(&error)),
        };
        Ok(Rendered { bytes: text.into_bytes(), members: kept.len(), left_out: entries.len() - kept.len() })
    }
}

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// That may pass.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// That does not.
    #[error("is no template: {0}")]
    Wrong(String),
}

fn environment<'a>(fuel: u64) -> Environment<'a> {
    // Not all that the engine brings along: it would be a tenth of this program.
    let mut environment = Environment::empty();
    environment.set_fuel(Some(fuel));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(print);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("join", filters::join);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("replace", filters::replace);
    environment.add_filter("safe", filters::safe);
    environment.add_filter("sort", filters::sort);
    environment.add_filter("tojson", filters::tojson);
    environment.add_filter("unique", filters::unique);
    environment.add_filter("upper", filters::upper);
    environment.add_test("defined", checks::is_defined);
    environment.add_test("none", checks::is_none);
    environment.add_test("startingwith", checks::is_startingwith);
    environment.add_function("range", functions::range);
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment
}

fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_safe() || is_plain(&value.to_string()) {
        return minijinja::escape_formatter(out, state, value);
    }
    Err(Error::new(ErrorKind::BadEscape, NOT_PLAIN))
}

/// Whether no reader takes it for more than a word.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/@+=,".contains(&b))
}

fn is_not_plain(error: &Error) -> bool {
    // It may be wrapped by what was being run.
    let mut source = Some(error as &(dyn std::error::Error + 'static));
    while let Some(error) = source {
        if error.downcast_ref::<Error>().is_some_and(|error| error.detail() == Some(NOT_PLAIN)) {
            return true;
        }
        source = error.source();
    }
    false
}

fn sentence(error: &Error) -> String {
    match error.line() {
        Some(line) => format!("line {line}: {error}"),
        None => error.to_string(),
    }
}

const NOT_PLAIN: &str =
    "a text with other characters than letters, digits and -_.:/@+=, goes through the filter tojson";
/// In bytes.
const LONGEST: u64 = 1 << 20;
/// In steps of the engine, each of which makes 64 bytes at most. An honest guess: 64 MB at most, and a tenth of a second.
const FUEL: u64 = 1_000_000;
/// More for each member, some hundred times what a line for it takes.
const FUEL_OF_ONE: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::super::tests::{HOSTILE, entry};
    use super::*;

    fn template(text: &str) -> Template {
        Template::new(text.to_owned()).unwrap()
    }

    fn text(text: &str, entries: &[Entry]) -> (String, usize) {
        let written = template(text).write("me", entries).unwrap();
        (String::from_utf8(written.bytes).unwrap(), written.left_out)
    }

    const LINES: &str =
        "{% for m in members %}\n{{ m.name }} {{ m.address }}:{{ m.port }} {{ m.tags.role }}\n{% endfor %}\n";

    #[test]
    fn a_template_has_the_members_with_all_they_say() {
        assert_eq!(
            text(LINES, &[entry("a"), entry("b")]),
            ("a 10.0.0.1:80 web\nb 10.0.0.1:80 web\n".to_owned(), 0)
        );
        assert_eq!(text("{{ self_name }} {{ members | length }}", &[entry("a")]).0, "me 1");
    }

    #[test]
    fn who_would_print_more_than_a_word_is_left_out() {
        for hostile in HOSTILE {
            let mut told = entry("b");
            told.tags.insert("role".to_owned(), hostile.to_owned());
            for told in [entry(hostile), told] {
                let written = text(LINES, &[entry("a"), told]);
                assert_eq!(written, ("a 10.0.0.1:80 web\n".to_owned(), 1), "{hostile:?}");
            }
            // What is not printed does no harm.
            let written =
                text("{% for m in members %}{{ m.port }} {% endfor %}", &[entry("a"), entry(hostile)]);
            assert_eq!(written, ("80 80 ".to_owned(), 0), "{hostile:?}");
        }
    }

    #[test]
    fn as_json_every_text_is_printed_and_stays_a_text() {
        for hostile in HOSTILE {
            let (written, _) =
                text("[{% for m in members %}{{ m.name | tojson }}{% endfor %}]", &[entry(hostile)]);
            let read: Vec<String> = serde_json::from_str(&written).unwrap();
            assert_eq!(read, [hostile]);
        }
    }

    #[test]
    fn the_filters_and_tests_of_the_page_are_there() {
        let page = include_str!("../../../../docs/operations.md");
        let listed = page.split_once("Filters: ").unwrap().1.split_once(';').unwrap().0;
        let mut seen = 0;
        for filter in listed.split('`').skip(1).step_by(2) {
            let argument = if filter == "replace" { "('a', 'b')" } else { "" };
            template(&format!("{{{{ ['a'] | {filter}{argument} | tojson }}}}")).write("me", &[]).unwrap();
            seen += 1;
        }
        assert_eq!(seen, 12);
        let line = "{% for m in members if m.zone is none and m.name is startingwith 'a' and m.tags.x is not defined %}\
                    {{ m.zone | default('none', true) }}{{ range(2) | join(',') }}{% endfor %}";
        assert_eq!(text(line, &[entry("a"), entry("b")]).0, "none0,1");
    }

    #[test]
    fn a_template_that_never_ends_is_stopped_and_one_that_is_none_is_refused() {
        let long = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}";
        assert!(template(long).write("me", &[]).unwrap_err().contains("fuel"));
        assert!(Template::new("a\n{% for %}".to_owned()).unwrap_err().starts_with("line 2: "));
        assert!(template("{{ \"a b\" }}").write("me", &[]).unwrap_err().contains("tojson"));
    }
}
