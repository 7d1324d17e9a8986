//! The pages for man(1), made from the help and from the table of settings. Only tests know them, so the program is not the
//! larger for it: `HEARTSAY_MANUAL=DIR cargo test -p heartsay --bin heartsay manual` writes them, as scripts/package.sh does.

use std::fs;

use clap::CommandFactory as _;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::Cli;
use crate::settings::table::{Default, Kind, ROWS, Row};

#[test]
fn every_verb_has_a_page_and_every_setting_a_paragraph() {
    let dir = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("HEARTSAY_MANUAL").map_or_else(|| dir.path().to_owned(), Into::into);
    fs::create_dir_all(&dir).unwrap();
    clap_mangen::generate_to(Cli::command(), &dir).unwrap();
    fs::write(dir.join("heartsay.toml.5"), settings_page()).unwrap();

    let page = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let verbs = Cli::command();
    for verb in verbs.get_subcommands() {
        let (name, about) = (verb.get_name(), verb.get_about().unwrap().to_string());
        let text = page(&format!("heartsay-{name}.1"));
        assert!(text.contains(about.split(['`', '-', '\'']).next().unwrap()), "{name}: {text}");
    }
    assert!(page("heartsay-keys-add.1").contains("SYNOPSIS"));
    assert!(page("heartsay.1").contains("exit"));
    let settings = page("heartsay.toml.5");
    for row in ROWS {
        assert!(settings.contains(&format!("\n\\fB{}\\fR", row.key)), "{}", row.key);
    }
}

fn settings_page() -> String {
    let mut page = Roff::new();
    page.control("TH", ["heartsay.toml", "5", "", concat!("heartsay ", env!("CARGO_PKG_VERSION"))]);
    page.control("SH", ["NAME"]).text([roman("heartsay.toml - settings of the heartsay agent")]);
    page.control("SH", ["SYNOPSIS"]).text([italic("/etc/heartsay/heartsay.toml")]);
    page.control("br", []).text([italic("/etc/heartsay/conf.d/*.toml")]);
    page.control("SH", ["DESCRIPTION"]).text([roman(PRECEDENCE)]);
    page.control("PP", []).text([roman(CHECKS)]);
    let mut heading = "";
    for row in ROWS {
        if row.heading != heading {
            heading = row.heading;
            page.control("SH", [heading.to_uppercase().as_str()]);
        }
        setting(&mut page, row);
    }
    page.control("SH", ["SEE ALSO"]).text([
        bold("heartsay"),
        roman("(1), "),
        bold("heartsay-config"),
        roman("(1)"),
    ]);
    page.to_roff()
}

fn setting(page: &mut Roff, row: &Row) {
    let shape = match row.kind {
        Kind::One => "",
        Kind::Many => " (list)",
        Kind::Table | Kind::Blocks => " (table)",
        Kind::Switch => " (true or false)",
    };
    let default = match row.default {
        Default::Compulsory => "Compulsory.".to_owned(),
        Default::Found(words) => format!("Default: {words}."),
        Default::Text(value) => format!("Default: {value}."),
    };
    let reload = if row.reload { " A reload takes it over." } else { "" };
    page.control("TP", []).text([bold(row.key), roman(shape)]);
    page.text([roman(row.help)]);
    page.control("IP", []).text([roman(format!("{default}{reload}"))]);
    // Those without one stand in files alone.
    if row.kind != Kind::Blocks {
        page.control("br", []);
        page.text([roman("Flag "), bold(format!("--{}", row.flag)), roman(", variable "), bold(row.env)]);
    }
}

const PRECEDENCE: &str = "In TOML. A flag wins over a HEARTSAY_* variable, that over a file, that over the default. Files of \
    conf.d are read after heartsay.toml, in the order of their names; a later list replaces an earlier one, tables are merged. \
    With --config or HEARTSAY_CONFIG only that file is read. An unknown setting is an error.";
const CHECKS: &str = "`heartsay config check` checks the files, `heartsay config show` says which values hold and where each \
    comes from, `heartsay config default` prints a file with all of them. `heartsay reload` has a running agent read them again.";
